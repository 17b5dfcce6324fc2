//! Very many clients die together: whether their sessions end in time, and what those notice who live.
//!
//! Those that die are other processes, killed at one moment, as a host is that loses its power. This one writes all the
//! while, and asks a replica again and again how many sessions there are. A session may end no earlier than its timeout
//! after it was last heard, and should not much later than that after the death.

use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde::{Deserialize, Serialize};

use super::cost::{Cost, Meter};
use super::course::{Named, seconds};
use super::fleet::now;
use super::report::{Repeat, Report};
use super::run::{Plan, Run, RunError, Watch};
use super::system::System;
use super::tally::{TICK_MS, Tick, Window, rounded};
use crate::client::status;
use crate::time::{Duration, Instant};

/// Processes with so many sessions, all together.
pub trait Crowd {
    /// Starts them; they open their sessions at once, and hold them.
    fn gather(&mut self) -> std::io::Result<()>;

    /// What one of them said that came to its end by itself.
    fn last_words(&mut self) -> Option<String>;

    /// Ends them all, at once and without a word to the cell.
    fn die(&mut self);
}

/// Who dies, and how they are watched.
#[derive(Clone, Debug)]
pub struct Dying {
    /// Sessions that the crowd has.
    pub sessions: usize,
    /// Their timeout.
    pub timeout: Duration,
    /// How long they may take to open.
    pub patience: Duration,
    /// The replica that is asked how many there are.
    pub endpoint: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DyingReport {
    /// How many sessions died.
    pub died: usize,
    /// From asking for them until the cell had all.
    pub all_open_s: f64,
    /// What the resident memory of each server grew by, for each of them.
    pub resident_bytes_each: Vec<f64>,
    /// What opening them took.
    pub opening: Cost,
    /// Their timeout.
    pub timeout_s: f64,
    /// From their death until the cell had one less; `None` if it never had.
    pub first_gone_s: Option<f64>,
    /// Until it had none of them.
    pub last_gone_s: Option<f64>,
    /// How much later than their timeout that was.
    pub late_s: Option<f64>,
    /// Acknowledged writes a second while they lived and did nothing.
    pub writes_per_s_before: f64,
    /// From their death until they were gone.
    pub writes_per_s_meanwhile: f64,
    /// By how much those are fewer.
    pub fall_pct: f64,
    /// In the slowest second of that time.
    pub slowest_second_per_s: f64,
    /// The whole run of writes.
    #[serde(flatten)]
    pub run: Report,
}

impl DyingReport {
    /// All figures under their names.
    pub(super) fn named(&self) -> Vec<Named> {
        let seconds = |of: Option<f64>| of.map_or("never".to_owned(), |seconds| seconds.to_string());
        let figures = [
            ("died", self.died.to_string()),
            ("all_open_s", self.all_open_s.to_string()),
            ("timeout_s", self.timeout_s.to_string()),
            ("first_gone_s", seconds(self.first_gone_s)),
            ("last_gone_s", seconds(self.last_gone_s)),
            ("writes_per_s_before", self.writes_per_s_before.to_string()),
            ("writes_per_s_meanwhile", self.writes_per_s_meanwhile.to_string()),
            ("fall_pct", self.fall_pct.to_string()),
            ("slowest_second_per_s", self.slowest_second_per_s.to_string()),
        ];
        figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).chain(self.run.outcome()).collect()
    }
}

/// Asks a replica how many sessions there are, all the time.
struct Census {
    counts: Receiver<(Instant, u64)>,
    last: Option<(Instant, u64)>,
}

/// Writes, has the crowd come and die, and goes on writing until its sessions are gone.
pub fn dying<'a>(
    plan: &'a Plan,
    dying: &Dying,
    crowd: &mut dyn Crowd,
    system: &'a mut dyn System,
    watch: &'a mut Watch<'a>,
) -> Result<DyingReport, RunError> {
    let mut run = Run::prepare(plan, system, watch)?;
    let mut census = Census::begin(dying.endpoint.clone());
    let others = census.wait(&mut run, dying.patience, |_| true)?.1;
    let all = others + dying.sessions as u64;
    let opening = Meter::start(&plan.pids);
    let before = opening.read();
    let asked = now();
    crowd.gather()?;
    let opened = loop {
        match census.wait(&mut run, LOOK, |count| count >= all) {
            Ok((at, _)) => break at,
            Err(_) if !run.is_stopped() && now() < asked + dying.patience => {}
            Err(error) => return Err(RunError::Errand(crowd.last_words().unwrap_or_else(|| error.to_string()))),
        }
        if let Some(words) = crowd.last_words() {
            return Err(RunError::Errand(words));
        }
    };
    run.load("writing beside them", plan.warmup)?;
    let opening = opening.read();
    let grown = opening.servers_rss_mib.iter().zip(&before.servers_rss_mib);
    let each = |(after, before): (&f64, &f64)| rounded((after - before) * f64::from(1 << 20) / dying.sessions as f64);
    let mut report = DyingReport {
        died: dying.sessions,
        all_open_s: rounded(seconds(opened.since(asked))),
        resident_bytes_each: grown.map(each).collect(),
        opening,
        timeout_s: seconds(dying.timeout),
        ..DyingReport::default()
    };
    run.reset();
    let meter = Meter::start(&plan.pids);
    let living = window(&mut run, |run| run.load("before they die", plan.measure).map(|_| ()))?;
    crowd.die();
    let died = now();
    let dead_from = run.tally.timeline().len();
    let mut gone = None;
    let dead = window(&mut run, |run| {
        while gone.is_none() && now() < died + dying.timeout + TOO_LATE && run.load("while they end", LOOK)? {
            let counts = census.take();
            if report.first_gone_s.is_none() {
                let first = counts.iter().find(|(at, count)| *at > died && *count < all);
                report.first_gone_s = first.map(|(at, _)| rounded(seconds(at.since(died))));
            }
            gone = counts.iter().find(|(at, count)| *at > died && *count <= others).map(|(at, _)| *at);
        }
        Ok(())
    })?;
    report.last_gone_s = gone.map(|at| rounded(seconds(at.since(died))));
    report.late_s = gone.map(|at| rounded(seconds(at.since(died)) - report.timeout_s));
    (report.writes_per_s_before, report.writes_per_s_meanwhile) = (living.ops_per_s, dead.ops_per_s);
    report.fall_pct = rounded((1.0 - dead.ops_per_s / living.ops_per_s.max(1e-9)) * 100.0);
    report.slowest_second_per_s = slowest_second(&run.tally.timeline()[dead_from..]);
    report.run = run.report(vec![together(&living, &dead)], meter.read());
    let [p50_us, p99_us] = [0.5, 0.99].map(|quantile| report.run.latency_us(quantile));
    report.run.repeats[0] = Repeat { p50_us, p99_us, ..report.run.repeats[0] };
    report.run.marks.push((seconds_ms(living.seconds), "they die".into()));
    run.finish(&mut report.run)?;
    Ok(report)
}

/// Counts what is done in between.
fn window(run: &mut Run<'_>, load: impl FnOnce(&mut Run<'_>) -> Result<(), RunError>) -> Result<Repeat, RunError> {
    let began = run.system.now();
    load(run)?;
    let ended = run.system.now();
    let seconds = seconds(ended.since(began));
    let Window { answered, p50_us, p99_us, .. } = run.tally.end_window(ended);
    let ops_per_s = rounded(answered as f64 / seconds.max(1e-9));
    Ok(Repeat { seconds, ops_per_s, p50_us, p99_us, servers_cpu_s_per_100k: 0.0 })
}

/// The rate over both: they differ by what is looked for, and are no repeats of each other whose middle said anything.
fn together(living: &Repeat, dead: &Repeat) -> Repeat {
    let seconds = living.seconds + dead.seconds;
    let count = living.ops_per_s * living.seconds + dead.ops_per_s * dead.seconds;
    Repeat { seconds, ops_per_s: rounded(count / seconds.max(1e-9)), ..Repeat::default() }
}

fn slowest_second(timeline: &[Tick]) -> f64 {
    let ticks = (1000 / TICK_MS) as usize;
    let seconds = timeline.windows(ticks).map(|second| second.iter().map(|tick| tick.ops).sum::<u32>());
    f64::from(seconds.min().unwrap_or(0))
}

fn seconds_ms(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

impl Census {
    /// A thread of its own, as a question waits for its answer; it ends with the one who listens.
    fn begin(endpoint: String) -> Self {
        let (tell, counts) = channel();
        thread::spawn(move || {
            loop {
                let report = status(&endpoint, ANSWER_WITHIN);
                // Where nothing is answered nothing is told: whoever listens has a time-out.
                if let Ok(report) = report
                    && tell.send((now(), report.status.sessions)).is_err()
                {
                    return;
                }
                thread::park_timeout(ASK_EVERY);
            }
        });
        Self { counts, last: None }
    }

    /// What was told since.
    fn take(&mut self) -> Vec<(Instant, u64)> {
        let mut all = Vec::new();
        while let Ok(count) = self.counts.try_recv() {
            all.push(count);
        }
        self.last = all.last().copied().or(self.last);
        all
    }

    /// Waits for such a count, while the clients of the run live on.
    fn wait(
        &mut self,
        run: &mut Run<'_>,
        patience: Duration,
        enough: impl Fn(u64) -> bool,
    ) -> Result<(Instant, u64), RunError> {
        let until = now() + patience;
        while now() < until && !run.is_stopped() {
            if let Some(found) = self.take().into_iter().find(|(_, count)| enough(*count)) {
                return Ok(found);
            }
            let soon = run.system.now() + Duration::from_millis(10);
            run.turn(soon)?;
        }
        let found = self.last.map_or("no count of sessions".to_owned(), |(_, count)| format!("{count} sessions"));
        Err(RunError::Errand(format!("not all sessions opened: the cell has {found} in all")))
    }
}

/// How often the crowd is looked at.
const LOOK: Duration = Duration::from_millis(100);

const ASK_EVERY: std::time::Duration = std::time::Duration::from_millis(20);

const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// So long after their timeout it is no use to wait for the end of sessions.
const TOO_LATE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_all_is_what_was_written_by_the_time_it_took() {
        let of = |seconds, ops_per_s| Repeat { seconds, ops_per_s, ..Repeat::default() };
        let all = together(&of(1.0, 1_000.0), &of(9.0, 100.0));
        assert_eq!((all.seconds, all.ops_per_s), (10.0, 190.0), "no middle of the two");
    }
}
