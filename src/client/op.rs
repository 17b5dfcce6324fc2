//! One call under way: for callers that block and callers that await.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::clock;
use super::error::{Error, Outcome, Result};

/// A call that was queued when it was made, in the order of the program, whether anyone waits for it or not.
///
/// Await it on any runtime, or [`wait`](Self::wait) for it. Dropping it drops the answer, never the call; only a lock that
/// is waited for is not wanted any more.
#[must_use = "the call is queued already; await it, .wait() for it, or .detach() it"]
pub struct Op<T> {
    place: Arc<Place<T>>,
    /// What is to be done if it is dropped before it was answered.
    abandon: Option<Box<dyn FnOnce() + Send + Sync>>,
}

/// The duty to answer an [`Op`]. Dropped unanswered, it says that the client is closed.
#[derive(Debug)]
pub(super) struct Promise<T> {
    place: Option<Arc<Place<T>>>,
}

#[derive(Debug)]
struct Place<T> {
    state: Mutex<State<T>>,
    answered: Condvar,
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
        let place = Arc::new(Place { state: Mutex::new(State::Waiting(None)), answered: Condvar::new() });
        (Self { place: Arc::clone(&place), abandon: None }, Promise { place: Some(place) })
    }

    /// A call that is answered already.
    pub(super) fn ready(result: Result<T>) -> Self {
        let place = Place { state: Mutex::new(State::Answered(result)), answered: Condvar::new() };
        Self { place: Arc::new(place), abandon: None }
    }

    /// The same call; `abandon` is done if it is dropped before it was answered.
    pub(super) fn or_abandon(mut self, abandon: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.abandon = Some(Box::new(abandon));
        self
    }

    /// Blocks this thread until the answer is here. Not for threads of an async runtime: await there.
    pub fn wait(self) -> Result<T> {
        let waiting = |state: &mut State<T>| matches!(state, State::Waiting(_));
        let state = self.place.answered.wait_while(self.place.lock(), waiting);
        state.unwrap_or_else(PoisonError::into_inner).take().expect("waited until it was answered")
    }

    /// As [`wait`](Self::wait), for at most this long; then the call goes on, and its answer is dropped.
    pub fn wait_timeout(self, timeout: Duration) -> Result<T> {
        let deadline = clock::now() + timeout.into();
        let mut state = self.place.lock();
        loop {
            if let Some(result) = state.take() {
                return result;
            }
            let left = deadline - clock::now();
            if left == crate::time::Duration::ZERO {
                return Err(Error::Deadline { after: timeout });
            }
            let woken = self.place.answered.wait_timeout(state, left.into());
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The call, to be failed by somebody who is not its caller.
    pub(super) fn outstanding(&self) -> Box<dyn Outstanding>
    where
        T: Send + 'static,
    {
        Box::new(Arc::downgrade(&self.place))
    }

    /// Lets the call take its course without waiting for it.
    pub fn detach(mut self) {
        self.abandon = None;
    }

    /// Whether the answer is here.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(*self.place.lock(), State::Answered(_))
    }
}

impl<T> Drop for Op<T> {
    fn drop(&mut self) {
        if let Some(abandon) = self.abandon.take().filter(|_| matches!(*self.place.lock(), State::Waiting(_))) {
            abandon();
        }
    }
}

impl<T> std::fmt::Debug for Op<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Op({})", if self.is_answered() { "answered" } else { "under way" })
    }
}

impl<T> Future for Op<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let mut state = self.place.lock();
        match state.take() {
            Some(result) => Poll::Ready(result),
            None => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<T> Promise<T> {
    /// Answers the call.
    pub(super) fn keep(mut self, result: Result<T>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<T>) {
        let Some(place) = self.place.take() else { return };
        place.answer(result);
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
        self.upgrade().is_some_and(|place| matches!(*place.lock(), State::Waiting(_)))
    }

    fn fail(&self, error: Error) {
        if let Some(place) = self.upgrade() {
            place.answer(Err(error));
        }
    }
}

impl<T> Place<T> {
    /// The first answer counts.
    fn answer(&self, result: Result<T>) {
        let mut state = self.lock();
        let State::Waiting(waker) = &mut *state else { return };
        let waker = waker.take();
        *state = State::Answered(result);
        drop(state);
        self.answered.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// The answer, if it is here.
    fn take(&mut self) -> Option<Result<T>> {
        match std::mem::replace(self, Self::Taken) {
            Self::Answered(result) => Some(result),
            Self::Taken => panic!("an operation is not polled again after its answer was taken"),
            waiting @ Self::Waiting(_) => {
                *self = waiting;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
