//! What is known of each slot above the chosen prefix, while the log is read forwards.

use std::collections::BTreeMap;

use super::record::{Head, Name};
use crate::limits::SLOT_WINDOW;
use crate::paxos::{AcceptedRecord, Slot, Value};

/// First and last slot of a stretch.
pub type Slots = (Slot, Slot);

/// The slots of one log. Chosen values leave in order as soon as the log says that they are chosen, so that memory is
/// bounded by what was open at once.
pub(super) struct Evidence<'v> {
    /// The newest record of each slot above `emitted_upto`.
    newest: BTreeMap<Slot, Newest>,
    /// Stretches of which a record is lost without a trace. It says nothing of slots in `newest`: those records are newer.
    unknown: Vec<Slots>,
    /// Chosen, and handed to the visitor.
    emitted_upto: Slot,
    /// Chosen according to the newest record that says so.
    chosen_upto: Slot,
    highest: Slot,
    visit: &'v mut dyn FnMut(Slot, Value),
}

/// The newest record of a slot.
enum Newest {
    Have(AcceptedRecord),
    Bad(Bad),
}

/// A record whose value is bad.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bad {
    pub(super) name: Name,
    pub(super) learned: bool,
    pub(super) sequence: u64,
    /// The start that wrote it.
    pub(super) start: u64,
    /// Whether its trailer is there, so that it may have been whole once.
    pub(super) trailer: bool,
}

/// What remains to be said at the end.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) chosen_upto: Slot,
    pub(super) accepted: Vec<AcceptedRecord>,
    pub(super) lost: Vec<Name>,
    pub(super) maybe: Vec<Name>,
    pub(super) unknown: Vec<Slots>,
    pub(super) missing: Vec<Slots>,
}

impl<'v> Evidence<'v> {
    /// Every slot up to `applied_upto` is covered by an image.
    pub(super) fn new(applied_upto: Slot, visit: &'v mut dyn FnMut(Slot, Value)) -> Self {
        Self {
            newest: BTreeMap::new(),
            unknown: Vec::new(),
            emitted_upto: applied_upto,
            chosen_upto: applied_upto,
            highest: applied_upto,
            visit,
        }
    }

    /// A whole record.
    pub(super) fn have(&mut self, head: &Head, value: Value) {
        let Name { slot, ballot, .. } = head.name;
        self.highest = self.highest.max(slot);
        if slot <= self.emitted_upto {
            return;
        }
        let learned = head.learned || self.learned(slot);
        let record = AcceptedRecord { slot, ballot, value, learned, chosen_upto: head.chosen_upto };
        self.newest.insert(slot, Newest::Have(record));
        self.bound();
    }

    /// A record whose value is bad. Returns whether that leaves the slot without a value.
    pub(super) fn bad(&mut self, bad: Bad) -> bool {
        let name = bad.name;
        self.highest = self.highest.max(name.slot);
        if name.slot <= self.emitted_upto {
            return false;
        }
        match self.newest.get_mut(&name.slot) {
            // The same value was accepted before: the new ballot is known, and so is what it stands for.
            Some(Newest::Have(record)) if record.value.hash() == name.hash => {
                record.ballot = name.ballot;
                record.learned |= bad.learned;
                false
            }
            Some(Newest::Have(record)) if record.learned => false,
            _ => {
                self.newest.insert(name.slot, Newest::Bad(bad));
                true
            }
        }
    }

    /// `records` records are lost without a trace; the next one that is known is for `next`. Returns what they may have
    /// been for.
    pub(super) fn lost_without_trace(&mut self, records: u64, next: Slot) -> Slots {
        let from = self.chosen_upto.next();
        let upto = Slot(self.highest.0.saturating_add(records)).max(next).plus(SLOT_WINDOW);
        self.newest.retain(|slot, newest| *slot < from || matches!(newest, Newest::Have(record) if record.learned));
        self.unknown.push((from, upto));
        (from, upto)
    }

    /// The log says that everything up to there is chosen, and that its records came before.
    pub(super) fn chosen(&mut self, upto: Slot) {
        self.chosen_upto = self.chosen_upto.max(upto);
        while self.emitted_upto < self.chosen_upto {
            let slot = self.emitted_upto.next();
            match self.newest.remove(&slot) {
                Some(Newest::Have(record)) => (self.visit)(slot, record.value),
                Some(bad @ Newest::Bad(_)) => {
                    self.newest.insert(slot, bad);
                    break;
                }
                None => break,
            }
            self.emitted_upto = slot;
        }
    }

    /// `maybe` tells of the sequence and start of a bad record whether its writer may have crashed before it was durable.
    pub(super) fn finish(self, maybe: &dyn Fn(u64, u64) -> bool) -> Verdict {
        let mut verdict = Verdict { chosen_upto: self.emitted_upto, ..Verdict::default() };
        let first = self.emitted_upto.next();
        let mut doubtful = self.unknown;
        doubtful.push((first, self.chosen_upto));
        verdict.unknown = without(&doubtful, first, |slot| self.newest.contains_key(&slot));
        let whole = |slot: Slot| matches!(self.newest.get(&slot), Some(Newest::Have(_)));
        verdict.missing = without(&[(first, self.chosen_upto)], first, whole);
        for (slot, newest) in self.newest {
            match newest {
                Newest::Have(mut record) => {
                    // Chosen, and this is its value; it only waits for a slot before it.
                    record.learned |= slot <= self.chosen_upto;
                    verdict.accepted.push(record);
                }
                Newest::Bad(bad) if bad.trailer && maybe(bad.sequence, bad.start) => verdict.maybe.push(bad.name),
                Newest::Bad(bad) => verdict.lost.push(bad.name),
            }
        }
        verdict
    }

    fn learned(&self, slot: Slot) -> bool {
        matches!(self.newest.get(&slot), Some(Newest::Have(record)) if record.learned)
    }

    /// Behind a damaged chosen slot the values cannot leave; the oldest are given up, to be fetched from peers.
    fn bound(&mut self) {
        while self.newest.len() > VALUES_HELD_MAX
            && let Some(first) = self.newest.first_entry()
            && *first.key() <= self.chosen_upto
        {
            first.remove();
        }
    }
}

/// The slots of `stretches` from `first` on that are not `known`, in order, each once.
fn without(stretches: &[Slots], first: Slot, known: impl Fn(Slot) -> bool) -> Vec<Slots> {
    let mut sorted: Vec<Slots> = stretches.iter().map(|(from, upto)| ((*from).max(first), *upto)).collect();
    sorted.sort_unstable();
    let mut out: Vec<Slots> = Vec::new();
    let mut next = first;
    for (from, upto) in sorted {
        let mut slot = from.max(next);
        while slot <= upto {
            if !known(slot) {
                match out.last_mut() {
                    Some(last) if last.1.next() == slot => last.1 = slot,
                    _ => out.push((slot, slot)),
                }
            }
            slot = slot.next();
        }
        next = next.max(slot);
    }
    out
}

/// Values kept in memory at once, apart from those above everything known to be chosen.
const VALUES_HELD_MAX: usize = 4 * SLOT_WINDOW as usize;
