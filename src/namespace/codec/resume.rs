//! What a client shows to take a session up again, as frames and the log have it.

use bytes::{BufMut, BytesMut};

use super::reader::{DecodeError, Reader};
use crate::namespace::command::{Resume, SessionId};

impl Resume {
    /// Appends its bytes.
    pub fn put(self, out: &mut BytesMut) {
        out.put_u64_le(self.session.0);
        out.put_u128_le(self.secret);
        out.put_u64_le(self.holder);
        out.put_u8(u8::from(self.takes_over));
    }

    /// Reads what [`Self::put`] wrote.
    pub fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            session: SessionId(reader.u64("a session")?),
            secret: reader.u128("a session's secret")?,
            holder: reader.u64("a session's holder")?,
            takes_over: reader.bool("whether it takes the session over")?,
        })
    }
}
