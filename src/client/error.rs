//! What can go wrong, and what it means for the call.

use std::sync::Arc;

use thiserror::Error as ThisError;

use crate::namespace::acl::Rights;
use crate::namespace::command::{HandleMode, Refusal, SessionId};

/// What a call comes to.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. [`Error::outcome`] tells whether it may have had an effect all the same.
#[derive(Clone, Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// There is no such node, or this session has no right to it.
    #[error("there is no node {path}, or none for this session")]
    NoNode {
        /// The node.
        path: String,
    },
    /// The parent of the node to be made does not exist; [`CreateOptions::parents`](super::CreateOptions::parents) makes
    /// it.
    #[error("{path}, the parent, does not exist; create it first, or ask for parents")]
    NoParent {
        /// The parent.
        path: String,
    },
    /// There is a node of that name already.
    #[error("{path} exists already; set its data instead, or take another name")]
    NodeExists {
        /// The node.
        path: String,
    },
    /// A node with children is not deleted.
    #[error("{path} has children; delete them first")]
    NotEmpty {
        /// The node.
        path: String,
    },
    /// The node has changed since: read it again and decide anew.
    #[error("{path} has version {found}, not the expected {expected}; read it again")]
    BadVersion {
        /// The node.
        path: String,
        /// The version the call named.
        expected: u64,
        /// The version it has.
        found: u64,
    },
    /// An ephemeral node has no children.
    #[error("{path}, the parent, is ephemeral and cannot have children; choose a permanent parent")]
    EphemeralParent {
        /// The parent.
        path: String,
    },
    /// The lock that the call relied on is no longer held as its sequencer says: whoever held it must stop.
    #[error(
        "the lock {path} is not held with token {presented} any more ({since}); stop what relied on it",
        since = since(*presented, *current)
    )]
    Fenced {
        /// The locked node.
        path: String,
        /// The token of the sequencer.
        presented: u64,
        /// The token of the last who held it, which may be that of the sequencer; 0 if there is no such node.
        current: u64,
    },
    /// Others hold the lock, or wait for it.
    #[error("{path} is locked; wait for it, or try again")]
    LockBusy {
        /// The node.
        path: String,
    },
    /// This session holds the lock, or waits for it, already: a session claims a lock once.
    #[error("this session holds {path}, or waits for it, already; share the guard, or use a session of its own")]
    LockTwice {
        /// The node.
        path: String,
    },
    /// The lock is not (any more) held by this session, nor waited for.
    #[error("{path} is not locked by this session; it was lost or given up before")]
    LockNotHeld {
        /// The node.
        path: String,
    },
    /// The node that the handle had open is gone, whatever has its name now.
    #[error("the node that had been opened as {path} is gone; open what is there now")]
    HandleGone {
        /// The node.
        path: String,
    },
    /// The handle was closed, or the session that opened it is over.
    #[error("the handle of {path} is closed; open the node again")]
    HandleClosed {
        /// The node.
        path: String,
    },
    /// The cell never made that handle.
    #[error("the check digits of the handle of {path} are wrong; give it as it was printed")]
    HandleForged {
        /// The node it names.
        path: String,
    },
    /// The handle was not opened for that.
    #[error("the handle of {path} was not opened to {lacks}; open the node for that too")]
    HandleLacks {
        /// The node.
        path: String,
        /// What it would have to be opened for.
        lacks: HandleMode,
    },
    /// Another session opened the handle, and only that one closes it.
    #[error("the handle of {path} is that of {session}, which alone closes it")]
    HandleForeign {
        /// The node.
        path: String,
        /// Who opened it.
        session: SessionId,
    },
    /// The handle was poisoned.
    #[error("the handle of {path} was poisoned ({outcome}); open the node again")]
    HandlePoisoned {
        /// The node.
        path: String,
        /// What is known of this call.
        outcome: Outcome,
    },
    /// A path or another argument is malformed.
    #[error("bad argument: {why}")]
    BadArgument {
        /// What is wrong and how to mend it.
        why: String,
    },
    /// A quota leaves no room for so many nodes.
    #[error("{path} and all below it may have {limit} nodes, and would have {needed}; delete some, or raise its quota")]
    NodesOverQuota {
        /// Where the quota is set.
        path: String,
        /// Nodes there would be.
        needed: u64,
        /// Nodes there may be.
        limit: u64,
    },
    /// A quota leaves no room for so many bytes.
    #[error("{path} and all below it may hold {limit} bytes, and would hold {needed}; delete some, or raise its quota")]
    BytesOverQuota {
        /// Where the quota is set.
        path: String,
        /// Bytes there would be.
        needed: u64,
        /// Bytes there may be.
        limit: u64,
    },
    /// The session may not do that with the node. (Of a node to which it has no right at all it is told [`NoNode`](Self::NoNode).)
    #[error(
        "{path} is not open to this session, which needs the right `{names}`; authenticate as somebody who has it, or ask \
         for it",
        names = needed.names()
    )]
    NotAuthorized {
        /// The node; of one to be made or removed, its parent.
        path: String,
        /// The rights of which one is needed.
        needed: Rights,
    },
    /// What is behind all access lists at once, images and changes of the members, is for the super principal of the cell's
    /// configuration alone.
    #[error(
        "the cell has a super principal or an access list, and this is for its super principal alone; authenticate as that \
         one (`acl.super` in the cell's configuration names it; if it names none, add one)"
    )]
    NotSuper,
    /// A log is neither got nor set.
    #[error("{path} is a log; read its records and append to it instead")]
    IsLog {
        /// The node.
        path: String,
    },
    /// Only a log takes and gives records.
    #[error("{path} is not a log; get and set its data instead, or make a log under another name")]
    NotLog {
        /// The node.
        path: String,
    },
    /// The log takes no more records: somebody sealed it.
    #[error("the log {path} was sealed, and ends at position {end}; go on in another log")]
    LogSealed {
        /// The log.
        path: String,
        /// Where it ends for good.
        end: u64,
    },
    /// The log ends elsewhere: somebody else appended to it, or it was made anew.
    #[error("the log {path} ends at position {found}, not at {expected}; read what there is first")]
    LogEnd {
        /// The log.
        path: String,
        /// The position the call named.
        expected: u64,
        /// Where it ends.
        found: u64,
    },
    /// What was to be read is not there any more.
    #[error(
        "the records of {path} before position {first} are trimmed, those from {from} on with them; read from {first}"
    )]
    LogTrimmed {
        /// The log.
        path: String,
        /// The position the call named.
        from: u64,
        /// Position of the first record that is left, or of the next to come.
        first: u64,
    },
    /// Past a limit.
    #[error("{size} {what}, past the limit of {limit}")]
    TooLarge {
        /// What is too large, after its unit, like `bytes of data`.
        what: String,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
    /// The cell had no time for it in the turn it came to, and did nothing.
    #[error("not done, and nothing wrong with it: {why}; try again")]
    NotNow {
        /// What took the time.
        why: String,
    },
    /// A step of a transaction failed, so none was done.
    #[error("step {index} of the transaction failed, so none was done: {cause}")]
    Aborted {
        /// The step, counted from 0.
        index: usize,
        /// Why it failed.
        cause: Box<Error>,
    },
    /// So many calls wait for an answer that no more are taken: the caller is faster than the cell.
    #[error("{limit} calls wait for an answer; wait for some of them first")]
    TooManyCalls {
        /// Calls that may wait.
        limit: usize,
    },
    /// This client waits for so many locks that it can be told of no more; the place in the queue was left.
    #[error("{limit} locks are waited for; wait for some of them first, or use another session")]
    TooManyLockWaits {
        /// Locks that may be waited for.
        limit: usize,
    },
    /// The caller's own patience ended; the call goes on, its answer will be dropped.
    #[error("no answer within {after:?}; the call may still take effect")]
    Deadline {
        /// How long it waited.
        after: std::time::Duration,
    },
    /// The session is over, and its ephemeral nodes with it: connect anew and set up again what lived with it.
    #[error("session {session} has expired ({outcome}); connect anew")]
    SessionExpired {
        /// The session.
        session: SessionId,
        /// What is known of this call.
        outcome: Outcome,
    },
    /// Another process took the session over, as it was saved: it goes on there.
    #[error("another process took session {session} over ({outcome}); go on there, or connect anew")]
    SessionTaken {
        /// The session.
        session: SessionId,
        /// What is known of this call.
        outcome: Outcome,
    },
    /// This process was forked from the one that made the client, and has no part in its session.
    #[error("this process was forked from the one that connected ({outcome}); connect anew in this one")]
    Forked {
        /// What is known of this call: one made before the fork is the other process's.
        outcome: Outcome,
    },
    /// This client was closed.
    #[error("the client was closed ({outcome})")]
    Closed {
        /// What is known of this call.
        outcome: Outcome,
    },
    /// No replica gave this client a session in time.
    #[error("no session within {after:?}: {why}; check the addresses, and that a majority of replicas runs")]
    Unreachable {
        /// How long it tried.
        after: std::time::Duration,
        /// Each address tried, and what the last attempt there met.
        why: String,
    },
    /// The address leads to another cell.
    #[error(
        "the address belongs to another cell ({outcome}): {text}; check the addresses, and the id that was asked for (`cell`)"
    )]
    WrongCell {
        /// The server's words.
        text: String,
        /// What is known of this call: it may have reached its own cell before.
        outcome: Outcome,
    },
    /// A call of several steps did some of them.
    #[error("{done} nodes are gone, but not all: {cause}")]
    Partly {
        /// Nodes that were deleted.
        done: u64,
        /// Why it went no further.
        cause: Box<Error>,
    },
    /// The replica that was asked, and no other, does not answer.
    #[error("{endpoint} does not answer: {why}")]
    Silent {
        /// The replica.
        endpoint: String,
        /// What was met.
        why: String,
    },
    /// Client and server speak no version of the protocol in common.
    #[error("client and server speak no protocol in common ({outcome}): {text}; upgrade the older of the two")]
    Version {
        /// What either speaks.
        text: String,
        /// What is known of this call.
        outcome: Outcome,
    },
    /// Client and server do not understand each other.
    #[error("client and server do not understand each other ({outcome}): {text}")]
    Protocol {
        /// What was not understood.
        text: String,
        /// What is known of this call.
        outcome: Outcome,
    },
    /// A connect string cannot be read.
    #[error("bad target: {why}; write quorate://host:port,host:port/chroot?session=10s")]
    BadTarget {
        /// What is wrong with it.
        why: String,
    },
    /// The operating system refused something the client needs.
    #[error("the client cannot work here: {0}")]
    Io(Arc<std::io::Error>),
}

/// Who has held a lock since the holder of the token `presented` lost it.
fn since(presented: u64, current: u64) -> String {
    if presented == current { "nobody has held it since".into() } else { format!("it is at {current}") }
}

/// What is known of a call that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It had no effect and will have none.
    NotApplied,
    /// It may have had its effect, or may still have it.
    Unknown,
}

impl Error {
    /// Whether the call certainly had no effect.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Deadline { .. } | Self::Partly { .. } => Outcome::Unknown,
            Self::SessionExpired { outcome, .. }
            | Self::SessionTaken { outcome, .. }
            | Self::Closed { outcome }
            | Self::Forked { outcome }
            | Self::WrongCell { outcome, .. }
            | Self::Version { outcome, .. }
            | Self::HandlePoisoned { outcome, .. }
            | Self::Protocol { outcome, .. } => *outcome,
            Self::NoNode { .. }
            | Self::NoParent { .. }
            | Self::NodeExists { .. }
            | Self::NotEmpty { .. }
            | Self::BadVersion { .. }
            | Self::EphemeralParent { .. }
            | Self::Fenced { .. }
            | Self::LockBusy { .. }
            | Self::LockTwice { .. }
            | Self::LockNotHeld { .. }
            | Self::HandleGone { .. }
            | Self::HandleClosed { .. }
            | Self::HandleForged { .. }
            | Self::HandleLacks { .. }
            | Self::HandleForeign { .. }
            | Self::BadArgument { .. }
            | Self::NodesOverQuota { .. }
            | Self::BytesOverQuota { .. }
            | Self::NotAuthorized { .. }
            | Self::NotSuper
            | Self::IsLog { .. }
            | Self::NotLog { .. }
            | Self::LogSealed { .. }
            | Self::LogEnd { .. }
            | Self::LogTrimmed { .. }
            | Self::TooLarge { .. }
            | Self::NotNow { .. }
            | Self::Aborted { .. }
            | Self::TooManyCalls { .. }
            | Self::TooManyLockWaits { .. }
            | Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::BadTarget { .. }
            | Self::Io(_) => Outcome::NotApplied,
        }
    }

    /// Whether the same call, made again on the same client a little later, may succeed with nothing else changed. If the
    /// [outcome](Self::outcome) is unknown it may then have its effect twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TooManyCalls { .. }
            | Self::TooManyLockWaits { .. }
            | Self::NotNow { .. }
            | Self::Silent { .. }
            | Self::Deadline { .. } => true,
            Self::Aborted { cause, .. } | Self::Partly { cause, .. } => cause.is_retryable(),
            _ => false,
        }
    }

    /// Whether this client can do no more: every later call on it fails too.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::SessionExpired { .. }
                | Self::SessionTaken { .. }
                | Self::Forked { .. }
                | Self::Closed { .. }
                | Self::Unreachable { .. }
                | Self::WrongCell { .. }
                | Self::Version { .. }
                | Self::Protocol { .. }
                | Self::Io(_)
        )
    }

    /// A refusal of the namespace, with the paths as the caller knows them.
    pub(super) fn refused(refusal: Refusal, outward: &dyn Fn(String) -> String) -> Self {
        match refusal {
            Refusal::NoNode { path } => Self::NoNode { path: outward(path) },
            Refusal::NoParent { path } => Self::NoParent { path: outward(path) },
            Refusal::NodeExists { path } => Self::NodeExists { path: outward(path) },
            Refusal::NotEmpty { path } => Self::NotEmpty { path: outward(path) },
            Refusal::BadVersion { path, expected, found } => Self::BadVersion { path: outward(path), expected, found },
            Refusal::EphemeralParent { path } => Self::EphemeralParent { path: outward(path) },
            Refusal::BadArgument { why } => Self::BadArgument { why },
            Refusal::Fenced { path, presented, current } => Self::Fenced { path: outward(path), presented, current },
            Refusal::LockBusy { path } => Self::LockBusy { path: outward(path) },
            Refusal::LockTwice { path } => Self::LockTwice { path: outward(path) },
            Refusal::LockNotHeld { path } => Self::LockNotHeld { path: outward(path) },
            Refusal::HandleGone { path } => Self::HandleGone { path: outward(path) },
            Refusal::HandleClosed { path } => Self::HandleClosed { path: outward(path) },
            Refusal::HandleForged { path } => Self::HandleForged { path: outward(path) },
            Refusal::HandleLacks { path, lacks } => Self::HandleLacks { path: outward(path), lacks },
            Refusal::HandleForeign { path, session } => Self::HandleForeign { path: outward(path), session },
            Refusal::NodesOverQuota { path, needed, limit } => {
                Self::NodesOverQuota { path: outward(path), needed, limit }
            }
            Refusal::BytesOverQuota { path, needed, limit } => {
                Self::BytesOverQuota { path: outward(path), needed, limit }
            }
            Refusal::NotAuthorized { path, needed } => Self::NotAuthorized { path: outward(path), needed },
            Refusal::IsLog { path } => Self::IsLog { path: outward(path) },
            Refusal::NotLog { path } => Self::NotLog { path: outward(path) },
            Refusal::LogSealed { path, end } => Self::LogSealed { path: outward(path), end },
            Refusal::LogEnd { path, expected, found } => Self::LogEnd { path: outward(path), expected, found },
            Refusal::LogTrimmed { path, from, first } => Self::LogTrimmed { path: outward(path), from, first },
            Refusal::TooLarge { what, size, limit } => Self::TooLarge { what, size, limit },
            Refusal::NotNow { why } => Self::NotNow { why },
            Refusal::Aborted { index, cause } => {
                Self::Aborted { index: index as usize, cause: Box::new(Self::refused(*cause, outward)) }
            }
            Refusal::NoSession => Self::Protocol {
                text: "a read was answered as if it had a session".into(),
                outcome: Outcome::NotApplied,
            },
            Refusal::ResultDropped => Self::Protocol {
                text: "the result of this request was acknowledged before it was read".into(),
                outcome: Outcome::Unknown,
            },
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotApplied => "this call had no effect",
            Self::Unknown => "this call may have had its effect",
        })
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
