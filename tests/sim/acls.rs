//! Access lists in the plain model: who may know of what, and do what with it.
//!
//! A client's address is its own for ever, and whom its session stands for only grows. So what a front knows of a session
//! when it answers is what the log knew after some request of it, no earlier than the last one answered: any of those is
//! accepted, none else.

use std::net::IpAddr;

use quorate::client::Credentials;
use quorate::limits::ACL_ENTRIES_MAX;
use quorate::namespace::acl::{Acl, AclEntry, Principals, Rights, User, Who};
use quorate::namespace::command::{
    Answer, Birth, Done, Expect, HandleMode, Operation, Outcome, Read, Refusal, Revision, SessionId, Stat, Step,
};

use super::model::{Model, Node, parent};
use super::world::Random;

/// The only group.
pub const GROUP: &str = "/acl/g";

const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// The password of everybody.
const PASSWORD: &str = "open sesame";

/// The name and the password of who may do everything.
pub const SUPER: (&str, &str) = ("root", PASSWORD);

/// Who may do everything.
pub fn super_user() -> User {
    User::new(SUPER.0, SUPER.1)
}

/// From where a client connects.
pub fn address(client: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, client as u8])
}

/// Somebody for a client to be as well.
pub fn credentials(random: &mut Random) -> Credentials {
    match random.below(8) {
        0 => Credentials::new(SUPER.0, SUPER.1),
        1 => Credentials::new("root", "guessed"),
        which => Credentials::new(USERS[which as usize % USERS.len()], PASSWORD),
    }
}

/// What the log makes of them.
pub fn proved(credentials: &Credentials) -> Operation {
    let user = credentials.user();
    Operation::Authenticate { is_super: user == super_user(), user }
}

/// A list: mostly one that leaves somebody every right.
pub fn acl(random: &mut Random) -> Acl {
    let everybody = [Rights::READ, Rights::READ.or(Rights::LOCK), Rights::WRITE, Rights::CREATE, Rights::ALL];
    let mut entries = Vec::new();
    if random.below(2) == 0 {
        entries.push(AclEntry { who: Who::World, rights: random.pick(&everybody) });
    }
    for _ in 0..=random.below(2) {
        let who = match random.below(6) {
            0 => Who::Auth,
            1 => Who::Network { address: address(0), bits: 31 },
            2 => Who::Group { path: GROUP.to_owned() },
            which => Who::User(User::new(USERS[which as usize % USERS.len()], PASSWORD)),
        };
        let rights = if random.below(4) == 0 { random.pick(&everybody) } else { Rights::ALL };
        entries.push(AclEntry { who, rights });
    }
    if random.below(20) == 0 {
        entries.clear();
    }
    Acl { entries, inherit: random.below(3) == 0 }
}

/// What a group may say.
pub fn members(random: &mut Random) -> String {
    let mut text = String::from("# who is in it\n");
    for name in USERS {
        if random.below(2) == 0 {
            text += &format!("{}\n", User::new(name, PASSWORD));
        }
    }
    if random.below(4) == 0 {
        text += "ip:10.0.0.2/31\n";
    }
    text
}

/// The list of a node, and of the node as it is later on its path.
pub type Lists<'a> = (Option<&'a Acl>, Revision);

/// What somebody may see and do, at a revision or now.
#[derive(Clone, Copy)]
pub struct Eyes<'a> {
    pub model: &'a Model,
    pub revision: Option<Revision>,
    pub who: &'a Principals,
}

impl<'a> Eyes<'a> {
    fn node(self, path: &str) -> Option<&'a Node> {
        match self.revision {
            Some(revision) => self.model.at(path, revision),
            None => self.model.tree.get(path),
        }
    }

    pub fn may(self, acl: Option<&Acl>, rights: Rights) -> bool {
        let Some(acl) = acl else { return true };
        self.who.is_super || acl.entries.iter().any(|entry| entry.rights.has_any(rights) && self.is(&entry.who, true))
    }

    fn is(self, who: &Who, groups: bool) -> bool {
        match who {
            Who::World => true,
            Who::Auth => false,
            Who::User(user) => self.who.users.contains(user),
            Who::Network { address: IpAddr::V4(address), bits } => match self.who.address {
                Some(IpAddr::V4(own)) => {
                    let differ = u64::from(u32::from(own) ^ u32::from(*address));
                    differ >> (32 - bits) == 0
                }
                _ => false,
            },
            Who::Network { .. } => unreachable!("the simulated network is of the fourth version"),
            Who::Group { path } => {
                let text = self.node(path).map(|node| String::from_utf8_lossy(&node.data).into_owned());
                let listed = text.iter().flat_map(|text| text.lines()).filter_map(|line| line.parse::<Who>().ok());
                groups && listed.into_iter().any(|who| self.is(&who, false))
            }
        }
    }

    /// Whether the node is to be spoken of as if it were not there.
    pub fn hides(self, path: &str, rights: Rights) -> Result<bool, Refusal> {
        let acl = self.node(path).and_then(|node| node.acl.as_ref());
        match (self.may(acl, rights), self.may(acl, Rights::ALL)) {
            (true, _) => Ok(false),
            (false, true) => Err(Refusal::NotAuthorized { path: path.to_owned(), needed: rights }),
            (false, false) => Ok(true),
        }
    }

    pub fn sees(self, path: &str) -> bool {
        self.may_at(path, Rights::READ)
    }

    /// Whether the list that the node has gives any of the rights.
    fn may_at(self, path: &str, any_of: Rights) -> bool {
        self.may(self.node(path).and_then(|node| node.acl.as_ref()), any_of)
    }

    /// The rights of which a reading needs one, and of which node.
    pub fn hides_from(self, read: &Read) -> Result<bool, Refusal> {
        match read {
            Read::Get { path } | Read::Exists { path } | Read::Quota { path } | Read::Records { path, .. } => {
                self.hides(path, Rights::READ)
            }
            Read::List { path, .. } | Read::Entries { path, .. } | Read::Scan { path, .. } => {
                self.hides(path, Rights::READ)
            }
            Read::Acl { path } => self.hides(path, Rights::ADMIN),
            Read::LockHolders { path } | Read::AwaitLock { path, .. } => self.hides(path, LOOK),
            Read::CheckSequencer { sequencer } => self.hides(&sequencer.path, LOOK),
            Read::WhoAmI | Read::HandleGet { .. } | Read::HandleEntries { .. } | Read::HandleStat { .. } => Ok(false),
        }
    }

    fn touch(self, path: &str, rights: Rights) -> Result<(), Refusal> {
        if self.hides(path, rights)? { Err(Refusal::NoNode { path: path.to_owned() }) } else { Ok(()) }
    }

    fn knows(self, path: &str) -> bool {
        self.node(path).is_some_and(|node| self.may(node.acl.as_ref(), Rights::ALL))
    }

    /// Whether a node may be made there, and would give the rights.
    fn make(self, path: &str, sequential: bool, rights: &[Rights], acl: Option<&Acl>) -> Result<(), Refusal> {
        self.create(path)?;
        if !sequential && self.node(path).is_some() {
            return Err(Refusal::NodeExists { path: path.to_owned() });
        }
        let above = parent(path).and_then(|parent| self.node(&parent));
        let inherited = above.and_then(|above| above.acl.as_ref()).filter(|acl| acl.inherit);
        let Ok(given) = acl.map(|acl| settled(acl, self.who)).transpose() else { return Ok(()) };
        match rights.iter().find(|right| !self.may(given.as_ref().or(inherited), **right)) {
            Some(needed) => Err(Refusal::NotAuthorized { path: path.to_owned(), needed: *needed }),
            None => Ok(()),
        }
    }

    fn create(self, path: &str) -> Result<(), Refusal> {
        let Some(parent) = parent(path) else { return Ok(()) };
        if self.hides(&parent, Rights::CREATE)? { Err(Refusal::NoParent { path: parent }) } else { Ok(()) }
    }

    fn delete(self, path: &str, expect: Expect) -> Result<(), Refusal> {
        let (Some(node), Some(parent)) = (self.node(path), parent(path)) else { return Ok(()) };
        if self.may(self.node(&parent).and_then(|node| node.acl.as_ref()), Rights::DELETE) {
            // A version is told only to who could have seen it.
            let differs = matches!(expect, Expect::Version(expected) if expected != node.stat().version);
            let may_know = [Rights::READ, Rights::WRITE, Rights::ADMIN].map(|right| self.may(node.acl.as_ref(), right));
            if !differs || may_know.contains(&true) {
                return Ok(());
            }
            Err(Refusal::NotAuthorized { path: path.to_owned(), needed: Rights::READ })
        } else if self.may(node.acl.as_ref(), Rights::ALL) {
            Err(Refusal::NotAuthorized { path: parent, needed: Rights::DELETE })
        } else {
            Err(Refusal::NoNode { path: path.to_owned() })
        }
    }

    /// Whether an operation may be tried, before any of it is.
    pub fn admit(self, session: SessionId, operation: &Operation) -> Result<(), Refusal> {
        match operation {
            Operation::Create { path, .. }
            | Operation::CreateWithAcl { path, .. }
            | Operation::CreateLog { path, .. } => self.create(path),
            Operation::Set { path, .. }
            | Operation::Append { path, .. }
            | Operation::Trim { path, .. }
            | Operation::Seal { path } => self.touch(path, Rights::WRITE),
            Operation::Delete { path, expect } | Operation::DeleteTree { path, expect, .. } => {
                self.delete(path, *expect)
            }
            Operation::SetQuota { path, .. } | Operation::SetAcl { path, .. } => self.touch(path, Rights::ADMIN),
            Operation::Acquire { path, create: true, .. } if !self.knows(path) => {
                self.make(path, false, &[Rights::LOCK], None)
            }
            Operation::Acquire { path, .. } => self.touch(path, Rights::LOCK),
            Operation::Release { path } => {
                let claims = self.node(path).is_some_and(|node| node.lock.is_claimed_by(session));
                if claims { Ok(()) } else { self.touch(path, LOOK) }
            }
            Operation::Open { path, mode, birth } => {
                let is_new = |birth: &&Birth| birth.sequential || birth.must || !self.knows(path);
                match birth.as_ref().filter(is_new) {
                    Some(birth) => self.make(path, birth.sequential, &rights_of(*mode), birth.acl.as_ref()),
                    None => rights_of(*mode).into_iter().try_for_each(|right| self.touch(path, right)),
                }
            }
            Operation::Close { .. }
            | Operation::Through { .. }
            | Operation::Guarded { .. }
            | Operation::Multi { .. }
            | Operation::Authenticate { .. }
            | Operation::Sync
            | Operation::CloseSession => Ok(()),
        }
    }

    pub fn admit_step(self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::Create { path, .. } | Step::CreateWithAcl { path, .. } => self.create(path),
            Step::Set { path, .. } | Step::Append { path, .. } => self.touch(path, Rights::WRITE),
            Step::SetAcl { path, .. } => self.touch(path, Rights::ADMIN),
            Step::Delete { path, expect } => self.delete(path, *expect),
            Step::Check { .. } | Step::Get { .. } | Step::CheckLock { .. } | Step::CheckHandle { .. } => Ok(()),
        }
    }

    /// Whether all of these nodes, at or below `top`, may go.
    pub fn clear(self, top: &str, going: &[String]) -> Result<(), Refusal> {
        for path in going {
            let Some(above) = parent(path) else { continue };
            let acl = self.node(&above).and_then(|node| node.acl.as_ref());
            if !self.may(acl, Rights::DELETE) {
                let known = self.may(acl, Rights::ALL);
                let path = if known { above } else { top.to_owned() };
                return Err(Refusal::NotAuthorized { path, needed: Rights::DELETE });
            }
        }
        Ok(())
    }
}

/// What a handle stands for, one after the other; one for nothing tells at least that its node is there.
fn rights_of(mode: HandleMode) -> Vec<Rights> {
    let all = [
        (HandleMode::READ, Rights::READ),
        (HandleMode::WRITE, Rights::WRITE),
        (HandleMode::LOCK, Rights::LOCK),
        (HandleMode::ADMIN, Rights::ADMIN),
    ];
    let parts: Vec<_> = all.into_iter().filter(|(part, _)| mode.contains(*part)).map(|(_, right)| right).collect();
    if parts.is_empty() { vec![Rights::READ] } else { parts }
}

impl Model {
    pub fn set_acl(
        &mut self,
        who: &Principals,
        path: &str,
        acl: Option<&Acl>,
        expect: Expect,
    ) -> Result<Stat, Refusal> {
        let found = self.tree.get(path).map(|node| node.acl_version);
        match (found, expect) {
            (None, _) => return Err(Refusal::NoNode { path: path.to_owned() }),
            (Some(_), Expect::Absent) => return Err(Refusal::BadArgument { why: String::new() }),
            (Some(found), Expect::Version(expected)) if expected != found => {
                return Err(Refusal::BadVersion { path: path.to_owned(), expected, found });
            }
            (Some(_), Expect::Any | Expect::Version(_)) => {}
        }
        let acl = acl.map(|acl| settled(acl, who)).transpose()?;
        let node = self.tree.get_mut(path).expect("it was just found");
        node.acl = acl;
        node.acl_version += 1;
        Ok(node.stat())
    }

    /// The list of a node to be made; its faults come behind those of its place.
    pub fn settled_for(&self, path: &str, sequential: bool, acl: &Acl, who: &Principals) -> Result<Acl, Refusal> {
        settled(acl, who).or_else(|fault| self.place_of(path, sequential).and(Err(fault)))
    }

    pub fn authenticate(&mut self, who: &mut Principals, user: &User, is_super: bool) -> Outcome {
        who.is_super |= is_super;
        if !who.users.contains(user) {
            who.users.push(user.clone());
        }
        Ok(Done::Authenticated)
    }

    /// Whether a watcher must have been told of what happened to `path` when its list was `acl`, and whether it may have
    /// been, which any of these rights allows. `whos`: whom its session stood for, one time or another.
    pub fn shows(&self, path: &str, (acl, at): Lists<'_>, whos: &[Principals], any_of: Rights) -> (bool, bool) {
        let past = self.past.get(path).map_or(&[][..], Vec::as_slice);
        let later = past.iter().filter(|(since, node)| *since >= at && node.as_ref().is_some_and(|n| n.acl.is_some()));
        if acl.is_none() && later.clone().next().is_none() {
            return (true, true);
        }
        // Whenever it is told, the state is one that came by then, of the node and of the group.
        let groups = self.past.get(GROUP).into_iter().flatten().map(|(since, _)| *since);
        let times = past.iter().map(|(since, _)| *since).chain(groups).filter(|since| *since > at).chain([at]);
        let (mut must, mut may) = (true, false);
        for revision in times {
            for who in whos {
                let eyes = Eyes { model: self, revision: Some(revision), who };
                let seen = eyes.may(acl, any_of) && eyes.may_at(path, any_of);
                (must, may) = (must && seen, may || seen);
            }
        }
        (must, may)
    }
}

/// The answer to a read of a node that is to be spoken of as if it were not there.
pub fn as_if_absent(read: &Read) -> Result<Answer, Refusal> {
    match read {
        Read::Exists { .. } => Ok(Answer::Exists { stat: None }),
        Read::CheckSequencer { .. } => Ok(Answer::Sequencer { valid: false }),
        Read::Get { path }
        | Read::Quota { path }
        | Read::Acl { path }
        | Read::Records { path, .. }
        | Read::List { path, .. }
        | Read::Entries { path, .. }
        | Read::Scan { path, .. }
        | Read::LockHolders { path }
        | Read::AwaitLock { path, .. } => Err(Refusal::NoNode { path: path.clone() }),
        Read::WhoAmI => unreachable!("it is about no node"),
        Read::HandleGet { .. } | Read::HandleEntries { .. } | Read::HandleStat { .. } => {
            unreachable!("the opening was judged")
        }
    }
}

/// The list as it is kept.
fn settled(acl: &Acl, who: &Principals) -> Result<Acl, Refusal> {
    let (own, mut entries): (Vec<_>, Vec<_>) = acl.entries.iter().cloned().partition(|entry| entry.who == Who::Auth);
    let bad = || Refusal::BadArgument { why: String::new() };
    if !own.is_empty() {
        let rights = own.iter().fold(Rights::NONE, |all, entry| all.or(entry.rights));
        if who.users.is_empty() {
            return Err(bad());
        }
        entries.extend(who.users.iter().map(|user| AclEntry { who: Who::User(user.clone()), rights }));
    }
    assert!(entries.len() <= ACL_ENTRIES_MAX, "the workload's lists are short");
    if entries.is_empty() { Err(bad()) } else { Ok(Acl { entries, inherit: acl.inherit }) }
}

/// What lets one know how a lock stands.
pub const LOOK: Rights = Rights::READ.or(Rights::LOCK);
