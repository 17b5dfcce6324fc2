//! Whom a front takes a connection for, and what it tells whom.

use core::net::IpAddr;

use super::*;
use crate::namespace::acl::{Acl, AclEntry, Principals, User};
use crate::namespace::codec::{CommandRef, encode_outcome};
use crate::namespace::command::{Command, Done, Read, Revision, Stat};
use crate::namespace::{Aspect, Change, Node, Parts};
use crate::replica::exchange::Submission;
use crate::wire::client::Consistency;
use crate::wire::watch::{Event, Registration, Scope};

const HOME: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);

/// A front with one client, in a session, and a tree.
struct Test {
    front: Front,
    tree: Tree,
    revision: Revision,
    /// An event brought what its node holds.
    brought: bool,
}

impl Test {
    fn new(super_user: Option<User>) -> Self {
        let mut front = super::front();
        front.facts.super_user = super_user;
        front.closed(CLIENT);
        front.opened(START, CLIENT, Some(HOME));
        let mut test = Self { front, tree: Tree::new(1), revision: 1, brought: false };
        test.front.received(Instant::ZERO, CLIENT, &hello(None));
        test.say(&ClientMessage::OpenSession { token: 3, secret: 9, timeout_ms: 12_000 });
        test
    }

    fn say(&mut self, message: &ClientMessage<'_>) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.front.received(Instant::ZERO, CLIENT, &bytes);
    }

    /// The session exists, for whoever it is.
    fn enter(&mut self, who: Principals) {
        let who = Arc::new(who);
        let opened = CommandOutcome::SessionOpened { token: 3, secret: 9, session: SESSION, timeout_ms: 12_000, who };
        self.apply(vec![], vec![opened]);
    }

    fn apply(&mut self, changes: Vec<Change>, outcomes: Vec<CommandOutcome>) {
        let since = self.front.revision;
        changes.iter().for_each(|change| self.tree.mirror(change));
        self.revision += u64::from(!changes.is_empty());
        let (upto, revision, changes) = (Slot(self.revision), self.revision, changes.into());
        self.front.notice(FrontNotice::Applied(Applied { upto, since, revision, changes, outcomes }), &self.tree);
    }

    /// A node came, or is another, or went.
    fn change(&mut self, path: &str, aspect: Aspect, acl: Option<&Arc<Acl>>) {
        let stat = Stat { instance: self.revision, ..Stat::default() };
        let mut parts = Parts::NONE;
        parts.acl = acl.cloned();
        let node = Node::of(b"data", stat, parts);
        let dies = aspect == Aspect::Death;
        let change = Change {
            revision: self.revision + 1,
            path: path.into(),
            aspect,
            node: (!dies).then_some(node),
            left_acl: acl.filter(|_| dies).cloned(),
        };
        self.apply(vec![change], vec![]);
    }

    /// What was put into the log since the last time.
    fn submitted(&mut self) -> Vec<Command> {
        let mut requests = Vec::new();
        self.front.prepare(START, true, &mut requests);
        let runs = requests.into_iter().filter_map(|request| match request {
            FrontRequest::Submit(Submission { run, .. }) => Some(run),
            _ => None,
        });
        let mut commands = Vec::new();
        for run in runs {
            let mut rest = &run[..];
            while let Some((length, after)) = rest.split_first_chunk() {
                let (command, after) = after.split_at(u32::from_le_bytes(*length) as usize);
                commands.push(CommandRef::decode(command).expect("the front writes commands").to_command());
                rest = after;
            }
        }
        commands
    }

    /// What the client was told of: the paths of events, and whether a read found its node.
    fn told(&mut self) -> Vec<String> {
        self.front.prepare(START, true, &mut Vec::new());
        self.front.finish(START, &self.tree, true, || true);
        let (mut told, mut brought) = (Vec::new(), false);
        let mut reader = FrameReader::new(CLIENT_MAGIC);
        self.front.take_output(|output| {
            let Output::Send { bytes, .. } = output else { return };
            let fed = reader.feed::<crate::wire::client::MessageError>(&bytes, 1 << 20, |frame| {
                match ServerMessage::decode(frame)? {
                    ServerMessage::Events { events, .. } => {
                        brought |= events.iter().any(|event| event.node.is_some());
                        let name = |event: &Event<'_>| format!("{:?} {}", event.kind, event.path);
                        told.extend(events.iter().map(name));
                    }
                    ServerMessage::ReadReply { answer, .. } => {
                        let answer = crate::namespace::codec::decode_read_outcome(answer).expect("an answer");
                        told.push(format!("found {}", answer.is_ok()));
                    }
                    ServerMessage::Fault { text, .. } => told.push(text.to_owned()),
                    _ => {}
                }
                Ok(())
            });
            fed.expect("the front writes whole frames");
        });
        self.brought |= brought;
        told
    }

    fn read(&mut self, path: &str) -> Vec<String> {
        let mut read = BytesMut::new();
        Read::Get { path: path.to_owned() }.encode(&mut read);
        self.say(&ClientMessage::Read { number: 1, consistency: Consistency::Linearizable, read: &read });
        self.told()
    }
}

fn alices() -> Arc<Acl> {
    let who = crate::namespace::acl::Who::User(User::new("alice", "a"));
    Arc::new(Acl::new([AclEntry { who, rights: crate::namespace::acl::Rights::ALL }]))
}

/// A list that lets alice lock, and no more.
fn lockers() -> Arc<Acl> {
    let who = crate::namespace::acl::Who::User(User::new("alice", "a"));
    Arc::new(Acl::new([AclEntry { who, rights: crate::namespace::acl::Rights::LOCK }]))
}

fn alice() -> Principals {
    Principals { users: vec![User::new("alice", "a")], ..Principals::at(Some(HOME)) }
}

#[test]
fn the_log_hears_addresses_and_digests_and_no_password() {
    let root = User::new("root", "r");
    let mut test = Test::new(Some(root.clone()));
    let opened = test.submitted();
    assert!(matches!(&opened[..], [Command::OpenSession { address: Some(HOME), .. }]), "{opened:?}");
    test.enter(Principals::at(Some(HOME)));
    for (number, (name, password)) in (1..).zip([("alice", "a"), ("root", "guess"), ("root", "r")]) {
        test.say(&ClientMessage::Authenticate { number, acked_upto: 0, name, password });
        let operation = Operation::Authenticate { user: User::new(name, password), is_super: password == "r" };
        assert_eq!(test.submitted(), [Command::Request { session: SESSION, number, acked_upto: 0, operation }]);
    }
    let mut forged = BytesMut::new();
    Operation::Authenticate { user: root, is_super: true }.encode(&mut forged);
    test.say(&ClientMessage::Request { number: 4, acked_upto: 0, operation: &forged });
    assert!(test.submitted().is_empty(), "a client does not say whom it is to be taken for");
    let told = test.told();
    assert!(told.iter().any(|text| text.contains("proved with a password")), "{told:?}");
}

#[test]
fn a_connection_is_whom_the_last_outcome_says() {
    let mut test = Test::new(None);
    test.change("/h", Aspect::Birth, Some(&alices()));
    test.enter(Principals::at(Some(HOME)));
    assert_eq!(test.read("/h"), ["found false"]);
    let mut outcome = BytesMut::new();
    encode_outcome(&Ok(Done::Authenticated), &mut outcome);
    let (revision, outcome, who) = (test.revision, outcome.freeze(), Some(Arc::new(alice())));
    test.apply(vec![], vec![CommandOutcome::Replied { session: SESSION, number: 1, revision, outcome, who }]);
    assert_eq!(test.read("/h"), ["found true"]);

    let mut elsewhere = Test::new(None);
    elsewhere.change("/h", Aspect::Birth, Some(&alices()));
    elsewhere.enter(alice());
    assert_eq!(elsewhere.read("/h"), ["found true"], "an opening that is repeated finds the session as it is");
}

#[test]
fn watches_tell_what_may_be_read_then_and_now() {
    let everything = |own: bool| {
        let mut test = Test::new(None);
        test.enter(if own { alice() } else { Principals::default() });
        let registration = |path, from| Registration { path, scope: Scope::Subtree, from, with_data: true };
        test.say(&ClientMessage::Watch { watch: 1, registration: registration("/", None) });
        test.told();
        let own = alices();
        test.change("/seen", Aspect::Birth, None);
        test.change("/h", Aspect::Birth, Some(&own));
        test.change("/h", Aspect::Data, Some(&own));
        test.change("/h", Aspect::Death, Some(&own));
        let live = test.told();
        test.change("/turns", Aspect::Birth, None);
        test.change("/turns", Aspect::Acl, Some(&own));
        test.told();
        // From the past: what was open to all has turned since.
        test.say(&ClientMessage::Watch { watch: 2, registration: registration("/", Some(1)) });
        (live, test.told())
    };
    let (live, past) = everything(true);
    assert_eq!(live, ["Created /seen", "Created /h", "Changed /h", "Deleted /h"]);
    assert_eq!(past, ["Created /seen", "Created /h", "Changed /h", "Deleted /h", "Created /turns"]);
    let (live, past) = everything(false);
    assert_eq!(live, ["Created /seen"]);
    assert_eq!(past, ["Created /seen"]);
}

#[test]
fn who_may_lock_is_told_of_the_lock_and_not_what_its_node_holds() {
    let told = |who: Principals, scope: Scope| {
        let mut test = Test::new(None);
        test.change("/l", Aspect::Birth, Some(&lockers()));
        test.enter(who);
        let registration = Registration { path: "/l", scope, from: None, with_data: true };
        test.say(&ClientMessage::Watch { watch: 1, registration });
        test.told();
        for aspect in [Aspect::Wanted, Aspect::Data, Aspect::Death] {
            test.change("/l", aspect, Some(&lockers()));
        }
        let told = test.told();
        assert!(!test.brought, "nobody may read it");
        told
    };
    assert_eq!(told(alice(), Scope::Lock), ["Wanted /l", "Deleted /l"]);
    assert!(told(alice(), Scope::Node).is_empty(), "it may not be read");
    assert!(told(Principals::default(), Scope::Lock).is_empty(), "who may neither lock nor read hears nothing");
}
