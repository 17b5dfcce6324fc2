//! `quorate sync`: what was done before, by anybody, is applied.

use quorate::server::Failure;
use serde_json::json;

use super::connect::{Target, failed};
use super::output;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  now=$(quorate sync)\n  quorate watch --from $now --recursive /app\n\nIt prints the revision."
)]
pub struct Args {
    #[command(flatten)]
    target: Target,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| {
        let revision = client.sync().wait_timeout(timeout).map_err(|error| failed(&error))?;
        output::show(|| revision.to_string(), || json!({ "revision": revision }))
    })
}
