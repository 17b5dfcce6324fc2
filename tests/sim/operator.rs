//! Who changes the members: one who asks whoever leads, again and again, until the list says what it should.
//!
//! A disk is lost only when the one lost before has its vote back, and a replica is removed only then: what is chosen
//! meanwhile is held by a majority that does not count on it. A replica that was removed loses its disk and is added again;
//! now and then another one is removed before that.

use quorate::paxos::{Config, MemberChange, Slot};

use super::links::replica;
use super::lists::Lists;
use super::misfortune;
use super::node::{Happening, Node};
use super::run::Run;
use super::world::{Event, MILLI};

/// What is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// That node is to be a member no more.
    Remove(usize),
    /// An old copy of that node's disk was put back: it is to notice, and to get a new one.
    Notice(usize),
    /// That node, whose disk is new, is to have a vote.
    Join(usize),
}

/// Whether the members may be changed: they are all met, they all vote, and nothing is under way.
pub fn is_free(run: &Run) -> bool {
    // Who leads has decided every slot that a torn vote left in doubt: nobody could, were the disk lost that proposed it.
    let in_doubt_upto = run.nodes.iter().map(|node| node.maybe_upto).max().unwrap_or_default();
    let leads = |node: &Node| {
        let paxos = node.running.as_ref().map(|running| running.replica.paxos());
        paxos.is_some_and(|paxos| paxos.is_leading() && paxos.chosen_upto() >= in_doubt_upto)
    };
    run.task.is_none()
        && run.nodes.iter().all(|node| node.running.is_some())
        && run.nodes.iter().any(leads)
        && run.nodes.len() >= 3
        && everybody_votes(run)
}

/// Whether every node is a member whose disk is known, and has a vote.
pub fn everybody_votes(run: &Run) -> bool {
    let lists = &run.oracle.lists;
    let members = lists.newest().members();
    lists.is_settled()
        && members.len() == run.nodes.len()
        && members.iter().all(|member| member.is_voter() && member.incarnation.is_some())
}

/// Begins some tasks, one after the other.
pub fn begin<const COUNT: usize>(run: &mut Run, tasks: [Task; COUNT]) {
    run.tasks_ahead.extend(tasks);
    run.task = run.tasks_ahead.pop_front();
    run.world.after(MILLI, Event::Operator);
}

/// Looks at the list, and asks for what it does not say.
pub fn look(run: &mut Run) {
    let Some(task) = run.task else { return };
    let lists = &run.oracle.lists;
    let (newest, settled) = (lists.newest(), lists.is_settled());
    let mut delay = run.plan.lease;
    match task {
        Task::Remove(node) if settled && newest.member(replica(node)).is_none() => {
            run.removals += 1;
            run.task = run.tasks_ahead.pop_front();
            misfortune::lose_disk_of(run, node);
        }
        Task::Notice(node) if !run.nodes[node].is_old => run.task = run.tasks_ahead.pop_front(),
        Task::Notice(_) => {}
        Task::Remove(node) => {
            ask(run, MemberChange::Remove { replica: replica(node) });
            // In haste: the next change is asked for too, and refused until this one is in force.
            if let Some(Task::Remove(next)) = run.tasks_ahead.front().copied() {
                ask(run, MemberChange::Remove { replica: replica(next) });
                delay = IN_HASTE;
            }
        }
        Task::Join(node) => {
            let incarnation = run.nodes[node].incarnation();
            if newest.counts(replica(node), incarnation) && settled {
                run.joins += 1;
                run.task = run.tasks_ahead.pop_front();
                if run.task.is_none() {
                    run.plan.tears = run.plan.may_tear;
                    return;
                }
            }
            let (replica, addresses) = (replica(node), None);
            match newest.member(replica) {
                Some(member) if member.incarnation == Some(incarnation) => {}
                Some(_) => ask(run, MemberChange::Replace { replica, incarnation, addresses }),
                None => ask(run, MemberChange::Add { replica, incarnation, addresses }),
            }
        }
    }
    let delay = run.world.random.around(delay);
    run.world.after(delay, Event::Operator);
}

/// About as long as a chosen list takes to be in force.
const IN_HASTE: u64 = 2 * MILLI;

/// Asks everybody who takes itself for the leader: there may be two.
fn ask(run: &mut Run, change: MemberChange) {
    let leads = |node: &Node| node.running.as_ref().is_some_and(|running| running.replica.paxos().is_leader());
    for node in run.nodes.iter_mut().filter(|node| leads(node)) {
        node.happens(&mut run.world, Happening::Change(change.clone()));
    }
}

/// What an operator asks of the lists, beyond what oracles count by.
impl Lists {
    /// The list that counts from that slot on, if one does.
    pub fn beginning(&self, from: Slot) -> Option<&Config> {
        self.lists.iter().find(|(begins, _)| *begins == from).map(|(_, config)| config)
    }

    /// The newest list.
    pub fn newest(&self) -> &Config {
        &self.lists.last().expect("there is always a list").1
    }

    /// Whether the newest list is in force, and a slot was chosen under it.
    pub fn is_settled(&self) -> bool {
        self.lists.last().is_some_and(|(from, _)| *from <= self.upto)
    }
}
