//! The disk below a replica's folder: what kind of filesystem, how it is mounted, whether direct writes work and how long
//! a durable one takes, what the device's cache does, how much room there is.

use std::path::Path;

use quorate::limits::BLOCK_BYTES;
use quorate::runtime::disk::{DiskError, check_file_system};
use quorate::server::Config;
use quorate::server::config::{Durability, Size};
use quorate::server::measured::{self, Measured, Method, Run};
use quorate::time::Duration;
use rustix::fs::statvfs;

use super::finding::{Finding, Severity};
use super::mount::Mount;
use crate::iotest::measure::{Budget, Trial};

/// `folder` exists; it is the replica's, or the nearest above the one it will be in.
pub fn examine(folder: &Path, config: Option<&Config>, findings: &mut Vec<Finding>) -> Option<Mount> {
    let mount = match Mount::of(folder) {
        Ok(mount) => mount,
        Err(error) => {
            findings.push(
                Finding::new("filesystem", "xfs or ext4", error.to_string(), Severity::Fatal).fix("check the path"),
            );
            return None;
        }
    };
    findings.push(filesystem(&mount.filesystem, check_file_system(folder).err()));
    findings.extend(options(&mount));
    let durability = durability(folder, config, findings);
    write_durably(folder, durability, config, findings);
    if let Some(disk) = &mount.disk {
        let facts = (disk.queue("write_cache"), disk.queue("fua"));
        if let (Some(cache), fua) = facts {
            findings.push(write_cache(&disk.name, &cache, fua.as_deref() == Some("1")));
        }
    }
    findings.extend(room(folder, config));
    Some(mount)
}

/// `refused`: what a start would say of it.
fn filesystem(name: &str, refused: Option<DiskError>) -> Finding {
    let severity = match (refused, name) {
        (Some(_), _) => Severity::Fatal,
        (None, "xfs" | "ext4") => Severity::Ok,
        (None, _) => Severity::Warn,
    };
    Finding::new("filesystem", "xfs or ext4", name, severity)
        .why("a write is acknowledged once blocks that were written before are overwritten in place, around the page cache, and flushed")
        .fix("put the folder on xfs or ext4 on a local disk")
}

fn options(mount: &Mount) -> Vec<Finding> {
    let has = |names: &[&str]| mount.options.iter().find(|option| names.contains(&option.as_str())).cloned();
    let point = mount.point.display();
    let barrier = has(&["nobarrier", "barrier=0"]);
    let found = barrier.clone().unwrap_or_else(|| "on".into());
    let barriers = Finding::new("write barriers", "on", found, Severity::Fatal.unless(barrier.is_none()))
        .why("without them a power cut loses acknowledged writes")
        .fix(format!("mount -o remount,barrier=1 {point}"));
    let slow: Vec<String> = [has(&["discard"]), has(&["strictatime"]), has(&["sync"])].into_iter().flatten().collect();
    let found = if slow.is_empty() { "none".to_owned() } else { slow.join(", ") };
    let slows = Finding::new("slow mount options", "none", found, Severity::Warn.unless(slow.is_empty()))
        .why("discarding and access times cost the journal's writes time")
        .fix(format!("mount -o remount,nodiscard,noatime,async {point}; systemctl enable --now fstrim.timer"));
    vec![barriers, slows]
}

/// How a replica started here would make its writes durable.
fn durability(folder: &Path, config: Option<&Config>, findings: &mut Vec<Finding>) -> Method {
    match config.map(|config| config.journal.durability).unwrap_or_default() {
        Durability::Flush => Method::Flush,
        Durability::Synchronous => Method::Synchronous,
        Durability::Measured => match Measured::read(folder) {
            Ok(measured) => {
                findings.push(Finding::new(measured::FILE, "readable", measured.durability.name(), Severity::Ok));
                measured.durability
            }
            Err(failure) => {
                let fix = format!("quorate iotest {}", folder.display());
                findings.push(
                    Finding::new(measured::FILE, "readable", failure.to_string(), Severity::Fatal)
                        .why("journal.durability = \"measured\" takes the method from it")
                        .fix(fix),
                );
                Method::Synchronous
            }
        },
    }
}

fn write_durably(folder: &Path, method: Method, config: Option<&Config>, findings: &mut Vec<Finding>) {
    let trial = match Trial::open(folder, TRIAL_BYTES) {
        Ok(trial) => trial,
        Err(failure) => {
            findings.push(
                Finding::new("direct writes", "a file opened with O_DIRECT", failure.to_string(), Severity::Fatal)
                    .why("the journal is written around the page cache")
                    .fix("make the folder writable for this user, on xfs or ext4 on a local disk"),
            );
            return;
        }
    };
    let alignment = trial.alignment();
    let coarsest = alignment.memory.max(alignment.position);
    findings.push(
        Finding::new(
            "direct writes",
            format!("aligned to at most {BLOCK_BYTES}"),
            format!("position {}, memory {}", alignment.position, alignment.memory),
            Severity::Fatal.unless(coarsest <= BLOCK_BYTES),
        )
        .fix(format!("use a disk with blocks of at most {BLOCK_BYTES} bytes")),
    );
    let lease = config.map_or(LEASE_DEFAULT, |config| config.paxos.lease.0);
    match trial.measure(method, BLOCK_BYTES, 1, Budget { time: TRIAL_TIME, writes: TRIAL_WRITES }) {
        Ok(run) => findings.push(latency(&run, lease)),
        Err(failure) => findings.push(
            Finding::new("durable writes", "they succeed", failure.to_string(), Severity::Fatal)
                .why("a replica whose disk fails ends")
                .fix("check the disk: dmesg"),
        ),
    }
}

fn latency(run: &Run, lease: Duration) -> Finding {
    let lease_us = lease.as_nanos() as f64 / 1e3;
    let severity = match run {
        run if run.p50_us > lease_us / 2.0 => Severity::Fatal,
        run => Severity::Warn.unless(run.p99_us <= LATENCY_P99_US_MAX.min(lease_us / 4.0)),
    };
    let found = format!(
        "{} p50, {} p99 ({}, {} writes)",
        millis(run.p50_us),
        millis(run.p99_us),
        run.method.name(),
        run.writes
    );
    let required = format!("p99 at most {}", millis(LATENCY_P99_US_MAX.min(lease_us / 4.0)));
    Finding::new("durable 4 KiB write", required, found, severity)
        .why("every write waits for one, and so does every renewal of the leader's lease")
        .fix("a disk with power-loss protection, or of its own; quorate iotest measures it at length")
}

fn millis(micros: f64) -> String {
    format!("{:.2} ms", micros / 1e3)
}

fn write_cache(disk: &str, cache: &str, fua: bool) -> Finding {
    let volatile = cache == "write back";
    let found = match (volatile, fua) {
        (false, _) => format!("{disk}: {cache}"),
        (true, true) => format!("{disk}: {cache}, with forced unit access"),
        (true, false) => format!("{disk}: {cache}, no forced unit access"),
    };
    Finding::new("write cache", "protected, or with forced unit access", found, Severity::Warn.unless(!volatile || fua))
        .why("each durable write costs a flush of the device's whole cache")
        .fix("use a disk with power-loss protection; never write to queue/write_cache, that only stops the flushes")
}

/// Room for the journal's largest size, beside what is there of it already.
fn room(folder: &Path, config: Option<&Config>) -> Option<Finding> {
    let config = config?;
    let there = statvfs(folder).ok()?;
    let free = there.f_bavail * there.f_frsize;
    Some(judge_room(free, held(folder), config.journal.max.0, config.journal.segment.0))
}

fn judge_room(free: u64, held: u64, max: u64, segment: u64) -> Finding {
    // The two newest images, and the one being written, are at most as large as the memory; this is the log alone.
    let wanted = max.saturating_sub(held);
    let needed = (2 * segment).saturating_sub(held);
    let severity = if free < needed { Severity::Fatal } else { Severity::Warn.unless(free >= wanted) };
    // To the mebibyte: the last bytes say nothing.
    let rounded = Size(free >> 20 << 20);
    Finding::new("free space", format!("at least {}", Size(wanted)), rounded.to_string(), severity)
        .why("a replica whose disk is full ends; one whose journal.max is reached refuses writes and lives")
        .fix("free some space, or lower journal.max on every replica")
}

/// Bytes of the log that the folder holds.
fn held(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let segments = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("segment-"));
    segments.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

const TRIAL_BYTES: u64 = 4 << 20;
const TRIAL_TIME: Duration = Duration::from_millis(300);
const TRIAL_WRITES: u64 = 1_000;

/// What a healthy disk stays below, under whatever load.
const LATENCY_P99_US_MAX: f64 = 10_000.0;

const LEASE_DEFAULT: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn run(p50_us: f64, p99_us: f64) -> Run {
        Run {
            method: Method::Flush,
            bytes: 4096,
            depth: 1,
            writes: 100,
            per_second: 1.0,
            p50_us,
            p90_us: p99_us,
            p99_us,
            p999_us: p99_us,
            max_us: p99_us,
        }
    }

    #[test]
    fn filesystems_and_options_that_lose_writes_are_fatal() {
        for (folder, name, severity) in [
            ("/var/tmp", "xfs", Severity::Ok),
            ("/var/tmp", "ext4", Severity::Ok),
            ("/var/tmp", "ext3", Severity::Warn),
            ("/dev/shm", "tmpfs", Severity::Fatal),
        ] {
            let refused = check_file_system(Path::new(folder)).err();
            assert_eq!(filesystem(name, refused).severity, severity, "{name}");
        }
        let mounted = |list: &str| Mount {
            filesystem: "ext4".into(),
            options: list.split(',').map(str::to_owned).collect(),
            point: "/x".into(),
            disk: None,
        };
        let severities =
            |list: &str| options(&mounted(list)).iter().map(|finding| finding.severity).collect::<Vec<_>>();
        assert_eq!(severities("rw,noatime"), [Severity::Ok, Severity::Ok]);
        assert_eq!(severities("rw,nobarrier"), [Severity::Fatal, Severity::Ok]);
        assert_eq!(severities("rw,barrier=0,discard"), [Severity::Fatal, Severity::Warn]);
    }

    #[test]
    fn latency_is_held_against_the_lease() {
        let lease = Duration::from_millis(250);
        assert_eq!(latency(&run(120.0, 900.0), lease).severity, Severity::Ok);
        assert_eq!(latency(&run(900.0, 11_000.0), lease).severity, Severity::Warn);
        assert_eq!(latency(&run(900.0, 9_000.0), Duration::from_millis(20)).severity, Severity::Warn, "a short lease");
        assert_eq!(latency(&run(130_000.0, 140_000.0), lease).severity, Severity::Fatal);
    }

    #[test]
    fn a_volatile_cache_without_forced_writes_is_slow() {
        assert_eq!(write_cache("sda", "write through", false).severity, Severity::Ok);
        assert_eq!(write_cache("sda", "write back", true).severity, Severity::Ok);
        assert_eq!(write_cache("sda", "write back", false).severity, Severity::Warn);
    }

    #[test]
    fn room_is_for_the_whole_journal() {
        let (max, segment) = (8 << 30, 64 << 20);
        assert_eq!(judge_room(9 << 30, 0, max, segment).severity, Severity::Ok);
        assert_eq!(judge_room(1 << 30, 7 << 30, max, segment).severity, Severity::Ok, "most of it is there");
        assert_eq!(judge_room(1 << 30, 0, max, segment).severity, Severity::Warn);
        assert_eq!(judge_room(100 << 20, 0, max, segment).severity, Severity::Fatal);
    }
}
