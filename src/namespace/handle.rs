//! Handles: what a client holds of a node it has opened.

use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

use bytes::Bytes;

use super::acl::Acl;
use super::command::{Lifetime, Revision, SessionId};

/// Proof that a session has opened one instance of a node, and for what.
///
/// It can be used by whoever it was shown to, from any session, as long as the session that opened it keeps it open and that
/// instance of the node is there. The check digits are made with a key that no client knows, so nobody can make one up.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Handle {
    /// The node, as the cell calls it.
    pub path: String,
    /// Which node of that name.
    pub instance: u64,
    /// Who opened it.
    pub session: SessionId,
    /// When: no two handles were opened at the same revision.
    pub opened: Revision,
    /// In which leader's reign. Greater than that of any earlier reign; a handle outlives the one it was made in.
    pub reign: u64,
    /// For what.
    pub mode: HandleMode,
    /// Check digits of all the others.
    pub digits: u64,
}

/// What a handle may be used for. A handle of [`NONE`](Self::NONE) keeps its node open, and no more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HandleMode(u8);

/// The node to be made where there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Birth {
    /// What it holds at first.
    pub data: Bytes,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// The log appends a number to its name.
    pub sequential: bool,
    /// There must be none: to open one that is there is refused.
    pub must: bool,
    /// The access list it is made with; without one it gets the list that its parent hands on, if it does.
    pub acl: Option<Acl>,
}

/// A text that is no handle.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is no handle: give it as it was printed")]
pub struct NotAHandle {
    /// The text.
    pub text: String,
}

impl HandleMode {
    /// For nothing.
    pub const NONE: Self = Self(0);
    /// To read its data, its stat and the names below it.
    pub const READ: Self = Self(1);
    /// To write its data, to delete it, and to make nodes below it.
    pub const WRITE: Self = Self(2);
    /// To take its lock.
    pub const LOCK: Self = Self(4);
    /// To bound what it and all below it may come to.
    pub const ADMIN: Self = Self(8);
    /// For all of it.
    pub const ALL: Self = Self(15);

    /// The mode of these bits; `None` if one of them means nothing.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// One bit for each thing.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all that is in `other` is in this one.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for HandleMode {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for HandleMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().filter(|(mode, _)| self.contains(*mode)).map(|(_, name)| *name);
        let names: Vec<_> = names.collect();
        f.write_str(if names.is_empty() { "nothing" } else { "" })?;
        f.write_str(&names.join("+"))
    }
}

impl fmt::Debug for HandleMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, instance, session, opened, reign, mode, digits } = self;
        write!(f, "{instance:x}.{:x}.{opened:x}.{reign:x}.{:x}.{digits:016x}:{path}", session.0, mode.0)
    }
}

impl FromStr for Handle {
    type Err = NotAHandle;

    fn from_str(text: &str) -> Result<Self, NotAHandle> {
        let parse = || {
            let (numbers, path) = text.split_once(':')?;
            let numbers: Vec<_> = numbers.split('.').map(|number| u64::from_str_radix(number, 16).ok()).collect();
            let [instance, session, opened, reign, mode, digits] = numbers[..] else { return None };
            let handle = Self {
                path: path.to_owned(),
                instance: instance?,
                session: SessionId(session?),
                opened: opened?,
                reign: reign?,
                mode: HandleMode::from_bits(u8::try_from(mode?).ok()?)?,
                digits: digits?,
            };
            // One form only: what was printed.
            (handle.to_string() == text).then_some(handle)
        };
        parse().ok_or_else(|| NotAHandle { text: text.to_owned() })
    }
}

const NAMES: [(HandleMode, &str); 4] = [
    (HandleMode::READ, "read"),
    (HandleMode::WRITE, "write"),
    (HandleMode::LOCK, "lock"),
    (HandleMode::ADMIN, "admin"),
];
