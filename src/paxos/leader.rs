//! The leader: probing, preparing or leading one reign; phase 2 and everything that paces it.

use std::collections::VecDeque;

use super::ballot::{Ballot, Incarnation, ReplicaId, Slot};
use super::config::{Configs, ReplicaSet};
use super::election::HandOver;
use super::lease::{Reign, Rounds};
use super::message::Message;
use super::prepare::{Decision, Promises};
use super::settings::Output;
use super::value::{Kind, Value};
use super::{Config, Member, Paxos, send};
use crate::limits::SLOT_WINDOW;
use crate::time::{Duration, Instant};

/// Unacknowledged Accepts sent again at one time-out, in bytes: a slow peer is not buried under copies.
const RESEND_BYTES_MAX: usize = 1 << 20;
/// Slots of which it is remembered when they were sent.
const SENT_MAX: u64 = 4 * SLOT_WINDOW;
/// A peer that stays silent is sent the same Accepts again this many heartbeats apart at most.
const RESEND_HEARTBEATS_MAX: u64 = 64;

/// What this replica does to lead.
#[derive(Debug)]
pub(super) struct Leader {
    /// The reign it has or wants.
    pub ballot: Ballot,
    /// How far it got.
    pub phase: Phase,
}

/// The steps to leadership.
#[derive(Debug)]
pub(super) enum Phase {
    /// Asks whether a Prepare would be promised; has raised nothing yet.
    Probing { granted: ReplicaSet, refused: ReplicaSet, until: Instant },
    /// Asks for promises. Its own is the first, and the Prepare leaves once that is durable.
    Preparing { promises: Promises, released: Option<Ballot>, resend_at: Instant, until: Instant },
    /// Proposes.
    Leading(Box<Leading>),
}

/// A reign whose phase 1 is done.
#[derive(Debug)]
pub(super) struct Leading {
    /// What phase 1 told; later promises still come in, for slots that could not be decided.
    pub promises: Promises,
    /// The highest slot that phase 1 found anything in.
    pub recovered_upto: Slot,
    /// The slot of the reign's first own entry, once it is proposed.
    pub first_own: Option<Slot>,
    /// The next slot to propose.
    pub next: Slot,
    /// Slots `chosen_upto + 1 .. next`.
    pub proposals: VecDeque<Proposal>,
    /// When slots `next - sent.len() .. next` were proposed; outlives the proposals, because late acknowledgements renew
    /// the lease too.
    pub sent: VecDeque<Instant>,
    /// In the order of `Paxos::links`.
    pub peers: Vec<Peer>,
    /// The next heartbeat.
    pub heartbeat_at: Instant,
    /// Values or promises that are missing are asked for again then.
    pub ask_again_at: Instant,
    /// Since when the next slot's value is asked for in vain.
    pub fetching_since: Option<Instant>,
    pub rounds: Rounds,
    pub reign: Reign,
    pub hand_over: Option<HandOver>,
    /// The highest slot of which this replica's own record at this ballot is durable.
    pub acknowledged: Slot,
}

/// One open slot of a leader.
#[derive(Debug)]
pub(super) struct Proposal {
    pub votes: ReplicaSet,
}

/// What a leader knows of one other replica.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The chosen watermark last sent to it.
    pub told: Slot,
    /// The highest slot it acknowledged in this reign.
    pub acknowledged: Slot,
    /// What it said it holds and knows chosen.
    pub chosen_upto: Slot,
    /// It starts again from there or above.
    pub image_upto: Slot,
    pub heard_at: Instant,
    /// Unacknowledged Accepts are sent again then; never, while there are none.
    pub resend_at: Instant,
    /// The current time-out.
    pub resend_after: Duration,
    /// When it acknowledged a slot, that slot was proposed then: its part of the lease.
    pub lease_from: Instant,
    /// The highest heartbeat round it answered.
    pub round: u64,
    /// It had no room for what clients write then.
    pub cramped: bool,
}

impl Leading {
    /// The reign that `promises` allow, whose next slot is `next`.
    pub fn new(now: Instant, promises: Promises, next: Slot, peers: usize, heartbeat: Duration) -> Self {
        let recovered_upto = promises.highest_reported();
        Self {
            promises,
            recovered_upto,
            first_own: None,
            next,
            proposals: VecDeque::new(),
            sent: VecDeque::new(),
            peers: vec![Peer::new(now, heartbeat); peers],
            heartbeat_at: now,
            ask_again_at: now,
            fetching_since: None,
            rounds: Rounds::default(),
            reign: Reign::default(),
            hand_over: None,
            acknowledged: Slot(0),
        }
    }

    /// Up to here a later promise tells nothing that counts: where a quorum promised and knew of no vote, nothing was
    /// chosen; and since the reign began, clients are told what rests on nothing older coming after it.
    pub fn settled_upto(&self, configs: &Configs, applied_upto: Slot) -> Slot {
        let promised = |slot| self.promises.is_quorum(configs, slot);
        // The list of each slot in the window is known. Two are in force in it at most, from the next slot on.
        let open_upto = Slot(applied_upto.0 + SLOT_WINDOW);
        let of_one_list = open_upto.min(configs.in_force_from().previous());
        match self.first_own {
            Some(_) if promised(self.next) && promised(open_upto) => open_upto,
            Some(_) if self.next <= of_one_list && promised(self.next) => of_one_list,
            _ => Slot(0),
        }
    }

    /// When `slot` was proposed, if it was in this reign and lately.
    pub fn sent_at(&self, slot: Slot) -> Option<Instant> {
        let first = self.next.0 - self.sent.len() as u64;
        self.sent.get(slot.0.checked_sub(first)? as usize).copied()
    }
}

impl Paxos {
    /// Whether [`Paxos::propose`] may be called now: phase 1 is done, nothing is being handed over, and the window is open.
    #[must_use]
    pub fn can_propose(&self) -> bool {
        self.leading().is_some_and(|(_, leading)| {
            leading.first_own.is_some()
                && leading.next > leading.recovered_upto
                && leading.hand_over.is_none()
                && self.window_is_open(leading.next)
                && leading.promises.is_quorum(&self.configs, leading.next)
        })
    }

    /// Proposes `value` in the next slot. `now` is taken before anything of it is queued: the lease counts from there.
    pub fn propose(&mut self, now: Instant, value: Value, out: &mut Vec<Output>) -> Slot {
        assert!(self.can_propose(), "only a leader with an open window proposes");
        let slot = self.propose_next(now, value, out);
        self.announce(out);
        slot
    }

    /// Slots proposed here and not chosen yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.leading().map_or(0, |(_, leading)| leading.proposals.len())
    }

    /// Sends the chosen watermark to the peers that no Accept has told it. Call it once a turn, last.
    pub fn end_turn(&mut self, out: &mut Vec<Output>) {
        let (chosen_upto, trim_upto) = (self.log.applied_upto(), self.trim_upto());
        if let Some(Leader { ballot, phase: Phase::Leading(leading) }) = &mut self.leader {
            for (link, peer) in self.links.iter().zip(&mut leading.peers) {
                if link.up && peer.told < chosen_upto {
                    peer.told = chosen_upto;
                    let (ballot, acknowledged) = (*ballot, Vec::new());
                    let told = Message::Heartbeat { ballot, round: 0, chosen_upto, trim_upto, acknowledged };
                    send(out, link.replica, told);
                }
            }
        }
        self.drop_links();
    }

    pub(super) fn leading(&self) -> Option<(Ballot, &Leading)> {
        match &self.leader {
            Some(Leader { ballot, phase: Phase::Leading(leading) }) => Some((*ballot, leading)),
            _ => None,
        }
    }

    /// Whether the slot may be proposed in, as far as what is applied and held goes.
    pub(super) fn window_is_open(&self, slot: Slot) -> bool {
        let founded = slot == Slot(1) || self.configs.newest_slot() > Slot(0);
        let applied_upto = self.log.applied_upto();
        // A disk of the old list may be lost from then on.
        let first = self.configs.newest_slot() > Slot(1) && slot == self.configs.in_force_from();
        let done = !first || slot <= applied_upto.next() && self.is_held(slot.previous());
        founded && slot.0 <= applied_upto.0 + SLOT_WINDOW && done
    }

    /// Whether a quorum of the newest list holds everything up to there on its disks, and knows it chosen. The votes that
    /// chose it may be of disks that go with the old list.
    fn is_held(&self, upto: Slot) -> bool {
        let config = self.configs.newest();
        let holds = |member: &&Member| match self.peer_of(member) {
            Some((_, peer)) => peer.chosen_upto >= upto,
            None => self.is_me(member) && self.durable_upto() >= upto,
        };
        config.voters().filter(holds).count() >= config.quorum()
    }

    fn propose_next(&mut self, now: Instant, value: Value, out: &mut Vec<Output>) -> Slot {
        if let Some((_, config)) = Config::from_value(&value) {
            let slot = self.leading().map_or(Slot(0), |(_, leading)| leading.next);
            self.begin_change(slot, config, out);
        }
        let lease = if self.grants_are_wanted() { self.settings.lease } else { Duration::ZERO };
        let chosen_upto = self.log.applied_upto();
        let Some(Leader { ballot, phase: Phase::Leading(leading) }) = &mut self.leader else {
            unreachable!("only a leader proposes")
        };
        let (ballot, slot) = (*ballot, leading.next);
        for (link, peer) in self.links.iter().zip(&mut leading.peers).filter(|(link, _)| link.up) {
            peer.told = chosen_upto;
            peer.resend_at = peer.resend_at.min(now + peer.resend_after);
            send(out, link.replica, Message::Accept { ballot, slot, value: value.clone(), chosen_upto, lease });
        }
        leading.next = slot.next();
        leading.proposals.push_back(Proposal { votes: ReplicaSet::EMPTY });
        leading.remember_sent(now);
        leading.reign.wanted = false;
        leading.fetching_since = None;
        self.append_vote(now, ballot, slot, value, Duration::ZERO, out);
        slot
    }

    /// A replica (this one included, once its record is durable) acknowledged `from..=upto`.
    #[expect(clippy::too_many_arguments, reason = "they are the message's fields and its sender")]
    pub(super) fn on_accepted(
        &mut self,
        now: Instant,
        voter: ReplicaId,
        incarnation: Incarnation,
        of: Ballot,
        from: Slot,
        upto: Slot,
        out: &mut Vec<Output>,
    ) {
        let Some(Leader { ballot, phase: Phase::Leading(leading) }) = &mut self.leader else { return };
        if *ballot != of && !cfg!(bug = "11")
            || upto >= leading.next
            || !self.configs.names(upto, voter, incarnation) && voter != self.settings.me
        {
            return;
        }
        let first = self.log.chosen_upto().next();
        for slot in (from.max(first).0..=upto.0).map(Slot) {
            if self.configs.counts(slot, voter, incarnation) && !self.log.is_chosen(slot) {
                let votes = &mut leading.proposals[(slot.0 - first.0) as usize].votes;
                votes.insert(voter);
                if self.configs.at(slot).is_quorum(*votes) {
                    self.log.choose(slot);
                }
            }
        }
        let sent_at = if cfg!(bug = "12") { Some(now) } else { leading.sent_at(upto) }.unwrap_or(Instant::ZERO);
        if voter == self.settings.me {
            leading.reign.own_from = leading.reign.own_from.max(sent_at);
            leading.acknowledged = leading.acknowledged.max(upto);
        } else if let Some(index) = self.links.iter().position(|link| link.replica == voter) {
            let peer = &mut leading.peers[index];
            peer.heard_at = now;
            peer.acknowledged = peer.acknowledged.max(upto);
            peer.lease_from = peer.lease_from.max(sent_at);
            peer.resend_after = self.settings.heartbeat.scaled(4, 1);
            let open = leading.proposals.iter().any(|proposal| !proposal.votes.contains(voter));
            peer.resend_at = if open { now + peer.resend_after } else { Instant::FOREVER };
        }
        self.renew_lease();
        self.advance(now, out);
    }

    /// Does what a leader may do now without being asked: re-propose, fill, found, begin its reign, bind a disk.
    pub(super) fn proceed(&mut self, now: Instant, out: &mut Vec<Output>) {
        while let Some((_, leading)) = self.leading() {
            let slot = leading.next;
            if !self.window_is_open(slot) {
                return;
            }
            if !leading.promises.is_quorum(&self.configs, slot) {
                self.ask_for_evidence(now, None, out);
                return;
            }
            if slot > leading.recovered_upto {
                let Some(value) = self.own_proposal(now) else { return };
                let first = slot > Slot(1);
                self.propose_next(now, value, out);
                self.with_leading(|leading| {
                    if first {
                        leading.first_own.get_or_insert(slot);
                    }
                });
                continue;
            }
            if self.log.is_chosen(slot) {
                self.with_leading(|leading| leading.skip_chosen());
                continue;
            }
            match leading.promises.decide(slot, &self.configs, &self.log) {
                Decision::Propose(value) => self.propose_next(now, value, out),
                // A log without its founding entry would have no members for ever.
                Decision::Fill if slot == Slot(1) => self.propose_next(now, self.founding().to_value(Slot(0)), out),
                Decision::Fill => self.propose_next(now, Value::noop(), out),
                Decision::Fetch { from, accepted } => {
                    self.ask_for_evidence(now, Some((from, slot, accepted)), out);
                    return;
                }
                Decision::Wait => {
                    self.ask_for_evidence(now, None, out);
                    return;
                }
            };
        }
    }

    /// The entry this leader owes the log before any client's: the founding one, its reign's first, no-ops that bring a
    /// chosen list into force, or a list that binds a disk or gives a learner its vote.
    fn own_proposal(&self, now: Instant) -> Option<Value> {
        let (_, leading) = self.leading()?;
        let next = leading.next;
        if next == Slot(1) {
            return Some(self.founding().to_value(Slot(0)));
        }
        if leading.first_own.is_none() {
            return Some(Value::noop());
        }
        if leading.hand_over.is_some() {
            return None;
        }
        if next < self.configs.in_force_from() || next == self.configs.in_force_from() && next > Slot(2) {
            return Some(Value::noop());
        }
        if !self.may_change() {
            return None;
        }
        let config = self.binding().or_else(|| self.promotion(now))?;
        Some(config.to_value(self.configs.newest_slot()))
    }

    /// The list with the first disk named that was met since for a member without one.
    fn binding(&self) -> Option<Config> {
        let config = self.configs.newest();
        let met = |replica| match self.links.iter().find(|link| link.replica == replica) {
            Some(link) => link.incarnation,
            None => Some(self.settings.incarnation),
        };
        let unbound = config.members().iter().filter(|member| member.incarnation.is_none());
        let (replica, incarnation) = unbound.filter_map(|m| Some((m.replica, met(m.replica)?))).next()?;
        Some(config.bound(replica, incarnation))
    }

    /// The first entry of the log: the operator's list, with the disks that this replica has met.
    fn founding(&self) -> Config {
        let own = self.configs.newest().bound(self.settings.me, self.settings.incarnation);
        let met = self.links.iter().filter_map(|link| Some((link.replica, link.incarnation?)));
        met.fold(own, |config, (replica, incarnation)| config.bound(replica, incarnation))
    }

    /// Moves the chosen watermark as far as it goes, and everything that hangs on it.
    pub(super) fn advance(&mut self, now: Instant, out: &mut Vec<Output>) {
        let before = self.log.chosen_upto();
        let mut config_chosen = false;
        while let Some((slot, value)) = self.log.advance() {
            self.with_leading(|leading| {
                if leading.next <= slot {
                    leading.skip_chosen();
                }
                leading.proposals.pop_front();
            });
            if value.kind() == Some(Kind::Config) && slot > self.configs.newest_slot() {
                let (changes, config) =
                    Config::from_value(&value).expect("a chosen member list was proposed by a replica of the cell");
                if self.configs.chosen(slot, changes, config) {
                    config_chosen = true;
                    self.save_config(slot, out);
                    // A leader that was told of it, and did not propose it, learns here whose word it needs.
                    self.shorten_lease(out);
                }
            }
            self.note_chosen(slot, &value);
            out.push(Output::Chosen { slot, value });
        }
        if self.log.chosen_upto() > before {
            self.close_old_list(out);
            let chosen_upto = self.log.chosen_upto();
            self.with_leading(|leading| leading.reign.changing.retain(|(slot, _)| *slot > chosen_upto));
            if config_chosen {
                self.add_links(now);
            }
            self.caught_up(now, out);
            self.leave_if_removed(now, out);
            self.proceed(now, out);
        }
    }

    /// Sends open Accepts again to peers that did not acknowledge them in time.
    pub(super) fn resend(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some((_, leading)) = self.leading() else { return };
        let due: Vec<usize> = (0..leading.peers.len()).filter(|i| leading.peers[*i].resend_at <= now).collect();
        for index in due {
            self.resend_to(now, index, out);
        }
    }

    /// Sends one peer every open Accept that it has not acknowledged.
    pub(super) fn resend_to(&mut self, now: Instant, index: usize, out: &mut Vec<Output>) {
        let lease = if self.grants_are_wanted() { self.settings.lease } else { Duration::ZERO };
        let chosen_upto = self.log.applied_upto();
        let Some(Leader { ballot, phase: Phase::Leading(leading) }) = &mut self.leader else { return };
        let (link, peer) = (&self.links[index], &mut leading.peers[index]);
        peer.resend_at = Instant::FOREVER;
        if !link.up {
            return;
        }
        let mut bytes = 0;
        for (i, proposal) in leading.proposals.iter().enumerate() {
            let slot = self.log.chosen_upto().plus(1 + i as u64);
            let Some(held) = self.log.held(slot).filter(|held| held.ballot == *ballot) else { continue };
            if proposal.votes.contains(link.replica) || bytes > RESEND_BYTES_MAX {
                continue;
            }
            bytes += held.value.bytes().len();
            let value = held.value.clone();
            send(out, link.replica, Message::Accept { ballot: *ballot, slot, value, chosen_upto, lease });
            peer.told = chosen_upto;
            peer.resend_at = now + peer.resend_after;
        }
        let longest = self.settings.heartbeat.scaled(RESEND_HEARTBEATS_MAX, 1);
        peer.resend_after = peer.resend_after.scaled(2, 1).min(longest);
    }

    pub(super) fn with_leading<R>(&mut self, act: impl FnOnce(&mut Leading) -> R) -> Option<R> {
        match &mut self.leader {
            Some(Leader { phase: Phase::Leading(leading), .. }) => Some(act(leading)),
            _ => None,
        }
    }
}

impl Peer {
    /// Taken as alive, and as knowing nothing.
    fn new(now: Instant, heartbeat: Duration) -> Self {
        Self {
            told: Slot(0),
            acknowledged: Slot(0),
            chosen_upto: Slot(0),
            image_upto: Slot(0),
            heard_at: now,
            resend_at: Instant::FOREVER,
            resend_after: heartbeat.scaled(4, 1),
            lease_from: Instant::ZERO,
            round: 0,
            cramped: false,
        }
    }
}

impl Leading {
    /// What is remembered of what was sent is bounded, and tells of all that is open.
    pub fn invariants(&self) {
        assert!(self.sent.len() as u64 <= SENT_MAX, "a leader forgets when it sent what is long acknowledged");
        let newest = self.proposals.len().min(SENT_MAX as usize);
        assert!(self.sent.len() >= newest, "a leader knows when it sent what is not chosen yet");
        self.rounds.invariants();
    }

    /// The list of members grew.
    pub fn add_peer(&mut self, now: Instant, heartbeat: Duration) {
        self.peers.push(Peer::new(now, heartbeat));
    }

    /// Another disk speaks for that peer: what is known of it was another's.
    pub fn forget_peer(&mut self, now: Instant, index: usize, heartbeat: Duration) {
        self.peers[index] = Peer::new(now, heartbeat);
    }

    /// The next slot is known chosen without this reign's doing: nothing is proposed there.
    fn skip_chosen(&mut self) {
        self.next = self.next.next();
        self.proposals.push_back(Proposal { votes: ReplicaSet::EMPTY });
        self.remember_sent(Instant::ZERO);
    }

    /// When the slot before the next was sent; of so many that no acknowledgement is of an older one.
    fn remember_sent(&mut self, at: Instant) {
        self.sent.push_back(at);
        if self.sent.len() as u64 > SENT_MAX {
            self.sent.pop_front();
        }
    }
}
