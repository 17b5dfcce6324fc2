//! What the server's machine allocates for a write and for a read: a replica and its front, warm, in memory. What the
//! kernel's side of the server allocates beside them is not in it.
//!
//! ```text
//! cargo bench --bench replica_allocations -- [--operations 20000]
//! ```
//!
//! Each bound is what there is today, with hardly any room: whoever saves an allocation lowers it, and nobody raises it
//! without saying what for. A read allocates nothing; what shows, one by one, is the lease being renewed meanwhile.
//! What a write allocates is its entry's, which others share: the value itself, the journal's write of it, and the notice
//! to the front.

#[path = "replica/alone.rs"]
mod alone;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use self::alone::Alone;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A sort of operation, so many of which are under way, and the most that one may allocate: how often, how many bytes.
struct Bound {
    sort: &'static str,
    depth: u64,
    allocations: f64,
    bytes: f64,
}

const BOUNDS: [Bound; 8] = [
    Bound { sort: "set", depth: 1, allocations: 6.3, bytes: 12900.0 },
    Bound { sort: "set", depth: 64, allocations: 0.13, bytes: 1560.0 },
    Bound { sort: "get", depth: 1, allocations: 0.05, bytes: 30.0 },
    Bound { sort: "get", depth: 64, allocations: 0.005, bytes: 5.0 },
    Bound { sort: "exists", depth: 1, allocations: 0.05, bytes: 30.0 },
    Bound { sort: "exists", depth: 64, allocations: 0.005, bytes: 5.0 },
    Bound { sort: "get through a handle", depth: 1, allocations: 0.05, bytes: 30.0 },
    Bound { sort: "get through a handle", depth: 64, allocations: 0.005, bytes: 5.0 },
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_measured = args.iter().any(|arg| arg == "--bench");
    let given = args.iter().position(|arg| arg == "--operations").and_then(|at| args.get(at + 1));
    let operations =
        given.map_or(if is_measured { 64_000 } else { 6_400 }, |text| text.parse().expect("a number of operations"));
    let mut alone = Alone::new();
    for Bound { sort, depth, allocations, bytes } in BOUNDS {
        let mut run = |count| match sort {
            "set" => alone.set(count, depth),
            _ => alone.read(sort, count, depth),
        };
        run(operations);
        let region = Region::new(ALLOCATOR);
        run(operations);
        let change = region.change();
        let each = (change.allocations + change.reallocations) as f64 / operations as f64;
        let bytes_each = change.bytes_allocated as f64 / operations as f64;
        println!("{sort:20} depth {depth:2}: {each:8.4} allocations, {bytes_each:9.1} bytes an operation");
        assert!(each <= allocations, "{sort}, {depth} under way: {each} allocations an operation, not {allocations}");
        assert!(bytes_each <= bytes, "{sort}, {depth} under way: {bytes_each} bytes an operation, not {bytes}");
    }
}
