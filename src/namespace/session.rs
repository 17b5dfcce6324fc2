//! The sessions: whose turn it is, and what each was told.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_128;

use super::acl::{Principals, User};
use super::command::{Revision, SessionId};
use super::results::Results;
use super::slab::{Place, Row, Slab, Visit};
use crate::limits::{SESSION_PROCESSES_REMEMBERED, SESSION_REQUESTS_IN_FLIGHT};

/// One session's replicated state, without its results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionView {
    /// Its name.
    pub session: SessionId,
    /// What the client that opened it chose to find the answer again.
    pub token: u64,
    /// What a client must show to take the session up.
    pub secret: u128,
    /// How long it outlives its client's last sign of life, in milliseconds.
    pub timeout_ms: u32,
    /// Bumped when it is opened, resumed, and by each request applied: an expiry names the counter it saw.
    pub counter: u64,
    /// The last request applied; the next is one more.
    pub last_number: u64,
    /// Results still kept.
    pub results: usize,
    /// Which processes may keep answers.
    pub marked: Marked,
    /// The process that has it: a number of that one's own.
    pub holder: u64,
    /// The process that had it before; the same if there was none.
    pub former: u64,
    /// The last request applied that was of another process.
    pub before: u64,
}

/// Which of the processes that have had a session the log has let keep answers. A new leader asks the one that has it to drop
/// them; for those before, who cannot be asked, it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marked {
    /// None.
    Never,
    /// Any of them.
    ForAny,
    /// Only the one that has it: it had taken the session over when that was marked for the first time.
    ForHolder,
}

/// A session where it lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Session {
    pub id: SessionId,
    pub token: u64,
    pub secret: u128,
    pub timeout_ms: u32,
    pub counter: u64,
    pub last_number: u64,
    /// Whom it stands for.
    pub who: Arc<Principals>,
    who_hash: u128,
    pub marked: Marked,
    /// The process that has it; another one must say that it takes it over.
    pub holder: u64,
    /// The one before, which may not have it back: what says that it takes it over is a late copy.
    pub former: u64,
    /// Those before that one, the last of them, in the order in which they lost it: none of them may either.
    earlier: Vec<u64>,
    earlier_hash: u128,
    /// The last request applied that was of another process.
    pub before: u64,
    /// Results of the requests up to `last_number`, none missing between the first kept and the last.
    results: Results,
    hash: u128,
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    rows: Slab<Session>,
    by_id: BTreeMap<SessionId, Place>,
    by_token: BTreeMap<(u64, u128), Place>,
}

impl Sessions {
    pub const fn new() -> Self {
        Self { rows: Slab::new(), by_id: BTreeMap::new(), by_token: BTreeMap::new() }
    }

    /// Adds a session; where it lies, unless its id or its (token, secret) is taken.
    pub fn insert(&mut self, session: Session) -> Option<Place> {
        let (id, token) = (session.id, (session.token, session.secret));
        if self.by_id.contains_key(&id) || self.by_token.contains_key(&token) {
            return None;
        }
        let place = self.rows.insert(session);
        self.by_id.insert(id, place);
        self.by_token.insert(token, place);
        Some(place)
    }

    pub fn remove(&mut self, place: Place) {
        let session = self.rows.remove(place);
        self.by_id.remove(&session.id);
        self.by_token.remove(&(session.token, session.secret));
    }

    pub fn update<T>(&mut self, place: Place, change: impl FnOnce(&mut Session) -> T) -> T {
        self.rows.update(place, |session| {
            let result = change(session);
            session.rehash();
            result
        })
    }

    pub fn find(&self, id: SessionId) -> Option<Place> {
        self.by_id.get(&id).copied()
    }

    pub fn find_token(&self, token: u64, secret: u128) -> Option<Place> {
        self.by_token.get(&(token, secret)).copied()
    }

    pub fn get(&self, place: Place) -> &Session {
        self.rows.get(place)
    }

    /// Every session, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_id.values().map(|place| self.rows.get(*place))
    }

    /// Every session with a greater id, in order.
    pub fn after(&self, id: SessionId) -> impl Iterator<Item = &Session> {
        let beyond = (std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded);
        self.by_id.range(beyond).map(|(_, place)| self.rows.get(*place))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub const fn digest(&self) -> u128 {
        self.rows.sum()
    }

    pub fn begin_walk(&mut self) {
        self.rows.begin_walk();
    }

    pub fn visit(&mut self) -> Visit<Session> {
        self.rows.visit()
    }

    pub fn end_walk(&mut self) {
        self.rows.end_walk();
    }
}

impl Session {
    pub fn new(id: SessionId, token: u64, secret: u128, timeout_ms: u32, address: Option<IpAddr>) -> Self {
        let (counter, results) = (1, 0);
        let (last_number, marked, before) = (0, Marked::Never, 0);
        // The token is a number of the process that opens it.
        let (holder, former) = (token, token);
        let view = SessionView {
            session: id,
            token,
            secret,
            timeout_ms,
            counter,
            last_number,
            results,
            marked,
            holder,
            former,
            before,
        };
        Self::restored(view, Principals::at(address), Vec::new(), std::iter::empty())
    }

    /// A session as an image tells of it.
    pub fn restored(
        view: SessionView,
        who: Principals,
        earlier: Vec<u64>,
        results: impl ExactSizeIterator<Item = (Revision, Bytes)>,
    ) -> Self {
        let SessionView { session: id, token, secret, timeout_ms, counter, last_number, marked, .. } = view;
        let SessionView { holder, former, before, .. } = view;
        assert!(results.len() as u64 <= last_number, "there is one result a request at most");
        let first = last_number - results.len() as u64 + 1;
        let mut kept = Results::default();
        (first..).zip(results).for_each(|(number, (revision, outcome))| kept.push(number, revision, &outcome));
        let (who_hash, earlier_hash) = (hash_of(&who), hash_of_all(&earlier));
        let who = Arc::new(who);
        let mut session = Self {
            id,
            token,
            secret,
            timeout_ms,
            counter,
            last_number,
            who,
            who_hash,
            marked,
            holder,
            former,
            earlier,
            earlier_hash,
            before,
            results: kept,
            hash: 0,
        };
        session.rehash();
        session
    }

    /// Drops the results up to `acked_upto`. A client cannot have seen what was not yet applied.
    pub fn acknowledge(&mut self, acked_upto: u64) {
        self.results.forget(self.acknowledged_by(acked_upto));
    }

    /// Keeps the result of the next request.
    pub fn record(&mut self, revision: Revision, outcome: &[u8]) {
        self.last_number += 1;
        self.counter += 1;
        self.results.forget(if cfg!(bug = "22") { self.results.len() } else { 0 });
        self.results.push(self.last_number, revision, outcome);
    }

    /// Its client is connected from there now.
    pub fn connect_from(&mut self, address: Option<IpAddr>) {
        if self.who.address != address {
            self.stand_for(Principals { address, ..(*self.who).clone() });
        }
    }

    /// Another process has it from now on. What the one before may still have under way has numbers that are passed over
    /// here, so that none of it is ever applied, whenever it comes.
    pub fn pass_to(&mut self, holder: u64) {
        // Results go only behind newer ones: where there are none, the one before asked for nothing, and numbers that were
        // passed over were not applied.
        if self.results.len() > 0 {
            self.before = self.last_number;
        }
        if self.was_passed_on() {
            self.earlier.push(self.former);
            let forgotten = self.earlier.len().saturating_sub(SESSION_PROCESSES_REMEMBERED);
            self.earlier.drain(..forgotten);
            self.earlier_hash = hash_of_all(&self.earlier);
        }
        (self.former, self.holder) = (self.holder, holder);
        if self.marked == Marked::ForHolder {
            self.marked = Marked::ForAny;
        }
        self.acknowledge(self.last_number);
        self.last_number += SESSION_REQUESTS_IN_FLIGHT as u64;
    }

    /// Whether that process has had it and lost it, as far as that is remembered.
    pub fn was_lost_by(&self, process: u64) -> bool {
        self.was_passed_on() && (self.former == process || self.earlier.contains(&process))
    }

    /// Its client may keep answers from here on. A process that had it before may be connected still to a replica that lags;
    /// but there it is given no answer to keep before that replica has applied this, and so the takeover.
    pub fn mark(&mut self) {
        if self.marked == Marked::Never {
            self.marked = if self.was_passed_on() { Marked::ForHolder } else { Marked::ForAny };
        }
    }

    /// It stands for that user too.
    pub fn authenticate(&mut self, user: User, is_super: bool) {
        let mut who = (*self.who).clone();
        who.is_super |= is_super;
        if !who.users.contains(&user) {
            who.users.push(user);
        }
        self.stand_for(who);
    }

    /// What request `number` was answered, and at which revision; `None` once its client acknowledged it.
    pub fn result(&self, number: u64) -> Option<(Revision, Bytes)> {
        let at = number.checked_sub(self.first_kept())?;
        self.results.get(usize::try_from(at).ok()?)
    }

    /// Results that `acked_upto` would leave, and their bytes.
    pub fn left_by(&self, acked_upto: u64) -> (usize, usize) {
        let acked = self.acknowledged_by(acked_upto);
        (self.results.len() - acked, self.results.bytes() - self.results.bytes_of(acked))
    }

    pub const fn results(&self) -> &Results {
        &self.results
    }

    /// Those that had it before the one that had it last.
    pub fn earlier(&self) -> &[u64] {
        &self.earlier
    }

    pub fn view(&self) -> SessionView {
        SessionView {
            session: self.id,
            token: self.token,
            secret: self.secret,
            timeout_ms: self.timeout_ms,
            counter: self.counter,
            last_number: self.last_number,
            results: self.results.len(),
            marked: self.marked,
            holder: self.holder,
            former: self.former,
            before: self.before,
        }
    }

    /// Whether the hash is what it would be if it were made anew; for checks.
    pub fn hash_holds(&self) -> bool {
        *self == Self::restored(self.view(), (*self.who).clone(), self.earlier.clone(), self.results.iter())
    }

    fn stand_for(&mut self, who: Principals) {
        self.who_hash = hash_of(&who);
        self.who = Arc::new(who);
    }

    fn was_passed_on(&self) -> bool {
        self.view().was_passed_on()
    }

    fn first_kept(&self) -> u64 {
        self.last_number - self.results.len() as u64 + 1
    }

    /// Kept results that `acked_upto` acknowledges.
    fn acknowledged_by(&self, acked_upto: u64) -> usize {
        let acked = (acked_upto.min(self.last_number) + 1).saturating_sub(self.first_kept());
        usize::try_from(acked).expect("no more than are kept")
    }

    fn rehash(&mut self) {
        let mut raw = [0; 125];
        raw[..8].copy_from_slice(&self.id.0.to_le_bytes());
        raw[8..16].copy_from_slice(&self.token.to_le_bytes());
        raw[16..32].copy_from_slice(&self.secret.to_le_bytes());
        raw[32..36].copy_from_slice(&self.timeout_ms.to_le_bytes());
        raw[36..44].copy_from_slice(&self.counter.to_le_bytes());
        raw[44..52].copy_from_slice(&self.last_number.to_le_bytes());
        raw[52..68].copy_from_slice(&self.results.sum().to_le_bytes());
        raw[68..84].copy_from_slice(&self.who_hash.to_le_bytes());
        raw[84] = self.marked.tag();
        raw[85..93].copy_from_slice(&self.holder.to_le_bytes());
        raw[93..101].copy_from_slice(&self.former.to_le_bytes());
        raw[101..109].copy_from_slice(&self.before.to_le_bytes());
        raw[109..].copy_from_slice(&self.earlier_hash.to_le_bytes());
        // Images were written before those processes were remembered: the digest in them is of so much.
        let told = if self.earlier.is_empty() { &raw[..109] } else { &raw[..] };
        self.hash = xxh3_128(told);
    }
}

impl SessionView {
    /// Whether its client may keep answers.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.marked != Marked::Never
    }

    /// Whether another process had it before. Nobody gets it back from the next one, so the two last are never the same.
    #[must_use]
    pub fn was_passed_on(&self) -> bool {
        self.former != self.holder
    }

    /// Whether a process that had it before may keep answers.
    #[must_use]
    pub fn is_marked_for_former(&self) -> bool {
        self.marked == Marked::ForAny && self.was_passed_on()
    }
}

impl Marked {
    /// As images and digests have it.
    pub(super) const fn tag(self) -> u8 {
        match self {
            Self::Never => 0,
            Self::ForAny => 1,
            Self::ForHolder => 2,
        }
    }

    pub(super) const fn of_tag(tag: u8) -> Option<Self> {
        match tag {
            0 => Some(Self::Never),
            1 => Some(Self::ForAny),
            2 => Some(Self::ForHolder),
            _ => None,
        }
    }
}

fn hash_of_all(processes: &[u64]) -> u128 {
    let raw: Vec<u8> = processes.iter().flat_map(|process| process.to_le_bytes()).collect();
    xxh3_128(&raw)
}

fn hash_of(who: &Principals) -> u128 {
    let mut raw = BytesMut::new();
    who.put(&mut raw);
    xxh3_128(&raw)
}

impl Row for Session {
    type Kept = Self;

    fn keep(&self) -> Self {
        self.clone()
    }

    fn hash(&self) -> u128 {
        self.hash
    }
}
