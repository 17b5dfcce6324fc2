//! The network: connections that stall, break at any moment, and are known to be broken at one end before the other.
//!
//! A connection carries each way an ordered stream of bytes; what a blocked path holds up arrives when it opens, or is
//! lost with the connection. In a *harsh* run peers' frames are also dropped, doubled, reordered and replayed one by one, on
//! the next connection between the same two processes too, which no TCP does and the protocol must survive all the same.
//!
//! What a client sends may be held up on its one connection, which TCP does: other connections between the same two hosts go
//! on. It arrives when the client has given that one up and speaks on another, perhaps to another replica, where it has said
//! the same again; whoever it dialled first has not heard yet that nobody is there any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};

use super::world::{Event, MICRO, MILLI, Moment, SECOND, Side, World};

/// A process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Host {
    Node(usize),
    Client(usize),
}

/// Which listener is dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    Peers,
    Clients,
}

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct Conduct {
    pub latency: Moment,
    /// Packets that must be sent again, in a thousand.
    pub loss: u64,
    /// Peers' frames dropped, doubled, reordered, replayed long after, in a thousand.
    pub dropped: u64,
    pub doubled: u64,
    pub reordered: u64,
    pub replayed: u64,
    /// Deliveries in which a bit is another one, in a thousand.
    pub flipped: u64,
    /// Pieces sent by clients, in a thousand, that are held up, with all that is sent behind them on that connection, until
    /// it was given up and a while longer.
    pub held: u64,
    /// Bytes are delivered in pieces of their own.
    pub cut: bool,
}

impl Conduct {
    pub fn is_harsh(&self) -> bool {
        self.dropped + self.doubled + self.reordered + self.replayed > 0
    }

    /// No faults any more.
    pub fn calm_down(&mut self) {
        (self.loss, self.dropped, self.doubled, self.reordered, self.replayed) = (0, 0, 0, 0, 0);
        (self.flipped, self.held) = (0, 0);
    }
}

/// What reaches a process.
#[derive(Debug)]
pub enum Arrival {
    Accepted { conn: u64, at: Host, port: Port },
    Connected { conn: u64, at: Host },
    Failed { conn: u64, at: Host },
    Bytes { conn: u64, at: Host, bytes: Bytes },
    Closed { conn: u64, at: Host },
}

/// Every connection there is.
#[derive(Debug)]
pub struct Network {
    pub conduct: Conduct,
    /// Frames leave the order of their links, or did: some may still be on their way.
    strays: bool,
    conns: BTreeMap<u64, Conn>,
    /// Who dialled each connection there ever was, and whom.
    ends: BTreeMap<u64, [Host; 2]>,
    /// The last connection before each process that runs was started: no later one is another process's.
    started_after: BTreeMap<Host, u64>,
    last: u64,
    blocked: BTreeSet<(Host, Host)>,
    down: BTreeMap<Host, bool>,
}

#[derive(Debug)]
struct Conn {
    ends: [Host; 2],
    port: Port,
    /// Whether the process at that end still has it.
    open: [bool; 2],
    sent: [Stream; 2],
    give_up_at: Moment,
}

#[derive(Debug, Default)]
struct Stream {
    pieces: VecDeque<(Moment, Bytes)>,
    last: Moment,
    flowing: bool,
    /// Something of it was lost: nothing behind that arrives.
    broken: bool,
    /// Nothing of it arrives before.
    held_until: Moment,
}

impl Network {
    pub fn new(conduct: Conduct) -> Self {
        Self {
            strays: conduct.is_harsh(),
            conduct,
            conns: BTreeMap::new(),
            ends: BTreeMap::new(),
            started_after: BTreeMap::new(),
            last: 0,
            blocked: BTreeSet::new(),
            down: BTreeMap::new(),
        }
    }

    /// Nothing more goes from `from` to `to`.
    pub fn block(&mut self, from: Host, to: Host) {
        self.blocked.insert((from, to));
    }

    /// Every path is open again.
    pub fn unblock_all(&mut self) {
        self.blocked.clear();
    }

    /// `from` dials `to`.
    pub fn dial(&mut self, world: &mut World, from: Host, to: Host, port: Port) -> u64 {
        self.last += 1;
        let conn = self.last;
        self.ends.insert(conn, [from, to]);
        let give_up_at = world.now + world.random.within(200 * MILLI, SECOND);
        let sent = [Stream::default(), Stream::default()];
        self.conns.insert(conn, Conn { ends: [from, to], port, open: [true, false], sent, give_up_at });
        let delay = self.delay(world);
        world.after(delay, Event::Dialled { conn });
        conn
    }

    /// Which client dialled.
    pub fn dialler(&self, conn: u64) -> usize {
        match self.ends[&conn][0] {
            Host::Client(client) => client,
            Host::Node(node) => unreachable!("node {node} is nobody's client"),
        }
    }

    /// `from` sends bytes, in order with what it sent before.
    pub fn send(&mut self, world: &mut World, conn: u64, from: Host, bytes: Bytes) {
        let delay = self.delay(world);
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let Some(side) = c.side_of(from).filter(|side| c.open[*side]) else { return };
        if !c.open[1 - side] {
            world.after(2 * delay, Event::Closed { conn, side, surely: false });
            return;
        }
        let from_client = c.port == Port::Clients && side == 0;
        let stream = &mut c.sent[side];
        if stream.broken {
            return;
        }
        if from_client && self.conduct.held > 0 && world.random.permille(self.conduct.held) {
            stream.held_until = Moment::MAX;
        }
        let at = stream.last.max(world.now + delay);
        stream.last = at;
        stream.pieces.push_back((at, bytes));
        if !std::mem::replace(&mut stream.flowing, true) {
            world.at(at, Event::Flow { conn, side });
        }
    }

    /// `from` sends one frame of a peer link, which a harsh network treats as it likes.
    pub fn send_frame(&mut self, world: &mut World, conn: u64, from: Host, frame: Bytes) {
        if world.chance("dropped-frame", self.conduct.dropped) {
            return;
        }
        if self.conduct.replayed > 0 && world.random.permille(self.conduct.replayed) {
            let delay = world.random.around(500 * MILLI);
            world.after(delay, Event::Stray { conn, frame: frame.clone() });
        }
        let copies = 1 + u64::from(world.chance("doubled-frame", self.conduct.doubled));
        for copy in 0..copies {
            if copy > 0 || world.chance("reordered-frame", self.conduct.reordered) {
                let delay = self.delay(world) + world.random.around(20 * self.conduct.latency);
                world.after(delay, Event::Stray { conn, frame: frame.clone() });
            } else {
                self.send(world, conn, from, frame.clone());
            }
        }
    }

    /// `from` is done with the connection; the other end learns it behind everything sent before.
    pub fn close(&mut self, world: &mut World, conn: u64, from: Host) {
        let delay = self.delay(world);
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let Some(side) = c.side_of(from).filter(|side| c.open[*side]) else { return };
        c.open[side] = false;
        if c.sent[side].held_until > world.now {
            // About when it stands on another connection, or when it has done much there.
            let longest = world.random.pick(&[10 * self.conduct.latency, 20 * MILLI, SECOND]);
            c.sent[side].held_until = world.now + world.random.below(longest);
            world.at(c.sent[side].held_until, Event::Flow { conn, side });
        }
        let at = c.sent[side].last.max(world.now) + delay;
        world.at(at, Event::Closed { conn, side: 1 - side, surely: false });
        self.forget_if_done(conn);
    }

    /// A connection breaks; each end learns it in its own time. False if there is none.
    pub fn break_one(&mut self, world: &mut World) -> bool {
        let all: Vec<u64> = self.conns.iter().filter(|(_, c)| c.open == [true, true]).map(|(conn, _)| *conn).collect();
        if all.is_empty() {
            return false;
        }
        let conn = world.random.pick(&all);
        self.break_conn(world, conn, 50 * MILLI);
        true
    }

    /// A process ended. Its host goes on and says so, or is gone without a word.
    pub fn died(&mut self, world: &mut World, host: Host, host_lives: bool) {
        self.down.insert(host, host_lives);
        let all: Vec<u64> = self.conns.iter().filter(|(_, c)| c.ends.contains(&host)).map(|(id, _)| *id).collect();
        for conn in all {
            if host_lives {
                self.close(world, conn, host);
            } else {
                let silence = world.random.within(100 * MILLI, 3 * SECOND);
                self.break_conn(world, conn, silence);
                let c = self.conns.get_mut(&conn).expect("a broken connection is there until its ends know");
                let side = c.side_of(host).expect("it is one of the ends");
                c.open[side] = false;
            }
            self.forget_if_done(conn);
        }
    }

    /// A process that was not started yet.
    pub fn absent(&mut self, host: Host) {
        self.down.insert(host, true);
    }

    /// A process listens again.
    pub fn started(&mut self, host: Host) {
        self.down.remove(&host);
        self.started_after.insert(host, self.last);
    }

    pub fn dialled(&mut self, world: &mut World, conn: u64) -> Option<Arrival> {
        let delay = self.delay(world);
        let c = self.conns.get_mut(&conn)?;
        let [from, to] = c.ends;
        let cut_off = self.blocked.contains(&(from, to)) || self.blocked.contains(&(to, from));
        match self.down.get(&to) {
            _ if cut_off && world.now < c.give_up_at => {
                world.after(delay + 20 * MILLI, Event::Dialled { conn });
                None
            }
            None if !cut_off && c.open[0] => {
                c.open[1] = true;
                world.after(delay, Event::DialDone { conn, stands: true });
                Some(Arrival::Accepted { conn, at: to, port: c.port })
            }
            Some(false) if world.now < c.give_up_at => {
                world.at(c.give_up_at, Event::Dialled { conn });
                None
            }
            _ => {
                world.after(delay, Event::DialDone { conn, stands: false });
                None
            }
        }
    }

    pub fn dial_done(&mut self, conn: u64, stands: bool) -> Option<Arrival> {
        let c = self.conns.get_mut(&conn)?;
        if !c.open[0] {
            return None;
        }
        if stands {
            return Some(Arrival::Connected { conn, at: c.ends[0] });
        }
        let at = c.ends[0];
        self.conns.remove(&conn);
        Some(Arrival::Failed { conn, at })
    }

    pub fn flow(&mut self, world: &mut World, conn: u64, side: Side) -> Option<Arrival> {
        let delay = self.delay(world);
        let c = self.conns.get_mut(&conn)?;
        let (from, to) = (c.ends[side], c.ends[1 - side]);
        // A stray frame may come between two whole frames, not into the middle of one.
        let whole = c.port == Port::Peers && self.strays;
        let (cut, receiver_open) = (self.conduct.cut && !whole, c.open[1 - side]);
        let given_up = c.port == Port::Clients && side == 0 && !c.open[0];
        let stream = &mut c.sent[side];
        if !receiver_open {
            stream.pieces.clear();
            stream.flowing = false;
            world.after(delay, Event::Closed { conn, side, surely: false });
            return None;
        }
        let held = self.conduct.held > 0 && world.now < stream.held_until;
        if held || self.blocked.contains(&(from, to)) {
            world.after(delay + 20 * MILLI, Event::Flow { conn, side });
            return None;
        }
        let mut bytes = BytesMut::new();
        while stream.pieces.front().is_some_and(|(at, _)| *at <= world.now) {
            let (_, piece) = stream.pieces.pop_front().expect("it was just seen");
            bytes.extend_from_slice(&piece);
        }
        let mut bytes = bytes.freeze();
        if cut && bytes.len() > 1 && world.random.below(3) == 0 {
            let kept = world.random.within(1, bytes.len() as u64 - 1) as usize;
            stream.pieces.push_front((world.now + world.random.below(50 * MICRO), bytes.split_off(kept)));
        }
        stream.flowing = !stream.pieces.is_empty();
        if let Some((at, _)) = stream.pieces.front() {
            world.at((*at).max(world.now), Event::Flow { conn, side });
        }
        if self.conduct.flipped > 0 && !bytes.is_empty() && world.chance("flipped-bit", self.conduct.flipped) {
            bytes = flipped(world, &bytes);
        }
        if given_up && !bytes.is_empty() && self.stands_since(conn, from) {
            world.chances.push("late-piece");
        }
        (!bytes.is_empty()).then_some(Arrival::Bytes { conn, at: to, bytes })
    }

    /// A frame that left the order of its link arrives, on the newest connection that its two processes have since.
    pub fn stray(&mut self, world: &mut World, conn: u64, frame: Bytes) -> Option<Arrival> {
        let [from, to] = self.ends[&conn];
        let are_the_same = [from, to].iter().all(|host| self.started_after.get(host).is_none_or(|last| *last < conn));
        let is_next = |c: &Conn| c.ends == [from, to] && c.port == Port::Peers && c.open == [true, true];
        let newest = self.conns.range(conn..).rfind(|(_, c)| are_the_same && is_next(c)).map(|(newest, _)| *newest);
        let conn = match newest {
            Some(newest) if newest != conn => {
                world.chances.push("replayed-frame");
                newest
            }
            _ => conn,
        };
        let gets_through = self.conns.get(&conn)?.open[1] && !self.blocked.contains(&(from, to));
        gets_through.then_some(Arrival::Bytes { conn, at: to, bytes: frame })
    }

    pub fn closed(&mut self, world: &mut World, conn: u64, side: Side, surely: bool) -> Option<Arrival> {
        let delay = self.delay(world);
        let c = self.conns.get_mut(&conn)?;
        if !c.open[side] {
            self.forget_if_done(conn);
            return None;
        }
        let (at, other) = (c.ends[side], c.ends[1 - side]);
        let behind = !c.sent[1 - side].pieces.is_empty();
        if !surely && (behind || self.blocked.contains(&(other, at))) {
            world.after(delay + 5 * MILLI, Event::Closed { conn, side, surely });
            return None;
        }
        c.open[side] = false;
        self.forget_if_done(conn);
        Some(Arrival::Closed { conn, at })
    }

    pub fn break_conn(&mut self, world: &mut World, conn: u64, within: Moment) {
        // One that is being dialled is not there yet: its other end could not be told.
        let Some(c) = self.conns.get_mut(&conn).filter(|c| c.open == [true, true]) else { return };
        for side in [0, 1] {
            if world.random.below(2) == 0 {
                c.sent[side].pieces.clear();
                c.sent[side].broken = true;
            }
            let delay = world.random.below(within) + 1;
            world.after(delay, Event::Closed { conn, side, surely: true });
        }
    }

    /// Whether that client has come to another connection since.
    fn stands_since(&self, conn: u64, client: Host) -> bool {
        self.conns.range(conn + 1..).any(|(_, later)| later.ends[0] == client && later.open == [true, true])
    }

    fn forget_if_done(&mut self, conn: u64) {
        let done = |c: &Conn| c.open == [false, false] && c.sent.iter().all(|stream| stream.pieces.is_empty());
        if self.conns.get(&conn).is_some_and(done) {
            self.conns.remove(&conn);
        }
    }

    fn delay(&self, world: &mut World) -> Moment {
        let sent_again =
            if world.chance("lost-packet", self.conduct.loss) { world.random.around(30 * MILLI) } else { 0 };
        world.random.around(self.conduct.latency) + sent_again
    }
}

/// The bytes with one bit turned over.
fn flipped(world: &mut World, bytes: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    let bit = world.random.below(8 * bytes.len() as u64) as usize;
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes.into()
}

impl Conn {
    fn side_of(&self, host: Host) -> Option<Side> {
        self.ends.iter().position(|end| *end == host)
    }
}

#[test]
fn what_a_client_has_given_up_arrives_when_it_stands_elsewhere() {
    let (client, nodes) = (Host::Client(0), [Host::Node(0), Host::Node(1)]);
    let late = |seed: u64| {
        let conduct = Conduct {
            latency: MILLI,
            loss: 0,
            dropped: 0,
            doubled: 0,
            reordered: 0,
            replayed: 0,
            flipped: 0,
            held: 1000,
            cut: false,
        };
        let (mut world, mut network) = (World::new(seed), Network::new(conduct));
        let given_up = network.dial(&mut world, client, nodes[0], Port::Clients);
        assert!(arrivals(&mut world, &mut network, 100 * MILLI).is_empty(), "nobody has said anything");
        network.send(&mut world, given_up, client, Bytes::from_static(b"once"));
        assert!(arrivals(&mut world, &mut network, SECOND).is_empty(), "it is held up while its sender waits");
        network.close(&mut world, given_up, client);
        // The same replica or another one.
        network.dial(&mut world, client, nodes[(seed % 2) as usize], Port::Clients);
        let arrived = arrivals(&mut world, &mut network, 3 * SECOND);
        assert_eq!(arrived, [(given_up, nodes[0], Bytes::from_static(b"once"))], "it arrives once, where it was sent");
        world.chances.contains(&"late-piece")
    };
    assert!((0..40).filter(|seed| late(*seed)).count() > 0, "its sender stands on another connection by then");
}

/// The bytes that arrive within so long.
fn arrivals(world: &mut World, network: &mut Network, span: Moment) -> Vec<(u64, Host, Bytes)> {
    let (until, mut arrived) = (world.now + span, Vec::new());
    while let Some(event) = world.next(until) {
        let arrival = match event {
            Event::Dialled { conn } => network.dialled(world, conn),
            Event::DialDone { conn, stands } => network.dial_done(conn, stands),
            Event::Flow { conn, side } => network.flow(world, conn, side),
            Event::Closed { conn, side, surely } => network.closed(world, conn, side, surely),
            other => panic!("there is nothing but a network here: {other:?}"),
        };
        if let Some(Arrival::Bytes { conn, at, bytes }) = arrival {
            arrived.push((conn, at, bytes));
        }
    }
    world.now = until;
    arrived
}
