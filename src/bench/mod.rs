//! The load generator behind `quorate bench`.
//!
//! A closed loop: so many clients, each with its own session and connection, keep so many operations under way each, and
//! ask for the next when one is answered. When the cell stalls less is asked of it, so that the high percentiles are those
//! of the operations made, not of arrivals that do not wait; say the shape (connections x depth) with every figure.
//!
//! ```text
//! workload   what to ask next; whether an answer can be true
//! fleet      many session machines and sockets on one thread
//! run        fill, warm up, measure, verify, clean up
//! failover   the longest silence when a replica is lost
//! tally      counts and latencies
//! cost       CPU seconds and memory of the servers
//! ```
//!
//! # Invariants
//!
//! 1. **Every answer is checked**: that a value was written to its key, that no version is older than one this process had
//!    seen before it asked, that at the end each key's version counts each acknowledged write exactly once. A run with a
//!    wrong answer fails, whatever its figures.
//! 2. **One thread** for all clients, so that the generator's cost can be told, and is small.
//! 3. Latency runs from handing an operation to its client until its answer is decoded: retries, moves to another replica
//!    and waiting for a leader are part of it.
//! 4. What ends after the window is checked but not counted.
//!
//! # Deliberately not here
//!
//! An open loop (arrivals that do not wait), plots and sweeps; a second generator process: where one thread is not enough
//! load, start `quorate bench` twice with different prefixes.

mod cost;
mod failover;
mod fleet;
mod run;
mod tally;
mod workload;

pub use cost::{Cost, Meter};
pub use failover::{Blow, FailoverReport, failover};
pub use fleet::{Finished, Fleet, now};
pub use run::{Plan, Report, Run, RunError, run};
pub use tally::{Latencies, Tally};
pub use workload::{Operation, VALUE_BYTES_MIN, Workload};
