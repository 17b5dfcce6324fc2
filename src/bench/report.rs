//! One measured point, as it is written down.

use serde::{Deserialize, Serialize};

use super::cost::Cost;
use super::course::Named;
use super::tally::{Latencies, Tick};

/// What was measured, at one point of one curve.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    #[serde(flatten)]
    pub point: Point,
    /// How long was really measured, all repeats together.
    pub seconds: f64,
    /// Whether the run was cut short.
    pub interrupted: bool,
    /// Why the figures are not those that were asked for.
    pub invalid: Option<String>,
    /// Operations finished, a second: the median of the repeats.
    pub ops_per_s: f64,
    /// Each repeat.
    pub repeats: Vec<Repeat>,
    /// The fastest repeat against the slowest, in percent of the median.
    pub spread_pct: f64,
    /// Reads, if there were any, of all repeats.
    pub reads: Option<Latencies>,
    /// Writes, if there were any, of all repeats.
    pub writes: Option<Latencies>,
    /// In an open loop: what operations took once they were handed to a client.
    pub service: Option<Latencies>,
    /// Operations refused or of unknown outcome.
    pub errors: u64,
    /// Answers no correct system gives.
    pub wrong_answers: u64,
    /// The first of them.
    pub wrong: Vec<String>,
    /// Reads older than what had been seen before they were asked, where that is allowed.
    pub old_answers: u64,
    /// Why the keys were not verified at the end and taken away, if they were not.
    pub unverified: Option<String>,
    /// Connections made again.
    pub reconnects: u64,
    /// The first thing that went wrong.
    pub first_error: Option<String>,
    /// Whether the generator worked or waited for a core nearly all the time: then the figures are its own.
    pub generator_bound: bool,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
    /// Operations and slowest one of each tenth of a second.
    pub timeline: Vec<Tick>,
    /// Where in the timeline something was done to a server, in milliseconds.
    pub marks: Vec<(u64, String)>,
}

/// What tells one point from another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// `write`, `read`, `mix`, `sweep` or `failover`.
    pub workload: String,
    /// Who was asked.
    pub system: String,
    /// How fresh reads had to be.
    pub consistency: String,
    /// How many replicas, where that is known.
    pub replicas: Option<u8>,
    /// Clients.
    pub connections: usize,
    /// Operations each keeps under way, at most.
    pub depth: usize,
    /// Connections times depth.
    pub outstanding: usize,
    /// Arrivals a second; `None` is a closed loop.
    pub rate: Option<f64>,
    /// Reads in a hundred operations.
    pub read_pct: u8,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Keys, each equally likely.
    pub keys: u32,
}

/// One repeat of a point.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Repeat {
    pub seconds: f64,
    pub ops_per_s: f64,
    /// Over reads and writes.
    pub p50_us: f64,
    /// Over reads and writes.
    pub p99_us: f64,
    /// Of all servers; zero where they are not known.
    pub servers_cpu_s_per_100k: f64,
}

impl Point {
    /// What a line in a plot is called.
    #[must_use]
    pub fn series(&self) -> String {
        let replicas = self.replicas.map(|count| format!(", {count} replicas")).unwrap_or_default();
        format!("{} ({}){replicas}", self.system, self.consistency)
    }

    /// What is asked, whoever is asked: points of different systems that have this in common can be compared.
    #[must_use]
    pub fn shape(&self) -> String {
        let rate = self.rate.map(|rate| format!(", {rate:.0}/s")).unwrap_or_default();
        let (connections, depth) = (self.connections, self.depth);
        // What a curve passes through is another measurement than the point alone.
        let kind = match self.workload.as_str() {
            curve @ ("mix" | "failover") => format!("{curve}, "),
            _ => String::new(),
        };
        let Self { read_pct, value_bytes, keys, .. } = self;
        format!("{kind}{read_pct}% reads, {connections} x {depth}, {value_bytes} B, {keys} keys{rate}")
    }
}

impl Report {
    /// CPU seconds of all servers for 100,000 operations; `None` where they are not known.
    #[must_use]
    pub fn cpu_per_100k(&self) -> Option<f64> {
        let operations = self.operations();
        let cpu: f64 = self.cost.servers_cpu_s.iter().sum();
        (operations > 0 && cpu > 0.0).then(|| cpu / operations as f64 * 1e5)
    }

    /// What it is called where several are told of.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}, {}", self.point.series(), self.point.shape())
    }

    /// What went wrong, under names.
    pub(super) fn outcome(&self) -> Vec<Named> {
        vec![
            ("errors".to_owned(), self.errors.to_string()),
            ("wrong_answers".to_owned(), self.wrong_answers.to_string()),
            ("first_error".to_owned(), self.first_error.clone().unwrap_or_default()),
            ("unverified".to_owned(), self.unverified.clone().unwrap_or_default()),
        ]
    }

    /// Operations finished in all repeats.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.repeats.iter().map(|repeat| (repeat.ops_per_s * repeat.seconds).round() as u64).sum()
    }

    /// A latency of reads and writes together, in microseconds.
    #[must_use]
    pub fn latency_us(&self, quantile: f64) -> f64 {
        let mut all = super::tally::empty();
        for histogram in [&self.reads, &self.writes].into_iter().flatten().filter_map(Latencies::histogram) {
            all.add(&histogram).expect("all histograms have the same bounds");
        }
        all.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Takes another run of the same point in: more repeats, the histograms merged.
    pub fn merge(&mut self, other: &Self) {
        assert!(self.point == other.point, "only runs of one point are merged");
        self.seconds += other.seconds;
        self.repeats.extend(&other.repeats);
        self.conclude_repeats();
        for (mine, others) in [(&mut self.reads, &other.reads), (&mut self.writes, &other.writes)] {
            *mine = merged(mine.take(), others.as_ref(), self.seconds);
        }
        self.service = merged(self.service.take(), other.service.as_ref(), self.seconds);
        self.interrupted |= other.interrupted;
        self.invalid = self.invalid.take().or_else(|| other.invalid.clone());
        self.generator_bound |= other.generator_bound;
        self.errors += other.errors;
        self.wrong_answers += other.wrong_answers;
        self.wrong.extend(other.wrong.iter().cloned());
        self.old_answers += other.old_answers;
        self.reconnects += other.reconnects;
        self.unverified = self.unverified.take().or_else(|| other.unverified.clone());
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
        self.cost.add(&other.cost);
    }

    /// Median and spread of the repeats.
    pub fn conclude_repeats(&mut self) {
        let rates: Vec<f64> = self.repeats.iter().map(|repeat| repeat.ops_per_s).collect();
        (self.ops_per_s, self.spread_pct) = median_and_spread(&rates);
    }
}

fn merged(mine: Option<Latencies>, other: Option<&Latencies>, seconds: f64) -> Option<Latencies> {
    let (Some(mine), Some(other)) = (&mine, other) else { return mine.or_else(|| other.cloned()) };
    let mut all = mine.histogram()?;
    all.add(other.histogram()?).ok()?;
    Latencies::of(&all, seconds)
}

/// The median of the repeats' rates, and the fastest against the slowest, in percent of it.
#[must_use]
pub fn median_and_spread(rates: &[f64]) -> (f64, f64) {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    let median = median(&rates);
    let span = rates.last().zip(rates.first()).map_or(0.0, |(high, low)| high - low);
    (median, if median > 0.0 { (span / median * 1000.0).round() / 10.0 } else { 0.0 })
}

/// The middle of sorted values; of two middles the mean.
#[must_use]
pub fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}
