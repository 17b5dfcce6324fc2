//! Kept answers behind access lists: whatever command changes what somebody may be told asks back what that one may keep of it,
//! whoever it is, whichever words of a list mean it, and whichever way the command goes.

use core::net::IpAddr;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::super::grants::Grants;
use super::super::touch::Touch;
use super::{S, answers};
use crate::namespace::acl::{Acl, AclEntry, Principals, Rights, User, Who};
use crate::namespace::codec::{CommandRef, decode_outcome};
use crate::namespace::command::{
    Command, Done, Expect, Handle, HandleMode, Lifetime, LockMode, Operation, Sequencer, SessionId, Step,
};
use crate::namespace::tests::batch;
use crate::namespace::{Applied, CommandOutcome, Namespace};

const TEAM: &str = "/acl/team";
const NODE: &str = "/p/n";
const NEW: &str = "/p/new";
const PATHS: [&str; 6] = ["/", "/p", NODE, NEW, "/acl", TEAM];

fn user(name: &str) -> User {
    User::new(name, "secret")
}

/// Those who keep answers: nobody in particular, a user, one at an address, the member of a group, and who may do everything.
fn readers() -> [Principals; 5] {
    let proved = |name, is_super| Principals { users: vec![user(name)], is_super, ..Principals::default() };
    let near = Principals::at(Some(IpAddr::from([10, 1, 2, 3])));
    [Principals::default(), proved("alice", false), near, proved("carol", false), proved("root", true)]
}

/// Words of a list that mean some of them.
fn words() -> [Who; 4] {
    let near = Who::Network { address: IpAddr::from([10, 1, 0, 0]), bits: 16 };
    [Who::World, Who::User(user("alice")), near, Who::Group { path: TEAM.into() }]
}

/// A namespace each of whose commands is looked at; its clients may do everything.
struct Cell {
    namespace: Namespace,
    readers: [Principals; 5],
    sessions: Vec<(SessionId, u64)>,
    turn: u64,
    /// Answers that commands have changed.
    changed: usize,
}

impl Cell {
    fn new() -> Self {
        let (namespace, readers) = (Namespace::new(7), readers());
        let mut cell = Self { namespace, readers, sessions: Vec::new(), turn: 0, changed: 0 };
        cell.step(Command::BeginReign { reign: 1, key: 7 });
        cell.enter();
        cell
    }

    /// Another client; its place among them.
    fn enter(&mut self) -> usize {
        let at = self.sessions.len();
        let opened = Command::OpenSession { token: at as u64, secret: 9, timeout_ms: 12_000, address: None };
        let CommandOutcome::SessionOpened { session, .. } = self.step(opened) else { panic!("there is room") };
        self.sessions.push((session, 0));
        self.ask_as(at, Operation::Authenticate { user: user("root"), is_super: true });
        at
    }

    fn ask(&mut self, operation: Operation) -> Done {
        self.ask_as(0, operation)
    }

    fn ask_as(&mut self, client: usize, operation: Operation) -> Done {
        self.sessions[client].1 += 1;
        let (session, number) = self.sessions[client];
        let request = Command::Request { session, number, acked_upto: number - 1, operation };
        let done = self.step(request);
        let (CommandOutcome::Replied { outcome, .. } | CommandOutcome::SessionClosed { outcome, .. }) = done else {
            panic!("{done:?}")
        };
        decode_outcome(&outcome).expect("it was just encoded").expect("it may be done")
    }

    /// Applies a command, and looks whether every answer that it changes was foretold.
    fn step(&mut self, command: Command) -> CommandOutcome {
        let mut bytes = BytesMut::new();
        command.encode(&mut bytes);
        let read = CommandRef::decode(&bytes).expect("it was just encoded");
        let touches = Touch::of(&read, &self.namespace).expect("it is the next of its session");
        let concerned = [false, true].map(|with_children| concerned(&touches, with_children));
        let before = self.kept();
        let mut applied = Applied::default();
        self.turn += 1;
        self.namespace.apply(&batch(self.turn, 1_000, std::slice::from_ref(&command)), &mut applied);
        for ((path, with_children, reader, after), (.., before)) in self.kept().into_iter().zip(before) {
            if before == after {
                continue;
            }
            self.changed += 1;
            let is_foretold = concerned[usize::from(with_children)].contains(path);
            let who = &self.readers[reader];
            assert!(is_foretold, "{command:?} touches {touches:?}; {path} was to {who:?} {before:?}, and is {after:?}");
        }
        applied.outcomes.pop().expect("one command, one outcome")
    }

    /// Every answer that a reader may keep: of which node, whether with its children, and whose it is.
    fn kept(&self) -> Vec<(&'static str, bool, usize, Vec<String>)> {
        let mut kept = Vec::new();
        for (reader, who) in self.readers.iter().enumerate() {
            for path in PATHS {
                let mut plain = answers(self.namespace.tree(), path, true, who);
                let entries = plain.split_off(plain.len() - 1);
                kept.extend([(path, false, reader, plain), (path, true, reader, entries)]);
            }
        }
        kept
    }

    fn opened(&mut self, path: &str) -> Handle {
        let open = Operation::Open { path: path.into(), mode: HandleMode::ALL, birth: None };
        let Done::Opened { handle, .. } = self.ask(open) else { panic!("it is there") };
        handle
    }

    fn locked(&mut self, path: &str) -> Sequencer {
        let (mode, wait, create, lock_delay_ms) = (LockMode::Exclusive, false, true, 0);
        let Done::Granted { sequencer } =
            self.ask(Operation::Acquire { path: path.into(), mode, wait, create, lock_delay_ms })
        else {
            panic!("it is free")
        };
        sequencer
    }

    /// Asks for it in every way there is, and for `undo` after each.
    fn ask_in_every_way(&mut self, operation: &Operation, undo: &Operation, (guard, handle): (&Sequencer, &Handle)) {
        let boxed = || Box::new(operation.clone());
        let step = match operation.clone() {
            Operation::SetAcl { path, acl, expect } => Step::SetAcl { path, acl, expect },
            Operation::Set { path, data, expect } => Step::Set { path, data, expect },
            other => panic!("{other:?} is not one of these"),
        };
        let mut ways = vec![operation.clone(), Operation::Multi { steps: vec![step] }];
        ways.push(Operation::Guarded { sequencer: guard.clone(), operation: boxed() });
        if matches!(operation, Operation::SetAcl { path, .. } | Operation::Set { path, .. } if *path == handle.path) {
            ways.push(Operation::Through { handle: handle.clone(), operation: boxed() });
        }
        for way in ways {
            self.ask(way);
            self.ask(undo.clone());
        }
    }
}

/// Of which nodes answers are asked back.
fn concerned(touches: &[Touch], with_children: bool) -> BTreeSet<Arc<str>> {
    let (mut grants, mut concerned) = (Grants::default(), BTreeSet::new());
    for path in PATHS {
        grants.add(&path.into(), S, with_children);
    }
    for touch in touches {
        grants.concerned(touch, |path, _, _| _ = concerned.insert(path.clone()));
    }
    concerned
}

fn made(path: &str, data: &str, lifetime: Lifetime) -> Operation {
    let data = Bytes::copy_from_slice(data.as_bytes());
    Operation::Create { path: path.into(), data, lifetime, sequential: false }
}

fn create(path: &str, data: &str) -> Operation {
    made(path, data, Lifetime::Permanent)
}

fn delete(path: &str) -> Operation {
    Operation::Delete { path: path.into(), expect: Expect::Any }
}

fn set_acl(path: &str, acl: Option<&Acl>) -> Operation {
    Operation::SetAcl { path: path.into(), acl: acl.cloned(), expect: Expect::Any }
}

fn set(path: &str, data: &str) -> Operation {
    Operation::Set { path: path.into(), data: Bytes::copy_from_slice(data.as_bytes()), expect: Expect::Any }
}

/// What is answered of a node whose list gives `rights` to `who`, through all that becomes of the list and of the group; how
/// many answers that changed.
fn changes(who: &Who, rights: Rights) -> usize {
    let mut cell = Cell::new();
    let team = user("carol").to_string();
    for operation in [create("/p", ""), create(NODE, "secret"), create("/acl", ""), create(TEAM, &team)] {
        cell.ask(operation);
    }
    let guard = cell.locked("/lock");
    let [of_node, of_team] = [NODE, TEAM].map(|path| cell.opened(path));
    let owner = AclEntry { who: Who::User(user("owner")), rights: Rights::ALL };
    let own = Acl::new([owner.clone()]);
    let granted = Acl::new([owner, AclEntry { who: who.clone(), rights }]);
    let inherited = granted.clone().inherited();
    cell.changed = 0;
    // The lists of the node, and of the one above it.
    let shown = set_acl(NODE, Some(&granted));
    cell.ask_in_every_way(&shown, &set_acl(NODE, Some(&own)), (&guard, &of_node));
    cell.ask_in_every_way(&set_acl(NODE, None), &shown, (&guard, &of_node));
    cell.ask_in_every_way(&set_acl("/p", Some(&own)), &set_acl("/p", Some(&inherited)), (&guard, &of_node));
    // A child that has its list from the beginning.
    cell.ask(create(NEW, "secret"));
    cell.ask(delete(NEW));
    // Who is in the group.
    cell.ask_in_every_way(&set(TEAM, ""), &set(TEAM, &team), (&guard, &of_team));
    for operation in [delete(TEAM), create(TEAM, &team), delete(TEAM)] {
        cell.ask(operation);
    }
    // A group that goes with a session, and with all others.
    let (closes, dies) = (cell.enter(), cell.enter());
    cell.ask_as(closes, made(TEAM, &team, Lifetime::Ephemeral));
    cell.ask_as(closes, Operation::CloseSession);
    cell.ask_as(dies, made(TEAM, &team, Lifetime::Ephemeral));
    let session = cell.sessions[dies].0;
    let counter = cell.namespace.session(session).expect("it lives").counter;
    let ended = cell.step(Command::ExpireSession { session, counter });
    assert!(matches!(ended, CommandOutcome::SessionExpired { .. }), "{ended:?}");
    cell.ask(create(TEAM, &team));
    cell.ask(Operation::DeleteTree { path: "/acl".into(), expect: Expect::Any, part: 0 });
    cell.changed
}

#[test]
fn what_lists_and_groups_let_somebody_see_is_asked_back_before_it_changes() {
    let others = Rights::of_bits(Rights::ALL.bits() & !Rights::READ.bits()).expect("these are rights");
    for who in words() {
        for rights in [Rights::READ, Rights::LOCK, Rights::ADMIN, others, Rights::ALL] {
            let changed = changes(&who, rights);
            assert!(changed > 100, "{who:?} with {rights}: {changed} answers changed");
        }
    }
}
