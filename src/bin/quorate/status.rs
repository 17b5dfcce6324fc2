//! `quorate status`: every replica of a cell, each asked by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use quorate::client::{self, CellId, Error, Report, Role, Target as Place};
use quorate::server::config::{Address, Size};
use quorate::server::{Code, Failure};
use quorate::wire::cache::CacheAccount;
use serde_json::{Value, json};

use super::connect::{Target, failed};
use super::output;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate status --endpoints 10.0.0.1:7400\n  quorate status --json | jq .leader\n  export QUORATE_ENDPOINTS=$(quorate status --members)\n\n\
                  A row a replica: role (leader, follower, candidate, recovering; silent if it does not answer, foreign if it is of another cell); votes (no while it catches up); ballot (round \
                  and proposer); chosen and applied (positions in the log); revision (of the namespace); sessions (of the cell); \
                  journal (bytes on its disk); version."
)]
pub struct Args {
    /// Print the members' client addresses instead, in the form --endpoints takes
    #[arg(long)]
    members: bool,
    #[command(flatten)]
    target: Target,
}

/// What is known of one address.
pub struct Row {
    pub replica: Option<u8>,
    pub address: String,
    pub answer: Result<Report, Error>,
}

impl Row {
    /// Whether something answers there, but not as a replica of the cell meant.
    fn is_foreign(&self) -> bool {
        matches!(self.answer, Err(Error::WrongCell { .. } | Error::Version { .. } | Error::Protocol { .. }))
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let target = &args.target;
    if args.members {
        let rows = ask_all(&target.endpoints, target.cell, target.timeout)?;
        let addresses: Vec<&str> = rows.iter().map(|row| row.address.as_str()).collect();
        return output::show(|| addresses.join(","), || json!({ "members": addresses }));
    }
    print(&target.endpoints, target.cell, target.timeout)
}

/// Prints one row a replica. It is a failure if no majority of votes answers, or none of them leads.
pub fn print(endpoints: &str, cell: Option<CellId>, timeout: Duration) -> Result<(), Failure> {
    let rows = ask_all(endpoints, cell, timeout)?;
    let reports: Vec<&Report> = rows.iter().filter_map(|row| row.answer.as_ref().ok()).collect();
    let leader = reports.iter().find(|report| report.status.role == Role::Leader).map(|report| report.status.replica.0);
    let voting = reports.iter().filter(|report| report.status.votes).count();
    let healthy = voting > rows.len() / 2 && leader.is_some();
    let text = if output::is_json() {
        let cell = reports.first().map(|report| report.status.cell.to_string());
        let replicas: Vec<Value> = rows.iter().map(object).collect();
        json!({ "cell": cell, "leader": leader, "healthy": healthy, "replicas": replicas }).to_string()
    } else {
        table(&rows)
    };
    crate::print_line(&text)?;
    for row in rows.iter().filter(|row| healthy || !row.is_foreign()) {
        if let Err(error) = &row.answer {
            let who = row.replica.map_or_else(String::new, |replica| format!("replica {replica} at "));
            crate::tell(format_args!("warning: {who}{} does not tell its status: {}", row.address, why(error)));
        }
    }
    if healthy { Ok(()) } else { Err(unhealthy(&rows, voting, leader)) }
}

fn unhealthy(rows: &[Row], voting: usize, leader: Option<u8>) -> Failure {
    if let Some(row) = rows.iter().find(|row| row.is_foreign()) {
        let why = row.answer.as_ref().err().map(why).unwrap_or_default();
        return Failure::new(Code::SessionLost, format!("{} is no client address of this cell", row.address))
            .found(why)
            .needed("the `client` addresses of the cell's configuration, and its id if --cell is named")
            .fix("correct --endpoints, or --cell");
    }
    let answering = rows.iter().filter(|row| row.answer.is_ok()).count();
    let mut found = format!("{answering} of {} replicas answer, {voting} of them have a vote", rows.len());
    if leader.is_none() {
        found += ", none leads";
    }
    Failure::new(Code::Unavailable, "the cell cannot serve")
        .found(found)
        .needed("a majority of votes, and a leader among them")
        .fix(
            "start the replicas that do not answer; an election takes less than a second, and a candidate that hears a majority \
             and stays one says in its log which entry it cannot decide",
        )
}

/// Asks the addresses named, then the members they tell of that were not asked yet.
pub fn ask_all(endpoints: &str, cell: Option<CellId>, timeout: Duration) -> Result<Vec<Row>, Failure> {
    let place: Place = endpoints.parse().map_err(|error| failed(&error))?;
    // A replica that hangs must not take the time of the others.
    let patience = (timeout / 2).min(Duration::from_secs(2));
    let cell = cell.or(place.cell);
    let mut answers = ask(place.endpoints, cell, patience);
    let members: BTreeMap<u8, String> = answers
        .values()
        .filter_map(|answer| answer.as_ref().ok())
        .flat_map(|report| &report.members)
        .map(|member| (member.replica.0, member.address.clone()))
        .collect();
    // An address may be written in another way than the members list has it: who answered there tells who it is.
    let met: Vec<u8> = answers.values().flatten().map(|report| report.status.replica.0).collect();
    let unmet = members.iter().filter(|(id, address)| !met.contains(id) && !answers.contains_key(*address));
    answers.extend(ask(unmet.map(|(_, address)| address.clone()).collect(), cell, patience));

    let mut rows: Vec<Row> = Vec::new();
    for (address, answer) in answers {
        let listed = members.iter().find(|(_, member)| **member == address).map(|(id, _)| *id);
        let replica = answer.as_ref().ok().map(|report| report.status.replica.0).or(listed);
        // Silence is told once, under the address that the members' list has.
        let listed_otherwise = || answer.is_err() && replica.is_none() && is_one_of(&address, members.values());
        let known = rows.iter().any(|row| row.replica.is_some() && row.replica == replica && row.answer.is_ok());
        if !known && !listed_otherwise() {
            rows.push(Row { replica, address, answer });
        }
    }
    rows.sort_by_key(|row| row.replica.unwrap_or(u8::MAX));
    Ok(rows)
}

/// Whether `address` is another spelling of one of these.
fn is_one_of<'a>(address: &str, mut known: impl Iterator<Item = &'a String>) -> bool {
    let numbers =
        |text: &str| text.parse::<Address>().ok().and_then(|address| address.resolve().ok()).unwrap_or_default();
    let here = numbers(address);
    known.any(|other| numbers(other).iter().any(|number| here.contains(number)))
}

/// Asks all at once.
fn ask(endpoints: Vec<String>, cell: Option<CellId>, patience: Duration) -> BTreeMap<String, Result<Report, Error>> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = endpoints
            .into_iter()
            .map(|endpoint| {
                let text = cell.map_or_else(|| endpoint.clone(), |cell| format!("{endpoint}?cell={cell}"));
                (endpoint, scope.spawn(move || client::status(&text, patience)))
            })
            .collect();
        asked.into_iter().map(|(endpoint, asked)| (endpoint, asked.join().expect("a panic aborts"))).collect()
    })
}

fn why(error: &Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::Silent { why, .. } => why.clone(),
        Error::Deadline { after } => {
            format!("no answer within {after:?}; see its log, and `quorate doctor` on its host")
        }
        Error::Protocol { text, .. } => text.clone(),
        error => error.to_string(),
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "id", "address", "role", "votes", "ballot", "chosen", "applied", "revision", "sessions", "journal", "version",
    ]);
    for row in rows {
        let id = row.replica.map_or_else(|| "?".into(), |id| id.to_string());
        match &row.answer {
            Ok(report) => {
                let status = &report.status;
                table.add_row([
                    id,
                    row.address.clone(),
                    role(status.role).into(),
                    if status.votes { "yes" } else { "no" }.into(),
                    format!("{}.{}", status.ballot.round, status.ballot.replica.0),
                    status.chosen_upto.0.to_string(),
                    status.applied_upto.0.to_string(),
                    status.revision.to_string(),
                    status.sessions.to_string(),
                    rounded(status.journal_bytes),
                    status.version.clone(),
                ])
            }
            Err(_) if row.is_foreign() => table.add_row([id, row.address.clone(), "foreign".into()]),
            Err(_) => table.add_row([id, row.address.clone(), "silent".into()]),
        };
    }
    for index in 5..10 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}

/// A size for a person's eyes, rounded up in the largest unit that leaves two digits.
fn rounded(bytes: u64) -> String {
    let unit = [1 << 30, 1 << 20, 1 << 10].into_iter().find(|unit| bytes >= 10 * unit).unwrap_or(1);
    Size(bytes.div_ceil(unit) * unit).to_string()
}

fn object(row: &Row) -> Value {
    match &row.answer {
        Ok(report) => {
            let status = &report.status;
            json!({
                "replica": row.replica,
                "address": row.address,
                "role": role(status.role),
                "votes": status.votes,
                "leader": status.leader.map(|leader| leader.0),
                "incarnation": status.incarnation.to_string(),
                "ballot": { "round": status.ballot.round, "replica": status.ballot.replica.0 },
                "chosen_upto": status.chosen_upto.0,
                "applied_upto": status.applied_upto.0,
                "trimmed_upto": status.trimmed_upto.0,
                "revision": status.revision,
                "sessions": status.sessions,
                "nodes": status.nodes,
                "connections": status.connections,
                "throttled": status.throttled,
                "journal_bytes": status.journal_bytes,
                "lease_remaining_us": status.lease_remaining_us,
                "uptime_ms": status.uptime_ms,
                "cache": cache(&status.cache),
                "version": status.version,
            })
        }
        Err(error) => json!({ "replica": row.replica, "address": row.address, "role": null, "error": why(error) }),
    }
}

fn cache(account: &CacheAccount) -> Value {
    let CacheAccount { sessions, grants, holding, granted, denied, recalls, held, run_out } = *account;
    json!({
        "sessions": sessions,
        "grants": grants,
        "holding": holding,
        "granted": granted,
        "denied": denied,
        "recalls": recalls,
        "held": held,
        "run_out": run_out,
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Recovering => "recovering",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        _ => "unknown",
    }
}
