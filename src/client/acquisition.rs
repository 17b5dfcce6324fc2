//! A lock being taken: asked for, waited for, and perhaps not wanted any more at any moment between.
//!
//! A release that names nothing but a path gives up whatever claim the session has there, so none is sent before the cell
//! has said that the claim is this acquisition's own:
//!
//! 1. Given up before the answer, it is only marked. When the answer comes, a lock that was granted is released under its
//!    sequencer, and a place in the queue is left; a refusal leaves nothing to release.
//! 2. Given up in the queue, the place is left at once, and a grant that comes late makes no guard.
//! 3. A place that cannot be waited in, as when its access list does not let the session look at it any more, is left with
//!    the failure: or the session would come to hold a lock that no guard gives up.
//! 4. Until then no other acquisition of the same path is begun: should the node be deleted meanwhile, and its lock claimed
//!    anew, the release would take out the new claim.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::api::{Client, outward, refused, unfit};
use super::call::{Call, Next, Then};
use super::error::{Error, Result};
use super::lock::{LockGuard, release_under};
use super::machine::Answered;
use super::op::{Op, Promise};
use crate::namespace::command::{Answer, Done, LockPlace, Operation, Sequencer};

/// The paths whose locks a client is taking.
#[derive(Debug, Default)]
pub(super) struct Acquiring(Mutex<BTreeSet<String>>);

/// One lock being taken.
struct Acquisition {
    pending: Arc<Pending>,
    promise: Promise<LockGuard>,
}

/// What the caller, who may give up, and the driver share of it.
struct Pending {
    client: Client,
    path: String,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The cell has not answered.
    Asked,
    /// It has a place in the queue.
    Queued,
    /// It was given up before the cell had answered.
    Unwanted,
    /// It was granted, or refused, or is given up.
    Over,
}

/// Takes the lock of `path`, as the cell calls it, by `acquire`. Also given: what gives it up, done by the call itself if it is
/// dropped.
pub(super) fn acquire(
    client: &Client,
    path: String,
    acquire: Operation,
) -> (Op<LockGuard>, Option<impl FnOnce() + Send + Sync + 'static>) {
    if let Some(forked) = client.forked() {
        return (Op::ready(Err(forked)), None);
    }
    if !client.acquiring().insert(&path) {
        return (Op::ready(Err(Error::LockTwice { path: outward(&client.root(), path) })), None);
    }
    let (op, promise) = Op::new();
    let pending = Arc::new(Pending { client: client.clone(), path, stage: Mutex::new(Stage::Asked) });
    let acquisition = Acquisition { pending: Arc::clone(&pending), promise };
    client.call(Call::Request(acquire), acquisition.then());
    let give_up = move || pending.give_up();
    (client.timed(op.or_abandon(give_up.clone())), Some(give_up))
}

/// A path as its caller knows it.
pub(super) fn shown(client: &Client, path: String) -> String {
    outward(&client.root(), path)
}

impl Acquiring {
    /// Whether the lock of that path is being taken.
    pub(super) fn contains(&self, path: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }

    /// False if it is being taken already.
    fn insert(&self, path: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned())
    }

    fn remove(&self, path: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }
}

impl Acquisition {
    fn then(self) -> Then {
        Then::new(move |result| self.take(result))
    }

    fn take(self, result: Result<Answered>) -> Next {
        match result {
            Ok(Answered::Request { outcome: Ok(Done::Queued), .. }) => self.queued(),
            Ok(Answered::Request { outcome: Ok(Done::Granted { sequencer }), .. })
            | Ok(Answered::Read { answer: Ok(Answer::LockPlace { place: LockPlace::Held { sequencer } }), .. }) => {
                self.granted(sequencer)
            }
            Ok(Answered::Read { answer: Ok(Answer::LockPlace { .. }), .. }) => {
                self.pending.end();
                let path = shown(&self.pending.client, self.pending.path.clone());
                self.promise.finish(Err(Error::LockNotHeld { path }))
            }
            Ok(Answered::Request { outcome: Err(refusal), .. } | Answered::Read { answer: Err(refusal), .. }) => {
                let root = self.pending.client.root();
                self.failed(refused(refusal, &root))
            }
            Ok(_) => self.failed(unfit("a lock")),
            Err(error) => self.failed(error),
        }
    }

    fn queued(self) -> Next {
        if self.pending.enqueue() {
            return Next::Call(Call::AwaitLock(self.pending.path.clone()), self.then());
        }
        self.pending.end();
        quietly(self.pending.leave_queue())
    }

    fn granted(self, sequencer: Sequencer) -> Next {
        match self.pending.end() {
            Stage::Asked | Stage::Queued => {
                self.promise.finish(Ok(LockGuard::new(self.pending.client.clone(), sequencer)))
            }
            Stage::Unwanted => quietly(release_under(&sequencer)),
            Stage::Over => Next::Finished,
        }
    }

    /// The cell was not asked, or refused, or will not answer. A place in the queue that cannot be waited in is left.
    fn failed(self, error: Error) -> Next {
        let was = self.pending.end();
        self.promise.keep(Err(error));
        if was == Stage::Queued { quietly(self.pending.leave_queue()) } else { Next::Finished }
    }
}

impl Pending {
    /// The caller does not want it any more.
    fn give_up(&self) {
        // It may be said twice: by who waits no longer, and by who calls back all that waits.
        let was = self.turn(|stage| match stage {
            Stage::Asked | Stage::Unwanted => Stage::Unwanted,
            Stage::Queued | Stage::Over => Stage::Over,
        });
        if was == Stage::Queued {
            self.client.release_quietly(self.leave_queue());
            self.client.acquiring().remove(&self.path);
        }
    }

    /// It has its place in the queue. False if it is not wanted.
    fn enqueue(&self) -> bool {
        self.turn(|stage| if stage == Stage::Asked { Stage::Queued } else { stage }) == Stage::Asked
    }

    /// The driver is done with it, but for a release, which it queues before it looks at what callers asked for since. Tells
    /// where it stood.
    fn end(&self) -> Stage {
        let was = self.turn(|_| Stage::Over);
        // Whoever made an end of it before has seen to that; the path may be another's by now.
        if was != Stage::Over {
            self.client.acquiring().remove(&self.path);
        }
        was
    }

    /// Goes from one stage to the next, and tells the one before.
    fn turn(&self, next: impl FnOnce(Stage) -> Stage) -> Stage {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let was = *stage;
        *stage = next(was);
        was
    }

    fn leave_queue(&self) -> Operation {
        Operation::Release { path: self.path.clone() }
    }
}

fn quietly(release: Operation) -> Next {
    Next::Call(Call::Request(release), Then::nothing())
}
