//! Two results held against each other, point by point.
//!
//! A figure is worse if its median is, by more than a threshold, and no two repeats of the sides overlap: so that neither
//! noise nor a trifle counts. Fewer than three repeats a side show no noise, and are told but not judged. Fail-overs have
//! many trials of which the extremes always overlap: there the middle halves must not.

use super::failover::FailoverReport;
use super::report::{Repeat, Report};
use super::results::Results;

/// Two results held against each other.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Every figure that both have.
    pub changes: Vec<Change>,
    /// Points that only the earlier one has.
    pub missing: Vec<String>,
    /// How many only the later one has.
    pub added: usize,
    /// Points whose figures counted before and do not any more, and why.
    pub invalid: Vec<String>,
}

/// One figure of one point, before and after.
#[derive(Clone, Debug)]
pub struct Change {
    pub point: String,
    pub figure: &'static str,
    pub before: f64,
    pub after: f64,
    pub verdict: Verdict,
}

/// What a change means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Better,
    /// Within the threshold, or the repeats of the two overlap.
    Same,
    Worse,
    /// There are too few repeats to know their noise.
    NotJudged,
}

/// Fewer repeats than this on one side tell nothing of their noise.
pub const REPEATS_MIN: usize = 3;

impl Change {
    /// After in units of before.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        if self.before == self.after { 1.0 } else { self.after / self.before }
    }
}

impl Comparison {
    /// The figures with that verdict.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.verdict == verdict)
    }
}

/// What both have measured. `threshold` is a share: 0.05 lets five percent pass.
#[must_use]
pub fn compare(before: &Results, after: &Results, threshold: f64) -> Comparison {
    let mut found = Comparison { added: after.points.len(), ..Comparison::default() };
    for old in &before.points {
        let Some(new) = after.points.iter().find(|new| new.point == old.point) else {
            found.missing.push(old.name());
            continue;
        };
        found.added -= 1;
        if let Some(why) = new.invalid.as_ref().filter(|_| old.invalid.is_none()) {
            found.invalid.push(format!("{}: {why}", old.name()));
        }
        let figures: [Figure; 4] = [
            ("operations/s", true, |repeat| Some(repeat.ops_per_s)),
            // Where nothing was done, or the servers are not known, there is no such figure.
            ("p50 us", false, |repeat| Some(repeat.p50_us).filter(|us| *us > 0.0)),
            ("p99 us", false, |repeat| Some(repeat.p99_us).filter(|us| *us > 0.0)),
            ("CPU s/100k", false, |repeat| Some(repeat.servers_cpu_s_per_100k).filter(|cpu| *cpu > 0.0)),
        ];
        let changes = figures.iter().filter_map(|(figure, more_is_better, of)| {
            let values = |report: &Report| report.repeats.iter().filter_map(of).collect();
            change(old.name(), figure, *more_is_better, [values(old), values(new)].map(spread), threshold)
        });
        found.changes.extend(changes);
    }
    for (name, values) in in_both(&rates(before), rates(after)) {
        found.changes.extend(change(name, "times/s", true, values.map(spread), threshold));
    }
    for (name, values) in in_both(&trials(before), trials(after)) {
        found.changes.extend(change(name, "outage ms", false, values.map(middle_half), threshold));
    }
    found
}

/// Its name, whether more is better, and where it is found.
type Figure = (&'static str, bool, fn(&Repeat) -> Option<f64>);

/// Repeats under the name of what was repeated.
type Named = (String, Vec<f64>);

/// How often locks were passed on, and writes told to all who watch, with all repeats of each.
fn rates(results: &Results) -> Vec<Named> {
    let locks = results.locks.iter().map(|of| {
        let name = format!("{} locks, {} clients, {} contend", of.locks, of.clients, of.contenders);
        (name, of.measured.repeats_per_s.clone())
    });
    let watches = results.watches.iter().map(|of| {
        let name = format!("{} watchers, {} B, values with events: {}", of.watchers, of.value_bytes, of.with_data);
        (name, of.measured.repeats_per_s.clone())
    });
    gathered(locks.chain(watches))
}

/// How long each fail-over took; for ever, where writes did not go on.
fn trials(results: &Results) -> Vec<Named> {
    let ms = |of: &FailoverReport| if of.recovered { of.kill_to_first_new_ack_ms } else { f64::INFINITY };
    let named = |of: &FailoverReport| (format!("signal {}, {}", of.signal, of.run.name()), vec![ms(of)]);
    gathered(results.failovers.iter().map(named))
}

/// What has the same name on both sides.
fn in_both(before: &[Named], after: Vec<Named>) -> impl Iterator<Item = (String, [Vec<f64>; 2])> {
    after.into_iter().filter_map(|(name, later)| {
        let (_, earlier) = before.iter().find(|(known, _)| *known == name)?;
        Some((name, [earlier.clone(), later]))
    })
}

fn gathered(all: impl Iterator<Item = Named>) -> Vec<Named> {
    let mut gathered: Vec<Named> = Vec::new();
    for (name, values) in all {
        match gathered.iter_mut().find(|known| known.0 == name) {
            Some((_, known)) => known.extend(values),
            None => gathered.push((name, values)),
        }
    }
    gathered
}

fn change(
    point: String,
    figure: &'static str,
    more_is_better: bool,
    [before, after]: [Option<Spread>; 2],
    threshold: f64,
) -> Option<Change> {
    let (before, after) = (before?, after?);
    let mut change = Change { point, figure, before: before.median, after: after.median, verdict: Verdict::Same };
    let apart = after.low > before.high || after.high < before.low;
    change.verdict = if before.repeats.min(after.repeats) < REPEATS_MIN {
        Verdict::NotJudged
    } else if !apart || (change.ratio() - 1.0).abs() <= threshold {
        Verdict::Same
    } else if (after.median > before.median) == more_is_better {
        Verdict::Better
    } else {
        Verdict::Worse
    };
    Some(change)
}

struct Spread {
    repeats: usize,
    low: f64,
    median: f64,
    high: f64,
}

/// All repeats; `None` where the figure was not taken.
fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (*values.first()?, *values.last()?);
    Some(Spread { repeats: values.len(), low, median: super::report::median(&values), high })
}

/// All but the quarters at the ends.
fn middle_half(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let outer = values.len() / 4;
    Some(Spread { repeats: values.len(), ..spread(values[outer..values.len() - outer].to_vec())? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{LockReport, Measured, Point};

    fn report(rates: &[f64], p99_us: f64) -> Report {
        let repeats = rates.iter().map(|rate| Repeat { ops_per_s: *rate, p99_us, ..Repeat::default() }).collect();
        Report { repeats, ..Report::default() }
    }

    fn results(rates: &[f64], p99_us: f64) -> Results {
        Results { points: vec![report(rates, p99_us)], ..Results::default() }
    }

    fn verdicts(before: &Results, after: &Results) -> Vec<(&'static str, Verdict)> {
        let changes = compare(before, after, 0.05).changes;
        changes.iter().map(|change| (change.figure, change.verdict)).collect()
    }

    const RATE: &str = "operations/s";
    const P99: &str = "p99 us";

    #[test]
    fn only_what_repeats_do_not_explain_is_a_change() {
        let before = results(&[100.0, 110.0, 105.0], 50.0);
        let verdicts = |after: &Results| verdicts(&before, after);
        assert_eq!(verdicts(&results(&[90.0, 101.0, 80.0], 50.0)), [(RATE, Verdict::Same), (P99, Verdict::Same)]);
        assert_eq!(verdicts(&results(&[90.0, 91.0, 80.0], 70.0)), [(RATE, Verdict::Worse), (P99, Verdict::Worse)]);
        assert_eq!(verdicts(&results(&[200.0; 3], 49.0)), [(RATE, Verdict::Better), (P99, Verdict::Same)]);
        assert_eq!(verdicts(&results(&[20.0; 2], 90.0)), [(RATE, Verdict::NotJudged), (P99, Verdict::NotJudged)]);
    }

    #[test]
    fn a_system_that_does_nothing_any_more_is_worse() {
        let (working, dead) = (results(&[100.0; 3], 50.0), results(&[0.0; 3], 0.0));
        assert_eq!(verdicts(&working, &dead), [(RATE, Verdict::Worse)]);
        assert_eq!(verdicts(&dead, &working), [(RATE, Verdict::Better)]);
        assert_eq!(verdicts(&dead, &dead), [(RATE, Verdict::Same)]);
    }

    #[test]
    fn a_point_that_is_missing_or_invalid_afterwards_is_told() {
        let before = results(&[100.0; 3], 50.0);
        let elsewhere = Report { point: Point { depth: 9, ..Point::default() }, ..report(&[100.0; 3], 50.0) };
        let found = compare(&before, &Results { points: vec![elsewhere], ..Results::default() }, 0.05);
        assert!(found.changes.is_empty() && found.missing.len() == 1 && found.added == 1, "{found:?}");
        let mut after = before.clone();
        after.points[0].invalid = Some("too slow".into());
        assert_eq!(compare(&before, &after, 0.05).invalid.len(), 1);
        assert!(compare(&after, &after, 0.05).invalid.is_empty(), "it was before");
    }

    #[test]
    fn locks_and_fail_overs_are_compared_where_both_have_them() {
        let of = |rate: f64, ms: f64| {
            let measured = Measured { repeats_per_s: vec![rate; 3], ..Measured::default() };
            let trial = |at: u32| FailoverReport {
                recovered: true,
                kill_to_first_new_ack_ms: if at == 0 { 900.0 } else { ms + f64::from(at) },
                ..FailoverReport::default()
            };
            let failovers = (0..20).map(trial).collect();
            Results { locks: vec![LockReport { measured, ..LockReport::default() }], failovers, ..Results::default() }
        };
        let (lock, outage) = ("times/s", "outage ms");
        let before = of(100.0, 200.0);
        assert_eq!(verdicts(&before, &of(101.0, 202.0)), [(lock, Verdict::Same), (outage, Verdict::Same)]);
        assert_eq!(verdicts(&before, &of(50.0, 400.0)), [(lock, Verdict::Worse), (outage, Verdict::Worse)]);
        assert_eq!(verdicts(&before, &Results::default()), [], "only one side has them");
        let mut never = of(100.0, 200.0);
        never.failovers.iter_mut().for_each(|of| of.recovered = false);
        assert_eq!(verdicts(&before, &never), [(lock, Verdict::Same), (outage, Verdict::Worse)]);
    }
}
