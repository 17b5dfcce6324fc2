//! What the replica has done in the background, and what comes of it.
//!
//! A job that fails ends the process, as a write does: nobody knows what the disk holds then. Two things do not: a read of
//! blocks that the disk does not read, or of a file that went away, and a disk without room for a *new* file. Nothing that
//! was promised rests on either, so the replica hears of it, goes on with what it has, and tries again.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use super::core::Core;
use super::ends::disk_failed;
use super::failure::Failure;
use crate::journal::{Identity, Place, SegmentId};
use crate::limits::CATCH_UP_BYTES_MAX;
use crate::paxos::{ReplicaId, Slot, Value};
use crate::replica::exchange::{Borrower, Input};
use crate::runtime::background::{Background, Completion, Job, Outcome, is_for_want_of_room};
use crate::runtime::{Ring, disk};
use crate::time::Instant;

/// The background executor, and what it was asked, by ticket.
pub(super) struct Jobs {
    background: Background,
    asked: BTreeMap<u64, Asked>,
    last_ticket: u64,
}

/// A job of the background executor.
pub(super) enum Asked {
    Segment(SegmentId),
    /// The beginning of an image.
    ImageBegun,
    /// A piece of an image.
    ImagePiece(Slot),
    /// A piece of an image, for somebody else.
    ImageRead {
        to: Borrower,
        image: Slot,
        offset: u64,
    },
    /// An image's file.
    Image(Slot),
    /// Something that lies still.
    ReadBack,
    /// Nobody waits for it.
    Chore,
    /// Values for a peer far behind.
    Values {
        to: ReplicaId,
        from: Slot,
        places: Vec<Place>,
    },
}

impl Jobs {
    pub(super) fn new(background: Background) -> Self {
        Self { background, asked: BTreeMap::new(), last_ticket: 0 }
    }

    pub(super) fn ask(&mut self, asked: Asked, job: Job) {
        self.last_ticket += 1;
        self.asked.insert(self.last_ticket, asked);
        self.background.submit(self.last_ticket, job);
    }

    /// The process is to end, and not to wait for what is under way.
    pub(super) fn leave_behind(&mut self) {
        self.background.leave_behind();
    }

    fn take_ended(&mut self) -> Vec<(Asked, io::Result<Outcome>)> {
        let Self { background, asked, .. } = self;
        let of = |ticket: u64, asked: &mut BTreeMap<u64, Asked>| asked.remove(&ticket).expect("a job is answered once");
        background.completions().map(|Completion { ticket, outcome }| (of(ticket, asked), outcome)).collect()
    }
}

impl Core {
    /// Takes what the background has done since the last turn.
    pub(super) fn finish_background(&mut self, now: Instant, ring: &mut Ring) -> Result<(), Failure> {
        for (asked, outcome) in self.jobs.take_ended() {
            let outcome = match (&asked, outcome) {
                (Asked::ReadBack, outcome) if outcome.as_ref().is_err_and(is_damage_or_gone) => {
                    self.step(now, Input::ReadBack { bytes: None });
                    continue;
                }
                (_, Err(error)) if is_for_want_of_room(&error) && self.goes_without(now, &asked) => continue,
                (Asked::Values { places, .. }, Err(_)) if self.are_gone(places) => Outcome::Read(Bytes::new()),
                // Whoever asked asks somebody else; here it is found, and repaired, when what lies still is read back.
                (Asked::Values { .. } | Asked::ImageRead { .. }, Err(error)) if is_damage_or_gone(&error) => {
                    tracing::warn!(
                        "what a peer asked for cannot be read under {}: {error}",
                        self.folder.path.display()
                    );
                    Outcome::Read(Bytes::new())
                }
                (_, outcome) => outcome.map_err(|error| disk_failed(&self.folder, &error.to_string()))?,
            };
            match (asked, outcome) {
                (Asked::Segment(segment), _) => self.segment_ready(now, segment, ring)?,
                (Asked::Values { to, from, places }, Outcome::Read(bytes)) => {
                    let values = values_in(self.journal_identity, &places, &bytes);
                    self.step(now, Input::LogRead { to, from, values });
                }
                (Asked::ReadBack, Outcome::Read(bytes)) => self.step(now, Input::ReadBack { bytes: Some(bytes) }),
                (Asked::ImagePiece(slot), _) => self.step(now, Input::ImageWritten { slot }),
                (Asked::ImageRead { to, image, offset }, Outcome::Read(bytes)) => {
                    self.step(now, Input::ImageRead { to, image, offset, bytes });
                }
                (Asked::Image(slot), _) => self.step(now, Input::ImageDurable { slot }),
                (Asked::Chore | Asked::ImageBegun, _) => {}
                (Asked::Values { .. } | Asked::ImageRead { .. } | Asked::ReadBack, Outcome::Done) => {
                    unreachable!("a read brings bytes")
                }
            }
        }
        Ok(())
    }

    /// Whether segments that were read from have been given up meanwhile; the peer asks again.
    fn are_gone(&self, places: &[Place]) -> bool {
        places.iter().all(|place| !self.segments.contains_key(&place.segment))
    }

    /// The disk had no room for what was asked. Returns whether the replica can do without it.
    fn goes_without(&mut self, now: Instant, asked: &Asked) -> bool {
        match asked {
            Asked::Segment(_) => self.step(now, Input::NoRoomForSegment),
            // Its first piece meets the same.
            Asked::ImageBegun => {}
            Asked::ImagePiece(slot) | Asked::Image(slot) => {
                self.tell_of_no_image(*slot);
                self.step(now, Input::NoRoomForImage { slot: *slot });
            }
            Asked::Chore | Asked::ImageRead { .. } | Asked::Values { .. } | Asked::ReadBack => return false,
        }
        true
    }
}

/// Whether what was read lies on blocks that the disk does not read, or went away meanwhile.
fn is_damage_or_gone(error: &io::Error) -> bool {
    disk::is_unreadable(error) || error.kind() == io::ErrorKind::NotFound
}

/// The first of these places that lie one behind the other in one segment, so that one read brings them.
pub(super) fn neighbours(mut places: Vec<Place>) -> Vec<Place> {
    let near = |pair: &[Place]| {
        let [before, after] = pair else { return true };
        let gap = after.offset.checked_sub(before.offset + u64::from(before.bytes));
        before.segment == after.segment && gap.is_some_and(|gap| gap <= COLD_GAP_BYTES_MAX)
    };
    let bytes = |count: &usize| span(&places[..*count]) <= CATCH_UP_BYTES_MAX;
    let linked = 1 + places.windows(2).take_while(|pair| near(pair)).count();
    let count = (1..=linked.min(places.len())).rev().find(bytes).unwrap_or(places.len().min(1));
    places.truncate(count);
    places
}

pub(super) fn span(places: &[Place]) -> usize {
    match (places.first(), places.last()) {
        (Some(first), Some(last)) => (last.offset + u64::from(last.bytes) - first.offset) as usize,
        _ => 0,
    }
}

/// The values at these places, up to the first that is damaged: the peer asks somebody else for the rest.
fn values_in(identity: Identity, places: &[Place], bytes: &[u8]) -> Vec<Value> {
    let start = places.first().map_or(0, |place| place.offset);
    let record = |place: &Place| {
        let at = (place.offset - start) as usize;
        bytes.get(at..at + place.bytes as usize).and_then(|record| place.value(identity, record))
    };
    places.iter().map_while(record).collect()
}

/// A seal between two records is read along.
const COLD_GAP_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: u64, bytes: u32) -> Vec<Place> {
        let place = |n: u64| Place { slot: Slot(n + 1), segment: SegmentId(1), offset: n * u64::from(bytes), bytes };
        (0..count).map(place).collect()
    }

    #[test]
    fn what_is_read_at_once_for_a_peer_is_one_answer() {
        let read = neighbours(places(128, 8192));
        assert_eq!((read.len(), span(&read)), (32, 256 << 10));
        let large = neighbours(places(3, 512 << 10));
        assert_eq!(large.len(), 1, "a larger record alone");
        assert!(neighbours(Vec::new()).is_empty());
    }
}
