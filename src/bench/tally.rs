//! What a run measured, and how it is written down.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::workload::Operation;
use crate::time::Instant;

/// Counts and latencies of one window.
pub struct Tally {
    reads: Histogram<u64>,
    writes: Histogram<u64>,
    /// Operations that were refused, or whose outcome is unknown.
    pub errors: u64,
    /// Connections made again.
    pub reconnects: u64,
    /// The first error or broken connection.
    pub first_error: Option<String>,
    /// When each write was acknowledged, if asked for.
    pub acks: Option<Vec<Instant>>,
}

/// Latencies of one kind of operation.
#[derive(Clone, Debug, Serialize)]
pub struct Latencies {
    /// Operations finished.
    pub count: u64,
    /// The same, a second.
    pub per_s: f64,
    /// Microseconds, from handing the operation to the client to having its answer.
    pub mean_us: f64,
    /// Half of them took at most this.
    pub p50_us: f64,
    /// Nine in ten.
    pub p90_us: f64,
    /// Ninety-nine in a hundred.
    pub p99_us: f64,
    /// All but one in a thousand.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

impl Default for Tally {
    fn default() -> Self {
        // Nanoseconds: 1 us to 120 s, three digits.
        let empty = Histogram::new_with_bounds(1_000, 120_000_000_000, 3).expect("the bounds are in order");
        Self { reads: empty.clone(), writes: empty, errors: 0, reconnects: 0, first_error: None, acks: None }
    }
}

impl Tally {
    /// An operation succeeded.
    pub fn done(&mut self, operation: &Operation, now: Instant) {
        let nanos = now.since(operation.begun).as_nanos();
        if operation.is_read {
            self.reads.saturating_record(nanos);
        } else {
            self.writes.saturating_record(nanos);
            if let Some(acks) = &mut self.acks {
                acks.push(now);
            }
        }
    }

    /// Something went wrong; the first of it is kept for the report.
    pub fn note(&mut self, why: impl FnOnce() -> String) {
        if self.first_error.is_none() {
            self.first_error = Some(why());
        }
    }

    /// Forgets what was counted: the warm-up is over.
    pub fn reset(&mut self) {
        self.reads.reset();
        self.writes.reset();
        (self.errors, self.reconnects, self.first_error) = (0, 0, None);
    }

    /// Operations finished, a second.
    #[must_use]
    pub fn ops_per_s(&self, seconds: f64) -> f64 {
        rounded((self.reads.len() + self.writes.len()) as f64 / seconds)
    }

    /// Latencies of the reads; `None` if there were none.
    #[must_use]
    pub fn reads(&self, seconds: f64) -> Option<Latencies> {
        Latencies::of(&self.reads, seconds)
    }

    /// Latencies of the writes; `None` if there were none.
    #[must_use]
    pub fn writes(&self, seconds: f64) -> Option<Latencies> {
        Latencies::of(&self.writes, seconds)
    }
}

impl Latencies {
    fn of(histogram: &Histogram<u64>, seconds: f64) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let us = |nanos: u64| (nanos as f64 / 100.0).round() / 10.0;
        let at = |quantile: f64| us(histogram.value_at_quantile(quantile));
        Some(Self {
            count: histogram.len(),
            per_s: rounded(histogram.len() as f64 / seconds),
            mean_us: us(histogram.mean() as u64),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(histogram.max()),
        })
    }
}

/// Two digits after the point.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
