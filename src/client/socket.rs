//! One non-blocking connection, from the attempt on.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use bytes::{Buf, BytesMut};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

/// A connection, or the attempt at one.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    token: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// These are left to be tried if this one fails.
    Connecting { others: VecDeque<SocketAddr> },
    /// Whether it waits for room to send.
    Connected { full: bool },
}

impl Socket {
    /// Begins to connect to the first of the addresses that can be tried at all. Its events come under `token`.
    pub(super) fn begin(epoll: &OwnedFd, token: u64, mut addresses: VecDeque<SocketAddr>) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        while let Some(address) = addresses.pop_front() {
            match attempt(epoll, token, address) {
                Ok(stream) => return Ok(Self { stream, token, state: State::Connecting { others: addresses } }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Whether the connection stands.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. })
    }

    /// The attempt came to something: true if the connection stands, false if another address is being tried.
    pub(super) fn attempted(&mut self, epoll: &OwnedFd) -> io::Result<bool> {
        let State::Connecting { others } = &mut self.state else { return Ok(true) };
        match sockopt::socket_error(&self.stream)? {
            Ok(()) => {
                self.state = State::Connected { full: false };
                self.listen(epoll, EventFlags::IN)?;
                Ok(true)
            }
            Err(error) if others.is_empty() => Err(error.into()),
            Err(_) => {
                let others = std::mem::take(others);
                *self = Self::begin(epoll, self.token, others)?;
                Ok(false)
            }
        }
    }

    /// Reads what has come, at most `room`. `None` when nothing is there.
    pub(super) fn receive(&mut self, room: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.read(room) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            Ok(count) => Ok(Some(count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends as much as there is room for, and takes it out of `bytes`.
    pub(super) fn send(&mut self, epoll: &OwnedFd, bytes: &mut BytesMut) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes.advance(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let full = !bytes.is_empty();
        if self.is_full() != full {
            self.state = State::Connected { full };
            self.listen(epoll, if full { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN })?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        matches!(self.state, State::Connected { full: true })
    }

    fn listen(&self, epoll: &OwnedFd, events: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(epoll, &self.stream, EventData::new_u64(self.token), events)?)
    }
}

/// Why a connection could not be had, or is gone, and what that mostly means.
pub(super) fn unreached(error: &io::Error) -> String {
    let means = match error.kind() {
        ErrorKind::ConnectionRefused => "nothing listens there, so start the replica, or correct the address",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "this host knows no way there",
        ErrorKind::TimedOut => "the host is down, or something between drops what is sent there",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "the replica ended, or dropped the connection",
        // A name's look-up has no kind of its own, and its words say what it was.
        _ => return error.to_string(),
    };
    format!("{error}: {means}")
}

fn attempt(epoll: &OwnedFd, token: u64, address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    // It becomes writable when the attempt has come to something, good or bad.
    epoll::add(epoll, &socket, EventData::new_u64(token), EventFlags::OUT)?;
    Ok(socket.into())
}
