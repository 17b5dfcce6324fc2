//! Sans-IO Multi-Paxos.

pub mod ballot;
pub mod config;
pub mod message;
pub mod value;

pub use ballot::{Ballot, CellId, Incarnation, ReplicaId, Slot};
pub use config::{Config, Member, ReplicaSet};
pub use message::{Evidence, Message, SlotReport};
pub use value::{Draft, Kind, Room, Value};
