//! Quorate: a replicated coordination appliance for dedicated Linux hosts.
//!
//! A *cell* of 3 or 5 hosts agrees, by Multi-Paxos, on one log of commands; every *replica* applies the log to a
//! *namespace* of small files and sessions. One binary (`quorate`) is the server, the command line and the bench;
//! [`client`] is the library that programs use.
//!
//! # The rooms
//!
//! | folder | what it is | pure? |
//! |---|---|---|
//! | [`limits`], [`time`] | every bound; time as numbers | yes |
//! | [`paxos`] | agreeing on the log: ballots, leases, members, catch-up | yes |
//! | [`journal`] | the log on disk: its format, and how a crash is told from damage | yes |
//! | [`namespace`] | the state machine: nodes, locks, quotas, sessions, results | yes |
//! | [`replica`] | joins the three | yes |
//! | [`wire`] | frames, and both protocols | yes |
//! | [`front`] | client connections, reads, watches | yes |
//! | [`runtime`] | rings, disk, sockets, cores; all `unsafe` is here | no |
//! | [`process`] | the one file of `runtime` that the library has too: which process this is | no |
//! | [`server`] | drives a replica with the runtime | no |
//! | [`client`] | the library; its `machine` is pure | no |
//! | [`mod@bench`] | the load generator behind `quorate bench` | no |
//!
//! *Pure* means: no clock, no randomness, no sockets, no files, no threads, no hash-ordered iteration; time and seeds are
//! arguments. The simulator in `tests/sim` replaces `runtime` and `server` and uses everything else as shipped.
//!
//! # One write
//!
//! ```text
//!  client                leader                                             followers
//!  Request n  ────────▶  front: frame whole, next in its session
//!                        replica: waits for its batch, at most two entries in flight
//!                        paxos: next slot ──Accept──────────────────────▶  journal: aligned write, flush
//!                        journal: aligned write, flush, at the same time    paxos: durable, so ──Accepted──▶
//!                        paxos: a majority has it durably: chosen
//!                        namespace: applied; front: changes and outcomes
//!  Reply n    ◀────────  one send a connection a turn           ──chosen upto──▶  applied there too
//! ```
//!
//! A follower forwards its clients' requests to the leader, and answers them when it has itself applied them.
//!
//! # One read
//!
//! The front that holds the connection waits for the session's earlier writes, answers from its tree, and *then* looks
//! whether the leader lease still holds; only if so the answer leaves. Without a lease, and at a follower, it first asks the
//! leader for a read point: the slot it must have applied.
//!
//! # Who may import whom
//!
//! [`time`] imports nothing, [`limits`] only [`time`]. [`paxos`] and [`namespace`] do not know each other (an entry is opaque bytes to
//! Paxos). [`journal`] knows Paxos' types. [`runtime`] has never heard of Paxos. Only [`server`] and the binary import
//! [`runtime`]; [`client`] imports neither [`replica`], [`runtime`] nor [`server`]. A test holds the tree to this.

#[cfg(feature = "server")]
pub mod bench;
pub mod client;
#[cfg(feature = "server")]
pub mod front;
#[cfg(feature = "server")]
pub mod journal;
pub mod limits;
pub mod namespace;
pub mod paxos;
#[path = "runtime/process.rs"]
pub mod process;
#[cfg(feature = "server")]
pub mod replica;
#[cfg(feature = "server")]
pub mod runtime;
#[cfg(feature = "server")]
pub mod server;
pub mod time;
pub mod wire;
