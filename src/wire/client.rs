//! The client protocol: what a client says, what a server answers, and the bytes of each.
//!
//! A message's body is laid out in the order of its fields, by the rules of [`crate::namespace::codec`]; five kinds carry bytes
//! of the namespace's own codec to their end: `Request` an operation, `Read` a question, `Reply`, `ReadReply` and
//! `WatchRefused` what came of them. What is said of watches is spelled out in [`watch`](super::watch).

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use super::cache::{CacheAsk, CacheTold};
use super::frame::{self, CLIENT_MAGIC, Frame, FrameError};
use super::members::{Members, put_change, take_change};
use super::snapshots::{SnapshotAnswer, SnapshotQuestion};
use super::watch::{Event, Registration, encode_events, take_events};
use crate::limits::REPLICAS_MAX;
use crate::namespace::codec::{DecodeError, Reader, put_maybe, put_text};
use crate::namespace::command::{Resume, Revision, SessionId};
use crate::paxos::MemberChange;
use crate::paxos::ballot::{CellId, ReplicaId};

pub use super::cache::CacheAccount;
pub use super::sessions::{SessionAccount, SessionsPage};
pub use super::status::{Role, Status};

/// The newest protocol this code speaks.
pub const PROTOCOL_MAX: u16 = 1;
/// The oldest protocol this code speaks.
pub const PROTOCOL_MIN: u16 = 1;

/// What a client says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientMessage<'a> {
    /// The first message of a connection, said once; answered by `Welcome` or a `Fault`.
    Hello(Hello<'a>),
    /// Make a session for this connection; answered by `SessionOpened`, or `Refused{number: 0}`. Said again with the same
    /// token and secret, on any connection, it is the same session.
    OpenSession { token: u64, secret: u128, timeout_ms: u32 },
    /// Request `number` of the session, from 1 on without a hole. The client has the answers to all up to `acked_upto`.
    Request { number: u64, acked_upto: u64, operation: &'a [u8] },
    /// Request `number` of the session too: from now on it stands for that user as well, if the password is right wherever
    /// an access list names the user.
    Authenticate { number: u64, acked_upto: u64, name: &'a str, password: &'a str },
    /// A question; `number` is the client's own and comes back with the answer. It is answered as if asked after all
    /// earlier requests of this connection were applied.
    Read { number: u64, consistency: Consistency, read: &'a [u8] },
    /// Extend the session's lease; answered by `Pong` once the leader, holding its own lease, has noted it.
    Ping { number: u64 },
    /// How is this replica? Needs no session.
    Status { number: u64 },
    /// Who are the members? And make that change of them, if there is one. Needs no session, but for a change in a cell
    /// with a super principal or an access list: then one that stands for the super principal.
    Members { number: u64, change: Option<MemberChange> },
    /// Which sessions live, after that one (all if 0), as far as this replica knows? Needs no session.
    Sessions { number: u64, after: SessionId },
    /// An image, and its pieces, for a copy outside the cell. Needs a session as a change of the members does. One question
    /// of a connection is looked into at a time; who asks another meanwhile is told to ask again.
    Snapshot { number: u64, question: SnapshotQuestion },
    /// Tell of what happens there, until `Unwatch` or the end of the connection; answered by `WatchOpened` or
    /// `WatchRefused`. `watch` is the client's own number for it.
    Watch { watch: u64, registration: Registration<'a> },
    /// Tell no more. Frames of that watch may still be under way.
    Unwatch { watch: u64 },
    /// About answers that the client keeps.
    Cache(CacheAsk<'a>),
}

/// Who calls, and what it already knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello<'a> {
    /// The protocols the client speaks, both ends included.
    pub protocol_min: u16,
    pub protocol_max: u16,
    /// The cell it means to reach; any other is refused.
    pub cell: Option<CellId>,
    /// What it calls itself, for people who read diagnostics.
    pub name: &'a str,
    /// The newest revision it has seen: nothing older may be shown to it.
    pub seen: Revision,
    /// The session to take up again; answered, after `Welcome`, by `SessionResumed`, `SessionOver` or
    /// `Refused{number: 0}`.
    pub resume: Option<Resume>,
}

/// How fresh an answer must be.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Consistency {
    /// It reflects every write that was acknowledged to anyone before the question was asked.
    #[default]
    Linearizable,
    /// It reflects this revision at least.
    AtLeast(Revision),
    /// Whatever the replica has, but nothing older than this connection was shown before.
    Stale,
}

/// What a server answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerMessage<'a> {
    /// The answer to `Hello`.
    Welcome(Welcome),
    /// The session exists; its lease runs from when the client sent `OpenSession`.
    SessionOpened { session: SessionId, timeout_ms: u32 },
    /// The session lives and belongs to this connection now; its lease runs from when the client sent `Hello`. Requests up
    /// to `applied_upto` have been applied: sent again they are answered with what they came to.
    /// The next request is `applied_upto + 1`. Of the requests that other processes made in the session the last one applied
    /// is `applied_before`; none after it ever will be.
    SessionResumed { session: SessionId, timeout_ms: u32, applied_upto: u64, applied_before: u64 },
    /// Request `number` was applied (perhaps to no effect) at `revision`; `outcome` is an encoded
    /// [`Outcome`](crate::namespace::command::Outcome). A request that was sent again is answered with its first revision.
    Reply { number: u64, revision: Revision, outcome: &'a [u8] },
    /// The tree at `revision`; `answer` is an encoded `Result<Answer, Refusal>`.
    ReadReply { number: u64, revision: Revision, answer: &'a [u8] },
    /// The lease runs from when the client sent the ping of this number.
    Pong { number: u64 },
    /// Who leads now, as far as this replica knows; said whenever that changes.
    Leader { leader: Option<ReplicaId> },
    /// Request `number` was turned away before the log: it had no effect and consumed no number. Said once; all later
    /// requests and reads of this connection are dropped unanswered until request `number` comes again. Reads that came
    /// before it are answered all the same. Number 0 is the opening or resuming of a session.
    Refused { number: u64, reason: Reason },
    /// Read `number` was turned away; nothing else is.
    ReadRefused { number: u64, reason: Reason },
    /// Where a session stands with that node's lock may have changed since an `AwaitLock` of this connection was answered
    /// with `Waiting`: ask again. Said once an answer.
    LockTurn { path: &'a str },
    /// The session has expired, was closed, or never was. Said only at a read point: it is final.
    SessionOver { session: SessionId },
    /// The connection closes because of what the client said, or for want of room.
    Fault { code: FaultCode, text: &'a str },
    /// The answer to `Status`.
    StatusReply { number: u64, status: Status },
    /// The answer to `Members`.
    MembersReply { number: u64, members: Members },
    /// The answer to `Sessions`.
    SessionsReply { number: u64, page: SessionsPage },
    /// The answer to `Snapshot`.
    Snapshot { number: u64, answer: SnapshotAnswer },
    /// The watch stands: everything that happens there after `revision` will be told, or a gap.
    WatchOpened { watch: u64, revision: Revision },
    /// There will be no such watch; `refusal` is an encoded `Err` of an
    /// [`Outcome`](crate::namespace::command::Outcome).
    WatchRefused { watch: u64, refusal: &'a [u8] },
    /// What happened at `revision` for that watch. Everything before has been told; unless `more` follows for the same
    /// revision, it has been told too. Comes before any answer that shows the new state.
    Events { watch: u64, revision: Revision, more: bool, events: Vec<Event<'a>> },
    /// What happened after `from`, up to `to`, cannot be told any more: look again.
    Gap { watch: u64, from: Revision, to: Revision },
    /// All watches opened on this connection have been told everything up to `revision`.
    Progress { revision: Revision },
    /// About answers that the client keeps.
    Cache(CacheTold<'a>),
}

/// Where the client has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The protocol both speak from here on.
    pub protocol: u16,
    /// The cell.
    pub cell: CellId,
    /// The replica that answers.
    pub replica: ReplicaId,
    /// Who leads, as far as it knows.
    pub leader: Option<ReplicaId>,
    /// The cell's members and where clients find them.
    pub members: Vec<MemberAddress>,
    /// The largest encoded operation, in bytes.
    pub request_bytes_max: u32,
    /// The largest data of one node, in bytes.
    pub data_bytes_max: u32,
    /// Unanswered requests, and unanswered reads, a connection may have.
    pub requests_in_flight_max: u32,
    /// The replica's own revision.
    pub revision: Revision,
}

/// One member of the cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberAddress {
    /// Its number in the cell.
    pub replica: ReplicaId,
    /// `host:port`, or `[v6]:port`.
    pub address: String,
}

/// Why something was turned away, and so what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// No leader is known, or it cannot be reached, or it has not caught up: try again here in a moment, or elsewhere.
    NotReady,
    /// No room: try again after this long.
    Overloaded { retry_after_ms: u32 },
    /// This principal has asked as much as it may for now: try again after this long.
    Throttled { retry_after_ms: u32 },
    /// Earlier requests are missing here: send from that number on.
    Resend,
}

/// Why a server closes a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FaultCode {
    /// The client means another cell.
    WrongCell,
    /// No protocol in common.
    Version,
    /// A body cannot be read.
    Malformed,
    /// A frame or an operation is past a limit.
    TooLarge,
    /// The kind means nothing to this server.
    UnknownKind,
    /// A message at the wrong time: before `Hello`, or a second session on one connection.
    OutOfTurn,
    /// The secret is not the session's.
    WrongSecret,
    /// This replica takes no (more) connections now; others may.
    Unavailable,
    /// This port is for replicas.
    PeerPort,
    /// Another process took the session over.
    Taken,
    /// Bytes were damaged or lost on their way, or are of another protocol: nothing of that frame was done.
    Damaged,
}

/// Why a frame is no message of this protocol.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The stream is broken.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The kind is unknown, or not for this side.
    #[error("message kind {kind} is unknown here; upgrade the older side")]
    Kind { kind: u8 },
    /// The body is malformed.
    #[error("a `{message}` message is malformed: {cause}")]
    Body { message: &'static str, cause: DecodeError },
}

impl<'a> ClientMessage<'a> {
    /// Appends the message, as a frame.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Hello(hello) => frame::append(out, CLIENT_MAGIC, HELLO, 0, |out| hello.put(out)),
            Self::OpenSession { token, secret, timeout_ms } => {
                frame::append(out, CLIENT_MAGIC, OPEN_SESSION, 0, |out| {
                    out.put_u64_le(*token);
                    out.put_u128_le(*secret);
                    out.put_u32_le(*timeout_ms);
                });
            }
            Self::Request { number, acked_upto, operation } => {
                encode_request(out, *number, *acked_upto, |out| out.put_slice(operation));
            }
            Self::Authenticate { number, acked_upto, name, password } => {
                encode_authenticate(out, *number, *acked_upto, (name, password));
            }
            Self::Read { number, consistency, read } => {
                encode_read(out, *number, *consistency, |out| out.put_slice(read));
            }
            Self::Ping { number } => frame::append(out, CLIENT_MAGIC, PING, *number, |_| ()),
            Self::Status { number } => frame::append(out, CLIENT_MAGIC, STATUS, *number, |_| ()),
            Self::Members { number, change } => frame::append(out, CLIENT_MAGIC, MEMBERS, *number, |out| {
                put_maybe(out, change.as_ref(), put_change);
            }),
            Self::Sessions { number, after } => {
                frame::append(out, CLIENT_MAGIC, SESSIONS, *number, |out| out.put_u64_le(after.0));
            }
            Self::Snapshot { number, question } => {
                frame::append(out, CLIENT_MAGIC, SNAPSHOT, *number, |out| question.put(out));
            }
            Self::Watch { watch, registration } => {
                frame::append(out, CLIENT_MAGIC, WATCH, *watch, |out| registration.put(out));
            }
            Self::Unwatch { watch } => frame::append(out, CLIENT_MAGIC, UNWATCH, *watch, |_| ()),
            Self::Cache(ask) => ask.encode(out),
        }
    }

    /// Reads the message a frame from a client carries.
    pub fn decode(frame: Frame<'a>) -> Result<Self, MessageError> {
        let number = frame.number;
        match frame.kind {
            HELLO => whole("Hello", frame, |f| Hello::take(f).map(Self::Hello)),
            OPEN_SESSION => whole("OpenSession", frame, |f| {
                Ok(Self::OpenSession {
                    token: f.u64("token")?,
                    secret: f.u128("secret")?,
                    timeout_ms: f.u32("timeout_ms")?,
                })
            }),
            REQUEST => whole("Request", frame, |f| {
                Ok(Self::Request { number, acked_upto: f.u64("acked_upto")?, operation: f.remainder() })
            }),
            AUTHENTICATE => whole("Authenticate", frame, |f| {
                let acked_upto = f.u64("acked_upto")?;
                Ok(Self::Authenticate { number, acked_upto, name: f.text("name")?, password: f.text("password")? })
            }),
            READ => whole("Read", frame, |f| {
                Ok(Self::Read { number, consistency: Consistency::take(f)?, read: f.remainder() })
            }),
            PING => whole("Ping", frame, |_| Ok(Self::Ping { number })),
            STATUS => whole("Status", frame, |_| Ok(Self::Status { number })),
            MEMBERS => {
                whole("Members", frame, |f| Ok(Self::Members { number, change: f.maybe("change", take_change)? }))
            }
            SESSIONS => whole("Sessions", frame, |f| Ok(Self::Sessions { number, after: take_session(f)? })),
            SNAPSHOT => {
                whole("Snapshot", frame, |f| Ok(Self::Snapshot { number, question: SnapshotQuestion::take(f)? }))
            }
            WATCH => whole("Watch", frame, |f| Ok(Self::Watch { watch: number, registration: Registration::take(f)? })),
            UNWATCH => whole("Unwatch", frame, |_| Ok(Self::Unwatch { watch: number })),
            _ => CacheAsk::decode(frame).map(Self::Cache),
        }
    }
}

/// Appends a `Request` whose operation `operation` writes in place.
pub fn encode_request(out: &mut BytesMut, number: u64, acked_upto: u64, operation: impl FnOnce(&mut BytesMut)) {
    frame::append(out, CLIENT_MAGIC, REQUEST, number, |out| {
        out.put_u64_le(acked_upto);
        operation(out);
    });
}

/// Appends an `Authenticate`.
pub fn encode_authenticate(out: &mut BytesMut, number: u64, acked_upto: u64, (name, password): (&str, &str)) {
    frame::append(out, CLIENT_MAGIC, AUTHENTICATE, number, |out| {
        out.put_u64_le(acked_upto);
        put_text(out, name);
        put_text(out, password);
    });
}

/// Appends a `Read` whose question `read` writes in place.
pub fn encode_read(out: &mut BytesMut, number: u64, consistency: Consistency, read: impl FnOnce(&mut BytesMut)) {
    frame::append(out, CLIENT_MAGIC, READ, number, |out| {
        consistency.put(out);
        read(out);
    });
}

impl<'a> ServerMessage<'a> {
    /// Appends the message, as a frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut put = |kind: u8, number: u64, body: &dyn Fn(&mut BytesMut)| {
            frame::append(out, CLIENT_MAGIC, kind, number, body);
        };
        match self {
            Self::Welcome(welcome) => put(WELCOME, 0, &|out| welcome.put(out)),
            Self::SessionOpened { session, timeout_ms } => put(SESSION_OPENED, 0, &|out| {
                out.put_u64_le(session.0);
                out.put_u32_le(*timeout_ms);
            }),
            Self::SessionResumed { session, timeout_ms, applied_upto, applied_before } => {
                put(SESSION_RESUMED, 0, &|out| {
                    out.put_u64_le(session.0);
                    out.put_u32_le(*timeout_ms);
                    out.put_u64_le(*applied_upto);
                    out.put_u64_le(*applied_before);
                })
            }
            Self::Reply { number, revision, outcome } => put(REPLY, *number, &|out| {
                out.put_u64_le(*revision);
                out.put_slice(outcome);
            }),
            Self::ReadReply { number, revision, answer } => {
                encode_read_reply(out, *number, *revision, |out| out.put_slice(answer));
            }
            Self::Pong { number } => put(PONG, *number, &|_| ()),
            Self::Leader { leader } => put(LEADER, 0, &|out| put_leader(out, *leader)),
            Self::Refused { number, reason } => put(REFUSED, *number, &|out| reason.put(out)),
            Self::ReadRefused { number, reason } => put(READ_REFUSED, *number, &|out| reason.put(out)),
            Self::LockTurn { path } => put(LOCK_TURN, 0, &|out| put_text(out, path)),
            Self::SessionOver { session } => put(SESSION_OVER, 0, &|out| out.put_u64_le(session.0)),
            Self::Fault { code, text } => put(FAULT, 0, &|out| {
                out.put_u8(code.tag());
                put_text(out, text);
            }),
            Self::StatusReply { number, status } => put(STATUS_REPLY, *number, &|out| status.put(out)),
            Self::MembersReply { number, members } => put(MEMBERS_REPLY, *number, &|out| members.put(out)),
            Self::SessionsReply { number, page } => put(SESSIONS_REPLY, *number, &|out| page.put(out)),
            Self::Snapshot { number, answer } => put(SNAPSHOT_REPLY, *number, &|out| answer.put(out)),
            Self::WatchOpened { watch, revision } => put(WATCH_OPENED, *watch, &|out| out.put_u64_le(*revision)),
            Self::WatchRefused { watch, refusal } => put(WATCH_REFUSED, *watch, &|out| out.put_slice(refusal)),
            Self::Events { watch, revision, more, events } => {
                encode_events(out, *watch, (*revision, *more), events.iter().copied());
            }
            Self::Gap { watch, from, to } => put(GAP, *watch, &|out| {
                out.put_u64_le(*from);
                out.put_u64_le(*to);
            }),
            Self::Progress { revision } => put(PROGRESS, 0, &|out| out.put_u64_le(*revision)),
            Self::Cache(told) => told.encode(out),
        }
    }

    /// Reads the message a frame from a server carries.
    pub fn decode(frame: Frame<'a>) -> Result<Self, MessageError> {
        let number = frame.number;
        match frame.kind {
            WELCOME => whole("Welcome", frame, |f| Welcome::take(f).map(Self::Welcome)),
            SESSION_OPENED => whole("SessionOpened", frame, |f| {
                Ok(Self::SessionOpened { session: take_session(f)?, timeout_ms: f.u32("timeout_ms")? })
            }),
            SESSION_RESUMED => whole("SessionResumed", frame, |f| {
                Ok(Self::SessionResumed {
                    session: take_session(f)?,
                    timeout_ms: f.u32("timeout_ms")?,
                    applied_upto: f.u64("applied_upto")?,
                    applied_before: f.u64("applied_before")?,
                })
            }),
            REPLY => whole("Reply", frame, |f| {
                Ok(Self::Reply { number, revision: f.u64("revision")?, outcome: f.remainder() })
            }),
            READ_REPLY => whole("ReadReply", frame, |f| {
                Ok(Self::ReadReply { number, revision: f.u64("revision")?, answer: f.remainder() })
            }),
            PONG => whole("Pong", frame, |_| Ok(Self::Pong { number })),
            LEADER => whole("Leader", frame, |f| Ok(Self::Leader { leader: take_leader(f)? })),
            REFUSED => whole("Refused", frame, |f| Ok(Self::Refused { number, reason: Reason::take(f)? })),
            READ_REFUSED => whole("ReadRefused", frame, |f| Ok(Self::ReadRefused { number, reason: Reason::take(f)? })),
            LOCK_TURN => whole("LockTurn", frame, |f| Ok(Self::LockTurn { path: f.text("path")? })),
            SESSION_OVER => whole("SessionOver", frame, |f| Ok(Self::SessionOver { session: take_session(f)? })),
            FAULT => whole("Fault", frame, |f| Ok(Self::Fault { code: FaultCode::take(f)?, text: f.text("text")? })),
            STATUS_REPLY => whole("StatusReply", frame, |f| Ok(Self::StatusReply { number, status: Status::take(f)? })),
            MEMBERS_REPLY => {
                whole("MembersReply", frame, |f| Ok(Self::MembersReply { number, members: Members::take(f)? }))
            }
            SNAPSHOT_REPLY => {
                whole("Snapshot", frame, |f| Ok(Self::Snapshot { number, answer: SnapshotAnswer::take(f)? }))
            }
            SESSIONS_REPLY => {
                whole("SessionsReply", frame, |f| Ok(Self::SessionsReply { number, page: SessionsPage::take(f)? }))
            }
            _ => Self::decode_of_watch(frame),
        }
    }

    /// Reads a message that concerns a watch.
    fn decode_of_watch(frame: Frame<'a>) -> Result<Self, MessageError> {
        let watch = frame.number;
        match frame.kind {
            WATCH_OPENED => {
                whole("WatchOpened", frame, |f| Ok(Self::WatchOpened { watch, revision: f.u64("revision")? }))
            }
            WATCH_REFUSED => whole("WatchRefused", frame, |f| Ok(Self::WatchRefused { watch, refusal: f.remainder() })),
            EVENTS => whole("Events", frame, |f| {
                Ok(Self::Events { watch, revision: f.u64("revision")?, more: f.bool("more")?, events: take_events(f)? })
            }),
            GAP => whole("Gap", frame, |f| Ok(Self::Gap { watch, from: f.u64("from")?, to: f.u64("to")? })),
            PROGRESS => whole("Progress", frame, |f| Ok(Self::Progress { revision: f.u64("revision")? })),
            _ => CacheTold::decode(frame).map(Self::Cache),
        }
    }
}

/// Appends a `ReadReply` whose answer `answer` writes in place.
pub fn encode_read_reply(out: &mut BytesMut, number: u64, revision: Revision, answer: impl FnOnce(&mut BytesMut)) {
    frame::append(out, CLIENT_MAGIC, READ_REPLY, number, |out| {
        out.put_u64_le(revision);
        answer(out);
    });
}

impl<'a> Hello<'a> {
    fn put(&self, out: &mut BytesMut) {
        out.put_u16_le(self.protocol_min);
        out.put_u16_le(self.protocol_max);
        put_maybe(out, self.cell, |out, cell| out.put_u128_le(cell.0));
        put_text(out, self.name);
        out.put_u64_le(self.seen);
        put_maybe(out, self.resume, |out, resume| resume.put(out));
    }

    fn take(f: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            protocol_min: f.u16("protocol_min")?,
            protocol_max: f.u16("protocol_max")?,
            cell: f.maybe("cell", |f| f.u128("cell").map(CellId))?,
            name: f.text("name")?,
            seen: f.u64("seen")?,
            resume: f.maybe("resume", Resume::take)?,
        })
    }
}

impl Welcome {
    fn put(&self, out: &mut BytesMut) {
        out.put_u16_le(self.protocol);
        out.put_u128_le(self.cell.0);
        out.put_u8(self.replica.0);
        put_leader(out, self.leader);
        out.put_u32_le(u32::try_from(self.members.len()).expect("a cell has a handful of members"));
        for member in &self.members {
            out.put_u8(member.replica.0);
            put_text(out, &member.address);
        }
        out.put_u32_le(self.request_bytes_max);
        out.put_u32_le(self.data_bytes_max);
        out.put_u32_le(self.requests_in_flight_max);
        out.put_u64_le(self.revision);
    }

    fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            protocol: f.u16("protocol")?,
            cell: CellId(f.u128("cell")?),
            replica: ReplicaId(f.u8("replica")?),
            leader: take_leader(f)?,
            members: take_members(f)?,
            request_bytes_max: f.u32("request_bytes_max")?,
            data_bytes_max: f.u32("data_bytes_max")?,
            requests_in_flight_max: f.u32("requests_in_flight_max")?,
            revision: f.u64("revision")?,
        })
    }
}

impl Consistency {
    fn put(self, out: &mut BytesMut) {
        match self {
            Self::Linearizable => out.put_u8(0),
            Self::AtLeast(revision) => {
                out.put_u8(1);
                out.put_u64_le(revision);
            }
            Self::Stale => out.put_u8(2),
        }
    }

    fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match f.u8("consistency")? {
            0 => Ok(Self::Linearizable),
            1 => f.u64("revision").map(Self::AtLeast),
            2 => Ok(Self::Stale),
            tag => Err(DecodeError::UnknownTag { what: "consistency", tag }),
        }
    }
}

impl Reason {
    fn put(self, out: &mut BytesMut) {
        match self {
            Self::NotReady => out.put_u8(0),
            Self::Overloaded { retry_after_ms } => {
                out.put_u8(1);
                out.put_u32_le(retry_after_ms);
            }
            Self::Resend => out.put_u8(2),
            Self::Throttled { retry_after_ms } => {
                out.put_u8(60);
                out.put_u32_le(retry_after_ms);
            }
        }
    }

    fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match f.u8("reason")? {
            0 => Ok(Self::NotReady),
            1 => Ok(Self::Overloaded { retry_after_ms: f.u32("retry_after_ms")? }),
            2 => Ok(Self::Resend),
            60 => Ok(Self::Throttled { retry_after_ms: f.u32("retry_after_ms")? }),
            tag => Err(DecodeError::UnknownTag { what: "reason", tag }),
        }
    }
}

impl FaultCode {
    /// The number that says it.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::WrongCell => 1,
            Self::Version => 2,
            Self::Malformed => 3,
            Self::TooLarge => 4,
            Self::UnknownKind => 5,
            Self::OutOfTurn => 6,
            Self::WrongSecret => 7,
            Self::Unavailable => 8,
            Self::PeerPort => 9,
            Self::Taken => 10,
            Self::Damaged => 11,
        }
    }

    fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match f.u8("code")? {
            1 => Self::WrongCell,
            2 => Self::Version,
            3 => Self::Malformed,
            4 => Self::TooLarge,
            5 => Self::UnknownKind,
            6 => Self::OutOfTurn,
            7 => Self::WrongSecret,
            8 => Self::Unavailable,
            9 => Self::PeerPort,
            10 => Self::Taken,
            11 => Self::Damaged,
            tag => return Err(DecodeError::UnknownTag { what: "code", tag }),
        })
    }
}

/// Reads a body to its end.
pub(super) fn whole<'a, T>(
    message: &'static str,
    frame: Frame<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<T, MessageError> {
    let mut reader = Reader::new(frame.body);
    read(&mut reader)
        .and_then(|value| reader.finish(message).map(|()| value))
        .map_err(|cause| MessageError::Body { message, cause })
}

pub(super) fn put_leader(out: &mut BytesMut, leader: Option<ReplicaId>) {
    put_maybe(out, leader, |out, leader| out.put_u8(leader.0));
}

pub(super) fn take_leader(f: &mut Reader<'_>) -> Result<Option<ReplicaId>, DecodeError> {
    f.maybe("leader", |f| f.u8("leader").map(ReplicaId))
}

fn take_session(f: &mut Reader<'_>) -> Result<SessionId, DecodeError> {
    f.u64("session").map(SessionId)
}

fn take_members(f: &mut Reader<'_>) -> Result<Vec<MemberAddress>, DecodeError> {
    let count = f.count("members", REPLICAS_MAX, 5)?;
    (0..count)
        .map(|_| Ok(MemberAddress { replica: ReplicaId(f.u8("member")?), address: f.text("address")?.to_owned() }))
        .collect()
}

const HELLO: u8 = 1;
const OPEN_SESSION: u8 = 2;
const REQUEST: u8 = 3;
const READ: u8 = 4;
const PING: u8 = 5;
const STATUS: u8 = 6;
const SESSIONS: u8 = 7;
const MEMBERS: u8 = 8;
const AUTHENTICATE: u8 = 9;
const SNAPSHOT: u8 = 10;

const WATCH: u8 = 16;
const UNWATCH: u8 = 17;

const WELCOME: u8 = 64;
const SESSION_OPENED: u8 = 65;
const SESSION_RESUMED: u8 = 66;
const REPLY: u8 = 67;
const READ_REPLY: u8 = 68;
const PONG: u8 = 69;
const LEADER: u8 = 70;
const REFUSED: u8 = 71;
const READ_REFUSED: u8 = 72;
const SESSION_OVER: u8 = 73;
const FAULT: u8 = 74;
const STATUS_REPLY: u8 = 75;
const LOCK_TURN: u8 = 76;
const SESSIONS_REPLY: u8 = 77;
const MEMBERS_REPLY: u8 = 78;
const WATCH_OPENED: u8 = 80;
const WATCH_REFUSED: u8 = 81;
pub(super) const EVENTS: u8 = 82;
const GAP: u8 = 83;
const PROGRESS: u8 = 84;
const SNAPSHOT_REPLY: u8 = 110;
