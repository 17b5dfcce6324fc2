//! Who is there now.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::error::{Error, Result};
use super::super::{Client, Consistency, CreateOptions, Expect, Op, WatchOptions};
use super::{Followed, found};

/// A group: members join under a name, with a value, and are members as long as their sessions live. With addresses for
/// values it is the list of a service's instances: [`discovery`](super::discovery).
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/membership.rs"), "```")]
///
/// # When something fails
///
/// A member goes with its session, in one step for all to see, and its name is free from then on. A name is made once: asked for
/// across a change of the leader, the answer is that of the first asking.
///
/// # Errors
///
/// `join` is [`Error::NodeExists`] while the name is another's, [`Error::BadArgument`] for a name that can be none, and
/// may otherwise be refused as [`Client::create`] may. `members` has no errors of its own.
///
/// As group membership of ZooKeeper's recipes and its paper (Hunt and others, USENIX ATC 2010, §2.4).
#[derive(Clone, Debug)]
pub struct Group {
    client: Client,
    path: String,
}

/// Being a member; it ends when this is dropped, or the session does.
///
/// # Errors
///
/// `update` and `leave` are [`Error::NoNode`] if somebody deleted the member's node; `update` is [`Error::TooLarge`] or
/// [`Error::BytesOverQuota`] if the value has no room.
#[derive(Debug)]
#[must_use = "dropping it leaves the group"]
pub struct Membership {
    client: Client,
    /// `None` once it was left.
    node: Option<String>,
}

/// The members, whenever that changes.
///
/// # Errors
///
/// `next` may be refused as [`Client::watch`] may. It fails for good when the session ends ([`Error::SessionExpired`]);
/// after another failure, as by [`Error::Deadline`], it goes on where it was.
#[derive(Debug)]
pub struct Members {
    group: Group,
    followed: Option<Followed>,
    /// Who was told of last; `None` before anybody was.
    last: Option<BTreeMap<String, Bytes>>,
}

impl Group {
    /// The group at `path`, which is made when the first member joins.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), path: path.into() }
    }

    /// Joins; dropping the future gives that up, at any moment. [`Error::NodeExists`] if there is a member of that name:
    /// after a crash, until its old session has ended.
    pub async fn join(&self, name: &str, value: impl Into<Bytes>) -> Result<Membership> {
        found(&self.client, &self.path).await?;
        let (client, node) = (self.client.clone(), format!("{}/{name}", self.path));
        let membership = {
            let node = node.clone();
            move || Membership { client, node: Some(node) }
        };
        // Given up while it is being made, it is left again: as nobody's, it would be there as long as the session is.
        self.client.create_held(&node, value, CreateOptions::ephemeral(), membership).await
    }

    /// Who is there now, by name.
    pub async fn members(&self) -> Result<BTreeMap<String, Bytes>> {
        let (mut members, mut after) = (BTreeMap::new(), String::new());
        loop {
            let page = self.client.list_page(&self.path, &after, PAGE, Consistency::Linearizable).await;
            let page = match page {
                Err(Error::NoNode { .. }) => return Ok(members),
                page => page?,
            };
            let names: Vec<String> = page.entries.into_iter().map(|(name, _)| name).collect();
            let Some(last) = names.last().cloned() else { return Ok(members) };
            self.values(names, &mut members).await?;
            if !page.more {
                return Ok(members);
            }
            after = last;
        }
    }

    async fn values(&self, names: Vec<String>, members: &mut BTreeMap<String, Bytes>) -> Result<()> {
        // All at once: the calls are queued when they are made.
        let asked: Vec<_> =
            names.into_iter().map(|name| (self.client.get(&format!("{}/{name}", self.path)), name)).collect();
        for (value, name) in asked {
            match value.await {
                Ok((value, _)) => _ = members.insert(name, value),
                // Gone since it was listed.
                Err(Error::NoNode { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The members now, and after each change.
    #[must_use]
    pub fn watch(&self) -> Members {
        Members { group: self.clone(), followed: None, last: None }
    }
}

impl Membership {
    /// Whether the member is certainly seen by all at this moment, by this host's clock.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.client.is_safe()
    }

    /// Shows another value.
    pub fn update(&self, value: impl Into<Bytes>) -> Op<super::super::Stat> {
        let node = self.node.as_ref().expect("it is there until it is left");
        self.client.set(node, value, Expect::Any)
    }

    /// Leaves, and tells when that is done.
    pub fn leave(mut self) -> Op<()> {
        let node = self.node.take().expect("it is there until it is left");
        self.client.delete(&node, Expect::Any)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.client.delete(&node, Expect::Any).detach();
        }
    }
}

impl Members {
    /// At first who is there now; then, each time, who is there after something changed. Changes while nobody asked come as
    /// one.
    pub async fn next(&mut self) -> Result<BTreeMap<String, Bytes>> {
        let Group { client, path } = &self.group;
        let followed = match &mut self.followed {
            Some(followed) => followed,
            none => none.insert(Followed::unread(client.watch(path, WatchOptions::entries()).await?)),
        };
        loop {
            followed.changed().await?;
            let now = self.group.members().await?;
            followed.was_read();
            if self.last.as_ref() != Some(&now) {
                self.last = Some(now.clone());
                return Ok(now);
            }
        }
    }
}

/// Members asked for at once.
const PAGE: u32 = 256;
