//! Handles between real processes: across the death of leaders, and of those who hold nodes open.

use std::io::{BufRead, BufReader};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_core::Stream;
use rustix::process::Signal;

use quorate::client::{
    Client, CreateOptions, Error, Expect, Handle, HandleEvent, HandleEvents, HandleLost, HandleToken, LockMode,
    LockOptions, OpenOptions, Outcome, TxnOutcome, WatchEvent, WatchOptions,
};

use super::cell::{Cell, PATIENCE, QUORATE};

fn connect(cell: &Cell, session: &str) -> Client {
    let target = format!("quorate://{}?session={session}", cell.endpoints());
    Client::connect(&target).wait_timeout(PATIENCE).expect("a session")
}

fn open(client: &Client, path: &str) -> Handle {
    let options = OpenOptions::all().create("first", CreateOptions::transient().parents());
    client.open(path, options).wait_timeout(PATIENCE).expect("it may be opened")
}

fn lives(client: &Client, path: &str) -> bool {
    client.exists(path).wait_timeout(PATIENCE).expect("an answer").is_some()
}

/// A command line's words to standard output, or none if it fails.
fn said(cell: &Cell, args: &[&str]) -> Option<String> {
    let done = Command::new(QUORATE).args(args).args(["--endpoints", &cell.endpoints()]).output();
    let done = done.expect("the program runs");
    done.status.success().then(|| String::from_utf8(done.stdout).expect("it is text"))
}

#[test]
fn a_transient_node_and_its_handles_outlive_leaders_and_go_together() {
    for settings in ["", "[server]\ncores = [0, 1, 0]\n"] {
        let mut cell = Cell::start(3, settings);
        let (one, other) = (connect(&cell, "20s"), connect(&cell, "20s"));
        let first = open(&one, "/t/x");
        let mut events = first.events(WatchOptions::node()).wait_timeout(PATIENCE).expect("a stream");
        cell.outlive_leader(|cell| _ = cell.leader());
        first.set("second", Expect::Version(0)).wait_timeout(PATIENCE).expect("it is open");
        let second = open(&other, "/t/x");
        assert!(first.created() && !second.created());
        assert!(second.token().reign > first.token().reign, "another leader's reign");
        cell.outlive_leader(|cell| _ = cell.leader());
        let (data, stat) = second.get().wait_timeout(PATIENCE).expect("it is open");
        assert_eq!((&data[..], stat.version), (&b"second"[..], 1));
        let token: HandleToken = first.token().to_string().parse().expect("it was printed");
        first.close().wait_timeout(PATIENCE).expect("closing never fails");
        assert!(lives(&one, "/t/x"), "another has it open");
        let closed = one.handle(token).get().wait_timeout(PATIENCE);
        assert!(matches!(&closed, Err(Error::HandleClosed { path }) if path == "/t/x"), "{closed:?}");
        cell.outlive_leader(|cell| _ = cell.leader());
        drop(second);
        other.sync().wait_timeout(PATIENCE).expect("a leader");
        assert!(!lives(&one, "/t/x") && lives(&one, "/t"), "a handle that is dropped is closed");
        let mut seen = Vec::new();
        while seen.last() != Some(&HandleEvent::Invalid(HandleLost::Gone)) {
            seen.push(events.next_timeout(PATIENCE).expect("an event"));
        }
        let is_change = |event: &WatchEvent| matches!(event, WatchEvent::Changed { .. });
        let changed = |event: &&HandleEvent| matches!(event, HandleEvent::Node(event) if is_change(event));
        assert_eq!(seen.iter().filter(changed).count(), 1, "{seen:?}");
        assert!(events.next().wait().is_none() && events.is_over(), "that was the last");
    }
}

#[test]
fn a_handle_is_of_an_instance_and_of_nobody_who_makes_one_up() {
    let mut cell = Cell::start(3, "");
    let (client, other) = (connect(&cell, "20s"), connect(&cell, "20s"));
    let root = client.chroot("/app").expect("a path");
    client.create("/app", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let options = OpenOptions::write().create("1", CreateOptions::permanent());
    let handle = root.open("/config", options).wait_timeout(PATIENCE).expect("it may be opened");
    assert_eq!((handle.path().as_str(), handle.token().path.as_str()), ("/config", "/app/config"));
    // Whoever it is shown to uses it; only the owner closes it.
    let shown = other.handle(handle.token().clone());
    shown.set("2", Expect::Any).wait_timeout(PATIENCE).expect("it is open");
    assert!(matches!(shown.close().wait_timeout(PATIENCE), Err(Error::HandleForeign { .. })));
    handle.create("below", "3", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is a directory too");
    let below = handle.open("below", OpenOptions::read()).wait_timeout(PATIENCE).expect("it is there");
    assert_eq!(&below.get().wait_timeout(PATIENCE).expect("it is open").0[..], b"3");
    let lacks = below.set("4", Expect::Any).wait_timeout(PATIENCE);
    assert!(matches!(&lacks, Err(Error::HandleLacks { path, .. }) if path == "/config/below"), "{lacks:?}");
    let page = handle.list_page("", 0).wait_timeout(PATIENCE).expect("it is open");
    assert_eq!(page.entries.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["below"]);
    let forged = HandleToken { mode: quorate::client::HandleMode::ALL, ..below.token().clone() };
    let forged = other.handle(forged).set("4", Expect::Any).wait_timeout(PATIENCE);
    assert!(matches!(&forged, Err(Error::HandleForged { .. })), "{forged:?}");
    // The same name, and another node.
    client.delete_tree("/app/config", Expect::Any).wait_timeout(PATIENCE).expect("it is there");
    client.create("/app/config", "5", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is gone");
    cell.outlive_leader(|cell| _ = cell.leader());
    let late = handle.set("late", Expect::Any).wait_timeout(PATIENCE);
    assert!(matches!(&late, Err(Error::HandleGone { path }) if path == "/config"), "{late:?}");
    assert!(matches!(handle.get().wait_timeout(PATIENCE), Err(Error::HandleGone { .. })));
    let checked = client.txn().check_handle(handle.token()).create("/late", "", CreateOptions::permanent()).commit();
    let checked = checked.wait_timeout(PATIENCE).expect("an answer");
    assert!(matches!(&checked, TxnOutcome::Aborted { index: 0, error: Error::HandleGone { .. } }), "{checked:?}");
    handle.close().wait_timeout(PATIENCE).expect("closing never fails");
    assert_eq!(&client.get("/app/config").wait_timeout(PATIENCE).expect("it is there").0[..], b"5");
}

#[test]
fn poison_calls_back_what_waits_and_keeps_the_node_open() {
    let cell = Cell::start(1, "");
    let (holder, client) = (connect(&cell, "20s"), connect(&cell, "20s"));
    let handle = open(&client, "/l");
    let guard = holder.lock("/l", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("it is free");
    let mut events = handle.events(WatchOptions::node()).wait_timeout(PATIENCE).expect("a stream");
    assert!(handle.try_lock(LockMode::Shared).wait_timeout(PATIENCE).expect("an answer").is_none());
    let waiting = handle.lock(LockMode::Exclusive);
    cell.wait("the queue", |_| {
        let holders = holder.lock_holders("/l").wait_timeout(PATIENCE).ok()?;
        (holders.waiting == 1).then_some(())
    });
    handle.poison();
    let poisoned = waiting.wait_timeout(PATIENCE).expect_err("it was called back");
    assert!(matches!(&poisoned, Error::HandlePoisoned { path, outcome: Outcome::Unknown } if path == "/l"));
    let later = handle.get().wait_timeout(PATIENCE).expect_err("it is poisoned");
    assert!(matches!(later, Error::HandlePoisoned { outcome: Outcome::NotApplied, .. }) && handle.is_poisoned());
    assert_eq!(events.next().wait(), Some(HandleEvent::Invalid(HandleLost::Poisoned)));
    cell.wait("the place in the queue to be left", |_| {
        let holders = holder.lock_holders("/l").wait_timeout(PATIENCE).ok()?;
        (holders.waiting == 0).then_some(())
    });
    drop(guard);
    assert!(lives(&client, "/l"), "poison closes nothing");
    handle.close().wait_timeout(PATIENCE).expect("closing never fails");
    assert!(!lives(&client, "/l"));
}

/// No event of the node says that a handle is closed, and its stream ends nevertheless: at whoever holds it, and at whoever
/// was shown it, before or after.
#[test]
fn the_events_of_a_handle_end_when_it_is_closed_here_or_elsewhere() {
    let cell = Cell::start(1, "");
    let (owner, other) = (connect(&cell, "20s"), connect(&cell, "20s"));
    let open = |data: &str| {
        let options = OpenOptions::write().create(data.to_owned(), CreateOptions::permanent());
        owner.open("/h", options).wait_timeout(PATIENCE).expect("it may be opened")
    };
    let events = |handle: &Handle| handle.events(WatchOptions::node()).wait_timeout(PATIENCE).expect("a stream");
    let gone = Some(HandleEvent::Invalid(HandleLost::Gone));
    let (closed, dropped) = (open("1"), open("2"));
    let shown = other.handle(closed.token().clone());
    let mut streams = [events(&closed), events(&shown)];
    let mut of_dropped = events(&dropped);
    for stream in &mut streams {
        let polled = Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "it is open: {polled:?}");
    }
    closed.set("3", Expect::Any).wait_timeout(PATIENCE).expect("it is open");
    closed.close().wait_timeout(PATIENCE).expect("closing never fails");
    for stream in &mut streams {
        let changed = stream.next_timeout(PATIENCE);
        assert!(matches!(&changed, Some(HandleEvent::Node(event)) if event.path() == Some("/h")), "{changed:?}");
        assert_eq!(stream.next_timeout(PATIENCE), gone);
        assert!(stream.next().wait().is_none() && stream.is_over(), "that was the last");
    }
    drop(dropped);
    assert!(matches!(of_dropped.next_timeout(PATIENCE), Some(HandleEvent::Node(_))));
    assert_eq!(of_dropped.next_timeout(PATIENCE), gone, "a handle that is dropped is closed");
    let mut late = events(&shown);
    assert!(matches!(late.next_timeout(PATIENCE), Some(HandleEvent::Node(_))), "from the opening on");
    assert_eq!(late.next_timeout(PATIENCE), gone, "it was closed before it was asked");
    assert!(lives(&owner, "/h"), "the node stays");
}

/// What happened before may come after the answer to the closing, but never after the answer to what is asked later: only that
/// one ends a stream.
#[test]
fn a_stream_ends_when_the_cell_says_of_its_handle_that_it_is_closed() {
    let cell = Cell::start(1, "");
    let client = connect(&cell, "20s");
    let options = OpenOptions::write().create("1", CreateOptions::permanent());
    let handle = client.open("/h", options).wait_timeout(PATIENCE).expect("it may be opened");
    let mut events = handle.events(WatchOptions::node()).wait_timeout(PATIENCE).expect("a stream");
    handle.close().wait_timeout(PATIENCE).expect("closing never fails");
    cell.signal(0, Signal::STOP);
    let told = events.next_timeout(Duration::from_secs(1));
    cell.signal(0, Signal::CONT);
    assert_eq!(told, None, "the cell says nothing");
    let last = std::iter::from_fn(|| events.next_timeout(PATIENCE)).last();
    assert_eq!(last, Some(HandleEvent::Invalid(HandleLost::Gone)));
}

/// Whoever was shown a handle asks about it now and then: it is gone when the answer is that it is, and not when there is none.
#[test]
fn a_handle_shown_elsewhere_outlives_leaders_and_ends_with_its_openers_session() {
    let mut cell = Cell::start(3, "");
    let (owner, other) = (connect(&cell, "20s"), connect(&cell, "20s"));
    let options = OpenOptions::write().create("1", CreateOptions::permanent());
    let opened = owner.open("/h", options).wait_timeout(PATIENCE).expect("it may be opened");
    let shown = other.handle(opened.token().clone());
    let events = || shown.events(WatchOptions::node()).wait_timeout(PATIENCE).expect("a stream");
    let still_open = || shown.stat().wait_timeout(PATIENCE).expect("it is open");
    // For longer than until it is asked about the second time.
    let goes_on = |stream: &mut HandleEvents| {
        let until = Instant::now() + Duration::from_millis(2500);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let told = stream.next_timeout(left);
            assert!(!matches!(told, Some(HandleEvent::Invalid(_))), "it is open: {told:?}");
        }
        assert!(!stream.is_over());
    };
    let mut first = events();
    goes_on(&mut first);
    cell.outlive_leader(|cell| _ = cell.leader());
    goes_on(&mut first);
    still_open();

    let mut second = events();
    let polled = Pin::new(&mut second).poll_next(&mut Context::from_waker(Waker::noop()));
    assert!(!matches!(polled, Poll::Ready(Some(HandleEvent::Invalid(_)))), "it is open: {polled:?}");
    // What the stream asked is answered by then.
    still_open();
    owner.close().wait_timeout(PATIENCE).expect("the cell is there");
    let last = std::iter::from_fn(|| second.next_timeout(PATIENCE)).last();
    assert_eq!(last, Some(HandleEvent::Invalid(HandleLost::Gone)));
    assert!(lives(&other, "/h"), "the node stays");
}

/// Whoever polls a stream of events in turn, only the last is woken, and nobody is kept in mind besides.
#[test]
fn a_stream_keeps_the_waker_of_who_polled_it_last() {
    struct Counted;
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }
    let cell = Cell::start(1, "");
    let client = connect(&cell, "20s");
    let handle = open(&client, "/n");
    let mut events = handle.events(WatchOptions::node()).wait_timeout(PATIENCE).expect("a stream");
    let polled: Vec<Weak<Counted>> = (0..100)
        .map(|_| {
            let counted = Arc::new(Counted);
            let waker = Waker::from(Arc::clone(&counted));
            assert!(Pin::new(&mut events).poll_next(&mut Context::from_waker(&waker)).is_pending());
            Arc::downgrade(&counted)
        })
        .collect();
    let alive = || polled.iter().filter(|waker| waker.strong_count() > 0).count();
    assert_eq!(alive(), 1);
    drop(events);
    // The driver lets go of the watch in its own time.
    cell.wait("the stream to be forgotten", |_| (alive() == 0).then_some(()));
}

/// `quorate open` at work.
fn run_open(cell: &Cell, session: &str, args: &[&str]) -> Child {
    Command::new(QUORATE)
        .args(["open", "--endpoints", &format!("quorate://{}?session={session}", cell.endpoints())])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

#[test]
fn a_program_keeps_its_node_there_until_it_ends_or_dies() {
    let mut cell = Cell::start(3, "");
    let client = connect(&cell, "20s");
    let script = "echo \"$QUORATE_HANDLE\"; exit 3";
    let ended = run_open(&cell, "20s", &["--transient", "-p", "/services/a", "one", "--", "sh", "-c", script]);
    let ended = ended.wait_with_output().expect("it ends by itself");
    assert_eq!(ended.status.code(), Some(3), "{}", String::from_utf8_lossy(&ended.stderr));
    let token = String::from_utf8(ended.stdout).expect("it is text");
    assert!(!lives(&client, "/services/a"), "it goes when the program has ended");
    assert_eq!(said(&cell, &["handle", "check", token.trim()]), None);

    let mut held = run_open(&cell, "3s", &["--transient", "/services/b", "two", "--", "sleep", "1000"]);
    cell.wait("the node", |_| lives(&client, "/services/b").then_some(()));
    let stat = said(&cell, &["stat", "--json", "/services/b"]).expect("it is there");
    assert!(stat.contains("\"transient\":true"), "{stat}");
    cell.outlive_leader(|cell| _ = cell.leader());
    assert!(lives(&client, "/services/b"));
    held.kill().expect("it runs");
    held.wait().expect("it was killed");
    cell.outlive_leader(|cell| _ = cell.leader());
    cell.wait("the dead session to end", |_| (!lives(&client, "/services/b")).then_some(()));

    // A handle that somebody opened is of use to a command, and the program ends with it.
    let handle = open(&client, "/services/c");
    let token = handle.token().to_string();
    assert_eq!(said(&cell, &["handle", "set", &token, "three"]).as_deref(), Some("version 1\n"));
    assert_eq!(said(&cell, &["handle", "get", &token]).as_deref(), Some("three\n"));
    assert!(said(&cell, &["handle", "check", &token]).expect("it is open").contains("version"));
    let script = "echo ready; exec sleep 1000";
    let mut held = run_open(&cell, "20s", &["/services/c", "--", "sh", "-c", script]);
    let mut line = String::new();
    BufReader::new(held.stdout.take().expect("it is piped")).read_line(&mut line).expect("it is text");
    assert_eq!(line, "ready\n");
    client.delete("/services/c", Expect::Any).wait_timeout(PATIENCE).expect("it is there");
    let ended = held.wait_with_output().expect("it is ended");
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && told.contains("good for nothing more"), "{told}");
}

#[test]
fn a_command_does_through_a_handle_what_it_is_good_for() {
    let cell = Cell::start(1, "");
    let client = connect(&cell, "20s");
    let handle = open(&client, "/services/a");
    let token = handle.token().to_string();
    assert_eq!(said(&cell, &["handle", "set", "--version", "0", &token, "two"]).as_deref(), Some("version 1\n"));
    assert_eq!(said(&cell, &["handle", "set", "--version", "0", &token, "three"]), None, "it has version 1");
    let made = said(&cell, &["handle", "create", "--sequential", &token, "job-", "waiting"]);
    assert_eq!(made.as_deref(), Some("/services/a/job-0000000000\n"));
    assert_eq!(said(&cell, &["handle", "ls", &token]).as_deref(), Some("job-0000000000\n"));
    assert_eq!(said(&cell, &["handle", "delete", &token]), None, "it has a child");
    client.delete("/services/a/job-0000000000", Expect::Any).wait_timeout(PATIENCE).expect("it is there");
    assert_eq!(said(&cell, &["handle", "delete", "--version", "1", &token]).as_deref(), Some(""));
    assert!(!lives(&client, "/services/a"));

    let _open = open(&client, "/services/b");
    let read = format!("{QUORATE} handle get \"$QUORATE_HANDLE\" --endpoints {}", cell.endpoints());
    let write = format!("{QUORATE} handle set \"$QUORATE_HANDLE\" x --endpoints {}", cell.endpoints());
    let ended = |program: &str| {
        let opened = run_open(&cell, "20s", &["--for", "read", "/services/b", "--", "sh", "-c", program]);
        opened.wait_with_output().expect("it ends").status.code()
    };
    assert_eq!((ended(&read), ended(&write)), (Some(0), Some(1)), "it was opened to read");
}
