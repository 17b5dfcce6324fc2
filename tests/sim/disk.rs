//! One replica's disk: what is durable, what is under way, and what a crash makes of the latter.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate::journal::SegmentId;
use quorate::replica::exchange::DiskFile;

use super::world::{Event, MILLI, Moment, Random, World};

/// The smallest piece a device writes whole.
const SECTOR_BYTES: usize = 512;

/// How a disk behaves.
#[derive(Clone, Debug)]
pub struct Conduct {
    pub latency: Moment,
    /// Writes that take a hundred times as long, in a thousand.
    pub slow: u64,
}

/// The files of one replica.
#[derive(Debug)]
pub struct Disk {
    pub hard_state: Vec<u8>,
    pub segments: BTreeMap<SegmentId, Vec<u8>>,
    pub segment_bytes: usize,
    /// Nothing completes before.
    pub stalled_until: Moment,
    writes: BTreeMap<u64, Write>,
    /// Writes to the journal in the order they were begun, from the first that is not durable on; what they hold once
    /// they are.
    journal: VecDeque<(u64, Option<Vec<u8>>)>,
    zeroing: Option<SegmentId>,
}

#[derive(Debug)]
struct Write {
    file: DiskFile,
    offset: usize,
    bytes: Vec<u8>,
}

impl Disk {
    pub fn new(hard_state: Vec<u8>, segment_bytes: usize, segments: u64) -> Self {
        let segments = (1..=segments).map(|number| (SegmentId(number), vec![0; segment_bytes])).collect();
        Self {
            hard_state,
            segments,
            segment_bytes,
            stalled_until: 0,
            writes: BTreeMap::new(),
            journal: VecDeque::new(),
            zeroing: None,
        }
    }

    /// A write begins; it is durable when its event comes.
    pub fn write(&mut self, world: &mut World, conduct: &Conduct, of: (usize, u64), token: u64, write: NewWrite) {
        let NewWrite { file, offset, pieces } = write;
        let bytes = pieces.concat();
        let offset = usize::try_from(offset).expect("files are small");
        assert!(offset.is_multiple_of(4096) && bytes.len().is_multiple_of(4096), "every write is aligned");
        let end = offset + bytes.len();
        assert!(end <= self.file(file).len(), "no write goes past its file's end");
        let overlaps = |w: &Write| w.file == file && offset < w.offset + w.bytes.len() && w.offset < end;
        assert!(!self.writes.values().any(overlaps), "two writes in flight never touch the same bytes");
        assert!(self.writes.insert(token, Write { file, offset, bytes }).is_none(), "tokens are not used twice");
        if matches!(file, DiskFile::Segment(_)) {
            self.journal.push_back((token, None));
        }
        let slowness = if world.random.permille(conduct.slow) { 100 } else { 1 };
        let delay = world.random.around(conduct.latency) * slowness;
        let at = (world.now + delay).max(self.stalled_until);
        world.at(at, Event::Written { node: of.0, life: of.1, token });
    }

    /// A write is durable. What that adds to the journal's prefix without a hole: a record behind one may never be said,
    /// as no restart would find it.
    pub fn written(&mut self, token: u64) -> Vec<Vec<u8>> {
        let Write { file, offset, bytes } = self.writes.remove(&token).expect("only what was begun ends");
        self.file(file)[offset..offset + bytes.len()].copy_from_slice(&bytes);
        if let Some((_, held)) = self.journal.iter_mut().find(|(of, _)| *of == token) {
            *held = Some(bytes);
        }
        let mut added = Vec::new();
        while let Some((_, Some(_))) = self.journal.front() {
            added.extend(self.journal.pop_front().and_then(|(_, held)| held));
        }
        added
    }

    /// A segment is being zeroed.
    pub fn zero(&mut self, world: &mut World, of: (usize, u64), segment: SegmentId) {
        self.zeroing = Some(segment);
        let delay = world.random.around(2 * MILLI);
        let at = (world.now + delay).max(self.stalled_until);
        world.at(at, Event::Zeroed { node: of.0, life: of.1, segment });
    }

    pub fn zeroed(&mut self, segment: SegmentId) {
        self.zeroing = None;
        self.segments.insert(segment, vec![0; self.segment_bytes]);
    }

    /// A write of a process that does nothing else yet: whole, or torn by a crash.
    pub fn write_at_start(&mut self, file: DiskFile, offset: usize, bytes: &[u8], torn: Option<&mut Random>) {
        match torn {
            None => self.file(file)[offset..offset + bytes.len()].copy_from_slice(bytes),
            Some(random) => self.tear(random, &Write { file, offset, bytes: bytes.to_vec() }),
        }
    }

    /// The process died. Of what was under way nothing is there, or all, or any of its sectors.
    pub fn crash(&mut self, random: &mut Random) {
        for (_, write) in std::mem::take(&mut self.writes) {
            self.tear(random, &write);
        }
        self.journal.clear();
        if let Some(segment) = self.zeroing.take().filter(|_| random.below(2) == 0) {
            self.zeroed(segment);
        }
        self.stalled_until = 0;
    }

    fn tear(&mut self, random: &mut Random, Write { file, offset, bytes }: &Write) {
        let fate = random.below(4);
        let upto = random.below(bytes.len() as u64 / SECTOR_BYTES as u64 + 1) as usize;
        for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            let kept = match fate {
                0 => false,
                1 => true,
                2 => index < upto,
                _ => random.below(2) == 0,
            };
            if kept {
                let at = offset + index * SECTOR_BYTES;
                self.file(*file)[at..at + sector.len()].copy_from_slice(sector);
            }
        }
    }

    fn file(&mut self, file: DiskFile) -> &mut Vec<u8> {
        match file {
            DiskFile::HardState => &mut self.hard_state,
            DiskFile::Segment(segment) => {
                self.segments.get_mut(&segment).expect("only prepared segments are written to")
            }
        }
    }
}

/// A write as the replica asks for it.
#[derive(Debug)]
pub struct NewWrite {
    pub file: DiskFile,
    pub offset: u64,
    pub pieces: Vec<Bytes>,
}
