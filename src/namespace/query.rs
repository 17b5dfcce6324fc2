//! Answers reads from a tree.

use super::codec::ReadRef;
use super::command::{Answer, HandleMode, LockPlace, Refusal, Scanned, Stat};
use super::path;
use super::tree::Tree;
use crate::limits::LIST_BYTES_MAX;

/// What the tree says. Only a node that is not there, or a path that is none, is refused.
pub fn answer(tree: &Tree, read: ReadRef<'_>) -> Result<Answer, Refusal> {
    match read {
        ReadRef::Get { path } => {
            let node = tree.get(path).ok_or_else(|| no_node(path))?;
            if node.log.is_some() {
                return Err(Refusal::IsLog { path: path.to_owned() });
            }
            Ok(Answer::Node { data: node.data.clone(), stat: node.stat })
        }
        ReadRef::Exists { path } => match tree.get(path) {
            Some(node) => Ok(Answer::Exists { stat: Some(node.stat) }),
            None => path::check(path).map(|()| Answer::Exists { stat: None }),
        },
        ReadRef::List { path, after, limit } => list(tree, path, after, limit),
        ReadRef::Entries { path, after, limit } => entries(tree, path, after, limit),
        ReadRef::Scan { path, after, limit, with_data } => scan(tree, path, after, limit, with_data),
        ReadRef::Quota { path } => {
            tree.get(path).ok_or_else(|| no_node(path))?;
            Ok(Answer::Quota { quota: tree.accounts().get(path) })
        }
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
        ReadRef::HandleGet { handle } => {
            tree.opened(handle, HandleMode::READ)?;
            answer(tree, ReadRef::Get { path: handle.path })
        }
        ReadRef::HandleEntries { handle, after, limit } => {
            tree.opened(handle, HandleMode::READ)?;
            entries(tree, handle.path, after, limit)
        }
        ReadRef::HandleStat { handle } => {
            let node = tree.opened(handle, HandleMode::NONE)?;
            Ok(Answer::Exists { stat: Some(node.stat) })
        }
        ReadRef::Records { path, from, bytes } => records(tree, path, from, bytes),
    }
}

fn list(tree: &Tree, path: &str, after: &str, limit: u32) -> Result<Answer, Refusal> {
    let node = tree.get(path).ok_or_else(|| no_node(path))?;
    let mut page = Page::new(limit);
    let mut names = Vec::new();
    let following = tree.children(path, after).into_iter().flatten();
    let more = page.fill(following.map(path::name), |name| 4 + name.len(), |name| names.push(name.to_owned()));
    Ok(Answer::Children { names, stat: node.stat, more })
}

fn entries(tree: &Tree, path: &str, after: &str, limit: u32) -> Result<Answer, Refusal> {
    let node = tree.get(path).ok_or_else(|| no_node(path))?;
    let mut page = Page::new(limit);
    let mut entries = Vec::new();
    let following = tree.children(path, after).into_iter().flatten();
    let more = page.fill(
        following,
        |path| 4 + path::name(path).len() + Stat::ENCODED_BYTES,
        |path| {
            let child = tree.get(path).expect("every child is a node");
            entries.push((path::name(path).to_owned(), child.stat));
        },
    );
    Ok(Answer::Entries { entries, stat: node.stat, more })
}

fn scan(tree: &Tree, path: &str, after: &str, limit: u32, with_data: bool) -> Result<Answer, Refusal> {
    if tree.get(path).is_none() {
        return Err(no_node(path));
    }
    if !after.is_empty() {
        path::check(after)?;
        if !path::is_within(after, path) {
            let why = format!("{after:?} is not below {path}: go on from a path that the scan gave");
            return Err(Refusal::BadArgument { why });
        }
    }
    let first = if after.is_empty() { Some(path) } else { tree.next_within(path, after) };
    let following = std::iter::successors(first, |last| tree.next_within(path, last));
    let following = following.map(|path| (path, tree.get(path).expect("a scan comes upon nodes")));
    let mut page = Page::new(limit);
    let mut nodes = Vec::new();
    let more = page.fill(
        following,
        |(path, node)| 4 + path.len() + Stat::ENCODED_BYTES + 5 + if with_data { node.data.len() } else { 0 },
        |(path, node)| {
            let data = with_data.then(|| node.data.clone());
            nodes.push(Scanned { path: path.to_owned(), stat: node.stat, data });
        },
    );
    Ok(Answer::Scanned { nodes, more })
}

fn records(tree: &Tree, path: &str, from: u64, bytes: u32) -> Result<Answer, Refusal> {
    let node = tree.get(path).ok_or_else(|| no_node(path))?;
    let path = || path.to_owned();
    let Some(log) = &node.log else { return Err(Refusal::NotLog { path: path() }) };
    if from < log.first() {
        return Err(Refusal::LogTrimmed { path: path(), from, first: log.first() });
    }
    if from > log.end() {
        return Err(Refusal::LogEnd { path: path(), expected: from, found: log.end() });
    }
    let bytes = if bytes == 0 { LIST_BYTES_MAX } else { LIST_BYTES_MAX.min(bytes as usize) };
    Ok(Answer::Records { from, records: log.read(from, bytes), stat: node.stat })
}

/// What a page still holds.
struct Page {
    rows_left: usize,
    bytes_left: usize,
}

impl Page {
    /// `limit` of 0: as many as fit.
    fn new(limit: u32) -> Self {
        let rows_left = if limit == 0 { usize::MAX } else { limit as usize };
        Self { rows_left, bytes_left: LIST_BYTES_MAX }
    }

    /// Takes rows until the page is full, one at least however large it is; whether any is left over.
    fn fill<T>(
        &mut self,
        mut rows: impl Iterator<Item = T>,
        bytes: impl Fn(&T) -> usize,
        mut take: impl FnMut(T),
    ) -> bool {
        let mut is_first = true;
        loop {
            let Some(row) = rows.next() else { return false };
            let bytes = bytes(&row);
            if self.rows_left == 0 || bytes > self.bytes_left && !is_first {
                return true;
            }
            self.rows_left -= 1;
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            is_first = false;
            take(row);
        }
    }
}

/// A path that is none is nobody's: say so, rather than let its sender wait for a node that cannot be.
fn no_node(path: &str) -> Refusal {
    path::check(path).err().unwrap_or_else(|| Refusal::NoNode { path: path.to_owned() })
}
