//! One seed, one run: a storm with every fault of the plan, then calm, in which everything must finish; then judgement.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use quorate::namespace::{Gate, answer};
use quorate::paxos::{Kind, Slot, Value};
use quorate::replica::Replica;
use quorate::replica::exchange::Still;
use quorate::wire::frame::{CLIENT_MAGIC, PEER_MAGIC};

use super::client::{self, Client};
use super::conflicts;
use super::coverage::{self, Struck};
use super::cuts::Cuts;
use super::enquirer::{self, Enquirer};
use super::fronts::Inbound;
use super::history::{History, plain};
use super::linearizable;
use super::misfortune;
use super::model::Model;
use super::network::{Arrival, Host, Network, Port};
use super::node::{self, Happening, Node};
use super::operator::{self, Task};
use super::oracle::Oracle;
use super::plan::{CLOCK_ERROR_PPM, Plan};
use super::recovery;
use super::report::Report;
use super::rest;
use super::steady;
use super::stranger::{self, Stranger};
use super::succession;
use super::watching;
use super::world::{Event, HostClock, MICRO, Moment, SECOND, World};

/// A cell, its clients and its weather.
pub struct Run {
    pub world: World,
    pub network: Network,
    pub nodes: Vec<Node>,
    pub clients: Vec<Client>,
    pub oracle: Oracle,
    pub history: History,
    pub enquirer: Enquirer,
    pub stranger: Stranger,
    pub plan: Plan,
    pub calm: bool,
    /// What is blocked, by its number, and how often something was.
    pub blocked: BTreeMap<u64, misfortune::Blocked>,
    pub blocks: u64,
    /// Nodes that stay down in the calm, or whose disks stay full.
    pub absent: BTreeSet<usize>,
    /// Blocks of logs that were damaged.
    pub damaged: u64,
    /// Misfortunes that struck.
    pub misfortunes: u64,
    /// The change of members that is under way, and how many came to their end.
    pub task: Option<Task>,
    /// What comes after it.
    pub tasks_ahead: VecDeque<Task>,
    pub joins: u64,
    pub removals: u64,
    /// Leaders that were lost in the calm, and whether the cell came to rest.
    pub successions: u64,
    pub rests: u64,
    /// Calms in which a leader had to have a lease, and sessions that nobody had and that ended in time.
    pub leases_owed: u64,
    pub ends_owed: u64,
    /// Old copies of disks that were put back and noticed.
    pub put_back: u64,
    /// What strikes as soon as two want to lead.
    pub ambush: Option<(&'static str, misfortune::Act)>,
    /// How many nodes hold a wrong state.
    pub rotten: usize,
    /// In the calm: who leads, and since when everybody knows.
    pub reign: Option<steady::Reign>,
    /// And sessions that nobody has any more.
    pub left: steady::Left,
    /// Faults that struck, by the phases they struck in.
    pub struck: Struck,
    /// Bytes that arrived anywhere, if somebody wants them.
    seen: Option<Vec<Vec<u8>>>,
    events: u64,
}

/// Runs a seed. Panics with a sentence when something is wrong.
pub fn run(seed: u64, cuts: &Cuts) -> Report {
    Run::new(seed, cuts).run_to_its_end()
}

/// Bytes as runs leave them.
#[derive(Default)]
pub struct Samples {
    pub client_bytes: Vec<Vec<u8>>,
    pub peer_bytes: Vec<Vec<u8>>,
    pub hard_states: Vec<Vec<u8>>,
    pub segments: Vec<Vec<u8>>,
    pub images: Vec<Vec<u8>>,
    /// Values of the chosen logs.
    pub values: Vec<Vec<u8>>,
}

/// Runs the storms of some seeds for what crosses their networks and lies on their disks.
pub fn samples(seeds: std::ops::Range<u64>, cuts: &Cuts) -> Samples {
    let mut samples = Samples::default();
    for seed in seeds {
        let mut run = Run::new(seed, cuts);
        // What is to be read is what those say who mean it.
        run.plan.stranger_every = None;
        run.seen = Some(Vec::new());
        run.storm();
        for bytes in run.seen.take().unwrap_or_default() {
            if bytes.starts_with(&CLIENT_MAGIC.to_le_bytes()) {
                samples.client_bytes.push(bytes);
            } else if bytes.starts_with(&PEER_MAGIC.to_le_bytes()) {
                samples.peer_bytes.push(bytes);
            }
        }
        samples.values.extend(run.oracle.log().map(|(_, value)| value.to_vec()));
        for node in run.nodes {
            samples.hard_states.push(node.disk.hard_state);
            samples.segments.extend(node.disk.segments.into_values());
            samples.images.extend(node.disk.images.into_values());
        }
    }
    samples
}

/// The plan of a seed, less what is cut.
pub fn plan_of(seed: u64, cuts: &Cuts) -> Plan {
    let mut plan = Plan::draw(&mut World::new(seed).random);
    cuts.apply(&mut plan);
    plan
}

impl Run {
    pub fn new(seed: u64, cuts: &Cuts) -> Self {
        let mut world = World::new(seed);
        let mut plan = Plan::draw(&mut world.random);
        cuts.apply(&mut plan);
        let mut network = Network::new(plan.network.clone());
        let nodes: Vec<Node> = (0..plan.nodes).map(|index| Node::new(index, &plan, clock(&mut world, &plan))).collect();
        let clocks: Vec<HostClock> = (0..plan.clients).map(|_| clock(&mut world, &plan)).collect();
        let clients =
            clocks.into_iter().enumerate().map(|(index, clock)| Client::new(index, &mut world, &plan, clock)).collect();
        let mut oracle = Oracle::new(plan.nodes);
        oracle.timeless = plan.clock_error_ppm > CLOCK_ERROR_PPM;
        for node in 0..plan.nodes {
            network.absent(Host::Node(node));
            world.after(1, Event::Start { node });
        }
        for client in 0..plan.clients {
            world.after(2, Event::Client { client, call: 0 });
        }
        world.after(plan.misfortune_every, Event::Misfortune);
        if let Some(every) = plan.enquire_every {
            world.after(every, Event::Enquire);
        }
        if let Some(every) = plan.stranger_every {
            world.after(every, Event::Stranger);
        }
        Self {
            world,
            network,
            nodes,
            clients,
            oracle,
            history: History::default(),
            enquirer: Enquirer::default(),
            stranger: Stranger::default(),
            plan,
            calm: false,
            blocked: BTreeMap::new(),
            blocks: 0,
            absent: BTreeSet::new(),
            damaged: 0,
            misfortunes: 0,
            task: None,
            tasks_ahead: VecDeque::new(),
            joins: 0,
            removals: 0,
            successions: 0,
            rests: 0,
            leases_owed: 0,
            ends_owed: 0,
            put_back: 0,
            ambush: None,
            rotten: 0,
            reign: None,
            left: steady::Left::new(),
            struck: Struck::new(),
            seen: None,
            events: 0,
        }
    }

    /// The storm, the calm, and the judgement.
    pub fn run_to_its_end(mut self) -> Report {
        self.storm();
        self.calm();
        self.judge()
    }

    /// Faults, until every client has made its calls or the time is over.
    fn storm(&mut self) {
        let until = self.world.now + self.plan.storm;
        while let Some(event) = self.world.next(until) {
            self.event(event);
            if self.events.is_multiple_of(64) && self.clients.iter().all(Client::is_idle) {
                break;
            }
        }
    }

    /// No misfortune any more: every call must come to its end, and every client must be served.
    fn calm(&mut self) {
        (self.calm, self.oracle.calm) = (true, true);
        misfortune::end_all(self);
        enquirer::be_sure(self);
        stranger::leave(self);
        let until = self.world.now + if self.plan.beyond_repair { PATIENCE / 6 } else { PATIENCE };
        steady::serve(self, self.world.now.midpoint(until));
        self.end(until);
        if succession::happens(self) {
            self.end(self.world.now + PATIENCE);
        }
        rest::comes(self);
    }

    /// Every client goes, and whatever is under way comes to its end.
    fn end(&mut self, until: Moment) {
        for index in 0..self.clients.len() {
            self.with_client(index, Client::wind_up);
        }
        let (mut look_at, mut mends) = (0, self.plan.victim.is_some() && self.plan.scrub_period.is_some());
        loop {
            let done = self.clients.iter().all(Client::is_done) && self.enquirer.is_done();
            if done && self.events.is_multiple_of(64) && self.is_settled() && self.events >= look_at {
                // Damage to the log's end is mended too, when nobody writes any more.
                if std::mem::take(&mut mends) {
                    misfortune::damage_log(self);
                } else if self.lost().is_empty() {
                    return;
                }
                look_at = self.events + 4096;
            }
            match self.world.next(until) {
                Some(event) => self.event(event),
                None if self.plan.beyond_repair => return,
                None => break,
            }
        }
        let stories: Vec<String> = self.clients.iter().filter(|c| !c.is_done()).map(Client::story).collect();
        let states: Vec<String> = self.nodes.iter().map(Node::story).collect();
        let (task, lost, unasked) = (self.task, self.lost(), &self.enquirer.due);
        panic!(
            "{}s after the last fault, not everything is done: {stories:#?} {states:#?} {task:?}, damaged {lost:?}, \
             not heard of {unasked:?}",
            PATIENCE / SECOND
        );
    }

    /// Whether all that is chosen is applied everywhere, no session outlives its client, nothing is due any more, and nothing is
    /// kept for clients that are gone.
    fn is_settled(&self) -> bool {
        let chosen = self.oracle.chosen_upto();
        let settled = |replica: &Replica| {
            let namespace = replica.namespace();
            replica.applied_upto() == chosen && namespace.session_count() == 0 && namespace.timers().next().is_none()
        };
        let running = |node: &Node| node.running.as_ref().is_some_and(|running| settled(&running.replica));
        let mut present = self.nodes.iter().filter(|node| !self.absent.contains(&node.index));
        // Where links lose frames and stay, answers are waited for until another leads.
        let lossy = self.plan.network.dropped > 0;
        self.task.is_none() && present.all(|node| running(node) && (lossy || node.is_idle()))
    }

    /// What of the victim's log is damaged and not mended, though it is read while it lies still.
    fn lost(&mut self) -> Vec<Slot> {
        let victim = self.plan.victim.filter(|_| self.plan.scrub_period.is_some());
        let Some(node) = victim.map(|victim| &mut self.nodes[victim]) else { return Vec::new() };
        // Where there was no room the log was given up further, and what is left of that in a segment is of no use.
        let stuck = self.plan.may_be_stuck();
        let given_up = |replica: &Replica| if stuck { replica.paxos().status().trimmed_upto } else { Slot(0) };
        let begins = |replica: &Replica| replica.log_reaches_back_to().max(given_up(replica));
        let sure = node.running.as_ref().map_or(Slot(0), |running| begins(&running.replica));
        recovery::lost(&mut node.disk, sure)
    }

    fn judge(&self) -> Report {
        let mut model = Model::new();
        for (slot, value) in self.oracle.log() {
            let value = Value::copy_of(value);
            if value.kind() == Some(Kind::Commands) {
                model.apply(slot, &value.body());
            }
        }
        let tally = self.history.judge(&model);
        let watches = watching::judge(&self.history, &model);
        if self.rotten == 0 {
            enquirer::judge(&self.enquirer, &model);
        }
        self.oracle.pasts.judge(&self.history.gaps);
        let is_whole = !self.plan.beyond_repair || self.is_settled();
        if is_whole {
            assert_eq!(model.waiting(), [""; 0], "in the calm everything that was due is done");
        }
        for node in self.nodes.iter().filter(|node| is_whole && !self.absent.contains(&node.index)) {
            let running = node.running.as_ref().expect("in the calm whoever is not away runs");
            same_state(node.index, running.replica.namespace(), &model);
        }
        let Slot(slots) = self.oracle.chosen_upto();
        let (trace, events, misfortunes) = (self.world.trace.hash(), self.events, self.misfortunes);
        let images = self.nodes.iter().map(|node| node.disk.images_taken).sum();
        let mended = self.nodes.iter().map(|node| node.disk.found_damaged + node.disk.copies_repaired).sum();
        let recycled = self.nodes.iter().map(|node| node.disk.recycled).sum();
        let transfers = self.nodes.iter().map(|node| node.transfers).sum();
        let no_room = self.nodes.iter().map(|node| node.disk.refused).sum();
        let (mut words, struck) = (coverage::of(&self.history), self.struck.clone());
        words.extend(&self.enquirer.words);
        words.extend(self.nodes.iter().flat_map(|node| &node.disk.misreads));
        let torn = struck.keys().any(|(fault, _)| *fault == "torn-write");
        words.extend((self.damaged > 0 && torn).then_some("torn writes beside damage"));
        words.extend(&self.stranger.words);
        let searched = linearizable::judge(&self.history);
        let conflicts = conflicts::count(&self.history);
        Report {
            trace,
            events,
            misfortunes,
            slots,
            images,
            recycled,
            transfers,
            joins: self.joins,
            removals: self.removals,
            successions: self.successions,
            rests: self.rests,
            leases_owed: self.leases_owed,
            ends_owed: self.ends_owed,
            put_back: self.put_back,
            stood_still: u64::from(!is_whole),
            no_room,
            damaged: self.damaged,
            mended,
            doubts: self.nodes.iter().map(|node| node.doubts).sum(),
            front_turns: self.nodes.iter().map(|node| node.front_turns).sum(),
            tally,
            watches,
            ended: model.ended,
            searched,
            conflicts,
            words,
            struck,
        }
    }

    pub fn event(&mut self, event: Event) {
        self.events += 1;
        assert!(self.events < EVENTS_MAX, "a run comes to its end");
        self.deal_with(event);
        if self.ambush.is_some() && !self.calm {
            misfortune::spring(self);
        }
        for fault in std::mem::take(&mut self.world.chances) {
            self.strikes(fault);
        }
    }

    /// A fault struck now.
    pub fn strikes(&mut self, fault: &'static str) {
        let phases = coverage::phases(&self.nodes);
        self.struck_in(fault, phases);
    }

    /// A fault struck when the cell was in these phases.
    pub fn struck_in(&mut self, fault: &'static str, phases: BTreeSet<&'static str>) {
        for phase in phases {
            *self.struck.entry((fault, phase)).or_default() += 1;
        }
    }

    fn deal_with(&mut self, event: Event) {
        match event {
            Event::Dialled { conn } => {
                let arrival = self.network.dialled(&mut self.world, conn);
                self.arrives(arrival);
            }
            Event::DialDone { conn, stands } => {
                let arrival = self.network.dial_done(conn, stands);
                self.arrives(arrival);
            }
            Event::Flow { conn, side } => {
                let arrival = self.network.flow(&mut self.world, conn, side);
                self.arrives(arrival);
            }
            Event::Stray { conn, frame } => {
                let arrival = self.network.stray(&mut self.world, conn, frame);
                self.arrives(arrival);
            }
            Event::Closed { conn, side, surely } => {
                let arrival = self.network.closed(&mut self.world, conn, side, surely);
                self.arrives(arrival);
            }
            Event::Turn { node, call } if self.nodes[node].is_called(call) => {
                // The phases of before: who ended within its turn is in none any more.
                let phases = self.nodes[node].ends_within.map(|_| coverage::phases(&self.nodes));
                self.with_node(node, Node::turn);
                if std::mem::take(&mut self.nodes[node].ended_within) {
                    return misfortune::ended_within(self, node, phases.unwrap_or_default());
                }
                let own = &self.nodes[node];
                assert!(
                    own.diverged.is_none() || self.rotten > 0,
                    "node {node} is well, and stops: {:?}",
                    own.diverged
                );
                if self.nodes[node].forgot {
                    assert!(self.nodes[node].is_old, "node {node} holds what it acknowledged, and is told otherwise");
                    self.put_back += 1;
                    return misfortune::lose_disk_of(self, node);
                }
                self.leases_cover(node);
                self.leases_rest_on_flushes();
                self.live_sessions_are_kept(node);
                self.kept_answers_hold(node);
                if self.calm {
                    steady::look(self);
                }
            }
            Event::Client { client, call } if self.clients[client].is_called(call) => {
                self.with_client(client, Client::woken);
            }
            Event::Turn { .. } | Event::Client { .. } => {}
            Event::Heard { client, path } => self.with_client(client, |client, around| client.hears(around, path)),
            Event::Start { node } => {
                if self.nodes[node].running.is_none() && (self.plan.cramped || !self.absent.contains(&node)) {
                    self.with_node(node, Node::start);
                }
            }
            Event::Operator => operator::look(self),
            Event::Enquire => enquirer::enquire(self),
            Event::Stranger => stranger::call(self),
            Event::Misfortune => misfortune::strike(self),
            Event::Relief { what } => misfortune::relieve(self, what),
            others => self.reaches_process(others),
        }
    }

    /// What is meant for a process reaches it, if it is still the one it was meant for.
    fn reaches_process(&mut self, event: Event) {
        match event {
            Event::Written { node, life, token } if self.nodes[node].life == life => self.written(node, token),
            Event::Chore { node, life } if self.nodes[node].life == life => {
                let (chore, done) = self.nodes[node].disk.chore_done(self.world.now);
                let happening = if done { Happening::ChoreDone(chore) } else { Happening::NoRoomFor(chore) };
                self.nodes[node].happens(&mut self.world, happening);
            }
            Event::LogRead { node, life, to, from, places } if self.nodes[node].life == life => {
                let astray = self.plan.is_struck(node) && !places.is_empty() && self.reads_astray();
                let values = self.nodes[node].read_log(&places, astray.then_some(&mut self.world.random));
                self.nodes[node].happens(&mut self.world, Happening::LogRead { to, from, values });
            }
            Event::ImageRead { node, life, to, image, offset, bytes } if self.nodes[node].life == life => {
                self.nodes[node].happens(&mut self.world, Happening::ImageRead { to, image, offset, bytes });
            }
            Event::ReadBack { node, life, file, offset, bytes } if self.nodes[node].life == life => {
                let bytes = self.read_back(node, file, offset, bytes);
                self.nodes[node].happens(&mut self.world, Happening::ReadBack { bytes });
            }
            Event::Drained { node, life, conn } if self.nodes[node].life == life => {
                self.nodes[node].happens(&mut self.world, Happening::Drained { conn });
            }
            Event::Front { node, life, front, call } if self.nodes[node].life == life => {
                self.with_node(node, |node, around| node.front_turn(front, call, around));
            }
            Event::Asked { node, life, front, request } if self.nodes[node].life == life => {
                self.nodes[node].happens(&mut self.world, Happening::Asked { front, request });
            }
            Event::Told { node, life, front, notice } if self.nodes[node].life == life => {
                self.nodes[node].front_finds(&mut self.world, front, Inbound::Notice(notice));
            }
            Event::Crash { node, life } if self.nodes[node].life == life => _ = misfortune::crash(self, node),
            _ => {}
        }
    }

    /// What lies still, as a disk brings it. Of the hard state three copies of a round's four are always to be relied on.
    fn read_back(&mut self, node: usize, file: Still, offset: u64, bytes: usize) -> Option<Bytes> {
        let read = self.nodes[node].disk.read_back(file, offset, bytes)?;
        if file == Still::HardState || !self.plan.is_struck(node) || !self.reads_astray() {
            return Some(read);
        }
        let mut read = read.to_vec();
        let disk = &mut self.nodes[node].disk;
        disk.read_astray(&mut self.world.random, "misread: what lies still", offset as usize, &mut read);
        Some(read.into())
    }

    /// Whether a device reads another place than it was asked for.
    fn reads_astray(&mut self) -> bool {
        self.plan.misreads > 0 && self.world.chance("misread", self.plan.misreads)
    }

    /// Whoever may read under a lease has applied everything that this node has.
    fn leases_cover(&self, node: usize) {
        let applied = |node: &Node| node.running.as_ref().map_or(Slot(0), |running| running.replica.applied_upto());
        let most = applied(&self.nodes[node]);
        for other in self.nodes.iter().filter(|other| other.is_leased(self.world.now)) {
            let least = applied(other);
            assert!(
                most <= least,
                "node {node} applied {most:?}, and node {} reads under its lease at {least:?}",
                other.index
            );
        }
    }

    /// A lease is won by an entry that the leader's own disk has, and lasts no longer than that allows.
    fn leases_rest_on_flushes(&self) {
        let longest = self.plan.lease + self.plan.lease / 500;
        for node in self.nodes.iter().filter(|node| node.is_leased(self.world.now)) {
            let (index, since) = (node.index, self.world.now - node.disk.flushed_at);
            assert!(since <= longest, "node {index} holds a lease, and its disk stands still for {since} ns");
        }
    }

    /// No session is over while its client, by its own clock, may rely on it.
    fn live_sessions_are_kept(&self, node: usize) {
        let told = self.rotten == 0 && !self.oracle.timeless;
        let Some(running) = self.nodes[node].running.as_ref().filter(|_| told) else { return };
        let namespace = running.replica.namespace();
        for session in self.clients.iter().filter_map(Client::relies_on) {
            let ended = namespace.revision() >= session.0 && namespace.session(session).is_none();
            assert!(!ended, "{session:?} is over at node {node}, and its client was told that it is safe");
        }
    }

    /// What any client might answer from memory, by its own clock, is what every node answers that has come as far.
    fn kept_answers_hold(&self, node: usize) {
        // What is kept is kept for a time, which says nothing where clocks run as they like.
        let is_judged = self.rotten == 0 && !self.oracle.timeless;
        let Some(running) = self.nodes[node].running.as_ref().filter(|_| is_judged) else { return };
        let namespace = running.replica.namespace();
        for client in &self.clients {
            let who = client.relies_on().and_then(|session| namespace.principals(session)).cloned().unwrap_or_default();
            let gate = Gate::new(namespace.tree(), &who);
            for (read, revision, kept) in client.might_give(self.world.now) {
                let is = (revision <= namespace.revision()).then(|| answer(&gate, read.as_ref()));
                assert!(
                    is.as_ref().is_none_or(|is| is == kept),
                    "{} keeps {kept:?} as the answer to {read:?} since {revision}; node {node} answers {is:?}",
                    client.story()
                );
            }
            for (session, read, revision, kept) in client.former_might_give(self.world.now) {
                // Users are only ever added: without any, it is as whoever was there before.
                let Some(who) = namespace.principals(session).filter(|who| who.users.is_empty()) else { continue };
                let gate = Gate::new(namespace.tree(), who);
                let is = (revision <= namespace.revision()).then(|| answer(&gate, read.as_ref()));
                assert!(
                    is.as_ref().is_none_or(|is| is == kept),
                    "whoever was {} before keeps {kept:?} as the answer to {read:?} since {revision}; node {node} answers {is:?}",
                    client.story()
                );
            }
        }
    }

    fn written(&mut self, node: usize, token: u64) {
        if std::mem::take(&mut self.nodes[node].disk.fails_next) {
            // Nothing is known of what it left there, and the process ends at once, as `server::core` has it end.
            self.misfortunes += 1;
            self.strikes("write-error");
            _ = misfortune::crash(self, node);
            return;
        }
        for bytes in self.nodes[node].disk.written(token) {
            self.nodes[node].disk.flushed_at = self.world.now;
            self.oracle.recorded(node, &recovery::records_of(&bytes));
        }
        self.nodes[node].happens(&mut self.world, Happening::Written { token });
    }

    fn arrives(&mut self, arrival: Option<Arrival>) {
        let Some(arrival) = arrival else { return };
        if let (Arrival::Bytes { bytes, .. }, Some(seen)) = (&arrival, &mut self.seen) {
            seen.push(bytes.to_vec());
        }
        match arrival {
            Arrival::Accepted { conn, at: Host::Node(node), port } => {
                if port == Port::Clients {
                    self.oracle.pasts.accepted(conn, (node, self.nodes[node].life));
                }
                self.nodes[node].happens(&mut self.world, Happening::Accepted { conn, port });
            }
            Arrival::Connected { conn, at: Host::Node(node) } => {
                self.nodes[node].happens(&mut self.world, Happening::Connected { conn });
            }
            Arrival::Bytes { conn, at: Host::Node(node), bytes } => {
                self.world.trace.mix_bytes(&bytes);
                self.nodes[node].happens(&mut self.world, Happening::Bytes { conn, bytes });
            }
            Arrival::Failed { conn, at: Host::Node(node) } | Arrival::Closed { conn, at: Host::Node(node) } => {
                self.nodes[node].happens(&mut self.world, Happening::Closed { conn });
            }
            Arrival::Connected { at: Host::Client(client), .. }
            | Arrival::Bytes { at: Host::Client(client), .. }
            | Arrival::Failed { at: Host::Client(client), .. }
            | Arrival::Closed { at: Host::Client(client), .. }
                if client >= self.clients.len() =>
            {
                let reached = if client == self.clients.len() { enquirer::reached } else { stranger::reached };
                reached(self, &arrival);
            }
            Arrival::Connected { conn, at: Host::Client(client) } => {
                self.with_client(client, |client, around| client.connected(around, conn));
            }
            Arrival::Bytes { conn, at: Host::Client(client), bytes } => {
                self.world.trace.mix_bytes(&bytes);
                self.with_client(client, |client, around| client.received(around, conn, &bytes));
            }
            Arrival::Failed { conn, at: Host::Client(client) } | Arrival::Closed { conn, at: Host::Client(client) } => {
                self.with_client(client, |client, around| client.lost(around, conn));
            }
            Arrival::Accepted { at: Host::Client(_), .. } => unreachable!("nobody dials a client"),
        }
    }

    pub fn with_node(&mut self, index: usize, act: impl FnOnce(&mut Node, &mut node::Around<'_>)) {
        let Self { world, network, oracle, plan, nodes, .. } = self;
        act(&mut nodes[index], &mut node::Around { world, network, oracle, plan });
    }

    pub fn with_client(&mut self, index: usize, act: impl FnOnce(&mut Client, &mut client::Around<'_>)) {
        let (chosen_upto, all_sound, led_since) =
            (self.oracle.chosen_upto(), self.rotten == 0, steady::led_since(self));
        let has_time = self.successions > 0;
        let Self { world, network, history, plan, clients, .. } = self;
        act(
            &mut clients[index],
            &mut client::Around { world, network, history, plan, chosen_upto, all_sound, led_since, has_time },
        );
        for path in clients[index].take_rumours() {
            // It is not on the way for long: what was answered is seen by whoever asks from now on.
            let apart = 1 + world.random.below(clients.len().max(2) as u64 - 1) as usize;
            let (client, delay) = ((index + apart) % clients.len(), world.random.below(10 * MICRO));
            world.after(delay, Event::Heard { client, path });
        }
    }
}

fn clock(world: &mut World, plan: &Plan) -> HostClock {
    let error = plan.clock_error_ppm;
    let rate_ppm = world.random.within(0, 2 * error) as i64 - error as i64;
    HostClock::new(0, world.random.below(1000 * SECOND), rate_ppm)
}

fn same_state(node: usize, namespace: &quorate::namespace::Namespace, model: &Model) {
    namespace.invariants();
    assert!(namespace.revision() == model.revision(), "node {node} is at another revision than the model");
    assert!(namespace.session_count() == model.session_count(), "node {node} has other sessions than the model");
    let mut count = 0;
    for (path, data, stat) in model.nodes() {
        count += 1;
        let found = namespace.tree().get(path).map(|found| (found.data(), plain(found.stat())));
        assert!(found == Some((&data[..], stat)), "node {node} holds {found:?} at {path}, the model {stat:?}");
    }
    assert!(namespace.tree().len() == count, "node {node} holds more than the model");
}

/// In the calm everything finishes within this.
pub const PATIENCE: Moment = 60 * SECOND;

const EVENTS_MAX: u64 = 20_000_000;
