//! Drives a replica with the runtime.

pub mod config;
pub mod failure;

pub use config::Config;
pub use failure::{Code, Failure};
