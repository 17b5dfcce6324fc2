//! Every bound of the system, with its argument, and the relations between them proved at compile time.

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

/// The largest data of one node, in bytes (ZooKeeper's default; Chubby's was a quarter).
pub const NODE_DATA_BYTES_MAX: usize = 1 << 20;

/// The longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;

/// The longest name of one path component, in bytes (a file system's usual bound).
pub const NAME_BYTES_MAX: usize = 255;

/// The deepest path, in components.
pub const PATH_DEPTH_MAX: usize = 64;

/// The largest client request, in bytes: a node's data with its path, or a `multi` of some smaller ones.
pub const REQUEST_BYTES_MAX: usize = 2 << 20;

/// Operations in one `multi`.
pub const MULTI_OPS_MAX: usize = 4096;

/// The largest frame on a client connection, header included, in bytes.
pub const CLIENT_FRAME_BYTES_MAX: usize = REQUEST_BYTES_MAX + (64 << 10);

/// The largest frame on a peer link, header included, in bytes.
pub const PEER_FRAME_BYTES_MAX: usize = VALUE_BYTES_MAX + (64 << 10);

/// Slots that may be open (proposed, not chosen) at once; also how far ahead of the applied state a leader proposes, and
/// the distance at which a configuration takes force. Phase 1 covers at most this many slots.
pub const SLOT_WINDOW: u64 = 64;

/// Journal writes in flight at once: two gain a sixth over one, four add latency and little else.
pub const JOURNAL_WRITES_IN_FLIGHT: usize = 2;

/// Requests of one session that may be unanswered at once.
pub const SESSION_REQUESTS_IN_FLIGHT: usize = 4096;

/// Results kept for one session until its client acknowledges them: the in-flight bound, since a client acknowledges
/// what it was answered with its next request.
pub const SESSION_RESULTS_MAX: usize = SESSION_REQUESTS_IN_FLIGHT;

/// Replicas in one cell, learners included.
pub const REPLICAS_MAX: usize = 13;

const _: () = assert!(BLOCK_BYTES.is_power_of_two());
const _: () = assert!(RECORD_HEADER_BYTES < BLOCK_BYTES);
const _: () = assert!(NODE_DATA_BYTES_MAX + PATH_BYTES_MAX + 1024 <= REQUEST_BYTES_MAX, "a full node fits a request");
const _: () = assert!(
    BATCH_BYTES_TARGET + REQUEST_BYTES_MAX + 4096 <= VALUE_BYTES_MAX,
    "a batch and its last command fit a value"
);
const _: () = assert!(NAME_BYTES_MAX < PATH_BYTES_MAX);
const _: () = assert!(SLOT_WINDOW >= 2 * JOURNAL_WRITES_IN_FLIGHT as u64);
const _: () = assert!(REPLICAS_MAX < 64, "a set of replicas is one 64-bit word");
