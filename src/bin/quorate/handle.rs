//! `quorate handle`: uses a handle that somebody else opened.

use std::time::Duration;

use quorate::client::{Client, Error, Expect, HandleEvent, HandleLost, HandleToken, WatchOptions};
use quorate::server::{Code, Failure};
use serde_json::{Value, json};

use super::connect::{Target, change_failed, failed};
use super::create::Birth;
use super::input::{Data, NewData};
use super::ls::Form;
use super::output::Rows;
use super::watch::Line;
use super::{get, output, stat};

#[derive(clap::Subcommand)]
#[command(
    after_help = "Examples:\n  quorate open /app/config -- sh -c 'quorate handle get \"$QUORATE_HANDLE\"'\n  quorate handle set \"$QUORATE_HANDLE\" ready\n\nA handle is what `quorate open` gives to its program, and good for as long as that runs."
)]
pub enum Args {
    /// Prints the stat of the node that it has open, if it is good still
    #[command(after_help = "Example:\n  quorate handle check \"$QUORATE_HANDLE\"")]
    Check(Check),
    /// Prints the data of the node that it has open, and a line's end
    #[command(after_help = "Example:\n  quorate handle get \"$QUORATE_HANDLE\"")]
    Get(Which),
    /// Replaces the data of the node that it has open
    #[command(after_help = "Example:\n  quorate handle set \"$QUORATE_HANDLE\" ready")]
    Set(Set),
    /// Lists the names of the children of the node that it has open
    #[command(after_help = "Example:\n  quorate handle ls -l \"$QUORATE_HANDLE\"")]
    Ls(Ls),
    /// Makes a node below the one that it has open
    #[command(after_help = "Example:\n  quorate handle create --sequential \"$QUORATE_HANDLE\" job- waiting")]
    Create(Create),
    /// Removes the node that it has open, which has no children
    #[command(after_help = "Example:\n  quorate handle delete --version 3 \"$QUORATE_HANDLE\"")]
    Delete(Delete),
    /// Prints what happens to the node that it has open, one event a line, until the handle is good for nothing more
    #[command(
        after_help = "Example:\n  quorate handle watch \"$QUORATE_HANDLE\"\n\nIt prints what `quorate watch` does, from the moment on in which the node was opened; `failover REPLICA` when another replica leads, through which nothing is lost; and at the end `invalid gone` when the node is gone, the handle was closed, or the session that opened it is over (the latter two are noticed within half a minute). When the session of this command is lost, it fails: the handle may still be good."
    )]
    Watch(Watch),
}

#[derive(clap::Args)]
pub struct Watch {
    /// End after so many lines
    #[arg(long, short = 'n')]
    count: Option<u64>,
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args)]
pub struct Which {
    /// The handle, as `quorate open` gave it to its program
    handle: HandleToken,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct Check {
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args)]
pub struct Set {
    /// The handle, as `quorate open` gave it to its program
    handle: HandleToken,
    #[command(flatten)]
    data: NewData,
    /// Only if the node has this version
    #[arg(long)]
    version: Option<u64>,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct Ls {
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args)]
pub struct Create {
    /// The handle, as `quorate open` gave it to its program
    handle: HandleToken,
    /// The new node's name
    name: String,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    birth: Birth,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct Delete {
    /// Only if the node has this version
    #[arg(long)]
    version: Option<u64>,
    #[command(flatten)]
    which: Which,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Check(Check { which: Which { handle, target } }) => target.with_client(|client, timeout| {
            let found = client.handle(handle.clone()).stat().wait_timeout(timeout).map_err(|error| failed(&error))?;
            stat::show(&handle.path, &found)
        }),
        Args::Get(Which { handle, target }) => target.with_client(|client, timeout| {
            let got = client.handle(handle.clone()).get().wait_timeout(timeout);
            let (data, stat) = got.map_err(|error| failed(&error))?;
            get::show(&handle.path, &data, &stat, false)
        }),
        Args::Set(Set { handle, data, version, target }) => {
            let data = data.read()?;
            target.with_client(|client, timeout| {
                let set = client.handle(handle.clone()).set(data, expected(*version)).wait_timeout(timeout);
                let version = set.map_err(|error| change_failed(&error))?.version;
                output::show(|| format!("version {version}"), || output::version(&handle.path, version))
            })
        }
        Args::Ls(Ls { form, which: Which { handle, target } }) => {
            target.with_client(|client, timeout| ls(client, handle, form, timeout))
        }
        Args::Create(args) => create(args),
        Args::Watch(Watch { count, which: Which { handle, target } }) => {
            target.with_client(|client, timeout| watch(client, handle, *count, timeout))
        }
        Args::Delete(Delete { version, which: Which { handle, target } }) => target.with_client(|client, timeout| {
            let deleted = client.handle(handle.clone()).delete(expected(*version)).wait_timeout(timeout);
            deleted.map_err(|error| change_failed(&error))?;
            output::done(|| json!({ "path": handle.path, "nodes": 1 }))
        }),
    }
}

fn expected(version: Option<u64>) -> Expect {
    version.map_or(Expect::Any, Expect::Version)
}

/// Prints one child a line, in byte order of their names.
fn ls(client: &Client, handle: &HandleToken, form: &Form, timeout: Duration) -> Result<(), Failure> {
    let (open, rows, mut after) = (client.handle(handle.clone()), form.rows(), String::new());
    loop {
        let page = open.list_page(&after, 0).wait_timeout(timeout).map_err(|error| failed(&error))?;
        let read_on = form.are_printed(&rows, page.entries.iter().map(|(name, stat)| (name.as_str(), stat)))?;
        let Some((last, _)) = page.entries.last().filter(|_| page.more && read_on) else { return Ok(()) };
        after.clone_from(last);
    }
}

/// Prints one event a line until the handle is good for nothing more, the count is full, or nobody reads any more.
fn watch(client: &Client, handle: &HandleToken, count: Option<u64>, timeout: Duration) -> Result<(), Failure> {
    let (open, rows, mut left) = (client.handle(handle.clone()), Rows::default(), count.unwrap_or(u64::MAX));
    // One that the cell never gave is no handle that was lost.
    if let Err(error @ Error::HandleForged { .. }) = open.stat().wait_timeout(timeout) {
        return Err(failed(&error));
    }
    let events = open.events(WatchOptions::node()).wait_timeout(timeout);
    let mut events = events.map_err(|error| failed(&error))?;
    while left > 0
        && let Some(event) = events.next().wait()
    {
        if matches!(event, HandleEvent::Invalid(HandleLost::SessionOver)) {
            return Err(Failure::new(Code::SessionLost, "the session of this command is over")
                .why("the handle may still be good")
                .fix("start it again"));
        }
        let (text, value) = told(event);
        left -= 1;
        if !rows.add(|| text.into_bytes(), || value)? {
            break;
        }
    }
    Ok(())
}

/// An event as a line, and as JSON.
fn told(event: HandleEvent) -> (String, Value) {
    match event {
        HandleEvent::Node(event) => {
            let line = Line::of(*event);
            (line.text(), line.value())
        }
        HandleEvent::Failover { leader } => {
            (format!("failover {leader}"), json!({ "event": "failover", "leader": leader.0 }))
        }
        HandleEvent::Invalid(why) => {
            let why = match why {
                HandleLost::Gone => "gone",
                HandleLost::SessionOver => "session-over",
                HandleLost::Poisoned => "poisoned",
                // A newer library may know more.
                _ => "lost",
            };
            (format!("invalid {why}"), json!({ "event": "invalid", "why": why }))
        }
        // A newer library may know more.
        _ => ("other".to_owned(), json!({ "event": "other" })),
    }
}

/// Prints the path of the node made.
fn create(Create { handle, name, data, birth, target }: &Create) -> Result<(), Failure> {
    birth.check(target)?;
    let data = data.read()?;
    target.with_client(|client, timeout| {
        let made = client.handle(handle.clone()).create(name, data, birth.options()).wait_timeout(timeout);
        let made = made.map_err(|error| change_failed(&error))?;
        output::show(|| made.path.clone(), || output::version(&made.path, made.stat.version))
    })
}
