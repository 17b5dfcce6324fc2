//! What ends a process or a command, said so that a person can mend it.
//!
//! A failure tells five things: what failed and where, what was found against what is needed, why that matters, how to
//! mend it, and its code. The code's number is also the exit status, so that a script can tell failures apart without
//! reading them.

use std::fmt;
use std::io;
use std::path::Path;

/// Why a process ends, or a command did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    code: Code,
    what: Box<str>,
    found: Option<Box<str>>,
    needed: Option<Box<str>>,
    why: Option<Box<str>>,
    fix: Option<Box<str>>,
}

/// The failures, each with its number: `E031` is printed, 31 is the exit status. A number is never used again for
/// something else. 0 is success, 101 and 128 and above belong to the shell and the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Code {
    /// The namespace refused the operation: no such node, node exists, another version ... Nothing was changed.
    Refused,
    /// The command line is wrong.
    Usage,
    /// The cell did not answer in time, or no majority of it does. Nothing is known to have been changed.
    Unavailable,
    /// The connection was lost after a mutation was sent: it may or may not have been applied.
    OutcomeUnknown,
    /// The session expired, or the server refuses this client for good (other cell, other protocol).
    SessionLost,

    /// The configuration file cannot be read.
    ConfigUnreadable,
    /// The configuration is malformed or contradicts itself.
    ConfigInvalid,

    /// This host's kernel gives no usable io_uring.
    RingUnavailable,
    /// Too little locked memory, or too few file descriptors, are allowed.
    HostLimit,
    /// The filesystem cannot do what the journal needs (direct, aligned, durable writes).
    FilesystemUnfit,
    /// A core named in the configuration does not exist or cannot be pinned to.
    CoreUnavailable,
    /// There is no room for the journal.
    DiskFull,

    /// The folder to be formatted has content.
    FolderNotEmpty,
    /// Another process holds the folder.
    FolderInUse,
    /// The folder belongs to another cell.
    OtherCell,
    /// The folder holds no formatted replica.
    NotFormatted,
    /// The folder's replica is not in the configuration.
    UnknownReplica,
    /// The folder was written in a newer format than this program knows.
    NewerFormat,
    /// All copies of the hard state are unreadable: the replica no longer knows what it promised, and must not vote.
    Amnesia,
    /// What the journal holds contradicts itself in a way no crash can explain.
    JournalDamaged,

    /// Reading or writing the folder failed. Never retried: after a failed flush nobody knows what the disk holds.
    DiskFailed,
    /// The address to listen on cannot be had.
    ListenFailed,
    /// The event loop failed.
    LoopFailed,
    /// This replica's state differs from that of the others.
    Diverged,

    /// A replica of a development cell ended by itself.
    ReplicaEnded,
    /// The development cell did not serve in time.
    NotServing,

    /// A load run saw an answer that no correct cell gives.
    WrongAnswer,
    /// A load run could not be done as asked.
    RunFailed,
}

impl Failure {
    /// A failure of that kind; `what` says what failed and where, as a sentence without a final stop.
    #[must_use]
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into().into(), found: None, needed: None, why: None, fix: None }
    }

    /// An operation on a file that the system refused. Full disks and missing permissions get their own fix.
    #[must_use]
    pub fn io(code: Code, action: &str, path: &Path, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::StorageFull { Code::DiskFull } else { code };
        let failure = Self::new(code, format!("cannot {action} {}", path.display())).found(error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull => failure.fix("free some space there, or name a folder on another disk"),
            io::ErrorKind::PermissionDenied => {
                failure.fix("run it as the user that owns the folder, or change the folder's owner")
            }
            io::ErrorKind::NotFound => failure.fix("check the path"),
            _ => failure,
        }
    }

    /// What is there.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into().into());
        self
    }

    /// What there should be.
    #[must_use]
    pub fn needed(mut self, needed: impl Into<String>) -> Self {
        self.needed = Some(needed.into().into());
        self
    }

    /// Why it matters, in one clause.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into().into());
        self
    }

    /// What mends it, as a command or an edit.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into().into());
        self
    }

    /// Its kind.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The status a process that ends by it exits with.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        self.code.number()
    }

    /// The whole text for a person: a headline and one indented line for each thing that is known.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = format!("error[{}]: {}", self.code, self.what);
        match (&self.found, &self.needed) {
            (Some(found), Some(needed)) if found.len() + needed.len() < 90 => {
                text += &format!("\n  found: {found}    needed: {needed}");
            }
            (found, needed) => {
                push_line(&mut text, "found", found.as_deref());
                push_line(&mut text, "needed", needed.as_deref());
            }
        }
        push_line(&mut text, "why", self.why.as_deref());
        push_line(&mut text, "fix", self.fix.as_deref());
        text
    }
}

impl Code {
    /// Every code, in the order of their numbers: for the table of exit statuses.
    pub const ALL: [Self; 28] = [
        Self::Refused,
        Self::Usage,
        Self::Unavailable,
        Self::OutcomeUnknown,
        Self::SessionLost,
        Self::ConfigUnreadable,
        Self::ConfigInvalid,
        Self::RingUnavailable,
        Self::HostLimit,
        Self::FilesystemUnfit,
        Self::CoreUnavailable,
        Self::DiskFull,
        Self::FolderNotEmpty,
        Self::FolderInUse,
        Self::OtherCell,
        Self::NotFormatted,
        Self::UnknownReplica,
        Self::NewerFormat,
        Self::Amnesia,
        Self::JournalDamaged,
        Self::DiskFailed,
        Self::ListenFailed,
        Self::LoopFailed,
        Self::Diverged,
        Self::ReplicaEnded,
        Self::NotServing,
        Self::WrongAnswer,
        Self::RunFailed,
    ];

    /// The code's number, and the exit status.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
            Self::OutcomeUnknown => 4,
            Self::SessionLost => 5,
            Self::ConfigUnreadable => 10,
            Self::ConfigInvalid => 11,
            Self::RingUnavailable => 20,
            Self::HostLimit => 21,
            Self::FilesystemUnfit => 22,
            Self::CoreUnavailable => 23,
            Self::DiskFull => 24,
            Self::FolderNotEmpty => 30,
            Self::FolderInUse => 31,
            Self::OtherCell => 32,
            Self::NotFormatted => 33,
            Self::UnknownReplica => 34,
            Self::NewerFormat => 35,
            Self::Amnesia => 36,
            Self::JournalDamaged => 37,
            Self::DiskFailed => 40,
            Self::ListenFailed => 41,
            Self::LoopFailed => 42,
            Self::Diverged => 43,
            Self::ReplicaEnded => 50,
            Self::NotServing => 51,
            Self::WrongAnswer => 60,
            Self::RunFailed => 61,
        }
    }

    /// What the status means, in a few words, for the table of exit statuses.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Refused => "the namespace refused it; nothing was changed",
            Self::Usage => "the command line is wrong",
            Self::Unavailable => "the cell did not answer in time",
            Self::OutcomeUnknown => "the connection was lost; the change may or may not have been made",
            Self::SessionLost => "the session expired, or the cell refuses this client",
            Self::ConfigUnreadable => "the configuration cannot be read",
            Self::ConfigInvalid => "the configuration is malformed or contradicts itself",
            Self::RingUnavailable => "the kernel gives no usable io_uring",
            Self::HostLimit => "a limit of this host is too low",
            Self::FilesystemUnfit => "the filesystem cannot hold a journal",
            Self::CoreUnavailable => "a configured core cannot be used",
            Self::DiskFull => "there is no room for the journal",
            Self::FolderNotEmpty => "the folder to be formatted has content",
            Self::FolderInUse => "another process holds the folder",
            Self::OtherCell => "the folder belongs to another cell",
            Self::NotFormatted => "the folder holds no formatted replica",
            Self::UnknownReplica => "the folder's replica is not in the configuration",
            Self::NewerFormat => "the folder was written by a newer version",
            Self::Amnesia => "the replica no longer knows what it promised",
            Self::JournalDamaged => "the journal contradicts itself",
            Self::DiskFailed => "reading or writing the folder failed",
            Self::ListenFailed => "an address to listen on cannot be had",
            Self::LoopFailed => "the event loop failed",
            Self::Diverged => "this replica's state differs from the others'",
            Self::ReplicaEnded => "a replica of the development cell ended by itself",
            Self::NotServing => "the development cell did not serve in time",
            Self::WrongAnswer => "a load run saw a wrong answer",
            Self::RunFailed => "a load run could not be done",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E{:03}", self.number())
    }
}

fn push_line(text: &mut String, label: &str, line: Option<&str>) {
    if let Some(line) = line {
        let label = format!("{label}:");
        let margin = format!("\n{:10}", "");
        *text += &format!("\n  {label:<8}{}", line.trim_end().replace('\n', &margin));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_number_below_the_shells() {
        let numbers: Vec<u8> = Code::ALL.iter().map(|code| code.number()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?} must rise");
        assert!(numbers.iter().all(|number| (1..=100).contains(number)));
    }

    #[test]
    fn a_report_says_what_is_known_and_nothing_else() {
        let bare = Failure::new(Code::ListenFailed, "cannot listen on 127.0.0.1:7400");
        assert_eq!(bare.report(), "error[E041]: cannot listen on 127.0.0.1:7400");
        let full = Failure::new(Code::HostLimit, "too little locked memory")
            .found("8 MiB")
            .needed("32 MiB")
            .why("registered buffers are pinned")
            .fix("ulimit -l 32768\nor LimitMEMLOCK=infinity");
        assert_eq!(
            full.report(),
            "error[E021]: too little locked memory\n  found: 8 MiB    needed: 32 MiB\n  \
             why:    registered buffers are pinned\n  fix:    ulimit -l 32768\n          or LimitMEMLOCK=infinity"
        );
        assert_eq!(full.exit_status(), 21);
    }
}
