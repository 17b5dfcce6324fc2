//! `quorate get`: prints a node's data.

use std::time::Duration;

use quorate::client::{CacheSettings, Client, Stat};
use quorate::server::Failure;

use super::connect::{Target, failed};
use super::freshness::Freshness;
use super::{output, stat};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate get /app/config\n  quorate get --raw /app/config > config.json\n  quorate get --stale /app/config\n  quorate get --at-least 4711 /app/config\n  quorate get --cached 1000000 /app/config"
)]
pub struct Args {
    #[command(flatten)]
    what: What,
    /// Read it so many times through a client that keeps answers, print it once, and say how many of the reads took no message
    #[arg(long, value_name = "TIMES", conflicts_with_all = ["stale", "at_least"])]
    cached: Option<u64>,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct What {
    /// The node's path
    path: String,
    /// Print the data as it is, without a line's end after it
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    freshness: Freshness,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(times) = args.cached {
        let settings = CacheSettings::default();
        let work = |client: &Client, timeout| keep_reading(client, &args.what, times, timeout);
        return args.target.with_caching_client(settings, work);
    }
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Reads it again and again, as a program would that needs it at every step.
fn keep_reading(client: &Client, what: &What, times: u64, timeout: Duration) -> Result<(), Failure> {
    for _ in 1..times {
        client.get(&what.path).wait_timeout(timeout).map_err(|error| failed(&error))?;
    }
    perform(client, what, timeout)?;
    let stats = client.cache_stats();
    crate::tell(format_args!(
        "{} reads: {} of what was kept, {} asked for",
        stats.hits + stats.misses,
        stats.hits,
        stats.misses
    ));
    Ok(())
}

/// Prints the data, and a line's end.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let got = client.get_as(&what.path, what.freshness.consistency()).wait_timeout(timeout);
    let (data, stat) = got.map_err(|error| failed(&error))?;
    show(&what.path, &data, &stat, what.raw)
}

/// Prints a node's data, in JSON with its numbers.
pub fn show(path: &str, data: &[u8], stat: &Stat, raw: bool) -> Result<(), Failure> {
    if output::is_json() {
        let mut node = stat::numbers(stat);
        let (name, value) = output::data(data);
        (node["path"], node[name]) = (path.into(), value);
        return crate::print_line(&node.to_string());
    }
    crate::print(data)?;
    if raw { Ok(()) } else { crate::print(b"\n") }
}
