//! Damage to what a disk holds: flipped bits, blocks that read as nothing or not at all, blocks that belong elsewhere,
//! writes that went astray.
//!
//! It strikes one copy at a time of what four copies hold, and records of the log, one node's alone in a run, and of each
//! record one block: whatever it holds, a majority holds it whole, and what two blocks of a record say is never gone from
//! both. So the cell must be able to go on, and that replica with it; no repair may rest on a value that is not chosen, and
//! nothing that was acknowledged may be called *never accepted* ([`super::oracle`]).
//!
//! In a run that goes *beyond repair* it strikes every node's log, but for the newest records: of a vote that every member
//! has damaged in the window that a crash leaves open nobody can say whether it was torn. Then the cell may stand still, and
//! whatever it still says must be right.

use quorate::journal::SegmentId;
use quorate::journal::hard_state::{self, COPIES, CopyState, STRIDE_BYTES};
use quorate::journal::record::{Block, Twin};
use quorate::limits::BLOCK_BYTES;

use super::disk::Disk;
use super::world::Random;

/// Damages a block of a whole record that is not damaged yet, or of two, one of which took what was meant for the other.
/// Returns how many. `astray`: how often two, in a thousand. `spared`: so many of the newest records are not struck.
pub fn strike(disk: &mut Disk, random: &mut Random, astray: u64, spared: usize) -> u64 {
    let mut records: Vec<(SegmentId, usize, usize)> =
        disk.segments.iter().flat_map(|(id, bytes)| records(*id, bytes)).collect();
    records.truncate(records.len().saturating_sub(spared));
    let mut whole: Vec<_> = records.into_iter().filter(|(id, at, _)| !disk.damaged.contains(&(*id, *at))).collect();
    if whole.is_empty() {
        return 0;
    }
    // The newest are those of which the most is said.
    let among = random.pick(&[8, whole.len()]).min(whole.len());
    let (segment, at, blocks) = whole.swap_remove(whole.len() - 1 - random.below(among as u64) as usize);
    disk.damaged.insert((segment, at));
    let block = at + random.below(blocks as u64) as usize * BLOCK_BYTES;
    let foreign = {
        let from = disk.segments.values().nth(random.below(disk.segments.len() as u64) as usize).expect("there is one");
        let other = random.below((from.len() / BLOCK_BYTES) as u64) as usize * BLOCK_BYTES;
        from[other..other + BLOCK_BYTES].to_vec()
    };
    if astray > 0 && !whole.is_empty() && random.permille(astray) {
        let (elsewhere, from, blocks) = random.pick(&whole);
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

/// Where each whole record of a segment begins, and how many blocks it has.
fn records(segment: SegmentId, bytes: &[u8]) -> Vec<(SegmentId, usize, usize)> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at += match Block::decode(&bytes[at..at + BLOCK_BYTES]) {
            Block::Head(Twin::Header, head) if head.segment == segment && head.offset == at as u64 => {
                let span = usize::try_from(head.span()).expect("records are small");
                records.push((segment, at, span / BLOCK_BYTES));
                span
            }
            Block::Head(..) | Block::Newer(_) | Block::Other => BLOCK_BYTES,
        };
    }
    records
}
