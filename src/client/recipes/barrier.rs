//! All wait until somebody lets them go.

use super::super::Client;
use super::super::error::Result;
use super::{found, gone, remove};

/// While it is raised, whoever comes waits; once it is lowered, all go on.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/barrier.rs"), "```")]
///
/// # When something fails
///
/// It is a permanent node: it stays raised whatever becomes of who raised it, so somebody has to lower it. Raising and lowering
/// it again changes nothing. Who waits is woken by the one event that concerns all; a new leader tells it as well, once.
///
/// # Errors
///
/// `raise` is refused as [`Client::create`] is where the node has no place or no room, `lower` is
/// [`Error::NotEmpty`](super::super::Error::NotEmpty) while somebody has nodes below it, and `pass` may be refused as
/// [`Client::watch`] may, and is [`Error::IsLog`](super::super::Error::IsLog) of a log. `is_raised` has no errors of its own.
///
/// As the barrier of ZooKeeper's recipes.
#[derive(Clone, Debug)]
pub struct Barrier {
    client: Client,
    path: String,
}

impl Barrier {
    /// The barrier at `path`; lowered if there is no such node.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), path: path.into() }
    }

    /// Raises it, if it is not.
    pub async fn raise(&self) -> Result<()> {
        found(&self.client, &self.path).await
    }

    /// Lowers it, if it is not.
    pub async fn lower(&self) -> Result<()> {
        remove(&self.client, &self.path).await
    }

    /// Whether it is raised.
    pub async fn is_raised(&self) -> Result<bool> {
        Ok(self.client.exists(&self.path).await?.is_some())
    }

    /// Waits until it is lowered, or passes at once. One that is lowered and raised again in between lets those pass who
    /// waited.
    pub async fn pass(&self) -> Result<()> {
        gone(&self.client, &self.path).await
    }
}
