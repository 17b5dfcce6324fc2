//! A node's children, in the order of their names, which the tree knows: here they are places.

use crate::namespace::slab::Place;

/// At least one child, in chunks: to add one moves a chunk's places at most, however many there are, and to find one
/// compares as few names as can be.
#[derive(Clone, Default, Debug)]
pub(super) struct Children {
    chunks: Vec<Vec<Place>>,
}

/// Where a child lies, or behind the last chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    chunk: usize,
    at: usize,
}

impl Children {
    /// Children that are in order already.
    pub(super) fn of_sorted(places: impl IntoIterator<Item = Place>) -> Self {
        let places = Vec::from_iter(places);
        Self { chunks: places.chunks(CHUNK_PLACES_MAX).map(<[_]>::to_vec).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The first child of which `is_before` does not hold; it holds of those before that one.
    pub(super) fn spot(&self, is_before: impl Fn(Place) -> bool) -> Spot {
        let is_passed = |places: &Vec<Place>| places.last().is_some_and(|last| is_before(*last));
        let chunk = self.chunks.partition_point(is_passed);
        let at = self.chunks.get(chunk).map_or(0, |places| places.partition_point(|place| is_before(*place)));
        Spot { chunk, at }
    }

    /// The children from there on, in order.
    pub(super) fn from(&self, Spot { chunk, at }: Spot) -> impl Iterator<Item = Place> {
        let chunks = self.chunks.get(chunk..).unwrap_or_default();
        chunks.iter().flatten().copied().skip(at)
    }

    /// Adds a child behind those of which `is_before` holds.
    pub(super) fn insert(&mut self, place: Place, is_before: impl Fn(Place) -> bool) {
        let Spot { mut chunk, mut at } = self.spot(is_before);
        if chunk == self.chunks.len() {
            // Behind all others.
            let Some(last) = self.chunks.last() else { return self.chunks.push(vec![place]) };
            (chunk, at) = (chunk - 1, last.len());
        }
        let places = &mut self.chunks[chunk];
        places.insert(at, place);
        if places.len() > CHUNK_PLACES_MAX {
            // Where names only rise, chunks are left full.
            let cut = if at == CHUNK_PLACES_MAX { at } else { places.len() / 2 };
            let behind = places.split_off(cut);
            self.chunks.insert(chunk + 1, behind);
        }
    }

    /// Removes that child; `is_before` holds of those before it.
    pub(super) fn remove(&mut self, place: Place, is_before: impl Fn(Place) -> bool) {
        let Spot { chunk, at } = self.spot(is_before);
        let removed = self.chunks[chunk].remove(at);
        assert_eq!(removed, place, "a child is where its name is");
        let (left, next) = (self.chunks[chunk].len(), self.chunks.get(chunk + 1).map_or(0, Vec::len));
        if left == 0 || left + next <= CHUNK_PLACES_MAX / 2 {
            let mut places = self.chunks.remove(chunk);
            match self.chunks.get_mut(chunk) {
                Some(next) => drop(next.splice(..0, places)),
                None if places.is_empty() => {}
                None => {
                    places.shrink_to(2 * places.len());
                    self.chunks.push(places);
                }
            }
        }
    }

    pub(super) fn invariants(&self) {
        assert!(!self.chunks.is_empty(), "who has no child has no list of them");
        let lengths = self.chunks.iter().map(Vec::len);
        assert!(lengths.into_iter().all(|length| (1..=CHUNK_PLACES_MAX).contains(&length)), "chunks are bounded");
    }
}

/// Places in a chunk: 2 KiB to move at most.
const CHUNK_PLACES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn children_are_an_ordered_set(
            steps in proptest::collection::vec((any::<bool>(), 0..3000_u32), 1..200), stride in 1..7_u32,
        ) {
            let mut model = BTreeSet::from_iter((0..3000).step_by(stride as usize));
            let mut children = Children::of_sorted(model.iter().copied());
            for (is_range, step) in steps {
                // Ranges empty and fill whole chunks.
                for place in step..step + if is_range { 600 } else { 1 } {
                    if model.insert(place) {
                        children.insert(place, |other| other < place);
                    } else if model.remove(&place) && !model.is_empty() {
                        children.remove(place, |other| other < place);
                    } else {
                        model.insert(place);
                    }
                }
                children.invariants();
                let from = Vec::from_iter(children.from(children.spot(|place| place < step)));
                prop_assert_eq!(from, Vec::from_iter(model.range(step..).copied()));
            }
            for place in model {
                children.remove(place, |other| other < place);
            }
            prop_assert!(children.is_empty());
        }
    }
}
