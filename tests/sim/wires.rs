//! One suite for the simulated network and the real one: what links and fronts may rely on, and no more than both keep.
//!
//! As with the disk ([`super::conformance`]): a simulated network that promised more than sockets do would hide a replica
//! that relies on it. The real one is two rings that speak TCP through a [`Relay`], which stands for the cable.
//!
//! 1. What arrives at one end is the beginning of what was sent at the other, and of nothing else: in order, whole, once.
//! 2. An end is told once that its connection is over, and nothing after that; whoever closes is told nothing any more.
//! 3. A path that is blocked is no connection that is over: what was sent waits, and arrives when the path opens.
//!
//! That each case notices what it is there for is tried with networks that lie ([`super::lies`]).
//!
//! Deliberately absent: frames lost, doubled or put in another order by themselves. No TCP does that; the simulator's
//! harsh runs do, because the protocol must not care.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use quorate::limits::PEER_FRAME_BYTES_MAX;
use quorate::paxos::{Message, Slot, Value};
use quorate::runtime::{ConnectionId, Event as RingEvent, Options, Ring, clock};
use quorate::time::Duration;
use quorate::wire::frame::{FrameReader, PEER_MAGIC};
use quorate::wire::peer::{self, PeerError, PeerMessage};

use super::network::{Arrival, Conduct, Host, Network, Port};
use super::relay::Relay;
use super::world::{Event, MILLI, Random, SECOND, World};

/// One end of a connection: the dialler's is 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct End {
    pub conn: u64,
    pub side: usize,
}

impl End {
    pub fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }
}

/// What an end is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// The connection stands, for whoever dialled as for whoever was dialled.
    Stands,
    Failed,
    Bytes(Vec<u8>),
    Closed,
}

/// Whether something must happen now, or nothing need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    Long,
    Short,
}

/// Two hosts, 0 and 1, and what is between them.
pub trait Seam {
    /// Host `from` dials host `to`: the dialler's end.
    fn dial(&mut self, from: usize, to: usize) -> End;
    fn send(&mut self, end: End, bytes: Bytes);
    fn close(&mut self, end: End);
    /// The connection breaks, at neither end's wish.
    fn cut(&mut self, conn: u64);
    /// Nothing goes from `from` to `to` until [`Seam::open_all`].
    fn block(&mut self, from: usize, to: usize);
    fn open_all(&mut self);
    /// The host's process ends, and the host tells so.
    fn dies(&mut self, host: usize);
    fn lives(&mut self, host: usize);
    /// What happens next. `None`: nothing did.
    fn next(&mut self, patience: Patience) -> Option<(End, Told)>;
}

pub struct Simulated {
    world: World,
    network: Network,
    /// Who dialled.
    diallers: BTreeMap<u64, usize>,
}

impl Simulated {
    pub fn new() -> Self {
        // The harsher of what its runs have, as far as TCP has it.
        let conduct = Conduct {
            latency: MILLI,
            loss: 100,
            dropped: 0,
            doubled: 0,
            reordered: 0,
            replayed: 0,
            flipped: 0,
            held: 0,
            cut: true,
        };
        Self { world: World::new(11), network: Network::new(conduct), diallers: BTreeMap::new() }
    }

    fn host(&self, end: End) -> Host {
        let dialler = self.diallers[&end.conn];
        Host::Node(if end.side == 0 { dialler } else { 1 - dialler })
    }

    fn end(&self, conn: u64, at: Host) -> End {
        let side = usize::from(at != Host::Node(self.diallers[&conn]));
        End { conn, side }
    }
}

impl Seam for Simulated {
    fn dial(&mut self, from: usize, to: usize) -> End {
        let conn = self.network.dial(&mut self.world, Host::Node(from), Host::Node(to), Port::Peers);
        self.diallers.insert(conn, from);
        End { conn, side: 0 }
    }

    fn send(&mut self, end: End, bytes: Bytes) {
        let from = self.host(end);
        self.network.send(&mut self.world, end.conn, from, bytes);
    }

    fn close(&mut self, end: End) {
        let from = self.host(end);
        self.network.close(&mut self.world, end.conn, from);
    }

    fn cut(&mut self, conn: u64) {
        self.network.break_conn(&mut self.world, conn, 50 * MILLI);
    }

    fn block(&mut self, from: usize, to: usize) {
        self.network.block(Host::Node(from), Host::Node(to));
    }

    fn open_all(&mut self) {
        self.network.unblock_all();
    }

    fn dies(&mut self, host: usize) {
        self.network.died(&mut self.world, Host::Node(host), true);
    }

    fn lives(&mut self, host: usize) {
        self.network.started(Host::Node(host));
    }

    fn next(&mut self, patience: Patience) -> Option<(End, Told)> {
        let until = self.world.now + if patience == Patience::Long { 60 * SECOND } else { SECOND };
        while let Some(event) = self.world.next(until) {
            let world = &mut self.world;
            let arrival = match event {
                Event::Dialled { conn } => self.network.dialled(world, conn),
                Event::DialDone { conn, stands } => self.network.dial_done(conn, stands),
                Event::Flow { conn, side } => self.network.flow(world, conn, side),
                Event::Closed { conn, side, surely } => self.network.closed(world, conn, side, surely),
                other => panic!("there is nothing but a network here: {other:?}"),
            };
            let (conn, at, told) = match arrival {
                None => continue,
                Some(Arrival::Accepted { conn, at, .. } | Arrival::Connected { conn, at }) => (conn, at, Told::Stands),
                Some(Arrival::Failed { conn, at }) => (conn, at, Told::Failed),
                Some(Arrival::Bytes { conn, at, bytes }) => (conn, at, Told::Bytes(bytes.to_vec())),
                Some(Arrival::Closed { conn, at }) => (conn, at, Told::Closed),
            };
            return Some((self.end(conn, at), told));
        }
        self.world.now = until;
        None
    }
}

pub struct Real {
    relay: Relay,
    hosts: [Option<Process>; 2],
    /// Where each host is dialled; kept when its process is gone.
    addresses: [SocketAddr; 2],
    /// Dials that were refused have numbers too, behind all others.
    refused: u64,
    told: VecDeque<(End, Told)>,
}

/// A process with a ring.
struct Process {
    ring: Ring,
    ends: BTreeMap<ConnectionId, End>,
    /// Which end is behind an address of the relay's.
    expected: BTreeMap<SocketAddr, End>,
}

impl Real {
    pub fn new() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut real = Self {
            relay: Relay::new(),
            hosts: [None, None],
            addresses: [nowhere; 2],
            refused: REFUSED,
            told: VecDeque::new(),
        };
        real.lives(0);
        real.lives(1);
        real
    }

    /// The relay hands on, and a host turns its ring once, sleeping for no longer than a moment.
    fn turn(&mut self, host: usize) {
        self.relay.pump();
        let Some(Process { ring, ends, expected }) = &mut self.hosts[host] else { return };
        let told = &mut self.told;
        let mut take = |_: &mut Ring, event: RingEvent<'_>| {
            let (connection, what) = match event {
                RingEvent::Accepted { connection, peer, .. } => {
                    let end = expected.remove(&peer).expect("only the relay dials");
                    ends.insert(connection, end);
                    (connection, Told::Stands)
                }
                RingEvent::Connected { connection } => (connection, Told::Stands),
                RingEvent::ConnectFailed { connection, .. } => (connection, Told::Failed),
                RingEvent::Received { connection, bytes } => (connection, Told::Bytes(bytes.to_vec())),
                RingEvent::Closed { connection, .. } => (connection, Told::Closed),
                RingEvent::Drained { .. } | RingEvent::Written { .. } | RingEvent::Woken => return,
            };
            told.push_back((ends[&connection], what));
        };
        ring.turn(Some(clock::now() + Duration::from_millis(1)), &mut take).expect("the ring turns");
    }

    fn connection(&self, end: End) -> Option<(usize, ConnectionId)> {
        let found = |host: usize| {
            let process = self.hosts[host].as_ref()?;
            process.ends.iter().find(|(_, of)| **of == end).map(|(connection, _)| (host, *connection))
        };
        found(0).or_else(|| found(1))
    }

    fn process(&mut self, host: usize) -> &mut Process {
        self.hosts[host].as_mut().expect("it lives")
    }
}

impl Seam for Real {
    fn dial(&mut self, from: usize, to: usize) -> End {
        let address = self.addresses[to];
        let connection = self.process(from).ring.connect(address).expect("a place in the table");
        let unknown = End { conn: u64::MAX, side: 0 };
        self.process(from).ends.insert(connection, unknown);
        loop {
            self.turn(from);
            if let Some((conn, relay)) = self.relay.take(from, to) {
                let end = End { conn, side: 0 };
                self.process(to).expected.insert(relay, end.other());
                self.process(from).ends.insert(connection, end);
                self.told.iter_mut().filter(|(of, _)| *of == unknown).for_each(|(of, _)| *of = end);
                return end;
            }
            if let Some((of, _)) = self.told.iter_mut().find(|told| **told == (unknown, Told::Failed)) {
                self.refused += 1;
                *of = End { conn: self.refused, side: 0 };
                return *of;
            }
        }
    }

    fn send(&mut self, end: End, bytes: Bytes) {
        if let Some((host, connection)) = self.connection(end) {
            self.process(host).ring.send(connection, bytes);
        }
    }

    fn close(&mut self, end: End) {
        let (host, connection) = self.connection(end).expect("what is closed was open");
        // What the ring found before it heard of this is not told any more by its own word.
        self.process(host).ring.close(connection);
    }

    fn cut(&mut self, conn: u64) {
        self.relay.cut(conn);
    }

    fn block(&mut self, from: usize, to: usize) {
        self.relay.block(from, to);
    }

    fn open_all(&mut self) {
        self.relay.open_all();
    }

    fn dies(&mut self, host: usize) {
        self.relay.shut_door(host);
        self.hosts[host] = None;
    }

    fn lives(&mut self, host: usize) {
        let mut ring = Ring::new(Options { connections: 64, files: 8, ..Options::default() }).expect("a ring");
        let (_, behind) = ring.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false).expect("a port");
        self.addresses[host] = self.relay.open_door(host, behind);
        self.hosts[host] = Some(Process { ring, ends: BTreeMap::new(), expected: BTreeMap::new() });
    }

    fn next(&mut self, patience: Patience) -> Option<(End, Told)> {
        let span = Duration::from_millis(if patience == Patience::Long { 30_000 } else { 50 });
        let until = clock::now() + span;
        while self.told.is_empty() && clock::now() < until {
            self.turn(0);
            self.turn(1);
        }
        self.told.pop_front()
    }
}

/// What an end was told so far.
#[derive(Default, Debug)]
struct Heard {
    stands: bool,
    failed: bool,
    bytes: Vec<u8>,
    closed: bool,
}

/// A case under way: it says what is to happen, and holds everything that does against what may.
struct Trial<'a> {
    seam: &'a mut dyn Seam,
    sent: BTreeMap<End, Vec<u8>>,
    heard: BTreeMap<End, Heard>,
    /// Ends that closed by their own wish, or whose process is gone.
    done: Vec<End>,
}

impl<'a> Trial<'a> {
    fn of(seam: &'a mut dyn Seam) -> Self {
        Self { seam, sent: BTreeMap::new(), heard: BTreeMap::new(), done: Vec::new() }
    }

    /// A connection from host 0 to host 1 that both ends know of.
    fn linked(&mut self) -> End {
        let end = self.seam.dial(0, 1);
        self.until(|trial| trial.heard(end).stands && trial.heard(end.other()).stands);
        end
    }

    fn send(&mut self, end: End, bytes: Vec<u8>) {
        self.sent.entry(end).or_default().extend_from_slice(&bytes);
        self.seam.send(end, Bytes::from(bytes));
    }

    fn close(&mut self, end: End) {
        self.rest();
        self.done.push(end);
        self.seam.close(end);
    }

    /// Goes on until something holds, which it must.
    fn until(&mut self, holds: impl Fn(&mut Self) -> bool) {
        while !holds(self) {
            let (end, told) = self.seam.next(Patience::Long).expect("what must happen happens");
            self.take(end, told);
        }
    }

    /// Goes on until nothing happens any more.
    fn rest(&mut self) {
        while let Some((end, told)) = self.seam.next(Patience::Short) {
            self.take(end, told);
        }
    }

    fn heard(&mut self, end: End) -> &Heard {
        self.heard.entry(end).or_default()
    }

    /// Whether everything that was sent to `end` arrived there.
    fn has_all(&mut self, end: End) -> bool {
        let sent = self.sent.get(&end.other()).map_or(0, Vec::len);
        self.heard(end).bytes.len() == sent
    }

    fn take(&mut self, end: End, told: Told) {
        assert!(!self.done.contains(&end), "{end:?} is told {told:?}, and is done with the connection");
        let sent = self.sent.get(&end.other()).map_or(&[][..], Vec::as_slice);
        let heard = self.heard.entry(end).or_default();
        assert!(!heard.closed && !heard.failed, "{end:?} is told {told:?} after its connection was over");
        match told {
            Told::Stands => assert!(!std::mem::replace(&mut heard.stands, true), "{end:?} is told once that it stands"),
            Told::Failed => {
                assert!(!heard.stands, "a connection that stood does not fail to");
                heard.failed = true;
            }
            Told::Closed => {
                assert!(heard.stands, "{end:?} is told that it stands before it is told that it does not");
                heard.closed = true;
            }
            Told::Bytes(bytes) => {
                assert!(heard.stands, "{end:?} is told that it stands before what is said");
                let from = heard.bytes.len();
                let expected = sent.get(from..from + bytes.len());
                assert!(expected == Some(&bytes), "{end:?} is told what was not sent there, behind {from} bytes");
                heard.bytes.extend(bytes);
            }
        }
    }
}

/// Bytes that are nowhere alike.
fn bytes(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.draw() as u8).collect()
}

pub type Case = fn(&mut dyn Seam);

pub fn everything_arrives_in_order_both_ways(seam: &mut dyn Seam) {
    let mut random = Random::new(5);
    let mut trial = Trial::of(seam);
    let links = [trial.linked(), trial.linked()];
    for _ in 0..40 {
        let end = links[random.below(2) as usize];
        let end = if random.below(2) == 0 { end } else { end.other() };
        let length = random.pick(&[1, 100, 5_000, 70_000]);
        let piece = bytes(&mut random, length);
        trial.send(end, piece);
        if random.below(4) == 0 {
            trial.until(|trial| trial.has_all(end.other()));
        }
    }
    trial.until(|trial| links.iter().all(|end| trial.has_all(*end) && trial.has_all(end.other())));
}

pub fn frames_are_read_as_they_were_sent(seam: &mut dyn Seam) {
    let mut random = Random::new(6);
    let mut trial = Trial::of(seam);
    let (end, mut messages, mut scratch) = (trial.linked(), Vec::new(), BytesMut::new());
    for slot in 1..=30 {
        let lengths = [0, 10, 4_000, random.below(200_000) as usize];
        let values = lengths[..random.within(1, 4) as usize].iter().map(|length| Value::copy_of(&vec![slot; *length]));
        let message = PeerMessage::Paxos(Message::Chosen { from: Slot(slot.into()), values: values.collect() });
        let encoded = peer::encode(&message, &mut scratch);
        for piece in [Some(encoded.head), encoded.tail].into_iter().flatten() {
            trial.send(end, piece.to_vec());
        }
        messages.push(message);
    }
    trial.until(|trial| trial.has_all(end.other()));
    let (mut reader, mut read) = (FrameReader::new(PEER_MAGIC), Vec::new());
    for piece in trial.heard(end.other()).bytes.chunks(1_000) {
        let fed = reader.feed(piece, PEER_FRAME_BYTES_MAX, |frame| {
            read.push(peer::decode(&frame)?);
            Ok::<(), PeerError>(())
        });
        assert!(fed.is_ok(), "frames arrive as they were sent");
    }
    assert!(read == messages, "every frame is read once, in order");
}

pub fn a_close_is_told_behind_what_was_sent(seam: &mut dyn Seam) {
    for closer in [0, 1] {
        let mut trial = Trial::of(seam);
        let end = End { side: closer, ..trial.linked() };
        trial.send(end, vec![3; 100_000]);
        trial.close(end);
        trial.until(|trial| trial.heard(end.other()).closed);
        assert!(trial.has_all(end.other()), "what was sent before the close arrives before it");
        trial.rest();
    }
}

pub fn a_cut_is_told_to_both_ends(seam: &mut dyn Seam) {
    let mut random = Random::new(8);
    for _ in 0..8 {
        let mut trial = Trial::of(seam);
        let end = trial.linked();
        for _ in 0..5 {
            let piece = bytes(&mut random, 60_000);
            trial.send(end, piece.clone());
            trial.send(end.other(), piece);
        }
        trial.seam.cut(end.conn);
        trial.until(|trial| trial.heard(end).closed && trial.heard(end.other()).closed);
        trial.seam.send(end, Bytes::from_static(b"nobody is there"));
        trial.rest();
    }
}

pub fn nothing_of_an_old_connection_arrives_on_a_new_one(seam: &mut dyn Seam) {
    let mut random = Random::new(9);
    let mut trial = Trial::of(seam);
    for _ in 0..6 {
        let old = trial.linked();
        let left = bytes(&mut random, 150_000);
        trial.send(old, left);
        trial.seam.cut(old.conn);
        // Whoever dials anew has not heard yet of the cut, or has.
        if random.below(2) == 0 {
            trial.until(|trial| trial.heard(old).closed);
        }
        let new = trial.linked();
        let said = bytes(&mut random, 1_000);
        trial.send(new, said);
        trial.until(|trial| trial.has_all(new.other()) && trial.heard(old).closed && trial.heard(old.other()).closed);
    }
    trial.rest();
}

pub fn a_blocked_path_keeps_what_was_sent(seam: &mut dyn Seam) {
    let mut random = Random::new(10);
    for paths in [&[(0, 1)][..], &[(1, 0)], &[(0, 1), (1, 0)]] {
        let mut trial = Trial::of(seam);
        let end = trial.linked();
        paths.iter().for_each(|(from, to)| trial.seam.block(*from, *to));
        // More than any buffer between the two takes.
        for _ in 0..20 {
            let piece = bytes(&mut random, 500_000);
            trial.send(end, piece.clone());
            trial.send(end.other(), piece[..1_000].to_vec());
        }
        trial.rest();
        let blocked = |from: usize| paths.iter().any(|path| path.0 == from);
        for from in [end, end.other()] {
            let arrived = trial.heard(from.other()).bytes.len();
            let nothing = arrived == 0;
            assert!(nothing == blocked(from.side), "{arrived} bytes came from {from:?}, blocked are {paths:?}");
        }
        assert!(!trial.heard(end).closed && !trial.heard(end.other()).closed, "a blocked path is no broken one");
        trial.seam.open_all();
        trial.until(|trial| trial.has_all(end) && trial.has_all(end.other()));
    }
}

pub fn a_peer_that_dials_twice_has_two_connections(seam: &mut dyn Seam) {
    let mut trial = Trial::of(seam);
    let (one, two, back) = (trial.linked(), trial.linked(), trial.seam.dial(1, 0));
    trial.until(|trial| trial.heard(back).stands && trial.heard(back.other()).stands);
    for (end, byte) in [(one, 1), (two, 2), (back, 3)] {
        trial.send(end, vec![byte; 10_000]);
        trial.send(end.other(), vec![byte; 10_000]);
    }
    trial.until(|trial| [one, two, back].iter().all(|end| trial.has_all(*end) && trial.has_all(end.other())));
    trial.close(one);
    trial.until(|trial| trial.heard(one.other()).closed);
    trial.send(two, vec![7; 10_000]);
    trial.send(back, vec![8; 10_000]);
    trial.until(|trial| trial.has_all(two.other()) && trial.has_all(back.other()));
    trial.rest();
    assert!([two, back].iter().all(|end| !trial.heard(*end).closed), "one's end is not the others'");
}

pub fn a_process_that_ends_takes_its_connections_along(seam: &mut dyn Seam) {
    let mut trial = Trial::of(seam);
    let ends = [trial.linked(), trial.linked()];
    trial.send(ends[0], vec![1; 30_000]);
    trial.rest();
    trial.done.extend(ends.iter().map(|end| end.other()));
    trial.seam.dies(1);
    trial.until(|trial| ends.iter().all(|end| trial.heard(*end).closed));
    let refused = trial.seam.dial(0, 1);
    trial.until(|trial| trial.heard(refused).failed);
    trial.seam.lives(1);
    let again = trial.linked();
    trial.send(again, vec![2; 30_000]);
    trial.until(|trial| trial.has_all(again.other()));
    trial.rest();
}

const CASES: [Case; 8] = [
    everything_arrives_in_order_both_ways,
    frames_are_read_as_they_were_sent,
    a_close_is_told_behind_what_was_sent,
    a_cut_is_told_to_both_ends,
    nothing_of_an_old_connection_arrives_on_a_new_one,
    a_blocked_path_keeps_what_was_sent,
    a_peer_that_dials_twice_has_two_connections,
    a_process_that_ends_takes_its_connections_along,
];

#[test]
fn the_simulated_network_keeps_to_the_suite() {
    CASES.iter().for_each(|case| case(&mut Simulated::new()));
}

#[test]
fn the_real_network_keeps_to_the_suite() {
    CASES.iter().for_each(|case| case(&mut Real::new()));
}

/// Numbers of dials that came to nothing, behind those of the relay's connections.
const REFUSED: u64 = 1 << 32;
