//! What clients asked and were told, and whether one order explains it all.
//!
//! The chosen log gives the order; the model replays it. Then each answered request must stand in it exactly once, with
//! the outcome and the revision its client was told; a request asked after another was answered must stand behind it; each
//! read must be what the model held at the revision it names, which covers everything anybody had been told before.

use std::collections::{BTreeMap, BTreeSet};

use quorate::client::machine::Answered;
use quorate::client::{Error, Outcome as Known};
use quorate::namespace::acl::Principals;
use quorate::namespace::command::{
    Answer, Done, LockPlace, Operation, Outcome, Read, Refusal, Revision, Scanned, SessionId, Stat, StepDone,
};
use quorate::paxos::Slot;
use quorate::wire::client::Consistency;

use super::model::Model;
use super::pasts::Gap;
use super::watching::Watched;
use super::world::Moment;

/// One session of one client: the client, and how many it had before.
pub type Life = (usize, u64);

/// A call, from its making to its end.
#[derive(Debug)]
pub struct Call {
    pub life: Life,
    pub made: Moment,
    pub asked: Asked,
    pub ended: Option<(Moment, Result<Answered, Error>)>,
    /// A read that was answered by what its client kept: its revision is that of the answer when it was given first.
    pub kept: bool,
}

/// What was asked.
#[derive(Clone, Debug)]
pub enum Asked {
    Request {
        number: u64,
        operation: Operation,
    },
    /// `behind`: the last request of the session before it.
    Read {
        read: Read,
        consistency: Consistency,
        behind: u64,
    },
}

/// Every call of a run.
#[derive(Debug, Default)]
pub struct History {
    pub calls: Vec<Call>,
    pub sessions: BTreeMap<Life, SessionId>,
    pub watched: Vec<Watched>,
    /// Gaps that watches were told of.
    pub gaps: Vec<Gap>,
    /// Lives whose session another process took over, and the last of their requests that it was told to be applied.
    pub taken_over: Vec<(Life, u64, u64)>,
    /// Lives that the cell told that their session is over, and what was chosen by then.
    pub told_over: Vec<(Life, SessionId, Slot)>,
}

/// How much a history holds.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    pub requests: u64,
    pub reads: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Locks that came to those who had waited for them.
    pub handed_on: u64,
    /// Reads answered by what clients kept.
    pub kept: u64,
    /// Records that were read, each counted once.
    pub records: u64,
    /// Sessions that went on in another process.
    pub taken_over: u64,
}

impl History {
    /// Judges every call against the model of the whole log.
    pub fn judge(&self, model: &Model) -> Tally {
        let mut tally = Tally::default();
        let mut names = BTreeSet::new();
        for call in &self.calls {
            let session = self.sessions.get(&call.life).copied();
            match (&call.asked, call.ended.as_ref().map(|(_, result)| result)) {
                (Asked::Request { number, operation }, Some(Ok(Answered::Request { revision, outcome }))) => {
                    tally.requests += 1;
                    tally.refused += u64::from(outcome.is_err());
                    if *operation != Operation::CloseSession {
                        let session = session.expect("an answered request has a session");
                        request_fits(model, session, *number, operation, (*revision, outcome));
                    }
                    if let (Operation::Create { sequential: true, .. }, Ok(Done::Created { path, stat })) =
                        (operation, outcome)
                    {
                        assert!(names.insert((path.clone(), stat.created)), "{path} was given to two requests");
                    }
                }
                (Asked::Read { read, behind, .. }, Some(Ok(Answered::Read { revision, answer }))) => {
                    tally.reads += 1;
                    tally.kept += u64::from(call.kept);
                    tally.handed_on +=
                        u64::from(matches!(answer, Ok(Answer::LockPlace { place: LockPlace::Held { .. } })));
                    let session = session.expect("an answered read has a session");
                    read_fits(model, read, *revision, answer, &model.stood_for(session, *behind));
                    let behind = self.behind(session, *behind);
                    let before = (behind > 0).then(|| {
                        model.placed(session, behind).expect("a read is answered after the requests before it").revision
                    });
                    assert!(
                        call.kept || before.is_none_or(|before| before <= *revision),
                        "{call:?} does not see its own session's request {behind}, applied at {before:?}"
                    );
                }
                (Asked::Request { number, .. }, Some(Err(error))) => {
                    tally.unknown += 1;
                    let applied = session.is_some_and(|session| model.placed(session, *number).is_some());
                    let denied = error.outcome() == Known::NotApplied;
                    assert!(!(denied && applied), "{session:?} was told that request {number} had no effect: {error}");
                }
                (_, Some(Err(_)) | None) => tally.unknown += 1,
                (asked, Some(Ok(answered))) => panic!("{asked:?} was answered with {answered:?}"),
            }
        }
        self.taken_over_exactly(model);
        for (life, session, upto) in &self.told_over {
            assert!(model.was_over(*session, *upto), "{life:?} was told that {session:?} is over, and it was not");
        }
        self.real_time(model);
        super::locks::judge(self);
        super::handles::judge(self);
        tally.records = super::logs::judge(self);
        tally.taken_over = self.taken_over.len() as u64;
        tally
    }

    /// The last request that can have been applied up to this number: a process that takes a session over passes numbers over.
    fn behind(&self, session: SessionId, mut number: u64) -> u64 {
        for (life, before, began) in self.taken_over.iter().rev() {
            if self.sessions[life] == session && number == *began {
                number = *before;
            }
        }
        number
    }

    /// Whoever took a session over knew of every request made before whether it was applied, once and for all.
    fn taken_over_exactly(&self, model: &Model) {
        for (life, before, _) in &self.taken_over {
            let session = self.sessions[life];
            for call in self.calls.iter().filter(|call| call.life == *life) {
                let Asked::Request { number, .. } = call.asked else { continue };
                let applied = model.placed(session, number).is_some();
                assert_eq!(applied, number <= *before, "{session:?} was taken over after {before}: {call:?}");
            }
        }
    }

    /// Nothing that was made after an answer came stands before what was answered.
    fn real_time(&self, model: &Model) {
        let mut answered: Vec<(Moment, &Call)> =
            self.calls.iter().filter_map(|call| call.ended.as_ref().map(|(at, _)| (*at, call))).collect();
        answered.sort_by_key(|(at, _)| *at);
        let mut made: Vec<&Call> = self.calls.iter().collect();
        made.sort_by_key(|call| call.made);
        let (mut position, mut revision) = (0, 0);
        let mut next = 0;
        for call in made {
            while answered.get(next).is_some_and(|(at, _)| *at < call.made) {
                let (its_position, its_revision) = self.stands(answered[next].1, model);
                position = position.max(its_position.unwrap_or(0));
                revision = revision.max(its_revision.unwrap_or(0));
                next += 1;
            }
            let (its_position, its_revision) = self.stands(call, model);
            let stale_allowed =
                matches!(call.asked, Asked::Read { consistency: Consistency::Stale | Consistency::AtLeast(_), .. });
            assert!(its_position.is_none_or(|its| its > position), "{call:?} stands before what was answered before");
            if let (true, Asked::Read { read, behind, .. }, Some((_, Ok(Answered::Read { revision: of, answer })))) =
                (call.kept, &call.asked, &call.ended)
            {
                // It is not of now, but it is what would be answered now.
                let whos = model.stood_for(self.sessions[&call.life], *behind);
                read_fits(model, read, revision.max(*of), answer, &whos);
                continue;
            }
            assert!(
                stale_allowed || its_revision.is_none_or(|its| its >= revision),
                "{call:?} does not cover revision {revision}, which somebody was told before it was made"
            );
            if let Asked::Read { consistency: Consistency::AtLeast(least), .. } = call.asked {
                assert!(its_revision.is_none_or(|its| its >= least), "{call:?} asked for at least {least}");
            }
        }
    }

    /// Where in the order an answered call stands: its position, if it is a request, and its revision.
    fn stands(&self, call: &Call, model: &Model) -> (Option<u64>, Option<Revision>) {
        match (&call.asked, &call.ended) {
            (Asked::Request { number, operation }, Some((_, Ok(_)))) if *operation != Operation::CloseSession => {
                let placed = model.placed(self.sessions[&call.life], *number).expect("it was judged before");
                (Some(placed.position), Some(placed.revision))
            }
            (Asked::Read { .. }, Some((_, Ok(Answered::Read { revision, .. })))) => (None, Some(*revision)),
            _ => (None, None),
        }
    }
}

fn request_fits(
    model: &Model,
    session: SessionId,
    number: u64,
    operation: &Operation,
    (revision, outcome): (Revision, &Outcome),
) {
    let placed = model.placed(session, number);
    let placed = placed.unwrap_or_else(|| panic!("{session:?}, request {number}: acknowledged, and not in the log"));
    assert!(placed.operation == *operation, "{session:?}, request {number}: the log holds another operation");
    let (told, is) = (plain_outcome(outcome.clone()), plain_outcome(placed.outcome.clone()));
    assert!(
        (revision, &told) == (placed.revision, &is),
        "{session:?}, request {number}, {operation:?}: told {told:?} at {revision}, but it is {is:?} at {}",
        placed.revision
    );
}

fn read_fits(model: &Model, read: &Read, revision: Revision, answer: &Result<Answer, Refusal>, whos: &[Principals]) {
    assert!(revision <= model.revision(), "a read tells of revision {revision}, which was never reached");
    let told = answer.clone().map_err(plain_refusal).map(|answer| match answer {
        Answer::Node { data, stat } => Answer::Node { data, stat: plain(stat) },
        Answer::Exists { stat } => Answer::Exists { stat: stat.map(plain) },
        Answer::Children { names, stat, more } => Answer::Children { names, stat: plain(stat), more },
        Answer::Entries { entries, stat, more } => {
            let entries = entries.into_iter().map(|(name, stat)| (name, plain(stat))).collect();
            Answer::Entries { entries, stat: plain(stat), more }
        }
        Answer::Scanned { nodes, more } => {
            let nodes = nodes.into_iter().map(|node| Scanned { stat: plain(node.stat), ..node }).collect();
            Answer::Scanned { nodes, more }
        }
        Answer::Acl { acl, stat } => Answer::Acl { acl, stat: plain(stat) },
        Answer::Records { from, records, stat } => Answer::Records { from, records, stat: plain(stat) },
        Answer::Quota { .. } | Answer::Lock { .. } | Answer::LockPlace { .. } | Answer::Sequencer { .. } => answer,
        Answer::Principals { .. } => answer,
    });
    let is: Vec<_> = whos.iter().map(|who| model.answer(read, revision, who).map_err(plain_refusal)).collect();
    assert!(is.contains(&told), "{read:?} was answered {told:?} at {revision}, but it is one of {is:?}");
}

/// Without what is for people only.
pub fn plain(stat: Stat) -> Stat {
    Stat { created_ms: 0, modified_ms: 0, ..stat }
}

fn plain_outcome(outcome: Outcome) -> Outcome {
    outcome.map(plain_done).map_err(plain_refusal)
}

fn plain_done(done: Done) -> Done {
    match done {
        Done::Created { path, stat } => Done::Created { path, stat: plain(stat) },
        Done::Set { stat } => Done::Set { stat: plain(stat) },
        Done::Opened { handle, stat, created } => Done::Opened { handle, stat: plain(stat), created },
        Done::AclSet { stat } => Done::AclSet { stat: plain(stat) },
        Done::Multi { results } => Done::Multi { results: results.into_iter().map(plain_step).collect() },
        Done::Granted { .. } | Done::Queued | Done::Released | Done::Closed => done,
        Done::Appended { .. } | Done::Trimmed { .. } | Done::Sealed { .. } => done,
        Done::Deleted
        | Done::TreeDeleted { .. }
        | Done::QuotaSet
        | Done::Authenticated
        | Done::Synced
        | Done::SessionClosed => done,
    }
}

fn plain_step(done: StepDone) -> StepDone {
    match done {
        StepDone::Created { path, stat } => StepDone::Created { path, stat: plain(stat) },
        StepDone::Set { stat } => StepDone::Set { stat: plain(stat) },
        StepDone::AclSet { stat } => StepDone::AclSet { stat: plain(stat) },
        StepDone::Got { node } => StepDone::Got { node: node.map(|(data, stat)| (data, plain(stat))) },
        StepDone::Checked | StepDone::Deleted | StepDone::Appended { .. } => done,
    }
}

/// Advice is not compared.
fn plain_refusal(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::BadArgument { .. } => Refusal::BadArgument { why: String::new() },
        Refusal::Aborted { index, cause } => Refusal::Aborted { index, cause: Box::new(plain_refusal(*cause)) },
        other => other,
    }
}
