//! The list of members, as operators see it and change it.
#![deny(missing_docs)]

use bytes::{BufMut, BytesMut};

use super::client::{put_leader, take_leader};
use crate::limits::REPLICAS_MAX;
use crate::namespace::codec::{DecodeError, Reader, put_maybe, put_text};
use crate::paxos::ballot::{Incarnation, ReplicaId, Slot};
use crate::paxos::{Addresses, Member, MemberChange, MemberStatus, Standing};

/// The members as one replica knows them, and what it made of the change it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Members {
    /// Who leads, as far as it knows.
    pub leader: Option<ReplicaId>,
    /// The slot of the list's entry; 0 for the operator's.
    pub config_slot: Slot,
    /// The first slot that the list is in force for.
    pub in_force_from: Slot,
    /// Everything up to here is chosen.
    pub chosen_upto: Slot,
    /// What became of the change.
    pub answer: ChangeAnswer,
    /// The list. What it says of how its members are, only a leader knows.
    pub members: Vec<MemberStatus>,
}

/// What became of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChangeAnswer {
    /// None was asked for.
    Listed,
    /// It is proposed in that slot, or was made there before. A proposal can still be lost with its leader.
    Changed {
        /// The slot of the new list.
        slot: Slot,
    },
    /// It is not.
    Refused {
        /// It may be, a little later, or by another replica.
        again: bool,
        /// Why not, and how to mend it.
        text: String,
    },
    /// It is not: only the cell's super principal changes the members.
    NotAuthorized,
}

impl Members {
    pub(super) fn put(&self, out: &mut BytesMut) {
        put_leader(out, self.leader);
        out.put_u64_le(self.config_slot.0);
        out.put_u64_le(self.in_force_from.0);
        out.put_u64_le(self.chosen_upto.0);
        match &self.answer {
            ChangeAnswer::Listed => out.put_u8(0),
            ChangeAnswer::Changed { slot } => {
                out.put_u8(1);
                out.put_u64_le(slot.0);
            }
            ChangeAnswer::Refused { again, text } => {
                out.put_u8(2);
                out.put_u8(u8::from(*again));
                put_text(out, text);
            }
            ChangeAnswer::NotAuthorized => out.put_u8(3),
        }
        out.put_u32_le(u32::try_from(self.members.len()).expect("a cell has a handful of members"));
        for MemberStatus { member, answers, chosen_upto } in &self.members {
            out.put_u8(member.replica.0);
            put_maybe(out, member.incarnation, |out, incarnation| out.put_u128_le(incarnation.0));
            out.put_u8(u8::from(member.is_voter()));
            put_addresses(out, member.addresses.as_ref());
            out.put_u8(u8::from(*answers));
            out.put_u64_le(chosen_upto.0);
        }
    }

    pub(super) fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let leader = take_leader(f)?;
        let (config_slot, in_force_from) = (Slot(f.u64("config_slot")?), Slot(f.u64("in_force_from")?));
        let chosen_upto = Slot(f.u64("chosen_upto")?);
        let answer = match f.u8("answer")? {
            0 => ChangeAnswer::Listed,
            1 => ChangeAnswer::Changed { slot: Slot(f.u64("slot")?) },
            2 => ChangeAnswer::Refused { again: f.bool("again")?, text: f.text("text")?.to_owned() },
            3 => ChangeAnswer::NotAuthorized,
            tag => return Err(DecodeError::UnknownTag { what: "answer", tag }),
        };
        let count = f.count("members", REPLICAS_MAX, 13)?;
        let members = (0..count).map(|_| take_member(f)).collect::<Result<_, _>>()?;
        Ok(Self { leader, config_slot, in_force_from, chosen_upto, answer, members })
    }
}

fn take_member(f: &mut Reader<'_>) -> Result<MemberStatus, DecodeError> {
    let replica = ReplicaId(f.u8("replica")?);
    let incarnation = f.maybe("incarnation", |f| f.u128("incarnation").map(Incarnation))?;
    let standing = if f.bool("voter")? { Standing::Voter } else { Standing::Learner };
    let addresses = take_addresses(f)?;
    let member = Member { replica, incarnation, standing, addresses };
    Ok(MemberStatus { member, answers: f.bool("answers")?, chosen_upto: Slot(f.u64("chosen_upto")?) })
}

pub(super) fn put_change(out: &mut BytesMut, change: &MemberChange) {
    let mut newcomer = |tag: u8, replica: ReplicaId, incarnation: Incarnation, addresses: Option<&Addresses>| {
        out.put_slice(&[tag, replica.0]);
        out.put_u128_le(incarnation.0);
        put_addresses(out, addresses);
    };
    match change {
        MemberChange::Add { replica, incarnation, addresses } => {
            newcomer(0, *replica, *incarnation, addresses.as_ref())
        }
        MemberChange::Replace { replica, incarnation, addresses } => {
            newcomer(1, *replica, *incarnation, addresses.as_ref())
        }
        MemberChange::Remove { replica } => out.put_slice(&[2, replica.0]),
    }
}

pub(super) fn take_change(f: &mut Reader<'_>) -> Result<MemberChange, DecodeError> {
    let tag = f.u8("change")?;
    let replica = ReplicaId(f.u8("replica")?);
    if replica.0 == 0 || replica.0 > REPLICA_ID_MAX {
        return Err(DecodeError::UnknownTag { what: "replica", tag: replica.0 });
    }
    match tag {
        0 | 1 => {
            let incarnation = Incarnation(f.u128("incarnation")?);
            let addresses = take_addresses(f)?;
            Ok(match tag {
                0 => MemberChange::Add { replica, incarnation, addresses },
                _ => MemberChange::Replace { replica, incarnation, addresses },
            })
        }
        2 => Ok(MemberChange::Remove { replica }),
        tag => Err(DecodeError::UnknownTag { what: "change", tag }),
    }
}

fn put_addresses(out: &mut BytesMut, addresses: Option<&Addresses>) {
    put_maybe(out, addresses, |out, addresses| {
        put_text(out, &addresses.peer);
        put_text(out, &addresses.client);
    });
}

fn take_addresses(f: &mut Reader<'_>) -> Result<Option<Addresses>, DecodeError> {
    f.maybe("addresses", |f| Ok(Addresses { peer: f.text("peer")?.into(), client: f.text("client")?.into() }))
}

const REPLICA_ID_MAX: u8 = 63;
