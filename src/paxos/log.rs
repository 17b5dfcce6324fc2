//! What this replica holds of each slot: chosen values below, accepted and learned ones above the chosen watermark.
//!
//! ```text
//!   trimmed_upto        first in memory       applied_upto   chosen_upto            open
//! ------|------ on disk ------|------ chosen, in memory ------|---- accepted, learned, or nothing ----
//! ```

use std::collections::VecDeque;

use super::ballot::{Ballot, Slot};
use super::message::{Evidence, SlotReport};
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
    /// Slot `chosen_upto + 1 + i`.
    open: VecDeque<OpenSlot>,
    /// A leader of that ballot said that everything up to there is chosen.
    told: (Ballot, Slot),
}

/// A slot above the chosen watermark.
#[derive(Debug, Default)]
pub(super) struct OpenSlot {
    /// The newest vote, or a learned value.
    pub held: Option<Held>,
    /// Accepted at that ballot; the value with that hash is damaged here.
    pub lost: Option<(Ballot, u128)>,
    /// Perhaps accepted at that ballot: the record of it is damaged, or a crash tore it.
    pub maybe: Option<(Ballot, u128)>,
    /// A newer vote than anything known here may have been damaged.
    pub unknown: bool,
    /// `held` is the chosen value.
    pub chosen: bool,
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
            open: VecDeque::new(),
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

    /// Says of an open slot that nothing is known.
    pub fn set_unknown(&mut self, slot: Slot) {
        *self.open_mut(slot) = OpenSlot { unknown: true, ..OpenSlot::default() };
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
        let first = known.max(self.chosen_upto).0 - self.chosen_upto.0;
        let count = upto.0.saturating_sub(self.chosen_upto.0).min(self.open.len() as u64);
        for index in first..count {
            let open = &mut self.open[index as usize];
            open.chosen |= open.held.as_ref().is_some_and(|held| held.ballot == ballot || cfg!(bug = "10"));
        }
    }

    /// Moves the watermark over the next slot if it is known chosen; returns it with its value.
    pub fn advance(&mut self) -> Option<(Slot, Value)> {
        if !self.open.front()?.chosen {
            return None;
        }
        let held = self.open.pop_front()?.held.expect("a chosen slot holds its value");
        self.chosen_upto = self.chosen_upto.next();
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
        self.chosen_upto.plus(self.open.len() as u64)
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

    /// An open slot; none if nothing was ever said of it here.
    pub fn open(&self, slot: Slot) -> Option<&OpenSlot> {
        self.open.get((slot.0.checked_sub(self.chosen_upto.0 + 1)?) as usize)
    }

    /// What an open slot holds.
    pub fn held(&self, slot: Slot) -> Option<&Held> {
        self.open(slot)?.held.as_ref()
    }

    /// Whether an open slot's newest vote is, or may be, at `ballot` or above.
    pub fn may_hold(&self, slot: Slot, ballot: Ballot) -> bool {
        self.open(slot).is_some_and(|open| {
            let named = open.lost.or(open.maybe).map(|(accepted, _)| accepted);
            open.unknown || open.held.as_ref().map(|held| held.ballot).or(named).is_some_and(|at| at >= ballot)
        })
    }

    /// What this replica can say of the slots `first..=last`; a slot left out was never accepted here.
    pub fn reports(&self, first: Slot, last: Slot) -> Vec<SlotReport> {
        let first = first.max(self.chosen_upto.next());
        let last = last.min(self.last());
        (first.0..=last.0).filter_map(|slot| self.report(Slot(slot))).collect()
    }

    fn report(&self, slot: Slot) -> Option<SlotReport> {
        let open = self.open(slot)?;
        let evidence = match (&open.held, open.lost, open.maybe) {
            _ if open.unknown => Evidence::Unknown,
            (Some(held), ..) => Evidence::Have { accepted: held.ballot, hash: held.value.hash() },
            (None, Some((accepted, hash)), _) => Evidence::Lost { accepted, hash },
            (None, None, Some((accepted, hash))) => Evidence::Maybe { accepted, hash },
            (None, None, None) => return None,
        };
        Some(SlotReport { slot, evidence })
    }

    fn open_mut(&mut self, slot: Slot) -> &mut OpenSlot {
        assert!(slot > self.chosen_upto, "a slot at or below the chosen watermark is never open");
        let index = (slot.0 - self.chosen_upto.0 - 1) as usize;
        if index >= self.open.len() {
            self.open.resize_with(index + 1, OpenSlot::default);
        }
        &mut self.open[index]
    }

    /// Watermarks in order, and no chosen slot without its value.
    pub fn invariants(&self) {
        assert!(self.trimmed_upto <= self.applied_upto, "trimmed_upto <= applied_upto");
        assert!(self.applied_upto <= self.chosen_upto, "applied_upto <= chosen_upto");
        assert!(self.open.iter().all(|open| !open.chosen || open.held.is_some()), "a chosen slot holds its value");
        assert!(self.open.iter().all(|open| !open.unknown || open.held.is_none()), "an unknown slot holds no value");
        assert!(self.recent_bytes <= self.memory_bytes_max, "what is chosen is kept in bounds");
    }
}

/// The memory a value keeps alive: its bytes with the rooms around them.
fn footprint(value: &Value) -> usize {
    value.bytes().len() + RECORD_HEADER_BYTES + 2 * BLOCK_BYTES
}
