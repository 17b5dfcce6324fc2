//! The answers a client keeps, where callers find them.
//!
//! The machine decides what comes and goes, and says so ([`Effect::Shelve`](super::Effect::Shelve)); whoever drives it does
//! to the shelf what it says, in order, before anything further is sent. Callers look here without asking the machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Answered;
use crate::namespace::command::{Answer, Read, Refusal, Revision};
use crate::time::Instant;
use crate::wire::cache::keepable;

/// What becomes of a shelf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shelve {
    /// The answer to that question is kept.
    Keep {
        /// What was asked.
        read: Read,
        /// The revision the answer reflects; nothing about it has changed since, or it would not be here.
        revision: Revision,
        /// The answer.
        answer: Box<Result<Answer, Refusal>>,
    },
    /// Everything about these nodes goes.
    Drop(Vec<Arc<str>>),
    /// Everything goes.
    Clear,
    /// What is kept may be used until then.
    Until(Instant),
}

/// How much a client keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheSettings {
    /// Answers kept at most.
    pub answers_max: usize,
    /// Bytes of data and names in them at most.
    pub bytes_max: usize,
}

/// Answers that are kept.
#[derive(Debug)]
pub struct Shelf {
    settings: CacheSettings,
    by_path: BTreeMap<Box<str>, Vec<Kept>>,
    count: usize,
    bytes: usize,
    until: Instant,
}

#[derive(Clone, Debug)]
struct Kept {
    read: Read,
    revision: Revision,
    answer: Box<Result<Answer, Refusal>>,
    bytes: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { answers_max: 4096, bytes_max: 64 << 20 }
    }
}

impl Shelf {
    /// An empty shelf.
    #[must_use]
    pub fn new(settings: CacheSettings) -> Self {
        Self { settings, by_path: BTreeMap::new(), count: 0, bytes: 0, until: Instant::ZERO }
    }

    /// Does what the machine says.
    pub fn take(&mut self, shelve: Shelve) {
        match shelve {
            Shelve::Keep { read, revision, answer } => self.keep(read, revision, answer),
            Shelve::Drop(paths) => paths.iter().for_each(|path| self.drop_all(path)),
            Shelve::Clear => self.clear(),
            Shelve::Until(until) => self.until = until,
        }
    }

    /// What is kept of the answer to a question, and until when it may be used. **The clock is to be read after this**:
    /// only if it shows an earlier time, the answer held when it was found.
    #[must_use]
    pub fn find(&self, read: &Read) -> Option<(Answered, Instant)> {
        let (path, _) = keepable(read.as_ref())?;
        let kept = self.by_path.get(path)?.iter().find(|kept| kept.read == *read)?;
        Some((Answered::Read { revision: kept.revision, answer: (*kept.answer).clone() }, self.until))
    }

    /// All that may be used at that time: what was asked, the revision the answer was of, and the answer.
    pub fn usable_at(&self, now: Instant) -> impl Iterator<Item = (&Read, Revision, &Result<Answer, Refusal>)> {
        let all = self.by_path.values().flatten().filter(move |_| now < self.until);
        all.map(|kept| (&kept.read, kept.revision, &*kept.answer))
    }

    /// Answers kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn keep(&mut self, read: Read, revision: Revision, answer: Box<Result<Answer, Refusal>>) {
        let Some((path, _)) = keepable(read.as_ref()) else { return };
        let bytes = path.len() + bytes_of(&answer);
        if bytes > self.settings.bytes_max || self.settings.answers_max == 0 {
            return;
        }
        if self.count >= self.settings.answers_max || self.bytes + bytes > self.settings.bytes_max {
            // What is used comes back by itself.
            self.clear();
        }
        let path: Box<str> = path.into();
        let of_node = self.by_path.entry(path).or_default();
        if let Some(before) = of_node.iter().position(|kept| kept.read == read) {
            self.bytes -= of_node.swap_remove(before).bytes;
            self.count -= 1;
        }
        of_node.push(Kept { read, revision, answer, bytes });
        self.count += 1;
        self.bytes += bytes;
    }

    fn drop_all(&mut self, path: &str) {
        for kept in self.by_path.remove(path).unwrap_or_default() {
            self.count -= 1;
            self.bytes -= kept.bytes;
        }
    }

    fn clear(&mut self) {
        self.by_path.clear();
        (self.count, self.bytes) = (0, 0);
    }
}

fn bytes_of(answer: &Result<Answer, Refusal>) -> usize {
    match answer {
        Ok(Answer::Node { data, .. }) => data.len(),
        Ok(Answer::Children { names, .. }) => names.iter().map(|name| name.len() + 24).sum(),
        Ok(Answer::Entries { entries, .. }) => entries.iter().map(|(name, _)| name.len() + 160).sum(),
        Ok(_) | Err(_) => 0,
    }
}
