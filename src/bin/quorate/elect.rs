//! `quorate elect`: runs a program while it leads, or tells who does.

use std::ffi::OsString;
use std::time::Duration;

use quorate::client::recipes::{Election, Leader};
use quorate::client::{Client, block_on, block_on_timeout};
use quorate::server::{Code, Failure};
use serde_json::{Value, json};

use super::connect::{Target, change_failed, failed, late, silent, span};
use super::lock::{self, PROMISE};
use super::output::{self, Rows};

#[derive(clap::Args)]
#[command(
    after_help = format!("Examples:\n  quorate elect /services/db -- ./serve.sh\n  quorate elect --value 10.0.0.7:5432 /services/db -- ./serve.sh\n  \
                  quorate elect --observe /services/db\n\n{PROMISE} Unlike `quorate lock`, this has no --lock-delay: after a loss that \
                  comes at once, as when this host was stopped for a while, another may lead within that half second.\n\nThe exit status is the program's own, or 7 if that is 0 and what it ran for was lost meanwhile. With --observe it prints \
                  `leader TERM VALUE` or `none`, now and whenever that changes.")
)]
pub struct Args {
    /// The election's path; made if there is none
    path: String,
    /// What all are shown while it leads [default: this host's name]
    #[arg(long)]
    value: Option<String>,
    /// How long to wait to lead; without this, as long as it takes. With 0s, not at all. Status 1 if others lead till then, and
    /// 3 if the cell does not answer
    #[arg(long, value_parser = span)]
    wait: Option<Duration>,
    /// Do not campaign: print who leads, one line a change
    #[arg(long, conflicts_with_all = ["value", "wait", "program"])]
    observe: bool,
    /// End after so many lines
    #[arg(long, short = 'n', requires = "observe")]
    count: Option<u64>,
    /// The program and its arguments. It finds QUORATE_LOCK_PATH, QUORATE_LOCK_TOKEN and QUORATE_LOCK_SEQUENCER
    /// in its environment
    #[arg(last = true, required_unless_present = "observe")]
    program: Vec<OsString>,
    #[command(flatten)]
    target: Target,
}

/// Answers with the program's own exit status.
pub fn run(args: &Args) -> Result<u8, Failure> {
    args.target.with_client(|client, timeout| {
        let election = Election::new(client, &args.path);
        if args.observe { observe(&election, args).map(|()| 0) } else { lead(client, &election, args, timeout) }
    })
}

fn lead(client: &Client, election: &Election, args: &Args, timeout: Duration) -> Result<u8, Failure> {
    let value = args.value.clone().unwrap_or_else(host);
    let others = |what: String| {
        Failure::new(Code::Refused, what).fix("wait longer, with --wait; `quorate elect --observe` tells who leads")
    };
    let leadership = match args.wait {
        None => block_on(election.campaign(value)).map_err(|error| change_failed(&error))?,
        Some(Duration::ZERO) => {
            let taken = block_on_timeout(election.try_campaign(value), timeout).ok_or_else(|| silent(timeout))?;
            taken
                .map_err(|error| change_failed(&error))?
                .ok_or_else(|| others(format!("somebody leads {}", args.path)))?
        }
        Some(patience) => block_on_timeout(election.campaign(value), patience)
            .ok_or_else(|| {
                let led = others(format!("did not come to lead {} within {patience:?}", args.path));
                late(client, timeout, led)
            })?
            .map_err(|error| change_failed(&error))?,
    };
    crate::tell(format_args!("leads {} since revision {}", args.path, leadership.term()));
    let status = lock::hold(&args.program, &args.path, (client, leadership.guard()), timeout)?;
    if client.is_safe() {
        // If it was lost, there is nothing to step down from, and no answer in time.
        let _ = block_on_timeout(leadership.resign(), timeout);
    }
    Ok(status)
}

fn observe(election: &Election, args: &Args) -> Result<(), Failure> {
    let (mut leaders, rows) = (election.observe(), Rows::default());
    for _ in 0..args.count.unwrap_or(u64::MAX) {
        let leader = block_on(leaders.next()).map_err(|error| failed(&error))?;
        if !rows.add(|| line(leader.as_ref()).into_bytes(), || object(leader.as_ref()))? {
            break;
        }
    }
    Ok(())
}

fn line(leader: Option<&Leader>) -> String {
    leader
        .map_or_else(|| "none".to_owned(), |Leader { value, term }| format!("leader {term} {}", crate::one_line(value)))
}

fn object(leader: Option<&Leader>) -> Value {
    leader.map_or_else(
        || json!({ "term": null }),
        |Leader { value, term }| {
            let (name, value) = output::data(value);
            json!({ "term": term, name: value })
        },
    )
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
