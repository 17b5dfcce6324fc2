//! How long writes stand still when a replica is lost.

use std::sync::atomic::AtomicBool;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::cost::Meter;
use super::run::{Plan, Report, Run, RunError};
use super::tally::rounded;
use crate::time::{Duration, Instant};

/// What is done to whom, and when.
#[derive(Clone, Copy, Debug)]
pub struct Blow {
    /// The process.
    pub pid: Pid,
    /// 9 kills it, 19 stops it.
    pub signal: Signal,
    /// Load before.
    pub before: Duration,
    /// Load after.
    pub after: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct FailoverReport {
    /// The signal's number.
    pub signal: i32,
    /// Whether writes went on.
    pub recovered: bool,
    /// The longest silence between two acknowledged writes that ends after the signal.
    pub outage_ms: f64,
    /// From the signal to the end of that silence.
    pub kill_to_first_new_ack_ms: f64,
    /// Acknowledged writes a second before.
    pub rate_before: f64,
    /// And from one second after on.
    pub rate_after_1s: f64,
    /// The whole run.
    #[serde(flatten)]
    pub run: Report,
}

/// Puts writes on, deals the blow, goes on, verifies.
pub fn failover(plan: &Plan, blow: &Blow, stop: &AtomicBool) -> Result<FailoverReport, RunError> {
    let mut run = Run::prepare(plan, stop)?;
    run.tally.acks = Some(Vec::new());
    let meter = Meter::start(&plan.pids);
    let began = run.now();
    if !run.load(blow.before)? {
        return Err(RunError::Interrupted);
    }
    kill_process(blow.pid, blow.signal).map_err(std::io::Error::from)?;
    let dealt = super::fleet::now();
    run.load(blow.after)?;
    let ended = run.now();
    let seconds = ended.since(began).as_nanos() as f64 / 1e9;
    let acks = run.tally.acks.take().unwrap_or_default();
    let mut report = run.report("failover", seconds, meter.read());
    run.finish(&mut report)?;
    Ok(FailoverReport { signal: blow.signal.as_raw(), ..silence(&acks, dealt, ended, report) })
}

fn silence(acks: &[Instant], dealt: Instant, ended: Instant, run: Report) -> FailoverReport {
    let after = acks.windows(2).filter(|pair| pair[1] > dealt);
    let longest = after.max_by_key(|pair| pair[1].since(pair[0]));
    let (from, to) = longest.map_or((dealt, ended), |pair| (pair[0], pair[1]));
    let tail = acks.last().map_or(ended.since(dealt), |last| ended.since(*last));
    let ms = |span: Duration| rounded(span.as_nanos() as f64 / 1e6);
    let rate = |from: Instant, span: Duration| {
        let count = acks.iter().filter(|ack| (from..from + span).contains(*ack)).count();
        rounded(count as f64 / (span.as_nanos() as f64 / 1e9))
    };
    let second = Duration::from_secs(1);
    FailoverReport {
        signal: 0,
        recovered: longest.is_some() && tail < to.since(from),
        outage_ms: ms(to.since(from)),
        kill_to_first_new_ack_ms: ms(to.since(dealt)),
        rate_before: rate(dealt.before(second), second),
        rate_after_1s: rate(to + second, second),
        run,
    }
}
