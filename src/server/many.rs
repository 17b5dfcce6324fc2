//! Many cores: the first runs the replica; each other one runs a front with its own ring, its own listener on the same
//! address, and its own copy of the tree's index.
//!
//! Requests go one way and notices the other through bounded rings, one pair a front. A front's ring of notices that is full
//! makes the replica's core stop taking that front's requests and keep the notices in order; heartbeats, the journal and
//! peers go on. A front drains its notices before it does anything else, so it cannot block the replica
//! by waiting. Whoever found a ring full is woken when there is room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::clients::Clients;
use super::core::{Core, Ended};
use super::effort::Effort;
use super::ends::loop_failed;
use super::failure::{Code, Failure};
use super::published::Published;
use super::service::Pulse;
use super::stop::Stop;
use crate::namespace::Tree;
use crate::paxos::Slot;
use crate::replica::exchange::{FrontId, FrontNotice, FrontRequest};
use crate::runtime::mesh::{Receiver, Sender};
use crate::runtime::{Event, Ring, clock};
use crate::time::{Duration, Instant};

/// The replica's core beside fronts on other cores.
pub(super) struct ReplicaCore {
    pub(super) core: Core,
    pub(super) fronts: Vec<FrontEnd>,
    /// Empty but while a turn takes in what the fronts ask.
    pub(super) requests: Vec<(FrontId, FrontRequest)>,
    pub(super) published: Arc<Published>,
    pub(super) stop: Stop,
}

/// The replica's end of the rings to one front.
pub(super) struct FrontEnd {
    pub(super) requests: Receiver<FrontRequest>,
    pub(super) notices: Sender<FrontNotice>,
    /// Notices that did not fit.
    pub(super) waiting: VecDeque<FrontNotice>,
    pub(super) thread: JoinHandle<Result<(), Failure>>,
}

/// A front's core.
pub(super) struct FrontCore {
    clients: Clients,
    tree: Tree,
    applied_upto: Slot,
    requests: Sender<FrontRequest>,
    /// Requests that did not fit.
    waiting: VecDeque<FrontRequest>,
    notices: Receiver<FrontNotice>,
    published: Arc<Published>,
    heart: Heart,
}

/// What shows the replica's core that a front's loop turns.
pub(super) struct Heart {
    pub(super) pulse: Arc<Pulse>,
    /// How often it must turn, where somebody watches.
    pub(super) every: Option<Duration>,
}

impl ReplicaCore {
    /// Runs until it is stopped, or it or a front fails.
    pub(super) fn run(mut self, ring: &mut Ring) -> Result<Ended, Failure> {
        let mut effort = Effort::of("the replica's loop");
        loop {
            let deadline = self.next_deadline();
            let mut outcome = Ok(());
            let mut now = None;
            ring.turn(Some(deadline), &mut |_, event| {
                let now = *now.get_or_insert_with(clock::now);
                if let Err(failure) = self.event(now, event) {
                    outcome = Err(failure);
                }
            })
            .map_err(|error| loop_failed(&error))?;
            outcome?;
            let now = clock::now();
            effort.turned(now, ring.counters());
            if self.stop.begins(now) {
                self.core.hand_over(now);
            }
            let now = self.end_turn(ring)?;
            if let Some(ended) = self.core.ended(&self.stop, now) {
                return Ok(ended);
            }
            if let Some(index) = self.fronts.iter().position(|front| front.thread.is_finished()) {
                let ended = self.fronts.swap_remove(index).thread.join();
                let panicked = |_| Err(Failure::new(Code::LoopFailed, "a front's thread panicked"));
                return ended.unwrap_or_else(panicked).map(|()| Ended::Stopped);
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        let now = clock::now();
        self.core.next_deadline(now).min(self.stop.next_deadline())
    }

    fn event(&mut self, now: Instant, event: Event<'_>) -> Result<(), Failure> {
        match event {
            Event::Accepted { connection, .. } => self.core.accepted(now, connection),
            Event::Connected { connection } => self.core.connected(now, connection),
            Event::Received { connection, bytes } => self.core.received(now, connection, bytes),
            Event::ConnectFailed { connection, .. } | Event::Closed { connection, .. } => {
                self.core.closed(now, connection)
            }
            Event::Written { token, result } => self.core.written(now, token, result)?,
            Event::Drained { .. } | Event::Woken => {}
        }
        Ok(())
    }

    /// Ends the turn; when that was.
    fn end_turn(&mut self, ring: &mut Ring) -> Result<Instant, Failure> {
        let now = asked(&mut self.fronts, &mut self.requests);
        for (front, request) in self.requests.drain(..) {
            self.core.front_asks(now, front, request);
        }
        let fronts = &mut self.fronts;
        let published = &self.published;
        self.core.end_turn(now, ring, |replica, notices| {
            // First: replies ride in the notices. A front that has not got its own yet sees that it is behind, and does
            // not read under the lease.
            published.set_applied_upto(replica.applied_upto());
            for (front, notice) in notices {
                let front = &mut fronts[usize::from(front.0)];
                front.waiting.push_back(notice);
                front.push_waiting();
            }
            published.set_lease(replica.lease());
        })?;
        for front in &mut self.fronts {
            front.notices.flush_with(ring);
        }
        Ok(now)
    }
}

/// Takes in what the fronts ask, and tells a time that all of it is older than. The fronts go on meanwhile: with a time read
/// before, a lease that had run out when a client spoke could be taken for one that holds, and what the client was given for
/// longer than it was.
fn asked(fronts: &mut [FrontEnd], requests: &mut Vec<(FrontId, FrontRequest)>) -> Instant {
    for (id, front) in fronts.iter_mut().enumerate() {
        front.push_waiting();
        while front.waiting.is_empty()
            && let Some(request) = front.requests.pop()
        {
            requests.push((FrontId(id as u8), request));
        }
    }
    clock::now()
}

impl FrontEnd {
    fn push_waiting(&mut self) {
        while let Some(notice) = self.waiting.pop_front() {
            if let Err(notice) = self.notices.push(notice) {
                self.waiting.push_front(notice);
                return;
            }
        }
    }
}

impl FrontCore {
    pub(super) fn new(
        clients: Clients,
        tree: Tree,
        requests: Sender<FrontRequest>,
        notices: Receiver<FrontNotice>,
        published: Arc<Published>,
        heart: Heart,
    ) -> Self {
        Self { clients, tree, applied_upto: Slot(0), requests, waiting: VecDeque::new(), notices, published, heart }
    }

    /// Runs until it fails; it ends with its process.
    pub(super) fn run(mut self, ring: &mut Ring) -> Result<(), Failure> {
        let mut effort = Effort::of(std::thread::current().name().unwrap_or("a front"));
        loop {
            let deadline = if self.clients.is_restless() { Instant::ZERO } else { self.next_deadline() };
            let mut now = None;
            ring.turn(Some(deadline), &mut |_, event| {
                let now = *now.get_or_insert_with(clock::now);
                match event {
                    Event::Accepted { connection, peer, .. } => self.clients.accepted(now, connection, peer),
                    Event::Received { connection, bytes } => self.clients.received(now, connection, bytes),
                    Event::Closed { connection, .. } => self.clients.closed(connection),
                    Event::Drained { connection } => self.clients.drained(connection),
                    _ => {}
                }
            })
            .map_err(|error| loop_failed(&error))?;
            let now = clock::now();
            self.heart.pulse.beat(now);
            effort.turned(now, ring.counters());
            self.end_turn(now, ring);
        }
    }

    fn next_deadline(&self) -> Instant {
        let pulse = self.heart.every.map_or(Instant::FOREVER, |every| clock::now() + every);
        self.clients.next_deadline().min(pulse)
    }

    fn end_turn(&mut self, now: Instant, ring: &mut Ring) {
        // The lease's ballot first, then the state: what is answered below is at least as new as what the lease covers.
        let lease = self.published.lease();
        let wanted = self.published.applied_upto();
        self.drain();
        let leased = lease.lets_read(now, self.applied_upto, wanted);
        self.waiting.extend(self.clients.prepare(now, leased));
        let published = &self.published;
        let still_leased = || lease.still_holds(published.lease(), clock::now());
        if self.clients.finish(now, &self.tree, leased, still_leased) {
            self.waiting.push_back(FrontRequest::LeaseUsed);
        }
        self.push_waiting(ring);
        self.clients.send(ring);
    }

    /// Takes every notice that is there: changes into the tree first, then outcomes to clients.
    fn drain(&mut self) {
        while let Some(notice) = self.notices.pop() {
            if let FrontNotice::Applied(applied) = &notice {
                for change in applied.changes.iter() {
                    self.tree.mirror(change);
                }
                self.applied_upto = applied.upto;
            }
            self.clients.notice(notice, &self.tree);
        }
    }

    fn push_waiting(&mut self, ring: &mut Ring) {
        while let Some(request) = self.waiting.pop_front() {
            if let Err(request) = self.requests.push(request) {
                self.waiting.push_front(request);
                break;
            }
        }
        self.requests.flush_with(ring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Options, mesh};

    /// Fronts stamp what they ask with the time; the time of the turn that takes it in is never an earlier one.
    #[test]
    fn whatever_a_turn_takes_in_was_asked_before_its_time() {
        let ring = || Ring::new(Options { files: 0, ..Options::default() }).expect("a ring");
        let (own, theirs) = (ring(), ring());
        let (notices, _noticed) = mesh::channel(1, theirs.waker(), own.waker());
        let (mut asking, requested) = mesh::channel(64, own.waker(), theirs.waker());
        let thread = std::thread::spawn(move || {
            for _ in 0..20_000 {
                while asking.push(FrontRequest::Status { ticket: clock::now().as_nanos() }).is_err() {
                    std::thread::yield_now();
                }
            }
            Ok(())
        });
        let mut fronts = [FrontEnd { requests: requested, notices, waiting: VecDeque::new(), thread }];
        let (mut taken, mut requests) = (0, Vec::new());
        while taken < 20_000 {
            let now = asked(&mut fronts, &mut requests);
            taken += requests.len();
            for (_, request) in requests.drain(..) {
                let FrontRequest::Status { ticket } = request else { panic!("{request:?}") };
                assert!(ticket <= now.as_nanos(), "asked at {ticket}, taken in at {now:?}");
            }
        }
        let [FrontEnd { thread, .. }] = fronts;
        thread.join().expect("it does not panic").expect("nor fail");
    }
}
