//! The buffers of receives. The kernel takes one from this pool when bytes have arrived, not before, so that ten thousand
//! idle connections need none.
#![allow(unsafe_code, reason = "memory shared with the kernel")]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// The group's id in the ring; there is one.
pub(super) const GROUP: u16 = 0;

/// A ring of buffers that the kernel takes from its head while we put them back at its tail.
#[derive(Debug)]
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    bytes_each: usize,
    tail: u16,
}

impl Buffers {
    /// `count` (a power of two) buffers of `bytes_each`. Their pages are touched when they are first used.
    pub(super) fn new(count: u16, bytes_each: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "the kernel finds an entry by masking");
        let entries = map(usize::from(count) * size_of::<BufRingEntry>())?.cast();
        let memory = map(usize::from(count) * bytes_each)?;
        let mut this = Self { entries, memory, count, bytes_each, tail: 0 };
        (0..count).for_each(|id| this.put(id));
        this.show();
        Ok(this)
    }

    /// Tells the kernel of the pool. It must outlive the ring.
    pub(super) fn register(&self, ring: &IoUring) -> io::Result<()> {
        // SAFETY: the entries are `count` large, page-aligned and mapped until `self` is dropped; `Ring` drops its
        // `IoUring`, and with it every operation, before its `Buffers`.
        unsafe { ring.submitter().register_buf_ring_with_flags(self.entries.as_ptr() as u64, self.count, GROUP, 0) }
    }

    /// The first `len` bytes of a buffer that a completion named; it is ours until [`Buffers::give_back`].
    pub(super) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < self.count && len <= self.bytes_each, "the kernel names buffers we gave it");
        // SAFETY: the range lies inside the mapping, which is initialised (zeros at least); the kernel does not touch a
        // buffer between the completion that names it and its return, and it is returned through `&mut self` only.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(usize::from(id) * self.bytes_each), len) }
    }

    /// The kernel may fill the buffer again.
    pub(super) fn give_back(&mut self, id: u16) {
        self.put(id);
        self.show();
    }

    fn put(&mut self, id: u16) {
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: `index` is below `count`. The kernel reads entries before the shown tail only, and this one is behind it:
        // there are as many entries as buffers, and this buffer is ours.
        let entry = unsafe { &mut *self.entries.as_ptr().add(index) };
        entry.set_addr(self.memory.as_ptr() as u64 + (usize::from(id) * self.bytes_each) as u64);
        entry.set_len(self.bytes_each as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn show(&self) {
        // SAFETY: the tail lies in the first entry's reserved field, inside the mapping, aligned for a u16; both sides
        // access it atomically.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both mappings were made in `new` with these sizes, and nothing refers to them any more.
        unsafe {
            let _ = munmap(self.entries.as_ptr().cast(), usize::from(self.count) * size_of::<BufRingEntry>());
            let _ = munmap(self.memory.as_ptr().cast(), usize::from(self.count) * self.bytes_each);
        }
    }
}

fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a fresh private mapping aliases nothing.
    let at = unsafe {
        mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
    };
    Ok(NonNull::new(at.cast()).expect("a mapping is never at address zero"))
}
