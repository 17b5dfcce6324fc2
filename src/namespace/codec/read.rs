//! What is asked: reads. Decoding borrows; the owned type is made from the borrowed one.

use bytes::{BufMut, BytesMut};

use super::handle::HandleRef;
use super::lock::SequencerRef;
use super::reader::{DecodeError, Reader, put_text};
use crate::namespace::command::{Read, SessionId};

/// A [`Read`] that borrows from the bytes it was decoded from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadRef<'a> {
    Get { path: &'a str },
    Exists { path: &'a str },
    List { path: &'a str, after: &'a str, limit: u32 },
    Entries { path: &'a str, after: &'a str, limit: u32 },
    Scan { path: &'a str, after: &'a str, limit: u32, with_data: bool },
    Quota { path: &'a str },
    Acl { path: &'a str },
    WhoAmI,
    LockHolders { path: &'a str },
    AwaitLock { path: &'a str, session: SessionId },
    CheckSequencer { sequencer: SequencerRef<'a> },
    HandleGet { handle: HandleRef<'a> },
    HandleEntries { handle: HandleRef<'a>, after: &'a str, limit: u32 },
    HandleStat { handle: HandleRef<'a> },
    Records { path: &'a str, from: u64, bytes: u32 },
}

impl Read {
    /// Appends the read's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Get { path } => {
                out.put_u8(READ_GET);
                put_text(out, path);
            }
            Self::Exists { path } => {
                out.put_u8(READ_EXISTS);
                put_text(out, path);
            }
            Self::List { path, after, limit } => {
                out.put_u8(READ_LIST);
                put_page(out, path, after, *limit);
            }
            Self::Entries { path, after, limit } => {
                out.put_u8(READ_ENTRIES);
                put_page(out, path, after, *limit);
            }
            Self::Scan { path, after, limit, with_data } => {
                out.put_u8(READ_SCAN);
                put_page(out, path, after, *limit);
                out.put_u8(u8::from(*with_data));
            }
            Self::Quota { path } => {
                out.put_u8(READ_QUOTA);
                put_text(out, path);
            }
            Self::Acl { path } => {
                out.put_u8(READ_ACL);
                put_text(out, path);
            }
            Self::WhoAmI => out.put_u8(READ_WHO_AM_I),
            Self::LockHolders { path } => {
                out.put_u8(READ_LOCK_HOLDERS);
                put_text(out, path);
            }
            Self::AwaitLock { path, session } => {
                out.put_u8(READ_AWAIT_LOCK);
                put_text(out, path);
                out.put_u64_le(session.0);
            }
            Self::CheckSequencer { sequencer } => {
                out.put_u8(READ_CHECK_SEQUENCER);
                sequencer.as_ref().put(out);
            }
            Self::HandleGet { handle } => {
                out.put_u8(READ_HANDLE_GET);
                handle.as_ref().put(out);
            }
            Self::HandleEntries { handle, after, limit } => {
                out.put_u8(READ_HANDLE_ENTRIES);
                handle.as_ref().put(out);
                put_text(out, after);
                out.put_u32_le(*limit);
            }
            Self::HandleStat { handle } => {
                out.put_u8(READ_HANDLE_STAT);
                handle.as_ref().put(out);
            }
            Self::Records { path, from, bytes } => {
                out.put_u8(READ_RECORDS);
                put_text(out, path);
                out.put_u64_le(*from);
                out.put_u32_le(*bytes);
            }
        }
    }

    /// Decodes what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        ReadRef::decode(bytes).map(ReadRef::to_read)
    }

    /// The same read, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> ReadRef<'_> {
        match self {
            Self::Get { path } => ReadRef::Get { path },
            Self::Exists { path } => ReadRef::Exists { path },
            Self::List { path, after, limit } => ReadRef::List { path, after, limit: *limit },
            Self::Entries { path, after, limit } => ReadRef::Entries { path, after, limit: *limit },
            Self::Scan { path, after, limit, with_data } => {
                ReadRef::Scan { path, after, limit: *limit, with_data: *with_data }
            }
            Self::Quota { path } => ReadRef::Quota { path },
            Self::Acl { path } => ReadRef::Acl { path },
            Self::WhoAmI => ReadRef::WhoAmI,
            Self::LockHolders { path } => ReadRef::LockHolders { path },
            Self::AwaitLock { path, session } => ReadRef::AwaitLock { path, session: *session },
            Self::CheckSequencer { sequencer } => ReadRef::CheckSequencer { sequencer: sequencer.as_ref() },
            Self::HandleGet { handle } => ReadRef::HandleGet { handle: handle.as_ref() },
            Self::HandleEntries { handle, after, limit } => {
                ReadRef::HandleEntries { handle: handle.as_ref(), after, limit: *limit }
            }
            Self::HandleStat { handle } => ReadRef::HandleStat { handle: handle.as_ref() },
            Self::Records { path, from, bytes } => ReadRef::Records { path, from: *from, bytes: *bytes },
        }
    }
}

impl<'a> ReadRef<'a> {
    /// Decodes what [`Read::encode`] wrote.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let read = match reader.u8("a read")? {
            READ_GET => Self::Get { path: reader.text("a path")? },
            READ_EXISTS => Self::Exists { path: reader.text("a path")? },
            READ_LIST => {
                let (path, after, limit) = take_page(&mut reader)?;
                Self::List { path, after, limit }
            }
            READ_ENTRIES => {
                let (path, after, limit) = take_page(&mut reader)?;
                Self::Entries { path, after, limit }
            }
            READ_SCAN => {
                let (path, after, limit) = take_page(&mut reader)?;
                Self::Scan { path, after, limit, with_data: reader.bool("the mark of who wants data")? }
            }
            READ_QUOTA => Self::Quota { path: reader.text("a path")? },
            READ_ACL => Self::Acl { path: reader.text("a path")? },
            READ_WHO_AM_I => Self::WhoAmI,
            READ_LOCK_HOLDERS => Self::LockHolders { path: reader.text("a path")? },
            READ_AWAIT_LOCK => {
                Self::AwaitLock { path: reader.text("a path")?, session: SessionId(reader.u64("a session")?) }
            }
            READ_CHECK_SEQUENCER => Self::CheckSequencer { sequencer: SequencerRef::take(&mut reader)? },
            READ_HANDLE_GET => Self::HandleGet { handle: HandleRef::take(&mut reader)? },
            READ_HANDLE_ENTRIES => Self::HandleEntries {
                handle: HandleRef::take(&mut reader)?,
                after: reader.text("a place in a listing")?,
                limit: reader.u32("a listing's limit")?,
            },
            READ_HANDLE_STAT => Self::HandleStat { handle: HandleRef::take(&mut reader)? },
            READ_RECORDS => Self::Records {
                path: reader.text("a path")?,
                from: reader.u64("a position")?,
                bytes: reader.u32("a number of bytes")?,
            },
            tag => return Err(DecodeError::UnknownTag { what: "read", tag }),
        };
        reader.finish("a read")?;
        Ok(read)
    }

    /// An owned copy.
    #[must_use]
    pub fn to_read(self) -> Read {
        match self {
            Self::Get { path } => Read::Get { path: path.to_owned() },
            Self::Exists { path } => Read::Exists { path: path.to_owned() },
            Self::List { path, after, limit } => Read::List { path: path.to_owned(), after: after.to_owned(), limit },
            Self::Entries { path, after, limit } => {
                Read::Entries { path: path.to_owned(), after: after.to_owned(), limit }
            }
            Self::Scan { path, after, limit, with_data } => {
                Read::Scan { path: path.to_owned(), after: after.to_owned(), limit, with_data }
            }
            Self::Quota { path } => Read::Quota { path: path.to_owned() },
            Self::Acl { path } => Read::Acl { path: path.to_owned() },
            Self::WhoAmI => Read::WhoAmI,
            Self::LockHolders { path } => Read::LockHolders { path: path.to_owned() },
            Self::AwaitLock { path, session } => Read::AwaitLock { path: path.to_owned(), session },
            Self::CheckSequencer { sequencer } => Read::CheckSequencer { sequencer: sequencer.to_sequencer() },
            Self::HandleGet { handle } => Read::HandleGet { handle: handle.to_handle() },
            Self::HandleEntries { handle, after, limit } => {
                Read::HandleEntries { handle: handle.to_handle(), after: after.to_owned(), limit }
            }
            Self::HandleStat { handle } => Read::HandleStat { handle: handle.to_handle() },
            Self::Records { path, from, bytes } => Read::Records { path: path.to_owned(), from, bytes },
        }
    }
}

fn put_page(out: &mut BytesMut, path: &str, after: &str, limit: u32) {
    put_text(out, path);
    put_text(out, after);
    out.put_u32_le(limit);
}

fn take_page<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, &'a str, u32), DecodeError> {
    Ok((reader.text("a path")?, reader.text("a place in a listing")?, reader.u32("a listing's limit")?))
}

const READ_GET: u8 = 1;
const READ_EXISTS: u8 = 2;
const READ_LIST: u8 = 3;
const READ_LOCK_HOLDERS: u8 = 4;
const READ_AWAIT_LOCK: u8 = 5;
const READ_CHECK_SEQUENCER: u8 = 6;
const READ_ENTRIES: u8 = 7;
const READ_SCAN: u8 = 8;
const READ_QUOTA: u8 = 9;
const READ_HANDLE_GET: u8 = 30;
const READ_HANDLE_ENTRIES: u8 = 31;
const READ_HANDLE_STAT: u8 = 32;
const READ_ACL: u8 = 20;
const READ_WHO_AM_I: u8 = 21;
const READ_RECORDS: u8 = 40;
