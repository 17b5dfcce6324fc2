//! What the replica has on disk: the journal and the hard state, as one.
//!
//! Both speak in writes that become durable; this module gives the writes their tokens and takes the answers apart again.

use std::collections::BTreeSet;

use super::exchange::{DiskFile, Effect};
use crate::journal::hard_state::{HardStateFile, ImagePointer};
use crate::journal::{Identity, Journal, SegmentId};
use crate::namespace::Namespace;
use crate::paxos::{self, AcceptedRecord, Configs, HardState, Output, Paxos, ReplicaId, Slot};
use crate::time::Instant;

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
    wanted: Option<SegmentId>,
    /// Writes handed out and not yet durable.
    under_way: usize,
    /// Segments that were given up and whose files are still there. The lowest goes first, so that after a crash what is
    /// left of them still joins the log.
    spare: BTreeSet<SegmentId>,
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
            wanted: None,
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
        let segment = self.journal.segment_bytes();
        self.journal.free_bytes() + self.further_segments() * segment >= segment + bytes
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
        let freed = self.journal.trim(upto, self.hard_state.settled().paxos.promised);
        if freed.is_empty() {
            return None;
        }
        self.spare.extend(freed);
        while self.spare.len() > SPARE_SEGMENTS_MAX {
            effects.extend(self.spare.pop_first().map(|segment| Effect::RemoveSegment { segment }));
        }
        Some(self.journal.trimmed_upto())
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
        self.wanted = None;
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
        self.journal.next_deadline()
    }

    /// Hands out every write that may be under way.
    pub(super) fn writes(&mut self, effects: &mut Vec<Effect>) {
        self.hard_state_writes(effects);
        self.journal_writes(effects);
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
        if self.wanted.is_none()
            && let Some(segment) = self.journal.segment_wanted()
        {
            if let Some(from) = self.spare.pop_first() {
                self.wanted = Some(segment);
                effects.push(Effect::RecycleSegment { from, segment });
            } else if self.further_segments() > 0 {
                self.wanted = Some(segment);
                effects.push(Effect::PrepareSegment { segment });
            }
        }
    }

    /// How many segments there may be beside those that hold something or stand ready.
    fn further_segments(&self) -> u64 {
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

/// Files kept to become segments again: a burst is served without writing zeros.
const SPARE_SEGMENTS_MAX: usize = 4;
