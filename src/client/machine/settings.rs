//! What a machine is told once, when it is made.

use crate::namespace::command::SessionId;
use crate::paxos::ballot::CellId;
use crate::time::Duration;

/// How a machine behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses of the cell's replicas, some at least; the others are learned.
    pub endpoints: Vec<String>,
    /// The cell to talk to; any if `None`.
    pub cell: Option<CellId>,
    /// What the client calls itself, for the servers' diagnostics.
    pub name: String,
    /// Whom to be connected to.
    pub prefer: Prefer,
    /// The session's timeout to ask for; the cell has its bounds.
    pub session_timeout: Duration,
    /// How long to hope for the session after its lease ran out.
    pub grace: Duration,
    /// How long to try for a session at first.
    pub open_timeout: Duration,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a connection may be silent while it owes an answer; doubled with each attempt that comes to nothing.
    pub patience: Duration,
    /// The pause between attempts, once every endpoint was tried: from this, doubled each time ...
    pub backoff_min: Duration,
    /// ... up to this.
    pub backoff_max: Duration,
    /// Calls that may wait for an answer.
    pub calls_max: usize,
    /// The session to take over, by its `secret`, instead of opening one.
    pub resume: Option<SessionId>,
    /// Finds the session again if its opening has to be repeated, and tells this client from others that may have the session
    /// before or after: any number of the client's own.
    pub token: u64,
    /// Proves that the session is the client's: must be drawn by a good generator.
    pub secret: u128,
    /// Seeds what need not be unpredictable: jitter, and the order of endpoints.
    pub seed: u64,
}

/// Whom a client wants to be connected to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Prefer {
    /// The leader: the shortest way for requests and for reads.
    #[default]
    Leader,
    /// Any replica: spreads the connections.
    Any,
    /// Any replica but the leader, while there is another: leaves the leader to its writes.
    Follower,
}
