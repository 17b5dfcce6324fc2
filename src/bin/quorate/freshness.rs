//! How fresh an answer must be: the flags of every command that reads.

use quorate::client::{Consistency, Revision};

/// Without any, what is read reflects every write that was acknowledged to anybody before.
#[derive(clap::Args)]
pub struct Freshness {
    /// Take what the replica at hand has, which may be old. The session to ask in still takes a majority
    #[arg(long)]
    stale: bool,
    /// Take what the replica at hand has once it holds this revision, like one that `quorate sync` printed
    #[arg(long, value_name = "REVISION", conflicts_with = "stale")]
    at_least: Option<Revision>,
}

impl Freshness {
    /// As the library has it.
    pub fn consistency(&self) -> Consistency {
        match self.at_least {
            Some(revision) => Consistency::AtLeast(revision),
            None if self.stale => Consistency::Stale,
            None => Consistency::Linearizable,
        }
    }
}
