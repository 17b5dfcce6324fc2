//! Every bound of the system, with its argument, and the relations between them proved at compile time.
#![deny(missing_docs)]

use crate::time::Duration;

/// The unit of the journal's writes, in bytes: the largest physical block in common use, so that no write of ours makes
/// a device read first.
pub const BLOCK_BYTES: usize = 4096;

/// Room for a record's header in front of its value, in bytes.
pub const RECORD_HEADER_BYTES: usize = 256;

/// The largest value of one slot, in bytes: one maximal client request always fits, and a flush stays short.
pub const VALUE_BYTES_MAX: usize = 4 << 20;

/// A batch is closed to further commands once it holds this many bytes: past it a flush's time grows with its size
/// while the throughput hardly does.
pub const BATCH_BYTES_TARGET: usize = 512 << 10;

/// Commands that wait for their turn at the leader, in bytes: past it they are refused as overload, since waiting longer
/// helps nobody.
pub const PENDING_BYTES_MAX: usize = 64 << 20;

/// The largest data of one node, in bytes (ZooKeeper's default; Chubby's was a quarter).
pub const NODE_DATA_BYTES_MAX: usize = 1 << 20;

/// The longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;

/// The longest name of one path component, in bytes (a file system's usual bound).
pub const NAME_BYTES_MAX: usize = 255;

/// The deepest path, in components.
pub const PATH_DEPTH_MAX: usize = 64;

/// Children of one node: to list them all takes hundreds of pages, and each replica keeps more than a GiB of them. Whoever
/// makes so many by mistake, as a queue that nobody empties does, is stopped before every replica's memory is full. It holds once all replicas of a cell know it.
pub const NODE_CHILDREN_MAX: usize = 4 << 20;

/// The largest client request, in bytes: a node's data with its path, or a `multi` of some smaller ones.
pub const REQUEST_BYTES_MAX: usize = 2 << 20;

/// Bytes of the records one log holds, and four for each: every replica keeps them in memory. Past it appends are refused
/// until the log is trimmed.
pub const LOG_BYTES_MAX: usize = 64 << 20;

/// A log's records are kept in runs of this many bytes, or a record more: what a read or a trim that begins inside a run
/// looks through.
pub const LOG_RUN_BYTES: usize = 64 << 10;

/// Pieces of a log kept side by side before they are made one: what an append copies names of at most, at each of the few
/// levels there are.
pub const LOG_PIECES_SIDE_BY_SIDE: usize = 32;

/// Operations in one `multi`.
pub const MULTI_OPS_MAX: usize = 4096;

/// Nodes that one command may remove with the node above them all: some milliseconds of every replica's time, in which
/// nothing else is applied.
pub const TREE_NODES_DELETED_MAX: usize = 4096;

/// The largest frame on a client connection, header included, in bytes.
pub const CLIENT_FRAME_BYTES_MAX: usize = REQUEST_BYTES_MAX + (64 << 10);

/// The largest frame on a peer link, header included, in bytes.
pub const PEER_FRAME_BYTES_MAX: usize = VALUE_BYTES_MAX + (64 << 10);

/// Slots between two digests of the state that replicas compare: a message is nothing beside so many entries, and on an
/// idle cell, whose log hardly grows, little is done with a wrong state.
pub const DIGEST_EVERY_SLOTS: u64 = 1024;

/// Digests kept to be compared, of this replica and of each peer. Whoever lags by less is compared where it lags; and when
/// two replicas differ, a third that was started anew has so many slots' time to tell who is right.
pub const DIGESTS_KEPT: usize = 64;

/// Slots that may be open (proposed, not chosen) at once; also how far ahead of the applied state a leader proposes, and
/// the distance at which a configuration takes force. Phase 1 covers at most this many slots.
pub const SLOT_WINDOW: u64 = 64;

/// Journal writes in flight at once: two gain a sixth over one, four add latency and little else.
pub const JOURNAL_WRITES_IN_FLIGHT: usize = 2;

/// Entries proposed and not yet chosen at which a leader lets further commands gather: as many as there are journal writes
/// in flight, so that each batch is as large as the flush before it was long.
pub const ENTRIES_IN_FLIGHT: usize = JOURNAL_WRITES_IN_FLIGHT;

/// How long a connection may take to say hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a frame that has begun may take to be whole: the largest, on a line of a megabit a second.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

/// Sessions of one cell: past it no further one is opened until one ends. A session with its results is some hundred
/// bytes up to some megabytes, and every replica holds all of them.
pub const SESSIONS_MAX: usize = 1 << 17;

/// How often a front says that it reads under the lease: a small part of any lease, and rare beside the reads.
pub const LEASE_USE_TOLD_EVERY: Duration = Duration::from_millis(10);

/// What an overloaded server asks its client to wait.
pub const OVERLOAD_RETRY_MS: u32 = 20;

/// What a cell with no room for another session asks the client to wait: sessions end in seconds, not milliseconds.
pub const SESSIONS_FULL_RETRY_MS: u32 = 1_000;

/// How long a read waits before the leader is asked again, when none could be.
pub const READ_RETRY: Duration = Duration::from_millis(10);

/// Items in a ring between two cores. One item carries a whole turn's work, so this many turns may pass unseen.
pub const MESH_CAPACITY: usize = 1024;

/// How far two hosts' boot clocks may differ in rate, in parts per million: twice what a clock is slewed by at most.
pub const CLOCK_ERROR_PPM: u64 = 1_000;

/// What a peer that lags is sent at once, in bytes: chosen values, unless the first alone is longer, or a piece of an image.
/// Votes wait behind it on the link, for 2 ms at 1 Gbit/s.
pub const CATCH_UP_BYTES_MAX: usize = 256 << 10;

/// Chosen values kept in memory for peers that lag, in bytes; older ones are read from the journal.
pub const LOG_MEMORY_BYTES: usize = 32 << 20;

/// The longest that a loop may watch for work before it sleeps: many times what sleeping and waking cost (tens of
/// microseconds).
pub const SPIN_MAX: Duration = Duration::from_millis(1);

/// A disk write outstanding for so long counts as failed.
pub const DISK_STALL_MAX: Duration = Duration::from_secs(10);

/// How long a leader that is asked to stop waits for another one.
pub const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// Bytes that may wait to be sent to one client: past it the client does not read, and is dropped.
pub const CLIENT_OUTPUT_BYTES_MAX: usize = 16 << 20;

/// Answers to one client's reads in one turn, in bytes; the rest comes in the next. A turn stays far shorter than a lease.
pub const CLIENT_TURN_BYTES_MAX: usize = 1 << 20;

/// Bytes that wait to be sent to one client at which its watches are told no more until they have left.
pub const CLIENT_CLOGGED_BYTES: usize = 1 << 20;

/// Watches of one connection: memory for each is bounded by its path and some 150 bytes.
pub const WATCHES_PER_CONNECTION_MAX: usize = 1 << 17;

/// Traces of changes kept for watches that come back, in bytes, by each front: two or three seconds of the fastest writing,
/// some minutes of ordinary writing.
pub const WATCH_PAST_BYTES_MAX: usize = 32 << 20;

/// Past changes looked through in one turn for watches that come back: some milliseconds, far less than a lease.
pub const PAST_CHANGES_A_TURN: usize = 16 << 10;

/// A frame of events takes up further ones until it has this many bytes.
pub const EVENTS_FRAME_BYTES_TARGET: usize = 256 << 10;

/// Bytes that may wait to be sent to one peer: past it they are dropped with the link, and the peer catches up.
pub const PEER_OUTPUT_BYTES_MAX: usize = 64 << 20;

/// Clients' requests that may wait on a link to the leader, in bytes: past it they are refused where they came in, so that
/// votes and heartbeats on the same link do not wait behind them.
pub const FORWARD_QUEUE_BYTES_MAX: usize = 4 << 20;

/// A journal write takes up further records until it has this many bytes.
pub const JOURNAL_WRITE_BYTES_TARGET: u64 = 1 << 20;

/// Records that wait for the disk, in bytes: past it a replica takes no more of others, and lags. Room for a full window of
/// ordinary batches.
pub const JOURNAL_QUEUE_BYTES_MAX: u64 = 64 << 20;

/// How long the journal is idle before it seals what it wrote.
pub const SEAL_AFTER: Duration = Duration::from_millis(5);

/// Requests of one session that may be unanswered at once.
pub const SESSION_REQUESTS_IN_FLIGHT: usize = 4096;

/// Results kept for one session until its client acknowledges them: the in-flight bound, since a client acknowledges
/// what it was answered with its next request.
pub const SESSION_RESULTS_MAX: usize = SESSION_REQUESTS_IN_FLIGHT;

/// Bytes of results kept for one session: past this a session that acknowledges nothing has no further request applied.
/// Eight times the largest, so that a client may pipeline large reads inside transactions.
pub const SESSION_RESULT_BYTES_MAX: usize = 8 * REPLY_BYTES_MAX;

/// The largest result of one request, in bytes: it fits a frame as a request does.
pub const REPLY_BYTES_MAX: usize = REQUEST_BYTES_MAX;

/// The largest page of a listing, in bytes of names and their lengths: long enough to make paging cheap, short enough to
/// keep one reader from holding up the others of its core.
pub const LIST_BYTES_MAX: usize = 256 << 10;

/// Sessions told of at once to who asks which there are: a few tens of KiB.
pub const SESSIONS_PAGE_MAX: usize = 1_000;

/// Processes that had a session and lost it of which it remembers so many, beside the last: a late copy of the command by which
/// one of them took it over does not give it back. One that comes later than so many takeovers does; but each of them is of
/// a process that has started since.
pub const SESSION_PROCESSES_REMEMBERED: usize = 32;

/// The shortest session timeout, in milliseconds: below it a failover alone would end sessions.
pub const SESSION_TIMEOUT_MS_MIN: u32 = 2_000;

/// The longest session timeout, in milliseconds: how long a dead client may hold what it owns.
pub const SESSION_TIMEOUT_MS_MAX: u32 = 60_000;

/// The longest lock-delay, in milliseconds (Chubby's): how long a dead holder may keep others waiting beyond its session.
pub const LOCK_DELAY_MS_MAX: u32 = 60_000;

/// The longest a node with a time to live stays unchanged, in milliseconds (ZooKeeper's).
pub const NODE_TTL_MS_MAX: u64 = (1 << 40) - 1;

/// Nodes that may lie below a node that is given a quota, unless it is the root: they are counted in one go, in a small part
/// of a lease.
pub const QUOTA_NODES_COUNTED_MAX: usize = 16 << 10;

/// Nodes that the commands of one entry may have walked without removing them; whatever would walk on is refused. So an entry
/// full of commands that count much and change little takes no longer than two of them.
pub const ENTRY_NODES_WALKED_MAX: usize = QUOTA_NODES_COUNTED_MAX;

/// Entries of one access list: each is looked at whenever the node is, and a group says more in one.
pub const ACL_ENTRIES_MAX: usize = 64;

/// Lines of a group that count: they are read whenever the group is asked for.
pub const ACL_GROUP_LINES_MAX: usize = 1024;

/// The longest name of a user, in bytes.
pub const PRINCIPAL_NAME_BYTES_MAX: usize = 255;

/// Users that one session may prove to be, one after the other: each is copied into images, and looked for in every entry.
pub const SESSION_USERS_MAX: usize = 16;

/// Nodes in a row that a listing or a scan passes over in one turn because its reader may not see them: some milliseconds of a
/// front.
pub const HIDDEN_NODES_PASSED_MAX: usize = 16 << 10;

/// Ephemeral nodes of one session: all of them go in one command, when it ends.
pub const SESSION_EPHEMERALS_MAX: usize = 16_384;

/// Handles that one session has open: all of them are closed in one command, when it ends.
pub const SESSION_HANDLES_MAX: usize = 16_384;

/// Handles of one node. They are copied with each that is opened or closed, so this bounds what that costs: a quarter of a
/// MiB.
pub const NODE_HANDLES_MAX: usize = 16_384;

/// How long a container stays when its last child is gone, in milliseconds: long enough for the next child to be made by
/// somebody who saw it there.
pub const CONTAINER_LINGER_MS: u64 = 5_000;

/// Nodes whose time has come for which a leader has asked the log and not been answered: a few entries' worth, so that many
/// that come due together do not hold up clients' commands.
pub const TIMERS_ASKED_MAX: usize = 1024;

/// What all sessions whose end a leader asks the log for, and has not been answered, may take along: themselves, what they own
/// and what they claim. As many nodes as one command may remove; one session with more goes alone. So thousands of clients
/// that die together end in many short entries, with those of the living between them.
pub const EXPIRIES_ASKED_WORK_MAX: usize = TREE_NODES_DELETED_MAX;

/// Sessions that hold one lock or wait for it. A lock is copied with each change of it, so this bounds what a change costs.
pub const LOCK_SESSIONS_MAX: usize = 4096;

/// Locks one connection may wait to be told of: as many as calls it may have under way.
pub const CONNECTION_LOCK_WAITS_MAX: usize = SESSION_REQUESTS_IN_FLIGHT;

/// How long a client may give a kept answer without hearing from the cell, and so the longest that one dead client holds
/// up a change of what it kept, and a new leader all changes.
pub const CACHE_LEASE: Duration = Duration::from_secs(2);

/// Answers one session may keep: some hundred KiB of paths at the leader.
pub const CACHE_SESSION_GRANTS_MAX: usize = 4096;

/// Answers that all sessions together may keep.
pub const CACHE_GRANTS_MAX: usize = 1 << 18;

/// The bytes of their paths, each counted as often as it is kept; with the answers some tens of MiB at the leader.
pub const CACHE_GRANT_BYTES_MAX: usize = 32 << 20;

/// Commands that may wait at once until kept answers were dropped; at half of it nothing more is granted.
pub const CACHE_HELD_MAX: usize = 1 << 16;

/// Nodes named in one recall; more of them are recalled as everything.
pub const CACHE_RECALL_PATHS_MAX: usize = 64;

/// Answers to be kept that one read point asks for: those of further reads are not kept this time.
pub const CACHE_WISHES_MAX: usize = 256;

/// After this long a new leader asks again those who have not dropped what they kept; then after twice as long, and so on.
pub const CACHE_RECALL_AGAIN: Duration = Duration::from_millis(25);

/// Replicas in one cell, learners included.
pub const REPLICAS_MAX: usize = 13;

/// Places for connections that clients leave free, however many they are: two links to each other replica, and as many
/// that are on their way out or in.
pub const LINK_PLACES: u32 = 4 * REPLICAS_MAX as u32;

/// A member list, addresses included: two of them fit one block of the hard state. Thirteen members with two addresses of
/// 60 letters each.
pub const CONFIG_BYTES_MAX: usize = 1_850;

const _: () =
    assert!(FORWARD_QUEUE_BYTES_MAX < PEER_OUTPUT_BYTES_MAX, "requests are refused before a link is given up");
const _: () = assert!(BLOCK_BYTES.is_power_of_two());
const _: () = assert!(RECORD_HEADER_BYTES < BLOCK_BYTES);
const _: () = assert!(NODE_DATA_BYTES_MAX + PATH_BYTES_MAX + 1024 <= REQUEST_BYTES_MAX, "a full node fits a request");
const _: () = assert!(
    BATCH_BYTES_TARGET + REQUEST_BYTES_MAX + 4096 <= VALUE_BYTES_MAX,
    "a batch and its last command fit a value"
);
const _: () = assert!(PENDING_BYTES_MAX >= 4 * VALUE_BYTES_MAX);
const _: () = assert!(NAME_BYTES_MAX < PATH_BYTES_MAX);
const _: () = assert!(NODE_CHILDREN_MAX < u32::MAX as usize, "a stat counts a node's children");
const _: () = assert!(NODE_CHILDREN_MAX > MULTI_OPS_MAX, "one transaction fills no folder");
const _: () = assert!(REPLY_BYTES_MAX + 4096 <= CLIENT_FRAME_BYTES_MAX, "the largest result fits a frame");
const _: () = assert!(NODE_DATA_BYTES_MAX + 4096 <= REPLY_BYTES_MAX, "a full node fits a result");
const _: () = assert!(LOG_BYTES_MAX <= u32::MAX as usize, "a stat counts a log's bytes");
const _: () = assert!(LOG_RUN_BYTES < LOG_BYTES_MAX && LOG_PIECES_SIDE_BY_SIDE > 1);
const _: () = assert!(LIST_BYTES_MAX + 4096 <= REPLY_BYTES_MAX, "a page of a listing fits a result");
const _: () = assert!(
    NODE_DATA_BYTES_MAX + PATH_BYTES_MAX + 1024 <= REPLY_BYTES_MAX,
    "a page of a scan holds a full node at least"
);
const _: () =
    assert!(TIMERS_ASKED_MAX * (PATH_BYTES_MAX + 64) <= PENDING_BYTES_MAX, "what is due leaves room for clients");
const _: () = assert!(LIST_BYTES_MAX > 4 + NAME_BYTES_MAX, "a page of a listing holds a name at least");
const _: () = assert!(8 * LOCK_SESSIONS_MAX + PATH_BYTES_MAX + 64 <= REPLY_BYTES_MAX, "a lock's holders fit a result");
const _: () = assert!(
    EVENTS_FRAME_BYTES_TARGET + NODE_DATA_BYTES_MAX + PATH_BYTES_MAX + 1024 <= CLIENT_FRAME_BYTES_MAX,
    "a frame of events fits, its last event being the largest"
);
const _: () =
    assert!(CLIENT_CLOGGED_BYTES + CLIENT_OUTPUT_BYTES_MAX / 2 < CLIENT_OUTPUT_BYTES_MAX, "no gap is needed twice");
const _: () = assert!(SESSION_TIMEOUT_MS_MIN < SESSION_TIMEOUT_MS_MAX);
const _: () = assert!(
    CACHE_LEASE.as_millis() <= SESSION_TIMEOUT_MS_MIN as u64,
    "a session that ends has not been renewed for a cache lease"
);
const _: () =
    assert!(CACHE_RECALL_PATHS_MAX * (PATH_BYTES_MAX + 4) + 64 <= CLIENT_FRAME_BYTES_MAX, "a recall fits a frame");
const _: () = assert!(SLOT_WINDOW >= 2 * JOURNAL_WRITES_IN_FLIGHT as u64);
const _: () = assert!(
    120 + 2 * (12 + CONFIG_BYTES_MAX) + 1 + REPLICAS_MAX * 18 + 4 <= BLOCK_BYTES,
    "two lists, and what each member's disk acknowledged, fit the hard state"
);
const _: () = assert!(REPLICAS_MAX * 18 < CONFIG_BYTES_MAX, "a full list fits, if no addresses are told");
const _: () = assert!(REPLICAS_MAX < 64, "a set of replicas is one 64-bit word");
