//! What makes a command fail that measures, whatever its figures.

use super::course::Measured;
use super::report::Report;
use super::results::Results;

/// More operations refused or without an answer than this are no errand of chance: 0.1 % of those asked for.
pub const ERRORS_PCT_MAX: f64 = 0.1;

/// Something for which a command fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    /// What is at fault.
    pub what: String,
    /// What was found.
    pub found: String,
}

/// How bad it is; the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    /// What no correct system tells.
    Wrong,
    /// Something did not come about, or could not be seen.
    Failed,
    /// The figures are not those that were asked for.
    Invalid,
}

/// Everything for which a command fails that measured this, the worst first. Where a server is killed on purpose, what
/// was under way with it may be lost: of fail-overs no errors are counted, only that writes go on.
#[must_use]
pub fn faults(results: &Results, errors_pct_max: f64) -> Vec<Fault> {
    let mut faults = Vec::new();
    for report in &results.points {
        let name = report.name();
        faults.extend(of_answers(&name, report.wrong_answers, &report.wrong, report.unverified.as_ref()));
        faults.extend(of_errors(&name, &Asked::of(report), errors_pct_max));
        // Of many rates one that is too high is what was looked for.
        if let Some(why) = report.invalid.as_ref().filter(|_| results.points.len() == 1) {
            faults.push(Fault { kind: FaultKind::Invalid, what: "the run is invalid".into(), found: why.clone() });
        }
    }
    for failover in &results.failovers {
        let (name, run) = (format!("fail-over, {}", failover.run.name()), &failover.run);
        faults.extend(of_answers(&name, run.wrong_answers, &run.wrong, run.unverified.as_ref()));
        if !failover.recovered {
            let silent = format!("nothing acknowledged for {} ms at the end", failover.outage_ms);
            faults.push(Fault::failed("writes did not go on", silent));
        }
    }
    for dying in &results.dyings {
        let (name, run) = (format!("{} sessions die", dying.died), &dying.run);
        faults.extend(of_answers(&name, run.wrong_answers, &run.wrong, run.unverified.as_ref()));
        faults.extend(of_errors(&name, &Asked::of(run), errors_pct_max));
        if dying.last_gone_s.is_none() && !run.interrupted {
            let found = format!("{} had a timeout of {} s", dying.died, dying.timeout_s);
            faults.push(Fault::failed("sessions of dead clients did not come to their end", found));
        }
    }
    for storm in results.sessions.iter().filter(|storm| storm.opened < storm.sessions && !storm.interrupted) {
        let why = storm.refusal.as_ref().or(storm.trouble.as_ref()).map_or("", |why| why);
        let found = format!("{} of {}; {} were told why: {why}", storm.opened, storm.sessions, storm.refused);
        faults.push(Fault::failed("not all sessions came about", found));
    }
    for storm in results.sessions.iter().filter(|storm| storm.lost > 0) {
        let trouble = storm.trouble.as_ref().map_or(String::new(), |trouble| format!("; last trouble: {trouble}"));
        let found = format!("{} of {} in {} s{trouble}", storm.lost, storm.opened, storm.idle_s);
        faults.push(Fault::failed("sessions were lost while they did nothing", found));
    }
    for (name, measured) in results.of_their_own() {
        faults.extend(of_answers(&name, measured.wrong_answers, &measured.wrong, measured.unverified.as_ref()));
        faults.extend(of_errors(&name, &Asked::of_its_own(measured), errors_pct_max));
    }
    faults.sort_by_key(|fault| fault.kind);
    faults
}

/// What was asked for, and how much of it came to nothing.
struct Asked<'a> {
    done: u64,
    errors: u64,
    first_error: Option<&'a String>,
    interrupted: bool,
}

impl<'a> Asked<'a> {
    fn of(report: &'a Report) -> Self {
        let Report { errors, interrupted, .. } = *report;
        Self { done: report.operations(), errors, first_error: report.first_error.as_ref(), interrupted }
    }

    fn of_its_own(measured: &'a Measured) -> Self {
        let Measured { count, errors, interrupted, .. } = *measured;
        Self { done: count, errors, first_error: measured.first_error.as_ref(), interrupted }
    }
}

impl Fault {
    fn failed(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { kind: FaultKind::Failed, what: what.into(), found: found.into() }
    }
}

/// For an answer that cannot be true, and where that could not be seen.
fn of_answers(name: &str, wrong_answers: u64, wrong: &[String], unverified: Option<&String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    if wrong_answers > 0 {
        let what = format!("{wrong_answers} answers cannot be true ({name})");
        faults.push(Fault { kind: FaultKind::Wrong, what, found: wrong.join("\n") });
    }
    let unseen = |why: &String| Fault::failed(format!("the end could not be verified ({name})"), why);
    faults.extend(unverified.map(unseen));
    faults
}

/// For a system that did nothing, or refused or lost too much of what was asked of it.
fn of_errors(name: &str, asked: &Asked<'_>, errors_pct_max: f64) -> Option<Fault> {
    let first = asked.first_error.map_or(String::new(), |error| format!("; the first: {error}"));
    if asked.done == 0 {
        let found = format!("{} errors{first}", asked.errors);
        return (!asked.interrupted).then(|| Fault::failed(format!("nothing was done ({name})"), found));
    }
    let pct = asked.errors as f64 / (asked.done + asked.errors) as f64 * 100.0;
    (pct > errors_pct_max).then(|| {
        let what = format!("more than {errors_pct_max} % of the operations came to nothing ({name})");
        Fault::failed(what, format!("{} errors beside {} done, {pct:.2} %{first}", asked.errors, asked.done))
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::Repeat;
    use super::*;
    use crate::bench::{LockReport, SessionReport};

    fn point(done: u64, errors: u64) -> Report {
        let repeats = vec![Repeat { seconds: 2.0, ops_per_s: done as f64 / 2.0, ..Repeat::default() }];
        Report { errors, repeats, ..Report::default() }
    }

    fn kinds(results: &Results) -> Vec<FaultKind> {
        faults(results, ERRORS_PCT_MAX).into_iter().map(|fault| fault.kind).collect()
    }

    #[test]
    fn a_run_fails_that_did_nothing_or_lost_too_much() {
        let of = |report: Report| Results { points: vec![report], ..Results::default() };
        assert_eq!(kinds(&of(point(100_000, 100))), [], "one in a thousand is let pass");
        assert_eq!(kinds(&of(point(100_000, 150))), [FaultKind::Failed]);
        assert_eq!(kinds(&of(point(0, 0))), [FaultKind::Failed], "nothing was done");
        assert_eq!(kinds(&of(Report { interrupted: true, ..point(0, 0) })), [], "there was no time for it");
        assert!(faults(&of(point(100, 50)), 40.0).is_empty(), "as much as is asked for is let pass");
    }

    #[test]
    fn locks_are_judged_by_the_same_measure() {
        let of = |count, errors| {
            let measured = Measured { count, errors, ..Measured::default() };
            Results { locks: vec![LockReport { measured, ..LockReport::default() }], ..Results::default() }
        };
        assert_eq!(kinds(&of(10_000, 5)), []);
        assert_eq!(kinds(&of(10_000, 50)), [FaultKind::Failed]);
        assert_eq!(kinds(&of(0, 8)), [FaultKind::Failed]);
    }

    #[test]
    fn a_session_that_is_lost_while_it_is_held_is_a_fault() {
        let of = |opened, lost| {
            let storm = SessionReport { sessions: 10, opened, lost, ..SessionReport::default() };
            Results { sessions: vec![storm], ..Results::default() }
        };
        assert_eq!(kinds(&of(10, 0)), []);
        assert_eq!(kinds(&of(10, 1)), [FaultKind::Failed]);
        assert_eq!(kinds(&of(9, 0)), [FaultKind::Failed]);
    }

    #[test]
    fn the_worst_fault_comes_first() {
        let invalid = Report { invalid: Some("too slow".into()), wrong_answers: 1, ..point(10, 9) };
        let one = Results { points: vec![invalid.clone()], ..Results::default() };
        assert_eq!(kinds(&one), [FaultKind::Wrong, FaultKind::Failed, FaultKind::Invalid]);
        let two = Results { points: vec![Report { wrong_answers: 0, ..invalid }, point(10, 0)], ..one };
        assert_eq!(kinds(&two), [FaultKind::Failed], "of many rates one may be too high");
    }
}
