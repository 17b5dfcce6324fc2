//! Real processes, real files, real sockets, real kills.
//!
//! Each test runs a cell of `quorate start` processes in a folder of its own, under load from the client library, and
//! does something cruel to it. What must hold is always the same, and checked the same way ([`load`]): no acknowledged
//! write is lost, none is applied twice, no linearizable read is stale, and every request that was made is answered in
//! the end. What takes root is passed over without it, and says so ([`privileges`]).
#![allow(clippy::disallowed_methods, reason = "these tests live in real time, and wait for what real processes do")]

mod acls;
mod actors;
mod bench;
mod caching;
mod cell;
mod crashes;
mod crowds;
mod dev;
mod device;
mod disk;
mod divergence;
mod examples;
mod executors;
mod guarded;
mod guide;
mod handles;
mod host;
mod images;
mod load;
mod locks;
mod logs;
mod members;
mod negotiation;
mod newer_format;
mod nodes;
mod old_folder;
mod printed;
mod privileges;
mod proxy;
mod recipe_commands;
mod recipe_examples;
mod recipes;
mod refusals;
mod saved_sessions;
mod sessions;
mod shell;
mod snapshots;
mod standstill;
mod storage;
mod three_hosts;
mod throttle;
mod traps;
mod trials;
mod txn;
mod watching;
