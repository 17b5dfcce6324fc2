//! One record: its head in bytes, told twice, and the value between.

use bytes::{Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_128;

use super::{Identity, SegmentId};
use crate::limits::{BLOCK_BYTES, RECORD_HEADER_BYTES, VALUE_BYTES_MAX};
use crate::paxos::{Ballot, CellId, Incarnation, ReplicaId, Slot, Value};

/// The format this program writes, and the newest it reads.
pub const FORMAT_VERSION: u16 = 1;

/// The largest record on disk, in bytes.
pub const RECORD_BYTES_MAX: u64 = span_of(VALUE_BYTES_MAX);

/// Everything a record says beside its value's bytes. The header and the trailer both hold it, so that either alone
/// tells what the record was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Whose journal.
    pub identity: Identity,
    /// The segment it was written for; a recycled file keeps old records that name another.
    pub segment: SegmentId,
    /// Where in the segment the record begins, in bytes.
    pub offset: u64,
    /// The start of the process that wrote it.
    pub start: Start,
    /// Its number in the log of records, one more than the record before it.
    pub sequence: u64,
    /// When this was handed to the disk, every record up to that number was durable.
    pub synced_upto: u64,
    /// When this was handed to the disk, the hard state of that version was durable (0: not known).
    pub hard_state: u64,
    /// The prefix this replica held and knew chosen when it wrote.
    pub chosen_upto: Slot,
    /// What was accepted; the name of nothing in a record without a value.
    pub name: Name,
    /// Which records carry values.
    pub kind: RecordKind,
    /// The value was sent as chosen.
    pub learned: bool,
    /// Length of the value, in bytes.
    pub value_bytes: u32,
    /// CRC-32 of the value.
    pub body_crc: u32,
    /// Hash of the head before this one; 0 where that head was lost.
    pub chain: u128,
    /// What the record before this one accepted.
    pub previous: Name,
}

/// What was accepted where: the identity of one acceptance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Name {
    /// The slot; 0 names nothing.
    pub slot: Slot,
    /// The ballot.
    pub ballot: Ballot,
    /// The value's hash.
    pub hash: u128,
}

/// One start of the process, as each of its records tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// Rises from start to start; no two that left a trace share it.
    pub number: u64,
    /// The start's first record. Records of earlier starts from that number on were cut off.
    pub first: u64,
    /// How far earlier records claimed to be durable when the start began.
    pub synced_before: u64,
}

/// What a record is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordKind {
    /// An accepted or learned value.
    Value,
    /// No value: makes `synced_upto` and `chosen_upto` known on disk once the journal is idle.
    Seal,
    /// No value: the first record of a start; with it the cut behind it is durable.
    Start,
}

/// Which of a record's two heads a block holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Twin {
    /// In front of the value.
    Header,
    /// In the block after it.
    Trailer,
}

/// What a block holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Block {
    /// A whole head.
    Head(Twin, Box<Head>),
    /// A whole head in a format this program does not know.
    Newer(u16),
    /// Anything else.
    Other,
}

impl Head {
    /// Bytes of the whole record on disk.
    #[must_use]
    pub const fn span(&self) -> u64 {
        span_of(self.value_bytes as usize)
    }

    /// Hash of this head, for the next one's `chain`. Both copies hash alike.
    #[must_use]
    pub fn chain_hash(&self) -> u128 {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        self.encode(Twin::Header, &mut bytes);
        chain_hash_of(&bytes)
    }

    /// Whether `value` is what this head names.
    #[must_use]
    pub fn names(&self, value: &[u8]) -> bool {
        value.len() == self.value_bytes as usize && crc32fast::hash(value) == self.body_crc
    }

    /// Writes the head into the first [`RECORD_HEADER_BYTES`] of `into`, and returns its hash for the chain.
    pub fn encode(&self, twin: Twin, into: &mut [u8]) -> u128 {
        let mut out = Out { bytes: &mut into[..RECORD_HEADER_BYTES], at: 0 };
        out.put(magic(twin));
        out.put(&FORMAT_VERSION.to_le_bytes());
        out.put(&[self.kind.tag(), u8::from(self.learned), self.identity.replica.0, 0, 0, 0]);
        out.put(&self.identity.cell.0.to_le_bytes());
        out.put(&self.identity.incarnation.0.to_le_bytes());
        for number in [
            self.segment.0,
            self.offset,
            self.start.number,
            self.start.first,
            self.start.synced_before,
            self.sequence,
            self.synced_upto,
            self.hard_state,
            self.chosen_upto.0,
        ] {
            out.put(&number.to_le_bytes());
        }
        out.put(&self.value_bytes.to_le_bytes());
        out.put(&self.body_crc.to_le_bytes());
        out.put(&self.chain.to_le_bytes());
        out.put_name(&self.name);
        out.put_name(&self.previous);
        assert!(out.at <= CRC_AT, "a head leaves room for its checksum");
        out.bytes[out.at..CRC_AT].fill(0);
        let crc = crc32fast::hash(&out.bytes[..CRC_AT]);
        out.bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        chain_hash_of(out.bytes)
    }
}

impl Block {
    /// What the block starting with `bytes` holds. Never panics, whatever the bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let Some(bytes) = bytes.get(..RECORD_HEADER_BYTES) else { return Self::Other };
        let twin = match &bytes[..8] {
            m if m == magic(Twin::Header) => Twin::Header,
            m if m == magic(Twin::Trailer) => Twin::Trailer,
            _ => return Self::Other,
        };
        if crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes() != bytes[CRC_AT..] {
            return Self::Other;
        }
        let mut input = In { bytes, at: 8 };
        let version = u16::from_le_bytes(input.take());
        if version > FORMAT_VERSION {
            return Self::Newer(version);
        }
        decode_head(&mut input).map_or(Self::Other, |head| Self::Head(twin, Box::new(head)))
    }
}

fn decode_head(input: &mut In<'_>) -> Option<Head> {
    let [kind, learned, replica, ..] = input.take::<6>();
    let identity = Identity {
        cell: CellId(u128::from_le_bytes(input.take())),
        replica: ReplicaId(replica),
        incarnation: Incarnation(u128::from_le_bytes(input.take())),
    };
    let head = Head {
        identity,
        segment: SegmentId(input.number()),
        offset: input.number(),
        start: Start { number: input.number(), first: input.number(), synced_before: input.number() },
        sequence: input.number(),
        synced_upto: input.number(),
        hard_state: input.number(),
        chosen_upto: Slot(input.number()),
        value_bytes: u32::from_le_bytes(input.take()),
        body_crc: u32::from_le_bytes(input.take()),
        chain: u128::from_le_bytes(input.take()),
        name: input.name(),
        previous: input.name(),
        kind: RecordKind::from_tag(kind)?,
        learned: learned & 1 != 0,
    };
    let sound = head.value_bytes as usize <= VALUE_BYTES_MAX
        && (head.kind == RecordKind::Value) == (head.name.slot != Slot(0))
        && head.offset.is_multiple_of(BLOCK_BYTES as u64)
        && head.sequence >= head.start.first
        && head.start.first > head.start.synced_before
        && head.synced_upto < head.sequence
        && [head.sequence, head.name.slot.0, head.previous.slot.0, head.chosen_upto.0].iter().all(|n| *n <= NUMBER_MAX);
    sound.then_some(head)
}

impl Name {
    /// Names no acceptance.
    pub const NOTHING: Self = Self { slot: Slot(0), ballot: Ballot::NONE, hash: 0 };
}

impl RecordKind {
    const fn tag(self) -> u8 {
        match self {
            Self::Value => 1,
            Self::Seal => 2,
            Self::Start => 3,
        }
    }

    const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Value),
            2 => Some(Self::Seal),
            3 => Some(Self::Start),
            _ => None,
        }
    }
}

/// Bytes on disk of a record whose value has `value_bytes`.
#[must_use]
pub const fn span_of(value_bytes: usize) -> u64 {
    ((RECORD_HEADER_BYTES + value_bytes).next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES) as u64
}

/// The record's bytes as they lie in memory: header room, value, padding and trailer room.
#[derive(Debug)]
pub(super) struct Pieces {
    before: BytesMut,
    value: Bytes,
    after: BytesMut,
    hash: u128,
    crc: u32,
}

impl Pieces {
    /// Takes a value's memory; copies it only when its rooms are somebody else's.
    pub(super) fn of(mut value: Value) -> Self {
        let (value, room) = match value.take_room() {
            Some(room) => (value, room),
            None => {
                let mut copy = Value::copy_of(value.bytes());
                let room = copy.take_room().expect("a fresh copy has its rooms");
                (copy, room)
            }
        };
        let (hash, crc) = (value.hash(), value.crc());
        let pieces = Self { before: room.before, hash, crc, value: value.bytes().clone(), after: room.after };
        let whole = pieces.before.len() + pieces.value.len() + pieces.after.len();
        assert_eq!(pieces.before.len(), RECORD_HEADER_BYTES, "the room before a value holds the header");
        assert_eq!(whole as u64, span_of(pieces.value.len()), "the rooms end with the trailer's block");
        pieces
    }

    pub(super) fn value_bytes(&self) -> u32 {
        u32::try_from(self.value.len()).expect("a value is far below 4 GiB")
    }

    pub(super) fn hash(&self) -> u128 {
        self.hash
    }

    pub(super) fn crc(&self) -> u32 {
        self.crc
    }

    pub(super) fn span(&self) -> u64 {
        span_of(self.value.len())
    }

    /// Fills in both heads, gives the memory to a write, and returns the head's hash for the chain.
    pub(super) fn finish(mut self, head: &Head, pieces: &mut Vec<Bytes>) -> u128 {
        let chain = head.encode(Twin::Header, &mut self.before);
        let trailer = self.after.len() - BLOCK_BYTES;
        head.encode(Twin::Trailer, &mut self.after[trailer..]);
        pieces.push(self.before.freeze());
        if !self.value.is_empty() {
            pieces.push(self.value);
        }
        pieces.push(self.after.freeze());
        chain
    }
}

fn magic(twin: Twin) -> &'static [u8; 8] {
    match twin {
        Twin::Header => b"QuorRec{",
        Twin::Trailer => b"QuorRec}",
    }
}

/// The magic tells the copies apart and the checksum covers it: both stay out of the hash.
fn chain_hash_of(head: &[u8]) -> u128 {
    xxh3_128(&head[8..CRC_AT])
}

struct Out<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn put_name(&mut self, name: &Name) {
        self.put(&name.slot.0.to_le_bytes());
        self.put(&name.ballot.round.to_le_bytes());
        self.put(&name.hash.to_le_bytes());
        self.put(&[name.ballot.replica.0, 0, 0, 0]);
    }
}

struct In<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl In<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.bytes[self.at..self.at + N].try_into().expect("the length was just taken");
        self.at += N;
        taken
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn name(&mut self) -> Name {
        let (slot, round) = (Slot(self.number()), self.number());
        let hash = u128::from_le_bytes(self.take());
        let [replica, ..] = self.take::<4>();
        Name { slot, ballot: Ballot { round, replica: ReplicaId(replica) }, hash }
    }
}

/// No log counts that far; past it sums could overflow.
const NUMBER_MAX: u64 = 1 << 60;

const CRC_AT: usize = RECORD_HEADER_BYTES - 4;

/// A head that names this.
#[cfg(test)]
pub(super) fn sample(name: Name) -> Head {
    Head { name, ..tests::head() }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn head() -> Head {
        Head {
            identity: Identity { cell: CellId(7), replica: ReplicaId(2), incarnation: Incarnation(99) },
            segment: SegmentId(4),
            offset: 3 * BLOCK_BYTES as u64,
            start: Start { number: 3, first: 10, synced_before: 8 },
            sequence: 12,
            synced_upto: 10,
            hard_state: 5,
            chosen_upto: Slot(6),
            name: Name { slot: Slot(8), ballot: Ballot { round: 3, replica: ReplicaId(1) }, hash: 1 << 100 },
            kind: RecordKind::Value,
            learned: false,
            value_bytes: 77,
            body_crc: 0xdead_beef,
            chain: 3 << 90,
            previous: Name { slot: Slot(7), ballot: Ballot { round: 2, replica: ReplicaId(3) }, hash: 5 },
        }
    }

    #[test]
    fn a_head_reads_as_it_was_written_and_both_copies_hash_alike() {
        for twin in [Twin::Header, Twin::Trailer] {
            let mut bytes = [0xff; RECORD_HEADER_BYTES];
            assert_eq!(head().encode(twin, &mut bytes), head().chain_hash());
            assert_eq!(Block::decode(&bytes), Block::Head(twin, Box::new(head())));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_head_is_seen() {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        head().encode(Twin::Header, &mut bytes);
        for bit in 0..8 * RECORD_HEADER_BYTES {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Block::decode(&bytes), Block::Other, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        head().encode(Twin::Header, &mut bytes);
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Block::decode(&bytes), Block::Newer(2));
    }
}
