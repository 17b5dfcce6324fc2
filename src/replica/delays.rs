//! Lock-delays at the leader: when the time of a lock kept shut for a lost holder is over, the log is asked to open it.
//!
//! The log's time decides, in apply; asking early or twice does nothing. So the leader remembers only what it has asked for
//! and not yet seen answered, and a new leader begins with nothing.

use std::collections::BTreeSet;

use super::Replica;
use super::exchange::Submission;
use crate::namespace::command::Command;
use crate::time::{Duration, Instant};

/// What the log was asked for.
#[derive(Default, Debug)]
pub(super) struct LockDelays {
    asked: BTreeSet<(String, u64)>,
}

impl LockDelays {
    /// The log opened what was due of that lock.
    pub(super) fn looked_at(&mut self, path: &str) {
        self.asked.retain(|(asked, _)| asked != path);
    }
}

impl Replica {
    /// Asks the log to open the locks whose time is over.
    pub(super) fn free_due_locks(&mut self, now: Instant) {
        if !self.paxos.is_leading() {
            return;
        }
        let log_time_ns = self.log_time_ns(now);
        let due = self.namespace.shut_locks().take_while(|(until_ns, _)| *until_ns <= log_time_ns);
        for (until_ns, path) in due {
            let Some(instance) = self.namespace.tree().get(path).map(|node| node.stat.instance) else { continue };
            if self.delays.asked.contains(&(path.to_owned(), until_ns)) {
                continue;
            }
            let command = Command::FreeLock { path: path.to_owned(), instance };
            if self.pending.push(Submission::of(&command)).is_err() {
                return;
            }
            self.delays.asked.insert((path.to_owned(), until_ns));
        }
    }

    /// When the next lock is due, if this replica leads.
    pub(super) fn next_lock_due(&self, now: Instant) -> Instant {
        if !self.paxos.is_leading() {
            return Instant::FOREVER;
        }
        let mut shut = self.namespace.shut_locks();
        let next = shut.find(|(until_ns, path)| !self.delays.asked.contains(&((*path).to_owned(), *until_ns)));
        next.map_or(Instant::FOREVER, |(until_ns, _)| {
            let left = Duration::from_nanos(until_ns.saturating_sub(self.log_time_ns(now)));
            now + left.max(LOOK_AGAIN)
        })
    }
}

/// Between two looks at what could not be asked for.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
