//! The machine against a cell with every fault a connection can have: breaks, refusals, frames of a dead connection that
//! are applied late and answered on the next one. Whatever happens, each request is applied once, in order, and once the
//! faults stop every call is answered.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::namespace::codec::{encode_outcome, encode_read_outcome};
use crate::wire::client::Reason;
use crate::wire::frame::FrameError;

const SESSION: SessionId = SessionId(7);

#[derive(Clone, Copy, Debug)]
enum Step {
    Request,
    Read,
    /// The attempt under way succeeds, or fails.
    Attempt(bool),
    /// Frames of the client reach the server.
    ToServer(u8),
    /// A frame of the server reaches the client.
    ToClient,
    /// The connection breaks; frames under way to the server may still arrive.
    Break,
    /// One of those does.
    Late,
    /// The next request is turned away.
    Refuse,
    /// The next read is turned away.
    RefuseRead,
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Request),
        2 => Just(Step::Read),
        3 => prop::bool::weighted(0.8).prop_map(Step::Attempt),
        6 => (1u8..4).prop_map(Step::ToServer),
        8 => Just(Step::ToClient),
        1 => Just(Step::Break),
        2 => Just(Step::Late),
        1 => Just(Step::Refuse),
        1 => Just(Step::RefuseRead),
        2 => (1u16..2000).prop_map(Step::Pass),
    ]
}

/// A frame from the client, decoded as far as the cell cares.
#[derive(Clone, Copy, Debug)]
enum Heard {
    Hello { resume: bool },
    Open,
    Request(u64),
    Read(u64),
    Ping(u64),
}

struct World {
    machine: Machine,
    now: Instant,
    to_server: VecDeque<Heard>,
    to_client: VecDeque<BytesMut>,
    late: VecDeque<Heard>,
    /// Whether the session belongs to the connection that stands.
    entered: bool,
    refused_from: Option<u64>,
    refuse: bool,
    refuse_read: bool,
    /// The last request applied; each is applied at the revision of its own number.
    applied: u64,
    requests: u64,
    /// Of each read, by its tag: the requests made before it.
    reads: Vec<u64>,
    answered_requests: u64,
    answered_reads: usize,
    disconnects: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let settings = Settings {
            endpoints: vec!["a:1".to_owned(), "b:1".to_owned()],
            cell: None,
            name: String::new(),
            prefer: Prefer::Any,
            session_timeout: Duration::from_secs(3_600),
            grace: Duration::from_secs(3_600),
            open_timeout: Duration::from_secs(3_600),
            connect_timeout: Duration::from_secs(1),
            patience: Duration::from_millis(500),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_secs(1),
            calls_max: 10_000,
            resume: None,
            token: 1,
            secret: 2,
            seed,
        };
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            machine: Machine::new(now, settings),
            now,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            late: VecDeque::new(),
            entered: false,
            refused_from: None,
            refuse: false,
            refuse_read: false,
            applied: 0,
            requests: 0,
            reads: Vec::new(),
            answered_requests: 0,
            answered_reads: 0,
            disconnects: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Request => {
                self.requests += 1;
                self.machine.request(self.now, self.requests, Operation::Sync).expect("there is room");
            }
            Step::Read => {
                self.reads.push(self.requests);
                let (tag, read) = (READ_TAG + self.reads.len() as u64 - 1, Read::Exists { path: "/a".to_owned() });
                self.machine.read(self.now, tag, read, Consistency::Linearizable).expect("there is room");
            }
            Step::Attempt(succeeds) if matches!(self.machine.link, Link::Connecting { .. }) => {
                if succeeds {
                    self.machine.connected(self.now);
                } else {
                    self.machine.disconnected(self.now, "refused");
                }
            }
            Step::ToServer(frames) => {
                for heard in self.to_server.drain(..self.to_server.len().min(frames.into())).collect::<Vec<_>>() {
                    self.serve(heard);
                }
            }
            Step::ToClient => {
                if let Some(bytes) = self.to_client.pop_front() {
                    self.machine.received(self.now, &bytes);
                }
            }
            Step::Break if self.machine.is_connected() => {
                self.machine.disconnected(self.now, "broken");
                self.cut();
            }
            Step::Late => {
                if let Some(Heard::Request(number)) = self.late.pop_front() {
                    self.apply(number);
                }
            }
            Step::Refuse => self.refuse = true,
            Step::RefuseRead => self.refuse_read = true,
            Step::Pass(millis) => {
                self.now += Duration::from_millis(millis.into());
                self.machine.tick(self.now);
            }
            Step::Attempt(_) | Step::Break => {}
        }
        self.collect();
    }

    /// The connection is gone, and with it what was on its way to the client.
    fn cut(&mut self) {
        self.late.extend(self.to_server.drain(..));
        self.to_client.clear();
        self.entered = false;
        self.refused_from = None;
    }

    fn collect(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Connect { .. } | Effect::Session(SessionEvent::Safe) => {}
                Effect::Disconnect => {
                    self.disconnects += 1;
                    self.cut();
                }
                Effect::Session(event) => panic!("{event:?} without cause"),
                Effect::Watch { told, .. } => panic!("{told:?} without a watch"),
                Effect::Shelve(_) => {}
                Effect::Done { tag, result } => self.done(tag, result.expect("no call fails")),
            }
        }
        let bytes = self.machine.outgoing().split();
        let fed = FrameReader::new(CLIENT_MAGIC).feed(&bytes, CLIENT_FRAME_BYTES_MAX, |frame| {
            self.to_server.push_back(match ClientMessage::decode(frame).expect("the machine speaks the protocol") {
                ClientMessage::Hello(hello) => Heard::Hello { resume: hello.resume.is_some() },
                ClientMessage::OpenSession { .. } => Heard::Open,
                ClientMessage::Request { number, .. } | ClientMessage::Authenticate { number, .. } => {
                    Heard::Request(number)
                }
                ClientMessage::Read { number, .. } => Heard::Read(number),
                ClientMessage::Ping { number } => Heard::Ping(number),
                ClientMessage::Cache(ask) => panic!("{ask:?}, though nothing is kept"),
                ClientMessage::Watch { .. } | ClientMessage::Unwatch { .. } => panic!("nothing is watched"),
                ClientMessage::Status { .. }
                | ClientMessage::Members { .. }
                | ClientMessage::Sessions { .. }
                | ClientMessage::Snapshot { .. } => {
                    panic!("a session asks for no status")
                }
            });
            Ok::<(), FrameError>(())
        });
        fed.expect("the machine writes whole frames");
    }

    fn done(&mut self, tag: u64, answered: Answered) {
        match answered {
            Answered::Request { revision, .. } => {
                assert_eq!(tag, self.answered_requests + 1, "requests are answered in order, once");
                assert_eq!(revision, tag, "each has the number it was made with");
                self.answered_requests += 1;
            }
            Answered::Read { revision, .. } => {
                let behind = &mut self.reads[(tag - READ_TAG) as usize];
                assert!(*behind != u64::MAX, "a read is answered once");
                assert!(revision >= *behind, "a read sees the requests made before it");
                *behind = u64::MAX;
                self.answered_reads += 1;
            }
            Answered::Saved(_) => panic!("nobody saves the session"),
        }
    }

    fn serve(&mut self, heard: Heard) {
        match heard {
            Heard::Hello { resume } => {
                self.say(&super::tests::welcome(1, None, &[]));
                if resume {
                    self.entered = true;
                    let applied_upto = self.applied;
                    self.say(&ServerMessage::SessionResumed {
                        session: SESSION,
                        timeout_ms: 3_600_000,
                        applied_upto,
                        applied_before: 0,
                    });
                }
            }
            Heard::Open => {
                self.entered = true;
                self.say(&ServerMessage::SessionOpened { session: SESSION, timeout_ms: 3_600_000 });
            }
            Heard::Request(number) => {
                if self.refused_from.is_some_and(|from| from != number) {
                    return;
                }
                self.refused_from = None;
                if std::mem::take(&mut self.refuse) {
                    self.refused_from = Some(number);
                    self.say(&ServerMessage::Refused { number, reason: Reason::NotReady });
                } else {
                    self.apply(number);
                }
            }
            Heard::Read(number) if self.refused_from.is_none() => {
                if std::mem::take(&mut self.refuse_read) {
                    let reason = Reason::Overloaded { retry_after_ms: 3 };
                    return self.say(&ServerMessage::ReadRefused { number, reason });
                }
                let mut answer = BytesMut::new();
                encode_read_outcome(&Ok(Answer::<Bytes>::Exists { stat: None }), &mut answer);
                self.say(&ServerMessage::ReadReply { number, revision: self.applied, answer: &answer });
            }
            Heard::Read(_) => {}
            Heard::Ping(number) => self.say(&ServerMessage::Pong { number }),
        }
    }

    /// The log applies a request and answers it on whatever connection the session has.
    fn apply(&mut self, number: u64) {
        if number > self.applied + 1 {
            return;
        }
        self.applied = self.applied.max(number);
        let mut outcome = BytesMut::new();
        encode_outcome(&Ok(Done::Synced), &mut outcome);
        self.say(&ServerMessage::Reply { number, revision: number, outcome: &outcome });
    }

    fn say(&mut self, message: &ServerMessage<'_>) {
        if self.entered || matches!(message, ServerMessage::Welcome(_)) {
            let mut bytes = BytesMut::new();
            message.encode(&mut bytes);
            self.to_client.push_back(bytes);
        }
    }

    /// The faults stop; everything must come to its end, and not by giving up a connection that seems stuck.
    fn heal(&mut self) {
        (self.refuse, self.refuse_read) = (false, false);
        (self.machine.heard_at, self.machine.progress_at, self.machine.refusals) = (self.now, self.now, 0);
        let disconnects = self.disconnects;
        for _ in 0..5_000 {
            for step in [Step::Attempt(true), Step::ToServer(255), Step::ToClient, Step::ToClient, Step::Pass(5)] {
                self.step(step);
            }
            if self.answered_requests == self.requests && self.answered_reads == self.reads.len() {
                assert_eq!(self.applied, self.requests);
                assert_eq!(self.machine.waiting(), 0);
                assert_eq!(self.disconnects, disconnects, "nothing was stuck");
                return;
            }
        }
        panic!("{} of {} requests were answered", self.answered_requests, self.requests);
    }
}

/// Tags of reads start here.
const READ_TAG: u64 = 1 << 32;

proptest! {
    #[test]
    fn each_request_is_applied_once_in_order_and_every_call_is_answered(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut world = World::new(seed);
        steps.into_iter().for_each(|step| world.step(step));
        world.heal();
    }
}
