//! One thread, one core, one ring: everything that touches the kernel.
//!
//! # What it is for
//!
//! The rest of the server is a function of its inputs. This folder turns the kernel into those inputs (bytes arrived, a
//! write is durable, another core has something for you) and the effects back into kernel requests. It has never heard
//! of Paxos, and it is the only folder with `unsafe`.
//!
//! # The story of a turn
//!
//! ```text
//!            +------------------------------ one turn ------------------------------+
//!  caller    | re-arm what ended   one vectored send     ONE io_uring_enter:        |   handler(ring, event)
//!  queues -->| (accept, receive) + per connection with --> submits everything, -----+--> Received, Written, Woken ...
//!  effects   |                     something queued        sleeps until a completion|   queues effects for the next
//!            +----------------------------------------------------------------------+   turn
//! ```
//!
//! A caller loops over [`Ring::turn`]. Inside the handler, and between turns, it calls [`Ring::send`],
//! [`Ring::write_durable`], [`Ring::close`]: they only queue; the next turn hands them to the kernel in one system call.
//! Nothing waits on a timer to fill a batch: what gathers while a turn is under way is the next batch.
//!
//! # The rooms
//!
//! | file | what it holds |
//! |---|---|
//! | `ring.rs` | the loop: options, events, the turn, set-up and the orderly end |
//! | `listener.rs` | accepting connections |
//! | `socket.rs` | connections: connect, receive, send, close |
//! | `outgoing.rs` | one vectored send in flight |
//! | `write.rs` | durable writes to registered files |
//! | `receive.rs` | the buffers the kernel receives into |
//! | `tag.rs` | what a completion belongs to, packed into 64 bits |
//! | `wake.rs` | waking a sleeping ring from another thread |
//! | `mesh.rs` | bounded one-way channels between cores |
//! | `disk.rs` | files opened for direct writes, aligned reads, the folder's lock |
//! | `background.rs` | bulk file work on a thread and an executor of its own |
//! | `clock.rs`, `cores.rs` | reading the clocks; pinning a thread to a core |
//! | `probe.rs` | what this kernel can do for a ring |
//! | `process.rs` | which process this is; the crate has it as [`crate::process`], for the client library is built without the rest |
//!
//! # Invariants
//!
//! 1. Memory lent to the kernel outlives the request: it is owned by the ring's tables until the completion has been
//!    taken, and a ring that is dropped waits for every request first (and leaks the memory if one never ends).
//! 2. A slot (here a place in one of the ring's tables, for a connection, a write or a file) is reused only when no request
//!    of its former owner is in flight, and every tag carries the slot's generation: a late completion reaches nobody.
//! 3. `Written` with success means: every byte was written, and a flush that began after the write has ended. Where the
//!    flush is a request of its own, the two are one submission that is never split; if the kernel splits it the ring fails.
//! 4. The bytes of a connection leave in the order of [`Ring::send`]: one send is in flight per connection.
//! 5. Each connection that was reported (`Accepted`, or returned by `connect`) ends exactly once: by one `Closed` or
//!    `ConnectFailed` event, or by the caller's own `close`, after which nothing more is reported of it.
//! 6. A wake is never lost: whoever publishes before waking is seen by the `Woken` that follows. At most one wake-up of
//!    a ring is under way at a time, and none is made while the ring is awake.
//!
//! # Deliberately not here
//!
//! No async runtime and no futures on the hot path. No timers: the caller knows its next deadline and passes it to
//! `turn`. No retry of a failed write or flush: whether that is fatal is the caller's decision (it is). No zero-copy
//! sends: for the frames sent here, the notification costs more than the copy.

pub mod background;
pub mod clock;
pub mod cores;
pub mod disk;
mod listener;
pub mod mesh;
mod outgoing;
pub mod probe;
mod receive;
mod ring;
mod socket;
mod tag;
mod wake;
mod write;

pub use listener::ListenerId;
pub use ring::{Counters, Durability, Event, Handler, Options, Ring, SetupError};
pub use socket::{CloseReason, ConnectionId};
pub use wake::Waker;
pub use write::FileId;
