//! What the replica has on disk: the journal and the hard state, as one.
//!
//! Both speak in writes that become durable; this module gives the writes their tokens and takes the answers apart again.
//!
//! The journal writes only to files that are there in full, so a disk without room is met when the next segment is to be
//! made, with at least one still to be filled. From then on nothing is admitted that can be refused, what cannot be goes
//! into that last segment, and the disk is asked again every so often ([`Supply`]).

use std::collections::{BTreeMap, BTreeSet};

use super::digests::Digests;
use super::exchange::{DiskFile, Effect};
use crate::journal::hard_state::{HardStateFile, ImagePointer};
use crate::journal::{Identity, Journal, SegmentId};
use crate::limits::REQUEST_BYTES_MAX;
use crate::namespace::Namespace;
use crate::paxos::{self, AcceptedRecord, Acknowledged, Configs, HardState, Output, Paxos, ReplicaId, Slot};
use crate::time::{Duration, Instant};

/// What the disk told at the start.
#[derive(Debug)]
pub struct Recovered {
    /// For Paxos.
    pub paxos: paxos::Recovered,
    /// The state after every slot that is known to be chosen.
    pub namespace: Namespace,
    /// The slots of the one or two images to be kept, the one it was loaded from and the one before that, each with the
    /// bytes of its file.
    pub images: BTreeMap<Slot, u64>,
    /// How large the log may grow.
    pub bounds: Bounds,
    /// What lies still is read once in it, if at all.
    pub scrub_period: Option<Duration>,
    /// No later start is to need what the log holds up to there: some of it is damaged.
    pub damaged_upto: Slot,
    /// Digests of what was replayed.
    pub digests: Digests,
    /// Where to go on writing.
    pub storage: Storage,
}

/// How large the log may grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes of log after which an image is taken.
    pub image_after_bytes: u64,
    /// Bytes of all segments, spare ones included.
    pub journal_bytes_max: u64,
    /// Up to so many bytes of log are kept for members that may ask for it.
    pub keep_bytes: u64,
}

/// The journal and the hard state of a running replica.
#[derive(Debug)]
pub struct Storage {
    journal: Journal,
    hard_state: HardStateFile,
    bytes_max: u64,
    supply: Supply,
    /// Writes handed out and not yet durable.
    under_way: usize,
    /// Segments that were given up and whose files are still there. The lowest goes first, so that after a crash what is
    /// left of them still joins the log.
    spare: BTreeSet<SegmentId>,
}

/// How it stands with the journal's next segment.
#[derive(Clone, Copy, Default, Debug)]
struct Supply {
    /// What it is being made of.
    asked: Option<Source>,
    /// What the disk had no room for the last time.
    refused: Option<Refused>,
}

/// What a segment is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// A new file.
    New,
    /// The file of a segment that was given up, under a new name.
    Spare(SegmentId),
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    /// Not even for another name: what was given up is of no use either.
    even_a_name: bool,
    /// The disk is asked again then.
    until: Instant,
}

impl Storage {
    /// From what was recovered: what it rests on is durable in full, as an older process may have left it half written.
    #[must_use]
    pub fn new(journal: Journal, hard_state: HardStateFile, bounds: Bounds) -> Self {
        assert!(journal.started(), "the end of the journal is durable before anybody speaks");
        assert!(
            hard_state.is_idle() && hard_state.contents().start == journal.start(),
            "all four copies of the hard state are durable, and know of this start, before anybody speaks"
        );
        Self {
            journal,
            hard_state,
            supply: Supply::default(),
            under_way: 0,
            bytes_max: bounds.journal_bytes_max,
            spare: BTreeSet::new(),
        }
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether commands of so many bytes may still be proposed. The last segment is kept for what cannot be refused: the
    /// entries of elections, and what other leaders send.
    #[must_use]
    pub fn has_room_for(&self, bytes: u64) -> bool {
        let room = self.journal.room_behind_queue(self.further_segments());
        room.is_some_and(|room| room >= self.journal.segment_bytes() + bytes)
    }

    /// Whether there is hardly room left: one segment less, and commands are refused.
    pub(super) fn is_short(&self) -> bool {
        !self.has_room_for(self.journal.segment_bytes())
    }

    /// Whether there is no room for what waits to be written.
    pub(super) fn is_stuck(&self) -> bool {
        self.journal.room_behind_queue(self.further_segments()).is_none()
    }

    /// Whether somebody else's disk is a better one to lead from: this one is full, and what is left of the log's room is
    /// too little for any request there may be.
    pub(super) fn is_cramped(&self) -> bool {
        self.is_disk_full() && !self.has_room_for(REQUEST_BYTES_MAX as u64)
    }

    /// Whether the disk has no room for a further segment.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.supply.refused.is_some()
    }

    /// Everything up to there is in the newest image that the hard state points to.
    pub(super) fn image_upto(&self) -> Slot {
        self.hard_state.contents().image.map_or(Slot(0), |image| image.slot)
    }

    /// Whose disk this is, and what Paxos had saved there by now.
    pub(super) fn about(&self) -> (Identity, &HardState) {
        let contents = self.hard_state.contents();
        (contents.identity, &contents.paxos)
    }

    /// The image that the hard state points to.
    pub(super) fn image(&self) -> Option<ImagePointer> {
        self.hard_state.contents().image
    }

    pub(super) fn save_image(&mut self, image: ImagePointer) {
        self.hard_state.save_image(image);
    }

    pub(super) fn save_fetched(&mut self, image: ImagePointer, configs: Configs, acknowledged: &[Acknowledged]) {
        self.hard_state.save_fetched(image, configs, acknowledged);
    }

    /// Whether no write is under way, and the hard state has none to hand out.
    pub(super) fn is_at_rest(&self) -> bool {
        self.under_way == 0 && self.hard_state.is_idle()
    }

    pub(super) fn image_is_durable(&self, image: ImagePointer) -> bool {
        self.hard_state.settled().image == Some(image)
    }

    /// The round of copies that the hard state's file holds, while none is under way.
    pub(super) fn copies_at_rest(&self) -> Option<u64> {
        self.hard_state.is_idle().then(|| self.hard_state.durable_sequence())
    }

    pub(super) fn is_held_by(&self, copy: &[u8]) -> bool {
        self.hard_state.is_held_by(copy)
    }

    pub(super) fn write_again(&mut self, damaged: &[usize]) {
        self.hard_state.write_again(damaged);
    }

    /// Gives up segments that hold nothing above `upto`. Returns the highest slot that went.
    pub(super) fn trim(&mut self, upto: Slot, effects: &mut Vec<Effect>) -> Option<Slot> {
        let freed = self.journal.trim(upto, self.hard_state.settled().paxos.promised, self.is_stuck());
        if freed.is_empty() {
            return None;
        }
        self.spare.extend(freed);
        // One that is being renamed is lower than these: should that be refused, it must not be left behind alone.
        let is_one_under_way = matches!(self.supply.asked, Some(Source::Spare(_)));
        while self.spare.len() > SPARE_SEGMENTS_MAX && !is_one_under_way {
            effects.extend(self.spare.pop_first().map(|segment| Effect::RemoveSegment { segment }));
        }
        Some(self.journal.trimmed_upto())
    }

    /// Whether segments would be given up if nothing up to `upto` were needed.
    pub(super) fn would_trim(&self, upto: Slot) -> bool {
        self.journal.would_trim(upto, self.hard_state.settled().paxos.promised, self.is_stuck())
    }

    pub(super) fn append(&mut self, sequence: u64, record: AcceptedRecord) {
        let appended = self.journal.append(record);
        assert_eq!(appended, sequence, "Paxos and the journal count the same records");
    }

    pub(super) fn save_hard_state(&mut self, version: u64, state: HardState) {
        self.hard_state.save(version, state);
    }

    pub(super) fn segment_ready(&mut self, segment: SegmentId) {
        self.journal.segment_ready(segment);
        self.supply = Supply::default();
    }

    /// The disk had no room for the segment that was asked for, not even for a name; what it was to be made of is as before.
    pub(super) fn no_room(&mut self, now: Instant) {
        let source = self.supply.asked.take().expect("only what was asked for is refused");
        if let Source::Spare(from) = source {
            self.spare.insert(from);
        }
        let even_a_name = source != Source::New;
        self.supply.refused = Some(Refused { even_a_name, until: now + ROOM_LOOKED_FOR_EVERY });
    }

    /// The write with that token is durable.
    pub(super) fn written(&mut self, now: Instant, token: u64, paxos: &mut Paxos, outputs: &mut Vec<Output>) {
        self.under_way -= 1;
        if token & HARD_STATE_BIT != 0 {
            let version = self.hard_state.completed(token & !HARD_STATE_BIT);
            self.journal.hard_state_durable(self.hard_state.durable_sequence());
            if let Some(version) = version {
                paxos.hard_state_durable(now, version, outputs);
            }
        } else if let Some(sequence) = self.journal.completed(now, token) {
            paxos.durable(now, sequence, outputs);
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.journal.tick(now);
    }

    pub(super) fn next_deadline(&self) -> Instant {
        let waiting =
            self.supply.refused.filter(|_| self.supply.asked.is_none() && self.segment_to_ask_for().is_some());
        self.journal.next_deadline().min(waiting.map_or(Instant::FOREVER, |refused| refused.until))
    }

    /// Hands out every write that may be under way.
    pub(super) fn writes(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.hard_state_writes(effects);
        self.journal_writes(effects);
        self.supply(now, effects);
    }

    /// Hands out the hard state's alone.
    pub(super) fn hard_state_writes(&mut self, effects: &mut Vec<Effect>) {
        while let Some(write) = self.hard_state.next_write() {
            self.under_way += 1;
            effects.push(Effect::Write {
                token: write.id | HARD_STATE_BIT,
                file: DiskFile::HardState,
                offset: write.offset,
                pieces: write.pieces,
            });
        }
    }

    fn journal_writes(&mut self, effects: &mut Vec<Effect>) {
        while let Some(write) = self.journal.next_write() {
            self.under_way += 1;
            effects.push(Effect::Write {
                token: write.id,
                file: DiskFile::Segment(write.segment),
                offset: write.offset,
                pieces: write.pieces,
            });
        }
    }

    /// Has the next segment made ready if one is wanted: of a file that was given up, or a new one.
    fn supply(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.supply.asked.is_some() {
            return;
        }
        let Some((segment, source)) = self.segment_to_ask_for() else { return };
        // What was given up since a new file was refused needs a name alone.
        let hopeless = |refused: Refused| refused.even_a_name || source == Source::New;
        if self.supply.refused.is_some_and(|refused| now < refused.until && hopeless(refused)) {
            return;
        }
        self.supply.asked = Some(source);
        effects.push(match source {
            Source::New => Effect::PrepareSegment { segment },
            Source::Spare(from) => {
                self.spare.remove(&from);
                Effect::RecycleSegment { from, segment }
            }
        });
    }

    /// The next segment, if one is wanted and may be had, and what to make it of.
    fn segment_to_ask_for(&self) -> Option<(SegmentId, Source)> {
        let segment = self.journal.segment_wanted()?;
        match self.spare.first() {
            Some(from) => Some((segment, Source::Spare(*from))),
            None => (self.allowed_segments() > 0).then_some((segment, Source::New)),
        }
    }

    /// How many segments can be had beside those that hold something or stand ready.
    fn further_segments(&self) -> u64 {
        let allowed = self.allowed_segments();
        match self.supply.refused {
            None => allowed,
            Some(Refused { even_a_name: true, .. }) => 0,
            Some(_) => allowed.min(self.spare.len() as u64),
        }
    }

    fn allowed_segments(&self) -> u64 {
        let segment = self.journal.segment_bytes();
        (self.bytes_max / segment).saturating_sub(self.journal.used_bytes() / segment)
    }

    /// Where the values of these slots lie, as far as they are known.
    pub(super) fn read_log(&self, to: ReplicaId, from: Slot, upto: Slot, effects: &mut Vec<Effect>) {
        let places = (from.0..=upto.0).map_while(|slot| self.journal.place_of(Slot(slot))).collect();
        effects.push(Effect::ReadLog { to, from, places });
    }
}

/// Tokens of hard-state writes carry this bit; the journal's writes count up from 1 and never reach it.
const HARD_STATE_BIT: u64 = 1 << 62;

/// A disk without room for a segment is asked again so often.
const ROOM_LOOKED_FOR_EVERY: Duration = Duration::from_secs(1);

/// Files kept to become segments again: a burst is served without writing zeros.
const SPARE_SEGMENTS_MAX: usize = 4;

#[cfg(test)]
mod tests;
