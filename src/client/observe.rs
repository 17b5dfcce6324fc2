//! What callers may look at without asking the driver: the session's state, and its changes as a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use rustix::process::Pid;

use super::api::Client;
use super::clock;
use super::kept::KeptAnswers;
use super::machine::{CacheSettings, Shelve};
use super::session::{SessionEvent, SessionState};
use crate::namespace::command::{Revision, SessionId};
use crate::process;
use crate::time::Instant;

/// One client's public state; written by the driver.
#[derive(Debug)]
pub(super) struct Observed {
    process: Pid,
    /// Answers that callers may give themselves, if it was asked for.
    kept: Option<KeptAnswers>,
    /// Known from its opening on, beyond its end.
    session: OnceLock<SessionId>,
    view: Mutex<View>,
    revision: AtomicU64,
    applied_before: AtomicU64,
    listeners: Mutex<Vec<Weak<Listener>>>,
}

#[derive(Clone, Copy, Debug)]
struct View {
    state: SessionState,
    lease_until: Instant,
    /// When the session is taken for over, its lease being over, if the cell is not heard.
    grace_until: Instant,
    /// The client is being closed: what its session holds may go at any moment.
    closing: bool,
}

/// The changes of a client's session, from when it was asked for, in order: a stream. It ends after
/// [`SessionEvent::Expired`] or [`SessionEvent::Closed`], and in a forked child at once.
///
/// A reader that falls far behind loses the oldest events; what the last one says always holds.
#[derive(Debug)]
pub struct SessionEvents {
    /// In a process forked from this one nothing more comes, and the lock may be held by a thread that is not there.
    process: Pid,
    listener: Arc<Listener>,
}

#[derive(Debug)]
struct Listener {
    state: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    events: VecDeque<SessionEvent>,
    waker: Option<Waker>,
    ended: bool,
}

impl Observed {
    pub(super) fn new(cache: Option<CacheSettings>) -> Self {
        let (state, never) = (SessionState::Connecting, Instant::ZERO);
        let view = View { state, lease_until: never, grace_until: never, closing: false };
        let kept = cache.map(KeptAnswers::new);
        Self {
            process: process::current(),
            kept,
            session: OnceLock::new(),
            view: Mutex::new(view),
            revision: AtomicU64::new(0),
            applied_before: AtomicU64::new(0),
            listeners: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> SessionState {
        // In a forked child the session is the parent's, and the lock may be held by a thread that is not there.
        if self.is_here() { lock(&self.view).state } else { SessionState::Closed }
    }

    /// For how long the session's lease holds from now on: the clock is asked, not the driver, which may not have had its turn.
    pub(super) fn safe_for(&self) -> Duration {
        if !self.is_here() {
            return Duration::ZERO;
        }
        let View { state, lease_until, closing, .. } = *lock(&self.view);
        if state == SessionState::Safe && !closing { (lease_until - clock::now()).into() } else { Duration::ZERO }
    }

    /// For how much longer the cell is hoped to confirm the session, whose lease is over by the clock, which is asked here too.
    pub(super) fn grace_left(&self) -> Option<Duration> {
        if !self.is_here() {
            return None;
        }
        let (View { state, lease_until, grace_until, .. }, now) = (*lock(&self.view), clock::now());
        match state {
            SessionState::Safe if now < lease_until => None,
            SessionState::Safe | SessionState::Jeopardy => Some((grace_until - now).into()),
            SessionState::Connecting | SessionState::Expired | SessionState::Closed => None,
        }
    }

    /// Whether the session's lease holds now.
    pub(super) fn is_safe(&self) -> bool {
        self.safe_for() > Duration::ZERO
    }

    /// The kept answers. A forked child has none: it would not hear that they changed.
    pub(super) fn kept(&self) -> Option<&KeptAnswers> {
        self.kept.as_ref().filter(|_| self.is_here())
    }

    /// Does what the machine says of what is kept.
    pub(super) fn shelve(&self, shelve: Shelve) {
        if let Some(kept) = &self.kept {
            kept.shelve(shelve);
        }
    }

    /// The client is about to be closed.
    pub(super) fn close(&self) {
        if !self.is_here() {
            return;
        }
        if let Some(kept) = &self.kept {
            kept.close();
        }
        lock(&self.view).closing = true;
    }

    /// Whether this is the process whose session it is.
    fn is_here(&self) -> bool {
        process::current() == self.process
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        self.session.get().copied()
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    /// The last request that took effect before this client had the session.
    pub(super) fn applied_before(&self) -> u64 {
        self.applied_before.load(Ordering::Acquire)
    }

    pub(super) fn took_over(&self, applied_before: u64) {
        self.applied_before.store(applied_before, Ordering::Release);
    }

    pub(super) fn events(&self) -> SessionEvents {
        let stream = |ended| {
            let heard = Heard { events: VecDeque::new(), waker: None, ended };
            let listener = Arc::new(Listener { state: Mutex::new(heard) });
            SessionEvents { process: self.process, listener }
        };
        if !self.is_here() {
            return stream(true);
        }
        let mut listeners = lock(&self.listeners);
        let stream = stream(matches!(self.state(), SessionState::Expired | SessionState::Closed));
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(&stream.listener));
        stream
    }

    pub(super) fn set(
        &self,
        state: SessionState,
        session: Option<SessionId>,
        (lease_until, grace_until): (Instant, Instant),
        revision: Revision,
    ) {
        if let Some(session) = session {
            self.session.get_or_init(|| session);
        }
        let mut view = lock(&self.view);
        *view = View { state, lease_until, grace_until, closing: view.closing };
        self.revision.store(revision, Ordering::Release);
    }

    /// Nobody keeps the session alive any more, or tells of it.
    pub(super) fn abandon(&self) {
        self.close();
        lock(&self.view).state = SessionState::Closed;
        self.tell(SessionEvent::Closed);
    }

    pub(super) fn tell(&self, event: SessionEvent) {
        let listeners = lock(&self.listeners).clone();
        for listener in listeners.iter().filter_map(Weak::upgrade) {
            let waker = {
                let mut heard = lock(&listener.state);
                if heard.events.len() >= EVENTS_MAX {
                    heard.events.pop_front();
                }
                heard.ended |= matches!(event, SessionEvent::Expired | SessionEvent::Closed);
                heard.events.push_back(event.clone());
                heard.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Client {
    /// For how much longer the cell may confirm the session, whose lease ran out, before it is taken for over, by this host's
    /// clock; `None` while it is not in [jeopardy](SessionEvent::Jeopardy). Whoever wants to wait out a doubt, and has
    /// something to do before it is too late, begins when so much is left.
    #[must_use]
    pub fn grace_left(&self) -> Option<Duration> {
        self.observed().grace_left()
    }
}

impl SessionEvents {
    /// Whether nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        process::current() != self.process || {
            let heard = lock(&self.listener.state);
            heard.ended && heard.events.is_empty()
        }
    }
}

impl Stream for SessionEvents {
    type Item = SessionEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<SessionEvent>> {
        if process::current() != self.process {
            return Poll::Ready(None);
        }
        let mut heard = lock(&self.listener.state);
        match heard.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if heard.ended => Poll::Ready(None),
            None => {
                heard.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Events kept for one reader.
const EVENTS_MAX: usize = 64;
