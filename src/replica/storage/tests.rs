//! Segments on a disk that has no room for a file, or not even for a name.

use std::io;

use super::*;
use crate::journal::{Known, SegmentRead, Settings, recover};
use crate::paxos::{Ballot, CellId, Config, Incarnation, Value};

const SEGMENT_BYTES: u64 = 64 << 10;

/// Files of zeros.
struct Zeros(u64);

impl SegmentRead for Zeros {
    fn segments(&self) -> Vec<(SegmentId, u64)> {
        (1..=self.0).map(|number| (SegmentId(number), SEGMENT_BYTES)).collect()
    }

    fn read(&mut self, _: SegmentId, _: u64, into: &mut [u8]) -> io::Result<()> {
        into.fill(0);
        Ok(())
    }
}

/// A replica's storage with `files` empty segments, which may grow to `segments_max`.
fn storage(files: u64, segments_max: u64) -> Storage {
    let identity = Identity { cell: CellId(1), replica: ReplicaId(1), incarnation: Incarnation(1) };
    let config = Config::of_voters((1..=3).map(ReplicaId));
    let file = HardStateFile::format(identity, &HardState::fresh(config));
    let mut hard_state = HardStateFile::open(identity.cell, &file).expect("it was just made");
    let known = Known {
        identity,
        start: 0,
        hard_state: hard_state.durable_sequence(),
        image_upto: Slot(0),
        chosen_upto: Slot(0),
        image_is_led_to: false,
    };
    let recovery = recover(&mut Zeros(files), known, &mut |_, _| {}).expect("an empty journal");
    let mut journal = Journal::open(identity, Settings { segment_bytes: SEGMENT_BYTES }, recovery.tail);
    while !journal.started() {
        let write = journal.next_write().expect("there is room for the start's record");
        journal.completed(Instant::ZERO, write.id);
    }
    hard_state.save_start(journal.start(), Ballot { round: 9, replica: ReplicaId(1) });
    while let Some(write) = hard_state.next_write() {
        hard_state.completed(write.id);
    }
    let journal_bytes_max = segments_max * SEGMENT_BYTES;
    Storage::new(journal, hard_state, Bounds { image_after_bytes: 0, journal_bytes_max, keep_bytes: 0 })
}

/// Fills a segment and a little more, all of it durable, with the records from that one on.
fn fill(storage: &mut Storage, next: &mut u64) {
    for _ in 0..8 {
        let (slot, value) = (Slot(*next), Value::copy_of(&[1; 7000]));
        let ballot = Ballot { round: 1, replica: ReplicaId(1) };
        storage.append(*next, AcceptedRecord { slot, ballot, value, learned: false, chosen_upto: slot.previous() });
        *next += 1;
    }
    while let Some(write) = storage.journal.next_write() {
        storage.journal.completed(Instant::ZERO, write.id);
    }
}

/// What is asked for at that moment.
fn asked(storage: &mut Storage, now: Instant) -> Option<Effect> {
    let mut effects = Vec::new();
    storage.supply(now, &mut effects);
    assert!(effects.len() <= 1, "one file is made at a time: {effects:?}");
    effects.pop()
}

const LATER: Instant = Instant::from_nanos(ROOM_LOOKED_FOR_EVERY.as_nanos());

#[test]
fn a_file_whose_new_name_is_refused_is_used_once_there_is_room() {
    let mut storage = storage(3, 3);
    let mut next = 1;
    (0..2).for_each(|_| fill(&mut storage, &mut next));
    assert!(asked(&mut storage, Instant::ZERO).is_none(), "three files are there, and no more may be");
    storage.trim(Slot(6), &mut Vec::new()).expect("the first segment is needless");
    let recycled = |effect: Option<Effect>| match effect {
        Some(Effect::RecycleSegment { from, segment }) => (from.0, segment.0),
        other => panic!("a file was given up and is to be used: {other:?}"),
    };
    assert_eq!(recycled(asked(&mut storage, Instant::ZERO)), (1, 4));
    storage.no_room(Instant::ZERO);
    assert!(storage.is_disk_full() && storage.further_segments() == 0, "nothing is promised on a name that is refused");
    assert!(asked(&mut storage, Instant::ZERO).is_none(), "the disk is not asked without end");
    assert_eq!(storage.next_deadline(), LATER);
    assert_eq!(recycled(asked(&mut storage, LATER)), (1, 4), "the same file is tried again");
    storage.segment_ready(SegmentId(4));
    assert!(!storage.is_disk_full() && asked(&mut storage, LATER).is_none());
}

#[test]
fn a_file_given_up_meanwhile_serves_where_a_new_one_found_no_room() {
    let mut storage = storage(2, 8);
    let mut next = 1;
    fill(&mut storage, &mut next);
    assert!(matches!(asked(&mut storage, Instant::ZERO), Some(Effect::PrepareSegment { segment: SegmentId(3) })));
    storage.no_room(Instant::ZERO);
    assert!(asked(&mut storage, Instant::ZERO).is_none());
    storage.trim(Slot(6), &mut Vec::new()).expect("the first segment is needless");
    assert_eq!(storage.further_segments(), 1, "a file that was given up is room");
    let effect = asked(&mut storage, Instant::ZERO);
    let is_renamed = matches!(effect, Some(Effect::RecycleSegment { from: SegmentId(1), segment: SegmentId(3) }));
    assert!(is_renamed, "a name is asked for at once: {effect:?}");
}

#[test]
fn no_file_goes_before_an_older_one_that_may_come_back() {
    let mut storage = storage(9, 12);
    let mut next = 1;
    (0..8).for_each(|_| fill(&mut storage, &mut next));
    storage.trim(Slot(6), &mut Vec::new()).expect("the first segment is needless");
    assert!(matches!(asked(&mut storage, Instant::ZERO), Some(Effect::RecycleSegment { from: SegmentId(1), .. })));
    let mut effects = Vec::new();
    storage.trim(Slot(next - 9), &mut effects).expect("most are needless");
    assert!(effects.is_empty(), "the first may still be refused its name: {effects:?}");
    storage.no_room(Instant::ZERO);
    assert_eq!(storage.spare.first(), Some(&SegmentId(1)), "it is there as before");
}
