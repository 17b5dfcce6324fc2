//! What one client process holds: requests without an answer, and watches.

use quorate::client::{Client, CreateOptions, Expect, WatchEvent, WatchOptions};
use rustix::process::Signal;

use super::cell::{Cell, PATIENCE};

/// The most calls that are made here before the first answer.
const CALLS: usize = 100_000;
const WATCHES: usize = 10_000;

#[test]
fn a_hundred_thousand_requests_wait_while_the_cell_stands_still() {
    let cell = Cell::start(1, "");
    cell.leader();
    let builder = Client::builder(&format!("quorate://{}?session=60s", cell.endpoints())).expect("an address");
    let client = builder.calls_max(CALLS).connect().wait_timeout(PATIENCE).expect("a session");
    client.create("/node", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    cell.signal(0, Signal::STOP);
    let writes: Vec<_> = (0..CALLS as u64 / 2)
        .map(|version| client.set("/node", version.to_string(), Expect::Version(version)))
        .collect();
    let reads: Vec<_> = (0..CALLS / 2).map(|_| client.get("/node")).collect();
    assert!(writes.iter().all(|op| !op.is_answered()) && reads.iter().all(|op| !op.is_answered()));
    let one_more = client.get("/node").wait_timeout(PATIENCE).expect_err("there is a bound");
    assert!(one_more.is_retryable(), "{one_more}");
    cell.signal(0, Signal::CONT);
    for (before, write) in (0..).zip(writes) {
        let stat = write.wait_timeout(PATIENCE).unwrap_or_else(|error| panic!("write {before}: {error}"));
        assert_eq!(stat.version, before + 1, "each once, in the order they were made");
    }
    for read in reads {
        let (_, stat) = read.wait_timeout(PATIENCE).expect("answered");
        assert_eq!(stat.version, CALLS as u64 / 2, "a read is behind all that was asked before");
    }
    assert!(client.is_safe());
}

#[test]
fn ten_thousand_watches_of_one_client_each_see_their_own_and_no_other() {
    let mut cell = Cell::start(3, "");
    let leader = cell.leader();
    let client = Client::connect(&format!("quorate://{}?session=60s", cell.endpoints()));
    let client = client.wait_timeout(PATIENCE).expect("a session");
    let writer = cell.connect();
    writer.create("/w", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let name = |index: usize| format!("/w/{index}");
    let opening: Vec<_> = (0..WATCHES).map(|index| client.watch(&name(index), WatchOptions::node())).collect();
    let mut watches: Vec<_> = opening.into_iter().map(|op| op.wait_timeout(PATIENCE).expect("it stands")).collect();
    let creations: Vec<_> =
        (0..WATCHES).map(|index| writer.create(&name(index), "", CreateOptions::permanent())).collect();
    creations.into_iter().for_each(|op| _ = op.wait_timeout(PATIENCE).expect("made"));
    // All are opened anew at another replica, and miss nothing.
    cell.kill(leader);
    let writes: Vec<_> = (0..WATCHES).map(|index| writer.set(&name(index), "1", Expect::Version(0))).collect();
    writes.into_iter().for_each(|op| _ = op.wait_timeout(PATIENCE).expect("set"));
    for (index, watch) in watches.iter_mut().enumerate() {
        let mut next = || watch.next_timeout(PATIENCE).expect("in time").expect("the watch stands");
        let (first, second) = (next(), next());
        assert!(matches!(&first, WatchEvent::Created { path, .. } if *path == name(index)), "{index}: {first:?}");
        assert!(matches!(&second, WatchEvent::Changed { path, .. } if *path == name(index)), "{index}: {second:?}");
    }
}
