//! Commands, as the log carries them. Decoding borrows; the owned types are made from the borrowed ones.

use core::net::IpAddr;

use bytes::{BufMut, BytesMut};

use super::acl::{put_address, take_address};
use super::operation::OperationRef;
use super::reader::{DecodeError, Reader, put_text};
use crate::namespace::command::{Command, Resume, SessionId};

/// Bytes of a request command in front of its operation.
pub const REQUEST_PREFIX_BYTES: usize = 25;

/// A [`Command`] that borrows from the bytes it was decoded from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandRef<'a> {
    OpenSession { token: u64, secret: u128, timeout_ms: u32, address: Option<IpAddr> },
    ResumeSession { token: u64, resume: Resume, address: Option<IpAddr> },
    ExpireSession { session: SessionId, counter: u64 },
    Settle { path: &'a str, instance: u64 },
    BeginReign { reign: u64, key: u128 },
    MarkCaching { session: SessionId },
    Request { session: SessionId, number: u64, acked_upto: u64, operation: OperationRef<'a> },
}

/// What stands in front of an operation's bytes to make them a [`Command::Request`].
#[must_use]
pub fn request_prefix(session: SessionId, number: u64, acked_upto: u64) -> [u8; REQUEST_PREFIX_BYTES] {
    let mut prefix = [0; REQUEST_PREFIX_BYTES];
    prefix[0] = REQUEST;
    prefix[1..9].copy_from_slice(&session.0.to_le_bytes());
    prefix[9..17].copy_from_slice(&number.to_le_bytes());
    prefix[17..].copy_from_slice(&acked_upto.to_le_bytes());
    prefix
}

impl Command {
    /// Appends the command's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::OpenSession { token, secret, timeout_ms, address } => {
                out.put_u8(OPEN_SESSION);
                out.put_u64_le(*token);
                out.put_u128_le(*secret);
                out.put_u32_le(*timeout_ms);
                put_address(out, *address);
            }
            Self::ResumeSession { token, resume, address } => {
                out.put_u8(RESUME_SESSION);
                out.put_u64_le(*token);
                resume.put(out);
                put_address(out, *address);
            }
            Self::ExpireSession { session, counter } => {
                out.put_u8(EXPIRE_SESSION);
                out.put_u64_le(session.0);
                out.put_u64_le(*counter);
            }
            Self::Settle { path, instance } => {
                out.put_u8(SETTLE);
                put_text(out, path);
                out.put_u64_le(*instance);
            }
            Self::BeginReign { reign, key } => {
                out.put_u8(BEGIN_REIGN);
                out.put_u64_le(*reign);
                out.put_u128_le(*key);
            }
            Self::MarkCaching { session } => {
                out.put_u8(MARK_CACHING);
                out.put_u64_le(session.0);
            }
            Self::Request { session, number, acked_upto, operation } => {
                out.put_slice(&request_prefix(*session, *number, *acked_upto));
                operation.encode(out);
            }
        }
    }

    /// Decodes what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        CommandRef::decode(bytes).map(|command| command.to_command())
    }
}

impl<'a> CommandRef<'a> {
    /// The node it is about, if it is about one.
    pub fn path(&self) -> Option<&'a str> {
        let Self::Request { operation, .. } = self else { return None };
        operation.path()
    }

    /// Decodes what [`Command::encode`] wrote.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let command = match reader.u8("a command")? {
            OPEN_SESSION => Self::OpenSession {
                token: reader.u64("a session's token")?,
                secret: reader.u128("a session's secret")?,
                timeout_ms: reader.u32("a session's timeout")?,
                address: take_address(&mut reader)?,
            },
            RESUME_SESSION => Self::ResumeSession {
                token: reader.u64("a token")?,
                resume: Resume::take(&mut reader)?,
                address: take_address(&mut reader)?,
            },
            EXPIRE_SESSION => Self::ExpireSession {
                session: SessionId(reader.u64("a session")?),
                counter: reader.u64("a session's counter")?,
            },
            SETTLE => Self::Settle { path: reader.text("a path")?, instance: reader.u64("an instance")? },
            BEGIN_REIGN => Self::BeginReign { reign: reader.u64("a reign")?, key: reader.u128("a key")? },
            MARK_CACHING => Self::MarkCaching { session: SessionId(reader.u64("a session")?) },
            REQUEST => Self::Request {
                session: SessionId(reader.u64("a session")?),
                number: reader.u64("a request's number")?,
                acked_upto: reader.u64("an acknowledgement")?,
                operation: OperationRef::decode(reader.remainder())?,
            },
            tag => return Err(DecodeError::UnknownTag { what: "command", tag }),
        };
        reader.finish("a command")?;
        Ok(command)
    }

    /// An owned copy.
    #[must_use]
    pub fn to_command(&self) -> Command {
        match *self {
            Self::OpenSession { token, secret, timeout_ms, address } => {
                Command::OpenSession { token, secret, timeout_ms, address }
            }
            Self::ResumeSession { token, resume, address } => Command::ResumeSession { token, resume, address },
            Self::ExpireSession { session, counter } => Command::ExpireSession { session, counter },
            Self::Settle { path, instance } => Command::Settle { path: path.to_owned(), instance },
            Self::BeginReign { reign, key } => Command::BeginReign { reign, key },
            Self::MarkCaching { session } => Command::MarkCaching { session },
            Self::Request { session, number, acked_upto, ref operation } => {
                Command::Request { session, number, acked_upto, operation: operation.to_operation() }
            }
        }
    }
}

const OPEN_SESSION: u8 = 1;
const RESUME_SESSION: u8 = 2;
const EXPIRE_SESSION: u8 = 3;
const REQUEST: u8 = 4;
const SETTLE: u8 = 5;
const BEGIN_REIGN: u8 = 7;
const MARK_CACHING: u8 = 6;
