//! What clients call: every operation, on few names, so that most calls meet each other.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::namespace::command::{Done, Expect, Lifetime, Operation, Outcome, Read, Step, StepDone};
use quorate::wire::client::Consistency;

use super::history::Asked;
use super::plan::Plan;
use super::world::Random;

/// A call to be made.
#[derive(Debug)]
pub enum Wish {
    Request(Operation),
    Read(Read, Consistency),
}

/// The next call. `versions`: what this client last saw; `seen`: the newest revision it was told.
pub fn draw(random: &mut Random, plan: &Plan, versions: &BTreeMap<String, u64>, seen: u64) -> Wish {
    let path = path(random, plan.names);
    if random.permille(plan.reads) {
        return Wish::Read(read(random, path), consistency(random, seen));
    }
    let expect = expect(random, versions, &path);
    let data = data(random);
    let (lifetime, sequential) = (lifetime(random), random.below(3) == 0);
    Wish::Request(match random.below(14) {
        0..4 => Operation::Create { path, data, lifetime, sequential },
        4..9 => Operation::Set { path, data, expect },
        9..11 => Operation::Delete { path, expect },
        11..13 => Operation::Multi { steps: (0..random.below(5)).map(|_| step(random, plan, versions)).collect() },
        _ => Operation::Sync,
    })
}

/// Remembers versions, so that some compare-and-sets succeed.
pub fn learn(versions: &mut BTreeMap<String, u64>, asked: &Asked, outcome: &Outcome) {
    let (Asked::Request { operation, .. }, Ok(done)) = (asked, outcome) else { return };
    match (operation, done) {
        (_, Done::Created { path, .. }) => {
            versions.insert(path.clone(), 0);
        }
        (Operation::Set { path, .. }, Done::Set { stat }) => {
            versions.insert(path.clone(), stat.version);
        }
        (Operation::Multi { steps }, Done::Multi { results }) => {
            for (step, result) in steps.iter().zip(results) {
                if let (Step::Set { path, .. }, StepDone::Set { stat }) = (step, result) {
                    versions.insert(path.clone(), stat.version);
                }
            }
        }
        _ => {}
    }
}

fn step(random: &mut Random, plan: &Plan, versions: &BTreeMap<String, u64>) -> Step {
    let path = path(random, plan.names);
    let expect = expect(random, versions, &path);
    match random.below(8) {
        0..2 => Step::Create { path, data: data(random), lifetime: lifetime(random), sequential: random.below(4) == 0 },
        2..4 => Step::Set { path, data: data(random), expect },
        4 => Step::Delete { path, expect },
        5 => Step::Check { path, expect: if random.below(2) == 0 { Expect::Absent } else { expect } },
        _ => Step::Get { path },
    }
}

fn read(random: &mut Random, path: String) -> Read {
    match random.below(5) {
        0..2 => Read::Get { path },
        2 => Read::Exists { path },
        _ => {
            let path = if random.below(2) == 0 { "/".to_owned() } else { path };
            let after = if random.below(3) == 0 { "n2".to_owned() } else { String::new() };
            Read::List { path, after, limit: random.below(4) as u32 }
        }
    }
}

pub fn path(random: &mut Random, names: u64) -> String {
    match random.below(40) {
        0 => "/".to_owned(),
        1..25 => format!("/n{}", random.below(names)),
        25..38 => format!("/n{}/m{}", random.below(names), random.below(names)),
        _ => format!("/n{}/m{}/k", random.below(names), random.below(names)),
    }
}

fn expect(random: &mut Random, versions: &BTreeMap<String, u64>, path: &str) -> Expect {
    match (random.below(3), versions.get(path)) {
        (0, Some(version)) => Expect::Version(*version),
        (1, _) => Expect::Version(random.below(3)),
        _ => Expect::Any,
    }
}

fn lifetime(random: &mut Random) -> Lifetime {
    if random.below(4) == 0 { Lifetime::Ephemeral } else { Lifetime::Permanent }
}

fn data(random: &mut Random) -> Bytes {
    let length = random.pick(&[0, 8, 8, 100, 5000]);
    let mut bytes = random.draw().to_le_bytes().to_vec();
    bytes.resize(length, 0x5a);
    Bytes::from(bytes)
}

fn consistency(random: &mut Random, seen: u64) -> Consistency {
    match random.below(8) {
        0 => Consistency::Stale,
        1 => Consistency::AtLeast(seen),
        _ => Consistency::Linearizable,
    }
}
