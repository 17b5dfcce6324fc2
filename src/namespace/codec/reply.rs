//! What comes out: stats, outcomes, answers and refusals.

use bytes::{BufMut, Bytes, BytesMut};

use super::handle::HandleRef;
use super::lock::SequencerRef;
use super::reader::{DecodeError, Reader, put_bytes, put_maybe, put_text};
use crate::limits::MULTI_OPS_MAX;
use crate::namespace::acl::{Acl, Principals, Rights};
use crate::namespace::command::{
    Answer, Done, Expiry, HandleMode, LockHolders, LockPlace, LogStat, Outcome, Quota, Refusal, Scanned, SessionId,
    Stat, StepDone, Usage,
};
use crate::namespace::records::RecordsRef;

/// Appends a mutation's outcome.
pub fn encode_outcome(outcome: &Outcome, out: &mut BytesMut) {
    match outcome {
        Ok(done) => {
            out.put_u8(0);
            put_done(out, done);
        }
        Err(refusal) => {
            out.put_u8(1);
            put_refusal(out, refusal);
        }
    }
}

/// Decodes what [`encode_outcome`] wrote.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, DecodeError> {
    let mut reader = Reader::new(bytes);
    let refused = reader.bool("an outcome")?;
    let outcome = if refused { Err(take_refusal(&mut reader, true)?) } else { Ok(take_done(&mut reader)?) };
    reader.finish("an outcome")?;
    Ok(outcome)
}

/// Appends a read's answer, or its refusal.
pub fn encode_read_outcome<D: AsRef<[u8]>>(outcome: &Result<Answer<D>, Refusal>, out: &mut BytesMut) {
    match outcome {
        Ok(answer) => {
            out.put_u8(0);
            put_answer(out, answer);
        }
        Err(refusal) => {
            out.put_u8(1);
            put_refusal(out, refusal);
        }
    }
}

/// Decodes what [`encode_read_outcome`] wrote.
pub fn decode_read_outcome(bytes: &[u8]) -> Result<Result<Answer, Refusal>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let refused = reader.bool("an answer")?;
    let outcome = if refused { Err(take_refusal(&mut reader, true)?) } else { Ok(take_answer(&mut reader)?) };
    reader.finish("an answer")?;
    Ok(outcome)
}

impl Stat {
    /// Appends the stat: always [`Self::ENCODED_BYTES`].
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.to_bytes());
    }

    /// The stat's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::ENCODED_BYTES] {
        let no_time = matches!(self.expiry, Some(Expiry::Idle { ttl_ms: NO_EXPIRY | EMPTIED | CLOSED_BY_ALL }));
        assert!(!no_time, "a time to live is neither nothing nor for ever");
        assert!(self.owner != Some(SessionId(0)), "a session's id is a revision, and the first revision is 1");
        let mut raw = [0; Self::ENCODED_BYTES];
        let longs = [
            self.created,
            self.modified,
            self.children_modified,
            self.version,
            self.children_version,
            self.acl_version,
            self.created_ms,
            self.modified_ms,
            self.owner.map_or(0, |owner| owner.0),
            self.instance,
            self.lock_generation,
            match self.expiry {
                None => NO_EXPIRY,
                Some(Expiry::Emptied) => EMPTIED,
                Some(Expiry::Closed) => CLOSED_BY_ALL,
                Some(Expiry::Idle { ttl_ms }) => ttl_ms,
            },
        ];
        for (place, long) in raw.chunks_exact_mut(8).zip(longs) {
            place.copy_from_slice(&long.to_le_bytes());
        }
        for (place, short) in raw[96..108].chunks_exact_mut(4).zip([self.data_bytes, self.children, self.checksum]) {
            place.copy_from_slice(&short.to_le_bytes());
        }
        let kind = match self.log {
            None => NO_LOG,
            Some(LogStat { sealed: false, .. }) => LOG_OPEN,
            Some(LogStat { sealed: true, .. }) => LOG_SEALED,
        };
        raw[108..116].copy_from_slice(&self.log.map_or(0, |log| log.first).to_le_bytes());
        raw[116] = kind;
        raw
    }

    /// Takes a stat off the front of what `reader` has left.
    pub fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "a stat";
        Ok(Self {
            created: reader.u64(what)?,
            modified: reader.u64(what)?,
            children_modified: reader.u64(what)?,
            version: reader.u64(what)?,
            children_version: reader.u64(what)?,
            acl_version: reader.u64(what)?,
            created_ms: reader.u64(what)?,
            modified_ms: reader.u64(what)?,
            owner: Some(SessionId(reader.u64(what)?)).filter(|owner| owner.0 != 0),
            instance: reader.u64(what)?,
            lock_generation: reader.u64(what)?,
            expiry: match reader.u64(what)? {
                NO_EXPIRY => None,
                EMPTIED => Some(Expiry::Emptied),
                CLOSED_BY_ALL => Some(Expiry::Closed),
                ttl_ms => Some(Expiry::Idle { ttl_ms }),
            },
            data_bytes: reader.u32(what)?,
            children: reader.u32(what)?,
            checksum: reader.u32(what)?,
            log: match (reader.u64(what)?, reader.u8(what)?) {
                (0, NO_LOG) => None,
                (first, LOG_OPEN) => Some(LogStat { first, sealed: false }),
                (first, LOG_SEALED) => Some(LogStat { first, sealed: true }),
                _ => return Err(DecodeError::NotCanonical { what }),
            },
        })
    }

    /// Bytes of every encoded stat: twelve longs, then data bytes, children and checksum, then a log's first position and
    /// what it is.
    pub const ENCODED_BYTES: usize = 12 * 8 + 3 * 4 + 8 + 1;
}

fn put_done(out: &mut BytesMut, done: &Done) {
    match done {
        Done::Created { path, stat } => put_created(out, path, stat),
        Done::Set { stat } => put_stat(out, SET, stat),
        Done::Deleted => out.put_u8(DELETED),
        Done::TreeDeleted { nodes, more } => {
            out.put_u8(TREE_DELETED);
            out.put_u32_le(*nodes);
            out.put_u8(u8::from(*more));
        }
        Done::QuotaSet => out.put_u8(QUOTA_SET),
        Done::Multi { results } => {
            out.put_u8(MULTI);
            out.put_u32_le(u32::try_from(results.len()).expect("results are as many as steps, far below 2^32"));
            results.iter().for_each(|result| put_step_done(out, result));
        }
        Done::Granted { sequencer } => {
            out.put_u8(GRANTED);
            sequencer.as_ref().put(out);
        }
        Done::Queued => out.put_u8(QUEUED),
        Done::Released => out.put_u8(RELEASED),
        Done::Opened { handle, stat, created } => {
            put_stat(out, OPENED, stat);
            handle.as_ref().put(out);
            out.put_u8(u8::from(*created));
        }
        Done::Closed => out.put_u8(CLOSED),
        Done::AclSet { stat } => put_stat(out, ACL_SET, stat),
        Done::Authenticated => out.put_u8(AUTHENTICATED),
        Done::Appended { first, end } => put_positions(out, APPENDED, *first, *end),
        Done::Trimmed { first } => {
            out.put_u8(TRIMMED);
            out.put_u64_le(*first);
        }
        Done::Sealed { end } => {
            out.put_u8(SEALED);
            out.put_u64_le(*end);
        }
        Done::Synced => out.put_u8(SYNCED),
        Done::SessionClosed => out.put_u8(SESSION_CLOSED),
    }
}

fn take_done(reader: &mut Reader<'_>) -> Result<Done, DecodeError> {
    Ok(match reader.u8("a result")? {
        CREATED => Done::Created { path: reader.text("a path")?.to_owned(), stat: Stat::take(reader)? },
        SET => Done::Set { stat: Stat::take(reader)? },
        DELETED => Done::Deleted,
        TREE_DELETED => Done::TreeDeleted { nodes: reader.u32("a count")?, more: reader.bool("the mark of a rest")? },
        QUOTA_SET => Done::QuotaSet,
        MULTI => {
            let count = reader.count("results of a multi", MULTI_OPS_MAX, 1)?;
            Done::Multi { results: (0..count).map(|_| take_step_done(reader)).collect::<Result<_, _>>()? }
        }
        GRANTED => Done::Granted { sequencer: SequencerRef::take(reader)?.to_sequencer() },
        QUEUED => Done::Queued,
        RELEASED => Done::Released,
        OPENED => {
            let stat = Stat::take(reader)?;
            let handle = HandleRef::take(reader)?.to_handle();
            Done::Opened { handle, stat, created: reader.bool("the mark of who created")? }
        }
        CLOSED => Done::Closed,
        ACL_SET => Done::AclSet { stat: Stat::take(reader)? },
        AUTHENTICATED => Done::Authenticated,
        APPENDED => Done::Appended { first: reader.u64("a position")?, end: reader.u64("a position")? },
        TRIMMED => Done::Trimmed { first: reader.u64("a position")? },
        SEALED => Done::Sealed { end: reader.u64("a position")? },
        SYNCED => Done::Synced,
        SESSION_CLOSED => Done::SessionClosed,
        tag => return Err(DecodeError::UnknownTag { what: "result", tag }),
    })
}

fn put_step_done(out: &mut BytesMut, done: &StepDone) {
    match done {
        StepDone::Checked => out.put_u8(CHECKED),
        StepDone::Created { path, stat } => put_created(out, path, stat),
        StepDone::Set { stat } => put_stat(out, SET, stat),
        StepDone::Deleted => out.put_u8(DELETED),
        StepDone::AclSet { stat } => put_stat(out, ACL_SET, stat),
        StepDone::Got { node: None } => out.put_u8(GOT_NOTHING),
        StepDone::Got { node: Some((data, stat)) } => {
            put_stat(out, GOT, stat);
            put_bytes(out, data);
        }
        StepDone::Appended { first, end } => put_positions(out, APPENDED, *first, *end),
    }
}

fn take_step_done(reader: &mut Reader<'_>) -> Result<StepDone, DecodeError> {
    Ok(match reader.u8("a step's result")? {
        CHECKED => StepDone::Checked,
        CREATED => StepDone::Created { path: reader.text("a path")?.to_owned(), stat: Stat::take(reader)? },
        SET => StepDone::Set { stat: Stat::take(reader)? },
        DELETED => StepDone::Deleted,
        ACL_SET => StepDone::AclSet { stat: Stat::take(reader)? },
        GOT_NOTHING => StepDone::Got { node: None },
        GOT => {
            let stat = Stat::take(reader)?;
            let data = Bytes::copy_from_slice(reader.bytes("a node's data")?);
            StepDone::Got { node: Some((data, stat)) }
        }
        APPENDED => StepDone::Appended { first: reader.u64("a position")?, end: reader.u64("a position")? },
        tag => return Err(DecodeError::UnknownTag { what: "step's result", tag }),
    })
}

fn put_created(out: &mut BytesMut, path: &str, stat: &Stat) {
    out.put_u8(CREATED);
    put_text(out, path);
    stat.encode(out);
}

fn put_stat(out: &mut BytesMut, tag: u8, stat: &Stat) {
    out.put_u8(tag);
    stat.encode(out);
}

fn put_positions(out: &mut BytesMut, tag: u8, first: u64, end: u64) {
    out.put_u8(tag);
    out.put_u64_le(first);
    out.put_u64_le(end);
}

fn put_answer<D: AsRef<[u8]>>(out: &mut BytesMut, answer: &Answer<D>) {
    match answer {
        Answer::Node { data, stat } => {
            let data = data.as_ref();
            out.reserve(1 + Stat::ENCODED_BYTES + 4 + data.len());
            put_stat(out, NODE, stat);
            put_bytes(out, data);
        }
        Answer::Exists { stat: None } => out.put_u8(ABSENT),
        Answer::Exists { stat: Some(stat) } => put_stat(out, EXISTS, stat),
        Answer::Children { names, stat, more } => {
            put_stat(out, CHILDREN, stat);
            put_page_head(out, *more, names.len());
            names.iter().for_each(|name| put_text(out, name));
        }
        Answer::Entries { entries, stat, more } => {
            put_stat(out, ENTRIES, stat);
            put_page_head(out, *more, entries.len());
            for (name, stat) in entries {
                put_text(out, name);
                stat.encode(out);
            }
        }
        Answer::Scanned { nodes, more } => {
            out.put_u8(SCANNED);
            put_page_head(out, *more, nodes.len());
            for node in nodes {
                put_text(out, &node.path);
                node.stat.encode(out);
                put_maybe(out, node.data.as_ref(), |out, data| put_bytes(out, data.as_ref()));
            }
        }
        Answer::Quota { quota } => {
            out.put_u8(QUOTA);
            put_maybe(out, quota.as_ref(), |out, (quota, usage)| {
                quota.put(out);
                usage.put(out);
            });
        }
        Answer::Acl { acl, stat } => {
            put_stat(out, ACL, stat);
            put_maybe(out, acl.as_ref(), |out, acl| acl.put(out));
        }
        Answer::Principals { principals } => {
            out.put_u8(PRINCIPALS);
            principals.put(out);
        }
        Answer::Lock { holders } => {
            out.put_u8(LOCK);
            holders.put(out);
        }
        Answer::LockPlace { place } => {
            out.put_u8(LOCK_PLACE);
            place.put(out);
        }
        Answer::Sequencer { valid } => out.put_slice(&[SEQUENCER, u8::from(*valid)]),
        Answer::Records { from, records, stat } => {
            put_stat(out, RECORDS, stat);
            out.put_u64_le(*from);
            records.as_ref().put(out);
        }
    }
}

fn take_answer(reader: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    Ok(match reader.u8("an answer")? {
        NODE => {
            let stat = Stat::take(reader)?;
            Answer::Node { data: Bytes::copy_from_slice(reader.bytes("a node's data")?), stat }
        }
        ABSENT => Answer::Exists { stat: None },
        EXISTS => Answer::Exists { stat: Some(Stat::take(reader)?) },
        CHILDREN => {
            let stat = Stat::take(reader)?;
            let (more, count) = take_page_head(reader, 4)?;
            let names = (0..count).map(|_| reader.text("a name").map(str::to_owned)).collect::<Result<_, _>>()?;
            Answer::Children { names, stat, more }
        }
        ENTRIES => {
            let stat = Stat::take(reader)?;
            let (more, count) = take_page_head(reader, 4 + Stat::ENCODED_BYTES)?;
            let entries = (0..count).map(|_| Ok((reader.text("a name")?.to_owned(), Stat::take(reader)?)));
            Answer::Entries { entries: entries.collect::<Result<_, DecodeError>>()?, stat, more }
        }
        SCANNED => {
            let (more, count) = take_page_head(reader, 5 + Stat::ENCODED_BYTES)?;
            let nodes = (0..count).map(|_| {
                let (path, stat) = (reader.text("a path")?.to_owned(), Stat::take(reader)?);
                let data = reader.maybe("a node's data", |reader| reader.bytes("a node's data"))?;
                Ok(Scanned { path, stat, data: data.map(Bytes::copy_from_slice) })
            });
            Answer::Scanned { nodes: nodes.collect::<Result<_, DecodeError>>()?, more }
        }
        QUOTA => {
            let quota = |reader: &mut Reader<'_>| Ok((Quota::take(reader)?, Usage::take(reader)?));
            Answer::Quota { quota: reader.maybe("a quota", quota)? }
        }
        ACL => {
            let stat = Stat::take(reader)?;
            Answer::Acl { acl: reader.maybe("an access list", Acl::take)?, stat }
        }
        PRINCIPALS => Answer::Principals { principals: Principals::take(reader)? },
        LOCK => Answer::Lock { holders: LockHolders::take(reader)? },
        LOCK_PLACE => Answer::LockPlace { place: LockPlace::take(reader)? },
        SEQUENCER => Answer::Sequencer { valid: reader.bool("a verdict")? },
        RECORDS => {
            let (stat, from) = (Stat::take(reader)?, reader.u64("a position")?);
            Answer::Records { from, records: RecordsRef::take(reader)?.to_records(), stat }
        }
        tag => return Err(DecodeError::UnknownTag { what: "answer", tag }),
    })
}

/// What stands in front of a page's rows.
fn put_page_head(out: &mut BytesMut, more: bool, rows: usize) {
    out.put_u8(u8::from(more));
    out.put_u32_le(u32::try_from(rows).expect("a page is bounded far below 2^32 rows"));
}

fn take_page_head(reader: &mut Reader<'_>, row_bytes_min: usize) -> Result<(bool, usize), DecodeError> {
    let more = reader.bool("the mark of a longer listing")?;
    Ok((more, reader.count("rows of a listing", u32::MAX as usize, row_bytes_min)?))
}

fn put_refusal(out: &mut BytesMut, refusal: &Refusal) {
    let (tag, text) = match refusal {
        Refusal::NoNode { path } => (NO_NODE, path.as_str()),
        Refusal::NoParent { path } => (NO_PARENT, path.as_str()),
        Refusal::NodeExists { path } => (NODE_EXISTS, path.as_str()),
        Refusal::NotEmpty { path } => (NOT_EMPTY, path.as_str()),
        Refusal::BadVersion { path, .. } => (BAD_VERSION, path.as_str()),
        Refusal::EphemeralParent { path } => (EPHEMERAL_PARENT, path.as_str()),
        Refusal::BadArgument { why } => (BAD_ARGUMENT, why.as_str()),
        Refusal::Fenced { path, .. } => (FENCED, path.as_str()),
        Refusal::LockBusy { path } => (LOCK_BUSY, path.as_str()),
        Refusal::LockTwice { path } => (LOCK_TWICE, path.as_str()),
        Refusal::LockNotHeld { path } => (LOCK_NOT_HELD, path.as_str()),
        Refusal::HandleGone { path } => (HANDLE_GONE, path.as_str()),
        Refusal::HandleClosed { path } => (HANDLE_CLOSED, path.as_str()),
        Refusal::HandleForged { path } => (HANDLE_FORGED, path.as_str()),
        Refusal::HandleLacks { path, .. } => (HANDLE_LACKS, path.as_str()),
        Refusal::HandleForeign { path, .. } => (HANDLE_FOREIGN, path.as_str()),
        Refusal::NotAuthorized { path, .. } => (NOT_AUTHORIZED, path.as_str()),
        Refusal::NodesOverQuota { path, .. } => (NODES_OVER_QUOTA, path.as_str()),
        Refusal::BytesOverQuota { path, .. } => (BYTES_OVER_QUOTA, path.as_str()),
        Refusal::IsLog { path } => (IS_LOG, path.as_str()),
        Refusal::NotLog { path } => (NOT_LOG, path.as_str()),
        Refusal::LogSealed { path, .. } => (LOG_IS_SEALED, path.as_str()),
        Refusal::LogEnd { path, .. } => (LOG_END, path.as_str()),
        Refusal::LogTrimmed { path, .. } => (LOG_TRIMMED, path.as_str()),
        Refusal::TooLarge { what, .. } => (TOO_LARGE, what.as_str()),
        Refusal::NotNow { why } => (NOT_NOW, why.as_str()),
        Refusal::Aborted { index, cause } => {
            assert!(!matches!(**cause, Refusal::Aborted { .. }), "a multi holds no multi");
            out.put_u8(ABORTED);
            out.put_u32_le(*index);
            return put_refusal(out, cause);
        }
        Refusal::NoSession => return out.put_u8(NO_SESSION),
        Refusal::ResultDropped => return out.put_u8(RESULT_DROPPED),
    };
    out.put_u8(tag);
    put_text(out, text);
    if let Refusal::BadVersion { expected: one, found: other, .. }
    | Refusal::Fenced { presented: one, current: other, .. }
    | Refusal::NodesOverQuota { needed: one, limit: other, .. }
    | Refusal::BytesOverQuota { needed: one, limit: other, .. }
    | Refusal::LogEnd { expected: one, found: other, .. }
    | Refusal::LogTrimmed { from: one, first: other, .. }
    | Refusal::TooLarge { size: one, limit: other, .. } = refusal
    {
        out.put_u64_le(*one);
        out.put_u64_le(*other);
    }
    if let Refusal::HandleLacks { lacks, .. } = refusal {
        out.put_u8(lacks.bits());
    }
    if let Refusal::HandleForeign { session, .. } = refusal {
        out.put_u64_le(session.0);
    }
    if let Refusal::NotAuthorized { needed, .. } = refusal {
        out.put_u8(needed.bits());
    }
    if let Refusal::LogSealed { end, .. } = refusal {
        out.put_u64_le(*end);
    }
}

/// `outermost` says whether this may be an aborted `multi`: a cause inside one may not, so the nesting is bounded.
fn take_refusal(reader: &mut Reader<'_>, outermost: bool) -> Result<Refusal, DecodeError> {
    let path = |reader: &mut Reader<'_>| reader.text("a path").map(str::to_owned);
    Ok(match reader.u8("a refusal")? {
        NO_NODE => Refusal::NoNode { path: path(reader)? },
        NO_PARENT => Refusal::NoParent { path: path(reader)? },
        NODE_EXISTS => Refusal::NodeExists { path: path(reader)? },
        NOT_EMPTY => Refusal::NotEmpty { path: path(reader)? },
        BAD_VERSION => Refusal::BadVersion {
            path: path(reader)?,
            expected: reader.u64("a version")?,
            found: reader.u64("a version")?,
        },
        EPHEMERAL_PARENT => Refusal::EphemeralParent { path: path(reader)? },
        BAD_ARGUMENT => Refusal::BadArgument { why: reader.text("a reason")?.to_owned() },
        FENCED => Refusal::Fenced {
            path: path(reader)?,
            presented: reader.u64("a generation")?,
            current: reader.u64("a generation")?,
        },
        LOCK_BUSY => Refusal::LockBusy { path: path(reader)? },
        LOCK_TWICE => Refusal::LockTwice { path: path(reader)? },
        LOCK_NOT_HELD => Refusal::LockNotHeld { path: path(reader)? },
        HANDLE_GONE => Refusal::HandleGone { path: path(reader)? },
        HANDLE_CLOSED => Refusal::HandleClosed { path: path(reader)? },
        HANDLE_FORGED => Refusal::HandleForged { path: path(reader)? },
        HANDLE_LACKS => Refusal::HandleLacks { path: path(reader)?, lacks: HandleMode::take(reader)? },
        HANDLE_FOREIGN => Refusal::HandleForeign { path: path(reader)?, session: SessionId(reader.u64("a session")?) },
        NODES_OVER_QUOTA => Refusal::NodesOverQuota {
            path: path(reader)?,
            needed: reader.u64("a count")?,
            limit: reader.u64("a bound")?,
        },
        BYTES_OVER_QUOTA => Refusal::BytesOverQuota {
            path: path(reader)?,
            needed: reader.u64("a count")?,
            limit: reader.u64("a bound")?,
        },
        NOT_AUTHORIZED => Refusal::NotAuthorized { path: path(reader)?, needed: Rights::take(reader)? },
        IS_LOG => Refusal::IsLog { path: path(reader)? },
        NOT_LOG => Refusal::NotLog { path: path(reader)? },
        LOG_IS_SEALED => Refusal::LogSealed { path: path(reader)?, end: reader.u64("a position")? },
        LOG_END => Refusal::LogEnd {
            path: path(reader)?,
            expected: reader.u64("a position")?,
            found: reader.u64("a position")?,
        },
        LOG_TRIMMED => Refusal::LogTrimmed {
            path: path(reader)?,
            from: reader.u64("a position")?,
            first: reader.u64("a position")?,
        },
        TOO_LARGE => Refusal::TooLarge {
            what: reader.text("the name of a limit")?.to_owned(),
            size: reader.u64("a size")?,
            limit: reader.u64("a limit")?,
        },
        NOT_NOW => Refusal::NotNow { why: reader.text("a reason")?.to_owned() },
        ABORTED if outermost => {
            Refusal::Aborted { index: reader.u32("a step's index")?, cause: Box::new(take_refusal(reader, false)?) }
        }
        NO_SESSION => Refusal::NoSession,
        RESULT_DROPPED => Refusal::ResultDropped,
        tag => return Err(DecodeError::UnknownTag { what: "refusal", tag }),
    })
}

// What a stat has in the place of a time to live; no node has either as one.
const NO_EXPIRY: u64 = 0;
const EMPTIED: u64 = u64::MAX;
const CLOSED_BY_ALL: u64 = u64::MAX - 1;

// What a node is: no log, one, or one that is sealed.
const NO_LOG: u8 = 0;
const LOG_OPEN: u8 = 1;
const LOG_SEALED: u8 = 2;

// Results of operations and of steps share one space of tags.
const CREATED: u8 = 1;
const SET: u8 = 2;
const DELETED: u8 = 3;
const MULTI: u8 = 4;
const SYNCED: u8 = 5;
const SESSION_CLOSED: u8 = 6;
const CHECKED: u8 = 7;
const GOT: u8 = 8;
const GOT_NOTHING: u8 = 9;
const GRANTED: u8 = 10;
const QUEUED: u8 = 11;
const RELEASED: u8 = 12;
const TREE_DELETED: u8 = 13;
const QUOTA_SET: u8 = 14;
const OPENED: u8 = 30;
const CLOSED: u8 = 31;
const ACL_SET: u8 = 20;
const AUTHENTICATED: u8 = 21;
const APPENDED: u8 = 40;
const TRIMMED: u8 = 41;
const SEALED: u8 = 42;

const NODE: u8 = 1;
const ABSENT: u8 = 2;
const EXISTS: u8 = 3;
const CHILDREN: u8 = 4;
const LOCK: u8 = 5;
const LOCK_PLACE: u8 = 6;
const SEQUENCER: u8 = 7;
const ENTRIES: u8 = 8;
const SCANNED: u8 = 9;
const QUOTA: u8 = 10;
const ACL: u8 = 20;
const PRINCIPALS: u8 = 21;
const RECORDS: u8 = 40;

const NO_NODE: u8 = 1;
const NO_PARENT: u8 = 2;
const NODE_EXISTS: u8 = 3;
const NOT_EMPTY: u8 = 4;
const BAD_VERSION: u8 = 5;
const EPHEMERAL_PARENT: u8 = 6;
const BAD_ARGUMENT: u8 = 7;
const TOO_LARGE: u8 = 8;
const ABORTED: u8 = 9;
const NO_SESSION: u8 = 10;
const RESULT_DROPPED: u8 = 11;
const FENCED: u8 = 12;
const LOCK_BUSY: u8 = 13;
const LOCK_TWICE: u8 = 14;
const LOCK_NOT_HELD: u8 = 15;
const NODES_OVER_QUOTA: u8 = 16;
const BYTES_OVER_QUOTA: u8 = 17;
const HANDLE_GONE: u8 = 30;
const HANDLE_CLOSED: u8 = 31;
const HANDLE_FORGED: u8 = 32;
const HANDLE_LACKS: u8 = 33;
const HANDLE_FOREIGN: u8 = 34;
const NOT_AUTHORIZED: u8 = 20;
const IS_LOG: u8 = 40;
const NOT_LOG: u8 = 41;
const LOG_IS_SEALED: u8 = 42;
const LOG_END: u8 = 43;
const LOG_TRIMMED: u8 = 44;
const NOT_NOW: u8 = 50;
