//! The tree of nodes: one map look-up finds any node, and a parent knows its children in order.
//!
//! A replica's own tree and the fronts' mirrors of it are the same type. Nodes and paths are shared between them; the
//! index, the rows and the order of children are each tree's own, so that a read touches nothing another core writes.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::hint::black_box;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::codec::SequencerRef;
use super::command::{LockMode, Revision, Sequencer, Stat};
use super::lock::Lock;
use super::path;
use super::slab::{Place, Row, Slab, Visit};

/// A node as it was at one revision. It never changes; its bytes are its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// What clients stored.
    pub data: Bytes,
    /// Its numbers.
    pub stat: Stat,
    /// Its lock; `None` while nobody holds it.
    pub lock: Option<Arc<Lock>>,
    /// XXH3-128 of the data, so that a change of the stat alone hashes no data.
    data_hash: u128,
}

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
    pub node: Option<Arc<Node>>,
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
}

/// The nodes, found by path.
pub struct Tree {
    seed: u64,
    index: HashTable<Place>,
    rows: Slab<NodeRow>,
    data_bytes: u64,
}

/// A node where it lies.
#[derive(Debug)]
pub(super) struct NodeRow {
    pub(super) path: Arc<str>,
    pub(super) node: Arc<Node>,
    hash: u128,
    children: BTreeSet<Child>,
}

/// A child's path, ordered by its last name.
#[derive(Clone, Debug)]
struct Child(Arc<str>);

impl Node {
    /// A node; `stat`'s length and checksum become those of `data`.
    #[must_use]
    pub fn new(data: Bytes, stat: Stat) -> Self {
        let (stat, data_hash) = summed(&data, stat);
        Self { data, stat, lock: None, data_hash }
    }

    /// The same node with other data.
    #[must_use]
    pub fn with_data(&self, data: Bytes, stat: Stat) -> Self {
        Self { lock: self.lock.clone(), ..Self::new(data, stat) }
    }

    /// Becomes the node of that data and those numbers. Memory of the same size is used again.
    fn rewrite(&mut self, data: &[u8], stat: Stat) {
        // The sums are taken of the bytes that came: a copy just made is still on its way to memory.
        (self.stat, self.data_hash) = summed(data, stat);
        let old = std::mem::take(&mut self.data);
        self.data = match old.try_into_mut() {
            Ok(mut own) if own.len() == data.len() => {
                own.copy_from_slice(data);
                own.freeze()
            }
            _ => Bytes::copy_from_slice(data),
        };
    }

    /// The same data under other numbers.
    #[must_use]
    pub fn with_stat(&self, stat: Stat) -> Self {
        self.with_lock(self.lock.clone(), stat)
    }

    /// The same data under another lock and other numbers.
    #[must_use]
    pub fn with_lock(&self, lock: Option<Arc<Lock>>, stat: Stat) -> Self {
        let kept = (self.stat.data_bytes, self.stat.checksum);
        assert!((stat.data_bytes, stat.checksum) == kept, "the numbers of the data change only with the data");
        Self { data: self.data.clone(), stat, lock, data_hash: self.data_hash }
    }

    /// What holders of the node's lock show, if they hold it in that mode.
    #[must_use]
    pub fn sequencer(&self, path: &str, mode: LockMode) -> Sequencer {
        let Stat { instance, lock_generation: generation, .. } = self.stat;
        Sequencer { path: path.to_owned(), instance, mode, generation }
    }

    /// Whether the lock is held as the sequencer, which names this node's path, says.
    #[must_use]
    pub fn upholds(&self, sequencer: SequencerRef<'_>) -> bool {
        let held_as = self.lock.as_ref().and_then(|lock| lock.held_as());
        let found = (self.stat.instance, held_as, self.stat.lock_generation);
        found == (sequencer.instance, Some(sequencer.mode), sequencer.generation)
    }

    fn hash(&self, path: &str) -> u128 {
        let mut raw = [0; Stat::ENCODED_BYTES + 48];
        raw[..Stat::ENCODED_BYTES].copy_from_slice(&self.stat.to_bytes());
        raw[Stat::ENCODED_BYTES..][..16].copy_from_slice(&self.data_hash.to_le_bytes());
        raw[Stat::ENCODED_BYTES + 16..][..16].copy_from_slice(&xxh3_128(path.as_bytes()).to_le_bytes());
        let lock_hash = self.lock.as_ref().map_or(0, |lock| lock.hash());
        raw[Stat::ENCODED_BYTES + 32..].copy_from_slice(&lock_hash.to_le_bytes());
        xxh3_128(&raw)
    }
}

impl Tree {
    /// The empty tree: a root without data. `seed` scatters the index, so that no client can choose paths that collide;
    /// nothing else depends on it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut tree = Self::bare(seed);
        tree.lay(path::ROOT.into(), Arc::new(Node::new(Bytes::new(), Stat::default())));
        tree
    }

    /// A second tree of the same nodes, for a front.
    #[must_use]
    pub fn twin(&self, seed: u64) -> Self {
        let mut twin = Self::bare(seed);
        for (_, row) in self.rows.iter() {
            let place = twin.lay(row.path.clone(), row.node.clone());
            twin.rows.update(place, |twin_row| twin_row.children.clone_from(&row.children));
        }
        twin
    }

    /// Takes over a change made to the tree this one mirrors. Changes come in order, none left out.
    pub fn mirror(&mut self, change: &Change) {
        self.put(&change.path, change.node.clone());
    }

    /// The node of that path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Arc<Node>> {
        self.find(path).map(|place| &self.rows.get(place).node)
    }

    /// Names of the node's children that follow `after`, in byte order; all of them if `after` is empty.
    pub fn children<'a>(&'a self, path: &str, after: &str) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        let place = self.find(path)?;
        let range = (Bound::Excluded(after), Bound::Unbounded);
        Some(self.rows.get(place).children.range::<str, _>(range).map(Borrow::borrow))
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

    pub(super) fn find(&self, path: &str) -> Option<Place> {
        let hash = xxh3_64_with_seed(path.as_bytes(), self.seed);
        self.index.find(hash, |place| *self.rows.get(*place).path == *path).copied()
    }

    pub(super) fn row(&self, place: Place) -> &NodeRow {
        self.rows.get(place)
    }

    /// Brings close what look-ups of these paths will touch, in rounds whose loads do not wait for each other: looked up
    /// one after the other, each node costs several trips to memory in a row.
    pub(super) fn fetch<'p>(&self, paths: impl Iterator<Item = &'p str>) {
        let hashes = paths.map(|path| xxh3_64_with_seed(path.as_bytes(), self.seed));
        // Whichever place has the same few bits of hash is nearly always the one.
        let places: Vec<_> = hashes.filter_map(|hash| self.index.find(hash, |_| true).copied()).collect();
        let paths_and_nodes = places.iter().map(|place| {
            let row = self.rows.get(*place);
            (row.path.as_bytes(), &row.node)
        });
        let found: Vec<_> = paths_and_nodes.collect();
        let rows = found.iter().map(|(path, node)| {
            let Stat { created, version, instance, .. } = node.stat;
            u64::from(path[0]) ^ created ^ version ^ instance ^ node.data_hash as u64
        });
        black_box(rows.fold(0, |all, one| all ^ one));
        // What is about to be overwritten: one byte of each line of the processor's cache.
        let data = found.iter().flat_map(|(_, node)| node.data.iter().take(FETCHED_BYTES_MAX).step_by(64));
        black_box(data.fold(0, |all, one| all ^ one));
    }

    /// Gives the node at `place` other data and numbers, and returns it. Where nobody else holds the node, it is changed
    /// where it lies.
    pub(super) fn rewrite(&mut self, place: Place, data: &[u8], stat: Stat) -> Arc<Node> {
        let (before, node) = self.rows.update(place, |row| {
            let before = row.node.data.len();
            match Arc::get_mut(&mut row.node) {
                Some(node) => node.rewrite(data, stat),
                None => row.node = Arc::new(row.node.with_data(Bytes::copy_from_slice(data), stat)),
            }
            row.hash = row.node.hash(&row.path);
            (before, row.node.clone())
        });
        self.data_bytes = self.data_bytes + node.data.len() as u64 - before as u64;
        node
    }

    /// Gives the node at `place` another state.
    pub(super) fn replace(&mut self, place: Place, node: Arc<Node>) {
        self.data_bytes += node.data.len() as u64;
        let before = self.rows.update(place, |row| {
            row.hash = node.hash(&row.path);
            std::mem::replace(&mut row.node, node)
        });
        self.data_bytes -= before.data.len() as u64;
    }

    /// Adds a node under the one at `parent`.
    pub(super) fn add(&mut self, parent: Place, path: Arc<str>, node: Arc<Node>) {
        self.rows.update(parent, |row| row.children.insert(Child(path.clone())));
        self.lay(path, node);
    }

    /// Removes the node at `place`, a child of the one at `parent`.
    pub(super) fn remove(&mut self, place: Place, parent: Place) {
        let hash = xxh3_64_with_seed(self.rows.get(place).path.as_bytes(), self.seed);
        let entry = self.index.find_entry(hash, |found| *found == place);
        entry.expect("a row that lives is in the index").remove();
        let row = self.rows.remove(place);
        assert!(row.children.is_empty(), "a node with children is not removed");
        self.rows.update(parent, |parent| parent.children.remove(path::name(&row.path)));
        self.data_bytes -= row.node.data.len() as u64;
    }

    /// Makes `path` be `node`, whatever it was.
    pub(super) fn put(&mut self, path: &Arc<str>, node: Option<Arc<Node>>) {
        match (self.find(path), node) {
            (Some(place), Some(node)) => self.replace(place, node),
            (Some(place), None) => self.remove(place, self.parent_of(path)),
            (None, Some(node)) => self.add(self.parent_of(path), path.clone(), node),
            (None, None) => panic!("what is not there cannot go: a change was lost before {path}"),
        }
    }

    /// A tree of these rows, in any order; `Err` names a path that has no place in it.
    pub(super) fn from_rows(seed: u64, rows: Vec<(Arc<str>, Arc<Node>)>) -> Result<Self, Arc<str>> {
        let mut tree = Self::bare(seed);
        for (path, node) in rows {
            if path::check(&path).is_err() || tree.find(&path).is_some() {
                return Err(path);
            }
            tree.lay(path, node);
        }
        let paths: Vec<_> = tree.rows.iter().map(|(_, row)| row.path.clone()).collect();
        for path in paths {
            let Some(parent) = path::parent(&path) else { continue };
            let Some(place) = tree.find(parent) else { return Err(path) };
            tree.rows.update(place, |row| row.children.insert(Child(path)));
        }
        if tree.find(path::ROOT).is_none() {
            return Err(path::ROOT.into());
        }
        let miscounted = tree.rows.iter().find(|(_, row)| row.node.stat.children as usize != row.children.len());
        match miscounted.map(|(_, row)| row.path.clone()) {
            Some(path) => Err(path),
            None => Ok(tree),
        }
    }

    pub(super) fn begin_walk(&mut self) {
        self.rows.begin_walk();
    }

    pub(super) fn visit(&mut self) -> Visit<(Arc<str>, Arc<Node>)> {
        self.rows.visit()
    }

    pub(super) fn end_walk(&mut self) {
        self.rows.end_walk();
    }

    /// Every path with its node, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Node>)> {
        self.rows.iter().map(|(_, row)| (&row.path, &row.node))
    }

    /// What must hold at any time; for checks, as it looks at every node.
    pub fn invariants(&self) {
        let mut sum = 0_u128;
        let mut bytes = 0;
        for (place, row) in self.rows.iter() {
            assert_eq!(self.find(&row.path), Some(place), "the index finds every row");
            assert_eq!(row.node.stat.children as usize, row.children.len(), "{}: children are counted", row.path);
            assert_eq!(row.node.stat.data_bytes as usize, row.node.data.len(), "{}: bytes are counted", row.path);
            assert_eq!(row.node.stat.checksum, crc32fast::hash(&row.node.data), "{}: the checksum fits", row.path);
            for child in &row.children {
                assert_eq!(path::parent(&child.0), Some(&*row.path), "a child's path starts with its parent's");
                assert!(self.find(&child.0).is_some(), "every child is a node");
            }
            assert_eq!(
                row.hash,
                row.node.with_data(row.node.data.clone(), row.node.stat).hash(&row.path),
                "the hash is kept"
            );
            row.node.lock.iter().for_each(|lock| lock.invariants());
            sum = sum.wrapping_add(row.hash);
            bytes += row.node.data.len() as u64;
        }
        assert_eq!(sum, self.rows.sum(), "the digest is the sum of the rows");
        assert_eq!(bytes, self.data_bytes, "the bytes are the sum of the rows");
        assert_eq!(self.index.len(), self.rows.len(), "the index holds nothing else");
    }

    const fn bare(seed: u64) -> Self {
        Self { seed, index: HashTable::new(), rows: Slab::new(), data_bytes: 0 }
    }

    /// Lays a row down without telling its parent.
    fn lay(&mut self, path: Arc<str>, node: Arc<Node>) -> Place {
        let seed = self.seed;
        let hash = xxh3_64_with_seed(path.as_bytes(), seed);
        self.data_bytes += node.data.len() as u64;
        let row = NodeRow { hash: node.hash(&path), path, node, children: BTreeSet::new() };
        let place = self.rows.insert(row);
        self.index.insert_unique(hash, place, |place| xxh3_64_with_seed(self.rows.get(*place).path.as_bytes(), seed));
        place
    }

    fn parent_of(&self, path: &str) -> Place {
        let parent = path::parent(path).expect("the root is neither added nor removed");
        self.find(parent).expect("a parent is there before its children and after them")
    }
}

/// The stat with the length and the checksum of `data`, and the data's hash.
fn summed(data: &[u8], stat: Stat) -> (Stat, u128) {
    let data_bytes = u32::try_from(data.len()).expect("a node's data is bounded far below 4 GiB");
    (Stat { data_bytes, checksum: crc32fast::hash(data), ..stat }, xxh3_128(data))
}

/// How much of a node's data is brought close beforehand: of more, the copying itself fetches what comes next.
const FETCHED_BYTES_MAX: usize = 2048;

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} nodes, {} bytes)", self.len(), self.data_bytes)
    }
}

impl Row for NodeRow {
    type Kept = (Arc<str>, Arc<Node>);

    fn keep(&self) -> Self::Kept {
        (self.path.clone(), self.node.clone())
    }

    fn hash(&self) -> u128 {
        self.hash
    }
}

impl Borrow<str> for Child {
    fn borrow(&self) -> &str {
        path::name(&self.0)
    }
}

impl PartialEq for Child {
    fn eq(&self, other: &Self) -> bool {
        path::name(&self.0) == path::name(&other.0)
    }
}

impl Eq for Child {}

impl PartialOrd for Child {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Child {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        path::name(&self.0).cmp(path::name(&other.0))
    }
}
