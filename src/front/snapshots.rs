//! Clients that fetch an image: the replica is asked, and its answer passed on.
//!
//! A connection has one question under way at a time: nobody keeps a replica's disk, or its memory, busy alone.

use super::{ConnectionId, Front};
use crate::replica::exchange::{FrontRequest, Trust};
use crate::wire::client::ServerMessage;
use crate::wire::snapshots::{SnapshotAnswer, SnapshotQuestion};

impl Front {
    pub(super) fn ask_snapshot(&mut self, id: ConnectionId, number: u64, question: SnapshotQuestion) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if std::mem::replace(&mut connection.fetches, true) {
            let answer = SnapshotAnswer::NotYet { revision: self.revision };
            self.say(id, &ServerMessage::Snapshot { number, answer });
            return;
        }
        let (ticket, trust) = (self.ask_as(id, number), self.trust(id));
        self.requests.push(FrontRequest::Snapshot { ticket, trust, question });
    }

    pub(super) fn tell_snapshot(&mut self, ticket: u64, answer: SnapshotAnswer) {
        let Some((id, number)) = self.askers.remove(&ticket) else { return };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.fetches = false;
        }
        self.say(id, &ServerMessage::Snapshot { number, answer });
    }

    /// How far a connection is trusted with what no list guards. Whom its session stands for, the log said.
    pub(super) fn trust(&self, id: ConnectionId) -> Trust {
        let connection = self.connections.get(&id);
        if connection.is_some_and(|connection| connection.session.is_some() && connection.who.is_super) {
            Trust::Super
        } else if self.facts.super_user.is_none() {
            Trust::Anybody
        } else {
            Trust::Stranger
        }
    }
}
