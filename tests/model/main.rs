//! The rules of leases, elections, restarts and lost disks, in models small enough to look at millions of their states.
//!
//! The simulator runs the shipped code along the ways that chance takes; here the rules alone are followed along *every* way.
//! A checker goes from state to state, the nearest first, and asks in each: was only one value chosen for every slot, and is no
//! reader under a lease behind what some leader has acknowledged? [`lease`] has three replicas, their clocks and their
//! restarts; [`amnesia`] has five, one of which loses its disk, and the ways in which the new disk may come to vote. Each
//! rule can be broken by a parameter, and then the checker must find the way that leads to harm: a model which holds
//! whatever is broken in it says nothing.
//!
//! 1. With every rule kept no state is bad, as far as a search goes: millions of states, some ten or twenty steps deep.
//! 2. Each broken rule is found.
//! 3. A new disk that waits for one slot to be chosen, and no more, does harm among five replicas and none among three.
//!
//! Deliberately absent: the shipped code. What it does is the simulator's matter; that the rules suffice is the matter here.
//!
//! ```text
//! cargo test --test model                                       half a minute, each broken rule found
//! cargo test --test model -- --ignored --nocapture              millions of states, and how many
//! ```

mod amnesia;
mod lease;

use std::fmt::Debug;
use std::hash::Hash;

use amnesia::Rejoin;
use lease::Bug;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

/// What a search came to.
#[derive(Debug)]
struct Searched {
    /// States that differ from each other.
    states: usize,
    /// No state that can be reached was left out.
    wholly: bool,
    /// What is bad in the first bad state, and how many steps lead there.
    harm: Option<(&'static str, usize)>,
    /// What must be possible, and was not seen.
    unseen: Vec<&'static str>,
}

/// Goes up to so many steps from state to state, or to the first state that is bad.
fn search<M>(model: M, steps_max: usize) -> Searched
where
    M: Model + Debug + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + Eq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let name = format!("{model:?}");
    let limited = model.checker().target_state_count(steps_max).finish_when(HasDiscoveries::AnyFailures);
    let checker = limited.spawn_bfs().join();
    let found = |property: &Property<M>| checker.discovery(property.name);
    let harm_in = |property: &Property<M>| found(property).map(|path| (property.name, path.into_actions().len()));
    let properties = checker.model().properties();
    let (must, never): (Vec<_>, Vec<_>) =
        properties.iter().partition(|property| matches!(property.expectation, Expectation::Sometimes));
    let harm = never.into_iter().find_map(harm_in);
    let searched = Searched {
        states: checker.unique_state_count(),
        wholly: harm.is_none() && checker.state_count() < steps_max,
        harm,
        unseen: must.into_iter().filter(|property| found(property).is_none()).map(|property| property.name).collect(),
    };
    println!("{name}: {searched:?}");
    searched
}

/// Nothing bad was found, and everything was that must be possible.
fn holds(searched: &Searched) {
    assert_eq!(searched.harm, None, "with every rule kept no state is bad");
    assert_eq!(searched.unseen, [""; 0], "the search came far enough to say something");
}

#[test]
fn leases_hold_through_elections_and_restarts() {
    holds(&search(
        lease::Cell { bug: Bug::None, ballots: 2, slots: 2, restarts: 1, clocks_part: true },
        STEPS_IN_THE_GATE,
    ));
}

#[test]
fn each_broken_rule_of_leases_and_ballots_is_found() {
    for bug in Bug::ALL {
        let ballots = if bug == Bug::OldestVoteIsAdopted { 3 } else { 2 };
        let restarts = u8::from(matches!(bug, Bug::PromiseIsNotKept | Bug::RestartForgetsLease));
        let clocks_part = bug == Bug::NoMargin;
        let searched = search(lease::Cell { bug, ballots, slots: 2, restarts, clocks_part }, STEPS_MAX);
        assert!(searched.harm.is_some(), "{bug:?} does no harm that the search finds: {searched:?}");
    }
}

#[test]
fn a_new_disk_votes_once_a_list_names_it() {
    holds(&search(amnesia::Cell { rejoin: Rejoin::ByList, replicas: 5, ballots: 2 }, STEPS_IN_THE_GATE));
}

#[test]
fn a_new_disk_that_waits_for_one_slot_does_harm_among_five_and_none_among_three() {
    let three = search(amnesia::Cell { rejoin: Rejoin::AfterOneSlot, replicas: 3, ballots: 2 }, STEPS_MAX);
    assert_eq!((three.harm, three.wholly), (None, true), "among three the old promise blocks every other way");
    let five = search(amnesia::Cell { rejoin: Rejoin::AfterOneSlot, replicas: 5, ballots: 2 }, STEPS_MAX);
    assert!(five.harm.is_some(), "two values are chosen: {five:?}");
}

#[test]
fn a_new_disk_that_waits_for_nothing_or_whose_old_promises_count_does_harm() {
    for (rejoin, replicas) in [(Rejoin::AtOnce, 3), (Rejoin::ByListForAnyDisk, 5)] {
        let searched = search(amnesia::Cell { rejoin, replicas, ballots: 2 }, STEPS_MAX);
        assert!(searched.harm.is_some(), "{rejoin:?} does no harm that the search finds: {searched:?}");
    }
}

/// For a person: how far the rules were followed is told.
#[test]
#[ignore = "it takes minutes, and the shorter searches of the same rules are in the gate"]
fn millions_of_states() {
    for searched in [
        search(lease::Cell { bug: Bug::None, ballots: 3, slots: 3, restarts: 2, clocks_part: true }, STEPS_MAX),
        search(amnesia::Cell { rejoin: Rejoin::ByList, replicas: 5, ballots: 3 }, STEPS_MAX),
    ] {
        holds(&searched);
        assert!(searched.states >= 1_000_000, "{} states are fewer than were promised", searched.states);
    }
}

const STEPS_IN_THE_GATE: usize = 4_000_000;

const STEPS_MAX: usize = 40_000_000;
