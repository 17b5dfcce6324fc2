//! Images for a copy outside the cell: whoever connects to a front may fetch one.
//!
//! A client names the revision that the copy must hold; it knows one that it was told at a read point. It asks again until
//! that revision is applied here; if the newest image is older, one is taken then, unless somebody is fetching one: that one
//! should stay until it is fetched. The pieces go out of the file, one at a time and for so many clients at once
//! ([`READS_MAX`]), as they do to a peer (`transfer`); who asks for an image that newer ones have replaced begins again.

use bytes::Bytes;

use super::Replica;
use super::exchange::{Borrower, Effect, FrontId, FrontNotice};
use crate::namespace::command::Revision;
use crate::paxos::Slot;
use crate::time::Instant;
use crate::wire::snapshots::{SnapshotAnswer, SnapshotQuestion};

/// What clients want of the images.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// The newest image is to hold it; it is applied.
    wanted: Option<Revision>,
    /// Pieces that are being read for clients.
    reading: usize,
}

impl Replica {
    /// A client asks for an image, or for a piece of one.
    pub(super) fn snapshot(
        &mut self,
        now: Instant,
        (front, ticket): (FrontId, u64),
        question: SnapshotQuestion,
        effects: &mut Vec<Effect>,
    ) {
        let revision = self.namespace.revision();
        let answer = match question {
            SnapshotQuestion::Image { at_least } => match self.image_with(at_least) {
                Some(image) => SnapshotAnswer::Image { image },
                None => {
                    // What is not applied may never be: nobody's wish for it stands before another's.
                    let wanted = Some(at_least).filter(|wanted| *wanted <= revision);
                    self.snapshots.wanted = self.snapshots.wanted.max(wanted);
                    SnapshotAnswer::NotYet { revision }
                }
            },
            SnapshotQuestion::Piece { image, .. } if !self.images.kept().contains(&image) => {
                SnapshotAnswer::Gone { image }
            }
            SnapshotQuestion::Piece { .. } if self.snapshots.reading >= READS_MAX => {
                SnapshotAnswer::NotYet { revision }
            }
            SnapshotQuestion::Piece { image, offset } => {
                self.snapshots.reading += 1;
                return self.read_image(now, Borrower::Front(front, ticket), (image, offset), effects);
            }
        };
        effects.push(Effect::Front { front, notice: FrontNotice::Snapshot { ticket, answer } });
    }

    /// The piece for a client is read.
    pub(super) fn hand_to_client(
        &mut self,
        (front, ticket): (FrontId, u64),
        (image, offset): (Slot, u64),
        bytes: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        self.snapshots.reading -= 1;
        let answer = SnapshotAnswer::Piece { image, offset, bytes };
        effects.push(Effect::Front { front, notice: FrontNotice::Snapshot { ticket, answer } });
    }

    /// Whether an image is wanted that holds more than the newest.
    pub(super) fn is_snapshot_wanted(&self) -> bool {
        self.snapshots.wanted.is_some_and(|wanted| self.image_with(wanted).is_none())
    }

    /// The newest image, if it holds that revision.
    fn image_with(&self, revision: Revision) -> Option<Slot> {
        let newest = self.images.kept().last().copied()?;
        let held = if newest == self.applied_upto { self.namespace.revision() } else { self.images.newest_revision() };
        (held >= revision).then_some(newest)
    }
}

/// Pieces read for clients at once: a disk's worth of work, and a little memory.
const READS_MAX: usize = 4;
