//! `quorate bench`: load on a cell, checked and measured.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use quorate::bench::{self, Blow, Cost, FailoverReport, Latencies, Plan, Report, RunError, VALUE_BYTES_MIN};
use quorate::client::machine::{Prefer, Settings};
use quorate::client::{Consistency, Target as Place};
use quorate::server::{Code, Failure};
use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::connect::{Target, failed, span};

#[derive(clap::Subcommand)]
pub enum Args {
    /// Overwrites keys
    Write(#[command(flatten)] Load),
    /// Reads keys
    Read(#[command(flatten)] Load),
    /// Reads and overwrites keys
    Mix {
        #[command(flatten)]
        load: Load,
        /// Reads in a hundred operations
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
        read_pct: u8,
    },
    /// Overwrites keys, signals a server, and measures how long writes stand still
    Failover {
        #[command(flatten)]
        load: Load,
        /// The process to be signalled, --warmup after the start
        #[arg(long)]
        kill_pid: i32,
        /// 9 kills it, 19 stops it
        #[arg(long, default_value_t = 9)]
        signal: i32,
    },
}

#[derive(clap::Args)]
pub struct Load {
    /// Clients, each with its connection and session; they go round the endpoints
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Operations each keeps under way
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    depth: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// Keys, each equally likely
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    keys: u32,
    /// How long to measure
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// How long to load before that
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    warmup: f64,
    /// Whom to connect to: any replica, or the leader
    #[arg(long, default_value = "any", value_parser = prefer)]
    prefer: Prefer,
    /// Take reads as the replica at hand has them, perhaps old
    #[arg(long)]
    stale: bool,
    /// Servers whose CPU time and memory to report
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// Where in the tree the keys go; runs at the same time need different places [default: one of this run's own]
    #[arg(long)]
    prefix: Option<String>,
    /// Leave the keys in the cell
    #[arg(long)]
    keep: bool,
    /// The seed of all random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Twice the signal ends the process at once: the first arms, the second finds it armed.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::new(Code::RunFailed, "cannot wait for signals").found(error.to_string()))?;
    }
    let (load, read_pct, name) = match args {
        Args::Write(load) => (load, 0, "write"),
        Args::Read(load) => (load, 100, "read"),
        Args::Mix { load, read_pct } => (load, *read_pct, "mix"),
        Args::Failover { load, kill_pid, signal } => return failover(load, *kill_pid, *signal, &stop),
    };
    let report = bench::run(&load.plan(read_pct)?, name, &stop).map_err(run_failed)?;
    crate::print_line(&if load.json { json(&report) } else { table(&report) })?;
    judge(&report)
}

fn failover(load: &Load, pid: i32, signal: i32, stop: &AtomicBool) -> Result<(), Failure> {
    let usage = |what: String| Failure::new(Code::Usage, what);
    let blow = Blow {
        pid: Pid::from_raw(pid).filter(|_| pid > 1).ok_or_else(|| usage(format!("{pid} is no process")))?,
        signal: Signal::from_named_raw(signal).ok_or_else(|| usage(format!("{signal} is no signal")))?,
        before: Duration::from_secs_f64(load.warmup).into(),
        after: Duration::from_secs_f64(load.seconds).into(),
    };
    let report = bench::failover(&load.plan(0)?, &blow, stop).map_err(run_failed)?;
    crate::print_line(&if load.json { json(&report) } else { failover_table(&report) })?;
    if !report.recovered {
        return Err(Failure::new(Code::RunFailed, "writes did not go on")
            .found(format!("nothing acknowledged for {} ms at the end", report.outage_ms)));
    }
    judge(&report.run)
}

impl Load {
    fn plan(&self, read_pct: u8) -> Result<Plan, Failure> {
        if self.value_bytes < VALUE_BYTES_MIN || self.value_bytes > quorate::limits::NODE_DATA_BYTES_MAX {
            return Err(Failure::new(Code::Usage, format!("--value-bytes {} cannot be", self.value_bytes))
                .needed(format!("{VALUE_BYTES_MIN} to {}", quorate::limits::NODE_DATA_BYTES_MAX))
                .why("each value carries its key and number, by which answers are verified"));
        }
        let place: Place = self.target.text().parse().map_err(|error| failed(&error))?;
        let mut secret = [0; 16];
        let mut token = [0; 8];
        getrandom::fill(&mut secret).and_then(|()| getrandom::fill(&mut token)).map_err(|error| {
            Failure::new(Code::RunFailed, "the kernel gives no random numbers").found(error.to_string())
        })?;
        let own_prefix = || format!("/quorate-bench-{}", std::process::id());
        let prefix = self.prefix.clone().unwrap_or_else(own_prefix);
        if !prefix.starts_with('/') || prefix.len() < 2 || prefix.ends_with('/') {
            return Err(Failure::new(Code::Usage, format!("--prefix {prefix} cannot be")).needed("a path, like /load"));
        }
        let settings = Settings {
            endpoints: place.endpoints.clone(),
            cell: self.target.cell.or(place.cell),
            name: format!("quorate-bench-{}", std::process::id()),
            prefer: self.prefer,
            session_timeout: place.session_timeout.unwrap_or(Duration::from_secs(12)).into(),
            grace: Duration::from_secs(45).into(),
            open_timeout: self.target.timeout.into(),
            connect_timeout: Duration::from_secs(1).into(),
            patience: Duration::from_millis(500).into(),
            backoff_min: Duration::from_millis(10).into(),
            backoff_max: Duration::from_secs(1).into(),
            calls_max: self.depth as usize,
            token: u64::from_le_bytes(token),
            secret: u128::from_le_bytes(secret),
            seed: self.seed,
        };
        Ok(Plan {
            settings,
            connections: self.connections as usize,
            depth: self.depth as usize,
            read_pct,
            consistency: if self.stale { Consistency::Stale } else { Consistency::Linearizable },
            value_bytes: self.value_bytes,
            keys: self.keys,
            prefix: format!("{}{prefix}", place.chroot),
            warmup: Duration::from_secs_f64(self.warmup).into(),
            measure: Duration::from_secs_f64(self.seconds).into(),
            pids: self.pids.clone(),
            keep: self.keep,
            seed: self.seed,
        })
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = span(text)?.as_secs_f64();
    if seconds <= 86_400.0 { Ok(seconds) } else { Err("a day is the longest".into()) }
}

fn prefer(text: &str) -> Result<Prefer, String> {
    match text {
        "any" => Ok(Prefer::Any),
        "leader" => Ok(Prefer::Leader),
        _ => Err("it is `any` or `leader`".into()),
    }
}

fn run_failed(error: RunError) -> Failure {
    match error {
        RunError::Prepare(error) => failed(&error),
        RunError::AllOver(_) => Failure::new(Code::Unavailable, error.to_string()).fix("see `quorate status`"),
        other => Failure::new(Code::RunFailed, other.to_string()),
    }
}

/// A run that saw a wrong answer is no success, whatever its figures.
fn judge(report: &Report) -> Result<(), Failure> {
    if report.wrong_answers == 0 {
        return match &report.unverified {
            None => Ok(()),
            Some(why) => Err(Failure::new(Code::RunFailed, "the keys could not be verified at the end").found(why)),
        };
    }
    Err(Failure::new(Code::WrongAnswer, format!("{} answers cannot be true", report.wrong_answers))
        .found(report.wrong.join("\n"))
        .why("a cell that gives one has lost or doubled a write, or served an old one")
        .fix("keep the replicas' folders and logs, and report it"))
}

fn json(report: &impl serde::Serialize) -> String {
    serde_json::to_string(report).expect("a report is numbers, texts and lists")
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "{} {} x {} outstanding, {} B values, {} keys, {}% reads ({}), {} s{}\n{} operations/s",
        report.workload,
        report.connections,
        report.depth,
        report.value_bytes,
        report.keys,
        report.read_pct,
        report.consistency,
        report.seconds,
        if report.interrupted { ", interrupted" } else { "" },
        report.ops_per_s,
    );
    text += "\n          count       per s     p50 us     p90 us     p99 us   p99.9 us     max us";
    for (name, latencies) in [("reads", &report.reads), ("writes", &report.writes)] {
        text += &latencies.as_ref().map(|latencies| row(name, latencies)).unwrap_or_default();
    }
    text += &format!(
        "\nerrors {}, wrong answers {}, reconnects {}",
        report.errors, report.wrong_answers, report.reconnects
    );
    if let Some(first) = &report.first_error {
        text += &format!("\nfirst trouble: {first}");
    }
    text + &costs(&report.cost)
}

fn row(name: &str, of: &Latencies) -> String {
    format!(
        "\n{name:<7}{:>8} {:>11.0} {:>10.0} {:>10.0} {:>10.0} {:>10.0} {:>10.0}",
        of.count, of.per_s, of.p50_us, of.p90_us, of.p99_us, of.p999_us, of.max_us
    )
}

fn costs(cost: &Cost) -> String {
    let mut text = format!("\nCPU: client {} s", cost.client_cpu_s);
    if !cost.servers_cpu_s.is_empty() {
        text += &format!(", servers {:?} s; resident {:?} MiB", cost.servers_cpu_s, cost.servers_rss_mib);
    }
    text
}

fn failover_table(report: &FailoverReport) -> String {
    format!(
        "outage {} ms, signal to next acknowledged write {} ms, writes/s {} before and {} after\n{}",
        report.outage_ms,
        report.kill_to_first_new_ack_ms,
        report.rate_before,
        report.rate_after_1s,
        table(&report.run)
    )
}
