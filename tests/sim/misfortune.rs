//! What goes wrong, and when it is over.

use std::collections::BTreeSet;

use quorate::paxos::Slot;

use super::client::Client;
use super::coverage;
use super::damage::{self, Reach};
use super::network::Host;
use super::node::{Happening, Node};
use super::old_copy;
use super::operator::{self, Task};
use super::run::Run;
use super::world::{Event, MILLI, Moment, SECOND};

/// Paths on which nothing goes until that is relieved.
pub type Blocked = Vec<(Host, Host)>;

/// One kind of misfortune. False: there was nothing for it to strike, or it strikes later and says so then.
pub type Act = fn(&mut Run) -> bool;

/// Their names.
pub const KINDS: [&str; 20] = [
    "crash",
    "crash-all",
    "away",
    "pause",
    "isolate",
    "one-way",
    "cut-pair",
    "cut-client",
    "client-dies",
    "break-link",
    "stall-disk",
    "fill-disk",
    "hand-over",
    "hunt",
    "lose-disk",
    "remove",
    "remove-two",
    "damage",
    "jump-wall",
    "put-back",
];

/// Something goes wrong now, and something else a while later.
pub fn strike(run: &mut Run) {
    if run.calm {
        return;
    }
    let delay = run.world.random.around(run.plan.misfortune_every);
    run.world.after(delay, Event::Misfortune);
    wild_clocks(run);
    if old_copy::is_about(run) {
        return;
    }
    let w = run.plan.weights.clone();
    let kinds: [(u64, &'static str, Act); KINDS.len() + 2] = [
        (w.crash, "crash", crash_one),
        (w.crash_all, "crash-all", crash_all),
        (w.away, "away", away),
        (w.pause, "pause", pause),
        (w.isolate, "isolate", isolate),
        (w.one_way, "one-way", one_way),
        (w.cut_pair, "cut-pair", cut_pair),
        (w.cut_client, "cut-client", cut_client),
        (w.client_dies, "client-dies", client_dies),
        (w.break_link, "break-link", break_link),
        (w.stall_disk, "stall-disk", stall_disk),
        (w.fill_disk, "fill-disk", fill_disk),
        (w.hand_over, "hand-over", hand_over),
        (w.hunt, "hunt", hunt),
        (w.lose_disk, "lose-disk", lose_disk),
        (w.remove, "remove", remove),
        (w.remove_two, "remove-two", remove_two),
        (w.write_error, "write-error", fail_write),
        (w.damage, "damage", damage_log),
        (w.jump_wall, "jump-wall", jump_wall),
        (w.put_back, "put-back", old_copy::put_back),
        (w.crash_within, "crash-within", crash_within),
    ];
    let total: u64 = kinds.iter().map(|(weight, ..)| weight).sum();
    if total == 0 {
        return;
    }
    let mut draw = run.world.random.below(total);
    for (weight, name, act) in kinds {
        if draw < weight {
            let waits = run.plan.ambush.is_some() && coverage::SELDOM.contains(&name);
            // A copy is not put back before it is taken.
            if waits && (name != "put-back" || old_copy::at_hand(run).is_some()) {
                run.ambush = Some((name, act));
            } else {
                strike_with(run, (name, act));
            }
            return;
        }
        draw -= weight;
    }
}

/// Returns whether it struck.
fn strike_with(run: &mut Run, (name, act): (&'static str, Act)) -> bool {
    // The phases of before: a leader that crashed is none any more.
    let phases = coverage::phases(&run.nodes);
    let struck = act(run);
    if struck {
        run.misfortunes += 1;
        run.struck_in(name, phases);
    }
    struck
}

/// What lies in ambush strikes now, if somebody leads and another node is in the phase that it waits for.
pub fn spring(run: &mut Run) {
    let (Some(ambush), Some(phase)) = (run.ambush.filter(|_| operator::is_free(run)), run.plan.ambush) else { return };
    if coverage::phases(&run.nodes).contains(phase) && strike_with(run, ambush) {
        run.ambush = None;
    }
}

/// Clocks that are further off than the cell is told are so all along: this says now and then in which phases it is.
fn wild_clocks(run: &mut Run) {
    let told = run.plan.told_error_ppm;
    if run.nodes.iter().any(|node| node.clock.error_ppm() > told) {
        run.strikes("wild-clock");
    }
}

/// A misfortune is over.
pub fn relieve(run: &mut Run, what: u64) {
    if run.blocked.remove(&what).is_some() {
        block_what_lasts(run);
    }
}

/// No misfortune any more, and everybody runs, or as many as are enough.
pub fn end_all(run: &mut Run) {
    run.blocked.clear();
    run.network.unblock_all();
    run.network.conduct.calm_down();
    (run.plan.hiccups, run.plan.slow_rings, run.plan.disk.slow, run.plan.torn_starts) = (0, 0, 0, 0);
    (run.plan.crowded, run.plan.clogs, run.plan.damaged_images, run.plan.misreads) = (0, 0, 0, 0);
    for node in 0..run.nodes.len() {
        run.nodes[node].disk.stalled_until = 0;
        let full_until = &mut run.nodes[node].disk.full_until;
        *full_until = (*full_until).min(run.world.now);
        run.nodes[node].disk.fails_next = false;
        run.nodes[node].ends_within = None;
        run.nodes[node].goes_on(&mut run.world);
    }
    run.absent = absentees(run);
    for node in run.absent.iter().filter(|_| run.plan.cramped) {
        run.nodes[*node].disk.full_until = Moment::MAX;
    }
    for node in 0..run.nodes.len() {
        if run.absent.contains(&node) && !run.plan.cramped {
            run.with_node(node, |node, around| node.crash(around, false));
        } else {
            // Whatever its log has become, its owner starts from it and catches up, or reads it by the way and mends it.
            let reads_it = run.plan.scrub_period.is_some() && run.world.random.below(2) == 0;
            if run.plan.is_struck(node) && !reads_it {
                run.with_node(node, |node, around| node.crash(around, true));
            }
            if run.nodes[node].running.is_none() {
                run.with_node(node, Node::start);
            }
        }
    }
}

/// Who stays away in the calm, or with a full disk: nobody while members change, and nobody before everybody was met. A member has a vote once
/// the list names its disk, which takes an entry; until then nothing tells its disk from one that forgot a promise. So a
/// cell whose members have not all been met yet cannot do without as many as one whose members have, and no rule says so.
fn absentees(run: &mut Run) -> BTreeSet<usize> {
    let settled = run.task.is_none() && operator::everybody_votes(run);
    let mut nodes: Vec<usize> = (0..run.nodes.len()).collect();
    let first = run.world.random.below(nodes.len() as u64) as usize;
    nodes.rotate_left(first);
    nodes.into_iter().take(if settled { run.plan.absent } else { 0 }).collect()
}

/// A node's process dies, its host perhaps with it, and comes back.
pub fn crash(run: &mut Run, node: usize) -> bool {
    if run.calm || old_copy::is_about(run) {
        return false;
    }
    let running = run.nodes[node].running.is_some();
    let host_lives = run.world.random.below(3) > 0;
    run.with_node(node, |node, around| node.crash(around, host_lives));
    come_back(run, node);
    running
}

fn come_back(run: &mut Run, node: usize) {
    let mean = run.world.random.pick(&[MILLI, 50 * MILLI, 500 * MILLI]);
    let delay = run.world.random.around(mean);
    run.world.after(delay, Event::Start { node });
}

fn leads(node: &Node) -> bool {
    node.running.as_ref().is_some_and(|running| running.replica.paxos().is_leader())
}

pub fn any_node(run: &mut Run) -> usize {
    // Leaders are where the interesting things go wrong.
    let leader = run.nodes.iter().position(leads);
    match leader {
        Some(leader) if run.world.random.below(2) == 0 => leader,
        _ => run.world.random.below(run.nodes.len() as u64) as usize,
    }
}

fn crash_one(run: &mut Run) -> bool {
    let node = any_node(run);
    crash(run, node)
}

/// A node is away for so long that the others may give up the log it needs.
fn away(run: &mut Run) -> bool {
    let node = any_node(run);
    let running = run.nodes[node].running.is_some();
    run.with_node(node, |node, around| node.crash(around, false));
    let span = run.plan.storm / 8 + run.world.random.below(run.plan.storm / 2);
    run.world.after(span, Event::Start { node });
    running
}

fn crash_all(run: &mut Run) -> bool {
    let apart = run.world.random.pick(&[0, MILLI, 20 * MILLI]);
    for node in 0..run.nodes.len() {
        let (delay, life) = (run.world.random.below(apart + 1), run.nodes[node].life);
        run.world.after(delay, Event::Crash { node, life });
    }
    run.nodes.iter().any(|node| node.running.is_some())
}

fn pause(run: &mut Run) -> bool {
    let node = any_node(run);
    // Now and then for so long that sessions would end.
    let longest = if run.world.random.below(8) == 0 { run.plan.session_timeout * 2 } else { run.plan.lease * 3 };
    let span = run.world.random.below(longest);
    let until = run.world.now + span;
    let node = &mut run.nodes[node];
    node.busy_until = node.busy_until.max(until);
    node.stopped_until = node.stopped_until.max(until);
    node.running.is_some()
}

fn isolate(run: &mut Run) -> bool {
    let node = any_node(run);
    let others = (0..run.nodes.len()).filter(|other| *other != node).map(Host::Node);
    // With or without the clients that may talk to it.
    let clients = if run.world.random.below(2) == 0 { 0 } else { run.clients.len() };
    let everybody = others.chain((0..clients).map(Host::Client));
    let paths = everybody.flat_map(|other| [(Host::Node(node), other), (other, Host::Node(node))]).collect();
    block(run, paths)
}

fn one_way(run: &mut Run) -> bool {
    let node = any_node(run);
    let others = (0..run.nodes.len()).filter(|other| *other != node);
    let some: Vec<usize> = others.filter(|_| run.world.random.below(3) > 0).collect();
    let deaf = run.world.random.below(2) == 0;
    let path = |other: usize| {
        let (node, other) = (Host::Node(node), Host::Node(other));
        if deaf { (other, node) } else { (node, other) }
    };
    block(run, some.into_iter().map(path).collect())
}

fn cut_pair(run: &mut Run) -> bool {
    let (one, other) = (any_node(run), any_node(run));
    let (one, other) = (Host::Node(one), Host::Node(other));
    block(run, vec![(one, other), (other, one)]) && one != other
}

/// What a lease must stand: the leader keeps a bare majority, the others look for a leader of their own, and one of the
/// majority comes back having forgotten everything that was not on its disk.
fn hunt(run: &mut Run) -> bool {
    let Some(leader) = run.nodes.iter().position(leads) else { return false };
    let mut others: Vec<usize> = (0..run.nodes.len()).filter(|node| *node != leader).collect();
    if others.is_empty() {
        return false;
    }
    let first = run.world.random.below(others.len() as u64) as usize;
    others.rotate_left(first);
    // With those that lose the leader go some of the clients, so that somebody writes there and somebody reads here.
    let mut cut_off: Vec<Host> = others.split_off(run.nodes.len() / 2).into_iter().map(Host::Node).collect();
    cut_off.extend((0..run.clients.len()).filter(|_| run.world.random.below(2) == 0).map(Host::Client));
    let leader = Host::Node(leader);
    let (lease, settled) = (run.plan.lease, run.world.random.below(800 * MILLI));
    block_for(
        run,
        cut_off.iter().flat_map(|other| [(leader, *other), (*other, leader)]).collect(),
        settled + 5 * lease,
    );
    let (node, delay) = (others[0], settled + run.world.random.within(lease, 3 * lease));
    let life = run.nodes[node].life;
    run.world.after(delay, Event::Crash { node, life });
    true
}

fn cut_client(run: &mut Run) -> bool {
    let client = Host::Client(run.world.random.below(run.clients.len() as u64) as usize);
    let node = Host::Node(any_node(run));
    let paths = match run.world.random.below(3) {
        0 => vec![(client, node)],
        1 => vec![(node, client)],
        _ => vec![(client, node), (node, client)],
    };
    block(run, paths)
}

fn client_dies(run: &mut Run) -> bool {
    let now = run.world.now;
    let keeps = |client: &usize| run.clients[*client].might_give(now).next().is_some();
    let mut mortal: Vec<usize> = (0..run.clients.len()).filter(|client| !run.plan.heirs || keeps(client)).collect();
    if mortal.is_empty() {
        mortal.extend(0..run.clients.len());
    }
    let client = run.world.random.pick(&mortal);
    run.with_client(client, Client::die);
    true
}

fn block(run: &mut Run, paths: Vec<(Host, Host)>) -> bool {
    let some = !paths.is_empty();
    let mean = run.world.random.pick(&[run.plan.lease / 2, run.plan.lease * 2, SECOND]);
    let delay = run.world.random.around(mean);
    block_for(run, paths, delay);
    some
}

fn block_for(run: &mut Run, paths: Vec<(Host, Host)>, delay: Moment) {
    run.blocks += 1;
    let what = run.blocks;
    run.blocked.insert(what, paths);
    run.world.after(delay, Event::Relief { what });
    block_what_lasts(run);
}

fn block_what_lasts(run: &mut Run) {
    run.network.unblock_all();
    for (from, to) in run.blocked.values().flatten() {
        run.network.block(*from, *to);
    }
}

fn break_link(run: &mut Run) -> bool {
    run.network.break_one(&mut run.world)
}

/// The process ends when its next write does, and then this has struck. That it must end is the server's rule
/// (`server::core`), not the pure code's, so that here the harness ends it: what is tried is what the disk and the cell are
/// left with. The rule itself is tried where servers run, in tests/process/crashes.rs
/// (`the_power_goes_for_all_replicas_in_mid_batch`), and mutant 02 breaks it.
fn fail_write(run: &mut Run) -> bool {
    let node = any_node(run);
    run.nodes[node].disk.fails_next = run.nodes[node].running.is_some();
    false
}

/// The process ends in the middle of a turn, with some of its effects done and others not, and then this has struck.
fn crash_within(run: &mut Run) -> bool {
    let node = any_node(run);
    run.nodes[node].ends_within = run.nodes[node].running.is_some().then(|| run.world.random.below(EFFECTS));
    false
}

/// It ended so, and comes back.
pub fn ended_within(run: &mut Run, node: usize, phases: BTreeSet<&'static str>) {
    run.misfortunes += 1;
    run.struck_in("crash-within", phases);
    come_back(run, node);
}

fn stall_disk(run: &mut Run) -> bool {
    let node = any_node(run);
    let until = run.world.now + run.world.random.below(10 * run.plan.lease);
    run.nodes[node].disk.stalled_until = until;
    run.nodes[node].running.is_some()
}

/// A disk is lost and replaced by an empty one, unless another one's loss is not mended yet. Beyond repair others go with it.
fn lose_disk(run: &mut Run) -> bool {
    let free = operator::is_free(run);
    if free {
        let node = any_node(run);
        lose_disk_of(run, node);
        operator::begin(run, [Task::Join(node)]);
        for other in (0..run.nodes.len()).filter(|other| *other != node) {
            if run.plan.beyond_repair && run.world.random.below(2) == 0 {
                lose_disk_of(run, other);
                run.tasks_ahead.push_back(Task::Join(other));
            }
        }
    }
    free
}

/// A replica is made to leave, and comes back with another disk.
fn remove(run: &mut Run) -> bool {
    let free = operator::is_free(run);
    if free {
        let node = any_node(run);
        operator::begin(run, [Task::Remove(node), Task::Join(node)]);
    }
    free
}

/// Two leave, one after the other, before either comes back: the others are a majority of the fewer and fewer.
fn remove_two(run: &mut Run) -> bool {
    let free = operator::is_free(run) && run.nodes.len() >= 5;
    if free {
        let (one, apart) = (any_node(run), 1 + run.world.random.below(run.nodes.len() as u64 - 1) as usize);
        let other = (one + apart) % run.nodes.len();
        operator::begin(run, [Task::Remove(one), Task::Remove(other), Task::Join(one), Task::Join(other)]);
    }
    free
}

/// A node dies, and comes back with an empty disk.
pub fn lose_disk_of(run: &mut Run, node: usize) {
    run.plan.tears = false;
    run.with_node(node, |node, around| {
        node.crash(around, false);
        node.replace_disk(around);
    });
    let delay = run.world.random.below(SECOND);
    run.world.after(delay, Event::Start { node });
}

/// Some of what the victim's log holds, or anybody's, is not what was written. What is to be mended is not damaged before
/// everybody was met: until the list names a disk the others are all it takes to choose, and cannot do without what one of
/// them held.
pub fn damage_log(run: &mut Run) -> bool {
    let (victim, spared) = match run.plan.victim {
        Some(victim) if operator::everybody_votes(run) => (victim, 0),
        None if run.plan.beyond_repair => (any_node(run), SPARED),
        Some(_) | None => return false,
    };
    let crashes_tear = run.plan.may_tear;
    if crashes_tear && run.nodes[victim].running.is_none() {
        // What a crash has left is no log yet: only a start tells where it ends.
        return false;
    }
    let upto = if crashes_tear && !run.plan.beyond_repair { run.oracle.chosen_upto() } else { Slot(u64::MAX) };
    let reach = Reach { spared, crashes_tear, upto };
    let (before, phases) = (run.damaged, coverage::phases(&run.nodes));
    for _ in 0..run.world.random.within(1, 3) {
        let blocks = damage::strike(&mut run.nodes[victim].disk, &mut run.world.random, run.plan.astray, reach);
        run.world.chances.extend((blocks > 1).then_some("stray-write"));
        run.damaged += blocks;
    }
    if !crashes_tear {
        damage::strike_copy(&mut run.nodes[victim].disk, &mut run.world.random);
    }
    let misreads = run.plan.misreads > 0 && run.world.random.below(2) == 0;
    let misreads = misreads && damage::misread(&mut run.nodes[victim].disk, &mut run.world.random, reach);
    let damaged = run.nodes.iter().filter(|node| !node.disk.damaged.is_empty()).count();
    if run.damaged > before && damaged > run.nodes.len() / 2 {
        // What those hold who hold it whole need not be a majority's any more.
        run.struck_in("beyond-repair", phases);
    }
    // A start reads it all; otherwise it is found by the background's reading, or by a peer that wants it.
    if misreads || run.world.random.below(2) == 0 {
        crash(run, victim);
    }
    run.damaged > before
}

/// The calendar of a host is set, back or ahead, by up to a day.
fn jump_wall(run: &mut Run) -> bool {
    let node = any_node(run);
    run.nodes[node].wall_ahead_ms = run.world.random.below(DAY_MS);
    true
}

/// For so long that the log's last segments fill up.
fn fill_disk(run: &mut Run) -> bool {
    let node = any_node(run);
    let until = run.world.now + run.world.random.below(run.plan.storm);
    run.nodes[node].disk.full_until = until;
    true
}

fn hand_over(run: &mut Run) -> bool {
    let node = any_node(run);
    let running = run.nodes[node].running.is_some();
    run.nodes[node].happens(&mut run.world, Happening::HandOver);
    let delay = run.world.random.below(SECOND);
    let life = run.nodes[node].life;
    run.world.after(delay, Event::Crash { node, life });
    running
}

/// More records than are in flight at once.
const SPARED: usize = 16;

/// Effects after which a process ends, at most: those of several turns.
const EFFECTS: u64 = 30;

const DAY_MS: u64 = 24 * 3600 * 1000;
