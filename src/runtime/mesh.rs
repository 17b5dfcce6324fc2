//! Bounded rings between two cores: one sender, one receiver, and a wake-up for a receiver that sleeps.

use super::wake::Waker;

/// The sending end.
#[derive(Debug)]
pub struct Sender<T> {
    ring: rtrb::Producer<T>,
    waker: Waker,
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver<T> {
    ring: rtrb::Consumer<T>,
}

/// A ring for `capacity` items; `waker` wakes the receiver's loop.
#[must_use]
pub fn ring<T>(capacity: usize, waker: Waker) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = rtrb::RingBuffer::new(capacity);
    (Sender { ring: producer, waker }, Receiver { ring: consumer })
}

impl<T> Sender<T> {
    /// Puts an item in, or hands it back if the ring is full. The receiver is not woken: see [`Sender::wake`].
    ///
    /// # Errors
    ///
    /// The item, if there is no room.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        self.ring.push(item).map_err(|rtrb::PushError::Full(item)| item)
    }

    /// Wakes the receiver, once for whatever was put in.
    pub fn wake(&self) {
        self.waker.wake();
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        self.ring.pop().ok()
    }
}
