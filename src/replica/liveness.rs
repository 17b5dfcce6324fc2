//! Who is still there: the leader's memory of when each session was last heard from.
//!
//! Times are counted on a clock of the reign, which advances only while the leader can prove that it leads, and never by
//! more than [`STRIDE_MAX`] a look: a leader that was paused, or cut off, has not listened, so it has nothing to hold
//! against anybody. A session whose time is over is not ended here; the log decides (`Command::ExpireSession`).

use std::collections::BTreeSet;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::namespace::command::SessionId;
use crate::time::{Duration, Instant};

/// The longest step the reign's clock takes at once.
const STRIDE_MAX: Duration = Duration::from_millis(200);

/// Liveness of every session, at the leader.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    clock: Instant,
    looked: Instant,
    sessions: HashMap<SessionId, Heard>,
    due: BTreeSet<(Instant, SessionId)>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    timeout: Duration,
    /// Its one place in `due`.
    due: Instant,
    /// The log is being asked to end it: it cannot be renewed until it has answered.
    ending: bool,
}

impl Liveness {
    /// A reign begins: every session has its whole time.
    pub(super) fn begin(now: Instant, sessions: impl Iterator<Item = (SessionId, Duration)>) -> Self {
        let mut this = Self { looked: now, ..Self::default() };
        sessions.for_each(|(session, timeout)| this.opened(now, session, timeout));
        this
    }

    /// A session came into being, or was taken up again.
    pub(super) fn opened(&mut self, now: Instant, session: SessionId, timeout: Duration) {
        let at = self.reading(now);
        let due = at + timeout;
        if let Some(before) = self.sessions.insert(session, Heard { at, timeout, due, ending: false }) {
            self.due.remove(&(before.due, session));
        }
        self.due.insert((due, session));
    }

    /// A session is over.
    pub(super) fn closed(&mut self, session: SessionId) {
        if let Some(before) = self.sessions.remove(&session) {
            self.due.remove(&(before.due, session));
        }
    }

    /// A session was heard from. False if it cannot be renewed: unknown, or its end is being decided.
    pub(super) fn heard(&mut self, now: Instant, session: SessionId) -> bool {
        let at = self.reading(now);
        match self.sessions.get_mut(&session) {
            Some(heard) if !heard.ending => {
                heard.at = at;
                true
            }
            _ => false,
        }
    }

    /// The log let a session live that was to be ended.
    pub(super) fn spared(&mut self, now: Instant, session: SessionId) {
        let at = self.reading(now);
        if let Entry::Occupied(mut entry) = self.sessions.entry(session) {
            let heard = entry.get_mut();
            heard.ending = false;
            self.due.remove(&(heard.due, session));
            (heard.at, heard.due) = (at, at + heard.timeout);
            self.due.insert((heard.due, session));
        }
    }

    /// Moves the clock on; `leads` says whether the leadership is proved at this moment. Sessions whose time is over are
    /// handed out, once.
    pub(super) fn advance(&mut self, now: Instant, leads: bool, expired: &mut Vec<SessionId>) {
        let stride = now.since(self.looked).min(if cfg!(bug = "17") { Duration::from_secs(3600) } else { STRIDE_MAX });
        self.looked = now;
        if !leads && !cfg!(bug = "17") {
            return;
        }
        self.clock += stride;
        while let Some((at, session)) = self.due.first().copied().filter(|(at, _)| *at <= self.clock) {
            self.due.remove(&(at, session));
            let Some(heard) = self.sessions.get_mut(&session) else { continue };
            let over = heard.at + heard.timeout;
            if heard.ending {
                continue;
            }
            if over > self.clock {
                heard.due = over;
                self.due.insert((over, session));
            } else {
                heard.ending = true;
                expired.push(session);
            }
        }
    }

    /// What the clock shows when it is looked at next, if that is now: a session that speaks between two looks has its whole
    /// time from then on, not from the look before.
    fn reading(&self, now: Instant) -> Instant {
        self.clock + now.since(self.looked).min(STRIDE_MAX)
    }

    /// When to look again.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        match self.due.first() {
            Some((at, _)) => now + at.since(self.clock).min(STRIDE_MAX).max(Duration::from_millis(1)),
            None => Instant::FOREVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SessionId = SessionId(7);

    fn ms(n: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(n)
    }

    fn liveness() -> Liveness {
        Liveness::begin(ms(0), [(S, Duration::from_millis(1000))].into_iter())
    }

    fn expired_at(liveness: &mut Liveness, now: Instant, leads: bool) -> Vec<SessionId> {
        let mut expired = Vec::new();
        liveness.advance(now, leads, &mut expired);
        expired
    }

    #[test]
    fn a_silent_session_is_handed_out_once() {
        let mut l = liveness();
        for at in (100..1000).step_by(100) {
            assert!(expired_at(&mut l, ms(at), true).is_empty(), "not before its time");
        }
        assert_eq!(expired_at(&mut l, ms(1000), true), [S]);
        assert!(!l.heard(ms(1000), S), "its end is being decided");
        assert!(expired_at(&mut l, ms(1100), true).is_empty(), "once");
    }

    #[test]
    fn a_session_that_speaks_lives() {
        let mut l = liveness();
        for at in (100..5000).step_by(100) {
            assert!(l.heard(ms(at), S));
            assert!(expired_at(&mut l, ms(at), true).is_empty());
        }
    }

    #[test]
    fn a_session_heard_between_two_looks_has_its_whole_time_from_then_on() {
        let mut l = liveness();
        assert!(expired_at(&mut l, ms(100), true).is_empty());
        assert!(l.heard(ms(250), S));
        for at in (300..1250).step_by(50) {
            assert!(expired_at(&mut l, ms(at), true).is_empty(), "it spoke at 250");
        }
        assert_eq!(expired_at(&mut l, ms(1250), true), [S]);
    }

    #[test]
    fn time_in_which_the_leader_did_not_listen_does_not_count() {
        let mut l = liveness();
        assert!(expired_at(&mut l, ms(60_000), true).is_empty(), "a pause is one stride");
        for at in (60_100..120_000).step_by(100) {
            assert!(expired_at(&mut l, ms(at), false).is_empty(), "no proof of leadership, no time passes");
        }
    }

    #[test]
    fn a_session_taken_up_again_and_again_takes_no_more_room() {
        let mut l = liveness();
        for at in (10..5000).step_by(10) {
            l.opened(ms(at), S, Duration::from_millis(1000));
            assert!(expired_at(&mut l, ms(at), true).is_empty());
            assert_eq!(l.due.len(), 1, "one place");
        }
        l.closed(S);
        assert!(l.due.is_empty() && l.sessions.is_empty());
    }

    #[test]
    fn a_spared_session_has_its_whole_time_again() {
        let mut l = liveness();
        let over = (1..=10).flat_map(|k| expired_at(&mut l, ms(k * 100), true)).collect::<Vec<_>>();
        assert_eq!(over, [S]);
        l.spared(ms(1000), S);
        assert!(l.heard(ms(1000), S));
        let over = (11..20).flat_map(|k| expired_at(&mut l, ms(k * 100), true)).collect::<Vec<_>>();
        assert!(over.is_empty());
        assert_eq!(expired_at(&mut l, ms(2000), true), [S]);
    }
}
