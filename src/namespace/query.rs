//! Answers reads from a tree.

use super::acl::{Acl, Rights};
use super::codec::ReadRef;
use super::command::{Answer, HandleMode, LockPlace, Refusal, Scanned, Stat};
use super::gate::{Gate, LOOK_AT_LOCK};
use super::path;
use super::tree::{Node, Tree};
use crate::limits::{HIDDEN_NODES_PASSED_MAX, LIST_BYTES_MAX};

/// Where a page goes on that has found nothing yet: behind that node, which its reader may not see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hidden(String);

/// An answer whose data are still the tree's: nothing is copied, or counted, before they are encoded.
type Found<'t> = Answer<&'t [u8]>;

/// What the tree behind the gate says, to be kept. Refused are a node that is not there, or not for whoever asks, and a path
/// that is none.
pub fn answer(gate: &Gate<'_>, read: ReadRef<'_>) -> Result<Answer, Refusal> {
    let mut from = None;
    loop {
        match answer_from(gate, read, from.as_ref()) {
            Ok(answer) => return answer.map(Answer::into_owned),
            Err(hidden) => from = Some(hidden),
        }
    }
}

/// The same, borrowed from the tree, and in parts: `Err` if nodes that the reader may not see were passed over, as many as are looked at in one go, and
/// nothing else was found. Whoever asks again goes on there, as a reader does from page to page.
pub fn answer_from<'t>(
    gate: &Gate<'t>,
    read: ReadRef<'_>,
    from: Option<&Hidden>,
) -> Result<Result<Answer<&'t [u8]>, Refusal>, Hidden> {
    let page = match read {
        ReadRef::List { path, after, limit } => list(gate, path, (after, limit), from),
        ReadRef::Entries { path, after, limit } => match gate.node(path, Rights::READ) {
            Ok(node) => entries(gate, path, node, (after, limit), from),
            Err(refusal) => Err(refusal.into()),
        },
        ReadRef::HandleEntries { handle, after, limit } => match gate.tree().opened(handle, HandleMode::READ) {
            Ok(node) => entries(gate, handle.path, node, (after, limit), from),
            Err(refusal) => Err(refusal.into()),
        },
        ReadRef::Scan { path, after, limit, with_data } => scan(gate, (path, after), (limit, with_data), from),
        other => return Ok(answer_at_once(gate, other)),
    };
    match page {
        Ok(answer) => Ok(Ok(answer)),
        Err(NoPage::Refused(refusal)) => Ok(Err(refusal)),
        Err(NoPage::Hidden(hidden)) => Err(hidden),
    }
}

/// Why there is no page.
enum NoPage {
    Refused(Refusal),
    Hidden(Hidden),
}

impl From<Refusal> for NoPage {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn answer_at_once<'t>(gate: &Gate<'t>, read: ReadRef<'_>) -> Result<Found<'t>, Refusal> {
    match read {
        ReadRef::Get { path } => data_of(path, gate.node(path, Rights::READ)?),
        ReadRef::Exists { path } => match gate.known(path, Rights::READ)? {
            Some(node) => Ok(Answer::Exists { stat: Some(node.stat()) }),
            None => path::check(path).map(|()| Answer::Exists { stat: None }),
        },
        ReadRef::List { .. } | ReadRef::Entries { .. } | ReadRef::Scan { .. } | ReadRef::HandleEntries { .. } => {
            unreachable!("pages are answered in parts")
        }
        ReadRef::Acl { path } => {
            let node = gate.node(path, Rights::ADMIN)?;
            Ok(Answer::Acl { acl: node.acl().cloned(), stat: node.stat() })
        }
        ReadRef::WhoAmI => Ok(Answer::Principals { principals: gate.who().clone() }),
        ReadRef::Quota { path } => {
            gate.node(path, Rights::READ)?;
            Ok(Answer::Quota { quota: gate.tree().accounts().get(path) })
        }
        ReadRef::LockHolders { path } => {
            let node = gate.node(path, LOOK_AT_LOCK)?;
            let view = node.lock.as_ref().map(|lock| lock.view(|mode| node.sequencer(path, mode)));
            Ok(Answer::Lock { holders: view.unwrap_or_default() })
        }
        ReadRef::AwaitLock { path, session } => {
            let node = gate.node(path, LOOK_AT_LOCK)?;
            let place = node.lock.as_ref().map(|lock| lock.place(session, |mode| node.sequencer(path, mode)));
            Ok(Answer::LockPlace { place: place.unwrap_or(LockPlace::Nowhere) })
        }
        ReadRef::CheckSequencer { sequencer } => {
            let valid = gate.known(sequencer.path, LOOK_AT_LOCK)?.is_some_and(|node| node.upholds(sequencer));
            Ok(Answer::Sequencer { valid })
        }
        ReadRef::HandleGet { handle } => data_of(handle.path, gate.tree().opened(handle, HandleMode::READ)?),
        ReadRef::HandleStat { handle } => {
            let node = gate.tree().opened(handle, HandleMode::NONE)?;
            Ok(Answer::Exists { stat: Some(node.stat()) })
        }
        ReadRef::Records { path, from, bytes } => records(gate, path, from, bytes),
    }
}

fn data_of<'t>(path: &str, node: &'t Node) -> Result<Found<'t>, Refusal> {
    if node.log.is_some() {
        return Err(Refusal::IsLog { path: path.to_owned() });
    }
    Ok(Answer::Node { data: node.data(), stat: node.stat() })
}

fn list<'t>(
    gate: &Gate<'t>,
    path: &str,
    (after, limit): (&str, u32),
    from: Option<&Hidden>,
) -> Result<Found<'t>, NoPage> {
    let (tree, node) = (gate.tree(), gate.node(path, Rights::READ)?);
    let mut names = Vec::new();
    let following = tree.children(path, from.map_or(after, Hidden::name)).into_iter().flatten();
    // Where everybody sees everything no child is looked up.
    let rows = following.map(|child| {
        let is_seen = gate.is_open() || gate.sees(acl_of(tree, child));
        if is_seen { Ok(path::name(child)) } else { Err(child) }
    });
    let more = Page::new(limit).fill(rows, |name| 4 + name.len(), |name| names.push(name.to_owned()))?;
    Ok(Answer::Children { names, stat: node.stat(), more })
}

fn entries<'t>(
    gate: &Gate<'t>,
    path: &str,
    node: &Node,
    (after, limit): (&str, u32),
    from: Option<&Hidden>,
) -> Result<Found<'t>, NoPage> {
    let tree = gate.tree();
    let mut entries = Vec::new();
    let following = tree.children(path, from.map_or(after, Hidden::name)).into_iter().flatten();
    let rows = following.map(|path| {
        let child = tree.get(path).expect("every child is a node");
        if gate.sees(child.acl()) { Ok((path::name(path), child.stat())) } else { Err(path) }
    });
    let more = Page::new(limit).fill(
        rows,
        |(name, _)| 4 + name.len() + Stat::ENCODED_BYTES,
        |(name, stat)| entries.push((name.to_owned(), stat)),
    )?;
    Ok(Answer::Entries { entries, stat: node.stat(), more })
}

fn scan<'t>(
    gate: &Gate<'t>,
    (path, after): (&str, &str),
    (limit, with_data): (u32, bool),
    from: Option<&Hidden>,
) -> Result<Found<'t>, NoPage> {
    gate.node(path, Rights::READ)?;
    let tree = gate.tree();
    if !after.is_empty() {
        path::check(after)?;
        if !path::is_within(after, path) {
            let why = format!("{after:?} is not below {path}: go on from a path that the scan gave");
            return Err(Refusal::BadArgument { why }.into());
        }
    }
    let after = from.map_or(after, |hidden| &hidden.0);
    let first = if after.is_empty() { Some(path) } else { tree.next_within(path, after) };
    let following = std::iter::successors(first, |last| tree.next_within(path, last));
    let rows = following.map(|path| {
        let node = tree.get(path).expect("a scan comes upon nodes");
        if gate.sees(node.acl()) { Ok((path, node)) } else { Err(path) }
    });
    let mut nodes = Vec::new();
    let more = Page::new(limit).fill(
        rows,
        |(path, node)| 4 + path.len() + Stat::ENCODED_BYTES + 5 + if with_data { node.data().len() } else { 0 },
        |(path, node)| {
            let data = with_data.then(|| node.data());
            nodes.push(Scanned { path: path.to_owned(), stat: node.stat(), data });
        },
    )?;
    Ok(Answer::Scanned { nodes, more })
}

fn acl_of<'t>(tree: &'t Tree, path: &str) -> Option<&'t Acl> {
    tree.get(path).and_then(|node| node.acl())
}

fn records<'t>(gate: &Gate<'t>, path: &str, from: u64, bytes: u32) -> Result<Found<'t>, Refusal> {
    let node = gate.node(path, Rights::READ)?;
    let path = || path.to_owned();
    let Some(log) = &node.log else { return Err(Refusal::NotLog { path: path() }) };
    if from < log.first() {
        return Err(Refusal::LogTrimmed { path: path(), from, first: log.first() });
    }
    if from > log.end() {
        return Err(Refusal::LogEnd { path: path(), expected: from, found: log.end() });
    }
    let bytes = if bytes == 0 { LIST_BYTES_MAX } else { LIST_BYTES_MAX.min(bytes as usize) };
    Ok(Answer::Records { from, records: log.read(from, bytes), stat: node.stat() })
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

    /// Takes rows until the page is full, one at least however large it is; whether any is left over. `Err` is a row that is
    /// not to be told of, by its path. A page that came upon too many of those in a row ends, or is none yet.
    fn fill<'p, T>(
        &mut self,
        rows: impl Iterator<Item = Result<T, &'p str>>,
        bytes: impl Fn(&T) -> usize,
        mut take: impl FnMut(T),
    ) -> Result<bool, NoPage> {
        let mut is_first = true;
        let mut passed = 0;
        for row in rows {
            let row = match row {
                Ok(row) => row,
                Err(hidden) => {
                    passed += 1;
                    if passed <= HIDDEN_NODES_PASSED_MAX {
                        continue;
                    }
                    return if is_first { Err(NoPage::Hidden(Hidden(hidden.to_owned()))) } else { Ok(true) };
                }
            };
            let bytes = bytes(&row);
            if self.rows_left == 0 || bytes > self.bytes_left && !is_first {
                return Ok(true);
            }
            self.rows_left -= 1;
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            (is_first, passed) = (false, 0);
            take(row);
        }
        Ok(false)
    }
}

impl Hidden {
    fn name(&self) -> &str {
        path::name(&self.0)
    }
}
