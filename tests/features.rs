//! The table of features (`src/client/features.rs`) against the tree: a test that is named is there and runs, and no call
//! of Chubby or ZooKeeper is left out.
//!
//! As in `tests/repository.rs` the rule is a function from text to complaints, and the last test shows that it complains.
#![allow(clippy::disallowed_methods, reason = "this test reads files, and no simulated thing")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const TABLE: &str = include_str!("../src/client/features.rs");

/// What is left for a later version, or will never be.
const LATER: [&str; 20] = [
    "ZooKeeper wire gateway",
    "learners and observers that serve reads",
    "witness, weighted, hierarchical and flexible quorums",
    "read-only mode",
    "mirroring",
    "proxies",
    "partitioning",
    "scheduled off-host backup",
    "TLS",
    "SASL",
    "x509",
    "authenticated peers",
    "audit log",
    "metrics endpoint",
    "admin server",
    "status page",
    "packages",
    "Python and C clients",
    "JMX",
    "UDP keep-alives",
];

/// What is not wanted here; whoever adds one argues for it in the table.
const ABSENT: [&str; 3] = ["Through the site's file API", "Closed after a minute without use", "Local sessions"];

/// Chubby's calls (section 2.6 of its paper).
const CHUBBY: [&str; 15] = [
    "Open",
    "Close",
    "Poison",
    "GetContentsAndStat",
    "GetStat",
    "ReadDir",
    "SetContents",
    "SetACL",
    "Delete",
    "Acquire",
    "TryAcquire",
    "Release",
    "GetSequencer",
    "SetSequencer",
    "CheckSequencer",
];

/// The operations of ZooKeeper's protocol.
const ZOOKEEPER: [&str; 31] = [
    "create",
    "create2",
    "delete",
    "exists",
    "getData",
    "setData",
    "getACL",
    "setACL",
    "getChildren",
    "getChildren2",
    "getAllChildrenNumber",
    "getEphemerals",
    "sync",
    "ping",
    "check",
    "multi",
    "multiRead",
    "createContainer",
    "deleteContainer",
    "createTTL",
    "reconfig",
    "addWatch",
    "setWatches",
    "setWatches2",
    "checkWatches",
    "removeWatches",
    "auth",
    "whoAmI",
    "sasl",
    "createSession",
    "closeSession",
];

/// Sections, each with the rows it has at least.
const SECTIONS: [(&str, usize); 18] = [
    ("Chubby: shape (§2.1, §2.2)", 9),
    ("Chubby: nodes (§2.3)", 15),
    ("Chubby: handles (§2.3)", 5),
    ("Chubby: calls (§2.6)", 19),
    ("Chubby: locks (§2.4)", 6),
    ("Chubby: events (§2.5)", 6),
    ("Chubby: cache (§2.7)", 6),
    ("Chubby: sessions (§2.8)", 9),
    ("Chubby: fail-over (§2.9)", 9),
    ("Chubby: database, backup, scaling (§2.10 to §3, and its Paxos paper)", 16),
    ("ZooKeeper: operations", 34),
    ("ZooKeeper: data model", 11),
    ("ZooKeeper: watches", 10),
    ("ZooKeeper: sessions", 7),
    ("ZooKeeper: guarantees", 6),
    ("ZooKeeper: replication and operations", 30),
    ("ZooKeeper: recipes, with those of its library Curator", 15),
    ("Neither has it", 3),
];

/// A row: the section it is in, and its three cells.
#[derive(Debug)]
struct Row<'t> {
    section: &'t str,
    feature: &'t str,
    here: &'t str,
    shown_by: &'t str,
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let (mut section, mut rows) = ("", Vec::new());
    for line in table.lines().filter_map(|line| line.strip_prefix("//! ")) {
        if let Some(title) = line.strip_prefix("# ") {
            section = title;
        }
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else { continue };
        let cells: Vec<&str> = cells.split(" | ").map(str::trim).collect();
        match cells[..] {
            ["there", "here", "shown by"] => {}
            [feature, here, shown_by] => rows.push(Row { section, feature, here, shown_by }),
            _ => rows.push(Row { section, feature: line, here: "", shown_by: "" }),
        }
    }
    rows
}

/// What is wrong with a row. `text_of` gives a file of the tree.
fn faults(row: &Row<'_>, text_of: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let Row { feature, here, shown_by, .. } = row;
    if let Some(what) = shown_by.strip_prefix("later: ") {
        let known = LATER.contains(&what);
        return if known { vec![] } else { vec![format!("{feature}: `{what}` is not among what is left for later")] };
    }
    if shown_by.starts_with("absent: ") {
        let known = ABSENT.contains(feature);
        return if known { vec![] } else { vec![format!("{feature}: nothing says that it is not wanted here")] };
    }
    if let Some(why) = shown_by.strip_prefix("not yet: ") {
        let said = why.split_whitespace().count() > 2;
        return if said { vec![] } else { vec![format!("{feature}: say what is missing")] };
    }
    if shown_by.is_empty() || here.is_empty() {
        return vec![format!("{feature}: an empty cell")];
    }
    let tests = shown_by.split_whitespace().map(|test| test.trim_matches('`'));
    tests.filter_map(|test| no_test(test, &text_of).map(|why| format!("{feature}: {why}"))).collect()
}

/// Why there is no such test that runs.
fn no_test(test: &str, text_of: impl Fn(&str) -> Option<String>) -> Option<String> {
    let Some((file, name)) = test.split_once("::") else { return Some(format!("`{test}` is not FILE::TEST")) };
    let Some(text) = text_of(file) else { return Some(format!("there is no {file}")) };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let Some(at) = lines.iter().position(|line| line.starts_with(&head)) else {
        return Some(format!("{file} has no {name}"));
    };
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    let attributes: Vec<_> = above.copied().collect();
    if !attributes.contains(&"#[test]") || attributes.iter().any(|line| line.starts_with("#[ignore")) {
        return Some(format!("{name} in {file} is no test that runs"));
    }
    None
}

fn of_the_tree(file: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).ok()
}

#[test]
fn every_feature_is_shown_by_a_test_that_exists_or_says_why_not() {
    let faults: Vec<_> = rows(TABLE).iter().flat_map(|row| faults(row, of_the_tree)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_call_of_either_system_is_left_out() {
    let rows = rows(TABLE);
    for (section, at_least) in SECTIONS {
        let found = rows.iter().filter(|row| row.section == section).count();
        assert!(found >= at_least, "{section}: {found} rows of {at_least}");
    }
    let named = |section: &str| -> BTreeSet<&str> {
        let rows = rows.iter().filter(|row| row.section == section);
        rows.flat_map(|row| row.feature.split(", ")).collect()
    };
    for (section, calls) in [("Chubby: calls (§2.6)", &CHUBBY[..]), ("ZooKeeper: operations", &ZOOKEEPER[..])] {
        let named = named(section);
        let missing: Vec<_> = calls.iter().filter(|call| !named.contains(*call)).collect();
        assert!(missing.is_empty(), "{section}: {missing:?}");
    }
    let mut once = BTreeSet::new();
    for row in &rows {
        assert!(once.insert((row.section, row.feature)), "{} is there twice", row.feature);
    }
    let absent: BTreeSet<_> =
        rows.iter().filter(|row| row.shown_by.starts_with("absent: ")).map(|row| row.feature).collect();
    assert_eq!(absent, BTreeSet::from(ABSENT), "what is not wanted is said in both places");
}

#[test]
fn the_rule_can_be_broken() {
    let file = |file: &str| {
        (file == "tests/a.rs").then(|| "#[test]\n#[ignore = \"x\"]\nfn b() {\n#[test]\nfn c() {".to_owned())
    };
    let found = |shown_by: &str| {
        let line = format!("//! # S\n//! | F | it | {shown_by} |\n");
        rows(&line).iter().flat_map(|row| faults(row, file)).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(found("`tests/a.rs::c`"), "");
    assert_eq!(found("later: mirroring"), "");
    assert_eq!(found("not yet: there is none"), "");
    for (shown_by, complaint) in [
        ("`tests/a.rs::b`", "F: b in tests/a.rs is no test that runs"),
        ("`tests/a.rs::c` `tests/a.rs::d`", "F: tests/a.rs has no d"),
        ("`tests/b.rs::c`", "F: there is no tests/b.rs"),
        ("`c`", "F: `c` is not FILE::TEST"),
        ("later: magic", "F: `magic` is not among what is left for later"),
        ("absent: we did not like it", "F: nothing says that it is not wanted here"),
        ("not yet: no", "F: say what is missing"),
        ("", "F: an empty cell"),
    ] {
        assert_eq!(found(shown_by), complaint);
    }
}
