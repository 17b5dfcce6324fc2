//! `quorate delete-tree`: removes a node and all below it.

use std::time::Duration;

use quorate::client::{Client, Error, Expect, Sequencer};
use quorate::server::Failure;
use serde_json::json;

use super::connect::{Target, change_failed, guarded};
use super::output;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate delete-tree /app/old\n  quorate delete-tree --version 3 /app/old\n  \
                        quorate delete-tree --in-parts --timeout 10m /archive")]
pub struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct What {
    /// The path of the topmost node
    path: String,
    /// Only if the topmost node has this version
    #[arg(long, conflicts_with = "in_parts")]
    version: Option<u64>,
    /// However many nodes there are, some thousands at a time, the topmost last; others see the parts
    #[arg(long)]
    in_parts: bool,
    /// Only while that lock is held so: $QUORATE_LOCK_SEQUENCER of a program of `quorate lock` or `elect`
    #[arg(long, value_name = "SEQUENCER")]
    under: Option<Sequencer>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Prints how many nodes went.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let expect = what.version.map_or(Expect::Any, Expect::Version);
    let lock = what.under.as_ref().map(|lock| guarded(client, lock)).transpose()?;
    let gone = match (lock, what.in_parts) {
        (Some(lock), true) => lock.delete_tree_in_parts(&what.path),
        (Some(lock), false) => lock.delete_tree(&what.path, expect),
        (None, true) => client.delete_tree_in_parts(&what.path),
        (None, false) => client.delete_tree(&what.path, expect),
    };
    let gone = gone.wait_timeout(timeout).map_err(|error| match error {
        Error::TooLarge { .. } => change_failed(&error).fix("take it down in parts, with --in-parts"),
        error => change_failed(&error),
    })?;
    output::show(|| gone.to_string(), || json!({ "path": what.path, "nodes": gone }))
}
