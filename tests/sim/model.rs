//! An independent, plain model of the namespace, fed with the chosen log. It keeps every state of every node, so that an
//! answer can be judged at any revision.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::limits::{CONTAINER_LINGER_MS, SESSION_REQUESTS_IN_FLIGHT};
use quorate::namespace::acl::{Acl, Principals};
use quorate::namespace::codec::Batch;
use quorate::namespace::command::{
    Command, Done, Expect, Expiry, Lifetime, LockPlace, Operation, Outcome, Quota, Refusal, Resume, Revision,
    Sequencer, SessionId, Stat,
};
use quorate::paxos::Slot;
use quorate::wire::watch::EventKind;

use super::acls::{Eyes, LOOK};
use super::answers::page;
use super::locks::{Claim, Lock};
use super::logs::Log;
use super::tree::Tree;
use super::watching::ModelEvent;

/// A node of the model.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    pub data: Bytes,
    created: Revision,
    pub modified: Revision,
    children_modified: Revision,
    version: u64,
    born: u64,
    gone: u64,
    owner: Option<SessionId>,
    pub instance: u64,
    pub lock: Lock,
    pub expiry: Option<Expiry>,
    /// When it ends, if it has no children then.
    pub due: Option<u64>,
    pub quota: Option<Quota>,
    /// When each handle was opened, and by whom.
    pub opens: Vec<(Revision, SessionId)>,
    /// The root's: in which reign the log was last written.
    pub reign: u64,
    pub acl: Option<Acl>,
    pub acl_version: u64,
    pub log: Option<Log>,
}

#[derive(Clone, Debug)]
struct Session {
    token: u64,
    secret: u128,
    /// The process that has it.
    holder: u64,
    /// The processes that had it before.
    lost_by: Vec<u64>,
    counter: u64,
    last: u64,
    who: Principals,
}

/// A session, and whom it stands for.
pub type Asker<'a> = (SessionId, &'a Principals);

/// Where a request came to stand in the total order, and what it did.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Commands before it.
    pub position: u64,
    pub revision: Revision,
    pub operation: Operation,
    pub outcome: Outcome,
}

/// The state after every command so far, and all states before.
#[derive(Debug)]
pub struct Model {
    pub tree: Tree,
    pub past: BTreeMap<String, Vec<(Revision, Option<Node>)>>,
    sessions: BTreeMap<SessionId, Session>,
    /// Where each session began.
    begun: BTreeMap<SessionId, Slot>,
    /// Where each session that is over ended.
    over: BTreeMap<SessionId, Slot>,
    /// The one of the batch at work.
    slot: Slot,
    revision: Revision,
    pub instances: u64,
    commands: u64,
    pub log_time_ns: u64,
    /// What check digits are made with.
    pub key: Option<u128>,
    placed: BTreeMap<(SessionId, u64), Placed>,
    /// Whom a session stood for after which of its requests.
    whos: BTreeMap<SessionId, Vec<(u64, Principals)>>,
    /// Nodes that ended because their time was over.
    pub ended: u64,
    events: Vec<ModelEvent>,
    /// Events of the command at work.
    pending: Vec<ModelEvent>,
}

impl Model {
    pub fn new() -> Self {
        let root = ("/".to_owned(), Node::default());
        let past = (root.0.clone(), vec![(0, Some(root.1.clone()))]);
        Self {
            tree: Tree::new(),
            past: BTreeMap::from([past]),
            sessions: BTreeMap::new(),
            begun: BTreeMap::new(),
            over: BTreeMap::new(),
            slot: Slot(0),
            revision: 0,
            instances: 0,
            commands: 0,
            log_time_ns: 0,
            key: None,
            placed: BTreeMap::new(),
            whos: BTreeMap::new(),
            ended: 0,
            events: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Applies the body of one batch, that of this slot.
    pub fn apply(&mut self, slot: Slot, batch: &[u8]) {
        self.slot = slot;
        let batch = Batch::decode(batch).expect("a batch is well made");
        self.log_time_ns = self.log_time_ns.max(batch.log_time_ns);
        for command in batch {
            self.commands += 1;
            self.command(command.expect("a command is well made").to_command());
        }
    }

    /// What became of a request; `None` if it was never applied.
    pub fn placed(&self, session: SessionId, number: u64) -> Option<&Placed> {
        self.placed.get(&(session, number))
    }

    /// Whom a session stood for after that request of it, and later.
    pub fn stood_for(&self, session: SessionId, behind: u64) -> Vec<Principals> {
        let all = self.whos.get(&session).map_or(&[][..], Vec::as_slice);
        let first = all.partition_point(|(number, _)| *number <= behind).saturating_sub(1);
        all[first..].iter().map(|(_, who)| who.clone()).collect()
    }

    /// Whether a session was over when everything up to that slot was applied.
    pub fn was_over(&self, session: SessionId, upto: Slot) -> bool {
        self.over.get(&session).is_some_and(|slot| *slot <= upto)
    }

    /// Where a session began, and where it ended.
    pub fn lived(&self, session: SessionId) -> Option<(Slot, Option<Slot>)> {
        Some((*self.begun.get(&session)?, self.over.get(&session).copied()))
    }

    /// Every session there ever was, with that.
    pub fn lives(&self) -> impl Iterator<Item = (SessionId, (Slot, Option<Slot>))> {
        self.begun.iter().map(|(session, from)| (*session, (*from, self.over.get(session).copied())))
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// What happened after one revision, up to another.
    pub fn events_between(&self, after: Revision, upto: Revision) -> &[ModelEvent] {
        let first = self.events.partition_point(|event| event.revision <= after);
        let end = self.events.partition_point(|event| event.revision <= upto.max(after));
        &self.events[first..end]
    }

    /// Whether something happens later to the path of one of the model's events.
    pub fn happens_again(&self, event: &ModelEvent) -> bool {
        let from = self.events_between(event.revision - 1, Revision::MAX).iter();
        let mut later = from.skip_while(|other| !std::ptr::eq(*other, event)).skip(1);
        later.any(|other| other.path == event.path)
    }

    /// Nodes where something waits for its time.
    pub fn waiting(&self) -> Vec<&str> {
        let waits = |node: &Node| node.is_empty() && node.due.is_some() || !node.lock.shut.is_empty();
        self.tree.iter().filter(|(_, node)| waits(node)).map(|(path, _)| path.as_str()).collect()
    }

    /// Every node there is: its data and numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Bytes, Stat)> {
        self.tree.iter().map(|(path, node)| (path.as_str(), &node.data, node.stat()))
    }

    pub fn at(&self, path: &str, revision: Revision) -> Option<&Node> {
        let past = self.past.get(path)?;
        past.iter().rev().find(|(since, _)| *since <= revision)?.1.as_ref()
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::OpenSession { token, secret, address, .. } => {
                let found = self.sessions.values_mut().find(|s| (s.token, s.secret) == (token, secret));
                if let Some(session) = found {
                    session.counter += 1;
                } else {
                    self.revision += 1;
                    let who = Principals::at(address);
                    self.whos.insert(SessionId(self.revision), vec![(0, who.clone())]);
                    let session =
                        Session { token, secret, holder: token, lost_by: Vec::new(), counter: 1, last: 0, who };
                    self.sessions.insert(SessionId(self.revision), session);
                    self.begun.insert(SessionId(self.revision), self.slot);
                }
            }
            Command::ResumeSession { resume: Resume { session, secret, holder, takes_over }, address, .. } => {
                // Whichever replica puts it to the log has applied the session's beginning, and knows its secret.
                let is_known = self.begun.contains_key(&session);
                let is_shown = self.sessions.get(&session).is_none_or(|s| s.secret == secret);
                assert!(is_known && is_shown, "{session:?} was made up, and the log was asked about it");
                let found = self.sessions.get_mut(&session).filter(|s| s.secret == secret);
                if let Some(session) =
                    found.filter(|s| s.holder == holder || (takes_over && !s.lost_by.contains(&holder)))
                {
                    assert_eq!(session.who.address, address, "a simulated client stays where it is");
                    session.counter += 1;
                    if session.holder != holder {
                        session.lost_by.push(std::mem::replace(&mut session.holder, holder));
                        session.last += SESSION_REQUESTS_IN_FLIGHT as u64;
                    }
                }
            }
            Command::ExpireSession { session, counter } => {
                if self.sessions.get(&session).is_some_and(|s| s.counter == counter) {
                    self.end_session(session, Some(self.log_time_ns));
                    self.keep();
                }
            }
            Command::Settle { path, instance } => {
                let (revision, now) = (self.next(), self.log_time_ns);
                let node = self.tree.get_mut(&path).filter(|node| node.instance == instance);
                if node.as_ref().is_some_and(|node| node.is_empty() && node.due.is_some_and(|due| due <= now)) {
                    self.ended += 1;
                    self.remove(&path);
                } else if let Some(node) = node {
                    node.lock.shut.retain(|(_, until)| *until > now);
                    node.lock.hand_on(revision);
                }
                self.keep();
            }
            Command::BeginReign { reign, key } => {
                self.begin_reign(reign, key);
                self.keep();
            }
            Command::MarkCaching { .. } => {}
            Command::Request { session, number, operation, .. } => self.request(session, number, operation),
        }
    }

    fn request(&mut self, session: SessionId, number: u64, operation: Operation) {
        let Some(row) = self.sessions.get_mut(&session).filter(|row| row.last + 1 == number) else { return };
        row.last = number;
        row.counter += 1;
        let mut who = row.who.clone();
        let outcome = if let Operation::Authenticate { user, is_super } = &operation {
            let outcome = self.authenticate(&mut who, user, *is_super);
            self.whos.entry(session).or_default().push((number, who.clone()));
            self.sessions.get_mut(&session).expect("it was just found").who = who;
            outcome
        } else {
            self.operate((session, &who), &operation)
        };
        self.keep();
        let (position, revision) = (self.commands, self.revision);
        self.placed.insert((session, number), Placed { position, revision, operation, outcome });
    }

    pub fn eyes<'a>(&'a self, who: &'a Principals) -> Eyes<'a> {
        Eyes { model: self, revision: None, who }
    }

    pub fn operate(&mut self, (session, who): Asker<'_>, operation: &Operation) -> Outcome {
        self.eyes(who).admit(session, operation)?;
        self.perform((session, who), operation)
    }

    /// Does what is admitted.
    pub fn perform(&mut self, (session, who): Asker<'_>, operation: &Operation) -> Outcome {
        match operation {
            Operation::Authenticate { .. } => unreachable!("its caller does it"),
            Operation::CreateWithAcl { path, data, lifetime, sequential, acl } => {
                let acl = Some(self.settled_for(path, *sequential, acl, who)?);
                let made = self.create(session, path, Some(data), (*lifetime, *sequential), acl);
                made.map(|(path, stat)| Done::Created { path, stat })
            }
            Operation::SetAcl { path, acl, expect } => {
                self.set_acl(who, path, acl.as_ref(), *expect).map(|stat| Done::AclSet { stat })
            }
            Operation::CloseSession => {
                self.end_session(session, None);
                Ok(Done::SessionClosed)
            }
            Operation::Acquire { .. } => self.acquire(session, operation),
            Operation::Release { path } => {
                let revision = self.next();
                let node = self.tree.get_mut(path).ok_or_else(|| Refusal::NoNode { path: path.clone() })?;
                if !node.lock.is_claimed_by(session) {
                    return Err(Refusal::LockNotHeld { path: path.clone() });
                }
                node.lock.leave(session, None, revision);
                Ok(Done::Released)
            }
            Operation::Guarded { sequencer, operation } => {
                let node = self.tree.get(&sequencer.path).filter(|node| node.upholds(sequencer));
                let is_held = node.is_some_and(|node| node.lock.is_held_by(session));
                if !(is_held && matches!(&**operation, Operation::Release { path } if *path == sequencer.path)) {
                    self.check_lock(sequencer, who)?;
                }
                self.operate((session, who), operation)
            }
            Operation::Open { path, mode, birth } => self.open((session, who), path, *mode, birth.as_ref()),
            Operation::Close { handle } => self.close(session, handle),
            Operation::Through { handle, operation } => self.through((session, who), handle, operation),
            Operation::Sync => Ok(Done::Synced),
            Operation::Multi { steps } => self.multi((session, who), steps).map(|results| Done::Multi { results }),
            Operation::Create { path, data, lifetime, sequential } => self
                .create(session, path, Some(data), (*lifetime, *sequential), None)
                .map(|(path, stat)| Done::Created { path, stat }),
            Operation::CreateLog { path, lifetime, sequential } => self
                .create(session, path, None, (*lifetime, *sequential), None)
                .map(|(path, stat)| Done::Created { path, stat }),
            Operation::Append { path, records, end } => {
                self.append(path, records, *end).map(|(first, end)| Done::Appended { first, end })
            }
            Operation::Trim { path, upto } => self.trim(path, *upto),
            Operation::Seal { path } => self.seal(path),
            Operation::Set { path, data, expect } => self.set(path, data, *expect).map(|stat| Done::Set { stat }),
            Operation::Delete { path, expect } => self.delete(path, *expect).map(|()| Done::Deleted),
            Operation::SetQuota { path, quota } => self.set_quota(path, *quota),
            Operation::DeleteTree { path, expect, part } => self.delete_tree(who, path, *expect, *part as usize),
        }
    }

    fn acquire(&mut self, session: SessionId, operation: &Operation) -> Outcome {
        let Operation::Acquire { path, mode, wait, create, lock_delay_ms } = operation else {
            unreachable!("its caller knows")
        };
        if !self.tree.contains_key(path) {
            if !create {
                return Err(Refusal::NoNode { path: path.clone() });
            }
            self.create(session, path, Some(&Bytes::new()), (Lifetime::Permanent, false), None)?;
        }
        let revision = self.next();
        let node = self.tree.get_mut(path).expect("made if it was missing");
        if node.lock.is_claimed_by(session) {
            return Err(Refusal::LockTwice { path: path.clone() });
        }
        let mut lock = node.lock.clone();
        lock.waiting.push(Claim { session, mode: *mode, delay_ms: *lock_delay_ms });
        lock.hand_on(revision);
        if let LockPlace::Held { sequencer } = lock.place(path, node.instance, session) {
            node.lock = lock;
            return Ok(Done::Granted { sequencer });
        }
        if !wait {
            return Err(Refusal::LockBusy { path: path.clone() });
        }
        node.lock = lock;
        Ok(Done::Queued)
    }

    pub fn check_lock(&self, sequencer: &Sequencer, who: &Principals) -> Result<(), Refusal> {
        let hidden = self.eyes(who).hides(&sequencer.path, LOOK)?;
        let node = self.tree.get(&sequencer.path).filter(|_| !hidden);
        if node.is_some_and(|node| node.upholds(sequencer)) {
            return Ok(());
        }
        let (path, presented) = (sequencer.path.clone(), sequencer.generation);
        Err(Refusal::Fenced { path, presented, current: node.map_or(0, |node| node.lock.generation) })
    }

    /// Ends a command: what it changed is dated with the new revision.
    fn keep(&mut self) {
        let changed = self.tree.take_changed();
        if !changed.is_empty() {
            let revision = self.next();
            for path in changed.keys() {
                let past = self.past.entry(path.clone()).or_default();
                past.push((revision, self.tree.get(path).cloned()));
            }
            self.tell_wanted(&changed);
            self.revision = revision;
            self.events.append(&mut self.pending);
        }
        self.pending.clear();
    }

    pub fn happens(&mut self, kind: EventKind, path: &str, data: Option<Bytes>) {
        let revision = self.next();
        let acl = self.tree.get(path).and_then(|node| node.acl.clone());
        self.pending.push(ModelEvent { revision, kind, path: path.to_owned(), data, acl });
    }

    pub fn next(&self) -> Revision {
        self.revision + 1
    }

    fn end_session(&mut self, session: SessionId, lost_ns: Option<u64>) {
        self.sessions.remove(&session);
        self.over.insert(session, self.slot);
        let owned: Vec<String> =
            self.tree.iter().filter(|(_, node)| node.owner == Some(session)).map(|(path, _)| path.clone()).collect();
        owned.iter().for_each(|path| self.remove(path));
        let closed = self.close_all(session);
        let revision = self.next();
        let claimed = self.tree.iter().filter(|(_, node)| node.lock.is_claimed_by(session));
        let claimed: Vec<String> = claimed.map(|(path, _)| path.clone()).collect();
        let nothing = owned.is_empty() && claimed.is_empty() && !closed;
        for path in claimed {
            self.tree.get_mut(&path).expect("it was just seen").lock.leave(session, lost_ns, revision);
        }
        if nothing {
            self.revision = self.next();
        }
    }

    /// The parent and the path of a node to be made.
    pub fn place_of(&self, path: &str, sequential: bool) -> Result<(String, String), Refusal> {
        let whole = if sequential { format!("{path}0") } else { path.to_owned() };
        let parent = parent(&whole).ok_or_else(|| Refusal::NodeExists { path: path.to_owned() })?;
        let above = self.tree.get(&parent).ok_or_else(|| Refusal::NoParent { path: parent.clone() })?;
        if above.owner.is_some() {
            return Err(Refusal::EphemeralParent { path: parent });
        }
        let path = if sequential { format!("{path}{:010}", above.born) } else { path.to_owned() };
        if self.tree.contains_key(&path) { Err(Refusal::NodeExists { path }) } else { Ok((parent, path)) }
    }

    /// Without data it is a log.
    pub fn create(
        &mut self,
        session: SessionId,
        path: &str,
        data: Option<&Bytes>,
        (lifetime, sequential): (Lifetime, bool),
        acl: Option<Acl>,
    ) -> Result<(String, Stat), Refusal> {
        let log = data.is_none().then(Log::default);
        let data = data.cloned().unwrap_or_default();
        let revision = self.next();
        let (parent, path) = self.place_of(path, sequential)?;
        let expiry = match lifetime {
            Lifetime::Permanent | Lifetime::Ephemeral => None,
            Lifetime::Container => Some(Expiry::Emptied),
            Lifetime::Transient => Some(Expiry::Closed),
            Lifetime::Ttl { ms } => Some(Expiry::Idle { ttl_ms: ms }),
        };
        self.has_room(&path, 1, data.len() as u64)?;
        self.instances += 1;
        let node = Node {
            data: data.clone(),
            log,
            created: revision,
            modified: revision,
            children_modified: revision,
            owner: (lifetime == Lifetime::Ephemeral).then_some(session),
            instance: self.instances,
            expiry,
            due: self.due(expiry),
            acl: acl.or_else(|| self.tree[&parent].acl.clone().filter(|acl| acl.inherit)),
            ..Node::default()
        };
        let stat = node.stat();
        self.tree.insert(path.clone(), node);
        self.happens(EventKind::Created, &path, Some(data.clone()));
        let above = self.tree.get_mut(&parent).expect("it was just seen");
        above.born += 1;
        if above.expiry == Some(Expiry::Emptied) {
            above.due = None;
        }
        above.children_modified = revision;
        self.warn(&path, 1, data.len() as u64);
        Ok((path, stat))
    }

    pub fn set(&mut self, path: &str, data: &Bytes, expect: Expect) -> Result<Stat, Refusal> {
        self.check(path, expect)?;
        if self.tree[path].log.is_some() {
            return Err(Refusal::IsLog { path: path.to_owned() });
        }
        let more = (data.len() as u64).saturating_sub(self.tree[path].data.len() as u64);
        self.has_room(path, 0, more)?;
        let (revision, due) = (self.next(), self.due(self.tree[path].expiry));
        let node = self.tree.get_mut(path).expect("it was just checked");
        node.due = due.or(node.due);
        node.data = data.clone();
        node.modified = revision;
        node.version += 1;
        let stat = node.stat();
        self.happens(EventKind::Changed, path, Some(data.clone()));
        self.warn(path, 0, more);
        Ok(stat)
    }

    pub fn delete(&mut self, path: &str, expect: Expect) -> Result<(), Refusal> {
        if path == "/" {
            return Err(Refusal::BadArgument { why: String::new() });
        }
        self.check(path, expect)?;
        let node = &self.tree[path];
        if !node.is_empty() {
            return Err(Refusal::NotEmpty { path: path.to_owned() });
        }
        self.remove(path);
        Ok(())
    }

    fn delete_tree(&mut self, who: &Principals, path: &str, expect: Expect, part: usize) -> Outcome {
        if path == "/" {
            return Err(Refusal::BadArgument { why: String::new() });
        }
        self.check(path, expect)?;
        let (going, more) = page(self.leaves_first(path), part as u32);
        self.eyes(who).clear(path, &going)?;
        going.iter().for_each(|path| self.remove(path));
        Ok(Done::TreeDeleted { nodes: going.len() as u32, more })
    }

    /// A node's children in order, each with its own before it, and the node.
    fn leaves_first(&self, top: &str) -> Vec<String> {
        let children = self.tree.keys().filter(|path| parent(path).as_deref() == Some(top));
        let mut all: Vec<_> = children.flat_map(|child| self.leaves_first(child)).collect();
        all.push(top.to_owned());
        all
    }

    pub fn remove(&mut self, path: &str) {
        let (revision, now) = (self.next(), self.log_time_ns);
        self.happens(EventKind::Deleted, path, None);
        self.tree.remove(path);
        let above = parent(path).and_then(|parent| self.tree.get_mut(&parent)).expect("a node has a parent");
        above.gone += 1;
        if above.expiry == Some(Expiry::Emptied) && above.is_empty() {
            above.due = Some(now + CONTAINER_LINGER_MS * 1_000_000);
        }
        above.children_modified = revision;
    }

    /// When a node whose data are new at this moment ends.
    pub fn due(&self, expiry: Option<Expiry>) -> Option<u64> {
        match expiry {
            Some(Expiry::Idle { ttl_ms }) => Some(self.log_time_ns + ttl_ms * 1_000_000),
            Some(Expiry::Emptied | Expiry::Closed) | None => None,
        }
    }

    pub fn check(&self, path: &str, expect: Expect) -> Result<(), Refusal> {
        match (self.tree.get(path), expect) {
            (None, Expect::Absent) => Ok(()),
            (Some(_), Expect::Absent) => Err(Refusal::NodeExists { path: path.to_owned() }),
            (None, Expect::Any | Expect::Version(_)) => Err(Refusal::NoNode { path: path.to_owned() }),
            (Some(node), Expect::Version(expected)) if expected != node.stat().version => {
                Err(Refusal::BadVersion { path: path.to_owned(), expected, found: node.stat().version })
            }
            (Some(_), Expect::Any | Expect::Version(_)) => Ok(()),
        }
    }
}

impl Node {
    pub fn is_empty(&self) -> bool {
        self.born == self.gone
    }

    pub fn upholds(&self, sequencer: &Sequencer) -> bool {
        self.lock.view(&sequencer.path, self.instance).sequencer.as_ref() == Some(sequencer)
    }

    /// Bytes that count against quotas.
    pub fn bytes(&self) -> usize {
        self.log.as_ref().map_or(self.data.len(), Log::bytes)
    }

    pub fn stat(&self) -> Stat {
        let stat = Stat {
            created: self.created,
            modified: self.modified,
            children_modified: self.children_modified,
            version: self.version,
            children_version: self.born + self.gone,
            owner: self.owner,
            expiry: self.expiry,
            data_bytes: self.data.len() as u32,
            children: (self.born - self.gone) as u32,
            instance: self.instance,
            lock_generation: self.lock.generation,
            acl_version: self.acl_version,
            checksum: crc32fast::hash(&self.data),
            ..Stat::default()
        };
        self.log.as_ref().map_or(stat, |log| log.stat(stat))
    }
}

pub fn is_within(path: &str, top: &str) -> bool {
    path == top || top == "/" || path.starts_with(&format!("{top}/"))
}

pub fn parent(path: &str) -> Option<String> {
    let (parent, name) = path.rsplit_once('/')?;
    match (parent, name) {
        ("", "") => None,
        ("", _) => Some("/".to_owned()),
        (parent, _) => Some(parent.to_owned()),
    }
}
