//! What clients ask to be done. Decoding borrows; the owned types are made from the borrowed ones.

mod fields;
mod step;

use bytes::{BufMut, Bytes, BytesMut};

use super::handle::{BirthRef, HandleRef};
use super::lock::SequencerRef;
use super::reader::{DecodeError, Reader, put_bytes, put_maybe, put_text};
use crate::limits::MULTI_OPS_MAX;
use crate::namespace::acl::{Acl, User};
use crate::namespace::command::{Birth, Expect, HandleMode, Lifetime, LockMode, Operation, Quota, Step};
use crate::namespace::records::{Records, RecordsRef};

use self::fields::*;
pub(super) use self::fields::{put_lifetime, take_lifetime};
pub use self::step::StepRef;

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
