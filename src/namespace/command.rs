//! What the log carries and what clients ask: plain data. `codec` gives each its bytes.

use core::net::IpAddr;

use bytes::Bytes;

use super::acl::{Acl, Principals, Rights, User};
pub use super::handle::{Birth, Handle, HandleMode, NotAHandle};
pub use super::records::Records;

/// Names one session for ever; given by the log.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Position of one applied mutating command in the total order; 0 is the empty namespace.
pub type Revision = u64;

/// What a client shows to take a session up again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The session.
    pub session: SessionId,
    /// Proves that it is the caller's.
    pub secret: u128,
    /// The process that calls: a number it has drawn.
    pub holder: u64,
    /// It takes the session over from the process that has had it, which may not go on with it.
    pub takes_over: bool,
}

/// One command of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Makes a session. Its id is the revision of this command. `token` finds the waiting connection again and makes a
    /// resend harmless: a live session with the same (token, secret) is returned instead of a second one. `address`: from
    /// where its client is connected; that of a resend counts until the session is asked for something, or taken over.
    OpenSession { token: u64, secret: u128, timeout_ms: u32, address: Option<IpAddr> },
    /// A connection took the session up again: bumps the session's counter, so that an expiry under way misses.
    ///
    /// `token` finds the waiting connection again. The session is taken up if the secret is its own, by the process that has it
    /// or one that takes it over: then the numbers of requests that may be under way still are passed over. A process that had it
    /// and lost it is none of those.
    ResumeSession { token: u64, resume: Resume, address: Option<IpAddr> },
    /// Ends the session, its ephemeral nodes with it, if its counter is still `counter`.
    ExpireSession { session: SessionId, counter: u64 },
    /// Does what is due at that instance of a node by the log's time: forgets lost holders of its lock whose delay is over,
    /// and hands the lock on; ends the node, if its time is over.
    Settle { path: String, instance: u64 },
    /// A leader's reign begins, if it is greater than those before: handles opened from here on name it. The cell's key, with
    /// which check digits are made, becomes `key` if it has none: the first leader's draw, for ever.
    BeginReign { reign: u64, key: u128 },
    /// The session's client may keep answers from here on: a new leader must have it drop them, or wait until they have run
    /// out. Changes nothing that shows, and no revision.
    MarkCaching { session: SessionId },
    /// Request `number` of a session. Applied only if it is the session's next; an earlier one has its stored result
    /// returned; a later one has no effect. Results up to `acked_upto` are dropped.
    Request { session: SessionId, number: u64, acked_upto: u64, operation: Operation },
}

/// A mutation a client can ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Makes a node.
    Create { path: String, data: Bytes, lifetime: Lifetime, sequential: bool },
    /// Replaces a node's data.
    Set { path: String, data: Bytes, expect: Expect },
    /// Removes a node without children.
    Delete { path: String, expect: Expect },
    /// Removes a node and all below it, each after its children. `part` of 0: all, or nothing if there are more than
    /// [`TREE_NODES_DELETED_MAX`](crate::limits::TREE_NODES_DELETED_MAX); otherwise at most so many of them, the node itself
    /// last of all.
    DeleteTree { path: String, expect: Expect, part: u32 },
    /// Sets, or takes away, the bounds of what a node and all below it may come to.
    SetQuota { path: String, quota: Option<Quota> },
    /// All of the steps, in order, or none.
    Multi { steps: Vec<Step> },
    /// Takes the node's lock, or a place in its queue. `create`: a missing node is made first, permanent and empty.
    /// `lock_delay_ms`: how long nobody else gets the lock if the session is lost with it.
    Acquire { path: String, mode: LockMode, wait: bool, create: bool, lock_delay_ms: u32 },
    /// Gives the lock up, or the place in its queue.
    Release { path: String },
    /// The operation, if the lock is still held as `sequencer` says; nothing otherwise.
    Guarded { sequencer: Sequencer, operation: Box<Operation> },
    /// Opens a node for the session, until it closes the handle or ends. A missing node is made first, if there is a `birth`.
    Open { path: String, mode: HandleMode, birth: Option<Birth> },
    /// Closes a handle of the session's own; one that is closed already stays so. A transient node ends with its last.
    Close { handle: Handle },
    /// The operation, if it is on the node that the handle has open, or makes or opens one below it, and the handle's mode
    /// allows it; nothing otherwise.
    Through { handle: Handle, operation: Box<Operation> },
    /// As [`Operation::Create`], with an access list of its own.
    CreateWithAcl { path: String, data: Bytes, lifetime: Lifetime, sequential: bool, acl: Acl },
    /// Sets, or takes away, a node's access list. The version expected is [`Stat::acl_version`].
    SetAcl { path: String, acl: Option<Acl>, expect: Expect },
    /// The session stands for that user too, or for the super principal. A front says so, never a client.
    Authenticate { user: User, is_super: bool },
    /// Makes a log: a node that holds records instead of data.
    CreateLog { path: String, lifetime: Lifetime, sequential: bool },
    /// Adds records at a log's end, all of them or none; `end`: only if that is where it ends.
    Append { path: String, records: Records, end: Option<u64> },
    /// Drops a log's records before position `upto`.
    Trim { path: String, upto: u64 },
    /// Closes a log to further records, for good.
    Seal { path: String },
    /// Changes nothing; its answer proves that everything before it was applied.
    Sync,
    /// Ends the session, its ephemeral nodes with it.
    CloseSession,
}

/// One step of a `multi`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Fails unless the node is as expected.
    Check { path: String, expect: Expect },
    /// As [`Operation::Create`].
    Create { path: String, data: Bytes, lifetime: Lifetime, sequential: bool },
    /// As [`Operation::Set`].
    Set { path: String, data: Bytes, expect: Expect },
    /// As [`Operation::Delete`].
    Delete { path: String, expect: Expect },
    /// As [`Operation::CreateWithAcl`].
    CreateWithAcl { path: String, data: Bytes, lifetime: Lifetime, sequential: bool, acl: Acl },
    /// As [`Operation::SetAcl`].
    SetAcl { path: String, acl: Option<Acl>, expect: Expect },
    /// Reads, in the middle of the transaction; a missing node is an answer, not a failure.
    Get { path: String },
    /// Fails unless the lock is still held as `sequencer` says.
    CheckLock { sequencer: Sequencer },
    /// Fails unless the handle has its node open.
    CheckHandle { handle: Handle },
    /// As [`Operation::Append`].
    Append { path: String, records: Records, end: Option<u64> },
}

/// What a node and all below it may come to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Quota {
    /// What would go past these bounds is refused.
    pub hard: QuotaBounds,
    /// What goes past these bounds is done, and told to who watches the node.
    pub soft: QuotaBounds,
}

/// Bounds of a subtree; `None` is no bound.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct QuotaBounds {
    /// Nodes, the topmost among them.
    pub nodes: Option<u64>,
    /// Bytes of data.
    pub bytes: Option<u64>,
}

/// What a subtree comes to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Usage {
    /// Nodes, the topmost among them.
    pub nodes: u64,
    /// Bytes of data.
    pub bytes: u64,
}

/// How a lock is held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LockMode {
    /// By one session alone.
    Exclusive,
    /// By any number of sessions that share it.
    Shared,
}

/// Says that a lock was held, and since when: what its holder shows to others, and puts on its requests.
///
/// It proves nothing by itself. Whoever judges it compares it with the lock as the log left it; there a forged one is
/// no more than a guess at a revision, and worth what knowing the current one by [`Read::LockHolders`] is worth.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sequencer {
    /// The locked node.
    pub path: String,
    /// Which node of that name.
    pub instance: u64,
    /// How it is held.
    pub mode: LockMode,
    /// [`Stat::lock_generation`] since it is held so. Greater than that of every earlier holder, whatever became of the
    /// node in between: a fencing token.
    pub generation: Revision,
}

/// How long a node lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// Until it is deleted.
    Permanent,
    /// Until it is deleted or the session that made it ends. Has no children.
    Ephemeral,
    /// Until it is deleted, or its last child has been gone for
    /// [`CONTAINER_LINGER_MS`](crate::limits::CONTAINER_LINGER_MS). One that never had a child stays.
    Container,
    /// Until it is deleted, or has had neither children nor new data for so long.
    Ttl { ms: u64 },
    /// Until it is deleted, or has no children and nobody has it open (Chubby's ephemeral). Made by opening it.
    Transient,
}

/// What ends a node by itself, and not with a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// That its last child went ([`Lifetime::Container`]).
    Emptied,
    /// That it was left alone for so long ([`Lifetime::Ttl`]).
    Idle {
        /// For how long, in milliseconds of the log's time.
        ttl_ms: u64,
    },
    /// That nobody has it open any more ([`Lifetime::Transient`]).
    Closed,
}

/// A condition on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// It exists.
    Any,
    /// It exists with exactly this data version.
    Version(u64),
    /// It does not exist (only in `Check`).
    Absent,
}

/// A question to the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// Data and stat.
    Get { path: String },
    /// Stat, or that there is no such node.
    Exists { path: String },
    /// Names of the children after `after` (all if empty), in byte order, at most `limit` (0: as many as fit a reply).
    List { path: String, after: String, limit: u32 },
    /// As `List`, with the children's stats.
    Entries { path: String, after: String, limit: u32 },
    /// The nodes of the subtree below `path`, itself first, that follow the node `after` (all if empty): each before its
    /// children, children in byte order of their names. At most `limit` (0: as many as fit a reply). The node `after` need
    /// not exist any more, so whoever reads page by page loses its place to nobody.
    Scan { path: String, after: String, limit: u32, with_data: bool },
    /// The quota that was set at this very node, and what it bounds.
    Quota { path: String },
    /// A node's access list.
    Acl { path: String },
    /// Whom the asking session stands for.
    WhoAmI,
    /// Who holds the node's lock, and how many wait.
    LockHolders { path: String },
    /// Where a session stands with the node's lock. One that waits is told on its connection when that may have changed.
    AwaitLock { path: String, session: SessionId },
    /// Whether the lock is still held as the sequencer says.
    CheckSequencer { sequencer: Sequencer },
    /// As `Get`, of the node that the handle has open; as the other two, it needs a handle to read with.
    HandleGet { handle: Handle },
    /// As `Entries`, of the node that the handle has open.
    HandleEntries { handle: Handle, after: String, limit: u32 },
    /// As `Exists`, of the node that the handle has open: a check of any handle.
    HandleStat { handle: Handle },
    /// A log's records from position `from` on, one at least if it is there, as many as `bytes` hold (0: as many as fit a
    /// reply).
    Records { path: String, from: u64, bytes: u32 },
}

/// A node's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stat {
    /// Revision that made it (ZooKeeper's czxid).
    pub created: Revision,
    /// Revision that last changed its data (mzxid).
    pub modified: Revision,
    /// Revision that last added or removed a child (pzxid).
    pub children_modified: Revision,
    /// Changes of its data since it was made: of a log, records appended, which is the position where it ends.
    pub version: u64,
    /// Children added and removed since it was made.
    pub children_version: u64,
    /// Changes of its ACL since it was made.
    pub acl_version: u64,
    /// When it was made, milliseconds of the leader's wall clock since 1970; for people only.
    pub created_ms: u64,
    /// When its data last changed, likewise.
    pub modified_ms: u64,
    /// The session it lives with, if it is ephemeral.
    pub owner: Option<SessionId>,
    /// What ends it otherwise; `None` for a permanent node, and for an ephemeral one.
    pub expiry: Option<Expiry>,
    /// Bytes of data: of a log, of the records that are not trimmed, and four for each.
    pub data_bytes: u32,
    /// Number of children.
    pub children: u32,
    /// Greater than that of every earlier node of this name (Chubby).
    pub instance: u64,
    /// Revision at which its lock last went from free to held; 0 if it never did (Chubby counts the times; a revision
    /// rises as well, and goes on rising when the node is deleted and made anew).
    pub lock_generation: Revision,
    /// CRC-32 of its data (Chubby's content checksum): of a log, of a hash chained through all its records, the trimmed ones
    /// among them.
    pub checksum: u32,
    /// What it is besides, if it is a log.
    pub log: Option<LogStat>,
}

/// A log's numbers beside those that every node has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct LogStat {
    /// Position of the first record that is not trimmed.
    pub first: u64,
    /// Whether it takes no more records.
    pub sealed: bool,
}

/// What a mutation did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    /// The node made, with the name the log gave a sequential one.
    Created { path: String, stat: Stat },
    /// The node's new stat.
    Set { stat: Stat },
    /// It is gone.
    Deleted,
    /// So many nodes are gone; `more` are left to be asked for, the node itself among them.
    TreeDeleted { nodes: u32, more: bool },
    /// The quota is as asked for.
    QuotaSet,
    /// One result a step.
    Multi { results: Vec<StepDone> },
    /// The lock is held.
    Granted { sequencer: Sequencer },
    /// The lock is held by others: the session has its place in the queue.
    Queued,
    /// The lock, or the place in its queue, is given up.
    Released,
    /// The node is open; `created`: it was made for it.
    Opened { handle: Handle, stat: Stat, created: bool },
    /// The handle is closed.
    Closed,
    /// The access list is as asked for; the node's new stat.
    AclSet { stat: Stat },
    /// The session stands for whom it proved to be.
    Authenticated,
    /// The records have the positions from `first` up to `end`, which is the position of the next.
    Appended { first: u64, end: u64 },
    /// The log's first record is that of position `first`.
    Trimmed { first: u64 },
    /// The log ends at position `end` for good.
    Sealed { end: u64 },
    /// Everything before is applied.
    Synced,
    /// The session is gone.
    SessionClosed,
}

/// What a step of a `multi` did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepDone {
    /// The condition held.
    Checked,
    /// As [`Done::Created`].
    Created { path: String, stat: Stat },
    /// As [`Done::Set`].
    Set { stat: Stat },
    /// As [`Done::Deleted`].
    Deleted,
    /// As [`Done::AclSet`].
    AclSet { stat: Stat },
    /// The node's data and stat; `None` if there is none.
    Got { node: Option<(Bytes, Stat)> },
    /// As [`Done::Appended`].
    Appended { first: u64, end: u64 },
}

/// Why a mutation or a read was refused by the namespace: deterministic, and the same at every replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no such node.
    NoNode { path: String },
    /// The parent of the node to be made does not exist; `path` is the parent's.
    NoParent { path: String },
    /// There is a node of that name.
    NodeExists { path: String },
    /// A node with children is not deleted.
    NotEmpty { path: String },
    /// The version is another.
    BadVersion { path: String, expected: u64, found: u64 },
    /// An ephemeral node has no children; `path` is the ephemeral parent's.
    EphemeralParent { path: String },
    /// A path, name or argument is malformed; `why` says how to mend it.
    BadArgument { why: String },
    /// The sequencer's holder has lost the lock, which is now of generation `current` (0 if there is no such node).
    Fenced { path: String, presented: Revision, current: Revision },
    /// Others hold the lock, or wait for it.
    LockBusy { path: String },
    /// The session holds the lock, or waits for it, already.
    LockTwice { path: String },
    /// The session neither holds the lock nor waits for it.
    LockNotHeld { path: String },
    /// The node that the handle had open is gone, whatever has its name now.
    HandleGone { path: String },
    /// The handle was closed, or the session that opened it is over.
    HandleClosed { path: String },
    /// The cell never made that handle.
    HandleForged { path: String },
    /// The handle was not opened for that.
    HandleLacks { path: String, lacks: HandleMode },
    /// Another session opened the handle: only that one closes it.
    HandleForeign { path: String, session: SessionId },
    /// Past the quota set at `path`: so many nodes would be needed below it.
    NodesOverQuota { path: String, needed: u64, limit: u64 },
    /// Past the quota set at `path`: so many bytes of data would be needed below it.
    BytesOverQuota { path: String, needed: u64, limit: u64 },
    /// The session may not do that with the node `path`: it has none of the rights `needed`.
    NotAuthorized { path: String, needed: Rights },
    /// A log is neither got nor set.
    IsLog { path: String },
    /// Only a log takes and gives records.
    NotLog { path: String },
    /// The log was sealed, and ends at position `end` for good.
    LogSealed { path: String, end: u64 },
    /// The log ends elsewhere.
    LogEnd { path: String, expected: u64, found: u64 },
    /// The records before position `first` are trimmed.
    LogTrimmed { path: String, from: u64, first: u64 },
    /// Past a limit.
    TooLarge { what: String, size: u64, limit: u64 },
    /// There was no time for it, and nothing was done: asked again it may be.
    NotNow { why: String },
    /// Step `index` of a `multi` failed, so none was done.
    Aborted { index: u32, cause: Box<Refusal> },
    /// The session is over or never was.
    NoSession,
    /// The result of this request was acknowledged by its client, and dropped: a protocol fault of the client.
    ResultDropped,
}

/// What a mutation came to.
pub type Outcome = Result<Done, Refusal>;

/// The answer to a [`Read`]. `D` holds data: bytes of its own, or the tree's, borrowed until the answer is encoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<D = Bytes> {
    /// Answer to `Get`.
    Node { data: D, stat: Stat },
    /// Answer to `Exists`.
    Exists { stat: Option<Stat> },
    /// Answer to `List`: names in byte order, the parent's stat, whether more follow.
    Children { names: Vec<String>, stat: Stat, more: bool },
    /// Answer to `Entries`: children in byte order of their names, the parent's stat, whether more follow.
    Entries { entries: Vec<(String, Stat)>, stat: Stat, more: bool },
    /// Answer to `Scan`: nodes in order, whether more follow.
    Scanned { nodes: Vec<Scanned<D>>, more: bool },
    /// Answer to `Quota`; `None` if none is set there.
    Quota { quota: Option<(Quota, Usage)> },
    /// Answer to `Acl`; `None` if the node has no list and so is open to all.
    Acl { acl: Option<Acl>, stat: Stat },
    /// Answer to `WhoAmI`.
    Principals { principals: Principals },
    /// Answer to `LockHolders`.
    Lock { holders: LockHolders },
    /// Answer to `AwaitLock`.
    LockPlace { place: LockPlace },
    /// Answer to `CheckSequencer`.
    Sequencer { valid: bool },
    /// Answer to `Records`: those from position `from` on, and the log's stat.
    Records { from: u64, records: Records, stat: Stat },
}

/// A node come upon in a scan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scanned<D = Bytes> {
    /// Its path.
    pub path: String,
    /// Its stat.
    pub stat: Stat,
    /// Its data, if they were asked for.
    pub data: Option<D>,
}

impl Answer<&[u8]> {
    /// The same answer, which keeps its data itself.
    #[must_use]
    pub fn into_owned(self) -> Answer {
        let owned = |Scanned { path, stat, data }: Scanned<&[u8]>| {
            let data = data.map(Bytes::copy_from_slice);
            Scanned { path, stat, data }
        };
        match self {
            Self::Node { data, stat } => Answer::Node { data: Bytes::copy_from_slice(data), stat },
            Self::Scanned { nodes, more } => Answer::Scanned { nodes: nodes.into_iter().map(owned).collect(), more },
            Self::Exists { stat } => Answer::Exists { stat },
            Self::Children { names, stat, more } => Answer::Children { names, stat, more },
            Self::Entries { entries, stat, more } => Answer::Entries { entries, stat, more },
            Self::Quota { quota } => Answer::Quota { quota },
            Self::Acl { acl, stat } => Answer::Acl { acl, stat },
            Self::Principals { principals } => Answer::Principals { principals },
            Self::Lock { holders } => Answer::Lock { holders },
            Self::LockPlace { place } => Answer::LockPlace { place },
            Self::Sequencer { valid } => Answer::Sequencer { valid },
            Self::Records { from, records, stat } => Answer::Records { from, records, stat },
        }
    }
}

/// A lock as it stands.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LockHolders {
    /// What the holders show; `None` if nobody holds it.
    pub sequencer: Option<Sequencer>,
    /// Who holds it.
    pub sessions: Vec<SessionId>,
    /// Holders that were lost, and whose delay is not over.
    pub lost: u32,
    /// Sessions in the queue.
    pub waiting: u32,
}

/// Where a session stands with a lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LockPlace {
    /// It holds it.
    Held { sequencer: Sequencer },
    /// It is in the queue.
    Waiting,
    /// Neither.
    Nowhere,
}

impl std::fmt::Debug for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A secret does not belong in diagnostics.
        write!(f, "Resume({} by {:x}{})", self.session, self.holder, if self.takes_over { ", anew" } else { "" })
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {self}")
    }
}
