//! What may never happen between replicas, judged from outside: from frames as they are sent, records as they become
//! durable, and applied states as they are seen.
//!
//! 1. One value per (slot, ballot), whoever proposes or votes.
//! 2. A value with durable votes of a majority at one ballot is *chosen*: no vote or proposal at a higher ballot, no value
//!    handed out as chosen and no applied state differs from it, ever.
//! 3. A vote is said only when its record is durable, and a durable record is found again by every restart.
//! 4. Nothing is called chosen, or applied, that is not.
//! 5. A promise is said only when all four copies of the hard state, or a durable record, hold its ballot. ([`super::node`])
//! 6. Whoever may read under a lease has applied everything that anybody has. ([`super::run`])
//! 7. A node whose disk is an older copy of itself promises and votes nothing.
//! 8. Applied states are equal at equal slots; they, and chosen marks, never fall while a process lives.
//! 9. Whoever has applied a slot counts by the member list that the log has put in force for the next one.
//! 10. Log time runs ahead of true time by a second at most, and in the calm lags behind it by little in a reign.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate::paxos::{AcceptedRecord, Ballot, Config, Incarnation, Message, ReplicaId, Slot, Value};
use quorate::replica::Replica;
use quorate::wire::peer::PeerMessage;

use super::links::replica;
use super::lists::Lists;
use super::node::incarnation;
use super::pasts::Pasts;
use super::recovery::Found;
use super::world::{MILLI, Moment, SECOND};

/// Everything seen so far.
#[derive(Debug)]
pub struct Oracle {
    pub lists: Lists,
    values: BTreeMap<(Slot, Ballot), u128>,
    votes: BTreeMap<(Slot, Ballot), BTreeSet<(ReplicaId, Incarnation)>>,
    chosen: BTreeMap<Slot, Chosen>,
    /// Every slot up to here is chosen.
    chosen_upto: Slot,
    digests: BTreeMap<Slot, u128>,
    seen: Vec<Seen>,
    /// The moment of the step under way.
    pub now: Moment,
    /// When each log time was said first.
    said: BTreeMap<u64, Moment>,
    pace: Option<Pace>,
    /// In the calm: the reign that proposed last, and the first log time it said there, and when.
    timed: Option<(Ballot, u64, Moment)>,
    /// No misfortune strikes any more.
    pub calm: bool,
    /// Clocks run at any rate: log time is no measure of true time.
    pub timeless: bool,
    /// Nodes whose disks forgot something.
    old: BTreeSet<usize>,
    /// What fronts may have forgotten.
    pub pasts: Pasts,
}

/// The newest log time that was applied anywhere, and by how little log time was ahead of true time, at the least.
#[derive(Clone, Copy, Debug)]
struct Pace {
    log_time: u64,
    ahead_min: i128,
}

#[derive(Debug)]
struct Chosen {
    /// The lowest ballot known to have chosen it.
    ballot: Ballot,
    value: Bytes,
    hash: u128,
}

/// One node, as it was last seen.
#[derive(Clone, Debug)]
struct Seen {
    incarnation: Incarnation,
    /// The newest durable vote of each slot.
    durable: BTreeMap<Slot, Ballot>,
    /// Slots above the next field that have a durable record, a vote or a learned value.
    on_disk: BTreeSet<Slot>,
    /// Every slot up to here has had one, or is in a durable image.
    held_upto: Slot,
    /// The highest ballot of any durable record: a restart promises at least that.
    proved: Ballot,
    applied_upto: Slot,
    chosen_upto: Slot,
    ballot: Ballot,
}

impl Seen {
    fn of(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            durable: BTreeMap::new(),
            on_disk: BTreeSet::new(),
            held_upto: Slot(0),
            proved: Ballot::NONE,
            applied_upto: Slot(0),
            chosen_upto: Slot(0),
            ballot: Ballot::NONE,
        }
    }
}

impl Oracle {
    pub fn new(nodes: usize) -> Self {
        Self {
            lists: Lists::of(Config::of_voters((0..nodes).map(replica))),
            values: BTreeMap::new(),
            votes: BTreeMap::new(),
            chosen: BTreeMap::new(),
            chosen_upto: Slot(0),
            digests: BTreeMap::new(),
            seen: (0..nodes).map(|node| Seen::of(incarnation(node))).collect(),
            now: 0,
            said: BTreeMap::new(),
            pace: None,
            timed: None,
            calm: false,
            timeless: false,
            old: BTreeSet::new(),
            pasts: Pasts::default(),
        }
    }

    /// A node sends a message.
    pub fn says(&mut self, node: usize, to: ReplicaId, message: &PeerMessage) {
        let PeerMessage::Paxos(message) = message else { return };
        let asks = matches!(message, Message::Probe { .. });
        assert!(asks || !self.old.contains(&node), "node {node} forgot what it acknowledged, and says {message:?}");
        match message {
            Message::Accept { ballot, slot, value, chosen_upto, .. } => {
                if let Some(log_time) = self.valued(*slot, *ballot, value) {
                    self.log_time_keeps_up(*ballot, log_time);
                }
                self.is_chosen_upto(node, *chosen_upto);
            }
            Message::Accepted { ballot, from, upto, .. } => {
                for slot in (from.0..=upto.0).map(Slot) {
                    let voted = self.votes.get(&(slot, *ballot)).is_some_and(|votes| votes.contains(&self.disk(node)));
                    let decided = self.chosen.contains_key(&slot);
                    assert!(
                        voted || decided,
                        "node {node} says to {to:?} that it accepted {slot:?} at {ballot:?}, which no durable record proves"
                    );
                }
            }
            Message::Chosen { from, values } => {
                for (slot, value) in (from.0..).map(Slot).zip(values) {
                    self.is_chosen(node, slot, value);
                }
            }
            Message::Heartbeat { chosen_upto, .. }
            | Message::HeartbeatReply { chosen_upto, .. }
            | Message::Promise { chosen_upto, .. }
            | Message::Release { chosen_upto, .. }
            | Message::Probe { chosen_upto, .. } => self.is_chosen_upto(node, *chosen_upto),
            Message::ProbeReply { .. }
            | Message::Prepare { .. }
            | Message::Refused { .. }
            | Message::FetchAccepted { .. }
            | Message::AcceptedValue { .. }
            | Message::CatchUp { .. }
            | Message::Trimmed { .. } => {}
        }
    }

    /// Records of a node are durable, in this order.
    pub fn recorded(&mut self, node: usize, records: &[AcceptedRecord]) {
        for record in records {
            let AcceptedRecord { slot, ballot, value, learned, chosen_upto } = record;
            self.is_chosen_upto(node, *chosen_upto);
            let seen = &mut self.seen[node];
            seen.proved = seen.proved.max(*ballot);
            seen.on_disk.insert(*slot);
            if *learned {
                self.is_chosen(node, *slot, value);
                continue;
            }
            self.valued(*slot, *ballot, value);
            self.seen[node].durable.insert(*slot, *ballot);
            let disk = self.disk(node);
            self.votes.entry((*slot, *ballot)).or_default().insert(disk);
            if self.is_quorum(*slot, *ballot) {
                self.choose(*slot, *ballot, value);
            }
        }
    }

    /// A node starts with what its disk told.
    pub fn recovered(&mut self, node: usize, found: &Found) {
        for (slot, value) in &found.chosen {
            self.is_chosen(node, *slot, value);
        }
        self.seen[node].on_disk.extend(found.chosen.iter().map(|(slot, _)| *slot));
        self.recorded(node, &found.accepted);
        self.is_chosen_upto(node, found.image_upto);
        let chosen_upto = found.chosen.last().map_or(found.image_upto, |(slot, _)| *slot);
        let newest: BTreeMap<Slot, &AcceptedRecord> =
            found.accepted.iter().map(|record| (record.slot, record)).collect();
        for (slot, ballot) in self.seen[node].durable.range(chosen_upto.next()..) {
            let held = newest.get(slot).is_some_and(|record| record.learned || record.ballot >= *ballot);
            // A later vote for the slot that is torn, or one that is damaged, leaves its trace.
            let doubtful = found.doubtful.iter().any(|(from, upto)| from <= slot && slot <= upto);
            assert!(
                held || doubtful,
                "node {node} had a durable vote in {slot:?} at {ballot:?}, and does not find it any more"
            );
        }
    }

    /// A node says that its disk has everything up to there; `image_upto`: as its durable image has.
    pub fn holds(&mut self, node: usize, upto: Slot, image_upto: impl Fn() -> Slot) {
        let seen = &mut self.seen[node];
        if upto > seen.held_upto {
            seen.held_upto = seen.held_upto.max(image_upto());
            seen.on_disk = seen.on_disk.split_off(&seen.held_upto.next());
            while seen.on_disk.remove(&seen.held_upto.next()) {
                seen.held_upto = seen.held_upto.next();
            }
        }
        let held = seen.held_upto;
        assert!(
            upto <= held,
            "node {node} says that its disk has everything up to {upto:?}, which it has up to {held:?}"
        );
    }

    /// A node has another disk: what the one before held is gone, and its votes stay what they were.
    pub fn replaced(&mut self, node: usize, incarnation: Incarnation) {
        self.seen[node] = Seen::of(incarnation);
        self.old.remove(&node);
    }

    /// An older copy of a node's disk was put back: it holds less than was seen of it, and the node has no say.
    pub fn put_back(&mut self, node: usize) {
        self.seen[node] = Seen::of(self.seen[node].incarnation);
        self.old.insert(node);
    }

    /// No slot above it was ever proposed or voted in.
    pub fn highest_slot(&self) -> Slot {
        self.values.keys().next_back().map_or(Slot(0), |(slot, _)| *slot)
    }

    fn disk(&self, node: usize) -> (ReplicaId, Incarnation) {
        (replica(node), self.seen[node].incarnation)
    }

    /// A node's process died.
    pub fn crashed(&mut self, node: usize) {
        let seen = &mut self.seen[node];
        (seen.applied_upto, seen.chosen_upto, seen.ballot) = (Slot(0), Slot(0), Ballot::NONE);
    }

    /// A node ended a turn.
    pub fn looked_at(&mut self, node: usize, replica: &Replica) {
        self.log_time_keeps_pace(node, replica.namespace().log_time_ns());
        let (applied_upto, ballot) = (replica.applied_upto(), replica.paxos().ballot());
        let seen = &mut self.seen[node];
        assert!(ballot >= seen.ballot, "node {node} went back from {:?} to {ballot:?}", seen.ballot);
        assert!(applied_upto >= seen.applied_upto, "node {node} went back from {:?}", seen.applied_upto);
        let chosen_upto = replica.paxos().chosen_upto();
        assert!(chosen_upto >= seen.chosen_upto, "node {node} went back from {:?} chosen", seen.chosen_upto);
        let applied = applied_upto > seen.applied_upto;
        (seen.applied_upto, seen.chosen_upto, seen.ballot) = (applied_upto, chosen_upto, ballot);
        self.is_chosen_upto(node, chosen_upto);
        if applied {
            assert!(applied_upto <= self.chosen_upto, "node {node} applied {applied_upto:?}, which is not chosen");
            let digest = replica.namespace().digest();
            let known = *self.digests.entry(applied_upto).or_insert(digest);
            assert!(known == digest, "node {node} differs from another at {applied_upto:?}");
            self.counts_by_the_log(node, applied_upto.next(), replica);
        }
    }

    /// A hard state that is further than its log tells nothing of what came before its lists.
    fn counts_by_the_log(&self, node: usize, next: Slot, replica: &Replica) {
        let (configs, list) = (replica.paxos().configs(), self.lists.at(next));
        let knows = configs.knows(next);
        assert!(
            !knows || configs.at(next) == list,
            "node {node} counts by {:?} at {next:?}, not {list:?}",
            configs.at(next)
        );
    }

    /// The ballot that a node's durable records prove.
    pub fn proved(&self, node: usize) -> Ballot {
        self.seen[node].proved
    }

    /// Every chosen value from slot 1 on.
    pub fn log(&self) -> impl Iterator<Item = (Slot, &Bytes)> {
        self.chosen
            .iter()
            .take_while(|(slot, _)| **slot <= self.chosen_upto)
            .map(|(slot, chosen)| (*slot, &chosen.value))
    }

    /// Every slot up to here is chosen.
    pub fn chosen_upto(&self) -> Slot {
        self.chosen_upto
    }

    /// What waits for a log time waits at least that long: between two of them no less time passes than they say. (An entry
    /// is seen when it is said, which a leader that hesitates does after it read its clock; and when exactly that is within
    /// a turn in which it hesitates is not seen. Both are up to twice the longest lease.)
    fn log_time_keeps_pace(&mut self, node: usize, log_time: u64) {
        // A state from before the first entry has a time too: zero, which nobody said then.
        let Some(said_at) = self.said.get(&log_time).copied().filter(|_| log_time > 0) else { return };
        if self.timeless || self.pace.is_some_and(|pace| log_time <= pace.log_time) {
            return;
        }
        let ahead = i128::from(log_time) - i128::from(said_at);
        let ahead_min = self.pace.map_or(ahead, |pace| pace.ahead_min.min(ahead));
        let gained_ms = (ahead - ahead_min) / i128::from(MILLI);
        assert!(gained_ms < 2000, "log time ran ahead by {gained_ms} ms, node {node} says");
        self.pace = Some(Pace { log_time, ahead_min });
    }

    /// What waits for a log time waits no longer than that by far: within a reign log time runs as its leader's clock does.
    /// (In the calm an entry is seen as soon as it is proposed; a leader that reaches nobody may take a while to lose its reign.)
    fn log_time_keeps_up(&mut self, ballot: Ballot, log_time: u64) {
        if !self.calm || self.timeless {
            return;
        }
        let Some((_, first, at)) = self.timed.filter(|(reign, ..)| *reign == ballot) else {
            self.timed = Some((ballot, log_time, self.now));
            return;
        };
        let (went_by, counted) = (self.now.saturating_sub(at), log_time.saturating_sub(first));
        assert!(
            went_by <= counted + counted / 100 + LAGS_MAX,
            "in the calm the reign of {ballot:?} counted {} ms of log time in {} ms",
            counted / MILLI,
            went_by / MILLI
        );
    }

    /// Returns the log time of commands that nobody was seen to say before.
    fn valued(&mut self, slot: Slot, ballot: Ballot, value: &Value) -> Option<u64> {
        let mut new = None;
        if value.kind() == Some(quorate::paxos::Kind::Commands) {
            let body = value.body();
            let batch = quorate::namespace::codec::Batch::decode(&body).expect("a batch");
            if let Entry::Vacant(said) = self.said.entry(batch.log_time_ns) {
                said.insert(self.now);
                new = Some(batch.log_time_ns);
            }
        }
        let known = *self.values.entry((slot, ballot)).or_insert(value.hash());
        assert!(known == value.hash(), "two values in {slot:?} at {ballot:?}");
        if let Some(chosen) = self.chosen.get(&slot) {
            let may_differ = ballot < chosen.ballot;
            assert!(
                may_differ || chosen.hash == value.hash(),
                "{slot:?} is chosen at {:?}, but another value is about at {ballot:?}",
                chosen.ballot
            );
        }
        new
    }

    fn choose(&mut self, slot: Slot, ballot: Ballot, value: &Value) {
        let new = || Chosen { ballot, value: value.bytes().clone(), hash: value.hash() };
        let chosen = self.chosen.entry(slot).or_insert_with(new);
        assert!(
            chosen.hash == value.hash(),
            "{slot:?} was chosen at {:?}, and differently at {ballot:?}",
            chosen.ballot
        );
        chosen.ballot = chosen.ballot.min(ballot);
        let (lowest, hash) = (chosen.ballot, chosen.hash);
        let higher = (slot, lowest)..(slot.next(), Ballot::NONE);
        for ((_, ballot), other) in self.values.range(higher) {
            assert!(*other == hash, "{slot:?} was chosen at {lowest:?}, and another value was about at {ballot:?}");
        }
        while let Some(chosen) = self.chosen.get(&self.chosen_upto.next()) {
            self.chosen_upto = self.chosen_upto.next();
            self.lists.follow(self.chosen_upto, &Value::copy_of(&chosen.value));
        }
    }

    /// Whether enough of those have voted whose disks the list in force names.
    fn is_quorum(&self, slot: Slot, ballot: Ballot) -> bool {
        self.lists.is_quorum(slot, self.votes[&(slot, ballot)].iter().copied())
    }

    fn is_chosen(&self, node: usize, slot: Slot, value: &Value) {
        let chosen = self.chosen.get(&slot).map(|chosen| chosen.hash);
        assert!(chosen == Some(value.hash()), "node {node} takes a value for chosen in {slot:?} that is not");
    }

    fn is_chosen_upto(&self, node: usize, upto: Slot) {
        assert!(upto <= self.chosen_upto, "node {node} says {upto:?} is chosen, but {:?} is", self.chosen_upto);
    }
}

/// How long after it was proposed an entry may be seen first, in the calm.
const LAGS_MAX: Moment = 3 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of one reign, a second apart, of which the log says that so many milliseconds went by between them.
    fn a_reign(ms: u64, late: impl Fn(u64) -> Moment) {
        let mut oracle = Oracle::new(3);
        oracle.calm = true;
        let ballot = Ballot { round: 4, replica: ReplicaId(1) };
        for second in 1..20 {
            oracle.now = second * SECOND + late(second);
            oracle.log_time_keeps_up(ballot, second * ms * MILLI);
        }
        // The next reign's log time goes on from what was applied, whatever that was.
        oracle.log_time_keeps_up(Ballot { round: 5, replica: ReplicaId(2) }, 0);
    }

    #[test]
    fn log_time_that_keeps_up_is_left_alone_though_some_entries_are_seen_late() {
        a_reign(1000, |second| second % 3 * SECOND);
        a_reign(2000, |_| 0);
    }

    #[test]
    #[should_panic(expected = "ms of log time in")]
    fn log_time_at_half_the_rate_is_noticed() {
        a_reign(500, |_| 0);
    }
}
