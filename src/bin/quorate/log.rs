//! `quorate log`: nodes that hold records, to be appended to, read and followed.

use std::io::{self, BufRead};
use std::time::Duration;

use quorate::client::{Client, Consistency, CreateOptions, Error, Sequencer, Stat, Tailed};
use quorate::server::{Code, Failure};
use serde_json::json;

use super::connect::{Target, change_failed, failed, guarded, span};
use super::freshness::Freshness;
use super::output::{self, Rows};

#[derive(clap::Subcommand)]
#[command(
    after_help = "Examples:\n  quorate log create /app/events\n  quorate log append /app/events started\n  quorate log read /app/events\n  quorate log tail /app/events"
)]
pub enum Args {
    /// Makes a log, with no records yet
    Create(Create),
    /// Adds records at the end; prints the first position and the new end of each request, one a line
    Append(Append),
    /// Prints records, one a line
    Read(Read),
    /// Prints records as they come, one a line, until the log is sealed
    Tail(Tail),
    /// Drops records; prints the position where the log begins now
    Trim(Trim),
    /// Closes the log to further records, for good; prints the position where it ends
    Seal(Seal),
    /// Prints where the log begins and ends, and how large it is
    Stat(Numbers),
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate log create --parents /app/events\n  quorate log create --ttl 60m /app/debug"
)]
pub struct Create {
    /// The log's path
    path: String,
    /// End when it has had neither children nor new records for so long, like 30s
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with = "container")]
    ttl: Option<Duration>,
    /// End some seconds after its last child went
    #[arg(long)]
    container: bool,
    /// Append a number that rises with each node made here, and print the name
    #[arg(long, short)]
    sequential: bool,
    /// Make missing parents as well
    #[arg(long, short)]
    parents: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate log append /app/events started 'host 7 joined'\n  quorate log append --end 2 /app/events stopped\n  quorate lock /app -- sh -c 'quorate log append --under \"$QUORATE_LOCK_SEQUENCER\" /app/events busy'\n  journalctl -f | quorate log append /app/events -"
)]
pub struct Append {
    /// The log's path
    path: String,
    /// The records, after `--` if one begins with a hyphen; a single `-` reads standard input, of which each line is one
    #[arg(required = true)]
    records: Vec<String>,
    /// Only if the log ends at this position
    #[arg(long, value_name = "POSITION")]
    end: Option<u64>,
    /// Only while that lock is held so: $QUORATE_LOCK_SEQUENCER of a program of `quorate lock` or `elect`
    #[arg(long, value_name = "SEQUENCER")]
    under: Option<Sequencer>,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate log read /app/events\n  quorate log read --from 100 --count 10 --json /app/events\n  quorate log read --stale /app/events"
)]
pub struct Read {
    /// The log's path
    path: String,
    /// Position of the first record; otherwise the first that is not trimmed
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    freshness: Freshness,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate log tail /app/events\n  quorate log tail --from 0 --count 3 --json /app/events"
)]
pub struct Tail {
    /// The log's path
    path: String,
    /// Position of the first record; otherwise the log's end as it is now
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    target: Target,
}

/// How records are printed.
#[derive(clap::Args)]
struct Form {
    /// End after so many records
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// The position of each in front of it
    #[arg(long, short, conflicts_with = "json")]
    positions: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate log trim /app/events 100")]
pub struct Trim {
    /// The log's path
    path: String,
    /// The records before this position go
    upto: u64,
    /// Only while that lock is held so: $QUORATE_LOCK_SEQUENCER of a program of `quorate lock` or `elect`
    #[arg(long, value_name = "SEQUENCER")]
    under: Option<Sequencer>,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate log seal /app/events")]
pub struct Seal {
    /// The log's path
    path: String,
    /// Only while that lock is held so: $QUORATE_LOCK_SEQUENCER of a program of `quorate lock` or `elect`
    #[arg(long, value_name = "SEQUENCER")]
    under: Option<Sequencer>,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate log stat /app/events\n  quorate log stat --json /app/events")]
pub struct Numbers {
    /// The log's path
    path: String,
    #[command(flatten)]
    freshness: Freshness,
    #[command(flatten)]
    target: Target,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Create(args) => args.target.with_client(|client, timeout| create(client, args, timeout)),
        Args::Append(args) => args.target.with_client(|client, timeout| append(client, args, timeout)),
        Args::Read(args) => args.target.with_client(|client, timeout| read(client, args, timeout)),
        Args::Tail(args) => args.target.with_client(|client, timeout| tail(client, args, timeout)),
        Args::Trim(Trim { path, upto, under, target }) => target.with_client(|client, timeout| {
            let trimmed = match under {
                Some(lock) => guarded(client, lock)?.trim(path, *upto),
                None => client.log(path).trim(*upto),
            };
            let first = trimmed.wait_timeout(timeout).map_err(|error| change_failed(&error))?;
            output::show(|| first.to_string(), || json!({ "path": path, "first": first }))
        }),
        Args::Seal(Seal { path, under, target }) => target.with_client(|client, timeout| {
            let sealed = match under {
                Some(lock) => guarded(client, lock)?.seal(path),
                None => client.log(path).seal(),
            };
            let end = sealed.wait_timeout(timeout).map_err(|error| change_failed(&error))?;
            output::show(|| end.to_string(), || json!({ "path": path, "end": end }))
        }),
        Args::Stat(args) => args.target.with_client(|client, timeout| stat(client, args, timeout)),
    }
}

/// Prints the path of the log made.
fn create(client: &Client, args: &Create, timeout: Duration) -> Result<(), Failure> {
    let mut options = match args.ttl {
        Some(ttl) => CreateOptions::ttl(ttl),
        None if args.container => CreateOptions::container(),
        None => CreateOptions::permanent(),
    };
    if args.sequential {
        options = options.sequential();
    }
    if args.parents {
        options = options.parents();
    }
    let made = client.create_log(&args.path, options).wait_timeout(timeout);
    let path = made.map_err(|error| change_failed(&error))?.path;
    output::show(|| path.clone(), || json!({ "path": path }))
}

/// Prints one line a request: `FIRST END`. Lines of standard input that are there together go in one request.
fn append(client: &Client, args: &Append, timeout: Duration) -> Result<(), Failure> {
    let log = client.log(&args.path);
    let guarded = args.under.as_ref().map(|lock| guarded(client, lock)).transpose()?;
    let (mut end, rows) = (args.end, Rows::default());
    let mut add = |records: &[Vec<u8>]| {
        let appended = match (&guarded, end) {
            (Some(guarded), end) => guarded.append(&args.path, records, end),
            (None, Some(end)) => log.append_at(end, records),
            (None, None) => log.append(records),
        };
        let appended = appended.wait_timeout(timeout).map_err(|error| change_failed(&error))?;
        end = end.map(|_| appended.end);
        let told = || json!({ "path": args.path, "first": appended.first, "end": appended.end });
        rows.add(|| format!("{} {}", appended.first, appended.end).into_bytes(), told).map(drop)
    };
    if args.records != ["-"] {
        let records: Vec<_> = args.records.iter().map(|record| record.clone().into_bytes()).collect();
        return add(&records);
    }
    let mut input = io::BufReader::with_capacity(REQUEST_BYTES, io::stdin());
    loop {
        let (mut records, mut bytes) = (Vec::new(), 0);
        // The first line is waited for; others go with it if they are here already.
        while records.is_empty() || bytes < REQUEST_BYTES && input.buffer().contains(&b'\n') {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line);
            if read.map_err(|error| cannot_read(&error))? == 0 {
                break;
            }
            line.pop_if(|last| *last == b'\n');
            bytes += line.len();
            records.push(line);
        }
        if records.is_empty() {
            return Ok(());
        }
        add(&records)?;
    }
}

fn read(client: &Client, args: &Read, timeout: Duration) -> Result<(), Failure> {
    let (log, consistency) = (client.log(&args.path), args.freshness.consistency());
    let mut from = match args.from {
        Some(from) => from,
        None => first_left(client, &args.path, consistency, timeout)?,
    };
    let (mut left, rows) = (args.form.count.unwrap_or(u64::MAX), Rows::default());
    let mut end = None;
    while left > 0 && end.is_none_or(|end| from < end) {
        let page = log.read_as(from, u32::MAX, consistency).wait_timeout(timeout).map_err(|error| failed(&error))?;
        // Where it ended at first is where this ends, however fast others append.
        let end = *end.get_or_insert(page.stat.version);
        let (next, positions) = (page.next, page.from..end);
        for (position, data) in positions.zip(page.records).take(usize::try_from(left).unwrap_or(usize::MAX)) {
            left -= 1;
            if !args.form.is_printed(&rows, position, &data)? {
                return Ok(());
            }
        }
        from = next;
    }
    Ok(())
}

fn tail(client: &Client, args: &Tail, timeout: Duration) -> Result<(), Failure> {
    let log = client.log(&args.path);
    let from = match args.from {
        Some(from) => from,
        None => log_stat(client, &args.path, Consistency::Linearizable, timeout)?.version,
    };
    // A script may wait for this before it does what is to be seen.
    crate::tell(format_args!("following {} from position {from} on", args.path));
    let (mut left, rows) = (args.form.count.unwrap_or(u64::MAX), Rows::default());
    if left == 0 {
        return Ok(());
    }
    for tailed in log.tail(from) {
        match tailed.map_err(|error| failed(&error))? {
            Tailed::Record { position, data } => {
                left -= 1;
                if !args.form.is_printed(&rows, position, &data)? || left == 0 {
                    return Ok(());
                }
            }
            Tailed::Trimmed { from, first } => {
                crate::tell(format_args!("records before {first} are trimmed, those from {from} on with them"));
                let told = json!({ "trimmed_from": from, "first": first }).to_string();
                if output::is_json() && !crate::is_printed(format!("{told}\n").as_bytes())? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Prints the numbers, one a line.
fn stat(client: &Client, args: &Numbers, timeout: Duration) -> Result<(), Failure> {
    let stat = log_stat(client, &args.path, args.freshness.consistency(), timeout)?;
    let log = stat.log.expect("it is a log's");
    let numbers = json!({
        "first": log.first,
        "end": stat.version,
        "data_bytes": stat.data_bytes,
        "sealed": log.sealed,
    });
    output::numbers(&args.path, numbers)
}

/// Position of the first record that is not trimmed; that some are is told.
fn first_left(client: &Client, path: &str, consistency: Consistency, timeout: Duration) -> Result<u64, Failure> {
    let first = log_stat(client, path, consistency, timeout)?.log.map_or(0, |log| log.first);
    if first > 0 {
        crate::tell(format_args!("records before {first} are trimmed"));
    }
    Ok(first)
}

fn log_stat(client: &Client, path: &str, consistency: Consistency, timeout: Duration) -> Result<Stat, Failure> {
    let stat = client.exists_as(path, consistency);
    let path = || path.to_owned();
    match stat.wait_timeout(timeout).map_err(|error| failed(&error))? {
        Some(stat) if stat.log.is_some() => Ok(stat),
        Some(_) => Err(failed(&Error::NotLog { path: path() })),
        None => Err(failed(&Error::NoNode { path: path() })),
    }
}

fn cannot_read(error: &io::Error) -> Failure {
    Failure::new(Code::Usage, "cannot read standard input").found(error.to_string())
}

impl Form {
    /// Prints a record; whether anybody reads on.
    fn is_printed(&self, rows: &Rows, position: u64, data: &[u8]) -> Result<bool, Failure> {
        let simple = || if self.positions { [format!("{position} ").as_bytes(), data].concat() } else { data.to_vec() };
        let value = || {
            let (name, value) = output::data(data);
            json!({ "position": position, name: value })
        };
        rows.add(simple, value)
    }
}

/// A request takes up further lines until it has this many bytes.
const REQUEST_BYTES: usize = 256 << 10;
