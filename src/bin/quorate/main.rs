//! `quorate`: the server, the tools and the load generator, one file a subcommand.
//!
//! House rules: standard output carries the result and nothing else, in the form that `--output` asks for (`output`);
//! everything for a person's eyes goes to standard error, by [`tell`]. The exit status is the number of the failure's code
//! (`quorate::server::failure`).
//!
//! Everything the library does is here, but for what only the process that holds it can do:
//!
//! | of the library | why it is not here |
//! |---|---|
//! | `Client::session_events`, `safe_for` | a command is over before it could act on them; what `lock`, `elect`, `open` and `recipe` run is ended in time (`program`) |
//! | `Handle::lock`, `try_lock` | the lock of a handle that another process opened has no lock-delay, within which a program could be ended: `quorate lock` has one |
//! | `Handle::poison` | it calls back threads of one process |
//! | `Queue::take_with` | what is done along with taking an entry is a program's; `recipe take` may lose one, and says so |
//! | `Setting` | a value in memory that changes by itself; `watch --data` prints each |
//! | `Fence` | it compares tokens inside the service that a lock's holder talks to |

#![deny(clippy::print_stderr, reason = "it ends the program if nobody reads: see `tell`")]

mod acl;
mod bench;
mod cell;
mod config;
mod connect;
mod create;
mod delete;
mod delete_tree;
mod dev;
mod doctor;
mod elect;
mod explain;
mod format;
mod freshness;
mod get;
mod handle;
mod holders;
mod input;
mod inspect;
mod interrupt;
mod iotest;
mod lock;
mod log;
mod ls;
mod manual;
mod member;
mod open;
mod output;
mod program;
mod quota;
mod recipe;
mod recover;
mod scan;
mod session;
mod set;
mod shell;
mod snapshot;
mod start;
mod stat;
mod status;
mod supervised;
mod sync;
mod tune;
mod txn;
mod watch;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use quorate::server::{Code, Failure};
use tracing_subscriber::EnvFilter;

use self::output::Output;

/// The server allocates little once it runs; what is left (client connections, maps) is many small blocks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A replicated coordination appliance: files and sessions on a Multi-Paxos log.
#[derive(Parser)]
#[command(name = "quorate", version, max_term_width = 120, after_help = EXAMPLES)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{ENVIRONMENT}\n\n{}", exit_statuses()))]
struct Cli {
    /// In which form the result is printed
    #[arg(long, global = true, env = "QUORATE_OUTPUT", value_name = "FORM", value_enum, default_value = "simple")]
    #[arg(help_heading = "Of every command")]
    output: Output,
    /// Short for --output json
    #[arg(long, global = true, help_heading = "Of every command")]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a whole cell of real processes on this host, to try things on
    Dev(dev::Args),
    /// Makes the folder of one replica; once in its life
    Format(format::Args),
    /// Brings a replica whose disk is lost back with an empty one; or makes one more
    Recover(recover::Args),
    /// Shows the cell's members, and changes them
    #[command(subcommand)]
    Member(member::Args),
    /// Runs one replica on its folder until SIGTERM
    Start(start::Args),
    /// Shows every replica of a cell
    Status(status::Args),
    /// Makes a node
    Create(create::Args),
    /// Prints a node's data
    Get(get::Args),
    /// Replaces a node's data
    #[command(visible_alias = "put")]
    Set(set::Args),
    /// Removes a node without children
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
    /// Removes a node and all below it
    DeleteTree(delete_tree::Args),
    /// Lists the names of a node's children
    Ls(ls::Args),
    /// Lists a node and all below it
    Scan(scan::Args),
    /// Prints a node's numbers
    Stat(stat::Args),
    /// Bounds what a node and all below it may come to
    #[command(subcommand)]
    Quota(quota::Args),
    /// Says who may do what with a node
    #[command(subcommand)]
    Acl(acl::Args),
    /// Appends records to a log, reads and follows it
    #[command(subcommand)]
    Log(log::Args),
    /// Prints what happens to a node, or around it, one event a line
    Watch(watch::Args),
    /// Does several steps, all or none, if conditions hold
    Txn(txn::Args),
    /// Runs a program while it holds a lock
    Lock(lock::Args),
    /// Tells who holds a lock, and how many wait for it
    Holders(holders::Args),
    /// Runs a program while it has a node open
    Open(open::Args),
    /// Uses a handle that somebody else opened
    #[command(subcommand)]
    Handle(handle::Args),
    /// Waits until all that was done before is applied, and prints the revision
    Sync(sync::Args),
    /// Takes these commands line by line, with history and completion
    Shell(shell::Args),
    /// Runs a program while it leads, or tells who does
    Elect(elect::Args),
    /// Semaphores, barriers, groups, queues and counters
    #[command(subcommand)]
    Recipe(recipe::Args),
    /// Puts load on a cell, verifies its answers, and measures
    #[command(subcommand)]
    Bench(Box<bench::Args>),
    /// Shows the sessions of a cell, and keeps some of its own
    #[command(subcommand)]
    Session(session::Args),
    /// Copies the state of a cell into a file, and makes a new cell from one
    #[command(subcommand)]
    Snapshot(snapshot::Args),
    /// Looks into a replica's folder
    #[command(subcommand)]
    Inspect(inspect::Args),
    /// Tells whether a configuration is sound
    CheckConfig(config::Check),
    /// Shows what a configuration comes to
    #[command(subcommand)]
    Config(config::Args),
    /// Explains an error's code
    Explain(explain::Args),
    /// Prints the completions of a shell
    Completion(manual::Completion),
    /// Writes the man pages
    Man(manual::Man),
    /// Examines whether this host can run a replica well; status 1 for warnings, 2 for what stops a start
    Doctor(doctor::Args),
    /// Measures how long a disk takes to make the journal's writes durable
    Iotest(iotest::Args),
    /// Looks at this host's settings, sets them, and brings back what was there
    #[command(subcommand, disable_help_subcommand = true)]
    Tune(tune::Args),
    #[command(hide = true)]
    Supervised(supervised::Args),
}

fn main() -> ExitCode {
    abort_on_panic();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(error),
    };
    output::ask_for(if cli.json { Output::Json } else { cli.output });
    // What the client library does underneath is told to who asks for it; a server says what it does unasked.
    if std::env::var_os("QUORATE_LOG").is_some() && !matches!(cli.command, Command::Start(_)) {
        log_to_stderr("off");
    }
    let ended = match cli.command {
        Command::Dev(args) => dev::run(args),
        Command::Format(args) => format::run(&args).map(|()| 0),
        Command::Recover(args) => recover::run(&args).map(|()| 0),
        Command::Member(args) => member::run(&args).map(|()| 0),
        Command::Start(args) => start::run(&args).map(|()| 0),
        Command::Status(args) => status::run(&args).map(|()| 0),
        Command::Create(args) => create::run(&args).map(|()| 0),
        Command::Get(args) => get::run(&args).map(|()| 0),
        Command::Set(args) => set::run(&args).map(|()| 0),
        Command::Delete(args) => delete::run(&args).map(|()| 0),
        Command::DeleteTree(args) => delete_tree::run(&args).map(|()| 0),
        Command::Ls(args) => ls::run(&args).map(|()| 0),
        Command::Scan(args) => scan::run(&args).map(|()| 0),
        Command::Stat(args) => stat::run(&args).map(|()| 0),
        Command::Quota(args) => quota::run(&args).map(|()| 0),
        Command::Acl(args) => acl::run(&args).map(|()| 0),
        Command::Log(args) => log::run(&args).map(|()| 0),
        Command::Watch(args) => watch::run(&args).map(|()| 0),
        Command::Txn(args) => txn::run(&args).map(|()| 0),
        Command::Lock(args) => lock::run(&args),
        Command::Holders(args) => holders::run(&args),
        Command::Sync(args) => sync::run(&args).map(|()| 0),
        Command::Open(args) => open::run(&args),
        Command::Handle(args) => handle::run(&args).map(|()| 0),
        Command::Elect(args) => elect::run(&args),
        Command::Recipe(args) => recipe::run(&args),
        Command::Shell(args) => shell::run(&args),
        Command::Bench(args) => bench::run(&args).map(|()| 0),
        Command::Session(args) => session::run(&args).map(|()| 0),
        Command::Snapshot(args) => snapshot::run(&args).map(|()| 0),
        Command::Inspect(args) => inspect::run(&args).map(|()| 0),
        Command::CheckConfig(args) => config::check(&args).map(|()| 0),
        Command::Config(args) => config::run(&args).map(|()| 0),
        Command::Explain(args) => explain::run(&args).map(|()| 0),
        Command::Completion(args) => manual::completion(&args).map(|()| 0),
        Command::Man(args) => manual::man(&args).map(|()| 0),
        Command::Doctor(args) => doctor::run(&args),
        Command::Iotest(args) => iotest::run(&args).map(|()| 0),
        Command::Tune(args) => tune::run(&args),
        Command::Supervised(args) => supervised::run(&args).map(|()| 0),
    };
    match ended {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.exit_status())
        }
    }
}

/// Diagnostics go to standard error, at the level that `QUORATE_LOG` asks for.
fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_env("QUORATE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A second call in one process changes nothing, which is right.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false).try_init();
}

/// Help and the version are results; all else is a mistake, with its code like any other.
fn not_parsed(mut error: clap::Error) -> ExitCode {
    if let Some(tip) = tip(&error) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        if asks_for_json() {
            output::ask_for(Output::Json);
        }
        complain(&misused(&error));
    } else {
        // It may go to a pipe whose reader has seen enough.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { Code::Usage.number() } else { 0 })
}

/// What was meant, where the parser cannot know it.
fn tip(error: &clap::Error) -> Option<&'static str> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let words = std::env::args_os().skip(1);
    let command =
        words.fold(Cli::command(), |command, word| command.find_subcommand(&word).cloned().unwrap_or(command));
    if !argument.starts_with('-') && command.get_arguments().any(clap::Arg::is_last_set) {
        return Some("put `--` before the program and its arguments");
    }
    let means_all = ["--recursive", "-r", "-R"].contains(&argument.as_str());
    (means_all && command.get_name() == "delete").then_some("`quorate delete-tree` removes a node and all below it")
}

/// The parser's words under our code.
fn misused(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    let lines: Vec<String> = text.lines().map(usage).collect();
    Failure::new(Code::Usage, lines.join("\n"))
}

/// The parser's line of usage shows what a variable gave as if it had to be typed.
fn usage(line: &str) -> String {
    if !line.starts_with("Usage: ") {
        return line.to_owned();
    }
    let given = connect::VARIABLES.iter().filter(|(variable, _)| std::env::var_os(variable).is_some());
    given.fold(line.to_owned(), |line, (_, flag)| line.replace(flag, ""))
}

/// Whether a command line that could not be read asked for JSON all the same.
fn asks_for_json() -> bool {
    let args: Vec<_> = std::env::args_os().skip(1).take_while(|arg| arg != "--").collect();
    args.iter().any(|arg| arg == "--json" || arg == "--output=json")
        || args.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json")
        || std::env::var("QUORATE_OUTPUT").is_ok_and(|form| form == "json")
}

/// Tells what went wrong, on standard error; in the form that was asked for.
fn complain(failure: &Failure) {
    let text = if output::is_json() { output::failure(failure).to_string() } else { failure.report() };
    say(format_args!("{text}"));
}

/// Tells beside the result what is worth a word: a line on standard error, or in JSON an object with a `note`.
fn tell(words: fmt::Arguments<'_>) {
    if output::is_json() {
        return say(format_args!("{}", serde_json::json!({ "note": words.to_string() })));
    }
    say(words);
}

/// Writes a line to standard error. Whoever reads it may be gone: then there is nobody to be told, and what is to be done is
/// done all the same.
fn say(words: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// A replica that failed half-way must not go on, whichever thread it was and however the program was built.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}

/// From a cell to try things on to a lock, and what to do about an error.
const EXAMPLES: &str = "Examples:
  quorate dev
  quorate create /app '{\"colour\": \"blue\"}'
  quorate get /app
  quorate watch /app
  quorate lock /app/backup -- ./backup.sh
  quorate status
  quorate explain E012";

/// What is read of the environment.
const ENVIRONMENT: &str = "Environment (a flag wins over its variable):
  QUORATE_ENDPOINTS    --endpoints: the cell's client addresses
  QUORATE_CELL         --cell: refuse to talk to any other
  QUORATE_TIMEOUT      --timeout: how long opening the session, and each answer, may take
  QUORATE_AUTH         --auth: whom to stand for, a line for each user
  QUORATE_RESUME       --resume: the file of the session to do it in
  QUORATE_OUTPUT       --output: simple, table or json
  QUORATE_CONFIG       --config of commands that have it: the cell's configuration
  QUORATE_SECTION_KEY  a setting laid over the configuration, like QUORATE_PAXOS_LEASE=300ms
  QUORATE_LOG          diagnostics on standard error: error, warn, info, debug, trace or off; info for start, off for all else
  NO_COLOR             no colours in help, if it is set and not empty";

fn exit_statuses() -> String {
    let mut text = String::from("Exit status:\n    0  done, or nobody reads on what it prints");
    for code in Code::ALL {
        text += &format!("\n{:5}  {}", code.number(), code.meaning());
    }
    text
}

/// Writes a result to standard output. A reader that went away ends the program quietly, as pipes expect.
fn print(result: &[u8]) -> Result<(), Failure> {
    is_printed(result).map(|_| ())
}

/// [`print`], of what others follow: whether anybody reads on.
fn is_printed(result: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(result).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Code::DiskFailed, "cannot write the result").found(error.to_string())),
    }
}

/// Data as a part of one line: what would end the line, or is not to be shown, is escaped; all else stays as it is.
fn one_line(data: &[u8]) -> String {
    let shown = |c: char| match c {
        '"' | '\'' => String::from(c),
        _ => c.escape_debug().to_string(),
    };
    String::from_utf8_lossy(data).chars().map(shown).collect()
}

/// [`print`], with a line's end.
fn print_line(result: &str) -> Result<(), Failure> {
    print(format!("{result}\n").as_bytes())
}
