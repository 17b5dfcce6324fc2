//! Virtual time: what happens next, the one source of chance, and the trace that proves a run repeatable.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::journal::Place;
use quorate::paxos::{ReplicaId, Slot};
use quorate::replica::exchange::{Borrower, FrontNotice, FrontRequest, Still};
use quorate::time::{Duration, Instant};

/// Nanoseconds since the run began, on nobody's clock.
pub type Moment = u64;

pub const MICRO: Moment = 1_000;
pub const MILLI: Moment = 1_000_000;
pub const SECOND: Moment = 1_000_000_000;

/// One of the two ends of a connection: the one that dialled is 0.
pub type Side = usize;

/// Something that happens at a moment.
#[derive(Debug)]
pub enum Event {
    /// A dialler's first packet reaches the listener, or would.
    Dialled { conn: u64 },
    /// The dialler hears what became of it.
    DialDone { conn: u64, stands: bool },
    /// What `side` sent is due at the other end.
    Flow { conn: u64, side: Side },
    /// A frame that left the order of its link.
    Stray { conn: u64, frame: Bytes },
    /// `side` learns that the connection is gone; `surely`: whatever the network does.
    Closed { conn: u64, side: Side, surely: bool },
    /// A node's loop wakes; only the newest call counts.
    Turn { node: usize, call: u64 },
    /// A front's loop wakes, on a core of its own; only the newest call counts.
    Front { node: usize, life: u64, front: usize, call: u64 },
    /// A front's request comes out of its ring.
    Asked { node: usize, life: u64, front: usize, request: FrontRequest },
    /// A notice for a front comes out of its ring.
    Told { node: usize, life: u64, front: usize, notice: FrontNotice },
    /// A disk write is durable.
    Written { node: usize, life: u64, token: u64 },
    /// The oldest chore of a disk is done.
    Chore { node: usize, life: u64 },
    /// Values were read back from the log.
    LogRead { node: usize, life: u64, to: ReplicaId, from: Slot, places: Vec<Place> },
    /// A piece of an image was read.
    ImageRead { node: usize, life: u64, to: Borrower, image: Slot, offset: u64, bytes: Bytes },
    /// Something that lies still was read back.
    ReadBack { node: usize, life: u64, file: Still, offset: u64, bytes: usize },
    /// A client that did not read has read.
    Drained { node: usize, life: u64, conn: u64 },
    /// A client wakes; only the newest call counts.
    Client { client: usize, call: u64 },
    /// A client is told by another one what that was answered.
    Heard { client: usize, path: String },
    /// A node's process dies.
    Crash { node: usize, life: u64 },
    /// A node's process starts.
    Start { node: usize },
    /// Whoever changes the members looks at them.
    Operator,
    /// Somebody asks a single replica something.
    Enquire,
    /// A stranger calls on a replica.
    Stranger,
    /// A misfortune is due.
    Misfortune,
    /// A misfortune that lasts is over.
    Relief { what: u64 },
}

/// Time, chance, and everything that is to happen.
#[derive(Debug)]
pub struct World {
    pub now: Moment,
    pub random: Random,
    pub trace: Trace,
    /// Faults that chance brought while the event under way was dealt with.
    pub chances: Vec<&'static str>,
    /// By their place in time; boxed, as they are large and are moved about.
    events: BTreeMap<(Moment, u64), Box<Event>>,
    scheduled: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let (random, trace) = (Random::new(seed), Trace::default());
        Self { now: 0, random, trace, chances: Vec::new(), events: BTreeMap::new(), scheduled: 0 }
    }

    /// Lets `event` happen `delay` from now.
    pub fn after(&mut self, delay: Moment, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Lets `event` happen at `moment`.
    pub fn at(&mut self, moment: Moment, event: Event) {
        self.scheduled += 1;
        self.events.insert((moment, self.scheduled), Box::new(event));
    }

    /// Whether a fault strikes, which it does so many times in a thousand; one that does is told of.
    pub fn chance(&mut self, fault: &'static str, times: u64) -> bool {
        let strikes = self.random.permille(times);
        if strikes {
            self.chances.push(fault);
        }
        strikes
    }

    /// The next event not later than `until`; time moves to it.
    pub fn next(&mut self, until: Moment) -> Option<Event> {
        let entry = self.events.first_entry().filter(|entry| entry.key().0 <= until)?;
        let ((moment, order), event) = entry.remove_entry();
        self.now = self.now.max(moment);
        self.trace.mix(moment);
        self.trace.mix(order);
        Some(*event)
    }
}

/// A pseudo-random sequence (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        random.draw();
        random
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is nothing below zero");
        self.draw() % bound
    }

    /// From `least` to `most`, both possible.
    pub fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True so many times in a thousand.
    pub fn permille(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Mostly near `mean`, now and then several times as long.
    pub fn around(&mut self, mean: u64) -> u64 {
        let doubled = mean << [0, 0, 0, 0, 0, 1, 1, 3][self.below(8) as usize];
        doubled / 2 + self.below(doubled + 1)
    }
}

/// A running hash of everything that happened.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Trace(u64);

impl Trace {
    pub fn mix(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        self.mix(crc32fast::hash(bytes).into());
    }

    pub fn hash(self) -> u64 {
        self.0
    }
}

/// A host's boot clock: an origin of its own, and a rate a little off.
#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    booted: Moment,
    origin: u64,
    rate_ppm: i64,
}

impl HostClock {
    pub fn new(booted: Moment, origin: u64, rate_ppm: i64) -> Self {
        Self { booted, origin, rate_ppm }
    }

    /// The host started anew: its clock begins again, its quartz is the same.
    pub fn reboot(&mut self, now: Moment, origin: u64) {
        (self.booted, self.origin) = (now, origin);
    }

    /// What the clock shows at `moment`.
    pub fn read(&self, moment: Moment) -> Instant {
        let since = u128::from(moment.saturating_sub(self.booted));
        let shown = since * self.rate() / MILLION;
        Instant::from_nanos(self.origin + shown as u64)
    }

    /// The first moment at which the clock shows `instant`, or has shown it.
    pub fn moment_of(&self, instant: Instant) -> Moment {
        let shown = u128::from(instant.since(Instant::from_nanos(self.origin)).as_nanos());
        let since = (shown * MILLION).div_ceil(self.rate());
        self.booted.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// How far its rate is off, in parts per million.
    pub fn error_ppm(&self) -> u64 {
        self.rate_ppm.unsigned_abs()
    }

    fn rate(&self) -> u128 {
        MILLION.checked_add_signed(self.rate_ppm.into()).expect("clocks run forward")
    }
}

const MILLION: u128 = 1_000_000;

/// A span of the shipped code's time.
pub fn span(nanos: Moment) -> Duration {
    Duration::from_nanos(nanos)
}
