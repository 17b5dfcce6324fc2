//! Digests of the state: replicas that applied the same log say so to each other, and one that differs stops.
//!
//! 1. Whoever applies a slot whose number is a multiple of [`Digests::every`], or that holds an entry without content, notes
//!    the namespace's digest there, and tells every peer; a peer that is met later is told what is still kept. A start does
//!    the same with what it replays. So the log alone says where: whoever wants the states compared now has an entry added.
//! 2. What a peer told is kept until this replica comes to that slot itself: one that lags, or starts from an image, looks
//!    at the slots they have in common.
//!    It is forgotten with the link to that peer: what it holds then, it tells again on the next one.
//! 3. The voters of that slot decide ([`Verdict`]). One that differs from a majority of them stops, and so does a learner.
//!    When no digest can reach a majority any more nobody knows who is right, and all stop.
//! 4. Voters that are away are waited for, until [`DIGESTS_KEPT`] slots later; then those that are there decide, if they are
//!    enough to choose anything.
//! 5. Up to the last slot where a majority agreed with it this replica's state is known to be right
//!    ([`Digests::agreed_upto`]): images up to there are lent to others (`transfer`).
//!
//! Replicas whose states are equal tell equal digests, whatever they lag and whoever counts: none of them ever stops. A
//! digest costs no walk (namespace, invariant 6), a message every so many slots and peer, and no write.

use std::collections::VecDeque;

use super::Replica;
use super::exchange::{Diverged, Effect};
use crate::limits::{DIGEST_EVERY_SLOTS, DIGESTS_KEPT};
use crate::paxos::{Config, Incarnation, Kind, ReplicaId, Slot};
use crate::wire::peer::PeerMessage;

/// Digests of this replica's state, and what the others told of theirs.
#[derive(Debug)]
pub struct Digests {
    every: u64,
    /// In slot order; more than are kept only until the end of the turn.
    own: VecDeque<(Slot, u128)>,
    told: Vec<Told>,
    /// The newest of our own that the peers were told.
    sent_upto: Slot,
    /// The highest slot at which a majority had this replica's digest.
    agreed_upto: Slot,
    /// Something came that was not judged yet.
    is_new: bool,
}

/// What a peer told, in slot order.
#[derive(Debug)]
struct Told {
    replica: ReplicaId,
    incarnation: Incarnation,
    digests: VecDeque<(Slot, u128)>,
}

/// What the voters' digests of one slot say of this replica's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Nothing yet.
    GoOn,
    /// It is right: a majority has it.
    Agrees,
    /// A majority has this one, which is another.
    Differs(u128),
    /// No digest has a majority, nor will.
    NoMajority,
}

impl Default for Digests {
    fn default() -> Self {
        Self::every(DIGEST_EVERY_SLOTS)
    }
}

impl Digests {
    /// Digests at every slot whose number is a multiple of `slots`: the same number at every replica of a cell.
    #[must_use]
    pub fn every(slots: u64) -> Self {
        assert!(slots > 0, "digests are some slots apart");
        let agreed_upto = Slot(0);
        Self { every: slots, own: VecDeque::new(), told: Vec::new(), sent_upto: Slot(0), agreed_upto, is_new: false }
    }

    /// Everything up to `slot`, which holds an entry of that kind, is applied, and nothing beyond; `digest` says what came
    /// out.
    pub fn applied(&mut self, slot: Slot, kind: Option<Kind>, digest: impl FnOnce() -> u128) {
        if slot.0.is_multiple_of(self.every) || kind == Some(Kind::Noop) {
            assert!(self.own.back().is_none_or(|(last, _)| *last < slot), "slots are applied one after the other");
            self.own.push_back((slot, digest()));
            self.is_new = true;
        }
    }

    /// Of the state up to there it is known, by a later digest, that a majority has the same.
    pub(super) fn agreed_upto(&self) -> Slot {
        self.agreed_upto
    }

    fn told(&mut self, replica: ReplicaId, incarnation: Incarnation, slot: Slot, digest: u128) {
        self.told.retain(|told| told.replica != replica || told.incarnation == incarnation);
        let known = self.told.iter().position(|told| told.replica == replica);
        let index = known.unwrap_or_else(|| {
            self.told.push(Told { replica, incarnation, digests: VecDeque::new() });
            self.told.len() - 1
        });
        let digests = &mut self.told[index].digests;
        // A replica that started anew tells again what it replayed, and its newer word counts.
        match digests.binary_search_by_key(&slot, |(known, _)| *known) {
            Ok(at) => digests[at].1 = digest,
            Err(at) => digests.insert(at, (slot, digest)),
        }
        if digests.len() > DIGESTS_KEPT {
            digests.pop_front();
        }
        self.is_new = true;
    }

    /// The link to that replica broke, or is new: it tells again what it still stands for.
    pub fn forget(&mut self, replica: ReplicaId) {
        self.told.retain(|told| told.replica != replica);
    }

    /// The digest of a voter at `slot`, if it told.
    fn of(&self, replica: ReplicaId, incarnation: Incarnation, slot: Slot) -> Option<u128> {
        let told = self.told.iter().find(|told| told.replica == replica && told.incarnation == incarnation)?;
        let at = told.digests.binary_search_by_key(&slot, |(known, _)| *known).ok()?;
        Some(told.digests[at].1)
    }

    /// Judges one slot. `is_last`: whoever has not told by now is not waited for.
    fn judge(
        &self,
        me: (ReplicaId, Incarnation),
        voters: &Config,
        (slot, own): (Slot, u128),
        is_last: bool,
    ) -> (Verdict, Vec<(ReplicaId, u128)>) {
        let mut votes: Vec<(ReplicaId, u128)> = Vec::new();
        for voter in voters.voters() {
            let Some(incarnation) = voter.incarnation else { continue };
            let is_me = (voter.replica, incarnation) == me;
            let digest = if is_me { Some(own) } else { self.of(voter.replica, incarnation, slot) };
            votes.extend(digest.map(|digest| (voter.replica, digest)));
        }
        let count = |digest: u128| votes.iter().filter(|(_, other)| *other == digest).count();
        let most = votes.iter().map(|(_, digest)| (count(*digest), *digest)).max();
        let silent = voters.voters().count() - votes.len();
        let verdict = match most {
            Some((count, digest)) if count >= voters.quorum() => {
                if digest == own {
                    Verdict::Agrees
                } else {
                    Verdict::Differs(digest)
                }
            }
            Some((count, _)) if count + silent < voters.quorum() => Verdict::NoMajority,
            Some(_) if is_last && votes.len() >= voters.quorum() => Verdict::NoMajority,
            _ => Verdict::GoOn,
        };
        (verdict, votes)
    }
}

impl Replica {
    pub(super) fn take_digest(&mut self, from: ReplicaId, incarnation: Incarnation, slot: Slot, digest: u128) {
        self.digests.told(from, incarnation, slot, digest);
    }

    /// Tells a peer that was just met what the others know.
    pub(super) fn tell_digests(&self, to: ReplicaId, effects: &mut Vec<Effect>) {
        for (slot, digest) in self.digests.own.iter().filter(|(slot, _)| *slot <= self.digests.sent_upto) {
            effects.push(Effect::Peer { to, message: PeerMessage::Digest { slot: *slot, digest: *digest } });
        }
    }

    /// Tells the peers of new digests, and holds them against theirs. Whether this replica must stop: then `effects`
    /// holds that and nothing beside.
    pub(super) fn tend_digests(&mut self, effects: &mut Vec<Effect>) -> bool {
        if !std::mem::take(&mut self.digests.is_new) {
            return false;
        }
        let members = self.paxos.config().members().iter().map(|member| member.replica);
        for to in members.filter(|to| self.links.contains(*to)) {
            let new = self.digests.own.iter().filter(|(slot, _)| *slot > self.digests.sent_upto);
            let tell = |(slot, digest): &(Slot, u128)| PeerMessage::Digest { slot: *slot, digest: *digest };
            effects.extend(new.map(|own| Effect::Peer { to, message: tell(own) }));
        }
        self.digests.sent_upto = self.digests.own.back().map_or(Slot(0), |(slot, _)| *slot);
        let (identity, configs) = (self.storage.about().0, self.paxos.configs());
        let leaving = self.digests.own.len().saturating_sub(DIGESTS_KEPT);
        // What is known to be right is not judged again.
        let open = self.digests.own.partition_point(|(slot, _)| *slot <= self.digests.agreed_upto);
        for (at, (slot, own)) in self.digests.own.iter().copied().enumerate().skip(open) {
            let me = (identity.replica, identity.incarnation);
            let (verdict, votes) = self.digests.judge(me, configs.at(slot), (slot, own), at < leaving);
            let majority = match verdict {
                Verdict::GoOn => continue,
                Verdict::Agrees => {
                    self.digests.agreed_upto = self.digests.agreed_upto.max(slot);
                    continue;
                }
                Verdict::Differs(digest) => Some(digest),
                Verdict::NoMajority => None,
            };
            // The others are to know what it was; nothing else of this turn leaves.
            let is_digest =
                |effect: &Effect| matches!(effect, Effect::Peer { message: PeerMessage::Digest { .. }, .. });
            effects.retain(is_digest);
            effects.push(Effect::Diverged(Diverged { slot, own, majority, votes }));
            return true;
        }
        self.digests.own.drain(..leaving);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot(2048);

    fn incarnation(replica: u8) -> Incarnation {
        Incarnation(u128::from(replica) + 100)
    }

    fn voters(count: u8) -> Config {
        let config = Config::of_voters((1..=count).map(ReplicaId));
        (1..=count).fold(config, |config, n| config.bound(ReplicaId(n), incarnation(n)))
    }

    /// What replica 1 makes of its own digest and those that others told.
    fn verdict(count: u8, own: u128, others: &[(u8, u128)], is_last: bool) -> Verdict {
        let mut digests = Digests::every(1024);
        digests.applied(SLOT, Some(Kind::Commands), || own);
        for (replica, digest) in others {
            digests.told(ReplicaId(*replica), incarnation(*replica), SLOT, *digest);
        }
        digests.judge((ReplicaId(1), incarnation(1)), &voters(count), (SLOT, own), is_last).0
    }

    #[test]
    fn whoever_differs_from_a_majority_stops_and_the_majority_does_not() {
        assert_eq!(verdict(3, 7, &[(2, 8), (3, 8)], false), Verdict::Differs(8));
        assert_eq!(verdict(3, 8, &[(2, 7), (3, 8)], false), Verdict::Agrees);
        assert_eq!(verdict(5, 7, &[(2, 8), (3, 8), (4, 8)], false), Verdict::Differs(8), "one is away");
        assert_eq!(verdict(5, 8, &[(2, 8), (3, 8), (4, 7), (5, 7)], true), Verdict::Agrees);
    }

    #[test]
    fn without_a_majority_all_stop_once_nobody_is_waited_for() {
        assert_eq!(verdict(3, 7, &[(2, 8), (3, 9)], false), Verdict::NoMajority);
        assert_eq!(verdict(3, 7, &[(2, 8)], false), Verdict::GoOn, "the third may tell who is right");
        assert_eq!(verdict(3, 7, &[(2, 8)], true), Verdict::NoMajority);
        assert_eq!(verdict(5, 7, &[(2, 7), (3, 8), (4, 8)], false), Verdict::GoOn);
        assert_eq!(verdict(5, 7, &[(2, 7), (3, 8), (4, 9)], false), Verdict::GoOn, "2 + 1 are enough");
        assert_eq!(verdict(5, 6, &[(2, 7), (3, 8), (4, 9)], false), Verdict::NoMajority);
        assert_eq!(verdict(5, 7, &[(2, 8)], true), Verdict::GoOn, "two of five choose nothing either");
    }

    #[test]
    fn equal_states_stop_nobody_however_few_tell() {
        for told in 0..=4 {
            let others: Vec<(u8, u128)> = (2..2 + told).map(|replica| (replica, 7)).collect();
            let expected = if told >= 2 { Verdict::Agrees } else { Verdict::GoOn };
            assert_eq!(verdict(5, 7, &others, false), expected);
            assert_eq!(verdict(5, 7, &others, true), expected);
        }
    }

    #[test]
    fn an_entry_without_content_names_a_slot_wherever_it_stands() {
        let mut digests = Digests::every(1024);
        for (slot, kind) in [(5, Kind::Commands), (6, Kind::Noop), (7, Kind::Config), (1024, Kind::Config)] {
            digests.applied(Slot(slot), Some(kind), || u128::from(slot));
        }
        assert_eq!(digests.own, [(Slot(6), 6), (Slot(1024), 1024)]);
    }

    #[test]
    fn a_disk_that_is_no_voter_says_nothing_and_a_new_word_takes_the_place_of_the_old() {
        let mut digests = Digests::every(1024);
        digests.applied(SLOT, Some(Kind::Commands), || 7);
        let me = (ReplicaId(1), incarnation(1));
        let judge = |digests: &Digests| digests.judge(me, &voters(3), (SLOT, 7), false).0;
        for replica in [2, 3] {
            digests.told(ReplicaId(replica), Incarnation(1), SLOT, 8);
        }
        assert_eq!(judge(&digests), Verdict::GoOn, "disks that were replaced");
        for replica in [2, 3] {
            digests.told(ReplicaId(replica), incarnation(replica), SLOT, 8);
        }
        assert_eq!(judge(&digests), Verdict::Differs(8));
        digests.told(ReplicaId(3), incarnation(3), SLOT, 7);
        assert_eq!(judge(&digests), Verdict::Agrees);
    }

    #[test]
    fn a_word_goes_with_the_link_it_came_on() {
        let mut digests = Digests::every(1024);
        digests.applied(SLOT, Some(Kind::Commands), || 7);
        let judge = |digests: &Digests| digests.judge((ReplicaId(1), incarnation(1)), &voters(3), (SLOT, 7), false).0;
        digests.told(ReplicaId(2), incarnation(2), SLOT, 8);
        digests.forget(ReplicaId(2));
        digests.told(ReplicaId(3), incarnation(3), SLOT, 8);
        assert_eq!(judge(&digests), Verdict::GoOn, "replica 2 may hold something else by now");
        digests.told(ReplicaId(2), incarnation(2), SLOT, 8);
        assert_eq!(judge(&digests), Verdict::Differs(8), "it holds the same still");
    }

    #[test]
    fn a_peer_that_runs_ahead_costs_no_more_than_its_newest_digests() {
        let mut digests = Digests::every(1);
        for slot in 1..1000 {
            digests.told(ReplicaId(2), incarnation(2), Slot(slot), 7);
        }
        assert_eq!(digests.told[0].digests.len(), DIGESTS_KEPT);
        assert_eq!(digests.of(ReplicaId(2), incarnation(2), Slot(999)), Some(7));
    }
}
