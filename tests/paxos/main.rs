//! The Paxos core alone: several in one thread, on a network and disks that do what they are told.
//!
//! | file | what |
//! |---|---|
//! | `golden` | conversations, as text to be reviewed: `tests/golden/paxos` |
//! | `random` | many schedules of loss, doubling, reordering and crashes |
//! | `members` | changes of the member list |
//! | `evidence` | what damaged and torn votes make of phase 1 |
//! | `catch_up` | who missed much |
//! | `cell` | the cores, their network and their disks |
//! | `lists` | which member list is in force for which slot: what oracles count by, the simulator's too |

#![cfg(feature = "server")]

mod catch_up;
mod cell;
mod evidence;
mod golden;
mod lists;
mod members;
mod random;
