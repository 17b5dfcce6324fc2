//! How fast a replica that lags asks for what it missed: it takes its share of links and disks, not the writers'.
//!
//! Who asks keeps the pace, since it alone knows what it asked whom for. One answer is under way at a time, and the next one
//! is asked for once the bytes that came had their time, but for a first [`BURST`]. The pace is judged about every second: where
//! less was gained on the writers than half of what came, it is doubled, as a replica that never catches up is worse than
//! writers who wait; and while nobody writes there is none.

use crate::time::{Duration, Instant};

/// The pace of one catching up.
#[derive(Debug)]
pub(super) struct Pace {
    /// What came had its time by then.
    paid_at: Instant,
    /// What a byte takes; 0 if there is no pace any more.
    byte_ns: u64,
    /// Nothing was chosen during the last sample.
    nobody_writes: bool,
    sample: Option<Sample>,
}

/// What the pace is judged by.
#[derive(Clone, Copy, Debug)]
struct Sample {
    since: Instant,
    /// Slots missing then.
    missing: u64,
    /// Slots that came since.
    came: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { paid_at: Instant::ZERO, byte_ns: BYTE_NS, nobody_writes: false, sample: None }
    }
}

impl Pace {
    /// An answer of so many bytes and slots came, and after it so many slots are missing.
    pub fn took(&mut self, now: Instant, bytes: usize, slots: u64, missing: u64) {
        if missing == 0 {
            return self.reset();
        }
        let byte_ns = if self.nobody_writes { 0 } else { self.byte_ns };
        // What is had without a pace is not paid for later: that would lose again what was gained.
        self.paid_at = self.paid_at.max(now) + Duration::from_nanos(bytes as u64 * byte_ns);
        let mut sample = self.sample.unwrap_or(Sample { since: now, missing: missing + slots, came: 0 });
        sample.came += slots;
        if now.since(sample.since) >= SAMPLE_EVERY {
            let chosen = (missing + sample.came).saturating_sub(sample.missing);
            self.nobody_writes = chosen == 0;
            if 2 * chosen > sample.came {
                self.byte_ns /= 2;
            }
            sample = Sample { since: now, missing, came: 0 };
        }
        self.sample = Some(sample);
    }

    /// There is no pace to keep: nothing is owed for what came.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// When the next answer may be asked for.
    pub fn next_at(&self) -> Instant {
        self.paid_at.before(BURST)
    }
}

/// What a byte takes at first: 62.5 MB/s, half of what a link of 1 Gbit/s carries, and about what images are fetched at.
const BYTE_NS: u64 = 16;

/// What a replica missed in a moment, it gets at once.
const BURST: Duration = Duration::from_millis(16);

/// Long beside an answer, short beside an outage.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 256 << 10;

    /// Asks as soon as it may; an answer of 100 slots comes 1 ms later, while so many more are chosen in 100 ms. How long it
    /// takes from so many missing slots on, and what is missing then after all.
    fn catches_up(from: u64, chosen_in_100_ms: u64) -> (Duration, u64) {
        let (mut pace, mut now, mut missing, mut chosen) = (Pace::default(), Instant::ZERO, from, 0);
        while missing > 0 && now < Instant::ZERO + Duration::from_secs(60) {
            now = now.max(pace.next_at()) + Duration::from_millis(1);
            let all = chosen_in_100_ms * now.since(Instant::ZERO).as_nanos() / 100_000_000;
            missing = (missing + (all - chosen)).saturating_sub(100);
            chosen = all;
            pace.took(now, PIECE, 100, missing);
        }
        (now.since(Instant::ZERO), missing)
    }

    fn at_pace(slots: u64) -> Duration {
        Duration::from_nanos(slots / 100 * PIECE as u64 * BYTE_NS)
    }

    #[test]
    fn a_long_way_is_gone_at_the_pace_and_a_short_one_at_once() {
        assert_eq!(catches_up(300, 1), (Duration::from_millis(3), 0), "a moment's worth");
        let (took, missing) = catches_up(100_000, 100);
        assert_eq!(missing, 0);
        assert!(took > at_pace(100_000).scaled(9, 10), "{took}, and {} at the pace", at_pace(100_000));
        assert!(took < at_pace(100_000).scaled(12, 10), "{took}, and {} at the pace", at_pace(100_000));
    }

    /// At the pace 24 slots come a millisecond, 100 at most.
    #[test]
    fn it_catches_up_with_writers_of_any_speed_in_a_time_that_goes_with_what_is_missing() {
        for chosen_in_100_ms in [500, 1000, 1150, 1200, 1250, 2000, 2300, 2380, 2400, 5000, 8000] {
            let (took, missing) = catches_up(100_000, chosen_in_100_ms);
            let bound = at_pace(100_000).scaled(2, 1) + Duration::from_secs(4);
            assert!(missing == 0 && took < bound, "{chosen_in_100_ms} in 100 ms: {missing} missing after {took}");
        }
    }

    #[test]
    fn while_nobody_writes_there_is_no_pace_and_with_who_writes_again_there_is() {
        let (took, missing) = catches_up(1_000_000, 0);
        assert_eq!(missing, 0);
        let in_haste = Duration::from_secs(1) + Duration::from_millis(10_000);
        assert!(took < in_haste, "{took}: a second at the pace, and then as fast as it comes");
        let mut pace = Pace::default();
        let (mut now, mut missing) = (Instant::ZERO, 1_000_000);
        for chosen in [0, 0, 0, 10, 10] {
            now += SAMPLE_EVERY;
            missing = missing + chosen - 100;
            pace.took(now, PIECE << 4, 100, missing);
        }
        assert!(pace.next_at() > now, "somebody writes again");
    }

    #[test]
    fn who_has_caught_up_owes_nothing() {
        let (mut pace, now) = (Pace::default(), Instant::ZERO + Duration::from_secs(9));
        pace.took(now, PIECE << 8, 100, 700);
        assert!(pace.next_at() > now);
        pace.took(now, PIECE, 700, 0);
        assert!(pace.next_at() <= now);
    }
}
