//! Finding each other.

use bytes::Bytes;

use super::super::error::{Error, Result};
use super::super::{Client, CreateOptions, Expect, WatchEvent};
use super::{found, next};

/// A place where one leaves word, like the address it chose when it started, and others wait for it.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/rendezvous.rs"), "```")]
///
/// # When something fails
///
/// The word goes with the session of who left it, so that nobody is sent to one that is gone; who waits then waits for the next.
/// It is left once, whoever leads the cell.
///
/// # Errors
///
/// `announce` is [`Error::NodeExists`] while another session's word is there, [`Error::NoNode`] or [`Error::BadVersion`] if its own is deleted
/// or changed at that moment, and may otherwise be refused as
/// [`Client::create`] may. `meet` is [`Error::IsLog`] of a log, and may be refused as [`Client::watch`] may.
///
/// As the rendezvous of ZooKeeper's paper (Hunt and others, USENIX ATC 2010, §2.4).
#[derive(Clone, Debug)]
pub struct Rendezvous {
    client: Client,
    path: String,
}

impl Rendezvous {
    /// The place at `path`.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), path: path.into() }
    }

    /// Leaves word, or other word than before. [`Error::NodeExists`] if another session has left some.
    pub async fn announce(&self, word: impl Into<Bytes>) -> Result<()> {
        let word = word.into();
        if let Some((above, _)) = self.path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
            found(&self.client, above).await?;
        }
        match self.client.create(&self.path, word.clone(), CreateOptions::ephemeral()).await {
            Err(Error::NodeExists { path }) => match self.client.exists(&self.path).await? {
                Some(stat) if stat.owner == Some(self.client.session()) => {
                    self.client.set(&self.path, word, Expect::Version(stat.version)).await.map(|_| ())
                }
                _ => Err(Error::NodeExists { path }),
            },
            made => made.map(|_| ()),
        }
    }

    /// Waits for the word.
    pub async fn meet(&self) -> Result<Bytes> {
        let (node, mut watch) = self.client.get_and_watch(&self.path).await?;
        if let Some((word, _)) = node {
            return Ok(word);
        }
        loop {
            if matches!(next(&mut watch).await?, WatchEvent::Deleted { .. }) {
                continue;
            }
            match self.client.get(&self.path).await {
                Ok((word, _)) => return Ok(word),
                // Gone again.
                Err(Error::NoNode { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
