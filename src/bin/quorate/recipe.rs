//! `quorate recipe`: the library's recipes from a shell. What a session has only while it lives, it has while a program runs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use quorate::client::recipes::{Barrier, Counter, DoubleBarrier, Group, Membership, Queue, Rendezvous, Semaphore};
use quorate::client::{Client, Error, Outcome, WatchOptions, block_on, block_on_timeout};
use quorate::server::{Code, Failure};
use serde_json::{Map, Value, json};

use super::connect::{Target, change_failed, failed, late, span};
use super::input::NewData;
use super::output::{self, Rows};
use super::program::{self, Held};

#[derive(clap::Subcommand)]
#[command(
    after_help = "Examples:\n  quorate recipe semaphore --permits 3 /app/imports -- ./import.sh\n  quorate recipe join --name web-7 --value 10.0.0.7:80 /services/web -- ./serve.sh\n  quorate recipe members /services/web\n  quorate recipe put /app/jobs 'resize 17'\n  quorate recipe add /app/visits"
)]
pub enum Args {
    /// Runs a program while it has one of so many permits
    #[command(
        after_help = "Example:\n  quorate recipe semaphore --permits 3 /app/imports -- ./import.sh\n\nThe exit status is the program's own, or 7 if that is 0 and what it ran for was lost meanwhile."
    )]
    Semaphore {
        /// How many have a permit at a time; the same for all
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        permits: u32,
        #[command(flatten)]
        run: Run,
    },
    /// Runs a program that begins when so many are ready to, and is over when all of theirs are
    #[command(
        after_help = "Example:\n  quorate recipe together --count 3 /app/step -- ./step.sh\n\nThe exit status is the program's own, or 7 if that is 0 and what it ran for was lost meanwhile."
    )]
    Together {
        /// How many; the same for all
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        #[command(flatten)]
        run: Run,
    },
    /// Runs a program as a member of a group
    #[command(
        after_help = "Example:\n  quorate recipe join --name web-7 --value 10.0.0.7:80 /services/web -- ./serve.sh\n\nWhile a member of that name lives, it waits for it to go, as --wait says: one whose process died lives on for up to its session's time-out.\n\nThe exit status is the program's own, or 7 if that is 0 and what it ran for was lost meanwhile."
    )]
    Join {
        /// The member's name
        #[arg(long)]
        name: String,
        /// What all are shown of it
        #[arg(long, default_value = "")]
        value: String,
        #[command(flatten)]
        run: Run,
    },
    /// Prints the members of a group, `NAME VALUE` a line
    #[command(
        after_help = "Examples:\n  quorate recipe members /services/web\n  quorate recipe members --follow --json /services/web\n\nWith --follow it prints `joined NAME VALUE` for each who is there and each who comes, `changed NAME VALUE`, and `left NAME`. What happens between two looks comes as one."
    )]
    Members {
        /// Go on, and tell of each who comes, goes, or shows another value
        #[arg(long, short)]
        follow: bool,
        /// End after so many lines
        #[arg(long, short = 'n', requires = "follow")]
        count: Option<u64>,
        #[command(flatten)]
        place: Place,
    },
    /// Leaves word for as long as a program runs
    #[command(
        after_help = "Example:\n  quorate recipe announce --word 10.0.0.7:9000 /app/master -- ./master.sh\n\nThe exit status is the program's own, or 7 if that is 0 and what it ran for was lost meanwhile."
    )]
    Announce {
        /// The word
        #[arg(long)]
        word: String,
        #[command(flatten)]
        run: Run,
    },
    /// Waits until somebody has left word, and prints it
    #[command(after_help = "Example:\n  quorate recipe meet --wait 30s /app/master")]
    Meet(Waiting),
    /// Makes all wait who come to a barrier
    #[command(after_help = "Example:\n  quorate recipe raise /app/migrating")]
    Raise(Place),
    /// Lets all go who wait at a barrier
    #[command(after_help = "Example:\n  quorate recipe lower /app/migrating")]
    Lower(Place),
    /// Waits until a barrier is not there
    #[command(after_help = "Example:\n  quorate recipe pass --wait 1m /app/migrating")]
    Pass(Waiting),
    /// Puts an entry into a queue
    #[command(
        after_help = "Examples:\n  quorate recipe put /app/jobs 'resize 17'\n  quorate recipe put --priority 7 /app/jobs - < job.json"
    )]
    Put {
        /// The lower, the sooner it is taken
        #[arg(long, default_value_t = 0)]
        priority: u32,
        /// The queue's path; made if there is none
        path: String,
        #[command(flatten)]
        data: NewData,
        #[command(flatten)]
        target: Target,
    },
    /// Takes the next entry out of a queue, waiting for one, and prints it. Killed while it does so, or ended with status 4, it
    /// may have taken one that nobody has then; programs that must not lose one use the library's `take_with`
    #[command(after_help = "Example:\n  quorate recipe take --wait 10s /app/jobs")]
    Take(Waiting),
    /// Prints how many entries wait in a queue
    #[command(after_help = "Example:\n  quorate recipe length /app/jobs")]
    Length(Place),
    /// Adds to a number, and prints what it is then
    #[command(after_help = "Examples:\n  quorate recipe add /app/visits\n  quorate recipe add /app/stock -3")]
    Add {
        /// The number's path; made if there is none
        path: String,
        /// How much
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        delta: i64,
        #[command(flatten)]
        target: Target,
    },
    /// Prints a number, 0 if nothing was added to it yet
    #[command(after_help = "Example:\n  quorate recipe number /app/visits")]
    Number(Place),
}

#[derive(clap::Args)]
pub struct Place {
    /// Its path
    path: String,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct Waiting {
    /// How long to wait; without this, as long as it takes. Status 1 if what is waited for has not come by then, and 3 if the
    /// cell does not answer
    #[arg(long, value_parser = span)]
    wait: Option<Duration>,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
pub struct Run {
    #[command(flatten)]
    waiting: Waiting,
    /// The program and its arguments. It finds QUORATE_PATH in its environment
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Answers with the status to exit with: a program's own, if one was run.
pub fn run(args: &Args) -> Result<u8, Failure> {
    match args {
        Args::Semaphore { permits, run } => {
            run.while_had(async |client, path| Semaphore::new(client, path, *permits).acquire("").await)
        }
        Args::Together { count, run } => together(*count, run),
        Args::Join { name, value, run } => run.while_had(async |client, path| join(client, path, name, value).await),
        Args::Announce { word, run } => {
            run.while_had(async |client, path| Rendezvous::new(client, path).announce(word.clone()).await)
        }
        _ => at_once(args).map(|()| 0),
    }
}

/// What runs no program.
fn at_once(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Semaphore { .. } | Args::Together { .. } | Args::Join { .. } | Args::Announce { .. } => {
            unreachable!("these run a program")
        }
        Args::Members { follow: true, count, place: Place { path, target } } => {
            target.with_client(|client, _| follow(client, path, *count))
        }
        Args::Members { place, .. } => {
            let members = place.read(async |client, path| Group::new(client, path).members().await)?;
            let rows = Rows::default();
            for (name, value) in members {
                let text = crate::one_line(&value);
                if !rows.add(|| format!("{name} {text}").into_bytes(), || member(&name, Some(&value)).into())? {
                    break;
                }
            }
            Ok(())
        }
        Args::Meet(waiting) => show(&waiting.done(async |client, path| Rendezvous::new(client, path).meet().await)?),
        Args::Take(waiting) => show(&take(waiting)?),
        Args::Length(place) => {
            let length = place.read(async |client, path| Queue::new(client, path).len().await)?;
            output::show(|| length.to_string(), || json!({ "path": place.path, "length": length }))
        }
        Args::Pass(waiting) => {
            waiting.done(async |client, path| Barrier::new(client, path).pass().await)?;
            output::done(|| json!({ "path": waiting.place.path, "passed": true }))
        }
        Args::Raise(place) => {
            changed(&place.target, &place.path, async |client, path| Barrier::new(client, path).raise().await)?;
            output::done(|| json!({ "path": place.path, "raised": true }))
        }
        Args::Lower(place) => {
            changed(&place.target, &place.path, async |client, path| Barrier::new(client, path).lower().await)?;
            output::done(|| json!({ "path": place.path, "raised": false }))
        }
        Args::Put { priority, path, data, target } => {
            let entry = data.read()?;
            changed(target, path, async |client, path| {
                Queue::new(client, path).put_at(*priority, entry.clone()).await
            })?;
            output::done(|| json!({ "path": path }))
        }
        Args::Add { path, delta, target } => {
            let number = changed(target, path, async |client, path| Counter::new(client, path).add(*delta).await)?;
            output::show(|| number.to_string(), || json!({ "path": path, "number": number }))
        }
        Args::Number(place) => {
            let number = place.read(async |client, path| Counter::new(client, path).get().await)?;
            output::show(|| number.to_string(), || json!({ "path": place.path, "number": number }))
        }
    }
}

/// Who is in a group, each with what it shows.
type Present = BTreeMap<String, Bytes>;

/// Prints who comes, goes, or shows another value, until so many lines are printed or nobody reads any more.
fn follow(client: &Client, path: &str, count: Option<u64>) -> Result<(), Failure> {
    let (mut members, mut before, rows) = (Group::new(client, path).watch(), Present::new(), Rows::default());
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let now = block_on(members.next()).map_err(|error| failed(&error))?;
        for (event, name, value) in changes(&before, &now) {
            let line = || match value {
                Some(value) => format!("{event} {name} {}", crate::one_line(value)),
                None => format!("{event} {name}"),
            };
            let object = || {
                let mut object = member(name, value);
                object.insert("event".to_owned(), event.into());
                object.into()
            };
            left -= 1;
            if !rows.add(|| line().into_bytes(), object)? || left == 0 {
                return Ok(());
            }
        }
        before = now;
    }
    Ok(())
}

/// What happened between two looks: who left, and then who joined or shows another value, by name.
fn changes<'a>(
    before: &'a Present,
    now: &'a Present,
) -> impl Iterator<Item = (&'static str, &'a str, Option<&'a Bytes>)> {
    let left = before.keys().filter(move |name| !now.contains_key(*name)).map(|name| ("left", name.as_str(), None));
    let there = now.iter().filter_map(move |(name, value)| {
        let event = match before.get(name) {
            None => "joined",
            Some(shown) if shown != value => "changed",
            Some(_) => return None,
        };
        Some((event, name.as_str(), Some(value)))
    });
    left.chain(there)
}

/// A member in JSON, with what it shows.
fn member(name: &str, value: Option<&Bytes>) -> Map<String, Value> {
    let data = value.map(|value| output::data(value));
    [("name", name.into())].into_iter().chain(data).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Joins the group, once nobody else is in it under that name.
async fn join(client: &Client, path: &str, name: &str, value: &str) -> Result<Membership, Error> {
    loop {
        let member = match Group::new(client, path).join(name, value.to_owned()).await {
            Err(Error::NodeExists { path }) => path,
            joined => return joined,
        };
        let mut watch = client.watch(&member, WatchOptions::node()).await?;
        if client.exists(&member).await?.is_none() {
            continue;
        }
        crate::tell(format_args!(
            "{member} is there already, and goes with its session: if its process is dead, when that has timed out; waiting"
        ));
        let event = poll_fn(|context| Pin::new(&mut watch).poll_next(context)).await;
        // Whatever happened to it, joining tells whether it is gone.
        event.unwrap_or(Err(Error::Closed { outcome: Outcome::NotApplied }))?;
    }
}

/// Takes an entry. One that is being taken when the wait is over is waited for as any answer is: given up it would be lost.
fn take(Waiting { wait, place: Place { path, target } }: &Waiting) -> Result<Bytes, Failure> {
    target.with_client(|client, timeout| {
        let (queue, begun) = (Queue::new(client, path.as_str()), Cell::new(false));
        let mut taking = pin!(queue.take_with(|txn, _| {
            begun.set(true);
            txn
        }));
        let in_time = match wait {
            None => Some(block_on(taking.as_mut())),
            Some(wait) => block_on_timeout(taking.as_mut(), *wait),
        };
        let taken = match (in_time, wait) {
            (Some(taken), _) => taken,
            (None, Some(wait)) if !begun.get() => {
                let none = Failure::new(Code::Refused, format!("no entry of {path} was to be had within {wait:?}"));
                return Err(late(client, timeout, none.fix("wait longer, with --wait")));
            }
            (None, _) => answered(taking, timeout),
        };
        taken.map_err(|error| change_failed(&error))
    })
}

/// Enters, runs the program, and leaves when all do.
fn together(count: u32, run: &Run) -> Result<u8, Failure> {
    let Waiting { wait, place: Place { path, target } } = &run.waiting;
    target.with_client(|client, timeout| {
        let inside = waited((client, timeout), DoubleBarrier::new(client, path.clone(), count).enter(), *wait, path)?;
        let status = run.program(client)?;
        block_on(inside.leave()).map_err(|error| change_failed(&error))?;
        Ok(status)
    })
}

impl Run {
    /// Runs the program while what `get` got is had.
    fn while_had<T>(&self, get: impl AsyncFn(&Client, &str) -> Result<T, Error>) -> Result<u8, Failure> {
        let Waiting { wait, place: Place { path, target } } = &self.waiting;
        target.with_client(|client, timeout| {
            let _had = waited((client, timeout), get(client, path), *wait, path)?;
            self.program(client)
        })
    }

    fn program(&self, client: &Client) -> Result<u8, Failure> {
        let environment = [("QUORATE_PATH", self.waiting.place.path.clone())];
        program::run(&self.program, &environment, || {
            if client.is_safe() {
                return Held::For(client.safe_for());
            }
            Held::Lost("the session's lease ran out, and others may take its place".to_owned())
        })
    }
}

impl Waiting {
    /// Waits for what others bring about.
    fn done<T>(&self, act: impl AsyncFn(&Client, &str) -> Result<T, Error>) -> Result<T, Failure> {
        let Place { path, target } = &self.place;
        target.with_client(|client, timeout| waited((client, timeout), act(client, path), self.wait, path))
    }
}

impl Place {
    /// Asks what is there.
    fn read<T>(&self, act: impl AsyncFn(&Client, &str) -> Result<T, Error>) -> Result<T, Failure> {
        let Self { path, target } = self;
        target.with_client(|client, timeout| answered(act(client, path), timeout).map_err(|error| failed(&error)))
    }
}

/// Changes what is there, waiting for nobody but the cell.
fn changed<T>(target: &Target, path: &str, act: impl AsyncFn(&Client, &str) -> Result<T, Error>) -> Result<T, Failure> {
    target.with_client(|client, timeout| answered(act(client, path), timeout).map_err(|error| change_failed(&error)))
}

/// What the cell answers, if it does in time.
fn answered<T>(future: impl Future<Output = Result<T, Error>>, timeout: Duration) -> Result<T, Error> {
    block_on_timeout(future, timeout).unwrap_or(Err(Error::Deadline { after: timeout }))
}

/// Waits for what others bring about, for so long at most.
fn waited<T>(
    (client, timeout): (&Client, Duration),
    future: impl Future<Output = Result<T, Error>>,
    wait: Option<Duration>,
    path: &str,
) -> Result<T, Failure> {
    let done = match wait {
        None => block_on(future),
        Some(wait) => block_on_timeout(future, wait).ok_or_else(|| {
            let held_up = Failure::new(Code::Refused, format!("{path} did not let this go on within {wait:?}"));
            late(client, timeout, held_up.fix("wait longer, with --wait"))
        })?,
    };
    done.map_err(|error| change_failed(&error))
}

/// Prints data and a line's end.
fn show(data: &[u8]) -> Result<(), Failure> {
    if output::is_json() {
        let (name, value) = output::data(data);
        return crate::print_line(&json!({ name: value }).to_string());
    }
    crate::print(&[data, b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_left_is_told_before_who_came_and_who_stays_the_same_is_not() {
        let present = |members: &[(&str, &'static str)]| -> Present {
            members.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from(*value))).collect()
        };
        let (before, now) =
            (present(&[("a", "1"), ("b", "1"), ("c", "1")]), present(&[("b", "2"), ("c", "1"), ("d", "1")]));
        let told: Vec<_> = changes(&before, &now).map(|(event, name, _)| (event, name)).collect();
        assert_eq!(told, [("left", "a"), ("changed", "b"), ("joined", "d")]);
    }

    #[test]
    fn a_change_that_is_not_answered_may_have_been_made_and_a_question_changes_nothing() {
        let silent = answered(std::future::pending::<Result<(), Error>>(), Duration::from_millis(1));
        let silent = silent.expect_err("nobody answers");
        assert_eq!((change_failed(&silent).exit_status(), failed(&silent).exit_status()), (4, 3));
    }
}
