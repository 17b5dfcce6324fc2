//! What connections watch, and how far each has been told.
//!
//! Watches of one path hang on a chain, found by the path's hash; a change looks at its own path, its parent's and those
//! above. Each watch has a cursor: what happened up to there is none of its business (any more).
//!
//! A watch is *live*, told of every change as it is applied, or *behind*, told from the [`Past`]. It is behind when it
//! comes back with an old cursor, and when its client does not read: then the watches of its connection stop being told,
//! keep their cursors, and go on once the connection has room. Whatever the past does not reach any more is one gap.
//!
//! A live watch with data is brought the node of each change. One that is behind is brought what the tree has, where that is
//! the node's data as of the event still; otherwise none, as what it was is not kept, and the later change has its own event.

mod rows;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::rows::Rows;
use super::connection::{Connection, Fault};
use super::past::Past;
use super::{ConnectionId, Front};
use crate::limits::{
    CLIENT_OUTPUT_BYTES_MAX, EVENTS_FRAME_BYTES_TARGET, PAST_CHANGES_A_TURN, WATCHES_PER_CONNECTION_MAX,
};
use crate::namespace::acl::Acl;
use crate::namespace::command::{Refusal, Revision};
use crate::namespace::{Aspect, Change, Gate, Node, Tree, codec, path};
use crate::replica::exchange::{Applied, FrontRequest};
use crate::wire::client::ServerMessage;
use crate::wire::watch::{Event, EventKind, Registration, Scope, encode_events};

/// Every watch of a front.
#[derive(Debug)]
pub(super) struct Watches {
    seed: u64,
    /// The first row of each path's chain.
    index: HashTable<u32>,
    rows: Rows,
    /// Rows not in use, chained by `next`.
    free: u32,
    connections: BTreeMap<ConnectionId, Registered>,
    past: Past,
    /// Connections that have another number of watches than the replica was told.
    recounted: BTreeSet<ConnectionId>,
    /// Connections that can be told more from the past, in turn.
    due: VecDeque<ConnectionId>,
    /// Bytes of traces since the watches were last told how far they are.
    untold_bytes: usize,
    untold_bytes_max: usize,
}

/// One watch.
#[derive(Debug)]
struct Row {
    connection: ConnectionId,
    watch: u64,
    cursor: Revision,
    path: Arc<str>,
    /// Its neighbours on the path's chain.
    next: u32,
    previous: u32,
    scope: Scope,
    with_data: bool,
    behind: bool,
}

/// The watches of one connection.
#[derive(Debug, Default)]
struct Registered {
    rows: BTreeMap<u64, u32>,
    behind: BTreeSet<u64>,
    /// Its client does not read what was sent.
    clogged: bool,
    /// It stands in `due`.
    due: bool,
}

/// A change as a watch sees it: what happened, to which path, and the node it left, if that can be told.
type Seen<'a> = (EventKind, &'a str, Option<&'a Node>);

impl Watches {
    /// Whether nobody watches anything.
    pub(super) fn is_idle(&self) -> bool {
        self.index.is_empty() && self.connections.is_empty() && self.due.is_empty()
    }

    pub(super) fn new(seed: u64, past_bytes_max: usize) -> Self {
        Self {
            seed,
            index: HashTable::new(),
            rows: Rows::default(),
            free: NONE,
            connections: BTreeMap::new(),
            past: Past::new(past_bytes_max),
            recounted: BTreeSet::new(),
            due: VecDeque::new(),
            untold_bytes: 0,
            untold_bytes_max: past_bytes_max / PROGRESS_PARTS,
        }
    }

    /// Whether another turn would tell somebody more.
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether the connection has watches that have not been told everything: it must not see newer state.
    pub(super) fn is_behind(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|registered| !registered.behind.is_empty())
    }

    /// Whether what was sent to the connection has yet to leave.
    pub(super) fn is_clogged(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|registered| registered.clogged)
    }

    /// The connection is gone, or its session is.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        let Some(registered) = self.connections.remove(&connection) else { return };
        registered.rows.into_values().for_each(|row| self.unlink(row));
    }

    fn insert(&mut self, connection: ConnectionId, watch: u64, registration: &Registration<'_>, cursor: Revision) {
        let Registration { path, scope, with_data, .. } = *registration;
        // Who may look at a lock need not be allowed to read what its node holds.
        let with_data = with_data && scope != Scope::Lock;
        let hash = self.hash(path);
        let head = self.index.find(hash, |row| *self.rows[*row].path == *path).copied();
        let path = head.map_or_else(|| Arc::from(path), |head| Arc::clone(&self.rows[head].path));
        let (previous, next) = head.map_or((NONE, NONE), |head| (head, self.rows[head].next));
        let row = Row { connection, watch, cursor, path, next, previous, scope, with_data, behind: false };
        let at = self.free;
        let at = if at == NONE {
            self.rows.push(row)
        } else {
            self.free = self.rows[at].next;
            self.rows[at] = row;
            at
        };
        match head {
            Some(head) => self.rows[head].next = at,
            None => {
                let (rows, seed) = (&self.rows, self.seed);
                self.index.insert_unique(hash, at, |row| xxh3_64_with_seed(rows[*row].path.as_bytes(), seed));
            }
        }
        if next != NONE {
            self.rows[next].previous = at;
        }
        self.connections.entry(connection).or_default().rows.insert(watch, at);
        self.recounted.insert(connection);
    }

    fn remove(&mut self, connection: ConnectionId, watch: u64) {
        let Some(registered) = self.connections.get_mut(&connection) else { return };
        let Some(row) = registered.rows.remove(&watch) else { return };
        registered.behind.remove(&watch);
        self.unlink(row);
        self.recounted.insert(connection);
    }

    fn unlink(&mut self, at: u32) {
        let (path, next, previous) = {
            let row = &self.rows[at];
            (Arc::clone(&row.path), row.next, row.previous)
        };
        if next != NONE {
            self.rows[next].previous = previous;
        }
        if previous != NONE {
            self.rows[previous].next = next;
        } else {
            let hash = self.hash(&path);
            let entry = self.index.find_entry(hash, |row| *row == at);
            let entry = entry.expect("the first of a chain is in the index");
            if next == NONE {
                entry.remove();
            } else {
                *entry.into_mut() = next;
            }
        }
        let row = &mut self.rows[at];
        // The path is let go now, not when the row is used again.
        (row.path, row.next, row.behind) = (Arc::from(""), self.free, false);
        self.free = at;
    }

    /// The connection's live watches are told no more until they can be told from the past, from `cursor` on.
    fn fall_behind(&mut self, connection: ConnectionId, cursor: Revision) {
        let registered = self.connections.get_mut(&connection).expect("a connection that is told has watches");
        for (watch, row) in &registered.rows {
            let row = &mut self.rows[*row];
            if !row.behind {
                (row.behind, row.cursor) = (true, row.cursor.max(cursor));
                registered.behind.insert(*watch);
            }
        }
        self.queue(connection);
    }

    /// Has the connection told from the past when its turn comes, if there is room.
    fn queue(&mut self, connection: ConnectionId) {
        let Some(registered) = self.connections.get_mut(&connection) else { return };
        if !registered.behind.is_empty() && !registered.clogged && !std::mem::replace(&mut registered.due, true) {
            self.due.push_back(connection);
        }
    }

    /// Which live watches see what of one revision's changes: in the order of connections, watches and changes. `may_see` is
    /// asked whether a connection may be told of a change.
    fn sightings<'a>(
        &self,
        changes: &'a [Change],
        may_see: impl Fn(ConnectionId, Scope, &Change) -> bool,
        sightings: &mut Vec<(ConnectionId, u64, u32, Seen<'a>)>,
    ) {
        for change in changes {
            let Some(kind) = event_of(change.aspect) else { continue };
            for (above, distance) in ancestors(&change.path) {
                let mut at = self.first(above);
                while at != NONE {
                    let row = &self.rows[at];
                    let concerns = !row.behind && row.cursor < change.revision && covers(row.scope, distance, kind);
                    if concerns && may_see(row.connection, row.scope, change) {
                        let seen = (kind, &*change.path, change.node.as_ref());
                        sightings.push((row.connection, row.watch, at, seen));
                    }
                    at = row.next;
                }
            }
        }
        // Stable: what one watch sees stays in order.
        sightings.sort_by_key(|(connection, watch, ..)| (*connection, *watch));
    }

    fn first(&self, path: &str) -> u32 {
        let found = self.index.find(self.hash(path), |row| *self.rows[*row].path == *path);
        found.copied().unwrap_or(NONE)
    }

    fn hash(&self, path: &str) -> u64 {
        xxh3_64_with_seed(path.as_bytes(), self.seed)
    }
}

impl Front {
    /// A watch is to be opened.
    pub(super) fn watch(&mut self, id: ConnectionId, watch: u64, registration: &Registration<'_>) -> Result<(), Fault> {
        let connection = self.connections.get(&id).expect("the caller found it");
        if connection.session.is_none() {
            return Err(Fault::out_of_turn("a watch needs a session: open one and wait for it"));
        }
        let registered = self.watches.connections.entry(id).or_default();
        if registered.rows.contains_key(&watch) {
            return Err(Fault::out_of_turn("this number names a watch already: give each its own"));
        }
        let refusal = path::check(registration.path).err().or_else(|| {
            let (size, limit) = (registered.rows.len() as u64 + 1, WATCHES_PER_CONNECTION_MAX as u64);
            let what = "the number of this connection's watches".to_owned();
            (size > limit).then_some(Refusal::TooLarge { what, size, limit })
        });
        if let Some(refusal) = refusal {
            let mut encoded = BytesMut::new();
            codec::encode_outcome(&Err(refusal), &mut encoded);
            self.say(id, &ServerMessage::WatchRefused { watch, refusal: &encoded });
            return Ok(());
        }
        let cursor = registration.from.unwrap_or(self.revision.max(connection.seen));
        self.watches.insert(id, watch, registration, cursor);
        if cursor < self.revision {
            let registered = self.watches.connections.get_mut(&id).expect("it was just entered");
            registered.behind.insert(watch);
            let row = registered.rows[&watch];
            self.watches.rows[row].behind = true;
            self.watches.queue(id);
        }
        self.say(id, &ServerMessage::WatchOpened { watch, revision: cursor });
        Ok(())
    }

    /// Has the replica told how many watches sessions have, where that has changed.
    pub(super) fn count_watches(&mut self) {
        let recounted = std::mem::take(&mut self.watches.recounted).into_iter();
        let counts = recounted.filter_map(|id| {
            let session = self.connections.get(&id)?.session?;
            Some((session, self.watches.connections.get(&id).map_or(0, |registered| registered.rows.len() as u32)))
        });
        let counts: Vec<_> = counts.collect();
        if !counts.is_empty() {
            self.requests.push(FrontRequest::Watching(counts));
        }
    }

    /// A watch is not wanted any more.
    pub(super) fn unwatch(&mut self, id: ConnectionId, watch: u64) {
        self.watches.remove(id, watch);
        if !self.watches.is_behind(id) {
            self.reads.let_go(id);
        }
    }

    /// What was sent to the connection piles up: its client does not read.
    pub fn clogged(&mut self, id: ConnectionId) {
        if self.connections.contains_key(&id) {
            self.watches.connections.entry(id).or_default().clogged = true;
        }
    }

    /// What was sent to the connection has left.
    pub fn drained(&mut self, id: ConnectionId) {
        if let Some(registered) = self.watches.connections.get_mut(&id) {
            registered.clogged = false;
            self.watches.queue(id);
            if !self.watches.is_behind(id) {
                self.reads.let_go(id);
            }
        }
    }

    /// The state went forward: every live watch is told of it, before anything else is.
    pub(super) fn tell_watches(&mut self, applied: &Applied, tree: &Tree) {
        let before = self.revision;
        let added = self.watches.past.push(applied.since, applied.revision, &applied.changes);
        if applied.since != before {
            // Nobody knows what happened in between; the past says so when asked.
            let all: Vec<_> = self.watches.connections.keys().copied().collect();
            all.into_iter().for_each(|id| self.watches.fall_behind(id, before));
        }
        if self.watches.index.is_empty() {
            return;
        }
        let mut sightings = Vec::new();
        for changes in applied.changes.chunk_by(|one, next| one.revision == next.revision) {
            let may_see = |id, scope, change: &Change| {
                self.may_see(id, scope, tree, &change.path, change.acl().map(|acl| &**acl))
            };
            self.watches.sightings(changes, may_see, &mut sightings);
            let revision = changes[0].revision;
            for of_connection in sightings.chunk_by(|one, next| one.0 == next.0) {
                let id = of_connection[0].0;
                if self.watches.connections[&id].clogged || self.has_much_to_say(id) {
                    self.watches.fall_behind(id, if cfg!(bug = "20") { revision } else { revision - 1 });
                    continue;
                }
                for of_watch in of_connection.chunk_by(|one, next| one.1 == next.1) {
                    self.tell(id, of_watch[0].2, revision, of_watch.iter().map(|(.., seen)| *seen));
                }
            }
            sightings.clear();
        }
        self.watches.untold_bytes += added;
        if self.watches.untold_bytes >= self.watches.untold_bytes_max {
            self.watches.untold_bytes = 0;
            self.tell_progress(applied.revision);
        }
    }

    /// Tells connections that are behind what they missed, each in its turn, as much as a turn has time for.
    pub(super) fn tell_the_past(&mut self, tree: &Tree) {
        let mut budget = PAST_CHANGES_A_TURN;
        for _ in 0..self.watches.due.len() {
            if budget == 0 {
                return;
            }
            let id = self.watches.due.pop_front().expect("as many as were counted");
            let Some(registered) = self.watches.connections.get_mut(&id) else { continue };
            registered.due = false;
            if !registered.clogged {
                budget = self.catch_up(id, tree, budget);
            }
        }
    }

    /// Tells one connection what it missed, from at most `budget` changes; what is left of the budget.
    fn catch_up(&mut self, id: ConnectionId, tree: &Tree, mut budget: usize) -> usize {
        self.tell_gaps(id);
        let watches = &self.watches;
        let registered = &watches.connections[&id];
        let rows: Vec<u32> = registered.behind.iter().map(|watch| registered.rows[watch]).collect();
        let mut by_path: BTreeMap<Arc<str>, Vec<u32>> = BTreeMap::new();
        for row in &rows {
            by_path.entry(Arc::clone(&watches.rows[*row].path)).or_default().push(*row);
        }
        let start = rows.iter().map(|row| watches.rows[*row].cursor).min().unwrap_or(self.revision);
        // Taken out for as long as it is read from, since telling changes the rows.
        let past = std::mem::replace(&mut self.watches.past, Past::new(0));
        let mut reached = start;
        let mut whole = true;
        for traces in past.after(start) {
            if budget < traces.len() && reached > start || self.has_much_to_say(id) {
                whole = false;
                break;
            }
            budget = budget.saturating_sub(traces.len());
            reached = traces[0].revision;
            let mut sightings: BTreeMap<u64, (u32, Vec<Seen<'_>>)> = BTreeMap::new();
            for trace in traces {
                let Some(kind) = event_of(trace.aspect) else { continue };
                for (above, distance) in ancestors(&trace.path) {
                    for at in by_path.get(above).into_iter().flatten() {
                        let row = &self.watches.rows[*at];
                        let concerns = row.cursor < reached && covers(row.scope, distance, kind);
                        if concerns && self.may_see(id, row.scope, tree, &trace.path, trace.acl.as_deref()) {
                            let node = if row.with_data { trace.node(tree) } else { None };
                            let seen = (kind, &*trace.path, node);
                            sightings.entry(row.watch).or_insert_with(|| (*at, Vec::new())).1.push(seen);
                        }
                    }
                }
            }
            for (row, seen) in sightings.into_values() {
                self.tell(id, row, reached, seen.into_iter());
            }
        }
        self.watches.past = past;
        self.advance(id, if whole { self.revision } else { reached });
        budget
    }

    /// The watches of the connection that are behind have been told everything up to there.
    fn advance(&mut self, id: ConnectionId, upto: Revision) {
        let registered = self.watches.connections.get_mut(&id).expect("it is being told");
        let live = upto == self.revision;
        for watch in &registered.behind {
            let row = &mut self.watches.rows[registered.rows[watch]];
            (row.cursor, row.behind) = (row.cursor.max(upto), !live);
        }
        if live {
            registered.behind.clear();
            self.reads.let_go(id);
            self.say(id, &ServerMessage::Progress { revision: self.revision });
        }
        self.watches.queue(id);
    }

    /// Tells the connection's watches that the past does not reach.
    fn tell_gaps(&mut self, id: ConnectionId) {
        let floor = self.watches.past.floor();
        let registered = &self.watches.connections[&id];
        let late: Vec<_> = registered
            .behind
            .iter()
            .map(|watch| (*watch, registered.rows[watch]))
            .filter(|(_, row)| self.watches.rows[*row].cursor < floor)
            .collect();
        for (watch, row) in late {
            let row = &mut self.watches.rows[row];
            let from = std::mem::replace(&mut row.cursor, floor);
            self.say(id, &ServerMessage::Gap { watch, from, to: floor });
        }
    }

    /// Whether a connection may be told what happened to a node: by the list that the node had then, and by the one it has
    /// now, which may have been set to keep from everybody what it had before.
    fn may_see(&self, id: ConnectionId, scope: Scope, tree: &Tree, path: &str, acl: Option<&Acl>) -> bool {
        let Some(connection) = self.connections.get(&id) else { return false };
        let gate = Gate::new(tree, &connection.who);
        let sees = |acl| if scope == Scope::Lock { gate.sees_lock(acl) } else { gate.sees(acl) };
        sees(acl) && (gate.is_open() || tree.get(path).is_none_or(|node| sees(node.acl())))
    }

    /// Tells one watch what it sees of one revision.
    fn tell<'a>(
        &mut self,
        id: ConnectionId,
        row: u32,
        revision: Revision,
        seen: impl ExactSizeIterator<Item = Seen<'a>>,
    ) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.closing) else { return };
        let Row { watch, with_data, .. } = self.watches.rows[row];
        put_events(connection, watch, revision, with_data, seen);
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(id);
        }
    }

    /// Tells every connection how far its watches are, unless they are not.
    fn tell_progress(&mut self, revision: Revision) {
        let all = self.watches.connections.iter();
        let up_to_date = all.filter(|(_, registered)| registered.behind.is_empty() && !registered.rows.is_empty());
        let ids: Vec<_> = up_to_date.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.say(id, &ServerMessage::Progress { revision }));
    }
}

/// Writes the events of one revision, in as many frames as it takes. What would drop the connection for its size becomes a
/// gap.
fn put_events<'a>(
    connection: &mut Connection,
    watch: u64,
    revision: Revision,
    with_data: bool,
    seen: impl ExactSizeIterator<Item = Seen<'a>>,
) {
    let events: Vec<Event<'a>> = seen
        .map(|(kind, path, node)| {
            let node = node.filter(|_| with_data);
            Event { kind, path, node: node.map(|node| (node.data(), node.stat())) }
        })
        .collect();
    let bytes: usize = events.iter().map(Event::encoded_bytes).sum();
    if connection.out.len() + bytes > CLIENT_OUTPUT_BYTES_MAX / 2 {
        ServerMessage::Gap { watch, from: revision - 1, to: revision }.encode(&mut connection.out);
        return;
    }
    let mut rest = &events[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|event| {
            let room = bytes < EVENTS_FRAME_BYTES_TARGET;
            bytes += event.encoded_bytes();
            room
        });
        let (frame, more) = rest.split_at(fits.count());
        encode_events(&mut connection.out, watch, (revision, !more.is_empty()), frame.iter().copied());
        rest = more;
    }
}

/// What a change means to those who watch; nothing if it only counts children, whose own changes tell more, or is about who
/// has the lock, which `locks` tells those whom it concerns.
fn event_of(aspect: Aspect) -> Option<EventKind> {
    match aspect {
        Aspect::Birth => Some(EventKind::Created),
        Aspect::Data => Some(EventKind::Changed),
        Aspect::Death => Some(EventKind::Deleted),
        Aspect::OverQuota => Some(EventKind::OverQuota),
        Aspect::Wanted => Some(EventKind::Wanted),
        Aspect::Children | Aspect::Lock | Aspect::Handles | Aspect::Reign | Aspect::Quota | Aspect::Acl => None,
    }
}

/// Whether a watch sees an event so many names below its own path.
fn covers(scope: Scope, distance: usize, kind: EventKind) -> bool {
    let comes_or_goes = matches!(kind, EventKind::Created | EventKind::Deleted);
    match kind {
        EventKind::OverQuota => return scope == Scope::Node && distance == 0 || scope == Scope::Subtree,
        // Only who asks for it, as a holder does: of a lock that many wait for not all are told.
        EventKind::Wanted => return scope == Scope::Lock && distance == 0,
        EventKind::Created | EventKind::Changed | EventKind::Deleted => {}
    }
    match scope {
        Scope::Node => distance == 0,
        Scope::Children => distance <= 1 && comes_or_goes,
        Scope::Entries => distance == 1 || distance == 0 && comes_or_goes,
        Scope::Subtree => true,
        Scope::Lock => distance == 0 && kind == EventKind::Deleted,
    }
}

/// A path and those above it, with their distance.
fn ancestors(path: &str) -> impl Iterator<Item = (&str, usize)> {
    std::iter::successors(Some(path), |path| path::parent(path)).zip(0..)
}

/// No row.
const NONE: u32 = u32::MAX;

/// Watches are told how far they are after each such part of what the past holds, so that one that comes back finds the
/// past still reaching to where it was.
const PROGRESS_PARTS: usize = 8;

#[cfg(test)]
impl Watches {
    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(super) fn floor(&self) -> Revision {
        self.past.floor()
    }

    /// Bytes held for all watches.
    pub(super) fn bytes(&self) -> usize {
        // A B-tree's nodes are two thirds full, when they are filled in no order; half when in order.
        let of_connections: usize = self.connections.values().map(|c| c.rows.len() * size_of::<(u64, u32)>() * 2).sum();
        let chains = self.rows.iter().filter(|row| row.previous == NONE && !row.path.is_empty());
        let paths: usize = chains.map(|row| (row.path.len() + 2 * size_of::<usize>()).next_multiple_of(16)).sum();
        self.rows.bytes() + self.index.allocation_size() + of_connections + paths
    }
}
