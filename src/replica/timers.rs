//! Timers at the leader: when something is due at a node, the log is asked to settle it.
//!
//! The log's time decides, in apply; asking early or twice does nothing. So the leader remembers only what it has asked for
//! and not yet seen answered, and a new leader begins with nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Replica;
use super::exchange::Submission;
use crate::limits::TIMERS_ASKED_MAX;
use crate::namespace::command::Command;
use crate::time::{Duration, Instant};

/// What the log was asked for.
#[derive(Default, Debug)]
pub(super) struct Settling {
    timers: BTreeSet<(Arc<str>, u64)>,
}

impl Settling {
    /// The log settled what was due at that node.
    pub(super) fn settled(&mut self, path: &str) {
        let first = (Arc::from(path), 0);
        while let Some(timer) = self.timers.range(&first..).next().filter(|(asked, _)| **asked == *path).cloned() {
            self.timers.remove(&timer);
        }
    }

    /// Whether the log is asked for nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.timers.is_empty()
    }

    fn is_full(&self) -> bool {
        self.room() == 0
    }

    fn room(&self) -> usize {
        TIMERS_ASKED_MAX.saturating_sub(self.timers.len())
    }

    fn has(&self, path: &Arc<str>, at_ns: u64) -> bool {
        !self.timers.is_empty() && self.timers.contains(&(path.clone(), at_ns))
    }
}

impl Replica {
    /// Asks the log to settle what is due.
    pub(super) fn settle_what_is_due(&mut self, now: Instant) {
        if !self.paxos.is_leading() || !self.has_room_for_its_own() {
            return;
        }
        let log_time_ns = self.log_time_ns(now);
        let due = self.namespace.timers().take_while(|(at_ns, _)| *at_ns <= log_time_ns);
        let due = due.filter(|(at_ns, path)| !self.settling.has(path, *at_ns)).take(self.settling.room());
        let due: Vec<_> = due.map(|(at_ns, path)| (at_ns, path.clone())).collect();
        for (at_ns, path) in due {
            let Some(instance) = self.namespace.tree().get(&path).map(|node| node.stat().instance) else { continue };
            let command = Command::Settle { path: (*path).to_owned(), instance };
            if self.admit(Submission::of(&command)).is_err() {
                return;
            }
            self.settling.timers.insert((path, at_ns));
        }
    }

    /// What nobody waits for may be put off as well as what clients ask: the log's last room is not for it.
    pub(super) fn has_room_for_its_own(&self) -> bool {
        self.storage.has_room_for(self.pending.bytes() as u64)
    }

    /// When something is due next, if this replica leads. Once it has asked for much, it waits to be answered first.
    pub(super) fn next_due(&self, now: Instant) -> Instant {
        if !self.paxos.is_leading() || self.settling.is_full() || !self.has_room_for_its_own() {
            return Instant::FOREVER;
        }
        let mut timers = self.namespace.timers();
        let next = timers.find(|(at_ns, path)| !self.settling.has(path, *at_ns));
        next.map_or(Instant::FOREVER, |(at_ns, _)| {
            let left = Duration::from_nanos(at_ns.saturating_sub(self.log_time_ns(now)));
            now + left.max(LOOK_AGAIN)
        })
    }
}

/// Between two looks at what could not be asked for.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
