//! What a client knows of its session.

use crate::paxos::ballot::ReplicaId;

/// Whether the session, and what lives with it, can be relied upon.
///
/// Safe, jeopardy and the grace after it are those of Chubby's sessions (Burrows, OSDI 2006, §2.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SessionState {
    /// No session yet.
    Connecting,
    /// The session's lease holds: the cell will not end it before the client knows.
    Safe,
    /// The lease ran out by the client's own, careful clock. The session may live or be over; calls wait until it is
    /// known.
    Jeopardy,
    /// The session is over. Calls fail.
    Expired,
    /// The client was closed, or could do no more. Calls fail.
    Closed,
}

/// A change in what the client knows of its session.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The session was made, or its lease holds again.
    Safe,
    /// The lease ran out; unless the cell confirms the session within `grace`, it is taken for over.
    Jeopardy {
        /// What was left until then, as of the event: whoever takes it out of the stream late asks
        /// [`Client::grace_left`](super::Client::grace_left).
        grace: std::time::Duration,
    },
    /// Another replica leads; the session goes on.
    Failover {
        /// The new leader.
        leader: ReplicaId,
    },
    /// The session is over.
    Expired,
    /// The client is closed.
    Closed,
}
