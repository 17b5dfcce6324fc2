//! Which fronts hold a connection of a session: outcomes of its commands go there. And how many watches it has there.
//!
//! Mostly it is one. But fronts are on cores of their own, and what they say comes late: a client that moves from one to
//! another may be attached at the second before the first, which has yet to learn that its connection is the older one, has
//! said anything. And a client that asked for a session twice, the first time on a connection that is dead and not closed
//! yet, has it at both. So no front takes a session's outcomes from another: each says for itself when it has done with the
//! session, and one that is told of a session it has not passes that over.

use hashbrown::HashMap;

use super::exchange::FrontId;
use crate::namespace::command::SessionId;

/// Sessions, each with the fronts that hold a connection of it.
#[derive(Debug, Default)]
pub(super) struct Attached {
    sessions: HashMap<SessionId, At>,
}

#[derive(Debug)]
struct At {
    first: Attachment,
    /// The others that have it, each once, in the order in which they said so. Empty, but where a client moves, or has left a
    /// connection behind that its front does not know to be dead.
    others: Vec<Attachment>,
}

/// One front's hold on a session.
#[derive(Clone, Copy, Debug)]
struct Attachment {
    front: FrontId,
    watches: u32,
}

impl At {
    fn attachment(&mut self, front: FrontId) -> Option<&mut Attachment> {
        std::iter::once(&mut self.first).chain(&mut self.others).find(|of| of.front == front)
    }
}

impl Attached {
    /// That front has the session, on a connection without watches.
    pub(super) fn attach(&mut self, session: SessionId, front: FrontId) {
        let new = Attachment { front, watches: 0 };
        let at = self.sessions.entry(session).or_insert_with(|| At { first: new, others: Vec::new() });
        match at.attachment(front) {
            Some(known) => *known = new,
            None => at.others.push(new),
        }
    }

    /// That front has it no more.
    pub(super) fn detach(&mut self, session: SessionId, front: FrontId) {
        let Some(at) = self.sessions.get_mut(&session) else { return };
        if at.first.front != front {
            at.others.retain(|other| other.front != front);
        } else if at.others.is_empty() {
            self.sessions.remove(&session);
        } else {
            at.first = at.others.remove(0);
        }
    }

    /// It has so many watches at that front, if it is there.
    pub(super) fn set_watches(&mut self, session: SessionId, front: FrontId, watches: u32) {
        if let Some(known) = self.sessions.get_mut(&session).and_then(|at| at.attachment(front)) {
            known.watches = watches;
        }
    }

    /// How many it has, at all fronts.
    pub(super) fn watches(&self, session: SessionId) -> u32 {
        self.attachments(session).map(|of| of.watches).sum()
    }

    /// Whether a front has it.
    pub(super) fn is_anywhere(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Whether that front has it.
    pub(super) fn is_at(&self, session: SessionId, front: FrontId) -> bool {
        self.fronts_of(session).any(|of| of == front)
    }

    /// The fronts that have it.
    pub(super) fn fronts_of(&self, session: SessionId) -> impl Iterator<Item = FrontId> {
        self.attachments(session).map(|of| of.front)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn attachments(&self, session: SessionId) -> impl Iterator<Item = &Attachment> {
        self.sessions.get(&session).into_iter().flat_map(|at| std::iter::once(&at.first).chain(&at.others))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::namespace::CommandOutcome;
    use crate::namespace::command::{Command, Expect, Operation};
    use crate::namespace::tests::batch;
    use crate::paxos::{Ballot, Incarnation, Kind, Message, ReplicaId, Slot, Value};
    use crate::replica::Replica;
    use crate::replica::exchange::{Effect, FrontNotice, FrontRequest, Input};
    use crate::replica::transfer::tests::{recovered, settings};
    use crate::time::Instant;
    use crate::wire::cache::Recall;
    use crate::wire::peer::PeerMessage;

    /// The first that a namespace makes.
    const SESSION: SessionId = SessionId(1);
    const OLD: FrontId = FrontId(0);
    const NEW: FrontId = FrontId(1);

    fn fronts(attached: &Attached) -> Vec<FrontId> {
        attached.fronts_of(SESSION).collect()
    }

    /// The front it came from says late that it has the session, and then that it has not: all its client asks for at the
    /// new one would never be answered.
    #[test]
    fn a_front_that_is_late_takes_no_session_from_where_its_client_went() {
        let mut attached = Attached::default();
        attached.attach(SESSION, NEW);
        attached.attach(SESSION, OLD);
        assert_eq!(fronts(&attached), [NEW, OLD]);
        attached.detach(SESSION, OLD);
        assert_eq!(fronts(&attached), [NEW], "it is at the new one still");
        attached.detach(SESSION, NEW);
        assert!(!attached.is_anywhere(SESSION) && attached.is_empty());
    }

    #[test]
    fn a_session_moves_in_whatever_order_its_fronts_are_heard() {
        let mut attached = Attached::default();
        attached.attach(SESSION, OLD);
        attached.attach(SESSION, OLD);
        attached.attach(SESSION, NEW);
        attached.attach(SESSION, NEW);
        assert!(attached.is_at(SESSION, OLD) && attached.is_at(SESSION, NEW));
        attached.detach(SESSION, OLD);
        assert_eq!(fronts(&attached), [NEW], "a front that takes it up again has it once");
        attached.detach(SESSION, OLD);
        assert_eq!(fronts(&attached), [NEW], "it had it no more");
        attached.detach(SESSION, NEW);
        attached.detach(SESSION, NEW);
        assert!(attached.is_empty());
    }

    /// What the front of before has counted goes with it: the client may have no watches where it is, and then nobody says
    /// anything of them there.
    #[test]
    fn watches_count_where_they_are_and_as_long_as_the_session_is_there() {
        let mut attached = Attached::default();
        attached.attach(SESSION, NEW);
        attached.attach(SESSION, OLD);
        attached.set_watches(SESSION, OLD, 5);
        assert_eq!(attached.watches(SESSION), 5);
        attached.set_watches(SESSION, NEW, 2);
        assert_eq!(attached.watches(SESSION), 7, "there are two connections");
        attached.detach(SESSION, OLD);
        assert_eq!(attached.watches(SESSION), 2);
        attached.set_watches(SESSION, OLD, 5);
        assert_eq!(attached.watches(SESSION), 2, "it has the session no more");
        attached.attach(SESSION, NEW);
        assert_eq!(attached.watches(SESSION), 0, "another connection, which has to ask for its own");
        attached.set_watches(SESSION, NEW, 1);
        attached.detach(SESSION, NEW);
        assert_eq!((attached.watches(SESSION), attached.is_empty()), (0, true));
    }

    /// Replica 1 of three, which has applied everything up to slot 6, with two fronts.
    fn replica() -> Replica {
        let recovered = recovered(BTreeMap::from([(Slot(5), 0)]), |_| ());
        Replica::start(Instant::ZERO, settings(), recovered, 2, 7)
    }

    /// A peer says that this command was chosen there.
    fn chosen(slot: u64, command: Command) -> PeerMessage {
        let content = [&[Kind::Commands.tag()][..], &batch(slot, slot, &[command])].concat();
        PeerMessage::Paxos(Message::Chosen { from: Slot(slot), values: vec![Value::copy_of(&content)] })
    }

    fn ask(replica: &mut Replica, front: FrontId, request: FrontRequest) {
        replica.step(Instant::ZERO, Input::Front { front, request }, &mut Vec::new());
    }

    /// The fronts that get such a notice, by their numbers, in the turn in which a peer says that.
    fn told(replica: &mut Replica, message: PeerMessage, is_such: impl Fn(&FrontNotice) -> bool) -> Vec<FrontId> {
        let (from, incarnation) = (ReplicaId(2), Incarnation(2));
        let mut effects = Vec::new();
        replica.step(Instant::ZERO, Input::Peer { from, incarnation, message }, &mut effects);
        replica.step(Instant::ZERO, Input::TurnEnd { wall_ms: 0 }, &mut effects);
        let front = |effect: &Effect| {
            let Effect::Front { front, notice } = effect else { return None };
            is_such(notice).then_some(*front)
        };
        let mut fronts: Vec<FrontId> = effects.iter().filter_map(front).collect();
        fronts.sort_unstable();
        fronts
    }

    /// Whatever the session's client waits for, or has to do, is said at these fronts: what became of its request of that
    /// number, that it was refused, and that something is to be dropped.
    fn reaches(replica: &mut Replica, number: u64, fronts: &[FrontId]) {
        let operation = Operation::Delete { path: "/none".to_owned(), expect: Expect::Any };
        let request = Command::Request { session: SESSION, number, acked_upto: 0, operation };
        let is_outcome = |outcome: &CommandOutcome| matches!(outcome, CommandOutcome::Replied { session, number: of, .. } if (*session, *of) == (SESSION, number));
        let replied = |notice: &FrontNotice| matches!(notice, FrontNotice::Applied(applied) if applied.outcomes.iter().any(is_outcome));
        assert_eq!(told(replica, chosen(7 + number, request), replied), fronts, "outcome {number}");

        let requests = vec![(SESSION, number), (SessionId(9), number)];
        let message = PeerMessage::ForwardRefused { requests, overloaded: true };
        let refused = |notice: &FrontNotice| matches!(notice, FrontNotice::Refused { requests, .. } if *requests == [(SESSION, number)]);
        assert_eq!(told(replica, message, refused), fronts, "refusal {number}");

        let recall = Recall { reign: Ballot { round: 1, replica: ReplicaId(2) }, number, paths: Vec::new() };
        let message = PeerMessage::Recall { sessions: vec![SESSION, SessionId(9)], recall };
        let recalled =
            |notice: &FrontNotice| matches!(notice, FrontNotice::Recall { session, .. } if *session == SESSION);
        assert_eq!(told(replica, message, recalled), fronts, "recall {number}");
    }

    #[test]
    fn every_front_that_has_a_session_is_told_what_its_client_has_to_know() {
        let mut replica = replica();
        let open = Command::OpenSession { token: 11, secret: 99, timeout_ms: 12_000, address: None };
        told(&mut replica, chosen(7, open), |_| false);
        assert!(replica.namespace().session(SESSION).is_some(), "it lives");
        ask(&mut replica, NEW, FrontRequest::Attach(SESSION));
        ask(&mut replica, OLD, FrontRequest::Attach(SESSION));
        reaches(&mut replica, 1, &[OLD, NEW]);
        ask(&mut replica, OLD, FrontRequest::Detach(SESSION));
        reaches(&mut replica, 2, &[NEW]);
    }
}
