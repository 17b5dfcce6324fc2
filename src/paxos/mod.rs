//! Sans-IO Multi-Paxos.

pub mod ballot;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod message;
#[cfg(feature = "server")]
pub mod value;

pub use ballot::{Ballot, CellId, Incarnation, ReplicaId, Slot};
#[cfg(feature = "server")]
pub use config::{Config, Member, ReplicaSet};
#[cfg(feature = "server")]
pub use message::{Evidence, Message, SlotReport};
#[cfg(feature = "server")]
pub use value::{Draft, Kind, Room, Value};
