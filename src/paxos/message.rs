//! What replicas say to each other to agree. Every field says what its receiver may conclude.
//!
//! Each message travels with its sender's replica id and incarnation (they belong to the link, see `wire::peer`); a
//! receiver drops votes of a disk that the configuration in force for the slot does not name.

use super::ballot::{Ballot, Slot};
use super::value::Value;
use super::witness::Acknowledged;
use crate::time::Duration;

/// One message between two replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// "Would you promise `ballot`?" Changes nothing at the receiver. `chosen_upto`: what the sender holds and knows
    /// chosen; the receiver refuses one below its own `trimmed_upto`.
    Probe { ballot: Ballot, chosen_upto: Slot },
    /// The answer. `granted`: at this moment a Prepare at `ballot` would be promised. `promised`: the sender's promise,
    /// so that a refused candidate knows what to outbid.
    ProbeReply { ballot: Ballot, granted: bool, promised: Ballot },
    /// Phase 1 for every slot from `from` on. `released`: the reign that handed itself over to the sender; a receiver
    /// whose promise not to answer was made to exactly that reign need not wait.
    Prepare { ballot: Ballot, from: Slot, released: Option<Ballot> },
    /// The sender will accept nothing below `ballot`; that is durable. `chosen_upto`: everything up to there is chosen,
    /// whatever `reports` says. `reports`: what the sender can say of each slot above; a slot not listed, up to the last
    /// part, was never accepted. `last`: no further part follows.
    Promise { ballot: Ballot, chosen_upto: Slot, part: u32, last: bool, reports: Vec<SlotReport> },
    /// A Prepare or Accept at `ballot` was refused: the sender promised `promised`, which is higher. Nothing else follows.
    Refused { ballot: Ballot, promised: Ballot },
    /// "Send me what you accepted in `slot` at exactly `accepted`": the leader of `ballot` needs the value to propose it
    /// again.
    FetchAccepted { ballot: Ballot, slot: Slot, accepted: Ballot },
    /// The answer: what the sender accepted in `slot` at exactly `accepted`.
    AcceptedValue { ballot: Ballot, slot: Slot, accepted: Ballot, value: Value },
    /// Phase 2. `chosen_upto`: every slot up to there is chosen, and the leader of `ballot` has applied it; a receiver
    /// that accepted one of them at exactly `ballot` holds the chosen value. `lease`: acknowledging this promises the
    /// leader that no other Prepare is answered for that long (zero: no promise).
    Accept { ballot: Ballot, slot: Slot, value: Value, chosen_upto: Slot, lease: Duration },
    /// The sender accepted slots `from..=upto` at exactly `ballot`, durably, and from its sending on keeps the lease
    /// promise that their Accepts named. `recorded`: a record of each at `ballot` is on the disk; otherwise the slot was known
    /// to be chosen by other means, and nothing follows for a restart of the sender.
    Accepted { ballot: Ballot, from: Slot, upto: Slot, recorded: bool },
    /// The leader of `ballot` lives. `round` numbers these within the reign; 0 asks for no answer. `chosen_upto` as in
    /// Accept. `trim_upto`: every member's disk is bound and starts again from there or above, whatever befalls its
    /// process; nobody will ask for the log up to there. `acknowledged`: words of disks that the sender knows of, its own
    /// among them.
    Heartbeat { ballot: Ballot, round: u64, chosen_upto: Slot, trim_upto: Slot, acknowledged: Vec<Acknowledged> },
    /// When the sender answered, it had promised nothing above `ballot`: a read point taken before round `round` was sent
    /// is confirmed by a quorum of these. `chosen_upto`: what the sender knows chosen and holds on its disk. `image_upto`: the
    /// sender starts again from there or above, out of durable images. `cramped`: its disk had no room for what clients
    /// write. No lease follows from it.
    HeartbeatReply { ballot: Ballot, round: u64, chosen_upto: Slot, image_upto: Slot, cramped: bool },
    /// "Send me chosen entries from `from` to at most `upto`."
    CatchUp { from: Slot, upto: Slot },
    /// Chosen values of consecutive slots, the first in slot `from`. Never re-decided, whatever ballot anyone saw.
    Chosen { from: Slot, values: Vec<Value> },
    /// The answer to a CatchUp below the sender's log: everything up to `trimmed_upto` is only to be had as an image.
    Trimmed { trimmed_upto: Slot },
    /// The leader of `ballot` has given up its lease and read points for good and asks the receiver, which holds every
    /// entry up to `chosen_upto`, to lead.
    Release { ballot: Ballot, chosen_upto: Slot },
}

/// What an acceptor can say of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotReport {
    /// The slot.
    pub slot: Slot,
    /// What is known of it.
    pub evidence: Evidence,
}

/// *Have it*, *may have had it* or *don't know*. *Never accepted* is said by leaving the slot out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// Accepted at that ballot, last; the value's hash. The value can be fetched from the reporter.
    Have { accepted: Ballot, hash: u128 },
    /// Accepted at that ballot; its value is lost here and may be had elsewhere.
    Lost { accepted: Ballot, hash: u128 },
    /// The newest record, of that ballot, was acknowledged and then damaged, or a crash tore it before anyone was told of
    /// it: neither a vote nor the word that there was none. Whatever was accepted before it need not be told: had that been
    /// chosen, the later ballot would have proposed the same value.
    Maybe { accepted: Ballot, hash: u128 },
    /// Something may have been accepted here: never counted as "never".
    Unknown,
}
