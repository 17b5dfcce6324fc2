//! Handles in the plain model, their check digits worked out anew; and what must hold of them whatever the model thinks.

use std::collections::BTreeMap;
use std::hash::Hasher;

use quorate::client::machine::Answered;
use quorate::namespace::command::{
    Birth, Done, Expiry, Handle, HandleMode, Operation, Outcome, Refusal, Revision, SessionId, Step,
};
use siphasher::sip::SipHasher24;

use super::history::{Asked, History};
use super::model::{Asker, Model, Node, is_within};

impl Model {
    pub fn begin_reign(&mut self, reign: u64, key: u128) {
        self.key.get_or_insert(key);
        let root = self.tree.get_mut("/").expect("there is a root");
        root.reign = root.reign.max(reign);
    }

    /// The node that a handle has open at a revision.
    pub fn opened_at(&self, handle: &Handle, wanted: HandleMode, revision: Revision) -> Result<&Node, Refusal> {
        self.judge_handle(handle, wanted, self.at(&handle.path, revision))
    }

    pub fn opened(&self, handle: &Handle, wanted: HandleMode) -> Result<&Node, Refusal> {
        self.judge_handle(handle, wanted, self.tree.get(&handle.path))
    }

    pub fn open(&mut self, (session, who): Asker<'_>, path: &str, mode: HandleMode, birth: Option<&Birth>) -> Outcome {
        let is_there = self.tree.contains_key(path);
        let (path, created) = match birth {
            Some(birth) if birth.must && !birth.sequential && is_there => {
                return Err(Refusal::NodeExists { path: path.to_owned() });
            }
            Some(birth) if birth.sequential || !is_there => {
                let list = |acl| self.settled_for(path, birth.sequential, acl, who);
                let acl = birth.acl.as_ref().map(list).transpose()?;
                (self.create(session, path, Some(&birth.data), (birth.lifetime, birth.sequential), acl)?.0, true)
            }
            _ if is_there => (path.to_owned(), false),
            _ => return Err(Refusal::NoNode { path: path.to_owned() }),
        };
        let (opened, reign) = (self.next(), self.tree["/"].reign);
        let node = self.tree.get_mut(&path).expect("it is there by now");
        node.opens.push((opened, session));
        if node.expiry == Some(Expiry::Closed) {
            node.due = None;
        }
        let (stat, instance) = (node.stat(), node.instance);
        let mut handle = Handle { path, instance, session, opened, reign, mode, digits: 0 };
        handle.digits = digits(self.key.expect("a reign has begun"), &handle);
        Ok(Done::Opened { handle, stat, created })
    }

    pub fn close(&mut self, session: SessionId, handle: &Handle) -> Outcome {
        let found = self.opened(handle, HandleMode::NONE).map(drop);
        if let Err(forged @ Refusal::HandleForged { .. }) = found {
            return Err(forged);
        }
        if handle.session != session {
            return Err(Refusal::HandleForeign { path: handle.path.clone(), session: handle.session });
        }
        if found.is_ok() {
            self.shut(&handle.path, |opened, _| opened == handle.opened);
        }
        Ok(Done::Closed)
    }

    /// Closes all that a session has open; whether it had anything.
    pub fn close_all(&mut self, session: SessionId) -> bool {
        let open = self.tree.iter().filter(|(_, node)| node.opens.iter().any(|open| open.1 == session));
        let open: Vec<_> = open.map(|(path, _)| path.clone()).collect();
        open.iter().rev().for_each(|path| self.shut(path, |_, opener| opener == session));
        !open.is_empty()
    }

    pub fn through(&mut self, asker: Asker<'_>, handle: &Handle, operation: &Operation) -> Outcome {
        let (wanted, is_below) = match operation {
            Operation::Create { .. }
            | Operation::CreateWithAcl { .. }
            | Operation::CreateLog { .. }
            | Operation::Open { birth: Some(_), .. } => (HandleMode::WRITE, true),
            Operation::Open { .. } => (HandleMode::READ, true),
            Operation::SetQuota { .. } | Operation::SetAcl { .. } => (HandleMode::ADMIN, false),
            Operation::Acquire { .. } => (HandleMode::LOCK, false),
            Operation::Release { .. } => (HandleMode::NONE, false),
            _ => (HandleMode::WRITE, false),
        };
        self.opened(handle, wanted)?;
        let path = path_of(operation).expect("what goes through a handle is about a node");
        if (path != handle.path) != is_below || !is_within(path, &handle.path) {
            return Err(Refusal::BadArgument { why: String::new() });
        }
        // Of the node itself the opening was judged; not of those below it, nor of its end.
        let is_judged = is_below || matches!(operation, Operation::Delete { .. } | Operation::DeleteTree { .. });
        if is_judged { self.operate(asker, operation) } else { self.perform(asker, operation) }
    }

    fn shut(&mut self, path: &str, is_shut: impl Fn(Revision, SessionId) -> bool) {
        let now = self.log_time_ns;
        let node = self.tree.get_mut(path).expect("it is open");
        node.opens.retain(|(opened, session)| !is_shut(*opened, *session));
        if node.opens.is_empty() && node.expiry == Some(Expiry::Closed) {
            node.due = Some(now);
            if node.is_empty() {
                self.remove(path);
            }
        }
    }

    fn judge_handle<'a>(
        &self,
        handle: &Handle,
        wanted: HandleMode,
        node: Option<&'a Node>,
    ) -> Result<&'a Node, Refusal> {
        let path = handle.path.clone();
        if self.key.is_none_or(|key| digits(key, handle) != handle.digits) {
            return Err(Refusal::HandleForged { path });
        }
        let node = node.filter(|node| node.instance == handle.instance);
        let node = node.ok_or_else(|| Refusal::HandleGone { path: path.clone() })?;
        if !node.opens.contains(&(handle.opened, handle.session)) {
            return Err(Refusal::HandleClosed { path });
        }
        if handle.mode.contains(wanted) { Ok(node) } else { Err(Refusal::HandleLacks { path, lacks: wanted }) }
    }
}

/// The one node an operation is about.
pub fn path_of(operation: &Operation) -> Option<&str> {
    match operation {
        Operation::Create { path, .. }
        | Operation::CreateWithAcl { path, .. }
        | Operation::Set { path, .. }
        | Operation::SetAcl { path, .. }
        | Operation::Delete { path, .. }
        | Operation::DeleteTree { path, .. }
        | Operation::SetQuota { path, .. }
        | Operation::Acquire { path, .. }
        | Operation::Release { path }
        | Operation::CreateLog { path, .. }
        | Operation::Append { path, .. }
        | Operation::Trim { path, .. }
        | Operation::Seal { path }
        | Operation::Open { path, .. } => Some(path),
        Operation::Guarded { operation, .. } | Operation::Through { operation, .. } => path_of(operation),
        Operation::Close { handle } => Some(&handle.path),
        Operation::Multi { .. } | Operation::Authenticate { .. } | Operation::Sync | Operation::CloseSession => None,
    }
}

/// From what clients were told alone: no two opened at one revision, and nothing went through a handle after its owner had
/// been told that it is closed. (A request's revision is where it was done.)
pub fn judge(history: &History) {
    let (mut given, mut closed) = (BTreeMap::new(), BTreeMap::new());
    for call in &history.calls {
        let Some((_, Ok(Answered::Request { revision, outcome }))) = &call.ended else { continue };
        if let Ok(Done::Opened { handle, .. }) = outcome {
            let before = given.insert(handle.opened, (handle, call.life));
            assert!(before.is_none(), "{handle} was opened when {before:?} was");
            assert_eq!(handle.opened, *revision, "{handle}: a handle is named by its revision");
        }
        if let (Asked::Request { operation: Operation::Close { handle }, .. }, Ok(Done::Closed)) =
            (&call.asked, outcome)
        {
            let first = closed.entry(handle.opened).or_insert(*revision);
            *first = *revision.min(first);
        }
    }
    for call in &history.calls {
        let Some((_, Ok(Answered::Request { revision, outcome: Ok(_) }))) = &call.ended else { continue };
        let Asked::Request { operation, .. } = &call.asked else { continue };
        for handle in relied_on(operation) {
            let end = closed.get(&handle.opened);
            assert!(end.is_none_or(|end| revision <= end), "{call:?} was done through a handle closed at {end:?}");
            if let Some((real, _)) = given.get(&handle.opened) {
                assert_eq!(*real, handle, "a handle that was tampered with did something");
            }
        }
    }
}

fn relied_on(operation: &Operation) -> Vec<&Handle> {
    match operation {
        Operation::Guarded { operation, .. } => relied_on(operation),
        Operation::Through { handle, .. } => vec![handle],
        Operation::Multi { steps } => {
            let handles = steps.iter().filter_map(|step| match step {
                Step::CheckHandle { handle } => Some(handle),
                _ => None,
            });
            handles.collect()
        }
        _ => Vec::new(),
    }
}

fn digits(key: u128, handle: &Handle) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&key.to_le_bytes());
    hasher.write(&(handle.path.len() as u32).to_le_bytes());
    hasher.write(handle.path.as_bytes());
    for number in [handle.instance, handle.session.0, handle.opened, handle.reign] {
        hasher.write(&number.to_le_bytes());
    }
    hasher.write(&[handle.mode.bits()]);
    hasher.finish()
}
