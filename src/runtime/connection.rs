//! A socket in the ring.
#![allow(unsafe_code, reason = "vectors handed to the kernel")]

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::{Buf, Bytes};
use io_uring::{opcode, squeue, types};

/// Names one connection; a later one in the same slot has another generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Connecting,
    Open,
    /// It closes when its output has left.
    Draining,
    /// It was shut down; what is under way ends soon.
    Closing,
}

/// One connection.
pub(super) struct Connection {
    pub(super) stage: Stage,
    /// Operations that the kernel has not ended.
    pub(super) operations: u32,
    pub(super) receiving: bool,
    pub(super) dirty: bool,
    pub(super) reason: Option<std::io::Error>,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    sending: Option<Box<Sending>>,
    spare: Option<Box<Sending>>,
    pub(super) address: Option<Box<Address>>,
}

/// An address in the kernel's form, kept while a connect is under way.
pub(super) struct Address {
    pub(super) storage: libc::sockaddr_storage,
    pub(super) len: libc::socklen_t,
}

/// A vectored send under way: everything the kernel looks at while it is.
struct Sending {
    buffers: Vec<Bytes>,
    vectors: Vec<libc::iovec>,
    header: libc::msghdr,
}

// SAFETY: the raw pointers in it point into `buffers`, which it owns, or into its own boxed fields.
unsafe impl Send for Sending {}

impl Connection {
    pub(super) fn new(stage: Stage) -> Self {
        Self {
            stage,
            operations: 0,
            receiving: false,
            dirty: false,
            reason: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            sending: None,
            spare: None,
            address: None,
        }
    }

    pub(super) fn queue(&mut self, bytes: Bytes) {
        self.queued_bytes += bytes.len();
        self.queue.push_back(bytes);
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    pub(super) fn has_output(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next vectored send, if there is output and none is under way.
    pub(super) fn next_send(&mut self, slot: u32) -> Option<squeue::Entry> {
        if self.sending.is_some() || self.queue.is_empty() {
            return None;
        }
        let mut sending = self.spare.take().unwrap_or_else(Sending::new);
        let count = self.queue.len().min(VECTORS_MAX);
        sending.buffers.extend(self.queue.drain(..count));
        let entry = sending.entry(slot);
        self.sending = Some(sending);
        self.operations += 1;
        Some(entry)
    }

    /// The send under way took `sent` bytes; the rest goes to the front of the queue.
    pub(super) fn sent(&mut self, mut sent: usize) {
        let mut sending = self.sending.take().expect("a completed send was under way");
        self.queued_bytes -= sent;
        let mut left = Vec::new();
        for mut buffer in sending.buffers.drain(..) {
            let taken = sent.min(buffer.len());
            sent -= taken;
            buffer.advance(taken);
            if !buffer.is_empty() {
                left.push(buffer);
            }
        }
        for buffer in left.into_iter().rev() {
            self.queue.push_front(buffer);
        }
        self.spare = Some(sending);
    }

    /// Nothing more is sent.
    pub(super) fn drop_output(&mut self) {
        self.queued_bytes -= self.queue.iter().map(Bytes::len).sum::<usize>();
        self.queue.clear();
    }
}

impl Sending {
    fn new() -> Box<Self> {
        // SAFETY: a message header is plain data, for which zeros mean "nothing".
        let header = unsafe { std::mem::zeroed() };
        Box::new(Self { buffers: Vec::new(), vectors: Vec::new(), header })
    }

    /// The submission that sends the buffers. `self` is boxed and stays where it is until the completion.
    fn entry(&mut self, slot: u32) -> squeue::Entry {
        self.vectors.clear();
        self.vectors.extend(
            self.buffers.iter().map(|b| libc::iovec { iov_base: b.as_ptr().cast_mut().cast(), iov_len: b.len() }),
        );
        if let [one] = &self.vectors[..] {
            return opcode::Send::new(types::Fixed(slot), one.iov_base.cast(), one.iov_len as u32)
                .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
                .build();
        }
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = self.vectors.len() as _;
        opcode::SendMsg::new(types::Fixed(slot), &raw const self.header)
            .flags((libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32)
            .build()
    }
}

impl Address {
    pub(super) fn new(address: SocketAddr) -> Box<Self> {
        // SAFETY: a socket address is plain data.
        let mut this: Box<Self> = Box::new(Self { storage: unsafe { std::mem::zeroed() }, len: 0 });
        let at = (&raw mut this.storage).cast::<u8>();
        match address {
            SocketAddr::V4(v4) => {
                let raw = libc::sockaddr_in {
                    sin_family: libc::AF_INET as _,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                this.len = size_of_val(&raw) as _;
                // SAFETY: the storage is large enough and aligned for every kind of address.
                unsafe { at.cast::<libc::sockaddr_in>().write(raw) };
            }
            SocketAddr::V6(v6) => {
                let raw = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as _,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                this.len = size_of_val(&raw) as _;
                // SAFETY: as above.
                unsafe { at.cast::<libc::sockaddr_in6>().write(raw) };
            }
        }
        this
    }
}

/// Buffers in one send; the kernel takes 1,024.
const VECTORS_MAX: usize = 512;
