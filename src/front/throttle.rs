//! How much each principal may ask: so many questions a second, and so many at once after a pause.
//!
//! A principal is the user that a session proved to be first, at the address it comes from, or as long as it proved nothing
//! that address: more connections do not give it more. Anybody may prove to be a user that nobody has heard of, so an
//! address has few users with buckets of their own at once, and nobody empties the bucket of somebody at another address; an
//! IPv6 host has a whole network to itself.
//!
//! What is asked of the tree and the log counts, reads and requests and the opening of sessions alike. Keep-alives,
//! what ends a watch or a kept answer, and what asks how the replica is do not: whoever is refused keeps its session, its
//! locks and its cache all the same. The super principal is never refused.
//!
//! A bucket of tokens that fills steadily is one moment: when it will be full again. A question puts that off by the time one
//! token takes to come; it is refused if it would put it off by more than a whole bucket takes.

use core::net::{IpAddr, Ipv6Addr};

use hashbrown::HashMap;

use crate::namespace::acl::{Principals, User};
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
    /// The buckets of each address; those that are full need not be here.
    hosts: HashMap<Option<IpAddr>, Buckets>,
    /// Full buckets are thrown out when there are so many.
    sweep_at: usize,
    refused: u64,
}

/// When the buckets of an address are full again.
#[derive(Debug)]
struct Buckets {
    nobody: Instant,
    users: Vec<(User, Instant)>,
}

impl Throttle {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, now: Instant::ZERO, hosts: HashMap::new(), sweep_at: SWEEP_AT_LEAST, refused: 0 }
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
        if self.hosts.len() >= self.sweep_at {
            self.hosts.retain(|_, buckets| !buckets.are_full(self.now));
            self.sweep_at = SWEEP_AT_LEAST.max(2 * self.hosts.len());
        }
        let empty = Buckets { nobody: self.now, users: Vec::new() };
        let buckets = self.hosts.entry(who.address.map(host_of)).or_insert(empty);
        let full_at = buckets.of(who.users.first(), self.now);
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

impl Buckets {
    fn are_full(&self, now: Instant) -> bool {
        self.nobody <= now && self.users.iter().all(|(_, full_at)| *full_at <= now)
    }

    /// The user's bucket; that of the address if nobody is proved, or too many others are.
    fn of(&mut self, user: Option<&User>, now: Instant) -> &mut Instant {
        let Some(user) = user else { return &mut self.nobody };
        let place = match self.users.iter().position(|(known, _)| known == user) {
            Some(known) => known,
            None if self.users.len() < USERS_OF_AN_ADDRESS_MAX => {
                self.users.push((user.clone(), now));
                self.users.len() - 1
            }
            None => match self.users.iter().position(|(_, full_at)| *full_at <= now) {
                Some(full) => {
                    self.users[full] = (user.clone(), now);
                    full
                }
                None => return &mut self.nobody,
            },
        };
        &mut self.users[place].1
    }
}

/// What one host has to itself, as far as can be told: an IPv4 address, or an IPv6 network of 64 bits.
fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

const NANOS_A_SECOND: u64 = 1_000_000_000;
const NANOS_A_MILLI: u64 = 1_000_000;

/// Tokens are let gather for so long before a refused principal is to ask again, as it asks for all that it wants at once.
const WORTH_A_WAIT: Duration = Duration::from_millis(50);

/// Users of one address that have buckets of their own at once; the others share that of the address.
const USERS_OF_AN_ADDRESS_MAX: usize = 16;

/// Addresses kept without looking whose buckets are full: some tens of KiB.
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
            assert!(throttle.hosts.len() <= SWEEP_AT_LEAST);
        }
    }

    fn who(name: &str, password: &str, last: u8) -> Principals {
        Principals { users: vec![User::new(name, password)], ..at(last) }
    }

    #[test]
    fn nobody_empties_the_bucket_of_another_by_its_name() {
        let mut throttle = Throttle::new(Some(Rate { per_second: 100, burst: 5 }));
        throttle.turn(ms(1000));
        for stranger in [who("alice", "guessed", 1), who("alice", "alice's", 2)] {
            assert_eq!((0..20).filter(|_| throttle.take(&stranger).is_ok()).count(), 5);
        }
        assert_eq!((0..20).filter(|_| throttle.take(&who("alice", "alice's", 1)).is_ok()).count(), 5);
    }

    #[test]
    fn more_users_give_an_address_no_more_than_a_few() {
        let mut throttle = Throttle::new(Some(Rate { per_second: 100, burst: 5 }));
        throttle.turn(ms(1000));
        let passed = |throttle: &mut Throttle, users: std::ops::Range<u32>| {
            users.filter(|n| throttle.take(&who(&format!("user-{n}"), "", 1)).is_ok()).count()
        };
        assert_eq!(passed(&mut throttle, 0..1000), USERS_OF_AN_ADDRESS_MAX + 5, "each once, the others as nobody");
        assert_eq!(passed(&mut throttle, 0..1), 1, "a burst of its own");
        throttle.turn(ms(1010));
        let places = USERS_OF_AN_ADDRESS_MAX - 1;
        assert_eq!(passed(&mut throttle, 1000..2000), places + 1, "in the place of those whose buckets are full");
        assert!(throttle.hosts.values().all(|buckets| buckets.users.len() <= USERS_OF_AN_ADDRESS_MAX));
        assert!(throttle.take(&who("user-1", "", 2)).is_ok(), "at another address");
    }

    #[test]
    fn a_host_has_one_bucket_whichever_of_its_addresses_it_takes() {
        let mut throttle = Throttle::new(Some(Rate { per_second: 100, burst: 5 }));
        throttle.turn(ms(1000));
        let mut passed = |addresses: &dyn Fn(u16) -> IpAddr| {
            (0..100).filter(|n| throttle.take(&Principals::at(Some(addresses(*n)))).is_ok()).count()
        };
        assert_eq!(passed(&|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 1, n, 0, 0, n).into()), 5);
        assert_eq!(passed(&|_| Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1).into()), 5);
        assert_eq!(passed(&|n| IpAddr::from([10, 0, 0, (n % 4) as u8])), 20);
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
