//! What the core is told at its start, what it puts out, and what it tells about itself.

use super::ballot::{Ballot, Incarnation, ReplicaId, Slot};
use super::config::{Config, Configs};
use super::message::Message;
use super::stretches::Stretch;
use super::value::Value;
use super::witness::Acknowledged;
use crate::time::{Duration, Instant};

/// How one replica behaves. `seed` feeds the only randomness there is: the spread of the election time-outs, and where this
/// life begins to read what lies still (replica/scrub.rs).
#[derive(Clone, Debug)]
pub struct Settings {
    /// This replica.
    pub me: ReplicaId,
    /// The life of its disk.
    pub incarnation: Incarnation,
    /// A leader says that it lives this often.
    pub heartbeat: Duration,
    /// D: how long an acknowledgement binds a follower to its leader.
    pub lease: Duration,
    /// Without it no lease is asked for, and every read point takes a round trip.
    pub lease_reads: bool,
    /// Taken off the lease's end, for what the rate bound does not cover.
    pub margin: Duration,
    /// How far two hosts' clocks may differ in rate, in parts per million.
    pub clock_error_ppm: u64,
    /// The shortest election time-out; not below the lease, or it only waits for the promise to lapse.
    pub election_min: Duration,
    /// The longest election time-out; also how long a leader lives on without a quorum or a flush.
    pub election_max: Duration,
    /// Chosen values kept in memory for lagging peers, in bytes.
    pub log_memory_bytes: usize,
    /// Differs from replica to replica and from start to start.
    pub seed: u64,
}

/// What survives a crash besides the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HardState {
    /// Nothing below it is accepted. Never falls.
    pub promised: Ballot,
    /// The member lists of the two newest chosen config entries this replica knows, or the operator's list.
    pub configs: Configs,
    /// The longest lease ever granted: what a restart must wait out.
    pub lease_max: Duration,
    /// What others' disks acknowledged, as far as this replica knew: one word of each at most.
    pub acknowledged: Vec<Acknowledged>,
}

impl HardState {
    /// What a freshly formatted replica of a cell with these members starts with: voters that found it, or strangers, if it
    /// is to join.
    #[must_use]
    pub fn fresh(members: Config) -> Self {
        Self {
            promised: Ballot::NONE,
            configs: Configs::of_operator(members),
            lease_max: Duration::ZERO,
            acknowledged: Vec::new(),
        }
    }
}

/// What the disk told at the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The newest hard state.
    pub hard_state: HardState,
    /// Everything up to here is chosen, and already applied by the replica.
    pub chosen_upto: Slot,
    /// Values up to here are not in the log any more.
    pub trimmed_upto: Slot,
    /// Of each slot above `chosen_upto`, the newest record that is whole.
    pub accepted: Vec<AcceptedRecord>,
    /// Slots whose newest record's value is damaged while its ballot and hash are known.
    pub lost: Vec<(Slot, Ballot, u128)>,
    /// Likewise, but a crash may have torn it before anyone was told of it.
    pub maybe: Vec<(Slot, Ballot, u128)>,
    /// Slots of which nothing can be said, whatever `accepted` holds of them.
    pub unknown: Vec<Stretch>,
}

impl Recovered {
    /// A replica that never ran.
    #[must_use]
    pub fn fresh(members: Config) -> Self {
        Self {
            hard_state: HardState::fresh(members),
            chosen_upto: Slot(0),
            trimmed_upto: Slot(0),
            accepted: Vec::new(),
            lost: Vec::new(),
            maybe: Vec::new(),
            unknown: Vec::new(),
        }
    }
}

/// One record of the journal. The newest record of a slot, in the order of appending, is the one that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcceptedRecord {
    /// The slot.
    pub slot: Slot,
    /// The ballot it was accepted at; of a learned record, what this replica had promised when it learned.
    pub ballot: Ballot,
    /// What it holds.
    pub value: Value,
    /// The value was sent as chosen: no vote, and nothing can change it.
    pub learned: bool,
    /// When this was written, everything up to there was chosen and its record appended before this one.
    pub chosen_upto: Slot,
}

/// What the core wants done. The order matters: what a later output says may rest on an earlier one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send it, in order with the other messages to that replica; it may be lost, doubled or late.
    Send { to: ReplicaId, message: Message },
    /// Append it to the journal; `durable(sequence)` answers it. Sequences count up from 1 in each start.
    Append { sequence: u64, record: AcceptedRecord },
    /// Write it to the hard state; `hard_state_durable(version)` answers it. A newer one may overtake an older one.
    SaveHardState { version: u64, state: HardState },
    /// The slot holds that value for ever. Each slot once, in slot order.
    Chosen { slot: Slot, value: Value },
    /// The answer to `read_point(ticket)`: a state that holds everything up to `upto` may be read; none: this replica does
    /// not lead, or stopped leading.
    ReadPoint { ticket: u64, upto: Option<Slot> },
    /// Read these chosen values, which memory no longer holds, and answer with `log_read(to, from, values)`; fewer will do.
    ReadLog { to: ReplicaId, from: Slot, upto: Slot },
    /// `leader()`, `is_leading()`, `ballot()` or `lease()` may differ now. Where a lease ends, this stands before every
    /// message that lets another leader rise.
    RoleChanged,
}

/// The leader's right to read locally.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lease {
    /// The reign.
    pub ballot: Ballot,
    /// No other leader's entry is chosen before this; zero: no lease.
    pub until: Instant,
}

impl Lease {
    /// Whether there is a lease, and it is not over.
    #[must_use]
    pub fn holds_at(self, now: Instant) -> bool {
        self.ballot != Ballot::NONE && now < self.until
    }

    /// Whether what was read under this lease may be answered, where the lease was looked at again after that, and then the
    /// clock: the reign is the same, and its lease was not over.
    #[must_use]
    pub fn still_holds(self, seen: Self, now: Instant) -> bool {
        seen.ballot == self.ballot && now < seen.until
    }

    /// Whether a tree that has come to `own` may be read under it, where the replica has applied everything up to
    /// `applied`: what lies between, clients may have been told of already through another tree of the same replica.
    #[must_use]
    pub fn lets_read(self, now: Instant, own: Slot, applied: Slot) -> bool {
        self.holds_at(now) && (own >= applied || cfg!(bug = "31"))
    }
}

/// What an operator may ask about the core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// What this replica is doing.
    pub role: Role,
    /// Whether the list in force names this disk: if not, its votes count for nothing.
    pub votes: bool,
    /// The highest ballot promised or accepted here.
    pub promised: Ballot,
    /// Whom it follows, or itself.
    pub leader: Option<ReplicaId>,
    /// Everything up to here is chosen and held.
    pub chosen_upto: Slot,
    /// Everything up to here is applied and published.
    pub applied_upto: Slot,
    /// Values up to here are only to be had as an image.
    pub trimmed_upto: Slot,
    /// Somebody knows that everything up to here is chosen.
    pub known_chosen: Slot,
    /// Slots a new leader can neither re-propose nor fill, because too few replicas can say what they accepted there: of the
    /// window that comes next.
    pub waiting: Vec<Slot>,
    /// A peer's answer to a catch-up: it has everything up to here as an image only.
    pub needs_image_upto: Option<Slot>,
    /// A leader's view of the others.
    pub peers: Vec<PeerStatus>,
}

/// The four things a replica can be doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Accepts what a leader proposes, or waits for one.
    Follower,
    /// Asks whether it would be promised.
    Probing,
    /// Asks for promises.
    Preparing,
    /// Proposes.
    Leading,
}

/// What a leader knows of one other replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// Which one.
    pub replica: ReplicaId,
    /// The highest slot it acknowledged in this reign.
    pub acknowledged: Slot,
    /// What it said it holds and knows chosen.
    pub chosen_upto: Slot,
    /// When it last answered this reign.
    pub heard_at: Instant,
}
