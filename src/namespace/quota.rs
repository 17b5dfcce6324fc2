//! Quotas: what a node and all below it may come to, and what they have come to.
//!
//! A quota is part of its node, as a lock is. What it bounds is counted by each copy of the tree, as nodes come, go and
//! change; where no quota is set nothing is counted. A node may stand below several quotas: all of them hold.
//!
//! A quota that is new has to count what is there already. That is bounded, for one quota and for all the commands of
//! one entry of the log, so that quotas set and taken away over and over do not hold up whoever writes beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use xxhash_rust::xxh3::xxh3_128;

use super::command::{Done, Expect, Outcome, Quota, QuotaBounds, Refusal, Usage};
use super::path::{self, too_large};
use super::transaction::Transaction;
use super::tree::{Aspect, Change};
use crate::limits::QUOTA_NODES_COUNTED_MAX;

/// The quotas of a tree, by the paths they are set at.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    by_path: BTreeMap<Arc<str>, Account>,
}

/// One quota, and what it bounds.
#[derive(Clone, Debug)]
pub(super) struct Account {
    quota: Arc<Quota>,
    usage: Usage,
}

impl Accounts {
    pub const fn new() -> Self {
        Self { by_path: BTreeMap::new() }
    }

    /// The quota at `path` is another from now on, or none.
    pub fn keep(&mut self, path: Arc<str>, quota: Option<Arc<Quota>>, usage: Usage) {
        match quota {
            Some(quota) => _ = self.by_path.insert(path, Account { quota, usage }),
            None => _ = self.by_path.remove(&path),
        }
    }

    /// So many nodes and bytes came to `path`, and so many went.
    pub fn charge(&mut self, path: &str, nodes: (u64, u64), bytes: (usize, usize)) {
        if self.by_path.is_empty() {
            return;
        }
        for above in upward(path) {
            if let Some(Account { usage, .. }) = self.by_path.get_mut(above) {
                usage.nodes = usage.nodes + nodes.0 - nodes.1;
                usage.bytes = usage.bytes + bytes.0 as u64 - bytes.1 as u64;
            }
        }
    }

    /// The quota set at that very node, and what it bounds.
    pub fn get(&self, path: &str) -> Option<(Quota, Usage)> {
        self.by_path.get(path).map(|account| (*account.quota, account.usage))
    }

    /// The quotas that bound the node, the nearest first.
    fn above<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a Account)> {
        let upward = (!self.by_path.is_empty()).then(|| upward(path));
        upward.into_iter().flatten().filter_map(|above| self.by_path.get_key_value(above))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Account)> {
        self.by_path.iter()
    }
}

impl Account {
    pub const fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    pub const fn usage(&self) -> Usage {
        self.usage
    }
}

impl Quota {
    pub(super) fn hash(&self) -> u128 {
        let mut raw = BytesMut::new();
        self.put(&mut raw);
        xxh3_128(&raw)
    }
}

impl QuotaBounds {
    /// Whether `usage`, to which `more` came last, is past a bound that it was not past before.
    fn are_passed_by(self, usage: Usage, more: Usage) -> bool {
        let passes = |now, more, bound: Option<u64>| bound.is_some_and(|bound| now > bound && now - more <= bound);
        passes(usage.nodes, more.nodes, self.nodes) || passes(usage.bytes, more.bytes, self.bytes)
    }
}

impl Transaction<'_> {
    /// Sets a node's quota, or takes it away.
    pub fn set_quota(&mut self, path: &str, quota: Option<Quota>) -> Outcome {
        let place = self.existing(path, Expect::Any)?;
        if quota == Some(Quota::default()) {
            let why = "a quota without a bound bounds nothing: give it one, or take it away".to_owned();
            return Err(Refusal::BadArgument { why });
        }
        let node = self.nodes.tree.row(place).node.clone();
        if node.quota.as_deref() == quota.as_ref() {
            return Ok(Done::QuotaSet);
        }
        if node.quota.is_none() && path != path::ROOT {
            let below = self.nodes.leaves_first(place, QUOTA_NODES_COUNTED_MAX + 1)?.len();
            self.nodes.walked += below;
            if below > QUOTA_NODES_COUNTED_MAX {
                return Err(too_large("nodes or more to be counted for a new quota", below, QUOTA_NODES_COUNTED_MAX));
            }
        }
        self.replace(place, Aspect::Quota, node.with(|_, parts| parts.quota = quota.map(Arc::new)));
        Ok(Done::QuotaSet)
    }

    /// Refuses what would go past a quota.
    pub fn check_quotas(&self, path: &str, more: Usage) -> Result<(), Refusal> {
        for (above, Account { quota, usage }) in self.nodes.tree.accounts().above(path) {
            let path = || (**above).to_owned();
            let nodes = usage.nodes + if cfg!(bug = "50") { 0 } else { more.nodes };
            let bytes = usage.bytes + more.bytes;
            match quota.hard {
                QuotaBounds { nodes: Some(limit), .. } if more.nodes > 0 && nodes > limit => {
                    return Err(Refusal::NodesOverQuota { path: path(), needed: nodes, limit });
                }
                QuotaBounds { bytes: Some(limit), .. } if more.bytes > 0 && bytes > limit => {
                    return Err(Refusal::BytesOverQuota { path: path(), needed: bytes, limit });
                }
                QuotaBounds { .. } => {}
            }
        }
        Ok(())
    }

    /// Tells of the soft bounds that were passed by what has just come to `path`.
    pub fn warn_of_quotas(&mut self, path: &str, more: Usage) {
        let accounts = self.nodes.tree.accounts().above(path);
        let passed = accounts.filter(|(_, account)| account.quota.soft.are_passed_by(account.usage, more));
        let passed: Vec<_> = passed.map(|(above, _)| above.clone()).collect();
        for path in passed {
            let node = self.nodes.tree.get(&path).cloned();
            self.tell(Change { revision: self.revision(), path, aspect: Aspect::OverQuota, node, left_acl: None });
        }
    }
}

/// A path and those above it.
fn upward(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path::parent(path))
}
