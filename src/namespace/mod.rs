//! The state machine.

pub mod command;
