//! Who is in which group: read out of a group's lines when its node is written, so that nobody reads them who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{GROUPS, Principals, User, Who};
use crate::limits::ACL_GROUP_LINES_MAX;
use crate::namespace::path;

/// The groups of a tree: those in which anybody is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::namespace) struct Groups {
    by_path: BTreeMap<Arc<str>, Group>,
}

/// Who is in a group.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Group {
    users: BTreeSet<User>,
    /// Everybody, or everybody from somewhere.
    others: Vec<Who>,
}

impl Groups {
    pub const fn new() -> Self {
        Self { by_path: BTreeMap::new() }
    }

    /// The data of that node are these now; `None` once it is gone.
    pub fn note(&mut self, path: &Arc<str>, data: Option<&[u8]>) {
        if !path.starts_with(GROUPS) || path::parent(path) != Some(GROUPS) {
            return;
        }
        match data.and_then(Group::of) {
            Some(group) => self.by_path.insert(path.clone(), group),
            None => self.by_path.remove(path),
        };
    }

    /// Whether somebody is listed in the group of that name.
    pub fn has(&self, group: &str, who: &Principals) -> bool {
        self.by_path.get(group).is_some_and(|group| {
            who.users.iter().any(|user| group.users.contains(user)) || group.others.iter().any(|other| who.are(other))
        })
    }
}

impl Group {
    /// The group that those lines say; `None` if nobody is in it.
    fn of(data: &[u8]) -> Option<Self> {
        let mut group = Self::default();
        let text = std::str::from_utf8(data).ok()?;
        for who in text.lines().take(ACL_GROUP_LINES_MAX).filter_map(|line| line.trim().parse::<Who>().ok()) {
            match who {
                Who::User(user) => {
                    group.users.insert(user);
                }
                Who::World | Who::Network { .. } if !group.others.contains(&who) => group.others.push(who),
                // A group is no ladder to another, and nobody here sets a list.
                Who::World | Who::Network { .. } | Who::Auth | Who::Group { .. } => {}
            }
        }
        (group != Self::default()).then_some(group)
    }
}
