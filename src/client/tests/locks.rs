//! Locks that are given up, at each moment of their being taken: what is released of them.

use super::*;
use crate::limits::CONNECTION_LOCK_WAITS_MAX;

/// What the server answers depends on the path alone.
pub(super) fn acquire(path: String, mode: LockMode) -> Came {
    match path.as_str() {
        "/granted" => Ok(Done::Granted { sequencer: sequencer(&path, mode) }),
        "/twice" => Err(Refusal::LockTwice { path }),
        _ => Ok(Done::Queued),
    }
}

fn sequencer(path: &str, mode: LockMode) -> Sequencer {
    Sequencer { path: path.to_owned(), instance: 3, generation: 7, mode }
}

fn release(path: &str) -> Operation {
    Operation::Release { path: path.to_owned() }
}

fn release_under(path: &str, mode: LockMode) -> Operation {
    Operation::Guarded { sequencer: sequencer(path, mode), operation: Box::new(release(path)) }
}

/// Paths by what the server answers to who asks for their locks, and what is released of it if nobody wants it any more.
fn answers() -> [(&'static str, Vec<Operation>); 3] {
    [
        ("/granted", vec![release_under("/granted", LockMode::Shared)]),
        ("/queued", vec![release("/queued")]),
        ("/twice", vec![]),
    ]
}

/// What was released once all calls so far are answered, and what they brought about.
fn releases(server: &Server, client: &Client) -> Vec<Operation> {
    for _ in 0..2 {
        wait(client.sync()).expect("synced");
    }
    server.held.lock().expect("no test thread panics with it").releases.clone()
}

#[test]
fn a_lock_given_up_before_the_answer_is_released_as_the_answer_says() {
    for (path, released) in answers() {
        let server = Server::start(&[]);
        let client = server.connect("");
        let held = server.held.lock().expect("no test thread panics with it");
        // The server answers nothing while the test looks at what it holds.
        drop(client.lock(path, LockOptions::shared()));
        let again = wait(client.lock(path, LockOptions::shared()));
        assert!(matches!(again, Err(Error::LockTwice { .. })), "the claim is being given up: {again:?}");
        let again = wait(client.try_lock(path, LockOptions::shared()));
        assert!(matches!(again, Err(Error::LockTwice { .. })), "the claim is being given up: {again:?}");
        drop(held);
        assert_eq!(releases(&server, &client), released);
        let _claim = client.lock(path, LockOptions::shared());
        assert_eq!(releases(&server, &client), released, "a new claim is not taken for the old one");
    }
}

#[test]
fn a_place_in_the_queue_is_left_once_when_it_is_given_up() {
    let server = Server::start(&[]);
    let client = server.connect("");
    let op = client.lock("/queued", LockOptions::exclusive());
    assert_eq!(releases(&server, &client), []);
    drop(op);
    let again = client.lock("/queued", LockOptions::exclusive());
    assert_eq!(releases(&server, &client), [release("/queued")]);
    assert!(!again.is_answered(), "it has a place of its own");
}

#[test]
fn a_place_that_cannot_be_waited_in_is_left() {
    let server = Server::start(&[]);
    let client = server.connect("");
    let ops: Vec<_> =
        (0..CONNECTION_LOCK_WAITS_MAX).map(|n| client.lock(&format!("/l{n}"), LockOptions::exclusive())).collect();
    assert_eq!(releases(&server, &client), []);
    let last = wait(client.lock("/last", LockOptions::exclusive()));
    assert!(matches!(last, Err(Error::TooManyLockWaits { limit: CONNECTION_LOCK_WAITS_MAX })), "{last:?}");
    assert_eq!(releases(&server, &client), [release("/last")]);
    assert_eq!(wait(client.exists("/a")).expect("reads go on"), None);
    assert!(ops.iter().all(|op| !op.is_answered()));
}

#[test]
fn a_place_that_may_not_be_looked_at_is_left() {
    let server = Server::start(&[]);
    let client = server.connect("");
    let refused = wait(client.lock("/hidden", LockOptions::exclusive()));
    assert!(matches!(&refused, Err(Error::NotAuthorized { path, .. }) if path == "/hidden"), "{refused:?}");
    assert_eq!(releases(&server, &client), [release("/hidden")], "or the session would come to hold it unguarded");
    let again = wait(client.lock("/hidden", LockOptions::exclusive()));
    assert!(matches!(again, Err(Error::NotAuthorized { .. })), "it can be tried again: {again:?}");
}

#[test]
fn a_lock_given_up_twice_before_the_answer_is_released_once() {
    for (path, released) in answers() {
        let server = Server::start(&[]);
        let client = server.connect("");
        let held = server.held.lock().expect("no test thread panics with it");
        let (create, mode, lock_delay_ms) = (true, LockMode::Shared, 0);
        let asked = Operation::Acquire { path: path.to_owned(), mode, wait: true, create, lock_delay_ms };
        let (op, give_up) = acquisition::acquire(&client, path.to_owned(), asked);
        // By its caller's patience, and then with the handle that is poisoned.
        drop(op);
        give_up.expect("it was begun")();
        drop(held);
        assert_eq!(releases(&server, &client), released);
        let again = client.try_lock(path, LockOptions::shared()).wait_timeout(PATIENCE);
        let ended = path == "/twice" || !matches!(again, Err(Error::LockTwice { .. }));
        assert!(ended && !client.acquiring().contains(path), "its path is free again: {again:?}");
    }
}

#[test]
fn what_is_made_under_a_lock_is_as_private_as_it_was_asked_to_be() {
    let server = Server::start(&[]);
    let client = server.connect("");
    let guard = wait(client.lock("/granted", LockOptions::exclusive())).expect("granted");
    let acl = Acl::new(["world:anyone:r".parse().expect("an entry")]);
    let options = CreateOptions::ephemeral().acl(acl.clone());
    wait(guard.guarded().create("/private", "x", options)).expect("made");
    let asked = server.held.lock().expect("no test thread panics with it").guarded.clone();
    assert!(matches!(&asked[..], [Operation::CreateWithAcl { acl: its, .. }] if *its == acl), "{asked:?}");
}

#[test]
fn parents_are_refused_where_none_are_made() {
    let server = Server::start(&[]);
    let client = server.connect("");
    let guard = wait(client.lock("/granted", LockOptions::exclusive())).expect("granted");
    let options = || CreateOptions::permanent().parents();
    let guarded = wait(guard.guarded().create("/deep/node", "", options()));
    assert!(matches!(guarded, Err(Error::BadArgument { .. })), "{guarded:?}");
    let txn = wait(client.txn().create("/deep/node", "", options()).commit());
    let Err(Error::BadArgument { why }) = txn else { panic!("{txn:?}") };
    assert!(why.contains("/deep/node") && why.contains("make them first"), "{why}");
    assert!(server.held.lock().expect("no test thread panics with it").nodes.is_empty(), "nothing was made");
}

/// The library's own part of it; what the cell makes of a guard, `tests/process/guarded.rs` shows.
#[test]
fn each_part_of_a_tree_and_each_transaction_under_a_lock_is_guarded() {
    let server = Server::start(&[]);
    let client = server.connect("");
    let guard = wait(client.lock("/granted", LockOptions::exclusive())).expect("granted");
    for path in ["/t", "/t/1", "/t/2", "/t/3", "/t/4"] {
        wait(client.create(path, "", CreateOptions::permanent())).expect("made");
    }
    assert_eq!(wait(guard.guarded().delete_tree_in_parts("/t")).expect("in three parts"), 5);
    let done = wait(guard.guarded().txn().check("/granted", Expect::Any).commit()).expect("an outcome");
    assert!(matches!(done.applied(), Ok((_, replies)) if replies == [TxnReply::Checked]));
    let asked = server.held.lock().expect("no test thread panics with it").guarded.clone();
    let part =
        |operation: &Operation| matches!(operation, Operation::DeleteTree { path, part: 1.., .. } if path == "/t");
    assert!(asked.len() == 4 && asked[..3].iter().all(part), "{asked:?}");
    assert!(matches!(&asked[3], Operation::Multi { steps } if steps.len() == 1), "{asked:?}");
    // A server would not even decode it, and break the connection each time it is sent again.
    let txn = (0..4097).fold(guard.guarded().txn(), |txn, _| txn.check("/a", Expect::Any));
    let refused = wait(txn.commit());
    assert!(matches!(refused, Err(Error::TooLarge { size: 4097, limit: 4096, .. })), "{refused:?}");
    assert_eq!(server.connections(), 1);
}
