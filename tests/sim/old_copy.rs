//! An old copy of a folder is put back whole: nothing that lies in it says so, and the others must notice.
//!
//! A copy is taken of a running node's disk, as a volume's snapshot would be. It is put back when every other node knows of
//! a promise or vote that came later; from then on the node may ask whether others would promise, and nothing else, until it
//! is reminded and ends. Then its disk is replaced, as an operator would.

use quorate::paxos::{Ballot, Incarnation, Slot};

use super::disk::Files;
use super::links::replica;
use super::misfortune::any_node;
use super::node::Node;
use super::operator::{self, Task};
use super::run::Run;
use super::world::{Event, MILLI};

/// What a node's disk held once.
#[derive(Debug)]
pub struct Copy {
    files: Files,
    incarnation: Incarnation,
    /// No promise or vote in it is newer.
    promised: Ballot,
    upto: Slot,
}

/// Takes a copy of a node's disk, or puts the one back that was taken before, if everybody would notice.
pub fn put_back(run: &mut Run) -> bool {
    // Who lies in ambush for a phase that does not last has his copy ready.
    let ready = at_hand(run).filter(|_| run.plan.ambush.is_some());
    let node = ready.unwrap_or_else(|| any_node(run));
    if !has_copy(&run.nodes[node]) {
        let incarnation = run.nodes[node].incarnation();
        // What it has in memory is ahead of its disk, if anything.
        let promised = run.nodes[node].running.as_ref().map(|running| running.replica.paxos().ballot());
        let (files, upto) = (run.nodes[node].disk.files(), run.oracle.highest_slot());
        run.nodes[node].copy = promised.map(|promised| Copy { files, incarnation, promised, upto });
        return false;
    }
    if !operator::is_free(run) || !everybody_knows(run, node) {
        return false;
    }
    let copy = run.nodes[node].copy.take().expect("it was just seen");
    run.plan.tears = false;
    run.nodes.iter_mut().for_each(|node| (node.disk.fails_next, node.ends_within) = (false, None));
    run.with_node(node, |node, around| node.crash(around, false));
    run.nodes[node].disk.put_back(copy.files);
    run.nodes[node].is_old = true;
    run.oracle.put_back(node);
    operator::begin(run, [Task::Notice(node), Task::Join(node)]);
    let delay = run.world.random.below(100 * MILLI);
    run.world.after(delay, Event::Start { node });
    true
}

/// A node of whose disk a copy was taken.
pub fn at_hand(run: &Run) -> Option<usize> {
    run.nodes.iter().position(has_copy)
}

fn has_copy(node: &Node) -> bool {
    node.copy.as_ref().is_some_and(|copy| copy.incarnation == node.incarnation())
}

/// Whether an old copy runs somewhere: until it is noticed nobody else may forget what it knows.
pub fn is_about(run: &Run) -> bool {
    run.nodes.iter().any(|node| node.is_old)
}

fn everybody_knows(run: &Run, node: usize) -> bool {
    let Some(copy) = &run.nodes[node].copy else { return false };
    let knows = |other: &Node| {
        let word = other.running.as_ref().and_then(|running| running.replica.paxos().acknowledged_by(replica(node)));
        word.is_some_and(|word| {
            word.incarnation == copy.incarnation && (word.ballot > copy.promised || word.upto > copy.upto)
        })
    };
    run.nodes.iter().filter(|other| other.index != node).all(knows)
}
