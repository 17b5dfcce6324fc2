//! Connect strings: where a cell is, and how to use it.

use std::str::FromStr;
use std::time::Duration;

use super::error::Error;
use super::machine::Prefer;
use crate::paxos::ballot::CellId;

/// The port of a replica for clients, where none is named.
pub const DEFAULT_PORT: u16 = 7400;

/// What a connect string says.
///
/// ```text
/// quorate://host1:7400,host2,[::1]:7400/root/of/paths?session=10s&cell=0123...cdef&prefer=leader
/// host1:7400,host2:7400
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// `host:port` of each replica named.
    pub endpoints: Vec<String>,
    /// What the client's paths are below; empty for the tree's own root.
    pub chroot: String,
    /// The session timeout asked for.
    pub session_timeout: Option<Duration>,
    /// The cell meant.
    pub cell: Option<CellId>,
    /// Whom to connect to.
    pub prefer: Option<Prefer>,
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = match text.split_once("://") {
            Some(("quorate", rest)) => rest,
            Some((scheme, _)) => return Err(bad(format!("`{scheme}://` is not ours"))),
            None => text,
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, chroot) = place.find('/').map_or((place, ""), |at| place.split_at(at));
        let endpoints = hosts.split(',').map(endpoint).collect::<Result<_, _>>()?;
        let chroot = parse_chroot(chroot)?;
        let mut target = Self { endpoints, chroot, session_timeout: None, cell: None, prefer: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| bad(format!("`{pair}` has no `=`")))?;
            match name {
                "session" => target.session_timeout = Some(parse_duration(value)?),
                "cell" => target.cell = Some(parse_cell(value)?),
                "prefer" => target.prefer = Some(parse_prefer(value)?),
                _ => return Err(bad(format!("`{name}` is not an option; there are session, cell and prefer"))),
            }
        }
        Ok(target)
    }
}

fn endpoint(text: &str) -> Result<String, Error> {
    let text = text.trim();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| bad(format!("`{text}` lacks its `]`")))?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| bad(format!("`{host}` is not an IPv6 address")))?;
            let port = match rest {
                "" => None,
                _ => Some(rest.strip_prefix(':').ok_or_else(|| bad(format!("`{rest}` stands where a port should")))?),
            };
            (format!("[{host}]"), port)
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            if port.is_some_and(|port| port.contains(':')) {
                return Err(bad(format!("`{text}` has too many `:`; write an IPv6 address in brackets")));
            }
            (host.to_owned(), port)
        }
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(bad(format!("`{text}` names no host")));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => {
            port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(|| bad(format!("`{port}` is not a port")))?
        }
    };
    Ok(format!("{host}:{port}"))
}

/// A root as it is put in front of paths: without a slash at its end.
pub(super) fn parse_chroot(text: &str) -> Result<String, Error> {
    let root = text.trim_end_matches('/');
    if root.is_empty() {
        return Ok(String::new());
    }
    let names = root.strip_prefix('/').ok_or_else(|| bad(format!("the root `{root}` does not start with `/`")))?;
    if names.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err(bad(format!("the root `{root}` has an empty, `.` or `..` name in it")));
    }
    Ok(root.to_owned())
}

fn parse_duration(text: &str) -> Result<Duration, Error> {
    let span: crate::time::Duration = text.parse().map_err(bad)?;
    Ok(span.into())
}

fn parse_cell(text: &str) -> Result<CellId, Error> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
    id.map(CellId).ok_or_else(|| bad(format!("`{text}` is not a cell's id of 32 hexadecimal digits")))
}

fn parse_prefer(text: &str) -> Result<Prefer, Error> {
    match text {
        "leader" => Ok(Prefer::Leader),
        "any" => Ok(Prefer::Any),
        "follower" => Ok(Prefer::Follower),
        _ => Err(bad(format!("`prefer={text}` is none of `leader`, `any` and `follower`"))),
    }
}

fn bad(why: String) -> Error {
    Error::BadTarget { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Target {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_full_target_says_everything() {
        let target =
            parse("quorate://h1:1,h2,[::1]:3/apps/db/?session=10s&cell=000000000000000000000000000000ff&prefer=any");
        assert_eq!(target.endpoints, ["h1:1", "h2:7400", "[::1]:3"]);
        assert_eq!(target.chroot, "/apps/db");
        assert_eq!(target.session_timeout, Some(Duration::from_secs(10)));
        assert_eq!(target.cell, Some(CellId(255)));
        assert_eq!(target.prefer, Some(Prefer::Any));
    }

    #[test]
    fn a_plain_list_is_enough() {
        let target = parse("10.0.0.1:7400,[fe80::1]");
        assert_eq!(target.endpoints, ["10.0.0.1:7400", "[fe80::1]:7400"]);
        assert_eq!((target.chroot.as_str(), target.session_timeout, target.cell), ("", None, None));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "",
            "zookeeper://h",
            "h1,,h2",
            "h:0",
            "h:port",
            "h:70000",
            "::1",
            "[::1",
            "[::1]x",
            "[host]:1",
            "h/a//b",
            "h/../b",
            "h?session",
            "h?session=10",
            "h?session=10w",
            "h?cell=12",
            "h?prefer=best",
            "h?colour=red",
        ] {
            assert!(matches!(text.parse::<Target>(), Err(Error::BadTarget { .. })), "`{text}` was taken");
        }
    }
}
