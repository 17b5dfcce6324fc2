//! The journal against its disk: whatever a crash or a damaged sector leaves, nothing acknowledged is denied, nothing
//! denied comes back, and what is not touched is not doubted.

use std::collections::BTreeSet;

use super::memory_disk::{Extent, IDENTITY, MemoryDisk, SECTOR_BYTES, Story, Told};
use super::record::Name;
use super::{Recovery, SegmentId};
use crate::limits::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use crate::paxos::{Slot, Value};

/// What a recovery says of one slot.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Said {
    Chosen,
    Have(Name),
    Lost(Name),
    Maybe(Name),
    Unknown,
    Never,
}

struct Judged {
    recovery: Recovery,
    emitted: Vec<(Slot, u128)>,
}

impl Judged {
    fn of(story: &Story) -> Self {
        let (recovery, emitted) = story.recover();
        Self { recovery, emitted }
    }

    fn said(&self, slot: Slot) -> Said {
        let r = &self.recovery;
        if slot <= r.chosen_upto {
            return Said::Chosen;
        }
        let name = |names: &[Name]| names.iter().find(|name| name.slot == slot).copied();
        let have = r.accepted.iter().find(|record| record.slot == slot);
        let mut said: Vec<Said> = Vec::new();
        said.extend(have.map(|r| Said::Have(Name { slot, ballot: r.ballot, hash: r.value.hash() })));
        said.extend(name(&r.lost).map(Said::Lost));
        said.extend(name(&r.maybe).map(Said::Maybe));
        said.extend(r.unknown.iter().find(|(from, upto)| *from <= slot && slot <= *upto).map(|_| Said::Unknown));
        assert!(said.len() <= 1, "one thing is said of a slot: {said:?} of {slot:?}");
        said.pop().unwrap_or(Said::Never)
    }

    /// What must hold whatever happened to the disk.
    fn is_safe(&self, story: &Story, what: &str) {
        for (slot, (of, value)) in (story.image_upto.0 + 1..).map(Slot).zip(&self.emitted) {
            assert_eq!(slot, *of, "{what}: chosen values leave in slot order");
            assert_eq!(
                story.chosen.get(&slot).map(Value::hash),
                Some(*value),
                "{what}: slot {slot} is emitted with its chosen value"
            );
        }
        assert_eq!(self.recovery.chosen_upto, story.image_upto.plus(self.emitted.len() as u64), "{what}");
        self.sends_what_was_chosen(story, what);
        let last = story.told.iter().map(|told| told.name.slot).max().unwrap_or(Slot(0));
        for slot in (1..=last.0).map(Slot) {
            let of_slot: Vec<_> = story.told.iter().filter(|told| told.name.slot == slot).collect();
            let newest = of_slot.iter().rposition(|told| told.acknowledged);
            let said = self.said(slot);
            match &said {
                Said::Chosen | Said::Unknown => {}
                Said::Never => assert!(newest.is_none(), "{what}: slot {slot} was acknowledged and is denied"),
                Said::Have(name) | Said::Lost(name) | Said::Maybe(name) => {
                    let known = of_slot.iter().rposition(|told| told.name == *name);
                    // A damaged re-acceptance of the same value leaves the older record to stand for it.
                    let known = known.unwrap_or_else(|| panic!("{what}: {said:?} was never appended"));
                    assert!(!of_slot[known].denied, "{what}: {said:?} was denied before");
                    assert!(newest.is_none_or(|newest| known >= newest), "{what}: {said:?} is not the newest");
                }
            }
        }
    }

    /// What the index has of the slots that are chosen is sent to peers, and the scrub relies on it.
    fn sends_what_was_chosen(&self, story: &Story, what: &str) {
        for slot in (1..=self.recovery.chosen_upto.0).map(Slot) {
            let Some(place) = self.recovery.tail.index.place_of(slot) else { continue };
            let (from, upto) = (place.offset as usize, (place.offset + u64::from(place.bytes)) as usize);
            let value = place.value(IDENTITY, &story.disk.files[&place.segment][from..upto]);
            let chosen = story.chosen.get(&slot).map(Value::hash);
            assert!(
                value.is_none_or(|value| Some(value.hash()) == chosen),
                "{what}: slot {slot} has another value there"
            );
        }
    }

    /// What only a crash leaves: all that was acknowledged is had, and nothing is reported to the operator.
    fn is_silent(&self, story: &Story, what: &str) {
        let r = &self.recovery;
        assert!(r.lost.is_empty() && r.unknown.is_empty(), "{what}: {:?} {:?} {:?}", r.lost, r.unknown, r.findings);
        for slot in r.missing.iter().flat_map(|(from, upto)| (from.0..=upto.0).map(Slot)) {
            // Learned, torn, and told as chosen by a record that was not torn.
            let newest = story.held(slot).expect("what is missing was appended");
            assert!(!newest.acknowledged, "{what}: {:?} is missing", newest.name);
        }
        assert!(r.findings.iter().all(super::Finding::is_ordinary), "{what}: {:?}", r.findings);
        assert_eq!(r.damaged_upto, Slot(0), "{what}: nothing is to be mended");
        for told in story.told.iter().filter(|told| told.acknowledged) {
            let slot = told.name.slot;
            let newer = |name: &Name| story.told.iter().any(|t| !t.acknowledged && t.name == *name);
            let said = self.said(slot);
            let newest = story.told.iter().rev().find(|t| t.name.slot == slot && t.acknowledged).expect("it is there");
            let fine = match &said {
                Said::Chosen => true,
                Said::Have(name) => *name == newest.name || newer(name),
                Said::Maybe(name) => newer(name),
                _ => false,
            };
            assert!(fine, "{what}: slot {slot} was acknowledged as {:?}, and {said:?} is said", newest.name);
        }
    }

    /// What this recovery says it has is durable from now on, and may be relied on.
    fn hold_to(&self, story: &mut Story) {
        for told in &mut story.told {
            let name = told.name;
            told.acknowledged |= matches!(self.said(name.slot), Said::Have(said) if said == name);
        }
    }

    /// Remembers what was denied, so that it may never come back.
    fn deny(&self, story: &mut Story) {
        let said: Vec<_> = story.told.iter().map(|told| self.said(told.name.slot)).collect();
        let slots = |slot: Slot| {
            story.told.iter().filter(move |told| told.name.slot == slot).map(|t| t.name).collect::<Vec<_>>()
        };
        let known: Vec<_> = said
            .iter()
            .zip(&story.told)
            .map(|(said, told)| match said {
                Said::Never => false,
                Said::Have(name) | Said::Lost(name) | Said::Maybe(name) => {
                    let all = slots(told.name.slot);
                    let at = |of: &Name| all.iter().position(|name| name == of);
                    at(&told.name) <= at(name)
                }
                Said::Chosen | Said::Unknown => true,
            })
            .collect();
        for (told, known) in story.told.iter_mut().zip(known) {
            told.denied |= !known;
        }
    }
}

fn story(seed: u64, turns: u64) -> Story {
    let mut story = Story::new(seed);
    let (fresh, _) = story.recover();
    story.live(fresh, turns);
    story
}

/// Recovers, goes on for a while, crashes cleanly and recovers again.
fn lives_on(mut story: Story, what: &str) {
    let first = Judged::of(&story);
    first.is_safe(&story, what);
    first.deny(&mut story);
    let before = story.told.len();
    story.live(first.recovery, 4);
    story.keep_in_flight();
    let again = Judged::of(&story);
    again.is_safe(&story, &format!("{what}, then a second life"));
    for told in &story.told[before..] {
        let newest = story.held(told.name.slot).expect("it was appended");
        let said = again.said(told.name.slot);
        let had = match &said {
            Said::Chosen => true,
            Said::Have(name) => *name == newest.name,
            _ => false,
        };
        assert!(had, "{what}: the second life's {:?} is {said:?}", told.name);
    }
}

#[test]
fn what_was_written_is_read() {
    for seed in 0..60 {
        let mut story = story(seed, 10);
        story.keep_in_flight();
        let judged = Judged::of(&story);
        judged.is_safe(&story, "whole");
        judged.is_silent(&story, "whole");
        assert!(judged.recovery.maybe.is_empty() && judged.recovery.findings.is_empty(), "seed {seed}");
        for told in &story.told {
            let newest = story.held(told.name.slot).expect("it was appended");
            let place =
                judged.recovery.tail.index.place_of(told.name.slot).expect("every slot's newest record is indexed");
            let from = place.offset as usize;
            let bytes = &story.disk.files[&place.segment][from..from + place.bytes as usize];
            let value = place.value(super::memory_disk::IDENTITY, bytes).expect("the place holds the value");
            assert_eq!(value.hash(), newest.name.hash, "a place leads to the newest value");
        }
        lives_on(story, &format!("seed {seed}"));
    }
}

/// Makes durable the sectors of the in-flight writes that `kept` says, of (write, sector).
fn tear(story: &Story, kept: impl Fn(usize, usize) -> bool) -> Story {
    let mut torn = story.clone();
    for (number, extent) in std::mem::take(&mut torn.in_flight).iter().enumerate() {
        for (sector, bytes) in extent.bytes.chunks(SECTOR_BYTES).enumerate().filter(|(s, _)| kept(number, *s)) {
            let offset = extent.offset + sector * SECTOR_BYTES;
            torn.disk.put(&Extent { segment: extent.segment, offset, bytes: bytes.to_vec() });
        }
    }
    torn
}

fn sectors(extent: &Extent) -> usize {
    extent.bytes.len() / SECTOR_BYTES
}

fn is_torn(story: Story, what: &str) {
    let judged = Judged::of(&story);
    judged.is_safe(&story, what);
    judged.is_silent(&story, what);
    lives_on(story, what);
}

#[test]
fn a_write_torn_at_any_sector_is_cut_silently() {
    for seed in 100..112 {
        let story = story(seed, 6);
        for (torn, extent) in story.in_flight.iter().enumerate() {
            for cut in 0..=sectors(extent) {
                for others in [false, true] {
                    let kept = |write, sector| if write == torn { sector < cut } else { others };
                    is_torn(tear(&story, kept), &format!("seed {seed}: write {torn} up to {cut}, others {others}"));
                    let kept = |write, sector| if write == torn { sector >= cut } else { others };
                    is_torn(tear(&story, kept), &format!("seed {seed}: write {torn} from {cut}, others {others}"));
                }
            }
        }
    }
}

#[test]
fn a_write_without_any_one_or_any_few_of_its_sectors_is_cut_silently() {
    for seed in 200..206 {
        let mut story = story(seed, 6);
        for (torn, extent) in story.in_flight.iter().enumerate() {
            for hole in 0..sectors(extent) {
                is_torn(
                    tear(&story, |write, sector| write != torn || sector != hole),
                    &format!("seed {seed}: hole {hole}"),
                );
            }
        }
        for round in 0..200 {
            let mut dice = story.dice.clone();
            story.dice.below(2);
            let few = 2 + dice.below(6);
            let choices: Vec<Vec<bool>> =
                story.in_flight.iter().map(|e| (0..sectors(e)).map(|_| dice.below(few) > 0).collect()).collect();
            is_torn(tear(&story, |write, sector| choices[write][sector]), &format!("seed {seed}, round {round}"));
        }
    }
}

#[test]
fn a_start_torn_at_any_sector_is_begun_again() {
    for seed in 300..304 {
        let base = story(seed, 5);
        for half in 0..sectors(&base.in_flight[0]) {
            let mut story = tear(&base, |write, sector| write == 0 && sector < half || write == 1);
            let first = Judged::of(&story);
            first.deny(&mut story);
            let before = story.disk.clone();
            story.live(first.recovery, 0);
            let begun = std::mem::replace(&mut story.disk, before);
            // The second life's first write, and whatever of it became durable.
            let changed: Vec<_> =
                begun.sectors().into_iter().filter(|at| sector(&begun, *at) != sector(&story.disk, *at)).collect();
            story.told.retain(|told| !told.extent.as_ref().is_some_and(|e| story.in_flight.contains(e)));
            story.in_flight.clear();
            story.start = base.start;
            story.told.truncate(base.told.len());
            for kept in 0..=changed.len() {
                let mut torn = story.clone();
                for (segment, offset) in &changed[..kept] {
                    let bytes = sector(&begun, (*segment, *offset)).expect("it is there").to_vec();
                    torn.disk.files.entry(*segment).or_insert_with(|| vec![0; super::memory_disk::SEGMENT_BYTES]);
                    torn.disk.put(&Extent { segment: *segment, offset: *offset, bytes });
                }
                is_torn(torn, &format!("seed {seed}: torn at {half}, and the start at {kept}"));
            }
        }
    }
}

fn sector(disk: &MemoryDisk, (segment, offset): (SegmentId, usize)) -> Option<&[u8]> {
    disk.files.get(&segment).and_then(|file| file.get(offset..offset + SECTOR_BYTES))
}

/// The ways a sector goes bad.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip,
    Zeros,
    Noise,
    Unreadable,
}

fn harm(story: &Story, (segment, offset): (SegmentId, usize), harm: Harm) -> Story {
    let mut harmed = story.clone();
    let file = harmed.disk.files.get_mut(&segment).expect("the segment is there");
    let bytes = &mut file[offset..offset + SECTOR_BYTES];
    match harm {
        Harm::Flip => bytes[(offset / SECTOR_BYTES * 37) % SECTOR_BYTES] ^= 0x10,
        Harm::Zeros => bytes.fill(0),
        Harm::Noise => bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 89 + offset / 512) as u8),
        Harm::Unreadable => {
            let block = offset / BLOCK_BYTES * BLOCK_BYTES;
            harmed.disk.unreadable.insert((segment, block as u64));
        }
    }
    harmed
}

/// The record that lies there.
fn record_at(story: &Story, at: (SegmentId, usize)) -> Option<usize> {
    story.told.iter().position(|told| told.extent.as_ref().is_some_and(|e| e.holds(at.0, at.1)))
}

/// Whatever bad sectors do, they do it to the records they lie in and to no other.
fn harms_only(story: &Story, harmed: &Story, places: &[(SegmentId, usize)], what: &str) {
    let judged = Judged::of(harmed);
    judged.is_safe(harmed, what);
    let victims: Vec<Name> =
        places.iter().filter_map(|at| record_at(story, *at)).map(|index| story.told[index].name).collect();
    let is_victim = |slot: Slot| victims.iter().any(|name| name.slot == slot);
    for slot in (1..=story.told.iter().map(|t| t.name.slot.0).max().unwrap_or(0)).map(Slot) {
        let newest = story.held(slot).expect("every slot was written");
        let had = match judged.said(slot) {
            Said::Chosen => true,
            Said::Have(name) => name == newest.name,
            _ => false,
        };
        assert!(had || is_victim(slot), "{what}: slot {slot} is doubted: {:?}", judged.said(slot));
    }
    let r = &judged.recovery;
    // The same with all of it in an image, which leaves the log as it is.
    let mut imaged = harmed.clone();
    imaged.image_upto = story.chosen_upto;
    Judged::of(&imaged).is_safe(&imaged, &format!("{what}, behind an image"));
    let upto = victims.iter().map(|name| name.slot).max().unwrap_or_default();
    let lost_value = judged.recovery.lost.len() + judged.recovery.maybe.len() + judged.recovery.missing.len();
    let unread = places.iter().filter_map(|at| record_at(story, *at)).any(|index| !is_read(harmed, &story.told[index]));
    assert!(lost_value == 0 || unread, "{what}: a value that is there is said to be lost");
    // The newest may be torn, as far as the log tells.
    let older = places.iter().filter_map(|at| record_at(story, *at)).all(|index| index + 8 < story.told.len());
    assert!(
        !unread || !older || r.damaged_upto >= upto,
        "{what}: to be mended is {upto}, and {} is said",
        r.damaged_upto
    );
    let named = r.lost.iter().chain(&r.maybe).all(|name| victims.contains(name));
    assert!(named, "{what}: {:?} {:?} against {victims:?}", r.lost, r.maybe);
    let beyond: BTreeSet<_> = r.missing.iter().flat_map(|(from, upto)| from.0..=upto.0).collect();
    assert!(beyond.iter().all(|slot| is_victim(Slot(*slot))), "{what}: {beyond:?} is missing");
}

/// Whether the value of a record is still what was written.
fn is_read(story: &Story, told: &Told) -> bool {
    let extent = told.extent.as_ref().expect("every record was handed to the disk");
    let file = &story.disk.files[&extent.segment];
    let content = RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + story.values[&told.name].bytes().len();
    file[extent.offset..][content.clone()] == extent.bytes[content]
}

/// A story whose every record was acknowledged.
fn durable_story(seed: u64) -> Story {
    let mut story = story(seed, 8);
    story.keep_in_flight();
    story.told.iter_mut().for_each(|told| told.acknowledged = true);
    story
}

#[test]
fn one_bad_sector_anywhere_costs_at_most_its_own_record() {
    for seed in 400..406 {
        let story = durable_story(seed);
        for at in story.disk.sectors() {
            for how in [Harm::Flip, Harm::Zeros, Harm::Noise] {
                let what = format!("seed {seed}: {how:?} at {at:?}");
                harms_only(&story, &harm(&story, at, how), &[at], &what);
            }
        }
    }
}

/// Of the second its successor tells the name, of the first nothing is left; among the newest records, two that are lost look
/// as if they had never been written. An image holds what was chosen, and the log behind it must not pass an older record
/// off as that.
#[test]
fn two_neighbours_that_are_lost_whole_leave_no_older_record_in_their_place() {
    for seed in 400..430 {
        let story = durable_story(seed);
        for pair in story.told.windows(2) {
            let mut lost = story.clone();
            for told in pair {
                let extent = told.extent.clone().expect("every record was handed to the disk");
                lost.disk.put(&Extent { bytes: vec![0; extent.bytes.len()], ..extent });
            }
            lost.image_upto = story.chosen_upto;
            Judged::of(&lost)
                .sends_what_was_chosen(&lost, &format!("seed {seed}: {:?} and {:?}", pair[0].name, pair[1].name));
        }
    }
}

/// The disk said that it was written, and what was there before is there still.
#[test]
fn one_stale_sector_anywhere_costs_at_most_its_own_record() {
    let mut stale = 0;
    for seed in 420..426 {
        let story = durable_story(seed);
        for (written, before) in &story.writes {
            for at in (0..written.bytes.len()).step_by(SECTOR_BYTES) {
                let place = (written.segment, written.offset + at);
                let bytes = before.bytes[at..at + SECTOR_BYTES].to_vec();
                if sector(&story.disk, place) == Some(&bytes) {
                    continue;
                }
                let mut harmed = story.clone();
                harmed.disk.put(&Extent { segment: place.0, offset: place.1, bytes });
                harms_only(&story, &harmed, &[place], &format!("seed {seed}: {place:?} is stale"));
                stale += 1;
            }
        }
    }
    assert!(stale > 500, "only {stale} sectors were tried");
}

/// Two sectors have changed places: of one block, of neighbouring blocks, or of two segments.
#[test]
fn two_swapped_sectors_anywhere_cost_at_most_their_own_records() {
    let mut swapped = 0;
    for seed in 440..446 {
        let story = durable_story(seed);
        for at in story.disk.sectors() {
            for with in [(at.0, at.1 + SECTOR_BYTES), (at.0, at.1 + BLOCK_BYTES), (at.0.next(), at.1)] {
                let records = (record_at(&story, at), record_at(&story, with));
                let blocks = [at, with].map(|(segment, offset)| (segment, offset / BLOCK_BYTES));
                // A record of which two blocks are bad is more than it is made to survive.
                let is_one_record = records.0 == records.1 && blocks[0] != blocks[1];
                let [Some(one), Some(other)] = [at, with].map(|place| sector(&story.disk, place).map(<[u8]>::to_vec))
                else {
                    continue;
                };
                if is_one_record || one == other {
                    continue;
                }
                let mut harmed = story.clone();
                harmed.disk.put(&Extent { segment: at.0, offset: at.1, bytes: other });
                harmed.disk.put(&Extent { segment: with.0, offset: with.1, bytes: one });
                harms_only(&story, &harmed, &[at, with], &format!("seed {seed}: {at:?} and {with:?} are swapped"));
                swapped += 1;
            }
        }
    }
    assert!(swapped > 1000, "only {swapped} pairs were tried");
}

#[test]
fn a_damaged_log_lives_on() {
    for seed in 500..504 {
        let mut story = story(seed, 6);
        story.keep_in_flight();
        for at in story.disk.sectors() {
            for how in [Harm::Noise, Harm::Zeros, Harm::Unreadable] {
                lives_on(harm(&story, at, how), &format!("seed {seed}: {how:?} at {at:?}"));
            }
        }
    }
}

/// Some of the sectors of what was under way.
fn torn_at_random(story: &mut Story) -> Story {
    let fates: Vec<(u64, u64, u64)> = story
        .in_flight
        .clone()
        .iter()
        .map(|extent| {
            (story.dice.below(5), story.dice.below(sectors(extent) as u64 + 1), story.dice.below(u64::MAX >> 34))
        })
        .collect();
    tear(story, |write, sector| {
        let (fate, upto, noise) = fates[write];
        match fate {
            0 => false,
            1 => true,
            2 => (sector as u64) < upto,
            3 => (sector as u64) != upto,
            _ => (noise >> (sector % 24)) & 1 == 0,
        }
    })
}

/// Lives, crashes and bad sectors, one a life and never two in one record.
fn many_lives(seed: u64, lives: u64) -> Story {
    let mut story = Story::new(seed);
    story.trims = seed % 2 == 1;
    let mut harmed = BTreeSet::new();
    for life in 0..lives {
        let what = format!("seed {seed}, life {life}");
        let judged = Judged::of(&story);
        judged.is_safe(&story, &what);
        if harmed.is_empty() {
            judged.is_silent(&story, &what);
        }
        judged.deny(&mut story);
        judged.hold_to(&mut story);
        let turns = story.dice.below(8);
        story.live(judged.recovery, turns);
        story = torn_at_random(&mut story);
        if story.dice.below(3) == 0 {
            let sectors = story.disk.sectors();
            let at = sectors[story.dice.below(sectors.len() as u64) as usize];
            let record = story.told.iter().rposition(|t| t.extent.as_ref().is_some_and(|e| e.holds(at.0, at.1)));
            // All that is no record of a slot counts as one: both heads of a start are not damaged at once.
            if harmed.insert(record) {
                let how = [Harm::Flip, Harm::Zeros, Harm::Noise, Harm::Unreadable][story.dice.below(4) as usize];
                story = harm(&story, at, how);
            }
        }
    }
    story
}

#[test]
fn many_lives_with_crashes_and_bad_sectors_deny_nothing() {
    // For a longer search than a test run has time for.
    let seeds = std::env::var("JOURNAL_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let recycled: u64 = (1000..1000 + seeds).map(|seed| many_lives(seed, 6).recycled).sum();
    assert!(recycled > seeds / 4, "segments were used again, {recycled} of them");
}

#[test]
fn a_lost_write_is_noticed_by_those_after_it() {
    for seed in 600..640 {
        let mut story = story(seed, 12);
        story.keep_in_flight();
        // What claims a write is durable is handed out two writes later.
        for lost in 0..story.writes.len().saturating_sub(2) {
            let what = format!("seed {seed}: write {lost} never happened");
            let mut harmed = story.clone();
            let (_, before) = &story.writes[lost];
            harmed.disk.put(before);
            let judged = Judged::of(&harmed);
            judged.is_safe(&harmed, &what);
            assert!(
                judged.recovery.findings.iter().any(|f| !f.is_ordinary()),
                "{what}: {:?}",
                judged.recovery.findings
            );
            lives_on(harmed, &what);
        }
    }
}

#[test]
fn a_misdirected_write_harms_both_places_and_is_noticed() {
    for seed in 700..720 {
        let mut story = story(seed, 12);
        story.keep_in_flight();
        let sound = story.writes.len().saturating_sub(2);
        for (strayed, onto) in (0..sound).flat_map(|s| (0..sound).map(move |o| (s, o))).filter(|(s, o)| s != o) {
            let what = format!("seed {seed}: write {strayed} strayed onto {onto}");
            let mut harmed = story.clone();
            let ((write, before), (victim, _)) = (&story.writes[strayed], &story.writes[onto]);
            harmed.disk.put(before);
            let room = (super::memory_disk::SEGMENT_BYTES - victim.offset).min(write.bytes.len());
            let bytes = write.bytes[..room].to_vec();
            harmed.disk.put(&Extent { bytes, ..*victim });
            let judged = Judged::of(&harmed);
            judged.is_safe(&harmed, &what);
            assert!(
                judged.recovery.findings.iter().any(|f| !f.is_ordinary()),
                "{what}: {:?}",
                judged.recovery.findings
            );
        }
    }
}

#[test]
fn a_missing_file_is_noticed() {
    for seed in 800..900 {
        let mut story = story(seed, 14);
        story.keep_in_flight();
        let used: Vec<_> = story.told.iter().filter_map(|t| t.extent.as_ref().map(|e| e.segment)).collect();
        let last = *used.last().expect("something was written");
        for segment in story.disk.files.keys().copied().filter(|s| *s < last).collect::<Vec<_>>() {
            let mut harmed = story.clone();
            harmed.disk.files.remove(&segment);
            Judged::of(&harmed).is_safe(&harmed, &format!("seed {seed}: without {segment}"));
        }
    }
}

/// A file that was given up begins its next life with all that it held. Under its new name that is nothing, though every
/// sum in it is right: not where nothing was written over it yet, and not where the first write was torn.
#[test]
fn what_a_file_held_under_another_name_is_nothing() {
    for seed in 0..20 {
        let mut story = story(seed, 30);
        story.keep_in_flight();
        let before = Judged::of(&story).recovery;
        let oldest = story.disk.files.values().next().expect("there is a segment").clone();
        assert!(oldest.iter().any(|byte| *byte != 0), "the oldest segment holds something");
        let blank = |(_, file): &(&SegmentId, &Vec<u8>)| file.iter().all(|byte| *byte == 0);
        let next = story.disk.files.iter().find(blank).map(|(segment, _)| *segment);
        let last = *story.disk.files.keys().next_back().expect("there is a segment");
        story.disk.files.insert(next.unwrap_or(last.next()), oldest);
        let judged = Judged::of(&story);
        let after = &judged.recovery;
        assert_eq!(
            (after.chosen_upto, after.highest_ballot),
            (before.chosen_upto, before.highest_ballot),
            "seed {seed}"
        );
        assert_eq!(after.accepted, before.accepted, "seed {seed}");
        assert_eq!((&after.lost, &after.maybe), (&before.lost, &before.maybe), "seed {seed}");
        assert_eq!(after.findings, before.findings, "seed {seed}");
        lives_on(story, &format!("seed {seed}, a used file"));
    }
}
