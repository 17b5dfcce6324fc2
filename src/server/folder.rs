//! A replica's folder on disk.
//!
//! ```text
//! DIR/
//!   lock               held (flock) by the process that serves from here, with its pid
//!   hard-state         four copies of what must never be forgotten
//!   segment-00000001   the log, in files of one size, written with zeros once and then only overwritten and renamed
//!   io.toml            what `quorate iotest` measured of the disk, if it was run (`measured.rs`)
//!   image-00000000000000081234   the namespace up to that slot; the two newest are kept
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::config::Config;
use super::failure::{Code, Failure};
use super::images::image_path;
use crate::journal::hard_state::{FILE_BYTES, HardStateError, HardStateFile, ImagePointer, STRIDE_BYTES};
use crate::journal::{Identity, SegmentId};
use crate::limits::BLOCK_BYTES;
use crate::namespace::Namespace;
use crate::paxos::{self, Incarnation, ReplicaId};
use crate::replica::{ImageHead, write_image};
use crate::runtime::disk::{self, Access, DiskError, FolderLock};

/// Name of the file with the hard state.
pub const HARD_STATE: &str = "hard-state";

/// What `format` made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Formatted {
    pub folder: PathBuf,
    pub replica: ReplicaId,
    pub incarnation: Incarnation,
    /// Bytes written with zeros for the log.
    pub journal_bytes: u64,
    /// The alignment of direct writes there, in bytes.
    pub alignment: u64,
}

/// What a folder is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To be of those that found the cell.
    Found,
    /// To join a cell that is there: without a vote, and with no say in anything, before the cell's members name it.
    Join,
}

/// Makes the folder of replica `replica`: its identity, an empty hard state, and the first segments, written with zeros.
///
/// Everything is made under another name beside it and renamed at the end, so that a crash leaves a whole folder or none.
/// In a folder that is there (a mounted disk, one that its user may write to and the one above it not) it is made further
/// in, and the hard state, without which there is no replica, is moved up last: what a crash leaves of that is refused
/// from then on, and can be removed.
///
/// # Errors
///
/// A [`Failure`] when `replica` is not in the configuration, the folder has content, or the disk refuses.
pub fn format(config: &Config, replica: ReplicaId, purpose: Purpose, folder: &Path) -> Result<Formatted, Failure> {
    if config.replica(replica).is_none() {
        return Err(Failure::new(Code::UnknownReplica, format!("cannot format replica {replica}"))
            .found(format!("a configuration of replicas {}", list(config)))
            .fix("name one of them with --replica, or add a [[replica]] to the configuration"));
    }
    let identity = Identity { cell: config.cell.id, replica, incarnation: Incarnation(random_u128()) };
    let listed = config.replicas.iter().map(|r| r.id);
    let members = match purpose {
        Purpose::Found => paxos::Config::of_voters(listed),
        Purpose::Join => paxos::Config::of_strangers(listed),
    };
    let hard_state = HardStateFile::format(identity, &paxos::HardState::fresh(members));
    make(config, identity, &hard_state, |_| Ok(()), folder)
}

/// Makes the folder of a replica that founds a cell whose first list of members and whose state are known.
pub(super) fn found(
    config: &Config,
    (head, namespace): (&ImageHead, &mut Namespace),
    folder: &Path,
) -> Result<Formatted, Failure> {
    let ImageHead { identity, slot, revision, ref configs } = *head;
    let state = paxos::HardState { configs: configs.clone(), ..paxos::HardState::fresh(paxos::Config::default()) };
    let image = ImagePointer { slot, revision, is_led_to: false };
    let hard_state = HardStateFile::format_with(identity, &state, image);
    let write_its_image = |made: &Path| {
        let path = image_path(made, slot);
        let mut file = File::create(&path).map_err(|e| Failure::io(Code::DiskFailed, "create", &path, &e))?;
        let written = write_image(head, namespace, |bytes| file.write_all(&bytes)).and_then(|()| file.sync_all());
        written.map_err(|e| Failure::io(Code::DiskFailed, "write", &path, &e))
    };
    make(config, identity, &hard_state, write_its_image, folder)
}

/// Makes a replica's folder under another name, lets `add` put more there, and renames it.
fn make(
    config: &Config,
    identity: Identity,
    hard_state: &[u8],
    add: impl FnOnce(&Path) -> Result<(), Failure>,
    folder: &Path,
) -> Result<Formatted, Failure> {
    refuse_content(folder)?;
    disk::check_file_system(existing(folder)).map_err(disk_failure)?;
    let is_there = folder.exists();
    let made = if is_there { folder.join(UNFINISHED) } else { beside(folder) };
    if made.exists() {
        std::fs::remove_dir_all(&made).map_err(|e| Failure::io(Code::DiskFailed, "clear", &made, &e))?;
    }
    std::fs::create_dir_all(&made).map_err(|e| Failure::io(Code::DiskFailed, "create", &made, &e))?;
    let path = made.join(HARD_STATE);
    write_whole(&path, hard_state).map_err(|e| Failure::io(Code::DiskFailed, "write", &path, &e))?;
    let (_, alignment) = disk::open_direct(&path, Access::ReadWrite).map_err(disk_failure)?;
    for number in 1..=SEGMENTS_AT_FORMAT {
        let path = segment_path(&made, SegmentId(number));
        zero_file(&path, config.journal.segment.0)
            .map_err(|e| Failure::io(Code::DiskFailed, "write with zeros", &path, &e))?;
    }
    add(&made)?;
    let sync = |path: &Path| disk::sync_folder(path).map_err(|e| Failure::io(Code::DiskFailed, "flush", path, &e));
    sync(&made)?;
    if is_there {
        move_up(&made, folder).map_err(|e| Failure::io(Code::DiskFailed, "move files into", folder, &e))?;
    } else {
        std::fs::rename(&made, folder).map_err(|e| Failure::io(Code::DiskFailed, "rename to", folder, &e))?;
        sync(parent(folder))?;
    }
    Ok(Formatted {
        folder: folder.to_owned(),
        replica: identity.replica,
        incarnation: identity.incarnation,
        journal_bytes: SEGMENTS_AT_FORMAT * config.journal.segment.0,
        alignment: alignment.position as u64,
    })
}

/// Whether a process could serve from the folder now.
///
/// # Errors
///
/// What such a process would fail with: nothing formatted there, an unfit file system, another process that serves.
pub fn check_ready(path: &Path) -> Result<(), Failure> {
    Folder::take(path).map(|_| ())
}

/// The folder of a formatted replica, held against other processes.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    lock: Option<FolderLock>,
}

impl Folder {
    /// Takes the folder for this process.
    pub(super) fn take(path: &Path) -> Result<Self, Failure> {
        let hard_state = path.join(HARD_STATE);
        // Whether it is there is not known of a folder that may not be looked into.
        let there = hard_state.try_exists().map_err(|e| Failure::io(Code::DiskFailed, "look for", &hard_state, &e))?;
        if !there {
            return Err(Failure::new(Code::NotFormatted, format!("{} holds no replica", path.display()))
                .needed(format!("a file {HARD_STATE} in it"))
                .why("a replica that is made anew has no vote in a cell that knew another disk of it")
                .fix(
                    "if there was a replica, bring its folder back (is the disk mounted?); if its disk is lost: quorate \
                     recover --replica I --config F DIR; if the cell is new: quorate format --cell ID --replica I \
                     --config F DIR",
                ));
        }
        disk::check_file_system(path).map_err(disk_failure)?;
        let lock = FolderLock::acquire(path).map_err(disk_failure)?;
        Ok(Self { path: path.to_owned(), lock: Some(lock) })
    }

    /// It stays this process's until that has ended.
    pub(super) fn keep(&mut self) {
        std::mem::forget(self.lock.take());
    }

    /// Numbers of the segments there, ascending.
    pub(super) fn segments(&self) -> Result<Vec<SegmentId>, Failure> {
        let failed = |e: std::io::Error| Failure::io(Code::DiskFailed, "list", &self.path, &e);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("segment-")).and_then(|n| n.parse().ok());
            found.extend(number.map(SegmentId));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Opens a segment for direct writes.
    pub(super) fn open_segment(&self, segment: SegmentId) -> Result<File, Failure> {
        let path = segment_path(&self.path, segment);
        disk::open_direct(&path, Access::ReadWrite).map(|(file, _)| file).map_err(disk_failure)
    }

    /// Opens the hard state for direct writes.
    pub(super) fn open_hard_state(&self) -> Result<File, Failure> {
        let path = self.path.join(HARD_STATE);
        disk::open_direct(&path, Access::ReadWrite).map(|(file, _)| file).map_err(disk_failure)
    }
}

/// Whose folder that is, of the cell of `config`; nobody's, if there is nothing in it.
///
/// # Errors
///
/// A [`Failure`] when there is something in it that is no replica of that cell.
pub fn whose(config: &Config, folder: &Path) -> Result<Option<(ReplicaId, Incarnation, Purpose)>, Failure> {
    let path = folder.join(HARD_STATE);
    if !path.exists() {
        return refuse_content(folder).map(|()| None);
    }
    let bytes = read_hard_state(&path).map_err(|error| Failure::io(Code::DiskFailed, "read", &path, &error))?;
    let hard_state = HardStateFile::open(config.cell.id, &bytes).map_err(|error| unreadable(&path, &error))?;
    let Identity { replica, incarnation, .. } = hard_state.contents().identity;
    let members = hard_state.contents().paxos.configs.newest();
    let founds = members.is_unfounded() && members.has_voter(replica);
    Ok(Some((replica, incarnation, if founds { Purpose::Found } else { Purpose::Join })))
}

/// The file of the hard state, as far as the disk reads it: a copy that it does not read is zeros, and counts as damaged.
///
/// # Errors
///
/// Why it cannot be read, if that is not for some of its blocks.
pub fn read_hard_state(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    copies_read(|block, at| file.read_exact_at(block, at))
}

fn copies_read(mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; FILE_BYTES];
    for copy in (0..FILE_BYTES).step_by(STRIDE_BYTES) {
        let block = &mut bytes[copy..copy + BLOCK_BYTES];
        match read(block, copy as u64) {
            Err(error) if disk::is_unreadable(&error) || error.kind() == io::ErrorKind::UnexpectedEof => block.fill(0),
            read => read?,
        }
    }
    Ok(bytes)
}

/// Why a hard state cannot be gone on from.
pub(super) fn unreadable(path: &Path, error: &HardStateError) -> Failure {
    let code = match error {
        HardStateError::Amnesia => Code::Amnesia,
        HardStateError::ForeignCell { .. } => Code::OtherCell,
        HardStateError::NewerFormat { .. } => Code::NewerFormat,
    };
    Failure::new(code, format!("{}: {error}", path.display()))
}

/// Where a segment lies.
#[must_use]
pub fn segment_path(folder: &Path, segment: SegmentId) -> PathBuf {
    folder.join(format!("segment-{:08}", segment.0))
}

/// A random number of the kernel's.
pub(super) fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the kernel has random numbers");
    u128::from_le_bytes(bytes)
}

pub(super) fn refuse_content(folder: &Path) -> Result<(), Failure> {
    let is_content = |name: &std::ffi::OsStr| name != UNFINISHED && name != OF_THE_FILE_SYSTEM;
    let content = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.any(|entry| entry.is_ok_and(|entry| is_content(&entry.file_name()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(Failure::io(Code::DiskFailed, "look into", folder, &error)),
    };
    if content {
        return Err(Failure::new(Code::FolderNotEmpty, format!("cannot format {}", folder.display()))
            .found("a folder with content")
            .needed("an empty folder, or none")
            .why("formatting would destroy what a replica has promised and stored")
            .fix("name another folder; if this one is surely not needed, remove it yourself"));
    }
    Ok(())
}

fn disk_failure(error: DiskError) -> Failure {
    let code = match &error {
        DiskError::Unfit { .. } | DiskError::NotDirect { .. } | DiskError::Coarse { .. } => Code::FilesystemUnfit,
        DiskError::InUse { .. } => Code::FolderInUse,
        DiskError::Io { .. } => Code::DiskFailed,
    };
    Failure::new(code, error.to_string())
}

/// Makes a file with that content, durable but for its name.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes a file of zeros, every block written, durable but for its name.
///
/// # Errors
///
/// What the system refused.
pub fn zero_file(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let zeros = vec![0; ZEROS_BYTES];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(ZEROS_BYTES as u64);
        file.write_all(&zeros[..piece as usize])?;
        left -= piece;
    }
    file.sync_all()
}

/// Moves what was made in a folder into the one that it lies in: the hard state once all else is there.
fn move_up(made: &Path, folder: &Path) -> io::Result<()> {
    let names = std::fs::read_dir(made)?.map(|entry| entry.map(|entry| entry.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    let (last, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name == HARD_STATE);
    for some in [others, last] {
        for name in some {
            std::fs::rename(made.join(&name), folder.join(&name))?;
        }
        disk::sync_folder(folder)?;
    }
    std::fs::remove_dir(made)
}

/// Where a folder that is not there is made.
fn beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".formatting");
    folder.with_file_name(name)
}

/// The folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."))
}

fn parent(folder: &Path) -> &Path {
    folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn list(config: &Config) -> String {
    config.replicas.iter().map(|replica| replica.id.to_string()).collect::<Vec<_>>().join(", ")
}

/// What is made in a folder that is there, until it is whole.
const UNFINISHED: &str = "formatting";

/// What a fresh file system has in its root.
const OF_THE_FILE_SYSTEM: &str = "lost+found";

/// One to write, one ready.
const SEGMENTS_AT_FORMAT: u64 = 2;

/// What is written with zeros at once.
const ZEROS_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::hard_state::{CopyState, copies};
    use crate::paxos::{CellId, Config, HardState};

    #[test]
    fn a_copy_on_blocks_that_cannot_be_read_is_one_of_four() {
        let identity = Identity { cell: CellId(1), replica: ReplicaId(1), incarnation: Incarnation(1) };
        let file = HardStateFile::format(identity, &HardState::fresh(Config::of_voters([ReplicaId(1)])));
        let unreadable = |errno: rustix::io::Errno| {
            let read = |block: &mut [u8], at: u64| {
                let from = at as usize;
                if from == STRIDE_BYTES {
                    return Err(errno.into());
                }
                block.copy_from_slice(&file[from..from + block.len()]);
                Ok(())
            };
            copies_read(read)
        };
        let bytes = unreadable(rustix::io::Errno::IO).expect("three copies are there");
        let whole = copies(&bytes).filter(|copy| matches!(copy, CopyState::Whole { .. })).count();
        assert_eq!(whole, 3);
        HardStateFile::open(CellId(1), &bytes).expect("it goes on from them");
        assert!(unreadable(rustix::io::Errno::ACCESS).is_err(), "that says nothing of the copy");
    }
}
