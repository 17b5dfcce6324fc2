//! `quorate member`: the cell's members, and changes of them. `quorate recover` shares its ways.
#![expect(clippy::disallowed_methods, reason = "a command that waits for a cell looks again after a while")]

use std::thread::sleep;
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use quorate::client::{
    self, Addresses, ChangeAnswer, Incarnation, MemberChange, MemberStatus, Members, ReplicaId, Role,
};
use quorate::limits::SLOT_WINDOW;
use quorate::server::config::Address;
use quorate::server::{Code, Failure};
use serde_json::json;

use super::connect::{Target, failed, span};
use super::output;
use super::status::{Row, ask_all};

#[derive(clap::Subcommand)]
#[command(after_help = "Examples:\n  quorate member list\n  quorate member remove 3\n  \
    quorate member replace 3 --client 10.0.0.9:7400 --peer 10.0.0.9:7401\n\n\
    A change is one entry of the log, one at a time. Who comes learns the log first and votes once it has caught up. In a \
    cell with a super principal or an access list only the super principal changes the members: say who you are with \
    --auth. To bring back a replica whose disk is lost, or to make the folder of a new one, use `quorate recover` on its host.")]
pub enum Args {
    #[command(after_help = "Examples:\n  quorate member list\n  quorate member list --json")]
    /// Shows who the members are, who votes, and who answers
    List(List),
    #[command(after_help = "Examples:\n  quorate member add 4 --client 10.0.0.4:7400 --peer 10.0.0.4:7401")]
    /// Adds a replica that `quorate recover --no-ask` has made and that runs
    Add(Newcomer),
    #[command(after_help = "Examples:\n  quorate member replace 3 --client 10.0.0.9:7400 --peer 10.0.0.9:7401")]
    /// Puts a replica's new disk, perhaps on another host, in the place of one that is lost
    Replace(Newcomer),
    #[command(after_help = "Examples:\n  quorate member remove 3\n  quorate member remove 3 --no-wait")]
    /// Takes a replica out of the cell; it ends by itself
    Remove(Remove),
}

#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct Newcomer {
    /// Its number, 1 to 63
    #[arg(value_parser = clap::value_parser!(u8).range(1..=63))]
    replica: u8,
    /// Where clients find it; it must run there, and is asked for the identity of its disk
    #[arg(long)]
    client: Address,
    /// Where the other replicas find it
    #[arg(long)]
    peer: Address,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
pub struct Remove {
    /// Its number
    #[arg(value_parser = clap::value_parser!(u8).range(1..=63))]
    replica: u8,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    target: Target,
}

/// How long to see a change through.
#[derive(clap::Args, Clone, Copy)]
pub struct Waiting {
    /// Come back as soon as the change is proposed
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait until it is made
    #[arg(long, default_value = "10m", value_parser = span, conflicts_with = "no_wait")]
    pub patience: Duration,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::List(args) => list(args),
        Args::Add(args) => {
            let (replica, incarnation, addresses) = newcomer(args)?;
            make(&MemberChange::Add { replica, incarnation, addresses }, args.waiting, &args.target)
        }
        Args::Replace(args) => {
            let (replica, incarnation, addresses) = newcomer(args)?;
            make(&MemberChange::Replace { replica, incarnation, addresses }, args.waiting, &args.target)
        }
        Args::Remove(args) => remove(args),
    }
}

/// One that is no member is removed already, which is what was wanted: an answer may have been lost.
fn remove(args: &Remove) -> Result<(), Failure> {
    let replica = ReplicaId(args.replica);
    let (members, _) = look(&args.target)?;
    let settled = members.chosen_upto >= members.in_force_from;
    if settled && !members.members.iter().any(|status| status.member.replica == replica) {
        let ids: Vec<String> = members.members.iter().map(|status| status.member.replica.to_string()).collect();
        return crate::print_line(&format!("replica {replica} is no member: there are {}", ids.join(", ")));
    }
    make(&MemberChange::Remove { replica }, args.waiting, &args.target)
}

/// Has the leader make the change, and sees it through.
pub fn make(change: &MemberChange, waiting: Waiting, target: &Target) -> Result<(), Failure> {
    let slot = ask_for(change, target)?;
    let replica = change.replica();
    if waiting.no_wait {
        return crate::print_line(&format!("the change of replica {replica} is proposed in slot {slot}"));
    }
    let deadline = Instant::now() + waiting.patience;
    let mut told = String::new();
    loop {
        let progress = match look(target) {
            Ok((members, _)) => progress(&members, change, slot),
            Err(failure) => Progress::Waits(failure.to_string()),
        };
        match progress {
            Progress::Made(what) => return crate::print_line(&what),
            Progress::Lost => {
                return Err(Failure::new(Code::Refused, format!("the change of replica {replica} was not made"))
                    .why("its leader was lost before a majority had it, or another change came first")
                    .fix("see `quorate member list`, and ask again"));
            }
            Progress::Waits(what) if Instant::now() >= deadline => {
                return Err(Failure::new(Code::Unavailable, format!("replica {replica}: {what}"))
                    .why(format!("it was waited for {:?}; the change goes on by itself", waiting.patience))
                    .fix("see `quorate member list`; give it more time with --patience"));
            }
            Progress::Waits(what) if what != told => {
                crate::tell(format_args!("replica {replica}: {what}"));
                told = what;
            }
            Progress::Waits(_) => {}
        }
        sleep(LOOK_EVERY);
    }
}

/// The members, as the leader knows them, and every replica's own account.
pub fn look(target: &Target) -> Result<(Members, Vec<Row>), Failure> {
    let rows = ask_all(&target.endpoints, target.cell, target.timeout)?;
    let address = leader(&rows)?;
    Ok((ask(&address, None, target)?, rows))
}

fn ask(address: &str, change: Option<MemberChange>, target: &Target) -> Result<Members, Failure> {
    let text = target.cell.map_or_else(|| address.to_owned(), |cell| format!("{address}?cell={cell}"));
    client::members(&text, change, target.credentials(), target.timeout).map_err(|error| failed(&error))
}

fn leader(rows: &[Row]) -> Result<String, Failure> {
    let leads = |row: &&Row| row.answer.as_ref().is_ok_and(|report| report.status.role == Role::Leader);
    // One that waits to serve knows the list, and answers what may be done with it.
    let will_lead =
        |row: &&Row| row.answer.as_ref().is_ok_and(|report| report.status.leader == Some(report.status.replica));
    rows.iter().find(leads).or_else(|| rows.iter().find(will_lead)).map(|row| row.address.clone()).ok_or_else(|| {
        Failure::new(Code::Unavailable, "no replica that answers leads")
            .why("only a leader, with a majority behind it, changes the members")
            .fix("see `quorate status`; an election takes less than a second")
    })
}

/// The slot in which the change is proposed, or was made before.
fn ask_for(change: &MemberChange, target: &Target) -> Result<u64, Failure> {
    let deadline = Instant::now() + target.timeout;
    loop {
        let rows = ask_all(&target.endpoints, target.cell, target.timeout)?;
        let answer = leader(&rows).and_then(|address| ask(&address, Some(change.clone()), target));
        let refusal = match answer.map(|members| members.answer) {
            Ok(ChangeAnswer::Changed { slot }) => return Ok(slot.0),
            Ok(ChangeAnswer::Refused { again: false, text }) => {
                return Err(Failure::new(Code::Refused, format!("the members are not changed: {text}")));
            }
            Ok(ChangeAnswer::Refused { again: true, text }) => {
                Failure::new(Code::Unavailable, format!("the members are not changed: {text}"))
            }
            Ok(ChangeAnswer::Listed | ChangeAnswer::NotAuthorized) => {
                Failure::new(Code::SessionLost, "the leader answered another question")
            }
            Err(failure) if failure.code() == Code::NotAuthorized => return Err(failure),
            Err(failure) => failure,
        };
        if Instant::now() >= deadline {
            return Err(refusal);
        }
        sleep(LOOK_EVERY);
    }
}

enum Progress {
    Made(String),
    /// The list says something else, and nothing is under way that could change that.
    Lost,
    Waits(String),
}

/// How far the change is whose entry was proposed in `slot`.
fn progress(members: &Members, change: &MemberChange, slot: u64) -> Progress {
    let replica = change.replica();
    let settled = members.chosen_upto >= members.in_force_from;
    if members.chosen_upto.0 < slot {
        return Progress::Waits("a majority has yet to agree".into());
    }
    let member = members.members.iter().find(|status| status.member.replica == replica);
    let incarnation = match change {
        MemberChange::Add { incarnation, .. } | MemberChange::Replace { incarnation, .. } => *incarnation,
        MemberChange::Remove { .. } => {
            return match (member, settled) {
                (Some(_), true) => Progress::Lost,
                (None, true) => Progress::Made(format!("replica {replica} is removed; stop it, if it runs")),
                (_, false) => Progress::Waits("the new list is coming into force".into()),
            };
        }
    };
    let Some(MemberStatus { member, answers, chosen_upto }) =
        member.filter(|status| status.member.incarnation == Some(incarnation))
    else {
        return if settled { Progress::Lost } else { Progress::Waits("another list is coming into force".into()) };
    };
    match (member.is_voter(), settled) {
        (true, true) => Progress::Made(format!("replica {replica} votes")),
        (true, false) => Progress::Waits("it has caught up; its vote is coming into force".into()),
        (false, _) if !answers => Progress::Waits("it is named, and does not answer yet: start it".into()),
        (false, _) if chosen_upto.0 + SLOT_WINDOW < members.chosen_upto.0 => {
            let percent = 100 * chosen_upto.0 / members.chosen_upto.0;
            Progress::Waits(format!("it catches up: it has {percent} % of the log"))
        }
        (false, _) => Progress::Waits("it has caught up; a majority with its vote must answer".into()),
    }
}

/// The disk of a replica that runs, and where the replica is found.
fn newcomer(args: &Newcomer) -> Result<(ReplicaId, Incarnation, Option<Addresses>), Failure> {
    let address = args.client.to_string();
    let text = args.target.cell.map_or_else(|| address.clone(), |cell| format!("{address}?cell={cell}"));
    let report = client::status(&text, args.target.timeout).map_err(|error| failed(&error))?;
    let (found, cell) = (report.status.replica, report.status.cell);
    if found.0 != args.replica {
        return Err(Failure::new(Code::Usage, format!("{address} is another replica"))
            .found(format!("replica {found}"))
            .needed(format!("replica {}", args.replica)));
    }
    let (members, rows) = look(&args.target)?;
    let theirs = rows.iter().find_map(|row| row.answer.as_ref().ok()).map(|report| report.status.cell);
    if theirs != Some(cell) || members.members.is_empty() {
        return Err(Failure::new(Code::OtherCell, format!("{address} is of another cell"))
            .found(cell.to_string())
            .fix("make its folder with the configuration of this cell"));
    }
    let addresses = Addresses { peer: args.peer.to_string().into(), client: address.into() };
    Ok((found, report.status.incarnation, Some(addresses)))
}

fn list(args: &List) -> Result<(), Failure> {
    let (members, rows) = look(&args.target)?;
    let address = |status: &MemberStatus| {
        let told = status.member.addresses.as_ref().map(|addresses| addresses.client.to_string());
        let row = rows.iter().find(|row| row.replica == Some(status.member.replica.0));
        told.or_else(|| row.map(|row| row.address.clone())).unwrap_or_default()
    };
    if output::is_json() {
        let member = |status: &MemberStatus| {
            json!({
                "replica": status.member.replica.0,
                "incarnation": status.member.incarnation.map(|incarnation| incarnation.to_string()),
                "votes": status.member.is_voter(),
                "answers": status.answers,
                "chosen_upto": status.chosen_upto.0,
                "client": address(status),
                "peer": status.member.addresses.as_ref().map(|addresses| addresses.peer.to_string()),
            })
        };
        let object = json!({
            "config_slot": members.config_slot.0,
            "in_force_from": members.in_force_from.0,
            "chosen_upto": members.chosen_upto.0,
            "leader": members.leader.map(|leader| leader.0),
            "members": members.members.iter().map(member).collect::<Vec<_>>(),
        });
        return crate::print_line(&object.to_string());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["id", "address", "standing", "answers", "chosen", "incarnation"]);
    for status in &members.members {
        let standing = if status.member.is_voter() { "voter" } else { "learner" };
        let incarnation = status.member.incarnation.map_or_else(|| "not met yet".into(), |i| i.to_string());
        table.add_row([
            status.member.replica.to_string(),
            address(status),
            standing.into(),
            if status.answers { "yes" } else { "no" }.into(),
            if status.answers { status.chosen_upto.0.to_string() } else { "-".into() },
            incarnation,
        ]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    crate::print_line(&lines.join("\n"))
}

/// Between two looks at the members.
pub const LOOK_EVERY: Duration = Duration::from_millis(200);
