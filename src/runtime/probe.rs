//! What this kernel can do for a ring: the operations and flags that the rest of this folder relies on.

use io_uring::{Probe, opcode};

use super::ring::{self, SetupError};

/// What a ring would find here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// The operations used, by name, and whether the kernel knows each.
    pub operations: Vec<(&'static str, bool)>,
    /// Whether completions wait until the loop asks for them; without that, they interrupt it.
    pub deferred: bool,
}

/// Sets up a ring as a server's core does, and asks it.
pub fn abilities() -> Result<Abilities, SetupError> {
    let uring = ring::build(64)?;
    let mut probe = Probe::new();
    uring
        .submitter()
        .register_probe(&mut probe)
        .map_err(|found| SetupError::Io { doing: "the kernel does not list its operations", found })?;
    let operations = OPERATIONS.iter().map(|(name, code)| (*name, probe.is_supported(*code))).collect();
    Ok(Abilities { operations, deferred: uring.params().is_setup_single_issuer() })
}

/// A test holds this list against what the folder uses.
const OPERATIONS: [(&str, u8); 15] = [
    ("AcceptMulti", opcode::AcceptMulti::CODE),
    ("AsyncCancel", opcode::AsyncCancel::CODE),
    ("AsyncCancel2", opcode::AsyncCancel2::CODE),
    ("Close", opcode::Close::CODE),
    ("Connect", opcode::Connect::CODE),
    ("Fsync", opcode::Fsync::CODE),
    ("MsgRingData", opcode::MsgRingData::CODE),
    ("Read", opcode::Read::CODE),
    ("RecvMulti", opcode::RecvMulti::CODE),
    ("Send", opcode::Send::CODE),
    ("SendMsg", opcode::SendMsg::CODE),
    ("SendZc", opcode::SendZc::CODE),
    ("Shutdown", opcode::Shutdown::CODE),
    ("Write", opcode::Write::CODE),
    ("Writev", opcode::Writev::CODE),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_list_is_what_the_folder_uses() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/runtime");
        let mut used = BTreeSet::new();
        for entry in std::fs::read_dir(folder).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.ends_with("probe.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("source");
            for piece in text.split("opcode::").skip(1) {
                let name: String = piece.chars().take_while(|letter| letter.is_alphanumeric()).collect();
                used.extend(Some(name).filter(|name| !name.is_empty()));
            }
        }
        let listed: BTreeSet<String> = OPERATIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed, used);
    }

    #[test]
    fn a_kernel_that_runs_the_tests_has_them_all() {
        let abilities = abilities().expect("a ring");
        assert!(abilities.operations.iter().all(|(_, known)| *known), "{abilities:?}");
    }
}
