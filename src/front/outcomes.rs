//! What the log says: outcomes of requests and sessions, passed on to those whose they are.

use std::sync::Arc;

use super::{ConnectionId, Front};
use crate::limits::{OVERLOAD_RETRY_MS, READ_RETRY, SESSIONS_FULL_RETRY_MS};
use crate::namespace::acl::Principals;
use crate::namespace::command::SessionId;
use crate::namespace::{CommandOutcome, NotResumed, Tree};
use crate::replica::exchange::{Applied, FrontRequest};
use crate::time::Instant;
use crate::wire::client::{FaultCode, Reason, ServerMessage};

impl Front {
    pub(super) fn applied(&mut self, applied: Applied, tree: &Tree) {
        self.applied_upto = applied.upto;
        self.tell_watches(&applied, tree);
        self.revision = applied.revision;
        self.locks_changed(&applied.changes);
        for outcome in applied.outcomes {
            self.outcome(outcome);
        }
    }

    fn outcome(&mut self, outcome: CommandOutcome) {
        match outcome {
            CommandOutcome::Replied { session, number, revision, outcome, who } => {
                who.into_iter().for_each(|who| self.stands_for(session, who));
                let Some(id) = self.sessions.get(&session).copied() else { return };
                self.say(id, &ServerMessage::Reply { number, revision, outcome: &outcome });
                let connection = self.connections.get_mut(&id).expect("a session's connection is open");
                // A late copy from another connection may be answered before what comes before it was sent again.
                if number == connection.answered_upto + 1 {
                    connection.answered_upto = number;
                    self.reads.unblock(id, number, self.revision);
                }
            }
            CommandOutcome::Gap { session, expected, .. } => {
                if let Some(id) = self.sessions.get(&session).copied() {
                    let connection = self.connections.get(&id).expect("a session's connection is open");
                    if connection.sent_again_from != Some(expected) {
                        self.refuse(id, expected, Reason::Resend);
                    }
                }
            }
            CommandOutcome::SessionOpened { token, secret, session, timeout_ms, who } => {
                let asker = self.opening.get(&token).and_then(|id| self.connections.get(id));
                // A token is the client's own, and another client may use the same: the secret tells them apart.
                if asker.and_then(|c| c.opening).is_some_and(|opening| opening.is_new_with(secret)) {
                    let before = self.sessions.get(&session).copied();
                    if let Some(id) = self.enter_session(token, session, who) {
                        // What it asked for on an earlier one would be answered here, whichever of the two the client is on.
                        before.into_iter().filter(|old| *old != id).for_each(|old| self.displace(old, None));
                        self.say(id, &ServerMessage::SessionOpened { session, timeout_ms });
                    }
                }
            }
            CommandOutcome::SessionsFull { token, secret } => self.sessions_full(token, secret),
            CommandOutcome::SessionResumed { token, session, timeout_ms, last_number, before: applied_before, who } => {
                let before = self.sessions.get(&session).copied();
                if before.and_then(|id| self.connections.get(&id)).is_some_and(|c| c.entered_with == Some(token)) {
                    // The command was proposed again by another leader, and both copies were chosen.
                    return;
                }
                let entered = self.enter_session(token, session, who);
                if let Some(old) = before.filter(|old| Some(*old) != entered) {
                    self.displace(old, Some(session).filter(|_| entered.is_none()));
                }
                if let Some(id) = entered {
                    let applied_upto = last_number;
                    self.say(id, &ServerMessage::SessionResumed { session, timeout_ms, applied_upto, applied_before });
                }
            }
            CommandOutcome::SessionRefused { token, session, why } => self.session_refused(token, session, why),
            CommandOutcome::Unacknowledged { session, number } => {
                if let Some(id) = self.sessions.get(&session).copied() {
                    self.refuse(id, number, Reason::Overloaded { retry_after_ms: OVERLOAD_RETRY_MS });
                }
            }
            CommandOutcome::SessionClosed { session, number, revision, outcome } => {
                let Some(id) = self.sessions.get(&session).copied() else { return };
                self.say(id, &ServerMessage::Reply { number, revision, outcome: &outcome });
                self.end_session(id, session);
            }
            CommandOutcome::SessionExpired { session } | CommandOutcome::RequestMissed { session, .. } => {
                if let Some(id) = self.sessions.get(&session).copied() {
                    self.end_session(id, session);
                }
            }
            CommandOutcome::ExpiryMissed { .. }
            | CommandOutcome::Settled { .. }
            | CommandOutcome::CachingMarked { .. }
            | CommandOutcome::ReignBegun => {}
        }
    }

    /// A connection's session goes on on another one; `left`: on none of this front.
    fn displace(&mut self, old: ConnectionId, left: Option<SessionId>) {
        self.leave_session(old, left);
        if let Some(connection) = self.connections.get_mut(&old) {
            connection.session = None;
        }
        // The client knows best which of its connections it wants: if it is this one, it takes the session up again.
        let code = if cfg!(bug = "40") { FaultCode::OutOfTurn } else { FaultCode::Unavailable };
        self.fault(old, code, "the session was taken up on another connection");
    }

    pub(super) fn session_refused(&mut self, token: u64, session: SessionId, why: NotResumed) {
        let Some(id) = self.opening.remove(&token) else { return };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.opening = None;
        }
        match why {
            NotResumed::Over => self.say(id, &ServerMessage::SessionOver { session }),
            NotResumed::WrongSecret => self.fault(id, FaultCode::WrongSecret, "the secret is not that session's"),
            NotResumed::Taken => self.fault(id, FaultCode::Taken, "another process took the session over"),
        }
    }

    /// The cell has no room for another session; the client may ask again later.
    fn sessions_full(&mut self, token: u64, secret: u128) {
        let Some(id) = self.opening.get(&token).copied() else { return };
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.opening.is_some_and(|opening| opening.is_new_with(secret)) {
            self.open_later(token, id, Reason::Overloaded { retry_after_ms: SESSIONS_FULL_RETRY_MS });
        }
    }

    /// The command that makes a session, or takes one up, did not reach the log.
    pub(super) fn opening_refused(&mut self, token: u64, reason: Reason) {
        let Some(id) = self.opening.get(&token).copied() else { return };
        match reason {
            // Who leads then is asked; if nobody is known to, the next one will be.
            Reason::NotReady | Reason::Resend => self.astray.push(token),
            Reason::Overloaded { .. } | Reason::Throttled { .. } => self.open_later(token, id, reason),
        }
    }

    /// Puts those openings again that came to somebody who does not lead, when he may know better who does.
    pub(super) fn open_astray(&mut self, now: Instant) {
        if self.astray.is_empty() || now < *self.astray_until.get_or_insert(now + READ_RETRY) {
            return;
        }
        self.astray_until = None;
        for token in std::mem::take(&mut self.astray) {
            let Some(id) = self.opening.get(&token).copied().filter(|_| self.leader.is_some()) else { continue };
            self.put_opening(id);
        }
    }

    /// The client asks again for its session when it has waited.
    fn open_later(&mut self, token: u64, id: ConnectionId, reason: Reason) {
        self.opening.remove(&token);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.opening = None;
        }
        self.say(id, &ServerMessage::Refused { number: 0, reason });
    }

    /// The session a connection waited for exists.
    fn enter_session(&mut self, token: u64, session: SessionId, who: Arc<Principals>) -> Option<ConnectionId> {
        let id = self.opening.remove(&token)?;
        let connection = self.connections.get_mut(&id)?;
        connection.enter(session, token);
        connection.who = who;
        self.sessions.insert(session, id);
        self.requests.push(FrontRequest::Attach(session));
        Some(id)
    }

    pub(super) fn leave_session(&mut self, id: ConnectionId, session: Option<SessionId>) {
        if let Some(session) = session.filter(|session| self.sessions.get(session) == Some(&id)) {
            self.sessions.remove(&session);
            self.requests.push(FrontRequest::Detach(session));
        }
    }

    /// The session is over, and its client is told.
    fn end_session(&mut self, id: ConnectionId, session: SessionId) {
        self.leave_session(id, Some(session));
        self.watches.forget(id);
        // What reads waited for in it will not come any more.
        self.reads.let_go(id);
        self.reads.unblock(id, u64::MAX, self.revision);
        let connection = self.connections.get_mut(&id).expect("a session's connection is open");
        connection.session = None;
        self.say(id, &ServerMessage::SessionOver { session });
    }
}
