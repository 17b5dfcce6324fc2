//! `quorate iotest`: how long the disk takes to make the journal's writes durable.
//!
//! It measures what the journal does, with the journal's own means: direct writes of whole blocks through a ring, into a
//! file written with zeros once, each made durable. Two methods (a flush linked to the write, a synchronous write), three
//! sizes (a quiet log's block, a batch, a large batch), one and two writes in flight. The methods take turns, several times
//! a second: a host that does something else for a while does it to both.
//!
//! The table goes to standard output; the same numbers go to `io.toml` in the folder, whose schema is at
//! `quorate::server::measured`. A replica started with `[journal] durability = "measured"` takes the method from it, and
//! `quorate doctor` shows it.
//!
//! It runs while nothing else uses the disk, or measures that as well; a folder whose replica runs is refused.
//!
//! Deliberately not here: throughput of large reads, and any judgement of the device. The numbers are the judgement.

pub mod measure;

use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use quorate::server::config::Size;
use quorate::server::measured::{self, Measured, Method, Run};
use quorate::server::{Code, Failure};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::connect;
use crate::doctor::mount::Mount;
use measure::{Budget, Trial};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate iotest /var/lib/quorate\n  quorate iotest --time 5s --json /var/lib/quorate"
)]
pub struct Args {
    /// The folder whose disk is measured: a replica's, or the one it will be in
    dir: PathBuf,
    /// How long each of the twelve runs takes
    #[arg(long, default_value = "1s", value_parser = connect::span)]
    time: Duration,
    /// Where the numbers go [default: io.toml in the folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Sizes of a write: one block, a batch of small values, a batch of large ones.
const SIZES: [usize; 3] = [4 << 10, 64 << 10, 256 << 10];

/// Writes in flight.
const DEPTHS: [usize; 2] = [1, 2];

/// The file that is written to: more than a disk's own cache lines, less than anybody's patience.
const FILE_BYTES: u64 = 64 << 20;

pub fn run(args: &Args) -> Result<(), Failure> {
    refuse_a_running_replica(&args.dir)?;
    let mount = Mount::of(&args.dir).map_err(|error| Failure::io(Code::DiskFailed, "find", &args.dir, &error))?;
    crate::tell(format_args!("writing {} with zeros once", Size(FILE_BYTES)));
    let trial = Trial::open(&args.dir, FILE_BYTES)?;
    let budget = Budget { time: args.time.into(), writes: u64::MAX };
    let names = Method::ALL.map(Method::name).join(" and ");
    let mut runs = Vec::new();
    for bytes in SIZES {
        for depth in DEPTHS {
            let size = Size(bytes as u64);
            crate::tell(format_args!("measuring {names} writes of {size} in turn, {depth} at a time"));
            runs.extend(trial.compare(Method::ALL, (bytes, depth), budget)?);
        }
    }
    // One method's after the other's, to be read down a column.
    runs.sort_by_key(|run| Method::ALL.iter().position(|method| *method == run.method));
    let measured = describe(&mount, runs);
    let path = args.out.clone().unwrap_or_else(|| args.dir.join(measured::FILE));
    std::fs::write(&path, measured.to_toml()).map_err(|error| Failure::io(Code::DiskFailed, "write", &path, &error))?;
    crate::tell(format_args!("written to {}", path.display()));
    if crate::output::is_json() {
        return crate::print_line(&json!(measured).to_string());
    }
    crate::print_line(&table(&measured))
}

/// What a running replica does to the disk would be measured along.
fn refuse_a_running_replica(folder: &Path) -> Result<(), Failure> {
    let lock = std::fs::File::open(folder.join("lock"));
    if lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err()) {
        return Err(Failure::new(Code::FolderInUse, format!("{} has a running replica", folder.display()))
            .why("its writes and the measurement would delay each other")
            .fix("stop that replica first, or name a folder on an idle disk of the same kind"));
    }
    Ok(())
}

fn describe(mount: &Mount, runs: Vec<Run>) -> Measured {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let disk = mount.disk.as_ref();
    Measured {
        version: measured::VERSION,
        kernel: kernel.trim().to_owned(),
        filesystem: mount.filesystem.clone(),
        device: disk.map(|disk| disk.name.clone()).unwrap_or_default(),
        write_cache: disk.and_then(|disk| disk.queue("write_cache")).unwrap_or_default(),
        durability: measured::choose(&runs),
        runs,
    }
}

fn table(measured: &Measured) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["method", "size", "depth", "writes/s", "p50 us", "p90 us", "p99 us", "p99.9 us", "max us"]);
    for run in &measured.runs {
        table.add_row([
            run.method.name().to_owned(),
            Size(run.bytes as u64).to_string(),
            run.depth.to_string(),
            format!("{:.0}", run.per_second),
            format!("{:.1}", run.p50_us),
            format!("{:.1}", run.p90_us),
            format!("{:.1}", run.p99_us),
            format!("{:.1}", run.p999_us),
            format!("{:.1}", run.max_us),
        ]);
    }
    for index in 1..9 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    let device = if measured.device.is_empty() { "an unknown device" } else { &measured.device };
    lines.push(format!(
        "{} on {device}, write cache {}: durability = \"{}\"",
        measured.filesystem,
        if measured.write_cache.is_empty() { "unknown" } else { &measured.write_cache },
        measured.durability.name()
    ));
    lines.join("\n")
}
