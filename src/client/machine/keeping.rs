//! Answers that may be given again without asking: what the machine does so that none of them is ever wrong.
//!
//! 1. What is kept may be used while the *cache lease* runs, which counts from the sending of the `Renew` that was
//!    answered, by this host's clock, less the error two clocks may have. It never outlasts the session's own.
//! 2. Whoever finds the lease run out drops everything before the next one begins: the leader forgets then what was kept,
//!    and recalls nothing of it.
//! 3. A recall is obeyed before it is answered: the order to the shelf comes out before the bytes.
//! 4. An answer that was still on its way when it was recalled, or when the lease ran out, is shown, and not kept.

use std::sync::Arc;

use super::ending::{Trouble, goes_forward, unreadable};
use super::shelf::Shelve;
use super::{Answered, Effect, Machine, Session};
use crate::client::error::Error;
use crate::limits::CLOCK_ERROR_PPM;
use crate::namespace::codec;
use crate::namespace::command::{Answer, Read, Refusal, Revision};
use crate::time::{Duration, Instant};
use crate::wire::cache::{CacheAsk, CacheTold, Recall, keepable};
use crate::wire::client::{ClientMessage, Consistency};

/// What the machine knows of what is kept; the answers themselves lie on a [`Shelf`](super::Shelf).
#[derive(Debug)]
pub(super) struct Keeping {
    /// An answer was to be kept, so the lease is kept up.
    wanted: bool,
    lease_until: Instant,
    /// Between two attempts to get a lease.
    retry: Duration,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { wanted: false, lease_until: Instant::ZERO, retry: RETRY_MIN }
    }
}

impl Machine {
    /// Queues a linearizable question, as [`read`](Self::read) does, whose answer is to be kept if the cell allows it.
    pub fn read_and_keep(&mut self, now: Instant, tag: u64, read: Read) -> Result<(), Error> {
        if keepable(read.as_ref()).is_none() {
            return self.read(now, tag, read, Consistency::Linearizable);
        }
        self.admit()?;
        if !std::mem::replace(&mut self.keeping.wanted, true) {
            self.ping_at = now;
        }
        self.queue.push_kept_read(tag, read);
        self.send(now);
        Ok(())
    }

    /// A new connection: the lease is seen to at once.
    pub(super) fn renew_soon(&mut self, now: Instant) {
        if self.keeping.wanted {
            self.ping_at = now;
        }
    }

    /// The ping to send.
    pub(super) fn ping_of(&self, number: u64) -> ClientMessage<'static> {
        if self.keeping.wanted {
            ClientMessage::Cache(CacheAsk::Renew { number })
        } else {
            ClientMessage::Ping { number }
        }
    }

    /// The session lives on, and the cache lease was not renewed.
    pub(super) fn not_renewed(&mut self, now: Instant) {
        if self.keeping.wanted {
            self.ping_at = self.ping_at.min(now + self.keeping.retry);
            self.keeping.retry = self.keeping.retry.scaled(2, 1).min(RETRY_MAX);
        }
    }

    pub(super) fn cache_told(&mut self, now: Instant, told: CacheTold<'_>) -> Result<(), Trouble> {
        match told {
            CacheTold::Renewed { number, lease_ms } => {
                if let Some((_, sent_at)) = self.ping.take_if(|(pinged, _)| *pinged == number) {
                    self.extend(now, sent_at);
                    self.renewed(now, sent_at, Duration::from_millis(lease_ms.into()));
                }
                Ok(())
            }
            CacheTold::Reply { number, revision, keep, answer } => {
                self.kept_reply(now, number, (revision, keep), answer)
            }
            CacheTold::Recall(recall) => {
                self.obey(recall);
                Ok(())
            }
        }
    }

    /// What is kept is of no use from here on.
    pub(super) fn keep_nothing(&mut self) {
        self.keeping = Keeping::default();
        self.queue.taint(|_| true);
        self.effects.push_back(Effect::Shelve(Shelve::Until(Instant::ZERO)));
        self.clear_shelf();
    }

    /// What was kept so far is not used again.
    pub(super) fn clear_shelf(&mut self) {
        self.effects.push_back(Effect::Shelve(Shelve::Clear));
    }

    fn renewed(&mut self, now: Instant, sent_at: Instant, lease: Duration) {
        if !self.keeping.wanted || self.closing {
            return;
        }
        if now >= self.keeping.lease_until && !cfg!(bug = "29") {
            self.queue.taint(|_| true);
            self.effects.push_back(Effect::Shelve(Shelve::Clear));
        }
        let Session::Live { lease_until: session_until, .. } = self.session else { return };
        let sure = lease.scaled(1_000_000 - 2 * CLOCK_ERROR_PPM, 1_000_000);
        let until = self.keeping.lease_until.max(sent_at + sure).min(session_until);
        self.keeping.lease_until = until;
        self.keeping.retry = RETRY_MIN;
        self.ping_at = self.ping_at.min(sent_at + lease.scaled(1, RENEWALS_PER_LEASE));
        self.effects.push_back(Effect::Shelve(Shelve::Until(until)));
    }

    fn obey(&mut self, recall: Recall) {
        let Recall { reign, number, paths } = recall;
        if paths.is_empty() {
            self.queue.taint(|_| true);
            self.effects.push_back(Effect::Shelve(Shelve::Clear));
        } else {
            self.queue.taint(|read| keepable(read.as_ref()).is_some_and(|(of, _)| is_among(of, &paths)));
            self.effects.push_back(Effect::Shelve(Shelve::Drop(paths)));
        }
        ClientMessage::Cache(CacheAsk::Recalled { reign, number }).encode(&mut self.outgoing);
    }

    fn kept_reply(
        &mut self,
        now: Instant,
        number: u64,
        (revision, keep): (Revision, bool),
        answer: &[u8],
    ) -> Result<(), Trouble> {
        goes_forward(format_args!("a read"), revision, self.seen)?;
        let answer = codec::decode_read_outcome(answer).map_err(|error| unreadable(&error))?;
        let Some(answered) = self.queue.read_answered(number) else { return Ok(()) };
        self.progressed(now, revision);
        let safe = keep && (!answered.tainted || cfg!(bug = "30")) && now < self.keeping.lease_until && !self.closing;
        if safe && is_whole(&answer) {
            let (read, answer) = (answered.read, Box::new(answer.clone()));
            self.effects.push_back(Effect::Shelve(Shelve::Keep { read, revision, answer }));
        }
        self.effects.push_back(Effect::Done { tag: answered.tag, result: Ok(Answered::Read { revision, answer }) });
        Ok(())
    }
}

fn is_among(path: &str, paths: &[Arc<str>]) -> bool {
    paths.iter().any(|one| **one == *path)
}

/// Whether no further page follows, which would have to be of the same revision.
fn is_whole(answer: &Result<Answer, Refusal>) -> bool {
    match answer {
        Ok(Answer::Children { more, .. } | Answer::Entries { more, .. }) => !more,
        Ok(Answer::Node { .. } | Answer::Exists { .. }) | Err(Refusal::NoNode { .. }) => true,
        Ok(_) | Err(_) => false,
    }
}

/// The lease is renewed this often: two renewals may be lost.
const RENEWALS_PER_LEASE: u64 = 4;

/// The cell has to mark a session before it has a lease: soon, unless there is no leader.
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(320);
