//! What an operator may ask about a replica.

use super::Replica;
use crate::paxos::{self, CellId, Incarnation, Slot};
use crate::time::Instant;
use crate::wire::client::{Role, Status};

/// What the replica does not know of the process it is in.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// The cell it belongs to.
    pub cell: CellId,
    /// The disk it has.
    pub incarnation: Incarnation,
    /// When it started.
    pub started_at: Instant,
}

impl Replica {
    /// How this replica is; the front that asked adds its connections.
    #[must_use]
    pub fn status(&self, now: Instant, process: Process) -> Status {
        let paxos = self.paxos.status();
        Status {
            replica: self.me,
            incarnation: process.incarnation,
            cell: process.cell,
            role: match paxos.role {
                paxos::Role::Follower => Role::Follower,
                // It goes on asking for promises, and serves nobody before it has what it lacks.
                paxos::Role::Leading if self.paxos.undecided().is_some() => Role::Candidate,
                paxos::Role::Probing | paxos::Role::Preparing => Role::Candidate,
                paxos::Role::Leading => Role::Leader,
            },
            votes: paxos.votes,
            leader: paxos.leader,
            ballot: paxos.promised,
            chosen_upto: paxos.chosen_upto,
            applied_upto: self.applied_upto,
            trimmed_upto: paxos.trimmed_upto,
            revision: self.namespace.revision(),
            sessions: self.namespace.session_count() as u64,
            nodes: self.namespace.tree().len() as u64,
            connections: 0,
            throttled: 0,
            journal_bytes: self.storage.journal().bytes_beyond(Slot(0)),
            lease_remaining_us: self.lease().until.since(now).as_nanos() / 1_000,
            uptime_ms: now.since(process.started_at).as_millis(),
            cache: self.cache_account(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
