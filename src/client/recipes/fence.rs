//! What refuses late writers.

use std::sync::{Mutex, PoisonError};

use super::super::Sequencer;
use super::super::error::{Error, Result};

/// For the services that the holder of a lock talks to: admits nobody whose lock has moved on since.
///
/// A holder that is paused longer than its lease goes on, when it wakes, as if nothing had happened, until it looks. So
/// what it sends carries its [`Sequencer`], or the bare token of it, and the service keeps the highest it has seen:
/// whoever comes with a lower one has lost the lock to somebody who was here before.
///
/// ```
/// use quorate::client::recipes::Fence;
///
/// let fence = Fence::new("/locks/disk-7");
/// assert!(fence.admit_token(41).is_ok());
/// assert!(fence.admit_token(57).is_ok(), "another holder");
/// assert!(fence.admit_token(41).is_err(), "the first one woke up late");
/// ```
///
/// The number must last as long as what it protects: a service that keeps data on a disk keeps [`highest`](Self::highest)
/// with them, and begins with it again by [`starting_at`](Self::starting_at). Writes to nodes of the cell need no fence:
/// [`guarded`](super::super::LockGuard::guarded) ones are refused by the cell itself.
///
/// As servers check Chubby's sequencers against the most recent they have seen (Burrows, OSDI 2006, §2.4).
#[derive(Debug)]
pub struct Fence {
    lock: String,
    highest: Mutex<u64>,
}

impl Fence {
    /// For holders of the lock of that node; nobody was here yet.
    #[must_use]
    pub fn new(lock: impl Into<String>) -> Self {
        Self::starting_at(lock, 0)
    }

    /// As [`new`](Self::new), after one with that token was here.
    #[must_use]
    pub fn starting_at(lock: impl Into<String>, highest: u64) -> Self {
        Self { lock: lock.into(), highest: Mutex::new(highest) }
    }

    /// Admits a holder that shows its sequencer. [`Error::Fenced`] if one came before whose lock is newer;
    /// [`Error::BadArgument`] if it is another lock's.
    pub fn admit(&self, sequencer: &Sequencer) -> Result<()> {
        if sequencer.path != self.lock {
            let (shown, lock) = (&sequencer.path, &self.lock);
            let why = format!("the sequencer is of the lock {shown}; this fence is of {lock}");
            return Err(Error::BadArgument { why });
        }
        self.admit_token(sequencer.generation)
    }

    /// As [`admit`](Self::admit), for a holder that shows its token alone.
    pub fn admit_token(&self, token: u64) -> Result<()> {
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        if token < *highest {
            return Err(Error::Fenced { path: self.lock.clone(), presented: token, current: *highest });
        }
        *highest = token;
        Ok(())
    }

    /// The highest token that was admitted.
    #[must_use]
    pub fn highest(&self) -> u64 {
        *self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::LockMode;
    use super::*;

    #[test]
    fn tokens_never_fall_and_locks_are_not_mixed_up() {
        let fence = Fence::starting_at("/l", 5);
        let sequencer = |path: &str, generation| Sequencer {
            path: path.to_owned(),
            instance: 1,
            mode: LockMode::Exclusive,
            generation,
        };
        assert!(matches!(fence.admit(&sequencer("/l", 4)), Err(Error::Fenced { presented: 4, current: 5, .. })));
        assert!(fence.admit(&sequencer("/l", 5)).is_ok(), "the same holder, or one who shares the lock");
        assert!(fence.admit(&sequencer("/l", 9)).is_ok() && fence.admit_token(8).is_err());
        assert!(matches!(fence.admit(&sequencer("/m", 10)), Err(Error::BadArgument { .. })));
        assert_eq!(fence.highest(), 9);
    }
}
