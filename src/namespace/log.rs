//! A log node's records: a value that never changes, and shares what it has in common with what it was made from.
//!
//! ```text
//! level 2   [ B B ]           each B a branch, or one run, of what were 32 pieces of level 1
//! level 1   [ b b b b ]       likewise, of level 0
//! level 0   [ r r r r r r ]   the newest runs, one an append; the 32nd makes them one piece of level 1
//! ```
//!
//! An append copies its own bytes, and the names of fewer than 32 pieces; what small runs come to is copied together once
//! a level, until it is a run of some size. So a version of a log costs what it added, whoever still holds an older one: an
//! image under way, a front that lags, a `multi` that takes back what it did.
//!
//! Each record's hash is chained to the one before, so a log's hash costs its new records only, and says the same whatever
//! pieces the records came to lie in.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_128;

use super::command::LogStat;
use super::records::{Records, RecordsRef, split_record};
use crate::limits::{LOG_PIECES_SIDE_BY_SIDE, LOG_RUN_BYTES};

/// The records of a log at one revision.
#[derive(Clone, Default)]
pub struct Log {
    first: u64,
    end: u64,
    bytes: usize,
    sealed: bool,
    /// The chain's value before the first record, and after the last.
    before: u128,
    chain: u128,
    /// The oldest records in the last.
    levels: Vec<Arc<Vec<Arc<Piece>>>>,
}

/// Records from one position up to another.
#[derive(Debug)]
struct Piece {
    first: u64,
    end: u64,
    bytes: usize,
    /// The chain's value before the first.
    before: u128,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Run(Bytes),
    Branch(Vec<Arc<Piece>>),
}

impl Log {
    /// A log whose records before `first` are trimmed, at which the chain's value is `before`.
    pub(super) fn from_position(first: u64, before: u128) -> Self {
        Self { first, end: first, before, chain: before, ..Self::default() }
    }

    /// The log with further records.
    #[must_use]
    pub(super) fn append(&self, records: RecordsRef<'_>) -> Self {
        assert!(!self.sealed, "a sealed log takes no records");
        let mut log = self.clone();
        let mut rest = records.run();
        while !rest.is_empty() {
            let (mut chain, mut count, mut after) = (log.chain, 0, rest);
            while rest.len() - after.len() < LOG_RUN_BYTES
                && let Some((record, further)) = split_record(after)
            {
                (chain, count, after) = (chained(chain, record), count + 1, further);
            }
            let run = Bytes::copy_from_slice(&rest[..rest.len() - after.len()]);
            let (first, end, bytes) = (log.end, log.end + count, run.len());
            log.push(Arc::new(Piece { first, end, bytes, before: log.chain, body: Body::Run(run) }));
            (log.end, log.bytes, log.chain, rest) = (end, log.bytes + bytes, chain, after);
        }
        log
    }

    /// The log without the records before `upto`, which is not past its end.
    #[must_use]
    pub(super) fn trim(&self, upto: u64) -> Self {
        assert!(upto <= self.end, "only what is there is trimmed");
        let mut log = self.clone();
        if upto <= self.first {
            return log;
        }
        for level in &mut log.levels {
            if level.first().is_some_and(|piece| piece.first < upto) {
                *level = Arc::new(left_from(level, upto));
            }
        }
        let oldest = log.levels.iter().rev().find_map(|level| level.first());
        log.before = oldest.map_or(log.chain, |piece| piece.before);
        log.bytes = log.levels.iter().flat_map(|level| level.iter()).map(|piece| piece.bytes).sum();
        log.first = upto;
        log
    }

    /// The log, closed to further records.
    #[must_use]
    pub(super) fn seal(&self) -> Self {
        Self { sealed: true, ..self.clone() }
    }

    /// Position of the first record that is not trimmed.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// Position of the next record.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of the records that are not trimmed, and four for each.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it takes no more records.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// What a stat says of it.
    pub(super) const fn stat(&self) -> LogStat {
        LogStat { first: self.first, sealed: self.sealed }
    }

    /// The chain's value before the first record, and after the last.
    pub(super) const fn chain(&self) -> (u128, u128) {
        (self.before, self.chain)
    }

    /// What a stat tells of the chain.
    pub(super) fn checksum(&self) -> u32 {
        crc32fast::hash(&self.chain.to_le_bytes())
    }

    /// A number that equal logs share, whatever led to them.
    pub(super) fn hash(&self) -> u128 {
        let mut raw = [0; 49];
        raw[..8].copy_from_slice(&self.first.to_le_bytes());
        raw[8..16].copy_from_slice(&self.end.to_le_bytes());
        raw[16..32].copy_from_slice(&self.before.to_le_bytes());
        raw[32..48].copy_from_slice(&self.chain.to_le_bytes());
        raw[48] = self.sealed.into();
        xxh3_128(&raw)
    }

    /// Records from `from` on, in order: one at least, if it is there, as many as `bytes` hold.
    #[must_use]
    pub fn read(&self, from: u64, bytes: usize) -> Records {
        let mut run = BytesMut::new();
        for (_, record) in self.runs(from).flat_map(|(first, run)| (first..).zip(encoded(run))) {
            if !run.is_empty() && run.len() + record.len() > bytes {
                break;
            }
            run.extend_from_slice(record);
            if run.len() >= bytes {
                break;
            }
        }
        Records::of_run(run.freeze()).expect("what a log holds are records")
    }

    /// The runs from position `from` on, each with the position of its first record; the first begins at `from`.
    fn runs(&self, from: u64) -> impl Iterator<Item = (u64, &[u8])> {
        // The next piece last.
        let mut ahead: Vec<_> = self.levels.iter().flat_map(|level| level.iter().rev()).collect();
        std::iter::from_fn(move || {
            loop {
                let piece = ahead.pop()?;
                if piece.end <= from {
                    continue;
                }
                match &piece.body {
                    Body::Branch(pieces) => ahead.extend(pieces.iter().rev()),
                    Body::Run(run) => return Some((piece.first.max(from), piece.parted(run, from).1)),
                }
            }
        })
    }

    fn push(&mut self, mut piece: Arc<Piece>) {
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Arc::default());
            }
            let pieces = Arc::make_mut(&mut self.levels[level]);
            pieces.push(piece);
            if pieces.len() < LOG_PIECES_SIDE_BY_SIDE {
                return;
            }
            piece = Arc::new(Piece::of(std::mem::take(pieces)));
        }
    }

    /// What must hold at any time; for checks, as it looks at every record.
    pub fn invariants(&self) {
        let (mut end, mut chain, mut bytes) = (self.first, self.before, 0);
        for (first, run) in self.runs(self.first) {
            assert_eq!(first, end, "a run begins where the one before ends");
            for record in RecordsRef::of_run(run).expect("a run is of records").iter() {
                (end, chain, bytes) = (end + 1, chained(chain, record), bytes + 4 + record.len());
            }
        }
        assert_eq!((end, chain, bytes), (self.end, self.chain, self.bytes), "a log's numbers are those of its records");
        for level in &self.levels {
            assert!(level.len() < LOG_PIECES_SIDE_BY_SIDE, "as many pieces are made one");
        }
    }
}

impl Piece {
    /// One piece of some.
    fn of(pieces: Vec<Arc<Self>>) -> Self {
        let bytes = pieces.iter().map(|piece| piece.bytes).sum();
        let (oldest, newest) = (&pieces[0], &pieces[pieces.len() - 1]);
        let (first, end, before) = (oldest.first, newest.end, oldest.before);
        let runs = pieces.iter().map(|piece| match &piece.body {
            Body::Run(run) => Some(&run[..]),
            Body::Branch(_) => None,
        });
        let runs = runs.collect::<Option<Vec<_>>>().filter(|_| bytes <= LOG_RUN_BYTES);
        let body = match runs {
            Some(runs) => Body::Run(runs.concat().into()),
            None => Body::Branch(pieces),
        };
        Self { first, end, bytes, before, body }
    }

    /// The piece without its records before `from`, which lies within it.
    fn left_from(&self, from: u64) -> Self {
        let (bytes, before, body) = match &self.body {
            Body::Run(run) => {
                let (gone, rest) = self.parted(run, from);
                let gone = if cfg!(bug = "52") { &gone[..0] } else { gone };
                let before = encoded(gone).fold(self.before, |chain, record| chained(chain, &record[4..]));
                (rest.len(), before, Body::Run(run.slice_ref(rest)))
            }
            Body::Branch(pieces) => {
                let left = left_from(pieces, from);
                (left.iter().map(|piece| piece.bytes).sum(), left[0].before, Body::Branch(left))
            }
        };
        Self { first: from, end: self.end, bytes, before, body }
    }

    /// This piece's run, before the record at `from` and from it on.
    fn parted<'r>(&self, run: &'r [u8], from: u64) -> (&'r [u8], &'r [u8]) {
        let mut rest = run;
        for _ in self.first..from {
            rest = split_record(rest).expect("a run holds the records it counts").1;
        }
        run.split_at(run.len() - rest.len())
    }
}

/// The pieces without the records before `from`.
fn left_from(pieces: &[Arc<Piece>], from: u64) -> Vec<Arc<Piece>> {
    let left = pieces.iter().filter(|piece| piece.end > from);
    left.map(|piece| if piece.first < from { Arc::new(piece.left_from(from)) } else { piece.clone() }).collect()
}

/// The records of a run, each with its length in front.
fn encoded(run: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let after = split_record(rest)?.1;
        let record = &rest[..rest.len() - after.len()];
        rest = after;
        Some(record)
    })
}

fn chained(before: u128, record: &[u8]) -> u128 {
    let mut raw = [0; 32];
    raw[..16].copy_from_slice(&before.to_le_bytes());
    raw[16..].copy_from_slice(&xxh3_128(record).to_le_bytes());
    xxh3_128(&raw)
}

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for Log {}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = if self.sealed { "sealed at" } else { "up to" };
        write!(f, "Log(from {} {end} {}, {} bytes, {:032x})", self.first, self.end, self.bytes, self.chain)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Where the runs lie, and how long they are.
    fn runs(log: &Log) -> BTreeSet<(*const u8, usize)> {
        log.runs(log.first()).map(|(_, run)| (run.as_ptr(), run.len())).collect()
    }

    #[test]
    fn an_append_copies_its_own_bytes_and_each_of_them_a_few_times_in_all() {
        let mut log = Log::default();
        let (mut copied, mut copied_at_once) = (0, 0);
        for number in 0..20_000_u32 {
            let records: Records = [[number as u8; 60]].iter().collect();
            // Whoever still holds the version before makes it no dearer.
            let before = runs(&log);
            log = log.append(records.as_ref());
            let new: usize = runs(&log).difference(&before).map(|(_, len)| len).sum();
            copied += new;
            copied_at_once = copied_at_once.max(new);
        }
        log.invariants();
        assert!(copied <= 3 * log.bytes(), "{copied} bytes for {}", log.bytes());
        assert!(copied_at_once <= 2 * LOG_RUN_BYTES, "{copied_at_once} bytes at once");
        let pieces: usize = log.levels.iter().map(|level| level.len()).sum();
        assert!(pieces < 4 * LOG_PIECES_SIDE_BY_SIDE, "{pieces} pieces are named anew by an append at most");
    }
}
