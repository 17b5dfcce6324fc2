//! Waking a loop from another thread.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// Ends the wait of one ring's turn. Cheap to clone; may be used from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A wake is on its way: another one would tell nothing new.
    pending: AtomicBool,
    event: OwnedFd,
}

impl Waker {
    pub(super) fn new() -> std::io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(Shared { pending: AtomicBool::new(false), event })))
    }

    /// Wakes the loop: its next turn, or the one under way, ends at once with an `Event::Woken`.
    pub fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::AcqRel) {
            // The counter is far from its limit: it is written once for each time it is read.
            let written = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
            debug_assert_eq!(written, Ok(8), "an event counter takes a one");
        }
    }

    pub(super) fn raw(&self) -> RawFd {
        self.0.event.as_raw_fd()
    }

    /// The loop has seen it; called before the loop looks for what it was woken for.
    pub(super) fn seen(&self) {
        self.0.pending.store(false, Ordering::Release);
    }
}
