//! How much each principal may ask: so many questions a second, and so many at once after a pause.
//!
//! A principal is the user that a session proved to be first, or, as long as it proved nothing, the address it comes from:
//! more connections do not give it more. What is asked of the tree and the log counts, reads and requests alike. Keep-alives,
//! what ends a watch or a kept answer, and what asks how the replica is do not: whoever is refused keeps its session, its
//! locks and its cache all the same. The super principal is never refused.
//!
//! A bucket of tokens that fills steadily is one moment: when it will be full again. A question puts that off by the time one
//! token takes to come; it is refused if it would put it off by more than a whole bucket takes.

use core::net::IpAddr;

use hashbrown::HashMap;

use crate::namespace::acl::Principals;
use crate::time::{Duration, Instant};
use crate::wire::client::Reason;

/// What a principal may ask of one front.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// So much a second, more than nothing, in the long run.
    pub per_second: u32,
    /// So much at once.
    pub burst: u32,
}

/// Everybody's buckets.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: Option<Rate>,
    now: Instant,
    /// When each bucket is full again; those that are need not be here.
    full_at: HashMap<Principal, Instant>,
    /// Full buckets are thrown out when there are so many.
    sweep_at: usize,
    refused: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Principal {
    User(String),
    Address(Option<IpAddr>),
}

impl Throttle {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, now: Instant::ZERO, full_at: HashMap::new(), sweep_at: SWEEP_AT_LEAST, refused: 0 }
    }

    pub(super) fn turn(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Questions refused so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes a token of that principal; or says why it is refused.
    pub(super) fn refusal(&mut self, who: &Principals) -> Option<Reason> {
        let wait = self.take(who).err()?;
        let retry_after_ms = u32::try_from(wait.as_nanos().div_ceil(NANOS_A_MILLI)).unwrap_or(u32::MAX);
        Some(Reason::Throttled { retry_after_ms })
    }

    /// Takes a token; or says how long it is until asking again is worth it: until there are some.
    fn take(&mut self, who: &Principals) -> Result<(), Duration> {
        let Some(Rate { per_second, burst }) = self.rate.filter(|_| !who.is_super) else { return Ok(()) };
        let one = Duration::from_nanos(NANOS_A_SECOND / u64::from(per_second.max(1)));
        let all = one.scaled(u64::from(burst.max(1)), 1);
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, at| *at > self.now);
            self.sweep_at = SWEEP_AT_LEAST.max(2 * self.full_at.len());
        }
        let full_at = self.full_at.entry(Principal::of(who)).or_insert(self.now);
        let after = (*full_at).max(self.now) + one;
        if after > self.now + all {
            self.refused += 1;
            return Err(after.since(self.now + all) + all.scaled(1, 2).min(WORTH_A_WAIT));
        }
        if !cfg!(bug = "33") {
            *full_at = after;
        }
        Ok(())
    }
}

impl Principal {
    fn of(who: &Principals) -> Self {
        match who.users.first() {
            Some(user) => Self::User(user.name.clone()),
            None => Self::Address(who.address),
        }
    }
}

const NANOS_A_SECOND: u64 = 1_000_000_000;
const NANOS_A_MILLI: u64 = 1_000_000;

/// Tokens are let gather for so long before a refused principal is to ask again, as it asks for all that it wants at once.
const WORTH_A_WAIT: Duration = Duration::from_millis(50);

/// Buckets kept without looking which are full: some tens of KiB.
const SWEEP_AT_LEAST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(n)
    }

    fn at(last: u8) -> Principals {
        Principals::at(Some(IpAddr::from([10, 0, 0, last])))
    }

    #[test]
    fn a_burst_passes_then_the_rate_and_nobody_pays_for_others() {
        let mut throttle = Throttle::new(Some(Rate { per_second: 100, burst: 5 }));
        throttle.turn(ms(1000));
        let passed = (0..20).filter(|_| throttle.take(&at(1)).is_ok()).count();
        assert_eq!((passed, throttle.refused()), (5, 15));
        assert_eq!(throttle.take(&at(1)), Err(Duration::from_millis(10 + 25)), "until half a burst is there");
        assert!(throttle.take(&at(2)).is_ok(), "another's bucket is full");
        let passed = (1..=100).filter(|n| {
            throttle.turn(ms(1000 + 5 * n));
            throttle.take(&at(1)).is_ok()
        });
        assert_eq!(passed.count(), 50, "100 a second, for half of one");
        throttle.turn(ms(9000));
        let passed = (0..20).filter(|_| throttle.take(&at(1)).is_ok()).count();
        assert_eq!(passed, 5, "a pause saves up no more than a burst");
    }

    #[test]
    fn buckets_of_the_silent_are_thrown_out() {
        let mut throttle = Throttle::new(Some(Rate { per_second: 1000, burst: 1 }));
        for n in 0..10 * SWEEP_AT_LEAST as u32 {
            throttle.turn(ms(u64::from(n)));
            throttle.take(&Principals::at(Some(IpAddr::from(n.to_be_bytes())))).expect("its first");
            assert!(throttle.full_at.len() <= SWEEP_AT_LEAST);
        }
    }

    #[test]
    fn without_a_rate_and_for_the_super_principal_there_is_no_end() {
        let mut throttle = Throttle::new(None);
        assert!((0..1000).all(|_| throttle.take(&at(1)).is_ok()));
        let mut throttle = Throttle::new(Some(Rate { per_second: 1, burst: 1 }));
        let who = Principals { is_super: true, ..at(1) };
        assert!((0..1000).all(|_| throttle.take(&who).is_ok()));
    }
}
