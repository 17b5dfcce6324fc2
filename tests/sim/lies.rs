//! Networks that lie: the suite of [`super::wires`] must notice each lie, told by the simulated network or by the real one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::wires::{
    Case, End, Patience, Real, Seam, Simulated, Told, a_blocked_path_keeps_what_was_sent,
    a_close_is_told_behind_what_was_sent, a_cut_is_told_to_both_ends, a_peer_that_dials_twice_has_two_connections,
    a_process_that_ends_takes_its_connections_along, everything_arrives_in_order_both_ways,
    frames_are_read_as_they_were_sent, nothing_of_an_old_connection_arrives_on_a_new_one,
};

/// A network that does not do what it should, in one way.
struct Lying<'a> {
    inner: &'a mut dyn Seam,
    lie: Lie,
    /// What it keeps back.
    kept: VecDeque<(End, Told)>,
    told: u64,
    /// Who dialled last.
    last: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lie {
    /// Some bytes never arrive.
    Loses,
    /// Some bytes arrive twice.
    Doubles,
    /// Some bytes arrive behind what was sent after them.
    Reorders,
    /// What was sent on the first connection arrives on later ones.
    Replays,
    /// One end is not told that the connection is over.
    TellsOne,
    /// The end that closes is told so, as the other is.
    TellsTwice,
    /// A close overtakes what was sent before it.
    ClosesAtOnce,
    /// A blocked path lets everything through.
    Leaks,
    /// A blocked path breaks the connection.
    Breaks,
    /// A new connection takes the place of the one before.
    KeepsOne,
    /// A dial to nobody succeeds.
    AnswersForTheDead,
}

/// Each lie, and the case that is to notice it.
const LIES: [(Lie, Case); 11] = [
    (Lie::Loses, frames_are_read_as_they_were_sent),
    (Lie::Doubles, everything_arrives_in_order_both_ways),
    (Lie::Reorders, everything_arrives_in_order_both_ways),
    (Lie::Replays, nothing_of_an_old_connection_arrives_on_a_new_one),
    (Lie::TellsOne, a_cut_is_told_to_both_ends),
    (Lie::TellsTwice, a_close_is_told_behind_what_was_sent),
    (Lie::ClosesAtOnce, a_close_is_told_behind_what_was_sent),
    (Lie::Leaks, a_blocked_path_keeps_what_was_sent),
    (Lie::Breaks, a_blocked_path_keeps_what_was_sent),
    (Lie::KeepsOne, a_peer_that_dials_twice_has_two_connections),
    (Lie::AnswersForTheDead, a_process_that_ends_takes_its_connections_along),
];

impl Seam for Lying<'_> {
    fn dial(&mut self, from: usize, to: usize) -> End {
        let end = self.inner.dial(from, to);
        if let Some(last) = self.last.replace(end).filter(|_| self.lie == Lie::KeepsOne) {
            self.kept.push_back((last, Told::Closed));
        }
        end
    }

    fn send(&mut self, end: End, bytes: Bytes) {
        self.inner.send(end, bytes);
    }

    fn close(&mut self, end: End) {
        self.inner.close(end);
        match self.lie {
            Lie::TellsTwice => self.kept.push_back((end, Told::Closed)),
            Lie::ClosesAtOnce => self.kept.push_back((end.other(), Told::Closed)),
            _ => {}
        }
    }

    fn cut(&mut self, conn: u64) {
        self.inner.cut(conn);
    }

    fn block(&mut self, from: usize, to: usize) {
        match self.lie {
            Lie::Leaks => {}
            Lie::Breaks => self.kept.extend(self.last.map(|end| (end, Told::Closed))),
            _ => self.inner.block(from, to),
        }
    }

    fn open_all(&mut self) {
        self.inner.open_all();
    }

    fn dies(&mut self, host: usize) {
        self.inner.dies(host);
    }

    fn lives(&mut self, host: usize) {
        self.inner.lives(host);
    }

    fn next(&mut self, patience: Patience) -> Option<(End, Told)> {
        if !matches!(self.lie, Lie::Reorders | Lie::Replays)
            && let Some(kept) = self.kept.pop_front()
        {
            return Some(kept);
        }
        // Nobody need wait for what a lie leaves out.
        let missing = matches!(self.lie, Lie::TellsOne | Lie::Loses | Lie::AnswersForTheDead);
        let patience = if missing { Patience::Short } else { patience };
        let (end, told) = self.inner.next(patience)?;
        self.told += 1;
        let (fifth, is_bytes) = (self.told.is_multiple_of(5), matches!(told, Told::Bytes(_)));
        match self.lie {
            Lie::Loses if is_bytes && fifth => Some((end, Told::Bytes(Vec::new()))),
            Lie::Doubles if is_bytes && fifth => {
                self.kept.push_back((end, told.clone()));
                Some((end, told))
            }
            Lie::Reorders if is_bytes && fifth && self.kept.is_empty() => {
                self.kept.push_back((end, told));
                Some((end, Told::Bytes(Vec::new())))
            }
            Lie::Replays if is_bytes && self.kept.is_empty() => {
                self.kept.push_back((end, told.clone()));
                Some((end, told))
            }
            Lie::Replays if is_bytes && self.kept[0].0.conn != end.conn => Some((end, self.kept[0].1.clone())),
            Lie::TellsOne if told == Told::Closed && end.side == 1 => Some((end, Told::Bytes(Vec::new()))),
            Lie::AnswersForTheDead if told == Told::Failed => Some((end, Told::Stands)),
            _ => Some((end, told)),
        }
    }
}

#[test]
fn the_suite_notices_a_network_that_lies() {
    let notices = |inner: &mut dyn Seam, lie: Lie, case: Case| {
        let mut lying = Lying { inner, lie, kept: VecDeque::new(), told: 0, last: None };
        catch_unwind(AssertUnwindSafe(|| case(&mut lying))).is_err()
    };
    for (lie, case) in LIES {
        assert!(notices(&mut Simulated::new(), lie, case), "a simulated network that {lie:?} is noticed");
        assert!(notices(&mut Real::new(), lie, case), "a real network that {lie:?} is noticed");
    }
}
