//! What a new leader makes of disks that have lost values, or may never have had them whole: what it takes from elsewhere,
//! what it drops, and what it waits for, saying so.

use super::cell::{A, B, C, Cell, D, E, Node, put};
use quorate::limits::SLOT_WINDOW;
use quorate::paxos::{Ballot, MemberChange, Message, Paxos, ReplicaId, Slot, Told, Undecided, Value};
use quorate::time::Duration;

/// The power went in the middle of a write, on two of three disks.
#[test]
fn a_torn_vote_waits_for_who_is_missing_and_is_dropped_once_all_have_spoken() {
    let (mut cell, slot, ballot) = a_proposes(3);
    arrives_only_at(&mut cell, B);
    cell.crash_torn(A);
    cell.crash_torn(B);
    cell.crash(C);
    cell.restart(B);
    cell.restart(C);
    stands_for_election(&mut cell, C);
    assert!(promised(&cell, B, C, "maybe put(v)"), "B is not sure: {:#?}", cell.transcript);
    let undecided = undecided(&cell);
    assert_eq!(undecided.told, [(A, Told::Nothing), (B, Told::Maybe(ballot)), (C, Told::Never)]);
    assert_eq!(undecided.slot, slot);
    let words = format!("{undecided}; {}", undecided.mend());
    for said in ["replica 1 has not answered", "replica 2 may have accepted", "start replica 1 with its folder"] {
        assert!(words.contains(said), "{said}: {words}");
    }
    assert_eq!(cell.oracle.chosen.get(&slot), None, "A may hold it");

    cell.restart(A);
    cell.run(Duration::from_millis(3000));
    all_hold(&cell, &[A, B, C], slot, &Value::noop());
    assert!(cell.nodes.iter().all(|node| node.paxos.as_ref().is_some_and(|paxos| paxos.undecided().is_none())));
}

/// One copy is torn, the other one is whole: somebody may have been told of it.
#[test]
fn a_torn_vote_does_not_speak_against_a_whole_one() {
    let (mut cell, slot, ballot) = a_proposes(3);
    votes_alone(&mut cell, B);
    cell.crash_torn(A);
    cell.crash(B);
    cell.crash(C);
    cell.restart(A);
    cell.restart(C);
    stands_for_election(&mut cell, C);
    let undecided = undecided(&cell);
    assert_eq!(undecided.told, [(A, Told::Maybe(ballot)), (B, Told::Nothing), (C, Told::Never)]);
    cell.restart(B);
    cell.run(Duration::from_millis(3000));
    all_hold(&cell, &[A, B, C], slot, &put("v"));
}

/// Three of five must deny what one says that it voted for: any three that voted would have one of these among them.
#[test]
fn a_lost_vote_is_dropped_on_the_word_of_a_nack_quorum_and_of_no_fewer() {
    let (mut cell, slot, ballot) = a_proposes(5);
    cell.network.clear();
    cell.flush(A);
    for id in [A, B, C, D, E] {
        cell.crash(id);
    }
    cell.node(A).disk.lose_value(slot);
    for id in [A, B, C] {
        cell.restart(id);
    }
    stands_for_election(&mut cell, B);
    assert!(promised(&cell, A, B, "lost(put(v))"), "A has the name of it: {:#?}", cell.transcript);
    let undecided = undecided(&cell);
    let silent = [(D, Told::Nothing), (E, Told::Nothing)];
    assert_eq!(undecided.told[..3], [(A, Told::Lost(ballot)), (B, Told::Never), (C, Told::Never)]);
    assert_eq!(undecided.told[3..], silent);
    assert!(undecided.mend().contains("start replica 4, 5"), "{}", undecided.mend());
    assert_eq!(cell.oracle.chosen.get(&slot), None, "A, D and E may have chosen it");

    cell.restart(D);
    cell.run(Duration::from_millis(3000));
    all_hold(&cell, &[A, B, C, D], slot, &Value::noop());
}

/// C voted last, for what B voted for before it, and has lost it. A is away, so nobody can refute C's vote; B has the value.
#[test]
fn a_lost_value_is_fetched_from_who_voted_for_it_at_another_ballot() {
    let (mut cell, slot, first) = a_proposes(3);
    votes_alone(&mut cell, B);
    cell.crash(A);
    cell.lost = |message| matches!(message, Message::Accept { .. });
    cell.now += Duration::from_millis(400);
    cell.campaign(C);
    cell.settle();
    let second = ballot(&mut cell, C);
    let voted = cell.node(C).disk.records.iter().any(|record| (record.slot, record.ballot) == (slot, second));
    assert!(voted && second > first, "C alone voted again: {:#?}", cell.transcript);
    cell.crash(C);
    cell.node(C).disk.lose_value(slot);
    cell.network.clear();
    cell.lost = |_| false;

    cell.restart(C);
    cell.transcript.clear();
    stands_for_election(&mut cell, C);
    let fetched = format!("n3 -> n2 FetchAccepted {slot}@{first}");
    assert!(cell.transcript.contains(&fetched), "{fetched}: {:#?}", cell.transcript);
    all_hold(&cell, &[B, C], slot, &put("v"));
}

/// A and C chose nothing for the slot of B's older vote; then C lost it, and A is away. B's value is whole, and wrong.
#[test]
fn a_lost_vote_stands_against_an_older_whole_one() {
    let (mut cell, slot, first) = a_proposes(3);
    votes_alone(&mut cell, B);
    cell.crash(A);
    cell.crash(B);
    cell.restart(A);
    stands_for_election(&mut cell, C);
    let second = ballot(&mut cell, C);
    assert_eq!(cell.oracle.chosen.get(&slot), Some(&Value::noop()), "A and C know of nothing");
    cell.crash(A);
    cell.crash(C);
    // As if all that tells of it being chosen came later.
    for record in &mut cell.node(C).disk.records {
        record.chosen_upto = record.chosen_upto.min(slot.previous());
    }
    cell.node(C).disk.lose_value(slot);
    cell.restart(B);
    cell.restart(C);
    stands_for_election(&mut cell, C);
    assert_eq!(undecided(&cell).told, [(A, Told::Nothing), (B, Told::Have(first)), (C, Told::Lost(second))]);

    cell.restart(A);
    cell.run(Duration::from_millis(3000));
    all_hold(&cell, &[A, B, C], slot, &Value::noop());
}

/// D votes for nothing, and was told what A and B chose. A is gone, B has lost it, C never had it.
#[test]
fn a_lost_value_that_was_chosen_is_had_from_who_only_learns() {
    let mut cell = Cell::new(3, 7, true);
    cell.now += Duration::from_millis(400);
    cell.campaign(A);
    cell.settle();
    assert_eq!(cell.newcomer(), D);
    // Unheard by A, it never gets a vote; it learns what B and C know.
    cell.cut.push((D, A));
    cell.restart(D);
    let incarnation = cell.node(D).incarnation;
    let change = MemberChange::Add { replica: D, incarnation, addresses: None };
    cell.with(A, |paxos, now, out| paxos.change_members(now, &change, out)).expect("A runs").expect("it is taken");
    cell.run(Duration::from_millis(2000));
    cell.cut_off(C, [A, B, D]);
    let slot = cell.with(A, |paxos, now, out| paxos.propose(now, put("v"), out)).expect("A leads");
    cell.settle();
    assert_eq!(cell.oracle.chosen.get(&slot), Some(&put("v")), "A and B hold it");
    let (votes, upto) = cell.with(D, |paxos, _, _| (paxos.status().votes, paxos.chosen_upto())).expect("D runs");
    assert!(!votes && upto >= slot, "D knows of it and has no vote");

    cell.crash(A);
    cell.crash(B);
    cell.node(B).disk.lose_value(slot);
    cell.network.clear();
    cell.cut.clear();
    cell.restart(B);
    cell.run(Duration::from_millis(5000));
    all_hold(&cell, &[B, C, D], slot, &put("v"));
    let leads = |node: &Node| node.paxos.as_ref().is_some_and(Paxos::is_leading);
    assert!(cell.nodes.iter().any(leads), "and goes on");
}

/// B started without the image that it had gone on from: of very many slots it can say nothing, but that they are chosen.
#[test]
fn slots_without_end_of_which_nothing_is_known_are_neither_sent_nor_listed() {
    let (mut cell, slot, _) = a_proposes(3);
    cell.settle();
    cell.crash(A);
    cell.crash(B);
    cell.node(B).disk.unknown.push((slot.next(), slot.plus(200_000)));
    cell.restart(B);
    cell.now += Duration::from_millis(400);
    cell.campaign(C);
    cell.settle();
    let asked = |line: &String| line.starts_with("n3 -> n2 Prepare");
    assert!(cell.transcript.iter().any(asked), "{:#?}", cell.transcript);
    assert!(!promised(&cell, B, C, ""), "B has too much to tell C of, and tells it nothing");

    stands_for_election(&mut cell, B);
    let undecided = undecided(&cell);
    assert_eq!(undecided.slot, slot.next());
    assert_eq!(
        undecided.told,
        [(A, Told::Nothing), (B, Told::Unknown), (C, Told::Never)],
        "it is said what is missing"
    );
    let waiting = cell.with(B, |paxos, _, _| paxos.status().waiting).expect("B runs");
    assert!(waiting.first() == Some(&slot.next()) && waiting.len() as u64 <= SLOT_WINDOW, "{} wait", waiting.len());
}

/// A leads so many and has proposed `v`: nothing of it is flushed, and the Accepts are on the way. Where, and at which ballot.
fn a_proposes(replicas: u8) -> (Cell, Slot, Ballot) {
    let mut cell = Cell::new(replicas, 7, true);
    cell.now += Duration::from_millis(400);
    cell.campaign(A);
    cell.settle();
    let slot = cell.with(A, |paxos, now, out| paxos.propose(now, put("v"), out)).expect("A leads");
    let ballot = ballot(&mut cell, A);
    (cell, slot, ballot)
}

/// What is on the way to that one arrives, what is on the way to others is lost.
fn arrives_only_at(cell: &mut Cell, id: ReplicaId) {
    for frame in std::mem::take(&mut cell.network) {
        if frame.to == id {
            cell.deliver(frame);
        }
    }
}

/// That one alone of those who were asked votes, and its disk has it.
fn votes_alone(cell: &mut Cell, id: ReplicaId) {
    arrives_only_at(cell, id);
    cell.flush(id);
    cell.network.clear();
}

/// It asks for promises after whatever leases there were, and leads for a while.
fn stands_for_election(cell: &mut Cell, id: ReplicaId) {
    cell.now += Duration::from_millis(400);
    cell.campaign(id);
    cell.settle();
    cell.run(Duration::from_millis(500));
    assert_eq!(cell.role(id), quorate::paxos::Role::Leading, "{:#?}", cell.transcript);
}

/// What the one leader there is stands before.
fn undecided(cell: &Cell) -> Undecided {
    let mut stand = cell.nodes.iter().filter_map(|node| node.paxos.as_ref()?.undecided());
    let first = stand.next().unwrap_or_else(|| panic!("nobody waits: {:#?}", cell.transcript));
    assert_eq!(stand.next(), None, "one leads");
    first
}

/// Whether a promise of that one to that other one had these words in it.
fn promised(cell: &Cell, from: ReplicaId, to: ReplicaId, words: &str) -> bool {
    let begins = format!("n{from} -> n{to} Promise ");
    cell.transcript.iter().any(|line| line.starts_with(&begins) && line.contains(words))
}

fn all_hold(cell: &Cell, ids: &[ReplicaId], slot: Slot, value: &Value) {
    for node in cell.nodes.iter().filter(|node| ids.contains(&node.id)) {
        let held = node.applied.get(slot.0 as usize - 1);
        assert_eq!(held, Some(value), "n{} in {slot}: {:#?}", node.id, cell.transcript);
    }
}

fn ballot(cell: &mut Cell, id: ReplicaId) -> Ballot {
    cell.with(id, |paxos, _, _| paxos.ballot()).expect("it runs")
}
