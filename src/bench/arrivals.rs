//! When operations are due that do not wait for each other: an open loop.

use std::collections::VecDeque;

use crate::time::{Duration, Instant};

/// Arrivals at random, independent of each other and of the system's answers (Poisson), at a given rate.
pub struct Arrivals {
    per_s: f64,
    random: u64,
    next: Instant,
    due: VecDeque<Instant>,
    /// Arrivals since counting began.
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

    /// Counts those due after `now`. What waits goes on waiting: a window has the debts of what was before it, among them
    /// what was due before it and never asked for.
    pub fn count_after(&mut self, now: Instant) {
        self.arrive(now);
        self.counted = 0;
    }

    /// Nothing arrived since they were last asked for: the next one comes after `now`.
    pub fn resume(&mut self, now: Instant) {
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

    /// How many came since counting began.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// Those that wait to be handed to a client.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = Instant> {
        self.due.iter().copied()
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
        let (count, waiting) = (arrivals.counted(), arrivals.waiting().len() as u64);
        assert!((98_000..102_000).contains(&count) && waiting == count, "{count} in ten seconds");
        arrivals.count_after(Instant::ZERO + Duration::from_secs(10));
        arrivals.resume(Instant::ZERO + Duration::from_secs(20));
        assert_eq!((arrivals.counted(), arrivals.waiting().len() as u64), (0, waiting), "debts stay");
        let mut before = Instant::ZERO;
        while let Some(due) = arrivals.take() {
            assert!(due >= before, "in order");
            before = due;
        }
        assert!(before <= Instant::ZERO + Duration::from_secs(10) && arrivals.next_due() > before);
    }

    #[test]
    fn what_was_due_before_the_count_began_is_not_counted_though_it_is_asked_for_later() {
        let mut arrivals = Arrivals::new(20.0, 3, Instant::ZERO);
        let began = arrivals.next_due() + Duration::from_nanos(1);
        arrivals.count_after(began);
        arrivals.arrive(began + Duration::from_secs(5));
        let after = arrivals.waiting().filter(|due| *due > began).count() as u64;
        assert_eq!((arrivals.counted(), arrivals.waiting().len() as u64), (after, after + 1));
    }
}
