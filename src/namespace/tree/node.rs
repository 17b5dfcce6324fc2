//! A node's state at one revision: one piece of memory, which is small for the many nodes that are nothing but data.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use triomphe::ThinArc;
use xxhash_rust::xxh3::xxh3_128;

use crate::namespace::acl::Acl;
use crate::namespace::codec::SequencerRef;
use crate::namespace::command::{LockMode, Quota, Revision, Sequencer, Stat};
use crate::namespace::lock::Lock;
use crate::namespace::log::Log;
use crate::namespace::opening::Opens;
use crate::namespace::reign::Reign;

/// A node as it was at one revision. It never changes; copies share it. It dereferences to its parts.
#[derive(Clone, PartialEq, Eq)]
pub struct Node(ThinArc<Facts, u8>);

/// What a node may have beside data and numbers. Most nodes have none of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    /// Its lock; `None` while nobody holds it.
    pub lock: Option<Arc<Lock>>,
    /// Its records, if it is a log. Then it has no data.
    pub log: Option<Arc<Log>>,
    /// The log time, in nanoseconds, from which on it may end by itself while it has no children.
    pub(in crate::namespace) due_ns: Option<u64>,
    /// What it and all below it may come to.
    pub(in crate::namespace) quota: Option<Arc<Quota>>,
    /// Who has it open; `None` if nobody has.
    pub(in crate::namespace) opens: Option<Arc<Opens>>,
    /// In whose reign the log was last written: the root's alone.
    pub(in crate::namespace) reign: Option<Arc<Reign>>,
    /// Who may do what with it; `None`: everybody everything.
    pub(crate) acl: Option<Arc<Acl>>,
}

/// Everything about a node but its data, which lie behind this. A node has one form only.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Facts {
    Plain(Plain),
    Full(Box<(Stat, Parts)>),
}

/// The numbers of a node without parts, of which the others follow: a leaf that lasts, never locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Plain {
    created: Revision,
    modified: Revision,
    version: u64,
    instance: u64,
    created_ms: u64,
    modified_ms: u64,
    data_bytes: u32,
    checksum: u32,
}

const _: () = assert!(size_of::<Facts>() <= 64, "a million plain nodes fit the memory that is promised for them");

impl Node {
    /// A node without parts; `stat`'s length and checksum become those of `data`.
    #[must_use]
    pub fn new(data: &[u8], stat: Stat) -> Self {
        Self::of(data, stat, Parts::NONE)
    }

    /// A node; the numbers that are those of its data, or of its records, become so.
    #[must_use]
    pub(crate) fn of(data: &[u8], stat: Stat, parts: Parts) -> Self {
        assert!(parts.log.is_none() || data.is_empty(), "a log has no data");
        let stat = match &parts.log {
            None => summed(data, stat),
            Some(log) => counted(log, stat),
        };
        Self(ThinArc::from_header_and_slice(Facts::of(stat, parts), data))
    }

    /// The node with other numbers and parts.
    #[must_use]
    pub(in crate::namespace) fn with(&self, change: impl FnOnce(&mut Stat, &mut Parts)) -> Self {
        let (before, mut parts) = (self.stat(), Parts::clone(self));
        let mut stat = before;
        change(&mut stat, &mut parts);
        if let Some(log) = &parts.log {
            stat = counted(log, stat);
        } else {
            let kept = (before.data_bytes, before.checksum);
            assert!((stat.data_bytes, stat.checksum) == kept, "the numbers of the data change only with the data");
        }
        Self(ThinArc::from_header_and_slice(Facts::of(stat, parts), self.data()))
    }

    /// Becomes the node of that data, those numbers and that time to end. Where nobody else has this one, memory of the same
    /// size is used again.
    pub(super) fn rewrite(&mut self, data: &[u8], stat: Stat, due_ns: Option<u64>) {
        let parts = Parts { due_ns, ..Parts::clone(self) };
        // The checksum is taken of the bytes that came: a copy just made is still on its way to memory.
        let facts = Facts::of(summed(data, stat), parts);
        let rewritten = self.0.with_arc_mut(|shared| {
            let Some(own) = triomphe::Arc::get_mut(shared).filter(|own| own.slice().len() == data.len()) else {
                return Err(facts);
            };
            own.slice_mut().copy_from_slice(data);
            *own.header_mut() = facts;
            Ok(())
        });
        if let Err(facts) = rewritten {
            self.0 = ThinArc::from_header_and_slice(facts, data);
        }
    }

    /// What clients stored.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.0.slice
    }

    /// The same without a copy: it keeps the node.
    #[must_use]
    pub fn shared_data(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// Its numbers.
    #[must_use]
    pub fn stat(&self) -> Stat {
        match self.facts() {
            Facts::Plain(plain) => plain.stat(),
            Facts::Full(full) => full.0,
        }
    }

    /// Bytes of its data, or of its records.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self.facts() {
            Facts::Plain(plain) => plain.data_bytes as usize,
            Facts::Full(full) => full.0.data_bytes as usize,
        }
    }

    /// Who may do what with it; `None`: everybody everything.
    #[must_use]
    pub fn acl(&self) -> Option<&Acl> {
        self.acl.as_deref()
    }

    /// The list that a child made without one gets.
    pub(in crate::namespace) fn inherited_acl(&self) -> Option<&Arc<Acl>> {
        self.acl.as_ref().filter(|acl| acl.inherit)
    }

    /// When it ends by itself, as it is now.
    pub(in crate::namespace) fn ends_ns(&self) -> Option<u64> {
        self.due_ns.filter(|_| self.stat().children == 0)
    }

    /// What holders of the node's lock show, if they hold it in that mode.
    #[must_use]
    pub fn sequencer(&self, path: &str, mode: LockMode) -> Sequencer {
        let Stat { instance, lock_generation: generation, .. } = self.stat();
        Sequencer { path: path.to_owned(), instance, mode, generation }
    }

    /// Whether the lock is held as the sequencer, which names this node's path, says.
    #[must_use]
    pub fn upholds(&self, sequencer: SequencerRef<'_>) -> bool {
        let held_as = self.lock.as_ref().and_then(|lock| lock.held_as());
        let Stat { instance, lock_generation: generation, .. } = self.stat();
        (instance, held_as, generation) == (sequencer.instance, Some(sequencer.mode), sequencer.generation)
    }

    pub(super) fn invariants(&self, path: &str) {
        let anew = Self::of(self.data(), self.stat(), Parts::clone(self));
        assert_eq!(anew, *self, "{path}: its numbers are those of its data, and its form is the one it has");
        self.log.iter().for_each(|log| log.invariants());
        self.lock.iter().for_each(|lock| lock.invariants());
    }

    /// Reads something of every line of memory that the node takes before its data.
    pub(super) fn glance(&self) -> u64 {
        match self.facts() {
            Facts::Plain(Plain { created, modified, checksum, .. }) => created ^ modified ^ u64::from(*checksum),
            Facts::Full(full) => {
                let (Stat { created, modified, instance, acl_version, .. }, parts) = (full.0, &full.1);
                created ^ modified ^ instance ^ acl_version ^ u64::from(parts.acl.is_some() ^ parts.lock.is_some())
            }
        }
    }

    /// Of everything about it; the data are in it by their length and checksum, so that a change hashes no data.
    pub(super) fn hash(&self, path: &str) -> u128 {
        let Parts { lock, log, due_ns, quota, opens, reign, acl } = &**self;
        let mut raw = [0; Stat::ENCODED_BYTES + 104];
        raw[..Stat::ENCODED_BYTES].copy_from_slice(&self.stat().to_bytes());
        raw[Stat::ENCODED_BYTES..][..16].copy_from_slice(&xxh3_128(path.as_bytes()).to_le_bytes());
        let lock_hash = lock.as_ref().map_or(0, |lock| lock.hash());
        raw[Stat::ENCODED_BYTES + 16..][..16].copy_from_slice(&lock_hash.to_le_bytes());
        raw[Stat::ENCODED_BYTES + 32..][..8].copy_from_slice(&due_ns.unwrap_or(0).to_le_bytes());
        let quota_hash = quota.as_ref().map_or(0, |quota| quota.hash());
        raw[Stat::ENCODED_BYTES + 40..][..16].copy_from_slice(&quota_hash.to_le_bytes());
        let opens_hash = opens.as_ref().map_or(0, |opens| opens.hash());
        let held_hash = reign.as_ref().map_or(opens_hash, |reign| reign.hash().wrapping_add(opens_hash));
        raw[Stat::ENCODED_BYTES + 56..][..16].copy_from_slice(&held_hash.to_le_bytes());
        let log_hash = log.as_ref().map_or(0, |log| log.hash());
        raw[Stat::ENCODED_BYTES + 72..][..16].copy_from_slice(&log_hash.to_le_bytes());
        let acl_hash = acl.as_ref().map_or(0, |acl| acl.hash());
        raw[Stat::ENCODED_BYTES + 88..].copy_from_slice(&acl_hash.to_le_bytes());
        xxh3_128(&raw)
    }

    fn facts(&self) -> &Facts {
        &self.0.header.header
    }
}

impl Deref for Node {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        match self.facts() {
            Facts::Plain(_) => &NOTHING,
            Facts::Full(full) => &full.1,
        }
    }
}

impl AsRef<[u8]> for Node {
    fn as_ref(&self) -> &[u8] {
        self.data()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({} bytes, {:?}, {:?})", self.data().len(), self.stat(), **self)
    }
}

static NOTHING: Parts = Parts::NONE;

impl Parts {
    pub(crate) const NONE: Self =
        Self { lock: None, log: None, due_ns: None, quota: None, opens: None, reign: None, acl: None };
}

impl Facts {
    fn of(stat: Stat, parts: Parts) -> Self {
        let plain = Plain::of(&stat);
        if parts == Parts::NONE && plain.stat() == stat {
            Self::Plain(plain)
        } else {
            Self::Full(Box::new((stat, parts)))
        }
    }
}

impl Plain {
    const fn of(stat: &Stat) -> Self {
        let Stat { created, modified, version, instance, created_ms, modified_ms, data_bytes, checksum, .. } = *stat;
        Self { created, modified, version, instance, created_ms, modified_ms, data_bytes, checksum }
    }

    fn stat(&self) -> Stat {
        let Self { created, modified, version, instance, created_ms, modified_ms, data_bytes, checksum } = *self;
        let told = Stat { created, modified, version, instance, created_ms, modified_ms, ..Stat::default() };
        Stat { children_modified: created, data_bytes, checksum, ..told }
    }
}

/// The stat with the length and the checksum of `data`.
fn summed(data: &[u8], stat: Stat) -> Stat {
    let data_bytes = u32::try_from(data.len()).expect("a node's data is bounded far below 4 GiB");
    Stat { data_bytes, checksum: crc32fast::hash(data), log: None, ..stat }
}

/// The stat with the numbers of `log`.
fn counted(log: &Log, stat: Stat) -> Stat {
    let data_bytes = u32::try_from(log.bytes()).expect("a log's bytes are bounded far below 4 GiB");
    let (version, checksum) = (log.end(), log.checksum());
    Stat { data_bytes, version, checksum, log: Some(log.stat()), ..stat }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat() -> Stat {
        Stat {
            created: 3,
            modified: 9,
            children_modified: 3,
            version: 2,
            instance: 7,
            created_ms: 1,
            ..Stat::default()
        }
    }

    #[test]
    fn a_node_has_one_form_however_it_came_to_be() {
        let plain = Node::new(b"data", stat());
        let full = plain.with(|stat, parts| (stat.children, parts.due_ns) = (1, Some(5)));
        assert_eq!((full.stat().children, full.due_ns, full.data()), (1, Some(5), &b"data"[..]));
        assert_ne!(full.hash("/n"), plain.hash("/n"));
        let again = full.with(|stat, parts| (stat.children, parts.due_ns) = (0, None));
        assert_eq!(again, plain);
        assert!(matches!(again.facts(), Facts::Plain(_)));
        for stat in [Stat { owner: Some(Default::default()), ..stat() }, Stat { children_modified: 4, ..stat() }] {
            let node = Node::new(b"data", stat);
            assert!(matches!(node.facts(), Facts::Full(_)));
            assert_eq!(node.stat(), Stat { data_bytes: 4, checksum: plain.stat().checksum, ..stat });
        }
    }

    #[test]
    fn a_node_that_somebody_holds_is_not_written_over() {
        let mut node = Node::new(b"before", stat());
        let (held, lent) = (node.clone(), node.shared_data());
        node.rewrite(b"behind", stat(), None);
        node.rewrite(b"shorter or longer", stat(), Some(4));
        assert_eq!((held.data(), &lent[..]), (&b"before"[..], &b"before"[..]));
        assert_eq!((node.data(), node.due_ns), (&b"shorter or longer"[..], Some(4)));
        assert_eq!(node, Node::of(b"shorter or longer", stat(), Parts { due_ns: Some(4), ..Parts::NONE }));
    }
}
