//! Whom a front lets ask for an image, and how much at a time.

use super::*;
use crate::namespace::acl::{Principals, User};
use crate::replica::exchange::Trust;
use crate::wire::snapshots::{SnapshotAnswer, SnapshotQuestion};

fn ask(front: &mut Front, number: u64) -> Vec<(u64, Trust)> {
    let mut bytes = BytesMut::new();
    let question = SnapshotQuestion::Piece { image: Slot(7), offset: 0 };
    ClientMessage::Snapshot { number, question }.encode(&mut bytes);
    front.received(Instant::ZERO, CLIENT, &bytes);
    let mut requests = Vec::new();
    front.prepare(START, true, &mut requests);
    let asked = requests.into_iter().filter_map(|request| match request {
        FrontRequest::Snapshot { ticket, trust, .. } => Some((ticket, trust)),
        _ => None,
    });
    asked.collect()
}

fn answer(front: &mut Front, ticket: u64) {
    let answer = SnapshotAnswer::Piece { image: Slot(7), offset: 0, bytes: Bytes::from_static(b"rows") };
    front.notice(FrontNotice::Snapshot { ticket, answer }, &Tree::new(1));
}

#[test]
fn a_connection_is_trusted_while_its_session_stands_for_the_super_principal() {
    let mut front = front();
    front.received(Instant::ZERO, CLIENT, &hello(None));
    let trust = |front: &mut Front| {
        let [(ticket, trust)] = ask(front, 1)[..] else { panic!("one question is under way at a time") };
        answer(front, ticket);
        trust
    };
    assert_eq!(trust(&mut front), Trust::Anybody);
    front.facts.super_user = Some(User::new("root", "r"));
    assert_eq!(trust(&mut front), Trust::Stranger);
    let mut bytes = BytesMut::new();
    ClientMessage::OpenSession { token: 3, secret: 9, timeout_ms: 12_000 }.encode(&mut bytes);
    front.received(Instant::ZERO, CLIENT, &bytes);
    let who = Arc::new(Principals { is_super: true, ..Principals::default() });
    let opened = CommandOutcome::SessionOpened { token: 3, secret: 9, session: SESSION, timeout_ms: 12_000, who };
    applied(&mut front, opened);
    assert_eq!(trust(&mut front), Trust::Super);
    front.facts.super_user = None;
    assert_eq!(trust(&mut front), Trust::Super, "the log said so");
    front.facts.super_user = Some(User::new("root", "r"));
    applied(&mut front, CommandOutcome::SessionExpired { session: SESSION });
    assert_eq!(trust(&mut front), Trust::Stranger, "whoever it stood for is gone");
}

#[test]
fn a_connection_has_one_question_under_way() {
    let mut front = front();
    front.received(Instant::ZERO, CLIENT, &hello(None));
    heard(&mut front);
    let first = ask(&mut front, 1);
    assert_eq!(first.len(), 1);
    assert_eq!(ask(&mut front, 2), [], "the first one is not answered");
    let (words, closed) = heard(&mut front);
    assert!(words.len() == 1 && words[0].contains("number: 2") && words[0].contains("NotYet"), "{words:?}");
    assert!(!closed);
    answer(&mut front, first[0].0);
    let (words, _) = heard(&mut front);
    assert!(words.len() == 1 && words[0].contains("number: 1") && words[0].contains("rows"), "{words:?}");
    assert_eq!(ask(&mut front, 3).len(), 1, "now another");
}
