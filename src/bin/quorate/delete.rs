//! `quorate delete`: removes a node.

use std::time::Duration;

use quorate::client::{Client, Expect, Sequencer};
use quorate::server::Failure;
use serde_json::json;

use super::connect::{Target, change_failed};
use super::output;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate delete /app/config\n  quorate delete --version 3 /app/config")]
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
    /// Only if the node has this version
    #[arg(long)]
    version: Option<u64>,
    /// Only while that lock is held so: $QUORATE_LOCK_SEQUENCER of a program of `quorate lock` or `elect`
    #[arg(long, value_name = "SEQUENCER")]
    under: Option<Sequencer>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Prints nothing, in the simple form.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let expect = what.version.map_or(Expect::Any, Expect::Version);
    let delete = match &what.under {
        Some(lock) => client.guarded_by(lock).map_err(|error| change_failed(&error))?.delete(&what.path, expect),
        None => client.delete(&what.path, expect),
    };
    delete.wait_timeout(timeout).map_err(|error| change_failed(&error))?;
    output::done(|| json!({ "path": what.path, "nodes": 1 }))
}
