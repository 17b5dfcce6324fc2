//! A disk is lost, an empty one takes its place, and the question is when that one may vote.
//!
//! Two slots: a member list may be chosen in the first, which is in force in the second. Whatever was said may arrive at any
//! later moment, again and again, or never. A proposer promises to itself first.
//!
//! It begins where C's reign does: all have promised it, and nobody has voted for anything. The disk that may be lost is
//! A's, who proposes nothing.

use stateright::{Model, Property};

const REPLICAS_MAX: usize = 5;
const BALLOTS_MAX: usize = 3;
const SLOTS: usize = 2;
const DISKS: usize = 2;
/// Whose disk may be lost.
const A: usize = 0;

/// When a new disk votes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejoin {
    /// As soon as it is there.
    AtOnce,
    /// When it has seen a slot chosen that was proposed after its start.
    AfterOneSlot,
    /// When a chosen member list names it, but what is said counts for the replica, whichever disk said it.
    ByListForAnyDisk,
    /// When a chosen member list names it; from there on nothing counts that the old disk said.
    ByList,
}

#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub replicas: usize,
    pub ballots: Ballot,
    pub rejoin: Rejoin,
}

/// Counted from 1.
type Ballot = u8;

/// Everything at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct State {
    replicas: [Replica; REPLICAS_MAX],
    said: Said,
    /// A's disk was.
    lost: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Replica {
    disk: u8,
    votes: bool,
    promised: Ballot,
    voted: Votes,
}

/// What was voted for in each slot, and at which ballot.
type Votes = [Option<(Ballot, Value)>; SLOTS];

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Value {
    /// Something that the owner of that ballot came up with.
    Of(Ballot),
    /// The list that names A's new disk.
    List,
}

/// Everything that anybody ever sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
struct Said {
    asked: [bool; BALLOTS_MAX],
    promises: [[[Option<Votes>; DISKS]; REPLICAS_MAX]; BALLOTS_MAX],
    proposed: [[Option<Value>; SLOTS]; BALLOTS_MAX],
    /// The first slot was proposed after a disk was lost.
    since_loss: [bool; BALLOTS_MAX],
    /// Who voted, a bit for each, by disk.
    accepted: [[[u8; DISKS]; SLOTS]; BALLOTS_MAX],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Lose,
    Rejoin,
    Ask(Ballot),
    Promise {
        who: usize,
        ballot: Ballot,
    },
    /// With the promises of these, a bit for each; `list`: the member list, unless another value binds.
    Propose {
        ballot: Ballot,
        slot: usize,
        of: u8,
        list: bool,
    },
    Vote {
        who: usize,
        ballot: Ballot,
        slot: usize,
    },
}

impl Model for Cell {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let replica = Replica { disk: 0, votes: true, promised: 0, voted: Votes::default() };
        let mut state = State { replicas: [replica; REPLICAS_MAX], said: Said::default(), lost: false };
        state.said.asked[0] = true;
        (0..self.replicas).for_each(|who| state.promises(who, 1));
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(if state.lost { Action::Rejoin } else { Action::Lose });
        for ballot in 1..=self.ballots {
            actions.push(Action::Ask(ballot));
            actions.extend((0..self.replicas).map(|who| Action::Promise { who, ballot }));
            for slot in 0..SLOTS {
                actions.extend((0..self.replicas).map(|who| Action::Vote { who, ballot, slot }));
                for of in (1_u8..1 << self.replicas).filter(|of| self.is_quorum(*of)) {
                    actions.extend([false, true].map(|list| Action::Propose { ballot, slot, of, list }));
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = *last;
        match action {
            Action::Lose => {
                let votes = self.rejoin == Rejoin::AtOnce;
                state.replicas[A] = Replica { disk: 1, votes, promised: 0, voted: Votes::default() };
                state.lost = true;
            }
            Action::Rejoin => {
                let (ballot, value) = self.chosen(&state, 0)?;
                let replica = &mut state.replicas[A];
                (!replica.votes).then_some(())?;
                (replica.votes, replica.voted[0]) = (true, Some((ballot, value)));
                match self.rejoin {
                    Rejoin::AtOnce => return None,
                    Rejoin::AfterOneSlot => state.said.since_loss[index(ballot)].then_some(())?,
                    Rejoin::ByListForAnyDisk | Rejoin::ByList => (value == Value::List).then_some(())?,
                }
                // It knows of the ballot that it saw at work.
                state.replicas[A].promised = ballot;
            }
            Action::Ask(ballot) => {
                let who = owner(ballot);
                let replica = state.replicas[who];
                (!state.said.asked[index(ballot)] && replica.disk == 0 && replica.promised < ballot).then_some(())?;
                state.said.asked[index(ballot)] = true;
                state.promises(who, ballot);
            }
            Action::Promise { who, ballot } => {
                let replica = state.replicas[who];
                let may = state.said.asked[index(ballot)] && replica.votes && replica.promised < ballot;
                may.then_some(())?;
                state.promises(who, ballot);
            }
            Action::Propose { ballot, slot, of, list } => self.propose(&mut state, ballot, slot, (of, list))?,
            Action::Vote { who, ballot, slot } => {
                // Who missed a slot that is chosen learns it in another way.
                (slot > 0 || self.chosen(&state, 0).is_none()).then_some(())?;
                let value = state.said.proposed[index(ballot)][slot]?;
                let replica = &mut state.replicas[who];
                let newer = replica.voted[slot].is_none_or(|(before, _)| before < ballot);
                (replica.votes && replica.promised <= ballot && newer).then_some(())?;
                replica.promised = ballot;
                replica.voted[slot] = Some((ballot, value));
                state.said.accepted[index(ballot)][slot][usize::from(replica.disk)] |= 1 << who;
            }
        }
        // D and E play the same part: of two states that differ in their names alone, one is enough.
        Some(if self.replicas > 3 { state.min(state.swapped(3, 4)) } else { state })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one value a slot", |cell: &Self, state: &State| cell.chosen_is_unique(state)),
            Property::sometimes("a new disk takes part in a choice", |cell: &Self, state: &State| {
                let took_part = |ballot: Ballot| state.said.accepted[index(ballot)][1][1] > 0;
                cell.chosen(state, 1).is_some_and(|(ballot, _)| took_part(ballot))
            }),
        ]
    }
}

impl Cell {
    fn is_quorum(&self, of: u8) -> bool {
        of.count_ones() as usize == self.replicas / 2 + 1
    }

    /// The disk of a replica that counts in a slot; none: any does.
    fn disk_that_counts(&self, state: &State, slot: usize, who: usize) -> Option<usize> {
        match self.rejoin {
            Rejoin::AtOnce | Rejoin::AfterOneSlot | Rejoin::ByListForAnyDisk => None,
            Rejoin::ByList if slot == 0 || who != A => Some(0),
            Rejoin::ByList => Some(usize::from(self.chosen(state, 0).is_some_and(|(_, value)| value == Value::List))),
        }
    }

    fn propose(&self, state: &mut State, ballot: Ballot, slot: usize, (of, list): (u8, bool)) -> Option<()> {
        let leads = state.said.asked[index(ballot)] && state.replicas[owner(ballot)].disk == 0;
        let known = slot == 0 || self.chosen(state, 0).is_some();
        (leads && known && state.said.proposed[index(ballot)][slot].is_none()).then_some(())?;
        let mut voted = None;
        for who in (0..self.replicas).filter(|who| of & 1 << who > 0) {
            let told = state.said.promises[index(ballot)][who];
            let promise = match self.disk_that_counts(state, slot, who) {
                Some(disk) => told[disk],
                None => told[0].or(told[1]),
            };
            voted = voted.max(promise?[slot]);
        }
        let by_list = matches!(self.rejoin, Rejoin::ByList | Rejoin::ByListForAnyDisk);
        (!list || (state.lost && slot == 0 && by_list)).then_some(())?;
        let of_its_own = if list { Value::List } else { Value::Of(ballot) };
        state.said.proposed[index(ballot)][slot] = Some(voted.map_or(of_its_own, |(_, value)| value));
        if slot == 0 {
            state.said.since_loss[index(ballot)] = state.lost;
        }
        Some(())
    }

    fn is_chosen(&self, state: &State, slot: usize, ballot: Ballot) -> bool {
        let votes = state.said.accepted[index(ballot)][slot];
        let voted = |who: &usize| match self.disk_that_counts(state, slot, *who) {
            Some(disk) => votes[disk] & 1 << who > 0,
            None => (votes[0] | votes[1]) & 1 << who > 0,
        };
        (0..self.replicas).filter(voted).count() > self.replicas / 2
    }

    /// What a majority voted for at one ballot, the lowest of them.
    fn chosen(&self, state: &State, slot: usize) -> Option<(Ballot, Value)> {
        let ballot = (1..=self.ballots).find(|ballot| self.is_chosen(state, slot, *ballot))?;
        state.said.proposed[index(ballot)][slot].map(|value| (ballot, value))
    }

    fn chosen_is_unique(&self, state: &State) -> bool {
        (0..SLOTS).all(|slot| {
            let first = self.chosen(state, slot).map(|(_, value)| value);
            let values = (1..=self.ballots).filter(|ballot| self.is_chosen(state, slot, *ballot));
            values.map(|ballot| state.said.proposed[index(ballot)][slot]).all(|value| value == first)
        })
    }
}

impl State {
    /// The same state under other names.
    fn swapped(mut self, one: usize, other: usize) -> Self {
        self.replicas.swap(one, other);
        for promises in &mut self.said.promises {
            promises.swap(one, other);
        }
        for votes in self.said.accepted.iter_mut().flatten().flatten() {
            let (of_one, of_other) = (*votes >> one & 1, *votes >> other & 1);
            *votes = *votes & !(1 << one | 1 << other) | of_one << other | of_other << one;
        }
        self
    }

    fn promises(&mut self, who: usize, ballot: Ballot) {
        let replica = &mut self.replicas[who];
        replica.promised = ballot;
        self.said.promises[index(ballot)][who][usize::from(replica.disk)] = Some(replica.voted);
    }
}

/// The first ballot is C's, the others are B's.
fn owner(ballot: Ballot) -> usize {
    if ballot == 1 { 2 } else { 1 }
}

/// Where a ballot's row is.
fn index(ballot: Ballot) -> usize {
    usize::from(ballot) - 1
}
