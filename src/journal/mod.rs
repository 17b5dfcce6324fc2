//! placeholder
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
