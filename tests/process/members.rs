//! Members come and go: a lost disk is replaced, a replica is added on another address, one is removed.

use std::process::Child;

use super::cell::{Cell, run};
use super::load::Load;

#[test]
fn a_lost_disk_is_replaced_and_then_another_replica_may_fail() {
    let mut cell = Cell::start(3, "");
    let load = Load::start(3, &cell.endpoints(), &[cell.endpoints()]);
    load.progress(50);
    let lost = (cell.leader() + 1) % 3;
    cell.kill(lost);
    cell.remove_folder(lost);
    load.progress(50);

    let recovering = cell.recover(lost);
    cell.wait("a new folder", |cell| cell.folder(lost).join("hard-state").exists().then_some(()));
    cell.restart(lost);
    let said = finish(&cell, recovering);
    assert!(said.contains("votes"), "{said}");
    assert!(cell.status(lost).is_some_and(|status| status.votes), "it votes now");

    let other = (cell.leader() + 1) % 3;
    let killed = if other == lost { (other + 1) % 3 } else { other };
    cell.kill(killed);
    load.progress(200);
    cell.restart(killed);
    load.finish(&cell.endpoints());
    cell.wait_until_equal();
}

#[test]
fn a_replica_that_lives_is_not_replaced_and_a_formatted_folder_is_not_taken() {
    let cell = Cell::start(3, "");
    let spare = cell.folder(0).with_file_name("spare");
    let config = super::cell::path(cell.config());
    let refused = run(&["recover", "--replica", "1", "--config", config, super::cell::path(&spare)]);
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("replica 1 is alive"));
    assert!(!spare.exists(), "nothing was made");
    let taken = run(&["recover", "--replica", "1", "--config", config, super::cell::path(cell.folder(1))]);
    assert_eq!(taken.status.code(), Some(1), "{}", String::from_utf8_lossy(&taken.stderr));
}

/// What a command said on its standard output, once it has done what it was asked.
fn finish(cell: &Cell, child: Child) -> String {
    let output = child.wait_with_output().expect("it can be waited for");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}{}", cell.logs());
    said.into_owned()
}

#[test]
fn a_fourth_replica_joins_elsewhere_and_the_leader_is_removed() {
    let mut cell = Cell::start(3, "");
    let load = Load::start(2, &cell.endpoints(), &[cell.endpoints()]);
    load.progress(20);
    let joined = cell.add_unlisted();
    let recovering = cell.recover(joined);
    cell.wait("a new folder", |cell| cell.folder(joined).join("hard-state").exists().then_some(()));
    cell.restart(joined);
    let said = finish(&cell, recovering);
    assert!(said.contains("votes"), "{said}");

    let leader = cell.leader();
    let number = (leader + 1).to_string();
    let endpoints = cell.endpoints();
    let removed = run(&["member", "remove", &number, "--endpoints", &endpoints]);
    assert!(removed.status.success(), "{}{}", String::from_utf8_lossy(&removed.stderr), cell.logs());
    assert_eq!(cell.wait_for_end(leader), Some(44), "a removed replica ends by itself");
    load.progress(100);

    // Of the three that are left the newcomer is one: with another one down its vote is needed.
    let leads = cell.leader();
    let down = (0..3).find(|index| *index != leader && *index != leads).expect("two of the old ones are left");
    cell.kill(down);
    load.progress(100);
    cell.restart(down);
    load.finish(&cell.endpoints());
}

/// The cell forgets a replica while that one is away; it is told when it comes back.
#[test]
fn a_replica_that_was_removed_while_it_was_away_ends_when_it_is_started() {
    let mut cell = Cell::start(3, "");
    let away = (cell.leader() + 1) % 3;
    cell.kill(away);
    let number = (away + 1).to_string();
    let endpoints = cell.endpoints();
    for _ in 0..2 {
        let removed = run(&["member", "remove", &number, "--endpoints", &endpoints]);
        assert!(removed.status.success(), "asked again it is done: {}", String::from_utf8_lossy(&removed.stderr));
    }
    cell.restart(away);
    assert_eq!(cell.wait_for_end(away), Some(44), "{}", cell.logs());
    (0..3).filter(|index| *index != away).for_each(|index| assert!(cell.status(index).is_some_and(|s| s.votes)));
}

#[test]
fn a_disk_made_to_found_a_cell_has_no_place_in_one_that_runs() {
    let mut cell = Cell::start(3, "");
    let lost = (cell.leader() + 1) % 3;
    cell.kill(lost);
    cell.remove_folder(lost);
    cell.format(lost);
    let number = (lost + 1).to_string();
    let config = super::cell::path(cell.config()).to_owned();
    let folder = super::cell::path(cell.folder(lost)).to_owned();
    let taken = run(&["recover", "--no-ask", "--replica", &number, "--config", &config, &folder]);
    let words = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert_eq!(taken.status.code(), Some(30), "{words}");
    assert!(words.contains("to found a cell"), "{words}");
    cell.restart(lost);
    assert_eq!(cell.wait_for_end(lost), Some(44), "{}", cell.logs());
    let load = Load::start(1, &cell.endpoints(), &[cell.endpoints()]);
    load.progress(20);
    load.finish(&cell.endpoints());
}

#[test]
fn addresses_that_nobody_can_use_stay_out_of_the_log() {
    use quorate::client::{Addresses, ChangeAnswer, Incarnation, MemberChange, ReplicaId, members};
    let cell = Cell::start(1, "");
    let leader = cell.address(cell.leader()).to_string();
    let before = members(&leader, None, super::cell::PATIENCE).expect("it answers").config_slot;
    for peer in ["nowhere", "a b:7401", &format!("{}:7401", "a".repeat(300))] {
        let addresses = Some(Addresses { peer: (*peer).into(), client: "four:7400".into() });
        let change = MemberChange::Add { replica: ReplicaId(4), incarnation: Incarnation(4), addresses };
        let told = members(&leader, Some(change), super::cell::PATIENCE).expect("it answers");
        let ChangeAnswer::Refused { again: false, text } = told.answer else { panic!("{peer}: {:?}", told.answer) };
        assert!(text.contains("is no address"), "{text}");
        assert_eq!(told.config_slot, before, "nothing is proposed");
    }
}
