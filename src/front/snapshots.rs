//! Clients that fetch an image: the replica is asked, and its answer passed on.

use super::{ConnectionId, Front};
use crate::replica::exchange::FrontRequest;
use crate::wire::client::ServerMessage;
use crate::wire::snapshots::{SnapshotAnswer, SnapshotQuestion};

impl Front {
    pub(super) fn ask_snapshot(&mut self, id: ConnectionId, number: u64, question: SnapshotQuestion) {
        let ticket = self.ask_as(id, number);
        self.requests.push(FrontRequest::Snapshot { ticket, question });
    }

    pub(super) fn tell_snapshot(&mut self, ticket: u64, answer: SnapshotAnswer) {
        if let Some((id, number)) = self.askers.remove(&ticket) {
            self.say(id, &ServerMessage::Snapshot { number, answer });
        }
    }
}
