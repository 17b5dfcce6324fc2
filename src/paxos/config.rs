//! The member list: which replicas vote, by name *and* incarnation.
//!
//! The list is a value of the log. The operator's list names replica ids only; the first entry of the log (slot 1, the
//! *founding* entry) names them with the incarnations the first leader has met, and a later entry binds each of the
//! others when it is first met. A replica whose disk was lost comes back with another incarnation, which no entry names:
//! its votes are dropped.

use super::ballot::{Incarnation, ReplicaId, Slot};
use super::value::{Kind, Value};
use crate::limits::{REPLICAS_MAX, SLOT_WINDOW};

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

impl Config {
    /// Whether no member's disk was ever named: the operator's list, before the founding entry.
    #[must_use]
    pub fn is_unfounded(&self) -> bool {
        self.members.iter().all(|m| m.incarnation.is_none())
    }

    /// The entry that makes this the member list: a count, then per member its id, 1 if its disk is named, and the disk's
    /// incarnation (16 bytes, little-endian, zero if not named).
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut content = vec![Kind::Config.tag(), self.members.len() as u8];
        for member in &self.members {
            content.push(member.replica.0);
            content.push(u8::from(member.incarnation.is_some()));
            content.extend_from_slice(&member.incarnation.map_or(0, |i| i.0).to_le_bytes());
        }
        Value::copy_of(&content)
    }

    /// Reads what [`Config::to_value`] wrote; `None` if `value` is no member list.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        let (kind, rest) = value.bytes().split_first()?;
        let (count, rest) = rest.split_first()?;
        if *kind != Kind::Config.tag() || usize::from(*count) > REPLICAS_MAX || rest.len() != usize::from(*count) * 18 {
            return None;
        }
        let mut members = Vec::with_capacity(usize::from(*count));
        for chunk in rest.chunks_exact(18) {
            let replica = ReplicaId(chunk[0]);
            let incarnation = Incarnation(u128::from_le_bytes(chunk[2..].try_into().ok()?));
            let incarnation = match chunk[1] {
                0 => None,
                1 => Some(incarnation),
                _ => return None,
            };
            if replica.0 == 0 || replica.0 > 63 || members.last().is_some_and(|m: &Member| m.replica >= replica) {
                return None;
            }
            members.push(Member { replica, incarnation });
        }
        Some(Self { members })
    }
}

/// Which member list is in force for which slot. A chosen list takes force [`SLOT_WINDOW`] slots after its own, the
/// founding one in slot 2; a further change is only proposed once the last one is in force, so two lists suffice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configs {
    previous: Config,
    newest: Config,
    newest_slot: Slot,
}

impl Configs {
    /// As the hard state tells them.
    #[must_use]
    pub fn new(previous: Config, newest: Config, newest_slot: Slot) -> Self {
        Self { previous, newest, newest_slot }
    }

    /// The list in force for `slot`.
    #[must_use]
    pub fn at(&self, slot: Slot) -> &Config {
        if slot >= self.in_force_from() { &self.newest } else { &self.previous }
    }

    /// The list chosen last, or the operator's.
    #[must_use]
    pub fn newest(&self) -> &Config {
        &self.newest
    }

    /// The list before it.
    #[must_use]
    pub fn previous(&self) -> &Config {
        &self.previous
    }

    /// The slot of the newest list's entry; 0 for the operator's.
    #[must_use]
    pub fn newest_slot(&self) -> Slot {
        self.newest_slot
    }

    /// The first slot the newest list is in force for.
    #[must_use]
    pub fn in_force_from(&self) -> Slot {
        match self.newest_slot.0 {
            0 => Slot(0),
            1 => Slot(2),
            slot => Slot(slot + if cfg!(bug = "25") { 1 } else { SLOT_WINDOW }),
        }
    }

    /// `config` was chosen in `slot`.
    pub fn chosen(&mut self, slot: Slot, config: Config) {
        assert!(slot > self.newest_slot, "config entries are chosen in slot order");
        self.previous = std::mem::replace(&mut self.newest, config);
        self.newest_slot = slot;
    }

    /// Whether the votes of that disk count for `slot`. For the founding slot any disk of a listed replica does: no list
    /// that names disks is chosen yet.
    #[must_use]
    pub fn counts(&self, slot: Slot, replica: ReplicaId, incarnation: Incarnation) -> bool {
        let config = self.at(slot);
        if slot <= Slot(1) { config.member(replica).is_some() } else { config.counts(replica, incarnation) }
    }

    /// Whether that disk can be trusted with a ballot: the newest list names it, or none yet for its replica.
    #[must_use]
    pub fn admits(&self, replica: ReplicaId, incarnation: Incarnation) -> bool {
        self.newest.member(replica).is_some_and(|m| m.incarnation.is_none_or(|named| named == incarnation))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Config {
        Config::new((1..=3).map(|id| Member { replica: ReplicaId(id), incarnation: None }).collect())
    }

    #[test]
    fn a_config_survives_its_entry() {
        let config = three().bound(ReplicaId(2), Incarnation(7 << 100));
        assert_eq!(Config::from_value(&config.to_value()), Some(config.clone()));
        let bytes = config.to_value().bytes().clone();
        for len in 0..bytes.len() {
            assert_eq!(Config::from_value(&Value::copy_of(&bytes[..len])), None, "cut at {len}");
        }
        assert_eq!(Config::from_value(&Value::noop()), None);
    }

    #[test]
    fn a_change_takes_force_a_window_later_and_the_founding_one_at_once() {
        let mut configs = Configs::new(three(), three(), Slot(0));
        assert!(configs.counts(Slot(1), ReplicaId(3), Incarnation(9)), "any disk counts for the founding slot");
        configs.chosen(Slot(1), three().bound(ReplicaId(1), Incarnation(1)));
        assert!(configs.counts(Slot(2), ReplicaId(1), Incarnation(1)));
        assert!(!configs.counts(Slot(2), ReplicaId(3), Incarnation(9)));
        let next = configs.newest().bound(ReplicaId(3), Incarnation(9));
        configs.chosen(Slot(5), next);
        assert!(!configs.counts(Slot(4 + SLOT_WINDOW), ReplicaId(3), Incarnation(9)));
        assert!(configs.counts(Slot(5 + SLOT_WINDOW), ReplicaId(3), Incarnation(9)));
        assert!(!configs.counts(Slot(5 + SLOT_WINDOW), ReplicaId(3), Incarnation(8)));
    }
}
