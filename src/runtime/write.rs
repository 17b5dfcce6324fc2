//! Durable writes to registered files: each one request that completes when its bytes are durable, or a write and, linked to
//! it in the same submission, a flush of its data.
//!
//! The memory written from is not registered with the kernel. Registering saves pinning its pages at each write: within
//! the noise at 4 KiB, 4 to 8 us (3 to 6 % of the write) at 256 KiB from small pages, at most 2 % from huge ones. But a
//! value stays in memory for as long as a lagging peer may ask for it, so either all of that would have to be registered,
//! and thereby locked, or each value copied into a registered buffer first: 3 us for 256 KiB still in the cache, 8 us
//! otherwise, which leaves little or nothing of the gain.
//!
//! Both cost one device write and one device flush. The linked flush is issued only when this thread takes the write's
//! completion, and runs in a worker of its own: two more threads to wake before the bytes are durable. Hence the
//! synchronous write is the default: three replicas on two cores made a quarter more writes with it at 1 outstanding and
//! a twelfth more at 256, for a third and a tenth less of the processor.

use std::fs::File;
use std::io;

use bytes::Bytes;
use io_uring::types::{Fixed, FsyncFlags};
use io_uring::{opcode, squeue};

use super::ring::{Durability, Event, Found, Handler, Ring};
use super::tag::{Kind, Tag};

/// A file registered with a ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId {
    slot: u32,
    generation: u32,
}

/// The registered files and the writes in flight of one ring.
pub(super) struct Writes {
    files: Vec<FileSlot>,
    in_flight: Vec<Option<Write>>,
    free: Vec<u32>,
    /// What writes that ended kept their runs in: as many as were in flight at once.
    room: Vec<Vec<libc::iovec>>,
}

struct FileSlot {
    generation: u32,
    taken: bool,
}

struct Write {
    token: u64,
    bytes: u64,
    /// What the runs point into: kept while the kernel follows them.
    _pieces: Vec<Bytes>,
    /// On the heap, hence unmoved when the table grows: the kernel reads the list where it stands.
    runs: Vec<libc::iovec>,
    /// Completions still to come.
    pending: u8,
    wrote: bool,
    failed: Option<io::Error>,
}

impl Ring {
    /// Registers `file`; the ring holds it open until it is forgotten.
    pub fn register_file(&mut self, file: File) -> io::Result<FileId> {
        let free = self.writes.files.iter().position(|slot| !slot.taken);
        let slot = free.ok_or_else(|| io::Error::other("every place for a file in this ring is taken"))?;
        self.install(slot as u32, &file)?;
        let entry = &mut self.writes.files[slot];
        entry.taken = true;
        Ok(FileId { slot: slot as u32, generation: entry.generation })
    }

    /// Lets go of a file; writes in flight to it end as they would have.
    pub fn forget_file(&mut self, file: FileId) {
        if self.writes.is_registered(file) {
            let entry = &mut self.writes.files[file.slot as usize];
            entry.taken = false;
            entry.generation = entry.generation.wrapping_add(1);
            self.uninstall(file.slot);
        }
    }

    /// Writes `pieces`, one after the other, at `offset`, makes them durable, and then reports `Written` with `token`.
    ///
    /// Pieces that are neighbours in memory go down as one run. For a file opened for direct writes, `offset` and the
    /// start and length of each run must be multiples of the file's alignment ([`super::disk::Alignment`]). Writes in
    /// flight together may end in any order.
    pub fn write_durable(&mut self, file: FileId, offset: u64, pieces: Vec<Bytes>, token: u64) {
        let mut runs = self.writes.room.pop().unwrap_or_default();
        runs_of(&pieces, &mut runs);
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        assert!(!runs.is_empty(), "a durable write has something to write");
        assert!(runs.len() <= RUNS_MAX && bytes <= BYTES_MAX, "a durable write fits one request of the kernel");
        if !self.writes.is_registered(file) {
            let error = io::Error::from_raw_os_error(libc::EBADF);
            self.found.push(Found { token, error });
            return;
        }
        let linked = self.options.durability == Durability::LinkedFlush;
        let pending = if linked { 2 } else { 1 };
        let write = Write { token, bytes, _pieces: pieces, runs, pending, wrote: false, failed: None };
        let slot = self.writes.keep(write);
        let entry = self.writes.entry(slot, file, offset, linked);
        self.counters.writes += 1;
        self.counters.written_bytes += bytes;
        if linked {
            let flush = opcode::Fsync::new(Fixed(file.slot)).flags(FsyncFlags::DATASYNC).build();
            let flush = flush.user_data(Tag::new(Kind::Flush, 0, slot).pack());
            self.push_linked(entry.flags(squeue::Flags::IO_LINK), flush);
        } else {
            self.push(entry);
        }
    }

    /// Durable writes not yet reported.
    #[must_use]
    pub fn writes_in_flight(&self) -> usize {
        self.writes.in_flight.len() - self.writes.free.len()
    }

    pub(super) fn written(&mut self, tag: Tag, result: io::Result<u32>, handler: &mut Handler<'_>) {
        let write = self.writes.in_flight[tag.slot as usize].as_mut().expect("a write in flight is in the table");
        write.complete(tag.kind, result);
        if write.pending == 0 {
            let mut write = self.writes.release(tag.slot);
            write.runs.clear();
            self.writes.room.push(write.runs);
            handler(self, Event::Written { token: write.token, result: write.failed.map_or(Ok(()), Err) });
        }
    }
}

impl Writes {
    pub(super) fn new(files: u32) -> Self {
        let files = (0..files).map(|_| FileSlot { generation: 0, taken: false }).collect();
        Self { files, in_flight: Vec::new(), free: Vec::new(), room: Vec::new() }
    }

    fn is_registered(&self, file: FileId) -> bool {
        self.files.get(file.slot as usize).is_some_and(|slot| slot.taken && slot.generation == file.generation)
    }

    fn keep(&mut self, write: Write) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.in_flight.push(None);
            self.in_flight.len() as u32 - 1
        });
        self.in_flight[slot as usize] = Some(write);
        slot
    }

    fn release(&mut self, slot: u32) -> Write {
        self.free.push(slot);
        self.in_flight[slot as usize].take().expect("a write in flight is in the table")
    }

    fn entry(&self, slot: u32, file: FileId, offset: u64, linked: bool) -> squeue::Entry {
        let write = self.in_flight[slot as usize].as_ref().expect("the write was just kept");
        let flags = if linked { 0 } else { libc::RWF_DSYNC };
        let target = Fixed(file.slot);
        let entry = match write.runs.as_slice() {
            [run] => {
                let request = opcode::Write::new(target, run.iov_base.cast_const().cast(), run.iov_len as u32);
                request.offset(offset).rw_flags(flags).build()
            }
            runs => {
                let request = opcode::Writev::new(target, runs.as_ptr(), runs.len() as u32);
                request.offset(offset).rw_flags(flags).build()
            }
        };
        entry.user_data(Tag::new(Kind::Write, 0, slot).pack())
    }
}

impl Write {
    fn complete(&mut self, kind: Kind, result: io::Result<u32>) {
        self.pending -= 1;
        if kind == Kind::Flush && !self.wrote {
            self.failed = Some(io::Error::other("a flush overtook the write it was linked to"));
        }
        let ran = kind == Kind::Flush && result.is_ok();
        assert!(!(ran && self.wrote && self.failed.is_some()), "a flush linked to a failed write does not run");
        let full = kind == Kind::Flush || matches!(result, Ok(written) if u64::from(written) == self.bytes);
        let error = match &result {
            Err(error) => error.raw_os_error().map(io::Error::from_raw_os_error),
            Ok(written) if !full => {
                let text = format!("only {written} of {} bytes were written", self.bytes);
                Some(io::Error::new(io::ErrorKind::WriteZero, text))
            }
            Ok(_) => None,
        };
        // The write's own error says more than the cancellation of its flush.
        self.failed = self.failed.take().or(error);
        self.wrote |= kind == Kind::Write;
    }
}

/// Adds the runs of memory that `pieces` lie in.
fn runs_of(pieces: &[Bytes], runs: &mut Vec<libc::iovec>) {
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let start = piece.as_ptr();
        match runs.last_mut() {
            Some(run) if run.iov_base.cast::<u8>().wrapping_add(run.iov_len).cast_const() == start => {
                run.iov_len += piece.len();
            }
            _ => runs.push(libc::iovec { iov_base: start.cast_mut().cast(), iov_len: piece.len() }),
        }
    }
}

/// The kernel takes no longer list.
const RUNS_MAX: usize = 1024;

/// The kernel writes at most this much in one request, less a page.
const BYTES_MAX: u64 = (1 << 31) - 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_memory_are_one_run() {
        let whole = Bytes::from(vec![1u8; 100]);
        let pieces = vec![whole.slice(0..10), whole.slice(10..10), whole.slice(10..60), whole.slice(70..100)];
        let mut runs = Vec::new();
        runs_of(&pieces, &mut runs);
        assert_eq!(runs.iter().map(|run| run.iov_len).collect::<Vec<_>>(), vec![60, 30]);
    }
}
