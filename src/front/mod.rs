//! The client side of a server: connections, admission, and reads answered where the client is connected.
//!
//! A front owns the connections of one core. It cuts their bytes into frames, checks that requests come in order, and
//! hands mutations on as [`Submission`](crate::replica::exchange::Submission)s; it answers reads from the tree itself.
//! What it needs from its replica it asks with [`FrontRequest`]s, and gets as [`FrontNotice`]s; bytes for clients, and
//! connections to close, it leaves in [`Front::take_output`].
//!
//! A turn of the loop goes: bytes in ([`Front::received`]); [`Front::prepare`], which collects what the replica must
//! do; the replica's notices ([`Front::notice`]); [`Front::finish`], which answers reads.
//!
//! Invariants:
//!
//! 1. *Answer, then check.* Reads under the lease are answered into the output first; then the lease is looked at
//!    again, by a clock reading taken after. Only the same ballot with time left lets them go; otherwise they are taken
//!    back and wait for a read point.
//! 2. A read sees every earlier mutation of its own connection: it waits until those have been answered. It may see
//!    later ones, which a client that pipelines has asked for at the same time.
//! 3. Requests of a session are submitted in the order of their numbers, without a hole. When some may have been lost
//!    (another leader, an overload), the client is told once where to start again, and everything else on that
//!    connection is dropped until it does.
//! 4. A session's ping is answered only after its leader, having heard it, proved that it leads. A kept answer's lease
//!    is renewed, and an answer given to be kept, only behind such a read point too (`caching`).
//! 5. A lock that changes hands is told to the session that has it now, and to nobody else (`locks`).
//! 6. Bad input costs its connection, and nothing else. Nothing that keeps a session, a lock or a kept answer alive is
//!    ever refused for what else its principal asks (`throttle`).
//! 7. A watch is told of a change before any answer of the same notice, and before any read of its connection that
//!    shows it. It is told each change once, in order, or that there is a gap.
//!
//! Watches (`watches`) are the front's own: nothing of them is replicated. They are fed with the same lists of changes
//! that keep the tree, live, or from their traces in the `past`, which keeps no nodes; a client takes them up again
//! anywhere with the revision it has come to.
//!
//! A page of names that comes upon nothing for long but what its reader may not see takes several turns (`reads`): it
//! goes on behind the last name passed over, as if its client had been given an empty page and asked for the next.
//!
//! What clients say is judged in `messages`, what the log says of it in `outcomes`; where a connection stands between
//! the two is kept in `connection`, and whom it stands for in `who`. Sessions that were made up are told from good ones in
//! `resumptions`, so that the log is not asked about them. What is asked about the cell itself waits its turn
//! in `questions`, images are fetched through `snapshots`, and those who take too long are let go by `patience`.
//!
//! Deliberately absent: retained requests (the client has them), results (the namespace has them), clocks and sockets.

mod caching;
mod connection;
mod locks;
mod messages;
mod outcomes;
mod past;
mod patience;
mod pings;
mod questions;
mod reads;
mod resumptions;
mod snapshots;
#[cfg(test)]
mod tests;
mod throttle;
mod watches;
mod who;

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;

use self::connection::Connection;
use self::locks::LockWaits;
use self::patience::Patience;
use self::pings::Pings;
use self::questions::Questions;
use self::reads::{Parked, Reads};
use self::resumptions::Unseen;
pub use self::throttle::Rate;
use self::throttle::Throttle;
use self::watches::Watches;
use crate::limits::{BATCH_BYTES_TARGET, CLIENT_FRAME_BYTES_MAX, OVERLOAD_RETRY_MS};
use crate::namespace::Tree;
use crate::namespace::acl::{Principals, User};
use crate::namespace::command::{Command, Revision, SessionId};
use crate::paxos::{CellId, ReplicaId, Slot};
use crate::replica::exchange::{FrontNotice, FrontRequest, Gathering, Resumption};
use crate::time::{Duration, Instant};
use crate::wire::client::{FaultCode, MemberAddress, Reason, ServerMessage};

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
    /// How much each principal may ask, if that is bounded.
    pub rate: Option<Rate>,
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
    /// Those of them whose command came to somebody who does not lead, and when they are put again.
    astray: Vec<u64>,
    astray_until: Option<Instant>,
    /// Those of them that the replica is asked to take up again with its next turn ...
    resumptions: Vec<Resumption>,
    /// ... and those whose sessions it has not seen opened.
    unseen: Unseen,
    resumed: u64,
    patience: Patience,
    reads: Reads,
    /// Read under the lease in this turn, and from where on in their connections' output.
    answered: Vec<(Parked, Option<usize>)>,
    lock_waits: LockWaits,
    throttle: Throttle,
    watches: Watches,
    pings: Pings,
    next_ticket: u64,
    /// Who asked the replica how it is, or for its sessions, by ticket.
    askers: BTreeMap<u64, (ConnectionId, u64)>,
    questions: Questions,
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
            throttle: Throttle::new(facts.rate),
            facts,
            leader: None,
            applied_upto: Slot(0),
            revision: 0,
            connections: HashMap::new(),
            sessions: HashMap::new(),
            opening: BTreeMap::new(),
            astray: Vec::new(),
            astray_until: None,
            resumptions: Vec::new(),
            unseen: Unseen::default(),
            resumed: 0,
            patience: Patience::default(),
            reads: Reads::default(),
            answered: Vec::new(),
            lock_waits: LockWaits::default(),
            pings: Pings::default(),
            next_ticket: 0,
            askers: BTreeMap::new(),
            questions: Questions::new(),
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
        // A client that came back asks with the same token: that is its new connection's then.
        let token = connection.opening.map(|opening| opening.token());
        if let Some(token) = token.filter(|token| self.opening.get(token) == Some(&id)) {
            self.opening.remove(&token);
            self.unseen.forget(token);
        }
        self.reads.forget(id);
        self.pings.forget(id);
        self.lock_waits.forget(id);
        if !cfg!(bug = "45") {
            self.watches.forget(id);
        }
    }

    /// Bytes of a client arrived.
    pub fn received(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        self.throttle.turn(now);
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.closing) else { return };
        let mut reader = connection.take_reader();
        let result = reader.feed(bytes, CLIENT_FRAME_BYTES_MAX, |frame| self.frame(id, frame));
        if let Some(connection) = self.connections.get_mut(&id) {
            let waits = reader.buffered() > 0;
            // Between frames none is kept, nor room for one: there may be very many idle connections.
            connection.reader = waits.then_some(reader);
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
                self.unseen_pointed(ticket, upto);
                self.answer_pings(ticket, upto.is_some(), &withheld, &word);
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
                    if number == 0 {
                        self.opening_refused(session.0, reason);
                    } else if let Some(id) = self.sessions.get(&session).copied() {
                        self.refuse(id, number, reason);
                    }
                }
            }
            FrontNotice::Found { members } => self.facts.members = members,
            FrontNotice::Members { ticket, members } => {
                self.answer_question(ticket, |number| ServerMessage::MembersReply { number, members: *members });
            }
            FrontNotice::Status { ticket, mut status } => {
                status.connections = self.connections.len() as u64;
                status.throttled = self.throttle.refused();
                self.answer_question(ticket, |number| ServerMessage::StatusReply { number, status: *status });
            }
            FrontNotice::NotResumed(refused) => {
                refused.into_iter().for_each(|(token, session, why)| self.session_refused(token, session, why));
            }
            FrontNotice::Snapshot { ticket, answer } => self.tell_snapshot(ticket, answer),
            FrontNotice::Sessions { ticket, page } => {
                self.answer_question(ticket, |number| ServerMessage::SessionsReply { number, page });
            }
        }
    }

    /// Before the replica ends its turn: everything collected is turned into requests. `leased`: the leader lease is
    /// held here, so linearizable reads need no read point.
    pub fn prepare(&mut self, now: Instant, leased: bool, requests: &mut Vec<FrontRequest>) {
        self.lose_patience(now);
        self.open_astray(now);
        self.cut_run();
        self.count_watches();
        requests.append(&mut self.requests);
        self.put_questions(requests);
        self.wake(now);
        self.put_resumptions(requests);
        let need_point = !leased && self.reads.has_ready();
        if need_point || self.reads.has_wishing() || !self.pings.ready().is_empty() || self.unseen.has_ready() {
            self.next_ticket += 1;
            let ticket = self.next_ticket;
            if need_point {
                self.reads.ask(ticket);
            }
            let (wish, sessions) = (self.wish(ticket), self.who_spoke());
            self.pings.ask(ticket);
            self.unseen.ask(ticket);
            requests.push(FrontRequest::ReadPoint { ticket, sessions, wish });
        }
    }

    /// What no leader could be asked is asked again, once its time has come.
    fn wake(&mut self, now: Instant) {
        if self.reads.wake(now) {
            self.pings.retry();
            self.unseen.retry();
        }
    }

    /// After the replica's turn: answers the reads that can be. `still_leased` reads the lease and the clock: it says
    /// whether the lease that held in [`Front::prepare`] holds still, unbroken. Returns whether reads were answered
    /// under it.
    pub fn finish(&mut self, now: Instant, tree: &Tree, leased: bool, still_leased: impl FnOnce() -> bool) -> bool {
        self.tell_the_past(tree);
        self.answer_pointed(now, tree);
        if !leased || !self.reads.has_ready() {
            return false;
        }
        self.answer_ready(tree);
        if still_leased() || cfg!(bug = "13") {
            self.let_answers_go();
            return true;
        }
        self.take_answers_back();
        false
    }

    /// Whether another [`Front::prepare`] would ask for something at once.
    #[must_use]
    pub fn is_restless(&self) -> bool {
        self.reads.has_ready()
            || self.reads.has_wishing()
            || self.reads.has_reached(self.applied_upto)
            || !self.requests.is_empty()
            || !self.questions.is_empty()
            || !self.pings.ready().is_empty()
            || !self.gathering.is_empty()
            || !self.resumptions.is_empty()
            || self.unseen.has_ready()
            || self.unseen.has_reached(self.applied_upto)
            || self.watches.has_due()
    }

    /// When [`Front::prepare`] is due, unless something happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        let astray = if self.astray.is_empty() { None } else { Some(self.astray_until.unwrap_or(Instant::ZERO)) };
        self.patience.next_deadline().min(self.reads.next_deadline()).min(astray.unwrap_or(Instant::FOREVER))
    }

    /// What is to be sent and closed; at most one send a connection.
    pub fn take_output(&mut self, mut take: impl FnMut(Output)) {
        for id in self.dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            connection.dirty = false;
            if connection.out.is_empty() {
                continue;
            }
            // Of a connection that is told little, as an idle one, the buffer goes along: there may be very many of
            // them.
            let is_little = connection.out.len() <= OUTPUT_BYTES_LITTLE;
            let out = if is_little { std::mem::take(&mut connection.out) } else { connection.out.split() };
            take(Output::Send { connection: id, bytes: out.freeze() });
        }
        for connection in self.closing.drain(..) {
            take(Output::Close { connection });
        }
    }

    /// Whether nothing is kept for any client: none is connected, and none that was left anything behind.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let nobody = self.connections.is_empty() && self.sessions.is_empty();
        let nobody = nobody && self.opening.is_empty() && self.astray.is_empty();
        let nobody = nobody && self.resumptions.is_empty() && self.unseen.is_empty();
        let unasked = self.askers.is_empty() && self.questions.is_empty() && self.pings.is_empty();
        nobody && unasked && self.reads.is_idle() && self.lock_waits.is_idle() && self.watches.is_idle()
    }

    /// How many clients are connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    fn leader_changed(&mut self, leader: Option<ReplicaId>) {
        self.leader = leader;
        self.gathering.clear();
        self.astray.clear();
        self.resumptions.clear();
        self.unseen.clear();
        self.reads.retry_now();
        self.pings.retry();
        let mut ids: Vec<_> = self.connections.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(connection) = self.connections.get(&id).filter(|c| c.greeted) else { continue };
            let lost_from = connection.first_unanswered();
            self.say(id, &ServerMessage::Leader { leader });
            if leader.is_none() {
                continue;
            }
            self.put_opening(id);
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
        if self.gathering.len() >= BATCH_BYTES_TARGET {
            self.cut_run();
        }
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

/// As much as is said to an idle connection in a turn: that its ping was heard.
const OUTPUT_BYTES_LITTLE: usize = 64;
