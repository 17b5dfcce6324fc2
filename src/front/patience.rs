//! Clients that take their time: one that says no hello, and one whose frame does not get on. Both hold a place and memory
//! for nothing, and lose their connection.

use std::collections::VecDeque;

use super::{ConnectionId, Front};
use crate::limits::{FRAME_TIMEOUT, HELLO_TIMEOUT};
use crate::time::Instant;
use crate::wire::client::FaultCode;

/// Who is to be looked at, and when; the oldest first.
#[derive(Debug, Default)]
pub(super) struct Patience {
    strangers: VecDeque<(Instant, ConnectionId)>,
    /// In the middle of a frame since the last look.
    begun: Vec<(ConnectionId, u64)>,
    /// Those since before: by when the frame of that number must be whole.
    partial: VecDeque<(Instant, ConnectionId, u64)>,
}

impl Patience {
    /// Somebody connected, who must say hello.
    pub(super) fn opened(&mut self, now: Instant, id: ConnectionId) {
        self.strangers.push_back((now + HELLO_TIMEOUT, id));
    }

    /// A frame has begun, after `frames` whole ones.
    pub(super) fn begun(&mut self, id: ConnectionId, frames: u64) {
        self.begun.push((id, frames));
    }

    /// Who had time enough to say hello.
    pub(super) fn stranger_due(&mut self, now: Instant) -> Option<ConnectionId> {
        let (_, id) = self.strangers.front().copied().filter(|(at, _)| *at <= now)?;
        self.strangers.pop_front();
        Some(id)
    }

    /// Whose frame, after that many whole ones, had time enough.
    pub(super) fn frame_due(&mut self, now: Instant) -> Option<(ConnectionId, u64)> {
        self.partial.extend(self.begun.drain(..).map(|(id, frames)| (now + FRAME_TIMEOUT, id, frames)));
        let (_, id, frames) = self.partial.front().copied().filter(|(at, ..)| *at <= now)?;
        self.partial.pop_front();
        Some((id, frames))
    }

    /// When one of them is due.
    pub(super) fn next_deadline(&self) -> Instant {
        let stranger = self.strangers.front().map_or(Instant::FOREVER, |(at, _)| *at);
        let partial = self.partial.front().map_or(Instant::FOREVER, |(at, ..)| *at);
        let begun = if self.begun.is_empty() { Instant::FOREVER } else { Instant::ZERO };
        stranger.min(partial).min(begun)
    }
}

impl Front {
    /// Ends connections that hold a place for nothing.
    pub(super) fn lose_patience(&mut self, now: Instant) {
        while let Some(id) = self.patience.stranger_due(now) {
            if self.connections.get(&id).is_some_and(|c| !c.greeted) {
                self.fault(id, FaultCode::Unavailable, "no hello came: say it within 5 s of connecting");
            }
        }
        while let Some((id, frames)) = self.patience.frame_due(now) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let waits = connection.reader.as_ref().is_some_and(|reader| reader.buffered() > 0);
            if waits && connection.frames == frames {
                self.fault(id, FaultCode::Unavailable, "a frame was begun and not whole within 30 s");
            } else if waits {
                self.patience.begun(id, connection.frames);
            } else {
                connection.watched = false;
            }
        }
    }
}
