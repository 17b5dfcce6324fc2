//! The server: one process of a cell, driving a replica and its fronts with the runtime.
//!
//! This is the only folder, beside the command line, that knows both the pure parts and the runtime. A turn of a loop
//! is always the same: the ring waits, then hands over what happened; bytes become inputs; the pure parts step; their
//! effects become disk writes and frames, which leave with the next submission.
//!
//! | file | |
//! |---|---|
//! | [`config`], [`failure`] | what an operator writes, and what an operator reads when something is wrong |
//! | [`folder`] | a replica's folder: made by `format`, held by one process |
//! | [`snapshot`] | an image outside its cell, and a new cell made from it |
//! | `run` | listeners, loops, threads |
//! | `start` | from a folder to a replica: the journal is read, judged and applied |
//! | [`measured`] | what was measured of the disk, and which way to durable writes follows |
//! | `images` | images in the folder: the newest whole one is where a start begins |
//! | `core`, `jobs` | the replica's core: peers, disk, effects; what it has done in the background |
//! | `ends` | why a running replica ends by itself |
//! | `links`, `names` | connections to the other replicas, and where those are |
//! | `roster` | who the members are, and where: by the log, and by the file |
//! | `clients` | a front's core: client connections |
//! | `solo`, `many` | the loops: everything on one core, or a core for the replica and one for each front |
//! | `published` | what the replica's core shows the fronts' cores |
//! | `effort` | what the loops ask of the kernel |
//! | `standstill` | a leader that cannot decide a slot: when that is said, and how often |
//! | `service` | what the service manager is told: ready, status, signs of life |
//! | `stop` | SIGTERM: the leadership is handed over first |
//!
//! Invariants:
//!
//! 1. What the fronts must know of a turn (changes, the end of a lease) is shown to them before any frame of that turn
//!    leaves.
//! 2. A disk error ends the process. Nothing is retried, nothing more is said. (No room for a *new* file is no error:
//!    what was promised rests on files that are there in full.)
//! 3. One reading of the clock a turn; the check of a lease takes its own, after the answers are made.
//! 4. The service manager gets a sign of life only while the loop of every core turns, no disk write is overdue and
//!    what is chosen is applied.

mod clients;
pub mod config;
mod core;
mod effort;
mod ends;
pub mod failure;
pub mod folder;
mod images;
mod jobs;
mod links;
mod many;
pub mod measured;
mod names;
mod published;
mod roster;
mod run;
mod service;
pub mod snapshot;
mod solo;
mod standstill;
mod start;
mod stop;

pub use self::core::Ended;
pub use config::Config;
pub use failure::{Code, Failure};
pub use folder::{Formatted, Purpose, format, whose};
pub use run::run;
