//! Logs: positions, ends, trimming, sealing, bounds, and what an append costs.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::codec::ReadRef;
use super::super::command::{
    Answer, Command, Done, Expect, Lifetime, LockMode, LogStat, Operation, Outcome, Quota, QuotaBounds, Records,
    Refusal, Stat, Step,
};
use super::super::records::RecordsRef;
use super::super::{Log, Namespace};
use super::{Bench, answer, create, delete, multi, set, step_create};
use crate::limits::{LOG_BYTES_MAX, LOG_RUN_BYTES, NODE_DATA_BYTES_MAX};

fn create_log(path: &str) -> Operation {
    Operation::CreateLog { path: path.into(), lifetime: Lifetime::Permanent, sequential: false }
}

fn append(path: &str, records: &[&[u8]], end: Option<u64>) -> Operation {
    Operation::Append { path: path.into(), records: records.iter().collect(), end }
}

fn trim(path: &str, upto: u64) -> Operation {
    Operation::Trim { path: path.into(), upto }
}

fn seal(path: &str) -> Operation {
    Operation::Seal { path: path.into() }
}

fn appended(first: u64, end: u64) -> Outcome {
    Ok(Done::Appended { first, end })
}

fn read(namespace: &Namespace, path: &str, from: u64) -> Result<Vec<Bytes>, Refusal> {
    let found = answer(namespace.tree(), ReadRef::Records { path, from, bytes: 0 })?;
    let Answer::Records { records, .. } = found else { panic!("{found:?}") };
    Ok(records.iter().collect())
}

fn stat(namespace: &Namespace, path: &str) -> Stat {
    namespace.tree().get(path).expect("it is there").stat()
}

#[test]
fn records_are_appended_and_read_by_position() {
    let mut bench = Bench::new();
    bench.ask(create_log("/l")).expect("it is new");
    assert_eq!(bench.ask(append("/l", &[b"a", b"", b"c"], None)), appended(0, 3));
    assert_eq!(bench.ask(append("/l", &[b"d"], Some(3))), appended(3, 4));
    assert_eq!(read(&bench.namespace, "/l", 0), Ok(vec!["a".into(), "".into(), "c".into(), "d".into()]));
    assert_eq!(read(&bench.namespace, "/l", 3), Ok(vec!["d".into()]));
    assert_eq!(read(&bench.namespace, "/l", 4), Ok(vec![]));
    let end = Refusal::LogEnd { path: "/l".into(), expected: 5, found: 4 };
    assert_eq!(read(&bench.namespace, "/l", 5), Err(end));
    let Stat { version, data_bytes, log, .. } = stat(&bench.namespace, "/l");
    assert_eq!((version, data_bytes, log), (4, 3 + 4 * 4, Some(LogStat { first: 0, sealed: false })));
}

#[test]
fn an_append_elsewhere_than_at_the_end_is_refused() {
    let mut bench = Bench::new();
    bench.ask(create_log("/l")).expect("it is new");
    bench.ask(append("/l", &[b"a"], Some(0))).expect("it is empty");
    let revision = bench.namespace.revision();
    let end = |expected| Err(Refusal::LogEnd { path: "/l".into(), expected, found: 1 });
    assert_eq!(bench.ask(append("/l", &[b"b"], Some(0))), end(0));
    assert_eq!(bench.ask(append("/l", &[b"b"], Some(2))), end(2));
    assert!(matches!(bench.ask(append("/l", &[], None)), Err(Refusal::BadArgument { .. })));
    assert_eq!(bench.namespace.revision(), revision);
    assert_eq!(bench.ask(append("/l", &[b"b"], Some(1))), appended(1, 2));
}

#[test]
fn an_append_sent_twice_is_there_once() {
    let mut bench = Bench::new();
    bench.ask(create_log("/l")).expect("it is new");
    let number = bench.number + 1;
    let operation = append("/l", &[b"a"], None);
    let request = Command::Request { session: bench.session, number, acked_upto: 0, operation };
    let first = bench.command(request.clone());
    assert_eq!(bench.command(request), first);
    assert_eq!(read(&bench.namespace, "/l", 0), Ok(vec!["a".into()]));
}

#[test]
fn what_is_trimmed_is_told_and_positions_go_on() {
    let mut bench = Bench::new();
    bench.ask(create_log("/l")).expect("it is new");
    bench.ask(append("/l", &[b"a", b"b", b"c"], None)).expect("it is a log");
    assert_eq!(bench.ask(trim("/l", 2)), Ok(Done::Trimmed { first: 2 }));
    let trimmed = |from| Err(Refusal::LogTrimmed { path: "/l".into(), from, first: 2 });
    assert_eq!(read(&bench.namespace, "/l", 0), trimmed(0));
    assert_eq!(read(&bench.namespace, "/l", 1), trimmed(1));
    assert_eq!(read(&bench.namespace, "/l", 2), Ok(vec!["c".into()]));
    let revision = bench.namespace.revision();
    assert_eq!(bench.ask(trim("/l", 1)), Ok(Done::Trimmed { first: 2 }), "it is trimmed already");
    assert_eq!(bench.namespace.revision(), revision);
    assert!(matches!(bench.ask(trim("/l", 4)), Err(Refusal::LogEnd { expected: 4, found: 3, .. })));
    assert_eq!(bench.ask(trim("/l", 3)), Ok(Done::Trimmed { first: 3 }));
    assert_eq!(stat(&bench.namespace, "/l").data_bytes, 0);
    assert_eq!(bench.ask(append("/l", &[b"d"], None)), appended(3, 4));
}

#[test]
fn a_sealed_log_takes_no_records_and_gives_those_it_has() {
    let mut bench = Bench::new();
    bench.ask(create_log("/l")).expect("it is new");
    bench.ask(append("/l", &[b"a", b"b"], None)).expect("it is a log");
    assert_eq!(bench.ask(seal("/l")), Ok(Done::Sealed { end: 2 }));
    assert_eq!(bench.ask(seal("/l")), Ok(Done::Sealed { end: 2 }));
    let sealed = Err(Refusal::LogSealed { path: "/l".into(), end: 2 });
    assert_eq!(bench.ask(append("/l", &[b"c"], None)), sealed);
    assert_eq!(bench.ask(append("/l", &[b"c"], Some(2))), sealed);
    assert_eq!(bench.ask(trim("/l", 1)), Ok(Done::Trimmed { first: 1 }));
    assert_eq!(read(&bench.namespace, "/l", 1), Ok(vec!["b".into()]));
    assert_eq!(stat(&bench.namespace, "/l").log, Some(LogStat { first: 1, sealed: true }));
    bench.ask(delete("/l", Expect::Version(2))).expect("its version is its end");
}

#[test]
fn logs_and_files_are_not_taken_for_each_other() {
    let mut bench = Bench::new();
    bench.ask(create_log("/l")).expect("it is new");
    bench.ask(create("/f")).expect("it is new");
    let is_log = || Refusal::IsLog { path: "/l".into() };
    let not_log = Refusal::NotLog { path: "/f".into() };
    assert_eq!(bench.ask(set("/l", b"x", Expect::Any)), Err(is_log()));
    assert_eq!(answer(bench.namespace.tree(), ReadRef::Get { path: "/l" }), Err(is_log()));
    let get = Step::Get { path: "/l".into() };
    assert_eq!(bench.ask(multi(vec![get])), Err(Refusal::Aborted { index: 0, cause: Box::new(is_log()) }));
    for operation in [append("/f", &[b"x"], None), trim("/f", 0), seal("/f")] {
        assert_eq!(bench.ask(operation), Err(not_log.clone()));
    }
    assert_eq!(read(&bench.namespace, "/f", 0), Err(not_log));
    assert_eq!(read(&bench.namespace, "/none", 0), Err(Refusal::NoNode { path: "/none".into() }));
}

#[test]
fn a_multi_appends_with_its_other_steps_or_not_at_all() {
    let mut bench = Bench::new();
    bench.ask(create_log("/l")).expect("it is new");
    bench.ask(append("/l", &[b"a"], None)).expect("it is a log");
    let step = |record: &str| Step::Append { path: "/l".into(), records: [record].iter().collect(), end: None };
    let before = bench.namespace.digest();
    let check = Step::Check { path: "/l".into(), expect: Expect::Version(3) };
    bench
        .ask(multi(vec![step("b"), step("c"), check.clone(), step_create("/x"), step_create("/x")]))
        .expect_err("twice");
    assert_eq!(read(&bench.namespace, "/l", 0), Ok(vec!["a".into()]));
    assert_ne!(bench.namespace.digest(), before, "the refusal is kept for a resend");
    bench.ask(multi(vec![step("d"), step("e"), check, step_create("/x")])).expect("all of it goes");
    assert_eq!(read(&bench.namespace, "/l", 1), Ok(vec!["d".into(), "e".into()]));
}

#[test]
fn a_fenced_writer_appends_nothing() {
    let mut bench = Bench::new();
    bench.ask(create_log("/l")).expect("it is new");
    let acquire = Operation::Acquire {
        path: "/l".into(),
        mode: LockMode::Exclusive,
        wait: false,
        create: false,
        lock_delay_ms: 0,
    };
    let Ok(Done::Granted { sequencer }) = bench.ask(acquire) else { panic!("nobody holds it") };
    let guarded =
        || Operation::Guarded { sequencer: sequencer.clone(), operation: Box::new(append("/l", &[b"a"], None)) };
    assert_eq!(bench.ask(guarded()), appended(0, 1));
    bench.ask(Operation::Release { path: "/l".into() }).expect("it is held");
    assert!(matches!(bench.ask(guarded()), Err(Refusal::Fenced { .. })));
    assert_eq!(stat(&bench.namespace, "/l").version, 1);
}

#[test]
fn a_quota_counts_records_and_trimming_gives_them_back() {
    let mut bench = Bench::new();
    bench.ask(create("/q")).expect("it is new");
    bench.ask(create_log("/q/l")).expect("it is new");
    let hard = QuotaBounds { nodes: None, bytes: Some(16) };
    let quota = Some(Quota { hard, ..Quota::default() });
    bench.ask(Operation::SetQuota { path: "/q".into(), quota }).expect("it is there");
    bench.ask(append("/q/l", &[b"1234", b"5678"], None)).expect("sixteen bytes");
    let over = Refusal::BytesOverQuota { path: "/q".into(), needed: 20, limit: 16 };
    assert_eq!(bench.ask(append("/q/l", &[b""], None)), Err(over));
    bench.ask(trim("/q/l", 1)).expect("it has two");
    assert_eq!(bench.ask(append("/q/l", &[b"9"], None)), appended(2, 3));
    bench.ask(delete("/q/l", Expect::Any)).expect("it is there");
    let Ok(Answer::Quota { quota: Some((_, usage)) }) = answer(bench.namespace.tree(), ReadRef::Quota { path: "/q" })
    else {
        panic!("it was set")
    };
    assert_eq!((usage.nodes, usage.bytes), (1, 0));
}

#[test]
fn a_log_is_bounded_and_so_is_a_record() {
    let mut bench = Bench::new();
    bench.ask(create_log("/l")).expect("it is new");
    let record = vec![7; NODE_DATA_BYTES_MAX - 4];
    for _ in 0..LOG_BYTES_MAX / NODE_DATA_BYTES_MAX {
        bench.ask(append("/l", &[&record], None)).expect("there is room");
    }
    let full = bench.ask(append("/l", &[b""], None)).expect_err("it is full");
    assert!(matches!(full, Refusal::TooLarge { limit, .. } if limit == LOG_BYTES_MAX as u64));
    bench.ask(trim("/l", 1)).expect("it has some");
    bench.ask(append("/l", &[&record], None)).expect("there is room again");
    let large = bench.ask(append("/l", &[&[0; NODE_DATA_BYTES_MAX + 1]], None)).expect_err("it is too large");
    assert!(matches!(large, Refusal::TooLarge { limit, .. } if limit == NODE_DATA_BYTES_MAX as u64));
}

#[test]
fn appends_put_off_the_end_of_a_log_with_a_time_to_live() {
    let mut bench = Bench::new();
    let operation = Operation::CreateLog { path: "/l".into(), lifetime: Lifetime::Ttl { ms: 5 }, sequential: false };
    bench.ask(operation).expect("it is new");
    let due = |bench: &Bench| bench.namespace.timers().next().map(|(at_ns, _)| at_ns);
    let mut at = |operation: Option<Operation>, log_time_ns: u64| {
        if let Some(operation) = operation {
            bench.number += 1;
            let (session, number) = (bench.session, bench.number);
            let request = Command::Request { session, number, acked_upto: 0, operation };
            bench.namespace.apply(&super::batch(log_time_ns, 0, &[request]), &mut super::Applied::default());
        }
        due(&bench)
    };
    assert_eq!(at(None, 0), Some(5_000_001));
    assert_eq!(at(Some(append("/l", &[b"a"], None)), 1_000_000), Some(6_000_000));
    assert_eq!(at(Some(trim("/l", 1)), 2_000_000), Some(6_000_000), "nothing new came");
    assert_eq!(at(Some(seal("/l")), 3_000_000), Some(6_000_000), "nothing new came");
}

#[test]
fn a_log_of_many_records_survives_an_image_in_bounded_chunks() {
    let mut bench = Bench::new();
    for path in ["/big", "/empty", "/gone"] {
        bench.ask(create_log(path)).expect("it is new");
    }
    let record = vec![3; 300];
    for number in 0..400_u32 {
        bench.ask(append("/big", &[&record, &number.to_le_bytes()], None)).expect("there is room");
    }
    bench.ask(append("/gone", &[b"a"], None)).expect("it is a log");
    bench.ask(trim("/gone", 1)).expect("it has one");
    bench.ask(trim("/big", 101)).expect("it has them");
    bench.ask(seal("/big")).expect("it is a log");
    bench.namespace.begin_image();
    let digest = bench.namespace.digest();
    bench.ask(delete("/big", Expect::Any)).expect("the image keeps it");
    let chunks: Vec<_> = std::iter::from_fn(|| bench.namespace.image_rows(4096)).collect();
    assert!(chunks.len() > 20, "{} chunks", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.len() < 4096 + 1024), "none is much larger than asked for");
    let restored = Namespace::from_image(5, chunks.iter().map(|chunk| &chunk[..])).expect("it is whole");
    restored.invariants();
    assert_eq!(restored.digest(), digest);
    assert_eq!(read(&restored, "/big", 799), Ok(vec![Bytes::copy_from_slice(&399_u32.to_le_bytes())]));
    assert_eq!(stat(&restored, "/gone").version, 1);
}

/// What was done to a log, and what it then was.
#[derive(Clone, Debug)]
enum Deed {
    Append(Vec<usize>),
    Trim(u64),
}

proptest! {
    #[test]
    fn every_version_of_a_log_stays_what_it_was(
        deeds in vec(
            prop_oneof![
                8 => vec(prop_oneof![8 => 0..40_usize, 1 => 0..LOG_RUN_BYTES * 2], 0..60).prop_map(Deed::Append),
                1 => (0..100_u64).prop_map(Deed::Trim),
            ],
            1..80,
        )
    ) {
        let (mut log, mut all, mut first) = (Log::default(), Vec::<Bytes>::new(), 0);
        let mut versions = Vec::new();
        for deed in deeds {
            match deed {
                Deed::Append(sizes) => {
                    let new: Vec<_> = (all.len()..).zip(sizes).map(|(at, size)| vec![at as u8; size]).collect();
                    let records: Records = new.iter().collect();
                    log = log.append(records.as_ref());
                    all.extend(new.into_iter().map(Bytes::from));
                }
                Deed::Trim(further) => {
                    first = (first + further).min(all.len() as u64);
                    log = log.trim(first);
                }
            }
            versions.push((log.clone(), first, all.len()));
        }
        for (log, first, end) in versions {
            log.invariants();
            prop_assert_eq!((log.first(), log.end()), (first, end as u64));
            let mut at = first;
            while at < log.end() {
                let page = log.read(at, 5000);
                let wanted = &all[at as usize..at as usize + page.len()];
                prop_assert!(page.iter().eq(wanted.iter().cloned()) && !page.is_empty());
                at += page.len() as u64;
            }
        }
    }

    #[test]
    fn a_run_is_of_whole_records_or_none(noise in vec(prop_oneof![0..4_u8, any::<u8>()], 0..40)) {
        if let Some(records) = RecordsRef::of_run(&noise) {
            prop_assert_eq!(records.iter().count(), records.len());
            let again: Records = records.iter().collect();
            prop_assert_eq!(again.as_ref().run(), &noise[..]);
        }
    }
}
