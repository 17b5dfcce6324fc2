//! Watches of a front whose connections' bytes are read back.

use std::sync::Arc;

use bytes::BytesMut;

use super::super::*;
use crate::namespace::codec::encode_outcome;
use crate::namespace::command::{Done, Read, Stat};
use crate::namespace::{Aspect, Change, CommandOutcome, Node};
use crate::replica::exchange::Applied;
use crate::wire::client::{ClientMessage, Consistency, Hello};
use crate::wire::frame::{CLIENT_MAGIC, FrameError, FrameReader};
use crate::wire::watch::{EventKind, Registration, Scope};

/// What a client was told, in short.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    Opened(u64, Revision),
    Refused(u64),
    /// Watch, revision, and the events' kinds and paths.
    Events(u64, Revision, Vec<(EventKind, String)>),
    Gap(u64, Revision, Revision),
    Progress(Revision),
    Reply(u64),
    Read(u64, Revision),
    Other,
}

struct Test {
    front: Front,
    tree: Tree,
    revision: Revision,
    slot: u64,
    /// What the events that were told brought.
    brought: Vec<Option<Vec<u8>>>,
    /// Of each frame of events that was told, whether more of its revision follow.
    more: Vec<bool>,
}

impl Test {
    fn new(past_bytes_max: usize) -> Self {
        let facts = Facts {
            cell: CellId(1),
            replica: ReplicaId(1),
            members: Vec::new(),
            timeout_min: Duration::from_secs(2),
            timeout_max: Duration::from_secs(60),
            seed: 7,
            past_bytes_max,
            super_user: None,
            rate: None,
        };
        let (front, tree) = (Front::new(facts), Tree::new(1));
        let mut test = Self { front, tree, revision: 0, slot: 0, brought: Vec::new(), more: Vec::new() };
        test.front.notice(FrontNotice::Leader { leader: Some(ReplicaId(1)) }, &test.tree);
        test
    }

    /// A connection with a session; its number is the session's.
    fn client(&mut self, number: u64) -> ConnectionId {
        let id = ConnectionId(number);
        self.front.opened(Instant::ZERO, id, None);
        let hello = Hello { protocol_min: 1, protocol_max: 1, cell: None, name: "", seen: 0, resume: None };
        self.say(id, &ClientMessage::Hello(hello));
        let secret = u128::from(number);
        self.say(id, &ClientMessage::OpenSession { token: number, secret, timeout_ms: 5_000 });
        let session = SessionId(number);
        let opened =
            CommandOutcome::SessionOpened { token: number, secret, session, timeout_ms: 5_000, who: Arc::default() };
        self.apply(vec![], vec![opened]);
        self.told(id);
        id
    }

    fn say(&mut self, id: ConnectionId, message: &ClientMessage<'_>) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.front.received(Instant::ZERO, id, &bytes);
    }

    fn watch(&mut self, id: ConnectionId, watch: u64, path: &str, scope: Scope) {
        let registration = Registration { path, scope, from: None, with_data: false };
        self.say(id, &ClientMessage::Watch { watch, registration });
    }

    fn watch_from(&mut self, id: ConnectionId, watch: u64, path: &str, from: Revision) {
        let registration = Registration { path, scope: Scope::Subtree, from: Some(from), with_data: false };
        self.say(id, &ClientMessage::Watch { watch, registration });
    }

    /// Watches everything, with data, from the first revision on.
    fn watch_data(&mut self, id: ConnectionId) {
        let registration = Registration { path: "/", scope: Scope::Subtree, from: Some(0), with_data: true };
        self.say(id, &ClientMessage::Watch { watch: 1, registration });
    }

    fn read(&mut self, id: ConnectionId, number: u64) {
        let mut read = BytesMut::new();
        Read::Exists { path: "/".to_owned() }.encode(&mut read);
        self.say(id, &ClientMessage::Read { number, consistency: Consistency::Linearizable, read: &read });
    }

    /// The next revision, made of these changes.
    fn change(&mut self, changes: &[(&str, Aspect)]) {
        self.revision += 1;
        let changes = changes.iter().map(|(path, aspect)| change(self.revision, path, *aspect)).collect();
        self.apply(changes, vec![]);
    }

    /// The next revision, made of one change, which the tree has as well.
    fn store(&mut self, path: &str, aspect: Aspect, (instance, version): (u64, u64), data: &[u8]) {
        self.revision += 1;
        let mut change = change(self.revision, path, aspect);
        let stat = Stat { instance, version, ..Stat::default() };
        change.node = change.node.map(|_| Node::new(data, stat));
        self.tree.mirror(&change);
        self.apply(vec![change], vec![]);
    }

    fn apply(&mut self, changes: Vec<Change>, outcomes: Vec<CommandOutcome>) {
        self.slot += 1;
        let since = self.front.revision;
        let applied =
            Applied { upto: Slot(self.slot), since, revision: self.revision, changes: changes.into(), outcomes };
        self.front.notice(FrontNotice::Applied(applied), &self.tree);
    }

    /// Ends the turn under the lease.
    fn turn(&mut self) {
        let mut requests = Vec::new();
        self.front.prepare(Instant::ZERO, true, &mut requests);
        self.front.finish(Instant::ZERO, &self.tree, true, || true);
    }

    /// Turns until there is nothing to do; what one client was told in all of it.
    fn turns(&mut self, id: ConnectionId) -> Vec<Told> {
        let mut told = Vec::new();
        for _ in 0..10_000 {
            self.turn();
            told.extend(self.told(id));
            if !self.front.is_restless() {
                return told;
            }
        }
        panic!("a front comes to rest");
    }

    /// Takes what the connections were sent; what one of them was told.
    fn told(&mut self, id: ConnectionId) -> Vec<Told> {
        let mut told = Vec::new();
        self.front.take_output(|output| {
            if let Output::Send { connection, bytes } = output
                && connection == id
            {
                let fed = FrameReader::new(CLIENT_MAGIC).feed(&bytes, CLIENT_FRAME_BYTES_MAX, |frame| {
                    let message = ServerMessage::decode(frame).expect("the front speaks the protocol");
                    if let ServerMessage::Events { events, more, .. } = &message {
                        self.more.push(*more);
                        self.brought.extend(events.iter().map(|event| event.node.map(|(data, _)| data.to_vec())));
                    }
                    told.push(Told::of(message));
                    Ok::<(), FrameError>(())
                });
                fed.expect("the front writes whole frames");
            }
        });
        told
    }
}

impl Told {
    fn of(message: ServerMessage<'_>) -> Self {
        match message {
            ServerMessage::WatchOpened { watch, revision } => Self::Opened(watch, revision),
            ServerMessage::WatchRefused { watch, .. } => Self::Refused(watch),
            ServerMessage::Events { watch, revision, events, .. } => {
                Self::Events(watch, revision, events.iter().map(|e| (e.kind, e.path.to_owned())).collect())
            }
            ServerMessage::Gap { watch, from, to } => Self::Gap(watch, from, to),
            ServerMessage::Progress { revision } => Self::Progress(revision),
            ServerMessage::Reply { number, .. } => Self::Reply(number),
            ServerMessage::ReadReply { number, revision, .. } => Self::Read(number, revision),
            _ => Self::Other,
        }
    }
}

fn change(revision: Revision, path: &str, aspect: Aspect) -> Change {
    let node = (aspect != Aspect::Death).then(|| Node::new(&[], Stat::default()));
    Change { revision, path: path.into(), aspect, node, left_acl: None }
}

fn event(watch: u64, revision: Revision, kind: EventKind, path: &str) -> Told {
    Told::Events(watch, revision, vec![(kind, path.to_owned())])
}

use EventKind::{Changed, Created, Deleted, OverQuota, Wanted};

#[test]
fn each_scope_sees_its_own() {
    let mut test = Test::new(1 << 20);
    let id = test.client(1);
    let scopes = [Scope::Node, Scope::Children, Scope::Entries, Scope::Subtree, Scope::Lock];
    (1..).zip(scopes).for_each(|(watch, scope)| test.watch(id, watch, "/a", scope));
    test.told(id);
    for (path, aspect, kind, who) in [
        ("/a", Aspect::Birth, Created, &[1, 2, 3, 4][..]),
        ("/a", Aspect::Data, Changed, &[1, 4]),
        ("/a", Aspect::Children, Changed, &[]),
        ("/a/b", Aspect::Birth, Created, &[2, 3, 4]),
        ("/a/b", Aspect::Data, Changed, &[3, 4]),
        ("/a/b/c", Aspect::Birth, Created, &[4]),
        ("/a/b/c", Aspect::Death, Deleted, &[4]),
        ("/a/b", Aspect::Death, Deleted, &[2, 3, 4]),
        ("/ab", Aspect::Birth, Created, &[]),
        ("/", Aspect::Data, Changed, &[]),
        ("/a", Aspect::OverQuota, OverQuota, &[1, 4]),
        ("/a/b", Aspect::OverQuota, OverQuota, &[4]),
        ("/a", Aspect::Quota, Changed, &[]),
        ("/a", Aspect::Lock, Changed, &[]),
        ("/a", Aspect::Wanted, Wanted, &[5]),
        ("/a/b", Aspect::Wanted, Wanted, &[]),
        ("/a", Aspect::Death, Deleted, &[1, 2, 3, 4, 5]),
    ] {
        test.change(&[(path, aspect)]);
        let revision = test.revision;
        let expected: Vec<_> = who.iter().map(|watch| event(*watch, revision, kind, path)).collect();
        assert_eq!(test.told(id), expected, "{aspect:?} of {path}");
    }
    test.watch(id, 9, "/", Scope::Subtree);
    test.told(id);
    test.change(&[("/x/y", Aspect::Data), ("/x/y", Aspect::Data)]);
    let both = vec![(Changed, "/x/y".to_owned()); 2];
    assert_eq!(test.told(id), [Told::Events(9, test.revision, both)], "a revision is told in one");
}

#[test]
fn events_come_before_the_answers_of_their_turn() {
    let mut test = Test::new(1 << 20);
    let id = test.client(1);
    test.watch(id, 1, "/a", Scope::Node);
    assert_eq!(test.told(id), [Told::Opened(1, 0)]);
    test.read(id, 5);
    let mut outcome = BytesMut::new();
    encode_outcome(&Ok(Done::Synced), &mut outcome);
    let replied =
        CommandOutcome::Replied { session: SessionId(1), number: 1, revision: 1, outcome: outcome.freeze(), who: None };
    test.revision = 1;
    test.apply(vec![change(1, "/a", Aspect::Data)], vec![replied]);
    test.turn();
    assert_eq!(test.told(id), [event(1, 1, Changed, "/a"), Told::Reply(1), Told::Read(5, 1)]);
}

#[test]
fn a_watch_that_comes_back_is_told_what_it_missed_and_then_goes_on() {
    let mut test = Test::new(1 << 20);
    let id = test.client(1);
    (0..5).for_each(|_| test.change(&[("/a", Aspect::Data)]));
    test.watch_from(id, 1, "/", 2);
    test.read(id, 1);
    let missed: Vec<_> = (3..=5).map(|revision| event(1, revision, Changed, "/a")).collect();
    let mut expected = vec![Told::Opened(1, 2)];
    expected.extend(missed);
    expected.extend([Told::Progress(5), Told::Read(1, 5)]);
    assert_eq!(test.turns(id), expected, "no read overtakes what is still to be told");
    test.change(&[("/a", Aspect::Data)]);
    assert_eq!(test.told(id), [event(1, 6, Changed, "/a")]);
}

#[test]
fn what_the_past_does_not_reach_is_one_gap() {
    let mut test = Test::new(1_000);
    let id = test.client(1);
    (0..100).for_each(|_| test.change(&[("/a", Aspect::Data)]));
    test.watch_from(id, 1, "/a", 10);
    let told = test.turns(id);
    let Told::Gap(1, 10, floor) = told[1] else { panic!("a gap comes first: {told:?}") };
    assert!(floor > 80 && floor < 100, "the past is short, but not empty: {floor}");
    let mut expected = vec![Told::Opened(1, 10), Told::Gap(1, 10, floor)];
    expected.extend((floor + 1..=100).map(|revision| event(1, revision, Changed, "/a")));
    expected.push(Told::Progress(100));
    assert_eq!(told, expected);
}

#[test]
fn a_state_that_was_loaded_whole_is_a_gap_for_everybody() {
    let mut test = Test::new(1 << 20);
    let id = test.client(1);
    test.change(&[("/a", Aspect::Data)]);
    test.watch(id, 1, "/a", Scope::Node);
    test.told(id);
    let applied = Applied {
        upto: Slot(100),
        since: 50,
        revision: 51,
        changes: [change(51, "/a", Aspect::Data)].into(),
        outcomes: vec![],
    };
    test.front.notice(FrontNotice::Applied(applied), &test.tree);
    assert_eq!(test.turns(id), [Told::Gap(1, 1, 50), event(1, 51, Changed, "/a"), Told::Progress(51)]);
}

#[test]
fn a_replica_that_lags_tells_only_what_is_past_the_cursor() {
    let mut test = Test::new(1 << 20);
    let id = test.client(1);
    test.change(&[("/a", Aspect::Data)]);
    test.watch_from(id, 1, "/a", 3);
    assert_eq!(test.turns(id), [Told::Opened(1, 3)]);
    (0..3).for_each(|_| test.change(&[("/a", Aspect::Data)]));
    assert_eq!(test.turns(id), [event(1, 4, Changed, "/a")]);
}

#[test]
fn a_client_that_does_not_read_costs_nothing_more_and_goes_on_later() {
    let mut test = Test::new(4_000);
    let (slow, quick) = (test.client(1), test.client(2));
    for id in [slow, quick] {
        test.watch(id, 1, "/a", Scope::Node);
        test.told(id);
    }
    test.front.clogged(slow);
    test.read(slow, 1);
    test.turn();
    assert!(test.told(slow).is_empty(), "nobody is answered faster than it reads");
    (0..5).for_each(|_| test.change(&[("/a", Aspect::Data)]));
    test.read(slow, 2);
    test.turn();
    assert_eq!(test.told(quick).len(), 5, "others do not notice");
    assert!(test.told(slow).is_empty() && !test.front.is_restless(), "nothing is written and nothing spins");
    test.front.drained(slow);
    let mut expected: Vec<_> = (1..=5).map(|revision| event(1, revision, Changed, "/a")).collect();
    expected.extend([Told::Progress(5), Told::Read(1, 5), Told::Read(2, 5)]);
    assert_eq!(test.turns(slow), expected);
    test.front.clogged(quick);
    test.read(quick, 3);
    test.turn();
    assert!(test.told(quick).is_empty() && !test.front.is_restless());
    test.front.drained(quick);
    assert_eq!(test.turns(quick), [Told::Read(3, 5)], "whoever has no news to be told first is answered at once");
    // So long a time that the past forgets.
    test.front.clogged(slow);
    (0..200).for_each(|_| test.change(&[("/a", Aspect::Data)]));
    test.front.drained(slow);
    let told = test.turns(slow);
    assert!(matches!(told[0], Told::Gap(1, 5, to) if to > 100), "{told:?}");
    assert_eq!(told[told.len() - 2], event(1, 205, Changed, "/a"));
}

#[test]
fn a_turn_tells_one_client_no_more_than_is_good_for_the_others() {
    let mut test = Test::new(64 << 20);
    let id = test.client(1);
    (1..=20).for_each(|n| test.store(&format!("/{n}"), Aspect::Birth, (n, 0), &[7; 300 << 10]));
    test.watch_data(id);
    test.turn();
    let first = test.told(id).len();
    assert!(first > 2 && first < 10, "{first} frames in the first turn");
    let rest = test.turns(id);
    assert_eq!(first + rest.len(), 22, "all of it, and that it is open, and how far");
    assert_eq!(rest[rest.len() - 2], event(1, 20, Created, "/20"));
    assert!(test.brought.len() == 20 && test.brought.iter().all(Option::is_some), "with its data");
}

#[test]
fn what_is_caught_up_with_brings_data_unless_the_node_has_changed_since() {
    let mut test = Test::new(1 << 20);
    let id = test.client(1);
    test.store("/a", Aspect::Birth, (1, 0), b"old");
    test.store("/b", Aspect::Birth, (2, 0), b"kept");
    test.store("/a", Aspect::Data, (1, 1), b"new");
    test.store("/c", Aspect::Birth, (3, 0), b"of another instance");
    test.store("/c", Aspect::Death, (3, 0), b"");
    test.store("/c", Aspect::Birth, (4, 0), b"again");
    test.store("/b", Aspect::Children, (2, 0), b"kept");
    test.watch_data(id);
    let events = [(1, Created, "/a"), (2, Created, "/b"), (3, Changed, "/a"), (4, Created, "/c")];
    let events = events.into_iter().chain([(5, Deleted, "/c"), (6, Created, "/c")]);
    let mut expected = vec![Told::Opened(1, 0)];
    expected.extend(events.map(|(revision, kind, path)| event(1, revision, kind, path)));
    expected.push(Told::Progress(7));
    assert_eq!(test.turns(id), expected, "each is told");
    let brought: Vec<_> = test.brought.drain(..).collect();
    let known = |data: &[u8]| Some(data.to_vec());
    assert_eq!(brought, [None, known(b"kept"), known(b"new"), None, None, known(b"again")]);
    test.store("/a", Aspect::Data, (1, 2), b"newer");
    test.store("/a", Aspect::Data, (1, 3), b"newest");
    test.turns(id);
    assert_eq!(test.brought, [known(b"newer"), known(b"newest")], "live, each brings its own");
}

#[test]
fn watches_go_with_their_connection_their_session_and_when_nobody_wants_them() {
    let mut test = Test::new(1 << 20);
    let ids: Vec<_> = (1..=4).map(|number| test.client(number)).collect();
    for id in &ids {
        test.watch(*id, 1, "/a", Scope::Node);
        test.watch(*id, 2, "/b", Scope::Subtree);
    }
    test.say(ids[0], &ClientMessage::Unwatch { watch: 1 });
    test.front.closed(ids[1]);
    test.apply(vec![], vec![CommandOutcome::SessionExpired { session: SessionId(3) }]);
    ids.iter().for_each(|id| drop(test.told(*id)));
    test.change(&[("/a", Aspect::Data)]);
    test.change(&[("/b/c", Aspect::Birth)]);
    let mut heard = Vec::new();
    test.front.take_output(|output| {
        if let Output::Send { connection, .. } = output {
            heard.push(connection);
        }
    });
    assert_eq!(heard, [ids[3], ids[0]]);
    test.front.closed(ids[0]);
    test.front.closed(ids[3]);
    assert!(test.front.watches.is_empty());
}

#[test]
fn a_bad_path_is_refused_and_a_number_used_twice_costs_the_connection() {
    let mut test = Test::new(1 << 20);
    let id = test.client(1);
    test.watch(id, 1, "a", Scope::Node);
    test.watch(id, 1, "/a", Scope::Node);
    assert_eq!(test.told(id), [Told::Refused(1), Told::Opened(1, 0)]);
    test.watch(id, 1, "/a", Scope::Node);
    assert_eq!(test.told(id), [Told::Other], "a fault");
}

#[test]
fn quiet_watches_are_told_now_and_then_how_far_they_are() {
    let mut test = Test::new(20_000);
    let id = test.client(1);
    test.watch(id, 1, "/quiet", Scope::Node);
    test.told(id);
    (0..1_000).for_each(|_| test.change(&[("/a", Aspect::Data)]));
    let told = test.told(id);
    let progress: Vec<_> =
        told.iter().filter_map(|t| if let Told::Progress(r) = t { Some(*r) } else { None }).collect();
    assert_eq!(progress.len(), told.len(), "it is told nothing else");
    let floor = test.front.watches.floor();
    assert!(floor > 0 && progress.last().is_some_and(|last| *last > floor), "it can come back without a gap");
}

#[test]
fn a_hundred_thousand_watches_take_two_hundred_bytes_each() {
    const COUNT: u64 = 100_000;
    for of_own in [true, false] {
        let mut test = Test::new(1 << 20);
        for client in 1..=10 {
            let id = test.client(client);
            for watch in 0..COUNT / 10 {
                let path = if of_own { format!("/services/{client}/{watch:06}") } else { "/services".to_owned() };
                test.watch(id, watch, &path, Scope::Node);
            }
            test.told(id);
        }
        let each = test.front.watches.bytes() as u64 / COUNT;
        assert!(each <= 200, "{each} bytes a watch");
        let id = ConnectionId(3);
        test.change(&[(if of_own { "/services/3/000777" } else { "/services" }, Aspect::Data)]);
        assert_eq!(test.told(id).len(), if of_own { 1 } else { 10_000 });
    }
}

/// What is told to who watches everything when so many nodes with long names are removed at once.
fn removed(test: &mut Test, id: ConnectionId, count: usize) -> Vec<Told> {
    test.watch(id, 1, "/", Scope::Subtree);
    test.told(id);
    let paths: Vec<_> = (0..count).map(|n| format!("/{n:0>600}")).collect();
    let changes: Vec<_> = paths.iter().map(|path| (&**path, Aspect::Death)).collect();
    test.change(&changes);
    test.turn();
    test.told(id)
}

/// A client that takes a part for the whole drops the rest as old.
#[test]
fn a_revision_of_several_frames_says_which_is_the_last() {
    let mut test = Test::new(64 << 20);
    let id = test.client(1);
    let told = removed(&mut test, id, 1_000);
    assert_eq!(test.more, [true, true, false]);
    let count = |told: &Told| if let Told::Events(1, 1, events) = told { events.len() } else { 0 };
    assert_eq!(told.iter().map(count).sum::<usize>(), 1_000, "all of it");
}

#[test]
fn a_revision_that_is_more_than_a_connection_takes_is_a_gap() {
    let mut test = Test::new(64 << 20);
    let id = test.client(1);
    let told = removed(&mut test, id, 16_000);
    assert_eq!(told[0], Told::Gap(1, 0, 1), "it is not left out in silence");
    test.change(&[("/a", Aspect::Birth)]);
    test.turn();
    assert_eq!(test.told(id)[0], event(1, 2, Created, "/a"), "and it goes on");
}
