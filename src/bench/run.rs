//! One run, from filling the keys to taking them away again.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::cost::{Cost, Meter};
use super::fleet::{Finished, Fleet};
use super::tally::{Latencies, Tally, rounded};
use super::workload::{Operation, Workload};
use crate::client::Error;
use crate::client::machine::{Answered, Settings};
use crate::namespace::command::{Answer, Done, Expect, Lifetime, Operation as Mutation, Outcome, Read, Refusal};
use crate::time::{Duration, Instant};
use crate::wire::client::Consistency;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How clients connect, and to whom.
    pub settings: Settings,
    /// Clients, each with a connection and a session.
    pub connections: usize,
    /// Operations each keeps under way.
    pub depth: usize,
    /// Reads in a hundred operations.
    pub read_pct: u8,
    /// How fresh reads must be.
    pub consistency: Consistency,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Keys, each equally likely.
    pub keys: u32,
    /// Where in the tree they are.
    pub prefix: String,
    /// Load before measuring.
    pub warmup: Duration,
    /// Load while measuring.
    pub measure: Duration,
    /// Servers whose cost to report.
    pub pids: Vec<u32>,
    /// Leave the keys in the cell.
    pub keep: bool,
    /// The run's random choices.
    pub seed: u64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `write`, `read`, `mix` or `failover`.
    pub workload: String,
    /// As planned.
    pub connections: usize,
    /// As planned.
    pub depth: usize,
    /// Connections times depth.
    pub outstanding: usize,
    /// As planned.
    pub read_pct: u8,
    /// As planned.
    pub consistency: String,
    /// As planned.
    pub value_bytes: usize,
    /// As planned.
    pub keys: u32,
    /// How long was really measured.
    pub seconds: f64,
    /// Whether the run was cut short.
    pub interrupted: bool,
    /// Operations finished, a second.
    pub ops_per_s: f64,
    /// Reads, if there were any.
    pub reads: Option<Latencies>,
    /// Writes, if there were any.
    pub writes: Option<Latencies>,
    /// Operations refused or of unknown outcome.
    pub errors: u64,
    /// Answers no correct cell gives.
    pub wrong_answers: u64,
    /// The first of them.
    pub wrong: Vec<String>,
    /// Why the keys were not verified at the end and taken away, if they were not.
    pub unverified: Option<String>,
    /// Connections made again.
    pub reconnects: u64,
    /// The first thing that went wrong.
    pub first_error: Option<String>,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The cell gave no sessions, or refused to be filled.
    #[error("cannot prepare the keys: {0}")]
    Prepare(Error),
    /// It was told to stop before anything was measured.
    #[error("interrupted before anything was measured")]
    Interrupted,
    /// Every session came to its end.
    #[error("all sessions are over: {0}")]
    AllOver(String),
    /// The operating system refused something.
    #[error("the load generator cannot work here: {0}")]
    Io(#[from] std::io::Error),
}

/// A run under way.
pub struct Run<'a> {
    plan: &'a Plan,
    stop: &'a AtomicBool,
    fleet: Fleet,
    pub(super) workload: Workload,
    pub(super) tally: Tally,
    preparing: bool,
    finished: Vec<Finished>,
    /// What each client has under way, by tag.
    slots: Vec<Option<Operation>>,
    under_way: usize,
    last_error: Option<Error>,
}

/// How many operations prepare, verify and clean up at once.
const CHORES_UNDER_WAY: usize = 512;

/// Marks the tag of a chore.
const CHORE: u64 = 1 << 63;

/// How long answers are waited for when no more is asked.
const DRAIN: Duration = Duration::from_secs(30);

impl<'a> Run<'a> {
    /// Connects and makes the keys.
    pub fn prepare(plan: &'a Plan, stop: &'a AtomicBool) -> Result<Self, RunError> {
        let mut settings = plan.settings.clone();
        settings.calls_max = plan.depth.max(CHORES_UNDER_WAY) + 1;
        let mut run = Self {
            plan,
            stop,
            fleet: Fleet::new(plan.connections, &settings)?,
            workload: Workload::new(&plan.prefix, plan.keys, plan.value_bytes, plan.read_pct, plan.seed),
            tally: Tally::default(),
            preparing: true,
            finished: Vec::new(),
            slots: vec![None; plan.connections * plan.depth],
            under_way: 0,
            last_error: None,
        };
        run.make_folders()?;
        run.fill()?;
        run.preparing = false;
        Ok(run)
    }

    /// Puts load on for so long. True if it was not told to stop.
    pub fn load(&mut self, span: Duration) -> Result<bool, RunError> {
        let until = self.fleet.now() + span;
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_none() {
                self.begin(slot);
            }
        }
        while self.fleet.now() < until && !self.is_stopped() {
            self.turn(until)?;
            let finished = std::mem::take(&mut self.finished);
            for done in &finished {
                let slot = self.conclude(done);
                self.begin(slot);
            }
            self.finished = finished;
            self.finished.clear();
            if self.under_way == 0 {
                let why = self.last_error.as_ref().map_or_else(|| "none could be used".into(), Error::to_string);
                return Err(RunError::AllOver(why));
            }
        }
        Ok(!self.is_stopped())
    }

    /// Waits for what is under way, without asking for more.
    fn drain(&mut self) -> Result<(), RunError> {
        let until = self.fleet.now() + DRAIN;
        while self.under_way > 0 && self.fleet.now() < until {
            self.turn(until)?;
            for done in std::mem::take(&mut self.finished) {
                self.conclude(&done);
            }
        }
        for operation in self.slots.iter_mut().filter_map(Option::take) {
            self.tally.errors += 1;
            self.tally.note(|| "no answer at the end of the run".into());
            if !operation.is_read {
                self.workload.may_have_written(&operation);
            }
        }
        Ok(())
    }

    /// Waits for what is under way, verifies, cleans up, and completes the report. What was measured is reported
    /// whatever becomes of the rest.
    pub fn finish(&mut self, report: &mut Report) -> Result<(), RunError> {
        self.drain()?;
        report.unverified = self.verify().err().map(|error| error.to_string());
        let (wrong_answers, wrong) = self.workload.wrong();
        (report.wrong_answers, report.wrong) = (wrong_answers, wrong.to_vec());
        Ok(())
    }

    /// Holds every key's version against what was acknowledged, then takes the keys away unless they are to be kept,
    /// and ends the sessions.
    fn verify(&mut self) -> Result<(), RunError> {
        let keys = self.plan.keys as usize;
        let exists = |run: &Self, key: usize| Chore::Read(Read::Exists { path: run.workload.path(key as u32).into() });
        self.chores(keys, exists, |run, key, result| {
            if let Ok(Answered::Read { answer: Ok(Answer::Exists { stat }), .. }) = result {
                run.workload.has_ended_at(key as u32, stat.map_or(0, |stat| stat.version));
            }
        })?;
        if !self.plan.keep {
            let delete = |run: &Self, key: usize| Chore::delete(run.workload.path(key as u32));
            self.chores(keys, delete, |_, _, _| ())?;
            let folders = self.workload.folders();
            for folder in folders.into_iter().rev() {
                // One at a time, children before parents; what others put there stays, and its folder with it.
                self.chores(1, |_, _| Chore::delete(&folder), |_, _, _| ())?;
            }
        }
        self.close()
    }

    /// The report on a window of `seconds`.
    #[must_use]
    pub fn report(&self, workload: &str, seconds: f64, cost: Cost) -> Report {
        let plan = self.plan;
        let (wrong_answers, wrong) = self.workload.wrong();
        Report {
            workload: workload.into(),
            connections: plan.connections,
            depth: plan.depth,
            outstanding: plan.connections * plan.depth,
            read_pct: plan.read_pct,
            consistency: format!("{:?}", plan.consistency).to_lowercase(),
            value_bytes: plan.value_bytes,
            keys: plan.keys,
            seconds: rounded(seconds),
            interrupted: self.is_stopped(),
            ops_per_s: self.tally.ops_per_s(seconds),
            reads: self.tally.reads(seconds),
            writes: self.tally.writes(seconds),
            errors: self.tally.errors,
            wrong_answers,
            wrong: wrong.to_vec(),
            unverified: None,
            reconnects: self.fleet.reconnects,
            first_error: self.tally.first_error.clone().or_else(|| self.fleet.trouble.clone()),
            cost,
        }
    }

    /// Forgets what was counted.
    pub fn reset(&mut self) {
        self.tally.reset();
        self.fleet.reconnects = 0;
        self.fleet.trouble = None;
    }

    /// The time of this turn.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.fleet.now()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn turn(&mut self, until: Instant) -> Result<(), RunError> {
        let patience = until.since(self.fleet.now());
        Ok(self.fleet.turn(patience, &mut self.finished)?)
    }

    /// Begins the next operation of a slot, if its client lives.
    fn begin(&mut self, slot: usize) {
        let client = slot / self.plan.depth;
        if self.fleet.is_over(client) {
            return;
        }
        let operation = self.workload.next(self.fleet.now());
        let path = self.workload.path(operation.key).to_owned();
        let begun = if operation.is_read {
            self.fleet.read(client, slot as u64, Read::Get { path }, self.plan.consistency)
        } else {
            let data = self.workload.value(operation.key);
            self.fleet.request(client, slot as u64, Mutation::Set { path, data, expect: Expect::Any })
        };
        match begun {
            Ok(()) => {
                self.slots[slot] = Some(operation);
                self.under_way += 1;
            }
            Err(error) => self.failed(error),
        }
    }

    /// Counts an operation that came to its end. Gives its slot.
    fn conclude(&mut self, done: &Finished) -> usize {
        let slot = done.tag as usize;
        let operation = self.slots[slot].take().expect("only what is under way ends");
        self.under_way -= 1;
        match &done.result {
            Ok(Answered::Request { outcome: Ok(Done::Set { stat }), .. }) => {
                self.workload.has_written(&operation, stat.version);
                self.tally.done(&operation, self.fleet.now());
            }
            Ok(Answered::Read { answer: Ok(Answer::Node { data, stat }), .. }) => {
                self.workload.has_read(&operation, data, stat.version);
                self.tally.done(&operation, self.fleet.now());
            }
            Ok(other) => {
                self.tally.errors += 1;
                self.tally.note(|| format!("{other:?}"));
            }
            Err(error) => {
                if !operation.is_read && error.outcome() == crate::client::Outcome::Unknown {
                    self.workload.may_have_written(&operation);
                }
                self.failed(error.clone());
            }
        }
        slot
    }

    fn failed(&mut self, error: Error) {
        self.tally.errors += 1;
        self.tally.note(|| error.to_string());
        self.last_error = Some(error);
    }

    fn make_folders(&mut self) -> Result<(), RunError> {
        for folder in self.workload.folders() {
            let mut refused = None;
            let make = |_: &Self, _| Chore::create(&folder, bytes::Bytes::new());
            self.chores(1, make, |_, _, result| refused = prepared(result).err())?;
            if let Some(error) = refused {
                return Err(RunError::Prepare(error));
            }
        }
        Ok(())
    }

    /// Makes the keys; one that is there already gets a new value, so that every value is of this run.
    fn fill(&mut self) -> Result<(), RunError> {
        let keys = self.plan.keys as usize;
        let values: Vec<bytes::Bytes> = (0..keys).map(|key| self.workload.value(key as u32)).collect();
        let mut there = Vec::new();
        let mut refused = None;
        let create = |run: &Self, key: usize| Chore::create(run.workload.path(key as u32), values[key].clone());
        self.chores(keys, create, |run, key, result| match result {
            Ok(Answered::Request { outcome: Ok(Done::Created { stat, .. }), .. }) => {
                run.workload.begin_at(key as u32, stat.version);
            }
            Ok(Answered::Request { outcome: Err(Refusal::NodeExists { .. }), .. }) => there.push(key),
            other => refused = prepared(other).err().or(refused.take()),
        })?;
        let set = |run: &Self, index: usize| {
            let (path, data) = (run.workload.path(there[index] as u32).to_owned(), values[there[index]].clone());
            Chore::Request(Mutation::Set { path, data, expect: Expect::Any })
        };
        self.chores(there.len(), set, |run, index, result| match result {
            Ok(Answered::Request { outcome: Ok(Done::Set { stat }), .. }) => {
                run.workload.begin_at(there[index] as u32, stat.version);
            }
            other => refused = prepared(other).err().or(refused.take()),
        })?;
        match refused {
            Some(error) => Err(RunError::Prepare(error)),
            None => Ok(()),
        }
    }

    /// Does `count` chores, many at once, over all clients that live.
    fn chores(
        &mut self,
        count: usize,
        chore: impl Fn(&Self, usize) -> Chore,
        mut ended: impl FnMut(&mut Self, usize, Result<Answered, Error>),
    ) -> Result<(), RunError> {
        let (mut begun, mut done) = (0, 0);
        let clients = self.fleet.len();
        while done < count {
            if self.preparing && self.is_stopped() {
                return Err(RunError::Interrupted);
            }
            while begun < count && begun - done < CHORES_UNDER_WAY {
                let living = (0..clients).map(|step| (begun + step) % clients).find(|c| !self.fleet.is_over(*c));
                let Some(client) = living else {
                    let why = self.last_error.as_ref().map_or_else(|| "none could be used".into(), Error::to_string);
                    return Err(RunError::AllOver(why));
                };
                let tag = begun as u64 | CHORE;
                match chore(self, begun) {
                    Chore::Request(operation) => self.fleet.request(client, tag, operation),
                    Chore::Read(read) => self.fleet.read(client, tag, read, Consistency::Linearizable),
                }
                .map_err(RunError::Prepare)?;
                begun += 1;
            }
            self.turn(self.fleet.now() + DRAIN)?;
            for finished in std::mem::take(&mut self.finished) {
                if finished.tag & CHORE == 0 {
                    // An operation of the load that was given up waiting for.
                    continue;
                }
                done += 1;
                if let Err(error) = &finished.result {
                    self.last_error = Some(error.clone());
                }
                ended(self, (finished.tag & !CHORE) as usize, finished.result);
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), RunError> {
        let until = self.fleet.now() + Duration::from_secs(2);
        let living: Vec<usize> = (0..self.fleet.len()).filter(|client| !self.fleet.is_over(*client)).collect();
        for client in &living {
            self.fleet.close(*client, 0);
        }
        while living.iter().any(|client| !self.fleet.is_over(*client)) && self.fleet.now() < until {
            self.turn(until)?;
        }
        self.finished.clear();
        Ok(())
    }
}

/// One step of preparing or cleaning up.
enum Chore {
    Request(Mutation),
    Read(Read),
}

impl Chore {
    fn create(path: &str, data: bytes::Bytes) -> Self {
        let (path, lifetime) = (path.to_owned(), Lifetime::Permanent);
        Self::Request(Mutation::Create { path, data, lifetime, sequential: false })
    }

    fn delete(path: &str) -> Self {
        Self::Request(Mutation::Delete { path: path.to_owned(), expect: Expect::Any })
    }
}

/// What is there already is as good as made.
fn prepared(result: Result<Answered, Error>) -> Result<(), Error> {
    let outcome: Outcome = match result {
        Ok(Answered::Request { outcome, .. }) => outcome,
        Ok(Answered::Read { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    match outcome {
        Ok(_) | Err(Refusal::NodeExists { .. }) => Ok(()),
        Err(refusal) => Err(Error::BadArgument { why: format!("{refusal:?}") }),
    }
}

/// Fills, warms up, measures, verifies, cleans up.
pub fn run(plan: &Plan, workload: &str, stop: &AtomicBool) -> Result<Report, RunError> {
    let mut run = Run::prepare(plan, stop)?;
    if !run.load(plan.warmup)? {
        return Err(RunError::Interrupted);
    }
    run.reset();
    let meter = Meter::start(&plan.pids);
    let began = run.now();
    run.load(plan.measure)?;
    let seconds = run.now().since(began).as_nanos() as f64 / 1e9;
    let cost = meter.read();
    // What ends after the window is checked, and not counted.
    let mut report = run.report(workload, seconds, cost);
    run.finish(&mut report)?;
    Ok(report)
}
