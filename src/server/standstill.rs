//! A leader that cannot go beyond a slot: when its operator is told, and how often.
//!
//! A slot may wait for a promise's time, of which nobody need hear. One that still waits after [`TELL_AFTER`] needs a
//! person: it is told at once when what is known of it changes, yet not more often than that is of use, and now and then
//! as long as it lasts. That it is over is told too.

use crate::paxos::{Slot, Undecided};
use crate::time::{Duration, Instant};

/// What was said of the slot that this replica stands before.
#[derive(Debug, Default)]
pub(super) struct Standstill {
    next_look: Instant,
    /// The slot, and since when it is known to wait.
    since: Option<(Slot, Instant)>,
    /// What was said last, and when. It outlives the reign, so that the next one does not say the same at once.
    told: Option<(Undecided, Instant)>,
}

/// What is to be said.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// It waits.
    Waits(Undecided),
    /// What was said to wait is chosen.
    Over(Slot),
}

impl Standstill {
    /// Looks, if it is time, and finds out whether anything is to be said.
    pub(super) fn look(
        &mut self,
        now: Instant,
        chosen_upto: Slot,
        undecided: impl FnOnce() -> Option<Undecided>,
    ) -> Option<Word> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK_EVERY;
        let undecided = undecided();
        self.since = undecided.as_ref().map(|undecided| match self.since {
            Some((slot, at)) if slot == undecided.slot => (slot, at),
            _ => (undecided.slot, now),
        });
        let (Some(undecided), Some((_, since))) = (undecided, self.since) else {
            return self.told.take_if(|(told, _)| told.slot <= chosen_upto).map(|(told, _)| Word::Over(told.slot));
        };
        let due = self.told.as_ref().map_or(since + TELL_AFTER, |(told, at)| {
            let again = if *told == undecided { TELL_AGAIN_AFTER } else { TELL_CHANGE_AFTER };
            (*at + again).max(since + TELL_AFTER)
        });
        (now >= due).then(|| {
            self.told = Some((undecided.clone(), now));
            Word::Waits(undecided)
        })
    }

    /// The slot that is said to wait, while it does.
    pub(super) fn slot(&self) -> Option<Slot> {
        let (slot, _) = self.since?;
        self.told.as_ref().is_some_and(|(told, _)| told.slot == slot).then_some(slot)
    }
}

/// A standstill is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Longer than the promises of those that live take.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// What is known has changed: it is told, but not oftener than so.
const TELL_CHANGE_AFTER: Duration = Duration::from_secs(5);

/// Nothing has changed.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{ReplicaId, Told};

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn undecided(slot: u64, told: Told) -> Undecided {
        Undecided { slot: Slot(slot), told: vec![(ReplicaId(1), told)] }
    }

    /// The times in `millis` at which something is said of what `undecided` tells then; with what.
    fn said(
        standstill: &mut Standstill,
        millis: impl Iterator<Item = u64>,
        chosen_upto: u64,
        undecided: impl Fn(u64) -> Option<Undecided>,
    ) -> Vec<(u64, Word)> {
        let look = |ms| Some((ms, standstill.look(at(ms), Slot(chosen_upto), || undecided(ms))?));
        millis.filter_map(look).collect()
    }

    #[test]
    fn what_takes_a_promise_s_time_is_not_spoken_of() {
        let mut standstill = Standstill::default();
        let passing = |ms| (ms % 1_000 < 700).then(|| undecided(5, Told::Nothing));
        assert_eq!(said(&mut standstill, (10_000..20_000).step_by(50), 4, passing), []);
        let moving = |ms| Some(undecided(ms / 900, Told::Nothing));
        assert_eq!(said(&mut standstill, (20_000..30_000).step_by(50), 4, moving), []);
        assert_eq!(standstill.slot(), None);
    }

    #[test]
    fn what_lasts_is_told_again_now_and_then_and_so_is_its_end() {
        let mut standstill = Standstill::default();
        let waits = |_| Some(undecided(5, Told::Nothing));
        let words = said(&mut standstill, (10_000..140_000).step_by(200), 4, waits);
        let word = || Word::Waits(undecided(5, Told::Nothing));
        assert_eq!(words, [(11_000, word()), (71_000, word()), (131_000, word())]);
        assert_eq!(standstill.slot(), Some(Slot(5)));
        // Another reign, elsewhere, and then here again: it is known.
        assert_eq!(said(&mut standstill, (140_000..142_000).step_by(200), 4, |_| None), []);
        assert_eq!(standstill.slot(), None, "this replica does not wait");
        assert_eq!(said(&mut standstill, (142_000..150_000).step_by(200), 4, waits), []);
        let over = said(&mut standstill, (150_000..160_000).step_by(200), 5, |_| None);
        assert_eq!(over, [(150_000, Word::Over(Slot(5)))], "once");
    }

    #[test]
    fn what_changes_is_told_soon_and_not_at_every_change() {
        let mut standstill = Standstill::default();
        let told = |ms: u64| if (ms / 1_000).is_multiple_of(2) { Told::Nothing } else { Told::Unknown };
        let changing = |ms| Some(undecided(5, told(ms)));
        let times: Vec<u64> =
            said(&mut standstill, (10_000..25_000).step_by(200), 4, changing).iter().map(|(ms, _)| *ms).collect();
        assert_eq!(times.first(), Some(&11_000));
        assert!(times.len() > 1 && times.windows(2).all(|pair| pair[1] - pair[0] >= 5_000), "{times:?}");
    }
}
