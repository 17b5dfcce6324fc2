//! What the cell's answer to a call means to whoever made it.

use std::sync::Arc;

use super::api::{answer, done, unfit};
use super::error::Result;
use super::machine::Answered;
use crate::namespace::command::{Answer, Done, Revision};

/// How a caller reads an answer; given besides is the root that the caller's paths are below. It has no effect of its own: an
/// answer that nobody takes is not read.
pub(super) enum Meaning<T> {
    /// Of a request: `None` if it is the answer to something else.
    Done(fn(Done, &Arc<str>) -> Option<T>),
    /// Of a read, likewise.
    Answer(fn(Answer, &Arc<str>) -> Option<T>),
    /// Of a request whose answer is where in the order it took effect.
    Revision(fn(Revision, Done) -> Option<T>),
}

impl<T> Meaning<T> {
    /// What that answer means.
    pub(super) fn of(&self, answered: Result<Answered>, root: &Arc<str>) -> Result<T> {
        match (self, answered?) {
            (Self::Done(pick), answered) => pick(done(answered, root)?, root).ok_or_else(|| unfit("a request")),
            (Self::Answer(pick), answered) => pick(answer(answered, root)?.1, root).ok_or_else(|| unfit("a read")),
            (Self::Revision(pick), answered) => {
                let revision = match &answered {
                    Answered::Request { revision, .. } | Answered::Read { revision, .. } => *revision,
                    Answered::Saved(_) => 0,
                };
                pick(revision, done(answered, root)?).ok_or_else(|| unfit("a request"))
            }
        }
    }
}
