//! Stopping in good order: on SIGTERM or SIGINT the leadership is handed over first, for a bounded time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::failure::{Code, Failure};
use crate::limits::HAND_OVER_MAX;
use crate::time::Instant;

/// Whether, and since when, the process is to stop.
#[derive(Debug)]
pub(super) struct Stop {
    flag: Arc<AtomicBool>,
    since: Option<Instant>,
}

impl Stop {
    /// Listens for SIGTERM and SIGINT; `wake` makes the loop look.
    pub(super) fn on_signals(wake: impl Fn() + Send + Sync + Clone + 'static) -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        let mut signals =
            signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT]).map_err(
                |error| Failure::new(Code::LoopFailed, "cannot listen for signals").found(error.to_string()),
            )?;
        let raised = Arc::clone(&flag);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for _ in signals.forever() {
                    raised.store(true, Ordering::Release);
                    wake();
                }
            })
            .map_err(|error| Failure::new(Code::LoopFailed, "cannot start a thread").found(error.to_string()))?;
        Ok(Self { flag, since: None })
    }

    /// Whether stopping begins at this look.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        if self.since.is_none() && self.flag.load(Ordering::Acquire) {
            self.since = Some(now);
            return true;
        }
        false
    }

    /// Whether the process may end: what it had to hand over is in other hands, or that was not to be done in time. Until
    /// then the loop turns on, so that what was said last (the release of the leadership among it) really leaves.
    pub(super) fn is_over(&self, now: Instant, handed_over: bool) -> bool {
        self.since.is_some_and(|since| handed_over || now.since(since) >= HAND_OVER_MAX)
    }

    /// When to look again.
    pub(super) fn next_deadline(&self) -> Instant {
        self.since.map_or(Instant::FOREVER, |since| since + HAND_OVER_MAX)
    }
}
