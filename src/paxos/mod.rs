//! Sans-IO Multi-Paxos: how the replicas of a cell agree on one log.
//!
//! [`Paxos`] is a function of its inputs: frames of peers, completions of the journal, the passing of time. It does
//! nothing itself; what is to be done comes back as [`Output`]s, in an order that matters. Time and the seed of the
//! election time-outs are arguments.
//!
//! # The story
//!
//! A replica that hears no leader *probes* (election.rs): would a quorum promise? If so it raises a ballot, makes it
//! durable, and *prepares* (prepare.rs): one Prepare for every slot above what it holds. Each [`Message::Promise`]
//! tells the promiser's chosen watermark and, slot by slot, what it accepted above. With a quorum of them, and having
//! caught up with the furthest of that quorum (catch_up.rs), it *leads* (leader.rs): it proposes again, slot by slot,
//! the value accepted at the highest ballot, fills holes with no-ops, and then proposes a no-op of its own. When that
//! one is chosen *and applied*, the replica has applied everything any earlier reign may have acknowledged, and may
//! serve reads.
//!
//! From then on a value costs one round trip and one flush, side by side: [`Paxos::propose`] sends Accepts and appends
//! the leader's own record in the same call. Acceptors (acceptor.rs) append, and say Accepted when the record is
//! durable. A quorum of durable records, the leader's own among them or not, chooses the slot. Chosen-ness reaches the
//! others as a watermark on the next Accept or Heartbeat; it holds only for what was accepted at exactly that ballot,
//! so a replica that holds an older vote there asks for the value instead (log.rs).
//!
//! A leader whose disk is full hands over to a replica that has room (room.rs). One that phase 1 tells too little of a slot
//! waits, and says for what (undecided.rs).
//!
//! Who lags asks for what it missed by ranges (catch_up.rs), and while somebody leads at a pace that leaves the writers their
//! share (pace.rs).
//!
//! Who heard what a disk acknowledged remembers it, so that an old copy of it is not believed (witness.rs).
//!
//! Reads rest on the leader lease or on a round trip (lease.rs). The member list is itself a value of the log
//! (config.rs): slot 1 is the founding entry, naming the disks the first leader met; later ones bind the others.
//! Members come, go and change their disks by further entries (change.rs), one at a time, each in force a window of
//! slots after its own; who comes learns first, and votes once it has caught up.
//!
//! # Invariants
//!
//! 1. A promise is said only when the hard state holds it; a vote only when its record is durable. (asserted)
//! 2. One value per (slot, ballot): a leader proposes only at a ballot that it promised to itself durably, and that no
//!    other start of it can reach, because the next one begins above the durable promise.
//! 3. A chosen value never changes: a second value for a known one stops the process. (asserted)
//! 4. `trimmed_upto <= applied_upto <= chosen_upto`; none of them, nor the promise, ever falls. (asserted)
//! 5. A vote counts once, for its ballot, from a disk that the list in force for its slot names: votes are sets.
//! 6. A leader proposes slot i only when it has applied slot i - [`SLOT_WINDOW`](crate::limits::SLOT_WINDOW), so it
//!    knows i's members, and only with promises from a quorum of them. A change of the list is proposed only when every
//!    slot of the list before is applied, and from then until every slot of the old list is chosen the lease and the
//!    read points need a quorum of the old *and* of the new one.
//! 7. *Does not know* is never counted as *never accepted*; of many slots, it is kept as stretches (stretches.rs).
//! 8. No chosen watermark, value or read point that leaves a replica is ahead of what that replica has published.
//! 9. While a lease may run, no quorum promises: each acknowledger waits it out, across restarts too, unless the leader
//!    itself released that very reign. The lease is gone before a message that lets another leader rise is put out.
//! 10. A record's chosen watermark covers only slots whose records precede it, and never a config entry that is not yet
//!     in the hard state: a restart misses neither.
//! 11. The log is given up only behind a durable image. As long as it is short it is kept for every member that may
//!     still ask for it (trim.rs); whoever asks too late is told, and needs an image.
//!
//! # What is deliberately not done
//!
//! No image passes through here: a replica that is told that the log it asks for is gone says so in
//! [`Paxos::needs_image_of`], and starts anew from an image that it was sent. No change of more than one member at a
//! time. No state transfer on trust: a value is learned from a quorum's votes or as chosen, never from one peer's vote.
//! No clock is compared with another's.

mod acceptor;
pub mod ballot;
mod catch_up;
mod change;
pub mod config;
mod election;
mod leader;
mod lease;
mod log;
pub mod message;
mod pace;
mod prepare;
mod room;
pub mod settings;
mod stretches;
mod trim;
mod undecided;
pub mod value;
mod witness;

pub use ballot::{Ballot, CellId, Incarnation, ReplicaId, Slot};
pub use change::{ChangeRefusal, MemberChange, MemberStatus};
pub use config::{Addresses, Config, Configs, Member, ReplicaSet, Standing};
pub use message::{Evidence, Message, SlotReport};
pub use settings::{AcceptedRecord, HardState, Lease, Output, PeerStatus, Recovered, Role, Settings, Status};
pub use stretches::{Stretch, Stretches};
pub use undecided::{Told, Undecided};
pub use value::{Draft, Kind, Room, Value};
pub use witness::Acknowledged;

use crate::time::{Duration, Instant};
use acceptor::Acceptor;
use catch_up::CatchUp;
use election::Following;
use leader::{Leader, Phase};
use log::Log;
use room::DiskRoom;
use trim::Needless;
use witness::Witness;

/// One replica's part in the agreement.
#[derive(Debug)]
pub struct Paxos {
    settings: Settings,
    configs: Configs,
    log: Log,
    acceptor: Acceptor,
    following: Following,
    leader: Option<Leader>,
    catch_up: CatchUp,
    needless: Needless,
    room: DiskRoom,
    witness: Witness,
    /// Every other member, in order of their ids.
    links: Vec<Link>,
    /// The highest round of any ballot seen.
    highest_round: u64,
    announced: (Option<ReplicaId>, bool, Lease),
}

/// The way to one other replica.
#[derive(Debug)]
struct Link {
    replica: ReplicaId,
    /// The disk at its other end, once it was met.
    incarnation: Option<Incarnation>,
    /// Not known to be down.
    up: bool,
    /// When it came up last.
    up_since: Instant,
}

impl Paxos {
    /// A replica that starts with what its disk told. It promises nothing before every lease it may have granted ran
    /// out.
    #[must_use]
    pub fn new(now: Instant, settings: Settings, recovered: Recovered) -> Self {
        let Recovered { hard_state, chosen_upto, trimmed_upto, accepted, lost, maybe, unknown } = recovered;
        let mut log = Log::new(chosen_upto, trimmed_upto, settings.log_memory_bytes);
        let mut promised = hard_state.promised;
        for record in accepted.into_iter().filter(|record| record.slot > chosen_upto) {
            promised = promised.max(record.ballot);
            log.hold(record.slot, record.ballot, record.value);
            if record.learned {
                log.choose(record.slot);
            }
        }
        for (slot, ballot, hash) in lost.into_iter().filter(|(slot, ..)| *slot > chosen_upto) {
            promised = promised.max(ballot);
            log.set_lost(slot, ballot, hash);
        }
        for (slot, ballot, hash) in maybe.into_iter().filter(|(slot, ..)| *slot > chosen_upto) {
            promised = promised.max(ballot);
            log.set_maybe(slot, ballot, hash);
        }
        log.set_unknown(&unknown);
        let million = 1_000_000;
        let granted = match hard_state.lease_max {
            _ if cfg!(bug = "14") => Duration::ZERO,
            _ if cfg!(bug = "44") => settings.lease,
            granted => granted,
        };
        let boot_wait = granted.scaled(million + settings.clock_error_ppm, million);
        let acceptor = Acceptor::new(&hard_state, promised, now + boot_wait, chosen_upto);
        let configs = hard_state.configs;
        let following = Following::new(now, settings.seed);
        let mut paxos = Self {
            settings,
            configs,
            log,
            acceptor,
            following,
            leader: None,
            catch_up: CatchUp::default(),
            needless: Needless::default(),
            room: DiskRoom::default(),
            witness: Witness::new(hard_state.acknowledged),
            links: Vec::new(),
            highest_round: promised.round,
            announced: (None, false, Lease::default()),
        };
        paxos.add_links(now);
        paxos.first_time_out(now);
        paxos
    }

    /// A frame of `from`, whose disk is `incarnation`. Frames may be lost, doubled, late and out of order.
    pub fn receive(
        &mut self,
        now: Instant,
        from: ReplicaId,
        incarnation: Incarnation,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        if let Some(index) = self.link_to(from) {
            let known = self.links[index].up && self.links[index].incarnation == Some(incarnation);
            self.links[index].up = true;
            self.meet(now, index, incarnation);
            if self.may_speak(from, incarnation, &message) && self.may_hear(&message) {
                self.take(now, (from, incarnation), message, out);
            } else if let Message::Accept { chosen_upto, .. } | Message::Heartbeat { chosen_upto, .. } = message {
                // Its disk may be named in a list that was not learned here yet. What is chosen is no matter of trust.
                self.know_chosen(now, from, chosen_upto, out);
            }
            if !known {
                self.proceed(now, out);
            }
        }
        self.announce(out);
    }

    /// Does what is due. Call it when [`Paxos::next_deadline`] has passed; more often does no harm.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.advance(now, out);
        self.election_tick(now, out);
        self.catch_up_tick(now, out);
        if now >= self.acceptor.save_at() {
            self.save_hard_state(out);
        }
        self.announce(out);
    }

    /// When [`Paxos::tick`] has something to do, unless an input comes first.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        self.election_deadline().min(self.catch_up_deadline()).min(self.acceptor.save_at())
    }

    /// The replica applied everything up to `slot` and published it to its fronts.
    pub fn applied(&mut self, now: Instant, slot: Slot, out: &mut Vec<Output>) {
        self.log.set_applied(slot);
        if self.configs.newest_slot() > Slot(1) && slot.next() == self.configs.in_force_from() {
            // The new list waits for a quorum of it to say that it holds the slots of the old one.
            self.begin_round(now, out);
        }
        self.proceed(now, out);
        self.hand_over_if_ready(now, out);
        self.announce(out);
    }

    /// There is a link to that replica, and that disk is at its other end.
    pub fn peer_up(&mut self, now: Instant, replica: ReplicaId, incarnation: Incarnation, out: &mut Vec<Output>) {
        let Some(index) = self.link_to(replica) else { return };
        (self.links[index].up, self.links[index].up_since) = (true, now);
        self.meet(now, index, incarnation);
        let chosen_upto = self.log.chosen_upto();
        match &self.leader {
            Some(Leader { ballot, phase: Phase::Probing { .. } }) => {
                send(out, replica, Message::Probe { ballot: *ballot, chosen_upto });
            }
            Some(Leader { ballot, phase: Phase::Preparing { promises, released, .. } })
                if promises.has(self.settings.me, self.settings.incarnation) =>
            {
                let (ballot, from, released) = (*ballot, promises.from, *released);
                send(out, replica, Message::Prepare { ballot, from, released });
            }
            None | Some(Leader { phase: Phase::Preparing { .. }, .. }) => {}
            Some(Leader { phase: Phase::Leading(_), .. }) => {
                self.resend_to(now, index, out);
                self.with_leading(|leading| leading.peers[index].told = Slot(0));
                self.begin_round(now, out);
                self.proceed(now, out);
            }
        }
        self.announce(out);
    }

    /// The link to that replica broke.
    pub fn peer_down(&mut self, now: Instant, replica: ReplicaId, out: &mut Vec<Output>) {
        if let Some(link) = self.links.iter_mut().find(|link| link.replica == replica) {
            link.up = false;
        }
        if self.leader.is_none() && self.following.leader == Some(replica) {
            self.leader_link_lost(now);
        }
        self.announce(out);
    }

    /// Whom this replica takes for the leader: itself from the end of phase 1 on.
    #[must_use]
    pub fn leader(&self) -> Option<ReplicaId> {
        if self.is_leader() { Some(self.settings.me) } else { self.following.leader }
    }

    /// The highest ballot promised or accepted here.
    #[must_use]
    pub fn ballot(&self) -> Ballot {
        self.acceptor.promised
    }

    /// Whether this replica's phase 1 is done.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leading().is_some()
    }

    /// Whether this replica leads and has applied its reign's first own entry: only then it serves reads.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        let first_own = self.leading().and_then(|(_, leading)| leading.first_own);
        first_own.is_some_and(|slot| slot <= self.log.applied_upto() || cfg!(bug = "15"))
    }

    /// Everything up to here is chosen, and put out as [`Output::Chosen`].
    #[must_use]
    pub fn chosen_upto(&self) -> Slot {
        self.log.chosen_upto()
    }

    /// Values up to here are only to be had as an image.
    #[must_use]
    pub fn trimmed_upto(&self) -> Slot {
        self.log.trimmed_upto()
    }

    /// The member list of the newest chosen config entry.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.configs.newest()
    }

    /// The member lists this replica knows.
    #[must_use]
    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// What an operator may want to know.
    #[must_use]
    pub fn status(&self) -> Status {
        let role = match &self.leader {
            None => Role::Follower,
            Some(Leader { phase: Phase::Probing { .. }, .. }) => Role::Probing,
            Some(Leader { phase: Phase::Preparing { .. }, .. }) => Role::Preparing,
            Some(Leader { phase: Phase::Leading(_), .. }) => Role::Leading,
        };
        let peers = self.leading().map_or(Vec::new(), |(_, leading)| {
            let peers = self.links.iter().zip(&leading.peers);
            let status = |(link, peer): (&Link, &leader::Peer)| PeerStatus {
                replica: link.replica,
                acknowledged: peer.acknowledged,
                chosen_upto: peer.chosen_upto,
                heard_at: peer.heard_at,
            };
            peers.map(status).collect()
        });
        Status {
            role,
            votes: self.configs.at(self.log.chosen_upto().next()).counts(self.settings.me, self.settings.incarnation),
            promised: self.acceptor.promised,
            leader: self.leader(),
            chosen_upto: self.log.chosen_upto(),
            applied_upto: self.log.applied_upto(),
            trimmed_upto: self.log.trimmed_upto(),
            known_chosen: self.catch_up.known.max(self.log.chosen_upto()),
            waiting: self.waiting(),
            needs_image_upto: self.catch_up.needs_image_upto.map(|(_, upto)| upto),
            peers,
        }
    }

    /// Stops the process if this state is not legal. Cheap enough to be called after every input.
    pub fn invariants(&self) {
        self.log.invariants();
        self.acceptor.invariants();
        if let Some(leader) = &self.leader {
            let raised = !matches!(leader.phase, Phase::Probing { .. });
            assert!(!raised || leader.ballot == self.acceptor.promised, "a candidate has promised its own ballot");
            assert!(leader.ballot.replica == self.settings.me, "a replica leads in its own name");
        }
        if let Some((_, leading)) = self.leading() {
            let open = leading.next.0 - 1 - self.log.chosen_upto().0;
            assert!(open == leading.proposals.len() as u64, "every slot between chosen and next is a proposal");
            assert!(self.links.len() == leading.peers.len(), "a leader knows every link");
            leading.invariants();
        }
    }

    /// That disk is at the other end of a link. What a disk said there before is no word of this one.
    fn meet(&mut self, now: Instant, index: usize, incarnation: Incarnation) {
        let before = self.links[index].incarnation.replace(incarnation);
        if before.is_some_and(|before| before != incarnation) {
            let heartbeat = self.settings.heartbeat;
            self.with_leading(|leading| leading.forget_peer(now, index, heartbeat));
        }
    }

    /// A disk that is to join a cell knows of nobody that votes, and not which ballots and votes it may take part in:
    /// until it has learned a list, it learns and says nothing.
    fn may_hear(&self, message: &Message) -> bool {
        let asks = matches!(
            message,
            Message::Probe { .. } | Message::Prepare { .. } | Message::Accept { .. } | Message::Release { .. }
        );
        !asks || self.configs.newest().voters().next().is_some()
    }

    /// A disk that the member list replaced or never named has no say: it may have forgotten what it promised. It may
    /// still learn.
    fn may_speak(&self, from: ReplicaId, incarnation: Incarnation, message: &Message) -> bool {
        let own_ballot = match message {
            Message::Probe { ballot, .. }
            | Message::Prepare { ballot, .. }
            | Message::FetchAccepted { ballot, .. }
            | Message::Accept { ballot, .. }
            | Message::Heartbeat { ballot, .. }
            | Message::Release { ballot, .. } => ballot.replica == from,
            Message::ProbeReply { .. }
            | Message::Promise { .. }
            | Message::Refused { .. }
            | Message::AcceptedValue { .. }
            | Message::Accepted { .. }
            | Message::HeartbeatReply { .. } => true,
            Message::CatchUp { .. } | Message::Chosen { .. } | Message::Trimmed { .. } => return true,
        };
        own_ballot && self.configs.admits(self.log.chosen_upto().next(), from, incarnation)
    }

    fn take(&mut self, now: Instant, from: (ReplicaId, Incarnation), message: Message, out: &mut Vec<Output>) {
        match message {
            Message::Probe { ballot, chosen_upto } => self.on_probe(now, from.0, ballot, chosen_upto, out),
            Message::ProbeReply { ballot, granted, promised } => {
                self.on_probe_reply(now, from, ballot, granted, promised, out);
            }
            Message::Prepare { ballot, from: first, released } => self.on_prepare(now, ballot, first, released, out),
            Message::Promise { ballot, .. } => {
                self.note(now, Acknowledged { replica: from.0, incarnation: from.1, ballot, upto: Slot(0) });
                self.on_promise(now, from, message, out);
            }
            Message::Refused { ballot, promised } => self.on_refused(now, ballot, promised, out),
            Message::FetchAccepted { ballot, slot, accepted } => {
                self.on_fetch_accepted(from.0, ballot, slot, accepted, out);
            }
            Message::AcceptedValue { ballot, slot, value, .. } => self.on_accepted_value(now, ballot, slot, value, out),
            Message::Accept { .. } => self.on_accept(now, message, out),
            Message::Accepted { ballot, from: first, upto, recorded } => {
                if recorded {
                    self.note(now, Acknowledged { replica: from.0, incarnation: from.1, ballot, upto });
                }
                self.on_accepted(now, from.0, from.1, ballot, first, upto, out);
            }
            Message::Heartbeat { ballot, round, chosen_upto, trim_upto, acknowledged } => {
                acknowledged.into_iter().for_each(|word| self.note(now, word));
                self.needless.told(trim_upto);
                self.on_heartbeat(now, ballot, round, chosen_upto, out)
            }
            Message::HeartbeatReply { ballot, round, chosen_upto, image_upto, cramped } => {
                self.peer_has_image(from.0, ballot, image_upto);
                self.on_heartbeat_reply(now, from.0, ballot, round, (chosen_upto, cramped), out);
            }
            Message::CatchUp { from: first, upto } => self.on_catch_up(from.0, first, upto, out),
            Message::Chosen { from: first, values } => self.on_chosen(now, from.0, first, values, out),
            Message::Trimmed { trimmed_upto } => self.on_trimmed(now, from.0, trimmed_upto, out),
            Message::Release { ballot, chosen_upto } => self.on_release(now, ballot, chosen_upto, out),
        }
    }

    /// The link to who speaks, if he is heard: a member. A disk that its newest list does not name is to learn a later one, and
    /// started, it may be, from an image that is older than whoever leads by now: it hears everybody.
    fn link_to(&mut self, replica: ReplicaId) -> Option<usize> {
        let known = self.links.iter().position(|link| link.replica == replica);
        let newest = self.configs.newest();
        let learns = || {
            let named = newest.names(self.settings.me, self.settings.incarnation);
            // Who leads under the list before, and is left out by the newest, knows whom that has.
            !named && self.leader.is_none() && !newest.is_unfounded() && replica != self.settings.me
        };
        if known.is_none() && learns() {
            self.links.push(Link { replica, incarnation: None, up: true, up_since: Instant::ZERO });
            return Some(self.links.len() - 1);
        }
        known
    }

    /// Gives up the links of those that were left out, once they were told that the old list is done with.
    fn drop_links(&mut self) {
        let newest = self.configs.newest();
        // Who is named nowhere yet may read in old lists of members that are long gone: it keeps whom it was told of.
        let named = newest.names(self.settings.me, self.settings.incarnation);
        if !named || !self.configs.is_settled(self.log.applied_upto().next()) {
            return;
        }
        while let Some(index) = self.links.iter().position(|link| newest.member(link.replica).is_none()) {
            self.links.remove(index);
            if let Some(Leader { phase: Phase::Leading(leading), .. }) = &mut self.leader {
                leading.peers.remove(index);
            }
        }
    }

    /// One link for every member but this replica, as long as slots of the list before are open for its members too.
    fn add_links(&mut self, now: Instant) {
        let before =
            (!self.configs.is_settled(self.log.chosen_upto().next())).then(|| self.configs.previous().members());
        for member in self.configs.newest().members().iter().chain(before.into_iter().flatten()) {
            let known = self.links.iter().any(|link| link.replica == member.replica);
            if member.replica != self.settings.me && !known {
                self.links.push(Link { replica: member.replica, incarnation: None, up: true, up_since: Instant::ZERO });
                if let Some(Leader { phase: Phase::Leading(leading), .. }) = &mut self.leader {
                    leading.add_peer(now, self.settings.heartbeat);
                }
            }
        }
    }

    /// Tells the replica that its role or lease changed, if it did.
    fn announce(&mut self, out: &mut Vec<Output>) {
        let current = (self.leader(), self.is_leading(), self.lease());
        if current != self.announced {
            self.announced = current;
            out.push(Output::RoleChanged);
        }
    }
}

fn send(out: &mut Vec<Output>, to: ReplicaId, message: Message) {
    out.push(Output::Send { to, message });
}
