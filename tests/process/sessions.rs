//! `quorate session ls`: whatever the replica asked, it tells of all sessions and of where each client is.

use quorate::client::{Client, CreateOptions, LockOptions, OpenOptions, WatchOptions};
use serde_json::Value;

use super::cell::{Cell, PATIENCE, run};

/// What is told of one session when that replica is named.
fn told(cell: &Cell, index: usize, session: &str) -> Option<Value> {
    let done = run(&["session", "ls", "--json", "--endpoints", &cell.address(index).to_string()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .find(|one: &Value| one["session"] == session)
}

#[test]
fn every_replica_tells_of_every_session() {
    let mut cell = Cell::start(3, "");
    let leader = cell.leader();
    let client = Client::connect(&format!("quorate://{}?session=20s&prefer=any", cell.address((leader + 1) % 3)));
    let client = client.wait_timeout(PATIENCE).expect("a session");
    for name in ["/a", "/b"] {
        client.create(name, "", CreateOptions::ephemeral()).wait_timeout(PATIENCE).expect("made");
    }
    let guard = client.lock("/l", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("the lock");
    let handles =
        ["/a", "/a", "/b"].map(|path| client.open(path, OpenOptions::read()).wait_timeout(PATIENCE).expect("a handle"));
    let watches = ["/a", "/b", "/b", "/c"]
        .map(|path| client.watch(path, WatchOptions::node()).wait_timeout(PATIENCE).expect("it stands"));
    let session = client.session().to_string();
    let has = |one: &Value, key: &str, value: u64| one[key] == value;
    let expected = |one: &Value| {
        let counts = [("ephemerals", 2), ("locks", 1), ("handles", 3), ("timeout_ms", 20_000)];
        counts.into_iter().all(|(key, value)| has(one, key, value))
    };
    for index in 0..3 {
        cell.wait("the session to be known", |cell| {
            told(cell, index, &session).filter(|one| {
                expected(one) && has(one, "replica", ((leader + 1) % 3 + 1) as u64) && has(one, "watches", 4)
            })
        });
    }
    cell.kill(leader);
    cell.wait("the session to be told of without the leader", |cell| {
        told(cell, (leader + 1) % 3, &session).filter(|one| expected(one) && has(one, "watches", 4))
    });
    drop((handles, watches));
    cell.wait("handles and watches to be gone", |cell| {
        told(cell, (leader + 1) % 3, &session).filter(|one| has(one, "handles", 0) && has(one, "watches", 0))
    });
    guard.release().wait_timeout(PATIENCE).expect("released");
    client.close().wait_timeout(PATIENCE).expect("closed");
    cell.wait("the session to be gone", |cell| told(cell, (leader + 1) % 3, &session).is_none().then_some(()));
}
