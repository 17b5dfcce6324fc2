//! The super principal, as the configuration spells it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::namespace::acl::User;

/// The user above the access lists; spelt `digest:USER:DIGEST`, or `none`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SuperUser(pub Option<User>);

impl fmt::Display for SuperUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(user) => user.fmt(f),
            None => f.write_str("none"),
        }
    }
}

impl Serialize for SuperUser {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SuperUser {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|user| Self(Some(user))).map_err(de::Error::custom)
    }
}
