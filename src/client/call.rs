//! A call, from the caller to the driver: what it asks for, and what becomes of the answer.

use super::credentials::Credentials;
use super::error::Result;
use super::machine::Answered;
use super::op::Promise;
use crate::namespace::command::{Operation, Read};
use crate::wire::client::Consistency;

/// What a caller asks for.
pub(super) enum Call {
    Request(Operation),
    Authenticate(Credentials),
    Read(Read, Consistency),
    /// A linearizable read whose answer is to be kept.
    KeptRead(Read),
    /// Wait until the session, which has its place in that lock's queue, holds it or has lost its place.
    AwaitLock(String),
    /// What another process needs to take the session over.
    Save,
    /// The same, and leave the session to that process.
    HandOver,
    Close,
}

impl Call {
    /// Whether nothing kept may be used before it is answered: it may change what there is to see, or who sees it.
    pub(super) const fn is_request(&self) -> bool {
        matches!(self, Self::Request(_) | Self::Authenticate(_))
    }
}

/// What follows an answer: the end, or another call.
pub(super) enum Next {
    Finished,
    Call(Call, Then),
}

/// What becomes of a call's answer.
pub(super) enum Then {
    /// It is laid there, for its caller to read.
    Answer(Promise<Answered>),
    /// That is done with it, by the driver.
    Do(Box<dyn FnOnce(Result<Answered>) -> Next + Send>),
}

impl Then {
    /// That is done with it.
    pub(super) fn new(act: impl FnOnce(Result<Answered>) -> Next + Send + 'static) -> Self {
        Self::Do(Box::new(act))
    }

    /// Nobody waits for it.
    pub(super) fn nothing() -> Self {
        Self::new(|_| Next::Finished)
    }

    /// Hands the answer over.
    pub(super) fn take(self, result: Result<Answered>) -> Next {
        match self {
            Self::Answer(promise) => {
                promise.keep(result);
                Next::Finished
            }
            Self::Do(act) => act(result),
        }
    }
}

/// Told once when a client has its session, or cannot get one.
pub(super) type Opened = Box<dyn FnOnce(Result<()>) + Send>;
