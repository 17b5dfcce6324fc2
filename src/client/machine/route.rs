//! Where to connect, and when: the addresses, whose they are, which of them failed, how long to wait.

use crate::paxos::ballot::ReplicaId;
use crate::time::{Duration, Instant};
use crate::wire::client::MemberAddress;

/// The way to the cell.
#[derive(Debug)]
pub(super) struct Route {
    endpoints: Vec<Endpoint>,
    /// The one in use, or tried last.
    current: usize,
    /// The one to try next, out of turn.
    goal: Option<usize>,
    /// Attempts since the last answer that only a cell with a leader gives.
    attempts: u32,
    /// Moves to the leader in that time.
    moves: u32,
    backoff_min: Duration,
    backoff_max: Duration,
    random: u64,
}

#[derive(Debug)]
struct Endpoint {
    address: String,
    /// Whose it is, once known.
    replica: Option<ReplicaId>,
    /// Learned from the cell, not configured.
    learned: bool,
    failed_at: Option<Instant>,
    /// It speaks no protocol that this side does.
    is_stranger: bool,
    /// What the last attempt there met.
    trouble: Option<String>,
}

impl Route {
    pub(super) fn new(addresses: Vec<String>, backoff_min: Duration, backoff_max: Duration, seed: u64) -> Self {
        assert!(!addresses.is_empty(), "a client has at least one address");
        let endpoints: Vec<_> = addresses
            .into_iter()
            .map(|address| Endpoint {
                address,
                replica: None,
                learned: false,
                failed_at: None,
                is_stranger: false,
                trouble: None,
            })
            .collect();
        let mut route =
            Self { endpoints, current: 0, goal: None, attempts: 0, moves: 0, backoff_min, backoff_max, random: seed };
        // Clients that share a list spread over it; the first attempt goes to `current + 1`.
        route.current = (route.draw() % route.endpoints.len() as u64) as usize;
        route
    }

    /// The address of an endpoint.
    pub(super) fn address(&self, endpoint: usize) -> &str {
        &self.endpoints[endpoint].address
    }

    /// Attempts since the cell last answered.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Chooses the endpoint of the next attempt.
    pub(super) fn advance(&mut self) -> usize {
        self.current = self.goal.take().unwrap_or((self.current + 1) % self.endpoints.len());
        self.attempts = self.attempts.saturating_add(1);
        self.current
    }

    /// The endpoint in use is of no use now.
    pub(super) fn failed(&mut self, now: Instant, why: String) {
        self.endpoints[self.current].failed_at = Some(now);
        self.troubled(why);
    }

    /// The endpoint in use answers, but not as it should.
    pub(super) fn troubled(&mut self, why: String) {
        self.endpoints[self.current].trouble = Some(why);
    }

    /// What the last attempt at each endpoint met.
    pub(super) fn troubles(&self) -> String {
        let told =
            |endpoint: &Endpoint| endpoint.trouble.as_ref().map(|trouble| format!("{}: {trouble}", endpoint.address));
        let troubles: Vec<String> = self.endpoints.iter().filter_map(told).collect();
        if troubles.is_empty() {
            "nothing came of the first attempt in that time".to_owned()
        } else {
            troubles.join("; ")
        }
    }

    /// The cell answered: whatever went wrong before is over.
    pub(super) fn succeeded(&mut self) {
        if self.attempts > 0 {
            self.attempts = 0;
            self.moves = 0;
            self.endpoints[self.current].failed_at = None;
        }
    }

    /// How long to wait before the next attempt: not at all on the first way round the endpoints, then longer each time.
    pub(super) fn delay(&mut self) -> Duration {
        if self.goal.is_some() {
            return Duration::ZERO;
        }
        let rounds = self.attempts.saturating_sub(self.endpoints.len() as u32 - 1);
        if rounds == 0 { Duration::ZERO } else { self.jittered(self.backoff_min, self.backoff_max, rounds - 1) }
    }

    /// `min` doubled `times` over, at most `max`, less a random part of up to a half.
    pub(super) fn jittered(&mut self, min: Duration, max: Duration, times: u32) -> Duration {
        let doubled = Duration::from_nanos(min.as_nanos().saturating_mul(1 << times.min(20))).min(max);
        doubled.scaled(512 + self.draw() % 513, 1024)
    }

    /// The endpoint in use answered as `replica`, and named the cell's members.
    pub(super) fn learn(&mut self, replica: ReplicaId, members: &[MemberAddress]) {
        for member in members {
            let same_address = self.endpoints.iter().position(|endpoint| endpoint.address == member.address);
            let learned = || self.endpoints.iter().position(|e| e.learned && e.replica == Some(member.replica));
            if let Some(at) = same_address {
                self.endpoints[at].replica = Some(member.replica);
            } else if let Some(at) = learned() {
                self.endpoints[at].address.clone_from(&member.address);
            } else {
                self.endpoints.push(Endpoint {
                    address: member.address.clone(),
                    replica: Some(member.replica),
                    learned: true,
                    failed_at: None,
                    is_stranger: false,
                    trouble: None,
                });
            }
        }
        let current = &mut self.endpoints[self.current];
        (current.replica, current.is_stranger) = (Some(replica), false);
    }

    /// The endpoint in use speaks no protocol that this side does. While a cell is upgraded others may: tells whether none is
    /// left.
    pub(super) fn is_foreign(&mut self) -> bool {
        self.endpoints[self.current].is_stranger = true;
        self.endpoints.iter().all(|endpoint| endpoint.is_stranger)
    }

    /// Makes the leader's endpoint the next, if there is one that is not in use and has not just failed. Not for ever:
    /// two replicas that take each other for the leader do not send a client back and forth.
    pub(super) fn aim_at(&mut self, now: Instant, leader: ReplicaId) -> bool {
        if self.endpoints[self.current].replica == Some(leader) || self.moves >= MOVES_MAX {
            return false;
        }
        self.aim(now, |replica| replica == leader)
    }

    /// Makes another endpoint than the leader's the next, if that one is in use; otherwise as [`aim_at`](Self::aim_at).
    pub(super) fn aim_away_from(&mut self, now: Instant, leader: ReplicaId) -> bool {
        if self.endpoints[self.current].replica != Some(leader) || self.moves >= MOVES_MAX {
            return false;
        }
        self.aim(now, |replica| replica != leader)
    }

    /// Makes such a replica's endpoint the next, some one after that in use.
    fn aim(&mut self, now: Instant, wanted: impl Fn(ReplicaId) -> bool) -> bool {
        let count = self.endpoints.len();
        self.goal = (1..=count).map(|step| (self.current + step) % count).find(|at| {
            let endpoint = &self.endpoints[*at];
            endpoint.replica.is_some_and(&wanted) && endpoint.failed_at.is_none_or(|at| now.since(at) >= AVOID)
        });
        self.moves += u32::from(self.goal.is_some());
        self.goal.is_some()
    }

    /// The next pseudo-random number (SplitMix64): spreads clients, nothing more.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// An endpoint that failed is not sought out for this long, whoever calls it the leader: the others may not have
/// noticed yet.
const AVOID: Duration = Duration::from_secs(1);

/// Moves to a leader between two answers of the cell.
const MOVES_MAX: u32 = 3;
