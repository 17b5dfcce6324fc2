//! Nodes on real processes: listings, scans, trees that are deleted, nodes that end and quotas, across the death of
//! leaders.

use std::process::Command;
use std::time::{Duration, Instant};

use quorate::client::{Client, CreateOptions, Error, Expect, ScanOptions, TxnOutcome, WatchEvent, WatchOptions};

use super::cell::{Cell, PATIENCE, QUORATE};

fn connect(cell: &Cell) -> Client {
    Client::connect(&cell.endpoints()).wait_timeout(PATIENCE).expect("a session")
}

/// A command line's words to standard output.
fn said(cell: &Cell, args: &[&str]) -> String {
    let done = Command::new(QUORATE).args(args).args(["--endpoints", &cell.endpoints()]).output();
    let done = done.expect("the program runs");
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("it is text")
}

#[test]
fn a_scan_goes_on_in_order_while_leaders_die_and_nodes_go() {
    let mut cell = Cell::start(3, "");
    let client = connect(&cell);
    let paths: Vec<String> = (0..30).map(|n| format!("/s/{:02}/{:02}", n / 5, n % 5)).collect();
    for path in &paths {
        let made = client.create(path, path.clone(), CreateOptions::permanent().parents());
        made.wait_timeout(PATIENCE).expect("it is new");
    }
    let mut seen = Vec::new();
    for node in client.scan("/s", ScanOptions::new().with_data().page(3)) {
        let node = node.expect("a scan outlives its leader");
        assert!(node.data.is_some_and(|data| data.is_empty() || data == node.path.as_bytes()), "{}", node.path);
        if node.path.len() == "/s/00/00".len() {
            // Where the scan stands there is nothing any more when it goes on.
            client.delete(&node.path, Expect::Any).wait_timeout(PATIENCE).expect("it is there");
            seen.push(node.path);
        }
        if seen.len().is_multiple_of(12) {
            let leader = cell.kill_leader();
            cell.restart(leader);
        }
    }
    assert_eq!(seen, paths);
    assert_eq!(said(&cell, &["scan", "/s"]).lines().count(), 7, "the parents are left");
    let part = said(&cell, &["scan", "--data", "--after", "/s/00", "--limit", "2", "/s"]);
    assert_eq!(part, "/s/01 \n/s/02 \n", "their data are empty");
    let row = said(&cell, &["scan", "--json", "--data", "--limit", "1", "/s"]);
    let row: serde_json::Value = serde_json::from_str(&row).expect("an object a line");
    assert_eq!((&row["path"], &row["data"], &row["children"]), (&"/s".into(), &"".into(), &6.into()));
    let listed = said(&cell, &["ls", "-l", "--after", "01", "--limit", "2", "/s"]);
    let names: Vec<_> = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert!(names.len() == 2 && names[0][5] == "02" && names[1][..3] == ["0", "0", "0"], "{listed}");
    let json = said(&cell, &["ls", "--json", "/s"]);
    let rows: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert!(rows.len() == 6 && rows[5]["name"] == "05" && rows[5]["children_version"] == 10, "{json}");
}

#[test]
fn a_large_tree_comes_down_in_parts_while_the_leader_dies() {
    let mut cell = Cell::start(3, "");
    let client = connect(&cell);
    client.create("/t", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let paths: Vec<String> = (0..9000).map(|n| format!("/t/{n}")).collect();
    for some in paths.chunks(3000) {
        let txn = some.iter().fold(client.txn(), |txn, path| txn.create(path, "x", CreateOptions::permanent()));
        txn.commit().wait_timeout(PATIENCE).and_then(TxnOutcome::applied).expect("they are new");
    }
    let whole = client.delete_tree("/t", Expect::Any).wait_timeout(PATIENCE);
    assert!(matches!(whole, Err(Error::TooLarge { limit: 4096, .. })), "{whole:?}");
    let parts = client.delete_tree_in_parts("/t");
    let leader = cell.kill_leader();
    assert_eq!(parts.wait_timeout(PATIENCE).expect("another leader goes on"), 9001);
    cell.restart(leader);
    assert_eq!(client.exists("/t").wait_timeout(PATIENCE).expect("an answer"), None);
    client.create("/u/v/w", "", CreateOptions::permanent().parents()).wait_timeout(PATIENCE).expect("it is new");
    assert_eq!(said(&cell, &["delete-tree", "--version", "0", "/u"]), "3\n");
}

#[test]
fn a_node_ends_in_its_time_under_another_leader_and_after_a_restart_of_all() {
    let mut cell = Cell::start(3, "");
    let client = connect(&cell);
    let made = Instant::now();
    assert_eq!(said(&cell, &["create", "--ttl", "4s", "/seen", "x"]), "/seen\n");
    said(&cell, &["create", "--container", "/box"]);
    client.create("/box/it", "", CreateOptions::ttl(Duration::from_secs(1))).wait_timeout(PATIENCE).expect("it is new");
    client.create("/kept", "", CreateOptions::ttl(Duration::from_secs(1))).wait_timeout(PATIENCE).expect("it is new");
    client.create("/kept/by", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let is_gone = |path: &str| client.exists(path).wait_timeout(PATIENCE).is_ok_and(|stat| stat.is_none());
    let leader = cell.kill_leader();
    cell.wait("the end of what is in the box", |_| is_gone("/box/it").then_some(()));
    cell.restart(leader);
    cell.kill_all();
    (0..3).for_each(|index| cell.restart(index));
    cell.wait("the end of what was to be seen", |_| is_gone("/seen").then_some(()));
    assert!(made.elapsed() >= Duration::from_secs(4), "a change of reign may lengthen a time, never shorten it");
    cell.wait("the end of the box", |_| is_gone("/box").then_some(()));
    assert!(!is_gone("/kept"), "it has a child");
    client.delete("/kept/by", Expect::Any).wait_timeout(PATIENCE).expect("it is there");
    cell.wait("the end of what nothing keeps", |_| is_gone("/kept").then_some(()));
}

#[test]
fn data_past_the_limit_are_refused_by_name_before_they_are_written_down() {
    let cell = Cell::start(1, "");
    let client = connect(&cell);
    client.create("/a", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let before = cell.status(0).expect("it runs").applied_upto;
    let refused = client.set("/a", vec![0; (1 << 20) + 1], Expect::Any).wait_timeout(PATIENCE);
    assert!(matches!(refused, Err(Error::TooLarge { size: 1_048_577, limit: 1_048_576, .. })), "{refused:?}");
    assert_eq!(cell.status(0).expect("it runs").applied_upto, before, "the log knows nothing of it");
    client
        .set("/a", vec![0; 1 << 20], Expect::Any)
        .wait_timeout(PATIENCE)
        .expect("it just fits, and nothing else broke");
}

#[test]
fn a_quota_holds_and_warns_under_another_leader() {
    let mut cell = Cell::start(3, "");
    let client = connect(&cell);
    client.create("/q/a", "12345", CreateOptions::permanent().parents()).wait_timeout(PATIENCE).expect("it is new");
    said(&cell, &["quota", "set", "--nodes", "3", "--soft-bytes", "8", "--bytes", "1KiB", "/q"]);
    let mut watch = client.watch("/q", WatchOptions::recursive()).wait_timeout(PATIENCE).expect("it stands");
    let leader = cell.kill_leader();
    client.create("/q/b", "1234", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it just fits");
    let refused = client.create("/q/c", "", CreateOptions::permanent()).wait_timeout(PATIENCE);
    assert!(
        matches!(&refused, Err(Error::NodesOverQuota { path, needed: 4, limit: 3 }) if path == "/q"),
        "{refused:?}"
    );
    let refused = client.set("/q/a", vec![0; 1021], Expect::Any).wait_timeout(PATIENCE);
    assert!(matches!(refused, Err(Error::BytesOverQuota { needed: 1025, limit: 1024, .. })), "{refused:?}");
    let made = watch.next_timeout(PATIENCE).expect("the session lives").expect("it is told");
    let warning = watch.next_timeout(PATIENCE).expect("the session lives").expect("it is told");
    assert!(matches!(&made, WatchEvent::Created { path, .. } if path == "/q/b"), "{made:?}");
    assert!(
        matches!(&warning, WatchEvent::OverQuota { path, revision } if path == "/q" && *revision == made.revision())
    );
    let told: serde_json::Value = serde_json::from_str(&said(&cell, &["quota", "get", "--json", "/q"])).expect("JSON");
    assert!(told["nodes"] == 3 && told["bytes"] == 9 && told["hard_bytes"] == 1024, "{told}");
    said(&cell, &["quota", "rm", "/q"]);
    client.create("/q/c", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("nothing bounds it any more");
    cell.restart(leader);
}

#[test]
fn every_command_that_reads_takes_how_fresh_its_answer_must_be() {
    let cell = Cell::start(1, "");
    let client = connect(&cell);
    client.create("/a/b", "x", CreateOptions::permanent().parents()).wait_timeout(PATIENCE).expect("it is new");
    client.create_log("/l", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    client.log("/l").append(["one"]).wait_timeout(PATIENCE).expect("it is a log");
    let now = said(&cell, &["sync"]);
    for fresh in [&["--stale"][..], &["--at-least", now.trim()]] {
        let said = |args: &[&str]| said(&cell, &[args, fresh].concat());
        assert_eq!(said(&["get", "/a/b"]), "x\n");
        assert_eq!(said(&["ls", "/a"]), "b\n");
        assert_eq!(said(&["scan", "/a"]), "/a\n/a/b\n");
        assert_eq!(said(&["log", "read", "/l"]), "one\n");
        assert!(said(&["stat", "--json", "/a"]).contains("\"children\":1"));
        assert!(said(&["log", "stat", "--json", "/l"]).contains("\"end\":1"));
    }
    // What is far off does not come, and is waited for as any answer is.
    let get = ["get", "--at-least", "1000000000", "/a/b", "--timeout", "3s", "--endpoints", &cell.endpoints()];
    let done = Command::new(QUORATE).args(get).output().expect("the program runs");
    assert_eq!(done.status.code(), Some(3), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_listing_that_nobody_reads_ends_at_once_and_quietly() {
    let cell = Cell::start(1, "");
    let client = connect(&cell);
    for path in ["/a", "/b"] {
        client.create(path, "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    }
    for how in ["ls", "scan"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(QUORATE);
        command.args([how, "--limit", "1", "--endpoints", &cell.endpoints()]).stdout(writer);
        let done = command.output().expect("the program runs");
        assert_eq!(done.status.code(), Some(0), "{how}");
        assert!(done.stderr.is_empty(), "nobody is to be told what follows: {}", String::from_utf8_lossy(&done.stderr));
    }
}
