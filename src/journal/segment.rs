//! The first block of a segment: whose it is, and which.

use bytes::Bytes;

use super::hard_state::aligned_block;
use super::record::FORMAT_VERSION;
use super::{Identity, SegmentId};
use crate::paxos::{CellId, Incarnation, ReplicaId};

/// What a segment's first block tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentHead {
    /// A whole header.
    Known { identity: Identity, segment: SegmentId },
    /// A whole header in a format this program does not know.
    Newer(u16),
    /// Zeros: prepared, never written.
    Blank,
    /// Anything else.
    Damaged,
}

impl SegmentHead {
    /// The block that names `segment` of `identity`'s journal.
    #[must_use]
    pub fn encode(identity: Identity, segment: SegmentId) -> Bytes {
        let mut block = aligned_block();
        block[..8].copy_from_slice(MAGIC);
        block[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        block[10] = identity.replica.0;
        block[16..32].copy_from_slice(&identity.cell.0.to_le_bytes());
        block[32..48].copy_from_slice(&identity.incarnation.0.to_le_bytes());
        block[48..56].copy_from_slice(&segment.0.to_le_bytes());
        let crc = crc32fast::hash(&block[..CRC_AT]);
        block[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        block.freeze()
    }

    /// Reads the block. Never panics, whatever the bytes.
    #[must_use]
    pub fn decode(block: &[u8]) -> Self {
        let Some(head) = block.get(..CRC_AT + 4) else { return Self::Damaged };
        if head.iter().all(|byte| *byte == 0) {
            return Self::Blank;
        }
        if head[..8] != *MAGIC || crc32fast::hash(&head[..CRC_AT]).to_le_bytes() != head[CRC_AT..] {
            return Self::Damaged;
        }
        let version = u16::from_le_bytes([head[8], head[9]]);
        if version > FORMAT_VERSION {
            return Self::Newer(version);
        }
        let wide = |at: usize| u128::from_le_bytes(head[at..at + 16].try_into().expect("16 bytes"));
        let number = u64::from_le_bytes(head[48..56].try_into().expect("8 bytes"));
        let identity =
            Identity { cell: CellId(wide(16)), replica: ReplicaId(head[10]), incarnation: Incarnation(wide(32)) };
        Self::Known { identity, segment: SegmentId(number) }
    }
}

const MAGIC: &[u8; 8] = b"QuorSeg1";
const CRC_AT: usize = 60;
