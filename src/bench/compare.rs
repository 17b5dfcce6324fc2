//! Two results held against each other, point by point.

use super::report::{Repeat, Report};
use super::results::Results;

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
}

impl Change {
    /// After in units of before.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        if self.before == 0.0 { 1.0 } else { self.after / self.before }
    }
}

/// The points both have, and how many only one has. `threshold` is a share: 0.05 lets five percent pass.
#[must_use]
pub fn compare(before: &Results, after: &Results, threshold: f64) -> (Vec<Change>, usize) {
    let mut changes = Vec::new();
    let mut alone = after.points.len();
    for old in &before.points {
        let Some(new) = after.points.iter().find(|new| new.point == old.point) else {
            alone += 1;
            continue;
        };
        alone -= 1;
        let figures: [Figure; 4] = [
            ("operations/s", true, |repeat| repeat.ops_per_s),
            ("p50 us", false, |repeat| repeat.p50_us),
            ("p99 us", false, |repeat| repeat.p99_us),
            ("CPU s/100k", false, |repeat| repeat.servers_cpu_s_per_100k),
        ];
        changes.extend(figures.iter().filter_map(|figure| change(old, new, figure, threshold)));
    }
    (changes, alone)
}

/// Its name, whether more is better, and where it is found.
type Figure = (&'static str, bool, fn(&Repeat) -> f64);

fn change(old: &Report, new: &Report, (figure, more_is_better, of): &Figure, threshold: f64) -> Option<Change> {
    let (before, after) = (range(&old.repeats, *of)?, range(&new.repeats, *of)?);
    let ratio = after.median / before.median;
    let apart = after.low > before.high || after.high < before.low;
    let verdict = match (apart && (ratio - 1.0).abs() > threshold, (ratio > 1.0) == *more_is_better) {
        (false, _) => Verdict::Same,
        (true, true) => Verdict::Better,
        (true, false) => Verdict::Worse,
    };
    let point = format!("{}, {}", old.point.series(), old.point.shape());
    Some(Change { point, figure, before: before.median, after: after.median, verdict })
}

struct Range {
    low: f64,
    median: f64,
    high: f64,
}

/// `None` where the figure was not taken.
fn range(repeats: &[Repeat], of: fn(&Repeat) -> f64) -> Option<Range> {
    let mut values: Vec<f64> = repeats.iter().map(of).filter(|value| *value > 0.0).collect();
    values.sort_by(f64::total_cmp);
    Some(Range { low: *values.first()?, median: super::report::median(&values), high: *values.last()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(rates: &[f64], p99_us: f64) -> Results {
        let repeats = rates.iter().map(|rate| Repeat { ops_per_s: *rate, p99_us, ..Repeat::default() }).collect();
        Results { points: vec![Report { repeats, ..Report::default() }], ..Results::default() }
    }

    #[test]
    fn only_what_repeats_do_not_explain_is_a_change() {
        let before = results(&[100.0, 110.0, 105.0], 50.0);
        let verdicts = |after: &Results| {
            let (changes, alone) = compare(&before, after, 0.05);
            assert_eq!(alone, 0);
            changes.iter().map(|change| (change.figure, change.verdict)).collect::<Vec<_>>()
        };
        let (rate, p99) = ("operations/s", "p99 us");
        assert_eq!(verdicts(&results(&[90.0, 101.0, 80.0], 50.0)), [(rate, Verdict::Same), (p99, Verdict::Same)]);
        assert_eq!(verdicts(&results(&[90.0, 91.0, 80.0], 70.0)), [(rate, Verdict::Worse), (p99, Verdict::Worse)]);
        assert_eq!(verdicts(&results(&[200.0], 49.0)), [(rate, Verdict::Better), (p99, Verdict::Same)]);
        let elsewhere = Report { point: super::super::Point { depth: 9, ..Default::default() }, ..Report::default() };
        let (changes, alone) = compare(&before, &Results { points: vec![elsewhere], ..Results::default() }, 0.05);
        assert!(changes.is_empty() && alone == 2, "a point that only one has is told");
    }
}
