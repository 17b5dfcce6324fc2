//! A session goes on in another process, whatever becomes of the first one and of the leader.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use quorate::client::{Client, Credentials, Error, Expect, LockOptions, SavedSession};
use rustix::process::Signal;

use super::actors::Actor;
use super::cell::{Cell, PATIENCE, path, run};

/// The session that a writer has saved, and the token of its lock.
fn told(actor: &Actor) -> (u64, SavedSession) {
    let words = actor.hear();
    let [_, token, saved] = *words.split(' ').collect::<Vec<_>>() else { panic!("{words}") };
    (token.parse().expect("a number"), saved.parse().expect("a saved session"))
}

fn resume(cell: &Cell, saved: SavedSession) -> Client {
    let builder = Client::builder(&cell.endpoints()).expect("addresses").resume(saved);
    builder.connect().wait_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}: {}", cell.logs()))
}

/// What was written last, and how often something was.
fn written(client: &Client) -> (u64, u64) {
    let (data, stat) = client.get("/written").wait_timeout(PATIENCE).expect("it is there");
    (std::str::from_utf8(&data).expect("digits").parse().expect("a number"), stat.version)
}

/// Everything the first process asked for was done once or not at all, and the second one knows what.
fn judge(client: &Client, saved: SavedSession, token: u64) {
    let before = client.applied_before();
    assert!(before > saved.requests(), "it wrote something");
    let count = before - saved.requests();
    assert_eq!(written(client), (count, count), "each request once, in order, up to the one that is named");
    assert!(client.exists("/alive").wait_timeout(PATIENCE).expect("told").is_some(), "ephemeral nodes live on");
    let twice = client.lock("/lock", LockOptions::exclusive()).wait_timeout(PATIENCE);
    assert!(matches!(twice, Err(Error::LockTwice { .. })), "it is the session's already: {twice:?}");
    let guard = client.resume_lock("/lock").wait_timeout(PATIENCE).expect("told").expect("it is held");
    assert_eq!(guard.token(), token, "the lock was held all the time");
    assert!(guard.is_held());
    guard.guarded().set("/written", "mine", Expect::Version(count)).wait_timeout(PATIENCE).expect("nobody wrote");
    let (_, stat) = client.get("/written").wait_timeout(PATIENCE).expect("it is there");
    assert_eq!(stat.version, count + 1, "nothing of the first process comes later");
    assert!(client.resume_lock("/none").wait_timeout(PATIENCE).expect("told").is_none());
    assert_eq!(guard.forget().generation, token);
}

#[test]
fn a_killed_process_is_followed_by_one_that_knows_what_it_did() {
    let mut cell = Cell::start(3, "");
    let leader = cell.leader();
    let writer = Actor::start("write", &cell);
    let (token, saved) = told(&writer);
    assert!(writer.hear().starts_with("wrote"));
    cell.kill(leader);
    writer.kill();
    let client = resume(&cell, saved);
    judge(&client, saved, token);
    let other = cell.connect();
    let taken = other.try_lock("/lock", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("told");
    assert!(taken.is_none(), "nobody else had a chance");

    let handed = client.hand_over().wait_timeout(PATIENCE).expect("handed over");
    let third = resume(&cell, handed);
    assert_eq!(third.applied_before(), handed.requests(), "everything was answered before");
    third.close().wait_timeout(PATIENCE).expect("closed");
    let guard = other.lock("/lock", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("it is free");
    assert!(guard.token() > token);
    let gone = Client::builder(&cell.endpoints()).expect("addresses").resume(handed).connect().wait_timeout(PATIENCE);
    assert!(matches!(gone, Err(Error::SessionExpired { .. })), "{gone:?}");
}

/// A proof of identity is a request too. A process that only proved again what the session knows, and died, left no trace in the
/// numbers by which the next one judges whether something was done.
#[test]
fn who_takes_a_session_over_and_does_nothing_makes_no_request() {
    let cell = Cell::start(1, "");
    let alice = || Credentials::new("alice", "pass");
    let builder = || Client::builder(&cell.endpoints()).expect("addresses").auth(alice());
    let first = builder().connect().wait_timeout(PATIENCE).expect("a session");
    let saved = first.save().wait_timeout(PATIENCE).expect("saved");
    // None of them is dropped: that would close the session.
    let mut taken = Vec::new();
    for _ in 0..2 {
        let next = builder().resume(saved).connect().wait_timeout(PATIENCE).expect("taken over");
        let principals = next.who_am_i().wait_timeout(PATIENCE).expect("an answer");
        assert_eq!(principals.users, [alice().user()]);
        assert_eq!(next.applied_before(), saved.requests(), "nobody has done anything since the line was saved");
        taken.push(next);
    }
    let bob = Credentials::new("bob", "word");
    let both = builder().auth(bob.clone()).resume(saved).connect().wait_timeout(PATIENCE).expect("taken over");
    let principals = both.who_am_i().wait_timeout(PATIENCE).expect("an answer");
    assert_eq!(principals.users, [alice().user(), bob.user()], "who is new to the session is proved");
}

#[test]
fn a_process_that_was_only_paused_may_not_go_on() {
    let mut cell = Cell::start(3, "");
    let leader = cell.leader();
    let writer = Actor::start("write", &cell);
    let (token, saved) = told(&writer);
    assert!(writer.hear().starts_with("wrote"));
    writer.signal(Signal::STOP);
    cell.kill(leader);
    let client = resume(&cell, saved);
    let count = client.applied_before() - saved.requests();
    assert_eq!(written(&client), (count, count));
    writer.signal(Signal::CONT);
    while let words = writer.hear()
        && words != "ended true"
    {
        assert!(words.starts_with("wrote"), "{words}");
    }
    judge(&client, saved, token);
}

#[test]
fn commands_share_a_session_through_its_file() {
    let mut cell = Cell::start(3, "");
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("session");
    let endpoints = cell.endpoints();
    let quorate = |arguments: &[&str]| {
        let done = run(&[arguments, &["--endpoints", &endpoints]].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code().expect("it ended"), text(&done.stdout), text(&done.stderr))
    };
    let opened = quorate(&["session", "open", "--lasts", "20s", path(&file)]);
    assert_eq!(opened.0, 0, "{}", opened.2);
    assert_eq!(fs::metadata(&file).expect("made").permissions().mode() & 0o777, 0o600, "it holds a secret");
    assert_eq!(quorate(&["session", "open", path(&file)]).0, 2, "one that is there is not lost");
    let made = quorate(&["create", "--resume", path(&file), "--ephemeral", "/e", "here"]);
    assert_eq!(made.0, 0, "{}", made.2);
    cell.kill(cell.leader());
    let got = quorate(&["get", "--resume", path(&file), "/e"]);
    assert_eq!((got.0, got.1.as_str()), (0, "here\n"), "{}", got.2);
    assert_eq!(quorate(&["get", "/e"]).1, "here\n", "it outlives the commands");
    let ended = quorate(&["session", "end", path(&file)]);
    assert_eq!(ended.0, 0, "{}", ended.2);
    assert!(!file.exists());
    assert_eq!(quorate(&["get", "/e"]).0, 1, "it goes with its session");
    fs::write(&file, "something else").expect("written");
    let wrong = quorate(&["get", "--resume", path(&file), "/e"]);
    assert!(wrong.0 == 2 && wrong.2.contains("no saved session"), "{}", wrong.2);
}
