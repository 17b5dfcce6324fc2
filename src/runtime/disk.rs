//! Files: opened for direct I/O, read whole, made durable; folders: locked, flushed. What is done before and beside a loop.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use bytes::BytesMut;
use rustix::fs::{AtFlags, CWD, FlockOperation, OFlags, StatxFlags, flock, statx};

use crate::limits::BLOCK_BYTES;

/// A lock on a folder, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it; its number, if it could be read.
    #[error("another process holds the folder's lock")]
    Held { pid: Option<u32> },
    /// The lock file could not be opened or locked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Takes the folder's lock without waiting, and leaves this process's number in it.
pub fn lock_folder(folder: &Path) -> Result<FolderLock, LockError> {
    let path = folder.join("lock");
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(LockError::Io(error.into()));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        return Err(LockError::Held { pid: text.trim().parse().ok() });
    }
    file.set_len(0)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    Ok(FolderLock { _file: file })
}

/// Opens an existing file for direct reads and writes.
pub fn open_direct(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)
}

/// The alignment in bytes that direct writes need in that folder, found by asking the kernel and by writing a block.
///
/// # Errors
///
/// When the file system does no direct I/O, or wants more than our blocks give.
pub fn direct_alignment(folder: &Path) -> io::Result<u64> {
    let path = folder.join("probe");
    let probe = || -> io::Result<u64> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(&path)?;
        let zeros = aligned_zeros(BLOCK_BYTES);
        file.write_all_at(&zeros, 0)?;
        file.sync_data()?;
        let stat = statx(CWD, &path, AtFlags::empty(), StatxFlags::DIOALIGN)?;
        if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
            // An older kernel does not say; the write above went through, so our blocks are enough.
            return Ok(BLOCK_BYTES as u64);
        }
        let wanted = u64::from(stat.stx_dio_offset_align.max(stat.stx_dio_mem_align));
        if wanted == 0 || wanted > BLOCK_BYTES as u64 {
            return Err(io::Error::other(format!("direct writes aligned to {wanted} bytes, where 0 means none at all")));
        }
        Ok(wanted)
    };
    let found = probe();
    // The probe is in nobody's way if it stays; the next one writes over it.
    let _ = std::fs::remove_file(&path);
    found
}

/// Makes a file with that content, durable but for its name: see [`sync_folder`].
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes a file of `bytes` zeros, every block written, durable but for its name.
pub fn zero_file(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path)?;
    let zeros = aligned_zeros(ZEROS_BYTES.min(bytes as usize));
    let mut at = 0;
    while at < bytes {
        let piece = (bytes - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..piece as usize], at)?;
        at += piece;
    }
    file.sync_all()
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Fills `into` from a file opened for direct I/O; `offset` and the length are in whole blocks.
pub fn read_direct(file: &File, offset: u64, into: &mut [u8]) -> io::Result<()> {
    if into.as_ptr().align_offset(BLOCK_BYTES) == 0 {
        return file.read_exact_at(into, offset);
    }
    let mut room = aligned_zeros(into.len());
    file.read_exact_at(&mut room, offset)?;
    into.copy_from_slice(&room);
    Ok(())
}

/// Zeros that start on a block boundary.
#[must_use]
pub fn aligned_zeros(bytes: usize) -> BytesMut {
    let mut room = BytesMut::zeroed(bytes + BLOCK_BYTES);
    let slack = room.as_ptr().align_offset(BLOCK_BYTES);
    let mut aligned = room.split_off(slack);
    aligned.truncate(bytes);
    aligned
}

/// What is written with zeros at once.
const ZEROS_BYTES: usize = 1 << 20;
