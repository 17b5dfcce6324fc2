//! What must hold when members change while some of them lag behind.

#![cfg(feature = "server")]

#[allow(dead_code, reason = "each test uses its part of the harness")]
mod cell;
#[allow(dead_code, reason = "each test uses its part of it")]
mod lists;

use cell::{Cell, put};
use quorate::paxos::{MemberChange, Message, Paxos, ReplicaId, Slot};
use quorate::time::Duration;

const A: ReplicaId = ReplicaId(1);
const B: ReplicaId = ReplicaId(2);
const C: ReplicaId = ReplicaId(3);
const D: ReplicaId = ReplicaId(4);
const E: ReplicaId = ReplicaId(5);

#[test]
fn who_lags_behind_two_changes_helps_the_new_members_to_a_majority() {
    let mut cell = Cell::new(5, 7, true);
    cell.run(Duration::from_millis(2000));
    isolate(&mut cell, E, 5);
    cell.run(Duration::from_millis(1000));
    for lost in [A, B] {
        cell.crash(lost);
        cell.wipe(lost);
        cell.format_to_join(lost);
        cell.run(Duration::from_millis(2000));
        cell.restart(lost);
        let incarnation = cell.node(lost).incarnation;
        change(&mut cell, &MemberChange::Replace { replica: lost, incarnation, addresses: None });
        cell.run(Duration::from_millis(2000));
        assert!(votes(&mut cell, lost), "{lost} has its vote again");
    }
    cell.crash(C);
    cell.crash(D);
    cell.cut.clear();
    cell.run(Duration::from_millis(10_000));
    assert!(leader(&cell).is_some(), "A, B and E are a majority of five, and none of them leads");
}

#[test]
fn who_comes_back_after_others_left_learns_of_it_from_one_that_follows() {
    let mut cell = Cell::new(3, 7, true);
    cell.run(Duration::from_millis(2000));
    cell.crash(C);
    cell.run(Duration::from_millis(1000));
    let joined = cell.newcomer();
    cell.restart(joined);
    let incarnation = cell.node(joined).incarnation;
    change(&mut cell, &MemberChange::Add { replica: joined, incarnation, addresses: None });
    cell.run(Duration::from_millis(2000));
    assert!(votes(&mut cell, joined));
    let leads = leader(&cell).expect("somebody leads");
    if leads != joined {
        cell.with(leads, |paxos, now, out| paxos.hand_over(now, Some(joined), out));
        cell.run(Duration::from_millis(1000));
    }
    assert_eq!(leader(&cell), Some(joined));
    change(&mut cell, &MemberChange::Remove { replica: A });
    cell.run(Duration::from_millis(2000));
    cell.crash(A);
    cell.restart(C);
    cell.run(Duration::from_millis(10_000));
    let chosen = |cell: &mut Cell, id| cell.with(id, |paxos: &mut Paxos, _, _| paxos.chosen_upto());
    assert_eq!(chosen(&mut cell, C), chosen(&mut cell, joined), "it has caught up");
}

#[test]
fn what_was_chosen_before_two_were_removed_outlives_a_third_one() {
    let mut cell = Cell::new(5, 7, true);
    cell.run(Duration::from_millis(2000));
    let leads = leader(&cell).expect("somebody leads");
    if leads != A {
        cell.with(leads, |paxos, now, out| paxos.hand_over(now, Some(A), out));
        cell.run(Duration::from_millis(500));
    }
    assert_eq!(leader(&cell), Some(A));
    cell.cut.extend([(A, B), (A, C)]);
    let slot = cell.with(A, |paxos, now, out| paxos.propose(now, put("v"), out)).expect("A leads");
    cell.settle();
    assert_eq!(cell.oracle.chosen.get(&slot), Some(&put("v")), "A, D and E hold it");
    cell.cut.clear();

    // What B and C ask for is lost on the way, or takes long.
    for leaves in [E, D] {
        let done =
            cell.with(A, |paxos, now, out| paxos.change_members(now, &MemberChange::Remove { replica: leaves }, out));
        if !matches!(done, Some(Ok(_))) {
            break;
        }
        lossy_run(&mut cell, Duration::from_millis(1000));
        let settled = cell.with(A, |paxos, _, _| {
            let configs = paxos.configs();
            configs.newest().member(leaves).is_none() && configs.is_settled(paxos.chosen_upto())
        });
        if settled != Some(true) {
            break;
        }
        cell.crash(leaves);
    }
    cell.crash(A);
    cell.run(Duration::from_millis(5000));
    let held = cell.node(B).applied.get(slot.0 as usize - 1) == Some(&put("v"));
    assert!(held, "an acknowledged value is lost with one disk of three");
}

#[test]
fn a_late_proposal_of_a_reign_that_is_over_stops_nobody_who_learned_better() {
    let mut cell = Cell::new(5, 7, true);
    cell.run(Duration::from_millis(2000));
    let old = leader(&cell).expect("somebody leads");
    let other = if old == E { D } else { E };
    let mut others = (1..=5).map(ReplicaId).filter(|id| *id != old && *id != other);
    cell.cut.extend(others.clone().map(|id| (old, id)));
    let slot = cell.with(old, |paxos, now, out| paxos.propose(now, put("never"), out)).expect("it leads");
    let late = cell.network.iter().find(|frame| frame.to == other && matches!(frame.message, Message::Accept { .. }));
    let late = late.cloned().expect("it is on the way");
    cell.network.clear();
    cell.crash(old);
    isolate(&mut cell, other, 5);
    cell.run(Duration::from_millis(2000));

    let from = others.next().expect("three are left");
    let incarnation = cell.node(from).incarnation;
    let values = cell.node(from).applied.clone();
    assert!(values.len() as u64 >= slot.0 && values[slot.0 as usize - 1] != put("never"));
    let chosen = Message::Chosen { from: Slot(1), values };
    cell.with(other, |paxos, now, out| paxos.receive(now, from, incarnation, chosen, out));
    cell.deliver(late);
    assert!(cell.node(other).paxos.is_some());
    cell.cut.clear();
    cell.restart(old);
    cell.run(Duration::from_millis(2000));
    let same = |node: &cell::Node| node.applied.get(slot.0 as usize - 1) == cell.oracle.chosen.get(&slot);
    assert!(cell.nodes.iter().all(same), "all have what was chosen");
}

fn change(cell: &mut Cell, change: &MemberChange) -> Slot {
    let leads = leader(cell).expect("somebody leads");
    let made = cell.with(leads, |paxos, now, out| paxos.change_members(now, change, out)).expect("it runs");
    made.expect("it is taken")
}

fn votes(cell: &mut Cell, id: ReplicaId) -> bool {
    cell.with(id, |paxos, _, _| paxos.status().votes).expect("it runs")
}

fn leader(cell: &Cell) -> Option<ReplicaId> {
    let leads = |node: &&cell::Node| node.paxos.as_ref().is_some_and(Paxos::is_leading);
    cell.nodes.iter().find(leads).map(|node| node.id)
}

fn isolate(cell: &mut Cell, one: ReplicaId, of: u8) {
    let others = (1..=of).map(ReplicaId).filter(|id| *id != one);
    cell.cut.extend(others.flat_map(|other| [(one, other), (other, one)]));
}

/// Time passes, and no request for chosen values arrives.
fn lossy_run(cell: &mut Cell, span: Duration) {
    let end = cell.now + span;
    loop {
        loop {
            while let Some(frame) = cell.network.pop_front() {
                if !matches!(frame.message, Message::CatchUp { .. }) {
                    cell.deliver(frame);
                }
            }
            let ids: Vec<ReplicaId> = cell.nodes.iter().map(|node| node.id).collect();
            if !ids.into_iter().any(|id| cell.flush(id)) && cell.network.is_empty() {
                break;
            }
        }
        let due = cell.nodes.iter().filter_map(|node| Some((node.paxos.as_ref()?.next_deadline(), node.id))).min();
        let Some((at, id)) = due.filter(|(at, _)| *at <= end) else { break };
        cell.now = cell.now.max(at);
        cell.with(id, |paxos, now, out| paxos.tick(now, out));
    }
    cell.now = end;
}
