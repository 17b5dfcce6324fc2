//! The steps below the replica: a checksum, a hop from one core to another, a turn of the ring.

use std::hint::black_box;
use std::thread;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorate::runtime::mesh::{self, Receiver, Sender};
use quorate::runtime::{Event, Options, Ring, clock};

/// Messages that travel together in the second hop.
const TOGETHER: u64 = 64;

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("CRC-32");
    for bytes in [128, 1 << 10, 4 << 10, 64 << 10] {
        let data: Vec<u8> = (0..bytes).map(|at: usize| at as u8).collect();
        let expected = crc32fast::hash(&data);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{bytes} bytes"), |bencher| {
            bencher.iter(|| assert_eq!(crc32fast::hash(black_box(&data)), expected, "the same bytes"));
        });
    }
    group.finish();
}

/// Another core that sends back what it is sent, until the sender is gone.
struct Echo {
    ring: Ring,
    to: Option<Sender<u64>>,
    from: Receiver<u64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Echo {
    fn start() -> Self {
        let ring = Ring::new(Options::default()).expect("a ring");
        let (own, (tell, told)) = (ring.waker(), std::sync::mpsc::channel());
        let (ends, given) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let mut ring = Ring::new(Options::default()).expect("a ring");
            tell.send(ring.waker()).expect("somebody waits for it");
            let (mut from, mut to): (Receiver<u64>, Sender<u64>) = given.recv().expect("both ends");
            while !from.is_abandoned() || !from.is_empty() {
                while let Some(message) = from.pop() {
                    to.push(message).expect("no more are under way than fit");
                }
                to.flush_with(&mut ring);
                // A sender that goes wakes nobody, so that nobody sleeps for ever.
                let patience = clock::now() + quorate::time::Duration::from_millis(100);
                ring.turn(Some(patience), &mut |_, _| ()).expect("the ring turns");
            }
        });
        let other = told.recv().expect("the thread runs");
        let (to, theirs) = mesh::channel(1024, other.clone(), own.clone());
        let (back, from) = mesh::channel(1024, own, other);
        ends.send((theirs, back)).expect("the thread waits for them");
        Self { ring, to: Some(to), from, thread: Some(thread) }
    }

    fn round_trip(&mut self, messages: u64) {
        let to = self.to.as_mut().expect("it is there until the end");
        (0..messages).for_each(|message| to.push(message).expect("no more are under way than fit"));
        to.flush_with(&mut self.ring);
        let mut back = 0;
        while back < messages {
            self.ring
                .turn(None, &mut |_, event| assert!(matches!(event, Event::Woken), "only the other core wakes"))
                .expect("the ring turns");
            while let Some(message) = self.from.pop() {
                assert_eq!(message, back, "in order");
                back += 1;
            }
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.to = None;
        self.thread.take().expect("it was started").join().expect("it ends");
    }
}

fn hops(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh");
    let mut echo = Echo::start();
    group.throughput(Throughput::Elements(2));
    group.bench_function("one message there and back, both asleep", |bencher| bencher.iter(|| echo.round_trip(1)));
    group.throughput(Throughput::Elements(2 * TOGETHER));
    group.bench_function(format!("{TOGETHER} messages there and back"), |bencher| {
        bencher.iter(|| echo.round_trip(TOGETHER));
    });
    group.finish();
}

fn turns(criterion: &mut Criterion) {
    let mut ring = Ring::new(Options::default()).expect("a ring");
    criterion.bench_function("a turn of an idle ring", |bencher| {
        bencher.iter(|| {
            let before = ring.counters().turns;
            ring.turn(Some(quorate::time::Instant::ZERO), &mut |_, _| ()).expect("the ring turns");
            assert_eq!(ring.counters().turns, before + 1, "one turn");
        });
    });
}

criterion_group!(benches, checksums, hops, turns);
criterion_main!(benches);
