//! Recipes: what programs build on nodes, locks and watches again and again, built once and tested under fire.
//!
//! | recipe | is |
//! |---|---|
//! | [`Election`] | one leader at a time, known to all |
//! | [`ReadWriteLock`] | one writer, or many readers |
//! | [`Semaphore`] | at most so many at a time |
//! | [`Barrier`] | all wait until somebody lets them go |
//! | [`DoubleBarrier`] | so many begin together, and end together |
//! | [`Group`] | who is there now |
//! | [`discovery`] | where a service's instances are found: a [`Group`] of addresses |
//! | [`Rendezvous`] | one leaves word, others wait for it |
//! | [`Setting`] | configuration that is read again when it changes |
//! | [`Queue`] | each entry taken once |
//! | [`priority_queue`] | the most urgent entry first: a [`Queue`] with numbers |
//! | [`Counter`] | a number that many change |
//! | [`Fence`] | for the services that the holder of a lock talks to |
//!
#![doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/first.rs"), "```")]
//!
//! Everything here is made of the calls of [`Client`]. The methods are `async` and run on any runtime;
//! [`block_on`](super::block_on) waits for one without any. A future that is dropped gives up what it waited for.
//!
//! What all of them keep:
//!
//! 1. **No herds.** Who waits for a turn waits in the cell's own queue of a lock, or is the only one that watches. One event
//!    wakes one waiter, unless it concerns all.
//! 2. **Once.** A node that was asked for is made once, and an entry taken once, across reconnections and changes of leader:
//!    requests are numbered. So no recipe looks for traces of its own earlier attempts.
//! 3. **Session loss is an error, and the end.** Whatever a session had here goes with it, in one step for all to see; its
//!    calls fail with [`Error::SessionExpired`], and nothing is taken up again in silence by the next session.
//! 4. **What rests on a lock is fenced.** Writes of who holds a turn carry its sequencer, so that one that was paused, and
//!    lost it, changes nothing.
//!
//! A turn is a lock, and a session holds a lock once: threads that contend with each other in a recipe need clients of
//! their own, or one of them gets [`Error::LockTwice`].
//!
//! # Errors
//!
//! A recipe's page names its own errors. Any of its calls may besides fail as every call of a [`Client`] may, with
//! [`Error::SessionExpired`] above all, and where there are access lists with [`Error::NotAuthorized`].
//!
//! # Not here
//!
//! Retries after the end of a session: only the program knows what else was lost with it.

mod barrier;
mod counter;
mod double_barrier;
mod election;
mod fence;
mod group;
mod queue;
mod read_write_lock;
mod rendezvous;
mod semaphore;
mod setting;

/// Service discovery: instances say where they are found, and who calls them follows the list.
///
/// That is a [`Group`] with addresses for values. An instance [joins](Group::join) under a name of its own and is
/// listed as long as its session lives; who calls the service [watches](Group::watch) the group, and is told all that
/// are there after each change.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/discovery.rs"), "```")]
///
/// An instance about to stop [leaves](Membership::leave) first. What else callers have to know of it, as that it is
/// draining, is part of its value, which it may [change](Membership::update).
///
/// # When something fails
///
/// An instance that dies is listed until its session has ended, so that callers must be ready for one that does not
/// answer. While the cell has no leader, what was told last is all that is known; it serves on. With the session of who
/// follows the list, following ends.
///
/// As Chubby is used for a name service (Burrows, OSDI 2006, §4.3), and by the service discovery of Apache Curator.
pub mod discovery {}

/// The priority queue: the most urgent entry is taken first, and among equals the one that came first.
///
/// That is a [`Queue`] whose entries are put with numbers, by [`Queue::put_at`]: the lowest is taken first, and
/// [`Queue::put`] gives 0. The number is part of the entry's name, before the one that the cell adds, so that the queue
/// is always in order, and putting an entry moves no other.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/priority_queue.rs"), "```")]
///
/// Who only ever puts urgent entries keeps the others waiting for ever.
///
/// # When something fails
///
/// What holds of the [`Queue`]: an entry is put once and taken once. One that is put while another is being taken comes
/// after that, whatever its number.
///
/// As the priority queue of ZooKeeper's recipes.
pub mod priority_queue {}

pub use barrier::Barrier;
pub use counter::Counter;
pub use double_barrier::{DoubleBarrier, Inside};
pub use election::{Election, Leader, Leadership, Observe};
pub use fence::Fence;
pub use group::{Group, Members, Membership};
pub use queue::Queue;
pub use read_write_lock::ReadWriteLock;
pub use rendezvous::Rendezvous;
pub use semaphore::{Permit, Semaphore};
pub use setting::Setting;

use super::error::{Error, Outcome, Result};
use super::{Client, CreateOptions, Expect, Watch, WatchEvent};

/// The watch's next event.
async fn next(watch: &mut Watch) -> Result<WatchEvent> {
    // A watch that was not wanted for one event alone ends only with its client.
    watch.next().await.unwrap_or(Err(Error::Closed { outcome: Outcome::NotApplied }))
}

/// A watch that somebody follows by reading what it watches again.
#[derive(Debug)]
struct Followed {
    watch: Watch,
    /// Something happened that was not read since. It stays so if a read fails or is given up, or the newest would never be
    /// told.
    stale: bool,
}

impl Followed {
    /// What is watched was not read yet.
    fn unread(watch: Watch) -> Self {
        Self { watch, stale: true }
    }

    /// Waits until there is something to read; [`was_read`](Self::was_read) is to be said once it was.
    async fn changed(&mut self) -> Result<()> {
        if !self.stale {
            next(&mut self.watch).await?;
            self.stale = true;
        }
        Ok(())
    }

    fn was_read(&mut self) {
        self.stale = false;
    }
}

/// Makes the permanent node, and those above it, unless it is there.
async fn found(client: &Client, path: &str) -> Result<()> {
    // Mostly it is, and a read costs less than a refusal.
    if client.exists(path).await?.is_some() {
        return Ok(());
    }
    match client.create(path, "", CreateOptions::permanent().parents()).await {
        Ok(_) | Err(Error::NodeExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the node, if it is there.
async fn remove(client: &Client, path: &str) -> Result<()> {
    match client.delete(path, Expect::Any).await {
        Ok(()) | Err(Error::NoNode { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits until there is no such node.
async fn gone(client: &Client, path: &str) -> Result<()> {
    let (node, mut watch) = client.get_and_watch(path).await?;
    let mut there = node.is_some();
    while there {
        there = match next(&mut watch).await? {
            WatchEvent::Deleted { .. } => false,
            WatchEvent::Gap { .. } => client.exists(path).await?.is_some(),
            _ => true,
        };
    }
    Ok(())
}
