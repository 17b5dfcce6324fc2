//! Which plots a set of results has points for.

use hdrhistogram::Histogram;

use super::fan_out::FanOutReport;
use super::figure::{Axis, Figure, Line};
use super::lock::LockReport;
use super::report::{Point, Report};
use super::results::Results;
use super::tally::TICK_MS;

/// A plot and the name of its file.
pub struct Plot {
    pub name: String,
    pub svg: String,
}

/// More plots of percentiles than this hide what they show.
const PERCENTILE_PLOTS_MAX: usize = 12;

/// Every plot these results have points for.
#[must_use]
pub fn plots(results: &Results) -> Vec<Plot> {
    let mut figures = Vec::new();
    figures.extend(curves(
        results,
        "mix",
        "% reads",
        false,
        |p| f64::from(p.read_pct),
        |p| format!("{} x {} outstanding, {} B{}", p.connections, p.depth, p.value_bytes, rate(p)),
    ));
    figures.extend(curves(
        results,
        "outstanding",
        "operations outstanding",
        true,
        |p| p.outstanding as f64,
        |p| format!("{}% reads, {} B{}", p.read_pct, p.value_bytes, rate(p)),
    ));
    figures.extend(curves(
        results,
        "value-size",
        "bytes of a value",
        true,
        |p| p.value_bytes as f64,
        |p| format!("{}% reads, {} x {}{}", p.read_pct, p.connections, p.depth, rate(p)),
    ));
    figures.extend(curves(
        results,
        "replicas",
        "replicas",
        false,
        |p| f64::from(p.replicas.unwrap_or(0)),
        |p| format!("{}% reads, {} x {}, {} B, {}", p.read_pct, p.connections, p.depth, p.value_bytes, p.system),
    ));
    figures.extend(hockey_sticks(results));
    figures.extend(percentiles(results));
    figures.extend(hand_overs(results));
    figures.extend(fan_outs(results));
    figures.extend(timelines(results));
    let drawn = figures.into_iter().map(|(name, figure)| Plot { name, svg: figure.svg() });
    numbered(drawn.filter(|plot| !plot.svg.is_empty()).collect())
}

/// Several plots of one kind are numbered, so that none takes the file of another.
fn numbered(mut plots: Vec<Plot>) -> Vec<Plot> {
    let kinds: Vec<String> = plots.iter().map(|plot| plot.name.clone()).collect();
    for (at, plot) in plots.iter_mut().enumerate() {
        let before = kinds[..at].iter().filter(|kind| **kind == kinds[at]).count();
        if before > 0 {
            plot.name = format!("{}-{}", kinds[at], before + 1);
        }
    }
    plots
}

fn rate(point: &Point) -> String {
    point.rate.map(|rate| format!(", {rate:.0}/s")).unwrap_or_default()
}

/// Operations a second over something that varies, one plot for each value of what else does, one line a series.
fn curves(
    results: &Results,
    name: &str,
    label: &str,
    logarithmic: bool,
    x: impl Fn(&Point) -> f64,
    rest: impl Fn(&Point) -> String,
) -> Vec<(String, Figure)> {
    let mut figures = Vec::new();
    // What a curve passes through is another measurement than a point alone, and so is one over more keys.
    let all_else = |p: &Point| format!("{}, {}, {} keys", p.workload, rest(p), p.keys);
    for of in results.each(all_else) {
        let mut lines: Vec<Line> = Vec::new();
        for report in results.points.iter().filter(|report| all_else(&report.point) == of) {
            // Replica counts are lines of every other plot, and the axis of their own.
            let series = if name == "replicas" { report.point.consistency.clone() } else { report.point.series() };
            let point = (x(&report.point), report.ops_per_s);
            match lines.iter_mut().find(|line| line.name == series) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { name: series, points: vec![point] }),
            }
        }
        for line in &mut lines {
            line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
            line.points.dedup_by(|a, b| a.0 == b.0);
        }
        if lines.iter().any(|line| line.points.len() > 1) {
            let x = Axis { label: label.into(), logarithmic };
            let y = Axis::linear("operations/s");
            figures.push((name.to_owned(), Figure { title: of, x, y, lines, marks: Vec::new() }));
        }
    }
    figures
}

/// Latency over offered load, up to where it is no longer met.
fn hockey_sticks(results: &Results) -> Vec<(String, Figure)> {
    let unrated = |p: &Point| Point { rate: None, ..p.clone() };
    let group = |p: &Point| (p.series(), unrated(p).shape());
    let mut figures = Vec::new();
    for of in results.each(group) {
        let open = |report: &&Report| group(&report.point) == of && report.point.rate.is_some();
        let mut reports: Vec<_> = results.points.iter().filter(open).collect();
        reports.sort_by(|a, b| a.point.rate.unwrap_or(0.0).total_cmp(&b.point.rate.unwrap_or(0.0)));
        if reports.len() < 2 {
            continue;
        }
        let line = |(name, quantile): (&str, f64)| Line {
            name: name.into(),
            points: reports.iter().map(|r| (r.point.rate.unwrap_or(0.0), r.latency_us(quantile))).collect(),
        };
        let lines = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)].map(line).to_vec();
        // A rate that was kept above one that was not is luck.
        let kept = reports.iter().take_while(|report| report.invalid.is_none()).last();
        let kept = kept.and_then(|report| report.point.rate);
        let marks = kept.map(|rate| (rate, "kept up to here".to_owned())).into_iter().collect();
        let title = format!("{}, {}: latency from when it was due", of.0, of.1);
        let (x, y) = (Axis::linear("offered operations/s"), Axis::logarithmic("us"));
        figures.push(("offered-load".to_owned(), Figure { title, x, y, lines, marks }));
    }
    figures
}

fn percentiles(results: &Results) -> Vec<(String, Figure)> {
    let mut figures = Vec::new();
    for shape in results.each(Point::shape).into_iter().take(PERCENTILE_PLOTS_MAX) {
        let mut lines = Vec::new();
        for report in results.at(&shape) {
            for (kind, latencies) in [("reads", &report.reads), ("writes", &report.writes)] {
                let Some(histogram) = latencies.as_ref().and_then(|latencies| latencies.histogram()) else { continue };
                lines.push(Line { name: format!("{}, {kind}", report.point.series()), points: over_nines(&histogram) });
            }
        }
        figures.push(of_percentiles(shape, lines));
    }
    let locks = results.locks.iter().flat_map(|of| {
        let who = if of.contenders > 0 { "contending".to_owned() } else { format!("with {} locks", of.locks) };
        let name = move |kind: &str| format!("{} clients {who}, {kind}", of.clients);
        [(name("pair"), &of.pair), (name("hand-over"), &of.hand_over)]
    });
    let watches = results.watches.iter().flat_map(|of| {
        let name = |kind: &str| format!("{} watchers, {kind}", of.watchers);
        [(name("each"), &of.told), (name("the last"), &of.last_told)]
    });
    for (title, all) in [("locks", locks.collect::<Vec<_>>()), ("watches", watches.collect())] {
        let named = all.into_iter().filter_map(|(name, latencies)| Some((name, latencies.as_ref()?.histogram()?)));
        let lines = named.map(|(name, histogram)| Line { name, points: over_nines(&histogram) });
        figures.push(of_percentiles(title.to_owned(), lines.collect()));
    }
    figures
}

fn of_percentiles(title: String, lines: Vec<Line>) -> (String, Figure) {
    let (x, y) = (Axis::logarithmic("one in so many is slower"), Axis::logarithmic("us"));
    ("percentiles".to_owned(), Figure { title, x, y, lines, marks: Vec::new() })
}

fn over_nines(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let nines = (0..=50).map(|step| 10_f64.powf(f64::from(step) / 10.0));
    let seen = nines.take_while(|nines| *nines <= histogram.len() as f64);
    seen.map(|nines| (nines, histogram.value_at_quantile(1.0 - 1.0 / nines) as f64 / 1e3)).collect()
}

/// How often a lock goes from one to the next, over how many contend for it.
fn hand_overs(results: &Results) -> Option<(String, Figure)> {
    let mut points: Vec<_> = results.locks.iter().filter(|of| of.contenders > 0).collect();
    points.sort_by_key(|of| of.contenders);
    let over = |y: fn(&LockReport) -> f64| points.iter().map(|of| (of.contenders as f64, y(of))).collect();
    let lines = vec![
        Line { name: "hand-overs/s".into(), points: over(|of| of.measured.per_s) },
        Line { name: "messages for each".into(), points: over(|of| of.messages_each) },
    ];
    let (x, y) = (Axis::logarithmic("clients that contend for one lock"), Axis::logarithmic(""));
    let title = "one lock, handed over".to_owned();
    (points.len() > 1).then_some(("hand-over".to_owned(), Figure { title, x, y, lines, marks: Vec::new() }))
}

/// How long until all are told, over how many watch.
fn fan_outs(results: &Results) -> Option<(String, Figure)> {
    let mut points: Vec<_> = results.watches.iter().collect();
    points.sort_by_key(|of| of.watchers);
    let line = |(name, of): (&str, fn(&FanOutReport) -> Option<f64>)| Line {
        name: name.into(),
        points: points.iter().filter_map(|report| Some((report.watchers as f64, of(report)?))).collect(),
    };
    let lines = vec![
        line(("the last is told, p50", |of| Some(of.last_told.as_ref()?.p50_us))),
        line(("the last is told, p99", |of| Some(of.last_told.as_ref()?.p99_us))),
        line(("any is told, p50", |of| Some(of.told.as_ref()?.p50_us))),
    ];
    let (x, y) = (Axis::logarithmic("watchers of one node"), Axis::logarithmic("us"));
    let title = "from the write until watchers are told".to_owned();
    (points.len() > 1).then_some(("fan-out".to_owned(), Figure { title, x, y, lines, marks: Vec::new() }))
}

fn timelines(results: &Results) -> Vec<(String, Figure)> {
    let mut figures = Vec::new();
    for failover in &results.failovers {
        let at = |index: usize| (index as u64 * TICK_MS) as f64 / 1e3;
        let ticks = || failover.run.timeline.iter().enumerate();
        let per_s = ticks().map(|(index, tick)| (at(index), f64::from(tick.ops) * 1000.0 / TICK_MS as f64)).collect();
        let marks: Vec<_> = failover.run.marks.iter().map(|(ms, what)| (*ms as f64 / 1e3, what.clone())).collect();
        let title = format!("{}: {} ms without a write", failover.run.point.series(), failover.outage_ms);
        let x = || Axis::linear("s");
        let lines = vec![Line { name: "writes/s".into(), points: per_s }];
        let y = Axis::linear("acknowledged writes/s");
        figures.push(("timeline".into(), Figure { title: title.clone(), x: x(), y, lines, marks: marks.clone() }));
        let slowest = ticks().map(|(index, tick)| (at(index), f64::from(tick.max_us) / 1e3)).collect();
        let lines = vec![Line { name: "slowest of a tenth of a second".into(), points: slowest }];
        let y = Axis::logarithmic("ms");
        figures.push(("timeline-latency".into(), Figure { title, x: x(), y, lines, marks }));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_plot_of_a_kind_has_a_file_of_its_own() {
        let names = ["mix", "percentiles", "mix", "mix", "percentiles", "mix"];
        let plots = names.map(|name| Plot { name: name.into(), svg: String::new() });
        let named: Vec<String> = numbered(plots.into()).into_iter().map(|plot| plot.name).collect();
        assert_eq!(named, ["mix", "percentiles", "mix-2", "mix-3", "percentiles-2", "mix-4"]);
    }

    fn report(workload: &str, keys: u32, read_pct: u8, rate: Option<f64>) -> Report {
        let point = Point { workload: workload.into(), keys, read_pct, rate, ..Point::default() };
        Report { point, ops_per_s: 100.0, ..Report::default() }
    }

    #[test]
    fn a_curve_is_of_one_workload_and_one_number_of_keys() {
        let mix = [0, 50].map(|pct| report("mix", 100, pct, None));
        let more_keys = [0, 50].map(|pct| report("mix", 900, pct, None));
        let alone = report("write", 100, 0, None);
        let points = mix.into_iter().chain(more_keys).chain([alone]).collect();
        let results = Results { points, ..Results::default() };
        let figures = curves(&results, "mix", "", false, |p| f64::from(p.read_pct), |_| String::new());
        assert_eq!(figures.len(), 2, "a single point is no curve");
        assert!(figures.iter().all(|(_, figure)| figure.lines.len() == 1 && figure.lines[0].points.len() == 2));
    }

    #[test]
    fn a_rate_is_marked_as_kept_only_below_the_first_that_was_not() {
        let invalid = |rate: f64, is_kept: bool| Report {
            invalid: (!is_kept).then(String::new),
            ..report("sweep", 100, 0, Some(rate))
        };
        let marks = |kept: [bool; 3]| {
            let points = [3.0, 1.0, 2.0].map(|rate| invalid(rate, kept[rate as usize - 1])).into();
            hockey_sticks(&Results { points, ..Results::default() })[0].1.marks.clone()
        };
        assert_eq!(marks([true, true, true])[0].0, 3.0);
        assert_eq!(marks([true, false, true])[0].0, 1.0, "what was kept above is luck");
        assert!(marks([false, true, true]).is_empty());
    }
}
