//! Leases, elections and restarts, as `paxos` has them, with everything else left out.
//!
//! Time comes in ticks. Whatever was said may arrive at any later moment, again and again, or never. A replica promises
//! nothing while it is *bound*: for D ticks from each vote, and from each start. A leader may read for D ticks less one from
//! the proposal of the newest slot that a majority, itself among it, voted for; the one tick is what two clocks may differ.
//!
//! It begins where the first reign does: all have promised it, and nobody has voted for anything. Only a leader's clock
//! falls behind: where a follower's does, it is bound for longer, and that is never worse.

use stateright::{Model, Property};

/// A rule that is broken, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    None,
    /// A promise is gone after a restart.
    PromiseIsNotKept,
    /// Phase 1 adopts the value of the lowest ballot.
    OldestVoteIsAdopted,
    VotesOfOtherReignsCount,
    /// A lease runs from the moment at which a vote arrives.
    LeaseFromAcknowledgement,
    /// A restart is bound by nothing.
    RestartForgetsLease,
    /// Reads begin when the lease does.
    ReadsBeforeOwnEntry,
    /// A lease is as long as what it rests on, whatever clocks differ.
    NoMargin,
}

impl Bug {
    pub const ALL: [Self; 7] = [
        Self::PromiseIsNotKept,
        Self::OldestVoteIsAdopted,
        Self::VotesOfOtherReignsCount,
        Self::LeaseFromAcknowledgement,
        Self::RestartForgetsLease,
        Self::ReadsBeforeOwnEntry,
        Self::NoMargin,
    ];
}

pub const REPLICAS: usize = 3;
const QUORUM: u32 = 2;
const BALLOTS_MAX: usize = 3;
const SLOTS_MAX: usize = 3;
/// D, in ticks.
const LEASE: u8 = 2;
/// What two clocks may differ within D, in ticks.
const MARGIN: u8 = 1;

/// How much of it is looked at, and what is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub bug: Bug,
    /// Reigns there may be: that of ballot b is replica b - 1's.
    pub ballots: Ballot,
    pub slots: usize,
    pub restarts: u8,
    /// A leader's clock may fall a tick behind, once.
    pub clocks_part: bool,
}

/// Counted from 1.
type Ballot = u8;

/// Everything at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    replicas: [Replica; REPLICAS],
    said: Said,
    restarts: u8,
    /// A clock has fallen a tick behind the others.
    parted: bool,
    /// Slots that a leader has called chosen, and may have told a client of.
    acknowledged: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Replica {
    promised: Ballot,
    votes: Votes,
    /// Ticks in which it promises nobody.
    bound: u8,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Role {
    Follower,
    /// Waits for promises.
    Preparing,
    Leading(Reign),
}

/// What a leader knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Reign {
    /// Slots proposed.
    next: u8,
    /// The first slot of its own.
    first_own: u8,
    /// Ticks since the proposal of each, by its own clock.
    age: [u8; SLOTS_MAX],
    /// Whose votes arrived, a bit for each.
    heard: [u8; SLOTS_MAX],
    /// Slots it knows as chosen.
    applied: u8,
    /// Ticks for which it may still read.
    lease: u8,
}

/// A vote: the ballot it was cast at, and the reign that first proposed its value. (0, 0) is none.
type Votes = [(u8, u8); SLOTS_MAX];

/// Everything that anybody ever sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
struct Said {
    /// Ballots for which promises were asked.
    asked: [bool; BALLOTS_MAX],
    promises: [[Option<Votes>; REPLICAS]; BALLOTS_MAX],
    /// The value proposed for each slot, by the reign it comes from.
    proposed: [[u8; SLOTS_MAX]; BALLOTS_MAX],
    /// Who voted for it, a bit for each.
    accepted: [[u8; SLOTS_MAX]; BALLOTS_MAX],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// A tick passes; for all clocks, or for all but one.
    Tick(Option<usize>),
    /// The owner of a ballot asks for promises.
    Ask(Ballot),
    Promise {
        who: usize,
        ballot: Ballot,
    },
    /// The promises of these, a bit for each, are enough.
    Lead {
        ballot: Ballot,
        of: u8,
    },
    Propose(Ballot),
    /// For the next slot that is proposed at that ballot.
    Vote {
        who: usize,
        ballot: Ballot,
    },
    /// The votes of that replica at the ballot `cast` arrive at the leader of `ballot`.
    Hear {
        ballot: Ballot,
        cast: Ballot,
        who: usize,
    },
    Restart(usize),
}

impl Model for Cell {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let replica = Replica { promised: 1, votes: Votes::default(), bound: 0, role: Role::Follower };
        let (mut replicas, mut said) = ([replica; REPLICAS], Said::default());
        (said.asked[0], said.proposed[0][0]) = (true, 1);
        replicas[owner(1)].role = Role::Leading(Reign::new(0, 1));
        vec![State { replicas, said, restarts: 0, parted: false, acknowledged: 0 }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let leads = |who: &usize| matches!(state.replicas[*who].role, Role::Leading(_));
        actions.push(Action::Tick(None));
        if self.clocks_part && !state.parted {
            actions.extend((0..REPLICAS).filter(leads).map(|who| Action::Tick(Some(who))));
        }
        if state.restarts < self.restarts {
            actions.extend((0..REPLICAS).map(Action::Restart));
        }
        for ballot in 1..=self.ballots {
            actions.push(Action::Ask(ballot));
            actions.extend((0..REPLICAS).map(|who| Action::Promise { who, ballot }));
            actions.extend((1..1 << REPLICAS).map(|of| Action::Lead { ballot, of }));
            actions.push(Action::Propose(ballot));
            for who in 0..REPLICAS {
                actions.push(Action::Vote { who, ballot });
                let casts = if self.bug == Bug::VotesOfOtherReignsCount { 1..=self.ballots } else { ballot..=ballot };
                actions.extend(casts.map(|cast| Action::Hear { ballot, cast, who }));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = *last;
        match action {
            Action::Tick(behind) => Self::tick(&mut state, behind),
            Action::Ask(ballot) => {
                let replica = &mut state.replicas[owner(ballot)];
                let may = replica.bound == 0 && replica.promised < ballot && !state.said.asked[index(ballot)];
                may.then_some(())?;
                (replica.promised, replica.role) = (ballot, Role::Preparing);
                state.said.asked[index(ballot)] = true;
                state.said.promises[index(ballot)][owner(ballot)] = Some(replica.votes);
            }
            Action::Promise { who, ballot } => {
                let replica = &mut state.replicas[who];
                let may = state.said.asked[index(ballot)] && replica.bound == 0 && replica.promised < ballot;
                may.then_some(())?;
                (replica.promised, replica.role) = (ballot, Role::Follower);
                state.said.promises[index(ballot)][who] = Some(replica.votes);
            }
            Action::Lead { ballot, of } => self.lead(&mut state, ballot, of)?,
            Action::Propose(ballot) => {
                let reign = state.reign_of(ballot)?;
                let slot = usize::from(reign.next);
                (slot < self.slots).then_some(())?;
                (reign.next, reign.age[slot]) = (reign.next + 1, 0);
                state.said.proposed[index(ballot)][slot] = ballot;
            }
            Action::Vote { who, ballot } => {
                let (accepted, proposed) =
                    (&mut state.said.accepted[index(ballot)], &state.said.proposed[index(ballot)]);
                let slot = accepted.iter().position(|votes| votes & 1 << who == 0)?;
                let replica = &mut state.replicas[who];
                (proposed[slot] > 0 && replica.promised <= ballot).then_some(())?;
                if replica.promised < ballot {
                    (replica.promised, replica.role) = (ballot, Role::Follower);
                }
                (replica.votes[slot], replica.bound) = ((ballot, proposed[slot]), LEASE);
                accepted[slot] |= 1 << who;
            }
            Action::Hear { ballot, cast, who } => {
                let accepted = state.said.accepted[index(cast)];
                let reign = state.reign_of(ballot)?;
                let wanted = |slot: usize| who == owner(ballot) || !is_quorum(reign.heard[slot]);
                let told = |slot: &usize| wanted(*slot) && accepted[*slot] & !reign.heard[*slot] & 1 << who > 0;
                let new: Vec<usize> = (0..usize::from(reign.next)).filter(told).collect();
                new.first()?;
                for slot in new {
                    reign.heard[slot] |= 1 << who;
                    self.counted(reign, ballot, slot);
                }
                let applied = reign.applied;
                state.acknowledged = state.acknowledged.max(applied);
            }
            Action::Restart(who) => {
                let replica = &mut state.replicas[who];
                replica.role = Role::Follower;
                replica.bound = if self.bug == Bug::RestartForgetsLease { 0 } else { LEASE };
                if self.bug == Bug::PromiseIsNotKept {
                    replica.promised = replica.votes.iter().map(|(ballot, _)| *ballot).max().unwrap_or_default();
                }
                state.restarts += 1;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one value a slot", |_, state: &State| state.chosen_is_unique()),
            Property::always("no read is stale", |cell: &Self, state: &State| cell.reads_are_fresh(state)),
            Property::sometimes("a second reign reads", |cell: &Self, state: &State| {
                let second =
                    |ballot: Ballot| matches!(state.replicas[owner(ballot)].role, Role::Leading(r) if cell.reads(&r));
                (2..=cell.ballots).any(second) && state.said.accepted[0][0] > 0
            }),
            Property::sometimes("who restarted promises again", |_, state: &State| {
                state.restarts > 0 && state.said.promises[1].iter().flatten().count() == REPLICAS
            }),
        ]
    }
}

impl Cell {
    fn tick(state: &mut State, behind: Option<usize>) {
        state.parted |= behind.is_some();
        let shown = |(who, _): &(usize, &mut Replica)| Some(*who) != behind;
        for (_, replica) in state.replicas.iter_mut().enumerate().filter(shown) {
            replica.bound = replica.bound.saturating_sub(1);
            if let Role::Leading(reign) = &mut replica.role {
                reign.lease = reign.lease.saturating_sub(1);
                for age in &mut reign.age[..usize::from(reign.next)] {
                    *age = (*age + 1).min(LEASE);
                }
            }
        }
    }

    /// Phase 1 is done: for each slot the value of the highest ballot that the promises tell of is proposed again.
    fn lead(&self, state: &mut State, ballot: Ballot, of: u8) -> Option<()> {
        let replica = &state.replicas[owner(ballot)];
        let may = replica.role == Role::Preparing && replica.promised == ballot;
        (may && of.count_ones() == QUORUM && of & 1 << owner(ballot) > 0).then_some(())?;
        let told = &state.said.promises[index(ballot)];
        let promises: Vec<&Votes> =
            (0..REPLICAS).filter(|who| of & 1 << who > 0).map(|who| told[who].as_ref()).collect::<Option<_>>()?;
        let voted = |slot: usize| promises.iter().map(move |votes| votes[slot]).filter(|(ballot, _)| *ballot > 0);
        let first_own = (0..self.slots).rev().find(|slot| voted(*slot).next().is_some()).map_or(0, |slot| slot + 1);
        let next = self.slots.min(first_own + 1);
        for slot in 0..next {
            let adopted = if self.bug == Bug::OldestVoteIsAdopted { voted(slot).min() } else { voted(slot).max() };
            state.said.proposed[index(ballot)][slot] = adopted.map_or(ballot, |(_, value)| value);
        }
        state.replicas[owner(ballot)].role = Role::Leading(Reign::new(first_own as u8, next as u8));
        Some(())
    }

    /// A vote more for a slot: it may be chosen now, and renew the lease.
    fn counted(&self, reign: &mut Reign, ballot: Ballot, slot: usize) {
        reign.applied = reign.heard.iter().take_while(|votes| is_quorum(**votes)).count() as u8;
        if is_quorum(reign.heard[slot]) && reign.heard[slot] & 1 << owner(ballot) > 0 {
            let margin = if self.bug == Bug::NoMargin { 0 } else { MARGIN };
            let since = if self.bug == Bug::LeaseFromAcknowledgement { 0 } else { reign.age[slot] };
            reign.lease = reign.lease.max((LEASE - margin).saturating_sub(since));
        }
    }

    fn reads(&self, reign: &Reign) -> bool {
        reign.lease > 0 && (reign.applied > reign.first_own || self.bug == Bug::ReadsBeforeOwnEntry)
    }

    fn reads_are_fresh(&self, state: &State) -> bool {
        state.replicas.iter().all(|replica| match &replica.role {
            Role::Leading(reign) if self.reads(reign) => reign.applied >= state.acknowledged,
            Role::Leading(_) | Role::Preparing | Role::Follower => true,
        })
    }
}

impl Reign {
    fn new(first_own: u8, next: u8) -> Self {
        let (age, heard) = ([0; SLOTS_MAX], [0; SLOTS_MAX]);
        Self { next, first_own, age, heard, applied: 0, lease: 0 }
    }
}

impl State {
    fn reign_of(&mut self, ballot: Ballot) -> Option<&mut Reign> {
        let replica = &mut self.replicas[owner(ballot)];
        match &mut replica.role {
            Role::Leading(reign) if replica.promised == ballot => Some(reign),
            Role::Leading(_) | Role::Preparing | Role::Follower => None,
        }
    }

    fn chosen_is_unique(&self) -> bool {
        (0..SLOTS_MAX).all(|slot| {
            let chosen = |row: &usize| is_quorum(self.said.accepted[*row][slot]);
            let mut values = (0..BALLOTS_MAX).filter(chosen).map(|row| self.said.proposed[row][slot]);
            let first = values.next();
            values.all(|value| Some(value) == first)
        })
    }
}

fn is_quorum(votes: u8) -> bool {
    votes.count_ones() >= QUORUM
}

fn owner(ballot: Ballot) -> usize {
    index(ballot) % REPLICAS
}

/// Where a ballot's row is.
fn index(ballot: Ballot) -> usize {
    usize::from(ballot) - 1
}
