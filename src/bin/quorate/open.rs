//! `quorate open`: keeps a node open while a program runs.
//!
//! The program ends with the handle: it is told to when the node is gone, or the session over. A session whose lease ran out,
//! and may live, is no reason: nobody else comes into the handle's possession.

use std::ffi::OsString;
use std::time::Duration;

use clap::ValueEnum;
use quorate::client::{Acl, AclEntry, CreateOptions, HandleEvent, HandleMode, OpenOptions, WatchOptions};
use quorate::server::{Code, Failure};

use super::connect::{Target, change_failed};
use super::input::Data;
use super::program::{self, Held};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate open --transient --parents /services/web/7 10.0.0.7:80 -- ./serve.sh\n  \
                  quorate open --transient --sequential /workers/w- -- ./work.sh\n  quorate open /app/config -- ./watch.sh\n  quorate open --for read /app/config -- ./tell.sh\n\n\
                  The exit status is the program's own, or 7 if that is 0 and what it ran for was lost meanwhile.")]
pub struct Args {
    /// The node's path
    path: String,
    #[command(flatten)]
    data: Data,
    /// Make the node if there is none, with that data
    #[arg(long)]
    create: bool,
    /// Make the node if there is none; it lives as long as somebody has it open
    #[arg(long, conflicts_with = "create")]
    transient: bool,
    /// There must be no such node
    #[arg(long)]
    must_create: bool,
    /// Append a number that rises with each node made here
    #[arg(long, short)]
    sequential: bool,
    /// Give a node that is made this access list, like world:anyone:r; more than once for more entries (see `quorate acl`)
    #[arg(long, value_name = "ENTRY")]
    acl: Vec<AclEntry>,
    /// Make missing parents as well
    #[arg(long, short)]
    parents: bool,
    /// What the handle is good for, like read,lock [default: all of it]
    #[arg(long = "for", value_enum, value_name = "USE", value_delimiter = ',')]
    uses: Vec<Use>,
    /// The program and its arguments. It finds QUORATE_HANDLE_PATH and QUORATE_HANDLE, for `quorate handle`, in its environment
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
    #[command(flatten)]
    target: Target,
}

/// What a handle may be good for.
#[derive(Clone, Copy, ValueEnum)]
enum Use {
    /// To read the node's data, its stat and the names below it
    Read,
    /// To write its data, to delete it, and to make nodes below it
    Write,
    /// To take its lock
    Lock,
    /// To bound what it and all below it may come to
    Admin,
}

/// Answers with the program's own exit status.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let options = options(args)?;
    args.target.with_client(|client, timeout| {
        let handle = client.open(&args.path, options).wait_timeout(timeout).map_err(|error| change_failed(&error))?;
        let events = handle.events(WatchOptions::node()).wait_timeout(timeout);
        let mut events = events.map_err(|error| change_failed(&error))?;
        let environment = [("QUORATE_HANDLE_PATH", handle.path()), ("QUORATE_HANDLE", handle.token().to_string())];
        let status = program::run(&args.program, &environment, || {
            while let Some(event) = events.next_timeout(Duration::ZERO) {
                if let HandleEvent::Invalid(why) = event {
                    return Held::Lost(format!("the handle is good for nothing more ({why:?})"));
                }
            }
            // A handle is good through jeopardy, and is told of its end.
            Held::For(Duration::MAX)
        })?;
        if client.is_safe() {
            // If its session is over it is closed, and there is no answer in time.
            let _ = handle.close().wait_timeout(timeout);
        }
        Ok(status)
    })
}

fn options(args: &Args) -> Result<OpenOptions, Failure> {
    let mut birth = if args.transient { CreateOptions::transient() } else { CreateOptions::permanent() };
    if args.sequential {
        birth = birth.sequential();
    }
    if args.parents {
        birth = birth.parents();
    }
    if !args.acl.is_empty() {
        if !(args.create || args.transient || args.must_create) {
            return Err(Failure::new(Code::Usage, "an access list is for a node that is made, and none is").fix(
                "say --create, --transient or --must-create; quorate acl set changes the list of a node that is there",
            ));
        }
        birth = birth.acl(Acl::new(args.acl.iter().cloned()));
    }
    let options = OpenOptions::mode(mode(&args.uses));
    Ok(match (args.create || args.transient, args.must_create) {
        (_, true) => options.create_new(args.data.read()?, birth),
        (true, false) => options.create(args.data.read()?, birth),
        (false, false) => options,
    })
}

fn mode(uses: &[Use]) -> HandleMode {
    let one = |each: &Use| match each {
        Use::Read => HandleMode::READ,
        Use::Write => HandleMode::WRITE,
        Use::Lock => HandleMode::LOCK,
        Use::Admin => HandleMode::ADMIN,
    };
    let all = if uses.is_empty() { HandleMode::ALL } else { HandleMode::NONE };
    uses.iter().map(one).fold(all, |all, one| all | one)
}
