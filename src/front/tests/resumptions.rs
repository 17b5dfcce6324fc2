//! Sessions that are taken up again, good ones and made-up ones, where a rate is configured.

use core::net::IpAddr;

use super::*;
use crate::namespace::NotResumed;

/// A front with nobody connected.
fn limited(per_second: u32, burst: u32) -> Front {
    let mut front = front_with(Some(Rate { per_second, burst }));
    front.closed(CLIENT);
    front
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

/// Somebody connects from that address, and is to take a session up again.
fn comes(front: &mut Front, now: Instant, id: u64, last: u8) {
    front.opened(now, ConnectionId(id), Some(address(last)));
    front.received(now, ConnectionId(id), &hello(Some(RESUME)));
}

/// The openings that the log is asked for, by token.
fn put(front: &mut Front, now: Instant) -> Vec<u64> {
    let runs = submitted_at(front, now);
    let requests = runs.iter().flat_map(Submission::requests);
    requests.inspect(|(_, number)| assert_eq!(*number, 0, "nothing else is asked")).map(|(token, _)| token.0).collect()
}

/// The log says that there is no such session, or that the secret is another; which of the two is the token's matter.
fn fails(front: &mut Front, token: u64) {
    let why = if token.is_multiple_of(2) { NotResumed::Over } else { NotResumed::WrongSecret };
    applied(front, CommandOutcome::SessionRefused { token, session: SESSION, why });
}

/// The log says that the session lives, and is this one's.
fn succeeds(front: &mut Front, token: u64, session: SessionId, last: u8) {
    let who = Arc::new(Principals::at(Some(address(last))));
    let (timeout_ms, last_number, before) = (12_000, 0, 0);
    applied(front, CommandOutcome::SessionResumed { token, session, timeout_ms, last_number, before, who });
}

fn is_throttled(word: &str) -> bool {
    word.starts_with("Refused { number: 0, reason: Throttled")
}

#[test]
fn made_up_sessions_reach_the_log_at_the_rate_of_their_address_and_no_other_waits_for_it() {
    let mut front = limited(10, 5);
    let (mut id, mut reached, mut refused) = (CLIENT.0, 0, 0);
    for tenth in 0..=100 {
        let now = START + Duration::from_millis(100 * tenth);
        let ids = id + 1..=id + 20;
        ids.clone().for_each(|id| comes(&mut front, now, id, 1));
        id += 20;
        // Those that were held behind the ones that fail are looked at again at once.
        for _ in 0..20 {
            let tokens = put(&mut front, now);
            reached += tokens.len();
            tokens.into_iter().for_each(|token| fails(&mut front, token));
        }
        assert!(front.opening.is_empty() && front.held.is_empty(), "each was told");
        refused += heard(&mut front).0.iter().filter(|word| is_throttled(word)).count();
        ids.for_each(|id| front.closed(ConnectionId(id)));
    }
    assert_eq!(reached, 5 + 100, "a burst, and ten a second for ten of them");
    assert_eq!((refused, front.throttle.refused()), (101 * 20 - reached, refused as u64));
    let now = START + Duration::from_secs(10);
    comes(&mut front, now, id + 1, 2);
    let other = put(&mut front, now);
    assert_eq!(other.len(), 1, "from another address it goes at once");
    succeeds(&mut front, other[0], SESSION, 2);
    assert_eq!(heard(&mut front), (vec!["welcome".to_owned(), "resumed".to_owned()], false));
    comes(&mut front, now, id + 2, 1);
    assert!(put(&mut front, now).is_empty());
    assert!(heard(&mut front).0.iter().any(|word| is_throttled(word)));
    let now = now + Duration::from_millis(100);
    comes(&mut front, now, id + 3, 1);
    assert_eq!(put(&mut front, now).len(), 1, "here it goes with the next token");
}

#[test]
fn a_session_beside_failures_gives_its_signs_of_life() {
    let mut front = limited(1, 1);
    comes(&mut front, START, 2, 1);
    let token = put(&mut front, START)[0];
    succeeds(&mut front, token, SESSION, 1);
    for id in 3..=9 {
        comes(&mut front, START, id, 1);
        put(&mut front, START).into_iter().for_each(|token| fails(&mut front, token));
    }
    assert_eq!(heard(&mut front).0.iter().filter(|word| is_throttled(word)).count(), 6, "all but one of seven");
    let mut ping = BytesMut::new();
    ClientMessage::Ping { number: 1 }.encode(&mut ping);
    front.received(START, ConnectionId(2), &ping);
    let mut requests = Vec::new();
    front.prepare(START, true, &mut requests);
    let spoke =
        |request: &FrontRequest| matches!(request, FrontRequest::ReadPoint { sessions, .. } if *sessions == [SESSION]);
    assert!(requests.iter().any(spoke), "{requests:?}");
}

#[test]
fn all_clients_of_a_host_come_back_at_once_and_none_is_refused() {
    let mut front = limited(1, 2);
    (2..12).for_each(|id| comes(&mut front, START, id, 1));
    let mut resumed = 0;
    for _ in 0..20 {
        let tokens = put(&mut front, START);
        assert!(tokens.len() <= 2, "the log is asked about a bucket of them at once: {tokens:?}");
        resumed += tokens.len();
        tokens.into_iter().for_each(|token| succeeds(&mut front, token, SessionId(token), 1));
    }
    assert_eq!(resumed, 10, "the others go in the places of those that have their sessions");
    let (words, closed) = heard(&mut front);
    let count = |wanted: &str| words.iter().filter(|word| *word == wanted).count();
    assert_eq!((count("welcome"), count("resumed"), words.len(), closed), (10, 10, 20, false));
    assert!(front.held.is_empty() && front.throttle.refused() == 0);
}

#[test]
fn what_is_lost_holds_up_the_next_until_a_token_has_come() {
    let mut front = limited(1, 2);
    (2..7).for_each(|id| comes(&mut front, START, id, 1));
    assert_eq!(put(&mut front, START), [101, 102]);
    assert!(!front.is_restless() && front.next_deadline() > START, "what is held keeps no loop busy");
    for leader in [None, Some(ReplicaId(2))] {
        front.notice(FrontNotice::Leader { leader }, &Tree::new(1));
    }
    assert_eq!(put(&mut front, START), [101, 102], "the next leader is asked for what was paid for, and nothing else");
    let mut now = START;
    for token in 103..=105 {
        now = front.next_deadline();
        assert!(now <= START + Duration::from_secs(2 * (token - 102)), "{now:?}");
        assert_eq!(put(&mut front, now), [token], "in the order they came");
    }
    comes(&mut front, now, 7, 1);
    assert!(put(&mut front, now).is_empty());
    (2..=7).for_each(|id| front.closed(ConnectionId(id)));
    let now = front.next_deadline();
    assert!(put(&mut front, now).is_empty() && front.is_idle(), "who is gone leaves nothing behind");
}

#[test]
fn what_did_not_reach_the_log_has_its_token_back() {
    let mut front = limited(1, 1);
    (2..4).for_each(|id| comes(&mut front, START, id, 1));
    assert_eq!(put(&mut front, START), [101]);
    front.notice(FrontNotice::Refused { requests: vec![(SessionId(101), 0)], overloaded: true }, &Tree::new(1));
    assert_eq!(put(&mut front, START), [102]);
    assert_eq!(heard(&mut front).0.iter().filter(|word| *word == "full").count(), 1);
}
