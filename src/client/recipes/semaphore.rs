//! At most so many at a time.

use super::super::error::Result;
use super::super::{Client, CreateOptions, Expect, LockOptions, WatchOptions};
use super::{found, next};

/// Lets at most `limit` holders in at a time; all who use it name the same limit.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/semaphore.rs"), "```")]
///
/// Who wants in takes its turn, the lock of the node; whoever's turn it is counts the permits, and waits alone until one is
/// given back. A permit is an ephemeral node made under that lock: it goes with its session, and one whose turn was lost
/// while it slept makes none.
///
/// # When something fails
///
/// A permit goes with its session, in one step, and one who waits is let in. Only the one whose turn it is watches the permits, so
/// that each given back wakes one. One whose turn was lost while it slept makes no permit.
///
/// # Errors
///
/// `acquire` is [`Error::LockTwice`](super::super::Error::LockTwice) if this session waits for a permit already (two
/// threads that contend need clients of their own), [`Error::Fenced`](super::super::Error::Fenced) if the turn was lost
/// before the permit was made, and may otherwise be refused as [`Client::lock`] and [`Client::create`] may. `held` has
/// no errors of its own.
///
/// As the semaphore of Apache Curator, ZooKeeper's library of recipes.
#[derive(Clone, Debug)]
pub struct Semaphore {
    client: Client,
    path: String,
    limit: u32,
}

/// A permit; it is given back when this is dropped, or the session ends.
///
/// # Errors
///
/// `release` is [`Error::NoNode`](super::super::Error::NoNode) if somebody deleted the permit's node before.
#[derive(Debug)]
#[must_use = "dropping it gives the permit back"]
pub struct Permit {
    client: Client,
    /// `None` once it was given back.
    node: Option<String>,
}

impl Semaphore {
    /// The semaphore at `path`, which is made when it is first used.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>, limit: u32) -> Self {
        Self { client: client.clone(), path: path.into(), limit }
    }

    /// Waits for a permit; `note` is shown to who looks at the node.
    pub async fn acquire(&self, note: impl Into<bytes::Bytes>) -> Result<Permit> {
        let permits = format!("{}/permits", self.path);
        found(&self.client, &permits).await?;
        let turn = self.client.lock(&self.path, LockOptions::exclusive()).await?;
        let mut watch = self.client.watch(&permits, WatchOptions::children()).await?;
        while self.held().await? >= self.limit as usize {
            next(&mut watch).await?;
        }
        // Its name is known before it is made, so that it can be given back at any moment; no two turns have one token.
        let node = format!("{permits}/permit-{}", turn.token());
        let permit = Permit { client: self.client.clone(), node: Some(node.clone()) };
        turn.guarded().create(&node, note, CreateOptions::ephemeral()).await?;
        turn.release().await?;
        Ok(permit)
    }

    /// How many permits are out.
    pub async fn held(&self) -> Result<usize> {
        let permits = self.client.exists(&format!("{}/permits", self.path)).await?;
        Ok(permits.map_or(0, |stat| stat.children as usize))
    }
}

impl Permit {
    /// Whether it certainly counts at this moment, by this host's clock.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.client.is_safe()
    }

    /// Gives it back, and tells when that is done.
    pub fn release(mut self) -> super::super::Op<()> {
        let node = self.node.take().expect("it is there until it is given back");
        self.client.delete(&node, Expect::Any)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.client.delete(&node, Expect::Any).detach();
        }
    }
}
