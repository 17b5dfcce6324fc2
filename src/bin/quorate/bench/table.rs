//! Results for a person.

use quorate::bench::{
    Comparison, Cost, DyingReport, FailoverReport, FanOutReport, Latencies, LockReport, Measured, REPEATS_MIN, Report,
    Results, SessionReport, Verdict,
};

/// More points than this are told in a line each.
const IN_FULL_MAX: usize = 1;

/// Above the rows of latencies.
const HEADER: &str = "          count       per s     p50 us     p90 us     p99 us   p99.9 us     max us";

const GENERATOR_BOUND: &str =
    "\nthe generator worked or waited for a core nearly all the time: these are its figures, not the cell's";

pub fn of(results: &Results) -> String {
    let mut parts: Vec<String> = Vec::new();
    if results.points.len() > IN_FULL_MAX {
        parts.push(lines(&results.points));
    } else {
        parts.extend(results.points.iter().map(in_full));
    }
    parts.extend(results.failovers.iter().map(failover));
    parts.extend(results.sessions.iter().map(storm));
    parts.extend(results.dyings.iter().map(dying));
    parts.extend(results.locks.iter().map(locks));
    parts.extend(results.watches.iter().map(watches));
    parts.join("\n")
}

/// One point, with all its figures.
fn in_full(report: &Report) -> String {
    let point = &report.point;
    let mut text = format!(
        "{} {} x {} outstanding, {} B values, {} keys, {}% reads ({}), {} s{}{}\n{} operations/s",
        point.workload,
        point.connections,
        point.depth,
        point.value_bytes,
        point.keys,
        point.read_pct,
        point.consistency,
        report.seconds,
        point.rate.map_or(String::new(), |rate| format!(", {rate} due a second")),
        if report.interrupted { ", interrupted" } else { "" },
        report.ops_per_s,
    );
    if report.repeats.len() > 1 {
        let rates: Vec<String> = report.repeats.iter().map(|repeat| format!("{:.0}", repeat.ops_per_s)).collect();
        text += &format!(" (median of {}; spread {} %)", rates.join(", "), report.spread_pct);
    }
    text += &format!("\n{HEADER}");
    for (name, latencies) in [("reads", &report.reads), ("writes", &report.writes), ("service", &report.service)] {
        text += &latencies.as_ref().map(|latencies| row(name, latencies)).unwrap_or_default();
    }
    text += &format!(
        "\nerrors {}, wrong answers {}, reconnects {}",
        report.errors, report.wrong_answers, report.reconnects
    );
    if report.old_answers > 0 {
        text += &format!(", old answers {}", report.old_answers);
    }
    if let Some(first) = &report.first_error {
        text += &format!("\nfirst trouble: {first}");
    }
    text += &costs(&report.cost, report.seconds);
    text + &remarks(report).into_iter().map(|remark| format!("\n{remark}")).collect::<String>()
}

/// What the figures must not be read without.
fn remarks(report: &Report) -> Vec<String> {
    let mut remarks: Vec<String> = report.invalid.iter().map(|why| format!("INVALID: {why}")).collect();
    if report.generator_bound {
        remarks.push(GENERATOR_BOUND.trim_start().into());
    }
    if report.spread_pct > 5.0 {
        remarks.push(format!("repeats differ by {} %: compare with care", report.spread_pct));
    }
    remarks
}

fn row(name: &str, of: &Latencies) -> String {
    format!(
        "\n{name:<7}{:>8} {:>11.0} {:>10.0} {:>10.0} {:>10.0} {:>10.0} {:>10.0}",
        of.count, of.per_s, of.p50_us, of.p90_us, of.p99_us, of.p999_us, of.max_us
    )
}

fn costs(cost: &Cost, seconds: f64) -> String {
    let share = cost.client_cpu_s / seconds.max(1e-9) * 100.0;
    let mut text = format!("\nCPU: client {} s ({share:.0} % of a core)", cost.client_cpu_s);
    text += &format!(" and {} s waiting for one", cost.client_waited_s);
    if !cost.servers_cpu_s.is_empty() {
        text += &format!(", servers {:?} s; resident {:?} MiB", cost.servers_cpu_s, cost.servers_rss_mib);
    }
    text += &format!("\nthe machine: busy {} s, idle {} s", cost.machine_busy_s, cost.machine_idle_s);
    if cost.machine_stolen_s > 0.0 {
        text += &format!(", {} s stolen by others on its hardware", cost.machine_stolen_s);
    }
    text
}

/// One line a point.
fn lines(reports: &[Report]) -> String {
    let series = |report: &Report| report.point.series();
    let shape = |report: &Report| report.point.shape();
    let series_wide = reports.iter().map(|report| series(report).len()).max().unwrap_or(0);
    let shape_wide = reports.iter().map(|report| shape(report).len()).max().unwrap_or(0);
    let mut text = format!(
        "{:series_wide$}  {:shape_wide$} {:>12} {:>7} {:>9} {:>9} {:>10} {:>9}",
        "", "", "operations/s", "spread", "p50 us", "p99 us", "CPU s/100k", "generator"
    );
    for report in reports {
        text += &format!(
            "\n{:series_wide$}  {:shape_wide$} {:>12.0} {:>5} % {:>9.0} {:>9.0} {:>10} {:>7.0} %{}",
            series(report),
            shape(report),
            report.ops_per_s,
            report.spread_pct,
            report.latency_us(0.5),
            report.latency_us(0.99),
            report.cpu_per_100k().map_or("-".into(), |cpu| format!("{cpu:.2}")),
            report.cost.client_cpu_s / report.seconds.max(1e-9) * 100.0,
            if report.interrupted { "  interrupted" } else { "" },
        );
        let wrong = report.errors + report.wrong_answers;
        let remarks =
            remarks(report).into_iter().chain((wrong > 0).then(|| format!("{wrong} errors or wrong answers")));
        text += &remarks.map(|remark| format!("\n    {remark}")).collect::<String>();
    }
    text
}

fn failover(report: &FailoverReport) -> String {
    format!(
        "outage {} ms, signal to next acknowledged write {} ms, writes/s {} before and {} after\n{}",
        report.outage_ms,
        report.kill_to_first_new_ack_ms,
        report.rate_before,
        report.rate_after_1s,
        in_full(&report.run)
    )
}

fn storm(report: &SessionReport) -> String {
    let mut text =
        format!("{} sessions{}: {} open after {} s", report.sessions, waves(report), report.opened, report.all_open_s);
    if let Some(times) = &report.until_open {
        text += &format!(" (p50 {:.0} us, p99 {:.0} us)", times.p50_us, times.p99_us);
    }
    text += &format!(
        ", held for {} s, {} lost, {} reconnects{}",
        report.idle_s,
        report.lost,
        report.reconnects,
        if report.interrupted { ", interrupted" } else { "" }
    );
    if !report.idle.servers_cpu_s.is_empty() {
        text += &format!(
            "\nservers: {:?} CPU s to open; idle {} CPU s for each second and 10,000 sessions; resident {:?} MiB, \
             {:?} bytes more for each session",
            report.opening.servers_cpu_s,
            report.idle_cpu_s_per_s_10k,
            report.idle.servers_rss_mib,
            report.resident_bytes_each
        );
    }
    if report.generator_bound {
        text += GENERATOR_BOUND;
    }
    if let Some(refusal) = &report.refusal {
        text += &format!("\n{} were told why they did not open: {refusal}", report.refused);
    }
    text + &report.trouble.as_ref().map(|trouble| format!("\nlast trouble: {trouble}")).unwrap_or_default()
}

/// How many of them open at one time.
fn waves(report: &SessionReport) -> String {
    match report.wave {
        wave if (1..report.sessions).contains(&wave) => format!(", {wave} on the way at a time"),
        _ => " at once".into(),
    }
}

fn dying(report: &DyingReport) -> String {
    let when = |seconds: Option<f64>| seconds.map_or("never".to_owned(), |seconds| format!("after {seconds} s"));
    format!(
        "{} sessions open after {} s, {:?} bytes more resident for each at each server; killed together: the first gone \
         {}, the last {} (timeout {} s)\nwrites/s {} before, {} meanwhile ({} % fewer), {} in the slowest second\n{}",
        report.died,
        report.all_open_s,
        report.resident_bytes_each,
        when(report.first_gone_s),
        when(report.last_gone_s),
        report.timeout_s,
        report.writes_per_s_before,
        report.writes_per_s_meanwhile,
        report.fall_pct,
        report.slowest_second_per_s,
        in_full(&report.run)
    )
}

fn locks(report: &LockReport) -> String {
    let LockReport { clients, locks, measured, .. } = report;
    let mut text = match report.contenders {
        0 => format!("{clients} clients, {locks} locks of their own"),
        _ => format!("{clients} clients contend for one lock"),
    };
    text += &format!(
        ", closed loop, {} s\n{} times a second taken and given up{}; {} messages to clients each time\n{HEADER}",
        measured.seconds,
        measured.per_s,
        repeats(measured),
        report.messages_each
    );
    for (name, latencies) in [("acquire", &report.acquire), ("pair", &report.pair), ("hand on", &report.hand_over)] {
        text += &latencies.as_ref().map(|latencies| row(name, latencies)).unwrap_or_default();
    }
    if report.locks_unverified > 0 {
        let (lost, all) = (report.locks_unverified, report.locks);
        text += &format!("\n{lost} of {all} locks were not verified at the end: a client of theirs was lost");
    }
    text + &ending(measured)
}

fn watches(report: &FanOutReport) -> String {
    let FanOutReport { watchers, value_bytes, measured, .. } = report;
    let mut text = format!(
        "one writer of {value_bytes} B values and {watchers} who watch ({}), closed loop, {} s\n\
         {} writes a second of which all are told{}, gaps {}\n{HEADER}",
        if report.with_data { "events with values" } else { "events without values" },
        measured.seconds,
        measured.per_s,
        repeats(measured),
        report.gaps
    );
    for (name, latencies) in [("write", &report.write), ("told", &report.told), ("last", &report.last_told)] {
        text += &latencies.as_ref().map(|latencies| row(name, latencies)).unwrap_or_default();
    }
    text += &ending(measured);
    if let Some(idle) = &report.idle {
        text += &format!(
            "\n{} idle watches: open after {} s, {} bytes of the servers each, {} CPU s for each second and 100,000",
            idle.watches, idle.opened_s, idle.bytes_each, idle.cpu_s_per_s_100k
        );
    }
    text
}

fn repeats(measured: &Measured) -> String {
    match &measured.repeats_per_s[..] {
        [] | [_] => String::new(),
        rates => format!(" (median of {rates:?}; spread {} %)", measured.spread_pct),
    }
}

/// What the figures of a load of its own kind must not be read without, and what they cost.
fn ending(measured: &Measured) -> String {
    let Measured { errors, wrong_answers, reconnects, .. } = measured;
    let mut text = format!("\nerrors {errors}, wrong answers {wrong_answers}, reconnects {reconnects}");
    if let Some(first) = &measured.first_error {
        text += &format!("\nfirst trouble: {first}");
    }
    text += &costs(&measured.cost, measured.seconds);
    if measured.generator_bound {
        text += GENERATOR_BOUND;
    }
    if measured.interrupted {
        text += "\ninterrupted";
    }
    text
}

pub fn changes(found: &Comparison) -> String {
    let wide = found.changes.iter().map(|change| change.point.len()).max().unwrap_or(0);
    let mut text = format!("{:wide$} {:<13} {:>12} {:>12} {:>6}", "", "", "before", "after", "ratio");
    for change in &found.changes {
        let verdict = match change.verdict {
            Verdict::Better => "better",
            Verdict::Same => "",
            Verdict::Worse => "WORSE",
            Verdict::NotJudged => "not judged",
        };
        text += &format!(
            "\n{:wide$} {:<13} {:>12.2} {:>12.2} {:>6.2} {verdict}",
            change.point,
            change.figure,
            change.before,
            change.after,
            change.ratio()
        );
    }
    if found.with(Verdict::NotJudged).next().is_some() {
        text += &format!("\nnot judged: fewer than {REPEATS_MIN} repeats say nothing of their noise");
    }
    text += &found.missing.iter().map(|point| format!("\nMISSING afterwards: {point}")).collect::<String>();
    text += &found.invalid.iter().map(|point| format!("\nINVALID afterwards: {point}")).collect::<String>();
    if found.added > 0 {
        text += &format!("\n{} points were not measured before", found.added);
    }
    text
}
