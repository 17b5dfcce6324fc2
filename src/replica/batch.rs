//! Natural batching: commands wait here while earlier entries are in flight, and leave together.

use std::collections::VecDeque;

use super::exchange::Submission;
use crate::limits::{BATCH_BYTES_TARGET, PENDING_BYTES_MAX, VALUE_BYTES_MAX};
use crate::namespace::codec::{BATCH_HEADER_BYTES, batch_header};
use crate::paxos::{Draft, Kind, Value};

/// Commands not yet proposed, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Pending {
    queue: VecDeque<Submission>,
    bytes: usize,
    /// Submissions ever taken.
    pushed: u64,
    /// Bytes of the last entry's commands.
    last_cut_bytes: usize,
}

impl Pending {
    /// Takes the commands, or hands them back if too much waits already.
    pub(super) fn push(&mut self, submission: Submission) -> Result<(), Submission> {
        if self.bytes + submission.run.len() > PENDING_BYTES_MAX {
            return Err(submission);
        }
        self.push_anyway(submission);
        Ok(())
    }

    /// Puts a command in front of all that waits, to be cut next. It is not counted: those behind it keep their numbers.
    pub(super) fn put_first(&mut self, submission: Submission) {
        self.bytes += submission.run.len();
        self.queue.push_front(submission);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes commands that were admitted before.
    pub(super) fn push_anyway(&mut self, submission: Submission) {
        self.bytes += submission.run.len();
        self.pushed += 1;
        self.queue.push_back(submission);
    }

    /// How many submissions were ever taken.
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// How many of them were cut, or given back; not known while a command put in front still waits.
    pub(super) fn cut_upto(&self) -> u64 {
        self.pushed - self.queue.len() as u64
    }

    /// Bytes of what waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether enough waits for an entry to leave while another is in flight. Entries that follow each other closely are
    /// small, and each costs every replica a write, messages and turns: one that waits for the other to be chosen loses
    /// less than all gain.
    pub(super) fn is_ripe(&self) -> bool {
        self.bytes >= (2 * self.last_cut_bytes).min(BATCH_BYTES_TARGET)
    }

    /// Everything that waits, to be given back.
    pub(super) fn take_all(&mut self) -> Vec<Submission> {
        self.bytes = 0;
        self.queue.drain(..).collect()
    }

    /// The next entry: as many whole submissions as make a good batch.
    pub(super) fn cut(&mut self, log_time_ns: u64, wall_ms: u64) -> Option<Value> {
        let mut take = 0;
        let mut bytes = 0;
        let mut count = 0;
        for submission in &self.queue {
            if take > 0 && bytes + submission.run.len() > BATCH_BYTES_TARGET {
                break;
            }
            take += 1;
            bytes += submission.run.len();
            count += submission.count;
        }
        if take == 0 {
            return None;
        }
        assert!(1 + BATCH_HEADER_BYTES + bytes <= VALUE_BYTES_MAX, "a submission is bounded by the front that made it");
        let mut draft = Draft::with_capacity(1 + BATCH_HEADER_BYTES + bytes);
        draft.extend(&[Kind::Commands.tag()]);
        draft.extend(&batch_header(log_time_ns, wall_ms, count));
        for submission in self.queue.drain(..take) {
            draft.extend(&submission.run);
        }
        self.bytes -= bytes;
        self.last_cut_bytes = bytes;
        Some(draft.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::command::{Command, SessionId};

    fn waiting(pending: &mut Pending, commands: usize) {
        for session in 0..commands as u64 {
            let command = Command::MarkCaching { session: SessionId(session) };
            pending.push(Submission::of(&command)).expect("there is room");
        }
    }

    #[test]
    fn twice_as_much_as_the_last_entry_had_need_not_wait() {
        let mut pending = Pending::default();
        waiting(&mut pending, 10);
        assert!(pending.is_ripe(), "nothing was cut yet");
        assert!(pending.cut(1, 1).is_some());
        waiting(&mut pending, 19);
        assert!(!pending.is_ripe());
        waiting(&mut pending, 1);
        assert!(pending.is_ripe());
    }

    #[test]
    fn a_full_entry_never_waits() {
        let mut pending = Pending::default();
        let one = Submission::of(&Command::MarkCaching { session: SessionId(1) }).run.len();
        let full = BATCH_BYTES_TARGET / one;
        waiting(&mut pending, full);
        assert!(pending.cut(1, 1).is_some());
        waiting(&mut pending, full - 1);
        assert!(!pending.is_ripe());
        waiting(&mut pending, 2);
        assert!(pending.is_ripe(), "an entry does not become larger by waiting");
    }
}
