//! What the fronts ask of their replica, and where it goes: into the log, to the leader, or back with an answer.

use super::Replica;
use super::exchange::{Effect, FrontId, FrontNotice, FrontRequest, Gathering, Resumption, Submission, Trust};
use super::reads::{Asked, Asker};
use crate::limits::{BATCH_BYTES_TARGET, SESSIONS_PAGE_MAX};
use crate::namespace::SessionView;
use crate::namespace::command::{Command, SessionId};
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
            FrontRequest::Resume(resumptions) => self.resume(front, resumptions, effects),
            FrontRequest::Attach(session) => self.attached.attach(session, front),
            FrontRequest::Detach(session) => self.attached.detach(session, front),
            FrontRequest::Watching(counts) => {
                for (session, watches) in counts {
                    self.attached.set_watches(session, front, watches);
                }
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
            watches: self.attached.watches(view.session),
            here: self.attached.is_anywhere(view.session),
        };
        let sessions = following.by_ref().take(SESSIONS_PAGE_MAX).map(account).collect();
        SessionsPage { revision: namespace.revision(), sessions, more: following.next().is_some() }
    }

    /// Asks the log for the sessions that may be taken up again. Whoever made one up, or shows another secret, is told so here,
    /// which costs the log nothing.
    fn resume(&mut self, front: FrontId, resumptions: Vec<Resumption>, effects: &mut Vec<Effect>) {
        let (mut gathering, mut refused) = (Gathering::default(), Vec::new());
        for Resumption { token, resume, address } in resumptions {
            if let Some(why) = self.namespace.never_resumes(&resume) {
                refused.push((token, resume.session, why));
                continue;
            }
            gathering.put(&Command::ResumeSession { token, resume, address });
            if gathering.len() >= BATCH_BYTES_TARGET {
                self.submit(front, gathering.take(), effects);
            }
        }
        if !gathering.is_empty() {
            self.submit(front, gathering.take(), effects);
        }
        if !refused.is_empty() {
            effects.push(Effect::Front { front, notice: FrontNotice::NotResumed(refused) });
        }
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
            let is_mine = |(session, number): &&_| *number == 0 || self.attached.is_at(*session, front);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::command::Resume;
    use crate::namespace::tests::batch;
    use crate::namespace::{Applied, NotResumed};
    use crate::paxos::{Ballot, ReplicaId};
    use crate::replica::transfer::tests::started;

    #[test]
    fn the_log_is_asked_for_those_sessions_only_of_which_this_replica_does_not_know_better() {
        let mut replica = started(&[Slot(5)], Slot(0));
        replica.leader = Some((ReplicaId(2), Ballot { round: 1, replica: ReplicaId(2) }));
        let open = |token| Command::OpenSession { token, secret: 99, timeout_ms: 12_000, address: None };
        replica.namespace.apply(&batch(1, 1, &[open(1), open(2)]), &mut Applied::default());
        assert_eq!(replica.namespace.revision(), 2, "sessions 1 and 2 live");
        let shown = [(11, 1, 99), (12, 1, 98), (13, 2, 99), (14, 3, 99), (15, 0, 99)];
        let resumption = |(token, session, secret)| {
            let resume = Resume { session: SessionId(session), secret, holder: 1, takes_over: false };
            Resumption { token, resume, address: None }
        };
        let mut effects = Vec::new();
        let request = FrontRequest::Resume(shown.map(resumption).to_vec());
        replica.front_asks(Instant::ZERO, FrontId(0), request, &mut effects);
        let [
            Effect::Peer { to: ReplicaId(2), message: PeerMessage::Forward { count: 3, run } },
            Effect::Front { front: FrontId(0), notice: FrontNotice::NotResumed(refused) },
        ] = &effects[..]
        else {
            panic!("{effects:?}")
        };
        let asked = Submission { run: run.clone(), count: 3 }.requests();
        assert_eq!(asked, [11, 13, 14].map(|token| (SessionId(token), 0)), "two that live, and one that may");
        assert_eq!(*refused, [(12, SessionId(1), NotResumed::WrongSecret), (15, SessionId(0), NotResumed::Over)]);
    }
}
