//! The plain values bodies are made of: little-endian numbers, byte strings and texts behind a `u32` length, and
//! "maybe" as one byte, 0 or 1.

use bytes::{BufMut, BytesMut};
use thiserror::Error;

/// Why a body cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The body ends inside a value.
    #[error("the body ends inside `{field}`")]
    Short { field: &'static str },
    /// Bytes are left over.
    #[error("{bytes} bytes are left over behind the last value")]
    Long { bytes: usize },
    /// A text is not UTF-8.
    #[error("`{field}` is not UTF-8")]
    Text { field: &'static str },
    /// A tag or a number outside its range.
    #[error("`{field}` is {value}, which means nothing here")]
    Value { field: &'static str, value: u64 },
}

/// Reads a body's values in order, borrowing.
#[derive(Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Starts at the first byte of `body`.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub fn u8(&mut self, field: &'static str) -> Result<u8, FieldError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub fn u16(&mut self, field: &'static str) -> Result<u16, FieldError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub fn u32(&mut self, field: &'static str) -> Result<u32, FieldError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, field: &'static str) -> Result<u64, FieldError> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub fn u128(&mut self, field: &'static str) -> Result<u128, FieldError> {
        self.array(field).map(u128::from_le_bytes)
    }

    /// A byte string behind its length.
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], FieldError> {
        let len = self.u32(field)? as usize;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(FieldError::Short { field })?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A text behind its length.
    pub fn text(&mut self, field: &'static str) -> Result<&'a str, FieldError> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| FieldError::Text { field })
    }

    /// A value that may be absent.
    pub fn maybe<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        match self.u8(field)? {
            0 => Ok(None),
            1 => read(self).map(Some),
            value => Err(FieldError::Value { field, value: value.into() }),
        }
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The body must end here.
    pub fn end(&self) -> Result<(), FieldError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FieldError::Long { bytes: self.rest.len() }) }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FieldError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(FieldError::Short { field })?;
        self.rest = rest;
        Ok(*bytes)
    }
}

/// Appends a byte string behind its length.
pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("every byte string is far below 4 GiB"));
    out.put_slice(bytes);
}

/// Appends a text behind its length.
pub fn put_text(out: &mut BytesMut, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Appends a value that may be absent.
pub fn put_maybe<T>(out: &mut BytesMut, value: Option<T>, put: impl FnOnce(&mut BytesMut, T)) {
    match value {
        None => out.put_u8(0),
        Some(value) => {
            out.put_u8(1);
            put(out, value);
        }
    }
}
