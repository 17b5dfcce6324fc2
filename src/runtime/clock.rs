//! The host's clocks. `CLOCK_BOOTTIME` goes on while the host sleeps, and nobody sets it; only its rate is trusted.

use rustix::time::{ClockId, clock_gettime};

use crate::time::Instant;

/// Now, on the boot clock.
#[must_use]
pub fn now() -> Instant {
    let at = clock_gettime(ClockId::Boottime);
    Instant::from_nanos(at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64)
}

/// Now, in milliseconds since 1970, as far as this host knows; for people only.
#[must_use]
pub fn wall_ms() -> u64 {
    let at = clock_gettime(ClockId::Realtime);
    at.tv_sec.max(0) as u64 * 1_000 + at.tv_nsec as u64 / 1_000_000
}
