//! Reads between their arrival and their answer.
//!
//! A read is *blocked* while earlier requests of its connection are unanswered; then, if it must be linearizable, it is
//! *ready*: it can be answered under the leader lease, or waits under a *ticket* for a read point, and then, *pointed*,
//! until that slot is applied. One whose answer is to be kept goes through the leader in any case. A read that only
//! asks for some revision waits for that.
//!
//! A read of one node under the lease costs no memory of its own: what is asked is kept as it came, in room that an answered read has left, and the
//! answer is encoded from the tree straight into the connection's output. Nothing that another core sees is written for
//! it, not even a count of who shares a node.

use std::collections::BTreeMap;

use bytes::BytesMut;
use hashbrown::HashMap;

use super::connection::Fault;
use super::{ConnectionId, Front};
use crate::limits::{CACHE_WISHES_MAX, CLIENT_TURN_BYTES_MAX, READ_RETRY, SESSION_REQUESTS_IN_FLIGHT};
use crate::namespace::codec::{self, ReadRef};
use crate::namespace::command::{Revision, SessionId};
use crate::namespace::{self, Gate, Hidden, Tree};
use crate::paxos::Slot;
use crate::time::Instant;
use crate::wire::cache::{Keep, encode_cached_reply, keepable};
use crate::wire::client::{Consistency, Reason, ServerMessage, encode_read_reply};

/// A read that waits.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) connection: ConnectionId,
    number: u64,
    /// The connection's last request before it.
    after: u64,
    consistency: Consistency,
    /// What is asked, as it came; it can be read.
    question: Vec<u8>,
    cached: Cached,
    /// Where it goes on, if it came upon nothing yet but what its reader may not see.
    from: Option<Hidden>,
}

/// Whether a read's answer is to be kept by its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cached {
    /// It is not.
    No,
    /// It is, if the leader agrees.
    Wished,
    /// The leader is being asked; the wish's place among those of the ticket.
    Asked(u32),
    /// The leader agreed.
    Granted,
}

/// Every read that waits, by what it waits for.
#[derive(Debug, Default)]
pub(super) struct Reads {
    blocked: HashMap<ConnectionId, Vec<Parked>>,
    ready: Vec<Parked>,
    /// Ready too; but the leader must know of them first, as their answers are to be kept.
    wishing: Vec<Parked>,
    ticketed: BTreeMap<u64, Vec<Parked>>,
    pointed: BTreeMap<Slot, Vec<Parked>>,
    /// Their slot or revision is applied: they wait for a turn.
    reached: Vec<Parked>,
    at_revision: BTreeMap<Revision, Vec<Parked>>,
    /// Reads for which no leader could be asked.
    unasked: Vec<Parked>,
    /// Reads whose connections' watches must be told more first, and whether only that is missing.
    held: BTreeMap<ConnectionId, Vec<(Parked, bool)>>,
    retry_at: Option<Instant>,
    retry_wanted: bool,
    waiting: HashMap<ConnectionId, u32>,
    /// Room for questions.
    spare: Vec<Vec<u8>>,
}

impl Reads {
    /// Whether no read waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        let Self { blocked, ready, wishing, ticketed, pointed, reached, at_revision, unasked, held, waiting, .. } =
            self;
        let counted = waiting.is_empty() && blocked.is_empty() && held.is_empty();
        let parked = ready.len() + wishing.len() + reached.len() + unasked.len();
        counted && parked == 0 && ticketed.is_empty() && pointed.is_empty() && at_revision.is_empty()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Those that want nothing but a turn, their point *reached*, or nothing but the lease.
    fn at_hand(&mut self, reached: bool) -> &mut Vec<Parked> {
        if reached { &mut self.reached } else { &mut self.ready }
    }

    /// One that could be answered waits for the next turn.
    fn keep(&mut self, parked: Parked, reached: bool) {
        self.at_hand(reached).push(parked);
    }

    /// The room of those that were taken serves the next turn, unless some were kept for it.
    fn give_back(&mut self, mut room: Vec<Parked>, reached: bool) {
        let at_hand = self.at_hand(reached);
        if at_hand.is_empty() {
            room.shrink_to(ROOM_KEPT_MAX);
            *at_hand = room;
        }
    }

    /// One that could be answered waits until the connection's watches have been told what it would show, and what was sent
    /// to it has left.
    fn hold(&mut self, parked: Parked, reached: bool) {
        self.held.entry(parked.connection).or_default().push((parked, reached));
    }

    /// The connection's watches have been told everything.
    pub(super) fn let_go(&mut self, connection: ConnectionId) {
        for (parked, reached) in self.held.remove(&connection).unwrap_or_default() {
            self.keep(parked, reached);
        }
    }

    /// Whether reads wait that need nothing but a turn.
    pub(super) fn has_reached(&self, applied_upto: Slot) -> bool {
        !self.reached.is_empty() || self.pointed.first_key_value().is_some_and(|(slot, _)| *slot <= applied_upto)
    }

    /// It was not answered after all.
    pub(super) fn put_back(&mut self, parked: Parked) {
        self.begin(parked.connection);
        self.ready.push(parked);
    }

    /// It was answered: what it lay in is room for another.
    pub(super) fn done(&mut self, parked: Parked) {
        let mut room = parked.question;
        if room.capacity() <= SPARE_BYTES_MAX && self.spare.len() < SPARE_MAX {
            room.clear();
            self.spare.push(room);
        }
    }

    fn room_for(&mut self, question: &[u8]) -> Vec<u8> {
        let mut room = self.spare.pop().unwrap_or_default();
        room.extend_from_slice(question);
        room
    }

    /// The ready reads wait for the answer to `ticket`.
    pub(super) fn ask(&mut self, ticket: u64) {
        let reads = std::mem::take(&mut self.ready);
        self.ticketed.entry(ticket).or_default().extend(reads);
    }

    /// Whether reads wait for the leader to know of them.
    pub(super) fn has_wishing(&self) -> bool {
        !self.wishing.is_empty()
    }

    /// Reads whose answers are to be kept wait for the answer to `ticket`, which is to ask for that.
    pub(super) fn ask_to_keep(
        &mut self,
        ticket: u64,
        session_of: impl Fn(ConnectionId) -> Option<SessionId>,
    ) -> Vec<Keep> {
        let mut wishes = Vec::new();
        for mut parked in std::mem::take(&mut self.wishing) {
            if let (Some((path, with_children)), Some(session)) =
                (keepable(parked.read()), session_of(parked.connection))
                && wishes.len() < CACHE_WISHES_MAX
            {
                wishes.push(Keep { session, path: path.to_owned(), with_children });
                parked.cached = Cached::Asked(wishes.len() as u32 - 1);
            }
            self.ticketed.entry(ticket).or_default().push(parked);
        }
        wishes
    }

    /// The answer to `ticket`, and the places of the answers that may be kept, in order.
    pub(super) fn point(&mut self, ticket: u64, upto: Option<Slot>, kept: &[u32]) {
        let Some(mut reads) = self.ticketed.remove(&ticket) else { return };
        for parked in &mut reads {
            if let Cached::Asked(place) = parked.cached {
                let granted = upto.is_some() && kept.binary_search(&place).is_ok();
                parked.cached = if granted { Cached::Granted } else { Cached::Wished };
            }
        }
        match upto {
            Some(upto) => self.pointed.entry(upto).or_default().extend(reads),
            None => {
                self.unasked.extend(reads);
                self.retry_wanted = true;
            }
        }
    }

    /// What no leader could be asked is to be asked again after a while.
    pub(super) fn retry_later(&mut self) {
        self.retry_wanted = true;
    }

    /// Reads for which no leader could be asked are ready again once their time has come; whether it has.
    pub(super) fn wake(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.retry_wanted) && self.retry_at.is_none() {
            self.retry_at = Some(now + READ_RETRY);
        }
        let due = self.retry_at.is_some_and(|at| at <= now);
        if due {
            self.retry_now();
        }
        due
    }

    pub(super) fn retry_now(&mut self) {
        self.retry_at = None;
        self.ready.append(&mut self.unasked);
    }

    pub(super) fn next_deadline(&self) -> Instant {
        match self.retry_at {
            Some(at) => at,
            None if self.retry_wanted => Instant::ZERO,
            None => Instant::FOREVER,
        }
    }

    /// The connection's requests up to `number` are answered.
    pub(super) fn unblock(&mut self, connection: ConnectionId, number: u64, revision: Revision) {
        let Some(blocked) = self.blocked.get_mut(&connection) else { return };
        let count = blocked.iter().take_while(|parked| parked.after <= number).count();
        let free: Vec<_> = blocked.drain(..count).collect();
        if blocked.is_empty() {
            self.blocked.remove(&connection);
        }
        free.into_iter().for_each(|parked| self.admit(parked, revision));
    }

    /// The connection's requests from `number` on are refused: reads behind them are dropped, as the client was told.
    pub(super) fn drop_after(&mut self, connection: ConnectionId, number: u64) {
        let Some(blocked) = self.blocked.get_mut(&connection) else { return };
        let before = blocked.len();
        blocked.retain(|parked| parked.after < number);
        let dropped = (before - blocked.len()) as u32;
        if let Some(waiting) = self.waiting.get_mut(&connection) {
            *waiting -= dropped;
        }
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.blocked.remove(&connection);
        self.held.remove(&connection);
        if self.waiting.remove(&connection).is_none_or(|waiting| waiting == 0) {
            return;
        }
        let theirs = |parked: &Parked| parked.connection != connection;
        self.ready.retain(theirs);
        self.wishing.retain(theirs);
        self.reached.retain(theirs);
        self.unasked.retain(theirs);
        self.at_revision.retain(|_, reads| {
            reads.retain(theirs);
            !reads.is_empty()
        });
        self.ticketed.values_mut().chain(self.pointed.values_mut()).for_each(|reads| reads.retain(theirs));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let due = self.ready.is_empty() && self.reached.is_empty();
        due && self.at_revision.is_empty() && self.waiting.is_empty()
    }

    fn block(&mut self, parked: Parked) {
        self.blocked.entry(parked.connection).or_default().push(parked);
    }

    /// One that nothing blocks; the tree is at that revision, or further.
    fn admit(&mut self, parked: Parked, revision: Revision) {
        match parked.consistency {
            Consistency::Linearizable if parked.cached == Cached::Wished => self.wishing.push(parked),
            Consistency::Linearizable => self.ready.push(parked),
            Consistency::AtLeast(least) if least > revision => self.at_revision.entry(least).or_default().push(parked),
            Consistency::AtLeast(_) | Consistency::Stale => self.reached.push(parked),
        }
    }

    fn begin(&mut self, connection: ConnectionId) -> u32 {
        let waiting = self.waiting.entry(connection).or_default();
        *waiting += 1;
        *waiting
    }

    fn end(&mut self, connection: ConnectionId) {
        if let Some(waiting) = self.waiting.get_mut(&connection) {
            *waiting -= 1;
        }
    }

    /// Reads whose slot or revision is applied.
    fn take_reached(&mut self, applied_upto: Slot, revision: Revision) -> Vec<Parked> {
        let mut reached = std::mem::take(&mut self.reached);
        while let Some(entry) = self.pointed.first_entry().filter(|entry| *entry.key() <= applied_upto) {
            reached.extend(entry.remove());
        }
        while let Some(entry) = self.at_revision.first_entry().filter(|entry| *entry.key() <= revision) {
            reached.extend(entry.remove());
        }
        reached
    }
}

impl Front {
    /// A question arrived.
    pub(super) fn read(
        &mut self,
        id: ConnectionId,
        number: u64,
        (consistency, cached): (Consistency, Cached),
        read: &[u8],
    ) -> Result<(), Fault> {
        ReadRef::decode(read)?;
        let connection = self.connections.get(&id).expect("the caller found it");
        if connection.is_refusing() {
            return Ok(());
        }
        if let Some(reason) = self.throttle.refusal(&connection.who) {
            self.say(id, &ServerMessage::ReadRefused { number, reason });
            return Ok(());
        }
        let consistency = match consistency {
            Consistency::Linearizable => consistency,
            Consistency::AtLeast(revision) => Consistency::AtLeast(revision.max(connection.seen)),
            Consistency::Stale => Consistency::AtLeast(connection.seen),
        };
        let (after, question) = (connection.submitted_upto, self.reads.room_for(read));
        let parked = Parked { connection: id, number, after, consistency, question, cached, from: None };
        let blocked = connection.answered_upto < connection.submitted_upto;
        if self.reads.begin(id) > SESSION_REQUESTS_IN_FLIGHT as u32 {
            self.reads.end(id);
            let reason = Reason::Overloaded { retry_after_ms: crate::limits::OVERLOAD_RETRY_MS };
            self.say(id, &ServerMessage::ReadRefused { number, reason });
        } else if blocked {
            self.reads.block(parked);
        } else {
            self.reads.admit(parked, self.revision);
        }
        Ok(())
    }

    /// Answers the reads that need no lease.
    pub(super) fn answer_pointed(&mut self, now: Instant, tree: &Tree) {
        self.wake(now);
        let reached = self.reads.take_reached(self.applied_upto, self.revision);
        self.answer_all(reached, true, tree);
    }

    /// Answers the reads that a lease lets be answered, which is to be looked at once more before they go.
    pub(super) fn answer_ready(&mut self, tree: &Tree) {
        let ready = std::mem::take(&mut self.reads.ready);
        self.answer_all(ready, false, tree);
    }

    /// Answers what can be answered now. An answer to a read whose point is *reached* stands; others may be taken back.
    fn answer_all(&mut self, mut reads: Vec<Parked>, reached: bool, tree: &Tree) {
        for parked in reads.drain(..) {
            // Nobody is answered faster than he reads.
            if self.watches.is_behind(parked.connection) || self.watches.is_clogged(parked.connection) {
                self.reads.hold(parked, reached);
            } else if self.has_much_to_say(parked.connection) {
                self.reads.keep(parked, reached);
            } else {
                match self.answer(&parked, tree) {
                    Answering::Given(_) if reached => self.reads.done(parked),
                    Answering::Given(mark) => self.answered.push((parked, mark)),
                    Answering::GoesOn(from) => self.reads.keep(parked.going_on(from), reached),
                }
            }
        }
        self.reads.give_back(reads, reached);
    }

    /// The lease held: the answers stand.
    pub(super) fn let_answers_go(&mut self) {
        self.answered.drain(..).for_each(|(parked, _)| self.reads.done(parked));
        self.answered.shrink_to(ROOM_KEPT_MAX);
    }

    /// The lease is over: no answer leaves, and its read waits for a read point.
    pub(super) fn take_answers_back(&mut self) {
        for (parked, mark) in self.answered.drain(..) {
            // The first of a connection takes back all of them.
            if let (Some(connection), Some(mark)) = (self.connections.get_mut(&parked.connection), mark) {
                connection.out.truncate(mark);
            }
            self.reads.put_back(parked);
        }
    }

    /// Whether a connection's answers of this turn are enough for one turn: nobody's questions hold up everybody's.
    pub(super) fn has_much_to_say(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.out.len() > CLIENT_TURN_BYTES_MAX)
    }

    /// Writes the answer into the connection's output.
    pub(super) fn answer(&mut self, parked: &Parked, tree: &Tree) -> Answering {
        let revision = self.revision;
        let connection = self.connections.get_mut(&parked.connection).filter(|c| !c.closing);
        let Some(connection) = connection else {
            self.reads.end(parked.connection);
            return Answering::Given(None);
        };
        let mark = connection.out.len();
        let (gate, read) = (Gate::new(tree, &connection.who), parked.read());
        let answer = match namespace::answer_from(&gate, read, parked.from.as_ref()) {
            Ok(answer) => answer,
            Err(hidden) => return Answering::GoesOn(hidden),
        };
        self.reads.end(parked.connection);
        if !self.lock_waits.answered(parked.connection, read, &answer, &gate) {
            let reason = Reason::Overloaded { retry_after_ms: crate::limits::OVERLOAD_RETRY_MS };
            self.say(parked.connection, &ServerMessage::ReadRefused { number: parked.number, reason });
            return Answering::Given(Some(mark));
        }
        let encode = |out: &mut BytesMut| codec::encode_read_outcome(&answer, out);
        match parked.cached {
            Cached::No => encode_read_reply(&mut connection.out, parked.number, revision, encode),
            Cached::Wished | Cached::Asked(_) | Cached::Granted => {
                let keep = parked.cached == Cached::Granted;
                encode_cached_reply(&mut connection.out, parked.number, (revision, keep), encode);
            }
        }
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(parked.connection);
        }
        Answering::Given(Some(mark))
    }
}

/// How far an answer is.
pub(super) enum Answering {
    /// Written from there on, if the connection is still there.
    Given(Option<usize>),
    /// It is a page of names, and many were passed over that its reader may not see: the next turn goes on behind them,
    /// as if the client had been given an empty page. So no one holds up the others, and no name is told.
    GoesOn(Hidden),
}

impl Parked {
    fn read(&self) -> ReadRef<'_> {
        ReadRef::decode(&self.question).expect("it could be read when it came")
    }

    /// The same, to go on there.
    pub(super) fn going_on(self, from: Hidden) -> Self {
        Self { from: Some(from), ..self }
    }
}

/// Most questions are a path; the room of one that is much more is not kept for others ...
const SPARE_BYTES_MAX: usize = 256;

/// ... nor is that of more questions than these.
const SPARE_MAX: usize = 4096;

/// A turn of very many reads does not leave room for as many: one of these takes some 150 bytes.
const ROOM_KEPT_MAX: usize = 4096;
