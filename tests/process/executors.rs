//! The library on runtimes: calls and streams are awaited by what has nothing but `std`'s own notion of a future, and where what
//! `futures` brings is in scope.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread::Thread;
use std::time::Instant;

use futures_core::Stream;
use quorate::client::{
    Client, CreateOptions, Error, Expect, LockOptions, Op, Outcome, Result, ScanOptions, WatchEvent, WatchOptions,
};

use super::cell::{Cell, PATIENCE};

/// A runtime of one thread, which sleeps until the one future it has is woken.
fn run<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (waker, deadline) = (Waker::from(Arc::new(Unpark(std::thread::current()))), Instant::now() + 3 * PATIENCE);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let left = deadline.checked_duration_since(Instant::now()).expect("whoever is awaited wakes");
        std::thread::park_timeout(left);
    }
}

/// What a pool runs.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A runtime of two threads with a queue each. A task that is woken is queued with the thread that did not poll it last: so each
/// goes to and fro between them, and is woken while it is being polled.
struct Pool {
    queues: [(Mutex<VecDeque<Arc<Task>>>, Condvar); 2],
    /// Tasks that are not done.
    left: AtomicUsize,
    /// How often a task was queued.
    wakes: AtomicUsize,
}

struct Task {
    pool: Arc<Pool>,
    future: Mutex<Option<Work>>,
    /// Which thread polls it next.
    next: AtomicUsize,
    queued: AtomicBool,
}

impl Pool {
    /// Runs all of them to their ends, and does `meanwhile` on this thread. How often a task was queued.
    fn run(futures: Vec<Work>, meanwhile: impl FnOnce()) -> usize {
        let (left, wakes) = (AtomicUsize::new(futures.len()), AtomicUsize::new(0));
        let pool = Arc::new(Self { queues: Default::default(), left, wakes });
        for (index, future) in futures.into_iter().enumerate() {
            let (future, next) = (Mutex::new(Some(future)), AtomicUsize::new(index % 2));
            Arc::new(Task { pool: Arc::clone(&pool), future, next, queued: AtomicBool::new(false) }).wake();
        }
        let threads = [0, 1].map(|thread| {
            let pool = Arc::clone(&pool);
            std::thread::spawn(move || pool.work(thread))
        });
        meanwhile();
        for thread in threads {
            thread.join().expect("each task came to its end");
        }
        pool.wakes.load(Ordering::Relaxed)
    }

    fn work(&self, thread: usize) {
        while let Some(task) = self.take(thread) {
            // From here on it may be woken again, and then the other thread has it.
            task.next.store(1 - thread, Ordering::SeqCst);
            task.queued.store(false, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(&task));
            let mut slot = task.future.lock().expect("no task panics");
            let Some(future) = &mut *slot else { continue };
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                *slot = None;
                if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    self.ring();
                }
            }
        }
    }

    /// A task for the thread, or none once all are done.
    fn take(&self, thread: usize) -> Option<Arc<Task>> {
        let (queue, rung) = &self.queues[thread];
        let idle = |queue: &mut VecDeque<_>| queue.is_empty() && self.left.load(Ordering::SeqCst) > 0;
        let waited = rung.wait_timeout_while(queue.lock().expect("only pushed to"), 3 * PATIENCE, idle);
        let (mut queue, timeout) = waited.expect("only pushed to");
        assert!(!timeout.timed_out(), "whoever is awaited wakes");
        queue.pop_front()
    }

    fn ring(&self) {
        for (queue, rung) in &self.queues {
            // Whoever holds the lock has not looked yet, or sleeps already.
            drop(queue.lock().expect("only pushed to"));
            rung.notify_all();
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::SeqCst) {
            return;
        }
        let pool = Arc::clone(&self.pool);
        let (queue, rung) = &pool.queues[self.next.load(Ordering::SeqCst)];
        pool.wakes.fetch_add(1, Ordering::Relaxed);
        queue.lock().expect("only pushed to").push_back(self);
        rung.notify_all();
    }
}

/// All of them at once, each polled whenever any is woken; their answers in order.
async fn all<T: Unpin>(mut ops: Vec<Op<T>>) -> Result<Vec<T>> {
    let mut answers: Vec<Option<T>> = ops.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (op, answer) in ops.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
            if let Poll::Ready(answered) = Pin::new(op).poll(context) {
                *answer = Some(answered?);
            }
        }
        if answers.iter().any(Option::is_none) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(answers.drain(..).flatten().collect()))
    })
    .await
}

/// Polls it once, with the waker of whoever awaits this; whether it was answered by then.
async fn poll_once<T>(op: &mut Op<T>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *op).poll(context).is_ready())).await
}

/// `futures::StreamExt` by name and shape. Where it is in scope a call that it makes ambiguous does not compile.
trait StreamExt: Stream {
    fn next(&mut self) -> NextOf<'_, Self>
    where
        Self: Unpin,
    {
        NextOf(self)
    }

    fn map<T, F: FnMut(Self::Item) -> T>(self, f: F) -> Map<Self, F>
    where
        Self: Sized,
    {
        Map(self, f)
    }
}

impl<S: Stream + ?Sized> StreamExt for S {}

struct NextOf<'a, S: ?Sized>(&'a mut S);

struct Map<S, F>(S, F);

impl<S: Stream + Unpin + ?Sized> Future for NextOf<'_, S> {
    type Output = Option<S::Item>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut *self.0).poll_next(context)
    }
}

impl<S: Stream + Unpin, T, F: FnMut(S::Item) -> T + Unpin> Stream for Map<S, F> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Self(stream, f) = &mut *self;
        let item = ready!(Pin::new(stream).poll_next(context));
        Poll::Ready(item.map(f))
    }
}

/// One task's work on a node of its own: calls one after the other, many at once, and some that are given up half-way.
async fn work(client: Client, task: usize) -> Result<()> {
    let path = format!("/app/{task}");
    client.create(&path, "0", CreateOptions::permanent()).await?;
    for version in 0..4 {
        // Dropped half-way, answered or not: what was asked is done all the same, once, before what is asked later.
        let mut given_up = client.set(&path, "half-way", Expect::Version(2 * version));
        poll_once(&mut given_up).await;
        drop(given_up);
        client.set(&path, "whole", Expect::Version(2 * version + 1)).await?;
    }
    let stats = all((0..32).map(|_| client.exists(&path)).collect()).await?;
    assert!(stats.iter().all(|stat| stat.is_some_and(|stat| stat.version == 8)), "{path}: {stats:?}");
    Ok(())
}

#[test]
fn many_tasks_that_go_between_threads_share_a_client_while_its_leader_dies() {
    const TASKS: usize = 64;
    let mut cell = Cell::start(3, "");
    let client = cell.connect().with_deadline(PATIENCE);
    client.create("/app", "", CreateOptions::permanent()).wait().expect("made");
    let leader = cell.leader();
    let holder = cell.connect().with_deadline(PATIENCE);
    let guard = holder.lock("/app", LockOptions::exclusive()).wait().expect("it is free");
    // Polled here, with another waker, and awaited there: whoever polled last is woken.
    let mut half = client.lock("/app", LockOptions::exclusive());
    assert!(!run(poll_once(&mut half)), "it is held");
    let mut tasks: Vec<Work> = Vec::new();
    for task in 0..TASKS {
        let client = client.clone();
        tasks.push(Box::pin(async move { work(client, task).await.expect("a majority lives") }));
    }
    tasks.push(Box::pin(async move { half.await.expect("its turn").release().await.expect("it is held") }));
    let wakes = Pool::run(tasks, || {
        cell.kill(leader);
        guard.release().wait().expect("it is held");
    });
    assert!(wakes > 2 * TASKS, "tasks were woken: {wakes}");
    let (names, _) = client.list("/app").wait().expect("an answer");
    assert_eq!(names.len(), TASKS);
}

#[test]
fn streams_are_awaited_with_the_extensions_of_futures_in_scope() {
    let cell = Cell::start(1, "");
    let client = cell.connect().with_deadline(PATIENCE);
    let paths = run(async {
        client.create("/s", "", CreateOptions::permanent()).await?;
        let mut watch = client.watch("/s", WatchOptions::recursive()).await?;
        for name in ["/s/1", "/s/2", "/s/3"] {
            client.create(name, "", CreateOptions::permanent()).await?;
        }
        let told =
            |event: Option<Result<WatchEvent>>| event.expect("it stands").map(|event| event.path().map(str::to_owned));
        // Ours, that of the extensions by its name, and an adapter of theirs, one after the other.
        let mut paths = vec![told(watch.next().await)?, told(StreamExt::next(&mut watch).await)?];
        let mut mapped = watch.map(|event| told(Some(event)));
        paths.push(mapped.next().await.expect("it stands")?);
        let mut scan = client.scan("/s", ScanOptions::new().page(2));
        while let Some(node) = scan.next().await {
            paths.push(Some(node?.path));
        }
        assert!(scan.is_over() && scan.next().await.is_none(), "it stays at its end");
        let mut none = client.scan("/none", ScanOptions::new()).map(|node| node.map(|node| node.path));
        assert!(matches!(none.next().await, Some(Err(Error::NoNode { .. }))), "there is none to scan");
        assert!(none.next().await.is_none(), "an error is its end");
        Ok::<_, Error>(paths)
    });
    let paths: Vec<_> = paths.expect("a healthy cell").into_iter().flatten().collect();
    assert_eq!(paths, ["/s/1", "/s/2", "/s/3", "/s", "/s/1", "/s/2", "/s/3"]);
}

#[test]
fn a_lock_awaited_half_way_and_dropped_leaves_its_place() {
    let cell = Cell::start(1, "");
    let (holder, client) = (cell.connect(), cell.connect());
    let guard = holder.lock("/l", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("it is free");
    let mut waiting = client.lock("/l", LockOptions::exclusive());
    assert!(!run(poll_once(&mut waiting)), "it is held");
    let waits = |count: u32| {
        cell.wait("the queue", |_| {
            let holders = holder.lock_holders("/l").wait_timeout(PATIENCE).ok()?;
            (holders.waiting == count).then_some(())
        });
    };
    waits(1);
    drop(waiting);
    waits(0);
    guard.release().wait_timeout(PATIENCE).expect("it is held");
    // A call that is given up at its deadline, awaited: it may have had its effect, and says so.
    let held = client.lock("/l", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("it is free");
    let late = run(holder.lock("/l", LockOptions::exclusive()).within(std::time::Duration::from_millis(50)));
    let late = late.expect_err("it is held");
    assert!(matches!(late, Error::Deadline { .. }) && late.outcome() == Outcome::Unknown, "{late:?}");
    waits(0);
    drop(held);
}
