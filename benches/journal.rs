//! What a record costs the replica's core on its way to the disk, and how fast a log is read back. No disk is in it: the
//! device's own time is what `quorate iotest` and the bare pipeline tell.

use std::hint::black_box;
use std::io;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorate::journal::{Identity, Journal, Known, SegmentId, SegmentRead, Settings, recover};
use quorate::paxos::{AcceptedRecord, Ballot, CellId, Draft, Incarnation, ReplicaId, Slot, Value};
use quorate::time::Instant;

/// The allocator of the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEGMENT_BYTES: u64 = 16 << 20;
const RECORDS: u64 = 500;
const IDENTITY: Identity = Identity { cell: CellId(7), replica: ReplicaId(1), incarnation: Incarnation(9) };
const NEW: Known = Known { identity: IDENTITY, start: 0, hard_state: 0, image_upto: Slot(0), image_is_led_to: true };

/// One segment's file.
struct Disk(Vec<u8>);

impl SegmentRead for Disk {
    fn segments(&self) -> Vec<(SegmentId, u64)> {
        vec![(SegmentId(1), SEGMENT_BYTES)]
    }

    fn read(&mut self, _: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        into.copy_from_slice(&self.0[offset as usize..][..into.len()]);
        Ok(())
    }
}

impl Disk {
    fn empty() -> Self {
        Self(vec![0; SEGMENT_BYTES as usize])
    }

    fn put(&mut self, offset: u64, pieces: &[bytes::Bytes]) {
        let whole = pieces.concat();
        self.0[offset as usize..][..whole.len()].copy_from_slice(&whole);
    }
}

/// A value as a leader makes it: with room around it for the record's heads.
fn value(bytes: usize) -> Value {
    let mut draft = Draft::with_capacity(bytes);
    draft.extend(&vec![5; bytes]);
    draft.finish()
}

fn record(number: u64, value: Value) -> AcceptedRecord {
    let ballot = Ballot { round: 1, replica: ReplicaId(1) };
    let (slot, chosen_upto) = (Slot(number), Slot(number.saturating_sub(2)));
    AcceptedRecord { slot, ballot, value, learned: false, chosen_upto }
}

/// A journal whose first segment is ready and whose start is durable on `disk`.
fn started(disk: &mut Disk) -> Journal {
    let recovery = recover(disk, NEW, &mut |_, _| ()).expect("an empty disk");
    let mut journal = Journal::open(IDENTITY, Settings { segment_bytes: SEGMENT_BYTES }, recovery.tail);
    while let Some(segment) = journal.segment_wanted() {
        journal.segment_ready(segment);
    }
    hand_over(&mut journal, &mut |offset, pieces| disk.put(offset, pieces));
    assert!(journal.started(), "nothing stands in the way of the first record");
    journal
}

/// Takes every write there is, and completes it. Gives the number of the last durable record.
fn hand_over(journal: &mut Journal, disk: &mut dyn FnMut(u64, &[bytes::Bytes])) -> u64 {
    while let Some(write) = journal.next_write() {
        disk(write.offset, &write.pieces);
        journal.completed(Instant::ZERO, write.id);
    }
    journal.appended_durable_upto()
}

fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    for bytes in [1 << 10, 16 << 10] {
        group.throughput(Throughput::Bytes(RECORDS * bytes as u64));
        group.bench_function(format!("append and hand over {RECORDS} records of {bytes} bytes"), |bencher| {
            bencher.iter_batched(
                || {
                    (
                        started(&mut Disk::empty()),
                        (1..=RECORDS).map(|number| record(number, value(bytes))).collect::<Vec<_>>(),
                    )
                },
                |(mut journal, records)| {
                    for record in records {
                        journal.append(record);
                    }
                    assert_eq!(hand_over(&mut journal, &mut |_, pieces| _ = black_box(pieces)), RECORDS, "all durable");
                    journal
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn scanning(criterion: &mut Criterion) {
    let mut disk = Disk::empty();
    let mut journal = started(&mut disk);
    for number in 1..=RECORDS {
        journal.append(record(number, value(16 << 10)));
        hand_over(&mut journal, &mut |offset, pieces| disk.put(offset, pieces));
    }
    let mut group = criterion.benchmark_group("recovery");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(RECORDS * (16 << 10)));
    group.bench_function(format!("scan {RECORDS} records of 16 KiB"), |bencher| {
        bencher.iter(|| {
            let mut seen = 0;
            let recovery = recover(&mut disk, NEW, &mut |_, value| seen += value.bytes().len()).expect("a sound log");
            assert_eq!(recovery.chosen_upto, Slot(RECORDS - 2), "all that was chosen comes back");
            assert_eq!(recovery.accepted.len(), 2, "and what was not is told");
            assert_eq!(seen as u64, (RECORDS - 2) * (16 << 10), "every byte of it");
        });
    });
    group.finish();
}

criterion_group!(benches, records, scanning);
criterion_main!(benches);
