//! Watches on real replicas that die.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate::client::{Client, CreateOptions, Expect, Prefer, TxnOutcome, Watch, WatchEvent, WatchOptions};

use super::cell::{Cell, PATIENCE};
use super::crashes::CORES;

/// A session that stays with the replica it found, as long as that lives.
fn connect_to(cell: &Cell, index: usize) -> Client {
    let builder = Client::builder(&cell.address(index).to_string()).expect("an address");
    builder.prefer(Prefer::Any).connect().wait_timeout(PATIENCE).expect("a session")
}

/// The revision of what was done last.
fn revision_of(client: &Client) -> u64 {
    client.sync().wait_timeout(PATIENCE).expect("synced")
}

/// Follows a node that goes from version to version until `last`; how many gaps there were.
fn follow(watch: &mut Watch, last: &AtomicU64) -> u64 {
    let (mut revision, mut version, mut gaps, mut bare) = (watch.revision(), 0, 0, false);
    let deadline = Instant::now() + 3 * PATIENCE;
    while version < last.load(Ordering::Acquire) {
        assert!(Instant::now() < deadline, "at version {version}, gaps: {gaps}");
        let Some(event) = watch.next_timeout(Duration::from_millis(100)) else { continue };
        let event = event.expect("the session lives");
        assert!(event.revision() > revision, "{event:?} comes after revision {revision}");
        revision = event.revision();
        match event {
            WatchEvent::Changed { node: Some((data, stat)), .. } => {
                assert!(stat.version == version + 1 || gaps > 0, "version {} after {version}", stat.version);
                assert_eq!(data, stat.version.to_string());
                (version, bare) = (stat.version, false);
            }
            // Caught up with, and the node has changed since.
            WatchEvent::Changed { node: None, .. } => (version, bare) = (version + 1, true),
            WatchEvent::Gap { .. } => gaps += 1,
            other => panic!("{other:?} did not happen"),
        }
    }
    assert!(!bare, "the last change, version {version}, brings its data");
    gaps
}

#[test]
fn watchers_at_every_replica_see_every_revision_while_leaders_die() {
    for settings in CORES {
        let mut cell = Cell::start(3, settings);
        let writer = cell.connect();
        writer.create("/node", "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
        let last = Arc::new(AtomicU64::new(u64::MAX));
        let watchers: Vec<_> = (0..6)
            .map(|index| {
                let (client, last) = (connect_to(&cell, index % 3), Arc::clone(&last));
                let options = WatchOptions::node().with_data();
                let mut watch = client.watch("/node", options).wait_timeout(PATIENCE).expect("it stands");
                std::thread::spawn(move || follow(&mut watch, &last))
            })
            .collect();
        let mut version = 0;
        let mut write = |count| {
            for _ in 0..count {
                version += 1;
                let set = writer.set("/node", version.to_string(), Expect::Version(version - 1));
                set.wait_timeout(PATIENCE).expect("each write is applied once");
            }
            version
        };
        write(100);
        for _ in 0..2 {
            cell.outlive_leader(|_| _ = write(100));
        }
        last.store(write(1), Ordering::Release);
        for watcher in watchers {
            let gaps = watcher.join().expect("no watcher saw anything wrong");
            assert_eq!(gaps, 0, "two replicas always remember");
        }
    }
}

#[test]
fn a_past_that_died_with_its_replicas_is_a_gap_and_what_follows_is_told() {
    let mut cell = Cell::start(3, "");
    let client = cell.connect();
    client.create("/a", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let watch = client.watch("/a", WatchOptions::node()).wait_timeout(PATIENCE).expect("it stands");
    let from = watch.revision();
    drop(watch);
    for _ in 0..10 {
        client.set("/a", "x", Expect::Any).wait_timeout(PATIENCE).expect("set");
    }
    cell.kill_all();
    (0..3).for_each(|index| cell.restart(index));
    cell.leader();
    let options = WatchOptions::node().from_revision(from);
    let mut watch = client.watch("/a", options).wait_timeout(PATIENCE).expect("it stands");
    let event = watch.next_timeout(PATIENCE).expect("something is said").expect("the session lives");
    let WatchEvent::Gap { from: begins, to } = event else { panic!("{event:?} instead of a gap") };
    assert!(begins == from && to > from, "it says what is missing: {begins} to {to}, from {from}");
    client.set("/a", "last", Expect::Any).wait_timeout(PATIENCE).expect("set");
    let revision = revision_of(&client);
    // Writes that this replica learned of after its start are told before.
    while let Some(event) = watch.next_timeout(PATIENCE) {
        let event = event.expect("the session lives");
        assert!(event.revision() <= revision, "nothing else happens");
        if event.revision() == revision {
            return;
        }
    }
    panic!("the last write is not told");
}

#[test]
fn a_command_is_seen_whole_by_all_who_are_concerned() {
    let cell = Cell::start(3, "");
    let client = cell.connect();
    client.create("/app", "1", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let follower = connect_to(&cell, (cell.leader() + 1) % 3);
    let (read, mut own) = follower.get_and_watch("/app").wait_timeout(PATIENCE).expect("both");
    assert_eq!(read.map(|(data, _)| data).as_deref(), Some(&b"1"[..]));
    let open = |options| follower.watch("/app", options).wait_timeout(PATIENCE).expect("it stands");
    let mut children = open(WatchOptions::children());
    let mut all = open(WatchOptions::recursive());
    let mut once = open(WatchOptions::recursive().once());
    let txn = client.txn().set("/app", "2", Expect::Any).create("/app/x", "", CreateOptions::permanent());
    let done = txn.create("/app/x/y", "", CreateOptions::permanent()).commit().wait_timeout(PATIENCE);
    done.and_then(TxnOutcome::applied).expect("done");
    let revision = revision_of(&client);
    let next = |watch: &mut Watch, count: usize| -> Vec<String> {
        let events = (0..count).map(|_| watch.next_timeout(PATIENCE).expect("it is told").expect("the session lives"));
        let paths = events.map(|event| {
            assert_eq!(event.revision(), revision);
            event.path().expect("an event of a node").to_owned()
        });
        paths.collect()
    };
    assert_eq!(next(&mut own, 1), ["/app"]);
    assert_eq!(next(&mut children, 1), ["/app/x"]);
    assert_eq!(next(&mut all, 3), ["/app", "/app/x", "/app/x/y"]);
    assert_eq!(next(&mut once, 3), ["/app", "/app/x", "/app/x/y"]);
    assert!(once.next().wait().is_none(), "it has ended");
    follower.close().wait_timeout(PATIENCE).expect("closed");
    let ends = matches!(own.next().wait(), Some(Err(_))) && own.next().wait().is_none();
    assert!(ends, "a watch ends with its session");
}

#[test]
fn the_command_line_prints_what_happens_across_a_failover() {
    let mut cell = Cell::start(3, "");
    let client = cell.connect();
    client.create("/jobs", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let (child, line) = cell.start_watching(&["/jobs", "--recursive", "--count", "3", "--json"]);
    assert!(line.starts_with(r#"{"note":"watching /jobs from revision "#), "{line}");
    client.create("/jobs/1", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let mut revisions = vec![revision_of(&client)];
    cell.kill_leader();
    client.set("/jobs/1", "x", Expect::Any).wait_timeout(PATIENCE).expect("set");
    revisions.push(revision_of(&client));
    client.delete("/jobs/1", Expect::Any).wait_timeout(PATIENCE).expect("deleted");
    // Nothing lies between; after it the command closes its own session, which counts too.
    revisions.push(revisions[1] + 1);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let lines = ["created", "changed", "deleted"]
        .into_iter()
        .zip(revisions)
        .map(|(event, revision)| format!("{{\"event\":\"{event}\",\"path\":\"/jobs/1\",\"revision\":{revision}}}\n"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines.collect::<String>());
}

#[test]
fn the_command_line_prints_what_a_node_was_changed_to() {
    let cell = Cell::start(1, "");
    let client = cell.connect();
    client.create("/app", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let watchers = [
        cell.start_watching(&["/app/x", "--data", "--count", "3"]),
        cell.start_watching(&["/app", "--entries", "--data", "--progress", "--json", "--count", "3"]),
    ];
    let mut watchers = watchers.map(|(mut child, _)| (BufReader::new(child.stdout.take().expect("piped")), child));
    // The next event of both. One that waits to be read while the node changes again comes without data.
    let mut next = || {
        let [plain, json] = watchers.each_mut().map(|(lines, _)| {
            let line = lines.lines().map(|line| line.expect("it is text")).find(|line| !line.contains("progress"));
            line.expect("it goes on")
        });
        let json: serde_json::Value = serde_json::from_str(&json).expect("an object a line");
        let (event, rest) = plain.split_once(' ').expect("words");
        let (revision, rest) = rest.split_once(' ').expect("words");
        assert_eq!((&json["event"], json["revision"].to_string()), (&event.into(), revision.to_owned()), "{json}");
        (event.to_owned(), rest.to_owned(), json["data"].clone(), json["version"].clone())
    };
    let told = |event: &str, rest: &str, data: serde_json::Value, version: serde_json::Value| {
        (event.to_owned(), rest.to_owned(), data, version)
    };
    client.create("/app/x", "one\ntwo", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    assert_eq!(next(), told("created", "/app/x one\\ntwo", "one\ntwo".into(), 0.into()));
    client.set("/app/x", "three", Expect::Any).wait_timeout(PATIENCE).expect("set");
    assert_eq!(next(), told("changed", "/app/x three", "three".into(), 1.into()));
    client.delete("/app/x", Expect::Any).wait_timeout(PATIENCE).expect("deleted");
    assert_eq!(next(), told("deleted", "/app/x", serde_json::Value::Null, serde_json::Value::Null));
    for (_, mut child) in watchers {
        assert!(child.wait().expect("it ends").success());
    }
}
