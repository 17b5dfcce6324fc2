//! Answers reads from a tree.

use super::codec::ReadRef;
use super::command::{Answer, LockPlace, Refusal};
use super::path;
use super::tree::Tree;
use crate::limits::LIST_BYTES_MAX;

/// What the tree says. Only a node that is not there, or a path that is none, is refused.
pub fn answer(tree: &Tree, read: ReadRef<'_>) -> Result<Answer, Refusal> {
    match read {
        ReadRef::Get { path } => {
            let node = tree.get(path).ok_or_else(|| no_node(path))?;
            Ok(Answer::Node { data: node.data.clone(), stat: node.stat })
        }
        ReadRef::Exists { path } => match tree.get(path) {
            Some(node) => Ok(Answer::Exists { stat: Some(node.stat) }),
            None => path::check(path).map(|()| Answer::Exists { stat: None }),
        },
        ReadRef::List { path, after, limit } => list(tree, path, after, limit),
        ReadRef::LockHolders { path } => {
            let node = tree.get(path).ok_or_else(|| no_node(path))?;
            let view = node.lock.as_ref().map(|lock| lock.view(|mode| node.sequencer(path, mode)));
            Ok(Answer::Lock { holders: view.unwrap_or_default() })
        }
        ReadRef::AwaitLock { path, session } => {
            let node = tree.get(path).ok_or_else(|| no_node(path))?;
            let place = node.lock.as_ref().map(|lock| lock.place(session, |mode| node.sequencer(path, mode)));
            Ok(Answer::LockPlace { place: place.unwrap_or(LockPlace::Nowhere) })
        }
        ReadRef::CheckSequencer { sequencer } => {
            let valid = tree.get(sequencer.path).is_some_and(|node| node.upholds(sequencer));
            Ok(Answer::Sequencer { valid })
        }
    }
}

fn list(tree: &Tree, path: &str, after: &str, limit: u32) -> Result<Answer, Refusal> {
    let node = tree.get(path).ok_or_else(|| no_node(path))?;
    let mut following = tree.children(path, after).into_iter().flatten();
    let names_max = if limit == 0 { usize::MAX } else { limit as usize };
    let mut names = Vec::new();
    let mut bytes = 0;
    let more = loop {
        let Some(name) = following.next() else { break false };
        bytes += 4 + name.len();
        if names.len() == names_max || bytes > LIST_BYTES_MAX {
            break true;
        }
        names.push(name.to_owned());
    };
    Ok(Answer::Children { names, stat: node.stat, more })
}

/// A path that is none is nobody's: say so, rather than let its sender wait for a node that cannot be.
fn no_node(path: &str) -> Refusal {
    path::check(path).err().unwrap_or_else(|| Refusal::NoNode { path: path.to_owned() })
}
