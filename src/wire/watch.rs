//! Watches on the wire: what is watched, and what is told of it.
//!
//! A client names each watch with a number of its own, never used again in its session. The events of one revision come
//! together, in the order of the command's steps; a revision too large for one frame comes in several, of which all but the
//! last say that more follow. So a client that takes a revision only when it is whole has a cursor that is always true.

use bytes::{BufMut, BytesMut};

use super::frame;
use crate::namespace::codec::{DecodeError, Reader, put_bytes, put_maybe, put_text};
use crate::namespace::command::{Revision, Stat};

/// What is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The node itself: that it is made, changed, removed.
    Node,
    /// The names of its children: that one is made or removed; and that the node itself is.
    Children,
    /// Its children and their data: as `Children`, and that a child is changed.
    Entries,
    /// The node and all below it.
    Subtree,
    /// Its lock: that somebody waits for it; and that the node, and with it the lock, is removed.
    Lock,
}

/// A watch to be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration<'a> {
    /// The node. It need not exist.
    pub path: &'a str,
    /// How far around it.
    pub scope: Scope,
    /// Events after this revision are wanted; `None`: after what the replica has now.
    pub from: Option<Revision>,
    /// Events bring the node's data and stat, where they are still known.
    pub with_data: bool,
}

/// What happened to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// It was made.
    Created,
    /// Its data were replaced.
    Changed,
    /// It was removed.
    Deleted,
    /// It and all below it have come to more than the soft bounds of its quota.
    OverQuota,
    /// Somebody came to wait for its lock, which another holds; or to hold it, while others wait.
    Wanted,
}

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    pub kind: EventKind,
    pub path: &'a str,
    /// What the node was at that revision, if it is there, its watch asked for it, and it is still known: of an event told
    /// late only if the node's data have not changed since.
    pub node: Option<(&'a [u8], Stat)>,
}

impl<'a> Registration<'a> {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u8(self.scope.tag());
        put_maybe(out, self.from, |out, revision| out.put_u64_le(revision));
        out.put_u8(self.with_data.into());
        put_text(out, self.path);
    }

    pub(super) fn take(f: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            scope: Scope::take(f)?,
            from: f.maybe("from", |f| f.u64("from"))?,
            with_data: f.bool("with_data")?,
            path: f.text("path")?,
        })
    }
}

impl<'a> Event<'a> {
    /// Appends the event.
    pub fn put(&self, out: &mut BytesMut) {
        out.put_u8(self.kind.tag());
        put_text(out, self.path);
        put_maybe(out, self.node, |out, (data, stat)| {
            stat.encode(out);
            put_bytes(out, data);
        });
    }

    /// Bytes of the event, encoded.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        6 + self.path.len() + self.node.map_or(0, |(data, _)| Stat::ENCODED_BYTES + 4 + data.len())
    }

    fn take(f: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: EventKind::take(f)?,
            path: f.text("path")?,
            node: f.maybe("node", |f| {
                let stat = Stat::take(f)?;
                Ok((f.bytes("data")?, stat))
            })?,
        })
    }
}

/// Appends an `Events` frame for that watch.
pub fn encode_events<'a>(
    out: &mut BytesMut,
    watch: u64,
    (revision, more): (Revision, bool),
    events: impl ExactSizeIterator<Item = Event<'a>>,
) {
    frame::append(out, frame::CLIENT_MAGIC, super::client::EVENTS, watch, |out| {
        out.put_u64_le(revision);
        out.put_u8(more.into());
        out.put_u32_le(
            u32::try_from(events.len()).expect("the events of one revision are bounded by what fits an entry"),
        );
        events.for_each(|event| event.put(out));
    });
}

pub(super) fn take_events<'a>(f: &mut Reader<'a>) -> Result<Vec<Event<'a>>, DecodeError> {
    let count = f.count("events", u32::MAX as usize, 6)?;
    (0..count).map(|_| Event::take(f)).collect()
}

impl Scope {
    const fn tag(self) -> u8 {
        match self {
            Self::Node => 0,
            Self::Children => 1,
            Self::Entries => 2,
            Self::Subtree => 3,
            Self::Lock => 4,
        }
    }

    fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match f.u8("scope")? {
            0 => Self::Node,
            1 => Self::Children,
            2 => Self::Entries,
            3 => Self::Subtree,
            4 => Self::Lock,
            tag => return Err(DecodeError::UnknownTag { what: "scope", tag }),
        })
    }
}

impl EventKind {
    const fn tag(self) -> u8 {
        match self {
            Self::Created => 0,
            Self::Changed => 1,
            Self::Deleted => 2,
            Self::OverQuota => 3,
            Self::Wanted => 4,
        }
    }

    fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match f.u8("event")? {
            0 => Self::Created,
            1 => Self::Changed,
            2 => Self::Deleted,
            3 => Self::OverQuota,
            4 => Self::Wanted,
            tag => return Err(DecodeError::UnknownTag { what: "event", tag }),
        })
    }
}
