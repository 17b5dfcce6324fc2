//! Bulk file work beside the hot path: zeroing and renaming segments, reading ranges, writing images. The one file that knows the
//! executor behind it.
//!
//! The executor runs on a thread of its own. While there is nothing to do the thread sleeps in a plain channel, outside
//! the executor, and costs nothing; while there is, jobs run in three lanes, each in order: whole-file jobs, streams, and
//! reads that nobody waits for, which get a small share of the thread.
//!
//! A file comes into being under a partial name, is made durable, and only then gets its own: after a crash it is whole
//! or absent. A job that fails leaves nothing of its file: where the disk has no room, what was tried gives back what it
//! took. A stream that fails is dead: whatever is asked of it fails alike, until it is discarded.
//!
//! The executor finds out whether a device polls for completions by trying it once, wrongly believes most that do not,
//! and then spins. It is kept from that by opening the first file of each device for writing only, where the trial fails.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};
use glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use glommio::{GlommioError, Latency, LocalExecutor, LocalExecutorBuilder, Placement, Shares, TaskQueueHandle};
use rustix::process::{Resource, getrlimit};

use super::wake::Waker;
use super::{cores, disk};
use crate::limits::BLOCK_BYTES;

/// What can be asked for.
#[derive(Debug)]
pub enum Job {
    /// Make `path` a file of `bytes` zeros (a multiple of the block), all written, so that overwriting it later changes
    /// nothing but its data.
    ZeroFile { path: PathBuf, bytes: u64 },
    /// Read up to `bytes` from `offset`: fewer only at the file's end.
    ReadFile { path: PathBuf, offset: u64, bytes: usize },
    /// As [`Job::ReadFile`], when there is nothing better to do.
    ReadIdly { path: PathBuf, offset: u64, bytes: usize },
    /// Rename a file, durably.
    Rename { from: PathBuf, to: PathBuf },
    /// Remove a file, durably.
    Remove { path: PathBuf },
    /// Start writing what will be `path`; the caller chooses the number of the stream.
    Begin { stream: u64, path: PathBuf },
    /// Append to the stream.
    Chunk { stream: u64, bytes: Bytes },
    /// Make the stream's file durable and give it its name.
    Finish { stream: u64 },
    /// Drop the stream and what it wrote.
    Discard { stream: u64 },
}

/// Whether a job failed for want of room, and nothing else is wrong.
#[must_use]
pub fn is_for_want_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// How a job ended.
#[derive(Debug)]
pub struct Completion {
    /// The number the job was submitted under.
    pub ticket: u64,
    pub outcome: io::Result<Outcome>,
}

/// What a job brought.
#[derive(Debug)]
pub enum Outcome {
    /// It is done; for a file: it is whole and durable under its name.
    Done,
    /// The bytes that were read.
    Read(Bytes),
}

/// The thread that does the jobs. Dropping it waits for the jobs submitted, unless they were left behind.
#[derive(Debug)]
pub struct Background {
    jobs: Option<Sender<(u64, Job)>>,
    completions: Receiver<Completion>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread, on `core` if one is named; `waker` is used after each completion. An error of the kind
    /// `OutOfMemory` says that the process may lock too little of it.
    pub fn start(core: Option<usize>, waker: Waker) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let (outbox, completions) = mpsc::channel();
        let (started, start) = mpsc::channel();
        let thread = std::thread::Builder::new().name("background".into()).spawn(move || {
            let executor = match executor(core) {
                Ok(executor) => executor,
                Err(error) => {
                    // Whoever started us waits for this word.
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let _ = started.send(Ok(()));
            let (lanes, idle, streams, known_devices) = Default::default();
            let worker = Rc::new(Worker { lanes, idle, streams, known_devices, outbox, waker });
            while let Ok((ticket, job)) = inbox.recv() {
                // The executor owns its tasks: the inbox goes in and comes out.
                let worker = Rc::clone(&worker);
                executor.run(worker.work(&inbox, ticket, job));
            }
            executor.run(async move { worker.streams.borrow_mut().clear() });
        })?;
        start.recv().unwrap_or_else(|_| Err(io::Error::other("the background thread ended at once")))?;
        Ok(Self { jobs: Some(jobs), completions, thread: Some(thread) })
    }

    /// Queues a job; its completion carries `ticket`.
    pub fn submit(&self, ticket: u64, job: Job) {
        let jobs = self.jobs.as_ref().expect("jobs are taken until the end");
        assert!(jobs.send((ticket, job)).is_ok(), "the background thread lives as long as its handle");
    }

    /// From now on nobody waits for the jobs submitted, as they may wait for a disk that does not answer. They go on for as
    /// long as the process does, so it must be about to end.
    pub fn leave_behind(&mut self) {
        self.thread = None;
    }

    /// What has ended since the last call.
    pub fn completions(&self) -> impl Iterator<Item = Completion> + '_ {
        self.completions.try_iter()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

/// What the thread keeps between jobs.
struct Worker {
    lanes: [Lane; 3],
    /// Where what nobody waits for runs, once there was any.
    idle: Cell<Option<TaskQueueHandle>>,
    streams: RefCell<BTreeMap<u64, Stream>>,
    /// Devices of which the executor knows that they do not poll.
    known_devices: RefCell<BTreeSet<u64>>,
    outbox: Sender<Completion>,
    waker: Waker,
}

/// Jobs that run one after the other.
#[derive(Default)]
struct Lane {
    jobs: RefCell<VecDeque<(u64, Job)>>,
    running: Cell<bool>,
}

/// A file being written, or why it is not.
enum Stream {
    Alive(Writing),
    Dead(io::Error),
}

struct Writing {
    path: PathBuf,
    file: DmaFile,
    buffer: DmaBuffer,
    /// Bytes of `buffer` that are filled.
    filled: usize,
    /// Bytes of the file that are written.
    written: u64,
}

impl Worker {
    /// Runs `job`, and what else arrives, until nothing is left to do.
    async fn work(self: Rc<Self>, inbox: &Receiver<(u64, Job)>, ticket: u64, job: Job) {
        self.accept(ticket, job);
        loop {
            for (ticket, job) in inbox.try_iter() {
                self.accept(ticket, job);
            }
            if !self.lanes.iter().any(|lane| lane.running.get()) {
                return;
            }
            glommio::timer::sleep(LOOK_EVERY).await;
        }
    }

    fn accept(self: &Rc<Self>, ticket: u64, job: Job) {
        let lane = match job {
            Job::ZeroFile { .. } | Job::ReadFile { .. } | Job::Rename { .. } | Job::Remove { .. } => 0,
            Job::Begin { .. } | Job::Chunk { .. } | Job::Finish { .. } | Job::Discard { .. } => 1,
            Job::ReadIdly { .. } => IDLE_LANE,
        };
        self.lanes[lane].jobs.borrow_mut().push_back((ticket, job));
        if self.lanes[lane].running.replace(true) {
            return;
        }
        let worker = Rc::clone(self);
        let run = async move {
            let lane = &worker.lanes[lane];
            loop {
                let next = lane.jobs.borrow_mut().pop_front();
                let Some((ticket, job)) = next else { break };
                let outcome = worker.perform(job).await;
                // Nobody listens any more when the handle is being dropped.
                let _ = worker.outbox.send(Completion { ticket, outcome });
                worker.waker.wake();
            }
            lane.running.set(false);
        };
        if lane == IDLE_LANE {
            match glommio::spawn_local_into(run, self.idle_queue()) {
                Ok(task) => _ = task.detach(),
                Err(error) => panic!("the executor has the queue that it made: {error}"),
            }
        } else {
            glommio::spawn_local(run).detach();
        }
    }

    async fn perform(&self, job: Job) -> io::Result<Outcome> {
        match job {
            Job::ZeroFile { path, bytes } => self.zero(&path, bytes).await,
            Job::ReadFile { path, offset, bytes } | Job::ReadIdly { path, offset, bytes } => {
                self.read(&path, offset, bytes).await.map(Outcome::Read).map_err(plain)
            }
            Job::Rename { from, to } => disk::rename_durably(&from, &to).map(|()| Outcome::Done),
            Job::Remove { path } => {
                std::fs::remove_file(&path)?;
                disk::sync_folder(path.parent().ok_or(io::ErrorKind::InvalidInput)?).map(|()| Outcome::Done)
            }
            Job::Begin { stream, path } => self.begin(stream, path).await,
            Job::Chunk { stream, bytes } => {
                let mut writing = self.take(stream)?;
                let appended = writing.append(&bytes).await;
                self.put_back(stream, writing, appended).await
            }
            Job::Finish { stream } => {
                let mut writing = self.take(stream)?;
                match writing.finish().await {
                    Ok(()) => name(writing.file, &writing.path).await,
                    failed => self.put_back(stream, writing, failed).await,
                }
            }
            Job::Discard { stream } => {
                let dropped = self.streams.borrow_mut().remove(&stream);
                if let Some(Stream::Alive(writing)) = dropped {
                    abandon(writing.file, &writing.path).await?;
                }
                Ok(Outcome::Done)
            }
        }
    }

    fn idle_queue(&self) -> TaskQueueHandle {
        let made = || glommio::executor().create_task_queue(IDLE_SHARES, Latency::NotImportant, "idle");
        let queue = self.idle.get().unwrap_or_else(made);
        self.idle.set(Some(queue));
        queue
    }

    async fn zero(&self, path: &Path, bytes: u64) -> io::Result<Outcome> {
        assert_eq!(bytes % BLOCK_BYTES as u64, 0, "a zeroed file is a whole number of blocks");
        let file = create(&partial(path)).await?;
        match fill_with_zeros(&file, bytes).await {
            Ok(()) => name(file, path).await,
            Err(error) => {
                abandon(file, path).await?;
                Err(error)
            }
        }
    }

    async fn read(&self, path: &Path, offset: u64, bytes: usize) -> Result<Bytes, GlommioError<()>> {
        let file = std::fs::metadata(path)?;
        if offset >= file.len() {
            // The kernel has no such positions, if they are large enough, and whoever asks may be anybody.
            return Ok(Bytes::new());
        }
        if self.known_devices.borrow_mut().insert(file.dev()) {
            OpenOptions::new().write(true).dma_open(path).await?.close().await?;
        }
        let file = DmaFile::open(path).await?;
        let mut read = BytesMut::with_capacity(bytes);
        while read.len() < bytes {
            // Aligned here: the executor's own unaligned read returns bytes from beyond the end of a file.
            let position = offset + read.len() as u64;
            let before = (position % BLOCK_BYTES as u64) as usize;
            let step = (bytes - read.len()).min(CHUNK_BYTES - before);
            let padded = (before + step).next_multiple_of(BLOCK_BYTES);
            let part = file.read_at_aligned(position - before as u64, padded).await?;
            let upto = part.len().min(before + step);
            if upto <= before {
                break;
            }
            read.extend_from_slice(&part[before..upto]);
        }
        file.close().await?;
        Ok(read.freeze())
    }

    async fn begin(&self, stream: u64, path: PathBuf) -> io::Result<Outcome> {
        if self.streams.borrow().contains_key(&stream) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a stream of that number is being written"));
        }
        let (begun, outcome) = match create(&partial(&path)).await {
            Ok(file) => {
                let buffer = file.alloc_dma_buffer(CHUNK_BYTES);
                (Stream::Alive(Writing { path, file, buffer, filled: 0, written: 0 }), Ok(Outcome::Done))
            }
            Err(error) => (Stream::Dead(again(&error)), Err(error)),
        };
        self.streams.borrow_mut().insert(stream, begun);
        outcome
    }

    /// A stream that is alive; it is put back, finished or discarded.
    fn take(&self, stream: u64) -> io::Result<Writing> {
        let mut streams = self.streams.borrow_mut();
        match streams.remove(&stream) {
            Some(Stream::Alive(writing)) => Ok(writing),
            Some(Stream::Dead(error)) => {
                streams.insert(stream, Stream::Dead(again(&error)));
                Err(error)
            }
            None => Err(io::Error::new(io::ErrorKind::NotFound, "no stream of that number is being written")),
        }
    }

    async fn put_back(&self, stream: u64, writing: Writing, done: io::Result<()>) -> io::Result<Outcome> {
        match done {
            Ok(()) => {
                self.streams.borrow_mut().insert(stream, Stream::Alive(writing));
                Ok(Outcome::Done)
            }
            Err(error) => {
                abandon(writing.file, &writing.path).await?;
                self.streams.borrow_mut().insert(stream, Stream::Dead(again(&error)));
                Err(error)
            }
        }
    }
}

impl Writing {
    async fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let step = bytes.len().min(CHUNK_BYTES - self.filled);
            let (now, later) = bytes.split_at(step);
            self.buffer.as_bytes_mut()[self.filled..self.filled + step].copy_from_slice(now);
            self.filled += step;
            bytes = later;
            if self.filled == CHUNK_BYTES {
                let full = std::mem::replace(&mut self.buffer, self.file.alloc_dma_buffer(CHUNK_BYTES));
                whole(self.file.write_at(full, self.written).await?, CHUNK_BYTES)?;
                self.written += CHUNK_BYTES as u64;
                self.filled = 0;
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        let Self { file, filled, written, .. } = &*self;
        let (filled, written) = (*filled, *written);
        if filled > 0 {
            // The last write is a whole number of blocks; the file is then cut to what it holds.
            let padded = filled.next_multiple_of(BLOCK_BYTES);
            let mut last = file.alloc_dma_buffer(padded);
            last.as_bytes_mut()[..filled].copy_from_slice(&self.buffer.as_bytes()[..filled]);
            last.as_bytes_mut()[filled..].fill(0);
            whole(file.write_at(last, written).await?, padded)?;
            file.truncate(written + filled as u64).await?;
        }
        Ok(file.fdatasync().await?)
    }
}

/// Fills a file with zeros, every block of it written, and makes it durable.
async fn fill_with_zeros(file: &DmaFile, bytes: u64) -> io::Result<()> {
    // A disk without room says so now, before it has done any work.
    match file.pre_allocate(bytes, false).await.map_err(io::Error::from) {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
        _ => {}
    }
    let mut zeros = file.alloc_dma_buffer(CHUNK_BYTES);
    zeros.as_bytes_mut().fill(0);
    let zeros = Rc::new(zeros);
    let mut written = 0;
    while written + CHUNK_BYTES as u64 <= bytes {
        whole(file.write_rc_at(Rc::clone(&zeros), written).await?, CHUNK_BYTES)?;
        written += CHUNK_BYTES as u64;
    }
    let rest = (bytes - written) as usize;
    if rest > 0 {
        let mut zeros = file.alloc_dma_buffer(rest);
        zeros.as_bytes_mut().fill(0);
        whole(file.write_at(zeros, written).await?, rest)?;
    }
    Ok(file.fdatasync().await?)
}

/// Gives a durable file its name.
async fn name(file: DmaFile, path: &Path) -> io::Result<Outcome> {
    file.close().await?;
    disk::rename_durably(&partial(path), path)?;
    Ok(Outcome::Done)
}

/// What came to nothing gives its room back.
async fn abandon(file: DmaFile, path: &Path) -> io::Result<()> {
    file.close().await?;
    std::fs::remove_file(partial(path))
}

/// The error as the kernel gave it. The executor's own conversion keeps its words and drops its number, and by that is known
/// what lies on blocks that cannot be read.
fn plain(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.into(),
    }
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Opened for writing only: see the essay above.
async fn create(path: &Path) -> io::Result<DmaFile> {
    Ok(OpenOptions::new().write(true).create(true).truncate(true).dma_open(path).await?)
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PARTIAL_SUFFIX);
    name.into()
}

fn whole(written: usize, asked: usize) -> io::Result<()> {
    // What a file does not take whole finds no room for the rest.
    let short = || io::Error::new(io::ErrorKind::StorageFull, format!("only {written} of {asked} bytes were written"));
    (written == asked).then_some(()).ok_or_else(short)
}

fn executor(core: Option<usize>) -> io::Result<LocalExecutor> {
    if let Some(core) = core {
        cores::pin(core).map_err(io::Error::other)?;
    }
    let builder = LocalExecutorBuilder::new(Placement::Unbound).io_memory(IO_MEMORY_BYTES).ring_depth(RING_DEPTH);
    builder.make().map_err(|error| {
        // The executor's own words for it are lost on the way here.
        match getrlimit(Resource::Memlock).current {
            Some(found) if found < LOCKED_BYTES => {
                io::Error::new(io::ErrorKind::OutOfMemory, format!("RLIMIT_MEMLOCK {found}"))
            }
            _ => error.into(),
        }
    })
}

/// The lane of what nobody waits for, and its share beside the others' 1000.
const IDLE_LANE: usize = 2;
const IDLE_SHARES: Shares = Shares::Static(50);

/// What a file is called while it is written.
const PARTIAL_SUFFIX: &str = ".partial";

/// One read or write: long enough to be efficient, short enough to let the journal's writes through.
const CHUNK_BYTES: usize = 512 << 10;

/// Registered with the kernel for as long as the process lives, and locked three times over by the executor's rings: room
/// for one chunk of each lane, within the usual limit of 8 MiB. Chunks beyond it come from the allocator.
const IO_MEMORY_BYTES: usize = 1 << 20;

/// What the executor locks in memory, in bytes.
pub const LOCKED_BYTES: u64 = 3 * IO_MEMORY_BYTES as u64;

/// Requests at once; the two lanes have one each.
const RING_DEPTH: usize = 16;

/// While busy, new jobs are looked for this often.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(1);

const _: () = assert!(CHUNK_BYTES.is_multiple_of(BLOCK_BYTES));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_cannot_be_read_is_known_by_its_number() {
        let source = io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
        let told = GlommioError::EnhancedIoError { source, op: "read", path: None, fd: None };
        assert!(disk::is_unreadable(&plain(told)));
        let none = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(plain(GlommioError::IoError(none)).kind(), io::ErrorKind::NotFound);
    }
}
