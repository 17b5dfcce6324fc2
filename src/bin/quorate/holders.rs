//! `quorate holders`: who holds a lock, and how many wait for it.

use quorate::client::{LockHolders, LockMode};
use quorate::server::Failure;
use serde_json::{Value, json};

use super::connect::{Target, failed};
use super::output;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate holders /app/backup\n  quorate holders --json /app/backup\n\nIt prints `MODE \
                        TOKEN HOLDERS WAITING`, where MODE is exclusive, shared or free."
)]
pub struct Args {
    /// The path of the node whose lock it is
    path: String,
    #[command(flatten)]
    target: Target,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| {
        let held = client.lock_holders(&args.path).wait_timeout(timeout).map_err(|error| failed(&error))?;
        output::show(|| line(&held), || object(&args.path, &held))
    })
}

fn mode(held: &LockHolders) -> &'static str {
    match held.sequencer.as_ref().map(|sequencer| sequencer.mode) {
        None => "free",
        Some(LockMode::Exclusive) => "exclusive",
        Some(LockMode::Shared) => "shared",
    }
}

fn token(held: &LockHolders) -> Option<u64> {
    held.sequencer.as_ref().map(|sequencer| sequencer.generation)
}

fn line(held: &LockHolders) -> String {
    let token = token(held).unwrap_or_default();
    format!("{} {token} {} {}", mode(held), held.sessions.len(), held.waiting)
}

fn object(path: &str, held: &LockHolders) -> Value {
    let sessions: Vec<String> = held.sessions.iter().map(ToString::to_string).collect();
    let (lost, waiting) = (held.lost, held.waiting);
    json!({ "path": path, "mode": mode(held), "token": token(held), "sessions": sessions, "lost": lost, "waiting": waiting })
}
