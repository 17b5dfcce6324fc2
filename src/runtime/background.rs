//! Work that must not disturb a loop: preparing segments, reading old ones. It runs on a thread of its own, in a glommio
//! executor, whose direct-I/O streams are made for bulk work. This is the one file that names glommio.
//!
//! Between jobs the thread sleeps in a channel, not in the executor, so it costs nothing. A job's answer wakes the loop
//! that asked for it.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use glommio::io::{DmaFile, OpenOptions};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use super::disk;
use super::wake::Waker;

/// Something to be done.
#[derive(Debug)]
pub enum Job {
    /// Make a file of that many zeros, every block written, durable with its name. It comes to its name when it is whole.
    ZeroFile { path: PathBuf, bytes: u64, token: u64 },
    /// Read these places.
    Read { places: Vec<FilePlace>, token: u64 },
}

/// A stretch of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilePlace {
    pub path: PathBuf,
    pub offset: u64,
    pub bytes: usize,
}

/// What came of a job.
#[derive(Debug)]
pub enum Done {
    /// Of [`Job::ZeroFile`].
    ZeroFile { token: u64, result: io::Result<()> },
    /// Of [`Job::Read`]: the bytes of each place, in order.
    Read { token: u64, result: io::Result<Vec<Vec<u8>>> },
}

/// The executor's handle, held by the loop that gives it work.
#[derive(Debug)]
pub struct Background {
    jobs: Sender<Job>,
    done: Receiver<Done>,
}

impl Background {
    /// Starts the thread; answers wake `waker`'s loop.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(waker: Waker) -> io::Result<Self> {
        let (jobs, wanted) = channel();
        let (finished, done) = channel();
        std::thread::Builder::new().name("background".into()).spawn(move || work(&wanted, &finished, &waker))?;
        Ok(Self { jobs, done })
    }

    /// Gives it a job.
    pub fn submit(&self, job: Job) {
        self.jobs.send(job).expect("the background thread lives as long as its handle");
    }

    /// The next answer that is there.
    pub fn completed(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

fn work(jobs: &Receiver<Job>, finished: &Sender<Done>, waker: &Waker) {
    let mut executor: Option<LocalExecutor> = None;
    for job in jobs {
        // The executor is made when there is something to do: a replica that never grows its log needs none.
        let executor = executor.get_or_insert_with(|| {
            LocalExecutorBuilder::new(Placement::Unbound)
                .name("background")
                .io_memory(IO_MEMORY_BYTES)
                .make()
                .expect("a kernel that gives the loop its ring gives one here")
        });
        let done = match job {
            Job::ZeroFile { path, bytes, token } => {
                Done::ZeroFile { token, result: executor.run(zero_file(path, bytes)) }
            }
            Job::Read { places, token } => Done::Read { token, result: executor.run(read(places)) },
        };
        if finished.send(done).is_err() {
            // The loop is gone, and with it everybody who could ask.
            return;
        }
        waker.wake();
    }
}

async fn zero_file(path: PathBuf, bytes: u64) -> io::Result<()> {
    let made = path.with_extension("zeroing");
    let file = OpenOptions::new().write(true).create(true).truncate(true).dma_open(&made).await.map_err(io::Error::from)?;
    let mut at = 0;
    while at < bytes {
        let piece = (bytes - at).min(PIECE_BYTES as u64) as usize;
        let mut zeros = file.alloc_dma_buffer(piece);
        zeros.as_bytes_mut().fill(0);
        let written = file.write_at(zeros, at).await.map_err(io::Error::from)?;
        if written != piece {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "a block of zeros was not written whole"));
        }
        at += piece as u64;
    }
    file.fdatasync().await.map_err(io::Error::from)?;
    file.close().await.map_err(io::Error::from)?;
    std::fs::rename(&made, &path)?;
    disk::sync_folder(path.parent().expect("a file lies in a folder"))
}

async fn read(places: Vec<FilePlace>) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::with_capacity(places.len());
    let mut open: Option<(PathBuf, DmaFile)> = None;
    for place in places {
        if open.as_ref().is_none_or(|(path, _)| *path != place.path) {
            if let Some((_, file)) = open.take() {
                file.close().await.map_err(io::Error::from)?;
            }
            let file = DmaFile::open(&place.path).await.map_err(io::Error::from)?;
            open = Some((place.path.clone(), file));
        }
        let (_, file) = open.as_ref().expect("it was just opened");
        let bytes = file.read_at(place.offset, place.bytes).await.map_err(io::Error::from)?;
        found.push(bytes.to_vec());
    }
    if let Some((_, file)) = open {
        file.close().await.map_err(io::Error::from)?;
    }
    Ok(found)
}

/// Memory for the executor's own direct I/O, in bytes; more is taken from the heap when it is needed.
const IO_MEMORY_BYTES: usize = 2 << 20;

/// What is written or read at once.
const PIECE_BYTES: usize = 512 << 10;
