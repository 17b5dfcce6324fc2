//! What the library costs its process: CPU and allocations of a pipelined request, on a cell of three real processes; and how
//! long a command takes.
//!
//! One thread keeps so many requests under way, and takes the answers in the order it asked. Counted is everything this
//! process does: the caller's thread and the library's own, in the kernel and out of it.
//!
//! ```text
//! cargo bench --bench client -- [--depth 64] [--requests 200000] [--rounds 5]
//! ```
//!
//! Without `--bench`, as `cargo test` runs it, it only sees that no request allocates more than what it carries: the path, and
//! of a read the data.

use std::alloc::System;
use std::collections::VecDeque;
use std::process::Command;

use bytes::Bytes;
use quorate::client::{Client, CreateOptions, Expect, Op, Result};
use rustix::process::getpid;
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Says to this program that it runs beside a cell.
const INSIDE: &str = "--inside";

/// Allocations that belong to no request: the room of queues that still grow, timers.
const ALLOCATIONS_BESIDES: f64 = 0.02;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if !args.iter().any(|arg| arg == INSIDE) {
        let own = std::env::current_exe().expect("this program");
        let inside = format!("{} {INSIDE} {}", own.display(), args.join(" "));
        let done = Command::new(env!("CARGO_BIN_EXE_quorate")).args(["dev", "--exec", &inside]).status();
        let done = done.expect("the program starts");
        std::process::exit(done.code().unwrap_or(1));
    }
    let of = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let measured = args.iter().any(|arg| arg == "--bench");
    let number = |name: &str, full: usize, moment: usize| {
        of(name).map_or(if measured { full } else { moment }, |text| text.parse().expect("a number"))
    };
    let (depth, requests) = (number("--depth", 64, 64), number("--requests", 200_000, 5_000));
    let endpoints = std::env::var("QUORATE_ENDPOINTS").expect("`quorate dev` tells where the cell is");
    let client = Client::connect(&endpoints).wait().expect("a session");
    client.create("/node", "", CreateOptions::permanent()).wait().expect("made");
    let data = Bytes::from_static(&[b'7'; 128]);
    // The last number: allocations of what the request itself carries.
    for _ in 0..number("--rounds", 5, 1) {
        row(depth, requests, "exists", 1, || client.exists("/node"));
        row(depth, requests, "get", 2, || client.get("/node"));
        row(depth, requests, "set", 1, || client.set("/node", data.clone(), Expect::Any));
    }
    let asked = clock(ClockId::ProcessCPUTime);
    (0..1000).for_each(|_| _ = std::hint::black_box(getpid()));
    println!("getpid {:.3} us", (clock(ClockId::ProcessCPUTime) - asked) * 1e3);
    client.close().wait().expect("closed");
    command_line(if measured { 300 } else { 3 });
}

/// How long `quorate get` takes, from its start to its end with the answer printed: a session opened, asked in and closed.
fn command_line(times: usize) {
    let mut took: Vec<f64> = (0..times)
        .map(|_| {
            let began = clock(ClockId::Monotonic);
            let done = Command::new(env!("CARGO_BIN_EXE_quorate")).args(["get", "/node"]).output().expect("it starts");
            assert_eq!((done.status.code(), done.stdout.len()), (Some(0), 129), "the data, and a line's end");
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

/// Measures one sort of request, and prints what it cost.
fn row<T>(depth: usize, requests: usize, name: &str, carried: usize, ask: impl Fn() -> Op<T>) {
    // What has to be fetched, grown or learned once.
    run(depth, requests / 10 + depth, &ask).expect("answered");
    let region = Region::new(ALLOCATOR);
    let (cpu, wall) = (clock(ClockId::ProcessCPUTime), clock(ClockId::Monotonic));
    run(depth, requests, &ask).expect("answered");
    let (cpu, wall) = (clock(ClockId::ProcessCPUTime) - cpu, clock(ClockId::Monotonic) - wall);
    let change = region.change();
    let each = |number: f64| number / requests as f64;
    let allocations = each((change.allocations + change.reallocations) as f64);
    println!(
        "{name:6} depth {depth}: {:.3} us of CPU and {allocations:.4} allocations a request, {:.0} requests/s",
        each(cpu * 1e6),
        requests as f64 / wall
    );
    let allowed = carried as f64 + ALLOCATIONS_BESIDES;
    assert!(
        allocations <= allowed,
        "{name}: {allocations} allocations a request, of which {carried} are what it carries"
    );
}

/// Makes so many requests, `depth` of them under way.
fn run<T>(depth: usize, requests: usize, ask: impl Fn() -> Op<T>) -> Result<()> {
    let mut under_way = VecDeque::with_capacity(depth);
    for _ in 0..requests {
        if under_way.len() == depth {
            Op::wait(under_way.pop_front().expect("it is full"))?;
        }
        under_way.push_back(ask());
    }
    under_way.into_iter().try_for_each(|op| op.wait().map(|_| ()))
}

/// Seconds on that clock.
fn clock(clock: ClockId) -> f64 {
    let reading = clock_gettime(clock);
    reading.tv_sec as f64 + reading.tv_nsec as f64 / 1e9
}
