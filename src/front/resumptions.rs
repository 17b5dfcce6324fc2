//! Sessions that are taken up again, and those that are made up.
//!
//! Anybody may say hello with a session that never was, over and over; so the log is not asked about it. A session keeps its
//! secret for as long as it lives, and its name, the revision that made it, is given to no other: a replica that has applied
//! that revision knows by itself what the log would say of a session that is not there, or of another secret, now or ever
//! ([`never_resumes`](crate::namespace::Namespace::never_resumes)). The log is asked about sessions that live here, for those
//! who know their secrets: whoever does may have it asked as often as it connects, as may whoever lives by it.
//!
//! A session that was made after all that is applied here may be good, as this replica may lag. It waits for a read point, as
//! a ping does, together with all others of its turn: whoever was told of a session before it said hello finds it there.
//! So no resumption, however many come at once and whatever came of them, takes anything of which there is a rate, and none
//! waits for another.

use std::collections::BTreeMap;

use super::connection::Opening;
use super::{ConnectionId, Front};
use crate::namespace::NotResumed;
use crate::namespace::command::Command;
use crate::paxos::Slot;
use crate::replica::exchange::{FrontRequest, Resumption};

/// Openings, by token, of sessions that were not opened yet as far as this replica has applied the log. Those of connections that
/// have gone meanwhile are passed over when their point comes.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    /// A read point is to be asked for with the next ticket.
    ready: Vec<u64>,
    /// It is asked for, by ticket.
    asked: BTreeMap<u64, Vec<u64>>,
    /// They can be told from made-up ones once that slot is applied.
    pointed: BTreeMap<Slot, Vec<u64>>,
    /// No leader could be asked: one is after a while.
    unasked: Vec<u64>,
}

impl Unseen {
    pub(super) fn is_empty(&self) -> bool {
        let Self { ready, asked, pointed, unasked } = self;
        ready.is_empty() && asked.is_empty() && pointed.is_empty() && unasked.is_empty()
    }

    /// Whether some wait for a read point to be asked for.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether some have their point, and wait for nothing but a turn.
    pub(super) fn has_reached(&self, applied_upto: Slot) -> bool {
        self.pointed.first_key_value().is_some_and(|(slot, _)| *slot <= applied_upto)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Those that are ready wait for the answer to `ticket`.
    pub(super) fn ask(&mut self, ticket: u64) {
        if !self.ready.is_empty() {
            self.asked.insert(ticket, std::mem::take(&mut self.ready));
        }
    }

    /// Those for which no leader could be asked are ready again.
    pub(super) fn retry(&mut self) {
        self.ready.append(&mut self.unasked);
    }

    fn take_reached(&mut self, applied_upto: Slot) -> Vec<u64> {
        let mut reached = Vec::new();
        while let Some(entry) = self.pointed.first_entry().filter(|entry| *entry.key() <= applied_upto) {
            reached.extend(entry.remove());
        }
        reached
    }
}

impl Front {
    /// Has the session that a connection waits for opened, or taken up again.
    pub(super) fn put_opening(&mut self, id: ConnectionId) {
        let address = self.address_of(id);
        match self.connections.get(&id).and_then(|connection| connection.opening) {
            Some(Opening::New { token, secret, timeout_ms }) => {
                self.put_command(&Command::OpenSession { token, secret, timeout_ms, address });
            }
            Some(Opening::Resumed { token, resume }) if resume.session.0 > self.revision => {
                self.unseen.ready.push(token);
            }
            Some(Opening::Resumed { token, resume }) => {
                self.resumptions.push(Resumption { token, resume, address });
            }
            None => {}
        }
    }

    /// The answer to a read point's ticket.
    pub(super) fn unseen_pointed(&mut self, ticket: u64, upto: Option<Slot>) {
        let Some(tokens) = self.unseen.asked.remove(&ticket) else { return };
        if let Some(upto) = upto {
            self.unseen.pointed.entry(upto).or_default().extend(tokens);
        } else {
            self.unseen.unasked.extend(tokens);
            self.reads.retry_later();
        }
    }

    /// Has the replica judge those that can be judged. A session that is not there at the read point was made up.
    pub(super) fn put_resumptions(&mut self, requests: &mut Vec<FrontRequest>) {
        for token in self.unseen.take_reached(self.applied_upto) {
            let Some(id) = self.opening.get(&token).copied() else { continue };
            let Some(Opening::Resumed { resume, .. }) = self.connections.get(&id).and_then(|c| c.opening) else {
                continue;
            };
            if resume.session.0 > self.revision {
                self.session_refused(token, resume.session, NotResumed::Over);
            } else {
                self.put_opening(id);
            }
        }
        let (unseen, opening) = (&mut self.unseen, &self.opening);
        unseen.ready.retain(|token| opening.contains_key(token));
        if !self.resumptions.is_empty() {
            requests.push(FrontRequest::Resume(std::mem::take(&mut self.resumptions)));
        }
    }
}
