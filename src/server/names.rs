//! Looking up the names of peers' hosts, which may take as long as a resolver's time-out: on a thread of its own, that
//! exists once there is a name.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::config::Address;
use crate::paxos::ReplicaId;
use crate::runtime::Waker;

/// What one name stands for: at least one address.
pub(super) type Found = (ReplicaId, io::Result<Vec<SocketAddr>>);

/// The names being looked up for one loop.
pub(super) struct Names {
    asked: Option<Sender<(ReplicaId, Address)>>,
    answers: Receiver<Found>,
    answer: Sender<Found>,
    waker: Waker,
}

impl Names {
    /// `waker` wakes the loop when there is an answer.
    pub(super) fn new(waker: Waker) -> Self {
        let (answer, answers) = channel();
        Self { asked: None, answers, answer, waker }
    }

    /// Looks up where that replica is. One question for each at a time.
    pub(super) fn ask(&mut self, replica: ReplicaId, address: Address) {
        let asked = self.asked.get_or_insert_with(|| {
            let (asked, questions) = channel::<(ReplicaId, Address)>();
            let (answer, waker) = (self.answer.clone(), self.waker.clone());
            let look_up = move || {
                for (replica, address) in questions {
                    if answer.send((replica, address.resolve())).is_err() {
                        return;
                    }
                    waker.wake();
                }
            };
            let started = std::thread::Builder::new().name("names".into()).spawn(look_up);
            started.expect("a process that runs a replica can start one more thread");
            asked
        });
        asked.send((replica, address)).expect("the look-up thread outlives its questions");
    }

    /// The next answer, if there is one.
    pub(super) fn found(&mut self) -> Option<Found> {
        self.answers.try_recv().ok()
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("started", &self.asked.is_some()).finish_non_exhaustive()
    }
}
