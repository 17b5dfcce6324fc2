//! Opening and closing nodes: a command's work on handles, and who has what open.
//!
//! Which handles a node has open is part of the node, as its lock is: it is copied with each change, travels to the fronts,
//! is hashed, and goes when the node goes. So whoever has the node can judge a handle of it, a front that answers a read
//! as well as the log that does an operation:
//!
//! 1. its check digits are those that the cell's key makes of the rest: nobody made it up, nor changed its mode;
//! 2. the node of that path is the instance it names;
//! 3. it is among those that the node has open;
//! 4. its mode holds what is asked of it.
//!
//! In that order: who made a handle up learns nothing of what is there.
//!
//! Whether somebody may have a node open for something the access lists say when it is opened (`gate`). Of the node itself
//! they are not asked again; of the nodes below it, and of its end, each time, and of whoever uses the handle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use xxhash_rust::xxh3::xxh3_128;

use super::codec::{BirthRef, DecodeError, HandleRef, OperationRef, Reader};
use super::command::{Done, Expiry, HandleMode, Outcome, Refusal, Revision, SessionId};
use super::gate::Asker;
use super::path::{self, too_large};
use super::reign::Reign;
use super::slab::Place;
use super::transaction::{Content, Transaction};
use super::tree::{Aspect, Node, Tree};
use crate::limits::{NODE_HANDLES_MAX, SESSION_HANDLES_MAX};

/// The handles that a node has open; a node without any has none of these.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Opens {
    /// When each was opened, and by whom: the first opened first.
    rows: Vec<(Revision, SessionId)>,
}

/// Which session has what open. All of it is in the nodes; this finds it.
#[derive(PartialEq, Eq, Default, Debug)]
pub(super) struct Openers {
    by_session: BTreeMap<SessionId, BTreeMap<Revision, Arc<str>>>,
}

impl Tree {
    /// The reign in which the log was last written; `None` before the first.
    pub(super) fn reign(&self) -> Option<Reign> {
        self.get(path::ROOT).and_then(|root| root.reign.as_deref().copied())
    }

    /// The node that a handle has open, if it has and may be used for that.
    pub(super) fn opened(&self, handle: HandleRef<'_>, wanted: HandleMode) -> Result<&Node, Refusal> {
        let path = || handle.path.to_owned();
        if self.reign().is_none_or(|reign| reign.digits(handle) != handle.digits) {
            return Err(Refusal::HandleForged { path: path() });
        }
        let node = self.get(handle.path).filter(|node| node.stat().instance == handle.instance);
        let node = node.ok_or_else(|| Refusal::HandleGone { path: path() })?;
        if !node.opens.as_ref().is_some_and(|opens| opens.contains(handle.opened)) {
            return Err(Refusal::HandleClosed { path: path() });
        }
        if !handle.mode.contains(wanted) {
            return Err(Refusal::HandleLacks { path: path(), lacks: wanted });
        }
        Ok(node)
    }
}

impl Transaction<'_> {
    /// A leader's reign begins.
    pub fn begin_reign(&mut self, number: u64, key: u128) {
        let next = match self.nodes.tree.reign() {
            None => Reign::first(number, key),
            Some(reign) if number > reign.number => reign.next(number),
            Some(_) => return,
        };
        let root = self.nodes.tree.find(path::ROOT).expect("there is always a root");
        let node = self.nodes.tree.row(root).node.with(|_, parts| parts.reign = Some(Arc::new(next)));
        self.replace(root, Aspect::Reign, node);
    }

    /// Opens a node, or makes it first.
    pub fn open(
        &mut self,
        Asker { session, who }: Asker<'_>,
        path: &str,
        mode: HandleMode,
        birth: Option<&BirthRef<'_>>,
    ) -> Outcome {
        let sequential = birth.is_some_and(|birth| birth.sequential);
        let found = self.nodes.tree.find(path).filter(|_| !sequential);
        match (found, birth) {
            (Some(_), Some(BirthRef { must: true, .. })) => {
                return Err(Refusal::NodeExists { path: path.to_owned() });
            }
            (Some(_), _) => {}
            (None, Some(_)) => _ = self.name_new(path, sequential)?,
            (None, None) => {
                path::check(path)?;
                return Err(Refusal::NoNode { path: path.to_owned() });
            }
        }
        let held = self.nodes.openers.count(session);
        if held >= SESSION_HANDLES_MAX {
            return Err(too_large("handles of the session", held + 1, SESSION_HANDLES_MAX));
        }
        let place = match (found, birth) {
            (None, Some(BirthRef { data, lifetime, acl, .. })) => {
                let acl = acl.as_ref().map(|acl| acl.clone().settled(who)).transpose()?;
                let (path, _) = self.make(session, path, Content::Data(data), (*lifetime, sequential), acl)?;
                self.nodes.tree.find(&path).expect("it was just made")
            }
            (found, _) => found.expect("it was found, or is to be made"),
        };
        let row = self.nodes.tree.row(place);
        let (path, node) = (row.path.clone(), row.node.clone());
        let mut opens = node.opens.as_deref().cloned().unwrap_or_default();
        if opens.rows.len() >= NODE_HANDLES_MAX {
            return Err(too_large("handles of the node", opens.rows.len() + 1, NODE_HANDLES_MAX));
        }
        let opened = self.revision();
        opens.rows.push((opened, session));
        self.nodes.openers.add(&path, opened, session);
        let due_ns = node.due_ns.filter(|_| node.stat().expiry != Some(Expiry::Closed));
        let after = node.with(|_, parts| (parts.opens, parts.due_ns) = (Some(Arc::new(opens)), due_ns));
        self.replace(place, Aspect::Handles, after);
        let reign = self.nodes.tree.reign().expect("nothing is opened before the first reign has begun");
        let (stat, instance) = (node.stat(), node.stat().instance);
        let unsigned = HandleRef { path: &path, instance, session, opened, reign: reign.number, mode, digits: 0 };
        let handle = HandleRef { digits: reign.digits(unsigned), ..unsigned }.to_handle();
        Ok(Done::Opened { handle, stat, created: found.is_none() })
    }

    /// Closes a handle of the session's own.
    pub fn close(&mut self, session: SessionId, handle: HandleRef<'_>) -> Outcome {
        match self.nodes.tree.opened(handle, HandleMode::NONE) {
            Err(forged @ Refusal::HandleForged { .. }) => Err(forged),
            _ if handle.session != session => {
                Err(Refusal::HandleForeign { path: handle.path.to_owned(), session: handle.session })
            }
            Err(_) => Ok(Done::Closed),
            Ok(_) => {
                let place = self.nodes.tree.find(handle.path).expect("it has it open");
                self.shut(place, |row| *row == (handle.opened, session));
                Ok(Done::Closed)
            }
        }
    }

    /// Closes all that a session has open: what is below before what is above, so that a transient node and those below it
    /// go together.
    pub fn close_all(&mut self, session: SessionId) {
        for path in self.nodes.openers.paths(session).into_iter().rev() {
            let place = self.nodes.tree.find(&path).expect("what is open is in the tree");
            self.shut(place, |(_, opener)| *opener == session);
        }
    }

    /// Refuses a handle that does not have the operation's node open, or not for that.
    pub fn check_through(&self, handle: HandleRef<'_>, operation: &OperationRef<'_>) -> Result<(), Refusal> {
        let path = operation.path().expect("what goes through a handle is about one node");
        let (wanted, is_below) = needs(operation);
        self.nodes.tree.opened(handle, wanted)?;
        let is_its_own =
            if is_below { path::is_within(path, handle.path) && path != handle.path } else { path == handle.path };
        if is_its_own {
            return Ok(());
        }
        let place = if is_below { "below" } else { "" };
        let why =
            format!("{path:?} is not {place} {}, which the handle has open: use a handle of its own", handle.path);
        Err(Refusal::BadArgument { why })
    }

    /// Takes those handles off a node that has some of them. A transient node that has none left ends, at once or when its
    /// last child has gone.
    fn shut(&mut self, place: Place, is_shut: impl Fn(&(Revision, SessionId)) -> bool) {
        let node = self.nodes.tree.row(place).node.clone();
        let mut opens = node.opens.as_deref().cloned().unwrap_or_default();
        let shut: Vec<_> = opens.rows.extract_if(.., |row| is_shut(row)).collect();
        let is_shut = opens.rows.is_empty() || cfg!(bug = "51");
        let ends = is_shut && node.stat().expiry == Some(Expiry::Closed);
        if ends && node.stat().children == 0 {
            return self.remove(place);
        }
        for (opened, session) in shut {
            self.nodes.openers.remove(opened, session);
        }
        let due_ns = if ends { Some(self.log_time_ns()) } else { node.due_ns };
        let opens = Some(Arc::new(opens)).filter(|opens| !opens.rows.is_empty());
        let after = node.with(|_, parts| (parts.opens, parts.due_ns) = (opens, due_ns));
        self.replace(place, Aspect::Handles, after);
    }
}

/// What a handle must be for to do the operation, and whether it is on a node below it.
fn needs(operation: &OperationRef<'_>) -> (HandleMode, bool) {
    match operation {
        OperationRef::Create { .. }
        | OperationRef::CreateWithAcl { .. }
        | OperationRef::CreateLog { .. }
        | OperationRef::Open { birth: Some(_), .. } => (HandleMode::WRITE, true),
        OperationRef::Open { birth: None, .. } => (HandleMode::READ, true),
        OperationRef::Set { .. }
        | OperationRef::Delete { .. }
        | OperationRef::DeleteTree { .. }
        | OperationRef::Append { .. }
        | OperationRef::Trim { .. }
        | OperationRef::Seal { .. } => (HandleMode::WRITE, false),
        OperationRef::SetQuota { .. } | OperationRef::SetAcl { .. } => (HandleMode::ADMIN, false),
        OperationRef::Acquire { .. } => (HandleMode::LOCK, false),
        OperationRef::Release { .. } => (HandleMode::NONE, false),
        OperationRef::Multi { .. }
        | OperationRef::Guarded { .. }
        | OperationRef::Close { .. }
        | OperationRef::Through { .. }
        | OperationRef::Authenticate { .. }
        | OperationRef::Sync
        | OperationRef::CloseSession => unreachable!("it does not go through a handle: it would not have been decoded"),
    }
}

impl Opens {
    fn contains(&self, opened: Revision) -> bool {
        self.rows.binary_search_by_key(&opened, |row| row.0).is_ok()
    }

    pub fn hash(&self) -> u128 {
        let mut raw = BytesMut::with_capacity(4 + 16 * self.rows.len());
        self.encode(&mut raw);
        xxh3_128(&raw)
    }

    /// Appends them as an image carries them.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u32_le(u32::try_from(self.rows.len()).expect("a node's handles are bounded far below 2^32"));
        for (opened, session) in &self.rows {
            out.put_u64_le(*opened);
            out.put_u64_le(session.0);
        }
    }

    pub fn take(reader: &mut Reader<'_>) -> Result<Arc<Self>, DecodeError> {
        let count = reader.count("handles of a node", NODE_HANDLES_MAX, 16)?;
        let rows = (0..count).map(|_| Ok((reader.u64("a revision")?, SessionId(reader.u64("a session")?))));
        let rows: Vec<_> = rows.collect::<Result<_, DecodeError>>()?;
        if rows.is_empty() || !rows.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(DecodeError::NotCanonical { what: "the list of a node's handles" });
        }
        Ok(Arc::new(Self { rows }))
    }
}

impl Openers {
    /// How many handles a session has open.
    pub fn count(&self, session: SessionId) -> usize {
        self.by_session.get(&session).map_or(0, BTreeMap::len)
    }

    /// Paths of the nodes that a session has open.
    pub fn of_session(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.by_session.get(&session).into_iter().flat_map(BTreeMap::values).map(|path| &**path)
    }

    /// Who has anything open.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.by_session.keys().copied()
    }

    /// A node with those handles came.
    pub fn add_all(&mut self, path: &Arc<str>, opens: &Opens) {
        opens.rows.iter().for_each(|(opened, session)| self.add(path, *opened, *session));
    }

    /// A node with those handles went.
    pub fn remove_all(&mut self, opens: &Opens) {
        opens.rows.iter().for_each(|(opened, session)| self.remove(*opened, *session));
    }

    /// What must hold between commands.
    pub fn invariants(&self, tree: &Tree) {
        let mut found = Self::default();
        for (path, node) in tree.iter() {
            node.opens.iter().for_each(|opens| found.add_all(path, opens));
            if node.stat().expiry == Some(Expiry::Closed) {
                assert_eq!(node.opens.is_none(), node.due_ns.is_some(), "{path}: who has a node open keeps it");
            }
            assert!(node.reign.is_none() || **path == *path::ROOT, "{path}: the reign lies with the root");
        }
        assert_eq!(*self, found, "open handles are those of the nodes");
    }

    fn add(&mut self, path: &Arc<str>, opened: Revision, session: SessionId) {
        self.by_session.entry(session).or_default().insert(opened, path.clone());
    }

    fn remove(&mut self, opened: Revision, session: SessionId) {
        let open = self.by_session.get_mut(&session).expect("a session's open handles are known");
        open.remove(&opened);
        if open.is_empty() {
            self.by_session.remove(&session);
        }
    }

    fn paths(&self, session: SessionId) -> BTreeSet<Arc<str>> {
        self.by_session.get(&session).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }
}
