//! Logs on real processes: nothing lost, doubled or out of order, across the death of leaders and of all.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use quorate::client::{Client, CreateOptions, Error, Expect, LockOptions, Log, Tailed};

use super::cell::{Cell, PATIENCE, QUORATE};

fn connect(cell: &Cell) -> Client {
    Client::connect(&cell.endpoints()).wait_timeout(PATIENCE).expect("a session")
}

/// A command line's exit status, standard output and standard error.
fn ran(cell: &Cell, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(QUORATE);
    command.args(args).args(["--endpoints", &cell.endpoints()]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

fn said(cell: &Cell, args: &[&str]) -> String {
    let (status, out, err) = ran(cell, args, "");
    assert_eq!(status, Some(0), "{args:?}: {err}");
    out
}

/// Every record, in order.
fn all(log: &Log) -> Vec<String> {
    let (mut from, mut all) = (0, Vec::new());
    loop {
        let page = log.read(from, 1000).wait_timeout(PATIENCE).expect("it is a log");
        if page.records.is_empty() {
            return all;
        }
        from = page.next;
        all.extend(page.records.iter().map(|record| String::from_utf8_lossy(record).into_owned()));
    }
}

#[test]
fn appends_are_there_once_in_order_while_leaders_die() {
    let mut cell = Cell::start(3, "");
    let client = connect(&cell);
    client.create_log("/l", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let tail = connect(&cell).log("/l").tail(0);
    let follower =
        std::thread::spawn(move || -> Vec<_> { tail.into_iter().map(|tailed| tailed.expect("it lives")).collect() });
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let log = connect(&cell).log("/l");
            std::thread::spawn(move || {
                let batches: Vec<Vec<String>> =
                    (0..100).map(|batch| (0..3).map(|one| format!("{writer} {batch} {one}")).collect()).collect();
                let mut placed = Vec::new();
                for some in batches.chunks(10) {
                    let ops: Vec<_> = some.iter().map(|batch| log.append(batch)).collect();
                    for (op, batch) in ops.into_iter().zip(some) {
                        let appended = op.wait_timeout(PATIENCE).expect("another leader takes it");
                        assert_eq!(appended.end - appended.first, 3);
                        placed.push((appended.first, batch.clone()));
                    }
                }
                placed
            })
        })
        .collect();
    for _ in 0..3 {
        let leader = cell.kill_leader();
        cell.restart(leader);
    }
    let placed: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().expect("it appends")).collect();
    let log = client.log("/l");
    assert_eq!(log.seal().wait_timeout(PATIENCE).expect("it is a log"), 900);
    let records = all(&log);
    assert_eq!(records.len(), 900);
    assert_eq!(records.iter().collect::<BTreeSet<_>>().len(), 900, "each is there once");
    for (first, batch) in placed {
        assert_eq!(records[first as usize..first as usize + 3], batch, "a batch stands where it was said to");
    }
    let followed = follower.join().expect("it follows");
    let wanted = (0..).zip(&records).map(|(position, record)| Tailed::Record { position, data: record.clone().into() });
    assert!(followed.into_iter().eq(wanted), "who follows sees each record once, in order, and the end");
    let late = log.append(["late"]).wait_timeout(PATIENCE);
    assert!(matches!(&late, Err(Error::LogSealed { path, end: 900 }) if path == "/l"), "{late:?}");
}

#[test]
fn a_log_is_what_it_was_after_the_death_of_all() {
    let mut cell = Cell::start(3, "");
    let client = connect(&cell);
    let log = client.log("/l");
    client.create_log("/l", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let record = "x".repeat(1000);
    for _ in 0..40 {
        log.append([&record; 50]).wait_timeout(PATIENCE).expect("there is room");
    }
    assert_eq!(log.trim(1500).wait_timeout(PATIENCE).expect("they are there"), 1500);
    cell.kill_all();
    (0..3).for_each(|index| cell.restart(index));
    let trimmed = log.read(0, 1).wait_timeout(PATIENCE);
    assert!(matches!(&trimmed, Err(Error::LogTrimmed { path, from: 0, first: 1500 }) if path == "/l"), "{trimmed:?}");
    let stat = log.stat().wait_timeout(PATIENCE).expect("an answer").expect("it is there");
    assert_eq!((stat.version, stat.data_bytes, stat.log.map(|log| log.first)), (2000, 500 * 1004, Some(1500)));
    let appended = log.append_at(2000, ["y"]).wait_timeout(PATIENCE).expect("it ends there");
    assert_eq!((appended.first, appended.end), (2000, 2001));
    let elsewhere = log.append_at(2000, ["z"]).wait_timeout(PATIENCE);
    assert!(matches!(elsewhere, Err(Error::LogEnd { expected: 2000, found: 2001, .. })), "{elsewhere:?}");
}

#[test]
fn a_writer_that_lost_its_lock_appends_no_more_under_another_leader() {
    let mut cell = Cell::start(3, "");
    let (client, other) = (connect(&cell), connect(&cell));
    client.create_log("/l", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let guard = client.lock("/l", LockOptions::exclusive().existing()).wait_timeout(PATIENCE).expect("it is free");
    guard.guarded().append("/l", ["a"], Some(0)).wait_timeout(PATIENCE).expect("the lock is held");
    let leader = cell.kill_leader();
    guard.guarded().append("/l", ["b"], None).wait_timeout(PATIENCE).expect("the lock is held still");
    // Who may delete may break the lock.
    other.log("/l").seal().wait_timeout(PATIENCE).expect("it is a log");
    other.delete("/l", Expect::Version(2)).wait_timeout(PATIENCE).expect("it ends there");
    other.create_log("/l", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is gone");
    let late = guard.guarded().append("/l", ["c"], None).wait_timeout(PATIENCE);
    assert!(matches!(late, Err(Error::Fenced { .. })), "{late:?}");
    assert!(all(&other.log("/l")).is_empty());
    cell.restart(leader);
}

#[test]
fn who_follows_is_told_of_what_was_trimmed_and_that_the_log_is_gone() {
    let cell = Cell::start(1, "");
    let client = connect(&cell);
    let log = client.log("/l");
    client.create_log("/l", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    log.append(["a", "b", "c"]).wait_timeout(PATIENCE).expect("it is a log");
    log.trim(2).wait_timeout(PATIENCE).expect("they are there");
    let mut tail = log.tail(0);
    let mut next = || tail.next_timeout(PATIENCE).expect("something comes");
    assert_eq!(next().expect("it lives"), Tailed::Trimmed { from: 0, first: 2 });
    assert_eq!(next().expect("it lives"), Tailed::Record { position: 2, data: "c".into() });
    client.delete("/l", Expect::Any).wait_timeout(PATIENCE).expect("it is there");
    client.create_log("/l", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is gone");
    log.append(["d", "e", "f", "g"]).wait_timeout(PATIENCE).expect("it is a log");
    let gone = next();
    assert!(matches!(gone, Err(Error::NoNode { .. } | Error::LogEnd { .. })), "{gone:?}");
    assert!(tail.is_over() && tail.next().wait().is_none());
}

#[test]
fn the_command_line_appends_reads_follows_trims_and_seals() {
    let cell = Cell::start(1, "");
    let _leads = connect(&cell);
    assert_eq!(said(&cell, &["log", "create", "--parents", "/app/l"]), "/app/l\n");
    assert_eq!(said(&cell, &["log", "append", "/app/l", "one", "two words"]), "0 2\n");
    let (status, out, _) = ran(&cell, &["log", "append", "--end", "2", "--json", "/app/l", "-"], "three\n\nfive");
    assert_eq!(status, Some(0));
    assert!(out.lines().last().is_some_and(|line| line.contains("\"end\":5")), "{out}");
    assert_eq!(said(&cell, &["log", "read", "/app/l"]), "one\ntwo words\nthree\n\nfive\n");
    assert_eq!(
        said(&cell, &["log", "read", "--from", "1", "-n", "2", "--positions", "/app/l"]),
        "1 two words\n2 three\n"
    );
    assert_eq!(said(&cell, &["log", "trim", "/app/l", "2"]), "2\n");
    let (status, out, err) = ran(&cell, &["log", "read", "--json", "-n", "1", "/app/l"], "");
    assert_eq!((status, out.as_str()), (Some(0), "{\"data\":\"three\",\"position\":2}\n"), "{err}");
    assert_eq!(err, "{\"note\":\"records before 2 are trimmed\"}\n", "a program reads this too");
    let (status, _, err) = ran(&cell, &["log", "read", "--from", "1", "/app/l"], "");
    assert!(status == Some(1) && err.contains("before position 2 are trimmed"), "{err}");
    let (status, _, err) = ran(&cell, &["get", "/app/l"], "");
    assert!(status == Some(1) && err.contains("/app/l is a log"), "{err}");
    let (status, _, err) = ran(&cell, &["log", "append", "/app", "x"], "");
    assert!(status == Some(1) && err.contains("/app is not a log"), "{err}");
    assert_eq!(said(&cell, &["log", "seal", "/app/l"]), "5\n");
    assert_eq!(said(&cell, &["log", "tail", "--from", "3", "/app/l"]), "\nfive\n", "it ends with the log");
    for how in ["read", "tail"] {
        assert_eq!(said(&cell, &["log", how, "--from", "3", "--count", "0", "/app/l"]), "", "none are asked for");
    }
    let told: serde_json::Value =
        serde_json::from_str(&said(&cell, &["log", "stat", "--json", "/app/l"])).expect("JSON");
    assert_eq!(
        told,
        serde_json::json!({ "path": "/app/l", "first": 2, "end": 5, "data_bytes": 5 + 4 + 3 * 4, "sealed": true })
    );
    let told: serde_json::Value = serde_json::from_str(&said(&cell, &["stat", "--json", "/app/l"])).expect("JSON");
    assert!(told["kind"] == "log" && told["log_end"] == 5 && told["log_sealed"] == true, "{told}");
    said(&cell, &["log", "create", "/app/m"]);
    let done = said(&cell, &["txn", "if version /app/m 0", "then append /app/m x y", "set /app z"]);
    assert!(done.contains("\nappended /app/m 0 2\n"), "{done}");
}
