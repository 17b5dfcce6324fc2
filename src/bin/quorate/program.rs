//! Runs a program for as long as something is held, and ends it when that is lost.
//!
//! The program is told to end as soon as the loss is seen here, and killed a little later; it dies with this process.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use quorate::server::{Code, Failure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Something happened while the program ran.
enum Event {
    Ended(std::io::Result<ExitStatus>),
    Told(i32),
}

/// Runs the program until it ends, or `loss` says that there is one; the program's exit status. It finds `environment` in its
/// own.
pub fn run(
    program: &[OsString],
    environment: &[(&str, String)],
    mut loss: impl FnMut() -> Option<String>,
) -> Result<u8, Failure> {
    let cannot = |why: String| Failure::new(Code::RunFailed, format!("cannot run {:?}", program[0])).found(why);
    let this = std::env::current_exe().map_err(|error| cannot(error.to_string()))?;
    let mut child = Command::new(this)
        .args(["supervised", "--parent", &std::process::id().to_string(), "--"])
        .args(program)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .spawn()
        .map_err(|error| cannot(error.to_string()))?;
    let pid = Pid::from_child(&child);
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| cannot(error.to_string()))?;
    let tell = |signal: Signal| {
        // It may just have ended.
        let _ = pidfd_send_signal(&process, signal);
    };
    let (sender, events) = mpsc::channel();
    let ended = sender.clone();
    std::thread::spawn(move || ended.send(Event::Ended(child.wait())));
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| cannot(error.to_string()))?;
    std::thread::spawn(move || signals.forever().try_for_each(|signal| sender.send(Event::Told(signal))));
    let mut patience = None;
    loop {
        match events.recv_timeout(LOOK_EVERY) {
            Ok(Event::Ended(status)) => {
                let status = status.map_err(|error| cannot(error.to_string()))?;
                return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()) as u8);
            }
            // A terminal's interrupt reaches the program by itself.
            Ok(Event::Told(SIGINT)) => {}
            Ok(Event::Told(_)) => tell(Signal::TERM),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("whoever waits for the program tells of its end"),
        }
        look(&mut loss, &mut patience, tell);
    }
}

/// Ends the program if there is a loss: first politely, and after a number of looks for good.
fn look(loss: &mut impl FnMut() -> Option<String>, patience: &mut Option<u32>, tell: impl Fn(Signal)) {
    match patience {
        None => {
            if let Some(loss) = loss() {
                crate::tell(format_args!("quorate: {loss}: ending the program"));
                tell(Signal::TERM);
                *patience = Some(LOOKS_BEFORE_KILL);
            }
        }
        Some(0) => tell(Signal::KILL),
        Some(looks) => *looks -= 1,
    }
}

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// From the polite end to the other: short, as others may have soon what was lost.
const LOOKS_BEFORE_KILL: u32 = 20;
