//! What is known of each slot above the chosen prefix, while the log is read forwards.

use std::collections::BTreeMap;

use super::record::{Head, Name};
use crate::limits::SLOT_WINDOW;
use crate::paxos::{AcceptedRecord, Slot, Stretch, Stretches, Value};

/// The slots of one log. Chosen values leave in order as soon as the log says that they are chosen, so that memory is
/// bounded by what was open at once.
pub(super) struct Evidence<'v> {
    /// The newest record of each slot above `emitted_upto`.
    newest: BTreeMap<Slot, Newest>,
    /// Stretches of which a record is lost without a trace. It says nothing of slots in `newest`: those records are newer.
    unknown: Vec<Stretch>,
    /// Chosen, and handed to the visitor.
    emitted_upto: Slot,
    /// Chosen according to the newest record that says so.
    chosen_upto: Slot,
    /// The log jumped over slots that are in no image here: what later records say is chosen is not known to be what the
    /// records before the jump hold.
    broken_off: bool,
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
    pub(super) unknown: Vec<Stretch>,
    pub(super) missing: Vec<Stretch>,
}

impl<'v> Evidence<'v> {
    /// Every slot up to `applied_upto` is covered by an image.
    pub(super) fn new(applied_upto: Slot, visit: &'v mut dyn FnMut(Slot, Value)) -> Self {
        Self {
            newest: BTreeMap::new(),
            unknown: Vec::new(),
            emitted_upto: applied_upto,
            chosen_upto: applied_upto,
            broken_off: false,
            highest: Slot(0),
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

    /// `records` records are lost without a trace, after which the log knew of `next` at most. Returns up to where they may
    /// have been for: nothing was taken further than a window above what was held.
    pub(super) fn lost_without_trace(&mut self, records: u64, next: Slot) -> Slot {
        let from = self.chosen_upto.next();
        let upto = Slot(self.highest.0.saturating_add(records)).max(next).plus(SLOT_WINDOW);
        if from <= upto {
            self.newest.retain(|slot, newest| *slot < from || matches!(newest, Newest::Have(record) if record.learned));
            self.unknown.push((from, upto));
        }
        upto
    }

    /// The log says that everything up to there is chosen, and that its records came before.
    pub(super) fn chosen(&mut self, upto: Slot) {
        if self.broken_off {
            return;
        }
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

    /// From here on the log goes on from an image that holds everything up to `upto`, and that no record led to.
    pub(super) fn jumps_to(&mut self, upto: Slot) {
        self.broken_off |= self.emitted_upto < upto;
    }

    /// The highest slot of any record.
    pub(super) fn highest(&self) -> Slot {
        self.highest
    }

    /// Whatever the log says, every slot up to `known_chosen` is chosen: nothing there was *never accepted*. `maybe` tells of
    /// the sequence and start of a bad record whether its writer may have crashed before it was durable.
    pub(super) fn finish(self, known_chosen: Slot, maybe: &dyn Fn(u64, u64) -> bool) -> Verdict {
        let mut verdict = Verdict { chosen_upto: self.emitted_upto, ..Verdict::default() };
        let emitted = self.emitted_upto;
        let mut doubtful = self.unknown;
        doubtful.push((emitted.next(), self.chosen_upto.max(known_chosen)));
        verdict.unknown = Stretches::above(emitted, &doubtful).without(self.newest.keys().copied());
        let whole = self.newest.iter().filter(|(_, newest)| matches!(newest, Newest::Have(_))).map(|(slot, _)| *slot);
        verdict.missing = Stretches::above(emitted, &[(emitted.next(), self.chosen_upto)]).without(whole);
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

/// Values kept in memory at once, apart from those above everything known to be chosen.
const VALUES_HELD_MAX: usize = 4 * SLOT_WINDOW as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Ballot, ReplicaId};

    fn name(slot: u64, round: u64, value: &Value) -> Name {
        Name { slot: Slot(slot), ballot: Ballot { round, replica: ReplicaId(1) }, hash: value.hash() }
    }

    fn value(text: &str) -> Value {
        Value::copy_of(text.as_bytes())
    }

    fn bad(slot: u64, round: u64, text: &str, sequence: u64, trailer: bool) -> Bad {
        Bad { name: name(slot, round, &value(text)), learned: false, sequence, start: 1, trailer }
    }

    /// Runs `story` on slots of which none is applied, and returns the verdict with records after 5 not yet durable, and
    /// the slots that left as chosen.
    fn judged(story: impl FnOnce(&mut Evidence<'_>)) -> (Verdict, Vec<u64>) {
        let mut left = Vec::new();
        let mut visit = |slot: Slot, _: Value| left.push(slot.0);
        let mut evidence = Evidence::new(Slot(0), &mut visit);
        story(&mut evidence);
        let verdict = evidence.finish(Slot(0), &|sequence, _| sequence > 5);
        (verdict, left)
    }

    fn have(evidence: &mut Evidence<'_>, slot: u64, round: u64, text: &str) {
        let value = value(text);
        let head = crate::journal::record::sample(name(slot, round, &value));
        evidence.have(&head, value);
    }

    fn stretch(from: u64, upto: u64) -> Stretch {
        (Slot(from), Slot(upto))
    }

    #[test]
    fn chosen_values_leave_in_order_and_wait_behind_a_damaged_one() {
        let (verdict, left) = judged(|evidence| {
            (1..=4).filter(|slot| *slot != 3).for_each(|slot| have(evidence, slot, 1, "v"));
            evidence.bad(bad(3, 1, "v", 2, true));
            evidence.chosen(Slot(4));
        });
        assert_eq!((left, verdict.chosen_upto), (vec![1, 2], Slot(2)));
        assert_eq!(verdict.missing, [stretch(3, 3)]);
        assert_eq!(verdict.lost.len(), 1);
        assert!(verdict.accepted.iter().all(|record| record.slot == Slot(4) && record.learned), "slot 4 is chosen");
    }

    #[test]
    fn a_damaged_value_is_lost_once_acknowledged_and_maybe_before() {
        let (verdict, _) = judged(|evidence| {
            evidence.bad(bad(1, 1, "a", 5, true));
            evidence.bad(bad(2, 1, "b", 6, true));
            evidence.bad(bad(3, 1, "c", 7, false));
        });
        assert_eq!(verdict.lost.iter().map(|name| name.slot.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(verdict.maybe.iter().map(|name| name.slot.0).collect::<Vec<_>>(), [2]);
        assert!(verdict.unknown.is_empty() && verdict.accepted.is_empty());
    }

    #[test]
    fn a_damaged_acceptance_of_the_same_value_keeps_the_value_under_the_new_ballot() {
        let (verdict, _) = judged(|evidence| {
            have(evidence, 1, 1, "a");
            evidence.bad(bad(1, 2, "a", 3, true));
        });
        assert_eq!(verdict.accepted[0].ballot.round, 2);
        assert!(verdict.lost.is_empty());
    }

    #[test]
    fn a_record_lost_without_trace_silences_older_ones_and_not_newer_ones() {
        let (verdict, _) = judged(|evidence| {
            (1..=4).for_each(|slot| have(evidence, slot, 1, "old"));
            evidence.chosen(Slot(1));
            evidence.lost_without_trace(1, Slot(3));
            have(evidence, 3, 2, "new");
        });
        let top = 4 + 1 + SLOT_WINDOW;
        assert_eq!(verdict.unknown, [stretch(2, 2), stretch(4, top)]);
        assert_eq!(verdict.accepted.iter().map(|record| record.slot.0).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn doubts_that_overlap_are_one_and_end_where_values_left_or_came_since() {
        let (verdict, left) = judged(|evidence| {
            evidence.lost_without_trace(1, Slot(1));
            [1, 2, 5].into_iter().for_each(|slot| have(evidence, slot, 1, "v"));
            evidence.chosen(Slot(2));
            evidence.lost_without_trace(1, Slot(3));
            have(evidence, 4, 2, "new");
        });
        let top = 5 + 1 + SLOT_WINDOW;
        assert_eq!((left, verdict.chosen_upto), (vec![1, 2], Slot(2)));
        assert_eq!(verdict.unknown, [stretch(3, 3), stretch(5, top)]);
        assert_eq!(verdict.missing, []);
    }

    #[test]
    fn votes_before_a_jump_are_never_taken_for_what_was_chosen_behind_it() {
        let (verdict, left) = judged(|evidence| {
            (1..=3).for_each(|slot| have(evidence, slot, 1, "v"));
            evidence.chosen(Slot(2));
            evidence.jumps_to(Slot(8));
            have(evidence, 9, 4, "w");
            evidence.chosen(Slot(9));
        });
        assert_eq!((left, verdict.chosen_upto), (vec![1, 2], Slot(2)));
        let votes: Vec<_> = verdict.accepted.iter().map(|record| (record.slot.0, record.learned)).collect();
        assert_eq!(votes, [(3, false), (9, false)]);
        let (verdict, left) = judged(|evidence| {
            evidence.jumps_to(Slot(0));
            have(evidence, 1, 4, "w");
            evidence.chosen(Slot(1));
        });
        assert_eq!((left, verdict.chosen_upto), (vec![1], Slot(1)), "the image it jumped to is there");
    }

    #[test]
    fn what_waits_behind_a_damaged_chosen_slot_is_bounded() {
        let slots = 3 * VALUES_HELD_MAX as u64;
        let (verdict, left) = judged(|evidence| {
            for slot in 2..=slots {
                have(evidence, slot, 1, "v");
                evidence.chosen(Slot(slot));
            }
        });
        assert!(left.is_empty());
        assert_eq!(verdict.accepted.len(), VALUES_HELD_MAX);
        assert_eq!(verdict.missing, [stretch(1, slots - VALUES_HELD_MAX as u64)]);
        assert_eq!(verdict.missing, verdict.unknown);
    }
}
