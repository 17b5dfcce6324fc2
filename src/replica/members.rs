//! Changes of the members, as an operator asks for them: Paxos decides, this says what came of it.

use super::Replica;
use crate::limits::NAME_BYTES_MAX;
use crate::paxos::{ChangeRefusal, MemberChange};
use crate::time::Instant;
use crate::wire::members::{ChangeAnswer, Members};

impl Replica {
    /// Makes `change`, if there is one and this replica leads, and lists the members.
    pub(super) fn members(&mut self, now: Instant, change: Option<&MemberChange>) -> Members {
        let misfit = change.and_then(misfit);
        let change = change.filter(|_| misfit.is_none());
        let made = change.map(|change| self.paxos.change_members(now, change, &mut self.outputs));
        let leader = self.paxos.leader();
        let answer = match made {
            None => misfit.map_or(ChangeAnswer::Listed, |text| ChangeAnswer::Refused { again: false, text }),
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

/// What is wrong with the addresses of a newcomer: they go into the log, and every replica must be able to use them.
fn misfit(change: &MemberChange) -> Option<String> {
    let (MemberChange::Add { addresses, .. } | MemberChange::Replace { addresses, .. }) = change else { return None };
    let told = addresses.iter().flat_map(|addresses| [&addresses.peer, &addresses.client]);
    let wrong = told.into_iter().find(|text| !is_address(text))?;
    let shown: String = wrong.chars().take(80).collect();
    Some(format!("`{shown}` is no address: write host:port, or [v6]:port, in at most {NAME_BYTES_MAX} bytes"))
}

/// `host:port`, or `[v6]:port`.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let numbers = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = |host: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !host.is_empty() && host.chars().all(fits)
    };
    let is_host = numbers.map_or_else(|| named(host), is_v6);
    text.len() <= NAME_BYTES_MAX && is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The letters of one: what it leads to is found out by whoever dials it.
fn is_v6(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    text.chars().all(fits) && (text.contains("::") || text.split(':').count() == 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_nobody_can_use_stays_out_of_the_log() {
        for text in ["a:1", "ten.example:7401", "10.0.0.1:7400", "[fe80::1]:65535", "a_b-c.d:7"] {
            assert!(is_address(text), "{text}");
        }
        let long = format!("{}:7400", "a".repeat(300));
        for text in ["", "a", "a:", ":7", "a:0", "a:65536", "a b:7", "fe80::1:7", "[fe80::1]", "[a]:7", "a/b:7", &long]
        {
            assert!(!is_address(text), "{text}");
        }
    }
}
