//! Why a running replica ends by itself, as its operator reads it.

use super::failure::{Code, Failure};
use super::folder::{Folder, HARD_STATE};
use crate::paxos::{Acknowledged, ReplicaId, Slot};
use crate::replica::exchange::Diverged;

pub(super) fn loop_failed(error: &std::io::Error) -> Failure {
    Failure::new(Code::LoopFailed, "the event loop failed").found(error.to_string())
}

pub(super) fn removed(replica: ReplicaId, replaced: bool) -> Failure {
    let what = if replaced { "its members are others now, or count on another disk of it" } else { "it was removed" };
    Failure::new(Code::Removed, format!("replica {replica} is no member of the cell any more: {what}"))
        .why("nobody counts its votes or sends it the log")
        .fix("keep it stopped and remove its folder; to bring the replica back: quorate recover")
}

pub(super) fn differs(replica: ReplicaId, diverged: &Diverged) -> Failure {
    let Diverged { slot, own, majority, votes } = diverged;
    let whose =
        |digest: u128| votes.iter().filter(move |(_, told)| *told == digest).map(|(voter, _)| voter.to_string());
    let failure = match majority {
        Some(majority) => {
            let others: Vec<String> = whose(*majority).collect();
            Failure::new(
                Code::Diverged,
                format!("the state of replica {replica} differs from the others' at slot {}", slot.0),
            )
            .found(format!("digest {own:032x}"))
            .needed(format!("digest {majority:032x}, as a majority has it (replicas {})", others.join(", ")))
        }
        None => {
            let told = votes.iter().map(|(voter, digest)| format!("replica {voter}: {digest:032x}"));
            Failure::new(
                Code::Diverged,
                format!("the replicas' states differ at slot {}, and no majority agrees", slot.0),
            )
            .found(format!("digest {own:032x} here; {}", told.collect::<Vec<_>>().join(", ")))
            .needed("one digest that a majority of the voters has")
        }
    };
    failure
        .why("equal logs make equal states: memory, an image, or a program is damaged, and answers may be wrong")
        .fix("keep a copy of the folder and of the log for a report; then quorate recover, with an empty folder")
}

pub(super) fn hard_state_lost(folder: &Folder, damaged: usize) -> Failure {
    let path = folder.path.join(HARD_STATE);
    Failure::new(Code::HardStateLost, format!("{damaged} of the 4 copies of {} are damaged", path.display()))
        .needed("two that are as they were written")
        .why("a promise that the disk forgets could be broken: one more loss, and this replica would not know of it")
        .fix("replace the disk (dmesg, SMART), then bring the replica back with an empty folder: quorate recover")
}

/// The peers remember what this disk acknowledged, and it does not hold that.
pub(super) fn old_folder(folder: &Folder, by: ReplicaId, word: &Acknowledged) -> Failure {
    let Acknowledged { replica, ballot, upto, .. } = word;
    let voted = if *upto > Slot(0) { format!(", and a vote in slot {upto}") } else { String::new() };
    Failure::new(Code::OldFolder, format!("{} is an older copy of replica {replica}'s folder", folder.path.display()))
        .found("less than the disk acknowledged")
        .needed(format!("a promise at ballot {ballot}{voted}, which replica {by} remembers"))
        .why("what was promised and voted since the copy was made is forgotten: this replica could undo what was acknowledged")
        .fix(
            "if the newer folder is still somewhere, put that one in place; otherwise bring the replica back with an empty \
             folder: quorate recover",
        )
}

pub(super) fn disk_failed(folder: &Folder, found: &str) -> Failure {
    Failure::new(Code::DiskFailed, format!("the disk under {} failed", folder.path.display()))
        .found(found)
        .why("after a failed write nobody knows what the disk holds, so this replica must not go on speaking")
        .fix("check the disk (dmesg); start again once it is sound: the journal is checked at start")
}
