//! The bytes of commands, reads and answers: one encoding for the log, the image and the client's wire.
//!
//! All numbers are little-endian; a text or a run of bytes is a `u32` length and the bytes; an enum is a `u8` tag and its
//! fields in the order of their declaration. Nothing is padded, nothing optional is left out: an `Option` is a byte
//! 0 or 1 and, after a 1, the value; in a stat, a node's owner is a bare `u64` where 0, which no session has, says none, and what ends the node
//! is its time to live, or 0 for nothing, or all ones for its last child's going, or one less for that of its last handle, and what the node is,
//! is told at its end: a log's first position and 1, or 2 if it is sealed; for any other node nine zeros. Records are a run of bytes, each a length
//! and itself.
//!
//! ```text
//! batch      log_time_ns u64 | wall_ms u64 | count u32 | count x ( length u32 | command )
//! request    4 u8 | session u64 | number u64 | acked_upto u64 | operation          (one kind of command)
//! ```
//!
//! A client's frame carries `acked_upto u64 | operation`, so the server puts the client's own bytes behind
//! [`request_prefix`] and into the log: an operation is encoded once, by the client, and copied once.
//!
//! Invariants:
//! 1. No sequence of bytes makes a decoder panic, or allocate more than a small multiple of what it was given.
//! 2. A decoder takes the whole of its input or refuses it: no two inputs that differ decode to equal values.
//! 3. A decoder judges form only. Whether a path is lawful is the namespace's to say, with a
//!    [`Refusal`](super::command::Refusal) that uses up the request's number; malformed bytes cost a client its connection,
//!    and so do data too large for a node, which are not worth a place in the log (the namespace refuses them all the same).

mod acl;
mod batch;
mod command;
mod handle;
mod lock;
mod log;
mod operation;
mod quota;
mod read;
mod reader;
mod reply;
mod resume;

pub use batch::{BATCH_HEADER_BYTES, Batch, batch_header, command_prefix};
pub use command::{CommandRef, REQUEST_PREFIX_BYTES, request_prefix};
pub use handle::{BirthRef, HandleRef};
pub use lock::SequencerRef;
pub use operation::{OperationRef, StepRef};
pub use read::ReadRef;
pub use reader::{DecodeError, Reader, put_bytes, put_maybe, put_text};
pub use reply::{decode_outcome, decode_read_outcome, encode_outcome, encode_read_outcome};

#[cfg(test)]
pub(crate) mod tests;
