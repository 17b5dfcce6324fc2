//! Durable writes: an aligned write and, linked behind it, a flush of the data.
#![allow(unsafe_code, reason = "vectors handed to the kernel")]

use std::io;

use bytes::Bytes;
use io_uring::{opcode, squeue, types};

/// One durable write under way: everything the kernel looks at while it is.
pub(super) struct DurableWrite {
    token: u64,
    _pieces: Vec<Bytes>,
    vectors: Vec<libc::iovec>,
    bytes: usize,
    written: Option<i32>,
    flushed: Option<i32>,
}

// SAFETY: the raw pointers point into `_pieces`, which it owns.
unsafe impl Send for DurableWrite {}

impl DurableWrite {
    /// Pieces that lie side by side in memory become one vector.
    pub(super) fn new(token: u64, pieces: Vec<Bytes>) -> Self {
        let mut vectors: Vec<libc::iovec> = Vec::with_capacity(1);
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let start = piece.as_ptr() as usize;
            match vectors.last_mut() {
                Some(last) if last.iov_base as usize + last.iov_len == start => last.iov_len += piece.len(),
                _ => vectors.push(libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() }),
            }
        }
        let bytes = vectors.iter().map(|vector| vector.iov_len).sum();
        Self { token, _pieces: pieces, vectors, bytes, written: None, flushed: None }
    }

    /// The two submissions, to be pushed together. `self` stays where it is until both are complete.
    pub(super) fn entries(&self, file: u32, offset: u64) -> (squeue::Entry, squeue::Entry) {
        let file = types::Fixed(file);
        let write = match &self.vectors[..] {
            [one] => opcode::Write::new(file, one.iov_base.cast(), one.iov_len as u32).offset(offset).build(),
            many => opcode::Writev::new(file, many.as_ptr(), many.len() as u32).offset(offset).build(),
        };
        let flush = opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build();
        (write.flags(squeue::Flags::IO_LINK), flush)
    }

    pub(super) fn set_written(&mut self, result: i32) {
        self.written = Some(result);
    }

    pub(super) fn set_flushed(&mut self, result: i32) {
        self.flushed = Some(result);
    }

    /// The token and what came of it, once both parts are complete.
    pub(super) fn outcome(&self) -> Option<(u64, io::Result<()>)> {
        let (written, flushed) = (self.written?, self.flushed?);
        let result = if written < 0 {
            Err(io::Error::from_raw_os_error(-written))
        } else if written as usize != self.bytes {
            let text = format!("only {written} of {} bytes were written", self.bytes);
            Err(io::Error::new(io::ErrorKind::WriteZero, text))
        } else if flushed < 0 {
            Err(io::Error::from_raw_os_error(-flushed))
        } else {
            Ok(())
        };
        Some((self.token, result))
    }
}
