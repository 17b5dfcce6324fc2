//! Whether what watches were told can be true: every write once, in order, or that there is a gap.
//!
//! There is one writer, and it does not write again before all have been told; so every write but the last is known, by its
//! revision, to all who watch.

use super::wrong::Wrong;
use crate::namespace::command::Revision;

/// The writes to one node, and who was told of them.
pub struct Telling {
    /// The revisions of those acknowledged.
    writes: Vec<Revision>,
    under_way: bool,
    /// The revision of the one under way, as soon as a watch tells it.
    coming: Option<Revision>,
    watchers: Vec<Told>,
    /// How many of them have not been told of the newest write whose revision is known.
    untold: usize,
    wrong: Wrong,
}

#[derive(Clone, Copy, Default)]
struct Told {
    /// Each write up to here it was told of, or that it is in a gap.
    upto: Revision,
    /// It was told that nothing up to here is missing.
    promised: Revision,
    /// Its session is over.
    over: bool,
}

impl Telling {
    /// Nothing was written yet, and `watchers` watch.
    #[must_use]
    pub fn new(watchers: usize) -> Self {
        let watchers = vec![Told::default(); watchers];
        Self { writes: Vec::new(), under_way: false, coming: None, watchers, untold: 0, wrong: Wrong::default() }
    }

    /// A write is asked for.
    pub fn writes(&mut self) {
        assert!(!self.under_way, "one write after the other");
        self.under_way = true;
    }

    /// It was acknowledged.
    pub fn has_written(&mut self, revision: Revision) {
        let told = self.coming.take();
        if let Some(told) = told.filter(|told| *told != revision) {
            self.wrong.note(|| format!("the write at {revision} was told of as {told}"));
        }
        if let Some(last) = self.writes.last().filter(|last| **last >= revision) {
            self.wrong.note(|| format!("a write at {revision} after one at {last}"));
        }
        self.writes.push(revision);
        self.under_way = false;
        if told != Some(revision) {
            self.count_untold();
        }
    }

    /// A watch was told that the node changed at that revision.
    pub fn told(&mut self, watcher: usize, revision: Revision) {
        let (was, newest) = (self.watchers[watcher], self.newest());
        self.watchers[watcher].upto = was.upto.max(revision);
        if was.upto < newest && newest <= revision && !was.over {
            self.untold -= 1;
        }
        let upto = was.upto.max(was.promised);
        if revision <= upto {
            self.wrong.note(|| format!("watcher {watcher}: {revision} after all up to {upto}"));
            return;
        }
        let later = self.writes.partition_point(|write| *write < revision);
        if let Some(skipped) = later.checked_sub(1).map(|at| self.writes[at]).filter(|write| *write > was.upto) {
            self.wrong.note(|| format!("watcher {watcher}: {revision} without {skipped}"));
        }
        if self.writes.get(later) == Some(&revision) || self.coming == Some(revision) {
            return;
        }
        if self.under_way && self.coming.is_none() && later == self.writes.len() {
            self.coming = Some(revision);
            self.count_untold();
        } else {
            self.wrong.note(|| format!("watcher {watcher}: {revision}, at which nothing was written"));
        }
    }

    /// A watch was told that it cannot be told of what happened between.
    pub fn gap(&mut self, watcher: usize, from: Revision, to: Revision) {
        let told = &mut self.watchers[watcher];
        let before = self.writes.iter().rev().find(|write| **write <= from);
        if let Some(skipped) = before.filter(|write| **write > told.upto) {
            self.wrong.note(|| format!("watcher {watcher}: a gap from {from} on without {skipped}"));
        }
        told.upto = told.upto.max(to);
        self.count_untold();
    }

    /// A watch was told that nothing up to there is missing.
    pub fn progress(&mut self, watcher: usize, revision: Revision) {
        let told = &mut self.watchers[watcher];
        let last = self.writes.iter().rev().find(|write| **write <= revision);
        if let Some(skipped) = last.filter(|write| **write > told.upto) {
            self.wrong.note(|| format!("watcher {watcher}: all up to {revision} without {skipped}"));
        }
        told.promised = told.promised.max(revision);
    }

    /// A watcher's session is over: it is told nothing more.
    pub fn lost(&mut self, watcher: usize) {
        self.watchers[watcher].over = true;
        self.count_untold();
    }

    /// Whether the newest write was acknowledged, and all were told of it.
    #[must_use]
    pub fn all_know(&self) -> bool {
        !self.under_way && self.untold == 0
    }

    /// At the end: nobody is left who was not told. Of a write that was never answered nobody has to be.
    pub fn has_ended(&mut self) {
        if !self.under_way && self.untold > 0 {
            let (untold, newest) = (self.untold, self.newest());
            self.wrong.note(|| format!("{untold} watchers were never told of {newest}"));
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn wrong(&self) -> &Wrong {
        &self.wrong
    }

    fn newest(&self) -> Revision {
        self.coming.or(self.writes.last().copied()).unwrap_or(0)
    }

    fn count_untold(&mut self) {
        let newest = self.newest();
        self.untold = self.watchers.iter().filter(|told| !told.over && told.upto < newest).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two watchers that were told of the writes at 10 and 20.
    fn told_twice() -> Telling {
        let mut telling = Telling::new(2);
        telling.writes();
        telling.told(0, 10);
        telling.has_written(10);
        assert!(!telling.all_know(), "one was not told");
        telling.told(1, 10);
        telling.writes();
        telling.has_written(20);
        telling.told(1, 20);
        telling.progress(1, 25);
        telling.told(0, 20);
        assert!(telling.all_know() && telling.wrong().count == 0, "{:?}", telling.wrong().first);
        telling
    }

    #[test]
    fn a_gap_that_is_told_of_and_a_lost_session_are_no_fault() {
        let mut telling = told_twice();
        telling.writes();
        telling.has_written(30);
        telling.gap(0, 20, 31);
        telling.lost(1);
        telling.has_ended();
        telling.writes();
        telling.told(0, 40);
        telling.has_written(40);
        assert_eq!(telling.wrong().count, 0, "{:?}", telling.wrong().first);
    }

    #[test]
    fn every_kind_of_wrong_event_is_seen() {
        let is_seen = |plant: &dyn Fn(&mut Telling), what: &str| {
            let mut telling = told_twice();
            telling.writes();
            plant(&mut telling);
            assert_eq!(telling.wrong().count, 1, "{what} is seen: {:?}", telling.wrong().first);
        };
        is_seen(&|telling| telling.told(0, 20), "an event told twice");
        is_seen(&|telling| telling.told(1, 24), "an event from before what was promised to be all");
        is_seen(
            &|telling| {
                telling.has_written(30);
                telling.told(0, 30);
                telling.writes();
                telling.told(1, 40);
            },
            "a skipped event",
        );
        is_seen(
            &|telling| {
                telling.has_written(30);
                telling.progress(0, 30);
            },
            "a promise past a skipped event",
        );
        is_seen(
            &|telling| {
                telling.has_written(30);
                telling.gap(0, 30, 35);
            },
            "a gap that begins after a skipped event",
        );
        is_seen(
            &|telling| {
                telling.told(0, 30);
                telling.told(1, 31);
            },
            "one write told of as two",
        );
        is_seen(
            &|telling| {
                telling.told(0, 30);
                telling.has_written(31);
            },
            "an event of another revision than the write's",
        );
        is_seen(
            &|telling| {
                telling.has_written(30);
                telling.told(0, 30);
                telling.told(0, 31);
            },
            "an event of no write",
        );
        is_seen(
            &|telling| {
                telling.has_written(30);
                telling.told(0, 30);
                telling.has_ended();
            },
            "a watcher that is never told",
        );
    }
}
