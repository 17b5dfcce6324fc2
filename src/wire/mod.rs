//! What travels: frames, and the messages of both protocols inside them.
//!
//! Both protocols, a client's and a peer's, are the same [`frame`]s with different magic numbers and kinds. A frame is
//! a 24-byte header and a body; [`frame::FrameReader`] cuts a byte stream into frames and judges each before anyone
//! looks into it. [`client`] gives the client protocol's bodies their meaning; the plain values they are made of are
//! written as the namespace's [`codec`](crate::namespace::codec) writes them.
//!
//! A connection of the client protocol, from its first byte:
//!
//! ```text
//! client                                server
//! Hello{resume?}                     ->                      it may take the session over from another process
//!                                    <- Welcome            who serves here, who leads, what fits
//! OpenSession (no resume)            ->
//!                                    <- SessionOpened | SessionResumed | SessionOver | Refused{number: 0}
//! Request 1, Request 2, Read, Ping   ->
//!                                    <- Reply 1, Reply 2, ReadReply, Pong
//! Watch 1                            ->
//!                                    <- WatchOpened 1, Events 1 ..., Gap 1, Progress
//! Unwatch 1                          ->
//! Status, Members                    ->                      by whoever asks, with or without a session
//!                                    <- StatusReply, MembersReply
//! Snapshot 1, Snapshot 2             ->                      likewise: an image, piece by piece
//!                                    <- Snapshot 1, Snapshot 2
//! ```
//!
//! # Invariants
//!
//! 1. **Nothing is believed before its checksum.** Magic, version and length are checked first, because without them no
//!    checksum can be found; everything else, the kind included, after.
//! 2. **A declared length allocates nothing.** Memory grows with the bytes that arrived, up to the bound the caller
//!    names.
//! 3. **Decoding borrows, encoding appends.** A request's operation is carried from the receive buffer into the log as
//!    the bytes the client wrote; a reply's outcome from the results table to the socket likewise.
//! 4. **No bytes make a decoder panic.** A malformed body is an error that costs its sender the connection.
//! 5. **A body is read to its end.** Bytes left over are malformed, so that two meanings never share one encoding; what
//!    a later protocol adds is a new kind or a new protocol number, agreed in `Hello` and `Welcome`.
//!
//! # Not here
//!
//! Sockets, time-outs, and what a message makes its receiver do: that is `front/` and `client/`. Compression and
//! encryption: none yet; the checksum guards against faults, not against people.

pub mod cache;
pub mod client;
pub mod frame;
pub mod members;
#[cfg(feature = "server")]
pub mod peer;
pub mod sessions;
pub mod snapshots;
pub mod status;
pub mod watch;

#[cfg(test)]
mod tests;
