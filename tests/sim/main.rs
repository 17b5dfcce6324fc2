//! The whole cell in one thread, in virtual time, under faults: one seed, one run.
//!
//! The shipped replica, front, wire codecs and client machine run as a cell of several nodes with several clients. What
//! `runtime` and `server` do in production is done here by a simulated [`network`], [`disk`] and clock ([`world`]); a
//! [`node`] turns in the same order as the server's loop, its [`fronts`] with it or on cores of their own. Nothing of
//! the code under test is replaced.
//!
//! A run has two phases ([`run`]). In the *storm* [`misfortune`]s of the seed's own mix ([`plan`]) strike: crashes that
//! tear unfinished writes, hosts that vanish, pauses past the lease in the middle of a turn, partitions one way and
//! both, connections that break, disks that stall, are damaged or lost. An [`operator`] has lost disks replaced, and
//! replicas removed and added again, in a third of the seeds. In the *calm* no misfortune strikes. A minority may
//! stay away or without room, and a damaged log is damaged once more, to see it mended; but every call must come to its end,
//! and of whoever is gone nothing may be kept; in some seeds clients call on for a while, and nobody may need his patience then
//! ([`steady`]). In some the leader is lost once more when all is done, and who came back for that must be served soon by
//! another ([`succession`]); and with nothing left to do the cell must come to rest ([`rest`]). But where the seed let
//! more be damaged and lost than can be repaired, the cell may stand still, and nothing that it says may be wrong. Four
//! judges watch: the [`oracle`] sees frames and durable records and knows what is chosen; [`run`] itself holds leases
//! against the disks they rest on, and sessions against what their clients were told; the [`history`] holds what clients
//! were told, by their watches too ([`watching`]), against an independent [`model`] fed with the chosen log; and a search
//! for one [`linearizable`] order asks of single nodes the same without trusting any revision. What fronts may have
//! forgotten is counted ([`pasts`]): no gap is told without need.
//! An [`enquirer`] asks single replicas what they answer out of themselves, and a [`stranger`] says what no client says, and
//! must be told what is wrong with it. Clients
//! tell each other what they were answered: whoever hears of it looks for himself at once, through whatever front he has.
//!
//! | | |
//! |---|---|
//! | the cell | [`world`], [`network`], [`links`], [`disk`], [`node`], [`fronts`], [`recovery`], [`client`] |
//! | what goes wrong | [`plan`], [`misfortune`], [`damage`], [`old_copy`], [`operator`], [`divergence`]; [`cuts`] leaves it out |
//! | what is asked | [`workload`], [`watching`], [`enquirer`] and [`stranger`], both [`outsiders`] |
//! | the plain model | [`model`], [`tree`], [`steps`], [`answers`], [`locks`], [`handles`], [`logs`], [`quotas`], [`acls`] |
//! | the judges | [`oracle`], [`run`], [`history`], [`watching`], [`pasts`], [`enquirer`], [`linearizable`], [`steady`], [`succession`], [`rest`] |
//! | what it came to | [`coverage`], [`conflicts`], [`report`], [`ledger`] |
//! | beside the seeds | [`conformance`] of disks, [`wires`] and [`relay`] of networks, [`lies`] of both, [`decoders`] |
//!
//! Another misfortune is a weight in [`plan`] and a row each in [`misfortune`] and [`cuts`]; another operation asks for its
//! words in [`coverage`], its part in [`model`] and [`workload`], and what it touches in [`linearizable`] and [`handles`].
//!
//! What the runs exercise is counted ([`coverage`]), so that an operation or a fault nobody draws any more is noticed.
//! A seed that fails can be made smaller ([`cuts`]).
//!
//! ```text
//! QUORATE_SIM_SECONDS=60 cargo test --test sim fresh_seeds                        more fresh seeds
//! QUORATE_SIM_SEED=42    cargo test --test sim one_seed -- --nocapture            one seed again, and its plan
//! QUORATE_SIM_SEED=42    cargo test --test sim shrink -- --ignored --nocapture    what of a failing seed it takes to fail
//! ```
//!
//! Of the environment also: QUORATE_SIM_SUITE=long for runs of ten times the length, QUORATE_SIM_BASE for the first of the fresh
//! seeds, and what leaves parts of a run out, QUORATE_SIM_WITHOUT=damage,pause, QUORATE_SIM_CALLS=20 and QUORATE_SIM_CLIENTS=2.
//! `scripts/long-run` searches for hours and enters what it came to in `tests/ledger.tsv`; `scripts/mutants` plants bugs.

#![cfg(feature = "server")]

mod acls;
mod answers;
mod client;
mod conflicts;
mod conformance;
mod coverage;
mod cuts;
mod damage;
mod decoders;
mod disk;
mod divergence;
mod enquirer;
mod fronts;
mod handles;
mod history;
mod ledger;
mod lies;
mod linearizable;
mod links;
#[path = "../paxos/lists.rs"]
mod lists;
mod locks;
mod logs;
mod misfortune;
mod model;
mod network;
mod node;
mod old_copy;
mod operator;
mod oracle;
mod outsiders;
mod pasts;
mod plan;
mod quotas;
mod recovery;
mod relay;
mod report;
mod rest;
mod run;
mod steady;
mod steps;
mod stranger;
mod succession;
mod tree;
mod watching;
mod wires;
mod workload;
mod world;

use std::panic::{Location, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cuts::Cuts;
use history::Tally;
use report::Report;
use run::{plan_of, run};
use watching::WatchTally;

/// The one that the server's binary has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a seed; a failure tells how to repeat it.
fn run_or_tell(seed: u64) -> Report {
    run_cut_or_tell(seed, &Cuts::default())
}

fn run_cut_or_tell(seed: u64, cuts: &Cuts) -> Report {
    catch_unwind(|| run(seed, cuts)).unwrap_or_else(|panic| {
        eprintln!("repeat it with: {}", cuts.command(seed));
        std::panic::resume_unwind(panic)
    })
}

/// The seed named by the environment, or an arbitrary one, in full; less what the environment leaves out.
#[test]
fn one_seed() {
    let seed = number_of("QUORATE_SIM_SEED").unwrap_or(1);
    let cuts = Cuts::from_environment();
    if number_of("QUORATE_SIM_SEED").is_some() {
        eprintln!("{:#?}", plan_of(seed, &cuts));
    }
    let report = run_cut_or_tell(seed, &cuts);
    println!("seed {seed}: {report}");
}

/// For a person: the least of a failing seed that still fails.
#[test]
#[ignore = "it wants a failing seed, in QUORATE_SIM_SEED"]
fn shrink() {
    let seed = number_of("QUORATE_SIM_SEED").expect("QUORATE_SIM_SEED names a failing seed");
    // Where it panicked: what fails elsewhere fails by something else.
    let place = Arc::new(Mutex::new(None));
    let told = Arc::clone(&place);
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        *told.lock().expect("one thread runs") = panic.location().map(Location::to_string)
    }));
    let panics =
        |cuts: &Cuts| catch_unwind(|| run(seed, cuts)).is_err().then(|| place.lock().expect("it is over").take());
    let cuts = Cuts::from_environment();
    let first = panics(&cuts);
    let fails = |cuts: &Cuts| first.is_some() && panics(cuts) == first;
    if first.is_none() {
        std::panic::set_hook(loud);
        panic!("seed {seed} does not fail");
    }
    let cuts = cuts.clone().shrink(&plan_of(seed, &cuts), fails);
    println!("the least that still fails: {}", cuts.command(seed));
}

/// For scripts/long-run, which holds a build with optimisations against one without.
#[test]
#[ignore = "it asserts nothing: two builds' lines are compared"]
fn traces() {
    for seed in 1..=50 {
        let report = run_or_tell(seed);
        println!("trace of seed {seed}: {:016x} after {} events", report.trace, report.events);
    }
}

#[test]
fn a_seed_run_twice_leaves_the_same_trace() {
    let (mut images, mut recycled, mut handed_on, mut no_room) = (0, 0, 0, 0);
    for seed in 100..160 {
        let (first, second) = (run_or_tell(seed), run_or_tell(seed));
        assert_eq!((first.trace, first.events), (second.trace, second.events), "seed {seed} is not repeatable");
        (images, recycled) = (images + first.images, recycled + first.recycled);
        handed_on += first.tally.handed_on;
        no_room += first.no_room;
    }
    assert!(no_room > 0, "disks were full when something was to be written");
    assert!(handed_on > 0, "locks came to those who had waited for them");
    assert!(images > 0 && recycled > 0, "the log was trimmed: {images} images, {recycled} segments used again");
}

#[test]
fn every_seed_that_ever_failed_passes() {
    for line in include_str!("corpus.txt").lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        if let Some(number) = words.next() {
            let seed = number.parse().unwrap_or_else(|_| panic!("`{number}` is no seed"));
            run_cut_or_tell(seed, &Cuts { long: words.next() == Some("long"), ..Cuts::default() });
        }
    }
}

/// Fresh seeds for `QUORATE_SIM_SECONDS`, 20 unless told.
#[test]
#[allow(clippy::disallowed_methods, reason = "the budget is real time; the runs know only virtual time")]
fn fresh_seeds() {
    let budget = Duration::from_secs(number_of("QUORATE_SIM_SECONDS").unwrap_or(20));
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    // Two that begin in the same second have seeds of their own.
    let base = number_of("QUORATE_SIM_BASE").unwrap_or((since_1970.as_micros() as u64) << 12);
    println!("base seed {base}");
    let cuts = Cuts::from_environment();
    let begun = std::time::Instant::now();
    let mut total = Report::default();
    let mut seeds = 0;
    while seeds == 0 || begun.elapsed() < budget {
        let report = run_cut_or_tell(base + seeds, &cuts);
        seeds += 1;
        total.add(report);
        if seeds.is_multiple_of(50) {
            println!("progress: {seeds} seeds {} events {} faults", total.events, total.misfortunes);
        }
    }
    println!("progress: {seeds} seeds {} events {} faults", total.events, total.misfortunes);
    println!("{seeds} seeds from {base}: {total}");
    print!("{}", coverage::table(&total.struck));
    let empty = coverage::empty_cells(&total.struck);
    assert!(seeds < 10_000 || empty.is_empty(), "{seeds} seeds, and these never met: {empty:?}");
    assert!(total.tally.requests > 0 && total.tally.reads > 0, "clients were answered");
    assert!(budget < Duration::from_secs(5) || total.tally.kept > 0, "some reads were answered by what was kept");
    assert!(budget < Duration::from_secs(5) || total.watches.events > 0, "watches were told something");
    assert!(budget < Duration::from_secs(15) || total.joins > 0, "some disks were lost, and new ones got a vote");
    assert!(budget < Duration::from_secs(15) || total.doubts > 0, "some logs were damaged, and starts noticed");
    assert!(total.searched > 0, "an order was searched for some operations");
    let calm = [total.successions, total.rests, total.leases_owed, total.ends_owed];
    assert!(
        seeds < 10_000 || calm.iter().all(|judged| *judged > 0),
        "each judge of a calm had something to judge: {calm:?}"
    );
}

/// Every operation, option and refusal, and every fault in every phase it often meets, within so many seeds.
#[test]
fn nothing_is_left_out() {
    let words = coverage::everything();
    let empty_cells = |total: &Report| {
        let mut empty = coverage::empty_cells(&total.struck);
        empty.retain(|(fault, _)| !coverage::SELDOM.contains(fault));
        empty
    };
    let mut total = Report::default();
    for seed in 1..=2000 {
        total.add(run_or_tell(seed));
        if words.is_subset(&total.words) && empty_cells(&total).is_empty() {
            println!("all within {seed} seeds: {total}");
            break;
        }
        if seed % 500 == 0 {
            let missed: Vec<_> = words.difference(&total.words).collect();
            println!("after {seed} seeds: never exercised {missed:?}, never struck in {:?}", empty_cells(&total));
        }
    }
    print!("{}", coverage::table(&total.struck));
    let missed: Vec<_> = words.difference(&total.words).collect();
    let empty = empty_cells(&total);
    assert!(missed.is_empty() && empty.is_empty(), "never exercised: {missed:?}; never struck in: {empty:?}");
    for (fault, phase, why) in coverage::APART {
        assert!(!total.struck.contains_key(&(fault, phase)), "`{fault}` does meet `{phase}`, though {why}");
    }
    for (word, why) in coverage::BEYOND {
        assert!(!total.words.contains(word), "`{word}` does happen, though {why}");
    }
    let WatchTally { brought, bare, wanted, .. } = total.watches;
    assert!(wanted > 0, "watches of locks are told who comes to wait");
    assert!(total.put_back > 0, "old copies of disks are put back, and noticed");
    assert!(total.mended > 0, "what lies still is read, and its damage found");
    assert!(total.stood_still > 0, "some cells lose more than can be repaired, and stand still");
    assert!(total.ended > 0, "nodes end by themselves");
    assert!(total.tally.records > 0, "records are appended and read");
    assert!(total.tally.taken_over > 0, "sessions go on in other processes");
    assert!(bare > 0 && brought > 3 * bare, "most events bring the data wanted: {brought}, and {bare} do not");
    let Tally { requests, reads, .. } = total.tally;
    let (calls, searched, conflicts) = (requests + reads, total.searched, total.conflicts);
    assert!(conflicts * 10 >= calls * 3, "{conflicts} of {calls} calls met another client's on the same node");
    assert!(searched * 20 >= calls, "an order was searched for {searched} of {calls} calls");
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not `{text}`")))
}
