//! Listeners: connections arriving.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::opcode;
use io_uring::types::Fd;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::clock;
use super::ring::{Event, Handler, Ring};
use super::socket::{ConnectionId, no_slot};
use super::tag::{Kind, Tag};
use crate::time::{Duration, Instant};

/// A listening socket of a ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId(u32);

/// The listeners of one ring.
#[derive(Default)]
pub(super) struct Listeners {
    all: Vec<Listener>,
    /// Accepting failed for want of something; it is tried again then, or when a connection ends.
    again_at: Option<Instant>,
}

struct Listener {
    /// Kept until the accept on it has ended: its number must not come to mean another socket before.
    socket: Option<OwnedFd>,
    armed: bool,
    stopped: bool,
    /// Places for connections that its arrivals leave free.
    leaves: u32,
}

impl Ring {
    /// Listens on `address`; returns where (a port of zero is chosen by the kernel). With `reuse_port` each ring listens
    /// for itself and the kernel spreads the connections.
    pub fn listen(&mut self, address: SocketAddr, reuse_port: bool) -> io::Result<(ListenerId, SocketAddr)> {
        let socket = self.socket_for(address)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, reuse_port)?;
        net::bind(&socket, &address)?;
        net::listen(&socket, LISTEN_BACKLOG)?;
        let bound = SocketAddr::try_from(net::getsockname(&socket)?)?;
        self.listeners.all.push(Listener { socket: Some(socket), armed: false, stopped: false, leaves: 0 });
        Ok((ListenerId(self.listeners.all.len() as u32 - 1), bound))
    }

    /// Arrivals at `listener` leave that many of the ring's places for connections to others, whom the host needs more.
    pub fn leave_places(&mut self, listener: ListenerId, count: u32) {
        self.listeners.all[listener.0 as usize].leaves = count;
    }

    /// Stops listening; connections that were accepted stay.
    pub fn stop_listening(&mut self, listener: ListenerId) {
        let entry = &mut self.listeners.all[listener.0 as usize];
        if std::mem::replace(&mut entry.stopped, true) {
            return;
        }
        if !entry.armed {
            entry.socket = None;
        } else {
            let cancel = opcode::AsyncCancel::new(Tag::new(Kind::Accept, 0, listener.0).pack()).build();
            self.push(cancel.user_data(Tag::new(Kind::Ignored, 0, 0).pack()));
        }
    }

    /// Queues the accepts that are due; returns when to come again at the latest.
    pub(super) fn prepare_listeners(&mut self) -> Option<Instant> {
        if self.listeners.again_at.is_some_and(|at| at <= clock::now()) {
            self.listeners.again_at = None;
        }
        if self.listeners.again_at.is_none() {
            for listener in 0..self.listeners.all.len() {
                self.arm_accept(listener);
            }
        }
        self.listeners.again_at
    }

    pub(super) fn accepted(&mut self, tag: Tag, result: io::Result<u32>, more: bool, handler: &mut Handler<'_>) {
        let listener = &mut self.listeners.all[tag.slot as usize];
        listener.armed &= more;
        let (listening, leaves) = (!listener.stopped, listener.leaves);
        if !listening && !more {
            listener.socket = None;
        }
        match result {
            Ok(descriptor) => {
                let socket = own(descriptor as RawFd);
                if !listening {
                    return;
                }
                match self.admit(&socket, leaves) {
                    Ok((connection, peer)) => {
                        self.counters.accepts += 1;
                        handler(self, Event::Accepted { listener: ListenerId(tag.slot), connection, peer });
                    }
                    // Gone before we looked, or no room: the socket is closed, which tells the peer.
                    Err(_) => self.counters.refusals += 1,
                }
            }
            Err(error) if listening && !is_of_one_arrival(&error) => {
                self.listeners.again_at = Some(clock::now() + ACCEPT_AGAIN_AFTER);
            }
            Err(_) => {}
        }
    }

    fn admit(&mut self, socket: &OwnedFd, leaves: u32) -> io::Result<(ConnectionId, SocketAddr)> {
        if self.sockets.free_places() <= leaves {
            return Err(no_slot());
        }
        let peer = net::getpeername(socket)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOTCONN))?;
        let peer = SocketAddr::try_from(peer)?;
        Ok((self.adopt(socket)?, peer))
    }

    fn arm_accept(&mut self, listener: usize) {
        let entry = &mut self.listeners.all[listener];
        let Some(socket) = entry.socket.as_ref().filter(|_| !entry.armed && !entry.stopped) else { return };
        // Plain descriptors, not direct ones: a peer's address can be asked of them, and they are put into the ring's
        // table right after.
        let accept = opcode::AcceptMulti::new(Fd(socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        entry.armed = true;
        self.push(accept.user_data(Tag::new(Kind::Accept, 0, listener as u32).pack()));
    }

    /// A socket that sends small frames at once and notices a dead peer; what it accepts inherits both.
    pub(super) fn socket_for(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        let timeout_ms = u32::try_from(self.options.user_timeout.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&socket, timeout_ms)?;
        // The time-out above counts while something is under way; these see to it that something is.
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, KEEP_ALIVE_AFTER.into())?;
        sockopt::set_tcp_keepintvl(&socket, KEEP_ALIVE_AFTER.into())?;
        Ok(socket)
    }
}

impl Listeners {
    /// A place and a descriptor are free again.
    pub(super) fn try_again(&mut self) {
        self.again_at = None;
    }
}

/// Takes charge of the descriptor that came with the completion of an accept.
pub(super) fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel opened the descriptor for this one completion: it is open, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Errors of a connection that ended before it was accepted; the listener is well.
fn is_of_one_arrival(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EPROTO | libc::ECANCELED | libc::EINTR))
}

/// How long a connection may be silent before the kernel asks whether the other end is there.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(5);

/// Arrivals the kernel keeps for us; it cuts this down to its own bound.
const LISTEN_BACKLOG: i32 = 4096;

/// Out of descriptors or memory, arrivals wait in the kernel this long before the next try.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);
