//! `quorate recover`: a replica whose disk is lost comes back with an empty one; a new replica joins.
#![expect(clippy::disallowed_methods, reason = "a command that waits for a cell looks again after a while")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use quorate::client::{Addresses, Incarnation, MemberChange, MemberStatus, Members, ReplicaId};
use quorate::server::config::{Override, ReplicaSection};
use quorate::server::{self, Code, Config, Failure, Purpose};

use super::connect::{Target, Users};
use super::member::{self, Waiting};
use super::status::Row;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate recover --replica 3 --config /etc/quorate/cell.toml /var/lib/quorate/replica\n  \
    systemctl start quorate        # or: quorate start --config /etc/quorate/cell.toml /var/lib/quorate/replica\n\n\
    The folder gets a new identity, and the cell is asked to put it in the place of the one that is lost: as a learner \
    first, and with a vote once it has caught up. Start the replica as soon as the folder is made; this command waits for \
    its vote, and says what it waits for. It may be run again on the same folder. A majority of the cell must answer, and \
    the replica that is to be replaced must not. A number that is no member yet is added, at the addresses that the \
    configuration here has for it: the other replicas learn them from the log, their configurations need no change. In a cell \
    with a super principal or access lists only the super principal may do so: say who you are with --auth or QUORATE_AUTH."
)]
pub struct Args {
    /// Which replica of the configuration this is
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=63))]
    replica: u8,
    /// The cell's configuration
    #[arg(long, env = "QUORATE_CONFIG")]
    config: PathBuf,
    /// The cell's client addresses, if not those of the configuration
    #[arg(long, env = "QUORATE_ENDPOINTS")]
    endpoints: Option<String>,
    #[command(flatten)]
    auth: Users,
    /// Only make the folder; `quorate member add` or `replace` asks the cell
    #[arg(long, conflicts_with_all = ["no_wait", "patience"])]
    no_ask: bool,
    #[command(flatten)]
    waiting: Waiting,
    /// The folder to be made; empty, or made by this command before
    dir: PathBuf,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::read(&args.config, &Override::from_variables(std::env::vars_os())?)?;
    let replica = ReplicaId(args.replica);
    let Some(section) = config.replica(replica) else {
        return Err(Failure::new(Code::UnknownReplica, format!("cannot recover replica {replica}"))
            .found(format!("no [[replica]] with that id in {}", args.config.display()))
            .fix("add it, with the addresses it listens on, to the configuration of this host"));
    };
    if args.no_ask {
        let incarnation = folder(&config, replica, args)?;
        return crate::print_line(&format!("replica {replica} in {}: incarnation {incarnation}", args.dir.display()));
    }
    let target = Target {
        endpoints: args.endpoints.clone().unwrap_or_else(|| others(&config, replica)),
        cell: Some(config.cell.id),
        timeout: ASK_TIMEOUT,
        auth: args.auth.clone(),
        resume: None,
    };
    let made = server::whose(&config, &args.dir)?;
    let same = |status: &MemberStatus| made.is_some_and(|(_, disk, _)| status.member.incarnation == Some(disk));
    let lives = |members: &Members| {
        let before = members.members.iter().find(|status| status.member.replica == replica);
        before.is_some_and(|status| status.answers && !same(status))
    };
    let (mut members, mut rows) = member::look(&target)?;
    let by = Instant::now() + JUST_ENDED;
    while lives(&members) && Instant::now() < by {
        std::thread::sleep(member::LOOK_EVERY);
        (members, rows) = member::look(&target)?;
    }
    let before = members.members.iter().find(|status| status.member.replica == replica);
    if lives(&members) {
        return Err(Failure::new(Code::Refused, format!("replica {replica} is alive"))
            .found("its disk answers the leader")
            .why("a replica has one disk; a second one would undo the promises of the first")
            .fix("stop it first if it is to be replaced; name another --replica to add one"));
    }
    let incarnation = folder(&config, replica, args)?;
    let (folder, file) = (args.dir.display(), args.config.display());
    crate::tell(format_args!(
        "replica {replica} in {folder}: incarnation {incarnation}; unless it runs, start it now, on this host:"
    ));
    crate::tell(format_args!("  quorate start --config {file} {folder}"));
    let addresses = addresses(section, before, &rows);
    let change = match before {
        Some(_) => MemberChange::Replace { replica, incarnation, addresses },
        None => MemberChange::Add { replica, incarnation, addresses },
    };
    member::make(&change, args.waiting, &target)
}

/// The disk of the folder: made now, or found there.
fn folder(config: &Config, replica: ReplicaId, args: &Args) -> Result<Incarnation, Failure> {
    match server::whose(config, &args.dir)? {
        None => server::format(config, replica, Purpose::Join, &args.dir).map(|formatted| formatted.incarnation),
        Some((found, _, Purpose::Found)) if found == replica => {
            Err(Failure::new(Code::FolderNotEmpty, format!("{} is made to found a cell", args.dir.display()))
                .found("a folder that `quorate format` made, and that never met the cell")
                .needed("an empty folder, or one that this command made before")
                .why("a disk that founds a cell takes itself for a voter, and this one's vote is still to be given")
                .fix("name another folder, or remove this one: it holds nothing"))
        }
        Some((found, incarnation, _)) if found == replica => Ok(incarnation),
        Some((found, ..)) => {
            Err(Failure::new(Code::FolderNotEmpty, format!("{} is another replica's", args.dir.display()))
                .found(format!("replica {found}"))
                .needed(format!("replica {replica}, or an empty folder"))
                .fix("name another folder"))
        }
    }
}

/// What the log must be told of where the replica is: nothing, if it is where it was.
fn addresses(section: &ReplicaSection, before: Option<&MemberStatus>, rows: &[Row]) -> Option<Addresses> {
    let client = section.advertised().to_string();
    let known = rows.iter().find(|row| row.replica == Some(section.id.0)).map(|row| row.address.as_str());
    let told = before.is_some_and(|status| status.member.addresses.is_some());
    let moved = told || before.is_none() || known != Some(client.as_str());
    moved.then(|| Addresses { peer: section.peer.to_string().into(), client: client.into() })
}

fn others(config: &Config, replica: ReplicaId) -> String {
    let others = config.replicas.iter().filter(|section| section.id != replica);
    others.map(|section| section.advertised().to_string()).collect::<Vec<_>>().join(",")
}

const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// A replica that ended a moment ago is still taken to be alive.
const JUST_ENDED: Duration = Duration::from_secs(1);
