//! What one command costs the replica's core, and one read a front's: on a tree large enough to miss the caches.
//!
//! Each measured batch is checked afterwards: a refusal is cheap, and would make a fine figure that means nothing.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorate::namespace::acl::Principals;
use quorate::namespace::codec::{ReadRef, batch_header, command_prefix, decode_outcome};
use quorate::namespace::command::{Command, Expect, Lifetime, Operation, SessionId};
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
    for outcome in &applied.outcomes {
        let CommandOutcome::Replied { outcome, .. } = outcome else { panic!("a request has no effect: {outcome:?}") };
        decode_outcome(outcome).expect("it was just encoded").expect("nothing here is refused");
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
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn measure(client: &mut Client, rounds: u64, mut operation: impl FnMut(u64) -> Operation) -> std::time::Duration {
    let mut spent = std::time::Duration::ZERO;
    let mut applied = Applied::default();
    for _ in 0..rounds {
        let bytes = client.requests((0..COMMANDS).map(&mut operation));
        let start = std::time::Instant::now();
        client.namespace.apply(black_box(&bytes), &mut applied);
        spent += start.elapsed();
        verify(&applied);
        applied.clear();
    }
    spent
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

criterion_group!(benches, writes, reads, images);
criterion_main!(benches);
