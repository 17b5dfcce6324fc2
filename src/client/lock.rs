//! Locks: taken and waited for, held by a guard, and shown to others by a sequencer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use super::acquisition;
use super::api::{Client, done, outward, unfit};
use super::call::{Call, Then};
use super::error::Error;
use super::guarded::{Guarded, under};
use super::machine::Answered;
use super::observe::SessionEvents;
use super::op::Op;
use super::session::{SessionEvent, SessionState};
use super::watch::{Watch, WatchOptions};
use crate::namespace::command::{Answer, Done, LockHolders, LockMode, Operation, Read, Refusal, Sequencer};
use crate::wire::client::Consistency;

/// How to take a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct LockOptions {
    mode: LockMode,
    lock_delay: Duration,
    create: bool,
}

/// A lock that is held, until it is released or dropped, or the session is lost, or its node is deleted.
///
/// A lock is the session's. The guard says what this client knows: [`is_held`](Self::is_held) is true only while the session's
/// lease holds by the client's own, careful clock, so it turns false before the cell can give the lock to anybody else. That is
/// enough for work that stops when it is told to. Work that cannot be stopped in time must be *fenced*: each write carries the
/// sequencer ([`guarded`](Self::guarded), [`Txn::check_lock`](super::Txn::check_lock)), and the cell refuses it once the lock
/// has moved on; other services compare tokens, and refuse one lower than they have seen.
///
/// A deleted node takes its lock along, and the guard is not told: `is_held`, [`held_for`](Self::held_for) and
/// [`lost`](Self::lost) are of the session alone. Guarded writes are refused from then on, and
/// [`Client::check_sequencer`] tells. Let nobody delete the node (by its access list, if others may write there), or
/// [watch](Client::watch) it.
///
/// Dropped as the process ends, when `main` returns, the release may not be sent any more, and the session holds the
/// lock until it ends by its timeout: `release().wait()` sees to it, or [`Client::close`] and its `wait()`.
///
/// Sequencers and the lock-delay are Chubby's (Burrows, OSDI 2006, §2.4), as are locks that are advisory and shared or
/// exclusive; that those who wait stand in a fair queue is not.
#[derive(Debug)]
#[must_use = "dropping it gives the lock up"]
pub struct LockGuard {
    client: Client,
    sequencer: Sequencer,
    /// False once it was given up, or left to the session.
    owned: bool,
}

/// Why a lock is not to be relied upon any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LockLost {
    /// The session's lease ran out: it may live or be over, and others may have the lock soon. If the session is
    /// [safe](LockGuard::is_held) again later, it never ended, and the lock was nobody else's meanwhile.
    Jeopardy,
    /// The session has expired.
    Expired,
    /// The client was closed.
    Closed,
}

impl std::fmt::Display for LockLost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Jeopardy => "the session's lease ran out, and others may have it soon",
            Self::Expired => "the session has expired",
            Self::Closed => "the client was closed",
        })
    }
}

/// Completes when a lock is lost with its session, or may be. Of a lock that went with its node it tells nothing: see
/// [`LockGuard`].
#[derive(Debug)]
#[must_use = "it tells nothing unless it is awaited"]
pub struct Lost {
    events: SessionEvents,
    found: Option<LockLost>,
}

impl Client {
    /// Takes the lock of a node, waiting in the cell's fair queue while others hold it. Dropping the call, as
    /// [`Op::wait_timeout`] does in the end, gives the lock or the place in the queue up, as soon as the cell has answered.
    /// Until then it is [`Error::LockTwice`] to take the same lock again, as it is while this session holds it, or waits for it, by
    /// another guard or call (of a process before this one: [`Client::resume_lock`]).
    ///
    /// [`Error::NotAuthorized`] without the right `lock`. [`Error::NoNode`] if the node has to be
    /// [there](LockOptions::existing) and is not, or was deleted while this waited; [`Error::LockNotHeld`] if another was made in
    /// its place by then. A node that has to be made may be refused as [`create`](Client::create) may. [`Error::TooLarge`] if
    /// the lock-delay is longer than a minute, or too many sessions hold the lock or wait for it already;
    /// [`Error::TooManyLockWaits`] if this client waits for too many.
    pub fn lock(&self, path: &str, options: LockOptions) -> Op<LockGuard> {
        match self.inward(path) {
            Ok(path) => acquisition::acquire(self, path.clone(), options.acquire(path, true)).0,
            Err(error) => Op::ready(Err(error)),
        }
    }

    /// Takes the lock of a node if nobody holds it or waits for it; `None` otherwise. If it is this session that does it is
    /// [`Error::LockTwice`]; what else [`lock`](Client::lock) is refused for at once this is too.
    pub fn try_lock(&self, path: &str, options: LockOptions) -> Op<Option<LockGuard>> {
        let path = match self.inward(path) {
            Ok(path) => path,
            Err(error) => return Op::ready(Err(error)),
        };
        self.try_acquire(path.clone(), options.acquire(path, false))
    }

    /// Takes the lock of `path`, as the cell calls it, by `acquire`, which does not wait.
    pub(super) fn try_acquire(&self, path: String, acquire: Operation) -> Op<Option<LockGuard>> {
        if let Some(forked) = self.forked() {
            return Op::ready(Err(forked));
        }
        if self.acquiring().contains(&path) {
            return Op::ready(Err(Error::LockTwice { path: outward(&self.root(), path) }));
        }
        let (client, root) = (self.clone(), self.root());
        self.submit(Call::Request(acquire), move |answered| match answered {
            Answered::Request { outcome: Err(Refusal::LockBusy { .. }), .. } => Ok(None),
            answered => match done(answered, &root)? {
                Done::Granted { sequencer } => Ok(Some(LockGuard::new(client, sequencer))),
                _ => Err(unfit("a lock")),
            },
        })
    }

    /// Who holds the lock of a node, and how many wait for it: nobody where no lock was ever taken. [`Error::NoNode`] if there
    /// is no node, [`Error::NotAuthorized`] with neither the right `read` nor `lock`.
    pub fn lock_holders(&self, path: &str) -> Op<LockHolders> {
        let pick = |answer, root: &Arc<str>| match answer {
            Answer::Lock { mut holders } => {
                holders.sequencer = holders.sequencer.map(|sequencer| outward_sequencer(root, sequencer));
                Some(holders)
            }
            _ => None,
        };
        self.ask(path, Consistency::Linearizable, |path| Read::LockHolders { path }, pick)
    }

    /// Whether a lock is still held as its sequencer, shown by somebody, says. It is not if its node is gone.
    /// [`Error::NotAuthorized`] if this session knows of the node, and has neither the right `read` nor `lock`.
    pub fn check_sequencer(&self, sequencer: &Sequencer) -> Op<bool> {
        let read = |path| Read::CheckSequencer { sequencer: Sequencer { path, ..sequencer.clone() } };
        let pick = |answer, _: &_| match answer {
            Answer::Sequencer { valid } => Some(valid),
            _ => None,
        };
        self.ask(&sequencer.path, Consistency::Linearizable, read, pick)
    }

    /// Writes that the cell refuses once the lock of that sequencer, which its holder handed over, is lost.
    /// [`Error::BadArgument`] if its path is none.
    pub fn guarded_by(&self, sequencer: &Sequencer) -> Result<Guarded<'_>, Error> {
        let path = self.inward(&sequencer.path)?;
        Ok(Guarded::new(self, Sequencer { path, ..sequencer.clone() }))
    }

    /// Gives a lock up, whatever comes of it.
    pub(super) fn release_quietly(&self, release: Operation) {
        self.call(Call::Request(release), Then::nothing());
    }
}

impl LockOptions {
    /// For one holder alone. The node is made if it is missing, as a permanent and empty one.
    pub fn exclusive() -> Self {
        Self { mode: LockMode::Exclusive, lock_delay: Duration::ZERO, create: true }
    }

    /// For holders who share it.
    pub fn shared() -> Self {
        Self { mode: LockMode::Shared, ..Self::exclusive() }
    }

    /// How long nobody else gets the lock if this session is lost while it holds it, a minute at most: for the sake of
    /// work that goes on unfenced. In whole milliseconds; none unless this is called (`quorate lock` asks for 2 s).
    pub fn lock_delay(mut self, delay: Duration) -> Self {
        self.lock_delay = delay;
        self
    }

    /// The node must be there.
    pub fn existing(mut self) -> Self {
        self.create = false;
        self
    }

    fn acquire(self, path: String, wait: bool) -> Operation {
        let Self { mode, lock_delay, create } = self;
        Operation::Acquire { path, mode, wait, create, lock_delay_ms: lock_delay_ms(lock_delay) }
    }
}

impl LockGuard {
    pub(super) fn new(client: Client, sequencer: Sequencer) -> Self {
        Self { client, sequencer, owned: true }
    }

    /// What to show to others. Its path is the one this client locked.
    #[must_use]
    pub fn sequencer(&self) -> Sequencer {
        outward_sequencer(&self.client.root(), self.sequencer.clone())
    }

    /// A number greater than that of every earlier holder of a lock of that name, for services that remember the greatest
    /// they have seen.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.sequencer.generation
    }

    /// True while the session's lease holds by this host's clock; once false, others may get the lock. It stays true if the
    /// lock's node is deleted, and the lock with it: see [`LockGuard`].
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.client.observed().is_safe()
    }

    /// For how long the lock is held at least, by this host's clock, if the cell is not heard again; zero when it is not
    /// [held](LockGuard::is_held). Whoever needs time to stop begins when so much is left.
    #[must_use]
    pub fn held_for(&self) -> Duration {
        self.client.safe_for()
    }

    /// Completes when the lock is lost with the session, or may be; not if it is lost with its node: see [`LockGuard`].
    pub fn lost(&self) -> Lost {
        let events = self.client.session_events();
        let found = match self.client.state() {
            SessionState::Safe if self.is_held() => None,
            SessionState::Safe | SessionState::Connecting | SessionState::Jeopardy => Some(LockLost::Jeopardy),
            SessionState::Expired => Some(LockLost::Expired),
            SessionState::Closed => Some(LockLost::Closed),
        };
        Lost { events, found }
    }

    /// Tells each time that somebody else comes to wait for the lock, from when it was got on, and whether others waited
    /// already then ([`WatchEvent::Wanted`](super::WatchEvent)): for holders who keep a lock until another wants it. Whoever it was
    /// may have given up since, and after a gap one that came in it waits untold: [`Client::lock_holders`] counts who does.
    /// Refused as [`Client::watch`] may be: [`Error::TooLarge`].
    pub fn wanted(&self) -> Op<Watch> {
        let since_before = WatchOptions::lock().from_revision(self.sequencer.generation.saturating_sub(1));
        self.client.watch(&self.sequencer().path, since_before)
    }

    /// Writes that the cell refuses once the lock is lost.
    #[must_use]
    pub fn guarded(&self) -> Guarded<'_> {
        Guarded::new(&self.client, self.sequencer.clone())
    }

    /// Gives the lock up, and tells when that is done. [`Error::Fenced`] if it was lost before, with its node too;
    /// [`Error::LockNotHeld`] if it was given up by other means, and others hold it still that shared it.
    pub fn release(mut self) -> Op<()> {
        self.owned = false;
        let root = self.client.root();
        self.client.submit(Call::Request(release_under(&self.sequencer)), move |answered| {
            match done(answered, &root)? {
                Done::Released => Ok(()),
                _ => Err(unfit("a release")),
            }
        })
    }

    /// Leaves the lock to the session, which holds it until it ends.
    pub fn forget(mut self) -> Sequencer {
        self.owned = false;
        self.sequencer()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if self.owned {
            self.client.release_quietly(release_under(&self.sequencer));
        }
    }
}

impl Lost {
    /// Waits for at most so long; `None` if the lock is well.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<LockLost> {
        let deadline = super::clock::now() + timeout.into();
        while self.found.is_none() {
            let left = deadline - super::clock::now();
            self.found = match self.events.next_timeout(left.into()) {
                Some(event) => loss(&event),
                None if self.events.is_over() => Some(LockLost::Closed),
                None => return None,
            };
        }
        self.found
    }
}

impl Future for Lost {
    type Output = LockLost;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<LockLost> {
        loop {
            if let Some(found) = self.found {
                return Poll::Ready(found);
            }
            match Pin::new(&mut self.events).poll_next(context) {
                Poll::Ready(Some(event)) => self.found = loss(&event),
                Poll::Ready(None) => self.found = Some(LockLost::Closed),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// A lock-delay as the log has it; one past all bounds stays so.
pub(super) fn lock_delay_ms(delay: Duration) -> u32 {
    u32::try_from(delay.as_millis()).unwrap_or(u32::MAX)
}

/// A release under its own guard, so that it never gives up what was locked anew since.
pub(super) fn release_under(sequencer: &Sequencer) -> Operation {
    under(Some(sequencer), Operation::Release { path: sequencer.path.clone() })
}

fn loss(event: &SessionEvent) -> Option<LockLost> {
    match event {
        SessionEvent::Safe | SessionEvent::Failover { .. } => None,
        SessionEvent::Jeopardy { .. } => Some(LockLost::Jeopardy),
        SessionEvent::Expired => Some(LockLost::Expired),
        SessionEvent::Closed => Some(LockLost::Closed),
    }
}

fn outward_sequencer(root: &Arc<str>, sequencer: Sequencer) -> Sequencer {
    Sequencer { path: outward(root, sequencer.path), ..sequencer }
}
