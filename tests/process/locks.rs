//! Locks between real processes: held across a fail-over, passed on after a death, handed over to hundreds in turn.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use quorate::client::{Client, CreateOptions, Error, Expect, LockGuard, LockOptions, Watch, WatchEvent};
use quorate::server::Code;
use rustix::process::{Pid, Signal, kill_process};

use super::cell::{Cell, PATIENCE, QUORATE};
use super::recipes::Ends;

/// The configurations that everything must hold under: one loop for all, and a loop for the replica beside two for its
/// clients.
const CORES: [&str; 2] = ["", "[server]\ncores = [0, 1, 0]\n"];

fn connect(cell: &Cell, session: &str) -> Client {
    let target = format!("quorate://{}?session={session}", cell.endpoints());
    Client::connect(&target).wait_timeout(PATIENCE).expect("a session")
}

fn lock(client: &Client, path: &str) -> LockGuard {
    client.lock(path, LockOptions::exclusive()).wait_timeout(PATIENCE).expect("the lock")
}

/// `quorate lock` at work.
fn run_locked(cell: &Cell, options: &[&str], session: &str, program: &[&str]) -> Child {
    Command::new(QUORATE)
        .args(["lock", "/l", "--endpoints", &format!("quorate://{}?session={session}", cell.endpoints())])
        .args(options)
        .arg("--")
        .args(program)
        // Never in the foreground, whoever runs the tests.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it can be signalled");
}

fn wait_until_held(cell: &Cell, client: &Client) {
    cell.wait("a holder", |_| {
        let holders = client.lock_holders("/l").wait_timeout(PATIENCE).ok()?;
        (holders.sessions.len() == 1).then_some(())
    });
}

#[test]
fn a_lock_and_its_queue_outlive_the_leader() {
    for settings in CORES {
        let mut cell = Cell::start(3, settings);
        let (holder, waiter) = (connect(&cell, "10s"), connect(&cell, "10s"));
        let guard = lock(&holder, "/l");
        let waiting = waiter.lock("/l", LockOptions::exclusive());
        for _ in 0..2 {
            let leader = cell.kill_leader();
            holder
                .create("/by-holder", "", CreateOptions::permanent().sequential())
                .wait_timeout(PATIENCE)
                .expect("a leader");
            cell.restart(leader);
        }
        assert!(guard.is_held() && !waiting.is_answered(), "it is held by whoever held it");
        assert!(holder.check_sequencer(&guard.sequencer()).wait_timeout(PATIENCE).expect("an answer"));
        guard.guarded().create("/guarded", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is held");
        let (token, sequencer) = (guard.token(), guard.sequencer());
        guard.release().wait_timeout(PATIENCE).expect("it is held");
        let next = waiting.wait_timeout(PATIENCE).expect("its turn");
        assert!(next.token() > token);
        assert!(!waiter.check_sequencer(&sequencer).wait_timeout(PATIENCE).expect("an answer"));
        let late = holder.txn().check_lock(&sequencer).create("/late", "", CreateOptions::permanent()).commit();
        let late = late.wait_timeout(PATIENCE).expect("an answer");
        assert!(matches!(late, quorate::client::TxnOutcome::Aborted { error: Error::Fenced { .. }, .. }), "{late:?}");
    }
}

/// Takes the lock over and over, each time to read a number and to write the next one, whatever is there by then.
fn count_under_a_lock(client: &Client, tokens: &Mutex<Vec<u64>>, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        let guard = lock(client, "/l");
        let (number, _) = client.get("/count").wait_timeout(PATIENCE).expect("it is there");
        let number: u64 = std::str::from_utf8(&number).ok().and_then(|number| number.parse().ok()).expect("a number");
        let write = guard.guarded().set("/count", (number + 1).to_string(), Expect::Any);
        write.wait_timeout(PATIENCE).expect("it is held, whoever leads");
        tokens.lock().expect("no thread panics with it").push(guard.token());
        if number.is_multiple_of(2) { guard.release().wait_timeout(PATIENCE).expect("it is held") } else { drop(guard) }
    }
}

/// Two holders at a time would lose a number; a write that is done twice, or a place in the queue that is forgotten, is seen too.
#[test]
fn what_is_counted_under_a_lock_is_counted_once_though_leaders_die() {
    for settings in CORES {
        let mut cell = Cell::start(3, settings);
        let clients: Vec<_> = (0..4).map(|_| connect(&cell, "10s")).collect();
        clients[0].create("/count", "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
        let (tokens, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        thread::scope(|scope| {
            let _ends = Ends(&over);
            let (tokens, over) = (&tokens, &over);
            clients.iter().for_each(|client| _ = scope.spawn(move || count_under_a_lock(client, tokens, over)));
            let progress = |cell: &Cell| {
                let turns = || tokens.lock().expect("no thread panics with it").len();
                let wanted = turns() + 25;
                cell.wait("turns", |_| (turns() >= wanted).then_some(()));
            };
            progress(&cell);
            for _ in 0..2 {
                cell.outlive_leader(progress);
            }
        });
        let tokens = tokens.into_inner().expect("no thread panics with it");
        assert!(tokens.is_sorted_by(|one, next| one < next), "tokens rise: {tokens:?}");
        let (count, stat) = clients[0].get("/count").wait_timeout(PATIENCE).expect("it is there");
        assert_eq!((count, stat.version), (tokens.len().to_string().into(), tokens.len() as u64));
    }
}

#[test]
fn a_dead_holders_lock_comes_free_after_its_session_and_the_delay() {
    let mut cell = Cell::start(3, "");
    let waiter = connect(&cell, "10s");
    let mut holder = run_locked(&cell, &["--lock-delay", "2s"], "2s", &["sleep", "1000"]);
    wait_until_held(&cell, &waiter);
    holder.kill().expect("it runs");
    let died = Instant::now();
    holder.wait().expect("it was killed");
    let waiting = waiter.lock("/l", LockOptions::exclusive());
    // The delay is the log's, and goes on under another leader.
    cell.wait("the loss", |_| {
        let holders = waiter.lock_holders("/l").wait_timeout(PATIENCE).ok()?;
        (holders.lost == 1 && holders.sessions.is_empty() && holders.waiting == 1).then_some(())
    });
    let leader = cell.kill_leader();
    let guard = waiting.wait_timeout(PATIENCE).expect("its turn");
    assert!(died.elapsed() > Duration::from_secs(3), "a session of 2 s less its last sign of life, and 2 s");
    cell.restart(leader);
    drop(guard);
    let again = connect(&cell, "10s");
    lock(&again, "/l").release().wait_timeout(PATIENCE).expect("a dropped guard gives the lock up");
}

#[test]
fn hundreds_wait_and_each_has_its_turn_once() {
    const WAITERS: usize = 150;
    for settings in CORES {
        let cell = Cell::start(3, settings);
        let clients: Vec<_> = (0..WAITERS).map(|_| connect(&cell, "20s")).collect();
        let first = connect(&cell, "20s");
        first.create("/count", "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
        let guard = lock(&first, "/l");
        // One after the other, so that the order is known.
        let waiting: Vec<_> = clients
            .iter()
            .map(|client| {
                let op = client.lock("/l", LockOptions::exclusive());
                client.sync().wait_timeout(PATIENCE).expect("the acquisition went before it");
                op
            })
            .collect();
        let holders = first.lock_holders("/l").wait_timeout(PATIENCE).expect("an answer");
        assert_eq!((holders.sessions, holders.waiting as usize), (vec![first.session()], WAITERS));
        let mut token = guard.token();
        drop(guard);
        for (at, op) in waiting.into_iter().enumerate() {
            let guard = op.wait_timeout(PATIENCE).expect("its turn");
            assert!(guard.token() > token, "tokens rise");
            token = guard.token();
            let write = guard.guarded().set("/count", (at + 1).to_string(), Expect::Version(at as u64));
            write.wait_timeout(PATIENCE).expect("alone in its turn");
            guard.release().wait_timeout(PATIENCE).expect("it holds");
        }
        let (count, _) = first.get("/count").wait_timeout(PATIENCE).expect("it is there");
        assert_eq!(count, WAITERS.to_string());
    }
}

#[test]
fn who_stops_waiting_leaves_the_queue() {
    let cell = Cell::start(3, "");
    let clients: Vec<_> = (0..3).map(|_| connect(&cell, "10s")).collect();
    let guard = lock(&clients[0], "/l");
    let impatient = clients[1].lock("/l", LockOptions::exclusive()).wait_timeout(Duration::from_millis(200));
    assert!(matches!(impatient, Err(Error::Deadline { .. })));
    cell.wait("the place to be left", |_| {
        let holders = clients[1].lock_holders("/l").wait_timeout(PATIENCE).ok()?;
        (holders.waiting == 0).then_some(())
    });
    let busy = clients[2].try_lock("/l", LockOptions::shared()).wait_timeout(PATIENCE).expect("an answer");
    assert!(busy.is_none());
    guard.release().wait_timeout(PATIENCE).expect("it is held");
    let shared: Vec<_> = clients
        .iter()
        .map(|client| client.lock("/l", LockOptions::shared()).wait_timeout(PATIENCE).expect("readers share"))
        .collect();
    let twice = clients[0].lock("/l", LockOptions::shared()).wait_timeout(PATIENCE);
    assert!(matches!(twice, Err(Error::LockTwice { .. })), "{twice:?}");
    assert!(shared.iter().all(|guard| guard.token() == shared[0].token()));
    clients[2].delete("/l", Expect::Any).wait_timeout(PATIENCE).expect("a lock is advice");
    let write = shared[0].guarded().create("/x", "", CreateOptions::permanent()).wait_timeout(PATIENCE);
    assert!(matches!(write, Err(Error::Fenced { current: 0, .. })), "{write:?}");
}

#[test]
fn who_gives_up_early_takes_no_claim_along_but_its_own() {
    let cell = Cell::start(3, "");
    let (client, other) = (connect(&cell, "10s"), connect(&cell, "10s"));
    let is_held =
        |guard: &LockGuard| other.check_sequencer(&guard.sequencer()).wait_timeout(PATIENCE).expect("an answer");
    // One task of the program has the lock, another gives up before the cell tells it so.
    let guard = lock(&client, "/l");
    let sharer = client.clone();
    (0..3).for_each(|index| cell.signal(index, Signal::STOP));
    let impatient =
        std::thread::spawn(move || sharer.lock("/l", LockOptions::exclusive()).wait_timeout(Duration::ZERO));
    let gave_up = impatient.join().expect("it only waits");
    (0..3).for_each(|index| cell.signal(index, Signal::CONT));
    assert!(matches!(gave_up, Err(Error::Deadline { .. })), "{:?}", gave_up.err());
    client.sync().wait_timeout(PATIENCE).expect("all before it is answered");
    assert!(guard.is_held() && is_held(&guard), "it is held, and the guard says so");

    // Among readers the token does not tell one claim from the next.
    let reader = other.lock("/s", LockOptions::shared()).wait_timeout(PATIENCE).expect("nobody has it");
    drop(client.lock("/s", LockOptions::shared()));
    let again = cell.wait("the first claim to be given up", |_| {
        match client.lock("/s", LockOptions::shared()).wait_timeout(PATIENCE) {
            Err(Error::LockTwice { .. }) => None,
            taken => Some(taken.expect("readers share")),
        }
    });
    client.sync().wait_timeout(PATIENCE).expect("all before it is answered");
    let holders = other.lock_holders("/s").wait_timeout(PATIENCE).expect("an answer");
    assert!(holders.sessions.contains(&client.session()), "{holders:?}");
    assert_eq!(again.token(), reader.token());
}

#[test]
fn a_program_runs_under_the_lock_and_ends_when_it_is_lost() {
    let mut cell = Cell::start(3, "");
    let script = "test -n \"$QUORATE_LOCK_TOKEN\" && echo \"$QUORATE_LOCK_PATH\" && exit 7";
    let done = run_locked(&cell, &[], "2s", &["sh", "-c", script]).wait_with_output().expect("it ends");
    assert_eq!((done.status.code(), &done.stdout[..]), (Some(7), &b"/l\n"[..]), "{done:?}");

    let watcher = connect(&cell, "10s");
    let holder = run_locked(&cell, &[], "2s", &["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"]);
    wait_until_held(&cell, &watcher);
    let busy = run_locked(&cell, &["--wait", "0s"], "2s", &["true"]).wait_with_output().expect("it ends");
    assert_eq!(busy.status.code(), Some(1), "{busy:?}");
    cell.kill_all();
    let ended = holder.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(9), "without a cell the lease runs out: {ended:?}");
}

#[test]
fn a_program_ends_when_the_node_of_its_lock_is_deleted() {
    let mut cell = Cell::start(3, "");
    let client = connect(&cell, "10s");
    let script = "trap 'exit 9' TERM; while :; do sleep 0.05; done";
    let holder = run_locked(&cell, &[], "10s", &["sh", "-c", script]);
    wait_until_held(&cell, &client);
    // What was not told because the leader died is found out, and a lock that is held is kept.
    let leader = cell.kill_leader();
    cell.restart(leader);
    wait_until_held(&cell, &client);
    client.delete("/l", Expect::Any).wait_timeout(PATIENCE).expect("a lock is advice");
    let ended = holder.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(9) && told.contains("/l was deleted"), "{ended:?}");
}

#[test]
fn a_program_that_ends_well_though_its_lock_was_lost_does_not_pass_for_done() {
    let cell = Cell::start(1, "");
    cell.leader();
    let client = connect(&cell, "10s");
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let mut holder = run_locked(&cell, &[], "10s", &["sh", "-c", script]);
    BufReader::new(holder.stdout.as_mut().expect("piped")).read_line(&mut String::new()).expect("it is ready");
    client.delete("/l", Expect::Any).wait_timeout(PATIENCE).expect("a lock is advice");
    let ended = holder.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(i32::from(Code::HeldLost.number())), "{ended:?}");
}

#[test]
fn who_is_ended_while_he_waits_leaves_nothing_behind() {
    let cell = Cell::start(3, "");
    let client = connect(&cell, "10s");
    let guard = lock(&client, "/l");
    let waiting = |count| {
        cell.wait("so many to wait", |_| {
            let holders = client.lock_holders("/l").wait_timeout(PATIENCE).ok()?;
            (holders.waiting == count).then_some(())
        });
    };
    for told in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut waiter = run_locked(&cell, &[], "60s", &["true"]);
        waiting(1);
        signal(&waiter, told);
        let status = waiter.wait().expect("it ends");
        assert_eq!(status.signal(), Some(told.as_raw()), "as any process does");
        // Long before its session would have been over by itself.
        waiting(0);
    }
    drop(guard);
}

#[test]
fn a_program_under_a_lock_writes_under_it_and_nobody_does_with_what_it_left_behind() {
    let cell = Cell::start(1, "");
    cell.leader();
    let client = connect(&cell, "10s");
    client.create("/state", "idle", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let under = "--under \"$QUORATE_LOCK_SEQUENCER\"";
    let txn = "\"if lock $QUORATE_LOCK_SEQUENCER\" 'then set /state done'";
    let script = format!(
        "set -e; {QUORATE} set {under} /state busy; {QUORATE} create {under} /state/part 1; \
         {QUORATE} delete {under} /state/part; {QUORATE} txn {txn} 2>&1; echo \"$QUORATE_LOCK_SEQUENCER\""
    );
    let endpoints = cell.endpoints();
    let mut command = Command::new(QUORATE);
    command.args(["lock", "/l", "--", "sh", "-c", &script]).env("QUORATE_ENDPOINTS", &endpoints);
    let done = command.output().expect("it starts");
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8(done.stdout).expect("text");
    let sequencer = said.lines().last().expect("it says it last");
    let (data, stat) = client.get("/state").wait_timeout(PATIENCE).expect("it is there");
    assert_eq!((&data[..], stat.version), (&b"done"[..], 2));

    for late in [
        vec!["set", "--under", sequencer, "/state", "late"],
        vec!["create", "--under", sequencer, "/late"],
        vec!["delete", "--under", sequencer, "/state"],
    ] {
        let done = Command::new(QUORATE).args(&late).env("QUORATE_ENDPOINTS", &endpoints).output().expect("it starts");
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && told.contains("is not held with token"), "{late:?}: {told}");
    }
    let stat = client.exists("/state").wait_timeout(PATIENCE).expect("it answers").expect("it is there");
    assert_eq!(stat.version, 2, "what came late changed nothing");
}

#[test]
fn a_lost_lock_leaves_nothing_of_the_program_behind() {
    let mut cell = Cell::start(3, "");
    let watcher = connect(&cell, "10s");
    // Neither it nor what it started ends when it is told to, and nobody reads what is said of that.
    let script = "trap '' TERM; sleep 1000 & echo $!; wait";
    let mut holder = run_locked(&cell, &["--timeout", "100s"], "2s", &["sh", "-c", script]);
    drop(holder.stderr.take());
    let mut started = String::new();
    BufReader::new(holder.stdout.as_mut().expect("piped")).read_line(&mut started).expect("its number");
    wait_until_held(&cell, &watcher);
    cell.kill_all();
    // Nor does it wait for answers that cannot come.
    let ended = cell.wait("the end", |_| holder.try_wait().expect("a child"));
    assert_eq!(ended.code(), Some(128 + Signal::KILL.as_raw()));
    cell.wait("the end of what it started", |_| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", started.trim()));
        stat.map_or(true, |stat| stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn signals_to_a_lock_are_its_program_s() {
    let cell = Cell::start(1, "");
    cell.leader();
    for (passed, status) in [(Signal::INT, 7), (Signal::TERM, 8), (Signal::HUP, 8)] {
        let script = "trap 'exit 7' INT; trap 'exit 8' TERM; echo ready; while :; do sleep 0.05; done";
        let mut holder = run_locked(&cell, &[], "10s", &["sh", "-c", script]);
        BufReader::new(holder.stdout.as_mut().expect("piped")).read_line(&mut String::new()).expect("it is ready");
        // Whoever has just started it may not listen yet.
        let ended = cell.wait("the end", |_| {
            signal(&holder, passed);
            holder.try_wait().expect("a child")
        });
        assert_eq!(ended.code(), Some(status), "{passed:?}: {ended:?}");
    }
}

#[test]
fn a_program_runs_while_it_leads_and_another_after_it() {
    let cell = Cell::start(3, "");
    let elect = |options: &[&str], program: &[&str]| {
        Command::new(QUORATE)
            .args(["elect", "/e", "--endpoints", &cell.endpoints()])
            .args(options)
            .args(if program.is_empty() { &[][..] } else { &["--"] })
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts")
    };
    let first = elect(&["--value", "first"], &["cat"]);
    let client = connect(&cell, "10s");
    cell.wait("a leader", |_| client.get("/e/leader").wait_timeout(PATIENCE).ok());
    let refused = elect(&["--wait", "50ms"], &["true"]).wait_with_output().expect("it ends");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let second = elect(&["--value", "second"], &["sh", "-c", "cat; test -n \"$QUORATE_LOCK_TOKEN\" && exit 7"]);
    let told = elect(&["--observe", "--count", "1"], &[]).wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.starts_with("leader ") && told.ends_with(" first\n"), "{told}");
    // Its input ends, and so does its term.
    assert_eq!(first.wait_with_output().expect("it ends").status.code(), Some(0));
    cell.wait("another leader", |_| {
        client.get("/e/leader").wait_timeout(PATIENCE).ok().filter(|(value, _)| &value[..] == b"second")
    });
    assert_eq!(second.wait_with_output().expect("it ends").status.code(), Some(7));
    let told = elect(&["--observe", "--count", "1", "--json"], &[]).wait_with_output().expect("it ends");
    assert_eq!(&told.stdout[..], b"{\"term\":null}\n");
}

fn next_wanted(watch: &mut Watch) -> u64 {
    match watch.next_timeout(PATIENCE).expect("the event in time").expect("the session lives") {
        WatchEvent::Wanted { path, revision } if path == "/l" => revision,
        other => panic!("{other:?} is no word of somebody who waits"),
    }
}

#[test]
fn a_holder_hears_who_wants_its_lock_under_any_leader() {
    let mut cell = Cell::start(3, "");
    let [first, second, third] = [(); 3].map(|()| connect(&cell, "10s"));
    let (printer, line) = cell.start_watching(&["--lock", "--count", "2", "/l"]);
    assert!(line.starts_with("watching /l "), "{line}");
    let guard = lock(&first, "/l");
    let mut wanted = guard.wanted().wait_timeout(PATIENCE).expect("it stands");
    let refused = second.try_lock("/l", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("an answer");
    assert!(refused.is_none(), "it is held");
    let seconds = second.lock("/l", LockOptions::exclusive());
    let told = [next_wanted(&mut wanted), {
        let leader = cell.kill_leader();
        let thirds = third.lock("/l", LockOptions::exclusive());
        let told = next_wanted(&mut wanted);
        cell.restart(leader);
        // The next holder is told at once of the one who waits still.
        guard.release().wait_timeout(PATIENCE).expect("it is held");
        let next = seconds.wait_timeout(PATIENCE).expect("its turn");
        let mut wanted = next.wanted().wait_timeout(PATIENCE).expect("it stands");
        assert_eq!(next_wanted(&mut wanted), next.token(), "somebody waited when it came");
        next.release().wait_timeout(PATIENCE).expect("it is held");
        let last = thirds.wait_timeout(PATIENCE).expect("its turn");
        let mut wanted = last.wanted().wait_timeout(PATIENCE).expect("it stands");
        last.release().wait_timeout(PATIENCE).expect("it is held");
        first.delete("/l", Expect::Any).wait_timeout(PATIENCE).expect("it is there");
        let end = wanted.next_timeout(PATIENCE).expect("the event in time").expect("the session lives");
        assert!(matches!(end, WatchEvent::Deleted { .. }), "nobody wanted it: {end:?}");
        told
    }];
    let printed = printer.wait_with_output().expect("it ends");
    let lines = told.map(|revision| format!("wanted {revision} /l\n"));
    assert_eq!(String::from_utf8_lossy(&printed.stdout), lines.concat());
}

#[test]
fn a_lock_that_nobody_else_wants_costs_two_entries() {
    const PAIRS: u64 = 50;
    let cell = Cell::start(3, "");
    let client = connect(&cell, "10s");
    lock(&client, "/l").release().wait_timeout(PATIENCE).expect("released");
    let costs = (0..5).map(|_| {
        let from = client.revision();
        for _ in 0..PAIRS {
            lock(&client, "/l").release().wait_timeout(PATIENCE).expect("released");
        }
        client.revision() - from
    });
    // Each command waits for the answer to the one before, so none shares its entry; a leader that a busy host made give up
    // adds one of its own, and not in every run.
    let least = costs.min().expect("five runs");
    assert_eq!(least, 2 * PAIRS, "one command to take it, one to give it up");
}
