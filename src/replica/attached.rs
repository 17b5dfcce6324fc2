//! Which fronts hold a connection of a session: outcomes of its commands go there.
//!
//! Mostly it is one. But fronts are on cores of their own, and what they say comes late: a client that moves from one to
//! another may be attached at the second before the first, which has yet to learn that its connection is the older one, has
//! said anything. And a client that asked for a session twice, the first time on a connection that is dead and not closed
//! yet, has it at both. So no front takes a session's outcomes from another: each says for itself when it has done with the
//! session, and one that is told of a session it has not passes that over.

use hashbrown::HashMap;

use super::exchange::FrontId;
use crate::namespace::command::SessionId;

/// Sessions, each with the fronts that hold a connection of it.
#[derive(Debug, Default)]
pub(super) struct Attached {
    sessions: HashMap<SessionId, At>,
}

#[derive(Debug)]
struct At {
    first: FrontId,
    /// Empty but while a client moves, and then of those that came later; each is there once.
    others: Vec<FrontId>,
}

impl Attached {
    /// That front has the session.
    pub(super) fn attach(&mut self, session: SessionId, front: FrontId) {
        let at = self.sessions.entry(session).or_insert_with(|| At { first: front, others: Vec::new() });
        if at.first != front && !at.others.contains(&front) {
            at.others.push(front);
        }
    }

    /// That front has it no more. Whether it was the last that had it.
    pub(super) fn detach(&mut self, session: SessionId, front: FrontId) -> bool {
        let Some(at) = self.sessions.get_mut(&session) else { return false };
        if at.first != front {
            at.others.retain(|other| *other != front);
        } else if at.others.is_empty() {
            self.sessions.remove(&session);
            return true;
        } else {
            at.first = at.others.remove(0);
        }
        false
    }

    /// Whether a front has it.
    pub(super) fn is_anywhere(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Whether that front has it.
    pub(super) fn is_at(&self, session: SessionId, front: FrontId) -> bool {
        self.fronts_of(session).any(|of| of == front)
    }

    /// The fronts that have it.
    pub(super) fn fronts_of(&self, session: SessionId) -> impl Iterator<Item = FrontId> {
        self.sessions
            .get(&session)
            .into_iter()
            .flat_map(|at| std::iter::once(at.first).chain(at.others.iter().copied()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(7);
    const OLD: FrontId = FrontId(0);
    const NEW: FrontId = FrontId(1);

    fn fronts(attached: &Attached) -> Vec<FrontId> {
        attached.fronts_of(SESSION).collect()
    }

    /// The front it came from says late that it has the session, and then that it has not: all its client asks for at the
    /// new one would never be answered.
    #[test]
    fn a_front_that_is_late_takes_no_session_from_where_its_client_went() {
        let mut attached = Attached::default();
        attached.attach(SESSION, NEW);
        attached.attach(SESSION, OLD);
        assert_eq!(fronts(&attached), [NEW, OLD]);
        assert!(!attached.detach(SESSION, OLD), "it is at the new one still");
        assert_eq!(fronts(&attached), [NEW]);
        assert!(attached.detach(SESSION, NEW));
        assert!(!attached.is_anywhere(SESSION) && attached.is_empty());
    }

    #[test]
    fn a_session_moves_in_whatever_order_its_fronts_are_heard() {
        let mut attached = Attached::default();
        attached.attach(SESSION, OLD);
        attached.attach(SESSION, OLD);
        attached.attach(SESSION, NEW);
        attached.attach(SESSION, NEW);
        assert!(attached.is_at(SESSION, OLD) && attached.is_at(SESSION, NEW));
        assert!(!attached.detach(SESSION, OLD));
        assert_eq!(fronts(&attached), [NEW], "a front that takes it up again has it once");
        assert!(!attached.detach(SESSION, OLD), "it had it no more");
        assert!(attached.detach(SESSION, NEW));
        assert!(!attached.detach(SESSION, NEW));
        assert!(attached.is_empty());
    }
}
