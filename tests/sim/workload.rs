//! What clients call: every operation, on few names, so that most calls meet each other.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate::client::Credentials;
use quorate::namespace::command::{
    Answer, Birth, Done, Expect, Handle, HandleMode, Lifetime, LockMode, LockPlace, Operation, Outcome, Quota,
    QuotaBounds, Read, Refusal, Sequencer, Step, StepDone,
};
use quorate::wire::client::Consistency;

use super::acls;
use super::history::Asked;
use super::logs;
use super::plan::Plan;
use super::world::Random;

/// A call to be made.
#[derive(Debug)]
pub enum Wish {
    Request(Operation),
    /// Be somebody else as well.
    Authenticate(Credentials),
    Read(Read, Consistency),
    /// Wait for a lock in whose queue one is.
    AwaitLock(String),
}

/// What a client knows, so that some of what it asks for succeeds.
#[derive(Default, Debug)]
pub struct Known {
    versions: BTreeMap<String, u64>,
    acl_versions: BTreeMap<String, u64>,
    /// Sequencers it was shown: at most one a lock, which may be stale.
    sequencers: BTreeMap<String, Sequencer>,
    /// Where logs ended.
    ends: BTreeMap<String, u64>,
    /// The handles it was given last, in this session and those before.
    handles: VecDeque<Handle>,
}

impl Known {
    /// What another process has of it: handles are given to others, who use them as long as they serve.
    pub fn passed_on(&mut self) -> Self {
        Self { handles: std::mem::take(&mut self.handles), ..Self::default() }
    }
}

/// The next call. `reads`: in a thousand; `known`: what this client last saw; `seen`: the newest revision it was told.
pub fn draw(random: &mut Random, plan: &Plan, reads: u64, known: &Known, seen: u64) -> Wish {
    if random.permille(PLAIN) {
        return plain(random, reads);
    }
    let path = path(random, plan.names);
    if random.permille(reads) {
        let read = if random.below(8) == 0 {
            let path = logs::path(random);
            let end = known.ends.get(&path).copied().unwrap_or(0);
            logs::read(random, path, end)
        } else {
            read(random, path, known)
        };
        return Wish::Read(read, consistency(random, seen));
    }
    if random.permille(25) {
        return Wish::Authenticate(acls::credentials(random));
    }
    let operation = match random.below(18) {
        _ if random.permille(40) => guarding(random, plan, known),
        0..4 => locking(random, plan, known),
        4..6 => logging(random, known, path),
        6..9 => opening(random, plan, known),
        _ => operation(random, plan, known, path),
    };
    let guard = match operation {
        Operation::CloseSession | Operation::Guarded { .. } => None,
        _ if random.below(8) == 0 => sequencer(random, known),
        _ => None,
    };
    Wish::Request(match guard {
        Some(sequencer) => Operation::Guarded { sequencer, operation: Box::new(operation) },
        None => operation,
    })
}

/// A call on one of few nodes that nothing else touches, so that their story can be told from answers alone.
fn plain(random: &mut Random, reads: u64) -> Wish {
    let path = format!("/p{}", random.below(2));
    if random.permille(reads.clamp(200, 600)) {
        return Wish::Read(Read::Get { path }, Consistency::Linearizable);
    }
    let data = data(random);
    Wish::Request(match random.below(8) {
        0..3 => Operation::Create { path, data, lifetime: Lifetime::Permanent, sequential: false },
        3..7 => Operation::Set { path, data, expect: Expect::Any },
        _ => Operation::Delete { path, expect: Expect::Any },
    })
}

fn operation(random: &mut Random, plan: &Plan, known: &Known, path: String) -> Operation {
    let expect = expect(random, &known.versions, &path);
    let data = data(random);
    let (lifetime, sequential) = (lifetime(random), random.below(3) == 0);
    match random.below(14) {
        0..4 => Operation::Create { path, data, lifetime, sequential },
        4..9 => Operation::Set { path, data, expect },
        9..11 => Operation::Delete { path, expect },
        _ if random.below(20) == 0 => Operation::SetQuota { path, quota: quota(random) },
        _ if random.below(20) == 0 => Operation::DeleteTree { path, expect, part: random.below(4) as u32 },
        11..13 => Operation::Multi { steps: (0..random.below(5)).map(|_| step(random, plan, known)).collect() },
        _ => Operation::Sync,
    }
}

/// Access lists, and the group that they name.
fn guarding(random: &mut Random, plan: &Plan, known: &Known) -> Operation {
    let path = format!("/n{}", random.below(plan.names));
    let path = if random.below(3) == 0 { format!("{path}/m{}", random.below(plan.names)) } else { path };
    let expect = expect(random, &known.acl_versions, &path);
    let lifetime = lifetime(random);
    match random.below(8) {
        0 => Operation::Create {
            path: "/acl".to_owned(),
            data: Bytes::new(),
            lifetime: Lifetime::Permanent,
            sequential: false,
        },
        1 => Operation::Create {
            path: acls::GROUP.to_owned(),
            data: acls::members(random).into(),
            lifetime: Lifetime::Permanent,
            sequential: false,
        },
        2 => Operation::Set { path: acls::GROUP.to_owned(), data: acls::members(random).into(), expect: Expect::Any },
        3 => Operation::CreateWithAcl { path, data: data(random), lifetime, sequential: false, acl: acls::acl(random) },
        4..7 => Operation::SetAcl { path, acl: (random.below(3) > 0).then(|| acls::acl(random)), expect },
        _ => Operation::SetAcl { path, acl: None, expect: Expect::Any },
    }
}

fn logging(random: &mut Random, known: &Known, path: String) -> Operation {
    let path = if random.below(20) == 0 { path } else { logs::path(random) };
    let end = known.ends.get(&path).copied().unwrap_or(0);
    let lifetime = lifetime(random);
    logs::operation(random, path, end, lifetime)
}

fn locking(random: &mut Random, plan: &Plan, known: &Known) -> Operation {
    let path = format!("/n{}", random.below(plan.names.min(LOCKS)));
    if random.below(5) < 2 {
        let held = known.sequencers.keys().next().cloned().filter(|_| random.below(3) > 0);
        return Operation::Release { path: held.unwrap_or(path) };
    }
    let mode = if random.below(2) == 0 { LockMode::Exclusive } else { LockMode::Shared };
    let lock_delay_ms = random.pick(&[0, 0, 500, 5000]);
    Operation::Acquire { path, mode, wait: random.below(4) > 0, create: random.below(2) == 0, lock_delay_ms }
}

/// Opens, closes, and what goes through what is open.
fn opening(random: &mut Random, plan: &Plan, known: &Known) -> Operation {
    match (random.below(5), handle(random, known)) {
        (0 | 1, Some(handle)) => {
            let own = handle.path.clone();
            let below = format!("{}/m{}", own.trim_end_matches('/'), random.below(3));
            let operation = match random.below(12) {
                10 => Operation::SetQuota { path: own, quota: quota(random) },
                11 => Operation::DeleteTree { path: own, expect: Expect::Any, part: 0 },
                7 => Operation::Release { path: own },
                8 => Operation::SetAcl {
                    path: own,
                    acl: (random.below(3) > 0).then(|| acls::acl(random)),
                    expect: Expect::Any,
                },
                9 => {
                    let (end, lifetime) = (known.ends.get(&own).copied().unwrap_or(0), lifetime(random));
                    logs::operation(random, own, end, lifetime)
                }
                0 => Operation::Delete { path: own, expect: Expect::Any },
                1 => Operation::Create {
                    path: below,
                    data: data(random),
                    lifetime: Lifetime::Permanent,
                    sequential: false,
                },
                2 => open(random, below),
                3 => Operation::Acquire {
                    path: own,
                    mode: LockMode::Shared,
                    wait: false,
                    create: false,
                    lock_delay_ms: 0,
                },
                4 => Operation::Set { path: below, data: data(random), expect: Expect::Any },
                _ => Operation::Set { path: own, data: data(random), expect: Expect::Any },
            };
            Operation::Through { handle, operation: Box::new(operation) }
        }
        (2, Some(handle)) => Operation::Close { handle },
        // A log is opened as it is: whatever made one here would make a plain node.
        _ if random.below(8) == 0 => Operation::Open { path: logs::path(random), mode: HandleMode::ALL, birth: None },
        _ => {
            let path = path(random, plan.names);
            open(random, path)
        }
    }
}

fn open(random: &mut Random, path: String) -> Operation {
    let mode = random.pick(&[HandleMode::ALL, HandleMode::ALL, HandleMode::READ, HandleMode::WRITE, HandleMode::NONE]);
    let birth = Birth {
        data: data(random),
        lifetime: if random.below(3) > 0 { Lifetime::Transient } else { lifetime(random) },
        sequential: random.below(6) == 0,
        must: random.below(6) == 0,
        acl: (random.below(6) == 0).then(|| acls::acl(random)),
    };
    Operation::Open { path, mode, birth: (random.below(4) > 0).then_some(birth) }
}

/// A handle, now and then tampered with.
fn handle(random: &mut Random, known: &Known) -> Option<Handle> {
    let which = random.below(known.handles.len().max(1) as u64) as usize;
    let mut handle = known.handles.get(which).cloned()?;
    match random.below(24) {
        0 => handle.digits ^= 1,
        1 => handle.mode = handle.mode | HandleMode::ALL,
        _ => {}
    }
    Some(handle)
}

fn sequencer(random: &mut Random, known: &Known) -> Option<Sequencer> {
    let which = random.below(known.sequencers.len().max(1) as u64) as usize;
    known.sequencers.values().nth(which).cloned()
}

/// Remembers what an answer to a read told.
pub fn learn_answer(known: &mut Known, answer: &Result<Answer, Refusal>) {
    match answer {
        Ok(Answer::LockPlace { place: LockPlace::Held { sequencer } }) => {
            known.sequencers.insert(sequencer.path.clone(), sequencer.clone());
        }
        Err(Refusal::LogEnd { path, found, .. }) => _ = known.ends.insert(path.clone(), *found),
        _ => {}
    }
}

/// The node that an answered request made, changed or took away, by the name that was asked for.
pub fn subject(asked: &Asked, outcome: &Outcome) -> Option<String> {
    match (asked, outcome) {
        (
            Asked::Request {
                operation:
                    Operation::Create { path, sequential: false, .. }
                    | Operation::Set { path, .. }
                    | Operation::Delete { path, .. },
                ..
            },
            Ok(_),
        ) => Some(path.clone()),
        _ => None,
    }
}

/// Remembers versions, so that some compare-and-sets succeed.
pub fn learn(known: &mut Known, asked: &Asked, outcome: &Outcome) {
    let versions = &mut known.versions;
    let (Asked::Request { operation, .. }, Ok(done)) = (asked, outcome) else { return };
    match (operation, done) {
        (_, Done::Created { path, .. }) => {
            versions.insert(path.clone(), 0);
        }
        (_, Done::Opened { handle, .. }) => {
            known.handles.push_front(handle.clone());
            known.handles.truncate(HANDLES);
        }
        (_, Done::Granted { sequencer }) => {
            known.sequencers.insert(sequencer.path.clone(), sequencer.clone());
        }
        (Operation::SetAcl { path, .. }, Done::AclSet { stat }) => {
            known.acl_versions.insert(path.clone(), stat.acl_version);
        }
        (Operation::Append { path, .. }, Done::Appended { end, .. }) => {
            known.ends.insert(path.clone(), *end);
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

fn step(random: &mut Random, plan: &Plan, known: &Known) -> Step {
    let path = path(random, plan.names);
    let expect = expect(random, &known.versions, &path);
    if let Some(sequencer) = sequencer(random, known).filter(|_| random.below(6) == 0) {
        return Step::CheckLock { sequencer };
    }
    if let Some(handle) = handle(random, known).filter(|_| random.below(8) == 0) {
        return Step::CheckHandle { handle };
    }
    match random.below(9) {
        _ if random.below(30) == 0 && path != "/" => {
            Step::SetAcl { path, acl: (random.below(2) == 0).then(|| acls::acl(random)), expect: Expect::Any }
        }
        _ if random.below(30) == 0 => Step::CreateWithAcl {
            path,
            data: data(random),
            lifetime: lifetime(random),
            sequential: false,
            acl: acls::acl(random),
        },
        8 => Step::Append { path: logs::path(random), records: logs::records(random), end: None },
        0..2 => Step::Create { path, data: data(random), lifetime: lifetime(random), sequential: random.below(4) == 0 },
        2..4 => Step::Set { path, data: data(random), expect },
        4 => Step::Delete { path, expect },
        5 => Step::Check { path, expect: if random.below(2) == 0 { Expect::Absent } else { expect } },
        _ => Step::Get { path },
    }
}

fn read(random: &mut Random, path: String, known: &Known) -> Read {
    match random.below(24) {
        0 | 1 => return Read::Quota { path },
        2 => return Read::Acl { path },
        3 if random.below(4) == 0 => return Read::WhoAmI,
        _ => {}
    }
    if let Some(handle) = handle(random, known).filter(|_| random.below(6) == 0) {
        return match random.below(3) {
            0 => Read::HandleGet { handle },
            1 => Read::HandleEntries { handle, after: String::new(), limit: random.below(4) as u32 },
            _ => Read::HandleStat { handle },
        };
    }
    if random.below(8) == 0 {
        return match sequencer(random, known) {
            Some(sequencer) if random.below(2) == 0 => Read::CheckSequencer { sequencer },
            _ => Read::LockHolders { path },
        };
    }
    match random.below(5) {
        0..2 => Read::Get { path },
        2 => Read::Exists { path },
        _ => {
            let path = if random.below(2) == 0 { "/".to_owned() } else { path };
            let after = if random.below(3) == 0 { "n2".to_owned() } else { String::new() };
            let limit = random.below(4) as u32;
            match random.below(3) {
                0 => Read::Entries { path, after, limit },
                1 => scan(random, path, limit),
                _ => Read::List { path, after, limit },
            }
        }
    }
}

fn scan(random: &mut Random, path: String, limit: u32) -> Read {
    let below = format!("{}/m{}", path.trim_end_matches('/'), random.below(3));
    let after = match random.below(4) {
        0 => below,
        1 => path.clone(),
        2 => "/n2/m".to_owned(),
        _ => String::new(),
    };
    // A page with data may be full before all nodes are in it, which the model does not judge.
    let with_data = limit > 0 && random.below(2) == 0;
    Read::Scan { path, after, limit, with_data }
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
    match random.below(16) {
        0..4 => Lifetime::Ephemeral,
        4 => Lifetime::Container,
        5 => Lifetime::Ttl { ms: random.pick(&[1, 100, 1000, 10_000]) },
        _ => Lifetime::Permanent,
    }
}

fn quota(random: &mut Random) -> Option<Quota> {
    let most = random.pick(&[3, 20, 60]);
    let mut bounds = |nodes: u64| QuotaBounds {
        nodes: (random.below(3) > 0).then(|| random.below(nodes)),
        bytes: (random.below(3) == 0).then(|| random.below(6000)),
    };
    let quota = Quota { hard: bounds(most), soft: bounds(10) };
    // Where none is set, or nothing is bounded, nothing stands in the way of the other calls.
    (random.below(2) == 0).then_some(quota)
}

fn data(random: &mut Random) -> Bytes {
    let length = random.pick(&[0, 8, 8, 100, 5000]);
    let mut bytes = random.draw().to_le_bytes().to_vec();
    bytes.resize(length, 0x5a);
    Bytes::from(bytes)
}

/// So many handles a client remembers: some of them are closed, or gone with their node or their session.
const HANDLES: usize = 6;

/// So many names are locked, so that clients meet.
pub const LOCKS: u64 = 3;

fn consistency(random: &mut Random, seen: u64) -> Consistency {
    match random.below(8) {
        0 => Consistency::Stale,
        1 => Consistency::AtLeast(seen),
        _ => Consistency::Linearizable,
    }
}

/// Calls, in a thousand, on nodes that nothing else touches.
const PLAIN: u64 = 120;
