//! What a session was told: the results of its last requests, one behind the other in memory that goes round.
//!
//! The oldest leave as their client acknowledges them, so that in the steady state nothing is allocated, and what is
//! written next is near what was written last. Whoever falls silent after a busy time gives the memory back.

use std::collections::VecDeque;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::command::Revision;

/// Results of consecutive requests.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Results {
    told: VecDeque<Told>,
    /// The outcomes, encoded, oldest first.
    outcomes: VecDeque<u8>,
    /// Of the hashes.
    sum: u128,
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    hash: u128,
    revision: Revision,
    bytes: u32,
}

impl Results {
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// Bytes of all outcomes.
    pub fn bytes(&self) -> usize {
        self.outcomes.len()
    }

    /// Sum of all hashes: of number, revision and outcome.
    pub const fn sum(&self) -> u128 {
        self.sum
    }

    /// Adds the result of request `number`.
    pub fn push(&mut self, number: u64, revision: Revision, outcome: &[u8]) {
        let bytes = u32::try_from(outcome.len()).expect("a reply is bounded far below 4 GiB");
        let hash = xxh3_128_with_seed(outcome, number ^ revision.rotate_left(32));
        self.sum = self.sum.wrapping_add(hash);
        self.told.push_back(Told { hash, revision, bytes });
        self.outcomes.extend(outcome);
    }

    /// Drops the `count` oldest.
    pub fn forget(&mut self, count: usize) {
        let (sum, bytes) = self
            .told
            .drain(..count)
            .fold((0_u128, 0), |(sum, bytes), told| (sum.wrapping_add(told.hash), bytes + told.bytes as usize));
        self.sum = self.sum.wrapping_sub(sum);
        self.outcomes.drain(..bytes);
        if self.outcomes.capacity() > ROOM_KEPT_BYTES && self.outcomes.len() < self.outcomes.capacity() / 8 {
            self.outcomes.shrink_to(self.outcomes.capacity() / 2);
            self.told.shrink_to(self.told.capacity() / 2);
        }
    }

    /// Bytes of the `count` oldest.
    pub fn bytes_of(&self, count: usize) -> usize {
        self.told.iter().take(count).map(|told| told.bytes as usize).sum()
    }

    /// The one behind so many.
    pub fn get(&self, at: usize) -> Option<(Revision, Bytes)> {
        let told = self.told.get(at)?;
        let start = self.bytes_of(at);
        Some((told.revision, self.outcomes.range(start..start + told.bytes as usize).copied().collect()))
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Revision, Bytes)> {
        let mut start = 0;
        self.told.iter().map(move |told| {
            let end = start + told.bytes as usize;
            let outcome = self.outcomes.range(start..end).copied().collect();
            start = end;
            (told.revision, outcome)
        })
    }
}

/// Room that a session may keep whatever it holds.
const ROOM_KEPT_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(numbers: std::ops::RangeInclusive<u64>) -> Results {
        let mut results = Results::default();
        numbers.for_each(|number| results.push(number, number * 2, format!("answer {number}").as_bytes()));
        results
    }

    #[test]
    fn the_oldest_leave_first_and_leave_no_trace() {
        let mut results = filled(1..=300);
        for number in 301..=9000 {
            results.forget(1);
            results.push(number, number * 2, format!("answer {number}").as_bytes());
        }
        assert_eq!(results, filled(8701..=9000), "the sum too is that of what is left");
        assert_eq!(results.get(1), Some((17404, Bytes::from("answer 8702"))));
        assert_eq!(results.get(300), None);
        assert_eq!(results.bytes_of(2), 22);
        assert_eq!(results.iter().last(), Some((18000, Bytes::from("answer 9000"))));
        results.forget(300);
        assert_eq!((results.sum(), results.bytes()), (0, 0));
    }

    #[test]
    fn a_result_is_told_apart_by_its_number_and_its_revision() {
        let sum = |number, revision| {
            let mut results = Results::default();
            results.push(number, revision, b"the same");
            results.sum()
        };
        assert_ne!(sum(1, 2), sum(2, 2));
        assert_ne!(sum(1, 2), sum(1, 3));
        assert_ne!(sum(1, 2), sum(2, 1));
    }

    #[test]
    fn a_session_that_falls_silent_gives_its_room_back() {
        let mut results = filled(1..=10_000);
        assert!(results.outcomes.capacity() > 100_000);
        for _ in 1..10_000 {
            results.forget(1);
        }
        assert!(results.outcomes.capacity() <= ROOM_KEPT_BYTES, "{}", results.outcomes.capacity());
        assert_eq!(results.get(0), Some((20_000, Bytes::from("answer 10000"))));
    }
}
