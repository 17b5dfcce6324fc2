//! How many calls meet: two clients are about the same node at the same time, and at least one of them may change it.

use std::collections::{BTreeMap, BTreeSet};

use quorate::namespace::command::{Operation, Read, Step};

use super::handles::path_of;
use super::history::{Asked, Call, History};
use super::world::Moment;

/// A call under way.
struct Active {
    call: usize,
    client: usize,
    ends: Moment,
    changes: bool,
}

/// The calls that met another one.
pub fn count(history: &History) -> u64 {
    let mut on_nodes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, call) in history.calls.iter().enumerate() {
        let nodes: BTreeSet<&str> = nodes(call).into_iter().collect();
        nodes.into_iter().for_each(|node| on_nodes.entry(node).or_default().push(at));
    }
    let mut met = BTreeSet::new();
    for calls in on_nodes.values() {
        // Calls stand in the order in which they were made.
        let mut active: Vec<Active> = Vec::new();
        for at in calls {
            let call = &history.calls[*at];
            // What was never answered, as its client died, would meet everything after it.
            let Some((ends, _)) = call.ended else { continue };
            let (client, changes) = (call.life.0, matches!(call.asked, Asked::Request { .. }));
            active.retain(|other| other.ends >= call.made);
            for other in active.iter().filter(|other| other.client != client && (changes || other.changes)) {
                met.extend([*at, other.call]);
            }
            active.push(Active { call: *at, client, ends, changes });
        }
    }
    met.len() as u64
}

/// What a call is about.
fn nodes(call: &Call) -> Vec<&str> {
    match &call.asked {
        Asked::Request { operation: Operation::Multi { steps }, .. } => steps.iter().filter_map(step_node).collect(),
        Asked::Request { operation, .. } => path_of(operation).into_iter().collect(),
        Asked::Read { read, .. } => match read {
            Read::Get { path }
            | Read::Exists { path }
            | Read::List { path, .. }
            | Read::Entries { path, .. }
            | Read::Scan { path, .. }
            | Read::Quota { path }
            | Read::Acl { path }
            | Read::LockHolders { path }
            | Read::AwaitLock { path, .. }
            | Read::Records { path, .. } => vec![path],
            Read::CheckSequencer { sequencer } => vec![&sequencer.path],
            Read::HandleGet { handle } | Read::HandleEntries { handle, .. } | Read::HandleStat { handle } => {
                vec![&handle.path]
            }
            Read::WhoAmI => Vec::new(),
        },
    }
}

fn step_node(step: &Step) -> Option<&str> {
    match step {
        Step::Check { path, .. }
        | Step::Create { path, .. }
        | Step::CreateWithAcl { path, .. }
        | Step::Set { path, .. }
        | Step::SetAcl { path, .. }
        | Step::Delete { path, .. }
        | Step::Append { path, .. }
        | Step::Get { path } => Some(path),
        Step::CheckLock { sequencer } => Some(&sequencer.path),
        Step::CheckHandle { handle } => Some(&handle.path),
    }
}
