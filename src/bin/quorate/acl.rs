//! `quorate acl`: who may do what with a node.

use quorate::client::{Acl, AclEntry, Expect, Sequencer, User};
use quorate::server::{Code, Failure};
use serde_json::json;

use super::connect::{Target, change_failed, failed, guarded};
use super::input::password;
use super::output;

#[derive(clap::Subcommand)]
#[command(after_help = "An entry is SCHEME:ID:RIGHTS. Rights are letters: r read, w write, c create children, d delete
children, a administer, l lock; or `all`. Who, is one of
  world:anyone            everybody
  auth:                   whoever sets the list, as --auth says
  digest:USER:DIGEST      who knows the password; `quorate acl digest` prints this
  ip:10.0.0.0/8           who connects from there
  group:/acl/NAME         who is listed in that node, one of the above a line

Examples:
  quorate acl set /app world:anyone:r auth::all --auth digest:alice:secret
  quorate acl get /app
  quorate acl rm /app --auth digest:alice:secret
  quorate acl digest alice < password.txt")]
pub enum Args {
    /// Sets a node's access list, in the place of the one it has
    Set(Set),
    /// Prints a node's access list, one entry a line
    Get(Get),
    /// Takes a node's access list away: it is open to all then
    Rm(Rm),
    /// Prints whom the session stands for
    Whoami(Whoami),
    /// Reads a password from standard input and prints the user as access lists and the configuration name it
    Digest(Digest),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate acl set /app world:anyone:r auth::all --auth digest:alice:secret\n  \
                        quorate acl set --inherit /teams/db group:/acl/db:all\n  \
                        quorate acl set --version 3 /app ip:10.0.0.0/8:rw")]
pub struct Set {
    /// The node's path
    path: String,
    /// The entries, like world:anyone:r
    #[arg(required = true, value_name = "ENTRY")]
    entries: Vec<AclEntry>,
    /// Children made from now on get the same list
    #[arg(long)]
    inherit: bool,
    /// Only if the list has this version (`quorate stat` shows it)
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Only while that lock is held so: $QUORATE_LOCK_SEQUENCER of a program of `quorate lock` or `elect`
    #[arg(long, value_name = "SEQUENCER")]
    under: Option<Sequencer>,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate acl get /app\n  quorate acl get --json /app")]
pub struct Get {
    /// The node's path
    path: String,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate acl rm /app")]
pub struct Rm {
    /// The node's path
    path: String,
    /// Only if the list has this version
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Only while that lock is held so: $QUORATE_LOCK_SEQUENCER of a program of `quorate lock` or `elect`
    #[arg(long, value_name = "SEQUENCER")]
    under: Option<Sequencer>,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate acl whoami --auth digest:alice:secret")]
pub struct Whoami {
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate acl digest alice < password.txt\n\nThe password is the first line of standard \
                        input, without the line's end."
)]
pub struct Digest {
    /// The user's name
    user: String,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Set(args) => set(args),
        Args::Get(args) => get(args),
        Args::Rm(Rm { path, version, under, target }) => target.with_client(|client, timeout| {
            let removed = match under {
                Some(lock) => guarded(client, lock)?.remove_acl(path, expected(*version)),
                None => client.remove_acl(path, expected(*version)),
            };
            let stat = removed.wait_timeout(timeout).map_err(|error| change_failed(&error))?;
            output::done(|| json!({ "path": path, "acl_version": stat.acl_version }))
        }),
        Args::Whoami(Whoami { target }) => {
            let who = target.with_client(|client, timeout| {
                client.who_am_i().wait_timeout(timeout).map_err(|error| failed(&error))
            })?;
            output::show(|| who.names().join("\n"), || json!({ "principals": who.names() }))
        }
        Args::Digest(Digest { user }) => {
            if user.is_empty() || user.contains(':') {
                return Err(Failure::new(Code::Usage, format!("`{user}` is no user's name")).fix("leave out the colon"));
            }
            let digest = User::new(user, &password()?).to_string();
            output::show(|| digest.clone(), || json!({ "digest": digest }))
        }
    }
}

/// Prints nothing, in the simple form.
fn set(Set { path, entries, inherit, version, under, target }: &Set) -> Result<(), Failure> {
    let acl = Acl { entries: entries.clone(), inherit: *inherit };
    target.with_client(|client, timeout| {
        let set = match under {
            Some(lock) => guarded(client, lock)?.set_acl(path, acl, expected(*version)),
            None => client.set_acl(path, acl, expected(*version)),
        };
        let stat = set.wait_timeout(timeout).map_err(|error| change_failed(&error))?;
        output::done(|| json!({ "path": path, "acl_version": stat.acl_version }))
    })
}

/// Prints the entries; for a node without a list the one that would say the same.
fn get(Get { path, target }: &Get) -> Result<(), Failure> {
    let (acl, stat) =
        target.with_client(|client, timeout| client.acl(path).wait_timeout(timeout).map_err(|error| failed(&error)))?;
    let open = acl.is_none();
    let inherit = acl.as_ref().is_some_and(|acl| acl.inherit);
    let entries: Vec<String> = match acl {
        Some(acl) => acl.entries.iter().map(AclEntry::to_string).collect(),
        None => vec!["world:anyone:rwcdal".to_owned()],
    };
    if inherit {
        crate::tell(format_args!("children made from now on get the same list"));
    }
    let object = || json!({ "path": path, "entries": entries, "inherit": inherit, "open": open, "acl_version": stat.acl_version });
    output::show(|| entries.join("\n"), object)
}

fn expected(version: Option<u64>) -> Expect {
    version.map_or(Expect::Any, Expect::Version)
}
