//! Phase 1: what the promises tell of each slot, and what a new leader may do about it.
//!
//! An acceptor says one of four things of a slot: it has a vote (and its value, or only the value's hash), it never
//! voted, it may have a vote that a crash tore, or it does not know. *Does not know* is never counted; *may have* is a vote
//! until enough others deny it, or until all members have spoken and nobody is sure of it. A slot that cannot be decided
//! waits, and with it every later one: unavailable, never wrong.

use super::ballot::{Ballot, Incarnation, ReplicaId, Slot};
use super::config::{Configs, Member, ReplicaSet};
use super::leader::{Leader, Leading, Phase};
use super::log::Log;
use super::message::{Evidence, Message, SlotReport};
use super::settings::Output;
use super::stretches::Stretches;
use super::undecided::Told;
use super::value::Value;
use super::{Link, Paxos, send};
use crate::time::Instant;

/// The promises to one ballot.
#[derive(Debug)]
pub(super) struct Promises {
    /// They were asked for everything from this slot on.
    pub from: Slot,
    given: Vec<Given>,
    fetched: Vec<(Slot, Value)>,
}

/// One replica's promise, as far as it arrived.
#[derive(Debug)]
struct Given {
    replica: ReplicaId,
    incarnation: Incarnation,
    chosen_upto: Slot,
    next_part: u32,
    complete: bool,
    /// In slot order.
    reports: Vec<SlotReport>,
    /// What else it cannot tell of.
    unknown: Stretches,
}

/// What phase 1 says of one slot.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// This value may have been chosen.
    Propose(Value),
    /// Nothing can have been chosen.
    Fill,
    /// That replica has the value to propose, accepted at that ballot.
    Fetch { from: ReplicaId, accepted: Ballot },
    /// Too few can say what they accepted, or somebody knows the slot chosen and its value is on the way.
    Wait,
}

impl Promises {
    /// None yet, of a Prepare from that slot on.
    pub fn new(from: Slot) -> Self {
        Self { from, given: Vec::new(), fetched: Vec::new() }
    }

    /// Takes one part of one promise. Parts out of their order are dropped; the Prepare is sent again for them.
    pub fn take(
        &mut self,
        (replica, incarnation): (ReplicaId, Incarnation),
        chosen_upto: Slot,
        (part, last): (u32, bool),
        reports: Vec<SlotReport>,
    ) {
        let index = self.given.iter().position(|g| (g.replica, g.incarnation) == (replica, incarnation));
        let index = index.unwrap_or_else(|| {
            self.given.push(Given::nothing((replica, incarnation), chosen_upto));
            self.given.len() - 1
        });
        let given = &mut self.given[index];
        if given.complete {
            return;
        }
        if part == 0 {
            *given = Given::nothing((replica, incarnation), chosen_upto);
        }
        if part == given.next_part && chosen_upto == given.chosen_upto {
            given.next_part += 1;
            given.complete = last;
            given.reports.extend(reports);
        }
    }

    /// Takes the candidate's own promise, the first of all. Of however many slots it can say nothing, they take no room.
    fn take_own(&mut self, (me, incarnation): (ReplicaId, Incarnation), log: &Log) {
        assert!(!self.has(me, incarnation), "a candidate promises to itself once");
        let (reports, unknown) = log.all_reports();
        let chosen_upto = log.chosen_upto();
        self.from = chosen_upto.next();
        self.given.push(Given { complete: true, reports, unknown, ..Given::nothing((me, incarnation), chosen_upto) });
    }

    /// A value that was asked for.
    pub fn fetched(&mut self, slot: Slot, value: Value) {
        if !self.fetched.iter().any(|(s, v)| *s == slot && v.hash() == value.hash()) {
            self.fetched.push((slot, value));
        }
    }

    /// Whether that disk's promise is whole.
    pub fn has(&self, replica: ReplicaId, incarnation: Incarnation) -> bool {
        self.given.iter().any(|g| (g.replica, g.incarnation) == (replica, incarnation) && g.complete)
    }

    /// Those whose promise is whole.
    pub fn promised_by(&self) -> impl Iterator<Item = (ReplicaId, Incarnation)> {
        self.given.iter().filter(|g| g.complete).map(|g| (g.replica, g.incarnation))
    }

    /// Whether a quorum of the members in force for `slot` promised.
    pub fn is_quorum(&self, configs: &Configs, slot: Slot) -> bool {
        let mut set = ReplicaSet::EMPTY;
        for (replica, _) in self.promised_by().filter(|(r, i)| configs.counts(slot, *r, *i)) {
            set.insert(replica);
        }
        configs.at(slot).is_quorum(set)
    }

    /// The highest chosen watermark among them, and whose it is.
    pub fn highest_chosen(&self) -> Option<(Slot, ReplicaId)> {
        self.given.iter().filter(|g| g.complete).map(|g| (g.chosen_upto, g.replica)).max()
    }

    /// The highest slot anybody said anything of.
    pub fn highest_reported(&self) -> Slot {
        let complete = self.given.iter().filter(|g| g.complete);
        let last = |g: &Given| g.reports.last().map(|report| report.slot).max(g.unknown.last());
        complete.filter_map(last).max().unwrap_or_default()
    }

    /// What to do with `slot`, whose members are known.
    pub fn decide(&self, slot: Slot, configs: &Configs, log: &Log) -> Decision {
        let config = configs.at(slot);
        let mut counted = ReplicaSet::EMPTY;
        let mut votes: Vec<(Ballot, u128)> = Vec::new();
        let known: Vec<&Given> =
            self.given.iter().filter(|g| g.complete && configs.counts(slot, g.replica, g.incarnation)).collect();
        for given in &known {
            if given.chosen_upto >= slot {
                return Decision::Wait;
            }
            match given.evidence(slot) {
                Some(Evidence::Unknown) => continue,
                Some(
                    Evidence::Have { accepted, hash }
                    | Evidence::Lost { accepted, hash }
                    | Evidence::Maybe { accepted, hash },
                ) => votes.push((accepted, hash)),
                None => {}
            }
            counted.insert(given.replica);
        }
        if !config.is_quorum(counted) {
            return Decision::Wait;
        }
        // Whatever such a member's disk holds never counted.
        let voteless = config.voters().filter(|m| slot > Slot(1) && m.incarnation.is_none()).count();
        votes.sort_unstable();
        votes.dedup();
        if cfg!(bug = "09") {
            votes.reverse();
        }
        while let Some((ballot, hash)) = votes.pop() {
            let here = log.held(slot).map(|held| &held.value).filter(|value| value.hash() == hash);
            let fetched = || self.fetched.iter().find(|(s, v)| *s == slot && v.hash() == hash).map(|(_, v)| v);
            if let Some(value) = here.or_else(fetched) {
                return Decision::Propose(value.clone());
            }
            let holder = known.iter().find_map(|given| match given.evidence(slot) {
                Some(Evidence::Have { accepted, hash: h }) if h == hash => Some((given.replica, accepted)),
                _ => None,
            });
            if let Some((from, accepted)) = holder {
                return Decision::Fetch { from, accepted };
            }
            let nacks = known.iter().filter(|given| given.never_accepted_at(slot, ballot)).count();
            let refuted = nacks + voteless > config.spare();
            // Had a quorum flushed it, every copy would have gone bad: more than any number of crashes does.
            let torn = counted.len() + voteless == config.voters().count()
                && !known.iter().any(|given| given.accepted_at(slot, ballot));
            if !refuted && !torn {
                return Decision::Wait;
            }
        }
        Decision::Fill
    }

    /// What that voter told of `slot`.
    pub fn told_by(&self, voter: &Member, slot: Slot, configs: &Configs) -> Told {
        let counts =
            |g: &&Given| g.complete && g.replica == voter.replica && configs.counts(slot, g.replica, g.incarnation);
        let Some(given) = self.given.iter().find(counts) else {
            return if slot > Slot(1) && voter.incarnation.is_none() { Told::Unmet } else { Told::Nothing };
        };
        match given.evidence(slot) {
            _ if given.chosen_upto >= slot => Told::Chosen,
            None => Told::Never,
            Some(Evidence::Unknown) => Told::Unknown,
            Some(Evidence::Have { accepted, .. }) => Told::Have(accepted),
            Some(Evidence::Lost { accepted, .. }) => Told::Lost(accepted),
            Some(Evidence::Maybe { accepted, .. }) => Told::Maybe(accepted),
        }
    }
}

impl Given {
    fn nothing((replica, incarnation): (ReplicaId, Incarnation), chosen_upto: Slot) -> Self {
        let (reports, unknown) = (Vec::new(), Stretches::default());
        Self { replica, incarnation, chosen_upto, next_part: 0, complete: false, reports, unknown }
    }

    fn evidence(&self, slot: Slot) -> Option<Evidence> {
        match self.reports.binary_search_by_key(&slot, |report| report.slot) {
            Ok(index) => Some(self.reports[index].evidence),
            Err(_) => self.unknown.contains(slot).then_some(Evidence::Unknown),
        }
    }

    /// Whether this replica is certain that it did not vote in `slot` at `ballot`: its newest vote is older, or there is
    /// none. A newer vote may have replaced one at `ballot`.
    fn never_accepted_at(&self, slot: Slot, ballot: Ballot) -> bool {
        match self.evidence(slot) {
            None => true,
            Some(Evidence::Unknown) => false,
            Some(
                Evidence::Have { accepted, .. } | Evidence::Lost { accepted, .. } | Evidence::Maybe { accepted, .. },
            ) => accepted < ballot,
        }
    }

    /// Whether this replica is certain that it voted in `slot` at `ballot`.
    fn accepted_at(&self, slot: Slot, ballot: Ballot) -> bool {
        match self.evidence(slot) {
            None | Some(Evidence::Unknown | Evidence::Maybe { .. }) => false,
            Some(Evidence::Have { accepted, .. } | Evidence::Lost { accepted, .. }) => accepted == ballot,
        }
    }
}

impl Paxos {
    /// This replica's own promise is durable: it is the first of its reign, and now the others are asked.
    pub(super) fn own_promise(&mut self, now: Instant, of: Ballot, out: &mut Vec<Output>) {
        let me = (self.settings.me, self.settings.incarnation);
        let heartbeat = self.settings.heartbeat;
        let Some(Leader { ballot, phase: Phase::Preparing { promises, released, resend_at, .. } }) = &mut self.leader
        else {
            return;
        };
        if *ballot != of {
            return;
        }
        promises.take_own(me, &self.log);
        *resend_at = now + heartbeat.scaled(4, 1);
        let prepare = Message::Prepare { ballot: of, from: promises.from, released: *released };
        for link in self.links.iter().filter(|link| link.up) {
            send(out, link.replica, prepare.clone());
        }
        self.caught_up(now, out);
    }

    pub(super) fn on_promise(
        &mut self,
        now: Instant,
        from: (ReplicaId, Incarnation),
        message: Message,
        out: &mut Vec<Output>,
    ) {
        let Message::Promise { ballot, chosen_upto, part, last, reports } = message else {
            unreachable!("receive hands only Promises here")
        };
        let Some(leader) = self.leader.as_mut().filter(|leader| leader.ballot == ballot) else { return };
        match &mut leader.phase {
            Phase::Probing { .. } => return,
            Phase::Preparing { promises, .. } => promises.take(from, chosen_upto, (part, last), reports),
            Phase::Leading(leading) => {
                let settled_upto = leading.settled_upto(&self.configs, self.log.applied_upto());
                let settled = leading.recovered_upto.next()..=settled_upto;
                let open = reports.into_iter().filter(|report| !settled.contains(&report.slot)).collect();
                leading.promises.take(from, chosen_upto, (part, last), open);
                leading.recovered_upto = leading.recovered_upto.max(leading.promises.highest_reported());
            }
        }
        self.know_chosen(now, from.0, chosen_upto, out);
        self.caught_up(now, out);
        self.proceed(now, out);
    }

    /// Begins to lead once a quorum promised and nobody in it knows more slots chosen than this replica holds.
    pub(super) fn caught_up(&mut self, now: Instant, out: &mut Vec<Output>) {
        let next = self.log.chosen_upto().next();
        let Some(Leader { phase: Phase::Preparing { promises, .. }, .. }) = &mut self.leader else { return };
        if !promises.is_quorum(&self.configs, next) || promises.highest_chosen().is_some_and(|(upto, _)| upto >= next) {
            return;
        }
        let promises = std::mem::replace(promises, Promises::new(next));
        if !self.may_lead() {
            self.step_down(now, out);
            return;
        }
        let leading = Leading::new(now, promises, next, self.links.len(), self.settings.heartbeat);
        if let Some(leader) = &mut self.leader {
            leader.phase = Phase::Leading(Box::new(leading));
        }
        self.following.attempts = 0;
        self.proceed(now, out);
        self.begin_round(now, out);
    }

    /// Asks for what keeps a slot waiting: a value from its holder, or promises from those who gave none. At most once a
    /// few heartbeats.
    pub(super) fn ask_for_evidence(
        &mut self,
        now: Instant,
        value: Option<(ReplicaId, Slot, Ballot)>,
        out: &mut Vec<Output>,
    ) {
        let heartbeat = self.settings.heartbeat;
        let Some(Leader { ballot, phase: Phase::Leading(leading) }) = &mut self.leader else { return };
        if now < leading.ask_again_at {
            return;
        }
        let ballot = *ballot;
        if let Some((from, slot, accepted)) = value {
            leading.ask_again_at = now + heartbeat.scaled(2, 1);
            leading.fetching_since.get_or_insert(now);
            send(out, from, Message::FetchAccepted { ballot, slot, accepted });
            return;
        }
        leading.ask_again_at = now + heartbeat.scaled(4, 1);
        let prepare = Message::Prepare { ballot, from: leading.promises.from, released: None };
        let gave = |link: &Link| link.incarnation.is_some_and(|i| leading.promises.has(link.replica, i));
        for link in self.links.iter().filter(|link| link.up && !gave(link)) {
            send(out, link.replica, prepare.clone());
        }
    }

    pub(super) fn on_fetch_accepted(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        slot: Slot,
        accepted: Ballot,
        out: &mut Vec<Output>,
    ) {
        if let Some(value) = self.log.chosen(slot).filter(|_| slot <= self.log.applied_upto()) {
            send(out, from, Message::Chosen { from: slot, values: vec![value.clone()] });
        } else if let Some(held) = self.log.held(slot).filter(|held| held.ballot == accepted) {
            send(out, from, Message::AcceptedValue { ballot, slot, accepted, value: held.value.clone() });
        }
    }

    pub(super) fn on_accepted_value(
        &mut self,
        now: Instant,
        ballot: Ballot,
        slot: Slot,
        value: Value,
        out: &mut Vec<Output>,
    ) {
        if self.leading().is_some_and(|(of, leading)| of == ballot && slot == leading.next) {
            self.with_leading(|leading| {
                leading.promises.fetched(slot, value);
                leading.ask_again_at = now;
            });
            self.proceed(now, out);
        }
    }
}
