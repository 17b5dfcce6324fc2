//! What a cell owes when nothing goes wrong: whoever leads goes on to lead, and under a lease if it is to; who asks is answered
//! on the connection he has; and whoever is gone loses his session when its time is over.
//!
//! When the storm is over and one has led for a while clients make some calls more. A client heals much by itself: it leaves a
//! connection that is silent and asks again elsewhere, so that an answer which was forgotten comes all the same, only late.
//! Here it must not have to.

use std::collections::BTreeMap;

use quorate::limits::CACHE_LEASE;
use quorate::namespace::command::SessionId;
use quorate::paxos::ReplicaId;

use super::client::Client;
use super::links::{node, replica};
use super::node::Node;
use super::plan::Plan;
use super::run::Run;
use super::world::{MILLI, Moment, SECOND};

/// One leads, and everybody who is not away knows it.
#[derive(Clone, Copy, Debug)]
pub struct Reign {
    leader: ReplicaId,
    round: u64,
    /// Since when nothing has gone wrong in it.
    since: Moment,
}

/// Has clients make calls when one has led for a while, and waits until they are answered; not beyond `until`.
pub fn serve(run: &mut Run, until: Moment) {
    if !is_owed(run) {
        return;
    }
    while led_since(run).is_none_or(|since| run.world.now < since + A_WHILE) {
        let Some(event) = run.world.next(until) else { return };
        run.event(event);
    }
    let calls = run.plan.serene;
    for index in 0..run.clients.len() {
        run.with_client(index, |client, around| client.call_more(around, calls));
    }
    let reign = |run: &Run| run.reign.map(|reign| (reign.leader, reign.round));
    let (before, began_under, mut was_leased) = (run.oracle.chosen_upto(), reign(run), false);
    while !run.clients.iter().all(Client::is_idle) {
        let Some(event) = run.world.next(until) else { return };
        run.event(event);
        was_leased = was_leased || leader(run).is_some_and(|leader| leader.is_leased(run.world.now));
    }
    let entries = run.oracle.chosen_upto().0 - before.0;
    let is_the_same = reign(run) == began_under;
    let mut leases_owed = 0;
    if let Some(leader) = leader(run).filter(|leader| leader.reads_leased && is_the_same && entries >= ENTRIES) {
        leases_owed = 1;
        assert!(
            was_leased || run.oracle.timeless,
            "{entries} entries were chosen, and nobody had a lease: {}",
            leader.story()
        );
    }
    run.leases_owed += leases_owed;
}

/// Who leads, while nothing goes wrong.
fn leader(run: &Run) -> Option<&Node> {
    run.reign.map(|reign| &run.nodes[node(reign.leader)])
}

/// Who holds a wrong state stops. Where links lose frames and stay, an answer that was lost in the storm is waited for until another leads; and who has no room
/// may lead, but not for good.
fn is_owed(run: &Run) -> bool {
    let Plan { serene, beyond_repair, cramped, ref network, .. } = run.plan;
    let all_have_room = !cramped || run.absent.is_empty();
    run.rotten == 0 && serene > 0 && !beyond_repair && network.dropped == 0 && all_have_room
}

/// Since when one has led, and nothing has gone wrong; if it is so. Where a disk was full an image may not have been tried again
/// yet, and the log be full for want of it.
pub fn led_since(run: &Run) -> Option<Moment> {
    let full_until = present(run).map(|node| node.disk.full_until).max().filter(|until| *until > 0);
    let tried_again = full_until.map_or(0, |until| until + IMAGE_AGAIN_AFTER);
    run.reign.map(|reign| reign.since.max(tried_again))
}

/// Looks whether it is still so.
pub fn look(run: &mut Run) {
    if !is_owed(run) {
        return;
    }
    sessions_end(run);
    let now = run.world.now;
    let found = reign(run);
    match (&mut run.reign, found) {
        (Some(was), Some(is)) if (was.leader, was.round) == (is.leader, is.round) => {
            // Who is that far behind is not up to answering anybody.
            if run.nodes.iter().any(needs_image) {
                was.since = now;
            }
        }
        _ => {
            let needless = run.reign.filter(|was| now >= was.since + A_WHILE && was_left_alone(run));
            assert!(
                needless.is_none(),
                "at {now} nothing goes wrong, and yet {needless:?} came to its end: {found:?} {:#?}",
                run.nodes.iter().map(Node::story).collect::<Vec<_>>()
            );
            run.reign = found;
        }
    }
}

/// A session that nobody has any more ends when its time is over, counted from when the reign began, or from when it was left.
/// Not judged where something that was said in it may still be on its way, nor where others than clients have sessions.
fn sessions_end(run: &mut Run) {
    let others = run.plan.enquire_every.is_some() || run.plan.stranger_every.is_some();
    let late = run.plan.network.is_harsh() || run.plan.network.held > 0;
    let Some(led_since) = led_since(run).filter(|_| !others && !late && !run.oracle.timeless) else {
        return run.left.clear();
    };
    let Some(running) = leader(run).and_then(|leader| leader.running.as_ref()) else { return run.left.clear() };
    // A leader that is short of room puts off what nobody waits for, and gives everybody his whole time again.
    let storage = running.replica.storage();
    if !storage.has_room_for(storage.journal().segment_bytes()) {
        return run.left.clear();
    }
    let (now, mut left) = (run.world.now, BTreeMap::new());
    for view in running.replica.namespace().sessions() {
        if run.clients.iter().any(|client| client.may_speak_in(view.session)) {
            continue;
        }
        let since = run.left.get(&view.session).copied().unwrap_or(now);
        let timeout = Moment::from(view.timeout_ms) * MILLI;
        let over = since.max(led_since) + timeout + timeout / 100 + A_WHILE + SECOND;
        assert!(
            now <= over,
            "at {now} {:?}, which nobody has since {since}, lives: its time is {timeout}",
            view.session
        );
        left.insert(view.session, since);
    }
    run.ends_owed += run.left.keys().filter(|session| !left.contains_key(session)).count() as u64;
    run.left = left;
}

/// Sessions that no client has, since when.
pub type Left = BTreeMap<SessionId, Moment>;

/// Whether nothing was done to it.
fn was_left_alone(run: &Run) -> bool {
    run.task.is_none() && present(run).all(|node| node.running.is_some())
}

fn needs_image(node: &Node) -> bool {
    node.running.as_ref().is_some_and(|running| running.replica.paxos().status().needs_image_upto.is_some())
}

fn present(run: &Run) -> impl Iterator<Item = &Node> {
    run.nodes.iter().filter(|node| !run.absent.contains(&node.index))
}

fn reign(run: &Run) -> Option<Reign> {
    if run.task.is_some() {
        return None;
    }
    let mut leader = None;
    for node in present(run) {
        let paxos = node.running.as_ref()?.replica.paxos();
        if paxos.is_leading() {
            if leader.is_some() {
                return None;
            }
            leader = Some((replica(node.index), paxos.ballot().round));
        }
    }
    let (leader, round) = leader?;
    let knows = |node: &Node| {
        node.running.as_ref().is_some_and(|running| running.replica.paxos().status().leader == Some(leader))
    };
    present(run).all(knows).then_some(Reign { leader, round, since: run.world.now })
}

/// With so many entries some are chosen well within a lease.
const ENTRIES: u64 = 10;

/// An image for which there was no room is tried again after so long.
const IMAGE_AGAIN_AFTER: Moment = 5 * SECOND;

/// After this time whatever was under way in the storm is over; who kept answers and is gone is not waited for any more.
pub const A_WHILE: Moment = SECOND / 2 + CACHE_LEASE.as_nanos();
