//! Images from one replica to another: for whom the log no longer reaches.
//!
//! 1. A replica that is told that the log it asks for is gone fetches an image from whoever told it. It asks for one piece
//!    at a time and for the next when that one is written, [`ASK_EVERY`] apart at the least: of a transfer there is never
//!    more on a link than one piece, and votes hardly wait for it.
//! 2. Any replica with an image answers, out of the file: the image that was asked for if it still has it, else its newest
//!    from the beginning. While it lends one it takes new images seldom, so that the log behind the lent one stays.
//!    Only an image is lent behind which a majority has said that it has the same state (`digests`): a wrong one would make
//!    two wrong replicas of one, and a majority of three; and only one from which the log goes on. Where none is, the log
//!    is made to go on, so that states are compared; where that cannot be, since too few are there, the image is lent [`LENT_UNAGREED_AFTER`] all the same.
//! 3. Pieces go to a file under a partial name. Their sums are checked as they come, and with the last of them the hash of
//!    all (`image_file`). What is lost is asked for again from where the file ends. Whoever does not answer is left for
//!    another, and so is whoever sends what is no image; of the latter the operator is told, once for each such image: a
//!    disk is failing there. If the next in turn has sent such already there is a pause of [`AGAIN_AFTER`], as there is
//!    when an image finds no room on the disk.
//! 4. A whole image becomes durable under its name, and then the hard state points to it, with the member lists in it, in
//!    one block. From the moment that is asked for, this replica does nothing else and says nothing to anyone.
//! 5. When it is durable the replica *starts again* ([`Effect::StartAgain`]): the process that takes its place reads the
//!    disk as every start does. There is one way to begin from an image. A crash before 4 is durable leaves the old state, one
//!    after it the new; the clients' connections end either way, and their sessions live on.

use std::collections::BTreeMap;

use super::Replica;
use super::exchange::{Borrower, Effect};
use super::image::AGAIN_AFTER;
use super::image_file::{ImageCheck, ImageHead};
use crate::journal::hard_state::ImagePointer;
use crate::limits::CATCH_UP_BYTES_MAX;
use crate::paxos::{ReplicaId, ReplicaSet, Slot};
use crate::time::{Duration, Instant};
use crate::wire::peer::PeerMessage;

/// What this replica lends and fetches.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    /// Peers whose piece is being read.
    reading: ReplicaSet,
    /// Until then somebody is taken to be fetching an image here.
    pub(super) lent_until: Instant,
    /// Since when no image is lent, for want of a majority that agrees, and when one was last asked for.
    withheld: Option<(Instant, Instant)>,
    fetch: Option<Fetch>,
    /// Whose image was refused, and told of.
    refused: BTreeMap<ReplicaId, Slot>,
    /// Whose image was refused since the last pause.
    spoilers: ReplicaSet,
    /// There was no room for the last one that was fetched, or all were refused: none is begun before.
    again_at: Option<Instant>,
    /// Nothing is done any more but to end in good order.
    ending: Option<Ending>,
}

/// An image on its way here.
#[derive(Debug)]
struct Fetch {
    source: ReplicaId,
    /// Which one, once its first piece came.
    image: Option<Slot>,
    received: u64,
    check: ImageCheck,
    /// A piece is being written.
    writing: bool,
    /// What came is no image.
    spoiled: bool,
    finishing: bool,
    asked_at: Instant,
    ask_at: Instant,
    asked_in_vain: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Pointing(ImagePointer),
    Over,
}

impl Fetch {
    fn of(source: ReplicaId) -> Self {
        Self {
            source,
            image: None,
            received: 0,
            check: ImageCheck::default(),
            writing: false,
            spoiled: false,
            finishing: false,
            asked_at: Instant::ZERO,
            ask_at: Instant::ZERO,
            asked_in_vain: 0,
        }
    }

    /// Whether what is being fetched can be dropped now: no write of it is under way.
    fn is_at_rest(&self) -> bool {
        !self.writing && !self.finishing
    }
}

impl Transfer {
    /// Whether an image is on its way here.
    pub(super) fn is_fetching(&self) -> bool {
        self.fetch.is_some()
    }

    /// Whether the replica is about to start again from an image.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// When the next piece is asked for.
    pub(super) fn next_deadline(&self) -> Instant {
        let ask_at = self.fetch.as_ref().filter(|fetch| fetch.is_at_rest()).map(|fetch| fetch.ask_at);
        ask_at.or(self.again_at).unwrap_or(Instant::FOREVER)
    }

    /// A piece of the image up to that slot is written. False if that is none of those that are fetched.
    pub(super) fn written(&mut self, slot: Slot) -> bool {
        let fetch = self.fetch.as_mut().filter(|fetch| fetch.image == Some(slot) && fetch.writing);
        fetch.map(|fetch| fetch.writing = false).is_some()
    }

    /// There is no room for a piece of the image up to that slot, or for its end. False if that is none of those that are
    /// fetched.
    pub(super) fn refused(&mut self, now: Instant, slot: Slot) -> bool {
        let Some(fetch) = self.fetch.as_mut().filter(|fetch| fetch.image == Some(slot) && !fetch.is_at_rest()) else {
            return false;
        };
        // The piece is answered before the end.
        if !std::mem::take(&mut fetch.writing) {
            fetch.finishing = false;
        }
        fetch.spoiled = true;
        self.again_at = Some(now + AGAIN_AFTER);
        true
    }
}

impl Replica {
    /// A peer wants a piece of an image.
    pub(super) fn lend(
        &mut self,
        now: Instant,
        to: ReplicaId,
        (image, offset): (Slot, u64),
        effects: &mut Vec<Effect>,
    ) {
        let Some(newest) = self.newest_to_lend(now, effects) else { return };
        let leads_on = image >= self.paxos.trimmed_upto();
        let is_kept = leads_on && image <= newest && self.images.kept().contains_key(&image);
        let (image, offset) = if is_kept { (image, offset) } else { (newest, 0) };
        if !self.transfer.reading.contains(to) {
            self.transfer.reading.insert(to);
            self.read_image(now, Borrower::Peer(to), (image, offset), effects);
        }
    }

    /// The newest image that may be lent. As long as none is, the states are to be compared.
    fn newest_to_lend(&mut self, now: Instant, effects: &mut Vec<Effect>) -> Option<Slot> {
        let agreed_upto = self.digests.agreed_upto();
        let log_begins = self.paxos.trimmed_upto();
        let leads_on = |image: &Slot| *image <= agreed_upto && *image >= log_begins;
        let agreed = self.images.kept().keys().rev().copied().find(leads_on);
        if agreed.is_some() {
            self.transfer.withheld = None;
            return agreed;
        }
        let newest = self.images.newest()?;
        let asked = self.transfer.withheld.filter(|(_, asked_at)| now.since(*asked_at) < WITHHELD_ANEW_AFTER);
        let since = asked.map_or(now, |(since, _)| since);
        self.transfer.withheld = Some((since, now));
        if now.since(since) >= LENT_UNAGREED_AFTER {
            return Some(newest);
        }
        self.want_an_entry(now, effects);
        None
    }

    /// Has a piece of an image read for somebody, who is taken to want the rest of it too.
    pub(super) fn read_image(
        &mut self,
        now: Instant,
        to: Borrower,
        (image, offset): (Slot, u64),
        effects: &mut Vec<Effect>,
    ) {
        self.transfer.lent_until = now + LENT_FOR;
        effects.push(Effect::ReadImage { to, image, offset, bytes: CATCH_UP_BYTES_MAX });
    }

    /// The piece is read; nothing, if the link to a peer is busy.
    pub(super) fn lent(
        &mut self,
        to: Borrower,
        (image, offset): (Slot, u64),
        bytes: bytes::Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let to = match to {
            Borrower::Peer(to) => to,
            Borrower::Front(front, ticket) => {
                return self.hand_to_client((front, ticket), (image, offset), bytes, effects);
            }
        };
        self.transfer.reading.remove(to);
        if !bytes.is_empty() {
            effects.push(Effect::Peer { to, message: PeerMessage::ImagePiece { image, offset, bytes } });
        }
    }

    /// Begins to fetch an image if one is needed, and keeps the pieces coming. Called at the end of a turn.
    pub(super) fn tend_fetch(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let needed = self.paxos.needs_image_of();
        self.transfer.again_at.take_if(|at| *at <= now);
        let Some(fetch) = &mut self.transfer.fetch else {
            self.transfer.fetch = needed.filter(|_| self.transfer.again_at.is_none()).map(Fetch::of);
            return;
        };
        if !fetch.is_at_rest() {
            return;
        }
        if needed.is_none() || fetch.spoiled || fetch.asked_in_vain > ASKED_IN_VAIN_MAX {
            effects.extend(fetch.image.map(|slot| Effect::DiscardImage { slot }));
            let next = next_after(fetch.source, self.links);
            if next.is_some_and(|next| self.transfer.spoilers.contains(next)) {
                // Each has sent what is no image: there is time for theirs to be mended.
                self.transfer.spoilers = ReplicaSet::default();
                self.transfer.again_at = Some(now + AGAIN_AFTER);
            }
            let next = next.filter(|_| self.transfer.again_at.is_none());
            self.transfer.fetch = needed.and(next).map(Fetch::of);
        } else if now >= fetch.ask_at {
            fetch.asked_in_vain += 1;
            (fetch.asked_at, fetch.ask_at) = (now, now + ASK_AGAIN);
            let message = PeerMessage::FetchImage { image: fetch.image.unwrap_or_default(), offset: fetch.received };
            effects.push(Effect::Peer { to: fetch.source, message });
        }
    }

    /// A piece of an image came.
    pub(super) fn take_piece(
        &mut self,
        from: ReplicaId,
        (image, offset): (Slot, u64),
        bytes: bytes::Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let chosen_upto = self.paxos.chosen_upto();
        let Some(fetch) = self.transfer.fetch.as_mut().filter(|f| f.source == from && f.is_at_rest() && !f.spoiled)
        else {
            return;
        };
        if fetch.image.is_none() && offset == 0 && image > chosen_upto {
            fetch.image = Some(image);
            effects.push(Effect::BeginImage { slot: image });
        }
        if fetch.image != Some(image) || fetch.received != offset {
            // An image that is not there any more, or one that is of no use: another is begun.
            fetch.spoiled |= offset == 0 && fetch.image != Some(image);
            return;
        }
        if let Err(error) = fetch.check.add(&bytes) {
            fetch.spoiled = true;
            self.transfer.spoilers.insert(from);
            if self.transfer.refused.insert(from, image) != Some(image) {
                effects.push(Effect::ImageRefused { from, image, error });
            }
            return;
        }
        fetch.received += bytes.len() as u64;
        fetch.asked_in_vain = 0;
        fetch.ask_at = fetch.asked_at + ASK_EVERY;
        fetch.writing = true;
        effects.push(Effect::ImagePiece { slot: image, bytes });
        if fetch.check.is_whole() {
            fetch.finishing = true;
            effects.push(Effect::FinishImage { slot: image });
        }
    }

    /// The image up to that slot is durable under its name. False if it was not fetched.
    pub(super) fn fetched(&mut self, slot: Slot, effects: &mut Vec<Effect>) -> bool {
        if !self.transfer.fetch.as_ref().is_some_and(|fetch| fetch.finishing && fetch.image == Some(slot)) {
            return false;
        }
        let head = self.transfer.fetch.take().and_then(|fetch| fetch.check.into_head()).expect("it was found whole");
        let (identity, _) = self.storage.about();
        let fits = head.slot == slot && head.identity.cell == identity.cell;
        if !fits || self.paxos.is_leader() || slot <= self.paxos.chosen_upto() {
            effects.push(Effect::RemoveImage { slot });
            return true;
        }
        let ImageHead { revision, configs, .. } = head;
        let pointer = ImagePointer { slot, revision, is_led_to: false };
        let configs = if cfg!(bug = "38") { self.paxos.configs().clone() } else { configs };
        self.storage.save_fetched(pointer, configs, self.paxos.acknowledged());
        self.transfer.ending = Some(Ending::Pointing(pointer));
        true
    }

    /// Writes what points to the image, and nothing else; then it is over.
    pub(super) fn end_from_image(&mut self, effects: &mut Vec<Effect>) {
        self.storage.hard_state_writes(effects);
        if let Some(Ending::Pointing(pointer)) = self.transfer.ending
            && self.storage.is_at_rest()
            && self.storage.image_is_durable(pointer)
        {
            self.transfer.ending = Some(Ending::Over);
            effects.push(Effect::StartAgain);
        }
    }
}

/// The next linked replica in the order of their ids, around.
fn next_after(source: ReplicaId, linked: ReplicaSet) -> Option<ReplicaId> {
    let after = (source.0 + 1..64).chain(1..=source.0).map(ReplicaId);
    after.into_iter().find(|replica| linked.contains(*replica))
}

/// Between two pieces: 64 MB/s at the most.
const ASK_EVERY: Duration = Duration::from_millis(4);

/// A piece that did not come by then is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// After so many vain questions somebody else is asked.
const ASKED_IN_VAIN_MAX: u32 = 4;

/// So long a comparison of the states is waited for: it takes a round trip where a majority is there.
const LENT_UNAGREED_AFTER: Duration = Duration::from_secs(2);

/// Whoever asks for an image comes around again sooner, until it has it. After that an agreement is waited for anew: what kept
/// the others from it may be over.
const WITHHELD_ANEW_AFTER: Duration = Duration::from_secs(10);

/// A peer that asked for nothing for so long has its image, or is gone.
const LENT_FOR: Duration = Duration::from_secs(2);

#[cfg(test)]
pub(super) mod tests;
