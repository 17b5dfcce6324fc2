//! One core for everything: replica and front in one thread, on one ring, sharing one tree.

use super::clients::Clients;
use super::core::{Core, Ended};
use super::effort::Effort;
use super::ends::loop_failed;
use super::failure::Failure;
use super::stop::Stop;
use crate::replica::exchange::{FrontId, FrontRequest};
use crate::runtime::{Event, ListenerId, Ring, clock};
use crate::time::Instant;

/// The loop of a server with one core.
pub(super) struct Solo {
    pub(super) core: Core,
    pub(super) clients: Clients,
    pub(super) peer_listener: ListenerId,
    pub(super) client_listener: ListenerId,
    pub(super) stop: Stop,
}

impl Solo {
    /// Runs until it is stopped, or fails.
    pub(super) fn run(mut self, ring: &mut Ring) -> Result<Ended, Failure> {
        let (mut restless, mut effort) = (true, Effort::of("the loop"));
        loop {
            let deadline = if restless { Instant::ZERO } else { self.next_deadline() };
            let mut outcome = Ok(());
            let mut now = None;
            ring.turn(Some(deadline), &mut |_, event| {
                // One reading of the clock a turn, taken when there is something to do.
                let now = *now.get_or_insert_with(clock::now);
                if let Err(failure) = self.event(now, event) {
                    outcome = Err(failure);
                }
            })
            .map_err(|error| loop_failed(&error))?;
            outcome?;
            let now = clock::now();
            effort.turned(now, ring.counters());
            if self.stop.begins(now) {
                self.core.hand_over(now);
            }
            restless = self.end_turn(now, ring)?;
            if let Some(ended) = self.core.ended(&self.stop, now) {
                return Ok(ended);
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        let now = clock::now();
        self.core.next_deadline(now).min(self.clients.next_deadline()).min(self.stop.next_deadline())
    }

    fn event(&mut self, now: Instant, event: Event<'_>) -> Result<(), Failure> {
        match event {
            Event::Accepted { listener, connection, .. } if listener == self.peer_listener => {
                self.core.accepted(now, connection)
            }
            Event::Accepted { listener, connection, peer } => {
                debug_assert_eq!(listener, self.client_listener, "there are two listeners");
                self.clients.accepted(now, connection, peer);
            }
            Event::Connected { connection } => self.core.connected(now, connection),
            Event::ConnectFailed { connection, .. } => self.core.closed(now, connection),
            Event::Received { connection, bytes } => {
                if self.core.owns(connection) {
                    self.core.received(now, connection, bytes);
                } else {
                    self.clients.received(now, connection, bytes);
                }
            }
            Event::Closed { connection, .. } => {
                if self.core.owns(connection) {
                    self.core.closed(now, connection);
                } else {
                    self.clients.closed(connection);
                }
            }
            Event::Written { token, result } => self.core.written(now, token, result)?,
            Event::Drained { connection } => self.clients.drained(connection),
            Event::Woken => {}
        }
        Ok(())
    }

    /// Ends the turn. Returns whether there is more to do at once.
    fn end_turn(&mut self, now: Instant, ring: &mut Ring) -> Result<bool, Failure> {
        for _ in 0..ROUNDS_A_TURN {
            let lease = self.core.replica.lease();
            let leased = lease.holds_at(now);
            for request in self.clients.prepare(now, leased) {
                self.core.front_asks(now, FrontId(0), request);
            }
            let clients = &mut self.clients;
            self.core.end_turn(now, ring, |replica, notices| {
                notices.for_each(|(_, notice)| clients.notice(notice, replica.tree()));
            })?;
            let replica = &self.core.replica;
            let still_leased = || lease.still_holds(replica.lease(), clock::now());
            if clients.finish(now, replica.tree(), leased, still_leased) {
                self.core.front_asks(now, FrontId(0), FrontRequest::LeaseUsed);
            }
            if !self.clients.is_restless() {
                break;
            }
        }
        self.clients.send(ring);
        Ok(self.clients.is_restless())
    }
}

/// A front may ask for more once it was answered (a read point, a session taken up); what is left after this many rounds
/// comes first in the next turn.
const ROUNDS_A_TURN: usize = 3;
