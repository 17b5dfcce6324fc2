//! `quorate snapshot`: a copy of a cell's state outside the cell, and a new cell made from one.
#![expect(
    clippy::disallowed_methods,
    reason = "it waits for a replica's image, and stamps what it changes with the time"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quorate::client::{Error, Revision, Slot, SnapshotPiece, SnapshotSource};
use quorate::server::config::{Override, Size};
use quorate::server::snapshot::{self, Manifest, SnapshotWriter, Verified};
use quorate::server::{Code, Config, Failure};
use serde_json::{Value, json};

use super::cell;
use super::connect::{self, Target, failed};
use super::status;

#[derive(clap::Subcommand)]
#[command(
    after_help = "Examples:\n  quorate snapshot save monday.snapshot\n  quorate snapshot status monday.snapshot\n  \
                  quorate snapshot restore monday.snapshot /var/tmp/restored && quorate dev --dir /var/tmp/restored"
)]
pub enum Args {
    /// Fetches the state of a cell into a file
    Save(Save),
    /// Checks a file, and says what is in it
    Status(Status),
    /// Makes the folders of a new cell that begins with what is in a file
    Restore(Restore),
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate snapshot save monday.snapshot\n  quorate snapshot save --newest --endpoints 10.0.0.3:7400 monday.snapshot\n\n\
    The file holds every write that was acknowledged to anybody before the command began. The replica that lends it takes an \
    image if its newest is older; it goes on serving meanwhile. A replica that follows is asked rather than the leader.\n\n\
    The image holds every node and every session's secret. So in a cell with a super principal (acl.super in its \
    configuration) or an access list only the super principal is lent one: say who you are with --auth or QUORATE_AUTH. To \
    prove it takes a leader, with --newest too."
)]
pub struct Save {
    /// The file to be made
    file: PathBuf,
    /// Hold this revision at least, instead of every write that was acknowledged before
    #[arg(long)]
    revision: Option<Revision>,
    /// Take whichever image there is, without asking the cell: works without a leader
    #[arg(long, conflicts_with = "revision")]
    newest: bool,
    /// How long the replica may take to have the image, and to come back if the connection breaks
    #[arg(long, default_value = "60s", value_parser = connect::span)]
    patience: Duration,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate snapshot status monday.snapshot\n  quorate snapshot status --json monday.snapshot"
)]
pub struct Status {
    /// The file
    file: PathBuf,
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate snapshot restore monday.snapshot /var/tmp/restored && quorate dev --dir /var/tmp/restored\n  \
    quorate snapshot restore --config new-cell.toml monday.snapshot restored\n  \
    rsync -a restored/replica-1/ host1:/var/lib/quorate/replica/     # and so on, then start each\n\n\
    The new cell has another id. Nodes are as they were, with their versions and revisions; sessions have ended, and with \
    them their ephemeral nodes, their locks and their places in queues. All folders are made at once, since their disks \
    must know each other: each is moved to its host, whole, and started there once."
)]
pub struct Restore {
    /// The file
    file: PathBuf,
    /// Where the folders are made: replica-1 and so on, beside cell.toml
    dir: PathBuf,
    /// The new cell's configuration; without one, a cell for `quorate dev` is described
    #[arg(long)]
    config: Option<PathBuf>,
    /// How many replicas a cell for `quorate dev` has
    #[arg(long, conflicts_with = "config", value_parser = clap::value_parser!(u8).range(1..=13))]
    replicas: Option<u8>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Save(args) => save(args),
        Args::Status(args) => check(args),
        Args::Restore(args) => restore(args),
    }
}

fn save(args: &Save) -> Result<(), Failure> {
    let at_least = match args.revision {
        _ if args.newest => 0,
        Some(revision) => revision,
        None => read_point(&args.target)?,
    };
    let endpoint = lender(&args.target)?;
    let mut writer = SnapshotWriter::begin(&args.file)?;
    match fetch(args, &endpoint, at_least, &mut writer) {
        Ok(()) => {
            let manifest = writer.finish()?;
            tell(&args.file, &manifest, None)
        }
        Err(failure) => {
            writer.discard();
            Err(failure)
        }
    }
}

/// A revision that every write acknowledged by now has reached.
fn read_point(target: &Target) -> Result<Revision, Failure> {
    target.with_client(|client, timeout| client.sync().wait_timeout(timeout).map_err(|error| failed(&error)))
}

/// A replica that answers; the leader has enough to do.
fn lender(target: &Target) -> Result<String, Failure> {
    let rows = status::ask_all(&target.endpoints, target.cell, target.timeout)?;
    let answering = || rows.iter().filter_map(|row| Some((row, row.answer.as_ref().ok()?)));
    let follows = answering().find(|(_, report)| report.status.leader.is_some_and(|id| id != report.status.replica));
    let (row, report) = follows.or_else(|| answering().next()).ok_or_else(|| {
        Failure::new(Code::Unavailable, "no replica answers")
            .needed("one, whether or not it leads")
            .fix("check --endpoints and `quorate status`")
    })?;
    Ok(format!("{}?cell={}", row.address, report.status.cell))
}

/// Fetches an image that holds `at_least`. A broken connection is taken up again where it broke.
fn fetch(args: &Save, endpoint: &str, at_least: Revision, writer: &mut SnapshotWriter) -> Result<(), Failure> {
    let mut image = None;
    let mut until = Instant::now() + args.patience;
    loop {
        let before = writer.bytes();
        let came = open(endpoint, &args.target)
            .and_then(|mut source| pieces(&mut source, at_least, &mut image, writer, until));
        match came {
            Ok(Ok(())) if writer.is_whole() => return Ok(()),
            Ok(done) => done?,
            Err(error @ (Error::Silent { .. } | Error::Io(_) | Error::Deadline { .. } | Error::Protocol { .. }))
                if Instant::now() > until =>
            {
                return Err(failed(&error));
            }
            Err(Error::Silent { .. } | Error::Io(_) | Error::Deadline { .. } | Error::Protocol { .. }) => {}
            Err(error) => return Err(failed(&error)),
        }
        if writer.bytes() > before {
            until = Instant::now() + args.patience;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A replica that lends to whoever the caller is.
fn open(endpoint: &str, target: &Target) -> Result<SnapshotSource, Error> {
    let mut source = SnapshotSource::open(endpoint, target.timeout)?;
    target.credentials().try_for_each(|credentials| source.authenticate(credentials))?;
    Ok(source)
}

/// Fetches pieces until the image is whole, or the connection breaks.
fn pieces(
    source: &mut SnapshotSource,
    at_least: Revision,
    image: &mut Option<Slot>,
    writer: &mut SnapshotWriter,
    until: Instant,
) -> Result<Result<(), Failure>, Error> {
    while !writer.is_whole() {
        let Some(slot) = *image else {
            *image = source.image(at_least)?;
            if image.is_none() && Instant::now() > until {
                return Ok(Err(Failure::new(
                    Code::Unavailable,
                    format!("replica {} has no such image", source.replica),
                )
                .needed(format!("an image that holds revision {at_least}"))
                .why("it is taken once the replica has applied that much, lends no other, and has room for it on its disk")
                .fix("see `quorate status` for how far the replica is; ask another with --endpoints; or --newest")));
            }
            if image.is_none() {
                std::thread::sleep(LOOK_EVERY);
            }
            continue;
        };
        match source.piece(slot, writer.bytes())? {
            SnapshotPiece::Bytes(bytes) if bytes.is_empty() => {
                return Ok(Err(Failure::new(
                    Code::Unavailable,
                    format!("replica {} cannot read its image", source.replica),
                )
                .found(format!("nothing after byte {}", writer.bytes()))
                .fix("ask another replica with --endpoints; look at that one's disk (dmesg, SMART)")));
            }
            SnapshotPiece::Bytes(bytes) => {
                if let Err(failure) = writer.add(&bytes) {
                    return Ok(Err(failure));
                }
            }
            SnapshotPiece::Busy => std::thread::sleep(LOOK_EVERY),
            SnapshotPiece::Gone => {
                *image = None;
                if let Err(failure) = writer.restart() {
                    return Ok(Err(failure));
                }
            }
        }
    }
    Ok(Ok(()))
}

fn check(args: &Status) -> Result<(), Failure> {
    let Verified { manifest, namespace, .. } = snapshot::verify(&args.file)?;
    tell(&args.file, &manifest, Some((namespace.tree().len(), namespace.session_count())))
}

/// `counted`: nodes and sessions, where they were.
fn tell(file: &Path, manifest: &Manifest, counted: Option<(usize, usize)>) -> Result<(), Failure> {
    let Manifest { cell, slot, revision, image_bytes, .. } = manifest;
    if crate::output::is_json() {
        let mut object = json!({
            "file": file.display().to_string(),
            "cell": cell.to_string(),
            "slot": slot.0,
            "revision": revision,
            "image_bytes": image_bytes,
            "blake3": manifest.hash_text(),
        });
        if let Some((nodes, sessions)) = counted {
            (object["nodes"], object["sessions"]) = (Value::from(nodes), Value::from(sessions));
        }
        return crate::print_line(&object.to_string());
    }
    let mut text = format!(
        "{}\n  cell      {cell}\n  revision  {revision}, slot {}\n  image     {}, BLAKE3 {}",
        file.display(),
        slot.0,
        Size(*image_bytes),
        manifest.hash_text()
    );
    if let Some((nodes, sessions)) = counted {
        text += &format!("\n  holds     {nodes} nodes, {sessions} sessions; every byte is as it was written");
    }
    crate::print_line(&text)
}

fn restore(args: &Restore) -> Result<(), Failure> {
    let Restore { file, dir, .. } = args;
    let config = match &args.config {
        Some(path) => Config::read(path, &Override::from_variables(std::env::vars_os())?)?,
        None => {
            cell::new_configuration(&cell::Plan { replicas: args.replicas, port_base: None, settings: Vec::new() })?
        }
    };
    let described = dir.join(cell::CONFIG);
    if described.exists() {
        return Err(Failure::new(Code::FolderNotEmpty, format!("{} is there already", described.display()))
            .why("the folders of two cells would lie in one")
            .fix("name another folder"));
    }
    let snapshot = snapshot::verify(file)?;
    let (sessions, before) = (snapshot.namespace.session_count(), snapshot.manifest.cell);
    std::fs::create_dir_all(dir).map_err(|error| Failure::io(Code::DiskFailed, "make", dir, &error))?;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let folders = snapshot::restore(&config, snapshot, dir, since_1970.as_millis() as u64)?;
    cell::write_whole(&described, &config.to_toml())?;
    crate::print_line(&format!("cell {}, from one of cell {before}; {sessions} sessions have ended", config.cell.id))?;
    for folder in folders {
        crate::print_line(&format!("  {}", folder.display()))?;
    }
    crate::print_line(&match args.config {
        Some(_) => "move each folder to its host, whole, and start it there".to_owned(),
        None => format!("serve it: quorate dev --dir {}", dir.display()),
    })
}

/// Between two looks at a replica that is not ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);
