//! Handles behind access lists: who may open what, and what a handle of somebody else's lets one do.

use super::super::super::command::{Birth, Handle, HandleMode};
use super::*;

fn open(path: &str, mode: HandleMode, birth: Option<Birth>) -> Operation {
    Operation::Open { path: path.into(), mode, birth }
}

fn birth(must: bool) -> Option<Birth> {
    Some(Birth { data: Bytes::new(), lifetime: Lifetime::Transient, sequential: false, must, acl: None })
}

fn handle_of(done: Done) -> Handle {
    let Done::Opened { handle, .. } = done else { panic!("{done:?}") };
    handle
}

/// Every way to open `/p/n`, or to make `/p/new`: whose list is asked for which right.
pub(super) fn openings() -> Vec<(Operation, Whose, Rights, Refusal)> {
    let no_node = || Refusal::NoNode { path: PATH.into() };
    let mut openings = Vec::new();
    for (mode, right) in [
        (HandleMode::NONE, Rights::READ),
        (HandleMode::READ, Rights::READ),
        (HandleMode::WRITE, Rights::WRITE),
        (HandleMode::LOCK, Rights::LOCK),
        (HandleMode::ADMIN, Rights::ADMIN),
    ] {
        openings.push((open(PATH, mode, None), Whose::Node, right, no_node()));
        let taken = Refusal::NodeExists { path: PATH.into() };
        openings.push((open(PATH, mode, birth(false)), Whose::Node, right, taken));
    }
    let no_parent = || Refusal::NoParent { path: "/p".into() };
    openings.push((open(NEW, HandleMode::ALL, birth(false)), Whose::Parent, Rights::CREATE, no_parent()));
    openings.push((open(NEW, HandleMode::ALL, birth(true)), Whose::Parent, Rights::CREATE, no_parent()));
    openings
}

#[test]
fn who_opens_a_node_has_every_right_that_the_handle_stands_for() {
    for (mode, missing) in [
        (HandleMode::READ | HandleMode::LOCK, Rights::LOCK),
        (HandleMode::WRITE | HandleMode::ADMIN, Rights::WRITE),
        (HandleMode::ALL, Rights::WRITE),
    ] {
        let (mut cell, client, _) = stage("user", Whose::Node, Rights::READ.or(Rights::ADMIN));
        let refused = Refusal::NotAuthorized { path: PATH.into(), needed: missing };
        assert_eq!(cell.ask(client, open(PATH, mode, None)), Err(refused));
        cell.done(client, open(PATH, HandleMode::READ | HandleMode::ADMIN, None));
    }
    let mut cell = Cell::new();
    let (owner, bob) = (cell.client(None, &["owner"]), cell.client(None, &["bob"]));
    cell.done(owner, create("/p"));
    let rights = Rights::READ.or(Rights::CREATE);
    let inherited = list(&[(Who::User(user("owner")), Rights::ALL), (Who::World, rights)]).inherited();
    cell.done(owner, set_acl("/p", Some(inherited)));
    let refused = Refusal::NotAuthorized { path: NEW.into(), needed: Rights::WRITE };
    assert_eq!(cell.ask(bob, open(NEW, HandleMode::READ | HandleMode::WRITE, birth(true))), Err(refused));
    cell.done(bob, open(NEW, HandleMode::READ, birth(true)));
}

/// Whether an operation on the node itself is what its handle was opened for.
fn is_of_the_node(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Set { .. }
            | Operation::SetQuota { .. }
            | Operation::SetAcl { .. }
            | Operation::Acquire { create: false, .. }
            | Operation::Release { .. }
    )
}

#[test]
fn what_goes_through_a_handle_is_judged_by_it_and_nodes_below_and_ends_by_the_lists() {
    let (mut by_handle, mut by_list) = (0, 0);
    for (operation, whose, needed, _) in operations() {
        let is_about = |path: &str| format!("{operation:?}").contains(&format!("path: \"{path}\""));
        for (named, rights) in NAMED.iter().flat_map(|named| some_rights().map(move |rights| (*named, rights))) {
            let (mut cell, client, _) = stage(named, whose, rights);
            let root = cell.client(None, &["root"]);
            let top = if is_about(PATH) && !matches!(operation, Operation::Open { .. }) { PATH } else { "/p" };
            let handle = handle_of(cell.done(root, open(top, HandleMode::ALL, None)));
            let through = Operation::Through { handle, operation: Box::new(operation.clone()) };
            let before = cell.namespace.tree().digest();
            let found = cell.ask(client, through);
            let story = format!("{operation:?} as {named} with {rights} at the {whose:?}'s: {found:?}");
            let granted = named == "super" || named != "nobody" && rights.has_any(needed);
            if is_of_the_node(&operation) {
                by_handle += 1;
                let not_held = matches!(found, Err(Refusal::LockNotHeld { .. }));
                assert!(found.is_ok() || not_held && matches!(operation, Operation::Release { .. }), "{story}");
            } else if !matches!(operation, Operation::Acquire { .. }) {
                by_list += 1;
                assert_eq!(found.is_ok(), granted, "{story}");
                assert!(granted || cell.namespace.tree().digest() == before, "{story}");
            }
        }
    }
    assert!(by_handle > 400 && by_list > 1_000, "{by_handle} by handles, {by_list} by lists");
}

#[test]
fn a_handle_shown_to_a_stranger_tells_of_its_node_and_of_nothing_hidden_below_it() {
    let [(mut cell, owner, stranger), _] = two_worlds();
    let handle = handle_of(cell.done(owner, open("/p", HandleMode::READ, None)));
    let (handle, after, limit) = (handle.as_ref(), "", 0);
    let names = |client| names_of(&cell.read(client, ReadRef::HandleEntries { handle, after, limit }));
    assert_eq!((names(stranger), names(owner)), (vec!["seen".to_owned()], vec!["h".to_owned(), "seen".to_owned()]));

    let hidden = handle_of(cell.done(owner, open("/p/h", HandleMode::READ, None)));
    let hidden = hidden.as_ref();
    assert!(cell.read(stranger, ReadRef::HandleGet { handle: hidden }).is_ok(), "it was shown to it");
    let names = names_of(&cell.read(stranger, ReadRef::HandleEntries { handle: hidden, after, limit }));
    assert!(names.is_empty(), "{names:?}: what is below has a list of its own");
    let wider = super::super::super::codec::HandleRef { mode: HandleMode::ALL, ..hidden };
    let forged = Err(Refusal::HandleForged { path: "/p/h".into() });
    assert_eq!(cell.read(stranger, ReadRef::HandleGet { handle: wider }), forged);
}
