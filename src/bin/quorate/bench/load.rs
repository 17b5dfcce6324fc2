//! The options all loads share, and what they mean for one point.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use quorate::bench::{CHORES_UNDER_WAY, ERRORS_PCT_MAX, Fleet, Plan, Point, System, VALUE_BYTES_MIN};
use quorate::client::machine::{Prefer, Settings};
use quorate::client::{Consistency, Target as Place};
use quorate::server::{Code, Failure};

use super::{failed, span};
use crate::cell::Cell;
use crate::connect::Target;

#[derive(clap::Args)]
pub struct Load {
    /// Clients, each with its connection and session; they go round the endpoints
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Operations each keeps under way, with --rate: at most
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub depth: u32,
    /// Operations a second that arrive by themselves; latency counts from then [default: the next follows the answer]
    #[arg(long)]
    pub rate: Option<f64>,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024)]
    pub value_bytes: usize,
    /// Keys, each equally likely
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,
    /// How long to measure, each time
    #[arg(long, default_value_t = 10.0, value_parser = measured_seconds)]
    pub seconds: f64,
    /// How long to load before that
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub warmup: f64,
    /// How often to measure
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Fail if more of the operations come to nothing, in percent; of fail-overs none are counted
    #[arg(long, default_value_t = ERRORS_PCT_MAX, value_name = "PERCENT", value_parser = percent)]
    pub errors_max: f64,
    /// Whom to connect to: any replica, the leader, or a follower
    #[arg(long, default_value = "any", value_parser = prefer)]
    pub prefer: Prefer,
    /// How fresh reads must be; `stale` are as the replica at hand has them
    #[arg(long, value_enum, value_delimiter = ',', default_value = "linearizable")]
    pub consistency: Vec<Freshness>,
    /// Measure fresh cells of so many replicas on this host, one after the other [default: the cell at --endpoints]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=13))]
    pub replicas: Option<Vec<u8>>,
    /// Servers whose CPU time and memory to report
    #[arg(long, value_delimiter = ',')]
    pub pids: Vec<u32>,
    /// Where in the tree the keys go; runs at the same time need different places [default: one of this run's own]
    #[arg(long)]
    pub prefix: Option<String>,
    /// Leave the keys in the cell
    #[arg(long)]
    pub keep: bool,
    /// The seed of all random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write result.json, points.csv, histogram logs, plots and report.html into this folder
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Where the servers keep their data, so that the disk can be named [default: the folder of the `quorate dev` that is
    /// measured]; cells of --replicas are put there, and left there
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The cell's configuration, to be kept with the results [default: cell.toml in --data]
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Which system answers at --endpoints
    #[cfg(feature = "peers")]
    #[arg(long, value_enum, default_value = "quorate")]
    pub system: Other,
    #[command(flatten)]
    pub target: Target,
}

/// How fresh reads must be.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Freshness {
    Linearizable,
    Stale,
}

/// Whom the same load can be put on.
#[cfg(feature = "peers")]
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Other {
    Quorate,
    Zookeeper,
    Etcd,
}

/// How much is outstanding, of what size, and how often it arrives.
#[derive(Clone, Copy, PartialEq)]
pub struct Shape {
    pub connections: usize,
    pub depth: usize,
    pub value_bytes: usize,
    pub rate: Option<f64>,
}

/// Who is measured.
pub struct Servers {
    pub endpoints: String,
    pub pids: Vec<u32>,
    pub replicas: Option<u8>,
    pub config: String,
    /// Ends with the measuring.
    pub cell: Option<Cell>,
}

impl Servers {
    /// Where they keep their data, if they are this command's own.
    pub fn folder(&self) -> Option<&Path> {
        self.cell.as_ref().map(Cell::dir)
    }
}

impl Freshness {
    pub fn asked(self) -> Consistency {
        match self {
            Self::Linearizable => Consistency::Linearizable,
            Self::Stale => Consistency::Stale,
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    /// Connections x depth; the rest is the load's.
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('x').and_then(|(c, d)| Some((c.parse().ok()?, d.parse().ok()?)));
        let (connections, depth) = parsed.ok_or("write it like 16x4")?;
        if !(1..=10_000).contains(&connections) || !(1..=4096).contains(&depth) {
            return Err("1 to 10000 connections, 1 to 4096 deep".into());
        }
        Ok(Self { connections, depth, value_bytes: 0, rate: None })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {} B", self.connections, self.depth, self.value_bytes)
    }
}

impl Load {
    pub fn one_shape(&self) -> Vec<Shape> {
        let (connections, depth) = (self.connections as usize, self.depth as usize);
        vec![Shape { connections, depth, value_bytes: self.value_bytes, rate: self.rate }]
    }

    /// Every combination; what is not varied is the load's.
    pub fn shapes(&self, shapes: &[Shape], sizes: &[usize], rates: &[f64]) -> Vec<Shape> {
        let sizes = if sizes.is_empty() { &[self.value_bytes][..] } else { sizes };
        let rates = if rates.is_empty() { vec![self.rate] } else { rates.iter().copied().map(Some).collect() };
        let mut all = Vec::new();
        for value_bytes in sizes {
            for shape in shapes {
                all.extend(rates.iter().map(|rate| Shape { value_bytes: *value_bytes, rate: *rate, ..*shape }));
            }
        }
        all
    }

    pub fn plan(
        &self,
        servers: &Servers,
        freshness: Freshness,
        shape: &Shape,
        workload: &str,
        read_pct: u8,
    ) -> Result<Plan, Failure> {
        if shape.value_bytes < VALUE_BYTES_MIN || shape.value_bytes > quorate::limits::NODE_DATA_BYTES_MAX {
            return Err(Failure::new(Code::Usage, format!("values of {} bytes cannot be", shape.value_bytes))
                .needed(format!("{VALUE_BYTES_MIN} to {}", quorate::limits::NODE_DATA_BYTES_MAX))
                .why("each value carries its key and number, by which answers are verified"));
        }
        if shape.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e7)) {
            return Err(Failure::new(
                Code::Usage,
                "a rate is a number of operations a second, above 0, at most 10 million",
            ));
        }
        let prefix = self.prefix.clone().unwrap_or_else(|| format!("/quorate-bench-{}", std::process::id()));
        if !prefix.starts_with('/') || prefix.len() < 2 || prefix.ends_with('/') {
            return Err(Failure::new(Code::Usage, format!("--prefix {prefix} cannot be")).needed("a path, like /load"));
        }
        let chroot = self.place(servers)?.chroot;
        let (system, consistency) = self.named(freshness);
        let point = Point {
            workload: workload.into(),
            system: system.into(),
            consistency: consistency.into(),
            replicas: servers.replicas,
            connections: shape.connections,
            depth: shape.depth,
            outstanding: shape.connections * shape.depth,
            rate: shape.rate,
            read_pct,
            value_bytes: shape.value_bytes,
            keys: self.keys,
        };
        Ok(Plan {
            point,
            old_allowed: freshness == Freshness::Stale || system == "zookeeper",
            prefix: format!("{chroot}{prefix}"),
            warmup: Duration::from_secs_f64(self.warmup).into(),
            measure: Duration::from_secs_f64(self.seconds).into(),
            repeats: self.repeat,
            pids: servers.pids.clone(),
            keep: self.keep,
            seed: self.seed,
        })
    }

    /// The clients of one point.
    pub fn system(&self, servers: &Servers, freshness: Freshness, shape: &Shape) -> Result<Box<dyn System>, Failure> {
        super::allow_files(shape.connections as u64 + super::FILES_OF_ITS_OWN)?;
        let unable = |error: std::io::Error| {
            Failure::new(Code::RunFailed, "the load generator cannot work here").found(error.to_string())
        };
        #[cfg(feature = "peers")]
        {
            use quorate::bench::peers::{Etcd, ZooKeeper};
            let endpoints: Vec<String> = servers.endpoints.split(',').map(str::to_owned).collect();
            let stale = freshness == Freshness::Stale;
            match self.system {
                Other::Quorate => {}
                Other::Zookeeper => {
                    let clients = ZooKeeper::new(&endpoints, shape.connections, !stale).map_err(unable)?;
                    return Ok(Box::new(clients));
                }
                Other::Etcd => {
                    return Ok(Box::new(Etcd::new(&endpoints, shape.connections, stale).map_err(unable)?));
                }
            }
        }
        let settings = self.settings(servers, shape.depth)?;
        Ok(Box::new(Fleet::new(shape.connections, &settings, freshness.asked()).map_err(unable)?))
    }

    pub fn settings(&self, servers: &Servers, depth: usize) -> Result<Settings, Failure> {
        let place = self.place(servers)?;
        let mut secret = [0; 16];
        let mut token = [0; 8];
        getrandom::fill(&mut secret).and_then(|()| getrandom::fill(&mut token)).map_err(|error| {
            Failure::new(Code::RunFailed, "the kernel gives no random numbers").found(error.to_string())
        })?;
        Ok(Settings {
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
            calls_max: depth.max(CHORES_UNDER_WAY) + 1,
            resume: None,
            token: u64::from_le_bytes(token),
            secret: u128::from_le_bytes(secret),
            seed: self.seed,
        })
    }

    /// The cell at --endpoints.
    pub fn servers(&self) -> Result<Servers, Failure> {
        let (endpoints, pids) = (self.target.text(), self.pids.clone());
        Ok(Servers { endpoints, pids, replicas: None, config: String::new(), cell: None })
    }

    pub fn is_loopback(&self) -> bool {
        let endpoints = self.target.endpoints.rsplit("://").next().unwrap_or_default();
        let hosts = endpoints.split(['?', '/']).next().unwrap_or_default();
        hosts
            .split(',')
            .all(|host| host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]"))
    }

    /// Where the servers keep their data, as far as is known.
    pub fn servers_data(&self) -> Option<PathBuf> {
        self.data.clone().or_else(|| std::env::var_os("QUORATE_DEV_DIR").map(PathBuf::from))
    }

    pub fn config_text(&self) -> Result<Option<String>, Failure> {
        let beside = self.servers_data().map(|data| data.join("cell.toml")).filter(|path| path.is_file());
        let Some(path) = self.config.clone().or(beside) else { return Ok(None) };
        let text = std::fs::read_to_string(&path);
        text.map(Some).map_err(|error| Failure::io(Code::ConfigUnreadable, "read", &path, &error))
    }

    #[cfg(feature = "peers")]
    pub fn is_quorate(&self) -> bool {
        self.system == Other::Quorate
    }

    #[cfg(not(feature = "peers"))]
    pub fn is_quorate(&self) -> bool {
        true
    }

    /// What the system and its reads are called.
    fn named(&self, freshness: Freshness) -> (&'static str, &'static str) {
        let own = match freshness {
            Freshness::Linearizable => "linearizable",
            Freshness::Stale => "stale",
        };
        #[cfg(feature = "peers")]
        match (self.system, freshness) {
            (Other::Quorate, _) => {}
            (Other::Zookeeper, Freshness::Linearizable) => return ("zookeeper", "sync and read"),
            (Other::Zookeeper, Freshness::Stale) => return ("zookeeper", "stale"),
            (Other::Etcd, Freshness::Linearizable) => return ("etcd", "linearizable"),
            (Other::Etcd, Freshness::Stale) => return ("etcd", "serializable"),
        }
        ("quorate", own)
    }

    fn place(&self, servers: &Servers) -> Result<Place, Failure> {
        servers.endpoints.parse().map_err(|error| failed(&error))
    }
}

fn measured_seconds(text: &str) -> Result<f64, String> {
    seconds(text)
        .and_then(|seconds| if seconds > 0.0 { Ok(seconds) } else { Err("in no time nothing is measured".into()) })
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = span(text)?.as_secs_f64();
    if seconds <= 86_400.0 { Ok(seconds) } else { Err("a day is the longest".into()) }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "it is a number from 0 to 100".into())
}

fn prefer(text: &str) -> Result<Prefer, String> {
    match text {
        "any" => Ok(Prefer::Any),
        "leader" => Ok(Prefer::Leader),
        "follower" => Ok(Prefer::Follower),
        _ => Err("it is `any`, `leader` or `follower`".into()),
    }
}
