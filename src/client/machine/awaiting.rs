//! Locks being waited for: where one stands is asked, and asked again when the server says that it may have changed, on
//! every new connection, and when a release of one's own was answered.

use std::collections::BTreeMap;

use super::Machine;
use crate::client::error::Error;
use crate::limits::CONNECTION_LOCK_WAITS_MAX;
use crate::namespace::command::{Answer, LockPlace, Operation, Read, Refusal};
use crate::time::Instant;
use crate::wire::client::Consistency;

/// Locks being waited for, by their call.
#[derive(Debug, Default)]
pub(super) struct Awaiting {
    locks: BTreeMap<u64, Awaited>,
}

#[derive(Debug)]
struct Awaited {
    path: String,
    /// The question is under way.
    asked: bool,
    /// It is to be asked again: the answer under way may be of before.
    again: bool,
    /// Its place was given up: the next answer is the last, whatever it says. The session may stand in the queue anew by then.
    last: bool,
}

impl Awaiting {
    /// Calls that wait and ask nothing at the moment.
    pub(super) fn len(&self) -> usize {
        self.locks.values().filter(|awaited| !awaited.asked).count()
    }
}

impl Machine {
    /// Waits until this session holds that lock, for which it has its place in the queue, or has lost its place. `tag` comes
    /// back with the last answer to [`Read::AwaitLock`]. It is taken beyond the bound of calls, as its place in the queue
    /// is, but not beyond what a server remembers for one connection: that would refuse every read from then on.
    pub fn await_lock(&mut self, now: Instant, tag: u64, path: String) -> Result<(), Error> {
        self.admit_unbounded()?;
        if self.awaiting.locks.len() >= CONNECTION_LOCK_WAITS_MAX {
            return Err(Error::TooManyLockWaits { limit: CONNECTION_LOCK_WAITS_MAX });
        }
        self.awaiting.locks.insert(tag, Awaited { path: path.clone(), asked: false, again: false, last: false });
        self.ask_of_locks(|awaited| awaited.path == path);
        self.send(now);
        Ok(())
    }

    /// That lock may have come.
    pub(super) fn lock_turned(&mut self, path: &str) {
        for awaited in self.awaiting.locks.values_mut().filter(|awaited| awaited.path == path) {
            awaited.again = awaited.asked;
        }
        self.ask_of_locks(|awaited| awaited.path == path);
    }

    /// A release of that lock by this session was answered; `done`: whoever waited for it until now has lost his place.
    pub(super) fn lock_released(&mut self, path: &str, done: bool) {
        for awaited in self.awaiting.locks.values_mut().filter(|awaited| awaited.path == path) {
            awaited.last |= done;
        }
        self.lock_turned(path);
    }

    /// A new connection: the server knows of nobody who waits.
    pub(super) fn locks_unknown(&mut self) {
        self.ask_of_locks(|_| true);
    }

    /// Takes the answer to a call, if it is that of a lock still waited for.
    pub(super) fn still_waits(&mut self, tag: u64, answer: &Result<Answer, Refusal>) -> bool {
        let Some(awaited) = self.awaiting.locks.get_mut(&tag) else { return false };
        if awaited.last || !matches!(answer, Ok(Answer::LockPlace { place: LockPlace::Waiting })) {
            self.awaiting.locks.remove(&tag);
            return false;
        }
        awaited.asked = false;
        if std::mem::take(&mut awaited.again) {
            let path = awaited.path.clone();
            self.ask_of_locks(|awaited| awaited.path == path);
        }
        true
    }

    /// The calls that wait and ask nothing at the moment; they will not be answered.
    pub(super) fn give_up_locks(&mut self) -> impl Iterator<Item = u64> + use<> {
        let locks = std::mem::take(&mut self.awaiting.locks);
        locks.into_iter().filter(|(_, awaited)| !awaited.asked).map(|(tag, _)| tag)
    }

    fn ask_of_locks(&mut self, which: impl Fn(&Awaited) -> bool) {
        let Some(session) = self.session() else { return };
        for (tag, awaited) in self.awaiting.locks.iter_mut().filter(|(_, a)| !a.asked && which(a)) {
            awaited.asked = true;
            let read = Read::AwaitLock { path: awaited.path.clone(), session };
            self.queue.push_read(*tag, read, Consistency::Linearizable);
        }
    }
}

/// The lock that it gives up, or its place in the queue, if that is all it does.
pub(super) fn released(operation: &Operation) -> Option<&str> {
    match operation {
        Operation::Release { path } => Some(path),
        Operation::Guarded { .. } | Operation::Through { .. } if cfg!(bug = "41") => None,
        Operation::Guarded { operation, .. } | Operation::Through { operation, .. } => released(operation),
        _ => None,
    }
}
