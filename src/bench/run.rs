//! The generator: keeps a system busy for a while, and looks at what comes back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use super::arrivals::Arrivals;
use super::cost::{Cost, Meter};
use super::report::{Point, Repeat, Report};
use super::system::{Ask, Finished, Lost, System, Told};
use super::tally::{Tally, Window, rounded};
use super::workload::{Operation, Workload};
use crate::time::{Duration, Instant};

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The point, and its name.
    pub point: Point,
    /// Whether a read may be older than what was seen before it was asked.
    pub old_allowed: bool,
    /// Where in the tree the keys are.
    pub prefix: String,
    /// Load before measuring.
    pub warmup: Duration,
    /// Load while measuring, each time.
    pub measure: Duration,
    /// How often to measure.
    pub repeats: u32,
    /// Servers whose cost to report.
    pub pids: Vec<u32>,
    /// Leave the keys where they are.
    pub keep: bool,
    /// The run's random choices.
    pub seed: u64,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The system gave no sessions, or refused to be filled.
    #[error("cannot prepare the keys: {0}")]
    Prepare(String),
    /// What had to be done before or after a load was not done.
    #[error("{0}")]
    Errand(String),
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

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it is doing.
    pub phase: &'static str,
    /// How much of that is done, of one.
    pub share: f64,
    /// Operations finished in this phase.
    pub operations: u64,
}

/// Who may end a run early, and who is told how far it is.
pub struct Watch<'a> {
    /// Set: end it.
    pub stop: &'a AtomicBool,
    /// Told about ten times a second.
    pub progress: &'a mut dyn FnMut(&Progress),
}

/// A run under way.
pub struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) watch: &'a mut Watch<'a>,
    pub(super) system: &'a mut dyn System,
    pub(super) workload: Workload,
    pub(super) tally: Tally,
    arrivals: Option<Arrivals>,
    pub(super) finished: Vec<Finished>,
    /// What each client has under way, by tag.
    slots: Vec<Option<Operation>>,
    /// Slots with nothing under way, in an open loop.
    free: VecDeque<usize>,
    under_way: usize,
    pub(super) last_error: Option<Lost>,
    told_at: Instant,
    phase_operations: u64,
}

/// How often the progress is told, at most.
pub(super) const TELL: Duration = Duration::from_millis(100);

/// How long answers are waited for when no more is asked.
pub(super) const DRAIN: Duration = Duration::from_secs(30);

/// What arrives in so many seconds may be unanswered when a window ends: a stall at its very end is no lack of speed.
const BEHIND_S: f64 = 0.1;

/// So many may, however few arrive: by chance alone they come together.
const BEHIND_MIN: u64 = 8;

/// How long what was due in a window is waited for at least.
const SETTLE_MIN: Duration = Duration::from_secs(2);

impl<'a> Run<'a> {
    /// Connects and makes the keys.
    pub fn prepare(plan: &'a Plan, system: &'a mut dyn System, watch: &'a mut Watch<'a>) -> Result<Self, RunError> {
        let point = &plan.point;
        assert!(system.clients() == point.connections && point.depth > 0, "the system has the clients of the plan");
        let now = system.now();
        let slots = point.connections * point.depth;
        let mut workload = Workload::new(&plan.prefix, point.keys, point.value_bytes, point.read_pct, plan.seed);
        if plan.old_allowed {
            workload.allow_old();
        }
        let mut run = Self {
            plan,
            watch,
            system,
            workload,
            tally: Tally::new(point.rate.is_some(), now),
            arrivals: point.rate.map(|rate| Arrivals::new(rate, plan.seed, now)),
            finished: Vec::new(),
            slots: vec![None; slots],
            free: VecDeque::new(),
            under_way: 0,
            last_error: None,
            told_at: Instant::ZERO,
            phase_operations: 0,
        };
        run.make_folders()?;
        run.fill()?;
        if run.arrivals.is_some() {
            // Slots of one client lie together; the arrivals go round the clients.
            let depth = point.depth;
            run.free = (0..slots).map(|turn| turn % point.connections * depth + turn / point.connections).collect();
        }
        Ok(run)
    }

    /// Puts load on for so long. True if it was not told to stop.
    pub fn load(&mut self, phase: &'static str, span: Duration) -> Result<bool, RunError> {
        let from = self.system.now();
        let until = from + span;
        self.phase_operations = 0;
        if self.arrivals.is_none() {
            for slot in (0..self.slots.len()).filter(|slot| self.slots[*slot].is_none()).collect::<Vec<_>>() {
                self.begin(slot, self.system.now());
            }
        }
        while self.system.now() < until && !self.is_stopped() {
            let wake_at = self.begin_what_is_due().min(until);
            self.turn(wake_at)?;
            for done in std::mem::take(&mut self.finished) {
                let slot = self.conclude(&done);
                if self.arrivals.is_some() {
                    self.free.push_back(slot);
                } else {
                    self.begin(slot, self.system.now());
                }
            }
            if (0..self.system.clients()).all(|client| self.system.is_over(client)) {
                return Err(RunError::AllOver(self.last_words()));
            }
            let share = self.system.now().since(from).as_nanos() as f64 / span.as_nanos().max(1) as f64;
            self.tell(phase, share);
        }
        Ok(!self.is_stopped())
    }

    /// Hands over what has arrived, as far as clients have room. Gives the time of the next arrival.
    fn begin_what_is_due(&mut self) -> Instant {
        let now = self.system.now();
        let Some(arrivals) = &mut self.arrivals else { return Instant::FOREVER };
        arrivals.arrive(now);
        let next = arrivals.next_due();
        self.begin_what_waits();
        next
    }

    /// Hands over what waits, as far as clients have room.
    fn begin_what_waits(&mut self) {
        let Some(mut arrivals) = self.arrivals.take() else { return };
        while let Some(slot) = self.free.pop_front() {
            if self.system.is_over(slot / self.plan.point.depth) {
                // It takes nothing more; another client does.
                continue;
            }
            let Some(due) = arrivals.take() else {
                self.free.push_front(slot);
                break;
            };
            if !self.begin(slot, due) {
                self.free.push_back(slot);
            }
        }
        self.arrivals = Some(arrivals);
    }

    /// In an open loop, waits for what was due since `began` without letting more arrive: an operation that is slow at the
    /// very end of a window is slow all the same, and its latency counts. Not for ever: a queue that has grown for all of
    /// the window takes as long to be worked off.
    fn settle(&mut self, began: Instant, ended: Instant) -> Result<Option<Unanswered>, RunError> {
        let Some(arrivals) = &mut self.arrivals else { return Ok(None) };
        arrivals.arrive(ended);
        let due = arrivals.counted();
        let behind = self.unanswered(began);
        let until = ended + self.plan.measure.max(SETTLE_MIN).min(DRAIN);
        loop {
            self.begin_what_waits();
            if self.under_way == 0 || self.system.now() >= until {
                break;
            }
            self.turn(until)?;
            for done in std::mem::take(&mut self.finished) {
                let slot = self.conclude(&done);
                self.free.push_back(slot);
            }
        }
        let (never, now) = (self.unanswered(began), self.system.now());
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.resume(now);
        }
        Ok(Some(Unanswered { due, behind, never }))
    }

    /// How many operations that were due since then have no answer.
    fn unanswered(&self, began: Instant) -> u64 {
        let waiting = self.arrivals.iter().flat_map(Arrivals::waiting);
        let under_way = self.slots.iter().flatten().map(|operation| operation.begun);
        waiting.chain(under_way).filter(|due| *due >= began).count() as u64
    }

    /// Waits for what is under way, without asking for more.
    fn drain(&mut self) -> Result<(), RunError> {
        let until = self.system.now() + DRAIN;
        while self.under_way > 0 && self.system.now() < until {
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
        let wrong = self.workload.wrong();
        (report.wrong_answers, report.wrong) = (wrong.count, wrong.first.clone());
        report.old_answers = self.workload.old();
        // What was under way at the end, and never answered, came to nothing as well.
        report.errors = self.tally.errors;
        report.first_error = report.first_error.take().or_else(|| self.tally.first_error.clone());
        Ok(())
    }

    /// The report on what was counted in `repeats`.
    #[must_use]
    pub fn report(&mut self, repeats: Vec<Repeat>, cost: Cost) -> Report {
        let seconds: f64 = repeats.iter().map(|repeat| repeat.seconds).sum();
        let troubles = self.system.troubles();
        let first_error = self.tally.first_error.clone().or_else(|| troubles.last.clone());
        let mut report = Report {
            point: self.plan.point.clone(),
            seconds: rounded(seconds),
            interrupted: self.is_stopped(),
            repeats,
            reads: self.tally.reads(seconds),
            writes: self.tally.writes(seconds),
            service: self.tally.service(seconds),
            errors: self.tally.errors,
            reconnects: self.system.troubles().reconnects,
            first_error,
            generator_bound: cost.is_the_generators(seconds),
            cost,
            timeline: self.tally.timeline().to_vec(),
            ..Report::default()
        };
        report.conclude_repeats();
        report
    }

    /// Forgets what was counted.
    pub fn reset(&mut self) {
        let now = self.system.now();
        self.tally.reset(now);
        *self.system.troubles() = super::system::Troubles::default();
    }

    /// Measures once. Gives the repeat, and in an open loop why it does not count, if it does not.
    fn measure_once(&mut self, cost: &mut Cost) -> Result<(Repeat, Option<String>), RunError> {
        let meter = Meter::start(&self.plan.pids);
        let began = self.system.now();
        self.tally.begin_window(began);
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.count_after(began);
        }
        self.load("measuring", self.plan.measure)?;
        let ended = self.system.now();
        let this = meter.read();
        let seconds = ended.since(began).as_nanos() as f64 / 1e9;
        self.tally.close_window(ended);
        let unanswered = self.settle(began, ended)?;
        let Window { answered, recorded, p50_us, p99_us } = self.tally.end_window(self.system.now());
        let rate = self.plan.point.rate.unwrap_or(0.0);
        let missed = unanswered.and_then(|unanswered| unanswered.missed(recorded, rate));
        let cpu: f64 = this.servers_cpu_s.iter().sum();
        let servers_cpu_s_per_100k = rounded(cpu / answered.max(1) as f64 * 1e5);
        cost.add(&this);
        let ops_per_s = rounded(answered as f64 / seconds);
        Ok((Repeat { seconds, ops_per_s, p50_us, p99_us, servers_cpu_s_per_100k }, missed))
    }

    /// The intervals of this run, as a histogram log.
    #[must_use]
    pub fn log(&self, started: f64) -> String {
        self.tally.log(started)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.watch.stop.load(Ordering::Relaxed)
    }

    pub(super) fn turn(&mut self, until: Instant) -> Result<(), RunError> {
        let patience = until.since(self.system.now());
        Ok(self.system.turn(patience, &mut self.finished)?)
    }

    pub(super) fn tell(&mut self, phase: &'static str, share: f64) {
        let now = self.system.now();
        if now >= self.told_at + TELL {
            self.told_at = now;
            (self.watch.progress)(&Progress { phase, share: share.min(1.0), operations: self.phase_operations });
        }
    }

    pub(super) fn last_words(&self) -> String {
        self.last_error.as_ref().map_or_else(|| "none could be used".into(), ToString::to_string)
    }

    /// Begins the next operation of a slot, if its client lives. True if it is under way.
    fn begin(&mut self, slot: usize, due: Instant) -> bool {
        let client = slot / self.plan.point.depth;
        if self.system.is_over(client) {
            return false;
        }
        let mut operation = self.workload.next(due, self.system.now());
        let path = self.workload.path(operation.key).to_owned();
        let ask = if operation.is_read {
            Ask::Read { path }
        } else {
            Ask::Write { path, data: self.workload.value_of(&mut operation) }
        };
        match self.system.ask(client, slot as u64, ask) {
            Ok(()) => {
                self.slots[slot] = Some(operation);
                self.under_way += 1;
                true
            }
            Err(lost) => {
                self.failed(lost);
                false
            }
        }
    }

    /// Counts an operation that came to its end. Gives its slot.
    fn conclude(&mut self, done: &Finished) -> usize {
        let slot = done.tag as usize;
        let operation = self.slots[slot].take().expect("only what is under way ends");
        self.under_way -= 1;
        self.phase_operations += 1;
        let now = self.system.now();
        match &done.result {
            Ok(Told::Written { order }) if !operation.is_read => {
                self.workload.has_written(&operation, *order);
                self.tally.done(&operation, now);
            }
            Ok(Told::Value { data, order }) if operation.is_read => {
                self.workload.has_read(&operation, data, *order);
                self.tally.done(&operation, now);
            }
            Ok(Told::Missing) => self.workload.has_missed(&operation),
            Ok(other) => {
                self.tally.errors += 1;
                self.tally.note(|| format!("{other:?}"));
            }
            Err(lost) => {
                if !operation.is_read && lost.maybe_done {
                    self.workload.may_have_written(&operation);
                }
                self.failed(lost.clone());
            }
        }
        slot
    }

    fn failed(&mut self, lost: Lost) {
        self.tally.errors += 1;
        self.tally.note(|| lost.to_string());
        self.last_error = Some(lost);
    }
}

/// What a window of an open loop left undone.
struct Unanswered {
    /// Operations due in it.
    due: u64,
    /// Those without an answer when it ended.
    behind: u64,
    /// Those without one when they were no longer waited for.
    never: u64,
}

impl Unanswered {
    /// Why the window does not count: more was due than was done, and not because it was under way. What was refused or
    /// lost is not done: a system that sheds load does not keep the rate.
    fn missed(&self, done: u64, rate: f64) -> Option<String> {
        let Self { due, behind, never } = *self;
        let allowed = (due / 100).max((rate * BEHIND_S) as u64).max(BEHIND_MIN);
        (behind > allowed || never > 0 || done * 100 < due * 99).then(|| {
            format!(
                "the rate was not kept: {due} operations were due, {behind} of them without an answer when the window \
                 ended, {never} even later; {done} were done"
            )
        })
    }
}

/// Fills, warms up, measures, verifies, cleans up. Gives the report and the histogram log.
pub fn run<'a>(
    plan: &'a Plan,
    system: &'a mut dyn System,
    watch: &'a mut Watch<'a>,
    started: f64,
) -> Result<(Report, String), RunError> {
    let mut run = Run::prepare(plan, system, watch)?;
    if !run.load("warming up", plan.warmup)? {
        return Err(RunError::Interrupted);
    }
    run.reset();
    let (mut repeats, mut invalid, mut cost) = (Vec::new(), None, Cost::default());
    for _ in 0..plan.repeats {
        let (repeat, missed) = run.measure_once(&mut cost)?;
        repeats.push(repeat);
        invalid = invalid.or(missed);
        if run.is_stopped() {
            break;
        }
    }
    // What ends after the window is checked, and not counted.
    let mut report = run.report(repeats, cost);
    report.invalid = invalid;
    run.finish(&mut report)?;
    Ok((report, run.log(started)))
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{StandIn, plan};
    use super::*;

    /// Runs the plan on a system of memory alone.
    fn measured(plan: &Plan, mut system: StandIn) -> Report {
        let stop = AtomicBool::new(false);
        let mut watch = Watch { stop: &stop, progress: &mut |_| () };
        run(plan, &mut system, &mut watch, 0.0).expect("it can be measured").0
    }

    #[test]
    fn a_right_system_is_found_right() {
        let report = measured(&plan(2, 4, None), StandIn::new(2));
        assert_eq!((report.wrong_answers, report.errors), (0, 0), "{:?} {:?}", report.wrong, report.first_error);
        assert!(report.unverified.is_none() && report.invalid.is_none(), "{report:?}");
        assert!((9_000.0..=10_000.0).contains(&report.ops_per_s), "{}", report.ops_per_s);
    }

    #[test]
    fn a_key_that_vanishes_is_a_wrong_answer_while_read_written_and_at_the_end() {
        let hiding = |hides: fn(&Ask) -> bool| {
            let mut system = StandIn::new(2);
            system.spoil = Box::new(move |_, ask, told| Ok(if hides(ask) { Told::Missing } else { told }));
            system
        };
        let says_so = |report: &Report| report.wrong.first().is_some_and(|wrong| wrong.contains("no such key"));
        let read = measured(&plan(2, 4, None), hiding(|ask| matches!(ask, Ask::Read { .. })));
        assert!(says_so(&read) && read.errors == 0, "{:?}", read.wrong);
        let written = measured(&plan(2, 4, None), hiding(|ask| matches!(ask, Ask::Write { .. })));
        assert!(says_so(&written) && written.errors == 0, "{:?}", written.wrong);
        let old = Plan { old_allowed: true, ..plan(2, 4, None) };
        let allowed = measured(&old, hiding(|ask| matches!(ask, Ask::Read { .. })));
        assert!(allowed.wrong_answers == 0 && allowed.old_answers > 0, "{:?}", allowed.wrong);
        // Each key is looked at once before the load and once after it; of reads alone no write is missed.
        let mut only_reads = plan(2, 4, None);
        only_reads.point.read_pct = 100;
        let (mut gone, mut looks) = (StandIn::new(2), 0);
        gone.spoil = Box::new(move |_, ask, told| {
            looks += u32::from(matches!(ask, Ask::Look { .. }));
            Ok(if looks == 20 { Told::Seen(None) } else { told })
        });
        let gone = measured(&only_reads, gone);
        assert!(says_so(&gone) && gone.wrong_answers == 1, "{:?}", gone.wrong);
    }

    #[test]
    fn what_is_never_answered_is_an_error_even_at_the_very_end() {
        let mut dead = StandIn::new(2);
        dead.stall = Some((Duration::from_millis(1_050), Duration::from_secs(200)));
        let report = measured(&plan(2, 4, None), dead);
        assert_eq!(report.errors, 8, "all that was under way: {:?}", report.first_error);
        assert!(report.first_error.is_some() && report.unverified.is_some(), "{report:?}");
    }

    #[test]
    fn a_rate_that_was_not_kept_is_called_so() {
        let missed = |due, behind, never, done| Unanswered { due, behind, never }.missed(done, 1_000.0);
        assert_eq!(missed(10_000, 10, 0, 10_000), None);
        assert_eq!(missed(1_000, 100, 0, 1_000), None, "a stall of a tenth of a second at the end");
        assert!(missed(1_000, 120, 0, 1_000).is_some(), "the queue grew, though it was worked off later");
        assert!(missed(1_000, 5, 1, 999).is_some(), "of what was never answered nobody knows how slow it was");
        assert!(missed(10_000, 10, 0, 9_800).is_some(), "the rest was refused");
        let few = Unanswered { due: 20, behind: 3, never: 0 };
        assert_eq!(few.missed(20, 20.0), None, "of few some are always under way");
    }

    #[test]
    fn what_is_due_in_a_window_counts_however_late_its_answer_is() {
        let mut stalled = StandIn::new(2);
        // The keys take a moment, the warm-up a tenth of a second; the window is the second from then on.
        stalled.stall = Some((Duration::from_millis(1_050), Duration::from_millis(500)));
        let report = measured(&plan(2, 64, Some(1_000.0)), stalled);
        assert!(report.invalid.is_none(), "{:?}", report.invalid);
        let slowest = [&report.reads, &report.writes].into_iter().flatten().map(|of| of.max_us).fold(0.0, f64::max);
        assert!(slowest > 400_000.0, "a stall at the end of the window hides: {slowest} us");
        assert!(report.latency_us(0.99) > 300_000.0, "and so many waited for it: {} us", report.latency_us(0.99));
    }

    #[test]
    fn a_system_that_is_too_slow_is_called_so_in_each_repeat() {
        let plan = Plan { repeats: 2, ..plan(2, 64, Some(12_000.0)) };
        let report = measured(&plan, StandIn::new(2));
        assert!(report.invalid.is_some_and(|why| why.contains("not kept")));
        for repeat in &report.repeats {
            assert!((9_500.0..=10_000.0).contains(&repeat.ops_per_s), "no more than it can do: {}", repeat.ops_per_s);
            assert!(repeat.p99_us > 100_000.0, "what waited is counted: {}", repeat.p99_us);
        }
    }

    #[test]
    fn a_system_that_sheds_load_does_not_keep_the_rate() {
        let refusing = |each: u32| {
            let (mut system, mut asked) = (StandIn::new(2), 0);
            system.spoil = Box::new(move |_, ask, told| {
                asked += u32::from(matches!(ask, Ask::Read { .. } | Ask::Write { .. }));
                let why = || Lost { why: "too busy".into(), maybe_done: true };
                if asked % each == each - 1 { Err(why()) } else { Ok(told) }
            });
            measured(&plan(2, 16, Some(2_000.0)), system)
        };
        let few = refusing(500);
        assert!(few.errors > 0 && few.invalid.is_none(), "{} errors, {:?}", few.errors, few.invalid);
        let many = refusing(20);
        assert!(many.invalid.is_some(), "one in twenty was refused, and {} of 2000/s done", many.ops_per_s);
    }
}
