//! `quorate scan`: lists a node and all below it.

use std::time::Duration;

use quorate::client::{Client, Consistency, ScanOptions, Scanned};
use quorate::server::Failure;
use serde_json::Value;

use super::connect::{Target, failed};
use super::freshness::Freshness;
use super::ls::Form;
use super::output::{self, Rows};
use super::stat;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate scan\n  quorate scan -l /app\n  quorate scan --data /app/config\n  quorate scan --limit 1000 --after /app/jobs/job-0000000041 /app\n  quorate scan --json --data /app | jq -r .path\n  quorate scan --stale /app"
)]
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
    /// Each node's data after its path, on one line
    #[arg(long)]
    data: bool,
    /// Only nodes that follow the one of this path
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    after: String,
    /// At most so many, and a word to standard error if more follow
    #[arg(long, value_name = "COUNT")]
    limit: Option<u32>,
    #[command(flatten)]
    freshness: Freshness,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Prints one node a line, each before its children, children in byte order of their names.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let (mut after, mut left, rows) = (what.after.clone(), what.limit, Rows::default());
    let options = ScanOptions::new().consistency(what.freshness.consistency());
    let mut options = if what.data { options.with_data() } else { options };
    while left != Some(0) {
        options = options.page(left.unwrap_or(0));
        let page =
            client.scan_page(&what.path, &after, options).wait_timeout(timeout).map_err(|error| failed(&error))?;
        for node in &page.nodes {
            if !rows.add(|| line(what, node).into_bytes(), || row(what, node))? {
                return Ok(());
            }
        }
        left = left.map(|left| left - u32::try_from(page.nodes.len()).expect("a page is no longer than asked for"));
        let Some(last) = page.nodes.into_iter().last().filter(|_| page.more) else { return Ok(()) };
        after = last.path;
        options = options.consistency(Consistency::AtLeast(page.revision));
    }
    if what.limit != Some(0) {
        crate::tell(format_args!("more follow: quorate scan --after {after:?} {:?} goes on", what.path));
    }
    Ok(())
}

fn line(what: &What, node: &Scanned) -> String {
    let line = what.form.line(&node.path, &node.stat);
    match &node.data {
        Some(data) => format!("{line} {}", crate::one_line(data)),
        None => line,
    }
}

fn row(what: &What, node: &Scanned) -> Value {
    let mut row = stat::numbers(&node.stat);
    row["path"] = node.path.as_str().into();
    if let Some(data) = node.data.as_ref().filter(|_| what.data) {
        let (name, value) = output::data(data);
        row[name] = value;
    }
    row
}
