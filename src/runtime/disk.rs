//! Files as the journal wants them: written around the page cache, read back exactly, in a folder that is ours alone.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, StatxFlags, flock, open, statx};
use thiserror::Error;

use crate::limits::BLOCK_BYTES;

/// What the kernel asks of direct reads and writes to a file, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alignment {
    /// Of a buffer's address.
    pub memory: usize,
    /// Of a position in the file, and of a length.
    pub position: usize,
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Read,
    ReadWrite,
}

/// Why a file or folder cannot be used.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The file system keeps nothing, or not here.
    #[error(
        "{path} cannot hold a journal\n  found: {found}    needed: ext4 or XFS on a local disk\n  why:   {why}\n  fix:   put \
         the folder on ext4 or XFS on a local disk; to try things out where nothing must last: {UNSAFE_FOLDERS}=1"
    )]
    Unfit { path: PathBuf, found: &'static str, why: &'static str },
    /// The file system does not write around the page cache.
    #[error(
        "{path} does not take direct writes\n  found: {found}    needed: O_DIRECT\n  why:   a flush is durable only if nothing \
         of the write stays in the page cache, and its time must not depend on other writers\n  fix:   put the folder on \
         ext4 or XFS on a local disk"
    )]
    NotDirect { path: PathBuf, found: String },
    /// It does, in larger units than the journal's.
    #[error(
        "{path} asks for a coarser alignment than the journal's\n  found: memory {memory}, position {position} bytes    \
         needed: at most {BLOCK_BYTES}\n  why:   a record's block must not share a device block with another\n  fix:   use a \
         disk with blocks of at most {BLOCK_BYTES} bytes"
    )]
    Coarse { path: PathBuf, memory: usize, position: usize },
    /// Another process holds the folder.
    #[error(
        "{path} is in use\n  found: locked by process {holder}\n  why:   two processes on one journal destroy it\n  fix:   stop \
         that process, or name another folder"
    )]
    InUse { path: PathBuf, holder: String },
    /// The kernel refused.
    #[error("cannot {doing} {path}: {found}")]
    Io { doing: &'static str, path: PathBuf, found: io::Error },
}

/// Memory for direct reads: it starts on a block boundary and is a whole number of blocks long.
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

/// A folder that no other process may use while this lives.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// A file that will not change any more, read through the page cache.
#[derive(Debug)]
pub struct SealedFile(Mmap);

/// Set to 1, a folder is taken wherever it is, for trials where nothing must last.
pub const UNSAFE_FOLDERS: &str = "QUORATE_UNSAFE_FOLDERS";

/// Refuses `folder`, which exists, if its file system is of a kind that keeps no promise of durability. What is not known
/// to be unfit is taken: direct writes are tried at each open.
pub fn check_file_system(folder: &Path) -> Result<(), DiskError> {
    let stat =
        rustix::fs::statfs(folder).map_err(|error| failed("look at the file system of", folder)(error.into()))?;
    let allowed = || std::env::var_os(UNSAFE_FOLDERS).is_some_and(|value| value == "1");
    match unfit(stat.f_type as u32) {
        Some((found, why)) if !allowed() => Err(DiskError::Unfit { path: folder.into(), found, why }),
        _ => Ok(()),
    }
}

/// The name of an unfit kind of file system, and why it is.
fn unfit(magic: u32) -> Option<(&'static str, &'static str)> {
    UNFIT.iter().find(|(number, ..)| *number == magic).map(|(_, name, why)| (*name, *why))
}

/// Opens `path`, which exists, for direct reads, or reads and writes.
pub fn open_direct(path: &Path, access: Access) -> Result<(File, Alignment), DiskError> {
    let access = match access {
        Access::Read => OFlags::RDONLY,
        Access::ReadWrite => OFlags::RDWR,
    };
    let opened = open(path, access | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty());
    let file = match opened {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::INVAL) => {
            return Err(DiskError::NotDirect { path: path.into(), found: "the open was refused".into() });
        }
        Err(error) => return Err(failed("open", path)(error.into())),
    };
    let alignment = alignment_of(&file, path)?;
    Ok((file, alignment))
}

/// Whether what was to be read lies on blocks that the disk does not read.
#[must_use]
pub fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Fills `buffer` from `position`, a multiple of the block; the file must reach that far.
pub fn read_exact_at(file: &File, buffer: &mut AlignedBuffer, position: u64) -> io::Result<()> {
    assert_eq!(position % BLOCK_BYTES as u64, 0, "a direct read starts on a block");
    file.read_exact_at(buffer, position)
}

/// Makes creations and renames in `folder` durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Gives a whole and durable file its name, durably: after a crash `to` is the old file or the new one.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A rename that found no room did not happen; one that is not flushed is half done, whatever the reason.
    sync_folder(folder).map_err(io::Error::other)
}

impl AlignedBuffer {
    /// `bytes` zeros, a multiple of the block.
    #[must_use]
    pub fn zeroed(bytes: usize) -> Self {
        assert_eq!(bytes % BLOCK_BYTES, 0, "a direct read is a whole number of blocks");
        let memory = vec![0; bytes + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        Self { memory, start, bytes }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.bytes]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.bytes]
    }
}

impl FolderLock {
    /// Takes the lock of `folder`, which exists. It ends with the process, however that ends.
    pub fn acquire(folder: &Path) -> Result<Self, DiskError> {
        let path = folder.join(LOCK_FILE);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let opened = open(&path, flags, Mode::from_raw_mode(0o644));
        let mut file = opened.map(File::from).map_err(|error| failed("open", &path)(error.into()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let read = file.read_to_string(&mut holder);
                let holder = read.ok().map(|_| holder.trim().to_owned()).filter(|text| !text.is_empty());
                return Err(DiskError::InUse {
                    path: folder.into(),
                    holder: holder.unwrap_or_else(|| "(unknown)".into()),
                });
            }
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
        file.set_len(0).map_err(failed("write", &path))?;
        writeln!(file, "{}", std::process::id()).map_err(failed("write", &path))?;
        Ok(Self { _file: file })
    }
}

impl SealedFile {
    /// Maps `path`, a file that nobody writes to for as long as this lives.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let file = File::open(path).map_err(failed("open", path))?;
        // SAFETY: the bytes must not change under a shared borrow. The folder's lock keeps other processes of ours away,
        // and the caller maps only files that are no longer written; somebody else who writes to a journal's files by
        // hand can at worst make a checksum fail, as bytes are all that is read here.
        let map = unsafe { Mmap::map(&file) }.map_err(failed("map", path))?;
        Ok(Self(map))
    }
}

impl Deref for SealedFile {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

fn alignment_of(file: &File, path: &Path) -> Result<Alignment, DiskError> {
    let stat = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN);
    let stat = stat.map_err(|error| failed("ask the alignment of", path)(error.into()))?;
    if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        // Before Linux 6.1, and on some file systems, the kernel does not say; blocks of ours suit every disk that took
        // the open, and the first write shows it if not.
        return Ok(Alignment { memory: BLOCK_BYTES, position: BLOCK_BYTES });
    }
    let (memory, position) = (stat.stx_dio_mem_align as usize, stat.stx_dio_offset_align as usize);
    if position == 0 {
        return Err(DiskError::NotDirect { path: path.into(), found: "the file system says it cannot".into() });
    }
    if memory > BLOCK_BYTES || position > BLOCK_BYTES {
        return Err(DiskError::Coarse { path: path.into(), memory, position });
    }
    Ok(Alignment { memory, position })
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |found| DiskError::Io { doing, path, found }
}

const IN_MEMORY: &str = "it lives in memory: after a power cut this replica would have forgotten what it promised";
const AWAY: &str = "it is somebody else's disk: a flush says nothing of it, and two hosts could write to one folder";
const STACKED: &str =
    "a file changes its identity when it is first written to, and the layers decide what a flush means";
const IMITATED: &str =
    "each write makes a copy elsewhere: direct writes are imitated, and a flush takes a metadata commit";

/// File systems by the number `statfs` gives, and why a journal cannot live there.
const UNFIT: [(u32, &str, &str); 14] = [
    (0x0102_1994, "tmpfs", IN_MEMORY),
    (0x8584_58f6, "ramfs", IN_MEMORY),
    (0x794c_7630, "overlayfs", STACKED),
    (0xf15f, "ecryptfs", STACKED),
    (0x6969, "NFS", AWAY),
    (0xff53_4d42, "CIFS", AWAY),
    (0xfe53_4d42, "SMB", AWAY),
    (0x00c3_6400, "Ceph", AWAY),
    (0x0102_1997, "9p", AWAY),
    (0x6573_5546, "FUSE", AWAY),
    (0x9123_683e, "btrfs", IMITATED),
    (0x2fc1_2fc1, "ZFS", IMITATED),
    (0xca45_1a4e, "bcachefs", IMITATED),
    (0x6175_6673, "aufs", STACKED),
];

/// Holds the process id of whoever locked the folder.
const LOCK_FILE: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_file_is_read_back_exactly() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blocks");
        let content: Vec<u8> = (0..3 * BLOCK_BYTES).map(|at| (at / BLOCK_BYTES) as u8).collect();
        std::fs::write(&path, &content).expect("written");
        let (file, alignment) = open_direct(&path, Access::Read).expect("a disk with direct reads");
        assert!(BLOCK_BYTES.is_multiple_of(alignment.memory) && BLOCK_BYTES.is_multiple_of(alignment.position));
        let mut buffer = AlignedBuffer::zeroed(2 * BLOCK_BYTES);
        read_exact_at(&file, &mut buffer, BLOCK_BYTES as u64).expect("read");
        assert_eq!(&buffer[..], &content[BLOCK_BYTES..]);
        let short = read_exact_at(&file, &mut buffer, 2 * BLOCK_BYTES as u64).expect_err("past the end");
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(&SealedFile::open(&path).expect("mapped")[..], &content[..]);
    }

    #[test]
    fn a_folder_in_memory_is_refused_with_its_cure() {
        assert_eq!(std::env::var_os(UNSAFE_FOLDERS), None, "this test must not be told to take anything");
        check_file_system(Path::new("/var/tmp")).expect("a disk");
        let refused = check_file_system(Path::new("/dev/shm")).expect_err("it is in memory").to_string();
        for part in ["/dev/shm", "found: tmpfs", "needed: ext4 or XFS", "why:   it lives in memory", "fix:"] {
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn networks_and_programs_are_no_disks_and_disks_are() {
        for (magic, name) in [(0x6969, "NFS"), (0x6573_5546, "FUSE"), (0x9123_683e, "btrfs"), (0xca45_1a4e, "bcachefs")]
        {
            assert_eq!(unfit(magic).map(|(name, _)| name), Some(name));
        }
        for (magic, name) in [(0xef53, "ext4"), (0x5846_5342, "XFS")] {
            assert_eq!(unfit(magic), None, "{name}");
        }
    }

    #[test]
    fn a_folder_has_one_holder_who_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = FolderLock::acquire(folder.path()).expect("free");
        let refused = FolderLock::acquire(folder.path()).expect_err("held");
        let DiskError::InUse { holder, .. } = refused else { panic!("{refused}") };
        assert_eq!(holder, std::process::id().to_string());
        drop(held);
        FolderLock::acquire(folder.path()).expect("free again");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = open_direct(Path::new("/nonexistent/x"), Access::ReadWrite).expect_err("missing");
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
    }
}
