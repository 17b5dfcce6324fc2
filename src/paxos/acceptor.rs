//! The acceptor: what this replica promised, what it granted, and what it may not say before the disk has it.
//!
//! A vote waits for its record (and, where it grants a longer lease than any before, for the hard state), a promise for
//! the hard state and for the votes it reports. Both wait in order and are freed by [`Paxos::durable`] and
//! [`Paxos::hard_state_durable`].

use std::collections::VecDeque;

use super::ballot::{Ballot, ReplicaId, Slot};
use super::config::Configs;
use super::leader::Phase;
use super::log::ACCEPT_AHEAD;
use super::message::Message;
use super::settings::{AcceptedRecord, HardState, Output};
use super::value::Value;
use super::{Paxos, send};
use crate::time::{Duration, Instant};

/// Reports in one part of a Promise: slots `first + 256 * part ..` and so on, so that a part means the same whichever
/// answer to whichever copy of the Prepare it belongs to.
pub(super) const REPORT_SLOTS_PER_PART: u64 = 256;

/// Nothing is promised to a candidate that would have to be told of more slots one by one. Whoever started without the image
/// that it went on from can say nothing of any slot up to there, be they billions; no other replica holds, or suspects, so many
/// above what a candidate with a chance to lead knows chosen.
const REPORT_SLOTS_MAX: u64 = 256 * REPORT_SLOTS_PER_PART;

/// What one replica is bound by.
#[derive(Debug)]
pub(super) struct Acceptor {
    /// Nothing below it is accepted or promised. May run ahead of the disk: no Promise says it before the disk does.
    pub promised: Ballot,
    /// The longest lease granted, or about to be.
    lease_max: Duration,
    /// No promise before that: leases granted before the restart may still run.
    boot_until: Instant,
    /// No promise to another ballot before `granted_until`: that leader may hold a lease.
    granted_to: Ballot,
    granted_until: Instant,
    /// Hard states on their way to the disk.
    saving: VecDeque<Saving>,
    versions: u64,
    durable: Durable,
    /// When a promise that only an Accept raised, or what others' disks acknowledged, goes to the hard state.
    save_at: Instant,
    /// The first chosen config entry that is not in the durable hard state.
    unsaved_config: Option<Slot>,
    /// What this disk still has to write down of the list before the newest.
    closing: Option<Closing>,
    promise: Option<ParkedPromise>,
    votes: VecDeque<ParkedVote>,
    appended: u64,
    flushed: u64,
}

/// What the newest durable hard state says.
#[derive(Clone, Copy, Debug)]
struct Durable {
    promised: Ballot,
    lease_max: Duration,
    config_slot: Slot,
}

#[derive(Debug)]
struct Saving {
    version: u64,
    state: Durable,
}

/// A list that another one follows. Its disks may be lost once the next one is in force: by then so many disks of that one
/// must know of every slot before that it is chosen, across restarts too. The record of the last of these slots is written
/// once more for it, when it may say so.
#[derive(Debug)]
struct Closing {
    /// The list's last slot.
    upto: Slot,
    /// What was chosen there; and the record that says so, once it is written.
    chosen: Option<Value>,
    written: Option<u64>,
}

impl Closing {
    /// What is to be written, by what the hard state names and how much of the log is known to be chosen.
    fn of(configs: &Configs, chosen_upto: Slot) -> Option<Self> {
        let upto = configs.in_force_from().previous();
        let open = configs.newest_slot() > Slot(1) && chosen_upto < upto;
        open.then_some(Self { upto, chosen: None, written: None })
    }
}

/// A Promise that waits for the hard state, and for the votes it will report: a vote that a crash could still undo
/// would make the candidate wait for a value that nobody has.
#[derive(Debug)]
struct ParkedPromise {
    to: ReplicaId,
    ballot: Ballot,
    from: Slot,
    sequence: u64,
}

/// A record that waits for its flush.
#[derive(Debug)]
struct ParkedVote {
    sequence: u64,
    slot: Slot,
    ballot: Ballot,
    lease: Duration,
    learned: bool,
    appended_at: Instant,
}

impl Acceptor {
    /// Bound by what the hard state says, and for `boot_wait` by what was granted before the restart.
    pub fn new(state: &HardState, promised: Ballot, boot_until: Instant, chosen_upto: Slot) -> Self {
        Self {
            promised,
            lease_max: state.lease_max,
            boot_until,
            granted_to: Ballot::NONE,
            granted_until: Instant::ZERO,
            saving: VecDeque::new(),
            versions: 0,
            durable: Durable {
                promised: state.promised,
                lease_max: state.lease_max,
                config_slot: state.configs.newest_slot(),
            },
            save_at: Instant::FOREVER,
            unsaved_config: None,
            closing: Closing::of(&state.configs, chosen_upto),
            promise: None,
            votes: VecDeque::new(),
            appended: 0,
            flushed: 0,
        }
    }

    /// When nothing granted stands in the way of a promise any more.
    pub fn free_at(&self) -> Instant {
        self.boot_until.max(self.granted_until)
    }

    /// Whether leases granted to other reigns than `released` and `ballot` have all run out.
    fn is_free(&self, now: Instant, ballot: Ballot, released: Option<Ballot>) -> bool {
        let bound = self.granted_until > now && self.granted_to != ballot && released != Some(self.granted_to);
        now >= self.boot_until && !bound
    }

    /// That reign has given its leases up for good: what was granted to it binds nobody, nor any reign after the next.
    pub fn waive(&mut self, released: Option<Ballot>) {
        if released == Some(self.granted_to) {
            self.granted_until = Instant::ZERO;
        }
    }

    fn grant(&mut self, now: Instant, ballot: Ballot, lease: Duration) {
        assert!(ballot == self.promised, "only the promised ballot's leader is granted a lease");
        assert!(lease <= self.durable.lease_max, "a restart must know how long to wait before a lease is granted");
        if lease == Duration::ZERO {
            return;
        }
        let kept = if self.granted_to == ballot { self.granted_until } else { Instant::ZERO };
        self.granted_to = ballot;
        self.granted_until = kept.max(now + lease);
    }

    /// When the oldest record that is not durable yet was appended.
    pub fn oldest_unflushed_at(&self) -> Option<Instant> {
        self.votes.front().filter(|vote| vote.sequence > self.flushed).map(|vote| vote.appended_at)
    }

    /// When the hard state should take up what rose in memory alone.
    pub fn save_at(&self) -> Instant {
        self.save_at
    }

    /// The hard state has time until then.
    pub fn save_by(&mut self, at: Instant) {
        self.save_at = self.save_at.min(at);
    }

    pub fn invariants(&self) {
        assert!(self.durable.promised <= self.promised, "the disk never promises more than the memory");
        assert!(self.durable.lease_max <= self.lease_max, "the longest lease never shrinks");
        assert!(self.flushed <= self.appended, "only what was appended is flushed");
        assert!(self.promise.as_ref().is_none_or(|p| p.ballot <= self.promised), "a parked promise was made");
    }
}

impl Paxos {
    /// Every record up to `sequence` is durable.
    pub fn durable(&mut self, now: Instant, sequence: u64, out: &mut Vec<Output>) {
        assert!(sequence <= self.acceptor.appended, "only what was appended becomes durable");
        self.acceptor.flushed = self.acceptor.flushed.max(sequence);
        self.free_promise(now, out);
        self.free_votes(now, out);
        if self.acceptor.closing.as_ref().and_then(|closing| closing.written).is_some_and(|written| written <= sequence)
        {
            self.acceptor.closing = None;
            self.tell_durable(out);
            self.proceed(now, out);
        }
        self.announce(out);
    }

    /// The hard state of `version`, or a newer one, is durable in all its copies.
    pub fn hard_state_durable(&mut self, now: Instant, version: u64, out: &mut Vec<Output>) {
        assert!(version <= self.acceptor.versions, "only what was saved becomes durable");
        while self.acceptor.saving.front().is_some_and(|saving| saving.version <= version) {
            let saved = self.acceptor.saving.pop_front().expect("it was just seen");
            self.acceptor.durable = saved.state;
        }
        if self.acceptor.durable.config_slot >= self.configs.newest_slot() {
            self.acceptor.unsaved_config = None;
        }
        self.close_old_list(out);
        self.free_promise(now, out);
        self.free_votes(now, out);
        self.announce(out);
    }

    /// A config entry was chosen: it goes to the hard state before any record says that its slot is chosen.
    pub(super) fn save_config(&mut self, slot: Slot, out: &mut Vec<Output>) {
        self.acceptor.unsaved_config.get_or_insert(slot);
        self.acceptor.closing = Closing::of(&self.configs, slot);
        self.save_hard_state(out);
    }

    /// A slot was chosen.
    pub(super) fn note_chosen(&mut self, slot: Slot, value: &Value) {
        if let Some(closing) = self.acceptor.closing.as_mut().filter(|closing| closing.upto == slot) {
            closing.chosen = Some(value.clone());
        }
    }

    /// Writes down that the list before the newest has all its slots chosen, once a record may say so.
    pub(super) fn close_old_list(&mut self, out: &mut Vec<Output>) {
        let Some(closing) = &mut self.acceptor.closing else { return };
        let Some(value) = closing.chosen.take_if(|_| self.acceptor.unsaved_config.is_none()) else { return };
        self.acceptor.appended += 1;
        let sequence = self.acceptor.appended;
        closing.written = Some(sequence);
        let (slot, ballot, chosen_upto) = (closing.upto, self.acceptor.promised, self.log.chosen_upto());
        out.push(Output::Append {
            sequence,
            record: AcceptedRecord { slot, ballot, value, learned: true, chosen_upto },
        });
    }

    pub(super) fn save_hard_state(&mut self, out: &mut Vec<Output>) {
        let state = HardState {
            promised: self.acceptor.promised,
            configs: self.configs.clone(),
            lease_max: self.acceptor.lease_max,
            acknowledged: self.witness.known().to_vec(),
        };
        self.acceptor.versions += 1;
        self.acceptor.save_at = Instant::FOREVER;
        let version = self.acceptor.versions;
        let durable =
            Durable { promised: state.promised, lease_max: state.lease_max, config_slot: state.configs.newest_slot() };
        self.acceptor.saving.push_back(Saving { version, state: durable });
        self.acceptor.durable = if cfg!(bug = "03") { durable } else { self.acceptor.durable };
        out.push(Output::SaveHardState { version, state });
    }

    /// Raises the promise in memory, for an Accept or Heartbeat of a higher ballot. The hard state follows at leisure.
    pub(super) fn raise_promised(&mut self, now: Instant, ballot: Ballot) {
        if ballot > self.acceptor.promised {
            self.acceptor.promised = ballot;
            self.acceptor.promise = None;
            self.acceptor.save_by(now + self.settings.heartbeat);
            self.highest_round = self.highest_round.max(ballot.round);
        }
    }

    /// Whether nothing granted to another reign, this replica's own lease included, forbids a promise at `ballot`.
    pub(super) fn may_promise(&self, now: Instant, ballot: Ballot, released: Option<Ballot>) -> bool {
        self.acceptor.is_free(now, ballot, released) && self.lease().until <= now
    }

    pub(super) fn on_probe(
        &mut self,
        now: Instant,
        from: ReplicaId,
        ballot: Ballot,
        chosen: Slot,
        out: &mut Vec<Output>,
    ) {
        let leads = matches!(&self.leader, Some(leader) if matches!(leader.phase, Phase::Leading(_)));
        let granted = ballot > self.acceptor.promised
            && self.may_promise(now, ballot, None)
            && !leads
            && !self.hears_leader(now)
            && chosen >= self.log.trimmed_upto();
        send(out, from, Message::ProbeReply { ballot, granted, promised: self.acceptor.promised });
        if chosen < self.configs.newest_slot() {
            // By so old a list it may hear none of those who could tell it of the newest.
            self.on_catch_up(from, chosen.next(), self.configs.newest_slot(), out);
        }
    }

    pub(super) fn on_prepare(
        &mut self,
        now: Instant,
        ballot: Ballot,
        from: Slot,
        released: Option<Ballot>,
        out: &mut Vec<Output>,
    ) {
        let promised = self.acceptor.promised;
        if ballot < promised {
            send(out, ballot.replica, Message::Refused { ballot, promised });
            return;
        }
        // A promise that leaves slots out would say that nothing was accepted there.
        if !self.can_tell_from(from) {
            return;
        }
        if ballot > promised && self.may_promise(now, ballot, released) {
            self.step_down(now, out);
            self.acceptor.waive(released);
            self.raise_promised(now, ballot);
            self.lose_leader(now);
            self.promise(now, ballot.replica, ballot, from, out);
        } else if ballot == promised {
            self.wait_for_leader(now);
            self.promise(now, ballot.replica, ballot, from, out);
        }
    }

    /// Whether a promise can tell of every slot from `from` on that is open here.
    fn can_tell_from(&self, from: Slot) -> bool {
        let first = from.max(self.log.chosen_upto().next());
        self.log.last().0.saturating_sub(first.0) < REPORT_SLOTS_MAX
    }

    /// Makes a promise already raised in memory durable, then says it (to itself, if this replica is the candidate).
    pub(super) fn promise(&mut self, now: Instant, to: ReplicaId, ballot: Ballot, from: Slot, out: &mut Vec<Output>) {
        let under_way = self.acceptor.saving.iter().any(|saving| saving.state.promised >= ballot);
        let sequence = self.acceptor.appended;
        self.acceptor.promise = Some(ParkedPromise { to, ballot, from, sequence });
        if self.acceptor.durable.promised >= ballot {
            self.free_promise(now, out);
        } else if !under_way {
            self.save_hard_state(out);
        }
    }

    fn free_promise(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (durable, flushed) = (self.acceptor.durable.promised, self.acceptor.flushed);
        let ready = |parked: &mut ParkedPromise| parked.ballot <= durable && parked.sequence <= flushed;
        let Some(ParkedPromise { to, ballot, from, .. }) = self.acceptor.promise.take_if(ready) else { return };
        assert!(ballot == self.acceptor.promised, "a promise overtaken by a higher one is never said");
        assert!(ballot <= self.acceptor.durable.promised, "a Promise leaves only after its ballot is durable");
        if to == self.settings.me {
            self.own_promise(now, ballot, out);
            return;
        }
        let chosen_upto = self.log.chosen_upto();
        let mut first = from.max(chosen_upto.next());
        for part in 0.. {
            let after = first.plus(REPORT_SLOTS_PER_PART);
            let last = after > self.log.last();
            let reports = self.log.reports(first, after.previous());
            send(out, to, Message::Promise { ballot, chosen_upto, part, last, reports });
            if last {
                return;
            }
            first = after;
        }
    }

    pub(super) fn on_accept(&mut self, now: Instant, message: Message, out: &mut Vec<Output>) {
        let Message::Accept { ballot, slot, value, chosen_upto, lease } = message else {
            unreachable!("receive hands only Accepts here")
        };
        if ballot < self.acceptor.promised {
            let promised = self.acceptor.promised;
            send(out, ballot.replica, Message::Refused { ballot, promised });
            return;
        }
        self.follow(now, ballot, out);
        self.log.told(ballot, chosen_upto);
        // Before the vote, so that its record says how much is chosen, and a restart need not ask.
        self.advance(now, out);
        if lease > self.acceptor.lease_max {
            self.acceptor.lease_max = lease;
            self.save_hard_state(out);
        }
        if slot.0 > 0 && slot.0 <= self.log.chosen_upto().0 + ACCEPT_AHEAD {
            self.accept(now, ballot, slot, value, lease, out);
        }
        self.advance(now, out);
        self.know_chosen(now, ballot.replica, chosen_upto, out);
    }

    fn accept(
        &mut self,
        now: Instant,
        ballot: Ballot,
        slot: Slot,
        value: Value,
        lease: Duration,
        out: &mut Vec<Output>,
    ) {
        let voted = self.log.held(slot).is_some_and(|held| held.ballot == ballot);
        if !voted && !self.log.is_chosen(slot) {
            self.append_vote(now, ballot, slot, value, lease, out);
            return;
        }
        if self.log.chosen(slot).is_some_and(|chosen| chosen.hash() != value.hash()) {
            // What is chosen was learned, perhaps of a reign that nothing promised here tells of: this one is over.
            return;
        }
        if let Some(held) = self.log.held(slot).filter(|_| voted) {
            assert!(held.value.hash() == value.hash(), "{slot:?} at {ballot:?}: a second value was proposed");
        }
        let parked = self.acceptor.votes.iter().any(|vote| vote.slot == slot);
        if !parked && lease <= self.acceptor.durable.lease_max {
            self.acceptor.grant(now, ballot, lease);
            send(out, ballot.replica, Message::Accepted { ballot, from: slot, upto: slot, recorded: voted });
        }
    }

    /// Votes for `value`, in memory and towards the disk. The vote is said once the record is durable.
    pub(super) fn append_vote(
        &mut self,
        now: Instant,
        ballot: Ballot,
        slot: Slot,
        value: Value,
        lease: Duration,
        out: &mut Vec<Output>,
    ) {
        assert!(ballot >= self.acceptor.promised, "nothing below the promise is accepted");
        self.append(ParkedVote { sequence: 0, slot, ballot, lease, learned: false, appended_at: now }, value, out);
    }

    /// Writes down a value that was sent as chosen.
    pub(super) fn append_learned(&mut self, now: Instant, slot: Slot, value: Value, out: &mut Vec<Output>) {
        let (ballot, lease) = (self.acceptor.promised, Duration::ZERO);
        self.append(ParkedVote { sequence: 0, slot, ballot, lease, learned: true, appended_at: now }, value, out);
        self.log.choose(slot);
    }

    fn append(&mut self, mut vote: ParkedVote, value: Value, out: &mut Vec<Output>) {
        self.acceptor.appended += 1;
        let sequence = self.acceptor.appended;
        vote.sequence = sequence;
        let ParkedVote { slot, ballot, learned, .. } = vote;
        let chosen_upto = self.recordable_chosen_upto();
        self.log.hold(slot, ballot, value.clone());
        self.acceptor.votes.push_back(vote);
        out.push(Output::Append { sequence, record: AcceptedRecord { slot, ballot, value, learned, chosen_upto } });
    }

    /// What a record may say is chosen: a restart applies that much and looks no further back, so it must not pass a
    /// config entry that the hard state does not hold yet.
    fn recordable_chosen_upto(&self) -> Slot {
        let chosen_upto = self.log.chosen_upto();
        self.acceptor.unsaved_config.map_or(chosen_upto, |config| chosen_upto.min(config.previous()))
    }

    /// Everything up to there is chosen and on this disk; past the end of the list before the newest, a restart knows that
    /// it was.
    pub(super) fn durable_upto(&self) -> Slot {
        let waiting = self.acceptor.votes.iter().filter(|vote| vote.sequence > self.acceptor.flushed);
        let closing = self.acceptor.closing.iter().map(|closing| closing.upto.previous());
        let lowest = waiting.map(|vote| vote.slot.previous()).chain(closing).min();
        lowest.map_or(self.log.chosen_upto(), |lowest| lowest.min(self.log.chosen_upto()))
    }

    /// Says the votes whose records are durable, neighbouring slots in one message.
    fn free_votes(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut run: Option<(Ballot, Slot, Slot)> = None;
        while let Some(vote) = self.acceptor.votes.front() {
            let overtaken = vote.learned || vote.ballot < self.acceptor.promised;
            let leased = overtaken || vote.lease <= self.acceptor.durable.lease_max;
            let flushed = vote.sequence <= self.acceptor.flushed || cfg!(bug = "01");
            if !flushed || !leased {
                break;
            }
            let ParkedVote { slot, ballot, lease, .. } = self.acceptor.votes.pop_front().expect("it was just seen");
            if overtaken {
                continue;
            }
            self.acceptor.grant(now, ballot, lease);
            match &mut run {
                Some((of, _, upto)) if *of == ballot && upto.next() == slot => *upto = slot,
                _ => {
                    if let Some((ballot, from, upto)) = run.replace((ballot, slot, slot)) {
                        self.say_accepted(now, ballot, from, upto, out);
                    }
                }
            }
        }
        if let Some((ballot, from, upto)) = run {
            self.say_accepted(now, ballot, from, upto, out);
        }
    }

    fn say_accepted(&mut self, now: Instant, ballot: Ballot, from: Slot, upto: Slot, out: &mut Vec<Output>) {
        if ballot.replica == self.settings.me {
            let (me, incarnation) = (self.settings.me, self.settings.incarnation);
            self.on_accepted(now, me, incarnation, ballot, from, upto, out);
        } else {
            send(out, ballot.replica, Message::Accepted { ballot, from, upto, recorded: true });
        }
    }
}
