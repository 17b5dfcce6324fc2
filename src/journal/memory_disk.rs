//! A disk in memory for the journal's tests: what is durable, what is under way, and a story that fills it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::record::Name;
use super::{Identity, Journal, Known, Recovery, SegmentId, SegmentRead, Settings, Write, recover};
use crate::limits::BLOCK_BYTES;
use crate::paxos::{AcceptedRecord, Ballot, CellId, Incarnation, ReplicaId, Slot, Value};
use crate::time::Instant;

/// The smallest piece a device writes whole.
pub(super) const SECTOR_BYTES: usize = 512;

/// Small, so that a story of a few records fills several.
pub(super) const SEGMENT_BYTES: usize = 16 * BLOCK_BYTES;

pub(super) const IDENTITY: Identity =
    Identity { cell: CellId(77), replica: ReplicaId(2), incarnation: Incarnation(9 << 70) };

/// The files of one journal.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryDisk {
    pub(super) files: BTreeMap<SegmentId, Vec<u8>>,
    /// Blocks that return an error.
    pub(super) unreadable: BTreeSet<(SegmentId, u64)>,
}

/// A run of bytes that was handed to the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub(super) segment: SegmentId,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

/// A record that was appended once.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) name: Name,
    /// Its durability was told to Paxos.
    pub(super) acknowledged: bool,
    /// A recovery said that it was never accepted.
    pub(super) denied: bool,
    /// Where it lies, once it was handed to the disk.
    pub(super) extent: Option<Extent>,
}

/// A replica's life as its journal sees it, and what an oracle has to know about it.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) disk: MemoryDisk,
    pub(super) told: Vec<Told>,
    /// The value of each chosen slot, up to `chosen_upto`.
    pub(super) chosen: BTreeMap<Slot, Value>,
    pub(super) chosen_upto: Slot,
    /// Handed to the disk and not answered at the crash.
    pub(super) in_flight: Vec<Extent>,
    /// The newest start whose first record is durable.
    pub(super) start: u64,
    pub(super) dice: Dice,
    /// Every write that was completed, oldest first, and what it overwrote.
    pub(super) writes: Vec<(Extent, Extent)>,
    /// Everything up to there is in a durable image, and its segments may be given up.
    pub(super) image_upto: Slot,
    /// All records up to there were durable by then.
    image_is_led_to: bool,
    /// Files that were given up and wait to be used again.
    freed: Vec<Vec<u8>>,
    /// Whether it ever takes an image.
    pub(super) trims: bool,
    /// Segments that were begun in a file used before.
    pub(super) recycled: u64,
    /// Records appended ever, so that no two share a ballot.
    appended: u64,
    pub(super) values: BTreeMap<Name, Value>,
}

/// Repeatable choices.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

impl MemoryDisk {
    pub(super) fn with_segments(count: u64) -> Self {
        let files = (1..=count).map(|number| (SegmentId(number), vec![0; SEGMENT_BYTES])).collect();
        Self { files, unreadable: BTreeSet::new() }
    }

    pub(super) fn put(&mut self, extent: &Extent) {
        let file = self.files.get_mut(&extent.segment).expect("only prepared segments are written to");
        let end = extent.offset + extent.bytes.len();
        file[extent.offset..end].copy_from_slice(&extent.bytes);
        // A device puts a bad sector that is written elsewhere.
        self.unreadable
            .retain(|(segment, at)| *segment != extent.segment || !(extent.offset..end).contains(&(*at as usize)));
    }

    pub(super) fn sectors(&self) -> Vec<(SegmentId, usize)> {
        let of = |(segment, bytes): (&SegmentId, &Vec<u8>)| {
            let segment = *segment;
            (0..bytes.len() / SECTOR_BYTES).map(move |sector| (segment, sector * SECTOR_BYTES))
        };
        self.files.iter().flat_map(of).collect()
    }
}

impl SegmentRead for MemoryDisk {
    fn segments(&self) -> Vec<(SegmentId, u64)> {
        self.files.iter().map(|(segment, bytes)| (*segment, bytes.len() as u64)).collect()
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        assert_eq!(into.as_ptr().align_offset(BLOCK_BYTES), 0, "the memory starts on a block");
        let end = offset + into.len() as u64;
        if self.unreadable.range((segment, offset)..(segment, end)).next().is_some() {
            return Err(io::Error::other("a latent sector error"));
        }
        into.copy_from_slice(&self.files[&segment][offset as usize..end as usize]);
        Ok(())
    }
}

impl Extent {
    pub(super) fn of(write: &Write) -> Self {
        Self { segment: write.segment, offset: write.offset as usize, bytes: write.pieces.concat() }
    }

    pub(super) fn holds(&self, segment: SegmentId, offset: usize) -> bool {
        self.segment == segment && (self.offset..self.offset + self.bytes.len()).contains(&offset)
    }
}

impl Story {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            disk: MemoryDisk::with_segments(2),
            told: Vec::new(),
            chosen: BTreeMap::new(),
            chosen_upto: Slot(0),
            in_flight: Vec::new(),
            start: 0,
            dice: Dice(seed),
            writes: Vec::new(),
            image_upto: Slot(0),
            image_is_led_to: true,
            freed: Vec::new(),
            trims: false,
            recycled: 0,
            appended: 0,
            values: BTreeMap::new(),
        }
    }

    pub(super) fn known(&self) -> Known {
        Known {
            identity: IDENTITY,
            start: self.start,
            hard_state: 0,
            image_upto: self.image_upto,
            chosen_upto: self.image_upto,
            image_is_led_to: self.image_is_led_to,
        }
    }

    /// Reads the disk; the second part is what the visitor was given, by hash.
    pub(super) fn recover(&self) -> (Recovery, Vec<(Slot, u128)>) {
        let mut emitted = Vec::new();
        let mut visit = |slot, value: Value| emitted.push((slot, value.hash()));
        let recovery = recover(&mut self.disk.clone(), self.known(), &mut visit).expect("the journal can be used");
        (recovery, emitted)
    }

    /// Goes on from `recovery` with `turns` turns of appending, then crashes with up to two writes under way; what the
    /// crash makes of those is the caller's to say ([`Story::in_flight`]).
    pub(super) fn live(&mut self, recovery: Recovery, turns: u64) {
        let settings = Settings { segment_bytes: SEGMENT_BYTES as u64 };
        let known_upto = recovery.chosen_upto;
        let mut journal = Journal::open(IDENTITY, settings, recovery.tail);
        let mut life = Life { first: self.told.len(), appended: 0, placed: 0, now: 0, writing: Vec::new() };
        while !journal.started() {
            self.hand_out(&mut journal, &mut life);
            self.complete(&mut journal, &mut life, 0);
        }
        self.start = journal.start();
        // What is chosen and did not come out of the log is fetched from the peers.
        let missing: Vec<_> =
            self.chosen.range(known_upto.next()..).map(|(slot, value)| (*slot, value.clone())).collect();
        for (slot, value) in missing {
            self.append_one(&mut journal, &mut life, slot, value, true);
        }
        for _ in 0..turns {
            for _ in 0..self.dice.below(4) {
                self.append(&mut journal, &mut life);
            }
            self.hand_out(&mut journal, &mut life);
            while !life.writing.is_empty() && self.dice.below(3) > 0 {
                let at = self.dice.below(life.writing.len() as u64) as usize;
                self.complete(&mut journal, &mut life, at);
            }
            if self.trims && self.dice.below(3) == 0 {
                self.trim(&mut journal);
            }
            life.now += self.dice.below(7_000_000);
            journal.tick(Instant::from_nanos(life.now));
        }
        for _ in 0..2 {
            self.append(&mut journal, &mut life);
            self.hand_out(&mut journal, &mut life);
        }
        self.in_flight = life.writing.into_iter().map(|(_, extent)| extent).collect();
        // What never reached the disk was never accepted.
        self.told.retain(|told| told.extent.is_some());
    }

    /// The crash makes all of the in-flight writes durable.
    pub(super) fn keep_in_flight(&mut self) {
        for extent in std::mem::take(&mut self.in_flight) {
            self.disk.put(&extent);
        }
    }

    /// Appends a record as Paxos would: a new slot, an open one again, or a value learned from a peer.
    fn append(&mut self, journal: &mut Journal, life: &mut Life) {
        let next = self.chosen_upto.next();
        let acknowledged = self.held(next).filter(|told| told.acknowledged).map(|told| told.name);
        if let Some(name) = acknowledged
            && self.dice.below(3) > 0
        {
            let value = self.values[&name].clone();
            self.chosen.insert(next, value);
            self.chosen_upto = next;
        }
        let next = self.chosen_upto.next();
        let newest = self.told.iter().filter(|told| !told.denied).map(|told| told.name.slot).max().unwrap_or(Slot(0));
        let open = newest.0.saturating_sub(self.chosen_upto.0);
        let again = open > 0 && self.dice.below(4) == 0;
        let slot =
            if again { self.chosen_upto.plus(1 + self.dice.below(open)) } else { newest.max(self.chosen_upto).next() };
        let bytes = [1, 90, 3000, 3840, 3841, 9000][self.dice.below(6) as usize];
        let salt = self.appended as u8;
        let content: Vec<u8> = (0..bytes).map(|at| (at as u8).wrapping_mul(31) ^ salt).collect();
        let value = Value::copy_of(&content);
        let learned = slot == next && self.dice.below(4) == 0;
        self.append_one(journal, life, slot, value.clone(), learned);
        if learned {
            self.chosen.insert(slot, value);
            self.chosen_upto = slot;
        }
    }

    fn append_one(&mut self, journal: &mut Journal, life: &mut Life, slot: Slot, value: Value, learned: bool) {
        self.appended += 1;
        life.appended += 1;
        let ballot = Ballot { round: self.appended, replica: ReplicaId(1) };
        let name = Name { slot, ballot, hash: value.hash() };
        self.values.insert(name, value.clone());
        let chosen_upto = self.chosen_upto.min(slot.previous());
        let record = AcceptedRecord { slot, ballot, value, learned, chosen_upto };
        assert_eq!(journal.append(record), life.appended, "appends count from 1");
        self.told.push(Told { name, acknowledged: false, denied: false, extent: None });
    }

    /// Takes an image of what is chosen and gives up the segments below it.
    fn trim(&mut self, journal: &mut Journal) {
        self.image_upto = self.chosen_upto;
        self.image_is_led_to = self.told.iter().all(|told| told.acknowledged);
        let promised = Ballot { round: self.appended, replica: ReplicaId(1) };
        let stuck = self.dice.below(2) == 0;
        for segment in journal.trim(self.image_upto, promised, stuck) {
            let file = self.disk.files.remove(&segment).expect("only segments that exist are given up");
            self.freed.push(file);
            self.disk.unreadable.retain(|(bad, _)| *bad != segment);
            self.writes.retain(|(write, _)| write.segment != segment);
        }
    }

    /// The newest record of a slot.
    pub(super) fn held(&self, slot: Slot) -> Option<&Told> {
        self.told.iter().rev().find(|told| told.name.slot == slot && !told.denied)
    }

    fn hand_out(&mut self, journal: &mut Journal, life: &mut Life) {
        loop {
            if let Some(segment) = journal.segment_wanted() {
                if !self.disk.files.contains_key(&segment) {
                    self.recycled += u64::from(!self.freed.is_empty());
                    let file = self.freed.pop().unwrap_or_else(|| vec![0; SEGMENT_BYTES]);
                    self.disk.files.insert(segment, file);
                }
                journal.segment_ready(segment);
            }
            let Some(write) = journal.next_write() else { return };
            let extent = Extent::of(&write);
            assert!(extent.offset.is_multiple_of(BLOCK_BYTES) && extent.bytes.len().is_multiple_of(BLOCK_BYTES));
            self.place(life, &extent);
            life.writing.push((write.id, extent));
        }
    }

    /// Finds the records of a write again, to remember where each lies.
    fn place(&mut self, life: &mut Life, write: &Extent) {
        use super::record::{Block, Twin};
        let mut at = 0;
        while at < write.bytes.len() {
            let Block::Head(Twin::Header, head) = Block::decode(&write.bytes[at..]) else {
                assert!(write.offset == 0 && at == 0, "only a segment's first block is no record");
                at += BLOCK_BYTES;
                continue;
            };
            let span = head.span() as usize;
            if head.name.slot > Slot(0) {
                let bytes = write.bytes[at..at + span].to_vec();
                let told = &mut self.told[life.first + life.placed];
                assert_eq!(told.name, head.name, "records are written in the order they were appended in");
                told.extent = Some(Extent { segment: write.segment, offset: write.offset + at, bytes });
                life.placed += 1;
            }
            at += span;
        }
    }

    fn complete(&mut self, journal: &mut Journal, life: &mut Life, at: usize) {
        let (id, extent) = life.writing.remove(at);
        let end = extent.offset + extent.bytes.len();
        let before = self.disk.files[&extent.segment][extent.offset..end].to_vec();
        self.writes.push((extent.clone(), Extent { bytes: before, ..extent }));
        self.disk.put(&extent);
        if let Some(upto) = journal.completed(Instant::from_nanos(life.now), id) {
            let first = life.first;
            self.told[first..first + upto as usize].iter_mut().for_each(|told| told.acknowledged = true);
        }
    }
}

/// One start of the process.
struct Life {
    /// The index of its first record in what was told.
    first: usize,
    appended: u64,
    /// Records handed to the disk.
    placed: usize,
    now: u64,
    writing: Vec<(u64, Extent)>,
}
