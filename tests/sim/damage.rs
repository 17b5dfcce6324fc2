//! Damage to what a disk holds: flipped bits, blocks that read as nothing or not at all, blocks that belong elsewhere,
//! writes that went astray; and reads that do, of which nothing is left on the disk.
//!
//! It strikes one copy at a time of what four copies hold, and records of the log, one node's alone in a run, and of each
//! record one block: whatever it holds, a majority holds it whole, and what two blocks of a record say is never gone from
//! both. So the cell must be able to go on, and that replica with it; no repair may rest on a value that is not chosen, and
//! nothing that was acknowledged may be called *never accepted* ([`super::oracle`]).
//!
//! Where crashes tear writes beside that ([`Reach::crashes_tear`]), damage keeps clear of the tail that they tear, and in a
//! node that is to be mended to values that are chosen: a majority has voted for such a one durably, and at most one of its disks
//! is the damaged one, so that somebody holds the value or knows it chosen. A vote that is damaged before it was chosen would be
//! one that nobody can deny when another's is torn: *lost* beside *maybe* waits for ever, as it must. Nor is a copy of the hard
//! state damaged then: a crash may tear two, and of the other two one would be gone.
//!
//! In a run that goes *beyond repair* it strikes every node's log, but for the newest records: of a vote that every member
//! has damaged in the window that a crash leaves open nobody can say whether it was torn. Then the cell may stand still, and
//! whatever it still says must be right.

use quorate::journal::SegmentId;
use quorate::journal::hard_state::{self, COPIES, CopyState, STRIDE_BYTES};
use quorate::journal::record::{Block, Twin};
use quorate::limits::BLOCK_BYTES;
use quorate::paxos::Slot;

use super::disk::{Disk, Misread};
use super::world::Random;

/// What of a log may be struck.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// So many of the newest records are not.
    pub spared: usize,
    /// Crashes tear writes too: what lies at the newest record or behind it is not struck.
    pub crashes_tear: bool,
    /// Nor is what was voted in later slots.
    pub upto: Slot,
}

/// A whole record, as far as its header tells.
#[derive(Clone, Copy, Debug)]
struct Record {
    segment: SegmentId,
    at: usize,
    blocks: usize,
    slot: Slot,
    /// Rises from record to record that counts: the start that wrote it, and its number.
    number: (u64, u64),
}

/// Damages a block of a whole record that is not damaged yet, or of two, one of which took what was meant for the other.
/// Returns how many. `astray`: how often two, in a thousand.
pub fn strike(disk: &mut Disk, random: &mut Random, astray: u64, reach: Reach) -> u64 {
    let mut whole = reached(disk, reach);
    let Some(Record { segment, at, blocks, .. }) = draw(&mut whole, random) else { return 0 };
    disk.damaged.insert((segment, at));
    let block = at + random.below(blocks as u64) as usize * BLOCK_BYTES;
    let foreign = foreign(disk, random);
    if astray > 0 && !whole.is_empty() && random.permille(astray) {
        let Record { segment: elsewhere, at: from, blocks, .. } = random.pick(&whole);
        let over = (elsewhere, from + random.below(blocks as u64) as usize * BLOCK_BYTES);
        disk.damaged.insert((elsewhere, from));
        misdirect(disk, (segment, block), over);
        return 2;
    }
    let file = disk.segments.get_mut(&segment).expect("its record was found there");
    let held = &mut file[block..block + BLOCK_BYTES];
    match random.below(4) {
        0 => held[random.below(BLOCK_BYTES as u64) as usize] ^= 1 << random.below(8),
        1 => held.fill(0),
        2 => held.copy_from_slice(&foreign),
        _ => _ = disk.unreadable.insert((segment, block)),
    }
    1
}

/// Has the next start read a block of a whole record elsewhere, wherever in that start it reads it. That record is not damaged
/// besides. Returns whether there is one.
pub fn misread(disk: &mut Disk, random: &mut Random, reach: Reach) -> bool {
    let Some(Record { segment, at, blocks, .. }) = draw(&mut reached(disk, reach), random) else { return false };
    disk.damaged.insert((segment, at));
    let at = at + random.below(blocks as u64) as usize * BLOCK_BYTES;
    disk.misread = Some(Misread { segment, at, brought: foreign(disk, random) });
    true
}

/// Some block of some segment.
pub fn foreign(disk: &Disk, random: &mut Random) -> Vec<u8> {
    let from = disk.segments.values().nth(random.below(disk.segments.len() as u64) as usize).expect("there is one");
    let other = random.below((from.len() / BLOCK_BYTES) as u64) as usize * BLOCK_BYTES;
    from[other..other + BLOCK_BYTES].to_vec()
}

/// Records that may be struck, as they lie: they are not damaged yet.
fn reached(disk: &Disk, reach: Reach) -> Vec<Record> {
    let mut records: Vec<Record> = disk.segments.iter().flat_map(|(id, bytes)| records(*id, bytes)).collect();
    let newest = records.iter().max_by_key(|record| record.number).map(|newest| (newest.segment, newest.at));
    let mut highest = (0, 0);
    records.retain(|record| {
        // What a start has cut off lies behind records that are newer, and counts for nothing.
        let counts = record.number > highest && newest.is_some_and(|newest| (record.segment, record.at) < newest);
        highest = highest.max(record.number);
        counts || !reach.crashes_tear
    });
    records.truncate(records.len().saturating_sub(reach.spared));
    let is_reached = |r: &Record| r.slot <= reach.upto && !disk.damaged.contains(&(r.segment, r.at));
    records.retain(is_reached);
    records
}

/// Takes one of them: the newest are those of which the most is said.
fn draw(whole: &mut Vec<Record>, random: &mut Random) -> Option<Record> {
    if whole.is_empty() {
        return None;
    }
    let among = random.pick(&[8, whole.len()]).min(whole.len());
    Some(whole.swap_remove(whole.len() - 1 - random.below(among as u64) as usize))
}

/// A write went astray: a block lies over another one, and where it belongs is what was there before any write.
fn misdirect(disk: &mut Disk, (segment, at): (SegmentId, usize), (elsewhere, over): (SegmentId, usize)) {
    let file = disk.segments.get_mut(&segment).expect("its record was found there");
    let block = file[at..at + BLOCK_BYTES].to_vec();
    file[at..at + BLOCK_BYTES].fill(0);
    let other = disk.segments.get_mut(&elsewhere).expect("its record was found there");
    other[over..over + BLOCK_BYTES].copy_from_slice(&block);
}

/// Damages one copy of the hard state, unless one is damaged already or not yet what the others are.
pub fn strike_copy(disk: &mut Disk, random: &mut Random) {
    let rounds: Vec<u64> = hard_state::copies(&disk.hard_state)
        .filter_map(|copy| if let CopyState::Whole { sequence, .. } = copy { Some(sequence) } else { None })
        .collect();
    if rounds.len() < COPIES || rounds.iter().any(|round| *round != rounds[0]) {
        return;
    }
    let at = random.below(COPIES as u64) as usize * STRIDE_BYTES;
    let held = &mut disk.hard_state[at..at + BLOCK_BYTES];
    if random.below(2) == 0 {
        held[random.below(BLOCK_BYTES as u64) as usize] ^= 1 << random.below(8);
    } else {
        held.fill(0);
    }
}

/// The whole records of a segment, as they lie.
fn records(segment: SegmentId, bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at += match Block::decode(&bytes[at..at + BLOCK_BYTES]) {
            Block::Head(Twin::Header, head) if head.segment == segment && head.offset == at as u64 => {
                let span = usize::try_from(head.span()).expect("records are small");
                let number = (head.start.number, head.sequence);
                records.push(Record { segment, at, blocks: span / BLOCK_BYTES, slot: head.name.slot, number });
                span
            }
            Block::Head(..) | Block::Newer(_) | Block::Other => BLOCK_BYTES,
        };
    }
    records
}
