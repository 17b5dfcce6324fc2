//! Whose turn it is to be told of the past: one connection of each host after the other, and those of a host in the order in
//! which they came.
//!
//! However many connections of a host wait, those of another wait for one of them at a time. A host that may read no more for
//! the moment is passed over; nobody of it overtakes those that wait already, and each of these has its turn at last.
//!
//! A line is there while somebody stands in it, and stands itself either among those that are due or among those that are
//! later: nothing is left of whoever leaves.

use std::collections::{BTreeMap, BTreeSet};

use crate::front::ConnectionId;
use crate::front::throttle::Party;
use crate::time::Instant;

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Numbers given so far: whoever came first has the least.
    given: u64,
    lines: BTreeMap<Party, Line>,
    due: BTreeMap<u64, Party>,
    later: BTreeSet<(Instant, Party)>,
}

/// Those of one party.
#[derive(Debug)]
struct Line {
    waiting: BTreeMap<u64, ConnectionId>,
    stands: Stands,
}

/// Where a line stands itself.
#[derive(Clone, Copy, Debug)]
enum Stands {
    Due(u64),
    Later(Instant),
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    party: Party,
    number: u64,
}

impl Turns {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether it is somebody's turn.
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// When it is somebody's turn again who was put off.
    pub(super) fn next_deadline(&self) -> Instant {
        self.later.first().map_or(Instant::FOREVER, |(at, _)| *at)
    }

    /// A connection waits from now on, behind all others of its party.
    pub(super) fn join(&mut self, party: Party, connection: ConnectionId) -> Place {
        let number = self.give();
        if let Some(line) = self.lines.get_mut(&party) {
            line.waiting.insert(number, connection);
        } else {
            let waiting = BTreeMap::from([(number, connection)]);
            self.lines.insert(party, Line { waiting, stands: Stands::Due(number) });
            self.due.insert(number, party);
        }
        Place { party, number }
    }

    /// The connection that stands there waits no more.
    pub(super) fn leave(&mut self, place: Place) {
        let Some(line) = self.lines.get_mut(&place.party) else { return };
        line.waiting.remove(&place.number);
        if line.waiting.is_empty() {
            self.close(place.party);
        }
    }

    /// Those are due again who were put off long enough.
    pub(super) fn wake(&mut self, now: Instant) {
        while self.next_deadline() <= now
            && let Some((_, party)) = self.later.pop_first()
        {
            self.stand_last(party);
        }
    }

    /// The party whose turn it is.
    pub(super) fn party(&self) -> Option<Party> {
        self.due.first_key_value().map(|(_, party)| *party)
    }

    /// The first of a party whose turn it is; then it is the turn of all others before its next.
    pub(super) fn take(&mut self, party: Party) -> Option<ConnectionId> {
        let line = self.lines.get_mut(&party)?;
        let (_, connection) = line.waiting.pop_first()?;
        if let Stands::Due(number) = line.stands {
            self.due.remove(&number);
        }
        if line.waiting.is_empty() {
            self.lines.remove(&party);
        } else {
            self.stand_last(party);
        }
        Some(connection)
    }

    /// A party whose turn it is has none before that time.
    pub(super) fn put_off(&mut self, party: Party, until: Instant) {
        let Some(line) = self.lines.get_mut(&party) else { return };
        let Stands::Due(number) = line.stands else { return };
        line.stands = Stands::Later(until);
        self.due.remove(&number);
        self.later.insert((until, party));
    }

    fn give(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    /// A line that stands nowhere stands behind those that are due.
    fn stand_last(&mut self, party: Party) {
        let number = self.give();
        if let Some(line) = self.lines.get_mut(&party) {
            line.stands = Stands::Due(number);
            self.due.insert(number, party);
        }
    }

    /// A line in which nobody stands any more.
    fn close(&mut self, party: Party) {
        match self.lines.remove(&party).map(|line| line.stands) {
            Some(Stands::Due(number)) => _ = self.due.remove(&number),
            Some(Stands::Later(until)) => _ = self.later.remove(&(until, party)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;
    use crate::time::Duration;

    fn host(last: u8) -> Party {
        Party::Host(Some(IpAddr::from([10, 0, 0, last])))
    }

    fn ms(n: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(n)
    }

    /// Has as many turns as there are; who had them.
    fn taken(turns: &mut Turns) -> Vec<u64> {
        let next = |turns: &mut Turns| turns.party().and_then(|party| turns.take(party));
        std::iter::from_fn(|| next(&mut *turns)).map(|id| id.0).collect()
    }

    #[test]
    fn hosts_take_turns_and_those_of_a_host_go_in_the_order_they_came() {
        let mut turns = Turns::default();
        for id in [9, 2, 7, 1] {
            turns.join(host(1), ConnectionId(id));
        }
        for id in [8, 3] {
            turns.join(host(2), ConnectionId(id));
        }
        assert_eq!(taken(&mut turns), [9, 8, 2, 3, 7, 1]);
        assert!(turns.is_empty() && !turns.has_due());
    }

    #[test]
    fn who_comes_back_stands_behind_those_who_waited_however_low_its_number() {
        let mut turns = Turns::default();
        for id in 1..=3 {
            turns.join(host(1), ConnectionId(id));
        }
        let mut had = Vec::new();
        for _ in 0..6 {
            let id = turns.take(host(1)).expect("three wait");
            had.push(id.0);
            turns.join(host(1), id);
        }
        assert_eq!(had, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn a_host_that_is_put_off_holds_up_nobody_and_newcomers_do_not_overtake_those_of_it() {
        let mut turns = Turns::default();
        turns.join(host(1), ConnectionId(5));
        turns.put_off(host(1), ms(10));
        assert_eq!((turns.next_deadline(), turns.has_due()), (ms(10), false));
        turns.join(host(1), ConnectionId(4));
        turns.join(host(2), ConnectionId(6));
        assert_eq!(taken(&mut turns), [6]);
        turns.wake(ms(9));
        assert!(!turns.has_due() && !turns.is_empty());
        turns.wake(ms(10));
        assert_eq!(taken(&mut turns), [5, 4]);
        assert_eq!(turns.next_deadline(), Instant::FOREVER);
    }

    #[test]
    fn whoever_leaves_leaves_nothing_behind() {
        for put_off in [false, true] {
            let mut turns = Turns::default();
            let places = [1, 2].map(|id| turns.join(host(1), ConnectionId(id)));
            if put_off {
                turns.put_off(host(1), ms(10));
            }
            turns.leave(places[0]);
            assert!(!turns.is_empty());
            turns.leave(places[1]);
            assert!(turns.is_empty() && turns.due.is_empty() && turns.later.is_empty());
            turns.leave(places[1]);
            turns.wake(ms(10));
            assert_eq!(taken(&mut turns), [0; 0]);
        }
    }
}
