//! Quotas: what they count, what they refuse, when they warn; and the bounds of one session's nodes and of one node's children.

use super::super::Aspect;
use super::super::acl::{Acl, AclEntry, Rights, Who};
use super::super::codec::ReadRef;
use super::super::command::{
    Answer, Birth, Done, Expect, HandleMode, LockMode, Quota, QuotaBounds, Refusal, Step, Usage,
};
use super::*;
use crate::limits::{
    ENTRY_NODES_WALKED_MAX, MULTI_OPS_MAX, NODE_CHILDREN_MAX, QUOTA_NODES_COUNTED_MAX, SESSION_EPHEMERALS_MAX,
    TREE_NODES_DELETED_MAX,
};

fn bounds(nodes: Option<u64>, bytes: Option<u64>) -> QuotaBounds {
    QuotaBounds { nodes, bytes }
}

fn hard(nodes: Option<u64>, bytes: Option<u64>) -> Quota {
    Quota { hard: bounds(nodes, bytes), soft: QuotaBounds::default() }
}

fn soft(nodes: Option<u64>, bytes: Option<u64>) -> Quota {
    Quota { hard: QuotaBounds::default(), soft: bounds(nodes, bytes) }
}

fn set_quota(path: &str, quota: Option<Quota>) -> Operation {
    Operation::SetQuota { path: path.into(), quota }
}

fn usage(bench: &Bench, path: &str) -> Option<(u64, u64)> {
    let found = answer(bench.namespace.tree(), ReadRef::Quota { path });
    let Ok(Answer::Quota { quota }) = found else { panic!("{found:?}") };
    quota.map(|(_, Usage { nodes, bytes })| (nodes, bytes))
}

fn bench(paths: &[&str]) -> Bench {
    let mut bench = Bench::new();
    for path in paths {
        bench.ask(create(path)).expect("it is new");
    }
    bench
}

/// So many nodes more below `path`.
fn grow(bench: &mut Bench, path: &str, nodes: usize) {
    let names: Vec<_> = (0..nodes).map(|n| format!("{path}/{n}")).collect();
    for some in names.chunks(MULTI_OPS_MAX) {
        let command = bench.request(multi(some.iter().map(|path| step_create(path)).collect()));
        bench.namespace.apply(&batch(1, 1000, &[command]), &mut Applied::default());
    }
}

/// Paths whose soft bounds the operation passes.
fn warned(bench: &mut Bench, operation: Operation) -> Vec<String> {
    let mut applied = Applied::default();
    let command = bench.request(operation);
    bench.namespace.apply(&batch(1, 1000, &[command]), &mut applied);
    bench.namespace.invariants();
    let warnings = applied.changes.iter().filter(|change| change.aspect == Aspect::OverQuota);
    warnings.map(|change| (*change.path).to_owned()).collect()
}

#[test]
fn a_quota_counts_what_was_there_and_what_comes_goes_and_changes() {
    let mut bench = bench(&["/q", "/q/a", "/q/a/b", "/qq"]);
    bench.ask(set("/q/a", b"four", Expect::Any)).expect("it is there");
    bench.ask(set_quota("/q", Some(hard(Some(10), None)))).expect("it is there");
    assert_eq!(usage(&bench, "/q"), Some((3, 4)));
    assert_eq!(usage(&bench, "/q/a"), None, "a quota is where it was set");
    bench.ask(set("/q", b"12", Expect::Any)).expect("it is there");
    bench.ask(set("/q/a", b"1", Expect::Any)).expect("it is there");
    bench.ask(create_sequential("/q/s-")).expect("it is new");
    bench.ask(create_ephemeral("/q/e")).expect("it is new");
    assert_eq!(usage(&bench, "/q"), Some((5, 3)));
    bench.ask(delete_tree("/q/a", Expect::Any)).expect("it is there");
    assert_eq!(usage(&bench, "/q"), Some((3, 2)));
    let step = Step::Delete { path: "/q/e".into(), expect: Expect::Any };
    bench.ask(multi(vec![step_create("/q/x"), step, step_create("/q/x")])).expect_err("it is there by then");
    assert_eq!(usage(&bench, "/q"), Some((3, 2)), "what is taken back is taken off");
    bench.ask(Operation::CloseSession).expect("it lives");
    assert_eq!(usage(&bench, "/q"), Some((2, 2)));
}

#[test]
fn what_goes_past_a_hard_bound_is_refused_however_it_comes() {
    let mut bench = bench(&["/q", "/q/a"]);
    bench.ask(set("/q/a", b"12345", Expect::Any)).expect("it is there");
    bench.ask(set_quota("/", Some(hard(Some(4), None)))).expect("the root is there");
    bench.ask(set_quota("/q", Some(hard(Some(3), Some(8))))).expect("it is there");
    bench.ask(create("/q/b")).expect("it just fits");
    let nodes = |path: &str, limit| Refusal::NodesOverQuota { path: path.into(), needed: limit + 1, limit };
    let bytes = |needed| Refusal::BytesOverQuota { path: "/q".into(), needed, limit: 8 };
    let abort = |index, cause| Refusal::Aborted { index, cause: Box::new(cause) };
    let grow =
        |path: &str, data: &'static [u8]| Step::Set { path: path.into(), data: data.into(), expect: Expect::Any };
    let (mode, wait, create_too, lock_delay_ms) = (LockMode::Shared, true, true, 0);
    let acquire = Operation::Acquire { path: "/q/c".into(), mode, wait, create: create_too, lock_delay_ms };
    for (operation, refusal) in [
        (create("/q/c"), nodes("/q", 3)),
        (create_sequential("/q/a/c"), nodes("/q", 3)),
        (acquire, nodes("/q", 3)),
        (create("/x"), nodes("/", 4)),
        (set("/q/b", b"1234", Expect::Any), bytes(9)),
        (multi(vec![grow("/q/b", b"123"), grow("/q", b"1")]), abort(1, bytes(9))),
    ] {
        let digest = bench.namespace.tree().digest();
        assert_eq!(bench.ask(operation.clone()), Err(refusal), "{operation:?}");
        assert_eq!(bench.namespace.tree().digest(), digest, "{operation:?} left a trace");
    }
    bench.ask(set("/q/b", b"123", Expect::Any)).expect("it just fits");
    bench.ask(set_quota("/q", Some(hard(Some(1), Some(1))))).expect("what is there stays");
    bench.ask(set("/q/b", b"321", Expect::Any)).expect("it does not grow");
    bench.ask(delete("/q/b", Expect::Any)).expect("it shrinks");
    bench.ask(set_quota("/q", None)).expect("it has one");
    bench.ask(create("/q/b")).expect("nothing bounds it");
}

#[test]
fn a_soft_bound_warns_when_it_is_passed_and_again_when_it_is_passed_again() {
    let mut bench = bench(&["/q", "/q/a"]);
    bench.ask(set_quota("/", Some(soft(Some(4), None)))).expect("the root is there");
    bench.ask(set_quota("/q", Some(soft(Some(2), Some(3))))).expect("it is there");
    assert_eq!(warned(&mut bench, set("/q/a", b"123", Expect::Any)), [""; 0]);
    assert_eq!(warned(&mut bench, set("/q/a", b"1234", Expect::Any)), ["/q"]);
    assert_eq!(warned(&mut bench, set("/q/a", b"12345", Expect::Any)), [""; 0], "it was past the bound before");
    assert_eq!(warned(&mut bench, set("/q/a", b"", Expect::Any)), [""; 0]);
    assert_eq!(warned(&mut bench, create("/q/b")), ["/q"]);
    assert_eq!(warned(&mut bench, create("/q/b/c")), ["/"], "both hold, one was passed");
    assert_eq!(warned(&mut bench, multi(vec![step_create("/q/d"), step_create("/q/d")])), [""; 0], "nothing was done");
    assert_eq!(warned(&mut bench, delete_tree("/q/b", Expect::Any)), [""; 0]);
    let data = Bytes::from_static(b"1234");
    let both = Operation::Create { path: "/q/e".into(), data, lifetime: Lifetime::Permanent, sequential: false };
    assert_eq!(warned(&mut bench, both), ["/q"], "both bounds at once are one warning");
}

#[test]
fn a_quota_goes_with_its_node_and_comes_back_from_an_image() {
    let mut bench = bench(&["/q", "/q/a", "/r"]);
    for path in ["/q", "/r", "/q/a"] {
        bench.ask(set_quota(path, Some(hard(Some(2), Some(9))))).expect("it is there");
    }
    bench.ask(delete("/r", Expect::Any)).expect("it is there");
    bench.ask(create("/r")).expect("it is gone");
    assert_eq!(usage(&bench, "/r"), None);
    bench.namespace.begin_image();
    let chunks: Vec<_> = std::iter::from_fn(|| bench.namespace.image_rows(64)).collect();
    let restored = Namespace::from_image(3, chunks.iter().map(|chunk| &chunk[..])).expect("the image is whole");
    restored.invariants();
    let found = answer(restored.tree(), ReadRef::Quota { path: "/q" });
    let quota = Some((hard(Some(2), Some(9)), Usage { nodes: 2, bytes: 0 }));
    assert_eq!(found, Ok(Answer::Quota { quota }));
    let twin = restored.tree().twin(5);
    twin.invariants();
    assert_eq!(answer(&twin, ReadRef::Quota { path: "/q" }), Ok(Answer::Quota { quota }));
}

#[test]
fn a_quota_without_a_bound_and_one_that_takes_too_much_counting_are_refused() {
    let mut bench = bench(&["/q"]);
    let none = bench.ask(set_quota("/q", Some(Quota::default())));
    assert!(matches!(none, Err(Refusal::BadArgument { why }) if why.contains("give it one")));
    assert_eq!(bench.ask(set_quota("/x", None)), Err(Refusal::NoNode { path: "/x".into() }));
    grow(&mut bench, "/q", QUOTA_NODES_COUNTED_MAX);
    let quota = Some(hard(Some(7), None));
    let large = bench.ask(set_quota("/q", quota));
    assert!(
        matches!(large, Err(Refusal::TooLarge { limit, .. }) if limit == QUOTA_NODES_COUNTED_MAX as u64),
        "{large:?}"
    );
    bench.ask(set_quota("/", quota)).expect("all nodes together are counted already");
}

#[test]
fn commands_of_one_entry_that_walk_much_and_change_little_are_refused_from_some_point_on() {
    let mut bench = bench(&["/q", "/r"]);
    grow(&mut bench, "/q", QUOTA_NODES_COUNTED_MAX - 1);
    let quota = |path, set: bool| set_quota(path, set.then(|| hard(None, Some(7))));
    let operations = [
        quota("/q", true),
        quota("/q", false),
        quota("/q", true),
        delete_tree("/r", Expect::Any),
        set("/r", b"still", Expect::Any),
    ];
    let commands = operations.map(|operation| bench.request(operation));
    let mut applied = Applied::default();
    bench.namespace.apply(&batch(1, 1000, &commands), &mut applied);
    let outcomes: Vec<_> = applied.outcomes.iter().map(outcome_of).collect();
    let [Ok(_), Ok(_), Err(third), Err(walk), Ok(Done::Set { .. })] = &outcomes[..] else { panic!("{outcomes:?}") };
    for refusal in [third, walk] {
        assert!(matches!(refusal, Refusal::NotNow { .. }), "{refusal:?}: asked again it may be done");
    }
    bench.ask(quota("/q", true)).expect("another entry");
    bench.ask(delete_tree("/q", Expect::Any)).expect_err("it is too large");
    bench.ask(delete_tree("/r", Expect::Any)).expect("another entry");
}

#[test]
fn trees_refused_for_their_size_are_walked_so_often_an_entry() {
    let mut bench = bench(&["/q"]);
    grow(&mut bench, "/q", TREE_NODES_DELETED_MAX);
    let asked = ENTRY_NODES_WALKED_MAX / TREE_NODES_DELETED_MAX + 1;
    let commands: Vec<_> = (0..asked).map(|_| bench.request(delete_tree("/q", Expect::Any))).collect();
    let mut applied = Applied::default();
    bench.namespace.apply(&batch(1, 1000, &commands), &mut applied);
    let walked = applied.outcomes.iter().map(outcome_of).filter(
        |outcome| matches!(outcome, Err(Refusal::TooLarge { limit, .. }) if *limit == TREE_NODES_DELETED_MAX as u64),
    );
    assert_eq!(walked.count(), asked - 1, "and the last one is told to ask again");
}

#[test]
fn a_session_owns_so_many_nodes_and_no_more() {
    let mut bench = bench(&["/e"]);
    let mut applied = Applied::default();
    for chunk in (0..SESSION_EPHEMERALS_MAX).collect::<Vec<_>>().chunks(MULTI_OPS_MAX) {
        let steps = chunk.iter().map(|n| {
            let (path, lifetime) = (format!("/e/{n}"), Lifetime::Ephemeral);
            Step::Create { path, data: Bytes::new(), lifetime, sequential: false }
        });
        let command = bench.request(multi(steps.collect()));
        bench.namespace.apply(&batch(1, 1000, &[command]), &mut applied);
    }
    let refused = bench.ask(create_ephemeral("/e/more"));
    let limit = SESSION_EPHEMERALS_MAX as u64;
    assert!(matches!(refused, Err(Refusal::TooLarge { limit: found, .. }) if found == limit), "{refused:?}");
    bench.ask(create("/e/more")).expect("nobody owns it");
    bench.ask(delete("/e/7", Expect::Any)).expect("it is there");
    bench.ask(create_ephemeral("/e/7")).expect("there is room again");
}

#[test]
fn a_quota_that_becomes_another_goes_on_counting_where_the_one_before_stood() {
    let mut bench = bench(&["/q", "/q/a"]);
    bench.ask(set_quota("/q", Some(hard(Some(10), None)))).expect("it is there");
    bench.ask(create("/q/b")).expect("there is room");
    bench.ask(set("/q/b", b"four", Expect::Any)).expect("it is there");
    for quota in [hard(Some(3), None), soft(None, Some(1))] {
        bench.ask(set_quota("/q", Some(quota))).expect("it is there");
        assert_eq!(usage(&bench, "/q"), Some((3, 4)));
    }
}

/// A `/p` that counts so many children, of which `/p/own` is one and the others were never made: it would take a test too long.
fn crowded(children: usize) -> Bench {
    let mut bench = bench(&["/p", "/p/own"]);
    bench.command(Command::BeginReign { reign: 1, key: 7 });
    let tree = &mut bench.namespace.nodes.tree;
    let place = tree.find("/p").expect("it was made");
    let node = tree.row(place).node.with(|stat, _| stat.children = children as u32);
    tree.replace(place, node);
    bench
}

/// What the next request comes to, of a namespace whose counts are made up.
fn told(bench: &mut Bench, operation: Operation) -> Outcome {
    let (command, mut applied) = (bench.request(operation), Applied::default());
    bench.namespace.apply(&batch(1, 1000, &[command]), &mut applied);
    outcome_of(&applied.outcomes[0])
}

fn is_crowded(found: &Outcome) -> bool {
    let refusal = match found {
        Err(Refusal::Aborted { index: 0, cause }) => &**cause,
        Err(refusal) => refusal,
        Ok(_) => return false,
    };
    let (size, limit) = (NODE_CHILDREN_MAX as u64 + 1, NODE_CHILDREN_MAX as u64);
    matches!(refusal, Refusal::TooLarge { size: found, limit: at_most, .. } if (*found, *at_most) == (size, limit))
}

#[test]
fn a_node_has_so_many_children_and_no_more_however_they_come() {
    let (path, data, lifetime, sequential) = (|| "/p/n".to_owned(), Bytes::new, Lifetime::Permanent, false);
    let acl = || Acl::new([AclEntry { who: Who::World, rights: Rights::ALL }]);
    let (mode, wait, create_too, lock_delay_ms) = (LockMode::Exclusive, true, true, 0);
    let birth = |sequential, lifetime| Some(Birth { data: data(), lifetime, sequential, must: false, acl: None });
    let open = |birth| Operation::Open { path: path(), mode: HandleMode::ALL, birth };
    for operation in [
        create("/p/n"),
        create_ephemeral("/p/n"),
        create_sequential("/p/n"),
        Operation::CreateWithAcl { path: path(), data: data(), lifetime, sequential, acl: acl() },
        Operation::CreateLog { path: path(), lifetime, sequential },
        Operation::Acquire { path: path(), mode, wait, create: create_too, lock_delay_ms },
        open(birth(false, Lifetime::Transient)),
        open(birth(true, Lifetime::Permanent)),
        multi(vec![step_create("/p/n")]),
        multi(vec![Step::CreateWithAcl { path: path(), data: data(), lifetime, sequential, acl: acl() }]),
    ] {
        let mut full = crowded(NODE_CHILDREN_MAX);
        let before = full.namespace.tree().digest();
        let refused = told(&mut full, operation.clone());
        assert!(is_crowded(&refused), "{operation:?}: {refused:?}");
        assert_eq!(full.namespace.tree().digest(), before, "{operation:?} left a trace");
        assert!(is_crowded(&told(&mut full, multi(vec![step_create("/p/x"), step_create("/x")]))), "nor in part");

        let mut bench = crowded(NODE_CHILDREN_MAX - 1);
        told(&mut bench, operation.clone()).unwrap_or_else(|refusal| panic!("{operation:?}: {refusal:?}"));
        assert!(is_crowded(&told(&mut bench, create("/p/more"))), "{operation:?} was the last");
        told(&mut bench, create("/p/own/below")).expect("elsewhere there is room");
        told(&mut bench, delete_tree("/p/own", Expect::Any)).expect("it is there");
        told(&mut bench, create("/p/more")).expect("there is room again");
    }
    let mut full = crowded(NODE_CHILDREN_MAX);
    let makes_room = Step::Delete { path: "/p/own".into(), expect: Expect::Any };
    told(&mut full, multi(vec![makes_room, step_create("/p/n")])).expect("its turn comes after the room is made");
    assert_eq!(told(&mut full, create("/p/n")), Err(Refusal::NodeExists { path: path() }), "the place is judged first");
}
