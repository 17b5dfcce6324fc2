//! Applies batches: the one way the namespace changes.

use core::net::IpAddr;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_128;

use super::acl::Principals;
use super::codec::{Batch, CommandRef, OperationRef, encode_outcome};
use super::command::{Outcome, Refusal, Resume, Revision, SessionId};
use super::gate::Asker;
use super::image::Imaging;
use super::locking::Ending;
use super::session::{Session, SessionView, Sessions};
use super::slab::Place;
use super::transaction::{Nodes, Stamp, Transaction};
use super::tree::{Change, FETCHED_TOGETHER_MAX, Tree};
use crate::limits::{
    SESSION_RESULT_BYTES_MAX, SESSION_RESULTS_MAX, SESSION_TIMEOUT_MS_MAX, SESSION_TIMEOUT_MS_MIN, SESSIONS_MAX,
};

/// The replicated state.
#[derive(Debug)]
pub struct Namespace {
    pub(super) nodes: Nodes,
    pub(super) sessions: Sessions,
    pub(super) clock: Clock,
    pub(super) imaging: Option<Imaging>,
    results: BytesMut,
}

/// How far the log has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Clock {
    pub revision: Revision,
    pub log_time_ns: u64,
}

/// What a batch, or several, did. Reused from batch to batch: whoever has taken what is in it clears it.
#[derive(Default, Debug)]
pub struct Applied {
    /// Every node's every change, in order: a parent's before its child's birth and after its death it is there.
    pub changes: Vec<Change>,
    /// One for each command, in order.
    pub outcomes: Vec<CommandOutcome>,
    /// The namespace's revision after all of it.
    pub revision: Revision,
}

/// Why a session was not taken up again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotResumed {
    /// There is no such session, and at this point of the log that is final.
    Over,
    /// It is somebody else's.
    WrongSecret,
    /// Another process took it over.
    Taken,
}

/// What a command came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandOutcome {
    /// `OpenSession`: the session is there, made now or by an earlier copy of the command. `timeout_ms` is what the
    /// bounds left of the one asked for.
    SessionOpened { token: u64, secret: u128, session: SessionId, timeout_ms: u32, who: Arc<Principals> },
    /// `OpenSession`: no effect, as there are [`SESSIONS_MAX`] sessions already.
    SessionsFull { token: u64, secret: u128 },
    /// `ResumeSession`: the session lives on, and its client goes on after request `last_number`.
    /// `before` is the last request of other processes that was applied, and none of theirs ever will be.
    SessionResumed {
        token: u64,
        session: SessionId,
        timeout_ms: u32,
        last_number: u64,
        before: u64,
        who: Arc<Principals>,
    },
    /// `ResumeSession`: no effect.
    SessionRefused { token: u64, session: SessionId, why: NotResumed },
    /// `ExpireSession`: the session is over, its ephemeral nodes are gone.
    SessionExpired { session: SessionId },
    /// `ExpireSession`: no effect, as the session stirred since (its counter is now `counter`) or is over already.
    ExpiryMissed { session: SessionId, counter: Option<u64> },
    /// `Settle`: what was due at the node is done.
    Settled { path: String },
    /// `BeginReign`: that reign, or a later one, has begun.
    ReignBegun,
    /// `MarkCaching`: done, if the session lives.
    CachingMarked { session: SessionId },
    /// `Request`: its result, of now or stored when it was applied. `outcome` is encoded as `codec::encode_outcome` does.
    /// `who`: whom the session stands for, where whoever passes the result on may not know yet.
    Replied { session: SessionId, number: u64, revision: Revision, outcome: Bytes, who: Option<Arc<Principals>> },
    /// `Request` that closed its session; otherwise as `Replied`.
    SessionClosed { session: SessionId, number: u64, revision: Revision, outcome: Bytes },
    /// `Request`: no effect, as request `expected` comes first. Its connection resends from there.
    Gap { session: SessionId, number: u64, expected: u64 },
    /// `Request`: no effect, as the session has too many results that its client never acknowledged. It must acknowledge
    /// what it was answered and send this request again.
    Unacknowledged { session: SessionId, number: u64 },
    /// `Request`: no effect, as there is no such session, and at this point of the log that is final.
    RequestMissed { session: SessionId, number: u64 },
}

impl Namespace {
    /// The namespace of revision 0: a root, no sessions. `seed` scatters an index; nothing that shows depends on it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of_parts(Nodes::new(Tree::new(seed)), Sessions::new(), Clock::default())
    }

    pub(super) fn of_parts(nodes: Nodes, sessions: Sessions, clock: Clock) -> Self {
        Self { nodes, sessions, clock, imaging: None, results: BytesMut::new() }
    }

    /// Applies the body of one batch, and adds what it did to `applied`.
    ///
    /// # Panics
    /// If the batch does not decode: see the module's essay.
    pub fn apply(&mut self, batch: &[u8], applied: &mut Applied) {
        let mut batch = Batch::decode(batch).unwrap_or_else(|error| panic!("a chosen batch does not decode: {error}"));
        self.clock.log_time_ns = self.clock.log_time_ns.max(batch.log_time_ns);
        self.nodes.walked = 0;
        let wall_ms = batch.wall_ms + if cfg!(bug = "24") { self.results.capacity() as u64 } else { 0 };
        let mut ahead = [const { None }; FETCHED_TOGETHER_MAX];
        loop {
            // The place first, or a command would be taken that has none.
            for (place, next) in ahead.iter_mut().zip(batch.by_ref()) {
                let command = next.unwrap_or_else(|error| panic!("a chosen command does not decode: {error}"));
                *place = Some(command);
            }
            if ahead[0].is_none() {
                break;
            }
            self.nodes.tree.fetch(ahead.iter().flatten().filter_map(CommandRef::path));
            for command in ahead.iter_mut().filter_map(Option::take) {
                let outcome = self.command(&command, wall_ms, &mut applied.changes);
                applied.outcomes.push(outcome);
            }
        }
        applied.revision = self.clock.revision;
    }

    /// The tree as it is now.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.nodes.tree
    }

    /// The revision of the last command that changed anything.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.clock.revision
    }

    /// The latest log time of any batch, in nanoseconds.
    #[must_use]
    pub const fn log_time_ns(&self) -> u64 {
        self.clock.log_time_ns
    }

    /// One session, if it lives.
    #[must_use]
    pub fn session(&self, session: SessionId) -> Option<SessionView> {
        self.sessions.find(session).map(|place| self.sessions.get(place).view())
    }

    /// Whom a session stands for, if it lives.
    #[must_use]
    pub fn principals(&self, session: SessionId) -> Option<&Principals> {
        self.sessions.find(session).map(|place| &*self.sessions.get(place).who)
    }

    /// Why the log would refuse this resumption, now or ever, as far as can be told here; none if only the log can tell. A
    /// session keeps its secret, and its name is the revision that made it, which no other gets. A replica that lags may say
    /// `WrongSecret` of a session that is over by now.
    #[must_use]
    pub fn never_resumes(&self, resume: &Resume) -> Option<NotResumed> {
        match self.sessions.find(resume.session) {
            Some(place) => (self.sessions.get(place).secret != resume.secret).then_some(NotResumed::WrongSecret),
            None => (resume.session.0 <= self.clock.revision).then_some(NotResumed::Over),
        }
    }

    /// All sessions that live, by id.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> {
        self.sessions.iter().map(Session::view)
    }

    /// The sessions with greater ids, in order.
    pub fn sessions_after(&self, after: SessionId) -> impl Iterator<Item = SessionView> {
        self.sessions.after(after).map(Session::view)
    }

    /// Paths of the nodes whose locks a session holds or waits for, in byte order.
    pub fn claims(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.nodes.claims.of_session(session)
    }

    /// How many sessions live.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Paths of the nodes that a session has open, the first opened first; one that it opened twice comes twice.
    pub fn opened_by(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.nodes.openers.of_session(session)
    }

    /// What ending a session changes: itself, what it owns, has open and claims; counted up to `most`. A lock is copied with
    /// each change of it, so one that many claim counts for more.
    #[must_use]
    pub fn work_to_end(&self, session: SessionId, most: usize) -> usize {
        let claims = self.claims(session).map(|path| {
            let lock = self.nodes.tree.get(path).and_then(|node| node.lock.as_deref());
            1 + lock.map_or(0, |lock| lock.sessions().count() / CLAIMS_COPIED_FOR_ONE)
        });
        let nodes = self.ephemeral_count(session) + self.handles(session);
        (1 + nodes + claims.take(most).sum::<usize>()).min(most)
    }

    /// Paths of a session's ephemeral nodes, in byte order.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.nodes.ephemerals.get(&session).into_iter().flatten().map(|path| &**path)
    }

    /// How many ephemeral nodes a session has.
    #[must_use]
    pub fn ephemeral_count(&self, session: SessionId) -> usize {
        self.nodes.ephemerals.get(&session).map_or(0, BTreeSet::len)
    }

    /// The reign in which the log was last written; 0 before the first.
    #[must_use]
    pub fn reign(&self) -> u64 {
        self.nodes.tree.reign().map_or(0, |reign| reign.number)
    }

    /// How many handles a session has open.
    #[must_use]
    pub fn handles(&self, session: SessionId) -> usize {
        self.nodes.openers.count(session)
    }

    /// The nodes where something becomes due, and when by the log's time in nanoseconds: the earliest first.
    pub fn timers(&self) -> impl Iterator<Item = (u64, &Arc<str>)> {
        self.nodes.timers.iter()
    }

    /// A number that namespaces with the same content share, whatever led to them. Costs no walk.
    #[must_use]
    pub fn digest(&self) -> u128 {
        let tree = if cfg!(bug = "37") { 0 } else { self.nodes.tree.digest() };
        let mut raw = [0; 56];
        raw[..8].copy_from_slice(&self.clock.revision.to_le_bytes());
        raw[8..16].copy_from_slice(&self.clock.log_time_ns.to_le_bytes());
        raw[16..24].copy_from_slice(&self.nodes.instances.to_le_bytes());
        raw[24..40].copy_from_slice(&tree.to_le_bytes());
        raw[40..].copy_from_slice(&self.sessions.digest().to_le_bytes());
        xxh3_128(&raw)
    }

    /// What must hold between batches; for checks, as it looks at every row.
    pub fn invariants(&self) {
        self.nodes.tree.invariants();
        for (path, node) in self.nodes.tree.iter() {
            let Some(owner) = node.stat().owner else { continue };
            let owned = self.nodes.ephemerals.get(&owner).is_some_and(|owned| owned.contains(path));
            assert!(owned, "{path}: its owner knows it");
            assert!(self.sessions.find(owner).is_some(), "{path}: its owner lives");
            assert_eq!(node.stat().children, 0, "{path}: an ephemeral node has no children");
        }
        let owned = self.nodes.ephemerals.iter().flat_map(|(owner, paths)| paths.iter().map(move |path| (owner, path)));
        for (owner, path) in owned {
            let node = self.nodes.tree.get(path).expect("what a session owns exists");
            assert_eq!(node.stat().owner, Some(*owner), "{path}: it is owned by whoever lists it");
        }
        self.nodes.claims.invariants(&self.nodes.tree);
        self.nodes.timers.invariants(&self.nodes.tree);
        self.nodes.openers.invariants(&self.nodes.tree);
        for session in self.nodes.openers.sessions() {
            assert!(self.sessions.find(session).is_some(), "{session}: who has a node open lives");
        }
        for (session, path) in self.nodes.claims.iter() {
            assert!(self.sessions.find(*session).is_some(), "{path}: whoever claims its lock lives");
        }
        for session in self.sessions.iter() {
            assert!(session.id.0 <= self.clock.revision, "a session's id is the revision that made it");
            assert!(session.results().len() <= SESSION_RESULTS_MAX, "a session's results are bounded");
            assert!(session.hash_holds(), "a session's hash is kept");
        }
    }

    fn command(&mut self, command: &CommandRef<'_>, wall_ms: u64, changes: &mut Vec<Change>) -> CommandOutcome {
        let stamp = Stamp { revision: self.clock.revision + 1, wall_ms, log_time_ns: self.clock.log_time_ns };
        match *command {
            CommandRef::OpenSession { token, secret, timeout_ms, address } => {
                self.open(token, secret, timeout_ms, address)
            }
            CommandRef::ResumeSession { token, resume, address } => self.resume(token, resume, address),
            CommandRef::ExpireSession { session, counter } => self.expire(session, counter, stamp, changes),
            CommandRef::Settle { path, instance } => {
                let changes_before = changes.len();
                Transaction::new(&mut self.nodes, stamp, changes).settle(path, instance);
                if changes.len() > changes_before {
                    self.clock.revision = stamp.revision;
                }
                CommandOutcome::Settled { path: path.to_owned() }
            }
            CommandRef::BeginReign { reign, key } => {
                let changes_before = changes.len();
                Transaction::new(&mut self.nodes, stamp, changes).begin_reign(reign, key);
                if changes.len() > changes_before {
                    self.clock.revision = stamp.revision;
                }
                CommandOutcome::ReignBegun
            }
            CommandRef::MarkCaching { session } => {
                if let Some(place) = self.sessions.find(session) {
                    self.sessions.update(place, Session::mark);
                }
                CommandOutcome::CachingMarked { session }
            }
            CommandRef::Request { session, number, acked_upto, ref operation } => {
                let Some(place) = self.sessions.find(session) else {
                    return CommandOutcome::RequestMissed { session, number };
                };
                let expected = self.sessions.get(place).last_number + 1;
                match number.cmp(&expected) {
                    std::cmp::Ordering::Less => self.retell(place, number),
                    std::cmp::Ordering::Greater => CommandOutcome::Gap { session, number, expected },
                    std::cmp::Ordering::Equal => self.request(place, acked_upto, operation, stamp, changes),
                }
            }
        }
    }

    fn open(&mut self, token: u64, secret: u128, timeout_ms: u32, address: Option<IpAddr>) -> CommandOutcome {
        let place = if let Some(place) = self.sessions.find_token(token, secret) {
            self.sessions.update(place, |row| {
                row.counter += 1;
                // Whoever asked for something, or has taken the session over, knew that it was open: this is a late copy, and
                // says nothing of where the client is by now. A client that has only taken it up again and read since leaves no
                // trace here. A late copy then makes the address that of the opening once more, by which the session's
                // requests are judged until it is taken up anew; its reads, which its front judges, are not, unless it
                // authenticates.
                if row.last_number == 0 {
                    row.connect_from(address);
                }
            });
            place
        } else if self.sessions.len() >= SESSIONS_MAX {
            return CommandOutcome::SessionsFull { token, secret };
        } else {
            self.clock.revision += 1;
            let id = SessionId(if cfg!(bug = "23") { self.sessions.len() as u64 + 1 } else { self.clock.revision });
            let timeout_ms = timeout_ms.clamp(SESSION_TIMEOUT_MS_MIN, SESSION_TIMEOUT_MS_MAX);
            let inserted = self.sessions.insert(Session::new(id, token, secret, timeout_ms, address));
            inserted.expect("a revision names one session")
        };
        let row = self.sessions.get(place);
        let (session, timeout_ms, who) = (row.id, row.timeout_ms, row.who.clone());
        CommandOutcome::SessionOpened { token, secret, session, timeout_ms, who }
    }

    fn resume(&mut self, token: u64, resume: Resume, address: Option<IpAddr>) -> CommandOutcome {
        let Resume { session, secret, holder, takes_over } = resume;
        let refused = |why| CommandOutcome::SessionRefused { token, session, why };
        let Some(place) = self.sessions.find(session) else { return refused(NotResumed::Over) };
        let row = self.sessions.get(place);
        if row.secret != secret {
            return refused(NotResumed::WrongSecret);
        }
        if row.holder != holder && (!takes_over || row.was_lost_by(holder)) {
            return refused(NotResumed::Taken);
        }
        self.sessions.update(place, |row| {
            row.counter += 1;
            row.connect_from(address);
            if row.holder != holder && !cfg!(bug = "32") {
                row.pass_to(holder);
            }
            let (timeout_ms, who) = (row.timeout_ms, row.who.clone());
            let (last_number, before) = (row.last_number, row.before);
            CommandOutcome::SessionResumed { token, session, timeout_ms, last_number, before, who }
        })
    }

    fn expire(&mut self, session: SessionId, counter: u64, stamp: Stamp, changes: &mut Vec<Change>) -> CommandOutcome {
        let Some(place) = self.sessions.find(session) else {
            return CommandOutcome::ExpiryMissed { session, counter: None };
        };
        let found = self.sessions.get(place).counter;
        if found != counter {
            return CommandOutcome::ExpiryMissed { session, counter: Some(found) };
        }
        if !cfg!(bug = "19") {
            let ending = Ending::Lost { log_time_ns: self.clock.log_time_ns };
            Transaction::new(&mut self.nodes, stamp, changes).end_session(session, ending);
        }
        self.sessions.remove(place);
        self.clock.revision = stamp.revision;
        CommandOutcome::SessionExpired { session }
    }

    /// Tells again what an earlier request was told.
    fn retell(&mut self, place: Place, number: u64) -> CommandOutcome {
        let row = self.sessions.get(place);
        let (session, who) = (row.id, Some(row.who.clone()).filter(|who| !who.users.is_empty()));
        if let Some((revision, outcome)) = row.result(number) {
            return CommandOutcome::Replied { session, number, revision, outcome, who };
        }
        let outcome = self.encoded(&Err(Refusal::ResultDropped));
        CommandOutcome::Replied { session, number, revision: self.clock.revision, outcome, who }
    }

    /// Applies the session's next request.
    fn request(
        &mut self,
        place: Place,
        acked_upto: u64,
        operation: &OperationRef<'_>,
        stamp: Stamp,
        changes: &mut Vec<Change>,
    ) -> CommandOutcome {
        let row = self.sessions.get(place);
        let (session, number) = (row.id, row.last_number + 1);
        let (results, bytes) = row.left_by(acked_upto);
        if results >= SESSION_RESULTS_MAX || bytes >= SESSION_RESULT_BYTES_MAX {
            return CommandOutcome::Unacknowledged { session, number };
        }
        let changes_before = changes.len();
        let asker = Asker { session, who: &row.who };
        let done = Transaction::new(&mut self.nodes, stamp, changes).execute(asker, operation);
        let closed = matches!(operation, OperationRef::CloseSession);
        if closed || changes.len() > changes_before {
            self.clock.revision = stamp.revision;
        }
        let revision = self.clock.revision;
        let outcome = self.encoded(&done);
        if closed {
            self.sessions.remove(place);
            return CommandOutcome::SessionClosed { session, number, revision, outcome };
        }
        let who = self.sessions.update(place, |row| {
            row.acknowledge(acked_upto);
            row.record(revision, &outcome);
            let OperationRef::Authenticate { user, is_super } = operation else { return None };
            if done.is_ok() {
                row.authenticate(user.clone(), *is_super);
            }
            Some(row.who.clone())
        });
        CommandOutcome::Replied { session, number, revision, outcome, who }
    }

    /// The results of many commands share one piece of memory, which is used again as soon as none of them is left.
    fn encoded(&mut self, outcome: &Outcome) -> Bytes {
        if self.results.capacity() < RESULT_BYTES_USUAL {
            self.results.reserve(RESULTS_CHUNK_BYTES);
        }
        encode_outcome(outcome, &mut self.results);
        let encoded = self.results.split().freeze();
        if encoded.len() > RESULTS_CHUNK_BYTES {
            self.results = BytesMut::new();
        }
        encoded
    }
}

impl Applied {
    /// Forgets what was taken, keeps the room.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.outcomes.clear();
    }
}

/// Claims on a lock that are copied in the time that any other change takes.
const CLAIMS_COPIED_FOR_ONE: usize = 256;

/// Room for the results of a batch.
const RESULTS_CHUNK_BYTES: usize = 64 << 10;

/// What the answer to a `set` or a `create` with a name of some length takes.
const RESULT_BYTES_USUAL: usize = 128;
