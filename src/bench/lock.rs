//! Locks taken and given up: each client its own ones, or all of them the same one.
//!
//! Where nobody contends, a client takes a lock, gives it up when it is told that it holds it, and takes it again when that
//! is done. Where all contend for one lock they stand in its queue, and the lock goes from one to the next: then the time
//! that counts is from asking to give it up until the next is told, and the messages that this takes. A cell that woke all
//! who wait at each release would show in their number.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::course::{Course, Cycle, Failures, Measured, Named, answer};
use super::exclusion::Exclusion;
use super::fleet::{Fleet, Word};
use super::run::{RunError, Watch};
use super::system::System;
use super::tally::{Latencies, empty};
use super::wrong::Wrong;
use crate::client::Error;
use crate::client::machine::Answered;
use crate::namespace::command::{Answer, Done, LockMode, LockPlace, Operation, Read, Revision, Sequencer};
use crate::time::Instant;

/// What locks came to; what is counted is how often one was taken and given up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LockReport {
    /// Clients that contend for one lock; 0: each has its own.
    pub contenders: usize,
    /// Clients.
    pub clients: usize,
    /// Locks.
    pub locks: usize,
    /// From asking for a lock until its holder is told; in a queue, all of the waiting.
    pub acquire: Option<Latencies>,
    /// From asking for a lock until it is given up again.
    pub pair: Option<Latencies>,
    /// From asking to give it up until the next holder is told, where clients contend.
    pub hand_over: Option<Latencies>,
    /// Messages to all clients each time a lock was taken and given up.
    pub messages_each: f64,
    /// Locks of which nobody knows how they must stand at the end, since a client of theirs was lost.
    #[serde(default)]
    pub locks_unverified: usize,
    #[serde(flatten)]
    pub measured: Measured,
}

struct Locks {
    paths: Vec<String>,
    /// What each client is about; all of a client's lie together.
    slots: Vec<Slot>,
    depth: usize,
    exclusion: Exclusion,
    /// Told to wait for a lock that nobody else wants.
    wrong: Wrong,
    acquire: Histogram<u64>,
    pair: Histogram<u64>,
    hand_over: Histogram<u64>,
    /// When each lock was last asked to be given up, until the next holder is told.
    given_up_at: Vec<Option<Instant>>,
    pairs: u64,
    failures: Failures,
    /// Locks that were not held against what was told of them at the end.
    unverified: usize,
    /// Told so in this turn. They are given up when all that it brought was heard, so that a second holder would be met.
    held: Vec<(usize, Sequencer)>,
    stopping: bool,
}

struct Slot {
    lock: usize,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Idle,
    Asked {
        at: Instant,
    },
    Queued {
        at: Instant,
    },
    Held {
        asked_at: Instant,
        generation: Revision,
    },
    /// Its session is over, or it was refused.
    Over,
}

/// Takes and gives up locks: `depth` of its own for each client, or one for all if they are to contend.
pub fn locks(
    fleet: &mut Fleet,
    course: &Course,
    contend: bool,
    depth: usize,
    watch: &mut Watch<'_>,
) -> Result<LockReport, RunError> {
    let clients = fleet.clients();
    assert!(depth == 1 || !contend, "a client takes one lock once");
    course.begin(fleet, watch)?;
    let mut locks = Locks::new(&course.prefix, clients, contend, depth);
    let mut measured = course.drive(fleet, &mut locks, watch)?;
    let messages_each = measured.messages_each();
    let (acquire, pair, hand_over) = (locks.acquire.clone(), locks.pair.clone(), locks.hand_over.clone());
    let end = course.drain(fleet, &mut locks, watch);
    let end = end.and_then(|()| locks.verify(fleet)).and_then(|()| course.end(fleet, watch));
    locks.wrong.extend(locks.exclusion.wrong());
    let seconds = measured.seconds;
    measured.conclude(fleet, &locks.wrong, locks.failures, end);
    Ok(LockReport {
        contenders: if contend { clients } else { 0 },
        clients,
        locks: locks.paths.len(),
        acquire: Latencies::of(&acquire, seconds),
        pair: Latencies::of(&pair, seconds),
        hand_over: Latencies::of(&hand_over, seconds),
        messages_each,
        locks_unverified: locks.unverified,
        measured,
    })
}

impl LockReport {
    /// All figures under their names.
    pub(super) fn named(&self) -> Vec<Named> {
        let mut named = vec![
            ("contenders".to_owned(), self.contenders.to_string()),
            ("clients".to_owned(), self.clients.to_string()),
            ("locks".to_owned(), self.locks.to_string()),
            ("messages_each".to_owned(), self.messages_each.to_string()),
            ("locks_unverified".to_owned(), self.locks_unverified.to_string()),
        ];
        let latencies = [("acquire", &self.acquire), ("pair", &self.pair), ("hand_over", &self.hand_over)];
        named.extend(self.measured.named(&latencies));
        named
    }
}

impl Locks {
    fn new(prefix: &str, clients: usize, contend: bool, depth: usize) -> Self {
        let slots = (0..clients * depth).map(|slot| Slot { lock: if contend { 0 } else { slot }, stage: Stage::Idle });
        let slots: Vec<Slot> = slots.collect();
        let count = if contend { 1 } else { slots.len() };
        Self {
            paths: (0..count).map(|lock| format!("{prefix}/lock-{lock:06}")).collect(),
            slots,
            depth,
            exclusion: Exclusion::new(count),
            wrong: Wrong::default(),
            acquire: empty(),
            pair: empty(),
            hand_over: empty(),
            given_up_at: vec![None; count],
            pairs: 0,
            failures: Failures::default(),
            unverified: 0,
            held: Vec::new(),
            stopping: false,
        }
    }

    fn contend(&self) -> bool {
        self.paths.len() < self.slots.len()
    }

    fn acquire(&mut self, fleet: &mut Fleet, slot: usize) {
        let path = self.paths[self.slots[slot].lock].clone();
        let acquire =
            Operation::Acquire { path, mode: LockMode::Exclusive, wait: true, create: true, lock_delay_ms: 0 };
        self.slots[slot].stage = Stage::Asked { at: fleet.now() };
        let asked = fleet.request(slot / self.depth, slot as u64, acquire);
        self.goes_on(slot, asked);
    }

    fn granted(&mut self, fleet: &Fleet, slot: usize, asked_at: Instant, sequencer: Sequencer) {
        let (lock, now) = (self.slots[slot].lock, fleet.now());
        let generation = sequencer.generation;
        self.exclusion.granted(lock, slot / self.depth, generation, |client| fleet.is_safe(client));
        self.acquire.saturating_record(now.since(asked_at).as_nanos());
        if let Some(at) = self.given_up_at[lock].take().filter(|_| self.contend()) {
            self.hand_over.saturating_record(now.since(at).as_nanos());
        }
        self.slots[slot].stage = Stage::Held { asked_at, generation };
        self.held.push((slot, sequencer));
    }

    fn give_up(&mut self, fleet: &mut Fleet, slot: usize, sequencer: Sequencer) {
        let lock = self.slots[slot].lock;
        self.exclusion.gives_up(lock, sequencer.generation);
        self.given_up_at[lock] = Some(fleet.now());
        // As the client library does: what was locked anew since is not given up.
        let release = Operation::Release { path: sequencer.path.clone() };
        let release = Operation::Guarded { sequencer, operation: Box::new(release) };
        let asked = fleet.request(slot / self.depth, slot as u64, release);
        self.goes_on(slot, asked);
    }

    /// A client that cannot ask does nothing more.
    fn goes_on(&mut self, slot: usize, asked: Result<(), Error>) {
        if let Err(error) = asked {
            self.ends(slot, || error.to_string());
        }
    }

    fn ends(&mut self, slot: usize, why: impl FnOnce() -> String) {
        self.failures.note(why);
        self.slots[slot].stage = Stage::Over;
        self.exclusion.lost(self.slots[slot].lock, slot / self.depth);
    }

    /// The locks all of whose clients heard to the end what became of them: of these it is known how they must stand.
    fn known(&self) -> Vec<usize> {
        let mut known = vec![true; self.paths.len()];
        for slot in &self.slots {
            known[slot.lock] &= matches!(slot.stage, Stage::Idle);
        }
        (0..known.len()).filter(|lock| known[*lock]).collect()
    }

    /// Every lock that is known is free, and its last holder was told.
    fn verify(&mut self, fleet: &mut Fleet) -> Result<(), RunError> {
        let known = self.known();
        self.unverified = self.paths.len() - known.len();
        if known.is_empty() {
            return Err(RunError::Errand(
                "of every lock a client was lost: how they stand at the end says nothing".into(),
            ));
        }
        for lock in known {
            let read = |read| move |fleet: &mut Fleet, client, tag| fleet.read(client, tag, read);
            let path = self.paths[lock].clone();
            let holders = answer(fleet, read(Read::LockHolders { path: path.clone() }))?;
            let seen = answer(fleet, read(Read::Exists { path }))?;
            match (holders, seen) {
                (
                    Answered::Read { answer: Ok(Answer::Lock { holders }), .. },
                    Answered::Read { answer: Ok(Answer::Exists { stat: Some(stat) }), .. },
                ) => {
                    let claims = holders.sessions.len() + (holders.lost + holders.waiting) as usize;
                    self.exclusion.has_ended_at(lock, stat.lock_generation, claims);
                }
                (holders, seen) => self.wrong.note(|| format!("lock {lock}: at the end {holders:?} and {seen:?}")),
            }
        }
        Ok(())
    }
}

impl Cycle for Locks {
    fn begin(&mut self, fleet: &mut Fleet) {
        (0..self.slots.len()).for_each(|slot| self.acquire(fleet, slot));
    }

    fn hear(&mut self, fleet: &mut Fleet, word: Word) {
        let Word::Answer { client, tag, result } = word else { unreachable!("locks are not watched") };
        let slot = tag as usize;
        match (self.slots[slot].stage, result) {
            (Stage::Asked { at }, Ok(Answered::Request { outcome: Ok(Done::Granted { sequencer }), .. }))
            | (
                Stage::Queued { at },
                Ok(Answered::Read { answer: Ok(Answer::LockPlace { place: LockPlace::Held { sequencer } }), .. }),
            ) => self.granted(fleet, slot, at, sequencer),
            (Stage::Asked { at }, Ok(Answered::Request { outcome: Ok(Done::Queued), .. })) => {
                if !self.contend() {
                    self.wrong.note(|| format!("lock {slot}: to be waited for, and nobody else wants it"));
                }
                self.slots[slot].stage = Stage::Queued { at };
                let path = self.paths[self.slots[slot].lock].clone();
                let asked = fleet.await_lock(client, tag, path);
                self.goes_on(slot, asked);
            }
            (Stage::Held { asked_at, generation }, Ok(Answered::Request { revision, outcome: Ok(Done::Released) })) => {
                self.exclusion.released(self.slots[slot].lock, generation, revision);
                self.pair.saturating_record(fleet.now().since(asked_at).as_nanos());
                self.pairs += 1;
                self.slots[slot].stage = Stage::Idle;
                if !self.stopping {
                    self.acquire(fleet, slot);
                }
            }
            (Stage::Held { .. }, Ok(other)) if fleet.is_safe(client) => {
                self.wrong.note(|| format!("client {client}: its session lives, but not its lock: {other:?}"));
                self.ends(slot, || format!("{other:?}"));
            }
            (_, Ok(other)) => self.ends(slot, || format!("{other:?}")),
            (_, Err(error)) => self.ends(slot, || error.to_string()),
        }
    }

    fn act(&mut self, fleet: &mut Fleet) {
        for (slot, sequencer) in std::mem::take(&mut self.held) {
            self.give_up(fleet, slot, sequencer);
        }
    }

    fn reset(&mut self) {
        for histogram in [&mut self.acquire, &mut self.pair, &mut self.hand_over] {
            histogram.reset();
        }
        self.pairs = 0;
    }

    fn count(&self) -> u64 {
        self.pairs
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot.stage, Stage::Idle | Stage::Over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_client_hides_its_own_locks_at_the_end_and_no_others() {
        let mut own = Locks::new("/locks", 3, false, 2);
        assert_eq!(own.known(), [0, 1, 2, 3, 4, 5]);
        own.slots[2].stage = Stage::Over;
        own.slots[5].stage = Stage::Queued { at: Instant::ZERO };
        assert_eq!(own.known(), [0, 1, 3, 4]);
        let mut one = Locks::new("/locks", 3, true, 1);
        assert_eq!(one.known(), [0]);
        one.slots[1].stage = Stage::Over;
        assert!(one.known().is_empty(), "whoever was lost may hold it still");
    }
}
