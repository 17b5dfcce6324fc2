//! Who has room for what clients write.
//!
//! A leader writes down what it proposes, so one whose disk is full refuses its clients although a majority could do
//! without that disk. Each replica tells in its answers to heartbeats whether it is cramped; a cramped leader hands over to
//! one that is not, and a cramped follower stands for election only once the others had their turn.
//!
//! Nothing moves while nobody is known to have room. Nor does the reign go to and fro: whoever is cramped stays so until
//! its disk took a whole segment, or its log gave one up.

use super::Paxos;
use super::settings::Output;
use crate::limits::SLOT_WINDOW;
use crate::time::Instant;

/// How this replica stands with the room on its disk.
#[derive(Debug, Default)]
pub(super) struct DiskRoom {
    cramped: bool,
    /// The reign is not offered before: the others may be about to be cramped, or an offer came to nothing.
    offered_until: Instant,
}

impl Paxos {
    /// Whether this replica's disk has no room for more of what clients write. Tell it whenever that may have changed.
    pub fn set_cramped(&mut self, now: Instant, cramped: bool) {
        if cramped && !self.room.cramped {
            // The others wrote the same log: if their disks fill up too, they say so about now.
            self.room.offered_until = now + self.settings.election_max.scaled(2, 1);
        }
        self.room.cramped = cramped;
    }

    pub(super) fn is_cramped(&self) -> bool {
        self.room.cramped
    }

    /// At every heartbeat of a leader.
    pub(super) fn hand_over_if_cramped(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some((_, leading)) = self.leading() else { return };
        if !self.room.cramped || now < self.room.offered_until || leading.hand_over.is_some() {
            return;
        }
        // Proposals stop until the other holds everything: one that is far behind is no help.
        let near = self.log.chosen_upto().0.saturating_sub(SLOT_WINDOW);
        let takes = |(link, peer): (&super::Link, &super::leader::Peer)| {
            let heard = now.since(peer.heard_at) <= self.settings.election_max;
            let takes = link.up && heard && !peer.cramped && peer.round > 0 && peer.chosen_upto.0 >= near;
            let named = link.incarnation.is_some_and(|disk| self.configs.newest().counts(link.replica, disk));
            (takes && named).then_some((peer.chosen_upto, link.replica))
        };
        let Some((_, target)) = self.links.iter().zip(&leading.peers).filter_map(takes).max() else { return };
        self.room.offered_until = now + self.settings.election_max.scaled(OFFERED_EVERY, 1);
        self.hand_over(now, Some(target), out);
    }
}

/// In longest election time-outs; one of them is what an offer in vain costs.
const OFFERED_EVERY: u64 = 8;
