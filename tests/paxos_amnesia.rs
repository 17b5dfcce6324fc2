//! Why a lost disk's replica comes back as another one, through the log: with five replicas a promise given by the old disk
//! and a vote of the new one would choose two values of one slot. With three replicas the trick fails, so five play it here.

#![cfg(feature = "server")]

#[allow(dead_code, reason = "each test uses its part of the harness")]
mod cell;
#[allow(dead_code, reason = "each test uses its part of it")]
mod lists;

use cell::{Cell, put};
use quorate::paxos::{MemberChange, Message, ReplicaId, Role};
use quorate::time::Duration;

const A: ReplicaId = ReplicaId(1);
const B: ReplicaId = ReplicaId(2);
const C: ReplicaId = ReplicaId(3);
const D: ReplicaId = ReplicaId(4);
const E: ReplicaId = ReplicaId(5);

#[test]
fn a_promise_of_a_lost_disk_is_not_counted_beside_the_votes_of_the_new_one() {
    let mut cell = Cell::new(5, 31, true);
    cell.now += Duration::from_millis(400);
    campaign(&mut cell, C);
    cell.settle();
    cell.run(Duration::from_millis(50));
    assert_eq!(cell.role(C), Role::Leading);

    // B has a promise of A, and its Prepare to E is on the way. C leads on: it hears D and E again in time.
    both_ways(&mut cell, C, &[A, B, E]);
    beat(&mut cell, &[C, D], 13);
    campaign(&mut cell, B);
    exchange(&mut cell, &[A, B, E]);
    assert_eq!(cell.role(B), Role::Preparing, "A and E grant the probe");
    let to_e = cell.kept.take().expect("B asks E for a promise");
    exchange(&mut cell, &[A, B]);
    let ballot = promised(&mut cell, B);
    assert_eq!(promised(&mut cell, A), ballot, "A promised B's ballot");
    cell.network.clear();

    // A's disk is lost. B hears nothing and says nothing from here on; C has the new disk take the place of the old one.
    cell.cut.clear();
    both_ways(&mut cell, B, &[A, C, D, E]);
    cell.crash(A);
    cell.wipe(A);
    cell.format_to_join(A);
    beat(&mut cell, &[C, D, E], 16);
    cell.restart(A);
    let incarnation = cell.node(A).incarnation;
    let change = MemberChange::Replace { replica: A, incarnation, addresses: None };
    cell.with(C, |paxos, now, out| paxos.change_members(now, &change, out)).expect("it runs").expect("it is taken");
    beat(&mut cell, &[A, C, D, E], 40);
    let votes = cell.with(A, |paxos, _, _| paxos.status().votes);
    assert_eq!(votes, Some(true), "the new disk has caught up and votes");

    // C has v chosen by C, D and the new disk, and E misses it. E promises B's ballot, when its promise to C has run out.
    both_ways(&mut cell, E, &[A, C, D]);
    beat(&mut cell, &[A, C, D], 2);
    let slot = cell.with(C, |paxos, now, out| paxos.propose(now, put("v"), out)).expect("C leads");
    exchange(&mut cell, &[A, C, D]);
    assert_eq!(cell.oracle.chosen.get(&slot), Some(&put("v")));
    beat(&mut cell, &[A, C, D], 12);
    cell.deliver(to_e);
    cell.cut.retain(|cut| ![(B, E), (E, B)].contains(cut));
    exchange(&mut cell, &[B, E]);
    assert_eq!(promised(&mut cell, E), ballot, "E promises it");

    // B has the promises of itself, of E and of A's first disk: three of five names. Whatever it proposed would be w.
    assert_eq!(cell.role(B), Role::Preparing, "B finds no majority among the disks that vote in that slot");
    let proposed = cell.network.iter().any(|frame| frame.from == B && matches!(frame.message, Message::Accept { .. }));
    assert!(!proposed, "B proposes nothing");

    cell.cut.clear();
    cell.run(Duration::from_millis(3000));
    let applied: Vec<_> = cell.nodes.iter().map(|node| node.applied.get(slot.0 as usize - 1).cloned()).collect();
    assert_eq!(applied, vec![Some(put("v")); 5], "all have v there");
}

/// Nothing passes between one and these.
fn both_ways(cell: &mut Cell, one: ReplicaId, others: &[ReplicaId]) {
    cell.cut.extend(others.iter().flat_map(|other| [(one, *other), (*other, one)]));
}

/// So many heartbeats pass for these and for nobody else.
fn beat(cell: &mut Cell, ids: &[ReplicaId], count: usize) {
    for _ in 0..count {
        cell.now += Duration::from_millis(25);
        for id in ids {
            let now = cell.now;
            let due = cell.node(*id).paxos.as_ref().is_some_and(|paxos| paxos.next_deadline() <= now);
            if due {
                cell.with(*id, |paxos, now, out| paxos.tick(now, out));
            }
        }
        exchange(cell, ids);
    }
}

/// Delivers and flushes among these until nothing moves. Frames to others stay on the way.
fn exchange(cell: &mut Cell, ids: &[ReplicaId]) {
    loop {
        let next = cell.network.iter().position(|frame| ids.contains(&frame.from) && ids.contains(&frame.to));
        if let Some(frame) = next.and_then(|index| cell.network.remove(index)) {
            // B's Prepare to E takes its time.
            if (frame.from, frame.to) == (B, E) && matches!(frame.message, Message::Prepare { .. }) {
                cell.kept = Some(frame);
                continue;
            }
            cell.deliver(frame);
        } else if !ids.iter().any(|id| cell.flush(*id)) {
            return;
        }
    }
}

fn promised(cell: &mut Cell, id: ReplicaId) -> quorate::paxos::Ballot {
    cell.with(id, |paxos, _, _| paxos.ballot()).expect("it runs")
}

/// Lets this node's election time-out pass, and only this node act on it.
fn campaign(cell: &mut Cell, id: ReplicaId) {
    for _ in 0..8 {
        if cell.role(id) != Role::Follower {
            return;
        }
        let due = cell.node(id).paxos.as_ref().expect("a candidate runs").next_deadline();
        cell.now = cell.now.max(due);
        cell.with(id, |paxos, now, out| paxos.tick(now, out));
    }
    panic!("{id} does not stand for election");
}
