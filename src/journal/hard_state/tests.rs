//! What four copies survive, and what is said of what they do not.

use super::*;
use crate::paxos::Config;

fn identity() -> Identity {
    Identity { cell: CellId(1), replica: ReplicaId(2), incarnation: Incarnation(3) }
}

fn state(round: u64) -> HardState {
    let config = Config::of_voters((1..=13).map(ReplicaId)).bound(ReplicaId(2), Incarnation(3));
    let promised = Ballot { round, replica: ReplicaId(1) };
    HardState { promised, lease_max: Duration::from_millis(250), ..HardState::fresh(config) }
}

fn open(file: &[u8]) -> Result<HardStateFile, HardStateError> {
    HardStateFile::open(CellId(1), file)
}

fn apply(file: &mut [u8], write: &HardStateWrite) {
    file[write.offset as usize..][..BLOCK_BYTES].copy_from_slice(&write.pieces[0]);
}

fn finish(hard: &mut HardStateFile, file: &mut [u8]) -> Option<u64> {
    let mut version = None;
    while let Some(write) = hard.next_write() {
        apply(file, &write);
        version = hard.completed(write.id).or(version);
    }
    version
}

#[test]
fn what_is_saved_is_found_and_only_after_two_pairs() {
    let mut file = HardStateFile::format(identity(), &state(0)).to_vec();
    let mut hard = open(&file).unwrap();
    hard.save(1, state(7));
    let (one, two) = (hard.next_write().unwrap(), hard.next_write().unwrap());
    assert!(hard.next_write().is_none(), "the second pair waits for the first");
    apply(&mut file, &one);
    apply(&mut file, &two);
    assert_eq!(hard.completed(two.id), None);
    assert!(hard.next_write().is_none());
    hard.save(2, state(8));
    hard.save(3, state(9));
    assert_eq!(hard.completed(one.id), None);
    let (three, four) = (hard.next_write().unwrap(), hard.next_write().unwrap());
    assert!(one.offset.abs_diff(three.offset) >= 2 * STRIDE_BYTES as u64, "the other pair");
    assert_eq!(hard.completed(three.id), None);
    assert_eq!(hard.completed(four.id), Some(1), "the saves that waited are not part of this round");
    assert_eq!(finish(&mut hard, &mut file), Some(3), "waiting saves become one");
    assert_eq!(open(&file).unwrap().contents().paxos, state(9));
    assert!(hard.is_idle());
}

#[test]
fn start_and_image_are_saved_without_a_version() {
    let mut file = HardStateFile::format(identity(), &state(0)).to_vec();
    let mut hard = open(&file).unwrap();
    let image = ImagePointer { slot: Slot(4), revision: 5, is_led_to: true };
    hard.save_start(1, Ballot::NONE);
    hard.save_image(image);
    assert_eq!(finish(&mut hard, &mut file), None);
    assert_eq!(hard.durable_sequence(), 2);
    let again = open(&file).unwrap();
    assert_eq!((again.contents().start, again.contents().image), (1, Some(image)));
    assert_eq!(again.damaged_copies(), 0);
}

#[test]
fn any_crash_point_leaves_the_old_or_the_new_and_acknowledged_is_never_lost() {
    for crash_after in 0..=8 {
        for kept in (0..=8).flat_map(|cut| [0..cut, cut..8]) {
            let kept = kept.start * 512..kept.end * 512;
            let mut file = HardStateFile::format(identity(), &state(0)).to_vec();
            let mut hard = open(&file).unwrap();
            let mut promised = 0;
            for version in 1..=2 {
                hard.save(version, state(version));
                while let Some(write) = hard.next_write() {
                    if write.id > crash_after {
                        // Every copy under way is torn, at some sector.
                        let copy = &mut file[write.offset as usize..][..BLOCK_BYTES];
                        copy[kept.clone()].copy_from_slice(&write.pieces[0][kept.clone()]);
                        continue;
                    }
                    apply(&mut file, &write);
                    promised = hard.completed(write.id).unwrap_or(promised);
                }
                if !hard.is_idle() {
                    break;
                }
            }
            let found = open(&file).unwrap().contents().paxos.promised.round;
            assert!(found >= promised, "crash after {crash_after}, {kept:?}: found {found}, spoke of {promised}");
        }
    }
}

#[test]
fn three_damaged_copies_are_survived_and_four_are_amnesia() {
    let mut file = HardStateFile::format(identity(), &state(3)).to_vec();
    for copy in 0..COPIES {
        assert!(open(&file).is_ok(), "{copy} damaged");
        file[copy * STRIDE_BYTES + 130] ^= 1;
    }
    assert_eq!(open(&file).unwrap_err(), HardStateError::Amnesia);
    assert_eq!(open(&[]).unwrap_err(), HardStateError::Amnesia);
}

#[test]
fn somebody_elses_or_a_newer_file_is_refused_by_name() {
    let file = HardStateFile::format(identity(), &state(3)).to_vec();
    let foreign = HardStateFile::open(CellId(9), &file).unwrap_err();
    assert_eq!(foreign, HardStateError::ForeignCell { found: CellId(1), needed: CellId(9) });
    let mut newer = file;
    newer[8] = 9;
    let crc = crc32fast::hash(&newer[..CRC_AT]);
    newer[CRC_AT..BLOCK_BYTES].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(open(&newer).unwrap_err(), HardStateError::NewerFormat { found: 9, newest: FORMAT_VERSION });
}

#[test]
fn the_only_pair_with_the_newest_copy_is_not_overwritten_first() {
    let mut file = HardStateFile::format(identity(), &state(0)).to_vec();
    let mut hard = open(&file).unwrap();
    hard.save(1, state(5));
    let (one, two) = (hard.next_write().unwrap(), hard.next_write().unwrap());
    apply(&mut file, &one);
    apply(&mut file, &two);
    let mut again = open(&file).unwrap();
    assert_eq!(again.contents().paxos.promised.round, 5);
    again.save_start(1, Ballot::NONE);
    let next = again.next_write().unwrap();
    assert!(next.offset != one.offset && next.offset != two.offset);
}

#[test]
fn a_damaged_copy_is_told_from_what_all_four_hold_and_written_again_before_the_others() {
    for damaged in [vec![3], vec![0, 1], vec![1, 2]] {
        let mut file = HardStateFile::format(identity(), &state(0)).to_vec();
        let mut hard = open(&file).unwrap();
        hard.save(1, state(5));
        let before = file.clone();
        assert_eq!(finish(&mut hard, &mut file), Some(1));
        let block = |file: &[u8], copy: usize| file[copy * STRIDE_BYTES..][..BLOCK_BYTES].to_vec();
        for copy in &damaged {
            // What was never written there, though the disk said so, is no better than noise.
            file[copy * STRIDE_BYTES..][..BLOCK_BYTES].copy_from_slice(&block(&before, *copy));
        }
        let found: Vec<usize> = (0..COPIES).filter(|copy| !hard.is_held_by(&block(&file, *copy))).collect();
        assert_eq!(found, damaged);
        hard.write_again(&found);
        let first = hard.next_write().unwrap();
        assert_eq!(first.offset as usize / STRIDE_BYTES / 2, damaged[0] / 2, "{damaged:?}: its pair is first");
        apply(&mut file, &first);
        assert_eq!(open(&file).unwrap().contents().paxos, state(5), "a crash now finds what was promised");
        hard.completed(first.id);
        finish(&mut hard, &mut file);
        assert!((0..COPIES).all(|copy| hard.is_held_by(&block(&file, copy))), "{damaged:?}");
        assert_eq!(open(&file).unwrap().contents().paxos, state(5));
    }
}
