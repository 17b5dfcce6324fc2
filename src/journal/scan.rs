//! Reads one segment forwards and finds the records in it, whatever else is there.

use std::collections::BTreeMap;
use std::io;

use super::finding::{Error, Finding};
use super::record::{Block, FORMAT_VERSION, Head, RecordKind, Twin};
use super::writer::IN_FLIGHT_BYTES_MAX;
use super::{Identity, SegmentId};
use crate::limits::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use crate::paxos::Value;

/// The files of a journal, to be read.
pub trait SegmentRead {
    /// Number and size in bytes of every segment's file.
    fn segments(&self) -> Vec<(SegmentId, u64)>;

    /// Fills `into` from `offset` of that file. Offset and length are whole blocks within the file; the memory starts on
    /// a block.
    ///
    /// # Errors
    ///
    /// Whatever the disk says; the blocks count as damaged.
    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// What lies at a place.
#[derive(Debug)]
pub(super) enum Seen {
    /// A record of which at least one head is whole.
    Record(Box<Found>),
    /// Nothing recognisable.
    Gap(Gap),
}

/// A record as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) head: Head,
    pub(super) header: bool,
    pub(super) trailer: bool,
    /// The value, if it is whole; the empty one for a record without.
    pub(super) value: Option<Value>,
}

/// A stretch of nothing recognisable.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Gap {
    pub(super) bytes: u64,
    /// Blocks the disk would not read, among the first of the stretch that a crash may have torn.
    pub(super) unreadable: u64,
}

/// A walk through one segment.
pub(super) struct Scanner<'a> {
    disk: &'a mut dyn SegmentRead,
    identity: Identity,
    segment: SegmentId,
    end: u64,
    at: u64,
    /// The damaged record that `at` is in.
    inside: Option<Head>,
    window: &'a mut Window,
    findings: &'a mut Vec<Finding>,
}

/// A stretch of a segment in memory that starts on a block.
#[derive(Debug, Default)]
pub(super) struct Window {
    memory: Vec<u8>,
    segment: SegmentId,
    offset: u64,
    bytes: usize,
    unreadable: Vec<u64>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(
        disk: &'a mut dyn SegmentRead,
        identity: Identity,
        (segment, bytes): (SegmentId, u64),
        window: &'a mut Window,
        findings: &'a mut Vec<Finding>,
    ) -> Self {
        let end = bytes - bytes % BLOCK_BYTES as u64;
        Self { disk, identity, segment, end, at: BLOCK_BYTES as u64, inside: None, window, findings }
    }

    /// The next record whose head `counts`, or the stretch before it. `None` at the end.
    ///
    /// A damaged record is searched too: its head may be what an earlier start left, and newer records lie where its value
    /// was.
    pub(super) fn next(&mut self, counts: &dyn Fn(&Head) -> bool) -> Result<Option<Seen>, Error> {
        let from = self.inside.map_or(self.at, |damaged| damaged.offset);
        let known_upto = self.inside.map_or(self.at, |damaged| damaged.offset + damaged.span());
        let mut gap = Gap::default();
        let mut block = self.at;
        while block < self.end {
            match self.head_at(block)? {
                Some((twin, head))
                    if self.fits(twin, &head, block, from) && self.inside != Some(head) && counts(&head) =>
                {
                    if head.offset > known_upto {
                        (self.at, self.inside) = (head.offset, None);
                        gap.bytes = head.offset - known_upto;
                        return Ok(Some(Seen::Gap(gap)));
                    }
                    let found = self.found(twin, head)?;
                    let damaged = found.value.is_none();
                    self.at = if damaged { block + BLOCK_BYTES as u64 } else { head.offset + head.span() };
                    self.inside = damaged.then_some(head);
                    return Ok(Some(Seen::Record(Box::new(found))));
                }
                _ if block >= known_upto => {
                    let in_reach = block - known_upto < IN_FLIGHT_BYTES_MAX;
                    gap.unreadable += u64::from(in_reach && self.window.is_unreadable(block));
                }
                _ => {}
            }
            block += BLOCK_BYTES as u64;
        }
        (self.at, self.inside) = (self.end, None);
        gap.bytes = self.end.saturating_sub(known_upto);
        Ok((gap.bytes > 0).then_some(Seen::Gap(gap)))
    }

    /// The first head in the segment that belongs there, whole record or not, looked for in its first `bytes`.
    pub(super) fn first_head(&mut self, bytes: u64) -> Result<Option<Head>, Error> {
        let mut block = BLOCK_BYTES as u64;
        while block < self.end.min(bytes) {
            match self.head_at(block)? {
                Some((twin, head)) if self.fits(twin, &head, block, 0) => return Ok(Some(head)),
                _ => block += BLOCK_BYTES as u64,
            }
        }
        Ok(None)
    }

    /// Every start that left a head in the segment, and that start's first record.
    pub(super) fn starts(&mut self) -> Result<BTreeMap<u64, u64>, Error> {
        let mut starts = BTreeMap::new();
        let mut block = BLOCK_BYTES as u64;
        while block < self.end {
            if let Some((twin, head)) = self.head_at(block)?
                && self.fits(twin, &head, block, 0)
            {
                starts.insert(head.start.number, head.start.first);
            }
            block += BLOCK_BYTES as u64;
        }
        Ok(starts)
    }

    /// The segment's first block.
    pub(super) fn first_block(&mut self) -> &[u8] {
        if self.end == 0 {
            return &[];
        }
        self.window.fill(self.disk, self.segment, self.end, 0, BLOCK_BYTES, self.findings)
    }

    /// A whole head of this journal and this segment's own generation.
    fn head_at(&mut self, block: u64) -> Result<Option<(Twin, Head)>, Error> {
        let bytes = self.window.fill(self.disk, self.segment, self.end, block, BLOCK_BYTES, self.findings);
        match Block::decode(bytes) {
            Block::Head(twin, head) if head.identity == self.identity => {
                Ok((head.segment == self.segment || cfg!(bug = "07")).then_some((twin, *head)))
            }
            Block::Head(..) => {
                self.misdirected(block);
                Ok(None)
            }
            Block::Newer(found) => Err(Error::NewerFormat { segment: self.segment, found, newest: FORMAT_VERSION }),
            Block::Other => Ok(None),
        }
    }

    /// Whether a head found at `block` says that it belongs exactly there, and its record not before `from`.
    fn fits(&mut self, twin: Twin, head: &Head, block: u64, from: u64) -> bool {
        let Some(record_end) = head.offset.checked_add(head.span()) else { return false };
        let expected = match twin {
            Twin::Header => head.offset,
            Twin::Trailer => record_end - BLOCK_BYTES as u64,
        };
        if expected != block || head.offset < BLOCK_BYTES as u64 {
            self.misdirected(block);
            return false;
        }
        head.offset >= from && record_end <= self.end
    }

    fn misdirected(&mut self, offset: u64) {
        let finding = Finding::Misdirected { segment: self.segment, offset };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn found(&mut self, twin: Twin, head: Head) -> Result<Found, Error> {
        let trailer_at = head.offset + head.span() - BLOCK_BYTES as u64;
        let other = match twin {
            Twin::Header => trailer_at,
            Twin::Trailer => head.offset,
        };
        let value = if head.kind == RecordKind::Value {
            let span = head.span() as usize;
            let bytes = self.window.fill(self.disk, self.segment, self.end, head.offset, span, self.findings);
            let content = &bytes[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + head.value_bytes as usize];
            let value = head.names(content).then(|| Value::copy_of(content));
            value.filter(|value| value.hash() == head.name.hash)
        } else {
            Some(Value::copy_of(&[]))
        };
        let both = self.head_at(other)?.is_some_and(|(found, same)| found != twin && same == head);
        Ok(Found { head, header: both || twin == Twin::Header, trailer: both || twin == Twin::Trailer, value })
    }
}

impl Window {
    /// The `bytes` at `offset` of `segment`, whose readable part ends at `end`; blocks the disk refuses read as zeros.
    fn fill(
        &mut self,
        disk: &mut dyn SegmentRead,
        segment: SegmentId,
        end: u64,
        offset: u64,
        bytes: usize,
        findings: &mut Vec<Finding>,
    ) -> &[u8] {
        assert!(offset + bytes as u64 <= end, "only what the segment has is read");
        let held = self.segment == segment && self.bytes > 0 && offset >= self.offset;
        if !held || offset + bytes as u64 > self.offset + self.bytes as u64 {
            let ahead = WINDOW_BYTES.min(usize::try_from(end - offset).unwrap_or(usize::MAX)).max(bytes);
            self.load(disk, segment, offset, ahead, findings);
        }
        let from = self.lead() + (offset - self.offset) as usize;
        &self.memory[from..from + bytes]
    }

    fn load(
        &mut self,
        disk: &mut dyn SegmentRead,
        segment: SegmentId,
        offset: u64,
        bytes: usize,
        findings: &mut Vec<Finding>,
    ) {
        if self.memory.len() < bytes + BLOCK_BYTES {
            self.memory = vec![0; bytes + BLOCK_BYTES];
        }
        (self.segment, self.offset, self.bytes) = (segment, offset, bytes);
        self.unreadable.clear();
        let lead = self.lead();
        let memory = &mut self.memory[lead..lead + bytes];
        if disk.read(segment, offset, memory).is_ok() {
            return;
        }
        for (number, block) in memory.chunks_mut(BLOCK_BYTES).enumerate() {
            let at = offset + (number * BLOCK_BYTES) as u64;
            if disk.read(segment, at, block).is_err() {
                block.fill(0);
                self.unreadable.push(at);
                let finding = Finding::Unreadable { segment, offset: at };
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
    }

    fn is_unreadable(&self, block: u64) -> bool {
        self.unreadable.contains(&block)
    }

    /// Bytes to skip so that the memory starts on a block.
    fn lead(&self) -> usize {
        self.memory.as_ptr().align_offset(BLOCK_BYTES)
    }
}

/// Read at once, in bytes, unless one record is larger.
const WINDOW_BYTES: usize = 1 << 20;
