//! What a client is told of its session, from jeopardy to the end; and `quorate session ls`: whatever the replica asked, it
//! tells of all sessions and of where each client is.

use std::time::Duration;

use quorate::client::{
    Client, CreateOptions, Error, LockGuard, LockLost, LockOptions, OpenOptions, SessionEvent, SessionEvents,
    SessionState, WatchOptions, block_on_timeout,
};
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

/// A session that is taken for over when the cell was not heard for `grace` after its lease.
fn connect(cell: &Cell, session: &str, grace: Duration) -> Client {
    let builder = Client::builder(&format!("quorate://{}?session={session}", cell.endpoints())).expect("an address");
    // Whoever is to be found again in time is looked for often.
    let builder = builder.grace(grace).backoff(Duration::from_millis(10), Duration::from_millis(100));
    builder.connect().wait_timeout(PATIENCE).expect("a session")
}

fn lock(client: &Client, path: &str) -> LockGuard {
    client.lock(path, LockOptions::exclusive()).wait_timeout(PATIENCE).expect("the lock")
}

/// What comes next but changes of the leader, of which there may be any number.
fn next(events: &mut SessionEvents) -> Option<SessionEvent> {
    loop {
        match events.next_timeout(PATIENCE) {
            Some(SessionEvent::Failover { .. }) => {}
            other => return other,
        }
    }
}

#[test]
fn without_a_cell_a_session_is_in_jeopardy_and_then_over_or_safe_again() {
    let (short, long) = (Duration::from_secs(10), 10 * PATIENCE);
    let mut cell = Cell::start(3, "");
    let (hasty, patient) = (connect(&cell, "5s", short), connect(&cell, "8s", long));
    let (hasty_guard, patient_guard) = (lock(&hasty, "/hasty"), lock(&patient, "/patient"));
    let (mut hasty_events, mut patient_events) = (hasty.session_events(), patient.session_events());
    let lost = hasty_guard.lost();
    assert_eq!((hasty.grace_left(), patient.grace_left()), (None, None), "both leases hold");
    cell.kill_all();

    assert_eq!(block_on_timeout(lost, PATIENCE), Some(LockLost::Jeopardy));
    assert!(!hasty_guard.is_held() && hasty_guard.held_for() == Duration::ZERO);
    let told: Vec<_> = std::iter::from_fn(|| hasty_events.next_timeout(PATIENCE)).collect();
    let [.., SessionEvent::Jeopardy { grace }, SessionEvent::Expired] = told[..] else { panic!("{told:?}") };
    assert!(grace <= short && hasty_events.is_over(), "{grace:?}");
    assert_eq!((hasty.state(), hasty.grace_left()), (SessionState::Expired, None));
    assert_eq!(block_on_timeout(hasty_guard.lost(), PATIENCE), Some(LockLost::Expired), "as it stands now");
    let late = hasty.get("/").wait_timeout(PATIENCE);
    assert!(matches!(late, Err(Error::SessionExpired { .. })), "{late:?}");

    let Some(SessionEvent::Jeopardy { grace }) = next(&mut patient_events) else { panic!("its lease is over too") };
    let left = patient.grace_left().expect("it is in doubt");
    assert!(left > Duration::ZERO && left < grace && grace <= long, "{left:?} of {grace:?}, which were left before");
    assert!(patient.state() == SessionState::Jeopardy && !patient_guard.is_held());
    (0..3).for_each(|index| cell.restart(index));
    assert_eq!(next(&mut patient_events), Some(SessionEvent::Safe));
    assert_eq!(patient.grace_left(), None, "there is no doubt any more");
    assert!(patient_guard.is_held(), "it was held all the time");
    let held = patient.check_sequencer(&patient_guard.sequencer()).wait_timeout(PATIENCE).expect("an answer");
    assert!(held, "the cell says so too");
}

#[test]
fn when_the_leader_dies_a_session_hears_of_the_next_one_and_of_nothing_worse() {
    let mut cell = Cell::start(3, "");
    let client = connect(&cell, "20s", PATIENCE);
    let guard = lock(&client, "/l");
    let (mut events, mut lost) = (client.session_events(), guard.lost());
    let killed = cell.kill_leader();
    loop {
        match events.next_timeout(PATIENCE) {
            Some(SessionEvent::Failover { leader }) if usize::from(leader.0) == killed + 1 => {}
            Some(SessionEvent::Failover { .. }) => break,
            other => panic!("{other:?} instead of another leader"),
        }
    }
    client.sync().wait_timeout(PATIENCE).expect("a majority lives");
    cell.restart(killed);
    cell.leader();
    client.sync().wait_timeout(PATIENCE).expect("all live");
    let more: Vec<_> = std::iter::from_fn(|| events.next_timeout(Duration::ZERO)).collect();
    assert!(more.iter().all(|event| matches!(event, SessionEvent::Failover { .. })), "{more:?}");
    assert!(!events.is_over() && guard.is_held() && lost.wait_timeout(Duration::ZERO).is_none());
}

#[test]
fn who_closes_a_client_is_told_that_its_locks_are_lost() {
    let cell = Cell::start(1, "");
    cell.leader();
    let client = cell.connect();
    let guard = lock(&client, "/l");
    let (mut events, lost, mut polled) = (client.session_events(), guard.lost(), guard.lost());
    assert!(guard.held_for() > Duration::ZERO && polled.wait_timeout(Duration::ZERO).is_none(), "all is well");
    let waiting = std::thread::spawn(move || block_on_timeout(lost, PATIENCE));
    client.clone().close().wait_timeout(PATIENCE).expect("closed");
    assert!(!guard.is_held() && guard.held_for() == Duration::ZERO && client.grace_left().is_none());
    assert_eq!(waiting.join().expect("it only waits"), Some(LockLost::Closed));
    assert_eq!(polled.wait_timeout(PATIENCE), Some(LockLost::Closed));
    assert_eq!(block_on_timeout(guard.lost(), PATIENCE), Some(LockLost::Closed), "whoever asks later hears the same");
    assert_eq!(next(&mut events), Some(SessionEvent::Closed));
    assert!(events.next_timeout(PATIENCE).is_none() && events.is_over(), "nothing comes after it");
}
