//! The tree of nodes: one map look-up finds any node, and a parent knows its children in order.
//!
//! Most nodes are data and a few numbers, and there are many: each is one piece of memory for itself and one for its path
//! (`node`), a parent knows its children by place (`children`), and what comes out of an image is laid down without a
//! look-up for each parent (`laying`).
//!
//! A replica's own tree and the fronts' mirrors of it are the same type. Nodes and paths are shared between them; the
//! index, the rows and the order of children are each tree's own, so that a read touches nothing another core writes.

mod children;
mod laying;
mod node;

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::children::Children;
pub(super) use self::laying::Laying;
pub use self::node::{Node, Parts};
use super::acl::{Acl, Groups};
use super::command::{Revision, Stat, Usage};
use super::path;
use super::quota::Accounts;
use super::slab::{Place, Row, Slab, Visit};

/// One node's new state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The command that changed it.
    pub revision: Revision,
    /// Which node.
    pub path: Arc<str>,
    /// What about it changed.
    pub aspect: Aspect,
    /// What it is now; `None` if it is gone.
    pub node: Option<Node>,
    /// The access list of a node that is gone.
    pub left_acl: Option<Arc<Acl>>,
}

/// What of a node a change changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aspect {
    /// It was made.
    Birth,
    /// Its data were replaced.
    Data,
    /// A child was added or removed.
    Children,
    /// Who claims its lock.
    Lock,
    /// It was removed.
    Death,
    /// Who has it open.
    Handles,
    /// Another reign began; told of the root.
    Reign,
    /// What it and all below it may come to.
    Quota,
    /// Who may do what with it.
    Acl,
    /// Nothing of its own: it and all below it have come to more than its quota's soft bounds.
    OverQuota,
    /// Nothing more of it: who holds its lock has somebody waiting behind, one of them newly come.
    Wanted,
}

/// The nodes, found by path.
pub struct Tree {
    seed: u64,
    index: HashTable<Place>,
    rows: Slab<NodeRow>,
    data_bytes: u64,
    accounts: Accounts,
    /// Nodes with an access list.
    guarded: usize,
    groups: Groups,
}

/// A node where it lies.
#[derive(Clone, Debug)]
pub(super) struct NodeRow {
    pub(super) path: Arc<str>,
    pub(super) node: Node,
    /// `None`: it has none.
    children: Option<Box<Children>>,
}

impl Change {
    /// The access list that the node has, or had.
    #[must_use]
    pub fn acl(&self) -> Option<&Arc<Acl>> {
        self.node.as_ref().map_or(self.left_acl.as_ref(), |node| node.acl.as_ref())
    }
}

impl Tree {
    /// The empty tree: a root without data. `seed` scatters the index, so that no client can choose paths that collide;
    /// nothing else depends on it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut tree = Self::bare(seed);
        tree.lay(path::ROOT.into(), Node::new(&[], Stat::default()));
        tree
    }

    /// A second tree of the same nodes, for a front.
    #[must_use]
    pub fn twin(&self, seed: u64) -> Self {
        let rows = self.rows.twin();
        let mut index = HashTable::with_capacity(rows.len());
        let hash = hasher(&rows, seed);
        for (place, _) in rows.iter() {
            index.insert_unique(hash(&place), place, &hash);
        }
        drop(hash);
        let Self { data_bytes, guarded, .. } = *self;
        Self { seed, index, rows, data_bytes, accounts: self.accounts.clone(), guarded, groups: self.groups.clone() }
    }

    /// Takes over a change made to the tree this one mirrors. Changes come in order, none left out.
    pub fn mirror(&mut self, change: &Change) {
        self.put(&change.path, change.node.clone());
    }

    /// The node of that path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.find(path).map(|place| &self.rows.get(place).node)
    }

    /// Paths of the node's children whose names follow `after`, in byte order; all of them if `after` is empty.
    pub fn children<'a>(&'a self, path: &str, after: &str) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        let place = self.find(path)?;
        Some(self.places_of_children(place, after).map(|child| &*self.rows.get(child).path))
    }

    /// The node that follows `after` among those at and below `top`, each before its children, children in byte order. The
    /// node `after`, at or below `top`, need not exist.
    #[must_use]
    pub fn next_within(&self, top: &str, after: &str) -> Option<&str> {
        if let Some(child) = self.children(after, "").and_then(|mut children| children.next()) {
            return Some(child);
        }
        let mut at = after;
        while at != top {
            let above = path::parent(at)?;
            if let Some(next) = self.children(above, path::name(at)).and_then(|mut later| later.next()) {
                return Some(next);
            }
            at = above;
        }
        None
    }

    /// The first `most` nodes at and below `top`, each after its children.
    pub(super) fn leaves_first(&self, top: Place, most: usize) -> Vec<Place> {
        let mut found = Vec::new();
        self.gather(top, most, &mut found);
        found
    }

    fn gather(&self, top: Place, most: usize, found: &mut Vec<Place>) {
        for child in self.places_of_children(top, "") {
            if found.len() == most {
                return;
            }
            self.gather(child, most, found);
        }
        if found.len() < most {
            found.push(top);
        }
    }

    /// How many nodes there are, the root among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never: there is always a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// Bytes of data in all nodes together.
    #[must_use]
    pub const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// A number that trees with the same nodes share, whatever led to them.
    #[must_use]
    pub const fn digest(&self) -> u128 {
        self.rows.sum()
    }

    /// The quotas, and what they bound.
    pub(super) const fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// How many nodes have an access list.
    #[must_use]
    pub const fn guarded(&self) -> usize {
        self.guarded
    }

    /// Who is in which group.
    pub(super) const fn groups(&self) -> &Groups {
        &self.groups
    }

    /// What the node and all below it come to.
    fn usage(&self, top: Place) -> Usage {
        let row = self.rows.get(top);
        if &*row.path == path::ROOT {
            return Usage { nodes: self.len() as u64, bytes: self.data_bytes };
        }
        let mut usage = Usage { nodes: 1, bytes: row.node.bytes() as u64 };
        for child in self.places_of_children(top, "") {
            let below = self.usage(child);
            usage = Usage { nodes: usage.nodes + below.nodes, bytes: usage.bytes + below.bytes };
        }
        usage
    }

    pub(super) fn find(&self, path: &str) -> Option<Place> {
        let hash = xxh3_64_with_seed(path.as_bytes(), self.seed);
        self.index.find(hash, |place| *self.rows.get(*place).path == *path).copied()
    }

    pub(super) fn row(&self, place: Place) -> &NodeRow {
        self.rows.get(place)
    }

    /// Brings close what look-ups of these paths will touch, in rounds whose loads do not wait for each other: looked up
    /// one after the other, each node costs several trips to memory in a row. There are at most [`FETCHED_TOGETHER_MAX`].
    pub(super) fn fetch<'p>(&self, paths: impl Iterator<Item = &'p str>) {
        let mut places = [None; FETCHED_TOGETHER_MAX];
        for (place, path) in places.iter_mut().zip(paths) {
            // Whichever place has the same few bits of hash is nearly always the one.
            *place = self.index.find(xxh3_64_with_seed(path.as_bytes(), self.seed), |_| true).copied();
        }
        let found = places.map(|place| {
            let row = self.rows.get(place?);
            Some((row.path.as_bytes(), &row.node))
        });
        let rows = found.iter().flatten().map(|(path, node)| u64::from(path[0]) ^ node.glance());
        black_box(rows.fold(0, |all, one| all ^ one));
        // What is about to be overwritten: one byte of each line of the processor's cache.
        let nodes = found.iter().flatten().map(|(_, node)| node);
        let data = nodes.flat_map(|node| node.data().iter().take(FETCHED_BYTES_MAX).step_by(64));
        black_box(data.fold(0, |all, one| all ^ one));
    }

    /// Gives the node at `place` other data, numbers and time to end, and returns it. Where nobody else holds the node, it is
    /// changed where it lies.
    pub(super) fn rewrite(&mut self, place: Place, data: &[u8], stat: Stat, due_ns: Option<u64>) -> Node {
        let (before, node) = self.rows.update(place, |row| {
            let before = row.node.bytes();
            row.node.rewrite(data, stat, due_ns);
            (before, row.node.clone())
        });
        self.data_bytes = self.data_bytes + node.bytes() as u64 - before as u64;
        let path = &self.rows.get(place).path;
        self.accounts.charge(path, (0, 0), (node.bytes(), before));
        self.groups.note(path, Some(node.data()));
        node
    }

    /// Gives the node at `place` another state.
    pub(super) fn replace(&mut self, place: Place, node: Node) {
        self.data_bytes += node.bytes() as u64;
        let after = (node.bytes(), node.quota.clone());
        self.guarded += usize::from(node.acl.is_some());
        let before = self.rows.update(place, |row| std::mem::replace(&mut row.node, node));
        self.data_bytes -= before.bytes() as u64;
        self.guarded -= usize::from(before.acl.is_some());
        let row = self.rows.get(place);
        self.accounts.charge(&row.path, (0, 0), (after.0, before.bytes()));
        self.groups.note(&row.path, Some(row.node.data()));
        if before.quota != after.1 {
            let path = row.path.clone();
            let usage = match (self.accounts.get(&path), &after.1) {
                // Counted already, however much has come to be below it since.
                (Some((_, usage)), Some(_)) => usage,
                (None, Some(_)) => self.usage(place),
                (_, None) => Usage::default(),
            };
            self.accounts.keep(path, after.1, usage);
        }
    }

    /// Adds a node under the one at `parent`.
    pub(super) fn add(&mut self, parent: Place, path: Arc<str>, node: Node) {
        if let Some(quota) = &node.quota {
            self.accounts.keep(path.clone(), Some(quota.clone()), Usage::default());
        }
        self.accounts.charge(&path, (1, 0), (node.bytes(), 0));
        let place = self.lay(path, node);
        self.change_children(parent, |tree, children| {
            let name = tree.name(place);
            children.insert(place, |child| tree.name(child) < name);
        });
    }

    /// Removes the node at `place`, a child of the one at `parent`.
    pub(super) fn remove(&mut self, place: Place, parent: Place) {
        self.change_children(parent, |tree, children| {
            let name = tree.name(place);
            children.remove(place, |child| tree.name(child) < name);
        });
        let hash = xxh3_64_with_seed(self.rows.get(place).path.as_bytes(), self.seed);
        let entry = self.index.find_entry(hash, |found| *found == place);
        entry.expect("a row that lives is in the index").remove();
        let row = self.rows.remove(place);
        assert!(row.children.is_none(), "a node with children is not removed");
        self.data_bytes -= row.node.bytes() as u64;
        self.guarded -= usize::from(row.node.acl.is_some());
        self.accounts.charge(&row.path, (0, 1), (0, row.node.bytes()));
        self.groups.note(&row.path, None);
        if row.node.quota.is_some() {
            self.accounts.keep(row.path, None, Usage::default());
        }
    }

    /// Makes `path` be `node`, whatever it was.
    pub(super) fn put(&mut self, path: &Arc<str>, node: Option<Node>) {
        match (self.find(path), node) {
            (Some(place), Some(node)) => self.replace(place, node),
            (Some(place), None) => self.remove(place, self.parent_of(path)),
            (None, Some(node)) => self.add(self.parent_of(path), path.clone(), node),
            (None, None) => panic!("what is not there cannot go: a change was lost before {path}"),
        }
    }

    pub(super) fn begin_walk(&mut self) {
        self.rows.begin_walk();
    }

    pub(super) fn visit(&mut self) -> Visit<(Arc<str>, Node)> {
        self.rows.visit()
    }

    pub(super) fn end_walk(&mut self) {
        self.rows.end_walk();
    }

    /// Every path with its node, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        self.rows.iter().map(|(_, row)| (&row.path, &row.node))
    }

    /// What must hold at any time; for checks, as it looks at every node.
    pub fn invariants(&self) {
        let mut sum = 0_u128;
        let mut bytes = 0;
        for (place, row) in self.rows.iter() {
            assert_eq!(self.find(&row.path), Some(place), "the index finds every row");
            let children: Vec<_> = self.places_of_children(place, "").collect();
            assert_eq!(row.node.stat().children as usize, children.len(), "{}: children are counted", row.path);
            assert!(children.is_sorted_by_key(|child| self.name(*child)), "{}: children are in order", row.path);
            row.children.iter().for_each(|children| children.invariants());
            row.node.invariants(&row.path);
            for child in children {
                let below = &self.rows.get(child).path;
                assert_eq!(path::parent(below), Some(&*row.path), "a child's path starts with its parent's");
            }
            sum = sum.wrapping_add(row.hash());
            bytes += row.node.bytes() as u64;
        }
        for (path, account) in self.accounts.iter() {
            let place = self.find(path).expect("a quota is that of a node");
            assert_eq!(self.rows.get(place).node.quota.as_ref(), Some(account.quota()), "{path}: its quota is known");
            assert_eq!(self.usage(place), account.usage(), "{path}: what it bounds is counted");
        }
        let bounded = self.rows.iter().filter(|(_, row)| row.node.quota.is_some()).count();
        assert_eq!(bounded, self.accounts.iter().count(), "every quota is known");
        let guarded = self.rows.iter().filter(|(_, row)| row.node.acl.is_some()).count();
        assert_eq!(guarded, self.guarded, "the access lists are counted");
        let mut groups = Groups::new();
        self.iter().for_each(|(path, node)| groups.note(path, Some(node.data())));
        assert_eq!(groups, self.groups, "groups are what their nodes say");
        assert_eq!(sum, self.rows.sum(), "the digest is the sum of the rows");
        assert_eq!(bytes, self.data_bytes, "the bytes are the sum of the rows");
        assert_eq!(self.index.len(), self.rows.len(), "the index holds nothing else");
    }

    const fn bare(seed: u64) -> Self {
        Self {
            seed,
            index: HashTable::new(),
            rows: Slab::new(),
            data_bytes: 0,
            accounts: Accounts::new(),
            guarded: 0,
            groups: Groups::new(),
        }
    }

    /// Lays a row down without telling its parent.
    fn lay(&mut self, path: Arc<str>, node: Node) -> Place {
        self.count(&path, &node);
        let hash = xxh3_64_with_seed(path.as_bytes(), self.seed);
        let place = self.rows.insert(NodeRow { path, node, children: None });
        self.index.insert_unique(hash, place, hasher(&self.rows, self.seed));
        place
    }

    /// Counts a node that comes to be here.
    fn count(&mut self, path: &Arc<str>, node: &Node) {
        self.data_bytes += node.bytes() as u64;
        self.guarded += usize::from(node.acl.is_some());
        self.groups.note(path, Some(node.data()));
    }

    fn name(&self, place: Place) -> &str {
        path::name(&self.rows.get(place).path)
    }

    /// The children of the node at `place` whose names follow `after`.
    fn places_of_children<'a>(&'a self, place: Place, after: &str) -> impl Iterator<Item = Place> + use<'a> {
        let children = self.rows.get(place).children.as_deref();
        let following = children.map(|children| children.from(children.spot(|child| self.name(child) <= after)));
        following.into_iter().flatten()
    }

    /// Changes which children the node at `place` has.
    fn change_children(&mut self, place: Place, change: impl FnOnce(&Self, &mut Children)) {
        let mut children = self.rows.arrange(place, |row| row.children.take()).unwrap_or_default();
        change(self, &mut children);
        self.rows.arrange(place, |row| row.children = Some(children).filter(|children| !children.is_empty()));
    }

    fn parent_of(&self, path: &str) -> Place {
        let parent = path::parent(path).expect("the root is neither added nor removed");
        self.find(parent).expect("a parent is there before its children and after them")
    }
}

/// Hashes the paths of rows, by which the index of a tree of that seed finds them.
fn hasher(rows: &Slab<NodeRow>, seed: u64) -> impl Fn(&Place) -> u64 {
    move |place| xxh3_64_with_seed(rows.get(*place).path.as_bytes(), seed)
}

/// Paths whose nodes are fetched from memory together: enough to keep the memory busy, few enough to stay close.
pub(super) const FETCHED_TOGETHER_MAX: usize = 16;

/// How much of a node's data is brought close beforehand: of more, the copying itself fetches what comes next.
const FETCHED_BYTES_MAX: usize = 2048;

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} nodes, {} bytes)", self.len(), self.data_bytes)
    }
}

impl Row for NodeRow {
    type Kept = (Arc<str>, Node);

    fn keep(&self) -> Self::Kept {
        (self.path.clone(), self.node.clone())
    }

    fn hash(&self) -> u128 {
        self.node.hash(&self.path)
    }
}
