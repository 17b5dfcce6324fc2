//! The load generator on real cells: its curves, its folder of results, and what it calls invalid, lost or worse.

use std::path::Path;
use std::process::Command;

use quorate::client::Client;
use serde_json::Value;

use crate::cell::{Cell, PATIENCE, QUORATE, path, run};

/// Runs `quorate bench` with these arguments; gives its exit status and its JSON, if it printed any.
fn bench(cell: &Cell, args: &[&str]) -> (Option<i32>, Value) {
    let endpoints = cell.endpoints();
    let mut all = vec!["bench"];
    all.extend(args);
    all.push("--json");
    if !args.contains(&"--endpoints") {
        all.extend(["--endpoints", &endpoints]);
    }
    let output = run(&all);
    let text = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("no results: {error}\n{text}\n{}\n{}", String::from_utf8_lossy(&output.stderr), cell.logs())
    });
    (output.status.code(), json)
}

fn has(folder: &Path, name: &str) -> bool {
    folder.join(name).metadata().is_ok_and(|file| file.len() > 0)
}

#[test]
fn a_curve_is_measured_verified_and_written_down() {
    let cell = Cell::start(3, "");
    let home = tempfile::tempdir().expect("a folder");
    let out = home.path().join("one");
    let small = ["--connections", "3", "--depth", "4", "--keys", "50", "--seconds", "0.3", "--warmup", "0.1"];
    let mut args =
        vec!["mix", "--read-pct", "0,50,100", "--repeat", "3", "--consistency", "linearizable,stale", "--out"];
    args.push(path(&out));
    args.extend(small);
    let (status, results) = bench(&cell, &args);
    assert_eq!(status, Some(0), "{results}");
    let points = results["points"].as_array().expect("a list of points");
    assert_eq!(points.len(), 6, "three shares of reads, two consistencies");
    for point in points {
        assert_eq!((&point["wrong_answers"], &point["errors"]), (&0.into(), &0.into()), "{point}");
        assert!(point["ops_per_s"].as_f64() > Some(0.0) && point["unverified"].is_null(), "{point}");
        assert_eq!(point["repeats"].as_array().map(Vec::len), Some(3));
    }
    assert_eq!(results["single_host"], true);
    for file in ["result.json", "points.csv", "report.html", "01.hdr", "06.hdr", "mix.svg", "percentiles.svg"] {
        assert!(has(&out, file), "{file} is written");
    }
    let same = run(&["bench", "compare", path(&out), path(&out)]);
    assert_eq!(same.status.code(), Some(0), "nothing is worse than itself");
    let twice = home.path().join("twice");
    let merged = run(&["bench", "report", path(&out), path(&out), "--out", path(&twice)]);
    assert_eq!(merged.status.code(), Some(0), "{}", String::from_utf8_lossy(&merged.stderr));
    let text = std::fs::read_to_string(twice.join("result.json")).expect("it was written");
    let merged: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(merged["points"][0]["repeats"].as_array().map(Vec::len), Some(6), "repeats of both");
    let count = |results: &Value| results["points"][0]["writes"]["count"].as_u64().expect("writes were counted");
    assert_eq!(count(&merged), 2 * count(&results), "histograms are merged");
}

#[test]
fn how_far_it_is_is_drawn_on_a_terminal_and_nowhere_else() {
    let cell = Cell::start(1, "");
    cell.leader();
    let endpoints = cell.endpoints();
    let load = ["bench", "mix", "--read-pct", "50", "--connections", "1", "--depth", "1", "--keys", "8"];
    let args = [&load[..], &["--seconds", "1", "--warmup", "0", "--endpoints", &endpoints]].concat();
    let piped = run(&args);
    let (out, words) = (String::from_utf8_lossy(&piped.stdout), String::from_utf8_lossy(&piped.stderr));
    assert!(piped.status.success() && out.contains("wrong answers 0"), "{out} {words}");
    for text in [&out, &words] {
        assert!(!text.contains(['\r', '\u{1b}']) && !text.contains(" done ["), "a file is no terminal: {text:?}");
    }
    // Standard error alone is the terminal: there it is drawn, and the result stays what it was.
    let home = tempfile::tempdir().expect("a folder");
    let result = home.path().join("result");
    let command = format!("{QUORATE} {} > {}", args.join(" "), path(&result));
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm");
    let shown = script.output().expect("`script` is part of every Debian");
    let screen = String::from_utf8_lossy(&shown.stdout);
    assert!(screen.contains("1/1 mix") && screen.contains(" done ["), "{screen:?}");
    let result = std::fs::read_to_string(&result).expect("the result");
    assert!(result.contains("wrong answers 0") && !result.contains(['\r', '\u{1b}']), "{result:?}");
}

#[test]
fn an_open_loop_keeps_its_rate_or_is_called_invalid() {
    let cell = Cell::start(3, "");
    let small = ["write", "--connections", "3", "--depth", "64", "--keys", "50", "--seconds", "0.5", "--warmup", "0.1"];
    let with = |rate: &'static str| small.iter().copied().chain(["--rate", rate]).collect::<Vec<_>>();
    let (status, kept) = bench(&cell, &with("20"));
    let point = &kept["points"][0];
    assert_eq!(
        (&kept["ops_per_s"], &kept["writes"]),
        (&point["ops_per_s"], &point["writes"]),
        "one point stands at the top"
    );
    assert_eq!(status, Some(0), "{point}");
    assert!(point["service"]["count"].as_u64() > Some(0) && point["invalid"].is_null(), "{point}");
    let (status, missed) = bench(&cell, &with("10000000"));
    let point = &missed["points"][0];
    assert!(status != Some(0) && point["invalid"].is_string(), "no generator sends that much: {point}");
    assert_eq!(point["wrong_answers"], 0);
}

#[test]
fn writes_go_on_after_the_leader_is_killed_and_sessions_come_and_go() {
    let mut cell = Cell::start(3, "");
    let (status, storm) = bench(&cell, &["session", "--sessions", "60", "--seconds", "0.2"]);
    assert_eq!(status, Some(0), "{storm}");
    assert_eq!((&storm["sessions"][0]["opened"], &storm["sessions"][0]["lost"]), (&60.into(), &0.into()));
    let leader = cell.leader();
    let pid = cell.pid(leader).to_string();
    let args =
        ["failover", "--kill-pid", &pid, "--connections", "6", "--depth", "4", "--keys", "50", "--warmup", "0.5"];
    let (status, results) = bench(&cell, &[&args[..], &["--seconds", "8"]].concat());
    let failover = &results["failovers"][0];
    assert_eq!((status, &failover["recovered"]), (Some(0), &true.into()), "{failover}\n{}", cell.logs());
    assert_eq!(failover["wrong_answers"], 0, "no write was lost or done twice");
    assert_eq!(failover["marks"].as_array().map(Vec::len), Some(1), "the signal is in the timeline");
    let more = run(&[&["bench"], &args[..], &["--repeat", "2", "--endpoints", &cell.endpoints()]].concat());
    assert_eq!(more.status.code(), Some(2), "an option that says nothing is refused before a process is signalled");
    cell.wait_for_end(leader);
}

#[test]
fn sessions_of_killed_processes_end_while_others_write() {
    let cell = Cell::start(3, "");
    let args = ["session", "--die", "--sessions", "40", "--connections", "2", "--depth", "2", "--keys", "10"];
    let endpoints = format!("quorate://{}?session=2s", cell.endpoints());
    let time = ["--seconds", "0.5", "--warmup", "0.1", "--endpoints", &endpoints];
    let (status, results) = bench(&cell, &[&args[..], &time].concat());
    assert_eq!(status, Some(0), "{results}");
    let dying = &results["dyings"][0];
    assert_eq!((&dying["died"], &dying["wrong_answers"], &dying["errors"]), (&40.into(), &0.into(), &0.into()));
    let seconds = |name: &str| dying[name].as_f64().expect("they are gone");
    assert!(seconds("first_gone_s") <= seconds("last_gone_s") && seconds("timeout_s") == 2.0, "{dying}");
    assert!(dying["writes_per_s_meanwhile"].as_f64() > Some(0.0), "{dying}");
}

#[test]
fn locks_are_taken_alone_and_in_turn_and_no_herd_is_woken() {
    let cell = Cell::start(3, "");
    let home = tempfile::tempdir().expect("a folder");
    let args = ["lock", "--connections", "4", "--depth", "2", "--contenders", "0,5,40", "--seconds", "0.5"];
    let (status, results) =
        bench(&cell, &[&args[..], &["--warmup", "0.1", "--repeat", "2", "--out", path(home.path())]].concat());
    assert_eq!(status, Some(0), "{results}");
    let [own, few, many] = [0, 1, 2].map(|at| &results["locks"][at]);
    assert_eq!((&own["contenders"], &own["locks"], &many["locks"]), (&0.into(), &8.into(), &1.into()));
    for report in [own, few, many] {
        assert_eq!((&report["wrong_answers"], &report["unverified"]), (&0.into(), &Value::Null), "{report}");
        assert!(report["count"].as_u64() > Some(0) && report["client_cpu_s"].as_f64() > Some(0.0), "{report}");
        assert_eq!(report["repeats_per_s"].as_array().map(Vec::len), Some(2));
    }
    assert!(own["pair"]["hdr"].is_string() && own["hand_over"].is_null() && many["hand_over"]["hdr"].is_string());
    let messages = |report: &Value| report["messages_each"].as_f64().expect("they were counted");
    assert!((1.8..2.5).contains(&messages(own)), "one answer to taking it, one to giving it up: {}", messages(own));
    assert!(messages(many) < 10.0, "each hand-over wakes one, of however many: {} {}", messages(few), messages(many));
    for file in ["result.json", "locks.csv", "hand-over.svg", "percentiles.svg", "report.html"] {
        assert!(has(home.path(), file), "{file} is written");
    }
    let client = Client::connect(&cell.endpoints()).wait_timeout(PATIENCE).expect("a session");
    let (left, _) = client.list("/").wait_timeout(PATIENCE).expect("an answer");
    assert!(left.is_empty(), "everything is taken away: {left:?}");
}

#[test]
fn all_who_watch_are_told_of_every_write_once() {
    let cell = Cell::start(3, "");
    let home = tempfile::tempdir().expect("a folder");
    let pids: Vec<String> = (0..3).map(|index| cell.pid(index).to_string()).collect();
    let pids = pids.join(",");
    let args = ["watch", "--watchers", "3,60", "--with-data", "--value-bytes", "64", "--idle-watches", "3000"];
    let time = ["--seconds", "0.5", "--warmup", "0.1", "--pids", &pids, "--out", path(home.path())];
    let (status, results) = bench(&cell, &[&args[..], &time].concat());
    assert_eq!(status, Some(0), "{results}");
    for (at, watchers) in [(0, 3), (1, 60)] {
        let report = &results["watches"][at];
        assert_eq!((&report["watchers"], &report["wrong_answers"]), (&watchers.into(), &0.into()), "{report}");
        assert_eq!((&report["unverified"], &report["gaps"]), (&Value::Null, &0.into()), "{report}");
        let writes = report["last_told"]["count"].as_u64().expect("some were told to all");
        let told = report["told"]["count"].as_u64().expect("watchers were told");
        assert!(writes > 0 && told.abs_diff(writes * watchers) <= watchers, "all but the first and last: {report}");
        assert_eq!(report["idle"]["watches"], 3000);
    }
    for file in ["result.json", "watches.csv", "fan-out.svg", "percentiles.svg", "report.html"] {
        assert!(has(home.path(), file), "{file} is written");
    }
    let open = run(&["bench", "watch", "--watchers", "1", "--rate", "10", "--endpoints", &cell.endpoints()]);
    assert_eq!(open.status.code(), Some(2), "there is no open loop: {open:?}");
}
