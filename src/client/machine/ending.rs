//! How connections, and the machine itself, come to an end.

use std::fmt;

use crate::client::error::{Error, Outcome as Known};
use crate::namespace::command::{Revision, SessionId};
use crate::time::Duration;
use crate::wire::client::{FaultCode, MessageError};
use crate::wire::frame::FrameError;

/// Why a machine came to its end.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    Closed,
    /// The cell said so.
    Expired(SessionId),
    /// Nothing was heard of the cell for so long that the session may be over, for all one knows.
    GraceOver(SessionId),
    Taken(SessionId),
    Unreachable {
        after: Duration,
        why: String,
    },
    WrongCell(String),
    Version(String),
    Protocol(String),
}

/// Why a connection is given up in the middle of what it said.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is of no use; try elsewhere.
    Leave(String),
    /// The cell asks for a pause.
    Pause(Duration),
    /// The leader is elsewhere.
    Move,
    /// No connection is of use any more.
    End(Ending),
}

impl Ending {
    /// What a call comes to that the ending cut off, sent or not.
    pub(super) fn error(&self, sent: bool) -> Error {
        let outcome = if sent { Known::Unknown } else { Known::NotApplied };
        match self {
            Self::Closed => Error::Closed { outcome },
            Self::Expired(session) | Self::GraceOver(session) => Error::SessionExpired { session: *session, outcome },
            Self::Taken(session) => Error::SessionTaken { session: *session, outcome },
            Self::Unreachable { after, why } => Error::Unreachable { after: (*after).into(), why: why.clone() },
            Self::WrongCell(text) => Error::WrongCell { text: text.clone(), outcome },
            Self::Version(text) => Error::Version { text: text.clone(), outcome },
            Self::Protocol(text) => Error::Protocol { text: text.clone(), outcome },
        }
    }
}

impl From<FrameError> for Trouble {
    fn from(error: FrameError) -> Self {
        Self::Leave(error.to_string())
    }
}

impl From<MessageError> for Trouble {
    fn from(error: MessageError) -> Self {
        unreadable(&error)
    }
}

/// What a client says of a replica whose answers went back.
pub const ANSWERED_BACK: &str = "was answered at revision";

/// A replica that answers of an older state than it, or another, showed before is left.
pub(super) fn goes_forward(what: fmt::Arguments<'_>, revision: Revision, seen: Revision) -> Result<(), Trouble> {
    if revision < seen {
        return Err(Trouble::Leave(format!("{what} {ANSWERED_BACK} {revision}, after {seen}")));
    }
    Ok(())
}

/// Sound bytes that mean nothing: another connection would bring the same.
pub(super) fn unreadable(error: &dyn std::error::Error) -> Trouble {
    Trouble::End(Ending::Protocol(error.to_string()))
}

/// What a server's last word means for the client.
pub(super) fn fault(code: FaultCode, text: &str) -> Trouble {
    match code {
        FaultCode::WrongCell => Trouble::End(Ending::WrongCell(text.to_owned())),
        FaultCode::Unavailable | FaultCode::PeerPort | FaultCode::Damaged => Trouble::Leave(text.to_owned()),
        FaultCode::Version => Trouble::End(Ending::Version(text.to_owned())),
        FaultCode::Malformed
        | FaultCode::TooLarge
        | FaultCode::UnknownKind
        | FaultCode::OutOfTurn
        | FaultCode::WrongSecret
        | FaultCode::Taken => Trouble::End(Ending::Protocol(text.to_owned())),
    }
}
