//! A replica's folder: formatted, of this cell, and whose.

use std::fs::{self, File};
use std::path::Path;

use quorate::journal::hard_state::HardStateFile;
use quorate::paxos::ReplicaId;
use quorate::server::Config;
use quorate::server::folder::{HARD_STATE, read_hard_state};
use rustix::fs::{FlockOperation, flock};

use super::finding::{Finding, Severity};

/// What is known of the replica in a folder.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Resident {
    pub replica: Option<ReplicaId>,
    /// The process that serves from there.
    pub process: Option<u32>,
}

pub fn examine(dir: &Path, config: &Config, findings: &mut Vec<Finding>) -> Resident {
    let resident = Resident { replica: None, process: holder(dir) };
    let path = dir.join(HARD_STATE);
    let condition = "replica's folder";
    let required = format!("a replica of cell {}", config.cell.id);
    let file = match read_hard_state(&path) {
        Ok(file) => file,
        Err(error) => {
            let never = error.kind() == std::io::ErrorKind::NotFound;
            let (found, severity) = match never {
                true => ("not formatted".to_owned(), Severity::Warn),
                false => (error.to_string(), Severity::Fatal),
            };
            let fix = match never {
                true => format!(
                    "if there was a replica, bring its folder back (is the disk mounted?); if there was none: \
                     quorate format --cell {} --replica I --config F {}",
                    config.cell.id,
                    dir.display()
                ),
                false => "run it as the user that owns the folder".to_owned(),
            };
            findings.push(Finding::new(condition, required, found, severity).fix(fix));
            return resident;
        }
    };
    let opened = match HardStateFile::open(config.cell.id, &file) {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(
                Finding::new(condition, required, error.to_string(), Severity::Fatal)
                    .why("it does not hold what a replica of this cell has promised")
                    .fix("name the right folder or configuration; a replica that forgot its promises needs a fresh folder"),
            );
            return resident;
        }
    };
    let replica = opened.contents().identity.replica;
    let known = config.replica(replica).is_some();
    let serving = resident.process.map_or(String::new(), |process| format!(", served by process {process}"));
    findings.push(
        Finding::new(condition, required, format!("replica {replica}{serving}"), Severity::Fatal.unless(known))
            .why("the configuration must name every replica")
            .fix("add its [[replica]] to the configuration, the same on every replica"),
    );
    let damaged = opened.damaged_copies();
    findings.push(
        Finding::new(
            "hard state",
            "four sound copies",
            format!("{} sound", 4 - damaged),
            Severity::Warn.unless(damaged == 0),
        )
        .why("a replica without any has forgotten what it promised")
        .fix("start the replica, which writes them again; then check the disk"),
    );
    Resident { replica: Some(replica), ..resident }
}

/// The process that holds the folder's lock.
fn holder(dir: &Path) -> Option<u32> {
    let lock = File::open(dir.join("lock")).ok()?;
    flock(&lock, FlockOperation::NonBlockingLockShared).err()?;
    fs::read_to_string(dir.join("lock")).ok()?.trim().parse().ok()
}
