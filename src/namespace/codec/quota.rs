//! Quotas, and what they bound.

use bytes::{BufMut, BytesMut};

use super::reader::{DecodeError, Reader, put_maybe};
use crate::namespace::command::{Quota, QuotaBounds, Usage};

impl Quota {
    pub(in crate::namespace) fn put(&self, out: &mut BytesMut) {
        for QuotaBounds { nodes, bytes } in [self.hard, self.soft] {
            put_maybe(out, nodes, |out, nodes| out.put_u64_le(nodes));
            put_maybe(out, bytes, |out, bytes| out.put_u64_le(bytes));
        }
    }

    pub(in crate::namespace) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut bound = || reader.maybe("a bound", |reader| reader.u64("a bound"));
        let hard = QuotaBounds { nodes: bound()?, bytes: bound()? };
        Ok(Self { hard, soft: QuotaBounds { nodes: bound()?, bytes: bound()? } })
    }
}

impl Usage {
    pub(super) fn put(self, out: &mut BytesMut) {
        out.put_u64_le(self.nodes);
        out.put_u64_le(self.bytes);
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { nodes: reader.u64("a count")?, bytes: reader.u64("a count")? })
    }
}
