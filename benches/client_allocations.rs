//! What the library allocates for a pipelined request: nothing but what the request carries, the path, and of a read the data.
//!
//! ```text
//! cargo bench --bench client_allocations -- [--depth 64] [--requests 200000] [--rounds 5]
//! ```

#[path = "client/asking.rs"]
mod asking;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use self::asking::{SORTS, beside_a_cell};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations that belong to no request: the room of queues that still grow, timers.
const ALLOCATIONS_BESIDES: f64 = 0.02;

fn main() {
    beside_a_cell(|asking| {
        for (sort, carried) in (0..asking.rounds).flat_map(|_| SORTS) {
            let change = asking.measure(sort, || Region::new(ALLOCATOR)).change();
            let each = (change.allocations + change.reallocations) as f64 / asking.requests as f64;
            println!("{sort:6} depth {}: {each:.4} allocations a request", asking.depth);
            let allowed = carried as f64 + ALLOCATIONS_BESIDES;
            assert!(each <= allowed, "{sort}: {each} allocations a request, of which {carried} are what it carries");
        }
    });
}
