//! What others' disks acknowledged, and that a disk is held to it.
//!
//! An old copy of a replica's folder, put back whole, contradicts nothing that lies in it: it is a state that the disk once
//! had. It has forgotten promises and votes, and only those who were told of them can say so. So each replica remembers, of
//! each disk, the newest word it knows of: the highest ballot the disk was bound to, and the highest slot it voted in at
//! that ballot. Words of a disk follow each other in this order, and each says that the ones before it are on the disk too:
//! whoever holds the newest was not put back.
//!
//! The word is part of the hello of every link. A replica that is reminded of a word that its disk does not hold says
//! nothing more and ends. What it says to a peer answers frames that came behind the peer's hello, so nobody counts a word
//! of a disk that is older than what he himself remembers.
//!
//! # Who remembers, and for how long
//!
//! The candidate hears promises and the leader hears votes, each as it is said; the leader's heartbeats tell everybody,
//! the leader's own newest vote included. A process remembers as long as it lives, and what is older than
//! [`SAVED_EVERY_LEASES`] leases across its restarts too: it goes to the hard state. (All of it does, when a replica starts
//! again of its own accord.) To write down each vote of others before it counts would cost every commit a second flush;
//! what is given up for it is a copy no older than that time, put back while *every* process that knew better was killed.
//! Copies that people put back are from an hour or a day ago, and the others go on meanwhile.
//!
//! Deliberately absent: a judgement by the peer. The disk alone knows what it holds (chosen, accepted, damaged), so it is
//! told and judges; a replica is trusted to stop, as everywhere here.

use super::Paxos;
use super::ballot::{Ballot, Incarnation, ReplicaId, Slot};
use crate::time::Instant;

/// A word of a disk, and whose disk it is: it will never again take part in a ballot below `ballot`, and at that ballot it
/// voted in slot `upto`; slot 0: in none yet. All of that was durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledged {
    /// The replica.
    pub replica: ReplicaId,
    /// Its disk.
    pub incarnation: Incarnation,
    /// The ballot.
    pub ballot: Ballot,
    /// The slot.
    pub upto: Slot,
}

/// What is remembered: the newest word of each replica's disk.
#[derive(Debug, Default)]
pub(super) struct Witness {
    known: Vec<Acknowledged>,
}

impl Witness {
    /// What the disk remembered.
    pub fn new(known: Vec<Acknowledged>) -> Self {
        Self { known }
    }

    /// Everything that is known.
    pub fn known(&self) -> &[Acknowledged] {
        &self.known
    }

    fn of(&self, replica: ReplicaId) -> Option<Acknowledged> {
        self.known.iter().find(|known| known.replica == replica).copied()
    }
}

impl Paxos {
    /// The newest word that this replica knows of the disk of `replica`: what the hello to it carries.
    #[must_use]
    pub fn acknowledged_by(&self, replica: ReplicaId) -> Option<Acknowledged> {
        self.witness.of(replica)
    }

    /// All that this replica remembers of others' disks. Whoever ends in order to start again takes it along.
    #[must_use]
    pub fn acknowledged(&self) -> &[Acknowledged] {
        self.witness.known()
    }

    /// Whether this disk holds what it is said to have acknowledged. If not, it is an older copy of itself: this replica
    /// must not say another word.
    #[must_use]
    pub fn stands_by(&self, word: &Acknowledged) -> bool {
        let Acknowledged { replica, incarnation, ballot, upto } = *word;
        if (replica, incarnation) != (self.settings.me, self.settings.incarnation) {
            return true;
        }
        let voted = upto == Slot(0) || self.log.is_chosen(upto) || self.log.may_hold(upto, ballot);
        self.acceptor.promised >= ballot && voted
    }

    /// That disk said so.
    pub(super) fn note(&mut self, now: Instant, word: Acknowledged) {
        let Acknowledged { replica, incarnation, ballot, upto } = word;
        let newest = self.configs.newest();
        // A disk that is counted on no more has no word to keep.
        let counts = newest.member(replica).is_some_and(|m| m.incarnation.is_none_or(|disk| disk == incarnation));
        if !counts || replica == self.settings.me {
            return;
        }
        match self.witness.known.iter_mut().find(|known| known.replica == replica) {
            Some(known) if known.incarnation == incarnation && (known.ballot, known.upto) >= (ballot, upto) => return,
            Some(known) => *known = word,
            None => {
                self.witness.known.retain(|known| newest.member(known.replica).is_some());
                self.witness.known.push(word);
            }
        }
        self.acceptor.save_by(now + self.settings.lease.scaled(SAVED_EVERY_LEASES, 1));
    }

    /// What a leader tells everybody: what it remembers, and its own newest vote.
    pub(super) fn testimony(&self) -> Vec<Acknowledged> {
        let own = self.leading().filter(|(_, leading)| leading.acknowledged > Slot(0)).map(|(ballot, leading)| {
            let (replica, incarnation) = (self.settings.me, self.settings.incarnation);
            Acknowledged { replica, incarnation, ballot, upto: leading.acknowledged }
        });
        self.witness.known.iter().copied().chain(own).collect()
    }
}

/// What was learned of others goes to the hard state at most so many leases later.
const SAVED_EVERY_LEASES: u64 = 16;
