//! Configuration that is read again when it changes.

use bytes::Bytes;

use super::super::error::{Error, Result};
use super::super::{Client, Expect, Revision, WatchOptions};
use super::{Followed, found};

/// A setting that running programs follow: read at the start, and again whenever somebody changes it.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/setting.rs"), "```")]
///
/// What it tells is never older than what it told before, and the newest value is always told: of changes that come faster
/// than they are asked for, the last.
///
/// # When something fails
///
/// The value outlives who set it. Across leaders and connections nothing older is ever told after something newer, and what could
/// not be told in between is read again. With the session of who follows it, following ends.
///
/// # Errors
///
/// `next` may be refused as [`Client::watch`] may, and fails for good when the session ends
/// ([`Error::SessionExpired`]); after another failure, as by [`Error::Deadline`], it goes on where it was. `set` is
/// [`Error::TooLarge`] or [`Error::BytesOverQuota`] if the value has no room; where it has to make the node it may be
/// refused as [`Client::create`] may, and is [`Error::NoNode`] if that is deleted at that moment. Both are [`Error::IsLog`] of a log.
///
/// As configuration in ZooKeeper's recipes and its paper (Hunt and others, USENIX ATC 2010, §2.4).
#[derive(Debug)]
pub struct Setting {
    client: Client,
    path: String,
    followed: Option<Followed>,
    /// What was told last; `None` before anything was.
    told: Option<Value>,
}

impl Setting {
    /// The setting in the node at `path`, which need not exist.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), path: path.into(), followed: None, told: None }
    }

    /// The value, and since which revision, at first; after that, whenever there is another.
    pub async fn next(&mut self) -> Result<Option<(Bytes, Revision)>> {
        let followed = match &mut self.followed {
            Some(followed) => followed,
            none => {
                let watch = self.client.watch(&self.path, WatchOptions::node()).await?;
                none.insert(Followed::unread(watch))
            }
        };
        loop {
            followed.changed().await?;
            let now = match self.client.get(&self.path).await {
                Ok((value, stat)) => Some((value, stat.modified)),
                Err(Error::NoNode { .. }) => None,
                Err(error) => return Err(error),
            };
            followed.was_read();
            if self.told.as_ref() != Some(&now) {
                self.told = Some(now.clone());
                return Ok(now);
            }
        }
    }

    /// Sets it, for all.
    pub async fn set(&self, value: impl Into<Bytes>) -> Result<()> {
        found(&self.client, &self.path).await?;
        self.client.set(&self.path, value, Expect::Any).await.map(|_| ())
    }
}

/// The value, and since which revision; `None` while there is none.
type Value = Option<(Bytes, Revision)>;
