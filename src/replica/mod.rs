//! One replica: Paxos, the journal and the namespace joined. The story of a write and of a read is told here.
//!
//! **A write.** A front hands in a [`Submission`], a run of encoded commands. At the leader they wait in
//! `batch::Pending` until the end of the turn; while an entry is in flight until it is chosen, or until twice as much
//! waits and fewer than [`ENTRIES_IN_FLIGHT`](crate::limits::ENTRIES_IN_FLIGHT) are. Then they leave together as one
//! value. Paxos answers a proposal with two outputs at the same moment: an `Accept` to every peer, and an `Append` of
//! our own. The journal makes of the latter an aligned write (`Effect::Write`); when it is durable (`Input::Written`)
//! our vote counts. With a majority of votes the slot is chosen; the namespace applies it, and at the end of the turn
//! every front gets one notice: what changed, and the outcomes of its own sessions' commands. Only then does Paxos hear
//! that the slot is applied, and only then may it tell the followers that it is chosen. A follower forwards its fronts'
//! submissions to the leader and answers its clients from its own application of the log.
//!
//! **A read** does not come here, unless the front's replica does not lead, or leads without a lease: then the front
//! asks for a *read point*, the slot it must have applied. The leader's Paxos gives it; a follower asks the leader.
//!
//! **What clients keep.** An answer may be kept by the client and given again, as long as nothing has changed it. The
//! leader knows who keeps what, and has it dropped before it proposes a change; that story is told in `cache`.
//!
//! Invariants:
//!
//! 1. A vote, a promise or an outcome leaves only behind the durable write it depends on: Paxos parks it, this module
//!    only reports [`Input::Written`](exchange::Input).
//! 2. Outcomes and changes of a slot reach the fronts before Paxos is told that it is applied.
//! 3. What is submitted here is proposed, forwarded, refused, or lost with a [`Leader`](exchange::FrontNotice) notice
//!    that says so; a resend is harmless, since requests are numbered.
//! 4. A session ends only by the log. The leader asks for it when it has proved for the whole of the session's timeout
//!    that it leads, and has heard nothing (`liveness`).
//! 5. What is due at a node (a lock kept shut for a lost holder opens, a node's time is over) is done only by the log,
//!    at a log time that has come (`timers`).
//! 6. No command is chosen in a reign before the reign has begun in the log (`reign`).
//! 7. Nothing is proposed that would make an answer wrong which a client may still give from memory (`cache`).
//!
//! **The log's end.** The journal is bounded by images of the namespace; their story is told in `image`. Whoever asks
//! for what is gone is sent an image, and starts again from it; that story is told in `transfer`. So is a client that
//! wants a copy outside the cell: `snapshots`.
//!
//! What lies still on the disk is read now and then; the log and images are repaired by newer images, the hard state by
//! being written again; that story is told in `scrub`. That replicas hold the same is not taken on trust: `digests`.
//!
//! An old copy of the folder is told by its peers, who remember what it acknowledged, and then does and says nothing
//! more ([`Effect::Forgotten`](exchange::Effect); `paxos::witness`).
//!
//! **The members** are Paxos' affair; who asks for a change of them is answered out of `members`, by the leader.
//!
//! | file | |
//! |---|---|
//! | [`exchange`] | all that goes in and out, as closed enums: begin here |
//! | `submission`, `batch` | commands on their way to the log; those that wait for the next entry |
//! | `fronts`, `attached`, `peers`, `reads` | what fronts ask and peers say, and where it goes; which front has which session; read points under way |
//! | `storage` | the journal and the hard state, as one |
//! | `liveness`, `timers`, `reign` | what a leader asks of the log by itself: sessions end, what is due at nodes, its reign begins |
//! | `cache` | what clients keep, and what must be dropped before a change |
//! | `members` | changes of the members, as an operator asks for them |
//! | `image`, `image_file`, `transfer`, `snapshots` | images: taken, as files, sent to a replica that lags, lent to a client |
//! | `scrub`, `digests` | damage at rest; replicas that differ |
//!
//! Deliberately absent: clocks (`now` is an argument), sockets and files (effects), results of the leader's making for
//! another replica's clients (they are answered by the replica that serves them).

mod attached;
mod batch;
mod cache;
mod digests;
pub mod exchange;
mod fronts;
mod image;
mod image_file;
mod liveness;
mod members;
mod peers;
mod reads;
mod reign;
mod scrub;
mod snapshots;
mod status;
mod storage;
mod submission;
mod timers;
mod transfer;

use std::sync::Arc;

use self::attached::Attached;
use self::batch::Pending;
use self::cache::Cache;
pub use self::digests::Digests;
use self::exchange::{Applied, Effect, FrontId, FrontNotice, Input, Submission};
use self::fronts::answer_read_point;
use self::image::Images;
pub use self::image_file::{ImageCheck, ImageFileError, ImageHead, ImageReader, ImageUnpacker, write_image};
use self::liveness::Liveness;
use self::reads::ReadPoints;
use self::scrub::Scrub;
use self::snapshots::Snapshots;
pub use self::status::Process;
pub use self::storage::{Bounds, Recovered, Storage};
use self::timers::Settling;
use self::transfer::Transfer;
use crate::namespace::command::{Command, Revision, SessionId};
use crate::namespace::{Change, CommandOutcome, Namespace, Tree};
use crate::paxos::{self, Acknowledged, Ballot, Kind, Output, Paxos, ReplicaId, Slot, Value};
use crate::time::{Duration, Instant};
use crate::wire::cache::CacheAccount;
use crate::wire::peer::PeerMessage;

/// One replica of a cell.
#[derive(Debug)]
pub struct Replica {
    me: ReplicaId,
    paxos: Paxos,
    /// Put out by Paxos and not done yet.
    outputs: Vec<Output>,
    storage: Storage,
    images: Images,
    transfer: Transfer,
    scrub: Scrub,
    digests: Digests,
    snapshots: Snapshots,
    namespace: Namespace,
    applied_upto: Slot,
    applied_at: Instant,
    /// When this reign proposed last.
    proposed: LogTime,
    /// Commands that wait for an entry to leave in.
    pending: Pending,
    reads: ReadPoints,
    /// While this replica leads: who was heard from when.
    liveness: Option<Liveness>,
    /// Empty but within [`Replica::tick`].
    expired: Vec<SessionId>,
    settling: Settling,
    /// What the cell's key becomes if this replica is the first that leads it.
    drawn_key: u128,
    /// While this replica leads: who keeps which answers.
    cache: Option<Cache>,
    /// Recalls for fronts that do not know yet all that is applied.
    recalls: Vec<Effect>,
    /// Who can be spoken to.
    links: paxos::ReplicaSet,
    leader: Option<(ReplicaId, Ballot)>,
    fronts: Vec<FrontState>,
    /// The fronts at which each session is connected, and its watches there.
    attached: Attached,
    /// Of all that was applied since the last notice.
    changes: Vec<Change>,
    /// Empty but while a batch is applied.
    applied: crate::namespace::Applied,
    /// Something was applied, or this is the start, and the fronts were not told.
    unpublished: bool,
    /// The disk does not hold what it acknowledged: nothing is done or said any more.
    forgot: bool,
    /// The revision the fronts know.
    published: Revision,
}

/// What is on its way to one front.
#[derive(Debug, Default)]
struct FrontState {
    /// Of its sessions' commands, since the last notice.
    outcomes: Vec<CommandOutcome>,
}

/// A time of the log, and when it was that here.
#[derive(Clone, Copy, Debug)]
struct LogTime {
    ns: u64,
    at: Instant,
}

impl LogTime {
    fn run_on(self, now: Instant) -> u64 {
        self.ns + now.since(self.at).as_nanos()
    }
}

impl Replica {
    /// A replica that starts, with what its disk told; `fronts` of them will ask it. `drawn_key` is random: the draw of
    /// the first leader of all becomes the cell's key. The seed of `settings` also says where what lies still is read first.
    #[must_use]
    pub fn start(now: Instant, settings: paxos::Settings, recovered: Recovered, fronts: u8, drawn_key: u128) -> Self {
        let (me, seed) = (settings.me, settings.seed);
        let (applied_upto, trimmed_upto) = (recovered.paxos.chosen_upto, recovered.paxos.trimmed_upto);
        let mut paxos = Paxos::new(now, settings, recovered.paxos);
        let (storage, bounds) = (recovered.storage, recovered.bounds);
        // A start that hangs on one image, as the log does not lead there, is to have another.
        let alone =
            recovered.images.keys().next().copied().filter(|_| recovered.images.len() == 1 && trimmed_upto > Slot(0));
        let repair_upto = recovered.damaged_upto.max(alone.unwrap_or_default());
        let images = Images::new(bounds, recovered.images, &storage);
        paxos.set_image_upto(images.sure_upto());
        let published = recovered.namespace.revision();
        Self {
            me,
            paxos,
            outputs: Vec::new(),
            storage,
            images,
            transfer: Transfer::default(),
            scrub: Scrub::new(now, recovered.scrub_period, repair_upto, seed),
            digests: recovered.digests,
            snapshots: Snapshots::new(applied_upto, recovered.namespace.tree().guarded() > 0),
            namespace: recovered.namespace,
            applied_upto,
            applied_at: now,
            proposed: LogTime { ns: 0, at: now },
            pending: Pending::default(),
            reads: ReadPoints::default(),
            liveness: None,
            expired: Vec::new(),
            settling: Settling::default(),
            drawn_key,
            cache: None,
            recalls: Vec::new(),
            links: paxos::ReplicaSet::EMPTY,
            leader: None,
            fronts: (0..fronts).map(|_| FrontState::default()).collect(),
            attached: Attached::default(),
            changes: Vec::new(),
            applied: crate::namespace::Applied::default(),
            unpublished: true,
            forgot: false,
            published,
        }
    }

    /// Takes one input; what is to be done about it is appended to `effects`.
    pub fn step(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        if self.forgot {
            return;
        }
        if self.transfer.is_ending() {
            return self.step_to_end(now, &input, effects);
        }
        match input {
            Input::Reminded { by, word } if !self.paxos.stands_by(&word) => return self.fall_silent(by, word, effects),
            Input::Reminded { .. } => {}
            Input::Peer { from, incarnation, message } => self.peer_says(now, from, incarnation, message, effects),
            Input::PeerUp { replica, incarnation } => {
                self.links.insert(replica);
                self.paxos.peer_up(now, replica, incarnation, &mut self.outputs);
                self.digests.forget(replica);
                self.tell_digests(replica, effects);
            }
            Input::PeerDown { replica } => {
                self.links.remove(replica);
                self.digests.forget(replica);
                self.paxos.peer_down(now, replica, &mut self.outputs);
            }
            Input::Front { front, request } => self.front_asks(now, front, request, effects),
            Input::Written { token } => self.storage.written(now, token, &mut self.paxos, &mut self.outputs),
            Input::SegmentReady { segment } => self.storage.segment_ready(segment),
            Input::ImageWritten { slot } => {
                if !self.transfer.written(slot) {
                    self.images.written(slot);
                }
            }
            Input::ImageDurable { slot } => {
                if !self.fetched(slot, effects) {
                    self.images.durable(slot);
                }
            }
            Input::NoRoomForSegment => self.storage.no_room(now),
            Input::NoRoomForImage { slot } => {
                if !self.transfer.refused(now, slot) {
                    self.images.refused(slot);
                }
            }
            Input::ImageRead { to, image, offset, bytes } => self.lent(to, (image, offset), bytes, effects),
            Input::ReadBack { bytes } => self.read_back(now, bytes.as_deref(), effects),
            Input::LogRead { to, from, values } => self.log_read(now, to, from, values, effects),
            Input::NotForwarded { .. } if cfg!(bug = "42") => {}
            Input::NotForwarded { submission } => self.refuse(submission.requests(), true, effects),
            Input::Tick => self.tick(now),
            Input::HandOver => self.paxos.hand_over(now, None, &mut self.outputs),
            Input::TurnEnd { wall_ms } => self.end_turn(now, wall_ms, effects),
        }
        self.drain(now, effects);
    }

    /// This disk is an older copy of itself: what it would have said is as wrong as what it may say.
    fn fall_silent(&mut self, by: ReplicaId, word: Acknowledged, effects: &mut Vec<Effect>) {
        self.forgot = true;
        effects.retain(|effect| !matches!(effect, Effect::Peer { .. }));
        effects.push(Effect::Forgotten { by, word });
    }

    /// What was under way comes to its end; nothing that follows from it is done or said.
    fn step_to_end(&mut self, now: Instant, input: &Input, effects: &mut Vec<Effect>) {
        if let Input::Written { token } = input {
            self.storage.written(now, *token, &mut self.paxos, &mut self.outputs);
            self.outputs.clear();
        }
        self.end_from_image(effects);
    }

    /// When [`Input::Tick`] is due, unless something happens before.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Instant {
        if self.transfer.is_ending() || self.forgot {
            return Instant::FOREVER;
        }
        let liveness = self.liveness.as_ref().map_or(Instant::FOREVER, |l| l.next_look(now));
        let images = self.images.next_deadline().min(self.transfer.next_deadline()).min(self.scrub.next_deadline());
        let cache = match &self.cache {
            Some(cache) => cache.next_deadline(),
            // What came in waits for it.
            None if self.paxos.is_leading() => Instant::ZERO,
            None => Instant::FOREVER,
        };
        let own = self.storage.next_deadline().min(images).min(self.next_due(now)).min(cache);
        self.paxos.next_deadline().min(liveness).min(own)
    }

    /// The applied tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        self.namespace.tree()
    }

    /// The state machine.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What Paxos knows.
    #[must_use]
    pub fn paxos(&self) -> &Paxos {
        &self.paxos
    }

    /// What the journal knows.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Whether nothing is kept for any session, nobody waits for a read point, and the log is asked for nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let nothing_asked = self.settling.is_idle() && self.liveness.as_ref().is_none_or(Liveness::is_idle);
        self.attached.is_empty()
            && nothing_asked
            && self.reads.is_idle()
            && self.cache.as_ref().is_none_or(Cache::is_empty)
    }

    /// What clients keep, if this replica leads.
    #[must_use]
    pub fn cache_account(&self) -> CacheAccount {
        self.cache.as_ref().map(Cache::account).unwrap_or_default()
    }

    /// Everything up to this slot is applied, and was handed to the fronts at the last end of a turn.
    #[must_use]
    pub fn applied_upto(&self) -> Slot {
        self.applied_upto
    }

    /// The log is there from this slot on, and perhaps from further back: an image that ends before it is no place to
    /// start from without the help of others.
    #[must_use]
    pub fn log_reaches_back_to(&self) -> Slot {
        self.images.sure_upto()
    }

    /// What must hold between two steps; a debug build looks at it by itself at the end of each turn.
    pub fn invariants(&self) {
        self.paxos.invariants();
        self.cache.iter().for_each(|cache| cache.invariants());
    }

    /// The leader lease, as fronts may use it: none before the reign's first entry is applied.
    #[must_use]
    pub fn lease(&self) -> paxos::Lease {
        self.paxos.lease()
    }

    fn tick(&mut self, now: Instant) {
        self.paxos.tick(now, &mut self.outputs);
        self.storage.tick(now);
        self.settle_what_is_due(now);
        let has_room = self.has_room_for_its_own();
        let Some(liveness) = &mut self.liveness else { return };
        let namespace = &self.namespace;
        let work = |session, most| namespace.work_to_end(session, most);
        liveness.advance(now, self.paxos.is_confirmed(now), work, &mut self.expired);
        for session in std::mem::take(&mut self.expired) {
            let Some(counter) = self.namespace.session(session).map(|view| view.counter) else { continue };
            let command = Command::ExpireSession { session, counter };
            if !has_room || self.admit(Submission::of(&command)).is_err() {
                self.with_liveness(|liveness| liveness.spared(now, session));
            }
        }
    }

    /// Does what Paxos put out, until it is silent.
    fn drain(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while !self.outputs.is_empty() {
            let mut outputs = std::mem::take(&mut self.outputs);
            for output in outputs.drain(..) {
                self.put_out(now, output, effects);
            }
            if self.outputs.is_empty() {
                self.outputs = outputs;
            }
        }
    }

    fn put_out(&mut self, now: Instant, output: Output, effects: &mut Vec<Effect>) {
        match output {
            Output::Send { to, message } => effects.push(Effect::Peer { to, message: PeerMessage::Paxos(message) }),
            Output::Append { sequence, record } => self.storage.append(sequence, record),
            Output::SaveHardState { version, state } => self.storage.save_hard_state(version, state),
            Output::Chosen { slot, value } => self.apply(now, slot, &value),
            Output::ReadPoint { ticket, upto } => {
                if let Some(asked) = self.reads.answered_here(ticket) {
                    answer_read_point(asked.asker, upto, (asked.withheld, asked.word), effects);
                }
            }
            Output::ReadLog { to, from, upto } => self.storage.read_log(to, from, upto, effects),
            Output::RoleChanged => self.role_changed(now, effects),
        }
    }

    fn apply(&mut self, now: Instant, slot: Slot, value: &Value) {
        assert_eq!(slot, self.applied_upto.next(), "slots are applied one after the other");
        self.applied_upto = slot;
        self.applied_at = now;
        self.unpublished = true;
        match value.kind() {
            Some(Kind::Commands) => self.namespace.apply(&value.body(), &mut self.applied),
            Some(Kind::Noop | Kind::Config) => {}
            None => panic!("slot {slot} holds a value of unknown kind: it was written by a newer version"),
        }
        self.snapshots.applied(slot, self.namespace.tree().guarded() > 0);
        self.digests.applied(slot, value.kind(), || self.namespace.digest());
        self.changes.append(&mut self.applied.changes);
        let mut outcomes = std::mem::take(&mut self.applied.outcomes);
        for outcome in outcomes.drain(..) {
            self.route(now, outcome);
        }
        self.applied.outcomes = outcomes;
    }

    /// Sends an outcome to the fronts whose client may wait for it, and tells the leader's liveness.
    fn route(&mut self, now: Instant, outcome: CommandOutcome) {
        let session = match &outcome {
            CommandOutcome::Replied { session, .. }
            | CommandOutcome::Gap { session, .. }
            | CommandOutcome::Unacknowledged { session, .. } => {
                self.with_liveness(|liveness| _ = liveness.heard(now, *session));
                *session
            }
            CommandOutcome::SessionOpened { session, timeout_ms, .. }
            | CommandOutcome::SessionResumed { session, timeout_ms, .. } => {
                let timeout = Duration::from_millis(u64::from(*timeout_ms));
                self.with_liveness(|liveness| liveness.opened(now, *session, timeout));
                let process = self.namespace.session(*session).map(|view| view.holder);
                self.with_cache(|cache| cache.resumed(*session, process));
                return self.broadcast(&outcome);
            }
            CommandOutcome::SessionRefused { .. } | CommandOutcome::SessionsFull { .. } => {
                return self.broadcast(&outcome);
            }
            CommandOutcome::SessionExpired { session }
            | CommandOutcome::SessionClosed { session, .. }
            | CommandOutcome::RequestMissed { session, .. } => {
                self.with_liveness(|liveness| liveness.closed(*session));
                self.with_cache(|cache| cache.session_over(*session));
                *session
            }
            CommandOutcome::CachingMarked { session } => return self.with_cache(|cache| cache.marked(*session)),
            CommandOutcome::Settled { path } => return self.settling.settled(path),
            CommandOutcome::ReignBegun => return,
            CommandOutcome::ExpiryMissed { session, .. } => {
                return self.with_liveness(|liveness| liveness.spared(now, *session));
            }
        };
        let mut fronts = self.attached.fronts_of(session);
        if let Some(first) = fronts.next() {
            for other in fronts {
                self.fronts[usize::from(other.0)].outcomes.push(outcome.clone());
            }
            self.fronts[usize::from(first.0)].outcomes.push(outcome);
        }
    }

    fn with_liveness(&mut self, tell: impl FnOnce(&mut Liveness)) {
        if let Some(liveness) = &mut self.liveness {
            tell(liveness);
        }
    }

    fn with_cache(&mut self, tell: impl FnOnce(&mut Cache)) {
        if let Some(cache) = &mut self.cache {
            tell(cache);
        }
    }

    /// Every front may hold the connection that waits for this, or the one that must give way.
    fn broadcast(&mut self, outcome: &CommandOutcome) {
        for front in &mut self.fronts {
            front.outcomes.push(outcome.clone());
        }
    }

    fn role_changed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.paxos.is_leading() && self.liveness.is_none() {
            self.proposed = LogTime { ns: self.namespace.log_time_ns(), at: self.applied_at };
            self.liveness = Some(Liveness::begin(
                now,
                self.namespace
                    .sessions()
                    .filter(|_| !cfg!(bug = "18"))
                    .map(|s| (s.session, Duration::from_millis(s.timeout_ms.into()))),
            ));
        } else if !self.paxos.is_leading() {
            self.liveness = None;
            self.settling = Settling::default();
        }
        self.begin_cache();
        let leader = self
            .paxos
            .leader()
            .filter(|leader| *leader == self.me || self.links.contains(*leader))
            .map(|leader| (leader, self.paxos.ballot()));
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        if !self.paxos.is_leader() {
            self.pending.take_all();
        }
        for asked in self.reads.abandon_forwarded() {
            answer_read_point(asked.asker, None, Default::default(), effects);
        }
        for id in 0..self.fronts.len() {
            let notice = FrontNotice::Leader { leader: leader.map(|(replica, _)| replica) };
            effects.push(Effect::Front { front: FrontId(id as u8), notice });
        }
    }

    fn end_turn(&mut self, now: Instant, wall_ms: u64, effects: &mut Vec<Effect>) {
        self.role_changed(now, effects);
        self.tend_cache(now, effects);
        self.propose_pending(now, wall_ms);
        self.drain(now, effects);
        if self.tend_digests(effects) {
            return;
        }
        self.publish(now, effects);
        self.paxos.end_turn(&mut self.outputs);
        self.drain(now, effects);
        self.tend_images(now, effects);
        self.tend_fetch(now, effects);
        self.tend_scrub(now, effects);
        self.paxos.spare_the_log(!self.storage.has_room_for(0));
        self.paxos.set_cramped(now, self.storage.is_cramped());
        self.storage.writes(now, effects);
        #[cfg(debug_assertions)]
        self.invariants();
    }

    /// Whether an entry may leave beside those in flight.
    fn may_go_on(&self) -> bool {
        match self.paxos.in_flight() {
            0 => true,
            under_way => under_way < self.entries_in_flight_max() && self.pending.is_ripe(),
        }
    }

    /// Nothing before the reign's first entry is applied: only then is it known who may keep answers.
    fn propose_pending(&mut self, now: Instant, wall_ms: u64) {
        while self.cache.is_some() && self.paxos.can_propose() && self.may_go_on() {
            self.begin_reign();
            let log_time_ns = self.log_time_ns(now);
            let Some(value) = self.pending.cut(log_time_ns, wall_ms) else { return };
            self.proposed = LogTime { ns: log_time_ns, at: now };
            let slot = self.paxos.propose(now, value, &mut self.outputs);
            let count = self.pending.cut_upto();
            self.with_cache(|cache| cache.proposed(slot, count));
        }
    }

    /// The log's time as this replica would say it now: it runs on from what was applied last, and from what was
    /// proposed here last, whichever is later (an entry's own way to being applied must not stop it). It runs only in a
    /// reign of this replica: nobody may hurry it by what went on elsewhere, or before.
    fn log_time_ns(&self, now: Instant) -> u64 {
        if self.liveness.is_none() {
            return self.namespace.log_time_ns();
        }
        let applied = LogTime { ns: self.namespace.log_time_ns(), at: self.applied_at };
        applied.run_on(now).max(self.proposed.run_on(now))
    }

    fn publish(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.unpublished {
            return;
        }
        self.unpublished = false;
        let revision = self.namespace.revision();
        let since = std::mem::replace(&mut self.published, revision);
        let changes: Arc<[Change]> = self.changes.drain(..).collect();
        for (id, front) in self.fronts.iter_mut().enumerate() {
            // The next notice is likely to need as much room.
            let room = Vec::with_capacity(front.outcomes.len());
            let notice = FrontNotice::Applied(Applied {
                upto: self.applied_upto,
                since,
                revision,
                changes: Arc::clone(&changes),
                outcomes: std::mem::replace(&mut front.outcomes, room),
            });
            effects.push(Effect::Front { front: FrontId(id as u8), notice });
        }
        effects.append(&mut self.recalls);
        self.paxos.applied(now, self.applied_upto, &mut self.outputs);
        // Now, not earlier: a read point given from here on covers it.
        let upto = self.applied_upto;
        self.with_cache(|cache| cache.applied(upto));
        self.drain(now, effects);
    }
}
