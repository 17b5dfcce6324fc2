//! The client side of a server: connections, admission, and reads answered where the client is connected.
//!
//! A front owns the connections of one core. It cuts their bytes into frames, checks that requests come in order, and hands
//! mutations on as [`Submission`](crate::replica::exchange::Submission)s; it answers reads from the tree itself. What it needs from its replica it asks with
//! [`FrontRequest`]s, and gets as [`FrontNotice`]s; bytes for clients, and connections to close, it leaves in [`Front::take_output`].
//!
//! A turn of the loop goes: bytes in ([`Front::received`]); [`Front::prepare`], which collects what the replica must do; the
//! replica's notices ([`Front::notice`]); [`Front::finish`], which answers reads.
//!
//! Invariants:
//!
//! 1. *Answer, then check.* Reads under the lease are answered into the output first; then the lease is looked at again, by
//!    a clock reading taken after. Only the same ballot with time left lets them go; otherwise they are taken back and wait
//!    for a read point.
//! 2. A read sees every earlier mutation of its own connection: it waits until those have been answered. It may see later
//!    ones, which a client that pipelines has asked for at the same time.
//! 3. Requests of a session are submitted in the order of their numbers, without a hole. When some may have been lost
//!    (another leader, an overload), the client is told once where to start again, and everything else on that
//!    connection is dropped until it does.
//! 4. A session's ping is answered only after its leader, having heard it, proved that it leads.
//!    A kept answer's lease is renewed, and an answer given to be kept, only behind such a read point too (`caching`).
//! 5. A lock that changes hands is told to the session that has it now, and to nobody else (`locks`).
//! 6. Bad input costs its connection, and nothing else.
//! 7. A watch is told of a change before any answer of the same notice, and before any read of its connection that shows
//!    it. It is told each change once, in order, or that there is a gap.
//!
//! Watches (`watches`) are the front's own: nothing of them is replicated. They are fed with the same lists of changes
//! that keep the tree, live, or from their traces in the `past`, which keeps no nodes; a client takes them up again anywhere
//! with the revision it has come to.
//!
//! Deliberately absent: retained requests (the client has them), results (the namespace has them), clocks and sockets.

mod caching;
mod connection;
mod locks;
mod past;
mod patience;
mod reads;
mod snapshots;
#[cfg(test)]
mod tests;
mod watches;
mod who;

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;

use self::caching::Ping;
use self::connection::{Connection, Opening};
use self::locks::LockWaits;
use self::patience::Patience;
use self::reads::{Cached, Reads};
use self::watches::Watches;
use crate::limits::{
    BATCH_BYTES_TARGET, CLIENT_FRAME_BYTES_MAX, NODE_DATA_BYTES_MAX, OVERLOAD_RETRY_MS, REQUEST_BYTES_MAX,
    SESSION_REQUESTS_IN_FLIGHT, SESSIONS_FULL_RETRY_MS,
};
use crate::namespace::acl::{Principals, User};
use crate::namespace::codec::OperationRef;
use crate::namespace::command::{Command, Revision, SessionId};
use crate::namespace::{CommandOutcome, NotResumed, Tree};
use crate::paxos::{CellId, ReplicaId, Slot};
use crate::replica::exchange::{Applied, FrontNotice, FrontRequest, Gathering};
use crate::time::{Duration, Instant};
use crate::wire::client::{
    ClientMessage, FaultCode, Hello, MemberAddress, PROTOCOL_MAX, PROTOCOL_MIN, Reason, ServerMessage, Welcome,
};
use crate::wire::frame::Frame;

/// Names one connection of a front; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// What a front says of its replica and its cell.
#[derive(Clone, Debug)]
pub struct Facts {
    pub cell: CellId,
    pub replica: ReplicaId,
    pub members: Vec<MemberAddress>,
    pub timeout_min: Duration,
    pub timeout_max: Duration,
    /// Makes the tokens of sessions taken up again unlike those of other fronts, and scatters indices.
    pub seed: u64,
    /// Changes kept for watches that come back, in bytes.
    pub past_bytes_max: usize,
    /// Who may do everything, if anybody may.
    pub super_user: Option<User>,
}

/// The client connections of one core.
#[derive(Debug)]
pub struct Front {
    facts: Facts,
    leader: Option<ReplicaId>,
    applied_upto: Slot,
    revision: Revision,
    connections: HashMap<ConnectionId, Connection>,
    sessions: HashMap<SessionId, ConnectionId>,
    /// Connections that wait for their session, by token.
    opening: BTreeMap<u64, ConnectionId>,
    resumed: u64,
    patience: Patience,
    reads: Reads,
    lock_waits: LockWaits,
    watches: Watches,
    pings: Vec<(ConnectionId, Ping)>,
    touched: Vec<SessionId>,
    awaiting_pings: BTreeMap<u64, Vec<(ConnectionId, Ping)>>,
    next_ticket: u64,
    /// Who asked the replica how it is, or for its sessions, by ticket.
    askers: BTreeMap<u64, (ConnectionId, u64)>,
    gathering: Gathering,
    requests: Vec<FrontRequest>,
    dirty: Vec<ConnectionId>,
    closing: Vec<ConnectionId>,
}

/// What a front wants done with a connection.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Send { connection: ConnectionId, bytes: Bytes },
    /// Close it, after what was sent before.
    Close { connection: ConnectionId },
}

impl Front {
    /// A front without connections.
    #[must_use]
    pub fn new(facts: Facts) -> Self {
        Self {
            watches: Watches::new(facts.seed, facts.past_bytes_max),
            facts,
            leader: None,
            applied_upto: Slot(0),
            revision: 0,
            connections: HashMap::new(),
            sessions: HashMap::new(),
            opening: BTreeMap::new(),
            resumed: 0,
            patience: Patience::default(),
            reads: Reads::default(),
            lock_waits: LockWaits::default(),
            pings: Vec::new(),
            touched: Vec::new(),
            awaiting_pings: BTreeMap::new(),
            next_ticket: 0,
            askers: BTreeMap::new(),
            gathering: Gathering::default(),
            requests: Vec::new(),
            dirty: Vec::new(),
            closing: Vec::new(),
        }
    }

    /// A client connected, from there.
    pub fn opened(&mut self, now: Instant, id: ConnectionId, address: Option<IpAddr>) {
        self.connections.insert(id, Connection::of(Arc::new(Principals::at(address))));
        self.patience.opened(now, id);
    }

    /// A client's connection is gone. Its session lives on until its time is over.
    pub fn closed(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.leave_session(id, connection.session);
        if let Some(opening) = connection.opening {
            self.opening.remove(&opening.token());
        }
        self.reads.forget(id);
        self.lock_waits.forget(id);
        self.watches.forget(id);
    }

    /// Bytes of a client arrived.
    pub fn received(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.closing) else { return };
        let mut reader = connection.take_reader();
        let result = reader.feed(bytes, CLIENT_FRAME_BYTES_MAX, |frame| self.frame(id, frame));
        if let Some(connection) = self.connections.get_mut(&id) {
            let waits = reader.buffered() > 0;
            connection.reader = Some(reader);
            if waits && !std::mem::replace(&mut connection.watched, true) {
                self.patience.begun(id, connection.frames);
            }
        }
        if let Err(fault) = result {
            self.fault(id, fault.code, &fault.text);
        }
    }

    /// The replica tells something. `tree` has all that was applied so far, this included.
    pub fn notice(&mut self, notice: FrontNotice, tree: &Tree) {
        match notice {
            FrontNotice::Applied(applied) => self.applied(applied, tree),
            FrontNotice::ReadPoint { ticket, upto, withheld, word } => {
                self.reads.point(ticket, upto, &word.kept);
                if upto.is_some() {
                    self.answer_pings(ticket, &withheld, &word);
                }
                self.awaiting_pings.remove(&ticket);
            }
            FrontNotice::Recall { session, recall } => self.recall(session, recall),
            FrontNotice::Leader { leader } => self.leader_changed(leader),
            FrontNotice::Refused { requests, overloaded } => {
                let reason = if overloaded {
                    Reason::Overloaded { retry_after_ms: OVERLOAD_RETRY_MS }
                } else {
                    Reason::NotReady
                };
                for (session, number) in requests {
                    if let Some(id) = self.sessions.get(&session).copied() {
                        self.refuse(id, number, reason);
                    }
                }
            }
            FrontNotice::Found { members } => self.facts.members = members,
            FrontNotice::Members { ticket, members } => {
                if let Some((id, number)) = self.askers.remove(&ticket) {
                    self.say(id, &ServerMessage::MembersReply { number, members: *members });
                }
            }
            FrontNotice::Status { ticket, mut status } => {
                if let Some((id, number)) = self.askers.remove(&ticket) {
                    status.connections = self.connections.len() as u64;
                    self.say(id, &ServerMessage::StatusReply { number, status: *status });
                }
            }
            FrontNotice::Snapshot { ticket, answer } => self.tell_snapshot(ticket, answer),
            FrontNotice::Sessions { ticket, page } => {
                if let Some((id, number)) = self.askers.remove(&ticket) {
                    self.say(id, &ServerMessage::SessionsReply { number, page });
                }
            }
        }
    }

    /// Before the replica ends its turn: everything collected is turned into requests. `leased`: the leader lease is held
    /// here, so linearizable reads need no read point.
    pub fn prepare(&mut self, now: Instant, leased: bool, requests: &mut Vec<FrontRequest>) {
        self.lose_patience(now);
        self.cut_run();
        requests.append(&mut self.requests);
        self.reads.wake(now);
        let need_point = !leased && self.reads.has_ready();
        if need_point || self.reads.has_wishing() || !self.pings.is_empty() {
            self.next_ticket += 1;
            let ticket = self.next_ticket;
            if need_point {
                self.reads.ask(ticket);
            }
            let wish = self.wish(ticket);
            if !self.pings.is_empty() {
                self.awaiting_pings.insert(ticket, std::mem::take(&mut self.pings));
            }
            let sessions = std::mem::take(&mut self.touched);
            requests.push(FrontRequest::ReadPoint { ticket, sessions, wish });
        }
    }

    /// After the replica's turn: answers the reads that can be. `still_leased` reads the lease and the clock: it says
    /// whether the lease that held in [`Front::prepare`] holds still, unbroken. Returns whether reads were answered under it.
    pub fn finish(&mut self, now: Instant, tree: &Tree, leased: bool, still_leased: impl FnOnce() -> bool) -> bool {
        self.tell_the_past(tree);
        self.answer_pointed(now, tree);
        if !leased || !self.reads.has_ready() {
            return false;
        }
        let (mut reads, mut marks) = (Vec::new(), Vec::new());
        for parked in self.reads.take_ready() {
            if self.watches.is_behind(parked.connection) {
                self.reads.hold(parked, false);
            } else if self.has_much_to_say(parked.connection) {
                self.reads.keep_ready(parked);
            } else {
                marks.push(self.answer(&parked, tree));
                reads.push(parked);
            }
        }
        if still_leased() || cfg!(bug = "13") {
            return true;
        }
        for (parked, mark) in reads.iter().zip(marks).rev() {
            if let (Some(connection), Some(mark)) = (self.connections.get_mut(&parked.connection), mark) {
                connection.out.truncate(mark);
            }
        }
        self.reads.put_back(reads);
        false
    }

    /// Whether another [`Front::prepare`] would ask for something at once.
    #[must_use]
    pub fn is_restless(&self) -> bool {
        self.reads.has_ready()
            || self.reads.has_wishing()
            || self.reads.has_reached(self.applied_upto)
            || !self.requests.is_empty()
            || !self.pings.is_empty()
            || !self.gathering.is_empty()
            || self.watches.has_due()
    }

    /// When [`Front::prepare`] is due, unless something happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        self.patience.next_deadline().min(self.reads.next_deadline())
    }

    /// What is to be sent and closed; at most one send a connection.
    pub fn take_output(&mut self, mut take: impl FnMut(Output)) {
        for id in self.dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            connection.dirty = false;
            if !connection.out.is_empty() {
                take(Output::Send { connection: id, bytes: connection.out.split().freeze() });
            }
        }
        for connection in self.closing.drain(..) {
            take(Output::Close { connection });
        }
    }

    /// How many clients are connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Ends connections that hold a place for nothing.
    fn lose_patience(&mut self, now: Instant) {
        while let Some(id) = self.patience.stranger_due(now) {
            if self.connections.get(&id).is_some_and(|c| !c.greeted) {
                self.fault(id, FaultCode::OutOfTurn, "no hello came: say it within 5 s of connecting");
            }
        }
        while let Some((id, frames)) = self.patience.frame_due(now) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let waits = connection.reader.as_ref().is_some_and(|reader| reader.buffered() > 0);
            if waits && connection.frames == frames {
                self.fault(id, FaultCode::Malformed, "a frame was begun and not whole within 30 s");
            } else if waits {
                self.patience.begun(id, connection.frames);
            } else {
                connection.watched = false;
            }
        }
    }

    fn frame(&mut self, id: ConnectionId, frame: Frame<'_>) -> Result<(), connection::Fault> {
        let message = ClientMessage::decode(frame)?;
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.closing) else { return Ok(()) };
        connection.frames += 1;
        if !connection.greeted && !matches!(message, ClientMessage::Hello(_)) {
            return Err(connection::Fault::out_of_turn("say hello first"));
        }
        match message {
            ClientMessage::Hello(hello) => self.hello(id, &hello),
            ClientMessage::OpenSession { token, secret, timeout_ms } => {
                if connection.session.is_some() || connection.opening.is_some() {
                    return Err(connection::Fault::out_of_turn("this connection has its session"));
                }
                let (min, max) = (self.facts.timeout_min.as_millis() as u32, self.facts.timeout_max.as_millis() as u32);
                self.open(id, Opening::New { token, secret, timeout_ms: timeout_ms.clamp(min, max) });
                Ok(())
            }
            ClientMessage::Request { number, acked_upto, operation } => {
                self.request(id, (number, acked_upto), operation, who::check_is_a_clients)
            }
            ClientMessage::Authenticate { number, acked_upto, name, password } => {
                self.authenticate(id, (number, acked_upto), name, password)
            }
            ClientMessage::Read { number, consistency, read } => self.read(id, number, (consistency, Cached::No), read),
            ClientMessage::Cache(ask) => self.cache_asked(id, ask),
            ClientMessage::Ping { number } => {
                self.pings.push((id, Ping { number, renews: false }));
                self.touched.extend(connection.session);
                Ok(())
            }
            ClientMessage::Watch { watch, registration } => self.watch(id, watch, &registration),
            ClientMessage::Unwatch { watch } => {
                self.unwatch(id, watch);
                Ok(())
            }
            ClientMessage::Members { number, change } => {
                let (ticket, trust) = (self.ask_as(id, number), self.trust(id));
                self.requests.push(FrontRequest::Members { ticket, trust, change });
                Ok(())
            }
            ClientMessage::Status { number } => {
                let ticket = self.ask_as(id, number);
                self.requests.push(FrontRequest::Status { ticket });
                Ok(())
            }
            ClientMessage::Snapshot { number, question } => {
                self.ask_snapshot(id, number, question);
                Ok(())
            }
            ClientMessage::Sessions { number, after } => {
                let ticket = self.ask_as(id, number);
                self.requests.push(FrontRequest::Sessions { ticket, after });
                Ok(())
            }
        }
    }

    /// A ticket under which the replica's answer finds who asked.
    fn ask_as(&mut self, id: ConnectionId, number: u64) -> u64 {
        self.next_ticket += 1;
        self.askers.insert(self.next_ticket, (id, number));
        self.next_ticket
    }

    fn hello(&mut self, id: ConnectionId, hello: &Hello<'_>) -> Result<(), connection::Fault> {
        let connection = self.connections.get_mut(&id).expect("the caller found it");
        if connection.greeted {
            return Err(connection::Fault::out_of_turn("hello is said once"));
        }
        if hello.protocol_max < PROTOCOL_MIN || hello.protocol_min > PROTOCOL_MAX {
            let text = format!("this server speaks protocols {PROTOCOL_MIN} to {PROTOCOL_MAX}");
            return Err(connection::Fault { code: FaultCode::Version, text });
        }
        if hello.cell.is_some_and(|cell| cell != self.facts.cell) {
            let text = format!("this is cell {}: check the endpoints", self.facts.cell);
            return Err(connection::Fault { code: FaultCode::WrongCell, text });
        }
        connection.greeted = true;
        connection.seen = hello.seen;
        let welcome = Welcome {
            protocol: hello.protocol_max.min(PROTOCOL_MAX),
            cell: self.facts.cell,
            replica: self.facts.replica,
            leader: self.leader,
            members: self.facts.members.clone(),
            request_bytes_max: REQUEST_BYTES_MAX as u32,
            data_bytes_max: NODE_DATA_BYTES_MAX as u32,
            requests_in_flight_max: SESSION_REQUESTS_IN_FLIGHT as u32,
            revision: self.revision,
        };
        self.say(id, &ServerMessage::Welcome(welcome));
        if let Some(resume) = hello.resume {
            self.resumed += 1;
            let token = self.facts.seed.wrapping_add(self.resumed);
            self.open(id, Opening::Resumed { token, resume });
        }
        Ok(())
    }

    /// Asks the log for a connection's session. Without a leader it is asked when there is one.
    fn open(&mut self, id: ConnectionId, opening: Opening) {
        self.opening.insert(opening.token(), id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.opening = Some(opening);
        }
        if self.leader.is_some() {
            self.put_command(&opening.command(self.address_of(id)));
        }
    }

    /// Takes a session's next request, if `check` lets it pass.
    fn request(
        &mut self,
        id: ConnectionId,
        (number, acked_upto): (u64, u64),
        operation: &[u8],
        check: fn(&OperationRef<'_>) -> Result<(), connection::Fault>,
    ) -> Result<(), connection::Fault> {
        let connection = self.connections.get_mut(&id).expect("the caller found it");
        let Some(session) = connection.session else {
            // It asked for a session and does not wait for it: what comes before is not lost, it is refused.
            return Err(connection::Fault::out_of_turn("a request needs a session: open one and wait for it"));
        };
        if operation.len() > REQUEST_BYTES_MAX {
            let text = format!("an operation of {} bytes is past the limit of {REQUEST_BYTES_MAX}", operation.len());
            return Err(connection::Fault { code: FaultCode::TooLarge, text });
        }
        if !connection.admits(number) {
            return Ok(());
        }
        if connection.unanswered(number) > SESSION_REQUESTS_IN_FLIGHT as u64 {
            self.refuse(id, number, Reason::Overloaded { retry_after_ms: OVERLOAD_RETRY_MS });
            return Ok(());
        }
        let decoded = OperationRef::decode(operation)?;
        check(&decoded)?;
        let data_bytes = decoded.data_bytes();
        if data_bytes > NODE_DATA_BYTES_MAX {
            // The client was told the limit in the welcome: what comes all the same is kept out of the log.
            let text = format!("{data_bytes} bytes of data are past the limit of {NODE_DATA_BYTES_MAX} for a node");
            return Err(connection::Fault { code: FaultCode::TooLarge, text });
        }
        connection.submitted_upto = number;
        if self.leader.is_some() {
            self.gathering.put_request(session, number, acked_upto, operation);
            if self.gathering.len() >= BATCH_BYTES_TARGET {
                self.cut_run();
            }
        }
        // Without a leader it waits to be sent again: `leader_changed` says so when there is one.
        Ok(())
    }

    fn applied(&mut self, applied: Applied, tree: &Tree) {
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
                    self.reads.unblock(id, number);
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
                if asker.and_then(|c| c.opening).is_some_and(|opening| opening.is_new_with(secret))
                    && let Some(id) = self.enter_session(token, session, who)
                {
                    self.say(id, &ServerMessage::SessionOpened { session, timeout_ms });
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
                    self.leave_session(old, Some(session).filter(|_| entered.is_none()));
                    if let Some(connection) = self.connections.get_mut(&old) {
                        connection.session = None;
                    }
                    // The client knows best which of its connections it wants: if it is this one, it takes the session up again.
                    self.fault(old, FaultCode::Unavailable, "the session was taken up on another connection");
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

    fn session_refused(&mut self, token: u64, session: SessionId, why: NotResumed) {
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
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.opening.is_some_and(|opening| opening.is_new_with(secret)) {
            connection.opening = None;
            self.opening.remove(&token);
            let reason = Reason::Overloaded { retry_after_ms: SESSIONS_FULL_RETRY_MS };
            self.say(id, &ServerMessage::Refused { number: 0, reason });
        }
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

    fn leave_session(&mut self, id: ConnectionId, session: Option<SessionId>) {
        if let Some(session) = session.filter(|session| self.sessions.get(session) == Some(&id)) {
            self.sessions.remove(&session);
            self.requests.push(FrontRequest::Detach(session));
        }
    }

    /// The session is over, and its client is told.
    fn end_session(&mut self, id: ConnectionId, session: SessionId) {
        self.leave_session(id, Some(session));
        self.watches.forget(id);
        let connection = self.connections.get_mut(&id).expect("a session's connection is open");
        connection.session = None;
        self.say(id, &ServerMessage::SessionOver { session });
    }

    fn leader_changed(&mut self, leader: Option<ReplicaId>) {
        self.leader = leader;
        self.gathering.clear();
        self.reads.retry_now();
        let mut ids: Vec<_> = self.connections.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(connection) = self.connections.get(&id).filter(|c| c.greeted) else { continue };
            let lost_from = connection.first_unanswered();
            let opening = connection.opening;
            self.say(id, &ServerMessage::Leader { leader });
            if leader.is_none() {
                continue;
            }
            if let Some(opening) = opening {
                self.put_command(&opening.command(self.address_of(id)));
            }
            if let Some(number) = lost_from {
                self.refuse(id, number, Reason::Resend);
            }
        }
    }

    /// Tells the client that requests from `number` on had no effect and must be sent again.
    fn refuse(&mut self, id: ConnectionId, number: u64, reason: Reason) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(number) = connection.refuse_from(number) else { return };
        self.reads.drop_after(id, number);
        self.say(id, &ServerMessage::Refused { number, reason });
    }

    fn put_command(&mut self, command: &Command) {
        self.gathering.put(command);
    }

    fn cut_run(&mut self) {
        if !self.gathering.is_empty() {
            self.requests.push(FrontRequest::Submit(self.gathering.take()));
        }
    }

    fn say(&mut self, id: ConnectionId, message: &ServerMessage<'_>) {
        if let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.closing) {
            message.encode(&mut connection.out);
            if !std::mem::replace(&mut connection.dirty, true) {
                self.dirty.push(id);
            }
        }
    }

    fn fault(&mut self, id: ConnectionId, code: FaultCode, text: &str) {
        self.say(id, &ServerMessage::Fault { code, text });
        if let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.closing) {
            connection.closing = true;
            self.closing.push(id);
        }
    }
}
