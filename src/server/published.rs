//! What the replica's core lets every front's core see without asking: two facts, each in a cache line of its own.
//!
//! *How far the state is applied.* Stored (release) before the changes, and the replies that rest on them, are put into any
//! front's ring. A front loads it (acquire), then drains its ring: if it has not been told that far, it does not read under
//! the lease. So whoever has seen a reply makes every front that he asks later either know what the reply rested on, or ask
//! for a read point.
//!
//! *The lease*, as (ballot, deadline). A front loads the ballot before it answers and loads deadline, then ballot, after: the
//! same ballot with an unexpired deadline means that the lease held all the while, because a lease that ends is zeroed
//! before anything else is done, and a ballot never comes back.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::paxos::{Ballot, Lease, ReplicaId, Slot};
use crate::time::Instant;

/// Written by the replica's core, read by the fronts'.
#[derive(Debug, Default)]
pub(super) struct Published {
    applied_upto: CachePadded<AtomicU64>,
    lease: CachePadded<LeaseWord>,
}

/// The round in the upper bits, the replica in the lowest six.
#[derive(Debug, Default)]
struct LeaseWord {
    ballot: AtomicU64,
    until: AtomicU64,
}

impl Published {
    pub(super) fn set_applied_upto(&self, slot: Slot) {
        self.applied_upto.store(slot.0, Ordering::Release);
    }

    pub(super) fn applied_upto(&self) -> Slot {
        Slot(self.applied_upto.load(Ordering::Acquire))
    }

    /// Shows the lease that holds now; a change of ballot passes through "none".
    pub(super) fn set_lease(&self, lease: Lease) {
        let word = pack(lease.ballot);
        if self.lease.ballot.load(Ordering::Relaxed) != word {
            self.lease.until.store(0, Ordering::SeqCst);
            self.lease.ballot.store(word, Ordering::SeqCst);
        }
        self.lease.until.store(lease.until.as_nanos(), Ordering::SeqCst);
    }

    /// The lease; its deadline is read before its ballot.
    pub(super) fn lease(&self) -> Lease {
        let until = Instant::from_nanos(self.lease.until.load(Ordering::SeqCst));
        Lease { ballot: unpack(self.lease.ballot.load(Ordering::SeqCst)), until }
    }
}

fn pack(ballot: Ballot) -> u64 {
    assert!(ballot.round < 1 << 58, "a round is raised by one at a time");
    ballot.round << 6 | u64::from(ballot.replica.0)
}

fn unpack(word: u64) -> Ballot {
    Ballot { round: word >> 6, replica: ReplicaId((word & 63) as u8) }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;
    use std::sync::Arc;

    use super::*;
    use crate::server::service::Pulse;

    /// Two lines: the processor fetches them in pairs.
    const APART: usize = 128;

    /// A front that reads loads both facts and writes its pulse. None of the three is in the line of another, nor in that of
    /// the counts of who shares it.
    #[test]
    fn what_a_read_loads_shares_no_line_with_what_is_written_for_something_else() {
        assert!(offset_of!(Published, applied_upto).abs_diff(offset_of!(Published, lease)) >= APART);
        assert!(size_of::<LeaseWord>() <= 64, "ballot and deadline come in one line");
        let published = Arc::new(Published::default());
        let pulses: Vec<Arc<Pulse>> = (0..4).map(|_| Arc::default()).collect();
        let facts = [&raw const published.applied_upto as usize, &raw const published.lease as usize];
        let pulses = pulses.iter().map(|pulse| Arc::as_ptr(pulse) as usize);
        let mut places: Vec<usize> = facts.into_iter().chain(pulses).collect();
        assert!(
            places.iter().all(|place| place.is_multiple_of(APART)),
            "each begins a line, and its counts are before it"
        );
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= APART), "{places:x?}");
    }

    #[test]
    fn a_reader_never_pairs_a_ballot_with_another_ones_deadline() {
        let published = Arc::new(Published::default());
        // Reign r has the deadline r; a reader that pairs them otherwise would trust a lease that is not.
        let writer = {
            let published = Arc::clone(&published);
            std::thread::spawn(move || {
                for round in 1..200_000 {
                    let ballot = Ballot { round, replica: ReplicaId(1) };
                    published.set_lease(Lease { ballot, until: Instant::from_nanos(round) });
                }
            })
        };
        while !writer.is_finished() {
            let before = published.lease().ballot;
            let after = published.lease();
            if after.ballot == before && after.until != Instant::ZERO {
                assert_eq!(after.until.as_nanos(), before.round, "deadline and ballot of one reign");
            }
        }
        writer.join().expect("the writer ends");
    }

    #[test]
    fn a_ballot_survives_its_packing() {
        for ballot in [
            Ballot::NONE,
            Ballot { round: 1, replica: ReplicaId(63) },
            Ballot { round: (1 << 58) - 1, replica: ReplicaId(7) },
        ] {
            assert_eq!(unpack(pack(ballot)), ballot);
        }
    }
}
