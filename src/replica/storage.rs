//! What the replica has on disk: the journal and the hard state, as one.
//!
//! Both speak in writes that become durable; this module gives the writes their tokens and takes the answers apart again.

use super::exchange::{DiskFile, Effect};
use crate::journal::hard_state::HardStateFile;
use crate::journal::{Journal, SegmentId};
use crate::namespace::Namespace;
use crate::paxos::{self, AcceptedRecord, HardState, Output, Paxos, ReplicaId, Slot};
use crate::time::Instant;

/// What the disk told at the start.
#[derive(Debug)]
pub struct Recovered {
    /// For Paxos.
    pub paxos: paxos::Recovered,
    /// The state after every slot that is known to be chosen.
    pub namespace: Namespace,
    /// Where to go on writing.
    pub storage: Storage,
}

/// The journal and the hard state of a running replica.
#[derive(Debug)]
pub struct Storage {
    journal: Journal,
    hard_state: HardStateFile,
    bytes_max: u64,
    wanted: Option<SegmentId>,
}

impl Storage {
    /// From what was recovered: what it rests on is durable in full, as an older process may have left it half written.
    #[must_use]
    pub fn new(journal: Journal, hard_state: HardStateFile, bytes_max: u64) -> Self {
        assert!(journal.started(), "the end of the journal is durable before anybody speaks");
        assert!(
            hard_state.is_idle() && hard_state.contents().start == journal.start(),
            "all four copies of the hard state are durable, and know of this start, before anybody speaks"
        );
        Self { journal, hard_state, bytes_max, wanted: None }
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether the journal's files take all that they may: clients' writes are refused, so that what must go on (the
    /// ends of sessions, the proofs of the lease) has the rest.
    pub(super) fn is_full(&self) -> bool {
        self.journal.used_bytes() >= self.bytes_max
    }

    pub(super) fn append(&mut self, sequence: u64, record: AcceptedRecord) {
        let appended = self.journal.append(record);
        assert_eq!(appended, sequence, "Paxos and the journal count the same records");
    }

    pub(super) fn save_hard_state(&mut self, version: u64, state: HardState) {
        self.hard_state.save(version, state);
    }

    pub(super) fn segment_ready(&mut self, segment: SegmentId) {
        self.journal.segment_ready(segment);
        self.wanted = None;
    }

    /// The write with that token is durable.
    pub(super) fn written(&mut self, now: Instant, token: u64, paxos: &mut Paxos, outputs: &mut Vec<Output>) {
        if token & HARD_STATE_BIT != 0 {
            let version = self.hard_state.completed(token & !HARD_STATE_BIT);
            self.journal.hard_state_durable(self.hard_state.durable_sequence());
            if let Some(version) = version {
                paxos.hard_state_durable(now, version, outputs);
            }
        } else if let Some(sequence) = self.journal.completed(now, token) {
            paxos.durable(now, sequence, outputs);
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.journal.tick(now);
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.journal.next_deadline()
    }

    /// Hands out every write that may be under way.
    pub(super) fn writes(&mut self, effects: &mut Vec<Effect>) {
        while let Some(write) = self.hard_state.next_write() {
            effects.push(Effect::Write {
                token: write.id | HARD_STATE_BIT,
                file: DiskFile::HardState,
                offset: write.offset,
                pieces: write.pieces,
            });
        }
        while let Some(write) = self.journal.next_write() {
            effects.push(Effect::Write {
                token: write.id,
                file: DiskFile::Segment(write.segment),
                offset: write.offset,
                pieces: write.pieces,
            });
        }
        if self.wanted.is_none()
            && let Some(segment) = self.journal.segment_wanted()
        {
            self.wanted = Some(segment);
            effects.push(Effect::PrepareSegment { segment });
        }
    }

    /// Where the values of these slots lie, as far as they are known.
    pub(super) fn read_log(&self, to: ReplicaId, from: Slot, upto: Slot, effects: &mut Vec<Effect>) {
        let places = (from.0..=upto.0).map_while(|slot| self.journal.place_of(Slot(slot))).collect();
        effects.push(Effect::ReadLog { to, from, places });
    }
}

/// Tokens of hard-state writes carry this bit; the journal's writes count up from 1 and never reach it.
const HARD_STATE_BIT: u64 = 1 << 62;
