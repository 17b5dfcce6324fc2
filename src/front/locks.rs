//! Who is to be told of which lock: sessions that asked where they stand, and were told to wait.
//!
//! A question that stays open for minutes would look like a dead connection and hold up the questions behind it. So "you
//! wait" is an answer, and the front remembers whom it gave it. When a change list brings a lock that a remembered session
//! now holds, or takes the node away, that session's connection alone gets one [`LockTurn`](ServerMessage::LockTurn), and
//! asks again: a linearizable question, which any replica answers. So a message that is lost with its connection is made
//! good by the next connection's question, and one that was not needed does no harm.
//!
//! Who gave its place up is not told; it is forgotten when its connection closes, or when there are too many to remember.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;

use super::{ConnectionId, Front};
use crate::limits::CONNECTION_LOCK_WAITS_MAX;
use crate::namespace::codec::ReadRef;
use crate::namespace::command::{Answer, LockPlace, Refusal, SessionId};
use crate::namespace::{self, Change, Gate};
use crate::wire::client::ServerMessage;

/// Sessions that wait, by the node whose lock they wait for.
#[derive(Debug, Default)]
pub(super) struct LockWaits {
    by_path: HashMap<Arc<str>, BTreeSet<(SessionId, ConnectionId)>>,
    by_connection: HashMap<ConnectionId, BTreeSet<(Arc<str>, SessionId)>>,
}

impl LockWaits {
    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.by_path.is_empty() && self.by_connection.is_empty()
    }

    /// Takes note of the answer to a question. False if one was told to wait for whom there is no room.
    pub(super) fn answered(
        &mut self,
        connection: ConnectionId,
        read: ReadRef<'_>,
        answer: &Result<Answer<&[u8]>, Refusal>,
        gate: &Gate<'_>,
    ) -> bool {
        let ReadRef::AwaitLock { path, session } = read else { return true };
        if !matches!(answer, Ok(Answer::LockPlace { place: LockPlace::Waiting })) {
            self.remove(path, session, connection);
            return true;
        }
        if self.count(connection) >= CONNECTION_LOCK_WAITS_MAX {
            self.sweep(connection, gate);
        }
        if self.count(connection) >= CONNECTION_LOCK_WAITS_MAX {
            return false;
        }
        let path: Arc<str> = Arc::from(path);
        self.by_path.entry(path.clone()).or_default().insert((session, connection));
        self.by_connection.entry(connection).or_default().insert((path, session));
        true
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        for (path, session) in self.by_connection.remove(&connection).unwrap_or_default() {
            self.remove(&path, session, connection);
        }
    }

    /// Takes out whoever has to look again after a change.
    fn concerned(&mut self, change: &Change) -> Vec<ConnectionId> {
        let Some(waiting) = self.by_path.get(&change.path) else { return Vec::new() };
        let concerned: Vec<_> = match &change.node {
            None => waiting.iter().copied().collect(),
            Some(node) => {
                let holders = node.lock.iter().flat_map(|lock| lock.holders());
                let all = (ConnectionId(0), ConnectionId(u64::MAX));
                holders.flat_map(|holder| waiting.range((holder, all.0)..=(holder, all.1))).copied().collect()
            }
        };
        for (session, connection) in &concerned {
            self.remove(&change.path, *session, *connection);
        }
        concerned.into_iter().map(|(_, connection)| connection).collect()
    }

    /// Forgets those of a connection that do not wait any more.
    fn sweep(&mut self, connection: ConnectionId, gate: &Gate<'_>) {
        for (path, session) in self.by_connection.get(&connection).cloned().unwrap_or_default() {
            let place = namespace::answer(gate, ReadRef::AwaitLock { path: &path, session });
            if place != Ok(Answer::LockPlace { place: LockPlace::Waiting }) {
                self.remove(&path, session, connection);
            }
        }
    }

    fn remove(&mut self, path: &str, session: SessionId, connection: ConnectionId) {
        if let Some(waiting) = self.by_path.get_mut(path) {
            waiting.remove(&(session, connection));
            if waiting.is_empty() {
                self.by_path.remove(path);
            }
        }
        if let Some(paths) = self.by_connection.get_mut(&connection) {
            paths.remove(&(Arc::from(path), session));
            if paths.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
    }

    fn count(&self, connection: ConnectionId) -> usize {
        self.by_connection.get(&connection).map_or(0, BTreeSet::len)
    }
}

impl Front {
    /// Tells those whose turn has come.
    pub(super) fn locks_changed(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|_| !cfg!(bug = "39")) {
            for id in self.lock_waits.concerned(change) {
                self.say(id, &ServerMessage::LockTurn { path: &change.path });
            }
        }
    }
}
