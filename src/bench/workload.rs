//! What to ask next, and whether what came back can be true.
//!
//! Every value names its key and is otherwise known, and every key has an order that grows with its writes, so that each answer can
//! be held against what this one process has already seen: time of the process is real time for the cell, and an answer
//! older than one received before the question was asked is wrong whichever connection it came by.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

use super::system::Numbers;
use super::wrong::Wrong;
use crate::time::Instant;

/// A value's own part in front of the filler: key, then the number of the write.
pub const VALUE_BYTES_MIN: usize = 16;

/// Keys in one folder of the tree.
const KEYS_A_FOLDER: u32 = 1000;

/// One run's keys, values and mix.
pub struct Workload {
    prefix: String,
    paths: Vec<String>,
    filler: Vec<u8>,
    read_pct: u8,
    random: u64,
    writes_begun: u64,
    keys: Vec<Key>,
    old_allowed: bool,
    old_count: u64,
    wrong: Wrong,
}

/// What is known of one key.
#[derive(Clone, Copy, Default)]
struct Key {
    /// The highest order any finished operation told of.
    seen: u64,
    /// The number of the write that made that order; 0 where it is not known.
    number: u64,
    /// The number of the newest write that was asked for.
    asked: u64,
    /// Its writes when the run began.
    base: u64,
    /// Writes acknowledged since.
    acked: u64,
    /// Writes of which nobody knows whether they were done.
    unknown: u64,
}

/// One operation on its way.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Whether it is a read; else a write.
    pub is_read: bool,
    /// Which key.
    pub key: u32,
    /// When it should have been handed to the client; in a closed loop, when it was.
    pub begun: Instant,
    /// When it was handed to the client.
    pub handed: Instant,
    /// The order that was known already then.
    seen: u64,
    /// Of a write, its number.
    number: u64,
}

impl Workload {
    /// `keys` keys under `prefix`, values of `value_bytes`, and `read_pct` reads in a hundred operations.
    #[must_use]
    pub fn new(prefix: &str, keys: u32, value_bytes: usize, read_pct: u8, seed: u64) -> Self {
        assert!(value_bytes >= VALUE_BYTES_MIN, "a value has room for its key and number");
        assert!(keys > 0 && read_pct <= 100, "there is something to do");
        let mut random = seed | 1;
        let filler = (VALUE_BYTES_MIN..value_bytes).map(|_| next_random(&mut random) as u8).collect();
        let paths = (0..keys).map(|key| key_path(prefix, key)).collect();
        let keys = vec![Key::default(); keys as usize];
        let wrong = Wrong::default();
        let (writes_begun, old_allowed, old_count) = (0, false, 0);
        let prefix = prefix.into();
        Self { prefix, paths, filler, read_pct, random, writes_begun, keys, old_allowed, old_count, wrong }
    }

    /// Old answers to reads are allowed from now on, and only counted.
    pub fn allow_old(&mut self) {
        self.old_allowed = true;
    }

    /// The folders the keys lie in, parents before children.
    #[must_use]
    pub fn folders(&self) -> Vec<String> {
        let mut folders = folders_to(&self.prefix);
        let last = (self.paths.len() as u32 - 1) / KEYS_A_FOLDER;
        folders.extend((0..=last).map(|folder| format!("{}/d{folder:05}", self.prefix)));
        folders
    }

    /// How many keys there are.
    #[must_use]
    pub fn key_count(&self) -> u32 {
        self.paths.len() as u32
    }

    /// A key's path.
    #[must_use]
    pub fn path(&self, key: u32) -> &str {
        &self.paths[key as usize]
    }

    /// The next operation, at random.
    pub fn next(&mut self, begun: Instant, handed: Instant) -> Operation {
        let random = next_random(&mut self.random) >> 11;
        let is_read = random % 100 < u64::from(self.read_pct);
        let key = ((random / 100) % self.paths.len() as u64) as u32;
        Operation { begun, ..self.operation(is_read, key, handed) }
    }

    /// A given operation.
    #[must_use]
    pub fn operation(&self, is_read: bool, key: u32, now: Instant) -> Operation {
        Operation { is_read, key, begun: now, handed: now, seen: self.keys[key as usize].seen, number: 0 }
    }

    /// What this write is to write.
    pub fn value_of(&mut self, write: &mut Operation) -> Bytes {
        let value = self.value(write.key);
        write.number = self.writes_begun;
        value
    }

    /// A value for `key` that was never written before.
    pub fn value(&mut self, key: u32) -> Bytes {
        self.writes_begun += 1;
        self.keys[key as usize].asked = self.writes_begun;
        let mut value = BytesMut::with_capacity(VALUE_BYTES_MIN + self.filler.len());
        value.put_u64_le(u64::from(key));
        value.put_u64_le(self.writes_begun);
        value.put_slice(&self.filler);
        value.freeze()
    }

    /// The key's numbers before the run: what filling made, with the value it asked for last.
    pub fn begin_at(&mut self, key: u32, numbers: Numbers) {
        let key = &mut self.keys[key as usize];
        let number = key.asked;
        *key = Key { seen: numbers.order, number, asked: number, base: numbers.writes, acked: 0, unknown: 0 };
    }

    /// A read came back with this.
    pub fn has_read(&mut self, operation: &Operation, data: &[u8], order: u64) {
        if order < operation.seen {
            self.old_count += 1;
            if !self.old_allowed {
                self.is_wrong(operation, format!("{order} after {} had been seen", operation.seen));
            }
        }
        let (own, filler) = data.split_at(VALUE_BYTES_MIN.min(data.len()));
        if filler != self.filler || own.len() != VALUE_BYTES_MIN || own[..8] != u64::from(operation.key).to_le_bytes() {
            self.is_wrong(operation, format!("{} bytes that were never written to this key", data.len()));
            return self.saw(operation, order, 0);
        }
        let number = u64::from_le_bytes(own[8..].try_into().expect("8 bytes"));
        if number > self.writes_begun {
            self.is_wrong(operation, "a value that was not sent yet".into());
        }
        self.saw(operation, order, number);
    }

    /// A write was acknowledged with this order.
    pub fn has_written(&mut self, operation: &Operation, order: u64) {
        if order <= operation.seen {
            self.is_wrong(operation, format!("made {order} when {} was there", operation.seen));
        }
        self.keys[operation.key as usize].acked += 1;
        self.saw(operation, order, operation.number);
    }

    /// Nobody knows whether the write was done.
    pub fn may_have_written(&mut self, operation: &Operation) {
        self.keys[operation.key as usize].unknown += 1;
    }

    /// At the end, with nothing under way: a key's number of writes counts each acknowledged write once.
    pub fn has_ended_at(&mut self, key: u32, writes: u64) {
        let known = self.keys[key as usize];
        let (least, most) = (known.base + known.acked, known.base + known.acked + known.unknown);
        if !(least..=most).contains(&writes) {
            let operation = self.operation(true, key, Instant::ZERO);
            let lost_or_twice = if writes < least { "was lost" } else { "was applied twice" };
            self.is_wrong(
                &operation,
                format!(
                    "{writes} writes after {} acknowledged ones on {}: one {lost_or_twice}",
                    known.acked, known.base
                ),
            );
        }
    }

    /// An operation was told that there is no such key. Every key was made before the load, and nobody takes one away:
    /// only who may answer with what was long ago may say so.
    pub fn has_missed(&mut self, operation: &Operation) {
        if operation.is_read && self.old_allowed {
            self.old_count += 1;
        } else {
            self.is_wrong(operation, "no such key, though it was made before".into());
        }
    }

    /// At the end, asked as fresh as can be: there is no such key.
    pub fn has_vanished(&mut self, key: u32) {
        let acked = self.keys[key as usize].acked;
        let operation = self.operation(true, key, Instant::ZERO);
        self.is_wrong(&operation, format!("no such key at the end, after {acked} acknowledged writes"));
    }

    /// How many answers were wrong, and the first of them.
    #[must_use]
    pub fn wrong(&self) -> &Wrong {
        &self.wrong
    }

    /// How many reads were older than what had been seen before they were asked.
    #[must_use]
    pub fn old(&self) -> u64 {
        self.old_count
    }

    /// An answer told that the key's value of that order is of the write with that number. Whatever else tells of the same
    /// order must tell of the same write; of those that are past only the order is remembered.
    fn saw(&mut self, operation: &Operation, order: u64, number: u64) {
        let key = &mut self.keys[operation.key as usize];
        if order > key.seen {
            (key.seen, key.number) = (order, number);
        } else if order == key.seen && key.number == 0 {
            key.number = number;
        } else if order == key.seen && number != 0 && number != key.number {
            let known = key.number;
            self.is_wrong(operation, format!("{order} is write {number}, and was write {known} before"));
        }
    }

    fn is_wrong(&mut self, operation: &Operation, how: String) {
        let verb = if operation.is_read { "read" } else { "write" };
        self.wrong.note(|| format!("{verb} of {}: {how}", self.paths[operation.key as usize]));
    }
}

/// The folder and those above it, parents before children.
pub(super) fn folders_to(folder: &str) -> Vec<String> {
    let above = folder.match_indices('/').skip(1).map(|(at, _)| folder[..at].to_owned());
    above.chain([folder.to_owned()]).collect()
}

fn key_path(prefix: &str, key: u32) -> String {
    let mut path = String::with_capacity(prefix.len() + 17);
    write!(path, "{prefix}/d{:05}/k{key:08}", key / KEYS_A_FOLDER).expect("a string takes all");
    path
}

/// xorshift64*: fast, and the same everywhere for one seed.
pub(super) fn next_random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload() -> Workload {
        Workload::new("/bench/b100", 2500, 100, 50, 7)
    }

    #[test]
    fn folders_come_before_what_lies_in_them() {
        let workload = workload();
        assert_eq!(workload.folders()[..3], ["/bench", "/bench/b100", "/bench/b100/d00000"]);
        assert_eq!(workload.folders().len(), 5);
        assert_eq!(workload.path(2499), "/bench/b100/d00002/k00002499");
    }

    #[test]
    fn an_answer_that_can_be_true_is_not_wrong() {
        let mut workload = workload();
        let filled = workload.value(3);
        workload.begin_at(3, Numbers { order: 0, writes: 0 });
        let mut write = workload.operation(false, 3, Instant::ZERO);
        let value = workload.value_of(&mut write);
        let concurrent = workload.operation(true, 3, Instant::ZERO);
        // The write is read before it is acknowledged, and what was there before after it.
        workload.has_read(&concurrent, &value, 1);
        workload.has_written(&write, 1);
        workload.has_read(&concurrent, &filled, 0);
        workload.has_read(&workload.operation(true, 3, Instant::ZERO), &value, 1);
        workload.has_ended_at(3, 1);
        assert_eq!(workload.wrong().count, 0, "{:?}", workload.wrong().first);
    }

    #[test]
    fn a_value_belongs_to_its_version() {
        let mut workload = workload();
        let filled = workload.value(3);
        workload.begin_at(3, Numbers { order: 7, writes: 7 });
        let mut seen = 0;
        let mut is_seen = |workload: &Workload, what: &str| {
            seen += 1;
            assert_eq!(workload.wrong().count, seen, "{what} is seen: {:?}", workload.wrong().first);
        };
        let mut first = workload.operation(false, 3, Instant::ZERO);
        let value = workload.value_of(&mut first);
        let read = workload.operation(true, 3, Instant::ZERO);
        workload.has_read(&read, &value, 7);
        is_seen(&workload, "a later value under the version that filling made");
        workload.has_written(&first, 8);
        workload.has_read(&read, &filled, 8);
        is_seen(&workload, "an old value under the version of an acknowledged write");
        workload.has_read(&read, &value, 8);
        let mut second = workload.operation(false, 3, Instant::ZERO);
        let newer = workload.value_of(&mut second);
        workload.has_read(&read, &newer, 9);
        workload.has_written(&second, 9);
        workload.has_read(&read, &value, 9);
        is_seen(&workload, "two values read under one version");
        let mut third = workload.operation(false, 3, Instant::ZERO);
        workload.value_of(&mut third);
        workload.has_written(&Operation { seen: 0, ..third }, 9);
        is_seen(&workload, "a write acknowledged as the version under which another was read");
    }

    #[test]
    fn every_kind_of_wrong_answer_is_seen() {
        let mut workload = workload();
        let (mine, other) = (workload.value(3), workload.value(4));
        let mut seen = 0;
        let mut is_seen = |workload: &Workload, what: &str| {
            seen += 1;
            assert_eq!(workload.wrong().count, seen, "{what} is seen");
        };
        let write = workload.operation(false, 3, Instant::ZERO);
        workload.has_written(&write, 5);
        let later = workload.operation(true, 3, Instant::ZERO);
        workload.has_read(&later, &mine, 4);
        is_seen(&workload, "a stale read");
        workload.has_read(&later, &other, 5);
        is_seen(&workload, "another key's value");
        workload.has_read(&later, &mine[..99], 5);
        is_seen(&workload, "a cut value");
        let mut future = mine.to_vec();
        future[8] = 200;
        workload.has_read(&later, &future, 5);
        is_seen(&workload, "a value nobody sent");
        workload.has_written(&workload.operation(false, 3, Instant::ZERO), 5);
        is_seen(&workload, "a version given twice");
        workload.begin_at(4, Numbers { order: 7, writes: 7 });
        workload.has_written(&workload.operation(false, 4, Instant::ZERO), 8);
        workload.has_ended_at(4, 7);
        is_seen(&workload, "a lost write");
        workload.has_ended_at(4, 9);
        is_seen(&workload, "a write done twice");
        workload.may_have_written(&workload.operation(false, 4, Instant::ZERO));
        workload.has_ended_at(4, 9);
        assert_eq!(workload.wrong().count, seen, "an unknown write may have been done");
        workload.allow_old();
        workload.has_read(&workload.operation(true, 3, Instant::ZERO), &mine, 1);
        workload.has_missed(&later);
        assert_eq!((workload.wrong().count, workload.old()), (seen, 3), "an old answer that is allowed is counted");
        let mut is_seen = |workload: &Workload, what: &str| {
            seen += 1;
            assert_eq!(workload.wrong().count, seen, "{what} is seen");
        };
        workload.has_missed(&workload.operation(false, 3, Instant::ZERO));
        is_seen(&workload, "a key that is missing where it is written");
        workload.has_vanished(3);
        is_seen(&workload, "a key that is gone at the end, even where no write was acknowledged");
    }
}
