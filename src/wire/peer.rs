//! What two replicas say to each other, as frames.
//!
//! A link carries frames one way: each replica dials each other one, and speaks only on the link it dialled. The first
//! frame is a [`Hello`]; it names the cell, both ends and the sender's incarnation, and everything after it is from that
//! incarnation. A frame's body is its message's fields in order, little-endian; a value comes last, so that its bytes are
//! sent from where they lie ([`Encoded`]).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::cache::{Recall, Wish, Word};
use super::frame::{self, Frame, FrameError, HEADER_BYTES, PEER_MAGIC};
use crate::limits::{PEER_FRAME_BYTES_MAX, SLOT_WINDOW, VALUE_BYTES_MAX};
use crate::namespace::codec::{DecodeError, Reader};
use crate::namespace::command::SessionId;
use crate::paxos::{Acknowledged, Ballot, CellId, Evidence, Incarnation, Message, ReplicaId, Slot, SlotReport, Value};
use crate::time::Duration;

/// The version of the peer protocol: both ends must speak the same.
pub const PEER_PROTOCOL: u16 = 1;

/// Opens a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// [`PEER_PROTOCOL`] of the sender.
    pub protocol: u16,
    /// The cell the sender belongs to.
    pub cell: CellId,
    /// The sender.
    pub from: ReplicaId,
    /// The sender's disk.
    pub incarnation: Incarnation,
    /// Whom the sender believes to have reached.
    pub to: ReplicaId,
    /// The newest word of the receiver's disk that the sender knows of: a receiver whose disk does not hold it is an old copy,
    /// and says nothing more.
    pub acknowledged: Option<Acknowledged>,
}

/// The one thing that is said on a link against its direction: the list of members that was chosen in `config_slot` does not
/// name the disk that the hello told of. Whoever knows an older list that does is no member any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unnamed {
    /// The cell of both.
    pub cell: CellId,
    /// The slot of the newest list that the sender knows.
    pub config_slot: Slot,
}

/// Anything after the hello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerMessage {
    /// To agree on the log.
    Paxos(Message),
    /// Commands of clients that the sender serves, for the leader to propose: a run of `u32 length | command`, `count` of
    /// them. Not answered unless refused: the sender sees their outcome when it applies them.
    Forward { count: u32, run: Bytes },
    /// The sender did not propose these requests, and will not; (token, 0) is the opening or resumption with that token.
    ForwardRefused { requests: Vec<(SessionId, u64)>, overloaded: bool },
    /// "Which slot must I have applied to answer reads asked before now?" `sessions` were heard from by the sender and
    /// live on; `wish`: what they ask of the leader's cache.
    ReadPoint { ticket: u64, sessions: Vec<SessionId>, wish: Wish },
    /// The answer. `upto`: none if the receiver of the request does not lead. The sessions of the request were renewed,
    /// but for those `withheld`, whose end is being decided.
    ReadPointReply { ticket: u64, upto: Option<Slot>, withheld: Vec<SessionId>, word: Word },
    /// Those of the sessions whose clients the receiver serves are to drop answers that they keep.
    Recall { sessions: Vec<SessionId>, recall: Recall },
    /// That session's client did.
    Recalled { session: SessionId, reign: Ballot, number: u64 },
    /// "Send me a piece of the image up to slot `image`, from byte `offset` on." Slot 0: of your newest, from its beginning.
    FetchImage { image: Slot, offset: u64 },
    /// A piece of the file of the sender's image up to slot `image`, from byte `offset` on. It may be another image than
    /// was asked for, from its beginning, if the sender has that one no more.
    ImagePiece { image: Slot, offset: u64, bytes: Bytes },
    /// The sender's state has that digest when it has applied everything up to `slot`.
    Digest { slot: Slot, digest: u128 },
    /// "Add an entry without content to the log, if you lead and nothing else is under way": the sender waits for the log
    /// to go on. Not answered; the sender asks again.
    EntryWanted,
}

/// A frame ready to be sent: the part made here, then a value's bytes where they lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// Header and fields.
    pub head: Bytes,
    /// The value, if the message carries one.
    pub tail: Option<Bytes>,
}

/// Why a peer's frame was refused: the link is closed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerError {
    /// The frame itself is damaged or foreign.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A kind this version does not know.
    #[error("peer frame of unknown kind {0}: the peer runs another version")]
    UnknownKind(u8),
    /// The body does not hold what its kind says.
    #[error("malformed peer frame of kind {0}")]
    Malformed(u8),
}

/// The frame of a hello.
#[must_use]
pub fn encode_hello(hello: &Hello) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + 64);
    frame::append(&mut out, PEER_MAGIC, kind::HELLO, 0, |out| {
        out.put_u16_le(hello.protocol);
        out.put_u128_le(hello.cell.0);
        out.put_u8(hello.from.0);
        out.put_u128_le(hello.incarnation.0);
        out.put_u8(hello.to.0);
        put_option(hello.acknowledged, out, put_acknowledged);
    });
    out.freeze()
}

/// Reads a hello; `None` for any other frame.
pub fn decode_hello(frame: &Frame<'_>) -> Result<Option<Hello>, PeerError> {
    if frame.kind != kind::HELLO {
        return Ok(None);
    }
    let mut fields = Fields { at: frame.body, frame };
    let hello = Hello {
        protocol: fields.u16()?,
        cell: CellId(fields.u128()?),
        from: fields.replica()?,
        incarnation: Incarnation(fields.u128()?),
        to: fields.replica()?,
        acknowledged: fields.option(Fields::acknowledged)?,
    };
    fields.end()?;
    Ok(Some(hello))
}

/// The frame that tells a caller that it is not named.
#[must_use]
pub fn encode_unnamed(unnamed: &Unnamed) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + 24);
    frame::append(&mut out, PEER_MAGIC, kind::UNNAMED, 0, |out| {
        out.put_u128_le(unnamed.cell.0);
        out.put_u64_le(unnamed.config_slot.0);
    });
    out.freeze()
}

/// Reads what may come on a link that this replica dialled: nothing else does.
pub fn decode_unnamed(frame: &Frame<'_>) -> Result<Unnamed, PeerError> {
    if frame.kind != kind::UNNAMED {
        return Err(PeerError::UnknownKind(frame.kind));
    }
    let mut fields = Fields { at: frame.body, frame };
    let unnamed = Unnamed { cell: CellId(fields.u128()?), config_slot: fields.slot()? };
    fields.end()?;
    Ok(unnamed)
}

/// The frame of a message. `scratch` lends its spare room; it is left empty.
#[must_use]
pub fn encode(message: &PeerMessage, scratch: &mut BytesMut) -> Encoded {
    assert!(scratch.is_empty(), "what was encoded before has been taken");
    scratch.put_bytes(0, HEADER_BYTES);
    let (kind, tail) = put_message(message, scratch);
    let summed_tail = (tail.as_deref().unwrap_or_default(), value_of(message).map(Value::crc));
    let header = frame::header(PEER_MAGIC, kind, 0, &scratch[HEADER_BYTES..], summed_tail);
    scratch[..HEADER_BYTES].copy_from_slice(&header);
    Encoded { head: scratch.split().freeze(), tail: tail.filter(|tail| !tail.is_empty()) }
}

/// The value that a message ends with.
fn value_of(message: &PeerMessage) -> Option<&Value> {
    match message {
        PeerMessage::Paxos(Message::Accept { value, .. } | Message::AcceptedValue { value, .. }) => Some(value),
        _ => None,
    }
}

fn put_message(message: &PeerMessage, out: &mut BytesMut) -> (u8, Option<Bytes>) {
    match message {
        PeerMessage::Paxos(message) => put_paxos(message, out),
        PeerMessage::Forward { count, run } => {
            out.put_u32_le(*count);
            (kind::FORWARD, Some(run.clone()))
        }
        PeerMessage::ForwardRefused { requests, overloaded } => {
            out.put_u8(u8::from(*overloaded));
            out.put_u32_le(requests.len() as u32);
            for (session, number) in requests {
                out.put_u64_le(session.0);
                out.put_u64_le(*number);
            }
            (kind::FORWARD_REFUSED, None)
        }
        PeerMessage::ReadPoint { ticket, sessions, wish } => {
            out.put_u64_le(*ticket);
            put_sessions(sessions, out);
            wish.put(out);
            (kind::READ_POINT, None)
        }
        PeerMessage::ReadPointReply { ticket, upto, withheld, word } => {
            out.put_u64_le(*ticket);
            put_option(*upto, out, |slot, out| out.put_u64_le(slot.0));
            put_sessions(withheld, out);
            word.put(out);
            (kind::READ_POINT_REPLY, None)
        }
        PeerMessage::Recall { sessions, recall } => {
            put_sessions(sessions, out);
            recall.put(out);
            (kind::RECALL, None)
        }
        PeerMessage::Recalled { session, reign, number } => {
            out.put_u64_le(session.0);
            put_ballot(*reign, out);
            out.put_u64_le(*number);
            (kind::RECALLED, None)
        }
        PeerMessage::FetchImage { image, offset } => {
            out.put_u64_le(image.0);
            out.put_u64_le(*offset);
            (kind::FETCH_IMAGE, None)
        }
        PeerMessage::ImagePiece { image, offset, bytes } => {
            out.put_u64_le(image.0);
            out.put_u64_le(*offset);
            (kind::IMAGE_PIECE, Some(bytes.clone()))
        }
        PeerMessage::Digest { slot, digest } => {
            out.put_u64_le(slot.0);
            out.put_u128_le(*digest);
            (kind::DIGEST, None)
        }
        PeerMessage::EntryWanted => (kind::ENTRY_WANTED, None),
    }
}

fn put_paxos(message: &Message, out: &mut BytesMut) -> (u8, Option<Bytes>) {
    match message {
        Message::Accept { ballot, slot, value, chosen_upto, lease } => {
            put_at(*ballot, *slot, out);
            out.put_u64_le(chosen_upto.0);
            out.put_u64_le(lease.as_nanos());
            (kind::ACCEPT, Some(value.bytes().clone()))
        }
        Message::AcceptedValue { ballot, slot, accepted, value } => {
            put_at(*ballot, *slot, out);
            put_ballot(*accepted, out);
            (kind::ACCEPTED_VALUE, Some(value.bytes().clone()))
        }
        Message::Probe { .. } | Message::ProbeReply { .. } | Message::Prepare { .. } | Message::Promise { .. } => {
            (put_election(message, out), None)
        }
        _ => (put_reign(message, out), None),
    }
}

/// The messages of phase 1.
fn put_election(message: &Message, out: &mut BytesMut) -> u8 {
    match message {
        Message::Probe { ballot, chosen_upto } => {
            put_at(*ballot, *chosen_upto, out);
            kind::PROBE
        }
        Message::ProbeReply { ballot, granted, promised } => {
            put_ballot(*ballot, out);
            out.put_u8(u8::from(*granted));
            put_ballot(*promised, out);
            kind::PROBE_REPLY
        }
        Message::Prepare { ballot, from, released } => {
            put_at(*ballot, *from, out);
            put_option(*released, out, put_ballot);
            kind::PREPARE
        }
        Message::Promise { ballot, chosen_upto, part, last, reports } => {
            put_at(*ballot, *chosen_upto, out);
            out.put_u32_le(*part);
            out.put_u8(u8::from(*last));
            out.put_u32_le(reports.len() as u32);
            reports.iter().for_each(|report| put_report(report, out));
            kind::PROMISE
        }
        other => unreachable!("{other:?} is not of phase 1"),
    }
}

/// The messages of a reign that carry no value of an open slot.
fn put_reign(message: &Message, out: &mut BytesMut) -> u8 {
    match message {
        Message::Refused { ballot, promised } => {
            put_ballot(*ballot, out);
            put_ballot(*promised, out);
            kind::REFUSED
        }
        Message::FetchAccepted { ballot, slot, accepted } => {
            put_at(*ballot, *slot, out);
            put_ballot(*accepted, out);
            kind::FETCH_ACCEPTED
        }
        Message::Accepted { ballot, from, upto, recorded } => {
            put_at(*ballot, *from, out);
            out.put_u64_le(upto.0);
            out.put_u8(u8::from(*recorded));
            kind::ACCEPTED
        }
        Message::Heartbeat { ballot, round, chosen_upto, trim_upto, acknowledged } => {
            put_round(*ballot, *round, *chosen_upto, *trim_upto, out);
            out.put_u32_le(acknowledged.len() as u32);
            acknowledged.iter().for_each(|word| put_acknowledged(*word, out));
            kind::HEARTBEAT
        }
        Message::HeartbeatReply { ballot, round, chosen_upto, image_upto, cramped } => {
            put_round(*ballot, *round, *chosen_upto, *image_upto, out);
            out.put_u8(u8::from(*cramped));
            kind::HEARTBEAT_REPLY
        }
        Message::CatchUp { from, upto } => {
            out.put_u64_le(from.0);
            out.put_u64_le(upto.0);
            kind::CATCH_UP
        }
        Message::Chosen { from, values } => {
            out.put_u64_le(from.0);
            out.put_u32_le(values.len() as u32);
            for value in values {
                out.put_u32_le(value.bytes().len() as u32);
                out.put_slice(value.bytes());
            }
            kind::CHOSEN
        }
        Message::Trimmed { trimmed_upto } => {
            out.put_u64_le(trimmed_upto.0);
            kind::TRIMMED
        }
        Message::Release { ballot, chosen_upto } => {
            put_at(*ballot, *chosen_upto, out);
            kind::RELEASE
        }
        other => unreachable!("{other:?} is encoded elsewhere"),
    }
}

/// Reads any message but a hello.
pub fn decode(frame: &Frame<'_>) -> Result<PeerMessage, PeerError> {
    let mut fields = Fields { at: frame.body, frame };
    let message = match frame.kind {
        kind::FORWARD => PeerMessage::Forward { count: fields.u32()?, run: Bytes::copy_from_slice(fields.rest()) },
        kind::FORWARD_REFUSED => {
            let overloaded = fields.bool()?;
            let count = fields.count(16)?;
            let requests =
                (0..count).map(|_| Ok((SessionId(fields.u64()?), fields.u64()?))).collect::<Result<_, PeerError>>()?;
            PeerMessage::ForwardRefused { requests, overloaded }
        }
        kind::READ_POINT => PeerMessage::ReadPoint {
            ticket: fields.u64()?,
            sessions: fields.sessions()?,
            wish: fields.last(Wish::take)?,
        },
        kind::READ_POINT_REPLY => PeerMessage::ReadPointReply {
            ticket: fields.u64()?,
            upto: fields.option(|f| f.slot())?,
            withheld: fields.sessions()?,
            word: fields.last(Word::take)?,
        },
        kind::RECALL => PeerMessage::Recall { sessions: fields.sessions()?, recall: fields.last(Recall::take)? },
        kind::RECALLED => {
            PeerMessage::Recalled { session: SessionId(fields.u64()?), reign: fields.ballot()?, number: fields.u64()? }
        }
        kind::FETCH_IMAGE => PeerMessage::FetchImage { image: fields.slot()?, offset: fields.u64()? },
        kind::IMAGE_PIECE => PeerMessage::ImagePiece {
            image: fields.slot()?,
            offset: fields.u64()?,
            bytes: Bytes::copy_from_slice(fields.rest()),
        },
        kind::DIGEST => PeerMessage::Digest { slot: fields.slot()?, digest: fields.u128()? },
        kind::ENTRY_WANTED => PeerMessage::EntryWanted,
        _ => PeerMessage::Paxos(get_paxos(&mut fields)?),
    };
    fields.end()?;
    Ok(message)
}

fn get_paxos(fields: &mut Fields<'_>) -> Result<Message, PeerError> {
    Ok(match fields.frame.kind {
        kind::PROBE => Message::Probe { ballot: fields.ballot()?, chosen_upto: fields.slot()? },
        kind::PROBE_REPLY => {
            Message::ProbeReply { ballot: fields.ballot()?, granted: fields.bool()?, promised: fields.ballot()? }
        }
        kind::PREPARE => Message::Prepare {
            ballot: fields.ballot()?,
            from: fields.slot()?,
            released: fields.option(|f| f.ballot())?,
        },
        kind::PROMISE => get_promise(fields)?,
        kind::REFUSED => Message::Refused { ballot: fields.ballot()?, promised: fields.ballot()? },
        kind::FETCH_ACCEPTED => {
            Message::FetchAccepted { ballot: fields.ballot()?, slot: fields.slot()?, accepted: fields.ballot()? }
        }
        kind::ACCEPTED_VALUE => Message::AcceptedValue {
            ballot: fields.ballot()?,
            slot: fields.slot()?,
            accepted: fields.ballot()?,
            value: fields.value()?,
        },
        kind::ACCEPT => {
            let (ballot, slot, chosen_upto) = (fields.ballot()?, fields.slot()?, fields.slot()?);
            let lease = Duration::from_nanos(fields.u64()?);
            Message::Accept { ballot, slot, chosen_upto, lease, value: fields.value()? }
        }
        kind::ACCEPTED => Message::Accepted {
            ballot: fields.ballot()?,
            from: fields.slot()?,
            upto: fields.slot()?,
            recorded: fields.bool()?,
        },
        kind::HEARTBEAT => Message::Heartbeat {
            ballot: fields.ballot()?,
            round: fields.u64()?,
            chosen_upto: fields.slot()?,
            trim_upto: fields.slot()?,
            acknowledged: fields.all_acknowledged()?,
        },
        kind::HEARTBEAT_REPLY => Message::HeartbeatReply {
            ballot: fields.ballot()?,
            round: fields.u64()?,
            chosen_upto: fields.slot()?,
            image_upto: fields.slot()?,
            cramped: fields.bool()?,
        },
        kind::CATCH_UP => Message::CatchUp { from: fields.slot()?, upto: fields.slot()? },
        kind::CHOSEN => get_chosen(fields)?,
        kind::TRIMMED => Message::Trimmed { trimmed_upto: fields.slot()? },
        kind::RELEASE => Message::Release { ballot: fields.ballot()?, chosen_upto: fields.slot()? },
        other => return Err(PeerError::UnknownKind(other)),
    })
}

fn get_promise(fields: &mut Fields<'_>) -> Result<Message, PeerError> {
    let (ballot, chosen_upto) = (fields.ballot()?, fields.slot()?);
    let (part, last) = (fields.u32()?, fields.bool()?);
    let count = fields.count(9)?;
    let reports = (0..count).map(|_| fields.report()).collect::<Result<_, _>>()?;
    Ok(Message::Promise { ballot, chosen_upto, part, last, reports })
}

fn get_chosen(fields: &mut Fields<'_>) -> Result<Message, PeerError> {
    let from = fields.slot()?;
    let count = fields.count(4)?;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let length = fields.u32()? as usize;
        values.push(Value::copy_of(fields.take(length)?));
    }
    Ok(Message::Chosen { from, values })
}

fn put_ballot(ballot: Ballot, out: &mut BytesMut) {
    out.put_u64_le(ballot.round);
    out.put_u8(ballot.replica.0);
}

fn put_at(ballot: Ballot, slot: Slot, out: &mut BytesMut) {
    put_ballot(ballot, out);
    out.put_u64_le(slot.0);
}

fn put_round(ballot: Ballot, round: u64, chosen_upto: Slot, needless_upto: Slot, out: &mut BytesMut) {
    put_ballot(ballot, out);
    out.put_u64_le(round);
    out.put_u64_le(chosen_upto.0);
    out.put_u64_le(needless_upto.0);
}

fn put_acknowledged(word: Acknowledged, out: &mut BytesMut) {
    out.put_u8(word.replica.0);
    out.put_u128_le(word.incarnation.0);
    put_at(word.ballot, word.upto, out);
}

fn put_option<T>(value: Option<T>, out: &mut BytesMut, put: impl FnOnce(T, &mut BytesMut)) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

fn put_sessions(sessions: &[SessionId], out: &mut BytesMut) {
    out.put_u32_le(sessions.len() as u32);
    sessions.iter().for_each(|session| out.put_u64_le(session.0));
}

fn put_report(report: &SlotReport, out: &mut BytesMut) {
    out.put_u64_le(report.slot.0);
    let (tag, identity) = match report.evidence {
        Evidence::Unknown => (0, None),
        Evidence::Have { accepted, hash } => (1, Some((accepted, hash))),
        Evidence::Lost { accepted, hash } => (2, Some((accepted, hash))),
        Evidence::Maybe { accepted, hash } => (3, Some((accepted, hash))),
    };
    out.put_u8(tag);
    if let Some((accepted, hash)) = identity {
        put_ballot(accepted, out);
        out.put_u128_le(hash);
    }
}

/// Reads fields off the front of a body; every read is checked against what is left.
struct Fields<'a> {
    at: &'a [u8],
    frame: &'a Frame<'a>,
}

impl<'a> Fields<'a> {
    fn malformed(&self) -> PeerError {
        PeerError::Malformed(self.frame.kind)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PeerError> {
        let (taken, rest) = self.at.split_at_checked(length).ok_or(PeerError::Malformed(self.frame.kind))?;
        self.at = rest;
        Ok(taken)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.at)
    }

    fn u8(&mut self) -> Result<u8, PeerError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, PeerError> {
        Ok(self.take(2)?.get_u16_le())
    }

    fn u32(&mut self) -> Result<u32, PeerError> {
        Ok(self.take(4)?.get_u32_le())
    }

    fn u64(&mut self) -> Result<u64, PeerError> {
        Ok(self.take(8)?.get_u64_le())
    }

    fn u128(&mut self) -> Result<u128, PeerError> {
        Ok(self.take(16)?.get_u128_le())
    }

    fn bool(&mut self) -> Result<bool, PeerError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed()),
        }
    }

    fn slot(&mut self) -> Result<Slot, PeerError> {
        Ok(Slot(self.u64()?))
    }

    fn replica(&mut self) -> Result<ReplicaId, PeerError> {
        match self.u8()? {
            id @ 0..64 => Ok(ReplicaId(id)),
            _ => Err(self.malformed()),
        }
    }

    fn ballot(&mut self) -> Result<Ballot, PeerError> {
        Ok(Ballot { round: self.u64()?, replica: self.replica()? })
    }

    fn value(&mut self) -> Result<Value, PeerError> {
        match self.rest() {
            content if !content.is_empty() && content.len() <= VALUE_BYTES_MAX => {
                Ok(match self.frame.tail_crc(content.len()) {
                    Some(crc) => Value::summed_copy_of(content, crc),
                    None => Value::copy_of(content),
                })
            }
            _ => Err(self.malformed()),
        }
    }

    fn option<T>(&mut self, get: impl FnOnce(&mut Self) -> Result<T, PeerError>) -> Result<Option<T>, PeerError> {
        if self.bool()? { get(self).map(Some) } else { Ok(None) }
    }

    /// A count of items of at least `item_bytes` each: never more than what is left could hold.
    fn count(&mut self, item_bytes: usize) -> Result<usize, PeerError> {
        let count = self.u32()? as usize;
        if count > self.at.len() / item_bytes { Err(self.malformed()) } else { Ok(count) }
    }

    fn acknowledged(&mut self) -> Result<Acknowledged, PeerError> {
        Ok(Acknowledged {
            replica: self.replica()?,
            incarnation: Incarnation(self.u128()?),
            ballot: self.ballot()?,
            upto: self.slot()?,
        })
    }

    fn all_acknowledged(&mut self) -> Result<Vec<Acknowledged>, PeerError> {
        let count = self.count(34)?;
        (0..count).map(|_| self.acknowledged()).collect()
    }

    fn sessions(&mut self) -> Result<Vec<SessionId>, PeerError> {
        let count = self.count(8)?;
        (0..count).map(|_| Ok(SessionId(self.u64()?))).collect()
    }

    /// What the body ends with.
    fn last<T>(&mut self, take: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>) -> Result<T, PeerError> {
        let mut reader = Reader::new(self.rest());
        let value = take(&mut reader).map_err(|_| self.malformed())?;
        reader.finish("a frame").map(|()| value).map_err(|_| self.malformed())
    }

    fn report(&mut self) -> Result<SlotReport, PeerError> {
        let slot = self.slot()?;
        let evidence = match self.u8()? {
            0 => Evidence::Unknown,
            1 => Evidence::Have { accepted: self.ballot()?, hash: self.u128()? },
            2 => Evidence::Lost { accepted: self.ballot()?, hash: self.u128()? },
            3 => Evidence::Maybe { accepted: self.ballot()?, hash: self.u128()? },
            _ => return Err(self.malformed()),
        };
        Ok(SlotReport { slot, evidence })
    }

    fn end(&self) -> Result<(), PeerError> {
        if self.at.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const FORWARD: u8 = 2;
    pub(super) const FORWARD_REFUSED: u8 = 3;
    pub(super) const READ_POINT: u8 = 4;
    pub(super) const READ_POINT_REPLY: u8 = 5;
    pub(super) const FETCH_IMAGE: u8 = 6;
    pub(super) const IMAGE_PIECE: u8 = 7;
    pub(super) const RECALL: u8 = 10;
    pub(super) const RECALLED: u8 = 11;
    pub(super) const PROBE: u8 = 16;
    pub(super) const PROBE_REPLY: u8 = 17;
    pub(super) const PREPARE: u8 = 18;
    pub(super) const PROMISE: u8 = 19;
    pub(super) const REFUSED: u8 = 20;
    pub(super) const FETCH_ACCEPTED: u8 = 21;
    pub(super) const ACCEPTED_VALUE: u8 = 22;
    pub(super) const ACCEPT: u8 = 23;
    pub(super) const ACCEPTED: u8 = 24;
    pub(super) const HEARTBEAT: u8 = 25;
    pub(super) const HEARTBEAT_REPLY: u8 = 26;
    pub(super) const CATCH_UP: u8 = 27;
    pub(super) const CHOSEN: u8 = 28;
    pub(super) const TRIMMED: u8 = 29;
    pub(super) const RELEASE: u8 = 30;
    pub(super) const DIGEST: u8 = 32;
    pub(super) const UNNAMED: u8 = 33;
    pub(super) const ENTRY_WANTED: u8 = 34;
}

const _: () = assert!(HEADER_BYTES + 64 + VALUE_BYTES_MAX <= PEER_FRAME_BYTES_MAX, "a full value fits a frame");
const _: () = assert!(SLOT_WINDOW * 64 < PEER_FRAME_BYTES_MAX as u64, "the reports of a whole window fit a frame");
