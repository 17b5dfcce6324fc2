//! Catching up: a replica that knows of chosen slots it does not hold asks for them by ranges, one request at a time.
//!
//! A follower does so at a pace that leaves the writers their share (pace.rs). Who stands for election, or knows nobody who
//! leads, makes haste: nobody writes before it is there. Haste is an answer a round trip, 128 MB/s at 2 ms: replicas that are
//! further apart catch up more slowly.

use super::ballot::{ReplicaId, Slot};
use super::config::ReplicaSet;
use super::log::ACCEPT_AHEAD;
use super::message::Message;
use super::pace::Pace;
use super::settings::Output;
use super::value::Value;
use super::{Paxos, send};
use crate::limits::{BLOCK_BYTES, CATCH_UP_BYTES_MAX};
use crate::time::Instant;

/// Values in one answer.
const ANSWER_SLOTS_MAX: u64 = 256;

/// What is missing here and how it is being got.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// Somebody knows that everything up to here is chosen.
    pub known: Slot,
    /// Who said so last.
    source: Option<ReplicaId>,
    /// Who was asked last.
    asked: Option<ReplicaId>,
    /// When the request that is out is given up.
    waits_until: Option<Instant>,
    /// When the next one is sent, if the pace allows none before.
    asks_at: Option<Instant>,
    pace: Pace,
    /// A peer has everything up to here as an image only.
    pub needs_image_upto: Option<(ReplicaId, Slot)>,
    /// Peers whose answer is being read from disk.
    reading: ReplicaSet,
}

impl Paxos {
    /// Who said that the chosen slots missing here are only to be had as an image, unless they were had since.
    #[must_use]
    pub fn needs_image_of(&self) -> Option<ReplicaId> {
        let (from, upto) = self.catch_up.needs_image_upto?;
        (upto > self.log.chosen_upto() && !self.is_leader()).then_some(from)
    }

    /// The values asked for by [`Output::ReadLog`], from `from` on; as many as were at hand. A peer that can have none of
    /// them, because the disk does not give the first, may have the image past it instead.
    pub fn log_read(&mut self, _now: Instant, to: ReplicaId, from: Slot, values: Vec<Value>, out: &mut Vec<Output>) {
        self.catch_up.reading.remove(to);
        if !values.is_empty() {
            assert!(from.0 + values.len() as u64 - 1 <= self.log.applied_upto().0, "only applied slots are handed out");
            send(out, to, Message::Chosen { from, values });
        } else if from <= self.image_upto() {
            send(out, to, Message::Trimmed { trimmed_upto: self.image_upto() });
        }
    }

    /// `from` knows that everything up to `upto` is chosen.
    pub(super) fn know_chosen(&mut self, now: Instant, from: ReplicaId, upto: Slot, out: &mut Vec<Output>) {
        if upto > self.log.chosen_upto() {
            self.catch_up.known = self.catch_up.known.max(upto);
            self.catch_up.source = Some(from);
            self.ask_for_chosen(now, out);
        }
    }

    /// Slots known to be chosen that are missing here.
    fn missing(&self) -> u64 {
        self.catch_up.known.0.saturating_sub(self.log.chosen_upto().0)
    }

    /// Asks for the first missing chosen slots, unless a request is out, or its time has not come.
    fn ask_for_chosen(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.catch_up.asks_at = None;
        let from = self.log.chosen_upto().next();
        if self.catch_up.waits_until.is_some() {
            return;
        }
        if self.catch_up.known < from {
            self.catch_up.pace.reset();
            return;
        }
        let Some(source) = self.catch_up.source else { return };
        let at = self.catch_up.pace.next_at();
        if self.follows() && now < at {
            self.catch_up.asks_at = Some(at);
            return;
        }
        let upto = self.catch_up.known.min(from.plus(ANSWER_SLOTS_MAX - 1));
        self.catch_up.asked = Some(source);
        self.catch_up.waits_until = Some(now + self.settings.heartbeat.scaled(4, 1));
        send(out, source, Message::CatchUp { from, upto });
    }

    /// Somebody else is known to lead.
    fn follows(&self) -> bool {
        self.leader.is_none() && self.following.leader.is_some()
    }

    /// When the request that is out is given up, or the next one is sent; who follows nobody waits for no pace.
    pub(super) fn catch_up_deadline(&self) -> Instant {
        let CatchUp { waits_until, asks_at, .. } = self.catch_up;
        let asks_at = asks_at.map(|at| if self.follows() { at } else { Instant::ZERO });
        waits_until.or(asks_at).unwrap_or(Instant::FOREVER)
    }

    pub(super) fn catch_up_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if now < self.catch_up_deadline() {
            return;
        }
        if self.catch_up.waits_until.take().is_some() {
            self.pass_over_source();
        }
        self.ask_for_chosen(now, out);
    }

    /// Whoever was asked in vain is passed over once, unless it is the only one.
    fn pass_over_source(&mut self) {
        let up: Vec<ReplicaId> = self.links.iter().filter(|link| link.up).map(|link| link.replica).collect();
        if self.catch_up.asked == self.catch_up.source && !up.is_empty() {
            let asked = up.iter().position(|replica| Some(*replica) == self.catch_up.asked);
            self.catch_up.source = Some(up[asked.map_or(0, |i| i + 1) % up.len()]);
        }
    }

    pub(super) fn on_catch_up(&mut self, from: ReplicaId, first: Slot, upto: Slot, out: &mut Vec<Output>) {
        let upto = upto.min(self.log.applied_upto()).min(first.plus(ANSWER_SLOTS_MAX - 1));
        if first <= self.log.trimmed_upto() {
            send(out, from, Message::Trimmed { trimmed_upto: self.log.trimmed_upto() });
        } else if first < self.log.first_in_memory() && first <= upto {
            if !self.catch_up.reading.contains(from) {
                self.catch_up.reading.insert(from);
                let upto = upto.min(self.log.first_in_memory().previous());
                out.push(Output::ReadLog { to: from, from: first, upto });
            }
        } else if first <= upto {
            let mut bytes = 0;
            let slots = (first.0..=upto.0).map_while(|slot| self.log.chosen(Slot(slot)));
            let values: Vec<Value> = slots
                .take_while(|value| {
                    let fits = bytes == 0 || bytes + value.bytes().len() <= CATCH_UP_BYTES_MAX;
                    bytes += value.bytes().len();
                    fits
                })
                .cloned()
                .collect();
            send(out, from, Message::Chosen { from: first, values });
        }
    }

    /// Chosen values: nothing anybody promised or accepted stands against them.
    pub(super) fn on_chosen(
        &mut self,
        now: Instant,
        from: ReplicaId,
        first: Slot,
        values: Vec<Value>,
        out: &mut Vec<Output>,
    ) {
        if values.is_empty() || first == Slot(0) {
            return;
        }
        let before = self.log.chosen_upto();
        let last = Slot(first.0 + values.len() as u64 - 1);
        let bytes = values.iter().map(|value| value.bytes().len() + BLOCK_BYTES).sum();
        for (value, slot) in values.into_iter().zip((first.0..).map(Slot)) {
            if slot.0 > self.log.chosen_upto().0 + ACCEPT_AHEAD {
                // What was learned so far leads there: a whole answer is taken.
                self.advance(now, out);
            }
            self.learn(now, slot, value, out);
        }
        self.advance(now, out);
        let came = self.log.chosen_upto().0 - before.0;
        if came > 0 {
            let missing = self.missing();
            if self.follows() {
                self.catch_up.pace.took(now, bytes, came, missing);
            } else {
                self.catch_up.pace.reset();
            }
            self.catch_up.waits_until = None;
            self.catch_up.needs_image_upto = None;
            self.extend_attempt(now);
        }
        self.know_chosen(now, from, last, out);
        self.ask_for_chosen(now, out);
    }

    pub(super) fn on_trimmed(&mut self, now: Instant, from: ReplicaId, trimmed_upto: Slot, out: &mut Vec<Output>) {
        let chosen_upto = self.log.chosen_upto();
        if trimmed_upto > chosen_upto {
            self.catch_up.needs_image_upto = Some((from, trimmed_upto));
            self.catch_up.waits_until = Some(now + self.settings.election_max);
            // No promise decides that slot, its value is to be had in an image alone, and a leader fetches none.
            if self.waiting().first() == Some(&chosen_upto.next()) {
                self.step_down(now, out);
            }
        }
    }

    fn learn(&mut self, now: Instant, slot: Slot, value: Value, out: &mut Vec<Output>) {
        if let Some(known) = self.log.chosen(slot) {
            assert!(known.hash() == value.hash(), "{slot:?}: a chosen value never changes");
        }
        if self.log.is_chosen(slot) || slot.0 > self.log.chosen_upto().0 + ACCEPT_AHEAD {
            return;
        }
        match self.log.held(slot).map(|held| held.value.hash() == value.hash()) {
            Some(true) => self.log.choose(slot),
            different => {
                if different.is_some() && self.leading().is_some_and(|(_, leading)| slot < leading.next) {
                    // Another reign chose there what this one did not propose: it is over.
                    self.step_down(now, out);
                }
                self.append_learned(now, slot, value, out);
            }
        }
    }
}
