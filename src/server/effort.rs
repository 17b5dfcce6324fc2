//! What a loop asked of the kernel, told in the diagnostics (`QUORATE_LOG=debug`) every so often: how much each of its turns
//! carries is what a busy server's speed depends on.

use crate::runtime::Counters;
use crate::time::{Duration, Instant};

/// One loop's, and what was told of it.
#[derive(Debug)]
pub(super) struct Effort {
    /// Which loop.
    name: String,
    told: Counters,
    next: Instant,
}

impl Effort {
    pub(super) fn of(name: impl Into<String>) -> Self {
        Self { name: name.into(), told: Counters::default(), next: Instant::ZERO }
    }

    /// The loop has turned. One that sleeps is not woken for this.
    pub(super) fn turned(&mut self, now: Instant, counters: Counters) {
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        let before = std::mem::replace(&mut self.told, counters);
        tracing::debug!("{}: {}", self.name, text(&before, &counters));
    }
}

fn text(before: &Counters, now: &Counters) -> String {
    let turns = now.turns - before.turns;
    let a_turn = |of: fn(&Counters) -> u64| (of(now) - of(before)) as f64 / turns.max(1) as f64;
    format!(
        "{turns} turns since the last time, {:.2} of them slept; in a turn {:.2} requests to the kernel, {:.2} receives, \
         {:.2} sends of {:.0} bytes, {:.2} writes of {:.0} bytes, {:.2} rings woken",
        a_turn(|c| c.sleeps),
        a_turn(|c| c.submissions),
        a_turn(|c| c.receives),
        a_turn(|c| c.sends),
        (now.sent_bytes - before.sent_bytes) as f64 / (now.sends - before.sends).max(1) as f64,
        a_turn(|c| c.writes),
        (now.written_bytes - before.written_bytes) as f64 / (now.writes - before.writes).max(1) as f64,
        a_turn(|c| c.wakes),
    )
}

const EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_turn_carries_is_of_the_turns_since_the_last_time() {
        let before = Counters { turns: 100, sends: 10, sent_bytes: 5, writes: 7, ..Counters::default() };
        let now = Counters { turns: 104, sleeps: 1, submissions: 10, sends: 12, sent_bytes: 105, writes: 7, ..before };
        let told = text(&before, &now);
        assert!(told.starts_with("4 turns since the last time, 0.25 of them slept; in a turn 2.50 requests"), "{told}");
        assert!(told.contains("0.50 sends of 50 bytes, 0.00 writes of 0 bytes"), "{told}");
        assert!(text(&now, &now).starts_with("0 turns"), "a loop that did not turn");
    }
}
