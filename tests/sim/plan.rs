//! What one seed is made of: sizes, timings and the mix of faults, each seed its own.

use quorate::client::machine::{Prefer, Settings as ClientSettings};
use quorate::front::Rate;
use quorate::limits::{BLOCK_BYTES, SLOT_WINDOW};
use quorate::paxos::{Incarnation, ReplicaId, Settings, Slot};

use quorate::replica::{Bounds, ImageFileError};

use super::links::replica;
use super::node::{CELL, address};
use super::world::{MICRO, MILLI, Moment, Random, SECOND, span};
use super::{disk, network};

/// One run's conditions.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: usize,
    pub clients: usize,
    /// Calls of one client in the phase with faults.
    pub calls: u64,
    /// Calls of one client that may wait for an answer.
    pub depth: u64,
    /// Reads among the calls of a client that does both, in a thousand.
    pub reads: u64,
    /// Pause between two calls, on average.
    pub think: Moment,
    /// Names under one parent: the fewer, the more calls conflict.
    pub names: u64,
    pub heartbeat: Moment,
    pub lease: Moment,
    pub margin: Moment,
    pub lease_reads: bool,
    pub log_memory_bytes: usize,
    pub segment_bytes: usize,
    /// Log after which an image is taken.
    pub image_after_bytes: u64,
    /// Log at which there is no room for more: the least that a configuration may ask for, and up to plenty.
    pub journal_bytes_max: u64,
    /// Log that is kept for members that are away.
    pub keep_bytes: u64,
    /// The largest piece of an image sent to another.
    pub transfer_bytes: usize,
    /// Newest images that are damaged at a crash, in a thousand.
    pub damaged_images: u64,
    /// Damage that is a write which went astray, in a thousand.
    pub astray: u64,
    /// Reads of which the device brings a block from elsewhere, in a thousand: of images that are lent, and where a log is
    /// damaged of that too.
    pub misreads: u64,
    /// An image may be damaged, misread, or another's under the same name.
    pub spoils_images: bool,
    /// What lies still is read once in it.
    pub scrub_period: Option<Moment>,
    /// Slots between two digests that replicas compare.
    pub digest_every: u64,
    pub session_timeout: Moment,
    /// Fronts on cores of their own; with none, one shares the replica's.
    pub fronts_apart: usize,
    /// Notices that come late to a front apart, and those behind them, in a thousand.
    pub slow_rings: u64,
    /// Answers of which the client tells another one, in a thousand.
    pub rumours: u64,
    /// Changes that a front keeps for watches that come back, in bytes.
    pub past_bytes: usize,
    /// How much a client may ask.
    pub rate: Option<Rate>,
    /// Clients that keep answers, in a thousand.
    pub caching: u64,
    /// Of so many thousandths of the clients that die the session goes on in another process.
    pub saving: u64,
    /// Those die who keep answers: their sessions go on elsewhere while these count.
    pub heirs: bool,
    /// Watches of one client at a time, at most.
    pub watches: u64,
    /// Sends to a client after which its watches hear nothing for a while, in a thousand.
    pub clogs: u64,
    /// Between two questions to single replicas, on average, if somebody asks any.
    pub enquire_every: Option<Moment>,
    /// Between two calls of a stranger, on average, if one comes by.
    pub stranger_every: Option<Moment>,
    pub network: network::Conduct,
    pub disk: disk::Conduct,
    /// A crash tears what is being written. While a disk is lost none does: of a torn vote only all members together can
    /// say that it was none. Nor does any where one is away for good.
    pub tears: bool,
    /// It may, when no disk is lost.
    pub may_tear: bool,
    /// Starts that crash again before they are through, in a thousand.
    pub torn_starts: u64,
    /// Pauses in the middle of a turn, in a thousand.
    pub hiccups: u64,
    /// How often, in a thousand, a link has no room for what is to be forwarded.
    pub crowded: u64,
    /// Between two misfortunes, on average.
    pub misfortune_every: Moment,
    /// Changes of members wait for a leader beside whom some node is in that phase.
    pub ambush: Option<&'static str>,
    /// How likely each kind of misfortune is, against the others.
    pub weights: Weights,
    /// Whose log is damaged. While one is, no disk is lost: a majority must be able to tell everything. Where votes are torn
    /// besides only what is chosen is damaged ([`super::damage`]).
    pub victim: Option<usize>,
    /// More may be damaged and lost than can be repaired: nothing has to come to its end, and nothing may go wrong.
    pub beyond_repair: bool,
    /// Nodes that are down in the calm, a minority.
    pub absent: usize,
    /// They are not down: their disks stay full.
    pub cramped: bool,
    /// What two clocks' rates may differ from true time, in parts per million. Beyond what the cell is told no lease and no
    /// session is safe; what is chosen is, and what is read without a lease.
    pub clock_error_ppm: u64,
    /// What the cell is told of how far two clocks' rates may differ.
    pub told_error_ppm: u64,
    /// The phase with faults is not longer.
    pub storm: Moment,
    /// Calls of one client when the storm is over and one has led for a while.
    pub serene: u64,
    /// When all is done in the calm clients come back, and their leader is lost.
    pub succession: bool,
    /// At the end the cell must come to rest.
    pub rest: bool,
}

/// The mix of misfortunes.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    pub crash: u64,
    pub crash_all: u64,
    /// A process ends in the middle of what it is doing.
    pub crash_within: u64,
    pub away: u64,
    pub pause: u64,
    pub isolate: u64,
    pub one_way: u64,
    pub cut_pair: u64,
    pub cut_client: u64,
    pub client_dies: u64,
    pub break_link: u64,
    pub stall_disk: u64,
    pub fill_disk: u64,
    pub hand_over: u64,
    /// The leader keeps a bare majority, and one of that restarts.
    pub hunt: u64,
    /// A disk is lost, and an empty one takes its place.
    pub lose_disk: u64,
    /// A replica is removed, and added again with another disk.
    pub remove: u64,
    /// Two replicas are removed, one after the other, and added again.
    pub remove_two: u64,
    /// A write fails.
    pub write_error: u64,
    /// A block of the victim's log is damaged.
    pub damage: u64,
    /// A host's calendar jumps.
    pub jump_wall: u64,
    /// A copy of a disk is taken, or the one taken before put back.
    pub put_back: u64,
}

/// Deep pipelines make long entries, and an entry has to fit a segment.
const fn segment_blocks(depth: u64) -> usize {
    match depth {
        1 => 32,
        4 => 128,
        _ => 512,
    }
}

/// Room for open slots: a window of them, accepted anew in many reigns, finds it in the smallest.
fn windows(random: &mut Random) -> u64 {
    random.pick(&[8, 16, 32]) * SLOT_WINDOW * 2 * BLOCK_BYTES as u64
}

/// How many frames of a thousand meet with a fault of one kind.
fn frames(harsh: bool, random: &mut Random) -> u64 {
    if harsh { random.below(101) } else { 0 }
}

/// A network that treats so many frames of a thousand badly, each in its own way.
fn conduct(random: &mut Random, latency: Moment, (dropped, doubled, reordered): (u64, u64, u64)) -> network::Conduct {
    network::Conduct {
        latency,
        loss: random.pick(&[0, 0, 10, 100]),
        dropped,
        doubled,
        reordered,
        replayed: 0,
        flipped: 0,
        held: 0,
        cut: random.below(2) == 0,
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(random: &mut Random) -> Self {
        // What came to plans later is drawn apart, so that a seed's sizes and its mix stay what they were.
        let mut more = Random::new(random.clone().draw());
        let mut plan = Self::draw_most(random, &mut more);
        if plan.network.is_harsh() {
            plan.network.replayed = more.pick(&[0, 20]);
        }
        if plan.caching == 1000 && more.below(4) == 0 {
            (plan.heirs, plan.saving, plan.weights.client_dies) = (true, 1000, 40);
        }
        if plan.nodes >= 3 && plan.victim.is_none() && more.below(16) == 0 {
            plan.go_beyond_repair(&mut more);
        }
        if plan.lease_reads && more.below(6) == 0 {
            // What their makers promise no clock keeps by far, and the cell knows: its own leases hold. Those of clients do not.
            (plan.clock_error_ppm, plan.told_error_ppm, plan.caching) = (200_000, 400_000, 0);
        }
        plan.crowded = more.pick(&[0, 0, 10, 100]);
        plan.network.flipped = more.pick(&[0, 0, 0, 1, 10]);
        plan.enquire_every = more.pick(&[None, None, Some(plan.storm / 100)]);
        plan.weights.crash_within = more.pick(&[0, 0, 4, 10]);
        plan.serene = more.pick(&[0, 0, 0, 0, 0, 0, 0, 20]);
        plan.network.held = more.pick(&[0, 0, 0, 2, 10]);
        plan.misreads = more.pick(&[0, 50]);
        if (plan.victim.is_some() || plan.beyond_repair) && more.below(2) == 0 {
            (plan.tears, plan.may_tear) = (true, true);
        }
        plan.spoils_images = plan.may_spoil_images();
        plan.stranger_every = (more.below(8) == 0).then_some(plan.storm / 50);
        plan.succession = more.below(12) == 0;
        plan.rest = more.below(12) == 0;
        plan
    }

    fn draw_most(random: &mut Random, more: &mut Random) -> Self {
        let (storm, calls) = (random.within(500, 6000) * MILLI, random.pick(&[10, 40, 100, 300]));
        let lease = random.within(40, 400) * MILLI;
        // A cell whose disks or network take as long as its lease elects for ever; that is a matter of configuration.
        let latency = random.pick(&[20 * MICRO, 100 * MICRO, 500 * MICRO, 2 * MILLI]).min(lease / 100);
        let disk_latency = random.pick(&[50 * MICRO, 200 * MICRO, MILLI, 5 * MILLI]).min(lease / 100);
        let (depth, nodes) = (random.pick(&[1, 1, 4, 16, 64]), random.pick(&[1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7]));
        let segment_bytes = segment_blocks(depth) * BLOCK_BYTES;
        let victim = (nodes >= 3 && random.below(5) == 0).then(|| random.below(nodes as u64) as usize);
        // Damage to what no start reads any more is none.
        let image_after_bytes = random.pick(&[16 << 10, 64 << 10, 256 << 10]) << if victim.is_some() { 4 } else { 0 };
        let journal_bytes_max = 3 * image_after_bytes + windows(random).max(4 * segment_bytes as u64);
        let harsh = random.below(3) == 0;
        // Where everybody keeps answers they are mostly read, and in time to be kept.
        let caching = random.pick(&[0, 500, 1000]);
        let (dropped, doubled, reordered) = (frames(harsh, random), frames(harsh, random), frames(harsh, random));
        let absent = if victim.is_none() && random.below(4) == 0 { (nodes - 1) / 2 } else { 0 };
        let lease_reads = random.below(4) > 0;
        let clock_error_ppm = if !lease_reads && random.below(2) == 0 { 50_000 } else { CLOCK_ERROR_PPM };
        let weights = Weights::draw(random, more, victim.is_some());
        Self {
            nodes,
            clients: random.within(1, 5) as usize,
            calls,
            depth,
            reads: if caching == 1000 { 800 } else { random.pick(&[300, 300, 500, 800]) },
            // Some calls come all at once, most are spread over the storm.
            think: if caching == 1000 { storm / calls } else { random.pick(&[0, storm / calls / 2, storm / calls]) },
            names: random.within(1, 8),
            heartbeat: lease / 10,
            lease,
            margin: random.within(1, 5) * MILLI,
            lease_reads,
            log_memory_bytes: random.pick(&[1 << 12, 1 << 16, 1 << 24]),
            segment_bytes,
            image_after_bytes,
            journal_bytes_max,
            keep_bytes: random.pick(&[0, 0, 8, 16]) * segment_bytes as u64,
            transfer_bytes: random.pick(&[200, 1 << 10, 256 << 10]),
            damaged_images: random.pick(&[0, 0, 300]),
            astray: more.pick(&[0, 300]),
            misreads: 0,
            spoils_images: false,
            scrub_period: random.pick(&[None, Some(200 * MILLI), Some(2 * SECOND)]),
            digest_every: random.pick(&[1, 5, 20]),
            session_timeout: random.within(2000, 6000) * MILLI,
            fronts_apart: more.pick(&[0, 0, 0, 1, 2, 3]),
            past_bytes: random.pick(&[1 << 10, 16 << 10, 1 << 20, 64 << 20]),
            rate: random.pick(&[None, None, None, Some(Rate { per_second: 500, burst: 50 })]),
            watches: random.within(0, 4),
            caching,
            saving: random.pick(&[0, 500, 1000]),
            heirs: false,
            clogs: random.pick(&[0, 0, 20, 200]),
            enquire_every: None,
            stranger_every: None,
            network: conduct(random, latency, (dropped, doubled, reordered)),
            disk: disk::Conduct { latency: disk_latency, slow: random.pick(&[0, 0, 5, 50]) },
            tears: victim.is_none() && absent == 0,
            may_tear: victim.is_none() && absent == 0,
            torn_starts: random.pick(&[0, 0, 200]),
            hiccups: random.pick(&[0, 0, 1, 10]),
            crowded: 0,
            ambush: more.pick(&[None, Some("probing"), Some("phase 1"), Some("taking over"), Some("catching up")]),
            slow_rings: more.pick(&[0, 20, 200]),
            rumours: more.pick(&[0, 0, 100, 500]),
            misfortune_every: storm / random.within(3, 50),
            victim,
            beyond_repair: false,
            absent,
            cramped: more.pick(&[false, true]),
            weights: Weights { put_back: if victim.is_none() { more.pick(&[0, 0, 10]) } else { 0 }, ..weights },
            clock_error_ppm,
            told_error_ppm: CLOCK_ERROR_PPM,
            storm,
            serene: 0,
            succession: false,
            rest: false,
        }
    }

    /// Every node's log is damaged, and disks are lost several at a time.
    fn go_beyond_repair(&mut self, random: &mut Random) {
        (self.beyond_repair, self.absent, self.damaged_images) = (true, 0, 0);
        (self.tears, self.may_tear) = (false, false);
        self.weights.damage = random.within(2, 20);
        self.weights.lose_disk = random.within(0, 5);
        (self.weights.remove, self.weights.remove_two, self.weights.put_back) = (0, 0, 0);
    }

    fn may_spoil_images(&self) -> bool {
        let Weights { put_back, lose_disk, remove, remove_two, .. } = self.weights;
        let is_damaged = self.damaged_images + self.misreads > 0 || self.victim.is_some() || self.beyond_repair;
        is_damaged || put_back + lose_disk + remove + remove_two > 0
    }

    /// Of an image that nobody spoiled, each piece is taken, however often its transfer is interrupted.
    pub fn judge_refusal(&self, from: ReplicaId, image: Slot, error: &ImageFileError) {
        assert!(self.spoils_images, "the image {image:?} of {from:?} is sound, and was refused: {error}");
    }

    /// Whether that node's log is damaged.
    pub fn is_struck(&self, node: usize) -> bool {
        self.beyond_repair || self.victim == Some(node)
    }

    /// Whether a node may have so little room that it gives its log up to the newest image.
    pub fn may_be_stuck(&self) -> bool {
        self.cramped || self.weights.fill_disk > 0
    }

    pub fn bounds(&self) -> Bounds {
        Bounds {
            image_after_bytes: self.image_after_bytes,
            journal_bytes_max: self.journal_bytes_max,
            keep_bytes: self.keep_bytes,
        }
    }

    /// How a node is set up in one of its lives: an operator may have it ask for a shorter lease than before, or for none.
    pub fn settings(&self, random: &mut Random, node: usize, incarnation: Incarnation) -> Settings {
        let lease = span(self.lease / random.pick(&[1, 1, 1, 2]));
        Settings {
            me: replica(node),
            incarnation,
            heartbeat: span(self.heartbeat),
            lease,
            lease_reads: self.lease_reads && random.below(8) > 0,
            margin: span(self.margin),
            clock_error_ppm: self.told_error_ppm,
            election_min: lease,
            election_max: span(self.lease * 3 / 2),
            log_memory_bytes: self.log_memory_bytes,
            seed: random.draw(),
        }
    }

    /// What a client is for: reads in a thousand, and whom it likes to be connected to. One that only reads stays with a
    /// leader that can do nothing else any more, and one that only writes is first at the next.
    pub fn role(&self, random: &mut Random) -> (u64, Prefer) {
        match random.below(5) {
            0 => (1000, Prefer::Leader),
            2 => (self.reads, Prefer::Follower),
            1 => (0, Prefer::Any),
            _ => (self.reads, random.pick(&[Prefer::Leader, Prefer::Leader, Prefer::Any])),
        }
    }

    pub fn client(&self, random: &mut Random, prefer: Prefer) -> ClientSettings {
        ClientSettings {
            endpoints: (0..self.nodes).map(address).collect(),
            cell: Some(CELL),
            name: "simulated".to_owned(),
            prefer,
            session_timeout: span(self.session_timeout),
            grace: span(random.within(1, 10) * SECOND),
            open_timeout: span(20 * SECOND),
            connect_timeout: span(500 * MILLI),
            patience: span(500 * MILLI),
            backoff_min: span(10 * MILLI),
            backoff_max: span(500 * MILLI),
            calls_max: 1000,
            resume: None,
            token: random.draw(),
            secret: u128::from(random.draw()) << 64 | u128::from(random.draw()),
            seed: random.draw(),
        }
    }
}

impl Weights {
    fn draw(random: &mut Random, more: &mut Random, is_damaged: bool) -> Self {
        let mut later = |most: u64| if more.below(2) == 0 { 0 } else { more.below(most + 1) };
        let (remove_two, write_error) = (later(30), later(6));
        let changes = random.below(10) < 4;
        let mut weight = |most: u64| if random.below(3) == 0 { 0 } else { random.below(most + 1) };
        let drawn = Self {
            crash: weight(10),
            crash_all: weight(2),
            crash_within: 0,
            away: weight(5),
            pause: weight(10),
            isolate: weight(6),
            one_way: weight(6),
            cut_pair: weight(6),
            cut_client: weight(6),
            client_dies: weight(4),
            break_link: weight(20),
            stall_disk: weight(6),
            fill_disk: weight(4),
            hand_over: weight(3),
            hunt: weight(10),
            lose_disk: if changes { weight(20) } else { 0 },
            remove: if changes { weight(20) } else { 0 },
            damage: 0,
            jump_wall: weight(4),
            remove_two: if changes { remove_two } else { 0 },
            write_error,
            put_back: 0,
        };
        if is_damaged { drawn.with_damage(random) } else { drawn }
    }

    /// A log is damaged, and no disk is lost beside it.
    fn with_damage(self, random: &mut Random) -> Self {
        Self { damage: random.within(2, 20), lose_disk: 0, remove: 0, remove_two: 0, ..self }
    }
}

/// What the cell is told of its clocks.
pub const CLOCK_ERROR_PPM: u64 = 1000;
