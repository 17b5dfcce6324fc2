//! `quorate holders`: who holds a lock, and how many wait for it.

use std::time::Duration;

use quorate::client::{Client, LockHolders, LockMode, Sequencer};
use quorate::server::Failure;
use serde_json::{Value, json};

use super::connect::{Target, failed};
use super::output;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate holders /app/backup\n  quorate holders --json /app/backup\n  \
                        quorate holders --check \"$SEQUENCER\" && serve\n\nIt prints `MODE \
                        TOKEN HOLDERS WAITING`: MODE is exclusive, shared or free, TOKEN the holder's number (rising with each \
                        holder; 0 if it is free), then how many sessions hold it and how many wait; with --check `held`, or `lost` and \
                        ends with status 1.")]
pub struct Args {
    /// The path of the node whose lock it is
    #[arg(required_unless_present = "check")]
    path: Option<String>,
    /// Tell instead whether a lock is still held as this says, which its holder showed: its $QUORATE_LOCK_SEQUENCER
    #[arg(long, value_name = "SEQUENCER", conflicts_with = "path")]
    check: Option<Sequencer>,
    #[command(flatten)]
    target: Target,
}

/// Gives the exit status: 1 if the lock asked about is not held so.
pub fn run(args: &Args) -> Result<u8, Failure> {
    args.target.with_client(|client, timeout| match (&args.check, &args.path) {
        (Some(sequencer), _) => check(client, sequencer, timeout),
        (None, path) => {
            let path = path.as_deref().expect("one of the two is demanded");
            let held = client.lock_holders(path).wait_timeout(timeout).map_err(|error| failed(&error))?;
            output::show(|| line(&held), || object(path, &held)).map(|()| 0)
        }
    })
}

/// Whether the lock is held as its holder said; the exit status.
fn check(client: &Client, sequencer: &Sequencer, timeout: Duration) -> Result<u8, Failure> {
    let held = client.check_sequencer(sequencer).wait_timeout(timeout).map_err(|error| failed(&error))?;
    let told = || json!({ "path": sequencer.path, "token": sequencer.generation, "held": held });
    output::show(|| if held { "held" } else { "lost" }.to_owned(), told)?;
    Ok(u8::from(!held))
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
