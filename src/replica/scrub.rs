//! Reading what lies still, so that damage is found while there is a way to repair it.
//!
//! Within a configured period what a start would read of the log and the images is read once: the copies of the hard
//! state, the newest record of every applied slot, then the images. One read at a time, in the background, at the price of
//! nothing that anybody waits for. The pause after a read is to half the period what its bytes are to all that lies still,
//! log and images.
//!
//! A life begins to read where its draw says, no byte less likely than another, goes on to the end, and from then on reads
//! everything. So lives that are shorter than a pass come to everything together, where all would read the same beginning
//! otherwise. An image can be judged only from its own beginning, and as a whole only at its end, where its hash stands
//! (`image_file`): what leads to the drawn place in it is read in haste.
//!
//! A record that is damaged is not written again where it lies: a write in place that is torn by a crash would take its
//! neighbours along, and the state machine has applied it anyhow. The repair is an *image past it*: once the older of the
//! two kept images ends at or behind the damaged slot, no start reads the record, and the log is given up behind it. A
//! damaged image is repaired the same way, by newer ones. Until then the replica goes on serving: what it has in memory is
//! whole, a peer that asks for that very slot or image asks somebody else. It may be that nobody else has the slot either: a read for a
//! peer that fails is damage found, and once an image is past it the peer is sent there.
//!
//! The value of a damaged record is not fetched from a peer either, to be appended once more: a start would find it behind
//! all that came later, and would have to keep all of that in memory until then. The image is needed anyhow.
//!
//! Damage that the start met is repaired that way too. It may be to records that this start could do without and the next
//! one cannot, should the newest image be damaged by then; and whose slots have older records, which are whole.
//!
//! A damaged copy of the hard state is written again from what is in memory, while with that three of five agree. Where
//! fewer do the disk has lost, or never stored, what it said was durable: it is not to be relied on for the next promise,
//! and the replica ends ([`Effect::HardStateLost`]).
//!
//! An open slot's record is left to the next pass: it is in memory, and chosen or voted for anew in a moment.

use super::Replica;
use super::exchange::{Effect, Scrubbed, Still};
use super::image_file::{ImageCheck, ImageFileError};
use crate::journal::hard_state::{COPIES, HardStateFile};
use crate::journal::{Place, SegmentId};
use crate::limits::BLOCK_BYTES;
use crate::paxos::{ReplicaId, Slot, Value};
use crate::time::{Duration, Instant};

/// How far the reading has come.
#[derive(Debug)]
pub(super) struct Scrub {
    /// Everything is read once in it; none: nothing is.
    period: Option<Duration>,
    at: At,
    next_at: Instant,
    /// Bytes of the read that is under way.
    reading: Option<u64>,
    /// What was applied when the pass began: of the log it reads no more, however fast others write.
    log_upto: Slot,
    /// This pass is the part of one that a life begins with.
    is_part: bool,
    /// What comes before that byte of that image only leads there.
    hasty_upto: Option<(Slot, u64)>,
    /// Of this pass.
    bytes: u64,
    damaged: u64,
    /// Images are to be taken until the older one ends there.
    repair_upto: Slot,
}

#[derive(Debug)]
enum At {
    /// Nothing was read yet. What is left out of the first pass is to all there is what the draw is to 2^64.
    Drawn(u64),
    /// The hard state's copies from the next one on.
    Copies(Copies),
    /// The records of slots from there on.
    Log(Slot),
    /// What is being read of the log.
    Records(Vec<Place>),
    /// That image, from that byte on.
    Image(Slot, u64, Box<ImageCheck>),
}

/// What is known of the hard state's copies.
#[derive(Clone, Default, Debug)]
struct Copies {
    /// Read while they held that round, and none was under way.
    round: u64,
    read: usize,
    damaged: Vec<usize>,
}

impl Scrub {
    /// What the start found damaged, or alone, is behind `repair_upto`. `draw` differs from start to start.
    pub(super) fn new(now: Instant, period: Option<Duration>, repair_upto: Slot, draw: u64) -> Self {
        Self {
            period,
            at: At::Drawn(draw),
            // At once: the shortest life reads something.
            next_at: period.map_or(Instant::FOREVER, |_| now),
            reading: None,
            log_upto: Slot(0),
            is_part: false,
            hasty_upto: None,
            bytes: 0,
            damaged: 0,
            repair_upto,
        }
    }

    pub(super) fn next_deadline(&self) -> Instant {
        if self.reading.is_some() { Instant::FOREVER } else { self.next_at }
    }

    /// Images are wanted until the older one that is kept ends there.
    pub(super) fn repair_upto(&self) -> Slot {
        self.repair_upto
    }

    /// After so many bytes were read of so many in all.
    fn pause(&self, read: u64, all: u64) -> Duration {
        let in_haste =
            matches!(self.at, At::Image(slot, offset, _) if self.hasty_upto.is_some_and(|upto| (slot, offset) < upto));
        // Twice as fast as it must be: what is read grows meanwhile.
        let speed = if in_haste { 2 * HASTE } else { 2 };
        let even = self.period.map_or(Duration::ZERO, |period| period.scaled(read.min(all), speed * all));
        if in_haste { even.max(HASTY_READS_APART) } else { even }
    }
}

impl Replica {
    /// Reads on if it is time. Called at the end of a turn.
    pub(super) fn tend_scrub(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if now < self.scrub.next_deadline() {
            return;
        }
        let (file, offset, bytes) = match &self.scrub.at {
            At::Drawn(draw) => {
                let draw = *draw;
                self.begin_where_drawn(draw);
                return self.tend_scrub(now, effects);
            }
            At::Log(from) => {
                let places = self.storage.journal().places_from(*from, self.scrub.log_upto, SCRUB_BYTES);
                let Some((segment, offset, bytes)) = run_of(&places) else {
                    self.scrub_image_after(now, Slot(0), effects);
                    return self.tend_scrub(now, effects);
                };
                self.scrub.at = At::Records(places);
                (Still::Segment(segment), offset, bytes)
            }
            At::Image(slot, offset, _) => (Still::Image(*slot), *offset, SCRUB_BYTES),
            At::Copies(copies) => {
                let place = HardStateFile::place_of(copies.read);
                let Some(round) = self.storage.copies_at_rest() else {
                    self.scrub.next_at = now + COPIES_LOOKED_AT_AGAIN;
                    return;
                };
                if round != copies.round {
                    self.scrub.at = At::Copies(Copies { round, ..Copies::default() });
                    return self.tend_scrub(now, effects);
                }
                (Still::HardState, place, BLOCK_BYTES as u64)
            }
            At::Records(_) => unreachable!("what is being read is waited for"),
        };
        self.scrub.reading = Some(bytes);
        effects.push(Effect::ReadBack { file, offset, bytes: bytes as usize });
    }

    /// What was to be read back came, or cannot be read.
    pub(super) fn read_back(&mut self, now: Instant, bytes: Option<&[u8]>, effects: &mut Vec<Effect>) {
        let asked = self.scrub.reading.take().unwrap_or_default();
        self.scrub.bytes += bytes.map_or(0, |bytes| bytes.len() as u64);
        // What cannot be read, or is not there, is not gone through faster than what can.
        let read = bytes.map_or(asked, |bytes| (bytes.len() as u64).max(BLOCK_BYTES as u64));
        self.scrub.next_at = now + self.scrub.pause(read, self.bytes_at_rest());
        match std::mem::replace(&mut self.scrub.at, At::Log(Slot(0))) {
            At::Records(places) => {
                self.check_records(&places, bytes.unwrap_or_default(), effects);
                self.scrub.at = At::Log(places.last().map_or(Slot(0), |place| place.slot.next()));
            }
            At::Image(slot, offset, check) => self.check_image(now, (slot, offset, check), bytes, effects),
            At::Copies(copies) => {
                self.check_copy(copies, bytes.unwrap_or_default(), effects);
                // They are judged together, before they are written again, as they are every few seconds.
                if matches!(&self.scrub.at, At::Copies(copies) if copies.read > 0) {
                    self.scrub.next_at = now;
                }
            }
            At::Drawn(_) | At::Log(_) => unreachable!("only what was asked for is read"),
        }
    }

    /// Values were to be read for a peer. Where not even the first can be, and the log still holds it, it is damaged.
    pub(super) fn log_read(
        &mut self,
        now: Instant,
        to: ReplicaId,
        from: Slot,
        values: Vec<Value>,
        effects: &mut Vec<Effect>,
    ) {
        let damaged = values.is_empty() && self.scrub.repair_upto < from;
        if let Some(place) = self.storage.journal().place_of(from).filter(|_| damaged) {
            self.found_damage(Still::Segment(place.segment), place.offset, from, None, effects);
        }
        self.paxos.log_read(now, to, from, values, &mut self.outputs);
    }

    /// What a pass reads; and records that were superseded, or are not applied yet, which it does not.
    fn bytes_at_rest(&self) -> u64 {
        let images: u64 = self.images.kept().values().sum();
        COPIES_BYTES + self.storage.journal().bytes_beyond(Slot(0)) + images
    }

    /// Leaves out of the first pass what is before the place that was drawn.
    fn begin_where_drawn(&mut self, draw: u64) {
        self.scrub.log_upto = self.applied_upto;
        let left_out = ((u128::from(draw) * u128::from(self.bytes_at_rest())) >> 64) as u64;
        // The copies are judged together.
        let Some(left_out) = left_out.checked_sub(COPIES_BYTES) else {
            self.scrub.at = At::Copies(Copies::default());
            return;
        };
        match self.slot_behind(left_out) {
            Ok(from) => (self.scrub.at, self.scrub.is_part) = (At::Log(from), true),
            Err(left_out) => {
                (self.scrub.at, self.scrub.hasty_upto) = self.image_behind(left_out);
                self.scrub.is_part = self.scrub.hasty_upto.is_some();
            }
        }
    }

    /// Which slot's record lies behind so many bytes of what is read of the log; or how many of them are beyond it.
    fn slot_behind(&self, mut bytes: u64) -> Result<Slot, u64> {
        let mut from = Slot(0);
        loop {
            let places = self.storage.journal().places_from(from, self.scrub.log_upto, SCRUB_BYTES);
            let Some((.., run)) = run_of(&places) else { return Err(bytes) };
            bytes = match bytes.checked_sub(run) {
                Some(left) => left,
                None => return Ok(from),
            };
            from = places.last().map_or(from, |place| place.slot.next());
        }
    }

    /// The beginning of the image in which so many bytes of all images end, and where they do. Behind them all a whole
    /// pass begins.
    fn image_behind(&self, mut bytes: u64) -> (At, Option<(Slot, u64)>) {
        for (slot, length) in self.images.kept() {
            bytes = match bytes.checked_sub(*length) {
                Some(left) => left,
                None => return (At::Image(*slot, 0, Box::default()), Some((*slot, bytes))),
            };
        }
        (At::Copies(Copies::default()), None)
    }

    /// Looks at the copy that was read; after the last, at what that makes of them all.
    fn check_copy(&mut self, mut copies: Copies, bytes: &[u8], effects: &mut Vec<Effect>) {
        if self.storage.copies_at_rest() != Some(copies.round) {
            self.scrub.at = At::Copies(Copies::default());
            return;
        }
        if !self.storage.is_held_by(bytes) {
            copies.damaged.push(copies.read);
        }
        copies.read += 1;
        if copies.read < COPIES {
            self.scrub.at = At::Copies(copies);
            return;
        }
        let damaged = copies.damaged.len();
        self.scrub.damaged += damaged as u64;
        if damaged > COPIES / 2 {
            effects.push(Effect::HardStateLost { damaged });
        } else if damaged > 0 {
            self.storage.write_again(&copies.damaged);
            effects.push(Effect::Scrubbed(Scrubbed::CopiesDamaged(damaged)));
        }
    }

    fn check_records(&mut self, places: &[Place], bytes: &[u8], effects: &mut Vec<Effect>) {
        let identity = self.storage.about().0;
        let start = places.first().map_or(0, |place| place.offset);
        for place in places {
            let at = (place.offset - start) as usize;
            let record = bytes.get(at..at + place.bytes as usize);
            let whole = record.is_some_and(|record| place.value(identity, record).is_some());
            // What was given up or written anew meanwhile is not there to be whole.
            if !whole && self.storage.journal().place_of(place.slot) == Some(*place) {
                let file = Still::Segment(place.segment);
                self.found_damage(file, place.offset, place.slot, None, effects);
            }
        }
    }

    fn check_image(
        &mut self,
        now: Instant,
        (slot, offset, mut check): (Slot, u64, Box<ImageCheck>),
        bytes: Option<&[u8]>,
        effects: &mut Vec<Effect>,
    ) {
        if !self.images.kept().contains_key(&slot) {
            return self.scrub_image_after(now, slot, effects);
        }
        let taken = bytes.map(|bytes| check.add(bytes));
        let sound = matches!(taken, Some(Ok(())));
        if sound && bytes.is_some_and(|bytes| !bytes.is_empty()) {
            let read = bytes.map_or(0, |bytes| bytes.len() as u64);
            self.scrub.at = At::Image(slot, offset + read, check);
            return;
        }
        if !sound || !check.is_whole() {
            let error = taken.and_then(Result::err);
            self.found_damage(Still::Image(slot), offset, slot.next(), error, effects);
        }
        self.scrub_image_after(now, slot, effects);
    }

    /// Goes on with the next image; after the last the pass is over.
    fn scrub_image_after(&mut self, now: Instant, slot: Slot, effects: &mut Vec<Effect>) {
        let next = self.images.kept().keys().copied().find(|kept| *kept > slot);
        self.scrub.at = match next {
            Some(slot) => At::Image(slot, 0, Box::default()),
            None => At::Copies(Copies::default()),
        };
        if next.is_none() {
            self.end_pass(now, effects);
        }
    }

    /// After a whole pass there is a rest; after the part that a life began with there is none, and nothing to tell.
    fn end_pass(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let (bytes, damaged) = (std::mem::take(&mut self.scrub.bytes), std::mem::take(&mut self.scrub.damaged));
        self.scrub.log_upto = self.applied_upto;
        self.scrub.hasty_upto = None;
        if !std::mem::take(&mut self.scrub.is_part) {
            self.scrub.next_at = now + self.scrub.period.unwrap_or(Duration::ZERO).scaled(1, 4);
            effects.push(Effect::Scrubbed(Scrubbed::Pass { bytes, damaged }));
        }
    }

    fn found_damage(
        &mut self,
        file: Still,
        offset: u64,
        past: Slot,
        error: Option<ImageFileError>,
        effects: &mut Vec<Effect>,
    ) {
        self.scrub.damaged += 1;
        self.scrub.repair_upto = self.scrub.repair_upto.max(past);
        effects.push(Effect::Scrubbed(Scrubbed::Damaged { file, offset, past, error }));
    }
}

/// Where a run of records lies, and how many bytes it takes.
fn run_of(places: &[Place]) -> Option<(SegmentId, u64, u64)> {
    let (first, last) = (places.first()?, places.last()?);
    Some((first.segment, first.offset, last.offset + u64::from(last.bytes) - first.offset))
}

/// A hard state that is being written is at rest again by then.
const COPIES_LOOKED_AT_AGAIN: Duration = Duration::from_millis(100);

/// What is read at once: far less than a lease to check, the hash of an image included, which is most of it. A piece of an
/// image is checked when it is all there, so that one of some megabytes takes milliseconds.
const SCRUB_BYTES: u64 = 256 << 10;

/// What is read of the hard state.
const COPIES_BYTES: u64 = (COPIES * BLOCK_BYTES) as u64;

/// How many times faster the part of an image is read that only leads to the drawn place: a life of a sixteenth of the time
/// that an image takes can still come to its end.
const HASTE: u64 = 16;

/// Even in haste the disk has time for others: 64 MB/s at most.
const HASTY_READS_APART: Duration = Duration::from_millis(4);

#[cfg(test)]
mod tests;
