//! Fronts: the one that shares the replica's core, or several on cores of their own, as `server::many` drives them.
//!
//! A front apart has its own copy of the tree, and knows of the replica what it was told through a ring, which takes its
//! time, and what the replica's core publishes: how far the state is applied, and the lease. It turns when it is woken, and
//! now and then not for long. Its turn takes no time: what the replica does meanwhile has then not happened yet, and a
//! lease that is looked at twice is looked at in the same moment. The front that shares a core shows what lies between.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate::front::{ConnectionId, Front, Output};
use quorate::namespace::Tree;
use quorate::paxos::{Ballot, Lease, Slot};
use quorate::replica::exchange::{FrontNotice, FrontRequest};
use quorate::time::Instant;

use super::acls;
use super::network::Host;
use super::node::{Around, Node};
use super::watching::CLOG;
use super::world::{Event, HostClock, MICRO, MILLI, Moment, World};

/// A front, and the connections it serves.
#[derive(Debug)]
pub struct Seat {
    pub front: Front,
    names: BTreeMap<u64, ConnectionId>,
    conns: BTreeMap<ConnectionId, u64>,
    last_name: u64,
}

impl Seat {
    pub fn new(front: Front) -> Self {
        Self { front, names: BTreeMap::new(), conns: BTreeMap::new(), last_name: 0 }
    }

    /// Whether that connection is served here.
    pub fn has(&self, conn: u64) -> bool {
        self.names.contains_key(&conn)
    }

    pub fn accepted(&mut self, now: Instant, conn: u64, client: usize) {
        self.last_name += 1;
        let name = ConnectionId(self.last_name);
        self.names.insert(conn, name);
        self.conns.insert(name, conn);
        self.front.opened(now, name, Some(acls::address(client)));
    }

    pub fn received(&mut self, now: Instant, conn: u64, bytes: &Bytes) {
        if let Some(name) = self.names.get(&conn) {
            self.front.received(now, *name, bytes);
        }
    }

    pub fn drained(&mut self, conn: u64) {
        if let Some(name) = self.names.get(&conn) {
            self.front.drained(*name);
        }
    }

    pub fn closed(&mut self, conn: u64) {
        if let Some(name) = self.names.remove(&conn) {
            self.conns.remove(&name);
            self.front.closed(name);
        }
    }

    /// Sends what was written. Returns the connections that came to their end here.
    pub fn send(&mut self, (index, life): (usize, u64), around: &mut Around<'_>) -> Vec<u64> {
        let conns = &self.conns;
        let (mut over, mut clogged) = (Vec::new(), Vec::new());
        self.front.take_output(|output| match output {
            Output::Send { connection, bytes } => {
                if let Some(conn) = conns.get(&connection) {
                    around.network.send(around.world, *conn, Host::Node(index), bytes);
                    if around.world.chance("clog", around.plan.clogs) {
                        let until = around.world.random.below(CLOG);
                        around.world.after(until, Event::Drained { node: index, life, conn: *conn });
                        clogged.push(connection);
                    }
                }
            }
            Output::Close { connection } => {
                if let Some(conn) = conns.get(&connection) {
                    around.network.close(around.world, *conn, Host::Node(index));
                    over.push(*conn);
                }
            }
        });
        clogged.into_iter().for_each(|connection| self.front.clogged(connection));
        over
    }
}

/// What the replica's core lets every front see, each since a moment.
#[derive(Debug, Default)]
pub struct Published {
    applied_upto: VecDeque<(Moment, Slot)>,
    lease: VecDeque<(Moment, Lease)>,
}

impl Published {
    pub fn set_applied_upto(&mut self, at: Moment, slot: Slot) {
        self.applied_upto.push_back((at, slot));
    }

    pub fn set_lease(&mut self, at: Moment, lease: Lease) {
        self.lease.push_back((at, lease));
    }

    /// What is seen at `now`; what was seen before is forgotten.
    fn seen(&mut self, now: Moment) -> (Slot, Lease) {
        let none = Lease { ballot: Ballot::NONE, until: Instant::ZERO };
        (newest(&mut self.applied_upto, now).unwrap_or_default(), newest(&mut self.lease, now).unwrap_or(none))
    }
}

/// The last that was there at `now`.
fn newest<T: Copy>(shown: &mut VecDeque<(Moment, T)>, now: Moment) -> Option<T> {
    while shown.get(1).is_some_and(|(since, _)| *since <= now) {
        shown.pop_front();
    }
    shown.front().filter(|(since, _)| *since <= now).map(|(_, what)| *what)
}

/// A front on a core of its own.
#[derive(Debug)]
pub struct Apart {
    seat: Seat,
    tree: Tree,
    applied_upto: Slot,
    inbox: Vec<Inbound>,
    /// When the newest notice, and the newest request, comes out of its ring.
    told_at: Moment,
    asked_at: Moment,
    wake: Option<Moment>,
    calls: u64,
    busy_until: Moment,
}

/// What a front's loop finds when it wakes.
#[derive(Debug)]
pub enum Inbound {
    Accepted { conn: u64 },
    Bytes { conn: u64, bytes: Bytes },
    Closed { conn: u64 },
    Drained { conn: u64 },
    Notice(FrontNotice),
}

impl Apart {
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    pub fn new(front: Front, tree: Tree) -> Self {
        Self {
            seat: Seat::new(front),
            tree,
            applied_upto: Slot(0),
            inbox: Vec::new(),
            told_at: 0,
            asked_at: 0,
            wake: None,
            calls: 0,
            busy_until: 0,
        }
    }

    /// Whether that connection is served here.
    pub fn has(&self, conn: u64) -> bool {
        let accepted = |inbound: &Inbound| matches!(inbound, Inbound::Accepted { conn: of } if *of == conn);
        self.seat.has(conn) || self.inbox.iter().any(accepted)
    }

    /// When a notice that is told now comes out of the ring: behind those before it, and now and then late, as when the
    /// ring was full.
    pub fn told(&mut self, world: &mut World, late: u64) -> Moment {
        let latency = if world.chance("slow-ring", late) { 20 * MILLI } else { 20 * MICRO };
        self.told_at = self.told_at.max(world.now + world.random.below(latency));
        self.told_at
    }

    /// Whether a call to turn is the newest.
    pub fn is_called(&self, call: u64) -> bool {
        self.calls == call
    }

    pub fn wake_at(&mut self, world: &mut World, of: Of, moment: Moment) {
        let moment = moment.max(self.busy_until).max(world.now);
        if self.wake.is_none_or(|at| moment < at) {
            (self.wake, self.calls) = (Some(moment), self.calls + 1);
            if moment != Moment::MAX {
                let Of { node, life, front } = of;
                world.at(moment, Event::Front { node, life, front, call: self.calls });
            }
        }
    }

    fn turn(&mut self, of: Of, clock: &HostClock, (slot, lease): (Slot, Lease), around: &mut Around<'_>) {
        self.wake = None;
        let now = clock.read(around.world.now);
        let (inbox, mut notices) = (std::mem::take(&mut self.inbox), Vec::new());
        for inbound in inbox {
            match inbound {
                Inbound::Accepted { conn } => self.seat.accepted(now, conn, around.network.dialler(conn)),
                Inbound::Bytes { conn, bytes } => self.seat.received(now, conn, &bytes),
                Inbound::Closed { conn } => self.seat.closed(conn),
                Inbound::Drained { conn } => self.seat.drained(conn),
                Inbound::Notice(notice) => notices.push(notice),
            }
        }
        notices.into_iter().for_each(|notice| self.notice(notice));
        let leased = lease.lets_read(now, self.applied_upto, slot);
        let mut requests = Vec::new();
        self.seat.front.prepare(now, leased, &mut requests);
        if self.seat.front.finish(now, &self.tree, leased, || lease.still_holds(lease, now)) {
            requests.push(FrontRequest::LeaseUsed);
        }
        for request in requests {
            self.asked_at = self.asked_at.max(around.world.now + around.world.random.below(20 * MICRO));
            let Of { node, life, front } = of;
            around.world.at(self.asked_at, Event::Asked { node, life, front, request });
        }
        for conn in self.seat.send((of.node, of.life), around) {
            self.seat.closed(conn);
        }
        let due = if self.seat.front.is_restless() { now } else { self.seat.front.next_deadline() };
        let due = clock.moment_of(due).max(around.world.now + MICRO);
        self.wake_at(around.world, of, due);
    }

    /// Changes into the tree first, then outcomes to clients.
    fn notice(&mut self, notice: FrontNotice) {
        if let FrontNotice::Applied(applied) = &notice {
            applied.changes.iter().for_each(|change| self.tree.mirror(change));
            self.applied_upto = applied.upto;
        }
        self.seat.front.notice(notice, &self.tree);
    }
}

/// Which front.
#[derive(Clone, Copy, Debug)]
pub struct Of {
    pub node: usize,
    pub life: u64,
    pub front: usize,
}

impl Node {
    /// Something happened that a front's loop will find.
    pub fn front_finds(&mut self, world: &mut World, front: usize, inbound: Inbound) {
        let of = Of { node: self.index, life: self.life, front };
        let Some(running) = &mut self.running else { return };
        let apart = &mut running.apart[front];
        apart.inbox.push(inbound);
        let latency = world.random.below(20 * MICRO);
        apart.wake_at(world, of, world.now + latency);
    }

    /// All fronts on cores of their own look about.
    pub fn wake_fronts(&mut self, world: &mut World) {
        let (node, life, now) = (self.index, self.life, world.now);
        for (front, apart) in self.running.iter_mut().flat_map(|running| running.apart.iter_mut().enumerate()) {
            apart.wake_at(world, Of { node, life, front }, now);
        }
    }

    /// A front's wake-up came.
    pub fn front_turn(&mut self, front: usize, call: u64, around: &mut Around<'_>) {
        let of = Of { node: self.index, life: self.life, front };
        let Some(running) = &mut self.running else { return };
        let apart = &mut running.apart[front];
        if !apart.is_called(call) {
            return;
        }
        if around.world.now < self.stopped_until {
            apart.wake = None;
            return apart.wake_at(around.world, of, self.stopped_until);
        }
        if around.world.chance("front-pause", around.plan.hiccups) {
            apart.wake = None;
            apart.busy_until = around.world.now + around.world.random.below(2 * around.plan.lease);
            return apart.wake_at(around.world, of, apart.busy_until);
        }
        self.front_turns += 1;
        let seen = running.published.seen(around.world.now);
        apart.turn(of, &self.clock, seen, around);
    }
}
