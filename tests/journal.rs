//! The journal by its public face: files that are used again, damage wider than a block, and bytes that mean nothing.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;
use quorate::journal::hard_state::{FILE_BYTES, HardStateFile};
use quorate::journal::inspect::{Inspected, Inspection, Validity};
use quorate::journal::record::{Block, Head, Name, RECORD_BYTES_MAX, Twin};
use quorate::journal::{
    Error, Finding, Identity, Journal, Known, Recovery, SegmentId, SegmentRead, Settings, Write, recover,
};
use quorate::limits::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use quorate::paxos::{AcceptedRecord, Ballot, CellId, Config, HardState, Incarnation, ReplicaId, Slot, Value};
use quorate::time::Instant;

const SEGMENT_BYTES: usize = 8 * BLOCK_BYTES;
const ME: Identity = Identity { cell: CellId(5), replica: ReplicaId(1), incarnation: Incarnation(6) };

#[derive(Clone, Default)]
struct Disk(BTreeMap<SegmentId, Vec<u8>>);

impl SegmentRead for Disk {
    fn segments(&self) -> Vec<(SegmentId, u64)> {
        self.0.iter().map(|(segment, bytes)| (*segment, bytes.len() as u64)).collect()
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        into.copy_from_slice(&self.0[&segment][offset as usize..][..into.len()]);
        Ok(())
    }
}

impl Disk {
    fn put(&mut self, write: &Write) {
        let bytes = write.pieces.concat();
        self.0.get_mut(&write.segment).expect("prepared")[write.offset as usize..][..bytes.len()]
            .copy_from_slice(&bytes);
    }

    /// Offsets of all records of a segment.
    fn records(&self, segment: SegmentId) -> Vec<Head> {
        let blocks = self.0[&segment].chunks(BLOCK_BYTES).map(Block::decode);
        let header = |block| if let Block::Head(Twin::Header, head) = block { Some(*head) } else { None };
        blocks.filter_map(header).filter(|head| head.segment == segment).collect()
    }
}

fn read(disk: &Disk, image_upto: Slot) -> (Result<Recovery, Error>, Vec<(Slot, Value)>) {
    let mut chosen = Vec::new();
    let known =
        Known { identity: ME, start: 0, hard_state: 0, image_upto, chosen_upto: image_upto, image_is_led_to: true };
    let recovery = recover(&mut disk.clone(), known, &mut |slot, value| chosen.push((slot, value)));
    (recovery, chosen)
}

fn content(slot: u64, round: u64) -> Value {
    Value::copy_of(format!("\x01slot {slot} round {round}").as_bytes())
}

fn record(slot: u64, round: u64, chosen_upto: u64) -> AcceptedRecord {
    let ballot = Ballot { round, replica: ReplicaId(1) };
    let (slot, value, chosen_upto) = (Slot(slot), content(slot, round), Slot(chosen_upto));
    AcceptedRecord { slot, ballot, value, learned: false, chosen_upto }
}

/// A journal on its disk, every write at once durable.
struct Running {
    disk: Disk,
    journal: Journal,
    free: Vec<Vec<u8>>,
}

impl Running {
    fn start(disk: Disk, image_upto: Slot) -> Self {
        let recovery = read(&disk, image_upto).0.expect("the journal can be used");
        let settings = Settings { segment_bytes: SEGMENT_BYTES as u64 };
        let journal = Journal::open(ME, settings, recovery.tail);
        let mut running = Self { disk, journal, free: Vec::new() };
        running.write();
        running
    }

    fn next(&mut self) -> Option<Write> {
        while let Some(segment) = self.journal.segment_wanted() {
            let file = self.free.pop().unwrap_or_else(|| vec![0; SEGMENT_BYTES]);
            self.disk.0.insert(segment, file);
            self.journal.segment_ready(segment);
        }
        self.journal.next_write()
    }

    fn write(&mut self) {
        while let Some(write) = self.next() {
            self.disk.put(&write);
            self.journal.completed(Instant::ZERO, write.id);
        }
    }

    fn append(&mut self, record: AcceptedRecord) {
        self.journal.append(record);
        self.write();
    }
}

/// Slots 1 to `slots` accepted, the last `open` of them not known to be chosen.
fn filled(slots: u64, open: u64) -> Disk {
    let mut running = Running::start(Disk::default(), Slot(0));
    for slot in 1..=slots {
        running.append(record(slot, 1, (slot - 1).min(slots - open)));
    }
    running.disk
}

#[test]
fn a_file_used_again_brings_nothing_back() {
    let high = Ballot { round: 1 << 40, replica: ReplicaId(1) };
    let mut running = Running::start(Disk::default(), Slot(0));
    let mut image_upto = 0;
    for slot in 1..=120 {
        running.journal.append(record(slot, 1, slot.saturating_sub(3)));
        let write = running.next().expect("one record");
        let before = running.disk.clone();
        running.disk.put(&write);
        running.journal.completed(Instant::ZERO, write.id);
        // The write never happened; only its second half did; all of it did.
        let mut half = running.disk.clone();
        let (at, bytes) = (write.offset as usize, write.pieces.concat().len());
        half.0.get_mut(&write.segment).expect("it is there")[at..at + bytes / 2]
            .copy_from_slice(&before.0[&write.segment][at..at + bytes / 2]);
        for (disk, last) in [(&before, slot - 1), (&half, slot), (&running.disk, slot)] {
            let (recovery, chosen) = read(disk, Slot(image_upto));
            let recovery = recovery.expect("it can be used");
            let accepted = recovery.accepted.iter().map(|record| (record.slot, record.value.clone()));
            let found: Vec<_> = chosen.into_iter().chain(accepted).collect();
            let all: Vec<_> = (image_upto + 1..=last).map(|slot| (Slot(slot), content(slot, 1))).collect();
            let cut = all[..all.len().min(found.len())].to_vec();
            assert!(
                all.len() - cut.len() <= usize::from(last == slot),
                "slot {slot}: only the torn one may be missing"
            );
            assert_eq!(found, cut, "slot {slot}");
            assert!(recovery.lost.is_empty() && recovery.unknown.is_empty() && recovery.missing.is_empty());
            assert!(recovery.findings.iter().all(Finding::is_ordinary), "{:?}", recovery.findings);
        }
        if slot % 5 == 0 {
            image_upto = slot - 4;
            for segment in running.journal.trim(Slot(image_upto), high, slot % 10 == 0) {
                running.free.extend(running.disk.0.remove(&segment));
            }
        }
    }
    assert!(running.journal.segments().first().is_some_and(|first| first.0 > 20), "files were used many times");
    assert!(running.disk.0.len() + running.free.len() <= 6, "and are few");
}

#[test]
fn somebody_elses_files_are_refused() {
    let mut disk = filled(10, 4);
    let other = Identity { cell: CellId(66), ..ME };
    let block = quorate::journal::segment::SegmentHead::encode(other, SegmentId(2));
    disk.0.get_mut(&SegmentId(2)).expect("it is there")[..BLOCK_BYTES].copy_from_slice(&block);
    let error = read(&disk, Slot(0)).0.expect_err("it is refused");
    assert_eq!(error, Error::Foreign { segment: SegmentId(2), found: other, needed: ME });
}

#[test]
fn files_older_than_the_hard_state_and_hard_states_older_than_the_files_are_refused() {
    let mut disk = filled(4, 4);
    let known = Known {
        identity: ME,
        start: 2,
        hard_state: 0,
        image_upto: Slot(0),
        chosen_upto: Slot(0),
        image_is_led_to: true,
    };
    let error = recover(&mut disk, known, &mut |_, _| {}).expect_err("start 2 is gone");
    assert_eq!(error, Error::JournalBehind { found: 1, needed: 2 });
    let mut running = Running::start(disk, Slot(0));
    running.journal.hard_state_durable(9);
    running.append(record(5, 1, 0));
    let error = read(&running.disk, Slot(0)).0.expect_err("version 9 is gone");
    assert_eq!(error, Error::HardStateBehind { found: 0, needed: 9 });
}

/// Wipes the records of these slots at that round, heads and all.
fn wipe(disk: &mut Disk, slots: &[u64], round: u64) {
    for segment in disk.0.keys().copied().collect::<Vec<_>>() {
        for head in disk.records(segment) {
            if slots.contains(&head.name.slot.0) && head.name.ballot.round == round {
                let (at, bytes) = (head.offset as usize, head.span() as usize);
                disk.0.get_mut(&segment).expect("it is there")[at..at + bytes].fill(0);
            }
        }
    }
}

#[test]
fn one_record_wiped_is_named_by_the_next() {
    for victim in 3..=8 {
        let mut disk = filled(10, 10);
        wipe(&mut disk, &[victim], 1);
        let recovery = read(&disk, Slot(0)).0.expect("it can be used");
        let lost = Name { slot: Slot(victim), ballot: record(1, 1, 0).ballot, hash: content(victim, 1).hash() };
        assert_eq!(recovery.lost, [lost], "slot {victim}");
        assert!(recovery.unknown.is_empty());
        assert_eq!(recovery.accepted.len(), 9);
        assert!(recovery.findings.iter().any(|finding| !finding.is_ordinary()), "the operator is told");
    }
}

#[test]
fn a_wiped_acceptance_at_a_higher_ballot_is_not_answered_with_the_lower_one() {
    let mut running = Running::start(Disk::default(), Slot(0));
    (1..=6).for_each(|slot| running.append(record(slot, 1, slot.saturating_sub(4))));
    (3..=4).for_each(|slot| running.append(record(slot, 2, 2)));
    (7..=10).for_each(|slot| running.append(record(slot, 2, 2)));
    wipe(&mut running.disk, &[3, 4], 2);
    let (recovery, chosen) = read(&running.disk, Slot(0));
    let recovery = recovery.expect("it can be used");
    assert_eq!(chosen.len(), 2);
    assert_eq!(recovery.lost.iter().map(|name| (name.slot.0, name.ballot.round)).collect::<Vec<_>>(), [(4, 2)]);
    let accepted: Vec<_> = recovery.accepted.iter().map(|record| record.slot.0).collect();
    assert_eq!(accepted, [7, 8, 9, 10], "slots 3 to 6 were open where a record is lost");
    for slot in [3, 5, 6] {
        let said = recovery.unknown.iter().any(|(from, upto)| from.0 <= slot && slot <= upto.0);
        assert!(said, "slot {slot} is not known: {:?}", recovery.unknown);
    }
}

#[test]
fn a_wiped_chosen_record_holds_back_those_behind_it() {
    let mut disk = filled(12, 2);
    wipe(&mut disk, &[4], 1);
    let (recovery, chosen) = read(&disk, Slot(0));
    let recovery = recovery.expect("it can be used");
    assert_eq!(chosen.iter().map(|(slot, _)| slot.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(recovery.chosen_upto, Slot(3));
    assert_eq!(recovery.missing, [(Slot(4), Slot(4))]);
    let learned: Vec<_> = recovery.accepted.iter().map(|record| (record.slot.0, record.learned)).collect();
    assert_eq!(learned[0], (5, true), "chosen, and waiting");
    assert_eq!(learned.last(), Some(&(12, false)));
}

#[test]
fn a_segment_shows_what_it_holds() {
    let mut disk = filled(3, 3);
    let victim = disk.records(SegmentId(1))[2];
    let file = disk.0.get_mut(&SegmentId(1)).expect("it is there");
    file[victim.offset as usize + RECORD_HEADER_BYTES + 2] ^= 1;
    let shown: Vec<_> = Inspection::new(file).collect();
    let records: Vec<_> = shown
        .iter()
        .filter_map(|seen| match seen {
            Inspected::Record { head, validity, .. } => Some((head.name.slot.0, *validity)),
            Inspected::Segment(_) | Inspected::Nothing { .. } => None,
        })
        .collect();
    assert_eq!(records, [(0, Validity::Whole), (1, Validity::Whole), (2, Validity::Damaged)]);
}

/// A change to a disk.
#[derive(Clone, Debug)]
enum Harm {
    Noise { at: usize, bytes: Vec<u8> },
    Copy { from: usize, to: usize, blocks: usize },
    Head { at: usize, head: Box<Head>, twin: Twin },
}

fn arbitrary_head() -> impl Strategy<Value = (Head, Twin)> {
    let number = prop_oneof![0_u64..12, any::<u64>()];
    let numbers = prop::collection::vec(number, 12);
    (numbers, any::<u128>(), 0_u32..20_000, any::<bool>(), 0_usize..3).prop_map(|(n, wide, value_bytes, flag, kind)| {
        use quorate::journal::record::{RecordKind, Start};
        let kind = [RecordKind::Value, RecordKind::Seal, RecordKind::Start][kind];
        let name = |slot| Name { slot: Slot(slot), ballot: record(1, n[11], 0).ballot, hash: wide };
        let head = Head {
            identity: ME,
            segment: SegmentId(n[0]),
            offset: n[1].wrapping_mul(BLOCK_BYTES as u64),
            start: Start { number: n[2], first: n[3], synced_before: n[4] },
            sequence: n[5],
            synced_upto: n[6],
            hard_state: 0,
            chosen_upto: Slot(n[7]),
            name: if kind == RecordKind::Value { name(n[8]) } else { Name::NOTHING },
            kind,
            learned: flag,
            value_bytes,
            body_crc: n[9] as u32,
            chain: wide,
            previous: name(n[10]),
        };
        (head, if flag { Twin::Header } else { Twin::Trailer })
    })
}

fn arbitrary_harm() -> impl Strategy<Value = Harm> {
    let (bytes, blocks) = (6 * SEGMENT_BYTES, 6 * SEGMENT_BYTES / BLOCK_BYTES);
    prop_oneof![
        (0..bytes, prop::collection::vec(any::<u8>(), 1..2000)).prop_map(|(at, bytes)| Harm::Noise { at, bytes }),
        (0..blocks, 0..blocks, 1_usize..6).prop_map(|(from, to, blocks)| Harm::Copy { from, to, blocks }),
        (0..blocks, arbitrary_head()).prop_map(|(at, (head, twin))| Harm::Head { at, head: Box::new(head), twin }),
    ]
}

/// Applies the harm to the files as if they lay one after the other.
fn harm(disk: &mut Disk, harms: &[Harm]) {
    let mut all: Vec<u8> = disk.0.values().flatten().copied().collect();
    let length = all.len();
    for harm in harms {
        match harm {
            Harm::Noise { at, bytes } => {
                let at = at % length;
                let count = bytes.len().min(length - at);
                all[at..at + count].copy_from_slice(&bytes[..count]);
            }
            Harm::Copy { from, to, blocks } => {
                let [from, to] = [from, to].map(|block| block * BLOCK_BYTES % length);
                let count = (blocks * BLOCK_BYTES).min(length - from).min(length - to);
                all.copy_within(from..from + count, to);
            }
            Harm::Head { at, head, twin } => {
                let _ = head.encode(*twin, &mut all[at * BLOCK_BYTES % length..][..RECORD_HEADER_BYTES]);
            }
        }
    }
    for (number, file) in disk.0.values_mut().enumerate() {
        file.copy_from_slice(&all[number * SEGMENT_BYTES..(number + 1) * SEGMENT_BYTES]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_recovery_panic_and_the_log_goes_on(
        harms in prop::collection::vec(arbitrary_harm(), 1..8), cut in 0..SEGMENT_BYTES, keep in any::<bool>()
    ) {
        let mut disk = filled(14, 6);
        harm(&mut disk, &harms);
        if !keep {
            disk.0.last_entry().expect("it has files").get_mut().truncate(cut);
        }
        let inspected = disk.0.values().map(|file| Inspection::new(file).count()).max().unwrap_or(0);
        prop_assert!(inspected <= 2 * SEGMENT_BYTES / BLOCK_BYTES, "an inspection ends");
        let (recovery, chosen) = read(&disk, Slot(0));
        if let Ok(recovery) = recovery {
            prop_assert!(chosen.iter().enumerate().all(|(at, (slot, _))| slot.0 == at as u64 + 1));
            prop_assert!(recovery.unknown.iter().all(|(from, upto)| from <= upto && *from > recovery.chosen_upto));
            let settings = Settings { segment_bytes: SEGMENT_BYTES as u64 };
            let journal = Journal::open(ME, settings, recovery.tail);
            prop_assert!(!journal.started());
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        if let Block::Head(_, head) = Block::decode(&bytes) {
            prop_assert!(head.span() <= RECORD_BYTES_MAX);
        }
        let _ = quorate::journal::segment::SegmentHead::decode(&bytes);
        prop_assert!(Inspection::new(&bytes).count() <= 3);
    }

    #[test]
    fn no_bytes_make_the_hard_state_panic(noise in prop::collection::vec((0..FILE_BYTES, any::<u8>()), 0..200)) {
        let members = Config::of_voters((1..=3).map(ReplicaId));
        let mut file = HardStateFile::format(ME, &HardState::fresh(members)).to_vec();
        for (at, byte) in noise {
            // Most hits on the little of the file that means something.
            file[at / 65_536 * 65_536 + at % 300] = byte;
        }
        let _ = HardStateFile::open(ME.cell, &file);
        let _ = HardStateFile::open(ME.cell, &file[..file.len() / 3]);
    }
}
