//! What the other replicas say, and where it goes: to Paxos, into the log, or to whoever waits for it here.

use super::Replica;
use super::exchange::{Effect, Submission};
use super::fronts::answer_read_point;
use super::reads::Asker;
use crate::limits::JOURNAL_QUEUE_BYTES_MAX;
use crate::paxos::{Incarnation, Message, ReplicaId};
use crate::time::Instant;
use crate::wire::peer::PeerMessage;

impl Replica {
    pub(super) fn peer_says(
        &mut self,
        now: Instant,
        from: ReplicaId,
        incarnation: Incarnation,
        message: PeerMessage,
        effects: &mut Vec<Effect>,
    ) {
        match message {
            // A replica whose disk does not keep up, or is full, lags; frames may be lost.
            PeerMessage::Paxos(Message::Accept { .. } | Message::Chosen { .. })
                if self.storage.journal().queued_bytes() > JOURNAL_QUEUE_BYTES_MAX => {}
            PeerMessage::Paxos(message) => self.paxos.receive(now, from, incarnation, message, &mut self.outputs),
            PeerMessage::Forward { count, run } => {
                let submission = Submission { run, count };
                let refused = if self.paxos.is_leader() { self.admit(submission).err() } else { Some(submission) };
                if let Some(submission) = refused {
                    let message = PeerMessage::ForwardRefused {
                        requests: submission.requests(),
                        overloaded: self.paxos.is_leader(),
                    };
                    effects.push(Effect::Peer { to: from, message });
                }
            }
            PeerMessage::ForwardRefused { requests, overloaded } => self.refuse(requests, overloaded, effects),
            PeerMessage::ReadPoint { ticket, sessions, wish } => {
                self.ask_read_point(now, Asker::Peer(from, ticket), (sessions, wish), effects);
            }
            PeerMessage::ReadPointReply { ticket, upto, withheld, word } => {
                if let Some(asked) = self.reads.answered_by(ticket, from) {
                    answer_read_point(asked.asker, upto, (withheld, word), effects);
                }
            }
            PeerMessage::Recall { sessions, recall } => self.recall_here(&sessions, &recall, effects),
            PeerMessage::Recalled { session, reign, number } => {
                if let Some(cache) = &mut self.cache {
                    cache.recalled(session, reign, number);
                }
            }
            PeerMessage::FetchImage { image, offset } => self.lend(now, from, (image, offset), effects),
            PeerMessage::ImagePiece { image, offset, bytes } => {
                self.take_piece(from, (image, offset), bytes, effects);
            }
            PeerMessage::Digest { slot, digest } => self.take_digest(from, incarnation, slot, digest),
            PeerMessage::EntryWanted => self.add_an_entry(now, effects),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SLOT_WINDOW;
    use crate::paxos::{Ballot, Kind, Slot, Value};
    use crate::replica::exchange::Input;
    use crate::replica::transfer::tests::started;
    use crate::time::Duration;

    /// Leader after leader has it vote in a window of slots, and nothing of that becomes durable.
    #[test]
    fn a_replica_whose_disk_stands_still_takes_no_more_than_it_has_room_for() {
        let (mut replica, mut effects) = (started(&[Slot(5)], Slot(0)), Vec::new());
        let (from, incarnation, chosen_upto) = (ReplicaId(2), Incarnation(2), Slot(6));
        let mut content = vec![0; 1_000_000];
        content[0] = Kind::Commands.tag();
        let value = Value::copy_of(&content);
        for (round, slot) in (1..=3).flat_map(|round| (7..7 + SLOT_WINDOW).map(move |slot| (round, Slot(slot)))) {
            let ballot = Ballot { round, replica: from };
            let accept = Message::Accept { ballot, slot, value: value.clone(), chosen_upto, lease: Duration::ZERO };
            let message = PeerMessage::Paxos(accept);
            replica.step(Instant::ZERO, Input::Peer { from, incarnation, message }, &mut effects);
        }
        let queued = replica.storage().journal().queued_bytes();
        assert!(queued > JOURNAL_QUEUE_BYTES_MAX, "it votes as long as it has room, and {queued} bytes wait");
        assert!(queued < JOURNAL_QUEUE_BYTES_MAX + (1 << 20), "no further vote is taken in, and {queued} bytes wait");
    }
}
