//! The client library: one session with a cell, kept alive and in order whatever becomes of connections and replicas.
//!
//! New here? [`guide`] goes from a connection to a fenced lock in five steps; [`recipes`] has what is built of these calls;
//! [`features`] has each feature of Chubby and of ZooKeeper, with the test that shows it.
//!
//! The story of a call: [`Client`] makes of it a command of the namespace and puts it, with what is to become of the answer,
//! into the inbox of the process's one `driver` thread. There the client's session [`machine`] gives it a number and
//! its place in the order, and writes its frame; the `socket` sends it. The answer is matched to its call, decoded,
//! and laid into the [`Op`] that the caller holds.
//!
#![doc = concat!("```no_run\n", include_str!("../../tests/process/examples/start.rs"), "```")]
//!
//! Data is `impl Into<Bytes>`: a `&'static str`, a `String`, a `Vec<u8>` or [`Bytes`](bytes::Bytes). What is borrowed for less
//! than that is given as `text.to_owned()`.
//!
//! What a caller may rely on:
//!
//! 1. **Program order is session order.** Calls take effect in the order they were made, pipelined or not, across any
//!    number of reconnections.
//! 2. **Once.** A call that was made is applied once, however often it had to be sent, as long as the session lives.
//! 3. **Never backwards.** No answer is older than one given before. One that is [kept](ClientBuilder::cache) is given only
//!    while it is what the cell would answer.
//! 4. **Nothing unseen.** A [`Watch`] brings every change once, in order, or says which revisions it cannot tell of.
//! 5. **Honest failure.** [`Error::outcome`] says whether a call that failed may have had its effect.
//! 6. **Handed on whole.** A session that was [saved](Client::save) and [taken over](ClientBuilder::resume) by another process keeps
//!    all that lives with it; each request of the process before took effect or never will, and the new one knows which did.
//! 7. **Fixed threads.** One thread, and a second once a host name has to be looked up, for any number of clients.
//!
//! Invariants of the machine that see to this are numbered where they are kept, in [`machine`].
//!
//! With the feature `tracing`, the driver tells of connections and sessions under the target `quorate::client`.
//!
//! # Not here
//!
//! Sessions across a fork: the child has no driver, and each call in it is [`Error::Forked`], as is each made before that is waited for in it; it connects anew.
//!
//! A deadline that takes a call back: what was sent may be applied, so [`Op::within`] stops waiting and nothing more.
#![deny(missing_docs)]

// Where things are, from a caller inwards:
//
// - `builder`, `target`, `credentials`: how a client comes to be.
// - `api`, then one noun a file, `creation` to `watch`: what it is asked. `recipes` are made of these alone.
// - `op`, `stream`, `block_on`, `observe`, `kept`: what comes back, and how it is waited for.
// - `call`, `meaning`, `error`: what is asked of the driver, and what the answers mean.
// - `driver`, `member`, `socket`, `clock`: the one thread, the clients in it, their connections.
// - `machine`: all that a client does, without any of that.

mod acl;
mod acquisition;
mod alarms;
mod api;
mod block_on;
mod builder;
mod call;
mod clock;
mod creation;
mod credentials;
mod driver;
mod error;
pub mod features;
mod guarded;
pub mod guide;
mod handle;
mod handle_events;
mod kept;
mod listing;
mod lock;
mod log;
pub mod machine;
mod meaning;
mod member;
mod names;
mod observe;
mod op;
mod quota;
pub mod recipes;
mod saved;
mod sequencer;
mod session;
mod snapshot;
mod socket;
mod status;
mod stream;
mod target;
mod telling;
#[cfg(test)]
mod tests;
mod txn;
mod watch;

pub use api::{Client, CreateOptions, Created};
pub use block_on::{block_on, block_on_timeout};
pub use builder::ClientBuilder;
pub use credentials::Credentials;
pub use error::{Error, Outcome, Result};
pub use guarded::Guarded;
pub use handle::{Handle, OpenOptions};
pub use handle_events::{HandleEvent, HandleEvents, HandleLost};
pub use kept::CacheStats;
pub use listing::{Page, Scan, ScanOptions, ScanPage};
pub use lock::{LockGuard, LockLost, LockOptions, Lost};
pub use log::{Appended, Log, LogPage, LogTail, Tailed};
pub use machine::{CacheSettings, Prefer};
pub use observe::SessionEvents;
pub use op::Op;
pub use saved::SavedSession;
pub use session::{SessionEvent, SessionState};
pub use snapshot::{SnapshotPiece, SnapshotSource};
pub use status::{Report, members, sessions, status};
pub use stream::{Blocking, Next};
pub use target::{DEFAULT_PORT, Target};
pub use txn::{Txn, TxnOutcome, TxnReply};
pub use watch::{Watch, WatchEvent, WatchOptions};

pub use crate::namespace::acl::{Acl, AclEntry, Principals, Rights, User, Who};
pub use crate::namespace::command::{
    Expect, Expiry, Handle as HandleToken, HandleMode, LockHolders, LockMode, LogStat, NotAHandle, Quota, QuotaBounds,
    Revision, Scanned, Sequencer, SessionId, Stat, Usage,
};
pub use crate::paxos::ballot::{Ballot, CellId, Incarnation, ReplicaId, Slot};
pub use crate::paxos::{Addresses, Member, MemberChange, MemberStatus, Standing};
pub use crate::wire::client::{CacheAccount, Consistency, MemberAddress, Role, SessionAccount, SessionsPage, Status};
pub use crate::wire::members::{ChangeAnswer, Members};
