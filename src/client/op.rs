//! A call's answer, to be awaited, waited for or left alone.
//!
//! Between the caller and whoever answers is one place for the answer. Most calls have the cell's own answer laid there, and
//! what the caller wants of it is made on the caller's side ([`Meaning`]): such places are all alike, and once their answers
//! are taken the next calls have them ([`Places`]), so that a call in a long row of them allocates nothing.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::process::Pid;

use super::alarms::Alarm;
use super::block_on::{block_on, block_on_until};
use super::clock;
use super::driver;
use super::error::{Error, Outcome, Result};
use super::machine::Answered;
use super::meaning::Meaning;
use crate::process;
use crate::time::Instant;

/// A call that was queued when it was made, in the order of the program, whether anyone waits for it or not.
///
/// Await it on any runtime, or [`wait`](Self::wait) for it. Dropping it drops the answer, never the call; only a lock that
/// is waited for is not wanted any more.
#[must_use = "the call is queued already; await it, .wait() for it, or .detach() it"]
pub struct Op<T> {
    answer: Source<T>,
    /// What is to be done if it is dropped before it was answered.
    abandon: Option<Box<dyn FnOnce() + Send + Sync>>,
    deadline: Option<Deadline>,
}

/// When a call is waited for no longer.
struct Deadline {
    at: Instant,
    after: Duration,
    /// Whoever polls is woken then.
    alarm: Option<Alarm>,
}

/// Where the answer comes from.
enum Source<T> {
    /// It was here at once; `None` once it was taken.
    Here(Option<Result<T>>),
    /// Somebody lays it there as the caller wants it.
    Promised(Arc<Place<T>>),
    /// The driver lays there what the cell said.
    Cell(FromCell<T>),
}

struct FromCell<T> {
    place: Arc<Place<Answered>>,
    meaning: Meaning<T>,
    root: Arc<str>,
    places: Arc<Places>,
}

/// The duty to answer an [`Op`]. Dropped unanswered, it says that the client is closed.
#[derive(Debug)]
pub(super) struct Promise<T> {
    place: Option<Arc<Place<T>>>,
}

/// Places for answers that were taken, for the next calls.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<VecDeque<Arc<Place<Answered>>>>);

#[derive(Debug)]
struct Place<T> {
    /// Where its answer comes from: in a process forked from it none comes, and its lock may be another thread's for ever.
    process: Pid,
    /// Set when the answer is there for good: from then on nobody but the caller has its lock.
    settled: AtomicBool,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
enum State<T> {
    Waiting(Option<Waker>),
    Answered(Result<T>),
    Taken,
}

impl<T> Op<T> {
    /// A call, and the duty to answer it.
    pub(super) fn new() -> (Self, Promise<T>) {
        let place = Arc::new(Place::new(process::current()));
        let answer = Source::Promised(Arc::clone(&place));
        (Self::of(answer), Promise { place: Some(place) })
    }

    /// A call that is answered by the cell, whose answer means that to the caller; and the duty to pass the answer on.
    pub(super) fn from_cell(
        places: &Arc<Places>,
        process: Pid,
        meaning: Meaning<T>,
        root: Arc<str>,
    ) -> (Self, Promise<Answered>) {
        let place = places.take(process);
        let promise = Promise { place: Some(Arc::clone(&place)) };
        let answer = Source::Cell(FromCell { place, meaning, root, places: Arc::clone(places) });
        (Self::of(answer), promise)
    }

    /// A call that is answered already.
    pub(super) fn ready(result: Result<T>) -> Self {
        Self::of(Source::Here(Some(result)))
    }

    fn of(answer: Source<T>) -> Self {
        Self { answer, abandon: None, deadline: None }
    }

    /// The same call, waited for at most so long from now on, by whatever means: then it fails with [`Error::Deadline`], and is
    /// dropped. [`Client::with_deadline`](super::Client::with_deadline) gives every call one.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.deadline = Some(Deadline { at: clock::now() + timeout.into(), after: timeout, alarm: None });
        self
    }

    /// The same call; `abandon` is done if it is dropped before it was answered.
    pub(super) fn or_abandon(mut self, abandon: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.abandon = Some(Box::new(abandon));
        self
    }

    /// Blocks this thread until the answer is here. Not for threads of an async runtime: await there. The error is the
    /// call's; [`Error::Deadline`] if it has a [deadline](Self::within), [`Error::Forked`] in a child forked since it
    /// was made.
    pub fn wait(mut self) -> Result<T> {
        match self.deadline.take() {
            None => block_on(self),
            Some(Deadline { at, after, .. }) => block_on_until(self, at).unwrap_or(Err(Error::Deadline { after })),
        }
    }

    /// As [`wait`](Self::wait), for at most this long; then it fails with [`Error::Deadline`], the call goes on, and its answer
    /// is dropped.
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<T> {
        let at = clock::now() + timeout.into();
        if self.deadline.as_ref().is_none_or(|deadline| at < deadline.at) {
            self.deadline = Some(Deadline { at, after: timeout, alarm: None });
        }
        self.wait()
    }

    /// The call, to be failed by somebody who is not its caller.
    pub(super) fn outstanding(&self) -> Box<dyn Outstanding>
    where
        T: Send + 'static,
    {
        match &self.answer {
            Source::Here(_) => Box::new(Weak::<Place<T>>::new()),
            Source::Promised(place) => Box::new(Arc::downgrade(place)),
            Source::Cell(FromCell { place, .. }) => Box::new(Arc::downgrade(place)),
        }
    }

    /// Lets the call take its course without waiting for it.
    pub fn detach(mut self) {
        self.abandon = None;
    }

    /// Whether the answer is here.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        match &self.answer {
            Source::Here(result) => result.is_some(),
            Source::Promised(place) => place.is_answered(),
            Source::Cell(FromCell { place, .. }) => place.is_answered(),
        }
    }

    fn is_waited_for(&self) -> bool {
        match &self.answer {
            Source::Here(_) => false,
            Source::Promised(place) => place.is_waited_for(),
            Source::Cell(FromCell { place, .. }) => place.is_waited_for(),
        }
    }
}

impl<T> Drop for Op<T> {
    fn drop(&mut self) {
        if self.abandon.is_some()
            && self.is_waited_for()
            && let Some(abandon) = self.abandon.take()
        {
            abandon();
        }
    }
}

impl<T> std::fmt::Debug for Op<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Op({})", if self.is_answered() { "answered" } else { "under way" })
    }
}

/// Nothing in it is pinned: what is polled is a place on the heap.
impl<T> Unpin for Op<T> {}

impl<T> Future for Op<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let Self { answer, deadline, .. } = &mut *self;
        let polled = match answer {
            Source::Here(result) => Poll::Ready(result.take().expect("an answer is taken once")),
            Source::Promised(place) => place.poll(context),
            Source::Cell(FromCell { place, meaning, root, places }) => place.poll(context).map(|answered| {
                places.put(place);
                meaning.of(answered, root)
            }),
        };
        match (polled, deadline) {
            (Poll::Pending, Some(deadline)) => deadline.poll(context).map(Err),
            (polled, deadline) => {
                // Nobody is to be woken any more.
                *deadline = None;
                polled
            }
        }
    }
}

impl Deadline {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        if clock::now() >= self.at {
            return Poll::Ready(Error::Deadline { after: self.after });
        }
        if !self.alarm.as_ref().is_some_and(|alarm| alarm.wakes(context.waker())) {
            match driver::wake_at(self.at, context.waker().clone()) {
                Ok(alarm) => self.alarm = Some(alarm),
                Err(error) => return Poll::Ready(error),
            }
        }
        Poll::Pending
    }
}

impl<T> Promise<T> {
    /// Answers the call.
    pub(super) fn keep(mut self, result: Result<T>) {
        self.answer(result);
    }

    /// Answers the call, and leaves it to whoever answers several to wake the caller.
    #[must_use]
    pub(super) fn lay(mut self, result: Result<T>) -> Option<Waker> {
        self.place.take().and_then(|place| place.answer(result))
    }

    fn answer(&mut self, result: Result<T>) {
        if let Some(waker) = self.place.take().and_then(|place| place.answer(result)) {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.answer(Err(Error::Closed { outcome: Outcome::Unknown }));
    }
}

/// A call that may be under way still.
pub(super) trait Outstanding: Send {
    /// Whether it has no answer yet, and somebody who waits for one.
    fn is_waiting(&self) -> bool;

    /// Answers it; what it is answered later goes nowhere.
    fn fail(&self, error: Error);
}

impl<T: Send> Outstanding for Weak<Place<T>> {
    fn is_waiting(&self) -> bool {
        self.upgrade().is_some_and(|place| place.is_waited_for())
    }

    fn fail(&self, error: Error) {
        if let Some(waker) = self.upgrade().and_then(|place| place.answer(Err(error))) {
            waker.wake();
        }
    }
}

impl Places {
    /// A place for an answer.
    fn take(&self, process: Pid) -> Arc<Place<Answered>> {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(mut place) = used
            && let Some(free) = Arc::get_mut(&mut place)
        {
            free.renew();
            return place;
        }
        Arc::new(Place::new(process))
    }

    /// Takes a place back whose answer was taken. Whoever laid the answer there may be about to let go of it: so it joins the
    /// end of a line, and is looked at once it is first.
    fn put(&self, place: &Arc<Place<Answered>>) {
        // In a forked child the lock may be held by a thread that is not there.
        let Ok(mut places) = self.0.try_lock() else { return };
        if places.len() < PLACES_MAX {
            places.push_back(Arc::clone(place));
        }
    }
}

impl<T> Place<T> {
    fn new(process: Pid) -> Self {
        Self { process, settled: AtomicBool::new(false), state: Mutex::new(State::Waiting(None)) }
    }

    fn renew(&mut self) {
        *self.settled.get_mut() = false;
        *self.state.get_mut().unwrap_or_else(PoisonError::into_inner) = State::Waiting(None);
    }

    /// The first answer counts. Tells whom to wake.
    fn answer(&self, result: Result<T>) -> Option<Waker> {
        let mut state = self.lock();
        let State::Waiting(waker) = &mut *state else { return None };
        let waker = waker.take();
        *state = State::Answered(result);
        drop(state);
        self.settled.store(true, Ordering::Release);
        waker
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<T>> {
        if !self.settled.load(Ordering::Acquire) && process::current() != self.process {
            return Poll::Ready(Err(Error::Forked { outcome: Outcome::Unknown }));
        }
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Answered(result) => Poll::Ready(result),
            State::Taken => panic!("an operation is not polled again after its answer was taken"),
            State::Waiting(waker) => {
                let known = waker.filter(|waker| waker.will_wake(context.waker()));
                *state = State::Waiting(Some(known.unwrap_or_else(|| context.waker().clone())));
                Poll::Pending
            }
        }
    }

    fn is_answered(&self) -> bool {
        self.settled.load(Ordering::Acquire) && matches!(*self.lock(), State::Answered(_))
    }

    fn is_waited_for(&self) -> bool {
        !self.settled.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places kept for the next calls: as many calls as one usually has under way.
const PLACES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::command::Done;

    #[test]
    fn an_answer_given_on_another_thread_is_waited_for() {
        let (op, promise) = Op::new();
        let thread = std::thread::spawn(move || promise.keep(Ok(7)));
        assert_eq!(op.wait().expect("kept"), 7);
        thread.join().expect("it only answers");
    }

    #[test]
    fn patience_ends_with_an_unknown_outcome() {
        let (op, promise) = Op::<u8>::new();
        let error = op.wait_timeout(Duration::from_millis(5)).expect_err("nobody answers");
        assert_eq!(error.outcome(), Outcome::Unknown);
        promise.keep(Ok(1));
    }

    #[test]
    fn a_deadline_holds_for_who_awaits_too() {
        let (op, promise) = Op::<u8>::new();
        let op = op.within(Duration::from_millis(5));
        assert!(matches!(block_on(op), Err(Error::Deadline { .. })));
        drop(promise);
        let (op, promise) = Op::new();
        promise.keep(Ok(1));
        assert!(matches!(op.within(Duration::ZERO).wait(), Ok(1)), "what is there is there");
        let (op, _promise) = Op::<u8>::new();
        let error = op.within(Duration::from_secs(60)).wait_timeout(Duration::from_millis(1));
        assert!(
            matches!(error, Err(Error::Deadline { after }) if after == Duration::from_millis(1)),
            "the nearer counts"
        );
    }

    #[test]
    fn nobody_is_woken_at_the_deadline_of_a_call_that_was_answered_or_dropped() {
        struct Nobody;
        impl std::task::Wake for Nobody {
            fn wake(self: Arc<Self>) {}
        }
        let nobody = Arc::new(Nobody);
        let waker = Waker::from(Arc::clone(&nobody));
        let awaited = || {
            let (op, promise) = Op::<u8>::new();
            let mut op = op.within(Duration::from_secs(3600));
            assert!(Pin::new(&mut op).poll(&mut Context::from_waker(&waker)).is_pending());
            (op, promise)
        };
        let (op, promise) = awaited();
        assert!(Arc::strong_count(&nobody) > 2, "the place and the alarm have it");
        drop((op, promise));
        assert_eq!(Arc::strong_count(&nobody), 2, "dropped");
        let (mut op, promise) = awaited();
        promise.keep(Ok(7));
        assert!(matches!(Pin::new(&mut op).poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(7))));
        assert_eq!(Arc::strong_count(&nobody), 2, "answered");
    }

    #[test]
    fn a_promise_dropped_answers_that_the_client_is_closed() {
        let (op, promise) = Op::<u8>::new();
        drop(promise);
        assert!(matches!(op.wait(), Err(Error::Closed { .. })));
    }

    #[test]
    fn who_is_failed_from_outside_hears_no_later_answer() {
        let (op, promise) = Op::<u8>::new();
        let outstanding = op.outstanding();
        assert!(outstanding.is_waiting());
        outstanding.fail(Error::TooManyCalls { limit: 7 });
        assert!(!outstanding.is_waiting());
        promise.keep(Ok(1));
        assert!(matches!(op.wait(), Err(Error::TooManyCalls { limit: 7 })));
        assert!(!outstanding.is_waiting(), "nobody waits for it");
    }

    #[test]
    fn a_future_is_woken_by_its_answer() {
        let (mut op, promise) = Op::new();
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut op).poll(&mut context).is_pending());
        promise.keep(Ok("here"));
        assert!(matches!(Pin::new(&mut op).poll(&mut context), Poll::Ready(Ok("here"))));
    }

    #[test]
    fn a_place_whose_answer_was_taken_is_the_next_calls() {
        let places = Arc::new(Places::default());
        let ask = || Op::from_cell(&places, process::current(), Meaning::Done(|done, _| Some(done)), Arc::from(""));
        let mut addresses = Vec::new();
        for revision in 1..4 {
            let (op, promise) = ask();
            let Source::Cell(FromCell { place, .. }) = &op.answer else { unreachable!("it was asked of the cell") };
            addresses.push(Arc::as_ptr(place));
            let waker = promise.lay(Ok(Answered::Request { revision, outcome: Ok(Done::Deleted) }));
            assert!(waker.is_none(), "nobody waited");
            assert_eq!(op.wait().expect("laid there"), Done::Deleted);
        }
        assert!(addresses.iter().all(|address| *address == addresses[0]), "{addresses:?}");
        let (op, promise) = ask();
        drop(op);
        let (other, _other_promise) = ask();
        assert!(promise.lay(Err(Error::TooManyCalls { limit: 7 })).is_none());
        assert!(!other.is_answered(), "a place is one call's at a time");
    }
}
