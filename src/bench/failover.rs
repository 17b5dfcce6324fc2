//! How long writes stand still when a replica is lost.

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::cost::Meter;
use super::course::Named;
use super::report::{Repeat, Report};
use super::run::{Plan, Run, RunError, Watch};
use super::system::System;
use super::tally::{Window, rounded};
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FailoverReport {
    /// The signal's number.
    pub signal: i32,
    /// Whether writes went on.
    pub recovered: bool,
    /// The longest silence between two acknowledged writes that ends after the signal; if writes did not go on, the one
    /// until the end.
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

impl FailoverReport {
    /// All figures under their names.
    pub(super) fn named(&self) -> Vec<Named> {
        let Self { signal, recovered, outage_ms, kill_to_first_new_ack_ms, rate_before, rate_after_1s, run } = self;
        let figures = [
            ("point", run.name()),
            ("signal", signal.to_string()),
            ("recovered", recovered.to_string()),
            ("outage_ms", outage_ms.to_string()),
            ("kill_to_first_new_ack_ms", kill_to_first_new_ack_ms.to_string()),
            ("rate_before", rate_before.to_string()),
            ("rate_after_1s", rate_after_1s.to_string()),
        ];
        figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).chain(run.outcome()).collect()
    }
}

/// Puts writes on, deals the blow, goes on, verifies.
pub fn failover<'a>(
    plan: &'a Plan,
    blow: &Blow,
    system: &'a mut dyn System,
    watch: &'a mut Watch<'a>,
) -> Result<FailoverReport, RunError> {
    let mut run = Run::prepare(plan, system, watch)?;
    run.reset();
    run.tally.acks = Some(Vec::new());
    let meter = Meter::start(&plan.pids);
    let began = run.system.now();
    if !run.load("before the signal", blow.before)? {
        return Err(RunError::Interrupted);
    }
    kill_process(blow.pid, blow.signal).map_err(std::io::Error::from)?;
    let dealt = super::fleet::now();
    run.load("after the signal", blow.after)?;
    let ended = run.system.now();
    let seconds = ended.since(began).as_nanos() as f64 / 1e9;
    run.tally.stretch(ended);
    let acks = run.tally.acks.take().unwrap_or_default();
    let Window { answered, p50_us, p99_us, .. } = run.tally.end_window(ended);
    let ops_per_s = rounded(answered as f64 / seconds);
    let repeat = Repeat { seconds, ops_per_s, p50_us, p99_us, servers_cpu_s_per_100k: 0.0 };
    let mut report = run.report(vec![repeat], meter.read());
    report.marks.push((dealt.since(began).as_millis(), format!("signal {}", blow.signal.as_raw())));
    run.finish(&mut report)?;
    Ok(FailoverReport { signal: blow.signal.as_raw(), ..silence(&acks, dealt, ended, report) })
}

fn silence(acks: &[Instant], dealt: Instant, ended: Instant, run: Report) -> FailoverReport {
    let second = Duration::from_secs(1);
    let after = acks.windows(2).filter(|pair| pair[1] > dealt);
    let longest = after.max_by_key(|pair| pair[1].since(pair[0])).map(|pair| (pair[0], pair[1]));
    let last = acks.last().copied().unwrap_or(dealt);
    // The silence that lasts at the end is no outage that is over, unless it is as short as those before it.
    let over = longest.filter(|(from, to)| ended.since(last) < to.since(*from).max(second));
    let (from, to) = over.unwrap_or((last, ended));
    let ms = |span: Duration| rounded(span.as_nanos() as f64 / 1e6);
    let rate = |from: Instant, span: Duration| {
        let count = acks.iter().filter(|ack| (from..from + span).contains(*ack)).count();
        rounded(count as f64 / (span.as_nanos() as f64 / 1e9))
    };
    FailoverReport {
        signal: 0,
        recovered: over.is_some(),
        outage_ms: ms(to.since(from)),
        kill_to_first_new_ack_ms: ms(to.since(dealt)),
        rate_before: rate(dealt.before(second), second),
        rate_after_1s: rate(to + second, second),
        run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An acknowledgement every ten milliseconds of these spans, a signal after 2 s, and the end after 8 s.
    fn after(spans: &[(u64, u64)]) -> FailoverReport {
        let at = |ms: u64| Instant::ZERO + Duration::from_millis(ms);
        let acks: Vec<Instant> = spans.iter().flat_map(|(from, to)| (*from..*to).step_by(10)).map(at).collect();
        silence(&acks, at(2_000), at(8_000), Report::default())
    }

    #[test]
    fn the_longest_silence_is_found_and_one_without_an_end_is_told_in_full() {
        let over = after(&[(0, 2_010), (2_300, 8_000)]);
        assert!(over.recovered && over.outage_ms == 300.0 && over.kill_to_first_new_ack_ms == 300.0, "{over:?}");
        assert_eq!((over.rate_before, over.rate_after_1s), (100.0, 100.0));
        // What was under way is still answered; then nothing is.
        let never = after(&[(0, 2_050)]);
        assert!(!never.recovered && never.outage_ms == 5_960.0 && never.rate_after_1s == 0.0, "{never:?}");
        assert_eq!(never.kill_to_first_new_ack_ms, 6_000.0, "at least until the end");
        let again = after(&[(0, 2_000), (2_300, 3_000)]);
        assert!(!again.recovered && again.outage_ms > 5_000.0, "it stood still once more: {again:?}");
        assert!(!after(&[]).recovered);
    }
}
