//! So many begin together, and end together.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::error::{Error, Result};
use super::super::{Client, CreateOptions, Expect, TxnOutcome};
use super::{found, gone, next, remove};

/// Tells the entries of one session apart.
static ENTRIES: AtomicU64 = AtomicU64::new(0);

/// A step of `count` participants: none begins before all have come, none goes on before all have ended.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/double_barrier.rs"), "```")]
///
/// Each participant is an ephemeral child, of the round that the node's version numbers: it is made only while that is the
/// version. Whoever finds `count` of its round changes the node itself, in one step with a look at those `count`; that begins
/// the round for all of its participants, more than `count` if more had come, and closes it to others. So nobody begins
/// unless `count` are there at that moment, and no state is left that a crash could leave wrong. On the way out, each waits
/// for the first of its round still inside, who waits for the last, so that one who leaves wakes one.
///
/// # When something fails
///
/// A participant whose session ends has left: those inside do not wait for it, those outside wait for another to come. A change
/// of the leader loses nobody. Who comes while others are inside belongs to the next round, and neither waits for the other.
///
/// # Errors
///
/// `enter` is [`Error::TooLarge`] of too large a `count`, and may be refused as [`Client::create`] and
/// [`Client::watch`] may where its nodes have no place or no room, and is [`Error::IsLog`] of a log. It is [`Error::NoNode`] if the barrier is deleted
/// meanwhile, as is [`leave`](Inside::leave).
///
/// As the double barrier of ZooKeeper's recipes and its paper (Hunt and others, USENIX ATC 2010, §2.4); the rounds are
/// ours.
#[derive(Clone, Debug)]
pub struct DoubleBarrier {
    client: Client,
    path: String,
    count: u32,
}

/// Being inside; dropped, it leaves without waiting for the others.
///
/// # Errors
///
/// `leave` is [`Error::NoNode`] if the barrier was deleted, and may be refused as [`Client::watch`] may.
#[derive(Debug)]
#[must_use = "dropping it leaves without waiting for the others"]
pub struct Inside {
    client: Client,
    path: String,
    round: u64,
    /// `None` once it has left.
    name: Option<String>,
}

impl DoubleBarrier {
    /// The barrier at `path`, which is made when the first participant comes. A transaction looks at `count` of them at
    /// once, so that more than some thousands ([`MULTI_OPS_MAX`](crate::limits::MULTI_OPS_MAX)) are [`Error::TooLarge`].
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>, count: u32) -> Self {
        Self { client: client.clone(), path: path.into(), count }
    }

    /// Waits until `count` participants, this one included, have come.
    pub async fn enter(&self) -> Result<Inside> {
        found(&self.client, &self.path).await?;
        let (root, mut watch) = self.client.get_and_watch(&self.path).await?;
        let mut round = root.ok_or_else(|| self.missing())?.1.version;
        let inside = loop {
            if let Some(inside) = self.come(round).await? {
                break inside;
            }
            // It began without this one, which comes for the next.
            round = self.round().await?;
        };
        if self.begin(&inside).await? {
            return Ok(inside);
        }
        while self.round().await? == round {
            next(&mut watch).await?;
        }
        Ok(inside)
    }

    /// Makes the own node, if the round has not begun.
    async fn come(&self, round: u64) -> Result<Option<Inside>> {
        // Its name is known before it is made, so that it can be taken back at any moment; none is used twice, so that
        // nobody is taken for another.
        let own = format!("{}-{:010}", self.client.session(), ENTRIES.fetch_add(1, Ordering::Relaxed));
        let name = format!("{}{own}", prefix(round));
        let node = format!("{}/{name}", self.path);
        let mut inside = Inside { client: self.client.clone(), path: self.path.clone(), round, name: Some(name) };
        let txn = self.client.txn().check(&self.path, Expect::Version(round));
        match txn.create(&node, "", CreateOptions::ephemeral()).commit().await? {
            TxnOutcome::Applied { .. } => Ok(Some(inside)),
            TxnOutcome::Aborted { error, .. } => {
                inside.name = None;
                if matches!(error, Error::BadVersion { .. }) { Ok(None) } else { Err(error) }
            }
        }
    }

    /// Begins the round if enough are there. Whether it has begun.
    async fn begin(&self, inside: &Inside) -> Result<bool> {
        loop {
            let there = inside.those_there().await?;
            let Some(enough) = there.get(..self.count as usize) else { return Ok(false) };
            // In one step: none of them has left, and nobody else has begun it.
            let all = enough.iter().fold(self.client.txn(), |txn, name| {
                let node = format!("{}/{name}", self.path);
                txn.check(&node, Expect::Any)
            });
            match all.set(&self.path, "", Expect::Version(inside.round)).commit().await? {
                TxnOutcome::Applied { .. } | TxnOutcome::Aborted { error: Error::BadVersion { .. }, .. } => {
                    return Ok(true);
                }
                TxnOutcome::Aborted { error: Error::NoNode { path }, .. } if path != self.path => {}
                TxnOutcome::Aborted { error, .. } => return Err(error),
            }
        }
    }

    /// The round that has not begun.
    async fn round(&self) -> Result<u64> {
        Ok(self.client.exists(&self.path).await?.ok_or_else(|| self.missing())?.version)
    }

    fn missing(&self) -> Error {
        Error::NoNode { path: self.path.clone() }
    }
}

impl Inside {
    /// Which round it is: the same for all who began together, and greater than that of all who began before.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Leaves, and waits until all of its round have left.
    pub async fn leave(mut self) -> Result<()> {
        loop {
            let names = self.those_there().await?;
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

    /// The participants of its round, in order. Once it has begun, they become only fewer.
    async fn those_there(&self) -> Result<Vec<String>> {
        let (mut names, _) = self.client.list(&self.path).await?;
        let prefix = prefix(self.round);
        names.retain(|name| name.starts_with(&prefix));
        Ok(names)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.client.delete(&format!("{}/{name}", self.path), Expect::Any).detach();
        }
    }
}

/// How the names of a round's participants begin.
fn prefix(round: u64) -> String {
    format!("in-{round}-")
}
