//! The links to the other replicas: one that we dial and speak on, one that they dial and we listen to.
//!
//! A peer counts as reachable while both stand: ours is connected, and its hello told which disk speaks. When either
//! breaks, both are dropped, so that the two ends agree on what may have been lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::BytesMut;

use crate::limits::{BATCH_BYTES_TARGET, PEER_FRAME_BYTES_MAX, PEER_OUTPUT_BYTES_MAX};
use crate::paxos::{CellId, Incarnation, ReplicaId};
use crate::replica::exchange::Input;
use crate::runtime::{ConnectionId, Ring};
use crate::time::{Duration, Instant};
use crate::wire::frame::{FrameReader, PEER_MAGIC};
use crate::wire::peer::{self, Hello, PEER_PROTOCOL, PeerError, PeerMessage};

/// Who we are on a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) cell: CellId,
    pub(super) replica: ReplicaId,
    pub(super) incarnation: Incarnation,
}

/// Every link of this replica.
#[derive(Debug)]
pub(super) struct Links {
    identity: Identity,
    peers: BTreeMap<ReplicaId, Peer>,
    incoming: BTreeMap<ConnectionId, Incoming>,
    scratch: BytesMut,
}

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    dialled: Option<(ConnectionId, bool)>,
    heard: Option<(ConnectionId, Incarnation)>,
    up: bool,
    dial_at: Instant,
    failures: u32,
}

#[derive(Debug)]
struct Incoming {
    reader: FrameReader,
    from: Option<(ReplicaId, Incarnation)>,
}

/// Why an incoming link is closed.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Frame(#[from] crate::wire::frame::FrameError),
    #[error("the caller speaks peer protocol {found}, this replica {PEER_PROTOCOL}: upgrade the older one")]
    Protocol { found: u16 },
    #[error("the caller belongs to {found:?}, this replica to {ours:?}: check the peer addresses")]
    OtherCell { found: CellId, ours: CellId },
    #[error("the caller means replica {to}, but this is replica {me}: check the peer addresses")]
    OtherReplica { to: ReplicaId, me: ReplicaId },
    #[error("the caller says it is replica {0}, which is not in the configuration")]
    Stranger(ReplicaId),
    #[error("the first frame of a link must be a hello")]
    NoHello,
}

impl Links {
    pub(super) fn new(identity: Identity, peers: impl Iterator<Item = (ReplicaId, SocketAddr)>) -> Self {
        let peer =
            |address| Peer { address, dialled: None, heard: None, up: false, dial_at: Instant::ZERO, failures: 0 };
        Self {
            identity,
            peers: peers.map(|(id, address)| (id, peer(address))).collect(),
            incoming: BTreeMap::new(),
            scratch: BytesMut::new(),
        }
    }

    /// Dials whoever is due.
    pub(super) fn dial(&mut self, now: Instant, ring: &mut Ring) {
        for peer in self.peers.values_mut() {
            if peer.dialled.is_none() && peer.dial_at <= now {
                match ring.connect(peer.address) {
                    Ok(connection) => peer.dialled = Some((connection, false)),
                    Err(error) => {
                        tracing::warn!(%error, address = %peer.address, "cannot dial a peer");
                        peer.dial_later(now);
                    }
                }
            }
        }
    }

    /// When [`Links::dial`] is due.
    pub(super) fn next_deadline(&self) -> Instant {
        let due = self.peers.values().filter(|peer| peer.dialled.is_none()).map(|peer| peer.dial_at);
        due.min().unwrap_or(Instant::FOREVER)
    }

    /// Sends, if there is a link. A peer that does not take what it is sent loses its link, which is returned.
    pub(super) fn send(&mut self, to: ReplicaId, message: &PeerMessage, ring: &mut Ring) -> Option<ConnectionId> {
        let Some((connection, true)) = self.peers.get(&to).and_then(|peer| peer.dialled) else { return None };
        if ring.queued_bytes(connection) > PEER_OUTPUT_BYTES_MAX {
            tracing::warn!(peer = to.0, "a peer does not take what it is sent: dropping its link");
            return Some(connection);
        }
        let encoded = peer::encode(message, &mut self.scratch);
        ring.send(connection, encoded.head);
        if let Some(tail) = encoded.tail {
            ring.send(connection, tail);
        }
        None
    }

    /// Somebody dialled us.
    pub(super) fn accepted(&mut self, connection: ConnectionId) {
        self.incoming.insert(
            connection,
            Incoming { reader: FrameReader::keeping(PEER_MAGIC, 2 * BATCH_BYTES_TARGET), from: None },
        );
    }

    /// A link we dialled stands.
    pub(super) fn connected(
        &mut self,
        connection: ConnectionId,
        inputs: &mut Vec<Input>,
        ring_send: &mut Vec<(ConnectionId, bytes::Bytes)>,
    ) {
        let Some((id, peer)) = self.peers.iter_mut().find(|(_, p)| p.dialled.is_some_and(|(c, _)| c == connection))
        else {
            return;
        };
        peer.dialled = Some((connection, true));
        peer.failures = 0;
        let Identity { cell, replica, incarnation } = self.identity;
        let hello = Hello { protocol: PEER_PROTOCOL, cell, from: replica, incarnation, to: *id };
        ring_send.push((connection, peer::encode_hello(&hello)));
        peer.rise(*id, inputs);
    }

    /// Bytes of a peer arrived. False if the link must be closed.
    pub(super) fn received(&mut self, connection: ConnectionId, bytes: &[u8], inputs: &mut Vec<Input>) -> bool {
        let Some(incoming) = self.incoming.get_mut(&connection) else {
            // A peer says nothing on the link we dialled.
            return !self.peers.values().any(|p| p.dialled.is_some_and(|(c, _)| c == connection));
        };
        let mut from = incoming.from;
        let (identity, peers) = (self.identity, &mut self.peers);
        let result = incoming.reader.feed(bytes, PEER_FRAME_BYTES_MAX, |frame| {
            match from {
                Some((replica, incarnation)) => {
                    inputs.push(Input::Peer { from: replica, incarnation, message: peer::decode(&frame)? });
                }
                None => {
                    let hello = peer::decode_hello(&frame)?.ok_or(LinkError::NoHello)?;
                    let peer = admit(identity, peers, &hello)?;
                    // It dialled anew: what it said on the old link may be lost, whether or not we saw that break.
                    peer.fall(hello.from, inputs);
                    peer.heard = Some((connection, hello.incarnation));
                    from = Some((hello.from, hello.incarnation));
                    peer.rise(hello.from, inputs);
                }
            }
            Ok::<(), LinkError>(())
        });
        incoming.from = from;
        if let Err(error) = &result {
            tracing::warn!(%error, "refused a peer link");
        }
        result.is_ok()
    }

    /// A link is gone. The other direction's connection, if it must go too.
    pub(super) fn closed(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        inputs: &mut Vec<Input>,
    ) -> Option<ConnectionId> {
        if let Some(incoming) = self.incoming.remove(&connection) {
            let (replica, _) = incoming.from?;
            let peer = self.peers.get_mut(&replica)?;
            if peer.heard.is_none_or(|(heard, _)| heard != connection) {
                return None;
            }
            peer.heard = None;
            peer.fall(replica, inputs);
            // Its end of our link is as dead as this one.
            return peer.dialled.filter(|(_, connected)| *connected).map(|(dialled, _)| dialled);
        }
        let (id, peer) = self.peers.iter_mut().find(|(_, p)| p.dialled.is_some_and(|(c, _)| c == connection))?;
        peer.dialled = None;
        peer.dial_later(now);
        peer.fall(*id, inputs);
        peer.heard.map(|(heard, _)| heard)
    }

    /// Whether this connection is one of ours.
    pub(super) fn owns(&self, connection: ConnectionId) -> bool {
        self.incoming.contains_key(&connection)
            || self.peers.values().any(|peer| peer.dialled.is_some_and(|(dialled, _)| dialled == connection))
    }
}

impl Peer {
    fn dial_later(&mut self, now: Instant) {
        self.dial_at = now + redial_after(self.failures);
        self.failures += 1;
    }

    fn rise(&mut self, replica: ReplicaId, inputs: &mut Vec<Input>) {
        if let (Some((_, true)), Some((_, incarnation)), false) = (self.dialled, self.heard, self.up) {
            self.up = true;
            tracing::info!("linked with replica {replica}");
            inputs.push(Input::PeerUp { replica, incarnation });
        }
    }

    fn fall(&mut self, replica: ReplicaId, inputs: &mut Vec<Input>) {
        if std::mem::take(&mut self.up) {
            tracing::info!("lost the link with replica {replica}");
            inputs.push(Input::PeerDown { replica });
        }
    }
}

fn admit<'a>(
    identity: Identity,
    peers: &'a mut BTreeMap<ReplicaId, Peer>,
    hello: &Hello,
) -> Result<&'a mut Peer, LinkError> {
    if hello.protocol != PEER_PROTOCOL {
        return Err(LinkError::Protocol { found: hello.protocol });
    }
    if hello.cell != identity.cell {
        return Err(LinkError::OtherCell { found: hello.cell, ours: identity.cell });
    }
    if hello.to != identity.replica {
        return Err(LinkError::OtherReplica { to: hello.to, me: identity.replica });
    }
    peers.get_mut(&hello.from).ok_or(LinkError::Stranger(hello.from))
}

/// Soon at first, since a restarted peer is back in an instant; then less often.
fn redial_after(failures: u32) -> Duration {
    Duration::from_millis(10 << failures.min(4))
}
