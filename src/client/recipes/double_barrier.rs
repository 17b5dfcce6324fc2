//! So many begin together, and end together.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::error::{Error, Result};
use super::super::{Client, CreateOptions, Expect, Stat};
use super::{found, gone, next, remove};

/// Tells the entries of one session apart.
static ENTRIES: AtomicU64 = AtomicU64::new(0);

/// A step of `count` participants: none begins before all have come, none goes on before all have ended.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/double_barrier.rs"), "```")]
///
/// Each participant is an ephemeral child. Whoever finds `count` of them changes the node itself, once a round, which is
/// what all wait for; no state is left that a crash could leave wrong. On the way out, each waits for the first of those
/// still inside, who waits for the last, so that one who leaves wakes one. A participant whose session ends has left.
///
/// # When something fails
///
/// A participant whose session ends has left: those inside do not wait for it, those outside wait for another to come. A change
/// of the leader loses nobody. On the way out, one who leaves wakes one.
#[derive(Clone, Debug)]
pub struct DoubleBarrier {
    client: Client,
    path: String,
    count: u32,
}

/// Being inside; dropped, it leaves without waiting for the others.
#[derive(Debug)]
#[must_use = "dropping it leaves without waiting for the others"]
pub struct Inside {
    client: Client,
    path: String,
    /// `None` once it has left.
    name: Option<String>,
}

impl DoubleBarrier {
    /// The barrier at `path`, which is made when the first participant comes.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>, count: u32) -> Self {
        Self { client: client.clone(), path: path.into(), count }
    }

    /// Waits until `count` participants, this one included, have come.
    pub async fn enter(&self) -> Result<Inside> {
        found(&self.client, &self.path).await?;
        let (root, mut watch) = self.client.get_and_watch(&self.path).await?;
        let Some((_, before)) = root else { return Err(Error::NoNode { path: self.path.clone() }) };
        // Its name is known before it is made, so that it can be taken back at any moment; none is used twice, so that
        // nobody is taken for a participant of the next round.
        let name = format!("in-{}-{:010}", self.client.session(), ENTRIES.fetch_add(1, Ordering::Relaxed));
        let node = format!("{}/{name}", self.path);
        let inside = Inside { client: self.client.clone(), path: self.path.clone(), name: Some(name) };
        self.client.create(&node, "", CreateOptions::ephemeral()).await?;
        let inside_now = self.client.exists(&self.path).await?.map_or(0, |stat| stat.children);
        if inside_now >= self.count {
            // Others may have found the same; the version lets one of them do it.
            match self.client.set(&self.path, "", Expect::Version(before.version)).await {
                Ok(_) | Err(Error::BadVersion { .. }) => return Ok(inside),
                Err(error) => return Err(error),
            }
        }
        while !self.has_begun(&before).await? {
            next(&mut watch).await?;
        }
        Ok(inside)
    }

    async fn has_begun(&self, before: &Stat) -> Result<bool> {
        match self.client.exists(&self.path).await? {
            Some(stat) => Ok(stat.version != before.version),
            None => Err(Error::NoNode { path: self.path.clone() }),
        }
    }
}

impl Inside {
    /// Leaves, and waits until all have left.
    pub async fn leave(mut self) -> Result<()> {
        let mut round: Option<BTreeSet<String>> = None;
        loop {
            let (mut names, _) = self.client.list(&self.path).await?;
            // Who comes now comes for the next round.
            let round = round.get_or_insert_with(|| names.iter().cloned().collect());
            names.retain(|name| round.contains(name));
            let (first, last) = match (names.first(), names.last()) {
                (Some(first), Some(last)) => (first.clone(), last.clone()),
                _ => return Ok(()),
            };
            let stays = self.name.as_ref() == Some(&first) && first != last;
            if !stays && let Some(name) = self.name.take() {
                remove(&self.client, &format!("{}/{name}", self.path)).await?;
                continue;
            }
            // The first inside goes last: the others wait for it, and it for each of them in turn.
            let awaited = if stays { last } else { first };
            gone(&self.client, &format!("{}/{awaited}", self.path)).await?;
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.client.delete(&format!("{}/{name}", self.path), Expect::Any).detach();
        }
    }
}
