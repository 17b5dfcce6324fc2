//! One writer, or many readers.

use super::super::error::Result;
use super::super::{Client, LockGuard, LockOptions};
use super::found;

/// A lock that one session holds to write, or any number to read.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/read_write_lock.rs"), "```")]
///
/// It is the node's own lock: who waits stands in one fair queue of the cell, so that readers that keep coming do not
/// starve a writer. A reader does not become a writer without letting go.
///
/// # When something fails
///
/// It goes with the session of who holds it, and to whoever is next in the queue, all readers up to the next writer at once.
/// One that slept finds `is_held` false when it wakes, and its guarded writes refused.
///
/// # Errors
///
/// `read` and `write` may be refused as [`Client::lock`] may: [`Error::LockTwice`](super::super::Error::LockTwice) if
/// this session has the lock, or waits for it, already: two threads that contend need clients of their own.
///
/// As the read/write locks of ZooKeeper's paper (Hunt and others, USENIX ATC 2010, §2.4), the shared locks of its
/// recipes, on locks as Chubby's (Burrows, OSDI 2006, §2.4).
#[derive(Clone, Debug)]
pub struct ReadWriteLock {
    client: Client,
    path: String,
}

impl ReadWriteLock {
    /// The lock of the node at `path`, which is made when it is first taken.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), path: path.into() }
    }

    /// Waits to read: while others read, and nobody writes or waits to write before.
    pub async fn read(&self) -> Result<LockGuard> {
        self.take(LockOptions::shared()).await
    }

    /// Waits to write: while nobody else reads or writes.
    pub async fn write(&self) -> Result<LockGuard> {
        self.take(LockOptions::exclusive()).await
    }

    async fn take(&self, options: LockOptions) -> Result<LockGuard> {
        found(&self.client, &self.path).await?;
        self.client.lock(&self.path, options).await
    }
}
