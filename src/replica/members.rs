//! Changes of the members, as an operator asks for them: Paxos decides, this says what came of it.

use super::Replica;
use crate::paxos::{ChangeRefusal, MemberChange};
use crate::time::Instant;
use crate::wire::members::{ChangeAnswer, Members};

impl Replica {
    /// Makes `change`, if there is one and this replica leads, and lists the members.
    pub(super) fn members(&mut self, now: Instant, change: Option<&MemberChange>) -> Members {
        let made = change.map(|change| self.paxos.change_members(now, change, &mut self.outputs));
        let leader = self.paxos.leader();
        let answer = match made {
            None => ChangeAnswer::Listed,
            Some(Ok(slot)) => ChangeAnswer::Changed { slot },
            Some(Err(refusal)) => {
                let text = match (refusal, leader) {
                    (ChangeRefusal::NotLeading, Some(leader)) if leader != self.me => {
                        format!("replica {leader} leads: ask that one")
                    }
                    _ => refusal.to_string(),
                };
                ChangeAnswer::Refused { again: refusal.may_pass(), text }
            }
        };
        let configs = self.paxos.configs();
        Members {
            leader,
            config_slot: configs.newest_slot(),
            in_force_from: configs.in_force_from(),
            chosen_upto: self.paxos.chosen_upto(),
            answer,
            members: self.paxos.members(now),
        }
    }
}
