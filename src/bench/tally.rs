//! What a run measured: counts and latencies, one interval of a second after the other.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::workload::Operation;
use crate::time::{Duration, Instant};

/// The length of one interval of the histogram log.
const INTERVAL: Duration = Duration::from_secs(1);

/// The length of one tick of the timeline, in milliseconds.
pub const TICK_MS: u64 = 100;

/// Counts and latencies since the last reset.
pub struct Tally {
    began: Instant,
    /// Whatever is due in the window is recorded, however late it is answered; in a closed loop all is due when it is asked.
    window_began: Instant,
    window_ended: Instant,
    /// Operations answered in the window, whenever they were due.
    answered: u64,
    interval_began: Instant,
    interval: Pair,
    window: Pair,
    total: Pair,
    /// What operations took once they were handed over, where that differs: in an open loop.
    service: Option<Histogram<u64>>,
    log: Vec<LogLine>,
    timeline: Vec<Tick>,
    /// Operations that were refused, or whose outcome is unknown.
    pub errors: u64,
    /// The first error or broken connection.
    pub first_error: Option<String>,
    /// When each write was acknowledged, if asked for.
    pub acks: Option<Vec<Instant>>,
}

/// A tenth of a second.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub struct Tick {
    /// Operations finished in it.
    pub ops: u32,
    /// The slowest of them.
    pub max_us: u32,
}

/// What one repeat came to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Window {
    /// Operations answered in it.
    pub answered: u64,
    /// Operations whose latency was recorded: in an open loop those due in it.
    pub recorded: u64,
    /// Half of these took at most this, reads and writes together.
    pub p50_us: f64,
    /// Ninety-nine in a hundred.
    pub p99_us: f64,
}

/// One interval of the log, for one kind of operation.
struct LogLine {
    tag: char,
    start_ms: u64,
    length_ms: u64,
    max_ms: f64,
    histogram: String,
}

#[derive(Clone)]
struct Pair {
    reads: Histogram<u64>,
    writes: Histogram<u64>,
}

/// Latencies of one kind of operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latencies {
    /// Operations finished.
    pub count: u64,
    /// The same, a second.
    pub per_s: f64,
    /// Microseconds until the answer, from handing the operation to the client or, in an open loop, from when it was due.
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
    /// All of them: an HDR histogram of nanoseconds (V2, deflated, base64).
    pub hdr: String,
}

impl Tally {
    /// Nothing yet. In an open loop the time of service is kept apart.
    #[must_use]
    pub fn new(open_loop: bool, now: Instant) -> Self {
        let pair = Pair { reads: empty(), writes: empty() };
        Self {
            began: now,
            window_began: now,
            window_ended: Instant::FOREVER,
            answered: 0,
            interval_began: now,
            interval: pair.clone(),
            window: pair.clone(),
            total: pair,
            service: open_loop.then(empty),
            log: Vec::new(),
            timeline: Vec::new(),
            errors: 0,
            first_error: None,
            acks: None,
        }
    }

    /// An operation succeeded.
    pub fn done(&mut self, operation: &Operation, now: Instant) {
        if now >= self.interval_began + INTERVAL {
            self.end_interval(now);
        }
        let nanos = now.since(operation.begun).as_nanos();
        let tick = (now.since(self.began).as_millis() / TICK_MS) as usize;
        if tick >= self.timeline.len() {
            self.timeline.resize(tick + 1, Tick::default());
        }
        let tick = &mut self.timeline[tick];
        *tick = Tick { ops: tick.ops + 1, max_us: tick.max_us.max((nanos / 1000).min(u64::from(u32::MAX)) as u32) };
        if let Some(acks) = self.acks.as_mut().filter(|_| !operation.is_read) {
            acks.push(now);
        }
        self.answered += u64::from(now <= self.window_ended);
        if self.service.is_some() && !(self.window_began..=self.window_ended).contains(&operation.begun) {
            return;
        }
        if operation.is_read {
            self.interval.reads.saturating_record(nanos);
        } else {
            self.interval.writes.saturating_record(nanos);
        }
        if let Some(service) = &mut self.service {
            service.saturating_record(now.since(operation.handed).as_nanos());
        }
    }

    /// The timeline goes on until now, though nothing is answered any more.
    pub fn stretch(&mut self, now: Instant) {
        let ticks = (now.since(self.began).as_millis() / TICK_MS) as usize;
        self.timeline.resize(ticks.max(self.timeline.len()), Tick::default());
    }

    /// Something went wrong; the first of it is kept for the report.
    pub fn note(&mut self, why: impl FnOnce() -> String) {
        if self.first_error.is_none() {
            self.first_error = Some(why());
        }
    }

    /// Forgets what was counted: the warm-up is over.
    pub fn reset(&mut self, now: Instant) {
        let acks = self.acks.take().map(|_| Vec::new());
        *self = Self { acks, ..Self::new(self.service.is_some(), now) };
    }

    /// A repeat begins.
    pub fn begin_window(&mut self, now: Instant) {
        (self.window_began, self.window_ended, self.answered) = (now, Instant::FOREVER, 0);
        self.interval_began = now;
    }

    /// The time of a repeat is over. What was due in it is recorded until [`Self::end_window`].
    pub fn close_window(&mut self, now: Instant) {
        self.window_ended = now;
    }

    /// Ends one repeat.
    pub fn end_window(&mut self, now: Instant) -> Window {
        self.end_interval(now);
        let mut all = self.window.reads.clone();
        all.add(&self.window.writes).expect("both have the same bounds");
        self.total.add(&self.window);
        self.window.reset();
        let answered = std::mem::take(&mut self.answered);
        let [p50_us, p99_us] = [0.5, 0.99].map(|quantile| us(all.value_at_quantile(quantile)));
        Window { answered, recorded: all.len(), p50_us, p99_us }
    }

    fn end_interval(&mut self, now: Instant) {
        let length = now.since(self.interval_began);
        for (tag, histogram) in [('R', &self.interval.reads), ('W', &self.interval.writes)] {
            if !histogram.is_empty() {
                self.log.push(LogLine {
                    tag,
                    start_ms: self.interval_began.since(self.began).as_millis(),
                    length_ms: length.as_millis(),
                    max_ms: histogram.max() as f64 / 1e6,
                    histogram: encoded(histogram),
                });
            }
        }
        self.window.add(&self.interval);
        self.interval.reset();
        self.interval_began = now;
    }

    /// Latencies of the reads of all repeats; `None` if there were none.
    #[must_use]
    pub fn reads(&self, seconds: f64) -> Option<Latencies> {
        Latencies::of(&self.total.reads, seconds)
    }

    /// Latencies of the writes of all repeats; `None` if there were none.
    #[must_use]
    pub fn writes(&self, seconds: f64) -> Option<Latencies> {
        Latencies::of(&self.total.writes, seconds)
    }

    /// What operations took once they were handed over, in an open loop.
    #[must_use]
    pub fn service(&self, seconds: f64) -> Option<Latencies> {
        Latencies::of(self.service.as_ref()?, seconds)
    }

    /// Operations and slowest one of each tenth of a second.
    #[must_use]
    pub fn timeline(&self) -> &[Tick] {
        &self.timeline
    }

    /// The intervals in the format of `HistogramLogProcessor` and its kin; `started` is the wall clock's second.
    #[must_use]
    pub fn log(&self, started: f64) -> String {
        let mut text = format!(
            "#[Histogram log format version 1.3]\n#[StartTime: {started:.3} (seconds since epoch)]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
        );
        for line in &self.log {
            let (start, length) = (line.start_ms as f64 / 1e3, line.length_ms as f64 / 1e3);
            text += &format!("Tag={},{start:.3},{length:.3},{:.3},{}\n", line.tag, line.max_ms, line.histogram);
        }
        text
    }
}

impl Pair {
    fn add(&mut self, other: &Self) {
        self.reads.add(&other.reads).expect("both have the same bounds");
        self.writes.add(&other.writes).expect("both have the same bounds");
    }

    fn reset(&mut self) {
        self.reads.reset();
        self.writes.reset();
    }
}

impl Latencies {
    /// `None` if there are none.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>, seconds: f64) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
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
            hdr: encoded(histogram),
        })
    }

    /// The histogram behind the figures; `None` if it was written by another tool.
    #[must_use]
    pub fn histogram(&self) -> Option<Histogram<u64>> {
        let bytes = BASE64_STANDARD.decode(&self.hdr).ok()?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
    }
}

/// Nanoseconds from 1 us to 120 s, three digits.
pub fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 120_000_000_000, 3).expect("the bounds are in order")
}

fn encoded(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("a vector takes all");
    BASE64_STANDARD.encode(bytes)
}

fn us(nanos: u64) -> f64 {
    (nanos as f64 / 100.0).round() / 10.0
}

/// Two digits after the point.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::bench::Workload;

    #[test]
    fn intervals_add_up_and_are_logged_as_others_read_them() {
        let workload = Workload::new("/x", 1, 16, 50, 1);
        let at = |ms: u64| Instant::from_nanos(1) + Duration::from_millis(ms);
        let mut tally = Tally::new(false, at(0));
        for ms in (0..2_500).step_by(10) {
            tally.done(&workload.operation(ms % 20 == 0, 0, at(ms)), at(ms + 3));
        }
        let Window { answered, recorded, p50_us, p99_us } = tally.end_window(at(2_500));
        assert_eq!((answered, recorded), (250, 250));
        assert!((2_990.0..3_010.0).contains(&p50_us) && (2_990.0..3_010.0).contains(&p99_us), "{p50_us} {p99_us}");
        let reads = tally.reads(2.5).expect("there were some");
        assert_eq!((reads.count, reads.per_s), (125, 50.0));
        assert_eq!(reads.histogram().expect("it is ours").len(), 125, "the histogram survives the trip");
        let text = tally.log(1.5);
        let entries =
            IntervalLogIterator::new(text.as_bytes()).map(|entry| entry.expect("the format is the public one"));
        let intervals = entries.filter(|entry| matches!(entry, LogEntry::Interval(_))).count();
        assert_eq!(intervals, 6, "three seconds begun, reads and writes");
        assert_eq!(tally.timeline().iter().map(|tick| tick.ops).sum::<u32>(), 250);
        tally.stretch(at(4_000));
        assert_eq!(tally.timeline().len(), 40, "silence until the end is seen");
    }
}
