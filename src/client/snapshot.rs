//! Fetching an image of a replica, for a copy outside the cell.

use std::time::Duration;

use bytes::Bytes;

use super::error::Result;
use super::status::Line;
use crate::namespace::command::Revision;
use crate::paxos::ballot::{CellId, ReplicaId, Slot};
use crate::wire::client::{ClientMessage, ServerMessage};
use crate::wire::snapshots::{SnapshotAnswer, SnapshotQuestion};

/// A connection to one replica, which lends its images.
///
/// It needs no session, and any replica lends, whether or not the cell has a leader. What is fetched is an image's file,
/// byte for byte: who fetches it checks it.
#[derive(Debug)]
pub struct SnapshotSource {
    line: Line,
    timeout: Duration,
    /// The cell that the replica is of.
    pub cell: CellId,
    /// The replica.
    pub replica: ReplicaId,
}

/// What came of asking for a piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnapshotPiece {
    /// The bytes from there on. None: the file ends before, or the replica's disk does not read it.
    Bytes(Bytes),
    /// The replica is busy: ask again in a moment.
    Busy,
    /// Newer images have taken its place: begin again.
    Gone,
}

impl SnapshotSource {
    /// Connects to the replica at `endpoint` (`host:port`), and no other; each answer may take `timeout`.
    pub fn open(endpoint: &str, timeout: Duration) -> Result<Self> {
        let (line, welcome) = Line::open(endpoint, "snapshot", timeout)?;
        Ok(Self { line, timeout, cell: welcome.cell, replica: welcome.replica })
    }

    /// The replica's newest image that holds everything up to `at_least`; 0: any will do. `None`: there is none yet, but it
    /// was asked to take one; ask again in a moment.
    pub fn image(&mut self, at_least: Revision) -> Result<Option<Slot>> {
        let answer = self.ask(SnapshotQuestion::Image { at_least })?;
        Ok(if let SnapshotAnswer::Image { image } = answer { Some(image) } else { None })
    }

    /// A piece of that image's file, from byte `offset` on.
    pub fn piece(&mut self, image: Slot, offset: u64) -> Result<SnapshotPiece> {
        Ok(match self.ask(SnapshotQuestion::Piece { image, offset })? {
            SnapshotAnswer::Piece { bytes, .. } => SnapshotPiece::Bytes(bytes),
            SnapshotAnswer::Gone { .. } => SnapshotPiece::Gone,
            SnapshotAnswer::Image { .. } | SnapshotAnswer::NotYet { .. } => SnapshotPiece::Busy,
        })
    }

    fn ask(&mut self, question: SnapshotQuestion) -> Result<SnapshotAnswer> {
        let message = ClientMessage::Snapshot { number: 1, question };
        self.line.ask(self.timeout, &message, |answer| match answer {
            ServerMessage::Snapshot { answer, .. } => Some(answer),
            _ => None,
        })
    }
}
