//! Asking one replica how it is, which sessions it knows, and who the members are.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::BytesMut;

use super::clock;
use super::credentials::Credentials;
use super::error::{Error, Outcome, Result};
use super::socket::unreached;
use super::target::Target;
use crate::limits::CLIENT_FRAME_BYTES_MAX;
use crate::namespace::codec::decode_outcome;
use crate::namespace::command::{Operation, SessionId};
use crate::paxos::MemberChange;
use crate::time::Instant;
use crate::wire::client::{
    ClientMessage, FaultCode, Hello, MemberAddress, MessageError, PROTOCOL_MAX, PROTOCOL_MIN, ServerMessage,
    SessionsPage, Status, Welcome,
};
use crate::wire::frame::{CLIENT_MAGIC, FrameReader};
use crate::wire::members::{ChangeAnswer, Members};

/// What one replica says of itself and of its cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The replica.
    pub status: Status,
    /// The cell's members, and where clients find them.
    pub members: Vec<MemberAddress>,
}

/// Asks the replica at `endpoint` (`host:port`), and no other, how it is; waits for at most `timeout`. It needs no session,
/// and is answered whether or not the cell has a leader.
///
/// [`Error::BadTarget`] if `endpoint` is not one address; [`Error::Silent`] if there is no connection to it, and
/// [`Error::Deadline`] or [`Error::Io`] if the answer stays out; [`Error::WrongCell`] if it names a `cell`, and it is
/// another one's; [`Error::Version`] or [`Error::Protocol`] if the two do not understand each other.
pub fn status(endpoint: &str, timeout: Duration) -> Result<Report> {
    let (members, status) = ask(endpoint, timeout, &ClientMessage::Status { number: 1 }, |answer| match answer {
        ServerMessage::StatusReply { status, .. } => Some(status),
        _ => None,
    })?;
    Ok(Report { status, members })
}

/// The sessions that live after `after` ([`SessionId`]`(0)`: from the first on), by id, as far as the replica at `endpoint`
/// knows; a page of them. As [`status`], errors included.
pub fn sessions(endpoint: &str, after: SessionId, timeout: Duration) -> Result<SessionsPage> {
    let (_, page) = ask(endpoint, timeout, &ClientMessage::Sessions { number: 1, after }, |answer| match answer {
        ServerMessage::SessionsReply { page, .. } => Some(page),
        _ => None,
    })?;
    Ok(page)
}

/// Asks the replica at `endpoint`, and no other, for the cell's members, and to make `change` of them. Only the leader
/// makes one; it answers when the change is proposed, and the list tells when it is made. Where the cell has a super
/// principal or an access list, those of the super principal must be among the `credentials`: a change is
/// [`Error::NotSuper`] without. A change that is not made is an answer. Otherwise it fails as [`status`] does, and for
/// credentials that cannot be, as [`Client::authenticate`](super::Client::authenticate) does.
pub fn members<'a>(
    endpoint: &str,
    change: Option<MemberChange>,
    credentials: impl IntoIterator<Item = &'a Credentials>,
    timeout: Duration,
) -> Result<Members> {
    let (mut line, _) = Line::open(endpoint, "members", timeout)?;
    if change.is_some() {
        credentials.into_iter().try_for_each(|credentials| line.introduce(credentials, timeout))?;
    }
    let question = ClientMessage::Members { number: 1, change };
    let members = line.ask(timeout, &question, |answer| match answer {
        ServerMessage::MembersReply { members, .. } => Some(members),
        _ => None,
    })?;
    if members.answer == ChangeAnswer::NotAuthorized { Err(Error::NotSuper) } else { Ok(members) }
}

/// Asks one replica one question; `pick` knows its answer. Gives what the replica says of its cell's members as well.
fn ask<T>(
    endpoint: &str,
    timeout: Duration,
    question: &ClientMessage<'_>,
    pick: impl Fn(ServerMessage<'_>) -> Option<T>,
) -> Result<(Vec<MemberAddress>, T)> {
    let (mut line, welcome) = Line::open(endpoint, "status", timeout)?;
    Ok((welcome.members, line.ask(timeout, question, pick)?))
}

/// A connection for questions that one replica answers out of itself; without a session, unless it is to stand for somebody.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    reader: FrameReader,
    session: Option<Session>,
}

/// The session of a line, which asks for nothing but to stand for users, and is kept alive by the questions.
#[derive(Debug)]
struct Session {
    /// The last request made.
    requests: u64,
    pinged: Instant,
    every: Duration,
}

impl Line {
    /// Connects to the replica at `endpoint`, and no other, and says hello.
    pub(super) fn open(endpoint: &str, name: &str, timeout: Duration) -> Result<(Self, Welcome)> {
        let target: Target = endpoint.parse()?;
        let [endpoint] = target.endpoints.as_slice() else {
            return Err(Error::BadTarget { why: "one replica is asked at a time".to_owned() });
        };
        let deadline = clock::now() + timeout.into();
        let silent = |error: std::io::Error| Error::Silent { endpoint: endpoint.clone(), why: unreached(&error) };
        let stream = connect(endpoint, deadline).map_err(silent)?;
        let mut line = Self { stream, reader: FrameReader::new(CLIENT_MAGIC), session: None };
        let (protocol_min, protocol_max) = (PROTOCOL_MIN, PROTOCOL_MAX);
        let hello = Hello { protocol_min, protocol_max, cell: target.cell, name, seen: 0, resume: None };
        let left = left(deadline, timeout)?;
        let welcome = line.ask(left, &ClientMessage::Hello(hello), |answer| match answer {
            ServerMessage::Welcome(welcome) => Some(welcome),
            _ => None,
        })?;
        Ok((line, welcome))
    }

    /// Has its session, which it opens if it has none, stand for that user too.
    pub(super) fn introduce(&mut self, credentials: &Credentials, timeout: Duration) -> Result<()> {
        let acked_upto = self.session.as_ref().map_or(0, |session| session.requests);
        let number = acked_upto + 1;
        match &mut self.session {
            Some(session) => session.requests = number,
            None => self.open_session(number, timeout)?,
        }
        let (name, password) = credentials.parts();
        let prove = ClientMessage::Authenticate { number, acked_upto, name, password };
        self.ask(timeout, &prove, |answer| match answer {
            ServerMessage::Reply { number: of, outcome, .. } if of == number => Some(proved(outcome)),
            _ => None,
        })?
    }

    /// Opens a session, in which that many requests are about to be made.
    fn open_session(&mut self, requests: u64, timeout: Duration) -> Result<()> {
        let mut seeds = [0; 24];
        getrandom::fill(&mut seeds).map_err(std::io::Error::other)?;
        let (token, secret) = seeds.split_at(8);
        let token = u64::from_le_bytes(token.try_into().expect("8 bytes"));
        let secret = u128::from_le_bytes(secret.try_into().expect("16 bytes"));
        let open = ClientMessage::OpenSession { token, secret, timeout_ms: SESSION_TIMEOUT_MS };
        let timeout_ms = self.ask(timeout, &open, |answer| match answer {
            ServerMessage::SessionOpened { timeout_ms, .. } => Some(timeout_ms),
            _ => None,
        })?;
        let every = Duration::from_millis(u64::from(timeout_ms)) / 4;
        self.session = Some(Session { requests, pinged: clock::now(), every });
        Ok(())
    }

    /// Asks one question; `pick` knows its answer.
    pub(super) fn ask<T>(
        &mut self,
        timeout: Duration,
        question: &ClientMessage<'_>,
        pick: impl Fn(ServerMessage<'_>) -> Option<T>,
    ) -> Result<T> {
        let deadline = clock::now() + timeout.into();
        let mut bytes = BytesMut::new();
        if let Some(session) =
            self.session.as_mut().filter(|session| clock::now() > session.pinged + session.every.into())
        {
            session.pinged = clock::now();
            ClientMessage::Ping { number: 1 }.encode(&mut bytes);
        }
        question.encode(&mut bytes);
        self.stream.write_all(&bytes)?;
        let mut room = [0; 16 << 10];
        let mut answer = None;
        loop {
            self.stream.set_read_timeout(Some(left(deadline, timeout)?))?;
            let count = match self.stream.read(&mut room) {
                Ok(0) => return Err(protocol("what listens there closed the connection without a word".to_owned())),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            let mut fault = None;
            let fed = self.reader.feed(&room[..count], CLIENT_FRAME_BYTES_MAX, |frame| {
                match ServerMessage::decode(frame)? {
                    ServerMessage::Fault { code: FaultCode::WrongCell, text } => {
                        fault = Some(Error::WrongCell { text: text.to_owned(), outcome: Outcome::NotApplied });
                    }
                    ServerMessage::Fault { code: FaultCode::Version, text } => {
                        let text = format!("{text}, this client {PROTOCOL_MIN} to {PROTOCOL_MAX}");
                        fault = Some(Error::Version { text, outcome: Outcome::NotApplied });
                    }
                    ServerMessage::Fault { text, .. } => fault = Some(protocol(text.to_owned())),
                    ServerMessage::Leader { .. } | ServerMessage::Pong { .. } => {}
                    ServerMessage::Refused { .. } => {
                        fault = Some(protocol("the cell takes no session or request now: ask again".to_owned()));
                    }
                    ServerMessage::SessionOver { .. } => {
                        fault = Some(protocol("the session of this connection is over: connect anew".to_owned()));
                    }
                    other => match pick(other) {
                        Some(picked) => answer = Some(picked),
                        None => return Err(MessageError::Kind { kind: frame.kind }),
                    },
                }
                Ok(())
            });
            fed.map_err(|error| protocol(error.to_string()))?;
            match (fault, answer.take()) {
                (Some(error), _) => return Err(error),
                (None, Some(answer)) => return Ok(answer),
                (None, None) => {}
            }
        }
    }
}

/// A session that nobody needs any more is not left to the cell until its time is over.
impl Drop for Line {
    fn drop(&mut self) {
        let Some(Session { requests, .. }) = self.session else { return };
        let (mut operation, mut bytes) = (BytesMut::new(), BytesMut::new());
        Operation::CloseSession.encode(&mut operation);
        ClientMessage::Request { number: requests + 1, acked_upto: requests, operation: &operation }.encode(&mut bytes);
        // If it cannot be sent, the session ends when its time is over.
        let _ = self.stream.write_all(&bytes);
    }
}

/// What became of proving who one is.
fn proved(outcome: &[u8]) -> Result<()> {
    match decode_outcome(outcome) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(refusal)) => Err(Error::refused(refusal, &|path| path)),
        Err(error) => Err(protocol(error.to_string())),
    }
}

/// How long a line's session outlives it where it could not be closed.
const SESSION_TIMEOUT_MS: u32 = 20_000;

fn connect(endpoint: &str, deadline: Instant) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in endpoint.to_socket_addrs()? {
        let left = (deadline - clock::now()).into();
        if left == Duration::ZERO {
            last = std::io::ErrorKind::TimedOut.into();
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_write_timeout(Some(left))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What is left until the deadline.
fn left(deadline: Instant, timeout: Duration) -> Result<Duration> {
    let left = deadline - clock::now();
    if left == crate::time::Duration::ZERO { Err(Error::Deadline { after: timeout }) } else { Ok(left.into()) }
}

pub(super) fn protocol(text: String) -> Error {
    Error::Protocol { text, outcome: Outcome::NotApplied }
}
