//! A node's lock: who holds it, who waits, and whose loss keeps it shut.
//!
//! A lock is part of its node, and as immutable: it is copied with each change, travels to the fronts in the change list,
//! and goes when the node goes. Holders keep it until they give it up, or their session ends. A session that is *lost*
//! while it holds leaves a mark in its place, of the same mode, until its delay is over by the log's time: a writer's mark
//! keeps everybody out, a reader's keeps writers out.
//!
//! The queue is fair: a lock goes to the first who waits, and with a reader to all readers right behind it. Nobody
//! passes those who wait, so a stream of readers starves no writer.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use xxhash_rust::xxh3::xxh3_128;

use super::codec::{DecodeError, Reader};
use super::command::{LockHolders, LockMode, LockPlace, Sequencer, SessionId};
use crate::limits::LOCK_SESSIONS_MAX;

/// A lock that somebody holds, or is kept shut for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Lock {
    holders: Vec<Claim>,
    /// Marks of lost holders.
    lost: Vec<Mark>,
    /// The first is the next to hold it.
    queue: Vec<Claim>,
}

/// A session's claim on a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Claim {
    pub session: SessionId,
    pub mode: LockMode,
    pub lock_delay_ms: u32,
}

/// What a lost holder leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub mode: LockMode,
    /// The log time, in nanoseconds, from which on it may be wiped out.
    pub until_ns: u64,
}

impl Lock {
    /// Takes a claim in: at once if nothing stands against it, or at the end of the queue. Says whether it holds.
    pub(super) fn admit(&mut self, claim: Claim) -> bool {
        let granted = self.would_grant(claim.mode);
        if granted {
            self.holders.push(claim)
        } else {
            self.queue.push(claim)
        }
        granted
    }

    /// Takes a session's claim out, held or waiting.
    pub(super) fn withdraw(&mut self, session: SessionId) -> Option<Claim> {
        if let Some(at) = self.holders.iter().position(|claim| claim.session == session) {
            return Some(self.holders.remove(at));
        }
        let at = self.queue.iter().position(|claim| claim.session == session)?;
        Some(self.queue.remove(at))
    }

    /// Keeps the lock shut in the place of a holder that was lost.
    pub(super) fn mark(&mut self, mark: Mark) {
        self.lost.push(mark);
    }

    /// Wipes out the marks whose time is over, and says which.
    pub(super) fn wipe(&mut self, log_time_ns: u64) -> Vec<Mark> {
        self.lost.extract_if(.., |mark| mark.until_ns <= log_time_ns).collect()
    }

    /// Hands the lock to those at the head of the queue who may have it now, and says to how many.
    pub(super) fn hand_on(&mut self) -> usize {
        let before = self.holders.len();
        while self.queue.first().is_some_and(|next| self.is_open_to(next.mode)) {
            self.holders.push(self.queue.remove(0));
        }
        self.holders.len() - before
    }

    /// Whether a claim would be granted at once.
    pub(super) fn would_grant(&self, mode: LockMode) -> bool {
        self.queue.is_empty() && self.is_open_to(mode)
    }

    /// Whether nothing stands against one more holder of that mode.
    fn is_open_to(&self, mode: LockMode) -> bool {
        let modes = self.holders.iter().map(|claim| claim.mode).chain(self.lost.iter().map(|mark| mark.mode));
        match mode {
            LockMode::Exclusive => self.holders.is_empty() && self.lost.is_empty(),
            LockMode::Shared => modes.into_iter().all(|mode| mode == LockMode::Shared),
        }
    }

    /// How it is held; `None` if nobody holds it.
    #[must_use]
    pub fn held_as(&self) -> Option<LockMode> {
        self.holders.first().map(|claim| claim.mode)
    }

    /// How many wait for somebody who holds it.
    pub(super) fn wanted_by(&self) -> usize {
        if self.holders.is_empty() { 0 } else { self.queue.len() }
    }

    /// Who holds it.
    pub fn holders(&self) -> impl Iterator<Item = SessionId> {
        self.holders.iter().map(|claim| claim.session)
    }

    /// Every session that holds it or waits for it.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.holders.iter().chain(&self.queue).map(|claim| claim.session)
    }

    pub(super) fn lost(&self) -> &[Mark] {
        &self.lost
    }

    /// Whether it has no room for another session.
    pub(super) fn is_full(&self) -> bool {
        self.holders.len() + self.queue.len() + self.lost.len() >= LOCK_SESSIONS_MAX
    }

    /// Whether there is nothing to tell of it: such a lock is not kept.
    pub(super) fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.lost.is_empty() && self.queue.is_empty()
    }

    pub(super) fn hash(&self) -> u128 {
        let mut raw = BytesMut::with_capacity(12 + 13 * (self.holders.len() + self.queue.len() + self.lost.len()));
        self.encode(&mut raw);
        xxh3_128(&raw)
    }

    /// Appends the lock as an image carries it.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let count = |len: usize| u32::try_from(len).expect("a lock's sessions are bounded far below 2^32");
        for claims in [&self.holders, &self.queue] {
            out.put_u32_le(count(claims.len()));
            for claim in claims {
                out.put_u64_le(claim.session.0);
                out.put_u8(claim.mode.tag());
                out.put_u32_le(claim.lock_delay_ms);
            }
        }
        out.put_u32_le(count(self.lost.len()));
        for mark in &self.lost {
            out.put_u8(mark.mode.tag());
            out.put_u64_le(mark.until_ns);
        }
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Arc<Self>, DecodeError> {
        let claims = |reader: &mut Reader<'_>| -> Result<Vec<Claim>, DecodeError> {
            let count = reader.count("claims on a lock", LOCK_SESSIONS_MAX, 13)?;
            (0..count)
                .map(|_| {
                    let session = SessionId(reader.u64("a session")?);
                    let mode = LockMode::take(reader)?;
                    Ok(Claim { session, mode, lock_delay_ms: reader.u32("a lock-delay")? })
                })
                .collect()
        };
        let (holders, queue) = (claims(reader)?, claims(reader)?);
        let count = reader.count("marks on a lock", LOCK_SESSIONS_MAX, 9)?;
        let lost = (0..count).map(|_| Ok(Mark { mode: LockMode::take(reader)?, until_ns: reader.u64("a log time")? }));
        let lost = lost.collect::<Result<_, DecodeError>>()?;
        Ok(Arc::new(Self { holders, lost, queue }))
    }

    /// What must hold between commands.
    pub(super) fn invariants(&self) {
        assert!(!self.is_idle(), "an idle lock is not kept");
        let writers = self.holders.iter().map(|claim| claim.mode).chain(self.lost.iter().map(|mark| mark.mode));
        let writers = writers.filter(|mode| *mode == LockMode::Exclusive).count();
        assert!(writers == 0 || self.holders.len() + self.lost.len() == 1, "a writer is alone");
        assert!(self.queue.first().is_none_or(|next| !self.is_open_to(next.mode)), "nobody waits for a lock to be had");
        let mut sessions: Vec<_> = self.sessions().collect();
        sessions.sort_unstable();
        assert!(sessions.is_sorted_by(|one, next| one < next), "a session claims a lock once");
    }

    /// Where a session stands. `sequencer` is what a holder shows.
    pub(super) fn place(&self, session: SessionId, sequencer: impl FnOnce(LockMode) -> Sequencer) -> LockPlace {
        if let Some(claim) = self.holders.iter().find(|claim| claim.session == session) {
            return LockPlace::Held { sequencer: sequencer(claim.mode) };
        }
        if self.queue.iter().any(|claim| claim.session == session) { LockPlace::Waiting } else { LockPlace::Nowhere }
    }

    /// The lock as it is told to those who ask. `sequencer` is what a holder shows.
    pub(super) fn view(&self, sequencer: impl FnOnce(LockMode) -> Sequencer) -> LockHolders {
        let count = |len: usize| u32::try_from(len).expect("a lock's sessions are bounded far below 2^32");
        LockHolders {
            sequencer: self.held_as().map(sequencer),
            sessions: self.holders().collect(),
            lost: count(self.lost.len()),
            waiting: count(self.queue.len()),
        }
    }
}
