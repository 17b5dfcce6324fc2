//! Shows what a segment's bytes hold, whole or not, for people.

use super::SegmentId;
use super::record::{Block, Head, RecordKind, Twin};
use super::segment::SegmentHead;
use crate::limits::{BLOCK_BYTES, RECORD_HEADER_BYTES};

/// Walks through one segment's bytes.
#[derive(Debug)]
pub struct Inspection<'a> {
    bytes: &'a [u8],
    segment: Option<SegmentId>,
    at: usize,
}

/// What lies at one place of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inspected {
    /// The segment's first block.
    Segment(SegmentHead),
    /// A record with at least one whole head.
    Record { head: Box<Head>, header: bool, trailer: bool, validity: Validity },
    /// Nothing recognisable, in whole blocks.
    Nothing { offset: u64, bytes: u64, zeros: bool },
}

/// What a record is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// Its value is whole. (Whether it counts, only the whole log says.)
    Whole,
    /// Its value is damaged, or was never written whole.
    Damaged,
    /// It was left from before the file was recycled, or belongs elsewhere.
    Stale,
}

impl<'a> Inspection<'a> {
    /// Of one segment's file, from its beginning.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, segment: None, at: 0 }
    }

    fn record_at(&self, offset: usize) -> Option<(Inspected, usize)> {
        let (twin, head) = self.head_at(offset)?;
        let span = usize::try_from(head.span()).ok()?;
        let from = match twin {
            Twin::Header => offset,
            Twin::Trailer => (offset + BLOCK_BYTES).checked_sub(span)?,
        };
        let trailer_at = from + span - BLOCK_BYTES;
        let other = if twin == Twin::Header { trailer_at } else { from };
        let both = self.head_at(other).is_some_and(|(found, same)| found != twin && same == head);
        let content = self.bytes.get(from + RECORD_HEADER_BYTES..).and_then(|b| b.get(..head.value_bytes as usize));
        let whole = head.kind != RecordKind::Value || content.is_some_and(|content| head.names(content));
        let placed = head.offset == from as u64 && self.segment.is_none_or(|segment| segment == head.segment);
        let validity = match (placed, whole) {
            (false, _) => Validity::Stale,
            (true, true) => Validity::Whole,
            (true, false) => Validity::Damaged,
        };
        let (header, trailer) = (both || twin == Twin::Header, both || twin == Twin::Trailer);
        // A header alone may have been overwritten from its second block on.
        let end = if whole || trailer { from + span } else { offset + BLOCK_BYTES };
        Some((Inspected::Record { head, header, trailer, validity }, end))
    }

    fn head_at(&self, offset: usize) -> Option<(Twin, Box<Head>)> {
        match Block::decode(self.bytes.get(offset..)?) {
            Block::Head(twin, head) => Some((twin, head)),
            Block::Newer(_) | Block::Other => None,
        }
    }
}

impl Iterator for Inspection<'_> {
    type Item = Inspected;

    fn next(&mut self) -> Option<Inspected> {
        let from = self.at;
        if from == 0 && self.bytes.len() >= BLOCK_BYTES {
            self.at = BLOCK_BYTES;
            let head = SegmentHead::decode(self.bytes);
            if let SegmentHead::Known { segment, .. } = head {
                self.segment = Some(segment);
            }
            return Some(Inspected::Segment(head));
        }
        if let Some((record, end)) = self.record_at(from) {
            self.at = end.min(self.bytes.len());
            return Some(record);
        }
        let mut end = from;
        while end + BLOCK_BYTES <= self.bytes.len() && self.head_at(end).is_none() {
            end += BLOCK_BYTES;
        }
        self.at = end;
        let nothing = &self.bytes[from..end];
        let zeros = nothing.iter().all(|byte| *byte == 0);
        (end > from).then_some(Inspected::Nothing { offset: from as u64, bytes: nothing.len() as u64, zeros })
    }
}
