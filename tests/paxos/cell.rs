//! A cell of Paxos cores in one thread: virtual time, a network and disks that do only what they are told, and an oracle
//! that watches every vote. The disk keeps what was flushed and loses the rest in a crash.

use std::collections::{BTreeMap, VecDeque};

use quorate::paxos::{
    AcceptedRecord, Ballot, Config, HardState, Incarnation, Kind, Member, Message, Output, Paxos, Recovered, ReplicaId,
    Role, Settings, Slot, Value,
};
use quorate::time::{Duration, Instant};

use super::lists::Lists;

pub const A: ReplicaId = ReplicaId(1);
pub const B: ReplicaId = ReplicaId(2);
pub const C: ReplicaId = ReplicaId(3);
pub const D: ReplicaId = ReplicaId(4);
pub const E: ReplicaId = ReplicaId(5);

pub struct Cell {
    pub now: Instant,
    pub nodes: Vec<Node>,
    /// Frames sent and not delivered, in the order of sending.
    pub network: VecDeque<Frame>,
    /// Links that lose everything, one way.
    pub cut: Vec<(ReplicaId, ReplicaId)>,
    /// The frame delivered last on each link.
    pub delivered: BTreeMap<(ReplicaId, ReplicaId), Frame>,
    /// A frame kept to be delivered again much later.
    pub kept: Option<Frame>,
    /// Which messages never arrive.
    pub lost: fn(&Message) -> bool,
    pub oracle: Oracle,
    /// What happened, in words.
    pub transcript: Vec<String>,
    pub show_heartbeats: bool,
    /// Nothing more is written down.
    pub quiet: bool,
    /// No-ops, flushes and votes are not.
    pub brief: bool,
    pub lease_reads: bool,
    seed: u64,
    founders: u8,
}

#[derive(Clone)]
pub struct Frame {
    pub from: ReplicaId,
    pub incarnation: Incarnation,
    pub to: ReplicaId,
    pub message: Message,
}

pub struct Node {
    pub id: ReplicaId,
    pub incarnation: Incarnation,
    /// `None`: it is down.
    pub paxos: Option<Paxos>,
    pub disk: Disk,
    /// What the disk held once.
    pub copy: Option<Disk>,
    /// Applied values; slot 1 first. A restart replays them from the disk.
    pub applied: Vec<Value>,
    /// Read points: ticket, and what was answered.
    pub reads: Vec<(u64, Option<Slot>)>,
    starts: u64,
    shown: (Option<ReplicaId>, bool),
}

#[derive(Clone, Default)]
pub struct Disk {
    /// Flushes wait until told.
    pub held: bool,
    pub records: Vec<AcceptedRecord>,
    pub queued: VecDeque<(u64, AcceptedRecord)>,
    pub hard_state: Option<HardState>,
    pub hard_queued: VecDeque<(u64, HardState)>,
    /// Slots whose records are damaged.
    pub unknown: Vec<(Slot, Slot)>,
    /// Records that still name what was accepted and have lost it.
    pub lost: Vec<(Slot, Ballot)>,
    /// Likewise; a crash may have torn them.
    pub maybe: Vec<(Slot, Ballot)>,
}

impl Disk {
    /// What is left of the newest record of a slot is its name.
    pub fn lose_value(&mut self, slot: Slot) {
        let newest = self.records.iter().rfind(|record| record.slot == slot);
        self.lost.push((slot, newest.expect("there is a record of it").ballot));
    }
}

/// What must hold whatever any replica believes: computed from durable votes alone.
pub struct Oracle {
    lists: Lists,
    lists_upto: Slot,
    proposed: BTreeMap<(Slot, Ballot), Value>,
    votes: BTreeMap<(Slot, Ballot), Vec<(ReplicaId, Incarnation)>>,
    pub chosen: BTreeMap<Slot, Value>,
}

impl Oracle {
    fn new(members: Config) -> Self {
        Self {
            lists: Lists::of(members),
            lists_upto: Slot(0),
            proposed: BTreeMap::new(),
            votes: BTreeMap::new(),
            chosen: BTreeMap::new(),
        }
    }

    fn proposed(&mut self, slot: Slot, ballot: Ballot, value: &Value) {
        let known = self.proposed.entry((slot, ballot)).or_insert_with(|| value.clone());
        assert_eq!(known, value, "{slot:?} {ballot:?}: two values at one ballot");
    }

    fn voted(&mut self, voter: (ReplicaId, Incarnation), slot: Slot, ballot: Ballot, value: &Value) {
        let votes = self.votes.entry((slot, ballot)).or_default();
        votes.push(voter);
        if self.lists.is_quorum(slot, votes.iter().copied()) {
            let known = self.chosen.entry(slot).or_insert_with(|| value.clone());
            assert_eq!(known, value, "{slot:?}: a second value was chosen, at {ballot:?}");
            self.follow_configs();
        }
    }

    fn follow_configs(&mut self) {
        while let Some(value) = self.chosen.get(&self.lists_upto.next()) {
            self.lists_upto = self.lists_upto.next();
            self.lists.follow(self.lists_upto, value);
        }
    }

    fn learned(&self, node: ReplicaId, slot: Slot, value: &Value) {
        assert_eq!(self.chosen.get(&slot), Some(value), "{node:?} applies in {slot:?} what no quorum holds");
    }
}

pub fn put(text: &str) -> Value {
    Value::copy_of(&[&[Kind::Commands.tag()], text.as_bytes()].concat())
}

impl Node {
    fn new(id: ReplicaId) -> Self {
        Self {
            id,
            incarnation: Incarnation(u128::from(id.0) << 96),
            paxos: None,
            disk: Disk::default(),
            copy: None,
            applied: Vec::new(),
            reads: Vec::new(),
            starts: 0,
            shown: (None, false),
        }
    }
}

impl Cell {
    pub fn new(replicas: u8, seed: u64, lease_reads: bool) -> Self {
        let members = Config::of_voters((1..=replicas).map(ReplicaId));
        let mut cell = Self {
            now: Instant::from_nanos(1_000_000_000),
            nodes: Vec::new(),
            network: VecDeque::new(),
            cut: Vec::new(),
            delivered: BTreeMap::new(),
            kept: None,
            lost: |_| false,
            oracle: Oracle::new(members),
            transcript: Vec::new(),
            show_heartbeats: false,
            quiet: false,
            brief: false,
            lease_reads,
            seed,
            founders: replicas,
        };
        for id in 1..=replicas {
            cell.nodes.push(Node::new(ReplicaId(id)));
        }
        (1..=replicas).for_each(|id| cell.restart(ReplicaId(id)));
        cell
    }

    pub fn node(&mut self, id: ReplicaId) -> &mut Node {
        &mut self.nodes[usize::from(id.0) - 1]
    }

    fn members(&self) -> Config {
        Config::of_voters((1..=self.founders).map(ReplicaId))
    }

    /// Stops a node: what was not flushed is gone.
    pub fn crash(&mut self, id: ReplicaId) {
        let node = self.node(id);
        node.paxos = None;
        node.disk.queued.clear();
        node.disk.hard_queued.clear();
        node.applied.clear();
        node.reads.clear();
        node.shown = (None, false);
    }

    /// Stops a node in the middle of a write: of what was queued the disk has the names alone, and nobody was told of it.
    pub fn crash_torn(&mut self, id: ReplicaId) {
        let disk = &mut self.node(id).disk;
        for (_, record) in std::mem::take(&mut disk.queued) {
            disk.maybe.push((record.slot, record.ballot));
            disk.records.push(record);
        }
        self.crash(id);
    }

    /// Replaces the disk of a node that is down by an empty one.
    pub fn wipe(&mut self, id: ReplicaId) {
        let node = self.node(id);
        assert!(node.paxos.is_none(), "only a stopped node's disk is wiped");
        node.disk = Disk::default();
        node.incarnation = Incarnation(node.incarnation.0 + 1);
    }

    /// One node more, formatted to join and not started. It is told of the others, and they not of it.
    pub fn newcomer(&mut self) -> ReplicaId {
        let id = ReplicaId(self.nodes.len() as u8 + 1);
        self.nodes.push(Node::new(id));
        self.format_to_join(id);
        id
    }

    /// Formats an empty disk to join the cell.
    pub fn format_to_join(&mut self, id: ReplicaId) {
        let strangers = Config::of_strangers(self.nodes.iter().map(|n| n.id));
        self.node(id).disk.hard_state = Some(HardState::fresh(strangers));
    }

    /// Starts a node from its disk.
    pub fn restart(&mut self, id: ReplicaId) {
        let (members, now, lease_reads) = (self.members(), self.now, self.lease_reads);
        let seed = self.seed;
        let node = self.node(id);
        assert!(node.paxos.is_none(), "only a stopped node is started");
        let mut newest: BTreeMap<Slot, AcceptedRecord> = BTreeMap::new();
        let mut chosen_upto = Slot(0);
        for record in &node.disk.records {
            chosen_upto = chosen_upto.max(record.chosen_upto);
            newest.insert(record.slot, record.clone());
        }
        for (first, last) in &node.disk.unknown {
            // What was damaged is not applied from this disk.
            if *last <= chosen_upto || *first <= chosen_upto {
                chosen_upto = first.previous();
            }
        }
        let (mut lost, mut maybe) = (Vec::new(), Vec::new());
        for (damaged, named) in [(&node.disk.lost, &mut lost), (&node.disk.maybe, &mut maybe)] {
            for (slot, ballot) in damaged {
                let is_newest = newest.get(slot).is_some_and(|record| record.ballot == *ballot);
                if is_newest && let Some(record) = newest.remove(slot) {
                    named.push((*slot, *ballot, record.value.hash()));
                    chosen_upto = chosen_upto.min(slot.previous());
                }
            }
        }
        for slot in 1..=chosen_upto.0 {
            let record =
                newest.get(&Slot(slot)).unwrap_or_else(|| panic!("{id:?}: s{slot} is said chosen and has no record"));
            node.applied.push(record.value.clone());
        }
        let recovered = Recovered {
            hard_state: node.disk.hard_state.clone().unwrap_or_else(|| HardState::fresh(members)),
            chosen_upto,
            trimmed_upto: Slot(0),
            accepted: newest.into_values().filter(|record| record.slot > chosen_upto).collect(),
            lost,
            maybe,
            unknown: node.disk.unknown.iter().copied().filter(|(_, last)| *last > chosen_upto).collect(),
        };
        let applied = node.applied.clone();
        node.starts += 1;
        let settings = Settings {
            me: id,
            incarnation: node.incarnation,
            heartbeat: Duration::from_millis(25),
            lease: Duration::from_millis(250),
            lease_reads,
            margin: Duration::from_millis(5),
            clock_error_ppm: 1000,
            election_min: Duration::from_millis(250),
            election_max: Duration::from_millis(375),
            log_memory_bytes: 1 << 20,
            seed: seed ^ (u64::from(id.0) << 32) ^ (node.starts << 40),
        };
        node.paxos = Some(Paxos::new(now, settings, recovered));
        for (i, value) in applied.iter().enumerate() {
            self.oracle.learned(id, Slot(i as u64 + 1), value);
        }
    }

    /// Calls one node's core and does what it puts out, until it is silent.
    pub fn with<R>(
        &mut self,
        id: ReplicaId,
        call: impl FnOnce(&mut Paxos, Instant, &mut Vec<Output>) -> R,
    ) -> Option<R> {
        let now = self.now;
        let mut out = Vec::new();
        let answer = call(self.node(id).paxos.as_mut()?, now, &mut out);
        self.put_out(id, &mut out);
        let applied = Slot(self.node(id).applied.len() as u64);
        let paxos = self.node(id).paxos.as_mut()?;
        if applied > paxos.status().applied_upto {
            paxos.applied(now, applied, &mut out);
            paxos.end_turn(&mut out);
            self.put_out(id, &mut out);
        }
        self.node(id).paxos.as_ref()?.invariants();
        self.show_role(id);
        Some(answer)
    }

    fn put_out(&mut self, id: ReplicaId, out: &mut Vec<Output>) {
        for output in out.drain(..) {
            match output {
                Output::Send { to, message } => self.send(id, to, message),
                Output::Append { sequence, record } => {
                    if !record.learned {
                        self.oracle.proposed(record.slot, record.ballot, &record.value);
                    }
                    self.node(id).disk.queued.push_back((sequence, record));
                }
                Output::SaveHardState { version, state } => self.node(id).disk.hard_queued.push_back((version, state)),
                Output::Chosen { slot, value } => {
                    self.oracle.learned(id, slot, &value);
                    self.say(format!("n{id} chose {slot} {}", word(&value)));
                    let node = self.node(id);
                    node.applied.push(value);
                    assert_eq!(slot.0, node.applied.len() as u64, "chosen values come in slot order");
                }
                Output::ReadPoint { ticket, upto } => {
                    let answer = upto.map_or("none".to_string(), |upto| upto.to_string());
                    self.say(format!("n{id} read {ticket} at {answer}"));
                    self.node(id).reads.push((ticket, upto));
                }
                Output::ReadLog { to, from, upto } => {
                    let asked = &self.node(id).applied[from.0 as usize - 1..upto.0 as usize];
                    let ends = asked.iter().scan(0, |bytes, value: &Value| {
                        *bytes += value.bytes().len();
                        Some(*bytes)
                    });
                    let values = asked[..ends.take_while(|end| *end <= READ_BYTES_MAX).count().max(1)].to_vec();
                    self.say(format!("n{id} reads its log {from}..{upto} for n{to}"));
                    let (mut more, now) = (Vec::new(), self.now);
                    if let Some(paxos) = &mut self.node(id).paxos {
                        paxos.log_read(now, to, from, values, &mut more);
                    }
                    self.put_out(id, &mut more);
                }
                Output::RoleChanged => {}
            }
        }
    }

    fn send(&mut self, from: ReplicaId, to: ReplicaId, message: Message) {
        let lost = self.cut.contains(&(from, to));
        let heartbeat = matches!(message, Message::Heartbeat { .. } | Message::HeartbeatReply { .. });
        if self.show_heartbeats || !heartbeat {
            let mark = if lost { " (lost)" } else { "" };
            self.say(format!("n{from} -> n{to} {}{mark}", self.describe(&message)));
        }
        if let Message::Accept { ballot, slot, value, .. } = &message {
            self.oracle.proposed(*slot, *ballot, value);
        }
        if !lost {
            let incarnation = self.node(from).incarnation;
            self.network.push_back(Frame { from, incarnation, to, message });
        }
    }

    pub fn deliver(&mut self, frame: Frame) {
        self.delivered.insert((frame.from, frame.to), frame.clone());
        let Frame { from, incarnation, to, message } = frame;
        self.with(to, |paxos, now, out| paxos.receive(now, from, incarnation, message, out));
    }

    /// Makes everything a node wrote durable, hard state first, and tells it.
    pub fn flush(&mut self, id: ReplicaId) -> bool {
        self.flush_some(id, true, usize::MAX)
    }

    /// Makes the newest hard state durable, or not, and the first few records.
    pub fn flush_some(&mut self, id: ReplicaId, hard_state: bool, records: usize) -> bool {
        let mut did = false;
        let newest = if hard_state { self.node(id).disk.hard_queued.drain(..).next_back() } else { None };
        if let Some((version, state)) = newest {
            self.node(id).disk.hard_state = Some(state);
            self.with(id, |paxos, now, out| paxos.hard_state_durable(now, version, out));
            did = true;
        }
        let queued = &mut self.node(id).disk.queued;
        let count = records.min(queued.len());
        let records: Vec<_> = queued.drain(..count).collect();
        let Some((sequence, _)) = records.last() else { return did };
        let (sequence, incarnation) = (*sequence, self.node(id).incarnation);
        for (_, record) in records {
            if !record.learned {
                self.oracle.voted((id, incarnation), record.slot, record.ballot, &record.value);
            }
            self.say(format!("n{id} flushed {}@{}", record.slot, record.ballot));
            self.node(id).disk.records.push(record);
        }
        self.with(id, |paxos, now, out| paxos.durable(now, sequence, out));
        true
    }

    /// Delivers and flushes, in order, until nothing moves.
    pub fn settle(&mut self) {
        loop {
            while let Some(frame) = self.network.pop_front() {
                if !(self.lost)(&frame.message) {
                    self.deliver(frame);
                }
            }
            let ids: Vec<ReplicaId> = self.nodes.iter().filter(|n| !n.disk.held).map(|n| n.id).collect();
            let mut did = false;
            for id in ids {
                did |= self.flush(id);
            }
            if !did && self.network.is_empty() {
                return;
            }
        }
    }

    /// Lets time pass, ticking every node when it is due, and everything settle.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.settle();
            let due = self.nodes.iter().filter_map(|n| Some((n.paxos.as_ref()?.next_deadline(), n.id))).min();
            let Some((at, id)) = due.filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.with(id, |paxos, now, out| paxos.tick(now, out));
            let next = self.node(id).paxos.as_ref().map(Paxos::next_deadline);
            assert!(next.is_none_or(|next| next > self.now), "n{id} ticks for ever: a deadline that passed stays due");
        }
        self.now = end;
        self.settle();
    }

    /// Lets this node's election time-out pass, and only this node act on it.
    pub fn campaign(&mut self, id: ReplicaId) {
        for _ in 0..8 {
            if self.role(id) != Role::Follower {
                return;
            }
            let due = self.node(id).paxos.as_ref().expect("a candidate runs").next_deadline();
            self.now = self.now.max(due);
            self.with(id, |paxos, now, out| paxos.tick(now, out));
        }
        panic!("n{id} does not stand for election");
    }

    /// Nothing passes between one and these.
    pub fn cut_off(&mut self, one: ReplicaId, others: impl IntoIterator<Item = ReplicaId>) {
        self.cut.extend(others.into_iter().flat_map(|other| [(one, other), (other, one)]));
    }

    pub fn role(&self, id: ReplicaId) -> Role {
        self.nodes[usize::from(id.0) - 1].paxos.as_ref().map_or(Role::Follower, |paxos| paxos.status().role)
    }

    fn show_role(&mut self, id: ReplicaId) {
        let node = self.node(id);
        let Some(paxos) = &node.paxos else { return };
        let shown = (paxos.leader(), paxos.is_leading());
        if shown == node.shown {
            return;
        }
        node.shown = shown;
        let leader = shown.0.map_or("nobody".to_string(), |leader| format!("n{leader}"));
        let ballot = paxos.ballot();
        match (shown.0 == Some(id), shown.1) {
            (true, true) => self.say(format!("n{id} serves reads at {ballot}")),
            (true, false) => self.say(format!("n{id} leads at {ballot}")),
            _ => self.say(format!("n{id} follows {leader}")),
        }
    }

    pub fn say(&mut self, line: String) {
        let long = ["noop", " flushed ", " Accepted ", "CatchUp"].iter().any(|word| line.contains(word));
        if !(self.quiet || self.brief && long) {
            self.transcript.push(line);
        }
    }

    fn describe(&self, message: &Message) -> String {
        use quorate::paxos::Evidence;
        let named = |hash: u128| {
            let known = self.oracle.proposed.values().find(|value| value.hash() == hash);
            known.map_or("?".to_string(), word)
        };
        match message {
            Message::Probe { ballot, chosen_upto } => format!("Probe {ballot} chosen={chosen_upto}"),
            Message::ProbeReply { ballot, granted, promised } => {
                format!("ProbeReply {ballot} {} promised={promised}", if *granted { "granted" } else { "refused" })
            }
            Message::Prepare { ballot, from, released } => {
                let released = released.map_or(String::new(), |released| format!(" released={released}"));
                format!("Prepare {ballot} from={from}{released}")
            }
            Message::Promise { ballot, chosen_upto, reports, .. } => {
                let mut line = format!("Promise {ballot} chosen={chosen_upto}");
                for report in reports {
                    line += &match report.evidence {
                        Evidence::Have { accepted, hash } => format!(" {}={}@{accepted}", report.slot, named(hash)),
                        Evidence::Lost { accepted, hash } => {
                            format!(" {}=lost({})@{accepted}", report.slot, named(hash))
                        }
                        Evidence::Maybe { accepted, hash } => {
                            format!(" {}=maybe {}@{accepted}", report.slot, named(hash))
                        }
                        Evidence::Unknown => format!(" {}=unknown", report.slot),
                    };
                }
                line
            }
            Message::Refused { ballot, promised } => format!("Refused {ballot} promised={promised}"),
            Message::FetchAccepted { slot, accepted, .. } => format!("FetchAccepted {slot}@{accepted}"),
            Message::AcceptedValue { slot, accepted, value, .. } => {
                format!("AcceptedValue {slot}@{accepted} {}", word(value))
            }
            Message::Accept { ballot, slot, value, chosen_upto, .. } => {
                format!("Accept {ballot} {slot}={} chosen={chosen_upto}", word(value))
            }
            Message::Accepted { ballot, from, upto, .. } if from == upto => format!("Accepted {ballot} {from}"),
            Message::Accepted { ballot, from, upto, .. } => format!("Accepted {ballot} {from}..{upto}"),
            Message::Heartbeat { ballot, round, chosen_upto, trim_upto, .. } => {
                format!("Heartbeat {ballot} r{round} chosen={chosen_upto}{}", unless_zero("trim", *trim_upto))
            }
            Message::HeartbeatReply { ballot, round, chosen_upto, image_upto, cramped } => {
                let (image, room) = (unless_zero("image", *image_upto), if *cramped { " cramped" } else { "" });
                format!("HeartbeatReply {ballot} r{round} chosen={chosen_upto}{image}{room}")
            }
            Message::CatchUp { from, upto } => format!("CatchUp {from}..{upto}"),
            Message::Chosen { from, values } => {
                let words: Vec<_> = values.iter().map(word).collect();
                format!("Chosen from={from} {}", words.join(" "))
            }
            Message::Trimmed { trimmed_upto } => format!("Trimmed {trimmed_upto}"),
            Message::Release { ballot, chosen_upto } => format!("Release {ballot} chosen={chosen_upto}"),
        }
    }
}

/// What one read of the log brings, unless its first value alone is longer.
const READ_BYTES_MAX: usize = quorate::limits::CATCH_UP_BYTES_MAX;

/// A value as the transcripts show it.
pub fn word(value: &Value) -> String {
    match value.kind() {
        Some(Kind::Noop) => "noop".to_string(),
        Some(Kind::Commands) => format!("put({})", String::from_utf8_lossy(&value.body())),
        Some(Kind::Config) => {
            let (_, config) = Config::from_value(value).expect("a member list decodes");
            let named = |m: &Member| {
                let disk = match m.incarnation {
                    Some(incarnation) => "'".repeat((incarnation.0 & 0xff) as usize),
                    None => "?".to_string(),
                };
                format!("{}{disk}{}", m.replica, if m.is_voter() { "" } else { "+" })
            };
            format!("members({})", config.members().iter().map(named).collect::<Vec<_>>().join(" "))
        }
        None => "nothing".to_string(),
    }
}

fn unless_zero(name: &str, slot: Slot) -> String {
    if slot == Slot(0) { String::new() } else { format!(" {name}={slot}") }
}
