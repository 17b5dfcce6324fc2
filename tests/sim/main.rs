//! The whole cell in one thread, in virtual time, under faults: one seed, one run.
//!
//! The shipped replica, front, wire codecs and client machine run as a cell of several nodes with several clients. What
//! `runtime` and `server` do in production is done here by a simulated [`network`], [`disk`] and clock ([`world`]); a
//! [`node`] turns in the same order as the server's loop. Nothing of the code under test is replaced.
//!
//! A run has two phases ([`run`]). In the *storm* [`misfortune`]s of the seed's own mix ([`plan`]) strike: crashes that
//! tear unfinished writes, hosts that vanish, pauses past the lease in the middle of a turn, partitions one way and both,
//! connections that break, disks that stall. In the *calm* everybody runs and nothing fails any more: every call must
//! come to its end. Two judges watch: the [`oracle`] sees frames and durable records and knows what is chosen; the
//! [`history`] holds what clients were told against an independent [`model`] fed with the chosen log, what their watches
//! were told ([`watching`]) included.
//!
//! ```text
//! QUORATE_SIM_SECONDS=60 cargo test --test sim            more fresh seeds
//! QUORATE_SIM_SEED=42    cargo test --test sim one_seed   one seed again
//! ```

#![cfg(feature = "server")]

mod client;
mod disk;
mod history;
mod links;
mod misfortune;
mod model;
mod network;
mod node;
mod oracle;
mod plan;
mod recovery;
mod run;
mod watching;
mod workload;
mod world;

use std::panic::catch_unwind;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use run::{Report, run};

/// Runs a seed; a failure tells how to repeat it.
fn run_or_tell(seed: u64) -> Report {
    catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
        eprintln!("repeat it with: QUORATE_SIM_SEED={seed} cargo test --test sim one_seed");
        std::panic::resume_unwind(panic)
    })
}

/// The seed named by the environment, or an arbitrary one, in full.
#[test]
fn one_seed() {
    let seed = number_of("QUORATE_SIM_SEED").unwrap_or(1);
    let report = run_or_tell(seed);
    println!("seed {seed}: {report:?}");
}

#[test]
fn a_seed_run_twice_leaves_the_same_trace() {
    let (mut images, mut recycled) = (0, 0);
    for seed in 100..110 {
        let (first, second) = (run_or_tell(seed), run_or_tell(seed));
        assert_eq!((first.trace, first.events), (second.trace, second.events), "seed {seed} is not repeatable");
        (images, recycled) = (images + first.images, recycled + first.recycled);
    }
    assert!(images > 0 && recycled > 0, "the log was trimmed: {images} images, {recycled} segments used again");
}

#[test]
fn every_seed_that_ever_failed_passes() {
    for line in include_str!("corpus.txt").lines() {
        let number = line.split('#').next().unwrap_or_default().trim();
        if !number.is_empty() {
            run_or_tell(number.parse().unwrap_or_else(|_| panic!("`{number}` is no seed")));
        }
    }
}

/// Fresh seeds for `QUORATE_SIM_SECONDS`, 20 unless told.
#[test]
#[allow(clippy::disallowed_methods, reason = "the budget is real time; the runs know only virtual time")]
fn fresh_seeds() {
    let budget = Duration::from_secs(number_of("QUORATE_SIM_SECONDS").unwrap_or(20));
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let base = number_of("QUORATE_SIM_BASE").unwrap_or(since_1970.as_secs() << 24);
    println!("base seed {base}");
    let begun = std::time::Instant::now();
    let mut total = Report::default();
    let mut seeds = 0;
    while seeds == 0 || begun.elapsed() < budget {
        let report = run_or_tell(base + seeds);
        seeds += 1;
        total.events += report.events;
        total.misfortunes += report.misfortunes;
        total.slots += report.slots;
        total.images += report.images;
        total.recycled += report.recycled;
        total.tally.requests += report.tally.requests;
        total.tally.reads += report.tally.reads;
        total.tally.refused += report.tally.refused;
        total.tally.unknown += report.tally.unknown;
        total.watches.watches += report.watches.watches;
        total.watches.events += report.watches.events;
        total.watches.gaps += report.watches.gaps;
    }
    println!("{seeds} seeds from {base}: {total:?}");
    assert!(total.tally.requests > 0 && total.tally.reads > 0, "clients were answered");
    assert!(budget < Duration::from_secs(5) || total.watches.events > 0, "watches were told something");
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not `{text}`")))
}
