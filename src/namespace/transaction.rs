//! One command's work on the nodes: every step checks before it changes, and a `multi` takes back what it did.
//!
//! Whether the node is there, or the place for a new one, is judged before anything else about it: so whoever is told that it
//! is not (`gate`) cannot tell by another fault of the command that it is.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::acl::{Acl, Principals, Rights, User};
use super::codec::{OperationRef, StepRef};
use super::command::{
    Done, Expect, Expiry, HandleMode, Lifetime, Outcome, Refusal, Revision, SessionId, Stat, StepDone, Usage,
};
use super::gate::{Asker, Gate, LOOK_AT_LOCK, is_judged_by_handle};
use super::lock::Claim;
use super::locking::{Acquisition, Claims, Ending};
use super::opening::Openers;
use super::path::{self, too_large};
use super::slab::Place;
use super::timers::Timers;
use super::tree::{Aspect, Change, Node, Parts, Tree};
use crate::limits::{
    CONTAINER_LINGER_MS, ENTRY_NODES_WALKED_MAX, NODE_CHILDREN_MAX, NODE_DATA_BYTES_MAX, NODE_TTL_MS_MAX,
    REPLY_BYTES_MAX, SESSION_EPHEMERALS_MAX, SESSION_USERS_MAX, TREE_NODES_DELETED_MAX,
};

/// The tree, and who owns what in it.
#[derive(Debug)]
pub(super) struct Nodes {
    pub tree: Tree,
    /// The ephemeral nodes by owner; no owner of none is here.
    pub ephemerals: BTreeMap<SessionId, BTreeSet<Arc<str>>>,
    /// Who has claims on which locks.
    pub claims: Claims,
    /// Who has what open.
    pub openers: Openers,
    /// What becomes due where.
    pub timers: Timers,
    /// Nodes ever made.
    pub instances: u64,
    /// Nodes that the commands of the entry at work have walked and left as they were.
    pub walked: usize,
}

/// What a command stamps on the nodes it touches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub revision: Revision,
    pub wall_ms: u64,
    pub log_time_ns: u64,
}

impl Nodes {
    pub fn new(tree: Tree) -> Self {
        let mut nodes = Self {
            tree: Tree::new(0),
            ephemerals: BTreeMap::new(),
            claims: Claims::default(),
            openers: Openers::default(),
            timers: Timers::default(),
            instances: 0,
            walked: 0,
        };
        for (path, node) in tree.iter() {
            nodes.enlist(path, node);
        }
        Self { tree, ..nodes }
    }

    /// A node came: what it is found by comes too.
    fn enlist(&mut self, path: &Arc<str>, node: &Node) {
        if let Some(owner) = node.stat().owner {
            self.ephemerals.entry(owner).or_default().insert(path.clone());
        }
        if let Some(lock) = &node.lock {
            self.claims.add(path, lock);
            lock.lost().iter().for_each(|mark| self.timers.add_mark(path, *mark));
        }
        node.opens.iter().for_each(|opens| self.openers.add_all(path, opens));
        self.timers.node_ends(path, None, node.ends_ns());
    }

    /// A node went.
    fn strike(&mut self, path: &Arc<str>, node: &Node) {
        if let Some(owner) = node.stat().owner
            && let Entry::Occupied(mut owned) = self.ephemerals.entry(owner)
        {
            owned.get_mut().remove(path);
            if owned.get().is_empty() {
                owned.remove();
            }
        }
        if let Some(lock) = &node.lock {
            self.claims.remove(path, lock);
            lock.lost().iter().for_each(|mark| self.timers.remove_mark(path, *mark));
        }
        node.opens.iter().for_each(|opens| self.openers.remove_all(opens));
        self.timers.node_ends(path, node.ends_ns(), None);
    }

    /// As the tree's, unless the commands of this entry have walked enough: nobody may stop the log by having much looked
    /// at over and over. Whoever walks and then leaves the nodes as they were adds to what was `walked`.
    pub fn leaves_first(&self, top: Place, most: usize) -> Result<Vec<Place>, Refusal> {
        if self.walked >= ENTRY_NODES_WALKED_MAX {
            let why = "others' commands have used up the walking through the tree that one entry of the log may do";
            return Err(Refusal::NotNow { why: why.to_owned() });
        }
        Ok(self.tree.leaves_first(top, most))
    }
}

/// What a node to be made holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'c> {
    Data(&'c [u8]),
    /// Records, none yet.
    Log,
}

/// One command at work.
pub(super) struct Transaction<'a> {
    pub(super) nodes: &'a mut Nodes,
    pub(super) stamp: Stamp,
    changes: &'a mut Vec<Change>,
    /// Older states, in the order they were left; `None` while nothing can fail after a change.
    undo: Option<Undo>,
}

struct Undo {
    before: Vec<(Arc<str>, Option<Node>)>,
    changes: usize,
    instances: u64,
}

impl<'a> Transaction<'a> {
    pub fn new(nodes: &'a mut Nodes, stamp: Stamp, changes: &'a mut Vec<Change>) -> Self {
        Self { nodes, stamp, changes, undo: None }
    }

    /// Does a request, whole or not at all. Closing the session, and whom it stands for, is not a matter of nodes.
    pub fn execute(&mut self, asker: Asker<'_>, operation: &OperationRef<'_>) -> Outcome {
        self.gate(asker.who).admit(operation, |path| self.nodes.claims.has(asker.session, path))?;
        self.perform(asker, operation)
    }

    /// Does what is admitted.
    fn perform(&mut self, asker: Asker<'_>, operation: &OperationRef<'_>) -> Outcome {
        let Asker { session, who } = asker;
        match *operation {
            OperationRef::Create { path, data, lifetime, sequential } => self
                .create(session, path, Content::Data(data), (lifetime, sequential), None)
                .map(|(path, stat)| Done::Created { path: (*path).to_owned(), stat }),
            OperationRef::CreateWithAcl { path, data, lifetime, sequential, ref acl } => {
                let acl = Some(self.settled_for(path, sequential, acl, who)?);
                self.create(session, path, Content::Data(data), (lifetime, sequential), acl)
                    .map(|(path, stat)| Done::Created { path: (*path).to_owned(), stat })
            }
            OperationRef::Set { path, data, expect } => self.set(path, data, expect).map(|stat| Done::Set { stat }),
            OperationRef::Delete { path, expect } => self.delete(path, expect).map(|()| Done::Deleted),
            OperationRef::DeleteTree { path, expect, part } => self.delete_tree(who, path, expect, part),
            OperationRef::SetQuota { path, quota } => self.set_quota(path, quota),
            OperationRef::SetAcl { path, ref acl, expect } => {
                self.set_acl(who, path, acl.as_ref(), expect).map(|stat| Done::AclSet { stat })
            }
            OperationRef::Multi { ref steps } => self.multi(asker, steps).map(|results| Done::Multi { results }),
            OperationRef::Acquire { path, mode, wait, create, lock_delay_ms } => {
                self.acquire(Acquisition { path, wait, create, claim: Claim { session, mode, lock_delay_ms } })
            }
            OperationRef::Release { path } => self.release(session, path),
            OperationRef::Guarded { sequencer, ref operation } => {
                // What one holds one may give back, whatever its list says by now.
                let is_release = matches!(**operation, OperationRef::Release { path } if path == sequencer.path);
                if !(is_release && self.is_held_by(session, sequencer)) {
                    let hidden = self.gate(who).hides(sequencer.path, LOOK_AT_LOCK)?;
                    self.check_lock(sequencer, hidden)?;
                }
                self.execute(asker, operation)
            }
            OperationRef::Open { path, mode, ref birth } => self.open(asker, path, mode, birth.as_ref()),
            OperationRef::Close { handle } => self.close(session, handle),
            OperationRef::Through { handle, ref operation } => {
                self.check_through(handle, operation)?;
                if is_judged_by_handle(operation) {
                    self.perform(asker, operation)
                } else {
                    self.execute(asker, operation)
                }
            }
            OperationRef::Authenticate { ref user, .. } => check_one_more(who, user).map(|()| Done::Authenticated),
            OperationRef::CreateLog { path, lifetime, sequential } => self
                .create(session, path, Content::Log, (lifetime, sequential), None)
                .map(|(path, stat)| Done::Created { path: (*path).to_owned(), stat }),
            OperationRef::Append { path, records, end } => {
                self.append(path, records, end).map(|(first, end)| Done::Appended { first, end })
            }
            OperationRef::Trim { path, upto } => self.trim(path, upto),
            OperationRef::Seal { path } => self.seal(path),
            OperationRef::Sync => Ok(Done::Synced),
            OperationRef::CloseSession => {
                self.end_session(session, Ending::Closed);
                Ok(Done::SessionClosed)
            }
        }
    }

    /// Removes all the session's ephemeral nodes, its handles, and its claims on locks.
    pub fn end_session(&mut self, session: SessionId, ending: Ending) {
        for path in self.nodes.ephemerals.get(&session).cloned().unwrap_or_default() {
            let place = self.nodes.tree.find(&path).expect("an owned node is in the tree");
            self.remove(place);
        }
        self.close_all(session);
        self.end_claims(session, ending);
    }

    /// Does what is due at that instance of a node.
    pub fn settle(&mut self, path: &str, instance: u64) {
        let Some(place) = self.nodes.tree.find(path) else { return };
        if self.nodes.tree.row(place).node.stat().instance != instance {
            return;
        }
        let now_ns = self.stamp.log_time_ns;
        if self.nodes.tree.row(place).node.ends_ns().is_some_and(|at_ns| at_ns <= now_ns) {
            self.remove(place);
        } else {
            self.free_lock(place, now_ns);
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.stamp.revision
    }

    pub(super) fn log_time_ns(&self) -> u64 {
        self.stamp.log_time_ns
    }

    /// What somebody may see and do.
    fn gate<'g>(&'g self, who: &'g Principals) -> Gate<'g> {
        Gate::new(&self.nodes.tree, who)
    }

    fn multi(&mut self, asker: Asker<'_>, steps: &[StepRef<'_>]) -> Result<Vec<StepDone>, Refusal> {
        let (changes, instances) = (self.changes.len(), self.nodes.instances);
        self.undo = Some(Undo { before: Vec::new(), changes, instances });
        let mut results = Vec::with_capacity(steps.len());
        let mut bytes = 0;
        for (index, step) in (0..).zip(steps) {
            let result = self.step(asker, step).and_then(|result| {
                bytes += bytes_of(&result);
                if bytes > REPLY_BYTES_MAX {
                    return Err(too_large("bytes in the answer up to this step", bytes, REPLY_BYTES_MAX));
                }
                Ok(result)
            });
            match result {
                Ok(result) => results.push(result),
                Err(cause) => {
                    self.take_back();
                    return Err(Refusal::Aborted { index, cause: Box::new(cause) });
                }
            }
        }
        self.undo = None;
        Ok(results)
    }

    fn step(&mut self, Asker { session, who }: Asker<'_>, step: &StepRef<'_>) -> Result<StepDone, Refusal> {
        self.gate(who).admit_step(step)?;
        let created = |(path, stat): (Arc<str>, Stat)| StepDone::Created { path: (*path).to_owned(), stat };
        Ok(match *step {
            StepRef::Check { path, expect } => {
                let hidden = self.gate(who).hides(path, Rights::READ)?;
                self.check(path, expect, hidden)?;
                StepDone::Checked
            }
            StepRef::Create { path, data, lifetime, sequential } => {
                created(self.create(session, path, Content::Data(data), (lifetime, sequential), None)?)
            }
            StepRef::CreateWithAcl { path, data, lifetime, sequential, ref acl } => {
                let acl = Some(self.settled_for(path, sequential, acl, who)?);
                created(self.create(session, path, Content::Data(data), (lifetime, sequential), acl)?)
            }
            StepRef::Set { path, data, expect } => StepDone::Set { stat: self.set(path, data, expect)? },
            StepRef::SetAcl { path, ref acl, expect } => {
                StepDone::AclSet { stat: self.set_acl(who, path, acl.as_ref(), expect)? }
            }
            StepRef::Delete { path, expect } => {
                self.delete(path, expect)?;
                StepDone::Deleted
            }
            StepRef::Get { path } => {
                let node = self.gate(who).known(path, Rights::READ)?;
                match node {
                    None => path::check(path)?,
                    Some(node) if node.log.is_some() => return Err(Refusal::IsLog { path: path.to_owned() }),
                    Some(_) => {}
                }
                StepDone::Got { node: node.map(|node| (node.shared_data(), node.stat())) }
            }
            StepRef::CheckLock { sequencer } => {
                let hidden = self.gate(who).hides(sequencer.path, LOOK_AT_LOCK)?;
                self.check_lock(sequencer, hidden)?;
                StepDone::Checked
            }
            StepRef::CheckHandle { handle } => {
                self.nodes.tree.opened(handle, HandleMode::NONE)?;
                StepDone::Checked
            }
            StepRef::Append { path, records, end } => {
                let (first, end) = self.append(path, records, end)?;
                StepDone::Appended { first, end }
            }
        })
    }

    /// Sets a node's access list, or takes it away.
    fn set_acl(&mut self, who: &Principals, path: &str, acl: Option<&Acl>, expect: Expect) -> Result<Stat, Refusal> {
        let place = self.existing_as(path, expect, |stat| stat.acl_version)?;
        let acl = acl.map(|acl| acl.clone().settled(who)).transpose()?.map(Arc::new);
        let node = &self.nodes.tree.row(place).node;
        let node = node.with(|stat, parts| {
            stat.acl_version += 1;
            parts.acl = acl;
        });
        let stat = node.stat();
        self.replace(place, Aspect::Acl, node);
        Ok(stat)
    }

    pub(super) fn create(
        &mut self,
        session: SessionId,
        path: &str,
        content: Content<'_>,
        (lifetime, sequential): (Lifetime, bool),
        acl: Option<Acl>,
    ) -> Result<(Arc<str>, Stat), Refusal> {
        if lifetime == Lifetime::Transient {
            self.name_new(path, sequential)?;
            let why = "a transient node lives while it is open, so it is made by opening it".to_owned();
            return Err(Refusal::BadArgument { why });
        }
        self.make(session, path, content, (lifetime, sequential), acl)
    }

    /// Makes a node, of any lifetime.
    pub(super) fn make(
        &mut self,
        session: SessionId,
        path: &str,
        content: Content<'_>,
        (lifetime, sequential): (Lifetime, bool),
        acl: Option<Acl>,
    ) -> Result<(Arc<str>, Stat), Refusal> {
        let data = match content {
            Content::Data(data) => data,
            Content::Log => &[],
        };
        let (parent, path) = self.name_new(path, sequential)?;
        check_data(data)?;
        let expiry = expiry_of(lifetime)?;
        let owned = || self.nodes.ephemerals.get(&session).map_or(0, BTreeSet::len);
        if lifetime == Lifetime::Ephemeral && owned() >= SESSION_EPHEMERALS_MAX {
            return Err(too_large("ephemeral nodes of the session", owned() + 1, SESSION_EPHEMERALS_MAX));
        }
        let children = self.nodes.tree.row(parent).node.stat().children as usize;
        if children >= NODE_CHILDREN_MAX {
            return Err(too_large("children of one node (make folders below it)", children + 1, NODE_CHILDREN_MAX));
        }
        let more = Usage { nodes: 1, bytes: data.len() as u64 };
        self.check_quotas(&path, more)?;
        let Stamp { revision, wall_ms, .. } = self.stamp;
        self.nodes.instances += 1;
        let stat = Stat {
            created: revision,
            modified: revision,
            children_modified: revision,
            created_ms: wall_ms,
            modified_ms: wall_ms,
            owner: (lifetime == Lifetime::Ephemeral).then_some(session),
            expiry,
            instance: self.nodes.instances,
            ..Stat::default()
        };
        let due_ns = self.due_after_change(expiry, None);
        let acl = acl.map(Arc::new).or_else(|| self.nodes.tree.row(parent).node.inherited_acl().cloned());
        let log = matches!(content, Content::Log).then(Arc::default);
        let node = Node::of(data, stat, Parts { log, due_ns, acl, ..Parts::NONE });
        let stat = node.stat();
        self.add(parent, path.clone(), node);
        self.warn_of_quotas(&path, more);
        Ok((path, stat))
    }

    /// The list that a node to be made is given. What is wrong with it is told behind what is wrong with the node's place.
    pub(super) fn settled_for(
        &self,
        path: &str,
        sequential: bool,
        acl: &Acl,
        who: &Principals,
    ) -> Result<Acl, Refusal> {
        acl.clone().settled(who).or_else(|refusal| self.name_new(path, sequential).and(Err(refusal)))
    }

    /// The parent and the full path of a node to be made. The digits of a sequential name count the children ever made
    /// under the parent: of its changes, made and removed, those that are still there are half made, half not removed.
    pub(super) fn name_new(&self, path: &str, sequential: bool) -> Result<(Place, Arc<str>), Refusal> {
        let tree = &self.nodes.tree;
        let parent_of = |path: &str| -> Result<Place, Refusal> {
            path::check(path)?;
            let parent = path::parent(path).ok_or_else(|| Refusal::NodeExists { path: path.to_owned() })?;
            let place = tree.find(parent).ok_or_else(|| Refusal::NoParent { path: parent.to_owned() })?;
            match tree.row(place).node.stat().owner {
                Some(_) => Err(Refusal::EphemeralParent { path: parent.to_owned() }),
                None => Ok(place),
            }
        };
        let (parent, path) = if sequential {
            let parent = parent_of(&path::sequential(path, 0))?;
            let stat = &tree.row(parent).node.stat();
            let path = path::sequential(path, (stat.children_version + u64::from(stat.children)) / 2);
            path::check(&path)?;
            (parent, Arc::from(path))
        } else {
            (parent_of(path)?, Arc::from(path))
        };
        match tree.find(&path) {
            Some(_) => Err(Refusal::NodeExists { path: (*path).to_owned() }),
            None => Ok((parent, path)),
        }
    }

    fn set(&mut self, path: &str, data: &[u8], expect: Expect) -> Result<Stat, Refusal> {
        let place = self.existing(path, expect)?;
        check_data(data)?;
        let row = self.nodes.tree.row(place);
        if row.node.log.is_some() {
            return Err(Refusal::IsLog { path: path.to_owned() });
        }
        let (before, ends_ns) = (row.node.stat(), row.node.ends_ns());
        let more = Usage { nodes: 0, bytes: (data.len() as u64).saturating_sub(u64::from(before.data_bytes)) };
        self.check_quotas(path, more)?;
        let Stamp { revision, wall_ms, .. } = self.stamp;
        let stat = Stat { modified: revision, modified_ms: wall_ms, version: before.version + 1, ..before };
        let due_ns = self.due_after_change(before.expiry, row.node.due_ns);
        let (shared_path, before) = (row.path.clone(), self.undo.is_some().then(|| row.node.clone()));
        let node = self.nodes.tree.rewrite(place, data, stat, due_ns);
        let stat = node.stat();
        self.nodes.timers.node_ends(&shared_path, ends_ns, node.ends_ns());
        self.note(shared_path, Aspect::Data, before, Some(node));
        self.warn_of_quotas(path, more);
        Ok(stat)
    }

    fn delete(&mut self, path: &str, expect: Expect) -> Result<(), Refusal> {
        let place = self.deletable(path, expect)?;
        if self.nodes.tree.row(place).node.stat().children > 0 {
            return Err(Refusal::NotEmpty { path: path.to_owned() });
        }
        self.remove(place);
        Ok(())
    }

    /// A node goes after its children, so that what is left at any time is a tree.
    fn delete_tree(&mut self, who: &Principals, path: &str, expect: Expect, part: u32) -> Outcome {
        let top = self.deletable(path, expect)?;
        let most = if part == 0 { TREE_NODES_DELETED_MAX } else { TREE_NODES_DELETED_MAX.min(part as usize) };
        let mut places = self.nodes.leaves_first(top, most + 1)?;
        let more = places.len() > most;
        if more && part == 0 {
            self.nodes.walked += places.len();
            return Err(too_large("nodes or more to delete at once", most + 1, most));
        }
        places.truncate(most);
        self.gate(who).may_clear(path, places.iter().map(|place| &*self.nodes.tree.row(*place).path))?;
        for place in &places {
            self.remove(*place);
        }
        Ok(Done::TreeDeleted { nodes: u32::try_from(places.len()).expect("they are bounded"), more })
    }

    /// The node to be removed, if it is as expected.
    fn deletable(&self, path: &str, expect: Expect) -> Result<Place, Refusal> {
        if path == path::ROOT {
            let why = "the root is not deleted: delete its children".to_owned();
            return Err(Refusal::BadArgument { why });
        }
        self.existing(path, expect)
    }

    /// `hidden`: it is to be spoken of as if it were not there.
    fn check(&self, path: &str, expect: Expect, hidden: bool) -> Result<(), Refusal> {
        if expect != Expect::Absent {
            let no_node = || Refusal::NoNode { path: path.to_owned() };
            return if hidden { Err(no_node()) } else { self.existing(path, expect).map(drop) };
        }
        match self.nodes.tree.find(path).filter(|_| !hidden) {
            Some(_) => Err(Refusal::NodeExists { path: path.to_owned() }),
            None => path::check(path),
        }
    }

    /// The node of that path, if it is as expected.
    pub(super) fn existing(&self, path: &str, expect: Expect) -> Result<Place, Refusal> {
        self.existing_as(path, expect, |stat| stat.version)
    }

    /// The same, by another of its versions.
    fn existing_as(&self, path: &str, expect: Expect, version: fn(&Stat) -> u64) -> Result<Place, Refusal> {
        let Some(place) = self.nodes.tree.find(path) else {
            path::check(path)?;
            return Err(Refusal::NoNode { path: path.to_owned() });
        };
        let found = version(&self.nodes.tree.row(place).node.stat());
        match expect {
            Expect::Any => Ok(place),
            Expect::Version(expected) if expected == found => Ok(place),
            Expect::Version(expected) => Err(Refusal::BadVersion { path: path.to_owned(), expected, found }),
            Expect::Absent => {
                let why = "only a check may expect a node to be absent: use a check, or create the node".to_owned();
                Err(Refusal::BadArgument { why })
            }
        }
    }

    fn add(&mut self, parent: Place, path: Arc<str>, node: Node) {
        self.nodes.enlist(&path, &node);
        self.nodes.tree.add(parent, path.clone(), node.clone());
        self.note(path, Aspect::Birth, None, Some(node));
        self.count_child(parent, true);
    }

    pub(super) fn replace(&mut self, place: Place, aspect: Aspect, node: Node) {
        let row = self.nodes.tree.row(place);
        let (path, before) = (row.path.clone(), self.undo.is_some().then(|| row.node.clone()));
        self.nodes.timers.node_ends(&path, row.node.ends_ns(), node.ends_ns());
        self.nodes.tree.replace(place, node.clone());
        self.note(path, aspect, before, Some(node));
    }

    pub(super) fn remove(&mut self, place: Place) {
        let row = self.nodes.tree.row(place);
        let (path, before) = (row.path.clone(), row.node.clone());
        let parent = path::parent(&path).and_then(|parent| self.nodes.tree.find(parent));
        let parent = parent.expect("every node that may be removed has a parent");
        self.nodes.strike(&path, &before);
        self.nodes.tree.remove(place, parent);
        self.note(path, Aspect::Death, Some(before), None);
        self.count_child(parent, false);
    }

    fn count_child(&mut self, parent: Place, added: bool) {
        let node = &self.nodes.tree.row(parent).node;
        let before = node.stat();
        let children = if added { before.children + 1 } else { before.children - 1 };
        let children_version = before.children_version + 1;
        let stat = Stat { children, children_version, children_modified: self.stamp.revision, ..before };
        let due_ns = match before.expiry {
            Some(Expiry::Emptied) => Some(self.stamp.after_ms(CONTAINER_LINGER_MS)).filter(|_| children == 0),
            Some(Expiry::Idle { .. } | Expiry::Closed) | None => node.due_ns,
        };
        let node = node.with(|now, parts| (*now, parts.due_ns) = (stat, due_ns));
        self.replace(parent, Aspect::Children, node);
    }

    /// When a node whose data just changed is due, if it was due at `before_ns`.
    pub(super) fn due_after_change(&self, expiry: Option<Expiry>, before_ns: Option<u64>) -> Option<u64> {
        match expiry {
            Some(Expiry::Idle { ttl_ms }) => Some(self.stamp.after_ms(ttl_ms)),
            Some(Expiry::Emptied | Expiry::Closed) | None => before_ns,
        }
    }

    fn note(&mut self, path: Arc<str>, aspect: Aspect, before: Option<Node>, node: Option<Node>) {
        let left_acl = before.as_ref().filter(|_| node.is_none()).and_then(|before| before.acl.clone());
        if let Some(undo) = &mut self.undo {
            undo.before.push((path.clone(), before));
        }
        self.changes.push(Change { revision: self.stamp.revision, path, aspect, node, left_acl });
    }

    /// Adds a change that changes no node, so that there is nothing to take back but itself.
    pub(super) fn tell(&mut self, change: Change) {
        self.changes.push(change);
    }

    fn take_back(&mut self) {
        let undo = self.undo.take().expect("only a multi takes back");
        let nodes = &mut *self.nodes;
        for (path, before) in undo.before.into_iter().rev() {
            if let Some(node) = nodes.tree.get(&path).cloned() {
                nodes.strike(&path, &node);
            }
            if let Some(node) = &before {
                nodes.enlist(&path, node);
            }
            nodes.tree.put(&path, before);
        }
        nodes.instances = undo.instances;
        self.changes.truncate(undo.changes);
    }
}

impl Stamp {
    fn after_ms(self, ms: u64) -> u64 {
        self.log_time_ns.saturating_add(ms.saturating_mul(1_000_000))
    }
}

/// What will end a node of that lifetime by itself.
fn expiry_of(lifetime: Lifetime) -> Result<Option<Expiry>, Refusal> {
    match lifetime {
        Lifetime::Permanent | Lifetime::Ephemeral => Ok(None),
        Lifetime::Container => Ok(Some(Expiry::Emptied)),
        Lifetime::Transient => Ok(Some(Expiry::Closed)),
        Lifetime::Ttl { ms: 0 } => {
            let why = "a time to live of 0 ms ends before it begins: give it one at least".to_owned();
            Err(Refusal::BadArgument { why })
        }
        Lifetime::Ttl { ms } if ms > NODE_TTL_MS_MAX => {
            let what = "milliseconds to live".to_owned();
            Err(Refusal::TooLarge { what, size: ms, limit: NODE_TTL_MS_MAX })
        }
        Lifetime::Ttl { ms: ttl_ms } => Ok(Some(Expiry::Idle { ttl_ms })),
    }
}

/// Refuses what a session cannot stand for as well.
fn check_one_more(who: &Principals, user: &User) -> Result<(), Refusal> {
    user.check()?;
    if who.users.len() >= SESSION_USERS_MAX && !who.users.contains(user) {
        return Err(too_large("users proved by one session", who.users.len() + 1, SESSION_USERS_MAX));
    }
    Ok(())
}

fn check_data(data: &[u8]) -> Result<(), Refusal> {
    if data.len() > NODE_DATA_BYTES_MAX {
        return Err(too_large("bytes of data", data.len(), NODE_DATA_BYTES_MAX));
    }
    Ok(())
}

/// Bytes of a step's result once it is encoded, its tag and lengths included.
fn bytes_of(result: &StepDone) -> usize {
    match result {
        StepDone::Checked | StepDone::Deleted | StepDone::Got { node: None } => 1,
        StepDone::Appended { .. } => 1 + 16,
        StepDone::Set { .. } | StepDone::AclSet { .. } => 1 + Stat::ENCODED_BYTES,
        StepDone::Created { path, .. } => 5 + path.len() + Stat::ENCODED_BYTES,
        StepDone::Got { node: Some((data, _)) } => 5 + data.len() + Stat::ENCODED_BYTES,
    }
}
