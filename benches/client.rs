//! What the library costs its process: CPU of a pipelined request, on a cell of three real processes; how long a read takes
//! whose answer the client keeps; and how long a command takes.
//!
//! One thread keeps so many requests under way, and takes the answers in the order it asked. Counted is everything this
//! process does: the caller's thread and the library's own, out of the kernel and in it, where the sockets are and the
//! wake-ups. What of it is allocations is counted by `client_allocations`, apart, since counting costs as much as the
//! requests.
//!
//! ```text
//! cargo bench --bench client -- [--depth 64] [--requests 200000] [--rounds 5]
//! ```

#[path = "client/asking.rs"]
mod asking;

use std::process::Command;

use quorate::client::{CacheSettings, Client};
use rustix::time::{ClockId, clock_gettime};

use self::asking::{Asking, DATA_BYTES, SORTS, beside_a_cell};

fn main() {
    beside_a_cell(|asking| {
        for _ in 0..asking.rounds {
            SORTS.iter().for_each(|(sort, _)| row(asking, sort));
        }
        kept_reads(asking.requests, asking.rounds);
        command_line(60 * asking.rounds);
    });
}

/// Measures one sort of request, and prints what it cost.
fn row(asking: &Asking, sort: &str) {
    let begin = || (clock(ClockId::ProcessCPUTime), clock(ClockId::Monotonic), ticks());
    let (cpu, wall, (user, system)) = asking.measure(sort, begin);
    let (cpu, wall, after) = (clock(ClockId::ProcessCPUTime) - cpu, clock(ClockId::Monotonic) - wall, ticks());
    let (user, system) = ((after.0 - user) as f64, (after.1 - system) as f64);
    println!(
        "{sort:6} depth {}: {:.3} us of CPU a request, {:.0} % of it in the kernel, {:.0} requests/s",
        asking.depth,
        cpu * 1e6 / asking.requests as f64,
        100.0 * system / (user + system).max(1.0),
        asking.requests as f64 / wall
    );
}

/// Reads of what the client keeps, one after the other: without a message, as its own count of them says. What the cell
/// was asked all the same, because the lease had to be renewed meanwhile, is told beside the time.
fn kept_reads(requests: usize, rounds: usize) {
    let endpoints = std::env::var("QUORATE_ENDPOINTS").expect("`quorate dev` tells where the cell is");
    let builder = Client::builder(&endpoints).expect("endpoints").cache(CacheSettings::default());
    let client = builder.connect().wait().expect("a session");
    let get = || assert_eq!(client.get("/node").wait().expect("the node is there").0.len(), DATA_BYTES, "its data");
    let patience = clock(ClockId::Monotonic) + KEPT_WITHIN_S;
    while client.cache_stats().hits == 0 {
        assert!(clock(ClockId::Monotonic) < patience, "the answer is kept: {:?}", client.cache_stats());
        get();
    }
    for _ in 0..rounds {
        let (before, began) = (client.cache_stats(), clock(ClockId::Monotonic));
        (0..requests).for_each(|_| get());
        let took = clock(ClockId::Monotonic) - began;
        let after = client.cache_stats();
        let (hits, misses) = (after.hits - before.hits, after.misses - before.misses);
        assert_eq!(hits + misses, requests as u64, "each is counted");
        assert!(hits > 0, "what is kept is used");
        println!("kept   depth 1: {:.3} us a read, of which the cell was asked {misses}", took * 1e6 / requests as f64);
    }
    client.close().wait().expect("closed");
}

/// How much of its time this process spent in its own code and in the kernel, in the scheduler's ticks.
fn ticks() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells of a process");
    // The name, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')').expect("it has a name");
    let mut numbers = fields.split_whitespace().skip(11).map(|field| field.parse().expect("a number of ticks"));
    (numbers.next().expect("user time"), numbers.next().expect("system time"))
}

/// How long `quorate get` takes, from its start to its end with the answer printed: a session opened, asked in and closed.
fn command_line(times: usize) {
    let mut took: Vec<f64> = (0..times)
        .map(|_| {
            let began = clock(ClockId::Monotonic);
            let done = Command::new(env!("CARGO_BIN_EXE_quorate")).args(["get", "/node"]).output().expect("it starts");
            assert_eq!(
                (done.status.code(), done.stdout.len()),
                (Some(0), DATA_BYTES + 1),
                "the data, and a line's end"
            );
            (clock(ClockId::Monotonic) - began) * 1e3
        })
        .collect();
    took.sort_by(f64::total_cmp);
    let at = |part: usize| took[(times * part / 100).min(times - 1)];
    println!(
        "quorate get: {:.1} ms at the median, {:.1} at 99 %, {:.1} at the worst of {times}",
        at(50),
        at(99),
        at(100)
    );
}

/// Long enough for a cell that is busy with anything.
const KEPT_WITHIN_S: f64 = 30.0;

/// Seconds on that clock.
fn clock(clock: ClockId) -> f64 {
    let reading = clock_gettime(clock);
    reading.tv_sec as f64 + reading.tv_nsec as f64 / 1e9
}
