//! `quorate inspect hard-state`: promise, member lists, image and leases, copy by copy.

use std::path::PathBuf;

use quorate::journal::hard_state::{self, Contents, CopyState};
use quorate::paxos::{Acknowledged, Config};
use quorate::server::folder::{HARD_STATE, read_hard_state};
use quorate::server::{Code, Failure};
use serde_json::{Value, json};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  quorate inspect hard-state --json /var/lib/quorate/replica")]
pub struct HardState {
    /// The replica's folder
    dir: PathBuf,
}

impl HardState {
    pub fn run(&self) -> Result<(), Failure> {
        let _kept = super::keep_away(&self.dir);
        let path = self.dir.join(HARD_STATE);
        let bytes = read_hard_state(&path).map_err(|error| Failure::io(Code::NotFormatted, "read", &path, &error))?;
        for (number, copy) in hard_state::copies(&bytes).enumerate() {
            let shown = if crate::output::is_json() { object(number, &copy).to_string() } else { lines(number, &copy) };
            crate::print_line(&shown)?;
        }
        Ok(())
    }
}

fn lines(number: usize, copy: &CopyState) -> String {
    let (sequence, contents) = match copy {
        CopyState::Damaged => return format!("copy {number}: damaged"),
        CopyState::Newer(format) => return format!("copy {number}: in format {format}, of a newer program"),
        CopyState::Whole { sequence, contents } => (sequence, contents),
    };
    let Contents { identity, paxos, image, chosen_upto, start } = &**contents;
    let image = image.map_or("none".to_owned(), |image| {
        let way = if image.is_led_to { "the log leads to it" } else { "the log may not lead to it" };
        format!("up to slot {}, revision {}; {way}", image.slot, image.revision)
    });
    [
        format!("copy {number}: whole, written in round {sequence}"),
        format!("  replica     {} of cell {}, incarnation {}", identity.replica, identity.cell, identity.incarnation),
        format!("  promised    {}", paxos.promised),
        format!("  lease       {} ms at the longest", paxos.lease_max.as_millis()),
        format!("  image       {image}"),
        format!("  chosen upto {chosen_upto} at least"),
        format!("  start       {start}"),
        format!("  members     {} (from slot {})", members(paxos.configs.newest()), paxos.configs.newest_slot()),
        format!("  before that {}", members(paxos.configs.previous())),
        format!("  remembers   {}", paxos.acknowledged.iter().map(word).collect::<Vec<_>>().join(", ")),
    ]
    .join("\n")
}

/// What another replica's disk acknowledged.
fn word(word: &Acknowledged) -> String {
    format!("replica {} at ballot {} up to slot {}", word.replica, word.ballot, word.upto)
}

fn members(config: &Config) -> String {
    let member = |member: &quorate::paxos::Member| {
        let disk = member.incarnation.map_or("not met".to_owned(), |incarnation| incarnation.to_string());
        let learns = if member.is_voter() { "" } else { ", learner" };
        format!("{} ({disk}{learns})", member.replica)
    };
    config.members().iter().map(member).collect::<Vec<_>>().join(", ")
}

fn object(number: usize, copy: &CopyState) -> Value {
    let (sequence, contents) = match copy {
        CopyState::Damaged => return json!({ "copy": number, "state": "damaged" }),
        CopyState::Newer(format) => return json!({ "copy": number, "state": "newer", "format": format }),
        CopyState::Whole { sequence, contents } => (sequence, contents),
    };
    let Contents { identity, paxos, image, chosen_upto, start } = &**contents;
    json!({
        "copy": number,
        "state": "whole",
        "sequence": sequence,
        "replica": identity.replica.0,
        "cell": identity.cell.to_string(),
        "incarnation": identity.incarnation.to_string(),
        "promised": { "round": paxos.promised.round, "replica": paxos.promised.replica.0 },
        "lease_max_ms": paxos.lease_max.as_millis(),
        "image": image.map(|image| json!({
            "slot": image.slot.0,
            "revision": image.revision,
            "led_to": image.is_led_to,
        })),
        "chosen_upto": chosen_upto.0,
        "start": start,
        "acknowledged": paxos.acknowledged.iter().map(|word| json!({
            "replica": word.replica.0,
            "ballot": { "round": word.ballot.round, "replica": word.ballot.replica.0 },
            "slot": word.upto.0,
        })).collect::<Vec<_>>(),
        "config_slot": paxos.configs.newest_slot().0,
        "config": listed(paxos.configs.newest()),
        "previous_config": listed(paxos.configs.previous()),
    })
}

/// A member list in JSON.
pub fn listed(config: &Config) -> Value {
    let member = |member: &quorate::paxos::Member| {
        json!({
            "replica": member.replica.0,
            "incarnation": member.incarnation.map(|incarnation| incarnation.to_string()),
            "votes": member.is_voter(),
        })
    };
    config.members().iter().map(member).collect()
}
