//! A replica's account of the sessions of its cell, for people and their tools.

use bytes::{BufMut, BytesMut};

use crate::limits::SESSIONS_PAGE_MAX;
use crate::namespace::codec::{DecodeError, Reader};
use crate::namespace::command::{Revision, SessionId};

/// Sessions that live, by id, as of one revision.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SessionsPage {
    /// What the replica had applied.
    pub revision: Revision,
    /// By id.
    pub sessions: Vec<SessionAccount>,
    /// Whether there are sessions after the last of these.
    pub more: bool,
}

/// One session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionAccount {
    /// Its id.
    pub session: SessionId,
    /// How long it outlives its client's last sign of life, in milliseconds.
    pub timeout_ms: u32,
    /// Requests of it that were applied.
    pub requests: u64,
    /// Ephemeral nodes that live with it.
    pub ephemerals: u32,
    /// Locks that it holds or waits for.
    pub locks: u32,
    /// Handles that it has open.
    pub handles: u32,
    /// Watches that it has at this replica; none if it is connected to another.
    pub watches: u32,
    /// Whether its client's connection is to this replica.
    pub here: bool,
}

/// Bytes of one session.
const ACCOUNT_BYTES: usize = 8 + 4 + 8 + 4 * 4 + 1;

impl SessionsPage {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u64_le(self.revision);
        out.put_u8(u8::from(self.more));
        out.put_u32_le(u32::try_from(self.sessions.len()).expect("a page is bounded far below 2^32"));
        for account in &self.sessions {
            out.put_u64_le(account.session.0);
            out.put_u32_le(account.timeout_ms);
            out.put_u64_le(account.requests);
            out.put_u32_le(account.ephemerals);
            out.put_u32_le(account.locks);
            out.put_u32_le(account.handles);
            out.put_u32_le(account.watches);
            out.put_u8(u8::from(account.here));
        }
    }

    pub(super) fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (revision, more) = (f.u64("revision")?, f.bool("more")?);
        let count = f.count("sessions of a page", SESSIONS_PAGE_MAX, ACCOUNT_BYTES)?;
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            sessions.push(SessionAccount {
                session: SessionId(f.u64("session")?),
                timeout_ms: f.u32("timeout_ms")?,
                requests: f.u64("requests")?,
                ephemerals: f.u32("ephemerals")?,
                locks: f.u32("locks")?,
                handles: f.u32("handles")?,
                watches: f.u32("watches")?,
                here: f.bool("here")?,
            });
        }
        Ok(Self { revision, sessions, more })
    }
}
