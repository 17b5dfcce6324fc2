//! The client as callers see it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::acquisition::Acquiring;
use super::builder::ClientBuilder;
use super::call::{Call, Next, Then};
use super::creation::with_parents;
use super::driver::{ClientId, Driver};
use super::error::{Error, Outcome as Known, Result};
use super::guarded::under;
use super::kept::{CacheStats, KeptAnswers};
use super::machine::{Answered, CacheSettings};
use super::meaning::Meaning;
use super::observe::{Observed, SessionEvents};
use super::op::{Op, Promise};
use super::session::SessionState;
use super::target::parse_chroot;
use super::txn::Txn;
use crate::limits::TREE_NODES_DELETED_MAX;
use crate::namespace::acl::Acl;
use crate::namespace::command::{
    Answer, Done, Expect, Lifetime, Operation, Outcome, Read, Refusal, Revision, Sequencer, SessionId, Stat,
};
use crate::wire::cache::keepable;
use crate::wire::client::Consistency;

/// A session with a cell. Clones share it; the session is closed when [`close`](Self::close) is called or the last clone
/// is dropped. Dropped as the process ends, when `main` returns, the closing may not be sent any more, and the session
/// ends by its timeout: `close().wait()` sees to it.
///
/// Every call is queued when it is made, and all calls of one session take effect in the order they were made. Connections
/// that break, replicas that die and leaders that change are dealt with underneath: what was asked is asked again, and
/// applied once.
///
/// # Errors
///
/// Each call says which errors of its own it has. Any may besides fail for its session ([`Error::SessionExpired`],
/// [`Error::SessionTaken`], [`Error::Closed`], [`Error::Forked`]), because client and cell do not understand each other
/// ([`Error::WrongCell`], [`Error::Version`], [`Error::Protocol`]), for want of time ([`Error::Deadline`], and where
/// much of the tree is walked [`Error::NotNow`]) or of room ([`Error::TooManyCalls`]), for its path
/// ([`Error::BadArgument`], [`Error::TooLarge`]), and where there are access lists with [`Error::NotAuthorized`].
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    root: Arc<str>,
    /// How long each of its calls is waited for.
    deadline: Option<Duration>,
}

/// How to make a node.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct CreateOptions {
    pub(super) lifetime: Lifetime,
    pub(super) sequential: bool,
    pub(super) parents: bool,
    pub(super) acl: Option<Acl>,
    pub(super) is_log: bool,
}

/// A node that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// Its path; the cell adds the number of a sequential one.
    pub path: String,
    /// Its stat.
    pub stat: Stat,
}

#[derive(Debug)]
struct Inner {
    driver: Arc<Driver>,
    id: ClientId,
    observed: Arc<Observed>,
    acquiring: Acquiring,
}

impl Client {
    /// Connects to a cell, by a string like `quorate://host1:7400,host2:7400/root?session=10s` or
    /// `host1:7400,host2:7400` (see [`Target`](super::Target)). It is done when the session exists.
    /// [`Error::BadTarget`] if the string cannot be read; otherwise as [`ClientBuilder::connect`].
    pub fn connect(target: &str) -> Op<Self> {
        match target.parse() {
            Ok(target) => ClientBuilder::new(target).connect(),
            Err(error) => Op::ready(Err(error)),
        }
    }

    /// A builder for connections to `target`. [`Error::BadTarget`] if that cannot be read.
    pub fn builder(target: &str) -> Result<ClientBuilder> {
        target.parse().map(ClientBuilder::new)
    }

    /// The session's id.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.inner.observed.session().expect("a client is handed out with its session")
    }

    /// What is known of the session now.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.inner.observed.state()
    }

    /// Whether the session's lease holds at this moment, by this host's clock: until it does not, the session has not ended,
    /// and what is its own is still its own.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.inner.observed.is_safe()
    }

    /// For how long the session's lease holds at least, by this host's clock, if the cell is not heard again; zero when it is
    /// not [safe](Client::is_safe). Whoever needs time to stop begins when so much is left.
    #[must_use]
    pub fn safe_for(&self) -> Duration {
        self.inner.observed.safe_for()
    }

    /// The changes of the session's state from now on.
    #[must_use]
    pub fn session_events(&self) -> SessionEvents {
        self.inner.observed.events()
    }

    /// The newest revision this session was shown.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.inner.observed.revision()
    }

    /// How the client's cache does; all zero without one.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.inner.observed.kept().map(KeptAnswers::stats).unwrap_or_default()
    }

    /// The same session, with paths below `path`, which need not exist. [`Error::BadTarget`] if it is no path.
    pub fn chroot(&self, path: &str) -> Result<Self> {
        let root = format!("{}{}", self.root, parse_chroot(path)?);
        Ok(Self { root: root.into(), ..self.clone() })
    }

    /// The same session, each of whose calls from here is waited for at most so long, by whatever means, and then fails with
    /// [`Error::Deadline`]: it may take effect all the same, except that a lock that is not had by then is given up.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self.clone() }
    }

    /// The call, with the deadline that calls of this client have.
    pub(super) fn timed<T>(&self, op: Op<T>) -> Op<T> {
        match self.deadline {
            Some(deadline) => op.within(deadline),
            None => op,
        }
    }

    /// A node's data and stat. Linearizable: it reflects every write acknowledged to anyone before. [`Error::NoNode`] if there
    /// is none, [`Error::IsLog`] of a log.
    pub fn get(&self, path: &str) -> Op<(Bytes, Stat)> {
        self.get_as(path, Consistency::Linearizable)
    }

    /// As [`get`](Self::get), as fresh as asked for.
    pub fn get_as(&self, path: &str, consistency: Consistency) -> Op<(Bytes, Stat)> {
        self.ask(
            path,
            consistency,
            |path| Read::Get { path },
            |answer, _| match answer {
                Answer::Node { data, stat } => Some((data, stat)),
                _ => None,
            },
        )
    }

    /// A node's stat; `None` if there is no such node.
    pub fn exists(&self, path: &str) -> Op<Option<Stat>> {
        self.exists_as(path, Consistency::Linearizable)
    }

    /// A node's stat, as fresh as asked for; `None` if there is no such node.
    pub fn exists_as(&self, path: &str, consistency: Consistency) -> Op<Option<Stat>> {
        self.ask(
            path,
            consistency,
            |path| Read::Exists { path },
            |answer, _| match answer {
                Answer::Exists { stat } => Some(stat),
                _ => None,
            },
        )
    }

    /// Makes a node, with a megabyte of data at most ([`NODE_DATA_BYTES_MAX`](crate::limits::NODE_DATA_BYTES_MAX)).
    /// [`Error::NodeExists`] if it is there; [`Error::NoParent`] or [`Error::EphemeralParent`] if it has no place;
    /// [`Error::TooLarge`], [`Error::NodesOverQuota`] or [`Error::BytesOverQuota`] if it has no room;
    /// [`Error::BadArgument`] if it is to be [transient](CreateOptions::transient), or to live for no time, or for its
    /// access list, as [`set_acl`](Self::set_acl) has it.
    pub fn create(&self, path: &str, data: impl Into<Bytes>, options: CreateOptions) -> Op<Created> {
        let path = match self.inward(path) {
            Ok(path) => path,
            Err(error) => return Op::ready(Err(error)),
        };
        let above = options.parents.then(|| path.clone());
        let create = options.operation(path, data.into());
        let pick = |done, root: &Arc<str>| match done {
            Done::Created { path, stat } => Some(Created { path: outward(root, path), stat }),
            _ => None,
        };
        let (op, then) = self.read_by(Meaning::Done(pick));
        let (call, then) = with_parents(create, above.as_ref(), then);
        self.inner.call(call, then);
        op
    }

    /// Replaces a node's data, if the node is as expected: [`Error::NoNode`] or [`Error::BadVersion`] otherwise.
    /// [`Error::TooLarge`] or [`Error::BytesOverQuota`] if there is no room, [`Error::IsLog`] of a log,
    /// [`Error::BadArgument`] with [`Expect::Absent`].
    pub fn set(&self, path: &str, data: impl Into<Bytes>, expect: Expect) -> Op<Stat> {
        let data = data.into();
        self.mutate(
            path,
            |path| Operation::Set { path, data, expect },
            |done, _| match done {
                Done::Set { stat } => Some(stat),
                _ => None,
            },
        )
    }

    /// Removes a node without children, if it is as expected: [`Error::NoNode`], [`Error::BadVersion`] or [`Error::NotEmpty`]
    /// otherwise. [`Error::BadArgument`] of the root, and with [`Expect::Absent`].
    pub fn delete(&self, path: &str, expect: Expect) -> Op<()> {
        let delete = |path| Operation::Delete { path, expect };
        self.mutate(path, delete, |done, _| (done == Done::Deleted).then_some(()))
    }

    /// Removes a node and all below it in one step, if it is as expected, and says how many nodes that were. Refused as
    /// [`delete`](Self::delete) is, children aside. A tree of more than
    /// [`TREE_NODES_DELETED_MAX`](crate::limits::TREE_NODES_DELETED_MAX) nodes is [`Error::TooLarge`]; see
    /// [`delete_tree_in_parts`](Self::delete_tree_in_parts). [`Error::NotNow`] if the cell has others' trees to walk.
    pub fn delete_tree(&self, path: &str, expect: Expect) -> Op<u64> {
        let delete = |path| Operation::DeleteTree { path, expect, part: 0 };
        self.mutate(path, delete, |done, _| match done {
            Done::TreeDeleted { nodes, more: false } => Some(u64::from(nodes)),
            _ => None,
        })
    }

    /// Removes a node and all below it, however many there are, part by part, and says how many nodes that were. Others see
    /// the parts: the node itself goes last, and should the call fail, some nodes may be gone: [`Error::Partly`] tells how many.
    /// [`Error::NoNode`] if there is none, [`Error::BadArgument`] of the root.
    pub fn delete_tree_in_parts(&self, path: &str) -> Op<u64> {
        self.fell(path, None)
    }

    /// Removes a tree part by part, each under that lock.
    pub(super) fn fell(&self, path: &str, guard: Option<Sequencer>) -> Op<u64> {
        let (op, promise) = Op::new();
        match self.inward(path) {
            Ok(path) => {
                let (call, then) = Felling { path, guard, nodes: 0, root: self.root(), promise }.part();
                self.inner.call(call, then);
            }
            Err(error) => promise.keep(Err(error)),
        }
        self.timed(op)
    }

    /// Changes nothing; the answer is the revision at which all that was asked before, by anyone, is applied.
    pub fn sync(&self) -> Op<Revision> {
        let pick = |revision, done| (done == Done::Synced).then_some(revision);
        let (op, then) = self.read_by(Meaning::Revision(pick));
        self.inner.call(Call::Request(Operation::Sync), then);
        op
    }

    /// A transaction: steps that are done all, in order, or not at all.
    pub fn txn(&self) -> Txn {
        Txn::new(self.clone(), None)
    }

    /// Ends the session once all calls made before are answered: its ephemeral nodes and locks go at once, none is held
    /// from now on, and later calls on any clone fail. [`Error::SessionExpired`] if the cell was not heard of until the grace was
    /// over: then it ends the session when nobody has been heard for its timeout.
    pub fn close(self) -> Op<()> {
        self.inner.observed.close();
        self.submit(Call::Close, |_| Ok(()))
    }

    /// A client to be, and what the driver needs to know of it.
    pub(super) fn begin(
        driver: &Arc<Driver>,
        root: Arc<str>,
        deadline: Option<Duration>,
        cache: Option<CacheSettings>,
    ) -> (Self, ClientId, Arc<Observed>) {
        let (id, observed) = (driver.reserve(), Arc::new(Observed::new(cache)));
        let (driver, seen) = (Arc::clone(driver), Arc::clone(&observed));
        let inner = Inner { driver, id, observed: seen, acquiring: Acquiring::default() };
        (Self { inner: Arc::new(inner), root, deadline }, id, observed)
    }

    /// Queues a call.
    pub(super) fn call(&self, call: Call, then: Then) {
        self.inner.call(call, then);
    }

    /// What is known of the session.
    pub(super) fn observed(&self) -> &Observed {
        &self.inner.observed
    }

    /// What every call comes to in a process forked from the one whose client it is.
    pub(super) fn forked(&self) -> Option<Error> {
        (!self.inner.driver.is_here()).then_some(Error::Forked { outcome: Known::NotApplied })
    }

    /// The locks being taken.
    pub(super) fn acquiring(&self) -> &Acquiring {
        &self.inner.acquiring
    }

    /// Queues a call, and makes of its answer what the caller wants.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        call: Call,
        finish: impl FnOnce(Answered) -> Result<T> + Send + 'static,
    ) -> Op<T> {
        let (op, promise) = Op::new();
        let then = move |result: Result<Answered>| {
            promise.keep(result.and_then(finish));
            Next::Finished
        };
        self.inner.call(call, Then::new(then));
        self.timed(op)
    }

    /// A call whose answer its caller reads so, and what puts the answer there.
    fn read_by<T>(&self, meaning: Meaning<T>) -> (Op<T>, Then) {
        let driver = &self.inner.driver;
        let (op, promise) = Op::from_cell(driver.places(), driver.process(), meaning, self.root());
        (self.timed(op), Then::Answer(promise))
    }

    /// Asks a question, unless its answer is kept.
    pub(super) fn read<T: Send + 'static>(
        &self,
        read: Read,
        consistency: Consistency,
        finish: impl FnOnce(Answered) -> Result<T> + Send + 'static,
    ) -> Op<T> {
        match self.look(&read, consistency) {
            Some(answered) => Op::ready(finish(answered)),
            None => self.submit(self.asking(read, consistency), finish),
        }
    }

    /// What is kept of the answer to a question.
    pub(super) fn look(&self, read: &Read, consistency: Consistency) -> Option<Answered> {
        let may = consistency == Consistency::Linearizable && keepable(read.as_ref()).is_some();
        self.inner.observed.kept().filter(|_| may)?.look(read)
    }

    /// The call that asks a question.
    pub(super) fn asking(&self, read: Read, consistency: Consistency) -> Call {
        if consistency == Consistency::Linearizable && self.inner.observed.kept().is_some() {
            Call::KeptRead(read)
        } else {
            Call::Read(read, consistency)
        }
    }

    /// The whole path of what the caller calls `path`.
    pub(super) fn inward(&self, path: &str) -> Result<String> {
        if !path.starts_with('/') {
            return Err(Error::BadArgument {
                why: format!("the path `{path}` does not start with `/`; put it in front"),
            });
        }
        Ok(match (self.root.is_empty(), path) {
            (true, _) => path.to_owned(),
            (false, "/") => self.root.to_string(),
            (false, _) => format!("{}{path}", self.root),
        })
    }

    /// What paths of the cell's answers are below.
    pub(super) fn root(&self) -> Arc<str> {
        Arc::clone(&self.root)
    }

    /// The driver, and its name for this client.
    pub(super) fn driver(&self) -> (&Driver, ClientId) {
        (&self.inner.driver, self.inner.id)
    }

    /// Asks about a node; `pick` knows the answer.
    pub(super) fn ask<T>(
        &self,
        path: &str,
        consistency: Consistency,
        read: impl FnOnce(String) -> Read,
        pick: fn(Answer, &Arc<str>) -> Option<T>,
    ) -> Op<T> {
        let read = match self.inward(path) {
            Ok(path) => read(path),
            Err(error) => return Op::ready(Err(error)),
        };
        let meaning = Meaning::Answer(pick);
        if let Some(kept) = self.look(&read, consistency) {
            return Op::ready(meaning.of(Ok(kept), &self.root));
        }
        let (op, then) = self.read_by(meaning);
        self.inner.call(self.asking(read, consistency), then);
        op
    }

    /// Changes a node; `pick` knows what was done.
    pub(super) fn mutate<T>(
        &self,
        path: &str,
        operation: impl FnOnce(String) -> Operation,
        pick: fn(Done, &Arc<str>) -> Option<T>,
    ) -> Op<T> {
        let operation = match self.inward(path) {
            Ok(path) => operation(path),
            Err(error) => return Op::ready(Err(error)),
        };
        let (op, then) = self.read_by(Meaning::Done(pick));
        self.inner.call(Call::Request(operation), then);
        op
    }
}

impl CreateOptions {
    /// A node that stays until it is deleted.
    pub fn permanent() -> Self {
        Self { lifetime: Lifetime::Permanent, sequential: false, parents: false, acl: None, is_log: false }
    }

    /// A node that goes with this session.
    pub fn ephemeral() -> Self {
        Self { lifetime: Lifetime::Ephemeral, ..Self::permanent() }
    }

    /// A node that goes some seconds after its last child went
    /// ([`CONTAINER_LINGER_MS`](crate::limits::CONTAINER_LINGER_MS)). One that never had a child stays. Whoever makes children
    /// in it must be ready to find it gone, and to make it again.
    pub fn container() -> Self {
        Self { lifetime: Lifetime::Container, ..Self::permanent() }
    }

    /// A node that goes when it has had no children and no new data for so long, by the cell's time; whole milliseconds, one
    /// at least.
    pub fn ttl(ttl: Duration) -> Self {
        let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Self { lifetime: Lifetime::Ttl { ms }, ..Self::permanent() }
    }

    /// A node that lives as long as somebody has it open, or it has children. It is made by [opening](super::Client::open) it,
    /// and by nothing else.
    pub fn transient() -> Self {
        Self { lifetime: Lifetime::Transient, ..Self::permanent() }
    }

    /// What makes a node so.
    pub(super) fn operation(self, path: String, data: Bytes) -> Operation {
        let Self { lifetime, sequential, is_log, acl, .. } = self;
        match acl {
            _ if is_log => Operation::CreateLog { path, lifetime, sequential },
            None => Operation::Create { path, data, lifetime, sequential },
            Some(acl) => Operation::CreateWithAcl { path, data, lifetime, sequential, acl },
        }
    }

    /// The cell adds a number of ten digits to the name, greater than that of any child before.
    pub fn sequential(mut self) -> Self {
        self.sequential = true;
        self
    }

    /// The node gets that access list, whatever its parent's says. Without this it is open to all, unless its parent's list is
    /// to be inherited. (Missing parents that are made first get none of it.)
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = Some(acl);
        self
    }

    /// Parents that do not exist are made first, as permanent and empty nodes. (Not all in one step: should the call fail,
    /// some may have been made: a step of a transaction, or a write under a lock, is refused with this.)
    pub fn parents(mut self) -> Self {
        self.parents = true;
        self
    }
}

impl Inner {
    fn call(&self, call: Call, then: Then) {
        if let Some(kept) = self.observed.kept().filter(|_| call.is_request()) {
            kept.request_made();
        }
        self.driver.call(self.id, call, then);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.leave(self.id);
    }
}

/// A tree being deleted part by part.
struct Felling {
    path: String,
    guard: Option<Sequencer>,
    nodes: u64,
    root: Arc<str>,
    promise: Promise<u64>,
}

impl Felling {
    fn part(self) -> (Call, Then) {
        let (path, part) = (self.path.clone(), TREE_NODES_DELETED_MAX as u32);
        let delete = Operation::DeleteTree { path, expect: Expect::Any, part };
        (Call::Request(under(self.guard.as_ref(), delete)), Then::new(move |result| self.take(result)))
    }

    fn take(mut self, result: Result<Answered>) -> Next {
        let done = match result.and_then(|answered| done(answered, &self.root)) {
            // Somebody else took what was left.
            Err(Error::NoNode { .. }) if self.nodes > 0 => Ok(self.nodes),
            Ok(Done::TreeDeleted { nodes, more }) => {
                self.nodes += u64::from(nodes);
                if more {
                    let (call, then) = self.part();
                    return Next::Call(call, then);
                }
                Ok(self.nodes)
            }
            Ok(_) => Err(unfit("a deletion")),
            // The next entry of the log has time for it.
            Err(Error::NotNow { .. }) => {
                let (call, then) = self.part();
                return Next::Call(call, then);
            }
            Err(cause) if self.nodes > 0 => Err(Error::Partly { done: self.nodes, cause: Box::new(cause) }),
            Err(error) => Err(error),
        };
        self.promise.finish(done)
    }
}

impl<T> Promise<T> {
    /// Keeps the promise, and is the end of it.
    pub(super) fn finish(self, result: Result<T>) -> Next {
        self.keep(result);
        Next::Finished
    }
}

/// The answer to a read, with the paths of a refusal as the caller knows them.
pub(super) fn answer(answered: Answered, root: &str) -> Result<(Revision, Answer)> {
    match answered {
        Answered::Read { revision, answer: Ok(answer) } => Ok((revision, answer)),
        Answered::Read { answer: Err(refusal), .. } => Err(refused(refusal, root)),
        other @ (Answered::Request { .. } | Answered::Saved(_)) => Err(misfit(&other)),
    }
}

/// What a request did, likewise.
pub(super) fn done(answered: Answered, root: &str) -> Result<Done> {
    outcome(answered)?.map_err(|refusal| refused(refusal, root))
}

/// What a request came to.
pub(super) fn outcome(answered: Answered) -> Result<Outcome> {
    match answered {
        Answered::Request { outcome, .. } => Ok(outcome),
        other @ (Answered::Read { .. } | Answered::Saved(_)) => Err(misfit(&other)),
    }
}

pub(super) fn refused(refusal: Refusal, root: &str) -> Error {
    Error::refused(refusal, &|path| outward(root, path))
}

/// The path as the caller knows it.
pub(super) fn outward(root: &str, path: String) -> String {
    match path.strip_prefix(root) {
        Some("") => "/".to_owned(),
        Some(below) if below.starts_with('/') => below.to_owned(),
        Some(_) | None => path,
    }
}

/// The answer to another question than was asked.
pub(super) fn unfit(what: &str) -> Error {
    Error::Protocol { text: format!("{what} was answered with the answer to something else"), outcome: Known::Unknown }
}

fn misfit(answered: &Answered) -> Error {
    match answered {
        Answered::Request { outcome: Err(refusal), .. } | Answered::Read { answer: Err(refusal), .. } => {
            refused(refusal.clone(), "")
        }
        Answered::Request { .. } => unfit("a read"),
        Answered::Read { .. } | Answered::Saved(_) => unfit("a request"),
    }
}
