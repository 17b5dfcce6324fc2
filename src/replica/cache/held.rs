//! Commands that wait until nobody keeps what they change.
//!
//! A session's commands leave in the order they came, so one that waits holds up the later ones of its session, and of no
//! other.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::touch::Touch;
use crate::namespace::command::SessionId;

/// Every command that waits, in the order they came.
#[derive(Default, Debug)]
pub(super) struct Held {
    commands: BTreeMap<u64, Waiting>,
    by_session: BTreeMap<SessionId, usize>,
    /// Who waits for which recall.
    awaited: BTreeMap<(SessionId, u64), Vec<u64>>,
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
        if let Some((session, _)) = request {
            *self.by_session.entry(session).or_default() += 1;
        }
        self.commands
            .insert(self.last, Waiting { request, command, touches, recalls: recalls.len(), known_after: None });
        for recall in recalls {
            self.awaited.entry(*recall).or_default().push(self.last);
        }
    }

    /// Whether a copy of that request waits, whatever it acknowledges.
    pub fn has_copy_of(&self, (session, number): (SessionId, u64)) -> bool {
        self.has(session) && self.commands.values().any(|waiting| waiting.request == Some((session, number)))
    }

    /// It is known now what that one changes, and for which recalls it waits.
    pub fn known(&mut self, place: u64, touches: Vec<Touch>, recalls: &BTreeSet<(SessionId, u64)>) {
        let waiting = self.commands.get_mut(&place).expect("it waits");
        waiting.touches = Some(touches);
        waiting.recalls = recalls.len();
        for recall in recalls {
            self.awaited.entry(*recall).or_default().push(place);
        }
    }

    /// That recall was answered, or needs no answer any more. True if somebody waited for it.
    pub fn answered(&mut self, session: SessionId, number: u64) -> bool {
        let Some(places) = self.awaited.remove(&(session, number)) else { return false };
        for place in places {
            self.commands.get_mut(&place).expect("who waits is there").recalls -= 1;
        }
        true
    }

    /// Takes out those that need not wait, with their places.
    pub fn take_free(&mut self) -> Vec<(u64, Waiting)> {
        let mut stuck = BTreeSet::new();
        let mut free = Vec::new();
        for (place, waiting) in &self.commands {
            let first = waiting.session().is_none_or(|session| !stuck.contains(&session));
            if first && waiting.recalls == 0 && waiting.touches.is_some() {
                free.push(*place);
            } else {
                stuck.extend(waiting.session());
            }
        }
        free.into_iter().map(|place| (place, self.remove(place))).collect()
    }

    /// The places of those that are the first of their session and whose effect is unknown.
    pub fn unknown(&self) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        let first = self.commands.iter().filter(|(_, w)| w.session().is_none_or(|session| seen.insert(session)));
        first.filter(|(_, waiting)| waiting.touches.is_none()).map(|(place, _)| *place).collect()
    }

    pub fn get_mut(&mut self, place: u64) -> &mut Waiting {
        self.commands.get_mut(&place).expect("it waits")
    }

    /// Whether a command of that session waits.
    pub fn has(&self, session: SessionId) -> bool {
        self.by_session.contains_key(&session)
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

    fn remove(&mut self, place: u64) -> Waiting {
        let waiting = self.commands.remove(&place).expect("it waits");
        self.bytes -= waiting.command.len();
        if let Some(session) = waiting.session() {
            let left = self.by_session.get_mut(&session).expect("it is counted");
            *left -= 1;
            if *left == 0 {
                self.by_session.remove(&session);
            }
        }
        waiting
    }
}
