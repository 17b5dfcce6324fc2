//! Watches across connections.

use super::*;
use crate::wire::watch::{Event, EventKind, Scope};

fn wish() -> WatchWish {
    WatchWish { path: "/a".to_owned(), scope: Scope::Node, from: None, once: false, with_data: false }
}

fn watch(test: &mut Test, watch: u64, wish: WatchWish) {
    test.machine.watch(test.now, watch, wish).expect("there is room");
}

fn asks(watch: u64, from: Option<Revision>) -> Said {
    Said::Watch { watch, from }
}

fn events(test: &mut Test, watch: u64, revision: Revision, more: bool) {
    let events = vec![Event { kind: EventKind::Changed, path: "/a", node: None }];
    test.say(&ServerMessage::Events { watch, revision, more, events });
}

/// What was told so far, in short: the revision and how many events.
fn told(test: &mut Test) -> Vec<(&'static str, Revision, usize)> {
    let short = |told| match told {
        WatchTold::Opened { revision } => ("opened", revision, 0),
        WatchTold::Happened { revision, events } => ("happened", revision, events.len()),
        WatchTold::Gap { from, to } => ("gap", from, to as usize),
        WatchTold::Progress { revision } => ("progress", revision, 0),
        WatchTold::Refused(_) => ("refused", 0, 0),
        WatchTold::Over(_) => ("over", 0, 0),
    };
    test.told.drain(..).map(|(_, told)| short(told)).collect()
}

#[test]
fn a_watch_goes_on_where_it_was_and_tells_nothing_twice() {
    let mut test = Test::open();
    watch(&mut test, 1, wish());
    assert_eq!(test.said(), [asks(1, None)]);
    test.say(&ServerMessage::WatchOpened { watch: 1, revision: 10 });
    events(&mut test, 1, 12, false);
    events(&mut test, 1, 13, true);
    assert_eq!(told(&mut test), [("opened", 10, 0), ("happened", 12, 1)], "half a revision is none");
    assert_eq!(test.machine.revision(), 12, "nothing older will be shown");
    let said = test.reconnect(0);
    assert_eq!(said, [Said::Hello { seen: 12, resume: true }, asks(1, Some(12))]);
    test.say(&ServerMessage::WatchOpened { watch: 1, revision: 12 });
    events(&mut test, 1, 12, false);
    events(&mut test, 1, 13, true);
    events(&mut test, 1, 13, false);
    test.say(&ServerMessage::Progress { revision: 20 });
    assert_eq!(told(&mut test), [("happened", 13, 2), ("progress", 20, 0)]);
    assert_eq!(test.reconnect(0)[1], asks(1, Some(20)), "a quiet watch does not fall behind");
    test.say(&ServerMessage::WatchOpened { watch: 1, revision: 20 });
    test.say(&ServerMessage::Gap { watch: 1, from: 20, to: 30 });
    events(&mut test, 1, 29, false);
    assert_eq!(told(&mut test), [("gap", 20, 30)]);
    test.machine.unwatch(1);
    assert_eq!(test.said(), [Said::Unwatch(1)]);
    events(&mut test, 1, 31, false);
    assert_eq!(told(&mut test), []);
    assert_eq!(test.reconnect(0).len(), 1, "only hello");
}

#[test]
fn a_watch_is_asked_for_before_what_was_made_after_it_and_counts_from_what_was_made_before() {
    let mut test = Test::open();
    test.set(1);
    watch(&mut test, 1, wish());
    test.set(2);
    assert_eq!(test.said(), [request(1, 0), asks(1, None), request(2, 0)]);
    test.say(&ServerMessage::WatchOpened { watch: 1, revision: 10 });
    events(&mut test, 1, 11, false);
    events(&mut test, 1, 12, false);
    assert_eq!(told(&mut test), [("happened", 11, 1), ("happened", 12, 1)], "it is not known yet which of them count");
    test.reply(1, 11);
    assert_eq!(told(&mut test), [("opened", 11, 0)]);
    test.reply(2, 12);
    assert_eq!(told(&mut test), []);
}

#[test]
fn it_is_known_how_many_watches_wait_behind_a_request() {
    let mut test = Test::open();
    watch(&mut test, 1, wish());
    assert_eq!(test.machine.watches.behind(), 0, "nothing was asked for before it");
    test.set(1);
    test.set(2);
    (2..=5).for_each(|name| watch(&mut test, name, wish()));
    watch(&mut test, 6, WatchWish { from: Some(3), ..wish() });
    assert_eq!(test.machine.watches.behind(), 4, "one knows what counts by itself");
    test.reply(1, 11);
    test.machine.unwatch(2);
    test.machine.unwatch(6);
    assert_eq!(test.machine.watches.behind(), 3);
    let mut refusal = BytesMut::new();
    encode_outcome(&Err(Refusal::NoNode { path: "/a".to_owned() }), &mut refusal);
    test.say(&ServerMessage::WatchRefused { watch: 3, refusal: &refusal });
    assert_eq!(test.machine.watches.behind(), 2);
    test.reply(2, 12);
    assert_eq!(test.machine.watches.behind(), 0, "each was told");
}

#[test]
fn a_watch_wanted_once_ends_with_the_first_that_counts() {
    let mut test = Test::open();
    test.set(1);
    watch(&mut test, 1, WatchWish { once: true, ..wish() });
    watch(&mut test, 2, WatchWish { once: true, ..wish() });
    test.said();
    (1..=2).for_each(|watch| test.say(&ServerMessage::WatchOpened { watch, revision: 10 }));
    (1..=2).for_each(|watch| events(&mut test, watch, 11, false));
    events(&mut test, 2, 12, false);
    test.reply(1, 11);
    assert_eq!(test.said(), [Said::Unwatch(2)], "only one was told what counts");
    test.told.clear();
    events(&mut test, 1, 15, false);
    assert_eq!(test.said(), [Said::Unwatch(1)]);
    events(&mut test, 1, 16, false);
    assert_eq!(told(&mut test), [("happened", 15, 1)]);
    assert_eq!(test.reconnect(1).len(), 1, "they are done");
}

#[test]
fn a_watch_that_may_have_stood_is_opened_from_what_was_seen_when_it_was_made() {
    let mut test = Test::open();
    test.get(1);
    test.read_reply(0, 40);
    watch(&mut test, 1, wish());
    assert_eq!(test.said()[1..], [asks(1, None)]);
    assert_eq!(test.reconnect(0)[1], asks(1, Some(40)));
    test.say(&ServerMessage::WatchOpened { watch: 1, revision: 40 });
    assert_eq!(told(&mut test), [("opened", 40, 0)]);
}

#[test]
fn a_session_that_ends_takes_its_watches_with_it() {
    let mut test = Test::open();
    watch(&mut test, 1, wish());
    test.say(&ServerMessage::SessionOver { session: SESSION });
    assert_eq!(told(&mut test), [("over", 0, 0)]);
    assert!(test.machine.watch(test.now, 2, wish()).is_err());
}

#[test]
fn what_was_made_before_and_answered_elsewhere_does_not_count_either() {
    let mut test = Test::open();
    test.set(1);
    watch(&mut test, 1, WatchWish { once: true, ..wish() });
    test.said();
    assert_eq!(test.reconnect(1)[1..], [asks(1, Some(0)), request(1, 0)]);
    test.reply(1, 27);
    test.say(&ServerMessage::WatchOpened { watch: 1, revision: 0 });
    events(&mut test, 1, 13, false);
    events(&mut test, 1, 28, false);
    assert_eq!(told(&mut test), [("opened", 27, 0), ("happened", 28, 1)]);
}
