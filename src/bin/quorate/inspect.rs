//! `quorate inspect`: what a replica's files hold. Reads, and changes nothing.

mod hard_state;
mod image;

use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use quorate::journal::inspect::{Inspected, Inspection, Validity};
use quorate::journal::record::{Head, RecordKind};
use quorate::journal::segment::SegmentHead;
use quorate::runtime::disk::SealedFile;
use quorate::server::{Code, Failure};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

#[derive(clap::Subcommand)]
#[command(
    after_help = "Examples:\n  quorate inspect journal --from 100 /var/lib/quorate/replica\n  quorate inspect image /var/lib/quorate/replica\n  quorate inspect hard-state /var/lib/quorate/replica"
)]
pub enum Args {
    /// Lists the records of the log, in the order of the files
    Journal(Journal),
    /// Shows images of the namespace, and checks all that is in them
    Image(image::Image),
    /// Shows the four copies of what a replica must never forget
    HardState(hard_state::HardState),
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate inspect journal /var/lib/quorate/replica\n  quorate inspect journal --from 100 --to 120 --json /var/lib/quorate/replica"
)]
pub struct Journal {
    /// The replica's folder
    dir: PathBuf,
    /// Only slots from this on
    #[arg(long)]
    from: Option<u64>,
    /// Only slots up to this
    #[arg(long)]
    to: Option<u64>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Journal(journal) => journal.run(),
        Args::Image(image) => image.run(),
        Args::HardState(hard_state) => hard_state.run(),
    }
}

impl Journal {
    fn run(&self) -> Result<(), Failure> {
        let kept = keep_away(&self.dir);
        let segments = segments(&self.dir)?;
        if segments.is_empty() {
            return Err(Failure::new(Code::NotFormatted, format!("{} holds no journal", self.dir.display()))
                .needed("files named segment-NNNNNNNN")
                .fix("name a replica's folder, as `quorate format` makes it"));
        }
        if !crate::output::is_json() {
            crate::print_line(&format!(
                "{:>8} {:>12} {:>10} {:>8} {:>10} {:>7} {:>10} {:>10} {:>10}  state",
                "segment", "offset", "record", "kind", "slot", "ballot", "bytes", "chosen", "synced"
            ))?;
        }
        for path in segments {
            self.segment(&path, &Contents::of(&path, kept.is_some())?)?;
        }
        Ok(())
    }

    fn segment(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let mut lines = String::new();
        for inspected in Inspection::new(bytes) {
            match inspected {
                Inspected::Segment(SegmentHead::Newer(version)) => {
                    return Err(Failure::new(Code::NewerFormat, format!("{} is in format {version}", path.display()))
                        .fix("use the newer program"));
                }
                Inspected::Segment(SegmentHead::Damaged) => {
                    crate::tell(format_args!("{}: the first block is damaged", path.display()))
                }
                Inspected::Segment(SegmentHead::Known { .. } | SegmentHead::Blank) => {}
                Inspected::Record { head, header, trailer, validity } if self.is_wanted(&head, validity) => {
                    let state = state(header, trailer, validity);
                    lines += &if crate::output::is_json() { object(&head, state) } else { row(&head, state) };
                    lines.push('\n');
                }
                Inspected::Record { .. } | Inspected::Nothing { zeros: true, .. } => {}
                Inspected::Nothing { offset, bytes, zeros: false } => {
                    crate::tell(format_args!("{}: {bytes} bytes from {offset} on are no records", path.display()));
                }
            }
        }
        crate::print(lines.as_bytes())
    }

    /// Records without a slot belong to no range; what a recycled file held before belongs to nothing.
    fn is_wanted(&self, head: &Head, validity: Validity) -> bool {
        let slot = head.name.slot.0;
        let unlimited = self.from.is_none() && self.to.is_none();
        let within = (self.from.unwrap_or(1)..=self.to.unwrap_or(u64::MAX)).contains(&slot);
        validity != Validity::Stale && (unlimited || within)
    }
}

fn state(header: bool, trailer: bool, validity: Validity) -> &'static str {
    match (validity, header, trailer) {
        (Validity::Whole, true, true) => "whole",
        (Validity::Whole, true, false) => "no trailer",
        (Validity::Whole, false, _) => "header damaged",
        (Validity::Damaged, _, true) => "value damaged",
        (Validity::Damaged, _, false) => "torn",
        (Validity::Stale, ..) => "stale",
    }
}

fn kind(head: &Head) -> &'static str {
    match head.kind {
        RecordKind::Value if head.learned => "learned",
        RecordKind::Value => "accepted",
        RecordKind::Seal => "seal",
        RecordKind::Start => "start",
    }
}

fn row(head: &Head, state: &str) -> String {
    let ballot = format!("{}.{}", head.name.ballot.round, head.name.ballot.replica.0);
    format!(
        "{:>8} {:>12} {:>10} {:>8} {:>10} {:>7} {:>10} {:>10} {:>10}  {state}",
        head.segment.0,
        head.offset,
        head.sequence,
        kind(head),
        head.name.slot.0,
        ballot,
        head.value_bytes,
        head.chosen_upto.0,
        head.synced_upto
    )
}

fn object(head: &Head, state: &str) -> String {
    json!({
        "segment": head.segment.0,
        "offset": head.offset,
        "record": head.sequence,
        "kind": kind(head),
        "slot": head.name.slot.0,
        "ballot": { "round": head.name.ballot.round, "replica": head.name.ballot.replica.0 },
        "hash": format!("{:032x}", head.name.hash),
        "value_bytes": head.value_bytes,
        "chosen_upto": head.chosen_upto.0,
        "synced_upto": head.synced_upto,
        "start": head.start.number,
        "state": state,
    })
    .to_string()
}

fn segments(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| Failure::io(Code::NotFormatted, "list", dir, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_prefix("segment-")?.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Keeps every server away from the folder for as long as it lives; `None` if one is there, whose last records may be seen
/// half-written.
fn keep_away(dir: &Path) -> Option<File> {
    let lock = File::open(dir.join("lock")).ok()?;
    let kept = flock(&lock, FlockOperation::NonBlockingLockShared).is_ok();
    if !kept {
        crate::tell(format_args!(
            "warning: another process holds {}; its last records may be seen half-written",
            dir.display()
        ));
    }
    kept.then_some(lock)
}

/// A segment's bytes. Mapped only while nobody writes to it.
enum Contents {
    Sealed(SealedFile),
    Copied(Vec<u8>),
}

impl Contents {
    fn of(path: &Path, kept: bool) -> Result<Self, Failure> {
        let read = || fs::read(path).map_err(|error| Failure::io(Code::DiskFailed, "read", path, &error));
        let map = || SealedFile::open(path).map_err(|error| Failure::new(Code::DiskFailed, error.to_string()));
        if kept { Ok(Self::Sealed(map()?)) } else { Ok(Self::Copied(read()?)) }
    }
}

impl Deref for Contents {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Sealed(file) => file,
            Self::Copied(bytes) => bytes,
        }
    }
}
