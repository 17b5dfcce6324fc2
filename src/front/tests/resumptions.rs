//! Sessions that are taken up again, good ones and made-up ones.

use super::*;
use crate::namespace::NotResumed;
use crate::wire::cache::Word;

/// A front that has applied everything up to that revision, and to which nobody is connected.
fn front_at(revision: u64) -> Front {
    let mut front = front_with(Some(Rate { per_second: 1, burst: 1 }));
    front.closed(CLIENT);
    reaches(&mut front, 1, revision);
    front
}

fn reaches(front: &mut Front, slot: u64, revision: u64) {
    reaches_with(front, slot, revision, vec![]);
}

fn reaches_with(front: &mut Front, slot: u64, revision: u64, outcomes: Vec<CommandOutcome>) {
    let (upto, since, changes) = (Slot(slot), front.revision, Arc::from([]));
    let applied = Applied { upto, since, revision, changes, outcomes };
    front.notice(FrontNotice::Applied(applied), &Tree::new(1));
}

/// Somebody connects, and is to take that session up again.
fn comes(front: &mut Front, id: u64, session: u64) {
    front.opened(START, ConnectionId(id), None);
    front.received(START, ConnectionId(id), &hello(Some(Resume { session: SessionId(session), ..RESUME })));
}

/// What a turn asks of the replica: which openings it is to judge, and whether a read point is wanted, under which ticket.
fn asked(front: &mut Front, now: Instant) -> (Vec<u64>, Option<u64>) {
    let (mut tokens, mut ticket, mut requests) = (Vec::new(), None, Vec::new());
    front.prepare(now, true, &mut requests);
    for request in requests {
        match request {
            FrontRequest::Resume(resumptions) => tokens.extend(resumptions.iter().map(|resumption| resumption.token)),
            FrontRequest::ReadPoint { ticket: of, .. } => ticket = Some(of),
            FrontRequest::Attach(_) | FrontRequest::Detach(_) => {}
            other => panic!("the log is not asked: {other:?}"),
        }
    }
    (tokens, ticket)
}

fn point(front: &mut Front, ticket: u64, upto: Option<Slot>) {
    let (withheld, word) = (Vec::new(), Default::default());
    front.notice(FrontNotice::ReadPoint { ticket, upto, withheld, word }, &Tree::new(1));
}

fn count(words: &[String], start: &str) -> usize {
    words.iter().filter(|word| word.starts_with(start)).count()
}

/// However low the rate: neither those who make sessions up nor those whose sessions are all over wait for a token, and one that
/// lives goes along with them.
#[test]
fn sessions_that_are_not_there_cost_neither_the_log_nor_the_rate_anything() {
    let mut front = front_at(10_000);
    (2..=1_001).for_each(|id| comes(&mut front, id, id));
    let (tokens, ticket) = asked(&mut front, START);
    assert_eq!((tokens.len(), ticket), (1_000, None), "the replica judges all of them at once");
    let (good, made_up) = tokens.split_last().expect("a thousand");
    let verdict = |token: &u64| {
        let why = if token.is_multiple_of(2) { NotResumed::Over } else { NotResumed::WrongSecret };
        (*token, SESSION, why)
    };
    front.notice(FrontNotice::NotResumed(made_up.iter().map(verdict).collect()), &Tree::new(1));
    let (token, session, timeout_ms, last_number, before) = (*good, SESSION, 12_000, 0, 0);
    let who = Arc::default();
    let resumed = CommandOutcome::SessionResumed { token, session, timeout_ms, last_number, before, who };
    reaches_with(&mut front, 2, 10_000, vec![resumed]);
    let (words, closed) = heard(&mut front);
    let over = made_up.iter().filter(|token| token.is_multiple_of(2)).count();
    assert_eq!((count(&words, "SessionOver"), count(&words, "the secret is not")), (over, 999 - over));
    assert_eq!((count(&words, "resumed"), words.len(), closed), (1, 2_000, true));
    assert_eq!(front.throttle.refused(), 0);
    (2..=1_001).for_each(|id| front.closed(ConnectionId(id)));
    assert_eq!(asked(&mut front, START), (vec![], None));
    assert!(front.is_idle(), "nothing is left of them");
}

#[test]
fn a_session_made_after_all_that_is_applied_here_is_told_from_a_made_up_one_at_a_read_point() {
    let mut front = front_at(50);
    comes(&mut front, 2, 60);
    comes(&mut front, 3, 70);
    assert!(front.is_restless());
    let (tokens, ticket) = asked(&mut front, START);
    assert!(tokens.is_empty(), "nobody can judge them yet");
    let ticket = ticket.expect("a read point for both");
    assert_eq!(asked(&mut front, START), (vec![], None), "it is asked for once");
    point(&mut front, ticket, Some(Slot(5)));
    assert!(!front.is_restless() && heard(&mut front).0.len() == 2, "it is not applied yet");
    reaches(&mut front, 4, 65);
    assert!(!front.is_restless());
    reaches(&mut front, 5, 65);
    assert!(front.is_restless());
    assert_eq!(asked(&mut front, START), (vec![101], None), "the first may be good");
    let (words, closed) = heard(&mut front);
    assert!(count(&words, "SessionOver") == 1 && words.len() == 1 && !closed, "the other never was: {words:?}");
    assert_eq!((front.opening.len(), front.is_restless()), (1, false));
}

#[test]
fn a_read_point_for_a_session_that_nobody_could_be_asked_for_is_asked_for_again() {
    let mut front = front_at(50);
    comes(&mut front, 2, 60);
    let first = asked(&mut front, START).1.expect("at once");
    point(&mut front, first, None);
    assert!(front.next_deadline() <= START + READ_RETRY, "nothing else need happen");
    assert_eq!(asked(&mut front, START), (vec![], None), "not at once again");
    let later = START + READ_RETRY;
    assert_eq!(front.next_deadline(), later);
    let second = asked(&mut front, later).1.expect("after a while");
    for leader in [None, Some(ReplicaId(2))] {
        front.notice(FrontNotice::Leader { leader }, &Tree::new(1));
    }
    let third = asked(&mut front, later).1.expect("another leader is asked anew");
    point(&mut front, second, Some(Slot(1)));
    assert!(!front.is_restless(), "what the one before was asked for is nobody's any more");
    front.closed(ConnectionId(2));
    point(&mut front, third, Some(Slot(1)));
    assert_eq!(asked(&mut front, later), (vec![], None));
    assert!(front.is_idle(), "nothing is left of who is gone");
    comes(&mut front, 3, 60);
    front.closed(ConnectionId(3));
    assert_eq!(asked(&mut front, later), (vec![], None), "nothing is asked for who is gone");
}

/// As a replica does that hears its leader and cannot apply what was chosen, while somebody makes sessions up over and over.
#[test]
fn those_who_come_and_go_while_a_read_point_is_at_work_leave_nothing_and_have_no_other_asked_for() {
    let mut front = front_at(50);
    comes(&mut front, 2, 60);
    let first = asked(&mut front, START).1.expect("at once");
    for id in 3..=102 {
        comes(&mut front, id, u64::MAX);
        assert_eq!(asked(&mut front, START), (vec![], None), "one is on its way");
        if id == 50 {
            point(&mut front, first, Some(Slot(5)));
            assert_eq!(asked(&mut front, START), (vec![], None), "it is not applied yet");
        }
        front.closed(ConnectionId(id));
    }
    front.closed(ConnectionId(2));
    assert!(front.is_idle(), "nothing is left of them");
    comes(&mut front, 103, 60);
    comes(&mut front, 104, 70);
    assert_eq!(asked(&mut front, START), (vec![], None), "the next is asked for when this one is applied");
    reaches(&mut front, 5, 65);
    assert!(front.is_restless());
    heard(&mut front);
    let (tokens, second) = asked(&mut front, START);
    assert!(tokens.is_empty() && heard(&mut front).0.is_empty(), "the point before was not theirs");
    point(&mut front, second.expect("one for both"), Some(Slot(5)));
    assert_eq!(asked(&mut front, START).0.len(), 1, "the first may be good");
    assert_eq!(count(&heard(&mut front).0, "SessionOver"), 1, "the other never was");
    assert_eq!(asked(&mut front, START), (vec![], None));
    assert!(!front.is_restless());
}

/// A frame between replicas may be lost, and the leader stay.
#[test]
fn a_point_that_was_asked_for_later_serves_those_whose_answer_was_lost_and_an_earlier_one_does_not() {
    let mut front = front_at(50);
    comes(&mut front, 2, 60);
    let lost = asked(&mut front, START).1.expect("at once");
    point(&mut front, lost - 1, Some(Slot(1)));
    assert_eq!(asked(&mut front, START), (vec![], None));
    assert_eq!(count(&heard(&mut front).0, "SessionOver"), 0, "that was asked before the client came");
    point(&mut front, lost + 1, Some(Slot(1)));
    assert_eq!(asked(&mut front, START), (vec![], None));
    assert_eq!(count(&heard(&mut front).0, "SessionOver"), 1);
}

#[test]
fn nobody_is_asked_about_the_session_of_who_has_gone_again() {
    let mut front = front_at(50);
    comes(&mut front, 2, 7);
    comes(&mut front, 3, 8);
    front.closed(ConnectionId(2));
    assert_eq!(asked(&mut front, START), (vec![102], None));
}

/// The leader lets a session keep an answer, of whichever process asked for it here, where it may not be known yet that that one
/// has lost the session. Who keeps what after a takeover follows from this (the leader's cache).
#[test]
fn who_has_lost_its_session_by_the_read_point_of_an_answer_is_not_given_it_to_keep() {
    for is_taken_over in [false, true] {
        let (mut front, tree) = (resumed(0, 0), Tree::new(1));
        heard(&mut front);
        let (mut read, mut bytes, mut requests) = (BytesMut::new(), BytesMut::new(), Vec::new());
        Read::Exists { path: "/".to_owned() }.encode(&mut read);
        ClientMessage::Cache(CacheAsk::Read { number: 1, read: &read }).encode(&mut bytes);
        front.received(START, CLIENT, &bytes);
        front.prepare(START, false, &mut requests);
        let ticket = requests.iter().find_map(|request| match request {
            FrontRequest::ReadPoint { ticket, wish, .. } if wish.keep.len() == 1 => Some(*ticket),
            _ => None,
        });
        let (ticket, word) = (ticket.expect("the leader is asked"), Word { kept: vec![0], ..Word::default() });
        let upto = Some(Slot(2));
        front.notice(FrontNotice::ReadPoint { ticket, upto, withheld: Vec::new(), word }, &tree);
        let (token, session, timeout_ms, last_number, before) = (5, SESSION, 12_000, 4096, 0);
        let who = Arc::default();
        let taken = CommandOutcome::SessionResumed { token, session, timeout_ms, last_number, before, who };
        reaches_with(&mut front, 2, 1, if is_taken_over { vec![taken] } else { Vec::new() });
        front.finish(START, &tree, false, || false);
        let (words, closed) = heard(&mut front);
        let kept = words.iter().filter(|word| word.contains("keep: true")).count();
        assert_eq!((kept, closed), (usize::from(!is_taken_over), is_taken_over), "{words:?}");
    }
}
