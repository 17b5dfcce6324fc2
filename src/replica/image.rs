//! Images of the state machine, and what they are for: the log may be given up behind them.
//!
//! 1. When the journal holds [`Bounds::image_after_bytes`](super::Bounds) beyond the newest image, an image of the namespace is begun at
//!    the end of a turn, as of the slot applied then. Writes go on; the namespace keeps aside what they change.
//! 2. Each turn hands out one piece at most, [`PIECE_EVERY`] apart, to be appended to a file under a partial name. The last
//!    says the hash of all before it (`image_file`). When all are written the file is made durable and gets its name.
//! 3. Then the hard state points to it. The member list goes along in the same block: a restart misses neither. The records
//!    up to the image's slot are durable by then, or wait for room, which the image itself is to make: it does not wait for
//!    them, and the hard state says whether the log leads to it.
//! 4. When that is durable the two newest images are kept and the older ones removed. The journal goes back to the *older*
//!    of the two, so that a damaged image costs a longer replay and nothing else; that slot is what the others are told
//!    ([`Paxos::set_image_upto`](crate::paxos::Paxos::set_image_upto)).
//! 5. When the log has hardly room left, an image is begun whatever the log has grown by, if it helps to trim. If the newest
//!    holds all there is already and only the older one stands in the way, the leader adds an entry without content, so
//!    that there is something to take a newer one of; a follower asks the leader for one. When not even what waits to be written finds room, the log is given
//!    up to the newest image: should that one be damaged, the older one and the other replicas remain.
//! 6. An image is begun for a copy outside the cell, too (`snapshots`); and one after the other, until both end behind what
//!    was found damaged (`scrub`). One that was fetched or restored, which the log does not lead to, soon gets a second:
//!    a start does not hang on a single file.
//! 7. Segments below what every member has told are given up; past [`Bounds::keep_bytes`](super::Bounds), and when room is short, those
//!    that a member may still ask for too, since an image can be sent to it. Their files become the next segments by a rename: blocks
//!    that were written once are overwritten at the price of the data alone.
//!
//! An image that finds no room on the disk is dropped, what was kept aside for it is let go, and it is begun anew
//! [`AGAIN_AFTER`] that. Nothing rests on it: the log behind the images before it is all there.
//!
//! `trimmed_upto <= the older image <= the newer image <= applied_upto`, at every moment and after every crash.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::exchange::Effect;
use super::image_file::{ImageHead, ImageWriter};
use super::{Bounds, Replica, Storage};
use crate::journal::hard_state::ImagePointer;
use crate::namespace::command::Revision;
use crate::paxos::{Slot, Value};
use crate::time::{Duration, Instant};
use crate::wire::peer::PeerMessage;

/// The images of a running replica.
#[derive(Debug)]
pub(super) struct Images {
    bounds: Bounds,
    /// How much log this start found beyond the newest image.
    found_bytes: u64,
    /// Bytes of log when the last image was begun, those found at the start included.
    begun_bytes: u64,
    /// Whole, durable, and pointed to once; at most two, each with the bytes of its file.
    kept: BTreeMap<Slot, u64>,
    /// The revision of the newest; 0 if that is not known.
    newest_revision: Revision,
    /// A restart begins there or above: even with the newest image damaged, unless there was no room for so much log.
    sure_upto: Slot,
    /// Where the hard state pointed to at the start: images only move forward.
    floor: Slot,
    taking: Option<Taking>,
    /// There was no room for the last one; it is begun anew then.
    again_at: Option<Instant>,
    /// The leader was asked for an entry, and is not before then.
    entry_again_at: Option<Instant>,
}

/// An image on its way.
#[derive(Debug)]
struct Taking {
    pointer: ImagePointer,
    writer: ImageWriter,
    /// Records up to that number were appended when it was begun.
    appended: u64,
    /// What was asked of the file and is not yet answered: its pieces, and its end.
    unanswered: usize,
    /// [`Images::begun_bytes`] before it was begun.
    begun_before: u64,
    next_piece_at: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Rows are handed out.
    Rows,
    /// All are; the file is being made durable.
    Finishing,
    /// The file is there.
    Whole,
    /// The hard state is being written.
    Pointing,
    /// There is no room for it.
    Refused,
}

impl Images {
    /// `kept` as the start found them.
    pub(super) fn new(bounds: Bounds, kept: BTreeMap<Slot, u64>, storage: &Storage) -> Self {
        assert!(kept.len() <= 2, "the two newest images are kept");
        let newest = kept.keys().next_back().copied().unwrap_or_default();
        let found_bytes = storage.journal().bytes_beyond(newest);
        let sure_upto = older_of(&kept);
        let pointed_to = storage.image().filter(|image| image.slot == newest);
        let newest_revision = pointed_to.map_or(0, |image| image.revision);
        Self {
            bounds,
            found_bytes,
            begun_bytes: 0,
            kept,
            newest_revision,
            sure_upto,
            floor: storage.image_upto(),
            taking: None,
            again_at: None,
            entry_again_at: None,
        }
    }

    /// A piece is written.
    pub(super) fn written(&mut self, slot: Slot) {
        self.answered(slot);
    }

    /// There was no room for a piece, or for the end.
    pub(super) fn refused(&mut self, slot: Slot) {
        self.answered(slot).stage = Stage::Refused;
    }

    /// The file is whole and durable under its name.
    pub(super) fn durable(&mut self, slot: Slot) {
        let taking = self.answered(slot);
        assert!(taking.stage == Stage::Finishing, "a file is finished once");
        taking.stage = Stage::Whole;
    }

    fn answered(&mut self, slot: Slot) -> &mut Taking {
        let taking = self.taking.as_mut().filter(|taking| taking.pointer.slot == slot);
        let taking = taking.expect("only what was asked for an image on its way is answered");
        taking.unanswered -= 1;
        taking
    }

    /// When the next piece is due, an image that found no room, or an entry that did not come.
    pub(super) fn next_deadline(&self) -> Instant {
        let waits = [self.again_at, self.entry_again_at];
        waits.into_iter().flatten().fold(self.piece_due(), Instant::min)
    }

    fn piece_due(&self) -> Instant {
        match &self.taking {
            Some(taking) if taking.stage == Stage::Rows && taking.unanswered < PIECES_UNANSWERED_MAX => {
                taking.next_piece_at
            }
            _ => Instant::FOREVER,
        }
    }

    /// A restart begins there or above.
    pub(super) fn sure_upto(&self) -> Slot {
        self.sure_upto
    }

    /// Whole and durable, each with the bytes of its file; the newest last.
    pub(super) fn kept(&self) -> &BTreeMap<Slot, u64> {
        &self.kept
    }

    /// The last of them.
    pub(super) fn newest(&self) -> Option<Slot> {
        self.kept.keys().next_back().copied()
    }

    pub(super) fn newest_revision(&self) -> Revision {
        self.newest_revision
    }
}

impl Replica {
    /// Does what is due for images and for the log behind them. Called at the end of a turn.
    pub(super) fn tend_images(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.images.again_at.take_if(|at| *at <= now);
        self.images.entry_again_at.take_if(|at| *at <= now);
        if self.images.taking.is_none() && self.images.again_at.is_none() && !self.transfer.is_fetching() {
            self.begin_image_if_due(now, effects);
        }
        if now >= self.images.piece_due() {
            self.hand_out_piece(now, effects);
        }
        self.drop_refused_image(now, effects);
        self.adopt_image(effects);
        if self.storage.is_stuck() {
            self.rely_on(self.images.newest().unwrap_or_default());
        }
        if let Some(trimmed_upto) = self.storage.trim(self.needless_upto(self.images.sure_upto()), effects) {
            self.paxos.trimmed(trimmed_upto);
        }
    }

    fn begin_image_if_due(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Bounds { image_after_bytes, journal_bytes_max, .. } = self.images.bounds;
        // What a peer fetches it should still find the log behind.
        let lent = now < self.transfer.lent_until;
        let after = if lent { image_after_bytes.max(journal_bytes_max / 4) } else { image_after_bytes };
        let grown = self.log_bytes() - self.images.begun_bytes >= after;
        let wanted = self.is_short_for_want_of_an_image() || (self.is_snapshot_wanted() && !lent);
        let repair_upto = self.scrub.repair_upto();
        let mends = self.images.sure_upto < repair_upto;
        // The hard state may know of later slots than were applied since the start.
        let newest = self.images.newest().unwrap_or_default();
        let known = newest.max(self.images.floor).max(self.storage.about().1.configs.newest_slot());
        if self.applied_upto > known && (grown || wanted || mends && self.applied_upto >= repair_upto) {
            self.begin_image(now, effects);
        } else if (wanted || mends) && self.applied_upto >= known && !cfg!(bug = "35") {
            self.want_an_entry(now, effects);
        }
    }

    /// Whether the log has hardly room left, and would have more if the images held all that is applied.
    fn is_short_for_want_of_an_image(&self) -> bool {
        self.storage.is_short() && self.storage.would_trim(self.applied_upto)
    }

    /// Has the log go on, though nobody writes: there is something to take a further image of then, and to compare.
    pub(super) fn want_an_entry(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match self.leader {
            Some((leader, _)) if leader != self.me => {
                if self.images.entry_again_at.is_none() {
                    self.images.entry_again_at = Some(now + ENTRY_AGAIN_AFTER);
                    effects.push(Effect::Peer { to: leader, message: PeerMessage::EntryWanted });
                }
            }
            _ => self.add_an_entry(now, effects),
        }
    }

    /// If this replica leads: adds an entry without content. Where writers keep one under way all the time, it goes beside
    /// that one.
    pub(super) fn add_an_entry(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.paxos.is_leading() && self.paxos.can_propose() && self.paxos.in_flight() <= 1 {
            self.paxos.propose(now, Value::noop(), &mut self.outputs);
            self.drain(now, effects);
        }
    }

    /// How much of the log up to `sure`, where this replica starts again or above, nobody else needs.
    fn needless_upto(&self, sure: Slot) -> Slot {
        let kept_for_others = self.storage.journal().used_bytes() <= self.images.bounds.keep_bytes;
        if kept_for_others && !self.storage.is_short() { sure.min(self.paxos.trim_upto()) } else { sure }
    }

    fn log_bytes(&self) -> u64 {
        self.images.found_bytes + self.storage.journal().handed_bytes()
    }

    fn begin_image(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let log_bytes = self.log_bytes();
        let begun_before = std::mem::replace(&mut self.images.begun_bytes, log_bytes);
        let (slot, revision) = (self.applied_upto, self.namespace.begin_image());
        effects.push(Effect::BeginImage { slot });
        let (identity, state) = self.storage.about();
        let head = ImageHead { identity, slot, revision, configs: state.configs.clone() };
        let mut writer = ImageWriter::default();
        let bytes = writer.head(&head);
        effects.push(Effect::ImagePiece { slot, bytes });
        self.images.taking = Some(Taking {
            pointer: ImagePointer { slot, revision, is_led_to: false },
            writer,
            appended: self.storage.journal().appended_upto(),
            unanswered: 1,
            begun_before,
            next_piece_at: now,
            stage: Stage::Rows,
        });
    }

    fn hand_out_piece(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(taking) = &mut self.images.taking else { return };
        let slot = taking.pointer.slot;
        let mut hand_out = |taking: &mut Taking, bytes: Bytes| {
            taking.unanswered += 1;
            effects.push(Effect::ImagePiece { slot, bytes });
        };
        if let Some(rows) = self.namespace.image_rows(PIECE_BYTES) {
            let bytes = taking.writer.rows(&rows);
            hand_out(taking, bytes);
            taking.next_piece_at = now + PIECE_EVERY;
        }
        if !self.namespace.is_imaging() {
            let bytes = taking.writer.end();
            hand_out(taking, bytes);
            taking.unanswered += 1;
            taking.stage = Stage::Finishing;
            effects.push(Effect::FinishImage { slot });
        }
    }

    /// Lets go of an image for which there is no room, once nothing of it is under way any more.
    fn drop_refused_image(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let refused = |taking: &mut Taking| taking.stage == Stage::Refused && taking.unanswered == 0;
        let Some(taking) = self.images.taking.take_if(refused) else { return };
        self.namespace.end_image();
        self.images.begun_bytes = taking.begun_before;
        self.images.again_at = Some(now + AGAIN_AFTER);
        effects.push(Effect::DiscardImage { slot: taking.pointer.slot });
    }

    /// Moves a whole image on: to the hard state, and once that is durable into use.
    fn adopt_image(&mut self, effects: &mut Vec<Effect>) {
        let Some(taking) = &mut self.images.taking else { return };
        if taking.stage == Stage::Whole {
            taking.stage = Stage::Pointing;
            taking.pointer.is_led_to = self.storage.journal().appended_durable_upto() >= taking.appended;
            self.storage.save_image(taking.pointer);
        }
        let (pointer, bytes) = (taking.pointer, taking.writer.bytes());
        if taking.stage == Stage::Pointing && self.storage.image_is_durable(pointer) {
            self.images.taking = None;
            self.images.kept.insert(pointer.slot, bytes);
            self.images.newest_revision = pointer.revision;
            if self.images.kept.len() > 2 {
                effects.extend(self.images.kept.pop_first().map(|(slot, _)| Effect::RemoveImage { slot }));
            }
            self.rely_on(older_of(&self.images.kept));
        }
    }

    /// The log up to `slot` need not lead to the newest image any more.
    fn rely_on(&mut self, slot: Slot) {
        if slot > self.images.sure_upto {
            self.images.sure_upto = slot;
            self.paxos.set_image_upto(slot);
        }
    }
}

/// Where a restart begins if the newest image is damaged.
fn older_of(kept: &BTreeMap<Slot, u64>) -> Slot {
    let mut newest_first = kept.keys().rev();
    let newest = newest_first.next();
    let older = if cfg!(bug = "08") { newest } else { newest_first.next() };
    older.copied().unwrap_or_default()
}

/// A piece ends soon after so many bytes: they are encoded, packed and hashed in a small part of [`PIECE_EVERY`]. The hash is
/// of what they are packed to, and costs a fraction of the packing. A row is never divided: what one node or session holds,
/// up to some megabytes, is one piece, and takes milliseconds.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// Between two pieces: an image takes its time, not the writers'.
const PIECE_EVERY: Duration = Duration::from_millis(1);

/// An entry that was asked for comes within a moment, if the leader can add one at all.
const ENTRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A disk that had no room for an image is tried again after this: long enough to cost it little, short beside the time in
/// which a person makes room.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Pieces that wait for the disk: a slow one makes a long image, not a large memory.
const PIECES_UNANSWERED_MAX: usize = 4;
