//! The member list: which replicas vote, by name *and* incarnation.
//!
//! The list is a value of the log. The operator's list names replica ids only; the first entry of the log (slot 1, the
//! *founding* entry) names them with the incarnations the first leader has met, and a later entry binds each of the
//! others when it is first met. A replica whose disk was lost comes back with another incarnation, which no entry names:
//! its votes are dropped.

use super::ballot::{Incarnation, ReplicaId};

/// The members of the cell, ordered by id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    members: Vec<Member>,
}

/// One voting replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its number.
    pub replica: ReplicaId,
    /// The disk that votes; `None` until the replica was first met.
    pub incarnation: Option<Incarnation>,
}

/// A set of replicas, one bit each, so that nobody is counted twice.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaSet(u64);

impl Config {
    /// The configuration of `members`, sorted.
    #[must_use]
    pub fn new(mut members: Vec<Member>) -> Self {
        members.sort_by_key(|m| m.replica);
        members.dedup_by_key(|m| m.replica);
        Self { members }
    }

    /// The members, in order of their ids.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many votes choose: more than half of the members.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// The member with that id.
    #[must_use]
    pub fn member(&self, replica: ReplicaId) -> Option<&Member> {
        self.members.iter().find(|m| m.replica == replica)
    }

    /// Whether votes of that disk of that replica count.
    #[must_use]
    pub fn counts(&self, replica: ReplicaId, incarnation: Incarnation) -> bool {
        self.member(replica).is_some_and(|m| m.incarnation == Some(incarnation))
    }

    /// Whether `votes` holds more than half of the members.
    #[must_use]
    pub fn is_quorum(&self, votes: ReplicaSet) -> bool {
        self.members.iter().filter(|m| votes.contains(m.replica)).count() >= self.quorum()
    }

    /// The same members, with `replica` bound to `incarnation` if it was not bound.
    #[must_use]
    pub fn bound(&self, replica: ReplicaId, incarnation: Incarnation) -> Self {
        let mut members = self.members.clone();
        for member in &mut members {
            if member.replica == replica && member.incarnation.is_none() {
                member.incarnation = Some(incarnation);
            }
        }
        Self { members }
    }
}

impl ReplicaSet {
    /// Nobody.
    pub const EMPTY: Self = Self(0);

    /// Adds one replica.
    pub fn insert(&mut self, replica: ReplicaId) {
        self.0 |= 1 << replica.0;
    }

    /// Removes one replica.
    pub fn remove(&mut self, replica: ReplicaId) {
        self.0 &= !(1 << replica.0);
    }

    /// Whether it holds that replica.
    #[must_use]
    pub fn contains(self, replica: ReplicaId) -> bool {
        self.0 & (1 << replica.0) != 0
    }

    /// How many replicas it holds.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it holds nobody.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Debug for ReplicaSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries((0..64).filter(|bit| self.0 & (1 << bit) != 0)).finish()
    }
}
