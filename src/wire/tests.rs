//! The bytes of every message, on record; and bytes that are none.
#![allow(clippy::disallowed_methods, reason = "golden files are read from disk")]

#[cfg(feature = "server")]
mod peer;
mod tags;

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::cache::{CacheAsk, CacheTold, Recall};
use super::client::{
    CacheAccount, ClientMessage, Consistency, FaultCode, Hello, MemberAddress, MessageError, Reason, Role,
    ServerMessage, SessionAccount, SessionsPage, Status, Welcome,
};
use super::frame::{CLIENT_MAGIC, Frame, FrameError, FrameReader};
use super::members::{ChangeAnswer, Members};
use super::snapshots::{SnapshotAnswer, SnapshotQuestion};
use super::watch::{Event, EventKind, Registration, Scope};
use crate::namespace::command::{Resume, SessionId, Stat};
use crate::paxos::ballot::{Ballot, CellId, Incarnation, ReplicaId, Slot};
use crate::paxos::{Addresses, Member, MemberChange, MemberStatus, Standing};

const CELL: CellId = CellId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
const SESSION: SessionId = SessionId(0x0102_0304_0506_0708);
const SECRET: u128 = 0xf0e0_d0c0_b0a0_9080_7060_5040_3020_1000;

fn client_messages() -> Vec<(&'static str, ClientMessage<'static>)> {
    let hello = Hello { protocol_min: 1, protocol_max: 1, cell: None, name: "", seen: 0, resume: None };
    let resume = Some(Resume { session: SESSION, secret: SECRET, holder: 8, takes_over: true });
    let again = Hello { cell: Some(CELL), name: "shell", seen: 4711, resume, ..hello.clone() };
    vec![
        ("hello of a new client", ClientMessage::Hello(hello)),
        ("hello that resumes a session", ClientMessage::Hello(again)),
        ("open session", ClientMessage::OpenSession { token: 9, secret: SECRET, timeout_ms: 12_000 }),
        ("request", ClientMessage::Request { number: 3, acked_upto: 2, operation: b"operation" }),
        (
            "authenticate",
            ClientMessage::Authenticate { number: 3, acked_upto: 2, name: "alice", password: "open sesame" },
        ),
        ("read, linearizable", read(1, Consistency::Linearizable)),
        ("read, at least", read(2, Consistency::AtLeast(4711))),
        ("read, stale", read(3, Consistency::Stale)),
        ("ping", ClientMessage::Ping { number: 5 }),
        ("status", ClientMessage::Status { number: 6 }),
        ("list members", ClientMessage::Members { number: 7, change: None }),
        ("add a member", ClientMessage::Members { number: 7, change: Some(addition()) }),
        (
            "remove a member",
            ClientMessage::Members { number: 7, change: Some(MemberChange::Remove { replica: ReplicaId(3) }) },
        ),
        ("sessions", ClientMessage::Sessions { number: 6, after: SESSION }),
        ("snapshot, which image", snapshot(SnapshotQuestion::Image { at_least: 4711 })),
        ("snapshot, a piece", snapshot(SnapshotQuestion::Piece { image: Slot(60), offset: 4096 })),
        ("watch a node", watch(registration(Scope::Node))),
        ("watch children from a revision", watch(Registration { from: Some(4711), ..registration(Scope::Children) })),
        ("watch entries", watch(registration(Scope::Entries))),
        ("watch a subtree with data", watch(Registration { with_data: true, ..registration(Scope::Subtree) })),
        ("watch a lock", watch(registration(Scope::Lock))),
        ("unwatch", ClientMessage::Unwatch { watch: 8 }),
        ("renew", ClientMessage::Cache(CacheAsk::Renew { number: 9 })),
        ("read cached", ClientMessage::Cache(CacheAsk::Read { number: 10, read: b"read" })),
        ("recalled", ClientMessage::Cache(CacheAsk::Recalled { reign: REIGN, number: 11 })),
    ]
}

fn addition() -> MemberChange {
    MemberChange::Add { replica: ReplicaId(4), incarnation: Incarnation(SECRET), addresses: Some(addresses()) }
}

fn addresses() -> Addresses {
    Addresses { peer: "four:7401".into(), client: "four:7400".into() }
}

fn snapshot(question: SnapshotQuestion) -> ClientMessage<'static> {
    ClientMessage::Snapshot { number: 6, question }
}

fn snapshot_answers() -> [(&'static str, ServerMessage<'static>); 5] {
    let (image, bytes) = (Slot(60), Bytes::from_static(b"rows"));
    let told = |answer| ServerMessage::Snapshot { number: 6, answer };
    [
        ("snapshot, the image", told(SnapshotAnswer::Image { image })),
        ("snapshot, not yet", told(SnapshotAnswer::NotYet { revision: 4711 })),
        ("snapshot, a piece", told(SnapshotAnswer::Piece { image, offset: 4096, bytes })),
        ("snapshot, gone", told(SnapshotAnswer::Gone { image })),
        ("snapshot, not authorized", told(SnapshotAnswer::NotAuthorized)),
    ]
}

fn read(number: u64, consistency: Consistency) -> ClientMessage<'static> {
    ClientMessage::Read { number, consistency, read: b"read" }
}

fn registration(scope: Scope) -> Registration<'static> {
    Registration { path: "/app", scope, from: None, with_data: false }
}

fn watch(registration: Registration<'static>) -> ClientMessage<'static> {
    ClientMessage::Watch { watch: 8, registration }
}

fn server_messages() -> Vec<(&'static str, ServerMessage<'static>)> {
    let welcome = Welcome {
        protocol: 1,
        cell: CELL,
        replica: ReplicaId(2),
        leader: Some(ReplicaId(1)),
        members: vec![member(1, "10.0.0.1:7400"), member(2, "[fe80::2]:7400"), member(3, "three.example:7400")],
        request_bytes_max: 2 << 20,
        data_bytes_max: 1 << 20,
        requests_in_flight_max: 4096,
        revision: 4711,
    };
    let overloaded = Reason::Overloaded { retry_after_ms: 250 };
    let mut messages = vec![
        ("welcome", ServerMessage::Welcome(welcome)),
        ("session opened", ServerMessage::SessionOpened { session: SESSION, timeout_ms: 12_000 }),
        (
            "session resumed",
            ServerMessage::SessionResumed {
                session: SESSION,
                timeout_ms: 12_000,
                applied_upto: 4101,
                applied_before: 5,
            },
        ),
        ("reply", ServerMessage::Reply { number: 3, revision: 4712, outcome: b"outcome" }),
        ("throttled", ServerMessage::ReadRefused { number: 2, reason: Reason::Throttled { retry_after_ms: 15 } }),
        ("read reply", ServerMessage::ReadReply { number: 1, revision: 4712, answer: b"answer" }),
        ("pong", ServerMessage::Pong { number: 5 }),
        ("leader", ServerMessage::Leader { leader: Some(ReplicaId(3)) }),
        ("no leader", ServerMessage::Leader { leader: None }),
        ("refused, not ready", ServerMessage::Refused { number: 0, reason: Reason::NotReady }),
        ("refused, overloaded", ServerMessage::Refused { number: 7, reason: overloaded }),
        ("refused, resend", ServerMessage::Refused { number: 7, reason: Reason::Resend }),
        ("read refused", ServerMessage::ReadRefused { number: 2, reason: Reason::NotReady }),
        ("lock turn", ServerMessage::LockTurn { path: "/locks/one" }),
        ("session over", ServerMessage::SessionOver { session: SESSION }),
        ("fault", ServerMessage::Fault { code: FaultCode::WrongCell, text: "this is cell 5" }),
        ("fault of the port for replicas", ServerMessage::Fault { code: FaultCode::PeerPort, text: "go to 7400" }),
        ("status reply", ServerMessage::StatusReply { number: 6, status: status() }),
        ("members", ServerMessage::MembersReply { number: 7, members: members(ChangeAnswer::Listed) }),
        ("members changed", changed(ChangeAnswer::Changed { slot: Slot(104) })),
        ("change refused", changed(ChangeAnswer::Refused { again: true, text: "replica 1 leads".to_owned() })),
        ("change not authorized", changed(ChangeAnswer::NotAuthorized)),
        ("sessions reply", ServerMessage::SessionsReply { number: 6, page: sessions() }),
        ("watch opened", ServerMessage::WatchOpened { watch: 8, revision: 4711 }),
        ("watch refused", ServerMessage::WatchRefused { watch: 8, refusal: b"refusal" }),
        ("events", ServerMessage::Events { watch: 8, revision: 4712, more: false, events: events() }),
        ("events, more to come", ServerMessage::Events { watch: 8, revision: 4712, more: true, events: vec![] }),
        ("gap", ServerMessage::Gap { watch: 8, from: 4711, to: 4720 }),
        ("progress", ServerMessage::Progress { revision: 4720 }),
        ("renewed", ServerMessage::Cache(CacheTold::Renewed { number: 9, lease_ms: 2000 })),
        (
            "cached reply",
            ServerMessage::Cache(CacheTold::Reply { number: 10, revision: 4711, keep: true, answer: b"answer" }),
        ),
        ("recall", ServerMessage::Cache(CacheTold::Recall(recall(&["/a", "/a/b"])))),
        ("recall of everything", ServerMessage::Cache(CacheTold::Recall(recall(&[])))),
    ];
    messages.extend(snapshot_answers());
    messages
}

fn events() -> Vec<Event<'static>> {
    let node = Some((&b"data"[..], Stat { created: 4711, data_bytes: 4, ..Stat::default() }));
    vec![
        Event { kind: EventKind::Created, path: "/app/a", node: None },
        Event { kind: EventKind::Changed, path: "/app/a", node },
        Event { kind: EventKind::Deleted, path: "/app/b", node: None },
        Event { kind: EventKind::OverQuota, path: "/app", node: None },
        Event { kind: EventKind::Wanted, path: "/app", node: None },
    ]
}

fn member(replica: u8, address: &str) -> MemberAddress {
    MemberAddress { replica: ReplicaId(replica), address: address.to_owned() }
}

fn changed(answer: ChangeAnswer) -> ServerMessage<'static> {
    ServerMessage::MembersReply { number: 7, members: Members { members: vec![], ..members(answer) } }
}

fn members(answer: ChangeAnswer) -> Members {
    let unmet = MemberStatus { member: Member::voter(ReplicaId(1)), answers: false, chosen_upto: Slot(0) };
    let newcomer = Member {
        incarnation: Some(Incarnation(SECRET)),
        standing: Standing::Learner,
        addresses: Some(addresses()),
        ..Member::voter(ReplicaId(4))
    };
    Members {
        leader: Some(ReplicaId(1)),
        config_slot: Slot(40),
        in_force_from: Slot(104),
        chosen_upto: Slot(103),
        answer,
        members: vec![unmet, MemberStatus { member: newcomer, answers: true, chosen_upto: Slot(99) }],
    }
}

fn sessions() -> SessionsPage {
    let one = SessionAccount {
        session: SESSION,
        timeout_ms: 12_000,
        requests: 3,
        ephemerals: 2,
        locks: 1,
        handles: 5,
        watches: 4,
        here: true,
    };
    SessionsPage { revision: 4711, sessions: vec![one, SessionAccount { here: false, ..one }], more: true }
}

const REIGN: Ballot = Ballot { round: 12, replica: ReplicaId(2) };

fn recall(paths: &[&str]) -> Recall {
    Recall { reign: REIGN, number: 11, paths: paths.iter().map(|path| (*path).into()).collect() }
}

fn status() -> Status {
    Status {
        replica: ReplicaId(2),
        incarnation: Incarnation(SECRET),
        cell: CELL,
        role: Role::Leader,
        votes: true,
        leader: Some(ReplicaId(2)),
        ballot: Ballot { round: 12, replica: ReplicaId(2) },
        chosen_upto: Slot(103),
        applied_upto: Slot(102),
        trimmed_upto: Slot(50),
        revision: 4711,
        sessions: 4,
        nodes: 5,
        throttled: 9,
        connections: 6,
        journal_bytes: 1 << 30,
        lease_remaining_us: 200_000,
        uptime_ms: 86_400_000,
        cache: CacheAccount {
            sessions: 1,
            grants: 2,
            holding: 3,
            granted: 4,
            denied: 5,
            recalls: 6,
            held: 7,
            run_out: 8,
        },
        version: "0.1.0".to_owned(),
    }
}

/// A golden file: for each message a comment with its name, then its frame, the header on a line of its own.
fn golden(frames: &[(&str, BytesMut)]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut text =
        String::from("# Rewritten by a test run with QUORATE_GOLDEN=rewrite; a change here changes the protocol.\n");
    for (name, frame) in frames {
        let (header, body) = frame.split_at(super::frame::HEADER_BYTES);
        text.push_str(&format!("\n# {name}\n{}\n", hex(header)));
        body.chunks(48).for_each(|line| text.push_str(&format!("{}\n", hex(line))));
    }
    text
}

fn compare(file: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire").join(file);
    if std::env::var_os("QUORATE_GOLDEN").is_some_and(|value| value == "rewrite") {
        std::fs::create_dir_all(path.parent().expect("the file lies in a folder")).expect("the folder can be made");
        std::fs::write(&path, found).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(expected, found, "{file} differs; if that is meant, run with QUORATE_GOLDEN=rewrite and say why");
}

/// Hands the only frame in `bytes` to `look`.
fn only_frame(bytes: &[u8], look: impl FnOnce(Frame<'_>)) {
    let mut look = Some(look);
    let fed = FrameReader::new(CLIENT_MAGIC).feed(bytes, 1 << 20, |frame| {
        (look.take().expect("one message is one frame"))(frame);
        Ok::<(), FrameError>(())
    });
    fed.expect("a sound frame");
    assert!(look.is_none(), "the frame is whole");
}

#[test]
fn a_clients_messages_have_the_bytes_on_record() {
    let mut frames = Vec::new();
    for (name, message) in client_messages() {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        only_frame(&bytes, |frame| assert_eq!(ClientMessage::decode(frame).as_ref(), Ok(&message), "{name}"));
        frames.push((name, bytes));
    }
    compare("client.txt", &golden(&frames));
}

#[test]
fn a_servers_messages_have_the_bytes_on_record() {
    let mut frames = Vec::new();
    for (name, message) in server_messages() {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        only_frame(&bytes, |frame| assert_eq!(ServerMessage::decode(frame).as_ref(), Ok(&message), "{name}"));
        frames.push((name, bytes));
    }
    compare("server.txt", &golden(&frames));
}

/// The kinds of which a golden file has a frame.
fn kinds_on_record(file: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire").join(file);
    let text = std::fs::read_to_string(path).expect("the golden file is there");
    let headers =
        text.lines().zip(text.lines().skip(1)).filter(|(before, _)| before.starts_with("# ")).map(|pair| pair.1);
    let mut kinds: Vec<u8> = headers
        .filter(|header| !header.is_empty())
        .map(|header| u8::from_str_radix(&header[6..8], 16).expect("a header in hexadecimal digits"))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[test]
fn every_frame_that_is_understood_is_on_record() {
    let understood = |decode: fn(Frame<'_>) -> Result<(), MessageError>| {
        let known = move |kind: &u8| !matches!(decode(Frame::of(*kind, 0, b"")), Err(MessageError::Kind { .. }));
        (0..=u8::MAX).filter(known).collect::<Vec<u8>>()
    };
    let clients = understood(|frame| ClientMessage::decode(frame).map(drop));
    assert_eq!(clients, kinds_on_record("client.txt"));
    let servers = understood(|frame| ServerMessage::decode(frame).map(drop));
    assert_eq!(servers, kinds_on_record("server.txt"));
    assert!(clients.len() >= 15 && servers.len() >= 24, "{clients:?} {servers:?}");
}

/// Kinds whose bodies end in bytes of the namespace's codec, which this one does not judge.
const OPEN_ENDED: [u8; 7] = [3, 4, 25, 67, 68, 81, 89];

#[test]
fn a_body_cut_short_or_drawn_out_is_malformed() {
    let mut bodies = Vec::new();
    for (name, message) in client_messages() {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        bodies.push((name, bytes, true));
    }
    for (name, message) in server_messages() {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        bodies.push((name, bytes, false));
    }
    for (name, bytes, from_client) in bodies {
        only_frame(&bytes, |frame| {
            if OPEN_ENDED.contains(&frame.kind) {
                return;
            }
            let refused = |body: &[u8]| {
                let frame = Frame::of(frame.kind, frame.number, body);
                if from_client { ClientMessage::decode(frame).is_err() } else { ServerMessage::decode(frame).is_err() }
            };
            for len in 0..frame.body.len() {
                assert!(refused(&frame.body[..len]), "{name} was taken with {len} bytes");
            }
            let longer = [frame.body, b"x"].concat();
            assert!(refused(&longer), "{name} was taken with a byte too many");
        });
    }
}

proptest! {
    #[test]
    fn no_body_makes_a_decoder_panic(kind in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let frame = Frame::of(kind, 1, &body);
        let _ = ClientMessage::decode(frame);
        let _ = ServerMessage::decode(frame);
    }

    #[test]
    fn a_damaged_body_is_refused_or_read_as_what_it_then_says(
        which in 0usize..35,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = BytesMut::new();
        let client = client_messages();
        match client.get(which) {
            Some((_, message)) => message.encode(&mut bytes),
            None => server_messages()[which - client.len()].1.encode(&mut bytes),
        }
        only_frame(&bytes, |frame| {
            let mut body = frame.body.to_vec();
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
            let frame = Frame::of(frame.kind, frame.number, &body);
            // What is read is written back as the very same bytes: no two encodings mean one thing.
            let mut again = BytesMut::new();
            if which < client.len() {
                let Ok(message) = ClientMessage::decode(frame) else { return };
                message.encode(&mut again);
            } else {
                let Ok(message) = ServerMessage::decode(frame) else { return };
                message.encode(&mut again);
            }
            only_frame(&again, |twin| assert_eq!(twin.body, body));
        });
    }
}
