//! The model's nodes, and what they were when the command at work began: whatever it may change is copied first.

use std::collections::BTreeMap;
use std::collections::btree_map::{Iter, Keys};
use std::ops::Index;

use super::model::Node;

/// Every node by its path.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
    touched: BTreeMap<String, Option<Node>>,
}

impl Tree {
    /// With a root alone, which was always there.
    pub fn new() -> Self {
        Self { nodes: BTreeMap::from([("/".to_owned(), Node::default())]), touched: BTreeMap::new() }
    }

    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub fn contains_key(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    pub fn iter(&self) -> Iter<'_, String, Node> {
        self.nodes.iter()
    }

    pub fn keys(&self) -> Keys<'_, String, Node> {
        self.nodes.keys()
    }

    /// A node that may change.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.touch(path);
        self.nodes.get_mut(path)
    }

    pub fn insert(&mut self, path: String, node: Node) {
        self.touch(&path);
        self.nodes.insert(path, node);
    }

    pub fn remove(&mut self, path: &str) {
        self.touch(path);
        self.nodes.remove(path);
    }

    /// What was changed since this was asked last, as it was then. `None`: it was not there.
    pub fn take_changed(&mut self) -> BTreeMap<String, Option<Node>> {
        let mut changed = std::mem::take(&mut self.touched);
        changed.retain(|path, before| before.as_ref() != self.nodes.get(path));
        changed
    }

    /// Everything is as it was when that was asked last.
    pub fn undo(&mut self) {
        for (path, before) in std::mem::take(&mut self.touched) {
            match before {
                Some(node) => _ = self.nodes.insert(path, node),
                None => _ = self.nodes.remove(&path),
            }
        }
    }

    fn touch(&mut self, path: &str) {
        if !self.touched.contains_key(path) {
            self.touched.insert(path.to_owned(), self.nodes.get(path).cloned());
        }
    }
}

impl Index<&str> for Tree {
    type Output = Node;

    fn index(&self, path: &str) -> &Node {
        &self.nodes[path]
    }
}
