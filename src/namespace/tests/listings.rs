//! Listings and scans: their order, their pages, and what happens between two pages.

use super::super::codec::{ReadRef, encode_read_outcome};
use super::super::command::{Answer, Expect, Refusal};
use super::*;
use crate::limits::{LIST_BYTES_MAX, NODE_DATA_BYTES_MAX, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};

fn bench(paths: &[&str]) -> Bench {
    let mut bench = Bench::new();
    for path in paths {
        bench.ask(create(path)).expect("it is new");
    }
    bench
}

fn scan(bench: &Bench, path: &str, after: &str, limit: u32) -> (Vec<String>, bool) {
    let page = answer(bench.namespace.tree(), ReadRef::Scan { path, after, limit, with_data: false });
    let Ok(Answer::Scanned { nodes, more }) = page else { panic!("{page:?}") };
    assert!(nodes.iter().all(|node| node.data.is_none()), "nobody asked for data");
    (nodes.into_iter().map(|node| node.path).collect(), more)
}

#[test]
fn entries_are_the_names_with_the_stats_of_the_nodes() {
    let mut bench = bench(&["/a", "/a/x", "/a/y", "/a/y/deep", "/a/z", "/ab"]);
    bench.ask(set("/a/y", b"data", Expect::Any)).expect("it is there");
    let tree = bench.namespace.tree();
    let page = answer(tree, ReadRef::Entries { path: "/a", after: "x", limit: 1 });
    let stat_of = |path: &str| tree.get(path).expect("it is there").stat();
    let entries = vec![("y".to_owned(), stat_of("/a/y"))];
    assert_eq!((stat_of("/a/y").data_bytes, stat_of("/a/y").children), (4, 1));
    assert_eq!(page, Ok(Answer::Entries { entries, stat: stat_of("/a"), more: true }));
    let last = answer(tree, ReadRef::Entries { path: "/a", after: "y", limit: 1 });
    let entries = vec![("z".to_owned(), stat_of("/a/z"))];
    assert_eq!(last, Ok(Answer::Entries { entries, stat: stat_of("/a"), more: false }), "a full page may be the last");
}

#[test]
fn a_scan_goes_on_where_it_stood_whatever_became_of_the_node_there() {
    // Among bytes '-' comes before '/': a subtree is whole before the next name all the same.
    let all = ["/", "/a", "/a/b", "/a/b/c", "/a/d", "/a-", "/z"];
    let mut bench = bench(&all[1..]);
    assert_eq!(scan(&bench, "/", "", 0), (all.map(str::to_owned).to_vec(), false));
    assert_eq!(scan(&bench, "/a", "", 3), (all[1..4].iter().map(|path| (*path).to_owned()).collect(), true));
    for gone in ["/a/b/c", "/a/b"] {
        bench.ask(delete(gone, Expect::Any)).expect("it has no children");
    }
    for after in ["/a/b/c", "/a/b", "/a/b/never/was"] {
        assert_eq!(scan(&bench, "/a", after, 0), (vec!["/a/d".to_owned()], false), "{after}");
    }
    assert_eq!(scan(&bench, "/a", "/a/d", 0), (vec![], false), "what is beside the top is not below it");
    let astray = answer(bench.namespace.tree(), ReadRef::Scan { path: "/a", after: "/ab", limit: 0, with_data: false });
    assert!(matches!(astray, Err(Refusal::BadArgument { why }) if why.contains("go on from a path")));
    let missing = answer(bench.namespace.tree(), ReadRef::Scan { path: "/x", after: "", limit: 0, with_data: false });
    assert_eq!(missing, Err(Refusal::NoNode { path: "/x".into() }));
}

#[test]
fn a_scan_goes_on_from_a_path_and_from_nothing_else() {
    let bench = bench(&["/a"]);
    let longest = "\u{1}".repeat(REQUEST_BYTES_MAX - 64);
    for after in ["a", "a/b", "/a/", "//", &longest] {
        let page = answer(bench.namespace.tree(), ReadRef::Scan { path: "/", after, limit: 0, with_data: false });
        let mut reply = BytesMut::new();
        encode_read_outcome(&page, &mut reply);
        assert!(matches!(page, Err(Refusal::BadArgument { .. } | Refusal::TooLarge { .. })), "its end is not told");
        assert!(reply.len() <= REPLY_BYTES_MAX, "a refusal of {} bytes fits a frame", reply.len());
    }
}

#[test]
fn a_page_with_data_is_bounded_and_holds_one_node_at_least() {
    let mut bench = bench(&["/a", "/b", "/c", "/d"]);
    bench.ask(set("/b", &vec![1; NODE_DATA_BYTES_MAX], Expect::Any)).expect("it just fits");
    for path in ["/a", "/c", "/d"] {
        bench.ask(set(path, &vec![2; LIST_BYTES_MAX / 2], Expect::Any)).expect("it fits");
    }
    let (mut after, mut pages) = (String::new(), Vec::new());
    loop {
        let read = ReadRef::Scan { path: "/", after: &after, limit: 0, with_data: true };
        let Ok(Answer::Scanned { nodes, more }) = answer(bench.namespace.tree(), read) else { panic!("it is there") };
        after.clone_from(&nodes.last().expect("a page holds a node").path);
        pages.push(nodes.into_iter().map(|node| (node.path, node.data.map(|data| data.len()))).collect::<Vec<_>>());
        if !more {
            break;
        }
    }
    let row = |path: &str, bytes| (path.to_owned(), Some(bytes));
    let half = LIST_BYTES_MAX / 2;
    let wanted = [
        vec![row("/", 0), row("/a", half)],
        vec![row("/b", NODE_DATA_BYTES_MAX)],
        vec![row("/c", half)],
        vec![row("/d", half)],
    ];
    assert_eq!(pages, wanted);
}
