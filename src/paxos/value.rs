//! What a slot holds: an opaque, immutable run of bytes with a 128-bit identity, laid out so that the journal can
//! write it where it stands.
//!
//! A value is made once, from the bytes a client or a peer sent, inside a block-aligned buffer:
//!
//! ```text
//! | RECORD_HEADER_BYTES | value bytes | zeros to the next block | one block |
//!   room `before`         `bytes`       room `after` ----------------------
//! ```
//!
//! The journal fills the rooms with the record's header and trailer, and the three pieces go to disk as one write. The
//! bytes in the middle are shared, uncopied, with the peers' links. A clone shares the bytes but not the rooms: only the
//! first owner can write without a copy.

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_128;

use crate::limits::{BLOCK_BYTES, RECORD_HEADER_BYTES};

/// One slot's content. The first byte says what kind it is ([`Kind`]).
#[derive(Debug)]
pub struct Value {
    bytes: Bytes,
    hash: u128,
    crc: u32,
    room: Option<Room>,
}

/// The writable surroundings of a value's bytes: `before` ends where they start, `after` starts where they end.
#[derive(Debug)]
pub struct Room {
    /// [`RECORD_HEADER_BYTES`] bytes, starting on a block boundary.
    pub before: BytesMut,
    /// Zeros up to the next block boundary, then one block.
    pub after: BytesMut,
}

/// A value being written.
#[derive(Debug)]
pub struct Draft {
    before: BytesMut,
    body: BytesMut,
    capacity: usize,
}

/// What a value is, told by its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Fills a hole, or proves progress; changes nothing.
    Noop,
    /// A batch of commands; only the namespace reads it.
    Commands,
    /// A member list; Paxos reads it ([`super::config::Config`]).
    Config,
}

impl Value {
    /// Takes `content`, whose first byte is the kind, by copying it into a buffer of its own.
    #[must_use]
    pub fn copy_of(content: &[u8]) -> Self {
        Self::summed_copy_of(content, crc32fast::hash(content))
    }

    /// The same, where the content's CRC-32 is known already.
    #[must_use]
    pub fn summed_copy_of(content: &[u8], crc: u32) -> Self {
        debug_assert_eq!(crc, crc32fast::hash(content), "the checksum is that of the content");
        let mut draft = Draft::with_capacity(content.len());
        draft.extend(content);
        draft.finish_summed(crc)
    }

    /// The empty entry.
    #[must_use]
    pub fn noop() -> Self {
        Self::copy_of(&[Kind::Noop.tag()])
    }

    /// The content, kind byte included.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// XXH3-128 of the content: the value's identity beside (slot, ballot).
    #[must_use]
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// CRC-32 of the content: frames and journal records carry it, and no one goes over the content again for it.
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// What the value is; `None` if the first byte names no kind.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.bytes.first().and_then(|tag| Kind::from_tag(*tag))
    }

    /// The content after the kind byte.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(1.min(self.bytes.len())..)
    }

    /// Takes the rooms around the bytes, if this is the first owner and they were not taken before.
    pub fn take_room(&mut self) -> Option<Room> {
        self.room.take()
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), hash: self.hash, crc: self.crc, room: None }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for Value {}

impl Draft {
    /// Starts a value of at most `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let padded = (RECORD_HEADER_BYTES + capacity).next_multiple_of(BLOCK_BYTES);
        let mut whole = BytesMut::with_capacity(padded + 2 * BLOCK_BYTES);
        let slack = whole.as_ptr().align_offset(BLOCK_BYTES);
        whole.put_bytes(0, slack + RECORD_HEADER_BYTES);
        let mut before = whole.split_to(slack + RECORD_HEADER_BYTES);
        let _ = before.split_to(slack);
        Self { before, body: whole, capacity }
    }

    /// Appends to the value.
    pub fn extend(&mut self, bytes: &[u8]) {
        assert!(
            self.body.len() + bytes.len() <= self.capacity,
            "a draft never grows past the capacity it was made with"
        );
        self.body.put_slice(bytes);
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The finished value.
    #[must_use]
    pub fn finish(self) -> Value {
        let crc = crc32fast::hash(&self.body);
        self.finish_summed(crc)
    }

    fn finish_summed(self, crc: u32) -> Value {
        let Self { before, mut body, .. } = self;
        let len = body.len();
        let padding = (RECORD_HEADER_BYTES + len).next_multiple_of(BLOCK_BYTES) - RECORD_HEADER_BYTES - len;
        body.put_bytes(0, padding + BLOCK_BYTES);
        let after = body.split_off(len);
        let bytes = body.freeze();
        let hash = xxh3_128(&bytes);
        Value { bytes, hash, crc, room: Some(Room { before, after }) }
    }
}

impl Kind {
    /// The byte that says it.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::Noop => 0,
            Self::Commands => 1,
            Self::Config => 2,
        }
    }

    fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            0 => Some(Self::Noop),
            1 => Some(Self::Commands),
            2 => Some(Self::Config),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_a_value_are_one_aligned_run_of_memory() {
        for len in [0, 1, 100, BLOCK_BYTES - RECORD_HEADER_BYTES, BLOCK_BYTES, 3 * BLOCK_BYTES + 17, 1 << 20] {
            let mut draft = Draft::with_capacity(len + 5);
            draft.extend(&vec![7; len]);
            let mut value = draft.finish();
            let room = value.take_room().expect("the first owner has the rooms");
            assert_eq!(room.before.as_ptr().align_offset(BLOCK_BYTES), 0, "the header starts a block");
            assert_eq!(room.before.as_ptr() as usize + RECORD_HEADER_BYTES, value.bytes().as_ptr() as usize);
            assert_eq!(value.bytes().as_ptr() as usize + len, room.after.as_ptr() as usize);
            assert_eq!((RECORD_HEADER_BYTES + len + room.after.len()) % BLOCK_BYTES, 0, "it ends on a block");
            assert!(room.after.len() >= BLOCK_BYTES, "the trailer has a block of its own");
        }
    }

    #[test]
    fn a_clone_has_no_rooms_and_equals_its_source() {
        let mut value = Value::copy_of(b"\x01abc");
        let mut twin = value.clone();
        assert_eq!(value, twin);
        assert!(twin.take_room().is_none());
        assert!(value.take_room().is_some());
        assert!(value.take_room().is_none());
    }
}
