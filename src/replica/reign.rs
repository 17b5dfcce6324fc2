//! Reigns in the log: the first commands of a leader's reign go behind a command that begins it.
//!
//! Handles name the reign they were opened in, and their check digits need the cell's key, which the first reign of all
//! brings. So nothing may be chosen in a reign that has not begun there. Entries under way together may be chosen one
//! without the other, should their leader be lost; the first is therefore alone under way. A reign that changes nothing
//! leaves no trace in the log.

use super::Replica;
use super::exchange::Submission;
use crate::limits::ENTRIES_IN_FLIGHT;
use crate::namespace::command::Command;
use crate::paxos::Ballot;

impl Replica {
    /// How many entries may be under way at once.
    pub(super) fn entries_in_flight_max(&self) -> usize {
        if self.has_begun() { ENTRIES_IN_FLIGHT } else { 1 }
    }

    /// Before the next entry is cut: the first of a reign begins with its beginning.
    pub(super) fn begin_reign(&mut self) {
        if !self.has_begun() && !self.pending.is_empty() {
            let (reign, key) = (number(self.paxos.ballot()), self.drawn_key);
            self.pending.put_first(Submission::of(&Command::BeginReign { reign, key }));
        }
    }

    fn has_begun(&self) -> bool {
        self.namespace.reign() == number(self.paxos.ballot())
    }
}

/// Ordered as ballots are: by round, then by replica.
fn number(ballot: Ballot) -> u64 {
    let number = ballot.round.checked_mul(1 << 8).expect("rounds are counted, and never come near 2^56");
    number + u64::from(ballot.replica.0)
}
