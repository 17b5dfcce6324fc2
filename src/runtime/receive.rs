//! The buffers the kernel receives into: one ring of equal buffers for all connections, so that an idle connection
//! holds none.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A run of pages of our own.
#[derive(Debug)]
struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

/// The provided buffers of one ring. Pages are touched only once the kernel has used them.
#[derive(Debug)]
pub(super) struct ReceiveBuffers {
    pages: Pages,
    count: u16,
    buffer_bytes: u32,
    buffers_at: usize,
    tail: Cell<u16>,
}

impl ReceiveBuffers {
    /// `count` (a power of two) buffers of `buffer_bytes` each, all offered to the kernel.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "a buffer ring has a power of two entries, at most 32768");
        let buffers_at = (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(PAGE_BYTES);
        let pages = Pages::map(buffers_at + usize::from(count) * buffer_bytes as usize)?;
        let buffers = Self { pages, count, buffer_bytes, buffers_at, tail: Cell::new(0) };
        for id in 0..count {
            buffers.give_back(id);
        }
        Ok(buffers)
    }

    /// Where the kernel finds the ring of entries.
    pub(super) fn ring_address(&self) -> u64 {
        self.pages.start.as_ptr() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// The first `len` bytes of buffer `id`.
    ///
    /// The caller holds a completion that named `id` and has not given the buffer back since: until then the kernel does
    /// not write to it.
    pub(super) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < self.count && len <= self.buffer_bytes as usize, "the kernel names buffers it was given");
        // SAFETY: the range lies inside the pages (checked above), which are mapped for as long as `self` lives and were
        // zeroed by the kernel when mapped; the kernel has handed this buffer to us and does not write to it until it is
        // given back, which the caller does only after its borrow has ended.
        unsafe { std::slice::from_raw_parts(self.address(id), len) }
    }

    /// Offers buffer `id` to the kernel again.
    pub(super) fn give_back(&self, id: u16) {
        assert!(id < self.count, "only buffers of this ring are given back");
        let tail = self.tail.get();
        let entry = self.entries().wrapping_add(usize::from(tail & (self.count - 1)));
        let next = tail.wrapping_add(1);
        // SAFETY: `entry` is one of the `count` entries at the start of the pages, which are writable and aligned for
        // them. The kernel reads an entry only once the tail has passed it, and the tail moves past this one below. Each
        // field is written apart: the reserved half-word of entry 0 is the tail itself.
        unsafe {
            (*entry).set_addr(self.address(id) as u64);
            (*entry).set_len(self.buffer_bytes);
            (*entry).set_bid(id);
        }
        // SAFETY: the tail is the reserved half-word of the first entry: inside the pages, two-byte aligned, and shared
        // with the kernel, hence the atomic store, which publishes the entry written above.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries()).cast_mut()).store(next, Ordering::Release) };
        self.tail.set(next);
    }

    fn entries(&self) -> *mut BufRingEntry {
        self.pages.start.as_ptr().cast()
    }

    fn address(&self, id: u16) -> *mut u8 {
        self.pages.start.as_ptr().wrapping_add(self.buffers_at + usize::from(id) * self.buffer_bytes as usize)
    }
}

impl Pages {
    fn map(bytes: usize) -> io::Result<Self> {
        // SAFETY: a fresh private mapping at an address of the kernel's choice replaces no mapping of ours.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
        let start =
            NonNull::new(start.cast()).ok_or_else(|| io::Error::other("the kernel mapped pages at address zero"))?;
        Ok(Self { start, bytes })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone and nothing borrows from it any more; the ring has unregistered it and has no
        // request in flight, or it leaks these pages instead of dropping them.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "a whole mapping can be unmapped");
    }
}

const PAGE_BYTES: usize = 4096;
