//! Whole trees deleted: the bound, the parts, the order, and what goes with the nodes.

use super::super::command::{Done, Expect, LockMode, Refusal};
use super::super::{Aspect, Change};
use super::*;
use crate::limits::TREE_NODES_DELETED_MAX;

fn grown(children: usize) -> Bench {
    let mut bench = Bench::new();
    bench.ask(create("/t")).expect("it is new");
    let names: Vec<_> = (0..children).map(|n| format!("/t/{n:06}")).collect();
    for some in names.chunks(4000) {
        bench.ask(multi(some.iter().map(|path| step_create(path)).collect())).expect("they are new");
    }
    bench
}

#[test]
fn a_tree_goes_in_one_revision_children_first_with_all_that_hangs_on_it() {
    let mut bench = Bench::new();
    for operation in [create("/t"), create("/t/b"), create("/t/b/x"), create_ephemeral("/t/a"), create("/t-")] {
        bench.ask(operation).expect("it is lawful");
    }
    let (mode, wait, create, lock_delay_ms) = (LockMode::Exclusive, true, false, 0);
    bench.ask(Operation::Acquire { path: "/t/b".into(), mode, wait, create, lock_delay_ms }).expect("it is free");
    let (session, number) = (bench.session, bench.number + 1);
    let before = bench.namespace.revision();
    let operation = delete_tree("/t", Expect::Version(0));
    let command = Command::Request { session, number, acked_upto: 0, operation };
    let mut applied = Applied::default();
    bench.namespace.apply(&batch(1, 1000, &[command]), &mut applied);
    bench.namespace.invariants();
    let deaths = applied.changes.iter().filter(|change| change.aspect == Aspect::Death);
    let paths: Vec<_> = deaths.map(|Change { path, .. }| &**path).collect();
    assert_eq!(paths, ["/t/a", "/t/b/x", "/t/b", "/t"]);
    assert!(applied.changes.iter().all(|change| change.revision == before + 1), "one command, one revision");
    let left: Vec<_> = bench.namespace.tree().children("/", "").expect("the root is there").collect();
    assert_eq!(left, ["/t-"]);
    assert_eq!(bench.namespace.ephemerals(session).count(), 0);
}

#[test]
fn a_tree_past_the_bound_is_refused_whole_and_comes_down_in_parts() {
    let max = TREE_NODES_DELETED_MAX;
    let mut bench = grown(max);
    let digest = bench.namespace.tree().digest();
    let refusal = bench.ask(delete_tree("/t", Expect::Any));
    assert!(
        matches!(&refusal, Err(Refusal::TooLarge { size, limit, .. }) if (*size, *limit) == (max as u64 + 1, max as u64)),
        "{refusal:?}"
    );
    assert_eq!(bench.namespace.tree().digest(), digest, "all or nothing");
    let mut part = |part| bench.ask(Operation::DeleteTree { path: "/t".into(), expect: Expect::Any, part });
    assert_eq!(part(10), Ok(Done::TreeDeleted { nodes: 10, more: true }));
    assert_eq!(part(u32::MAX), Ok(Done::TreeDeleted { nodes: max as u32 - 9, more: false }), "the node itself is last");
    assert!(bench.namespace.tree().get("/t").is_none());
    let mut bench = grown(max - 1);
    assert_eq!(bench.ask(delete_tree("/t", Expect::Any)), Ok(Done::TreeDeleted { nodes: max as u32, more: false }));
}
