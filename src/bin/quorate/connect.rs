//! How the commands reach a cell, and what its errors mean for the exit status.

use std::time::Duration;

use quorate::client::{Client, Error, Outcome, Prefer, Target as Place};
use quorate::paxos::CellId;
use quorate::server::config::{Span, parse_cell_id};
use quorate::server::{Code, Failure};

/// Which cell, and how long to try.
#[derive(clap::Args, Clone)]
pub struct Target {
    /// The cell's client addresses, like 10.0.0.1:7400,10.0.0.2:7400; one that answers is enough
    #[arg(long, env = "QUORATE_ENDPOINTS", default_value = "127.0.0.1:7400", global = true)]
    pub endpoints: String,
    /// Refuse to talk to any other cell than this
    #[arg(long, env = "QUORATE_CELL", value_parser = parse_cell_id, global = true)]
    pub cell: Option<CellId>,
    /// How long the whole command may take
    #[arg(long, env = "QUORATE_TIMEOUT", default_value = "10s", value_parser = span, global = true)]
    pub timeout: Duration,
}

/// Reads a span of time like `250ms` or `10s`.
pub fn span(text: &str) -> Result<Duration, String> {
    text.parse::<Span>().map(|span| span.0.into())
}

impl Target {
    /// The connect string.
    pub fn text(&self) -> String {
        let Some(cell) = self.cell else { return self.endpoints.clone() };
        let scheme = if self.endpoints.contains("://") { "" } else { "quorate://" };
        let mark = if self.endpoints.contains('?') { '&' } else { '?' };
        format!("{scheme}{}{mark}cell={cell}", self.endpoints)
    }

    /// Opens a session for one command and closes it again, whatever became of the command.
    pub fn with_client<T>(&self, work: impl FnOnce(&Client, Duration) -> Result<T, Failure>) -> Result<T, Failure> {
        let client = open(&self.text(), self.timeout)?;
        let done = work(&client, self.timeout);
        // A session that cannot be closed now ends by itself when its time is over.
        let _ = client.close().wait_timeout(self.timeout);
        done
    }
}

/// Opens a session. Unless told otherwise at any replica: for a few calls a way to the leader does not pay.
pub fn open(text: &str, timeout: Duration) -> Result<Client, Failure> {
    let place: Place = text.parse().map_err(|error| failed(&error))?;
    let builder = Client::builder(text).map_err(|error| failed(&error))?;
    let builder = builder.name("quorate").open_timeout(timeout).prefer(place.prefer.unwrap_or(Prefer::Any));
    // The client gives up by itself, and says what it met.
    builder.connect().wait_timeout(timeout + Duration::from_secs(1)).map_err(|error| failed(&error))
}

/// Waits until the cell answers one linearizable read.
pub fn first_read(endpoints: &str, patience: Duration) -> Result<(), Failure> {
    let target = Target { endpoints: endpoints.to_owned(), cell: None, timeout: patience };
    target.with_client(|client, timeout| {
        client.exists("/").wait_timeout(timeout).map(|_| ()).map_err(|error| failed(&error))
    })
}

/// What a client's error means for a command that changes nothing.
pub fn failed(error: &Error) -> Failure {
    let code = match error {
        Error::NoNode { .. }
        | Error::NoParent { .. }
        | Error::NodeExists { .. }
        | Error::NotEmpty { .. }
        | Error::BadVersion { .. }
        | Error::EphemeralParent { .. }
        | Error::Fenced { .. }
        | Error::LockBusy { .. }
        | Error::LockTwice { .. }
        | Error::LockNotHeld { .. }
        | Error::BadArgument { .. }
        | Error::TooLarge { .. }
        | Error::Aborted { .. } => Code::Refused,
        Error::BadTarget { .. } => Code::Usage,
        Error::SessionExpired { .. } | Error::WrongCell { .. } | Error::Protocol { .. } => Code::SessionLost,
        _ => Code::Unavailable,
    };
    let failure = Failure::new(code, error.to_string());
    if code != Code::Unavailable {
        return failure;
    }
    failure
        .why("a majority of the replicas has to agree to every answer")
        .fix("see `quorate status`; give it more time with --timeout")
}

/// What a client's error means for a command that changes something.
pub fn change_failed(error: &Error) -> Failure {
    if error.outcome() == Outcome::NotApplied {
        return failed(error);
    }
    Failure::new(Code::OutcomeUnknown, error.to_string())
        .why("a change that was sent may have been made before its answer was lost")
        .fix("read what is there before doing it again")
}
