//! The bytes of every message between replicas, on record: an old and a new replica of one cell must understand each other.

use bytes::{Bytes, BytesMut};

use super::tags::framed;
use super::{CELL, SECRET, SESSION, compare, golden};
use crate::namespace::codec::tests::lines::{Lines, all_have_examples, tagged};
use crate::paxos::ballot::{Ballot, Incarnation, ReplicaId, Slot};
use crate::paxos::{Acknowledged, Config, Evidence, Kind, Member, Message, SlotReport, Standing, Value};
use crate::time::Duration;
use crate::wire::cache::{Keep, Recall, Wish, Word};
use crate::wire::frame::{FrameError, FrameReader, PEER_MAGIC};
use crate::wire::peer::{self, Hello, PEER_PROTOCOL, PeerError, PeerMessage, Unnamed};

tagged! {
    Message {
        Probe, ProbeReply, Prepare, Promise, Refused, FetchAccepted, AcceptedValue, Accept, Accepted, Heartbeat,
        HeartbeatReply, CatchUp, Chosen, Trimmed, Release,
    }
    PeerMessage {
        Paxos, Forward, ForwardRefused, ReadPoint, ReadPointReply, Recall, Recalled, FetchImage, ImagePiece, Digest,
        EntryWanted,
    }
    Evidence { Have, Lost, Maybe, Unknown }
    Kind { Noop, Commands, Config }
}

const BALLOT: Ballot = Ballot { round: 12, replica: ReplicaId(2) };
const OLDER: Ballot = Ballot { round: 11, replica: ReplicaId(3) };
const HASH: u128 = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;

/// What a message is called on record. A new one has no name yet: give it one here and an example below.
fn name(message: &PeerMessage) -> &'static str {
    match message {
        PeerMessage::Paxos(message) => match message {
            Message::Probe { .. } => "probe",
            Message::ProbeReply { .. } => "probe reply",
            Message::Prepare { .. } => "prepare",
            Message::Promise { .. } => "promise",
            Message::Refused { .. } => "refused",
            Message::FetchAccepted { .. } => "fetch accepted",
            Message::AcceptedValue { .. } => "accepted value",
            Message::Accept { .. } => "accept",
            Message::Accepted { .. } => "accepted",
            Message::Heartbeat { .. } => "heartbeat",
            Message::HeartbeatReply { .. } => "heartbeat reply",
            Message::CatchUp { .. } => "catch up",
            Message::Chosen { .. } => "chosen",
            Message::Trimmed { .. } => "trimmed",
            Message::Release { .. } => "release",
        },
        PeerMessage::Forward { .. } => "forward",
        PeerMessage::ForwardRefused { .. } => "forward refused",
        PeerMessage::ReadPoint { .. } => "read point",
        PeerMessage::ReadPointReply { .. } => "read point reply",
        PeerMessage::Recall { .. } => "recall",
        PeerMessage::Recalled { .. } => "recalled",
        PeerMessage::FetchImage { .. } => "fetch image",
        PeerMessage::ImagePiece { .. } => "image piece",
        PeerMessage::Digest { .. } => "digest",
        PeerMessage::EntryWanted => "entry wanted",
    }
}

fn value(content: &[u8]) -> Value {
    Value::copy_of(content)
}

fn paxos_messages() -> Vec<Message> {
    let report = |slot, evidence| SlotReport { slot: Slot(slot), evidence };
    let reports = vec![
        report(104, Evidence::Have { accepted: OLDER, hash: HASH }),
        report(105, Evidence::Lost { accepted: OLDER, hash: HASH }),
        report(106, Evidence::Maybe { accepted: OLDER, hash: HASH }),
        report(107, Evidence::Unknown),
    ];
    let (ballot, slot, from, upto) = (BALLOT, Slot(104), Slot(104), Slot(106));
    let (chosen_upto, trim_upto, image_upto) = (Slot(103), Slot(50), Slot(60));
    vec![
        Message::Probe { ballot, chosen_upto },
        Message::ProbeReply { ballot, granted: true, promised: OLDER },
        Message::Prepare { ballot, from, released: None },
        Message::Prepare { ballot, from, released: Some(OLDER) },
        Message::Promise { ballot, chosen_upto, part: 1, last: true, reports },
        Message::Refused { ballot: OLDER, promised: BALLOT },
        Message::FetchAccepted { ballot, slot, accepted: OLDER },
        Message::AcceptedValue { ballot, slot, accepted: OLDER, value: value(b"value") },
        Message::Accept { ballot, slot, value: value(b"value"), chosen_upto, lease: Duration::from_millis(250) },
        Message::Accepted { ballot, from, upto, recorded: true },
        Message::Accepted { ballot, from, upto, recorded: false },
        Message::Heartbeat { ballot, round: 9, chosen_upto, trim_upto, acknowledged: Vec::new() },
        Message::Heartbeat { ballot, round: 10, chosen_upto, trim_upto, acknowledged: words(upto) },
        Message::HeartbeatReply { ballot, round: 9, chosen_upto, image_upto, cramped: false },
        Message::HeartbeatReply { ballot, round: 10, chosen_upto, image_upto, cramped: true },
        Message::CatchUp { from, upto },
        Message::Chosen { from, values: vec![value(b"one"), value(b"two")] },
        Message::Trimmed { trimmed_upto: trim_upto },
        Message::Release { ballot, chosen_upto },
    ]
}

fn messages() -> Vec<PeerMessage> {
    let (run, sessions) = (Bytes::from_static(b"commands"), vec![SESSION]);
    let keep = Keep { session: SESSION, path: "/a".to_owned(), with_children: true };
    let wish = Wish { renew: sessions.clone(), keep: vec![keep] };
    let word = Word { renewed: sessions.clone(), kept: vec![0] };
    let recall = Recall { reign: BALLOT, number: 8, paths: vec!["/a".into()] };
    let mut messages: Vec<PeerMessage> = paxos_messages().into_iter().map(PeerMessage::Paxos).collect();
    messages.extend([
        PeerMessage::Forward { count: 2, run },
        PeerMessage::ForwardRefused { requests: vec![(SESSION, 3)], overloaded: true },
        PeerMessage::ReadPoint { ticket: 5, sessions: sessions.clone(), wish: Wish::default() },
        PeerMessage::ReadPoint { ticket: 5, sessions: sessions.clone(), wish },
        PeerMessage::ReadPointReply { ticket: 5, upto: Some(Slot(103)), withheld: sessions.clone(), word },
        PeerMessage::ReadPointReply { ticket: 6, upto: None, withheld: Vec::new(), word: Word::default() },
        PeerMessage::Recall { sessions, recall },
        PeerMessage::Recalled { session: SESSION, reign: BALLOT, number: 8 },
        PeerMessage::FetchImage { image: Slot(60), offset: 4096 },
        PeerMessage::ImagePiece { image: Slot(60), offset: 4096, bytes: Bytes::from_static(b"rows") },
        PeerMessage::Digest { slot: Slot(2048), digest: HASH },
        PeerMessage::EntryWanted,
    ]);
    messages
}

fn words(upto: Slot) -> Vec<Acknowledged> {
    vec![Acknowledged { replica: ReplicaId(3), incarnation: Incarnation(SECRET), ballot: BALLOT, upto }]
}

fn bytes_of(message: &PeerMessage) -> BytesMut {
    let encoded = peer::encode(message, &mut BytesMut::new());
    let mut bytes = BytesMut::from(&encoded.head[..]);
    bytes.extend_from_slice(&encoded.tail.unwrap_or_default());
    bytes
}

/// The message in its bytes.
fn decoded(bytes: &[u8]) -> Option<Result<PeerMessage, PeerError>> {
    let mut decoded = None;
    let fed = FrameReader::new(PEER_MAGIC).feed(bytes, 1 << 20, |frame| {
        decoded = Some(peer::decode(&frame));
        Ok::<(), FrameError>(())
    });
    fed.expect("a sound frame");
    decoded
}

/// The frame of a message, once it is read as that message again.
fn told(message: Message) -> String {
    let message = PeerMessage::Paxos(message);
    let bytes = bytes_of(&message);
    assert_eq!(decoded(&bytes), Some(Ok(message)));
    framed(&bytes)
}

fn proposed(value: Value) -> String {
    let (slot, chosen_upto, lease) = (Slot(104), Slot(103), Duration::from_millis(250));
    told(Message::Accept { ballot: BALLOT, slot, value, chosen_upto, lease })
}

#[test]
fn every_tag_in_the_messages_between_replicas_is_on_record() {
    let mut lines = Lines::of("peer_tags.txt");
    let (accepted, hash, slot) = (OLDER, HASH, Slot(104));
    let words = [
        Evidence::Have { accepted, hash },
        Evidence::Lost { accepted, hash },
        Evidence::Maybe { accepted, hash },
        Evidence::Unknown,
    ];
    lines.each(words, |evidence| {
        let reports = vec![SlotReport { slot, evidence }];
        told(Message::Promise { ballot: BALLOT, chosen_upto: Slot(103), part: 0, last: true, reports })
    });
    lines.each([Kind::Noop, Kind::Commands, Kind::Config], |kind| {
        let value = Value::copy_of(&[kind.tag()]);
        assert_eq!(value.kind(), Some(kind));
        proposed(value)
    });
    lines.each([Standing::Voter, Standing::Learner], |standing| {
        let list = Config::new(vec![Member { standing, ..Member::voter(ReplicaId(4)) }]);
        let value = list.to_value(Slot(40));
        assert_eq!(Config::from_value(&value), Some((Slot(40), list)));
        proposed(value)
    });
    lines.hold();
}

#[test]
fn the_messages_between_replicas_have_the_bytes_on_record() {
    let (from, to, incarnation) = (ReplicaId(2), ReplicaId(1), Incarnation(SECRET));
    let hello = Hello { protocol: PEER_PROTOCOL, cell: CELL, from, incarnation, to, acknowledged: None };
    let reminding = Hello { acknowledged: words(Slot(106)).pop(), ..hello };
    let mut frames = Vec::new();
    for hello in [hello, reminding] {
        let bytes = BytesMut::from(&peer::encode_hello(&hello)[..]);
        let fed = FrameReader::new(PEER_MAGIC).feed(&bytes, 1 << 10, |frame| {
            assert_eq!(peer::decode_hello(&frame), Ok(Some(hello)));
            Ok::<(), FrameError>(())
        });
        fed.expect("a sound frame");
        frames.push(("hello", bytes));
    }
    let unnamed = Unnamed { cell: CELL, config_slot: Slot(40) };
    let bytes = BytesMut::from(&peer::encode_unnamed(&unnamed)[..]);
    let fed = FrameReader::new(PEER_MAGIC).feed(&bytes, 1 << 10, |frame| {
        assert_eq!(peer::decode_unnamed(&frame), Ok(unnamed));
        Ok::<(), FrameError>(())
    });
    fed.expect("a sound frame");
    frames.push(("unnamed", bytes));
    all_have_examples(&paxos_messages());
    all_have_examples(&messages());
    for message in messages() {
        let bytes = bytes_of(&message);
        assert_eq!(decoded(&bytes), Some(Ok(message.clone())), "{}", name(&message));
        frames.push((name(&message), bytes));
    }
    let mut names: Vec<&str> = frames.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 27, "each of 15 + 10 messages, the hello, and its refusal, has an example");
    compare("peer.txt", &golden(&frames));
}
