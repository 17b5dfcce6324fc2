//! Locks in the plain model, and what must hold of them whatever the model thinks.

use std::collections::{BTreeMap, BTreeSet};

use quorate::client::machine::Answered;
use quorate::namespace::command::{
    Answer, Done, LockHolders, LockMode, LockPlace, Operation, Revision, Sequencer, SessionId, Step,
};
use quorate::wire::watch::EventKind;

use super::history::{Asked, Call, History, Life};
use super::model::{Model, Node};

/// A lock: who has it, who wants it, and until when it is shut.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lock {
    pub holders: Vec<Claim>,
    pub waiting: Vec<Claim>,
    pub shut: Vec<(LockMode, u64)>,
    pub generation: Revision,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    pub session: SessionId,
    pub mode: LockMode,
    pub delay_ms: u32,
}

impl Lock {
    pub fn is_held_by(&self, session: SessionId) -> bool {
        self.holders.iter().any(|claim| claim.session == session)
    }

    pub fn is_claimed_by(&self, session: SessionId) -> bool {
        self.holders.iter().chain(&self.waiting).any(|claim| claim.session == session)
    }

    /// The session has nothing to do with it any more. If it was lost at `lost_ns`, its holding may keep the lock shut.
    pub fn leave(&mut self, session: SessionId, lost_ns: Option<u64>, revision: Revision) {
        for claim in self.holders.extract_if(.., |claim| claim.session == session) {
            if let Some(lost_ns) = lost_ns.filter(|_| claim.delay_ms > 0) {
                self.shut.push((claim.mode, lost_ns + u64::from(claim.delay_ms) * 1_000_000));
            }
        }
        self.waiting.retain(|claim| claim.session != session);
        self.hand_on(revision);
    }

    /// Lets in whoever is first, and may.
    pub fn hand_on(&mut self, revision: Revision) {
        while let Some(next) = self.waiting.first().copied() {
            let mut there = self.holders.iter().map(|claim| claim.mode).chain(self.shut.iter().map(|shut| shut.0));
            if there.any(|mode| mode == LockMode::Exclusive || next.mode == LockMode::Exclusive) {
                return;
            }
            if self.holders.is_empty() {
                self.generation = revision;
            }
            self.holders.push(self.waiting.remove(0));
        }
    }

    /// Whether somebody came to wait behind a holder, or to hold what others wait for, since it was as `before`.
    fn is_newly_wanted(&self, before: &Self) -> bool {
        let is_new = |claims: &[Claim], old: &[Claim]| claims.iter().any(|claim| !old.contains(claim));
        let has_come = is_new(&self.waiting, &before.waiting) || is_new(&self.holders, &before.holders);
        has_come && !self.holders.is_empty() && !self.waiting.is_empty()
    }

    pub fn view(&self, path: &str, instance: u64) -> LockHolders {
        LockHolders {
            sequencer: self.holders.first().map(|claim| self.sequencer(path, instance, claim.mode)),
            sessions: self.holders.iter().map(|claim| claim.session).collect(),
            lost: self.shut.len() as u32,
            waiting: self.waiting.len() as u32,
        }
    }

    pub fn place(&self, path: &str, instance: u64, session: SessionId) -> LockPlace {
        if let Some(claim) = self.holders.iter().find(|claim| claim.session == session) {
            return LockPlace::Held { sequencer: self.sequencer(path, instance, claim.mode) };
        }
        if self.waiting.iter().any(|claim| claim.session == session) { LockPlace::Waiting } else { LockPlace::Nowhere }
    }

    fn sequencer(&self, path: &str, instance: u64, mode: LockMode) -> Sequencer {
        Sequencer { path: path.to_owned(), instance, mode, generation: self.generation }
    }
}

impl Model {
    /// Tells of the locks that are wanted since those nodes were as `before`. A command changes a lock once.
    pub fn tell_wanted(&mut self, before: &BTreeMap<String, Option<Node>>) {
        let free = Lock::default();
        let there = before.iter().filter_map(|(path, before)| Some((path, before, self.tree.get(path)?)));
        let wanted = there.filter(|(_, before, node)| {
            node.lock.is_newly_wanted(before.as_ref().map_or(&free, |before| &before.lock))
        });
        let wanted: Vec<_> = wanted.map(|(path, _, node)| (path.clone(), node.data.clone())).collect();
        wanted.into_iter().for_each(|(path, data)| self.happens(EventKind::Wanted, &path, Some(data)));
    }
}

/// From what clients were told alone: a writer's token is nobody else's, tokens of a name never come twice, and nothing
/// that carried a token was done after a later one was given out. (A token is the revision of its grant.)
pub fn judge(history: &History) {
    let mut holders: BTreeMap<(&str, Revision), (LockMode, BTreeSet<Life>)> = BTreeMap::new();
    for (call, sequencer) in history.calls.iter().filter_map(|call| Some((call, shown(call)?))) {
        let holder =
            holders.entry((&sequencer.path, sequencer.generation)).or_insert((sequencer.mode, BTreeSet::new()));
        assert_eq!(holder.0, sequencer.mode, "{sequencer:?}: a token stands for one mode");
        holder.1.insert(call.life);
        let alone = sequencer.mode == LockMode::Shared || holder.1.len() == 1;
        assert!(alone, "{sequencer:?} was given to two: {:?}", holder.1);
    }
    for call in &history.calls {
        let Some((_, Ok(Answered::Request { revision, outcome: Ok(_) }))) = &call.ended else { continue };
        for sequencer in relied_on(&call.asked) {
            // At its own revision it may itself have handed the lock on.
            let (path, first_later) = (sequencer.path.as_str(), sequencer.generation + 1);
            let later = holders.range((path, first_later)..(path, first_later.max(*revision))).next();
            assert!(later.is_none(), "{call:?} was done although {later:?} held the lock already");
        }
    }
}

/// The sequencer that a call was told its session holds.
fn shown(call: &Call) -> Option<&Sequencer> {
    match call.ended.as_ref()?.1.as_ref().ok()? {
        Answered::Request { outcome: Ok(Done::Granted { sequencer }), .. } => Some(sequencer),
        Answered::Read { answer: Ok(Answer::LockPlace { place: LockPlace::Held { sequencer } }), .. } => {
            Some(sequencer)
        }
        _ => None,
    }
}

fn relied_on(asked: &Asked) -> Vec<&Sequencer> {
    match asked {
        Asked::Request { operation: Operation::Guarded { sequencer, .. }, .. } => vec![sequencer],
        Asked::Request { operation: Operation::Multi { steps }, .. } => {
            let locks = steps.iter().filter_map(|step| match step {
                Step::CheckLock { sequencer } => Some(sequencer),
                _ => None,
            });
            locks.collect()
        }
        _ => Vec::new(),
    }
}
