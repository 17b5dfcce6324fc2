//! From a disk to a replica, as `server::start` does it; and what the oracle wants to know of a disk's bytes.

use quorate::journal::hard_state::{self, COPIES, CopyState, HardStateFile, ImagePointer};
use quorate::journal::record::{Block, RecordKind, Twin};
use quorate::journal::{self, Identity, Journal, Known, Place, Recovery, SegmentId, SegmentRead, Settings};
use quorate::limits::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use quorate::namespace::{Applied, Namespace};
use quorate::paxos::{self, AcceptedRecord, Ballot, Config, HardState, Incarnation, Kind, ReplicaId, Slot, Value};
use quorate::replica::exchange::DiskFile;
use quorate::replica::{Digests, ImageReader, Recovered, Storage};
use quorate::time::Instant;

use super::disk::{Disk, Misread};
use super::links::{node, replica};
use super::node::CELL;
use super::plan::Plan;
use super::world::{Moment, Random, span};

/// What a start found.
pub struct Found {
    pub recovered: Recovered,
    /// Everything up to there was in an image.
    pub image_upto: Slot,
    /// Values taken for chosen, from there on.
    pub chosen: Vec<(Slot, Value)>,
    /// Votes and learned values above them.
    pub accepted: Vec<AcceptedRecord>,
    /// Slots of which it says that a newer record than what is found may have been there.
    pub doubtful: Vec<(Slot, Slot)>,
    /// The last slot of which it says that it may have voted there.
    pub maybe_upto: Slot,
}

/// The disk of a formatted replica.
pub fn format(plan: &Plan, node: usize, incarnation: Incarnation, members: impl Fn(Vec<ReplicaId>) -> Config) -> Disk {
    let members = members((0..plan.nodes).map(replica).collect());
    let identity = Identity { cell: CELL, replica: replica(node), incarnation };
    let hard_state = HardStateFile::format(identity, &HardState::fresh(members));
    Disk::new(hard_state.to_vec(), plan.segment_bytes, 2)
}

/// Everything a start takes from the disk. `None`: it crashed again on the way, or found no room.
pub fn recover(disk: &mut Disk, plan: &Plan, random: &mut Random, now: Moment) -> Option<Found> {
    let mut hard_state = HardStateFile::open(CELL, &disk.hard_state).expect("a crash leaves two copies whole");
    let contents = hard_state.contents().clone();
    let identity = contents.identity;
    let pointed_to = contents.image.map_or(Slot(0), |image| image.slot);
    let (mut namespace, kept) = load_image(disk, identity, pointed_to, random);
    let image_upto = kept.last().copied().unwrap_or_default();
    let known = known(&hard_state, image_upto);
    let (mut applied, mut chosen) = (Applied::default(), Vec::new());
    let mut digests = Digests::every(plan.digest_every);
    let misread = disk.misread.take();
    disk.misreads.extend(misread.as_ref().map(|_| "misread: start"));
    let mut segments = Segments { disk, misread: misread.as_ref() };
    let recovery = journal::recover(&mut segments, known, &mut |slot, value: Value| {
        if value.kind() == Some(Kind::Commands) {
            namespace.apply(&value.body(), &mut applied);
            applied.clear();
        }
        digests.applied(slot, value.kind(), || namespace.digest());
        chosen.push((slot, value));
    })
    .unwrap_or_else(|error| panic!("a crash never makes a journal unusable: {error}"));
    for segment in &recovery.flush {
        disk.flush(DiskFile::Segment(*segment));
    }
    if !plan.is_struck(node(identity.replica)) {
        rests_on_flushes(disk, known, &recovery);
        // A replica that was stuck without room gave its log up to the newest image; if that one is damaged, the log ends.
        let given_up = if plan.may_be_stuck() && image_upto < pointed_to { pointed_to } else { Slot(0) };
        only_torn(&recovery, given_up);
    }
    let accepted = recovery.accepted.clone();
    let maybe_upto = recovery.maybe.iter().map(|name| name.slot).max().unwrap_or_default();
    let named = recovery.maybe.iter().chain(&recovery.lost).map(|name| (name.slot, name.slot));
    let doubtful = named.chain(recovery.unknown.iter().chain(&recovery.missing).copied()).collect();
    let mut state = contents.paxos;
    state.promised = state.promised.max(recovery.highest_ballot);
    let damaged_upto = recovery.damaged_upto;
    let settings = Settings { segment_bytes: plan.segment_bytes as u64 };
    let mut journal = Journal::open(identity, settings, recovery.tail);
    let paxos = paxos::Recovered {
        hard_state: state,
        chosen_upto: recovery.chosen_upto,
        trimmed_upto: journal.first_before(image_upto).previous(),
        accepted: recovery.accepted.clone(),
        lost: Recovery::tuples(&recovery.lost),
        maybe: Recovery::tuples(&recovery.maybe),
        unknown: recovery.unknown.clone(),
    };
    mark_start(&mut journal, disk, random, (plan.torn_starts, now))?;
    let start = (journal.start(), recovery.highest_ballot);
    settle_hard_state(&mut hard_state, start, disk, random, plan.torn_starts)?;
    disk.images.retain(|slot, _| kept.contains(slot));
    let images = kept.iter().map(|slot| (*slot, disk.images[slot].len() as u64)).collect();
    let bounds = plan.bounds();
    let storage = Storage::new(journal, hard_state, bounds);
    let scrub_period = plan.scrub_period.map(span);
    let recovered = Recovered { paxos, namespace, images, bounds, scrub_period, damaged_upto, digests, storage };
    Some(Found { recovered, image_upto, chosen, accepted, doubtful, maybe_upto })
}

/// Slots from `sure` on, which the log reaches back to, of which a start would find that it held a value, and not the value.
/// (What holds no value, as a seal, is read by starts alone.) Where the log jumped to its newest image the records before it
/// lead nowhere: whoever starts below has to ask others anyhow.
pub fn lost(disk: &mut Disk, sure: Slot) -> Vec<Slot> {
    let hard_state = HardStateFile::open(CELL, &disk.hard_state).expect("two copies are whole");
    let mut segments = Segments { disk, misread: None };
    let recovery = journal::recover(&mut segments, known(&hard_state, sure), &mut |_, _| ());
    let recovery = recovery.unwrap_or_else(|error| panic!("damage never makes a journal unusable: {error}"));
    let jumped_upto = hard_state.contents().image.filter(|image| !image.is_led_to).map_or(Slot(0), |image| image.slot);
    let slots = recovery.maybe.iter().chain(&recovery.lost).map(|name| name.slot);
    slots.filter(|slot| *slot > jumped_upto).collect()
}

/// What the hard state says of the log, if everything up to there is in an image.
fn known(hard_state: &HardStateFile, image_upto: Slot) -> Known {
    let contents = hard_state.contents();
    Known {
        identity: contents.identity,
        start: contents.start,
        hard_state: hard_state.durable_sequence(),
        image_upto,
        chosen_upto: contents.chosen_upto,
        image_is_led_to: contents.image.is_some_and(|image| image.slot == image_upto && image.is_led_to),
    }
}

/// The newest whole image that was ever pointed to, and the slots of those to be kept.
fn load_image(disk: &Disk, identity: Identity, upto: Slot, random: &mut Random) -> (Namespace, Vec<Slot>) {
    let mut slots: Vec<Slot> = disk.images.range(..=upto).map(|(slot, _)| *slot).collect();
    while let Some(slot) = slots.pop() {
        let mut reader = ImageReader::new(random.draw());
        let file = &disk.images[&slot];
        let cut = random.below(file.len() as u64 + 1) as usize;
        let read = reader.add(&file[..cut]).and_then(|()| reader.add(&file[cut..]));
        match read.and_then(|()| reader.finish(identity.cell)) {
            Ok((head, namespace)) => {
                assert!(head.slot == slot && namespace.revision() == head.revision, "an image is what its name says");
                let kept = slots.last().copied().into_iter().chain([slot]).collect();
                return (namespace, kept);
            }
            Err(error) => {
                assert!(disk.spoiled.contains(&slot), "the image of {slot:?} is sound, and was not read: {error}")
            }
        }
    }
    (Namespace::new(random.draw()), Vec::new())
}

/// The record that begins a start is durable before anything else, or the start comes to nothing.
fn mark_start(journal: &mut Journal, disk: &mut Disk, random: &mut Random, (torn, now): (u64, Moment)) -> Option<()> {
    while !journal.started() {
        if let Some(write) = journal.next_write() {
            let bytes = write.pieces.concat();
            let at = usize::try_from(write.offset).expect("files are small");
            let whole = !random.permille(torn);
            disk.write_at_start(DiskFile::Segment(write.segment), at, &bytes, if whole { None } else { Some(random) });
            if !whole {
                return None;
            }
            journal.completed(Instant::ZERO, write.id);
        } else {
            let segment = journal.segment_wanted().expect("a journal that cannot write wants a segment");
            if now < disk.full_until {
                return None;
            }
            disk.zeroed(segment);
            journal.segment_ready(segment);
        }
    }
    Some(())
}

/// All four copies of the hard state are equal and durable, or the start comes to nothing.
fn settle_hard_state(
    hard_state: &mut HardStateFile,
    (start, promised): (u64, Ballot),
    disk: &mut Disk,
    random: &mut Random,
    torn: u64,
) -> Option<()> {
    hard_state.save_start(start, promised);
    while let Some(write) = hard_state.next_write() {
        let at = usize::try_from(write.offset).expect("the file is small");
        let whole = !random.permille(torn / 4);
        let bytes = write.pieces.concat();
        disk.write_at_start(DiskFile::HardState, at, &bytes, if whole { None } else { Some(random) });
        if !whole {
            return None;
        }
        hard_state.completed(write.id);
    }
    let is_anew = disk.unflushed().all(|file| file != DiskFile::HardState);
    assert!(is_anew, "a start writes the hard state anew: what it read may have been in the device's cache alone");
    Some(())
}

/// Of what a start counts nothing hangs on bytes that the next power cut may take back: it is about to promise, and to say
/// what it voted, and its own first record says that all before it was durable.
fn rests_on_flushes(disk: &mut Disk, known: Known, read: &Recovery) {
    if disk.unflushed().all(|file| file == DiskFile::HardState) {
        return;
    }
    disk.take_unflushed_back();
    let left = journal::recover(&mut Segments { disk, misread: None }, known, &mut |_, _| ());
    let left = left.unwrap_or_else(|error| panic!("a power cut never makes a journal unusable: {error}"));
    disk.take_unflushed_back();
    let counted = |recovery: &Recovery| (recovery.chosen_upto, recovery.accepted.clone());
    assert!(
        counted(&left) == counted(read),
        "a start counts {:?}, and had a power cut come before its first record: {:?}",
        counted(read),
        counted(&left)
    );
}

/// Crashes tear what was under way and nothing else; whatever else recovery finds above what was `given_up`, it imagines.
fn only_torn(recovery: &Recovery, given_up: Slot) {
    let Recovery { lost, maybe, unknown, missing, .. } = recovery;
    // A later vote for a chosen slot may be torn beside a whole record that says so.
    let torn = |slot: u64| slot <= given_up.0 || maybe.iter().any(|name| name.slot == Slot(slot));
    let excused = missing.iter().all(|(from, upto)| (from.0..=upto.0).all(torn));
    let calm = lost.is_empty() && unknown.iter().all(|(_, upto)| *upto <= given_up) && excused;
    assert!(calm, "no disk was damaged, but recovery says lost {lost:?}, unknown {unknown:?}, missing {missing:?}");
}

/// The value of one record on disk; `astray`: of which the device reads a block elsewhere.
pub fn read_value(
    disk: &mut Disk,
    node: usize,
    incarnation: Incarnation,
    place: &Place,
    astray: Option<&mut Random>,
) -> Option<Value> {
    let identity = Identity { cell: CELL, replica: replica(node), incarnation };
    let from = usize::try_from(place.offset).ok()?;
    if !disk.reads(place.segment, from, place.bytes as usize) {
        return None;
    }
    let bytes = disk.segments.get(&place.segment)?.get(from..from + place.bytes as usize)?;
    let Some(random) = astray else { return place.value(identity, bytes) };
    let mut read = bytes.to_vec();
    disk.read_astray(random, "misread: log", from, &mut read);
    place.value(identity, &read)
}

/// The votes and learned values in one durable write of the journal.
pub fn records_of(bytes: &[u8]) -> Vec<AcceptedRecord> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Block::Head(Twin::Header, head) = Block::decode(&bytes[at..]) else {
            at += BLOCK_BYTES;
            continue;
        };
        if head.kind == RecordKind::Value {
            let content = &bytes[at + RECORD_HEADER_BYTES..][..head.value_bytes as usize];
            assert!(head.names(content), "a record is written whole");
            records.push(AcceptedRecord {
                slot: head.name.slot,
                ballot: head.name.ballot,
                value: Value::copy_of(content),
                learned: head.learned,
                chosen_upto: head.chosen_upto,
            });
        }
        at += usize::try_from(head.span()).expect("records are small");
    }
    records
}

/// Whether the log leads to the image that the hard state points to.
pub fn newest_is_led_to(disk: &Disk) -> bool {
    pointer(disk).is_some_and(|image| image.is_led_to)
}

/// Everything up to there is in the image that the hard state names.
pub fn pointed_to(disk: &Disk) -> Slot {
    pointer(disk).map_or(Slot(0), |image| image.slot)
}

fn pointer(disk: &Disk) -> Option<ImagePointer> {
    HardStateFile::open(CELL, &disk.hard_state).expect("two copies are whole").contents().image
}

/// The promise that all four copies of the hard state hold.
pub fn durable_promise(disk: &Disk) -> Ballot {
    let promises: Vec<Ballot> = hard_state::copies(&disk.hard_state)
        .filter_map(|copy| match copy {
            CopyState::Whole { contents, .. } => Some(contents.paxos.promised),
            CopyState::Newer(_) | CopyState::Damaged => None,
        })
        .collect();
    assert!(promises.len() + 1 >= COPIES, "one copy at a time is damaged: {promises:?}");
    promises.into_iter().min().unwrap_or_default()
}

/// A disk's segments, as recovery reads them.
struct Segments<'a> {
    disk: &'a Disk,
    /// The device brings that wherever the block is read.
    misread: Option<&'a Misread>,
}

impl SegmentRead for Segments<'_> {
    fn segments(&self) -> Vec<(SegmentId, u64)> {
        self.disk.segments.iter().map(|(segment, bytes)| (*segment, bytes.len() as u64)).collect()
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
        let from = usize::try_from(offset).map_err(std::io::Error::other)?;
        if !self.disk.reads(segment, from, into.len()) {
            return Err(std::io::Error::other("the device does not read that"));
        }
        into.copy_from_slice(&self.disk.segments[&segment][from..from + into.len()]);
        let is_here =
            |misread: &&Misread| misread.segment == segment && (from..from + into.len()).contains(&misread.at);
        if let Some(misread) = self.misread.filter(is_here) {
            into[misread.at - from..][..BLOCK_BYTES].copy_from_slice(&misread.brought);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::incarnation;
    use super::*;

    /// A log with a vote that its process did not live to flush, read by the next start; and what that knew before.
    fn read_unflushed() -> (Disk, Known, Recovery) {
        let mut random = Random::new(1);
        let plan = Plan::draw(&mut random);
        let mut disk = format(&plan, 0, incarnation(0), Config::of_voters);
        let read = |disk: &Disk| {
            let hard_state = HardStateFile::open(CELL, &disk.hard_state).expect("it is whole");
            let known = known(&hard_state, Slot(0));
            let recovery = journal::recover(&mut Segments { disk, misread: None }, known, &mut |_, _| ());
            (known, recovery.expect("the log is whole"))
        };
        let (Known { identity, .. }, Recovery { tail, .. }) = read(&disk);
        let mut journal = Journal::open(identity, Settings { segment_bytes: plan.segment_bytes as u64 }, tail);
        mark_start(&mut journal, &mut disk, &mut random, (0, 0)).expect("nothing tears it");
        let ballot = Ballot { round: 1, replica: identity.replica };
        let (value, chosen_upto) = (Value::noop(), Slot(0));
        journal.append(AcceptedRecord { slot: Slot(1), ballot, value, learned: false, chosen_upto });
        let write = journal.next_write().expect("nothing is under way");
        let at = usize::try_from(write.offset).expect("files are small");
        disk.put_unflushed(DiskFile::Segment(write.segment), at, &write.pieces.concat());
        let (known, recovery) = read(&disk);
        assert_eq!(recovery.accepted.len(), 1, "the vote is read");
        (disk, known, recovery)
    }

    #[test]
    fn a_start_that_flushes_what_it_reads_may_count_it() {
        let (mut disk, known, recovery) = read_unflushed();
        recovery.flush.iter().for_each(|segment| disk.flush(DiskFile::Segment(*segment)));
        rests_on_flushes(&mut disk, known, &recovery);
    }

    #[test]
    #[should_panic(expected = "had a power cut come")]
    fn a_start_that_counts_what_it_did_not_flush_is_noticed() {
        let (mut disk, known, recovery) = read_unflushed();
        rests_on_flushes(&mut disk, known, &recovery);
    }
}
