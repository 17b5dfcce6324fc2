//! What recovery tells the operator, and what it cannot go on from.

use thiserror::Error;

use super::{Identity, SegmentId};
use crate::paxos::{Ballot, Slot};

/// Something recovery met and dealt with.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Finding {
    /// Expected after a crash: the last writes were under way and nobody was told of them.
    #[error("{segment} ends torn at byte {offset}: {records} later records were never acknowledged and are cut off")]
    TornTail { segment: SegmentId, offset: u64, records: usize },
    /// One of a record's two heads is bad; the other tells the same.
    #[error("{segment} byte {offset}: one of the two heads of record {sequence} is damaged; nothing is lost")]
    HeadDamaged { segment: SegmentId, offset: u64, sequence: u64 },
    /// A value is bad; what was accepted is known.
    #[error(
        "{segment} byte {offset}: the value of slot {slot}, accepted at ballot {ballot}, is damaged; peers have it"
    )]
    ValueDamaged { segment: SegmentId, offset: u64, slot: Slot, ballot: Ballot },
    /// Records are bad beyond recognition.
    #[error("{segment} before byte {offset}: {records} records are damaged; slots {from} to {upto} are not known here")]
    RecordsLost { segment: SegmentId, offset: u64, records: u64, from: Slot, upto: Slot },
    /// Two neighbours do not belong together.
    #[error("{segment} byte {offset}: record {sequence} does not follow the one before it; a write was lost there")]
    ChainBroken { segment: SegmentId, offset: u64, sequence: u64 },
    /// A whole record of somebody else's, or for another place.
    #[error("{segment} byte {offset}: a record that was written for another place or by another replica")]
    Misdirected { segment: SegmentId, offset: u64 },
    /// A segment's first block is bad; its records say the same.
    #[error("{segment}: the first block is damaged; nothing is lost")]
    SegmentHeadDamaged { segment: SegmentId },
    /// The disk returned an error.
    #[error("{segment} byte {offset}: the disk cannot read this block; it is treated as damaged")]
    Unreadable { segment: SegmentId, offset: u64 },
}

impl Finding {
    /// Whether it is the trace of an ordinary crash, not of damage.
    #[must_use]
    pub const fn is_ordinary(&self) -> bool {
        matches!(self, Self::TornTail { .. })
    }
}

/// Why a journal cannot be opened.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Error {
    /// The files belong to another replica, or to another life of this one.
    #[error(
        "{segment} was written by replica {} of cell {}, incarnation {}; this is replica {} of cell {}, incarnation {}; \
         put the folder's own segments back, or rejoin with a fresh folder",
        found.replica, found.cell, found.incarnation, needed.replica, needed.cell, needed.incarnation
    )]
    Foreign { segment: SegmentId, found: Identity, needed: Identity },
    /// Written by a later program.
    #[error("{segment} is in format {found}, and this program reads up to {newest}; start the newer program")]
    NewerFormat { segment: SegmentId, found: u16, newest: u16 },
    /// The hard state knows of records that are gone.
    #[error(
        "the hard state says that start {needed} wrote to this journal, and its newest record is of start {found}: segments \
         are missing or an old copy was put back; this replica must rejoin with a fresh folder"
    )]
    JournalBehind { found: u64, needed: u64 },
    /// Records know of a hard state that is gone.
    #[error(
        "the journal proves that version {needed} of the hard state was durable, and the newest found is {found}: an old \
         copy was put back; this replica must rejoin with a fresh folder"
    )]
    HardStateBehind { found: u64, needed: u64 },
}
