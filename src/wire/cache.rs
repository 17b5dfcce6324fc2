//! What is said of answers that clients keep: wishes and words on the way to the leader and back, and recalls.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::client::{MessageError, whole};
use super::frame::{self, CLIENT_MAGIC, Frame};
use crate::limits::CACHE_RECALL_PATHS_MAX;
#[cfg(feature = "server")]
use crate::limits::{CACHE_WISHES_MAX, SESSIONS_MAX};
use crate::namespace::codec::{DecodeError, ReadRef, Reader, put_text};
use crate::namespace::command::{Revision, SessionId};
use crate::paxos::ballot::{Ballot, ReplicaId};

/// What a client that keeps answers says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheAsk<'a> {
    /// As [`Ping`](super::client::ClientMessage::Ping), and the session's cache lease is to run on too; answered by
    /// [`CacheTold::Renewed`], or by a `Pong` if only the session lives on.
    Renew { number: u64 },
    /// As a linearizable [`Read`](super::client::ClientMessage::Read), of an answer that is to be kept; answered by
    /// [`CacheTold::Reply`].
    Read { number: u64, read: &'a [u8] },
    /// What a [`Recall`] asked for is dropped.
    Recalled { reign: Ballot, number: u64 },
}

/// What a client that keeps answers is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CacheTold<'a> {
    /// As `Pong`; and the cache lease runs from when the client sent the [`CacheAsk::Renew`] of this number, for so long.
    Renewed { number: u64, lease_ms: u32 },
    /// As `ReadReply`; `keep`: the answer may be given again, without asking, while the cache lease runs and no recall
    /// names its node. A recall may come before the answer it is about: who was asked to drop what is still under way does
    /// not keep it.
    Reply { number: u64, revision: Revision, keep: bool, answer: &'a [u8] },
    /// Drop answers.
    Recall(Recall),
}

/// "Drop what you keep of these nodes, and say so." Answered whether or not something was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recall {
    /// The leader that asks, and its number for it: both come back with the answer.
    pub reign: Ballot,
    pub number: u64,
    /// The nodes; none: all of them.
    pub paths: Vec<Arc<str>>,
}

/// What clients ask of the leader's cache with a read point.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Wish {
    /// Sessions whose cache leases are to run on.
    pub renew: Vec<SessionId>,
    /// Answers that are to be kept.
    pub keep: Vec<Keep>,
}

/// A session wants to keep what it is about to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keep {
    pub session: SessionId,
    pub path: String,
    /// The stats of its children are told as well.
    pub with_children: bool,
}

/// The leader's word on a wish: what is not in it was not granted. It holds once the read point is given.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Word {
    pub renewed: Vec<SessionId>,
    /// Places in the list of answers to be kept.
    pub kept: Vec<u32>,
}

/// A leader's account of what is kept; all zero at other replicas.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CacheAccount {
    /// Sessions whose cache leases run.
    pub sessions: u64,
    /// Answers that are kept, or may be.
    pub grants: u64,
    /// Commands that wait at the moment for answers to be dropped.
    pub holding: u64,
    /// Since the reign began: answers granted, ...
    pub granted: u64,
    /// ... asked for in vain, ...
    pub denied: u64,
    /// ... recalls sent, ...
    pub recalls: u64,
    /// ... commands that waited, ...
    pub held: u64,
    /// ... and sessions that let their lease run out rather than answer.
    pub run_out: u64,
}

/// What a client may keep of the answer to a question: the node, and whether the stats of its children are in it. `None`:
/// nothing, as it tells of more.
#[must_use]
pub fn keepable(read: ReadRef<'_>) -> Option<(&str, bool)> {
    match read {
        ReadRef::Get { path } | ReadRef::Exists { path } | ReadRef::List { path, .. } => Some((path, false)),
        ReadRef::Entries { path, .. } => Some((path, true)),
        _ => None,
    }
}

impl<'a> CacheAsk<'a> {
    pub(super) fn encode(self, out: &mut BytesMut) {
        match self {
            Self::Renew { number } => frame::append(out, CLIENT_MAGIC, RENEW, number, |_| ()),
            Self::Read { number, read } => encode_cached_read(out, number, |out| out.put_slice(read)),
            Self::Recalled { reign, number } => {
                frame::append(out, CLIENT_MAGIC, RECALLED, number, |out| put_reign(reign, out));
            }
        }
    }

    pub(super) fn decode(frame: Frame<'a>) -> Result<Self, MessageError> {
        let number = frame.number;
        match frame.kind {
            RENEW => whole("Renew", frame, |_| Ok(Self::Renew { number })),
            READ_CACHED => whole("ReadCached", frame, |f| Ok(Self::Read { number, read: f.remainder() })),
            RECALLED => whole("Recalled", frame, |f| Ok(Self::Recalled { reign: take_reign(f)?, number })),
            kind => Err(MessageError::Kind { kind }),
        }
    }
}

impl<'a> CacheTold<'a> {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Renewed { number, lease_ms } => {
                frame::append(out, CLIENT_MAGIC, RENEWED, *number, |out| out.put_u32_le(*lease_ms));
            }
            Self::Reply { number, revision, keep, answer } => {
                encode_cached_reply(out, *number, (*revision, *keep), |out| out.put_slice(answer));
            }
            Self::Recall(recall) => frame::append(out, CLIENT_MAGIC, RECALL, 0, |out| recall.put(out)),
        }
    }

    pub(super) fn decode(frame: Frame<'a>) -> Result<Self, MessageError> {
        let number = frame.number;
        match frame.kind {
            RENEWED => whole("Renewed", frame, |f| Ok(Self::Renewed { number, lease_ms: f.u32("lease_ms")? })),
            CACHED_REPLY => whole("CachedReply", frame, |f| {
                let (revision, keep) = (f.u64("revision")?, f.bool("keep")?);
                Ok(Self::Reply { number, revision, keep, answer: f.remainder() })
            }),
            RECALL => whole("Recall", frame, |f| Recall::take(f).map(Self::Recall)),
            kind => Err(MessageError::Kind { kind }),
        }
    }
}

/// Appends a [`CacheAsk::Read`] whose question `read` writes in place.
pub fn encode_cached_read(out: &mut BytesMut, number: u64, read: impl FnOnce(&mut BytesMut)) {
    frame::append(out, CLIENT_MAGIC, READ_CACHED, number, read);
}

/// Appends a [`CacheTold::Reply`] whose answer `answer` writes in place.
pub fn encode_cached_reply(
    out: &mut BytesMut,
    number: u64,
    (revision, keep): (Revision, bool),
    answer: impl FnOnce(&mut BytesMut),
) {
    frame::append(out, CLIENT_MAGIC, CACHED_REPLY, number, |out| {
        out.put_u64_le(revision);
        out.put_u8(u8::from(keep));
        answer(out);
    });
}

impl Recall {
    pub(super) fn put(&self, out: &mut BytesMut) {
        put_reign(self.reign, out);
        out.put_u64_le(self.number);
        out.put_u32_le(u32::try_from(self.paths.len()).expect("a recall names few"));
        self.paths.iter().for_each(|path| put_text(out, path));
    }

    pub(super) fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (reign, number) = (take_reign(f)?, f.u64("number")?);
        let count = f.count("paths of a recall", CACHE_RECALL_PATHS_MAX, 4)?;
        let paths = (0..count).map(|_| f.text("path").map(Arc::from)).collect::<Result<_, _>>()?;
        Ok(Self { reign, number, paths })
    }
}

impl Wish {
    /// Whether nothing is wished for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.renew.is_empty() && self.keep.is_empty()
    }

    #[cfg(feature = "server")]
    pub(super) fn put(&self, out: &mut BytesMut) {
        put_sessions(&self.renew, out);
        out.put_u32_le(u32::try_from(self.keep.len()).expect("wishes are bounded"));
        for keep in &self.keep {
            out.put_u64_le(keep.session.0);
            put_text(out, &keep.path);
            out.put_u8(u8::from(keep.with_children));
        }
    }

    #[cfg(feature = "server")]
    pub(super) fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let renew = take_sessions(f)?;
        let count = f.count("answers to be kept", CACHE_WISHES_MAX, 13)?;
        let keep = |f: &mut Reader<'_>| {
            let (session, path) = (SessionId(f.u64("session")?), f.text("path")?.to_owned());
            Ok(Keep { session, path, with_children: f.bool("with_children")? })
        };
        Ok(Self { renew, keep: (0..count).map(|_| keep(f)).collect::<Result<_, _>>()? })
    }
}

impl Word {
    #[cfg(feature = "server")]
    pub(super) fn put(&self, out: &mut BytesMut) {
        put_sessions(&self.renewed, out);
        out.put_u32_le(u32::try_from(self.kept.len()).expect("wishes are bounded"));
        self.kept.iter().for_each(|place| out.put_u32_le(*place));
    }

    #[cfg(feature = "server")]
    pub(super) fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let renewed = take_sessions(f)?;
        let count = f.count("answers kept", CACHE_WISHES_MAX, 4)?;
        Ok(Self { renewed, kept: (0..count).map(|_| f.u32("place")).collect::<Result<_, _>>()? })
    }
}

impl CacheAccount {
    pub(super) fn put(&self, out: &mut BytesMut) {
        let Self { sessions, grants, holding, granted, denied, recalls, held, run_out } = *self;
        for number in [sessions, grants, holding, granted, denied, recalls, held, run_out] {
            out.put_u64_le(number);
        }
    }

    pub(super) fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            sessions: f.u64("cache.sessions")?,
            grants: f.u64("cache.grants")?,
            holding: f.u64("cache.holding")?,
            granted: f.u64("cache.granted")?,
            denied: f.u64("cache.denied")?,
            recalls: f.u64("cache.recalls")?,
            held: f.u64("cache.held")?,
            run_out: f.u64("cache.run_out")?,
        })
    }
}

pub(super) fn put_reign(reign: Ballot, out: &mut BytesMut) {
    out.put_u64_le(reign.round);
    out.put_u8(reign.replica.0);
}

pub(super) fn take_reign(f: &mut Reader<'_>) -> Result<Ballot, DecodeError> {
    Ok(Ballot { round: f.u64("reign.round")?, replica: ReplicaId(f.u8("reign.replica")?) })
}

/// Appends a list of sessions.
#[cfg(feature = "server")]
pub(super) fn put_sessions(sessions: &[SessionId], out: &mut BytesMut) {
    out.put_u32_le(u32::try_from(sessions.len()).expect("sessions are bounded"));
    sessions.iter().for_each(|session| out.put_u64_le(session.0));
}

#[cfg(feature = "server")]
pub(super) fn take_sessions(f: &mut Reader<'_>) -> Result<Vec<SessionId>, DecodeError> {
    let count = f.count("sessions", SESSIONS_MAX, 8)?;
    (0..count).map(|_| Ok(SessionId(f.u64("session")?))).collect()
}

const RENEW: u8 = 24;
const READ_CACHED: u8 = 25;
const RECALLED: u8 = 26;

const RENEWED: u8 = 88;
const CACHED_REPLY: u8 = 89;
const RECALL: u8 = 90;
