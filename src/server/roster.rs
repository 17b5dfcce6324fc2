//! Who the members are and where they are found: what the log says of each, and else what the operator's file says.
//!
//! A member that was there when the cell was made is where the `[[replica]]` of every file says. One that came later told
//! its addresses to the log with `quorate member` or `quorate recover`, and the others learn them there; their files need
//! not name it, and are read at the start only.

use super::config::{Address, Config};
use crate::paxos::{Configs, Incarnation, ReplicaId, Slot};
use crate::wire::client::MemberAddress;

/// The members of a running replica's cell.
#[derive(Debug)]
pub(super) struct Roster {
    me: (ReplicaId, Incarnation),
    listed: Vec<(ReplicaId, Address, String)>,
    /// As of which list, and whether the one before was done with.
    told: Option<(Slot, bool)>,
    places: Vec<Place>,
}

/// One member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) replica: ReplicaId,
    /// The disk that the newest list names for it.
    pub(super) named: Option<Incarnation>,
    pub(super) peer: Address,
    client: String,
}

impl Roster {
    /// What the file says of each; the members are not known yet.
    pub(super) fn of(config: &Config, me: (ReplicaId, Incarnation)) -> Self {
        let listed = |r: &super::config::ReplicaSection| (r.id, r.peer.clone(), r.advertised().to_string());
        Self { me, listed: config.replicas.iter().map(listed).collect(), told: None, places: Vec::new() }
    }

    /// Takes up the lists that are known at `next`, the first slot that is not chosen. Whether anything is new in them.
    pub(super) fn follow(&mut self, configs: &Configs, next: Slot) -> bool {
        let known = (configs.newest_slot(), configs.is_settled(next));
        if self.told.replace(known) == Some(known) {
            return false;
        }
        let leaving = (!known.1).then(|| configs.previous().members());
        let newest = configs.newest();
        let gone = leaving.into_iter().flatten().filter(|member| newest.member(member.replica).is_none());
        let members = newest.members().iter().chain(gone);
        self.places = members.filter_map(|member| self.place(member)).collect();
        if !newest.names(self.me.0, self.me.1) {
            // Whoever is to join may read in old lists of members that are long gone.
            let unknown = self.listed.iter().filter(|(id, ..)| !self.places.iter().any(|place| place.replica == *id));
            let place = |(replica, peer, client): &(ReplicaId, Address, String)| Place {
                replica: *replica,
                named: None,
                peer: peer.clone(),
                client: client.clone(),
            };
            let unknown: Vec<Place> = unknown.map(place).collect();
            self.places.extend(unknown);
        }
        true
    }

    /// Every member that is found anywhere.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Where clients find them.
    pub(super) fn for_clients(&self) -> Vec<MemberAddress> {
        let address = |place: &Place| MemberAddress { replica: place.replica, address: place.client.clone() };
        self.places.iter().map(address).collect()
    }

    fn place(&self, member: &crate::paxos::Member) -> Option<Place> {
        let (replica, named) = (member.replica, member.incarnation);
        if let Some(told) = &member.addresses
            && let Ok(peer) = told.peer.parse()
        {
            return Some(Place { replica, named, peer, client: told.client.to_string() });
        }
        let listed = self.listed.iter().find(|(id, ..)| *id == replica);
        if listed.is_none() {
            tracing::warn!("replica {replica} is a member, and neither the log nor the configuration says where it is");
        }
        listed.map(|(_, peer, client)| Place { replica, named, peer: peer.clone(), client: client.clone() })
    }
}
