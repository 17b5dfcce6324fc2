//! Sessions that are taken up again, and those that are made up.
//!
//! Anybody may say hello with a session that never was, over and over; so the log is not asked about it. A session keeps its
//! secret for as long as it lives, and its name, the revision that made it, is given to no other: a replica that has applied
//! that revision knows by itself that the log would refuse a session that is not there, or another secret, now or ever
//! ([`never_resumes`](crate::namespace::Namespace::never_resumes)). The log is asked only about sessions that live here,
//! and only for clients that show the right secret; those may ask as often as they connect.
//!
//! A session that was made after all that is applied here may be good, as this replica may lag. It waits for a read point, as
//! a ping does: whoever was told of a session before it said hello finds it there. One point is at work at a time, for all
//! who came before it was asked for; whoever comes later waits for the next, which is asked for when this one is applied. So
//! a name above all that were given costs one read point a front at a time, however many show one. That is not quite
//! nothing: the leader has to answer, and one that is idle otherwise may renew its lease for it, by an empty entry.
//!
//! No resumption takes anything of which there is a rate, and nothing is kept for those who have gone.

use std::collections::BTreeSet;

use super::connection::Opening;
use super::{ConnectionId, Front};
use crate::namespace::NotResumed;
use crate::namespace::command::Command;
use crate::paxos::Slot;
use crate::replica::exchange::{FrontRequest, Resumption};

/// Openings, by token, of sessions that were not opened yet as far as this replica has applied the log.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    /// They came after the point at work was asked for: the next one is theirs.
    waiting: BTreeSet<u64>,
    /// The point at work is theirs.
    judged_next: BTreeSet<u64>,
    point: Point,
}

/// The read point at work.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Point {
    /// There is none.
    #[default]
    None,
    /// It was asked for under that ticket.
    Asked(u64),
    /// No leader could be asked: one is after a while.
    Unasked,
    /// Those whose it is can be told from made-up ones once that slot is applied.
    At(Slot),
}

impl Unseen {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.judged_next.is_empty()
    }

    /// Whether a read point is to be asked for.
    pub(super) fn has_ready(&self) -> bool {
        self.point == Point::None && !self.waiting.is_empty()
    }

    /// Whether some have their point, and wait for nothing but a turn.
    pub(super) fn has_reached(&self, applied_upto: Slot) -> bool {
        matches!(self.point, Point::At(slot) if slot <= applied_upto)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The connection of that opening is gone. The point stays at work: who comes and goes has no more of them asked for.
    pub(super) fn forget(&mut self, token: u64) {
        self.waiting.remove(&token);
        self.judged_next.remove(&token);
    }

    /// Those that wait for a point to be asked for wait for the answer to `ticket`.
    pub(super) fn ask(&mut self, ticket: u64) {
        if self.has_ready() {
            self.judged_next = std::mem::take(&mut self.waiting);
            self.point = Point::Asked(ticket);
        }
    }

    /// Those for which no leader could be asked are ready again.
    pub(super) fn retry(&mut self) {
        if self.point == Point::Unasked {
            self.waiting.append(&mut self.judged_next);
            self.point = Point::None;
        }
    }

    /// The answer to a ticket; whether a leader is to be asked again after a while. What was asked for later serves as well:
    /// an answer that is lost on its way keeps nobody waiting for longer than until the next one.
    fn pointed(&mut self, ticket: u64, upto: Option<Slot>) -> bool {
        if matches!(self.point, Point::Asked(asked) if asked <= ticket) {
            self.point = upto.map_or(Point::Unasked, Point::At);
            return upto.is_none();
        }
        false
    }

    fn take_reached(&mut self, applied_upto: Slot) -> BTreeSet<u64> {
        if !self.has_reached(applied_upto) {
            return BTreeSet::new();
        }
        self.point = Point::None;
        std::mem::take(&mut self.judged_next)
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
                self.unseen.waiting.insert(token);
            }
            Some(Opening::Resumed { token, resume }) => {
                self.resumptions.push(Resumption { token, resume, address });
            }
            None => {}
        }
    }

    /// The answer to a read point's ticket.
    pub(super) fn unseen_pointed(&mut self, ticket: u64, upto: Option<Slot>) {
        if self.unseen.pointed(ticket, upto) {
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
        // Who has gone meanwhile does not care what the log would say.
        let opening = &self.opening;
        self.resumptions.retain(|resumption| opening.contains_key(&resumption.token));
        if !self.resumptions.is_empty() {
            requests.push(FrontRequest::Resume(std::mem::take(&mut self.resumptions)));
        }
    }
}
