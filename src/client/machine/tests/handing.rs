//! Sessions that one machine leaves and another takes over.

use super::*;
use crate::wire::client::FaultCode;
use crate::wire::watch::Scope;

fn taken_over() -> Test {
    let mut test = Test::resuming(&["a:1"], Prefer::Any, Some(SESSION));
    assert_eq!(test.connect(), [Said::Hello { seen: 0, resume: true }]);
    let (applied_upto, applied_before) = (4100, 4);
    test.say(&ServerMessage::SessionResumed { session: SESSION, timeout_ms: 12_000, applied_upto, applied_before });
    test
}

fn hand_over(test: &mut Test, tag: u64) -> Result<(), Error> {
    let handed = test.machine.hand_over(tag);
    test.collect();
    handed
}

#[test]
fn a_session_taken_over_goes_on_behind_the_numbers_of_the_process_before() {
    let mut test = taken_over();
    assert_eq!((test.machine.state(), test.machine.session()), (SessionState::Safe, Some(SESSION)));
    assert_eq!(test.machine.applied_before(), 4);
    test.set(1);
    test.get(2);
    assert_eq!(test.said(), [request(4101, 4100), Said::Read { number: 0 }]);
    test.reply(4101, 50);
    assert_eq!(test.succeeded(), [1]);
    let again = test.reconnect(4101);
    assert_eq!(again[0], Said::Hello { seen: 50, resume: true });
    assert_eq!(test.machine.applied_before(), 4, "it is said once");
}

#[test]
fn what_was_asked_before_the_session_came_keeps_its_order() {
    let mut test = Test::resuming(&["a:1"], Prefer::Any, Some(SESSION));
    test.set(1);
    let wish = WatchWish { path: "/a".to_owned(), scope: Scope::Node, from: None, with_data: false, once: false };
    test.machine.watch(test.now, 9, wish).expect("it is to be had");
    test.connect();
    let (session, timeout_ms, applied_before) = (SESSION, 12_000, 4);
    let resumed = |applied_upto| ServerMessage::SessionResumed { session, timeout_ms, applied_upto, applied_before };
    test.say(&resumed(u64::MAX));
    assert_eq!(test.machine.state(), SessionState::Connecting, "who says so is of no use");
    test.redial();
    test.connect();
    test.say(&resumed(4100));
    assert!(test.said().contains(&request(4101, 4100)));
    test.say(&ServerMessage::WatchOpened { watch: 9, revision: 40 });
    assert!(test.told.is_empty(), "it counts from behind the request before it");
    test.reply(4101, 50);
    assert!(matches!(test.told[..], [(9, WatchTold::Opened { revision: 50 })]), "{:?}", test.told);
}

#[test]
fn a_session_that_is_over_or_another_process_has_is_not_taken_up() {
    let mut over = Test::resuming(&["a:1"], Prefer::Any, Some(SESSION));
    over.connect();
    over.say(&ServerMessage::SessionOver { session: SESSION });
    assert!(matches!(over.machine.ending(), Some(Error::SessionExpired { session: SESSION, .. })));
    let mut taken = Test::open();
    taken.set(1);
    taken.said();
    taken.machine.disconnected(taken.now, "it broke");
    taken.redial();
    taken.connect();
    taken.say(&ServerMessage::Fault { code: FaultCode::Taken, text: "" });
    assert!(matches!(taken.machine.ending(), Some(Error::SessionTaken { session: SESSION, .. })));
    let Some((1, Err(error))) = taken.done.pop() else { panic!("{:?}", taken.done) };
    assert_eq!(error.outcome(), Known::Unknown, "it was sent");
    assert_eq!(taken.events.last(), Some(&SessionEvent::Closed));
}

#[test]
fn a_session_in_which_another_process_asked_for_something_meanwhile_is_that_ones() {
    let mut test = Test::open();
    test.set(1);
    test.said();
    test.machine.disconnected(test.now, "it broke");
    test.redial();
    test.connect();
    let (session, timeout_ms, applied_before) = (SESSION, 12_000, 4096);
    test.say(&ServerMessage::SessionResumed { session, timeout_ms, applied_upto: 8192, applied_before });
    assert!(matches!(test.machine.ending(), Some(Error::SessionTaken { session: SESSION, .. })));
    let Some((1, Err(error))) = test.done.pop() else { panic!("{:?}", test.done) };
    assert_eq!(error.outcome(), Known::Unknown, "it was sent");
}

#[test]
fn a_session_is_handed_over_once_all_calls_are_answered() {
    let mut test = Test::open();
    test.set(1);
    assert_eq!(test.machine.saved().expect("it lives").requests, 1, "a call that is made counts");
    hand_over(&mut test, 9).expect("it lives");
    assert!(matches!(hand_over(&mut test, 10), Err(Error::Closed { outcome: Known::NotApplied })));
    assert_eq!((test.done.len(), test.said().len()), (0, 1));
    test.reply(1, 20);
    let Some((9, Ok(Answered::Saved(saved)))) = test.done.pop() else { panic!("{:?}", test.done) };
    assert_eq!((saved.session, saved.cell, saved.secret, saved.requests), (SESSION, CELL, 2, 1));
    assert_eq!(test.machine.state(), SessionState::Closed);
    assert!(test.said().is_empty(), "the cell is told nothing");
    let mut lost = Test::open();
    lost.set(1);
    hand_over(&mut lost, 9).expect("it lives");
    lost.say(&ServerMessage::SessionOver { session: SESSION });
    assert!(matches!(lost.done.last(), Some((9, Err(Error::SessionExpired { .. })))), "{:?}", lost.done);
}

#[test]
fn who_may_open_no_session_yet_asks_again_after_a_while() {
    for reason in [Reason::Throttled { retry_after_ms: 700 }, Reason::Overloaded { retry_after_ms: 700 }] {
        let mut test = Test::new(&["a:1"], Prefer::Any);
        test.connect();
        test.say(&ServerMessage::Refused { number: 0, reason });
        let asked = test.dialled.len();
        test.pass(Duration::from_millis(650));
        assert_eq!(test.dialled.len(), asked, "not before it was told to");
        test.redial();
        assert!(test.connect().contains(&Said::Open));
    }
}
