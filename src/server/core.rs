//! The replica's core: one replica driven by one ring. Frames of peers and completions of the disk go in; frames, disk
//! writes and notices for the fronts come out.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use bytes::Bytes;

use super::config::Config;
use super::ends::{differs, disk_failed, hard_state_lost, old_folder, removed};
use super::failure::{Code, Failure};
use super::folder::{self, Folder};
use super::images;
use super::jobs::{Asked, Jobs, neighbours, span};
use super::links::{self, Links, Verdict};
use super::roster::Roster;
use super::service::{Health, Service};
use super::standstill::{Standstill, Word};
use super::start::Started;
use super::stop::Stop;
use crate::journal::{Identity, SegmentId};
use crate::limits::{DISK_STALL_MAX, REQUEST_BYTES_MAX};
use crate::paxos::{self, ReplicaId, Slot};
use crate::replica::exchange::{
    Borrower, DiskFile, Effect, FrontId, FrontNotice, FrontRequest, Input, Scrubbed, Still, Submission,
};
use crate::replica::{ImageFileError, Process, Replica};
use crate::runtime::background::Job;
use crate::runtime::{ConnectionId, FileId, Ring, clock};
use crate::time::Instant;
use crate::wire::peer::PeerMessage;

/// A replica and everything it needs of its core.
pub(super) struct Core {
    pub(super) replica: Replica,
    links: Links,
    roster: Roster,
    fronts: u8,
    pub(super) jobs: Jobs,
    service: Service,
    pub(super) folder: Folder,
    segment_bytes: u64,
    hard_state: FileId,
    pub(super) segments: BTreeMap<SegmentId, FileId>,
    /// Writes in flight, and since when.
    writing: BTreeMap<u64, Instant>,
    inputs: Vec<Input>,
    effects: Vec<Effect>,
    /// Empty but while a turn ends: what is done once the fronts were told.
    others: Vec<Effect>,
    notices: Vec<(FrontId, FrontNotice)>,
    sends: Vec<(ConnectionId, Bytes)>,
    closes: Vec<ConnectionId>,
    /// To be closed once what they are sent has left.
    farewells: Vec<ConnectionId>,
    /// Where our clients find us.
    client_address: String,
    told_full: bool,
    /// The last image of which was said that there is no room for it.
    told_no_image: Option<Slot>,
    standstill: Standstill,
    /// The newest list of members that is said not to name our disk is of that slot.
    unnamed_since: Slot,
    /// The replica must not go on.
    fatal: Option<Failure>,
    /// The replica asked for a new start.
    starts_again: bool,
    told_leader: Option<ReplicaId>,
    /// It was said that this replica has no vote.
    told_voteless: bool,
    /// There was a leadership to hand over when it was asked to stop.
    led_when_stopped: bool,
    started_at: Instant,
    identity: links::Identity,
    pub(super) journal_identity: Identity,
}

/// How a server came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It was asked to stop.
    Stopped,
    /// It fetched an image of another replica: what it is to be now is on its disk, and whoever ran it runs it again. A
    /// server of many cores leaves its fronts' threads behind, so this takes a new process.
    ToStartAgain,
}

/// The process ends with it. Nothing waits for jobs under way, since a disk may never answer; the folder stays locked until
/// the process is gone.
impl Drop for Core {
    fn drop(&mut self) {
        self.jobs.leave_behind();
        self.folder.keep();
    }
}

impl Core {
    pub(super) fn new(config: &Config, started: Started, service: Service, ring: &mut Ring) -> Result<Self, Failure> {
        let Started { replica, folder, identity: journal_identity, background } = started;
        let hard_state = register(ring, folder.open_hard_state()?)?;
        let mut segments = BTreeMap::new();
        for segment in folder.segments()? {
            segments.insert(segment, register(ring, folder.open_segment(segment)?)?);
        }
        let Identity { cell, replica: me, incarnation } = journal_identity;
        let identity = links::Identity { cell, replica: me, incarnation };
        let client_address = config.replica(me).map_or_else(String::new, |own| own.advertised().to_string());
        Ok(Self {
            replica,
            links: Links::new(identity, ring.waker()),
            roster: Roster::of(config, (me, incarnation)),
            fronts: config.server.cores.len().saturating_sub(1).max(1) as u8,
            jobs: Jobs::new(background),
            service,
            folder,
            segment_bytes: config.journal.segment.0,
            hard_state,
            segments,
            writing: BTreeMap::new(),
            inputs: Vec::new(),
            effects: Vec::new(),
            others: Vec::new(),
            notices: Vec::new(),
            sends: Vec::new(),
            closes: Vec::new(),
            farewells: Vec::new(),
            client_address,
            told_full: false,
            told_no_image: None,
            standstill: Standstill::default(),
            unnamed_since: Slot(0),
            fatal: None,
            starts_again: false,
            told_leader: None,
            told_voteless: false,
            led_when_stopped: false,
            started_at: clock::now(),
            identity,
            journal_identity,
        })
    }

    /// A peer dialled us.
    pub(super) fn accepted(&mut self, now: Instant, connection: ConnectionId) {
        self.links.accepted(now, connection);
    }

    /// Whether that connection is a peer's link.
    pub(super) fn owns(&self, connection: ConnectionId) -> bool {
        self.links.owns(connection)
    }

    pub(super) fn connected(&mut self, now: Instant, connection: ConnectionId) {
        let paxos = self.replica.paxos();
        let acknowledged_by = |replica| paxos.acknowledged_by(replica);
        self.links.connected(connection, acknowledged_by, &mut self.inputs, &mut self.sends);
        self.take_inputs(now);
    }

    pub(super) fn received(&mut self, now: Instant, connection: ConnectionId, bytes: &[u8]) {
        match self.links.received(connection, bytes, &mut self.inputs) {
            Verdict::Keep => {}
            Verdict::Close => self.closes.push(connection),
            Verdict::Tell { unnamed, close } => {
                self.sends.push((connection, unnamed));
                if close {
                    self.farewells.push(connection);
                }
            }
            Verdict::Unnamed { config_slot } => self.unnamed_since = self.unnamed_since.max(config_slot),
            Verdict::Client => {
                self.sends.push((connection, links::peer_port_fault(&self.client_address)));
                self.farewells.push(connection);
            }
        }
        self.take_inputs(now);
    }

    pub(super) fn closed(&mut self, now: Instant, connection: ConnectionId) {
        self.closes.extend(self.links.closed(now, connection, &mut self.inputs));
        self.take_inputs(now);
    }

    /// A disk write is durable, or failed; a failure is the process's end.
    pub(super) fn written(&mut self, now: Instant, token: u64, result: std::io::Result<()>) -> Result<(), Failure> {
        self.writing.remove(&token);
        let is_told = |_: &std::io::Error| !cfg!(bug = "02");
        if let Some(error) = result.err().filter(is_told) {
            return Err(disk_failed(&self.folder, &error.to_string()));
        }
        self.step(now, Input::Written { token });
        Ok(())
    }

    /// One of our fronts asks.
    pub(super) fn front_asks(&mut self, now: Instant, front: FrontId, request: FrontRequest) {
        if let FrontRequest::Status { ticket } = request {
            let identity = self.identity;
            let process =
                Process { cell: identity.cell, incarnation: identity.incarnation, started_at: self.started_at };
            let status = Box::new(self.replica.status(now, process));
            self.effects.push(Effect::Front { front, notice: FrontNotice::Status { ticket, status } });
        } else {
            self.step(now, Input::Front { front, request });
        }
    }

    /// Whether another replica is known to lead, or there is none that could, or there was nothing to hand over.
    fn is_handed_over(&self) -> bool {
        let paxos = self.replica.paxos();
        !self.led_when_stopped
            || paxos.config().voters().count() == 1
            || paxos.leader().is_some_and(|leader| leader != self.identity.replica)
    }

    /// Whether and how it is over.
    pub(super) fn ended(&self, stop: &Stop, now: Instant) -> Option<Ended> {
        if stop.is_over(now, self.is_handed_over()) {
            return Some(Ended::Stopped);
        }
        self.starts_again.then_some(Ended::ToStartAgain)
    }

    /// Gives the leadership away, if we have it.
    pub(super) fn hand_over(&mut self, now: Instant) {
        self.led_when_stopped = self.replica.paxos().is_leader();
        let duty = if self.led_when_stopped { ": handing the leadership over" } else { "" };
        tracing::info!("asked to stop{duty}");
        self.service.stopping();
        self.step(now, Input::HandOver);
    }

    /// Ends the turn. What the fronts must know, the state of the lease included, is shown to them through `tell` before
    /// anything leaves this host that rests on it.
    pub(super) fn end_turn(
        &mut self,
        now: Instant,
        ring: &mut Ring,
        tell: impl FnOnce(&Replica, std::vec::Drain<'_, (FrontId, FrontNotice)>),
    ) -> Result<(), Failure> {
        self.finish_background(now, ring)?;
        if self.replica.next_deadline(now) <= now {
            self.step(now, Input::Tick);
        }
        self.step(now, Input::TurnEnd { wall_ms: clock::wall_ms() });
        self.tell_leader();
        self.tell_of_members()?;
        self.tell_voteless();
        let (mut effects, mut others) = (std::mem::take(&mut self.effects), std::mem::take(&mut self.others));
        for effect in effects.drain(..) {
            match effect {
                Effect::Front { front, notice } => self.notices.push((front, notice)),
                other => others.push(other),
            }
        }
        tell(&self.replica, self.notices.drain(..));
        self.effects = effects;
        self.links.dial(now, ring);
        for (connection, bytes) in self.sends.drain(..) {
            ring.send(connection, bytes);
        }
        for connection in std::mem::take(&mut self.closes) {
            self.close(now, connection, ring);
        }
        for connection in self.links.take_stale(now) {
            self.close(now, connection, ring);
        }
        for connection in std::mem::take(&mut self.farewells) {
            ring.close(connection);
            self.closed(now, connection);
        }
        for effect in others.drain(..) {
            self.perform(now, effect, ring);
        }
        self.others = others;
        if let Some(fatal) = self.fatal.take() {
            // What the peers are told of it leaves with one more look at the ring, whatever else that finds.
            _ = ring.turn(Some(Instant::ZERO), &mut |_, _| {});
            return Err(fatal);
        }
        self.tell_of_room();
        self.tell_undecided(now);
        self.tell_service(now);
        match self.writing.values().min() {
            Some(since) if now.since(*since) > DISK_STALL_MAX => {
                Err(disk_failed(&self.folder, "a write that did not come back within 10 s"))
            }
            _ => Ok(()),
        }
    }

    fn tell_service(&mut self, now: Instant) {
        let Self { replica, writing, identity, standstill, .. } = self;
        let paxos = replica.paxos();
        self.service.turned(now, || Health {
            me: identity.replica,
            leader: paxos.leader(),
            undecided: standstill.slot(),
            chosen_upto: paxos.chosen_upto(),
            applied_upto: replica.applied_upto(),
            writing_since: writing.values().min().copied(),
        });
    }

    /// Says before which slot this replica, leading, stands still, and what it takes to go on.
    fn tell_undecided(&mut self, now: Instant) {
        let paxos = self.replica.paxos();
        match self.standstill.look(now, paxos.chosen_upto(), || paxos.undecided()) {
            Some(Word::Waits(undecided)) => {
                tracing::warn!("{undecided}; until it is, nothing new is chosen; {}", undecided.mend());
            }
            Some(Word::Over(slot)) => tracing::info!("slot {slot} is decided: the log goes on"),
            None => {}
        }
    }

    /// Says, once, that the log has no room for commands, and that it has again.
    fn tell_of_room(&mut self) {
        // Large requests are turned away first.
        let full = !self.replica.storage().has_room_for(REQUEST_BYTES_MAX as u64);
        if full && !self.told_full && self.replica.storage().is_disk_full() {
            let (folder, bytes) = (self.folder.path.display(), self.segment_bytes);
            tracing::warn!(
                "there is no room under {folder} for another {bytes} bytes of journal: writes are refused as overloaded until \
                 there is, or a replica that has room leads; free some space, or move the folder to a larger disk"
            );
        } else if full && !self.told_full {
            let used = self.segments.len() as u64 * self.segment_bytes;
            tracing::warn!(
                "the journal holds {used} bytes, as much as journal.max allows: writes are refused as overloaded until an \
                 image is taken and it can be trimmed"
            );
        } else if !full && self.told_full {
            tracing::info!("the journal has room again: writes are taken");
        }
        self.told_full = full;
    }

    /// Ends a link; the other direction's, which is as dead, goes with it.
    fn close(&mut self, now: Instant, connection: ConnectionId, ring: &mut Ring) {
        let mut next = Some(connection);
        while let Some(connection) = next {
            ring.abort(connection);
            next = self.links.closed(now, connection, &mut self.inputs);
        }
        self.take_inputs(now);
    }

    /// Takes up a change of the members: who is linked, and what clients are told. A replica that is left out is done.
    fn tell_of_members(&mut self) -> Result<(), Failure> {
        let (configs, next) = (self.replica.paxos().configs(), self.replica.paxos().chosen_upto().next());
        if self.unnamed_since > configs.newest_slot() && relies_on_its_list(configs.newest(), self.identity) {
            return Err(removed(self.identity.replica, true));
        }
        if !self.roster.follow(configs, next) {
            return Ok(());
        }
        let links::Identity { replica, incarnation, .. } = self.identity;
        let left_out = configs.previous().names(replica, incarnation) && !configs.newest().names(replica, incarnation);
        if left_out && configs.is_settled(next) {
            return Err(removed(replica, configs.newest().member(replica).is_some()));
        }
        self.links.set_members(configs.newest_slot(), self.roster.places());
        for front in 0..self.fronts {
            let notice = FrontNotice::Found { members: self.roster.for_clients() };
            self.effects.push(Effect::Front { front: FrontId(front), notice });
        }
        Ok(())
    }

    /// Says in the diagnostics who leads, when that changes.
    fn tell_leader(&mut self) {
        let paxos = self.replica.paxos();
        let leader = paxos.leader();
        if leader == self.told_leader {
            return;
        }
        self.told_leader = leader;
        match leader {
            Some(leader) if leader == self.identity.replica => tracing::info!("leads, at ballot {}", paxos.ballot()),
            Some(leader) => tracing::info!("follows replica {leader}, at ballot {}", paxos.ballot()),
            None => tracing::info!("knows no leader"),
        }
    }

    /// A replica that works and does not count is the one thing its operator must hear from it.
    fn tell_voteless(&mut self) {
        let Identity { incarnation, replica: me, .. } = self.journal_identity;
        let known = self.replica.paxos().config().member(me).map(|member| member.incarnation);
        // One that was not met yet will be counted as soon as it is.
        let voteless = known.is_none_or(|disk| disk.is_some_and(|disk| disk != incarnation));
        if voteless && !self.told_voteless {
            let why = match known {
                Some(_) => "the cell counts on another disk of it, which was lost or is somewhere else",
                None => "the cell's list of members does not name it",
            };
            tracing::warn!(
                "replica {me} has no vote in this cell: {why}; it follows, and a majority is found without it; `quorate \
                 recover` with its folder asks for its vote, if none has asked yet"
            );
        }
        self.told_voteless = voteless;
    }

    fn perform(&mut self, now: Instant, effect: Effect, ring: &mut Ring) {
        match effect {
            Effect::Peer { to, message: PeerMessage::Forward { count, run } } if self.links.is_crowded(to, ring) => {
                self.step(now, Input::NotForwarded { submission: Submission { run, count } });
            }
            Effect::Peer { to, message } => {
                if let Some(broken) = self.links.send(to, &message, ring) {
                    self.close(now, broken, ring);
                }
            }
            Effect::Write { token, file, offset, pieces } => {
                let file = match file {
                    DiskFile::HardState => self.hard_state,
                    DiskFile::Segment(segment) => self.segments[&segment],
                };
                self.writing.insert(token, now);
                ring.write_durable(file, offset, pieces, token);
            }
            Effect::PrepareSegment { segment } => {
                let path = folder::segment_path(&self.folder.path, segment);
                self.jobs.ask(Asked::Segment(segment), Job::ZeroFile { path, bytes: self.segment_bytes });
            }
            Effect::RecycleSegment { from, segment } => {
                self.forget(from, ring);
                let path = |segment| folder::segment_path(&self.folder.path, segment);
                let job = Job::Rename { from: path(from), to: path(segment) };
                self.jobs.ask(Asked::Segment(segment), job);
            }
            Effect::RemoveSegment { segment } => {
                self.forget(segment, ring);
                let path = folder::segment_path(&self.folder.path, segment);
                self.jobs.ask(Asked::Chore, Job::Remove { path });
            }
            Effect::BeginImage { slot } => {
                let path = images::image_path(&self.folder.path, slot);
                self.jobs.ask(Asked::ImageBegun, Job::Begin { stream: slot.0, path });
            }
            Effect::ImagePiece { slot, bytes } => {
                self.jobs.ask(Asked::ImagePiece(slot), Job::Chunk { stream: slot.0, bytes })
            }
            Effect::FinishImage { slot } => self.jobs.ask(Asked::Image(slot), Job::Finish { stream: slot.0 }),
            Effect::RemoveImage { slot } => {
                let path = images::image_path(&self.folder.path, slot);
                self.jobs.ask(Asked::Chore, Job::Remove { path });
            }
            Effect::DiscardImage { slot } => self.jobs.ask(Asked::Chore, Job::Discard { stream: slot.0 }),
            Effect::ReadImage { to, image, offset, bytes } => {
                if let Borrower::Peer(peer) = to
                    && self.links.is_busy(peer, ring)
                {
                    return self.step(now, Input::ImageRead { to, image, offset, bytes: Bytes::new() });
                }
                let path = images::image_path(&self.folder.path, image);
                self.jobs.ask(Asked::ImageRead { to, image, offset }, Job::ReadFile { path, offset, bytes });
            }
            Effect::ReadBack { file, offset, bytes } => {
                let path = self.path_of(file);
                self.jobs.ask(Asked::ReadBack, Job::ReadIdly { path, offset, bytes });
            }
            Effect::Scrubbed(scrubbed) => self.tell_of_scrub(&scrubbed),
            Effect::ImageRefused { from, image, error } => tell_of_refused(from, image, &error),
            Effect::Diverged(diverged) => self.fatal = Some(differs(self.identity.replica, &diverged)),
            Effect::Forgotten { by, word } => self.fatal = Some(old_folder(&self.folder, by, &word)),
            Effect::HardStateLost { damaged } => self.fatal = Some(hard_state_lost(&self.folder, damaged)),
            Effect::StartAgain => {
                tracing::info!("fetched an image: starting again from it");
                self.starts_again = true;
            }
            Effect::ReadLog { to, from, places } => {
                let places = neighbours(places);
                let Some(first) = places.first() else {
                    return self.step(now, Input::LogRead { to, from, values: Vec::new() });
                };
                let path = folder::segment_path(&self.folder.path, first.segment);
                let job = Job::ReadFile { path, offset: first.offset, bytes: span(&places) };
                self.jobs.ask(Asked::Values { to, from, places }, job);
            }
            Effect::Front { .. } => unreachable!("notices were told before"),
        }
    }

    /// When [`Core::end_turn`] is due.
    pub(super) fn next_deadline(&self, now: Instant) -> Instant {
        let stall = self.writing.values().min().map_or(Instant::FOREVER, |since| *since + DISK_STALL_MAX);
        let own = self.replica.next_deadline(now).min(self.links.next_deadline());
        own.min(stall).min(self.service.next_deadline())
    }

    pub(super) fn segment_ready(&mut self, now: Instant, segment: SegmentId, ring: &mut Ring) -> Result<(), Failure> {
        self.segments.insert(segment, register(ring, self.folder.open_segment(segment)?)?);
        self.step(now, Input::SegmentReady { segment });
        Ok(())
    }

    fn path_of(&self, file: Still) -> PathBuf {
        match file {
            Still::Segment(segment) => folder::segment_path(&self.folder.path, segment),
            Still::Image(slot) => images::image_path(&self.folder.path, slot),
            Still::HardState => self.folder.path.join(folder::HARD_STATE),
        }
    }

    fn tell_of_scrub(&self, scrubbed: &Scrubbed) {
        match scrubbed {
            Scrubbed::Damaged { file, offset, past, error } => {
                let path = self.path_of(*file);
                let what = match error {
                    Some(error @ ImageFileError::Hash { .. }) => format!("{}: {error}", path.display()),
                    _ => format!("{} is damaged at byte {offset}", path.display()),
                };
                tracing::warn!(
                    "{what}; it is repaired by images past slot {}; look at the disk (dmesg, SMART)",
                    past.0
                );
            }
            Scrubbed::CopiesDamaged(damaged) => {
                tracing::warn!(
                    "{damaged} of the 4 copies of {} are damaged; they are written again; look at the disk (dmesg, SMART)",
                    self.folder.path.join(folder::HARD_STATE).display()
                );
            }
            Scrubbed::Pass { bytes, damaged } => {
                tracing::info!("read {bytes} bytes of log and images back: {damaged} places are damaged");
            }
        }
    }

    /// Says, once for each image, that there is no room for it.
    pub(super) fn tell_of_no_image(&mut self, slot: Slot) {
        if self.told_no_image != Some(slot) {
            self.told_no_image = Some(slot);
            tracing::warn!(
                "there is no room under {} for the image up to slot {}: it is dropped, and tried again in a while; until one \
                 is taken the journal cannot be trimmed",
                self.folder.path.display(),
                slot.0
            );
        }
    }

    fn forget(&mut self, segment: SegmentId, ring: &mut Ring) {
        // One whose new name was refused is forgotten already.
        if let Some(file) = self.segments.remove(&segment) {
            ring.forget_file(file);
        }
    }

    pub(super) fn step(&mut self, now: Instant, input: Input) {
        self.replica.step(now, input, &mut self.effects);
    }

    fn take_inputs(&mut self, now: Instant) {
        let mut inputs = std::mem::take(&mut self.inputs);
        for input in inputs.drain(..) {
            self.step(now, input);
        }
        if self.inputs.is_empty() {
            self.inputs = inputs;
        }
    }
}

fn tell_of_refused(from: ReplicaId, image: Slot, error: &ImageFileError) {
    tracing::warn!(
        "what replica {from} sent as its image up to slot {} is not used: {error}; another is asked for one; `quorate inspect \
         image` there says whether that disk is at fault",
        image.0
    );
}

fn register(ring: &mut Ring, file: File) -> Result<FileId, Failure> {
    ring.register_file(file).map_err(|error| {
        Failure::new(Code::HostLimit, "cannot register a file with the ring")
            .found(error.to_string())
            .fix("raise the limit of open files: LimitNOFILE=1048576 in the unit, or ulimit -n")
    })
}

/// Whether a list that does not name this disk takes something from it. A disk that is to join knows nobody that votes, and
/// is named by nothing yet.
fn relies_on_its_list(newest: &paxos::Config, me: links::Identity) -> bool {
    let founds = newest.is_unfounded() && newest.has_voter(me.replica);
    founds || newest.names(me.replica, me.incarnation)
}
