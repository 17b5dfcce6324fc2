//! Sessions that outlive the process that opened them: what is saved of one, how another process takes it over, and how this
//! one leaves it.
//!
//! Whoever takes a session over names itself by a number of its own, and the cell from then on refuses whoever had it before.
//! Requests that were under way then have numbers that the cell passes over: each was applied by then, which the new process
//! is told by the last one's number, or never will be.

use super::ending::{Ending, Trouble};
use super::{Answered, Effect, Machine, Session};
use crate::client::error::Error;
use crate::namespace::command::Resume;
use crate::namespace::command::SessionId;
use crate::paxos::ballot::CellId;
use crate::time::Instant;

/// What another process needs to take the session over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// The cell.
    pub cell: CellId,
    /// The session.
    pub session: SessionId,
    /// Proves that it is the caller's.
    pub secret: u128,
    /// The last request made.
    pub requests: u64,
}

impl Machine {
    /// What another process needs to take the session over; `None` if there is none to be taken over.
    #[must_use]
    pub fn saved(&self) -> Option<Saved> {
        let session = self.session().filter(|_| !self.closing)?;
        Some(Saved { cell: self.cell?, session, secret: self.settings.secret, requests: self.queue.made_upto() })
    }

    /// Leaves the session to another process once all calls made before are answered; later ones fail. `tag` comes back with
    /// what that process needs.
    pub fn hand_over(&mut self, tag: u64) -> Result<(), Error> {
        self.admit_unbounded()?;
        self.closing = true;
        self.keep_nothing();
        self.handing = Some(tag);
        self.hand_over_when_idle();
        Ok(())
    }

    /// The last request applied of those that earlier processes made in this session; none after it ever will be.
    #[must_use]
    pub fn applied_before(&self) -> u64 {
        self.applied_before
    }

    pub(super) fn hand_over_when_idle(&mut self) {
        if self.handing.is_none() || self.queue.len() > 0 {
            return;
        }
        let (Session::Live { id, .. }, Some(cell), Some(tag)) = (&self.session, self.cell, self.handing.take()) else {
            return;
        };
        let (session, secret, requests) = (*id, self.settings.secret, self.queue.made_upto());
        let saved = Answered::Saved(Saved { cell, session, secret, requests });
        self.end(Ending::Closed);
        self.effects.push_back(Effect::Done { tag, result: Ok(saved) });
    }

    /// What a new connection is to take up.
    pub(super) fn resume(&self) -> Option<Resume> {
        let (secret, holder) = (self.settings.secret, self.settings.token);
        match (&self.session, self.settings.resume) {
            (Session::Live { id, .. }, _) => Some(Resume { session: *id, secret, holder, takes_over: false }),
            (Session::Wanted { .. }, Some(session)) => Some(Resume { session, secret, holder, takes_over: true }),
            (Session::Wanted { .. }, None) | (Session::Over(_), _) => None,
        }
    }

    /// The session that was to be taken over is this client's now.
    pub(super) fn take_over(
        &mut self,
        id: SessionId,
        timeout_ms: u32,
        (applied_upto, applied_before): (u64, u64),
        asked_at: Instant,
    ) -> Result<(), Trouble> {
        if matches!(self.session, Session::Wanted { .. }) && self.settings.resume == Some(id) {
            if applied_upto > NUMBERS_MAX {
                return Err(Trouble::Leave(format!("no session has come to request {applied_upto}")));
            }
            let lease = super::conversation::lease(timeout_ms);
            // Jeopardy, until the lease is found to run.
            self.session = Session::Live { id, lease, lease_until: asked_at + lease, jeopardy: true };
            self.queue.begin_after(applied_upto);
            self.watches.begin_after(applied_upto);
            self.applied_before = applied_before;
        }
        Ok(())
    }

    /// Another process has the session.
    pub(super) fn taken(&self) -> Trouble {
        match self.session().or(self.settings.resume) {
            Some(id) => Trouble::End(Ending::Taken(id)),
            None => Trouble::Leave("another process has the session, but none was asked for".to_owned()),
        }
    }
}

/// No session lives long enough to come to such numbers.
const NUMBERS_MAX: u64 = 1 << 63;

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A secret does not belong in diagnostics.
        write!(f, "Saved({} after request {})", self.session, self.requests)
    }
}
