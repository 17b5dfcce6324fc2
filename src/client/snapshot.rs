//! Fetching an image of a replica, for a copy outside the cell.

use std::time::Duration;

use bytes::Bytes;

use super::credentials::Credentials;
use super::error::{Error, Result};
use super::status::{Line, protocol};
use crate::namespace::command::Revision;
use crate::paxos::ballot::{CellId, ReplicaId, Slot};
use crate::wire::client::{ClientMessage, ServerMessage};
use crate::wire::snapshots::{SnapshotAnswer, SnapshotQuestion};

/// A connection to one replica, which lends its images.
///
/// Any replica lends, and without a session, whether or not the cell has a leader. Where the cell has a super principal or an
/// access list, the super principal alone is lent anything: [`authenticate`](Self::authenticate) before, or every question is
/// [`Error::NotSuper`]. What is fetched is an image's file,
/// byte for byte: who fetches it checks it.
///
/// # Errors
///
/// [`open`](Self::open) fails as [`status`](fn@super::status) does. Each question after it may be [`Error::Deadline`]
/// if the replica is silent, and [`Error::Io`] or [`Error::Protocol`] if it closes the connection: then open another.
/// `image` and `piece` are [`Error::NotSuper`] to others than the super principal; `authenticate` is refused for what
/// [`Client::authenticate`](super::Client::authenticate) is, and is [`Error::Protocol`] if the cell opens no session
/// now.
#[derive(Debug)]
pub struct SnapshotSource {
    line: Line,
    timeout: Duration,
    /// Questions asked; the last one's number.
    asked: u64,
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
        Ok(Self { line, timeout, asked: 0, cell: welcome.cell, replica: welcome.replica })
    }

    /// Stands for that user too, in a session that is opened for it and ends with this; it takes a leader.
    pub fn authenticate(&mut self, credentials: &Credentials) -> Result<()> {
        self.line.introduce(credentials, self.timeout)
    }

    /// The replica's newest image that holds everything up to `at_least`; 0: any will do. `None`: there is none yet, but it
    /// was asked to take one; ask again in a moment.
    pub fn image(&mut self, at_least: Revision) -> Result<Option<Slot>> {
        let answer = self.ask(SnapshotQuestion::Image { at_least })?;
        match answer {
            SnapshotAnswer::Image { image } => Ok(Some(image)),
            SnapshotAnswer::NotYet { .. } => Ok(None),
            _ => Err(protocol("the answer is none to a question for an image".to_owned())),
        }
    }

    /// A piece of that image's file, from byte `offset` on.
    pub fn piece(&mut self, image: Slot, offset: u64) -> Result<SnapshotPiece> {
        Ok(match self.ask(SnapshotQuestion::Piece { image, offset })? {
            SnapshotAnswer::Piece { image: of, offset: at, bytes } if (of, at) == (image, offset) => {
                SnapshotPiece::Bytes(bytes)
            }
            SnapshotAnswer::Gone { image: gone } if gone == image => SnapshotPiece::Gone,
            SnapshotAnswer::NotYet { .. } => SnapshotPiece::Busy,
            _ => return Err(protocol("the answer is none to a question for that piece".to_owned())),
        })
    }

    fn ask(&mut self, question: SnapshotQuestion) -> Result<SnapshotAnswer> {
        self.asked += 1;
        let message = ClientMessage::Snapshot { number: self.asked, question };
        let (number, answer) = self.line.ask(self.timeout, &message, |answer| match answer {
            ServerMessage::Snapshot { number, answer } => Some((number, answer)),
            _ => None,
        })?;
        if number != self.asked {
            return Err(protocol(format!("question {} was answered as question {number}", self.asked)));
        }
        if answer == SnapshotAnswer::NotAuthorized { Err(Error::NotSuper) } else { Ok(answer) }
    }
}
