//! `[throttle]`: whoever asks too much waits, loses nothing by it, and holds up nobody else.

use quorate::client::{Client, CreateOptions, Credentials, Expect, SessionEvent, SessionState};
use serde_json::Value;

use super::cell::{Cell, PATIENCE, run};

/// Questions that the replicas refused, all together.
fn throttled(cell: &Cell) -> u64 {
    let done = run(&["status", "--json", "--endpoints", &cell.endpoints()]);
    let text = String::from_utf8(done.stdout).expect("text");
    let told: Value = serde_json::from_str(&text).expect("an object");
    let replicas = told["replicas"].as_array().expect("a list");
    replicas.iter().filter_map(|replica| replica["throttled"].as_u64()).sum()
}

#[test]
fn a_flood_waits_and_keeps_its_session_while_others_pass_it() {
    let mut cell = Cell::start(3, "[throttle]\nrequests_per_second = 100\nburst = 20\n");
    let connect = |user: &str| {
        let client = Client::connect(&format!("quorate://{}?session=2s", cell.endpoints()));
        let client = client.wait_timeout(PATIENCE).expect("a session");
        client.authenticate(Credentials::new(user, "secret")).wait_timeout(PATIENCE).expect("anybody may");
        client
    };
    let [flooding, other] = ["flood", "other"].map(connect);
    flooding.create("/n", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let mut events = flooding.session_events();
    let writes: Vec<_> = (0..300).map(|n: u32| flooding.set("/n", n.to_le_bytes().to_vec(), Expect::Any)).collect();
    let reads: Vec<_> = (0..300).map(|_| flooding.get("/n")).collect();
    cell.wait("the flood to be refused", |cell| (throttled(cell) > 0).then_some(()));
    other.get("/n").wait_timeout(PATIENCE).expect("an answer");
    assert!(reads.iter().any(|read| !read.is_answered()), "one question of another passes the flood");
    let leader = cell.kill_leader();
    let mut last = 0;
    for write in writes {
        let stat = write.wait_timeout(PATIENCE).expect("it is done in the end");
        assert_eq!(stat.version, last + 1, "each once, in order");
        last = stat.version;
    }
    for read in reads {
        let (data, _) = read.wait_timeout(PATIENCE).expect("an answer in the end");
        assert_eq!(data[..], 299u32.to_le_bytes(), "after the writes before it");
    }
    assert_eq!(flooding.state(), SessionState::Safe);
    while let Some(event) = events.next_timeout(std::time::Duration::ZERO) {
        assert!(!matches!(event, SessionEvent::Expired), "it was kept alive all the while");
    }
    cell.restart(leader);
}
