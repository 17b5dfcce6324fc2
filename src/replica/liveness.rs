//! Who is still there: the leader's memory of when each session was last heard from.
//!
//! Times are counted on a clock of the reign, which advances only while the leader can prove that it leads, and never by
//! more than [`STRIDE_MAX`] a look: a leader that was paused, or cut off, has not listened, so it has nothing to hold
//! against anybody. A session whose time is over is not ended here; the log decides (`Command::ExpireSession`).
//!
//! The log is asked for so many ends at once as are little work to apply together ([`EXPIRIES_ASKED_WORK_MAX`]). The
//! others stay due, and may still be heard from, until some of those were answered.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::limits::EXPIRIES_ASKED_WORK_MAX;
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
    /// Of all that the log is being asked to end.
    asked_work: usize,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    timeout: Duration,
    /// Its one place in `due`.
    due: Instant,
    /// The log is being asked to end it, which is so much work: it cannot be renewed until it has answered.
    ending: Option<usize>,
}

impl Liveness {
    /// Whether nobody has a session, and the log is asked to end none.
    pub(super) fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.due.is_empty() && self.asked_work == 0
    }

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
        if let Some(before) = self.sessions.insert(session, Heard { at, timeout, due, ending: None }) {
            self.forget(session, &before);
        }
        self.due.insert((due, session));
    }

    /// A session is over.
    pub(super) fn closed(&mut self, session: SessionId) {
        if let Some(before) = self.sessions.remove(&session) {
            self.forget(session, &before);
        }
    }

    fn forget(&mut self, session: SessionId, heard: &Heard) {
        self.due.remove(&(heard.due, session));
        self.asked_work -= heard.ending.unwrap_or(0);
    }

    /// A session was heard from. False if it cannot be renewed: unknown, or its end is being decided.
    pub(super) fn heard(&mut self, now: Instant, session: SessionId) -> bool {
        let at = self.reading(now);
        match self.sessions.get_mut(&session) {
            Some(heard) if heard.ending.is_none() => {
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
            self.asked_work -= heard.ending.take().unwrap_or(0);
            self.due.remove(&(heard.due, session));
            (heard.at, heard.due) = (at, at + heard.timeout);
            self.due.insert((heard.due, session));
        }
    }

    /// Moves the clock on; `leads` says whether the leadership is proved at this moment. Sessions whose time is over are
    /// handed out, once; `work` says how much there is to end with one, counted no further than it is told.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        leads: bool,
        work: impl Fn(SessionId, usize) -> usize,
        expired: &mut Vec<SessionId>,
    ) {
        let stride = now.since(self.looked).min(if cfg!(bug = "17") { Duration::from_secs(3600) } else { STRIDE_MAX });
        self.looked = now;
        if !leads && !cfg!(bug = "17") {
            return;
        }
        self.clock += stride;
        while let Some((at, session)) = self.due.first().copied().filter(|(at, _)| *at <= self.clock) {
            let heard = self.sessions.get_mut(&session).expect("what is due is known");
            let over = heard.at + heard.timeout;
            if over > self.clock {
                heard.due = over;
                self.due.insert((over, session));
            } else {
                let work = work(session, EXPIRIES_ASKED_WORK_MAX);
                if self.asked_work > 0 && self.asked_work + work > EXPIRIES_ASKED_WORK_MAX {
                    return;
                }
                self.asked_work += work;
                heard.ending = Some(work);
                expired.push(session);
            }
            self.due.remove(&(at, session));
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
        liveness.advance(now, leads, |_, _| 1, &mut expired);
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

    #[test]
    fn ten_thousand_that_die_together_end_in_bounded_parts_and_the_living_live() {
        const COUNT: u64 = 10_000;
        let timeout = Duration::from_millis(1000);
        let mut l = Liveness::begin(ms(0), (0..COUNT).map(|n| (SessionId(n), timeout)));
        // Every hundredth speaks, and every thousandth owns as much as may go at once.
        let lives = |session: &SessionId| session.0 % 100 == 7;
        let work = |session: SessionId, most: usize| if session.0.is_multiple_of(1000) { most } else { 3 };
        let mut now = 0;
        while now < 900 {
            now += 100;
            assert!(expired_at(&mut l, ms(now), true).is_empty(), "not before its time");
        }
        (0..COUNT).map(SessionId).filter(lives).for_each(|session| assert!(l.heard(ms(now), session)));
        now += 100;
        let (mut over, mut parts) = (BTreeSet::new(), 0);
        loop {
            let mut expired = Vec::new();
            l.advance(ms(now), true, work, &mut expired);
            if expired.is_empty() {
                break;
            }
            let sum: usize = expired.iter().map(|session| work(*session, EXPIRIES_ASKED_WORK_MAX)).sum();
            assert!(sum <= EXPIRIES_ASKED_WORK_MAX, "{} together are {sum}", expired.len());
            let mut more = Vec::new();
            l.advance(ms(now), true, work, &mut more);
            assert!(more.is_empty(), "no more before those were answered");
            let others_wait = over.len() + expired.len() < (COUNT - COUNT / 100) as usize;
            assert_eq!(l.next_look(ms(now)) == ms(now + 1), others_wait, "it looks again soon");
            for session in expired {
                assert!(!l.heard(ms(now), session) && over.insert(session), "{session} ends once");
                l.closed(session);
            }
            parts += 1;
        }
        let ended: BTreeSet<_> = (0..COUNT).map(SessionId).filter(|session| !lives(session)).collect();
        assert_eq!(over, ended, "exactly the silent");
        assert!(parts > 10, "each of ten great ones goes alone, not {parts} parts in all");
        assert_eq!((l.sessions.len() as u64, l.asked_work), (COUNT / 100, 0));
    }

    #[test]
    fn who_waits_for_its_end_may_still_be_heard() {
        let [first, second] = [SessionId(1), SessionId(2)];
        let sessions = [first, second].map(|session| (session, Duration::from_millis(100)));
        let mut l = Liveness::begin(ms(0), sessions.into_iter());
        let mut expired = Vec::new();
        l.advance(ms(100), true, |_, most| most, &mut expired);
        assert_eq!(expired, [first], "one fills what may be asked");
        assert!(l.heard(ms(100), second) && !l.heard(ms(100), first));
        l.closed(first);
        l.advance(ms(101), true, |_, most| most, &mut expired);
        assert_eq!(expired, [first], "the other has spoken");
    }
}
