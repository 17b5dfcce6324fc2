//! A stranger, who says to replicas what no client of theirs says: another cell's name, a protocol to come, frames that mean
//! nothing, that are too large or damaged, somebody's session without its secret, sessions that are over or never were. Whoever
//! hears it says what is wrong, by the code that is meant for it, and lets nobody in. The [`model`](super::model) sees that no
//! session that he makes up comes to the log.
//!
//! He has a session of his own as well, and takes it up on one connection after the other: those before are told that they
//! are of no use any more. Now and then he closes it, and has another.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use quorate::limits::CLIENT_FRAME_BYTES_MAX;
use quorate::namespace::command::{Operation, Resume, SessionId};
use quorate::paxos::CellId;
use quorate::wire::client::{ClientMessage, FaultCode, Hello, PROTOCOL_MAX, PROTOCOL_MIN, ServerMessage};
use quorate::wire::frame::{self, CLIENT_MAGIC, FrameReader};

use super::coverage;
use super::network::{Arrival, Host, Port};
use super::node::CELL;
use super::outsiders::{self, SESSION_TIMEOUT_MS};
use super::run::Run;
use super::world::{Event, MILLI, Moment};

/// Who he is, and what he was told.
#[derive(Debug, Default)]
pub struct Stranger {
    lines: Vec<Line>,
    session: Option<Session>,
    /// The last one of his that is over, as he was told.
    over: Option<Session>,
    /// Faults that he was told of, and what else he was refused.
    pub words: Vec<&'static str>,
}

/// A connection to a replica.
#[derive(Debug)]
struct Line {
    conn: u64,
    dialled_at: Moment,
    reader: FrameReader,
    errand: Errand,
    /// With what a session is opened, on that errand.
    token: u64,
    secret: u128,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    id: SessionId,
    token: u64,
    secret: u128,
}

/// What he may be up to, and the list of it all.
macro_rules! errands {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        enum Errand {
            $($(#[$doc])* $name,)*
        }

        const ERRANDS: &[Errand] = &[$(Errand::$name),*];
    };
}

errands! {
    /// To have a session, and to stay.
    Settle,
    /// To take it up here.
    TakeUp,
    /// To take it up here and close it.
    End,
    /// To take up one that is over.
    Over,
    /// To take up one above all that were ever made.
    NeverMade,
    WrongSecret,
    /// As a process that the session does not belong to.
    NotHis,
    OtherCell,
    NewerProtocol,
    BeforeHello,
    UnknownKind,
    CutShort,
    TooLarge,
    Damaged,
}

impl Errand {
    /// What it is to be told.
    fn fault(self) -> Option<FaultCode> {
        match self {
            Self::Settle | Self::TakeUp | Self::End | Self::Over | Self::NeverMade => None,
            Self::WrongSecret => Some(FaultCode::WrongSecret),
            Self::NotHis => Some(FaultCode::Taken),
            Self::OtherCell => Some(FaultCode::WrongCell),
            Self::NewerProtocol => Some(FaultCode::Version),
            Self::BeforeHello => Some(FaultCode::OutOfTurn),
            Self::UnknownKind => Some(FaultCode::UnknownKind),
            Self::CutShort => Some(FaultCode::Malformed),
            Self::TooLarge => Some(FaultCode::TooLarge),
            Self::Damaged => Some(FaultCode::Damaged),
        }
    }

    /// The session that it shows, made of this one.
    fn resume(self, Session { id: session, token: holder, secret }: Session) -> Option<Resume> {
        match self {
            Self::TakeUp | Self::End | Self::Over | Self::NeverMade => {
                Some(Resume { session, secret, holder, takes_over: false })
            }
            Self::WrongSecret => Some(Resume { session, secret: secret ^ 1, holder, takes_over: true }),
            Self::NotHis => Some(Resume { session, secret, holder: holder ^ 1, takes_over: false }),
            _ => None,
        }
    }

    /// Whether it wants one of his that lives.
    fn wants_session(self) -> bool {
        matches!(self, Self::TakeUp | Self::End | Self::WrongSecret | Self::NotHis)
    }

    /// Whether it shows one.
    fn shows_session(self) -> bool {
        self.wants_session() || matches!(self, Self::Over | Self::NeverMade)
    }

    /// What it is when he is told that its session is over.
    fn word_when_over(self) -> Option<&'static str> {
        match self {
            Self::Over => Some(OVER),
            Self::NeverMade => Some(NEVER_MADE),
            _ => None,
        }
    }

    /// The first thing that he says.
    fn first_words(self, resume: Option<Resume>) -> Bytes {
        let mut out = BytesMut::new();
        let hello = Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            cell: Some(CELL),
            name: "stranger",
            seen: 0,
            resume,
        };
        match self {
            Self::Settle
            | Self::TakeUp
            | Self::End
            | Self::Over
            | Self::NeverMade
            | Self::WrongSecret
            | Self::NotHis => ClientMessage::Hello(hello).encode(&mut out),
            Self::OtherCell => {
                let cell = Some(CellId(CELL.0 + 1));
                ClientMessage::Hello(Hello { cell, ..hello }).encode(&mut out);
            }
            Self::NewerProtocol => {
                let (protocol_min, protocol_max) = (PROTOCOL_MAX + 1, PROTOCOL_MAX + 2);
                ClientMessage::Hello(Hello { protocol_min, protocol_max, ..hello }).encode(&mut out);
            }
            Self::BeforeHello => ClientMessage::Ping { number: 1 }.encode(&mut out),
            Self::UnknownKind => frame::append(&mut out, CLIENT_MAGIC, NO_KIND, 0, |_| ()),
            Self::CutShort => {
                ClientMessage::Hello(hello).encode(&mut out);
                let kind = out[KIND_AT];
                out.clear();
                frame::append(&mut out, CLIENT_MAGIC, kind, 0, |out| out.put_u8(0));
            }
            Self::TooLarge => out.extend_from_slice(&TOO_LARGE),
            Self::Damaged => {
                ClientMessage::Hello(hello).encode(&mut out);
                let last = out.len() - 1;
                out[last] ^= 1;
            }
        }
        out.freeze()
    }
}

/// It is time to call on somebody.
pub fn call(run: &mut Run) {
    let Some(every) = run.plan.stranger_every.filter(|_| !run.calm) else { return };
    let delay = run.world.random.around(every);
    run.world.after(delay, Event::Stranger);
    let now = run.world.now;
    let old: Vec<u64> =
        run.stranger.lines.iter().filter(|line| now > line.dialled_at + PATIENCE).map(|line| line.conn).collect();
    old.into_iter().for_each(|conn| hang_up(run, conn));
    let wish = match run.world.random.pick(ERRANDS) {
        Errand::Over if run.stranger.over.is_none() => Errand::End,
        errand => errand,
    };
    let errand = match (wish, run.stranger.session) {
        (errand, None) if errand.wants_session() => Errand::Settle,
        (Errand::Settle, Some(_)) => Errand::TakeUp,
        (errand, _) => errand,
    };
    let node = run.world.random.below(run.nodes.len() as u64) as usize;
    let (token, secret) = (run.world.random.draw(), u128::from(run.world.random.draw()));
    let me = me(run);
    let conn = run.network.dial(&mut run.world, me, Host::Node(node), Port::Clients);
    let reader = FrameReader::new(CLIENT_MAGIC);
    run.stranger.lines.push(Line { conn, dialled_at: now, reader, errand, token, secret });
}

/// He is gone for good.
pub fn leave(run: &mut Run) {
    let all: Vec<u64> = run.stranger.lines.iter().map(|line| line.conn).collect();
    all.into_iter().for_each(|conn| hang_up(run, conn));
}

/// Something reaches his host.
pub fn reached(run: &mut Run, arrival: &Arrival) {
    match arrival {
        Arrival::Connected { conn, .. } => greet(run, *conn),
        Arrival::Bytes { conn, bytes, .. } => received(run, *conn, bytes),
        Arrival::Failed { conn, .. } | Arrival::Closed { conn, .. } => {
            run.stranger.lines.retain(|line| line.conn != *conn);
        }
        Arrival::Accepted { .. } => unreachable!("nobody dials a stranger"),
    }
}

fn line(run: &mut Run, conn: u64) -> Option<&mut Line> {
    run.stranger.lines.iter_mut().find(|line| line.conn == conn)
}

fn greet(run: &mut Run, conn: u64) {
    let (session, over) = (run.stranger.session, run.stranger.over);
    let Some(line) = line(run, conn) else { return };
    let errand = line.errand;
    let shown = match errand {
        Errand::Over => over,
        Errand::NeverMade => Some(Session { id: SessionId(u64::MAX), token: line.token, secret: line.secret }),
        _ => session,
    };
    let resume = shown.and_then(|session| errand.resume(session));
    if errand.shows_session() && resume.is_none() {
        return hang_up(run, conn);
    }
    let me = me(run);
    run.network.send(&mut run.world, conn, me, errand.first_words(resume));
}

fn received(run: &mut Run, conn: u64, bytes: &[u8]) {
    let Some(own) = line(run, conn) else { return };
    let mut reader = std::mem::replace(&mut own.reader, FrameReader::new(CLIENT_MAGIC));
    if !outsiders::feed(run, &mut reader, bytes, |run, message| heard(run, conn, message)) {
        hang_up(run, conn);
    } else if let Some(line) = line(run, conn) {
        line.reader = reader;
    }
}

fn heard(run: &mut Run, conn: u64, message: ServerMessage<'_>) {
    let Some(line) = line(run, conn) else { return };
    let (errand, token, secret) = (line.errand, line.token, line.secret);
    match (message, errand) {
        (ServerMessage::Fault { code, text }, _) => {
            let is_turned_over = code == FaultCode::Damaged && run.plan.network.flipped > 0;
            let fits = errand.fault() == Some(code) || code == FaultCode::Unavailable || is_turned_over;
            assert!(fits, "a stranger who is about {errand:?} is told {code:?}: {text}");
            run.stranger.words.push(coverage::fault_code_word(code));
            hang_up(run, conn);
        }
        (ServerMessage::Welcome(_), Errand::Settle) => {
            let mut out = BytesMut::new();
            ClientMessage::OpenSession { token, secret, timeout_ms: SESSION_TIMEOUT_MS }.encode(&mut out);
            let me = me(run);
            run.network.send(&mut run.world, conn, me, out.freeze());
        }
        (ServerMessage::Welcome(_), _) if errand.shows_session() => {}
        (ServerMessage::SessionOpened { session: id, .. }, Errand::Settle) => {
            run.stranger.session = Some(Session { id, token, secret });
        }
        (ServerMessage::SessionResumed { .. }, Errand::TakeUp) => {}
        (ServerMessage::SessionResumed { applied_upto, .. }, Errand::End) => {
            let (mut operation, mut out) = (BytesMut::new(), BytesMut::new());
            Operation::CloseSession.encode(&mut operation);
            let number = applied_upto + 1;
            ClientMessage::Request { number, acked_upto: applied_upto, operation: &operation }.encode(&mut out);
            let me = me(run);
            run.network.send(&mut run.world, conn, me, out.freeze());
        }
        // His session ends, as he asked, there or on the line before.
        (ServerMessage::Reply { .. }, Errand::End | Errand::TakeUp) => {}
        (ServerMessage::SessionOver { session }, _) => {
            if let Some(own) = run.stranger.session.take_if(|own| own.id == session) {
                run.stranger.over = Some(own);
            }
            run.stranger.words.extend(errand.word_when_over());
            hang_up(run, conn);
        }
        (ServerMessage::Refused { .. }, _) => hang_up(run, conn),
        (ServerMessage::Leader { .. } | ServerMessage::Progress { .. }, _) => {}
        (other, _) => panic!("a stranger who is about {errand:?} is told {other:?}"),
    }
}

fn hang_up(run: &mut Run, conn: u64) {
    run.stranger.lines.retain(|line| line.conn != conn);
    let me = me(run);
    run.network.close(&mut run.world, conn, me);
}

/// His host, behind that of the enquirer.
fn me(run: &Run) -> Host {
    Host::Client(run.clients.len() + 1)
}

/// What he is refused without a fault.
pub const WORDS: &[&str] = &[OVER, NEVER_MADE];

const OVER: &str = "a session that is over";
const NEVER_MADE: &str = "a session that never was";

/// The header of a frame that is larger than anybody takes: no more of it is needed to know that.
static TOO_LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let body = vec![0; CLIENT_FRAME_BYTES_MAX];
    frame::header(CLIENT_MAGIC, NO_KIND, 0, &body, (&[], None)).to_vec()
});

/// No message is of that kind.
const NO_KIND: u8 = 0xee;

/// Where a frame says its kind.
const KIND_AT: usize = 3;

/// How long a connection is kept: about as long as the session lives unheard of.
const PATIENCE: Moment = SESSION_TIMEOUT_MS as Moment * MILLI;
