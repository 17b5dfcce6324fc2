//! Signs of life of clients, until the leader has heard of each.

use std::collections::BTreeMap;

use super::ConnectionId;

/// A client's sign of life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ping {
    pub(super) number: u64,
    /// The cache lease is to run on as well.
    pub(super) renews: bool,
}

/// The signs of life that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// The leader is to be told with the next ticket.
    ready: Vec<(ConnectionId, Ping)>,
    /// It is told, by ticket.
    asked: BTreeMap<u64, Vec<(ConnectionId, Ping)>>,
    /// There was no leader, or it could not say that the session lives: it is told again after a while. Of a client that
    /// spoke more than once the last counts.
    unheard: BTreeMap<ConnectionId, Ping>,
}

impl Pings {
    pub(super) fn push(&mut self, id: ConnectionId, ping: Ping) {
        self.ready.push((id, ping));
    }

    pub(super) fn ready(&self) -> &[(ConnectionId, Ping)] {
        &self.ready
    }

    /// The leader is told of those that are ready.
    pub(super) fn ask(&mut self, ticket: u64) {
        if !self.ready.is_empty() {
            self.asked.insert(ticket, std::mem::take(&mut self.ready));
        }
    }

    /// Those of this ticket.
    pub(super) fn take(&mut self, ticket: u64) -> Vec<(ConnectionId, Ping)> {
        self.asked.remove(&ticket).unwrap_or_default()
    }

    pub(super) fn was_not_heard(&mut self, id: ConnectionId, ping: Ping) {
        self.unheard.insert(id, ping);
    }

    /// The leader is told of those that were not heard.
    pub(super) fn retry(&mut self) {
        self.ready.extend(std::mem::take(&mut self.unheard));
    }

    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.unheard.remove(&id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.asked.is_empty() && self.unheard.is_empty()
    }
}
