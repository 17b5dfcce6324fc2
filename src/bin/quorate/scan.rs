//! `quorate scan`: lists a node and all below it.

use std::time::Duration;

use quorate::client::{Client, Consistency, ScanOptions};
use quorate::server::Failure;

use super::connect::{Target, failed};
use super::ls::Form;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate scan\n  quorate scan -l /app\n  quorate scan --json /app | jq .name")]
pub struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct What {
    /// The path of the topmost node
    #[arg(default_value = "/")]
    path: String,
    #[command(flatten)]
    form: Form,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Prints one node a line, each before its children, children in byte order of their names.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let (mut after, mut options, rows) = (String::new(), ScanOptions::new(), what.form.rows());
    loop {
        let page =
            client.scan_page(&what.path, &after, options).wait_timeout(timeout).map_err(|error| failed(&error))?;
        what.form.print(&rows, page.nodes.iter().map(|node| (node.path.as_str(), &node.stat)))?;
        let Some(last) = page.nodes.into_iter().last().filter(|_| page.more) else { return Ok(()) };
        after = last.path;
        options = options.consistency(Consistency::AtLeast(page.revision));
    }
}
