//! One leader at a time.

use bytes::Bytes;

use super::super::error::{Error, Result};
use super::super::{Client, CreateOptions, Expect, LockGuard, LockOptions, Revision, WatchOptions};
use super::{Followed, found};

/// An election: candidates campaign and wait; one leads, and everybody can know who.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/election.rs"), "```")]
///
/// The leader holds the lock of the node, and its value is the ephemeral child `leader`: made under the lock, gone with the
/// session in the same step as the lock. Candidates stand in the lock's queue; those who only want to know watch one node.
///
/// # When something fails
///
/// A leader whose session is lost is deposed in the same step as its seat is emptied; the next in the queue is told, nobody else
/// is woken. One that slept meanwhile finds `is_held` false when it wakes, and what it writes under its guard is refused. Who was
/// waiting keeps the place across leaders of the cell, and loses it with the session. If somebody deletes the election's node,
/// the lock goes along, another may lead, and [`Leadership::is_held`] does not tell; guarded writes are refused.
///
/// # Errors
///
/// `campaign` and `try_campaign` are [`Error::LockTwice`] if this session leads or campaigns already (two threads that
/// contend need clients of their own), [`Error::Fenced`] if the turn was lost before the seat was taken, and may
/// otherwise be refused as [`Client::lock`] and [`Client::create`] may. `leader` has no errors of its own.
///
/// As leader election of ZooKeeper's recipes, and of primaries by Chubby (Burrows, OSDI 2006, §2.6).
#[derive(Clone, Debug)]
pub struct Election {
    client: Client,
    path: String,
}

/// Being the leader; it ends when this is dropped, or the session is lost.
///
/// # Errors
///
/// `proclaim` and `resign` are [`Error::Fenced`] once leadership was lost. `proclaim` is [`Error::NoNode`] if somebody
/// deleted the seat, and [`Error::TooLarge`] or [`Error::BytesOverQuota`] if the value has no room.
#[derive(Debug)]
#[must_use = "dropping it resigns"]
pub struct Leadership {
    seat: String,
    term: Revision,
    /// `None` once it was resigned.
    guard: Option<LockGuard>,
}

/// Who leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leader {
    /// What it campaigned with, or [proclaimed](Leadership::proclaim) since.
    pub value: Bytes,
    /// Its term: greater than that of every leader before.
    pub term: Revision,
}

/// The leaders, one after the other.
///
/// # Errors
///
/// `next` may be refused as [`Client::watch`] may. It fails for good when the session ends ([`Error::SessionExpired`]);
/// after another failure, as by [`Error::Deadline`], it goes on where it was.
#[derive(Debug)]
pub struct Observe {
    client: Client,
    seat: String,
    followed: Option<Followed>,
    /// Who was told last, perhaps nobody; `None` before anything was.
    last: Option<Option<Leader>>,
}

impl Election {
    /// The election at `path`, which is made when somebody first campaigns.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), path: path.into() }
    }

    /// Waits to be the leader, and shows `value` to all.
    pub async fn campaign(&self, value: impl Into<Bytes>) -> Result<Leadership> {
        found(&self.client, &self.path).await?;
        let guard = self.client.lock(&self.path, LockOptions::exclusive()).await?;
        self.take_seat(guard, value.into()).await
    }

    /// As [`campaign`](Self::campaign), unless somebody leads or waits to: then `None`.
    pub async fn try_campaign(&self, value: impl Into<Bytes>) -> Result<Option<Leadership>> {
        found(&self.client, &self.path).await?;
        match self.client.try_lock(&self.path, LockOptions::exclusive()).await? {
            Some(guard) => self.take_seat(guard, value.into()).await.map(Some),
            None => Ok(None),
        }
    }

    async fn take_seat(&self, guard: LockGuard, value: Bytes) -> Result<Leadership> {
        // From here on it is given up as leadership is, even before it is complete.
        let mut leadership = Leadership { seat: self.seat(), term: 0, guard: Some(guard) };
        let seat = self.seat();
        loop {
            let guarded = leadership.guard().guarded();
            match guarded.create(&seat, value.clone(), CreateOptions::ephemeral()).await {
                Ok(created) => {
                    leadership.term = created.stat.created;
                    return Ok(leadership);
                }
                // Left by a session that lives, and lost the lock when its node was deleted.
                Err(Error::NodeExists { .. }) => match guarded.delete(&seat, Expect::Any).await {
                    Ok(()) | Err(Error::NoNode { .. }) => {}
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// Who leads now; `None` between two leaders.
    pub async fn leader(&self) -> Result<Option<Leader>> {
        seated(&self.client, &self.seat()).await
    }

    /// Who leads now, and whenever that changes.
    #[must_use]
    pub fn observe(&self) -> Observe {
        Observe { client: self.client.clone(), seat: self.seat(), followed: None, last: None }
    }

    fn seat(&self) -> String {
        format!("{}/leader", self.path)
    }
}

impl Leadership {
    /// The term: greater than that of every leader before.
    #[must_use]
    pub fn term(&self) -> Revision {
        self.term
    }

    /// The lock that leadership rests on: for guarded writes, its token, and to hear when it is lost.
    pub fn guard(&self) -> &LockGuard {
        self.guard.as_ref().expect("it is there until it is resigned")
    }

    /// Whether nobody else can lead at this moment, by this host's clock and as long as nobody deletes the election's node:
    /// of that it is not told, as [`LockGuard::is_held`] is not.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.guard().is_held()
    }

    /// Shows another value.
    pub async fn proclaim(&self, value: impl Into<Bytes>) -> Result<()> {
        self.guard().guarded().set(&self.seat, value, Expect::Any).await.map(|_| ())
    }

    /// Steps down; the next candidate leads.
    pub async fn resign(mut self) -> Result<()> {
        let guard = self.guard.take().expect("it is there until it is resigned");
        // In this order: the next leader finds the seat empty.
        let vacated = guard.guarded().delete(&self.seat, Expect::Any);
        let released = guard.release();
        match vacated.await {
            Ok(()) | Err(Error::NoNode { .. }) => released.await,
            Err(error) => Err(error),
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        if let Some(guard) = &self.guard {
            // Before the guard's own release, in the order of the session.
            guard.guarded().delete(&self.seat, Expect::Any).detach();
        }
    }
}

impl Observe {
    /// At first who leads now; then, each time, the next leader or `None`. One that came and went while nobody asked may be
    /// passed over.
    pub async fn next(&mut self) -> Result<Option<Leader>> {
        let followed = match &mut self.followed {
            Some(followed) => followed,
            none => {
                let watch = self.client.watch(&self.seat, WatchOptions::node()).await?;
                none.insert(Followed::unread(watch))
            }
        };
        loop {
            followed.changed().await?;
            let now = seated(&self.client, &self.seat).await?;
            followed.was_read();
            if self.last.as_ref() != Some(&now) {
                self.last = Some(now.clone());
                return Ok(now);
            }
        }
    }
}

async fn seated(client: &Client, seat: &str) -> Result<Option<Leader>> {
    match client.get(seat).await {
        Ok((value, stat)) => Ok(Some(Leader { value, term: stat.created })),
        Err(Error::NoNode { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
