//! Which core a loop runs on.

use core_affinity::CoreId;

/// Pins the calling thread to a core, counted from 0.
///
/// # Errors
///
/// The cores there are, if `core` is not one of them or the kernel refuses it.
pub fn pin(core: usize) -> Result<(), Vec<usize>> {
    let there: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|id| id.id).collect();
    if there.contains(&core) && core_affinity::set_for_current(CoreId { id: core }) { Ok(()) } else { Err(there) }
}
