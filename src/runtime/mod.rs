//! Thread per core: one ring a core, for sockets and the journal alike. All `unsafe` of the project is in this folder.
//!
//! A core is a loop around one [`Ring`]: [`Ring::turn`] submits everything that was asked since the last turn, waits for
//! the first completion, and hands out all that are there. One system call a turn, however many frames and writes it
//! carries. What is asked between two turns ([`Ring::send`], [`Ring::write_durable`], ...) only queues.
//!
//! | file | |
//! |---|---|
//! | [`ring`](self) | the loop: submissions, completions, time-outs |
//! | `buffers` | the pool from which the kernel picks the buffer of each receive |
//! | `connection` | a socket in the ring: its queue of output, its generation |
//! | `writes` | durable writes: an aligned write linked to a data flush |
//! | [`disk`] | opening, zeroing, locking: what is done before a loop runs |
//! | [`mesh`] | bounded rings between two cores |
//! | [`background`] | the executor for what must not disturb a loop; the one file that names glommio |
//! | [`clock`] | the boot clock |
//! | [`core`] | pinning |
//!
//! Invariants:
//!
//! 1. Memory that the kernel may read or write is owned by the ring until the completion that ends the operation: output
//!    buffers, their vectors, the pieces of a write, an address to connect to.
//! 2. A completion is matched by slot *and* generation. A slot is given away again only when no operation on it is left.
//! 3. Files and sockets are registered, and named by their slot.
//! 4. A write is reported durable only if its own completion was full-length and the flush linked behind it succeeded. Both
//!    are in one submission.
//! 5. One vectored send is under way a connection at most, so bytes leave in the order they were queued.
//!
//! Deliberately absent: any knowledge of what the bytes mean; retries of disk operations; registered buffers for the
//! journal's pieces (they are shared with peers' sends and live as long as those; pinning them anew costs little beside a
//! flush).

pub mod background;
mod buffers;
pub mod clock;
mod connection;
pub mod core;
pub mod disk;
pub mod mesh;
mod ring;
mod socket;
mod table;
mod wake;
mod writes;

pub use connection::ConnectionId;
pub use ring::{Counters, Event, FileId, ListenerId, Options, Ring};
pub use wake::Waker;
