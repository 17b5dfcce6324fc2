//! A front's core: client connections of one ring, driven through a [`Front`].

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::front::{self, Facts, Front, Output};
use crate::limits::{CLIENT_CLOGGED_BYTES, CLIENT_OUTPUT_BYTES_MAX, LEASE_USE_TOLD_EVERY};
use crate::namespace::Tree;
use crate::replica::exchange::{FrontNotice, FrontRequest};
use crate::runtime::{ConnectionId, Ring};
use crate::time::Instant;

/// The client connections of one ring.
pub(super) struct Clients {
    front: Front,
    names: BTreeMap<ConnectionId, front::ConnectionId>,
    connections: BTreeMap<front::ConnectionId, ConnectionId>,
    last_name: u64,
    requests: Vec<FrontRequest>,
    tell_use_at: Instant,
}

impl Clients {
    pub(super) fn new(facts: Facts) -> Self {
        Self {
            front: Front::new(facts),
            names: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_name: 0,
            requests: Vec::new(),
            tell_use_at: Instant::ZERO,
        }
    }

    pub(super) fn accepted(&mut self, now: Instant, connection: ConnectionId, peer: SocketAddr) {
        self.last_name += 1;
        let name = front::ConnectionId(self.last_name);
        self.names.insert(connection, name);
        self.connections.insert(name, connection);
        self.front.opened(now, name, Some(peer.ip().to_canonical()));
    }

    pub(super) fn received(&mut self, now: Instant, connection: ConnectionId, bytes: &[u8]) {
        if let Some(name) = self.names.get(&connection) {
            self.front.received(now, *name, bytes);
        }
    }

    pub(super) fn closed(&mut self, connection: ConnectionId) {
        if let Some(name) = self.names.remove(&connection) {
            self.connections.remove(&name);
            self.front.closed(name);
        }
    }

    /// What was queued for a connection has left.
    pub(super) fn drained(&mut self, connection: ConnectionId) {
        if let Some(name) = self.names.get(&connection) {
            self.front.drained(*name);
        }
    }

    /// `tree` has all that the notice tells of.
    pub(super) fn notice(&mut self, notice: FrontNotice, tree: &Tree) {
        self.front.notice(notice, tree);
    }

    /// What the replica is asked this turn.
    pub(super) fn prepare(&mut self, now: Instant, leased: bool) -> std::vec::Drain<'_, FrontRequest> {
        self.front.prepare(now, leased, &mut self.requests);
        self.requests.drain(..)
    }

    /// Answers what can be answered. Returns whether the lease was used, and the replica should hear of it again.
    pub(super) fn finish(
        &mut self,
        now: Instant,
        tree: &Tree,
        leased: bool,
        still_leased: impl FnOnce() -> bool,
    ) -> bool {
        let used = self.front.finish(now, tree, leased, still_leased);
        let tell = used && now >= self.tell_use_at;
        if tell {
            self.tell_use_at = now + LEASE_USE_TOLD_EVERY;
        }
        tell
    }

    /// Whether [`Clients::prepare`] has something to say at once.
    pub(super) fn is_restless(&self) -> bool {
        self.front.is_restless()
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.front.next_deadline()
    }

    /// Sends what was written; a client that does not read is dropped.
    pub(super) fn send(&mut self, ring: &mut Ring) {
        let connections = &self.connections;
        let (mut over, mut clogged) = (Vec::new(), Vec::new());
        self.front.take_output(|output| match output {
            Output::Send { connection: name, bytes } => {
                let Some(connection) = connections.get(&name).copied() else { return };
                // What is written now it has had no time to read, however much it asked for at once.
                if ring.queued_bytes(connection) > CLIENT_OUTPUT_BYTES_MAX {
                    tracing::info!("a client does not read what it asked for: dropping its connection");
                    ring.abort(connection);
                    over.push(connection);
                } else {
                    ring.send(connection, bytes);
                    if ring.queued_bytes(connection) > CLIENT_CLOGGED_BYTES {
                        clogged.push(name);
                    }
                }
            }
            Output::Close { connection } => {
                if let Some(connection) = connections.get(&connection).copied() {
                    ring.close(connection);
                    over.push(connection);
                }
            }
        });
        clogged.into_iter().for_each(|name| self.front.clogged(name));
        over.into_iter().for_each(|connection| self.closed(connection));
    }
}
