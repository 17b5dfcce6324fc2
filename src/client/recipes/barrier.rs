//! All wait until somebody lets them go.

use super::super::Client;
use super::super::error::Result;
use super::{found, gone, remove};

/// While it is raised, whoever comes waits; once it is lowered, all go on.
///
/// ```no_run
/// # use quorate::client::{Client, block_on, recipes::Barrier};
/// # fn main() -> quorate::client::Result<()> {
/// # let client = Client::connect("10.0.0.1").wait()?;
/// let maintenance = Barrier::new(&client, "/barriers/maintenance");
/// block_on(maintenance.raise())?;
/// // ... elsewhere: block_on(maintenance.pass())?; waits ...
/// block_on(maintenance.lower())?;
/// # Ok(())
/// # }
/// ```
///
/// It is a permanent node: it stays raised whatever becomes of who raised it.
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
