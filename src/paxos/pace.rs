//! How fast a replica that lags asks for what it missed: it takes its share of links and disks, not the writers'.
//!
//! Who asks keeps the pace, since it alone knows what it asked whom for. One answer is under way at a time, and the next one is
//! asked for once the bytes that came had their time at [`BYTES_PER_SECOND`], but for a first [`BURST`]. Should the others
//! choose faster than that, and what is missing grow, the pace is given up until half of it has come: a replica that never
//! catches up is worse than writers who wait.

use crate::time::{Duration, Instant};

/// The pace of one catching up.
#[derive(Debug)]
pub(super) struct Pace {
    /// What came had its time by then.
    paid_at: Instant,
    /// Slots missing when the last answer was taken; none before the first.
    missing: Option<u64>,
    /// With more missing than that, there is no pace.
    hurry_above: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { paid_at: Instant::ZERO, missing: None, hurry_above: u64::MAX }
    }
}

impl Pace {
    /// An answer of so many bytes came, and after it so many slots are missing.
    pub fn took(&mut self, now: Instant, bytes: usize, missing: u64) {
        let time = Duration::from_nanos(bytes as u64 * (1_000_000_000 / BYTES_PER_SECOND));
        // What is had in a hurry is not paid for later: that would lose again what was gained.
        let since = if missing > self.hurry_above { now } else { self.paid_at.max(now) };
        self.paid_at = since + time;
        if missing == 0 {
            (self.missing, self.hurry_above) = (None, u64::MAX);
            return;
        }
        if self.missing.is_some_and(|before| missing >= before) {
            self.hurry_above = missing / 2;
        }
        self.missing = Some(missing);
    }

    /// When the next answer may be asked for, with so many slots missing.
    pub fn next_at(&self, missing: u64) -> Instant {
        if missing > self.hurry_above { Instant::ZERO } else { self.paid_at.before(BURST) }
    }
}

/// As fast as images are sent: 62.5 MB/s, half of what a link of 1 Gbit/s carries.
const BYTES_PER_SECOND: u64 = 62_500_000;

/// What a replica missed in a moment, it gets at once.
const BURST: Duration = Duration::from_millis(16);

const _: () = assert!(1_000_000_000_u64.is_multiple_of(BYTES_PER_SECOND), "a byte takes whole nanoseconds");

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 256 << 10;

    /// Asks as soon as it may; an answer of 100 slots comes 1 ms later, while so many more are chosen in each. How long it takes
    /// to get so many such pieces, and what is missing then after all.
    fn catches_up(pieces: u64, chosen_in_ms: u64) -> (Duration, u64) {
        let (mut pace, mut now, mut missing) = (Pace::default(), Instant::ZERO, 100 * pieces);
        let mut asked = 0;
        while missing > 0 && asked < 10 * pieces {
            let before = now;
            now = now.max(pace.next_at(missing)) + Duration::from_millis(1);
            missing = (missing + chosen_in_ms * now.since(before).as_nanos() / 1_000_000).saturating_sub(100);
            pace.took(now, PIECE, missing);
            asked += 1;
        }
        (now.since(Instant::ZERO), missing)
    }

    #[test]
    fn a_long_way_is_gone_at_the_pace_and_a_short_one_at_once() {
        assert_eq!(catches_up(3, 0), (Duration::from_millis(3), 0), "a moment's worth");
        let at_pace = Duration::from_nanos(1000 * PIECE as u64 * 16);
        let (took, missing) = catches_up(1000, 0);
        assert_eq!(missing, 0);
        assert!(took > at_pace.scaled(9, 10) && took < at_pace.scaled(11, 10), "{took:?}, and {at_pace:?} at the pace");
    }

    #[test]
    fn who_falls_further_behind_gives_up_the_pace_until_it_has_gained() {
        let (mut pace, now) = (Pace::default(), Instant::ZERO);
        for missing in [1000, 900, 800] {
            pace.took(now, PIECE << 4, missing);
            assert!(pace.next_at(missing) > now, "it gains");
        }
        pace.took(now, PIECE, 900);
        assert_eq!(pace.next_at(900), Instant::ZERO, "it does not");
        pace.took(now, PIECE, 600);
        assert_eq!(pace.next_at(600), Instant::ZERO, "it has not gained enough");
        pace.took(now, PIECE << 4, 440);
        assert!(pace.next_at(440) > now, "it has");
        pace.took(now, PIECE, 0);
        assert!(pace.next_at(2000) > now, "what it is missing then is another matter");
    }

    #[test]
    fn it_catches_up_with_who_goes_faster_than_the_pace() {
        for chosen_in_ms in [24, 50, 80] {
            let (took, missing) = catches_up(1000, chosen_in_ms);
            assert_eq!(missing, 0, "at {chosen_in_ms} slots a millisecond, after {took:?}");
        }
    }
}
