//! Recipes that are given up in the middle of a call.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::super::recipes::Group;
use super::*;

#[test]
fn who_gives_joining_up_before_the_answer_is_no_member() {
    let server = Server::start(&[]);
    let client = server.connect("");
    wait(client.create("/group", "", CreateOptions::permanent())).expect("made");
    let group = Group::new(&client, "/group");
    let held = {
        let mut join = pin!(group.join("one", ""));
        let mut context = Context::from_waker(Waker::noop());
        assert!(join.as_mut().poll(&mut context).is_pending(), "it asks for the group");
        wait(client.sync()).expect("synced");
        // The server answers nothing while the test looks at what it holds.
        let held = server.held.lock().expect("no test thread panics with it");
        assert!(join.as_mut().poll(&mut context).is_pending(), "it asks for its own node");
        held
    };
    drop(held);
    for _ in 0..2 {
        wait(client.sync()).expect("synced");
    }
    let nodes = server.held.lock().expect("no test thread panics with it").nodes.clone();
    assert_eq!(nodes.into_keys().collect::<Vec<_>>(), ["/group"]);
    let twice = (block_on(group.join("one", "")), block_on(group.join("one", "")));
    assert!(matches!(twice, (Ok(_), Err(Error::NodeExists { .. }))), "{twice:?}");
    drop(twice);
    wait(client.sync()).expect("synced");
    assert_eq!(server.held.lock().expect("no test thread panics with it").nodes.len(), 1, "it left");
}
