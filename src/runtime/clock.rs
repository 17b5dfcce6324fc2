//! The two clocks, and how far they can be trusted. Only this file reads them on the server.
#![allow(unsafe_code)]

use rustix::time::{ClockId, clock_gettime};

use crate::time::{Duration, Instant};

/// The boot clock: it counts through a suspended host, so a lease ends while the lid is shut.
#[must_use]
pub fn now() -> Instant {
    read(ClockId::Boottime)
}

/// Milliseconds since 1970 by the host's calendar: for `ctime` and `mtime` only, it may jump.
#[must_use]
pub fn wall_ms() -> u64 {
    let reading = clock_gettime(ClockId::Realtime);
    u64::try_from(reading.tv_sec).unwrap_or(0) * 1_000 + reading.tv_nsec as u64 / 1_000_000
}

/// The boot clock beside the processor's own, which nobody disciplines, from one moment on.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    boot: Instant,
    raw: Instant,
}

impl Comparison {
    /// Begins to compare.
    #[must_use]
    pub fn begin() -> Self {
        // The pair that was read closest together.
        let pairs = (0..READINGS).map(|_| {
            let before = now();
            let raw = read(ClockId::MonotonicRaw);
            let after = now();
            (after.since(before), Self { boot: before + after.since(before).scaled(1, 2), raw })
        });
        pairs.min_by_key(|(gap, _)| *gap).expect("there is more than one reading").1
    }

    /// How long it has gone on.
    #[must_use]
    pub fn span(self) -> Duration {
        now().since(self.boot)
    }

    /// By how many parts in a million the boot clock ran faster than the other since then.
    #[must_use]
    pub fn ppm(self) -> i64 {
        let later = Self::begin();
        let (boot, raw) = (later.boot.since(self.boot).as_nanos(), later.raw.since(self.raw).as_nanos());
        let ahead = (i128::from(boot) - i128::from(raw)) * 1_000_000 / i128::from(raw.max(1));
        i64::try_from(ahead).unwrap_or(i64::MAX)
    }
}

/// What one reading of the boot clock costs.
#[must_use]
pub fn reading_cost() -> Duration {
    let began = now();
    for _ in 0..READINGS_TIMED {
        std::hint::black_box(now());
    }
    now().since(began).scaled(1, READINGS_TIMED)
}

/// Whether somebody keeps the host's calendar right, as the kernel knows it.
#[must_use]
pub fn is_synchronised() -> bool {
    // SAFETY: the structure is plain numbers, for which zeros are valid; with no mode set, the call only fills it.
    let (state, status) = unsafe {
        let mut told: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut told), told.status)
    };
    state >= 0 && state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0
}

fn read(clock: ClockId) -> Instant {
    let reading = clock_gettime(clock);
    Instant::from_nanos(reading.tv_sec as u64 * 1_000_000_000 + reading.tv_nsec as u64)
}

const READINGS: usize = 32;
const READINGS_TIMED: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_of_a_sound_host_agree() {
        let comparison = Comparison::begin();
        while comparison.span() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        // A host's clock is slewed by at most 500 parts in a million; the rest is room for a host under load.
        assert!(comparison.ppm().abs() < 10_000, "{}", comparison.ppm());
        assert!(reading_cost() < Duration::from_millis(1));
    }

    #[test]
    fn the_boot_clock_does_not_go_back() {
        let earlier = now();
        assert!(now() >= earlier);
        assert!(earlier > Instant::ZERO);
        assert!(wall_ms() > 1_600_000_000_000, "the calendar is set");
    }
}
