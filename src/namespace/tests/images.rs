//! An image and the batches after it make the namespace that all batches make, whenever its slices were taken.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use super::super::acl::Principals;
use super::super::slab::Row;
use super::super::{Applied, CommandOutcome, ImageError, ImageLoader, Marked, Namespace, NotResumed};
use super::generated::{command, deeds};
use super::model::Model;
use super::{Bench, batch, create, create_ephemeral, delete, set, take_over};
use crate::limits::SESSION_REQUESTS_IN_FLIGHT;
use crate::namespace::command::{Command, Expect};

fn load(seed: u64, chunks: &[Bytes]) -> Result<Namespace, ImageError> {
    Namespace::from_image(seed, chunks.iter().map(|chunk| &chunk[..]))
}

fn whole_image(namespace: &mut Namespace) -> Vec<Bytes> {
    namespace.begin_image();
    std::iter::from_fn(|| namespace.image_rows(64)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_image_and_its_tail_equal_a_replay(
        deeds in deeds(40), begin in 0..40_usize, budget in 1..300_usize, slices in 0..4_usize, seed in any::<u64>(),
    ) {
        let mut model = Model::new();
        let mut replayed = Namespace::new(1);
        let mut applied = Applied::default();
        let begin = begin % deeds.len();
        let (mut chunks, mut tail, mut at_begin) = (Vec::new(), Vec::new(), 0);
        for (turn, deeds) in deeds.iter().enumerate() {
            if turn == begin {
                at_begin = replayed.digest();
                prop_assert_eq!(replayed.begin_image(), model.revision);
            }
            if turn >= begin {
                chunks.extend((0..slices).map_while(|_| replayed.image_rows(budget)));
            }
            let time = turn as u64 * 1_000_000;
            let mut commands = Vec::new();
            for deed in deeds {
                commands.push(command(&model, deed));
                model.apply(&commands[commands.len() - 1], time, time);
            }
            let bytes = batch(time, time, &commands);
            replayed.apply(&bytes, &mut applied);
            if turn >= begin {
                tail.push(bytes);
            }
        }
        chunks.extend(std::iter::from_fn(|| replayed.image_rows(budget)));
        prop_assert!(!replayed.is_imaging());

        let mut restored = load(seed, &chunks).expect("the image is whole");
        restored.invariants();
        prop_assert_eq!(restored.digest(), at_begin);
        let mut after = Applied::default();
        tail.iter().for_each(|bytes| restored.apply(bytes, &mut after));
        restored.invariants();
        prop_assert_eq!(restored.digest(), replayed.digest());
        let told = &applied.outcomes[applied.outcomes.len() - after.outcomes.len()..];
        prop_assert_eq!(&after.outcomes, told, "a resend is told the same after a recovery");
    }

    #[test]
    fn noise_is_no_image(noise in proptest::collection::vec(prop_oneof![0..5_u8, any::<u8>()], 0..200)) {
        let mut loader = ImageLoader::new(0);
        prop_assert!(loader.add(&noise).and_then(|()| loader.finish()).is_err());
    }

    #[test]
    fn a_changed_byte_or_a_lost_chunk_is_noticed(place in any::<usize>(), change in 1..=255_u8) {
        let mut bench = populated();
        let mut chunks = whole_image(&mut bench.namespace);
        let at = place % chunks.len();
        let lost = [&chunks[..at], &chunks[at + 1..]].concat();
        prop_assert!(load(0, &lost).is_err() || chunks[at].is_empty());
        let mut bytes = chunks[at].to_vec();
        if let Some(byte) = bytes.get_mut(place % chunks[at].len().max(1)) {
            *byte ^= change;
            chunks[at] = Bytes::from(bytes);
            prop_assert!(load(0, &chunks).is_err());
        }
    }
}

fn populated() -> Bench {
    let mut bench = Bench::new();
    for path in ["/a", "/a/b", "/a/c", "/d"] {
        bench.ask(create(path)).expect("its parent is there");
    }
    bench.ask(create_ephemeral("/e")).expect("it is new");
    bench.ask(set("/a/b", b"data", Expect::Any)).expect("it is there");
    bench.ask(delete("/a/c", Expect::Any)).expect("it is there");
    bench
}

#[test]
fn an_image_given_up_can_be_begun_again() {
    let mut bench = populated();
    bench.namespace.begin_image();
    assert!(bench.namespace.image_rows(1).is_some());
    bench.ask(delete("/d", Expect::Any)).expect("it is there");
    bench.namespace.end_image();
    assert!(bench.namespace.image_rows(1).is_none());
    let chunks = whole_image(&mut bench.namespace);
    assert_eq!(load(3, &chunks).expect("it is whole").digest(), bench.namespace.digest());
}

#[test]
fn an_image_of_another_format_is_refused_by_name() {
    let mut chunk = whole_image(&mut Namespace::new(0))[0].to_vec();
    chunk[1] = 9;
    assert_eq!(load(0, &[Bytes::from(chunk)]).err(), Some(ImageError::Version { found: 9 }));
}

/// Of a session that was marked images have always said so much, and digests were of so much. What was said of it when no more
/// was known is read as "any of its processes may keep answers", and nothing else in the image tells otherwise.
#[test]
fn an_image_from_before_a_session_remembered_its_processes_is_read_as_it_was_meant() {
    let mut bench = Bench::new();
    let session = bench.session;
    bench.command(Command::MarkCaching { session });
    bench.command(take_over(session, 7));
    let mut who = BytesMut::new();
    Principals::default().put(&mut who);
    let name = [&session.0.to_le_bytes()[..], &1_u64.to_le_bytes(), &99_u128.to_le_bytes(), &12_000_u32.to_le_bytes()]
        .concat();
    let numbers = [2, SESSION_REQUESTS_IN_FLIGHT as u64].map(u64::to_le_bytes).concat();
    let processes = [&[1_u8][..], &[7_u64, 1, 0].map(u64::to_le_bytes).concat()].concat();

    let record = [&[3_u8][..], &name, &numbers, &who, &processes, &0_u32.to_le_bytes()].concat();
    let chunks = whole_image(&mut bench.namespace);
    let image: Vec<u8> = chunks.iter().flatten().copied().collect();
    assert!(image.windows(record.len()).any(|bytes| bytes == record), "{record:?} is not in {image:?}");
    let place = bench.namespace.sessions.find(session).expect("it lives");
    let row = bench.namespace.sessions.get(place);
    let no_results = 0_u128.to_le_bytes();
    let hashed = [&name[..], &numbers, &no_results, &xxh3_128(&who).to_le_bytes(), &processes].concat();
    assert_eq!(Row::hash(row), xxh3_128(&hashed), "it has the digest that it had");

    let restored = load(3, &chunks).expect("it is whole");
    let view = restored.session(session).expect("it lives");
    assert_eq!((view.marked, view.is_marked_for_former()), (Marked::ForAny, true));
}

#[test]
fn an_image_tells_which_processes_had_a_session_and_which_may_keep_answers() {
    for (marks_at, marked) in [(9, Marked::ForAny), (10, Marked::ForHolder)] {
        let mut bench = Bench::new();
        let session = bench.session;
        for process in 7..=10 {
            bench.command(take_over(session, process));
            if process == marks_at {
                bench.command(Command::MarkCaching { session });
            }
        }
        let chunks = whole_image(&mut bench.namespace);
        let mut restored = Bench { namespace: load(3, &chunks).expect("it is whole"), ..bench };
        assert_eq!(restored.namespace.session(session).expect("it lives").marked, marked);
        for process in 7..10 {
            let taken = CommandOutcome::SessionRefused { token: 4, session, why: NotResumed::Taken };
            assert_eq!(restored.command(take_over(session, process)), taken, "{process}");
        }
    }
}
