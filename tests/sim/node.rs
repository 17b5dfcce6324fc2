//! One node: a replica, its front, its disk, its links and its host's clock, driven turn by turn in the order of
//! `server::solo` and `server::core`.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::front::{ConnectionId, Facts, Front, Output};
use quorate::journal::Place;
use quorate::paxos::{Ballot, CellId, Config, Incarnation, MemberChange, Message, ReplicaId, Slot, Value};
use quorate::replica::Replica;
use quorate::replica::exchange::{Borrower, Diverged, Effect, FrontId, FrontRequest, Input, Scrubbed, Trust};
use quorate::time::Instant;
use quorate::wire::client::MemberAddress;
use quorate::wire::peer::PeerMessage;

use super::acls;
use super::disk::{Chore, Disk, NewWrite};
use super::divergence;
use super::links::{Links, replica};
use super::network::{Host, Network, Port};
use super::oracle::Oracle;
use super::plan::Plan;
use super::recovery;
use super::watching::CLOG;
use super::world::{Event, HostClock, MICRO, MILLI, Moment, World, span};

/// A host and what runs on it.
#[derive(Debug)]
pub struct Node {
    pub index: usize,
    /// Times its process was started.
    pub life: u64,
    pub clock: HostClock,
    /// How far its calendar is ahead of a point that nobody knows.
    pub wall_ahead_ms: u64,
    pub disk: Disk,
    pub running: Option<Running>,
    /// The processor does nothing before.
    pub busy_until: Moment,
    incarnation: Incarnation,
    wake: Option<Moment>,
    calls: u64,
    /// How often it started again from an image it fetched.
    pub transfers: u64,
    /// How often it started with a log that could not tell something.
    pub doubts: u64,
    /// It starts with a state that is not what its log makes ([`super::divergence`]).
    pub rotten: bool,
    /// Why it ended, if it found its state to differ.
    pub diverged: Option<Diverged>,
}

/// A process.
#[derive(Debug)]
pub struct Running {
    pub replica: Replica,
    front: Front,
    links: Links,
    inbox: Vec<Happening>,
    names: BTreeMap<u64, ConnectionId>,
    conns: BTreeMap<ConnectionId, u64>,
    last_name: u64,
    inputs: Vec<Input>,
    effects: Vec<Effect>,
    closes: Vec<u64>,
    starts_again: bool,
    diverged: Option<Diverged>,
}

/// What a node's loop finds when it wakes.
#[derive(Debug)]
pub enum Happening {
    Accepted { conn: u64, port: Port },
    Connected { conn: u64 },
    Bytes { conn: u64, bytes: Bytes },
    Closed { conn: u64 },
    Written { token: u64 },
    ChoreDone(Chore),
    NoRoomFor(Chore),
    LogRead { to: ReplicaId, from: Slot, values: Vec<Value> },
    ImageRead { to: Borrower, image: Slot, offset: u64, bytes: Bytes },
    ReadBack { bytes: Option<Bytes> },
    Drained { conn: u64 },
    HandOver,
    Change(MemberChange),
}

/// What surrounds a node.
pub struct Around<'a> {
    pub world: &'a mut World,
    pub network: &'a mut Network,
    pub oracle: &'a mut Oracle,
    pub plan: &'a Plan,
}

impl Node {
    /// A formatted node that does not run yet.
    pub fn new(index: usize, plan: &Plan, clock: HostClock) -> Self {
        let incarnation = incarnation(index);
        let disk = recovery::format(plan, index, incarnation, Config::of_voters);
        Self {
            index,
            life: 0,
            clock,
            wall_ahead_ms: 0,
            disk,
            running: None,
            busy_until: 0,
            incarnation,
            wake: None,
            calls: 0,
            transfers: 0,
            doubts: 0,
            rotten: false,
            diverged: None,
        }
    }

    /// The disk that counts now.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The disk is lost, and there is another, made to join the cell. Nothing runs.
    pub fn replace_disk(&mut self, around: &mut Around<'_>) {
        assert!(self.running.is_none(), "a running node's disk is not replaced");
        self.life += 1;
        self.incarnation.0 += 1 << 64;
        self.disk = recovery::format(around.plan, self.index, self.incarnation, Config::of_strangers);
        around.oracle.replaced(self.index, self.incarnation);
    }

    /// The process starts from what the disk holds.
    pub fn start(&mut self, around: &mut Around<'_>) {
        assert!(self.running.is_none(), "a node runs one process");
        self.life += 1;
        let now = self.clock.read(around.world.now);
        let seed = around.world.random.draw();
        let moment = around.world.now;
        let Some(mut found) = recovery::recover(&mut self.disk, around.plan, &mut around.world.random, moment) else {
            let delay = around.world.random.around(10 * MILLI);
            return around.world.after(delay, Event::Start { node: self.index });
        };
        self.doubts += u64::from(!found.doubtful.is_empty());
        around.oracle.recovered(self.index, &found);
        if self.rotten {
            divergence::rot(&mut found.recovered.namespace, self.index);
        }
        let settings = around.plan.settings(self.index, self.incarnation, seed);
        let started = Replica::start(now, settings, found.recovered, 1, u128::from(seed));
        let plan = around.plan;
        let members = (0..plan.nodes).map(|node| MemberAddress { replica: replica(node), address: address(node) });
        let facts = Facts {
            cell: CELL,
            replica: replica(self.index),
            members: members.collect(),
            timeout_min: span(2_000 * MILLI),
            timeout_max: span(60_000 * MILLI),
            seed: around.world.random.draw(),
            past_bytes_max: plan.past_bytes,
            super_user: Some(acls::super_user()),
            rate: plan.rate,
        };
        self.running = Some(Running {
            replica: started,
            front: Front::new(facts),
            links: Links::new(self.index, CELL, self.incarnation, plan.nodes),
            inbox: Vec::new(),
            names: BTreeMap::new(),
            conns: BTreeMap::new(),
            last_name: 0,
            inputs: Vec::new(),
            effects: Vec::new(),
            closes: Vec::new(),
            starts_again: false,
            diverged: None,
        });
        around.network.started(Host::Node(self.index));
        self.wake_at(around.world, around.world.now);
    }

    /// The process dies; with the host, if it does not live on.
    pub fn crash(&mut self, around: &mut Around<'_>, host_lives: bool) {
        let Some(running) = self.running.take() else { return };
        self.life += 1;
        let reached = running.replica.log_reaches_back_to();
        self.disk.crash(&mut around.world.random, around.plan.damaged_images, reached, around.plan.tears);
        around.network.died(around.world, Host::Node(self.index), host_lives);
        around.oracle.crashed(self.index);
        if !host_lives {
            let origin = around.world.random.below(super::world::SECOND);
            self.clock.reboot(around.world.now, origin);
            self.busy_until = 0;
        }
        self.wake = None;
        self.calls += 1;
    }

    /// The process puts another in its place, with nothing under way.
    fn start_again(&mut self, around: &mut Around<'_>) {
        self.transfers += 1;
        self.disk.assert_at_rest();
        self.crash(around, true);
        let delay = around.world.random.around(MILLI);
        around.world.after(delay, Event::Start { node: self.index });
    }

    /// Something happened that the loop will find.
    pub fn happens(&mut self, world: &mut World, happening: Happening) {
        let Some(running) = &mut self.running else { return };
        running.inbox.push(happening);
        let latency = world.random.below(20 * MICRO);
        self.wake_at(world, world.now + latency);
    }

    /// A wake-up came; whether it is the newest.
    pub fn is_called(&self, call: u64) -> bool {
        self.running.is_some() && self.calls == call
    }

    /// One turn of the loop.
    pub fn turn(&mut self, around: &mut Around<'_>) {
        let begun = around.world.now;
        self.wake = None;
        if begun < self.busy_until {
            return self.wake_at(around.world, self.busy_until);
        }
        let Some(mut running) = self.running.take() else { return };
        let now = self.clock.read(begun);
        for happening in std::mem::take(&mut running.inbox) {
            running.event(now, around, happening);
        }
        pass(around);
        around.oracle.now = around.world.now;
        let restless = self.settle(&mut running, around);
        if !self.rotten {
            around.oracle.looked_at(self.index, &running.replica);
        }
        let deadline = if restless { around.world.now } else { self.deadline(&running, around.world.now) };
        self.busy_until = self.busy_until.max(around.world.now);
        around.world.now = begun;
        let closed: Vec<u64> = running.closes.drain(..).collect();
        running.inbox.extend(closed.into_iter().map(|conn| Happening::Closed { conn }));
        let busy = !running.inbox.is_empty();
        let starts_again = running.starts_again;
        self.diverged = running.diverged.take();
        self.running = Some(running);
        if self.diverged.is_some() {
            return self.crash(around, true);
        }
        if starts_again {
            return self.start_again(around);
        }
        self.wake_at(around.world, if busy { self.busy_until } else { deadline });
    }

    fn deadline(&self, running: &Running, moment: Moment) -> Moment {
        let now = self.clock.read(moment);
        let due = running.replica.next_deadline(now).min(running.front.next_deadline());
        self.clock.moment_of(due).min(running.links.next_dial())
    }

    fn wake_at(&mut self, world: &mut World, moment: Moment) {
        let moment = moment.max(self.busy_until).max(world.now);
        if self.wake.is_none_or(|at| moment < at) {
            self.wake = Some(moment);
            self.calls += 1;
            if moment != Moment::MAX {
                world.at(moment, Event::Turn { node: self.index, call: self.calls });
            }
        }
    }

    /// Ends the turn. Returns whether there is more to do at once.
    fn settle(&mut self, running: &mut Running, around: &mut Around<'_>) -> bool {
        let now = self.clock.read(around.world.now);
        for _ in 0..ROUNDS_A_TURN {
            let lease = running.replica.lease();
            let leased = lease.ballot != Ballot::NONE && now < lease.until;
            let mut requests = Vec::new();
            running.front.prepare(now, leased, &mut requests);
            requests.into_iter().for_each(|request| running.front_asks(now, request));
            self.end_turn(running, now, around);
            let (replica, clock) = (&running.replica, &self.clock);
            let mut held = false;
            let still_leased = || {
                pass(around);
                let lease_now = replica.lease();
                held = lease_now.ballot == lease.ballot && clock.read(around.world.now) < lease_now.until;
                held
            };
            let answered = running.front.finish(now, replica.tree(), leased, still_leased);
            assert!(held || !answered, "reads leave only once the lease was seen to hold after they were answered");
            if answered {
                running.front_asks(now, FrontRequest::LeaseUsed);
            }
            if !running.front.is_restless() {
                break;
            }
        }
        running.send_to_clients((self.index, self.life), around);
        running.front.is_restless()
    }

    fn end_turn(&mut self, running: &mut Running, now: Instant, around: &mut Around<'_>) {
        if running.replica.next_deadline(now) <= now {
            running.step(now, Input::Tick);
        }
        let wall_ms = 1_700_000_000_000 + self.wall_ahead_ms + around.world.now / MILLI;
        running.step(now, Input::TurnEnd { wall_ms });
        let mut others = Vec::new();
        for effect in std::mem::take(&mut running.effects) {
            match effect {
                Effect::Front { notice, .. } => running.front.notice(notice, running.replica.tree()),
                other => others.push(other),
            }
        }
        pass(around);
        running.links.dial(around.world, around.network);
        for effect in others {
            self.perform(running, effect, around);
        }
        for conn in &running.closes {
            around.network.close(around.world, *conn, Host::Node(self.index));
        }
    }

    fn perform(&mut self, running: &mut Running, effect: Effect, around: &mut Around<'_>) {
        let of = (self.index, self.life);
        match effect {
            Effect::Peer { to, message } => {
                if let PeerMessage::Paxos(Message::Promise { ballot, .. }) = &message {
                    let proved = around.oracle.proved(self.index);
                    let durable = recovery::durable_promise(&self.disk).max(proved);
                    assert!(durable >= *ballot, "node {} promises {ballot:?}, its disk {durable:?}", self.index);
                }
                around.oracle.says(self.index, to, &message);
                running.links.send(around.world, around.network, to, &message);
            }
            Effect::Write { token, file, offset, pieces } => {
                let write = NewWrite { file, offset, pieces };
                self.disk.write(around.world, &around.plan.disk, of, token, write);
            }
            Effect::PrepareSegment { segment } => self.disk.chore(around.world, of, Chore::Zero { segment }),
            Effect::RecycleSegment { from, segment } => {
                self.disk.chore(around.world, of, Chore::Recycle { from, segment });
            }
            Effect::RemoveSegment { segment } => self.disk.chore(around.world, of, Chore::Remove { segment }),
            Effect::BeginImage { slot } => self.disk.chore(around.world, of, Chore::Begin { slot }),
            Effect::ImagePiece { slot, bytes } => self.disk.chore(around.world, of, Chore::Piece { slot, bytes }),
            Effect::DiscardImage { slot } => self.disk.chore(around.world, of, Chore::Discard { slot }),
            Effect::ReadImage { to, image, offset, bytes } => {
                let delay = around.world.random.around(around.plan.disk.latency);
                // Small pieces: a transfer takes long enough to be interrupted. Reads and removals are done in the order
                // in which they were asked for, so the image is still there.
                let file = &self.disk.images[&image];
                let rest = file.get(offset as usize..).unwrap_or_default();
                let bytes = Bytes::copy_from_slice(&rest[..bytes.min(around.plan.transfer_bytes).min(rest.len())]);
                around.world.after(delay, Event::ImageRead { node: of.0, life: of.1, to, image, offset, bytes });
            }
            Effect::ReadBack { file, offset, bytes } => {
                let delay = around.world.random.around(around.plan.disk.latency);
                around.world.after(delay, Event::ReadBack { node: of.0, life: of.1, file, offset, bytes });
            }
            Effect::Scrubbed(Scrubbed::Damaged { .. }) => self.disk.found_damaged += 1,
            Effect::Scrubbed(Scrubbed::Pass { .. }) => self.disk.scrubbed += 1,
            Effect::Diverged(diverged) => running.diverged = Some(diverged),
            Effect::StartAgain => running.starts_again = true,
            Effect::FinishImage { slot } => self.disk.chore(around.world, of, Chore::Finish { slot }),
            Effect::RemoveImage { slot } => self.disk.chore(around.world, of, Chore::RemoveImage { slot }),
            Effect::ReadLog { to, from, places } => {
                let delay = around.world.random.around(around.plan.disk.latency);
                around.world.after(delay, Event::LogRead { node: of.0, life: of.1, to, from, places });
            }
            Effect::Front { .. } => unreachable!("notices were told before"),
        }
    }

    /// Whether its front may answer reads without asking anybody.
    pub fn is_leased(&self, moment: Moment) -> bool {
        let lease = self.running.as_ref().map(|running| running.replica.lease());
        lease.is_some_and(|lease| lease.ballot != Ballot::NONE && self.clock.read(moment) < lease.until)
    }

    /// What it is about, for whoever finds it stuck.
    pub fn story(&self) -> String {
        let Some(running) = &self.running else { return format!("node {}: down", self.index) };
        let (status, inbox) = (running.replica.paxos().status(), running.inbox.len());
        let (lease, sessions) = (running.replica.lease(), running.replica.namespace().session_count());
        let journal = running.replica.storage().journal();
        let (used, free, waits) = (journal.used_bytes(), journal.free_bytes(), journal.queued_bytes());
        format!(
            "node {}: {status:?}, {lease:?}, inbox {inbox}, {sessions} sessions, journal {used}, {free} free, {waits} wait, \
             images {:?}",
            self.index,
            self.disk.images.keys()
        )
    }

    /// The background read of a lagging peer's values.
    pub fn read_log(&self, places: &[Place]) -> Vec<Value> {
        let read = |place| recovery::read_value(&self.disk, self.index, self.incarnation, place);
        places.iter().map_while(read).collect()
    }
}

impl Running {
    fn event(&mut self, now: Instant, around: &mut Around<'_>, happening: Happening) {
        match happening {
            Happening::Accepted { conn, port: Port::Peers } => self.links.accepted(conn),
            Happening::Accepted { conn, port: Port::Clients } => {
                self.last_name += 1;
                let name = ConnectionId(self.last_name);
                self.names.insert(conn, name);
                self.conns.insert(name, conn);
                let client = around.network.dialler(conn);
                self.front.opened(now, name, Some(acls::address(client)));
            }
            Happening::Connected { conn } => {
                self.links.connected(around.world, around.network, conn, &mut self.inputs);
            }
            Happening::Bytes { conn, bytes } => match self.names.get(&conn) {
                Some(name) => self.front.received(now, *name, &bytes),
                None => {
                    if !self.links.received(conn, &bytes, &mut self.inputs) {
                        self.closes.push(conn);
                    }
                }
            },
            Happening::Closed { conn } => {
                if let Some(name) = self.names.remove(&conn) {
                    self.conns.remove(&name);
                    self.front.closed(name);
                } else if self.links.owns(conn) {
                    self.closes.extend(self.links.closed(around.world.now, conn, &mut self.inputs));
                }
            }
            Happening::Written { token } => self.step(now, Input::Written { token }),
            Happening::ChoreDone(chore) => self.chore_done(now, &chore),
            Happening::NoRoomFor(chore) => self.no_room_for(now, &chore),
            Happening::LogRead { to, from, values } => self.step(now, Input::LogRead { to, from, values }),
            Happening::ImageRead { to, image, offset, bytes } => {
                self.step(now, Input::ImageRead { to, image, offset, bytes });
            }
            Happening::ReadBack { bytes } => self.step(now, Input::ReadBack { bytes }),
            Happening::Drained { conn } => {
                if let Some(name) = self.names.get(&conn) {
                    self.front.drained(*name);
                }
            }
            Happening::HandOver => self.step(now, Input::HandOver),
            Happening::Change(change) => {
                let (trust, change) = (Trust::Super, Some(change));
                self.front_asks(now, FrontRequest::Members { ticket: NOBODYS_TICKET, trust, change });
            }
        }
        for input in std::mem::take(&mut self.inputs) {
            self.step(now, input);
        }
    }

    fn chore_done(&mut self, now: Instant, chore: &Chore) {
        match *chore {
            Chore::Zero { segment } | Chore::Recycle { segment, .. } => {
                self.step(now, Input::SegmentReady { segment });
            }
            Chore::Piece { slot, .. } => self.step(now, Input::ImageWritten { slot }),
            Chore::Finish { slot } => self.step(now, Input::ImageDurable { slot }),
            Chore::Begin { .. } | Chore::Discard { .. } | Chore::Remove { .. } | Chore::RemoveImage { .. } => {}
        }
    }

    fn no_room_for(&mut self, now: Instant, chore: &Chore) {
        match *chore {
            Chore::Zero { .. } => self.step(now, Input::NoRoomForSegment),
            Chore::Piece { slot, .. } | Chore::Finish { slot } => self.step(now, Input::NoRoomForImage { slot }),
            ref other => unreachable!("{other:?} needs no room"),
        }
    }

    fn step(&mut self, now: Instant, input: Input) {
        self.replica.step(now, input, &mut self.effects);
    }

    fn front_asks(&mut self, now: Instant, request: FrontRequest) {
        self.step(now, Input::Front { front: FrontId(0), request });
    }

    fn send_to_clients(&mut self, (index, life): (usize, u64), around: &mut Around<'_>) {
        let (conns, closes) = (&self.conns, &mut self.closes);
        let mut clogged = Vec::new();
        self.front.take_output(|output| match output {
            Output::Send { connection, bytes } => {
                if let Some(conn) = conns.get(&connection) {
                    around.network.send(around.world, *conn, Host::Node(index), bytes);
                    if around.world.random.permille(around.plan.clogs) {
                        let until = around.world.random.below(CLOG);
                        around.world.after(until, Event::Drained { node: index, life, conn: *conn });
                        clogged.push(connection);
                    }
                }
            }
            Output::Close { connection } => {
                if let Some(conn) = conns.get(&connection) {
                    around.network.close(around.world, *conn, Host::Node(index));
                    closes.push(*conn);
                }
            }
        });
        clogged.into_iter().for_each(|connection| self.front.clogged(connection));
    }
}

/// A moment goes by between two actions of one turn; now and then a long one, as when the process is not scheduled.
fn pass(around: &mut Around<'_>) {
    let world = &mut *around.world;
    let long = world.random.permille(around.plan.hiccups);
    world.now += if long { world.random.below(2 * around.plan.lease) } else { world.random.below(5 * MICRO) };
}

/// A node's first disk.
pub fn incarnation(node: usize) -> Incarnation {
    Incarnation(0xfeed_0000_0000_0000_0000_0000_0000_0001 + node as u128)
}

/// A node's name for clients.
pub fn address(node: usize) -> String {
    format!("node{node}:7400")
}

/// The cell of every run.
pub const CELL: CellId = CellId(0x0c0f_fee0);

/// What is asked by no client.
const NOBODYS_TICKET: u64 = u64::MAX;

const ROUNDS_A_TURN: usize = 3;
