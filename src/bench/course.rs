//! The course of a load that is not of reads and overwrites: sessions are opened, a folder is made, windows are measured,
//! and all is taken away.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cost::{Cost, Meter};
use super::fleet::{Fleet, Word};
use super::report::median_and_spread;
use super::run::{DRAIN, Progress, RunError, TELL, Watch};
use super::session::hold;
use super::system::{System, Troubles};
use super::tally::{Latencies, rounded};
use super::workload::folders_to;
use super::wrong::Wrong;
use crate::client::Error;
use crate::client::machine::Answered;
use crate::namespace::command::{Done, Expect, Lifetime, Operation, Refusal};
use crate::time::{Duration, Instant};

/// Where it takes place, and how long.
#[derive(Clone, Debug)]
pub struct Course {
    /// The folder.
    pub prefix: String,
    /// How long sessions may take to open.
    pub opening: Duration,
    /// Load before measuring.
    pub warmup: Duration,
    /// Load while measuring, each time.
    pub measure: Duration,
    /// How often to measure.
    pub repeats: u32,
    /// Servers whose cost to report.
    pub pids: Vec<u32>,
    /// Leave the nodes where they are.
    pub keep: bool,
}

/// What every such load tells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// How long was really measured, all repeats together.
    pub seconds: f64,
    /// What the load counts.
    pub count: u64,
    /// The same, a second: the median of the repeats.
    pub per_s: f64,
    /// Each repeat.
    pub repeats_per_s: Vec<f64>,
    /// The fastest repeat against the slowest, in percent of the median.
    pub spread_pct: f64,
    /// Messages that reached the clients, those that keep sessions alive among them.
    pub messages: u64,
    /// Whether it was cut short.
    pub interrupted: bool,
    /// Whether the generator worked or waited for a core nearly all the time: then the figures are its own.
    pub generator_bound: bool,
    /// Questions refused, or of unknown outcome.
    pub errors: u64,
    /// What no correct cell tells.
    pub wrong_answers: u64,
    /// The first of it.
    pub wrong: Vec<String>,
    /// Why the end was not verified, or not everything taken away, if so.
    pub unverified: Option<String>,
    /// Connections made again.
    pub reconnects: u64,
    /// The first thing that went wrong.
    pub first_error: Option<String>,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
}

/// A closed loop: what its clients are told makes it ask for more.
pub(super) trait Cycle {
    /// Asks for the first things.
    fn begin(&mut self, fleet: &mut Fleet);

    /// A client was told something.
    fn hear(&mut self, fleet: &mut Fleet, word: Word);

    /// All that one turn brought was heard.
    fn act(&mut self, fleet: &mut Fleet);

    /// Forgets what was counted: the warm-up is over.
    fn reset(&mut self);

    /// What was counted since.
    fn count(&self) -> u64;

    /// Asks for nothing new from now on.
    fn stop(&mut self);

    /// Whether nothing is under way.
    fn is_idle(&self) -> bool;
}

/// The tag of a question that is not the load's.
const ERRAND: u64 = u64::MAX;

/// Nodes taken away by one request.
const CLEARED_AT_ONCE: u32 = 1024;

impl Course {
    /// Waits for all sessions, and makes the folder.
    pub(super) fn begin(&self, fleet: &mut Fleet, watch: &mut Watch<'_>) -> Result<(), RunError> {
        let all = fleet.clients();
        let is_open = |fleet: &Fleet| (0..all).all(|client| fleet.opened(client).is_some());
        hold(fleet, "opening", fleet.now() + self.opening, watch, is_open)?;
        if watch.stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        if !is_open(fleet) {
            let why = fleet.troubles().last.clone().unwrap_or_else(|| "no trouble of a connection".into());
            return Err(RunError::Errand(format!("not all sessions opened within {:?}: {why}", self.opening)));
        }
        for path in folders_to(&self.prefix) {
            let (data, lifetime) = (Bytes::new(), Lifetime::Permanent);
            match change(fleet, Operation::Create { path, data, lifetime, sequential: false })? {
                Ok(_) | Err(Refusal::NodeExists { .. }) => {}
                Err(refusal) => return Err(RunError::Errand(format!("{refusal:?}"))),
            }
        }
        Ok(())
    }

    /// Puts the load on: warms up, measures, and waits for what is under way.
    pub(super) fn drive(
        &self,
        fleet: &mut Fleet,
        cycle: &mut impl Cycle,
        watch: &mut Watch<'_>,
    ) -> Result<Measured, RunError> {
        cycle.begin(fleet);
        if !turn(fleet, cycle, "warming up", self.warmup, watch, |_| false)? {
            return Err(RunError::Interrupted);
        }
        cycle.reset();
        *fleet.troubles() = Troubles::default();
        let mut measured = Measured::default();
        for _ in 0..self.repeats {
            let meter = Meter::start(&self.pids);
            let (began, before, heard) = (fleet.now(), cycle.count(), fleet.heard());
            let is_whole = turn(fleet, cycle, "measuring", self.measure, watch, |_| false)?;
            let seconds = seconds(fleet.now().since(began));
            measured.cost.add(&meter.read());
            measured.messages += fleet.heard() - heard;
            measured.seconds += seconds;
            measured.repeats_per_s.push(rounded((cycle.count() - before) as f64 / seconds.max(1e-9)));
            if !is_whole {
                measured.interrupted = true;
                break;
            }
        }
        measured.count = cycle.count();
        (measured.per_s, measured.spread_pct) = median_and_spread(&measured.repeats_per_s);
        measured.generator_bound = measured.cost.is_the_generators(measured.seconds);
        Ok(measured)
    }

    /// Waits for what is under way. What was measured is reported whatever becomes of it.
    pub(super) fn drain(
        &self,
        fleet: &mut Fleet,
        cycle: &mut impl Cycle,
        watch: &mut Watch<'_>,
    ) -> Result<(), RunError> {
        cycle.stop();
        turn(fleet, cycle, "draining", DRAIN, watch, Cycle::is_idle)?;
        if cycle.is_idle() {
            return Ok(());
        }
        Err(RunError::Errand("what was under way at the end did not come to an end within 30 s".into()))
    }

    /// Takes away what the load left, and ends the sessions.
    pub(super) fn end(&self, fleet: &mut Fleet, watch: &mut Watch<'_>) -> Result<(), RunError> {
        let mut folders = folders_to(&self.prefix);
        let top = folders.pop().filter(|_| !self.keep);
        while let Some(path) = top.clone() {
            let delete = Operation::DeleteTree { path, expect: Expect::Any, part: CLEARED_AT_ONCE };
            match change(fleet, delete)? {
                Ok(Done::TreeDeleted { more: true, .. }) => {}
                Ok(_) => break,
                Err(refusal) => return Err(RunError::Errand(format!("cannot clear {}: {refusal:?}", self.prefix))),
            }
        }
        for path in folders.into_iter().rev().filter(|_| !self.keep) {
            // What others put there stays, and its folder with it.
            let _refused = change(fleet, Operation::Delete { path, expect: Expect::Any })?;
        }
        fleet.close();
        let all = fleet.clients();
        let until = fleet.now() + Duration::from_secs(10);
        hold(fleet, "closing", until, watch, |fleet| (0..all).all(|client| fleet.is_over(client)))
    }
}

/// A figure and its name.
pub(super) type Named = (String, String);

impl Measured {
    /// All figures under their names, for a line of a table.
    pub(super) fn named(&self, latencies: &[(&str, &Option<Latencies>)]) -> Vec<Named> {
        let mut named = vec![
            ("count".to_owned(), self.count.to_string()),
            ("per_s".to_owned(), self.per_s.to_string()),
            ("spread_pct".to_owned(), self.spread_pct.to_string()),
        ];
        for (name, latencies) in latencies {
            let of =
                |quantile: fn(&Latencies) -> f64| latencies.as_ref().map_or(String::new(), |l| quantile(l).to_string());
            named.push((format!("{name}_p50_us"), of(|latencies| latencies.p50_us)));
            named.push((format!("{name}_p99_us"), of(|latencies| latencies.p99_us)));
            named.push((format!("{name}_max_us"), of(|latencies| latencies.max_us)));
        }
        let servers: f64 = self.cost.servers_cpu_s.iter().sum();
        let generator_pct = self.cost.client_cpu_s / self.seconds.max(1e-9) * 100.0;
        named.extend([
            ("servers_cpu_s".to_owned(), rounded(servers).to_string()),
            ("servers_rss_mib".to_owned(), rounded(self.cost.rss_mib()).to_string()),
            ("generator_cpu_pct".to_owned(), format!("{generator_pct:.0}")),
            ("generator_waited_s".to_owned(), self.cost.client_waited_s.to_string()),
            ("generator_bound".to_owned(), self.generator_bound.to_string()),
            ("errors".to_owned(), self.errors.to_string()),
            ("wrong_answers".to_owned(), self.wrong_answers.to_string()),
            ("first_error".to_owned(), self.first_error.clone().unwrap_or_default()),
            ("unverified".to_owned(), self.unverified.clone().unwrap_or_default()),
        ]);
        named
    }

    /// Messages that reached the clients for each thing counted.
    #[must_use]
    pub fn messages_each(&self) -> f64 {
        rounded(self.messages as f64 / self.count.max(1) as f64)
    }

    /// Completes it with what was found wrong, and what connections went through.
    pub(super) fn conclude(&mut self, fleet: &mut Fleet, wrong: &Wrong, failures: Failures, end: Result<(), RunError>) {
        (self.wrong_answers, self.wrong) = (wrong.count, wrong.first.clone());
        (self.errors, self.first_error) = (failures.count, failures.first.or(fleet.troubles().last.clone()));
        self.reconnects = fleet.troubles().reconnects;
        self.unverified = end.err().map(|error| error.to_string());
        self.seconds = rounded(self.seconds);
    }
}

/// What was refused or lost: no proof of anything wrong, but nothing to be passed over.
#[derive(Default)]
pub(super) struct Failures {
    pub count: u64,
    pub first: Option<String>,
}

impl Failures {
    pub fn note(&mut self, why: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(why);
    }
}

/// Turns the fleet for so long, or until `enough`. True if it was not told to stop.
pub(super) fn turn<C: Cycle>(
    fleet: &mut Fleet,
    cycle: &mut C,
    phase: &'static str,
    span: Duration,
    watch: &mut Watch<'_>,
    enough: impl Fn(&C) -> bool,
) -> Result<bool, RunError> {
    let from = fleet.now();
    let until = from + span;
    let (mut words, mut told_at) = (Vec::new(), Instant::ZERO);
    // Once something was measured it is told, so that only a second signal ends the rest.
    let is_stopped = |watch: &Watch<'_>| phase != "draining" && watch.stop.load(Ordering::Relaxed);
    while fleet.now() < until && !is_stopped(watch) && !enough(cycle) {
        fleet.listen(until.since(fleet.now()), &mut |word| words.push(word))?;
        words.drain(..).for_each(|word| cycle.hear(fleet, word));
        cycle.act(fleet);
        if (0..fleet.clients()).all(|client| fleet.is_over(client)) {
            return Err(RunError::AllOver(fleet.troubles().last.clone().unwrap_or_else(|| "none is left".into())));
        }
        if fleet.now() >= told_at + TELL {
            told_at = fleet.now();
            let share = seconds(told_at.since(from)) / seconds(span).max(1e-9);
            (watch.progress)(&Progress { phase, share: share.min(1.0), operations: cycle.count() });
        }
    }
    Ok(!is_stopped(watch))
}

/// Has something done by any client that lives, and waits for it.
fn change(fleet: &mut Fleet, operation: Operation) -> Result<Result<Done, Refusal>, RunError> {
    match answer(fleet, |fleet, client, tag| fleet.request(client, tag, operation))? {
        Answered::Request { outcome, .. } => Ok(outcome),
        Answered::Read { .. } | Answered::Saved(_) => Err(RunError::Errand("an answer to something else".into())),
    }
}

/// Asks in the name of any client that lives, and waits for the answer; what clients are told meanwhile is not the load's.
pub(super) fn answer(
    fleet: &mut Fleet,
    ask: impl FnOnce(&mut Fleet, usize, u64) -> Result<(), Error>,
) -> Result<Answered, RunError> {
    let refused = |error: Error| RunError::Errand(error.to_string());
    let living = (0..fleet.clients()).find(|client| !fleet.is_over(*client));
    let client = living.ok_or_else(|| RunError::AllOver("none is left".into()))?;
    ask(fleet, client, ERRAND).map_err(refused)?;
    let until = fleet.now() + DRAIN;
    let mut found = None;
    while found.is_none() && fleet.now() < until {
        fleet.listen(until.since(fleet.now()), &mut |word| {
            if let Word::Answer { tag: ERRAND, result, .. } = word {
                found = Some(result);
            }
        })?;
    }
    found.ok_or_else(|| RunError::Errand("no answer for 30 s".into()))?.map_err(refused)
}

pub(super) fn seconds(span: Duration) -> f64 {
    span.as_nanos() as f64 / 1e9
}
