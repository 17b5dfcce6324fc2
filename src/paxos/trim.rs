//! How much of the log nobody needs any more.
//!
//! A member that comes back asks for every chosen slot from where its newest whole image ends. To send it those is cheaper
//! than an image, so each tells the leader from where on it starts at the worst, the leader tells all the least of these,
//! and nobody's journal gives up more while it is short. A member that was not heard in this reign, or was never met at
//! all, counts as one that needs everything: past a bound of bytes, which is the journal's affair, nobody waits for it.
//!
//! What was once told stays true: no disk's image ever ends earlier than it said.

use super::ballot::{Ballot, ReplicaId, Slot};
use super::leader::{Leader, Phase};
use super::{Link, Paxos};

/// What of the log is needless, and whether it may grow at will.
#[derive(Debug, Default)]
pub(super) struct Needless {
    /// This replica starts again from there or above.
    here: Slot,
    /// Every member does.
    everywhere: Slot,
    /// There is hardly room left for the log.
    sparing: bool,
}

impl Needless {
    /// A leader says that every member starts again from there or above.
    pub fn told(&mut self, upto: Slot) {
        self.everywhere = self.everywhere.max(upto);
    }

    /// Whether only what must be is proposed.
    pub const fn is_sparing(&self) -> bool {
        self.sparing
    }
}

impl Paxos {
    /// From now on this replica starts again from `slot` or above, whatever befalls its process.
    pub fn set_image_upto(&mut self, slot: Slot) {
        assert!(slot <= self.log.applied_upto(), "an image holds what was applied");
        self.needless.here = slot;
        self.find_needless();
    }

    /// The journal no longer holds anything up to `slot`.
    pub fn trimmed(&mut self, slot: Slot) {
        assert!(slot <= self.needless.here, "nothing is trimmed that this replica itself may start from");
        self.log.set_trimmed(slot);
    }

    /// Nobody needs the log up to there.
    #[must_use]
    pub fn trim_upto(&self) -> Slot {
        self.needless.everywhere
    }

    /// Whether to keep the lease alive by entries of its own. Without it reads take a round trip once nobody writes.
    pub fn spare_the_log(&mut self, sparing: bool) {
        self.needless.sparing = sparing;
    }

    pub(super) fn image_upto(&self) -> Slot {
        self.needless.here
    }

    /// A peer told this reign from where on it starts.
    pub(super) fn peer_has_image(&mut self, from: ReplicaId, of: Ballot, image_upto: Slot) {
        let Some(index) = self.links.iter().position(|link| link.replica == from) else { return };
        let Some(Leader { ballot, phase: Phase::Leading(leading) }) = &mut self.leader else { return };
        if *ballot == of && leading.peers[index].image_upto != image_upto {
            leading.peers[index].image_upto = image_upto;
            self.find_needless();
        }
    }

    fn find_needless(&mut self) {
        let Some((_, leading)) = self.leading() else { return };
        let (me, here) = (self.settings.incarnation, self.needless.here);
        let link_to = |replica| self.links.iter().position(|link: &Link| link.replica == replica);
        let starts_from = self.configs.newest().members().iter().map(|member| match link_to(member.replica) {
            Some(i) if member.incarnation.is_some() && self.links[i].incarnation == member.incarnation => {
                leading.peers[i].image_upto
            }
            None if member.incarnation == Some(me) => here,
            _ => Slot(0),
        });
        let least = starts_from.min().unwrap_or(Slot(0));
        self.needless.told(least);
    }
}
