//! What one connection has handed to the kernel to send.
#![allow(unsafe_code)]

use std::collections::VecDeque;

use bytes::Bytes;
use io_uring::types::Fixed;
use io_uring::{opcode, squeue};

/// One vectored send. Boxed by its owner: the kernel reads the header and the list where they stand.
pub(super) struct Outgoing {
    pieces: Vec<Bytes>,
    runs: Vec<libc::iovec>,
    header: libc::msghdr,
    /// The first run with bytes left.
    first: usize,
    left: usize,
}

impl Outgoing {
    pub(super) fn new() -> Box<Self> {
        // SAFETY: a message header is plain numbers and pointers, for all of which zero is a value (none).
        let header = unsafe { std::mem::zeroed() };
        Box::new(Self { pieces: Vec::new(), runs: Vec::new(), header, first: 0, left: 0 })
    }

    /// Takes what one send may carry from the front of `queue`.
    pub(super) fn fill(&mut self, queue: &mut VecDeque<Bytes>) {
        assert!(self.left == 0 && self.pieces.is_empty(), "what was being sent has been sent");
        while self.pieces.len() < PIECES_MAX && self.left < BYTES_TARGET {
            let Some(piece) = queue.pop_front() else { break };
            self.left += piece.len();
            self.runs.push(libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() });
            self.pieces.push(piece);
        }
    }

    /// The request that sends what is left.
    pub(super) fn entry(&mut self, index: u32) -> squeue::Entry {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        match &mut self.runs[self.first..] {
            [run] => opcode::Send::new(Fixed(index), run.iov_base.cast_const().cast(), run.iov_len as u32)
                .flags(flags)
                .build(),
            runs => {
                self.header.msg_iov = runs.as_mut_ptr();
                self.header.msg_iovlen = runs.len() as _;
                opcode::SendMsg::new(Fixed(index), &raw const self.header).flags(flags as u32).build()
            }
        }
    }

    /// The kernel has taken `sent` bytes; true if that was all.
    pub(super) fn advance(&mut self, mut sent: usize) -> bool {
        assert!(sent <= self.left, "no more is sent than was asked");
        self.left -= sent;
        while sent > 0 {
            let run = &mut self.runs[self.first];
            let step = sent.min(run.iov_len);
            run.iov_base = run.iov_base.cast::<u8>().wrapping_add(step).cast();
            run.iov_len -= step;
            sent -= step;
            self.first += usize::from(run.iov_len == 0);
        }
        self.left == 0
    }

    /// Lets go of the bytes; the lists are kept for the next send.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.runs.clear();
        self.first = 0;
        self.left = 0;
    }
}

/// Pieces of one send: far below the kernel's bound of 1024, and enough for a turn's replies on one connection.
const PIECES_MAX: usize = 256;

/// A send that has gathered this much is full: it fills a socket's buffer many times over. The last piece may exceed it.
const BYTES_TARGET: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_send_goes_on_where_it_stopped() {
        let mut queue: VecDeque<Bytes> = [&b"abc"[..], b"defg", b"h"].map(Bytes::from_static).into();
        let mut outgoing = Outgoing::new();
        outgoing.fill(&mut queue);
        assert!(queue.is_empty());
        assert!(!outgoing.advance(4));
        assert_eq!(outgoing.runs[outgoing.first..].iter().map(|run| run.iov_len).collect::<Vec<_>>(), vec![3, 1]);
        assert_eq!(outgoing.runs[1].iov_base.cast_const().cast(), outgoing.pieces[1][1..].as_ptr());
        assert!(!outgoing.advance(3));
        assert!(outgoing.advance(1));
        outgoing.clear();
        assert!(outgoing.pieces.is_empty());
    }

    #[test]
    fn one_send_takes_a_bounded_number_of_pieces() {
        let mut queue: VecDeque<Bytes> = (0..PIECES_MAX + 7).map(|_| Bytes::from_static(b"x")).collect();
        let mut outgoing = Outgoing::new();
        outgoing.fill(&mut queue);
        assert_eq!((outgoing.pieces.len(), queue.len()), (PIECES_MAX, 7));
    }
}
