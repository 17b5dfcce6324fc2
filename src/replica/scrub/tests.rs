//! How long a pass takes, where a life begins, and what short lives come to together; images that leave damage behind.

use bytes::Bytes;

use super::*;
use crate::journal::{Identity, Journal};
use crate::paxos::{AcceptedRecord, Ballot, CellId, Config, Configs, Incarnation, Settings};
use crate::replica::exchange::{DiskFile, Input};
use crate::replica::image_file::{ImageHead, ImageWriter};
use crate::replica::transfer::tests::{recovered, settings, started};

#[test]
fn what_the_start_found_damaged_is_left_behind_by_an_image() {
    let is_begun = |damaged_upto| is_begun(&[Slot(4), Slot(5)], damaged_upto);
    assert_eq!([Slot(0), Slot(4), Slot(5), Slot(6)].map(is_begun), [false, false, true, true]);
}

#[test]
fn a_start_that_hangs_on_one_image_takes_another() {
    assert!(is_begun(&[Slot(5)], Slot(0)), "the log does not lead there, and there is no other");
}

fn is_begun(images: &[Slot], damaged_upto: Slot) -> bool {
    let mut effects = Vec::new();
    started(images, damaged_upto).step(Instant::ZERO, Input::TurnEnd { wall_ms: 0 }, &mut effects);
    effects.iter().any(|effect| matches!(effect, Effect::BeginImage { .. }))
}

#[test]
fn a_pass_over_the_log_and_the_images_ends_within_the_period() {
    for draw in [0, 1 << 62, 1 << 63, 3 << 62, u64::MAX] {
        let mut life = Life::begun(draw);
        life.lasting(PERIOD.scaled(3, 1));
        let [first, second, ..] = &life.passes[..] else { panic!("draw {draw}: passes ended at {:?}", life.passes) };
        assert!(first.since(Instant::ZERO) <= PERIOD, "draw {draw}: the first pass ended at {first:?}");
        assert!(
            second.since(*first) <= PERIOD,
            "draw {draw}: the second pass ended at {second:?}, the first at {first:?}"
        );
        assert_eq!(life.damaged, [], "nothing is damaged");
        assert_eq!(missed(draw, PERIOD), [], "draw {draw}: everything is read in the first period");
    }
}

#[test]
fn a_pass_is_spread_over_about_half_the_period() {
    let mut life = Life::begun(0);
    life.lasting(PERIOD);
    let first = life.passes.first().expect("a pass ended").since(Instant::ZERO);
    assert!(first >= PERIOD.scaled(3, 8), "it took {first}: what is read all at once is in somebody's way");
    assert!(first <= PERIOD.scaled(5, 8), "it took {first}: what is read may grow meanwhile");
}

#[test]
fn a_pass_comes_to_its_end_however_often_the_hard_state_is_written() {
    let mut life = Life { votes: true, ..Life::begun(0) };
    life.lasting(PERIOD);
    assert!(!life.passes.is_empty(), "after {:?}", life.reads.last());
}

#[test]
fn short_lives_together_come_to_what_one_does_not() {
    let (one, other) = (missed(0, SHORT), missed(HALF, SHORT));
    assert!(one.iter().any(|(file, ..)| *file == Still::Image(NEWER)), "from the beginning the end is not reached");
    assert!(other.iter().any(|(file, ..)| matches!(file, Still::Segment(_))), "from the middle, the log's is not");
    let by_neither: Vec<_> = one.iter().filter(|piece| other.contains(piece)).collect();
    assert!(by_neither.is_empty(), "{by_neither:?}");
    assert_eq!(missed(HALF, SHORT), other, "the same draw begins at the same place");
}

/// An image takes almost three times as long as these lives last: those come to its end that begin in the middle of it.
#[test]
fn lives_shorter_than_an_image_takes_come_to_everything_together() {
    const LIVES: u64 = 32;
    let span = PERIOD.scaled(1, 14);
    let mut by_none = missed(0, span);
    for number in 1..LIVES {
        let by_this = missed(number * (u64::MAX / LIVES), span);
        by_none.retain(|piece| by_this.contains(piece));
    }
    assert_eq!(by_none, []);
}

#[test]
fn damage_that_no_short_life_reaches_from_the_beginning_is_found_from_elsewhere() {
    let found = |draw| {
        let mut life = Life::begun(draw);
        let file = life.disk.file(Still::Image(NEWER));
        let at = file.len() - 50_000;
        file[at] ^= 1;
        life.lasting(SHORT);
        life.damaged
    };
    assert_eq!(found(0), []);
    assert_eq!(found(HALF), [Still::Image(NEWER)]);
}

#[test]
fn damage_before_the_place_where_a_life_began_is_found_when_it_comes_round() {
    let segment = Still::Segment(SegmentId(1));
    let mut life = Life::begun(HALF);
    life.disk.file(segment)[SEGMENT_BYTES as usize / 2] ^= 1;
    life.lasting(PERIOD.scaled(1, 2));
    assert_eq!(life.damaged, [segment]);
}

/// Only its end shows that.
#[test]
fn an_image_with_two_pieces_exchanged_is_damaged_and_left_behind() {
    let mut life = Life::begun(0);
    let mut pieces = pieces(NEWER);
    pieces.swap(1, 2);
    *life.disk.file(Still::Image(NEWER)) = pieces.concat();
    life.lasting(PERIOD);
    assert_eq!(life.damaged, [Still::Image(NEWER)]);
    assert!(matches!(life.errors[..], [ImageFileError::Hash { .. }]), "each piece is whole: {:?}", life.errors);
    assert_eq!(life.replica.images.newest(), Some(NEWER.plus(RECORDS)), "one past it was taken");
}

#[test]
fn an_image_that_is_taken_counts_with_the_bytes_of_its_file() {
    let mut life = Life::begun(HALF);
    life.disk.file(Still::Image(NEWER))[1000] ^= 1;
    life.lasting(PERIOD);
    let kept = life.replica.images.kept().clone();
    assert_eq!(kept.keys().copied().collect::<Vec<_>>(), [NEWER, NEWER.plus(RECORDS)], "one past the damage was taken");
    for (slot, bytes) in kept {
        assert_eq!(life.disk.file(Still::Image(slot)).len() as u64, bytes, "the image up to {slot}");
    }
}

const PERIOD: Duration = Duration::from_secs(10);

/// A life with time for three fifths of a pass, which takes half the period.
const SHORT: Duration = Duration::from_secs(3);

/// The draw by which a life begins near the end of the older image.
const HALF: u64 = 1 << 63;

const OLDER: Slot = Slot(4);
const NEWER: Slot = Slot(5);

/// Four to a read, and fifteen to a segment: the log is a sixth of what lies still.
const RECORDS: u64 = 17;
const VALUE_BYTES: usize = 60_000;
const SEGMENT_BYTES: u64 = 1 << 20;

/// An image takes eleven reads, and one that finds its end.
const IMAGE_PIECES: u64 = 40;
const PIECE_BYTES: usize = 64 << 10;

/// A replica that has read nothing back yet; its disk, and what it came to.
struct Life {
    replica: Replica,
    disk: Disk,
    /// Its hard state is written between any two reads that are apart in time.
    votes: bool,
    reads: Vec<Piece>,
    passes: Vec<Instant>,
    damaged: Vec<Still>,
    /// What damaged images are not.
    errors: Vec<ImageFileError>,
}

/// So many bytes of that file, from there on.
type Piece = (Still, u64, u64);

#[derive(Default)]
struct Disk(Vec<(Still, Vec<u8>)>);

impl Life {
    fn begun(draw: u64) -> Self {
        let mut disk = Disk::default();
        [OLDER, NEWER].into_iter().for_each(|slot| disk.put(Still::Image(slot), 0, &image(slot)));
        let images = [OLDER, NEWER].map(|slot| (slot, disk.file(Still::Image(slot)).len() as u64));
        let mut recovered = recovered(images.into(), |journal| write_log(journal, &mut disk));
        recovered.paxos.chosen_upto = NEWER.plus(RECORDS);
        recovered.scrub_period = Some(PERIOD);
        let settings = Settings { seed: draw, ..settings() };
        let replica = Replica::start(Instant::ZERO, settings, recovered, 1, 7);
        let (reads, passes, damaged, errors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut life = Self { replica, disk, votes: false, reads, passes, damaged, errors };
        life.save(Instant::ZERO);
        life
    }

    /// Writes the hard state.
    fn save(&mut self, now: Instant) {
        self.replica.storage.write_again(&[0]);
        while self.replica.storage.copies_at_rest().is_none() {
            let mut effects = Vec::new();
            self.replica.storage.hard_state_writes(&mut effects);
            self.done(now, effects);
        }
    }

    /// Reads as long as that.
    fn lasting(&mut self, span: Duration) {
        let mut now = Instant::ZERO;
        for _ in 0..TURNS_MAX {
            let before = now;
            now = now.max(self.replica.scrub.next_deadline());
            if now > Instant::ZERO + span {
                return;
            }
            if self.votes && now > before {
                self.save(now);
            }
            let mut effects = Vec::new();
            self.replica.step(now, Input::TurnEnd { wall_ms: 0 }, &mut effects);
            self.done(now, effects);
        }
        panic!("after {TURNS_MAX} reads it is {now:?} only");
    }

    /// Does what is asked for, and what that leads to.
    fn done(&mut self, now: Instant, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                let Some(input) = self.answer(now, effect) else { continue };
                self.replica.step(now, input, &mut effects);
            }
        }
    }

    fn answer(&mut self, now: Instant, effect: Effect) -> Option<Input> {
        match effect {
            Effect::ReadBack { file, offset, bytes } => {
                let bytes = self.disk.read(file, offset, bytes);
                self.reads.push((file, offset, bytes.len() as u64));
                return Some(Input::ReadBack { bytes: Some(bytes) });
            }
            Effect::Write { token, file, offset, pieces } => {
                let file = match file {
                    DiskFile::Segment(segment) => Still::Segment(segment),
                    DiskFile::HardState => Still::HardState,
                };
                self.disk.put(file, offset, &pieces.concat());
                return Some(Input::Written { token });
            }
            Effect::ImagePiece { slot, bytes } => {
                self.disk.file(Still::Image(slot)).extend_from_slice(&bytes);
                return Some(Input::ImageWritten { slot });
            }
            Effect::FinishImage { slot } => return Some(Input::ImageDurable { slot }),
            Effect::Scrubbed(Scrubbed::Pass { .. }) => self.passes.push(now),
            Effect::Scrubbed(Scrubbed::Damaged { file, error, .. }) => {
                self.damaged.push(file);
                self.errors.extend(error);
            }
            Effect::Scrubbed(Scrubbed::CopiesDamaged(_)) | Effect::HardStateLost { .. } => {
                panic!("all four copies are whole: {effect:?}")
            }
            _ => {}
        }
        None
    }

    /// All that there is to be read: each of them lies in one read.
    fn pieces(&mut self) -> Vec<Piece> {
        let copies = (0..COPIES).map(|copy| (Still::HardState, HardStateFile::place_of(copy), BLOCK_BYTES as u64));
        let mut pieces: Vec<Piece> = copies.collect();
        for slot in (1..=RECORDS).map(|number| NEWER.plus(number)) {
            let place = self.replica.storage.journal().place_of(slot).expect("it is durable");
            pieces.push((Still::Segment(place.segment), place.offset, u64::from(place.bytes)));
        }
        for file in [OLDER, NEWER].map(Still::Image) {
            let length = self.disk.file(file).len() as u64;
            let piece = |at: u64| (file, at, (length - at).min(PIECE_BYTES as u64));
            pieces.extend((0..length).step_by(PIECE_BYTES).map(piece));
        }
        pieces
    }
}

/// What a life that draws so does not read while it lasts.
fn missed(draw: u64, span: Duration) -> Vec<Piece> {
    let mut life = Life::begun(draw);
    let mut pieces = life.pieces();
    life.lasting(span);
    let holds = |(read, from, length): &Piece, (file, at, bytes): &Piece| {
        read == file && from <= at && at + bytes <= from + length
    };
    pieces.retain(|piece| !life.reads.iter().any(|read| holds(read, piece)));
    pieces
}

impl Disk {
    fn file(&mut self, file: Still) -> &mut Vec<u8> {
        let at = self.0.iter().position(|(found, _)| *found == file).unwrap_or_else(|| {
            self.0.push((file, Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    fn put(&mut self, file: Still, offset: u64, bytes: &[u8]) {
        let file = self.file(file);
        let (from, end) = (offset as usize, offset as usize + bytes.len());
        file.resize(file.len().max(end), 0);
        file[from..end].copy_from_slice(bytes);
    }

    fn read(&mut self, file: Still, offset: u64, bytes: usize) -> Bytes {
        let rest = self.file(file).get(offset as usize..).unwrap_or_default();
        Bytes::copy_from_slice(&rest[..bytes.min(rest.len())])
    }
}

/// Slots that are chosen and in no image.
fn write_log(journal: &mut Journal, disk: &mut Disk) {
    for slot in (1..=RECORDS).map(|number| NEWER.plus(number)) {
        let (ballot, value) = (Ballot { round: 1, replica: ReplicaId(1) }, Value::copy_of(&noise(slot.0, VALUE_BYTES)));
        journal.append(AcceptedRecord { slot, ballot, value, learned: true, chosen_upto: slot.previous() });
        if let Some(segment) = journal.segment_wanted() {
            journal.segment_ready(segment);
        }
        while let Some(write) = journal.next_write() {
            disk.put(Still::Segment(write.segment), write.offset, &write.pieces.concat());
            journal.completed(Instant::ZERO, write.id);
        }
    }
}

/// An image that is whole, whatever its rows hold.
fn image(slot: Slot) -> Vec<u8> {
    pieces(slot).concat()
}

/// What it is written in.
fn pieces(slot: Slot) -> Vec<Bytes> {
    let identity = Identity { cell: CellId(1), replica: ReplicaId(1), incarnation: Incarnation(1) };
    let configs = Configs::of_operator(Config::of_voters((1..=3).map(ReplicaId)));
    let mut writer = ImageWriter::default();
    let mut pieces = vec![writer.head(&ImageHead { identity, slot, revision: 0, configs })];
    pieces.extend((0..IMAGE_PIECES).map(|piece| writer.rows(&noise(1000 * slot.0 + piece, PIECE_BYTES))));
    pieces.push(writer.end());
    pieces
}

/// Bytes that nothing makes fewer of.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed + 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(bytes).collect()
}

/// More reads than any of these lives has.
const TURNS_MAX: usize = 1_000;
