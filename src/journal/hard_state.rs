//! What must never be forgotten besides the log: who this replica is, what it promised, how long it may have to wait.
//!
//! ```text
//! hard-state   4 copies, 64 KiB apart, each in one block:
//!    0  magic "QHST" | format u16 | 2 zeros
//!    8  cell u128 | replica u64 | incarnation u128
//!   48  sequence u64 | start u64
//!   64  promised round u64, replica u64 | lease_max ns u64 | config slot u64
//!   96  length u32, config | length u32, previous config
//! 4092  CRC-32 of all before
//! ```
//!
//! A save writes copies 0 and 1, flushes, then 2 and 3, flushes: at every instant two copies are whole and not being
//! written. The highest whole sequence counts. Only when all four hold it is the save done; a crash before that may bring
//! either state back, and neither has been spoken of.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::Identity;
use super::record::FORMAT_VERSION;
use crate::limits::BLOCK_BYTES;
use crate::paxos::{Ballot, CellId, Config, HardState, Incarnation, ReplicaId, Slot, Value};
use crate::time::Duration;

/// The file's size, in bytes.
pub const FILE_BYTES: usize = COPIES * STRIDE_BYTES;

/// What the file said when the process started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    pub identity: Identity,
    /// The version found.
    pub sequence: u64,
    /// The newest start of the process that it knows.
    pub start: u64,
    pub state: HardState,
}

/// Why the file is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Error {
    /// Written by a later program.
    #[error("the hard state is in format {found}, and this program reads up to {FORMAT_VERSION}")]
    NewerFormat { found: u16 },
    /// No copy is whole.
    #[error("none of the four copies of the hard state is whole")]
    Amnesia,
}

/// One block to be made durable.
#[derive(Clone, Debug)]
pub struct CopyWrite {
    pub id: u64,
    pub offset: u64,
    pub pieces: Vec<Bytes>,
}

/// The hard state of a running replica: saves under way.
#[derive(Debug)]
pub struct HardStateFile {
    identity: Identity,
    start: u64,
    sequence: u64,
    wanted: Option<(u64, HardState)>,
    saving: Option<Saving>,
    last_id: u64,
}

#[derive(Debug)]
struct Saving {
    version: u64,
    block: Bytes,
    /// The next copy to be written.
    copy: usize,
    /// Writes that have not completed.
    under_way: usize,
}

/// The content of a fresh replica's file.
#[must_use]
pub fn format(identity: Identity, state: &HardState) -> Vec<u8> {
    let block = encode(&Loaded { identity, sequence: 1, start: 0, state: state.clone() });
    let mut file = vec![0; FILE_BYTES];
    for copy in 0..COPIES {
        file[copy * STRIDE_BYTES..][..BLOCK_BYTES].copy_from_slice(&block);
    }
    file
}

/// What the file's bytes say.
///
/// # Errors
///
/// When no copy is whole, or the newest is of a later program.
pub fn load(file: &[u8]) -> Result<Loaded, Error> {
    let copies: Vec<_> =
        (0..COPIES).filter_map(|copy| file.get(copy * STRIDE_BYTES..)?.get(..BLOCK_BYTES)).filter_map(decode).collect();
    let newer = copies.iter().find_map(|copy| copy.as_ref().err().copied());
    match newer {
        Some(error) => Err(error),
        None => copies.into_iter().flatten().max_by_key(|loaded| loaded.sequence).ok_or(Error::Amnesia),
    }
}

impl HardStateFile {
    /// Goes on from what was loaded, in the start of that number. The first save rewrites every copy.
    #[must_use]
    pub fn open(loaded: &Loaded, start: u64) -> Self {
        Self { identity: loaded.identity, start, sequence: loaded.sequence, wanted: None, saving: None, last_id: 0 }
    }

    /// Wants that state on disk. One that is wanted while another is being saved waits, and overtakes any that waits.
    pub fn save(&mut self, version: u64, state: HardState) {
        assert!(self.wanted.as_ref().is_none_or(|(waiting, _)| *waiting < version), "versions count up");
        self.wanted = Some((version, state));
    }

    /// The next block to be made durable; none while the ones before must complete first.
    pub fn next_write(&mut self) -> Option<CopyWrite> {
        if self.saving.is_none() {
            let (version, state) = self.wanted.take()?;
            self.sequence += 1;
            let loaded = Loaded { identity: self.identity, sequence: self.sequence, start: self.start, state };
            self.saving = Some(Saving { version, block: encode(&loaded).freeze(), copy: 0, under_way: 0 });
        }
        let saving = self.saving.as_mut().expect("it was just made");
        let pair_is_out = saving.copy == COPIES || saving.copy == 2 && saving.under_way > 0;
        if pair_is_out {
            return None;
        }
        self.last_id += 1;
        let offset = (saving.copy * STRIDE_BYTES) as u64;
        saving.copy += 1;
        saving.under_way += 1;
        Some(CopyWrite { id: self.last_id, offset, pieces: vec![saving.block.clone()] })
    }

    /// A block is durable. The version that is now saved in all copies, and the sequence it has in the file.
    pub fn completed(&mut self, id: u64) -> Option<(u64, u64)> {
        assert!(id <= self.last_id, "only what was written completes");
        let saving = self.saving.as_mut().expect("a write belongs to a save");
        saving.under_way -= 1;
        if saving.copy < COPIES || saving.under_way > 0 {
            return None;
        }
        let version = saving.version;
        self.saving = None;
        Some((version, self.sequence))
    }
}

fn encode(loaded: &Loaded) -> BytesMut {
    let mut fields = BytesMut::with_capacity(BLOCK_BYTES);
    fields.put_slice(&MAGIC);
    fields.put_u16_le(FORMAT_VERSION);
    fields.put_u16_le(0);
    fields.put_u128_le(loaded.identity.cell.0);
    fields.put_u64_le(u64::from(loaded.identity.replica.0));
    fields.put_u128_le(loaded.identity.incarnation.0);
    fields.put_u64_le(loaded.sequence);
    fields.put_u64_le(loaded.start);
    let state = &loaded.state;
    fields.put_u64_le(state.promised.round);
    fields.put_u64_le(u64::from(state.promised.replica.0));
    fields.put_u64_le(state.lease_max.as_nanos());
    fields.put_u64_le(state.config_slot.0);
    for config in [&state.config, &state.previous] {
        let value = config.to_value();
        fields.put_u32_le(value.bytes().len() as u32);
        fields.put_slice(value.bytes());
    }
    assert!(fields.len() <= CRC_AT, "the largest member list fits a block");
    // Direct writes start on a block of memory.
    let mut room = BytesMut::zeroed(2 * BLOCK_BYTES);
    let mut block = room.split_off(room.as_ptr().align_offset(BLOCK_BYTES));
    block.truncate(BLOCK_BYTES);
    block[..fields.len()].copy_from_slice(&fields);
    let crc = crc32fast::hash(&block[..CRC_AT]);
    block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    block
}

/// What a copy says; none if it is not whole.
fn decode(block: &[u8]) -> Option<Result<Loaded, Error>> {
    if block[..4] != MAGIC || crc32fast::hash(&block[..CRC_AT]).to_le_bytes() != block[CRC_AT..] {
        return None;
    }
    let mut fields = &block[4..CRC_AT];
    let found = fields.get_u16_le();
    if found > FORMAT_VERSION {
        return Some(Err(Error::NewerFormat { found }));
    }
    fields.advance(2);
    let cell = CellId(fields.get_u128_le());
    let replica = ReplicaId(fields.get_u64_le() as u8);
    let identity = Identity { cell, replica, incarnation: Incarnation(fields.get_u128_le()) };
    let (sequence, start) = (fields.get_u64_le(), fields.get_u64_le());
    let promised = Ballot { round: fields.get_u64_le(), replica: ReplicaId(fields.get_u64_le() as u8) };
    let lease_max = Duration::from_nanos(fields.get_u64_le());
    let config_slot = Slot(fields.get_u64_le());
    let mut config = || {
        let length = fields.try_get_u32_le().ok()? as usize;
        let (bytes, rest) = fields.split_at_checked(length)?;
        fields = rest;
        Config::from_value(&Value::copy_of(bytes))
    };
    let state = HardState { promised, lease_max, config_slot, config: config()?, previous: config()? };
    Some(Ok(Loaded { identity, sequence, start, state }))
}

const MAGIC: [u8; 4] = *b"QHST";
const COPIES: usize = 4;
const STRIDE_BYTES: usize = 64 << 10;
const CRC_AT: usize = BLOCK_BYTES - 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Member;

    fn identity() -> Identity {
        Identity { cell: CellId(7), replica: ReplicaId(2), incarnation: Incarnation(9) }
    }

    fn state(round: u64) -> HardState {
        let member = |id| Member { replica: ReplicaId(id), incarnation: (id < 3).then_some(Incarnation(u128::from(id))) };
        let config = Config::new((1..=13).map(member).collect());
        HardState { promised: Ballot { round, replica: ReplicaId(1) }, config_slot: Slot(3), ..HardState::fresh(config) }
    }

    fn put(file: &mut [u8], write: &CopyWrite) {
        file[write.offset as usize..][..BLOCK_BYTES].copy_from_slice(&write.pieces[0]);
    }

    #[test]
    fn a_fresh_file_says_what_it_was_made_of() {
        let loaded = load(&format(identity(), &state(0))).expect("it is whole");
        assert_eq!(loaded, Loaded { identity: identity(), sequence: 1, start: 0, state: state(0) });
    }

    #[test]
    fn a_crash_at_any_point_of_a_save_leaves_the_old_state_or_the_new() {
        for torn_after in 0..=4 {
            let mut disk = format(identity(), &state(1));
            let mut file = HardStateFile::open(&load(&disk).expect("whole"), 1);
            file.save(1, state(2));
            let mut done = None;
            for _ in 0..torn_after {
                let write = file.next_write().expect("four writes");
                put(&mut disk, &write);
                done = file.completed(write.id);
            }
            // The write under way at the crash leaves its block half old, half new.
            if let Some(write) = file.next_write() {
                disk[write.offset as usize..][..BLOCK_BYTES / 2].copy_from_slice(&write.pieces[0][..BLOCK_BYTES / 2]);
            }
            let round = load(&disk).expect("two copies are whole").state.promised.round;
            assert_eq!(done.is_some(), torn_after == 4, "done only when all copies are");
            assert!(round == if torn_after == 0 { 1 } else { 2 }, "after {torn_after} writes");
        }
    }

    #[test]
    fn the_second_pair_waits_for_the_first() {
        let loaded = load(&format(identity(), &state(1))).expect("whole");
        let mut file = HardStateFile::open(&loaded, 1);
        file.save(1, state(2));
        let first = [file.next_write().expect("copy 0"), file.next_write().expect("copy 1")];
        assert!(file.next_write().is_none(), "two copies stay untouched");
        file.save(2, state(3));
        file.save(3, state(4));
        assert_eq!(file.completed(first[0].id), None);
        assert!(file.next_write().is_none());
        assert_eq!(file.completed(first[1].id), None);
        let second = [file.next_write().expect("copy 2"), file.next_write().expect("copy 3")];
        assert_eq!((file.completed(second[0].id), file.completed(second[1].id)), (None, Some((1, 2))));
        assert!(file.next_write().is_some(), "the newest that was wanted meanwhile");
    }

    #[test]
    fn any_three_copies_may_be_lost() {
        for kept in 0..COPIES {
            let mut disk = format(identity(), &state(5));
            for copy in (0..COPIES).filter(|copy| *copy != kept) {
                disk[copy * STRIDE_BYTES + 70] ^= 1;
            }
            assert_eq!(load(&disk).expect("one is whole").state.promised.round, 5);
            disk[kept * STRIDE_BYTES + 70] ^= 1;
            assert_eq!(load(&disk), Err(Error::Amnesia));
        }
    }
}
