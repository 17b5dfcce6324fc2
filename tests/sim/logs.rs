//! Logs: what clients do to them, what the model makes of it, and what must hold of the records that anybody saw.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::client::machine::Answered;
use quorate::namespace::command::{
    Answer, Done, Expect, Lifetime, LogStat, Operation, Outcome, Read, Records, Refusal, Stat,
};
use quorate::wire::watch::EventKind;
use xxhash_rust::xxh3::xxh3_128;

use super::history::{Asked, History};
use super::model::{Model, Node};
use super::world::Random;

/// A log of the model: all records ever appended, of which the first are not to be seen any more.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Log {
    all: Vec<Bytes>,
    trimmed: usize,
    sealed: bool,
    chain: u128,
}

/// So many names are logs, so that clients meet.
pub const LOGS: u64 = 3;

pub fn path(random: &mut Random) -> String {
    format!("/l{}", random.below(LOGS))
}

/// What a client asks of a log that ended at `end` when it last heard of it.
pub fn operation(random: &mut Random, path: String, end: u64, lifetime: Lifetime) -> Operation {
    match random.below(24) {
        0..4 => Operation::CreateLog { path, lifetime, sequential: random.below(10) == 0 },
        4 => Operation::Trim { path, upto: (end + 1).saturating_sub(random.below(5)) },
        5 if random.below(4) == 0 => Operation::Seal { path },
        6 if random.below(2) == 0 => Operation::Delete { path, expect: Expect::Any },
        7 if random.below(4) == 0 => Operation::Set { path, data: Bytes::new(), expect: Expect::Any },
        _ => {
            let end = (random.below(3) == 0).then_some(end);
            Operation::Append { path, records: records(random), end }
        }
    }
}

/// No two records are alike.
pub fn records(random: &mut Random) -> Records {
    let count = random.pick(&[0, 1, 1, 2, 5]);
    let mut record = || {
        let mut bytes = random.draw().to_le_bytes().to_vec();
        bytes.resize(random.pick(&[8, 8, 100, 3000]), 0xa5);
        bytes
    };
    (0..count).map(|_| record()).collect()
}

pub fn read(random: &mut Random, path: String, end: u64) -> Read {
    if random.below(10) == 0 {
        return Read::Get { path };
    }
    let from = (end + 1).saturating_sub(random.below(8));
    Read::Records { path, from, bytes: random.pick(&[0, 1, 300]) }
}

impl Model {
    pub fn append(&mut self, path: &str, records: &Records, end: Option<u64>) -> Result<(u64, u64), Refusal> {
        let path = path.to_owned();
        let log = self.log(&path)?;
        let first = log.all.len() as u64;
        if log.sealed {
            return Err(Refusal::LogSealed { path, end: first });
        }
        if let Some(expected) = end.filter(|end| *end != first) {
            return Err(Refusal::LogEnd { path, expected, found: first });
        }
        if records.is_empty() {
            return Err(Refusal::BadArgument { why: String::new() });
        }
        let more = records.iter().map(|record| 4 + record.len() as u64).sum();
        self.has_room(&path, 0, more)?;
        let due = self.due(self.tree[&path].expiry);
        let end = self.change(&path, |log| {
            for record in records.iter() {
                let link = [log.chain.to_le_bytes(), xxh3_128(&record).to_le_bytes()].concat();
                log.chain = xxh3_128(&link);
                log.all.push(record);
            }
            log.all.len() as u64
        });
        let node = self.tree.get_mut(&path).expect("it was just changed");
        node.due = due.or(node.due);
        self.warn(&path, 0, more);
        Ok((first, end))
    }

    pub fn trim(&mut self, path: &str, upto: u64) -> Outcome {
        let log = self.log(path)?;
        let (first, found) = (log.trimmed as u64, log.all.len() as u64);
        if upto > found {
            return Err(Refusal::LogEnd { path: path.to_owned(), expected: upto, found });
        }
        if upto > first {
            self.change(path, |log| log.trimmed = upto as usize);
        }
        Ok(Done::Trimmed { first: first.max(upto) })
    }

    pub fn seal(&mut self, path: &str) -> Outcome {
        let log = self.log(path)?;
        let end = log.all.len() as u64;
        if !log.sealed {
            self.change(path, |log| log.sealed = true);
        }
        Ok(Done::Sealed { end })
    }

    fn log(&self, path: &str) -> Result<&Log, Refusal> {
        self.check(path, Expect::Any)?;
        self.tree[path].log.as_ref().ok_or_else(|| Refusal::NotLog { path: path.to_owned() })
    }

    fn change<T>(&mut self, path: &str, change: impl FnOnce(&mut Log) -> T) -> T {
        let revision = self.next();
        let node = self.tree.get_mut(path).expect("it was just looked at");
        node.modified = revision;
        let result = change(node.log.as_mut().expect("it was just looked at"));
        self.happens(EventKind::Changed, path, Some(Bytes::new()));
        result
    }
}

impl Node {
    /// What a read of records is answered.
    pub fn records(&self, path: &str, from: u64, bytes: usize) -> Result<Answer, Refusal> {
        let path = path.to_owned();
        let Some(log) = &self.log else { return Err(Refusal::NotLog { path }) };
        let (first, found) = (log.trimmed as u64, log.all.len() as u64);
        if from < first {
            return Err(Refusal::LogTrimmed { path, from, first });
        }
        if from > found {
            return Err(Refusal::LogEnd { path, expected: from, found });
        }
        let most = if bytes == 0 { quorate::limits::LIST_BYTES_MAX } else { bytes };
        let (mut read, mut size) = (Vec::new(), 0);
        for record in &log.all[from as usize..] {
            size += 4 + record.len();
            if size > most && !read.is_empty() {
                break;
            }
            read.push(record);
        }
        Ok(Answer::Records { from, records: read.into_iter().collect(), stat: self.stat() })
    }
}

impl Log {
    /// Bytes of the records that are not trimmed, and four for each.
    pub fn bytes(&self) -> usize {
        self.all[self.trimmed..].iter().map(|record| 4 + record.len()).sum()
    }

    /// A node's numbers, where a log's are others than a file's.
    pub fn stat(&self, stat: Stat) -> Stat {
        Stat {
            version: self.all.len() as u64,
            data_bytes: self.bytes() as u32,
            checksum: crc32fast::hash(&self.chain.to_le_bytes()),
            log: Some(LogStat { first: self.trimmed as u64, sealed: self.sealed }),
            ..stat
        }
    }
}

/// Asked without the model: at one position of one log everybody saw one record, each record was seen at one position
/// only, and if its append was acknowledged, at the position that was acknowledged. How many records were seen.
pub fn judge(history: &History) -> u64 {
    let mut at_position = BTreeMap::new();
    let mut positions = BTreeMap::new();
    for call in &history.calls {
        let Some((_, Ok(Answered::Read { answer, .. }))) = &call.ended else { continue };
        let (Asked::Read { read: Read::Records { path, .. }, .. }, Ok(Answer::Records { from, records, stat })) =
            (&call.asked, answer)
        else {
            continue;
        };
        for (position, record) in (*from..).zip(records.iter()) {
            let place = (path.clone(), stat.instance, position);
            let known = at_position.entry(place.clone()).or_insert_with(|| record.clone());
            assert!(*known == record, "two records at {place:?}");
            let known = positions.entry(record).or_insert_with(|| place.clone());
            assert!(*known == place, "one record at {known:?} and at {place:?}");
        }
    }
    for call in &history.calls {
        let Some((_, Ok(Answered::Request { outcome: Ok(done), .. }))) = &call.ended else { continue };
        let Asked::Request { operation, .. } = &call.asked else { continue };
        let operation = match operation {
            Operation::Guarded { operation, .. } | Operation::Through { operation, .. } => operation,
            operation => operation,
        };
        let (Operation::Append { path, records, .. }, Done::Appended { first, end }) = (operation, done) else {
            continue;
        };
        assert_eq!(records.len() as u64, end - first, "an append's records are all there");
        for (position, record) in (*first..).zip(records.iter()) {
            let Some((seen_in, _, seen_at)) = positions.get(&record) else { continue };
            assert!(
                (seen_in, *seen_at) == (path, position),
                "a record acknowledged at {position} of {path} was seen at {seen_at} of {seen_in}"
            );
        }
    }
    at_position.len() as u64
}
