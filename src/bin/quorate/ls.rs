//! `quorate ls`: lists a node's children.

use std::time::Duration;

use quorate::client::Client;
use quorate::server::Failure;

use super::connect::{Target, failed};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate ls\n  quorate ls /app")]
pub struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct What {
    /// The node's path
    #[arg(default_value = "/")]
    path: String,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Prints one name a line, in byte order.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let (names, _) = client.list(&what.path).wait_timeout(timeout).map_err(|error| failed(&error))?;
    let mut text = names.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    crate::print(text.as_bytes())
}
