//! One replica that is a cell by itself, with its front and one client, in memory: as `server::solo` drives them, with
//! a disk on which every write is durable at the end of the turn that asked for it.

use bytes::BytesMut;
use quorate::front::{ConnectionId, Facts, Front, Output};
use quorate::journal::hard_state::HardStateFile;
use quorate::journal::{Identity, Journal, Known, SegmentId, SegmentRead, Settings, recover};
use quorate::limits::CLIENT_FRAME_BYTES_MAX;
use quorate::namespace::Namespace;
use quorate::namespace::codec::decode_outcome;
use quorate::namespace::command::{Done, Expect, Handle, HandleMode, Lifetime, Operation, Read};
use quorate::paxos::{self, CellId, Config, HardState, Incarnation, ReplicaId, Slot};
use quorate::replica::exchange::{Effect, FrontId, FrontRequest, Input};
use quorate::replica::{Bounds, Digests, Recovered, Replica, Storage};
use quorate::time::{Duration, Instant};
use quorate::wire::client::{ClientMessage, Consistency, Hello, PROTOCOL_MAX, PROTOCOL_MIN, ServerMessage};
use quorate::wire::frame::{CLIENT_MAGIC, FrameError, FrameReader};

/// Bytes of each node's data.
pub const DATA_BYTES: usize = 1024;

/// Nodes that are read and written in turn.
pub const NODES: u64 = 128;

/// The cell, and how far its client is.
pub struct Alone {
    replica: Replica,
    front: Front,
    now: Instant,
    requests: Vec<FrontRequest>,
    effects: Vec<Effect>,
    written: Vec<u64>,
    /// What the client is about to send.
    asked: BytesMut,
    encoded: BytesMut,
    heard: Heard,
    last_number: u64,
    /// What the requests ask for, encoded before anything is counted.
    sets: Vec<BytesMut>,
    reads: Vec<(&'static str, Vec<BytesMut>)>,
    tell_use_at: Instant,
}

/// What the client was told.
#[derive(Default)]
struct Heard {
    has_session: bool,
    replies: u64,
    answers: u64,
    answer_bytes: u64,
    handle: Option<Handle>,
}

impl Alone {
    /// A cell that leads itself, with nodes of a KiB.
    pub fn new() -> Self {
        let mut alone = Self::started();
        alone.front.opened(alone.now, CLIENT, None);
        let (protocol_min, protocol_max) = (PROTOCOL_MIN, PROTOCOL_MAX);
        let hello = Hello { protocol_min, protocol_max, cell: None, name: "alone", seen: 0, resume: None };
        ClientMessage::Hello(hello).encode(&mut alone.asked);
        alone.exchange();
        while !alone.replica.lease().holds_at(alone.now) {
            alone.now += Duration::from_millis(10);
            alone.exchange();
        }
        ClientMessage::OpenSession { token: 1, secret: 2, timeout_ms: 60_000 }.encode(&mut alone.asked);
        alone.exchange();
        assert!(alone.heard.has_session, "a session opens within a turn");
        let paths: Vec<_> = (0..NODES).map(|node| format!("/node-{node}")).collect();
        for path in &paths {
            let data = vec![1; DATA_BYTES].into();
            alone.request(&Operation::Create {
                path: path.clone(),
                data,
                lifetime: Lifetime::Permanent,
                sequential: false,
            });
            alone.exchange();
        }
        alone.request(&Operation::Open { path: "/node-0".to_owned(), mode: HandleMode::READ, birth: None });
        alone.exchange();
        let handle = alone.heard.handle.take().expect("a node that is there is opened");
        let set = |path: &String| Operation::Set {
            path: path.clone(),
            data: vec![2; DATA_BYTES].into(),
            expect: Expect::Any,
        };
        alone.sets = paths.iter().map(|path| encoded(|out| set(path).encode(out))).collect();
        let reads =
            |of: &dyn Fn(&String) -> Read| paths.iter().map(|path| encoded(|out| of(path).encode(out))).collect();
        alone.reads = vec![
            ("get", reads(&|path| Read::Get { path: path.clone() })),
            ("exists", reads(&|path| Read::Exists { path: path.clone() })),
            ("get through a handle", reads(&|_| Read::HandleGet { handle: handle.clone() })),
        ];
        alone
    }

    /// Has `count` writes answered, so many under way at once.
    pub fn set(&mut self, count: u64, depth: u64) {
        let before = self.heard.replies;
        for _ in 0..count / depth {
            for _ in 0..depth {
                self.last_number += 1;
                let (number, acked_upto) = (self.last_number, self.last_number - depth.min(self.last_number));
                let operation = &self.sets[(number % NODES) as usize];
                ClientMessage::Request { number, acked_upto, operation }.encode(&mut self.asked);
            }
            self.exchange();
        }
        assert_eq!(self.heard.replies - before, count / depth * depth, "every write is answered within its turn");
    }

    /// Has `count` linearizable reads of that sort answered, so many under way at once.
    pub fn read(&mut self, sort: &str, count: u64, depth: u64) {
        let (before, bytes_before) = (self.heard.answers, self.heard.answer_bytes);
        let place = self.reads.iter().position(|(name, _)| *name == sort).expect("a sort of reads");
        for _ in 0..count / depth {
            for number in 0..depth {
                let read = &self.reads[place].1[((number * 61 + self.heard.answers) % NODES) as usize];
                let consistency = Consistency::Linearizable;
                ClientMessage::Read { number, consistency, read }.encode(&mut self.asked);
            }
            self.exchange();
        }
        let answers = self.heard.answers - before;
        assert_eq!(answers, count / depth * depth, "under the lease reads are answered at once");
        let data_bytes = if sort == "exists" { 0 } else { DATA_BYTES as u64 };
        assert!(self.heard.answer_bytes - bytes_before > answers * data_bytes, "what was asked for is in the answers");
    }

    fn request(&mut self, operation: &Operation) {
        self.encoded.clear();
        operation.encode(&mut self.encoded);
        self.last_number += 1;
        let (number, acked_upto) = (self.last_number, self.last_number - 1);
        ClientMessage::Request { number, acked_upto, operation: &self.encoded }.encode(&mut self.asked);
    }

    /// The client's bytes arrive; turns go by until all that they lead to is durable.
    fn exchange(&mut self) {
        self.front.received(self.now, CLIENT, &self.asked);
        self.asked.clear();
        loop {
            self.end_turn();
            self.now += Duration::from_micros(50);
            if self.written.is_empty() && !self.front.is_restless() {
                return;
            }
            for token in self.written.drain(..) {
                self.replica.step(self.now, Input::Written { token }, &mut self.effects);
            }
        }
    }

    fn end_turn(&mut self) {
        let Self { replica, front, now, requests, effects, written, heard, .. } = self;
        let now = *now;
        let lease = replica.lease();
        let leased = lease.holds_at(now);
        front.prepare(now, leased, requests);
        for request in requests.drain(..) {
            replica.step(now, Input::Front { front: FrontId(0), request }, effects);
        }
        if replica.next_deadline(now) <= now {
            replica.step(now, Input::Tick, effects);
        }
        replica.step(now, Input::TurnEnd { wall_ms: 1 }, effects);
        let mut ready = None;
        for effect in effects.drain(..) {
            match effect {
                Effect::Front { notice, .. } => front.notice(notice, replica.tree()),
                Effect::Write { token, .. } => written.push(token),
                Effect::PrepareSegment { segment } | Effect::RecycleSegment { segment, .. } => ready = Some(segment),
                Effect::RemoveSegment { .. } => {}
                other => panic!("a replica alone, without images: {other:?}"),
            }
        }
        if let Some(segment) = ready {
            replica.step(now, Input::SegmentReady { segment }, effects);
        }
        let used = front.finish(now, replica.tree(), leased, || replica.lease() == lease && now < lease.until);
        if used && now >= self.tell_use_at {
            self.tell_use_at = now + Duration::from_millis(10);
            replica.step(now, Input::Front { front: FrontId(0), request: FrontRequest::LeaseUsed }, effects);
        }
        front.take_output(|output| match output {
            Output::Send { bytes, .. } => heard.bytes(&bytes),
            Output::Close { .. } => panic!("the client does nothing wrong"),
        });
    }

    fn started() -> Self {
        let (cell, me, incarnation) = (CellId(1), ReplicaId(1), Incarnation(1));
        let identity = Identity { cell, replica: me, incarnation };
        let state = HardState::fresh(Config::of_voters([me]).bound(me, incarnation));
        let mut hard_state = HardStateFile::open(cell, &HardStateFile::format(identity, &state)).expect("just made");
        let known = Known {
            identity,
            start: 0,
            hard_state: hard_state.durable_sequence(),
            image_upto: Slot(0),
            chosen_upto: Slot(0),
            image_is_led_to: false,
        };
        let recovery = recover(&mut Blank, known, &mut |_, _| {}).expect("an empty journal");
        let mut journal = Journal::open(identity, Settings { segment_bytes: SEGMENT_BYTES }, recovery.tail);
        let write = journal.next_write().expect("the start's record");
        journal.completed(Instant::ZERO, write.id);
        hard_state.save_start(journal.start(), paxos::Ballot::NONE);
        while let Some(write) = hard_state.next_write() {
            hard_state.completed(write.id);
        }
        let bounds = Bounds { image_after_bytes: 1 << 50, journal_bytes_max: 1 << 50, keep_bytes: 1 << 50 };
        let recovered = Recovered {
            paxos: paxos::Recovered { hard_state: state, ..paxos::Recovered::fresh(Config::of_voters([me])) },
            namespace: Namespace::new(7),
            images: std::collections::BTreeMap::new(),
            bounds,
            scrub_period: None,
            damaged_upto: Slot(0),
            digests: Digests::every(1024),
            storage: Storage::new(journal, hard_state, bounds),
        };
        Self {
            replica: Replica::start(Instant::ZERO, settings(), recovered, 1, 7),
            front: Front::new(facts()),
            now: Instant::ZERO + Duration::from_secs(10),
            requests: Vec::new(),
            effects: Vec::new(),
            written: Vec::new(),
            asked: BytesMut::new(),
            encoded: BytesMut::new(),
            heard: Heard::default(),
            last_number: 0,
            sets: Vec::new(),
            reads: Vec::new(),
            tell_use_at: Instant::ZERO,
        }
    }
}

impl Heard {
    fn bytes(&mut self, bytes: &[u8]) {
        let told = FrameReader::new(CLIENT_MAGIC).feed(bytes, CLIENT_FRAME_BYTES_MAX, |frame| {
            match ServerMessage::decode(frame).expect("the server's word") {
                ServerMessage::SessionOpened { .. } => self.has_session = true,
                ServerMessage::Reply { outcome, .. } => {
                    self.replies += 1;
                    if let Ok(Done::Opened { handle, .. }) = decode_outcome(outcome).expect("an outcome") {
                        self.handle = Some(handle);
                    }
                    assert_eq!(outcome[0], 0, "nothing is refused");
                }
                ServerMessage::ReadReply { answer, .. } => {
                    self.answers += 1;
                    self.answer_bytes += answer.len() as u64;
                    assert_eq!(answer[0], 0, "nothing is refused");
                }
                ServerMessage::Welcome(_) | ServerMessage::Leader { .. } => {}
                other => panic!("nothing else was asked for: {other:?}"),
            }
            Ok::<(), FrameError>(())
        });
        told.expect("whole frames");
    }
}

/// A journal in which nothing was written yet.
struct Blank;

impl SegmentRead for Blank {
    fn segments(&self) -> Vec<(SegmentId, u64)> {
        vec![(SegmentId(1), SEGMENT_BYTES), (SegmentId(2), SEGMENT_BYTES)]
    }

    fn read(&mut self, _: SegmentId, _: u64, into: &mut [u8]) -> std::io::Result<()> {
        into.fill(0);
        Ok(())
    }
}

fn encoded(put: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    put(&mut out);
    out
}

/// What `quorate start` takes where the configuration says nothing, but for the values kept in memory: they are to be
/// as many as ever before anything is counted.
fn settings() -> paxos::Settings {
    paxos::Settings {
        me: ReplicaId(1),
        incarnation: Incarnation(1),
        heartbeat: Duration::from_millis(25),
        lease: Duration::from_millis(250),
        lease_reads: true,
        margin: Duration::from_millis(5),
        clock_error_ppm: 1000,
        election_min: Duration::from_millis(250),
        election_max: Duration::from_millis(375),
        log_memory_bytes: 1 << 20,
        seed: 1,
    }
}

fn facts() -> Facts {
    Facts {
        cell: CellId(1),
        replica: ReplicaId(1),
        members: Vec::new(),
        timeout_min: Duration::from_secs(2),
        timeout_max: Duration::from_secs(60),
        seed: 5,
        past_bytes_max: 64 << 10,
        super_user: None,
        rate: None,
    }
}

const CLIENT: ConnectionId = ConnectionId(1);

const SEGMENT_BYTES: u64 = 64 << 20;
