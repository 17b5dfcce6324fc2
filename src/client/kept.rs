//! Kept answers as callers reach them: on their own thread, with no message and without the driver.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::clock;
use super::machine::{Answered, CacheSettings, Shelf, Shelve};
use crate::namespace::command::Read;

/// The kept answers of one client; written by the driver.
#[derive(Debug)]
pub(super) struct KeptAnswers {
    shelf: RwLock<Shelf>,
    /// Requests made and not answered: as long as there are any, a read goes the way they went, behind them.
    unanswered: AtomicU64,
    closing: AtomicBool,
    hits: AtomicU64,
    misses: AtomicU64,
    recalls: AtomicU64,
}

/// How a client's [cache](super::ClientBuilder::cache) does.
///
/// It is consistent as Chubby's is (Burrows, OSDI 2006, §2.7): what is kept is asked back before a write changes it,
/// and nothing is kept longer than its lease. What is absent is kept as well.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct CacheStats {
    /// Reads answered by what was kept: without a message.
    pub hits: u64,
    /// Reads that might have been, and for which the cell had to be asked.
    pub misses: u64,
    /// Times the cell asked for kept answers to be dropped.
    pub recalls: u64,
    /// Answers kept at the moment.
    pub kept: u64,
}

impl KeptAnswers {
    pub(super) fn new(settings: CacheSettings) -> Self {
        Self {
            shelf: RwLock::new(Shelf::new(settings)),
            unanswered: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            recalls: AtomicU64::new(0),
        }
    }

    /// The answer to a question, if it is kept and may be used.
    pub(super) fn look(&self, read: &Read) -> Option<Answered> {
        let found = self.find(read);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Does what the machine says. It is done when this returns.
    pub(super) fn shelve(&self, shelve: Shelve) {
        if matches!(shelve, Shelve::Drop(_)) {
            self.recalls.fetch_add(1, Ordering::Relaxed);
        }
        self.shelf.write().unwrap_or_else(PoisonError::into_inner).take(shelve);
    }

    /// A request was made; from here on, in the thread that made it, nothing kept is used until it is answered.
    pub(super) fn request_made(&self) {
        self.unanswered.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn request_answered(&self) {
        self.unanswered.fetch_sub(1, Ordering::SeqCst);
    }

    /// The client is about to be closed: the cell takes the end of its session for the end of what is kept.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(super) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            recalls: self.recalls.load(Ordering::Relaxed),
            kept: self.shelf.read().unwrap_or_else(PoisonError::into_inner).len() as u64,
        }
    }

    fn find(&self, read: &Read) -> Option<Answered> {
        if self.unanswered.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let (answered, until) = self.shelf.read().unwrap_or_else(PoisonError::into_inner).find(read)?;
        // Found first, the clock read after: a thread that slept in between gives up what may be stale.
        (clock::now() < until && !self.closing.load(Ordering::SeqCst)).then_some(answered)
    }
}
