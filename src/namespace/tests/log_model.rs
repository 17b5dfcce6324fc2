//! What logs should do: a list of all records ever appended, of which some are not to be seen any more.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::super::command::{
    Answer, Done, Expect, Expiry, Lifetime, LogStat, Outcome, Records, Refusal, SessionId, Stat, StepDone,
};
use super::model::{Model, ModelNode};

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ModelLog {
    all: Vec<Bytes>,
    trimmed: usize,
    sealed: bool,
}

impl Model {
    pub(super) fn create_log(&mut self, id: SessionId, path: String, lifetime: Lifetime, sequential: bool) -> Outcome {
        let made = self.create(id, path, Bytes::new(), lifetime, sequential)?;
        let StepDone::Created { path, .. } = made else { unreachable!("it creates") };
        let node = self.nodes.get_mut(&path).expect("it was just made");
        node.log = Some(ModelLog::default());
        count(node);
        Ok(Done::Created { path, stat: node.stat })
    }

    pub(super) fn append(&mut self, path: String, records: &Records, end: Option<u64>) -> Result<(u64, u64), Refusal> {
        let log = self.log(&path)?;
        let found = log.all.len() as u64;
        if log.sealed {
            return Err(Refusal::LogSealed { path, end: found });
        }
        if let Some(expected) = end.filter(|end| *end != found) {
            return Err(Refusal::LogEnd { path, expected, found });
        }
        if records.is_empty() {
            let why = "an append of no records appends nothing: give it one at least".into();
            return Err(Refusal::BadArgument { why });
        }
        let more = records.iter().map(|record| record.len() as u64 + 4).sum();
        self.fits(&path, 0, more)?;
        let log_time_ns = self.log_time_ns;
        let node = self.change(&path);
        if let Some(Expiry::Idle { ttl_ms }) = node.stat.expiry {
            node.due = Some(log_time_ns + ttl_ms * 1_000_000);
        }
        node.log.as_mut().expect("seen above").all.extend(records.iter());
        count(node);
        Ok((found, node.stat.version))
    }

    pub(super) fn trim(&mut self, path: String, upto: u64) -> Outcome {
        let log = self.log(&path)?;
        let (first, found) = (log.trimmed as u64, log.all.len() as u64);
        if upto > found {
            return Err(Refusal::LogEnd { path, expected: upto, found });
        }
        if upto > first {
            let node = self.change(&path);
            node.log.as_mut().expect("seen above").trimmed = upto as usize;
            count(node);
        }
        Ok(Done::Trimmed { first: first.max(upto) })
    }

    pub(super) fn seal(&mut self, path: String) -> Outcome {
        let log = self.log(&path)?;
        let (end, sealed) = (log.all.len() as u64, log.sealed);
        if !sealed {
            let node = self.change(&path);
            node.log.as_mut().expect("seen above").sealed = true;
            count(node);
        }
        Ok(Done::Sealed { end })
    }

    fn log(&self, path: &str) -> Result<&ModelLog, Refusal> {
        self.expect(path, Expect::Any)?;
        self.nodes[path].log.as_ref().ok_or_else(|| Refusal::NotLog { path: path.to_owned() })
    }

    fn change(&mut self, path: &str) -> &mut ModelNode {
        let (revision, wall_ms) = (self.revision, self.wall_ms);
        let node = self.nodes.get_mut(path).expect("seen before");
        node.stat = Stat { modified: revision, modified_ms: wall_ms, ..node.stat };
        node
    }
}

impl ModelNode {
    /// The answer to a read of one record, or of as many as `bytes` hold.
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
        let mut left = bytes;
        let mut read = Vec::new();
        for record in &log.all[from as usize..] {
            if !read.is_empty() && record.len() + 4 > left {
                break;
            }
            left = left.saturating_sub(record.len() + 4);
            read.push(record);
        }
        Ok(Answer::Records { from, records: read.into_iter().collect(), stat: self.stat })
    }
}

/// The numbers of a log, all anew.
fn count(node: &mut ModelNode) {
    let log = node.log.as_ref().expect("a log");
    let kept: usize = log.all[log.trimmed..].iter().map(|record| record.len() + 4).sum();
    let chain = log
        .all
        .iter()
        .fold(0_u128, |chain, record| xxh3_128(&[chain.to_le_bytes(), xxh3_128(record).to_le_bytes()].concat()));
    node.stat = Stat {
        version: log.all.len() as u64,
        data_bytes: kept as u32,
        checksum: crc32fast::hash(&chain.to_le_bytes()),
        log: Some(LogStat { first: log.trimmed as u64, sealed: log.sealed }),
        ..node.stat
    };
}
