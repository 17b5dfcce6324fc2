//! Where things lie: which segments hold what, and where each slot's newest record is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::record::{Block, Head};
use super::{Identity, SegmentId};
use crate::limits::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use crate::paxos::{Ballot, Slot, Value};

/// Where one durable record lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Whose value it holds.
    pub slot: Slot,
    /// The segment's file.
    pub segment: SegmentId,
    /// Where the record begins, in bytes.
    pub offset: u64,
    /// How much to read from there: the whole record, in whole blocks.
    pub bytes: u32,
}

/// The segments that still count, oldest first, and the records in them.
#[derive(Debug, Default)]
pub(super) struct Index {
    segments: VecDeque<Filled>,
    places: BTreeMap<Slot, Place>,
    /// No slot above it was given up.
    trimmed_upto: Slot,
    /// Slots of which the newest record is not known, one by one, and the highest of all others.
    forgotten: BTreeSet<Slot>,
    forgotten_upto: Slot,
}

/// What is not needed any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needless {
    /// Slots up to there are in an image.
    pub(super) upto: Slot,
    /// A record is not needed to prove that a ballot up to there was promised.
    pub(super) promised: Ballot,
    /// This segment is needed, and those after it.
    pub(super) before: SegmentId,
    /// Nor is a vote needed that a later one in the same slot follows.
    pub(super) superseded: bool,
}

/// What trimming asks of one segment.
#[derive(Clone, Copy, Debug)]
struct Filled {
    segment: SegmentId,
    highest_slot: Slot,
    highest_ballot: Ballot,
}

impl Place {
    pub(super) fn of(head: &Head) -> Self {
        let bytes = u32::try_from(head.span()).expect("a record is far below 4 GiB");
        Self { slot: head.name.slot, segment: head.segment, offset: head.offset, bytes }
    }

    /// The record's value from the [`Place::bytes`] read at [`Place::offset`]. `None` when that is not (any longer) the
    /// record: damaged, or its segment was recycled meanwhile.
    #[must_use]
    pub fn value(&self, identity: Identity, bytes: &[u8]) -> Option<Value> {
        let head = self.head(identity, bytes)?;
        let content = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + head.value_bytes as usize)?;
        let value = head.names(content).then(|| Value::copy_of(content))?;
        (value.hash() == head.name.hash).then_some(value)
    }

    fn head(&self, identity: Identity, bytes: &[u8]) -> Option<Head> {
        let trailer = (self.bytes as usize).checked_sub(BLOCK_BYTES)?;
        [bytes, bytes.get(trailer..)?].into_iter().find_map(|block| match Block::decode(block) {
            Block::Head(_, head) => {
                let same = head.identity == identity && Self::of(&head) == *self;
                same.then_some(*head)
            }
            Block::Newer(_) | Block::Other => None,
        })
    }
}

impl Index {
    /// From now on records are written to `segment`, or are read there.
    pub(super) fn begin(&mut self, segment: SegmentId) {
        let last = self.segments.back().map(|last| last.segment);
        if last == Some(segment) {
            return;
        }
        assert!(last.is_none_or(|last| last < segment), "segments are filled in the order of their numbers");
        self.segments.push_back(Filled { segment, highest_slot: Slot(0), highest_ballot: Ballot::NONE });
    }

    /// `segment` holds a record of that slot and ballot, perhaps not durably yet.
    pub(super) fn holds(&mut self, segment: SegmentId, slot: Slot, ballot: Ballot) {
        let filled = self.segments.iter_mut().rev().find(|filled| filled.segment == segment);
        let filled = filled.expect("a record lies in a segment that was begun");
        filled.highest_slot = filled.highest_slot.max(slot);
        filled.highest_ballot = filled.highest_ballot.max(ballot);
    }

    /// The newest durable record of its slot lies there.
    pub(super) fn insert(&mut self, place: Place) {
        self.forgotten.remove(&place.slot);
        self.places.insert(place.slot, place);
    }

    /// What is known of this slot's older records is not worth having: a newer one is lost.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.places.remove(&slot);
        self.forgotten.insert(slot);
    }

    /// As [`Index::forget`], for every slot from `from` to `upto`.
    pub(super) fn forget_all(&mut self, from: Slot, upto: Slot) {
        self.places.retain(|slot, _| *slot < from || *slot > upto);
        self.forgotten_upto = self.forgotten_upto.max(upto);
    }

    /// Where the first of the slots from `from` to `upto` lie, as far as one read of `bytes` brings them.
    pub(super) fn places_from(&self, from: Slot, upto: Slot, bytes: u64) -> Vec<Place> {
        let mut found: Vec<Place> = Vec::new();
        for place in self.places.range(from..).map(|(_, place)| *place).take_while(|place| place.slot <= upto) {
            let end = place.offset + u64::from(place.bytes);
            let near = found.last().is_none_or(|last| {
                last.segment == place.segment && last.offset < place.offset && end - found[0].offset <= bytes
            });
            if !near {
                break;
            }
            found.push(place);
        }
        found
    }

    pub(super) fn place_of(&self, slot: Slot) -> Option<Place> {
        self.places.get(&slot).copied()
    }

    /// Segments after `last` hold nothing that counts.
    pub(super) fn end_with(&mut self, last: SegmentId) {
        while self.segments.back().is_some_and(|filled| filled.segment > last) {
            self.segments.pop_back();
        }
    }

    pub(super) fn segments(&self) -> impl DoubleEndedIterator<Item = SegmentId> {
        self.segments.iter().map(|filled| filled.segment)
    }

    pub(super) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// How many segments there are from the first on that holds a slot above `upto`. The newest need not hold any yet.
    pub(super) fn segments_beyond(&self, upto: Slot) -> usize {
        self.segments.iter().skip_while(|filled| filled.highest_slot <= upto).count()
    }

    /// The lowest slot from which up to `upto` there is a record of each; `upto + 1` if there is none of `upto`.
    pub(super) fn first_before(&self, upto: Slot) -> Slot {
        let mut first = upto.next();
        for slot in self.places.range(..=upto).rev().map(|(slot, _)| *slot) {
            if slot.next() != first {
                break;
            }
            first = slot;
        }
        first
    }

    pub(super) fn trimmed_upto(&self) -> Slot {
        self.trimmed_upto
    }

    /// Whether the oldest segment is needed no more.
    pub(super) fn would_trim(&self, needless: Needless) -> bool {
        let Needless { upto, promised, before, superseded } = needless;
        self.segments.front().is_some_and(|first| {
            let covered = first.highest_slot <= upto || superseded && self.is_superseded(first.segment, upto);
            covered && first.segment < before && first.highest_ballot <= promised
        })
    }

    /// Whether every record in that segment of a slot above `upto` is followed by a durable one in another segment.
    fn is_superseded(&self, segment: SegmentId, upto: Slot) -> bool {
        // The newest record of a slot that was forgotten may lie anywhere.
        let known = self.forgotten_upto <= upto && self.forgotten.range(upto.next()..).next().is_none();
        known && self.places.range(upto.next()..).all(|(_, place)| place.segment != segment)
    }

    /// Gives up the oldest segments up to the first that is still needed.
    pub(super) fn trim(&mut self, needless: Needless) -> Vec<SegmentId> {
        let mut freed = Vec::new();
        while self.would_trim(needless)
            && let Some(first) = self.segments.front()
        {
            freed.push(first.segment);
            self.trimmed_upto = self.trimmed_upto.max(first.highest_slot.min(needless.upto));
            self.segments.pop_front();
        }
        if let Some(last) = freed.last() {
            self.forgotten = self.forgotten.split_off(&needless.upto.next());
            self.places.retain(|_, place| place.segment > *last);
        }
        freed
    }
}
