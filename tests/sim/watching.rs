//! What clients watch, what they were told, and whether that is what happened.
//!
//! The model lists every event of the log. A watch must be told exactly those of its scope, in order, a revision at a time,
//! from where it was opened: none twice, none left out, unless a gap says so. And when a read shows a revision to a
//! client, its watches have been told everything up to there. Data are left out only of what happened to a node before
//! something else did.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::client::machine::{Happening, Machine, WatchTold, WatchWish};
use quorate::namespace::acl::{Acl, Principals, Rights};
use quorate::namespace::command::{Done, Operation, Revision, SessionId};
use quorate::time::Instant;
use quorate::wire::watch::{EventKind, Scope};

use super::coverage;
use super::history::{History, Life};
use super::model::Model;
use super::workload;
use super::world::{MILLI, Random};

/// One watch, from its making.
#[derive(Debug)]
pub struct Watched {
    life: Life,
    wish: WatchWish,
    /// The last request of the session before it.
    behind: u64,
    heard: Vec<Heard>,
}

/// What its client noticed, in order.
#[derive(Debug)]
enum Heard {
    Told(WatchTold),
    /// A read was answered at this revision.
    Saw(Revision),
}

/// One event of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelEvent {
    pub revision: Revision,
    pub kind: EventKind,
    pub path: String,
    pub data: Option<Bytes>,
    /// The list its node had then.
    pub acl: Option<Acl>,
}

/// The model, and whom a watch's session stood for.
#[derive(Clone, Copy)]
struct View<'a> {
    model: &'a Model,
    whos: &'a [Principals],
}

/// How much was watched.
#[derive(Clone, Copy, Default, Debug)]
pub struct WatchTally {
    pub watches: u64,
    pub events: u64,
    pub gaps: u64,
    /// Locks that were told to be wanted.
    pub wanted: u64,
    /// Events that brought the data that were wanted.
    pub brought: u64,
    /// Events that did not, as the node has changed since.
    pub bare: u64,
}

/// The watches of one client.
#[derive(Debug, Default)]
pub struct Watching {
    /// Places in the history, by the watch's name.
    held: BTreeMap<u64, usize>,
    names: u64,
}

impl Watching {
    /// Perhaps opens a watch, perhaps ends one.
    pub fn stir(
        &mut self,
        random: &mut Random,
        (most, names): (u64, u64),
        now: Instant,
        machine: &mut Machine,
        (life, behind, watched): (Life, u64, &mut Vec<Watched>),
    ) {
        if (self.held.len() as u64) < most && random.permille(150) {
            let seen = machine.revision();
            let from = random.permille(400).then(|| seen.saturating_sub(random.below(20)) + random.below(5));
            let wish = WatchWish {
                path: workload::path(random, names),
                scope: random.pick(&[Scope::Node, Scope::Children, Scope::Entries, Scope::Subtree, Scope::Lock]),
                from,
                once: random.permille(250),
                with_data: random.permille(500),
            };
            self.names += 1;
            let taken = machine.watch(now, self.names, wish.clone());
            taken.unwrap_or_else(|error| panic!("client {life:?} may watch: {error}"));
            self.held.insert(self.names, watched.len());
            watched.push(Watched { life, wish, behind, heard: Vec::new() });
        } else if random.permille(20)
            && let Some((name, _)) = self.held.pop_first()
        {
            machine.unwatch(name);
        }
    }

    pub fn told(&mut self, watched: &mut [Watched], name: u64, told: WatchTold) {
        // What was under way when the watch was ended may still be told.
        let Some(place) = self.held.get(&name) else { return };
        match told {
            WatchTold::Refused(refusal) => panic!("{:?} is refused: {refusal:?}", watched[*place]),
            WatchTold::Over(_) => _ = self.held.remove(&name),
            told => watched[*place].heard.push(Heard::Told(told)),
        }
    }

    /// Every watch was opened: more was asked for since, and answered.
    pub fn are_open(&self, watched: &[Watched]) {
        for watched in self.held.values().map(|place| &watched[*place]) {
            let opened = |heard: &Heard| matches!(heard, Heard::Told(WatchTold::Opened { .. }));
            assert!(watched.heard.iter().any(opened), "{watched:?} was never opened");
        }
    }

    /// A read was answered.
    pub fn saw(&self, watched: &mut [Watched], revision: Revision) {
        for place in self.held.values() {
            watched[*place].heard.push(Heard::Saw(revision));
        }
    }
}

/// Judges every watch against the model of the whole log.
pub fn judge(history: &History, model: &Model) -> WatchTally {
    let mut tally = WatchTally { watches: history.watched.len() as u64, ..WatchTally::default() };
    for watched in &history.watched {
        watched.judge(history, model, &mut tally);
    }
    tally
}

impl Watched {
    /// What of the protocol it has exercised: nothing before it stood.
    pub fn words(&self) -> Vec<&'static str> {
        let stood = self.heard.iter().any(|heard| matches!(heard, Heard::Told(WatchTold::Opened { .. })));
        if stood { coverage::watch_words(&self.wish) } else { Vec::new() }
    }

    fn judge(&self, history: &History, model: &Model, tally: &mut WatchTally) {
        // Watches are opened again after every resumption, and an event may be told long after: any of them may count.
        let whos = history.sessions.get(&self.life).map_or(Vec::new(), |session| model.stood_for(*session, 0));
        let view = View { model, whos: &whos };
        let opened = self.heard.iter().enumerate().filter_map(|(at, heard)| match heard {
            Heard::Told(WatchTold::Opened { revision }) => Some((at, *revision)),
            _ => None,
        });
        let opened: Vec<_> = opened.collect();
        assert!(opened.len() <= 1, "{self:?} is opened once");
        let Some((opened_at, begins)) = opened.first().copied() else { return };
        if self.wish.from.is_none() {
            self.stands_in_order(history.sessions[&self.life], begins, model);
        }
        let (mut cursor, mut over) = (begins, false);
        for (at, heard) in self.heard.iter().enumerate() {
            match heard {
                // What it was told before it was known what counts, and more than was wanted.
                _ if over && at < opened_at => {}
                Heard::Told(WatchTold::Happened { revision, events }) if *revision > begins => {
                    assert!(
                        !over && *revision > cursor,
                        "{revision} is told again, or too late, after {cursor}: {self:?}"
                    );
                    self.nothing_between(cursor, revision - 1, view);
                    let expected = self.expected(revision - 1, *revision, view);
                    assert!(
                        self.same(events, &expected, model, tally),
                        "{self:?} was told {events:?} at {revision}, not {expected:?}"
                    );
                    tally.events += events.len() as u64;
                    tally.wanted += events.iter().filter(|event| event.kind == EventKind::Wanted).count() as u64;
                    (cursor, over) = (*revision, self.wish.once);
                }
                Heard::Told(WatchTold::Gap { from, to }) if *to > begins => {
                    let is_one = to > from && *to > cursor && *to <= model.revision();
                    assert!(!over && is_one, "{from} to {to} is no gap after {cursor}: {self:?}");
                    self.nothing_between(cursor, *from, view);
                    tally.gaps += 1;
                    (cursor, over) = (*to, self.wish.once);
                }
                Heard::Told(WatchTold::Progress { revision }) if at > opened_at && !over => {
                    self.nothing_between(cursor, *revision, view);
                    cursor = cursor.max(*revision);
                }
                Heard::Saw(revision) if at > opened_at && !over => self.nothing_between(cursor, *revision, view),
                Heard::Told(_) | Heard::Saw(_) => {}
            }
        }
    }

    /// It begins after what its session asked for before it, and before what was asked for after it.
    fn stands_in_order(&self, session: SessionId, begins: Revision, model: &Model) {
        if let Some(before) = model.placed(session, self.behind) {
            assert!(before.revision <= begins, "{self:?} begins before request {} of its session", self.behind);
        }
        if let Some(after) = model.placed(session, self.behind + 1) {
            let changes = matches!((&after.operation, &after.outcome), (Operation::Set { .. }, Ok(Done::Set { .. })));
            assert!(!changes || after.revision > begins, "{self:?} misses request {}", self.behind + 1);
        }
    }

    fn nothing_between(&self, cursor: Revision, upto: Revision, view: View<'_>) {
        let mut missed = self.expected(cursor, upto, view);
        missed.retain(|(_, must)| *must);
        assert!(missed.is_empty(), "{self:?} was not told of {missed:?}");
    }

    /// The events it may be told of, and whether it must be.
    fn expected<'a>(&self, after: Revision, upto: Revision, view: View<'a>) -> Vec<(&'a ModelEvent, bool)> {
        let about = view.model.events_between(after, upto).iter().filter(|event| self.is_about(event));
        let shown = about.filter_map(|event| {
            let any_of = if self.wish.scope == Scope::Lock { Rights::READ.or(Rights::LOCK) } else { Rights::READ };
            let (must, may) = view.model.shows(&event.path, (event.acl.as_ref(), event.revision), view.whos, any_of);
            may.then_some((event, must))
        });
        shown.collect()
    }

    fn is_about(&self, event: &ModelEvent) -> bool {
        let path = self.wish.path.as_str();
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let own = event.path == path;
        let below = event.path != "/" && event.path.starts_with(&prefix);
        let child = below && !event.path[prefix.len()..].contains('/');
        let change = event.kind == EventKind::Changed;
        if event.kind == EventKind::OverQuota {
            return own && self.wish.scope == Scope::Node || (own || below) && self.wish.scope == Scope::Subtree;
        }
        if event.kind == EventKind::Wanted {
            return own && self.wish.scope == Scope::Lock;
        }
        match self.wish.scope {
            Scope::Node => own,
            Scope::Children => (own || child) && !change,
            Scope::Entries => own && !change || child,
            Scope::Subtree => own || below,
            Scope::Lock => own && event.kind == EventKind::Deleted,
        }
    }

    fn same(
        &self,
        told: &[Happening],
        expected: &[(&ModelEvent, bool)],
        model: &Model,
        tally: &mut WatchTally,
    ) -> bool {
        let mut fits = |told: &Happening, expected: &ModelEvent| {
            let data = told.node.as_ref().map(|(data, _)| data);
            let wanted = expected.data.as_ref().filter(|_| self.wish.with_data && self.wish.scope != Scope::Lock);
            let bare = data.is_none() && wanted.is_some();
            tally.bare += u64::from(bare);
            tally.brought += u64::from(data.is_some());
            let right = data == wanted || bare && model.happens_again(expected);
            told.kind == expected.kind && told.path == expected.path && right
        };
        let mut expected = expected.iter();
        let all_fit = told.iter().all(|told| {
            let next =
                expected.by_ref().find(|(event, must)| *must || (event.kind, &event.path) == (told.kind, &told.path));
            next.is_some_and(|(event, _)| fits(told, event))
        });
        all_fit && expected.all(|(_, must)| !must)
    }
}

/// How long a client that is slow does not read, at most.
pub const CLOG: u64 = 200 * MILLI;
