//! What must hold when members change while some of them lag behind, or come back without their disks.

use super::cell::{A, B, C, Cell, D, E, Node, put};
use quorate::limits::SLOT_WINDOW;
use quorate::paxos::{Ballot, MemberChange, Message, Paxos, ReplicaId, Role, Slot};
use quorate::time::Duration;

#[test]
fn who_lags_behind_two_changes_helps_the_new_members_to_a_majority() {
    let mut cell = Cell::new(5, 7, true);
    cell.run(Duration::from_millis(2000));
    cell.cut_off(E, [A, B, C, D]);
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

    // What B and C ask for is lost on the way, or takes long: until they have the value, nobody else may leave.
    cell.lost = |message| matches!(message, Message::CatchUp { .. });
    assert!(removes(&mut cell, E), "all five vote");
    cell.run(Duration::from_millis(1000));
    assert!(!is_removed(&mut cell, E), "B and C would be two of four that lack it");
    assert!(!removes(&mut cell, D), "one change at a time");
    cell.lost = |_| false;
    cell.run(Duration::from_millis(1000));
    assert!(is_removed(&mut cell, E), "B and C have caught up");
    cell.crash(E);
    assert!(removes(&mut cell, D), "the change before is over");
    cell.run(Duration::from_millis(1000));
    assert!(is_removed(&mut cell, D));
    cell.crash(D);
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
    cell.cut_off(other, (1..=5).map(ReplicaId).filter(|id| *id != other));
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
    let same = |node: &Node| node.applied.get(slot.0 as usize - 1) == cell.oracle.chosen.get(&slot);
    assert!(cell.nodes.iter().all(same), "all have what was chosen");
}

/// Why a lost disk's replica comes back as another one, through the log: with five replicas a promise given by the old disk
/// and a vote of the new one would choose two values of one slot. With three replicas the trick fails, so five play it here.
#[test]
fn a_promise_of_a_lost_disk_is_not_counted_beside_the_votes_of_the_new_one() {
    let mut cell = Cell::new(5, 31, true);
    cell.now += Duration::from_millis(400);
    cell.campaign(C);
    cell.settle();
    cell.run(Duration::from_millis(50));
    assert_eq!(cell.role(C), Role::Leading);

    // B has a promise of A, and its Prepare to E is on the way. C leads on: it hears D and E again in time.
    cell.cut_off(C, [A, B, E]);
    beat(&mut cell, &[C, D], 13);
    cell.campaign(B);
    exchange(&mut cell, &[A, B, E]);
    assert_eq!(cell.role(B), Role::Preparing, "A and E grant the probe");
    let to_e = cell.kept.take().expect("B asks E for a promise");
    exchange(&mut cell, &[A, B]);
    let ballot = promised(&mut cell, B);
    assert_eq!(promised(&mut cell, A), ballot, "A promised B's ballot");
    cell.network.clear();

    // A's disk is lost. B hears nothing and says nothing from here on; C has the new disk take the place of the old one.
    cell.cut.clear();
    cell.cut_off(B, [A, C, D, E]);
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
    cell.cut_off(E, [A, C, D]);
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

/// As in the golden `late_promise`; but B's disk also lost two records and cannot say for which slots of a window and more.
/// What lies beyond what others promised is open, what lies within is not.
#[test]
fn who_serves_takes_up_no_old_vote_for_the_sake_of_slots_that_nobody_knows() {
    let mut cell = old_votes_of_b();
    cell.crash(B);
    cell.node(B).disk.unknown.push((Slot(6), Slot(6 + SLOT_WINDOW)));
    cell.restart(B);
    c_serves_without_b(&mut cell);
    cell.node(B).disk.held = false;
    cell.run(Duration::from_millis(3000));
    takes_up_nothing_old(&cell);
}

/// C has just removed A and hands over when B's votes tell, late, of what is older than what C's clients were told since.
#[test]
fn who_hands_over_in_a_change_does_not_take_up_an_old_reign_with_a_late_promise() {
    let mut cell = old_votes_of_b();
    c_serves_without_b(&mut cell);
    change(&mut cell, &MemberChange::Remove { replica: A });
    cell.with(C, |paxos, now, out| paxos.hand_over(now, Some(B), out));
    cell.settle();
    cell.node(B).disk.held = false;
    cell.run(Duration::from_millis(3000));
    takes_up_nothing_old(&cell);
}

/// B alone voted, in three slots, for what A proposed, and A has forgotten it.
fn old_votes_of_b() -> Cell {
    let mut cell = Cell::new(3, 7, true);
    cell.now += Duration::from_millis(400);
    cell.campaign(A);
    cell.settle();
    for text in ["old", "older", "oldest"] {
        cell.with(A, |paxos, now, out| paxos.propose(now, put(text), out));
    }
    while let Some(frame) = cell.network.pop_front() {
        if frame.to == B {
            cell.deliver(frame);
            cell.flush(B);
        }
    }
    cell.crash(A);
    cell.restart(A);
    cell
}

/// C leads by A's promise and its own: what B promises waits for its disk.
fn c_serves_without_b(cell: &mut Cell) {
    cell.node(B).disk.held = true;
    cell.now += Duration::from_millis(260);
    cell.campaign(C);
    cell.settle();
    assert!(cell.with(C, |paxos, _, _| paxos.is_leading()).expect("C runs"), "two of three promises are enough");
}

fn takes_up_nothing_old(cell: &Cell) {
    let taken_up = |line: &&String| line.starts_with("n3 -> ") && line.contains("put(old");
    let found = cell.transcript.iter().find(taken_up);
    assert_eq!(found, None, "only a reign that begins may go on with an old one's votes");
    assert!(leader(cell).is_some(), "and all go on");
}

/// B and C decide everything before the list that names A's disk is in force; C's hard state is slow, and until it names
/// the list no record of C's may say that its slot is chosen. B's disk is lost then, and A and C are all it takes.
#[test]
fn who_decided_under_the_old_list_knows_of_it_after_a_restart() {
    let mut cell = Cell::new(3, 7, true);
    cell.crash(A);
    cell.now += Duration::from_millis(400);
    cell.campaign(B);
    cell.settle();
    cell.restart(A);
    let incarnation = cell.node(A).incarnation;
    cell.with(B, |paxos, now, out| paxos.peer_up(now, A, incarnation, out));
    cell.cut_off(A, [B, C]);
    let slow_hard_state = |cell: &mut Cell| {
        while let Some(frame) = cell.network.pop_front() {
            cell.deliver(frame);
            cell.flush_some(C, false, usize::MAX);
            cell.flush(B);
        }
    };
    slow_hard_state(&mut cell);
    let list = cell.with(B, |paxos, _, _| paxos.configs().in_force_from()).expect("B runs");
    assert!(list > Slot(2) && cell.oracle.chosen.contains_key(&list.previous()), "all is decided of the list before");
    assert!(!cell.oracle.chosen.contains_key(&list), "nothing is under the next one: C would not know after a restart");
    cell.flush(C);
    slow_hard_state(&mut cell);
    assert!(cell.oracle.chosen.contains_key(&list), "now it would");

    cell.crash(B);
    cell.crash(C);
    cell.restart(C);
    cell.cut.clear();
    cell.run(Duration::from_millis(3000));
    assert!(leader(&cell).is_some(), "A and C are a majority of the new list");
}

/// All forget that the founding entry was chosen, but not the list in it; and one stays away. Whoever leads then hears a quorum,
/// and goes on until that entry is chosen again, however long it takes: a reign that ends at once leaves its votes in the logs
/// and nothing else.
#[test]
fn who_leads_a_cell_that_forgot_its_founding_goes_on_until_it_is_chosen_again() {
    let mut cell = Cell::new(3, 7, true);
    cell.run(Duration::from_millis(2000));
    for id in [A, B, C] {
        cell.crash(id);
        forget_chosen(&mut cell, id, Slot(0));
    }
    cell.restart(A);
    cell.restart(B);
    cell.lost = |message| matches!(message, Message::Accepted { .. });
    cell.run(Duration::from_millis(3000));
    let leads = [A, B].into_iter().find(|id| cell.role(*id) == Role::Leading).expect("A and B are a majority");
    let ballot = promised(&mut cell, leads);
    cell.run(Duration::from_millis(3000));
    assert_eq!(cell.role(leads), Role::Leading);
    assert_eq!(promised(&mut cell, leads), ballot, "nobody has a reason to end its reign");
    cell.lost = |_| false;
    cell.run(Duration::from_millis(1000));
    assert!(cell.with(leads, |paxos, _, _| paxos.chosen_upto()) > Some(Slot(0)));
}

/// C knows by its hard state of a list whose entry its log does not know to be chosen, so it may not lead; and who leads by now
/// joined later, so it does not hear him. It asks those whom it knows.
#[test]
fn who_may_not_lead_and_does_not_know_who_does_asks_the_others() {
    let mut cell = Cell::new(3, 7, true);
    cell.run(Duration::from_millis(2000));
    let add = |cell: &mut Cell| {
        let joined = cell.newcomer();
        cell.restart(joined);
        let incarnation = cell.node(joined).incarnation;
        change(cell, &MemberChange::Add { replica: joined, incarnation, addresses: None });
        cell.run(Duration::from_millis(2000));
        assert!(votes(cell, joined));
        joined
    };
    add(&mut cell);
    cell.crash(C);
    forget_chosen(&mut cell, C, Slot(1));
    cell.run(Duration::from_millis(1000));
    let joined = add(&mut cell);
    cell.with(leader(&cell).expect("somebody leads"), |paxos, now, out| paxos.hand_over(now, Some(joined), out));
    cell.run(Duration::from_millis(1000));
    assert_eq!(leader(&cell), Some(joined), "whom C does not know");
    cell.restart(C);
    cell.run(Duration::from_millis(10_000));
    let chosen = |cell: &mut Cell, id| cell.with(id, |paxos: &mut Paxos, _, _| paxos.chosen_upto());
    assert_eq!(chosen(&mut cell, C), chosen(&mut cell, joined), "it has caught up");
}

/// What was granted counts, not what is asked for now: an operator shortened the lease, and those who restart have another
/// leader's longer one outstanding.
#[test]
fn who_starts_waits_for_the_lease_it_granted() {
    let mut cell = Cell::new(3, 7, true);
    cell.run(Duration::from_millis(2000));
    let leads = leader(&cell).expect("somebody leads");
    for id in [A, B, C] {
        cell.crash(id);
        let state = cell.node(id).disk.hard_state.as_mut().expect("it granted a lease");
        state.lease_max = Duration::from_millis(3000);
    }
    let others: Vec<ReplicaId> = [A, B, C].into_iter().filter(|id| *id != leads).collect();
    others.iter().for_each(|id| cell.restart(*id));
    cell.run(Duration::from_millis(2900));
    assert_eq!(leader(&cell), None, "the one before may read under its lease");
    cell.run(Duration::from_millis(3000));
    assert!(leader(&cell).is_some(), "it is over");
}

/// What lies on its disk does not say any more that anything above `upto` is chosen.
fn forget_chosen(cell: &mut Cell, id: ReplicaId, upto: Slot) {
    for record in &mut cell.node(id).disk.records {
        record.chosen_upto = record.chosen_upto.min(upto);
    }
}

/// Whether A takes that removal.
fn removes(cell: &mut Cell, leaves: ReplicaId) -> bool {
    let remove = MemberChange::Remove { replica: leaves };
    cell.with(A, |paxos, now, out| paxos.change_members(now, &remove, out)).expect("it runs").is_ok()
}

/// Whether A can do without that one for good.
fn is_removed(cell: &mut Cell, left: ReplicaId) -> bool {
    let removed = cell.with(A, |paxos, _, _| {
        let configs = paxos.configs();
        configs.newest().member(left).is_none() && configs.is_settled(paxos.chosen_upto())
    });
    removed.expect("it runs")
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
    let leads = |node: &&Node| node.paxos.as_ref().is_some_and(Paxos::is_leading);
    cell.nodes.iter().find(leads).map(|node| node.id)
}

fn promised(cell: &mut Cell, id: ReplicaId) -> Ballot {
    cell.with(id, |paxos, _, _| paxos.ballot()).expect("it runs")
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
