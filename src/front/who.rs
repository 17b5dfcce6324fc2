//! Whom connections stand for: proved here, known from the log.
//!
//! A client says a user's name and password; the front puts the digest of both into the log, with a mark if that is the super
//! principal of the configuration, as the session's request. What came of it, and whom a session that is taken up again
//! stands for, the log's outcomes tell. So a front believes only what is chosen, and never forgets a password late: it
//! keeps none.

use core::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;

use super::connection::Fault;
use super::{ConnectionId, Front};
use crate::namespace::acl::{Principals, User};
use crate::namespace::codec::OperationRef;
use crate::namespace::command::{Operation, SessionId};

impl Front {
    /// A client proves to be a user, as request `number` of its session.
    pub(super) fn authenticate(
        &mut self,
        id: ConnectionId,
        (number, acked_upto): (u64, u64),
        name: &str,
        password: &str,
    ) -> Result<(), Fault> {
        let user = User::new(name, password);
        let is_super = self.facts.super_user.as_ref() == Some(&user);
        let mut operation = BytesMut::new();
        Operation::Authenticate { user, is_super }.encode(&mut operation);
        self.request(id, (number, acked_upto), &operation, |_| Ok(()))
    }

    /// The log says whom the session stands for.
    pub(super) fn stands_for(&mut self, session: SessionId, who: Arc<Principals>) {
        let id = self.sessions.get(&session);
        if let Some(connection) = id.and_then(|id| self.connections.get_mut(id)) {
            connection.who = who;
        }
    }

    /// From where a client is connected.
    pub(super) fn address_of(&self, id: ConnectionId) -> Option<IpAddr> {
        self.connections.get(&id).and_then(|connection| connection.who.address)
    }
}

/// Refuses what only a front may put into the log.
pub(super) fn check_is_a_clients(operation: &OperationRef<'_>) -> Result<(), Fault> {
    if matches!(operation, OperationRef::Authenticate { .. }) {
        return Err(Fault::out_of_turn("whom a session stands for is proved with a password, in a message of its own"));
    }
    Ok(())
}
