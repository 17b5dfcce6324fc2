//! `quorate stat`: prints a node's numbers.

use std::time::Duration;

use quorate::client::{Client, Error, Expiry, Stat};
use quorate::server::Failure;
use serde_json::json;

use super::connect::{Target, failed};
use super::freshness::Freshness;
use super::output;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate stat /app/config\n  quorate stat --json /app/config\n  quorate stat --stale /app/config"
)]
pub struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct What {
    /// The node's path
    path: String,
    #[command(flatten)]
    freshness: Freshness,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Prints the numbers, one a line.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let stat = client.exists_as(&what.path, what.freshness.consistency()).wait_timeout(timeout);
    let stat = stat.map_err(|error| failed(&error))?;
    let Some(stat) = stat else { return Err(failed(&Error::NoNode { path: what.path.clone() })) };
    show(&what.path, &stat)
}

/// Prints a stat.
pub fn show(path: &str, stat: &Stat) -> Result<(), Failure> {
    output::numbers(path, numbers(stat))
}

/// A node's numbers as JSON.
pub fn numbers(stat: &Stat) -> serde_json::Value {
    let mut numbers = json!({
        "version": stat.version,
        "created": stat.created,
        "modified": stat.modified,
        "created_ms": stat.created_ms,
        "modified_ms": stat.modified_ms,
        "data_bytes": stat.data_bytes,
        "checksum": stat.checksum,
        "children": stat.children,
        "children_version": stat.children_version,
        "children_modified": stat.children_modified,
        "acl_version": stat.acl_version,
        "owner": stat.owner.map(|owner| owner.to_string()),
        "container": stat.expiry == Some(Expiry::Emptied),
        "transient": stat.expiry == Some(Expiry::Closed),
        "ttl_ms": match stat.expiry {
            Some(Expiry::Idle { ttl_ms }) => Some(ttl_ms),
            Some(Expiry::Emptied | Expiry::Closed) | None => None,
        },
        "instance": stat.instance,
        "lock_generation": stat.lock_generation,
        "kind": if stat.log.is_some() { "log" } else { "file" },
    });
    if let Some(log) = stat.log {
        numbers["log_first"] = log.first.into();
        numbers["log_end"] = stat.version.into();
        numbers["log_sealed"] = log.sealed.into();
    }
    numbers
}
