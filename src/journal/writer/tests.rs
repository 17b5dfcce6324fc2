//! What is written when, and what is given up.

use super::*;
use crate::journal::record::{Block, RecordKind, Twin};
use crate::paxos::{CellId, Incarnation, ReplicaId};

const SEGMENT_BYTES: u64 = 8 * BLOCK_BYTES as u64;

fn journal(files: u64) -> Journal {
    let identity = Identity { cell: CellId(1), replica: ReplicaId(1), incarnation: Incarnation(1) };
    let tail = Tail {
        sequence: 0,
        chain: 0,
        previous: Name::NOTHING,
        synced_upto: 0,
        chosen_upto: Slot(0),
        jumped: false,
        start: 1,
        segment: SegmentId(1),
        offset: 0,
        files: (1..=files).map(|number| (SegmentId(number), SEGMENT_BYTES)).collect(),
        index: Index::default(),
    };
    Journal::open(identity, Settings { segment_bytes: SEGMENT_BYTES }, tail)
}

fn started(files: u64) -> Journal {
    let mut journal = journal(files);
    let write = journal.next_write().expect("the start's record");
    assert_eq!(journal.completed(Instant::ZERO, write.id), None, "it was not appended from outside");
    assert!(journal.started());
    journal
}

fn record(slot: u64) -> AcceptedRecord {
    let ballot = Ballot { round: slot, replica: ReplicaId(1) };
    let value = Value::copy_of(&[1, slot as u8]);
    AcceptedRecord { slot: Slot(slot), ballot, value, learned: false, chosen_upto: Slot(0) }
}

fn heads(write: &Write) -> Vec<Head> {
    let bytes = write.pieces.concat();
    let blocks = bytes.chunks(BLOCK_BYTES).map(Block::decode);
    blocks.filter_map(|block| if let Block::Head(Twin::Header, head) = block { Some(*head) } else { None }).collect()
}

#[test]
fn records_queued_together_are_one_write_of_uncopied_memory() {
    let mut journal = started(1);
    let value = record(1).value;
    let first = value.bytes().as_ptr();
    journal.append(AcceptedRecord { value, ..record(1) });
    journal.append(record(2));
    let write = journal.next_write().expect("both fit");
    assert_eq!(write.pieces[1].as_ptr(), first, "the value lies where it was made");
    for pieces in write.pieces.chunks(3) {
        assert_eq!(pieces[0].as_ptr().align_offset(BLOCK_BYTES), 0, "each record starts on a block");
        for pair in pieces.windows(2) {
            assert_eq!(pair[0].as_ptr_range().end, pair[1].as_ptr(), "its pieces are one run of memory");
        }
    }
    let found: Vec<_> = heads(&write).iter().map(|head| (head.sequence, head.name.slot.0, head.synced_upto)).collect();
    assert_eq!(found, [(2, 1, 1), (3, 2, 1)]);
    assert!(journal.next_write().is_none());
}

#[test]
fn only_the_contiguous_prefix_is_told_and_few_writes_are_out() {
    let mut journal = started(2);
    let mut writes = Vec::new();
    for slot in 1..=3 {
        journal.append(record(slot));
        writes.extend(journal.next_write());
    }
    assert_eq!(writes.len(), JOURNAL_WRITES_IN_FLIGHT, "the third record waits");
    assert_eq!(journal.completed(Instant::ZERO, writes[1].id), None, "the first is still under way");
    assert_eq!(journal.place_of(Slot(2)), None, "what is not told is not read either");
    assert_eq!(journal.completed(Instant::ZERO, writes[0].id), Some(2));
    assert_eq!(journal.place_of(Slot(2)).map(|place| place.slot), Some(Slot(2)));
    let third = journal.next_write().expect("there is room again");
    assert_eq!(journal.completed(Instant::ZERO, third.id), Some(3));
}

#[test]
fn without_a_ready_segment_records_wait_and_none_is_lost() {
    let mut journal = journal(0);
    assert_eq!(journal.segment_wanted(), Some(SegmentId(1)));
    (1..=7).for_each(|slot| assert_eq!(journal.append(record(slot)), slot));
    assert!(journal.next_write().is_none());
    journal.segment_ready(SegmentId(1));
    assert_eq!(journal.segment_wanted(), Some(SegmentId(2)), "a spare");
    let mut slots = Vec::new();
    for segment in 2..=4 {
        let write = journal.next_write().expect("a segment is ready");
        assert_eq!((write.segment.0, write.offset), (segment - 1, 0), "each begins with its header");
        slots.extend(heads(&write).iter().map(|head| head.name.slot.0));
        journal.completed(Instant::ZERO, write.id);
        assert!(journal.next_write().is_none());
        journal.segment_ready(SegmentId(segment));
    }
    assert_eq!(slots, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn quiet_is_sealed_once() {
    let mut journal = started(1);
    journal.append(record(1));
    let write = journal.next_write().expect("one record");
    assert_eq!(journal.next_deadline(), Instant::FOREVER, "a write is under way");
    let now = Instant::from_nanos(100);
    journal.completed(now, write.id);
    assert_eq!(journal.next_deadline(), now + SEAL_AFTER);
    journal.tick(now);
    assert!(journal.next_write().is_none(), "not yet quiet for long");
    journal.tick(now + SEAL_AFTER);
    let seal = journal.next_write().expect("a seal");
    let [head] = heads(&seal)[..] else { panic!("one record") };
    assert_eq!((head.kind, head.synced_upto, head.name), (RecordKind::Seal, 2, Name::NOTHING));
    assert_eq!(journal.completed(now, seal.id), None);
    assert_eq!(journal.next_deadline(), Instant::FOREVER, "nothing remains to be told");
}

#[test]
fn a_segment_is_given_up_only_when_image_promise_and_a_later_segment_cover_it() {
    let mut journal = started(4);
    (1..=6).for_each(|slot| assert_eq!(journal.append(record(slot)), slot));
    let high = Ballot { round: 100, replica: ReplicaId(1) };
    // Segment 1 holds the start's record and slots 1 and 2, segment 2 the slots 3 to 5.
    let one = journal.next_write().expect("the rest of segment 1");
    let two = journal.next_write().expect("segment 2");
    journal.completed(Instant::ZERO, one.id);
    assert_eq!(journal.trim(Slot(9), high, false), [], "nothing later is durable");
    journal.completed(Instant::ZERO, two.id);
    assert_eq!(journal.trim(Slot(1), high, false), [], "slot 2 is not in the image");
    assert_eq!(
        journal.trim(Slot(2), Ballot { round: 1, replica: ReplicaId(1) }, false),
        [],
        "the promise of slot 2's ballot"
    );
    assert_eq!(journal.trim(Slot(2), Ballot { round: 2, replica: ReplicaId(1) }, false), [SegmentId(1)]);
    assert_eq!(journal.place_of(Slot(1)), None);
    assert!(journal.place_of(Slot(3)).is_some());
    assert_eq!(journal.segments(), [SegmentId(2), SegmentId(3), SegmentId(4)]);
    assert_eq!(journal.used_bytes(), 3 * SEGMENT_BYTES);
}
