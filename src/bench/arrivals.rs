//! When operations are due that do not wait for each other: an open loop.

use std::collections::VecDeque;

use crate::time::{Duration, Instant};

/// Arrivals at random, independent of each other and of the system's answers (Poisson), at a given rate.
pub struct Arrivals {
    per_s: f64,
    random: u64,
    next: Instant,
    due: VecDeque<Instant>,
    /// Arrivals since the last reset.
    counted: u64,
}

impl Arrivals {
    /// From `now` on, `per_s` a second on average.
    #[must_use]
    pub fn new(per_s: f64, seed: u64, now: Instant) -> Self {
        assert!(per_s > 0.0, "something arrives");
        let mut arrivals = Self { per_s, random: seed | 1, next: now, due: VecDeque::new(), counted: 0 };
        arrivals.next = now + arrivals.gap();
        arrivals
    }

    /// Puts all that is due by now in the queue.
    pub fn arrive(&mut self, now: Instant) {
        while self.next <= now {
            self.due.push_back(self.next);
            self.counted += 1;
            let gap = self.gap();
            self.next += gap;
        }
    }

    /// Starts to count anew, with what waits forgotten: a window begins without the debts of the one before.
    pub fn reset(&mut self, now: Instant) {
        self.due.clear();
        self.counted = 0;
        self.next = now + self.gap();
    }

    /// The oldest arrival that waits.
    pub fn take(&mut self) -> Option<Instant> {
        self.due.pop_front()
    }

    /// When the next one comes.
    #[must_use]
    pub fn next_due(&self) -> Instant {
        self.next
    }

    /// How many came since the last reset, and how many of them still wait to be handed to a client.
    #[must_use]
    pub fn counted(&self) -> (u64, usize) {
        (self.counted, self.due.len())
    }

    /// The time between two independent arrivals is distributed exponentially.
    fn gap(&mut self) -> Duration {
        let uniform = ((super::workload::next_random(&mut self.random) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        Duration::from_nanos((-uniform.ln() / self.per_s * 1e9) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_keep_their_rate_and_their_times() {
        let mut arrivals = Arrivals::new(10_000.0, 3, Instant::ZERO);
        arrivals.arrive(Instant::ZERO + Duration::from_secs(10));
        let (count, waiting) = arrivals.counted();
        assert!((98_000..102_000).contains(&count) && waiting as u64 == count, "{count} in ten seconds");
        let mut before = Instant::ZERO;
        while let Some(due) = arrivals.take() {
            assert!(due >= before, "in order");
            before = due;
        }
        assert!(before <= Instant::ZERO + Duration::from_secs(10) && arrivals.next_due() > before);
    }
}
