//! Handles, as the model has them: a list in each node, looked through each time.

use super::super::super::command::{
    Birth, Done, Expiry, Handle, HandleMode, Operation, Outcome, Refusal, SessionId, Stat, StepDone,
};
use super::super::super::path;
use super::super::super::reign::Reign;
use super::Model;

impl Model {
    pub fn begin_reign(&mut self, number: u64, key: u128) {
        let began = match self.reign {
            None => Some(Reign::first(number, key)),
            Some(reign) if number > reign.number => Some(reign.next(number)),
            Some(_) => None,
        };
        self.revision += u64::from(began.is_some());
        self.reign = began.or(self.reign);
    }

    /// The stat of the node that a handle has open.
    pub fn opened(&self, handle: &Handle, wanted: HandleMode) -> Result<Stat, Refusal> {
        let path = handle.path.clone();
        if self.reign.is_none_or(|reign| reign.digits(handle.as_ref()) != handle.digits) {
            return Err(Refusal::HandleForged { path });
        }
        match self.nodes.get(&path) {
            Some(node) if node.stat.instance == handle.instance => {
                if !node.opens.contains(&(handle.opened, handle.session)) {
                    return Err(Refusal::HandleClosed { path });
                }
                if !handle.mode.contains(wanted) {
                    return Err(Refusal::HandleLacks { path, lacks: wanted });
                }
                Ok(node.stat)
            }
            _ => Err(Refusal::HandleGone { path }),
        }
    }

    pub fn handle(&mut self, id: SessionId, operation: &Operation) -> Outcome {
        match operation {
            Operation::Open { path, mode, birth } => self.open(id, path, *mode, birth.as_ref()),
            Operation::Close { handle } => {
                let found = self.opened(handle, HandleMode::NONE);
                let path = handle.path.clone();
                if matches!(found, Err(Refusal::HandleForged { .. })) {
                    return Err(Refusal::HandleForged { path });
                }
                if handle.session != id {
                    return Err(Refusal::HandleForeign { path, session: handle.session });
                }
                if found.is_ok() {
                    self.shut(&path, |opened, _| opened == handle.opened);
                }
                Ok(Done::Closed)
            }
            Operation::Through { handle, operation } => {
                let (path, wanted, below) = match &**operation {
                    Operation::Create { path, .. } | Operation::Open { path, birth: Some(_), .. } => {
                        (path, HandleMode::WRITE, true)
                    }
                    Operation::Open { path, .. } => (path, HandleMode::READ, true),
                    Operation::Set { path, .. }
                    | Operation::Delete { path, .. }
                    | Operation::DeleteTree { path, .. } => (path, HandleMode::WRITE, false),
                    Operation::SetQuota { path, .. } => (path, HandleMode::ADMIN, false),
                    Operation::Acquire { path, .. } => (path, HandleMode::LOCK, false),
                    Operation::Release { path } => (path, HandleMode::NONE, false),
                    other => panic!("{other:?} does not go through a handle"),
                };
                self.opened(handle, wanted)?;
                let place = if below { "below" } else { "" };
                if (path == &handle.path) == below || !path::is_within(path, &handle.path) {
                    let top = &handle.path;
                    let why =
                        format!("{path:?} is not {place} {top}, which the handle has open: use a handle of its own");
                    return Err(Refusal::BadArgument { why });
                }
                self.operate(id, operation)
            }
            other => panic!("{other:?} is no matter of handles"),
        }
    }

    pub fn close_all(&mut self, id: SessionId) {
        let open: Vec<_> = self.nodes.iter().filter(|(_, node)| node.opens.iter().any(|open| open.1 == id)).collect();
        let open: Vec<_> = open.into_iter().map(|(path, _)| path.clone()).collect();
        open.iter().rev().for_each(|path| self.shut(path, |_, session| session == id));
    }

    fn open(&mut self, id: SessionId, path: &str, mode: HandleMode, birth: Option<&Birth>) -> Outcome {
        let (mut path, mut created) = (path.to_owned(), false);
        let is_there = self.nodes.contains_key(&path);
        match birth {
            Some(Birth { must: true, sequential: false, .. }) if is_there => return Err(Refusal::NodeExists { path }),
            Some(birth) if birth.sequential || !is_there => {
                let done = self.create(id, path, birth.data.clone(), birth.lifetime, birth.sequential)?;
                let StepDone::Created { path: made, .. } = done else { panic!("{done:?}") };
                (path, created) = (made, true);
            }
            _ if is_there => {}
            _ => {
                path::check(&path)?;
                return Err(Refusal::NoNode { path });
            }
        }
        let node = self.nodes.get_mut(&path).expect("it is there by now");
        node.opens.push((self.revision, id));
        if node.stat.expiry == Some(Expiry::Closed) {
            node.due = None;
        }
        let reign = self.reign.expect("generated histories begin with one");
        let (stat, instance) = (node.stat, node.stat.instance);
        let mut handle =
            Handle { path, instance, session: id, opened: self.revision, reign: reign.number, mode, digits: 0 };
        handle.digits = reign.digits(handle.as_ref());
        self.handles.push(handle.clone());
        Ok(Done::Opened { handle, stat, created })
    }

    fn shut(&mut self, path: &str, is_shut: impl Fn(u64, SessionId) -> bool) {
        let now = self.log_time_ns;
        let node = self.nodes.get_mut(path).expect("it is open");
        node.opens.retain(|(opened, session)| !is_shut(*opened, *session));
        if !node.opens.is_empty() || node.stat.expiry != Some(Expiry::Closed) {
            return;
        }
        node.due = Some(now);
        if node.stat.children == 0 {
            self.delete(path);
        }
    }
}
