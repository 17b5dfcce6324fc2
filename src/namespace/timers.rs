//! What becomes due at nodes, and when by the log's time. All of it is in the nodes; this finds it.
//!
//! Time alone changes nothing: the leader sees here what is due and asks the log to settle it, and the log's own time
//! decides whether it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::lock::Mark;
use super::tree::Tree;

/// Everything that waits for its time, the earliest first.
#[derive(PartialEq, Eq, Default, Debug)]
pub(super) struct Timers {
    due: BTreeSet<(u64, Arc<str>, What)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum What {
    /// A lock's mark of a lost holder is wiped out.
    Lock,
    /// The node ends.
    Node,
}

impl Timers {
    /// The timers of a tree.
    fn of(tree: &Tree) -> Self {
        let mut timers = Self::default();
        for (path, node) in tree.iter() {
            node.lock.iter().flat_map(|lock| lock.lost()).for_each(|mark| timers.add_mark(path, *mark));
            timers.node_ends(path, None, node.ends_ns());
        }
        timers
    }

    /// What is due when, at which node.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Arc<str>)> {
        self.due.iter().map(|(at_ns, path, _)| (*at_ns, path))
    }

    /// A lost holder left a mark on a lock.
    pub fn add_mark(&mut self, path: &Arc<str>, mark: Mark) {
        self.due.insert((mark.until_ns, path.clone(), What::Lock));
    }

    /// All of a lock's marks of that time are wiped out.
    pub fn remove_mark(&mut self, path: &Arc<str>, mark: Mark) {
        self.due.remove(&(mark.until_ns, path.clone(), What::Lock));
    }

    /// A node that was to end at one time is to end at another.
    pub fn node_ends(&mut self, path: &Arc<str>, before_ns: Option<u64>, after_ns: Option<u64>) {
        if before_ns == after_ns {
            return;
        }
        if let Some(before_ns) = before_ns.filter(|_| !cfg!(bug = "53")) {
            self.due.remove(&(before_ns, path.clone(), What::Node));
        }
        if let Some(after_ns) = after_ns {
            self.due.insert((after_ns, path.clone(), What::Node));
        }
    }

    /// What must hold between commands.
    pub fn invariants(&self, tree: &Tree) {
        assert_eq!(*self, Self::of(tree), "timers are those of the nodes");
    }
}
