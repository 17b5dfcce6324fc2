//! Sessions that are taken up again: how many at once the log is asked about.
//!
//! Only the log knows which sessions live, and with which secrets; so whoever makes them up has it asked, without any right.
//! Where a rate is configured each attempt pays a token of its address before the log hears of it, and has it back once the
//! session is there ([`throttle`](super::throttle)). What finds no token is *held* while none of its address is known to
//! have failed that would explain it, as when all clients of a host come back at once: it goes in the place of one that
//! succeeded. What finds none because a whole bucket failed is refused, and its client asks again.
//!
//! A session lives on all the same: from other addresses, and where nothing failed, nobody is refused. Beside somebody who
//! guesses at the same address a client asks again when the next token is there, and at most 50 ms later, and of the next
//! replica, which has buckets of its own. Whatever failed before, no debt is kept: as soon as the guessing stops the next
//! token is its own, and a token comes each second at the slowest rate there is, while a session lasts two at least.

use super::connection::Opening;
use super::throttle::Resumption;
use super::{ConnectionId, Front};
use crate::time::Instant;

/// Those that wait for a token.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Their openings' tokens, in the order they came.
    openings: Vec<u64>,
    /// When they are looked at again.
    until: Instant,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.openings.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.openings.clear();
    }

    pub(super) fn next_deadline(&self) -> Instant {
        if self.is_empty() { Instant::FOREVER } else { self.until }
    }

    fn hold(&mut self, opening: u64, until: Instant) {
        self.until = self.next_deadline().min(until);
        self.openings.push(opening);
    }

    /// One of those before them came to something.
    fn wake(&mut self) {
        self.until = Instant::ZERO;
    }
}

impl Front {
    /// Asks the log for the session that a connection waits for, if it may be asked now.
    pub(super) fn put_opening(&mut self, id: ConnectionId) {
        let address = self.address_of(id);
        let Some(opening) = self.connections.get_mut(&id).and_then(|c| c.opening.as_mut()) else { return };
        // What was paid for is put to every leader.
        if let Opening::Resumed { token, paid: paid @ false, .. } = opening {
            match self.throttle.resume(address) {
                Resumption::Goes => *paid = true,
                Resumption::Waits { until } => return self.held.hold(*token, until),
                Resumption::Refused(reason) => {
                    let token = *token;
                    return self.open_later(token, id, reason);
                }
            }
        }
        let command = opening.command(address);
        self.put_command(&command);
    }

    /// Looks again at those that are held, when it is time to.
    pub(super) fn open_held(&mut self, now: Instant) {
        if now < self.held.next_deadline() {
            return;
        }
        for token in std::mem::take(&mut self.held.openings) {
            if let Some(id) = self.opening.get(&token).copied() {
                self.put_opening(id);
            }
        }
    }

    /// One that was paid for has its session, or never reached the log.
    pub(super) fn resumption_repaid(&mut self, id: ConnectionId) {
        self.throttle.resumed(self.address_of(id));
        self.held.wake();
    }

    /// One came to nothing, as if it had been made up.
    pub(super) fn resumption_failed(&mut self, id: ConnectionId) {
        self.throttle.not_resumed(self.address_of(id));
        // They are refused now, if that emptied the bucket.
        self.held.wake();
    }
}
