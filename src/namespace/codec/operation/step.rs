//! Steps of a `multi`, as they are written.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::handle::HandleRef;
use super::super::lock::SequencerRef;
use super::super::reader::{DecodeError, Reader, put_text};
use super::*;

/// A [`Step`] that borrows from the bytes it was decoded from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepRef<'a> {
    Check { path: &'a str, expect: Expect },
    Create { path: &'a str, data: &'a [u8], lifetime: Lifetime, sequential: bool },
    Set { path: &'a str, data: &'a [u8], expect: Expect },
    Delete { path: &'a str, expect: Expect },
    CreateWithAcl { path: &'a str, data: &'a [u8], lifetime: Lifetime, sequential: bool, acl: Acl },
    SetAcl { path: &'a str, acl: Option<Acl>, expect: Expect },
    Get { path: &'a str },
    CheckLock { sequencer: SequencerRef<'a> },
    CheckHandle { handle: HandleRef<'a> },
    Append { path: &'a str, records: RecordsRef<'a>, end: Option<u64> },
}

impl Step {
    /// Appends the step's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Check { path, expect } => {
                out.put_u8(CHECK);
                put_text(out, path);
                put_expect(out, *expect);
            }
            Self::Create { path, data, lifetime, sequential } => put_create(out, path, data, *lifetime, *sequential),
            Self::Set { path, data, expect } => put_set(out, path, data, *expect),
            Self::Delete { path, expect } => put_delete(out, path, *expect),
            Self::CreateWithAcl { path, data, lifetime, sequential, acl } => {
                put_create_with_acl(out, (path, data, *lifetime, *sequential), acl);
            }
            Self::SetAcl { path, acl, expect } => put_set_acl(out, path, acl.as_ref(), *expect),
            Self::Get { path } => {
                out.put_u8(GET);
                put_text(out, path);
            }
            Self::CheckLock { sequencer } => {
                out.put_u8(CHECK_LOCK);
                sequencer.as_ref().put(out);
            }
            Self::CheckHandle { handle } => {
                out.put_u8(CHECK_HANDLE);
                handle.as_ref().put(out);
            }
            Self::Append { path, records, end } => put_append(out, path, records, *end),
        }
    }
}

impl<'a> StepRef<'a> {
    pub(super) fn data_bytes(&self) -> usize {
        match self {
            Self::Create { data, .. } | Self::CreateWithAcl { data, .. } | Self::Set { data, .. } => data.len(),
            Self::Append { records, .. } => records.record_bytes_max(),
            Self::Check { .. }
            | Self::Delete { .. }
            | Self::SetAcl { .. }
            | Self::Get { .. }
            | Self::CheckLock { .. }
            | Self::CheckHandle { .. } => 0,
        }
    }

    /// An owned copy.
    #[must_use]
    pub fn to_step(&self) -> Step {
        match *self {
            Self::Check { path, expect } => Step::Check { path: path.to_owned(), expect },
            Self::Create { path, data, lifetime, sequential } => {
                Step::Create { path: path.to_owned(), data: Bytes::copy_from_slice(data), lifetime, sequential }
            }
            Self::Set { path, data, expect } => {
                Step::Set { path: path.to_owned(), data: Bytes::copy_from_slice(data), expect }
            }
            Self::Delete { path, expect } => Step::Delete { path: path.to_owned(), expect },
            Self::CreateWithAcl { path, data, lifetime, sequential, ref acl } => {
                let (path, data) = (path.to_owned(), Bytes::copy_from_slice(data));
                Step::CreateWithAcl { path, data, lifetime, sequential, acl: acl.clone() }
            }
            Self::SetAcl { path, ref acl, expect } => Step::SetAcl { path: path.to_owned(), acl: acl.clone(), expect },
            Self::Get { path } => Step::Get { path: path.to_owned() },
            Self::CheckLock { sequencer } => Step::CheckLock { sequencer: sequencer.to_sequencer() },
            Self::CheckHandle { handle } => Step::CheckHandle { handle: handle.to_handle() },
            Self::Append { path, records, end } => {
                Step::Append { path: path.to_owned(), records: records.to_records(), end }
            }
        }
    }

    pub(super) fn take(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.u8("a step")? {
            CHECK => Self::Check { path: reader.text("a path")?, expect: take_expect(reader)? },
            CREATE => {
                let (path, data, lifetime, sequential) = take_create(reader)?;
                Self::Create { path, data, lifetime, sequential }
            }
            SET => {
                let (path, data, expect) = take_set(reader)?;
                Self::Set { path, data, expect }
            }
            DELETE => Self::Delete { path: reader.text("a path")?, expect: take_expect(reader)? },
            CREATE_WITH_ACL => {
                let ((path, data, lifetime, sequential), acl) = take_create_with_acl(reader)?;
                Self::CreateWithAcl { path, data, lifetime, sequential, acl }
            }
            SET_ACL => {
                let (path, acl, expect) = take_set_acl(reader)?;
                Self::SetAcl { path, acl, expect }
            }
            GET => Self::Get { path: reader.text("a path")? },
            CHECK_LOCK => Self::CheckLock { sequencer: SequencerRef::take(reader)? },
            CHECK_HANDLE => Self::CheckHandle { handle: HandleRef::take(reader)? },
            APPEND => {
                let (path, records, end) = take_append(reader)?;
                Self::Append { path, records, end }
            }
            tag => return Err(DecodeError::UnknownTag { what: "step", tag }),
        })
    }
}
