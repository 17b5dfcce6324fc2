//! How commands pass the cache on their way to the log, and how it takes part in a turn.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::touch::Touch;
use super::{Cache, EVERYTHING_OF_BEFORE, Way, Whither};
use crate::limits::PENDING_BYTES_MAX;
use crate::namespace::codec::CommandRef;
use crate::namespace::command::{Command, SessionId};
use crate::namespace::{Namespace, SessionView};
use crate::paxos::{Ballot, ReplicaId};
use crate::replica::Replica;
use crate::replica::exchange::{Effect, FrontId, FrontNotice, Submission};
use crate::replica::reads::Asker;
use crate::time::Instant;
use crate::wire::cache::{Recall, Wish, Word};
use crate::wire::peer::PeerMessage;

impl Replica {
    /// Takes commands for the next entries, if there is room for them in memory and on disk.
    pub(in crate::replica) fn admit(&mut self, submission: Submission) -> Result<(), Submission> {
        let held = self.cache.as_ref().map_or(0, Cache::held_bytes);
        let needed = self.pending.bytes() + held + submission.run.len();
        if !self.storage.has_room_for(needed as u64) {
            return Err(submission);
        }
        match &self.cache {
            Some(cache) if !cache.is_idle() => {
                if needed > PENDING_BYTES_MAX || cache.is_full() {
                    return Err(submission);
                }
                self.admit_read(submission);
                Ok(())
            }
            Some(_) | None => self.pending.push(submission),
        }
    }

    /// Takes commands one by one: those that change what somebody keeps wait.
    fn admit_read(&mut self, submission: Submission) {
        let cache = self.cache.as_mut().expect("the caller found it");
        let (mut passing, mut count, mut changed) = (Vec::new(), 0, Vec::new());
        for command in commands(&submission.run) {
            let (request, touches) = match CommandRef::decode(&command[4..]) {
                Ok(read) => (request_of(&read), Touch::of(&read, &self.namespace)),
                // It will stop whoever applies it; until then it may be anything.
                Err(_) => (None, Some(vec![Touch::Subtree("/".into())])),
            };
            // A client that hears nothing for a while sends again what waits here.
            if request.is_some_and(|request| cache.holds_copy_of(request)) {
                continue;
            }
            match cache.holds(request.map(|(session, _)| session), touches.as_deref()) {
                None => {
                    passing.push(command);
                    count += 1;
                    changed.extend(touches.unwrap_or_default());
                }
                Some(recalls) => cache.hold(request, command, touches, &recalls),
            }
        }
        if count == 0 {
            return;
        }
        let run = if count == submission.count { submission.run } else { joined(&passing) };
        self.pending.push_anyway(Submission { run, count });
        cache.passed(self.pending.pushed(), changed);
    }

    /// A reign begins here, or ends.
    pub(in crate::replica) fn begin_cache(&mut self) {
        let reign = self.paxos.ballot();
        if !self.paxos.is_leading() {
            self.cache = None;
        } else if self.cache.as_ref().is_none_or(|cache| cache.reign() != reign) {
            let (marked, passed_on) = marked_in(&self.namespace);
            // What came in before its reign's first entry was applied has been read by nobody.
            let waiting = self.pending.take_all();
            let cache = Cache::begin(reign, marked, passed_on, self.pending.pushed());
            let is_idle = cache.is_idle();
            self.cache = Some(cache);
            for submission in waiting {
                if is_idle {
                    self.pending.push_anyway(submission);
                } else {
                    self.admit_read(submission);
                }
            }
        }
    }

    /// The cache's part in the end of a turn: leases end, what is free leaves, recalls are sent.
    pub(in crate::replica) fn tend_cache(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(cache) = &mut self.cache else { return };
        if cache.is_idle() {
            return;
        }
        cache.end_turn(now);
        while cache.take_stirred() {
            let (namespace, pushed) = (&self.namespace, self.pending.pushed());
            cache.judge_unknown(pushed, |command| {
                CommandRef::decode(command).ok().and_then(|read| Touch::of(&read, namespace))
            });
            for (run, touches) in cache.take_free() {
                self.pending.push_anyway(Submission { run, count: 1 });
                cache.passed(self.pending.pushed(), touches);
            }
        }
        #[cfg(debug_assertions)]
        cache.invariants();
        for (whither, recall) in cache.take_recalls() {
            self.send_recall(whither, &recall, effects);
        }
    }

    /// What the leader says to a wish. `withheld`: sessions whose end is being decided.
    pub(in crate::replica) fn word(&mut self, now: Instant, asker: Asker, wish: &Wish, withheld: &[SessionId]) -> Word {
        let mut word = Word::default();
        if wish.is_empty() {
            return word;
        }
        let way = match asker {
            Asker::Front(front, _) => Way::Front(front),
            Asker::Peer(peer, _) => Way::Peer(peer),
        };
        for session in wish.renew.iter().copied().filter(|session| !withheld.contains(session)) {
            let Some(view) = self.namespace.session(session) else { continue };
            let pushed = self.pending.pushed();
            let Some(cache) = &mut self.cache else { continue };
            if view.is_marked() {
                if cache.renew((session, view.holder), view.was_passed_on(), way, pushed) {
                    word.renewed.push(session);
                }
            } else if cache.begin_to_mark(session)
                && self.admit(Submission::of(&Command::MarkCaching { session })).is_err()
                && let Some(cache) = &mut self.cache
            {
                cache.marked(session);
            }
        }
        let Some(cache) = &mut self.cache else { return word };
        for (place, keep) in (0..).zip(&wish.keep) {
            if cache.grant(now, keep.session, way, &keep.path, keep.with_children) {
                word.kept.push(place);
            }
        }
        word
    }

    /// A client of this replica, or of a peer, answered a recall.
    pub(in crate::replica) fn recalled(
        &mut self,
        session: SessionId,
        (reign, number): (Ballot, u64),
        effects: &mut Vec<Effect>,
    ) {
        if let Some(cache) = &mut self.cache {
            cache.recalled(session, reign, number);
        } else if let Some((leader, _)) = self.leader.filter(|(leader, _)| *leader != self.me) {
            effects.push(Effect::Peer { to: leader, message: PeerMessage::Recalled { session, reign, number } });
        }
    }

    /// Passes a recall on to those of the sessions that are here. What is kept of before is asked for only where the session is
    /// known to be marked: elsewhere its client was given nothing to keep, and may be a process that has lost it.
    pub(in crate::replica) fn recall_here(
        &mut self,
        sessions: &[SessionId],
        recall: &Recall,
        effects: &mut Vec<Effect>,
    ) {
        for session in sessions {
            let is_marked = self.namespace.session(*session).is_some_and(|view| view.is_marked());
            if recall.number == EVERYTHING_OF_BEFORE && !is_marked {
                continue;
            }
            let fronts: Vec<_> = self.attached.fronts_of(*session).collect();
            fronts.into_iter().for_each(|front| self.recall_at(front, *session, recall, effects));
        }
    }

    /// Tells a front of a recall, but not before it knows all that is applied: the session's connection may be that of a process
    /// that has lost it, which must not answer for the one that has it.
    fn recall_at(&mut self, front: FrontId, session: SessionId, recall: &Recall, effects: &mut Vec<Effect>) {
        let notice = FrontNotice::Recall { session, recall: recall.clone() };
        let told = if self.unpublished { &mut self.recalls } else { effects };
        told.push(Effect::Front { front, notice });
    }

    fn send_recall(&mut self, whither: Whither, recall: &Recall, effects: &mut Vec<Effect>) {
        let to_peer = |to: ReplicaId, sessions: Vec<SessionId>| Effect::Peer {
            to,
            message: PeerMessage::Recall { sessions, recall: recall.clone() },
        };
        match whither {
            Whither::One(session, Way::Front(front)) => self.recall_at(front, session, recall, effects),
            Whither::One(session, Way::Peer(peer)) => effects.push(to_peer(peer, vec![session])),
            Whither::Wherever(sessions) => {
                self.recall_here(&sessions, recall, effects);
                let members = self.paxos.config().members().iter().map(|member| member.replica);
                let linked = members.filter(|peer| self.links.contains(*peer));
                effects.extend(linked.map(|peer| to_peer(peer, sessions.clone())));
            }
        }
    }
}

/// The sessions that the log has marked, with the processes that have them; and whether one was marked when another process had
/// it, which may still keep answers.
pub(super) fn marked_in(namespace: &Namespace) -> (BTreeMap<SessionId, u64>, bool) {
    let marked = || namespace.sessions().filter(SessionView::is_marked);
    let passed_on = marked().any(|view| view.is_marked_for_former());
    (marked().map(|view| (view.session, view.holder)).collect(), passed_on)
}

/// The commands of a run, each with its length in front.
fn commands(run: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(*run.get(at..)?.first_chunk()?) as usize;
        let end = at.checked_add(4 + length).filter(|end| *end <= run.len())?;
        let command = run.slice(at..end);
        at = end;
        Some(command)
    })
}

fn joined(commands: &[Bytes]) -> Bytes {
    let mut run = BytesMut::with_capacity(commands.iter().map(Bytes::len).sum());
    commands.iter().for_each(|command| run.extend_from_slice(command));
    run.freeze()
}

fn request_of(command: &CommandRef<'_>) -> Option<(SessionId, u64)> {
    match command {
        CommandRef::Request { session, number, .. } => Some((*session, *number)),
        _ => None,
    }
}
