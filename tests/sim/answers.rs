//! What the plain model answers to reads, at any revision.

use quorate::namespace::acl::Principals;
use quorate::namespace::command::{Answer, HandleMode, Read, Refusal, Revision, Scanned, Stat};

use super::acls::{self, Eyes};
use super::model::{Model, Node, is_within, parent};

impl Model {
    /// What a read of somebody must have been answered at `revision`.
    pub fn answer(&self, read: &Read, revision: Revision, who: &Principals) -> Result<Answer, Refusal> {
        let no_node = |path: &str| Refusal::NoNode { path: path.to_owned() };
        let eyes = Eyes { model: self, revision: Some(revision), who };
        if eyes.hides_from(read)? {
            return acls::as_if_absent(read);
        }
        match read {
            Read::WhoAmI => Ok(Answer::Principals { principals: who.clone() }),
            Read::Acl { path } => {
                let node = self.at(path, revision).ok_or_else(|| no_node(path))?;
                Ok(Answer::Acl { acl: node.acl.clone(), stat: node.stat() })
            }
            Read::Get { path } => self.at(path, revision).ok_or_else(|| no_node(path))?.whole(path),
            Read::Records { path, from, bytes } => {
                let node = self.at(path, revision).ok_or_else(|| no_node(path))?;
                node.records(path, *from, *bytes as usize)
            }
            Read::Exists { path } => Ok(Answer::Exists { stat: self.at(path, revision).map(Node::stat) }),
            Read::List { path, after, limit } => {
                let node = self.at(path, revision).ok_or_else(|| no_node(path))?;
                let (entries, more) = page(self.entries(path, after, eyes, revision), *limit);
                Ok(Answer::Children {
                    names: entries.into_iter().map(|(name, _)| name).collect(),
                    stat: node.stat(),
                    more,
                })
            }
            Read::Entries { path, after, limit } => {
                let node = self.at(path, revision).ok_or_else(|| no_node(path))?;
                let (entries, more) = page(self.entries(path, after, eyes, revision), *limit);
                Ok(Answer::Entries { entries, stat: node.stat(), more })
            }
            Read::Scan { path, after, limit, with_data } => {
                self.at(path, revision).ok_or_else(|| no_node(path))?;
                if !after.is_empty() && !is_within(after, path) {
                    return Err(Refusal::BadArgument { why: String::new() });
                }
                let names = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
                let within = self.past.keys().filter(|other| is_within(other, path));
                let mut paths: Vec<_> =
                    within.filter(|other| after.is_empty() || names(other) > names(after)).collect();
                paths.retain(|path| eyes.sees(path));
                paths.sort_by_key(|path| names(path));
                let nodes = paths.into_iter().filter_map(|path| Some((path, self.at(path, revision)?)));
                let nodes = nodes.map(|(path, node)| {
                    let data = with_data.then(|| node.data.clone());
                    Scanned { path: path.clone(), stat: node.stat(), data }
                });
                let (nodes, more) = page(nodes.collect(), *limit);
                Ok(Answer::Scanned { nodes, more })
            }
            Read::Quota { path } => {
                let node = self.at(path, revision).ok_or_else(|| no_node(path))?;
                Ok(Answer::Quota { quota: node.quota.map(|quota| (quota, self.usage_at(path, revision))) })
            }
            Read::LockHolders { path } => {
                let node = self.at(path, revision).ok_or_else(|| no_node(path))?;
                Ok(Answer::Lock { holders: node.lock.view(path, node.instance) })
            }
            Read::AwaitLock { path, session } => {
                let node = self.at(path, revision).ok_or_else(|| no_node(path))?;
                Ok(Answer::LockPlace { place: node.lock.place(path, node.instance, *session) })
            }
            Read::CheckSequencer { sequencer } => {
                let node = self.at(&sequencer.path, revision);
                Ok(Answer::Sequencer { valid: node.is_some_and(|node| node.upholds(sequencer)) })
            }
            Read::HandleGet { handle } => self.opened_at(handle, HandleMode::READ, revision)?.whole(&handle.path),
            Read::HandleEntries { handle, after, limit } => {
                let node = self.opened_at(handle, HandleMode::READ, revision)?;
                let (entries, more) = page(self.entries(&handle.path, after, eyes, revision), *limit);
                Ok(Answer::Entries { entries, stat: node.stat(), more })
            }
            Read::HandleStat { handle } => {
                let node = self.opened_at(handle, HandleMode::NONE, revision)?;
                Ok(Answer::Exists { stat: Some(node.stat()) })
            }
        }
    }

    /// Children whose names follow `after`.
    fn entries(&self, path: &str, after: &str, eyes: Eyes<'_>, revision: Revision) -> Vec<(String, Stat)> {
        let children = self.past.keys().filter(|other| parent(other).as_deref() == Some(path));
        let named = children.map(|other| (other, other.rsplit('/').next().unwrap_or_default()));
        let later = named.filter(|(other, name)| *name > after && eyes.sees(other));
        later.filter_map(|(other, name)| Some((name.to_owned(), self.at(other, revision)?.stat()))).collect()
    }
}

impl Node {
    /// Its data and its numbers, as an answer.
    fn whole(&self, path: &str) -> Result<Answer, Refusal> {
        if self.log.is_some() {
            return Err(Refusal::IsLog { path: path.to_owned() });
        }
        Ok(Answer::Node { data: self.data.clone(), stat: self.stat() })
    }
}

/// The first rows, and whether there are more.
pub fn page<T>(mut rows: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let most = if limit == 0 { usize::MAX } else { limit as usize };
    let more = rows.len() > most;
    rows.truncate(most);
    (rows, more)
}
