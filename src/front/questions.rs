//! Questions about the cell itself: how its replica is, which members it has, and which sessions.
//!
//! The replica answers them on its own core, where a page of sessions costs as much as many a write, and nothing of a
//! principal's rate is taken for them. So a connection has one under way at a time, and of all that are there a few are put
//! in a turn, in the order they came: whoever asks for ever, on however many connections, keeps other askers waiting, but
//! neither readers nor writers.

use std::collections::VecDeque;

use super::connection::Fault;
use super::{ConnectionId, Front};
use crate::replica::exchange::FrontRequest;
use crate::wire::client::ServerMessage;

/// Questions that the replica was not asked yet, with their tickets.
pub(super) type Questions = VecDeque<(u64, FrontRequest)>;

impl Front {
    /// A client has a question; `request` makes of its ticket what the replica is to be asked.
    pub(super) fn ask(
        &mut self,
        id: ConnectionId,
        number: u64,
        request: impl FnOnce(u64) -> FrontRequest,
    ) -> Result<(), Fault> {
        let connection = self.connections.get_mut(&id).expect("the caller found it");
        if std::mem::replace(&mut connection.asks, true) {
            return Err(Fault::out_of_turn("one question about the cell at a time: wait for its answer"));
        }
        let ticket = self.ask_as(id, number);
        self.questions.push_back((ticket, request(ticket)));
        Ok(())
    }

    /// A ticket under which the replica's answer finds who asked.
    pub(super) fn ask_as(&mut self, id: ConnectionId, number: u64) -> u64 {
        self.next_ticket += 1;
        self.askers.insert(self.next_ticket, (id, number));
        self.next_ticket
    }

    /// Those whose turn it is.
    pub(super) fn put_questions(&mut self, requests: &mut Vec<FrontRequest>) {
        let mut put = 0;
        while put < QUESTIONS_A_TURN
            && let Some((ticket, request)) = self.questions.pop_front()
        {
            let (id, _) = self.askers[&ticket];
            if self.connections.contains_key(&id) {
                requests.push(request);
                put += 1;
            } else {
                self.askers.remove(&ticket);
            }
        }
    }

    /// The answer, made for the number of the question, goes to who asked.
    pub(super) fn answer_question(&mut self, ticket: u64, answer: impl FnOnce(u64) -> ServerMessage<'static>) {
        let Some((id, number)) = self.askers.remove(&ticket) else { return };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.asks = false;
        }
        self.say(id, &answer(number));
    }
}

/// A page of sessions takes up to a millisecond or so.
const QUESTIONS_A_TURN: usize = 4;
