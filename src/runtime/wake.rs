//! Waking a ring that sleeps in the kernel, and leaving one alone that does not.
//!
//! One byte says whether the ring is awake, asleep, or was told to look. Only whoever turns *asleep* into *told* rings
//! the bell, so a busy ring is never interrupted and a sleeping one is interrupted once.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam_utils::CachePadded;
use rustix::event::{EventfdFlags, eventfd};

/// Wakes the [`turn`](super::Ring::turn) of one ring from any thread.
///
/// The ring writes its bell in each turn: it is in a line of its own, so that the turns of two cores, or of one and whatever
/// another happens to have allocated beside it, never meet in one.
#[derive(Clone, Debug)]
pub struct Waker(Arc<CachePadded<Bell>>);

#[derive(Debug)]
struct Bell {
    state: AtomicU8,
    eventfd: OwnedFd,
    ring: OwnedFd,
}

impl Waker {
    /// Makes the ring's current or next `turn` end with a `Woken` event that sees everything published before.
    pub fn wake(&self) {
        if self.tell() {
            self.ring_bell();
        }
    }

    /// A bell for the ring behind `ring`.
    pub(super) fn new(ring: OwnedFd) -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(CachePadded::new(Bell { state: AtomicU8::new(AWAKE), eventfd, ring }))))
    }

    /// Says that there is something to see; true if the ring sleeps and somebody must now wake it.
    pub(super) fn tell(&self) -> bool {
        self.0.state.swap(TOLD, Ordering::AcqRel) == ASLEEP
    }

    /// The plain way to wake a sleeping ring.
    pub(super) fn ring_bell(&self) {
        // The counter cannot overflow: it is rung once per sleep and read at every wake-up.
        let rung = rustix::io::write(&self.0.eventfd, &1u64.to_ne_bytes());
        debug_assert!(rung.is_ok(), "an eventfd takes one more wake");
    }

    /// The ring is about to sleep; false if it was told to look and must not.
    pub(super) fn fall_asleep(&self) -> bool {
        self.0.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The ring is awake; true if it was told to look.
    pub(super) fn awake(&self) -> bool {
        self.0.state.swap(AWAKE, Ordering::AcqRel) == TOLD
    }

    /// Whether the ring was told to look, for one that spins.
    pub(super) fn is_told(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == TOLD
    }

    pub(super) fn eventfd(&self) -> RawFd {
        self.0.eventfd.as_raw_fd()
    }

    pub(super) fn ring(&self) -> RawFd {
        self.0.ring.as_raw_fd()
    }
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const TOLD: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bells_of_two_rings_are_never_in_one_line() {
        let bell = || {
            let ring = eventfd(0, EventfdFlags::CLOEXEC).expect("some descriptor");
            Waker::new(ring).expect("a waker")
        };
        let bells: Vec<Waker> = (0..4).map(|_| bell()).collect();
        let mut places: Vec<usize> = bells.iter().map(|waker| &raw const **waker.0 as usize).collect();
        places.sort_unstable();
        assert!(places.iter().all(|place| place.is_multiple_of(128)), "its counts are in the line before: {places:x?}");
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 128), "{places:x?}");
    }
}
