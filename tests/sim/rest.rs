//! With nothing to do a cell does nothing: when every client is gone and everything done, the disks are left alone, and the
//! replicas say no more to each other than that they are there.
//!
//! What was begun may take a while to end: an image is finished, room looked for again, what was learned of others written
//! down some leases later. So it is asked that a stretch comes in which nothing of that happens, long enough to hold
//! whatever a replica would do again and again; not when it comes.

use super::node::Node;
use super::run::{PATIENCE, Run};
use super::world::{MILLI, Moment, SECOND};

/// Waits until the cell is at rest, where it must come to be.
pub fn comes(run: &mut Run) {
    if !is_owed(run) {
        return;
    }
    let stretch = (2 * SECOND).max(LEASES * run.plan.lease);
    let until = run.world.now + PATIENCE;
    let mut last = (0, 0);
    while run.world.now + stretch <= until {
        let before = done(run);
        let end = run.world.now + stretch;
        while let Some(event) = run.world.next(end) {
            run.event(event);
        }
        // Where nothing is due before, no time has gone by.
        run.world.now = end;
        let after = done(run);
        last = (after.0 - before.0, after.1 - before.1);
        if last.0 == 0 && last.1 <= said_max(run, stretch) {
            run.rests += 1;
            return;
        }
    }
    let (writes, said) = last;
    panic!(
        "nobody has anything to do for {} s, and in the last {} ms there were {writes} writes and {said} messages: {:#?}",
        PATIENCE / SECOND,
        stretch / MILLI,
        run.nodes.iter().map(Node::story).collect::<Vec<_>>()
    );
}

/// Not where a log is damaged, which is mended as it is found; nor where one has no room, who looks for it again and again;
/// nor where an answer was lost on a link that stays, and is waited for.
fn is_owed(run: &Run) -> bool {
    let plan = &run.plan;
    let is_whole = plan.victim.is_none() && !plan.beyond_repair && run.rotten == 0 && run.task.is_none();
    let all_have_room = !plan.cramped || run.absent.is_empty();
    plan.rest && is_whole && all_have_room && !plan.network.is_harsh() && !run.oracle.timeless
}

/// What all nodes wrote, and what they said to each other.
fn done(run: &Run) -> (u64, u64) {
    run.nodes.iter().fold((0, 0), |(writes, said), node| (writes + node.writes, said + node.said))
}

/// A heartbeat to each of the others, to those that are gone too, and its answer are two; half as many more would be too much.
fn said_max(run: &Run, stretch: Moment) -> u64 {
    let others = run.nodes.len() as u64 - 1;
    others * (stretch / run.plan.heartbeat + 1) * 5 / 2
}

/// What is learned of others is written down so many leases later at most, and a little is to spare.
const LEASES: u64 = 20;
