//! A replica's account of itself, for people and their tools.

use bytes::{BufMut, BytesMut};

use super::cache::CacheAccount;
use super::client::{put_leader, take_leader};
use crate::namespace::codec::{DecodeError, Reader, put_text};
use crate::namespace::command::Revision;
use crate::paxos::ballot::{Ballot, CellId, Incarnation, ReplicaId, Slot};

/// What a replica is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Role {
    /// Reads its journal, or waits out the leases it may have granted.
    Recovering,
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes; or has them, and cannot go on before it knows more of what was accepted in some slot.
    Candidate,
    /// Leads.
    Leader,
}

/// A replica's account of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Its number in the cell.
    pub replica: ReplicaId,
    /// The life of its disk.
    pub incarnation: Incarnation,
    /// The cell it is of.
    pub cell: CellId,
    /// What it is at the moment.
    pub role: Role,
    /// Whether its votes count: the member list names this disk. One whose disk was lost, or that was never met, has none.
    pub votes: bool,
    /// Who leads, as far as it knows.
    pub leader: Option<ReplicaId>,
    /// The highest ballot it has promised.
    pub ballot: Ballot,
    /// Every slot up to this one is chosen, as far as it knows.
    pub chosen_upto: Slot,
    /// It has applied every slot up to this one.
    pub applied_upto: Slot,
    /// Its journal has the slots up to this one no more.
    pub trimmed_upto: Slot,
    /// The revision of what it has applied.
    pub revision: Revision,
    /// Live sessions of the cell.
    pub sessions: u64,
    /// Nodes in the tree.
    pub nodes: u64,
    /// Client connections to this replica.
    pub connections: u64,
    /// Questions refused because their principals had asked as much as they may, since it started.
    pub throttled: u64,
    /// Bytes of log in its journal; room that is not yet written does not count.
    pub journal_bytes: u64,
    /// What is left of its leader lease, in microseconds; 0 if it has none.
    pub lease_remaining_us: u64,
    /// Since the process started, in milliseconds.
    pub uptime_ms: u64,
    /// What clients keep of it, if it leads.
    pub cache: CacheAccount,
    /// The release it runs.
    pub version: String,
}

impl Role {
    const fn tag(self) -> u8 {
        match self {
            Self::Recovering => 0,
            Self::Follower => 1,
            Self::Candidate => 2,
            Self::Leader => 3,
        }
    }

    fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match f.u8("role")? {
            0 => Self::Recovering,
            1 => Self::Follower,
            2 => Self::Candidate,
            3 => Self::Leader,
            tag => return Err(DecodeError::UnknownTag { what: "role", tag }),
        })
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Recovering => "recovering",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        })
    }
}

impl Status {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u8(self.replica.0);
        out.put_u128_le(self.incarnation.0);
        out.put_u128_le(self.cell.0);
        out.put_u8(self.role.tag());
        out.put_u8(u8::from(self.votes));
        put_leader(out, self.leader);
        out.put_u64_le(self.ballot.round);
        out.put_u8(self.ballot.replica.0);
        for number in [
            self.chosen_upto.0,
            self.applied_upto.0,
            self.trimmed_upto.0,
            self.revision,
            self.sessions,
            self.nodes,
            self.connections,
            self.throttled,
            self.journal_bytes,
            self.lease_remaining_us,
            self.uptime_ms,
        ] {
            out.put_u64_le(number);
        }
        self.cache.put(out);
        put_text(out, &self.version);
    }

    pub(super) fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            replica: ReplicaId(f.u8("replica")?),
            incarnation: Incarnation(f.u128("incarnation")?),
            cell: CellId(f.u128("cell")?),
            role: Role::take(f)?,
            votes: f.bool("votes")?,
            leader: take_leader(f)?,
            ballot: Ballot { round: f.u64("ballot.round")?, replica: ReplicaId(f.u8("ballot.replica")?) },
            chosen_upto: Slot(f.u64("chosen_upto")?),
            applied_upto: Slot(f.u64("applied_upto")?),
            trimmed_upto: Slot(f.u64("trimmed_upto")?),
            revision: f.u64("revision")?,
            sessions: f.u64("sessions")?,
            nodes: f.u64("nodes")?,
            connections: f.u64("connections")?,
            throttled: f.u64("throttled")?,
            journal_bytes: f.u64("journal_bytes")?,
            lease_remaining_us: f.u64("lease_remaining_us")?,
            uptime_ms: f.u64("uptime_ms")?,
            cache: CacheAccount::take(f)?,
            version: f.text("version")?.to_owned(),
        })
    }
}
