//! Appending to logs, trimming and sealing them: a command's work on their records, and the checks before it.

use std::sync::Arc;

use super::command::{Done, Expect, Outcome, Refusal, Stat, Usage};
use super::log::Log;
use super::path::too_large;
use super::records::RecordsRef;
use super::slab::Place;
use super::transaction::{Stamp, Transaction};
use super::tree::Aspect;
use crate::limits::{LOG_BYTES_MAX, NODE_DATA_BYTES_MAX};

impl Transaction<'_> {
    /// Adds records at a log's end, and says their first position and the new end.
    pub fn append(&mut self, path: &str, records: RecordsRef<'_>, end: Option<u64>) -> Result<(u64, u64), Refusal> {
        let (place, log) = self.existing_log(path)?;
        let first = log.end();
        if log.is_sealed() {
            return Err(Refusal::LogSealed { path: path.to_owned(), end: first });
        }
        if let Some(expected) = end.filter(|end| *end != first) {
            return Err(Refusal::LogEnd { path: path.to_owned(), expected, found: first });
        }
        if records.is_empty() {
            let why = "an append of no records appends nothing: give it one at least".to_owned();
            return Err(Refusal::BadArgument { why });
        }
        if records.record_bytes_max() > NODE_DATA_BYTES_MAX {
            return Err(too_large("bytes in a record", records.record_bytes_max(), NODE_DATA_BYTES_MAX));
        }
        let bytes = records.run().len();
        if log.bytes() + bytes > LOG_BYTES_MAX {
            return Err(too_large("bytes in the log, which a trim makes fewer", log.bytes() + bytes, LOG_BYTES_MAX));
        }
        let more = Usage { nodes: 0, bytes: bytes as u64 };
        self.check_quotas(path, more)?;
        let node = &self.nodes.tree.row(place).node;
        let due_ns = self.due_after_change(node.stat.expiry, node.due_ns);
        let log = log.append(records);
        let end = log.end();
        self.replace_log(place, log, due_ns);
        self.warn_of_quotas(path, more);
        Ok((first, end))
    }

    /// Drops a log's records before `upto`.
    pub fn trim(&mut self, path: &str, upto: u64) -> Outcome {
        let (place, log) = self.existing_log(path)?;
        if upto > log.end() {
            return Err(Refusal::LogEnd { path: path.to_owned(), expected: upto, found: log.end() });
        }
        if upto > log.first() {
            let due_ns = self.nodes.tree.row(place).node.due_ns;
            self.replace_log(place, log.trim(upto), due_ns);
        }
        Ok(Done::Trimmed { first: upto.max(log.first()) })
    }

    /// Closes a log to further records.
    pub fn seal(&mut self, path: &str) -> Outcome {
        let (place, log) = self.existing_log(path)?;
        if !log.is_sealed() {
            let due_ns = self.nodes.tree.row(place).node.due_ns;
            self.replace_log(place, log.seal(), due_ns);
        }
        Ok(Done::Sealed { end: log.end() })
    }

    fn existing_log(&self, path: &str) -> Result<(Place, Arc<Log>), Refusal> {
        let place = self.existing(path, Expect::Any)?;
        match &self.nodes.tree.row(place).node.log {
            Some(log) => Ok((place, log.clone())),
            None => Err(Refusal::NotLog { path: path.to_owned() }),
        }
    }

    fn replace_log(&mut self, place: Place, log: Log, due_ns: Option<u64>) {
        let Stamp { revision, wall_ms, .. } = self.stamp;
        let node = &self.nodes.tree.row(place).node;
        let stat = Stat { modified: revision, modified_ms: wall_ms, ..node.stat };
        let node = node.with_log(log, stat).with_due(due_ns);
        self.replace(place, Aspect::Data, Arc::new(node));
    }
}
