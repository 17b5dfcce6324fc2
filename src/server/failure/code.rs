//! The codes, in one table: the errors, `quorate explain`, the exit statuses and their documentation all read it.

use std::fmt;
use std::str::FromStr;

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
    /// The access list of a node gives this client no such right. Nothing was changed.
    NotAuthorized,
    /// What a program was run for (a lock, leadership, a handle) was lost while it ran.
    HeldLost,

    /// The configuration file cannot be read.
    ConfigUnreadable,
    /// The configuration is malformed or contradicts itself.
    ConfigInvalid,

    /// Less memory may be locked than the ring's buffers take.
    LockedMemory,
    /// This host's kernel gives no usable io_uring.
    RingUnavailable,
    /// Too few file descriptors are allowed.
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
    /// The cell's members do not name this replica's disk any more.
    Removed,

    /// A replica of a development cell ended by itself.
    ReplicaEnded,
    /// The development cell did not serve in time.
    NotServing,
    /// Most copies of the hard state went bad beneath a running replica.
    HardStateLost,
    /// The folder is an older copy of itself: the disk acknowledged more than it holds.
    OldFolder,

    /// A load run saw an answer that no correct cell gives.
    WrongAnswer,
    /// A load run could not be done as asked.
    RunFailed,
}

/// What is written about one code.
struct Row {
    code: Code,
    number: u8,
    meaning: &'static str,
    more: &'static str,
}

impl Code {
    /// Every code, in the order of their numbers: for the table of exit statuses.
    pub const ALL: [Self; 34] = [
        Self::Refused,
        Self::Usage,
        Self::Unavailable,
        Self::OutcomeUnknown,
        Self::SessionLost,
        Self::NotAuthorized,
        Self::HeldLost,
        Self::ConfigUnreadable,
        Self::ConfigInvalid,
        Self::LockedMemory,
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
        Self::Removed,
        Self::ReplicaEnded,
        Self::NotServing,
        Self::HardStateLost,
        Self::OldFolder,
        Self::WrongAnswer,
        Self::RunFailed,
    ];

    /// The code's number, and the exit status.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.row().number
    }

    /// What the status means, in a few words, for the table of exit statuses.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// What is behind it, and what to do: for `quorate explain`.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        self.row().more
    }

    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

/// One row a code, in their order, which is proved below.
const ROWS: [Row; 34] = [
    Row {
        code: Code::Refused,
        number: 1,
        meaning: "the namespace refused it; nothing was changed",
        more: "The operation reached the cell, and its rules say no: no such node, node exists, another version, \
               too large. The message names the node and the cure.",
    },
    Row {
        code: Code::Usage,
        number: 2,
        meaning: "the command line is wrong",
        more: "A flag, a path or a value cannot be read. Nothing was sent. `quorate COMMAND --help` shows the form, \
               with examples.",
    },
    Row {
        code: Code::Unavailable,
        number: 3,
        meaning: "the cell did not answer in time",
        more: "No replica gave an answer that a majority stands behind. Look at `quorate status`: which replicas \
               answer, which have a vote, whether one leads. An election takes less than a second; a majority that \
               is down takes a person. A replica that hears a majority and stays a candidate says in its log which \
               entry it cannot decide, and who is missing.",
    },
    Row {
        code: Code::OutcomeUnknown,
        number: 4,
        meaning: "the connection was lost; the change may or may not have been made",
        more: "The change was sent, and the answer lost. It may have been made. Read what is there before doing it \
               again; a session of the library's own finds out by itself, as it sends the request again under its \
               number.",
    },
    Row {
        code: Code::SessionLost,
        number: 5,
        meaning: "the session expired, or the cell refuses this client",
        more: "What answers is another cell, another protocol, or says that the session is over. Check --endpoints \
               against the `client` addresses of the configuration, and --cell against its id; a session that \
               expired took its ephemeral nodes with it.",
    },
    Row {
        code: Code::NotAuthorized,
        number: 6,
        meaning: "an access list does not let this client do it; nothing was changed",
        more: "The message names the node and the right that is missing. `quorate acl whoami` shows whom the session \
               stands for, --auth or the variable QUORATE_AUTH make it stand for a user; whoever administers the node \
               can give the right with `quorate acl set`, and the super principal of the configuration may do \
               everything. Where there is a super principal, or a list, it alone fetches snapshots and changes the \
               members: `super` in [acl] of the configuration names it. Of a node to which one has no right at all one is told that it does not exist.",
    },
    Row {
        code: Code::HeldLost,
        number: 7,
        meaning: "what the program was run for was lost, and it ended well when it was told to",
        more: "`quorate lock`, `elect`, `open` and those of `quorate recipe` that run a program end with the program's own status. \
               Here the lock, or whatever it ran for, was lost before it had ended: it was told to end, and did with 0, as if \
               its work were done. What it was about may be half done, and others may be at it by now. The warning before says \
               what was lost, and why.",
    },
    Row {
        code: Code::ConfigUnreadable,
        number: 10,
        meaning: "the configuration cannot be read",
        more: "The file named by --config is not there, or this user may not read it.",
    },
    Row {
        code: Code::ConfigInvalid,
        number: 11,
        meaning: "the configuration is malformed or contradicts itself",
        more: "The configuration does not parse, names a key that does not exist, or asks for what cannot be \
               together. `quorate check-config FILE` tells without starting anything; `quorate config show \
               --origins` tells where each value comes from.",
    },
    Row {
        code: Code::LockedMemory,
        number: 12,
        meaning: "no locked memory for the buffers of io_uring",
        more: "The buffers of bulk reads and writes are registered with io_uring, which pins them, and this process may lock \
               less memory (RLIMIT_MEMLOCK) than they take. The unit has LimitMEMLOCK=infinity; elsewhere `quorate tune \
               apply locked-memory` raises the limit for good, and `ulimit -l` for one shell. `quorate doctor` tells how \
               much is needed.",
    },
    Row {
        code: Code::RingUnavailable,
        number: 20,
        meaning: "the kernel gives no usable io_uring",
        more: "The server does all its work through io_uring, of Linux 6.1 or newer. It may be switched off (sysctl \
               kernel.io_uring_disabled) or forbidden by a container's seccomp profile.",
    },
    Row {
        code: Code::HostLimit,
        number: 21,
        meaning: "too few open files are allowed",
        more: "The process may open fewer files (RLIMIT_NOFILE) than what it is asked takes: each connection and each file of the \
               journal is one. The unit has LimitNOFILE=1048576; elsewhere `quorate tune apply open-files` raises the \
               limit for good, and `ulimit -n` for one shell.",
    },
    Row {
        code: Code::FilesystemUnfit,
        number: 22,
        meaning: "the filesystem cannot hold a journal",
        more: "A promise must survive a power cut, so the journal is written directly to a local disk and flushed. \
               tmpfs, overlayfs, network and copying file systems cannot do that, or do it at many times the cost. \
               Put the folder on ext4 or XFS. Where nothing must last, QUORATE_UNSAFE_FOLDERS=1 takes any folder.",
    },
    Row {
        code: Code::CoreUnavailable,
        number: 23,
        meaning: "a configured core cannot be used",
        more: "A core of [server] cores does not exist, or the process may not run there (taskset, cpuset).",
    },
    Row {
        code: Code::DiskFull,
        number: 24,
        meaning: "there is no room for the journal",
        more: "There is no room for a file of the journal. Its whole size is known beforehand: journal.max, and two \
               images of the namespace.",
    },
    Row {
        code: Code::FolderNotEmpty,
        number: 30,
        meaning: "the folder to be formatted has content",
        more: "A folder is formatted once in the life of a replica. Formatting one that holds anything could \
               destroy what a replica has promised.",
    },
    Row {
        code: Code::FolderInUse,
        number: 31,
        meaning: "another process holds the folder",
        more: "A server holds the folder's lock, or `quorate inspect` reads it at the moment. Two processes on one \
               journal would destroy it. So would two `quorate snapshot save` that write one file at once.",
    },
    Row {
        code: Code::OtherCell,
        number: 32,
        meaning: "the folder belongs to another cell",
        more: "The folder was formatted for a cell of another id than the configuration names. One of the two is \
               the wrong one.",
    },
    Row {
        code: Code::NotFormatted,
        number: 33,
        meaning: "the folder holds no formatted replica",
        more: "There is no replica in the folder. A new one is made by `quorate format`; one that was lost and is \
               made anew has another identity, and is brought back by `quorate recover`.",
    },
    Row {
        code: Code::UnknownReplica,
        number: 34,
        meaning: "the folder's replica is not in the configuration",
        more: "The replica's number is not in the configuration. The file is the same on every replica and lists \
               all of them.",
    },
    Row {
        code: Code::NewerFormat,
        number: 35,
        meaning: "the folder was written by a newer version",
        more: "A newer version has written there. Run that version, or a newer one.",
    },
    Row {
        code: Code::Amnesia,
        number: 36,
        meaning: "the replica no longer knows what it promised",
        more: "Every copy of the hard state is damaged, or the journal contradicts it: the replica can no longer \
               know what it promised, so its vote could undo a choice. Keep the folder for a post-mortem, and \
               bring the replica back with a fresh one: `quorate recover`.",
    },
    Row {
        code: Code::JournalDamaged,
        number: 37,
        meaning: "the journal contradicts itself, or a snapshot is damaged",
        more: "Records that were durable are gone or changed: no crash does that, a disk or a person does. The \
               other replicas have the log. Look at the disk (dmesg, SMART), and bring the replica \
               back with a fresh folder: `quorate recover`. Of a snapshot: the file is none, is not whole, or was \
               changed after it was saved; save it again.",
    },
    Row {
        code: Code::DiskFailed,
        number: 40,
        meaning: "reading or writing the folder failed",
        more: "A read, a write or a flush failed, or took longer than 10 s. After a failed flush nobody knows what \
               the disk holds, so the replica stops at once and is never retried. Look at dmesg.",
    },
    Row {
        code: Code::ListenFailed,
        number: 41,
        meaning: "an address to listen on cannot be had",
        more: "Something listens there already, the address is not of this host, or its name cannot be looked up.",
    },
    Row {
        code: Code::LoopFailed,
        number: 42,
        meaning: "the event loop failed",
        more: "The kernel refused what the server cannot live without. That should not be: the message has its \
               words, keep the log.",
    },
    Row {
        code: Code::Diverged,
        number: 43,
        meaning: "this replica's state differs from the others'",
        more: "Every so many log entries the replicas tell each other a digest of their state. This replica's is another \
               than a majority's at the same slot; or no majority has one digest, and then every replica stops, since \
               nobody knows who is right. Memory, an image, or a program is damaged. Keep copies of the folders and the \
               logs, and report it. One that differs from a majority comes back with an empty folder: `quorate \
               recover`. If none agree: start each alone, look at it, and keep the one that is right.",
    },
    Row {
        code: Code::Removed,
        number: 44,
        meaning: "the replica is no member of the cell any more",
        more: "A change of the members left this replica's disk out: it was removed, or replaced by another disk. It can \
               do nothing for the cell. Keep it stopped. `quorate member list` shows who the members are; `quorate \
               recover` brings a replica back, with an empty folder.",
    },
    Row {
        code: Code::ReplicaEnded,
        number: 50,
        meaning: "a replica of the development cell ended by itself",
        more: "A process of the development cell ended while it was starting; the message has its last words.",
    },
    Row {
        code: Code::NotServing,
        number: 51,
        meaning: "the development cell did not serve in time",
        more: "The processes of the development cell run, but gave no linearizable read in time; the message has \
               their last words. A busy host may need more than --patience.",
    },
    Row {
        code: Code::HardStateLost,
        number: 52,
        meaning: "most copies of the hard state went bad",
        more: "What a replica has promised lies on its disk four times. While it runs the copies are read back every \
               scrub period, and a damaged one is written again. Here more than two were not as they were written: the \
               disk loses what it said was durable, and the next promise could be one that it forgets. Replace the disk, \
               then bring the replica back with an empty folder: `quorate recover`.",
    },
    Row {
        code: Code::OldFolder,
        number: 55,
        meaning: "the folder is an older copy of itself",
        more: "Each replica remembers what the others' disks acknowledged, and says so when they link. This disk does not hold \
               what it acknowledged: an older copy of the folder (a backup, a snapshot of the volume) was put in place, or \
               the disk lost what it said was durable. Promises and votes are forgotten, so it must not take part. If the \
               newer folder is still there, put it back; otherwise bring the replica back with an empty folder: `quorate \
               recover`. To go back to an older state of the whole cell: `quorate snapshot restore`.",
    },
    Row {
        code: Code::WrongAnswer,
        number: 60,
        meaning: "a load run saw a wrong answer",
        more: "The load generator verifies each answer. This one is possible only if a write was lost or doubled, \
               or a read was old. Keep the replicas' folders and logs, and report it.",
    },
    Row {
        code: Code::RunFailed,
        number: 61,
        meaning: "a load run or a program could not be run",
        more: "The run could not be done as asked, was over too early to say anything, or much of what it asked came to \
               nothing; or its figures are worse than those it is held against; or the program that was to be run could \
               not be started.",
    },
];

const _: () = {
    let mut at = 0;
    while at < ROWS.len() {
        assert!(ROWS[at].code as usize == at, "a code finds its own row");
        at += 1;
    }
};

impl FromStr for Code {
    type Err = String;

    /// Reads `E031`, `e31` or `31`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim_start_matches(['E', 'e']).parse::<u8>().ok();
        let code = number.and_then(|number| Self::ALL.into_iter().find(|code| code.number() == number));
        code.ok_or_else(|| format!("there is no code `{text}`; without one, `quorate explain` lists them"))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E{:03}", self.number())
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
    fn every_code_is_explained_and_found_by_its_name() {
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
            assert_eq!(code.number().to_string().parse(), Ok(code));
            assert!(code.explanation().len() > code.meaning().len(), "{code} says more than its headline");
        }
        for text in ["E999", "E0", "", "disk"] {
            assert!(text.parse::<Code>().is_err(), "{text}");
        }
    }
}
