//! One writer and many who watch: how long until the last of them is told, and what watches cost that are told nothing.
//!
//! The node is written again when the write before was acknowledged and everybody was told of it: a closed loop. Latency
//! runs from handing the write to its client; each watcher's ends when its event is decoded. One thread reads for all of
//! them, so a good part of the last one's latency is the generator's; its share of CPU is told beside.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::cost::{Cost, Meter};
use super::course::{Course, Cycle, Failures, Measured, Named, answer, seconds, turn};
use super::fleet::{Fleet, Word, now};
use super::prepare::CHORES_UNDER_WAY;
use super::run::{DRAIN, RunError, Watch};
use super::session::hold;
use super::system::System;
use super::tally::{Latencies, empty, rounded};
use super::telling::Telling;
use super::workload::{Operation as Written, VALUE_BYTES_MIN, Workload};
use super::wrong::Wrong;
use crate::client::Error;
use crate::client::machine::{Answered, Happening, WatchTold, WatchWish};
use crate::namespace::command::{Answer, Done, Expect, Lifetime, Operation, Read, Refusal, Revision};
use crate::time::Instant;
use crate::wire::watch::{EventKind, Scope};

/// What is to be watched.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Events bring the value.
    pub with_data: bool,
    /// Watches of nodes to which nothing happens, before all else: what they cost. Needs to know the servers' processes.
    pub idle: usize,
}

/// What telling many came to; what is counted is writes of which all were told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FanOutReport {
    /// Clients that watch, each by its own connection.
    pub watchers: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Whether events brought it.
    pub with_data: bool,
    /// From the write until it was acknowledged.
    pub write: Option<Latencies>,
    /// From the write until a watcher was told, of all watchers.
    pub told: Option<Latencies>,
    /// From the write until the last one was told.
    pub last_told: Option<Latencies>,
    /// Times that a watcher was told of a gap instead.
    pub gaps: u64,
    /// What watches cost that are told nothing.
    pub idle: Option<IdleWatches>,
    #[serde(flatten)]
    pub measured: Measured,
}

/// What watches cost that are told nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct IdleWatches {
    /// How many, each of a path of its own.
    pub watches: usize,
    /// From asking for them until all stood.
    pub opened_s: f64,
    /// What the resident memory of all servers grew by, for each.
    pub bytes_each: f64,
    /// CPU seconds of all servers for each second and 100,000 of them.
    pub cpu_s_per_s_100k: f64,
    /// What opening them took.
    pub opening: Cost,
    /// What holding them took.
    pub idle: Cost,
}

struct FanOut {
    path: String,
    with_data: bool,
    workload: Workload,
    telling: Telling,
    wrong: Wrong,
    /// The write of which not all have been told.
    under_way: Option<Written>,
    last_told_at: Instant,
    write: Histogram<u64>,
    told: Histogram<u64>,
    last_told: Histogram<u64>,
    writes: u64,
    gaps: u64,
    failures: Failures,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Watches that do not stand yet.
    Opening(usize),
    Going,
    Stopping,
    /// Watchers that have yet to read the last value.
    Reading(usize),
    Over,
}

/// The client that writes; the others watch.
const WRITER: usize = 0;

/// The name of each client's watch; those of nodes to which nothing happens follow.
const WATCH: u64 = 1;

/// Has all clients of a fleet but one watch what that one writes.
pub fn fan_out(
    fleet: &mut Fleet,
    course: &Course,
    watched: Watched,
    watch: &mut Watch<'_>,
) -> Result<FanOutReport, RunError> {
    let watchers = fleet.clients() - 1;
    assert!(watchers > 0, "somebody watches");
    fleet.take_short_turns();
    course.begin(fleet, watch)?;
    let idle =
        if watched.idle > 0 && !course.pids.is_empty() { Some(idle(fleet, course, &watched, watch)?) } else { None };
    let mut load = FanOut::new(&course.prefix, watchers, watched);
    load.open(fleet, watch)?;
    let mut measured = course.drive(fleet, &mut load, watch)?;
    let seconds = measured.seconds;
    let [write, told, last_told] =
        [&load.write, &load.told, &load.last_told].map(|times| Latencies::of(times, seconds));
    let end = match load.stage {
        Stage::Over => Err(RunError::Errand("a write came to nothing, and with it the load".into())),
        _ => course.drain(fleet, &mut load, watch),
    };
    load.telling.has_ended();
    let end = end.and_then(|()| course.end(fleet, watch));
    for found in [load.telling.wrong(), load.workload.wrong()] {
        load.wrong.extend(found);
    }
    measured.conclude(fleet, &load.wrong, load.failures, end);
    let Watched { value_bytes, with_data, .. } = watched;
    Ok(FanOutReport { watchers, value_bytes, with_data, write, told, last_told, gaps: load.gaps, idle, measured })
}

/// Opens watches of nodes that are not there, spread over the watchers, and holds them.
fn idle(fleet: &mut Fleet, course: &Course, watched: &Watched, watch: &mut Watch<'_>) -> Result<IdleWatches, RunError> {
    let (watches, watchers) = (watched.idle, fleet.clients() - 1);
    let place = |index: usize| (1 + index % watchers, WATCH + 1 + (index / watchers) as u64);
    chat(fleet, course, watches)?;
    let meter = Meter::start(&course.pids);
    let before = meter.read().rss_mib();
    let began = now();
    for index in 0..watches {
        let (client, name) = place(index);
        let path = format!("{}/idle-{index:08}", course.prefix);
        let wish = WatchWish { path, scope: Scope::Node, from: None, once: false, with_data: false };
        fleet.watch(client, name, wish).map_err(|error| RunError::Errand(error.to_string()))?;
    }
    let (mut opened, mut refused) = (0, None);
    while opened < watches && now() < began + DRAIN {
        fleet.listen(DRAIN, &mut |word| match word {
            Word::Watch { told: WatchTold::Opened { .. }, .. } => opened += 1,
            Word::Watch { told: WatchTold::Refused(refusal), .. } => refused = Some(format!("{refusal:?}")),
            Word::Watch { .. } | Word::Answer { .. } => {}
        })?;
    }
    if let Some(why) = refused.or((opened < watches).then(|| format!("{opened} of {watches} stand after 30 s"))) {
        return Err(RunError::Errand(format!("cannot open idle watches: {why}")));
    }
    let opened_s = rounded(seconds(now().since(began)));
    let opening = meter.read();
    let (from, meter) = (fleet.now(), Meter::start(&course.pids));
    hold(fleet, "holding idle watches", from + course.measure, watch, |_| false)?;
    let (held_s, idle) = (seconds(fleet.now().since(from)), meter.read());
    for (client, name) in (0..watches).map(place) {
        fleet.unwatch(client, name);
    }
    let cpu: f64 = idle.servers_cpu_s.iter().sum();
    Ok(IdleWatches {
        watches,
        opened_s,
        bytes_each: rounded((opening.rss_mib() - before) * f64::from(1 << 20) / watches as f64),
        cpu_s_per_s_100k: rounded(cpu / held_s.max(1e-9) / watches as f64 * 1e5),
        opening,
        idle,
    })
}

/// Has the watchers ask as many questions as they will open watches, or as many as they may at once: what talking alone
/// takes of the servers' memory, the buffers above all, is no cost of watches.
fn chat(fleet: &mut Fleet, course: &Course, watches: usize) -> Result<(), RunError> {
    let each = watches.div_ceil(fleet.clients() - 1).min(CHORES_UNDER_WAY);
    let mut waiting = 0;
    for client in 1..fleet.clients() {
        for index in 0..each {
            let read = Read::Exists { path: format!("{}/idle-{index:08}", course.prefix) };
            fleet.read(client, 0, read).map_err(|error| RunError::Errand(error.to_string()))?;
            waiting += 1;
        }
    }
    let until = now() + DRAIN;
    while waiting > 0 && now() < until {
        fleet.listen(DRAIN, &mut |word| waiting -= usize::from(matches!(word, Word::Answer { .. })))?;
    }
    if waiting > 0 { Err(RunError::Errand(format!("{waiting} questions are not answered after 30 s"))) } else { Ok(()) }
}

impl FanOutReport {
    /// All figures under their names.
    pub(super) fn named(&self) -> Vec<Named> {
        let idle = |of: fn(&IdleWatches) -> String| self.idle.as_ref().map_or(String::new(), of);
        let mut named = vec![
            ("watchers".to_owned(), self.watchers.to_string()),
            ("value_bytes".to_owned(), self.value_bytes.to_string()),
            ("with_data".to_owned(), self.with_data.to_string()),
            ("gaps".to_owned(), self.gaps.to_string()),
            ("idle_watches".to_owned(), idle(|idle| idle.watches.to_string())),
            ("idle_bytes_each".to_owned(), idle(|idle| idle.bytes_each.to_string())),
            ("idle_cpu_s_per_s_100k".to_owned(), idle(|idle| idle.cpu_s_per_s_100k.to_string())),
        ];
        let latencies = [("write", &self.write), ("told", &self.told), ("last_told", &self.last_told)];
        named.extend(self.measured.named(&latencies));
        named
    }
}

impl FanOut {
    fn new(prefix: &str, watchers: usize, watched: Watched) -> Self {
        Self {
            path: format!("{prefix}/watched"),
            with_data: watched.with_data,
            workload: Workload::new(prefix, 1, watched.value_bytes.max(VALUE_BYTES_MIN), 0, 1),
            telling: Telling::new(watchers),
            wrong: Wrong::default(),
            under_way: None,
            last_told_at: Instant::ZERO,
            write: empty(),
            told: empty(),
            last_told: empty(),
            writes: 0,
            gaps: 0,
            failures: Failures::default(),
            stage: Stage::Opening(watchers),
        }
    }

    /// Makes the node, and has everybody watch it.
    fn open(&mut self, fleet: &mut Fleet, watch: &mut Watch<'_>) -> Result<(), RunError> {
        let (path, data) = (self.path.clone(), self.workload.value(0));
        let create = Operation::Create { path, data, lifetime: Lifetime::Permanent, sequential: false };
        let made = match answer(fleet, |fleet, client, tag| fleet.request(client, tag, create))? {
            Answered::Request { revision, outcome: Ok(Done::Created { .. }) } => revision,
            other => return Err(RunError::Errand(format!("cannot make {}: {other:?}", self.path))),
        };
        for client in 1..fleet.clients() {
            let (path, with_data) = (self.path.clone(), self.with_data);
            // A replica that lags must not tell of the making, too.
            let wish = WatchWish { path, scope: Scope::Node, from: Some(made), once: false, with_data };
            fleet.watch(client, WATCH, wish).map_err(|error| RunError::Errand(error.to_string()))?;
        }
        if !turn(fleet, self, "opening watches", DRAIN, watch, |load| load.stage == Stage::Opening(0))? {
            return Err(RunError::Interrupted);
        }
        if self.stage != Stage::Opening(0) {
            return Err(RunError::Errand(self.failures.first.take().unwrap_or_else(|| "not all watches stand".into())));
        }
        Ok(())
    }

    fn write(&mut self, fleet: &mut Fleet) {
        let handed = now();
        let mut write = self.workload.operation(false, 0, handed);
        let (path, data) = (self.path.clone(), self.workload.value_of(&mut write));
        self.under_way = Some(write);
        self.telling.writes();
        if let Err(error) = fleet.request(WRITER, 0, Operation::Set { path, data, expect: Expect::Any }) {
            self.failures.note(|| error.to_string());
            self.stage = Stage::Over;
        }
    }

    fn has_written(&mut self, result: Result<Answered, Error>) {
        let write = self.under_way.expect("only what is under way is answered");
        match result {
            Ok(Answered::Request { revision, outcome: Ok(Done::Set { stat }) }) => {
                self.workload.has_written(&write, stat.version);
                self.telling.has_written(revision);
                self.write.saturating_record(now().since(write.begun).as_nanos());
            }
            other => {
                // Without its revision nothing that watchers are told can be judged.
                self.failures.note(|| format!("{other:?}"));
                self.stage = Stage::Over;
            }
        }
    }

    fn is_told(&mut self, watcher: usize, told: WatchTold) {
        match told {
            WatchTold::Opened { .. } => {
                if let Stage::Opening(left) = &mut self.stage {
                    *left -= 1;
                }
            }
            WatchTold::Happened { revision, events } => self.happened(watcher, revision, &events),
            WatchTold::Gap { from, to } => {
                self.gaps += 1;
                self.telling.gap(watcher, from, to);
            }
            WatchTold::Progress { revision } => self.telling.progress(watcher, revision),
            WatchTold::Refused(refusal) => self.failures.note(|| format!("{refusal:?}")),
            WatchTold::Over(error) => {
                self.failures.note(|| error.to_string());
                self.telling.lost(watcher);
            }
        }
    }

    fn happened(&mut self, watcher: usize, revision: Revision, events: &[Happening]) {
        let at = now();
        self.telling.told(watcher, revision);
        if let Some(write) = self.under_way {
            self.told.saturating_record(at.since(write.begun).as_nanos());
            self.last_told_at = at;
        }
        match events {
            [Happening { kind: EventKind::Changed, path, node }] if *path == self.path => {
                if let Some((data, stat)) = node {
                    let read = self.workload.operation(true, 0, at);
                    self.workload.has_read(&read, data, stat.version);
                } else if self.with_data {
                    self.wrong.note(|| format!("watcher {watcher}: {revision} without its value"));
                }
            }
            other => self.wrong.note(|| format!("watcher {watcher}: {revision} brought {other:?}")),
        }
    }

    /// Has every watcher read the last value by its own connection.
    fn read_all(&mut self, fleet: &mut Fleet) {
        let mut asked = 0;
        for client in 1..fleet.clients() {
            let read = Read::Get { path: self.path.clone() };
            match fleet.read(client, 0, read) {
                Ok(()) => asked += 1,
                Err(error) => self.failures.note(|| error.to_string()),
            }
        }
        self.stage = if asked == 0 { Stage::Over } else { Stage::Reading(asked) };
    }

    fn has_read(&mut self, result: Result<Answered, Error>) {
        match result {
            Ok(Answered::Read { answer: Ok(Answer::Node { data, stat }), .. }) => {
                let read = self.workload.operation(true, 0, now());
                self.workload.has_read(&read, &data, stat.version);
                self.workload.has_ended_at(0, stat.version);
            }
            Ok(Answered::Read { answer: Err(Refusal::NoNode { .. }), .. }) => self.workload.has_vanished(0),
            other => self.failures.note(|| format!("{other:?}")),
        }
        if let Stage::Reading(left) = self.stage {
            self.stage = if left == 1 { Stage::Over } else { Stage::Reading(left - 1) };
        }
    }
}

impl Cycle for FanOut {
    fn begin(&mut self, fleet: &mut Fleet) {
        self.stage = Stage::Going;
        self.write(fleet);
    }

    fn hear(&mut self, _fleet: &mut Fleet, word: Word) {
        match word {
            Word::Answer { client: WRITER, result, .. } => self.has_written(result),
            Word::Answer { result, .. } => self.has_read(result),
            Word::Watch { client, watch: WATCH, told } => self.is_told(client - 1, told),
            // Words to watches that were ended since.
            Word::Watch { .. } => {}
        }
    }

    fn act(&mut self, fleet: &mut Fleet) {
        if self.telling.all_know()
            && let Some(write) = self.under_way.take()
        {
            self.last_told.saturating_record(self.last_told_at.since(write.begun).as_nanos());
            self.writes += 1;
        }
        match self.stage {
            Stage::Going if self.under_way.is_none() => self.write(fleet),
            Stage::Stopping if self.under_way.is_none() => self.read_all(fleet),
            Stage::Opening(_) | Stage::Going | Stage::Stopping | Stage::Reading(_) | Stage::Over => {}
        }
    }

    fn reset(&mut self) {
        for histogram in [&mut self.write, &mut self.told, &mut self.last_told] {
            histogram.reset();
        }
        (self.writes, self.gaps) = (0, 0);
    }

    fn count(&self) -> u64 {
        self.writes
    }

    fn stop(&mut self) {
        if self.stage == Stage::Going {
            self.stage = Stage::Stopping;
        }
    }

    fn is_idle(&self) -> bool {
        self.stage == Stage::Over
    }
}
