//! Which process this is, without asking the kernel each time.
//!
//! Who is forked from a process with clients must learn of it before it takes a lock that may be a missing thread's for ever.
//! So each call asks, and asking the kernel would cost a good part of what the whole call does.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use rustix::process::{Pid, getpid};

/// This process. It is remembered where a forked child finds zeros, and so asks for itself. (A child that shares its
/// parent's memory, as between `vfork` and `exec`, is told its parent.)
#[must_use]
pub fn current() -> Pid {
    static REMEMBERED: OnceLock<Option<&'static AtomicI32>> = OnceLock::new();
    let Some(remembered) = REMEMBERED.get_or_init(wiped_by_fork) else { return getpid() };
    Pid::from_raw(remembered.load(Ordering::Relaxed)).unwrap_or_else(|| {
        let process = getpid();
        remembered.store(process.as_raw_nonzero().get(), Ordering::Relaxed);
        process
    })
}

/// A zero that is zero again in each forked child. `None` if the kernel has no such memory.
fn wiped_by_fork() -> Option<&'static AtomicI32> {
    // The kernel gives, advises and takes whole pages.
    let bytes = size_of::<AtomicI32>();
    let (may, private) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: the kernel chooses the place, so nothing that is mapped already is touched.
    let page = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, may, private) }.ok()?;
    // SAFETY: the page was mapped just now, and nothing refers to what is in it.
    if unsafe { madvise(page, bytes, Advice::LinuxWipeOnFork) }.is_err() {
        // SAFETY: as above, and it is not used from here on. If it stays, a page is lost.
        let _ = unsafe { munmap(page, bytes) };
        return None;
    }
    // SAFETY: a page is aligned for any number; its zeros are a valid one; it is never unmapped from here on; and all change
    // it atomically but the kernel, which does so before a child's first instruction.
    Some(unsafe { &*page.cast::<AtomicI32>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_kernel_says() {
        assert_eq!(current(), getpid());
        assert_eq!(current(), getpid(), "remembered");
        let zero = wiped_by_fork().expect("Linux wipes memory at a fork since 4.14");
        assert_eq!(zero.load(Ordering::Relaxed), 0);
    }
}
