//! What the replica has on disk: the journal and the hard state, as one.
//!
//! Both speak in writes that become durable; this module gives the writes their tokens and takes the answers apart again.
//!
//! The journal writes only to files that are there in full, so a disk without room is met when the next segment is to be
//! made, with at least one still to be filled. From then on nothing is admitted that can be refused, what cannot be goes
//! into that last segment, and the disk is asked again every so often ([`Supply`]).

use std::collections::BTreeSet;

use super::digests::Digests;
use super::exchange::{DiskFile, Effect};
use crate::journal::hard_state::{HardStateFile, ImagePointer};
use crate::journal::{Identity, Journal, SegmentId};
use crate::namespace::Namespace;
use crate::paxos::{self, AcceptedRecord, Configs, HardState, Output, Paxos, ReplicaId, Slot};
use crate::time::{Duration, Instant};

/// What the disk told at the start.
#[derive(Debug)]
pub struct Recovered {
    /// For Paxos.
    pub paxos: paxos::Recovered,
    /// The state after every slot that is known to be chosen.
    pub namespace: Namespace,
    /// The slots of the one or two images to be kept: the one it was loaded from, and the one before that.
    pub images: Vec<Slot>,
    /// How large the log may grow.
    pub bounds: Bounds,
    /// What lies still is read once in it, if at all.
    pub scrub_period: Option<Duration>,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Supply {
    /// It is had for the asking, as far as is known.
    Open,
    /// It was asked for.
    Asked,
    /// The disk had no room for it; it is asked for again then.
    Refused(Instant),
    /// It was asked for again.
    AskedAgain,
}

impl Supply {
    fn asked(self) -> Self {
        if self.is_dry() { Self::AskedAgain } else { Self::Asked }
    }

    /// Whether the disk had no room the last time.
    const fn is_dry(self) -> bool {
        matches!(self, Self::Refused(_) | Self::AskedAgain)
    }
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
            supply: Supply::Open,
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

    /// Whether the disk has no room for a further segment.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.supply.is_dry()
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

    pub(super) fn save_fetched(&mut self, image: ImagePointer, configs: Configs) {
        self.hard_state.save_fetched(image, configs);
    }

    /// Whether no write is under way, and the hard state has none to hand out.
    pub(super) fn is_at_rest(&self) -> bool {
        self.under_way == 0 && self.hard_state.is_idle()
    }

    pub(super) fn image_is_durable(&self, image: ImagePointer) -> bool {
        self.hard_state.settled().image == Some(image)
    }

    /// Gives up segments that hold nothing above `upto`. Returns the highest slot that went.
    pub(super) fn trim(&mut self, upto: Slot, effects: &mut Vec<Effect>) -> Option<Slot> {
        let freed = self.journal.trim(upto, self.hard_state.settled().paxos.promised, self.is_stuck());
        if freed.is_empty() {
            return None;
        }
        self.spare.extend(freed);
        while self.spare.len() > SPARE_SEGMENTS_MAX {
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
        self.supply = Supply::Open;
    }

    /// The disk had no room for the segment that was asked for.
    pub(super) fn no_room(&mut self, now: Instant) {
        self.supply = Supply::Refused(now + ROOM_LOOKED_FOR_EVERY);
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
        let asked_again = if let Supply::Refused(until) = self.supply { until } else { Instant::FOREVER };
        self.journal.next_deadline().min(asked_again)
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
        if matches!(self.supply, Supply::Asked | Supply::AskedAgain) {
            return;
        }
        let Some(segment) = self.journal.segment_wanted() else { return };
        let may_ask = if let Supply::Refused(until) = self.supply { now >= until } else { true };
        if let Some(from) = self.spare.pop_first() {
            self.supply = self.supply.asked();
            effects.push(Effect::RecycleSegment { from, segment });
        } else if may_ask && self.allowed_segments() > 0 {
            self.supply = self.supply.asked();
            effects.push(Effect::PrepareSegment { segment });
        }
    }

    /// How many segments can be had beside those that hold something or stand ready.
    fn further_segments(&self) -> u64 {
        let allowed = self.allowed_segments();
        if self.supply.is_dry() { allowed.min(self.spare.len() as u64) } else { allowed }
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
