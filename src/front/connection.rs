//! One client's connection: where it stands in its session's sequence of requests.

use std::sync::Arc;

use bytes::BytesMut;

use crate::namespace::acl::Principals;
use crate::namespace::codec::DecodeError;
use crate::namespace::command::{Resume, Revision, SessionId};
use crate::wire::client::{FaultCode, MessageError};
use crate::wire::frame::{CLIENT_MAGIC, FrameError, FrameReader};

/// A connection, from its first byte to its close.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Lent out while it is read from.
    pub(super) reader: Option<FrameReader>,
    pub(super) greeted: bool,
    /// Its client was shown this revision before, here or elsewhere: it is shown nothing older.
    pub(super) seen: Revision,
    pub(super) session: Option<SessionId>,
    /// Whom it stands for: as the log last said, where it has a session.
    pub(super) who: Arc<Principals>,
    pub(super) opening: Option<Opening>,
    /// The token of the opening that brought the session.
    pub(super) entered_with: Option<u64>,
    /// A question about the cell is under way.
    pub(super) asks: bool,
    /// A question about an image is under way.
    pub(super) fetches: bool,
    /// Frames taken: tells a frame that does not get on from the next one.
    pub(super) frames: u64,
    /// Whether [`super::patience`] looks at its frames.
    pub(super) watched: bool,
    /// The last request taken on this connection; `None` before the first.
    next: Option<u64>,
    pub(super) submitted_upto: u64,
    pub(super) answered_upto: u64,
    /// Everything is dropped until this request comes again.
    refused_from: Option<u64>,
    /// From where the client last sent again.
    pub(super) sent_again_from: Option<u64>,
    pub(super) out: BytesMut,
    pub(super) dirty: bool,
    pub(super) closing: bool,
}

/// A session on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Opening {
    New { token: u64, secret: u128, timeout_ms: u32 },
    Resumed { token: u64, resume: Resume },
}

/// What a client did wrong; its connection closes.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: FaultCode,
    pub(super) text: String,
}

impl Connection {
    /// A connection of somebody who has said nothing yet.
    pub(super) fn of(who: Arc<Principals>) -> Self {
        Self { who, ..Self::default() }
    }

    pub(super) fn take_reader(&mut self) -> FrameReader {
        self.reader.take().unwrap_or_else(|| FrameReader::new(CLIENT_MAGIC))
    }

    /// Its session exists; requests may come, from any number on.
    pub(super) fn enter(&mut self, session: SessionId, token: u64) {
        self.session = Some(session);
        self.entered_with = Some(token);
        self.opening = None;
        self.next = None;
        self.refused_from = None;
        self.sent_again_from = None;
        (self.submitted_upto, self.answered_upto) = (0, 0);
    }

    /// Whether request `number` is the one to come; if so it is taken.
    pub(super) fn admits(&mut self, number: u64) -> bool {
        if let Some(from) = self.refused_from {
            if number != from {
                return false;
            }
            self.refused_from = None;
            self.sent_again_from = Some(from);
            self.next = Some(number);
        }
        match self.next {
            None => {
                self.answered_upto = number.saturating_sub(1);
                self.submitted_upto = self.answered_upto;
            }
            Some(next) if next != number => return false,
            Some(_) => {}
        }
        self.next = Some(number + 1);
        true
    }

    /// Requests without an answer, once `number` is taken.
    pub(super) fn unanswered(&self, number: u64) -> u64 {
        number.saturating_sub(self.answered_upto)
    }

    /// The first request without an answer, if there is any.
    pub(super) fn first_unanswered(&self) -> Option<u64> {
        (self.submitted_upto > self.answered_upto).then_some(self.answered_upto + 1)
    }

    /// Whether reads are dropped for the moment.
    pub(super) fn is_refusing(&self) -> bool {
        self.refused_from.is_some()
    }

    /// From now on everything is dropped until request `number`, or the first unanswered one after it, comes again: that
    /// one's number; none if the client was told so already, or has not asked for it here: what is refused then came on an
    /// earlier connection, perhaps from a process whose session it was, and its client sends what it misses unasked.
    pub(super) fn refuse_from(&mut self, number: u64) -> Option<u64> {
        let next = self.next?;
        // What was answered from an earlier sending is not asked for again.
        let number = number.max(self.answered_upto + 1);
        if number >= next && !cfg!(bug = "48") {
            return None;
        }
        if self.refused_from.is_some_and(|from| from <= number) {
            return None;
        }
        self.refused_from = Some(number);
        self.submitted_upto = self.submitted_upto.min(number - 1);
        Some(number)
    }
}

impl Opening {
    pub(super) fn token(&self) -> u64 {
        match self {
            Self::New { token, .. } | Self::Resumed { token, .. } => *token,
        }
    }

    /// Whether it is the opening of a new session with that secret.
    pub(super) fn is_new_with(&self, of: u128) -> bool {
        matches!(self, Self::New { secret, .. } if *secret == of)
    }
}

impl Fault {
    pub(super) fn out_of_turn(text: &str) -> Self {
        Self { code: FaultCode::OutOfTurn, text: text.to_owned() }
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        let code = match error {
            FrameError::TooLarge { .. } => FaultCode::TooLarge,
            FrameError::Version { .. } => FaultCode::Version,
            FrameError::Magic { .. } | FrameError::Checksum { .. } => FaultCode::Damaged,
        };
        Self { code, text: error.to_string() }
    }
}

impl From<MessageError> for Fault {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Frame(error) => error.into(),
            MessageError::Kind { .. } => Self { code: FaultCode::UnknownKind, text: error.to_string() },
            MessageError::Body { .. } => Self { code: FaultCode::Malformed, text: error.to_string() },
        }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self { code: FaultCode::Malformed, text: error.to_string() }
    }
}
