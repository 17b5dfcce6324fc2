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
