//! Access lists: a matrix of who does what where, and what hides, follows, survives and hinders nothing.

mod handles;
mod hidden;

use core::net::IpAddr;
use std::sync::Arc;

use super::super::acl::{Acl, AclEntry, Rights, User, Who};
use super::super::codec::SequencerRef;
use super::super::command::{Done, HandleMode, LockMode, Resume, Sequencer, StepDone};
use super::super::{Aspect, answer as answer_to};
use super::*;
use crate::limits::{ACL_GROUP_LINES_MAX, SESSION_USERS_MAX};

const HOME: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 1, 2, 3));

fn user(name: &str) -> User {
    User::new(name, "secret")
}

fn list(entries: &[(Who, Rights)]) -> Acl {
    Acl::new(entries.iter().cloned().map(|(who, rights)| AclEntry { who, rights }))
}

fn set_acl(path: &str, acl: Option<Acl>) -> Operation {
    Operation::SetAcl { path: path.into(), acl, expect: Expect::Any }
}

fn authenticate(name: &str) -> Operation {
    Operation::Authenticate { user: user(name), is_super: name == "root" }
}

/// Several clients of one namespace, each with its own numbers.
struct Cell {
    namespace: Namespace,
    sessions: Vec<(SessionId, u64)>,
}

/// A client of a [`Cell`].
type Client = usize;

impl Cell {
    fn new() -> Self {
        let mut cell = Self { namespace: Namespace::new(7), sessions: Vec::new() };
        cell.command(Command::BeginReign { reign: 1, key: 7 });
        cell
    }

    /// A client that connects from an address and proves to be these users.
    fn client(&mut self, address: Option<IpAddr>, users: &[&str]) -> Client {
        let (token, secret) = (self.sessions.len() as u64, 9);
        let outcome = self.command(Command::OpenSession { token, secret, timeout_ms: 12_000, address });
        let CommandOutcome::SessionOpened { session, .. } = outcome else { panic!("{outcome:?}") };
        self.sessions.push((session, 0));
        let client = self.sessions.len() - 1;
        users.iter().for_each(|name| _ = self.done(client, authenticate(name)));
        client
    }

    fn command(&mut self, command: Command) -> CommandOutcome {
        let mut applied = Applied::default();
        self.namespace.apply(&batch(1, 1000, &[command]), &mut applied);
        self.namespace.invariants();
        applied.outcomes.pop().expect("one command, one outcome")
    }

    fn ask(&mut self, client: Client, operation: Operation) -> Outcome {
        let (session, number) = &mut self.sessions[client];
        *number += 1;
        let (session, number) = (*session, *number);
        let outcome = self.command(Command::Request { session, number, acked_upto: number - 1, operation });
        outcome_of(&outcome)
    }

    fn done(&mut self, client: Client, operation: Operation) -> Done {
        self.ask(client, operation.clone()).unwrap_or_else(|refusal| panic!("{operation:?}: {refusal:?}"))
    }

    fn who(&self, client: Client) -> Arc<Principals> {
        let place = self.namespace.sessions.find(self.sessions[client].0).expect("it lives");
        self.namespace.sessions.get(place).who.clone()
    }

    fn read(&self, client: Client, read: ReadRef<'_>) -> Result<Answer, Refusal> {
        answer_to(&Gate::new(self.namespace.tree(), &self.who(client)), read)
    }
}

/// Whose list is asked for a right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    Node,
    Parent,
}

const PATH: &str = "/p/n";
const NEW: &str = "/p/new";

/// Every operation on nodes: whose list is asked for which rights; what is said to who may not know of that node.
fn operations() -> Vec<(Operation, Whose, Rights, Refusal)> {
    let no_node = || Refusal::NoNode { path: PATH.into() };
    let no_parent = || Refusal::NoParent { path: "/p".into() };
    let (path, mode) = (|| PATH.to_owned(), LockMode::Exclusive);
    let acquire =
        |path: &str, create| Operation::Acquire { path: path.into(), mode, wait: false, create, lock_delay_ms: 0 };
    let quota = Some(super::super::command::Quota {
        hard: super::super::command::QuotaBounds { nodes: Some(9), bytes: None },
        ..Default::default()
    });
    let open = list(&[(Who::World, Rights::ALL)]);
    let made = Operation::CreateWithAcl {
        path: NEW.into(),
        data: Bytes::new(),
        lifetime: Lifetime::Permanent,
        sequential: false,
        acl: open.clone(),
    };
    let sequential =
        Operation::Create { path: "/p/n-".into(), data: Bytes::new(), lifetime: Lifetime::Permanent, sequential: true };
    let log = |path: &str| Operation::CreateLog { path: path.into(), lifetime: Lifetime::Permanent, sequential: false };
    let mut operations = vec![
        (create(NEW), Whose::Parent, Rights::CREATE, no_parent()),
        (create_ephemeral(NEW), Whose::Parent, Rights::CREATE, no_parent()),
        (sequential, Whose::Parent, Rights::CREATE, no_parent()),
        (made, Whose::Parent, Rights::CREATE, no_parent()),
        (acquire(NEW, true), Whose::Parent, Rights::CREATE, no_parent()),
        (set(PATH, b"new", Expect::Any), Whose::Node, Rights::WRITE, no_node()),
        (log(NEW), Whose::Parent, Rights::CREATE, no_parent()),
        (delete(PATH, Expect::Any), Whose::Parent, Rights::DELETE, no_node()),
        (delete_tree(PATH, Expect::Any), Whose::Parent, Rights::DELETE, no_node()),
        (
            Operation::DeleteTree { path: path(), expect: Expect::Any, part: 1 },
            Whose::Parent,
            Rights::DELETE,
            no_node(),
        ),
        (Operation::SetQuota { path: path(), quota }, Whose::Node, Rights::ADMIN, no_node()),
        (set_acl(PATH, None), Whose::Node, Rights::ADMIN, no_node()),
        (set_acl(PATH, Some(open)), Whose::Node, Rights::ADMIN, no_node()),
        (acquire(PATH, false), Whose::Node, Rights::LOCK, no_node()),
        // Who may make it is told that the name is taken.
        (acquire(PATH, true), Whose::Node, Rights::LOCK, Refusal::NodeExists { path: PATH.into() }),
        (Operation::Release { path: path() }, Whose::Node, Rights::READ.or(Rights::LOCK), no_node()),
    ];
    operations.extend(handles::openings());
    operations
}

/// How an operation comes to be tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Direct,
    /// As the only step of a `multi`.
    Multi,
    /// Behind a sequencer of another node's lock.
    Guarded,
}

fn formed(form: Form, operation: &Operation, guard: &Sequencer) -> Option<Operation> {
    match form {
        Form::Direct => Some(operation.clone()),
        Form::Guarded => Some(Operation::Guarded { sequencer: guard.clone(), operation: Box::new(operation.clone()) }),
        Form::Multi => {
            let step = match operation.clone() {
                Operation::Create { path, data, lifetime, sequential } => {
                    Step::Create { path, data, lifetime, sequential }
                }
                Operation::CreateWithAcl { path, data, lifetime, sequential, acl } => {
                    Step::CreateWithAcl { path, data, lifetime, sequential, acl }
                }
                Operation::Set { path, data, expect } => Step::Set { path, data, expect },
                Operation::Delete { path, expect } => Step::Delete { path, expect },
                Operation::SetAcl { path, acl, expect } => Step::SetAcl { path, acl, expect },
                _ => return None,
            };
            Some(multi(vec![step]))
        }
    }
}

/// In which words a list names the client that asks; the last two it does not name.
const NAMED: [&str; 6] = ["world", "user", "network", "group", "super", "nobody"];

/// A cell with `/p/n`, the list of one of the two giving `rights` to the client, and that client.
fn stage(named: &str, whose: Whose, rights: Rights) -> (Cell, Client, Sequencer) {
    let mut cell = Cell::new();
    let root = cell.client(None, &["root"]);
    for path in ["/p", PATH, "/g", "/acl", "/acl/team"] {
        cell.done(root, create(path));
    }
    cell.done(root, set("/acl/team", format!("# us\n\n{}\n", user("alice")).as_bytes(), Expect::Any));
    let (who, address, users): (_, _, &[&str]) = match named {
        "world" => (Who::World, None, &[]),
        "user" => (Who::User(user("alice")), None, &["bob", "alice"]),
        "network" => (Who::Network { address: IpAddr::from([10, 1, 0, 0]), bits: 16 }, Some(HOME), &[]),
        "group" => (Who::Group { path: "/acl/team".into() }, None, &["alice"]),
        "super" => (Who::User(user("alice")), None, &["root"]),
        _ => (Who::User(user("alice")), Some(HOME), &["bob"]),
    };
    let client = cell.client(address, users);
    let granted = list(&[(Who::User(user("owner")), Rights::ALL), (who, rights)]);
    let path = if whose == Whose::Node { PATH } else { "/p" };
    cell.done(root, set_acl(path, Some(granted)));
    let mode = LockMode::Exclusive;
    let lock = Operation::Acquire { path: "/g".into(), mode, wait: false, create: false, lock_delay_ms: 0 };
    let Done::Granted { sequencer } = cell.done(client, lock) else { panic!("it is free") };
    (cell, client, sequencer)
}

/// Single rights, none of them the one in question, and all but one.
fn some_rights() -> impl Iterator<Item = Rights> {
    let single = (0..6).map(|bit| 1 << bit);
    let all_but = (0..6).map(|bit| Rights::ALL.bits() & !(1 << bit));
    single.chain(all_but).chain([Rights::ALL.bits()]).map(|bits| Rights::of_bits(bits).expect("these are rights"))
}

#[test]
fn every_operation_by_everybody_in_every_form_is_judged_by_the_right_list() {
    let mut judged = 0;
    for (operation, whose, needed, absent) in operations() {
        for form in [Form::Direct, Form::Multi, Form::Guarded] {
            for (named, rights) in NAMED.iter().flat_map(|named| some_rights().map(move |rights| (*named, rights))) {
                let (mut cell, client, guard) = stage(named, whose, rights);
                let Some(asked) = formed(form, &operation, &guard) else { continue };
                let granted = if named == "nobody" { Rights::NONE } else { rights };
                let before = cell.namespace.tree().digest();
                let found = cell.ask(client, asked);
                let found = match found {
                    Err(Refusal::Aborted { index: 0, cause }) if form == Form::Multi => Err(*cause),
                    found => found,
                };
                judged += 1;
                let story = format!("{operation:?} as {named} with {rights} at the {whose:?}'s, {form:?}: {found:?}");
                if named == "super" || granted.has_any(needed) {
                    let not_held = matches!(found, Err(Refusal::LockNotHeld { .. }));
                    assert!(found.is_ok() || not_held && matches!(operation, Operation::Release { .. }), "{story}");
                    continue;
                }
                let list_of = if whose == Whose::Node { PATH } else { "/p" };
                // Of a node that is open to all, its parent's list hides nothing.
                let known = granted != Rights::NONE || needed == Rights::DELETE;
                let refused = Refusal::NotAuthorized { path: list_of.into(), needed };
                assert_eq!(found, Err(if known { refused } else { absent.clone() }), "{story}");
                assert_eq!(cell.namespace.tree().digest(), before, "{story}");
            }
        }
    }
    assert!(judged > 2_500, "{judged} cases");
}

/// Every reading of `/p/n`, with the rights of which one is needed, and what is said where it is not to be spoken of.
fn readings(guard: &Sequencer) -> Vec<(ReadRef<'_>, Rights, Result<Answer, Refusal>)> {
    let no_node = || Err(Refusal::NoNode { path: PATH.into() });
    let (path, after, limit) = (PATH, "", 0);
    let look = Rights::READ.or(Rights::LOCK);
    let sequencer = SequencerRef { path: PATH, ..guard.as_ref() };
    vec![
        (ReadRef::Get { path }, Rights::READ, no_node()),
        (ReadRef::Exists { path }, Rights::READ, Ok(Answer::Exists { stat: None })),
        (ReadRef::List { path, after, limit }, Rights::READ, no_node()),
        (ReadRef::Entries { path, after, limit }, Rights::READ, no_node()),
        (ReadRef::Scan { path, after, limit, with_data: true }, Rights::READ, no_node()),
        (ReadRef::Quota { path }, Rights::READ, no_node()),
        (ReadRef::Acl { path }, Rights::ADMIN, no_node()),
        (ReadRef::LockHolders { path }, look, no_node()),
        (ReadRef::AwaitLock { path, session: SessionId(1) }, look, no_node()),
        (ReadRef::CheckSequencer { sequencer }, look, Ok(Answer::Sequencer { valid: false })),
    ]
}

#[test]
fn every_reading_by_everybody_is_judged() {
    for (named, rights) in NAMED.iter().flat_map(|named| some_rights().map(move |rights| (*named, rights))) {
        let (mut cell, client, guard) = stage(named, Whose::Node, rights);
        let granted = if named == "nobody" { Rights::NONE } else { rights };
        for (read, needed, absent) in readings(&guard) {
            let found = cell.read(client, read);
            let story = format!("{read:?} as {named} with {rights}: {found:?}");
            if named == "super" || granted.has_any(needed) {
                assert!(found.is_ok(), "{story}");
            } else if granted == Rights::NONE {
                assert_eq!(found, absent, "{story}");
            } else {
                assert_eq!(found, Err(Refusal::NotAuthorized { path: PATH.into(), needed }), "{story}");
            }
        }
        let sees = named == "super" || granted.has_any(Rights::READ);
        for names in [
            names_of(&cell.read(client, ReadRef::List { path: "/p", after: "", limit: 0 })),
            names_of(&cell.read(client, ReadRef::Entries { path: "/p", after: "", limit: 0 })),
            names_of(&cell.read(client, ReadRef::Scan { path: "/p", after: "/p/a", limit: 0, with_data: false })),
        ] {
            assert_eq!(names.len(), usize::from(sees), "{named} with {rights}: {names:?}");
        }
        let step = |step| multi(vec![step]);
        let got = cell.ask(client, step(Step::Get { path: PATH.into() }));
        let absent = cell.ask(client, step(Step::Check { path: PATH.into(), expect: Expect::Absent }));
        let there = cell.ask(client, step(Step::Check { path: PATH.into(), expect: Expect::Any }));
        if sees {
            assert!(
                matches!(&got, Ok(Done::Multi { results }) if matches!(results[..], [StepDone::Got { node: Some(_) }]))
            );
            assert!(absent.is_err() && there.is_ok());
        } else if granted == Rights::NONE {
            assert!(
                matches!(&got, Ok(Done::Multi { results }) if matches!(results[..], [StepDone::Got { node: None }]))
            );
            assert!(absent.is_ok() && there.is_err(), "a condition looks with the same eyes");
        } else {
            let refused = Box::new(Refusal::NotAuthorized { path: PATH.into(), needed: Rights::READ });
            assert_eq!([&got, &absent, &there], [&Err(Refusal::Aborted { index: 0, cause: refused }); 3]);
        }
    }
}

fn names_of(answer: &Result<Answer, Refusal>) -> Vec<String> {
    match answer {
        Ok(Answer::Children { names, .. }) => names.clone(),
        Ok(Answer::Entries { entries, .. }) => entries.iter().map(|(name, _)| name.clone()).collect(),
        Ok(Answer::Scanned { nodes, .. }) => nodes.iter().map(|node| node.path.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

/// A stranger and an owner, and `/p/h`, which only the owner may know of: there, or not.
fn two_worlds() -> [(Cell, Client, Client); 2] {
    [true, false].map(|there| {
        let mut cell = Cell::new();
        let (owner, stranger) = (cell.client(None, &["owner"]), cell.client(Some(HOME), &["bob"]));
        cell.done(owner, create("/p"));
        cell.done(owner, create("/p/seen"));
        let own = list(&[(Who::Auth, Rights::ALL)]).inherited();
        for (path, acl) in [("/p/h", Some(own)), ("/p/h/below", None)] {
            if there {
                cell.done(owner, create(path));
                acl.iter().for_each(|acl| _ = cell.done(owner, set_acl(path, Some(acl.clone()))));
            }
        }
        (cell, owner, stranger)
    })
}

#[test]
fn what_is_hidden_cannot_be_told_from_what_is_not_there() {
    let path = || "/p/h".to_owned();
    let guess = Sequencer { path: path(), instance: 3, mode: LockMode::Exclusive, generation: 4 };
    let guarded = |operation| Operation::Guarded { sequencer: guess.clone(), operation: Box::new(operation) };
    let operations = [
        set("/p/h", b"x", Expect::Any),
        set("/p/h", b"x", Expect::Version(0)),
        create("/p/h/new"),
        create_ephemeral("/p/h/new"),
        create_sequential("/p/h/new"),
        Operation::SetQuota { path: path(), quota: None },
        set_acl("/p/h", None),
        set_acl("/p/h", Some(list(&[(Who::World, Rights::ALL)]))),
        Operation::Acquire { path: path(), mode: LockMode::Shared, wait: true, create: false, lock_delay_ms: 0 },
        Operation::Release { path: path() },
        Operation::Open { path: path(), mode: HandleMode::READ, birth: None },
        Operation::Open { path: path(), mode: HandleMode::NONE, birth: None },
        guarded(Operation::Sync),
        multi(vec![Step::Get { path: path() }, Step::Check { path: path(), expect: Expect::Absent }]),
        multi(vec![Step::Check { path: path(), expect: Expect::Version(0) }]),
        multi(vec![Step::CheckLock { sequencer: guess.clone() }]),
    ];
    for operation in operations {
        let [there, not] = two_worlds().map(|(mut cell, _, stranger)| cell.ask(stranger, operation.clone()));
        assert_eq!(there, not, "{operation:?}");
    }
    let (after, limit) = ("", 0);
    let sequencer = guess.as_ref();
    for read in [
        ReadRef::Get { path: "/p/h" },
        ReadRef::Exists { path: "/p/h" },
        ReadRef::List { path: "/p/h", after, limit },
        ReadRef::Entries { path: "/p/h", after, limit },
        ReadRef::Scan { path: "/p/h", after, limit, with_data: true },
        ReadRef::Quota { path: "/p/h" },
        ReadRef::Acl { path: "/p/h" },
        ReadRef::LockHolders { path: "/p/h" },
        ReadRef::AwaitLock { path: "/p/h", session: SessionId(1) },
        ReadRef::CheckSequencer { sequencer },
    ] {
        let [there, not] = two_worlds().map(|(cell, _, stranger)| cell.read(stranger, read));
        assert_eq!(there, not, "{read:?}");
    }
    for read in [
        ReadRef::List { path: "/p", after, limit: 1 },
        ReadRef::Entries { path: "/p", after, limit: 1 },
        ReadRef::Scan { path: "/", after: "/p", limit: 1, with_data: true },
    ] {
        let [there, not] = two_worlds().map(|(cell, _, stranger)| names_of(&cell.read(stranger, read)));
        assert_eq!(there, not, "{read:?}");
    }
}

#[test]
fn a_tree_goes_only_if_every_parent_lets_its_children_go() {
    let denying = list(&[(Who::World, Rights::READ), (Who::User(user("owner")), Rights::ALL)]);
    let hiding = list(&[(Who::User(user("owner")), Rights::ALL)]);
    for (acl, told) in [(denying, "/t/b"), (hiding, "/t")] {
        let mut cell = Cell::new();
        let (owner, bob) = (cell.client(None, &["owner"]), cell.client(None, &["bob"]));
        for path in ["/t", "/t/a", "/t/b", "/t/b/c"] {
            cell.done(owner, create(path));
        }
        cell.done(owner, set_acl("/t/b", Some(acl)));
        let before = cell.namespace.tree().digest();
        let refused = Err(Refusal::NotAuthorized { path: told.into(), needed: Rights::DELETE });
        assert_eq!(cell.ask(bob, delete_tree("/t", Expect::Any)), refused);
        assert_eq!(cell.namespace.tree().digest(), before, "all or nothing");
        let part = |part| Operation::DeleteTree { path: "/t".into(), expect: Expect::Any, part };
        assert_eq!(cell.done(bob, part(1)), Done::TreeDeleted { nodes: 1, more: true }, "/t/a is free to go");
        assert_eq!(cell.ask(bob, part(1)), refused);
        assert_eq!(cell.done(owner, part(9)), Done::TreeDeleted { nodes: 3, more: false });
    }
}

#[test]
fn what_the_cell_does_by_itself_asks_nobody() {
    let mut cell = Cell::new();
    let (owner, bob) = (cell.client(None, &["owner"]), cell.client(None, &["bob"]));
    let nobody = || Some(list(&[(Who::User(user("owner")), Rights::ALL)]));
    let idle = |path: &str| Operation::Create {
        path: path.into(),
        data: Bytes::new(),
        lifetime: Lifetime::Ttl { ms: 1 },
        sequential: false,
    };
    cell.done(bob, create("/d"));
    cell.done(bob, idle("/d/ttl"));
    cell.done(bob, create_ephemeral("/d/e"));
    let lock = |path: &str| Operation::Acquire {
        path: path.into(),
        mode: LockMode::Exclusive,
        wait: true,
        create: true,
        lock_delay_ms: 0,
    };
    cell.done(bob, lock("/d/lock"));
    cell.done(bob, lock("/d/other"));
    for path in ["/d/ttl", "/d/e", "/d/lock", "/d/other", "/d"] {
        cell.done(owner, set_acl(path, nobody()));
    }
    assert_eq!(cell.ask(bob, lock("/d/lock")), Err(Refusal::NoParent { path: "/d".into() }));
    assert_eq!(
        cell.done(bob, Operation::Release { path: "/d/lock".into() }),
        Done::Released,
        "what is his he gives up"
    );
    let instance = cell.namespace.tree().get("/d/ttl").expect("it is there").stat().instance;
    let mut applied = Applied::default();
    let settle = Command::Settle { path: "/d/ttl".into(), instance };
    cell.namespace.apply(&batch(2_000_000_000, 0, &[settle]), &mut applied);
    assert!(cell.namespace.tree().get("/d/ttl").is_none(), "its time is over, whoever may delete it");
    assert_eq!(cell.done(bob, Operation::CloseSession), Done::SessionClosed);
    assert!(cell.namespace.tree().get("/d/e").is_none(), "it went with its session");
    assert_eq!(
        cell.done(owner, lock("/d/other")),
        Done::Granted {
            sequencer: cell
                .namespace
                .tree()
                .get("/d/other")
                .expect("it stays")
                .sequencer("/d/other", LockMode::Exclusive),
        }
    );
}

#[test]
fn a_list_is_inherited_at_the_making_and_never_after() {
    let mut cell = Cell::new();
    let owner = cell.client(None, &["owner"]);
    let acl_of = |cell: &Cell, path: &str| cell.namespace.tree().get(path).expect("it is there").acl().cloned();
    cell.done(owner, create("/i"));
    cell.done(owner, create("/i/before"));
    let own = list(&[(Who::User(user("owner")), Rights::ALL)]).inherited();
    cell.done(owner, set_acl("/i", Some(own.clone())));
    assert_eq!(acl_of(&cell, "/i/before"), None);
    cell.done(owner, create("/i/after"));
    cell.done(owner, multi(vec![step_create("/i/after/all")]));
    assert_eq!([acl_of(&cell, "/i/after"), acl_of(&cell, "/i/after/all")], [Some(own.clone()), Some(own)]);
    let plain = list(&[(Who::World, Rights::ALL)]);
    let (data, lifetime) = (Bytes::new(), Lifetime::Permanent);
    let made = |path: &str| Operation::CreateWithAcl {
        path: path.into(),
        data: data.clone(),
        lifetime,
        sequential: false,
        acl: plain.clone(),
    };
    cell.done(owner, made("/i/own"));
    cell.done(owner, create("/i/own/child"));
    assert_eq!([acl_of(&cell, "/i/own"), acl_of(&cell, "/i/own/child")], [Some(plain.clone()), None]);
}

#[test]
fn a_list_has_a_version_of_its_own_and_no_event() {
    let mut cell = Cell::new();
    let owner = cell.client(None, &["owner"]);
    cell.done(owner, create("/v"));
    let own = || Some(list(&[(Who::Auth, Rights::ALL)]));
    let with = |expect| Operation::SetAcl { path: "/v".into(), acl: own(), expect };
    let Done::AclSet { stat } = cell.done(owner, with(Expect::Version(0))) else { panic!("it is set") };
    assert_eq!((stat.acl_version, stat.version, stat.modified), (1, 0, stat.created));
    let refused = Refusal::BadVersion { path: "/v".into(), expected: 0, found: 1 };
    assert_eq!(cell.ask(owner, with(Expect::Version(0))), Err(refused));
    let mut applied = Applied::default();
    let (session, number) = cell.sessions[owner];
    let operation = with(Expect::Any);
    let command = Command::Request { session, number: number + 1, acked_upto: number, operation };
    cell.namespace.apply(&batch(1, 1, &[command]), &mut applied);
    assert_eq!(applied.changes.iter().map(|change| change.aspect).collect::<Vec<_>>(), [Aspect::Acl]);
    let nobody = cell.client(None, &[]);
    let refused = cell.ask(nobody, Operation::SetAcl { path: "/".into(), acl: own(), expect: Expect::Any });
    assert!(matches!(refused, Err(Refusal::BadArgument { .. })), "`auth:` needs somebody: {refused:?}");
}

#[test]
fn a_group_says_no_more_than_its_lines_and_is_no_ladder() {
    let mut cell = Cell::new();
    let (root, alice) = (cell.client(None, &["root"]), cell.client(None, &["alice"]));
    for path in ["/acl", "/acl/a", "/acl/b", "/x"] {
        cell.done(root, create(path));
    }
    cell.done(root, set_acl("/x", Some(list(&[(Who::Group { path: "/acl/a".into() }, Rights::READ)]))));
    let mut sees = |text: &[u8]| {
        cell.done(root, set("/acl/a", text, Expect::Any));
        cell.read(alice, ReadRef::Get { path: "/x" }).is_ok()
    };
    let line = user("alice").to_string();
    assert!(sees(line.as_bytes()));
    assert!(sees(format!("  {line}\r\nnonsense\n").as_bytes()));
    assert!(!sees(format!("# {line}\n").as_bytes()));
    assert!(!sees(&[line.as_bytes(), b"\n\xff"].concat()), "it is no text");
    assert!(sees(b"world:anyone"));
    assert!(!sees(b"auth:"), "nobody in particular");
    assert!(sees(format!("{}{line}", "\n".repeat(ACL_GROUP_LINES_MAX - 1)).as_bytes()));
    assert!(!sees(format!("{}{line}", "\n".repeat(ACL_GROUP_LINES_MAX)).as_bytes()), "past the bound");
    assert!(!sees(b"group:/acl/b"));
    cell.done(root, set("/acl/b", line.as_bytes(), Expect::Any));
    assert!(cell.read(alice, ReadRef::Get { path: "/x" }).is_err(), "a group of groups is empty");
}

#[test]
fn who_a_session_is_grows_is_bounded_and_outlives_connections() {
    let mut cell = Cell::new();
    let client = cell.client(Some(HOME), &[]);
    for n in 0..SESSION_USERS_MAX {
        assert_eq!(cell.done(client, authenticate(&format!("u{n}"))), Done::Authenticated);
    }
    cell.done(client, authenticate("u0"));
    assert_eq!(cell.who(client).users.len(), SESSION_USERS_MAX, "said twice it is one");
    let refused = cell.ask(client, authenticate("one-more"));
    assert!(matches!(refused, Err(Refusal::TooLarge { size: 17, limit: 16, .. })), "{refused:?}");
    let session = cell.sessions[client].0;
    let elsewhere = IpAddr::from([192, 168, 0, 1]);
    let resume = Resume { session, secret: 9, holder: 0, takes_over: true };
    let resume = Command::ResumeSession { token: 5, resume, address: Some(elsewhere) };
    let CommandOutcome::SessionResumed { who, .. } = cell.command(resume) else { panic!("it lives") };
    assert_eq!((who.address, who.users.len(), who.is_super), (Some(elsewhere), SESSION_USERS_MAX, false));
    let number = 1;
    let again = Command::Request { session, number, acked_upto: 0, operation: Operation::Sync };
    let CommandOutcome::Replied { who: told, .. } = cell.command(again) else { panic!("it is retold") };
    assert_eq!(told, Some(who), "whoever hears an old answer may not know yet");
    for name in ["", "a:b", "a\nb"] {
        let refused = cell.ask(
            client,
            Operation::Authenticate { user: User { name: name.into(), digest: [0; 32] }, is_super: false },
        );
        assert!(matches!(refused, Err(Refusal::BadArgument { .. })), "{name:?}");
    }
}

#[test]
fn images_hold_lists_and_principals() {
    let mut cell = Cell::new();
    let (owner, stranger) = (cell.client(Some(HOME), &["owner", "root"]), cell.client(None, &[]));
    cell.done(owner, create("/a"));
    let all = [Who::World, Who::Auth, Who::Network { address: HOME, bits: 7 }, Who::Group { path: "/acl/g".into() }];
    let acl = list(&all.map(|who| (who, Rights::LOCK))).inherited();
    cell.done(owner, set_acl("/a", Some(acl)));
    cell.done(owner, create("/a/b"));
    let plain = {
        let mut other = Cell::new();
        let owner = other.client(Some(HOME), &["owner", "root"]);
        other.client(None, &[]);
        other.done(owner, create("/a"));
        other.namespace.digest()
    };
    assert_ne!(cell.namespace.digest(), plain, "a list is part of the state");
    cell.namespace.begin_image();
    let chunks: Vec<_> = std::iter::from_fn(|| cell.namespace.image_rows(64)).collect();
    let restored = Namespace::from_image(8, chunks.iter().map(|chunk| &chunk[..])).expect("the image is whole");
    restored.invariants();
    assert_eq!(restored.digest(), cell.namespace.digest());
    let before = [cell.who(owner), cell.who(stranger)];
    cell.namespace = restored;
    assert_eq!([cell.who(owner), cell.who(stranger)], before);
    assert_eq!(
        cell.read(stranger, ReadRef::Get { path: "/a/b" }),
        Err(Refusal::NotAuthorized { path: "/a/b".into(), needed: Rights::READ })
    );
    assert!(cell.read(owner, ReadRef::Get { path: "/a/b" }).is_ok());
}

#[test]
fn a_log_is_judged_as_data_are() {
    let (records, upto) = (|| [&b"one"[..]].into_iter().collect(), 0);
    let path = || "/log".to_owned();
    let operations = [
        Operation::Append { path: path(), records: records(), end: None },
        multi(vec![Step::Append { path: path(), records: records(), end: None }]),
        Operation::Trim { path: path(), upto },
        Operation::Seal { path: path() },
    ];
    for rights in some_rights() {
        let mut cell = Cell::new();
        let (root, alice) = (cell.client(None, &["root"]), cell.client(None, &["alice"]));
        let lifetime = Lifetime::Permanent;
        cell.done(root, Operation::CreateLog { path: path(), lifetime, sequential: false });
        cell.done(root, set_acl("/log", Some(list(&[(Who::User(user("alice")), rights)]))));
        for operation in operations.clone() {
            let found = cell.ask(alice, operation.clone());
            assert_eq!(found.is_ok(), rights.has_any(Rights::WRITE), "{operation:?} with {rights}: {found:?}");
        }
        let read = ReadRef::Records { path: "/log", from: 0, bytes: 0 };
        assert_eq!(cell.read(alice, read).is_ok(), rights.has_any(Rights::READ), "with {rights}");
        let stranger = cell.client(None, &[]);
        assert_eq!(cell.read(stranger, read), Err(Refusal::NoNode { path: path() }));
        assert_eq!(cell.ask(stranger, operations[0].clone()), Err(Refusal::NoNode { path: path() }));
    }
}

#[test]
fn a_late_copy_of_an_opening_does_not_say_where_a_client_is() {
    let mut cell = Cell::new();
    let [there, elsewhere] = [[192, 168, 0, 1], [192, 168, 0, 2]].map(|address: [u8; 4]| Some(IpAddr::from(address)));
    let client = cell.client(Some(HOME), &[]);
    let session = cell.sessions[client].0;
    let open = |address| Command::OpenSession { token: 0, secret: 9, timeout_ms: 12_000, address };
    cell.command(open(there));
    assert_eq!(cell.who(client).address, there, "who was not answered may ask from elsewhere");
    cell.done(client, Operation::Sync);
    let resume = Resume { session, secret: 9, holder: 0, takes_over: false };
    cell.command(Command::ResumeSession { token: 5, resume, address: elsewhere });
    cell.command(open(Some(HOME)));
    assert_eq!(cell.who(client).address, elsewhere, "who has asked for something knows of the session");
    // The same of one that was taken over before anything was asked for.
    let client = cell.client(Some(HOME), &[]);
    let session = cell.sessions[client].0;
    let resume = Resume { session, secret: 9, holder: 7, takes_over: true };
    cell.command(Command::ResumeSession { token: 5, resume, address: elsewhere });
    cell.command(Command::OpenSession { token: 1, secret: 9, timeout_ms: 12_000, address: Some(HOME) });
    assert_eq!(cell.who(client).address, elsewhere, "it is another process's by now");
}
