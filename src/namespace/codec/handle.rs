//! Handles, and what is to be made where there is nothing to open.

use bytes::{BufMut, Bytes, BytesMut};

use super::operation::{put_lifetime, take_lifetime};
use super::reader::{DecodeError, Reader, put_bytes, put_maybe};
use crate::namespace::acl::Acl;
use crate::namespace::command::{Lifetime, SessionId};
use crate::namespace::handle::{Birth, Handle, HandleMode};

/// A [`Handle`] that borrows from the bytes it was decoded from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandleRef<'a> {
    pub path: &'a str,
    pub instance: u64,
    pub session: SessionId,
    pub opened: u64,
    pub reign: u64,
    pub mode: HandleMode,
    pub digits: u64,
}

/// A [`Birth`] that borrows from the bytes it was decoded from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BirthRef<'a> {
    pub data: &'a [u8],
    pub lifetime: Lifetime,
    pub sequential: bool,
    pub must: bool,
    pub acl: Option<Acl>,
}

impl<'a> HandleRef<'a> {
    /// An owned copy.
    #[must_use]
    pub fn to_handle(self) -> Handle {
        let Self { path, instance, session, opened, reign, mode, digits } = self;
        Handle { path: path.to_owned(), instance, session, opened, reign, mode, digits }
    }

    pub(super) fn put(self, out: &mut BytesMut) {
        self.checked(|piece| out.put_slice(piece));
        out.put_u64_le(self.digits);
    }

    /// All that the check digits are of, as it is encoded, piece by piece.
    pub(in crate::namespace) fn checked(self, mut take: impl FnMut(&[u8])) {
        let length = u32::try_from(self.path.len()).expect("a path is far shorter than 4 GiB");
        take(&length.to_le_bytes());
        take(self.path.as_bytes());
        let numbers = [self.instance, self.session.0, self.opened, self.reign];
        numbers.iter().for_each(|number| take(&number.to_le_bytes()));
        take(&[self.mode.bits()]);
    }

    pub(super) fn take(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.text("a path")?,
            instance: reader.u64("an instance")?,
            session: SessionId(reader.u64("a session")?),
            opened: reader.u64("a revision")?,
            reign: reader.u64("a reign")?,
            mode: HandleMode::take(reader)?,
            digits: reader.u64("check digits")?,
        })
    }
}

impl<'a> BirthRef<'a> {
    /// An owned copy.
    #[must_use]
    pub fn to_birth(self) -> Birth {
        let Self { data, lifetime, sequential, must, acl } = self;
        Birth { data: Bytes::copy_from_slice(data), lifetime, sequential, must, acl }
    }

    pub(super) fn take(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            data: reader.bytes("a node's data")?,
            lifetime: take_lifetime(reader)?,
            sequential: reader.bool("the mark of a sequential name")?,
            must: reader.bool("the mark of who must create")?,
            acl: reader.maybe("an access list", Acl::take)?,
        })
    }
}

impl Handle {
    /// The same handle, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> HandleRef<'_> {
        let Self { path, instance, session, opened, reign, mode, digits } = self;
        HandleRef {
            path,
            instance: *instance,
            session: *session,
            opened: *opened,
            reign: *reign,
            mode: *mode,
            digits: *digits,
        }
    }
}

impl Birth {
    pub(super) fn put(&self, out: &mut BytesMut) {
        put_bytes(out, &self.data);
        put_lifetime(out, self.lifetime);
        out.put_slice(&[u8::from(self.sequential), u8::from(self.must)]);
        put_maybe(out, self.acl.as_ref(), |out, acl| acl.put(out));
    }
}

impl HandleMode {
    pub(in crate::namespace) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bits = reader.u8("a handle's mode")?;
        Self::from_bits(bits).ok_or(DecodeError::UnknownTag { what: "mode of a handle", tag: bits })
    }
}
