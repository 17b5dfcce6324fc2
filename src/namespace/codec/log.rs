//! Records of logs.

use bytes::BytesMut;

use super::reader::{DecodeError, Reader, put_bytes};
use crate::namespace::records::RecordsRef;

impl<'a> RecordsRef<'a> {
    pub(in crate::namespace) fn put(self, out: &mut BytesMut) {
        put_bytes(out, self.run());
    }

    pub(in crate::namespace) fn take(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let what = "records";
        Self::of_run(reader.bytes(what)?).ok_or(DecodeError::NotCanonical { what })
    }
}
