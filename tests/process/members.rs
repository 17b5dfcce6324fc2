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
