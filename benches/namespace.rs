//! What one command costs the replica's core, and one read a front's: on a tree large enough to miss the caches.
//!
//! Each measured batch is checked afterwards: a refusal is cheap, and would make a fine figure that means nothing.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorate::namespace::acl::Principals;
use quorate::namespace::codec::{ReadRef, batch_header, command_prefix, decode_outcome};
use quorate::namespace::command::{Answer, Command, Done, Expect, Lifetime, LockMode, Operation, SessionId};
use quorate::namespace::{Applied, CommandOutcome, Gate, Namespace, answer, answer_from};

/// The allocator of the server's binary: without it the figure is another program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NODES: u64 = 100_000;
const COMMANDS: u64 = 1_000;
const DATA_BYTES: usize = 1024;

/// Records that a log keeps.
const LOG_RECORDS: u64 = 50_000;

/// Names asked for at once, out of the middle of many.
const LISTED: u32 = 1_000;

/// The lock that is handed on, and how many sessions wait for it.
const LOCK: &str = "/lock";
const QUEUES: [usize; 2] = [10, 1_000];

fn batch(commands: impl Iterator<Item = Command>) -> Bytes {
    let mut body = BytesMut::new();
    let mut count = 0;
    for command in commands {
        let mut encoded = BytesMut::new();
        command.encode(&mut encoded);
        body.extend_from_slice(&command_prefix(encoded.len()));
        body.extend_from_slice(&encoded);
        count += 1;
    }
    [&batch_header(1, 1, count)[..], &body].concat().into()
}

fn path(n: u64) -> String {
    format!("/bench/node-{n:08}")
}

fn create(path: String) -> Operation {
    Operation::Create { path, data: vec![1; DATA_BYTES].into(), lifetime: Lifetime::Permanent, sequential: false }
}

/// A scattered order that meets every node: the step shares no factor with the count.
fn scattered(n: u64) -> u64 {
    n * 61_803 % NODES
}

/// A client whose requests follow each other from batch to batch.
struct Client {
    namespace: Namespace,
    session: SessionId,
    number: u64,
}

impl Client {
    fn new() -> Self {
        let mut client = Self { namespace: Namespace::new(3), session: SessionId(1), number: 0 };
        let open = Command::OpenSession { token: 1, secret: 1, timeout_ms: 12_000, address: None };
        client.namespace.apply(&batch([open].into_iter()), &mut Applied::default());
        let root = create("/bench".to_owned());
        let operations: Vec<_> = std::iter::once(root).chain((0..NODES).map(|n| create(path(n)))).collect();
        for some in operations.chunks(1_000) {
            let bytes = client.requests(some.iter().cloned());
            let applied = client.apply(&bytes);
            verify(&applied);
        }
        client
    }

    fn requests(&mut self, operations: impl Iterator<Item = Operation>) -> Bytes {
        let session = self.session;
        let acked_upto = self.number;
        let first = self.number + 1;
        batch((first..).zip(operations).map(|(number, operation)| {
            self.number = number;
            Command::Request { session, number, acked_upto, operation }
        }))
    }

    fn apply(&mut self, bytes: &Bytes) -> Applied {
        let mut applied = Applied::default();
        self.namespace.apply(bytes, &mut applied);
        applied
    }
}

fn verify(applied: &Applied) {
    expect_all(applied, |_| true);
}

fn expect_all(applied: &Applied, fits: impl Fn(&Done) -> bool) {
    for outcome in &applied.outcomes {
        let CommandOutcome::Replied { outcome, .. } = outcome else { panic!("a request has no effect: {outcome:?}") };
        let done = decode_outcome(outcome).expect("it was just encoded").expect("nothing here is refused");
        assert!(fits(&done), "it came to something else: {done:?}");
    }
}

fn writes(criterion: &mut Criterion) {
    let mut client = Client::new();
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(COMMANDS));
    let mut turn = 0;
    group.bench_function("set-1KiB", |bencher| {
        bencher.iter_custom(|rounds| {
            measure(&mut client, rounds, |n| {
                let data = vec![2; DATA_BYTES].into();
                turn += 1;
                Operation::Set { path: path(scattered(n + turn)), data, expect: Expect::Any }
            })
        });
    });
    let mut made = NODES;
    group.bench_function("create-1KiB", |bencher| {
        bencher.iter_custom(|rounds| {
            measure(&mut client, rounds, |_| {
                made += 1;
                create(path(made))
            })
        });
    });
    let log = || "/bench/log".to_owned();
    let make = Operation::CreateLog { path: log(), lifetime: Lifetime::Permanent, sequential: false };
    let bytes = client.requests(std::iter::once(make));
    verify(&client.apply(&bytes));
    let mut end = 0;
    group.bench_function("append-1KiB", |bencher| {
        bencher.iter_custom(|rounds| {
            measure(&mut client, rounds, |n| {
                if n == 0 {
                    // A long log that stays within its bound.
                    return Operation::Trim { path: log(), upto: u64::saturating_sub(end, LOG_RECORDS) };
                }
                end += 1;
                Operation::Append { path: log(), records: [[3; DATA_BYTES]].iter().collect(), end: None }
            })
        });
    });
    group.finish();
}

/// Time of applying alone: batches are made before it and verified after it.
fn measure(client: &mut Client, rounds: u64, mut operation: impl FnMut(u64) -> Operation) -> Duration {
    let mut applied = Applied::default();
    let round = |_| {
        let bytes = client.requests((0..COMMANDS).map(&mut operation));
        let spent = timed(&mut client.namespace, &bytes, &mut applied);
        verify(&applied);
        spent
    };
    (0..rounds).map(round).sum()
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn timed(namespace: &mut Namespace, bytes: &Bytes, applied: &mut Applied) -> Duration {
    applied.clear();
    let start = std::time::Instant::now();
    namespace.apply(black_box(bytes), applied);
    start.elapsed()
}

/// Sessions of which one holds a lock and the others wait for it, in order.
struct Crowd {
    namespace: Namespace,
    sessions: Vec<SessionId>,
    /// The last request of each.
    numbers: Vec<u64>,
    holder: usize,
}

impl Crowd {
    fn new(size: usize) -> Self {
        let (mut namespace, mut applied) = (Namespace::new(3), Applied::default());
        let open = |n: u64| Command::OpenSession { token: n, secret: n.into(), timeout_ms: 12_000, address: None };
        namespace.apply(&batch((0..size as u64).map(open)), &mut applied);
        let session = |outcome: &CommandOutcome| match outcome {
            CommandOutcome::SessionOpened { session, .. } => *session,
            other => panic!("a session opens: {other:?}"),
        };
        let sessions = applied.outcomes.iter().map(session).collect();
        let mut crowd = Self { namespace, sessions, numbers: vec![0; size], holder: 0 };
        let first = batch((0..size).map(|who| crowd.request(who, acquire(LOCK.to_owned()))));
        applied.clear();
        crowd.namespace.apply(&first, &mut applied);
        verify(&applied);
        crowd
    }

    fn request(&mut self, who: usize, operation: Operation) -> Command {
        let (session, acked_upto) = (self.sessions[who], self.numbers[who]);
        self.numbers[who] += 1;
        Command::Request { session, number: acked_upto + 1, acked_upto, operation }
    }

    /// Holder after holder gives the lock up, and queues for it again.
    fn turns(&mut self) -> Bytes {
        let mut commands = Vec::new();
        for _ in 0..COMMANDS / 2 {
            let who = self.holder;
            self.holder = (who + 1) % self.sessions.len();
            commands.push(self.request(who, Operation::Release { path: LOCK.to_owned() }));
            commands.push(self.request(who, acquire(LOCK.to_owned())));
        }
        batch(commands.into_iter())
    }

    /// Whether the lock is where so many turns should have brought it, with everybody else in the queue.
    fn verify(&self) {
        let who = Principals::default();
        let asked = answer(&Gate::new(self.namespace.tree(), &who), ReadRef::LockHolders { path: LOCK });
        let Ok(Answer::Lock { holders }) = asked else { panic!("the lock is there: {asked:?}") };
        assert_eq!(holders.sessions, [self.sessions[self.holder]], "one after the other");
        assert_eq!(holders.waiting as usize, self.sessions.len() - 1, "nobody loses a place");
    }
}

fn acquire(path: String) -> Operation {
    Operation::Acquire { path, mode: LockMode::Exclusive, wait: true, create: true, lock_delay_ms: 0 }
}

fn locks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lock");
    group.throughput(Throughput::Elements(COMMANDS));
    let mut client = Client::new();
    let mut turn = 0;
    group.bench_function("acquire-release-free", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut applied = Applied::default();
            let round = |_| {
                let operations = (0..COMMANDS).map(|n| {
                    turn += (n + 1) % 2;
                    let path = path(scattered(turn));
                    if n % 2 == 0 { acquire(path) } else { Operation::Release { path } }
                });
                let bytes = client.requests(operations);
                let spent = timed(&mut client.namespace, &bytes, &mut applied);
                expect_all(&applied, |done| matches!(done, Done::Granted { .. } | Done::Released));
                spent
            };
            (0..rounds).map(round).sum()
        });
    });
    for waiters in QUEUES {
        let mut crowd = Crowd::new(waiters + 1);
        group.bench_function(format!("release-queue-again-{waiters}-waiting"), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut applied = Applied::default();
                let round = |_| {
                    let bytes = crowd.turns();
                    let spent = timed(&mut crowd.namespace, &bytes, &mut applied);
                    expect_all(&applied, |done| matches!(done, Done::Released | Done::Queued));
                    crowd.verify();
                    spent
                };
                (0..rounds).map(round).sum()
            });
        });
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let client = Client::new();
    let who = Principals::default();
    let paths: Vec<_> = (0..COMMANDS).map(|n| path(scattered(n))).collect();
    let mut group = criterion.benchmark_group("answer");
    group.throughput(Throughput::Elements(COMMANDS));
    group.bench_function("get-1KiB", |bencher| {
        bencher.iter(|| {
            for path in &paths {
                let found = answer_from(&Gate::new(client.namespace.tree(), &who), ReadRef::Get { path }, None);
                black_box(found.expect("it is no page").expect("it was made"));
            }
        });
    });
    group.throughput(Throughput::Elements(LISTED.into()));
    group.bench_function("list", |bencher| {
        bencher.iter(|| {
            let list = ReadRef::List { path: "/bench", after: "node-00050000", limit: LISTED };
            black_box(answer(&Gate::new(client.namespace.tree(), &who), list).expect("it was made"))
        });
    });
    group.finish();
}

fn images(criterion: &mut Criterion) {
    let mut client = Client::new();
    let mut group = criterion.benchmark_group("image");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(NODES * DATA_BYTES as u64));
    group.bench_function("100k-nodes", |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                client.namespace.begin_image();
                while let Some(chunk) = client.namespace.image_rows(64 << 10) {
                    black_box(chunk);
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, writes, locks, reads, images);
criterion_main!(benches);
