//! The tags inside messages of clients and servers, on record: a line for each variant of each enum, in a frame that has it.

use super::*;
use crate::namespace::codec::tests::lines::{Lines, hex, tagged};
use crate::wire::frame::HEADER_BYTES;

tagged! {
    Consistency { Linearizable, AtLeast, Stale }
    MemberChange { Add, Replace, Remove }
    SnapshotQuestion { Image, Piece }
    Scope { Node, Children, Entries, Subtree, Lock }
    Reason { NotReady, Overloaded, Throttled, Resend }
    FaultCode {
        WrongCell, Version, Malformed, TooLarge, UnknownKind, OutOfTurn, WrongSecret, Unavailable, PeerPort, Taken, Damaged,
    }
    Role { Recovering, Follower, Candidate, Leader }
    ChangeAnswer { Listed, Changed, Refused, NotAuthorized }
    Standing { Voter, Learner }
    SnapshotAnswer { Image, NotYet, Piece, Gone, NotAuthorized }
    EventKind { Created, Changed, Deleted, OverQuota, Wanted }
}

/// A frame: its header, its body.
pub fn framed(bytes: &[u8]) -> String {
    let (header, body) = bytes.split_at(HEADER_BYTES);
    format!("{} {}", hex(header), hex(body))
}

/// The frame of a client's message, once it is read as that message again.
fn said(message: &ClientMessage<'_>) -> String {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes);
    only_frame(&bytes, |frame| assert_eq!(ClientMessage::decode(frame).as_ref(), Ok(message)));
    framed(&bytes)
}

/// The frame of a server's message, once it is read as that message again.
fn told(message: &ServerMessage<'_>) -> String {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes);
    only_frame(&bytes, |frame| assert_eq!(ServerMessage::decode(frame).as_ref(), Ok(message)));
    framed(&bytes)
}

#[test]
fn every_tag_in_a_clients_messages_is_on_record() {
    let mut lines = Lines::of("client_tags.txt");
    let freshness = [Consistency::Linearizable, Consistency::AtLeast(4711), Consistency::Stale];
    lines.each(freshness, |consistency| said(&read(1, consistency)));
    let (replica, incarnation) = (ReplicaId(4), Incarnation(SECRET));
    let changes = [
        addition(),
        MemberChange::Replace { replica, incarnation, addresses: Some(addresses()) },
        MemberChange::Remove { replica },
    ];
    lines.each(changes, |change| said(&ClientMessage::Members { number: 7, change: Some(change) }));
    let questions =
        [SnapshotQuestion::Image { at_least: 4711 }, SnapshotQuestion::Piece { image: Slot(60), offset: 4096 }];
    lines.each(questions, |question| said(&snapshot(question)));
    let scopes = [Scope::Node, Scope::Children, Scope::Entries, Scope::Subtree, Scope::Lock];
    lines.each(scopes, |scope| said(&watch(registration(scope))));
    lines.hold();
}

#[test]
fn every_tag_in_a_servers_messages_is_on_record() {
    let mut lines = Lines::of("server_tags.txt");
    put_refusals(&mut lines);
    put_members(&mut lines);
    let roles = [Role::Recovering, Role::Follower, Role::Candidate, Role::Leader];
    lines.each(roles, |role| {
        told(&ServerMessage::StatusReply { number: 6, status: Status { role, version: String::new(), ..status() } })
    });
    let (image, bytes) = (Slot(60), Bytes::from_static(b"rows"));
    let answers = [
        SnapshotAnswer::Image { image },
        SnapshotAnswer::NotYet { revision: 4711 },
        SnapshotAnswer::Piece { image, offset: 4096, bytes },
        SnapshotAnswer::Gone { image },
        SnapshotAnswer::NotAuthorized,
    ];
    lines.each(answers, |answer| told(&ServerMessage::Snapshot { number: 6, answer }));
    let kinds = [EventKind::Created, EventKind::Changed, EventKind::Deleted, EventKind::OverQuota, EventKind::Wanted];
    lines.each(kinds, |kind| {
        let events = vec![Event { kind, path: "/app", node: None }];
        told(&ServerMessage::Events { watch: 8, revision: 4712, more: false, events })
    });
    lines.hold();
}

/// Why a connection ends, and why a request is turned away.
fn put_refusals(lines: &mut Lines) {
    let codes = [
        FaultCode::WrongCell,
        FaultCode::Version,
        FaultCode::Malformed,
        FaultCode::TooLarge,
        FaultCode::UnknownKind,
        FaultCode::OutOfTurn,
        FaultCode::WrongSecret,
        FaultCode::Unavailable,
        FaultCode::PeerPort,
        FaultCode::Taken,
        FaultCode::Damaged,
    ];
    lines.each(codes, |code| told(&ServerMessage::Fault { code, text: "" }));
    let retry_after_ms = 250;
    let reasons =
        [Reason::NotReady, Reason::Overloaded { retry_after_ms }, Reason::Throttled { retry_after_ms }, Reason::Resend];
    lines.each(reasons, |reason| told(&ServerMessage::Refused { number: 7, reason }));
}

/// What became of a change of the members, and what one of them counts for.
fn put_members(lines: &mut Lines) {
    let answers = [
        ChangeAnswer::Listed,
        ChangeAnswer::Changed { slot: Slot(104) },
        ChangeAnswer::Refused { again: true, text: "replica 1 leads".to_owned() },
        ChangeAnswer::NotAuthorized,
    ];
    lines.each(answers, |answer| told(&changed(answer)));
    lines.each([Standing::Voter, Standing::Learner], |standing| {
        let member = Member { standing, ..Member::voter(ReplicaId(4)) };
        let listed = vec![MemberStatus { member, answers: true, chosen_upto: Slot(99) }];
        let members = Members { members: listed, ..members(ChangeAnswer::Listed) };
        told(&ServerMessage::MembersReply { number: 7, members })
    });
}
