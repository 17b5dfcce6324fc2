//! Records in, writes out: grouping, the heads' contents, segments, seals.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::index::{Index, Needless, Place};
use super::record::{Head, Name, Pieces, RECORD_BYTES_MAX, RecordKind, Start, span_of};
use super::segment::SegmentHead;
use super::{Identity, SegmentId};
use crate::limits::{BLOCK_BYTES, JOURNAL_WRITES_IN_FLIGHT};
use crate::paxos::{AcceptedRecord, Ballot, Slot, Value};
use crate::time::{Duration, Instant};

/// Records handed to the disk together take at most this many bytes, unless one alone takes more: past it a flush's time
/// grows with its size.
pub const WRITE_BYTES_TARGET: u64 = 1 << 20;

/// The most one write may hold, in bytes.
pub const WRITE_BYTES_MAX: u64 = RECORD_BYTES_MAX + BLOCK_BYTES as u64;

/// The most that can be under way at a crash, in bytes: what is torn further than that was not torn by a crash.
pub const IN_FLIGHT_BYTES_MAX: u64 = JOURNAL_WRITES_IN_FLIGHT as u64 * WRITE_BYTES_MAX;

/// After this much quiet a seal tells the disk what is durable.
pub const SEAL_AFTER: Duration = Duration::from_millis(5);

const _: () = assert!(WRITE_BYTES_TARGET <= WRITE_BYTES_MAX);

/// How the journal is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The size of one segment, in bytes; whole blocks.
    pub segment_bytes: u64,
}

/// One aligned run of bytes to be made durable: written at `offset` of the segment's file, then flushed. Answered by
/// [`Journal::completed`], and by nothing else: an error ends the process.
#[derive(Debug)]
pub struct Write {
    /// Counts up from 1.
    pub id: u64,
    /// The file.
    pub segment: SegmentId,
    /// Where it goes; a whole number of blocks.
    pub offset: u64,
    /// What goes there, one after the other; together whole blocks, starting on a block of memory where each record does.
    pub pieces: Vec<Bytes>,
}

/// The writing end of the log.
#[derive(Debug)]
pub struct Journal {
    identity: Identity,
    settings: Settings,
    start: Start,
    queue: VecDeque<Queued>,
    queued_bytes: u64,
    /// Bytes of records handed to the disk in this start.
    handed_bytes: u64,
    writing: VecDeque<Writing>,
    /// Where the appended records of these writes go, one after the other.
    places: VecDeque<Place>,
    writes: u64,
    /// Of the next record handed to the disk.
    sequence: u64,
    chain: u128,
    previous: Name,
    segment: SegmentId,
    offset: u64,
    ready: BTreeSet<SegmentId>,
    index: Index,
    /// Records appended in this start.
    appended: u64,
    /// Of those, the durable ones.
    durable_appended: u64,
    /// All records up to this sequence are durable.
    durable_upto: u64,
    /// Where the last of them lies, of those written in this start.
    durable_segment: SegmentId,
    /// The highest `synced_upto` that any record handed out carries.
    told_upto: u64,
    /// The last record with a value handed out.
    last_value: u64,
    chosen_upto: Slot,
    hard_state: u64,
    quiet_since: Option<Instant>,
}

/// Where the log goes on, as recovery found it.
#[derive(Debug)]
pub struct Tail {
    /// The last record that counts.
    pub(super) sequence: u64,
    pub(super) chain: u128,
    pub(super) previous: Name,
    /// How far records claimed to be durable.
    pub(super) synced_upto: u64,
    pub(super) chosen_upto: Slot,
    /// The state up to `chosen_upto` came in an image that no record here led to.
    pub(super) jumped: bool,
    /// Of the start that goes on from here.
    pub(super) start: u64,
    /// Where its first record goes; offset 0: into a segment that holds nothing yet.
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
    /// Files from `segment` on, with their sizes: nothing in them behind `offset` counts.
    pub(super) files: Vec<(SegmentId, u64)>,
    pub(super) index: Index,
}

#[derive(Debug)]
struct Queued {
    kind: RecordKind,
    slot: Slot,
    ballot: Ballot,
    learned: bool,
    chosen_upto: Slot,
    pieces: Pieces,
}

#[derive(Debug)]
struct Writing {
    id: u64,
    segment: SegmentId,
    done: bool,
    /// The last record in it.
    upto: u64,
    /// How many of its records were appended from outside.
    appended: u64,
}

impl Journal {
    /// Goes on where recovery found the end. Nothing may be said to other replicas before [`Journal::started`]: the first
    /// record written makes durable that nothing behind it counts.
    #[must_use]
    pub fn open(identity: Identity, settings: Settings, tail: Tail) -> Self {
        assert!(settings.segment_bytes.is_multiple_of(BLOCK_BYTES as u64), "a segment is whole blocks");
        let Tail { sequence, chain, previous, synced_upto, chosen_upto, jumped, start, files, index, .. } = tail;
        let (mut segment, mut offset) = (tail.segment, tail.offset);
        let fits = |wanted| files.iter().any(|(segment, bytes)| *segment == wanted && *bytes >= settings.segment_bytes);
        if offset > 0 && !fits(segment) {
            (segment, offset) = (segment.next(), 0);
        }
        let ready = files.iter().map(|(segment, _)| *segment).filter(|file| *file >= segment && fits(*file)).collect();
        let mut journal = Self {
            identity,
            settings,
            start: Start { number: start, first: sequence + 1, synced_before: synced_upto },
            queue: VecDeque::new(),
            queued_bytes: 0,
            handed_bytes: 0,
            writing: VecDeque::new(),
            places: VecDeque::new(),
            writes: 0,
            sequence: sequence + 1,
            chain,
            previous,
            segment,
            offset,
            ready,
            index,
            appended: 0,
            durable_appended: 0,
            durable_upto: sequence,
            durable_segment: SegmentId(0),
            told_upto: synced_upto,
            last_value: 0,
            chosen_upto,
            hard_state: 0,
            quiet_since: None,
        };
        journal.index.begin(segment);
        journal.queue_without_value(RecordKind::Start, jumped);
        journal
    }

    /// Takes a record; the number it gets counts up from 1 in this start. It is durable once [`Journal::completed`]
    /// returns that number or a higher one.
    pub fn append(&mut self, record: AcceptedRecord) -> u64 {
        let AcceptedRecord { slot, ballot, value, learned, chosen_upto } = record;
        assert!(slot > Slot(0), "slot 0 is never used");
        let pieces = Pieces::of(value);
        let room = self.settings.segment_bytes - BLOCK_BYTES as u64;
        assert!(pieces.span() <= room, "a record fits a segment");
        self.chosen_upto = self.chosen_upto.max(chosen_upto);
        self.queued_bytes += pieces.span();
        self.queue.push_back(Queued { kind: RecordKind::Value, slot, ballot, learned, chosen_upto, pieces });
        self.quiet_since = None;
        self.appended += 1;
        self.appended
    }

    /// The next write to be made durable, if there is one and fewer than [`JOURNAL_WRITES_IN_FLIGHT`] are under way.
    pub fn next_write(&mut self) -> Option<Write> {
        let span = self.queue.front()?.pieces.span();
        if self.writing.len() >= JOURNAL_WRITES_IN_FLIGHT || !self.make_room(span) {
            return None;
        }
        let mut pieces = Vec::with_capacity(3 * self.queue.len().min(128) + 1);
        let offset = self.offset;
        if offset == 0 {
            pieces.push(SegmentHead::encode(self.identity, self.segment));
            self.offset = BLOCK_BYTES as u64;
        }
        self.writes += 1;
        let mut writing = Writing { id: self.writes, segment: self.segment, done: false, upto: 0, appended: 0 };
        let from = self.offset;
        while let Some(queued) = self.queue.front() {
            let end = self.offset + queued.pieces.span();
            if end > self.settings.segment_bytes || (self.offset > from && end - from > WRITE_BYTES_TARGET) {
                break;
            }
            let queued = self.queue.pop_front().expect("it was just looked at");
            self.lay_down(queued, &mut writing, &mut pieces);
        }
        assert!(self.offset - offset <= WRITE_BYTES_MAX, "a write stays below what a crash may tear");
        self.writing.push_back(writing);
        Some(Write { id: self.writes, segment: self.segment, offset, pieces })
    }

    /// That write is durable, whole. Returns the number up to which appended records are durable now, if that rose;
    /// writes may complete in any order.
    pub fn completed(&mut self, now: Instant, id: u64) -> Option<u64> {
        let write = self.writing.iter_mut().find(|write| write.id == id).expect("only a write under way completes");
        assert!(!write.done, "a write completes once");
        write.done = true;
        let before = self.durable_appended;
        while let Some(write) = self.writing.front()
            && write.done
        {
            let write = self.writing.pop_front().expect("it was just looked at");
            self.durable_upto = write.upto;
            self.durable_appended += write.appended;
            self.durable_segment = write.segment;
            self.places.drain(..write.appended as usize).for_each(|place| self.index.insert(place));
        }
        if self.is_quiet() && self.last_value > self.told_upto {
            self.quiet_since = Some(now);
        }
        (self.durable_appended > before).then_some(self.durable_appended)
    }

    /// Writes a seal if it is due.
    pub fn tick(&mut self, now: Instant) {
        if now >= self.next_deadline() {
            self.quiet_since = None;
            self.queue_without_value(RecordKind::Seal, false);
        }
    }

    /// When [`Journal::tick`] is wanted; [`Instant::FOREVER`] if it is not.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        self.quiet_since.map_or(Instant::FOREVER, |since| since + SEAL_AFTER)
    }

    /// Every slot up to there is chosen, and its record was appended before: the next seal tells the disk.
    pub fn chosen(&mut self, upto: Slot) {
        self.chosen_upto = self.chosen_upto.max(upto);
    }

    /// The hard state of that version is durable: records from now on prove that it existed.
    pub fn hard_state_durable(&mut self, sequence: u64) {
        self.hard_state = self.hard_state.max(sequence);
    }

    /// A segment that should be made ready in the background: the one to be written, or one spare. Its file must have
    /// the full size, every block of it written before, and its name durable. A trimmed segment's file renamed does.
    #[must_use]
    pub fn segment_wanted(&self) -> Option<SegmentId> {
        [self.segment, self.segment.next()].into_iter().find(|segment| !self.ready.contains(segment))
    }

    /// That segment's file may be written.
    pub fn segment_ready(&mut self, segment: SegmentId) {
        assert!(segment >= self.segment, "a segment that was filled is not made ready again");
        self.ready.insert(segment);
    }

    /// Gives up the oldest segments, as far as all that they hold is at or below `upto` (covered by a durable image) and
    /// at or below `promised` (in the durable hard state: a record alone may be what proves a promise). Returns those
    /// whose files are free to be renamed. While no room is left ([`Journal::room_behind_queue`]) a vote that was followed by
    /// a later one in the same slot counts for nothing either: elections without end must not fill the log for good.
    pub fn trim(&mut self, upto: Slot, promised: Ballot, stuck: bool) -> Vec<SegmentId> {
        self.needless(upto, promised, stuck).map_or(Vec::new(), |needless| self.index.trim(needless))
    }

    /// Whether [`Journal::trim`] would give up anything.
    #[must_use]
    pub fn would_trim(&self, upto: Slot, promised: Ballot, stuck: bool) -> bool {
        self.needless(upto, promised, stuck).is_some_and(|needless| self.index.would_trim(needless))
    }

    fn needless(&self, upto: Slot, promised: Ballot, superseded: bool) -> Option<Needless> {
        // A log without an image is known to begin with its first record. What is kept ends with a durable record of this
        // start, so that a log without one is known to be damaged.
        let before = self.durable_segment;
        (upto > Slot(0)).then_some(Needless { upto, promised, before, superseded })
    }

    /// Whether the start's first record is durable, and with it the cut at the old tail. Until then this replica says
    /// nothing to others that rests on what was recovered.
    #[must_use]
    pub fn started(&self) -> bool {
        self.durable_upto >= self.start.first
    }

    /// Number of this start; belongs into the hard state once [`Journal::started`].
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start.number
    }

    /// Where the newest record of that slot lies, if it is durable and still counts. While a newer one is under way there
    /// is no answer: the older may be a vote for what was not chosen.
    #[must_use]
    pub fn place_of(&self, slot: Slot) -> Option<Place> {
        let queued = self.queue.iter().any(|queued| queued.kind == RecordKind::Value && queued.slot == slot);
        let written = self.places.iter().any(|place| place.slot == slot);
        if queued || written { None } else { self.index.place_of(slot) }
    }

    /// Where the durable records of the first slots from `from` to `upto` lie, as far as one read of `bytes` brings them.
    #[must_use]
    pub fn places_from(&self, from: Slot, upto: Slot, bytes: u64) -> Vec<Place> {
        if from > upto { Vec::new() } else { self.index.places_from(from, upto, bytes) }
    }

    /// The number of the last record appended.
    #[must_use]
    pub fn appended_upto(&self) -> u64 {
        self.appended
    }

    /// The number up to which appended records are durable.
    #[must_use]
    pub fn appended_durable_upto(&self) -> u64 {
        self.durable_appended
    }

    /// Bytes that wait to be handed to the disk.
    #[must_use]
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// Bytes of records handed to the disk in this start.
    #[must_use]
    pub fn handed_bytes(&self) -> u64 {
        self.handed_bytes
    }

    /// Bytes of log, whole segments but for the last one, that hold slots above `upto`.
    #[must_use]
    pub fn bytes_beyond(&self, upto: Slot) -> u64 {
        match self.index.segments_beyond(upto) as u64 {
            0 => 0,
            segments => (segments - 1) * self.settings.segment_bytes + self.offset,
        }
    }

    /// The lowest slot from which up to `upto`, all chosen, each has a durable record here.
    #[must_use]
    pub fn first_before(&self, upto: Slot) -> Slot {
        self.index.first_before(upto)
    }

    /// The highest slot that was given up in this life.
    #[must_use]
    pub fn trimmed_upto(&self) -> Slot {
        self.index.trimmed_upto()
    }

    /// The size of one segment, in bytes.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.settings.segment_bytes
    }

    /// Segments that hold something or stand ready, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentId> {
        let spare = self.ready.iter().copied().filter(|segment| *segment > self.segment);
        self.index.segments().chain(spare).collect()
    }

    /// Bytes of all those files.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let spare = self.ready.iter().filter(|segment| **segment > self.segment).count();
        (self.index.segment_count() + spare) as u64 * self.settings.segment_bytes
    }

    /// Bytes that can be written before another segment is needed.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let room = self.ready.len() as u64 * self.settings.segment_bytes;
        if self.ready.contains(&self.segment) { room - self.offset } else { room }
    }

    /// Bytes that are left behind everything that waits to be written, if `further` segments can still be had; `None` if
    /// not even that finds room.
    #[must_use]
    pub fn room_behind_queue(&self, further: u64) -> Option<u64> {
        let Settings { segment_bytes } = self.settings;
        let begun = self.ready.contains(&self.segment);
        let (mut files, mut offset) = (self.ready.len() as u64 + further, segment_bytes);
        if begun {
            (files, offset) = (files - 1, self.offset);
        }
        for queued in &self.queue {
            let span = queued.pieces.span();
            if offset.max(BLOCK_BYTES as u64) + span > segment_bytes {
                (files, offset) = (files.checked_sub(1)?, BLOCK_BYTES as u64);
            }
            offset = offset.max(BLOCK_BYTES as u64) + span;
        }
        Some(files * segment_bytes + (segment_bytes - offset))
    }

    fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.writing.is_empty()
    }

    fn queue_without_value(&mut self, kind: RecordKind, learned: bool) {
        let pieces = Pieces::of(Value::copy_of(&[]));
        self.queued_bytes += pieces.span();
        let (slot, ballot, chosen_upto) = (Slot(0), Ballot::NONE, self.chosen_upto);
        self.queue.push_back(Queued { kind, slot, ballot, learned, chosen_upto, pieces });
    }

    /// Moves to the next segment if the current one has no room for `span`; false while no segment is ready.
    fn make_room(&mut self, span: u64) -> bool {
        if self.offset.max(BLOCK_BYTES as u64) + span > self.settings.segment_bytes {
            if !self.ready.contains(&self.segment.next()) {
                return false;
            }
            self.ready.remove(&self.segment);
            self.segment = self.segment.next();
            self.offset = 0;
            self.index.begin(self.segment);
        }
        self.ready.contains(&self.segment)
    }

    fn lay_down(&mut self, queued: Queued, writing: &mut Writing, pieces: &mut Vec<Bytes>) {
        let Queued { kind, slot, ballot, learned, chosen_upto, pieces: parts } = queued;
        let is_value = kind == RecordKind::Value;
        let name = if is_value { Name { slot, ballot, hash: parts.hash() } } else { Name::NOTHING };
        let head = Head {
            identity: self.identity,
            segment: self.segment,
            offset: self.offset,
            start: self.start,
            sequence: self.sequence,
            // The start's own first record repeats what was claimed before it: the rest of what it stands on was
            // recovered, not acknowledged.
            synced_upto: if kind == RecordKind::Start { self.start.synced_before } else { self.durable_upto },
            hard_state: self.hard_state,
            chosen_upto,
            name,
            kind,
            learned,
            value_bytes: parts.value_bytes(),
            body_crc: parts.crc(),
            chain: self.chain,
            previous: self.previous,
        };
        assert_eq!(head.span(), span_of(parts.value_bytes() as usize), "a head knows its record's size");
        if is_value {
            self.index.holds(self.segment, slot, ballot);
            self.last_value = head.sequence;
            self.places.push_back(Place::of(&head));
            writing.appended += 1;
        }
        writing.upto = head.sequence;
        self.told_upto = head.synced_upto;
        self.offset += head.span();
        self.queued_bytes -= head.span();
        self.handed_bytes += head.span();
        self.chain = parts.finish(&head, pieces);
        self.previous = name;
        self.sequence += 1;
    }
}

#[cfg(test)]
mod tests;
