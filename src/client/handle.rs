//! Handles: nodes held open, as Chubby has them (Burrows, OSDI 2006, §2.3 and the calls of §2.6).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use super::acquisition;
use super::api::{Client, CreateOptions, Created, answer, done, outward, unfit};
use super::call::{Call, Next, Then};
use super::creation::{refuse_parents, with_parents};
use super::error::{Error, Outcome as Known, Result};
use super::handle_events::HandleEvents;
use super::listing::Page;
use super::lock::{LockGuard, lock_delay_ms};
use super::machine::Answered;
use super::op::{Op, Outstanding};
use super::watch::WatchOptions;
use crate::namespace::command::{
    Answer, Birth, Done, Expect, Handle as Token, HandleMode, LockMode, Operation, Read, Stat,
};
use crate::wire::client::Consistency;

/// What to open a node for, and what to do if there is none. What Chubby gives as flags of `Open` is here: the mode, creation,
/// first content, transience and the lock-delay; events are had by [`Handle::events`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct OpenOptions {
    mode: HandleMode,
    birth: Option<(Bytes, CreateOptions)>,
    must_create: bool,
    lock_delay: Duration,
}

/// A node that is open, until this is closed or dropped, or the session ends; it outlives connections and leaders. It is of
/// that *instance* of the node, as a handle of Chubby's is (Burrows, OSDI 2006, §2.3; the calls are those of §2.6): a node of
/// the same name that was made since is another. A [transient](CreateOptions::transient) node lives as long as somebody has it
/// open.
///
/// Its [token](Self::token), as text, serves whoever it is given to, in any session, until this is closed:
/// [`Client::handle`]. Nobody can make one up.
///
#[doc = concat!("```no_run\n", include_str!("../../tests/process/examples/handle.rs"), "```")]
///
/// # Errors
///
/// Whatever is asked through it, [events](Handle::events) and [closing](Handle::close) aside, is
/// [`Error::HandleForged`] if the cell never made it, [`Error::HandleGone`] if its node is gone,
/// [`Error::HandleClosed`] if it was closed, or the session that opened it is over, [`Error::HandleLacks`] if it was
/// not opened for that, and [`Error::HandlePoisoned`] once it is [poisoned](Handle::poison). What a call is refused for
/// besides is told at the call; [`stat`](Handle::stat) and [`list_page`](Handle::list_page) have nothing of the sort.
#[derive(Debug)]
#[must_use = "dropping it closes it"]
pub struct Handle {
    held: Arc<Held>,
    created: bool,
    /// It is to be closed when it is dropped.
    owned: bool,
}

/// What a handle, and the streams of its events, share.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) client: Client,
    pub(super) token: Token,
    lock_delay: Duration,
    calls: Mutex<Calls>,
}

/// The calls under way through a handle.
#[derive(Default)]
struct Calls {
    poisoned: bool,
    /// It was closed by its holder here.
    closed: bool,
    waiting: Vec<Waiting>,
    /// Calls that have ended are swept out when there are so many.
    sweep_at: usize,
    /// Streams of events that wait, by their numbers.
    wakers: BTreeMap<u64, Waker>,
    /// Streams of events so far.
    streams: u64,
}

struct Waiting {
    call: Box<dyn Outstanding>,
    /// What is to be done besides if it is to wait no longer.
    give_up: Option<Box<dyn FnOnce() + Send>>,
}

impl Client {
    /// Opens a node. [`Error::NoNode`] if there is none and none is to be made; [`Error::NodeExists`] if there is one,
    /// and it was to be [new](OpenOptions::create_new). One that has to be made may be refused as
    /// [`create`](Client::create) may. [`Error::TooLarge`] past
    /// [`SESSION_HANDLES_MAX`](crate::limits::SESSION_HANDLES_MAX) handles of the session, or
    /// [`NODE_HANDLES_MAX`](crate::limits::NODE_HANDLES_MAX) of the node. Where there are access lists, it takes all
    /// the rights that the handle will stand for.
    pub fn open(&self, path: &str, options: OpenOptions) -> Op<Handle> {
        match self.inward(path) {
            Ok(path) => self.open_by(path, options, |open| open),
            Err(error) => Op::ready(Err(error)),
        }
    }

    /// A handle that was opened elsewhere, by its token. It is closed by whoever opened it: dropping this one closes nothing,
    /// and [`Handle::close`] is refused, unless this very session opened it.
    pub fn handle(&self, token: Token) -> Handle {
        Handle { held: Arc::new(Held::new(self.clone(), token, Duration::ZERO)), created: false, owned: false }
    }

    /// Opens the node that the cell calls `path`, by an operation made of the opening.
    fn open_by(&self, path: String, options: OpenOptions, wrap: impl Fn(Operation) -> Operation) -> Op<Handle> {
        let OpenOptions { mode, birth, must_create, lock_delay } = options;
        if birth.as_ref().is_some_and(|(_, options)| options.is_log) {
            let why = "a log is not made by opening it: create it first".to_owned();
            return Op::ready(Err(Error::BadArgument { why }));
        }
        let parents = birth.as_ref().is_some_and(|(_, options)| options.parents);
        let birth = birth.map(|(data, CreateOptions { lifetime, sequential, acl, .. })| Birth {
            data,
            lifetime,
            sequential,
            must: must_create,
            acl,
        });
        let operation = wrap(Operation::Open { path: path.clone(), mode, birth });
        let (op, promise) = Op::new();
        let client = self.clone();
        let then = move |result: Result<Answered>| {
            let root = client.root();
            promise.finish(result.and_then(|answered| match done(answered, &root)? {
                Done::Opened { handle, created, .. } => {
                    Ok(Handle { held: Arc::new(Held::new(client, handle, lock_delay)), created, owned: true })
                }
                _ => Err(unfit("an opening")),
            }))
        };
        let (call, then) = with_parents(operation, parents.then_some(&path), Then::new(then));
        self.call(call, then);
        self.timed(op)
    }
}

impl OpenOptions {
    /// For these things.
    pub fn mode(mode: HandleMode) -> Self {
        Self { mode, birth: None, must_create: false, lock_delay: Duration::ZERO }
    }

    /// To read.
    pub fn read() -> Self {
        Self::mode(HandleMode::READ)
    }

    /// To read, to write and to take the lock.
    pub fn write() -> Self {
        Self::mode(HandleMode::READ | HandleMode::WRITE | HandleMode::LOCK)
    }

    /// For everything.
    pub fn all() -> Self {
        Self::mode(HandleMode::ALL)
    }

    /// If there is no such node, makes it so. A [transient](CreateOptions::transient) one lives as long as it is open. One
    /// that is there is opened as it is, however long it lives and whatever its access list says.
    pub fn create(mut self, data: impl Into<Bytes>, options: CreateOptions) -> Self {
        self.birth = Some((data.into(), options));
        self
    }

    /// As [`create`](Self::create), and there must be none.
    pub fn create_new(self, data: impl Into<Bytes>, options: CreateOptions) -> Self {
        Self { must_create: true, ..self.create(data, options) }
    }

    /// How long nobody else gets a lock taken through the handle if the session is lost while it holds it, a minute at most.
    /// In whole milliseconds; none unless this is called.
    pub fn lock_delay(mut self, delay: Duration) -> Self {
        self.lock_delay = delay;
        self
    }
}

impl Handle {
    /// The node, as this client calls it.
    #[must_use]
    pub fn path(&self) -> String {
        self.held.path()
    }

    /// What to give to others, or to print: it holds the node's path as the cell calls it, its instance, the session and
    /// the reign that made the handle, and what it is for.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.held.token
    }

    /// Whether opening it made the node.
    #[must_use]
    pub fn created(&self) -> bool {
        self.created
    }

    /// The node's data and stat. Needs [`HandleMode::READ`]. [`Error::IsLog`] of a log.
    pub fn get(&self) -> Op<(Bytes, Stat)> {
        let pick = |_, answer| match answer {
            Answer::Node { data, stat } => Some((data, stat)),
            _ => None,
        };
        self.held.ask(|handle| Read::HandleGet { handle }, pick)
    }

    /// The node's stat: whether the handle is good still. Needs no mode.
    pub fn stat(&self) -> Op<Stat> {
        self.held.stat()
    }

    /// A part of the node's listing, with stats: the children whose names follow `after` (all if empty), at most `limit` of
    /// them (0: as many as fit one answer). Needs [`HandleMode::READ`].
    pub fn list_page(&self, after: &str, limit: u32) -> Op<Page> {
        let pick = |revision, answer| match answer {
            Answer::Entries { entries, stat, more } => Some(Page { entries, stat, more, revision }),
            _ => None,
        };
        self.held.ask(|handle| Read::HandleEntries { handle, after: after.to_owned(), limit }, pick)
    }

    /// Replaces the node's data, if the node is as expected: [`Error::BadVersion`] otherwise. Needs
    /// [`HandleMode::WRITE`]. [`Error::TooLarge`] or [`Error::BytesOverQuota`] if there is no room, [`Error::IsLog`] of
    /// a log, [`Error::BadArgument`] with [`Expect::Absent`].
    pub fn set(&self, data: impl Into<Bytes>, expect: Expect) -> Op<Stat> {
        let data = data.into();
        self.held.mutate(
            |path| Operation::Set { path, data, expect },
            |done| match done {
                Done::Set { stat } => Some(stat),
                _ => None,
            },
        )
    }

    /// Removes the node, which has no children, if it is as expected: [`Error::BadVersion`] or [`Error::NotEmpty`]
    /// otherwise, and [`Error::BadArgument`] as [`Client::delete`] has it. Needs [`HandleMode::WRITE`]. The handle is
    /// gone with it.
    pub fn delete(&self, expect: Expect) -> Op<()> {
        self.held.mutate(|path| Operation::Delete { path, expect }, |done| (done == Done::Deleted).then_some(()))
    }

    /// Makes a node below this one: `name` begins with no `/`. Needs [`HandleMode::WRITE`]. It may be refused as
    /// [`Client::create`] may. (No parents are made: it is [`Error::BadArgument`] to ask for them.)
    pub fn create(&self, name: &str, data: impl Into<Bytes>, options: CreateOptions) -> Op<Created> {
        let (data, root) = (data.into(), self.held.client.root());
        let path = match self.held.below(name).and_then(|path| refuse_parents(&options, name).map(|()| path)) {
            Ok(path) => path,
            Err(error) => return Op::ready(Err(error)),
        };
        self.held.mutate(
            |_| options.operation(path, data),
            move |done| match done {
                Done::Created { path, stat } => Some(Created { path: outward(&root, path), stat }),
                _ => None,
            },
        )
    }

    /// Opens a node below this one: `name` begins with no `/`, or it is [`Error::BadArgument`]. Needs
    /// [`HandleMode::READ`], or [`HandleMode::WRITE`] if the node may have to be made. It may be refused as
    /// [`Client::open`] may.
    pub fn open(&self, name: &str, options: OpenOptions) -> Op<Handle> {
        let held = &self.held;
        match held.below(name) {
            Ok(path) => held.run(|| held.client.open_by(path, options, |open| held.through(open))),
            Err(error) => Op::ready(Err(error)),
        }
    }

    /// Takes the node's lock, with the handle's lock-delay, waiting in the cell's fair queue while others hold it. The
    /// lock is this session's, as any other. Needs [`HandleMode::LOCK`]. It may be refused as [`Client::lock`] may:
    /// [`Error::LockTwice`], [`Error::TooLarge`], [`Error::TooManyLockWaits`], and [`Error::NoNode`] or
    /// [`Error::LockNotHeld`] if the node goes while this waits.
    pub fn lock(&self, mode: LockMode) -> Op<LockGuard> {
        let held = &self.held;
        held.run_and(|| {
            let (op, give_up) =
                acquisition::acquire(&held.client, held.token.path.clone(), held.acquisition(mode, true));
            (op, give_up.map(|give_up| Box::new(give_up) as Box<dyn FnOnce() + Send>))
        })
    }

    /// Takes the node's lock if nobody holds it or waits for it; `None` otherwise. Needs
    /// [`HandleMode::LOCK`]. It may be refused as [`Client::try_lock`] may: [`Error::LockTwice`], [`Error::TooLarge`].
    pub fn try_lock(&self, mode: LockMode) -> Op<Option<LockGuard>> {
        let held = &self.held;
        held.run(|| held.client.try_acquire(held.token.path.clone(), held.acquisition(mode, false)))
    }

    /// What happens to the node, or around it, from the moment it was opened on: nothing of it is missing, or there is a
    /// gap. The last event is [`HandleEvent::Invalid`](super::HandleEvent): also when the handle is closed or dropped, and
    /// when one [opened elsewhere](Client::handle) is. (The options' revision and `once` do not count.)
    ///
    /// Nobody tells of a handle that is closed elsewhere: it is asked about, every two seconds at first, and less and less
    /// often. So its streams end, as long as the cell answers, half a minute after the closing at worst. But where this session
    /// closes it by another `Handle` of the same [token](Client::handle), the streams of the one that was opened do not ask:
    /// they end after their next gap only, or with the node or the session.
    ///
    /// Refused as [`Client::watch`] may be: [`Error::TooLarge`]. A handle that is good for nothing is told by the
    /// stream.
    pub fn events(&self, options: WatchOptions) -> Op<HandleEvents> {
        HandleEvents::begin(&self.held, self.owned, options)
    }

    /// Fails all that is under way through the handle, and all that is asked later, with [`Error::HandlePoisoned`]: to call
    /// other threads back. The node stays open until the handle is closed or dropped.
    pub fn poison(&self) {
        self.held.poison();
    }

    /// Whether it was poisoned.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.held.lock().poisoned
    }

    /// Closes it, and tells when that is done. A transient node goes with its last handle. It never fails for the session
    /// that opened it: one that is over has closed all it had open. Close the `Handle` that was opened, not another one of its
    /// [token](Client::handle): of that the [events](Self::events) of the one that was opened would not know.
    /// [`Error::HandleForeign`] if another session opened it, [`Error::HandleForged`] if none did.
    pub fn close(mut self) -> Op<()> {
        self.owned = false;
        let root = self.held.client.root();
        let close = Operation::Close { handle: self.held.token.clone() };
        let (op, promise) = Op::new();
        let held = Arc::downgrade(&self.held);
        let then = move |result: Result<Answered>| {
            promise.finish(match result.and_then(|answered| done(answered, &root)) {
                Ok(Done::Closed) => {
                    Held::was_closed(&held);
                    Ok(())
                }
                Err(Error::SessionExpired { .. }) => Ok(()),
                Ok(_) => Err(unfit("a closing")),
                Err(error) => Err(error),
            })
        };
        self.held.client.call(Call::Request(close), Then::new(then));
        op
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.owned {
            let close = Operation::Close { handle: self.held.token.clone() };
            let (root, held) = (self.held.client.root(), Arc::downgrade(&self.held));
            let then = move |result: Result<Answered>| {
                if result.and_then(|answered| done(answered, &root)).is_ok() {
                    Held::was_closed(&held);
                }
                Next::Finished
            };
            self.held.client.call(Call::Request(close), Then::new(then));
        }
    }
}

impl Held {
    fn new(client: Client, token: Token, lock_delay: Duration) -> Self {
        Self { client, token, lock_delay, calls: Mutex::default() }
    }

    pub(super) fn path(&self) -> String {
        outward(&self.client.root(), self.token.path.clone())
    }

    pub(super) fn stat(&self) -> Op<Stat> {
        let pick = |_, answer| match answer {
            Answer::Exists { stat } => stat,
            _ => None,
        };
        self.ask(|handle| Read::HandleStat { handle }, pick)
    }

    /// A number for a stream of its events.
    pub(super) fn name_stream(&self) -> u64 {
        let mut calls = self.lock();
        calls.streams += 1;
        calls.streams
    }

    /// Whether it was poisoned; if not, `waker` is woken when it is, and nobody else for that stream.
    pub(super) fn is_poisoned_or_wakes(&self, stream: u64, waker: &Waker) -> bool {
        let mut calls = self.lock();
        if !calls.poisoned {
            calls.wakers.insert(stream, waker.clone());
        }
        calls.poisoned
    }

    /// Whether it was closed here, by this very `Held`. Whoever was to be woken when it is poisoned is woken by that too.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// That stream is gone.
    pub(super) fn forget_stream(&self, stream: u64) {
        // In a forked child the lock may be held by a thread that is not there.
        if self.client.forked().is_none() {
            self.lock().wakers.remove(&stream);
        }
    }

    /// It was closed. Only its streams may be left of it: a call under way keeps nothing of a handle, nor of its client.
    fn was_closed(held: &Weak<Self>) {
        let Some(held) = held.upgrade() else { return };
        let wakers = {
            let mut calls = held.lock();
            calls.closed = true;
            std::mem::take(&mut calls.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    fn poison(&self) {
        let (waiting, wakers) = {
            let mut calls = self.lock();
            calls.poisoned = true;
            (std::mem::take(&mut calls.waiting), std::mem::take(&mut calls.wakers))
        };
        for Waiting { call, give_up } in waiting {
            if call.is_waiting() {
                call.fail(self.poisoned(Known::Unknown));
                if let Some(give_up) = give_up {
                    give_up();
                }
            }
        }
        wakers.into_values().for_each(Waker::wake);
    }

    fn poisoned(&self, outcome: Known) -> Error {
        Error::HandlePoisoned { path: self.path(), outcome }
    }

    fn through(&self, operation: Operation) -> Operation {
        Operation::Through { handle: self.token.clone(), operation: Box::new(operation) }
    }

    fn acquisition(&self, mode: LockMode, wait: bool) -> Operation {
        let lock_delay_ms = lock_delay_ms(self.lock_delay);
        let path = self.token.path.clone();
        self.through(Operation::Acquire { path, mode, wait, create: false, lock_delay_ms })
    }

    /// The cell's path of what is called `name` below the node.
    fn below(&self, name: &str) -> Result<String> {
        if name.is_empty() || name.starts_with('/') {
            let why = format!("`{name}` is no name below {}: begin with the child's own name", self.path());
            return Err(Error::BadArgument { why });
        }
        Ok(format!("{}/{name}", self.token.path.trim_end_matches('/')))
    }

    fn mutate<T: Send + 'static>(
        &self,
        operation: impl FnOnce(String) -> Operation,
        pick: impl FnOnce(Done) -> Option<T> + Send + 'static,
    ) -> Op<T> {
        let (root, operation) = (self.client.root(), self.through(operation(self.token.path.clone())));
        self.run(|| {
            self.client.submit(Call::Request(operation), move |answered| {
                pick(done(answered, &root)?).ok_or_else(|| unfit("a request"))
            })
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(Token) -> Read,
        pick: impl FnOnce(u64, Answer) -> Option<T> + Send + 'static,
    ) -> Op<T> {
        let (root, read) = (self.client.root(), read(self.token.clone()));
        self.run(|| {
            self.client.submit(Call::Read(read, Consistency::Linearizable), move |answered| {
                let (revision, answer) = answer(answered, &root)?;
                pick(revision, answer).ok_or_else(|| unfit("a read"))
            })
        })
    }

    /// Makes a call that fails once the handle is poisoned.
    fn run<T: Send + 'static>(&self, call: impl FnOnce() -> Op<T>) -> Op<T> {
        self.run_and(|| (call(), None))
    }

    fn run_and<T: Send + 'static>(&self, call: impl FnOnce() -> (Op<T>, Option<Box<dyn FnOnce() + Send>>)) -> Op<T> {
        let mut calls = self.lock();
        if calls.poisoned {
            return Op::ready(Err(self.poisoned(Known::NotApplied)));
        }
        let (op, give_up) = call();
        if calls.waiting.len() >= calls.sweep_at {
            calls.waiting.retain(|waiting| waiting.call.is_waiting());
            calls.sweep_at = 2 * calls.waiting.len() + SWEEP_MIN;
        }
        calls.waiting.push(Waiting { call: op.outstanding(), give_up });
        op
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Calls({}, poisoned: {})", self.waiting.len(), self.poisoned)
    }
}

/// So many calls are kept before any sweep.
const SWEEP_MIN: usize = 16;
