//! The slot that a leader stands before because phase 1 tells too little of it: what is known, for whoever can mend it.
//!
//! Such a slot waits for ever unless somebody brings back what is missing, and every later slot waits with it. So it is told
//! which members were heard, what each of them said, and what would help.

use std::fmt;

use super::Paxos;
use super::ballot::{Ballot, ReplicaId, Slot};
use super::prepare::Decision;
use crate::limits::SLOT_WINDOW;

/// A slot that can be neither proposed again nor filled, and what its voters told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undecided {
    /// The slot.
    pub slot: Slot,
    /// Each voter of its list, in order of their ids.
    pub told: Vec<(ReplicaId, Told)>,
}

/// What a voter told of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// No disk of it was ever met: it has no vote there.
    Unmet,
    /// Its disk has not promised, or its promise has not arrived.
    Nothing,
    /// The slot is chosen, and it has the value.
    Chosen,
    /// It never voted there.
    Never,
    /// It cannot say whether it voted.
    Unknown,
    /// It voted at that ballot, and has the value.
    Have(Ballot),
    /// It voted at that ballot, and the value is damaged.
    Lost(Ballot),
    /// It may have voted at that ballot; the value is torn or damaged.
    Maybe(Ballot),
}

impl Undecided {
    /// What an operator can do about it.
    #[must_use]
    pub fn mend(&self) -> String {
        let silent = self.those(|told| told == Told::Nothing);
        let damaged = self.those(|told| matches!(told, Told::Unknown | Told::Lost(_) | Told::Maybe(_)));
        if !self.those(|told| told == Told::Chosen).is_empty() {
            "its value is being fetched: look at the links between the replicas".to_owned()
        } else if !silent.is_empty() {
            format!(
                "start replica {silent} with its folder as it is, or mend the way to it; should that folder be lost, only a \
                 snapshot brings the cell back: quorate snapshot restore"
            )
        } else if !damaged.is_empty() {
            format!(
                "every voter has answered: unless the disk of replica {damaged} can be made to read again what it has lost, \
                 only a snapshot brings the cell back: quorate snapshot restore"
            )
        } else {
            "every voter has answered, and nothing is damaged: it should pass by itself".to_owned()
        }
    }

    fn those(&self, which: impl Fn(Told) -> bool) -> String {
        let those = self.told.iter().filter(|(_, told)| which(*told));
        those.map(|(replica, _)| replica.to_string()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {} cannot be decided", self.slot)?;
        for (index, (replica, told)) in self.told.iter().enumerate() {
            let before = if index == 0 { ": " } else { "; " };
            write!(f, "{before}replica {replica} {told}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmet => f.write_str("was never met and has no vote"),
            Self::Nothing => f.write_str("has not answered"),
            Self::Chosen => f.write_str("knows what was chosen"),
            Self::Never => f.write_str("accepted nothing there"),
            Self::Unknown => f.write_str("cannot tell, its log is damaged there"),
            Self::Have(ballot) => write!(f, "holds what it accepted at ballot {ballot}"),
            Self::Lost(ballot) => write!(f, "accepted something at ballot {ballot}, and its disk has lost it"),
            Self::Maybe(ballot) => {
                write!(f, "may have accepted something at ballot {ballot}, torn or damaged on its disk")
            }
        }
    }
}

impl Paxos {
    /// The slot that this replica, leading, cannot go beyond before it is told more of it. None as a rule, or for the time
    /// that a promise takes.
    #[must_use]
    pub fn undecided(&self) -> Option<Undecided> {
        let (_, leading) = self.leading()?;
        let slot = leading.next;
        let asks = || {
            !leading.promises.is_quorum(&self.configs, slot) || slot <= leading.recovered_upto && self.waits_for(slot)
        };
        if !self.window_is_open(slot) || !asks() {
            return None;
        }
        let voters = self.configs.at(slot).voters();
        let told = voters.map(|voter| (voter.replica, leading.promises.told_by(voter, slot, &self.configs)));
        Some(Undecided { slot, told: told.collect() })
    }

    /// Slots of phase 1 that cannot be decided with what has been told, of those that come next: how many follow them no log
    /// bounds.
    pub(super) fn waiting(&self) -> Vec<Slot> {
        let Some((_, leading)) = self.leading() else { return Vec::new() };
        let last = leading.recovered_upto.min(leading.next.plus(SLOT_WINDOW - 1));
        (leading.next.0..=last.0).map(Slot).filter(|slot| self.waits_for(*slot)).collect()
    }

    /// Whether a leader cannot decide that slot with what it has been told.
    fn waits_for(&self, slot: Slot) -> bool {
        self.leading().is_some_and(|(_, leading)| {
            !self.log.is_chosen(slot) && leading.promises.decide(slot, &self.configs, &self.log) == Decision::Wait
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undecided(told: &[Told]) -> Undecided {
        let told = told.iter().zip(1..).map(|(told, id)| (ReplicaId(id), *told)).collect();
        Undecided { slot: Slot(7), told }
    }

    const BALLOT: Ballot = Ballot { round: 4, replica: ReplicaId(2) };

    #[test]
    fn it_is_told_who_said_what() {
        let said = undecided(&[Told::Nothing, Told::Lost(BALLOT), Told::Never]).to_string();
        assert_eq!(
            said,
            "slot 7 cannot be decided: replica 1 has not answered; replica 2 accepted something at ballot 4.2, and its \
             disk has lost it; replica 3 accepted nothing there"
        );
    }

    #[test]
    fn what_would_help_depends_on_who_is_missing() {
        let mend = |told: &[Told]| undecided(told).mend();
        let missing = mend(&[Told::Nothing, Told::Maybe(BALLOT), Told::Nothing]);
        assert!(missing.contains("start replica 1, 3 with its folder as it is"), "{missing}");
        let damaged = mend(&[Told::Never, Told::Unknown, Told::Lost(BALLOT)]);
        assert!(damaged.contains("the disk of replica 2, 3") && !damaged.contains("start replica"), "{damaged}");
        let fetched = mend(&[Told::Nothing, Told::Chosen, Told::Unknown]);
        assert!(fetched.contains("being fetched") && !fetched.contains("snapshot"), "{fetched}");
        let odd = mend(&[Told::Never, Told::Unmet, Told::Have(BALLOT)]);
        assert!(odd.contains("by itself"), "{odd}");
    }
}
