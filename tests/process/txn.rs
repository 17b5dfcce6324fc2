//! `quorate txn`: all or nothing, and otherwise.

use quorate::client::{CreateOptions, TxnOutcome};

use super::cell::{Cell, PATIENCE, run};

#[test]
fn a_transaction_takes_one_branch_whole() {
    let cell = Cell::start(3, "");
    let txn = |lines: &[&str], more: &[&str]| {
        let done = run(&[&["txn", "--endpoints", &cell.endpoints()][..], more, lines].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let lines = ["if absent /app", "then create /app blue", "create /app/log- x --sequential", "else get /app"];
    let (code, said, words) = txn(&lines, &[]);
    assert_eq!(code, Some(0), "{words}");
    let (branch, results) = said.split_once('\n').expect("lines");
    assert!(branch.starts_with("then "), "{said}");
    assert_eq!(results, "created /app\ncreated /app/log-0000000000\n");

    let (code, said, words) = txn(&lines, &["--json"]);
    assert_eq!(code, Some(0), "{words}");
    let said: serde_json::Value = serde_json::from_str(&said).expect("one object");
    assert_eq!((&said["branch"], &said["results"][0]["data"]), (&"else".into(), &"blue".into()), "{said}");

    let (code, _, words) = txn(&["if version /app 3", "then delete /app"], &[]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("step 1 of `if` failed, so nothing was done"), "{words}");
    let (_, _, words) = txn(&["if version /app 3", "then delete /app"], &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&words).expect("one object");
    assert_eq!((&told["error"]["kind"], &told["error"]["outcome"]), (&"BadVersion".into(), &"not_applied".into()));
    let (code, _, words) = txn(&["set /app green", "delete /none"], &[]);
    assert!(code == Some(1) && words.contains("step 2 of `then`"), "{words}");
    let (_, said, _) = txn(&["get /app", "get /none"], &[]);
    assert!(said.ends_with("got /app version 0 blue\nnone /none\n"), "nothing was done: {said}");
}

/// Each result is in bounds, and so are those of a session together: it is told all of them, though they come at once and are
/// more than may wait for a client that does not read.
#[test]
fn whoever_asks_for_much_at_once_is_told_all_of_it() {
    let cell = Cell::start(3, "");
    let client = cell.connect();
    let made = client.create("/large", vec![7; 999_000], CreateOptions::permanent());
    made.wait_timeout(PATIENCE).expect("a large node");
    let asked: Vec<_> = (0..12).map(|_| client.txn().get("/large").get("/large").commit()).collect();
    for done in asked {
        let (_, told) = done.wait_timeout(PATIENCE).and_then(TxnOutcome::applied).expect("it is answered");
        assert_eq!(told.len(), 2);
    }
}
