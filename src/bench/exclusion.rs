//! Whether what was told of locks can be true: one holder at a time, each of a later generation than the one before.
//!
//! Held against two clocks. By this process' own: who was told that it holds a lock, has not asked to give it up, and
//! whose session lives for certain, holds it; nobody else may be told so meanwhile. And by the log's: an exclusive lock is
//! held from its generation to the revision of its release, and no two such spans overlap, however short they were and
//! whenever they were told of. A holder whose session is in doubt is not judged.

use std::collections::BTreeMap;

use super::wrong::Wrong;
use crate::namespace::command::Revision;

/// Exclusive locks, as far as their holders were told.
pub struct Exclusion {
    locks: Vec<Known>,
    wrong: Wrong,
}

#[derive(Clone, Default)]
struct Known {
    /// The newest generation told of.
    generation: Revision,
    /// The newest revision at which it was given up.
    free_at: Revision,
    /// By generation, those whose release was not answered.
    holds: BTreeMap<Revision, Hold>,
}

#[derive(Clone, Copy)]
struct Hold {
    client: usize,
    /// Asked to be given up: from now on the cell may pass it on.
    giving_up: bool,
    /// The generation told of after this one.
    next: Option<Revision>,
}

impl Exclusion {
    /// So many locks that nobody holds.
    #[must_use]
    pub fn new(locks: usize) -> Self {
        Self { locks: vec![Known::default(); locks], wrong: Wrong::default() }
    }

    /// A client was told that it holds the lock. `is_safe` says whose session lives for certain.
    pub fn granted(&mut self, lock: usize, client: usize, generation: Revision, is_safe: impl Fn(usize) -> bool) {
        let known = &mut self.locks[lock];
        if is_safe(client) {
            let least = known.generation.max(known.free_at.saturating_sub(1));
            if generation <= least {
                self.wrong.note(|| format!("lock {lock}: generation {generation} when {least} had been"));
            }
            let rivals = known.holds.iter().filter(|(_, hold)| hold.client != client && !hold.giving_up);
            for (since, rival) in rivals.filter(|(_, hold)| is_safe(hold.client)) {
                self.wrong.note(|| {
                    format!("lock {lock}: held by client {client} and, since {since}, by client {}", rival.client)
                });
            }
        }
        known.generation = known.generation.max(generation);
        for hold in known.holds.range_mut(..generation).map(|(_, hold)| hold) {
            hold.next = Some(hold.next.map_or(generation, |next| next.min(generation)));
        }
        known.holds.insert(generation, Hold { client, giving_up: false, next: None });
    }

    /// The client asks to give it up.
    pub fn gives_up(&mut self, lock: usize, generation: Revision) {
        if let Some(hold) = self.locks[lock].holds.get_mut(&generation) {
            hold.giving_up = true;
        }
    }

    /// It was given up at that revision.
    pub fn released(&mut self, lock: usize, generation: Revision, revision: Revision) {
        let known = &mut self.locks[lock];
        let Some(hold) = known.holds.remove(&generation) else { return };
        known.free_at = known.free_at.max(revision);
        if revision <= generation {
            self.wrong.note(|| format!("lock {lock}: held since {generation} and given up at {revision}"));
        }
        if let Some(next) = hold.next.filter(|next| *next < revision) {
            self.wrong
                .note(|| format!("lock {lock}: held from {generation} to {revision}, and by another from {next}"));
        }
    }

    /// Nobody knows whether the client holds it: its session is over.
    pub fn lost(&mut self, lock: usize, client: usize) {
        self.locks[lock].holds.retain(|_, hold| hold.client != client);
    }

    /// At the end, with nothing under way: nobody holds the lock, and all its holders were told so.
    pub fn has_ended_at(&mut self, lock: usize, generation: Revision, claims: usize) {
        let known = self.locks[lock].generation;
        if generation != known || claims > 0 {
            self.wrong.note(|| {
                format!("lock {lock}: at the end {claims} claims, generation {generation}; the last told was {known}")
            });
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn wrong(&self) -> &Wrong {
        &self.wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_goes_round_is_right() {
        let mut locks = Exclusion::new(2);
        locks.granted(0, 1, 10, |_| true);
        locks.gives_up(0, 10);
        // The next is told before the first hears that its release is done.
        locks.granted(0, 2, 12, |_| true);
        locks.granted(1, 1, 11, |_| true);
        locks.released(0, 10, 12);
        locks.gives_up(0, 12);
        locks.released(0, 12, 14);
        locks.has_ended_at(0, 12, 0);
        locks.lost(1, 1);
        locks.granted(1, 2, 20, |_| true);
        assert_eq!(locks.wrong().count, 0, "{:?}", locks.wrong().first);
    }

    #[test]
    fn every_kind_of_wrong_holder_is_seen() {
        let mut locks = Exclusion::new(1);
        let mut seen = 0;
        let mut is_seen = |locks: &Exclusion, what: &str| {
            seen += 1;
            assert_eq!(locks.wrong().count, seen, "{what} is seen: {:?}", locks.wrong().first);
        };
        locks.granted(0, 1, 10, |_| true);
        locks.granted(0, 2, 12, |client| client == 2);
        assert_eq!(locks.wrong().count, 0, "one whose session may be over is no second holder");
        locks.granted(0, 3, 14, |client| client != 1);
        is_seen(&locks, "a second holder");
        locks.lost(0, 1);
        for generation in [12, 14] {
            locks.gives_up(0, generation);
        }
        locks.released(0, 12, 15);
        is_seen(&locks, "a lock that was passed on before it was given up");
        locks.released(0, 14, 16);
        locks.granted(0, 1, 14, |_| true);
        is_seen(&locks, "a generation given twice");
        locks.gives_up(0, 14);
        locks.granted(0, 2, 15, |_| true);
        is_seen(&locks, "a holder from before the last release");
        locks.has_ended_at(0, 15, 1);
        is_seen(&locks, "a lock that nobody gave up");
        locks.has_ended_at(0, 18, 0);
        is_seen(&locks, "a holder that was not told");
    }
}
