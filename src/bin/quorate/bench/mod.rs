//! `quorate bench`: load on a cell, checked and measured.
//!
//! The load itself is [`quorate::bench`]; here points are made out of options, measured one after the other, and told.
//! What was measured is told and written whatever comes after it: an interrupted command shows what it has.
//!
//! ```text
//! mod       the commands: which points are measured, one after the other
//! load      the options all of them share, and what they mean for one point
//! special   sessions, locks and watches: loads that are not of reads and overwrites
//! crowd     processes that hold sessions and are killed
//! local     cells of this command's own, for curves over the number of replicas
//! table     results for a person
//! compare   results against results
//! capacity  what more cores may be expected to do; nothing is measured
//! ```

mod capacity;
mod compare;
mod crowd;
mod load;
mod local;
mod special;
mod table;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use quorate::bench::{self, Blow, FaultKind, Host, Results, RunError, SCHEMA, Watch, Watched};
use quorate::server::{Code, Failure};
use rustix::process::{Pid, Resource, Signal, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};

use self::load::{Freshness, Load, Servers, Shape};
use super::connect::{failed, span};

#[derive(clap::Subcommand)]
#[command(
    after_help = "Examples:\n  quorate bench mix --read-pct 50 --connections 16 --depth 4\n  quorate bench write --replicas 3 --seconds 5 --out results\n  quorate bench lock --contenders 0,100"
)]
pub enum Args {
    #[command(
        after_help = "Examples:\n  quorate bench write --connections 16 --depth 4\n  quorate bench write --replicas 3 --seconds 5 --out results"
    )]
    /// Overwrites keys
    Write(#[command(flatten)] Load),
    #[command(after_help = "Examples:\n  quorate bench read --connections 16 --depth 4 --keys 100000")]
    /// Reads keys
    Read(#[command(flatten)] Load),
    #[command(
        after_help = "Examples:\n  quorate bench mix --read-pct 50,90\n  quorate bench mix --read-pct 90 --connections 32 --depth 8 --json"
    )]
    /// Reads and overwrites keys, one share of reads after the other
    Mix {
        #[command(flatten)]
        load: Load,
        /// Reads in a hundred operations
        #[arg(long, value_delimiter = ',', default_value = "0,20,40,50,60,80,90,99,100",
              value_parser = clap::value_parser!(u8).range(0..=100))]
        read_pct: Vec<u8>,
    },
    #[command(
        after_help = "Examples:\n  quorate bench sweep --shapes 1x1,16x4,64x16\n  quorate bench sweep --rates 1000,10000 --out results"
    )]
    /// Varies what is outstanding, the size of values and the rate
    Sweep {
        #[command(flatten)]
        load: Load,
        /// Reads in a hundred operations
        #[arg(long, value_delimiter = ',', default_value = "0", value_parser = clap::value_parser!(u8).range(0..=100))]
        read_pct: Vec<u8>,
        /// Connections x depth
        #[arg(long, value_delimiter = ',', default_value = "1x1,16x1,16x4,32x8,64x16")]
        shapes: Vec<Shape>,
        /// Bytes of a value
        #[arg(long, value_delimiter = ',')]
        value_sizes: Vec<usize>,
        /// Operations a second that arrive by themselves
        #[arg(long, value_delimiter = ',')]
        rates: Vec<f64>,
    },
    #[command(after_help = "Examples:\n  quorate bench session --sessions 10000")]
    /// Opens many sessions at once, and holds them
    Session {
        #[command(flatten)]
        load: Load,
        /// How many
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        sessions: u32,
        /// Kills the processes that hold them, and measures beside writes of --connections clients when they are over
        #[arg(long)]
        die: bool,
    },
    #[command(after_help = "Examples:\n  quorate bench lock --contenders 0,100")]
    /// Takes and gives up locks, each client its own and then many the same one
    Lock {
        #[command(flatten)]
        load: Load,
        /// Clients that contend for one lock; 0: --connections clients take --depth locks of their own
        #[arg(long, value_delimiter = ',', default_value = "0,100", value_parser = clap::value_parser!(u32).range(0..=4000))]
        contenders: Vec<u32>,
    },
    #[command(after_help = "Examples:\n  quorate bench watch --watchers 1000 --with-data")]
    /// Overwrites one key, and measures until all who watch it are told
    Watch {
        #[command(flatten)]
        load: Load,
        /// Clients that watch
        #[arg(long, value_delimiter = ',', default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=50_000))]
        watchers: Vec<u32>,
        /// Events bring the value
        #[arg(long)]
        with_data: bool,
        /// Watches that are told nothing, whose cost to measure before; with --pids or --replicas
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
        idle_watches: u32,
    },
    #[command(
        after_help = "Examples:\n  quorate bench failover --kill-pid 4711\n  quorate bench failover --kill-pid 4711 --signal 19"
    )]
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
    /// Holds results against earlier ones; fails if a figure is worse
    Compare(compare::Compare),
    /// Puts the results of several commands together in one folder
    Report(compare::Merge),
    /// Tells what hosts of many cores may be expected to do; measures nothing
    Capacity(capacity::Args),
}

/// What a command has measured so far.
struct Session {
    stop: Arc<AtomicBool>,
    bar: ProgressBar,
    results: Results,
    logs: Vec<String>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let load = match args {
        Args::Write(load) | Args::Read(load) => load,
        Args::Mix { load, .. } | Args::Sweep { load, .. } => load,
        Args::Session { load, .. } | Args::Failover { load, .. } => load,
        Args::Lock { load, .. } | Args::Watch { load, .. } => load,
        Args::Compare(args) => return compare::run(args),
        Args::Report(args) => return compare::merge(args),
        Args::Capacity(args) => return capacity::run(args),
    };
    let mut session = Session::begin(load)?;
    let ended = match args {
        Args::Write(_) => session.points(load, "write", &[0], &load.one_shape()),
        Args::Read(_) => session.points(load, "read", &[100], &load.one_shape()),
        Args::Mix { read_pct, .. } => session.points(load, "mix", read_pct, &load.one_shape()),
        Args::Sweep { read_pct, shapes, value_sizes, rates, .. } => {
            session.points(load, "sweep", read_pct, &load.shapes(shapes, value_sizes, rates))
        }
        Args::Session { sessions, die: false, .. } => session.storm(load, *sessions),
        Args::Session { sessions, die: true, .. } => session.dying(load, *sessions),
        Args::Failover { kill_pid, signal, .. } => session.failover(load, *kill_pid, *signal),
        Args::Lock { contenders, .. } => session.locks(load, contenders),
        Args::Watch { watchers, with_data, idle_watches, .. } => {
            let idle = *idle_watches as usize;
            let watched = Watched { value_bytes: load.value_bytes, with_data: *with_data, idle };
            session.watches(load, watchers, watched)
        }
        Args::Compare(_) | Args::Report(_) | Args::Capacity(_) => unreachable!("these measure nothing"),
    };
    // What was measured is told and written whatever came after it.
    session.bar.finish_and_clear();
    let told = session.tell(load);
    ended.and(told).and_then(|()| session.judge(load))
}

impl Session {
    fn begin(load: &Load) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Twice the signal ends the process at once: the first arms, the second finds it armed.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
                .map_err(|error| Failure::new(Code::RunFailed, "cannot wait for signals").found(error.to_string()))?;
        }
        // Drawn on standard error, and only where that is a terminal.
        let bar = ProgressBar::new(1000);
        let style = ProgressStyle::with_template("{msg} [{bar:30}]").expect("the template is a constant");
        bar.set_style(style.progress_chars("=> "));
        let results = Results {
            schema: SCHEMA,
            commands: vec![
                std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "),
            ],
            started: wall_s(),
            program: bench::program(),
            host: Host::here(load.servers_data().as_deref()),
            single_host: load.replicas.is_some() || load.is_loopback(),
            config: load.config_text()?,
            seed: load.seed,
            ..Results::default()
        };
        Ok(Self { stop, bar, results, logs: Vec::new() })
    }

    /// Measures every point: for each number of replicas, freshness, shape and share of reads.
    fn points(&mut self, load: &Load, workload: &str, read_pct: &[u8], shapes: &[Shape]) -> Result<(), Failure> {
        let replicas: Vec<Option<u8>> = match &load.replicas {
            Some(counts) => counts.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        let total = replicas.len() * load.consistency.len() * shapes.len() * read_pct.len();
        let mut number = 0;
        for count in replicas {
            let servers = self.servers(load, count)?;
            for freshness in &load.consistency {
                for (shape, read_pct) in shapes.iter().flat_map(|shape| read_pct.iter().map(move |pct| (shape, *pct))) {
                    number += 1;
                    let name = format!("{number}/{total} {workload} {shape} {read_pct}% reads");
                    if !self.point(load, &servers, *freshness, shape, (workload, read_pct), &name)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Measures one point. True if there is time for the next.
    fn point(
        &mut self,
        load: &Load,
        servers: &Servers,
        freshness: Freshness,
        shape: &Shape,
        (workload, read_pct): (&str, u8),
        name: &str,
    ) -> Result<bool, Failure> {
        let plan = load.plan(servers, freshness, shape, workload, read_pct)?;
        let mut system = load.system(servers, freshness, shape)?;
        let bar = self.bar.clone();
        let mut progress = |progress: &bench::Progress| {
            bar.set_position((progress.share * 1000.0) as u64);
            bar.set_message(format!("{name}: {}, {} done", progress.phase, progress.operations));
        };
        let mut watch = Watch { stop: &self.stop, progress: &mut progress };
        match bench::run(&plan, &mut *system, &mut watch, wall_s()) {
            Ok((report, log)) => {
                let go_on = !report.interrupted;
                self.results.points.push(report);
                self.logs.push(log);
                Ok(go_on)
            }
            Err(RunError::Interrupted) if !self.results.points.is_empty() => Ok(false),
            Err(error) => Err(run_failed(error)),
        }
    }

    fn failover(&mut self, load: &Load, pid: i32, signal: i32) -> Result<(), Failure> {
        let usage = |what: String| Failure::new(Code::Usage, what);
        let linearizable = load.consistency[..] == [Freshness::Linearizable];
        let unfit =
            [("--replicas", load.replicas.is_some()), ("--repeat", load.repeat != 1), ("--consistency", !linearizable)];
        if let Some((option, _)) = unfit.into_iter().find(|(_, is_given)| *is_given) {
            return Err(usage(format!("{option} says nothing to a fail-over"))
                .why("one process of a cell that runs is signalled once, under writes")
                .fix(format!("leave {option} out")));
        }
        let blow = Blow {
            pid: Pid::from_raw(pid).filter(|_| pid > 1).ok_or_else(|| usage(format!("{pid} is no process")))?,
            signal: Signal::from_named_raw(signal).ok_or_else(|| usage(format!("{signal} is no signal")))?,
            before: Duration::from_secs_f64(load.warmup).into(),
            after: Duration::from_secs_f64(load.seconds).into(),
        };
        let servers = self.servers(load, None)?;
        let (shape, freshness) = (load.one_shape()[0], Freshness::Linearizable);
        let plan = load.plan(&servers, freshness, &shape, "failover", 0)?;
        let mut system = load.system(&servers, freshness, &shape)?;
        let bar = self.bar.clone();
        let mut progress = |progress: &bench::Progress| {
            bar.set_position((progress.share * 1000.0) as u64);
            bar.set_message(format!("fail-over: {}, {} done", progress.phase, progress.operations));
        };
        let mut watch = Watch { stop: &self.stop, progress: &mut progress };
        let report = bench::failover(&plan, &blow, &mut *system, &mut watch).map_err(run_failed)?;
        self.results.failovers.push(report);
        Ok(())
    }

    /// The cell to be measured: the one named, or one of this command's own.
    fn servers(&mut self, load: &Load, replicas: Option<u8>) -> Result<Servers, Failure> {
        let Some(count) = replicas else { return load.servers() };
        self.bar.set_message(format!("starting {count} replicas"));
        let servers = local::start(count, load.data.as_deref())?;
        self.results.configs.insert(count, servers.config.clone());
        self.results.host = Host::here(servers.folder());
        Ok(servers)
    }

    fn tell(&self, load: &Load) -> Result<(), Failure> {
        let results = &self.results;
        let special = results.sessions.is_empty() && results.dyings.is_empty();
        let special = special && results.locks.is_empty() && results.watches.is_empty();
        if results.points.is_empty() && results.failovers.is_empty() && special {
            return Ok(());
        }
        if let Some(folder) = &load.out {
            results.write(folder, &self.logs).map_err(compare::unusable)?;
        }
        let text = if crate::output::is_json() { json_of(results) } else { table::of(results) };
        crate::print_line(&text)
    }

    /// A run that saw a wrong answer is no success, whatever its figures, nor is one that lost much of what it asked.
    fn judge(&self, load: &Load) -> Result<(), Failure> {
        let faults = bench::faults(&self.results, load.errors_max);
        let Some(worst) = faults.first() else { return Ok(()) };
        let more = if faults.len() > 1 { format!("\nand {} more", faults.len() - 1) } else { String::new() };
        let failure = |code| Failure::new(code, worst.what.clone()).found(format!("{}{more}", worst.found));
        Err(match worst.kind {
            FaultKind::Wrong => failure(Code::WrongAnswer)
                .why("a cell that gives one has lost or doubled a write, served an old one, or let two hold one lock")
                .fix("keep the replicas' folders and logs, and report it"),
            FaultKind::Failed => failure(Code::RunFailed),
            FaultKind::Invalid => {
                failure(Code::RunFailed).fix("ask for a lower --rate, or give it more --connections and --depth")
            }
        })
    }
}

/// The figures of a single point stand at the top as well: whoever measured one thing need not look into a list.
fn json_of(results: &Results) -> String {
    let mut all = serde_json::to_value(results).expect("results are numbers, texts and lists");
    if let ([point], Some(fields)) = (&results.points[..], all.as_object_mut())
        && let Ok(serde_json::Value::Object(figures)) = serde_json::to_value(point)
    {
        for (name, figure) in figures {
            fields.entry(name).or_insert(figure);
        }
    }
    json(&all)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("results are numbers, texts and lists")
}

fn run_failed(error: RunError) -> Failure {
    match error {
        RunError::Prepare(_) | RunError::Errand(_) | RunError::AllOver(_) => {
            Failure::new(Code::Unavailable, error.to_string()).fix("see `quorate status`")
        }
        other => Failure::new(Code::RunFailed, other.to_string()),
    }
}

/// Each connection is an open file.
fn allow_files(needed: u64) -> Result<(), Failure> {
    let allowed = files_allowed(needed);
    if allowed < needed {
        return Err(Failure::new(Code::HostLimit, "too few open files are allowed for so many connections")
            .found(allowed.to_string())
            .needed(needed.to_string())
            .fix("ulimit -Hn 200000, as root"));
    }
    Ok(())
}

/// How many files this process may open, once it has asked for so many.
fn files_allowed(wanted: u64) -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = limit.maximum.map_or(Some(wanted), |maximum| Some(wanted.min(maximum)));
        // Refused, the limit is what it was.
        let _refused = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Open files that are no connections of clients.
const FILES_OF_ITS_OWN: u64 = 64;

#[expect(clippy::disallowed_methods, reason = "results say when they were taken")]
fn wall_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
