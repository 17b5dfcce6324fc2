//! No herds: what is let go wakes whoever has it next, however many wait.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

use quorate::client::recipes::{Election, Queue, Semaphore};
use quorate::client::{Client, Error};

use super::super::cell::{Cell, PATIENCE};
use super::done;

const WAITERS: usize = 24;

/// How often one is woken who waits for its turn and has it: once for each answer on its way, of which the longest, a queue's,
/// has nine, and once for an event. Were it woken for the turns of others too, the last would be so 23 times more.
const WAKES_MAX: usize = 12;

/// One who waits, polled when it was woken.
struct Waiter<'a, T> {
    future: Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>,
    bell: Arc<Bell>,
}

struct Bell {
    polls: Thread,
    rung: AtomicBool,
    /// How often it was.
    rings: AtomicUsize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        self.rung.store(true, Ordering::SeqCst);
        self.polls.unpark();
    }
}

impl<'a, T> Waiter<'a, T> {
    fn new(future: impl Future<Output = Result<T, Error>> + 'a) -> Self {
        let (rung, rings) = (AtomicBool::new(true), AtomicUsize::new(0));
        Self { future: Box::pin(future), bell: Arc::new(Bell { polls: std::thread::current(), rung, rings }) }
    }

    /// What it waited for, if it has been woken and has that now.
    fn turn(&mut self) -> Option<T> {
        if !self.bell.rung.swap(false, Ordering::SeqCst) {
            return None;
        }
        match self.future.as_mut().poll(&mut Context::from_waker(&Arc::clone(&self.bell).into())) {
            Poll::Ready(got) => Some(got.expect("a healthy cell")),
            Poll::Pending => None,
        }
    }
}

/// Those who have what they waited for, which wait no longer, and how often each was woken.
fn turns<T>(waiters: &mut Vec<Waiter<'_, T>>) -> Vec<(T, usize)> {
    let mut had = Vec::new();
    waiters.retain_mut(|waiter| match waiter.turn() {
        Some(got) => {
            had.push((got, waiter.bell.rings.load(Ordering::SeqCst)));
            false
        }
        None => true,
    });
    had
}

/// Has all of them wait, lets `first` go, and then each time what the next one got, and sees how often each was woken from
/// beginning to end.
fn hand_over<T>(
    what: &str,
    first: T,
    mut waiters: Vec<Waiter<'_, T>>,
    all_wait: impl Fn() -> bool,
    mut let_go: impl FnMut(T),
) {
    let deadline = Instant::now() + 3 * PATIENCE;
    while !all_wait() {
        assert!(turns(&mut waiters).is_empty(), "{what}: nothing was let go");
        assert!(Instant::now() < deadline, "{what}: not all wait");
    }
    let_go(first);
    while !waiters.is_empty() {
        assert!(Instant::now() < deadline, "{what}: {} wait still", waiters.len());
        for (got, wakes) in turns(&mut waiters) {
            assert!(wakes <= WAKES_MAX, "{what}: woken {wakes} times, with {} behind it", waiters.len());
            let_go(got);
        }
        // It may have been woken by another answer that this thread waited for.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn what_one_lets_go_wakes_one_however_many_wait() {
    let cell = Cell::start(1, "");
    cell.leader();
    let (holder, clients): (Client, Vec<Client>) = (cell.connect(), (0..WAITERS).map(|_| cell.connect()).collect());
    let wait = |path: &str, count: usize| {
        let holders = holder.lock_holders(path).wait_timeout(PATIENCE);
        holders.is_ok_and(|holders| holders.waiting as usize == count)
    };

    // One has its turn at the semaphore, and waits for a permit; so it is with the queue.
    let permit = done(Semaphore::new(&holder, "/semaphore", 1).acquire(""));
    let acquire = |client| {
        let semaphore = Semaphore::new(client, "/semaphore", 1);
        Waiter::new(async move { semaphore.acquire("").await })
    };
    let all_wait = || wait("/semaphore", WAITERS - 1);
    hand_over("a semaphore", permit, clients.iter().map(acquire).collect(), all_wait, |permit| {
        permit.release().wait_timeout(PATIENCE).expect("given back");
    });

    let queue = Queue::new(&holder, "/queue");
    let take = |client| {
        let queue = Queue::new(client, "/queue");
        Waiter::new(async move { queue.take().await })
    };
    let all_wait = || wait("/queue", WAITERS - 1);
    hand_over("a queue", "entry".into(), clients.iter().map(take).collect(), all_wait, |entry| done(queue.put(entry)));

    let leadership = done(Election::new(&holder, "/election").campaign("first"));
    let campaign = |client| {
        let election = Election::new(client, "/election");
        Waiter::new(async move { election.campaign("next").await })
    };
    let all_wait = || wait("/election", WAITERS);
    hand_over("an election", leadership, clients.iter().map(campaign).collect(), all_wait, |leadership| {
        done(leadership.resign());
    });
}
