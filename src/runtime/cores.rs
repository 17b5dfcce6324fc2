//! Which thread runs where.

use thiserror::Error;

/// Why a thread was not pinned.
#[derive(Debug, Error)]
pub enum PinError {
    /// The core is not among those this process may use.
    #[error(
        "cannot pin a thread to core {core}\n  found: this process may run on cores {allowed:?}\n  why:   a ring and its \
         thread stay on one core\n  fix:   name cores from that list in `cores`, or widen the process's CPU set"
    )]
    NotAllowed { core: usize, allowed: Vec<usize> },
    /// The kernel refused.
    #[error(
        "cannot pin a thread to core {core}: the kernel refused\n  fix:   name another core, or run without pinning"
    )]
    Refused { core: usize },
}

/// The cores this thread may run on, in order.
#[must_use]
pub fn allowed() -> Vec<usize> {
    let mut ids: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    ids.sort_unstable();
    ids
}

/// Pins the calling thread to `core`; threads it starts later inherit that.
pub fn pin(core: usize) -> Result<(), PinError> {
    let allowed = allowed();
    if !allowed.contains(&core) {
        return Err(PinError::NotAllowed { core, allowed });
    }
    match core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        true => Ok(()),
        false => Err(PinError::Refused { core }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_to_an_allowed_core_only() {
        let cores = allowed();
        let last = *cores.last().expect("this thread runs somewhere");
        let pinned = std::thread::spawn(move || pin(last).map(|()| allowed())).join().expect("the thread ends");
        assert_eq!(pinned.expect("an allowed core"), vec![last]);
        let refused = std::thread::spawn(|| pin(100_000)).join().expect("the thread ends");
        assert!(matches!(refused, Err(PinError::NotAllowed { core: 100_000, .. })));
    }
}
