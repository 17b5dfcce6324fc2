//! Taking, giving up and losing locks: a command's work on them, and who has claims where.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::codec::SequencerRef;
use super::command::{Done, Lifetime, Outcome, Refusal, SessionId};
use super::lock::{Claim, Lock, Mark};
use super::path::{self, too_large};
use super::slab::Place;
use super::transaction::{Content, Transaction};
use super::tree::{Aspect, Change, Tree};
use crate::limits::{LOCK_DELAY_MS_MAX, LOCK_SESSIONS_MAX};

/// Which sessions claim which locks. All of it is in the nodes; this finds it.
#[derive(Default, Debug)]
pub(super) struct Claims {
    by_session: BTreeSet<(SessionId, Arc<str>)>,
}

/// How a session comes to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// It was closed: nothing of it goes on elsewhere.
    Closed,
    /// It was lost at that log time: its client may still be at work, and does not know.
    Lost { log_time_ns: u64 },
}

/// An [`Acquire`](super::command::Operation::Acquire), borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acquisition<'a> {
    pub path: &'a str,
    pub wait: bool,
    pub create: bool,
    pub claim: Claim,
}

impl Transaction<'_> {
    /// Takes the lock, or a place in its queue.
    pub fn acquire(&mut self, acquisition: Acquisition<'_>) -> Outcome {
        let Acquisition { path, wait, create, claim } = acquisition;
        let found = self.nodes.tree.find(path);
        if found.is_none() {
            path::check(path)?;
            if !create {
                return Err(Refusal::NoNode { path: path.to_owned() });
            }
        }
        if claim.lock_delay_ms > LOCK_DELAY_MS_MAX {
            if found.is_none() {
                self.name_new(path, false)?;
            }
            let (found, limit) = (claim.lock_delay_ms as usize, LOCK_DELAY_MS_MAX as usize);
            return Err(too_large("lock-delay, in milliseconds,", found, limit));
        }
        if let Some(lock) = found.and_then(|place| self.lock_at(place)) {
            if self.nodes.claims.has(claim.session, path) {
                return Err(Refusal::LockTwice { path: path.to_owned() });
            }
            if !wait && !lock.would_grant(claim.mode) {
                return Err(Refusal::LockBusy { path: path.to_owned() });
            }
            if lock.is_full() {
                return Err(too_large("queue of the lock", LOCK_SESSIONS_MAX + 1, LOCK_SESSIONS_MAX));
            }
        }
        let place = match found {
            Some(place) => place,
            None => {
                self.create(claim.session, path, Content::Data(b""), (Lifetime::Permanent, false), None)?;
                self.nodes.tree.find(path).expect("it was just made")
            }
        };
        let path = self.nodes.tree.row(place).path.clone();
        self.nodes.claims.by_session.insert((claim.session, path.clone()));
        let granted = self.change_lock(place, |lock| lock.admit(claim));
        if !granted {
            return Ok(Done::Queued);
        }
        let sequencer = self.nodes.tree.row(place).node.sequencer(&path, claim.mode);
        Ok(Done::Granted { sequencer })
    }

    /// Gives the lock up, or the place in its queue.
    pub fn release(&mut self, session: SessionId, path: &str) -> Outcome {
        let Some(place) = self.nodes.tree.find(path) else {
            path::check(path)?;
            return Err(Refusal::NoNode { path: path.to_owned() });
        };
        let path = self.nodes.tree.row(place).path.clone();
        if !self.nodes.claims.by_session.remove(&(session, path.clone())) {
            return Err(Refusal::LockNotHeld { path: (*path).to_owned() });
        }
        self.change_lock(place, |lock| {
            lock.withdraw(session).expect("who claims a lock is found in it");
        });
        Ok(Done::Released)
    }

    /// Takes all claims of a session out of the locks.
    pub fn end_claims(&mut self, session: SessionId, ending: Ending) {
        for path in self.nodes.claims.take(session) {
            let place = self.nodes.tree.find(&path).expect("a lock's node is in the tree");
            let mark = self.change_lock(place, |lock| {
                let held = lock.holders().any(|holder| holder == session);
                let claim = lock.withdraw(session).expect("who claims a lock is found in it");
                let Ending::Lost { log_time_ns } = ending else { return None };
                if !held || claim.lock_delay_ms == 0 {
                    return None;
                }
                let delay_ns = u64::from(claim.lock_delay_ms) * 1_000_000;
                let mark = Mark { mode: claim.mode, until_ns: log_time_ns.saturating_add(delay_ns) };
                lock.mark(mark);
                Some(mark)
            });
            if let Some(mark) = mark {
                self.nodes.timers.add_mark(&path, mark);
            }
        }
    }

    /// Wipes out what keeps the lock shut for holders lost long enough ago, if there is anything of the sort.
    pub fn free_lock(&mut self, place: Place, log_time_ns: u64) {
        let is_due = |mark: &Mark| mark.until_ns <= log_time_ns;
        if !self.lock_at(place).is_some_and(|lock| lock.lost().iter().any(is_due)) {
            return;
        }
        let path = self.nodes.tree.row(place).path.clone();
        for mark in self.change_lock(place, |lock| lock.wipe(log_time_ns)) {
            self.nodes.timers.remove_mark(&path, mark);
        }
    }

    /// Refuses a sequencer that is stale. `hidden`: its node is to be spoken of as if it were not there.
    pub fn check_lock(&self, sequencer: SequencerRef<'_>, hidden: bool) -> Result<(), Refusal> {
        let node = self.nodes.tree.get(sequencer.path).filter(|_| !hidden);
        if node.is_some_and(|node| node.upholds(sequencer)) {
            return Ok(());
        }
        Err(Refusal::Fenced {
            path: sequencer.path.to_owned(),
            presented: sequencer.generation,
            current: node.map_or(0, |node| node.stat().lock_generation),
        })
    }

    /// Whether a session holds the lock that the sequencer tells of, and as it tells; one that waits for it does not.
    pub fn is_held_by(&self, session: SessionId, sequencer: SequencerRef<'_>) -> bool {
        let node = self.nodes.tree.get(sequencer.path).filter(|node| node.upholds(sequencer));
        let lock = node.and_then(|node| node.lock.as_deref());
        lock.is_some_and(|lock| lock.holders().any(|holder| holder == session))
    }

    fn lock_at(&self, place: Place) -> Option<&Lock> {
        self.nodes.tree.row(place).node.lock.as_deref()
    }

    /// Changes a node's lock, and hands it on to whoever may have it then. If nobody held it and now somebody does, that is
    /// a new generation. When somebody comes to wait for a holder, or to hold what others wait for, that is told.
    fn change_lock<T>(&mut self, place: Place, change: impl FnOnce(&mut Lock) -> T) -> T {
        let node = self.nodes.tree.row(place).node.clone();
        let mut lock = node.lock.as_deref().cloned().unwrap_or_default();
        let (was_held, was_wanted_by) = (lock.held_as().is_some(), lock.wanted_by());
        let result = change(&mut lock);
        // Between a holder that goes and the next that comes it is free, even within one command.
        let is_new = !was_held || lock.held_as().is_none();
        let handed = lock.hand_on();
        let is_wanted = lock.wanted_by() > if handed > 0 { 0 } else { was_wanted_by };
        let generation = if is_new && lock.held_as().is_some() { self.revision() } else { node.stat().lock_generation };
        let lock = (!lock.is_idle()).then(|| Arc::new(lock));
        let node = node.with(|stat, parts| (stat.lock_generation, parts.lock) = (generation, lock));
        self.replace(place, Aspect::Lock, node.clone());
        if is_wanted && !cfg!(bug = "34") {
            let path = self.nodes.tree.row(place).path.clone();
            let (revision, node) = (self.revision(), Some(node));
            self.tell(Change { revision, path, aspect: Aspect::Wanted, node, left_acl: None });
        }
        result
    }
}

impl Claims {
    /// Whether a session holds that node's lock, or waits for it.
    pub fn has(&self, session: SessionId, path: &str) -> bool {
        self.by_session.contains(&(session, Arc::from(path)))
    }

    /// Every (session, path) pair.
    pub fn iter(&self) -> impl Iterator<Item = &(SessionId, Arc<str>)> {
        self.by_session.iter()
    }

    /// What one session claims.
    pub fn of_session(&self, session: SessionId) -> impl Iterator<Item = &str> {
        let from_first = self.by_session.range((session, Arc::from(""))..);
        from_first.take_while(move |(claimer, _)| *claimer == session).map(|(_, path)| &**path)
    }

    /// A node with that lock came.
    pub fn add(&mut self, path: &Arc<str>, lock: &Lock) {
        self.by_session.extend(lock.sessions().map(|session| (session, path.clone())));
    }

    /// A node with that lock went.
    pub fn remove(&mut self, path: &Arc<str>, lock: &Lock) {
        for session in lock.sessions() {
            self.by_session.remove(&(session, path.clone()));
        }
    }

    /// What must hold between commands.
    pub fn invariants(&self, tree: &Tree) {
        let mut found = Self::default();
        let locked = tree.iter().filter_map(|(path, node)| Some((path, node.lock.as_deref()?)));
        locked.for_each(|(path, lock)| found.add(path, lock));
        assert_eq!(self.by_session, found.by_session, "claims are those of the locks");
    }

    fn take(&mut self, session: SessionId) -> Vec<Arc<str>> {
        let first = (Bound::Included((session, Arc::from(""))), Bound::Unbounded);
        let theirs = self.by_session.range(first).take_while(|(claimer, _)| *claimer == session);
        let paths: Vec<_> = theirs.map(|(_, path)| path.clone()).collect();
        for path in &paths {
            self.by_session.remove(&(session, path.clone()));
        }
        paths
    }
}
