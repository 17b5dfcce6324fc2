//! A matrix of what watches tell: to everybody whom a list can name, with every kind of right, at every scope, live and from
//! the past, before rights are taken away, while they are, and after they were given back.
//!
//! Whoever may do everything is told everything, and what that is shows `watches`. Here all others are measured by that one:
//! they are told the very same of what they may see, and of the rest no event, no name and no data.

use core::net::IpAddr;
use std::collections::BTreeSet;

use super::*;
use crate::namespace::acl::{Acl, AclEntry, Rights, User, Who};
use crate::namespace::codec::decode_outcome;
use crate::namespace::command::{Command, Lifetime, LockMode, Revision};
use crate::namespace::tests::batch;
use crate::namespace::{self, Namespace};
use crate::wire::watch::{Event, EventKind, Registration, Scope};

const HOME: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 1, 2, 3));
const TEAM: &str = "/acl/team";
const NODE: &str = "/p/secret-name";
const BELOW: &str = "/p/secret-name/below";
const SCOPES: [Scope; 5] = [Scope::Node, Scope::Children, Scope::Entries, Scope::Subtree, Scope::Lock];

/// In which words the list names whoever watches; the last two it does not name.
const NAMED: [&str; 6] = ["world", "user", "network", "group", "super", "nobody"];

/// How rights are taken away, and given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// The node has another list for some time.
    List,
    /// The group that the lists name is empty for some time.
    Group,
}

/// An event, as whoever watches was told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Told {
    scope: Scope,
    watch: u64,
    revision: Revision,
    kind: EventKind,
    path: String,
    data: Option<Vec<u8>>,
}

/// What was told of one story, and in which bytes.
#[derive(Debug)]
struct Story {
    live: Vec<Told>,
    /// From the past, while the rights were taken away.
    meanwhile: Vec<Told>,
    /// From the past, at the end.
    after: Vec<Told>,
    /// The revision of the change that was made while they were.
    taken_at: Revision,
    bytes: Vec<u8>,
}

/// A front, the namespace behind it, and who asks for what: two who may do everything, and one, on the front, who watches.
struct World {
    front: Front,
    namespace: Namespace,
    slot: u64,
    sessions: Vec<(SessionId, u64)>,
    bytes: Vec<u8>,
}

const ROOT: usize = 0;
const OTHER: usize = 1;
const WATCHER: usize = 2;

impl World {
    fn new(address: Option<IpAddr>, users: &[&str]) -> Self {
        let mut front = super::front();
        front.closed(CLIENT);
        front.opened(START, CLIENT, address);
        let (namespace, sessions) = (Namespace::new(7), Vec::new());
        let mut world = Self { front, namespace, slot: 0, sessions, bytes: Vec::new() };
        world.front.received(START, CLIENT, &hello(None));
        world.say(&ClientMessage::OpenSession { token: WATCHER as u64, secret: 9, timeout_ms: 12_000 });
        for (token, address) in [(ROOT, None), (OTHER, None), (WATCHER, address)] {
            world.command(Command::OpenSession { token: token as u64, secret: 9, timeout_ms: 12_000, address });
        }
        [ROOT, OTHER].into_iter().for_each(|who| world.ask(who, authenticate("root")));
        users.iter().for_each(|name| world.ask(WATCHER, authenticate(name)));
        world
    }

    fn say(&mut self, message: &ClientMessage<'_>) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.front.received(START, CLIENT, &bytes);
    }

    fn command(&mut self, command: Command) {
        self.slot += 1;
        let (since, mut done) = (self.namespace.revision(), namespace::Applied::default());
        self.namespace.apply(&batch(self.slot, 1_000, &[command]), &mut done);
        match &done.outcomes[..] {
            [CommandOutcome::SessionOpened { session, .. }] => self.sessions.push((*session, 0)),
            [CommandOutcome::Replied { outcome, .. }] => {
                decode_outcome(outcome).expect("it was just encoded").expect("it may be done");
            }
            other => panic!("{other:?}"),
        }
        let namespace::Applied { changes, outcomes, revision } = done;
        let applied = Applied { upto: Slot(self.slot), since, revision, changes: changes.into(), outcomes };
        self.front.notice(FrontNotice::Applied(applied), self.namespace.tree());
    }

    fn ask(&mut self, who: usize, operation: Operation) {
        self.sessions[who].1 += 1;
        let (session, number) = self.sessions[who];
        self.command(Command::Request { session, number, acked_upto: number - 1, operation });
    }

    /// Opens watches of every scope at the node and above it, numbered from `first` on.
    fn watch(&mut self, first: u64, from: Option<Revision>) {
        let all = SCOPES.into_iter().flat_map(|scope| ["/p", NODE].map(|path| (scope, path)));
        for (watch, (scope, path)) in (first..).zip(all) {
            let registration = Registration { path, scope, from, with_data: true };
            self.say(&ClientMessage::Watch { watch, registration });
        }
    }

    /// What the watches were told, in turns until there is nothing more to be told. `opened`: so many were opened meanwhile.
    fn told(&mut self, opened: usize) -> Vec<Told> {
        let (mut told, mut stand) = (Vec::new(), 0);
        loop {
            self.front.prepare(START, true, &mut Vec::new());
            self.front.finish(START, self.namespace.tree(), true, || true);
            let (bytes, mut reader) = (&mut self.bytes, FrameReader::new(CLIENT_MAGIC));
            self.front.take_output(|output| {
                let Output::Send { bytes: sent, .. } = output else { panic!("it did nothing wrong") };
                bytes.extend_from_slice(&sent);
                let fed = reader.feed::<crate::wire::client::MessageError>(&sent, 1 << 20, |frame| {
                    match ServerMessage::decode(frame)? {
                        ServerMessage::Events { watch, revision, events, .. } => {
                            told.extend(events.iter().map(|event| Told::of(watch, revision, event)));
                        }
                        ServerMessage::WatchOpened { .. } => stand += 1,
                        other @ (ServerMessage::WatchRefused { .. } | ServerMessage::Gap { .. }) => panic!("{other:?}"),
                        _ => {}
                    }
                    Ok(())
                });
                fed.expect("the front writes whole frames");
            });
            if !self.front.is_restless() {
                assert_eq!(stand, opened, "whether its node is hidden, or there at all, a watch stands");
                return told;
            }
        }
    }
}

impl Told {
    fn of(watch: u64, revision: Revision, event: &Event<'_>) -> Self {
        let scope = SCOPES[(watch % 100 / 2) as usize];
        let data = event.node.map(|(data, _)| data.to_vec());
        Self { scope, watch, revision, kind: event.kind, path: event.path.to_owned(), data }
    }
}

fn user(name: &str) -> User {
    User::new(name, "secret")
}

fn authenticate(name: &str) -> Operation {
    Operation::Authenticate { user: user(name), is_super: name == "root" }
}

fn set(path: &str, data: &str) -> Operation {
    Operation::Set { path: path.into(), data: Bytes::copy_from_slice(data.as_bytes()), expect: Expect::Any }
}

fn create(path: &str, data: &str) -> Operation {
    let data = Bytes::copy_from_slice(data.as_bytes());
    Operation::Create { path: path.into(), data, lifetime: Lifetime::Permanent, sequential: false }
}

fn delete(path: &str) -> Operation {
    Operation::Delete { path: path.into(), expect: Expect::Any }
}

fn acquire(path: &str) -> Operation {
    let (mode, wait, create, lock_delay_ms) = (LockMode::Exclusive, true, false, 0);
    Operation::Acquire { path: path.into(), mode, wait, create, lock_delay_ms }
}

/// Everything that can happen to a node and to one below it, told to a watcher whom their list gives `rights`.
fn story(named: &str, rights: Rights, way: Way) -> Story {
    let (who, address, users): (_, _, &[&str]) = match named {
        "world" => (Who::World, None, &[]),
        "user" => (Who::User(user("alice")), None, &["bob", "alice"]),
        "network" => (Who::Network { address: IpAddr::from([10, 1, 0, 0]), bits: 16 }, Some(HOME), &[]),
        "group" => (Who::Group { path: TEAM.into() }, None, &["alice"]),
        "super" => (Who::User(user("alice")), None, &["root"]),
        _ => (Who::User(user("alice")), Some(HOME), &["bob"]),
    };
    let mut world = World::new(address, users);
    let team = user("alice").to_string();
    for operation in [create("/p", ""), create("/acl", ""), create(TEAM, &team)] {
        world.ask(ROOT, operation);
    }
    let owner = AclEntry { who: Who::User(user("owner")), rights: Rights::ALL };
    let own = Acl::new([owner.clone()]);
    let granted = Acl::new([owner, AclEntry { who, rights }]).inherited();
    let set_acl = |acl: &Acl| Operation::SetAcl { path: NODE.into(), acl: Some(acl.clone()), expect: Expect::Any };
    let (take, give) = match way {
        Way::List => (set_acl(&own), set_acl(&granted)),
        Way::Group => (set(TEAM, ""), set(TEAM, &team)),
    };
    let begin = world.namespace.revision();
    world.watch(0, None);
    let (data, lifetime) = (Bytes::from_static(b"secret-data 0"), Lifetime::Permanent);
    let made = Operation::CreateWithAcl { path: NODE.into(), data, lifetime, sequential: false, acl: granted };
    for operation in [made, set(NODE, "secret-data 1"), create(BELOW, "secret-data 2"), set(BELOW, "secret-data 3")] {
        world.ask(ROOT, operation);
    }
    // Somebody has the lock, and somebody else wants it.
    [ROOT, OTHER].into_iter().for_each(|who| world.ask(who, acquire(NODE)));
    world.ask(ROOT, take);
    world.ask(ROOT, set(NODE, "secret-data 4"));
    let taken_at = world.namespace.revision();
    let mut live = world.told(2 * SCOPES.len());
    world.watch(100, Some(begin));
    let meanwhile = world.told(2 * SCOPES.len());
    (100..).take(2 * SCOPES.len()).for_each(|watch| world.say(&ClientMessage::Unwatch { watch }));
    for operation in [give, set(NODE, "secret-data 5"), delete(BELOW), delete(NODE)] {
        world.ask(ROOT, operation);
    }
    live.extend(world.told(0));
    world.watch(200, Some(begin));
    let after = world.told(2 * SCOPES.len());
    Story { live, meanwhile, after, taken_at, bytes: world.bytes }
}

/// Of what whoever may do everything was told, what others are told who have those rights, or none.
fn seen(of_all: &[Told], rights: Rights, is_told: impl Fn(&Told) -> bool) -> Vec<Told> {
    let may = |told: &&Told| rights.has_any(needed(told.scope)) && is_told(told);
    of_all.iter().filter(may).cloned().collect()
}

fn needed(scope: Scope) -> Rights {
    if scope == Scope::Lock { Rights::READ.or(Rights::LOCK) } else { Rights::READ }
}

fn holds(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}

/// Single rights, all but one, and all.
fn some_rights() -> impl Iterator<Item = Rights> {
    let single = (0..6).map(|bit| 1 << bit);
    let all_but = (0..6).map(|bit| Rights::ALL.bits() & !(1 << bit));
    single.chain(all_but).chain([Rights::ALL.bits()]).map(|bits| Rights::of_bits(bits).expect("these are rights"))
}

#[test]
fn every_watch_of_everybody_tells_what_may_be_seen_and_nothing_else() {
    for way in [Way::List, Way::Group] {
        let of_all = story("super", Rights::READ, way);
        let scopes = |told: &[Told]| told.iter().map(|told| format!("{:?}", told.scope)).collect::<BTreeSet<_>>().len();
        let by_time = [&of_all.live, &of_all.meanwhile, &of_all.after].map(|told| scopes(told));
        assert_eq!(by_time, [5; 3], "there is something to be told at every scope: {of_all:?}");
        assert!(of_all.live.iter().any(|told| told.revision == of_all.taken_at));
        let named = NAMED.into_iter().filter(|named| *named != "super" && (way == Way::List || *named == "group"));
        for (named, rights) in named.flat_map(|named| some_rights().map(move |rights| (named, rights))) {
            let found = story(named, rights, way);
            let granted = if named == "nobody" { Rights::NONE } else { rights };
            let context = format!("{named} with {rights}, taken away by {way:?}");
            assert_eq!(found.taken_at, of_all.taken_at, "the stories are the same");
            let then = |told: &Told| told.revision != of_all.taken_at;
            assert_eq!(found.live, seen(&of_all.live, granted, then), "live, {context}");
            // A list hides its own node, whoever else's list gave the rights then; an empty group whatever it was given.
            let still = |told: &Told| way == Way::List && told.path == BELOW;
            assert_eq!(found.meanwhile, seen(&of_all.meanwhile, granted, still), "meanwhile, {context}");
            // Who is in a group is what the group says now; which list a node had is known of each event.
            let now = |told: &Told| way == Way::Group || then(told);
            assert_eq!(found.after, seen(&of_all.after, granted, now), "afterwards, {context}");

            let (reads, looks) = (granted.has_any(Rights::READ), granted.has_any(needed(Scope::Lock)));
            assert_eq!(holds(&found.bytes, "secret-data"), reads, "{context}");
            assert_eq!(holds(&found.bytes, "secret-name"), looks, "{context}");
            assert_eq!(holds(&found.bytes, BELOW), reads, "{context}");
        }
    }
}
