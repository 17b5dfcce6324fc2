//! A tree made of rows that come in any order.

use std::sync::Arc;

use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Children, Node, NodeRow, Tree, hasher};
use crate::namespace::path;
use crate::namespace::slab::Place;

/// A tree whose rows still come. Who is whose child is found out once they are all there.
#[derive(Debug)]
pub(in crate::namespace) struct Laying(Tree);

impl Laying {
    /// A tree of no rows yet, and of `nodes` in the end; only memory depends on that.
    pub(in crate::namespace) fn new(seed: u64, nodes: u64) -> Self {
        let mut tree = Tree::bare(seed);
        let nodes = nodes.min(RESERVED_NODES_MAX) as usize;
        tree.rows.reserve(nodes);
        tree.index.reserve(nodes, |_| unreachable!("nothing is in it"));
        Self(tree)
    }

    pub(in crate::namespace) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a row; `Err` gives back a path that is none, or is there already.
    pub(in crate::namespace) fn lay(&mut self, path: Arc<str>, node: Node) -> Result<(), Arc<str>> {
        let tree = &mut self.0;
        let hash = xxh3_64_with_seed(path.as_bytes(), tree.seed);
        let is_same = |place: &Place| tree.rows.get(*place).path == path;
        let Entry::Vacant(entry) = tree.index.entry(hash, is_same, hasher(&tree.rows, tree.seed)) else {
            return Err(path);
        };
        if path::check(&path).is_err() {
            return Err(path);
        }
        entry.insert(tree.rows.next_place());
        tree.count(&path, &node);
        tree.rows.insert(NodeRow { path, node, children: None });
        Ok(())
    }

    /// The tree; `Err` names a path that has no place in it, or not as many children as it counts.
    pub(in crate::namespace) fn finish(self) -> Result<Tree, Arc<str>> {
        let Self(mut tree) = self;
        for family in tree.parents_and_children()?.chunk_by(|one, next| one.0 == next.0) {
            let (parent, children) = (family[0].0, Children::of_sorted(family.iter().map(|(_, child)| *child)));
            let row = tree.rows.get(parent);
            if row.node.stat().children as usize != family.len() {
                return Err(row.path.clone());
            }
            tree.rows.arrange(parent, |row| row.children = Some(Box::new(children)));
        }
        // Whoever counts children has them.
        let bare = tree.rows.iter().find(|(_, row)| row.node.stat().children > 0 && row.children.is_none());
        if let Some((_, row)) = bare {
            return Err(row.path.clone());
        }
        if tree.find(path::ROOT).is_none() {
            return Err(path::ROOT.into());
        }
        let bounded: Vec<_> = tree.rows.iter().filter(|(_, row)| row.node.quota.is_some()).map(|(at, _)| at).collect();
        for place in bounded {
            let (path, quota) = (tree.rows.get(place).path.clone(), tree.rows.get(place).node.quota.clone());
            tree.accounts.keep(path, quota, tree.usage(place));
        }
        Ok(tree)
    }
}

impl Tree {
    /// Every place but the root's behind its parent's, ordered by parents and then by names.
    fn parents_and_children(&self) -> Result<Vec<(Place, Place)>, Arc<str>> {
        let mut pairs = Vec::with_capacity(self.len());
        // Neighbours are often of the same folder.
        let mut last: Option<(&str, Place)> = None;
        for (place, row) in self.rows.iter() {
            let Some(parent) = path::parent(&row.path) else { continue };
            let found = last.filter(|(path, _)| *path == parent).map(|(_, place)| place);
            let at = found.or_else(|| self.find(parent)).ok_or_else(|| row.path.clone())?;
            last = Some((parent, at));
            pairs.push((at, place));
        }
        pairs.sort_by_key(|(parent, place)| (*parent, &self.rows.get(*place).path));
        Ok(pairs)
    }
}

/// A count that lies costs as much as this at most.
const RESERVED_NODES_MAX: u64 = 1 << 20;
