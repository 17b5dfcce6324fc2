//! Who may keep which answers, found by what a command changes; and what nobody may keep at the moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::touch::Touch;
use crate::namespace::command::SessionId;
use crate::namespace::path;

/// Every answer that some client may keep.
#[derive(Default, Debug)]
pub(super) struct Grants {
    by_path: BTreeMap<Arc<str>, BTreeMap<SessionId, Grant>>,
    count: usize,
    bytes: usize,
}

/// What one session may keep of one node.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Grant {
    /// Its children's stats as well.
    pub with_children: bool,
    /// The recall that asks for it back.
    pub recalled: Option<u64>,
}

/// What is being changed: counted, since several commands may change the same.
#[derive(Default, Debug)]
pub(super) struct Blocked {
    touches: BTreeMap<Touch, u32>,
}

impl Grants {
    /// The session may keep what it is told of that node. True if it could not before.
    pub fn add(&mut self, path: &Arc<str>, session: SessionId, with_children: bool) -> bool {
        let holders = self.by_path.entry(path.clone()).or_default();
        let is_new = !holders.contains_key(&session);
        holders.entry(session).or_default().with_children |= with_children;
        if is_new {
            self.count += 1;
            self.bytes += path.len();
        }
        is_new
    }

    pub fn remove(&mut self, path: &str, session: SessionId) {
        let Some(holders) = self.by_path.get_mut(path) else { return };
        if holders.remove(&session).is_some() {
            self.count -= 1;
            self.bytes -= path.len();
        }
        if holders.is_empty() {
            self.by_path.remove(path);
        }
    }

    /// Every grant that a change concerns.
    pub fn concerned(&mut self, touch: &Touch, mut each: impl FnMut(&Arc<str>, SessionId, &mut Grant)) {
        let Some(top) = touch.path() else { return };
        let mut all = |path: &Arc<str>, holders: &mut BTreeMap<SessionId, Grant>, listing: bool| {
            for (session, grant) in holders.iter_mut().filter(|(_, grant)| !listing || grant.with_children) {
                each(path, *session, grant);
            }
        };
        // Whoever keeps a node's stat among those of its parent's children.
        let lister = if matches!(touch, Touch::ChildrenOf(_)) { Some(&**top) } else { path::parent(top) };
        if let Some((path, holders)) = lister.and_then(|path| Some((Arc::from(path), self.by_path.get_mut(path)?))) {
            all(&path, holders, true);
        }
        if !matches!(touch, Touch::ChildrenOf(_))
            && let Some(holders) = self.by_path.get_mut(top)
        {
            all(top, holders, false);
        }
        if matches!(touch, Touch::Node(_)) {
            return;
        }
        let below = below(top);
        let from: Arc<str> = Arc::from(&*below);
        for (path, holders) in self.by_path.range_mut(from..).take_while(|(path, _)| path.starts_with(&below)) {
            let is_child = path::parent(path) == Some(&**top);
            if path.len() > below.len() && (is_child || matches!(touch, Touch::Subtree(_))) {
                all(path, holders, false);
            }
        }
    }

    /// That grant is asked back by recall `number`; false if an earlier one asks for it already.
    pub fn recall(&mut self, path: &str, session: SessionId, number: u64) -> bool {
        let grant = self.by_path.get_mut(path).and_then(|holders| holders.get_mut(&session));
        let recalled = &mut grant.expect("a holder knows its grants").recalled;
        *recalled.get_or_insert(number) == number
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the paths, each counted as often as it is granted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&self, path: &str, session: SessionId) -> Option<Grant> {
        self.by_path.get(path)?.get(&session).copied()
    }
}

impl Blocked {
    pub fn add(&mut self, touches: &[Touch]) {
        for touch in touches {
            *self.touches.entry(touch.clone()).or_default() += 1;
        }
    }

    pub fn remove(&mut self, touches: &[Touch]) {
        for touch in touches {
            let count = self.touches.get_mut(touch).expect("what is unblocked was blocked");
            *count -= 1;
            if *count == 0 {
                self.touches.remove(touch);
            }
        }
    }

    /// Whether something that a grant would cover is being changed.
    pub fn covers(&self, path: &str, with_children: bool) -> bool {
        let has = |touch: Touch| self.touches.contains_key(&touch);
        let mut above = std::iter::successors(Some(path), |path| path::parent(path));
        has(Touch::Node(path.into()))
            || path::parent(path).is_some_and(|parent| has(Touch::ChildrenOf(parent.into())))
            || above.any(|above| has(Touch::Subtree(above.into())))
            || with_children && (has(Touch::ChildrenOf(path.into())) || self.covers_below(path))
    }

    /// Whether a node below that one is being changed.
    fn covers_below(&self, path: &str) -> bool {
        let below = below(path);
        let first_of = |first: Touch| self.touches.range(first..).next().map(|(touch, _)| touch);
        let is_below = |touch: Option<&Touch>| match touch {
            Some(Touch::Node(path) | Touch::Subtree(path)) => path.starts_with(&below),
            Some(Touch::ChildrenOf(_) | Touch::End(_)) | None => false,
        };
        is_below(first_of(Touch::Node(below.as_str().into())))
            || is_below(first_of(Touch::Subtree(below.as_str().into())))
    }

    pub fn is_empty(&self) -> bool {
        self.touches.is_empty()
    }
}

/// What the paths below a node begin with.
fn below(path: &str) -> String {
    format!("{}/", path.trim_end_matches('/'))
}
