//! Whether one order explains what clients saw, asked without the revisions that the cell itself gave.
//!
//! The search is that of Wing and Gong with the memory of Lowe: operations on one node are tried in every order that real
//! time allows, and a pair of (operations done, value) that led nowhere is not tried again. Samples are small: a node
//! with more than [`OPERATIONS_MAX`] operations is left out, and so is one that a `multi`, a tree's deletion, or a node that is
//! sequential or not permanent may have touched, as those have effects on several nodes or at nobody's request. So is one
//! that has, or inherits, an access list: who may not know of it is told that it is not there. Two nodes are left alone by
//! all that, so that every run has some to search.
//!
//! What a client was never answered may have had its effect at any time after it was asked, or none at all.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate::client::machine::Answered;
use quorate::namespace::command::{Answer, Lifetime, Operation, Read, Refusal, Step};
use quorate::wire::client::Consistency;

use super::history::{Asked, Call, History};
use super::model::is_within;
use super::world::Moment;

/// The most operations on one node that are searched.
pub const OPERATIONS_MAX: usize = 400;

/// Pairs tried for one node; a search that has not ended by then says nothing.
const STEPS_MAX: usize = 200_000;

/// What a node is, as far as its data tell.
type State = Option<Bytes>;

/// One operation on one node.
#[derive(Clone, Debug)]
struct Act {
    made: Moment,
    /// `None`: it was never answered.
    ended: Option<Moment>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Create { data: Bytes, made: Option<bool> },
    Set { data: Bytes, found: Option<bool> },
    Delete { found: Option<bool> },
    Read { saw: State },
}

/// How many operations were searched to an end.
pub fn judge(history: &History) -> u64 {
    let mut searched = 0;
    for (path, acts) in acts(history) {
        if acts.len() > OPERATIONS_MAX {
            continue;
        }
        // The root is there from the beginning.
        match search(&acts, (path == "/").then(Bytes::new)) {
            Some(true) => searched += acts.len() as u64,
            Some(false) => panic!("no order explains what clients saw of {path}: {acts:#?}"),
            None => {}
        }
    }
    searched
}

/// The operations on each node that can be judged by itself.
fn acts(history: &History) -> BTreeMap<String, Vec<Act>> {
    let (mut acts, mut entangled, mut trees) = (BTreeMap::<String, Vec<Act>>::new(), BTreeSet::new(), Vec::new());
    for call in &history.calls {
        let refused = matches!(&call.ended, Some((_, Ok(Answered::Request { outcome: Err(_), .. }))));
        match &call.asked {
            Asked::Request { operation, .. } if !refused => entangle(operation, &mut entangled, &mut trees),
            Asked::Request { .. } | Asked::Read { .. } => {}
        }
        if let Some((path, act)) = act(call) {
            acts.entry(path).or_default().push(act);
        }
    }
    acts.retain(|path, _| !entangled.contains(path) && !trees.iter().any(|top| is_within(path, top)));
    acts
}

/// Nodes that change together with others, or with a session's end.
fn entangle(operation: &Operation, into: &mut BTreeSet<String>, trees: &mut Vec<String>) {
    match operation {
        Operation::Multi { steps } => {
            let changed = steps.iter().filter_map(|step| match step {
                Step::Create { path, .. } | Step::Set { path, .. } | Step::Delete { path, .. } => Some(path.clone()),
                Step::SetAcl { path, .. } | Step::CreateWithAcl { path, .. } => {
                    trees.push(path.clone());
                    None
                }
                Step::Check { .. }
                | Step::Get { .. }
                | Step::CheckLock { .. }
                | Step::CheckHandle { .. }
                | Step::Append { .. } => None,
            });
            into.extend(changed);
        }
        Operation::Open { path, birth: Some(birth), .. } if birth.acl.is_some() => trees.push(path.clone()),
        Operation::Open { path, birth: Some(_), .. } => _ = into.insert(path.clone()),
        Operation::Guarded { operation, .. } | Operation::Through { operation, .. } => match &**operation {
            Operation::Create { path, .. } | Operation::Set { path, .. } | Operation::Delete { path, .. } => {
                into.insert(path.clone());
            }
            other => entangle(other, into, trees),
        },
        Operation::SetAcl { path, .. } | Operation::CreateWithAcl { path, .. } => trees.push(path.clone()),
        Operation::DeleteTree { path, .. } => trees.push(path.clone()),
        Operation::CreateLog { path, .. } => _ = into.insert(path.clone()),
        Operation::Acquire { path, create: true, .. } => _ = into.insert(path.clone()),
        Operation::Create { path, lifetime, .. } if *lifetime != Lifetime::Permanent => _ = into.insert(path.clone()),
        _ => {}
    }
}

fn act(call: &Call) -> Option<(String, Act)> {
    let answer = call.ended.as_ref().map(|(at, result)| (*at, result));
    let (path, kind) = match &call.asked {
        Asked::Request { operation, .. } => {
            let outcome = match answer {
                Some((_, Ok(Answered::Request { outcome, .. }))) => Some(outcome),
                _ => None,
            };
            let done = outcome.map(Result::is_ok);
            // Only what the node's own presence decides tells something of it.
            let presence = |refused: fn(&Refusal) -> bool| match outcome {
                None => Some(None),
                Some(Ok(_)) => Some(done),
                Some(Err(refusal)) => refused(refusal).then_some(Some(false)),
            };
            let absent = |refusal: &Refusal| matches!(refusal, Refusal::NoNode { .. });
            match operation {
                Operation::Create { path, data, sequential: false, lifetime: Lifetime::Permanent } => {
                    let made = presence(|refusal| matches!(refusal, Refusal::NodeExists { .. }))?;
                    (path.clone(), Kind::Create { data: data.clone(), made })
                }
                Operation::Set { path, data, .. } => {
                    let found = presence(absent)?;
                    (path.clone(), Kind::Set { data: data.clone(), found })
                }
                Operation::Delete { path, .. } => (path.clone(), Kind::Delete { found: presence(absent)? }),
                _ => return None,
            }
        }
        Asked::Read { read: Read::Get { path }, consistency: Consistency::Linearizable, .. } => {
            let saw = match answer {
                Some((_, Ok(Answered::Read { answer: Ok(Answer::Node { data, .. }), .. }))) => Some(data.clone()),
                Some((_, Ok(Answered::Read { answer: Err(Refusal::NoNode { .. }), .. }))) => None,
                _ => return None,
            };
            (path.clone(), Kind::Read { saw })
        }
        Asked::Read { .. } => return None,
    };
    let ended = answer.filter(|(_, result)| result.is_ok()).map(|(at, _)| at);
    Some((path, Act { made: call.made, ended, kind }))
}

impl Kind {
    /// The node after it, if it can have been done on `state` with what its client was told.
    fn on(&self, state: &State) -> Option<State> {
        match self {
            Self::Read { saw } => (saw == state).then(|| state.clone()),
            Self::Create { data, made } => match (state, made) {
                (None, Some(true) | None) => Some(Some(data.clone())),
                (Some(_), Some(false)) => Some(state.clone()),
                _ => None,
            },
            Self::Set { data, found } => match (state, found) {
                (Some(_), Some(true) | None) => Some(Some(data.clone())),
                (None, Some(false)) => Some(None),
                _ => None,
            },
            Self::Delete { found } => match (state, found) {
                (Some(_), Some(true) | None) => Some(None),
                (None, Some(false)) => Some(None),
                _ => None,
            },
        }
    }
}

/// Whether there is an order; `None` if that was not found out in time.
fn search(acts: &[Act], initial: State) -> Option<bool> {
    let words = acts.len().div_ceil(64);
    let mut stack: Vec<(Vec<u64>, State)> = vec![(vec![0; words], initial)];
    let mut tried = BTreeSet::new();
    while let Some((done, state)) = stack.pop() {
        let is_done = |index: usize| done[index / 64] & (1 << (index % 64)) != 0;
        let open = || (0..acts.len()).filter(|index| !is_done(*index));
        let first_end = open().filter_map(|index| acts[index].ended).min();
        let Some(first_end) = first_end else { return Some(true) };
        if tried.len() > STEPS_MAX {
            return None;
        }
        // The last pushed is tried first: the one that was asked for first.
        for index in open().rev().filter(|index| acts[*index].made <= first_end) {
            let Some(next) = acts[index].kind.on(&state) else { continue };
            let mut more = done.clone();
            more[index / 64] |= 1 << (index % 64);
            if tried.insert((more.clone(), next.clone())) {
                stack.push((more, next));
            }
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn created(made: Moment, ended: Option<Moment>, data: &'static str) -> Act {
        Act { made, ended, kind: Kind::Create { data: value(data), made: ended.map(|_| true) } }
    }

    fn set(made: Moment, ended: Option<Moment>, data: &'static str) -> Act {
        Act { made, ended, kind: Kind::Set { data: value(data), found: ended.map(|_| true) } }
    }

    fn read(made: Moment, ended: Moment, saw: Option<&'static str>) -> Act {
        Act { made, ended: Some(ended), kind: Kind::Read { saw: saw.map(value) } }
    }

    #[test]
    fn overlapping_operations_may_stand_in_either_order() {
        let acts = [created(0, Some(1), "a"), set(2, Some(9), "b"), read(3, 4, Some("b")), read(5, 6, Some("b"))];
        assert_eq!(search(&acts, None), Some(true));
        let acts = [created(0, Some(1), "a"), set(2, Some(9), "b"), read(3, 4, Some("b")), read(5, 6, Some("a"))];
        assert_eq!(search(&acts, None), Some(false), "no going back");
    }

    #[test]
    fn a_stale_read_and_a_lost_write_have_no_order() {
        assert_eq!(search(&[created(0, Some(1), "a"), read(2, 3, None)], None), Some(false));
        let acts = [created(0, Some(1), "a"), set(2, Some(3), "b"), read(4, 5, Some("a"))];
        assert_eq!(search(&acts, None), Some(false));
    }

    #[test]
    fn what_was_never_answered_may_come_late_or_not_at_all() {
        let before = [created(0, Some(1), "a"), set(2, None, "b"), read(4, 5, Some("a"))];
        assert_eq!(search(&before, None), Some(true));
        let late = [before.as_slice(), &[read(6, 7, Some("b"))]].concat();
        assert_eq!(search(&late, None), Some(true));
        let gone = [late.as_slice(), &[read(8, 9, Some("a"))]].concat();
        assert_eq!(search(&gone, None), Some(false));
    }
}
