//! A client: the library's session machine, a host's clock, and somebody who calls.

use std::collections::BTreeMap;

use quorate::client::machine::{
    ANSWERED_BACK, Answered, CacheSettings, Effect, Machine, Prefer, Saved, Shelf, WatchTold,
};
use quorate::client::{Error, SessionState};
use quorate::namespace::command::{Answer, Done, Operation, Read, Refusal, Revision, SessionId};
use quorate::paxos::Slot;
use quorate::time::{Duration, Instant};
use quorate::wire::client::Consistency;

use super::acls;
use super::history::{Asked, Call, History, Life};
use super::network::{Host, Network, Port};
use super::pasts::Gap;
use super::plan::Plan;
use super::steady::A_WHILE;
use super::watching::Watching;
use super::workload;
use super::world::{Event, HostClock, MICRO, Moment, World};

/// One client, over all its sessions.
#[derive(Debug)]
pub struct Client {
    index: usize,
    clock: HostClock,
    machine: Machine,
    /// Sessions it had before.
    lives: u64,
    /// The connection, and whether it stands.
    conn: Option<(u64, bool)>,
    /// Calls without an answer, by tag: their place in the history.
    waiting: BTreeMap<u64, usize>,
    /// Those of them that wait for a lock, by its path, and locks to be waited for.
    awaiting: BTreeMap<u64, String>,
    queued: Vec<String>,
    /// At the end: it gives up every lock it may have, and those it comes to have later.
    gives_up: bool,
    given_up: Vec<String>,
    tags: u64,
    /// The last request made in this session.
    number: u64,
    /// Calls still to be made.
    left: u64,
    reads: u64,
    prefer: Prefer,
    next_call: Moment,
    known: workload::Known,
    /// At the end: the cell has shown that it serves this session.
    proved: bool,
    /// It has asked for the end of its session, and asks for nothing more in it.
    leaves: bool,
    /// Until when its session was safe, by its own clock, and how long it waits from then on until it takes it for over.
    lease_until: Instant,
    grace: Duration,
    phase: Phase,
    wake: Moment,
    calls: u64,
    watching: Watching,
    /// Answers it keeps, if it does.
    shelf: Option<Shelf>,
    /// Requests made and not answered.
    unanswered: u64,
    /// The life before this one, whose session is not here yet.
    taking_over: Option<Life>,
    /// Since when its connection stands, and what was asked and answered on it.
    since: Moment,
    answered_here: u64,
    /// When the connection last brought anything, and whether what is done now is done because of the time.
    heard: Moment,
    is_late: bool,
    /// It never proved to be anybody, so that it is asked for by its address alone.
    is_nobody: bool,
    /// Nodes of which it was answered something that it tells others.
    rumours: Vec<String>,
    /// The line by which this life came to its session, and whose it was; and the number it went on from.
    line: Option<(Life, Saved)>,
    began: u64,
    /// What the process before, which was only thought dead, still keeps: it is cut off, and nobody told it anything.
    former: Option<(SessionId, Shelf)>,
}

/// What a client is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Calling,
    /// The last sync is answered before anything else.
    Proving,
    Closing,
    Done,
}

/// What surrounds a client.
pub struct Around<'a> {
    pub world: &'a mut World,
    pub network: &'a mut Network,
    pub history: &'a mut History,
    pub plan: &'a Plan,
    /// Every slot up to here is chosen.
    pub chosen_upto: Slot,
    /// No node's state is wrong.
    pub all_sound: bool,
    /// In the calm: since when one has led, and everybody has known it.
    pub led_since: Option<Moment>,
    /// Its session lasts longer than whatever may still go wrong.
    pub has_time: bool,
}

impl Client {
    pub fn new(index: usize, world: &mut World, plan: &Plan, clock: HostClock) -> Self {
        let (reads, prefer) = plan.role(&mut world.random);
        let settings = plan.client(&mut world.random, prefer);
        let grace = settings.grace;
        let machine = Machine::new(clock.read(world.now), settings);
        Self {
            index,
            clock,
            machine,
            lives: 0,
            conn: None,
            waiting: BTreeMap::new(),
            awaiting: BTreeMap::new(),
            queued: Vec::new(),
            gives_up: false,
            given_up: Vec::new(),
            tags: 0,
            number: 0,
            left: plan.calls,
            reads,
            prefer,
            next_call: 0,
            known: workload::Known::default(),
            proved: false,
            leaves: false,
            lease_until: Instant::ZERO,
            grace,
            phase: Phase::Calling,
            wake: Moment::MAX,
            calls: 0,
            watching: Watching::default(),
            shelf: world.random.permille(plan.caching).then(new_shelf),
            unanswered: 0,
            taking_over: None,
            since: 0,
            answered_here: 0,
            heard: 0,
            is_late: false,
            is_nobody: true,
            rumours: Vec::new(),
            line: None,
            began: 0,
            former: None,
        }
    }

    /// From now on: finish what was begun, prove that the cell serves, close the session.
    pub fn wind_up(&mut self, around: &mut Around<'_>) {
        self.left = 0;
        self.phase = Phase::Proving;
        self.go_on(around);
    }

    /// Calls more than it was to make.
    pub fn call_more(&mut self, around: &mut Around<'_>, calls: u64) {
        self.left += calls;
        self.go_on(around);
    }

    /// It was done, and is there again, in a new session.
    pub fn come_back(&mut self, around: &mut Around<'_>) {
        assert!(self.is_done(), "only who went comes back");
        if let Some((conn, _)) = self.conn.take() {
            around.network.close(around.world, conn, Host::Client(self.index));
        }
        (self.phase, self.gives_up, self.next_call) = (Phase::Calling, false, around.world.now);
        self.begin_anew(around);
        self.go_on(around);
    }

    /// Whether every call ended and, after [`Client::wind_up`], the session was closed.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done && self.waiting.is_empty()
    }

    /// Whether nothing is left to call.
    pub fn is_idle(&self) -> bool {
        self.left == 0 && self.waiting.len() == self.awaiting.len()
    }

    /// The session that it was told to be safe, unless it is about to close it.
    pub fn relies_on(&self) -> Option<SessionId> {
        let closes = self.leaves || matches!(self.phase, Phase::Closing | Phase::Done);
        self.machine.session().filter(|_| self.machine.state() == SessionState::Safe && !closes)
    }

    /// Whether that session is its own, or is asked for.
    pub fn may_speak_in(&self, session: SessionId) -> bool {
        let asked_for = self.line.filter(|_| self.taking_over.is_some()).map(|(_, saved)| saved.session);
        self.machine.session() == Some(session) || asked_for == Some(session)
    }

    /// Every answer that it might give to a caller at this moment.
    pub fn might_give(&self, moment: Moment) -> impl Iterator<Item = (&Read, Revision, &Result<Answer, Refusal>)> {
        let shelf = self.shelf.as_ref().filter(|_| self.relies_on().is_some() && self.unanswered == 0);
        shelf.into_iter().flat_map(move |shelf| shelf.usable_at(self.clock.read(moment)))
    }

    /// Every answer that the process before might give, should it live after all.
    pub fn former_might_give(
        &self,
        moment: Moment,
    ) -> impl Iterator<Item = (SessionId, &Read, Revision, &Result<Answer, Refusal>)> {
        let now = self.clock.read(moment);
        let all =
            self.former.iter().flat_map(move |(session, shelf)| shelf.usable_at(now).map(move |kept| (*session, kept)));
        all.map(|(session, (read, revision, answer))| (session, read, revision, answer))
    }

    /// What it is about, for whoever finds it stuck.
    pub fn story(&self) -> String {
        let (phase, state) = (self.phase, self.machine.state());
        format!(
            "client {}: {phase:?}, session {state:?}, {} calls wait, those for locks of {:?}, {} left",
            self.index,
            self.waiting.len(),
            self.awaiting.values(),
            self.left
        )
    }

    pub fn is_called(&self, call: u64) -> bool {
        self.calls == call
    }

    pub fn woken(&mut self, around: &mut Around<'_>) {
        self.wake = Moment::MAX;
        self.machine.tick(self.clock.read(around.world.now));
        self.is_late = true;
        self.effects(around);
        self.is_late = false;
        self.go_on(around);
    }

    pub fn connected(&mut self, around: &mut Around<'_>, conn: u64) {
        if self.conn == Some((conn, false)) {
            self.conn = Some((conn, true));
            (self.since, self.answered_here, self.heard) = (around.world.now, 0, around.world.now);
            self.machine.connected(self.clock.read(around.world.now));
            self.go_on(around);
        }
    }

    pub fn received(&mut self, around: &mut Around<'_>, conn: u64, bytes: &[u8]) {
        if self.conn == Some((conn, true)) {
            self.heard = around.world.now;
            self.machine.received(self.clock.read(around.world.now), bytes);
            self.go_on(around);
        }
    }

    pub fn lost(&mut self, around: &mut Around<'_>, conn: u64) {
        if self.conn.is_some_and(|(mine, _)| mine == conn) {
            self.conn = None;
            self.machine.disconnected(self.clock.read(around.world.now), "the connection broke");
            self.go_on(around);
        }
    }

    /// Does what the machine wants, calls what is due, and sleeps.
    pub fn go_on(&mut self, around: &mut Around<'_>) {
        self.effects(around);
        if self.machine.is_over() && self.phase != Phase::Done {
            self.ended_honestly(around);
            self.begin_anew(around);
        }
        self.call_what_is_due(around);
        self.effects(around);
        if let Some((conn, true)) = self.conn {
            let outgoing = self.machine.outgoing();
            if !outgoing.is_empty() {
                let bytes = outgoing.split().freeze();

                around.network.send(around.world, conn, Host::Client(self.index), bytes);
            }
        }
        if let Some(session) = self.machine.session() {
            around.history.sessions.insert(self.life(), session);
        }
        self.lease_until = self.machine.lease_until();
        self.sleep(around.world);
    }

    /// A machine comes to its end only if the session did, or the cell was away for long.
    fn ended_honestly(&mut self, around: &mut Around<'_>) {
        let ending = self.machine.ending().expect("it is over");
        // Who asked for its end may hear of that from another replica, which only knows that it is over.
        let leaves = self.leaves || self.phase == Phase::Closing;
        assert!(
            leaves || !around.has_time,
            "{} lost its session, which was to last longer than it takes to have another leader: {ending}",
            self.story()
        );
        let taken_late = self.clock.read(around.world.now) >= self.lease_until + self.grace;
        match ending {
            Error::SessionExpired { session, .. } if !taken_late => {
                around.history.told_over.push((self.life(), session, around.chosen_upto));
            }
            Error::SessionExpired { .. } | Error::Unreachable { .. } => {}
            // A process that went on from the same line before it, and died, may have asked for the session later.
            Error::SessionTaken { .. } if self.line.is_some() => {}
            Error::Closed { .. } if self.phase == Phase::Closing || self.leaves => {}
            _ if !around.all_sound => {}
            ending => panic!("{} ended by {ending}", self.story()),
        }
    }

    fn life(&self) -> Life {
        (self.index, self.lives)
    }

    fn effects(&mut self, around: &mut Around<'_>) {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Connect { endpoint } => {
                    assert!(self.conn.is_none(), "a client has one connection");
                    let node = node_of(self.machine.address(endpoint));
                    let me = Host::Client(self.index);
                    let conn = around.network.dial(around.world, me, Host::Node(node), Port::Clients);
                    self.conn = Some((conn, false));
                }
                Effect::Disconnect => {
                    let troubles = self.machine.troubles();
                    let back = around.all_sound && troubles.contains(ANSWERED_BACK);
                    assert!(!back, "client {}: {troubles}", self.index);
                    self.is_not_left_waiting(around);
                    if let Some((conn, _)) = self.conn.take() {
                        around.network.close(around.world, conn, Host::Client(self.index));
                    }
                }
                Effect::Done { tag, result } => {
                    let place = self.waiting.remove(&tag).expect("a call ends once");
                    if let Some(path) = self.awaiting.remove(&tag).filter(|_| self.gives_up) {
                        self.given_up.push(path);
                    }
                    let call = &mut around.history.calls[place];
                    self.unanswered -= u64::from(matches!(call.asked, Asked::Request { .. }));
                    around.world.trace.mix_bytes(format!("{result:?}").as_bytes());
                    if let Ok(Answered::Request { outcome, .. }) = &result {
                        workload::learn(&mut self.known, &call.asked, outcome);
                        if self.phase == Phase::Calling && around.world.random.permille(around.plan.rumours) {
                            self.rumours.extend(workload::subject(&call.asked, outcome));
                        }
                        if *outcome == Ok(Done::Queued) {
                            self.queued.extend(locked(&call.asked));
                        }
                    }
                    if let Ok(Answered::Read { answer, .. }) = &result {
                        workload::learn_answer(&mut self.known, answer);
                    }
                    let closes = matches!(call.asked, Asked::Request { operation: Operation::CloseSession, .. });
                    if closes && result.is_ok() {
                        let session = around.history.sessions.get(&self.life()).copied();
                        around.history.told_over.extend(session.map(|id| (self.life(), id, around.chosen_upto)));
                        if self.phase == Phase::Closing {
                            self.phase = Phase::Done;
                        }
                    }
                    if let Ok(Answered::Read { revision, .. }) = &result {
                        self.watching.saw(&mut around.history.watched, *revision);
                    }
                    let asked_here = result.is_ok() && call.made >= self.since;
                    call.ended = Some((around.world.now, result));
                    self.answered_here += u64::from(asked_here);
                    self.asks_no_more_than_it_may(around);
                }
                Effect::Watch { watch, told } => {
                    around.world.trace.mix_bytes(format!("{told:?}").as_bytes());
                    if let WatchTold::Gap { from, to } = told {
                        let (conn, _) = self.conn.expect("what a watch is told comes by a connection");
                        around.history.gaps.push(Gap { conn, at: around.world.now, from, to });
                    }
                    self.watching.told(&mut around.history.watched, watch, told);
                }
                Effect::Shelve(shelve) => {
                    around.world.trace.mix_bytes(format!("{shelve:?}").as_bytes());
                    if let Some(shelf) = &mut self.shelf {
                        shelf.take(shelve);
                    }
                }
                Effect::Session(_) => {}
            }
        }
    }

    /// When nothing goes wrong nobody needs his patience.
    fn is_not_left_waiting(&self, around: &Around<'_>) {
        let stands = self.conn.is_some_and(|(_, stands)| stands);
        let well = around.led_since.is_some_and(|since| self.heard > since + A_WHILE);
        assert!(
            !(self.is_late && stands && well && around.all_sound),
            "at {}, when nothing goes wrong, {} leaves a connection that is silent since {}: {}; it waits for {:?}",
            around.world.now,
            self.story(),
            self.heard,
            self.machine.troubles(),
            self.waiting.values().map(|place| &around.history.calls[*place]).collect::<Vec<_>>()
        );
    }

    /// The process dies, its calls with it, and another takes its place: with its session, had it one and wrote it down, or with
    /// a new one, while the old is left to expire. One that asked for nothing in a session wrote down nothing new.
    pub fn die(&mut self, around: &mut Around<'_>) {
        if let Some((conn, _)) = self.conn.take() {
            around.network.close(around.world, conn, Host::Client(self.index));
        }
        let relied_on = self.relies_on().filter(|_| self.unanswered == 0);
        self.former = relied_on.and_then(|session| {
            let shelf = self.shelf.as_mut()?;
            Some((session, std::mem::replace(shelf, new_shelf())))
        });
        self.waiting.clear();
        self.unanswered = 0;
        self.awaiting.clear();
        self.known = self.known.passed_on();
        let is_unused = self.taking_over.is_some() || self.number == self.began;
        let own = || self.machine.saved().map(|saved| (self.life(), saved));
        let line = self.line.filter(|_| is_unused).or_else(own);
        let line = line.filter(|_| around.world.random.permille(around.plan.saving));
        if let Some((life, saved)) = line {
            around.history.sessions.insert(life, saved.session);
        }
        self.taking_over = line.map(|(life, _)| life);
        self.line = line;
        self.live_again(around, line.map(|(_, saved)| saved));
        self.go_on(around);
    }

    fn begin_anew(&mut self, around: &mut Around<'_>) {
        assert!(self.waiting.is_empty(), "when a machine is over, every call of it has ended");
        assert!(self.conn.is_none(), "when a machine is over, it has let go of its connection");
        (self.taking_over, self.line) = (None, None);
        self.live_again(around, None);
    }

    fn live_again(&mut self, around: &mut Around<'_>, saved: Option<Saved>) {
        self.lives += 1;
        (self.number, self.began, self.proved, self.leaves) = (0, 0, false, false);
        self.given_up.clear();
        self.queued.clear();
        self.watching = Watching::default();
        self.shelf = self.shelf.as_ref().map(|_| new_shelf());
        if self.phase == Phase::Closing {
            self.phase = Phase::Proving;
        }
        let mut settings = around.plan.client(&mut around.world.random, self.prefer);
        if let Some(Saved { session, secret, .. }) = saved {
            (settings.resume, settings.secret) = (Some(session), secret);
        }
        (self.grace, self.lease_until) = (settings.grace, Instant::ZERO);
        self.machine = Machine::new(self.clock.read(around.world.now), settings);
        self.effects(around);
    }

    /// Whether it has no session yet which it is to take over; if it just came to have it, requests go on from there.
    fn is_taking_over(&mut self, around: &mut Around<'_>) -> bool {
        let Some(before) = self.taking_over else { return false };
        let Some(saved) = self.machine.saved() else { return true };
        (self.number, self.began) = (saved.requests, saved.requests);
        self.taking_over = None;
        around.history.taken_over.push((before, self.machine.applied_before(), self.began));
        false
    }

    fn call_what_is_due(&mut self, around: &mut Around<'_>) {
        if self.is_taking_over(around) || self.leaves {
            return;
        }
        for path in std::mem::take(&mut self.queued) {
            self.call(around, workload::Wish::AwaitLock(path));
        }
        for path in std::mem::take(&mut self.given_up) {
            self.call(around, workload::Wish::Request(Operation::Release { path }));
        }
        match self.phase {
            Phase::Calling => {
                while self.left > 0
                    && ((self.waiting.len() - self.awaiting.len()) as u64) < around.plan.depth
                    && self.next_call <= around.world.now
                {
                    self.left -= 1;
                    let random = &mut around.world.random;
                    if self.machine.session().is_some() && random.permille(CLOSES) {
                        // Another session comes after it.
                        self.leaves = true;
                        return self.call(around, workload::Wish::Request(Operation::CloseSession));
                    }
                    self.next_call = around.world.now + random.around(around.plan.think);
                    self.watching.stir(
                        random,
                        (around.plan.watches, around.plan.names),
                        self.clock.read(around.world.now),
                        &mut self.machine,
                        ((self.index, self.lives), self.number, &mut around.history.watched),
                    );
                    let (known, seen) = (&self.known, self.machine.revision());
                    let asked = workload::draw(random, around.plan, self.reads, known, seen);
                    self.call(around, asked);
                }
            }
            Phase::Proving if !std::mem::replace(&mut self.gives_up, true) => {
                // Two may wait for each other. What each waits for comes to it when the others have given it up.
                for path in (0..workload::LOCKS).map(|name| format!("/n{name}")) {
                    if self.awaiting.values().all(|awaited| *awaited != path) {
                        self.call(around, workload::Wish::Request(Operation::Release { path }));
                    }
                }
            }
            Phase::Proving if self.waiting.is_empty() && !std::mem::replace(&mut self.proved, true) => {
                self.call(around, workload::Wish::Request(Operation::Sync));
                let read = Read::Exists { path: "/".to_owned() };
                self.call(around, workload::Wish::Read(read, Consistency::Linearizable));
            }
            Phase::Proving if self.waiting.is_empty() => {
                self.watching.are_open(&around.history.watched);
                self.phase = Phase::Closing;
                self.call(around, workload::Wish::Request(Operation::CloseSession));
            }
            Phase::Proving | Phase::Closing | Phase::Done => {}
        }
    }

    fn call(&mut self, around: &mut Around<'_>, wish: workload::Wish) {
        let (now, made) = (self.clock.read(around.world.now), around.world.now);
        self.tags += 1;
        let tag = self.tags;
        let (asked, taken) = match wish {
            workload::Wish::Request(operation) => {
                self.number += 1;
                self.unanswered += 1;
                let taken = match operation {
                    Operation::CloseSession => {
                        self.machine.close(now, tag);
                        Ok(())
                    }
                    _ => self.machine.request(now, tag, operation.clone()),
                };
                (Asked::Request { number: self.number, operation }, taken)
            }
            workload::Wish::Authenticate(credentials) => {
                self.is_nobody = false;
                self.number += 1;
                self.unanswered += 1;
                let operation = acls::proved(&credentials);
                (Asked::Request { number: self.number, operation }, self.machine.authenticate(now, tag, credentials))
            }
            workload::Wish::AwaitLock(path) => {
                let session = self.machine.session().expect("who is in a queue has a session");
                let taken = self.machine.await_lock(now, tag, path.clone());
                let (read, consistency) = (Read::AwaitLock { path, session }, Consistency::Linearizable);
                (Asked::Read { read, consistency, behind: self.number }, taken)
            }
            workload::Wish::Read(read, consistency)
                if self.shelf.is_some() && consistency == Consistency::Linearizable =>
            {
                if let Some(answered) = self.kept(&read, now) {
                    let (life, asked) = (self.life(), Asked::Read { read, consistency, behind: self.number });
                    let ended = Some((made, Ok(answered)));
                    return around.history.calls.push(Call { life, made, asked, ended, kept: true });
                }
                let taken = self.machine.read_and_keep(now, tag, read.clone());
                (Asked::Read { read, consistency, behind: self.number }, taken)
            }
            workload::Wish::Read(read, consistency) => {
                let taken = self.machine.read(now, tag, read.clone(), consistency);
                (Asked::Read { read, consistency, behind: self.number }, taken)
            }
        };
        if let Asked::Read { read: Read::AwaitLock { path, .. }, .. } = &asked {
            self.awaiting.insert(tag, path.clone());
        }
        let life = self.life();
        taken.unwrap_or_else(|error| panic!("client {life:?} may call: {error}"));
        self.waiting.insert(tag, around.history.calls.len());
        around.history.calls.push(Call { life, made, asked, ended: None, kept: false });
    }

    /// The answer that it keeps to a question, if it may be used.
    fn kept(&self, read: &Read, now: Instant) -> Option<Answered> {
        let (answered, until) = self.shelf.as_ref()?.find(read)?;
        (self.unanswered == 0 && now < until).then_some(answered)
    }

    /// Of a client that is known by its address alone a front answers a burst, and from then on so many a second.
    fn asks_no_more_than_it_may(&self, around: &Around<'_>) {
        let Some(rate) = around.plan.rate.filter(|_| self.is_nobody) else { return };
        // The front's clock may be ahead of true time, and the end of a session is not counted.
        let ahead = 2 * around.plan.clock_error_ppm;
        let span = (around.world.now - self.since) / MICRO * (1_000_000 + ahead) / 1_000_000;
        let most = u64::from(rate.burst) + u64::from(rate.per_second) * span / 1_000_000 + 2;
        assert!(
            self.answered_here <= most,
            "{} was answered {} times in {span} us, at {rate:?}",
            self.story(),
            self.answered_here
        );
    }

    /// What it tells others, once.
    pub fn take_rumours(&mut self) -> Vec<String> {
        std::mem::take(&mut self.rumours)
    }

    /// Another client was answered something of that node. Whoever hears of it looks for himself, at once, if he is not
    /// busy with too much.
    pub fn hears(&mut self, around: &mut Around<'_>, path: String) {
        let waiting = (self.waiting.len() - self.awaiting.len()) as u64;
        let may = self.phase == Phase::Calling && self.taking_over.is_none() && !self.leaves;
        if may && waiting < around.plan.depth + HEARD_MAX {
            self.call(around, workload::Wish::Read(Read::Get { path }, Consistency::Linearizable));
            self.go_on(around);
        }
    }

    fn sleep(&mut self, world: &mut World) {
        let due = self.clock.moment_of(self.machine.next_deadline());
        let calling = self.phase == Phase::Calling && self.left > 0 && self.next_call > world.now;
        let due = if calling { due.min(self.next_call) } else { due };
        let due = due.max(world.now + MICRO);
        if due < self.wake || self.wake <= world.now {
            self.wake = due;
            self.calls += 1;
            if due != Moment::MAX {
                world.at(due, Event::Client { client: self.index, call: self.calls });
            }
        }
    }
}

/// Small enough to be full at times.
/// Calls that end the session, in a thousand.
const CLOSES: u64 = 5;

fn new_shelf() -> Shelf {
    Shelf::new(CacheSettings { answers_max: 12, bytes_max: 64 << 10 })
}

/// Looks at what was heard that wait for an answer, beside the calls.
const HEARD_MAX: u64 = 3;

/// The lock that a call asked for.
fn locked(asked: &Asked) -> Option<String> {
    let Asked::Request { operation, .. } = asked else { return None };
    locked_by(operation)
}

fn locked_by(operation: &Operation) -> Option<String> {
    match operation {
        Operation::Acquire { path, .. } => Some(path.clone()),
        Operation::Guarded { operation, .. } | Operation::Through { operation, .. } => locked_by(operation),
        _ => None,
    }
}

fn node_of(address: &str) -> usize {
    let number = address.strip_prefix("node").and_then(|rest| rest.split_once(':'));
    number.and_then(|(number, _)| number.parse().ok()).expect("every address is a node's")
}
