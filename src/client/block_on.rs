//! Waiting for a future without a runtime.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use super::clock;
use crate::time::Instant;

/// Blocks this thread until the future is done: for what is more than one call, as the [`recipes`](super::recipes) are. Not
/// for threads of an async runtime: await there.
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    poll_until(future.into_future(), Instant::FOREVER).expect("forever is never over")
}

/// As [`block_on`], for at most so long; then the future is dropped, and what it was after given up.
pub fn block_on_timeout<F: IntoFuture>(future: F, timeout: Duration) -> Option<F::Output> {
    block_on_until(future, clock::now() + timeout.into())
}

pub(super) fn block_on_until<F: IntoFuture>(future: F, deadline: Instant) -> Option<F::Output> {
    poll_until(future.into_future(), deadline)
}

fn poll_until<F: Future>(future: F, deadline: Instant) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = UNPARK.try_with(Waker::clone).unwrap_or_else(|_| unpark());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let now = clock::now();
        if deadline == Instant::FOREVER {
            std::thread::park();
        } else if now < deadline {
            std::thread::park_timeout((deadline - now).into());
        } else {
            return None;
        }
    }
}

fn unpark() -> Waker {
    Waker::from(Arc::new(Unpark(std::thread::current())))
}

thread_local! {
    /// Wakes this thread.
    static UNPARK: Waker = unpark();
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::super::op::Op;
    use super::*;

    #[test]
    fn a_future_is_waited_for_until_it_is_done_or_time_is_up() {
        let (op, promise) = Op::new();
        let thread = std::thread::spawn(move || promise.keep(Ok(7)));
        assert_eq!(block_on(op).expect("kept"), 7);
        thread.join().expect("it only answers");
        assert!(block_on_timeout(std::future::pending::<()>(), Duration::from_millis(5)).is_none());
    }
}
