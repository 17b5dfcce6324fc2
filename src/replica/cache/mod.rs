//! Which answers clients keep, and how they are got back before they become wrong.
//!
//! A client may *keep* an answer (data, stat, names and stats of children, or that there is nothing) and give it again
//! without asking anybody. The leader knows of each such *grant*, and proposes no command that would change an answer
//! before everybody who keeps it has dropped it, or cannot use it any more.
//!
//! ```text
//!  client S               front                leader: this room                          log
//!  Renew(n)       ─────▶  read point  ──────▶  S is marked? its cache lease runs on
//!                                              S is not: MarkCaching(S) ─────────────────▶ applied: may renew
//!  Renewed(n)     ◀─────  upto        ◀──────  ... and the leader still leads
//!  ReadCached(P)  ─────▶  read point  ──────▶  nothing changes P: S may keep it
//!  answer, "keep" ◀─────  applied, read ◀────
//!                                              Set(P): admitted; P is blocked, held
//!  Recall(k, P)   ◀─────────────────────────── S must drop P
//!  Recalled(k)    ─────▶  ─────────────────▶   all have answered, or their leases ran out
//!                                              Set(P) ───────────────────────────────────▶ applied: P is free
//! ```
//!
//! **The cache lease** runs at the client from when it sent the `Renew` that was answered; here it runs from the end of the
//! turn that took it in, which is later. It is extended only by an answer that a read point stood behind, so never by a
//! leader that was no longer one. A client whose lease ran out drops everything before it takes up another.
//!
//! **A new leader** knows no grants, but the log tells it which sessions may have some: those that are marked. It asks each of
//! them to drop everything, and holds all commands that change an answer until each has answered, or a cache lease,
//! counted from when it knew that phase 1 was over, has passed. A cell whose clients keep nothing waits for nobody.
//!
//! A process that kept answers and then had its session taken over cannot be asked: for it a new leader waits until the lease is
//! over. But a session may have been marked only after it was last taken over, which the log tells apart
//! ([`Marked`](crate::namespace::Marked)). Then only the process that has it keeps anything, and is asked. Those before had
//! nothing when they lost it, and are given nothing since, though one may be connected still to a replica that lags: what
//! is to be kept waits there for a read point that covers the mark, and whoever has applied the mark has applied the takeover
//! before it, and dropped that connection.
//!
//! Invariants:
//!
//! 1. *From its admission until it is applied, what a command changes is granted to nobody*: what it changes is blocked.
//! 2. *A command is proposed only when no client can use an answer that it changes*: every grant it concerns was recalled,
//!    and the recall answered, or the holder's lease has ended by this clock. A recall that another command brought about
//!    is waited for as well as one's own.
//! 3. *Who owes an answer is not renewed, and is granted nothing*: so its lease ends, whatever became of the recall.
//! 4. *A grant stands here before the value is read*: it is made when the read point is asked for.
//! 5. A session's commands leave in the order they came.
//! 6. Only sessions that the log has marked are renewed or granted anything.
//! 7. *Nobody answers for another process*: when a session passes to another one, the one before may not know yet, and goes on
//!    using what it keeps. Its lease is neither renewed nor cut short by a recall's answer; and until it is over the session
//!    is not closed, since a new leader, who finds it gone, would wait for nobody ([`Touch::End`]). Where it keeps nothing,
//!    nobody need wait: it is granted nothing more, and what it was granted in earlier reigns was over before this one
//!    granted anything. Nor does the one before answer for the one of now, as it could through a replica that lags: once a
//!    session was passed on, what it keeps runs out when it comes another way ([`Holder::come`]). And the recall with which a reign
//!    begins reaches a client only through a front that knows of the mark, and so of every takeover before it.
//!
//! While nobody keeps anything, commands pass unread ([`Cache::is_idle`]). What was admitted then is blocked by nothing,
//! so the first grants are given only once it is applied.
//!
//! Bounded: grants by session, in number and in bytes. Past a bound a grant is refused, and room is made for the next: who
//! keeps too many answers, or the most of all, is asked to drop everything, since nobody here knows which of them it still
//! wants. What is held counts as what waits to be proposed, and is refused as overload past the same bound.
//!
//! Deliberately absent: sending recalls again (the lease ends in seconds); clocks.

mod admission;
mod grants;
mod held;
#[cfg(test)]
mod tests;
mod touch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use self::grants::{Blocked, Grants};
use self::held::Held;
use self::touch::Touch;
use super::exchange::FrontId;
use crate::limits::{
    CACHE_GRANT_BYTES_MAX, CACHE_GRANTS_MAX, CACHE_HELD_MAX, CACHE_LEASE, CACHE_RECALL_AGAIN, CACHE_RECALL_PATHS_MAX,
    CACHE_SESSION_GRANTS_MAX,
};
use crate::namespace::command::SessionId;
use crate::namespace::path;
use crate::paxos::{Ballot, ReplicaId, Slot};
use crate::time::{Duration, Instant};
use crate::wire::cache::{CacheAccount, Recall};

/// Who keeps what, at the leader, for one reign.
#[derive(Debug)]
pub(super) struct Cache {
    reign: Ballot,
    /// When the last turn ended.
    now: Instant,
    settling: Option<Settling>,
    holders: BTreeMap<SessionId, Holder>,
    /// When each holder's lease is looked at, to see whether it has ended: no later than it does.
    looks: BTreeSet<(Instant, SessionId)>,
    grants: Grants,
    blocked: Blocked,
    held: Held,
    /// What the commands change that left from here and are not applied, by the count of submissions up to theirs.
    under_way: VecDeque<(u64, Vec<Touch>)>,
    /// Submissions in each slot that is not applied: all up to this count.
    slots: VecDeque<(Slot, u64)>,
    applied_count: u64,
    /// Commands are read, and what they change is blocked, from this count of submissions on; `None` while nobody keeps
    /// anything.
    reading_from: Option<u64>,
    /// Renewals of this turn.
    renewed: BTreeSet<SessionId>,
    /// Sessions that the log was asked to mark.
    marking: BTreeSet<SessionId>,
    last_recall: u64,
    /// The last recall that was to make room, and whose.
    making_room: Option<(SessionId, u64)>,
    to_send: Vec<(Whither, Recall)>,
    /// Something may be free to leave.
    stirred: bool,
    account: CacheAccount,
}

/// How a session is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Through a front of this replica.
    Front(FrontId),
    /// Through another replica.
    Peer(ReplicaId),
}

/// Whom a recall goes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Whither {
    /// A session, the way it last came.
    One(SessionId, Way),
    /// These sessions, wherever they are.
    Wherever(Vec<SessionId>),
}

/// A session that may keep answers.
#[derive(Debug)]
struct Holder {
    /// The process that has the session, as the log knew it when it came.
    process: u64,
    /// Another process has the session by now, or it is not known which of two came here last.
    is_former: bool,
    /// Another process had the session before.
    is_shared: bool,
    /// The cache lease that its client may believe in ends before.
    until: Instant,
    /// Its one place in `looks`.
    look_at: Instant,
    way: Way,
    paths: BTreeSet<Arc<str>>,
    /// When it is asked once more for what it owes, if it comes.
    ask_again_at: Instant,
    /// Recalls it has not answered, and what they are about.
    owes: BTreeMap<u64, Vec<Arc<str>>>,
}

/// The beginning of a reign, while somebody may keep answers of an earlier one.
#[derive(Debug)]
struct Settling {
    /// By then nobody does.
    until: Option<Instant>,
    /// Who has not answered yet: the session, and the process that had it when the reign began.
    waiting: BTreeMap<SessionId, u64>,
    /// Somebody may keep answers who cannot be asked, as another process has the session.
    waits_it_out: bool,
    ask_again_at: Instant,
    ask_again_after: Duration,
}

impl Cache {
    /// Whether nothing is kept for any session: nobody has a lease on answers, and nobody is to be told anything.
    pub(super) fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.looks.is_empty() && self.marking.is_empty() && self.to_send.is_empty()
    }

    /// A reign begins; the log has marked these sessions, which these processes have. `passed_on`: one of them was marked when
    /// another process had it. `count`: submissions up to now, none of which is in the log.
    pub(super) fn begin(reign: Ballot, marked: BTreeMap<SessionId, u64>, passed_on: bool, count: u64) -> Self {
        let settling = (!marked.is_empty() && !cfg!(bug = "27")).then_some(Settling {
            until: None,
            waiting: marked,
            waits_it_out: passed_on,
            ask_again_at: Instant::ZERO,
            ask_again_after: CACHE_RECALL_AGAIN,
        });
        Self {
            reading_from: settling.is_some().then_some(count),
            reign,
            now: Instant::ZERO,
            settling,
            holders: BTreeMap::new(),
            looks: BTreeSet::new(),
            grants: Grants::default(),
            blocked: Blocked::default(),
            held: Held::default(),
            under_way: VecDeque::new(),
            slots: VecDeque::new(),
            applied_count: count,
            renewed: BTreeSet::new(),
            marking: BTreeSet::new(),
            last_recall: 0,
            making_room: None,
            to_send: Vec::new(),
            stirred: false,
            account: CacheAccount::default(),
        }
    }

    pub(super) fn reign(&self) -> Ballot {
        self.reign
    }

    /// Whether nobody keeps anything, and nobody ever did since commands were last let through unread.
    pub(super) fn is_idle(&self) -> bool {
        self.reading_from.is_none()
    }

    /// A session, which the log has marked and `process` has, asks for its lease to run on. `is_shared`: another process had it
    /// before. `count`: submissions up to now. False if it must run out.
    pub(super) fn renew(
        &mut self,
        (session, process): (SessionId, u64),
        is_shared: bool,
        way: Way,
        count: u64,
    ) -> bool {
        if let Some(settling) = &self.settling {
            if settling.waiting.contains_key(&session) {
                // It may have come back since it was asked.
                let recall = Recall { reign: self.reign, number: EVERYTHING_OF_BEFORE, paths: Vec::new() };
                self.to_send.push((Whither::One(session, way), recall));
            }
            return false;
        }
        let looks = &mut self.looks;
        let holder = self.holders.entry(session).or_insert_with(|| {
            looks.insert((Instant::ZERO, session));
            Holder::new(process, way)
        });
        holder.is_shared |= is_shared;
        holder.come(way);
        if !holder.may_keep() {
            // What it was asked may have been lost with the connection it had.
            if !holder.is_former && holder.ask_again_at <= self.now {
                holder.ask_again_at = self.now + CACHE_RECALL_AGAIN;
                for (number, paths) in &holder.owes {
                    let recall = Recall { reign: self.reign, number: *number, paths: told(paths) };
                    self.to_send.push((Whither::One(session, way), recall));
                }
            }
            return false;
        }
        self.reading_from.get_or_insert(count);
        self.renewed.insert(session);
        true
    }

    /// A session asks whether it may keep what it is about to be told of a node, or (`with_children`) of its children too.
    pub(super) fn grant(
        &mut self,
        now: Instant,
        session: SessionId,
        way: Way,
        path: &str,
        with_children: bool,
    ) -> bool {
        let Some(holder) = self.holders.get_mut(&session) else { return false };
        holder.come(way);
        let is_new = !holder.paths.contains(path);
        let is_full = is_new
            && (self.grants.count() >= CACHE_GRANTS_MAX || self.grants.bytes() + path.len() > CACHE_GRANT_BYTES_MAX);
        let has_too_many = is_new && holder.paths.len() >= CACHE_SESSION_GRANTS_MAX;
        let has_room = !is_full && !has_too_many && self.held.len() < CACHE_HELD_MAX / 2;
        let is_read = self.reading_from.is_some_and(|from| from <= self.applied_count);
        let is_free = self.settling.is_none() && (is_read || cfg!(bug = "28")) && path::check(path).is_ok();
        let is_blocked = self.blocked.covers(path, with_children) && !cfg!(bug = "28");
        let may = holder.until > now && holder.may_keep();
        if !(has_room && is_free && !is_blocked && may) {
            self.account.denied += 1;
            if may && has_too_many {
                self.make_room(session);
            } else if may && is_full && !self.is_making_room() {
                let most = self.holders.iter().max_by_key(|(_, holder)| holder.paths.len());
                self.make_room(*most.expect("whoever asks is there").0);
            }
            return false;
        }
        let path: Arc<str> = path.into();
        self.grants.add(&path, session, with_children);
        holder.paths.insert(path);
        self.account.granted += 1;
        true
    }

    /// Takes note of what a command of `session` changes that is to be proposed: `None` if it may be at once, otherwise the
    /// recalls it waits for.
    pub(super) fn holds(&mut self, session: Option<SessionId>, touches: Option<&[Touch]>) -> Option<Recalls> {
        let behind = session.is_some_and(|session| self.held.has(session));
        let Some(touches) = touches else { return Some(Recalls::new()) };
        let recalls = self.recall(touches);
        self.blocked.add(touches);
        let waits = behind || !recalls.is_empty() || (self.settling.is_some() && !touches.is_empty());
        waits.then_some(recalls)
    }

    /// Whether that very request waits here already.
    pub(super) fn holds_copy_of(&self, request: (SessionId, u64)) -> bool {
        self.held.has_copy_of(request)
    }

    /// A command waits here.
    pub(super) fn hold(
        &mut self,
        request: Option<(SessionId, u64)>,
        command: Bytes,
        touches: Option<Vec<Touch>>,
        recalls: &Recalls,
    ) {
        self.account.held += 1;
        self.stirred |= touches.is_none();
        self.held.push(request, command, touches, recalls);
    }

    /// Commands that change this left, as submission number `count`.
    pub(super) fn passed(&mut self, count: u64, touches: Vec<Touch>) {
        if !touches.is_empty() {
            self.under_way.push_back((count, touches));
        }
    }

    /// That slot holds all submissions up to `count`.
    pub(super) fn proposed(&mut self, slot: Slot, count: u64) {
        self.slots.push_back((slot, count));
    }

    pub(super) fn applied(&mut self, slot: Slot) {
        while let Some((_, count)) = self.slots.front().copied().filter(|(first, _)| *first <= slot) {
            self.slots.pop_front();
            self.applied_count = count;
            self.stirred |= !self.held.is_empty();
        }
        while self.under_way.front().is_some_and(|(count, _)| *count <= self.applied_count) {
            let (_, touches) = self.under_way.pop_front().expect("it was just seen");
            self.blocked.remove(&touches);
        }
    }

    /// A session answered a recall.
    pub(super) fn recalled(&mut self, session: SessionId, reign: Ballot, number: u64) {
        if reign != self.reign {
            return;
        }
        if number == EVERYTHING_OF_BEFORE {
            if let Some(settling) = &mut self.settling {
                settling.waiting.remove(&session);
            }
            return;
        }
        let Some(holder) = self.holders.get_mut(&session).filter(|holder| !holder.is_former) else { return };
        for path in holder.owes.remove(&number).unwrap_or_default() {
            holder.paths.remove(&path);
            self.grants.remove(&path, session);
        }
        self.stirred |= self.held.answered(session, number);
    }

    /// That process has the session; `None`: it has ended since.
    pub(super) fn resumed(&mut self, session: SessionId, process: Option<u64>) {
        if let Some(holder) = self.holders.get_mut(&session) {
            holder.is_former |= process != Some(holder.process) && !cfg!(bug = "36");
        }
        if let Some(settling) = &mut self.settling {
            settling.waits_it_out |= settling.waiting.get(&session).is_some_and(|before| process != Some(*before));
        }
    }

    /// A session came to its end: its client, which closed it or could not renew it, uses no answer any more.
    pub(super) fn session_over(&mut self, session: SessionId) {
        self.marking.remove(&session);
        if self.holders.get(&session).is_some_and(|holder| !holder.is_former) {
            self.let_go(session);
        }
        if let Some(settling) = &mut self.settling {
            settling.waiting.remove(&session);
        }
    }

    /// The log is to be asked to mark that session, unless it was.
    pub(super) fn begin_to_mark(&mut self, session: SessionId) -> bool {
        self.marking.insert(session)
    }

    /// The log marked that session, or was not asked to after all.
    pub(super) fn marked(&mut self, session: SessionId) {
        self.marking.remove(&session);
    }

    /// Ends the turn, at a time that everything taken in is older than.
    pub(super) fn end_turn(&mut self, now: Instant) {
        self.now = now;
        for session in std::mem::take(&mut self.renewed) {
            if let Some(holder) = self.holders.get_mut(&session) {
                holder.until = holder.until.max(now + CACHE_LEASE);
            }
        }
        while let Some((_, session)) = self.looks.first().copied().filter(|(at, _)| *at <= now) {
            let holder = self.holders.get_mut(&session).expect("who is looked at is there");
            if holder.until > now {
                // Renewed since: each is looked at once a lease, however many there are.
                self.looks.remove(&(holder.look_at, session));
                holder.look_at = holder.until;
                self.looks.insert((holder.look_at, session));
            } else {
                self.account.run_out += u64::from(!holder.owes.is_empty());
                self.let_go(session);
            }
        }
        self.settle(now);
        let is_done = self.holders.is_empty() && self.settling.is_none() && self.held.is_empty();
        if is_done && self.reading_from.take().is_some() {
            self.under_way.clear();
            self.blocked = Blocked::default();
        }
    }

    /// Whether something may be free to leave that was not before.
    pub(super) fn take_stirred(&mut self) -> bool {
        self.settling.is_none() && std::mem::take(&mut self.stirred)
    }

    /// Finds out, by `touches`, what commands change of which that was not known. `count`: submissions up to now.
    pub(super) fn judge_unknown(&mut self, count: u64, touches: impl Fn(&[u8]) -> Option<Vec<Touch>>) {
        for place in self.held.unknown() {
            let waiting = self.held.get_mut(place);
            let known_after = *waiting.known_after.get_or_insert(count);
            let found = touches(&waiting.command[4..]);
            // Once all that left before is applied, a request that is still not the next has no effect.
            let found = if known_after <= self.applied_count { Some(found.unwrap_or_default()) } else { found };
            if let Some(found) = found {
                let recalls = self.recall(&found);
                self.blocked.add(&found);
                self.held.known(place, found, &recalls);
                self.stirred = true;
            }
        }
    }

    /// Takes out the commands that need not wait any more, and what they change, in order.
    pub(super) fn take_free(&mut self) -> Vec<(Bytes, Vec<Touch>)> {
        let free = self.held.take_free();
        self.stirred |= !free.is_empty() && !self.held.is_empty();
        free.into_iter().map(|w| (w.command, w.touches.expect("it is known of what is free"))).collect()
    }

    /// Recalls to be sent.
    pub(super) fn take_recalls(&mut self) -> Vec<(Whither, Recall)> {
        std::mem::take(&mut self.to_send)
    }

    /// When [`Self::end_turn`] has something to do.
    pub(super) fn next_deadline(&self) -> Instant {
        if self.stirred && self.settling.is_none() {
            return Instant::ZERO;
        }
        let settling = self.settling.as_ref().map_or(Instant::FOREVER, |settling| {
            settling.until.map_or(Instant::ZERO, |until| until.min(settling.ask_again_at))
        });
        settling.min(self.looks.first().map_or(Instant::FOREVER, |(at, _)| *at))
    }

    /// Whether there is no room for more that waits.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= CACHE_HELD_MAX
    }

    /// Bytes of the commands that wait here.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// What is kept at the moment, and what happened since the reign began.
    pub(super) fn account(&self) -> CacheAccount {
        CacheAccount {
            sessions: self.holders.len() as u64,
            grants: self.grants.count() as u64,
            holding: self.held.len() as u64,
            ..self.account
        }
    }

    /// What must hold between turns.
    pub(super) fn invariants(&self) {
        let paths: usize = self.holders.values().map(|holder| holder.paths.len()).sum();
        assert_eq!(paths, self.grants.count(), "every grant is known by its holder");
        assert_eq!(self.looks.len(), self.holders.len(), "every holder has one place");
        for (session, holder) in &self.holders {
            assert!(self.looks.contains(&(holder.look_at, *session)), "and is looked at there");
            assert!(holder.look_at <= holder.until, "no later than its lease ends");
            for (number, paths) in &holder.owes {
                let recalled = |path: &Arc<str>| self.grants.get(path, *session).and_then(|grant| grant.recalled);
                assert!(paths.iter().all(|path| recalled(path) == Some(*number)), "what is recalled is known");
            }
        }
        assert!(self.reading_from.is_some() || self.blocked.is_empty(), "what is blocked is read");
        self.held.invariants();
    }

    /// Asks for everything back that a change concerns; who must answer.
    fn recall(&mut self, touches: &[Touch]) -> Recalls {
        let mut recalls = Recalls::new();
        let mut new: BTreeMap<SessionId, (u64, Vec<Arc<str>>)> = BTreeMap::new();
        let last_recall = &mut self.last_recall;
        for touch in touches {
            if let Touch::End(session) = touch
                && let Some(holder) = self.holders.get_mut(session).filter(|holder| holder.is_former && holder.keeps())
            {
                // Nobody answers it: it is over with the lease.
                *last_recall += 1;
                holder.owes.insert(*last_recall, Vec::new());
                recalls.insert((*session, *last_recall));
            }
            self.grants.concerned(touch, |path, session, grant| {
                let number = *grant.recalled.get_or_insert_with(|| {
                    let (number, paths) = new.entry(session).or_insert_with(|| {
                        *last_recall += 1;
                        (*last_recall, Vec::new())
                    });
                    paths.push(path.clone());
                    *number
                });
                recalls.insert((session, number));
            });
        }
        for (session, (number, paths)) in new {
            let holder = self.holders.get_mut(&session).expect("a grant has its holder");
            if !holder.is_former {
                let recall = Recall { reign: self.reign, number, paths: told(&paths) };
                self.to_send.push((Whither::One(session, holder.way), recall));
                self.account.recalls += 1;
            }
            holder.owes.insert(number, paths);
        }
        if cfg!(bug = "26") {
            recalls.clear();
        }
        recalls
    }

    /// Asks a session for all it keeps, unless some session still owes what it was asked for to make room.
    fn make_room(&mut self, session: SessionId) {
        if self.is_making_room() {
            return;
        }
        self.last_recall += 1;
        let number = self.last_recall;
        let holder = self.holders.get_mut(&session).expect("the caller found it");
        let kept: Vec<_> = holder.paths.iter().cloned().collect();
        let asked = kept.into_iter().filter(|path| self.grants.recall(path, session, number)).collect();
        holder.owes.insert(number, asked);
        self.making_room = Some((session, number));
        if !holder.is_former {
            let recall = Recall { reign: self.reign, number, paths: Vec::new() };
            self.to_send.push((Whither::One(session, holder.way), recall));
            self.account.recalls += 1;
        }
    }

    /// Whether some session owes what it was asked for to make room.
    fn is_making_room(&self) -> bool {
        let owes =
            |(session, number)| self.holders.get(&session).is_some_and(|holder| holder.owes.contains_key(&number));
        self.making_room.is_some_and(owes)
    }

    /// A session's lease is over.
    fn let_go(&mut self, session: SessionId) {
        let Some(holder) = self.holders.remove(&session) else { return };
        self.looks.remove(&(holder.look_at, session));
        for path in &holder.paths {
            self.grants.remove(path, session);
        }
        for number in holder.owes.keys() {
            self.stirred |= self.held.answered(session, *number);
        }
        self.renewed.remove(&session);
    }

    /// Asks those who may keep answers of an earlier reign to drop them, until they have, or their leases are over.
    fn settle(&mut self, now: Instant) {
        let Some(settling) = &mut self.settling else { return };
        let until = *settling.until.get_or_insert(now + CACHE_LEASE);
        if (settling.waiting.is_empty() && !settling.waits_it_out) || now >= until {
            self.settling = None;
            self.stirred = true;
        } else if now >= settling.ask_again_at {
            settling.ask_again_at = now + settling.ask_again_after;
            settling.ask_again_after = settling.ask_again_after.scaled(2, 1);
            let sessions = settling.waiting.keys().copied().collect();
            let recall = Recall { reign: self.reign, number: EVERYTHING_OF_BEFORE, paths: Vec::new() };
            self.to_send.push((Whither::Wherever(sessions), recall));
        }
    }
}

impl Holder {
    fn new(process: u64, way: Way) -> Self {
        let (until, look_at, ask_again_at) = (Instant::ZERO, Instant::ZERO, Instant::ZERO);
        let (is_former, is_shared, paths, owes) = (false, false, BTreeSet::new(), BTreeMap::new());
        Self { process, is_former, is_shared, until, look_at, way, paths, ask_again_at, owes }
    }

    /// Its session comes that way. Where another process had the session before, that one may be who comes: through a replica
    /// that has not applied yet that it lost it. It would answer for what the one of now keeps, which therefore runs out.
    ///
    /// So it does when the one of now itself has gone to another replica: what it then changes of what it keeps, and the end of
    /// its session ([`Touch::End`]), wait for the lease as anybody's would. Its own end need not, if all it keeps is its own;
    /// but a grant does not tell to which process it went, and the one before may have come first where nothing was kept.
    fn come(&mut self, way: Way) {
        if self.is_shared && self.keeps() && self.way != way {
            self.is_former = true;
        }
        if !self.is_former {
            self.way = way;
        }
    }

    /// Whether its client may be using an answer: all it was granted stands here, and goes only when it was dropped.
    fn keeps(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Whether its lease may be renewed, and answers granted to it.
    fn may_keep(&self) -> bool {
        self.owes.is_empty() && !self.is_former
    }
}

/// What a recall names; nothing: everything its session keeps.
fn told(paths: &[Arc<str>]) -> Vec<Arc<str>> {
    if paths.len() > CACHE_RECALL_PATHS_MAX { Vec::new() } else { paths.to_vec() }
}

/// Answers that a command waits for.
pub(super) type Recalls = BTreeSet<(SessionId, u64)>;

/// The recall with which a reign begins.
const EVERYTHING_OF_BEFORE: u64 = 0;
