//! Commands that wait until nobody keeps what they change.
//!
//! A session's commands leave in the order they came, so one that waits holds up the later ones of its session, and of no
//! other. Tens of thousands may wait, and the leader looks here at every slot that is applied: only the first of each session
//! is looked at, and of those only who is free, or not known yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::touch::Touch;
use crate::namespace::command::SessionId;

/// Every command that waits, by its place: in the order they came.
#[derive(Default, Debug)]
pub(super) struct Held {
    commands: BTreeMap<u64, Waiting>,
    /// The places of a session's commands; there is one at least.
    of_session: BTreeMap<SessionId, VecDeque<u64>>,
    /// Requests that will be answered from here, each after the lower ones of its session.
    requests: BTreeSet<(SessionId, u64)>,
    /// Who waits for which recall.
    awaited: BTreeMap<(SessionId, u64), Vec<u64>>,
    /// The first of their sessions that wait for nothing.
    free: BTreeSet<u64>,
    /// The first of their sessions whose effect is unknown.
    unknown: BTreeSet<u64>,
    last: u64,
    bytes: usize,
}

/// A command that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Whose request it is, and its number, if it is one.
    pub request: Option<(SessionId, u64)>,
    /// The command as it stands in a run, its length in front.
    pub command: Bytes,
    /// What it changes, blocked from now on; `None` as long as that is not known.
    pub touches: Option<Vec<Touch>>,
    /// Recalls not yet answered.
    recalls: usize,
    /// Once it is the first of its session: what it changes is known when everything up to there is applied.
    pub known_after: Option<u64>,
}

impl Waiting {
    fn session(&self) -> Option<SessionId> {
        self.request.map(|(session, _)| session)
    }
}

impl Held {
    /// One that waits for these recalls, and for its session's earlier ones.
    pub fn push(
        &mut self,
        request: Option<(SessionId, u64)>,
        command: Bytes,
        touches: Option<Vec<Touch>>,
        recalls: &BTreeSet<(SessionId, u64)>,
    ) {
        self.last += 1;
        self.bytes += command.len();
        if let Some(request) = request {
            self.of_session.entry(request.0).or_default().push_back(self.last);
            // What its session has here beyond it is answered too early for the client, who has not heard of this one.
            while let Some(early) = self.requests.range(request..=(request.0, u64::MAX)).next().copied() {
                self.requests.remove(&early);
            }
            self.requests.insert(request);
        }
        self.commands
            .insert(self.last, Waiting { request, command, touches, recalls: recalls.len(), known_after: None });
        for recall in recalls {
            self.awaited.entry(*recall).or_default().push(self.last);
        }
        self.sort(self.last);
    }

    /// Whether a copy of that request waits, whatever it acknowledges, which is answered when the client can take the answer.
    pub fn has_copy_of(&self, request: (SessionId, u64)) -> bool {
        self.requests.contains(&request)
    }

    /// It is known now what that one changes, and for which recalls it waits.
    pub fn known(&mut self, place: u64, touches: Vec<Touch>, recalls: &BTreeSet<(SessionId, u64)>) {
        let waiting = self.commands.get_mut(&place).expect("it waits");
        waiting.touches = Some(touches);
        waiting.recalls = recalls.len();
        for recall in recalls {
            self.awaited.entry(*recall).or_default().push(place);
        }
        self.sort(place);
    }

    /// That recall was answered, or needs no answer any more. True if somebody waited for it.
    pub fn answered(&mut self, session: SessionId, number: u64) -> bool {
        let Some(places) = self.awaited.remove(&(session, number)) else { return false };
        for place in places {
            self.commands.get_mut(&place).expect("who waits is there").recalls -= 1;
            self.sort(place);
        }
        true
    }

    /// Takes out those that need not wait.
    pub fn take_free(&mut self) -> Vec<Waiting> {
        let mut taken = Vec::new();
        while let Some(place) = self.free.pop_first() {
            taken.push(self.remove(place));
        }
        taken
    }

    /// The places of those that are the first of their session and whose effect is unknown.
    pub fn unknown(&self) -> Vec<u64> {
        self.unknown.iter().copied().collect()
    }

    pub fn get_mut(&mut self, place: u64) -> &mut Waiting {
        self.commands.get_mut(&place).expect("it waits")
    }

    /// Whether a command of that session waits.
    pub fn has(&self, session: SessionId) -> bool {
        self.of_session.contains_key(&session)
    }

    pub fn len(&self) -> usize {
        self.commands.len()
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Bytes of what waits.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts it where it belongs, if it is the first of its session.
    fn sort(&mut self, place: u64) {
        let waiting = &self.commands[&place];
        let before = waiting.session().is_some_and(|session| self.of_session[&session][0] != place);
        let (is_known, is_free) = (waiting.touches.is_some(), waiting.recalls == 0);
        if is_known || before {
            self.unknown.remove(&place);
        } else {
            self.unknown.insert(place);
        }
        if is_known && is_free && !before {
            self.free.insert(place);
        }
    }

    /// Takes out the first of its session; the next is the first then.
    fn remove(&mut self, place: u64) -> Waiting {
        let waiting = self.commands.remove(&place).expect("it waits");
        self.bytes -= waiting.command.len();
        if let Some(request) = waiting.request {
            self.requests.remove(&request);
            let places = self.of_session.get_mut(&request.0).expect("its places are known");
            places.pop_front();
            if let Some(next) = places.front().copied() {
                self.sort(next);
            } else {
                self.of_session.remove(&request.0);
            }
        }
        waiting
    }

    /// What must hold between turns.
    pub fn invariants(&self) {
        let firsts = |waits: fn(&Waiting) -> bool| -> BTreeSet<u64> {
            let mut seen = BTreeSet::new();
            let first = self.commands.iter().filter(|(_, w)| w.session().is_none_or(|session| seen.insert(session)));
            first.filter(|(_, waiting)| waits(waiting)).map(|(place, _)| *place).collect()
        };
        assert_eq!(self.free, firsts(|w| w.touches.is_some() && w.recalls == 0), "who is free is known");
        assert_eq!(self.unknown, firsts(|w| w.touches.is_none()), "whose effect is unknown is known");
        let requests: BTreeSet<_> = self.commands.values().filter_map(|waiting| waiting.request).collect();
        assert!(self.requests.is_subset(&requests), "only what waits is known to wait");
    }
}
