//! One writer, or many readers.

use super::super::error::Result;
use super::super::{Client, LockGuard, LockOptions};
use super::found;

/// A lock that one session holds to write, or any number to read.
///
/// ```no_run
/// # use quorate::client::{Client, Expect, block_on, recipes::ReadWriteLock};
/// # fn main() -> quorate::client::Result<()> {
/// # let client = Client::connect("10.0.0.1").wait()?;
/// let schema = ReadWriteLock::new(&client, "/locks/schema");
/// let writing = block_on(schema.write())?;
/// writing.guarded().set("/schema", "v2", Expect::Any).wait()?;
/// writing.release().wait()?;
/// let reading = block_on(schema.read())?;
/// # drop(reading);
/// # Ok(())
/// # }
/// ```
///
/// It is the node's own lock: who waits stands in one fair queue of the cell, so that readers that keep coming do not
/// starve a writer. A reader does not become a writer without letting go.
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
