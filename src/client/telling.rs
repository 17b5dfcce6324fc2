//! What the driver does, told to whoever listens to `tracing`; without the feature of that name nobody is, and it costs nothing.
//!
//! | level | what |
//! |---|---|
//! | `warn` | the session is in doubt, or over |
//! | `info` | a connection is lost, an attempt failed, the leader changed |
//! | `debug` | each attempt at a connection, and each that stands |

use super::session::SessionEvent;

/// An attempt at a connection begins.
pub(super) fn dials(client: u64, address: &str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(client, address, "connecting");
    #[cfg(not(feature = "tracing"))]
    let _ = (client, address);
}

/// A connection stands.
pub(super) fn connected(client: u64) {
    #[cfg(feature = "tracing")]
    tracing::debug!(client, "connected");
    #[cfg(not(feature = "tracing"))]
    let _ = client;
}

/// A connection, or the attempt at one, failed.
pub(super) fn lost(client: u64, why: &std::io::Error) {
    #[cfg(feature = "tracing")]
    tracing::info!(client, %why, "no connection");
    #[cfg(not(feature = "tracing"))]
    let _ = (client, why);
}

/// The session's state changed.
pub(super) fn session(client: u64, event: &SessionEvent) {
    #[cfg(feature = "tracing")]
    match event {
        SessionEvent::Safe => tracing::debug!(client, "the session is safe"),
        SessionEvent::Failover { leader } => tracing::info!(client, leader = leader.0, "another replica leads"),
        SessionEvent::Jeopardy { grace } => tracing::warn!(client, ?grace, "the session is in doubt"),
        SessionEvent::Expired => tracing::warn!(client, "the session has expired"),
        SessionEvent::Closed => tracing::debug!(client, "the session is closed"),
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (client, event);
}
