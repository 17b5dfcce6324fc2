//! Read points under way: who asked, and under which ticket.
//!
//! A front asks its replica; a replica that does not lead asks the leader. Each hop gives the request a ticket of its own,
//! so that an answer finds its asker and a late or foreign one finds nobody.

use std::collections::BTreeMap;

use super::exchange::FrontId;
use crate::namespace::command::SessionId;
use crate::paxos::ReplicaId;
use crate::wire::cache::Word;

/// Who waits for a read point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// One of our fronts, with its ticket.
    Front(FrontId, u64),
    /// Another replica, with its ticket.
    Peer(ReplicaId, u64),
}

/// One request under way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) asker: Asker,
    /// Whose answer we wait for: another replica's, or (none) our own Paxos'.
    pub(super) leader: Option<ReplicaId>,
    /// Sessions of the request that were not renewed.
    pub(super) withheld: Vec<SessionId>,
    /// What came of the request's wish.
    pub(super) word: Word,
}

/// Every read point under way at this replica.
#[derive(Debug, Default)]
pub(super) struct ReadPoints {
    next_ticket: u64,
    asked: BTreeMap<u64, Asked>,
}

impl ReadPoints {
    /// Whether nobody waits for one.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// A new request; its ticket.
    pub(super) fn ask(&mut self, asked: Asked) -> u64 {
        self.next_ticket += 1;
        self.asked.insert(self.next_ticket, asked);
        self.next_ticket
    }

    /// The request under that ticket, if our own Paxos answers it.
    pub(super) fn answered_here(&mut self, ticket: u64) -> Option<Asked> {
        self.asked.get(&ticket).filter(|asked| asked.leader.is_none())?;
        self.asked.remove(&ticket)
    }

    /// The request under that ticket, if `replica` was asked.
    pub(super) fn answered_by(&mut self, ticket: u64, replica: ReplicaId) -> Option<Asked> {
        self.asked.get(&ticket).filter(|asked| asked.leader == Some(replica))?;
        self.asked.remove(&ticket)
    }

    /// Requests that wait for another replica's answer, which may never come now.
    pub(super) fn abandon_forwarded(&mut self) -> Vec<Asked> {
        let lost: Vec<u64> = self.asked.iter().filter(|(_, a)| a.leader.is_some()).map(|(t, _)| *t).collect();
        lost.iter().filter_map(|ticket| self.asked.remove(ticket)).collect()
    }
}
