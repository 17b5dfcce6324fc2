//! Clients that keep answers, on a real cell: never stale, whatever dies; and a dead one is waited for only where it matters.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use quorate::client::{CacheSettings, Client, CreateOptions, Expect};

use super::cell::{Cell, PATIENCE, QUORATE};

fn caching_client(endpoints: &str) -> Client {
    let builder = Client::builder(endpoints).expect("endpoints").cache(CacheSettings::default());
    builder.connect().wait_timeout(PATIENCE).expect("a session")
}

fn number_in(data: &[u8]) -> u64 {
    std::str::from_utf8(data).ok().and_then(|text| text.parse().ok()).expect("a number")
}

/// A writer counts up; readers that keep the answer, at the leader and at a follower, never see less than what was
/// acknowledged before they asked. Meanwhile leaders are killed.
#[test]
fn what_is_kept_is_never_stale_though_leaders_die() {
    let mut cell = Cell::start(3, "");
    let writer = cell.connect();
    writer.create("/n", "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let follower = cell.address((cell.leader() + 1) % 3);
    let readers = [caching_client(&cell.endpoints()), caching_client(&format!("quorate://{follower}?prefer=any"))];
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let kept: Vec<u64> = std::thread::scope(|scope| {
        let threads = readers.each_ref().map(|reader| {
            scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    let least = acknowledged.load(Ordering::SeqCst);
                    let (data, _) = reader.get("/n").wait_timeout(PATIENCE).expect("read");
                    let seen = number_in(&data);
                    assert!(seen >= least, "read {seen}, though {least} was acknowledged before");
                }
                reader.cache_stats().hits
            })
        });
        let mut next = 0;
        for _ in 0..3 {
            for _ in 0..40 {
                next += 1;
                writer.set("/n", next.to_string(), Expect::Any).wait_timeout(PATIENCE).expect("written");
                acknowledged.store(next, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let leader = cell.kill_leader();
            cell.restart(leader);
        }
        // With nothing changing, what is kept is used.
        let before = readers.each_ref().map(|reader| reader.cache_stats().hits);
        cell.wait("both to be answered by what they keep", |_| {
            let now = readers.each_ref().map(|reader| reader.cache_stats().hits);
            now.iter().zip(&before).all(|(now, before)| now > before).then_some(())
        });
        stop.store(true, Ordering::Release);
        threads.into_iter().map(|thread| thread.join().expect("no stale read")).collect()
    });
    assert!(kept.iter().all(|hits| *hits > 0), "{kept:?}");
    let (data, _) = readers[0].get("/n").wait_timeout(PATIENCE).expect("read");
    assert_eq!(number_in(&data), 120);
}

#[test]
fn a_dead_client_holds_up_only_what_it_kept_and_not_for_ever() {
    let cell = Cell::start(3, "");
    let writers = [cell.connect(), cell.connect()];
    for path in ["/kept", "/other"] {
        writers[0].create(path, "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    }
    let mut reader = Command::new(QUORATE)
        .args(["get", "--cached", "1000000000000", "--endpoints", &cell.endpoints(), "/kept"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let leader = cell.leader();
    cell.wait("the answer to be kept", |cell| cell.status(leader).filter(|status| status.cache.grants == 1));
    reader.kill().expect("it runs");
    reader.wait().expect("it ends");

    let held = writers[0].set("/kept", "1", Expect::Any);
    cell.wait("the write to be held", |cell| cell.status(leader).filter(|status| status.cache.held == 1));
    for n in 0..20 {
        writers[1].set("/other", n.to_string(), Expect::Any).wait_timeout(PATIENCE).expect("written");
    }
    held.wait_timeout(PATIENCE).expect("written, once the dead client's lease was over");
    let account = cell.status(leader).expect("it answers").cache;
    assert_eq!((account.held, account.run_out, account.holding), (1, 1, 0), "no other write waited");
}

/// A client that closes leaves nothing behind that anybody would have to wait for.
#[test]
fn the_command_line_reads_from_memory_and_leaves_nothing() {
    let cell = Cell::start(1, "");
    let writer = cell.connect();
    writer.create("/a", "x", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let done = Command::new(QUORATE)
        .args(["get", "--cached", "200000", "--endpoints", &cell.endpoints(), "/a"])
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && done.stdout == b"x\n", "{told}");
    let hits: u64 = told.split(&[':', ' '][..]).filter_map(|word| word.parse().ok()).nth(1).expect("a number");
    assert!(hits > 100_000, "{told}");
    cell.wait("nothing to be kept", |cell| cell.status(0).filter(|status| status.cache.grants == 0));
    writer.set("/a", "y", Expect::Any).wait_timeout(PATIENCE).expect("written");
    assert_eq!(cell.status(0).expect("it answers").cache.held, 0);
}
