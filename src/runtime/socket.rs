//! Sockets before they enter a ring.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags, SocketType, bind, getsockname, listen as listen_on, socket_with, sockopt};

/// How long a peer may leave sent bytes unacknowledged before its connection is given up: a host that vanished is noticed
/// by this, since nobody says that it is gone.
const UNACKNOWLEDGED_MS_MAX: u32 = 5_000;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;

pub(super) fn listen(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let socket = stream_socket(address)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen_on(&socket, BACKLOG)?;
    Ok(socket)
}

pub(super) fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address: SocketAddrAny = getsockname(socket)?;
    SocketAddr::try_from(address).map_err(io::Error::from)
}

pub(super) fn unconnected(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream_socket(address)?;
    prepare(&socket);
    Ok(socket)
}

/// Frames leave at once, and a host that vanished is noticed. A socket that refuses is only slower.
pub(super) fn prepare(socket: &impl AsFd) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_tcp_user_timeout(socket, UNACKNOWLEDGED_MS_MAX);
}

fn stream_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}
