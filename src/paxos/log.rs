//! What this replica holds of each slot: chosen values below, accepted and learned ones above the chosen watermark.
//!
//! ```text
//!   trimmed_upto        first in memory       applied_upto   chosen_upto            open
//! ------|------ on disk ------|------ chosen, in memory ------|---- accepted, learned, or nothing ----
//! ```
//!
//! Above the chosen watermark there is no end: who went on from an image that is lost by now knows that slots far beyond its log
//! are chosen, and nothing else of them. So what takes memory is what is held; of the rest stretches are kept.

use std::collections::{BTreeMap, VecDeque};

use super::ballot::{Ballot, Slot};
use super::message::{Evidence, SlotReport};
use super::stretches::{Stretch, Stretches};
use super::value::Value;
use crate::limits::{BLOCK_BYTES, RECORD_HEADER_BYTES, SLOT_WINDOW};

/// An acceptor takes nothing further than this above what it holds: a replica that lags more catches up first. A start that
/// cannot read the newest records knows by it how far they may have gone (`journal/evidence.rs`).
pub(super) const ACCEPT_AHEAD: u64 = SLOT_WINDOW;

/// The slots of one replica.
#[derive(Debug)]
pub(super) struct Log {
    chosen_upto: Slot,
    applied_upto: Slot,
    trimmed_upto: Slot,
    /// The newest chosen values; the last one is slot `chosen_upto`.
    recent: VecDeque<Value>,
    recent_bytes: usize,
    memory_bytes_max: usize,
    /// The slots above it of which something is known.
    open: BTreeMap<Slot, OpenSlot>,
    /// Unless they are open by now: a newer vote than anything known here may have been damaged in these.
    unknown: Stretches,
    /// A leader of that ballot said that everything up to there is chosen.
    told: (Ballot, Slot),
}

/// A slot above the chosen watermark.
#[derive(Debug, Default)]
struct OpenSlot {
    /// The newest vote, or a learned value.
    held: Option<Held>,
    /// Accepted at that ballot; the value with that hash is damaged here.
    lost: Option<(Ballot, u128)>,
    /// Perhaps accepted at that ballot: the record of it is damaged, or a crash tore it.
    maybe: Option<(Ballot, u128)>,
    /// `held` is the chosen value.
    chosen: bool,
}

/// A value in an open slot.
#[derive(Debug)]
pub(super) struct Held {
    /// The vote's ballot.
    pub ballot: Ballot,
    /// Its value.
    pub value: Value,
}

impl Log {
    /// A log of which everything up to `chosen_upto` is applied, and nothing is in memory.
    pub fn new(chosen_upto: Slot, trimmed_upto: Slot, memory_bytes_max: usize) -> Self {
        assert!(trimmed_upto <= chosen_upto, "only what is chosen is trimmed");
        Self {
            chosen_upto,
            applied_upto: chosen_upto,
            trimmed_upto,
            recent: VecDeque::new(),
            recent_bytes: 0,
            memory_bytes_max,
            open: BTreeMap::new(),
            unknown: Stretches::default(),
            told: (Ballot::NONE, Slot(0)),
        }
    }

    /// Holds `value` in an open slot; a vote at the told ballot within the told range is the chosen value.
    pub fn hold(&mut self, slot: Slot, ballot: Ballot, value: Value) {
        let chosen = ballot == self.told.0 && slot <= self.told.1;
        let open = self.open_mut(slot);
        assert!(!open.chosen, "a chosen slot takes no further vote");
        *open = OpenSlot { held: Some(Held { ballot, value }), chosen, ..OpenSlot::default() };
    }

    /// Says of an open slot that its newest vote is known by ballot and hash alone.
    pub fn set_lost(&mut self, slot: Slot, ballot: Ballot, hash: u128) {
        *self.open_mut(slot) = OpenSlot { lost: Some((ballot, hash)), ..OpenSlot::default() };
    }

    /// Says of an open slot that it may have a vote, known by ballot and hash alone.
    pub fn set_maybe(&mut self, slot: Slot, ballot: Ballot, hash: u128) {
        *self.open_mut(slot) = OpenSlot { maybe: Some((ballot, hash)), ..OpenSlot::default() };
    }

    /// Says of the open slots of these stretches that nothing is known, whatever was said of them.
    pub fn set_unknown(&mut self, stretches: &[Stretch]) {
        self.unknown = Stretches::above(self.chosen_upto, stretches);
        let unknown = &self.unknown;
        self.open.retain(|slot, _| !unknown.contains(*slot));
    }

    /// What an open slot holds is the chosen value.
    pub fn choose(&mut self, slot: Slot) {
        let open = self.open_mut(slot);
        assert!(open.held.is_some(), "only a held value can be known as the chosen one");
        open.chosen = true;
    }

    /// Everything up to `upto` is chosen, says the leader of `ballot`: what is held at exactly that ballot is the chosen
    /// value; an older vote may not be.
    pub fn told(&mut self, ballot: Ballot, upto: Slot) {
        let known = if self.told.0 == ballot { self.told.1 } else { Slot(0) };
        if upto <= known || ballot < self.told.0 {
            return;
        }
        self.told = (ballot, upto);
        let news = known.max(self.chosen_upto).next()..=upto;
        if news.is_empty() {
            return;
        }
        for (_, open) in self.open.range_mut(news) {
            open.chosen |= open.held.as_ref().is_some_and(|held| held.ballot == ballot || cfg!(bug = "10"));
        }
    }

    /// Moves the watermark over the next slot if it is known chosen; returns it with its value.
    pub fn advance(&mut self) -> Option<(Slot, Value)> {
        let next = self.open.first_entry()?;
        if *next.key() != self.chosen_upto.next() || !next.get().chosen {
            return None;
        }
        let held = next.remove().held.expect("a chosen slot holds its value");
        self.chosen_upto = self.chosen_upto.next();
        self.unknown.forget_upto(self.chosen_upto);
        let value = held.value.clone();
        self.recent_bytes += footprint(&held.value);
        self.recent.push_back(held.value);
        while self.recent_bytes > self.memory_bytes_max {
            let oldest = self.recent.pop_front().expect("bytes without a value are none");
            self.recent_bytes -= footprint(&oldest);
        }
        Some((self.chosen_upto, value))
    }

    /// The replica applied and published everything up to `slot`.
    pub fn set_applied(&mut self, slot: Slot) {
        assert!(slot >= self.applied_upto, "what is applied stays applied");
        assert!(slot <= self.chosen_upto, "only what is chosen is applied");
        self.applied_upto = slot;
    }

    /// The journal gave up everything up to `slot`.
    pub fn set_trimmed(&mut self, slot: Slot) {
        assert!(slot <= self.applied_upto, "only what is applied is trimmed");
        self.trimmed_upto = self.trimmed_upto.max(slot);
    }

    /// Everything up to here is chosen and held.
    pub fn chosen_upto(&self) -> Slot {
        self.chosen_upto
    }

    /// Everything up to here is applied and published.
    pub fn applied_upto(&self) -> Slot {
        self.applied_upto
    }

    /// Everything up to here is gone from the log.
    pub fn trimmed_upto(&self) -> Slot {
        self.trimmed_upto
    }

    /// The first slot whose chosen value is in memory; `chosen_upto + 1` if none is.
    pub fn first_in_memory(&self) -> Slot {
        Slot(self.chosen_upto.0 + 1 - self.recent.len() as u64)
    }

    /// The last slot anything is held or suspected in.
    pub fn last(&self) -> Slot {
        let open = self.open.last_key_value().map(|(slot, _)| *slot);
        self.chosen_upto.max(open.unwrap_or_default()).max(self.unknown.last().unwrap_or_default())
    }

    /// The value of a slot known chosen, if it is in memory.
    pub fn chosen(&self, slot: Slot) -> Option<&Value> {
        if slot > self.chosen_upto {
            let open = self.open(slot)?;
            return if open.chosen { open.held.as_ref().map(|held| &held.value) } else { None };
        }
        self.recent.get(slot.0.checked_sub(self.first_in_memory().0)? as usize)
    }

    /// Whether the slot's chosen value is known, in memory or below.
    pub fn is_chosen(&self, slot: Slot) -> bool {
        slot <= self.chosen_upto || self.open(slot).is_some_and(|open| open.chosen)
    }

    /// What an open slot holds.
    pub fn held(&self, slot: Slot) -> Option<&Held> {
        self.open(slot)?.held.as_ref()
    }

    /// Whether an open slot's newest vote is, or may be, at `ballot` or above.
    pub fn may_hold(&self, slot: Slot, ballot: Ballot) -> bool {
        self.is_unknown(slot)
            || self.open(slot).is_some_and(|open| {
                let named = open.lost.or(open.maybe).map(|(accepted, _)| accepted);
                open.held.as_ref().map(|held| held.ballot).or(named).is_some_and(|at| at >= ballot)
            })
    }

    /// What this replica can say of the slots `first..=last`, one by one; a slot left out was never accepted here.
    pub fn reports(&self, first: Slot, last: Slot) -> Vec<SlotReport> {
        let first = first.max(self.chosen_upto.next());
        let last = last.min(self.last());
        (first.0..=last.0).filter_map(|slot| self.report(Slot(slot))).collect()
    }

    /// What it can say of all open slots, in slot order, but for those of which it knows nothing; and these.
    pub fn all_reports(&self) -> (Vec<SlotReport>, Stretches) {
        let said = self.open.keys().filter_map(|slot| self.report(*slot)).collect();
        (said, self.unknown.clone())
    }

    fn report(&self, slot: Slot) -> Option<SlotReport> {
        let Some(open) = self.open(slot) else {
            return self.is_unknown(slot).then_some(SlotReport { slot, evidence: Evidence::Unknown });
        };
        let evidence = match (&open.held, open.lost, open.maybe) {
            (Some(held), ..) => Evidence::Have { accepted: held.ballot, hash: held.value.hash() },
            (None, Some((accepted, hash)), _) => Evidence::Lost { accepted, hash },
            (None, None, Some((accepted, hash))) => Evidence::Maybe { accepted, hash },
            (None, None, None) => return None,
        };
        Some(SlotReport { slot, evidence })
    }

    fn is_unknown(&self, slot: Slot) -> bool {
        !self.open.contains_key(&slot) && slot > self.chosen_upto && self.unknown.contains(slot)
    }

    /// An open slot; none if nothing is known of it here.
    fn open(&self, slot: Slot) -> Option<&OpenSlot> {
        self.open.get(&slot)
    }

    fn open_mut(&mut self, slot: Slot) -> &mut OpenSlot {
        assert!(slot > self.chosen_upto, "a slot at or below the chosen watermark is never open");
        self.open.entry(slot).or_default()
    }

    /// Watermarks in order, and no chosen slot without its value.
    pub fn invariants(&self) {
        assert!(self.trimmed_upto <= self.applied_upto, "trimmed_upto <= applied_upto");
        assert!(self.applied_upto <= self.chosen_upto, "applied_upto <= chosen_upto");
        assert!(self.open.values().all(|open| !open.chosen || open.held.is_some()), "a chosen slot holds its value");
        assert!(
            self.open.keys().all(|slot| *slot > self.chosen_upto),
            "what is chosen up to there is not open any more"
        );
        assert!(self.recent_bytes <= self.memory_bytes_max, "what is chosen is kept in bounds");
    }
}

/// The memory a value keeps alive: its bytes with the rooms around them.
fn footprint(value: &Value) -> usize {
    value.bytes().len() + RECORD_HEADER_BYTES + 2 * BLOCK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::ReplicaId;

    fn value(text: &str) -> Value {
        Value::copy_of(text.as_bytes())
    }

    #[test]
    fn only_what_is_held_takes_memory_however_far_the_slots_go_of_which_nothing_is_known() {
        let ballot = Ballot { round: 3, replica: ReplicaId(1) };
        let far = Slot(1 << 60);
        let mut log = Log::new(Slot(10), Slot(0), 1 << 20);
        log.hold(Slot(12), ballot, value("damaged"));
        log.set_unknown(&[(Slot(4), far)]);
        assert_eq!((log.open.len(), log.last()), (0, far), "a newer vote than that one may have been damaged");
        log.hold(far.next(), ballot, value("beyond"));
        log.hold(Slot(11), ballot, value("a"));
        log.hold(Slot(13), ballot, value("b"));
        assert_eq!((log.open.len(), log.last()), (3, far.next()));
        assert!(log.may_hold(Slot(12), ballot) && log.may_hold(far, ballot) && !log.may_hold(far.plus(2), ballot));
        let unknown = |report: &SlotReport| matches!(report.evidence, Evidence::Unknown);
        let said: Vec<_> = log.reports(Slot(0), Slot(15)).iter().map(|r| (r.slot.0, unknown(r))).collect();
        assert_eq!(said, [(11, false), (12, true), (13, false), (14, true), (15, true)]);
        let (held, rest) = log.all_reports();
        assert_eq!(held.iter().map(|report| report.slot).collect::<Vec<_>>(), [Slot(11), Slot(13), far.next()]);
        assert!(!held.iter().any(unknown) && rest.contains(far) && !rest.contains(Slot(10)));

        log.told(ballot, far);
        assert_eq!(log.advance().map(|(slot, _)| slot), Some(Slot(11)));
        assert!(log.advance().is_none(), "nothing is held in slot 12");
        log.hold(Slot(12), ballot, value("again"));
        assert!(log.reports(Slot(12), Slot(12)).iter().all(|report| !unknown(report)), "it is known now");
        assert_eq!(std::iter::from_fn(|| log.advance()).map(|(slot, _)| slot.0).collect::<Vec<_>>(), [12, 13]);
        assert_eq!(log.reports(Slot(0), Slot(14)).len(), 1, "what is chosen is open no more");
        log.invariants();
    }
}
