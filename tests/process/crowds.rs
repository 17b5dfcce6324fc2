//! What one client process holds: requests without an answer, watches, and events that nobody takes.

use quorate::client::{Client, CreateOptions, Error, Expect, WatchEvent, WatchOptions};
use rustix::process::Signal;

use super::actors::{Actor, go_ahead, say};
use super::cell::{Cell, PATIENCE};

/// The most calls that are made here before the first answer.
const CALLS: usize = 100_000;
const WATCHES: usize = 10_000;

/// What a process with so many of both may have taken at its worst. A call is its handle, the place of its answer and its entry
/// in the queue, a watch is three entries of tables: a kilobyte each, so 110 MiB. What grows by doubling takes thrice that for a
/// moment, and not all that is given back goes to the system. But tens of kilobytes for each watch, or five for each call, are
/// too many.
const MEMORY_KIB_MAX: u64 = 512 << 10;

#[test]
fn a_hundred_thousand_requests_wait_beside_ten_thousand_watches_while_the_cell_stands_still() {
    let cell = Cell::start(1, "");
    cell.leader();
    // In a process of its own: what that takes, this one client does.
    let mut holder = Actor::start("crowd", &cell);
    assert_eq!(holder.hear(), "watches");
    cell.signal(0, Signal::STOP);
    holder.go_ahead();
    assert_eq!(holder.hear(), "waits");
    cell.signal(0, Signal::CONT);
    holder.go_ahead();
    let words = loop {
        let words = holder.hear();
        if !words.starts_with("answered") {
            break words;
        }
    };
    let peak: u64 = words.strip_prefix("took ").and_then(|kib| kib.parse().ok()).unwrap_or_else(|| panic!("{words}"));
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB, more than {MEMORY_KIB_MAX}");
}

/// The client process of that: opens its watches, makes its calls while the cell stands still, and says what it took.
pub fn hold_many(target: &str) {
    let builder = Client::builder(target).expect("an address");
    let client = builder.calls_max(CALLS).connect().wait_timeout(PATIENCE).expect("a session");
    for path in ["/node", "/w"] {
        client.create(path, "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    }
    let name = |index: usize| format!("/w/{index}");
    let opening: Vec<_> = (0..WATCHES).map(|index| client.watch(&name(index), WatchOptions::node())).collect();
    let mut watches: Vec<_> = opening.into_iter().map(|op| op.wait_timeout(PATIENCE).expect("it stands")).collect();
    say("watches");
    go_ahead();
    let creations: Vec<_> =
        (0..WATCHES).map(|index| client.create(&name(index), "", CreateOptions::permanent())).collect();
    let writes: Vec<_> = (0..CALLS as u64 / 2 - WATCHES as u64)
        .map(|version| client.set("/node", version.to_string(), Expect::Version(version)))
        .collect();
    let reads: Vec<_> = (0..CALLS / 2).map(|_| client.get("/node")).collect();
    let one_more = client.get("/node").wait_timeout(PATIENCE).expect_err("there is a bound");
    assert!(matches!(one_more, Error::TooManyCalls { limit: CALLS }), "{one_more}");
    assert!(creations.iter().all(|op| !op.is_answered()));
    assert!(writes.iter().all(|op| !op.is_answered()) && reads.iter().all(|op| !op.is_answered()));
    say("waits");
    go_ahead();
    let (written, mut answered) = (writes.len() as u64, 0);
    let mut answer = || {
        answered += 1;
        if answered % 5_000 == 0 {
            say(&format!("answered {answered}"));
        }
    };
    for creation in creations {
        creation.wait_timeout(PATIENCE).expect("made");
        answer();
    }
    for (before, write) in (0..).zip(writes) {
        let stat = write.wait_timeout(PATIENCE).unwrap_or_else(|error| panic!("write {before}: {error}"));
        assert_eq!(stat.version, before + 1, "each once, in the order they were made");
        answer();
    }
    for read in reads {
        let (_, stat) = read.wait_timeout(PATIENCE).expect("answered");
        assert_eq!(stat.version, written, "a read is behind all that was asked before");
        answer();
    }
    for (index, watch) in watches.iter_mut().enumerate() {
        let event = watch.next_timeout(PATIENCE).expect("in time").expect("the watch stands");
        assert!(matches!(&event, WatchEvent::Created { path, .. } if *path == name(index)), "{index}: {event:?}");
    }
    assert!(client.is_safe());
    say(&format!("took {}", peak_memory_kib()));
}

/// The most that this process ever had in memory.
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A reader who does not take its events costs no more than its bound, and learns exactly what it was not told.
#[test]
fn what_nobody_takes_is_a_gap_and_the_watch_goes_on() {
    const BUFFER: usize = 4;
    let cell = Cell::start(1, "");
    cell.leader();
    let (client, writer) = (cell.connect(), cell.connect());
    writer.create("/n", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let watch = client.watch("/n", WatchOptions::node().buffer(BUFFER));
    let mut watch = watch.wait_timeout(PATIENCE).expect("it stands");
    let set = |version| writer.set("/n", "x", Expect::Version(version)).wait_timeout(PATIENCE).expect("set").modified;
    let changed: Vec<u64> = (0..20).map(set).collect();
    // It has been told of all that by the time this is answered, and nobody took any of it.
    client.sync().wait_timeout(PATIENCE).expect("synced");
    let mut next = || watch.next_timeout(PATIENCE).expect("in time").expect("the watch stands");
    for revision in &changed[..BUFFER] {
        let event = next();
        assert!(matches!(event, WatchEvent::Changed { revision: told, .. } if told == *revision), "{event:?}");
    }
    let WatchEvent::Gap { from, to } = next() else { panic!("a gap comes next") };
    assert!((changed[BUFFER - 1]..changed[BUFFER]).contains(&from), "all up to {from} was told: {changed:?}");
    assert_eq!(Some(&to), changed.last(), "all after it will be");
    let (_, stat) = client.get("/n").wait_timeout(PATIENCE).expect("it is there");
    assert_eq!((stat.version, stat.modified), (20, to), "read again it is whole");
    let (after, event) = (set(20), next());
    assert!(matches!(event, WatchEvent::Changed { revision, .. } if revision == after), "{event:?}");
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
