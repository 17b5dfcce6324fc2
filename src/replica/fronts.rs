//! What the fronts ask of their replica, and where it goes: into the log, to the leader, or back with an answer.

use super::Replica;
use super::exchange::{Effect, FrontId, FrontNotice, FrontRequest, Submission, Trust};
use super::reads::{Asked, Asker};
use crate::limits::SESSIONS_PAGE_MAX;
use crate::namespace::SessionView;
use crate::namespace::command::SessionId;
use crate::paxos::Slot;
use crate::time::Instant;
use crate::wire::cache::{Wish, Word};
use crate::wire::client::{SessionAccount, SessionsPage};
use crate::wire::peer::PeerMessage;

impl Replica {
    pub(super) fn front_asks(
        &mut self,
        now: Instant,
        front: FrontId,
        request: FrontRequest,
        effects: &mut Vec<Effect>,
    ) {
        match request {
            FrontRequest::Submit(submission) => self.submit(front, submission, effects),
            FrontRequest::Attach(session) => {
                self.attached.insert(session, front);
                self.watching.remove(&session);
            }
            FrontRequest::Detach(session) => {
                if self.attached.get(&session) == Some(&front) {
                    self.attached.remove(&session);
                    self.watching.remove(&session);
                }
            }
            FrontRequest::Watching(counts) => {
                let theirs = counts.into_iter().filter(|(session, _)| self.attached.get(session) == Some(&front));
                self.watching.extend(theirs);
            }
            FrontRequest::ReadPoint { ticket, sessions, wish } => {
                self.ask_read_point(now, Asker::Front(front, ticket), (sessions, wish), effects);
            }
            FrontRequest::Recalled { session, reign, number } => self.recalled(session, (reign, number), effects),
            FrontRequest::LeaseUsed => self.paxos.want_lease(now, &mut self.outputs),
            FrontRequest::Members { ticket, trust, change } => {
                let members = Box::new(self.members(now, trust, change.as_ref()));
                effects.push(Effect::Front { front, notice: FrontNotice::Members { ticket, members } });
            }
            FrontRequest::Sessions { ticket, after } => {
                let notice = FrontNotice::Sessions { ticket, page: self.sessions_after(after) };
                effects.push(Effect::Front { front, notice });
            }
            FrontRequest::Snapshot { ticket, trust, question } => {
                self.snapshot(now, (front, ticket, trust), question, effects);
            }
            FrontRequest::Status { .. } => unreachable!("the server answers it, it knows more than the replica"),
        }
    }

    /// Whether somebody may have what no single list guards.
    pub(super) fn trusts(&self, trust: Trust) -> bool {
        match trust {
            Trust::Super => true,
            Trust::Anybody => self.namespace.tree().guarded() == 0,
            Trust::Stranger => false,
        }
    }

    fn sessions_after(&self, after: SessionId) -> SessionsPage {
        let namespace = &self.namespace;
        let mut following = namespace.sessions_after(after);
        let count = |paths: usize| u32::try_from(paths).unwrap_or(u32::MAX);
        let account = |view: SessionView| SessionAccount {
            session: view.session,
            timeout_ms: view.timeout_ms,
            requests: view.last_number,
            ephemerals: count(namespace.ephemeral_count(view.session)),
            locks: count(namespace.claims(view.session).count()),
            handles: count(namespace.handles(view.session)),
            watches: self.watching.get(&view.session).copied().unwrap_or(0),
            here: self.attached.contains_key(&view.session),
        };
        let sessions = following.by_ref().take(SESSIONS_PAGE_MAX).map(account).collect();
        SessionsPage { revision: namespace.revision(), sessions, more: following.next().is_some() }
    }

    fn submit(&mut self, front: FrontId, submission: Submission, effects: &mut Vec<Effect>) {
        if self.paxos.is_leader() {
            if let Err(submission) = self.admit(submission) {
                let notice = FrontNotice::Refused { requests: submission.requests(), overloaded: true };
                effects.push(Effect::Front { front, notice });
            }
        } else if let Some((leader, _)) = self.leader {
            let message = PeerMessage::Forward { count: submission.count, run: submission.run };
            effects.push(Effect::Peer { to: leader, message });
        }
        // With no leader it is lost: the front was told so, or is about to be.
    }

    pub(super) fn refuse(&mut self, requests: Vec<(SessionId, u64)>, overloaded: bool, effects: &mut Vec<Effect>) {
        for (id, _) in self.fronts.iter().enumerate() {
            let front = FrontId(id as u8);
            // An opening may be any front's.
            let is_mine = |(session, number): &&_| *number == 0 || self.attached.get(session) == Some(&front);
            let mine: Vec<_> = requests.iter().filter(is_mine).copied().collect();
            if !mine.is_empty() {
                effects.push(Effect::Front { front, notice: FrontNotice::Refused { requests: mine, overloaded } });
            }
        }
    }

    pub(super) fn ask_read_point(
        &mut self,
        now: Instant,
        asker: Asker,
        (sessions, wish): (Vec<SessionId>, Wish),
        effects: &mut Vec<Effect>,
    ) {
        if let Some(liveness) = self.liveness.as_mut().filter(|_| self.paxos.is_leading()) {
            let withheld: Vec<_> = sessions.into_iter().filter(|session| !liveness.heard(now, *session)).collect();
            let word = self.word(now, asker, &wish, &withheld);
            let ticket = self.reads.ask(Asked { asker, leader: None, withheld, word });
            self.paxos.read_point(now, ticket, &mut self.outputs);
            return;
        }
        match (asker, self.leader) {
            (Asker::Front(..), Some((leader, _))) if leader != self.me => {
                let (withheld, word) = (Vec::new(), Word::default());
                let ticket = self.reads.ask(Asked { asker, leader: Some(leader), withheld, word });
                effects.push(Effect::Peer { to: leader, message: PeerMessage::ReadPoint { ticket, sessions, wish } });
            }
            _ => answer_read_point(asker, None, (sessions, Word::default()), effects),
        }
    }
}

pub(super) fn answer_read_point(
    asker: Asker,
    upto: Option<Slot>,
    (withheld, word): (Vec<SessionId>, Word),
    effects: &mut Vec<Effect>,
) {
    effects.push(match asker {
        Asker::Front(front, ticket) => {
            Effect::Front { front, notice: FrontNotice::ReadPoint { ticket, upto, withheld, word } }
        }
        Asker::Peer(to, ticket) => {
            Effect::Peer { to, message: PeerMessage::ReadPointReply { ticket, upto, withheld, word } }
        }
    });
}
