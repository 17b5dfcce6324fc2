//! What the enquirer and the stranger have in common: they speak to replicas by themselves, without the library's machine.

use quorate::limits::CLIENT_FRAME_BYTES_MAX;
use quorate::wire::client::ServerMessage;
use quorate::wire::frame::{FrameError, FrameReader};

use super::run::Run;

/// Hears what came of a replica's words. `reader` is the line's own, taken out of the run for as long. False: they were
/// damaged on their way, and the line must be hung up.
pub fn feed(
    run: &mut Run,
    reader: &mut FrameReader,
    bytes: &[u8],
    mut heard: impl FnMut(&mut Run, ServerMessage<'_>),
) -> bool {
    let fed = reader.feed(bytes, CLIENT_FRAME_BYTES_MAX, |frame| {
        heard(run, ServerMessage::decode(frame).expect("servers say what they mean"));
        Ok::<(), FrameError>(())
    });
    if let Err(error) = &fed {
        assert!(run.plan.network.flipped > 0, "nothing is damaged on its way: {error}");
    }
    fed.is_ok()
}

/// How long a session of theirs lives unheard of.
pub const SESSION_TIMEOUT_MS: u32 = 2000;
