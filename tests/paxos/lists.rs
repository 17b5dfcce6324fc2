//! Which member list is in force for which slot, worked out from the chosen entries alone: what the oracles count by.

use quorate::limits::SLOT_WINDOW;
use quorate::paxos::{Config, Incarnation, ReplicaId, ReplicaSet, Slot, Value};

/// Every list the log ever named, and from which slot on it counts.
#[derive(Debug)]
pub struct Lists {
    pub(super) lists: Vec<(Slot, Config)>,
    /// The slot of the newest one's entry.
    newest: Slot,
    pub(super) upto: Slot,
}

impl Lists {
    /// The operator's list counts until another does.
    pub fn of(members: Config) -> Self {
        Self { lists: vec![(Slot(0), members)], newest: Slot(0), upto: Slot(0) }
    }

    /// The value of the next slot.
    pub fn follow(&mut self, slot: Slot, value: &Value) {
        assert_eq!(slot, self.upto.next(), "the log is followed slot by slot");
        self.upto = slot;
        if let Some((changes, config)) = Config::from_value(value)
            && changes == self.newest
        {
            let from = if slot == Slot(1) { Slot(2) } else { slot.plus(SLOT_WINDOW) };
            assert!(self.lists.last().is_some_and(|(before, _)| *before <= slot), "{slot:?}: two changes at once");
            self.newest = slot;
            self.lists.push((from, config));
        }
    }

    pub fn at(&self, slot: Slot) -> &Config {
        let at = self.lists.iter().rev().find(|(from, _)| *from <= slot);
        &at.expect("the operator's list is in force from the beginning").1
    }

    /// Whether a vote of that disk counts for that slot.
    pub fn counts(&self, slot: Slot, replica: ReplicaId, incarnation: Incarnation) -> bool {
        let list = self.at(slot);
        if slot <= Slot(1) { list.has_voter(replica) } else { list.counts(replica, incarnation) }
    }

    /// Whether these votes choose that slot.
    pub fn is_quorum(&self, slot: Slot, votes: impl Iterator<Item = (ReplicaId, Incarnation)>) -> bool {
        let mut counted = ReplicaSet::EMPTY;
        votes
            .filter(|(replica, disk)| self.counts(slot, *replica, *disk))
            .for_each(|(replica, _)| counted.insert(replica));
        self.at(slot).is_quorum(counted)
    }
}
