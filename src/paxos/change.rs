//! Changes of the member list: who asks for one, when it is refused, and how a newcomer gets its vote.
//!
//! A disk that is new to the cell is first named as a *learner*: it is sent the log, and keeps the promise of a lease like
//! any other, but its votes choose nothing. Once it holds what the leader holds, the leader proposes the entry that makes
//! it a voter. So the replacement of a lost disk is two entries: the lost one out and the new one in, as a learner, which
//! leaves one voter fewer and the same number of votes needed or one fewer; then its vote.
//!
//! A list is proposed only when every slot under an older one is applied, when no other proposal is open, and when a quorum
//! of its voters answers this reign. What a disk that is named no more may have promised or voted stays its own: its word
//! counts for the slots of the lists that name it and for no other, so no vote of a replica is ever counted beside one that
//! an earlier disk of it gave away and forgot.

use thiserror::Error;

use super::ballot::{Incarnation, ReplicaId, Slot};
use super::config::{Addresses, Config, Member, ReplicaSet, Standing};
use super::leader::Peer;
use super::settings::Output;
use super::{Link, Paxos};
use crate::limits::SLOT_WINDOW;
use crate::time::Instant;

/// A change of the member list, as an operator asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MemberChange {
    /// One replica more.
    Add { replica: ReplicaId, incarnation: Incarnation, addresses: Option<Addresses> },
    /// Another disk in the place of one that is lost, perhaps elsewhere; without `addresses` it is where the old one was.
    Replace { replica: ReplicaId, incarnation: Incarnation, addresses: Option<Addresses> },
    /// One replica less.
    Remove { replica: ReplicaId },
}

/// One member, as a leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberStatus {
    /// What the newest list says of it.
    pub member: Member,
    /// Whether its disk lately answered this reign, or is this replica's own.
    pub answers: bool,
    /// What it said it holds and knows chosen.
    pub chosen_upto: Slot,
}

/// Why the list is not changed, and what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ChangeRefusal {
    /// Only a leader proposes.
    #[error("this replica does not lead, or has just begun to: ask the leader, or again in a moment")]
    NotLeading,
    /// One change at a time.
    #[error("another change of the members is under way, up to slot {until}: ask again when that is chosen")]
    UnderWay { until: Slot },
    /// No such member.
    #[error("replica {replica} is no member: see `quorate member list`")]
    NotMember { replica: ReplicaId },
    /// The id is taken.
    #[error("replica {replica} is a member already: replace it, remove it first, or take another id")]
    Member { replica: ReplicaId },
    /// The disk that is to go still speaks.
    #[error(
        "the disk of replica {replica} that is to be replaced still answers: stop that replica first, or remove it"
    )]
    Alive { replica: ReplicaId },
    /// The cell would stand still.
    #[error(
        "only {heard} of the {needed} voters that the new list needs for a majority answer: bring more of them back first"
    )]
    NotLive { heard: u8, needed: u8 },
    /// A cell has a voter.
    #[error("replica {replica} is the last voter: a cell without one stands still for ever")]
    LastVoter { replica: ReplicaId },
    /// The list has no room.
    #[error("the list of members would grow too long: remove a member first, or use shorter addresses")]
    TooLong,
}

impl Config {
    /// This list with `change` made in it. The same list again, if it was made before.
    pub fn changed(&self, change: &MemberChange) -> Result<Self, ChangeRefusal> {
        let changed = match change {
            MemberChange::Add { replica, incarnation, addresses } => {
                if let Some(member) = self.member(*replica) {
                    let same = member.incarnation == Some(*incarnation);
                    return if same { Ok(self.clone()) } else { Err(ChangeRefusal::Member { replica: *replica }) };
                }
                self.with(newcomer(*replica, *incarnation, addresses.clone()))
            }
            MemberChange::Replace { replica, incarnation, addresses } => {
                let Some(member) = self.member(*replica) else {
                    return Err(ChangeRefusal::NotMember { replica: *replica });
                };
                if member.incarnation == Some(*incarnation) {
                    return Ok(self.clone());
                }
                let addresses = addresses.as_ref().or(member.addresses.as_ref()).cloned();
                self.with(newcomer(*replica, *incarnation, addresses))
            }
            // Asked again after a lost answer it is done already.
            MemberChange::Remove { replica } => self.without(*replica),
        };
        if changed.voters().next().is_none() {
            return Err(ChangeRefusal::LastVoter { replica: change.replica() });
        }
        if changed.fits() { Ok(changed) } else { Err(ChangeRefusal::TooLong) }
    }
}

impl ChangeRefusal {
    /// Whether it may go another way a little later, with nothing mended.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::NotLeading | Self::UnderWay { .. })
    }
}

impl MemberChange {
    /// Whom it is about.
    #[must_use]
    pub const fn replica(&self) -> ReplicaId {
        match self {
            Self::Add { replica, .. } | Self::Replace { replica, .. } | Self::Remove { replica } => *replica,
        }
    }
}

fn newcomer(replica: ReplicaId, incarnation: Incarnation, addresses: Option<Addresses>) -> Member {
    Member { replica, incarnation: Some(incarnation), standing: Standing::Learner, addresses }
}

impl Paxos {
    /// Proposes the list with `change` made in it. Returns the slot of the entry that says so; if the list says it already,
    /// the slot of that one. An entry that is proposed may still be lost with its leader: look at the list.
    pub fn change_members(
        &mut self,
        now: Instant,
        change: &MemberChange,
        out: &mut Vec<Output>,
    ) -> Result<Slot, ChangeRefusal> {
        if !self.is_leading() {
            return Err(ChangeRefusal::NotLeading);
        }
        let newest = self.configs.newest();
        let config = newest.changed(change)?;
        if config == *newest {
            return Ok(self.configs.newest_slot());
        }
        if !self.may_change() {
            let changing = self.leading().and_then(|(_, leading)| leading.reign.changing.last());
            let until = changing.map_or(self.configs.in_force_from(), |(slot, _)| slot.plus(SLOT_WINDOW));
            return Err(ChangeRefusal::UnderWay { until });
        }
        if !self.can_propose() {
            return Err(ChangeRefusal::NotLeading);
        }
        if matches!(change, MemberChange::Replace { .. }) && self.speaks(now, change.replica()) {
            return Err(ChangeRefusal::Alive { replica: change.replica() });
        }
        let (heard, needed) = (self.answering(now, &config).len(), config.quorum());
        if heard < needed {
            return Err(ChangeRefusal::NotLive { heard: heard as u8, needed: needed as u8 });
        }
        let value = config.to_value(self.configs.newest_slot());
        Ok(self.propose(now, value, out))
    }

    /// The newest list, and how its members are as far as this replica knows; only a leader knows of the others.
    #[must_use]
    pub fn members(&self, now: Instant) -> Vec<MemberStatus> {
        let status = |member: &Member| {
            let (answers, chosen_upto) = match self.peer_of(member) {
                _ if self.is_me(member) => (true, self.log.chosen_upto()),
                Some((_, peer)) => (self.answers(now, peer), peer.chosen_upto),
                None => (false, Slot(0)),
            };
            MemberStatus { member: member.clone(), answers, chosen_upto }
        };
        self.configs.newest().members().iter().map(status).collect()
    }

    /// Whether the list may be changed: every slot under an older one is applied, and no other change is proposed.
    pub(super) fn may_change(&self) -> bool {
        self.configs.is_settled(self.log.applied_upto().next())
            && self.leading().is_some_and(|(_, leading)| leading.reign.changing.is_empty())
    }

    /// The list with a vote for the first learner that has caught up, if a quorum of it answers.
    pub(super) fn promotion(&self, now: Instant) -> Option<Config> {
        let config = self.configs.newest();
        let caught_up = |member: &&Member| {
            self.peer_of(member).is_some_and(|(_, peer)| {
                let held = peer.chosen_upto;
                self.answers(now, peer)
                    && self.configs.is_settled(held.next())
                    && held.plus(SLOT_WINDOW) >= self.log.chosen_upto()
            })
        };
        let learner = config.members().iter().filter(|member| !member.is_voter()).find(caught_up)?;
        let promoted = config.with(Member { standing: Standing::Voter, ..learner.clone() });
        (self.answering(now, &promoted).len() >= promoted.quorum()).then_some(promoted)
    }

    /// A leader that the newest list leaves out hands over at once: it is heard as long as slots of the old list are open,
    /// and nobody listens to it any more when its successor has brought the new one into force.
    pub(super) fn leave_if_removed(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (me, incarnation) = (self.settings.me, self.settings.incarnation);
        let leads = self.leading().is_some_and(|(_, leading)| leading.hand_over.is_none());
        let config = self.configs.newest();
        let named = config.counts(me, incarnation) || config.is_unfounded();
        if leads && !named {
            self.hand_over(now, None, out);
        }
    }

    /// The voters of `config` that answer this reign, this replica among them if it is one.
    fn answering(&self, now: Instant, config: &Config) -> ReplicaSet {
        let mut answering = ReplicaSet::EMPTY;
        for member in config.voters() {
            if self.is_me(member) || self.peer_of(member).is_some_and(|(_, peer)| self.answers(now, peer)) {
                answering.insert(member.replica);
            }
        }
        answering
    }

    pub(super) fn is_me(&self, member: &Member) -> bool {
        member.replica == self.settings.me && member.incarnation == Some(self.settings.incarnation)
    }

    /// Whether the disk named for that replica may be alive.
    fn speaks(&self, now: Instant, replica: ReplicaId) -> bool {
        let Some(member) = self.configs.newest().member(replica) else { return false };
        let recent = |(link, peer): (&Link, &Peer)| link.up && now.since(peer.heard_at) <= self.settings.election_max;
        self.is_me(member) || self.peer_of(member).is_some_and(recent)
    }

    fn answers(&self, now: Instant, peer: &Peer) -> bool {
        peer.round > 0 && now.since(peer.heard_at) <= self.settings.election_max
    }

    /// What is known of a member's disk, if that is the one at the other end of its link.
    pub(super) fn peer_of(&self, member: &Member) -> Option<(&Link, &Peer)> {
        let (_, leading) = self.leading()?;
        let index = self.links.iter().position(|link| link.replica == member.replica)?;
        let same = member.incarnation.is_some() && self.links[index].incarnation == member.incarnation;
        same.then(|| (&self.links[index], &leading.peers[index]))
    }
}
