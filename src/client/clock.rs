//! The client's one clock.

use rustix::time::{ClockId, clock_gettime};

use crate::time::Instant;

/// Now, on the boot clock: it runs on while the host sleeps, as the leases of the cell do.
pub(super) fn now() -> Instant {
    let reading = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (reading.tv_sec.unsigned_abs(), reading.tv_nsec.unsigned_abs());
    Instant::from_nanos(seconds * 1_000_000_000 + nanos)
}
