//! Nothing tells a node that is hidden from one that is not there: whatever is wrong with a command besides, and whatever it
//! goes through.

use super::super::super::command::{Birth, Handle, Quota, Step};
use super::*;
use crate::limits::{ACL_ENTRIES_MAX, HIDDEN_NODES_PASSED_MAX};
use crate::namespace::{Hidden, answer_from};

const SECRET: &str = "/s";

/// A cell whose `/s` and `/p/n` a stranger has no right to, or which has neither; `/p` the stranger may read.
fn cell_with_a_stranger(has_hidden: bool) -> (Cell, Client) {
    let mut cell = Cell::new();
    let (owner, stranger) = (cell.client(None, &["owner"]), cell.client(None, &[]));
    let own = list(&[(Who::User(user("owner")), Rights::ALL)]);
    let readable = list(&[(Who::User(user("owner")), Rights::ALL), (Who::World, Rights::READ)]);
    cell.done(owner, create("/p"));
    cell.done(owner, set_acl("/p", Some(readable)));
    for path in [SECRET, PATH].into_iter().filter(|_| has_hidden) {
        cell.done(owner, create(path));
        cell.done(owner, set_acl(path, Some(own.clone())));
    }
    (cell, stranger)
}

/// What a stranger might try to find out whether `/s` or `/p/n` is there.
fn probes() -> Vec<Operation> {
    let mut probes = Vec::new();
    let nobody = || Acl::default();
    let lifetimes = [Lifetime::Permanent, Lifetime::Ephemeral, Lifetime::Transient, Lifetime::Ttl { ms: 0 }];
    for path in ["/s", "/s/x", "/s/\u{7}", "/s/", "/p/n", "/p/n/x", "/p/n/\u{7}"].map(str::to_owned) {
        let data = Bytes::new;
        // The root is open to all.
        let forms = lifetimes.into_iter().flat_map(|one| [(one, false), (one, true)]).filter(|_| path != SECRET);
        for (lifetime, sequential) in forms {
            probes.push(Operation::Create { path: path.clone(), data: data(), lifetime, sequential });
            probes.push(Operation::CreateLog { path: path.clone(), lifetime, sequential });
            probes.push(Operation::CreateWithAcl {
                path: path.clone(),
                data: data(),
                lifetime,
                sequential,
                acl: nobody(),
            });
            for (must, acl) in [(false, None), (true, None), (false, Some(nobody()))] {
                let birth = Some(Birth { data: data(), lifetime, sequential, must, acl });
                probes.push(Operation::Open { path: path.clone(), mode: HandleMode::READ, birth });
            }
        }
        for lock_delay_ms in [0, u32::MAX] {
            for create in [false, true].into_iter().filter(|create| !create || path != SECRET) {
                let (path, mode) = (path.clone(), LockMode::Exclusive);
                probes.push(Operation::Acquire { path, mode, wait: false, create, lock_delay_ms });
            }
        }
        probes.push(Operation::Release { path: path.clone() });
        for expect in [Expect::Any, Expect::Version(9), Expect::Absent] {
            probes.push(set(&path, b"x", expect));
            probes.push(Operation::SetAcl { path: path.clone(), acl: Some(nobody()), expect });
            if path != SECRET {
                probes.push(delete(&path, expect));
                probes.push(delete_tree(&path, expect));
            }
        }
        probes.push(Operation::SetQuota { path: path.clone(), quota: Some(Quota::default()) });
        probes.push(Operation::Open { path, mode: HandleMode::ALL, birth: None });
    }
    probes
}

/// A handle that no cell made, on all that is there.
fn made_up() -> Handle {
    let (session, mode) = (SessionId(1), HandleMode::ALL);
    Handle { path: "/".into(), instance: 0, session, opened: 1, reign: 1, mode, digits: 1 }
}

fn step_of(operation: &Operation) -> Option<Step> {
    Some(match operation.clone() {
        Operation::Create { path, data, lifetime, sequential } => Step::Create { path, data, lifetime, sequential },
        Operation::CreateWithAcl { path, data, lifetime, sequential, acl } => {
            Step::CreateWithAcl { path, data, lifetime, sequential, acl }
        }
        Operation::Set { path, data, expect } => Step::Set { path, data, expect },
        Operation::SetAcl { path, acl, expect } => Step::SetAcl { path, acl, expect },
        Operation::Delete { path, expect } => Step::Delete { path, expect },
        _ => return None,
    })
}

#[test]
fn no_refusal_tells_a_hidden_node_from_none() {
    let ((mut with, stranger), (mut without, other)) = (cell_with_a_stranger(true), cell_with_a_stranger(false));
    let mut probes = probes();
    let through = probes.iter().filter(|probe| !matches!(probe, Operation::Release { .. })).cloned();
    let through: Vec<_> =
        through.map(|operation| Operation::Through { handle: made_up(), operation: Box::new(operation) }).collect();
    let steps: Vec<_> = probes.iter().filter_map(step_of).map(|step| Operation::Multi { steps: vec![step] }).collect();
    probes.extend(through.into_iter().chain(steps));
    for probe in probes {
        let (hidden, absent) = (with.ask(stranger, probe.clone()), without.ask(other, probe.clone()));
        assert!(hidden.is_err(), "{probe:?}: nothing is done to what is hidden");
        assert_eq!(hidden, absent, "{probe:?}");
    }
}

#[test]
fn an_opening_that_makes_its_node_gives_it_the_list() {
    let mut cell = Cell::new();
    let (owner, bob) = (cell.client(None, &["owner"]), cell.client(None, &["bob"]));
    cell.done(owner, create("/p"));
    let open = |acl: Acl, mode| {
        let birth =
            Birth { data: Bytes::new(), lifetime: Lifetime::Transient, sequential: false, must: false, acl: Some(acl) };
        Operation::Open { path: NEW.into(), mode, birth: Some(birth) }
    };
    let (own, readers) = (list(&[(Who::Auth, Rights::ALL)]), list(&[(Who::World, Rights::READ)]));
    let refused = Refusal::NotAuthorized { path: NEW.into(), needed: Rights::WRITE };
    assert_eq!(
        cell.ask(bob, open(readers, HandleMode::ALL)),
        Err(refused),
        "who makes it has its rights by the list alone"
    );
    assert!(matches!(cell.ask(bob, open(Acl::default(), HandleMode::ALL)), Err(Refusal::BadArgument { .. })));
    assert!(matches!(cell.done(owner, open(own.clone(), HandleMode::ALL)), Done::Opened { created: true, .. }));
    let stored = own.settled(&cell.who(owner)).expect("the owner is somebody");
    let read = ReadRef::Acl { path: NEW };
    assert!(matches!(cell.read(owner, read), Ok(Answer::Acl { acl: Some(acl), .. }) if acl == stored));
    assert_eq!(cell.read(bob, ReadRef::Get { path: NEW }), Err(Refusal::NoNode { path: NEW.into() }));
    // A list is for what is made: of one that is there it says nothing.
    let again = open(list(&[(Who::World, Rights::ALL)]), HandleMode::READ);
    assert!(matches!(cell.done(owner, again.clone()), Done::Opened { created: false, .. }));
    assert_eq!(cell.ask(bob, again), Err(Refusal::NodeExists { path: NEW.into() }));
}

/// Each of thousands of children has a list of dozens of groups, each with as many lines as count. To read them again for
/// every child would keep a front from its work for a minute.
#[test]
fn groups_are_read_once_for_all_that_a_listing_comes_upon() {
    let mut cell = Cell::new();
    let (owner, bob) = (cell.client(None, &["owner"]), cell.client(None, &["bob"]));
    cell.done(owner, create("/acl"));
    cell.done(owner, create("/p"));
    let lines: String = (0..ACL_GROUP_LINES_MAX).map(|n| format!("{}\n", user(&format!("user-{n}")))).collect();
    let mut entries = vec![(Who::User(user("owner")), Rights::ALL)];
    for path in (1..ACL_ENTRIES_MAX).map(|n| format!("/acl/g{n}")) {
        cell.done(owner, create(&path));
        cell.done(owner, set(&path, lines.as_bytes(), Expect::Any));
        entries.push((Who::Group { path }, Rights::READ));
    }
    cell.done(owner, set_acl("/p", Some(list(&entries).inherited())));
    let names: Vec<_> = (0..4000).map(|n| format!("/p/{n}")).collect();
    cell.done(owner, multi(names.iter().map(|path| step_create(path)).collect()));
    cell.done(owner, set_acl("/p", None));
    let list = ReadRef::List { path: "/p", after: "", limit: 0 };
    assert!(matches!(cell.read(bob, list), Ok(Answer::Children { names, more: false, .. }) if names.is_empty()));
    let list = ReadRef::Entries { path: "/p", after: "", limit: 9 };
    assert!(matches!(cell.read(owner, list), Ok(Answer::Entries { entries, .. }) if entries.len() == 9));
}

#[test]
fn a_page_passes_over_what_is_hidden_in_parts() {
    let mut cell = Cell::new();
    let (owner, stranger) = (cell.client(None, &["owner"]), cell.client(None, &[]));
    cell.done(owner, create("/l"));
    cell.done(owner, create("/l/a"));
    cell.done(owner, create("/l/z"));
    let hidden = list(&[(Who::Auth, Rights::ALL)]);
    let (data, lifetime) = (Bytes::new(), Lifetime::Permanent);
    let paths = (0..=HIDDEN_NODES_PASSED_MAX).map(|n| format!("/l/h{n:06}")).collect::<Vec<_>>();
    for some in paths.chunks(4000) {
        let steps = some.iter().map(|path| Step::CreateWithAcl {
            path: path.clone(),
            data: data.clone(),
            lifetime,
            sequential: false,
            acl: hidden.clone(),
        });
        cell.done(owner, multi(steps.collect()));
    }
    let page = |cell: &Cell, after: &str| cell.read(stranger, ReadRef::List { path: "/l", after, limit: 0 });
    assert!(matches!(page(&cell, ""), Ok(Answer::Children { names, more: true, .. }) if names == ["a"]));
    assert!(matches!(page(&cell, "a"), Ok(Answer::Children { names, more: false, .. }) if names == ["z"]));
    let who = cell.who(stranger);
    let part = |cell: &Cell, read, from: Option<&Hidden>| {
        let found = answer_from(&Gate::new(cell.namespace.tree(), &who), read, from)?;
        Ok::<_, Hidden>(found.map(Answer::into_owned))
    };
    let reads = [
        ReadRef::List { path: "/l", after: "a", limit: 1 },
        ReadRef::Entries { path: "/l", after: "a", limit: 1 },
        ReadRef::Scan { path: "/l", after: "/l/a", limit: 1, with_data: false },
    ];
    let hidden = reads.map(|read| part(&cell, read, None).expect_err("one go passes over no more than so many"));
    // What a page is to go on behind may be gone by then, with some before and after it.
    for path in &paths[HIDDEN_NODES_PASSED_MAX - 3..] {
        cell.done(owner, delete(path, Expect::Any));
    }
    for (read, from) in reads.into_iter().zip(&hidden) {
        let found = part(&cell, read, Some(from)).expect("the rest is little").expect("it may be read");
        let found = match found {
            Answer::Children { names, more, .. } => (names.join(" "), more),
            Answer::Entries { entries, more, .. } => (entries[0].0.clone(), more),
            Answer::Scanned { nodes, more } => (nodes[0].path.clone(), more),
            other => panic!("{other:?} is no page"),
        };
        assert!([("z".to_owned(), false), ("/l/z".to_owned(), false)].contains(&found), "{read:?}: {found:?}");
    }
}

#[test]
fn who_may_delete_a_node_and_not_know_it_is_not_told_its_version() {
    for rights in some_rights() {
        let mut cell = Cell::new();
        let (root, alice) = (cell.client(None, &["root"]), cell.client(None, &["alice"]));
        cell.done(root, create("/d"));
        cell.done(root, create("/d/n"));
        cell.done(root, set("/d/n", b"again", Expect::Any));
        if rights != Rights::NONE {
            cell.done(root, set_acl("/d/n", Some(list(&[(Who::User(user("alice")), rights)]))));
        } else {
            cell.done(root, set_acl("/d/n", Some(list(&[(Who::User(user("bob")), Rights::ALL)]))));
        }
        let path = || "/d/n".to_owned();
        let forms = [
            delete("/d/n", Expect::Version(7)),
            multi(vec![Step::Delete { path: path(), expect: Expect::Version(7) }]),
            Operation::DeleteTree { path: path(), expect: Expect::Version(7), part: 10 },
        ];
        let knows = rights.has_any(Rights::READ.or(Rights::WRITE).or(Rights::ADMIN));
        let bad = Refusal::BadVersion { path: path(), expected: 7, found: 1 };
        let untold = Refusal::NotAuthorized { path: path(), needed: Rights::READ };
        for form in forms {
            let found = match cell.ask(alice, form.clone()) {
                Err(Refusal::Aborted { cause, .. }) => *cause,
                Err(refusal) => refusal,
                Ok(done) => panic!("{done:?}: it has another version"),
            };
            assert_eq!(found, if knows { bad.clone() } else { untold.clone() }, "{form:?} with {rights}");
        }
        cell.done(alice, delete("/d/n", Expect::Version(1)));
    }
}

#[test]
fn who_holds_a_lock_gives_it_back_whatever_its_list_says_and_learns_nothing_else() {
    let needed = Rights::READ.or(Rights::LOCK);
    for is_known in [false, true] {
        let mut cell = Cell::new();
        let [owner, bob, carol] = ["owner", "bob", "carol"].map(|name| cell.client(None, &[name]));
        let (mode, wait, create, lock_delay_ms) = (LockMode::Exclusive, true, true, 0);
        let acquire = |path: &str| Operation::Acquire { path: path.into(), mode, wait, create, lock_delay_ms };
        let release = |path: &str| Operation::Release { path: path.into() };
        let guarded = |sequencer: &Sequencer, operation| Operation::Guarded {
            sequencer: sequencer.clone(),
            operation: Box::new(operation),
        };
        let Done::Granted { sequencer: held } = cell.done(bob, acquire(SECRET)) else { panic!("it is free") };
        assert!(matches!(cell.done(bob, acquire("/other")), Done::Granted { .. }));
        assert_eq!(cell.done(carol, acquire(SECRET)), Done::Queued);
        let owners = (Who::User(user("owner")), Rights::ALL);
        let writers = (Who::World, Rights::WRITE);
        let acl = if is_known { list(&[owners, writers]) } else { list(&[owners]) };
        cell.done(owner, set_acl(SECRET, Some(acl)));

        let path = || SECRET.to_owned();
        let refused = || {
            let hidden = Refusal::Fenced { path: path(), presented: held.generation, current: 0 };
            Err(if is_known { Refusal::NotAuthorized { path: path(), needed } } else { hidden })
        };
        for operation in [Operation::Sync, set(SECRET, b"x", Expect::Any), release("/other"), acquire(SECRET)] {
            assert_eq!(
                cell.ask(bob, guarded(&held, operation.clone())),
                refused(),
                "{operation:?} is no release of it"
            );
        }
        assert_eq!(cell.ask(carol, guarded(&held, release(SECRET))), refused(), "who waits has not got that sequencer");
        let guess = Sequencer { generation: held.generation - 1, ..held.clone() };
        let told = cell.ask(bob, guarded(&guess, release(SECRET)));
        let nothing = Refusal::Fenced { path: path(), presented: guess.generation, current: 0 };
        let hidden = if is_known { refused() } else { Err(nothing) };
        assert_eq!(told, hidden, "who holds a lock and does not know since when is not told either");

        assert_eq!(cell.done(bob, guarded(&held, release(SECRET))), Done::Released);
        let (waited, node) = (cell.sessions[carol].0, cell.namespace.tree().get(SECRET).expect("it is there"));
        assert!(node.lock.as_ref().is_some_and(|lock| lock.holders().eq([waited])), "it went to the next");
        assert_eq!(cell.ask(bob, guarded(&held, release(SECRET))), refused(), "it is his no more");
    }
}
