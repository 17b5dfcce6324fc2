//! Locks at the bounds of what a client may have under way.

use bytes::Bytes;

use super::*;
use crate::limits::CONNECTION_LOCK_WAITS_MAX;
use crate::namespace::command::{Handle, HandleMode, LockMode, LockPlace, Sequencer};

fn release() -> Operation {
    Operation::Release { path: "/l".to_owned() }
}

#[test]
fn at_the_bound_of_calls_a_lock_can_still_be_given_up_and_waited_for() {
    let mut test = Test::open();
    (1..=100).for_each(|tag| test.set(tag));
    let machine = &mut test.machine;
    let sequencer = Sequencer { path: "/l".to_owned(), instance: 1, mode: LockMode::Exclusive, generation: 2 };
    let guarded = |operation| Operation::Guarded { sequencer: sequencer.clone(), operation: Box::new(operation) };
    machine.request(test.now, 101, release()).expect("a place in the queue is left");
    machine.request(test.now, 102, guarded(release())).expect("a lock is released");
    machine.await_lock(test.now, 103, "/l".to_owned()).expect("a place in the queue is waited in");
    assert_eq!(machine.waiting(), 103);
    let write = Operation::Delete { path: "/x".to_owned(), expect: Expect::Any };
    for other in [Operation::Sync, guarded(write)] {
        let refused = machine.request(test.now, 104, other);
        assert!(matches!(refused, Err(Error::TooManyCalls { limit: 100 })), "{refused:?}");
    }
}

#[test]
fn no_more_locks_are_waited_for_than_a_server_remembers() {
    let mut test = Test::open();
    let machine = &mut test.machine;
    for tag in 0..CONNECTION_LOCK_WAITS_MAX as u64 {
        machine.await_lock(test.now, tag, format!("/l{tag}")).expect("there is room");
    }
    let refused = machine.await_lock(test.now, 1 << 20, "/l".to_owned());
    assert!(matches!(refused, Err(Error::TooManyLockWaits { limit: CONNECTION_LOCK_WAITS_MAX })), "{refused:?}");
}

/// Or the call that waits for a place which is given up would wait for ever.
#[test]
fn who_waits_for_a_lock_asks_again_when_a_release_of_his_own_is_answered_however_it_was_made() {
    let sequencer = Sequencer { path: "/l".to_owned(), instance: 1, mode: LockMode::Exclusive, generation: 2 };
    let mode = HandleMode::ALL;
    let handle = Handle { path: "/l".to_owned(), instance: 1, session: SESSION, opened: 3, reign: 1, mode, digits: 4 };
    for release in [
        release(),
        Operation::Guarded { sequencer, operation: Box::new(release()) },
        Operation::Through { handle, operation: Box::new(release()) },
    ] {
        let mut test = Test::open();
        test.machine.await_lock(test.now, 1, "/l".to_owned()).expect("there is room");
        let Some(Said::Read { number: asked }) = test.said().pop() else { panic!("it asks where it stands") };
        let mut answer = BytesMut::new();
        encode_read_outcome(&Ok(Answer::<Bytes>::LockPlace { place: LockPlace::Waiting }), &mut answer);
        test.say(&ServerMessage::ReadReply { number: asked, revision: 5, answer: &answer });
        test.machine.request(test.now, 2, release.clone()).expect("there is room");
        _ = test.said();
        let mut outcome = BytesMut::new();
        encode_outcome(&Ok(Done::Released), &mut outcome);
        test.say(&ServerMessage::Reply { number: 1, revision: 6, outcome: &outcome });
        assert_eq!(test.said(), [Said::Read { number: asked + 1 }], "{release:?}");
        // By then the session stands in the queue anew, for another call: this one has lost its place all the same.
        test.say(&ServerMessage::ReadReply { number: asked + 1, revision: 7, answer: &answer });
        assert_eq!(test.succeeded(), [2, 1], "{release:?}: who gave up his place is not kept in mind for ever");
    }
}
