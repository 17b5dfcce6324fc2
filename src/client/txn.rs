//! Transactions: several steps, all or nothing.

use bytes::Bytes;

use super::api::{Client, CreateOptions, Created, outcome, outward, refused, unfit};
use super::call::Call;
use super::creation::refuse_parents;
use super::error::{Error, Result};
use super::guarded::under;
use super::log::Appended;
use super::machine::Answered;
use super::op::Op;
use crate::namespace::acl::Acl;
use crate::namespace::command::{
    Done, Expect, Handle as HandleToken, Operation, Refusal, Revision, Sequencer, Stat, Step, StepDone,
};

/// Steps that are done all, in order, or not at all. Made by [`Client::txn`]; nothing is sent before
/// [`commit`](Self::commit).
#[derive(Debug)]
#[must_use = "nothing is sent before commit()"]
pub struct Txn {
    client: Client,
    /// The lock it is done under, with the path as the cell calls it.
    guard: Option<Sequencer>,
    steps: Result<Vec<Step>>,
}

/// What a transaction came to. One that was aborted is an answer, no error: [`applied`](Self::applied) makes it one.
#[derive(Clone, Debug)]
#[must_use = "a step may have failed, and nothing been done; .applied()? makes that an error"]
pub enum TxnOutcome {
    /// All steps were done, at one revision.
    Applied {
        /// The revision.
        revision: Revision,
        /// What each step did, in order.
        replies: Vec<TxnReply>,
    },
    /// None was done.
    Aborted {
        /// The step that failed, counted from 0.
        index: usize,
        /// Why it failed.
        error: Error,
    },
}

/// What a step did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TxnReply {
    /// The condition held.
    Checked,
    /// The node made.
    Created(Created),
    /// The node's new stat.
    Set(Stat),
    /// It is gone.
    Deleted,
    /// The node's stat, with its new access list.
    AclSet(Stat),
    /// The node's data and stat as of this step; `None` if there is none.
    Got(Option<(Bytes, Stat)>),
    /// The positions of the records.
    Appended(Appended),
}

impl TxnOutcome {
    /// The revision, and what each step did; [`Error::Aborted`] if none was done.
    pub fn applied(self) -> Result<(Revision, Vec<TxnReply>)> {
        match self {
            Self::Applied { revision, replies } => Ok((revision, replies)),
            Self::Aborted { index, error } => Err(Error::Aborted { index, cause: Box::new(error) }),
        }
    }
}

impl Txn {
    pub(super) fn new(client: Client, guard: Option<Sequencer>) -> Self {
        Self { client, guard, steps: Ok(Vec::new()) }
    }

    /// Nothing is done unless the node is as expected.
    pub fn check(self, path: &str, expect: Expect) -> Self {
        self.step(path, |path| Step::Check { path, expect })
    }

    /// Makes a node; its parent must exist or be made by an earlier step. ([`CreateOptions::parents`] makes the transaction
    /// an [`Error::BadArgument`].)
    pub fn create(mut self, path: &str, data: impl Into<Bytes>, options: CreateOptions) -> Self {
        if let (Ok(_), Err(error)) = (&self.steps, refuse_parents(&options, path)) {
            self.steps = Err(error);
        }
        let CreateOptions { lifetime, sequential, acl, .. } = options;
        self.step(path, |path| match acl {
            None => Step::Create { path, data: data.into(), lifetime, sequential },
            Some(acl) => Step::CreateWithAcl { path, data: data.into(), lifetime, sequential, acl },
        })
    }

    /// Replaces a node's data.
    pub fn set(self, path: &str, data: impl Into<Bytes>, expect: Expect) -> Self {
        self.step(path, |path| Step::Set { path, data: data.into(), expect })
    }

    /// Removes a node without children.
    pub fn delete(self, path: &str, expect: Expect) -> Self {
        self.step(path, |path| Step::Delete { path, expect })
    }

    /// Sets a node's access list, if [`Stat::acl_version`] is as expected; `None` takes it away.
    pub fn set_acl(self, path: &str, acl: Option<Acl>, expect: Expect) -> Self {
        self.step(path, |path| Step::SetAcl { path, acl, expect })
    }

    /// Reads a node as the steps before left it. A missing one is an answer, not a failure.
    pub fn get(self, path: &str) -> Self {
        self.step(path, |path| Step::Get { path })
    }

    /// Nothing is done unless the lock is still held as the sequencer says.
    pub fn check_lock(self, sequencer: &Sequencer) -> Self {
        let sequencer = sequencer.clone();
        self.step(&sequencer.path.clone(), |path| Step::CheckLock { sequencer: Sequencer { path, ..sequencer } })
    }

    /// Nothing is done unless the handle has its node open.
    pub fn check_handle(mut self, handle: &HandleToken) -> Self {
        if let Ok(steps) = &mut self.steps {
            steps.push(Step::CheckHandle { handle: handle.clone() });
        }
        self
    }

    /// Adds records at a log's end; `end`: nothing is done unless that is where it ends.
    pub fn append<R: AsRef<[u8]>>(self, path: &str, records: impl IntoIterator<Item = R>, end: Option<u64>) -> Self {
        self.step(path, |path| Step::Append { path, records: records.into_iter().collect(), end })
    }

    /// Queues the transaction. Whether its steps were done, its outcome says; what a step is refused for is there.
    /// [`Error::TooLarge`] past [`MULTI_OPS_MAX`](crate::limits::MULTI_OPS_MAX) steps or
    /// [`REQUEST_BYTES_MAX`](crate::limits::REQUEST_BYTES_MAX) bytes, and with data or an access list too large for any
    /// node; [`Error::BadArgument`] if a step's path does not start with `/`, or a step is to make parents;
    /// [`Error::Fenced`] of a [guarded](super::Guarded::txn) one once the lock is lost.
    pub fn commit(self) -> Op<TxnOutcome> {
        let steps = match self.steps {
            Ok(steps) => steps,
            Err(error) => return Op::ready(Err(error)),
        };
        let root = self.client.root();
        let operation = under(self.guard.as_ref(), Operation::Multi { steps });
        self.client.submit(Call::Request(operation), move |answered| {
            let Answered::Request { revision, .. } = answered else { return Err(unfit("a transaction")) };
            match outcome(answered)? {
                Ok(Done::Multi { results }) => {
                    let replies = results.into_iter().map(|done| reply(done, &root)).collect();
                    Ok(TxnOutcome::Applied { revision, replies })
                }
                Ok(_) => Err(unfit("a transaction")),
                Err(Refusal::Aborted { index, cause }) => {
                    Ok(TxnOutcome::Aborted { index: index as usize, error: refused(*cause, &root) })
                }
                Err(refusal) => Err(refused(refusal, &root)),
            }
        })
    }

    fn step(mut self, path: &str, step: impl FnOnce(String) -> Step) -> Self {
        if let Ok(steps) = &mut self.steps {
            match self.client.inward(path) {
                Ok(path) => steps.push(step(path)),
                Err(error) => self.steps = Err(error),
            }
        }
        self
    }
}

fn reply(done: StepDone, root: &str) -> TxnReply {
    match done {
        StepDone::Checked => TxnReply::Checked,
        StepDone::Created { path, stat } => TxnReply::Created(Created { path: outward(root, path), stat }),
        StepDone::Set { stat } => TxnReply::Set(stat),
        StepDone::Deleted => TxnReply::Deleted,
        StepDone::AclSet { stat } => TxnReply::AclSet(stat),
        StepDone::Got { node } => TxnReply::Got(node),
        StepDone::Appended { first, end } => TxnReply::Appended(Appended { first, end }),
    }
}
