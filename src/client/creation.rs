//! Making a node, and first the parents it lacks.

use bytes::Bytes;

use super::api::{Client, CreateOptions, done, unfit};
use super::call::{Call, Next, Then};
use super::error::{Error, Result};
use super::machine::Answered;
use super::op::Op;
use crate::namespace::command::{Done, Lifetime, Operation, Refusal};

/// The operation; should it be refused for want of a parent, those above `path`, if it is given, are made, the topmost first,
/// and the operation is asked for again.
pub(super) fn with_parents(operation: Operation, path: Option<&String>, then: Then) -> (Call, Then) {
    Creation { operation, missing: path.map_or_else(Vec::new, |path| parents(path)), then }.attempt()
}

impl Client {
    /// Makes a node, and then what its caller is to hold of it: also for a caller who waits no longer, so that dropping it
    /// takes the node back.
    pub(super) fn create_held<T: Send + 'static>(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        options: CreateOptions,
        held: impl FnOnce() -> T + Send + 'static,
    ) -> Op<T> {
        let operation = match self.inward(path).and_then(|inward| refuse_parents(&options, path).map(|()| inward)) {
            Ok(path) => options.operation(path, data.into()),
            Err(error) => return Op::ready(Err(error)),
        };
        let root = self.root();
        self.submit(Call::Request(operation), move |answered| match done(answered, &root)? {
            Done::Created { .. } => Ok(held()),
            _ => Err(unfit("a creation")),
        })
    }
}

/// Refuses to make the node `path` with its parents, where it is made in one step with something else or not at all.
pub(super) fn refuse_parents(options: &CreateOptions, path: &str) -> Result<()> {
    if options.parents {
        let why =
            format!("`{path}` is made here in one step, and no parents with it: make them first, by `Client::create`");
        return Err(Error::BadArgument { why });
    }
    Ok(())
}

struct Creation {
    operation: Operation,
    /// Parents to be made, the lowest first, should the first attempt find that one is missing.
    missing: Vec<String>,
    then: Then,
}

impl Creation {
    fn attempt(self) -> (Call, Then) {
        if self.missing.is_empty() {
            return (Call::Request(self.operation), self.then);
        }
        (Call::Request(self.operation.clone()), Then::new(move |result| self.take(result)))
    }

    fn take(self, result: Result<Answered>) -> Next {
        match result {
            Ok(Answered::Request { outcome: Err(Refusal::NoParent { .. }), .. }) => self.make_parent(),
            result => self.then.take(result),
        }
    }

    /// Makes the topmost parent not yet seen to, then the next, and at last the node itself.
    fn make_parent(mut self) -> Next {
        let Some(path) = self.missing.pop() else {
            let (call, then) = self.attempt();
            return Next::Call(call, then);
        };
        let create = Operation::Create { path, data: Bytes::new(), lifetime: Lifetime::Permanent, sequential: false };
        let then = move |result: Result<Answered>| match result {
            Ok(Answered::Request { outcome: Ok(_) | Err(Refusal::NodeExists { .. }), .. }) => self.make_parent(),
            result => self.then.take(result),
        };
        Next::Call(Call::Request(create), Then::new(then))
    }
}

/// The paths above `path`, the lowest first, without the tree's own root.
fn parents(path: &str) -> Vec<String> {
    let mut above: Vec<_> = path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
    above.retain(|parent| !parent.is_empty());
    above.reverse();
    above
}
