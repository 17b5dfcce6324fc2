//! Takes values off the front of a run of bytes, and never believes a length before it has seen the bytes.

use bytes::{BufMut, BytesMut};
use thiserror::Error;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DecodeError {
    /// The input ends too early.
    #[error("{what} is cut short: {needed} bytes needed, {left} left; send the whole of it, or mend its length field")]
    Truncated { what: &'static str, needed: usize, left: usize },
    /// The input goes on where it should end.
    #[error("{left} bytes follow the end of {what}; a length field and what it counts disagree")]
    Trailing { what: &'static str, left: usize },
    /// A tag names nothing known.
    #[error("{tag} is no kind of {what}; the sender may speak a newer version than this one")]
    UnknownTag { what: &'static str, tag: u8 },
    /// A text is not UTF-8.
    #[error("{what} is not UTF-8 text")]
    NotText { what: &'static str },
    /// A count is past its limit.
    #[error("{count} {what}, at most {limit} are taken; split the request")]
    TooMany { what: &'static str, count: usize, limit: usize },
    /// A value that has only one right form has another.
    #[error("{what} is not in the one form it may have")]
    NotCanonical { what: &'static str },
}

/// A cursor over bytes being decoded. What it hands out borrows from them.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(what)?[0])
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// The next sixteen bytes as a number.
    pub fn u128(&mut self, what: &'static str) -> Result<u128, DecodeError> {
        self.array(what).map(u128::from_le_bytes)
    }

    /// A byte that is 0 or 1.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::NotCanonical { what }),
        }
    }

    /// A value that may be absent: a byte that is 0 or 1, and after a 1 the value.
    pub fn maybe<T>(
        &mut self,
        what: &'static str,
        take: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.bool(what)? { take(self).map(Some) } else { Ok(None) }
    }

    /// A length and as many bytes.
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.u32(what)? as usize;
        self.take(len, what)
    }

    /// A length and as many bytes of UTF-8.
    pub fn text(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| DecodeError::NotText { what })
    }

    /// A count of things that take at least `bytes_min` bytes each: never more than the input can hold, so that room may
    /// be made for them at once.
    pub fn count(&mut self, what: &'static str, limit: usize, bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.u32(what)? as usize;
        if count > limit {
            return Err(DecodeError::TooMany { what, count, limit });
        }
        let needed = count.saturating_mul(bytes_min);
        if needed > self.rest.len() {
            return Err(DecodeError::Truncated { what, needed, left: self.rest.len() });
        }
        Ok(count)
    }

    /// All that is left.
    pub fn remainder(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Refuses bytes behind the end.
    pub fn finish(&self, what: &'static str) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { what, left: self.rest.len() }) }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(self.truncated(what, N))?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(self.truncated(what, len))?;
        self.rest = rest;
        Ok(head)
    }

    const fn truncated(&self, what: &'static str, needed: usize) -> DecodeError {
        DecodeError::Truncated { what, needed, left: self.rest.len() }
    }
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("what is encoded was checked against a limit far below 4 GiB");
    out.put_u32_le(len);
    out.put_slice(bytes);
}

/// Appends a length and the text.
pub fn put_text(out: &mut BytesMut, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Appends a value that may be absent.
pub fn put_maybe<T>(out: &mut BytesMut, value: Option<T>, put: impl FnOnce(&mut BytesMut, T)) {
    out.put_u8(value.is_some().into());
    if let Some(value) = value {
        put(out, value);
    }
}
