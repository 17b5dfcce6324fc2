//! The state machine.

pub mod codec;
pub mod command;
