//! Locks at the bounds of what a client may have under way.

use super::*;
use crate::limits::CONNECTION_LOCK_WAITS_MAX;
use crate::namespace::command::{LockMode, Sequencer};

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
