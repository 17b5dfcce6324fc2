//! `quorate watch`: prints what happens to a node, or around it.

use std::time::Duration;

use bytes::Bytes;
use quorate::client::{Client, Stat, WatchEvent, WatchOptions};
use quorate::server::Failure;
use serde::Serialize;

use super::connect::{Target, failed};
use super::output::{self, Rows};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate watch /app/config\n  quorate watch --children --json /services\n  \
                        quorate watch --recursive --from 0 /app\n  quorate watch --data --json /app/config\n\n\
                        It prints `created REVISION PATH`, `changed REVISION PATH`, `deleted REVISION PATH`, \
                        `over-quota REVISION PATH` (a soft bound of its quota is passed), `wanted REVISION PATH` (with \
                        --lock: somebody waits for it), `progress REVISION` (with --progress), or `gap FROM TO`. \
                        With --data what a node was made or changed with follows its PATH. A gap says that the cell \
                        can no longer tell what happened after revision FROM and up to TO: read what is there now, and go on with the events that \
                        follow. Once it watches it says so on standard error, with the revision from which on.")]
pub struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct What {
    /// The node's path; it need not exist
    path: String,
    /// Everything below it as well
    #[arg(long, short, conflicts_with = "children")]
    recursive: bool,
    /// Its children coming and going, instead of its own data
    #[arg(long, short)]
    children: bool,
    /// Its children coming, going and changing, instead of its own data
    #[arg(long, conflicts_with_all = ["recursive", "children", "lock"])]
    entries: bool,
    /// Its lock being waited for, instead of its data
    #[arg(long, short, conflicts_with_all = ["recursive", "children"])]
    lock: bool,
    /// Begin after this revision, if the cell still knows what happened since; otherwise with a gap
    #[arg(long, value_name = "REVISION")]
    from: Option<u64>,
    /// The data of a node that is made or changed, on one line, unless it has changed again since then
    #[arg(long, conflicts_with = "lock")]
    data: bool,
    /// Tell now and then that nothing up to a revision is missing, when nothing happens too
    #[arg(long)]
    progress: bool,
    /// End after so many events
    #[arg(long, short = 'n')]
    count: Option<u64>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Prints one event a line until the session ends, the count is full, or nobody reads any more.
fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let watch = client.watch(&what.path, what.options()).wait_timeout(timeout).map_err(|error| failed(&error))?;
    // A script may wait for this before it does what is to be seen.
    crate::tell(format_args!("watching {} from revision {} on", what.path, watch.revision()));
    let (mut left, rows) = (what.count.unwrap_or(u64::MAX), Rows::default());
    if left == 0 {
        return Ok(());
    }
    for event in watch {
        let event = event.map_err(|error| failed(&error))?;
        left -= u64::from(!matches!(event, WatchEvent::Progress { .. }));
        let node = node_of(&event).cloned();
        let line = Line::of(event);
        if !rows.add(|| text(&line, node.as_ref()).into_bytes(), || value(&line, node.as_ref()))? || left == 0 {
            break;
        }
    }
    Ok(())
}

impl What {
    fn options(&self) -> WatchOptions {
        let options = match self {
            Self { recursive: true, .. } => WatchOptions::recursive(),
            Self { children: true, .. } => WatchOptions::children(),
            Self { entries: true, .. } => WatchOptions::entries(),
            Self { lock: true, .. } => WatchOptions::lock(),
            _ => WatchOptions::node(),
        };
        let options = if self.data { options.with_data() } else { options };
        let options = if self.progress { options.progress() } else { options };
        self.from.into_iter().fold(options, WatchOptions::from_revision)
    }
}

/// The node as an event brings it.
fn node_of(event: &WatchEvent) -> Option<&(Bytes, Stat)> {
    match event {
        WatchEvent::Created { node, .. } | WatchEvent::Changed { node, .. } => node.as_ref(),
        _ => None,
    }
}

fn text(line: &Line, node: Option<&(Bytes, Stat)>) -> String {
    let line = line.text();
    match node {
        Some((data, _)) => format!("{line} {}", crate::one_line(data)),
        None => line,
    }
}

fn value(line: &Line, node: Option<&(Bytes, Stat)>) -> serde_json::Value {
    let mut value = line.value();
    if let Some((data, stat)) = node {
        let (name, data) = output::data(data);
        (value["version"], value[name]) = (stat.version.into(), data);
    }
    value
}

/// An event as it is printed.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Line {
    Created {
        revision: u64,
        path: String,
    },
    Changed {
        revision: u64,
        path: String,
    },
    Deleted {
        revision: u64,
        path: String,
    },
    #[serde(rename = "over-quota")]
    OverQuota {
        revision: u64,
        path: String,
    },
    Wanted {
        revision: u64,
        path: String,
    },
    Progress {
        revision: u64,
    },
    Gap {
        from: u64,
        to: u64,
    },
    Other {
        revision: u64,
    },
}

impl Line {
    pub fn of(event: WatchEvent) -> Self {
        match event {
            WatchEvent::Created { path, revision, .. } => Self::Created { revision, path },
            WatchEvent::Changed { path, revision, .. } => Self::Changed { revision, path },
            WatchEvent::Deleted { path, revision } => Self::Deleted { revision, path },
            WatchEvent::OverQuota { path, revision } => Self::OverQuota { revision, path },
            WatchEvent::Wanted { path, revision } => Self::Wanted { revision, path },
            WatchEvent::Progress { revision } => Self::Progress { revision },
            WatchEvent::Gap { from, to } => Self::Gap { from, to },
            // Only what was asked for comes; a newer library may know more.
            event => Self::Other { revision: event.revision() },
        }
    }

    /// In the simple form.
    pub fn text(&self) -> String {
        match self {
            Self::Created { revision, path } => format!("created {revision} {}", crate::one_line(path.as_bytes())),
            Self::Changed { revision, path } => format!("changed {revision} {}", crate::one_line(path.as_bytes())),
            Self::Deleted { revision, path } => format!("deleted {revision} {}", crate::one_line(path.as_bytes())),
            Self::OverQuota { revision, path } => format!("over-quota {revision} {}", crate::one_line(path.as_bytes())),
            Self::Wanted { revision, path } => format!("wanted {revision} {}", crate::one_line(path.as_bytes())),
            Self::Progress { revision } => format!("progress {revision}"),
            Self::Gap { from, to } => format!("gap {from} {to}"),
            Self::Other { revision } => format!("other {revision}"),
        }
    }

    /// As JSON.
    pub fn value(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain fields have a JSON form")
    }
}
