//! Images of the state machine, and what they are for: the log may be given up behind them.
//!
//! 1. When the journal holds [`Bounds::image_after_bytes`](super::Bounds) beyond the newest image, an image of the namespace is begun at
//!    the end of a turn, as of the slot applied then. Writes go on; the namespace keeps aside what they change.
//! 2. Each turn hands out one piece at most, [`PIECE_EVERY`] apart, to be appended to a file under a partial name. When
//!    all are written the file is made durable and gets its name.
//! 3. Then, and once every record up to the image's slot is durable too, the hard state points to it. The member list goes
//!    along in the same block: a restart misses neither.
//! 4. When that is durable the two newest images are kept and the older ones removed. The journal goes back to the *older*
//!    of the two, so that a damaged image costs a longer replay and nothing else; that slot is what the others are told
//!    ([`Paxos::set_image_upto`](crate::paxos::Paxos::set_image_upto)).
//! 5. Segments below what every member has told are given up; past [`Bounds::keep_bytes`](super::Bounds) those that a
//!    member may still ask for too, since an image can be sent to it. Their files become the next segments by a rename: blocks
//!    that were written once are overwritten at the price of the data alone.
//!
//! `trimmed_upto <= the older image <= the newer image <= applied_upto`, at every moment and after every crash.

use bytes::Bytes;

use super::exchange::Effect;
use super::image_file::{ImageHead, ImageWriter};
use super::{Bounds, Replica, Storage};
use crate::journal::hard_state::ImagePointer;
use crate::paxos::Slot;
use crate::time::{Duration, Instant};

/// The images of a running replica.
#[derive(Debug)]
pub(super) struct Images {
    bounds: Bounds,
    /// How much log this start found beyond the newest image.
    found_bytes: u64,
    /// Bytes of log when the last image was begun, those found at the start included.
    begun_bytes: u64,
    /// Whole, durable, and pointed to once; at most two, the older one first.
    kept: Vec<Slot>,
    /// Where the hard state pointed to at the start: images only move forward.
    floor: Slot,
    taking: Option<Taking>,
}

/// An image on its way.
#[derive(Debug)]
struct Taking {
    pointer: ImagePointer,
    writer: ImageWriter,
    /// Records up to that number were appended when it was begun.
    appended: u64,
    /// Pieces handed out and not yet written.
    unanswered: usize,
    next_piece_at: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Rows are handed out.
    Rows,
    /// All are; the file is being made durable.
    Finishing,
    /// The file is there. The records that lead to it may not be.
    Whole,
    /// The hard state is being written.
    Pointing,
}

impl Images {
    /// `kept` as the start found them.
    pub(super) fn new(bounds: Bounds, kept: Vec<Slot>, storage: &Storage) -> Self {
        assert!(kept.len() <= 2 && kept.is_sorted(), "the two newest images are kept");
        let newest = kept.last().copied().unwrap_or_default();
        let found_bytes = storage.journal().bytes_beyond(newest);
        Self { bounds, found_bytes, begun_bytes: 0, kept, floor: storage.image_upto(), taking: None }
    }

    /// A piece is written.
    pub(super) fn written(&mut self, slot: Slot) {
        let taking = self.taking.as_mut().filter(|taking| taking.pointer.slot == slot);
        let taking = taking.expect("only a piece handed out is written");
        taking.unanswered -= 1;
    }

    /// The file is whole and durable under its name.
    pub(super) fn durable(&mut self, slot: Slot) {
        let taking = self.taking.as_mut().expect("only an image on its way becomes durable");
        assert!(taking.pointer.slot == slot && taking.stage == Stage::Finishing, "a file is finished once");
        taking.stage = Stage::Whole;
    }

    /// When the next piece is due.
    pub(super) fn next_deadline(&self) -> Instant {
        match &self.taking {
            Some(taking) if taking.stage == Stage::Rows && taking.unanswered < PIECES_UNANSWERED_MAX => {
                taking.next_piece_at
            }
            _ => Instant::FOREVER,
        }
    }

    /// A restart begins there or above: even with the newest image damaged.
    pub(super) fn sure_upto(&self) -> Slot {
        match self.kept[..] {
            [.., newest] if cfg!(bug = "08") => newest,
            [older, _] => older,
            _ => Slot(0),
        }
    }

    /// Whole and durable; the newest last.
    pub(super) fn kept(&self) -> &[Slot] {
        &self.kept
    }

    fn newest(&self) -> Slot {
        self.kept.last().copied().unwrap_or_default()
    }
}

impl Replica {
    /// Does what is due for images and for the log behind them. Called at the end of a turn.
    pub(super) fn tend_images(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Bounds { image_after_bytes, journal_bytes_max, keep_bytes } = self.images.bounds;
        // What a peer fetches it should still find the log behind.
        let lent = now < self.transfer.lent_until;
        let after = if lent { image_after_bytes.max(journal_bytes_max / 4) } else { image_after_bytes };
        let due = self.log_bytes() - self.images.begun_bytes >= after && !self.transfer.is_fetching();
        // The hard state may know of later slots than were applied since the start.
        let known = self.images.newest().max(self.images.floor).max(self.storage.about().1.configs.newest_slot());
        if due && self.images.taking.is_none() && self.applied_upto > known {
            self.begin_image(now, effects);
        }
        if now >= self.images.next_deadline() {
            self.hand_out_piece(now, effects);
        }
        self.adopt_image(effects);
        let sure = self.images.sure_upto();
        let short = self.storage.journal().used_bytes() <= keep_bytes;
        let upto = if short { sure.min(self.paxos.trim_upto()) } else { sure };
        if let Some(trimmed_upto) = self.storage.trim(upto, effects) {
            self.paxos.trimmed(trimmed_upto);
        }
    }

    fn log_bytes(&self) -> u64 {
        self.images.found_bytes + self.storage.journal().handed_bytes()
    }

    fn begin_image(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.images.begun_bytes = self.log_bytes();
        let (slot, revision) = (self.applied_upto, self.namespace.begin_image());
        effects.push(Effect::BeginImage { slot });
        let (identity, state) = self.storage.about();
        let head = ImageHead { identity, slot, revision, configs: state.configs.clone() };
        let mut writer = ImageWriter::default();
        let bytes = writer.head(&head);
        effects.push(Effect::ImagePiece { slot, bytes });
        self.images.taking = Some(Taking {
            pointer: ImagePointer { slot, revision, file: slot.0 },
            writer,
            appended: self.storage.journal().appended_upto(),
            unanswered: 1,
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
            taking.stage = Stage::Finishing;
            effects.push(Effect::FinishImage { slot });
        }
    }

    /// Moves a whole image on: to the hard state, and once that is durable into use.
    fn adopt_image(&mut self, effects: &mut Vec<Effect>) {
        let Some(taking) = &mut self.images.taking else { return };
        let pointer = taking.pointer;
        if taking.stage == Stage::Whole && self.storage.journal().appended_durable_upto() >= taking.appended {
            taking.stage = Stage::Pointing;
            self.storage.save_image(pointer);
        }
        if taking.stage == Stage::Pointing && self.storage.image_is_durable(pointer) {
            self.images.taking = None;
            self.images.kept.push(pointer.slot);
            if self.images.kept.len() > 2 {
                effects.push(Effect::RemoveImage { slot: self.images.kept.remove(0) });
            }
            self.paxos.set_image_upto(self.images.sure_upto());
        }
    }
}

/// A piece ends soon after so many bytes: they are encoded in a small part of [`PIECE_EVERY`].
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// Between two pieces: an image takes its time, not the writers'.
const PIECE_EVERY: Duration = Duration::from_millis(1);

/// Pieces that wait for the disk: a slow one makes a long image, not a large memory.
const PIECES_UNANSWERED_MAX: usize = 4;
