//! Every refusal, and that none changes the tree.

use bytes::Bytes;

use super::super::codec::ReadRef;
use super::super::command::{Answer, Expect, Lifetime, Operation, Refusal, Step};
use super::*;
use crate::limits::{LIST_BYTES_MAX, NODE_DATA_BYTES_MAX, REPLY_BYTES_MAX};

fn bench() -> Bench {
    let mut bench = Bench::new();
    for operation in [create("/a"), create("/a/b"), create_ephemeral("/e"), set("/a/b", b"1", Expect::Any)] {
        bench.ask(operation).expect("it is lawful");
    }
    bench
}

fn path(path: &str) -> String {
    path.to_owned()
}

fn table() -> Vec<(Operation, Refusal)> {
    let big = Bytes::from(vec![0; NODE_DATA_BYTES_MAX + 1]);
    let (size, limit) = (NODE_DATA_BYTES_MAX as u64 + 1, NODE_DATA_BYTES_MAX as u64);
    let too_large = Refusal::TooLarge { what: "bytes of data".into(), size, limit };
    let no_node = Refusal::NoNode { path: path("/x") };
    let bad_version = Refusal::BadVersion { path: path("/a/b"), expected: 7, found: 1 };
    let get_x = Step::Get { path: path("/x") };
    let abort = |index, cause: &Refusal| Refusal::Aborted { index, cause: Box::new(cause.clone()) };
    let check = |at: &str, expect| Step::Check { path: path(at), expect };
    vec![
        (create("/a"), Refusal::NodeExists { path: path("/a") }),
        (create("/"), Refusal::NodeExists { path: path("/") }),
        (create("/x/y"), Refusal::NoParent { path: path("/x") }),
        (create_sequential("/x/y-"), Refusal::NoParent { path: path("/x") }),
        (create("/e/y"), Refusal::EphemeralParent { path: path("/e") }),
        (set("/x", b"", Expect::Any), no_node.clone()),
        (set("/a/b", b"", Expect::Version(7)), bad_version.clone()),
        (delete("/x", Expect::Any), no_node.clone()),
        (delete("/a/b", Expect::Version(7)), bad_version.clone()),
        (delete_tree("/x", Expect::Any), no_node.clone()),
        (delete_tree("/a/b", Expect::Version(7)), bad_version.clone()),
        (delete("/a", Expect::Any), Refusal::NotEmpty { path: path("/a") }),
        (Operation::Set { path: path("/a"), data: big.clone(), expect: Expect::Any }, too_large.clone()),
        (
            Operation::Create { path: path("/x"), data: big, lifetime: Lifetime::Permanent, sequential: false },
            too_large,
        ),
        (multi(vec![step_create("/x"), check("/x", Expect::Version(1))]), {
            abort(1, &Refusal::BadVersion { path: path("/x"), expected: 1, found: 0 })
        }),
        (multi(vec![check("/x", Expect::Any)]), abort(0, &no_node)),
        (multi(vec![get_x, check("/a", Expect::Absent)]), abort(1, &Refusal::NodeExists { path: path("/a") })),
        (
            multi(vec![Step::Delete { path: path("/a/b"), expect: Expect::Any }, step_create("/a/b/c")]),
            abort(1, &Refusal::NoParent { path: path("/a/b") }),
        ),
        (
            multi(vec![Step::Delete { path: path("/e"), expect: Expect::Any }, step_create("/a")]),
            abort(1, &Refusal::NodeExists { path: path("/a") }),
        ),
    ]
}

#[test]
fn each_refusal_is_the_right_one_and_changes_no_node() {
    let mut bench = bench();
    for (operation, refusal) in table() {
        let (digest, revision) = (bench.namespace.tree().digest(), bench.namespace.revision());
        assert_eq!(bench.ask(operation.clone()), Err(refusal), "{operation:?}");
        assert_eq!(bench.namespace.tree().digest(), digest, "{operation:?} left a trace");
        assert_eq!(bench.namespace.revision(), revision, "{operation:?} raised the revision");
        assert_eq!(bench.namespace.ephemerals(bench.session).collect::<Vec<_>>(), ["/e"]);
    }
}

#[test]
fn malformed_arguments_are_refused_with_their_cure() {
    let mut bench = bench();
    for (operation, cure) in [
        (create("a"), "start it with '/'"),
        (create("/a/"), "leave out the '/' at its end"),
        (create_sequential(""), "start it with '/'"),
        (set("/a//b", b"", Expect::Any), "write single '/'s"),
        (delete("/..", Expect::Any), "write the path out"),
        (delete("/", Expect::Any), "delete its children"),
        (delete_tree("/", Expect::Any), "delete its children"),
        (set("/a", b"", Expect::Absent), "use a check, or create"),
        (delete("/a/b", Expect::Absent), "use a check, or create"),
    ] {
        let Err(Refusal::BadArgument { why }) = bench.ask(operation.clone()) else { panic!("{operation:?} passes") };
        assert!(why.contains(cure), "{operation:?}: {why}");
    }
}

#[test]
fn a_multi_that_reads_more_than_a_reply_holds_is_refused() {
    let mut bench = Bench::new();
    bench.ask(create("/a")).expect("it is new");
    bench.ask(set("/a", &vec![1; NODE_DATA_BYTES_MAX], Expect::Any)).expect("it just fits");
    let reads = REPLY_BYTES_MAX / NODE_DATA_BYTES_MAX;
    let steps = vec![Step::Get { path: path("/a") }; reads + 1];
    let Err(Refusal::Aborted { cause, .. }) = bench.ask(multi(steps)) else { panic!("it passes") };
    assert!(matches!(*cause, Refusal::TooLarge { limit, .. } if limit == REPLY_BYTES_MAX as u64));
}

#[test]
fn reads_are_refused_like_writes() {
    let bench = bench();
    let tree = bench.namespace.tree();
    let no_node = Refusal::NoNode { path: path("/x") };
    assert_eq!(answer(tree, ReadRef::Get { path: "/x" }), Err(no_node.clone()));
    assert_eq!(answer(tree, ReadRef::List { path: "/x", after: "", limit: 0 }), Err(no_node));
    assert_eq!(answer(tree, ReadRef::Exists { path: "/x" }), Ok(Answer::Exists { stat: None }));
    for read in
        [ReadRef::Get { path: "x" }, ReadRef::Exists { path: "/x/" }, ReadRef::List { path: "", after: "", limit: 0 }]
    {
        assert!(matches!(answer(tree, read), Err(Refusal::BadArgument { .. })), "{read:?}");
    }
}

#[test]
fn a_long_listing_comes_in_pages() {
    let mut bench = Bench::new();
    bench.ask(create("/a")).expect("it is new");
    let count = 2 * LIST_BYTES_MAX / 204;
    let names: Vec<_> = (0..count).map(|n| format!("{n:0200}")).collect();
    for some in names.chunks(1000) {
        let steps = some.iter().map(|name| step_create(&format!("/a/{name}"))).collect();
        bench.ask(multi(steps)).expect("they are new");
    }
    for limit in [0, 7, 500] {
        let (mut found, mut after, mut pages) = (Vec::<String>::new(), String::new(), 0);
        loop {
            let page = answer(bench.namespace.tree(), ReadRef::List { path: "/a", after: &after, limit });
            let Ok(Answer::Children { names, stat, more }) = page else { panic!("{page:?}") };
            assert_eq!(stat.children as usize, count);
            assert!(limit == 0 || names.len() <= limit as usize);
            assert!(names.iter().map(|name| 4 + name.len()).sum::<usize>() <= LIST_BYTES_MAX);
            found.extend(names);
            pages += 1;
            if !more {
                break;
            }
            after.clone_from(found.last().expect("a page that is not the last holds a name"));
        }
        assert_eq!(found, names);
        assert!(pages > 1);
    }
}
