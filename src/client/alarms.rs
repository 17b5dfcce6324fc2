//! Who is to be woken, and when: those who await a call no longer than until then. Callers set and unset alarms themselves,
//! and the driver looks at the next one: so what a call leaves behind when it is answered is nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::driver::Driver;
use crate::time::Instant;

/// All alarms of a driver.
#[derive(Debug, Default)]
pub(super) struct Alarms(Mutex<Set>);

#[derive(Debug, Default)]
struct Set {
    alarms: BTreeMap<Key, Waker>,
    last: u64,
}

/// When it goes off, and its number among all.
type Key = (Instant, u64);

/// An alarm; dropped, it is unset.
#[derive(Debug)]
pub(super) struct Alarm {
    driver: Arc<Driver>,
    key: Key,
    waker: Waker,
}

impl Alarms {
    /// Sets one. Whether it is the next to go off.
    pub(super) fn set(&self, at: Instant, waker: Waker) -> (Key, bool) {
        let mut set = self.lock();
        set.last += 1;
        let key = (at, set.last);
        set.alarms.insert(key, waker);
        (key, set.alarms.first_key_value().is_some_and(|(first, _)| *first == key))
    }

    /// Takes out those that are due.
    pub(super) fn due(&self, now: Instant) -> Vec<Waker> {
        let mut set = self.lock();
        let mut due = Vec::new();
        while let Some(alarm) = set.alarms.first_entry().filter(|alarm| alarm.key().0 <= now) {
            due.push(alarm.remove());
        }
        due
    }

    /// When the next goes off.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lock().alarms.first_key_value().map(|((at, _), _)| *at)
    }

    fn unset(&self, key: Key) {
        // Dropped outside the lock: what a waker does then is its own.
        let _waker = self.lock().alarms.remove(&key);
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Alarm {
    pub(super) fn new(driver: Arc<Driver>, key: Key, waker: Waker) -> Self {
        Self { driver, key, waker }
    }

    /// Whether it wakes whom that waker wakes.
    pub(super) fn wakes(&self, waker: &Waker) -> bool {
        self.waker.will_wake(waker)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // In a forked child a missing thread may have the lock, and nobody is woken anyhow.
        if self.driver.is_here() {
            self.driver.alarms().unset(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn those_that_are_due_go_off_in_order_and_the_others_stay() {
        let alarms = Alarms::default();
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let set = |ms| alarms.set(at(ms), Waker::noop().clone());
        let (late, first) = set(30);
        assert!(first, "there is no other");
        assert!(set(10).1);
        let (same, first) = set(10);
        assert!(!first, "the one before it is as near");
        assert_eq!(alarms.next(), Some(at(10)));
        alarms.unset(same);
        assert_eq!(alarms.due(at(10)).len(), 1);
        assert_eq!((alarms.due(at(29)).len(), alarms.next()), (0, Some(at(30))));
        alarms.unset(late);
        assert_eq!(alarms.next(), None);
    }
}
