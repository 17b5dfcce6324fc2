//! One replica's disk: what is durable, what is under way, and what a crash makes of the latter.
//!
//! Of what was under way a crash leaves some to be read that no flush has covered. Only the start after it may make that
//! durable, and it must, before it says anything: so what a start rests on is held against what a power cut would leave of
//! it ([`recovery`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use quorate::journal::SegmentId;
use quorate::limits::BLOCK_BYTES;
use quorate::paxos::Slot;
use quorate::replica::exchange::{DiskFile, Still};

use super::damage;
use super::plan::Plan;
use super::recovery;
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
    /// Images, whole and under their names.
    pub images: BTreeMap<Slot, Vec<u8>>,
    pub segment_bytes: usize,
    /// Images of which a bit was turned over.
    pub spoiled: BTreeSet<Slot>,
    /// Records of which a block was damaged, by where they begin.
    pub damaged: BTreeSet<(SegmentId, usize)>,
    /// Blocks that the device does not read until they are written again.
    pub unreadable: BTreeSet<(SegmentId, usize)>,
    /// What the next start reads in the place of something else.
    pub misread: Option<Misread>,
    /// Reads that brought what lies elsewhere, by what was to be read.
    pub misreads: BTreeSet<&'static str>,
    /// There is no room for a new file, nor for more in one that is new.
    pub full_until: Moment,
    /// Nothing completes before.
    pub stalled_until: Moment,
    /// The next write that would be durable fails instead.
    pub fails_next: bool,
    /// When a write to the journal last was durable.
    pub flushed_at: Moment,
    writes: BTreeMap<u64, Write>,
    /// What a process wrote that died before its flush: every start reads it, and until one has flushed it the next power
    /// cut may take it back. What was there before it, the oldest first.
    unflushed: Vec<Write>,
    /// Writes to the journal in the order they were begun, from the first that is not durable on; what they hold once
    /// they are.
    journal: VecDeque<(u64, Option<Vec<u8>>)>,
    chores_until: Moment,
    /// What the background does, in order; a crash does a part of it.
    chores: VecDeque<Chore>,
    /// The images being written; of one for which there was no room nothing is left.
    partial: BTreeMap<Slot, Option<Vec<u8>>>,
    /// How often each was done to its end.
    pub images_taken: u64,
    pub recycled: u64,
    /// How often there was no room.
    pub refused: u64,
    /// Places that were read back and found damaged.
    pub found_damaged: u64,
    /// Copies of the hard state that were found damaged, and written again.
    pub copies_repaired: u64,
}

/// A block that is sound, and is read as if another one lay there.
#[derive(Debug)]
pub struct Misread {
    pub segment: SegmentId,
    pub at: usize,
    pub brought: Vec<u8>,
}

/// Everything that is durable on a disk.
#[derive(Clone, Debug)]
pub struct Files {
    hard_state: Vec<u8>,
    segments: BTreeMap<SegmentId, Vec<u8>>,
    images: BTreeMap<Slot, Vec<u8>>,
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
            images: BTreeMap::new(),
            spoiled: BTreeSet::new(),
            segment_bytes,
            damaged: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            misread: None,
            misreads: BTreeSet::new(),
            full_until: 0,
            stalled_until: 0,
            fails_next: false,
            flushed_at: 0,
            writes: BTreeMap::new(),
            unflushed: Vec::new(),
            journal: VecDeque::new(),
            chores_until: 0,
            chores: VecDeque::new(),
            partial: BTreeMap::new(),
            images_taken: 0,
            recycled: 0,
            refused: 0,
            found_damaged: 0,
            copies_repaired: 0,
        }
    }

    /// What is there now.
    pub fn files(&self) -> Files {
        let Self { hard_state, segments, images, .. } = self;
        Files { hard_state: hard_state.clone(), segments: segments.clone(), images: images.clone() }
    }

    /// That is there again. Nothing is under way.
    pub fn put_back(&mut self, files: Files) {
        Files { hard_state: self.hard_state, segments: self.segments, images: self.images } = files;
        self.damaged.clear();
        self.spoiled.clear();
        self.unreadable.clear();
        self.unflushed.clear();
        self.misread = None;
    }

    /// A write begins; it is durable when its event comes.
    pub fn write(&mut self, world: &mut World, conduct: &Conduct, of: (usize, u64), token: u64, write: NewWrite) {
        let NewWrite { file, offset, pieces } = write;
        assert_direct(&pieces);
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
        let slowness = if world.chance("slow-write", conduct.slow) { 100 } else { 1 };
        let delay = world.random.around(conduct.latency) * slowness;
        let at = (world.now + delay).max(self.stalled_until);
        world.at(at, Event::Written { node: of.0, life: of.1, token });
    }

    /// A write is durable. What that adds to the journal's prefix without a hole: a record behind one may never be said,
    /// as no restart would find it.
    pub fn written(&mut self, token: u64) -> Vec<Vec<u8>> {
        let Write { file, offset, bytes } = self.writes.remove(&token).expect("only what was begun ends");
        self.put(file, offset, &bytes);
        self.unflushed.clear();
        if let Some((_, held)) = self.journal.iter_mut().find(|(of, _)| *of == token) {
            *held = Some(bytes);
        }
        let mut added = Vec::new();
        while let Some((_, Some(_))) = self.journal.front() {
            added.extend(self.journal.pop_front().and_then(|(_, held)| held));
        }
        added
    }

    /// A chore is begun: it is done when its event comes, after those before it.
    pub fn chore(&mut self, world: &mut World, of: (usize, u64), chore: Chore) {
        let delay = world.random.around(MILLI);
        let at = (world.now + delay).max(self.stalled_until).max(self.chores_until);
        self.chores_until = at;
        self.chores.push_back(chore);
        world.at(at, Event::Chore { node: of.0, life: of.1 });
    }

    /// The oldest chore is done, or came to nothing for want of room.
    pub fn chore_done(&mut self, now: Moment) -> (Chore, bool) {
        let chore = self.chores.pop_front().expect("only what was begun ends");
        let done = self.finish(&chore, now < self.full_until);
        self.refused += u64::from(!done);
        (chore, done)
    }

    /// Returns whether there was room for it.
    fn finish(&mut self, chore: &Chore, full: bool) -> bool {
        match chore {
            Chore::Zero { .. } if full => return false,
            Chore::Zero { segment } => self.zeroed(*segment),
            // Some names find a place in the folder as it is, others need a block more.
            Chore::Recycle { segment, .. } if full && segment.0 % 2 == 0 => return false,
            Chore::Recycle { from, segment } => {
                let file = self.segments.remove(from).expect("only a segment that is there is renamed");
                let moved = self.unreadable.iter().filter(|(id, _)| id == from).map(|(_, at)| (*segment, *at));
                let moved: Vec<_> = moved.collect();
                self.heal(*from);
                self.unreadable.extend(moved);
                self.recycled += 1;
                assert!(self.segments.insert(*segment, file).is_none(), "no segment is overwritten by another");
            }
            Chore::Remove { segment } => {
                self.heal(*segment);
                self.segments.remove(segment).expect("a segment is removed once");
            }
            Chore::Begin { slot } => {
                assert!(self.partial.insert(*slot, Some(Vec::new())).is_none(), "an image is written once at a time");
            }
            Chore::Piece { slot, bytes } => match self.partial(*slot, full) {
                Some(image) => image.extend_from_slice(bytes),
                None => return false,
            },
            Chore::Discard { slot } => _ = self.partial.remove(slot).expect("only what was begun is dropped"),
            Chore::Finish { slot } => {
                let Some(image) = self.partial(*slot, full).map(std::mem::take) else { return false };
                self.images_taken += 1;
                self.partial.remove(slot);
                self.spoiled.remove(slot);
                self.images.insert(*slot, image);
            }
            Chore::RemoveImage { slot } => _ = self.images.remove(slot).expect("an image is removed once"),
        }
        true
    }

    /// What lies there, up to the file's end; nothing if there is no such file any more.
    pub fn read_back(&self, file: Still, offset: u64, bytes: usize) -> Option<Bytes> {
        let offset = offset as usize;
        let file = match file {
            Still::Segment(segment) if !self.reads(segment, offset, bytes) => return None,
            Still::Segment(segment) => self.segments.get(&segment)?,
            Still::Image(slot) => self.images.get(&slot)?,
            Still::HardState => &self.hard_state,
        };
        let rest = file.get(offset..).unwrap_or_default();
        Some(Bytes::copy_from_slice(&rest[..bytes.min(rest.len())]))
    }

    /// Whether the device reads all of that.
    pub fn reads(&self, segment: SegmentId, offset: usize, bytes: usize) -> bool {
        let first = offset / BLOCK_BYTES * BLOCK_BYTES;
        self.unreadable.range((segment, first)..(segment, offset + bytes)).next().is_none()
    }

    /// A piece of an image to be lent, as it lies there, or now and then with something that lies elsewhere in it.
    pub fn read_image(&mut self, world: &mut World, plan: &Plan, image: Slot, offset: u64, bytes: usize) -> Bytes {
        let rest = self.images[&image].get(offset as usize..).unwrap_or_default();
        let mut read = rest[..bytes.min(rest.len())].to_vec();
        if plan.misreads > 0 && world.chance("misread", plan.misreads) {
            self.read_astray(&mut world.random, "misread: image", offset as usize, &mut read);
        }
        read.into()
    }

    /// The device read another place: of what it brought from `offset` on one block is not what lies there.
    pub fn read_astray(&mut self, random: &mut Random, what: &'static str, offset: usize, read: &mut [u8]) {
        let (first, end) = (offset / BLOCK_BYTES, (offset + read.len()).div_ceil(BLOCK_BYTES));
        if read.is_empty() {
            return;
        }
        let brought = damage::foreign(self, random);
        let block = random.within(first as u64, end as u64 - 1) as usize * BLOCK_BYTES;
        let (from, upto) = (block.max(offset), (block + BLOCK_BYTES).min(offset + read.len()));
        let (into, brought) = (&mut read[from - offset..upto - offset], &brought[from - block..upto - block]);
        if into != brought {
            self.misreads.insert(what);
        }
        into.copy_from_slice(brought);
    }

    pub fn zeroed(&mut self, segment: SegmentId) {
        self.heal(segment);
        self.segments.insert(segment, vec![0; self.segment_bytes]);
    }

    /// A write of a process that does nothing else yet: whole, or torn by a crash.
    pub fn write_at_start(&mut self, file: DiskFile, offset: usize, bytes: &[u8], torn: Option<&mut Random>) {
        match torn {
            None => {
                self.put(file, offset, bytes);
                // The device's cache is flushed whole. That the hard state is written anew is asked of a start all the same.
                let is_kept = |before: &Write| before.file == DiskFile::HardState && file != DiskFile::HardState;
                self.unflushed.retain(is_kept);
            }
            Some(random) => _ = self.tear(random, &Write { file, offset, bytes: bytes.to_vec() }),
        }
    }

    /// A flush of that file returned.
    pub fn flush(&mut self, file: DiskFile) {
        self.unflushed.retain(|before| before.file != file);
    }

    /// The files of which a power cut could take back something that is read.
    pub fn unflushed(&self) -> impl Iterator<Item = DiskFile> {
        self.unflushed.iter().map(|before| before.file)
    }

    /// What a power cut takes back at the most, and what brings it back when this is done again.
    pub fn take_unflushed_back(&mut self) {
        let mut unflushed = std::mem::take(&mut self.unflushed);
        unflushed.reverse();
        for Write { file, offset, bytes } in &mut unflushed {
            let place = &mut self.file(*file)[*offset..*offset + bytes.len()];
            place.swap_with_slice(bytes);
        }
        self.unflushed = unflushed;
    }

    /// Nobody waits for anything: what is on the disk is what a start finds.
    pub fn assert_at_rest(&self) {
        assert!(self.writes.is_empty(), "a replica that starts again has no write under way");
    }

    /// The process died. Of what was under way nothing is there, or all, or any of its sectors.
    pub fn crash(&mut self, world: &mut World, plan: &Plan, reached: Slot) {
        let tears = plan.tears;
        let random = &mut world.random;
        let writes = std::mem::take(&mut self.writes);
        let whole = if tears { 0 } else { random.below(writes.len() as u64 + 1) as usize };
        for (index, (_, write)) in writes.into_iter().enumerate() {
            if tears {
                let torn = self.tear(random, &write);
                world.chances.extend(torn.then_some("torn-write"));
            } else if index < whole {
                self.put_unflushed(write.file, write.offset, &write.bytes);
            }
        }
        self.journal.clear();
        for chore in std::mem::take(&mut self.chores) {
            if random.below(2) == 0 {
                break;
            }
            self.finish(&chore, false);
        }
        self.partial.clear();
        self.chores_until = 0;
        // The newest of two is damaged now and then: the start makes do with the other, and with the log from there on.
        let led_to = recovery::newest_is_led_to(self);
        // What a replica says its log reaches back to excuses it only where it may have been stuck without room.
        let excused = plan.may_be_stuck() && self.images.keys().next().is_some_and(|older| *older < reached);
        if self.images.len() == 2 && led_to && !excused && world.chance("damaged-image", plan.damaged_images) {
            let (slot, newest) = self.images.iter_mut().next_back().expect("there are two");
            self.spoiled.insert(*slot);
            let at = world.random.below(newest.len() as u64) as usize;
            newest[at] ^= 1 << world.random.below(8);
        }
        (self.stalled_until, self.fails_next) = (0, false);
    }

    /// Returns whether some of its sectors are there and some are not.
    fn tear(&mut self, random: &mut Random, Write { file, offset, bytes }: &Write) -> bool {
        let fate = random.below(4);
        let upto = random.below(bytes.len() as u64 / SECTOR_BYTES as u64 + 1) as usize;
        let mut written = 0;
        for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            let kept = match fate {
                0 => false,
                1 => true,
                2 => index < upto,
                _ => random.below(2) == 0,
            };
            if kept {
                let at = offset + index * SECTOR_BYTES;
                self.put_unflushed(*file, at, sector);
                written += sector.len();
            }
        }
        0 < written && written < bytes.len()
    }

    /// What is there of an image; from the moment on at which there is no room for it, nothing.
    fn partial(&mut self, slot: Slot, full: bool) -> Option<&mut Vec<u8>> {
        let image = self.partial.get_mut(&slot).expect("only what was begun goes on");
        if full {
            *image = None;
        }
        image.as_mut()
    }

    /// That is read now, and is not durable.
    pub fn put_unflushed(&mut self, file: DiskFile, offset: usize, bytes: &[u8]) {
        let before = self.file(file)[offset..offset + bytes.len()].to_vec();
        self.unflushed.push(Write { file, offset, bytes: before });
        self.put(file, offset, bytes);
    }

    /// That is there now, and can be read.
    fn put(&mut self, file: DiskFile, offset: usize, bytes: &[u8]) {
        self.file(file)[offset..offset + bytes.len()].copy_from_slice(bytes);
        if let DiskFile::Segment(segment) = file {
            let written = (segment, offset / BLOCK_BYTES * BLOCK_BYTES)..(segment, offset + bytes.len());
            self.unreadable.retain(|place| !written.contains(place));
            self.damaged.retain(|place| !written.contains(place));
            self.misread.take_if(|misread| written.contains(&(misread.segment, misread.at)));
        }
    }

    /// That file is another now.
    fn heal(&mut self, segment: SegmentId) {
        self.flush(DiskFile::Segment(segment));
        self.unreadable.retain(|(id, _)| *id != segment);
        self.damaged.retain(|(id, _)| *id != segment);
        self.misread.take_if(|misread| misread.segment == segment);
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

/// Neighbours in memory go down as one run, and a direct write takes whole blocks that start on a block.
fn assert_direct(pieces: &[Bytes]) {
    let mut end: Option<usize> = None;
    for piece in pieces {
        let start = piece.as_ptr() as usize;
        let joins = end == Some(start);
        let broken =
            !joins && (end.is_some_and(|end| !end.is_multiple_of(BLOCK_BYTES)) || !start.is_multiple_of(BLOCK_BYTES));
        assert!(!broken, "every run of memory that is written is whole blocks");
        end = Some(start + piece.len());
    }
    assert!(end.is_some_and(|end| end.is_multiple_of(BLOCK_BYTES)), "every run of memory ends with a block");
}

/// What a replica has done beside its writes.
#[derive(Debug)]
pub enum Chore {
    Zero { segment: SegmentId },
    Recycle { from: SegmentId, segment: SegmentId },
    Remove { segment: SegmentId },
    Begin { slot: Slot },
    Piece { slot: Slot, bytes: Bytes },
    Discard { slot: Slot },
    Finish { slot: Slot },
    RemoveImage { slot: Slot },
}

/// A write as the replica asks for it.
#[derive(Debug)]
pub struct NewWrite {
    pub file: DiskFile,
    pub offset: u64,
    pub pieces: Vec<Bytes>,
}

#[cfg(test)]
mod tests {
    use quorate::paxos::Config;

    use super::super::node::incarnation;
    use super::*;

    #[test]
    fn a_power_cut_takes_back_what_a_crash_left_until_that_is_flushed() {
        let plan = Plan { tears: true, ..Plan::draw(&mut Random::new(1)) };
        let (mut world, mut left) = (World::new(1), 0);
        let (segment, file) = (SegmentId(1), DiskFile::Segment(SegmentId(1)));
        for _ in 0..20 {
            let mut disk = recovery::format(&plan, 0, incarnation(0), Config::of_voters);
            let blank = disk.segments[&segment].clone();
            disk.writes.insert(1, Write { file, offset: BLOCK_BYTES, bytes: vec![7; 2 * BLOCK_BYTES] });
            disk.crash(&mut world, &plan, Slot(0));
            let read = disk.segments[&segment].clone();
            left += usize::from(read != blank);
            assert_eq!(disk.unflushed().count() > 0, read != blank);
            disk.take_unflushed_back();
            assert!(disk.segments[&segment] == blank, "nothing of it was durable");
            disk.take_unflushed_back();
            assert!(disk.segments[&segment] == read, "it is there again");
            disk.flush(file);
            disk.take_unflushed_back();
            assert!(disk.segments[&segment] == read, "it is durable");
        }
        assert!(left > 0, "some crashes leave something");
    }
}
