//! What programs do to a client without meaning to: they stop for longer than its lease, have their clock set, drop a guard as
//! they die, end while they hold a lock, fork, and make thousands of clients.

use std::future::Future;
use std::io::Write;
use std::process::Command;
use std::task::{Context, Waker};

use quorate::client::{Client, CreateOptions, Expect, LockOptions};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use super::actors::{Actor, boot_time};
use super::cell::{Cell, PATIENCE, folder, path};

#[test]
fn a_process_that_wakes_after_its_lease_never_believes_that_it_holds_the_lock() {
    let cell = Cell::start(3, "");
    let holder = Actor::start("hold", &cell);
    assert_eq!(holder.hear(), "held");
    stops_for_longer_than_its_lease(&holder, &cell);
}

/// A process that believes to hold a lock is stopped until another has it, and wakes.
fn stops_for_longer_than_its_lease(holder: &Actor, cell: &Cell) {
    let client = cell.connect();
    holder.signal(Signal::STOP);
    let guard = client.lock("/lock", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("the lease runs out");
    let granted_at = boot_time();
    guard.guarded().set("/lock", "theirs", Expect::Any).wait_timeout(PATIENCE).expect("it is held");
    holder.signal(Signal::CONT);
    let words = holder.hear();
    let [_, believed_at, refused] = *words.split(' ').collect::<Vec<_>>() else { panic!("{words}") };
    let believed_at: u64 = believed_at.parse().expect("a time");
    assert!(believed_at < granted_at, "asked {} ns after another had the lock, it said yes", believed_at - granted_at);
    assert_eq!(refused, "true", "a write under the lost lock");
    let (data, _) = client.get("/lock").wait_timeout(PATIENCE).expect("it is there");
    assert_eq!(&data[..], b"theirs");
}

/// Three leases long the lock is held, and then lost as by any other: the calendar has no part in either.
#[test]
fn a_wall_clock_that_jumps_neither_loses_a_lock_nor_keeps_it() {
    let cell = Cell::start(1, "");
    cell.leader();
    let home = folder();
    let (source, shim) =
        (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/wall_clock.c"), home.path().join("wall_clock.so"));
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o", path(&shim), source, "-ldl"]).output();
    let built = built.expect("a C compiler, which `scripts/setup` installs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let holder = Actor::start_with("hold while clocks jump", &cell, &[("LD_PRELOAD", path(&shim))]);
    assert_eq!(holder.hear(), "held");
    let words = holder.hear();
    assert!(words.starts_with("held true jumped true"), "{words}");
    if words != "held true jumped true true" {
        // The library asks what the kernel maps into the process, which some kernels seal: then only libc's clocks jump.
        let _ = writeln!(
            std::io::stderr(),
            "PASSED OVER: the wall clock jumped for libc alone; this kernel seals its vDSO"
        );
    }
    stops_for_longer_than_its_lease(&holder, &cell);
}

#[test]
fn a_program_that_closes_its_client_before_it_ends_leaves_no_lock_behind() {
    let cell = Cell::start(1, "");
    cell.leader();
    let client = cell.connect();
    let closing = Actor::start("close", &cell);
    assert_eq!(closing.hear(), "held");
    // Its session alone would keep the lock for twice as long as anybody waits for it here.
    let guard = client.lock("/lock", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("it was given up");
    assert!(guard.is_held());
}

#[test]
fn a_forked_child_is_told_so_and_its_parent_goes_on() {
    let cell = Cell::start(1, "");
    cell.leader();
    let forking = Actor::start("fork", &cell);
    assert_eq!(forking.hear(), "child true true true true");
    assert_eq!(forking.hear(), "parent true true");
    assert_eq!(forking.hear(), "next true");
}

#[test]
fn the_library_s_thread_runs_where_it_is_told() {
    let cell = Cell::start(1, "");
    cell.leader();
    assert_eq!(Actor::start("pinned", &cell).hear(), "true true true true");
}

/// A task that takes a lock and never ends by itself.
async fn hold_for_ever(client: Client) {
    let _guard = client.lock("/lock", LockOptions::exclusive()).await.expect("the lock");
    std::future::pending::<()>().await;
}

#[test]
fn a_guard_dropped_by_a_dying_runtime_gives_its_lock_up() {
    let cell = Cell::start(1, "");
    cell.leader();
    let (client, other) = (cell.connect(), cell.connect());
    let holder = client.clone();
    let runtime = std::thread::spawn(move || {
        let mut task = Box::pin(hold_for_ever(holder.clone()));
        let mut context = Context::from_waker(Waker::noop());
        while holder.lock_holders("/lock").wait_timeout(PATIENCE).map_or(true, |lock| lock.sequencer.is_none()) {
            assert!(task.as_mut().poll(&mut context).is_pending());
        }
        // The guard may not have reached the task yet.
        assert!(task.as_mut().poll(&mut context).is_pending());
        panic!("the runtime dies with its tasks");
    });
    assert!(runtime.join().is_err());
    let guard = other.lock("/lock", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("it was given up");
    assert!(guard.is_held() && client.is_safe(), "the session is as it was");
}

#[test]
fn thousands_of_clients_share_a_thread() {
    const CLIENTS: usize = 2000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the maximum anybody may");
    let cell = Cell::start(1, "");
    cell.leader();
    let first = cell.connect();
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("listed");
        tasks.flatten().filter(is_ours).count()
    };
    assert_eq!(threads(), 1);
    let opening: Vec<_> =
        (0..CLIENTS).map(|_| Client::connect(&format!("quorate://{}?session=60s", cell.endpoints()))).collect();
    let clients: Vec<_> = opening.into_iter().map(|op| op.wait_timeout(PATIENCE).expect("a session")).collect();
    let made: Vec<_> =
        clients.iter().enumerate().map(|(n, c)| c.create(&format!("/c{n}"), "", CreateOptions::ephemeral())).collect();
    made.into_iter().for_each(|op| _ = op.wait_timeout(PATIENCE).expect("made"));
    assert_eq!(threads(), 1, "however many there are");
    assert_eq!(first.list("/").wait_timeout(PATIENCE).expect("listed").0.len(), CLIENTS);
    let closing: Vec<_> = clients.into_iter().map(Client::close).collect();
    closing.into_iter().for_each(|op| op.wait_timeout(PATIENCE).expect("closed"));
    assert!(first.list("/").wait_timeout(PATIENCE).expect("listed").0.is_empty());
}

/// Whether it is a thread of the library.
fn is_ours(task: &std::fs::DirEntry) -> bool {
    std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("quorate-client"))
}
