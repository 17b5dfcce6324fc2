//! The cell's reigns, and its key: what belongs to no node, and so lies with the root.

use std::hash::Hasher;

use bytes::{BufMut, BytesMut};
use siphasher::sip::SipHasher24;
use xxhash_rust::xxh3::xxh3_128;

use super::codec::{DecodeError, HandleRef, Reader};

/// The reign in which the log was last written, and the key of the cell's check digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reign {
    /// Greater than that of every reign before.
    pub number: u64,
    key: u128,
}

impl Reign {
    /// The first reign of a cell: its leader's draw is the key for ever.
    pub(super) const fn first(number: u64, key: u128) -> Self {
        Self { number, key }
    }

    /// The reign after this one.
    pub(super) fn next(self, number: u64) -> Self {
        assert!(number > self.number, "reigns rise");
        Self { number, ..self }
    }

    /// Check digits of all a handle says but the digits themselves: SipHash-2-4 under the cell's key. Who has not the key
    /// guesses one in 2^64, and each guess costs a request.
    pub(super) fn digits(&self, handle: HandleRef<'_>) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key.to_le_bytes());
        handle.checked(|piece| hasher.write(piece));
        hasher.finish()
    }

    pub(super) fn hash(&self) -> u128 {
        let mut raw = BytesMut::with_capacity(24);
        self.encode(&mut raw);
        xxh3_128(&raw)
    }

    /// Appends it as an image carries it.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.number);
        out.put_u128_le(self.key);
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { number: reader.u64("a reign")?, key: reader.u128("a key")? })
    }
}

impl std::fmt::Debug for Reign {
    /// The key is nobody's to read.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reign({})", self.number)
    }
}
