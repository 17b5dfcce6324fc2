//! One node: a replica, its front, its disk, its links and its host's clock, driven turn by turn in the order of
//! `server::solo` and `server::core`, or with fronts on cores of their own of `server::many` ([`super::fronts`]).

use bytes::Bytes;
use quorate::front::{Facts, Front};
use quorate::journal::Place;
use quorate::paxos::{CellId, Config, Incarnation, MemberChange, Message, ReplicaId, Slot, Value};
use quorate::replica::exchange::{
    Borrower, Diverged, Effect, FrontId, FrontNotice, FrontRequest, Input, Scrubbed, Submission, Trust,
};
use quorate::replica::{Process, Replica};
use quorate::time::Instant;
use quorate::wire::client::MemberAddress;
use quorate::wire::peer::PeerMessage;

use super::acls;
use super::disk::{Chore, Disk, NewWrite};
use super::divergence;
use super::fronts::{Apart, Inbound, Published, Seat};
use super::links::{Links, replica};
use super::network::{Host, Network, Port};
use super::old_copy::Copy;
use super::oracle::Oracle;
use super::plan::Plan;
use super::recovery;
use super::world::{Event, HostClock, MICRO, MILLI, Moment, Random, World, span};

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
    pub running: Option<Box<Running>>,
    /// The processor does nothing before.
    pub busy_until: Moment,
    /// Nor does any core of it, fronts' included.
    pub stopped_until: Moment,
    incarnation: Incarnation,
    wake: Option<Moment>,
    calls: u64,
    /// How often it started again from an image it fetched.
    pub transfers: u64,
    /// How often it started with a log that could not tell something.
    pub doubts: u64,
    /// The last slot of which its last start could not tell whether it had voted there.
    pub maybe_upto: Slot,
    /// Turns of fronts on cores of their own.
    pub front_turns: u64,
    /// Whether it reads under the lease when it leads, and what it has written and said to its peers.
    pub reads_leased: bool,
    pub writes: u64,
    pub said: u64,
    /// It starts with a state that is not what its log makes ([`super::divergence`]).
    pub rotten: bool,
    /// Why it ended, if it found its state to differ.
    pub diverged: Option<Diverged>,
    /// What its disk held once ([`super::old_copy`]).
    pub copy: Option<Copy>,
    /// That was put back.
    pub is_old: bool,
    /// It ended because it was reminded of what its disk does not hold.
    pub forgot: bool,
    /// How many more effects its process has before it ends, and whether it just did.
    pub ends_within: Option<u64>,
    pub ended_within: bool,
}

/// A process.
#[derive(Debug)]
pub struct Running {
    pub replica: Replica,
    process: Process,
    /// The front on the replica's core, or those on their own.
    seat: Option<Seat>,
    pub apart: Vec<Apart>,
    pub published: Published,
    links: Links,
    inbox: Vec<Happening>,
    inputs: Vec<Input>,
    effects: Vec<Effect>,
    closes: Vec<u64>,
    starts_again: bool,
    diverged: Option<Diverged>,
    forgot: bool,
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
    Asked { front: usize, request: FrontRequest },
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
            stopped_until: 0,
            incarnation,
            wake: None,
            calls: 0,
            transfers: 0,
            doubts: 0,
            maybe_upto: Slot(0),
            front_turns: 0,
            reads_leased: false,
            writes: 0,
            said: 0,
            rotten: false,
            diverged: None,
            copy: None,
            is_old: false,
            forgot: false,
            ends_within: None,
            ended_within: false,
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
        (self.copy, self.is_old, self.forgot) = (None, false, false);
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
        around.world.chances.extend(self.disk.misread.is_some().then_some("misread"));
        let Some(mut found) = recovery::recover(&mut self.disk, around.plan, &mut around.world.random, moment) else {
            let torn = moment >= self.disk.full_until;
            around.world.chances.extend(torn.then_some("torn-start"));
            let delay = around.world.random.around(10 * MILLI);
            return around.world.after(delay, Event::Start { node: self.index });
        };
        self.doubts += u64::from(!found.doubtful.is_empty());
        self.maybe_upto = found.maybe_upto;
        around.oracle.recovered(self.index, &found);
        if self.rotten {
            divergence::rot(&mut found.recovered.namespace, self.index);
        }
        let revision = found.recovered.namespace.revision();
        around.oracle.pasts.begins((self.index, self.life), revision, around.plan.past_bytes);
        let settings = around.plan.settings(&mut around.world.random, self.index, self.incarnation);
        self.reads_leased = settings.lease_reads;
        let fronts = around.plan.fronts_apart;
        let started = Replica::start(now, settings, found.recovered, fronts.max(1) as u8, u128::from(seed));
        let plan = around.plan;
        let members = (0..plan.nodes).map(|node| MemberAddress { replica: replica(node), address: address(node) });
        let members: Vec<MemberAddress> = members.collect();
        let front = |seed: u64| {
            Front::new(Facts {
                cell: CELL,
                replica: replica(self.index),
                members: members.clone(),
                timeout_min: span(2_000 * MILLI),
                timeout_max: span(60_000 * MILLI),
                seed,
                past_bytes_max: plan.past_bytes,
                super_user: Some(acls::super_user()),
                rate: plan.rate,
            })
        };
        let random = &mut around.world.random;
        let seat = (fronts == 0).then(|| Seat::new(front(random.draw())));
        let apart = (0..fronts).map(|_| Apart::new(front(random.draw()), started.tree().twin(random.draw()))).collect();
        self.running = Some(Box::new(Running {
            replica: started,
            process: Process { cell: CELL, incarnation: self.incarnation, started_at: now },
            seat,
            apart,
            published: Published::default(),
            links: Links::new(self.index, self.incarnation, plan),
            inbox: Vec::new(),
            inputs: Vec::new(),
            effects: Vec::new(),
            closes: Vec::new(),
            starts_again: false,
            diverged: None,
            forgot: false,
        }));
        around.network.started(Host::Node(self.index));
        self.wake_at(around.world, around.world.now);
    }

    /// The process dies; with the host, if it does not live on.
    pub fn crash(&mut self, around: &mut Around<'_>, host_lives: bool) {
        let Some(running) = self.running.take() else { return };
        self.life += 1;
        let reached = running.replica.log_reaches_back_to();
        self.disk.crash(around.world, around.plan, reached);
        around.network.died(around.world, Host::Node(self.index), host_lives);
        around.oracle.crashed(self.index);
        if !host_lives {
            let origin = around.world.random.below(super::world::SECOND);
            self.clock.reboot(around.world.now, origin);
            (self.busy_until, self.stopped_until) = (0, 0);
        }
        self.wake = None;
        self.ends_within = None;
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

    /// The process was paused, and is no more.
    pub fn goes_on(&mut self, world: &mut World) {
        (self.busy_until, self.stopped_until) = (self.busy_until.min(world.now), self.stopped_until.min(world.now));
        if self.running.is_some() {
            self.wake_at(world, world.now);
        }
        self.wake_fronts(world);
    }

    /// Something happened that the loop will find.
    pub fn happens(&mut self, world: &mut World, happening: Happening) {
        let Some(running) = &mut self.running else { return };
        let happening = match running.for_front(world, happening) {
            Ok((front, inbound)) => return self.front_finds(world, front, inbound),
            Err(happening) => happening,
        };
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
        if self.ended_within {
            around.world.now = begun;
            self.running = Some(running);
            let host_lives = around.world.random.below(3) > 0;
            return self.crash(around, host_lives);
        }
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
        self.forgot = running.forgot;
        self.running = Some(running);
        if self.diverged.is_some() || self.forgot {
            return self.crash(around, true);
        }
        if starts_again {
            return self.start_again(around);
        }
        self.wake_at(around.world, if busy { self.busy_until } else { deadline });
    }

    fn deadline(&self, running: &Running, moment: Moment) -> Moment {
        let now = self.clock.read(moment);
        let front = running.seat.as_ref().map_or(Instant::FOREVER, |seat| seat.front.next_deadline());
        let due = running.replica.next_deadline(now).min(front);
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
        if running.seat.is_none() {
            self.end_turn(running, now, around);
            return false;
        }
        for _ in 0..ROUNDS_A_TURN {
            let lease = running.replica.lease();
            let leased = lease.holds_at(now);
            let mut requests = Vec::new();
            running.seat().front.prepare(now, leased, &mut requests);
            requests.into_iter().for_each(|request| running.front_asks(now, 0, request));
            self.end_turn(running, now, around);
            if self.ended_within {
                return false;
            }
            let Running { replica, seat, .. } = running;
            let (replica, clock) = (&*replica, &self.clock);
            let front = &mut seat.as_mut().expect("it shares this core").front;
            let mut held = false;
            let still_leased = || {
                pass(around);
                held = lease.still_holds(replica.lease(), clock.read(around.world.now));
                held
            };
            let answered = front.finish(now, replica.tree(), leased, still_leased);
            assert!(held || !answered, "reads leave only once the lease was seen to hold after they were answered");
            if answered {
                running.front_asks(now, 0, FrontRequest::LeaseUsed);
            }
            if !running.seat().front.is_restless() {
                break;
            }
        }
        let over = running.seat().send((self.index, self.life), around);
        running.closes.extend(over);
        running.seat().front.is_restless()
    }

    fn end_turn(&mut self, running: &mut Running, now: Instant, around: &mut Around<'_>) {
        if running.replica.next_deadline(now) <= now {
            running.step(now, Input::Tick);
        }
        let wall_ms = 1_700_000_000_000 + self.wall_ahead_ms + around.world.now / MILLI;
        running.step(now, Input::TurnEnd { wall_ms });
        let (mut notices, mut others) = (Vec::new(), Vec::new());
        for effect in std::mem::take(&mut running.effects) {
            match effect {
                Effect::Front { front, notice } => notices.push((front, notice)),
                other => others.push(other),
            }
        }
        running.tell((self.index, self.life), notices, around);
        pass(around);
        running.links.dial(around.world, around.network);
        for effect in others {
            if self.ends_here() {
                return;
            }
            self.perform(running, effect, around);
        }
        if !running.effects.is_empty() {
            self.wake_at(around.world, around.world.now);
        }
        for conn in &running.closes {
            around.network.close(around.world, *conn, Host::Node(self.index));
        }
    }

    /// Whether the process ends before its next effect.
    fn ends_here(&mut self) -> bool {
        self.ended_within = self.ends_within == Some(0);
        self.ends_within = self.ends_within.and_then(|left| left.checked_sub(1));
        self.ended_within
    }

    fn perform(&mut self, running: &mut Running, effect: Effect, around: &mut Around<'_>) {
        let of = (self.index, self.life);
        match effect {
            Effect::Peer { message: PeerMessage::Forward { count, run }, .. }
                if around.world.chance("crowded-link", around.plan.crowded) =>
            {
                let now = self.clock.read(around.world.now);
                running.step(now, Input::NotForwarded { submission: Submission { run, count } });
            }
            Effect::Peer { to, message } => {
                if let PeerMessage::Paxos(Message::Promise { ballot, .. }) = &message {
                    let proved = around.oracle.proved(self.index);
                    let durable = recovery::durable_promise(&self.disk).max(proved);
                    assert!(durable >= *ballot, "node {} promises {ballot:?}, its disk {durable:?}", self.index);
                }
                if let PeerMessage::Paxos(Message::HeartbeatReply { chosen_upto, .. }) = &message {
                    around.oracle.holds(self.index, *chosen_upto, || recovery::pointed_to(&self.disk));
                }
                self.said += 1;
                around.oracle.says(self.index, to, &message);
                running.links.send(around.world, around.network, to, &message);
            }
            Effect::Write { token, file, offset, pieces } => {
                self.writes += 1;
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
                let bytes = bytes.min(around.plan.transfer_bytes);
                let bytes = self.disk.read_image(around.world, around.plan, image, offset, bytes);
                around.world.after(delay, Event::ImageRead { node: of.0, life: of.1, to, image, offset, bytes });
            }
            Effect::ReadBack { file, offset, bytes } => {
                let delay = around.world.random.around(around.plan.disk.latency);
                around.world.after(delay, Event::ReadBack { node: of.0, life: of.1, file, offset, bytes });
            }
            Effect::Scrubbed(Scrubbed::Damaged { .. }) => self.disk.found_damaged += 1,
            Effect::Scrubbed(Scrubbed::CopiesDamaged(damaged)) => self.disk.copies_repaired += damaged as u64,
            Effect::HardStateLost { .. } => panic!("one copy at a time is damaged, and written again"),
            Effect::Scrubbed(Scrubbed::Pass { .. }) => {}
            Effect::ImageRefused { from, image, error } => around.plan.judge_refusal(from, image, &error),
            Effect::Diverged(diverged) => running.diverged = Some(diverged),
            Effect::Forgotten { .. } => running.forgot = true,
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
        lease.is_some_and(|lease| lease.holds_at(self.clock.read(moment)))
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
             images {:?}, idle: {}, fronts {:?}",
            self.index,
            self.disk.images.keys(),
            running.replica.is_idle(),
            running.seats().map(|seat| (seat.front.connections(), seat.front.is_idle())).collect::<Vec<_>>()
        )
    }

    /// Whether it keeps nothing for any client.
    pub fn is_idle(&self) -> bool {
        let idle = |running: &Running| running.replica.is_idle() && running.seats().all(|seat| seat.front.is_idle());
        self.running.as_ref().is_none_or(|running| idle(running))
    }

    /// The background read of a lagging peer's values, one of which may be read where something else lies.
    pub fn read_log(&mut self, places: &[Place], mut astray: Option<&mut Random>) -> Vec<Value> {
        let wrong = astray.as_mut().map(|random| random.below(places.len() as u64) as usize);
        let read = |(number, place): (usize, &Place)| {
            let astray = astray.as_deref_mut().filter(|_| wrong == Some(number));
            recovery::read_value(&mut self.disk, self.index, self.incarnation, place, astray)
        };
        places.iter().enumerate().map_while(read).collect()
    }
}

impl Running {
    /// Its fronts, with it on its core or apart.
    fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.apart.iter().map(Apart::seat).chain(&self.seat)
    }

    fn event(&mut self, now: Instant, around: &mut Around<'_>, happening: Happening) {
        match happening {
            Happening::Accepted { conn, port: Port::Peers } => self.links.accepted(conn),
            Happening::Accepted { conn, port: Port::Clients } => {
                let client = around.network.dialler(conn);
                self.seat().accepted(now, conn, client);
            }
            Happening::Connected { conn } => {
                let paxos = self.replica.paxos();
                let acknowledged_by = |replica| paxos.acknowledged_by(replica);
                let (world, network) = (&mut *around.world, &mut *around.network);
                self.links.connected((world, network), conn, acknowledged_by, &mut self.inputs);
            }
            Happening::Bytes { conn, bytes } => match self.seat.as_mut().filter(|seat| seat.has(conn)) {
                Some(seat) => seat.received(now, conn, &bytes),
                None => {
                    if !self.links.received(conn, &bytes, &mut self.inputs) {
                        self.closes.push(conn);
                    }
                    for stale in self.links.take_stale() {
                        self.closes.push(stale);
                        self.closes.extend(self.links.closed(around.world.now, stale, &mut self.inputs));
                    }
                }
            },
            Happening::Closed { conn } => {
                if let Some(seat) = self.seat.as_mut().filter(|seat| seat.has(conn)) {
                    seat.closed(conn);
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
                if let Some(seat) = &mut self.seat {
                    seat.drained(conn);
                }
            }
            Happening::Asked { front, request } => self.front_asks(now, front, request),
            Happening::HandOver => self.step(now, Input::HandOver),
            Happening::Change(change) => {
                let (trust, change) = (Trust::Super, Some(change));
                self.front_asks(now, 0, FrontRequest::Members { ticket: NOBODYS_TICKET, trust, change });
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
            Chore::Zero { .. } | Chore::Recycle { .. } => self.step(now, Input::NoRoomForSegment),
            Chore::Piece { slot, .. } | Chore::Finish { slot } => self.step(now, Input::NoRoomForImage { slot }),
            ref other => unreachable!("{other:?} needs no room"),
        }
    }

    fn step(&mut self, now: Instant, input: Input) {
        self.replica.step(now, input, &mut self.effects);
        self.replica.invariants();
    }

    fn front_asks(&mut self, now: Instant, front: usize, request: FrontRequest) {
        if let FrontRequest::Status { ticket } = request {
            let status = Box::new(self.replica.status(now, self.process));
            let notice = FrontNotice::Status { ticket, status };
            return self.effects.push(Effect::Front { front: FrontId(front as u8), notice });
        }
        self.step(now, Input::Front { front: FrontId(front as u8), request });
    }

    /// The front on this core, where there is one.
    fn seat(&mut self) -> &mut Seat {
        self.seat.as_mut().expect("only a front on this core is served by its loop")
    }

    /// What is meant for a front on a core of its own, and which.
    fn for_front(&self, world: &mut World, happening: Happening) -> Result<(usize, Inbound), Happening> {
        let conn = match happening {
            // The kernel spreads the connections.
            Happening::Accepted { conn, port: Port::Clients } if !self.apart.is_empty() => {
                let front = world.random.below(self.apart.len() as u64) as usize;
                return Ok((front, Inbound::Accepted { conn }));
            }
            Happening::Bytes { conn, .. } | Happening::Closed { conn } | Happening::Drained { conn } => conn,
            other => return Err(other),
        };
        let Some(front) = self.apart.iter().position(|apart| apart.has(conn)) else { return Err(happening) };
        match happening {
            Happening::Bytes { bytes, .. } => Ok((front, Inbound::Bytes { conn, bytes })),
            Happening::Closed { .. } => Ok((front, Inbound::Closed { conn })),
            _ => Ok((front, Inbound::Drained { conn })),
        }
    }

    /// Notices go to the front on this core at once, to others through their rings. The state is published before what
    /// rests on it, and the lease before anything leaves for the peers.
    fn tell(&mut self, (node, life): (usize, u64), notices: Vec<(FrontId, FrontNotice)>, around: &mut Around<'_>) {
        // All fronts are told the same of the state.
        for (_, notice) in notices.iter().filter(|(front, _)| *front == FrontId(0)) {
            around.oracle.pasts.told((node, life), around.world.now, notice);
        }
        if let Some(seat) = &mut self.seat {
            return notices.into_iter().for_each(|(_, notice)| seat.front.notice(notice, self.replica.tree()));
        }
        self.published.set_applied_upto(around.world.now, self.replica.applied_upto());
        for (FrontId(front), notice) in notices {
            // One front may be told, and its client, while the next one is not yet.
            pass(around);
            let front = usize::from(front);
            let at = self.apart[front].told(around.world, around.plan.slow_rings);
            around.world.at(at, Event::Told { node, life, front, notice });
        }
        pass(around);
        self.published.set_lease(around.world.now, self.replica.lease());
    }
}

/// A moment goes by between two actions of one turn; now and then a long one, as when the process is not scheduled.
fn pass(around: &mut Around<'_>) {
    let world = &mut *around.world;
    let long = world.chance("hiccup", around.plan.hiccups);
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
