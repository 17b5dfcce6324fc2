//! What changed lately: kept so that a watch that comes back, from another connection or another replica, is told what it
//! missed.
//!
//! It keeps traces, not nodes: which node changed, how, and by which numbers the tree's node is known to be that one still.
//! A node held here could not be rewritten where it lies by the next write of it, and would keep its data in memory. It is
//! bounded in bytes; what it has dropped is known by one revision.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::namespace::acl::Acl;
use crate::namespace::command::Revision;
use crate::namespace::{Aspect, Change, Node, Tree};

/// The traces of the last revisions.
#[derive(Debug)]
pub(super) struct Past {
    lists: VecDeque<List>,
    bytes: usize,
    bytes_max: usize,
    /// Changes up to this revision are not here (any more).
    floor: Revision,
    /// Everything after the floor, up to this revision, is here.
    upto: Revision,
}

/// What is left of a change.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) revision: Revision,
    pub(super) path: Arc<str>,
    pub(super) aspect: Aspect,
    /// The node's instance and version right after; `None` if it is gone.
    state: Option<(u64, u64)>,
    /// The access list it had then.
    pub(super) acl: Option<Arc<Acl>>,
}

#[derive(Debug)]
struct List {
    traces: Box<[Trace]>,
    last: Revision,
    bytes: usize,
}

impl Past {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { lists: VecDeque::new(), bytes: 0, bytes_max, floor: 0, upto: 0 }
    }

    /// Adds all that changed after `since`, up to `upto`; how much was added, in bytes. If `since` is not where this ends,
    /// what lies between was never told: everything before is worthless.
    pub(super) fn push(&mut self, since: Revision, upto: Revision, changes: &[Change]) -> usize {
        assert!(since >= self.upto, "the state goes forward");
        if since != self.upto {
            self.lists.clear();
            (self.bytes, self.floor) = (0, since);
        }
        self.upto = upto;
        let Some(last) = changes.last().map(|change| change.revision) else { return 0 };
        let traces: Box<[_]> = changes.iter().map(Trace::of).collect();
        let bytes = traces.iter().map(Trace::bytes).sum();
        self.lists.push_back(List { traces, last, bytes });
        self.bytes += bytes;
        while self.bytes > self.bytes_max
            && let Some(list) = self.lists.pop_front()
        {
            self.bytes -= list.bytes;
            self.floor = list.last;
        }
        bytes
    }

    /// Changes up to this revision cannot be told any more.
    pub(super) fn floor(&self) -> Revision {
        self.floor
    }

    /// The traces after `cursor`, a revision at a time.
    pub(super) fn after(&self, cursor: Revision) -> impl Iterator<Item = &[Trace]> {
        let first = self.lists.partition_point(|list| list.last <= cursor);
        self.lists.range(first..).flat_map(move |list| {
            let seen = list.traces.partition_point(|trace| trace.revision <= cursor);
            list.traces[seen..].chunk_by(|one, next| one.revision == next.revision)
        })
    }
}

impl Trace {
    fn of(change: &Change) -> Self {
        let Change { revision, aspect, .. } = *change;
        let (path, state, acl) = (Arc::clone(&change.path), change.node.as_ref().map(state_of), change.acl().cloned());
        Self { revision, path, aspect, state, acl }
    }

    /// The node the change left, if that is what the tree has still.
    pub(super) fn node<'t>(&self, tree: &'t Tree) -> Option<&'t Node> {
        let state = self.state?;
        tree.get(&self.path).filter(|node| state_of(node) == state)
    }

    /// What it holds in memory, nearly.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.path.len()
    }
}

/// What tells a node's data from all others its path ever had.
fn state_of(node: &Node) -> (u64, u64) {
    (node.stat().instance, node.stat().version)
}
