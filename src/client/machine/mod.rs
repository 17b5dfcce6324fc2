//! The session machine: all that a client does, with no socket, no clock and no thread.
//!
//! Whoever drives it tells it what happened ([`connected`](Machine::connected), [`received`](Machine::received),
//! [`disconnected`](Machine::disconnected), [`tick`](Machine::tick) when [`next_deadline`](Machine::next_deadline) has
//! come), asks for what it was asked to do ([`request`](Machine::request), [`read`](Machine::read),
//! [`watch`](Machine::watch), [`close`](Machine::close)), and afterwards takes out what is to be sent
//! ([`outgoing`](Machine::outgoing)) and to be done ([`poll_effect`](Machine::poll_effect)). Three drive it: the
//! library's thread, the load generator and the simulator.
//!
//! # Invariants
//!
//! 1. **Each request has one number for ever**, from 1 on without a hole. It is sent again, under that number, after
//!    every new connection and every refusal, until it is answered; the cell applies it once.
//! 2. **Order is the caller's.** Requests and reads are sent in the order they were made, again and again if need be.
//!    (Only behind a refused request may a read made before it be asked after it, while neither is answered.)
//! 3. **Nothing is shown that is older than what was shown before**: a replica that answers so is left.
//! 4. **The lease is counted from the sending** of the ping, or the opening, that was answered, by this host's clock,
//!    and given up early by the error two clocks may have. An answer to anything else extends nothing.
//! 5. **In doubt, calls wait.** From the end of the lease to the end of the grace nothing is sent and nothing fails;
//!    only the cell's word, or the end of the grace, makes the session expired.
//!    What is kept of answers has a lease of its own, under the same rule (`keeping`).
//! 6. **A session is one process's at a time.** Who takes it over goes on behind all numbers that the one before may
//!    have used (`handing`), and the one before comes to its end.
//! 7. **A watch is told every revision once, whole, in order, or that there is a gap**, whatever becomes of
//!    connections.
//!
//! # Not here
//!
//! Deadlines of single calls: a request that was sent cannot be taken back, so a caller in a hurry stops waiting
//! instead.

mod awaiting;
mod conversation;
mod ending;
mod handing;
mod keeping;
mod queue;
#[cfg(test)]
mod random;
mod route;
mod settings;
mod shelf;
mod sizes;
#[cfg(test)]
mod tests;
mod watches;

use std::collections::VecDeque;

use bytes::BytesMut;

use self::awaiting::{Awaiting, released};
pub use self::ending::ANSWERED_BACK;
use self::ending::{Ending, Trouble};
pub use self::handing::Saved;
use self::keeping::Keeping;
use self::queue::{Queue, Wish};
use self::route::Route;
pub use self::settings::{Prefer, Settings};
pub use self::shelf::{CacheSettings, Shelf, Shelve};
use self::sizes::Sizes;
use self::watches::Watches;
pub use self::watches::{Happening, WatchTold, WatchWish};
use super::credentials::Credentials;
use super::error::{Error, Outcome as Known};
use super::session::{SessionEvent, SessionState};
use crate::limits::CLIENT_FRAME_BYTES_MAX;
use crate::namespace::command::{Answer, Done, Operation, Outcome, Read, Refusal, Revision, SessionId};
use crate::paxos::ballot::{CellId, ReplicaId};
use crate::time::{Duration, Instant};
use crate::wire::client::{ClientMessage, Consistency, Hello, PROTOCOL_MAX, PROTOCOL_MIN, ServerMessage};
use crate::wire::frame::{CLIENT_MAGIC, FrameReader};

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Connect to this endpoint's [address](Machine::address); what comes of it is told by `connected` or
    /// `disconnected`.
    Connect {
        /// The endpoint.
        endpoint: usize,
    },
    /// Drop the connection, or the attempt; nothing more is to be told of it.
    Disconnect,
    /// A call came to its end.
    Done {
        /// The caller's name for it.
        tag: u64,
        /// What it came to.
        result: Result<Answered, Error>,
    },
    /// The session's state changed.
    Session(SessionEvent),
    /// Something becomes of what is kept: to be done before anything more is sent.
    Shelve(Shelve),
    /// A watch is told something.
    Watch {
        /// The caller's name for it.
        watch: u64,
        /// What.
        told: WatchTold,
    },
}

/// What the cell answered to a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answered {
    /// To a request.
    Request {
        /// Where in the total order it was applied.
        revision: Revision,
        /// What it did.
        outcome: Outcome,
    },
    /// To the saving of the session.
    Saved(Saved),
    /// To a read.
    Read {
        /// The revision the answer reflects.
        revision: Revision,
        /// The answer.
        answer: Result<Answer, Refusal>,
    },
}

/// One client's session and connection.
///
/// # Errors
///
/// Whatever it is asked for is refused once it is over, with what ended it, and with [`Error::Closed`] once it is being
/// closed or handed over. `request`, `authenticate`, `read`, `read_and_keep` and `watch` are [`Error::TooManyCalls`]
/// past [`Settings::calls_max`], and `request` is [`Error::TooLarge`] past a bound of the server; `await_lock` is
/// [`Error::TooManyLockWaits`] past [`CONNECTION_LOCK_WAITS_MAX`](crate::limits::CONNECTION_LOCK_WAITS_MAX).
/// `hand_over` has no others.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    route: Route,
    link: Link,
    session: Session,
    queue: Queue,
    awaiting: Awaiting,
    watches: Watches,
    keeping: Keeping,
    closing: bool,
    /// The call that hands the session over once everything else is answered.
    handing: Option<u64>,
    /// Requests of earlier processes that had the session: those up to here were applied.
    applied_before: u64,
    reader: FrameReader,
    outgoing: BytesMut,
    effects: VecDeque<Effect>,
    cell: Option<CellId>,
    leader: Option<ReplicaId>,
    sizes: Sizes,
    in_flight_max: u64,
    /// The newest revision shown to the caller.
    seen: Revision,
    /// The revision of the last request answered.
    seen_request: Revision,
    /// When the connection last said something, or was first asked something after it had answered all.
    heard_at: Instant,
    /// When a call was last answered, or was first made after all were.
    progress_at: Instant,
    /// The ping under way: its number, and when it was sent.
    ping: Option<(u64, Instant)>,
    pings: u64,
    ping_at: Instant,
    /// Nothing is sent before.
    hold_until: Instant,
    /// Refusals on this connection since its last answer.
    refusals: u32,
    /// Connections in a row that stood and were given up for their silence.
    fruitless: u32,
    /// Messages taken in, on all connections.
    heard: u64,
}

#[derive(Clone, Copy, Debug)]
enum Link {
    Down { retry_at: Instant },
    Connecting { deadline: Instant },
    Greeting { hello_at: Instant },
    Opening { asked_at: Instant },
    Up,
    Over,
}

#[derive(Debug)]
enum Session {
    /// `asked_at`: when it was asked for first. The answer to a later asking may be about the session that the first
    /// one made, so its lease counts from there.
    Wanted {
        give_up_at: Instant,
        asked_at: Option<Instant>,
    },
    Live {
        id: SessionId,
        lease: Duration,
        lease_until: Instant,
        jeopardy: bool,
    },
    Over(Ending),
}

impl Machine {
    /// A machine that wants a session, from `now` on.
    #[must_use]
    pub fn new(now: Instant, settings: Settings) -> Self {
        let endpoints = settings.endpoints.clone();
        let mut machine = Self {
            route: Route::new(endpoints, settings.backoff_min, settings.backoff_max, settings.seed),
            link: Link::Down { retry_at: now },
            session: Session::Wanted { give_up_at: now + settings.open_timeout, asked_at: None },
            queue: Queue::new(),
            awaiting: Awaiting::default(),
            watches: Watches::default(),
            keeping: Keeping::default(),
            closing: false,
            handing: None,
            applied_before: 0,
            reader: FrameReader::new(CLIENT_MAGIC),
            outgoing: BytesMut::new(),
            effects: VecDeque::new(),
            cell: settings.cell,
            leader: None,
            sizes: Sizes::default(),
            in_flight_max: 1,
            seen: 0,
            seen_request: 0,
            heard_at: now,
            progress_at: now,
            ping: None,
            pings: 0,
            ping_at: now,
            hold_until: Instant::ZERO,
            refusals: 0,
            fruitless: 0,
            heard: 0,
            settings,
        };
        machine.dial(now);
        machine
    }

    /// Queues a mutation. `tag` comes back with what it came to. A release is taken beyond the bound of calls: refused,
    /// it would leave the lock shut for as long as the session lives.
    pub fn request(&mut self, now: Instant, tag: u64, operation: Operation) -> Result<(), Error> {
        if released(&operation).is_some() {
            self.admit_unbounded()?
        } else {
            self.admit()?
        }
        self.sizes.check(&operation)?;
        self.queue.push_request(tag, Wish::Operation(operation));
        self.send(now);
        Ok(())
    }

    /// Queues the proof of being a user, as a mutation of the session. `tag` comes back with what it came to.
    pub fn authenticate(&mut self, now: Instant, tag: u64, credentials: Credentials) -> Result<(), Error> {
        self.admit()?;
        self.queue.push_request(tag, Wish::Stand(credentials));
        self.send(now);
        Ok(())
    }

    /// Queues a question, behind all calls made before. `tag` comes back with the answer.
    pub fn read(&mut self, now: Instant, tag: u64, read: Read, consistency: Consistency) -> Result<(), Error> {
        self.admit()?;
        self.queue.push_read(tag, read, consistency);
        self.send(now);
        Ok(())
    }

    /// Ends the session once all calls made before are answered; later ones fail. `tag` comes back when it is over.
    pub fn close(&mut self, now: Instant, tag: u64) {
        let over = matches!(self.session, Session::Over(_));
        if over || (matches!(self.session, Session::Wanted { .. }) && self.queue.len() == 0) {
            if !over {
                self.end(Ending::Closed);
            }
            self.effects.push_back(Effect::Done { tag, result: Ok(self.closed()) });
            return;
        }
        if self.closing {
            let result = Err(Error::Closed { outcome: Known::NotApplied });
            self.effects.push_back(Effect::Done { tag, result });
            return;
        }
        self.closing = true;
        // The cell takes the end of the session for the end of what is kept.
        self.keep_nothing();
        self.queue.push_request(tag, Wish::Operation(Operation::CloseSession));
        self.send(now);
    }

    /// The connection that [`Effect::Connect`] asked for stands.
    pub fn connected(&mut self, now: Instant) {
        assert!(matches!(self.link, Link::Connecting { .. }), "only an attempt under way succeeds");
        let hello = Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            cell: self.cell,
            name: &self.settings.name,
            seen: self.seen,
            resume: self.resume(),
        };
        ClientMessage::Hello(hello).encode(&mut self.outgoing);
        self.link = Link::Greeting { hello_at: now };
        self.heard_at = now;
    }

    /// What the last attempt at each endpoint met, if it was not what it should be; for people. [`ANSWERED_BACK`] is in it
    /// if an answer went back behind an earlier one.
    #[must_use]
    pub fn troubles(&self) -> String {
        self.route.troubles()
    }

    /// The connection said this.
    pub fn received(&mut self, now: Instant, bytes: &[u8]) {
        assert!(!matches!(self.link, Link::Down { .. } | Link::Connecting { .. }), "only a connection says something");
        if matches!(self.link, Link::Over) {
            return;
        }
        self.heard_at = now;
        let mut reader = std::mem::replace(&mut self.reader, FrameReader::new(CLIENT_MAGIC));
        let result = reader.feed(bytes, CLIENT_FRAME_BYTES_MAX, |frame| {
            self.heard += 1;
            let message = ServerMessage::decode(frame)?;
            self.message(now, frame.kind, message)
        });
        match result {
            Ok(()) => {
                self.reader = reader;
                self.send(now);
                self.hand_over_when_idle();
            }
            Err(Trouble::Leave(why)) => self.give_up(now, why),
            Err(Trouble::Pause(pause)) => self.leave(now, pause),
            Err(Trouble::Move) => self.leave(now, Duration::ZERO),
            Err(Trouble::End(ending)) => self.end(ending),
        }
    }

    /// The connection, or the attempt, came to its end by itself.
    pub fn disconnected(&mut self, now: Instant, why: &str) {
        if matches!(self.link, Link::Over) {
            return;
        }
        assert!(!matches!(self.link, Link::Down { .. }), "only what was begun ends");
        self.link = Link::Down { retry_at: now };
        self.give_up(now, why.to_owned());
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        self.tick_session(now);
        match self.link {
            Link::Down { retry_at } if now >= retry_at => self.dial(now),
            Link::Connecting { deadline } if now >= deadline => {
                self.give_up(now, format!("no connection within {:?}", self.settings.connect_timeout));
            }
            Link::Greeting { .. } | Link::Opening { .. } | Link::Up if now >= self.silence_ends() => {
                let why = format!("no answer within {:?}", self.patience());
                self.fruitless += u32::from(matches!(self.link, Link::Up));
                self.give_up(now, why);
            }
            Link::Up => {
                if now >= self.ping_at && self.ping.is_none() {
                    self.send_ping(now);
                }
                if self.hold_until != Instant::ZERO && now >= self.hold_until {
                    self.hold_until = Instant::ZERO;
                    self.send(now);
                }
            }
            Link::Down { .. } | Link::Connecting { .. } | Link::Greeting { .. } | Link::Opening { .. } | Link::Over => {
            }
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        let session = match &self.session {
            Session::Wanted { give_up_at, .. } => *give_up_at,
            Session::Live { lease_until, jeopardy: false, .. } => *lease_until,
            Session::Live { jeopardy: true, .. } => self.grace_until(),
            Session::Over(_) => Instant::FOREVER,
        };
        let link = match self.link {
            Link::Down { retry_at } => retry_at,
            Link::Connecting { deadline } => deadline,
            Link::Greeting { .. } | Link::Opening { .. } => self.silence_ends(),
            Link::Up => {
                let ping = if self.ping.is_none() { self.ping_at } else { Instant::FOREVER };
                let hold = if self.hold_until == Instant::ZERO { Instant::FOREVER } else { self.hold_until };
                self.silence_ends().min(ping).min(hold)
            }
            Link::Over => Instant::FOREVER,
        };
        session.min(link)
    }

    /// Bytes to be sent on the connection; the driver takes away what it sent.
    pub fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// The next thing to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Where an endpoint is.
    #[must_use]
    pub fn address(&self, endpoint: usize) -> &str {
        self.route.address(endpoint)
    }

    /// What is known of the session.
    #[must_use]
    pub fn state(&self) -> SessionState {
        match &self.session {
            Session::Wanted { .. } => SessionState::Connecting,
            Session::Live { jeopardy: false, .. } => SessionState::Safe,
            Session::Live { jeopardy: true, .. } => SessionState::Jeopardy,
            Session::Over(Ending::Expired(_) | Ending::GraceOver(_)) => SessionState::Expired,
            Session::Over(_) => SessionState::Closed,
        }
    }

    /// The session, while there is one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match &self.session {
            Session::Live { id, .. } => Some(*id),
            Session::Wanted { .. } | Session::Over(_) => None,
        }
    }

    /// The newest revision shown to the caller.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.seen
    }

    /// Messages taken in so far, on all connections.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// Calls without an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.awaiting.len()
    }

    /// Whether the connection stands, and what it says is heard.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Greeting { .. } | Link::Opening { .. } | Link::Up)
    }

    /// Why every call fails, once the machine came to its end.
    #[must_use]
    pub fn ending(&self) -> Option<Error> {
        match &self.session {
            Session::Over(ending) => Some(ending.error(false)),
            Session::Wanted { .. } | Session::Live { .. } => None,
        }
    }

    /// Whether the machine came to its end: it will do nothing more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.link, Link::Over)
    }

    fn admit(&self) -> Result<(), Error> {
        self.admit_unbounded()?;
        let limit = self.settings.calls_max;
        if self.queue.len() >= limit { Err(Error::TooManyCalls { limit }) } else { Ok(()) }
    }

    /// As [`admit`](Self::admit), for calls that what was taken before brings about.
    fn admit_unbounded(&self) -> Result<(), Error> {
        match &self.session {
            Session::Over(ending) => Err(ending.error(false)),
            Session::Wanted { .. } | Session::Live { .. } if self.closing => {
                Err(Error::Closed { outcome: Known::NotApplied })
            }
            Session::Wanted { .. } | Session::Live { .. } => Ok(()),
        }
    }

    fn tick_session(&mut self, now: Instant) {
        let expires_at = self.grace_until();
        match &mut self.session {
            Session::Wanted { give_up_at, .. } if now >= *give_up_at => {
                let (after, why) = (self.settings.open_timeout, self.route.troubles());
                self.end(Ending::Unreachable { after, why });
            }
            Session::Live { id, lease_until, jeopardy, .. } => {
                if now >= expires_at {
                    let ending = Ending::GraceOver(*id);
                    self.end(ending);
                } else if now >= *lease_until && !*jeopardy {
                    *jeopardy = true;
                    let grace = (expires_at - now).into();
                    self.effects.push_back(Effect::Session(SessionEvent::Jeopardy { grace }));
                }
            }
            Session::Wanted { .. } | Session::Over(_) => {}
        }
    }

    /// Sends what may be sent.
    fn send(&mut self, now: Instant) {
        let safe = matches!(self.session, Session::Live { lease_until, jeopardy: false, .. } if now < lease_until);
        if !safe || !matches!(self.link, Link::Up) || now < self.hold_until {
            return;
        }
        let (owed, waited) = (self.is_owed(), self.queue.is_waiting());
        // First: a watch sees what was asked for after it.
        self.watches.send(&mut self.outgoing);
        self.queue.send(self.in_flight_max, &mut self.outgoing);
        if !owed {
            self.heard_at = now;
        }
        if !waited {
            self.progress_at = now;
        }
    }

    fn send_ping(&mut self, now: Instant) {
        if !self.is_owed() {
            self.heard_at = now;
        }
        self.pings += 1;
        self.ping = Some((self.pings, now));
        self.ping_of(self.pings).encode(&mut self.outgoing);
    }

    /// Whether the connection owes an answer.
    fn is_owed(&self) -> bool {
        self.ping.is_some() || self.queue.is_waiting() || !matches!(self.link, Link::Up)
    }

    /// When the session's lease ends, by this host's clock; the past if there is none.
    #[must_use]
    pub fn lease_until(&self) -> Instant {
        match &self.session {
            Session::Live { lease_until, .. } => *lease_until,
            Session::Wanted { .. } | Session::Over(_) => Instant::ZERO,
        }
    }

    /// When the session is taken for over if the cell is not heard before, by this host's clock; the past if there is none.
    #[must_use]
    pub fn grace_until(&self) -> Instant {
        match &self.session {
            Session::Live { lease_until, .. } => *lease_until + self.settings.grace,
            Session::Wanted { .. } | Session::Over(_) => Instant::ZERO,
        }
    }

    /// When the connection is given up if nothing comes.
    fn silence_ends(&self) -> Instant {
        let heard = if self.is_owed() { self.heard_at + self.patience() } else { Instant::FOREVER };
        // Other things are said all the time, but no call is answered: not the connection is dead, something on it is.
        let stuck = match self.queue.is_waiting() {
            true => self.progress_at + self.settings.patience.scaled(STUCK_PATIENCES, 1),
            false => Instant::FOREVER,
        };
        // Nothing else makes the session live on here, however much is said; but its answer may stand behind much.
        let pong_takes =
            self.settings.patience.scaled(PING_PATIENCES, 1).max(self.lease().scaled(1, conversation::PINGS_PER_LEASE));
        let unproved = self.ping.map_or(Instant::FOREVER, |(_, sent_at)| sent_at + pong_takes);
        heard.min(stuck).min(unproved)
    }

    /// What a session's lease comes to from when it was confirmed; nothing without one.
    fn lease(&self) -> Duration {
        match self.session {
            Session::Live { lease, .. } => lease,
            Session::Wanted { .. } | Session::Over(_) => Duration::ZERO,
        }
    }

    /// How long nothing may come: longer where connections came to nothing, and where they stood and still no call was
    /// answered on them. An answer may take its time, and whoever never waits for it never has it; but the session must live.
    fn patience(&self) -> Duration {
        let doubled = |times: u32| self.settings.patience.scaled(1 << times.min(PATIENCE_DOUBLINGS_MAX), 1);
        let fruitless = doubled(self.fruitless).min(self.lease().scaled(1, 2));
        doubled(self.route.attempts().saturating_sub(1)).max(fruitless)
    }

    fn dial(&mut self, now: Instant) {
        let endpoint = self.route.advance();
        self.link = Link::Connecting { deadline: now + self.settings.connect_timeout };
        self.effects.push_back(Effect::Connect { endpoint });
    }

    /// The endpoint in use is of no use now: on to another.
    fn give_up(&mut self, now: Instant, why: String) {
        self.route.failed(now, why);
        self.leave(now, Duration::ZERO);
    }

    /// Drops the connection, for another one after `pause` at the earliest.
    fn leave(&mut self, now: Instant, pause: Duration) {
        if !matches!(self.link, Link::Down { .. }) {
            self.effects.push_back(Effect::Disconnect);
        }
        self.outgoing.clear();
        self.reader.reset();
        self.queue.rewind();
        self.watches.rewind();
        self.ping = None;
        self.hold_until = Instant::ZERO;
        self.refusals = 0;
        let delay = self.route.delay().max(pause);
        self.link = Link::Down { retry_at: now + delay };
        if delay == Duration::ZERO {
            self.dial(now);
        }
    }

    fn end(&mut self, ending: Ending) {
        if !matches!(self.link, Link::Down { .. } | Link::Over) {
            self.effects.push_back(Effect::Disconnect);
        }
        self.link = Link::Over;
        self.outgoing.clear();
        let expired = matches!(ending, Ending::Expired(_) | Ending::GraceOver(_));
        let mut event = if expired { SessionEvent::Expired } else { SessionEvent::Closed };
        let mut ending = ending;
        for call in std::mem::take(&mut self.queue).into_calls() {
            // A session that was to be closed, and of which the cell knows nothing, was closed.
            let known = matches!(ending, Ending::Expired(_)) || cfg!(bug = "46") && expired;
            let closed = call.closes && call.sent && known;
            let result = if closed { Ok(self.closed()) } else { Err(ending.error(call.sent)) };
            if closed {
                event = SessionEvent::Closed;
                ending = Ending::Closed;
            }
            self.effects.push_back(Effect::Done { tag: call.tag, result });
        }
        let handing = self.handing.take();
        for tag in self.give_up_locks().chain(handing) {
            self.effects.push_back(Effect::Done { tag, result: Err(ending.error(false)) });
        }
        for watch in std::mem::take(&mut self.watches).into_names() {
            self.effects.push_back(watches::told(watch, WatchTold::Over(ending.error(false))));
        }
        self.keep_nothing();
        self.session = Session::Over(ending);
        self.effects.push_back(Effect::Session(event));
    }

    fn closed(&self) -> Answered {
        Answered::Request { revision: self.seen, outcome: Ok(Done::SessionClosed) }
    }
}

/// Silence is suffered at most this many doublings longer than at first.
const PATIENCE_DOUBLINGS_MAX: u32 = 4;

/// A connection that speaks but answers no call is given up after this many times the patience.
const STUCK_PATIENCES: u64 = 20;

/// A connection that speaks but answers no ping is given up after this many times the patience.
const PING_PATIENCES: u64 = 4;
