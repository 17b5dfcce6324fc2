//! A front between a scripted client and a scripted replica.

mod hidden;
mod resumptions;
mod snapshots;
mod watches;
mod who;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{ConnectionId, Facts, Front, Output, Rate};
use crate::limits::{FRAME_TIMEOUT, HELLO_TIMEOUT, NODE_DATA_BYTES_MAX, READ_RETRY, SESSION_REQUESTS_IN_FLIGHT};
use crate::namespace::acl::Principals;
use crate::namespace::codec::{ReadRef, encode_outcome, encode_read_outcome};
use crate::namespace::command::{Done, Expect, Operation, Read, Resume, SessionId, Step};
use crate::namespace::{CommandOutcome, Gate, Tree, answer};
use crate::paxos::{CellId, ReplicaId, Slot};
use crate::replica::exchange::{Applied, FrontNotice, FrontRequest, Submission};
use crate::time::{Duration, Instant};
use crate::wire::cache::CacheAsk;
use crate::wire::client::{
    ClientMessage, Consistency, FaultCode, Hello, PROTOCOL_MAX, PROTOCOL_MIN, Reason, ServerMessage, SessionsPage,
};
use crate::wire::frame::{CLIENT_MAGIC, FrameReader, HEADER_BYTES};

const CLIENT: ConnectionId = ConnectionId(1);
const SESSION: SessionId = SessionId(7);
const START: Instant = Instant::from_nanos(1_000_000_000_000);

fn front() -> Front {
    front_with(None)
}

fn front_with(rate: Option<Rate>) -> Front {
    let mut front = Front::new(Facts {
        cell: CellId(1),
        replica: ReplicaId(1),
        members: Vec::new(),
        timeout_min: Duration::from_secs(2),
        timeout_max: Duration::from_secs(60),
        seed: 100,
        past_bytes_max: 1 << 20,
        super_user: None,
        rate,
    });
    front.notice(FrontNotice::Leader { leader: Some(ReplicaId(1)) }, &Tree::new(1));
    front.opened(START, CLIENT, None);
    front
}

fn hello(resume: Option<Resume>) -> BytesMut {
    let mut bytes = BytesMut::new();
    let (protocol_min, protocol_max) = (PROTOCOL_MIN, PROTOCOL_MAX);
    ClientMessage::Hello(Hello { protocol_min, protocol_max, cell: None, name: "", seen: 0, resume })
        .encode(&mut bytes);
    bytes
}

/// Asks whether there is a node.
fn is_there(number: u64, consistency: Consistency, path: &str) -> BytesMut {
    let (mut read, mut bytes) = (BytesMut::new(), BytesMut::new());
    Read::Exists { path: path.to_owned() }.encode(&mut read);
    ClientMessage::Read { number, consistency, read: &read }.encode(&mut bytes);
    bytes
}

fn applied(front: &mut Front, outcome: CommandOutcome) {
    let (upto, since, changes) = (Slot(1), front.revision, Arc::from([]));
    let applied = Applied { upto, since, revision: 1, changes, outcomes: vec![outcome] };
    front.notice(FrontNotice::Applied(applied), &Tree::new(1));
}

/// What the front has the replica propose.
fn submitted(front: &mut Front) -> Vec<Submission> {
    submitted_at(front, START)
}

fn submitted_at(front: &mut Front, now: Instant) -> Vec<Submission> {
    let mut requests = Vec::new();
    front.prepare(now, true, &mut requests);
    let submission = |request| if let FrontRequest::Submit(submission) = request { Some(submission) } else { None };
    requests.into_iter().filter_map(submission).collect()
}

/// What the client hears, one word a message, and whether its connection is closed.
fn heard(front: &mut Front) -> (Vec<String>, bool) {
    let (mut words, mut closed) = (Vec::new(), false);
    let mut reader = FrameReader::new(CLIENT_MAGIC);
    front.take_output(|output| match output {
        Output::Close { .. } => closed = true,
        Output::Send { bytes, .. } => reader
            .feed::<crate::wire::client::MessageError>(&bytes, 1 << 20, |frame| {
                words.push(match ServerMessage::decode(frame)? {
                    ServerMessage::Fault { text, .. } => text.to_owned(),
                    ServerMessage::SessionResumed { .. } => "resumed".to_owned(),
                    ServerMessage::Refused { number: 0, reason: Reason::Overloaded { .. } } => "full".to_owned(),
                    ServerMessage::Welcome(_) => "welcome".to_owned(),
                    other => format!("{other:?}"),
                });
                Ok(())
            })
            .expect("frames"),
    });
    (words, closed)
}

const RESUME: Resume = Resume { session: SESSION, secret: 9, holder: 1, takes_over: false };

#[test]
fn a_frame_with_any_bit_turned_over_is_called_damaged_and_nothing_of_it_is_done() {
    let mut ping = BytesMut::new();
    ClientMessage::Ping { number: 1 }.encode(&mut ping);
    for bit in 0..8 * ping.len() {
        let mut front = front_with(None);
        front.received(START, CLIENT, &hello(None));
        heard(&mut front);
        let mut bytes = ping.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        front.received(START, CLIENT, &bytes);
        let (mut code, mut closed) = (None, false);
        front.take_output(|output| match output {
            Output::Close { .. } => closed = true,
            Output::Send { bytes, .. } => code = Some(bytes[HEADER_BYTES]),
        });
        assert_eq!((code, closed), (Some(FaultCode::Damaged.tag()), true), "bit {bit}");
        assert!(front.pings.is_empty(), "bit {bit}");
    }
}

#[test]
fn sessions_are_opened_no_faster_than_their_principal_may_ask() {
    let mut front = front_with(Some(Rate { per_second: 1, burst: 2 }));
    let mut refused = 0;
    for n in 1..=5 {
        let id = ConnectionId(n + 1);
        front.opened(START, id, None);
        let mut bytes = hello(None);
        ClientMessage::OpenSession { token: n, secret: 9, timeout_ms: 12_000 }.encode(&mut bytes);
        front.received(START, id, &bytes);
        let (words, closed) = heard(&mut front);
        assert!(!closed);
        refused += words.iter().filter(|word| word.starts_with("Refused { number: 0, reason: Throttled")).count();
    }
    assert_eq!((refused, front.opening.len()), (3, 2));
    let id = ConnectionId(9);
    front.opened(START, id, None);
    front.received(START, id, &hello(Some(RESUME)));
    assert_eq!(front.opening.len(), 3, "one that is there is taken up whatever else was asked");
}

#[test]
fn what_is_refused_for_its_principals_rate_is_not_done() {
    let submitted = |rate: Option<Rate>, count: u64| {
        let mut front = resumed_at(front_with(rate), 0, 0);
        heard(&mut front);
        let (mut bytes, mut encoded, mut requests) = (BytesMut::new(), BytesMut::new(), Vec::new());
        Operation::Sync.encode(&mut encoded);
        for number in 1..=count {
            ClientMessage::Request { number, acked_upto: 0, operation: &encoded }.encode(&mut bytes);
        }
        front.received(START, CLIENT, &bytes);
        let refused = heard(&mut front).0.iter().any(|word| word.contains("Throttled"));
        front.prepare(START, false, &mut requests);
        requests.retain(|request| matches!(request, FrontRequest::Submit(_)));
        (refused, format!("{requests:?}"))
    };
    let (refused, some) = submitted(Some(Rate { per_second: 1, burst: 2 }), 5);
    assert!(refused);
    assert_eq!((false, some), submitted(None, 2), "two were asked within the rate");
}

#[test]
fn questions_about_the_cell_are_put_a_few_at_a_time_and_each_connection_has_one() {
    let mut front = front();
    let ask = |front: &mut Front, id: u64| {
        let mut bytes = BytesMut::new();
        ClientMessage::Sessions { number: id, after: SessionId(0) }.encode(&mut bytes);
        front.received(START, ConnectionId(id), &bytes);
    };
    for id in 2..=12 {
        front.opened(START, ConnectionId(id), None);
        front.received(START, ConnectionId(id), &hello(None));
        ask(&mut front, id);
    }
    heard(&mut front);
    ask(&mut front, 12);
    let (words, closed) = heard(&mut front);
    assert!(closed && words[0].contains("one question"), "{words:?}");
    front.closed(ConnectionId(12));
    let mut put = Vec::new();
    while front.is_restless() {
        let mut requests = Vec::new();
        front.prepare(START, false, &mut requests);
        assert!(!requests.is_empty() && requests.len() <= 4, "{requests:?}");
        put.extend(requests);
    }
    assert_eq!(put.len(), 10, "who is gone is asked for nothing");
    for request in put {
        let FrontRequest::Sessions { ticket, .. } = request else { panic!("{request:?}") };
        front.notice(FrontNotice::Sessions { ticket, page: SessionsPage::default() }, &Tree::new(1));
    }
    let (words, closed) = heard(&mut front);
    assert_eq!((words.len(), closed, front.askers.len()), (10, false, 0));
    ask(&mut front, 2);
    assert!(!heard(&mut front).1, "after the answer it asks on");
}

#[test]
fn who_waits_for_a_revision_leaves_nothing_behind() {
    let mut front = front();
    front.received(START, CLIENT, &hello(None));
    for number in 1..=20 {
        let consistency = Consistency::AtLeast(1_000 * (number % 4));
        front.received(START, CLIENT, &is_there(number, consistency, "/a"));
    }
    front.revision = 1_000;
    front.answer_pointed(START, &Tree::new(1));
    assert_eq!(heard(&mut front).0.len(), 1 + 10, "the welcome, and what needs no more than is there");
    front.closed(CLIENT);
    assert!(front.reads.is_empty());
}

#[test]
fn answers_under_a_lease_that_ended_are_taken_back_and_given_at_a_read_point() {
    let (mut front, tree) = (front(), Tree::new(1));
    front.received(START, CLIENT, &hello(None));
    for number in 1..=3 {
        front.received(START, CLIENT, &is_there(number, Consistency::Linearizable, "/"));
    }
    front.prepare(START, true, &mut Vec::new());
    assert!(!front.finish(START, &tree, true, || false));
    assert_eq!(heard(&mut front).0, ["welcome"]);
    let mut requests = Vec::new();
    front.prepare(START, false, &mut requests);
    let [FrontRequest::ReadPoint { ticket, .. }] = requests[..] else { panic!("{requests:?}") };
    let point = FrontNotice::ReadPoint { ticket, upto: Some(Slot(0)), withheld: Vec::new(), word: Default::default() };
    front.notice(point, &tree);
    front.finish(START, &tree, false, || false);
    let (words, closed) = heard(&mut front);
    assert!(words.len() == 3 && words.iter().all(|word| word.starts_with("ReadReply")) && !closed, "{words:?}");
    front.closed(CLIENT);
    assert!(front.reads.is_empty());
}

/// However the room of earlier questions is used again, each is answered as it was asked.
#[test]
fn a_question_in_the_room_of_another_is_answered_for_itself() {
    let (mut front, tree) = (front(), Tree::new(1));
    front.received(START, CLIENT, &hello(None));
    heard(&mut front);
    let long = format!("/{}", "x".repeat(300));
    for (turn, path) in ["/", &long, "/absent", "/", "no path"].into_iter().enumerate() {
        let consistency = if turn % 2 == 0 { Consistency::Linearizable } else { Consistency::Stale };
        front.received(START, CLIENT, &is_there(1, consistency, path));
        front.prepare(START, true, &mut Vec::new());
        front.finish(START, &tree, true, || true);
        let mut expected = BytesMut::new();
        let who = Principals::default();
        encode_read_outcome(&answer(&Gate::new(&tree, &who), ReadRef::Exists { path }), &mut expected);
        let told = ServerMessage::ReadReply { number: 1, revision: 0, answer: &expected };
        assert_eq!(heard(&mut front).0, [format!("{told:?}")]);
    }
}

#[test]
fn reads_behind_requests_of_a_session_that_ends_are_answered_all_the_same() {
    let (mut front, tree) = (resumed_at(front(), 0, 0), Tree::new(1));
    heard(&mut front);
    let (mut bytes, mut encoded) = (BytesMut::new(), BytesMut::new());
    Operation::Sync.encode(&mut encoded);
    ClientMessage::Request { number: 1, acked_upto: 0, operation: &encoded }.encode(&mut bytes);
    front.received(START, CLIENT, &bytes);
    front.received(START, CLIENT, &is_there(1, Consistency::Linearizable, "/"));
    let answered = |front: &mut Front| {
        front.prepare(START, true, &mut Vec::new());
        front.finish(START, &tree, true, || true);
        heard(front).0.iter().filter(|word| word.starts_with("ReadReply")).count()
    };
    assert_eq!(answered(&mut front), 0, "the request before it is not answered");
    applied(&mut front, CommandOutcome::SessionExpired { session: SESSION });
    assert_eq!(answered(&mut front), 1, "nothing is waited for any more");
}

fn prepare(front: &mut Front, now: Instant) {
    front.prepare(now, false, &mut Vec::new());
}

/// A front whose client has resumed its session, up to that number.
fn resumed(last_number: u64, before: u64) -> Front {
    resumed_at(front(), last_number, before)
}

fn resumed_at(mut front: Front, last_number: u64, before: u64) -> Front {
    front.received(Instant::ZERO, CLIENT, &hello(Some(RESUME)));
    let (token, session, timeout_ms, who) = (101, SESSION, 12_000, Arc::default());
    applied(&mut front, CommandOutcome::SessionResumed { token, session, timeout_ms, last_number, before, who });
    front
}

#[test]
fn what_was_under_way_for_an_earlier_holder_is_not_refused_to_the_next() {
    let mut front = resumed(4097, 1);
    heard(&mut front);
    front.notice(FrontNotice::Refused { requests: vec![(SESSION, 2)], overloaded: false }, &Tree::new(1));
    assert_eq!(heard(&mut front), (vec![], false), "it is nothing that this client asked for");
    let (mut bytes, mut encoded, mut requests) = (BytesMut::new(), BytesMut::new(), Vec::new());
    Operation::Sync.encode(&mut encoded);
    ClientMessage::Request { number: 4098, acked_upto: 4097, operation: &encoded }.encode(&mut bytes);
    front.prepare(START, false, &mut requests);
    requests.clear();
    front.received(Instant::ZERO, CLIENT, &bytes);
    front.prepare(START, false, &mut requests);
    assert!(requests.iter().any(|request| matches!(request, FrontRequest::Submit(_))), "its own goes on");
}

/// A request that a peer turned away was applied from an earlier sending: nothing is to be sent again, and no read waits for
/// that.
#[test]
fn what_is_refused_after_it_was_answered_holds_up_no_reads() {
    let (mut front, tree) = (resumed(0, 0), Tree::new(1));
    let (mut bytes, mut encoded) = (BytesMut::new(), BytesMut::new());
    Operation::Sync.encode(&mut encoded);
    ClientMessage::Request { number: 1, acked_upto: 0, operation: &encoded }.encode(&mut bytes);
    front.received(START, CLIENT, &bytes);
    let mut outcome = BytesMut::new();
    encode_outcome(&Ok(Done::Synced), &mut outcome);
    let outcome = outcome.freeze();
    applied(&mut front, CommandOutcome::Replied { session: SESSION, number: 1, revision: 1, outcome, who: None });
    heard(&mut front);
    front.notice(FrontNotice::Refused { requests: vec![(SESSION, 1)], overloaded: false }, &tree);
    front.received(START, CLIENT, &is_there(1, Consistency::Linearizable, "/"));
    front.prepare(START, true, &mut Vec::new());
    front.finish(START, &tree, true, || true);
    let (words, _) = heard(&mut front);
    assert!(words.len() == 1 && words[0].starts_with("ReadReply"), "{words:?}");
}

/// Its client asks again only for those that came behind it.
#[test]
fn reads_that_came_before_a_refused_request_are_answered() {
    let (mut front, tree) = (resumed(0, 0), Tree::new(1));
    let (mut bytes, mut encoded) = (BytesMut::new(), BytesMut::new());
    Operation::Sync.encode(&mut encoded);
    for number in 1..=2 {
        bytes.extend_from_slice(&is_there(number - 1, Consistency::Linearizable, "/"));
        ClientMessage::Request { number, acked_upto: 0, operation: &encoded }.encode(&mut bytes);
    }
    bytes.extend_from_slice(&is_there(2, Consistency::Linearizable, "/"));
    front.received(START, CLIENT, &bytes);
    heard(&mut front);
    front.notice(FrontNotice::Refused { requests: vec![(SESSION, 2)], overloaded: true }, &tree);
    let mut outcome = BytesMut::new();
    encode_outcome(&Ok(Done::Synced), &mut outcome);
    let outcome = outcome.freeze();
    applied(&mut front, CommandOutcome::Replied { session: SESSION, number: 1, revision: 1, outcome, who: None });
    front.prepare(START, true, &mut Vec::new());
    front.finish(START, &tree, true, || true);
    let (words, _) = heard(&mut front);
    let answered = |number| words.iter().any(|word| word.starts_with(&format!("ReadReply {{ number: {number},")));
    assert_eq!([0, 1, 2].map(answered), [true, true, false], "{words:?}");
}

#[test]
fn a_resumption_that_was_chosen_twice_leaves_its_own_connection_alone() {
    let mut front = front();
    front.received(Instant::ZERO, CLIENT, &hello(Some(RESUME)));
    let resumed = CommandOutcome::SessionResumed {
        token: 101,
        session: SESSION,
        timeout_ms: 12_000,
        last_number: 0,
        before: 0,
        who: Arc::default(),
    };
    applied(&mut front, resumed.clone());
    applied(&mut front, resumed);
    assert_eq!(heard(&mut front), (vec!["welcome".to_owned(), "resumed".to_owned()], false));
    let elsewhere = CommandOutcome::SessionResumed {
        token: 5,
        session: SESSION,
        timeout_ms: 12_000,
        last_number: 0,
        before: 0,
        who: Arc::default(),
    };
    applied(&mut front, elsewhere);
    assert!(heard(&mut front).1, "a connection elsewhere still takes the session away");
}

#[test]
fn a_cell_without_room_for_a_session_asks_to_wait() {
    let mut front = front();
    front.received(Instant::ZERO, CLIENT, &hello(None));
    let mut open = BytesMut::new();
    ClientMessage::OpenSession { token: 3, secret: 9, timeout_ms: 12_000 }.encode(&mut open);
    front.received(Instant::ZERO, CLIENT, &open);
    applied(&mut front, CommandOutcome::SessionsFull { token: 3, secret: 8 });
    assert_eq!(heard(&mut front).0, ["welcome"], "that was another client's opening");
    applied(&mut front, CommandOutcome::SessionsFull { token: 3, secret: 9 });
    assert_eq!(heard(&mut front), (vec!["full".to_owned()], false));
    front.received(Instant::ZERO, CLIENT, &open);
    assert!(!heard(&mut front).1, "it may ask again");
}

/// Whoever takes the session over passes over so many numbers: none beyond them may be under way.
#[test]
fn a_session_has_no_more_under_way_than_an_heir_passes_over() {
    let mut front = resumed(0, 0);
    let _ = (heard(&mut front), submitted(&mut front));
    let mut bytes = BytesMut::new();
    let mut sync = BytesMut::new();
    Operation::Sync.encode(&mut sync);
    for number in 1..=SESSION_REQUESTS_IN_FLIGHT as u64 + 1 {
        ClientMessage::Request { number, acked_upto: 0, operation: &sync }.encode(&mut bytes);
    }
    front.received(START, CLIENT, &bytes);
    let asked: usize = submitted(&mut front).iter().map(|submission| submission.requests().len()).sum();
    assert_eq!(asked, SESSION_REQUESTS_IN_FLIGHT);
    let (words, closed) = heard(&mut front);
    let refused = format!("Refused {{ number: {}, reason: Overloaded", SESSION_REQUESTS_IN_FLIGHT + 1);
    assert!(!closed && words.len() == 1 && words[0].starts_with(&refused), "{words:?}");
}

#[test]
fn who_opens_a_session_is_told_when_that_did_not_reach_the_log() {
    let mut front = front();
    front.received(Instant::ZERO, CLIENT, &hello(None));
    let mut open = BytesMut::new();
    ClientMessage::OpenSession { token: 3, secret: 9, timeout_ms: 12_000 }.encode(&mut open);
    front.received(Instant::ZERO, CLIENT, &open);
    let refused = |front: &mut Front, now: Instant, overloaded: bool| -> usize {
        let runs = submitted_at(front, now);
        let requests: Vec<_> = runs.iter().flat_map(Submission::requests).collect();
        assert!(requests.iter().all(|request| *request == (SessionId(3), 0)), "{requests:?}");
        front.notice(FrontNotice::Refused { requests: requests.clone(), overloaded }, &Tree::new(1));
        requests.len()
    };
    let later = START + READ_RETRY;
    assert_eq!(refused(&mut front, START, false), 1, "it is asked for");
    assert_eq!(refused(&mut front, START, false), 0, "not at once again");
    assert_eq!(front.next_deadline(), later);
    assert_eq!(refused(&mut front, later, false), 1, "but then, of whoever leads by now");
    assert_eq!(heard(&mut front).0, ["welcome"], "it waits");
    assert_eq!(refused(&mut front, later, false), 0);
    assert_eq!(refused(&mut front, later + READ_RETRY, true), 1);
    assert_eq!(heard(&mut front), (vec!["full".to_owned()], false));
    assert_eq!(refused(&mut front, later + READ_RETRY, true), 0, "the client asks again when it has waited");
    front.received(Instant::ZERO, CLIENT, &open);
    assert_eq!(refused(&mut front, later + READ_RETRY, false), 1, "as it may");
}

/// A client that drew token 3 and secret 9.
fn asks_for_a_session(front: &mut Front, id: ConnectionId) {
    let mut open = BytesMut::new();
    ClientMessage::OpenSession { token: 3, secret: 9, timeout_ms: 12_000 }.encode(&mut open);
    front.received(Instant::ZERO, id, &hello(None));
    front.received(Instant::ZERO, id, &open);
}

fn session_opened(secret: u128) -> CommandOutcome {
    CommandOutcome::SessionOpened { token: 3, secret, session: SESSION, timeout_ms: 12_000, who: Arc::default() }
}

#[test]
fn the_end_of_a_connection_takes_nothing_from_the_one_that_took_its_place() {
    let mut front = front();
    let again = ConnectionId(CLIENT.0 + 1);
    front.opened(START, again, None);
    [CLIENT, again].into_iter().for_each(|id| asks_for_a_session(&mut front, id));
    front.closed(CLIENT);
    let mut is_told = |secret| {
        applied(&mut front, session_opened(secret));
        heard(&mut front).0.iter().any(|word| word.starts_with("SessionOpened"))
    };
    assert!(!is_told(8), "that is the session of somebody who drew the same token");
    assert!(is_told(9), "what the first asked for is the second's");
}

/// The wish for a session may reach the log late, when its client has long gone on by another connection: that one must not
/// be left standing, as nothing it asks for would be answered there.
#[test]
fn a_session_that_is_opened_again_leaves_no_connection_without_answers() {
    let mut front = front();
    let late = ConnectionId(CLIENT.0 + 1);
    front.opened(START, late, None);
    for id in [CLIENT, late] {
        asks_for_a_session(&mut front, id);
        assert!(!heard(&mut front).1);
        applied(&mut front, session_opened(9));
    }
    assert_eq!(front.sessions.get(&SESSION), Some(&late));
    let (words, closed) = heard(&mut front);
    assert!(closed && words.iter().any(|word| word.contains("on another connection")), "{words:?}");
    front.closed(CLIENT);
    assert_eq!(front.sessions.get(&SESSION), Some(&late), "its end takes nothing along");
    applied(&mut front, session_opened(9));
    assert!(!heard(&mut front).1, "a second copy of the command is nobody's");
}

#[test]
fn a_client_that_says_no_hello_is_dropped() {
    let mut front = front();
    prepare(&mut front, START + HELLO_TIMEOUT.scaled(9, 10));
    assert!(!heard(&mut front).1);
    prepare(&mut front, START + HELLO_TIMEOUT);
    assert!(heard(&mut front).1);
}

#[test]
fn a_frame_that_does_not_get_on_costs_its_connection_and_a_slow_one_does_not() {
    let mut front = front();
    let mut bytes = hello(None);
    let mut ping = BytesMut::new();
    ClientMessage::Ping { number: 1 }.encode(&mut ping);
    bytes.extend_from_slice(&ping[..5]);
    front.received(Instant::ZERO, CLIENT, &bytes);
    prepare(&mut front, START);
    // Whole in time, and the next one begun: that one gets its own time.
    front.received(Instant::ZERO, CLIENT, &[&ping[5..], &ping[..5]].concat());
    prepare(&mut front, START + HELLO_TIMEOUT);
    assert_eq!(front.next_deadline(), START + FRAME_TIMEOUT, "it has said hello; the frame is looked at next");
    prepare(&mut front, START + FRAME_TIMEOUT);
    assert!(!heard(&mut front).1);
    prepare(&mut front, START + FRAME_TIMEOUT.scaled(19, 10));
    assert!(!heard(&mut front).1);
    prepare(&mut front, START + FRAME_TIMEOUT.scaled(2, 1));
    let (words, closed) = heard(&mut front);
    assert!(closed && words[0].contains("not whole within 30 s"), "{words:?}");
}

#[test]
fn a_session_is_named_once_however_often_it_speaks() {
    let mut front = resumed(0, 0);
    let mut pings = BytesMut::new();
    for number in 1..=50 {
        ClientMessage::Ping { number }.encode(&mut pings);
        ClientMessage::Cache(CacheAsk::Renew { number: 100 + number }).encode(&mut pings);
    }
    front.received(Instant::ZERO, CLIENT, &pings);
    let mut requests = Vec::new();
    front.prepare(START, false, &mut requests);
    let asked = requests.into_iter().find_map(|request| match request {
        FrontRequest::ReadPoint { sessions, wish, .. } => Some((sessions, wish.renew)),
        _ => None,
    });
    assert_eq!(asked, Some((vec![SESSION], vec![SESSION])));
}

/// A client waits for an answer to a sign of life before it gives another, and its session lives by them.
#[test]
fn a_sign_of_life_that_no_leader_heard_is_told_again() {
    let (mut front, tree) = (resumed(0, 0), Tree::new(1));
    heard(&mut front);
    let mut ping = BytesMut::new();
    ClientMessage::Ping { number: 7 }.encode(&mut ping);
    front.received(Instant::ZERO, CLIENT, &ping);
    let asks = |front: &mut Front, now| {
        let mut requests = Vec::new();
        front.prepare(now, false, &mut requests);
        let sessions = requests.into_iter().find_map(|request| match request {
            FrontRequest::ReadPoint { ticket, sessions, .. } => Some((ticket, sessions)),
            _ => None,
        });
        sessions.map(|(ticket, sessions)| {
            assert_eq!(sessions, [SESSION]);
            ticket
        })
    };
    let point = |ticket, upto, withheld| FrontNotice::ReadPoint { ticket, upto, withheld, word: Default::default() };
    let first = asks(&mut front, START).expect("it is told at once");
    front.notice(point(first, None, vec![SESSION]), &tree);
    assert_eq!(asks(&mut front, START), None, "there was no leader just now");
    assert!(front.next_deadline() <= START + READ_RETRY && !front.is_restless());
    let second = asks(&mut front, START + READ_RETRY).expect("it is told again");
    front.notice(point(second, Some(Slot(0)), vec![SESSION]), &tree);
    assert_eq!(heard(&mut front).0, [""; 0], "the end of the session is being decided");
    assert_eq!(asks(&mut front, START + READ_RETRY), None);
    let third = asks(&mut front, START + READ_RETRY.scaled(2, 1)).expect("it is told again");
    front.notice(point(third, Some(Slot(0)), Vec::new()), &tree);
    assert_eq!(heard(&mut front).0, ["Pong { number: 7 }"]);
    assert!(asks(&mut front, START + READ_RETRY.scaled(9, 1)).is_none() && front.pings.is_empty());
    front.received(Instant::ZERO, CLIENT, &ping);
    let last = asks(&mut front, START + READ_RETRY.scaled(9, 1)).expect("it is told");
    front.notice(point(last, None, Vec::new()), &tree);
    front.closed(CLIENT);
    assert!(front.pings.is_empty(), "nothing is kept for who is gone");
}

#[test]
fn data_past_the_limit_of_a_node_never_reach_the_log() {
    let within = Bytes::from(vec![0; NODE_DATA_BYTES_MAX]);
    let beyond = Bytes::from(vec![0; NODE_DATA_BYTES_MAX + 1]);
    let set = |data: &Bytes| Operation::Set { path: "/a".into(), data: data.clone(), expect: Expect::Any };
    let step = Step::Set { path: "/a".into(), data: beyond.clone(), expect: Expect::Any };
    for (operation, passes) in
        [(set(&within), true), (set(&beyond), false), (Operation::Multi { steps: vec![step] }, false)]
    {
        let mut front = resumed(0, 0);
        heard(&mut front);
        let mut requests = Vec::new();
        front.prepare(START, false, &mut requests);
        requests.clear();
        let (mut bytes, mut encoded) = (BytesMut::new(), BytesMut::new());
        operation.encode(&mut encoded);
        ClientMessage::Request { number: 1, acked_upto: 0, operation: &encoded }.encode(&mut bytes);
        front.received(Instant::ZERO, CLIENT, &bytes);
        front.prepare(START, false, &mut requests);
        let submitted = requests.iter().any(|request| matches!(request, FrontRequest::Submit(_)));
        let (words, closed) = heard(&mut front);
        assert_eq!((submitted, closed), (passes, !passes), "{words:?}");
        assert!(passes || words[0].contains("past the limit of 1048576"), "{words:?}");
    }
}

/// Numbers are the client's to choose: the ends of their range included, they cost nobody more than the connection.
#[test]
fn a_request_of_any_number_costs_its_connection_at_most() {
    let mut encoded = BytesMut::new();
    Operation::Sync.encode(&mut encoded);
    for number in [0, 1, u64::MAX - 1, u64::MAX] {
        let mut front = resumed(0, 0);
        heard(&mut front);
        let mut bytes = BytesMut::new();
        for acked_upto in [0, u64::MAX] {
            ClientMessage::Request { number, acked_upto, operation: &encoded }.encode(&mut bytes);
        }
        front.received(Instant::ZERO, CLIENT, &bytes);
        front.notice(FrontNotice::Refused { requests: vec![(SESSION, number)], overloaded: true }, &Tree::new(1));
        front.notice(FrontNotice::Leader { leader: None }, &Tree::new(1));
        front.notice(FrontNotice::Leader { leader: Some(ReplicaId(2)) }, &Tree::new(1));
        prepare(&mut front, START);
        assert_eq!(heard(&mut front).1, number == u64::MAX, "request {number}");
    }
}
