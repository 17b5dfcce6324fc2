//! What changes things: commands, operations and steps. Decoding borrows; the owned types are made from the borrowed ones.

mod step;

use core::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::acl::{put_address, take_address};
use super::handle::{BirthRef, HandleRef};
use super::lock::SequencerRef;
use super::reader::{DecodeError, Reader, put_bytes, put_maybe, put_text};
use crate::limits::MULTI_OPS_MAX;
use crate::namespace::acl::{Acl, User};
use crate::namespace::command::{
    Birth, Command, Expect, HandleMode, Lifetime, LockMode, Operation, Quota, Resume, SessionId, Step,
};
use crate::namespace::records::{Records, RecordsRef};

pub use self::step::StepRef;

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

/// An [`Operation`] that borrows from the bytes it was decoded from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OperationRef<'a> {
    Create { path: &'a str, data: &'a [u8], lifetime: Lifetime, sequential: bool },
    Set { path: &'a str, data: &'a [u8], expect: Expect },
    Delete { path: &'a str, expect: Expect },
    DeleteTree { path: &'a str, expect: Expect, part: u32 },
    SetQuota { path: &'a str, quota: Option<Quota> },
    Multi { steps: Vec<StepRef<'a>> },
    Acquire { path: &'a str, mode: LockMode, wait: bool, create: bool, lock_delay_ms: u32 },
    Release { path: &'a str },
    Guarded { sequencer: SequencerRef<'a>, operation: Box<OperationRef<'a>> },
    Open { path: &'a str, mode: HandleMode, birth: Option<BirthRef<'a>> },
    Close { handle: HandleRef<'a> },
    Through { handle: HandleRef<'a>, operation: Box<OperationRef<'a>> },
    CreateWithAcl { path: &'a str, data: &'a [u8], lifetime: Lifetime, sequential: bool, acl: Acl },
    SetAcl { path: &'a str, acl: Option<Acl>, expect: Expect },
    Authenticate { user: User, is_super: bool },
    CreateLog { path: &'a str, lifetime: Lifetime, sequential: bool },
    Append { path: &'a str, records: RecordsRef<'a>, end: Option<u64> },
    Trim { path: &'a str, upto: u64 },
    Seal { path: &'a str },
    Sync,
    CloseSession,
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

impl Operation {
    /// Appends the operation's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Create { path, data, lifetime, sequential } => put_create(out, path, data, *lifetime, *sequential),
            Self::Set { path, data, expect } => put_set(out, path, data, *expect),
            Self::Delete { path, expect } => put_delete(out, path, *expect),
            Self::DeleteTree { path, expect, part } => {
                out.put_u8(DELETE_TREE);
                put_text(out, path);
                put_expect(out, *expect);
                out.put_u32_le(*part);
            }
            Self::SetQuota { path, quota } => {
                out.put_u8(SET_QUOTA);
                put_text(out, path);
                put_maybe(out, quota.as_ref(), |out, quota| quota.put(out));
            }
            Self::Multi { steps } => {
                out.put_u8(MULTI);
                out.put_u32_le(u32::try_from(steps.len()).expect("steps are bounded far below 2^32"));
                steps.iter().for_each(|step| step.encode(out));
            }
            Self::Acquire { path, mode, wait, create, lock_delay_ms } => {
                out.put_u8(ACQUIRE);
                put_text(out, path);
                out.put_slice(&[mode.tag(), u8::from(*wait), u8::from(*create)]);
                out.put_u32_le(*lock_delay_ms);
            }
            Self::Release { path } => {
                out.put_u8(RELEASE);
                put_text(out, path);
            }
            Self::Guarded { sequencer, operation } => {
                let plain =
                    !matches!(**operation, Self::Guarded { .. } | Self::CloseSession | Self::Authenticate { .. });
                assert!(plain, "a guard is put around what clients do with nodes");
                out.put_u8(GUARDED);
                sequencer.as_ref().put(out);
                operation.encode(out);
            }
            Self::Open { path, mode, birth } => put_open(out, path, *mode, birth.as_ref()),
            Self::Close { handle } => {
                out.put_u8(CLOSE);
                handle.as_ref().put(out);
            }
            Self::Through { handle, operation } => {
                out.put_u8(THROUGH);
                handle.as_ref().put(out);
                let start = out.len();
                operation.encode(out);
                assert!(goes_through(out[start]), "what goes through a handle is about one node");
            }
            Self::CreateWithAcl { path, data, lifetime, sequential, acl } => {
                put_create_with_acl(out, (path, data, *lifetime, *sequential), acl);
            }
            Self::SetAcl { path, acl, expect } => put_set_acl(out, path, acl.as_ref(), *expect),
            Self::Authenticate { user, is_super } => {
                out.put_u8(AUTHENTICATE);
                user.put(out);
                out.put_u8(u8::from(*is_super));
            }
            Self::CreateLog { path, lifetime, sequential } => put_create_log(out, path, *lifetime, *sequential),
            Self::Append { path, records, end } => put_append(out, path, records, *end),
            Self::Trim { path, upto } => {
                out.put_u8(TRIM);
                put_text(out, path);
                out.put_u64_le(*upto);
            }
            Self::Seal { path } => {
                out.put_u8(SEAL);
                put_text(out, path);
            }
            Self::Sync => out.put_u8(SYNC),
            Self::CloseSession => out.put_u8(CLOSE_SESSION),
        }
    }

    /// Decodes what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        OperationRef::decode(bytes).map(|operation| operation.to_operation())
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

impl<'a> OperationRef<'a> {
    /// The node it is about, if it is about one.
    pub(in crate::namespace) fn path(&self) -> Option<&'a str> {
        match *self {
            Self::Create { path, .. }
            | Self::Set { path, .. }
            | Self::Delete { path, .. }
            | Self::DeleteTree { path, .. }
            | Self::SetQuota { path, .. }
            | Self::Acquire { path, .. }
            | Self::CreateWithAcl { path, .. }
            | Self::SetAcl { path, .. }
            | Self::Release { path }
            | Self::CreateLog { path, .. }
            | Self::Append { path, .. }
            | Self::Trim { path, .. }
            | Self::Seal { path }
            | Self::Open { path, .. } => Some(path),
            Self::Close { handle } => Some(handle.path),
            Self::Guarded { ref operation, .. } | Self::Through { ref operation, .. } => operation.path(),
            Self::Multi { .. } | Self::Authenticate { .. } | Self::Sync | Self::CloseSession => None,
        }
    }

    /// Decodes what [`Operation::encode`] wrote. A server does this before it lets a client's bytes into the log.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let operation = match reader.u8("an operation")? {
            CREATE => {
                let (path, data, lifetime, sequential) = take_create(&mut reader)?;
                Self::Create { path, data, lifetime, sequential }
            }
            SET => {
                let (path, data, expect) = take_set(&mut reader)?;
                Self::Set { path, data, expect }
            }
            DELETE => Self::Delete { path: reader.text("a path")?, expect: take_expect(&mut reader)? },
            DELETE_TREE => Self::DeleteTree {
                path: reader.text("a path")?,
                expect: take_expect(&mut reader)?,
                part: reader.u32("a part's size")?,
            },
            SET_QUOTA => Self::SetQuota { path: reader.text("a path")?, quota: reader.maybe("a quota", Quota::take)? },
            MULTI => Self::Multi { steps: take_steps(&mut reader)? },
            ACQUIRE => Self::Acquire {
                path: reader.text("a path")?,
                mode: LockMode::take(&mut reader)?,
                wait: reader.bool("the mark of who waits")?,
                create: reader.bool("the mark of who creates")?,
                lock_delay_ms: reader.u32("a lock-delay")?,
            },
            RELEASE => Self::Release { path: reader.text("a path")? },
            GUARDED => {
                let sequencer = SequencerRef::take(&mut reader)?;
                let guarded = reader.remainder();
                if let Some(tag) = guarded.first().copied().filter(|tag| !is_guardable(*tag)) {
                    return Err(DecodeError::UnknownTag { what: "guarded operation", tag });
                }
                Self::Guarded { sequencer, operation: Box::new(Self::decode(guarded)?) }
            }
            OPEN => {
                let (path, mode, birth) = take_open(&mut reader)?;
                Self::Open { path, mode, birth }
            }
            CLOSE => Self::Close { handle: HandleRef::take(&mut reader)? },
            THROUGH => {
                let handle = HandleRef::take(&mut reader)?;
                let operation = reader.remainder();
                if let Some(tag) = operation.first().copied().filter(|tag| !goes_through(*tag)) {
                    return Err(DecodeError::UnknownTag { what: "operation through a handle", tag });
                }
                Self::Through { handle, operation: Box::new(Self::decode(operation)?) }
            }
            CREATE_WITH_ACL => {
                let ((path, data, lifetime, sequential), acl) = take_create_with_acl(&mut reader)?;
                Self::CreateWithAcl { path, data, lifetime, sequential, acl }
            }
            SET_ACL => {
                let (path, acl, expect) = take_set_acl(&mut reader)?;
                Self::SetAcl { path, acl, expect }
            }
            AUTHENTICATE => {
                let (user, is_super) = (User::take(&mut reader)?, reader.bool("the mark of the super principal")?);
                Self::Authenticate { user, is_super }
            }
            CREATE_LOG => {
                let (path, lifetime, sequential) = take_create_log(&mut reader)?;
                Self::CreateLog { path, lifetime, sequential }
            }
            APPEND => {
                let (path, records, end) = take_append(&mut reader)?;
                Self::Append { path, records, end }
            }
            TRIM => Self::Trim { path: reader.text("a path")?, upto: reader.u64("a position")? },
            SEAL => Self::Seal { path: reader.text("a path")? },
            SYNC => Self::Sync,
            CLOSE_SESSION => Self::CloseSession,
            tag => return Err(DecodeError::UnknownTag { what: "operation", tag }),
        };
        reader.finish("an operation")?;
        Ok(operation)
    }

    /// Bytes of data in the largest node it would make, or of the largest record it would append.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        match self {
            Self::Create { data, .. } | Self::CreateWithAcl { data, .. } | Self::Set { data, .. } => data.len(),
            Self::Multi { steps } => steps.iter().map(StepRef::data_bytes).max().unwrap_or(0),
            Self::Open { birth, .. } => birth.map_or(0, |birth| birth.data.len()),
            Self::Guarded { operation, .. } | Self::Through { operation, .. } => operation.data_bytes(),
            Self::Append { records, .. } => records.record_bytes_max(),
            Self::CreateLog { .. }
            | Self::Trim { .. }
            | Self::Seal { .. }
            | Self::Delete { .. }
            | Self::DeleteTree { .. }
            | Self::SetQuota { .. }
            | Self::Acquire { .. }
            | Self::Release { .. }
            | Self::Close { .. }
            | Self::SetAcl { .. }
            | Self::Authenticate { .. }
            | Self::Sync
            | Self::CloseSession => 0,
        }
    }

    /// An owned copy.
    #[must_use]
    pub fn to_operation(&self) -> Operation {
        match self {
            Self::Create { path, data, lifetime, sequential } => Operation::Create {
                path: (*path).to_owned(),
                data: Bytes::copy_from_slice(data),
                lifetime: *lifetime,
                sequential: *sequential,
            },
            Self::Set { path, data, expect } => {
                Operation::Set { path: (*path).to_owned(), data: Bytes::copy_from_slice(data), expect: *expect }
            }
            Self::Delete { path, expect } => Operation::Delete { path: (*path).to_owned(), expect: *expect },
            Self::DeleteTree { path, expect, part } => {
                Operation::DeleteTree { path: (*path).to_owned(), expect: *expect, part: *part }
            }
            Self::SetQuota { path, quota } => Operation::SetQuota { path: (*path).to_owned(), quota: *quota },
            Self::Multi { steps } => Operation::Multi { steps: steps.iter().map(StepRef::to_step).collect() },
            Self::Acquire { path, mode, wait, create, lock_delay_ms } => Operation::Acquire {
                path: (*path).to_owned(),
                mode: *mode,
                wait: *wait,
                create: *create,
                lock_delay_ms: *lock_delay_ms,
            },
            Self::Release { path } => Operation::Release { path: (*path).to_owned() },
            Self::Guarded { sequencer, operation } => Operation::Guarded {
                sequencer: sequencer.to_sequencer(),
                operation: Box::new(operation.to_operation()),
            },
            Self::Open { path, mode, birth } => {
                Operation::Open { path: (*path).to_owned(), mode: *mode, birth: birth.map(BirthRef::to_birth) }
            }
            Self::Close { handle } => Operation::Close { handle: handle.to_handle() },
            Self::Through { handle, operation } => {
                Operation::Through { handle: handle.to_handle(), operation: Box::new(operation.to_operation()) }
            }
            Self::CreateWithAcl { path, data, lifetime, sequential, acl } => Operation::CreateWithAcl {
                path: (*path).to_owned(),
                data: Bytes::copy_from_slice(data),
                lifetime: *lifetime,
                sequential: *sequential,
                acl: acl.clone(),
            },
            Self::SetAcl { path, acl, expect } => {
                Operation::SetAcl { path: (*path).to_owned(), acl: acl.clone(), expect: *expect }
            }
            Self::Authenticate { user, is_super } => {
                Operation::Authenticate { user: user.clone(), is_super: *is_super }
            }
            Self::CreateLog { path, lifetime, sequential } => {
                Operation::CreateLog { path: (*path).to_owned(), lifetime: *lifetime, sequential: *sequential }
            }
            Self::Append { path, records, end } => {
                Operation::Append { path: (*path).to_owned(), records: records.to_records(), end: *end }
            }
            Self::Trim { path, upto } => Operation::Trim { path: (*path).to_owned(), upto: *upto },
            Self::Seal { path } => Operation::Seal { path: (*path).to_owned() },
            Self::Sync => Operation::Sync,
            Self::CloseSession => Operation::CloseSession,
        }
    }
}

/// A guard is neither put around another, nor around the end of a session, which must not fail, nor around who it is.
const fn is_guardable(tag: u8) -> bool {
    !matches!(tag, GUARDED | CLOSE_SESSION | AUTHENTICATE)
}

/// What is about one node goes through a handle.
const fn goes_through(tag: u8) -> bool {
    matches!(
        tag,
        CREATE
            | CREATE_WITH_ACL
            | SET
            | DELETE
            | DELETE_TREE
            | SET_QUOTA
            | SET_ACL
            | ACQUIRE
            | RELEASE
            | OPEN
            | CREATE_LOG
            | APPEND
            | TRIM
            | SEAL
    )
}

/// What there is to say of a node to be opened: path, what for, what to make if there is none.
type Opening<'a> = (&'a str, HandleMode, Option<BirthRef<'a>>);

/// What there is to say of a node to be made: path, data, lifetime, whether its name is numbered.
type Made<'a> = (&'a str, &'a [u8], Lifetime, bool);

fn put_create(out: &mut BytesMut, path: &str, data: &[u8], lifetime: Lifetime, sequential: bool) {
    out.put_u8(CREATE);
    put_made(out, (path, data, lifetime, sequential));
}

fn put_create_with_acl(out: &mut BytesMut, made: Made<'_>, acl: &Acl) {
    out.put_u8(CREATE_WITH_ACL);
    put_made(out, made);
    acl.put(out);
}

fn put_made(out: &mut BytesMut, (path, data, lifetime, sequential): Made<'_>) {
    put_text(out, path);
    put_bytes(out, data);
    put_lifetime(out, lifetime);
    out.put_u8(u8::from(sequential));
}

fn take_steps<'a>(reader: &mut Reader<'a>) -> Result<Vec<StepRef<'a>>, DecodeError> {
    let count = reader.count("steps of a multi", MULTI_OPS_MAX, STEP_BYTES_MIN)?;
    (0..count).map(|_| StepRef::take(reader)).collect()
}

fn put_create_log(out: &mut BytesMut, path: &str, lifetime: Lifetime, sequential: bool) {
    out.put_u8(CREATE_LOG);
    put_text(out, path);
    put_lifetime(out, lifetime);
    out.put_u8(u8::from(sequential));
}

fn take_create_log<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, Lifetime, bool), DecodeError> {
    Ok((reader.text("a path")?, take_lifetime(reader)?, reader.bool("the mark of a sequential name")?))
}

fn put_open(out: &mut BytesMut, path: &str, mode: HandleMode, birth: Option<&Birth>) {
    out.put_u8(OPEN);
    put_text(out, path);
    out.put_u8(mode.bits());
    put_maybe(out, birth, |out, birth| birth.put(out));
}

fn take_open<'a>(reader: &mut Reader<'a>) -> Result<Opening<'a>, DecodeError> {
    let birth = |reader: &mut Reader<'a>| reader.maybe("what is to be made", BirthRef::take);
    Ok((reader.text("a path")?, HandleMode::take(reader)?, birth(reader)?))
}

pub(super) fn put_lifetime(out: &mut BytesMut, lifetime: Lifetime) {
    match lifetime {
        Lifetime::Permanent => out.put_u8(0),
        Lifetime::Ephemeral => out.put_u8(1),
        Lifetime::Container => out.put_u8(2),
        Lifetime::Ttl { ms } => {
            out.put_u8(3);
            out.put_u64_le(ms);
        }
        Lifetime::Transient => out.put_u8(4),
    }
}

fn take_create_with_acl<'a>(reader: &mut Reader<'a>) -> Result<(Made<'a>, Acl), DecodeError> {
    Ok((take_create(reader)?, Acl::take(reader)?))
}

fn put_set_acl(out: &mut BytesMut, path: &str, acl: Option<&Acl>, expect: Expect) {
    out.put_u8(SET_ACL);
    put_text(out, path);
    put_maybe(out, acl, |out, acl| acl.put(out));
    put_expect(out, expect);
}

fn take_set_acl<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, Option<Acl>, Expect), DecodeError> {
    Ok((reader.text("a path")?, reader.maybe("an access list", Acl::take)?, take_expect(reader)?))
}

fn take_create<'a>(reader: &mut Reader<'a>) -> Result<Made<'a>, DecodeError> {
    let path = reader.text("a path")?;
    let data = reader.bytes("a node's data")?;
    let lifetime = take_lifetime(reader)?;
    Ok((path, data, lifetime, reader.bool("the mark of a sequential name")?))
}

pub(super) fn take_lifetime(reader: &mut Reader<'_>) -> Result<Lifetime, DecodeError> {
    Ok(match reader.u8("a lifetime")? {
        0 => Lifetime::Permanent,
        1 => Lifetime::Ephemeral,
        2 => Lifetime::Container,
        3 => Lifetime::Ttl { ms: reader.u64("a time to live")? },
        4 => Lifetime::Transient,
        tag => return Err(DecodeError::UnknownTag { what: "lifetime", tag }),
    })
}

fn put_set(out: &mut BytesMut, path: &str, data: &[u8], expect: Expect) {
    out.put_u8(SET);
    put_text(out, path);
    put_bytes(out, data);
    put_expect(out, expect);
}

fn take_set<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, &'a [u8], Expect), DecodeError> {
    Ok((reader.text("a path")?, reader.bytes("a node's data")?, take_expect(reader)?))
}

fn put_delete(out: &mut BytesMut, path: &str, expect: Expect) {
    out.put_u8(DELETE);
    put_text(out, path);
    put_expect(out, expect);
}

fn put_append(out: &mut BytesMut, path: &str, records: &Records, end: Option<u64>) {
    out.put_u8(APPEND);
    put_text(out, path);
    records.as_ref().put(out);
    put_maybe(out, end, |out, end| out.put_u64_le(end));
}

fn take_append<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, RecordsRef<'a>, Option<u64>), DecodeError> {
    let (path, records) = (reader.text("a path")?, RecordsRef::take(reader)?);
    Ok((path, records, reader.maybe("an end", |reader| reader.u64("a position"))?))
}

fn put_expect(out: &mut BytesMut, expect: Expect) {
    match expect {
        Expect::Any => out.put_u8(0),
        Expect::Version(version) => {
            out.put_u8(1);
            out.put_u64_le(version);
        }
        Expect::Absent => out.put_u8(2),
    }
}

fn take_expect(reader: &mut Reader<'_>) -> Result<Expect, DecodeError> {
    match reader.u8("a condition")? {
        0 => Ok(Expect::Any),
        1 => Ok(Expect::Version(reader.u64("a version")?)),
        2 => Ok(Expect::Absent),
        tag => Err(DecodeError::UnknownTag { what: "condition", tag }),
    }
}

const OPEN_SESSION: u8 = 1;
const RESUME_SESSION: u8 = 2;
const EXPIRE_SESSION: u8 = 3;
const REQUEST: u8 = 4;
const SETTLE: u8 = 5;
const BEGIN_REIGN: u8 = 7;
const MARK_CACHING: u8 = 6;

// Operations and steps share one space of tags: what both have, both write alike.
const CREATE: u8 = 1;
const SET: u8 = 2;
const DELETE: u8 = 3;
const MULTI: u8 = 4;
const SYNC: u8 = 5;
const CLOSE_SESSION: u8 = 6;
const CHECK: u8 = 7;
const GET: u8 = 8;
const ACQUIRE: u8 = 9;
const RELEASE: u8 = 10;
const GUARDED: u8 = 11;
const CHECK_LOCK: u8 = 12;
const DELETE_TREE: u8 = 13;
const SET_QUOTA: u8 = 14;
const OPEN: u8 = 30;
const CLOSE: u8 = 31;
const THROUGH: u8 = 32;
const CHECK_HANDLE: u8 = 33;
const SET_ACL: u8 = 20;
const AUTHENTICATE: u8 = 21;
const CREATE_WITH_ACL: u8 = 22;
const CREATE_LOG: u8 = 40;
const APPEND: u8 = 41;
const TRIM: u8 = 42;
const SEAL: u8 = 43;

/// A tag and an empty path.
const STEP_BYTES_MIN: usize = 5;
