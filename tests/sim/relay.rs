//! A relay between two real processes' ends of a connection: the cable that a test can cut, and block one way or both.
//!
//! It reads no more from one end than it can hand to the other, so that a blocked path fills up as a real one does.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// A connection's two halves. The dialler's is the first.
#[derive(Debug)]
struct Pair {
    hosts: [usize; 2],
    ends: [TcpStream; 2],
    /// What was read at one end, and is to be written at the other.
    held: [Vec<u8>; 2],
    /// That end says no more, and the other was told so.
    ended: [bool; 2],
}

/// Where a host is dialled, and where it listens.
#[derive(Debug)]
struct Door {
    listener: TcpListener,
    behind: SocketAddr,
}

/// Every connection between two hosts.
#[derive(Debug)]
pub struct Relay {
    doors: [Option<Door>; 2],
    pairs: Vec<Option<Pair>>,
    blocked: BTreeSet<(usize, usize)>,
}

impl Relay {
    pub fn new() -> Self {
        Self { doors: [None, None], pairs: Vec::new(), blocked: BTreeSet::new() }
    }

    /// A host listens at `behind`; returns where it is dialled.
    pub fn open_door(&mut self, host: usize, behind: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener need not wait");
        let address = listener.local_addr().expect("it is bound");
        self.doors[host] = Some(Door { listener, behind });
        address
    }

    /// A host listens no more: whoever dials it is refused.
    pub fn shut_door(&mut self, host: usize) {
        self.doors[host] = None;
    }

    /// Takes a connection that `from` dials to `to`, if it has come; returns its number, and the address that the relay
    /// speaks to `to` from.
    pub fn take(&mut self, from: usize, to: usize) -> Option<(u64, SocketAddr)> {
        let door = self.doors[to].as_ref()?;
        let near = match door.listener.accept() {
            Ok((near, _)) => near,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("the relay accepts: {error}"),
        };
        let far = TcpStream::connect(door.behind).expect("who listens is reached");
        let address = far.local_addr().expect("it is bound");
        for end in [&near, &far] {
            end.set_nonblocking(true).expect("a socket need not wait");
        }
        let (held, ended) = (Default::default(), [false, false]);
        self.pairs.push(Some(Pair { hosts: [from, to], ends: [near, far], held, ended }));
        Some((self.pairs.len() as u64 - 1, address))
    }

    /// The connection breaks; what is on its way is lost.
    pub fn cut(&mut self, conn: u64) {
        self.pairs[conn as usize] = None;
    }

    pub fn block(&mut self, from: usize, to: usize) {
        self.blocked.insert((from, to));
    }

    pub fn open_all(&mut self) {
        self.blocked.clear();
    }

    /// Hands on what there is to be handed on.
    pub fn pump(&mut self) {
        for slot in &mut self.pairs {
            let Some(pair) = slot else { continue };
            let open = |side: usize| !self.blocked.contains(&(pair.hosts[side], pair.hosts[1 - side]));
            let directions: Vec<usize> = [0, 1].into_iter().filter(|side| open(*side)).collect();
            if directions.into_iter().any(|side| pair.hand_on(side).is_err()) || pair.ended == [true, true] {
                *slot = None;
            }
        }
    }
}

impl Pair {
    /// From `side` to the other one, as much as both have and take. An error: the connection is broken.
    fn hand_on(&mut self, side: usize) -> std::io::Result<()> {
        loop {
            if self.held[side].is_empty() && !self.ended[side] {
                let mut buffer = vec![0; PIECE_BYTES];
                match self.ends[side].read(&mut buffer) {
                    Ok(0) => {
                        self.ended[side] = true;
                        return self.ends[1 - side].shutdown(std::net::Shutdown::Write);
                    }
                    Ok(read) => self.held[side].extend_from_slice(&buffer[..read]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            if self.held[side].is_empty() {
                return Ok(());
            }
            match self.ends[1 - side].write(&self.held[side]) {
                Ok(written) => _ = self.held[side].drain(..written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

const PIECE_BYTES: usize = 64 << 10;
