//! What clients say: each frame judged by where its connection stands, and passed on to whom it is for.

use super::connection::{Fault, Opening};
use super::pings::Ping;
use super::reads::Cached;
use super::{ConnectionId, Front, who};
use crate::limits::{
    BATCH_BYTES_TARGET, NODE_DATA_BYTES_MAX, OVERLOAD_RETRY_MS, REQUEST_BYTES_MAX, SESSION_REQUESTS_IN_FLIGHT,
};
use crate::namespace::codec::OperationRef;
use crate::replica::exchange::FrontRequest;
use crate::wire::client::{
    ClientMessage, FaultCode, Hello, PROTOCOL_MAX, PROTOCOL_MIN, Reason, ServerMessage, Welcome,
};
use crate::wire::frame::Frame;

impl Front {
    pub(super) fn frame(&mut self, id: ConnectionId, frame: Frame<'_>) -> Result<(), Fault> {
        let message = ClientMessage::decode(frame)?;
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.closing) else { return Ok(()) };
        connection.frames += 1;
        if !connection.greeted && !matches!(message, ClientMessage::Hello(_)) {
            return Err(Fault::out_of_turn("say hello first"));
        }
        match message {
            ClientMessage::Hello(hello) => self.hello(id, &hello),
            ClientMessage::OpenSession { token, secret, timeout_ms } => {
                if connection.session.is_some() || connection.opening.is_some() {
                    return Err(Fault::out_of_turn("this connection has its session"));
                }
                if let Some(reason) = self.throttle.refusal(&connection.who) {
                    self.say(id, &ServerMessage::Refused { number: 0, reason });
                    return Ok(());
                }
                let (min, max) = (self.facts.timeout_min.as_millis() as u32, self.facts.timeout_max.as_millis() as u32);
                self.open(id, Opening::New { token, secret, timeout_ms: timeout_ms.clamp(min, max) });
                Ok(())
            }
            ClientMessage::Request { number, acked_upto, operation } => {
                self.request(id, (number, acked_upto), operation, who::check_is_a_clients)
            }
            ClientMessage::Authenticate { number, acked_upto, name, password } => {
                self.authenticate(id, (number, acked_upto), name, password)
            }
            ClientMessage::Read { number, consistency, read } => self.read(id, number, (consistency, Cached::No), read),
            ClientMessage::Cache(ask) => self.cache_asked(id, ask),
            ClientMessage::Ping { number } => {
                self.pings.push(id, Ping { number, renews: false });
                Ok(())
            }
            ClientMessage::Watch { watch, registration } => self.watch(id, watch, &registration),
            ClientMessage::Unwatch { watch } => {
                self.unwatch(id, watch);
                Ok(())
            }
            ClientMessage::Members { number, change } => {
                let trust = self.trust(id);
                self.ask(id, number, |ticket| FrontRequest::Members { ticket, trust, change })
            }
            ClientMessage::Status { number } => self.ask(id, number, |ticket| FrontRequest::Status { ticket }),
            ClientMessage::Snapshot { number, question } => {
                self.ask_snapshot(id, number, question);
                Ok(())
            }
            ClientMessage::Sessions { number, after } => {
                self.ask(id, number, |ticket| FrontRequest::Sessions { ticket, after })
            }
        }
    }

    fn hello(&mut self, id: ConnectionId, hello: &Hello<'_>) -> Result<(), Fault> {
        let connection = self.connections.get_mut(&id).expect("the caller found it");
        if connection.greeted {
            return Err(Fault::out_of_turn("hello is said once"));
        }
        if hello.protocol_max < PROTOCOL_MIN || hello.protocol_min > PROTOCOL_MAX {
            let text = format!("this server speaks protocols {PROTOCOL_MIN} to {PROTOCOL_MAX}");
            return Err(Fault { code: FaultCode::Version, text });
        }
        if hello.cell.is_some_and(|cell| cell != self.facts.cell) {
            let text = format!("this is cell {}", self.facts.cell);
            return Err(Fault { code: FaultCode::WrongCell, text });
        }
        connection.greeted = true;
        connection.seen = hello.seen;
        let welcome = Welcome {
            protocol: hello.protocol_max.min(PROTOCOL_MAX),
            cell: self.facts.cell,
            replica: self.facts.replica,
            leader: self.leader,
            members: self.facts.members.clone(),
            request_bytes_max: REQUEST_BYTES_MAX as u32,
            data_bytes_max: NODE_DATA_BYTES_MAX as u32,
            requests_in_flight_max: SESSION_REQUESTS_IN_FLIGHT as u32,
            revision: self.revision,
        };
        self.say(id, &ServerMessage::Welcome(welcome));
        if let Some(resume) = hello.resume {
            self.resumed += 1;
            let token = self.facts.seed.wrapping_add(self.resumed);
            self.open(id, Opening::Resumed { token, resume });
        }
        Ok(())
    }

    /// Asks the log for a connection's session. Without a leader it is asked when there is one.
    fn open(&mut self, id: ConnectionId, opening: Opening) {
        self.opening.insert(opening.token(), id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.opening = Some(opening);
        }
        if self.leader.is_some() {
            self.put_opening(id);
        }
    }

    /// Takes a session's next request, if `check` lets it pass.
    pub(super) fn request(
        &mut self,
        id: ConnectionId,
        (number, acked_upto): (u64, u64),
        operation: &[u8],
        check: fn(&OperationRef<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let connection = self.connections.get_mut(&id).expect("the caller found it");
        let Some(session) = connection.session else {
            // It asked for a session and does not wait for it: what comes before is not lost, it is refused.
            return Err(Fault::out_of_turn("a request needs a session: open one and wait for it"));
        };
        if operation.len() > REQUEST_BYTES_MAX {
            let text = format!("an operation of {} bytes is past the limit of {REQUEST_BYTES_MAX}", operation.len());
            return Err(Fault { code: FaultCode::TooLarge, text });
        }
        if number == u64::MAX {
            return Err(Fault::out_of_turn("requests are numbered from 1 on, and none could follow this one"));
        }
        if !connection.admits(number) {
            return Ok(());
        }
        if let Some(reason) = self.throttle.refusal(&connection.who) {
            self.refuse(id, number, reason);
            return Ok(());
        }
        if connection.unanswered(number) > SESSION_REQUESTS_IN_FLIGHT as u64 {
            self.refuse(id, number, Reason::Overloaded { retry_after_ms: OVERLOAD_RETRY_MS });
            return Ok(());
        }
        let decoded = OperationRef::decode(operation)?;
        check(&decoded)?;
        let data_bytes = decoded.data_bytes();
        if data_bytes > NODE_DATA_BYTES_MAX {
            // The client was told the limit in the welcome: what comes all the same is kept out of the log.
            let text = format!("{data_bytes} bytes of data are past the limit of {NODE_DATA_BYTES_MAX} for a node");
            return Err(Fault { code: FaultCode::TooLarge, text });
        }
        connection.submitted_upto = number;
        if self.leader.is_some() {
            self.gathering.put_request(session, number, acked_upto, operation);
            if self.gathering.len() >= BATCH_BYTES_TARGET {
                self.cut_run();
            }
        }
        // Without a leader it waits to be sent again: `leader_changed` says so when there is one.
        Ok(())
    }
}
