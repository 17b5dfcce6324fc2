//! Answers that clients keep, as far as a front has to do with them: it carries wishes to the leader and words back.
//!
//! The front knows nothing of who keeps what; the leader's cache does. A read whose answer is to be kept waits for a read
//! point even under the lease, so that the leader knows of it before the answer is looked up. And it is answered to a connection
//! only that has the session still when that point is applied: so a process that has lost its session is given nothing to
//! keep beyond the takeover, though the leader let the session keep it.

use std::collections::BTreeSet;

use super::connection::Fault;
use super::pings::Ping;
use super::reads::Cached;
use super::{ConnectionId, Front};
use crate::limits::CACHE_LEASE;
use crate::namespace::command::SessionId;
use crate::replica::exchange::FrontRequest;
use crate::wire::cache::{CacheAsk, CacheTold, Recall, Wish, Word};
use crate::wire::client::{Consistency, ServerMessage};

impl Front {
    /// A client that keeps answers says something.
    pub(super) fn cache_asked(&mut self, id: ConnectionId, ask: CacheAsk<'_>) -> Result<(), Fault> {
        let Some(session) = self.session_of(id) else {
            return Err(Fault::out_of_turn("answers are kept by sessions: open one and wait for it"));
        };
        match ask {
            CacheAsk::Renew { number } => {
                self.pings.push(id, Ping { number, renews: true });
                Ok(())
            }
            CacheAsk::Read { number, read } => self.read(id, number, (Consistency::Linearizable, Cached::Wished), read),
            CacheAsk::Recalled { reign, number } => {
                self.requests.push(FrontRequest::Recalled { session, reign, number });
                Ok(())
            }
        }
    }

    /// What the clients of this ticket wish of the leader's cache.
    pub(super) fn wish(&mut self, ticket: u64) -> Wish {
        let renewing = self.pings.ready().iter().filter(|(_, ping)| ping.renews);
        let renew: BTreeSet<_> = renewing.filter_map(|(id, _)| self.session_of(*id)).collect();
        let session_of = |id: ConnectionId| self.connections.get(&id).and_then(|connection| connection.session);
        Wish { renew: renew.into_iter().collect(), keep: self.reads.ask_to_keep(ticket, session_of) }
    }

    fn session_of(&self, id: ConnectionId) -> Option<SessionId> {
        self.connections.get(&id).and_then(|connection| connection.session)
    }

    /// The sessions that spoke, each once: there are never more of them than a message may name, however often they spoke.
    pub(super) fn who_spoke(&self) -> Vec<SessionId> {
        let sessions: BTreeSet<_> = self.pings.ready().iter().filter_map(|(id, _)| self.session_of(*id)).collect();
        sessions.into_iter().collect()
    }

    /// The leader, having heard those pings, has proved that it leads; or there is none.
    pub(super) fn answer_pings(&mut self, ticket: u64, led: bool, withheld: &[SessionId], word: &Word) {
        let renewed: BTreeSet<_> = word.renewed.iter().copied().collect();
        for (id, ping) in self.pings.take(ticket) {
            let Ping { number, renews } = ping;
            let Some(connection) = self.connections.get(&id) else { continue };
            let session = connection.session;
            if cfg!(bug = "47") && !led {
                continue;
            }
            if !led || session.is_some_and(|session| withheld.contains(&session)) {
                // A client does not speak twice while it waits for an answer, however much else it hears.
                self.pings.was_not_heard(id, ping);
                self.reads.retry_later();
                continue;
            }
            if renews && session.is_some_and(|session| renewed.contains(&session)) {
                let lease_ms = CACHE_LEASE.as_millis() as u32;
                self.say(id, &ServerMessage::Cache(CacheTold::Renewed { number, lease_ms }));
            } else {
                self.say(id, &ServerMessage::Pong { number });
            }
        }
    }

    /// A client is to drop answers. If it is not here any more, its lease runs out.
    pub(super) fn recall(&mut self, session: SessionId, recall: Recall) {
        if let Some(id) = self.sessions.get(&session).copied() {
            self.say(id, &ServerMessage::Cache(CacheTold::Recall(recall)));
        }
    }
}
