//! A number that many change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::error::{Error, Result};
use super::super::{Client, CreateOptions, Expect, Handle, HandleMode, OpenOptions};

/// A number in a node, as decimal text; missing, it is 0.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/counter.rs"), "```")]
///
/// An addition is a conditional write on the version that was read, made again when somebody else came first: of those who
/// meet, one always gets on. Each takes effect once, however often it had to be sent. It is made through a [handle](Handle), so
/// that a counter which is deleted, and begun anew by another, is not taken for the old one.
///
/// # When something fails
///
/// Of those who meet in it one always gets on, and the others read again. An addition takes effect once, however often it had to
/// be sent and whoever leads; if the session ends under it, [`Error::outcome`] says whether it may have.
///
/// # Errors
///
/// `get` and `add` are [`Error::BadArgument`] if the node holds no number, as is an addition past what an `i64` holds, and [`Error::IsLog`] of a log. The first
/// `add` opens the node, and may be refused as [`Client::open`] may.
///
/// As the counters of Apache Curator, ZooKeeper's library of recipes.
#[derive(Clone, Debug)]
pub struct Counter {
    client: Client,
    path: String,
    /// The node, from the first addition on.
    node: Arc<Mutex<Option<Arc<Handle>>>>,
}

impl Counter {
    /// The counter in the node at `path`, which is made by the first addition.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), path: path.into(), node: Arc::default() }
    }

    /// The number now.
    pub async fn get(&self) -> Result<i64> {
        match self.client.get(&self.path).await {
            Ok((data, _)) => self.number(&data),
            Err(Error::NoNode { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Adds to it; the number after that. [`Error::BadArgument`] if it would leave the range of an `i64`.
    pub async fn add(&self, delta: i64) -> Result<i64> {
        loop {
            let node = self.open().await?;
            match self.add_to(&node, delta).await {
                // Somebody else was faster.
                Err(Error::BadVersion { .. }) => {}
                // The node was deleted, and perhaps made anew.
                Err(Error::HandleGone { .. }) => self.leave(&node),
                result => return result,
            }
        }
    }

    async fn add_to(&self, node: &Handle, delta: i64) -> Result<i64> {
        let (data, stat) = node.get().await?;
        let value = self.number(&data)?;
        let sum = value.checked_add(delta).ok_or_else(|| Error::BadArgument {
            why: format!("{value} + {delta} is past the range of the counter {}", self.path),
        })?;
        node.set(sum.to_string(), Expect::Version(stat.version)).await.map(|_| sum)
    }

    /// The node, made if there is none.
    async fn open(&self) -> Result<Arc<Handle>> {
        if let Some(node) = &*self.node() {
            return Ok(Arc::clone(node));
        }
        let options = OpenOptions::mode(HandleMode::READ | HandleMode::WRITE);
        let options = options.create("0", CreateOptions::permanent().parents());
        let opened = Arc::new(self.client.open(&self.path, options).await?);
        // Another clone may have come first.
        Ok(Arc::clone(self.node().get_or_insert(opened)))
    }

    /// That node is gone.
    fn leave(&self, gone: &Arc<Handle>) {
        self.node().take_if(|node| Arc::ptr_eq(node, gone));
    }

    fn node(&self) -> MutexGuard<'_, Option<Arc<Handle>>> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self, data: &[u8]) -> Result<i64> {
        let value = std::str::from_utf8(data).ok().and_then(|text| text.parse().ok());
        value.ok_or_else(|| Error::BadArgument { why: format!("{} holds no number", self.path) })
    }
}
