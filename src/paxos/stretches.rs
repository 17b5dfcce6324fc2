//! Stretches of slots: what is said of many neighbouring ones takes the room of one.

use super::ballot::Slot;

/// Slots, as the first and the last of each stretch: ascending, and no two of them touch.
#[derive(Clone, Default, Debug)]
pub(super) struct Stretches(Vec<(Slot, Slot)>);

impl Stretches {
    /// Those of `said` that lie above `upto`; they may overlap, in any order.
    pub fn above(upto: Slot, said: &[(Slot, Slot)]) -> Self {
        let above = said.iter().map(|(first, last)| ((*first).max(upto.next()), *last));
        let mut sorted: Vec<(Slot, Slot)> = above.filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(Slot, Slot)> = Vec::new();
        for (first, last) in sorted {
            match merged.last_mut() {
                Some(before) if first <= before.1.next() => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
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

    fn stretch(first: u64, last: u64) -> (Slot, Slot) {
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
}
