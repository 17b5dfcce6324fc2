//! What happens to an open node, until its handle is good for nothing more.
//!
//! That the node is gone its watch tells. That a handle is closed shows in nobody's events: whoever closes it here tells the
//! streams of that handle; and one that was opened elsewhere, whose opener may close it at any moment, or lose it by the end
//! of its session, is asked about now and then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::alarms::Alarm;
use super::error::Error;
use super::handle::Held;
use super::observe::SessionEvents;
use super::op::Op;
use super::session::SessionEvent;
use super::watch::{Watch, WatchEvent, WatchOptions};
use super::{clock, driver};
use crate::namespace::command::Stat;
use crate::paxos::ballot::ReplicaId;
use crate::time::{Duration, Instant};

/// Something happened to an open node, or to its handle.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HandleEvent {
    /// It happened to the node, or around it, as a watch tells it.
    Node(Box<WatchEvent>),
    /// Another replica leads. The handle goes on, and no event was lost.
    Failover {
        /// The new leader.
        leader: ReplicaId,
    },
    /// The handle is good for nothing more. The last event.
    Invalid(HandleLost),
}

/// Why a handle is good for nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HandleLost {
    /// The node is gone, or whoever opened it has closed the handle.
    Gone,
    /// The session is over.
    SessionOver,
    /// It was [poisoned](super::Handle::poison).
    Poisoned,
}

/// The events of a handle: a stream. It ends after [`HandleEvent::Invalid`].
#[derive(Debug)]
pub struct HandleEvents {
    held: Arc<Held>,
    /// Its number among the handle's.
    stream: u64,
    path: String,
    watch: Watch,
    session: SessionEvents,
    /// Whether the handle is good still: asked after a gap, in which the node may have gone, and when it is time to.
    check: Option<Op<Stat>>,
    /// When it is asked next: never, if nobody else may close it.
    check_at: Instant,
    /// Whoever polls is woken then.
    alarm: Option<Alarm>,
    /// It is good for nothing more, which is told when everything before has been.
    gone: bool,
    over: bool,
}

impl HandleEvents {
    /// The events of a handle from its opening on. `owned`: nobody but its holder closes it.
    pub(super) fn begin(held: &Arc<Held>, owned: bool, options: WatchOptions) -> Op<Self> {
        let (op, promise) = Op::new();
        let (held, stream, path) = (Arc::clone(held), held.name_stream(), held.path());
        let session = held.client.session_events();
        let client = held.client.clone();
        let (options, watched) = (options.forever().from_revision(held.token.opened), path.clone());
        client.watch_then(&watched, options, move |watch| {
            // One that was opened elsewhere may be closed already.
            let check_at = if owned { Instant::FOREVER } else { Instant::ZERO };
            let (check, alarm, gone, over) = (None, None, false, false);
            promise.keep(watch.map(|watch| Self {
                held,
                stream,
                path,
                watch,
                session,
                check,
                check_at,
                alarm,
                gone,
                over,
            }));
        });
        op
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    fn end(&mut self, why: HandleLost) -> Poll<Option<HandleEvent>> {
        self.over = true;
        Poll::Ready(Some(HandleEvent::Invalid(why)))
    }

    /// What the watch tells, if it tells anything.
    fn poll_watch(&mut self, context: &mut Context<'_>) -> Poll<Option<HandleEvent>> {
        match Pin::new(&mut self.watch).poll_next(context) {
            Poll::Ready(Some(Ok(WatchEvent::Deleted { path, .. }))) if path == self.path => self.end(HandleLost::Gone),
            Poll::Ready(Some(Ok(event))) => {
                if matches!(event, WatchEvent::Gap { .. }) {
                    // What was asked before may be answered from before the gap.
                    self.check = Some(self.held.stat());
                }
                Poll::Ready(Some(HandleEvent::Node(Box::new(event))))
            }
            Poll::Ready(Some(Err(_)) | None) => self.end(HandleLost::SessionOver),
            Poll::Pending => Poll::Pending,
        }
    }

    /// What the session tells that concerns the handle.
    fn poll_session(&mut self, context: &mut Context<'_>) -> Poll<Option<HandleEvent>> {
        loop {
            match Pin::new(&mut self.session).poll_next(context) {
                Poll::Ready(Some(SessionEvent::Failover { leader })) => {
                    return Poll::Ready(Some(HandleEvent::Failover { leader }));
                }
                Poll::Ready(Some(SessionEvent::Expired | SessionEvent::Closed) | None) => {
                    return self.end(HandleLost::SessionOver);
                }
                Poll::Ready(Some(SessionEvent::Safe | SessionEvent::Jeopardy { .. })) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// What is told without being asked for.
    fn poll_told(&mut self, context: &mut Context<'_>) -> Poll<Option<HandleEvent>> {
        match self.poll_watch(context) {
            Poll::Pending => self.poll_session(context),
            told => told,
        }
    }

    /// Asks about the handle when it is time to. Whether it was found to be good for nothing.
    fn is_found_gone(&mut self, context: &mut Context<'_>) -> bool {
        if self.check.is_none() && clock::now() >= self.check_at {
            self.check = Some(self.held.stat());
        }
        if let Some(check) = &mut self.check {
            let Poll::Ready(found) = Pin::new(check).poll(context) else { return false };
            (self.check, self.alarm) = (None, None);
            if let Err(Error::HandleGone { .. } | Error::HandleClosed { .. } | Error::HandleForged { .. }) = found {
                return true;
            }
            if self.check_at < Instant::FOREVER {
                self.check_at = clock::now() + CHECK_EVERY;
            }
        }
        if self.check_at < Instant::FOREVER && !self.alarm.as_ref().is_some_and(|alarm| alarm.wakes(context.waker())) {
            // Where there is no driver nothing is told at all, and the watch says so.
            self.alarm = driver::wake_at(self.check_at, context.waker().clone()).ok();
        }
        false
    }
}

impl Drop for HandleEvents {
    fn drop(&mut self) {
        self.held.forget_stream(self.stream);
    }
}

impl Stream for HandleEvents {
    type Item = HandleEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<HandleEvent>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.held.is_poisoned_or_wakes(self.stream, context.waker()) {
            return self.end(HandleLost::Poisoned);
        }
        let told = self.poll_told(context);
        if told.is_ready() {
            return told;
        }
        if !self.gone && !self.held.is_closed() && !self.is_found_gone(context) {
            return Poll::Pending;
        }
        self.gone = true;
        // What happened before was told before this was known, if not a moment ago.
        match self.poll_told(context) {
            Poll::Pending => self.end(HandleLost::Gone),
            told => told,
        }
    }
}

/// How often a handle is asked about that others may close: one small read.
const CHECK_EVERY: Duration = Duration::from_secs(2);
