//! Sessions that were taken over, at the beginning of a reign: for whom it waits, and who is asked.

use std::collections::BTreeMap;

use super::super::admission::marked_in;
use super::{REIGN, S, T, admit, freed, node, recall};
use crate::namespace::command::{Command, Resume, SessionId};
use crate::namespace::tests::batch;
use crate::namespace::{Applied, CommandOutcome, Marked, Namespace};
use crate::paxos::{Incarnation, Kind, Message, ReplicaId, Slot, Value};
use crate::replica::Replica;
use crate::replica::cache::{Cache, EVERYTHING_OF_BEFORE};
use crate::replica::exchange::{Effect, FrontId, FrontNotice, FrontRequest, Input};
use crate::replica::transfer::tests::{recovered, settings};
use crate::time::{Duration, Instant};
use crate::wire::peer::PeerMessage;

/// The first that a namespace makes.
const SESSION: SessionId = SessionId(1);

fn open() -> Command {
    Command::OpenSession { token: 11, secret: 99, timeout_ms: 12_000, address: None }
}

fn take_over(holder: u64) -> Command {
    let resume = Resume { session: SESSION, secret: 99, holder, takes_over: true };
    Command::ResumeSession { token: holder, resume, address: None }
}

fn mark() -> Command {
    Command::MarkCaching { session: SESSION }
}

/// The beginning of a reign over a cell with this log; a command waits already, and nobody has answered.
fn reign_after(log: &[Command]) -> Cache {
    let mut namespace = Namespace::new(1);
    namespace.apply(&batch(1, 1, log), &mut Applied::default());
    let (marked, passed_on) = marked_in(&namespace);
    let holder = namespace.session(SESSION).expect("it lives").holder;
    assert_eq!(marked, BTreeMap::from([(SESSION, holder)]), "the process that has it is asked");
    let mut cache = Cache::begin(REIGN, marked, passed_on, 0);
    cache.end_turn(Instant::ZERO);
    assert!(admit(&mut cache, T, &[node("/a")]).is_some(), "nothing is known yet");
    cache
}

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

#[test]
fn a_reign_waits_for_no_process_that_lost_its_session_before_that_was_marked() {
    let at_once: [&[Command]; 3] = [
        &[open(), mark()],
        &[open(), take_over(7), mark()],
        // Marked once more, which changes nothing.
        &[open(), take_over(7), take_over(8), mark(), mark()],
    ];
    for log in at_once {
        let mut cache = reign_after(log);
        assert_eq!(freed(&mut cache, at(1)), 0, "{log:?}: who has it has not answered");
        cache.recalled(SESSION, REIGN, EVERYTHING_OF_BEFORE);
        assert_eq!(freed(&mut cache, at(2)), 1, "{log:?}: nobody else keeps anything");
    }
    let in_the_end: [&[Command]; 4] = [
        &[open(), mark(), take_over(7)],
        &[open(), mark(), take_over(7), mark()],
        &[open(), take_over(7), mark(), take_over(8)],
        &[open(), take_over(7), mark(), take_over(8), take_over(9), mark()],
    ];
    for log in in_the_end {
        let mut cache = reign_after(log);
        cache.recalled(SESSION, REIGN, EVERYTHING_OF_BEFORE);
        assert_eq!(freed(&mut cache, at(1_999)), 0, "{log:?}: another one may keep something");
        assert_eq!(freed(&mut cache, at(2_000)), 1, "{log:?}");
    }
}

#[test]
fn a_session_that_passes_on_while_a_reign_begins_is_waited_for() {
    let mut cache = reign_after(&[open(), take_over(7), mark()]);
    cache.resumed(SESSION, Some(8));
    cache.recalled(SESSION, REIGN, EVERYTHING_OF_BEFORE);
    assert_eq!(freed(&mut cache, at(1_999)), 0, "the one that lost it now may keep something");
    assert_eq!(freed(&mut cache, at(2_000)), 1);
}

/// Replica 1 of three, which follows and has applied everything up to slot 6, with one front.
fn follower() -> Replica {
    let recovered = recovered(BTreeMap::from([(Slot(5), 0)]), |_| ());
    Replica::start(Instant::ZERO, settings(), recovered, 1, 7)
}

/// What its front is told in a turn in which a peer says all that.
fn turn(replica: &mut Replica, messages: Vec<PeerMessage>) -> Vec<FrontNotice> {
    let (from, incarnation) = (ReplicaId(2), Incarnation(2));
    let mut effects = Vec::new();
    for message in messages {
        replica.step(Instant::ZERO, Input::Peer { from, incarnation, message }, &mut effects);
    }
    replica.step(Instant::ZERO, Input::TurnEnd { wall_ms: 0 }, &mut effects);
    let notice = |effect| if let Effect::Front { notice, .. } = effect { Some(notice) } else { None };
    effects.into_iter().filter_map(notice).collect()
}

/// A peer says that this was chosen there.
fn chosen(slot: u64, command: Command) -> PeerMessage {
    let content = [&[Kind::Commands.tag()][..], &batch(slot, slot, &[command])].concat();
    PeerMessage::Paxos(Message::Chosen { from: Slot(slot), values: vec![Value::copy_of(&content)] })
}

/// A leader asks for what is kept of before its reign.
fn ask_for_everything() -> PeerMessage {
    PeerMessage::Recall { sessions: vec![S, SESSION], recall: recall(EVERYTHING_OF_BEFORE, &[]) }
}

fn is_recall(notice: &FrontNotice) -> bool {
    matches!(notice, FrontNotice::Recall { session: SESSION, .. })
}

/// The process that had a session before is still connected to a replica that lags. Asked there for what is kept of before, it
/// would answer in good faith that it has dropped it all, and the leader would take it for the answer of the one that has it.
#[test]
fn where_a_takeover_is_not_known_nobody_is_asked_what_is_kept_of_before() {
    let mut lagging = follower();
    turn(&mut lagging, vec![chosen(7, open())]);
    let attach = FrontRequest::Attach(SESSION);
    lagging.step(Instant::ZERO, Input::Front { front: FrontId(0), request: attach }, &mut Vec::new());
    let notices = turn(&mut lagging, vec![ask_for_everything()]);
    assert!(!notices.iter().any(is_recall), "it is the one before that is connected: {notices:?}");

    let messages = vec![chosen(8, take_over(7)), chosen(9, mark()), ask_for_everything()];
    let notices = turn(&mut lagging, messages);
    let marked = lagging.namespace().session(SESSION).map(|view| view.marked);
    assert_eq!(marked, Some(Marked::ForHolder), "all of it was applied");
    let is_resumed =
        |outcome: &CommandOutcome| matches!(outcome, CommandOutcome::SessionResumed { session: SESSION, .. });
    let tells_of_it = |notice: &FrontNotice| matches!(notice, FrontNotice::Applied(applied) if applied.outcomes.iter().any(is_resumed));
    let told = notices.iter().position(tells_of_it).expect("its front is told of the takeover");
    let asked = notices.iter().position(is_recall).expect("and then asked");
    assert!(told < asked, "the connection of the one before is gone by then: {notices:?}");

    let notices = turn(&mut lagging, vec![ask_for_everything()]);
    assert_eq!(notices.iter().filter(|notice| is_recall(notice)).count(), 1, "where all is known it is asked at once");
}
