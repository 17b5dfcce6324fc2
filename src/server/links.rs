//! The links to the other replicas: one that we dial and speak on, one that they dial and we listen to.
//!
//! A peer counts as reachable while both stand: ours is connected, and its hello told which disk speaks. When either
//! breaks, both are dropped, so that the two ends agree on what may have been lost.
//!
//! A caller whose disk the newest list of members does not name is told so, against the link's direction, with the list's
//! slot: one that was removed or replaced while it was away hears of it in no other way, since nobody sends it the log.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::names::Names;
use super::roster::Place;
use crate::limits::{
    BATCH_BYTES_TARGET, FORWARD_QUEUE_BYTES_MAX, HELLO_TIMEOUT, PEER_FRAME_BYTES_MAX, PEER_OUTPUT_BYTES_MAX,
};
use crate::paxos::{Acknowledged, CellId, Incarnation, ReplicaId, Slot};
use crate::replica::exchange::Input;
use crate::runtime::{ConnectionId, Ring, Waker};
use crate::time::{Duration, Instant};
use crate::wire::client::{FaultCode, ServerMessage};
use crate::wire::frame::{CLIENT_MAGIC, FrameError, FrameReader, PEER_MAGIC};
use crate::wire::peer::{self, Hello, PEER_PROTOCOL, PeerError, PeerMessage, Unnamed};

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
    /// The slot of the newest list of members.
    config_slot: Slot,
    peers: BTreeMap<ReplicaId, Peer>,
    incoming: BTreeMap<ConnectionId, Incoming>,
    /// Incoming links that came to their end here: to be closed.
    stale: Vec<ConnectionId>,
    names: Names,
    scratch: BytesMut,
}

#[derive(Debug, Default)]
struct Peer {
    /// Where it is; nowhere, once it is no member any more.
    place: Option<Place>,
    /// Its name is being looked up.
    asked: bool,
    /// What its name stood for last.
    found: Vec<SocketAddr>,
    dialled: Option<(ConnectionId, bool)>,
    /// Of what comes on the link that we dialled.
    answers: Option<FrameReader>,
    heard: Option<(ConnectionId, Incarnation)>,
    up: bool,
    dial_at: Instant,
    failures: u32,
}

#[derive(Debug)]
struct Incoming {
    reader: FrameReader,
    /// When it must have said who it is.
    hello_by: Instant,
    from: Option<(ReplicaId, Incarnation)>,
}

/// What becomes of a connection that said something.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Keep,
    Close,
    /// It is a client's, which took this port for the other one.
    Client,
    /// It is of a disk that the members' list does not name, and is to be told so; closed, too, if it is no member's.
    Tell {
        unnamed: Bytes,
        close: bool,
    },
    /// The other end of a link that we dialled says that the list of that slot does not name our disk.
    Unnamed {
        config_slot: Slot,
    },
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
    #[error(
        "the caller says it is replica {0}, which is no member as far as is known here: `quorate member list` shows who is; \
         if this replica was away while its peers were replaced and finds none that it knows, it comes back with an empty \
         folder: quorate recover"
    )]
    Stranger(ReplicaId),
    #[error(
        "the caller says it is replica {replica} with disk {found:?}, but that one's disk is linked here: the caller's was \
         replaced, or is a copy; stop it"
    )]
    SecondDisk { replica: ReplicaId, found: Incarnation },
    #[error("the first frame of a link must be a hello")]
    NoHello,
}

impl Links {
    /// `waker` is of the ring that drives these links. There are none before the members are told.
    pub(super) fn new(identity: Identity, waker: Waker) -> Self {
        Self {
            identity,
            config_slot: Slot(0),
            peers: BTreeMap::new(),
            incoming: BTreeMap::new(),
            stale: Vec::new(),
            names: Names::new(waker),
            scratch: BytesMut::new(),
        }
    }

    /// Those are the members now, and that is where they are. Links to others stay until they break, so that who was left
    /// out is told so; there are no new ones.
    pub(super) fn set_members(&mut self, config_slot: Slot, places: &[Place]) {
        self.config_slot = config_slot;
        for (id, peer) in &mut self.peers {
            if peer.place.is_some() && !places.iter().any(|place| place.replica == *id) {
                tracing::info!("replica {id} is no member any more");
                peer.place = None;
            }
        }
        for place in places.iter().filter(|place| place.replica != self.identity.replica) {
            let peer = self.peers.entry(place.replica).or_default();
            if peer.place.as_ref().is_some_and(|before| before.peer != place.peer) {
                peer.found.clear();
                self.stale.extend(peer.dialled.map(|(connection, _)| connection));
            }
            peer.place = Some(place.clone());
        }
    }

    /// Dials whoever is due. A host's name is looked up each time, since its address may have changed.
    pub(super) fn dial(&mut self, now: Instant, ring: &mut Ring) {
        while let Some((id, found)) = self.names.found() {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.asked = false;
            let Some(Place { peer: name, .. }) = &peer.place else { continue };
            match found {
                Ok(addresses) => peer.found = addresses,
                Err(error) => tracing::warn!(%error, address = %name, "cannot look up a peer"),
            }
            // Where it was last is better than nowhere: names may be out of reach for longer than hosts.
            match peer.found.len() {
                0 => peer.dial_later(now),
                count => peer.dial(now, peer.found[peer.failures as usize % count], ring),
            }
        }
        for (id, peer) in &mut self.peers {
            let Some(place) = peer.place.as_ref().filter(|_| peer.is_due() && peer.dial_at <= now) else { continue };
            match place.peer.literal() {
                Some(address) => peer.dial(now, address, ring),
                None => {
                    let name = place.peer.clone();
                    peer.asked = true;
                    self.names.ask(*id, name);
                }
            }
        }
    }

    /// When [`Links::dial`] or [`Links::take_stale`] is due.
    pub(super) fn next_deadline(&self) -> Instant {
        let due = self.peers.values().filter(|peer| peer.is_due()).map(|peer| peer.dial_at);
        let silent =
            self.incoming.values().filter(|incoming| incoming.from.is_none()).map(|incoming| incoming.hello_by);
        due.chain(silent).min().unwrap_or(Instant::FOREVER)
    }

    /// Whether clients' requests for that peer are to be refused here: its link has enough of them to carry, and what
    /// cannot wait must not wait behind them.
    pub(super) fn is_crowded(&self, to: ReplicaId, ring: &Ring) -> bool {
        let Some((connection, true)) = self.peers.get(&to).and_then(|peer| peer.dialled) else { return false };
        ring.queued_bytes(connection) > FORWARD_QUEUE_BYTES_MAX
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

    /// Whether what waits to be sent to that replica would be held up by a piece of an image.
    pub(super) fn is_busy(&self, to: ReplicaId, ring: &Ring) -> bool {
        let connection = self.peers.get(&to).and_then(|peer| peer.dialled).map(|(connection, _)| connection);
        connection.is_none_or(|connection| ring.queued_bytes(connection) > BUSY_BYTES)
    }

    /// Somebody dialled us.
    pub(super) fn accepted(&mut self, now: Instant, connection: ConnectionId) {
        let incoming = Incoming {
            reader: FrameReader::keeping(PEER_MAGIC, 2 * BATCH_BYTES_TARGET),
            hello_by: now + HELLO_TIMEOUT,
            from: None,
        };
        self.incoming.insert(connection, incoming);
    }

    /// Incoming links that are to be closed: a newer one took their place, or nobody said who is there.
    pub(super) fn take_stale(&mut self, now: Instant) -> Vec<ConnectionId> {
        let silent = self.incoming.iter().filter(|(_, incoming)| incoming.from.is_none() && incoming.hello_by <= now);
        self.stale.extend(silent.map(|(connection, _)| *connection));
        std::mem::take(&mut self.stale)
    }

    /// A link we dialled stands. The hello reminds the other end of what its disk acknowledged, as far as is known here.
    pub(super) fn connected(
        &mut self,
        connection: ConnectionId,
        acknowledged_by: impl FnOnce(ReplicaId) -> Option<Acknowledged>,
        inputs: &mut Vec<Input>,
        ring_send: &mut Vec<(ConnectionId, bytes::Bytes)>,
    ) {
        let Some((id, peer)) = self.peers.iter_mut().find(|(_, p)| p.dialled.is_some_and(|(c, _)| c == connection))
        else {
            return;
        };
        peer.dialled = Some((connection, true));
        peer.answers = Some(FrameReader::new(PEER_MAGIC));
        let Identity { cell, replica, incarnation } = self.identity;
        let acknowledged = acknowledged_by(*id);
        let hello = Hello { protocol: PEER_PROTOCOL, cell, from: replica, incarnation, to: *id, acknowledged };
        ring_send.push((connection, peer::encode_hello(&hello)));
        peer.rise(*id, inputs);
    }

    /// Bytes of a peer arrived.
    pub(super) fn received(&mut self, connection: ConnectionId, bytes: &[u8], inputs: &mut Vec<Input>) -> Verdict {
        let Some(incoming) = self.incoming.get_mut(&connection) else {
            // A peer says nothing on the link we dialled.
            return self.answered(connection, bytes);
        };
        let mut from = incoming.from;
        let (identity, peers, stale) = (self.identity, &mut self.peers, &mut self.stale);
        let mut told = None;
        let result = incoming.reader.feed(bytes, PEER_FRAME_BYTES_MAX, |frame| {
            match from {
                Some((replica, incarnation)) => {
                    inputs.push(Input::Peer { from: replica, incarnation, message: peer::decode(&frame)? });
                }
                None => {
                    let hello = peer::decode_hello(&frame)?.ok_or(LinkError::NoHello)?;
                    let peer = admit(identity, peers, &hello)?;
                    let named = peer.place.as_ref().and_then(|place| place.named);
                    told = named.filter(|named| *named != hello.incarnation);
                    // It dialled anew: what it said on the old link may be lost, whether or not we saw that break.
                    peer.fall(hello.from, inputs);
                    stale.extend(peer.heard.map(|(before, _)| before));
                    peer.heard = Some((connection, hello.incarnation));
                    from = Some((hello.from, hello.incarnation));
                    inputs.extend(hello.acknowledged.map(|word| Input::Reminded { by: hello.from, word }));
                    peer.rise(hello.from, inputs);
                }
            }
            Ok::<(), LinkError>(())
        });
        incoming.from = from;
        match result {
            Ok(()) if told.is_some() => Verdict::Tell { unnamed: self.unnamed(), close: false },
            Ok(()) => Verdict::Keep,
            Err(error @ (LinkError::Stranger(_) | LinkError::SecondDisk { .. })) => {
                tracing::warn!(%error, "refused a peer link");
                Verdict::Tell { unnamed: self.unnamed(), close: true }
            }
            Err(LinkError::Frame(FrameError::Magic { found: CLIENT_MAGIC, .. })) => {
                tracing::info!("a client connected to the port for replicas: it is told so");
                Verdict::Client
            }
            Err(error) => {
                tracing::warn!(%error, "refused a peer link");
                Verdict::Close
            }
        }
    }

    fn unnamed(&self) -> Bytes {
        peer::encode_unnamed(&Unnamed { cell: self.identity.cell, config_slot: self.config_slot })
    }

    /// Bytes came on a link that we dialled: there is one thing that is said there.
    fn answered(&mut self, connection: ConnectionId, bytes: &[u8]) -> Verdict {
        let Some(peer) = self.peers.values_mut().find(|p| p.dialled.is_some_and(|(c, _)| c == connection)) else {
            return Verdict::Keep;
        };
        let mut told = None;
        let Some(reader) = &mut peer.answers else { return Verdict::Close };
        let fed = reader.feed(bytes, UNNAMED_BYTES_MAX, |frame| {
            told = Some(peer::decode_unnamed(&frame)?);
            Ok::<(), LinkError>(())
        });
        match (fed, told) {
            (Ok(()), Some(Unnamed { cell, config_slot })) if cell == self.identity.cell => {
                Verdict::Unnamed { config_slot }
            }
            (Ok(()), None) => Verdict::Keep,
            (Err(_), _) | (Ok(()), Some(_)) => Verdict::Close,
        }
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
    /// Whether nothing is under way towards it.
    fn is_due(&self) -> bool {
        self.place.is_some() && self.dialled.is_none() && !self.asked
    }

    fn dial(&mut self, now: Instant, address: SocketAddr, ring: &mut Ring) {
        match ring.connect(address) {
            Ok(connection) => self.dialled = Some((connection, false)),
            Err(error) => {
                tracing::warn!(%error, %address, "cannot dial a peer");
                self.dial_later(now);
            }
        }
    }

    fn dial_later(&mut self, now: Instant) {
        self.dial_at = now + redial_after(self.failures);
        self.failures += 1;
    }

    fn rise(&mut self, replica: ReplicaId, inputs: &mut Vec<Input>) {
        if let (Some((_, true)), Some((_, incarnation)), false) = (self.dialled, self.heard, self.up) {
            self.up = true;
            self.failures = 0;
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

/// What a client hears that took the port for replicas for the one for clients, which is at `address`.
pub(super) fn peer_port_fault(address: &str) -> Bytes {
    let text = format!("this port is for the other replicas: clients connect to {address}");
    let mut bytes = BytesMut::new();
    ServerMessage::Fault { code: FaultCode::PeerPort, text: &text }.encode(&mut bytes);
    bytes.freeze()
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
    let peer = peers.get_mut(&hello.from).filter(|peer| peer.place.is_some());
    let peer = peer.ok_or(LinkError::Stranger(hello.from))?;
    let named = peer.place.as_ref().and_then(|place| place.named);
    if named.is_some() && peer.heard.map(|(_, incarnation)| incarnation) == named && Some(hello.incarnation) != named {
        return Err(LinkError::SecondDisk { replica: hello.from, found: hello.incarnation });
    }
    Ok(peer)
}

/// Soon at first, since a restarted peer is back in an instant; then less often.
fn redial_after(failures: u32) -> Duration {
    Duration::from_millis(10 << failures.min(4))
}

/// A link with so much to carry carries votes first.
const BUSY_BYTES: usize = 256 << 10;

/// The largest frame on a link that we dialled.
const UNNAMED_BYTES_MAX: usize = 256;
