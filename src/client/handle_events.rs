//! What happens to an open node, until its handle is good for nothing more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::error::Error;
use super::handle::Held;
use super::observe::SessionEvents;
use super::op::Op;
use super::session::SessionEvent;
use super::watch::{Watch, WatchEvent, WatchOptions};
use crate::namespace::command::Stat;
use crate::paxos::ballot::ReplicaId;

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
    /// After a gap nobody knows whether the node went in it.
    check: Option<Op<Stat>>,
    over: bool,
}

impl HandleEvents {
    /// The events of a handle from its opening on.
    pub(super) fn begin(held: &Arc<Held>, options: WatchOptions) -> Op<Self> {
        let (op, promise) = Op::new();
        let (held, stream, path) = (Arc::clone(held), held.name_stream(), held.path());
        let session = held.client.session_events();
        let client = held.client.clone();
        let (options, watched) = (options.forever().from_revision(held.token.opened), path.clone());
        client.watch_then(&watched, options, move |watch| {
            promise.keep(watch.map(|watch| Self { held, stream, path, watch, session, check: None, over: false }));
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
        if let Some(check) = &mut self.check
            && let Poll::Ready(found) = Pin::new(check).poll(context)
        {
            self.check = None;
            if matches!(found, Err(Error::HandleGone { .. } | Error::HandleClosed { .. })) {
                return self.end(HandleLost::Gone);
            }
        }
        match self.poll_watch(context) {
            Poll::Pending => self.poll_session(context),
            told => told,
        }
    }
}
