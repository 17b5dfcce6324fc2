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

    /// How many of them were cut, or given back.
    pub(super) fn cut_upto(&self) -> u64 {
        self.pushed - self.queue.len() as u64
    }

    /// Bytes of what waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
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
        Some(draft.finish())
    }
}
