//! What each of the server's messages makes the machine do.

use super::awaiting::released;
use super::ending::{Ending, Trouble, fault, goes_forward, unreadable};
use super::queue::{AnsweredRead, Fit, Wish};
use super::sizes::Sizes;
use super::{Answered, Effect, Link, Machine, Prefer, Session};
use crate::client::session::SessionEvent;
use crate::namespace::codec;
use crate::namespace::command::{Operation, Refusal, Revision, SessionId};
use crate::paxos::ballot::ReplicaId;
use crate::time::{Duration, Instant};
use crate::wire::client::{ClientMessage, FaultCode, PROTOCOL_MAX, PROTOCOL_MIN, Reason, ServerMessage, Welcome};

impl Machine {
    /// Takes in one message, which came as a frame of this kind.
    pub(super) fn message(&mut self, now: Instant, kind: u8, message: ServerMessage<'_>) -> Result<(), Trouble> {
        match (message, self.link) {
            (ServerMessage::Fault { code: FaultCode::Taken, .. }, _) => Err(self.taken()),
            (ServerMessage::Fault { code: FaultCode::Version, text }, _) => Err(self.not_understood(text.to_owned())),
            (ServerMessage::Fault { code, text }, _) => Err(fault(code, text)),
            (ServerMessage::Leader { leader }, Link::Opening { .. } | Link::Up) => self.leads(now, leader),
            (ServerMessage::SessionOver { session }, _) => match self.session {
                Session::Live { id, .. } if id == session => Err(Trouble::End(Ending::Expired(id))),
                Session::Wanted { .. } if self.settings.resume == Some(session) => {
                    Err(Trouble::End(Ending::Expired(session)))
                }
                Session::Live { .. } | Session::Wanted { .. } | Session::Over(_) => Ok(()),
            },
            (ServerMessage::Welcome(welcome), Link::Greeting { hello_at }) => self.welcome(now, hello_at, &welcome),
            (ServerMessage::SessionOpened { session, timeout_ms }, Link::Opening { asked_at }) => {
                self.opened(now, asked_at, session, timeout_ms)
            }
            (
                ServerMessage::SessionResumed { session, timeout_ms, applied_upto, applied_before },
                Link::Opening { asked_at },
            ) => {
                self.take_over(session, timeout_ms, (applied_upto, applied_before), asked_at)?;
                self.resumed(now, asked_at, (session, timeout_ms, applied_upto))
            }
            (ServerMessage::Refused { number: 0, reason }, Link::Opening { .. }) => match reason {
                Reason::Overloaded { retry_after_ms } => {
                    self.route.troubled("the cell is overloaded, or has no room for another session".to_owned());
                    Err(Trouble::Pause(Duration::from_millis(retry_after_ms.into())))
                }
                Reason::Throttled { retry_after_ms } => {
                    self.route.troubled("the cell was asked too much from this host".to_owned());
                    Err(Trouble::Pause(Duration::from_millis(retry_after_ms.into())))
                }
                Reason::NotReady | Reason::Resend => Err(Trouble::Leave("the cell has no leader".to_owned())),
            },
            (ServerMessage::Reply { number, revision, outcome }, Link::Up) => {
                self.reply(now, number, revision, outcome)
            }
            (ServerMessage::ReadReply { number, revision, answer }, Link::Up) => {
                self.read_reply(now, number, revision, answer)
            }
            (ServerMessage::LockTurn { path }, Link::Up) => {
                self.lock_turned(path);
                Ok(())
            }
            (ServerMessage::Pong { number }, Link::Up) => {
                if let Some((_, sent_at)) = self.ping.take_if(|(pinged, _)| *pinged == number) {
                    self.extend(now, sent_at);
                    if !self.queue.is_waiting() {
                        self.fruitless = 0;
                    }
                    self.not_renewed(now);
                }
                Ok(())
            }
            (ServerMessage::Refused { number, reason }, Link::Up) => {
                if self.queue.refused(number) {
                    self.refused(now, reason)
                } else {
                    Ok(())
                }
            }
            (ServerMessage::ReadRefused { number, reason }, Link::Up) => {
                if self.queue.read_refused(number) {
                    self.refused(now, reason)
                } else {
                    Ok(())
                }
            }
            (ServerMessage::Cache(told), Link::Up) => self.cache_told(now, told),
            (message, Link::Up) => self.told_of_watch(kind, message),
            (_, link) => Err(Trouble::Leave(format!("a message of kind {kind} makes no sense while {link:?}"))),
        }
    }

    fn told_of_watch(&mut self, kind: u8, message: ServerMessage<'_>) -> Result<(), Trouble> {
        match message {
            ServerMessage::WatchOpened { watch, revision } => self.watch_opened(watch, revision),
            ServerMessage::WatchRefused { watch, refusal } => {
                let outcome = codec::decode_outcome(refusal).map_err(|error| unreadable(&error))?;
                let Err(refusal) = outcome else {
                    return Err(Trouble::Leave("a watch was refused, and nothing said why".to_owned()));
                };
                self.watch_refused(watch, refusal);
            }
            ServerMessage::Events { watch, revision, more, events } => self.events(watch, (revision, more), &events),
            ServerMessage::Gap { watch, from, to } => self.gap(watch, from, to),
            ServerMessage::Progress { revision } => self.progress(revision),
            _ => return Err(Trouble::Leave(format!("a message of kind {kind} makes no sense now"))),
        }
        Ok(())
    }

    fn welcome(&mut self, now: Instant, hello_at: Instant, welcome: &Welcome) -> Result<(), Trouble> {
        if self.cell.is_some_and(|cell| cell != welcome.cell) {
            return Err(Trouble::End(Ending::WrongCell(format!("it is {}", welcome.cell))));
        }
        if !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&welcome.protocol) {
            let text = format!("the server chose protocol {}, which was not offered", welcome.protocol);
            return Err(self.not_understood(text));
        }
        self.cell = Some(welcome.cell);
        let (request_bytes_max, data_bytes_max) = (welcome.request_bytes_max.into(), welcome.data_bytes_max.into());
        self.sizes = Sizes { request_bytes_max, data_bytes_max };
        self.in_flight_max = u64::from(welcome.requests_in_flight_max).max(1);
        self.route.learn(welcome.replica, &welcome.members);
        self.leads(now, welcome.leader)?;
        let asked_at = match &mut self.session {
            Session::Wanted { .. } if self.settings.resume.is_some() => hello_at,
            Session::Wanted { asked_at, .. } => {
                let timeout_ms = u32::try_from(self.settings.session_timeout.as_millis()).unwrap_or(u32::MAX);
                let (token, secret) = (self.settings.token, self.settings.secret);
                ClientMessage::OpenSession { token, secret, timeout_ms }.encode(&mut self.outgoing);
                *asked_at.get_or_insert(now)
            }
            Session::Live { .. } => hello_at,
            Session::Over(_) => unreachable!("a machine that is over hears nothing"),
        };
        self.link = Link::Opening { asked_at };
        Ok(())
    }

    /// The server speaks no protocol that this side does.
    fn not_understood(&mut self, text: String) -> Trouble {
        let text = format!("{text}, this client {PROTOCOL_MIN} to {PROTOCOL_MAX}");
        if self.route.is_foreign() { Trouble::End(Ending::Version(text)) } else { Trouble::Leave(text) }
    }

    fn opened(&mut self, now: Instant, asked_at: Instant, id: SessionId, timeout_ms: u32) -> Result<(), Trouble> {
        if !matches!(self.session, Session::Wanted { .. }) || self.settings.resume.is_some() {
            return Err(Trouble::Leave("a second session was opened unasked".to_owned()));
        }
        let lease = lease(timeout_ms);
        // Jeopardy, until the lease is found to run. It counts from the first time of asking, which may be long ago: the grace
        // does not begin before there is a session.
        self.session = Session::Live { id, lease, lease_until: (asked_at + lease).max(now), jeopardy: true };
        self.link = Link::Up;
        self.extend(now, asked_at);
        self.renew_soon(now);
        Ok(())
    }

    fn resumed(
        &mut self,
        now: Instant,
        asked_at: Instant,
        (session, timeout_ms, applied_upto): (SessionId, u32, u64),
    ) -> Result<(), Trouble> {
        match &mut self.session {
            Session::Live { id, lease: held, .. } if *id == session => *held = lease(timeout_ms),
            Session::Live { .. } | Session::Wanted { .. } | Session::Over(_) => {
                return Err(Trouble::Leave("another session was resumed".to_owned()));
            }
        }
        if applied_upto < self.queue.acked_upto() {
            let answered = self.queue.acked_upto();
            let text = format!("request {answered} was answered, but the replica knows only {applied_upto}");
            return Err(Trouble::Leave(text));
        }
        if applied_upto > self.queue.sent_upto() {
            // Nobody asked for that here: another process had the session meanwhile.
            return Err(self.taken());
        }
        self.link = Link::Up;
        self.extend(now, asked_at);
        // From another address other nodes may be seen.
        self.clear_shelf();
        self.renew_soon(now);
        self.locks_unknown();
        Ok(())
    }

    fn leads(&mut self, now: Instant, leader: Option<ReplicaId>) -> Result<(), Trouble> {
        let Some(leader) = leader else { return Ok(()) };
        if self.leader != Some(leader) {
            if self.leader.is_some() {
                self.effects.push_back(Effect::Session(SessionEvent::Failover { leader }));
            }
            self.leader = Some(leader);
        }
        let moves = match self.settings.prefer {
            Prefer::Leader => self.route.aim_at(now, leader),
            Prefer::Any => false,
            Prefer::Follower => self.route.aim_away_from(now, leader),
        };
        if moves { Err(Trouble::Move) } else { Ok(()) }
    }

    fn reply(&mut self, now: Instant, number: u64, revision: Revision, outcome: &[u8]) -> Result<(), Trouble> {
        match self.queue.fit(number) {
            Fit::Again | Fit::Early => return Ok(()),
            Fit::Unasked => return Err(Trouble::Leave(format!("request {number} was answered, but never sent"))),
            Fit::Next => {}
        }
        goes_forward(format_args!("request {number}"), revision, self.seen_request)?;
        let outcome = codec::decode_outcome(outcome).map_err(|error| unreadable(&error))?;
        if outcome == Err(Refusal::NoSession) {
            let Session::Live { id, .. } = self.session else { unreachable!("only a session is answered") };
            return Err(Trouble::End(Ending::Expired(id)));
        }
        let (tag, wish) = self.queue.answered();
        match &wish {
            Wish::Operation(operation) => {
                if let Some(path) = released(operation) {
                    self.lock_released(path, outcome.is_ok());
                }
            }
            // Other nodes are to be seen from here on than what is kept was seen by.
            Wish::Stand(_) => self.keep_nothing(),
        }
        self.seen_request = revision;
        self.watches_after(number, revision);
        self.progressed(now, revision);
        let closed = wish == Wish::Operation(Operation::CloseSession) && outcome.is_ok();
        self.effects.push_back(Effect::Done { tag, result: Ok(Answered::Request { revision, outcome }) });
        if closed { Err(Trouble::End(Ending::Closed)) } else { Ok(()) }
    }

    fn read_reply(&mut self, now: Instant, number: u64, revision: Revision, answer: &[u8]) -> Result<(), Trouble> {
        goes_forward(format_args!("a read"), revision, self.seen)?;
        let answer = codec::decode_read_outcome(answer).map_err(|error| unreadable(&error))?;
        let Some(AnsweredRead { tag, .. }) = self.queue.read_answered(number) else { return Ok(()) };
        self.progressed(now, revision);
        if self.still_waits(tag, &answer) {
            return Ok(());
        }
        self.effects.push_back(Effect::Done { tag, result: Ok(Answered::Read { revision, answer }) });
        Ok(())
    }

    pub(super) fn progressed(&mut self, now: Instant, revision: Revision) {
        self.seen = self.seen.max(revision);
        self.progress_at = now;
        (self.refusals, self.fruitless) = (0, 0);
        self.route.succeeded();
    }

    /// The cell confirmed the session by answering what was sent at `sent_at`.
    pub(super) fn extend(&mut self, now: Instant, sent_at: Instant) {
        let Session::Live { lease, lease_until, jeopardy, .. } = &mut self.session else {
            unreachable!("only a session is confirmed")
        };
        *lease_until = (*lease_until).max(sent_at + *lease);
        self.ping_at = sent_at + lease.scaled(1, PINGS_PER_LEASE);
        if *jeopardy && *lease_until > now {
            *jeopardy = false;
            self.effects.push_back(Effect::Session(SessionEvent::Safe));
        }
        self.route.succeeded();
    }

    fn refused(&mut self, now: Instant, reason: Reason) -> Result<(), Trouble> {
        self.refusals += 1;
        let (backoff_min, backoff_max) = (self.settings.backoff_min, self.settings.backoff_max);
        let wait = match reason {
            Reason::NotReady if self.refusals >= REFUSALS_MAX => {
                return Err(Trouble::Leave("the replica reaches no leader".to_owned()));
            }
            Reason::Resend if self.refusals == 1 => return Ok(()),
            Reason::NotReady | Reason::Resend => self.route.jittered(backoff_min, backoff_max, self.refusals),
            Reason::Overloaded { retry_after_ms } | Reason::Throttled { retry_after_ms } => {
                let least = Duration::from_millis(retry_after_ms.into());
                least + self.route.jittered(least.max(backoff_min), least.max(backoff_max), 0)
            }
        };
        self.hold_until = self.hold_until.max(now + wait);
        Ok(())
    }
}

/// The part of a session's timeout that is certain here, whatever two clocks within 1000 parts per million make of it.
pub(super) fn lease(timeout_ms: u32) -> Duration {
    Duration::from_millis(timeout_ms.into()).scaled(998, 1000)
}

/// A lease is renewed this often: two pings may be lost.
pub(super) const PINGS_PER_LEASE: u64 = 3;

/// "Not ready" said this often in a row by one replica: another may know better.
const REFUSALS_MAX: u32 = 4;
