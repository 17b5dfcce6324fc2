//! What is sent again after a server turned something away, and what is not.

use super::*;

/// How often cursors were set back, as it stands in the number of a read.
const TURN: u64 = 1 << 48;

const LATER: Reason = Reason::Overloaded { retry_after_ms: 20 };

#[test]
fn a_refused_request_and_all_behind_it_are_sent_again() {
    let mut test = Test::open();
    test.set(1);
    test.set(2);
    test.get(3);
    test.set(4);
    test.said();
    test.say(&ServerMessage::Refused { number: 2, reason: Reason::Overloaded { retry_after_ms: 20 } });
    assert_eq!(test.said(), [], "the pause asked for is kept");
    test.reply(1, 10);
    test.pass(Duration::from_millis(50));
    assert_eq!(test.said(), [request(2, 1), Said::Read { number: TURN }, request(3, 1)]);
    assert_eq!(test.disconnects, 0);
    test.reply(2, 11);
    test.read_reply(TURN, 11);
    test.reply(3, 12);
    assert_eq!(test.succeeded(), [1, 2, 3, 4]);
}

#[test]
fn a_request_refused_but_applied_from_an_earlier_sending_is_answered_and_its_place_filled() {
    let mut test = Test::open();
    test.set(1);
    test.set(2);
    test.said();
    test.say(&ServerMessage::Refused { number: 1, reason: Reason::NotReady });
    // The leader that was lost had sent it on.
    test.reply(1, 10);
    assert_eq!(test.succeeded(), [1]);
    test.pass(Duration::from_millis(50));
    assert_eq!(test.said(), [request(1, 0), request(2, 1)], "the server waits for request 1");
    test.reply(1, 10);
    test.reply(2, 11);
    assert_eq!(test.succeeded(), [1, 2]);
}

#[test]
fn a_refused_read_is_asked_again_with_the_reads_behind_it() {
    let mut test = Test::open();
    test.get(1);
    test.get(2);
    test.said();
    test.say(&ServerMessage::ReadRefused { number: 0, reason: Reason::NotReady });
    test.say(&ServerMessage::ReadRefused { number: 1, reason: Reason::NotReady });
    test.pass(Duration::from_millis(100));
    assert_eq!(test.said(), [Said::Read { number: TURN }, Said::Read { number: TURN + 1 }]);
    test.read_reply(TURN + 1, 9);
    test.read_reply(TURN, 9);
    assert_eq!(test.succeeded(), [2, 1]);
}

/// The server has them, and answers them: they would only be a burden to it, and wait for the refused request.
#[test]
fn reads_asked_before_a_refused_request_are_not_asked_again() {
    let mut test = Test::open();
    test.get(1);
    test.set(2);
    test.get(3);
    test.get(4);
    assert_eq!(
        test.said(),
        [Said::Read { number: 0 }, request(1, 0), Said::Read { number: 1 }, Said::Read { number: 2 }]
    );
    test.say(&ServerMessage::Refused { number: 1, reason: LATER });
    test.read_reply(0, 9);
    assert_eq!(test.succeeded(), [1], "its answer is on its way, and is one");
    test.pass(Duration::from_millis(50));
    assert_eq!(
        test.said(),
        [request(1, 0), Said::Read { number: TURN + 1 }, Said::Read { number: TURN + 2 }],
        "those behind it follow it, as they were made"
    );
    test.reply(1, 10);
    test.read_reply(TURN + 1, 10);
    test.read_reply(TURN + 2, 10);
    assert_eq!(test.succeeded(), [1, 2, 3, 4]);
    assert_eq!(test.machine.waiting(), 0);
}

/// While it refuses, the server drops reads without looking where they belong.
#[test]
fn a_read_made_before_a_refused_request_but_asked_again_behind_it_is_asked_once_more() {
    let mut test = Test::open();
    test.get(1);
    test.set(2);
    assert_eq!(test.said(), [Said::Read { number: 0 }, request(1, 0)]);
    test.say(&ServerMessage::ReadRefused { number: 0, reason: Reason::Resend });
    assert_eq!(test.said(), [Said::Read { number: TURN }]);
    test.say(&ServerMessage::Refused { number: 1, reason: LATER });
    test.pass(Duration::from_millis(50));
    assert_eq!(test.said(), [request(1, 0), Said::Read { number: 2 * TURN }]);
    test.reply(1, 10);
    test.read_reply(2 * TURN, 10);
    assert_eq!(test.succeeded(), [2, 1]);
}

#[test]
fn an_earlier_request_that_is_refused_too_takes_the_reads_behind_it_along() {
    let mut test = Test::open();
    test.set(1);
    test.get(2);
    test.set(3);
    test.get(4);
    assert_eq!(test.said(), [request(1, 0), Said::Read { number: 0 }, request(2, 0), Said::Read { number: 1 }]);
    for number in [2, 1] {
        test.say(&ServerMessage::Refused { number, reason: LATER });
    }
    test.pass(Duration::from_millis(50));
    assert_eq!(
        test.said(),
        [request(1, 0), Said::Read { number: 2 * TURN }, request(2, 0), Said::Read { number: 2 * TURN + 1 }]
    );
    test.reply(1, 10);
    test.read_reply(2 * TURN, 10);
    test.reply(2, 11);
    test.read_reply(2 * TURN + 1, 11);
    assert_eq!(test.succeeded(), [1, 2, 3, 4]);
}
