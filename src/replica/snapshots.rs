//! Images for a copy outside the cell: who is trusted may fetch one.
//!
//! A client names the revision that the copy must hold; it knows one that it was told at a read point. It asks again until
//! that revision is applied here; if the newest image is older, one is taken then, unless somebody is fetching one: that one
//! should stay until it is fetched. The pieces go out of the file, one at a time and for so many clients at once
//! ([`READS_MAX`]), as they do to a peer (`transfer`); who asks for an image that newer ones have replaced begins again.
//!
//! An image holds every node, whatever its access list, and every session's secret: see [`Trust`](super::exchange::Trust).
//! The list that hid something may be gone, and the image of before not: so anybody is lent only what was taken since no node
//! has had one, or since this replica started, as it does not know how it was before. If there is none yet, one is taken.

use bytes::Bytes;

use super::Replica;
use super::exchange::{Borrower, Effect, FrontId, FrontNotice, Trust};
use crate::namespace::command::Revision;
use crate::paxos::Slot;
use crate::time::Instant;
use crate::wire::snapshots::{SnapshotAnswer, SnapshotQuestion};

/// What clients want of the images.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// The newest image is to hold that revision, which is applied, and to be of that slot at least.
    wanted: Option<(Revision, Slot)>,
    /// Images from there on were taken while no node had a list, as far as this replica saw.
    open_from: Slot,
    /// Pieces that are being read for clients.
    reading: usize,
}

impl Snapshots {
    /// At the start that much is applied, and (`guarded`) some node has a list.
    pub(super) fn new(applied_upto: Slot, guarded: bool) -> Self {
        let open_from = if guarded { applied_upto.next() } else { applied_upto };
        Self { wanted: None, open_from, reading: 0 }
    }

    /// That slot is applied too.
    pub(super) fn applied(&mut self, slot: Slot, guarded: bool) {
        if guarded {
            self.open_from = slot.next();
        }
    }

    /// From where on images are lent to somebody who may have any.
    fn lent_from(&self, trust: Trust) -> Slot {
        if trust == Trust::Super { Slot(0) } else { self.open_from }
    }

    /// The newest image shall be such.
    fn want(&mut self, revision: Revision, from: Slot) {
        let (one, other) = self.wanted.unwrap_or_default();
        self.wanted = Some((one.max(revision), other.max(from)));
    }
}

impl Replica {
    /// A client asks for an image, or for a piece of one.
    pub(super) fn snapshot(
        &mut self,
        now: Instant,
        (front, ticket, trust): (FrontId, u64, Trust),
        question: SnapshotQuestion,
        effects: &mut Vec<Effect>,
    ) {
        let revision = self.namespace.revision();
        let lent_from = self.snapshots.lent_from(trust);
        let answer = match question {
            _ if !self.trusts(trust) => SnapshotAnswer::NotAuthorized,
            SnapshotQuestion::Image { at_least } => match self.image_with(at_least, lent_from) {
                Some(image) => SnapshotAnswer::Image { image },
                None => {
                    // What is not applied may never be: nobody's wish for it stands before another's.
                    if at_least <= revision {
                        self.snapshots.want(at_least, lent_from);
                    }
                    SnapshotAnswer::NotYet { revision }
                }
            },
            SnapshotQuestion::Piece { image, .. } if image < lent_from || !self.images.kept().contains_key(&image) => {
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
        self.snapshots.wanted.is_some_and(|(revision, from)| self.image_with(revision, from).is_none())
    }

    /// The newest image, if it holds that revision and is of that slot at least.
    fn image_with(&self, revision: Revision, from: Slot) -> Option<Slot> {
        let newest = self.images.newest()?;
        let held = if newest == self.applied_upto { self.namespace.revision() } else { self.images.newest_revision() };
        (held >= revision && newest >= from).then_some(newest)
    }
}

/// Pieces read for clients at once: a disk's worth of work, and a little memory.
const READS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anybody_is_lent_only_what_was_taken_since_no_node_had_a_list() {
        let lent_from = |snapshots: &Snapshots| snapshots.lent_from(Trust::Anybody);
        let mut snapshots = Snapshots::new(Slot(7), false);
        assert_eq!(lent_from(&snapshots), Slot(7), "what was before the start is not known");
        snapshots.applied(Slot(8), false);
        assert_eq!(lent_from(&snapshots), Slot(7));
        snapshots.applied(Slot(9), true);
        snapshots.applied(Slot(10), true);
        snapshots.applied(Slot(11), false);
        assert_eq!(lent_from(&snapshots), Slot(11), "the list went with slot 11");
        assert_eq!(lent_from(&Snapshots::new(Slot(7), true)), Slot(8));
        assert_eq!(snapshots.lent_from(Trust::Super), Slot(0));
        snapshots.want(3, Slot(11));
        snapshots.want(5, Slot(0));
        assert_eq!(snapshots.wanted, Some((5, Slot(11))), "an image serves all who wait for one");
    }
}
