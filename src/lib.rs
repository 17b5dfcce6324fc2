//! Quorate: a replicated coordination appliance for dedicated Linux hosts.
//!
//! A *cell* of 3 or 5 hosts agrees, by Multi-Paxos, on one log of commands; every *replica* applies the log to a
//! *namespace* of small files and sessions. One binary (`quorate`) is the server, the command line and the bench;
//! [`client`] is the library that programs use; its [guide](client::guide) is where to begin with it.
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
//! | `bin/quorate` | the command line, one file a subcommand | no |
//!
//! Each folder's `mod.rs` opens with what the folder is for, its story, its invariants, and what is deliberately
//! absent: [`replica`] first, then [`paxos`] and [`namespace`].
//!
//! *Pure* means: no clock, no randomness, no sockets, no files, no threads, no hash-ordered iteration; time and seeds
//! are arguments. The simulator in `tests/sim` replaces `runtime` and `server` and uses everything else as shipped.
//!
//! # Words
//!
//! One word, one meaning, in code, messages and documentation.
//!
//! | word | meaning |
//! |---|---|
//! | cell, replica | the replicas that agree on one log; one of them: a process with a small number and a folder |
//! | incarnation | one life of a replica's disk, 128 bits drawn when its folder was made |
//! | slot, entry | a position in the log; what stands there: a batch of commands, a member list, or nothing (a no-op) |
//! | ballot, reign | (round, replica), ordered: who may propose; the time in which a leader proposes under one |
//! | chosen | accepted by a majority: the slot's entry can never change any more (elsewhere: committed) |
//! | log, journal | the slots that all replicas agree on; the files in which one replica keeps them |
//! | log node | a node that holds records instead of data; nothing of the above |
//! | image, snapshot | the namespace at one slot, in a replica's folder; an image outside its cell |
//! | node, revision | a file and folder in one; the clock of the namespace: one more with each command that changed it |
//! | session, connection | a client's replicated state, with its numbered requests; a socket, which it outlives |
//! | front | what serves the clients connected to one core of a replica |
//! | leader lease | the time in which no other replica can lead, so that the leader may answer reads alone |
//! | read point | a slot which whoever has applied it may answer a read from, as a leader proved it |
//! | ephemeral, transient | a node that ends with its owner's session; one that ends when no session has it open |
//! | `..._upto` | a watermark: everything up to and with that slot. `trimmed <= image <= applied <= chosen` |
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
//! A follower forwards its clients' requests to the leader, and answers them when it has itself applied them. The same
//! way through the code, on a leader of one core, where `server/solo.rs` has the turn of the loop:
//!
//! ```text
//! client/machine/queue.rs      the request has its number, and is sent until it is answered
//! front/messages.rs  request   judged; gathered with others into a Submission
//! replica/fronts.rs  submit    waits in replica/batch.rs; at the turn's end  replica/mod.rs  propose_pending
//! paxos/leader.rs    propose   Output::Send(Accept) to each peer, and Output::Append of its own
//! replica/storage.rs append    journal/writer.rs makes a write of it: Effect::Write, done by runtime/write.rs
//! replica/storage.rs written   Input::Written: paxos/acceptor.rs  durable  frees the vote
//! paxos/leader.rs    on_accepted   a majority: Output::Chosen
//! replica/mod.rs     apply     namespace/apply.rs: changes and outcomes
//! replica/mod.rs     publish   FrontNotice::Applied
//! front/outcomes.rs  applied   watches are told, then the reply is written into the connection's output
//! ```
//!
//! # One read
//!
//! The front that holds the connection waits for the session's earlier writes, answers from its tree, and *then* looks
//! whether the leader lease still holds; only if so the answer leaves. Without a lease, and at a follower, it first
//! asks the leader for a read point: the slot it must have applied. In the code: `front/reads.rs`, from `read` on;
//! `Front::prepare` asks for read points, `Front::finish` answers and then looks; `replica/fronts.rs` `ask_read_point`
//! and `paxos/lease.rs` give one.
//!
//! # Who may import whom
//!
//! [`time`] imports nothing, [`limits`] only [`time`]. [`paxos`] and [`namespace`] do not know each other (an entry is
//! opaque bytes to Paxos). [`journal`] knows Paxos' types. [`runtime`] has never heard of Paxos. Only [`server`] and
//! the binary import [`runtime`]; [`client`] imports neither [`replica`], [`runtime`] nor [`server`].
//! `tests/repository.rs` holds the tree to this.
//!
//! # How it is tested
//!
//! | | |
//! |---|---|
//! | `tests/sim` | a whole cell in one thread and virtual time, under faults, from one seed: the first place to look for a bug |
//! | `tests/process` | real processes, files and sockets, killed under load |
//! | `tests/paxos`, `tests/golden` | conversations of replicas, and the bytes of every message, as text to be reviewed |
//! | `tests/model` | the rules of leases and elections alone, every state of a small model |
//! | `tests/mutants.tsv` | mistakes, *mutants*, which the tests must notice where the code has the mechanism |
//! | `tests/verdicts.tsv` | what `scripts/mutants` came to on each, of those tried since verdicts are kept: by which tests, after how much work |
//! | `tests/sim/corpus.txt` | every seed of the simulator that ever failed: each test run goes through them |
//! | `tests/ledger.tsv` | what `scripts/long-run`, which searches for hours, came to, violations included |
//!
//! `cfg!(bug = "09")` in the code is such a mutant: `scripts/mutants` builds it in to see that it is noticed, and no
//! other build has any.

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
