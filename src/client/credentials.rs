//! Who the client can prove to be.

use std::fmt;
use std::str::FromStr;

use super::error::{Error, Result};
use crate::namespace::acl::User;

/// A user's name and password. What prints it shows the name alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    name: String,
    password: String,
}

impl Credentials {
    /// A user with a password. The cell keeps the digest of both.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned() }
    }

    /// The user as access lists name it, and as the cell's configuration names its super principal.
    #[must_use]
    pub fn user(&self) -> User {
        User::new(&self.name, &self.password)
    }

    pub(super) fn parts(&self) -> (&str, &str) {
        (&self.name, &self.password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.name)
    }
}

/// `digest:USER:PASSWORD`.
impl FromStr for Credentials {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.strip_prefix("digest:").and_then(|rest| rest.split_once(':'));
        // The text may hold a password: it is not repeated.
        let (name, password) = parts.filter(|(name, _)| !name.is_empty()).ok_or_else(|| Error::BadArgument {
            why: "credentials are written digest:USER:PASSWORD; no other scheme is proved by a client".to_owned(),
        })?;
        Ok(Self::new(name, password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_hold_colons_and_is_never_shown() {
        let credentials: Credentials = "digest:alice:pass:word".parse().expect("as it should be");
        assert_eq!(credentials.parts(), ("alice", "pass:word"));
        assert_eq!(format!("{credentials:?}"), "Credentials(alice)");
        for text in ["alice:word", "digest:alice", "digest::word", "sasl:alice:word"] {
            let error = text.parse::<Credentials>().expect_err(text).to_string();
            assert!(error.contains("digest:USER:PASSWORD") && !error.contains("word"), "{error}");
        }
    }
}
