//! Stretches of slots: what is said of many neighbouring ones takes the room of one.

use super::ballot::Slot;

/// The first and the last slot of a stretch.
pub type Stretch = (Slot, Slot);

/// Slots, as stretches: ascending, and no two of them touch.
#[derive(Clone, Default, Debug)]
pub struct Stretches(Vec<Stretch>);

impl Stretches {
    /// Those of `said` that lie above `upto`; they may overlap, in any order.
    pub fn above(upto: Slot, said: &[Stretch]) -> Self {
        let above = said.iter().map(|(first, last)| ((*first).max(upto.next()), *last));
        let mut sorted: Vec<Stretch> = above.filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        let mut merged: Vec<Stretch> = Vec::new();
        for (first, last) in sorted {
            match merged.last_mut() {
                Some(before) if first <= before.1.next() => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// What is left of them without the slots `known`, which ascend.
    pub fn without(&self, known: impl Iterator<Item = Slot>) -> Vec<Stretch> {
        let mut known = known.peekable();
        let mut left = Vec::new();
        for (first, last) in &self.0 {
            let mut next = *first;
            while known.next_if(|slot| *slot < next).is_some() {}
            while let Some(hole) = known.next_if(|slot| slot <= last) {
                if next < hole {
                    left.push((next, hole.previous()));
                }
                next = hole.next();
            }
            if next <= *last {
                left.push((next, *last));
            }
        }
        left
    }

    /// Lets go of the stretches that end at or below `upto`.
    pub fn forget_upto(&mut self, upto: Slot) {
        let done = self.0.partition_point(|(_, last)| *last <= upto);
        self.0.drain(..done);
    }

    /// Whether that slot lies in one of them.
    pub fn contains(&self, slot: Slot) -> bool {
        let next = self.0.partition_point(|(_, last)| *last < slot);
        self.0.get(next).is_some_and(|(first, _)| *first <= slot)
    }

    /// The last slot of all.
    pub fn last(&self) -> Option<Slot> {
        self.0.last().map(|(_, last)| *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(first: u64, last: u64) -> Stretch {
        (Slot(first), Slot(last))
    }

    #[test]
    fn they_are_merged_and_end_above_what_is_chosen() {
        let said = [stretch(20, 22), stretch(1, 5), stretch(6, 8), stretch(2, 3), stretch(21, 1 << 60), stretch(9, 8)];
        let mut stretches = Stretches::above(Slot(3), &said);
        assert_eq!(stretches.0, [stretch(4, 8), stretch(20, 1 << 60)]);
        let within: Vec<u64> = (0..=24).filter(|slot| stretches.contains(Slot(*slot))).collect();
        assert_eq!(within, [4, 5, 6, 7, 8, 20, 21, 22, 23, 24]);
        stretches.forget_upto(Slot(7));
        assert!(stretches.contains(Slot(8)), "one that is not over stays as it is");
        stretches.forget_upto(Slot(8));
        assert_eq!((stretches.0.len(), stretches.last()), (1, Some(Slot(1 << 60))));
        assert_eq!(Stretches::above(Slot(1 << 60), &said).last(), None);
    }

    #[test]
    fn known_slots_are_taken_out() {
        let all = [stretch(8, 12), stretch(1, 4), stretch(3, 6), stretch(20, 1 << 60)];
        let without =
            |upto: u64, known: &[u64]| Stretches::above(Slot(upto), &all).without(known.iter().map(|slot| Slot(*slot)));
        assert_eq!(without(0, &[]), [stretch(1, 6), stretch(8, 12), stretch(20, 1 << 60)]);
        let (in_the_midst, at_the_ends, between) = ([4, 5, 10], [1, 6, 8, 12, 20], [7, 13, 19]);
        let left = [stretch(1, 3), stretch(6, 6), stretch(8, 9), stretch(11, 12), stretch(20, 1 << 60)];
        assert_eq!(without(0, &in_the_midst), left);
        assert_eq!(without(0, &at_the_ends), [stretch(2, 5), stretch(9, 11), stretch(21, 1 << 60)]);
        assert_eq!(without(0, &between), without(0, &[]));
        assert_eq!(without(9, &[1, 5, 10, 11, 12]), [stretch(20, 1 << 60)], "nothing is left of one known as a whole");
        assert_eq!(without(1 << 60, &[7]), []);
    }
}
