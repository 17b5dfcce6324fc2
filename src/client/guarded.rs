//! Writes under a lock: each carries the sequencer, and the cell does none of it once the lock has moved on.
//!
//! The guard is judged in the log, in the same step as what it guards: so a write that was sent while the lock was held, and
//! comes to its turn later, is refused as well.

use std::sync::Arc;

use bytes::Bytes;

use super::api::{Client, CreateOptions, Created, outward};
use super::creation::refuse_parents;
use super::log::{Appended, as_log};
use super::op::Op;
use super::txn::Txn;
use crate::namespace::acl::Acl;
use crate::namespace::command::{Done, Expect, Operation, Quota, Sequencer, Stat};

/// Writes that are done only while the lock is held: each carries its sequencer, and fails with
/// [`Error::Fenced`](super::Error::Fenced) later, or with [`Error::SessionExpired`](super::Error::SessionExpired) if this
/// client's own session is over too. Everything that a [`Client`] changes in one request is here.
///
/// Opening a node is not: what is done through a [`Handle`](super::Handle) carries no sequencer, and would look as if it did.
#[derive(Clone, Debug)]
pub struct Guarded<'a> {
    client: &'a Client,
    /// With the path as the cell calls it.
    sequencer: Sequencer,
}

impl<'a> Guarded<'a> {
    /// Under the lock that the cell calls so.
    pub(super) fn new(client: &'a Client, sequencer: Sequencer) -> Self {
        Self { client, sequencer }
    }

    /// As [`Client::create`], except that it makes no parents: [`Error::BadArgument`](super::Error::BadArgument) if they are
    /// asked for.
    pub fn create(&self, path: &str, data: impl Into<Bytes>, options: CreateOptions) -> Op<Created> {
        if let Err(error) = refuse_parents(&options, path) {
            return Op::ready(Err(error));
        }
        let data = data.into();
        self.mutate(path, |path| options.operation(path, data), created)
    }

    /// As [`Client::create_log`], except that it makes no parents, likewise.
    pub fn create_log(&self, path: &str, options: CreateOptions) -> Op<Created> {
        match as_log(options) {
            Ok(options) => self.create(path, Bytes::new(), options),
            Err(error) => Op::ready(Err(error)),
        }
    }

    /// As [`Client::set`].
    pub fn set(&self, path: &str, data: impl Into<Bytes>, expect: Expect) -> Op<Stat> {
        let data = data.into();
        let pick = |done, _: &_| match done {
            Done::Set { stat } => Some(stat),
            _ => None,
        };
        self.mutate(path, |path| Operation::Set { path, data, expect }, pick)
    }

    /// As [`Client::delete`].
    pub fn delete(&self, path: &str, expect: Expect) -> Op<()> {
        let pick = |done, _: &_| (done == Done::Deleted).then_some(());
        self.mutate(path, |path| Operation::Delete { path, expect }, pick)
    }

    /// As [`Client::delete_tree`].
    pub fn delete_tree(&self, path: &str, expect: Expect) -> Op<u64> {
        let pick = |done, _: &_| match done {
            Done::TreeDeleted { nodes, more: false } => Some(u64::from(nodes)),
            _ => None,
        };
        self.mutate(path, |path| Operation::DeleteTree { path, expect, part: 0 }, pick)
    }

    /// As [`Client::delete_tree_in_parts`], each part under the lock. If the lock is lost in between, the rest stays, and the
    /// error is [`Error::Partly`](super::Error::Partly).
    pub fn delete_tree_in_parts(&self, path: &str) -> Op<u64> {
        self.client.fell(path, Some(self.sequencer.clone()))
    }

    /// As [`Client::set_acl`].
    pub fn set_acl(&self, path: &str, acl: Acl, expect: Expect) -> Op<Stat> {
        self.change_acl(path, Some(acl), expect)
    }

    /// As [`Client::remove_acl`].
    pub fn remove_acl(&self, path: &str, expect: Expect) -> Op<Stat> {
        self.change_acl(path, None, expect)
    }

    /// As [`Client::set_quota`].
    pub fn set_quota(&self, path: &str, quota: Quota) -> Op<()> {
        self.change_quota(path, Some(quota))
    }

    /// As [`Client::remove_quota`].
    pub fn remove_quota(&self, path: &str) -> Op<()> {
        self.change_quota(path, None)
    }

    /// As [`Log::append`](super::Log::append), or with an `end`, [`Log::append_at`](super::Log::append_at).
    pub fn append<R: AsRef<[u8]>>(
        &self,
        path: &str,
        records: impl IntoIterator<Item = R>,
        end: Option<u64>,
    ) -> Op<Appended> {
        let records = records.into_iter().collect();
        self.mutate(path, |path| Operation::Append { path, records, end }, |done, _| Appended::of(done))
    }

    /// As [`Log::trim`](super::Log::trim).
    pub fn trim(&self, path: &str, upto: u64) -> Op<u64> {
        let pick = |done, _: &_| match done {
            Done::Trimmed { first } => Some(first),
            _ => None,
        };
        self.mutate(path, |path| Operation::Trim { path, upto }, pick)
    }

    /// As [`Log::seal`](super::Log::seal).
    pub fn seal(&self, path: &str) -> Op<u64> {
        let pick = |done, _: &_| match done {
            Done::Sealed { end } => Some(end),
            _ => None,
        };
        self.mutate(path, |path| Operation::Seal { path }, pick)
    }

    /// As [`Client::txn`]. Once the lock is lost the commit itself fails with [`Error::Fenced`](super::Error::Fenced), where a
    /// step made by [`Txn::check_lock`] aborts the transaction.
    pub fn txn(&self) -> Txn {
        Txn::new(self.client.clone(), Some(self.sequencer.clone()))
    }

    fn change_acl(&self, path: &str, acl: Option<Acl>, expect: Expect) -> Op<Stat> {
        let pick = |done, _: &_| match done {
            Done::AclSet { stat } => Some(stat),
            _ => None,
        };
        self.mutate(path, |path| Operation::SetAcl { path, acl, expect }, pick)
    }

    fn change_quota(&self, path: &str, quota: Option<Quota>) -> Op<()> {
        let pick = |done, _: &_| (done == Done::QuotaSet).then_some(());
        self.mutate(path, |path| Operation::SetQuota { path, quota }, pick)
    }

    /// Changes a node under the lock; `pick` knows what was done.
    fn mutate<T>(
        &self,
        path: &str,
        operation: impl FnOnce(String) -> Operation,
        pick: fn(Done, &Arc<str>) -> Option<T>,
    ) -> Op<T> {
        self.client.mutate(path, |path| under(Some(&self.sequencer), operation(path)), pick)
    }
}

/// The operation, guarded by the lock if one is given.
pub(super) fn under(lock: Option<&Sequencer>, operation: Operation) -> Operation {
    match lock {
        Some(sequencer) => Operation::Guarded { sequencer: sequencer.clone(), operation: Box::new(operation) },
        None => operation,
    }
}

fn created(done: Done, root: &Arc<str>) -> Option<Created> {
    match done {
        Done::Created { path, stat } => Some(Created { path: outward(root, path), stat }),
        _ => None,
    }
}
