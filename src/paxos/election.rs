//! Who leads: time-outs, the probe, the attempt, giving up, and handing over.
//!
//! A replica that hears no leader for a random time-out asks first whether it *would* be promised, which changes nothing
//! anywhere; only then does it raise a ballot. So one that cannot win (cut off, one-way, behind the trim point) disturbs
//! nobody, and a leader that a quorum still hears is not voted out by a replica that does not.

use super::ballot::{Ballot, Incarnation, ReplicaId, Slot};
use super::config::ReplicaSet;
use super::leader::{Leader, Phase};
use super::message::Message;
use super::prepare::Promises;
use super::settings::{Output, Settings};
use super::{Paxos, send};
use crate::time::{Duration, Instant};

/// What a follower knows of its leader, and when it will do without.
#[derive(Debug)]
pub(super) struct Following {
    /// The promised ballot's leader, while it is heard.
    pub leader: Option<ReplicaId>,
    pub heard_at: Instant,
    /// This long after `heard_at` the leader is forgotten; drawn anew for every leader and attempt.
    patience: Duration,
    /// The next attempt to lead.
    pub election_at: Instant,
    /// Attempts that failed since somebody led.
    pub attempts: u32,
    random: Random,
}

/// A hand-over under way.
#[derive(Debug)]
pub(super) struct HandOver {
    pub target: ReplicaId,
    until: Instant,
}

/// A small generator (SplitMix64): the spread of the time-outs needs no better.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        Duration::from_nanos(z % bound.as_nanos().max(1))
    }
}

impl Following {
    /// Nobody was heard yet.
    pub fn new(now: Instant, seed: u64) -> Self {
        Self {
            leader: None,
            heard_at: now,
            patience: Duration::ZERO,
            election_at: now,
            attempts: 0,
            random: Random(seed),
        }
    }
}

impl Paxos {
    /// Starts handing the reign over to `target`, so that its successor need not wait for any lease: by default to the peer
    /// that holds most, of those that have room and have been here for longer than a lease: who started since promises
    /// nothing yet.
    /// Proposals end now; the rest follows once the target holds everything.
    pub fn hand_over(&mut self, now: Instant, target: Option<ReplicaId>, out: &mut Vec<Output>) {
        let up = self.links.iter().enumerate().filter(|(_, link)| link.up);
        let named = |replica: ReplicaId, incarnation: Option<Incarnation>| {
            incarnation.is_some_and(|incarnation| self.configs.newest().counts(replica, incarnation))
        };
        let Some((_, leading)) = self.leading() else { return };
        let best = up
            .filter(|(_, link)| target.is_none_or(|t| t == link.replica) && named(link.replica, link.incarnation))
            .max_by_key(|(i, link)| {
                let awake = now.since(link.up_since).min(self.settings.lease.scaled(11, 10));
                let peer = &leading.peers[*i];
                (!peer.cramped, awake, peer.chosen_upto, peer.heard_at)
            })
            .map(|(_, link)| link.replica);
        if let Some(target) = best.filter(|_| leading.hand_over.is_none()) {
            let until = now + self.settings.election_max;
            self.with_leading(|leading| leading.hand_over = Some(HandOver { target, until }));
            self.begin_round(now, out);
            self.hand_over_if_ready(now, out);
        }
        self.announce(out);
    }

    /// Releases the reign to the target once everything proposed is applied here and held there.
    pub(super) fn hand_over_if_ready(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some((ballot, leading)) = self.leading() else { return };
        let Some(HandOver { target, until }) = leading.hand_over else { return };
        let chosen_upto = self.log.chosen_upto();
        let held = |(link, peer): (&super::Link, &super::leader::Peer)| {
            link.replica == target && peer.chosen_upto >= chosen_upto
        };
        let holds = self.links.iter().zip(&leading.peers).any(held);
        if holds
            && leading.proposals.is_empty()
            && self.log.applied_upto() == chosen_upto
            && leading.first_own.is_some()
        {
            self.with_leading(|leading| {
                leading.reign.given_up = true;
                leading.abandon_reads(out);
            });
            self.step_down(now, out);
            send(out, target, Message::Release { ballot, chosen_upto });
        } else if now >= until {
            self.with_leading(|leading| leading.hand_over = None);
        }
    }

    pub(super) fn on_release(&mut self, now: Instant, ballot: Ballot, chosen_upto: Slot, out: &mut Vec<Output>) {
        let holds = self.log.chosen_upto() >= chosen_upto;
        let led = self.leader.is_some();
        if ballot == self.acceptor.promised && holds && !led && self.may_lead() {
            self.prepare(now, Some(ballot), out);
        }
    }

    /// Whether this replica's disk may lead at all: the cell's members name it, or none is named yet.
    pub(super) fn may_lead(&self) -> bool {
        // A hard state further than the log: who voted in the next slot is forgotten, and it was decided.
        self.is_named() && self.configs.knows(self.log.chosen_upto().next())
    }

    fn is_named(&self) -> bool {
        let config = self.configs.newest();
        let (me, incarnation) = (self.settings.me, self.settings.incarnation);
        config.counts(me, incarnation) || config.is_unfounded() && config.has_voter(me)
    }

    /// A frame of the leader of `ballot`, which nothing promised here forbids.
    pub(super) fn follow(&mut self, now: Instant, ballot: Ballot, out: &mut Vec<Output>) {
        assert!(ballot >= self.acceptor.promised, "nobody below the promise is followed");
        if self.leader.is_some() {
            self.step_down(now, out);
        }
        let known = self.following.leader == Some(ballot.replica) && ballot == self.acceptor.promised;
        self.raise_promised(now, ballot);
        self.following.leader = Some(ballot.replica);
        self.following.attempts = 0;
        self.following.heard_at = now;
        if !known {
            self.draw_patience();
        }
        self.following.election_at = now + self.following.patience;
    }

    /// The leader is not one any more; whoever displaced it has a time-out to show itself.
    pub(super) fn lose_leader(&mut self, now: Instant) {
        self.following.leader = None;
        self.draw_patience();
        self.wait_for_leader(now);
    }

    /// A candidate is at work: it has the time-out to finish.
    pub(super) fn wait_for_leader(&mut self, now: Instant) {
        self.following.election_at = self.following.election_at.max(now + self.following.patience);
    }

    /// Whether a leader was heard within this replica's time-out.
    pub(super) fn hears_leader(&self, now: Instant) -> bool {
        self.following.leader.is_some() && now < self.following.heard_at + self.following.patience
    }

    /// The link to the leader broke: its successor need only wait for the lease.
    pub(super) fn leader_link_lost(&mut self, now: Instant) {
        self.following.leader = None;
        let jitter = self.following.random.below(self.settings.heartbeat);
        self.following.election_at = now.max(self.acceptor.free_at()) + jitter;
    }

    pub(super) fn first_time_out(&mut self, now: Instant) {
        self.lose_leader(now);
    }

    /// Leader and candidate alike: stop. The lease and the read points end before anything else is said.
    pub(super) fn step_down(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some(leader) = self.leader.take() else { return };
        if let Phase::Leading(mut leading) = leader.phase {
            self.announce(out);
            leading.abandon_reads(out);
        }
        self.lose_leader(now);
    }

    /// An attempt came to nothing: the next one is a random while off, longer after each failure.
    fn back_off(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.step_down(now, out);
        let Settings { heartbeat, election_max, .. } = self.settings;
        let bound = heartbeat.scaled(1 << self.following.attempts.min(10), 1).min(election_max);
        self.following.attempts += 1;
        self.following.election_at = now + heartbeat.scaled(1, 2) + self.following.random.below(bound);
    }

    fn draw_patience(&mut self) {
        let Settings { election_min, election_max, .. } = self.settings;
        self.following.patience = election_min + self.following.random.below(election_max.less(election_min));
    }

    /// The clock's part in elections.
    pub(super) fn election_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let due = self.election_due();
        match &mut self.leader {
            None if now >= due => {
                self.following.leader = None;
                // Who is named and may not lead, because it lacks the list for the next slot, asks all the same: it may hear
                // nobody who leads by a later list, and those whom it asks tell it of that.
                if self.is_named() { self.probe(now, out) } else { self.lose_leader(now) }
            }
            None => {}
            Some(Leader { phase: Phase::Probing { until, .. } | Phase::Preparing { until, .. }, .. })
                if now >= *until =>
            {
                self.back_off(now, out);
            }
            Some(Leader { ballot, phase: Phase::Preparing { promises, released, resend_at, .. } })
                if now >= *resend_at =>
            {
                *resend_at = now + self.settings.heartbeat.scaled(4, 1);
                let prepare = Message::Prepare { ballot: *ballot, from: promises.from, released: *released };
                let asked = promises.has(self.settings.me, self.settings.incarnation);
                for link in self.links.iter().filter(|link| link.up && asked) {
                    send(out, link.replica, prepare.clone());
                }
            }
            Some(Leader { phase: Phase::Probing { .. } | Phase::Preparing { .. }, .. }) => {}
            Some(Leader { phase: Phase::Leading(_), .. }) => self.leading_tick(now, out),
        }
    }

    /// When [`Paxos::election_tick`] has something to do.
    pub(super) fn election_deadline(&self) -> Instant {
        match &self.leader {
            None => self.election_due(),
            Some(Leader { phase: Phase::Probing { until, .. }, .. }) => *until,
            Some(Leader { phase: Phase::Preparing { until, resend_at, .. }, .. }) => (*until).min(*resend_at),
            Some(Leader { phase: Phase::Leading(leading), .. }) => {
                let resend = leading.peers.iter().map(|peer| peer.resend_at).min().unwrap_or(Instant::FOREVER);
                leading.heartbeat_at.min(resend).min(self.renew_at())
            }
        }
    }

    /// How much later than others this replica stands for election: the others have their turn before one that could not
    /// take what clients write, or not lead before it has an image.
    fn reluctance(&self) -> Duration {
        let reluctant = self.is_cramped() || self.needs_image_of().is_some();
        if reluctant { self.settings.election_max } else { Duration::ZERO }
    }

    fn election_due(&self) -> Instant {
        (self.following.election_at + self.reluctance()).max(self.acceptor.free_at())
    }

    fn leading_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let patience = self.settings.election_max;
        let heard = self.quorum_of(now, |peer| peer.heard_at);
        let stuck = self.acceptor.oldest_unflushed_at().is_some_and(|at| now.since(at) > patience);
        // The founding list may be known, from the hard state, before its entry is known to be chosen.
        let unfounded = self.configs.at(self.log.chosen_upto().next()).is_unfounded();
        let deaf = if unfounded { !self.hears_listed(now) } else { now.since(heard) > patience };
        // Who reported a value and cannot send it any more lost it since: another phase 1 will hear so.
        let fetching = self.leading().and_then(|(_, leading)| leading.fetching_since);
        let in_vain = fetching.is_some_and(|since| now.since(since) > patience.scaled(4, 1));
        if stuck || deaf || in_vain {
            self.step_down(now, out);
            return;
        }
        self.leave_if_removed(now, out);
        self.resend(now, out);
        if self.leading().is_some_and(|(_, leading)| now >= leading.heartbeat_at) {
            self.begin_round(now, out);
            self.proceed(now, out);
            self.hand_over_if_ready(now, out);
            self.hand_over_if_cramped(now, out);
        }
        self.renew_if_wanted(now, out);
    }

    /// Before the founding entry is chosen no disk is named: a quorum of the listed replicas is heard.
    fn hears_listed(&self, now: Instant) -> bool {
        let Some((_, leading)) = self.leading() else { return false };
        let mut heard = ReplicaSet::EMPTY;
        heard.insert(self.settings.me);
        for (link, peer) in self.links.iter().zip(&leading.peers) {
            if now.since(peer.heard_at) <= self.settings.election_max {
                heard.insert(link.replica);
            }
        }
        self.configs.newest().is_quorum(heard)
    }

    /// Asks everybody whether a Prepare would be promised. Its own answer is yes: it hears nobody.
    fn probe(&mut self, now: Instant, out: &mut Vec<Output>) {
        let ballot = Ballot { round: self.highest_round + 1, replica: self.settings.me };
        let wait = self.settings.heartbeat.scaled(3, 1);
        let phase = Phase::Probing { granted: ReplicaSet::EMPTY, refused: ReplicaSet::EMPTY, until: now + wait };
        self.leader = Some(Leader { ballot, phase });
        let chosen_upto = self.log.chosen_upto();
        for link in self.links.iter().filter(|link| link.up) {
            send(out, link.replica, Message::Probe { ballot, chosen_upto });
        }
        self.on_probe_reply(now, (self.settings.me, self.settings.incarnation), ballot, true, Ballot::NONE, out);
    }

    pub(super) fn on_probe_reply(
        &mut self,
        now: Instant,
        (from, incarnation): (ReplicaId, Incarnation),
        of: Ballot,
        yes: bool,
        promised: Ballot,
        out: &mut Vec<Output>,
    ) {
        self.highest_round = self.highest_round.max(promised.round);
        let next = self.log.chosen_upto().next();
        let counts = self.configs.counts(next, from, incarnation);
        let Some(Leader { ballot, phase: Phase::Probing { granted, refused, .. } }) = &mut self.leader else { return };
        if *ballot != of || !counts {
            return;
        }
        let answers = if yes { &mut *granted } else { &mut *refused };
        answers.insert(from);
        let config = self.configs.at(next);
        let (granted, refused) = (config.is_quorum(*granted), refused.len() > config.spare());
        if granted && self.may_lead() {
            self.prepare(now, None, out);
        } else if granted || refused {
            self.back_off(now, out);
        }
    }

    /// Raises a ballot above every one it has seen, and promises it to itself; the Prepare follows that promise.
    fn prepare(&mut self, now: Instant, released: Option<Ballot>, out: &mut Vec<Output>) {
        let round = self.highest_round + if cfg!(bug = "04") { 0 } else { 1 };
        let ballot = Ballot { round, replica: self.settings.me };
        if !self.may_promise(now, ballot, released) {
            self.back_off(now, out);
            return;
        }
        self.acceptor.waive(released);
        self.lose_leader(now);
        self.raise_promised(now, ballot);
        let from = self.log.chosen_upto().next();
        let (resend_at, until) = (now + self.settings.heartbeat.scaled(4, 1), now + self.settings.election_max);
        let phase = Phase::Preparing { promises: Promises::new(from), released, resend_at, until };
        self.leader = Some(Leader { ballot, phase });
        self.promise(now, self.settings.me, ballot, from, out);
    }

    /// Somebody promised `promised`, which is higher than what this replica asked for at `ballot`.
    pub(super) fn on_refused(&mut self, now: Instant, ballot: Ballot, promised: Ballot, out: &mut Vec<Output>) {
        self.highest_round = self.highest_round.max(promised.round);
        if promised > ballot && self.leader.as_ref().is_some_and(|leader| leader.ballot == ballot) {
            // A deposed leader has a successor to hear from; a candidate has only lost an attempt.
            if self.is_leader() { self.step_down(now, out) } else { self.back_off(now, out) }
        }
    }

    /// A candidate that catches up makes progress: it is given more time.
    pub(super) fn extend_attempt(&mut self, now: Instant) {
        if let Some(Leader { phase: Phase::Preparing { until, .. }, .. }) = &mut self.leader {
            *until = now + self.settings.election_max;
        }
    }
}
