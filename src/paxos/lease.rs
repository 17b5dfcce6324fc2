//! The leader's two ways to know that it still leads: the lease, and a round trip.
//!
//! The lease rests on progress. An acknowledgement of a slot binds its sender for D from the moment it sent it, which is
//! after the leader proposed the slot; so over a quorum that includes the leader's own flush, no other leader can rise
//! before the proposal's time + D, less what the clocks may differ. A leader whose disk or log stands still loses it.
//!
//! A round trip rests on nothing but order: whoever answers heartbeat round r had promised nothing higher when it
//! answered, so every read point taken before r was sent is covered by a quorum's answers to r or to a later round.

use std::collections::VecDeque;

use super::ballot::{Ballot, ReplicaId, Slot};
use super::leader::{Leader, Leading, Peer, Phase};
use super::message::Message;
use super::settings::{Lease, Output};
use super::{Config, Paxos, send};
use crate::limits::REPLICAS_MAX;
use crate::time::Instant;

/// Unconfirmed rounds remembered; more are sent only by a leader that is about to give up.
const ROUNDS_MAX: usize = 64;

/// What holds for one reign beside its log.
#[derive(Debug, Default)]
pub(super) struct Reign {
    /// When the newest slot whose record is durable here was proposed.
    pub own_from: Instant,
    /// The lease's end. Within a reign it moves back only when a change of members is proposed.
    pub lease_until: Instant,
    /// Somebody read under the lease, or wanted to, since the last proposal.
    pub wanted: bool,
    /// The lease was given up for good.
    pub given_up: bool,
    /// The member lists that are proposed and not chosen, and their slots.
    pub changing: Vec<(Slot, Config)>,
}

/// Heartbeat rounds and the read points that wait for them.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    last: u64,
    confirmed: u64,
    /// Rounds that are not confirmed, and when they were sent.
    sent: VecDeque<(u64, Instant)>,
    /// When the newest confirmed round was sent.
    confirmed_from: Instant,
    /// Read points and the round that confirms them.
    waiting: VecDeque<(u64, u64, Slot)>,
}

impl Paxos {
    /// The lease, while this replica serves reads under one.
    #[must_use]
    pub fn lease(&self) -> Lease {
        match self.leading() {
            Some((ballot, leading)) if self.is_leading() && !leading.reign.given_up => {
                Lease { ballot, until: leading.reign.lease_until }
            }
            _ => Lease::default(),
        }
    }

    /// Somebody read under the lease: it is kept alive by a no-op if nothing else renews it.
    pub fn want_lease(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.with_leading(|leading| leading.reign.wanted = true);
        self.renew_if_wanted(now, out);
        self.announce(out);
    }

    /// Asks for a state to read from. Answered by [`Output::ReadPoint`]: at once under a valid lease, otherwise after the
    /// next heartbeat round.
    pub fn read_point(&mut self, now: Instant, ticket: u64, out: &mut Vec<Output>) {
        if !self.is_leading() || self.leading().is_some_and(|(_, leading)| leading.reign.given_up) {
            out.push(Output::ReadPoint { ticket, upto: None });
            return;
        }
        let upto = self.log.applied_upto();
        let leased = self.lease().until > now;
        self.with_leading(|leading| leading.reign.wanted = true);
        if leased {
            out.push(Output::ReadPoint { ticket, upto: Some(upto) });
        } else {
            self.with_leading(|leading| {
                let next = leading.rounds.last + 1;
                leading.rounds.waiting.push_back((next, ticket, upto));
            });
            if self.leading().is_some_and(|(_, leading)| leading.rounds.confirmed == leading.rounds.last) {
                self.begin_round(now, out);
            }
        }
        self.renew_if_wanted(now, out);
        self.announce(out);
    }

    /// Whether a quorum lately answered this leader, or its lease holds: its view of who lives may be acted upon.
    #[must_use]
    pub fn is_confirmed(&self, now: Instant) -> bool {
        self.is_leading()
            && self.leading().is_some_and(|(_, leading)| {
                let lately = leading.rounds.confirmed_from + self.settings.election_min;
                (leading.rounds.confirmed > 0 && now < lately) || now < self.lease().until
            })
    }

    pub(super) fn grants_are_wanted(&self) -> bool {
        self.settings.lease_reads && self.leading().is_some_and(|(_, leading)| !leading.reign.given_up)
    }

    /// Sends a heartbeat to everybody; the read points that wait for the next round join it.
    pub(super) fn begin_round(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (chosen_upto, trim_upto) = (self.log.applied_upto(), self.trim_upto());
        let testimony = self.testimony();
        let Some(Leader { ballot, phase: Phase::Leading(leading) }) = &mut self.leader else { return };
        leading.rounds.last += 1;
        let round = leading.rounds.last;
        leading.rounds.sent.push_back((round, now));
        if leading.rounds.sent.len() > ROUNDS_MAX {
            leading.rounds.sent.pop_front();
        }
        leading.heartbeat_at = now + self.settings.heartbeat;
        for (link, peer) in self.links.iter().zip(&mut leading.peers).filter(|(link, _)| link.up) {
            peer.told = chosen_upto;
            let (ballot, acknowledged) = (*ballot, testimony.clone());
            send(out, link.replica, Message::Heartbeat { ballot, round, chosen_upto, trim_upto, acknowledged });
        }
        self.confirm_rounds(now, out);
    }

    pub(super) fn on_heartbeat(
        &mut self,
        now: Instant,
        ballot: Ballot,
        round: u64,
        chosen: Slot,
        out: &mut Vec<Output>,
    ) {
        let promised = self.acceptor.promised;
        if ballot < promised {
            send(out, ballot.replica, Message::Refused { ballot, promised });
            return;
        }
        self.follow(now, ballot, out);
        self.log.told(ballot, chosen);
        self.advance(now, out);
        if round > 0 {
            self.reply(ballot, round, out);
        }
        self.know_chosen(now, ballot.replica, chosen, out);
    }

    /// Tells the leader unasked what this disk holds: it waits for that.
    pub(super) fn tell_durable(&self, out: &mut Vec<Output>) {
        if self.following.leader == Some(self.acceptor.promised.replica) && self.leader.is_none() {
            self.reply(self.acceptor.promised, 0, out);
        }
    }

    fn reply(&self, ballot: Ballot, round: u64, out: &mut Vec<Output>) {
        let (chosen_upto, image_upto, cramped) = (self.durable_upto(), self.image_upto(), self.is_cramped());
        send(out, ballot.replica, Message::HeartbeatReply { ballot, round, chosen_upto, image_upto, cramped });
    }

    pub(super) fn on_heartbeat_reply(
        &mut self,
        now: Instant,
        from: ReplicaId,
        of: Ballot,
        round: u64,
        (chosen_upto, cramped): (Slot, bool),
        out: &mut Vec<Output>,
    ) {
        let Some(index) = self.links.iter().position(|link| link.replica == from) else { return };
        let Some(Leader { ballot, phase: Phase::Leading(leading) }) = &mut self.leader else { return };
        if *ballot != of || round > leading.rounds.last {
            return;
        }
        let peer = &mut leading.peers[index];
        peer.heard_at = now;
        peer.chosen_upto = peer.chosen_upto.max(chosen_upto);
        if round >= peer.round {
            (peer.round, peer.cramped) = (round, cramped);
        }
        self.confirm_rounds(now, out);
        self.hand_over_if_ready(now, out);
        self.proceed(now, out);
    }

    fn confirm_rounds(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some((_, leading)) = self.leading() else { return };
        let confirmed = self.quorum_of(leading.rounds.last, |peer| peer.round);
        let begin = self.with_leading(|leading| {
            let rounds = &mut leading.rounds;
            rounds.confirmed = rounds.confirmed.max(confirmed);
            while rounds.sent.front().is_some_and(|(round, _)| *round <= rounds.confirmed) {
                rounds.confirmed_from = rounds.sent.pop_front().expect("it was just seen").1;
            }
            while rounds.waiting.front().is_some_and(|(round, ..)| *round <= rounds.confirmed) {
                let (_, ticket, upto) = rounds.waiting.pop_front().expect("it was just seen");
                out.push(Output::ReadPoint { ticket, upto: Some(upto) });
            }
            rounds.confirmed == rounds.last && !rounds.waiting.is_empty()
        });
        if begin == Some(true) {
            self.begin_round(now, out);
        }
    }

    /// Moves the lease's end to what the acknowledgements allow.
    pub(super) fn renew_lease(&mut self) {
        if self.grants_are_wanted()
            && let Some(until) = self.lease_by_acknowledgements()
        {
            self.with_leading(|leading| leading.reign.lease_until = leading.reign.lease_until.max(until));
        }
    }

    /// A member list is about to be proposed: from here on the new members' acknowledgements are needed too. Where they do
    /// not reach, the lease is gone before the proposal leaves.
    pub(super) fn begin_change(&mut self, slot: Slot, config: Config, out: &mut Vec<Output>) {
        self.with_leading(|leading| leading.reign.changing.push((slot, config)));
        self.shorten_lease(out);
    }

    /// Takes the lease back to what the acknowledgements allow: more of them are needed than before.
    pub(super) fn shorten_lease(&mut self, out: &mut Vec<Output>) {
        let until = self.lease_by_acknowledgements().unwrap_or(Instant::ZERO);
        self.with_leading(|leading| leading.reign.lease_until = leading.reign.lease_until.min(until));
        self.announce(out);
    }

    fn lease_by_acknowledgements(&self) -> Option<Instant> {
        let error = if cfg!(bug = "43") { 0 } else { self.settings.clock_error_ppm };
        let sure = 1_000_000 - error.min(1_000_000);
        let (lease, margin) = (self.settings.lease.scaled(sure, 1_000_000), self.settings.margin);
        let (_, leading) = self.leading()?;
        let own = if cfg!(bug = "16") { Instant::FOREVER } else { leading.reign.own_from };
        let from = self.quorum_of(own, |peer| peer.lease_from).min(own);
        (from > Instant::ZERO).then(|| (from + lease).before(margin))
    }

    /// Proposes a no-op if the lease is worth keeping and nothing else renews it.
    pub(super) fn renew_if_wanted(&mut self, now: Instant, out: &mut Vec<Output>) {
        if now >= self.renew_at() {
            self.propose(now, super::Value::noop(), out);
        }
    }

    /// When [`Paxos::renew_if_wanted`] has something to do.
    pub(super) fn renew_at(&self) -> Instant {
        match self.leading() {
            Some((_, leading))
                if leading.reign.wanted
                    && !self.needless.is_sparing()
                    && leading.proposals.is_empty()
                    && self.grants_are_wanted()
                    && self.can_propose() =>
            {
                leading.reign.lease_until.before(self.settings.lease.scaled(1, 2))
            }
            _ => Instant::FOREVER,
        }
    }

    /// The highest value that a quorum reaches, where this leader has `own` and `of` says what a peer has; while the members
    /// change, a quorum of each list that has open slots, is to have some, or is proposed.
    pub(super) fn quorum_of<T: Ord + Copy + Default>(&self, own: T, of: impl Fn(&Peer) -> T) -> T {
        let Some((_, leading)) = self.leading() else { return T::default() };
        let reached = |config: &Config| {
            let mut values = [T::default(); REPLICAS_MAX];
            let mut count = 0;
            for member in config.voters() {
                let link = self.links.iter().position(|link| link.replica == member.replica);
                let value = match link {
                    Some(i) if member.incarnation.is_some() && self.links[i].incarnation == member.incarnation => {
                        of(&leading.peers[i])
                    }
                    None if member.incarnation == Some(self.settings.incarnation) => own,
                    _ => T::default(),
                };
                values[count] = value;
                count += 1;
            }
            values[..count].sort_unstable_by(|a, b| b.cmp(a));
            values[config.quorum() - 1]
        };
        let mut least = reached(self.configs.at(self.log.chosen_upto().next()));
        let later = (!self.configs.is_settled(self.log.chosen_upto().next())).then(|| self.configs.newest());
        for config in later.into_iter().chain(leading.reign.changing.iter().map(|(_, config)| config)) {
            least = least.min(reached(config));
        }
        least
    }
}

impl Rounds {
    /// Nothing is kept of a round that is confirmed, and of those that are not no more than is of use.
    pub fn invariants(&self) {
        assert!(self.confirmed <= self.last, "only a round that was begun is confirmed");
        assert!(self.sent.len() <= ROUNDS_MAX, "a leader forgets when it sent rounds that nobody answers");
        let open = |round: u64| round > self.confirmed && round <= self.last + 1;
        assert!(self.sent.front().is_none_or(|(round, _)| open(*round)), "what is confirmed is not waited for");
        assert!(
            self.waiting.front().is_none_or(|(round, ..)| open(*round)),
            "who waits for a round is answered with it"
        );
    }
}

impl Leading {
    /// Every read point that waits, given up.
    pub fn abandon_reads(&mut self, out: &mut Vec<Output>) {
        for (_, ticket, _) in self.rounds.waiting.drain(..) {
            out.push(Output::ReadPoint { ticket, upto: None });
        }
    }
}
