//! Damage to what a disk holds: flipped bits, blocks that read as nothing or not at all, blocks that belong elsewhere.
//!
//! It strikes one copy at a time of what four copies hold, and records of the log, one node's alone in a run, and of each record one block: whatever it holds, a majority
//! holds it whole, and what two blocks of a record say is never gone from both. So the cell must be able to go on, and
//! that replica with it; no repair may rest on a value that is not chosen, and nothing that was acknowledged may be called
//! *never accepted* ([`super::oracle`]).

use quorate::journal::SegmentId;
use quorate::journal::hard_state::{self, COPIES, CopyState, STRIDE_BYTES};
use quorate::journal::record::{Block, Twin};
use quorate::limits::BLOCK_BYTES;

use super::disk::Disk;
use super::world::Random;

/// Damages one block of a whole record that is not damaged yet. False if there is none.
pub fn strike(disk: &mut Disk, random: &mut Random) -> bool {
    let records: Vec<(SegmentId, usize, usize)> =
        disk.segments.iter().flat_map(|(id, bytes)| records(*id, bytes)).collect();
    let whole: Vec<_> = records.into_iter().filter(|(id, at, _)| !disk.damaged.contains(&(*id, *at))).collect();
    if whole.is_empty() {
        return false;
    }
    // The newest are those of which the most is said.
    let among = random.pick(&[8, whole.len()]).min(whole.len());
    let (segment, at, blocks) = whole[whole.len() - 1 - random.below(among as u64) as usize];
    disk.damaged.insert((segment, at));
    let block = at + random.below(blocks as u64) as usize * BLOCK_BYTES;
    let foreign = {
        let from = disk.segments.values().nth(random.below(disk.segments.len() as u64) as usize).expect("there is one");
        let other = random.below((from.len() / BLOCK_BYTES) as u64) as usize * BLOCK_BYTES;
        from[other..other + BLOCK_BYTES].to_vec()
    };
    let file = disk.segments.get_mut(&segment).expect("its record was found there");
    let held = &mut file[block..block + BLOCK_BYTES];
    match random.below(4) {
        0 => held[random.below(BLOCK_BYTES as u64) as usize] ^= 1 << random.below(8),
        1 => held.fill(0),
        2 => held.copy_from_slice(&foreign),
        _ => _ = disk.unreadable.insert((segment, block)),
    }
    true
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
