//! Quotas, as the model has them: everything is counted anew each time it is asked for.

use quorate::namespace::command::{Done, Expect, Outcome, Quota, QuotaBounds, Refusal, Revision, Usage};
use quorate::wire::watch::EventKind;

use super::model::{Model, Node, is_within};

impl Model {
    pub fn set_quota(&mut self, path: &str, quota: Option<Quota>) -> Outcome {
        self.check(path, Expect::Any)?;
        if quota == Some(Quota::default()) {
            return Err(Refusal::BadArgument { why: String::new() });
        }
        self.tree.get_mut(path).expect("it was just checked").quota = quota;
        Ok(Done::QuotaSet)
    }

    /// What a node and all below it came to at a revision.
    pub fn usage_at(&self, top: &str, revision: Revision) -> Usage {
        let within = self.past.keys().filter(|path| is_within(path, top));
        sum(within.filter_map(|path| self.at(path, revision)).map(Node::bytes))
    }

    /// Whether so much more may come to a path.
    pub fn has_room(&self, path: &str, nodes: u64, bytes: u64) -> Result<(), Refusal> {
        for (path, quota) in self.quotas_above(path) {
            let usage = self.usage(&path);
            let (all_nodes, all_bytes) = (usage.nodes + nodes, usage.bytes + bytes);
            if let Some(limit) = quota.hard.nodes.filter(|limit| nodes > 0 && all_nodes > *limit) {
                return Err(Refusal::NodesOverQuota { path, needed: all_nodes, limit });
            }
            if let Some(limit) = quota.hard.bytes.filter(|limit| bytes > 0 && all_bytes > *limit) {
                return Err(Refusal::BytesOverQuota { path, needed: all_bytes, limit });
            }
        }
        Ok(())
    }

    /// Warns of the soft bounds that so much more, which has just come to a path, has passed.
    pub fn warn(&mut self, path: &str, nodes: u64, bytes: u64) {
        for (path, quota) in self.quotas_above(path) {
            let (usage, QuotaBounds { nodes: most_nodes, bytes: most_bytes }) = (self.usage(&path), quota.soft);
            let passed =
                |now: u64, more: u64, most: Option<u64>| most.is_some_and(|most| now - more <= most && most < now);
            if passed(usage.nodes, nodes, most_nodes) || passed(usage.bytes, bytes, most_bytes) {
                let data = self.tree[&path].data.clone();
                self.happens(EventKind::OverQuota, &path, Some(data));
            }
        }
    }

    fn usage(&self, top: &str) -> Usage {
        let within = self.tree.iter().filter(|(path, _)| is_within(path, top));
        sum(within.map(|(_, node)| node.bytes()))
    }

    /// The nearest first.
    fn quotas_above(&self, path: &str) -> Vec<(String, Quota)> {
        let above = self.tree.iter().filter(|(top, _)| is_within(path, top)).rev();
        above.filter_map(|(top, node)| Some((top.clone(), node.quota?))).collect()
    }
}

fn sum(data: impl Iterator<Item = usize>) -> Usage {
    data.fold(Usage::default(), |sum, bytes| Usage { nodes: sum.nodes + 1, bytes: sum.bytes + bytes as u64 })
}
