//! What changed lately: kept so that a watch that comes back, from another connection or another replica, is told what it
//! missed.
//!
//! It holds the very lists that the replica hands to every front, so the fronts of a replica share one copy of it, and a
//! revision's changes lie together in one list. It is bounded in bytes; what it has dropped is known by one revision.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::namespace::command::Revision;
use crate::namespace::{Change, Node};

/// The changes of the last revisions.
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

#[derive(Debug)]
struct List {
    changes: Arc<[Change]>,
    last: Revision,
    bytes: usize,
}

impl Past {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { lists: VecDeque::new(), bytes: 0, bytes_max, floor: 0, upto: 0 }
    }

    /// Adds all that changed after `since`, up to `upto`; how much was added, in bytes. If `since` is not where this ends,
    /// what lies between was never told: everything before is worthless.
    pub(super) fn push(&mut self, since: Revision, upto: Revision, changes: &Arc<[Change]>) -> usize {
        assert!(since >= self.upto, "the state goes forward");
        if since != self.upto {
            self.lists.clear();
            (self.bytes, self.floor) = (0, since);
        }
        self.upto = upto;
        let Some(last) = changes.last().map(|change| change.revision) else { return 0 };
        let bytes = changes.iter().map(bytes_of).sum();
        self.lists.push_back(List { changes: Arc::clone(changes), last, bytes });
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

    /// The changes after `cursor`, a revision at a time.
    pub(super) fn after(&self, cursor: Revision) -> impl Iterator<Item = &[Change]> {
        let first = self.lists.partition_point(|list| list.last <= cursor);
        self.lists.range(first..).flat_map(move |list| {
            let seen = list.changes.partition_point(|change| change.revision <= cursor);
            revisions(&list.changes[seen..])
        })
    }
}

/// A list of changes, a revision at a time.
pub(super) fn revisions(changes: &[Change]) -> impl Iterator<Item = &[Change]> {
    changes.chunk_by(|one, next| one.revision == next.revision)
}

/// What a change holds in memory, nearly.
fn bytes_of(change: &Change) -> usize {
    let node = change.node.as_ref().map_or(0, |node| size_of::<Node>() + node.data.len());
    size_of::<Change>() + change.path.len() + node
}
