//! Which images are lent, and when.

use std::collections::BTreeMap;

use super::*;
use crate::journal::hard_state::HardStateFile;
use crate::journal::{Identity, Journal, Known, SegmentId, SegmentRead, Settings, recover};
use crate::namespace::Namespace;
use crate::paxos::{self, Ballot, CellId, Config, HardState, Incarnation, Kind};
use crate::replica::exchange::Input;
use crate::replica::image_file::{ImageFileError, ImageWriter};
use crate::replica::{Bounds, Digests, Recovered, Storage};

const SEGMENT_BYTES: u64 = 1 << 20;
const IMAGE: Slot = Slot(5);

/// A journal in which nothing was written yet.
struct Blank;

impl SegmentRead for Blank {
    fn segments(&self) -> Vec<(SegmentId, u64)> {
        vec![(SegmentId(1), SEGMENT_BYTES), (SegmentId(2), SEGMENT_BYTES)]
    }

    fn read(&mut self, _: SegmentId, _: u64, into: &mut [u8]) -> std::io::Result<()> {
        into.fill(0);
        Ok(())
    }
}

/// Replica 1 of three, which started from an image and went on to slot 6.
fn replica() -> Replica {
    started(&[IMAGE.previous(), IMAGE], Slot(0))
}

/// That one, with these images, whose log is damaged up to there.
pub(in crate::replica) fn started(images: &[Slot], damaged_upto: Slot) -> Replica {
    let mut digests = Digests::every(1024);
    digests.applied(IMAGE.next(), Some(Kind::Noop), || 7);
    started_with(images, digests, damaged_upto)
}

/// That one, with these images and these digests of what it applied.
fn started_with(images: &[Slot], digests: Digests, damaged_upto: Slot) -> Replica {
    let images = images.iter().map(|slot| (*slot, 0)).collect();
    let recovered = Recovered { digests, damaged_upto, ..recovered(images, |_| ()) };
    Replica::start(Instant::ZERO, settings(), recovered, 1, 7)
}

/// What that one's disk tells, with what `fill` adds to the log, whatever that holds.
pub(in crate::replica) fn recovered(images: BTreeMap<Slot, u64>, fill: impl FnOnce(&mut Journal)) -> Recovered {
    let identity = Identity { cell: CellId(1), replica: ReplicaId(1), incarnation: Incarnation(1) };
    let bind = |config: Config, n: u8| config.bound(ReplicaId(n), Incarnation(u128::from(n)));
    let config = (1..=3).fold(Config::of_voters((1..=3).map(ReplicaId)), bind);
    let state = HardState::fresh(config);
    let pointer = ImagePointer { slot: IMAGE, revision: 0, is_led_to: false };
    let file = HardStateFile::format_with(identity, &state, pointer);
    let mut hard_state = HardStateFile::open(identity.cell, &file).expect("it was just made");
    let hard_state_sequence = hard_state.durable_sequence();
    let known = Known {
        identity,
        start: 0,
        hard_state: hard_state_sequence,
        image_upto: IMAGE,
        chosen_upto: IMAGE,
        image_is_led_to: false,
    };
    let recovery = recover(&mut Blank, known, &mut |_, _| {}).expect("an empty journal");
    let mut journal = Journal::open(identity, Settings { segment_bytes: SEGMENT_BYTES }, recovery.tail);
    let write = journal.next_write().expect("the start's record");
    journal.completed(Instant::ZERO, write.id);
    fill(&mut journal);
    hard_state.save_start(journal.start(), Ballot::NONE);
    while let Some(write) = hard_state.next_write() {
        hard_state.completed(write.id);
    }
    let bounds =
        Bounds { image_after_bytes: 1 << 30, journal_bytes_max: 16 * SEGMENT_BYTES, keep_bytes: 16 * SEGMENT_BYTES };
    let paxos = paxos::Recovered {
        hard_state: state,
        chosen_upto: IMAGE.next(),
        trimmed_upto: IMAGE,
        accepted: Vec::new(),
        lost: Vec::new(),
        maybe: Vec::new(),
        unknown: Vec::new(),
    };
    let storage = Storage::new(journal, hard_state, bounds);
    Recovered {
        paxos,
        namespace: Namespace::new(7),
        images,
        bounds,
        scrub_period: None,
        damaged_upto: Slot(0),
        digests: Digests::every(1024),
        storage,
    }
}

pub(in crate::replica) fn settings() -> paxos::Settings {
    paxos::Settings {
        me: ReplicaId(1),
        incarnation: Incarnation(1),
        heartbeat: Duration::from_millis(25),
        lease: Duration::from_millis(250),
        lease_reads: true,
        margin: Duration::from_millis(5),
        clock_error_ppm: 1000,
        election_min: Duration::from_secs(60),
        election_max: Duration::from_secs(90),
        log_memory_bytes: 1 << 20,
        seed: 1,
    }
}

/// Whether a piece of the image is read for replica 2, which asks for it at that moment.
fn lends(replica: &mut Replica, now: Instant) -> bool {
    let mut effects = Vec::new();
    let message = PeerMessage::FetchImage { image: Slot(0), offset: 0 };
    let (from, incarnation) = (ReplicaId(2), Incarnation(2));
    replica.step(now, Input::Peer { from, incarnation, message }, &mut effects);
    replica.step(now, Input::TurnEnd { wall_ms: 0 }, &mut effects);
    effects.iter().any(|effect| matches!(effect, Effect::ReadImage { image: IMAGE, .. }))
}

#[test]
fn an_image_is_lent_once_a_majority_agrees_behind_it() {
    let mut lender = replica();
    assert!(!lends(&mut lender, Instant::ZERO), "nobody else has said what it has");
    let (from, incarnation) = (ReplicaId(3), Incarnation(3));
    let message = PeerMessage::Digest { slot: IMAGE.next(), digest: 7 };
    let mut effects = Vec::new();
    lender.step(Instant::ZERO, Input::Peer { from, incarnation, message }, &mut effects);
    lender.step(Instant::ZERO, Input::TurnEnd { wall_ms: 0 }, &mut effects);
    assert!(lends(&mut lender, Instant::ZERO), "two of three have the same state");
}

#[test]
fn an_image_with_which_nobody_can_agree_is_lent_after_a_while() {
    let mut lender = replica();
    let later = Instant::from_nanos(LENT_UNAGREED_AFTER.as_nanos());
    assert!(!lends(&mut lender, Instant::ZERO));
    assert!(!lends(&mut lender, Instant::from_nanos(LENT_UNAGREED_AFTER.as_nanos() - 1)));
    assert!(lends(&mut lender, later), "the others may all be waiting for it");
    let mut newest = |after: Duration| lender.newest_to_lend(later + after, &mut Vec::new());
    assert_eq!(newest(LENT_UNAGREED_AFTER), Some(IMAGE), "and goes on");
    let next = LENT_UNAGREED_AFTER + WITHHELD_ANEW_AFTER;
    assert_eq!(newest(next), None, "for the next who asks an agreement is looked for anew");
    assert_eq!(newest(next + LENT_UNAGREED_AFTER), Some(IMAGE));
}

#[test]
fn an_image_behind_which_the_log_is_gone_is_of_no_use_to_anybody() {
    let older = Slot(3);
    let mut digests = Digests::every(1);
    digests.applied(older, Some(Kind::Noop), || 7);
    digests.applied(IMAGE.next(), Some(Kind::Noop), || 8);
    let mut lender = started_with(&[older, IMAGE], digests, Slot(0));
    let (from, incarnation) = (ReplicaId(3), Incarnation(3));
    let message = PeerMessage::Digest { slot: older, digest: 7 };
    lender.step(Instant::ZERO, Input::Peer { from, incarnation, message }, &mut Vec::new());
    lender.step(Instant::ZERO, Input::TurnEnd { wall_ms: 0 }, &mut Vec::new());
    assert_eq!(lender.digests.agreed_upto(), older, "two of three had the same state there");
    let newest = |lender: &mut Replica, now| lender.newest_to_lend(now, &mut Vec::new());
    assert_eq!(newest(&mut lender, Instant::ZERO), None, "the older one does not lead to where the log begins");
    let later = Instant::from_nanos(LENT_UNAGREED_AFTER.as_nanos());
    assert_eq!(newest(&mut lender, later), Some(IMAGE), "the newer one may be what all the others wait for");
}

#[test]
fn an_agreement_is_asked_for_until_it_is_there() {
    let mut lender = replica();
    lender.leader = Some((ReplicaId(3), Ballot::NONE));
    let mut wishes = 0;
    for ms in (0..2_000).step_by(250) {
        let mut effects = Vec::new();
        let now = Instant::ZERO + Duration::from_millis(ms);
        assert_eq!(lender.newest_to_lend(now, &mut effects), None);
        wishes +=
            effects.iter().filter(|e| matches!(e, Effect::Peer { message: PeerMessage::EntryWanted, .. })).count();
        lender.tend_images(now, &mut Vec::new());
    }
    assert_eq!(
        wishes, 2,
        "the first may have found the leader busy, or may be lost; more than one a second are of no use"
    );
}

/// What replica 2 has an image up to, which is all that helps.
const FETCHED: Slot = Slot(20);
const SENDER: ReplicaId = ReplicaId(2);

/// Replica 1, which fetches it; everything it ever wanted done.
struct Fetcher {
    replica: Replica,
    effects: Vec<Effect>,
}

impl Fetcher {
    /// It has just been told that the log is gone.
    fn new() -> Self {
        let mut fetcher = Self { replica: replica(), effects: Vec::new() };
        for id in 2..=3 {
            let (replica, incarnation) = (ReplicaId(id), Incarnation(u128::from(id)));
            fetcher.step(Instant::ZERO, Input::PeerUp { replica, incarnation });
        }
        fetcher.hears(Instant::ZERO, PeerMessage::Paxos(paxos::Message::Trimmed { trimmed_upto: FETCHED }));
        assert_eq!(fetcher.asks(Instant::ZERO), None, "the turn in which it learns that it needs one");
        fetcher
    }

    fn step(&mut self, now: Instant, input: Input) {
        self.replica.step(now, input, &mut self.effects);
    }

    fn hears(&mut self, now: Instant, message: PeerMessage) {
        self.step(now, Input::Peer { from: SENDER, incarnation: Incarnation(2), message });
    }

    /// Whom it asks for a piece in a turn that ends then, and for which.
    fn asks(&mut self, now: Instant) -> Option<(ReplicaId, Slot, u64)> {
        let before = self.effects.len();
        self.step(now, Input::TurnEnd { wall_ms: 0 });
        self.effects[before..].iter().find_map(|effect| match effect {
            Effect::Peer { to, message: PeerMessage::FetchImage { image, offset } } => Some((*to, *image, *offset)),
            _ => None,
        })
    }

    /// That piece of the image comes, and is written.
    fn takes(&mut self, now: Instant, offset: usize, piece: &[u8]) {
        let bytes = bytes::Bytes::copy_from_slice(piece);
        self.hears(now, PeerMessage::ImagePiece { image: FETCHED, offset: offset as u64, bytes });
        self.step(now, Input::ImageWritten { slot: FETCHED });
    }

    /// Images begun and dropped, and the bytes that were written of them.
    fn did(&self) -> (usize, usize, usize) {
        let begun = self.effects.iter().filter(|effect| matches!(effect, Effect::BeginImage { .. })).count();
        let dropped = self.effects.iter().filter(|effect| matches!(effect, Effect::DiscardImage { .. })).count();
        let written = self.effects.iter().map(|effect| match effect {
            Effect::ImagePiece { bytes, .. } => bytes.len(),
            _ => 0,
        });
        (begun, dropped, written.sum())
    }
}

/// What that image says before its rows.
fn head(revision: u64) -> ImageHead {
    let identity = Identity { cell: CellId(1), replica: SENDER, incarnation: Incarnation(2) };
    let configs = paxos::Configs::of_operator(Config::of_voters((1..=3).map(ReplicaId)));
    ImageHead { identity, slot: FETCHED, revision, configs }
}

/// The file of that image.
fn file() -> Vec<u8> {
    let (mut namespace, mut file) = (Namespace::new(7), Vec::new());
    let head = head(namespace.revision());
    let put = |piece: bytes::Bytes| {
        file.extend_from_slice(&piece);
        Ok::<(), std::convert::Infallible>(())
    };
    crate::replica::write_image(&head, &mut namespace, put).expect("memory takes it");
    file
}

/// The pieces of an image, whatever its rows hold.
fn pieces() -> Vec<bytes::Bytes> {
    let mut writer = ImageWriter::default();
    let first = writer.head(&head(0));
    let rows: Vec<bytes::Bytes> = [b"some", b"more"].iter().map(|rows| writer.rows(*rows)).collect();
    [&[first][..], &rows, &[writer.end()]].concat()
}

#[test]
fn an_image_whose_pieces_are_out_of_place_is_refused_and_asked_of_another() {
    let (mut fetcher, mut pieces) = (Fetcher::new(), pieces());
    let whole = pieces.concat();
    pieces.swap(1, 2);
    let exchanged = pieces.concat();
    assert_eq!(exchanged.len(), whole.len());
    let sends = |fetcher: &mut Fetcher, now: Instant, from: ReplicaId, file: &[u8]| {
        assert_eq!(fetcher.asks(now), Some((from, Slot(0), 0)));
        let message = PeerMessage::ImagePiece { image: FETCHED, offset: 0, bytes: file.to_vec().into() };
        fetcher.step(now, Input::Peer { from, incarnation: Incarnation(u128::from(from.0)), message });
    };
    let (mut now, mut dropped) = (Instant::ZERO, 0);
    for round in [&[SENDER, ReplicaId(3)][..], &[SENDER]] {
        for from in round {
            sends(&mut fetcher, now, *from, &exchanged);
            assert_eq!(fetcher.did(), (dropped + 1, dropped, 0), "what shows that it is none is not written");
            assert_eq!(fetcher.asks(now), None, "the turn in which it is dropped");
            dropped += 1;
            assert_eq!(fetcher.did().1, dropped);
        }
        if dropped == 2 {
            let soon = now + AGAIN_AFTER.less(Duration::from_nanos(1));
            assert_eq!((fetcher.asks(now), fetcher.asks(soon)), (None, None), "all were asked, in vain");
            now += AGAIN_AFTER;
            assert_eq!(fetcher.asks(now), None, "the turn in which it is begun");
        }
    }
    let refused = fetcher.effects.iter().filter_map(|effect| match effect {
        Effect::ImageRefused { from, image: FETCHED, error: ImageFileError::Hash { .. } } => Some(*from),
        Effect::ImageRefused { .. } | Effect::FinishImage { .. } => panic!("each piece is whole: {effect:?}"),
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [SENDER, ReplicaId(3)], "each is told of once");
    sends(&mut fetcher, now, ReplicaId(3), &whole);
    assert_eq!(fetcher.did(), (4, 3, whole.len()));
    let finished = fetcher.effects.iter().filter(|effect| matches!(effect, Effect::FinishImage { slot: FETCHED }));
    assert_eq!(finished.count(), 1, "a whole one is taken, though it is the one that was damaged before");
}

#[test]
fn a_fetch_whose_sender_comes_back_goes_on_from_where_it_was() {
    let (mut fetcher, file) = (Fetcher::new(), file());
    let half = file.len() / 2;
    assert_eq!(fetcher.asks(Instant::ZERO), Some((SENDER, Slot(0), 0)));
    fetcher.takes(Instant::ZERO, 0, &file[..half]);
    let mut now = Instant::ZERO + ASK_EVERY;
    // The sender's process is killed, and started again.
    fetcher.step(now, Input::PeerDown { replica: SENDER });
    for _ in 1..ASKED_IN_VAIN_MAX {
        assert_eq!(fetcher.asks(now), Some((SENDER, FETCHED, half as u64)), "that one, and no other piece");
        now += ASK_AGAIN;
    }
    fetcher.step(now, Input::PeerUp { replica: SENDER, incarnation: Incarnation(2) });
    assert_eq!(fetcher.asks(now), Some((SENDER, FETCHED, half as u64)));
    // What was asked for more than once may come more than once.
    fetcher.takes(now, half, &file[half..]);
    fetcher.hears(
        now,
        PeerMessage::ImagePiece { image: FETCHED, offset: half as u64, bytes: file[half..].to_vec().into() },
    );
    assert_eq!(fetcher.did(), (1, 0, file.len()), "every byte came once, to one file");
    let finished = fetcher.effects.iter().filter(|effect| matches!(effect, Effect::FinishImage { slot: FETCHED }));
    assert_eq!(finished.count(), 1, "and it is whole");
}

/// No two replicas have the same image, so what came is of no use with another sender.
#[test]
fn a_fetch_whose_sender_stays_away_begins_anew_with_another() {
    let (mut fetcher, file) = (Fetcher::new(), file());
    assert_eq!(fetcher.asks(Instant::ZERO), Some((SENDER, Slot(0), 0)));
    fetcher.takes(Instant::ZERO, 0, &file[..file.len() / 2]);
    let mut now = Instant::ZERO + ASK_EVERY;
    fetcher.step(now, Input::PeerDown { replica: SENDER });
    for _ in 0..=ASKED_IN_VAIN_MAX {
        assert_eq!(fetcher.did().1, 0, "it may come back");
        assert_eq!(fetcher.asks(now).map(|(whom, ..)| whom), Some(SENDER));
        now += ASK_AGAIN;
    }
    assert_eq!(fetcher.asks(now), None);
    assert_eq!(fetcher.did().1, 1, "what it sent is dropped");
    assert_eq!(fetcher.asks(now), Some((ReplicaId(3), Slot(0), 0)));
}
