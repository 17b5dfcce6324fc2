//! Networks and disks that lie: the suites of [`super::wires`] and [`super::conformance`] must notice each lie, told by the
//! simulated one or by the real one.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use quorate::journal::SegmentId;
use quorate::limits::BLOCK_BYTES;
use quorate::paxos::Slot;
use quorate::replica::exchange::Still;

use super::conformance::{
    self as disks, a_log_is_read_as_it_was_written, a_new_segment_is_zeros_and_ends_where_it_ends,
    a_segment_used_again_has_one_name_and_its_old_bytes, aligned, an_image_has_its_name_once_it_is_whole,
    writes_under_way_together_are_each_durable_once_and_read_back,
};
use super::disk::Chore;
use super::wires::{
    Case, End, Patience, Real, Seam, Simulated, Told, a_blocked_path_keeps_what_was_sent,
    a_close_is_told_behind_what_was_sent, a_cut_is_told_to_both_ends, a_peer_that_dials_twice_has_two_connections,
    a_process_that_ends_takes_its_connections_along, everything_arrives_in_order_both_ways,
    frames_are_read_as_they_were_sent, nothing_of_an_old_connection_arrives_on_a_new_one,
};

/// A network that does not do what it should, in one way.
struct LyingNetwork<'a> {
    inner: &'a mut dyn Seam,
    lie: NetworkLie,
    /// What it keeps back.
    kept: VecDeque<(End, Told)>,
    told: u64,
    /// Who dialled last.
    last: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NetworkLie {
    /// Some bytes never arrive.
    Loses,
    /// Some bytes arrive twice.
    Doubles,
    /// Some bytes arrive behind what was sent after them.
    Reorders,
    /// What was sent on the first connection arrives on later ones.
    Replays,
    /// One end is not told that the connection is over.
    TellsOne,
    /// The end that closes is told so, as the other is.
    TellsTwice,
    /// A close overtakes what was sent before it.
    ClosesAtOnce,
    /// A blocked path lets everything through.
    Leaks,
    /// A blocked path breaks the connection.
    Breaks,
    /// A new connection takes the place of the one before.
    KeepsOne,
    /// A dial to nobody succeeds.
    AnswersForTheDead,
}

/// Each lie, and the case that is to notice it.
const NETWORK_LIES: [(NetworkLie, Case); 11] = [
    (NetworkLie::Loses, frames_are_read_as_they_were_sent),
    (NetworkLie::Doubles, everything_arrives_in_order_both_ways),
    (NetworkLie::Reorders, everything_arrives_in_order_both_ways),
    (NetworkLie::Replays, nothing_of_an_old_connection_arrives_on_a_new_one),
    (NetworkLie::TellsOne, a_cut_is_told_to_both_ends),
    (NetworkLie::TellsTwice, a_close_is_told_behind_what_was_sent),
    (NetworkLie::ClosesAtOnce, a_close_is_told_behind_what_was_sent),
    (NetworkLie::Leaks, a_blocked_path_keeps_what_was_sent),
    (NetworkLie::Breaks, a_blocked_path_keeps_what_was_sent),
    (NetworkLie::KeepsOne, a_peer_that_dials_twice_has_two_connections),
    (NetworkLie::AnswersForTheDead, a_process_that_ends_takes_its_connections_along),
];

impl Seam for LyingNetwork<'_> {
    fn dial(&mut self, from: usize, to: usize) -> End {
        let end = self.inner.dial(from, to);
        if let Some(last) = self.last.replace(end).filter(|_| self.lie == NetworkLie::KeepsOne) {
            self.kept.push_back((last, Told::Closed));
        }
        end
    }

    fn send(&mut self, end: End, bytes: Bytes) {
        self.inner.send(end, bytes);
    }

    fn close(&mut self, end: End) {
        self.inner.close(end);
        match self.lie {
            NetworkLie::TellsTwice => self.kept.push_back((end, Told::Closed)),
            NetworkLie::ClosesAtOnce => self.kept.push_back((end.other(), Told::Closed)),
            _ => {}
        }
    }

    fn cut(&mut self, conn: u64) {
        self.inner.cut(conn);
    }

    fn block(&mut self, from: usize, to: usize) {
        match self.lie {
            NetworkLie::Leaks => {}
            NetworkLie::Breaks => self.kept.extend(self.last.map(|end| (end, Told::Closed))),
            _ => self.inner.block(from, to),
        }
    }

    fn open_all(&mut self) {
        self.inner.open_all();
    }

    fn dies(&mut self, host: usize) {
        self.inner.dies(host);
    }

    fn lives(&mut self, host: usize) {
        self.inner.lives(host);
    }

    fn next(&mut self, patience: Patience) -> Option<(End, Told)> {
        if !matches!(self.lie, NetworkLie::Reorders | NetworkLie::Replays)
            && let Some(kept) = self.kept.pop_front()
        {
            return Some(kept);
        }
        // Nobody need wait for what a lie leaves out.
        let missing = matches!(self.lie, NetworkLie::TellsOne | NetworkLie::Loses | NetworkLie::AnswersForTheDead);
        let patience = if missing { Patience::Short } else { patience };
        let (end, told) = self.inner.next(patience)?;
        self.told += 1;
        let (fifth, is_bytes) = (self.told.is_multiple_of(5), matches!(told, Told::Bytes(_)));
        match self.lie {
            NetworkLie::Loses if is_bytes && fifth => Some((end, Told::Bytes(Vec::new()))),
            NetworkLie::Doubles if is_bytes && fifth => {
                self.kept.push_back((end, told.clone()));
                Some((end, told))
            }
            NetworkLie::Reorders if is_bytes && fifth && self.kept.is_empty() => {
                self.kept.push_back((end, told));
                Some((end, Told::Bytes(Vec::new())))
            }
            NetworkLie::Replays if is_bytes && self.kept.is_empty() => {
                self.kept.push_back((end, told.clone()));
                Some((end, told))
            }
            NetworkLie::Replays if is_bytes && self.kept[0].0.conn != end.conn => Some((end, self.kept[0].1.clone())),
            NetworkLie::TellsOne if told == Told::Closed && end.side == 1 => Some((end, Told::Bytes(Vec::new()))),
            NetworkLie::AnswersForTheDead if told == Told::Failed => Some((end, Told::Stands)),
            _ => Some((end, told)),
        }
    }
}

#[test]
fn the_suite_notices_a_network_that_lies() {
    let notices = |inner: &mut dyn Seam, lie: NetworkLie, case: Case| {
        let mut network = LyingNetwork { inner, lie, kept: VecDeque::new(), told: 0, last: None };
        catch_unwind(AssertUnwindSafe(|| case(&mut network))).is_err()
    };
    for (lie, case) in NETWORK_LIES {
        assert!(notices(&mut Simulated::new(), lie, case), "a simulated network that {lie:?} is noticed");
        assert!(notices(&mut Real::new(), lie, case), "a real network that {lie:?} is noticed");
    }
}

/// A disk that does not do what it should, in one way, or none.
struct LyingDisk<'a> {
    inner: &'a mut dyn disks::Seam,
    lie: Option<DiskLie>,
    writes: u64,
    /// Told to be durable without the disk's own word.
    told: VecDeque<u64>,
    /// What is told to be durable and is not yet.
    late: Vec<(u64, SegmentId, u64, Vec<Bytes>)>,
    renamed: BTreeMap<SegmentId, SegmentId>,
    pieces: u64,
    unfinished: BTreeMap<Slot, Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DiskLie {
    /// A write is durable before its bytes are there.
    AcknowledgesEarly,
    /// Some writes are durable, and their bytes never there.
    LosesWrites,
    /// Of a long write the first block is there, and no more.
    Tears,
    /// A write lands one block further on.
    Misdirects,
    /// A read brings what lies one block further on.
    ReadsElsewhere,
    /// A write is told twice to be durable.
    TellsTwice,
    /// A new segment holds what was there before.
    LeavesDirt,
    /// A read goes on behind the end of the file.
    ReadsPastTheEnd,
    /// What was renamed has its old name too.
    KeepsTheName,
    /// What was renamed is empty.
    WipesWhatItRenames,
    /// An image is to be read before it is finished.
    ShowsTheUnfinished,
    /// A piece of an image is left out.
    LosesPieces,
}

/// Each lie, and the case that is to notice it.
const DISK_LIES: [(DiskLie, disks::Case); 13] = [
    (DiskLie::AcknowledgesEarly, writes_under_way_together_are_each_durable_once_and_read_back),
    (DiskLie::LosesWrites, writes_under_way_together_are_each_durable_once_and_read_back),
    (DiskLie::LosesWrites, a_log_is_read_as_it_was_written),
    (DiskLie::Tears, writes_under_way_together_are_each_durable_once_and_read_back),
    (DiskLie::Misdirects, writes_under_way_together_are_each_durable_once_and_read_back),
    (DiskLie::ReadsElsewhere, writes_under_way_together_are_each_durable_once_and_read_back),
    (DiskLie::TellsTwice, writes_under_way_together_are_each_durable_once_and_read_back),
    (DiskLie::LeavesDirt, a_new_segment_is_zeros_and_ends_where_it_ends),
    (DiskLie::ReadsPastTheEnd, a_new_segment_is_zeros_and_ends_where_it_ends),
    (DiskLie::KeepsTheName, a_segment_used_again_has_one_name_and_its_old_bytes),
    (DiskLie::WipesWhatItRenames, a_segment_used_again_has_one_name_and_its_old_bytes),
    (DiskLie::ShowsTheUnfinished, an_image_has_its_name_once_it_is_whole),
    (DiskLie::LosesPieces, an_image_has_its_name_once_it_is_whole),
];

impl<'a> LyingDisk<'a> {
    fn new(inner: &'a mut dyn disks::Seam, lie: Option<DiskLie>) -> Self {
        Self {
            inner,
            lie,
            writes: 0,
            told: VecDeque::new(),
            late: Vec::new(),
            renamed: BTreeMap::new(),
            pieces: 0,
            unfinished: BTreeMap::new(),
        }
    }

    fn write_late(&mut self) {
        for (token, segment, offset, pieces) in std::mem::take(&mut self.late) {
            self.inner.write(token, segment, offset, pieces);
            self.inner.written();
        }
    }
}

impl disks::Seam for LyingDisk<'_> {
    fn write(&mut self, token: u64, segment: SegmentId, offset: u64, pieces: Vec<Bytes>) {
        self.writes += 1;
        match self.lie {
            Some(DiskLie::AcknowledgesEarly) => {
                self.told.push_back(token);
                self.late.push((token, segment, offset, pieces));
            }
            Some(DiskLie::LosesWrites) if self.writes.is_multiple_of(3) => self.told.push_back(token),
            Some(DiskLie::Tears) => {
                let first = aligned(pieces.concat()[..BLOCK_BYTES].to_vec());
                self.inner.write(token, segment, offset, vec![first]);
            }
            Some(DiskLie::Misdirects) if offset == LIED_ABOUT => {
                self.inner.write(token, segment, offset + BLOCK_BYTES as u64, pieces);
            }
            _ => self.inner.write(token, segment, offset, pieces),
        }
    }

    fn written(&mut self) -> u64 {
        if let Some(token) = self.told.pop_front() {
            return token;
        }
        let token = self.inner.written();
        self.told.extend((self.lie == Some(DiskLie::TellsTwice)).then_some(token));
        token
    }

    fn done(&mut self, chore: Chore) {
        match (self.lie, chore) {
            (Some(DiskLie::LeavesDirt), Chore::Zero { segment }) => {
                self.inner.done(Chore::Zero { segment });
                self.inner.write(0, segment, 0, vec![aligned(vec![9; BLOCK_BYTES])]);
                self.inner.written();
            }
            (Some(DiskLie::WipesWhatItRenames), Chore::Recycle { from, segment }) => {
                self.inner.done(Chore::Remove { segment: from });
                self.inner.done(Chore::Zero { segment });
            }
            (Some(DiskLie::KeepsTheName), Chore::Recycle { from, segment }) => {
                self.renamed.insert(from, segment);
                self.inner.done(Chore::Recycle { from, segment });
            }
            (lie, Chore::Piece { slot, bytes }) => {
                self.pieces += 1;
                self.unfinished.entry(slot).or_default().extend_from_slice(&bytes);
                // The second one of the first image, where two are written at once.
                if lie != Some(DiskLie::LosesPieces) || self.pieces != 3 {
                    self.inner.done(Chore::Piece { slot, bytes });
                }
            }
            (_, other) => self.inner.done(other),
        }
    }

    fn read(&mut self, file: Still, offset: u64, bytes: usize) -> Option<Bytes> {
        let elsewhere = self.lie == Some(DiskLie::ReadsElsewhere) && offset == LIED_ABOUT;
        let read = self.inner.read(file, offset + if elsewhere { BLOCK_BYTES as u64 } else { 0 }, bytes);
        self.write_late();
        match (self.lie, file) {
            (Some(DiskLie::ReadsPastTheEnd), _) => read.map(|read| {
                let mut longer = read.to_vec();
                longer.resize(bytes, 0);
                longer.into()
            }),
            (Some(DiskLie::KeepsTheName), Still::Segment(segment)) if read.is_none() => {
                let renamed = *self.renamed.get(&segment)?;
                self.inner.read(Still::Segment(renamed), offset, bytes)
            }
            (Some(DiskLie::ShowsTheUnfinished), Still::Image(slot)) if read.is_none() => {
                let rest = self.unfinished.get(&slot)?.get(offset as usize..)?;
                Some(Bytes::copy_from_slice(&rest[..bytes.min(rest.len())]))
            }
            _ => read,
        }
    }
}

#[test]
fn the_suite_notices_a_disk_that_lies() {
    let notices = |inner: &mut dyn disks::Seam, lie: Option<DiskLie>, case: disks::Case| {
        let mut disk = LyingDisk::new(inner, lie);
        catch_unwind(AssertUnwindSafe(|| case(&mut disk))).is_err()
    };
    for (lie, case) in DISK_LIES {
        assert!(notices(&mut disks::Simulated::new(), Some(lie), case), "a simulated disk that {lie:?} is noticed");
        assert!(notices(&mut disks::Real::new(), Some(lie), case), "a real disk that {lie:?} is noticed");
        assert!(!notices(&mut disks::Simulated::new(), None, case), "what is noticed is {lie:?} and nothing else");
    }
}

/// A block that a case writes and reads by itself, and the one behind it is not written.
const LIED_ABOUT: u64 = 4 * BLOCK_BYTES as u64;
