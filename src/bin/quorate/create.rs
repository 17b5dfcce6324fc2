//! `quorate create`: makes a node.

use std::time::Duration;

use quorate::client::{Acl, AclEntry, Client, CreateOptions, Sequencer};
use quorate::server::{Code, Failure};

use super::connect::{Target, change_failed, span};
use super::input::Data;
use super::output;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate create --parents /app/config '{\"colour\": \"blue\"}'\n  quorate create --sequential /app/jobs/job- waiting\n  quorate create /app/blob - < blob.bin\n  quorate create --ttl 30s /app/seen/host-7 now\n  quorate create --container /app/locks\n  quorate create --acl auth::all --acl world:anyone:r /app/mine"
)]
pub struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct What {
    /// The node's path, like /app/config
    path: String,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    birth: Birth,
    /// Make missing parents as well
    #[arg(long, short)]
    parents: bool,
    /// Only while that lock is held so: $QUORATE_LOCK_SEQUENCER of a program of `quorate lock` or `elect`
    #[arg(long, value_name = "SEQUENCER", conflicts_with = "parents")]
    under: Option<Sequencer>,
}

/// How a node is made, by whatever makes it.
#[derive(clap::Args)]
pub struct Birth {
    /// Append a number that rises with each node made here, and print the name
    #[arg(long, short)]
    sequential: bool,
    /// End when it has had neither children nor new data for so long, like 30s
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with = "container")]
    ttl: Option<Duration>,
    /// End with the session, which must be one that outlives this command: see --resume
    #[arg(long, conflicts_with_all = ["ttl", "container"])]
    ephemeral: bool,
    /// End some seconds after its last child went
    #[arg(long)]
    container: bool,
    /// Give the node this access list, like world:anyone:r; more than once for more entries (see `quorate acl`)
    #[arg(long, value_name = "ENTRY")]
    acl: Vec<AclEntry>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.what.birth.check(&args.target)?;
    args.target.with_client(|client, timeout| perform(client, &args.what, timeout))
}

/// Prints the path of the node made.
pub fn perform(client: &Client, what: &What, timeout: Duration) -> Result<(), Failure> {
    let options = what.birth.options();
    let options = if what.parents { options.parents() } else { options };
    let data = what.data.read()?;
    let create = match &what.under {
        Some(lock) => client.guarded_by(lock).map_err(|error| change_failed(&error))?.create(&what.path, data, options),
        None => client.create(&what.path, data, options),
    };
    let made = create.wait_timeout(timeout);
    let made = made.map_err(|error| change_failed(&error))?;
    output::show(|| made.path.clone(), || output::version(&made.path, made.stat.version))
}

impl Birth {
    /// Refuses what would be gone before anybody has seen it.
    pub fn check(&self, target: &Target) -> Result<(), Failure> {
        if self.ephemeral && target.resume.is_none() {
            return Err(Failure::new(Code::Usage, "an ephemeral node would end with this command")
                .fix("quorate session open FILE, and give it as --resume FILE"));
        }
        Ok(())
    }

    /// As the library has it.
    pub fn options(&self) -> CreateOptions {
        let mut options = match self.ttl {
            Some(ttl) => CreateOptions::ttl(ttl),
            None if self.ephemeral => CreateOptions::ephemeral(),
            None if self.container => CreateOptions::container(),
            None => CreateOptions::permanent(),
        };
        if self.sequential {
            options = options.sequential();
        }
        if !self.acl.is_empty() {
            options = options.acl(Acl::new(self.acl.iter().cloned()));
        }
        options
    }
}
