//! `quorate handle`: uses a handle that somebody else opened.

use quorate::client::{Expect, HandleToken};
use quorate::server::Failure;

use super::connect::{Target, change_failed, failed};
use super::input::NewData;
use super::{get, output, stat};

#[derive(clap::Subcommand)]
pub enum Args {
    /// Prints the stat of the node that it has open, if it is good still
    #[command(after_help = "Example:\n  quorate handle check \"$QUORATE_HANDLE\"")]
    Check(Check),
    /// Prints the data of the node that it has open, and a line's end
    #[command(after_help = "Example:\n  quorate handle get \"$QUORATE_HANDLE\"")]
    Get(Which),
    /// Replaces the data of the node that it has open
    #[command(after_help = "Example:\n  quorate handle set \"$QUORATE_HANDLE\" ready")]
    Set(Set),
}

#[derive(clap::Args)]
pub struct Which {
    /// The handle, as `quorate open` gave it to its program
    handle: HandleToken,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct Check {
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args)]
pub struct Set {
    /// The handle, as `quorate open` gave it to its program
    handle: HandleToken,
    #[command(flatten)]
    data: NewData,
    #[command(flatten)]
    target: Target,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Check(Check { which: Which { handle, target } }) => target.with_client(|client, timeout| {
            let found = client.handle(handle.clone()).stat().wait_timeout(timeout).map_err(|error| failed(&error))?;
            stat::show(&handle.path, &found)
        }),
        Args::Get(Which { handle, target }) => target.with_client(|client, timeout| {
            let got = client.handle(handle.clone()).get().wait_timeout(timeout);
            let (data, stat) = got.map_err(|error| failed(&error))?;
            get::show(&handle.path, &data, &stat, false)
        }),
        Args::Set(Set { handle, data, target }) => {
            let data = data.read()?;
            target.with_client(|client, timeout| {
                let set = client.handle(handle.clone()).set(data, Expect::Any).wait_timeout(timeout);
                let version = set.map_err(|error| change_failed(&error))?.version;
                output::show(|| format!("version {version}"), || output::version(&handle.path, version))
            })
        }
    }
}
