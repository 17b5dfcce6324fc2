//! Access lists and principals as people write them.

use core::net::IpAddr;
use std::fmt;
use std::str::FromStr;

use super::{AclEntry, Principals, Rights, User, Who};

/// Every right: its bit, its letter, its name.
const RIGHTS: [(Rights, char, &str); 6] = [
    (Rights::READ, 'r', "read"),
    (Rights::WRITE, 'w', "write"),
    (Rights::CREATE, 'c', "create"),
    (Rights::DELETE, 'd', "delete"),
    (Rights::ADMIN, 'a', "admin"),
    (Rights::LOCK, 'l', "lock"),
];

impl Rights {
    /// The names of its rights, as in `read, write`.
    #[must_use]
    pub fn names(self) -> String {
        let names = RIGHTS.iter().filter(|(right, ..)| self.has_any(*right)).map(|(.., name)| *name);
        names.collect::<Vec<_>>().join(", ")
    }
}

/// Letters, as in `rw`.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RIGHTS.iter().filter(|(right, ..)| self.has_any(*right)).try_for_each(|(_, letter, _)| write!(f, "{letter}"))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

/// What [`Display`](fmt::Display) writes, or `all`.
impl FromStr for Rights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::ALL);
        }
        text.chars().try_fold(Self::NONE, |all, letter| {
            let found = RIGHTS.iter().find(|(_, known, _)| *known == letter);
            let right = found.map(|(right, ..)| *right);
            right.map(|right| all.or(right)).ok_or_else(|| {
                format!("`{letter}` is no right; rights are letters of `rwcdal` (read, write, create, delete, admin, lock), or `all`")
            })
        })
    }
}

/// `SCHEME:ID:RIGHTS`, as in `world:anyone:r`.
impl fmt::Display for AclEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.who, self.rights)
    }
}

impl FromStr for AclEntry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (who, rights) = text.rsplit_once(':').ok_or_else(|| malformed(text))?;
        Ok(Self { who: who.parse()?, rights: rights.parse()? })
    }
}

/// `SCHEME:ID`, as in `world:anyone`.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.write_str("world:anyone"),
            Self::Auth => f.write_str("auth:"),
            Self::User(user) => user.fmt(f),
            Self::Network { address, bits } if *bits == width(*address) => write!(f, "ip:{address}"),
            Self::Network { address, bits } => write!(f, "ip:{address}/{bits}"),
            Self::Group { path } => write!(f, "group:{path}"),
        }
    }
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').ok_or_else(|| malformed(text))? {
            ("world", "anyone") => Ok(Self::World),
            ("auth", "") => Ok(Self::Auth),
            ("digest", _) => text.parse().map(Self::User),
            ("ip", network) => {
                let (address, bits) = network.split_once('/').map_or((network, None), |(a, bits)| (a, Some(bits)));
                let address: IpAddr = address.parse().map_err(|_| malformed(text))?;
                let bits = bits.map_or(Ok(width(address)), |bits| bits.parse().map_err(|_| malformed(text)))?;
                if bits > width(address) { Err(malformed(text)) } else { Ok(Self::Network { address, bits }) }
            }
            ("group", path) => Ok(Self::Group { path: path.to_owned() }),
            _ => Err(malformed(text)),
        }
    }
}

/// `digest:NAME:DIGEST`, the digest in hexadecimal digits.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "digest:{}:", self.name)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.strip_prefix("digest:").and_then(|rest| rest.split_once(':'));
        let (name, digits) = parts.ok_or_else(|| malformed(text))?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!("the digest of {name} has not 64 hexadecimal digits; `quorate acl digest` prints it"));
        }
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| malformed(text))?;
        }
        Ok(Self { name: name.to_owned(), digest })
    }
}

impl Principals {
    /// Each of them as an access list names it, in words.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let address = self.address.map(|address| Who::Network { address, bits: width(address) }.to_string());
        let mut names: Vec<_> = self.users.iter().map(User::to_string).chain(address).collect();
        names.push(Who::World.to_string());
        if self.is_super {
            names.insert(0, "super".to_owned());
        }
        names
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn malformed(text: &str) -> String {
    format!(
        "`{text}` names nobody; write world:anyone, auth:, digest:USER:DIGEST, ip:ADDRESS, ip:ADDRESS/BITS or \
         group:/acl/NAME"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_are_written() {
        let alice = User::new("alice", "secret");
        for text in [
            "world:anyone:r".to_owned(),
            "auth::rwcdal".to_owned(),
            format!("{alice}:rwl"),
            "ip:10.0.0.0/8:rw".to_owned(),
            "ip:10.0.0.1:rw".to_owned(),
            "ip:fd00::1:a".to_owned(),
            "ip:fd00::/64:a".to_owned(),
            "group:/acl/ops:cd".to_owned(),
            "group:/acl/o:p:s:cd".to_owned(),
        ] {
            let entry: AclEntry = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(entry.to_string(), text);
        }
        assert_eq!("world:anyone:all".parse::<AclEntry>().map(|entry| entry.rights), Ok(Rights::ALL));
        assert_eq!("ip:1.2.3.4/32".parse::<Who>().map(|who| who.to_string()), Ok("ip:1.2.3.4".to_owned()));
    }

    #[test]
    fn what_names_nobody_is_refused_with_its_cure() {
        for (text, cure) in [
            ("", "write world:anyone"),
            ("world", "write world:anyone"),
            ("world:r", "write world:anyone"),
            ("world:anyone:x", "letters of `rwcdal`"),
            ("auth:me:r", "write world:anyone"),
            ("digest:alice:12:r", "64 hexadecimal digits"),
            ("ip:10.0.0.0/33:r", "ip:ADDRESS/BITS"),
            ("ip:here:r", "ip:ADDRESS"),
            ("sasl:alice:r", "write world:anyone"),
        ] {
            let Err(why) = text.parse::<AclEntry>() else { panic!("{text:?} names somebody") };
            assert!(why.contains(cure), "{text:?}: {why}");
        }
    }
}
