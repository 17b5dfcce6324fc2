//! Quorate: a replicated coordination appliance. (The map: written last.)

#[cfg(feature = "server")]
pub mod bench;
pub mod client;
#[cfg(feature = "server")]
pub mod journal;
pub mod limits;
pub mod namespace;
pub mod paxos;
#[cfg(feature = "server")]
pub mod server;
pub mod time;
pub mod wire;
