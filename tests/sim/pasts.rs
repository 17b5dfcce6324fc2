//! What fronts may have forgotten of the past: whether a watch was told of a gap for a reason.
//!
//! A front remembers every change since its process started, as far as its bound of bytes reaches. What it began with, it
//! took whole from its disk, another's image included: nobody installs an image but by starting again. So a gap reaches up
//! to the revision of the start, or up to what has been dropped for want of room, and no further.
//!
//! What a trace takes in memory is the front's own affair. It is counted here with more than it can take, so that what is
//! held to be dropped here is never less than what was.

use std::collections::{BTreeMap, VecDeque};

use quorate::namespace::Change;
use quorate::namespace::command::Revision;
use quorate::replica::exchange::{Applied, FrontNotice};

use super::world::Moment;

/// A node, and which of its lives.
type Process = (usize, u64);

/// The fronts of every process, and whose connection is whose.
#[derive(Debug, Default)]
pub struct Pasts {
    pasts: BTreeMap<Process, Past>,
    served: BTreeMap<u64, Process>,
}

/// A gap that a client's watch was told of.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// The connection that brought it, and when.
    pub conn: u64,
    pub at: Moment,
    pub from: Revision,
    pub to: Revision,
}

/// What the fronts of one process were told.
#[derive(Debug)]
struct Past {
    bytes_max: usize,
    upto: Revision,
    /// The changes that are there for certain: each notice's last revision, and the most that it takes.
    kept: VecDeque<(Revision, usize)>,
    kept_bytes: usize,
    /// Up to where changes may be gone, each since a moment.
    gone_upto: Vec<(Moment, Revision)>,
}

impl Pasts {
    /// A process begins, with a state of that revision.
    pub fn begins(&mut self, process: Process, revision: Revision, bytes_max: usize) {
        self.pasts.insert(process, Past::new(revision, bytes_max));
    }

    /// Its fronts are told something.
    pub fn told(&mut self, process: Process, now: Moment, notice: &FrontNotice) {
        if let FrontNotice::Applied(Applied { since, revision, changes, .. }) = notice {
            let past = self.pasts.get_mut(&process).expect("a process that tells something has begun");
            past.goes_on(now, (*since, *revision), changes);
        }
    }

    /// A connection is that process's.
    pub fn accepted(&mut self, conn: u64, process: Process) {
        self.served.insert(conn, process);
    }

    /// Whoever told of a gap had forgotten what lies in it.
    pub fn judge(&self, gaps: &[Gap]) {
        for Gap { conn, at, from, to } in gaps.iter().copied() {
            let (node, life) = self.served[&conn];
            let gone_upto = self.pasts[&(node, life)].gone_upto_at(at);
            assert!(
                from < to && to <= gone_upto,
                "node {node}, in its life {life}, forgot nothing after {gone_upto}, and told of a gap from {from} to {to}"
            );
        }
    }
}

impl Past {
    fn new(revision: Revision, bytes_max: usize) -> Self {
        let gone_upto = vec![(0, revision)];
        Self { bytes_max, upto: revision, kept: VecDeque::new(), kept_bytes: 0, gone_upto }
    }

    fn goes_on(&mut self, now: Moment, (since, revision): (Revision, Revision), changes: &[Change]) {
        assert_eq!(since, self.upto, "a process leaves nothing out of what it tells its fronts");
        self.upto = revision;
        let Some(last) = changes.last().map(|change| change.revision) else { return };
        self.keep(now, last, changes.iter().map(|change| TRACE_BYTES_MAX + change.path.len()).sum());
    }

    /// Changes that take at most so many bytes are kept, and the oldest dropped for them.
    fn keep(&mut self, now: Moment, last: Revision, bytes: usize) {
        self.kept.push_back((last, bytes));
        self.kept_bytes += bytes;
        let mut gone = None;
        while self.kept_bytes > self.bytes_max
            && let Some((last, bytes)) = self.kept.pop_front()
        {
            self.kept_bytes -= bytes;
            gone = Some(last);
        }
        self.gone_upto.extend(gone.map(|last| (now, last)));
    }

    fn gone_upto_at(&self, moment: Moment) -> Revision {
        let later = self.gone_upto.partition_point(|(since, _)| *since <= moment);
        self.gone_upto[later - 1].1
    }
}

/// More than what is left of a change takes in memory, beside its path.
const TRACE_BYTES_MAX: usize = 128;

#[test]
fn a_gap_has_its_reason_in_a_start_or_in_a_want_of_room() {
    let mut past = Past::new(40, 1000);
    past.keep(5, 41, 600);
    past.keep(6, 42, 400);
    assert_eq!(past.gone_upto_at(6), 40, "there is room for both");
    past.keep(7, 43, 1);
    assert_eq!((past.gone_upto_at(6), past.gone_upto_at(7)), (40, 41), "the oldest is dropped, and was not before");
    past.keep(8, 44, 1001);
    assert_eq!(past.gone_upto_at(9), 44, "what is larger than all room is not kept at all");

    let mut pasts = Pasts::default();
    pasts.pasts.insert((2, 3), past);
    pasts.accepted(17, (2, 3));
    let gap = |at, to| Gap { conn: 17, at, from: 7, to };
    pasts.judge(&[gap(6, 40), gap(7, 41), gap(9, 44)]);
    for needless in [gap(6, 41), gap(7, 42), gap(9, 45)] {
        assert!(std::panic::catch_unwind(|| pasts.judge(&[needless])).is_err(), "{needless:?} is needless");
    }
}
