//! One client inside the driver: its machine, its socket, and what becomes of its calls and watches.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use super::call::{Call, Next, Opened, Then};
use super::clock;
use super::driver::BELL;
use super::error::{Error, Outcome, Result};
use super::machine::{Answered, Machine, WatchTold};
use super::observe::Observed;
use super::socket::Socket;
use super::watch::Listener;
use crate::time::Instant;

/// A call under way.
struct Waiting {
    then: Then,
    /// It is a request: as long as it is not answered, nothing that is kept is used.
    is_request: bool,
}

/// One client.
pub(super) struct Member {
    pub(super) machine: Machine,
    pub(super) observed: Arc<Observed>,
    opened: Option<Opened>,
    /// What follows each call, by its tag; free places are listed in `free`.
    thens: Vec<Option<Waiting>>,
    free: Vec<usize>,
    pub(super) watches: BTreeMap<u64, Listener>,
    /// Callers whose answers are there: woken once all that came with them are.
    wakers: Vec<Waker>,
    pub(super) token: u64,
    /// How often each endpoint was dialled.
    dialled: BTreeMap<usize, usize>,
    /// How often the one that is being dialled was before.
    turn: usize,
    pub(super) socket: Option<Socket>,
    pub(super) deadline: Instant,
    pub(super) left: bool,
}

impl Member {
    /// A client that is to have a session.
    pub(super) fn new(machine: Machine, observed: Arc<Observed>, opened: Opened) -> Self {
        Self {
            machine,
            observed,
            opened: Some(opened),
            thens: Vec::new(),
            free: Vec::new(),
            watches: BTreeMap::new(),
            wakers: Vec::new(),
            token: BELL,
            dialled: BTreeMap::new(),
            turn: 0,
            socket: None,
            deadline: Instant::FOREVER,
            left: false,
        }
    }

    /// An endpoint is about to be dialled; what comes of it comes under `token`.
    pub(super) fn dials(&mut self, endpoint: usize, token: u64) {
        let times = self.dialled.entry(endpoint).or_default();
        (self.token, self.turn) = (token, *times);
        *times += 1;
    }

    /// What the endpoint's name leads to, in the order to be tried: each time another first, as the first may be dead, and
    /// silent for longer than an attempt may take.
    pub(super) fn in_turn(&self, addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
        let mut addresses = VecDeque::from(addresses);
        addresses.rotate_left(self.turn % addresses.len().max(1));
        addresses
    }

    /// A call came to its end.
    pub(super) fn done(&mut self, tag: u64, result: Result<Answered>) {
        if self.machine.ending().is_some() {
            // Whoever hears of the end finds it everywhere.
            self.observe();
        }
        let waiting = self.thens[tag as usize].take().expect("a call is answered once");
        self.free.push(tag as usize);
        if let Next::Call(call, then) = self.answered(waiting, result) {
            self.call(clock::now(), call, then);
        }
    }

    /// Wakes those whose answers are there.
    pub(super) fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    pub(super) fn call(&mut self, now: Instant, call: Call, mut then: Then) {
        let mut call = call;
        loop {
            let tag = self.free.pop().unwrap_or(self.thens.len());
            if tag == self.thens.len() {
                self.thens.push(None);
            }
            let is_request = call.is_request();
            let queued = match call {
                Call::Request(operation) => self.machine.request(now, tag as u64, operation).map_err(Err),
                Call::Authenticate(credentials) => self.machine.authenticate(now, tag as u64, credentials).map_err(Err),
                Call::Read(read, consistency) => self.machine.read(now, tag as u64, read, consistency).map_err(Err),
                Call::KeptRead(read) => self.machine.read_and_keep(now, tag as u64, read).map_err(Err),
                Call::AwaitLock(path) => self.machine.await_lock(now, tag as u64, path).map_err(Err),
                Call::Save => {
                    let over = || self.machine.ending().unwrap_or(Error::Closed { outcome: Outcome::NotApplied });
                    Err(self.machine.saved().map(Answered::Saved).ok_or_else(over))
                }
                Call::HandOver => self.machine.hand_over(tag as u64).map_err(Err),
                Call::Close => {
                    self.machine.close(now, tag as u64);
                    Ok(())
                }
            };
            let waiting = Waiting { then, is_request };
            let Err(at_once) = queued else {
                self.thens[tag] = Some(waiting);
                return;
            };
            self.free.push(tag);
            match self.answered(waiting, at_once) {
                Next::Finished => return,
                Next::Call(next, after) => (call, then) = (next, after),
            }
        }
    }

    /// Hands an answer over; what follows from it.
    fn answered(&mut self, waiting: Waiting, result: Result<Answered>) -> Next {
        let kept = self.observed.kept();
        if let Some(kept) = kept.filter(|_| waiting.is_request) {
            kept.request_answered();
        }
        let next = match waiting.then {
            Then::Answer(promise) => {
                self.wakers.extend(promise.lay(result));
                return Next::Finished;
            }
            Then::Do(act) => act(result),
        };
        if let (Some(kept), Next::Call(call, _)) = (kept, &next)
            && call.is_request()
        {
            kept.request_made();
        }
        next
    }

    /// Passes on what a watch is told.
    pub(super) fn told(&mut self, name: u64, told: WatchTold) {
        if self.watches.get_mut(&name).is_some_and(|listener| !listener.tell(told)) {
            self.watches.remove(&name);
        }
    }

    /// Publishes what callers may look at, and keeps the promise of the opening.
    pub(super) fn observe(&mut self) {
        let (state, until) = (self.machine.state(), (self.machine.lease_until(), self.machine.grace_until()));
        self.observed.set(state, self.machine.session(), until, self.machine.revision());
        let ending = self.machine.ending();
        if self.machine.session().is_none() && ending.is_none() {
            return;
        }
        if let Some(opened) = self.opened.take() {
            self.observed.took_over(self.machine.applied_before());
            opened(ending.map_or(Ok(()), Err));
        }
    }
}

impl Drop for Member {
    /// Should the thread have panicked, callers whose answers are there still hear of them, and all others of the end.
    fn drop(&mut self) {
        self.wake();
        if !self.machine.is_over() {
            self.observed.abandon();
            let ended = || WatchTold::Over(Error::Closed { outcome: Outcome::Unknown });
            self.watches.values_mut().for_each(|listener| _ = listener.tell(ended()));
        }
    }
}
