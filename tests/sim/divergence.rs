//! States that differ, though no log says so: planted here, and found by the replicas themselves.

use quorate::namespace::codec::batch_header;
use quorate::namespace::command::Command;
use quorate::namespace::{Applied, Namespace};
use quorate::paxos::Slot;
use quorate::replica::exchange::Submission;

use super::client::Client;
use super::cuts::Cuts;
use super::misfortune;
use super::node::Node;
use super::run::Run;
use super::world::SECOND;

/// Applies what is in no log, and at each node something else.
pub fn rot(namespace: &mut Namespace, node: usize) {
    let open = Command::OpenSession { token: 0xbad + node as u64, secret: 1, timeout_ms: 60_000, address: None };
    let Submission { run, count } = Submission::of(&open);
    let batch = [&batch_header(namespace.log_time_ns(), 1, count)[..], &run].concat();
    namespace.apply(&batch, &mut Applied::default());
}

/// A run of three replicas or more in fair weather, until its log has some slots; none, if it never has as many.
fn begun(seed: u64) -> Option<Run> {
    let cuts = Cuts { long: true, without: vec!["misfortunes".to_owned()], ..Cuts::default() };
    let mut run = Run::new(seed, &cuts);
    run.plan.digest_every = run.plan.digest_every.min(5);
    // Of a torn vote only all replicas together can say that it was none.
    run.plan.tears = false;
    run.calm = true;
    misfortune::end_all(&mut run);
    go_on(&mut run, |run| run.oracle.chosen_upto() >= Slot(10) || run.clients.iter().all(Client::is_idle));
    (run.plan.nodes >= 3 && !run.clients.iter().all(Client::is_idle)).then_some(run)
}

fn go_on(run: &mut Run, is_enough: impl Fn(&Run) -> bool) {
    // As long as the slowest of long runs takes to make its calls.
    let until = run.world.now + 600 * SECOND;
    while !is_enough(run) {
        let stories = || {
            (
                run.nodes.iter().map(Node::story).collect::<Vec<_>>(),
                run.clients.iter().map(Client::story).collect::<Vec<_>>(),
            )
        };
        let event = run.world.next(until).unwrap_or_else(|| panic!("nothing happens any more: {:#?}", stories()));
        run.event(event);
    }
}

/// Restarts nodes with states that are wrong, and lets the cell go on for some digests.
fn plant(run: &mut Run, rotten: &[usize]) {
    run.rotten = rotten.len();
    for node in rotten {
        run.nodes[*node].rotten = true;
        run.with_node(*node, |node, around| node.crash(around, true));
    }
    for node in rotten {
        run.with_node(*node, Node::start);
    }
}

fn stopped(run: &Run) -> Vec<usize> {
    run.nodes.iter().filter(|node| node.diverged.is_some()).map(|node| node.index).collect()
}

#[test]
fn a_replica_that_differs_from_a_majority_stops_and_the_others_go_on() {
    let mut found = 0;
    for seed in 1..60 {
        let Some(mut run) = begun(seed) else { continue };
        let rotten = seed as usize % run.plan.nodes;
        plant(&mut run, &[rotten]);
        go_on(&mut run, |run| !stopped(run).is_empty());
        let diverged = run.nodes[rotten].diverged.clone().expect("it is the one that differs");
        let majority = diverged.majority.expect("the others agree");
        assert!(diverged.own != majority && diverged.votes.len() > run.plan.nodes / 2, "{diverged:?}");
        let upto = run.oracle.chosen_upto();
        go_on(&mut run, |run| run.oracle.chosen_upto().0 >= upto.0 + 5 || run.clients.iter().all(Client::is_idle));
        assert_eq!(stopped(&run), [rotten], "seed {seed}");
        found += 1;
    }
    assert!(found > 20, "most cells have three replicas or more");
}

#[test]
fn when_no_majority_agrees_no_majority_goes_on() {
    let (mut cells, mut ended, mut undecided) = (0, 0, 0);
    for seed in 1..60 {
        let Some(mut run) = begun(seed) else { continue };
        // One is as it should be, and cannot know.
        let rotten: Vec<usize> = (1..run.plan.nodes).collect();
        plant(&mut run, &rotten);
        let quorum = run.plan.nodes / 2 + 1;
        let is_over = |run: &Run| run.nodes.len() - stopped(run).len() < quorum;
        go_on(&mut run, |run| is_over(run) || run.clients.iter().all(Client::is_idle));
        undecided += run.nodes.iter().filter(|n| n.diverged.as_ref().is_some_and(|why| why.majority.is_none())).count();
        (cells, ended) = (cells + 1, ended + usize::from(is_over(&run)));
    }
    // In a short run whoever is waited for is waited for to its end.
    assert!(ended > 20 && undecided > 20, "of {cells} cells {ended} ended, {undecided} replicas found no majority");
}
