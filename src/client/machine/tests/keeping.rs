//! What is kept is never wrong: leases, recalls, and answers that were on their way.

use bytes::Bytes;

use super::*;
use crate::paxos::ballot::{Ballot, ReplicaId};
use crate::wire::cache::{CacheTold, Recall};

const REIGN: Ballot = Ballot { round: 3, replica: ReplicaId(1) };

fn exists() -> Read {
    Read::Exists { path: "/a".to_owned() }
}

impl Test {
    fn keep(&mut self, tag: u64) {
        self.machine.read_and_keep(self.now, tag, exists()).expect("there is room");
    }

    fn renewed(&mut self, number: u64) {
        self.say(&ServerMessage::Cache(CacheTold::Renewed { number, lease_ms: 2000 }));
    }

    fn kept_reply(&mut self, number: u64, keep: bool) {
        let mut answer = BytesMut::new();
        encode_read_outcome(&Ok(Answer::<Bytes>::Exists { stat: None }), &mut answer);
        self.say(&ServerMessage::Cache(CacheTold::Reply { number, revision: 10, keep, answer: &answer }));
    }

    fn recall(&mut self, number: u64, paths: &[&str]) {
        let paths = paths.iter().map(|path| (*path).into()).collect();
        self.say(&ServerMessage::Cache(CacheTold::Recall(Recall { reign: REIGN, number, paths })));
    }

    /// Whether the answer may be given now.
    fn gives(&self) -> bool {
        self.shelf.find(&exists()).is_some_and(|(_, until)| self.now < until)
    }

    /// A machine with a cache lease from now on, and the number of the next ping.
    fn leased() -> (Self, u64) {
        let mut test = Self::open();
        test.keep(1);
        test.pass(Duration::ZERO);
        assert_eq!(test.said(), [Said::ReadCached { number: 0 }, Said::Renew(1)]);
        test.kept_reply(0, false);
        assert!(!test.gives(), "the cell did not allow it");
        test.renewed(1);
        (test, 2)
    }
}

#[test]
fn an_answer_is_kept_while_the_lease_runs_from_when_it_was_asked_for() {
    let (mut test, _) = Test::leased();
    test.keep(2);
    assert_eq!(test.said(), [Said::ReadCached { number: 1 }]);
    test.kept_reply(1, true);
    assert!(test.gives());
    test.now += Duration::from_millis(400);
    assert!(test.gives());
    test.pass(Duration::from_millis(100));
    assert_eq!(test.said(), [Said::Renew(2)], "it is renewed in time");
    test.now += Duration::from_millis(1400);
    assert!(test.gives());
    test.now += Duration::from_millis(96);
    assert!(!test.gives(), "1.996 s after the renewal that was answered was sent");
    assert_eq!(test.succeeded(), [1, 2]);
}

#[test]
fn what_was_kept_under_a_lease_that_ran_out_is_not_kept_under_the_next() {
    let (mut test, _) = Test::leased();
    test.keep(2);
    test.kept_reply(1, true);
    test.pass(Duration::from_millis(500));
    test.keep(3);
    test.now += Duration::from_millis(2000);
    test.renewed(2);
    assert!(test.shelf.is_empty(), "the leader forgot it");
    test.kept_reply(2, true);
    assert!(!test.gives(), "the leader forgot what was on its way as well");
}

#[test]
fn a_recall_is_obeyed_before_it_is_answered() {
    let (mut test, _) = Test::leased();
    test.keep(2);
    test.kept_reply(1, true);
    test.said();
    test.recall(7, &["/b"]);
    assert!(test.gives());
    test.recall(8, &["/a"]);
    assert!(!test.gives());
    assert_eq!(test.said(), [Said::Recalled(7), Said::Recalled(8)]);
}

#[test]
fn an_answer_recalled_on_its_way_is_shown_and_not_kept() {
    let (mut test, _) = Test::leased();
    test.keep(2);
    test.recall(8, &["/a"]);
    test.kept_reply(1, true);
    assert_eq!(test.succeeded(), [1, 2]);
    assert!(!test.gives());
    test.keep(3);
    test.recall(9, &["/b"]);
    test.kept_reply(2, true);
    assert!(test.gives(), "another node's recall does not matter");
    test.keep(4);
    test.recall(0, &[]);
    test.kept_reply(3, true);
    assert!(!test.gives(), "everything was recalled");
}

#[test]
fn an_asking_on_a_new_connection_is_of_after_the_recall() {
    let (mut test, _) = Test::leased();
    test.keep(2);
    test.recall(8, &["/a"]);
    let said = test.reconnect(0);
    let number = 1 | 1 << 48;
    assert!(said.contains(&Said::ReadCached { number }));
    test.kept_reply(number, true);
    assert!(test.gives());
}

#[test]
fn a_session_not_yet_marked_asks_again_soon_and_one_that_keeps_nothing_never() {
    let mut test = Test::open();
    test.keep(1);
    test.pass(Duration::ZERO);
    test.said();
    test.say(&ServerMessage::Pong { number: 1 });
    test.pass(Duration::from_millis(10));
    assert_eq!(test.said(), [Said::Renew(2)]);
    let mut other = Test::open();
    other.get(1);
    other.read_reply(0, 10);
    other.pass(Duration::from_secs(4));
    assert!(other.said().contains(&Said::Ping(1)), "it renews its session only");
}

#[test]
fn nothing_kept_outlives_the_will_to_close() {
    let (mut test, _) = Test::leased();
    test.keep(2);
    test.kept_reply(1, true);
    assert!(test.gives());
    test.machine.close(test.now, 3);
    test.collect();
    assert!(!test.gives() && test.shelf.is_empty());
    test.renewed(2);
    assert!(!test.gives());
}

#[test]
fn a_full_shelf_is_cleared_for_what_is_used() {
    let mut shelf = Shelf::new(CacheSettings { answers_max: 2, bytes_max: 1 << 10 });
    let read = |name: &str| Read::Get { path: format!("/{name}") };
    let node = |bytes: usize| Answer::Node { data: vec![0; bytes].into(), stat: Stat::default() };
    let answer = |bytes: usize| Box::new(Ok(node(bytes)));
    for name in ["a", "b", "c"] {
        shelf.take(Shelve::Keep { read: read(name), revision: 1, answer: answer(10) });
    }
    assert_eq!(shelf.len(), 1);
    assert!(shelf.find(&read("c")).is_some() && shelf.find(&read("a")).is_none());
    shelf.take(Shelve::Keep { read: read("d"), revision: 1, answer: answer(2000) });
    assert!(shelf.find(&read("d")).is_none(), "larger than all there is room for");
    shelf.take(Shelve::Keep { read: read("c"), revision: 2, answer: answer(20) });
    assert_eq!(shelf.len(), 1, "a newer answer takes the place of an older one");
}
