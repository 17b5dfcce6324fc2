//! Reads the log once, forwards, and says what may be said of every slot.

use std::collections::BTreeMap;

use super::evidence::{Bad, Evidence};
use super::finding::{Error, Finding};
use super::index::{Index, Place};
use super::record::{FORMAT_VERSION, Head, Name, RecordKind, Start, span_of};
use super::scan::{Found, Gap, Scanner, Seen, SegmentRead, Window};
use super::segment::SegmentHead;
use super::writer::{IN_FLIGHT_BYTES_MAX, Tail};
use super::{Identity, SegmentId};
use crate::limits::JOURNAL_WRITES_IN_FLIGHT;
use crate::paxos::{AcceptedRecord, Ballot, Slot, Stretch, Value};

/// What the hard state says before the log is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Whose journal it should be.
    pub identity: Identity,
    /// The newest start it knows; 0 for a replica that never ran.
    pub start: u64,
    /// Its version.
    pub hard_state: u64,
    /// Everything up to there is in the image that the state machine was loaded from.
    pub image_upto: Slot,
    /// Every slot up to there is chosen, though neither the image nor the log may tell what was.
    pub chosen_upto: Slot,
    /// The log leads to the image: its records up to there were durable when the image came to be used.
    pub image_is_led_to: bool,
}

/// What the log says.
#[derive(Debug)]
pub struct Recovery {
    /// Where to go on, for [`super::Journal::open`].
    pub tail: Tail,
    /// Files to be flushed before the first write: what was read from them may still be in the device's cache.
    pub flush: Vec<SegmentId>,
    /// Everything up to there is chosen and was handed to the visitor, or is in the image.
    pub chosen_upto: Slot,
    /// Of each slot above, the newest record, if its value is whole. `learned`: the slot is chosen.
    pub accepted: Vec<AcceptedRecord>,
    /// Accepted and acknowledged, value damaged.
    pub lost: Vec<Name>,
    /// Accepted, value damaged, and perhaps never acknowledged: neither "have it" nor "never accepted".
    pub maybe: Vec<Name>,
    /// Of these nothing can be said; a slot is in none of the other lists then.
    pub unknown: Vec<Stretch>,
    /// Known to be chosen, value not had here: to be fetched from peers.
    pub missing: Vec<Stretch>,
    /// The highest ballot of any record: the promise is at least that.
    pub highest_ballot: Ballot,
    /// Where anything is damaged, even of no consequence to this start: the highest slot of any record.
    pub damaged_upto: Slot,
    /// For the operator.
    pub findings: Vec<Finding>,
}

impl Recovery {
    /// Names as a core takes them.
    #[must_use]
    pub fn tuples(names: &[Name]) -> Vec<(Slot, Ballot, u128)> {
        names.iter().map(|name| (name.slot, name.ballot, name.hash)).collect()
    }
}

/// Reads the whole log. `visit` is given every chosen value above the image, in slot order, each once.
///
/// # Errors
///
/// The files are somebody else's, in a newer format, or not those the hard state belongs with.
pub fn recover(
    disk: &mut dyn SegmentRead,
    known: Known,
    visit: &mut dyn FnMut(Slot, Value),
) -> Result<Recovery, Error> {
    let mut files = disk.segments();
    files.sort_unstable();
    let mut window = Window::default();
    let mut findings = Vec::new();
    let mut alarms = Vec::new();
    let mut firsts = Vec::with_capacity(files.len());
    for file in &files {
        let mut scanner = Scanner::new(disk, known.identity, *file, &mut window, &mut findings);
        let whole = check_owner(file.0, known.identity, scanner.first_block())?;
        let first = scanner.first_head(IN_FLIGHT_BYTES_MAX)?;
        if let Some(first) = first.filter(|_| !whole) {
            alarms.push((first.sequence, first.start.number, Finding::SegmentHeadDamaged { segment: file.0 }));
        }
        firsts.push(first);
    }
    let mut starts: BTreeMap<u64, u64> =
        firsts.iter().flatten().map(|head| (head.start.number, head.start.first)).collect();
    // The records that would tell of earlier starts may have been given up: what was cut off in the oldest segment is only
    // known from what lies behind it.
    if let Some(oldest) = firsts.iter().position(Option::is_some) {
        starts.extend(Scanner::new(disk, known.identity, files[oldest], &mut window, &mut findings).starts()?);
    }
    let last = firsts.iter().rposition(Option::is_some);
    let mut fold = Fold { alarms, findings, starts, ..Fold::new(known, visit) };
    for (number, file) in files.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
        let after = firsts[number + 1..].iter().flatten().next();
        fold.read_segment(disk, *file, after, &mut window)?;
    }
    fold.finish(&files)
}

/// Whether the segment's first block is whole, and its own.
fn check_owner(segment: SegmentId, needed: Identity, block: &[u8]) -> Result<bool, Error> {
    match SegmentHead::decode(block) {
        SegmentHead::Known { identity, .. } if identity != needed => {
            Err(Error::Foreign { segment, found: identity, needed })
        }
        SegmentHead::Newer(found) => Err(Error::NewerFormat { segment, found, newest: FORMAT_VERSION }),
        SegmentHead::Known { segment: found, .. } => Ok(found == segment),
        SegmentHead::Blank | SegmentHead::Damaged => Ok(false),
    }
}

/// The state of one pass over the log.
struct Fold<'v> {
    known: Known,
    evidence: Evidence<'v>,
    index: Index,
    findings: Vec<Finding>,
    /// The first record of each start known beforehand: it cuts off earlier starts' records from that number on.
    starts: BTreeMap<u64, u64>,
    /// The start whose records are being read.
    start: Option<Start>,
    /// The highest start seen, counting or not.
    highest_start: u64,
    /// How far each start's records claim to be durable.
    claims: BTreeMap<u64, u64>,
    /// Of each start, how far the next one found earlier records to be claimed.
    closed: BTreeMap<u64, u64>,
    /// Records up to that number were acknowledged, or must be taken for it.
    settled_upto: u64,
    /// The last record that counts.
    last: Option<Head>,
    /// The number the next record should have; none before the first.
    expected: Option<u64>,
    /// The number the next record must have at least to be looked at.
    floor: u64,
    /// The stretch at the end of the segment before.
    carried: Gap,
    /// Findings that are damage only if the record of that number and start is claimed to have been durable.
    alarms: Vec<(u64, u64, Finding)>,
    doubt: Option<Doubt>,
    highest_ballot: Ballot,
    hard_state: u64,
    /// What the records themselves say is chosen.
    claimed_upto: Slot,
}

/// From that record on it is open whether the log was torn or damaged.
struct Doubt {
    sequence: u64,
    bytes: u64,
    unreadable: bool,
    held: Vec<Entry>,
}

/// A record and the stretch before it.
struct Entry {
    gap: Gap,
    found: Found,
}

impl<'v> Fold<'v> {
    fn new(known: Known, visit: &'v mut dyn FnMut(Slot, Value)) -> Self {
        Self {
            known,
            evidence: Evidence::new(known.image_upto, visit),
            index: Index::default(),
            findings: Vec::new(),
            starts: BTreeMap::new(),
            start: None,
            highest_start: known.start,
            claims: BTreeMap::new(),
            closed: BTreeMap::new(),
            settled_upto: 0,
            last: None,
            expected: None,
            floor: 0,
            carried: Gap::default(),
            alarms: Vec::new(),
            doubt: None,
            highest_ballot: Ballot::NONE,
            hard_state: 0,
            claimed_upto: Slot(0),
        }
    }

    /// Reads one segment. `after`: the first head of the next one that has any.
    fn read_segment(
        &mut self,
        disk: &mut dyn SegmentRead,
        file: (SegmentId, u64),
        after: Option<&Head>,
        window: &mut Window,
    ) -> Result<(), Error> {
        self.index.begin(file.0);
        let mut findings = std::mem::take(&mut self.findings);
        let mut scanner = Scanner::new(disk, self.known.identity, file, window, &mut findings);
        let mut gap = Gap::default();
        loop {
            let (start, floor) = (self.start.map_or(0, |start| start.number), self.floor);
            let starts = &self.starts;
            let counts = |head: &Head| {
                let cut = starts.range(head.start.number + 1..).any(|(_, first)| head.sequence >= *first);
                !cut && (head.start.number > start || head.start.number == start && head.sequence >= floor)
            };
            match scanner.next(&counts)? {
                None => break,
                Some(Seen::Gap(found)) => gap = found,
                Some(Seen::Record(found)) => self.take(Entry { gap: std::mem::take(&mut gap), found: *found }),
            }
        }
        findings.append(&mut self.findings);
        self.findings = findings;
        // A gap at the end of a segment is judged by the number of the record that comes next, wherever that is. If no
        // number is left out, nothing was ever written there.
        let complete = after.is_some_and(|after| self.doubt.is_none() && self.expected == Some(after.sequence));
        self.carried = if complete { Gap::default() } else { gap };
        Ok(())
    }

    /// Takes the next record that was found.
    fn take(&mut self, mut entry: Entry) {
        let carried = std::mem::take(&mut self.carried);
        entry.gap.bytes += carried.bytes;
        entry.gap.unreadable += carried.unreadable;
        let head = entry.found.head;
        if self.start.is_none_or(|start| start.number < head.start.number) {
            self.enter(head.start);
        }
        self.floor = head.sequence + 1;
        self.highest_ballot = self.highest_ballot.max(head.name.ballot);
        self.hard_state = self.hard_state.max(head.hard_state);
        let claim = self.claims.entry(head.start.number).or_default();
        *claim = (*claim).max(head.synced_upto);
        self.settled_upto = self.settled_upto.max(if cfg!(bug = "05") { 0 } else { head.synced_upto });
        if self.doubt.as_ref().is_some_and(|doubt| doubt.sequence <= self.settled_upto) {
            self.settle();
        }
        self.place(entry);
        // No crash tears so much: it is damage, and cutting would drop what was acknowledged.
        if self.doubt.as_ref().is_some_and(|doubt| doubt.bytes > IN_FLIGHT_BYTES_MAX) {
            self.settled_upto = self.settled_upto.max(head.sequence);
            self.settle();
        }
    }

    /// The next start's records begin. What came before was read at that time, and counted up to the start's first record.
    fn enter(&mut self, start: Start) {
        if let Some(before) = self.start.replace(start) {
            self.closed.insert(before.number, start.synced_before);
        }
        self.highest_start = self.highest_start.max(start.number);
        self.settled_upto = self.settled_upto.max(start.first - 1);
        match &self.doubt {
            Some(doubt) if start.first <= doubt.sequence => {
                self.doubt = None;
            }
            Some(_) => self.settle(),
            None => {}
        }
        if self.expected.is_some_and(|expected| expected > start.first) {
            // Before the first record that counts, nothing says what should be there.
            self.expected = self.last.map(|_| start.first);
        }
    }

    /// What was in doubt was acknowledged: goes through it again, as far as it is.
    fn settle(&mut self) {
        let doubt = self.doubt.take().expect("only a doubt is settled");
        for entry in doubt.held {
            self.place(entry);
        }
    }

    /// Judges one record, or holds it back while the one before it is in doubt.
    fn place(&mut self, mut entry: Entry) {
        let bytes = entry.gap.bytes + entry.found.head.span();
        let unreadable = entry.gap.unreadable > 0;
        if let Some(doubt) = &mut self.doubt {
            doubt.bytes += bytes;
            doubt.unreadable |= unreadable;
            doubt.held.push(entry);
            return;
        }
        let head = entry.found.head;
        let expected = self.expected.unwrap_or_else(|| self.first_expected(&head, entry.gap.bytes));
        if expected < head.sequence {
            if expected > self.settled_upto {
                self.expected = Some(expected);
                self.doubt = Some(Doubt { sequence: expected, bytes, unreadable, held: vec![entry] });
                return;
            }
            self.lost_before(&head, head.sequence - expected);
        }
        self.expected = Some(head.sequence);
        entry.gap = Gap::default();
        let torn = entry.found.value.is_none() && !entry.found.trailer;
        if torn && head.sequence > self.settled_upto {
            let bytes = head.span();
            self.doubt = Some(Doubt { sequence: head.sequence, bytes, unreadable, held: vec![entry] });
            return;
        }
        self.count(entry.found);
    }

    /// The number of the log's first record, when `gap` bytes of nothing precede the first that is known.
    fn first_expected(&self, head: &Head, gap: u64) -> u64 {
        // Without an image nothing was ever given up.
        if self.known.chosen_upto == Slot(0) {
            return 1;
        }
        let room = gap / span_of(0);
        if gap == 0 { head.sequence } else { head.sequence.saturating_sub(room.clamp(1, head.sequence)).max(1) }
    }

    /// `records` records right before `next` are gone.
    fn lost_before(&mut self, next: &Head, records: u64) {
        let previous = (next.chain != 0).then_some(next.previous);
        let without_trace = records - u64::from(previous.is_some());
        if without_trace > 0 {
            let named = previous.map_or(Slot(0), |name| name.slot);
            self.lost_without_trace(next, without_trace, named);
        }
        let (segment, offset, sequence) = (next.segment, next.offset, next.sequence);
        match previous {
            // A seal or a start: no slot suffers, but the disk lost a write.
            Some(Name::NOTHING) => self.findings.push(Finding::ChainBroken { segment, offset, sequence }),
            Some(name) => {
                let (sequence, start) = (sequence - 1, next.start.number);
                self.bad(Bad { name, learned: false, sequence, start, trailer: false }, segment, offset);
            }
            None => {}
        }
    }

    fn lost_without_trace(&mut self, next: &Head, records: u64, named: Slot) {
        let known = named.max(next.name.slot).max(next.chosen_upto);
        self.lost((next.segment, next.offset), records, known);
    }

    /// So many records are lost before that place, after which the log knew of slots up to `known` at most.
    fn lost(&mut self, (segment, offset): (SegmentId, u64), records: u64, known: Slot) {
        let upto = self.evidence.lost_without_trace(records, known);
        // An older record of a slot that was open then may hold another value than was chosen, be it in the image by now.
        let from = self.claimed_upto.next().min(upto);
        self.index.forget_all(from, upto);
        self.findings.push(Finding::RecordsLost { segment, offset, records, from, upto });
    }

    fn bad(&mut self, bad: Bad, segment: SegmentId, offset: u64) {
        let Name { slot, ballot, .. } = bad.name;
        let in_image = slot <= self.known.image_upto;
        if self.evidence.bad(bad) || in_image && slot > self.claimed_upto {
            self.index.forget(slot);
        }
        self.alarms.push((bad.sequence, bad.start, Finding::ValueDamaged { segment, offset, slot, ballot }));
    }

    /// A record that counts.
    fn count(&mut self, found: Found) {
        let Found { head, header, trailer, value } = found;
        let (segment, offset, sequence) = (head.segment, head.offset, head.sequence);
        let follows = self
            .last
            .is_none_or(|last| last.sequence + 1 != sequence || head.chain == 0 || head.chain == last.chain_hash());
        if !follows {
            self.findings.push(Finding::ChainBroken { segment, offset, sequence });
            self.lost_without_trace(&head, 1, head.name.slot);
        }
        if head.kind == RecordKind::Start && head.learned {
            self.evidence.jumps_to(head.chosen_upto);
            self.index.forget_all(Slot(0), head.chosen_upto);
        }
        self.evidence.chosen(head.chosen_upto);
        self.claimed_upto = self.claimed_upto.max(head.chosen_upto);
        if head.kind == RecordKind::Value {
            self.index.holds(segment, head.name.slot, head.name.ballot);
        }
        match value {
            Some(_) if !(header && trailer) => {
                self.alarms.push((sequence, head.start.number, Finding::HeadDamaged { segment, offset, sequence }));
            }
            _ => {}
        }
        match value {
            Some(value) if head.kind == RecordKind::Value => {
                self.evidence.have(&head, value);
                self.index.insert(Place::of(&head));
            }
            Some(_) => {}
            None => {
                let Head { name, learned, .. } = head;
                self.bad(Bad { name, learned, sequence, start: head.start.number, trailer }, segment, offset);
            }
        }
        self.last = Some(head);
        self.expected = Some(sequence + 1);
    }

    fn finish(mut self, files: &[(SegmentId, u64)]) -> Result<Recovery, Error> {
        let unreadable = self.carried.unreadable;
        match &self.doubt {
            Some(doubt) if doubt.unreadable || unreadable > 0 || cfg!(bug = "06") => {
                self.settled_upto = self.floor;
                self.settle();
            }
            Some(doubt) => {
                let first = &doubt.held[0].found.head;
                let (segment, offset, records) = (first.segment, first.offset, doubt.held.len());
                self.findings.push(Finding::TornTail { segment, offset, records });
            }
            None => {}
        }
        self.check_against_hard_state()?;
        let first_file = files.first().map_or(SegmentId(1), |(segment, _)| *segment);
        let mut tail = self.tail(first_file, files);
        if unreadable > 0 {
            // Records may lie where the disk does not read. Their numbers stay free, so that the next start still knows.
            let known = self.known.image_upto.max(self.known.chosen_upto);
            self.lost((tail.segment, tail.offset), unreadable, known);
            (tail.sequence, tail.chain, tail.previous) = (tail.sequence + unreadable, 0, Name::NOTHING);
            (tail.segment, tail.offset) = (tail.segment.next(), 0);
        }
        tail.index = std::mem::take(&mut self.index);
        match self.last {
            Some(last) => tail.index.end_with(last.segment),
            None => tail.index = Index::default(),
        }
        if self.claimed_upto < self.known.image_upto {
            // Nothing of the log says that its newest record of such a slot is of what was chosen: damage that looks like
            // the torn tail of a crash may have taken that.
            tail.jumped = !self.known.image_is_led_to;
            let from = if tail.jumped { Slot(0) } else { self.claimed_upto.next() };
            tail.index.forget_all(from, self.known.image_upto);
        }
        let synced = |start: u64| self.claims.get(&start).max(self.closed.get(&start)).copied().unwrap_or(0);
        let alarms = self.alarms.into_iter().filter(|(sequence, start, _)| *sequence <= synced(*start));
        self.findings.extend(alarms.map(|(_, _, finding)| finding));
        let damaged = self.findings.iter().any(|finding| !finding.is_ordinary());
        let damaged_upto = if damaged { self.evidence.highest() } else { Slot(0) };
        let verdict = self.evidence.finish(self.known.chosen_upto, &|sequence, start| sequence > synced(start));
        tail.chosen_upto = verdict.chosen_upto;
        Ok(Recovery {
            flush: tail.index.segments().rev().take(SEGMENTS_IN_FLIGHT).collect(),
            tail,
            chosen_upto: verdict.chosen_upto,
            accepted: verdict.accepted,
            lost: verdict.lost,
            maybe: verdict.maybe,
            unknown: verdict.unknown,
            missing: verdict.missing,
            highest_ballot: self.highest_ballot,
            damaged_upto,
            findings: self.findings,
        })
    }

    fn check_against_hard_state(&self) -> Result<(), Error> {
        let found = self.last.map_or(0, |last| last.start.number);
        if found < self.known.start {
            return Err(Error::JournalBehind { found, needed: self.known.start });
        }
        if self.hard_state > self.known.hard_state {
            return Err(Error::HardStateBehind { found: self.known.hard_state, needed: self.hard_state });
        }
        Ok(())
    }

    fn tail(&self, first_file: SegmentId, files: &[(SegmentId, u64)]) -> Tail {
        let last = self.last;
        let segment = last.map_or(first_file, |last| last.segment);
        let claim = last.and_then(|last| self.claims.get(&last.start.number).copied()).unwrap_or(0);
        let sequence = last.map_or(0, |last| last.sequence);
        Tail {
            sequence,
            chain: last.map_or(0, |last| last.chain_hash()),
            previous: last.map_or(Name::NOTHING, |last| last.name),
            synced_upto: claim.min(sequence),
            chosen_upto: Slot(0),
            jumped: false,
            start: self.highest_start + 1,
            segment,
            offset: last.map_or(0, |last| last.offset + last.span()),
            files: files.iter().copied().filter(|(file, _)| *file >= segment).collect(),
            index: Index::default(),
        }
    }
}

/// Segments that writes under way at one time can touch.
const SEGMENTS_IN_FLIGHT: usize = JOURNAL_WRITES_IN_FLIGHT;
