//! `quorate get`: prints a node's data.

use std::time::Duration;

use quorate::client::{Client, Consistency};
use quorate::server::Failure;

use super::connect::{Target, failed};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate get /app/config\n  quorate get --raw /app/config > config.json\n  quorate get --stale /app/config"
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
    /// Print the data as it is, without a line's end after it
    #[arg(long)]
    raw: bool,
    /// Take what the replica at hand has, which may be old. The session to ask in still takes a majority
    #[arg(long)]
    stale: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Prints the data, and a line's end.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let consistency = if what.stale { Consistency::Stale } else { Consistency::Linearizable };
    let (data, _) = client.get_as(&what.path, consistency).wait_timeout(timeout).map_err(|error| failed(&error))?;
    crate::print(&data)?;
    if what.raw { Ok(()) } else { crate::print(b"\n") }
}
