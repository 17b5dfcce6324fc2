//! Images: the namespace of one revision, as bytes, taken in slices while the namespace goes on.
//!
//! ```text
//! image    chunk ...                       each handed out whole; a record never spans two
//! chunk    record ...
//! record   1 header   version u32 | revision u64 | log_time_ns u64 | instances u64 | nodes u64 | sessions u64 | digest u128
//!          2 node     path text | stat | data bytes | 0, or 1 | lock | 0, or 1 | due_ns u64 | 0, or 1 | quota
//!                     | 0, or 1 | opens | 0, or 1 | reign | 0, or 1 | list | 0, or 1 | chain
//!                                                                            the list as `codec` writes it
//!          3 session  id u64 | token u64 | secret u128 | timeout_ms u32 | counter u64 | last_number u64 | principals
//!                     | marked u8 | holder u64 | former u64 | before u64 | earlier | results u32 x ( revision u64 | outcome bytes )     the last of them answers last_number
//!          4 end
//!          5 records  run bytes                     of the log whose node, or whose records, are the record before
//! lock     holders u32 x claim | queue u32 x claim | marks u32 x ( mode u8 | until_ns u64 )
//! quota    4 x ( 0, or 1 | bound u64 )              hard: nodes, bytes; soft: nodes, bytes
//! opens    handles u32 x ( opened u64 | session u64 )     in the order of `opened`
//! reign    number u64 | key u128                          the root's alone
//! chain    before u128 | after u128              of a log, before its first record and after its last
//! claim    session u64 | mode u8 | lock_delay_ms u32
//! marked   0: for no process, 1: for any that had the session, 2: for the one that has it; and 128 if `earlier` is there
//! earlier  count u32 x holder u64                who had it before `former`, in order; one at least
//! ```
//!
//! The header comes first, the end last, a log's records behind its node, and the rest in no order that means anything. Who owns which ephemeral node,
//! who claims which lock, who has what open, what is due when, and who is whose child, is in the nodes themselves. The digest is that of the namespace at the
//! image's revision: a namespace rebuilt from the image must have it.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::acl::{Acl, Principals};
use super::apply::{Clock, Namespace};
use super::codec::{DecodeError, Reader, put_bytes, put_maybe, put_text};
use super::command::{LogStat, Quota, Revision, SessionId, Stat};
use super::lock::Lock;
use super::log::Log;
use super::opening::Opens;
use super::records::RecordsRef;
use super::reign::Reign;
use super::session::{Marked, Session, SessionView, Sessions};
use super::slab::Visit;
use super::transaction::Nodes;
use super::tree::{Laying, Node, Parts};
use crate::limits::{LOG_BYTES_MAX, SESSION_PROCESSES_REMEMBERED, SESSION_RESULTS_MAX};

/// Why an image is none.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ImageError {
    /// The bytes are not those of records.
    #[error("the image is damaged: {0}; fetch it from another replica")]
    Malformed(#[from] DecodeError),
    /// A newer format.
    #[error(
        "the image has format {found}, this version reads {VERSION}; install the version that wrote it, or a newer"
    )]
    Version { found: u32 },
    /// Records are missing, doubled or out of place.
    #[error("the image is not whole: {what}; fetch it from another replica")]
    NotWhole { what: String },
    /// The content is another than was written.
    #[error(
        "the image's content has digest {found:032x}, it was written with {needed:032x}; fetch it from another replica"
    )]
    Digest { found: u128, needed: u128 },
}

/// Rebuilds a namespace from an image's chunks, taken in order.
#[derive(Debug)]
pub struct ImageLoader {
    seed: u64,
    header: Option<Header>,
    tree: Laying,
    /// The last node, while records of it are missing.
    filling: Option<Filling>,
    sessions: Sessions,
    ended: bool,
}

/// A log whose records come.
#[derive(Debug)]
struct Filling {
    path: Arc<str>,
    stat: Stat,
    parts: Parts,
    log: Log,
    chain: u128,
}

/// How far the taking of an image has come.
#[derive(Debug)]
pub(super) struct Imaging {
    header: Option<Header>,
    stage: Stage,
    /// The log whose node is taken, and the position of its first record that is not.
    log: Option<(Node, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Sessions,
    Nodes,
    End,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    clock: Clock,
    instances: u64,
    nodes: u64,
    sessions: u64,
    digest: u128,
}

impl Namespace {
    /// Starts an image of the namespace as it is now, and says at which revision. What is applied from here on is not in it.
    ///
    /// # Panics
    /// If an image is being taken already.
    pub fn begin_image(&mut self) -> Revision {
        assert!(self.imaging.is_none(), "one image at a time");
        let header = Header {
            clock: self.clock,
            instances: self.nodes.instances,
            nodes: self.nodes.tree.len() as u64,
            sessions: self.sessions.len() as u64,
            digest: self.digest(),
        };
        self.nodes.tree.begin_walk();
        self.sessions.begin_walk();
        self.imaging = Some(Imaging { header: Some(header), stage: Stage::Sessions, log: None });
        self.clock.revision
    }

    /// The image's next chunk; `None` once it is whole, or if none is being taken. A chunk ends soon after `budget` bytes,
    /// or after a look at as many vacant places as would have filled it, so it may be short, or empty.
    pub fn image_rows(&mut self, budget: usize) -> Option<Bytes> {
        let mut imaging = self.imaging.take()?;
        let mut out = BytesMut::with_capacity(budget);
        if let Some(header) = imaging.header.take() {
            header.encode(&mut out);
        }
        let mut looked = 0;
        while out.len() + looked < budget.max(1) {
            looked += LOOK_COST_BYTES;
            if imaging.put_records(&mut out, budget) {
                continue;
            }
            match imaging.stage {
                Stage::Sessions => match self.sessions.visit() {
                    Visit::Row(session) => put_session(&mut out, &session),
                    Visit::Vacant => {}
                    Visit::Done => imaging.stage = Stage::Nodes,
                },
                Stage::Nodes => match self.nodes.tree.visit() {
                    Visit::Row((path, node)) => {
                        put_node(&mut out, &path, &node);
                        imaging.log = node.log.as_ref().map(|log| log.first()).map(|first| (node, first));
                    }
                    Visit::Vacant => {}
                    Visit::Done => imaging.stage = Stage::End,
                },
                Stage::End => {
                    out.put_u8(END);
                    return Some(out.freeze());
                }
            }
        }
        self.imaging = Some(imaging);
        Some(out.freeze())
    }

    /// Gives the image up, if one is being taken.
    pub fn end_image(&mut self) {
        self.imaging = None;
        self.nodes.tree.end_walk();
        self.sessions.end_walk();
    }

    /// Whether an image is being taken.
    #[must_use]
    pub const fn is_imaging(&self) -> bool {
        self.imaging.is_some()
    }

    /// Rebuilds a namespace. `seed` is as in [`Namespace::new`].
    pub fn from_image<'a>(seed: u64, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, ImageError> {
        let mut loader = ImageLoader::new(seed);
        for chunk in chunks {
            loader.add(chunk)?;
        }
        loader.finish()
    }
}

impl ImageLoader {
    /// Nothing loaded yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, header: None, tree: Laying::new(seed, 0), filling: None, sessions: Sessions::new(), ended: false }
    }

    /// Takes the next chunk.
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), ImageError> {
        let mut reader = Reader::new(chunk);
        while reader.finish("a chunk").is_err() {
            let tag = reader.u8("a record")?;
            if self.ended {
                return Err(not_whole("records follow its end"));
            }
            if (tag == HEADER) != self.header.is_none() {
                return Err(not_whole("its header is not its first record"));
            }
            if (tag == RECORDS) != self.filling.is_some() {
                return Err(not_whole("a log's records are not behind its node"));
            }
            match tag {
                HEADER => {
                    let header = Header::take(&mut reader)?;
                    self.tree = Laying::new(self.seed, header.nodes);
                    self.header = Some(header);
                }
                NODE => match take_node(&mut reader)? {
                    Taken::Node(path, node) => self.lay(path, node)?,
                    Taken::Log(filling) => self.fill(*filling)?,
                },
                RECORDS => {
                    let filling = self.filling.take().expect("records are taken while a log is filled");
                    let records = RecordsRef::take(&mut reader)?;
                    let missing = filling.stat.version - filling.log.end();
                    let fits = filling.log.bytes() + records.run().len() <= LOG_BYTES_MAX;
                    if records.is_empty() || records.len() as u64 > missing || !fits {
                        return Err(not_whole(&format!("{} holds records as no log can", filling.path)));
                    }
                    let log = filling.log.append(records);
                    self.fill(Filling { log, ..filling })?;
                }
                SESSION => {
                    let session = take_session(&mut reader)?;
                    if self.sessions.insert(session).is_none() {
                        return Err(not_whole("a session is in it twice"));
                    }
                }
                END => self.ended = true,
                tag => return Err(DecodeError::UnknownTag { what: "record", tag }.into()),
            }
        }
        Ok(())
    }

    /// Takes a log up among the nodes once it is whole.
    fn fill(&mut self, filling: Filling) -> Result<(), ImageError> {
        if filling.log.end() < filling.stat.version {
            self.filling = Some(filling);
            return Ok(());
        }
        let Filling { path, stat, parts, log, chain } = filling;
        let log = if stat.log.is_some_and(|stat| stat.sealed) { log.seal() } else { log };
        let fits = log.chain().1 == chain;
        let node = Node::of(&[], stat, Parts { log: Some(Arc::new(log)), ..parts });
        if node.stat() != stat || !fits {
            return Err(not_whole(&format!("the records of {path} do not fit its numbers")));
        }
        self.lay(path, node)
    }

    fn lay(&mut self, path: Arc<str>, node: Node) -> Result<(), ImageError> {
        self.tree.lay(path, node).map_err(|path| not_whole(&format!("{path} is in it twice, or is no path")))
    }

    /// The namespace, once all chunks are in.
    pub fn finish(self) -> Result<Namespace, ImageError> {
        let Some(header) = self.header.filter(|_| self.ended) else {
            return Err(not_whole("its end is missing"));
        };
        if (header.nodes, header.sessions) != (self.tree.len() as u64, self.sessions.len() as u64) {
            return Err(not_whole("rows are missing"));
        }
        let misplaced = |path| not_whole(&format!("{path} has no place, or not the children it counts"));
        let tree = self.tree.finish().map_err(misplaced)?;
        let nodes = Nodes { instances: header.instances, ..Nodes::new(tree) };
        if let Some(owner) = nodes.ephemerals.keys().find(|owner| self.sessions.find(**owner).is_none()) {
            return Err(not_whole(&format!("session {owner}, which owns nodes, is missing")));
        }
        if let Some((session, path)) = nodes.claims.iter().find(|(session, _)| self.sessions.find(*session).is_none()) {
            return Err(not_whole(&format!("session {session}, which claims the lock of {path}, is missing")));
        }
        if let Some(session) = nodes.openers.sessions().find(|session| self.sessions.find(*session).is_none()) {
            return Err(not_whole(&format!("session {session}, which has nodes open, is missing")));
        }
        let namespace = Namespace::of_parts(nodes, self.sessions, header.clock);
        let (found, needed) = (namespace.digest(), header.digest);
        if found == needed { Ok(namespace) } else { Err(ImageError::Digest { found, needed }) }
    }
}

impl Imaging {
    /// Takes records of the log whose node was taken last, about as many as fill the chunk; whether it has any left.
    fn put_records(&mut self, out: &mut BytesMut, budget: usize) -> bool {
        let Some((node, from)) = self.log.take() else { return false };
        let log = node.log.as_ref().expect("it is kept as a log's node");
        if from == log.end() {
            return false;
        }
        let records = log.read(from, budget.saturating_sub(out.len()));
        out.put_u8(RECORDS);
        records.as_ref().put(out);
        let next = from + records.len() as u64;
        self.log = Some((node, next));
        true
    }
}

impl Header {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(HEADER);
        out.put_u32_le(VERSION);
        out.put_u64_le(self.clock.revision);
        out.put_u64_le(self.clock.log_time_ns);
        out.put_u64_le(self.instances);
        out.put_u64_le(self.nodes);
        out.put_u64_le(self.sessions);
        out.put_u128_le(self.digest);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, ImageError> {
        let found = reader.u32("the image's format")?;
        if found != VERSION {
            return Err(ImageError::Version { found });
        }
        let clock = Clock { revision: reader.u64("a revision")?, log_time_ns: reader.u64("a log time")? };
        let [instances, nodes, sessions] = [reader.u64("a count")?, reader.u64("a count")?, reader.u64("a count")?];
        Ok(Self { clock, instances, nodes, sessions, digest: reader.u128("a digest")? })
    }
}

fn put_node(out: &mut BytesMut, path: &str, node: &Node) {
    out.put_u8(NODE);
    put_text(out, path);
    node.stat().encode(out);
    put_bytes(out, node.data());
    put_maybe(out, node.lock.as_deref(), |out, lock| lock.encode(out));
    put_maybe(out, node.due_ns, |out, due_ns| out.put_u64_le(due_ns));
    put_maybe(out, node.quota.as_deref(), |out, quota| quota.put(out));
    put_maybe(out, node.opens.as_deref(), |out, opens| opens.encode(out));
    put_maybe(out, node.reign.as_deref(), |out, reign| reign.encode(out));
    put_maybe(out, node.acl(), |out, acl| acl.put(out));
    put_maybe(out, node.log.as_deref(), |out, log| {
        let (before, after) = log.chain();
        out.put_u128_le(before);
        out.put_u128_le(after);
    });
}

/// A node, or a log without its records: as it was before the first of them.
enum Taken {
    Node(Arc<str>, Node),
    Log(Box<Filling>),
}

fn take_node(reader: &mut Reader<'_>) -> Result<Taken, ImageError> {
    let path = Arc::from(reader.text("a path")?);
    let stat = Stat::take(reader)?;
    let data = reader.bytes("a node's data")?;
    let lock = reader.maybe("a lock", Lock::take)?;
    let due_ns = reader.maybe("a time", |reader| reader.u64("a log time"))?;
    let quota = reader.maybe("a quota", Quota::take)?.map(Arc::new);
    let opens = reader.maybe("open handles", Opens::take)?;
    let reign = reader.maybe("a reign", Reign::take)?.map(Arc::new);
    let acl = reader.maybe("an access list", Acl::take)?.map(Arc::new);
    let chain = reader.maybe("a chain", |reader| Ok((reader.u128("a hash")?, reader.u128("a hash")?)))?;
    let parts = Parts { lock, due_ns, quota, opens, reign, acl, log: None };
    match (stat.log, chain) {
        (None, None) => {
            let node = Node::of(data, stat, parts);
            if node.stat() != stat {
                return Err(not_whole(&format!("the data of {path} does not fit its checksum")));
            }
            Ok(Taken::Node(path, node))
        }
        (Some(LogStat { first, .. }), Some((before, chain))) if first <= stat.version && data.is_empty() => {
            let log = Log::from_position(first, before);
            Ok(Taken::Log(Box::new(Filling { path, stat, parts, log, chain })))
        }
        _ => Err(not_whole(&format!("{path} is half a log"))),
    }
}

fn put_session(out: &mut BytesMut, session: &Session) {
    out.put_u8(SESSION);
    out.put_u64_le(session.id.0);
    out.put_u64_le(session.token);
    out.put_u128_le(session.secret);
    out.put_u32_le(session.timeout_ms);
    out.put_u64_le(session.counter);
    out.put_u64_le(session.last_number);
    session.who.put(out);
    let earlier = session.earlier();
    out.put_u8(session.marked.tag() | if earlier.is_empty() { 0 } else { HAS_EARLIER });
    out.put_u64_le(session.holder);
    out.put_u64_le(session.former);
    out.put_u64_le(session.before);
    if !earlier.is_empty() {
        out.put_u32_le(u32::try_from(earlier.len()).expect("they are bounded far below 2^32"));
        earlier.iter().for_each(|process| out.put_u64_le(*process));
    }
    let kept = if cfg!(bug = "21") { 0 } else { session.results().len() };
    out.put_u32_le(u32::try_from(kept).expect("results are bounded far below 2^32"));
    for (revision, outcome) in session.results().iter().take(kept) {
        out.put_u64_le(revision);
        put_bytes(out, &outcome);
    }
}

fn take_session(reader: &mut Reader<'_>) -> Result<Session, ImageError> {
    let id = SessionId(reader.u64("a session")?);
    let token = reader.u64("a session's token")?;
    let secret = reader.u128("a session's secret")?;
    let timeout_ms = reader.u32("a session's timeout")?;
    let counter = reader.u64("a session's counter")?;
    let last_number = reader.u64("a request's number")?;
    let who = Principals::take(reader)?;
    let (marked, has_earlier) = take_marked(reader)?;
    let (holder, former) = (reader.u64("a session's holder")?, reader.u64("a session's holder before")?);
    let before = reader.u64("a request's number")?;
    let earlier = if has_earlier { take_earlier(reader)? } else { Vec::new() };
    let count = reader.count("results of a session", SESSION_RESULTS_MAX, 12)?;
    if count as u64 > last_number || before > last_number || last_number == u64::MAX {
        return Err(not_whole(&format!("session {id} numbers its requests and results as none can")));
    }
    let mut results = Vec::with_capacity(count);
    for _ in 0..count {
        let revision = reader.u64("a revision")?;
        let outcome = Bytes::copy_from_slice(reader.bytes("a result")?);
        results.push((revision, outcome));
    }
    let (session, results_kept) = (id, count);
    let view = SessionView {
        session,
        token,
        secret,
        timeout_ms,
        counter,
        last_number,
        results: results_kept,
        marked,
        holder,
        former,
        before,
    };
    if (marked == Marked::ForHolder || has_earlier) && !view.was_passed_on() {
        return Err(not_whole(&format!("session {id} was never passed on, and tells of processes that had it before")));
    }
    Ok(Session::restored(view, who, earlier, results.into_iter()))
}

/// Which processes may keep answers, and whether those before the former one follow. Images were written when no more was known
/// than that some may: they say so of any of them, and name none.
fn take_marked(reader: &mut Reader<'_>) -> Result<(Marked, bool), DecodeError> {
    let tag = reader.u8("who may keep answers")?;
    let marked = Marked::of_tag(tag & !HAS_EARLIER);
    let marked = marked.ok_or(DecodeError::UnknownTag { what: "who may keep answers", tag })?;
    Ok((marked, tag & HAS_EARLIER != 0))
}

fn take_earlier(reader: &mut Reader<'_>) -> Result<Vec<u64>, DecodeError> {
    let count = reader.count("processes that had a session", SESSION_PROCESSES_REMEMBERED, 8)?;
    if count == 0 {
        return Err(DecodeError::NotCanonical { what: "a list of processes that had a session" });
    }
    (0..count).map(|_| reader.u64("a session's holder before")).collect()
}

fn not_whole(what: &str) -> ImageError {
    ImageError::NotWhole { what: what.to_owned() }
}

const VERSION: u32 = 4;

const HEADER: u8 = 1;
const NODE: u8 = 2;
const SESSION: u8 = 3;
const END: u8 = 4;
const RECORDS: u8 = 5;

/// In the byte that says who may keep answers: the processes that had the session before the former one follow.
const HAS_EARLIER: u8 = 128;

/// What a look at a place counts against a chunk's budget, however little is there: so that vacant stretches end slices
/// too.
const LOOK_COST_BYTES: usize = 8;
