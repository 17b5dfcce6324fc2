//! Access lists and principals, drawn at random.

use core::net::IpAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::text;
use crate::namespace::acl::{Acl, AclEntry, Principals, Rights, User, Who};

pub fn address() -> impl Strategy<Value = Option<IpAddr>> {
    option::of(any::<IpAddr>())
}

pub fn user() -> impl Strategy<Value = User> {
    (text(), any::<[u8; 32]>()).prop_map(|(name, digest)| User { name, digest })
}

pub fn rights() -> impl Strategy<Value = Rights> {
    (0..=Rights::ALL.bits()).prop_map(|bits| Rights::of_bits(bits).expect("every bit is a right"))
}

pub fn acl() -> impl Strategy<Value = Acl> {
    let who = prop_oneof![
        Just(Who::World),
        Just(Who::Auth),
        user().prop_map(Who::User),
        (any::<IpAddr>(), any::<u8>()).prop_map(|(address, bits)| Who::Network { address, bits }),
        text().prop_map(|path| Who::Group { path }),
    ];
    let entry = (who, rights()).prop_map(|(who, rights)| AclEntry { who, rights });
    (vec(entry, 0..6), any::<bool>()).prop_map(|(entries, inherit)| Acl { entries, inherit })
}

pub fn principals() -> impl Strategy<Value = Principals> {
    (address(), vec(user(), 0..4), any::<bool>()).prop_map(|(address, users, is_super)| Principals {
        address,
        users,
        is_super,
    })
}
