//! Recipes whose participants lose their process, their session or the cell's leader in the middle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::channel;
use std::thread::scope;
use std::time::Duration;

use bytes::Bytes;
use quorate::client::recipes::{Counter, Group, Members, Queue, Setting};
use quorate::client::{Client, CreateOptions, Error, Outcome, SessionEvent, block_on_timeout};
use rustix::process::Signal;

use super::super::actors::Actor;
use super::super::cell::PATIENCE;
use super::{Ends, Trial, done};

/// Members and their values, as one text.
fn listed(members: &BTreeMap<String, Bytes>) -> String {
    let named = |(name, value): (&String, &Bytes)| format!("{name} {}", String::from_utf8_lossy(value));
    members.iter().map(named).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_list_of_a_service_names_all_who_live_and_nobody_who_is_gone() {
    let trial = Trial::new();
    let [one, two, three, following] = [(); 4].map(|()| trial.client());
    let join = |client, name, at: &'static str| done(Group::new(client, "/services/web").join(name, at));
    let _instances = (join(&one, "a", "10.0.0.1:80"), join(&two, "b", "10.0.0.2:80"));
    let actor = Actor::start("serve", &trial.0.lock().expect("no thread panics with it"));
    assert_eq!(actor.hear(), "serves");
    let service = Group::new(&following, "/services/web");
    let mut list = service.watch();
    // What it is once the cell has settled, and that nothing was told of who came and went.
    let stays = |list: &mut Members, all: &str| {
        assert_eq!(listed(&done(service.members())), all);
        let told = block_on_timeout(list.next(), Duration::from_millis(50));
        assert!(told.is_none(), "nobody came or went: {told:?}");
    };
    let all = "a 10.0.0.1:80, b 10.0.0.2:80, c 10.0.0.3:80";
    assert_eq!(listed(&done(list.next())), all);
    trial.strike();
    stays(&mut list, all);
    // The leader dies before it has found out that the instance did: the next one does.
    actor.kill();
    trial.strike();
    let living = "a 10.0.0.1:80, b 10.0.0.2:80";
    assert_eq!(listed(&done(list.next())), living);
    stays(&mut list, living);
    let _again = join(&three, "c", "10.0.0.4:80");
    let all = "a 10.0.0.1:80, b 10.0.0.2:80, c 10.0.0.4:80";
    assert_eq!(listed(&done(list.next())), all, "its name was free");
    trial.strike();
    stays(&mut list, all);
}

#[test]
fn what_is_queued_by_priority_is_taken_in_order_and_once_though_the_leader_dies() {
    const PRODUCERS: u32 = 3;
    const EACH: u32 = 20;
    let trial = Trial::new();
    let (client, all) = (trial.client(), PRODUCERS * EACH);
    let queue = Queue::new(&client, "/queues/jobs");
    scope(|scope| {
        for producer in 0..PRODUCERS {
            let client = trial.client();
            scope.spawn(move || {
                let queue = Queue::new(&client, "/queues/jobs");
                for number in 0..EACH {
                    // Each from high to low and to high again, with others between them.
                    let priority = (number * 7 + producer) % 5;
                    done(queue.put_at(priority, format!("{priority}:{producer}:{number}")));
                }
            });
        }
    });
    assert_eq!(done(queue.len()), all as usize);
    let ((sender, strikes), (told, struck)) = (channel(), channel());
    let taken: Vec<Bytes> = scope(|scope| {
        let queue = &queue;
        let taker = scope.spawn(move || {
            let take = |count| {
                if [10, 30].contains(&count) {
                    sender.send(()).expect("it is waited for");
                    struck.recv_timeout(PATIENCE).expect("the leader is killed");
                }
                done(queue.take())
            };
            (0..all).map(take).collect::<Vec<_>>()
        });
        for _ in 0..2 {
            strikes.recv_timeout(PATIENCE).expect("entries are taken");
            trial.strike();
            told.send(()).expect("it waits");
        }
        taker.join().expect("it only takes")
    });
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let entries: Vec<Vec<u32>> =
        taken.iter().map(|entry| String::from_utf8_lossy(entry).split(':').map(number).collect()).collect();
    assert!(entries.is_sorted_by_key(|entry| entry[0]), "the most urgent first: {entries:?}");
    let mut each = BTreeMap::<_, Vec<u32>>::new();
    entries.iter().for_each(|entry| each.entry((entry[0], entry[1])).or_default().push(entry[2]));
    let rise = |numbers: &Vec<u32>| numbers.is_sorted_by(|one, next| one < next);
    assert!(each.values().all(rise), "each once, and first come first served among equals: {entries:?}");
    assert_eq!(entries.len(), all as usize);
    assert!(done(queue.is_empty()));
}

/// A client that gives its session up soon after the cell was last heard.
fn hasty(trial: &Trial) -> Client {
    let endpoints = trial.0.lock().expect("no thread panics with it").endpoints();
    let builder = Client::builder(&format!("quorate://{endpoints}?session=10s")).expect("an address");
    builder.grace(Duration::from_millis(500)).connect().wait_timeout(PATIENCE).expect("a session")
}

/// The cell stands still until that client's session is over, and goes on.
fn stand_still_past(trial: &Trial, client: &Client) {
    let (cell, mut events) = (trial.0.lock().expect("no thread panics with it"), client.session_events());
    (0..3).for_each(|index| cell.signal(index, Signal::STOP));
    while events.next_timeout(PATIENCE).expect("it comes to its end") != SessionEvent::Expired {}
    (0..3).for_each(|index| cell.signal(index, Signal::CONT));
}

/// Adds to a counter until that fails: with what, and what it is told that tries again.
fn count_on(client: &Client, counted: &AtomicI64, over: &AtomicBool) -> [Error; 2] {
    let counter = Counter::new(client, "/counters/orders");
    let add = || block_on_timeout(counter.add(1), PATIENCE).expect("in time");
    loop {
        match add() {
            Ok(_) => counted.fetch_add(1, Ordering::SeqCst),
            Err(error) => return [error, add().expect_err("its session is over")],
        };
        assert!(!over.load(Ordering::SeqCst), "its session lives");
    }
}

#[test]
fn an_addition_whose_session_ends_says_whether_it_may_have_counted_and_counts_at_most_once() {
    let trial = Trial::new();
    let (losing, staying) = (hasty(&trial), trial.client());
    losing.create("/alive", "", CreateOptions::ephemeral()).wait_timeout(PATIENCE).expect("made");
    let (counted, others, over) = (AtomicI64::new(0), AtomicI64::new(0), AtomicBool::new(false));
    let [error, again] = scope(|scope| {
        let _ends = Ends(&over);
        let lost = scope.spawn(|| count_on(&losing, &counted, &over));
        scope.spawn(|| {
            let counter = Counter::new(&staying, "/counters/orders");
            while !over.load(Ordering::SeqCst) {
                done(counter.add(1));
                others.fetch_add(1, Ordering::SeqCst);
            }
        });
        let cell = || trial.0.lock().expect("no thread panics with it");
        cell().wait("both to count", |_| {
            [&counted, &others].iter().all(|count| count.load(Ordering::SeqCst) > 10).then_some(())
        });
        stand_still_past(&trial, &losing);
        let before = others.load(Ordering::SeqCst);
        cell().wait("the other to go on", |_| (others.load(Ordering::SeqCst) > before + 10).then_some(()));
        // Nothing of it comes after its end in the cell too.
        cell().wait("the end of the session", |_| {
            let alive = staying.exists("/alive").wait_timeout(PATIENCE).ok()?;
            alive.is_none().then_some(())
        });
        lost.join().expect("it only adds")
    });
    assert!(matches!(error, Error::SessionExpired { .. }), "{error:?}");
    assert!(matches!(again, Error::SessionExpired { outcome: Outcome::NotApplied, .. }), "{again:?}");
    let sure = counted.load(Ordering::SeqCst) + others.load(Ordering::SeqCst);
    let perhaps = i64::from(error.outcome() == Outcome::Unknown);
    let sum = done(Counter::new(&staying, "/counters/orders").get());
    assert!((sure..=sure + perhaps).contains(&sum), "{sum} after {sure} and perhaps {perhaps}");
    assert_eq!(done(Counter::new(&trial.client(), "/counters/orders").add(1)), sum + 1, "the next session goes on");
}

#[test]
fn a_setting_outlives_the_session_that_set_it_and_following_ends_with_its_own() {
    let trial = Trial::new();
    let (losing, staying) = (hasty(&trial), trial.client());
    let mut followed = Setting::new(&losing, "/settings/limit");
    assert_eq!(done(followed.next()), None);
    done(Setting::new(&losing, "/settings/limit").set("old"));
    let old = done(followed.next());
    assert_eq!(old.as_ref().map(|(value, _)| &value[..]), Some(&b"old"[..]));
    let mut others = Setting::new(&staying, "/settings/limit");
    assert_eq!(done(others.next()), old);
    let following = std::thread::spawn(move || {
        let ended = block_on_timeout(followed.next(), PATIENCE);
        [ended, block_on_timeout(followed.next(), PATIENCE)]
    });
    stand_still_past(&trial, &losing);
    let [ended, again] = following.join().expect("it only follows");
    assert!(matches!(ended, Some(Err(Error::SessionExpired { .. }))), "{ended:?}");
    assert!(matches!(&again, Some(Err(error)) if error.is_terminal()), "nor does it go on in silence: {again:?}");
    let late = block_on_timeout(Setting::new(&losing, "/settings/limit").set("late"), PATIENCE);
    assert!(matches!(late, Some(Err(Error::SessionExpired { outcome: Outcome::NotApplied, .. }))), "{late:?}");
    assert_eq!(done(Setting::new(&staying, "/settings/limit").next()), old, "nobody has set it since");
    let told = block_on_timeout(others.next(), Duration::from_millis(50));
    assert!(told.is_none(), "nor told of it: {told:?}");
    done(Setting::new(&trial.client(), "/settings/limit").set("new"));
    let (old, new) = (old.expect("it was set"), done(others.next()).expect("it was set"));
    assert!(new.0 == "new" && new.1 > old.1, "{old:?}, then {new:?}");
}
