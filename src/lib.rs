//! Quorate: a replicated coordination appliance. (The map: written last.)

#[cfg(feature = "server")]
pub mod journal;
pub mod limits;
pub mod namespace;
#[cfg(feature = "server")]
pub mod paxos;
#[cfg(feature = "server")]
pub mod runtime;
pub mod time;
