//! From a disk to a replica, as `server::start` does it; and what the oracles want to know of a disk's bytes.

use std::collections::BTreeMap;

use quorate::journal::hard_state::HardStateFile;
use quorate::journal::{self, Journal, Place, SegmentId};
use quorate::namespace::{Applied, Namespace};
use quorate::paxos::{self, AcceptedRecord, Config, HardState, Incarnation, Kind, Member, Slot, Value};
use quorate::replica::{Recovered, Storage};

use super::disk::Disk;
use super::links::replica;
use super::plan::Plan;

/// The disk of a formatted replica.
pub fn format(plan: &Plan, _node: usize, _incarnation: Incarnation) -> Disk {
    let members = (0..plan.nodes).map(|node| Member { replica: replica(node), incarnation: None }).collect();
    let hard_state = HardStateFile::format(&HardState::fresh(Config::new(members)));
    Disk::new(hard_state, plan.segment_bytes, 2)
}

/// Everything a start takes from the disk, and the records found there, oldest first.
pub fn recover(
    disk: &mut Disk,
    plan: &Plan,
    _node: usize,
    _incarnation: Incarnation,
) -> (Recovered, Vec<AcceptedRecord>) {
    let (hard_state_file, hard_state) = HardStateFile::open(&disk.hard_state).expect("one copy is sound");
    let mut records = Vec::new();
    let mut places = BTreeMap::new();
    let mut last = 0;
    let mut free = Vec::new();
    for (segment, bytes) in &disk.segments {
        let mut at = 0;
        while let Some((record, size)) = journal::decode(&bytes[at..]) {
            places.insert(record.slot, Place { segment: *segment, offset: at as u64, bytes: size as u64 });
            records.push(record);
            at += size;
        }
        if bytes.iter().any(|b| *b != 0) {
            last = segment.0;
        }
    }
    for (segment, _) in &disk.segments {
        if segment.0 > last {
            free.push(*segment);
        }
    }
    let next = disk.segments.keys().last().map_or(1, |s| s.0 + 1);
    let chosen_upto = records.iter().map(|r| r.chosen_upto).max().unwrap_or(Slot(0));
    let mut newest = BTreeMap::new();
    for r in &records {
        newest.insert(r.slot, r.clone());
    }
    let mut namespace = Namespace::new(7);
    let mut applied = Applied::default();
    for slot in 1..=chosen_upto.0 {
        let value = &newest[&Slot(slot)].value;
        if value.kind() == Some(Kind::Commands) {
            namespace.apply(&value.body(), &mut applied);
        }
        applied.clear();
    }
    let accepted = newest.into_values().filter(|r| r.slot > chosen_upto).collect();
    let paxos = paxos::Recovered {
        hard_state,
        chosen_upto,
        trimmed_upto: Slot(0),
        accepted,
        lost: Vec::new(),
        unknown: Vec::new(),
    };
    let journal = Journal::open(plan.segment_bytes as u64, free, next, places);
    (Recovered { paxos, namespace, storage: Storage::new(journal, hard_state_file) }, records)
}

/// The value of one record on disk.
pub fn read_value(disk: &Disk, place: &Place) -> Option<Value> {
    let bytes = disk.segments.get(&place.segment)?;
    journal::decode(&bytes[place.offset as usize..]).map(|(record, _)| record.value)
}

/// The records that one durable write of the journal holds.
pub fn records_of(bytes: &[u8]) -> Vec<AcceptedRecord> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some((record, size)) = journal::decode(&bytes[at..]) {
        records.push(record);
        at += size;
    }
    records
}

#[allow(unused)]
pub type Segment = SegmentId;

/// The promise that the disk holds for certain.
pub fn durable_promise(disk: &Disk) -> quorate::paxos::Ballot {
    HardStateFile::open(&disk.hard_state).expect("one copy is sound").1.promised
}
