//! Watches: what happens to a node, or around it, as a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;

use super::api::{Client, outward, refused, unfit};
use super::call::{Call, Opened};
use super::error::{Error, Outcome, Result};
use super::machine::{Answered, Happening, WatchTold, WatchWish};
use super::op::Op;
use crate::namespace::command::{Answer, Read, Refusal, Revision, Stat};
use crate::wire::client::Consistency;
use crate::wire::watch::{EventKind, Scope};

/// What to watch, and how. The default is the node itself, for as long as the [`Watch`] is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct WatchOptions {
    scope: Scope,
    from: Option<Revision>,
    once: bool,
    with_data: bool,
    progress: bool,
    buffer: usize,
}

/// What happened. Events of one command have one revision, and are all there when the first is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A node was made.
    Created {
        /// The node.
        path: String,
        /// When.
        revision: Revision,
        /// Its data and stat, if [asked for](WatchOptions::with_data) and still known.
        node: Option<(Bytes, Stat)>,
    },
    /// A node's data were replaced.
    Changed {
        /// The node.
        path: String,
        /// When.
        revision: Revision,
        /// Its data and stat, if [asked for](WatchOptions::with_data) and still known.
        node: Option<(Bytes, Stat)>,
    },
    /// A node was removed.
    Deleted {
        /// The node.
        path: String,
        /// When.
        revision: Revision,
    },
    /// A node and all below it have come to more than the soft bounds of its quota. Told to who watches the node itself, or a
    /// subtree it is in, each time a bound is passed.
    OverQuota {
        /// The node with the quota.
        path: String,
        /// The revision.
        revision: Revision,
    },
    /// Somebody came to wait for a node's lock, which another holds; or to hold it, while others wait. Told to watches of
    /// the [lock](WatchOptions::lock).
    Wanted {
        /// The node.
        path: String,
        /// When.
        revision: Revision,
    },
    /// Nothing up to this revision is missing. Only if asked for.
    Progress {
        /// The revision.
        revision: Revision,
    },
    /// What happened after `from`, up to `to`, cannot be told any more: read again what matters. The cell keeps changes
    /// for some time only, and the watch its events up to a bound.
    Gap {
        /// Everything up to here was told.
        from: Revision,
        /// Everything after this will be.
        to: Revision,
    },
}

/// A watch: a stream of events. Every change comes once, in order, across reconnections and changes of replica and leader;
/// what cannot be told any more is a [`WatchEvent::Gap`]. An answer read after an event is never older than the event.
///
/// It ends after its first event if that was asked for, and with an error when the session does. Dropping it ends the watch;
/// until then it keeps the session alive as a clone of the [`Client`] does.
///
/// As every stream here it is awaited or waited for, with and without `futures::StreamExt`:
///
#[doc = concat!("```no_run\n", include_str!("../../tests/process/examples/streams.rs"), "```")]
#[derive(Debug)]
pub struct Watch {
    feed: Arc<Feed>,
    name: u64,
    client: Client,
    /// A process forked from the one whose watch it is was told so.
    told_forked: bool,
}

/// The driver's end of a watch.
pub(super) struct Listener {
    feed: Arc<Feed>,
    /// Told when the watch stands, or cannot.
    opened: Option<Opened>,
}

/// What a watch was told and nobody took yet.
#[derive(Debug)]
struct Feed {
    state: Mutex<Told>,
    options: WatchOptions,
    root: Arc<str>,
}

#[derive(Debug, Default)]
struct Told {
    events: VecDeque<WatchEvent>,
    /// What counts begins after this; unknown before the watch is open.
    floor: Option<Revision>,
    /// Everything up to here was put into `events`.
    upto: Revision,
    /// The last event taken, or what it began with.
    taken: Revision,
    /// Nothing more comes.
    ended: Option<Error>,
    over: bool,
    waker: Option<Waker>,
}

impl WatchOptions {
    /// The node itself: made, changed, deleted.
    pub const fn node() -> Self {
        let (scope, buffer) = (Scope::Node, BUFFER_EVENTS);
        Self { scope, from: None, once: false, with_data: false, progress: false, buffer }
    }

    /// The names of the node's children: one made or deleted; and the node itself made or deleted.
    pub const fn children() -> Self {
        Self { scope: Scope::Children, ..Self::node() }
    }

    /// As [`children`](Self::children), and a child's data changed.
    pub const fn entries() -> Self {
        Self { scope: Scope::Entries, ..Self::node() }
    }

    /// The node and everything below it.
    pub const fn recursive() -> Self {
        Self { scope: Scope::Subtree, ..Self::node() }
    }

    /// The node's lock: somebody came to wait for it behind a holder; and the node, with its lock, was deleted. A request
    /// that does not wait is refused, and not told of.
    pub const fn lock() -> Self {
        Self { scope: Scope::Lock, ..Self::node() }
    }

    /// Events after this revision, as far as the cell still knows them; otherwise from now on.
    pub const fn from_revision(mut self, revision: Revision) -> Self {
        self.from = Some(revision);
        self
    }

    /// End after the first event. (Events of one command come together, and so does what ends it.)
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// As long as it is held.
    pub(super) const fn forever(mut self) -> Self {
        self.once = false;
        self
    }

    /// Events bring the node's data and stat. Those that a watch catches up with, after it was interrupted, began at an
    /// earlier revision or was read too slowly, bring none if the node has changed since; where they do, the stat may count
    /// children that came and went later.
    pub const fn with_data(mut self) -> Self {
        self.with_data = true;
        self
    }

    /// Be told now and then how far the watch is, also when nothing happens to it.
    pub const fn progress(mut self) -> Self {
        self.progress = true;
        self
    }

    /// Events that wait to be taken, at most about this many; what comes when there are more becomes a gap.
    pub const fn buffer(mut self, events: usize) -> Self {
        self.buffer = events;
        self
    }
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self::node()
    }
}

impl WatchEvent {
    /// When it happened; of a gap, its end.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        match self {
            Self::Created { revision, .. }
            | Self::Changed { revision, .. }
            | Self::Deleted { revision, .. }
            | Self::OverQuota { revision, .. }
            | Self::Wanted { revision, .. }
            | Self::Progress { revision }
            | Self::Gap { to: revision, .. } => *revision,
        }
    }

    /// The node it happened to; none for progress and gaps.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Created { path, .. }
            | Self::Changed { path, .. }
            | Self::Deleted { path, .. }
            | Self::OverQuota { path, .. }
            | Self::Wanted { path, .. } => Some(path),
            Self::Progress { .. } | Self::Gap { .. } => None,
        }
    }

    fn of(happening: Happening, revision: Revision, root: &str) -> Self {
        let Happening { kind, path, node } = happening;
        let path = outward(root, path);
        match kind {
            EventKind::Created => Self::Created { path, revision, node },
            EventKind::Changed => Self::Changed { path, revision, node },
            EventKind::Deleted => Self::Deleted { path, revision },
            EventKind::OverQuota => Self::OverQuota { path, revision },
            EventKind::Wanted => Self::Wanted { path, revision },
        }
    }
}

impl Client {
    /// Watches a node, which need not exist. It is done when the watch stands; what is asked for after this call does
    /// not escape it. [`Error::TooLarge`] if this client has more than
    /// [`WATCHES_PER_CONNECTION_MAX`](crate::limits::WATCHES_PER_CONNECTION_MAX) of them.
    pub fn watch(&self, path: &str, options: WatchOptions) -> Op<Watch> {
        let (op, promise) = Op::new();
        self.watch_then(path, options, move |watch| promise.keep(watch));
        self.timed(op)
    }

    /// Watches a node, and does `then` once the watch stands, or cannot.
    pub(super) fn watch_then(
        &self,
        path: &str,
        options: WatchOptions,
        then: impl FnOnce(Result<Watch>) + Send + 'static,
    ) {
        match self.inward(path) {
            Ok(path) => self.open_watch(path, options, then),
            Err(error) => then(Err(error)),
        }
    }

    /// A node's data and stat, or that it is not there, and a watch of all that happens to it after. [`Error::IsLog`]
    /// of a log; otherwise as [`watch`](Self::watch).
    pub fn get_and_watch(&self, path: &str) -> Op<(Option<(Bytes, Stat)>, Watch)> {
        let watch = self.watch(path, WatchOptions::node());
        let path = match self.inward(path) {
            Ok(path) => path,
            Err(error) => return Op::ready(Err(error)),
        };
        let root = self.root();
        self.submit(Call::Read(Read::Get { path }, Consistency::Linearizable), move |answered| {
            let Answered::Read { revision, answer } = answered else { return Err(unfit("a read")) };
            let node = match answer {
                Ok(Answer::Node { data, stat }) => Some((data, stat)),
                Ok(_) => return Err(unfit("a read")),
                Err(Refusal::NoNode { .. }) => None,
                Err(refusal) => return Err(refused(refusal, &root)),
            };
            // It was asked for first, so it was opened first; this is no place to wait.
            if !watch.is_answered() {
                return Err(unfit("a watch"));
            }
            let watch = watch.wait()?;
            watch.feed.lock().begin_after(revision);
            Ok((node, watch))
        })
    }

    fn open_watch(&self, path: String, options: WatchOptions, then: impl FnOnce(Result<Watch>) + Send + 'static) {
        let (driver, client) = self.driver();
        if !driver.is_here() {
            return then(Err(forked()));
        }
        let (name, root) = (driver.name_watch(), self.root());
        let feed = Arc::new(Feed { state: Mutex::default(), options, root });
        let watch = Watch { feed: Arc::clone(&feed), name, client: self.clone(), told_forked: false };
        let opened: Opened = Box::new(move |opened| then(opened.map(|()| watch)));
        let WatchOptions { scope, from, once, with_data, .. } = options;
        let wish = WatchWish { path, scope, from, once, with_data };
        driver.watch(client, name, wish, Listener { feed, opened: Some(opened) });
    }
}

impl Watch {
    /// Everything up to this revision was taken from it: where to go on with
    /// [`from_revision`](WatchOptions::from_revision), in another session too. 0 in a forked process.
    #[must_use]
    pub fn revision(&self) -> Revision {
        if !self.is_here() {
            return 0;
        }
        let told = self.feed.lock();
        if told.events.is_empty() { told.upto } else { told.taken }
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        if !self.is_here() {
            return self.told_forked;
        }
        let told = self.feed.lock();
        told.over && told.events.is_empty() && told.ended.is_none()
    }

    fn is_here(&self) -> bool {
        self.client.driver().0.is_here()
    }

    /// In a forked child nothing comes, and the feed's lock may be held by a thread that is not there.
    fn end_forked(&mut self) -> Option<Result<WatchEvent>> {
        (!std::mem::replace(&mut self.told_forked, true)).then(|| Err(forked()))
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<WatchEvent>>> {
        if !self.is_here() {
            return Poll::Ready(self.end_forked());
        }
        let mut told = self.feed.lock();
        if told.is_silent() {
            told.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(told.take())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let (driver, client) = self.client.driver();
        driver.unwatch(client, self.name);
    }
}

impl Listener {
    /// Passes on what the watch is told. False if nothing more will come.
    pub(super) fn tell(&mut self, told: WatchTold) -> bool {
        let opened = match &told {
            WatchTold::Opened { .. } => Some(Ok(())),
            WatchTold::Refused(refusal) => Some(Err(refused(refusal.clone(), &self.feed.root))),
            WatchTold::Over(error) => Some(Err(error.clone())),
            WatchTold::Happened { .. } | WatchTold::Gap { .. } | WatchTold::Progress { .. } => None,
        };
        let goes_on = !matches!(opened, Some(Err(_)));
        self.feed.tell(told);
        if let Some(opened) = opened
            && let Some(promise) = self.opened.take()
        {
            promise(opened);
        }
        goes_on
    }
}

impl Feed {
    /// Takes in what the watch is told.
    fn tell(&self, told: WatchTold) {
        let waker = {
            let mut state = self.lock();
            self.take_in(&mut state, told);
            if state.is_silent() { None } else { state.waker.take() }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn take_in(&self, state: &mut Told, told: WatchTold) {
        if state.over {
            return;
        }
        match told {
            WatchTold::Opened { revision } => {
                state.begin_after(revision);
                self.end_if_once(state);
            }
            WatchTold::Happened { revision, events } => {
                if state.floor.is_some_and(|floor| revision <= floor) {
                    return;
                }
                // A revision is there whole, or in the gap; the one that ends the watch always is.
                if state.events.len() + events.len() > self.options.buffer && !state.events.is_empty() {
                    state.skip_to(revision);
                } else {
                    let events = events.into_iter().map(|event| WatchEvent::of(event, revision, &self.root));
                    state.events.extend(events);
                }
                state.upto = revision;
                self.end_if_once(state);
            }
            WatchTold::Gap { from, to } => {
                if state.floor.is_none_or(|floor| to > floor) {
                    let from = from.max(state.floor.unwrap_or(from));
                    state.events.push_back(WatchEvent::Gap { from, to });
                }
                state.upto = state.upto.max(to);
                self.end_if_once(state);
            }
            WatchTold::Progress { revision } => {
                state.upto = state.upto.max(revision);
                if let Some(WatchEvent::Progress { revision: last }) = state.events.back_mut() {
                    *last = revision;
                } else if self.options.progress {
                    state.events.push_back(WatchEvent::Progress { revision });
                }
            }
            WatchTold::Refused(refusal) => state.end(refused(refusal, &self.root)),
            WatchTold::Over(error) => state.end(error),
        }
    }

    fn end_if_once(&self, state: &mut Told) {
        if !self.options.once || state.floor.is_none() {
            return;
        }
        let news = |event: &&WatchEvent| !matches!(event, WatchEvent::Progress { .. });
        if let Some(first) = state.events.iter().find(news).map(WatchEvent::revision) {
            // More may have been told before it was known what counts.
            state.events.retain(|event| event.revision() <= first);
            state.over = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn begin_after(&mut self, revision: Revision) {
        self.floor = self.floor.max(Some(revision));
        self.upto = self.upto.max(revision);
        self.taken = self.taken.max(revision);
        self.events.retain(|event| event.revision() > revision);
        if let Some(WatchEvent::Gap { from, .. }) = self.events.front_mut() {
            *from = (*from).max(revision);
        }
    }

    /// Whether there is nothing to take, for now.
    fn is_silent(&self) -> bool {
        (self.floor.is_none() || self.events.is_empty()) && !self.over
    }

    fn take(&mut self) -> Option<Result<WatchEvent>> {
        if let Some(event) = self.events.pop_front() {
            // Up to an event of which others may follow, only what was before is whole.
            let more = self.events.front().is_some_and(|next| next.revision() == event.revision());
            self.taken = if more { self.taken } else { event.revision() };
            return Some(Ok(event));
        }
        self.ended.take().map(Err)
    }

    /// Nobody takes events: what happened at `revision` is left out, and said to be.
    fn skip_to(&mut self, revision: Revision) {
        if let Some(WatchEvent::Gap { to, .. }) = self.events.back_mut() {
            *to = revision;
        } else {
            let from = self.upto;
            self.events.push_back(WatchEvent::Gap { from, to: revision });
        }
    }

    fn end(&mut self, error: Error) {
        self.over = true;
        self.ended = Some(error);
    }
}

fn forked() -> Error {
    Error::Forked { outcome: Outcome::NotApplied }
}

/// Events that wait to be taken, unless told otherwise.
const BUFFER_EVENTS: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(options: WatchOptions) -> Feed {
        Feed { state: Mutex::default(), options, root: Arc::from("/app") }
    }

    fn happened(feed: &Feed, revision: Revision, count: usize) {
        let event = Happening { kind: EventKind::Deleted, path: "/app/x".to_owned(), node: None };
        feed.tell(WatchTold::Happened { revision, events: vec![event; count] });
    }

    fn taken(feed: &Feed) -> Vec<WatchEvent> {
        let mut told = feed.lock();
        std::iter::from_fn(|| if told.is_silent() { None } else { told.take() })
            .map(|event| event.expect("no end"))
            .collect()
    }

    fn deleted(revision: Revision) -> WatchEvent {
        WatchEvent::Deleted { path: "/x".to_owned(), revision }
    }

    #[test]
    fn what_was_before_the_opening_does_not_count() {
        let feed = feed(WatchOptions::node());
        happened(&feed, 4, 1);
        happened(&feed, 5, 1);
        assert!(feed.lock().is_silent());
        feed.tell(WatchTold::Opened { revision: 4 });
        happened(&feed, 6, 2);
        assert_eq!(taken(&feed), [deleted(5), deleted(6), deleted(6)]);
        happened(&feed, 7, 1);
        feed.tell(WatchTold::Gap { from: 7, to: 9 });
        feed.lock().begin_after(8);
        assert_eq!(taken(&feed), [WatchEvent::Gap { from: 8, to: 9 }]);
    }

    #[test]
    fn a_reader_who_does_not_take_gets_a_gap_and_goes_on() {
        let feed = feed(WatchOptions::node().buffer(3));
        feed.tell(WatchTold::Opened { revision: 0 });
        (1..=9).for_each(|revision| happened(&feed, revision, 1));
        assert_eq!(taken(&feed), [deleted(1), deleted(2), deleted(3), WatchEvent::Gap { from: 3, to: 9 }]);
        happened(&feed, 10, 5);
        assert_eq!(taken(&feed).len(), 5, "one command's events come together, however many");
    }

    #[test]
    fn wanted_once_it_ends_with_the_first() {
        let feed = feed(WatchOptions::node().once());
        happened(&feed, 1, 1);
        feed.tell(WatchTold::Opened { revision: 1 });
        happened(&feed, 2, 2);
        happened(&feed, 3, 1);
        assert!(feed.lock().over);
        assert_eq!(feed.lock().take().map(Result::ok), Some(Some(deleted(2))));
        assert_eq!(feed.lock().take().map(Result::ok), Some(Some(deleted(2))));
        assert!(feed.lock().take().is_none() && !feed.lock().is_silent(), "it is over");
    }

    #[test]
    fn the_end_of_the_session_is_told_once_after_what_came_before() {
        let feed = feed(WatchOptions::node());
        feed.tell(WatchTold::Opened { revision: 0 });
        happened(&feed, 1, 1);
        feed.tell(WatchTold::Over(Error::Closed { outcome: crate::client::Outcome::NotApplied }));
        assert_eq!(feed.lock().take().map(Result::ok), Some(Some(deleted(1))));
        assert!(matches!(feed.lock().take(), Some(Err(Error::Closed { .. }))));
        assert!(feed.lock().take().is_none());
    }
}
