//! `quorate session`: who has a session with a cell, and sessions that outlive the commands that use them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use quorate::client::{self, Error, Revision, SavedSession, SessionAccount, SessionId};
use quorate::server::config::Span;
use quorate::server::{Code, Failure};
use serde_json::json;

use super::connect::{Target, change_failed, connected, failed, span};
use super::{output, status};

#[derive(clap::Subcommand)]
#[command(
    after_help = "Examples:\n  quorate session ls\n  quorate session open --lasts 1m /run/job.session\n  quorate session end /run/job.session"
)]
pub enum Args {
    /// Lists the sessions that live, and which replica each client is connected to
    Ls(Ls),
    /// Opens a session that outlives this command, and writes what proves it one's own to a file
    Open(Open),
    /// Ends such a session, with what lives with it, and removes the file
    End(End),
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate session open --lasts 1m /run/job.session\n  quorate create --resume /run/job.session --ephemeral /jobs/7 running\n  \
                  quorate session end /run/job.session\n\nThe session lives for as long as commands use it, and so long after the last one. \
                  Those that use it at the same time wait for each other."
)]
pub struct Open {
    /// The file to be made; who can read it has the session
    file: PathBuf,
    /// How long it outlives the last command; the cell has its bounds
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "30s")]
    lasts: Duration,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate session end /run/job.session")]
pub struct End {
    /// The session's file
    file: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// The file of a session that outlives commands; nobody else has it open.
pub struct Kept {
    pub saved: SavedSession,
    file: File,
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate session ls --endpoints 10.0.0.1:7400\n  quorate session ls --json | jq 'select(.locks > 0)'\n\n\
                  Every replica that answers is asked; the list is that of the one which has applied most. A replica \
                  that is not told is `-`, and so are the watches, which that replica alone knows: the client is between two \
                  connections, or its replica does not answer."
)]
pub struct Ls {
    #[command(flatten)]
    target: Target,
}

/// A session, and the replica its client is connected to.
type Entry = (SessionAccount, Option<u8>);

pub fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Ls(args) => ls(args),
        Args::Open(args) => open(args),
        Args::End(args) => end(args),
    }
}

impl Kept {
    /// Waits until nobody else uses the session.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let unreadable = |error: io::Error| Failure::io(Code::Usage, "read the session", path, &error);
        let mut file = File::open(path).map_err(unreadable)?;
        file.lock().map_err(unreadable)?;
        let mut bytes = Vec::new();
        (&mut file).take(LINE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
        let text = String::from_utf8_lossy(&bytes);
        let saved = text.parse().map_err(|error: Error| no_session(path, &text, &error))?;
        Ok(Self { saved, file })
    }
}

/// What is in a file that ought to hold a session.
fn no_session(path: &Path, text: &str, error: &Error) -> Failure {
    let failure = Failure::new(Code::Usage, format!("{} holds no session", path.display()));
    if text.trim().is_empty() {
        return failure
            .found("an empty file")
            .needed("the line that `quorate session open` writes there")
            .fix("remove it, and make it anew with `quorate session open`; or give the right --resume");
    }
    if text.starts_with("quorate-session-") {
        return failure
            .found("a session's line that is cut short, was changed, or is of a newer version")
            .why("the session cannot be taken up without it, and ends when its time is over")
            .fix("remove the file, and open another session with `quorate session open`");
    }
    failure.found(error.to_string()).fix("give a file that `quorate session open` made")
}

/// Prints the session's id.
fn open(Open { file, lasts, target }: &Open) -> Result<(), Failure> {
    let unwritable = |error: io::Error| Failure::io(Code::Usage, "make the session's file", file, &error);
    if file.symlink_metadata().is_ok() {
        return Err(unwritable(io::ErrorKind::AlreadyExists.into()));
    }
    let client = connected(target.builder(target.timeout)?.session_timeout(*lasts), target.timeout)?;
    let saved = client.save().wait_timeout(target.timeout).map_err(|error| failed(&error))?;
    if let Err(error) = put(file, &format!("{}\n", saved.to_text())) {
        // Nobody could take it up.
        let _ = client.close().wait_timeout(target.timeout);
        return Err(unwritable(error));
    }
    // What proves the session one's own is where it belongs: one that cannot be left now is taken over all the same.
    let _ = client.hand_over().wait_timeout(target.timeout);
    let session = saved.session().to_string();
    output::show(|| session.clone(), || json!({ "session": session }))
}

/// Makes the file, with all of the text at once: whenever this process is ended, it is there whole or not at all. One that is
/// there already stays.
fn put(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    // Two hosts that share the folder may have processes of one number.
    name.push(format!(".{}-{:08x}.new", std::process::id(), getrandom::u32().unwrap_or_default()));
    let beside = PathBuf::from(name);
    write_new(&beside, text)?;
    // Unlike a rename this never takes the place of what is there.
    let put = match std::fs::hard_link(&beside, file) {
        // A filesystem without links: the file may be seen while it is made.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
            write_new(file, text)
        }
        linked => linked,
    };
    let _ = std::fs::remove_file(&beside);
    put
}

/// Makes a file that is not there yet, for nobody else to read.
fn write_new(file: &Path, text: &str) -> io::Result<()> {
    let mut made = File::options().write(true).create_new(true).mode(0o600).open(file)?;
    let written = made.write_all(text.as_bytes()).and_then(|()| made.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(file);
    }
    written
}

fn end(End { file, target }: &End) -> Result<(), Failure> {
    let kept = Kept::open(file)?;
    let closed = connected(target.builder(target.timeout)?.resume(kept.saved), target.timeout)
        .and_then(|client| client.close().wait_timeout(target.timeout).map_err(|error| change_failed(&error)));
    // One that is over already is ended as well as can be.
    if let Err(failure) = closed.as_ref()
        && failure.exit_status() != Code::SessionLost.number()
    {
        return closed;
    }
    let removed = std::fs::remove_file(file);
    drop(kept.file);
    removed.map_err(|error| Failure::io(Code::Usage, "remove the session's file", file, &error))
}

fn ls(args: &Ls) -> Result<(), Failure> {
    let entries = entries(&args.target)?;
    if output::is_json() {
        let lines: Vec<String> = entries.iter().map(|entry| object(entry).to_string() + "\n").collect();
        return crate::print(lines.concat().as_bytes());
    }
    crate::print_line(&table(&entries))
}

fn entries(target: &Target) -> Result<Vec<Entry>, Failure> {
    let rows = status::ask_all(&target.endpoints, target.cell, target.timeout)?;
    let mut newest: Option<(Revision, Vec<SessionAccount>)> = None;
    let mut connected: BTreeMap<SessionId, (u8, u32)> = BTreeMap::new();
    for row in rows {
        let Ok(report) = row.answer else { continue };
        let told = match all(&row.address, target.timeout) {
            Ok(told) => told,
            // It may have ended since.
            Err(Error::Silent { .. } | Error::Io(_) | Error::Deadline { .. }) => continue,
            Err(error) => return Err(failed(&error)),
        };
        let here = told.1.iter().filter(|account| account.here);
        connected.extend(here.map(|account| (account.session, (report.status.replica.0, account.watches))));
        if newest.as_ref().is_none_or(|(revision, _)| *revision < told.0) {
            newest = Some(told);
        }
    }
    let (_, accounts) = newest.ok_or_else(|| {
        Failure::new(Code::Unavailable, "no replica tells of its sessions")
            .needed("one replica that answers")
            .fix("check --endpoints and `quorate status`")
    })?;
    let entry = |account: SessionAccount| match connected.get(&account.session) {
        Some((replica, watches)) => (SessionAccount { watches: *watches, ..account }, Some(*replica)),
        None => (account, None),
    };
    Ok(accounts.into_iter().map(entry).collect())
}

/// All sessions one replica knows, and how far it was at the first page.
fn all(endpoint: &str, timeout: Duration) -> Result<(Revision, Vec<SessionAccount>), Error> {
    let mut page = client::sessions(endpoint, SessionId(0), timeout)?;
    let (revision, mut accounts) = (page.revision, page.sessions);
    while page.more
        && let Some(last) = accounts.last()
    {
        page = client::sessions(endpoint, last.session, timeout)?;
        accounts.append(&mut page.sessions);
    }
    Ok((revision, accounts))
}

fn timeout(account: &SessionAccount) -> Span {
    Span(quorate::time::Duration::from_millis(u64::from(account.timeout_ms)))
}

fn table(entries: &[Entry]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["session", "timeout", "requests", "ephemerals", "locks", "handles", "watches", "replica"]);
    for (account, replica) in entries {
        table.add_row([
            account.session.to_string(),
            timeout(account).to_string(),
            account.requests.to_string(),
            account.ephemerals.to_string(),
            account.locks.to_string(),
            account.handles.to_string(),
            replica.map_or_else(|| "-".into(), |_| account.watches.to_string()),
            replica.map_or_else(|| "-".into(), |replica| replica.to_string()),
        ]);
    }
    for index in 1..7 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
}

fn object((account, replica): &Entry) -> serde_json::Value {
    json!({
        "session": account.session.to_string(),
        "timeout_ms": account.timeout_ms,
        "requests": account.requests,
        "ephemerals": account.ephemerals,
        "locks": account.locks,
        "handles": account.handles,
        "watches": replica.map(|_| account.watches),
        "replica": replica,
    })
}

/// More than a session's line has: whatever the file is, no more of it is read.
const LINE_BYTES_MAX: u64 = 4 << 10;
