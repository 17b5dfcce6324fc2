//! Each entry taken once.

use bytes::Bytes;

use super::super::error::{Error, Result};
use super::super::{Client, Consistency, CreateOptions, Expect, LockOptions, Txn, TxnOutcome, WatchOptions};
use super::{found, next};

/// A queue that many fill and many empty: by priority, and first come first served among equals.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/queue.rs"), "```")]
///
/// Who takes an entry has its turn first, the lock of the node; whoever's turn it is waits alone for an empty queue to be
/// filled, and removes the entry in one transaction that is done once, however often it had to be sent, and only while the
/// turn lasts. An entry is gone once it is taken: a program that must not lose one when it dies uses
/// [`take_with`](Self::take_with). For hundreds of entries, not for millions: each is a node. By priority:
/// [`priority_queue`](super::priority_queue).
///
/// # When something fails
///
/// One who dies at its turn loses it with its session, and the next in the lock's queue has it; the entry is still there, or taken
/// and recorded. An entry is put once and taken once, whoever leads the cell and however often it had to be asked. One event wakes
/// one who waits.
///
/// # Errors
///
/// `put` and `put_at` may be refused as [`Client::create`] may: [`Error::TooLarge`], [`Error::BytesOverQuota`] and the
/// like. `take` and `take_with` are [`Error::LockTwice`] if this session takes from the queue already (two threads that
/// contend need clients of their own), [`Error::Fenced`] if the turn was lost before the entry was taken, and
/// [`Error::NoNode`] or [`Error::BadVersion`] if somebody deleted or changed the entry at that moment by hand; nothing
/// is taken then. Both may be refused as [`Client::create`], [`Client::lock`] and [`Client::watch`] may: the first of them
/// makes the queue's node, and whoever finds nothing waits. `len` and `is_empty` have no errors of their own.
///
/// As the queue, and the priority queue, of ZooKeeper's recipes.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    path: String,
}

impl Queue {
    /// The queue at `path`, which is made when it is first used.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), path: path.into() }
    }

    /// Adds an entry, behind those that are there.
    pub async fn put(&self, entry: impl Into<Bytes>) -> Result<()> {
        self.put_at(0, entry).await
    }

    /// Adds an entry behind those of the same and of lower numbers: 0 is taken first.
    pub async fn put_at(&self, priority: u32, entry: impl Into<Bytes>) -> Result<()> {
        let entries = self.entries();
        found(&self.client, &entries).await?;
        let name = format!("{entries}/{priority:010}-");
        self.client.create(&name, entry, CreateOptions::permanent().sequential()).await.map(|_| ())
    }

    /// Waits for the first entry, and takes it. Dropped while it does so, as by a timeout, it may have taken an entry that
    /// nobody has then: `take_with` leaves a record.
    pub async fn take(&self) -> Result<Bytes> {
        self.take_with(|txn, _| txn).await
    }

    /// As [`take`](Self::take); what `also` adds to the transaction is done in the same step, or neither is, and
    /// [`Error::Aborted`] says why not. Its step 0 is the first added.
    pub async fn take_with(&self, also: impl FnOnce(Txn, &Bytes) -> Txn) -> Result<Bytes> {
        let entries = self.entries();
        found(&self.client, &entries).await?;
        let turn = self.client.lock(&self.path, LockOptions::exclusive()).await?;
        let mut watch = self.client.watch(&entries, WatchOptions::children()).await?;
        let (first, entry, stat) = loop {
            let first = self.client.list_page(&entries, "", 1, Consistency::Linearizable).await?;
            let Some((name, _)) = first.entries.into_iter().next() else {
                next(&mut watch).await?;
                continue;
            };
            let path = format!("{entries}/{name}");
            match self.client.get(&path).await {
                Ok((entry, stat)) => break (path, entry, stat),
                // Taken by somebody whose turn it is now, or deleted by hand.
                Err(Error::NoNode { .. }) => {}
                Err(error) => return Err(error),
            }
        };
        let removal = self.client.txn().check_lock(&turn.sequencer()).delete(&first, Expect::Version(stat.version));
        let taken = also(removal, &entry).commit().await?;
        let released = turn.release();
        match taken {
            TxnOutcome::Applied { .. } => {
                // It is taken, whatever becomes of the turn.
                let _ = released.await;
                Ok(entry)
            }
            TxnOutcome::Aborted { index, error } if index >= OWN_STEPS => {
                Err(Error::Aborted { index: index - OWN_STEPS, cause: Box::new(error) })
            }
            TxnOutcome::Aborted { error, .. } => Err(error),
        }
    }

    /// How many entries wait.
    pub async fn len(&self) -> Result<usize> {
        match self.client.exists(&self.entries()).await? {
            Some(stat) => Ok(stat.children as usize),
            None => Ok(0),
        }
    }

    /// Whether none waits.
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.len().await? == 0)
    }

    fn entries(&self) -> String {
        format!("{}/entries", self.path)
    }
}

/// Steps of the transaction that takes an entry, before the caller's.
const OWN_STEPS: usize = 2;
