//! The gate: where every operation and every read is judged by the access lists.
//!
//! What is judged, and what is said to whom, is in the essay of [`acl`](super::acl). An operation is judged before it is
//! tried, and a step of a `multi` when its turn comes, on what the steps before it left.

use std::iter;

use super::acl::{Acl, Principals, Rights, Who};
use super::codec::{BirthRef, OperationRef, StepRef};
use super::command::{Expect, HandleMode, Refusal, SessionId};
use super::path;
use super::tree::{Node, Tree};

/// Who asks for an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub session: SessionId,
    pub who: &'a Principals,
}

/// What somebody may see and do in a tree.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    tree: &'a Tree,
    who: &'a Principals,
}

impl<'a> Gate<'a> {
    /// The gate of this tree for whoever is `who`.
    #[must_use]
    pub const fn new(tree: &'a Tree, who: &'a Principals) -> Self {
        Self { tree, who }
    }

    /// Whether nobody asks who it is: no node has a list, or whoever asks may do everything.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.tree.guarded() == 0 || self.who.is_super
    }

    /// All that is there.
    pub(super) const fn tree(&self) -> &'a Tree {
        self.tree
    }

    /// Who asks.
    pub(super) const fn who(&self) -> &'a Principals {
        self.who
    }

    /// Whether a node's list gives any of the rights. The one place that knows what a list means.
    #[must_use]
    pub fn may(&self, acl: Option<&Acl>, any_of: Rights) -> bool {
        let Some(acl) = acl.filter(|_| !self.who.is_super) else { return true };
        acl.entries.iter().any(|entry| entry.rights.has_any(any_of) && self.is(&entry.who))
    }

    /// Whether whoever asks may come upon a node with that list.
    #[must_use]
    pub fn sees(&self, acl: Option<&Acl>) -> bool {
        self.may(acl, Rights::READ)
    }

    /// Whether whoever asks may come upon its lock.
    #[must_use]
    pub fn sees_lock(&self, acl: Option<&Acl>) -> bool {
        self.may(acl, LOOK_AT_LOCK)
    }

    /// The node that a read is about.
    pub(super) fn node(&self, path: &str, any_of: Rights) -> Result<&'a Node, Refusal> {
        self.known(path, any_of)?.ok_or_else(|| no_node(path))
    }

    /// The same; `None` if it is not there, or is not to be spoken of.
    pub(super) fn known(&self, path: &str, any_of: Rights) -> Result<Option<&'a Node>, Refusal> {
        Ok(if self.hides(path, any_of)? { None } else { self.tree.get(path) })
    }

    /// Whether the node is there, and to be spoken of as if it were not. Whoever may know of it, and has none of the rights,
    /// is refused.
    pub(super) fn hides(&self, path: &str, any_of: Rights) -> Result<bool, Refusal> {
        if self.is_open() {
            return Ok(false);
        }
        let Some(acl) = self.tree.get(path).and_then(|node| node.acl()) else { return Ok(false) };
        if self.may(Some(acl), any_of) {
            Ok(false)
        } else if self.may(Some(acl), Rights::ALL) {
            Err(Refusal::NotAuthorized { path: path.to_owned(), needed: any_of })
        } else {
            Ok(true)
        }
    }

    /// Refuses an operation that may not be. `claims` tells whether its session has a claim on the lock of that node.
    pub(super) fn admit(&self, operation: &OperationRef<'_>, claims: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        if self.is_open() && !brings_a_list(operation) {
            return Ok(());
        }
        match *operation {
            OperationRef::Create { path, sequential, .. }
            | OperationRef::CreateWithAcl { path, sequential, .. }
            | OperationRef::CreateLog { path, sequential, .. } => self.may_create(path, sequential),
            OperationRef::Set { path, .. }
            | OperationRef::Append { path, .. }
            | OperationRef::Trim { path, .. }
            | OperationRef::Seal { path } => self.may_touch(path, Rights::WRITE),
            OperationRef::Delete { path, expect } | OperationRef::DeleteTree { path, expect, .. } => {
                self.may_delete(path, expect)
            }
            OperationRef::SetQuota { path, .. } | OperationRef::SetAcl { path, .. } => {
                self.may_touch(path, Rights::ADMIN)
            }
            OperationRef::Acquire { path, create, .. } => self.may_lock(path, create),
            OperationRef::Release { path } if claims(path) => Ok(()),
            OperationRef::Release { path } => self.may_touch(path, LOOK_AT_LOCK),
            OperationRef::Open { path, mode, ref birth } => self.may_open(path, mode, birth.as_ref()),
            // What is guarded, or goes through a handle, comes by itself behind the guard or the handle, and so do the
            // steps. What one has open one may close.
            OperationRef::Guarded { .. }
            | OperationRef::Through { .. }
            | OperationRef::Multi { .. }
            | OperationRef::Authenticate { .. }
            | OperationRef::Close { .. }
            | OperationRef::Sync
            | OperationRef::CloseSession => Ok(()),
        }
    }

    /// Refuses a step of a `multi` that may not be.
    pub(super) fn admit_step(&self, step: &StepRef<'_>) -> Result<(), Refusal> {
        if self.is_open() || cfg!(bug = "49") {
            return Ok(());
        }
        match *step {
            StepRef::Create { path, sequential, .. } | StepRef::CreateWithAcl { path, sequential, .. } => {
                self.may_create(path, sequential)
            }
            StepRef::Set { path, .. } | StepRef::Append { path, .. } => self.may_touch(path, Rights::WRITE),
            StepRef::Delete { path, expect } => self.may_delete(path, expect),
            StepRef::SetAcl { path, .. } => self.may_touch(path, Rights::ADMIN),
            // Readings: what is not to be spoken of is an answer as well, and theirs to give.
            StepRef::Check { .. } | StepRef::Get { .. } | StepRef::CheckLock { .. } | StepRef::CheckHandle { .. } => {
                Ok(())
            }
        }
    }

    /// Refuses to remove those nodes, found below `top` or at it, unless all their parents let it be.
    pub(super) fn may_clear<'p>(&self, top: &str, mut nodes: impl Iterator<Item = &'p str>) -> Result<(), Refusal> {
        if self.is_open() {
            return Ok(());
        }
        nodes.try_for_each(|path| {
            let Some(parent) = path::parent(path) else { return Ok(()) };
            let acl = self.tree.get(parent).and_then(|node| node.acl());
            if self.may(acl, Rights::DELETE) {
                return Ok(());
            }
            // A name that may not be told is told as "somewhere below".
            let path = if self.may(acl, Rights::ALL) { parent } else { top };
            Err(Refusal::NotAuthorized { path: path.to_owned(), needed: Rights::DELETE })
        })
    }

    fn may_touch(&self, path: &str, right: Rights) -> Result<(), Refusal> {
        if self.hides(path, right)? { Err(no_node(path)) } else { Ok(()) }
    }

    fn may_create(&self, path: &str, sequential: bool) -> Result<(), Refusal> {
        let Some(parent) = path::parent(path) else { return Ok(()) };
        if !self.hides(parent, Rights::CREATE)? {
            return Ok(());
        }
        path::check(&if sequential { path::sequential(path, 0) } else { path.to_owned() })?;
        Err(Refusal::NoParent { path: parent.to_owned() })
    }

    /// Whoever may delete a node, but is told none of its numbers otherwise, is not told its version either: only that
    /// it is not the one expected.
    fn may_delete(&self, path: &str, expect: Expect) -> Result<(), Refusal> {
        let (Some(node), Some(parent)) = (self.tree.get(path), path::parent(path)) else { return Ok(()) };
        if self.may(self.tree.get(parent).and_then(|parent| parent.acl()), Rights::DELETE) {
            let is_expected = !matches!(expect, Expect::Version(expected) if expected != node.stat().version);
            if is_expected || self.may(node.acl(), TOLD_THE_VERSION) {
                return Ok(());
            }
            return Err(Refusal::NotAuthorized { path: path.to_owned(), needed: Rights::READ });
        }
        if self.may(node.acl(), Rights::ALL) {
            return Err(Refusal::NotAuthorized { path: parent.to_owned(), needed: Rights::DELETE });
        }
        Err(no_node(path))
    }

    fn may_lock(&self, path: &str, create: bool) -> Result<(), Refusal> {
        if !create || self.knows(path) {
            return self.may_touch(path, Rights::LOCK);
        }
        self.may_make(path, false, iter::once(Rights::LOCK), None)
    }

    /// Whoever opens a node must have every right that its handle then stands for.
    fn may_open(&self, path: &str, mode: HandleMode, birth: Option<&BirthRef<'_>>) -> Result<(), Refusal> {
        match birth {
            Some(birth) if birth.sequential || birth.must || !self.knows(path) => {
                self.may_make(path, birth.sequential, rights_of(mode), birth.acl.as_ref())
            }
            Some(_) | None => rights_of(mode).try_for_each(|right| self.may_touch(path, right)),
        }
    }

    /// Whether a node is there, and whoever asks may know of it.
    fn knows(&self, path: &str) -> bool {
        self.tree.get(path).is_some_and(|node| self.may(node.acl(), Rights::ALL))
    }

    /// Refuses whoever may not make the node, or would not have all those rights at it once it is made, with that list or the
    /// one it inherits. Only who may make it is told that there is one.
    fn may_make(
        &self,
        path: &str,
        sequential: bool,
        mut rights: impl Iterator<Item = Rights>,
        acl: Option<&Acl>,
    ) -> Result<(), Refusal> {
        self.may_create(path, sequential)?;
        if !sequential && self.tree.get(path).is_some() {
            return Err(Refusal::NodeExists { path: path.to_owned() });
        }
        let parent = path::parent(path).and_then(|parent| self.tree.get(parent));
        let inherited = parent.and_then(|parent| parent.inherited_acl()).map(|acl| &**acl);
        let given = acl.map(|acl| acl.clone().settled(self.who));
        let acl = match &given {
            Some(Ok(acl)) => Some(acl),
            // It is refused for its list.
            Some(Err(_)) => return Ok(()),
            None => inherited,
        };
        match rights.find(|right| !self.may(acl, *right)) {
            Some(needed) => Err(Refusal::NotAuthorized { path: path.to_owned(), needed }),
            None => Ok(()),
        }
    }

    fn is(&self, who: &Who) -> bool {
        match who {
            Who::Group { path } => self.tree.groups().has(path, self.who),
            Who::World | Who::Auth | Who::User(_) | Who::Network { .. } => self.who.are(who),
        }
    }
}

/// The rights that a handle stands for. One that is for nothing still tells that its node is there.
fn rights_of(mode: HandleMode) -> impl Iterator<Item = Rights> {
    let all = [
        (HandleMode::READ, Rights::READ),
        (HandleMode::WRITE, Rights::WRITE),
        (HandleMode::LOCK, Rights::LOCK),
        (HandleMode::ADMIN, Rights::ADMIN),
    ];
    let mode = if mode == HandleMode::NONE { HandleMode::READ } else { mode };
    all.into_iter().filter(move |(part, _)| mode.contains(*part)).map(|(_, right)| right)
}

/// Whether the lists were asked when the node was opened. They were not of the nodes below it, nor of its end, which is its
/// parent's matter.
pub(super) fn is_judged_by_handle(operation: &OperationRef<'_>) -> bool {
    match operation {
        OperationRef::Set { .. }
        | OperationRef::Append { .. }
        | OperationRef::Trim { .. }
        | OperationRef::Seal { .. }
        | OperationRef::SetQuota { .. }
        | OperationRef::SetAcl { .. }
        | OperationRef::Acquire { .. }
        | OperationRef::Release { .. } => true,
        OperationRef::Create { .. }
        | OperationRef::CreateWithAcl { .. }
        | OperationRef::CreateLog { .. }
        | OperationRef::Open { .. }
        | OperationRef::Delete { .. }
        | OperationRef::DeleteTree { .. }
        | OperationRef::Close { .. }
        | OperationRef::Through { .. }
        | OperationRef::Guarded { .. }
        | OperationRef::Multi { .. }
        | OperationRef::Authenticate { .. }
        | OperationRef::Sync
        | OperationRef::CloseSession => false,
    }
}

/// Whether a list comes with the operation by which it is judged.
fn brings_a_list(operation: &OperationRef<'_>) -> bool {
    matches!(operation, OperationRef::Open { birth: Some(BirthRef { acl: Some(_), .. }), .. })
}

/// Whoever has one of these is told a node's stat: with its data, with what a write came to, or with its list.
const TOLD_THE_VERSION: Rights = Rights::READ.or(Rights::WRITE).or(Rights::ADMIN);

/// What lets one know of a node's lock: who may take it must know how it stands.
pub(super) const LOOK_AT_LOCK: Rights = Rights::READ.or(Rights::LOCK);

/// A path that is none is nobody's: say so, rather than let its sender wait for a node that cannot be.
fn no_node(path: &str) -> Refusal {
    path::check(path).err().unwrap_or_else(|| Refusal::NoNode { path: path.to_owned() })
}
