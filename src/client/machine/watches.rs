//! The watches of one session, across its connections.
//!
//! Each watch has a cursor: everything up to that revision has been told to the caller. After every new connection it is
//! opened again from there, so that nothing is lost; and what is not past the cursor is dropped, so that nothing is told
//! twice. A revision is told whole or not at all.
//!
//! A watch sees what was asked for after it, and not what was asked for before it. The server opens it at once, so it
//! misses nothing; should requests made before it be unanswered still, their events are told, and the answer to the last of
//! them says from which revision on they count. Then it is announced as open.
//!
//! A watch that is wanted once is ended from here, after its first revision or gap that counts.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::{Effect, Link, Machine};
use crate::client::error::Error;
use crate::namespace::command::{Refusal, Revision, Stat};
use crate::time::Instant;
use crate::wire::client::ClientMessage;
use crate::wire::watch::{Event, EventKind, Registration, Scope};

/// What is to be watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchWish {
    /// The node.
    pub path: String,
    /// How far around it.
    pub scope: Scope,
    /// Events after this revision; `None`: from now on.
    pub from: Option<Revision>,
    /// Ends with the first revision that has an event, or with a gap.
    pub once: bool,
    /// Events bring data and stat.
    pub with_data: bool,
}

/// What a watch is told.
#[derive(Clone, Debug)]
pub enum WatchTold {
    /// It stands. What counts is what happens after `revision`; whatever it was told up to there before does not.
    Opened {
        /// The revision.
        revision: Revision,
    },
    /// Everything that happened at `revision`.
    Happened {
        /// The revision.
        revision: Revision,
        /// The events, in order.
        events: Vec<Happening>,
    },
    /// What happened after `from`, up to `to`, is lost.
    Gap {
        /// Up to here all was told.
        from: Revision,
        /// From here on all will be told.
        to: Revision,
    },
    /// Everything up to `revision` has been told.
    Progress {
        /// The revision.
        revision: Revision,
    },
    /// There will be no such watch.
    Refused(Refusal),
    /// The session is at its end.
    Over(Error),
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    /// What happened.
    pub kind: EventKind,
    /// To which node.
    pub path: String,
    /// What the node was then, if asked for and still known.
    pub node: Option<(Bytes, Stat)>,
}

/// Every watch of a session, by the caller's name for it.
#[derive(Debug, Default)]
pub(super) struct Watches {
    wanted: BTreeMap<u64, Wanted>,
    unsent: usize,
    /// How many wait behind a request. Mostly none does, and an answer has nothing to look for.
    behind: usize,
}

#[derive(Debug)]
struct Wanted {
    wish: WatchWish,
    /// Told up to here; unknown before it was opened.
    cursor: Option<Revision>,
    /// The newest revision the caller had seen when it asked.
    seen: Revision,
    /// The last request made before, if unanswered then.
    behind: u64,
    /// What that request was answered at.
    floor: Revision,
    /// From where it was first opened.
    opened_at: Option<Revision>,
    sent: bool,
    /// It stands on this connection.
    opened: bool,
    /// From where it counts; unknown before it was announced.
    begins: Option<Revision>,
    /// The last revision of which it was told something.
    told_at: Revision,
    /// Events of a revision of which more is to come.
    partial: Vec<Happening>,
}

impl Watches {
    /// Appends what the server has to be asked.
    pub(super) fn send(&mut self, out: &mut BytesMut) {
        if self.unsent == 0 {
            return;
        }
        self.unsent = 0;
        for (watch, wanted) in self.wanted.iter_mut().filter(|(_, wanted)| !wanted.sent) {
            let WatchWish { path, scope, from, with_data, .. } = &wanted.wish;
            let (scope, from, with_data) = (*scope, wanted.cursor.or(*from), *with_data);
            let registration = Registration { path, scope, from, with_data };
            ClientMessage::Watch { watch: *watch, registration }.encode(out);
            wanted.sent = true;
        }
    }

    /// The session has been another's, whose requests have the numbers up to `number`: those made here so far come after.
    pub(super) fn begin_after(&mut self, number: u64) {
        self.wanted.values_mut().filter(|wanted| wanted.behind > 0).for_each(|wanted| wanted.behind += number);
    }

    /// The connection is gone: all must be opened again.
    pub(super) fn rewind(&mut self) {
        for wanted in self.wanted.values_mut() {
            if wanted.sent && wanted.cursor.is_none() && wanted.wish.from.is_none() {
                // It may have stood; what was asked for after it may have been done.
                wanted.cursor = Some(wanted.seen);
            }
            (wanted.sent, wanted.opened) = (false, false);
            wanted.partial.clear();
        }
        self.unsent = self.wanted.len();
    }

    /// How many wait behind a request.
    #[cfg(test)]
    pub(super) fn behind(&self) -> usize {
        assert_eq!(self.behind, self.wanted.values().filter(|wanted| wanted.behind > 0).count(), "it is kept in step");
        self.behind
    }

    fn remove(&mut self, watch: u64) -> Option<Wanted> {
        let wanted = self.wanted.remove(&watch)?;
        self.behind -= usize::from(wanted.behind > 0);
        Some(wanted)
    }

    /// The session is over.
    pub(super) fn into_names(self) -> impl Iterator<Item = u64> {
        self.wanted.into_keys()
    }
}

impl Wanted {
    /// Announces it, if it was opened and nothing made before it is unanswered.
    fn announce(&mut self, watch: u64, effects: &mut impl Extend<Effect>) {
        let (None, 0, Some(opened_at)) = (self.begins, self.behind, self.opened_at) else { return };
        let begins = self.floor.max(opened_at);
        (self.begins, self.cursor) = (Some(begins), self.cursor.max(Some(begins)));
        effects.extend([told(watch, WatchTold::Opened { revision: begins })]);
    }

    /// Whether it was told what it was opened for.
    fn is_done(&self) -> bool {
        self.wish.once && self.begins.is_some_and(|begins| self.told_at > begins)
    }
}

impl Machine {
    /// Opens a watch; `watch` is the caller's name for it, never used before. What it is told comes as
    /// [`Effect::Watch`].
    pub fn watch(&mut self, now: Instant, watch: u64, wish: WatchWish) -> Result<(), Error> {
        self.admit()?;
        let behind = if wish.from.is_some() { 0 } else { self.queue.unanswered_upto() };
        let wanted = Wanted {
            wish,
            cursor: None,
            seen: self.seen,
            behind,
            floor: 0,
            opened_at: None,
            sent: false,
            opened: false,
            begins: None,
            told_at: 0,
            partial: Vec::new(),
        };
        let before = self.watches.wanted.insert(watch, wanted);
        assert!(before.is_none(), "a name names one watch");
        self.watches.unsent += 1;
        self.watches.behind += usize::from(behind > 0);
        self.send(now);
        Ok(())
    }

    /// Ends a watch: it is told nothing more.
    pub fn unwatch(&mut self, watch: u64) {
        let Some(wanted) = self.watches.remove(watch) else { return };
        if !wanted.sent {
            self.watches.unsent -= 1;
        } else if matches!(self.link, Link::Up) {
            ClientMessage::Unwatch { watch }.encode(&mut self.outgoing);
        }
    }

    pub(super) fn watch_opened(&mut self, watch: u64, revision: Revision) {
        let Some(wanted) = self.watches.wanted.get_mut(&watch) else { return };
        wanted.opened = true;
        wanted.opened_at.get_or_insert(revision);
        wanted.cursor = wanted.cursor.max(Some(revision));
        wanted.announce(watch, &mut self.effects);
    }

    /// A request was answered: watches that waited for that know what counts.
    pub(super) fn watches_after(&mut self, number: u64, revision: Revision) {
        let Watches { wanted, behind, .. } = &mut self.watches;
        if *behind == 0 {
            return;
        }
        let mut done = Vec::new();
        for (watch, wanted) in wanted.iter_mut().filter(|(_, wanted)| wanted.behind == number) {
            *behind -= 1;
            (wanted.behind, wanted.floor) = (0, revision);
            wanted.announce(*watch, &mut self.effects);
            if wanted.is_done() {
                done.push(*watch);
            }
        }
        done.into_iter().for_each(|watch| self.unwatch(watch));
    }

    pub(super) fn watch_refused(&mut self, watch: u64, refusal: Refusal) {
        if self.watches.remove(watch).is_some() {
            self.effects.push_back(told(watch, WatchTold::Refused(refusal)));
        }
    }

    pub(super) fn events(&mut self, watch: u64, (revision, more): (Revision, bool), events: &[Event<'_>]) {
        let Some(wanted) = self.watches.wanted.get_mut(&watch) else { return };
        if wanted.cursor.is_some_and(|cursor| revision <= cursor) {
            return;
        }
        wanted.partial.extend(events.iter().map(Happening::of));
        if more {
            return;
        }
        let events = std::mem::take(&mut wanted.partial);
        self.seen = self.seen.max(revision);
        self.tell_watch(watch, revision, WatchTold::Happened { revision, events });
    }

    pub(super) fn gap(&mut self, watch: u64, from: Revision, to: Revision) {
        let Some(wanted) = self.watches.wanted.get_mut(&watch) else { return };
        let from = wanted.cursor.unwrap_or(from).max(from);
        if to > from {
            wanted.partial.clear();
            self.tell_watch(watch, to, WatchTold::Gap { from, to });
        }
    }

    fn tell_watch(&mut self, watch: u64, upto: Revision, what: WatchTold) {
        let wanted = self.watches.wanted.get_mut(&watch).expect("the caller found it");
        (wanted.cursor, wanted.told_at) = (Some(upto), upto);
        self.effects.push_back(told(watch, what));
        if wanted.is_done() {
            self.unwatch(watch);
        }
    }

    pub(super) fn progress(&mut self, revision: Revision) {
        for (watch, wanted) in self.watches.wanted.iter_mut().filter(|(_, wanted)| wanted.opened) {
            if wanted.cursor.is_some_and(|cursor| cursor < revision) {
                wanted.cursor = Some(revision);
                self.effects.push_back(told(*watch, WatchTold::Progress { revision }));
            }
        }
    }
}

impl Happening {
    fn of(event: &Event<'_>) -> Self {
        let node = event.node.map(|(data, stat)| (Bytes::copy_from_slice(data), stat));
        Self { kind: event.kind, path: event.path.to_owned(), node }
    }
}

pub(super) fn told(watch: u64, told: WatchTold) -> Effect {
    Effect::Watch { watch, told }
}
