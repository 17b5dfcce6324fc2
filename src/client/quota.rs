//! Quotas: bounds of what a node and all below it may come to.

use super::api::Client;
use super::op::Op;
use crate::namespace::command::{Answer, Done, Operation, Quota, Read, Usage};
use crate::wire::client::Consistency;

impl Client {
    /// Sets a node's quota, in the place of the one it has: bounds of nodes, the node itself among them, and of bytes
    /// of data. What is there already stays, however much it is. [`Error::NoNode`](super::Error::NoNode) if there is no
    /// such node; [`Error::BadArgument`](super::Error::BadArgument) of a quota without any bound;
    /// [`Error::TooLarge`](super::Error::TooLarge) if more than
    /// [`QUOTA_NODES_COUNTED_MAX`](crate::limits::QUOTA_NODES_COUNTED_MAX) nodes would have to be counted first;
    /// [`Error::NotNow`](super::Error::NotNow) if the cell has others' trees to walk.
    pub fn set_quota(&self, path: &str, quota: Quota) -> Op<()> {
        self.change_quota(path, Some(quota))
    }

    /// Takes a node's quota away, if it has one. [`Error::NoNode`](super::Error::NoNode) if there is no such node.
    pub fn remove_quota(&self, path: &str) -> Op<()> {
        self.change_quota(path, None)
    }

    /// The quota set at this very node, and what the node and all below it come to; `None` if none is set there. Quotas set
    /// above it hold as well. [`Error::NoNode`](super::Error::NoNode) if there is no such node.
    pub fn quota(&self, path: &str) -> Op<Option<(Quota, Usage)>> {
        let pick = |answer, _: &_| match answer {
            Answer::Quota { quota } => Some(quota),
            _ => None,
        };
        self.ask(path, Consistency::Linearizable, |path| Read::Quota { path }, pick)
    }

    fn change_quota(&self, path: &str, quota: Option<Quota>) -> Op<()> {
        let change = |path| Operation::SetQuota { path, quota };
        self.mutate(path, change, |done, _| (done == Done::QuotaSet).then_some(()))
    }
}
