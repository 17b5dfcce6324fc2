//! Results as people look at them: plots, and one page that holds everything.

use std::fmt::Write as _;

use super::figure::{Axis, Figure, Line, escaped};
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
    figures.extend(timelines(results));
    let drawn = figures.into_iter().map(|(name, figure)| Plot { name, svg: figure.svg() });
    let mut plots: Vec<Plot> = drawn.filter(|plot| !plot.svg.is_empty()).collect();
    for at in 1..plots.len() {
        // Several plots of one kind are numbered.
        let same = plots[..at]
            .iter()
            .filter(|before| before.name.trim_end_matches(char::is_numeric) == plots[at].name)
            .count();
        if same > 0 {
            plots[at].name = format!("{}-{}", plots[at].name, same + 1);
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
    for of in results.each(&rest) {
        let mut lines: Vec<Line> = Vec::new();
        for report in results.points.iter().filter(|report| rest(&report.point) == of) {
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
    let group = |p: &Point| (p.series(), p.read_pct, p.connections, p.depth, p.value_bytes);
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
        let kept = reports.iter().rev().find(|report| report.invalid.is_none()).and_then(|report| report.point.rate);
        let marks = kept.map(|rate| (rate, "kept up to here".to_owned())).into_iter().collect();
        let title = format!("{}, {}% reads, {} B: latency from when it was due", of.0, of.1, of.4);
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
                let nines = (0..=50).map(|step| 10_f64.powf(f64::from(step) / 10.0));
                let seen = nines.take_while(|nines| *nines <= histogram.len() as f64);
                let points = seen.map(|nines| (nines, histogram.value_at_quantile(1.0 - 1.0 / nines) as f64 / 1e3));
                lines.push(Line { name: format!("{}, {kind}", report.point.series()), points: points.collect() });
            }
        }
        let (x, y) = (Axis::logarithmic("one in so many is slower"), Axis::logarithmic("us"));
        figures.push(("percentiles".to_owned(), Figure { title: shape, x, y, lines, marks: Vec::new() }));
    }
    figures
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

/// Everything on one page that needs no other file.
#[must_use]
pub fn page(results: &Results) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>quorate bench</title><style>\
         body{font:14px sans-serif;max-width:1100px;margin:2em auto}table{border-collapse:collapse;margin:1em 0}\
         td,th{border:1px solid #ccc;padding:3px 8px;text-align:right}td:first-child,th:first-child{text-align:left}\
         .lost{background:#fdd}.stamp{background:#ffd;padding:6px}pre{background:#f4f4f4;padding:8px;overflow:auto}\
         svg{width:100%;max-width:760px}</style><h1>quorate bench</h1>\n",
    );
    for stamp in stamps(results) {
        let _ = writeln!(page, "<p class=\"stamp\">{}</p>", escaped(&stamp));
    }
    ratios(&mut page, results);
    failovers(&mut page, results);
    sessions(&mut page, results);
    for plot in plots(results) {
        let _ = writeln!(page, "<h3>{}</h3>{}", escaped(&plot.name), plot.svg);
    }
    points(&mut page, results);
    let host = serde_json::to_string_pretty(&results.host).expect("a host is numbers and texts");
    let repeat = [("Commands", results.commands.join("\n")), ("Program", results.program.clone()), ("Host", host)];
    for (title, text) in repeat.into_iter().chain(results.config.clone().map(|text| ("Configuration", text))) {
        let _ = writeln!(page, "<h2>{title}</h2><pre>{}</pre>", escaped(&text));
    }
    page + "</html>\n"
}

/// What a reader must know before any figure.
fn stamps(results: &Results) -> Vec<String> {
    let mut stamps = Vec::new();
    if results.single_host {
        stamps.push(
            "All servers and the load on one host, over loopback: ratios mean something, capacity does not.".into(),
        );
    }
    for report in &results.points {
        let name = format!("{}, {}", report.point.series(), report.point.shape());
        stamps.extend(report.invalid.as_ref().map(|why| format!("INVALID {name}: {why}")));
        if report.generator_bound {
            stamps.push(format!("{name}: the generator was busy all the time, and these are its figures"));
        }
        if report.wrong_answers > 0 {
            stamps.push(format!("WRONG ANSWERS {name}: {}", report.wrong.join("; ")));
        }
        if report.interrupted {
            stamps.push(format!("{name}: cut short"));
        }
    }
    stamps
}

/// Points of the same shape side by side; the first series against each other one.
fn ratios(page: &mut String, results: &Results) {
    let header = "<h2>Side by side</h2><table><tr><th>shape<th>system<th>operations/s<th>ratio<th>p50 us<th>p99 us\
                  <th>CPU s/100k<th>ratio<th>memory MiB\n";
    let mut rows = String::new();
    for shape in results.each(Point::shape) {
        let reports: Vec<&Report> = results.at(&shape).collect();
        let [first, others @ ..] = &reports[..] else { continue };
        if others.is_empty() {
            continue;
        }
        for (index, report) in reports.iter().enumerate() {
            let cpu = report.cpu_per_100k();
            let ratio = first.ops_per_s / report.ops_per_s;
            let cpu_ratio = cpu.zip(first.cpu_per_100k()).map(|(theirs, ours)| theirs / ours);
            let lost = index > 0 && (ratio < 1.0 || cpu_ratio.is_some_and(|ratio| ratio < 1.0));
            let optional = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
            let _ = writeln!(
                rows,
                "<tr{}><td>{}<td>{}<td>{:.0}<td>{ratio:.2}<td>{:.0}<td>{:.0}<td>{}<td>{}<td>{:.0}",
                if lost { " class=\"lost\"" } else { "" },
                escaped(&shape),
                escaped(&report.point.series()),
                report.ops_per_s,
                report.latency_us(0.5),
                report.latency_us(0.99),
                optional(cpu),
                optional(cpu_ratio),
                report.cost.servers_rss_mib.iter().sum::<f64>(),
            );
        }
    }
    if !rows.is_empty() {
        let _ = writeln!(
            page,
            "{header}{rows}</table><p>Ratios: how many times the other's figure the first one reaches. Marked: where it does not.</p>"
        );
    }
}

fn failovers(page: &mut String, results: &Results) {
    if results.failovers.is_empty() {
        return;
    }
    *page +=
        "<h2>Fail-over</h2><table><tr><th>system<th>signal<th>trials<th>to next write, ms: median<th>least<th>most\n";
    let key = |failover: &super::FailoverReport| (failover.run.point.series(), failover.signal);
    let mut keys: Vec<_> = Vec::new();
    for failover in &results.failovers {
        if !keys.contains(&key(failover)) {
            keys.push(key(failover));
        }
    }
    for of in keys {
        let trials = results.failovers.iter().filter(|failover| key(failover) == of);
        let mut ms: Vec<f64> = trials.map(|failover| failover.kill_to_first_new_ack_ms).collect();
        ms.sort_by(f64::total_cmp);
        let (median, count) = (super::report::median(&ms), ms.len());
        let (series, signal) = of;
        let (least, most) = (ms[0], ms[count - 1]);
        let _ = writeln!(page, "<tr><td>{}<td>{signal}<td>{count}<td>{median}<td>{least}<td>{most}", escaped(&series));
    }
    *page += "</table>\n";
}

fn sessions(page: &mut String, results: &Results) {
    for storm in &results.sessions {
        let _ = writeln!(
            page,
            "<h2>{} sessions at once</h2><p>{} open after {} s; held for {} s, {} lost, {} CPU seconds of the servers for \
             each second and 10,000 of them; memory {:?} MiB before, {:?} after.</p>",
            storm.sessions,
            storm.opened,
            storm.all_open_s,
            storm.idle_s,
            storm.lost,
            storm.idle_cpu_s_per_s_10k,
            storm.opening.servers_rss_mib,
            storm.idle.servers_rss_mib
        );
    }
}

fn points(page: &mut String, results: &Results) {
    *page += "<h2>All points</h2><table><tr><th>point<th>operations/s<th>spread %<th>reads p50<th>p99<th>p99.9 us\
              <th>writes p50<th>p99<th>p99.9 us<th>CPU s/100k<th>generator CPU<th>errors\n";
    for report in &results.points {
        let _ = write!(page, "<tr><td>{}, {}", escaped(&report.point.series()), escaped(&report.point.shape()));
        let _ = write!(page, "<td>{:.0}<td>{}", report.ops_per_s, report.spread_pct);
        for latencies in [&report.reads, &report.writes] {
            match latencies {
                Some(l) => write!(page, "<td>{:.0}<td>{:.0}<td>{:.0}", l.p50_us, l.p99_us, l.p999_us),
                None => write!(page, "<td>-<td>-<td>-"),
            }
            .expect("a string takes all");
        }
        let cpu = report.cpu_per_100k().map_or("-".to_owned(), |cpu| format!("{cpu:.2}"));
        let share = report.cost.client_cpu_s / report.seconds.max(1e-9) * 100.0;
        let _ = writeln!(page, "<td>{cpu}<td>{share:.0} %<td>{}", report.errors);
    }
    *page += "</table>\n";
}
