//! A node's links to the others, as `server::links` keeps them: one that it dials and speaks on, one that it is dialled on
//! and listens to; a peer is up while both stand.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use quorate::limits::PEER_FRAME_BYTES_MAX;
use quorate::paxos::{Acknowledged, Incarnation, ReplicaId};
use quorate::replica::exchange::Input;
use quorate::wire::frame::{FrameReader, PEER_MAGIC};
use quorate::wire::peer::{self, Hello, PEER_PROTOCOL, PeerError, PeerMessage};

use super::network::{Host, Network, Port};
use super::node::CELL;
use super::plan::Plan;
use super::world::{MILLI, Moment, World};

/// Every link of one node.
#[derive(Debug)]
pub struct Links {
    me: Host,
    hello: Hello,
    peers: BTreeMap<ReplicaId, Peer>,
    incoming: BTreeMap<u64, Incoming>,
    /// Bits may turn over on the way.
    flips: bool,
    /// Links from peers that dialled anew.
    stale: Vec<u64>,
    scratch: BytesMut,
}

#[derive(Debug, Default)]
struct Peer {
    dialled: Option<(u64, bool)>,
    heard: Option<(u64, Incarnation)>,
    up: bool,
    dial_at: Moment,
    failures: u32,
}

#[derive(Debug)]
struct Incoming {
    reader: FrameReader,
    from: Option<(ReplicaId, Incarnation)>,
}

impl Links {
    pub fn new(me: usize, incarnation: Incarnation, plan: &Plan) -> Self {
        let hello = Hello {
            protocol: PEER_PROTOCOL,
            cell: CELL,
            from: replica(me),
            incarnation,
            to: replica(me),
            acknowledged: None,
        };
        let peers = (0..plan.nodes).filter(|node| *node != me).map(|node| (replica(node), Peer::default())).collect();
        Self {
            me: Host::Node(me),
            hello,
            peers,
            incoming: BTreeMap::new(),
            flips: plan.network.flipped > 0,
            stale: Vec::new(),
            scratch: BytesMut::new(),
        }
    }

    pub fn dial(&mut self, world: &mut World, network: &mut Network) {
        for (id, peer) in &mut self.peers {
            if peer.dialled.is_none() && peer.dial_at <= world.now {
                let conn = network.dial(world, self.me, Host::Node(node(*id)), Port::Peers);
                peer.dialled = Some((conn, false));
            }
        }
    }

    /// When [`Links::dial`] is due.
    pub fn next_dial(&self) -> Moment {
        let due = self.peers.values().filter(|peer| peer.dialled.is_none()).map(|peer| peer.dial_at);
        due.min().unwrap_or(Moment::MAX)
    }

    pub fn send(&mut self, world: &mut World, network: &mut Network, to: ReplicaId, message: &PeerMessage) {
        let Some((conn, true)) = self.peers.get(&to).and_then(|peer| peer.dialled) else { return };
        let encoded = peer::encode(message, &mut self.scratch);
        let frame = match encoded.tail {
            Some(tail) => Bytes::from([encoded.head, tail].concat()),
            None => encoded.head,
        };
        network.send_frame(world, conn, self.me, frame);
    }

    pub fn accepted(&mut self, conn: u64) {
        self.incoming.insert(conn, Incoming { reader: FrameReader::new(PEER_MAGIC), from: None });
    }

    /// `acknowledged_by`: what is known of a replica's disk.
    pub fn connected(
        &mut self,
        (world, network): (&mut World, &mut Network),
        conn: u64,
        acknowledged_by: impl FnOnce(ReplicaId) -> Option<Acknowledged>,
        inputs: &mut Vec<Input>,
    ) {
        let dialled = self.peers.iter_mut().find(|(_, peer)| peer.dialled == Some((conn, false)));
        let Some((id, peer)) = dialled else { return };
        peer.dialled = Some((conn, true));
        peer.failures = 0;
        let hello = Hello { to: *id, acknowledged: acknowledged_by(*id), ..self.hello };
        network.send(world, conn, self.me, peer::encode_hello(&hello));
        peer.rise(*id, inputs);
    }

    /// Bytes of a peer arrived. False if the link must be closed.
    pub fn received(&mut self, conn: u64, bytes: &[u8], inputs: &mut Vec<Input>) -> bool {
        let Some(incoming) = self.incoming.get_mut(&conn) else { return true };
        let (mut from, peers, stale) = (incoming.from, &mut self.peers, &mut self.stale);
        let result = incoming.reader.feed(bytes, PEER_FRAME_BYTES_MAX, |frame| {
            let hello = peer::decode_hello(&frame)?;
            match (from, hello) {
                (Some((from, incarnation)), None) => {
                    inputs.push(Input::Peer { from, incarnation, message: peer::decode(&frame)? });
                }
                (None, Some(hello)) => {
                    let peer = peers.get_mut(&hello.from).expect("only members dial");
                    peer.fall(hello.from, inputs);
                    stale.extend(peer.heard.map(|(before, _)| before));
                    peer.heard = Some((conn, hello.incarnation));
                    from = Some((hello.from, hello.incarnation));
                    inputs.extend(hello.acknowledged.map(|word| Input::Reminded { by: hello.from, word }));
                    peer.rise(hello.from, inputs);
                }
                (_, Some(_)) | (None, None) => return Err(PeerError::Malformed(frame.kind)),
            }
            Ok::<(), PeerError>(())
        });
        incoming.from = from;
        let damaged = matches!(result, Err(PeerError::Frame(_)));
        assert!(self.flips || !damaged, "a replica sends frames whose sums are right: {result:?}");
        result.is_ok()
    }

    /// Links to be closed: of two that a peer dialled the hello of the later may come first, and one that is listened to no
    /// more must not look to its dialler as if it were.
    pub fn take_stale(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.stale)
    }

    /// A link is gone. The other direction's connection, if it must go too.
    pub fn closed(&mut self, now: Moment, conn: u64, inputs: &mut Vec<Input>) -> Option<u64> {
        if let Some(incoming) = self.incoming.remove(&conn) {
            let (id, _) = incoming.from?;
            let peer = self.peers.get_mut(&id)?;
            if peer.heard.is_none_or(|(heard, _)| heard != conn) {
                return None;
            }
            peer.heard = None;
            peer.fall(id, inputs);
            return peer.dialled.filter(|(_, connected)| *connected).map(|(dialled, _)| dialled);
        }
        let (id, peer) = self.peers.iter_mut().find(|(_, peer)| peer.dialled.is_some_and(|(c, _)| c == conn))?;
        peer.dialled = None;
        peer.dial_at = now + ((10 * MILLI) << peer.failures.min(4));
        peer.failures += 1;
        peer.fall(*id, inputs);
        peer.heard.map(|(heard, _)| heard)
    }

    pub fn owns(&self, conn: u64) -> bool {
        self.incoming.contains_key(&conn) || self.peers.values().any(|p| p.dialled.is_some_and(|(c, _)| c == conn))
    }
}

impl Peer {
    fn rise(&mut self, replica: ReplicaId, inputs: &mut Vec<Input>) {
        if let (Some((_, true)), Some((_, incarnation)), false) = (self.dialled, self.heard, self.up) {
            self.up = true;
            inputs.push(Input::PeerUp { replica, incarnation });
        }
    }

    fn fall(&mut self, replica: ReplicaId, inputs: &mut Vec<Input>) {
        if std::mem::take(&mut self.up) {
            inputs.push(Input::PeerDown { replica });
        }
    }
}

/// The replica that runs on a node; nodes count from 0.
pub const fn replica(node: usize) -> ReplicaId {
    ReplicaId(node as u8 + 1)
}

/// The node that runs a replica.
pub fn node(replica: ReplicaId) -> usize {
    usize::from(replica.0) - 1
}
