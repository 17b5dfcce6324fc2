//! The machine against a server of three lines: what was said to it is read, what it answers is written by the test.

mod handing;
mod keeping;
mod locking;
mod moving;
mod refusing;
mod watching;

use bytes::Bytes;

use super::*;
use crate::namespace::codec::{encode_outcome, encode_read_outcome};
use crate::namespace::command::{Expect, Stat, Step};
use crate::wire::cache::CacheAsk;
use crate::wire::client::{FaultCode, MemberAddress, Reason};

const SESSION: SessionId = SessionId(77);
const CELL: CellId = CellId(5);

/// What the machine said, in short.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Said {
    Hello { seen: u64, resume: bool },
    Open,
    Request { number: u64, acked_upto: u64 },
    Read { number: u64 },
    Ping(u64),
    Renew(u64),
    ReadCached { number: u64 },
    Recalled(u64),
    Watch { watch: u64, from: Option<Revision> },
    Unwatch(u64),
}

struct Test {
    machine: Machine,
    now: Instant,
    done: Vec<(u64, Result<Answered, Error>)>,
    events: Vec<SessionEvent>,
    told: Vec<(u64, WatchTold)>,
    /// Addresses it wanted to connect to, in order.
    dialled: Vec<String>,
    disconnects: usize,
    /// What is kept.
    shelf: Shelf,
}

impl Test {
    fn new(endpoints: &[&str], prefer: Prefer) -> Self {
        Self::resuming(endpoints, prefer, None)
    }

    /// A machine that is to take a session over, if one is given.
    fn resuming(endpoints: &[&str], prefer: Prefer, resume: Option<SessionId>) -> Self {
        let settings = Settings {
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            cell: None,
            name: "test".to_owned(),
            prefer,
            session_timeout: Duration::from_secs(12),
            grace: Duration::from_secs(45),
            open_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
            patience: Duration::from_millis(500),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_secs(1),
            calls_max: 100,
            resume,
            token: 1,
            secret: 2,
            seed: 3,
        };
        let now = Instant::from_nanos(1_000_000_000_000);
        let machine = Machine::new(now, settings);
        let mut test = Self {
            machine,
            now,
            done: vec![],
            events: vec![],
            told: vec![],
            dialled: vec![],
            disconnects: 0,
            shelf: Shelf::new(CacheSettings::default()),
        };
        test.collect();
        test
    }

    /// A machine with an open session at a cell of one replica.
    fn open() -> Self {
        let mut test = Self::new(&["a:1"], Prefer::Any);
        test.connect();
        test.say(&ServerMessage::SessionOpened { session: SESSION, timeout_ms: 12_000 });
        assert_eq!(test.machine.state(), SessionState::Safe);
        test
    }

    /// The attempt under way succeeds, and the server greets.
    fn connect(&mut self) -> Vec<Said> {
        self.machine.connected(self.now);
        let mut said = self.said();
        self.say(&welcome(1, None, &[]));
        said.extend(self.said());
        said
    }

    /// The connection breaks; the next one is made and the session taken up on it. Tells what was said since.
    fn reconnect(&mut self, applied_upto: u64) -> Vec<Said> {
        self.machine.disconnected(self.now, "it broke");
        self.redial();
        let mut said = self.connect();
        self.say(&resumed(applied_upto));
        said.extend(self.said());
        said
    }

    /// Waits until an attempt is under way.
    fn redial(&mut self) {
        for _ in 0..1_000 {
            if matches!(self.machine.link, Link::Connecting { .. }) {
                return self.collect();
            }
            self.pass(Duration::from_millis(10));
        }
        panic!("no attempt is made");
    }

    fn say(&mut self, message: &ServerMessage<'_>) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        // In two pieces, as networks do.
        let (head, tail) = bytes.split_at(7);
        self.machine.received(self.now, head);
        self.machine.received(self.now, tail);
        self.collect();
    }

    fn reply(&mut self, number: u64, revision: Revision) {
        let mut outcome = BytesMut::new();
        encode_outcome(&Ok(Done::Set { stat: Stat { modified: revision, ..Stat::default() } }), &mut outcome);
        self.say(&ServerMessage::Reply { number, revision, outcome: &outcome });
    }

    fn read_reply(&mut self, number: u64, revision: Revision) {
        let mut answer = BytesMut::new();
        encode_read_outcome(&Ok(Answer::<Bytes>::Exists { stat: None }), &mut answer);
        self.say(&ServerMessage::ReadReply { number, revision, answer: &answer });
    }

    fn set(&mut self, tag: u64) {
        let set = Operation::Set { path: "/a".to_owned(), data: Bytes::from_static(b"x"), expect: Expect::Any };
        self.machine.request(self.now, tag, set).expect("there is room");
    }

    fn get(&mut self, tag: u64) {
        let read = Read::Exists { path: "/a".to_owned() };
        self.machine.read(self.now, tag, read, Consistency::Linearizable).expect("there is room");
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..10_000 {
            self.now = self.machine.next_deadline().min(end).max(self.now);
            self.machine.tick(self.now);
            self.collect();
            if self.now == end && self.machine.next_deadline() > end {
                return;
            }
        }
        panic!("a deadline that has come is not left standing");
    }

    fn collect(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Connect { endpoint } => self.dialled.push(self.machine.address(endpoint).to_owned()),
                Effect::Disconnect => self.disconnects += 1,
                Effect::Done { tag, result } => self.done.push((tag, result)),
                Effect::Session(event) => self.events.push(event),
                Effect::Watch { watch, told } => self.told.push((watch, told)),
                Effect::Shelve(shelve) => self.shelf.take(shelve),
            }
        }
    }

    fn said(&mut self) -> Vec<Said> {
        let bytes = self.machine.outgoing().split();
        let mut said = Vec::new();
        let fed = FrameReader::new(CLIENT_MAGIC).feed(&bytes, CLIENT_FRAME_BYTES_MAX, |frame| {
            said.push(match ClientMessage::decode(frame).expect("the machine speaks the protocol") {
                ClientMessage::Hello(hello) => Said::Hello { seen: hello.seen, resume: hello.resume.is_some() },
                ClientMessage::OpenSession { .. } => Said::Open,
                ClientMessage::Request { number, acked_upto, .. }
                | ClientMessage::Authenticate { number, acked_upto, .. } => Said::Request { number, acked_upto },
                ClientMessage::Read { number, .. } => Said::Read { number },
                ClientMessage::Ping { number } => Said::Ping(number),
                ClientMessage::Cache(CacheAsk::Renew { number }) => Said::Renew(number),
                ClientMessage::Cache(CacheAsk::Read { number, .. }) => Said::ReadCached { number },
                ClientMessage::Cache(CacheAsk::Recalled { number, .. }) => Said::Recalled(number),
                ClientMessage::Watch { watch, registration } => Said::Watch { watch, from: registration.from },
                ClientMessage::Unwatch { watch } => Said::Unwatch(watch),
                ClientMessage::Status { .. }
                | ClientMessage::Members { .. }
                | ClientMessage::Sessions { .. }
                | ClientMessage::Snapshot { .. } => {
                    panic!("a session asks for no status")
                }
            });
            Ok::<(), crate::wire::frame::FrameError>(())
        });
        fed.expect("the machine writes whole frames");
        said
    }

    /// The tags of calls that succeeded, in order.
    fn succeeded(&self) -> Vec<u64> {
        self.done.iter().filter(|(_, result)| result.is_ok()).map(|(tag, _)| *tag).collect()
    }
}

pub(super) fn welcome(replica: u8, leader: Option<u8>, members: &[(u8, &str)]) -> ServerMessage<'static> {
    let members = members
        .iter()
        .map(|(replica, address)| MemberAddress { replica: ReplicaId(*replica), address: (*address).to_owned() });
    ServerMessage::Welcome(crate::wire::client::Welcome {
        protocol: 1,
        cell: CELL,
        replica: ReplicaId(replica),
        leader: leader.map(ReplicaId),
        members: members.collect(),
        request_bytes_max: 1 << 20,
        data_bytes_max: 1 << 19,
        requests_in_flight_max: 4,
        revision: 900,
    })
}

fn resumed(applied_upto: u64) -> ServerMessage<'static> {
    ServerMessage::SessionResumed { session: SESSION, timeout_ms: 12_000, applied_upto, applied_before: 0 }
}

fn request(number: u64, acked_upto: u64) -> Said {
    Said::Request { number, acked_upto }
}

#[test]
fn a_session_is_opened_and_calls_made_before_follow_in_order() {
    let mut test = Test::new(&["a:1"], Prefer::Leader);
    test.set(1);
    test.get(2);
    assert_eq!(test.connect(), [Said::Hello { seen: 0, resume: false }, Said::Open]);
    test.say(&ServerMessage::SessionOpened { session: SESSION, timeout_ms: 12_000 });
    assert_eq!(test.said(), [request(1, 0), Said::Read { number: 0 }]);
    test.reply(1, 10);
    test.read_reply(0, 10);
    assert_eq!(test.succeeded(), [1, 2]);
    assert_eq!(test.events, [SessionEvent::Safe]);
    assert_eq!(test.machine.revision(), 10);
    assert_eq!(test.machine.waiting(), 0);
}

#[test]
fn after_a_reconnection_each_unanswered_call_is_sent_once_in_order() {
    let mut test = Test::open();
    test.set(1);
    test.set(2);
    test.get(3);
    test.set(4);
    assert_eq!(test.said(), [request(1, 0), request(2, 0), Said::Read { number: 0 }, request(3, 0)]);
    test.reply(1, 10);
    let said = test.reconnect(2);
    let turn = 1 << 48;
    assert_eq!(
        said,
        [Said::Hello { seen: 10, resume: true }, request(2, 1), Said::Read { number: turn }, request(3, 1)]
    );
    test.reply(2, 11);
    // The answer to the first asking, had it still come, is not the answer to this one.
    test.read_reply(0, 11);
    assert_eq!(test.succeeded(), [1, 2]);
    test.read_reply(turn, 11);
    test.reply(3, 12);
    // A second answer to the same request changes nothing.
    test.reply(3, 12);
    assert_eq!(test.succeeded(), [1, 2, 3, 4]);
    assert_eq!(test.events, [SessionEvent::Safe], "reconnecting is no event");
}

#[test]
fn no_more_is_under_way_than_the_server_takes() {
    let mut test = Test::open();
    (1..=6).for_each(|tag| test.set(tag));
    assert_eq!(test.said(), [request(1, 0), request(2, 0), request(3, 0), request(4, 0)]);
    test.reply(1, 10);
    assert_eq!(test.said(), [request(5, 1)]);
    test.reply(2, 11);
    assert_eq!(test.said(), [request(6, 2)]);
}

#[test]
fn an_answer_that_overtakes_an_earlier_one_is_left_to_come_again() {
    let mut test = Test::open();
    test.set(1);
    test.set(2);
    test.reconnect(1);
    test.reply(2, 11);
    assert!(test.succeeded().is_empty());
    test.reply(1, 10);
    test.reply(2, 11);
    assert_eq!(test.succeeded(), [1, 2]);
}

#[test]
fn a_replica_that_goes_backwards_is_left() {
    let mut test = Test::open();
    test.get(1);
    test.get(2);
    test.read_reply(0, 50);
    test.read_reply(1, 49);
    assert_eq!(test.disconnects, 1);
    assert_eq!(test.succeeded(), [1]);
    test.redial();
    assert_eq!(test.dialled.len(), 2);
    let said = test.connect();
    assert_eq!(said[0], Said::Hello { seen: 50, resume: true });
}

#[test]
fn the_lease_runs_from_the_sending_of_the_ping_and_calls_wait_in_jeopardy() {
    let mut test = Test::open();
    let opened_at = test.now;
    test.pass(Duration::from_secs(4));
    assert_eq!(test.said(), [Said::Ping(1)]);
    let pinged_at = test.now;
    test.pass(Duration::from_millis(400));
    test.say(&ServerMessage::Pong { number: 1 });
    assert!(test.machine.next_deadline() <= pinged_at + Duration::from_secs(4), "the next ping is counted from it too");
    // From here on nobody answers: connections are tried, the lease runs out.
    test.pass(Duration::from_secs(11));
    assert_eq!(test.machine.state(), SessionState::Safe);
    test.pass(Duration::from_millis(577));
    assert!(test.now - opened_at > Duration::from_millis(15_970));
    assert_eq!(test.machine.state(), SessionState::Jeopardy);
    assert!(matches!(test.events[..], [SessionEvent::Safe, SessionEvent::Jeopardy { .. }]));
    test.set(1);
    assert_eq!(test.done.len(), 0, "a call in jeopardy waits");
    test.pass(Duration::from_secs(44));
    assert_eq!(test.machine.state(), SessionState::Jeopardy);
    test.pass(Duration::from_secs(2));
    assert_eq!(test.machine.state(), SessionState::Expired);
    let [(1, Err(error))] = &test.done[..] else { panic!("{:?}", test.done) };
    assert!(error.is_terminal());
    assert_eq!(error.outcome(), Known::NotApplied, "it was never sent");
    assert!(test.machine.is_over());
    assert_eq!(test.machine.next_deadline(), Instant::FOREVER);
}

#[test]
fn a_session_confirmed_within_the_grace_is_safe_again_and_held_calls_go_on() {
    let mut test = Test::open();
    test.machine.disconnected(test.now, "it broke");
    test.pass(Duration::from_secs(20));
    assert_eq!(test.machine.state(), SessionState::Jeopardy);
    test.set(1);
    test.redial();
    test.connect();
    assert_eq!(test.said(), [], "nothing is sent before the session is confirmed");
    test.say(&resumed(0));
    assert_eq!(test.said(), [request(1, 0)]);
    assert_eq!(test.machine.state(), SessionState::Safe);
    assert_eq!(test.events.last(), Some(&SessionEvent::Safe));
}

#[test]
fn the_cells_word_ends_the_session_at_once() {
    let mut test = Test::open();
    test.set(1);
    test.get(2);
    test.machine.disconnected(test.now, "it broke");
    test.redial();
    test.connect();
    test.say(&ServerMessage::SessionOver { session: SESSION });
    assert_eq!(test.machine.state(), SessionState::Expired);
    let outcomes: Vec<_> = test.done.iter().map(|(tag, r)| (*tag, r.as_ref().map_err(Error::outcome).err())).collect();
    assert_eq!(outcomes, [(1, Some(Known::Unknown)), (2, Some(Known::NotApplied))]);
    let late = test.machine.request(test.now, 3, Operation::Sync).expect_err("it is over");
    assert!(matches!(late, Error::SessionExpired { outcome: Known::NotApplied, .. }));
}

#[test]
fn a_client_that_prefers_the_leader_goes_there() {
    let members = [(1, "a:1"), (2, "b:1"), (3, "c:1")];
    let mut test = Test::new(&["a:1", "b:1"], Prefer::Leader);
    let first = test.dialled[0].clone();
    let here = if first == "a:1" { 1 } else { 2 };
    test.machine.connected(test.now);
    test.said();
    test.say(&welcome(here, Some(3), &members));
    assert_eq!(test.said(), [], "no session is opened on the way");
    assert_eq!(test.dialled, [first.as_str(), "c:1"], "the leader's address was learned");
    test.machine.connected(test.now);
    test.say(&welcome(3, Some(3), &members));
    test.say(&ServerMessage::SessionOpened { session: SESSION, timeout_ms: 12_000 });
    test.set(1);
    test.said();
    // Another leads: the request under way is sent there.
    test.say(&ServerMessage::Leader { leader: Some(ReplicaId(2)) });
    assert_eq!(test.dialled.last().map(String::as_str), Some("b:1"));
    assert_eq!(test.events.last(), Some(&SessionEvent::Failover { leader: ReplicaId(2) }));
    test.machine.connected(test.now);
    test.said();
    test.say(&welcome(2, Some(2), &members));
    test.say(&resumed(0));
    assert_eq!(test.said(), [request(1, 0)]);
}

#[test]
fn a_leader_that_just_failed_is_not_sought_out() {
    let members = [(1, "a:1"), (2, "b:1")];
    let mut test = Test::new(&["a:1", "b:1"], Prefer::Leader);
    let (first, here) = if test.dialled[0] == "a:1" { (1, 2) } else { (2, 1) };
    test.machine.disconnected(test.now, "nobody there");
    test.collect();
    test.machine.connected(test.now);
    test.said();
    test.say(&welcome(here, Some(first), &members));
    assert_eq!(test.said(), [Said::Open], "the session is opened here");
}

#[test]
fn a_silent_connection_is_given_up_only_while_it_owes_an_answer() {
    let mut test = Test::open();
    test.pass(Duration::from_secs(3));
    assert_eq!(test.disconnects, 0);
    test.set(1);
    test.pass(Duration::from_millis(499));
    assert_eq!(test.disconnects, 0);
    test.pass(Duration::from_millis(1));
    assert_eq!(test.disconnects, 1);
}

/// A leader with much to do, or a line that is slow: whoever asks anew each time before the answer is there never has it.
#[test]
fn who_is_not_answered_has_more_patience_on_each_connection() {
    let mut test = Test::open();
    test.set(1);
    for patience in [500, 1_000, 2_000, 4_000] {
        let before = test.disconnects;
        test.pass(Duration::from_millis(patience - 1));
        assert_eq!(test.disconnects, before, "not before {patience} ms");
        test.pass(Duration::from_millis(1));
        assert_eq!(test.disconnects, before + 1, "after {patience} ms");
        test.redial();
        test.connect();
        test.say(&resumed(0));
    }
    test.reply(1, 10);
    test.set(2);
    let before = test.disconnects;
    test.pass(Duration::from_millis(500));
    assert_eq!(test.disconnects, before + 1, "an answer makes up for it");
}

#[test]
fn a_connection_that_speaks_but_answers_nothing_is_given_up_too() {
    let mut test = Test::open();
    test.set(1);
    for _ in 0..40 {
        test.pass(Duration::from_millis(300));
        if test.disconnects > 0 {
            return;
        }
        test.say(&ServerMessage::Leader { leader: Some(ReplicaId(1)) });
    }
    panic!("the call waits for ever");
}

/// A busy client hears all the time; only an answer to its pings makes its session live on.
#[test]
fn a_connection_that_speaks_but_answers_no_ping_is_given_up_too() {
    let mut test = Test::open();
    for _ in 0..40 {
        test.pass(Duration::from_millis(300));
        if test.disconnects > 0 {
            return assert_eq!(test.machine.state(), SessionState::Safe, "in time");
        }
        test.say(&ServerMessage::Leader { leader: Some(ReplicaId(1)) });
    }
    panic!("the session is lost, though the cell is there");
}

#[test]
fn a_session_that_took_long_to_open_is_not_given_up_before_it_is_tried() {
    let mut test = Test::new(&["a:1"], Prefer::Any);
    test.machine.settings.grace = Duration::from_millis(100);
    test.connect();
    test.pass(Duration::from_millis(400));
    test.say(&ServerMessage::SessionOpened { session: SESSION, timeout_ms: 100 });
    test.pass(Duration::from_millis(1));
    assert_eq!(test.machine.state(), SessionState::Jeopardy, "by the first time of asking it may be over");
    assert_eq!(test.said(), [Said::Ping(1)]);
    test.say(&ServerMessage::Pong { number: 1 });
    assert_eq!(test.machine.state(), SessionState::Safe);
}

#[test]
fn closing_ends_the_session_after_the_calls_before_it() {
    let mut test = Test::open();
    test.set(1);
    test.machine.close(test.now, 2);
    assert_eq!(test.said(), [request(1, 0), request(2, 0)]);
    assert!(matches!(test.machine.request(test.now, 3, Operation::Sync), Err(Error::Closed { .. })));
    test.reply(1, 10);
    let mut outcome = BytesMut::new();
    encode_outcome(&Ok(Done::SessionClosed), &mut outcome);
    test.say(&ServerMessage::Reply { number: 2, revision: 11, outcome: &outcome });
    assert_eq!(test.succeeded(), [1, 2]);
    assert_eq!((test.machine.state(), test.disconnects), (SessionState::Closed, 1));
}

#[test]
fn a_close_whose_answer_was_lost_is_done_when_the_session_is_gone() {
    let mut test = Test::open();
    test.machine.close(test.now, 1);
    test.machine.disconnected(test.now, "it broke");
    test.redial();
    test.connect();
    test.say(&ServerMessage::SessionOver { session: SESSION });
    assert_eq!(test.succeeded(), [1]);
    assert_eq!(test.machine.state(), SessionState::Closed);
}

/// The session's timer stands still while the cell has no leader: only the cell knows whether it is over.
#[test]
fn a_close_is_not_acknowledged_because_the_clients_own_grace_is_over() {
    let mut test = Test::open();
    test.machine.close(test.now, 1);
    assert_eq!(test.said().len(), 1, "it was sent");
    test.machine.disconnected(test.now, "it broke");
    while !test.machine.is_over() {
        test.pass(Duration::from_secs(1));
        if matches!(test.machine.link, Link::Connecting { .. }) {
            test.machine.disconnected(test.now, "connection refused");
        }
    }
    let [(1, Err(Error::SessionExpired { outcome: Known::Unknown, .. }))] = &test.done[..] else {
        panic!("{:?}", test.done)
    };
    assert_eq!(test.machine.state(), SessionState::Expired);
}

#[test]
fn without_a_cell_the_opening_fails_and_says_what_it_met() {
    let mut test = Test::new(&["a:1", "b:1"], Prefer::Leader);
    test.set(1);
    while !test.machine.is_over() {
        if matches!(test.machine.link, Link::Connecting { .. }) {
            test.machine.disconnected(test.now, "connection refused");
        }
        test.pass(Duration::from_millis(5));
    }
    let [(1, Err(Error::Unreachable { why, .. }))] = &test.done[..] else { panic!("{:?}", test.done) };
    assert!(why.contains("connection refused"), "{why}");
    assert!(test.dialled.len() > 8, "it tries again");
    assert!(test.dialled.len() < 100, "it does not hammer");
}

#[test]
fn a_replica_that_forgot_what_was_answered_is_left() {
    let mut test = Test::open();
    test.set(1);
    test.reply(1, 10);
    test.reconnect(0);
    assert_eq!(test.disconnects, 1);
    assert_eq!(test.machine.state(), SessionState::Safe, "the session is not given up for it");
}

#[test]
fn bytes_damaged_on_their_way_cost_a_connection_and_no_session() {
    let mut test = Test::open();
    test.set(1);
    test.say(&ServerMessage::Fault { code: FaultCode::Damaged, text: "a frame failed its checksum" });
    assert_eq!((test.disconnects, test.done.len()), (1, 0), "the call waits for the next connection");
    test.redial();
    let said = test.connect();
    assert_eq!(said[0], Said::Hello { seen: 0, resume: true });
    test.say(&resumed(0));
    assert!(test.said().contains(&request(1, 0)), "it is sent again");
    assert_eq!(test.machine.state(), SessionState::Safe);
}

#[test]
fn another_cell_and_malformed_words_end_the_client() {
    let mut test = Test::open();
    test.set(1);
    test.machine.disconnected(test.now, "it broke");
    test.redial();
    test.machine.connected(test.now);
    let ServerMessage::Welcome(mut other) = welcome(1, None, &[]) else { unreachable!() };
    other.cell = CellId(6);
    test.set(2);
    test.say(&ServerMessage::Welcome(other));
    assert!(matches!(test.machine.ending(), Some(Error::WrongCell { .. })));
    let known: Vec<_> =
        test.done.iter().map(|(tag, done)| (*tag, done.as_ref().map_err(Error::outcome).err())).collect();
    assert_eq!(known, [(1, Some(Known::Unknown)), (2, Some(Known::NotApplied))], "the first was sent to its own cell");

    let mut test = Test::open();
    test.set(1);
    test.say(&ServerMessage::Reply { number: 1, revision: 3, outcome: b"\xff\xff" });
    assert!(matches!(&test.done[..], [(1, Err(Error::Protocol { outcome: Known::Unknown, .. }))]));
}

#[test]
fn more_calls_than_allowed_are_refused_without_effect() {
    let mut test = Test::open();
    (0..100).for_each(|tag| test.set(tag));
    let error = test.machine.request(test.now, 100, Operation::Sync).expect_err("too many");
    assert!(error.is_retryable());
    assert_eq!(error.outcome(), Known::NotApplied);
}

#[test]
fn what_is_too_large_is_refused_by_its_limit_and_never_sent() {
    let mut test = Test::open();
    let set = |bytes| {
        let data = Bytes::from(vec![0; bytes]);
        Operation::Set { path: "/a".to_owned(), data, expect: Expect::Any }
    };
    let steps = |bytes| {
        let step = Step::Set { path: "/a".to_owned(), data: Bytes::from(vec![0; bytes]), expect: Expect::Any };
        Operation::Multi { steps: vec![step; 2] }
    };
    for (operation, found, bound) in [
        (set((1 << 19) + 1), (1 << 19) + 1, 1 << 19),
        (steps((1 << 19) + 1), (1 << 19) + 1, 1 << 19),
        (steps(1 << 19), (1 << 20) + 68, 1 << 20),
    ] {
        let refused = test.machine.request(test.now, 1, operation);
        let Err(Error::TooLarge { size, limit, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((size, limit), (found, bound));
        assert!(test.machine.outgoing().is_empty(), "nothing of it is sent");
    }
    test.machine.request(test.now, 1, set(1 << 19)).expect("it just fits");
}
