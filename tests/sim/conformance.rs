//! One suite for the simulated disk and the real one: what the replica may rely on, and no more than both keep.
//!
//! The simulated disk is what every other test here rests on. If it promised something that files and rings do not, no
//! seed would ever show a replica that relies on it; if it promised less, seeds would find faults that nobody can meet.
//!
//! That each case notices what it is there for is tried with disks that lie ([`super::lies`]).
//!
//! Deliberately absent: crashes. What a real device makes of one is the real-process tests' matter.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use quorate::journal::{self, Identity, Journal, Known, Recovery, SegmentId, SegmentRead, Settings, Write};
use quorate::limits::BLOCK_BYTES;
use quorate::paxos::{AcceptedRecord, Ballot, Incarnation, Slot, Value};
use quorate::replica::exchange::{DiskFile, Still};
use quorate::runtime::background::{Background, Job, Outcome};
use quorate::runtime::disk::{Access, open_direct};
use quorate::runtime::{Event as RingEvent, FileId, Options, Ring, clock};
use quorate::time::{Duration, Instant};
use tempfile::TempDir;

use super::disk::{Chore, Conduct, Disk, NewWrite};
use super::links::replica;
use super::node::CELL;
use super::world::{Event, MICRO, Moment, Random, World};

/// What a replica has of its disk.
pub trait Seam {
    /// Begins a write; any number may be under way, of different bytes.
    fn write(&mut self, token: u64, segment: SegmentId, offset: u64, pieces: Vec<Bytes>);
    /// Waits until a write is durable, and tells which.
    fn written(&mut self) -> u64;
    /// Has something done in the background, and waits for it.
    fn done(&mut self, chore: Chore);
    /// What lies there, as far as the file goes. Nothing if there is no such file.
    fn read(&mut self, file: Still, offset: u64, bytes: usize) -> Option<Bytes>;
}

pub struct Simulated {
    world: World,
    disk: Disk,
}

impl Simulated {
    pub fn new() -> Self {
        Self { world: World::new(7), disk: Disk::new(Vec::new(), SEGMENT_BYTES, 0) }
    }

    fn next(&mut self) -> Event {
        self.world.next(Moment::MAX).expect("something is under way")
    }
}

impl Seam for Simulated {
    fn write(&mut self, token: u64, segment: SegmentId, offset: u64, pieces: Vec<Bytes>) {
        let conduct = Conduct { latency: 100 * MICRO, slow: 100 };
        let write = NewWrite { file: DiskFile::Segment(segment), offset, pieces };
        self.disk.write(&mut self.world, &conduct, (0, 0), token, write);
    }

    fn written(&mut self) -> u64 {
        let Event::Written { token, .. } = self.next() else { panic!("only writes are under way") };
        self.disk.written(token);
        token
    }

    fn done(&mut self, chore: Chore) {
        self.disk.chore(&mut self.world, (0, 0), chore);
        let mut others = Vec::new();
        loop {
            match self.next() {
                Event::Chore { .. } => break,
                other => others.push(other),
            }
        }
        let now = self.world.now;
        others.into_iter().for_each(|other| self.world.at(now, other));
        assert!(self.disk.chore_done(now).1, "there is room");
    }

    fn read(&mut self, file: Still, offset: u64, bytes: usize) -> Option<Bytes> {
        self.disk.read_back(file, offset, bytes)
    }
}

pub struct Real {
    folder: TempDir,
    ring: Ring,
    background: Background,
    files: BTreeMap<SegmentId, FileId>,
    durable: VecDeque<u64>,
}

impl Real {
    pub fn new() -> Self {
        let ring = Ring::new(Options { connections: 8, files: 32, ..Options::default() }).expect("a ring");
        let background = Background::start(None, ring.waker()).expect("a thread");
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, ring, background, files: BTreeMap::new(), durable: VecDeque::new() }
    }

    fn path(&self, file: Still) -> PathBuf {
        match file {
            Still::Segment(SegmentId(number)) => self.folder.path().join(format!("segment-{number}")),
            Still::Image(Slot(slot)) => self.folder.path().join(format!("image-{slot}")),
            Still::HardState => unreachable!("one file more is no other case"),
        }
    }

    fn turn(&mut self) {
        let until = clock::now() + Duration::from_secs(60);
        let durable = &mut self.durable;
        let mut take = |_: &mut Ring, event: RingEvent<'_>| {
            if let RingEvent::Written { token, result } = event {
                result.expect("the disk writes");
                durable.push_back(token);
            }
        };
        self.ring.turn(Some(until), &mut take).expect("the ring turns");
        assert!(clock::now() < until, "nothing happened for too long");
    }

    fn job(&mut self, job: Job) -> io::Result<Outcome> {
        self.background.submit(0, job);
        loop {
            let ended = self.background.completions().next();
            match ended {
                Some(completion) => return completion.outcome,
                None => self.turn(),
            }
        }
    }

    fn open(&mut self, segment: SegmentId) {
        let (file, _) = open_direct(&self.path(Still::Segment(segment)), Access::ReadWrite).expect("direct writes");
        self.files.insert(segment, self.ring.register_file(file).expect("registered"));
    }

    fn forget(&mut self, segment: SegmentId) {
        self.ring.forget_file(self.files.remove(&segment).expect("it was open"));
    }
}

impl Seam for Real {
    fn write(&mut self, token: u64, segment: SegmentId, offset: u64, pieces: Vec<Bytes>) {
        self.ring.write_durable(self.files[&segment], offset, pieces, token);
    }

    fn written(&mut self) -> u64 {
        loop {
            match self.durable.pop_front() {
                Some(token) => return token,
                None => self.turn(),
            }
        }
    }

    fn done(&mut self, chore: Chore) {
        let segment_path = |real: &Self, segment: SegmentId| real.path(Still::Segment(segment));
        let (job, ready) = match chore {
            Chore::Zero { segment } => {
                let path = segment_path(self, segment);
                (Job::ZeroFile { path, bytes: SEGMENT_BYTES as u64 }, Some(segment))
            }
            Chore::Recycle { from, segment } => {
                self.forget(from);
                (Job::Rename { from: segment_path(self, from), to: segment_path(self, segment) }, Some(segment))
            }
            Chore::Remove { segment } => {
                self.forget(segment);
                (Job::Remove { path: segment_path(self, segment) }, None)
            }
            Chore::Begin { slot } => (Job::Begin { stream: slot.0, path: self.path(Still::Image(slot)) }, None),
            Chore::Piece { slot, bytes } => (Job::Chunk { stream: slot.0, bytes }, None),
            Chore::Discard { slot } => (Job::Discard { stream: slot.0 }, None),
            Chore::Finish { slot } => (Job::Finish { stream: slot.0 }, None),
            Chore::RemoveImage { slot } => (Job::Remove { path: self.path(Still::Image(slot)) }, None),
        };
        assert!(matches!(self.job(job).expect("there is room"), Outcome::Done), "it is done");
        if let Some(segment) = ready {
            self.open(segment);
        }
    }

    fn read(&mut self, file: Still, offset: u64, bytes: usize) -> Option<Bytes> {
        let path = self.path(file);
        match self.job(Job::ReadIdly { path, offset, bytes }) {
            Ok(Outcome::Read(read)) => Some(read),
            Ok(Outcome::Done) => panic!("a read brings bytes"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => panic!("what was written is read: {error}"),
        }
    }
}

/// The same bytes where a direct write may take them from.
pub fn aligned(bytes: Vec<u8>) -> Bytes {
    let mut memory = BytesMut::zeroed(bytes.len() + BLOCK_BYTES);
    let lead = memory.as_ptr().align_offset(BLOCK_BYTES);
    memory[lead..lead + bytes.len()].copy_from_slice(&bytes);
    memory.freeze().slice(lead..lead + bytes.len())
}

pub type Case = fn(&mut dyn Seam);

pub fn writes_under_way_together_are_each_durable_once_and_read_back(disk: &mut dyn Seam) {
    let segment = SegmentId(1);
    disk.done(Chore::Zero { segment });
    let pieces = |token: u64| {
        let blocks = 1 + token as usize % 2;
        let bytes = (0..blocks * BLOCK_BYTES).map(|at| (at as u64 * 7 + token) as u8).collect();
        let block = aligned(bytes);
        vec![block.slice(..300), block.slice(300..)]
    };
    let places: Vec<u64> = vec![4, 0, 6, 2, 7];
    for (token, block) in places.iter().enumerate() {
        // Of every block one write, in no order.
        let pieces = if *block == 7 { pieces(4) } else { pieces(token as u64) };
        disk.write(token as u64, segment, block * BLOCK_BYTES as u64, pieces);
    }
    let mut ended: Vec<u64> = places.iter().map(|_| disk.written()).collect();
    ended.sort_unstable();
    assert_eq!(ended, [0, 1, 2, 3, 4]);
    for (token, block) in places.iter().enumerate() {
        let wanted = pieces(if *block == 7 { 4 } else { token as u64 }).concat();
        let read = disk.read(Still::Segment(segment), block * BLOCK_BYTES as u64, wanted.len());
        assert!(read.is_some_and(|read| read == wanted), "block {block} holds what was written");
    }
}

pub fn a_new_segment_is_zeros_and_ends_where_it_ends(disk: &mut dyn Seam) {
    let (segment, file) = (SegmentId(3), Still::Segment(SegmentId(3)));
    assert_eq!(disk.read(file, 0, 1), None);
    disk.done(Chore::Zero { segment });
    assert!(disk.read(file, 0, SEGMENT_BYTES).is_some_and(|read| read == vec![0; SEGMENT_BYTES]));
    let last = disk.read(file, SEGMENT_BYTES as u64 - 10, BLOCK_BYTES).expect("it is there");
    assert_eq!(last.len(), 10, "a read ends with the file");
    assert!(disk.read(file, SEGMENT_BYTES as u64, 5).is_some_and(|read| read.is_empty()));
}

pub fn a_segment_used_again_has_one_name_and_its_old_bytes(disk: &mut dyn Seam) {
    let (old, new) = (SegmentId(1), SegmentId(9));
    disk.done(Chore::Zero { segment: old });
    let block = aligned(vec![5; BLOCK_BYTES]);
    disk.write(1, old, BLOCK_BYTES as u64, vec![block.clone()]);
    assert_eq!(disk.written(), 1);
    disk.done(Chore::Recycle { from: old, segment: new });
    assert_eq!(disk.read(Still::Segment(old), 0, 1), None);
    assert_eq!(disk.read(Still::Segment(new), BLOCK_BYTES as u64, BLOCK_BYTES), Some(block));
    disk.write(2, new, BLOCK_BYTES as u64, vec![aligned(vec![6; BLOCK_BYTES])]);
    assert_eq!(disk.written(), 2);
    assert_eq!(disk.read(Still::Segment(new), BLOCK_BYTES as u64, 1), Some(Bytes::from_static(&[6])));
    disk.done(Chore::Remove { segment: new });
    assert_eq!(disk.read(Still::Segment(new), 0, 1), None);
}

pub fn an_image_has_its_name_once_it_is_whole(disk: &mut dyn Seam) {
    let (slot, dropped) = (Slot(12), Slot(13));
    disk.done(Chore::Begin { slot });
    disk.done(Chore::Begin { slot: dropped });
    for part in [&b"one "[..], b"and two", b""] {
        disk.done(Chore::Piece { slot, bytes: Bytes::from_static(part) });
        disk.done(Chore::Piece { slot: dropped, bytes: Bytes::from_static(part) });
        assert_eq!(disk.read(Still::Image(slot), 0, 100), None);
    }
    disk.done(Chore::Finish { slot });
    disk.done(Chore::Discard { slot: dropped });
    assert_eq!(disk.read(Still::Image(slot), 0, 100), Some(Bytes::from_static(b"one and two")));
    assert_eq!(disk.read(Still::Image(slot), 4, 3), Some(Bytes::from_static(b"and")));
    assert_eq!(disk.read(Still::Image(dropped), 0, 100), None);
    disk.done(Chore::RemoveImage { slot });
    assert_eq!(disk.read(Still::Image(slot), 0, 100), None);
}

pub fn a_log_is_read_as_it_was_written(disk: &mut dyn Seam) {
    log_through(disk);
}

const CASES: [Case; 5] = [
    writes_under_way_together_are_each_durable_once_and_read_back,
    a_new_segment_is_zeros_and_ends_where_it_ends,
    a_segment_used_again_has_one_name_and_its_old_bytes,
    an_image_has_its_name_once_it_is_whole,
    a_log_is_read_as_it_was_written,
];

#[test]
fn the_simulated_disk_keeps_to_the_suite() {
    CASES.iter().for_each(|case| case(&mut Simulated::new()));
}

#[test]
fn the_real_disk_keeps_to_the_suite() {
    CASES.iter().for_each(|case| case(&mut Real::new()));
}

/// A log is written through either, segment after segment with several writes under way, and either tells the same of it.
#[test]
fn a_log_reads_the_same_from_either() {
    let (simulated, real) = (log_through(&mut Simulated::new()), log_through(&mut Real::new()));
    assert!(simulated.contains("SegmentId(4)"), "the log has several segments: {simulated}");
    assert_eq!(simulated, real);
}

fn log_through(disk: &mut dyn Seam) -> String {
    let mut segments: Vec<SegmentId> = Vec::new();
    let fresh = recovered(disk, &segments).0.tail;
    let mut journal = Journal::open(ME, Settings { segment_bytes: SEGMENT_BYTES as u64 }, fresh);
    let mut under_way: BTreeMap<u64, Write> = BTreeMap::new();
    let mut random = Random::new(3);
    for slot in 1..=SLOTS {
        let bytes = vec![slot as u8; random.below(2 * BLOCK_BYTES as u64) as usize];
        let ballot = Ballot { round: 1, replica: ME.replica };
        let (value, chosen_upto) = (Value::copy_of(&bytes), Slot(slot.saturating_sub(5)));
        journal.append(AcceptedRecord { slot: Slot(slot), ballot, value, learned: false, chosen_upto });
        loop {
            while let Some(segment) = journal.segment_wanted() {
                disk.done(Chore::Zero { segment });
                segments.push(segment);
                journal.segment_ready(segment);
            }
            while let Some(write) = journal.next_write() {
                let token = under_way.last_key_value().map_or(0, |(token, _)| token + 1);
                disk.write(token, write.segment, write.offset, write.pieces.clone());
                under_way.insert(token, write);
            }
            // Every other record waits for nothing, so that several writes are under way at once.
            if under_way.is_empty() || (slot % 2 > 0 && slot < SLOTS && under_way.len() < 2) {
                break;
            }
            let write = under_way.remove(&disk.written()).expect("a write ends once");
            journal.completed(Instant::ZERO, write.id);
        }
    }
    let (recovery, chosen) = recovered(disk, &segments);
    assert_eq!(chosen.len() as u64 + recovery.accepted.len() as u64, SLOTS, "every record is found again");
    let Recovery { tail, accepted, findings, .. } = recovery;
    format!("{segments:?} {tail:?} {chosen:?} {accepted:?} {findings:?}")
}

fn recovered(disk: &mut dyn Seam, segments: &[SegmentId]) -> (Recovery, Vec<(Slot, u128)>) {
    let known = Known {
        identity: ME,
        start: 0,
        hard_state: 0,
        image_upto: Slot(0),
        chosen_upto: Slot(0),
        image_is_led_to: true,
    };
    let mut chosen = Vec::new();
    let mut log = Log { disk, segments };
    let recovery = journal::recover(&mut log, known, &mut |slot, value: Value| chosen.push((slot, value.hash())));
    (recovery.expect("the log can be used"), chosen)
}

/// A log as a start reads it.
struct Log<'a> {
    disk: &'a mut dyn Seam,
    segments: &'a [SegmentId],
}

impl SegmentRead for Log<'_> {
    fn segments(&self) -> Vec<(SegmentId, u64)> {
        self.segments.iter().map(|segment| (*segment, SEGMENT_BYTES as u64)).collect()
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let read = self.disk.read(Still::Segment(segment), offset, into.len()).expect("it was prepared");
        into.copy_from_slice(&read);
        Ok(())
    }
}

const SEGMENT_BYTES: usize = 9 * BLOCK_BYTES;

const SLOTS: u64 = 24;

const ME: Identity = Identity { cell: CELL, replica: replica(0), incarnation: Incarnation(3) };
