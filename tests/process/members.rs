//! Members come and go: a lost disk is replaced, a replica is added on another address, one is removed.

use std::process::{Child, Output};

use quorate::client::{Addresses, ChangeAnswer, Incarnation, MemberChange, ReplicaId, members};
use rustix::process::Signal;
use serde_json::Value;

use super::cell::{Cell, PATIENCE, run};
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
    let cell = Cell::start(1, "");
    let leader = cell.address(cell.leader()).to_string();
    let before = members(&leader, None, None, super::cell::PATIENCE).expect("it answers").config_slot;
    for peer in ["nowhere", "a b:7401", &format!("{}:7401", "a".repeat(300))] {
        let addresses = Some(Addresses { peer: (*peer).into(), client: "four:7400".into() });
        let change = MemberChange::Add { replica: ReplicaId(4), incarnation: Incarnation(4), addresses };
        let told = members(&leader, Some(change), None, super::cell::PATIENCE).expect("it answers");
        let ChangeAnswer::Refused { again: false, text } = told.answer else { panic!("{peer}: {:?}", told.answer) };
        assert!(text.contains("is no address"), "{text}");
        assert_eq!(told.config_slot, before, "nothing is proposed");
    }
}

/// What `quorate member` makes of these arguments.
fn member(args: &[&str], endpoints: &str) -> Output {
    run(&[&["member"], args, &["--endpoints", endpoints]].concat())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the leader says of that replica in its list of members, if it has one.
fn listed(endpoints: &str, index: usize) -> Option<Value> {
    let shown = member(&["list", "--json"], endpoints);
    let list: Value = serde_json::from_slice(&shown.stdout).ok()?;
    list["members"].as_array()?.iter().find(|member| member["replica"] == index + 1).cloned()
}

/// Waits until the leader does not take that replica for alive.
fn wait_until_silent(cell: &Cell, endpoints: &str, index: usize) {
    cell.wait("a silent member", |_| listed(endpoints, index).filter(|member| member["answers"] == false));
}

/// Its vote comes when it answers, and not before: as long as it does not, the others are the majority that they were.
#[test]
fn a_replica_that_is_added_learns_first_and_votes_when_it_has_caught_up() {
    let mut cell = Cell::start(3, "");
    let endpoints = cell.endpoints();
    let load = Load::start(2, &endpoints, std::slice::from_ref(&endpoints));
    load.progress(50);
    let joined = cell.add_unlisted();
    cell.make_folder(joined);
    cell.restart(joined);
    let disk = cell.wait("the new disk to answer", |cell| cell.status(joined)).incarnation;
    cell.signal(joined, Signal::STOP);
    let (client, peer) = (cell.address(joined).to_string(), cell.peer_address(joined).to_string());
    let addresses = Some(Addresses { peer: peer.as_str().into(), client: client.as_str().into() });
    let change = MemberChange::Add { replica: ReplicaId(4), incarnation: disk, addresses };
    cell.wait("a leader that takes the change", |cell| {
        let leader = cell.address(cell.leader()).to_string();
        let told = members(&leader, Some(change.clone()), None, PATIENCE).ok()?;
        matches!(told.answer, ChangeAnswer::Changed { .. }).then_some(())
    });
    let learner = cell.wait("the new list", |_| listed(&endpoints, joined));
    assert_eq!((&learner["votes"], &learner["client"]), (&false.into(), &client.as_str().into()), "{learner}");
    // Of four voters two would be too few.
    let down = (cell.leader() + 1) % 3;
    cell.kill(down);
    load.progress(50);
    cell.restart(down);
    let learner = cell.wait("a leader's list", |_| listed(&endpoints, joined));
    assert_eq!((&learner["votes"], &learner["answers"]), (&false.into(), &false.into()), "{learner}");

    cell.signal(joined, Signal::CONT);
    let added = member(&["add", "4", "--client", &client, "--peer", &peer, "--patience", "60s"], &endpoints);
    assert!(added.status.success(), "{}{}", stderr(&added), cell.logs());
    assert!(String::from_utf8_lossy(&added.stdout).contains("replica 4 votes"), "{added:?}");
    cell.wait("a newcomer that knows of its vote", |cell| cell.status(joined).filter(|status| status.votes));
    load.progress(20);
    load.finish(&cell.endpoints());
    cell.wait_until_equal();
}

#[test]
fn a_dead_replica_is_replaced_by_one_at_another_address() {
    let mut cell = Cell::start(3, "");
    let load = Load::start(2, &cell.endpoints(), &[cell.endpoints()]);
    load.progress(50);
    let lost = (cell.leader() + 1) % 3;
    let others = (0..3).filter(|index| *index != lost).map(|index| cell.address(index).to_string());
    let others = others.collect::<Vec<_>>().join(",");
    cell.kill(lost);
    wait_until_silent(&cell, &others, lost);
    cell.move_away(lost);
    cell.make_folder(lost);
    let (number, client) = ((lost + 1).to_string(), cell.address(lost).to_string());
    let peer = cell.peer_address(lost).to_string();
    let args = ["replace", &number, "--client", &client, "--peer", &peer, "--patience", "60s"];
    let early = member(&args, &others);
    assert!(!early.status.success(), "nothing runs there that could be asked for its disk: {early:?}");
    cell.restart(lost);
    cell.wait("the new disk to answer", |cell| cell.status(lost));
    let replaced = member(&args, &others);
    assert!(replaced.status.success(), "{}{}", stderr(&replaced), cell.logs());
    let here = cell.wait("a leader's list", |_| listed(&others, lost));
    assert_eq!((&here["votes"], &here["client"]), (&true.into(), &client.as_str().into()), "{here}");

    // With another one down its vote is needed, and its log has everything.
    let leads = cell.leader();
    let down = (0..3).find(|index| *index != leads && *index != lost).expect("one of the old ones follows");
    cell.kill(down);
    load.progress(100);
    cell.restart(down);
    load.finish(&cell.endpoints());
    cell.wait_until_equal();
}

#[test]
fn a_removal_that_would_leave_no_live_majority_is_refused() {
    let mut cell = Cell::start(3, "");
    let leads = cell.leader();
    let (dead, follower) = ((leads + 1) % 3, (leads + 2) % 3);
    cell.kill(dead);
    let endpoints = cell.endpoints();
    wait_until_silent(&cell, &endpoints, dead);
    let refused = member(&["remove", &(follower + 1).to_string()], &endpoints);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("only 1 of the 2 voters"), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("bring more of them back first"), "{}", stderr(&refused));
    assert!(listed(&endpoints, follower).is_some_and(|member| member["votes"] == true), "it is a voter as before");
    let load = Load::start(1, &endpoints, std::slice::from_ref(&endpoints));
    load.progress(20);
    load.finish(&endpoints);
}

/// Nobody but the leader moves, so the first change stays under way. A leader waits long here for those that are silent.
#[test]
fn a_second_change_is_refused_while_the_first_is_under_way() {
    let cell = Cell::start(3, "[paxos]\nlease = \"2s\"\nelection_max = \"8s\"\n");
    let leads = cell.leader();
    let (one, other) = ((leads + 1) % 3, (leads + 2) % 3);
    let leader = cell.address(leads).to_string();
    for index in [one, other] {
        cell.signal(index, Signal::STOP);
    }
    let change = MemberChange::Add { replica: ReplicaId(4), incarnation: Incarnation(4), addresses: None };
    let told = members(&leader, Some(change), None, PATIENCE).expect("it answers");
    assert!(matches!(told.answer, ChangeAnswer::Changed { .. }), "{told:?}");
    let second = member(&["remove", &(one + 1).to_string(), "--timeout", "4s"], &leader);
    for index in [one, other] {
        cell.signal(index, Signal::CONT);
    }
    assert_eq!(second.status.code(), Some(3), "{}", stderr(&second));
    assert!(stderr(&second).contains("another change of the members is under way"), "{}", stderr(&second));
    cell.wait("a list that still has it", |_| listed(&leader, one));
}
