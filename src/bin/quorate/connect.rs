//! How the commands reach a cell, and what its errors mean for the exit status.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, FromArgMatches};
use quorate::client::{
    CacheSettings, Client, ClientBuilder, Credentials, Error, Guarded, Outcome, Prefer, Sequencer, Target as Place,
};
use quorate::limits::SESSION_USERS_MAX;
use quorate::paxos::CellId;
use quorate::server::config::{Span, parse_cell_id};
use quorate::server::{Code, Failure};

use super::interrupt::Concerned;
use super::session::Kept;

/// The variables that stand for a flag, and how the parser writes it.
pub const VARIABLES: [(&str, &str); 6] = [
    ("QUORATE_OUTPUT", " --output <FORM>"),
    ("QUORATE_ENDPOINTS", " --endpoints <ENDPOINTS>"),
    ("QUORATE_CELL", " --cell <CELL>"),
    ("QUORATE_TIMEOUT", " --timeout <TIMEOUT>"),
    ("QUORATE_AUTH", " --auth <digest:USER:PASSWORD>"),
    ("QUORATE_RESUME", " --resume <FILE>"),
];

/// What the commands have in common stands apart in their help.
const THE_CELL: &str = "The cell, and who asks it";

/// Where a cell is looked for that is not named: the first replica of `quorate dev`, unless others have its ports.
const DEFAULT_ENDPOINTS: &str = "127.0.0.1:7400";

/// Which cell, and how long to try.
#[derive(clap::Args, Clone)]
pub struct Target {
    /// The cell's client addresses, like 10.0.0.1:7400,10.0.0.2:7400; one that answers is enough
    #[arg(long, env = "QUORATE_ENDPOINTS", default_value = DEFAULT_ENDPOINTS, value_parser = endpoints, global = true)]
    #[arg(help_heading = THE_CELL)]
    pub endpoints: String,
    /// Refuse to talk to any other cell than this
    #[arg(long, env = "QUORATE_CELL", value_parser = parse_cell_id, global = true)]
    #[arg(help_heading = THE_CELL)]
    pub cell: Option<CellId>,
    /// How long opening the session, and each answer, may take; a replica that refuses may be starting, and is tried again till then
    #[arg(long, env = "QUORATE_TIMEOUT", default_value = "10s", value_parser = span, global = true)]
    #[arg(help_heading = THE_CELL)]
    pub timeout: Duration,
    #[command(flatten)]
    pub auth: Users,
    /// Do it in the session of this file, which `quorate session open` made, and let the session live on
    #[arg(long, env = "QUORATE_RESUME", value_name = "FILE", global = true)]
    #[arg(help_heading = THE_CELL)]
    pub resume: Option<PathBuf>,
}

/// Whom the caller stands for: what `--auth` says, or `QUORATE_AUTH`, a line for each. A line without anything is nobody, so
/// that the variable may hold a file as it is.
#[derive(Clone, Default)]
pub struct Users {
    lines: Vec<String>,
    credentials: Vec<Credentials>,
}

impl Users {
    /// What is wrong is told without the line, which may hold a password.
    fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self, clap::Error> {
        let wrong =
            |why: String| clap::Error::raw(ErrorKind::ValueValidation, format!("--auth or QUORATE_AUTH: {why}"));
        let mut users = Self::default();
        for line in lines.filter(|line| !line.is_empty()) {
            if users.lines.iter().any(|known| known == line) {
                continue;
            }
            if users.lines.len() == SESSION_USERS_MAX {
                return Err(wrong(format!("one session stands for at most {SESSION_USERS_MAX} users; name fewer")));
            }
            users.credentials.push(line.parse().map_err(|error: Error| wrong(error.to_string()))?);
            users.lines.push(line.to_owned());
        }
        Ok(users)
    }

    /// All of them, as the variable may have them; nothing for nobody.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

impl clap::Args for Users {
    fn augment_args(command: clap::Command) -> clap::Command {
        let auth = Arg::new("auth").long("auth").env("QUORATE_AUTH").hide_env_values(true).action(ArgAction::Append);
        let help = format!(
            "A user to stand for, like digest:alice:secret; may be given at most {SESSION_USERS_MAX} times. Better in the \
             variable, one user a line: no list of processes shows that"
        );
        command.arg(auth.value_name("digest:USER:PASSWORD").global(true).help_heading(THE_CELL).help(help))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Users {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = matches.get_many::<String>("auth").into_iter().flatten();
        Self::of(given.flat_map(|text| text.lines()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Reads a span of time as every flag takes it: `250ms`, `10s`, `2m`, `12h`, `7d`, or a bare number of seconds like `10` or `2.5`.
pub fn span(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let span = seconds.or_else(|| text.parse::<Span>().ok().map(|span| span.0.into()));
    span.ok_or_else(|| {
        format!("`{text}` is no span of time; write it like 250ms, 10s, 2m, 12h or 7d; a bare number is seconds")
    })
}

/// Refuses what an empty variable gives, before it is taken for an address without a host.
fn endpoints(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it names no address; set the variable QUORATE_ENDPOINTS, or unset it if it is empty".to_owned());
    }
    Ok(text.to_owned())
}

impl Target {
    /// Whatever cell is there, as nobody.
    pub fn at(endpoints: &str, timeout: Duration) -> Self {
        Self { endpoints: endpoints.to_owned(), cell: None, timeout, auth: Users::default(), resume: None }
    }

    /// The connect string.
    pub fn text(&self) -> String {
        let Some(cell) = self.cell else { return self.endpoints.clone() };
        let scheme = if self.endpoints.contains("://") { "" } else { "quorate://" };
        let mark = if self.endpoints.contains('?') { '&' } else { '?' };
        format!("{scheme}{}{mark}cell={cell}", self.endpoints)
    }

    /// Each user that the caller can prove to be.
    pub fn credentials(&self) -> impl Iterator<Item = &Credentials> {
        self.auth.credentials.iter()
    }

    /// Opens a session. Unless told otherwise at any replica: for a few calls a way to the leader does not pay.
    pub fn open(&self, timeout: Duration) -> Result<Client, Failure> {
        connected(self.builder(timeout)?, timeout)
    }

    /// How to connect.
    pub fn builder(&self, timeout: Duration) -> Result<ClientBuilder, Failure> {
        let text = self.text();
        let place: Place = text.parse().map_err(|error| failed(&error))?;
        let mut builder = Client::builder(&text).map_err(|error| failed(&error))?;
        for credentials in self.credentials() {
            builder = builder.auth(credentials.clone());
        }
        Ok(builder.name("quorate").open_timeout(timeout).prefer(place.prefer.unwrap_or(Prefer::Any)))
    }

    /// Opens a session for one command and closes it again, whatever became of the command.
    pub fn with_client<T>(&self, work: impl FnOnce(&Client, Duration) -> Result<T, Failure>) -> Result<T, Failure> {
        self.with(self.builder(self.timeout)?, work)
    }

    /// As [`with_client`](Self::with_client), with a client that keeps answers.
    pub fn with_caching_client<T>(
        &self,
        settings: CacheSettings,
        work: impl FnOnce(&Client, Duration) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.with(self.builder(self.timeout)?.cache(settings), work)
    }

    fn with<T>(
        &self,
        builder: ClientBuilder,
        work: impl FnOnce(&Client, Duration) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(file) = &self.resume {
            let kept = Kept::open(file)?;
            let client = connected(builder.resume(kept.saved), self.timeout)?;
            let done = work(&client, self.timeout);
            if client.is_safe() {
                // One that cannot be left now is taken over all the same.
                let _ = client.hand_over().wait_timeout(self.timeout);
            }
            return done;
        }
        let client = connected(builder, self.timeout)?;
        let _concerned = Concerned::session(&client)
            .map_err(|error| Failure::new(Code::RunFailed, "cannot catch signals").found(error.to_string()))?;
        let done = work(&client, self.timeout);
        close(client, self.timeout);
        done
    }
}

/// A session that cannot be closed now ends by itself when its time is over.
fn close(client: Client, timeout: Duration) {
    if client.is_safe() {
        let _ = client.close().wait_timeout(timeout);
    }
}

/// Changes that are made only while that lock is held so.
pub fn guarded<'a>(client: &'a Client, lock: &Sequencer) -> Result<Guarded<'a>, Failure> {
    client.guarded_by(lock).map_err(|error| change_failed(&error))
}

pub fn connected(builder: ClientBuilder, timeout: Duration) -> Result<Client, Failure> {
    // The client gives up by itself, and says what it met.
    builder.connect().wait_timeout(timeout + Duration::from_secs(1)).map_err(|error| failed(&error))
}

/// Waits until the cell answers one linearizable read.
pub fn first_read(endpoints: &str, patience: Duration) -> Result<(), Failure> {
    let client = Target::at(endpoints, patience).open(patience)?;
    let answered = client.exists("/").wait_timeout(patience).map(|_| ()).map_err(|error| failed(&error));
    close(client, patience);
    answered
}

/// What a client's error means for a command that changes nothing.
pub fn failed(error: &Error) -> Failure {
    tagged(explained(error), error)
}

/// The failure, with what programs decide by.
pub fn tagged(failure: Failure, error: &Error) -> Failure {
    let debug = format!("{error:?}");
    let kind = debug.split(|c: char| !c.is_ascii_alphanumeric()).next().expect("a split text has a first part");
    let outcome = match error.outcome() {
        Outcome::NotApplied => "not_applied",
        Outcome::Unknown => "unknown",
    };
    failure.fact("kind", kind).fact("outcome", outcome)
}

fn explained(error: &Error) -> Failure {
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
        | Error::HandleGone { .. }
        | Error::HandleClosed { .. }
        | Error::HandleForged { .. }
        | Error::HandleLacks { .. }
        | Error::HandleForeign { .. }
        | Error::HandlePoisoned { .. }
        | Error::NodesOverQuota { .. }
        | Error::BytesOverQuota { .. }
        | Error::IsLog { .. }
        | Error::NotLog { .. }
        | Error::LogSealed { .. }
        | Error::LogEnd { .. }
        | Error::LogTrimmed { .. }
        | Error::TooLarge { .. }
        | Error::Aborted { .. } => Code::Refused,
        Error::NotAuthorized { .. } | Error::NotSuper => Code::NotAuthorized,
        Error::BadTarget { .. } | Error::BadArgument { .. } => Code::Usage,
        Error::SessionExpired { .. }
        | Error::SessionTaken { .. }
        | Error::WrongCell { .. }
        | Error::Version { .. }
        | Error::Protocol { .. } => Code::SessionLost,
        _ => Code::Unavailable,
    };
    if let Error::Unreachable { after, why } = error {
        let failure = Failure::new(code, format!("no replica gave a session within {after:?}"))
            .found(why.replace("; ", "\n"))
            .needed("one replica that answers and reaches a leader");
        return unreachable_by(why, failure);
    }
    if let Error::NoParent { path } = error {
        return Failure::new(code, format!("{path}, the parent, does not exist"))
            .fix(format!("give --parents, where the command has it; or first: quorate create --parents {path}"));
    }
    let failure = Failure::new(code, error.to_string());
    if code == Code::Unavailable { unanswered(failure) } else { failure }
}

/// Why there may be no answer, and what to do.
fn unanswered(failure: Failure) -> Failure {
    failure
        .why("a majority of the replicas has to agree to every answer")
        .fix("see `quorate status`; give it more time with --timeout")
}

/// The cell was asked for something that ends with the session, and is silent.
pub fn silent(after: Duration) -> Failure {
    let failure = Failure::new(Code::Unavailable, format!("the cell gave no answer within {after:?}"));
    tagged(unanswered(failure), &Error::Deadline { after })
}

/// What it means that a wait was in vain: `refused` says what others did not let come about, which is so only if the cell was
/// there to let it. So it is asked whether it is.
pub fn late(client: &Client, timeout: Duration, refused: Failure) -> Failure {
    match client.sync().wait_timeout(timeout) {
        Ok(_) => refused,
        Err(Error::Deadline { after }) => silent(after),
        Err(error) => failed(&error),
    }
}

/// What to do about the troubles that were met at all addresses.
fn unreachable_by(troubles: &str, failure: Failure) -> Failure {
    if troubles.split("; ").all(|trouble| trouble.contains("failed to lookup address")) {
        return failure.why("the name leads to no address, so nobody was asked").fix(
            "correct --endpoints, or QUORATE_ENDPOINTS; `getent hosts NAME` tells what this host knows of a name",
        );
    }
    let refused = |trouble: &str| trouble.contains("onnection refused");
    if !troubles.split("; ").all(refused) {
        return failure
            .why("a majority of the replicas has to agree to every answer")
            .fix("check --endpoints and `quorate status`; give it more time with --timeout");
    }
    let untold =
        troubles.strip_prefix(DEFAULT_ENDPOINTS).is_some_and(|rest| rest.starts_with(": ") && !rest.contains("; "));
    if untold {
        return failure
            .why("nothing listens there, which is where a command looks that is told of no cell")
            .fix("export QUORATE_ENDPOINTS=..., as `quorate dev` printed it, or give --endpoints");
    }
    failure.why("nothing listens there").fix("start the replicas, or name their client addresses with --endpoints")
}

/// What a client's error means for a command that changes something.
pub fn change_failed(error: &Error) -> Failure {
    if error.outcome() == Outcome::NotApplied {
        return failed(error);
    }
    let failure = Failure::new(Code::OutcomeUnknown, error.to_string())
        .why("a change that was sent may have been made before its answer was lost")
        .fix("read what is there before doing it again");
    tagged(failure, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_takes_a_span_of_time_in_one_way() {
        for (text, millis) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1", 1_000),
            ("2.5", 2_500),
            ("0", 0),
        ] {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "1w", "inf", "nan", "1e300"] {
            assert!(span(text).is_err_and(|why| why.contains("a bare number is seconds")), "{text}");
        }
    }

    #[test]
    fn users_are_lines_however_those_end_and_each_counts_once() {
        let all: Vec<String> = (0..SESSION_USERS_MAX).map(|n| format!("digest:user{n}:secret")).collect();
        let read = |text: &str| Users::of(text.lines()).map(|users| users.lines);
        for text in [all.join("\n"), all.join("\r\n") + "\r\n", format!("\n{}\n\n", all.join("\n\n"))] {
            assert_eq!(read(&text).ok().as_ref(), Some(&all), "{text:?}");
        }
        assert_eq!(read("\r\n\n").ok(), Some(Vec::new()), "nobody");
        let said_again = format!("{}\n{}", all.join("\n"), all[0]);
        assert_eq!(read(&said_again).ok(), Some(all.clone()));
        let one_more = all.join("\n") + "\ndigest:one more:secret";
        for (text, why) in [(&*one_more, "at most"), ("digest:alice:a\nbob:secret", "digest:USER:PASSWORD")] {
            let told = read(text).expect_err("it is refused").to_string();
            assert!(told.contains(why) && !told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn a_malformed_path_is_a_mistake_of_the_command_line() {
        let code = |error: Error| failed(&error).exit_status();
        assert_eq!(code(Error::BadArgument { why: "the path \"a\" is not absolute".into() }), 2);
        assert_eq!(code(Error::NoNode { path: "/a".into() }), 1);
    }

    #[test]
    fn programs_are_told_an_error_s_name_and_outcome() {
        let facts = |failure: &Failure| {
            let value = crate::output::failure(failure);
            (value["error"]["kind"].clone(), value["error"]["outcome"].clone(), value["exit_status"].clone())
        };
        let exists = Error::NodeExists { path: "/a".into() };
        assert_eq!(facts(&failed(&exists)), ("NodeExists".into(), "not_applied".into(), 1.into()));
        assert_eq!(facts(&change_failed(&exists)), facts(&failed(&exists)));
        let late = Error::Deadline { after: Duration::from_secs(1) };
        assert_eq!(facts(&change_failed(&late)), ("Deadline".into(), "unknown".into(), 4.into()));
        assert_eq!(facts(&failed(&Error::NotSuper)).0, "NotSuper");
        let other = Failure::new(Code::Usage, "no answer of a cell");
        assert_eq!(facts(&other), (serde_json::Value::Null, serde_json::Value::Null, 2.into()));
        assert!(!failed(&exists).report().contains("not_applied"), "people are told in words");
    }

    #[test]
    fn more_time_is_advised_only_where_it_may_help() {
        let advice =
            |why: &str| failed(&Error::Unreachable { after: Duration::from_secs(10), why: why.to_owned() }).report();
        let slow = advice("127.0.0.1:7400: no answer; 10.0.0.2:7400: Connection refused (os error 111)");
        assert!(slow.contains("--timeout"), "{slow}");
        let default = advice("127.0.0.1:7400: Connection refused (os error 111)");
        assert!(default.contains("export QUORATE_ENDPOINTS=") && !default.contains("--timeout"), "{default}");
        let named = advice("10.0.0.1:7400: Connection refused (os error 111); 10.0.0.2:7400: connection refused");
        assert!(named.contains("nothing listens there") && !named.contains("--timeout"), "{named}");
        assert!(!named.contains("export"), "{named}");
        let lookup = "failed to lookup address information: Name or service not known";
        let unknown = advice(&format!("db1:7400: {lookup}; db2:7400: {lookup}"));
        assert!(unknown.contains("leads to no address") && !unknown.contains("majority"), "{unknown}");
        let mixed = advice(&format!("db1:7400: {lookup}; 10.0.0.2:7400: no answer"));
        assert!(!mixed.contains("leads to no address"), "{mixed}");
    }

    #[test]
    fn a_parent_that_is_missing_is_made_with_a_flag_or_by_a_command() {
        let told = failed(&Error::NoParent { path: "/a".into() }).report();
        assert!(told.contains("--parents /a") && !told.contains("ask for parents"), "{told}");
    }
}
