//! The log on disk: records in, writes out; and after a crash, what may be said of every slot.
//!
//! Nothing here touches a disk. [`Journal`] turns appended records into [`Write`]s and is told when each is durable;
//! [`recover()`] reads through [`SegmentRead`]; [`hard_state`] does the same for what must survive besides the log;
//! [`inspect`] shows a segment to a person.
//!
//! | file | |
//! |---|---|
//! | [`record`], [`segment`], [`hard_state`] | what stands on disk, byte by byte |
//! | `writer`, `index` | records in, writes out; which segments hold what, and where each slot's newest record is |
//! | `recover` | the log read once after a crash: `scan` finds a segment's records, `evidence` gathers what they say of a slot |
//! | `finding` | what recovery tells the operator, and what it cannot go on from |
//!
//! # On disk
//!
//! ```text
//! segment-00000007   the number is the segment's place in the log, and the generation that its records carry
//!
//! 0        4096                                                                             segment_bytes
//! | segment | record | record | record | ... | (left over: the next record did not fit) |
//! | header  |
//!
//! a record, in whole blocks of 4096:
//! | header 256 | value | zeros to the end of a block || trailer 256 | zeros to the end of the block |
//!
//! a header, and a trailer, which says the same from another block (little-endian):
//!    0  magic, "QuorRec{" or "QuorRec}"     8  format u16     10  kind u8: 1 value, 2 seal, 3 start    11  learned u8 (of a start: jumped)
//!   12  replica u8, 3 zeros                16  cell u128      32  incarnation u128
//!   48  segment u64      56  offset u64    64  start u64      72  the start's first sequence u64
//!   80  synced before the start u64        88  sequence u64   96  synced_upto u64   104  hard state version u64
//!  112  chosen_upto u64                   120  value length u32                     124  CRC-32 of the value
//!  128  hash of the head before u128
//!  144  slot u64   152  round u64   160  value hash u128   176  ballot's replica u8, 3 zeros
//!  180  the record before: slot, round, hash, replica as above      216  zeros      252  CRC-32 of all before
//! ```
//!
//! A record is one entry of the log, hence one batch of commands. A value brings the memory around it along
//! ([`crate::paxos::value`]), so that a record is written where it stands: only the two heads are filled in.
//!
//! # The story
//!
//! 1. Records queue while writes are under way. [`Journal::next_write`] takes all that queue up to
//!    [`WRITE_BYTES_TARGET`] as one aligned run; at most [`crate::limits::JOURNAL_WRITES_IN_FLIGHT`] are out. Heads are
//!    filled in at that moment, so each says what is durable by then (`synced_upto`).
//! 2. A write becomes durable with its flush. Writes may complete in any order; only the contiguous prefix is told.
//! 3. After [`SEAL_AFTER`] of quiet a seal (a record without a value) tells the disk what is durable.
//! 4. Segments are filled in order. One is kept ready in advance: written with zeros once, or the file of a trimmed
//!    segment renamed. What such a file held carries another segment number, and is nothing.
//! 5. After a crash the log is read once, forwards. Chosen values leave in slot order as soon as some record's
//!    `chosen_upto` covers them, so a log of any length is replayed in the memory of what was open at once.
//! 6. Where the log ends the next start goes on, over what was torn. Its first record carries a new start number and
//!    the sequence from which it counts: whatever earlier starts left from that sequence on is cut off. When that
//!    record is durable ([`Journal::started`]) the cut is, and the replica may speak.
//! 7. A replica that fell too far behind starts again from another's image, and one whose log is full may from an image
//!    that is ahead of what it could write. No record leads there: that start is marked as
//!    *jumped*. The votes before it in slots up to the image's are no word on what was chosen, whatever later records
//!    claim; they are neither replayed, should that image be lost, nor handed to peers.
//!
//! # Torn or damaged
//!
//! A record that is not whole is one of two things, and to take one for the other is either to lose what was
//! acknowledged or to stop for nothing:
//!
//! | what is found | what is said |
//! |---|---|
//! | a head and the value whole | *have it*; one bad head of the two is repaired by the other |
//! | value bad, and a later record says that it was durable | *lost*: accepted, value to be had elsewhere |
//! | value bad, trailer there, nobody says that it was durable | *maybe*: torn, or flushed and damaged after |
//! | no trailer, nobody says that it was durable | torn: this and all after it were never acknowledged; *never* |
//! | nothing recognisable, a later record says it was durable | lost if the next record names it; otherwise *unknown*, for every slot that was open there, older records of those slots included |
//! | more bad than can have been under way ([`IN_FLIGHT_BYTES_MAX`]) | damage, whatever was said: nothing is cut |
//! | blocks that cannot be read where the log ends | *unknown* up to the window, and their numbers are left out |
//! | a chosen slot damaged | *missing*: the values behind it wait, those of peers are fetched |
//!
//! # Invariants
//!
//! - J1. A record is told durable only when it, its trailer and all records before it are.
//! - J2. What was told durable is never called *never accepted* afterwards, while at most one block of any record is
//!   bad.
//! - J3. What a recovery called *never accepted*, no later recovery has: a start cuts by number, and overwrites in
//!   place.
//! - J4. *Have it* is said of the newest acceptance of a slot, or not at all.
//! - J5. A record counts only in the segment, at the offset, of the start and with the identity that it names.
//! - J6. The oldest segments go first, and none goes that holds a slot above the image or a ballot above the durable
//!   promise; what remains ends with a durable record of the running start. Where there is no room left at all, a vote
//!   in a slot above the image may go too, once a later vote in that slot is durable: it was the word on nothing any
//!   more.
//!
//! # What is assumed of the disk
//!
//! - A flush that returned covers every write that had returned before it, on all files of the device.
//! - A write that did not return before a crash may have changed any of its own sectors of 512 bytes, in any order, and
//!   nothing else; of a block that was damaged later, the rest of the disk tells.
//! - No write of an ended process reaches the disk after the next process has begun to read: whoever holds the folder's
//!   lock has nothing under way when it lets go.
//!
//! # Deliberately not done
//!
//! - A hole in the log is not refilled in place; the value comes back as a new record.
//! - Nothing is retried. A failed write or flush ends the process.
//! - A wholly lost tail reads like a shorter log; only peers can tell ([`crate::paxos`]).
//! - Segments are given up from the oldest end only, even when a later one holds nothing that is needed.

mod evidence;
mod finding;
pub mod hard_state;
mod index;
pub mod inspect;
#[cfg(test)]
mod memory_disk;
pub mod record;
mod recover;
mod scan;
pub mod segment;
#[cfg(test)]
mod tests;
mod writer;

pub use finding::{Error, Finding};
pub use index::Place;
pub use recover::{Known, Recovery, recover};
pub use scan::SegmentRead;
pub use writer::{
    IN_FLIGHT_BYTES_MAX, Journal, SEAL_AFTER, Settings, Tail, WRITE_BYTES_MAX, WRITE_BYTES_TARGET, Write,
};

use crate::paxos::{CellId, Incarnation, ReplicaId};

/// Whose journal this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cell.
    pub cell: CellId,
    /// The replica's number in it.
    pub replica: ReplicaId,
    /// This life of its disk.
    pub incarnation: Incarnation,
}

/// A segment's position in the log of segments, counted from 1; also the generation that its records carry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// The one filled after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {}", self.0)
    }
}
