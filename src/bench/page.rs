//! One page that holds everything.

use std::fmt::Write as _;

use super::course::Named;
use super::failover::FailoverReport;
use super::figure::escaped;
use super::judgement::{ERRORS_PCT_MAX, FaultKind, faults};
use super::plots::plots;
use super::report::{Point, Report};
use super::results::Results;

/// Figures of an early ZooKeeper talk, by the number of servers, on a host for each and with hundreds of clients: operations
/// a second at 1 % and at 100 % writes.
const EARLY_ZOOKEEPER: [(u8, u32, u32); 5] =
    [(3, 49_827, 10_519), (5, 75_308, 8_048), (7, 147_810, 6_371), (9, 195_178, 5_550), (13, 265_115, 4_592)];

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
    replicas(&mut page, results);
    heat(&mut page, results);
    failovers(&mut page, results);
    sessions(&mut page, results);
    special(&mut page, "Sessions that die together", &results.dying_lines());
    special(&mut page, "Locks taken and given up", &results.lock_lines());
    special(&mut page, "Watches told of one writer's writes", &results.watch_lines());
    for plot in plots(results) {
        let _ = writeln!(page, "<h3>{}</h3>{}", escaped(&plot.name), plot.svg);
    }
    points(&mut page, results);
    let host = serde_json::to_string_pretty(&results.host).expect("a host is numbers and texts");
    let repeat = [("Commands", results.commands.join("\n")), ("Program", results.program.clone()), ("Host", host)];
    let repeat = repeat.into_iter().map(|(title, text)| (title.to_owned(), text));
    let config = results.config.iter().map(|text| ("Configuration".to_owned(), text.clone()));
    let configs =
        results.configs.iter().map(|(count, text)| (format!("Configuration of {count} replicas"), text.clone()));
    for (title, text) in repeat.chain(config).chain(configs) {
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
    stamps.extend(results.mixed.iter().map(|difference| format!("Not measured alike, {difference}")));
    // An invalid point is told of below, even if it is no fault since it was looked for.
    let faults = faults(results, ERRORS_PCT_MAX).into_iter().filter(|fault| fault.kind != FaultKind::Invalid);
    stamps.extend(faults.map(|fault| {
        let label = if fault.kind == FaultKind::Wrong { "WRONG ANSWERS: " } else { "FAILED: " };
        format!("{label}{}: {}", fault.what, fault.found.replace('\n', "; "))
    }));
    for report in &results.points {
        let name = report.name();
        stamps.extend(report.invalid.as_ref().map(|why| format!("INVALID {name}: {why}")));
        if report.generator_bound {
            stamps.push(format!(
                "{name}: the generator worked or waited for a core nearly all the time, and these are its figures"
            ));
        }
        if report.interrupted {
            stamps.push(format!("{name}: cut short"));
        }
    }
    for storm in results.sessions.iter().filter(|storm| storm.generator_bound) {
        let sessions = storm.sessions;
        stamps.push(format!("{sessions} sessions: the generator was busy while they opened, and the time is its own"));
    }
    for (name, measured) in results.of_their_own() {
        if measured.generator_bound {
            stamps.push(format!(
                "{name}: the generator worked or waited for a core nearly all the time, and these are its figures"
            ));
        }
        if measured.interrupted {
            stamps.push(format!("{name}: cut short"));
        }
    }
    stamps
}

/// Points of the same shape side by side; the first series against each other one.
fn ratios(page: &mut String, results: &Results) {
    let mut rows = String::new();
    for shape in results.each(Point::shape) {
        let reports: Vec<&Report> = results.at(&shape).collect();
        let [first, _, ..] = &reports[..] else { continue };
        for (index, report) in reports.iter().enumerate() {
            let cells = compared(first, report);
            let lost = index > 0 && cells.iter().any(|(_, ratio)| ratio.is_some_and(|ratio| ratio < 1.0));
            let class = if lost { " class=\"lost\"" } else { "" };
            let _ = write!(rows, "<tr{class}><td>{}<td>{}", escaped(&shape), escaped(&report.point.series()));
            for (figure, ratio) in cells {
                let optional = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
                let _ = write!(rows, "<td>{}<td>{}", optional(figure), marked(optional(ratio), ratio));
            }
            rows.push('\n');
        }
    }
    if !rows.is_empty() {
        *page += "<h2>Side by side</h2><table><tr><th>shape<th>system";
        for figure in ["operations/s", "p50 us", "p99 us", "CPU s/100k", "memory MiB"] {
            let _ = write!(page, "<th>{figure}<th>ratio");
        }
        let _ = writeln!(page, "\n{rows}</table>{HOW_RATIOS_ARE_READ}");
    }
}

/// Said below each table of ratios.
const HOW_RATIOS_ARE_READ: &str = "<p>Ratios: how many times better the first one's figure is than this one's, whether more \
                                   of it is better or less. Marked: where it is worse.</p>";

/// Each figure of a point, where it is known, and how many times better the first system's is.
fn compared(first: &Report, report: &Report) -> [(Option<f64>, Option<f64>); 5] {
    let known = |figure: f64| Some(figure).filter(|figure| *figure > 0.0);
    let of = |report: &Report| {
        let [p50, p99] = [0.5, 0.99].map(|quantile| known(report.latency_us(quantile)));
        [known(report.ops_per_s), p50, p99, report.cpu_per_100k(), known(report.cost.rss_mib())]
    };
    let (ours, theirs) = (of(first), of(report));
    std::array::from_fn(|at| {
        let ratio = ours[at].zip(theirs[at]).map(|(ours, theirs)| if at == 0 { ours / theirs } else { theirs / ours });
        (theirs[at], ratio)
    })
}

/// A ratio that is lost stands out in its row.
fn marked(text: String, ratio: Option<f64>) -> String {
    if ratio.is_some_and(|ratio| ratio < 1.0) { format!("<b>{text}</b>") } else { text }
}

/// Reading scales with replicas, writing does not: 1 % and 100 % writes, by their number.
fn replicas(page: &mut String, results: &Results) {
    let at = |count: u8, read_pct: u8| {
        let wanted = |report: &&Report| report.point.replicas == Some(count) && report.point.read_pct == read_pct;
        results.points.iter().find(wanted).map_or("-".to_owned(), |report| format!("{:.0}", report.ops_per_s))
    };
    let known =
        |read_pct: u8| results.points.iter().any(|r| r.point.replicas.is_some() && r.point.read_pct == read_pct);
    if !known(0) || !known(99) {
        return;
    }
    *page += "<h2>More replicas</h2><table><tr><th>replicas<th>1 % writes/s<th>100 % writes/s<th>an early ZooKeeper talk: 1 %\
              <th>100 %\n";
    for (count, few, all) in EARLY_ZOOKEEPER {
        let _ = writeln!(page, "<tr><td>{count}<td>{}<td>{}<td>{few}<td>{all}", at(count, 99), at(count, 0));
    }
    *page += "</table><p>Theirs: a host for each server. All of ours share one, and so do the clients.</p>\n";
}

/// What is outstanding against the size of values, where both vary: the darker, the more bytes a second.
fn heat(page: &mut String, results: &Results) {
    let key = |point: &Point| (point.series(), point.read_pct, point.workload.clone(), point.keys);
    for this in results.each(key) {
        let (series, read_pct, ..) = &this;
        let of = |report: &&Report| key(&report.point) == this;
        let reports: Vec<&Report> = results.points.iter().filter(of).filter(|r| r.point.rate.is_none()).collect();
        let each = |value: fn(&Point) -> usize| {
            let mut values: Vec<usize> = reports.iter().map(|report| value(&report.point)).collect();
            values.sort_unstable();
            values.dedup();
            values
        };
        let (columns, rows) = (each(|point| point.value_bytes), each(|point| point.outstanding));
        if columns.len() < 2 || rows.len() < 2 {
            continue;
        }
        let bytes = |report: &Report| report.ops_per_s * report.point.value_bytes as f64;
        let most = reports.iter().map(|report| bytes(report)).fold(1.0, f64::max);
        let _ = write!(page, "<h2>{}, {read_pct}% reads: operations/s</h2><table><tr><th>outstanding", escaped(series));
        columns.iter().for_each(|bytes| *page += &format!("<th>{bytes} B"));
        for row in rows {
            let _ = write!(page, "\n<tr><td>{row}");
            for column in &columns {
                let cell = reports.iter().find(|r| r.point.outstanding == row && r.point.value_bytes == *column);
                match cell {
                    Some(cell) => {
                        let shade = 255.0 - 150.0 * (bytes(cell) / most).sqrt();
                        let _ = write!(
                            page,
                            "<td style=\"background:rgb({shade:.0},{shade:.0},255)\">{:.0}",
                            cell.ops_per_s
                        );
                    }
                    None => *page += "<td>-",
                }
            }
        }
        *page += "</table>\n";
    }
}

fn failovers(page: &mut String, results: &Results) {
    if results.failovers.is_empty() {
        return;
    }
    *page += "<h2>Fail-over</h2><table><tr><th>system<th>signal<th>trials<th>never ended<th>to next write, ms: median\
              <th>ratio<th>least<th>most<th>errors\n";
    let key = |failover: &FailoverReport| (failover.run.name(), failover.signal);
    let mut keys: Vec<_> = Vec::new();
    for failover in &results.failovers {
        if !keys.contains(&key(failover)) {
            keys.push(key(failover));
        }
    }
    // Of each signal and shape the first system, against which the others are held.
    let mut firsts: Vec<(i32, String, Option<f64>)> = Vec::new();
    for of in keys {
        let trials: Vec<_> = results.failovers.iter().filter(|failover| key(failover) == of).collect();
        // A trial that never ended has no time that could be put beside the others.
        let ended = trials.iter().filter(|failover| failover.recovered);
        let mut ms: Vec<f64> = ended.map(|failover| failover.kill_to_first_new_ack_ms).collect();
        ms.sort_by(f64::total_cmp);
        let errors: u64 = trials.iter().map(|failover| failover.run.errors).sum();
        let never = trials.len() - ms.len();
        let figure = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| ms.to_string());
        let median = (!ms.is_empty()).then(|| super::report::median(&ms));
        let shape = trials[0].run.point.shape();
        let first =
            firsts.iter().find(|(signal, of_shape, _)| (*signal, of_shape) == (of.1, &shape)).map(|first| first.2);
        let ours = first.unwrap_or_else(|| {
            firsts.push((of.1, shape, median));
            median
        });
        let ratio = ours.zip(median).map(|(ours, theirs)| theirs / ours);
        let lost = never > 0 || ratio.is_some_and(|ratio| ratio < 1.0);
        let ratio = marked(ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")), ratio);
        let [median, least, most] = [median, ms.first().copied(), ms.last().copied()].map(figure);
        let (class, name) = (if lost { " class=\"lost\"" } else { "" }, escaped(&of.0));
        let _ = write!(page, "<tr{class}><td>{name}<td>{}<td>{}<td>{never}<td>{median}", of.1, trials.len());
        let _ = writeln!(page, "<td>{ratio}<td>{least}<td>{most}<td>{errors}");
    }
    let _ = writeln!(page, "</table>{HOW_RATIOS_ARE_READ}");
}

fn sessions(page: &mut String, results: &Results) {
    for storm in &results.sessions {
        let _ = writeln!(
            page,
            "<h2>{} sessions, {} at once</h2><p>{} open after {} s; held for {} s, {} lost, {} CPU seconds of the servers for \
             each second and 10,000 of them; memory {:?} MiB before, {:?} after.</p>",
            storm.sessions,
            storm.wave,
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

/// A load that has figures of its own.
fn special(page: &mut String, title: &str, lines: &[Vec<Named>]) {
    let Some(first) = lines.first() else { return };
    let _ = write!(page, "<h2>{title}</h2><table><tr>");
    first.iter().for_each(|(name, _)| *page += &format!("<th>{}", name.replace('_', " ")));
    for line in lines {
        *page += "\n<tr>";
        line.iter().for_each(|(_, figure)| *page += &format!("<td>{}", escaped(figure)));
    }
    *page += "</table>\n";
}

fn points(page: &mut String, results: &Results) {
    *page += "<h2>All points</h2><table><tr><th>point<th>operations/s<th>spread %<th>reads p50<th>p99<th>p99.9 us\
              <th>writes p50<th>p99<th>p99.9 us<th>CPU s/100k<th>generator CPU<th>errors<th>first of them<th>at the end\n";
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
        let first = escaped(report.first_error.as_deref().unwrap_or_default());
        let end =
            report.unverified.as_ref().map_or("verified".to_owned(), |why| format!("NOT VERIFIED: {}", escaped(why)));
        let _ = writeln!(page, "<td>{cpu}<td>{share:.0} %<td>{}<td>{first}<td>{end}", report.errors);
    }
    *page += "</table>\n";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(system: &str, recovered: bool, ms: f64) -> FailoverReport {
        let point = Point { system: system.into(), ..Point::default() };
        let run = Report { point, ..Report::default() };
        FailoverReport { recovered, kill_to_first_new_ack_ms: ms, signal: 9, run, ..FailoverReport::default() }
    }

    #[test]
    fn a_fail_over_that_never_ended_is_counted_and_not_averaged() {
        let failovers = vec![trial("a", true, 200.0), trial("a", true, 300.0), trial("a", false, 9000.0)];
        let mut html = String::new();
        failovers_of(&mut html, failovers);
        assert!(html.contains("<td>9<td>3<td>1<td>250<td>1.00<td>200<td>300"), "{html}");
        html.clear();
        failovers_of(&mut html, vec![trial("a", false, 9000.0)]);
        assert!(html.contains("<td>9<td>1<td>1<td>-<td>-<td>-<td>-"), "{html}");
    }

    /// A point with one latency, one rate and so much memory.
    fn point(system: &str, us: u64, ops_per_s: f64, rss_mib: f64) -> Report {
        let mut writes = super::super::tally::empty();
        writes.saturating_record(us * 1_000);
        let point = Point { system: system.into(), ..Point::default() };
        let writes = super::super::Latencies::of(&writes, 1.0);
        let cost = super::super::Cost { servers_rss_mib: vec![rss_mib], ..Default::default() };
        Report { point, ops_per_s, writes, cost, ..Report::default() }
    }

    #[test]
    fn whatever_is_lost_to_another_system_is_marked() {
        let of = |theirs: Report| {
            let mut html = String::new();
            ratios(&mut html, &Results { points: vec![point("a", 1500, 1000.0, 50.0), theirs], ..Results::default() });
            html
        };
        let won = of(point("b", 3000, 500.0, 100.0));
        assert!(!won.contains("class=\"lost\"") && won.matches("<td>2.00").count() == 4, "{won}");
        let slower = of(point("b", 750, 500.0, 100.0));
        assert_eq!(slower.matches("<b>0.50</b>").count(), 2, "p50 and p99 are lost: {slower}");
        let larger = of(point("b", 3000, 500.0, 25.0));
        assert!(larger.contains("class=\"lost\"") && larger.matches("<b>0.50</b>").count() == 1, "{larger}");
        let mut html = String::new();
        failovers_of(&mut html, vec![trial("a", true, 200.0), trial("b", true, 100.0), trial("c", true, 800.0)]);
        assert_eq!(html.matches("class=\"lost\"").count(), 1, "{html}");
        assert!(html.contains("<td>100<td><b>0.50</b>") && html.contains("<td>800<td>4.00"), "{html}");
    }

    fn failovers_of(html: &mut String, failovers: Vec<FailoverReport>) {
        super::failovers(html, &Results { failovers, ..Results::default() });
    }
}
