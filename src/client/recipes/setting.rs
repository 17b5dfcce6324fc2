//! Configuration that is read again when it changes.

use bytes::Bytes;

use super::super::error::{Error, Result};
use super::super::{Client, Expect, Revision, Watch};
use super::{found, next};

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
#[derive(Debug)]
pub struct Setting {
    client: Client,
    path: String,
    watch: Option<Watch>,
    told: Option<(Bytes, Revision)>,
}

impl Setting {
    /// The setting in the node at `path`, which need not exist.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), path: path.into(), watch: None, told: None }
    }

    /// The value, and since which revision, at first; after that, whenever there is another.
    pub async fn next(&mut self) -> Result<Option<(Bytes, Revision)>> {
        let Some(watch) = &mut self.watch else {
            let (node, watch) = self.client.get_and_watch(&self.path).await?;
            self.watch = Some(watch);
            self.told = node.map(|(value, stat)| (value, stat.modified));
            return Ok(self.told.clone());
        };
        loop {
            next(watch).await?;
            let now = match self.client.get(&self.path).await {
                Ok((value, stat)) => Some((value, stat.modified)),
                Err(Error::NoNode { .. }) => None,
                Err(error) => return Err(error),
            };
            if now != self.told {
                self.told = now.clone();
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
