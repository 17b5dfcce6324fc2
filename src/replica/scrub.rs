//! Reading what lies still, so that damage is found while there is a way to repair it.
//!
//! Within a configured period what a start would read of the log and the images is read once: the copies of the hard state,
//! the newest record of every applied slot, then the images. One read at a time, evenly apart, in the background, at the price of nothing that anybody waits for.
//!
//! A record that is damaged is not written again where it lies: a write in place that is torn by a crash would take its
//! neighbours along, and the state machine has applied it anyhow. The repair is an *image past it*: once the older of the
//! two kept images ends at or behind the damaged slot, no start reads the record, and the log is given up behind it. A
//! damaged image is repaired the same way, by newer ones. Until then the replica goes on serving: what it has in memory is
//! whole, a peer that asks for that very slot or image asks somebody else. Nobody else may have the slot: a read for a peer
//! that fails is damage found, and once an image is past it the peer is sent there.
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
use super::image_file::ImageCheck;
use crate::journal::Place;
use crate::journal::hard_state::{COPIES, HardStateFile};
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
    /// A read is under way.
    reading: bool,
    /// Of this pass, and of the one before.
    bytes: u64,
    bytes_before: u64,
    damaged: u64,
    /// Images are to be taken until the older one ends there.
    repair_upto: Slot,
}

#[derive(Debug)]
enum At {
    /// The hard state's copies from the next one on.
    Copies(Copies),
    /// The records of slots from there on.
    Log(Slot),
    /// What is being read of the log.
    Records(Vec<Place>),
    /// That image, from that byte on.
    Image(Slot, u64, ImageCheck),
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
    /// What the start found damaged, or alone, is behind `repair_upto`.
    pub(super) fn new(now: Instant, period: Option<Duration>, repair_upto: Slot) -> Self {
        let next_at = period.map_or(Instant::FOREVER, |period| now + period.scaled(1, FIRST_READ_AFTER));
        Self {
            period,
            at: At::Copies(Copies::default()),
            next_at,
            reading: false,
            bytes: 0,
            bytes_before: 0,
            damaged: 0,
            repair_upto,
        }
    }

    pub(super) fn next_deadline(&self) -> Instant {
        if self.reading { Instant::FOREVER } else { self.next_at }
    }

    /// Images are wanted until the older one that is kept ends there.
    pub(super) fn repair_upto(&self) -> Slot {
        self.repair_upto
    }

    /// Between two reads, when so many bytes are to be read in all.
    fn pause(&self, bytes: u64) -> Duration {
        let reads = bytes.max(self.bytes_before) / SCRUB_BYTES + 1 + COPIES as u64;
        // Twice as fast as it must be: what is read grows meanwhile.
        self.period.map_or(Duration::ZERO, |period| period.scaled(1, 2 * reads))
    }
}

impl Replica {
    /// Reads on if it is time. Called at the end of a turn.
    pub(super) fn tend_scrub(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if now < self.scrub.next_deadline() {
            return;
        }
        let (file, offset, bytes) = match &self.scrub.at {
            At::Log(from) => {
                let places = self.storage.journal().places_from(*from, self.applied_upto, SCRUB_BYTES);
                let (Some(first), Some(last)) = (places.first(), places.last()) else {
                    return self.scrub_image_after(now, Slot(0), effects);
                };
                let (file, offset) = (Still::Segment(first.segment), first.offset);
                let bytes = last.offset + u64::from(last.bytes) - first.offset;
                self.scrub.at = At::Records(places);
                (file, offset, bytes)
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
        self.scrub.reading = true;
        effects.push(Effect::ReadBack { file, offset, bytes: bytes as usize });
    }

    /// What was to be read back came, or cannot be read.
    pub(super) fn read_back(&mut self, now: Instant, bytes: Option<&[u8]>, effects: &mut Vec<Effect>) {
        self.scrub.reading = false;
        self.scrub.bytes += bytes.map_or(0, |bytes| bytes.len() as u64);
        let log_bytes = self.storage.journal().bytes_beyond(Slot(0));
        self.scrub.next_at = now + self.scrub.pause(log_bytes);
        match std::mem::replace(&mut self.scrub.at, At::Log(Slot(0))) {
            At::Records(places) => {
                self.check_records(&places, bytes.unwrap_or_default(), effects);
                self.scrub.at = At::Log(places.last().map_or(Slot(0), |place| place.slot.next()));
            }
            At::Image(slot, offset, check) => self.check_image(now, (slot, offset, check), bytes, effects),
            At::Copies(copies) => self.check_copy(copies, bytes.unwrap_or_default(), effects),
            At::Log(_) => unreachable!("only what was asked for is read"),
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
            self.found_damage(Still::Segment(place.segment), place.offset, from, effects);
        }
        self.paxos.log_read(now, to, from, values, &mut self.outputs);
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
                self.found_damage(file, place.offset, place.slot, effects);
            }
        }
    }

    fn check_image(
        &mut self,
        now: Instant,
        (slot, offset, mut check): (Slot, u64, ImageCheck),
        bytes: Option<&[u8]>,
        effects: &mut Vec<Effect>,
    ) {
        if !self.images.kept().contains(&slot) {
            return self.scrub_image_after(now, slot, effects);
        }
        let sound = bytes.is_some_and(|bytes| check.add(bytes).is_ok());
        if sound && bytes.is_some_and(|bytes| !bytes.is_empty()) {
            let read = bytes.map_or(0, |bytes| bytes.len() as u64);
            self.scrub.at = At::Image(slot, offset + read, check);
            return;
        }
        if !sound || !check.is_whole() {
            self.found_damage(Still::Image(slot), offset, slot.next(), effects);
        }
        self.scrub_image_after(now, slot, effects);
    }

    /// Goes on with the next image; after the last the pass is over.
    fn scrub_image_after(&mut self, now: Instant, slot: Slot, effects: &mut Vec<Effect>) {
        let next = self.images.kept().iter().copied().find(|kept| *kept > slot);
        let anew = At::Copies(Copies::default());
        self.scrub.at = next.map_or(anew, |slot| At::Image(slot, 0, ImageCheck::default()));
        let log_bytes = self.storage.journal().bytes_beyond(Slot(0));
        self.scrub.next_at = now + self.scrub.pause(log_bytes);
        if next.is_none() {
            let bytes = std::mem::take(&mut self.scrub.bytes);
            let damaged = std::mem::take(&mut self.scrub.damaged);
            self.scrub.bytes_before = bytes;
            self.scrub.next_at = now + self.scrub.period.unwrap_or(Duration::ZERO).scaled(1, 4);
            effects.push(Effect::Scrubbed(Scrubbed::Pass { bytes, damaged }));
        }
    }

    fn found_damage(&mut self, file: Still, offset: u64, past: Slot, effects: &mut Vec<Effect>) {
        self.scrub.damaged += 1;
        self.scrub.repair_upto = self.scrub.repair_upto.max(past);
        effects.push(Effect::Scrubbed(Scrubbed::Damaged { file, offset, past }));
    }
}

/// A hard state that is being written is at rest again by then.
const COPIES_LOOKED_AT_AGAIN: Duration = Duration::from_millis(100);

/// What is read at once: far less than a lease to check.
const SCRUB_BYTES: u64 = 256 << 10;

/// The first read of a life is that part of a period after its start: a start has just read the log.
const FIRST_READ_AFTER: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::exchange::Input;
    use crate::replica::transfer::tests::started;

    #[test]
    fn what_the_start_found_damaged_is_left_behind_by_an_image() {
        let is_begun = |damaged_upto| is_begun(&[Slot(4), Slot(5)], damaged_upto);
        assert_eq!([Slot(0), Slot(4), Slot(5), Slot(6)].map(is_begun), [false, false, true, true]);
    }

    #[test]
    fn a_start_that_hangs_on_one_image_takes_another() {
        assert!(is_begun(&[Slot(5)], Slot(0)), "the log does not lead there, and there is no other");
    }

    fn is_begun(images: &[Slot], damaged_upto: Slot) -> bool {
        let mut effects = Vec::new();
        started(images, damaged_upto).step(Instant::ZERO, Input::TurnEnd { wall_ms: 0 }, &mut effects);
        effects.iter().any(|effect| matches!(effect, Effect::BeginImage { .. }))
    }
}
