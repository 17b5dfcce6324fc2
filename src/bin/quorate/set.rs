//! `quorate set`: replaces a node's data.

use std::time::Duration;

use quorate::client::{Client, Error, Expect, Sequencer};
use quorate::server::Failure;

use super::connect::{Target, change_failed};
use super::input::NewData;
use super::output;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate set /app/config '{\"colour\": \"green\"}'\n  quorate set /app/config - < config.json\n  quorate set --version 3 /app/config new\n  quorate lock /app -- sh -c 'quorate set --under \"$QUORATE_LOCK_SEQUENCER\" /app/state busy'"
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
    data: NewData,
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

/// Prints the node's new version.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let expect = what.version.map_or(Expect::Any, Expect::Version);
    let data = what.data.read()?;
    let set = match &what.under {
        Some(lock) => client.guarded_by(lock).map_err(|error| change_failed(&error))?.set(&what.path, data, expect),
        None => client.set(&what.path, data, expect),
    };
    let stat = set.wait_timeout(timeout).map_err(|error| match &error {
        Error::NoNode { .. } => change_failed(&error).fix("`quorate create` makes a node"),
        error => change_failed(error),
    });
    let version = stat?.version;
    output::show(|| format!("version {version}"), || output::version(&what.path, version))
}
