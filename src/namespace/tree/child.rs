//! A child as its parent knows it.

use std::borrow::Borrow;
use std::sync::Arc;

use crate::namespace::path;

/// A child's path, ordered by its last name.
#[derive(Clone, Debug)]
pub(super) struct Child(pub Arc<str>);

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
