//! What must never be forgotten, in four copies.
//!
//! ```text
//! hard-state   0       64 KiB    128 KiB   192 KiB      each copy one block, each at its own stride
//!              copy 0  copy 1    copy 2    copy 3
//!              \_ one pair ___/  \_ other pair _/
//! ```
//!
//! A change is written to one pair, flushed, then to the other, flushed; only then may anyone be told. So one pair is
//! whole at every moment, whatever a crash does to the other, and a damaged block or two are survived. The newest whole
//! copy counts. A start saves once before it speaks, which makes all four equal again. A copy that is found damaged while
//! the replica runs is written again from what is known ([`HardStateFile::write_again`]), with all the others, the damaged
//! pair first.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::Identity;
use super::record::FORMAT_VERSION;
use crate::limits::BLOCK_BYTES;
use crate::paxos::{Acknowledged, Ballot, CellId, Config, Configs, HardState, Incarnation, ReplicaId, Slot};
use crate::time::Duration;

/// Distance between copies, in bytes: no device damages two of them at once by failing one of its own pages.
pub const STRIDE_BYTES: usize = 64 << 10;

/// Size of the file, in bytes.
pub const FILE_BYTES: usize = COPIES * STRIDE_BYTES;

/// How many there are.
pub const COPIES: usize = 4;

/// Everything in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contents {
    /// Whose file this is. The incarnation is told nowhere else.
    pub identity: Identity,
    /// What Paxos must remember.
    pub paxos: HardState,
    /// The newest image; `None`: the log holds everything from slot 1 on.
    pub image: Option<ImagePointer>,
    /// Every slot up to there is chosen, as some image proved, whichever image is pointed to or can still be read.
    pub chosen_upto: Slot,
    /// The newest start of which the journal holds a durable record.
    pub start: u64,
}

/// Which image the log goes on from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImagePointer {
    /// Everything up to there is in it.
    pub slot: Slot,
    /// The state machine's revision in it.
    pub revision: u64,
    /// When this was saved, every record up to that slot was durable. Otherwise the log may not lead there: the image was
    /// fetched, or the records wait for room.
    pub is_led_to: bool,
}

/// One copy to be written and flushed. Answered by [`HardStateFile::completed`].
#[derive(Debug)]
pub struct HardStateWrite {
    /// Counts up from 1.
    pub id: u64,
    /// Where it goes, in bytes.
    pub offset: u64,
    /// One block.
    pub pieces: Vec<Bytes>,
}

/// Why a hard state cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum HardStateError {
    /// No copy is whole.
    #[error(
        "all four copies of the hard state are damaged: this replica no longer knows what it promised and must not vote; \
         bring it back with an empty folder: quorate recover"
    )]
    Amnesia,
    /// Somebody else's.
    #[error("the hard state is of cell {found}, and the configuration names cell {needed}; name the right folder")]
    ForeignCell { found: CellId, needed: CellId },
    /// Written by a later program.
    #[error("the hard state is in format {found}, and this program reads up to {newest}; start the newer program")]
    NewerFormat { found: u16, newest: u16 },
}

/// The writing end of the file.
#[derive(Debug)]
pub struct HardStateFile {
    contents: Contents,
    /// What all four copies hold.
    settled: Contents,
    /// Rises with every round of four copies.
    sequence: u64,
    durable: u64,
    /// The newest version asked to be saved, and the one that is durable.
    version: u64,
    version_durable: u64,
    /// `contents` differs from what was last encoded.
    changed: bool,
    /// The pair to be written first: never the only one that holds the newest copy.
    first_pair: usize,
    round: Option<Round>,
    writes: u64,
    damaged_copies: usize,
}

/// One round of four copies.
#[derive(Debug)]
struct Round {
    version: u64,
    contents: Contents,
    block: Bytes,
    /// The copies still to be handed out, last one first; the upper two wait for the lower two.
    copies: Vec<usize>,
    under_way: BTreeSet<u64>,
}

/// One of the four copies, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopyState {
    /// It is what was written, in that round of copies.
    Whole { sequence: u64, contents: Box<Contents> },
    /// A later program wrote it.
    Newer(u16),
    /// Anything else.
    Damaged,
}

/// The copies in a file's bytes, whatever those are.
pub fn copies(file: &[u8]) -> impl Iterator<Item = CopyState> {
    (0..COPIES).map(|copy| {
        let block = file.get(copy * STRIDE_BYTES..).and_then(|rest| rest.get(..BLOCK_BYTES));
        match block.map_or(Ok(None), decode) {
            Ok(Some((sequence, contents))) => CopyState::Whole { sequence, contents: Box::new(contents) },
            Err(HardStateError::NewerFormat { found, .. }) => CopyState::Newer(found),
            Ok(None) | Err(HardStateError::Amnesia | HardStateError::ForeignCell { .. }) => CopyState::Damaged,
        }
    })
}

impl Contents {
    /// What `format` writes for a replica of a cell with these members.
    #[must_use]
    pub fn fresh(identity: Identity, paxos: HardState) -> Self {
        Self { identity, paxos, image: None, chosen_upto: Slot(0), start: 0 }
    }
}

impl HardStateFile {
    /// The file of a freshly formatted replica, [`FILE_BYTES`] long.
    #[must_use]
    pub fn format(identity: Identity, paxos: &HardState) -> Bytes {
        Self::file_of(&Contents::fresh(identity, paxos.clone()))
    }

    /// The file of a replica that is made with an image to start from, [`FILE_BYTES`] long.
    #[must_use]
    pub fn format_with(identity: Identity, paxos: &HardState, image: ImagePointer) -> Bytes {
        let contents =
            Contents { image: Some(image), chosen_upto: image.slot, ..Contents::fresh(identity, paxos.clone()) };
        Self::file_of(&contents)
    }

    fn file_of(contents: &Contents) -> Bytes {
        let mut file = BytesMut::zeroed(FILE_BYTES);
        for copy in 0..COPIES {
            file[copy * STRIDE_BYTES..][..BLOCK_BYTES].copy_from_slice(&encode(contents, 1));
        }
        file.freeze()
    }

    /// Reads the file's bytes. Never panics, whatever they are.
    ///
    /// # Errors
    ///
    /// [`HardStateError`], if nothing can be relied on.
    pub fn open(cell: CellId, file: &[u8]) -> Result<Self, HardStateError> {
        let mut newest: Option<(u64, Contents)> = None;
        let mut sequences = [0; COPIES];
        for (copy, sequence) in sequences.iter_mut().enumerate() {
            let block = file.get(copy * STRIDE_BYTES..).and_then(|rest| rest.get(..BLOCK_BYTES));
            let Some((found, contents)) = block.map_or(Ok(None), decode)? else { continue };
            *sequence = found;
            if newest.as_ref().is_none_or(|(sequence, _)| found > *sequence) {
                newest = Some((found, contents));
            }
        }
        let (sequence, contents) = newest.ok_or(HardStateError::Amnesia)?;
        if contents.identity.cell != cell {
            return Err(HardStateError::ForeignCell { found: contents.identity.cell, needed: cell });
        }
        let lower_is_newest = sequences[..2].contains(&sequence);
        Ok(Self {
            settled: contents.clone(),
            contents,
            sequence,
            durable: sequence,
            version: 0,
            version_durable: 0,
            changed: false,
            first_pair: usize::from(lower_is_newest),
            round: None,
            writes: 0,
            damaged_copies: sequences.iter().filter(|found| **found == 0).count(),
        })
    }

    /// Paxos' part is to be saved. Of several saves waiting only the newest is written.
    pub fn save(&mut self, version: u64, state: HardState) {
        assert!(version > self.version, "versions rise");
        assert!(state.promised >= self.contents.paxos.promised, "a promise never falls");
        self.version = version;
        self.contents.paxos = state;
        drop_unnamed(&mut self.contents.paxos);
        self.changed = true;
    }

    /// The journal holds a durable record of that start, and proved that `promised` was promised. Also makes all four
    /// copies equal, so every start saves it. The record that proved the promise may be one that the start cut off.
    pub fn save_start(&mut self, start: u64, promised: Ballot) {
        assert!(start > self.contents.start, "starts are numbered upwards");
        self.contents.start = start;
        self.contents.paxos.promised = self.contents.paxos.promised.max(promised);
        self.changed = true;
    }

    /// An image is durable, its folder entry included.
    pub fn save_image(&mut self, image: ImagePointer) {
        assert!(self.contents.image.is_none_or(|before| before.slot <= image.slot), "images only move forward");
        self.point_to(image);
    }

    /// An image of another replica is durable, and the state is to go on from it. The member lists in it come along in
    /// the same block, unless newer ones are known, and so does what this process remembers of others' disks.
    pub fn save_fetched(&mut self, image: ImagePointer, configs: Configs, acknowledged: &[Acknowledged]) {
        let paxos = &mut self.contents.paxos;
        paxos.acknowledged = acknowledged.to_vec();
        if configs.newest_slot() > paxos.configs.newest_slot() {
            paxos.configs = configs;
        }
        drop_unnamed(paxos);
        self.point_to(image);
    }

    fn point_to(&mut self, image: ImagePointer) {
        self.contents.image = Some(image);
        self.contents.chosen_upto = self.contents.chosen_upto.max(image.slot);
        self.changed = true;
    }

    /// Where each copy lies, in bytes.
    #[must_use]
    pub const fn place_of(copy: usize) -> u64 {
        (copy * STRIDE_BYTES) as u64
    }

    /// Whether `block`, read from the place of some copy while nothing was under way, is what all four are to hold.
    #[must_use]
    pub fn is_held_by(&self, block: &[u8]) -> bool {
        let found = block.get(..BLOCK_BYTES).map_or(Ok(None), decode);
        matches!(found, Ok(Some((sequence, contents))) if sequence == self.durable && contents == self.settled)
    }

    /// These copies do not hold what they should: all four are to be written again, and first the pair with the first of
    /// these, since the other may be all there is.
    pub fn write_again(&mut self, damaged: &[usize]) {
        assert!(self.is_idle(), "a copy is judged while nothing is under way");
        let first = *damaged.first().expect("something is damaged");
        let others = damaged.iter().filter(|copy| *copy / 2 != first / 2).count();
        assert!(others < 2, "one pair at least holds a whole copy while the other is written");
        self.first_pair = first / 2;
        self.changed = true;
    }

    /// The next copy to be written.
    pub fn next_write(&mut self) -> Option<HardStateWrite> {
        if self.round.is_none() && self.changed {
            self.changed = false;
            self.sequence += 1;
            let [first, second] = [self.first_pair, 1 - self.first_pair].map(|pair| [2 * pair + 1, 2 * pair]);
            let copies = second.into_iter().chain(first).collect();
            let block = encode(&self.contents, self.sequence);
            let (version, contents) = (self.version, self.contents.clone());
            self.round = Some(Round { version, contents, block, copies, under_way: BTreeSet::new() });
        }
        let round = self.round.as_mut()?;
        let second_pair_waits = round.copies.len() == 2 && !round.under_way.is_empty();
        if second_pair_waits {
            return None;
        }
        let copy = round.copies.pop()?;
        self.writes += 1;
        round.under_way.insert(self.writes);
        Some(HardStateWrite { id: self.writes, offset: Self::place_of(copy), pieces: vec![round.block.clone()] })
    }

    /// That copy is durable. Returns the version that is durable in all four copies, if that rose.
    pub fn completed(&mut self, id: u64) -> Option<u64> {
        let round = self.round.as_mut().expect("only a copy under way completes");
        assert!(round.under_way.remove(&id), "only a copy under way completes, and once");
        if !round.copies.is_empty() || !round.under_way.is_empty() {
            return None;
        }
        let Round { version, contents, .. } = self.round.take().expect("it was just seen");
        self.settled = contents;
        self.durable = self.sequence;
        let rose = version > self.version_durable;
        self.version_durable = version;
        rose.then_some(version)
    }

    /// What the file holds, or will once the saves asked for are durable.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// What all four copies of the file hold, or what was found at the start.
    #[must_use]
    pub fn settled(&self) -> &Contents {
        &self.settled
    }

    /// The newest sequence that all four copies have, or that was found at the start; for
    /// [`super::Journal::hard_state_durable`].
    #[must_use]
    pub fn durable_sequence(&self) -> u64 {
        self.durable
    }

    /// Whether nothing waits to be written or to become durable.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.round.is_none() && !self.changed
    }

    /// How many copies were found damaged at the start; for the operator.
    #[must_use]
    pub fn damaged_copies(&self) -> usize {
        self.damaged_copies
    }
}

/// One copy:
///
/// ```text
///    0  magic "QuorHard"   8  format u16   10  zeros   16  sequence u64
///   24  cell u128   40  incarnation u128   56  replica u8   57  image: 0 none, 1 there, 3 there and led to   58  zeros
///   64  promised round u64   72  its replica u64   80  longest lease, ns u64   88  start u64
///   96  image: slot u64, revision u64   112  chosen upto u64
///  120  member lists: the newest, and the one before
///       what others' disks acknowledged: how many u8, and of each replica u8, round u64, its replica u8, slot u64; zeros
/// 4092  CRC-32 of all before
/// ```
fn encode(contents: &Contents, sequence: u64) -> Bytes {
    let Contents { identity, paxos, image, chosen_upto, start } = contents;
    let mut block = aligned_block();
    let put = |block: &mut BytesMut, at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(&mut block, 0, MAGIC);
    put(&mut block, 8, &FORMAT_VERSION.to_le_bytes());
    put(&mut block, 24, &identity.cell.0.to_le_bytes());
    put(&mut block, 40, &identity.incarnation.0.to_le_bytes());
    let kind = image.map_or(NO_IMAGE, |image| if image.is_led_to { LED_TO } else { NOT_LED_TO });
    put(&mut block, 56, &[identity.replica.0, kind]);
    let pointer = image.unwrap_or(ImagePointer { slot: Slot(0), revision: 0, is_led_to: false });
    for (at, number) in [
        (16, sequence),
        (64, paxos.promised.round),
        (72, u64::from(paxos.promised.replica.0)),
        (80, paxos.lease_max.as_nanos()),
        (88, *start),
        (96, pointer.slot.0),
        (104, pointer.revision),
        (112, chosen_upto.0),
    ] {
        put(&mut block, at, &number.to_le_bytes());
    }
    let mut configs = Vec::new();
    paxos.configs.put(&mut configs);
    put_acknowledged(&paxos.acknowledged, &mut configs);
    assert!(CONFIGS_AT + configs.len() <= CRC_AT, "two member lists and a word of each member fit a block");
    put(&mut block, CONFIGS_AT, &configs);
    let crc = crc32fast::hash(&block[..CRC_AT]);
    put(&mut block, CRC_AT, &crc.to_le_bytes());
    block.freeze()
}

/// Zeros, starting on a block of memory so that they can be written past the page cache, whatever the allocator does.
pub(super) fn aligned_block() -> BytesMut {
    let mut memory = BytesMut::zeroed(2 * BLOCK_BYTES);
    let lead = memory.as_ptr().align_offset(BLOCK_BYTES);
    let mut block = memory.split_off(lead);
    block.truncate(BLOCK_BYTES);
    block
}

/// A whole copy and its sequence; `None` if it is damaged.
fn decode(block: &[u8]) -> Result<Option<(u64, Contents)>, HardStateError> {
    if block[..8] != *MAGIC || crc32fast::hash(&block[..CRC_AT]).to_le_bytes() != block[CRC_AT..] {
        return Ok(None);
    }
    let number = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("8 bytes"));
    let wide = |at: usize| u128::from_le_bytes(block[at..at + 16].try_into().expect("16 bytes"));
    let found = u16::from_le_bytes([block[8], block[9]]);
    if found > FORMAT_VERSION {
        return Err(HardStateError::NewerFormat { found, newest: FORMAT_VERSION });
    }
    let mut rest = &block[CONFIGS_AT..CRC_AT];
    let Some(configs) = Configs::take(&mut rest) else { return Ok(None) };
    let Some(acknowledged) = take_acknowledged(rest, configs.newest()) else { return Ok(None) };
    let Ok(promised_to) = u8::try_from(number(72)) else { return Ok(None) };
    let image = ImagePointer { slot: Slot(number(96)), revision: number(104), is_led_to: block[57] == LED_TO };
    let contents = Contents {
        identity: Identity {
            cell: CellId(wide(24)),
            replica: ReplicaId(block[56]),
            incarnation: Incarnation(wide(40)),
        },
        paxos: HardState {
            promised: Ballot { round: number(64), replica: ReplicaId(promised_to) },
            configs,
            lease_max: Duration::from_nanos(number(80)),
            acknowledged,
        },
        image: matches!(block[57], NOT_LED_TO | LED_TO).then_some(image),
        chosen_upto: Slot(number(112)),
        start: number(88),
    };
    Ok(Some((number(16), contents)))
}

/// Whose disk it was needs no room: the newest list names it.
fn put_acknowledged(words: &[Acknowledged], out: &mut Vec<u8>) {
    out.push(u8::try_from(words.len()).expect("one word of each member"));
    for Acknowledged { replica, ballot, upto, .. } in words {
        out.push(replica.0);
        out.extend_from_slice(&ballot.round.to_le_bytes());
        out.push(ballot.replica.0);
        out.extend_from_slice(&upto.0.to_le_bytes());
    }
}

fn take_acknowledged(mut rest: &[u8], members: &Config) -> Option<Vec<Acknowledged>> {
    let [count] = *rest.split_off(..1)? else { return None };
    let word = |_| {
        let word = rest.split_off(..ACKNOWLEDGED_BYTES)?;
        let number = |at: usize| u64::from_le_bytes(word[at..at + 8].try_into().expect("8 bytes"));
        let (replica, ballot) = (ReplicaId(word[0]), Ballot { round: number(1), replica: ReplicaId(word[9]) });
        let incarnation = members.member(replica)?.incarnation?;
        Some(Acknowledged { replica, incarnation, ballot, upto: Slot(number(10)) })
    };
    (0..count).map(word).collect()
}

/// Words are kept of disks that the newest list names.
fn drop_unnamed(state: &mut HardState) {
    let HardState { configs, acknowledged, .. } = state;
    acknowledged.retain(|word| configs.newest().names(word.replica, word.incarnation));
}

/// What is said of the image.
const NO_IMAGE: u8 = 0;
const NOT_LED_TO: u8 = 1;
const LED_TO: u8 = 3;

const MAGIC: &[u8; 8] = b"QuorHard";
const CONFIGS_AT: usize = 120;
const ACKNOWLEDGED_BYTES: usize = 18;
const CRC_AT: usize = BLOCK_BYTES - 4;

#[cfg(test)]
mod tests;
