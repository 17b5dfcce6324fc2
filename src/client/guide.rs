//! From nothing to a fenced lock in five steps.
//!
//! The examples are whole files; `tests/process/guide` compiles them and runs them on a real cell, whose leader is killed
//! between the steps. A cell to try them on: `quorate dev`.
//!
//! # 1. Connect
//!
//! A [`Client`](super::Client) is a session: what it does takes effect in order, each call once, whatever becomes of connections and
//! replicas. Clones share it, from any thread. Each call gives an [`Op`](super::Op), which is under way already; `wait()` for it, or
//! await it on any runtime.
//!
#![doc = concat!("```no_run\n", include_str!("../../tests/process/guide/connect.rs"), "```")]
//!
//! # 2. Write and read
//!
//! Nodes are small files in a tree. Every node has a version, and a write can name the one it expects. Reads reflect every
//! write that anybody was acknowledged before, unless asked for [less](super::Consistency).
//!
#![doc = concat!("```no_run\n", include_str!("../../tests/process/guide/write.rs"), "```")]
//!
//! A client that reads the same nodes again and again may [keep](super::ClientBuilder::cache) the answers: `get`, `exists` and
//! `list` then take no message, and are as linearizable as before, because the cell has a client drop what a write is about to
//! change. `quorate status --json` tells what is kept, and how often writes had to wait for it.
//!
//! # 3. Watch
//!
//! A [`Watch`](super::Watch) tells of everything that happens to a node, its children or all below it, once and in order,
//! across reconnections.
//!
#![doc = concat!("```no_run\n", include_str!("../../tests/process/guide/watch.rs"), "```")]
//!
//! # 4. Live and let know
//!
//! Ephemeral nodes and locks are the session's. The client says of itself when it can no longer be sure of them
//! ([`SessionEvents`](super::SessionEvents), [`is_safe`](super::Client::is_safe)): earlier than the cell gives them to others.
//!
#![doc = concat!("```no_run\n", include_str!("../../tests/process/guide/live.rs"), "```")]
//!
//! # 5. Lock, and fence
//!
//! A lock says who may; only a fence stops who no longer may and does not know it yet. So each holder has a token greater
//! than that of every holder before: the cell checks it on [guarded](super::LockGuard::guarded) writes, and other services
//! with a [`Fence`](super::recipes::Fence). A call waits as long as its session may live: in jeopardy, `wait()` can outlast the
//! lock. Whoever has to stop in time asks for `.within(guard.held_for())`.
//!
#![doc = concat!("```no_run\n", include_str!("../../tests/process/guide/lock.rs"), "```")]
//!
//! From here: [`recipes`](super::recipes) has elections, semaphores, barriers, groups and queues made of these. A
//! [`Log`](super::Log) holds records instead of data: appended once, read from any position, followed as they come.
//! [`features`](super::features) is for those who know Chubby or ZooKeeper: what each of their features is here.
