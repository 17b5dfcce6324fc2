//! What a list and an identity must be before they enter the tree, and whom an entry names.

use core::net::IpAddr;

use super::{Acl, AclEntry, GROUPS, Principals, Rights, User, Who};
use crate::limits::{ACL_ENTRIES_MAX, PRINCIPAL_NAME_BYTES_MAX};
use crate::namespace::command::Refusal;
use crate::namespace::path::{self, too_large};

impl Acl {
    /// The list as it is stored when whoever is `who` sets it.
    pub(in crate::namespace) fn settled(mut self, who: &Principals) -> Result<Self, Refusal> {
        if self.entries.iter().any(|entry| entry.who == Who::Auth) {
            let given = self.entries.extract_if(.., |entry| entry.who == Who::Auth);
            let rights = given.fold(Rights::NONE, |all, entry| all.or(entry.rights));
            if who.users.is_empty() {
                return Err(bad("`auth:` names whoever sets the list, and this session is nobody: authenticate first"));
            }
            self.entries.extend(who.users.iter().map(|user| AclEntry { who: Who::User(user.clone()), rights }));
        }
        if self.entries.is_empty() {
            return Err(bad("a list without entries shuts everybody out: give it one, or take the list away"));
        }
        if self.entries.len() > ACL_ENTRIES_MAX {
            return Err(too_large("entries in the access list", self.entries.len(), ACL_ENTRIES_MAX));
        }
        self.entries.iter().try_for_each(AclEntry::check)?;
        Ok(self)
    }
}

impl AclEntry {
    fn check(&self) -> Result<(), Refusal> {
        if self.rights == Rights::NONE {
            return Err(bad("an entry of the access list gives no right: give one, or leave it out"));
        }
        match &self.who {
            Who::World | Who::Auth => Ok(()),
            Who::User(user) => user.check(),
            Who::Network { address, bits } => {
                let limit = if address.is_ipv4() { 32 } else { 128 };
                if *bits > limit {
                    return Err(too_large("bits of an address", usize::from(*bits), usize::from(limit)));
                }
                Ok(())
            }
            Who::Group { path } => {
                path::check(path)?;
                if path::parent(path) != Some(GROUPS) {
                    return Err(bad(&format!("the group {path} is not right below {GROUPS}: groups are kept there")));
                }
                Ok(())
            }
        }
    }
}

impl User {
    pub(in crate::namespace) fn check(&self) -> Result<(), Refusal> {
        if self.name.len() > PRINCIPAL_NAME_BYTES_MAX {
            return Err(too_large("bytes in a user's name", self.name.len(), PRINCIPAL_NAME_BYTES_MAX));
        }
        if self.name.is_empty() || self.name.contains(|letter: char| letter == ':' || letter.is_control()) {
            let why = format!("the user's name {:?} is empty, or holds a colon or a control character", self.name);
            return Err(bad(&format!("{why}: choose another")));
        }
        Ok(())
    }
}

impl Principals {
    /// Whether it is somebody whom `who`, which is no group, names.
    pub(in crate::namespace) fn are(&self, who: &Who) -> bool {
        match who {
            Who::World => true,
            Who::User(user) => self.users.contains(user),
            Who::Network { address, bits } => self.address.is_some_and(|own| shares_bits(own, *address, *bits)),
            Who::Auth | Who::Group { .. } => false,
        }
    }
}

/// Whether two addresses have their first bits in common.
pub(super) fn shares_bits(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let (one, other, width) = match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(u32::from(one)), u128::from(u32::from(other)), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (u128::from(one), u128::from(other), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    (one ^ other).checked_shr(width - u32::from(bits).min(width)).unwrap_or(0) == 0
}

fn bad(why: &str) -> Refusal {
    Refusal::BadArgument { why: why.to_owned() }
}
