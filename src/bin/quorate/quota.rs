//! `quorate quota`: bounds of what a node and all below it may come to.

use quorate::client::{Quota, QuotaBounds, Sequencer};
use quorate::server::config::Size;
use quorate::server::{Code, Failure};
use serde_json::json;

use super::connect::{Target, change_failed, failed, guarded};
use super::output;

#[derive(clap::Subcommand)]
#[command(
    after_help = "Examples:\n  quorate quota set --nodes 10000 --bytes 64MiB /app\n  quorate quota get /app\n  quorate quota rm /app"
)]
pub enum Args {
    /// Sets a node's quota, in the place of the one it has
    Set(Set),
    /// Prints a node's quota, and what the node and all below it come to
    Get(Get),
    /// Takes a node's quota away
    Rm(Rm),
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate quota set --nodes 10000 --bytes 64MiB /app\n  quorate quota set --soft-nodes 8000 --nodes 10000 /app"
)]
pub struct Set {
    /// The path of the topmost node
    path: String,
    #[command(flatten)]
    bounds: Bounds,
    /// Only while that lock is held so: $QUORATE_LOCK_SEQUENCER of a program of `quorate lock` or `elect`
    #[arg(long, value_name = "SEQUENCER")]
    under: Option<Sequencer>,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Bounds {
    /// So many nodes at most, the topmost among them
    #[arg(long, value_name = "COUNT")]
    nodes: Option<u64>,
    /// So many bytes of data at most, like 64MiB
    #[arg(long, value_name = "SIZE")]
    bytes: Option<Size>,
    /// Tell those who watch when there are more nodes than this
    #[arg(long, value_name = "COUNT")]
    soft_nodes: Option<u64>,
    /// Tell those who watch when there are more bytes of data than this
    #[arg(long, value_name = "SIZE")]
    soft_bytes: Option<Size>,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate quota get /app\n  quorate quota get --json /app")]
pub struct Get {
    /// The path of the topmost node
    path: String,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate quota rm /app")]
pub struct Rm {
    /// The path of the topmost node
    path: String,
    /// Only while that lock is held so: $QUORATE_LOCK_SEQUENCER of a program of `quorate lock` or `elect`
    #[arg(long, value_name = "SEQUENCER")]
    under: Option<Sequencer>,
    #[command(flatten)]
    target: Target,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Set(args) => set(args),
        Args::Get(args) => get(args),
        Args::Rm(Rm { path, under, target }) => target.with_client(|client, timeout| {
            if client.quota(path).wait_timeout(timeout).map_err(|error| failed(&error))?.is_none() {
                return Err(none_at(path));
            }
            let removed = match under {
                Some(lock) => guarded(client, lock)?.remove_quota(path),
                None => client.remove_quota(path),
            };
            removed.wait_timeout(timeout).map_err(|error| change_failed(&error))?;
            output::done(|| json!({ "path": path }))
        }),
    }
}

/// Prints nothing, in the simple form.
fn set(Set { path, bounds, under, target }: &Set) -> Result<(), Failure> {
    let size = |size: Option<Size>| size.map(|Size(bytes)| bytes);
    let hard = QuotaBounds { nodes: bounds.nodes, bytes: size(bounds.bytes) };
    let soft = QuotaBounds { nodes: bounds.soft_nodes, bytes: size(bounds.soft_bytes) };
    target.with_client(|client, timeout| {
        let quota = Quota { hard, soft };
        let set = match under {
            Some(lock) => guarded(client, lock)?.set_quota(path, quota),
            None => client.set_quota(path, quota),
        };
        set.wait_timeout(timeout).map_err(|error| change_failed(&error))?;
        output::done(|| json!({ "path": path }))
    })
}

fn none_at(path: &str) -> Failure {
    Failure::new(Code::Refused, format!("no quota is set at {path}"))
        .why("a quota of a node above it, if there is one, is set there; it holds all the same")
        .fix("give the path that the quota was set at")
}

/// Prints the bounds and the usage, one a line.
fn get(Get { path, target }: &Get) -> Result<(), Failure> {
    let found = target
        .with_client(|client, timeout| client.quota(path).wait_timeout(timeout).map_err(|error| failed(&error)))?;
    let Some((Quota { hard, soft }, usage)) = found else {
        return Err(none_at(path));
    };
    let numbers = json!({
        "nodes": usage.nodes,
        "bytes": usage.bytes,
        "hard_nodes": hard.nodes,
        "hard_bytes": hard.bytes,
        "soft_nodes": soft.nodes,
        "soft_bytes": soft.bytes,
    });
    output::numbers(path, numbers)
}
