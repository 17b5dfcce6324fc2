//! How a replica that lags gets what it missed: in few questions, and at a pace that leaves the writers theirs.

use super::cell::{A, B, C, Cell, put};
use quorate::limits::CATCH_UP_BYTES_MAX;
use quorate::paxos::{Role, Slot};
use quorate::time::Duration;

const BULK_BYTES: usize = 64 << 10;

/// So many bytes come at once, whatever the pace; and so many in a millisecond.
const BURST_BYTES: usize = 1_000_000;
const BYTES_PER_MS: usize = 62_500;

/// A leads, and C was cut off while so many values of so many bytes were chosen.
fn c_lacks(values: usize, bytes: usize) -> Cell {
    let mut cell = Cell::new(3, 7, true);
    cell.quiet = true;
    cell.now += Duration::from_millis(400);
    cell.campaign(A);
    cell.settle();
    cell.cut_off(C, [A, B]);
    let text = "v".repeat(bytes);
    for _ in 0..values {
        cell.with(A, |paxos, now, out| paxos.propose(now, put(&text), out)).expect("A leads");
        cell.settle();
    }
    cell.cut.clear();
    cell
}

fn applied(cell: &Cell, index: usize) -> usize {
    cell.nodes[index].applied.len()
}

#[test]
fn all_of_an_answer_is_taken_and_nothing_asked_for_twice() {
    let mut cell = c_lacks(200, 10);
    let upto = Slot(applied(&cell, 0) as u64);
    cell.quiet = false;
    cell.run(Duration::from_millis(100));
    let chosen_upto = cell.with(C, |paxos, _, _| paxos.chosen_upto());
    assert!(chosen_upto >= Some(upto), "C has caught up: {chosen_upto:?} of {upto:?}");
    let (mut asked, mut asked_from, mut came_upto) = (0, 0, 0);
    for line in &cell.transcript {
        if let Some(range) = line.strip_prefix("n3 -> n1 CatchUp ") {
            let (from, _) = range.split_once("..").expect("a range");
            let from: usize = from.parse().expect("a slot");
            assert!(from > asked_from, "asked for from {asked_from} on, and again: {line}");
            assert!(from > came_upto, "all up to {came_upto} had come: {line}");
            (asked, asked_from) = (asked + 1, from);
        } else if let Some(answer) = line.strip_prefix("n1 -> n3 Chosen from=") {
            let (first, values) = answer.split_once(' ').expect("a slot, and values");
            let first: usize = first.parse().expect("a slot");
            came_upto = came_upto.max(first + values.matches("put(").count() - 1);
        }
    }
    assert!(came_upto > 0, "what C lacked came as an answer");
    assert!((1..=3).contains(&asked), "what is read from the disk, what is in memory, and what came since: {asked}");
}

#[test]
fn a_follower_far_behind_takes_no_more_than_its_share() {
    let mut cell = c_lacks(100, BULK_BYTES);
    let (had, all) = (applied(&cell, 2), applied(&cell, 0));
    cell.run(Duration::from_millis(30));
    let got = (applied(&cell, 2) - had) * BULK_BYTES;
    let share = BURST_BYTES + 30 * BYTES_PER_MS + CATCH_UP_BYTES_MAX;
    assert!(got > 0 && got <= share, "{got} bytes in 30 ms, {share} are its share");
    cell.run(Duration::from_millis(1000));
    assert!(applied(&cell, 2) >= all, "{} of {all}", applied(&cell, 2));
    assert_eq!(cell.role(C), Role::Follower, "and the reign goes on");
}

#[test]
fn a_candidate_far_behind_makes_haste() {
    let mut cell = c_lacks(100, BULK_BYTES);
    cell.crash(A);
    cell.now += Duration::from_millis(400);
    cell.campaign(C);
    // No time passes.
    cell.settle();
    assert_eq!(cell.role(C), Role::Leading, "{} of {}", applied(&cell, 2), applied(&cell, 1));
}
