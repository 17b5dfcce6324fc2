//! The two clocks. Only this file reads them on the server.

use rustix::time::{ClockId, clock_gettime};

use crate::time::Instant;

/// The boot clock: it counts through a suspended host, so a lease ends while the lid is shut.
#[must_use]
pub fn now() -> Instant {
    let reading = clock_gettime(ClockId::Boottime);
    Instant::from_nanos(reading.tv_sec as u64 * 1_000_000_000 + reading.tv_nsec as u64)
}

/// Milliseconds since 1970 by the host's calendar: for `ctime` and `mtime` only, it may jump.
#[must_use]
pub fn wall_ms() -> u64 {
    let reading = clock_gettime(ClockId::Realtime);
    u64::try_from(reading.tv_sec).unwrap_or(0) * 1_000 + reading.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_does_not_go_back() {
        let earlier = now();
        assert!(now() >= earlier);
        assert!(earlier > Instant::ZERO);
        assert!(wall_ms() > 1_600_000_000_000, "the calendar is set");
    }
}
