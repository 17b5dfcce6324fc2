//! What the namespace should do, written for plainness: every state is copied whole before anything that might fail.

mod handles;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::command::{
    Command, Done, Expect, Expiry, Handle, HandleMode, Lifetime, LockMode, Operation, Outcome, Quota, Refusal, Resume,
    Sequencer, SessionId, Stat, Step, StepDone, Usage,
};
use super::super::reign::Reign;
use super::super::{Marked, NotResumed, path};
use super::log_model::ModelLog;
use crate::limits::{CONTAINER_LINGER_MS, SESSION_REQUESTS_IN_FLIGHT};

/// A node, and how many children it ever had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelNode {
    pub data: Bytes,
    pub stat: Stat,
    pub lock: ModelLock,
    /// When it ends, if it has no children then.
    pub(super) due: Option<u64>,
    pub quota: Option<Quota>,
    /// When each handle was opened, and by whom.
    opens: Vec<(u64, SessionId)>,
    pub log: Option<ModelLog>,
    born: u64,
}

/// A lock, as lists of who has it, who wants it, and until when it is shut.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ModelLock {
    pub holders: Vec<(SessionId, LockMode, u32)>,
    pub waiting: Vec<(SessionId, LockMode, u32)>,
    pub shut: Vec<(LockMode, u64)>,
}

#[derive(Clone, Debug)]
pub struct ModelSession {
    pub token: (u64, u128),
    pub counter: u64,
    pub last: u64,
    pub results: BTreeMap<u64, (u64, Outcome)>,
    pub marked: Marked,
    pub holder: u64,
    /// Every process that had it and lost it.
    pub lost_by: Vec<u64>,
    pub before: u64,
}

/// What a command should come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expected {
    Opened(SessionId),
    Resumed { last: u64, before: u64 },
    NotResumed(NotResumed),
    Expired,
    Missed,
    Replied(u64, Outcome),
    Closed(u64, Outcome),
    Gap(u64),
    Settled,
    Began,
    Marked,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub nodes: BTreeMap<String, ModelNode>,
    pub sessions: BTreeMap<SessionId, ModelSession>,
    pub revision: u64,
    pub reign: Option<Reign>,
    /// Every handle ever given out.
    pub handles: Vec<Handle>,
    instances: u64,
    pub(super) wall_ms: u64,
    pub(super) log_time_ns: u64,
}

impl Model {
    pub fn new() -> Self {
        let root = ModelNode {
            data: Bytes::new(),
            stat: Stat::default(),
            lock: ModelLock::default(),
            due: None,
            quota: None,
            opens: Vec::new(),
            log: None,
            born: 0,
        };
        let nodes = BTreeMap::from([("/".to_owned(), root)]);
        Self {
            nodes,
            sessions: BTreeMap::new(),
            revision: 0,
            reign: None,
            handles: Vec::new(),
            instances: 0,
            wall_ms: 0,
            log_time_ns: 0,
        }
    }

    pub fn apply(&mut self, command: &Command, log_time_ns: u64, wall_ms: u64) -> Expected {
        (self.log_time_ns, self.wall_ms) = (log_time_ns, wall_ms);
        match command {
            Command::OpenSession { token, secret, .. } => {
                let token = (*token, *secret);
                if let Some((id, session)) = self.sessions.iter_mut().find(|(_, session)| session.token == token) {
                    session.counter += 1;
                    return Expected::Opened(*id);
                }
                self.revision += 1;
                let id = SessionId(self.revision);
                let (results, holder) = (BTreeMap::new(), token.0);
                let (marked, lost_by, before) = (Marked::Never, Vec::new(), 0);
                let session = ModelSession { token, counter: 1, last: 0, results, marked, holder, lost_by, before };
                self.sessions.insert(id, session);
                Expected::Opened(id)
            }
            Command::ResumeSession { resume: Resume { session, secret, holder, takes_over }, .. } => {
                let Some(session) = self.sessions.get_mut(session) else {
                    return Expected::NotResumed(NotResumed::Over);
                };
                if session.token.1 != *secret {
                    return Expected::NotResumed(NotResumed::WrongSecret);
                }
                if session.holder != *holder {
                    if !takes_over || session.lost_by.contains(holder) {
                        return Expected::NotResumed(NotResumed::Taken);
                    }
                    session.lost_by.push(std::mem::replace(&mut session.holder, *holder));
                    if session.marked != Marked::Never {
                        session.marked = Marked::ForAny;
                    }
                    // The results of a process that asked for something are all gone only once another one's are there.
                    session.before = session.results.keys().next_back().copied().unwrap_or(session.before);
                    session.last += SESSION_REQUESTS_IN_FLIGHT as u64;
                    session.results.clear();
                }
                session.counter += 1;
                Expected::Resumed { last: session.last, before: session.before }
            }
            Command::ExpireSession { session, counter } => match self.sessions.get(session) {
                Some(found) if found.counter == *counter => {
                    self.revision += 1;
                    self.end(*session, true);
                    Expected::Expired
                }
                _ => Expected::Missed,
            },
            Command::Settle { path, instance } => {
                let (now, instance) = (self.log_time_ns, *instance);
                if let Some(node) = self.nodes.get_mut(path).filter(|node| node.stat.instance == instance) {
                    if node.stat.children == 0 && node.due.is_some_and(|due| due <= now) {
                        self.revision += 1;
                        self.delete(path);
                    } else if node.lock.shut.iter().any(|(_, until)| *until <= now) {
                        node.lock.shut.retain(|(_, until)| *until > now);
                        self.revision += 1;
                        hand_on(node, self.revision);
                    }
                }
                Expected::Settled
            }
            Command::BeginReign { reign, key } => {
                self.begin_reign(*reign, *key);
                Expected::Began
            }
            Command::MarkCaching { session } => {
                if let Some(found) = self.sessions.get_mut(session).filter(|found| found.marked == Marked::Never) {
                    found.marked = if found.lost_by.is_empty() { Marked::ForAny } else { Marked::ForHolder };
                }
                Expected::Marked
            }
            Command::Request { session, number, acked_upto, operation } => {
                self.request(*session, *number, *acked_upto, operation)
            }
        }
    }

    fn request(&mut self, id: SessionId, number: u64, acked_upto: u64, operation: &Operation) -> Expected {
        let Some(session) = self.sessions.get(&id) else { return Expected::Missed };
        if number > session.last + 1 {
            return Expected::Gap(session.last + 1);
        }
        if number <= session.last {
            return match session.results.get(&number) {
                Some((revision, outcome)) => Expected::Replied(*revision, outcome.clone()),
                None => Expected::Replied(self.revision, Err(Refusal::ResultDropped)),
            };
        }
        let before = (self.nodes.clone(), self.instances, self.revision);
        self.revision += 1;
        if *operation == Operation::CloseSession {
            self.end(id, false);
            return Expected::Closed(self.revision, Ok(Done::SessionClosed));
        }
        let outcome = self.operate(id, operation);
        if outcome.is_err() {
            (self.nodes, self.instances, self.revision) = before;
        } else if self.nodes == before.0 && !made_and_unmade(&outcome) {
            self.revision = before.2;
        }
        let session = self.sessions.get_mut(&id).expect("only closing ends it");
        session.results.retain(|kept, _| *kept > acked_upto);
        session.last = number;
        session.counter += 1;
        session.results.insert(number, (self.revision, outcome.clone()));
        Expected::Replied(self.revision, outcome)
    }

    fn operate(&mut self, id: SessionId, operation: &Operation) -> Outcome {
        let steps = match operation.clone() {
            Operation::Acquire { .. } | Operation::Release { .. } => return self.lock(id, operation),
            Operation::Guarded { sequencer, operation } => {
                self.check_lock(&sequencer)?;
                return self.operate(id, &operation);
            }
            Operation::Open { .. } | Operation::Close { .. } | Operation::Through { .. } => {
                return self.handle(id, operation);
            }
            Operation::DeleteTree { path, expect, part } => return self.delete_tree(&path, expect, part as usize),
            Operation::SetQuota { path, quota } => return self.set_quota(&path, quota),
            Operation::CreateWithAcl { .. } | Operation::SetAcl { .. } | Operation::Authenticate { .. } => {
                unreachable!("access lists have a model of their own")
            }
            Operation::CreateLog { path, lifetime, sequential } => {
                self.check_lifetime(&path, sequential, lifetime)?;
                return self.create_log(id, path, lifetime, sequential);
            }
            Operation::Trim { path, upto } => return self.trim(path, upto),
            Operation::Seal { path } => return self.seal(path),
            Operation::Append { path, records, end } => vec![Step::Append { path, records, end }],
            Operation::Sync => return Ok(Done::Synced),
            Operation::CloseSession => unreachable!("its caller ends the session"),
            Operation::Multi { steps } => steps,
            Operation::Create { path, data, lifetime, sequential } => {
                vec![Step::Create { path, data, lifetime, sequential }]
            }
            Operation::Set { path, data, expect } => vec![Step::Set { path, data, expect }],
            Operation::Delete { path, expect } => vec![Step::Delete { path, expect }],
        };
        let is_multi = matches!(operation, Operation::Multi { .. });
        let mut results = Vec::new();
        for (index, step) in (0..).zip(steps) {
            match self.step(id, step) {
                Ok(result) => results.push(result),
                Err(cause) if is_multi => return Err(Refusal::Aborted { index, cause: Box::new(cause) }),
                Err(cause) => return Err(cause),
            }
        }
        if is_multi {
            return Ok(Done::Multi { results });
        }
        Ok(match results.remove(0) {
            StepDone::Created { path, stat } => Done::Created { path, stat },
            StepDone::Set { stat } => Done::Set { stat },
            StepDone::Deleted => Done::Deleted,
            StepDone::AclSet { .. } => unreachable!("access lists have a model of their own"),
            StepDone::Appended { first, end } => Done::Appended { first, end },
            StepDone::Checked | StepDone::Got { .. } => unreachable!("only a multi reads"),
        })
    }

    fn step(&mut self, id: SessionId, step: Step) -> Result<StepDone, Refusal> {
        if let Step::Create { path, lifetime, sequential, .. } = &step {
            self.check_lifetime(path, *sequential, *lifetime)?;
        }
        match step {
            Step::Check { path, expect: Expect::Absent } => {
                path::check(&path)?;
                if self.nodes.contains_key(&path) { Err(Refusal::NodeExists { path }) } else { Ok(StepDone::Checked) }
            }
            Step::Check { path, expect } => self.expect(&path, expect).map(|()| StepDone::Checked),
            Step::Get { path } => {
                path::check(&path)?;
                if self.nodes.get(&path).is_some_and(|node| node.log.is_some()) {
                    return Err(Refusal::IsLog { path });
                }
                Ok(StepDone::Got { node: self.nodes.get(&path).map(|node| (node.data.clone(), node.stat)) })
            }
            Step::Append { path, records, end } => {
                self.append(path, &records, end).map(|(first, end)| StepDone::Appended { first, end })
            }
            Step::CheckLock { sequencer } => self.check_lock(&sequencer).map(|()| StepDone::Checked),
            Step::CheckHandle { handle } => self.opened(&handle, HandleMode::NONE).map(|_| StepDone::Checked),
            Step::CreateWithAcl { .. } | Step::SetAcl { .. } => {
                unreachable!("access lists have a model of their own")
            }
            Step::Set { path, data, expect } => {
                self.expect(&path, expect)?;
                if self.nodes[&path].log.is_some() {
                    return Err(Refusal::IsLog { path });
                }
                let more = (data.len() as u64).saturating_sub(self.nodes[&path].data.len() as u64);
                self.fits(&path, 0, more)?;
                let (revision, wall_ms) = (self.revision, self.wall_ms);
                let node = self.nodes.get_mut(&path).expect("as expected");
                node.stat.version += 1;
                node.stat.modified = revision;
                node.stat.modified_ms = wall_ms;
                if let Some(Expiry::Idle { ttl_ms }) = node.stat.expiry {
                    node.due = Some(self.log_time_ns + ttl_ms * 1_000_000);
                }
                store(node, data);
                Ok(StepDone::Set { stat: node.stat })
            }
            Step::Delete { path, expect } => {
                if path == "/" {
                    return Err(Refusal::BadArgument { why: "the root is not deleted: delete its children".into() });
                }
                self.expect(&path, expect)?;
                if self.nodes.keys().any(|other| parent(other) == path) {
                    return Err(Refusal::NotEmpty { path });
                }
                self.delete(&path);
                Ok(StepDone::Deleted)
            }
            Step::Create { path, data, lifetime, sequential } => self.create(id, path, data, lifetime, sequential),
        }
    }

    /// The parent and the path of a node to be made.
    fn place_of(&self, mut path: String, sequential: bool) -> Result<(String, String), Refusal> {
        if sequential {
            path::check(&format!("{path}0000000000"))?;
            let born = self.nodes.get(&parent(&format!("{path}0"))).map_or(0, |node| node.born);
            path = format!("{path}{born:010}");
        }
        path::check(&path)?;
        let above = parent(&path);
        if path == "/" {
            return Err(Refusal::NodeExists { path });
        }
        let Some(over) = self.nodes.get(&above) else { return Err(Refusal::NoParent { path: above }) };
        if over.stat.owner.is_some() {
            return Err(Refusal::EphemeralParent { path: above });
        }
        if self.nodes.contains_key(&path) { Err(Refusal::NodeExists { path }) } else { Ok((above, path)) }
    }

    /// Nobody makes a transient node without opening it.
    fn check_lifetime(&self, path: &str, sequential: bool, lifetime: Lifetime) -> Result<(), Refusal> {
        if lifetime == Lifetime::Transient {
            self.place_of(path.to_owned(), sequential)?;
            let why = "a transient node lives while it is open, so it is made by opening it".into();
            return Err(Refusal::BadArgument { why });
        }
        Ok(())
    }

    pub(super) fn create(
        &mut self,
        id: SessionId,
        path: String,
        data: Bytes,
        lifetime: Lifetime,
        sequential: bool,
    ) -> Result<StepDone, Refusal> {
        let (above, path) = self.place_of(path, sequential)?;
        let (expiry, due) = match lifetime {
            Lifetime::Permanent | Lifetime::Ephemeral => (None, None),
            Lifetime::Container => (Some(Expiry::Emptied), None),
            Lifetime::Transient => (Some(Expiry::Closed), None),
            Lifetime::Ttl { ms } => (Some(Expiry::Idle { ttl_ms: ms }), Some(self.log_time_ns + ms * 1_000_000)),
        };
        let revision = self.revision;
        if lifetime == (Lifetime::Ttl { ms: 0 }) {
            return Err(Refusal::BadArgument {
                why: "a time to live of 0 ms ends before it begins: give it one at least".into(),
            });
        }
        self.fits(&path, 1, data.len() as u64)?;
        self.instances += 1;
        let stat = Stat {
            created: revision,
            modified: revision,
            children_modified: revision,
            created_ms: self.wall_ms,
            modified_ms: self.wall_ms,
            owner: (lifetime == Lifetime::Ephemeral).then_some(id),
            expiry,
            instance: self.instances,
            ..Stat::default()
        };
        let (lock, opens) = (ModelLock::default(), Vec::new());
        let mut node = ModelNode { data: Bytes::new(), stat, lock, due, quota: None, opens, log: None, born: 0 };
        store(&mut node, data);
        let stat = node.stat;
        self.nodes.insert(path.clone(), node);
        let over = self.nodes.get_mut(&above).expect("seen above");
        over.born += 1;
        over.stat.children += 1;
        over.stat.children_version += 1;
        over.stat.children_modified = revision;
        if over.stat.expiry == Some(Expiry::Emptied) {
            over.due = None;
        }
        Ok(StepDone::Created { path, stat })
    }

    fn set_quota(&mut self, path: &str, quota: Option<Quota>) -> Outcome {
        self.expect(path, Expect::Any)?;
        if quota == Some(Quota::default()) {
            return Err(Refusal::BadArgument {
                why: "a quota without a bound bounds nothing: give it one, or take it away".into(),
            });
        }
        self.nodes.get_mut(path).expect("as expected").quota = quota;
        Ok(Done::QuotaSet)
    }

    /// What a node and all below it come to.
    pub fn usage(&self, top: &str) -> Usage {
        let within = self.nodes.iter().filter(|(path, _)| path::is_within(path, top));
        within.fold(Usage::default(), |usage, (_, node)| Usage {
            nodes: usage.nodes + 1,
            bytes: usage.bytes + u64::from(node.stat.data_bytes),
        })
    }

    /// Whether so much more may come to `path`: the nearest quota that is too small says no.
    pub(super) fn fits(&self, path: &str, nodes: u64, bytes: u64) -> Result<(), Refusal> {
        let mut above: Vec<_> = self.nodes.iter().filter(|(top, _)| path::is_within(path, top)).collect();
        above.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        for (path, quota) in above.into_iter().filter_map(|(path, node)| Some((path.clone(), node.quota?))) {
            let usage = self.usage(&path);
            let (nodes_needed, bytes_needed) = (usage.nodes + nodes, usage.bytes + bytes);
            if let Some(limit) = quota.hard.nodes.filter(|limit| nodes > 0 && nodes_needed > *limit) {
                return Err(Refusal::NodesOverQuota { path, needed: nodes_needed, limit });
            }
            if let Some(limit) = quota.hard.bytes.filter(|limit| bytes > 0 && bytes_needed > *limit) {
                return Err(Refusal::BytesOverQuota { path, needed: bytes_needed, limit });
            }
        }
        Ok(())
    }

    /// The last in order first: nothing is above what follows it.
    fn delete_tree(&mut self, path: &str, expect: Expect, part: usize) -> Outcome {
        if path == "/" {
            return Err(Refusal::BadArgument { why: "the root is not deleted: delete its children".into() });
        }
        self.expect(path, expect)?;
        let mut below = self.below(path);
        let more = part > 0 && below.len() > part;
        below.truncate(if part == 0 { usize::MAX } else { part });
        below.iter().for_each(|path| self.delete(path));
        Ok(Done::TreeDeleted { nodes: below.len() as u32, more })
    }

    /// All at and below a path, children in order before their parent.
    fn below(&self, top: &str) -> Vec<String> {
        let mut children: Vec<_> = self.nodes.keys().filter(|path| *path != "/" && parent(path) == top).collect();
        children.sort_by_key(|path| path::name(path));
        let mut all: Vec<_> = children.into_iter().flat_map(|child| self.below(child)).collect();
        all.push(top.to_owned());
        all
    }

    fn delete(&mut self, path: &str) {
        self.nodes.remove(path);
        let over = self.nodes.get_mut(&parent(path)).expect("a node has a parent");
        over.stat.children -= 1;
        over.stat.children_version += 1;
        over.stat.children_modified = self.revision;
        if over.stat.expiry == Some(Expiry::Emptied) && over.stat.children == 0 {
            over.due = Some(self.log_time_ns + CONTAINER_LINGER_MS * 1_000_000);
        }
    }

    fn lock(&mut self, id: SessionId, operation: &Operation) -> Outcome {
        let (Operation::Acquire { path, .. } | Operation::Release { path }) = operation else {
            unreachable!("its caller knows")
        };
        path::check(path)?;
        let revision = self.revision;
        let claimed = |node: &ModelNode| node.lock.holders.iter().chain(&node.lock.waiting).any(|claim| claim.0 == id);
        let Operation::Acquire { mode, wait, create, lock_delay_ms, .. } = operation else {
            let Some(node) = self.nodes.get_mut(path) else { return Err(Refusal::NoNode { path: path.clone() }) };
            if !claimed(node) {
                return Err(Refusal::LockNotHeld { path: path.clone() });
            }
            node.lock.holders.retain(|claim| claim.0 != id);
            node.lock.waiting.retain(|claim| claim.0 != id);
            hand_on(node, revision);
            return Ok(Done::Released);
        };
        if !self.nodes.contains_key(path) {
            if !create {
                return Err(Refusal::NoNode { path: path.clone() });
            }
            self.create(id, path.clone(), Bytes::new(), Lifetime::Permanent, false)?;
        }
        let node = self.nodes.get_mut(path).expect("made if it was missing");
        if claimed(node) {
            return Err(Refusal::LockTwice { path: path.clone() });
        }
        node.lock.waiting.push((id, *mode, *lock_delay_ms));
        hand_on(node, revision);
        if node.lock.holders.iter().any(|claim| claim.0 == id) {
            let Stat { instance, lock_generation: generation, .. } = node.stat;
            return Ok(Done::Granted {
                sequencer: Sequencer { path: path.clone(), instance, mode: *mode, generation },
            });
        }
        if *wait { Ok(Done::Queued) } else { Err(Refusal::LockBusy { path: path.clone() }) }
    }

    fn check_lock(&self, sequencer: &Sequencer) -> Result<(), Refusal> {
        if self.is_valid(sequencer) {
            return Ok(());
        }
        let current = self.nodes.get(&sequencer.path).map_or(0, |node| node.stat.lock_generation);
        Err(Refusal::Fenced { path: sequencer.path.clone(), presented: sequencer.generation, current })
    }

    pub fn is_valid(&self, sequencer: &Sequencer) -> bool {
        let Sequencer { path, instance, mode, generation } = sequencer;
        self.nodes.get(path).is_some_and(|node| {
            (node.stat.instance, node.stat.lock_generation) == (*instance, *generation)
                && node.lock.holders.first().is_some_and(|claim| claim.1 == *mode)
        })
    }

    fn end(&mut self, id: SessionId, lost: bool) {
        let owned: Vec<_> = self.nodes.iter().filter(|(_, node)| node.stat.owner == Some(id)).collect();
        let owned: Vec<_> = owned.into_iter().map(|(path, _)| path.clone()).collect();
        owned.iter().for_each(|path| self.delete(path));
        self.close_all(id);
        let (now, revision) = (self.log_time_ns, self.revision);
        for node in self.nodes.values_mut() {
            for (_, mode, delay_ms) in node.lock.holders.extract_if(.., |claim| claim.0 == id) {
                if lost && delay_ms > 0 {
                    node.lock.shut.push((mode, now + u64::from(delay_ms) * 1_000_000));
                }
            }
            node.lock.waiting.retain(|claim| claim.0 != id);
            hand_on(node, revision);
        }
        self.sessions.remove(&id);
    }

    pub(super) fn expect(&self, path: &str, expect: Expect) -> Result<(), Refusal> {
        path::check(path)?;
        let Some(node) = self.nodes.get(path) else { return Err(Refusal::NoNode { path: path.to_owned() }) };
        match expect {
            Expect::Any => Ok(()),
            Expect::Version(expected) if expected == node.stat.version => Ok(()),
            Expect::Version(expected) => {
                Err(Refusal::BadVersion { path: path.to_owned(), expected, found: node.stat.version })
            }
            Expect::Absent => Err(Refusal::BadArgument {
                why: "only a check may expect a node to be absent: use a check, or create the node".into(),
            }),
        }
    }
}

/// Lets in from the front of the queue whoever goes with all that hold the lock, or keep it shut.
fn hand_on(node: &mut ModelNode, revision: u64) {
    let ModelLock { holders, waiting, shut } = &mut node.lock;
    // Holders that are all new took the lock from nobody.
    let mut first = holders.is_empty();
    while let Some(next) = waiting.first().copied() {
        let mut against = holders.iter().map(|claim| claim.1).chain(shut.iter().map(|shut| shut.0));
        if against.any(|mode| mode == LockMode::Exclusive || next.1 == LockMode::Exclusive) {
            return;
        }
        holders.push(waiting.remove(0));
        if std::mem::take(&mut first) {
            node.stat.lock_generation = revision;
        }
    }
}

fn store(node: &mut ModelNode, data: Bytes) {
    node.stat.data_bytes = u32::try_from(data.len()).expect("small");
    node.stat.checksum = crc32fast::hash(&data);
    node.data = data;
}

/// The path up to its last '/', which stays only if it is all there is; nothing for the root.
fn parent(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", "")) | None => String::new(),
        Some(("", _)) => "/".to_owned(),
        Some((parent, _)) => parent.to_owned(),
    }
}

/// A node made and deleted in one multi leaves its parent's numbers changed, so equal trees mean nothing was done.
fn made_and_unmade(outcome: &Outcome) -> bool {
    let Ok(Done::Multi { results }) = outcome else { return false };
    results.iter().any(|result| {
        matches!(
            result,
            StepDone::Created { .. } | StepDone::Set { .. } | StepDone::Deleted | StepDone::Appended { .. }
        )
    })
}
