//! What happens to an open node, until its handle is good for nothing more.
//!
//! That the node is gone its watch tells. That a handle is closed shows in nobody's events: it is asked about. Whoever closes
//! it here tells the streams of that handle that it is time to; and one that was opened elsewhere, whose opener may close it
//! at any moment, or lose it by the end of its session, is asked about now and then ([`Checks`]).
//!
//! A stream ends only with the answer to such a question, which a replica gives behind all events of before. The answer to the
//! closing itself may overtake them.

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
    /// Whether the handle is good still: asked after a gap, in which the node may have gone, once it was closed here, and when
    /// it is time to.
    check: Option<Op<Stat>>,
    checks: Checks,
    /// Wakes whoever polls when the next check is due.
    alarm: Option<Alarm>,
    /// It was closed here, and the question about that has been asked.
    asked_since_closed: bool,
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
            let checks = Checks::begin(owned, held.token.opened.wrapping_add(stream));
            let (check, asked_since_closed, alarm, gone, over) = (None, false, None, false, false);
            promise.keep(watch.map(|watch| Self {
                held,
                stream,
                path,
                watch,
                session,
                check,
                checks,
                asked_since_closed,
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
        if !self.asked_since_closed && self.held.is_closed() {
            // What was asked before may be answered from before.
            (self.asked_since_closed, self.check) = (true, Some(self.held.stat()));
        } else if self.check.is_none() && clock::now() >= self.checks.at {
            self.check = Some(self.held.stat());
        }
        if let Some(check) = &mut self.check {
            let Poll::Ready(found) = Pin::new(check).poll(context) else { return false };
            (self.check, self.alarm) = (None, None);
            match found {
                Err(Error::HandleGone { .. } | Error::HandleClosed { .. } | Error::HandleForged { .. }) => return true,
                Ok(_) => self.checks.found_open(clock::now()),
                Err(_) => self.checks.failed(clock::now()),
            }
        }
        let at = self.checks.at;
        if at < Instant::FOREVER && !self.alarm.as_ref().is_some_and(|alarm| alarm.wakes(context.waker())) {
            // Where there is no driver nothing is told at all, and the watch says so.
            self.alarm = driver::wake_at(at, context.waker().clone()).ok();
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
        if !self.gone && !self.is_found_gone(context) {
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

/// When a handle is asked about though nothing happened: each time one small read, which stands in line with all that the
/// session asks.
#[derive(Debug)]
struct Checks {
    /// Nobody but its holder closes it: once it was found to be open, there is nothing to ask before something happens.
    owned: bool,
    /// When it is asked about next.
    at: Instant,
    /// How long after it is found to be open the next time, at most.
    every: Duration,
    /// What this stream takes off each pause, in 1024ths of it, so that those begun together do not go on asking together.
    jitter: u64,
}

impl Checks {
    /// `number`: the stream's, as far as it can be told from others by one.
    fn begin(owned: bool, number: u64) -> Self {
        // One that was opened elsewhere may be closed already.
        let at = if owned { Instant::FOREVER } else { Instant::ZERO };
        // Odd, so that as many neighbours as there are differ; and far from one, so that they differ by much.
        let jitter = number.wrapping_mul(157) % JITTER_MAX;
        Self { owned, at, every: CHECK_EVERY_MIN, jitter }
    }

    /// It is open still.
    fn found_open(&mut self, now: Instant) {
        self.at = if self.owned { Instant::FOREVER } else { now + self.pause(self.every) };
        self.every = self.every.scaled(2, 1).min(CHECK_EVERY_MAX);
    }

    /// The question came to nothing. Whatever it was asked for, nobody else will tell.
    fn failed(&mut self, now: Instant) {
        self.at = now + self.pause(CHECK_EVERY_MIN);
    }

    /// So long at most, and three quarters of it at least.
    fn pause(&self, most: Duration) -> Duration {
        most.scaled(4 * JITTER_MAX - self.jitter, 4 * JITTER_MAX)
    }
}

/// How long after it was found to be open a handle is asked about again: at first, and, twice as long each time, in the end.
const CHECK_EVERY_MIN: Duration = Duration::from_secs(2);
const CHECK_EVERY_MAX: Duration = Duration::from_secs(30);

const JITTER_MAX: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_nanos(1 << 40);

    #[test]
    fn one_that_others_may_close_is_asked_about_less_and_less_often() {
        let mut checks = Checks::begin(false, 0);
        assert!(NOW >= checks.at, "it may be closed already");
        let mut pause = || {
            checks.found_open(NOW);
            checks.at.since(NOW)
        };
        let pauses: [Duration; 6] = std::array::from_fn(|_| pause());
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30].map(Duration::from_secs));
    }

    #[test]
    fn one_of_this_session_is_asked_about_again_only_until_there_is_an_answer() {
        let mut checks = Checks::begin(true, 0);
        assert_eq!(checks.at, Instant::FOREVER, "whoever closes it tells");
        for _ in 0..3 {
            checks.failed(NOW);
            assert_eq!(checks.at.since(NOW), CHECK_EVERY_MIN);
        }
        checks.found_open(NOW);
        assert_eq!(checks.at, Instant::FOREVER);
    }

    #[test]
    fn a_question_that_comes_to_nothing_is_asked_again_soon_however_long_it_was_open() {
        let mut checks = Checks::begin(false, 0);
        (0..9).for_each(|_| checks.found_open(NOW));
        checks.failed(NOW);
        assert_eq!(checks.at.since(NOW), CHECK_EVERY_MIN);
        checks.found_open(NOW);
        assert_eq!(checks.at.since(NOW), CHECK_EVERY_MAX);
    }

    #[test]
    fn streams_begun_together_ask_at_different_times() {
        let pauses = |numbers: std::ops::Range<u64>| {
            let pause = |number| Checks::begin(false, number).pause(CHECK_EVERY_MAX);
            let mut pauses: Vec<Duration> = numbers.map(pause).collect();
            pauses.sort_unstable();
            pauses
        };
        let mut all = pauses(1000..1000 + JITTER_MAX);
        let (least, most) = (all[0], all[all.len() - 1]);
        assert!(least >= CHECK_EVERY_MAX.scaled(3, 4) && most == CHECK_EVERY_MAX, "from {least} to {most}");
        all.dedup();
        assert_eq!(all.len() as u64, JITTER_MAX);
        let few = pauses(1000..1004);
        let nearest = few.windows(2).map(|pair| pair[1].less(pair[0])).min().expect("there are four");
        assert!(nearest >= Duration::from_millis(500), "{few:?}: neighbours are far from each other");
    }
}
