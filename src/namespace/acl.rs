//! Access lists: who may do what with a node, and who somebody is.
//!
//! A node may have an access list: entries, each of which gives some [`Rights`] to somebody ([`Who`]). What no entry gives is
//! refused; a node without a list is open to all, as in ZooKeeper. A list is part of its node as a lock is: copied, hashed,
//! put into images and removed with it. Where no node has one, nothing is judged.
//!
//! Whom a session stands for ([`Principals`]) is replicated with it, and so the same at every replica and in every batch:
//!
//! | scheme | who | how the log comes to know |
//! |---|---|---|
//! | `world:anyone` | everybody | |
//! | `digest:USER:DIGEST` | who proved to know the password | the front that is told it sends on its salted hash |
//! | `ip:ADDRESS/BITS` | who connects from there | the front stamps the address into the opening of a session |
//! | `group:/acl/NAME` | who is listed in that node | each tree reads the lines when the node is written |
//! | `auth:` | whoever sets the list | replaced by their `digest` entries |
//! | the super principal | may do everything | the front compares with the configuration, and says so in the log |
//!
//! ```text
//! client ── user, password ──▶ front ── Authenticate { digest, is it the super one? } ──▶ log ──▶ session's principals
//!        ── operation ───────────────────────────────────────────────────────────────▶ log ──▶ gate: list x principals
//!        ── read ────────────▶ front: gate: list x principals, as the session's last outcome told them
//! ```
//!
//! # Rights
//!
//! `read` a node's data, stat and lock; `write` its data, or a log's records; `create` and `delete` children of it; `admin` its list and its
//! quota; `lock` it. (ZooKeeper's five, and Chubby's lock.) A list holds for its own node only, whatever lies above: no right
//! depends on a path. A list marked to be *inherited* is given to every child made without one of its own, at its making
//! and never after (Chubby).
//!
//! A group is a node right below `/acl` whose data list principals, one a line, in the words above; empty lines and those
//! that begin with `#` say nothing, nor does a line that is no principal, nor one that names a group, nor any after
//! [`ACL_GROUP_LINES_MAX`](crate::limits::ACL_GROUP_LINES_MAX) lines. Who may write the node says who is in the group.
//!
//! # What is told to whom
//!
//! 1. **Whoever has no right at all to a node is answered as if it were not there**: no error, reading, check or sequencer
//!    tells it from a node that does not exist. Whoever has some right, but not the one needed, is told which.
//! 2. **Only who may read a node comes upon it** in listings, in scans, and through watches. A watch judges each event when it
//!    tells it, by the list the node had then and by the one it has now; a change of a list is no event.
//! 3. **A right to a parent is a right to know its children's names when one uses it**: who may create learns that a name is
//!    taken; who may delete learns that something is there, or below. A deletion of another version than the node's is
//!    refused, as in ZooKeeper; which version it has is said only to who may read, write or administer the node.
//! 4. **Numbers are told**: a stat counts all children, a quota all that is below, whoever may read them.
//! 5. What the cell does by itself (a session's end, a time to live, a lock-delay) asks nobody, and giving up a lock
//!    is refused to nobody who holds it.
//!
//! # What no list guards
//!
//! An image holds everything at once, the sessions' secrets included, and whoever changes the members could put a disk of
//! their own among them. So where the configuration names a super principal (`acl.super`), or any node has a list, a
//! replica lends its images to the super principal alone, and takes changes of the members from no one else
//! ([`Trust`](crate::replica::exchange::Trust)). With neither, anybody may, as anybody may do everything else; with lists and
//! no super principal nobody may, until one is configured: a cell with lists ought to have one. Once the last list is gone
//! anybody may again, and is lent what was taken since then. How replicas are, who the
//! members are and which sessions live (by id, which opens nothing) anybody may ask.
//!
//! One function, `Gate::may`, knows what a list means; everything that reads or changes asks it through the same gate
//! (`gate`).
//!
//! What this does not do: the password crosses the wire as it is, and anyone who may administer a node sees its digests and
//! can guess passwords against them; so keep to trusted networks and long passwords. A session of a resumed connection
//! has the address of the last one. Principals are never taken from a session again; close it. Nor do lists guard the ports
//! for the replicas, or the disks.
#![deny(missing_docs)]

use core::net::IpAddr;

#[cfg(feature = "server")]
use bytes::BytesMut;
use sha2::{Digest, Sha256};
#[cfg(feature = "server")]
use xxhash_rust::xxh3::xxh3_128;

#[cfg(feature = "server")]
mod check;
#[cfg(feature = "server")]
mod groups;
mod text;

#[cfg(feature = "server")]
pub(super) use self::groups::Groups;

/// Things that may be done with a node: a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rights(u8);

/// Who may do what with a node.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Acl {
    /// Whoever is named in several may do what any of them gives.
    pub entries: Vec<AclEntry>,
    /// Children made without a list get this one.
    pub inherit: bool,
}

/// What is given to somebody.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AclEntry {
    /// To whom.
    pub who: Who,
    /// What.
    pub rights: Rights,
}

/// Somebody, as an access list names them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Who {
    /// Everybody: `world:anyone`.
    World,
    /// Every user that whoever sets the list is: `auth:`. No stored list holds it.
    Auth,
    /// Whoever proved to be that user: `digest:NAME:DIGEST`.
    User(User),
    /// Whoever connects from an address with these first bits: `ip:ADDRESS/BITS`.
    Network {
        /// The address, of which the first bits count.
        address: IpAddr,
        /// How many of them.
        bits: u8,
    },
    /// Whoever is listed in that node: `group:/acl/NAME`.
    Group {
        /// The node, as the cell calls it.
        path: String,
    },
}

/// A user with a password, which a name and the password's digest stand for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct User {
    /// Without a colon.
    pub name: String,
    /// SHA-256 of `NAME:PASSWORD`.
    pub digest: [u8; 32],
}

/// Whom a session stands for.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Principals {
    /// From where its client connected last.
    pub address: Option<IpAddr>,
    /// In the order they were proved.
    pub users: Vec<User>,
    /// May do everything.
    pub is_super: bool,
}

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);
    /// To know its data, its stat, its quota and its lock.
    pub const READ: Self = Self(1);
    /// To replace its data; to append to a log, to trim and to seal it.
    pub const WRITE: Self = Self(2);
    /// To make children of it.
    pub const CREATE: Self = Self(4);
    /// To remove its children.
    pub const DELETE: Self = Self(8);
    /// To know and to set its access list, and to set its quota.
    pub const ADMIN: Self = Self(16);
    /// To take its lock.
    pub const LOCK: Self = Self(32);
    /// All of them.
    pub const ALL: Self = Self(63);

    /// The set of those bits; none if a bit means nothing.
    #[must_use]
    pub const fn of_bits(bits: u8) -> Option<Self> {
        if bits <= Self::ALL.0 { Some(Self(bits)) } else { None }
    }

    /// A bit for each right.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Those in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `others` is in it.
    #[must_use]
    pub const fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

impl Acl {
    /// A list of these entries, for its own node only.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = AclEntry>) -> Self {
        Self { entries: entries.into_iter().collect(), inherit: false }
    }

    /// The list that children get as well.
    #[must_use]
    pub fn inherited(self) -> Self {
        Self { inherit: true, ..self }
    }

    #[cfg(feature = "server")]
    pub(super) fn hash(&self) -> u128 {
        let mut raw = BytesMut::new();
        self.put(&mut raw);
        xxh3_128(&raw)
    }
}

impl User {
    /// The user of that name and password.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Self {
        let digest = Sha256::new().chain_update(name).chain_update(":").chain_update(password).finalize();
        Self { name: name.to_owned(), digest: digest.into() }
    }
}

impl Principals {
    /// Somebody who connects from there and has proved nothing.
    #[must_use]
    pub const fn at(address: Option<IpAddr>) -> Self {
        Self { address, users: Vec::new(), is_super: false }
    }
}

/// Where groups are.
pub const GROUPS: &str = "/acl";

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::check::shares_bits;
    use super::*;
    use crate::limits::ACL_ENTRIES_MAX;
    use crate::namespace::command::Refusal;

    #[test]
    fn addresses_share_their_first_bits() {
        let shares = |one: &str, other: &str, bits| shares_bits(one.parse().unwrap(), other.parse().unwrap(), bits);
        assert!(shares("10.1.2.3", "10.0.0.0", 8));
        assert!(!shares("11.1.2.3", "10.0.0.0", 8));
        assert!(shares("10.1.2.3", "10.1.2.3", 32));
        assert!(!shares("10.1.2.3", "10.1.2.2", 32));
        assert!(shares("1.2.3.4", "200.0.0.0", 0));
        assert!(shares("::1", "ff::", 0));
        assert!(shares("fd00::1:2", "fd00::", 64));
        assert!(!shares("fd00:0:0:1::1", "fd00::", 64));
        assert!(!shares("::1", "0.0.0.1", 0), "the two kinds of address are two worlds");
        assert!(shares("::ffff:10.0.0.1", "10.0.0.0", 8), "but an old address in new clothes is an old one");
    }

    #[test]
    fn a_digest_is_that_of_name_and_password() {
        let alice = User::new("alice", "secret");
        assert_eq!(alice, User::new("alice", "secret"));
        for other in [User::new("alice", "Secret"), User::new("bob", "secret"), User::new("alice:", "ecret")] {
            assert_ne!(alice.digest, other.digest);
        }
        let known = "digest:alice:3d11dc479c08e3b368773103d64766c2e420ce39727932fcf2d8f4d9d599be59";
        assert_eq!(alice.to_string(), known);
    }

    #[test]
    fn a_list_is_checked_and_names_its_setter() {
        let list = |text: &str| Acl::new([text.parse::<AclEntry>().expect("an entry")]);
        let nobody = Principals::default();
        let alice = Principals { users: vec![User::new("alice", "a"), User::new("ops", "o")], ..Principals::default() };
        let settled = list("auth::rw").settled(&alice).expect("alice is somebody");
        let users: Vec<_> = settled.entries.iter().map(|entry| (entry.who.clone(), entry.rights)).collect();
        let both = Rights::READ.or(Rights::WRITE);
        assert_eq!(users, alice.users.iter().map(|user| (Who::User(user.clone()), both)).collect::<Vec<_>>());
        assert!(matches!(list("auth::rw").settled(&nobody), Err(Refusal::BadArgument { .. })));
        assert!(matches!(Acl::default().settled(&nobody), Err(Refusal::BadArgument { .. })));
        let elsewhere = AclEntry { who: Who::Group { path: "/teams/ops".to_owned() }, rights: Rights::ALL };
        assert!(matches!(Acl::new([elsewhere]).settled(&nobody), Err(Refusal::BadArgument { .. })));
        let entry = list("world:anyone:r").entries[0].clone();
        assert!(Acl::new(vec![entry.clone(); ACL_ENTRIES_MAX]).settled(&nobody).is_ok());
        let refused = Acl::new(vec![entry.clone(); ACL_ENTRIES_MAX + 1]).settled(&nobody);
        assert!(matches!(refused, Err(Refusal::TooLarge { size: 65, limit: 64, .. })));
        let nothing = Acl::new([AclEntry { rights: Rights::NONE, ..entry }]);
        assert!(matches!(nothing.settled(&nobody), Err(Refusal::BadArgument { .. })));
    }
}
