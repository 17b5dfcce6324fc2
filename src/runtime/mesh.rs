//! Bounded one-way channels between two cores.
//!
//! A channel has one sender and one receiver, each used by one thread. Messages are pushed without waking anybody; one
//! [`Sender::flush`] per turn wakes the other core if it sleeps. A sender that found the channel full is woken when the
//! receiver has made room: nobody polls, and nobody waits in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_utils::CachePadded;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::ring::Ring;
use super::wake::Waker;

/// The end that sends.
#[derive(Debug)]
pub struct Sender<T> {
    queue: Producer<T>,
    receiver: Waker,
    starved: Arc<CachePadded<AtomicBool>>,
    unflushed: bool,
}

/// The end that receives.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Consumer<T>,
    sender: Waker,
    /// Looked at with each message: in a line in which nothing else is written.
    starved: Arc<CachePadded<AtomicBool>>,
}

/// A channel for `capacity` messages. `receiver` wakes whoever receives, `sender` whoever sends.
#[must_use]
pub fn channel<T: Send>(capacity: usize, receiver: Waker, sender: Waker) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel has room for a message");
    let (producer, consumer) = RingBuffer::new(capacity);
    let starved = Arc::new(CachePadded::new(AtomicBool::new(false)));
    let sending = Sender { queue: producer, receiver, starved: Arc::clone(&starved), unflushed: false };
    (sending, Receiver { queue: consumer, sender, starved })
}

impl<T> Sender<T> {
    /// Puts `message` into the channel, or gives it back if the channel is full: this side is then woken once the
    /// receiver has taken something, and should drain its own channels meanwhile.
    pub fn push(&mut self, message: T) -> Result<(), T> {
        let PushError::Full(message) = match self.queue.push(message) {
            Ok(()) => {
                self.unflushed = true;
                return Ok(());
            }
            Err(full) => full,
        };
        // Announced before the second look: either that look finds room, or the receiver finds the announcement.
        self.starved.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        match self.queue.push(message) {
            Ok(()) => {
                self.unflushed = true;
                Ok(())
            }
            Err(PushError::Full(message)) => Err(message),
        }
    }

    /// Wakes the receiver if something was pushed since the last flush.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.unflushed) {
            self.receiver.wake();
        }
    }

    /// As [`Sender::flush`], the wake travelling with the next turn's submission of `ring`.
    pub fn flush_with(&mut self, ring: &mut Ring) {
        if std::mem::take(&mut self.unflushed) {
            ring.wake(&self.receiver);
        }
    }

    /// Messages that fit right now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.queue.slots()
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.queue.is_abandoned()
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<T> {
        let message = self.queue.pop().ok()?;
        // One exchange per message only where a sender waits: the plain load is of a line that rarely changes. The fence
        // orders it after the pop, as the sender's announcement is ordered before its second look.
        fence(Ordering::SeqCst);
        if self.starved.load(Ordering::Relaxed) && self.starved.swap(false, Ordering::Relaxed) {
            self.sender.wake();
        }
        Some(message)
    }

    /// Whether there is nothing to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the sender is gone; what it had sent can still be taken.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.queue.is_abandoned()
    }
}
