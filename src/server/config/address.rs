//! Where something listens: an address in numbers, or a host's name, which is looked up when it is used.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `10.0.0.1:7400`, `[fe80::1]:7400`, or `db1.example:7400`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    host: Host,
    port: u16,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Numbers(std::net::IpAddr),
    Name(String),
}

impl Address {
    /// The address itself, if it needs no look-up.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        match &self.host {
            Host::Numbers(ip) => Some(SocketAddr::new(*ip, self.port)),
            Host::Name(_) => None,
        }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the host's name stands for now, at least one address. May take as long as the resolver does.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let name = match &self.host {
            Host::Numbers(ip) => return Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Name(name) => name.as_str(),
        };
        let found: Vec<SocketAddr> = (name, self.port).to_socket_addrs()?.collect();
        if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Numbers(address.ip()), port: address.port() }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let wrong =
            |what: &str| format!("`{text}` is no address: {what}; write 10.0.0.1:7400, [fe80::1]:7400 or host:7400");
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("it names no port"))?;
        let port = port.parse().map_err(|_| wrong("what follows the last `:` is no port"))?;
        let is_name = |part: &str| {
            let letters = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            letters && (1..=63).contains(&part.len()) && !part.starts_with('-') && !part.ends_with('-')
        };
        let parts: Vec<&str> = host.strip_suffix('.').unwrap_or(host).split('.').collect();
        if host.len() > 253 || !parts.iter().copied().all(is_name) {
            return Err(wrong("what stands before the port is no host's name"));
        }
        if parts.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(wrong("its numbers are no IPv4 address"));
        }
        Ok(Self { host: Host::Name(host.to_owned()), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Numbers(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_numbers_or_a_name_and_is_spelt_as_it_is_read() {
        for (text, literal) in [
            ("10.0.0.1:7400", true),
            ("[fe80::1]:7400", true),
            ("localhost:7400", false),
            ("db-1.rack_2.example.:0", false),
        ] {
            let address: Address = text.parse().unwrap_or_else(|why| panic!("{why}"));
            assert_eq!((address.to_string().as_str(), address.literal().is_some()), (text, literal));
        }
        for (text, cause) in [
            ("10.0.0.1", "names no port"),
            ("host:70000", "no port"),
            ("host:", "no port"),
            (":7400", "no host's name"),
            ("a b:7400", "no host's name"),
            ("10.0.0.300:7400", "no IPv4 address"),
            ("-a:1", "no host's name"),
            ("fe80::1:7400", "no host's name"),
        ] {
            let why = text.parse::<Address>().expect_err(text);
            assert!(why.contains(cause) && why.contains("host:7400"), "{text}: {why}");
        }
    }

    #[test]
    fn a_name_is_looked_up_with_its_port() {
        let found = "localhost:7400".parse::<Address>().expect("a name").resolve().expect("every host knows itself");
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 7400), "{found:?}");
        assert!("no-such-host.invalid:1".parse::<Address>().expect("a name").resolve().is_err());
    }
}
