//! The same load on other systems: ZooKeeper and etcd, feature `peers`.
//!
//! A figure says something only beside another one taken in the same hour on the same host. So that the comparison is of
//! the servers, both are asked by the very generator that asks Quorate: same keys, values, mix, arrivals, clock, checks
//! and thread. A client here only turns questions ([`super::Ask`]) into the system's own protocol and answers back.
//!
//! ```text
//! zookeeper   its client protocol: framed requests pipelined on a session, replies in order
//! etcd        its gRPC, spoken on bare HTTP/2: a stream a question;   grpc   what stands in one
//! ```
//!
//! What needs no other crate is built for the unit tests without the feature too, so that every run of them has it.
//!
//! # Invariants
//!
//! 1. **In doubt the choice favours the peer.** No library of theirs is in between, which costs the shared cores less than
//!    their own clients do; replies are parsed no further than the checks need.
//! 2. A client that loses its connection takes the next server, as theirs do; what was under way is of unknown outcome
//!    and never asked again.
//! 3. What a system calls the order of a key's writes, and how it counts them, is its own ([`super::Numbers`]); both are
//!    verified as Quorate's are.
//!
//! # Deliberately not here
//!
//! Watches, locks and leases: compared when the bench of Quorate has them. TLS and authentication: all three are measured
//! without.

#[cfg(feature = "peers")]
mod etcd;
mod grpc;
mod zookeeper;

#[cfg(feature = "peers")]
pub use etcd::Etcd;
pub use zookeeper::ZooKeeper;

use crate::time::Duration;

/// A connection that owes an answer and is silent for this long is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause before the next server is tried.
const PAUSE: Duration = Duration::from_millis(10);
