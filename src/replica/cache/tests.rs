//! The cache by itself: what changes is foretold, what is kept is got back first, and a reign begins with nothing.

mod lists;
mod takeovers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::grants::{Blocked, Grants};
use super::touch::Touch;
use super::{Cache, EVERYTHING_OF_BEFORE, Recalls, Way, Whither};
use crate::limits::{CACHE_GRANTS_MAX, CACHE_LEASE, CACHE_RECALL_PATHS_MAX, CACHE_SESSION_GRANTS_MAX};
use crate::namespace::acl::{Acl, Principals};
use crate::namespace::codec::{CommandRef, OperationRef, ReadRef};
use crate::namespace::command::{Command, Expect, Operation, Resume, SessionId};
use crate::namespace::tests::batch;
use crate::namespace::tests::generated::{command, deeds};
use crate::namespace::tests::model::Model;
use crate::namespace::{Applied, Gate, Namespace, Tree, answer};
use crate::paxos::{Ballot, ReplicaId, Slot};
use crate::replica::exchange::{FrontId, Submission};
use crate::replica::reads::Asker;
use crate::replica::transfer::tests::started;
use crate::time::{Duration, Instant};
use crate::wire::cache::{Keep, Recall, Wish};

const S: SessionId = SessionId(7);
const T: SessionId = SessionId(8);
const HERE: Way = Way::Front(FrontId(0));
const THERE: Way = Way::Peer(ReplicaId(2));
const REIGN: Ballot = Ballot { round: 4, replica: ReplicaId(1) };

fn ms(n: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(10_000 + n)
}

fn node(path: &str) -> Touch {
    Touch::Node(path.into())
}

/// A cache in which `sessions` hold leases from 0 on.
fn cache(sessions: &[SessionId]) -> Cache {
    let mut cache = Cache::begin(REIGN, BTreeMap::new(), false, 0);
    assert!(cache.is_idle(), "nobody keeps anything");
    for session in sessions {
        assert!(cache.renew((*session, 1), false, HERE, 0));
    }
    cache.end_turn(ms(0));
    cache
}

/// A command of `session` that changes `touches` asks to be proposed; what it waits for.
fn admit(cache: &mut Cache, session: SessionId, touches: &[Touch]) -> Option<Recalls> {
    let recalls = cache.holds(Some(session), Some(touches));
    match &recalls {
        Some(recalls) => {
            let number = cache.account().held + 1;
            cache.hold(Some((session, number)), Bytes::from_static(b"\0\0\0\0"), Some(touches.to_vec()), recalls)
        }
        None => cache.passed(1, touches.to_vec()),
    }
    recalls
}

fn freed(cache: &mut Cache, now: Instant) -> usize {
    cache.end_turn(now);
    cache.invariants();
    if cache.take_stirred() { cache.take_free().len() } else { 0 }
}

fn sent(cache: &mut Cache) -> Vec<(Whither, Recall)> {
    cache.take_recalls()
}

fn recall(number: u64, paths: &[&str]) -> Recall {
    Recall { reign: REIGN, number, paths: paths.iter().map(|path| (*path).into()).collect() }
}

#[test]
fn what_is_kept_is_got_back_before_it_changes() {
    let mut cache = cache(&[S, T]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false) && cache.grant(ms(1), T, THERE, "/a", false));
    assert!(cache.grant(ms(1), S, HERE, "/b", false));
    assert_eq!(admit(&mut cache, S, &[node("/a")]), Some([(S, 1), (T, 2)].into()));
    let expected = [(Whither::One(S, HERE), recall(1, &["/a"])), (Whither::One(T, THERE), recall(2, &["/a"]))];
    assert_eq!(sent(&mut cache), expected);
    cache.recalled(S, REIGN, 1);
    assert_eq!(freed(&mut cache, ms(2)), 0, "one has not answered");
    cache.recalled(T, Ballot { round: 3, ..REIGN }, 2);
    cache.recalled(T, REIGN, 1);
    assert_eq!(freed(&mut cache, ms(2)), 0, "not this recall");
    cache.recalled(T, REIGN, 2);
    assert_eq!(freed(&mut cache, ms(2)), 1);
    assert!(cache.grant(ms(3), S, HERE, "/b", false), "what is not concerned stays");
}

#[test]
fn a_second_command_waits_for_the_recall_of_the_first() {
    let mut cache = cache(&[S]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false));
    assert!(admit(&mut cache, T, &[node("/a")]).is_some());
    assert_eq!(sent(&mut cache).len(), 1);
    assert_eq!(admit(&mut cache, SessionId(9), &[node("/a"), node("/")]), Some([(S, 1)].into()));
    assert_eq!(sent(&mut cache), [], "it is asked for already");
    assert_eq!(freed(&mut cache, ms(2)), 0);
    cache.recalled(S, REIGN, 1);
    assert_eq!(freed(&mut cache, ms(2)), 2);
}

#[test]
fn what_changes_is_granted_to_nobody_until_it_is_applied() {
    let mut cache = cache(&[S]);
    assert_eq!(admit(&mut cache, T, &[node("/a")]), None, "nobody keeps it");
    assert!(!cache.grant(ms(1), S, HERE, "/a", false));
    assert!(cache.grant(ms(1), S, HERE, "/b", false));
    cache.proposed(Slot(10), 1);
    cache.applied(Slot(9));
    assert!(!cache.grant(ms(1), S, HERE, "/a", false));
    cache.applied(Slot(10));
    assert!(cache.grant(ms(1), S, HERE, "/a", false));
    cache.invariants();
}

#[test]
fn what_left_unread_is_applied_before_anything_is_granted() {
    let mut cache = Cache::begin(REIGN, BTreeMap::new(), false, 0);
    // Nine submissions pass while nobody keeps anything; eight of them are applied.
    cache.proposed(Slot(10), 8);
    cache.proposed(Slot(11), 9);
    cache.applied(Slot(10));
    assert!(cache.renew((S, 1), false, HERE, 9) && !cache.is_idle());
    cache.end_turn(ms(0));
    assert!(!cache.grant(ms(1), S, HERE, "/a", false));
    cache.applied(Slot(11));
    assert!(cache.grant(ms(1), S, HERE, "/a", false));
}

#[test]
fn who_does_not_answer_holds_a_command_up_until_its_lease_is_over() {
    let mut cache = cache(&[S]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false));
    assert!(cache.renew((S, 1), false, HERE, 0));
    cache.end_turn(ms(500));
    assert!(admit(&mut cache, T, &[node("/a")]).is_some());
    assert!(!cache.renew((S, 1), false, HERE, 0), "who owes an answer is not renewed");
    assert!(!cache.grant(ms(600), S, HERE, "/b", false), "and is granted nothing");
    let over = ms(500) + CACHE_LEASE;
    // It was renewed since its lease was last looked at: that is seen when it would have ended.
    cache.end_turn(cache.next_deadline());
    assert_eq!(cache.next_deadline(), over);
    assert_eq!(freed(&mut cache, over.before(Duration::from_nanos(1))), 0);
    assert_eq!(freed(&mut cache, over), 1);
    assert_eq!(cache.account().run_out, 1);
    cache.end_turn(over);
    assert!(cache.is_idle(), "nobody keeps anything any more");
}

#[test]
fn a_session_that_dies_holds_up_nothing_but_what_it_kept() {
    let mut cache = cache(&[S]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false));
    assert!(admit(&mut cache, T, &[node("/a")]).is_some());
    assert_eq!(admit(&mut cache, SessionId(9), &[node("/b")]), None);
    assert!(admit(&mut cache, T, &[node("/b")]).is_some(), "its own earlier command waits");
    assert!(cache.holds(Some(T), Some(&[])).is_some(), "whatever it is");
    assert_eq!(cache.holds(Some(SessionId(9)), Some(&[])), None);
}

#[test]
fn a_session_that_ends_keeps_nothing() {
    let mut cache = cache(&[S]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false));
    assert!(admit(&mut cache, T, &[node("/a")]).is_some());
    cache.session_over(S);
    assert_eq!(freed(&mut cache, ms(2)), 1);
}

#[test]
fn nobody_answers_for_the_process_that_had_the_session_before() {
    let mut cache = cache(&[S]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false) && cache.grant(ms(1), S, HERE, "/b", false));
    assert!(admit(&mut cache, T, &[node("/b")]).is_some());
    assert_eq!(sent(&mut cache).len(), 1);
    cache.resumed(S, Some(1));
    assert!(cache.holders[&S].way == HERE && !cache.holders[&S].is_former, "the same process: it drops what it keeps");
    cache.resumed(S, Some(2));
    assert!(admit(&mut cache, T, &[node("/a")]).is_some());
    assert_eq!(sent(&mut cache), [], "who could answer knows nothing of it");
    cache.recalled(S, REIGN, 1);
    cache.recalled(S, REIGN, 2);
    cache.session_over(S);
    assert_eq!(freed(&mut cache, ms(2)), 0, "the one before may still use both");
    assert!(
        !cache.renew((S, 2), true, THERE, 2) && !cache.grant(ms(3), S, THERE, "/c", false),
        "its lease must end first"
    );
    assert_eq!(freed(&mut cache, ms(1_999)), 0);
    assert_eq!(freed(&mut cache, ms(2_000)), 2);
    assert!(cache.renew((S, 2), true, THERE, 2));
}

/// A replica that lags may have the process before still connected, and speaks for it as if it were the one that has the
/// session by now.
#[test]
fn who_comes_another_way_does_not_answer_for_a_process_that_took_the_session_over() {
    let mut by_lease = Cache::begin(REIGN, BTreeMap::new(), false, 0);
    let mut by_wish = Cache::begin(REIGN, BTreeMap::new(), false, 0);
    for cache in [&mut by_lease, &mut by_wish] {
        assert!(cache.renew((S, 2), true, HERE, 0));
        cache.end_turn(ms(0));
        assert!(cache.renew((S, 2), true, THERE, 0), "it keeps nothing yet: it goes where it likes");
        cache.end_turn(ms(0));
        assert!(cache.grant(ms(1), S, HERE, "/a", false) && cache.grant(ms(1), S, HERE, "/b", false));
    }
    assert!(!by_lease.renew((S, 2), true, THERE, 0), "it may be the one before that comes");
    assert!(!by_wish.grant(ms(1), S, THERE, "/c", false));
    for mut cache in [by_lease, by_wish] {
        assert!(admit(&mut cache, T, &[node("/a")]).is_some());
        assert_eq!(sent(&mut cache), [], "whoever could answer may know nothing of it");
        cache.recalled(S, REIGN, 1);
        assert_eq!(freed(&mut cache, ms(1_999)), 0);
        assert_eq!(freed(&mut cache, ms(2_000)), 1);
        assert!(cache.renew((S, 2), true, THERE, 2), "and then anew");
    }
}

/// That, from the log and the wishes of other replicas on: whether a session was passed on the leader's namespace tells.
#[test]
fn a_replica_that_lags_neither_renews_nor_answers_for_the_process_that_took_the_session_over() {
    let mut leader = started(&[Slot(5)], Slot(0));
    let (passed_on, other) = (SessionId(1), SessionId(2));
    let open = |token| Command::OpenSession { token, secret: 99, timeout_ms: 12_000, address: None };
    let resume = Resume { session: passed_on, secret: 99, holder: 3, takes_over: true };
    let take_over = Command::ResumeSession { token: 3, resume, address: None };
    let log = [open(1), open(2), take_over, Command::MarkCaching { session: passed_on }];
    leader.namespace.apply(&batch(1, 1, &log), &mut Applied::default());
    leader.cache = Some(Cache::begin(REIGN, BTreeMap::new(), false, 0));
    let mut effects = Vec::new();

    let (of_now, lagging) = (Asker::Peer(ReplicaId(2), 1), Asker::Peer(ReplicaId(3), 1));
    let renew = Wish { renew: vec![passed_on], keep: Vec::new() };
    let keep = Keep { session: passed_on, path: "/a".to_owned(), with_children: false };
    let keep = Wish { renew: Vec::new(), keep: vec![keep] };
    assert_eq!(leader.word(ms(0), of_now, &renew, &[]).renewed, [passed_on]);
    leader.tend_cache(ms(0), &mut effects);
    assert_eq!(leader.word(ms(1), of_now, &keep, &[]).kept, [0]);
    assert_eq!(leader.word(ms(1), lagging, &renew, &[]).renewed, [], "it may be the one before that comes");

    let operation = Operation::Set { path: "/a".to_owned(), data: Bytes::new(), expect: Expect::Any };
    let set = Command::Request { session: other, number: 1, acked_upto: 0, operation };
    leader.admit(Submission::of(&set)).expect("there is room");
    leader.tend_cache(ms(2), &mut effects);
    assert!(effects.is_empty(), "whoever could answer may know nothing of it: {effects:?}");
    leader.recalled(passed_on, (REIGN, 1), &mut effects);
    leader.tend_cache(ms(1_999), &mut effects);
    assert_eq!((leader.cache_account().holding, leader.pending.pushed()), (1, 0), "the one of now may still use it");
    leader.tend_cache(ms(2_000), &mut effects);
    assert_eq!((leader.cache_account().holding, leader.pending.pushed()), (0, 1));
}

#[test]
fn whoever_comes_another_way_is_asked_again() {
    let mut cache = cache(&[S]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false));
    assert!(admit(&mut cache, T, &[node("/a")]).is_some());
    assert_eq!(sent(&mut cache), [(Whither::One(S, HERE), recall(1, &["/a"]))]);
    assert!(!cache.renew((S, 1), false, THERE, 1), "it owes an answer");
    assert_eq!(sent(&mut cache), [(Whither::One(S, THERE), recall(1, &["/a"]))], "the question may have been lost");
    cache.recalled(S, REIGN, 1);
    assert_eq!(freed(&mut cache, ms(2)), 1);

    let mut cache = Cache::begin(REIGN, [(S, 1)].into(), false, 0);
    assert!(!cache.renew((S, 1), false, THERE, 0), "it may keep answers of before");
    assert_eq!(sent(&mut cache), [(Whither::One(S, THERE), recall(EVERYTHING_OF_BEFORE, &[]))]);
}

#[test]
fn a_session_ends_only_once_whoever_had_it_before_keeps_nothing() {
    let mut cache = cache(&[S, T]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false) && cache.grant(ms(1), T, HERE, "/a", false));
    assert!(admit(&mut cache, T, &[Touch::End(T)]).is_none(), "it is the one that keeps something, and knows");
    cache.resumed(S, Some(2));
    assert!(admit(&mut cache, S, &[Touch::End(S)]).is_some());
    assert_eq!(sent(&mut cache), [], "who could answer knows nothing of it");
    assert_eq!(freed(&mut cache, ms(1_999)), 0, "another leader would not know for whom to wait");
    assert_eq!(freed(&mut cache, ms(2_000)), 1);
}

#[test]
fn a_session_whose_former_process_keeps_nothing_ends_at_once() {
    let mut cache = cache(&[S, T]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false));
    assert!(admit(&mut cache, T, &[node("/a")]).is_some());
    cache.recalled(S, REIGN, 1);
    assert_eq!(freed(&mut cache, ms(2)), 1);
    for session in [S, T] {
        cache.resumed(session, Some(2));
        assert!(!cache.grant(ms(3), session, HERE, "/b", false), "it is granted nothing more");
        assert!(
            admit(&mut cache, session, &[Touch::End(session)]).is_none(),
            "one dropped all, one was granted nothing"
        );
        assert!(!cache.renew((session, 2), true, THERE, 2), "but its lease must end before another begins");
    }
    assert!(sent(&mut cache).iter().all(|(_, recall)| recall.number == 1), "nobody was asked for more");
}

#[test]
fn a_new_leader_waits_for_whom_it_cannot_ask() {
    let begin = |passed_on| {
        let mut cache = Cache::begin(REIGN, [(S, 1)].into(), passed_on, 0);
        cache.end_turn(ms(0));
        assert!(admit(&mut cache, T, &[node("/a")]).is_some());
        cache
    };
    let (mut before, mut meanwhile, mut same) = (begin(true), begin(false), begin(false));
    meanwhile.resumed(S, Some(2));
    same.resumed(S, Some(1));
    for cache in [&mut before, &mut meanwhile, &mut same] {
        cache.recalled(S, REIGN, EVERYTHING_OF_BEFORE);
    }
    assert_eq!(freed(&mut same, ms(1)), 1, "it is the one that kept something");
    for cache in [&mut before, &mut meanwhile] {
        assert_eq!(freed(cache, ms(1_999)), 0);
        assert_eq!(freed(cache, ms(2_000)), 1);
    }
}

#[test]
fn a_new_leader_asks_everybody_to_drop_everything_first() {
    let mut cache = Cache::begin(REIGN, [(S, 1), (T, 1)].into(), false, 5);
    assert!(!cache.is_idle());
    cache.end_turn(ms(0));
    assert_eq!(sent(&mut cache), [(Whither::Wherever(vec![S, T]), recall(EVERYTHING_OF_BEFORE, &[]))]);
    assert_eq!(admit(&mut cache, T, &[node("/a")]), Some(Recalls::new()));
    assert_eq!(cache.holds(Some(S), Some(&[])), None, "what changes nothing need not wait");
    assert!(!cache.renew((S, 1), false, HERE, 5), "its lease of before must end");
    assert_eq!(sent(&mut cache), [(Whither::One(S, HERE), recall(EVERYTHING_OF_BEFORE, &[]))], "it is here");
    cache.recalled(S, REIGN, EVERYTHING_OF_BEFORE);
    assert_eq!(freed(&mut cache, ms(30)), 0);
    assert_eq!(sent(&mut cache), [(Whither::Wherever(vec![T]), recall(EVERYTHING_OF_BEFORE, &[]))], "once more");
    cache.recalled(T, REIGN, EVERYTHING_OF_BEFORE);
    assert_eq!(freed(&mut cache, ms(31)), 1);
}

#[test]
fn a_new_leader_waits_no_longer_than_a_lease() {
    let mut cache = Cache::begin(REIGN, [(S, 1)].into(), false, 0);
    cache.end_turn(ms(0));
    assert!(admit(&mut cache, T, &[node("/a")]).is_some());
    assert_eq!(freed(&mut cache, ms(1_999)), 0);
    assert_eq!(freed(&mut cache, ms(2_000)), 1);
    assert!(cache.renew((S, 1), false, HERE, 0));
}

#[test]
fn what_a_session_may_keep_is_bounded() {
    let mut cache = cache(&[S, T]);
    for k in 0..CACHE_SESSION_GRANTS_MAX {
        assert!(cache.grant(ms(1), S, HERE, &format!("/n{k}"), false));
    }
    assert!(cache.grant(ms(1), T, HERE, "/more", false) && cache.grant(ms(1), S, HERE, "/n0", true));
    assert!(!cache.grant(ms(1), T, HERE, "no path", false) && !cache.grant(ms(1), SessionId(9), HERE, "/a", false));
    let recalls = admit(&mut cache, T, &[Touch::Subtree("/".into())]).expect("it waits");
    assert_eq!(recalls.len(), 2);
    let everything = sent(&mut cache).into_iter().any(|(_, recall)| recall.paths.is_empty());
    assert!(everything, "more than {CACHE_RECALL_PATHS_MAX} nodes are recalled as all");
    recalls.into_iter().for_each(|(session, number)| cache.recalled(session, REIGN, number));
    assert_eq!(freed(&mut cache, ms(2)), 1);
    assert_eq!(cache.account().grants, 0);
}

#[test]
fn a_request_that_waits_is_known_again_by_its_session_and_number() {
    let mut cache = cache(&[S, T]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false));
    assert!(!cache.holds_copy_of((T, 1)));
    assert!(admit(&mut cache, T, &[node("/a")]).is_some());
    assert!(cache.holds_copy_of((T, 1)));
    assert!(!cache.holds_copy_of((T, 2)) && !cache.holds_copy_of((S, 1)));
    cache.recalled(S, REIGN, 1);
    assert_eq!(freed(&mut cache, ms(2)), 1);
    assert!(!cache.holds_copy_of((T, 1)), "it is on its way");
}

/// A client that lost its connection asks again from the first request it has no answer to, of which a copy may be applied
/// while a later one still waits: that one is answered before its turn, which the client cannot take.
#[test]
fn what_waits_before_its_turn_is_no_copy_of_what_comes_in_turn() {
    let mut cache = cache(&[S]);
    assert!(cache.grant(ms(1), S, HERE, "/a", false));
    let mut asks = |number| {
        if cache.holds_copy_of((T, number)) {
            return false;
        }
        let touches = [node("/a")];
        let recalls = cache.holds(Some(T), Some(&touches)).expect("it waits");
        cache.hold(Some((T, number)), Bytes::from_static(b"\0\0\0\0"), Some(touches.to_vec()), &recalls);
        true
    };
    assert_eq!([24, 25, 24, 25].map(&mut asks), [true, true, false, false], "they are asked again, and wait");
    assert_eq!([23, 24, 25].map(&mut asks), [true, true, true], "who asks from further back is answered in turn");
    assert_eq!([23, 24, 25].map(&mut asks), [false, false, false]);
    cache.recalled(S, REIGN, 1);
    assert_eq!(freed(&mut cache, ms(2)), 5);
}

#[test]
fn who_keeps_too_much_is_asked_to_drop_it_and_may_keep_anew() {
    let mut cache = cache(&[S, T]);
    for k in 0..CACHE_SESSION_GRANTS_MAX {
        assert!(cache.grant(ms(1), S, HERE, &format!("/n{k}"), false));
    }
    // One of them is asked back already.
    assert_eq!(admit(&mut cache, T, &[node("/n1")]), Some([(S, 1)].into()));
    sent(&mut cache);
    cache.recalled(S, REIGN, 1);
    assert!(cache.grant(ms(1), S, HERE, "/last", false));
    assert!(!cache.grant(ms(1), S, HERE, "/more", false), "there is no room");
    assert_eq!(sent(&mut cache), [(Whither::One(S, HERE), recall(2, &[]))], "so room is made");
    assert!(!cache.grant(ms(1), S, HERE, "/more", false));
    assert_eq!(sent(&mut cache), [], "once");
    assert!(!cache.renew((S, 1), false, HERE, 1));
    assert_eq!(sent(&mut cache), [(Whither::One(S, HERE), recall(2, &[]))], "and whenever it comes");
    assert_eq!(admit(&mut cache, T, &[node("/n2")]), Some([(S, 2)].into()), "what is asked back is waited for");
    cache.invariants();
    cache.recalled(S, REIGN, 2);
    assert_eq!(cache.account().grants, 0);
    assert_eq!(freed(&mut cache, ms(2)), 2);
    assert!(cache.renew((S, 1), false, HERE, 1) && cache.grant(ms(3), S, HERE, "/more", false));
}

#[test]
fn where_all_keep_too_much_whoever_keeps_most_makes_room() {
    let sessions: Vec<_> = (1..=CACHE_GRANTS_MAX / CACHE_SESSION_GRANTS_MAX + 1).map(|n| SessionId(n as u64)).collect();
    let mut cache = cache(&sessions);
    let (last, others) = sessions.split_last().expect("there are some");
    for (session, k) in others.iter().flat_map(|one| (0..CACHE_SESSION_GRANTS_MAX).map(move |k| (*one, k))) {
        let is_first_of_first = session == others[0] && k == 0;
        let whose = if is_first_of_first { *last } else { session };
        assert!(cache.grant(ms(1), whose, HERE, &format!("/n{k}"), false));
    }
    assert!(!cache.grant(ms(1), *last, HERE, "/more", false), "there is no room");
    let asked = sent(&mut cache);
    let [(Whither::One(victim, _), all)] = &asked[..] else { panic!("{asked:?}") };
    assert!(*victim != *last && *victim != others[0] && all.paths.is_empty(), "{victim:?} keeps the most");
    assert!(!cache.grant(ms(1), *last, HERE, "/more", false) && sent(&mut cache).is_empty(), "one at a time");
    cache.recalled(*victim, REIGN, all.number);
    assert!(cache.grant(ms(1), *last, HERE, "/more", false));
    cache.invariants();
}

#[test]
fn a_command_of_unknown_effect_waits_until_it_is_known() {
    let mut cache = cache(&[S]);
    assert!(cache.grant(ms(1), S, HERE, "/mine", false));
    let recalls = cache.holds(Some(T), None).expect("it waits");
    cache.hold(Some((T, 1)), Bytes::from_static(b"\0\0\0\0"), None, &recalls);
    // Three submissions left before it.
    assert!(cache.take_stirred());
    cache.judge_unknown(3, |_| None);
    assert_eq!(cache.take_free().len(), 0);
    cache.proposed(Slot(10), 3);
    cache.applied(Slot(10));
    assert!(cache.take_stirred());
    cache.judge_unknown(3, |_| Some(vec![node("/mine")]));
    assert_eq!(sent(&mut cache).len(), 1);
    cache.recalled(S, REIGN, 1);
    assert_eq!(freed(&mut cache, ms(2)), 1);
}

#[test]
fn a_list_shows_or_hides_a_node_to_whoever_lists_its_parent_and_a_group_anything() {
    let set_acl = |path| OperationRef::SetAcl { path, acl: Some(Acl::new([])), expect: Expect::Any };
    let set = |path| OperationRef::Set { path, data: b"", expect: Expect::Any };
    let touches = |operation| {
        let command = CommandRef::Request { session: S, number: 1, acked_upto: 0, operation };
        Touch::of(&command, &Namespace::new(1)).expect("it is known")
    };
    assert_eq!(touches(set_acl("/a/b")), [node("/a/b"), node("/a")]);
    assert_eq!(touches(set("/acl/staff")), [node("/acl/staff"), Touch::Subtree("/".into())]);
    assert_eq!(touches(set("/acls/staff")), [node("/acls/staff")]);
}

const PATHS: [&str; 8] = ["/", "/a", "/b", "/a/a", "/a/b", "/a/a/c", "/b/-", "/a/s-0000000001"];

/// What somebody is told of a node, in every reading whose answer may be kept.
fn answers(tree: &Tree, path: &str, with_children: bool, who: &Principals) -> Vec<String> {
    let (after, limit) = ("", 0);
    let plain = [ReadRef::Get { path }, ReadRef::Exists { path }, ReadRef::List { path, after, limit }];
    let entries = with_children.then_some(ReadRef::Entries { path, after, limit });
    plain.into_iter().chain(entries).map(|read| format!("{:?}", answer(&Gate::new(tree, who), read))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a command does to an answer that may be kept was foretold when it was admitted; and while it is under way
    /// nobody is granted that answer.
    #[test]
    fn no_answer_changes_that_was_not_touched(deeds in deeds(30)) {
        let mut model = Model::new();
        let mut namespace = Namespace::new(1);
        let mut applied = Applied::default();
        for (turn, deed) in (1..).zip(deeds.iter().flatten()) {
            let (wall_ms, log_time_ns) = (1_000_000, turn * 1_000_000);
            let command = command(&model, deed);
            model.apply(&command, log_time_ns, wall_ms);
            let run = batch(log_time_ns, wall_ms, std::slice::from_ref(&command));
            let mut bytes = bytes::BytesMut::new();
            command.encode(&mut bytes);
            let read = CommandRef::decode(&bytes).expect("it was just encoded");
            let touches = Touch::of(&read, &namespace);
            let nobody = Principals::default();

            let kept = |with_children: bool| PATHS.map(|path| answers(namespace.tree(), path, with_children, &nobody));
            let before = [kept(false), kept(true)];
            namespace.apply(&run, &mut applied);
            let kept = |with_children: bool| PATHS.map(|path| answers(namespace.tree(), path, with_children, &nobody));
            let after = [kept(false), kept(true)];
            let Some(touches) = touches else {
                prop_assert_eq!(before, after, "a request that is not the next does nothing");
                continue;
            };
            let mut blocked = Blocked::default();
            blocked.add(&touches);
            for (with_children, (before, after)) in [false, true].into_iter().zip(before.iter().zip(&after)) {
                let mut grants = Grants::default();
                for path in PATHS {
                    grants.add(&Arc::from(path), S, with_children);
                }
                let mut concerned = BTreeSet::new();
                for touch in &touches {
                    grants.concerned(touch, |path, _, _| _ = concerned.insert(path.clone()));
                }
                for (path, (before, after)) in PATHS.into_iter().zip(before.iter().zip(after)) {
                    if before != after {
                        prop_assert!(concerned.contains(path), "{path} changed, {touches:?} does not say so");
                    }
                    if concerned.contains(path) {
                        prop_assert!(blocked.covers(path, with_children), "{path} is recalled, so it is blocked");
                    }
                }
            }
            blocked.remove(&touches);
            prop_assert!(blocked.is_empty());
            applied.clear();
        }
    }
}
