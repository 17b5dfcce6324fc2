//! The member list: which replicas vote, by name *and* incarnation.
//!
//! The list is a value of the log. The operator's list names replica ids only; the first entry of the log (slot 1, the
//! *founding* entry) names them with the incarnations the first leader has met, and a later entry binds each of the
//! others when it is first met. A replica whose disk was lost comes back with another incarnation, which no entry names:
//! its votes are dropped until the list is changed for it (change.rs).
//!
//! An entry says which list it changes, by the slot of that list's own entry. If another one was chosen in between, it
//! changes nothing: so a leader that finds the proposals of two earlier reigns may propose both again.

use bytes::BufMut;

use super::ballot::{Incarnation, ReplicaId, Slot};
use super::value::{Kind, Value};
use crate::limits::{CONFIG_BYTES_MAX, REPLICAS_MAX, SLOT_WINDOW};

/// The members of the cell, ordered by id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    members: Vec<Member>,
}

/// One replica of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its number.
    pub replica: ReplicaId,
    /// The disk that counts; `None` until the replica was first met.
    pub incarnation: Option<Incarnation>,
    /// What it counts for.
    pub standing: Standing,
    /// Where it is found, if the log was told; else where the operator's files say.
    pub addresses: Option<Addresses>,
}

/// What a member counts for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Its votes choose.
    Voter,
    /// It is sent the log, and keeps a lease's promise; it has no vote before it has caught up.
    Learner,
}

/// Where a member is found: `host:port` or `[v6]:port`, of no meaning here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// By the other replicas.
    pub peer: Box<str>,
    /// By clients.
    pub client: Box<str>,
}

/// A set of replicas, one bit each, so that nobody is counted twice.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaSet(u64);

impl Member {
    /// A voter whose disk was not met yet.
    #[must_use]
    pub fn voter(replica: ReplicaId) -> Self {
        Self { replica, incarnation: None, standing: Standing::Voter, addresses: None }
    }

    /// Whether its votes choose, once its disk is named.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.standing == Standing::Voter
    }
}

impl Config {
    /// The configuration of `members`, sorted.
    #[must_use]
    pub fn new(mut members: Vec<Member>) -> Self {
        members.sort_by_key(|m| m.replica);
        members.dedup_by_key(|m| m.replica);
        Self { members }
    }

    /// The operator's list: voters whose disks were not met yet.
    #[must_use]
    pub fn of_voters(replicas: impl IntoIterator<Item = ReplicaId>) -> Self {
        Self::new(replicas.into_iter().map(Member::voter).collect())
    }

    /// The operator's list as a disk has it that is to join a cell: it knows whom to ask, and of nobody that votes.
    #[must_use]
    pub fn of_strangers(replicas: impl IntoIterator<Item = ReplicaId>) -> Self {
        let stranger = |replica| Member { standing: Standing::Learner, ..Member::voter(replica) };
        Self::new(replicas.into_iter().map(stranger).collect())
    }

    /// The members, in order of their ids.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Those that vote, in order of their ids.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.is_voter())
    }

    /// How many votes choose: more than half of the voters.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// How many voters can be missing from a quorum.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.voters().count().saturating_sub(self.quorum())
    }

    /// The member with that id.
    #[must_use]
    pub fn member(&self, replica: ReplicaId) -> Option<&Member> {
        self.members.iter().find(|m| m.replica == replica)
    }

    /// Whether votes of that disk of that replica count.
    #[must_use]
    pub fn counts(&self, replica: ReplicaId, incarnation: Incarnation) -> bool {
        self.names(replica, incarnation) && self.has_voter(replica)
    }

    /// Whether that disk is that member's, voter or not.
    #[must_use]
    pub fn names(&self, replica: ReplicaId, incarnation: Incarnation) -> bool {
        self.member(replica).is_some_and(|m| m.incarnation == Some(incarnation))
    }

    /// Whether that replica votes, whatever its disk.
    #[must_use]
    pub fn has_voter(&self, replica: ReplicaId) -> bool {
        self.member(replica).is_some_and(Member::is_voter)
    }

    /// Whether `votes` holds more than half of the voters.
    #[must_use]
    pub fn is_quorum(&self, votes: ReplicaSet) -> bool {
        self.voters().filter(|m| votes.contains(m.replica)).count() >= self.quorum()
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

    /// The same members, with `member` in the place of the one of its id, if there was one.
    #[must_use]
    pub fn with(&self, member: Member) -> Self {
        let mut members = self.without(member.replica).members;
        members.push(member);
        Self::new(members)
    }

    /// The same members but that one.
    #[must_use]
    pub fn without(&self, replica: ReplicaId) -> Self {
        Self { members: self.members.iter().filter(|m| m.replica != replica).cloned().collect() }
    }

    /// Whether no member's disk was ever named: the operator's list, before the founding entry.
    #[must_use]
    pub fn is_unfounded(&self) -> bool {
        self.members.iter().all(|m| m.incarnation.is_none())
    }
}

/// The bytes of a list: a count, then per member its id; flags (1: its disk is named, 2: it learns, 4: its addresses are
/// told); the disk's incarnation (16 bytes, little-endian, zero if not named); and the addresses that are told, the one
/// for replicas first, each as its length (1 byte) and its text.
impl Config {
    /// The list as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.members.len() as u8];
        for member in &self.members {
            let told = if member.addresses.is_some() { TOLD } else { 0 };
            let flags = u8::from(member.incarnation.is_some()) | if member.is_voter() { 0 } else { LEARNS } | told;
            out.put_slice(&[member.replica.0, flags]);
            out.put_u128_le(member.incarnation.map_or(0, |i| i.0));
            for text in member.addresses.iter().flat_map(|addresses| [&addresses.peer, &addresses.client]) {
                out.put_u8(u8::try_from(text.len()).expect("an address that is taken fits a byte's length"));
                out.put_slice(text.as_bytes());
            }
        }
        out
    }

    /// Reads what [`Config::to_bytes`] wrote, and nothing else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (count, mut rest) = bytes.split_first()?;
        if usize::from(*count) > REPLICAS_MAX {
            return None;
        }
        let mut members: Vec<Member> = Vec::with_capacity(usize::from(*count));
        for _ in 0..*count {
            let member = take_member(&mut rest)?;
            if member.replica.0 == 0
                || member.replica.0 > 63
                || members.last().is_some_and(|m| m.replica >= member.replica)
            {
                return None;
            }
            members.push(member);
        }
        rest.is_empty().then_some(Self { members })
    }

    /// Whether it can be kept everywhere it must be.
    #[must_use]
    pub fn fits(&self) -> bool {
        let addresses = self.members.iter().filter_map(|m| m.addresses.as_ref());
        self.members.len() <= REPLICAS_MAX
            && addresses.flat_map(|a| [&a.peer, &a.client]).all(|text| text.len() <= usize::from(u8::MAX))
            && self.to_bytes().len() <= CONFIG_BYTES_MAX
    }

    /// The entry that puts this list in the place of the one whose entry is in slot `changes`: that slot, then the list.
    #[must_use]
    pub fn to_value(&self, changes: Slot) -> Value {
        let mut content = vec![Kind::Config.tag()];
        content.put_u64_le(changes.0);
        content.put_slice(&self.to_bytes());
        Value::copy_of(&content)
    }

    /// Reads what [`Config::to_value`] wrote; `None` if `value` is no member list.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<(Slot, Self)> {
        let (kind, rest) = value.bytes().split_first()?;
        // First of all: every entry is asked, and nearly none is a list.
        if *kind != Kind::Config.tag() {
            return None;
        }
        let (changes, rest) = rest.split_first_chunk()?;
        Some((Slot(u64::from_le_bytes(*changes)), Self::from_bytes(rest)?))
    }
}

const NAMED: u8 = 1;
const LEARNS: u8 = 2;
const TOLD: u8 = 4;

fn take_member(from: &mut &[u8]) -> Option<Member> {
    let ([replica, flags], rest) = from.split_first_chunk()?;
    let (incarnation, rest) = rest.split_first_chunk()?;
    *from = rest;
    if flags & !(NAMED | LEARNS | TOLD) != 0 {
        return None;
    }
    let incarnation = (flags & NAMED != 0).then_some(Incarnation(u128::from_le_bytes(*incarnation)));
    let standing = if flags & LEARNS == 0 { Standing::Voter } else { Standing::Learner };
    let addresses = match flags & TOLD {
        0 => None,
        _ => Some(Addresses { peer: take_text(from)?, client: take_text(from)? }),
    };
    Some(Member { replica: ReplicaId(*replica), incarnation, standing, addresses })
}

fn take_text(from: &mut &[u8]) -> Option<Box<str>> {
    let (length, rest) = from.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    *from = rest;
    std::str::from_utf8(text).ok().map(Box::from)
}

/// Which member list is in force for which slot. A chosen list takes force [`SLOT_WINDOW`] slots after its own, the
/// founding one in slot 2; a further change is only proposed once every slot before that is applied. So two lists suffice,
/// but for a replica whose hard state is further than its log: it must not judge slots before the older one's time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configs {
    previous: Config,
    previous_slot: Slot,
    newest: Config,
    newest_slot: Slot,
}

impl Configs {
    /// The operator's list; nothing was chosen yet.
    #[must_use]
    pub fn of_operator(members: Config) -> Self {
        Self { previous: members.clone(), previous_slot: Slot(0), newest: members, newest_slot: Slot(0) }
    }

    /// Appends both lists, the newest first, each as the slot of its entry (8 bytes), its length (4) and its bytes.
    pub fn put(&self, out: &mut impl BufMut) {
        for (slot, config) in [(self.newest_slot, &self.newest), (self.previous_slot, &self.previous)] {
            let bytes = config.to_bytes();
            out.put_u64_le(slot.0);
            out.put_u32_le(u32::try_from(bytes.len()).expect("a member list is short"));
            out.put_slice(&bytes);
        }
    }

    /// Reads what [`Configs::put`] appended, and goes past it.
    #[must_use]
    pub fn take(from: &mut &[u8]) -> Option<Self> {
        let mut list = || {
            let (slot, rest) = from.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            *from = rest;
            Some((Slot(u64::from_le_bytes(*slot)), Config::from_bytes(bytes)?))
        };
        let ((newest_slot, newest), (previous_slot, previous)) = (list()?, list()?);
        Some(Self { previous, previous_slot, newest, newest_slot })
    }

    /// Whether the list in force for `slot` is known. The founding slot is judged by the operator's replicas, and the
    /// founding list has just those.
    #[must_use]
    pub fn knows(&self, slot: Slot) -> bool {
        slot >= in_force_from(self.previous_slot) || self.previous_slot == Slot(1)
    }

    /// The list in force for `slot`.
    #[must_use]
    pub fn at(&self, slot: Slot) -> &Config {
        if slot >= self.in_force_from() { &self.newest } else { &self.previous }
    }

    /// Whether the newest list is in force for `slot` and all later ones.
    #[must_use]
    pub fn is_settled(&self, slot: Slot) -> bool {
        slot >= self.in_force_from()
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

    /// The slot of that one's entry.
    #[must_use]
    pub fn previous_slot(&self) -> Slot {
        self.previous_slot
    }

    /// The slot of the newest list's entry; 0 for the operator's.
    #[must_use]
    pub fn newest_slot(&self) -> Slot {
        self.newest_slot
    }

    /// The first slot the newest list is in force for.
    #[must_use]
    pub fn in_force_from(&self) -> Slot {
        in_force_from(self.newest_slot)
    }

    /// The entry of `slot` was chosen: `config` in the place of the list of `changes`. Whether that was the newest one, and
    /// so is changed.
    pub fn chosen(&mut self, slot: Slot, changes: Slot, config: Config) -> bool {
        assert!(slot > self.newest_slot, "config entries are chosen in slot order");
        if changes != self.newest_slot {
            return false;
        }
        self.previous = std::mem::replace(&mut self.newest, config);
        self.previous_slot = std::mem::replace(&mut self.newest_slot, slot);
        true
    }

    /// Whether the votes of that disk count for `slot`. For the founding slot any disk of a listed replica does: no list
    /// that names disks is chosen yet.
    #[must_use]
    pub fn counts(&self, slot: Slot, replica: ReplicaId, incarnation: Incarnation) -> bool {
        let config = self.at(slot);
        if slot <= Slot(1) { config.has_voter(replica) } else { config.counts(replica, incarnation) }
    }

    /// Whether the list in force for `slot`, or the newest one, names that disk, voter or not.
    #[must_use]
    pub fn names(&self, slot: Slot, replica: ReplicaId, incarnation: Incarnation) -> bool {
        self.counts(slot, replica, incarnation)
            || self.at(slot).names(replica, incarnation)
            || self.newest.names(replica, incarnation)
    }

    /// Whether that disk can be trusted with a ballot while `slot` is the first that is not chosen: the newest list names
    /// it, or none yet for its replica, or the list before does, whose slots are not all chosen.
    #[must_use]
    pub fn admits(&self, slot: Slot, replica: ReplicaId, incarnation: Incarnation) -> bool {
        let admitted = |config: &Config| {
            config.member(replica).is_some_and(|m| m.incarnation.is_none_or(|named| named == incarnation))
        };
        admitted(&self.newest) || slot < self.in_force_from() && admitted(&self.previous)
    }
}

fn in_force_from(entry: Slot) -> Slot {
    match entry.0 {
        0 => Slot(0),
        1 => Slot(2),
        slot => Slot(slot + if cfg!(bug = "25") { 1 } else { SLOT_WINDOW }),
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
        Config::of_voters((1..=3).map(ReplicaId))
    }

    #[test]
    fn a_config_survives_its_entry() {
        let addresses = Addresses { peer: "ten:7401".into(), client: "[::1]:7400".into() };
        let learner = Member { standing: Standing::Learner, addresses: Some(addresses), ..Member::voter(ReplicaId(9)) };
        let config = three().bound(ReplicaId(2), Incarnation(7 << 100)).with(learner);
        assert_eq!(Config::from_value(&config.to_value(Slot(5))), Some((Slot(5), config.clone())));
        let bytes = config.to_value(Slot(5)).bytes().clone();
        for len in 0..bytes.len() {
            assert_eq!(Config::from_value(&Value::copy_of(&bytes[..len])), None, "cut at {len}");
        }
        assert_eq!(Config::from_value(&Value::noop()), None);
    }

    #[test]
    fn a_change_takes_force_a_window_later_and_the_founding_one_at_once() {
        let mut configs = Configs::of_operator(three());
        assert!(configs.counts(Slot(1), ReplicaId(3), Incarnation(9)), "any disk counts for the founding slot");
        assert!(configs.chosen(Slot(1), Slot(0), three().bound(ReplicaId(1), Incarnation(1))));
        assert!(configs.counts(Slot(2), ReplicaId(1), Incarnation(1)));
        assert!(!configs.counts(Slot(2), ReplicaId(3), Incarnation(9)));
        let next = configs.newest().bound(ReplicaId(3), Incarnation(9));
        assert!(configs.chosen(Slot(5), Slot(1), next));
        assert!(!configs.counts(Slot(4 + SLOT_WINDOW), ReplicaId(3), Incarnation(9)));
        assert!(configs.counts(Slot(5 + SLOT_WINDOW), ReplicaId(3), Incarnation(9)));
        assert!(!configs.counts(Slot(5 + SLOT_WINDOW), ReplicaId(3), Incarnation(8)));
    }

    #[test]
    fn of_two_changes_of_one_list_the_later_is_void() {
        let mut configs = Configs::of_operator(three());
        assert!(configs.chosen(Slot(1), Slot(0), three()));
        assert!(configs.chosen(Slot(5), Slot(1), three().without(ReplicaId(3))));
        assert!(!configs.chosen(Slot(7), Slot(1), three().without(ReplicaId(2))));
        assert_eq!(configs.newest().members().len(), 2);
        assert_eq!(configs.newest_slot(), Slot(5));
        assert!(configs.knows(Slot(1)), "the founding list has the operator's replicas, which judge its slot");
        assert!(configs.chosen(Slot(80), Slot(5), three()));
        let first = Slot(5 + SLOT_WINDOW);
        assert!(!configs.knows(first.previous()) && configs.knows(first), "older lists are forgotten");
    }

    #[test]
    fn a_learner_has_no_vote_and_is_in_no_quorum() {
        let learner = Member { standing: Standing::Learner, ..Member::voter(ReplicaId(4)) };
        let config = three().with(learner).bound(ReplicaId(4), Incarnation(4));
        assert!(config.names(ReplicaId(4), Incarnation(4)) && !config.counts(ReplicaId(4), Incarnation(4)));
        let mut votes = ReplicaSet::EMPTY;
        votes.insert(ReplicaId(1));
        votes.insert(ReplicaId(4));
        assert!(!config.is_quorum(votes));
        assert!(!Config::of_strangers((1..=3).map(ReplicaId)).is_quorum(votes), "strangers are never enough");
    }
}
