//! The state machine: what the log's commands do to the tree of nodes and to the sessions.
//!
//! A replica hands each chosen batch, in slot order, to [`Namespace::apply`] and gets back two lists. The *changes* say
//! which nodes are now what; every front replays them into its own read-only [`Tree`] and matches them against its
//! watches. The *outcomes* say what each command came to, one for one; a reply's bytes are encoded once and shared
//! between the session's table of results and the frame that carries them. Reads never come here: [`answer`] asks a tree.
//! What may be long, a listing or the scan of a subtree, is answered in pages of one revision each; a page goes on from a
//! name or a path, not from a cursor that the cell would have to keep.
//!
//! ```text
//! batch -> codec -> apply -> tree      rows in a slab, found by a hash of their path, children in order
//!                         -> session   who asked what last, and what it was told
//!                         -> Applied { changes, outcomes, revision }
//! image: begin at a revision, then take rows in slices between batches; the tree and the sessions go on changing
//! ```
//!
//! | file | |
//! |---|---|
//! | [`command`], [`codec`], [`path`], [`records`] | what is asked, as plain data; its bytes |
//! | `apply` | a batch, command by command: the one way anything changes |
//! | `transaction` | a command's work on nodes; on locks in `locking`, on handles in `opening`, on logs in `appending` |
//! | `gate`, [`acl`] | every operation and every read passes here; who may do what |
//! | `query` | answers to reads, from any tree |
//! | `tree`, `slab` | nodes and their children; rows by number, with a digest and a point-in-time walk |
//! | `lock`, `handle`, `log`, `quota` | parts of a node, as values |
//! | `session`, `results` | the sessions, and what each was told |
//! | `reign`, `timers` | the cell's key and its reigns; what is due at nodes |
//! | `image` | the whole as bytes, and back |
//!
//! Invariants:
//! 1. Equal batches make equal namespaces, and equal outcomes: apply knows no clock but the batch's, no hash order, no
//!    seed (a tree's seed only scatters its index), and no limit that could differ between replicas.
//! 2. The revision rises by one for each command that changed a node, or began or ended a session, and for nothing else:
//!    a refusal, a resend, a resumption and a `multi` of mere checks leave it. All changes of one command carry one
//!    revision, so what a reader sees at a revision is always the work of whole commands.
//! 3. Request n of a session takes effect once, and only after n - 1. Its result is kept until the client acknowledges
//!    it; images carry the results, so that a resend after any recovery is told what the first was told.
//! 4. A session ends with all its ephemeral nodes, its open handles, its locks and its places in queues, in one command, or not
//!    at all.
//! 5. A node is immutable and owns its bytes: readers share it for as long as they like, and none pins a batch.
//! 6. The digest depends on content alone, never on how rows came to lie in their slabs. It is kept up to date with every
//!    change, so that replicas can compare it at any slot without a walk.
//! 7. An image is the namespace of one revision, whatever is applied while it is taken.
//! 8. A lock is part of its node: it is copied, shown, hashed, put into images and removed with it, by the same rules.
//!    Whoever holds it shares it with readers only. A lock's generation is the revision at which it was taken while
//!    nobody held it, so a sequencer that was once refused is refused for ever.
//! 9. So are its open handles. Whoever shows one of them is judged by the node alone, at a front and in the log alike, and one
//!    that was once refused as closed or gone is refused for ever.
//!
//! What Chubby leaves open, decided: deleting a node ends its lock, its queue and its lock-delay with it (the holder's
//! sequencer becomes stale, who waits is told that there is no node), so the right to delete is the right to break. A
//! session claims a lock once: a second claim is refused, not counted. Reader and writer are not exchanged in place.
//!
//! A handle (`opening`) names an instance of a node, the session that opened it, the reign it was opened in, and what it may be
//! used for; its check digits are a keyed hash of all that. The key is chosen by the log: each leader begins its reign there
//! with a draw of its own, and that of the cell's first reign becomes the key, for ever (`reign`). It lies with the root,
//! where every front has it too. A transient node ends by the command that takes its last handle, if it has no children;
//! otherwise it is due once the last of them has gone, unless somebody opens it before. A handle serves whoever was shown
//! it, but only the session that opened it closes it, and it ends with that session.
//!
//! A tree is deleted whole in one command up to a bound, and refused beyond it: all or nothing stays true. Whoever can do
//! without takes a larger one down in parts, leaves first, each part a command of its own.
//!
//! A batch that does not decode stops the process: a server lets only what decodes into the log, so either this version
//! is too old for the cell's commands or memory is damaged, and guessing on would make replicas differ.
//!
//! Time alone changes nothing: what is due at a node (a lock-delay is over, a time to live, a container's lingering) is found
//! by `timers`; the leader asks the log to settle it, and the log's own time decides. A node with a time to live ends when
//! it has been without new data for that long and has no children; while it has some it stays, however long (ZooKeeper's
//! rule). A container ends some seconds after its last child went, unless another came; whoever makes children in one must
//! be ready to make it again.
//!
//! A quota counts the node it is set at and all below it, and only data as bytes (ZooKeeper's count). What goes past a hard
//! bound is refused, whoever asks and however; what goes past a soft bound is done and told, once each time the bound is
//! passed. A subtree that is past its bounds already may shrink, and change without growing. Without any quota a node still has
//! [`NODE_CHILDREN_MAX`](crate::limits::NODE_CHILDREN_MAX) children at most.
//!
//! A log is a node with records instead of data (`log`). Its records are named by their positions, which rise for ever:
//! what is trimmed is refused by the position where the log begins now, and never passed over. A record counts its bytes and
//! four, against a bound of its log and against quotas; trimming gives them back. Trimmed and deleted, a sealed log can be;
//! it never takes another record. In all else a log is a node like others: it may be a container, have children, a lock, a
//! time to live that appends renew, or an owner with whom it goes. Its version is the position where it ends, so whatever
//! may expect a version may expect an end.
//!
//! Who may do what, and who learns of what, is told in [`acl`]; every operation and every read goes through one gate.
//!
//! Not here: watches.

pub mod acl;
#[cfg(feature = "server")]
mod appending;
#[cfg(feature = "server")]
mod apply;
pub mod codec;
pub mod command;
#[cfg(feature = "server")]
mod gate;
mod handle;
#[cfg(feature = "server")]
mod image;
#[cfg(feature = "server")]
mod lock;
#[cfg(feature = "server")]
mod locking;
#[cfg(feature = "server")]
mod log;
#[cfg(feature = "server")]
mod opening;
pub mod path;
#[cfg(feature = "server")]
mod query;
#[cfg(feature = "server")]
mod quota;
pub mod records;
#[cfg(feature = "server")]
mod reign;
#[cfg(feature = "server")]
mod results;
#[cfg(feature = "server")]
mod session;
#[cfg(feature = "server")]
mod slab;
#[cfg(feature = "server")]
mod timers;
#[cfg(feature = "server")]
mod transaction;
#[cfg(feature = "server")]
mod tree;

#[cfg(feature = "server")]
pub use apply::{Applied, CommandOutcome, Namespace, NotResumed};
#[cfg(feature = "server")]
pub use gate::Gate;
#[cfg(feature = "server")]
pub use image::{ImageError, ImageLoader};
#[cfg(feature = "server")]
pub use lock::Lock;
#[cfg(feature = "server")]
pub use log::Log;
#[cfg(feature = "server")]
pub use query::{Hidden, answer, answer_from};
#[cfg(feature = "server")]
pub use session::{Marked, SessionView};
#[cfg(feature = "server")]
pub use tree::{Aspect, Change, Node, Parts, Tree};

#[cfg(all(test, feature = "server"))]
pub(crate) mod tests;
