//! The leader of a cell in which all is well is lost: it is stopped in order, or it dies. Another one serves soon after.
//!
//! Everything else was judged by then: clients come back for this alone, with sessions that last longer than a cell may
//! take to find another leader. So none of them loses its session, and whatever they asked for is answered within a time that
//! holds an election or two, what a new leader waits for, and clients that look for it: far less than the calm's patience.

use super::client::Client;
use super::cuts::Cuts;
use super::node::{Happening, Node};
use super::old_copy;
use super::operator;
use super::plan::CLOCK_ERROR_PPM;
use super::report::Report;
use super::run::{PATIENCE, Run};
use super::world::{Event, MILLI, Moment, SECOND};

/// Returns whether a leader was lost: clients have come back then.
pub fn happens(run: &mut Run) -> bool {
    if !is_owed(run) || !is_led(run) {
        return false;
    }
    // What a reign owes nobody is asked any more.
    (run.plan.serene, run.reign) = (0, None);
    (run.plan.session_timeout, run.plan.think) = (SESSION, 20 * MILLI);
    run.successions += 1;
    for index in 0..run.clients.len() {
        run.with_client(index, Client::come_back);
    }
    call(run);
    goes_by(run, 500 * MILLI);
    let leader = run.nodes.iter().position(leads);
    strike(run, leader.unwrap_or_default());
    call(run);
    is_answered(run);
    true
}

/// Everybody is answered soon.
fn is_answered(run: &mut Run) {
    let until = run.world.now + SOON;
    while !run.clients.iter().all(Client::is_idle) {
        let Some(event) = run.world.next(until) else { break };
        run.event(event);
    }
    let waiting: Vec<String> = run.clients.iter().filter(|client| !client.is_idle()).map(Client::story).collect();
    assert!(
        waiting.is_empty(),
        "{} s after a leader was lost, not everybody is answered: {waiting:#?} {:#?}",
        SOON / SECOND,
        run.nodes.iter().map(Node::story).collect::<Vec<_>>()
    );
}

/// Some time goes by, up to so much.
fn goes_by(run: &mut Run, most: Moment) {
    let until = run.world.now + run.world.random.below(most);
    while let Some(event) = run.world.next(until) {
        run.event(event);
    }
}

/// Everybody is there, whole and with a vote, and no frame was lost on a link that stays.
fn is_owed(run: &Run) -> bool {
    let plan = &run.plan;
    let is_whole = plan.victim.is_none() && !plan.beyond_repair && run.rotten == 0 && run.absent.is_empty();
    let keeps_time = !run.oracle.timeless && plan.told_error_ppm == CLOCK_ERROR_PPM;
    let is_settled = run.task.is_none() && !old_copy::is_about(run) && operator::everybody_votes(run);
    let runs = run.nodes.len() >= 3 && run.nodes.iter().all(|node| node.running.is_some());
    plan.succession && is_whole && keeps_time && is_settled && runs && !plan.network.is_harsh()
}

/// Waits until somebody leads, and what found no room was tried again: a log that is full for want of an image serves nobody.
fn is_led(run: &mut Run) -> bool {
    let full_until = run.nodes.iter().map(|node| node.disk.full_until).max().unwrap_or_default();
    let from = run.world.now.max(full_until + TRIED_AGAIN_AFTER);
    let until = from + PATIENCE;
    while let Some(event) = run.world.next(until) {
        run.event(event);
        if run.world.now >= from && run.nodes.iter().any(leads) {
            return run.nodes.iter().all(|node| node.running.is_some());
        }
    }
    false
}

fn leads(node: &Node) -> bool {
    node.running.as_ref().is_some_and(|running| running.replica.paxos().is_leading())
}

fn call(run: &mut Run) {
    for index in 0..run.clients.len() {
        run.with_client(index, |client, around| client.call_more(around, CALLS));
    }
}

/// It is told to hand over, and its process ends a while later; or it ends at once, its host with it or not.
fn strike(run: &mut Run, leader: usize) {
    let life = run.nodes[leader].life;
    if run.world.random.below(3) == 0 {
        run.nodes[leader].happens(&mut run.world, Happening::HandOver);
        goes_by(run, SECOND);
    }
    if run.nodes[leader].life == life {
        let host_lives = run.world.random.below(2) == 0;
        run.with_node(leader, |node, around| node.crash(around, host_lives));
    }
    // What it tore counts as no misfortune of the storm's mix.
    run.world.chances.clear();
    let delay = run.world.random.below(SECOND);
    run.world.after(delay, Event::Start { node: leader });
}

/// Calls of each client before the leader is lost, and after.
const CALLS: u64 = 6;

/// What a client asked for when its leader was lost is answered within this.
const SOON: Moment = 15 * SECOND;

/// Nobody loses a session in that time.
const SESSION: Moment = 20 * SECOND;

/// An image for which there was no room is tried again after so long, and takes a while.
const TRIED_AGAIN_AFTER: Moment = 6 * SECOND;

/// Which no seed that is drawn at random need show in a short time.
#[test]
fn a_leader_lost_in_the_calm_is_replaced_and_then_there_is_rest() {
    let mut total = Report::default();
    for seed in 1..=60 {
        let mut run = Run::new(seed, &Cuts::default());
        (run.plan.succession, run.plan.rest) = (true, true);
        total.add(run.run_to_its_end());
    }
    let (successions, rests) = (total.successions, total.rests);
    assert!(successions >= 3 && rests >= 3, "{successions} leaders were lost, and {rests} cells came to rest");
}
