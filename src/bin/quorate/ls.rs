//! `quorate ls`: lists a node's children.

use std::time::Duration;

use quorate::client::{Client, Consistency, Stat};
use quorate::server::Failure;

use super::connect::{Target, failed};
use super::freshness::Freshness;
use super::output::Rows;
use super::stat;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate ls\n  quorate ls -l /app\n  quorate ls --limit 100 --after job-0000000041 /app/jobs\n  quorate ls --stale /app"
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
    #[arg(default_value = "/")]
    path: String,
    #[command(flatten)]
    form: Form,
    /// Only names that follow this one
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    after: String,
    /// At most so many, and a word to standard error if more follow
    #[arg(long, value_name = "COUNT")]
    limit: Option<u32>,
    #[command(flatten)]
    freshness: Freshness,
}

/// How a node is printed.
#[derive(clap::Args)]
pub struct Form {
    /// Each node's numbers before its name: version, bytes of data, children, revision that last changed its data, owner
    #[arg(long, short, conflicts_with = "json")]
    long: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Prints one child a line, in byte order of their names.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let (mut after, mut left) = (what.after.clone(), what.limit);
    let (mut consistency, rows) = (what.freshness.consistency(), what.form.rows());
    while left != Some(0) {
        let page = client.list_page(&what.path, &after, left.unwrap_or(0), consistency).wait_timeout(timeout);
        let page = page.map_err(|error| failed(&error))?;
        if !what.form.are_printed(&rows, page.entries.iter().map(|(name, stat)| (name.as_str(), stat)))? {
            return Ok(());
        }
        let Some((last, _)) = page.entries.last().filter(|_| page.more) else { return Ok(()) };
        after.clone_from(last);
        consistency = Consistency::AtLeast(page.revision);
        left = left.map(|left| left - u32::try_from(page.entries.len()).expect("a page is no longer than asked for"));
    }
    if what.limit != Some(0) {
        crate::tell(format_args!("more follow: quorate ls --after {after:?} {:?} goes on", what.path));
    }
    Ok(())
}

impl Form {
    /// Nodes that are printed so.
    pub fn rows(&self) -> Rows {
        Rows::default()
    }

    /// Prints nodes, each by its name or path; whether anybody reads on.
    pub fn are_printed<'a>(
        &self,
        rows: &Rows,
        nodes: impl Iterator<Item = (&'a str, &'a Stat)>,
    ) -> Result<bool, Failure> {
        for (name, stat) in nodes {
            let row = || {
                let mut row = stat::numbers(stat);
                row["name"] = name.into();
                row
            };
            if !rows.add(|| self.line(name, stat).into_bytes(), row)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A node's line, by its name or path.
    pub fn line(&self, name: &str, stat: &Stat) -> String {
        if !self.long {
            return name.to_owned();
        }
        let Stat { version, data_bytes, children, modified, .. } = stat;
        let owner = stat.owner.map_or_else(|| "-".to_owned(), |owner| owner.to_string());
        format!("{version:>8} {data_bytes:>8} {children:>8} {modified:>10} {owner:>16} {name}")
    }
}
