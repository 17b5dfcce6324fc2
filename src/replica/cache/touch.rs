//! Which nodes' answers a command may change.
//!
//! Too much is harmless: an answer is dropped that would still have been right. Too little is a stale answer. A new
//! operation does not compile here until it says what it changes; one that cannot say it changes `Subtree("/")`.

use std::sync::Arc;

use crate::namespace::Namespace;
use crate::namespace::acl::GROUPS;
use crate::namespace::codec::{CommandRef, OperationRef, StepRef};
use crate::namespace::command::SessionId;
use crate::namespace::path;

/// Nodes of which something that a client may keep (data, stat, names of children, absence) changes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::replica) enum Touch {
    /// This one.
    Node(Arc<str>),
    /// Children of this one, it is not known which.
    ChildrenOf(Arc<str>),
    /// This one and all below it.
    Subtree(Arc<str>),
    /// None; but once that session has ended, no later leader knows of a process that had it before and may still keep answers.
    End(SessionId),
}

impl Touch {
    /// What a command may change; `None` if that is not known before the earlier requests of its session are applied.
    pub(in crate::replica) fn of(command: &CommandRef<'_>, namespace: &Namespace) -> Option<Vec<Self>> {
        let mut touches = Vec::new();
        match command {
            // The key of handles lies with the root, where no answer tells of it.
            CommandRef::BeginReign { .. }
            | CommandRef::OpenSession { .. }
            | CommandRef::ResumeSession { .. }
            | CommandRef::MarkCaching { .. } => {}
            // Whatever the session does first makes the counter another one, and the expiry miss.
            CommandRef::ExpireSession { session, counter } => {
                if namespace.session(*session).is_some_and(|view| view.counter == *counter) {
                    end_session(*session, namespace, &mut touches);
                }
            }
            CommandRef::Settle { path, .. } => node_and_parent(path, &mut touches),
            CommandRef::Request { session, number, operation: OperationRef::CloseSession, .. } => {
                let next = namespace.session(*session).map_or(0, |view| view.last_number + 1);
                if *number > next && next > 0 {
                    return None;
                }
                if *number == next {
                    end_session(*session, namespace, &mut touches);
                    touches.push(Self::End(*session));
                }
            }
            CommandRef::Request { operation, .. } => of_operation(operation, &mut touches),
        }
        // A path that is none is nobody's: its command is refused.
        touches.retain(|touch| touch.path().is_none_or(|path| path::check(path).is_ok()));
        // Who may see what, anywhere, follows from the groups.
        if touches.iter().any(Self::may_change_groups) {
            touches.push(Self::Subtree(path::ROOT.into()));
        }
        Some(touches)
    }

    fn may_change_groups(&self) -> bool {
        match self {
            Self::Node(path) | Self::ChildrenOf(path) => path::parent(path) == Some(GROUPS) || **path == *GROUPS,
            Self::Subtree(path) => **path == *path::ROOT || **path == *GROUPS || path::parent(path) == Some(GROUPS),
            Self::End(_) => false,
        }
    }

    /// The node it is about, or the topmost, if it is about any.
    pub(super) fn path(&self) -> Option<&Arc<str>> {
        match self {
            Self::Node(path) | Self::ChildrenOf(path) | Self::Subtree(path) => Some(path),
            Self::End(_) => None,
        }
    }
}

/// Its ephemeral nodes go, and transient ones that it has open; locks it held go to others. It cannot have come to more since the namespace was as it is,
/// or the command that ends it has no effect.
fn end_session(session: SessionId, namespace: &Namespace, touches: &mut Vec<Touch>) {
    namespace.ephemerals(session).for_each(|path| node_and_parent(path, touches));
    namespace.opened_by(session).for_each(|path| node_and_parent(path, touches));
    touches.extend(namespace.claims(session).map(|path| Touch::Node(path.into())));
}

fn of_operation(operation: &OperationRef<'_>, touches: &mut Vec<Touch>) {
    match operation {
        OperationRef::Create { path, sequential: false, .. }
        | OperationRef::CreateLog { path, sequential: false, .. }
        | OperationRef::CreateWithAcl { path, sequential: false, .. }
        // Whoever lists the parent sees those children it may read.
        | OperationRef::SetAcl { path, .. }
        | OperationRef::Delete { path, .. } => node_and_parent(path, touches),
        OperationRef::Create { path, sequential: true, .. }
        | OperationRef::CreateLog { path, sequential: true, .. }
        | OperationRef::CreateWithAcl { path, sequential: true, .. } => {
            new_child(path, touches);
        }
        OperationRef::Set { path, .. }
        | OperationRef::SetQuota { path, .. }
        | OperationRef::Release { path }
        | OperationRef::Append { path, .. }
        | OperationRef::Trim { path, .. }
        | OperationRef::Seal { path } => touches.push(Touch::Node((*path).into())),
        OperationRef::DeleteTree { path, .. } => {
            touches.push(Touch::Subtree((*path).into()));
            touches.extend(path::parent(path).map(|parent| Touch::Node(parent.into())));
        }
        OperationRef::Acquire { path, create: true, .. } => node_and_parent(path, touches),
        OperationRef::Acquire { path, create: false, .. } => touches.push(Touch::Node((*path).into())),
        OperationRef::Guarded { operation, .. } | OperationRef::Through { operation, .. } => {
            of_operation(operation, touches);
        }
        // Who has a node open shows in no answer; that it is made does, and that a transient one goes with its last handle.
        OperationRef::Open { birth: None, .. } => {}
        OperationRef::Open { path, birth: Some(birth), .. } if birth.sequential => new_child(path, touches),
        OperationRef::Open { path, birth: Some(_), .. } => node_and_parent(path, touches),
        OperationRef::Close { handle } => node_and_parent(handle.path, touches),
        OperationRef::Multi { steps } => steps.iter().for_each(|step| of_step(step, touches)),
        // It changes what its own session may see, whose client keeps nothing over it.
        OperationRef::Sync | OperationRef::Authenticate { .. } => {}
        OperationRef::CloseSession => unreachable!("the end of a session stands alone"),
    }
}

fn of_step(step: &StepRef<'_>, touches: &mut Vec<Touch>) {
    match step {
        StepRef::Create { path, sequential: false, .. }
        | StepRef::CreateWithAcl { path, sequential: false, .. }
        | StepRef::SetAcl { path, .. }
        | StepRef::Delete { path, .. } => node_and_parent(path, touches),
        StepRef::Create { path, sequential: true, .. } | StepRef::CreateWithAcl { path, sequential: true, .. } => {
            new_child(path, touches);
        }
        StepRef::Set { path, .. } | StepRef::Append { path, .. } => touches.push(Touch::Node((*path).into())),
        StepRef::Check { .. } | StepRef::Get { .. } | StepRef::CheckLock { .. } | StepRef::CheckHandle { .. } => {}
    }
}

/// A node comes or goes: its parent counts its children.
fn node_and_parent(path: &str, touches: &mut Vec<Touch>) {
    touches.push(Touch::Node(path.into()));
    touches.extend(path::parent(path).map(|parent| Touch::Node(parent.into())));
}

/// A child comes whose name begins like this; the log gives it its number.
fn new_child(prefix: &str, touches: &mut Vec<Touch>) {
    let parent: Arc<str> = path::parent(prefix).unwrap_or(path::ROOT).into();
    touches.push(Touch::ChildrenOf(parent.clone()));
    touches.push(Touch::Node(parent));
}
