//! Access lists, principals and addresses.

use core::net::IpAddr;

use bytes::{BufMut, BytesMut};

use super::reader::{DecodeError, Reader, put_maybe, put_text};
use crate::limits::{ACL_ENTRIES_MAX, SESSION_USERS_MAX};
use crate::namespace::acl::{Acl, AclEntry, Principals, Rights, User, Who};

impl Acl {
    pub(in crate::namespace) fn put(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.inherit));
        out.put_u32_le(u32::try_from(self.entries.len()).expect("a request bounds them far below 2^32"));
        for AclEntry { who, rights } in &self.entries {
            who.put(out);
            out.put_u8(rights.bits());
        }
    }

    pub(in crate::namespace) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let inherit = reader.bool("the mark of an inherited list")?;
        let count = reader.count("entries of an access list", ENTRIES_DECODED_MAX, ENTRY_BYTES_MIN)?;
        let entry = |reader: &mut Reader<'_>| Ok(AclEntry { who: Who::take(reader)?, rights: Rights::take(reader)? });
        let entries = (0..count).map(|_| entry(reader)).collect::<Result<_, DecodeError>>()?;
        Ok(Self { entries, inherit })
    }

    /// Bytes of its encoding, rounded up a little.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |entry: &AclEntry| match &entry.who {
            Who::World | Who::Auth | Who::Network { .. } => 24,
            Who::User(user) => 48 + user.name.len(),
            Who::Group { path } => 16 + path.len(),
        };
        16 + self.entries.iter().map(bytes).sum::<usize>()
    }
}

impl Rights {
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::of_bits(reader.u8("rights")?).ok_or(DecodeError::NotCanonical { what: "a set of rights" })
    }
}

impl Who {
    fn put(&self, out: &mut BytesMut) {
        match self {
            Self::World => out.put_u8(WORLD),
            Self::Auth => out.put_u8(AUTH),
            Self::User(user) => {
                out.put_u8(USER);
                user.put(out);
            }
            Self::Network { address, bits } => {
                out.put_u8(NETWORK);
                put_address(out, Some(*address));
                out.put_u8(*bits);
            }
            Self::Group { path } => {
                out.put_u8(GROUP);
                put_text(out, path);
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8("somebody")? {
            WORLD => Self::World,
            AUTH => Self::Auth,
            USER => Self::User(User::take(reader)?),
            NETWORK => {
                let address = take_address(reader)?.ok_or(DecodeError::NotCanonical { what: "a network" })?;
                Self::Network { address, bits: reader.u8("bits of an address")? }
            }
            GROUP => Self::Group { path: reader.text("a path")?.to_owned() },
            tag => return Err(DecodeError::UnknownTag { what: "somebody", tag }),
        })
    }
}

impl User {
    pub(super) fn put(&self, out: &mut BytesMut) {
        put_text(out, &self.name);
        out.put_slice(&self.digest);
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = reader.text("a user's name")?.to_owned();
        let mut digest = [0; 32];
        for half in digest.chunks_exact_mut(16) {
            half.copy_from_slice(&reader.u128("a digest")?.to_le_bytes());
        }
        Ok(Self { name, digest })
    }
}

impl Principals {
    pub(in crate::namespace) fn put(&self, out: &mut BytesMut) {
        put_address(out, self.address);
        out.put_u8(u8::from(self.is_super));
        out.put_u8(u8::try_from(self.users.len()).expect("a session's users are few"));
        self.users.iter().for_each(|user| user.put(out));
    }

    pub(in crate::namespace) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let address = take_address(reader)?;
        let is_super = reader.bool("the mark of the super principal")?;
        let count = usize::from(reader.u8("a count of users")?);
        if count > SESSION_USERS_MAX {
            return Err(DecodeError::TooMany { what: "users of a session", count, limit: SESSION_USERS_MAX });
        }
        let users = (0..count).map(|_| User::take(reader)).collect::<Result<_, _>>()?;
        Ok(Self { address, users, is_super })
    }
}

pub(super) fn put_address(out: &mut BytesMut, address: Option<IpAddr>) {
    put_maybe(out, address, |out, address| match address {
        IpAddr::V4(address) => {
            out.put_u8(4);
            out.put_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.put_u8(6);
            out.put_slice(&address.octets());
        }
    });
}

pub(super) fn take_address(reader: &mut Reader<'_>) -> Result<Option<IpAddr>, DecodeError> {
    reader.maybe("an address", |reader| match reader.u8("a kind of address")? {
        4 => Ok(IpAddr::from(reader.u32("an address")?.to_le_bytes())),
        6 => Ok(IpAddr::from(reader.u128("an address")?.to_le_bytes())),
        tag => Err(DecodeError::UnknownTag { what: "address", tag }),
    })
}

const WORLD: u8 = 1;
const AUTH: u8 = 2;
const USER: u8 = 3;
const NETWORK: u8 = 4;
const GROUP: u8 = 5;

/// More than are allowed, so that a few too many are refused by name; few enough to cost no memory.
const ENTRIES_DECODED_MAX: usize = 16 * ACL_ENTRIES_MAX;

/// Everybody, and rights.
const ENTRY_BYTES_MIN: usize = 2;
