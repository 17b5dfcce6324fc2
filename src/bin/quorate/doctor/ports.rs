//! The addresses a replica listens on: free, or held by that replica itself.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};

use quorate::server::Config;

use super::finding::{Finding, Severity};
use super::folder::Resident;

pub fn examine(config: &Config, resident: Resident, findings: &mut Vec<Finding>) {
    let Some(section) = resident.replica.and_then(|replica| config.replica(replica)) else { return };
    for (condition, listened) in [("client port", &section.client), ("peer port", &section.peer)] {
        let address = match listened.resolve() {
            Ok(found) => found[0],
            Err(error) => {
                let needed = format!("{listened} to be looked up on this host");
                findings.push(
                    Finding::new(condition, needed, error.to_string(), Severity::Fatal)
                        .why("a replica listens on the address its name stands for")
                        .fix("write the address in numbers, or add the name to the DNS or to /etc/hosts"),
                );
                continue;
            }
        };
        let holder = || resident.process.is_some_and(|process| holds(process, address));
        findings.push(judge(condition, address, TcpListener::bind(address).map(drop), holder));
    }
}

fn judge(condition: &str, address: SocketAddr, bound: io::Result<()>, ours: impl Fn() -> bool) -> Finding {
    let (found, severity) = match bound {
        Ok(()) => ("free".to_owned(), Severity::Ok),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && ours() => {
            ("held by this replica".into(), Severity::Ok)
        }
        Err(error) => (error.to_string(), Severity::Fatal),
    };
    Finding::new(condition, format!("{address} free or ours"), found, severity)
        .why("a replica that cannot listen ends")
        .fix(format!(
            "end what listens there (ss -ltnp 'sport = :{}'), or change the address on every replica",
            address.port()
        ))
}

/// Whether one of the process's descriptors is a socket that listens there.
fn holds(process: u32, address: SocketAddr) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let sockets: Vec<String> = tables.iter().flat_map(|table| listeners(table, address.port())).collect();
    let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    let links = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.into_iter().any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
}

/// The sockets that listen on a port, as a descriptor's link names them.
///
/// ```text
///   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
///    0: 0100007F:1CE8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 ...
/// ```
fn listeners(table: &str, port: u16) -> Vec<String> {
    let listener = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let local = words.get(1)?.rsplit(':').next()?;
        let listens = *words.get(3)? == "0A" && u16::from_str_radix(local, 16) == Ok(port);
        listens.then(|| format!("socket:[{}]", words.get(9).copied().unwrap_or_default()))
    };
    table.lines().filter_map(listener).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_ours_or_somebody_elses() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("it is bound");
        assert!(holds(std::process::id(), address), "it is this process's");
        assert!(!holds(1, address) || std::process::id() == 1);
        let again = || TcpListener::bind(address).map(drop);
        assert_eq!(judge("p", address, again(), || true).severity, Severity::Ok);
        assert_eq!(judge("p", address, again(), || false).severity, Severity::Fatal);
        drop(taken);
        assert_eq!(judge("p", address, again(), || false).found, "free");
        let elsewhere: SocketAddr = "192.0.2.1:7400".parse().expect("an address");
        assert_eq!(judge("p", elsewhere, TcpListener::bind(elsewhere).map(drop), || false).severity, Severity::Fatal);
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address\n   0: 0100007F:1CE8 00000000:0000 0A 0:0 00:0 0 0 0 4711 1\n   \
                     1: 0100007F:1CE8 0100007F:9999 01 0:0 00:0 0 0 0 4712 1\n   \
                     2: 0100007F:1CE9 00000000:0000 0A 0:0 00:0 0 0 0 4713 1\n";
        assert_eq!(listeners(table, 7400), ["socket:[4711]"]);
        assert_eq!(listeners(table, 9), Vec::<String>::new());
    }
}
