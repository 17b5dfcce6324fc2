//! The recipes, each with the leader killed in the middle of it, and with participants that end.

mod herds;
mod losses;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::thread::scope;
use std::time::Duration;

use quorate::client::recipes::{
    Barrier, Counter, DoubleBarrier, Election, Fence, Group, Queue, ReadWriteLock, Rendezvous, Semaphore, Setting,
};
use quorate::client::{
    Client, CreateOptions, Error, Expect, LockOptions, TxnOutcome, WatchOptions, block_on, block_on_timeout,
};

use super::actors::Actor;
use super::cell::{Cell, PATIENCE};

/// A cell whose leader can be struck down while others are at work.
struct Trial(Mutex<Cell>);

impl Trial {
    fn new() -> Self {
        Self(Mutex::new(Cell::start(3, "")))
    }

    fn client(&self) -> Client {
        let endpoints = self.0.lock().expect("no thread panics with it").endpoints();
        Client::connect(&format!("quorate://{endpoints}?session=10s")).wait_timeout(PATIENCE).expect("a session")
    }

    /// Kills the leader; it comes back as a follower.
    fn strike(&self) {
        let mut cell = self.0.lock().expect("no thread panics with it");
        cell.outlive_leader(|cell| _ = cell.leader());
    }
}

/// What the recipe came to, within the patience of a test.
fn done<T>(recipe: impl Future<Output = Result<T, Error>>) -> T {
    block_on_timeout(recipe, PATIENCE).expect("in time").expect("done")
}

#[test]
fn one_leads_at_a_time_and_all_know_who() {
    let trial = Trial::new();
    let fence = Fence::new("/election");
    let (leading, terms) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let watching = trial.client();
    let mut observe = Election::new(&watching, "/election").observe();
    assert_eq!(done(observe.next()), None);
    let observer = std::thread::spawn(move || {
        let mut seen = Vec::new();
        loop {
            match done(observe.next()) {
                Some(leader) if leader.value == "the end" => return seen,
                Some(leader) => seen.push(leader.term),
                None => {}
            }
        }
    });
    scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let client = trial.client();
            let (fence, leading, terms) = (&fence, &leading, &terms);
            scope.spawn(move || {
                let election = Election::new(&client, "/election");
                for round in 0..5 {
                    let leadership = done(election.campaign(name));
                    assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                    fence.admit(&leadership.guard().sequencer()).expect("tokens rise");
                    let seen = done(election.leader()).expect("somebody leads");
                    assert_eq!((&seen.value[..], seen.term), (name.as_bytes(), leadership.term()));
                    done(leadership.proclaim(format!("{name}{round}")));
                    terms.lock().expect("no thread panics with it").push(leadership.term());
                    leading.fetch_sub(1, Ordering::SeqCst);
                    if round % 2 == 0 { done(leadership.resign()) } else { drop(leadership) }
                }
                // The last one ends with its session, in the middle of its term.
                let leadership = done(election.campaign(name));
                client.close().wait_timeout(PATIENCE).expect("closed");
                assert!(!leadership.is_held());
            });
        }
        trial.strike();
        trial.strike();
    });
    let terms = terms.into_inner().expect("no thread panics with it");
    assert!(terms.len() == 20 && terms.is_sorted(), "terms rise: {terms:?}");
    let election = Election::new(&watching, "/election");
    assert_eq!(done(election.leader()), None, "all sessions are over");
    let last = done(election.campaign("the end"));
    let seen = observer.join().expect("it only watches");
    assert!(!seen.is_empty() && seen.is_sorted() && seen.iter().all(|term| *term < last.term()), "{seen:?}");
}

/// A term is not the cell's leader's: nobody hears of a change of that, and who waits keeps its place.
#[test]
fn a_term_outlives_leaders_of_the_cell_and_passes_on_when_it_is_resigned() {
    let trial = Trial::new();
    let (one, other, watching) = (trial.client(), trial.client(), trial.client());
    let mut observe = Election::new(&watching, "/election").observe();
    let leadership = done(Election::new(&one, "/election").campaign("one"));
    let (term, sequencer) = (leadership.term(), leadership.guard().sequencer());
    let seen = done(observe.next()).expect("it leads");
    assert_eq!((&seen.value[..], seen.term), (&b"one"[..], term));
    scope(|scope| {
        let next = scope.spawn(|| done(Election::new(&other, "/election").campaign("other")));
        trial.0.lock().expect("no thread panics with it").wait("a candidate who waits", |_| {
            let holders = watching.lock_holders("/election").wait_timeout(PATIENCE).ok()?;
            (holders.waiting == 1).then_some(())
        });
        for struck in 1..=2 {
            trial.strike();
            let write = leadership.guard().guarded().create(&format!("/{struck}"), "", CreateOptions::permanent());
            write.wait_timeout(PATIENCE).expect("it leads under any leader of the cell");
            let seen = done(Election::new(&watching, "/election").leader()).expect("it still leads");
            assert_eq!((&seen.value[..], seen.term), (&b"one"[..], term));
            assert!(leadership.is_held() && !next.is_finished(), "one at a time");
        }
        done(leadership.resign());
        let next = next.join().expect("its turn has come");
        assert!(next.is_held() && next.term() > term && next.guard().token() > sequencer.generation, "tokens rise");
        assert!(!one.check_sequencer(&sequencer).wait_timeout(PATIENCE).expect("an answer"), "that term is over");
        let told = std::iter::repeat_with(|| done(observe.next())).flatten().next().expect("somebody leads");
        assert_eq!((&told.value[..], told.term), (&b"other"[..], next.term()), "nothing was told in between");
    });
}

#[test]
fn writers_are_alone_and_readers_are_not() {
    let trial = Trial::new();
    let value = AtomicUsize::new(0);
    scope(|scope| {
        for writes in [true, false, false, true] {
            let client = trial.client();
            let value = &value;
            scope.spawn(move || {
                let lock = ReadWriteLock::new(&client, "/deep/lock");
                for _ in 0..10 {
                    if writes {
                        let guard = done(lock.write());
                        // Odd while it is being written.
                        assert_eq!(value.fetch_add(1, Ordering::SeqCst) % 2, 0);
                        guard.guarded().set("/deep/lock", "x", Expect::Any).wait().expect("it is held");
                        value.fetch_add(1, Ordering::SeqCst);
                    } else {
                        let guard = done(lock.read());
                        let before = value.load(Ordering::SeqCst);
                        assert!(guard.is_held() && before.is_multiple_of(2));
                        assert_eq!(value.load(Ordering::SeqCst), before, "nobody writes");
                    }
                }
            });
        }
        trial.strike();
    });
    let (one, other) = (trial.client(), trial.client());
    let reading = done(ReadWriteLock::new(&one, "/deep/lock").read());
    let also = done(ReadWriteLock::new(&other, "/deep/lock").read());
    assert!(reading.is_held() && also.is_held(), "readers share it");
}

#[test]
fn no_more_hold_permits_than_there_are() {
    let trial = Trial::new();
    let inside = AtomicUsize::new(0);
    scope(|scope| {
        for name in 0..6 {
            let client = trial.client();
            let inside = &inside;
            scope.spawn(move || {
                let semaphore = Semaphore::new(&client, "/semaphore", 2);
                for round in 0..4 {
                    let permit = done(semaphore.acquire(format!("{name}")));
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 2, "two at most");
                    assert!(permit.is_held() && done(semaphore.held()) <= 2);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    if round % 2 == 0 { permit.release().wait().expect("given back") } else { drop(permit) }
                }
                // This one is given back by the end of the session.
                let permit = done(semaphore.acquire(""));
                client.close().wait_timeout(PATIENCE).expect("closed");
                assert!(!permit.is_held());
            });
        }
        trial.strike();
    });
    let client = trial.client();
    let semaphore = Semaphore::new(&client, "/semaphore", 2);
    assert_eq!(done(semaphore.held()), 0, "all were given back");
    let (_one, _two) = (done(semaphore.acquire("")), done(semaphore.acquire("")));
    assert!(block_on_timeout(semaphore.acquire(""), Duration::from_millis(50)).is_none(), "there are two");
    assert!(
        client.try_lock("/semaphore", LockOptions::exclusive()).wait().expect("answered").is_some(),
        "no turn is kept"
    );
}

#[test]
fn a_barrier_holds_all_and_lets_all_go() {
    let trial = Trial::new();
    let client = trial.client();
    let barrier = Barrier::new(&client, "/barriers/one");
    done(barrier.pass());
    done(barrier.raise());
    done(barrier.raise());
    let (waiting, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    scope(|scope| {
        for _ in 0..4 {
            let client = trial.client();
            let (waiting, passed) = (&waiting, &passed);
            scope.spawn(move || {
                let barrier = Barrier::new(&client, "/barriers/one");
                assert!(done(barrier.is_raised()));
                waiting.fetch_add(1, Ordering::SeqCst);
                done(barrier.pass());
                passed.fetch_add(1, Ordering::SeqCst);
            });
        }
        while waiting.load(Ordering::SeqCst) < 4 {
            std::thread::sleep(Duration::from_millis(5));
        }
        trial.strike();
        assert_eq!(passed.load(Ordering::SeqCst), 0, "it is raised, whoever leads");
        done(barrier.lower());
    });
    assert_eq!(passed.load(Ordering::SeqCst), 4);
}

#[test]
fn all_begin_together_and_end_together() {
    const COUNT: usize = 4;
    let trial = Trial::new();
    let inside = AtomicI64::new(0);
    let entered: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
    let left: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
    scope(|scope| {
        for _ in 0..COUNT {
            let client = trial.client();
            let (inside, entered, left) = (&inside, &entered, &left);
            scope.spawn(move || {
                let barrier = DoubleBarrier::new(&client, "/jobs/step", COUNT as u32);
                for round in 0..3 {
                    entered[round].fetch_add(1, Ordering::SeqCst);
                    let inside_now = done(barrier.enter());
                    assert_eq!(entered[round].load(Ordering::SeqCst), COUNT, "all have come");
                    inside.fetch_add(1, Ordering::SeqCst);
                    left[round].fetch_add(1, Ordering::SeqCst);
                    done(inside_now.leave());
                    assert_eq!(left[round].load(Ordering::SeqCst), COUNT, "all have ended");
                }
            });
        }
        trial.strike();
    });
    assert_eq!(inside.load(Ordering::SeqCst), 3 * COUNT as i64);
    let (gone, stays) = (trial.client(), trial.client());
    scope(|scope| {
        let left = scope.spawn(|| done(done(DoubleBarrier::new(&stays, "/jobs/step", 2).enter()).leave()));
        let inside = done(DoubleBarrier::new(&gone, "/jobs/step", 2).enter());
        gone.clone().close().wait_timeout(PATIENCE).expect("closed");
        drop(inside);
        left.join().expect("whose session ends has left");
    });
}

#[test]
fn who_comes_while_others_are_inside_waits_for_more_and_holds_nobody_up() {
    let trial = Trial::new();
    let clients: Vec<_> = (0..4).map(|_| trial.client()).collect();
    let enter = |at: usize| {
        let client = &clients[at];
        move || done(DoubleBarrier::new(client, "/jobs/late", 2).enter())
    };
    scope(|scope| {
        let first = scope.spawn(enter(0));
        let second = enter(1)();
        let first = first.join().expect("two have come");
        let late = scope.spawn(enter(2));
        let there = || clients[3].exists("/jobs/late").wait_timeout(PATIENCE).expect("read").expect("it is there");
        while there().children < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = scope.spawn(|| done(first.leave()));
        done(second.leave());
        left.join().expect("who waits outside is not waited for");
        assert!(!late.is_finished(), "it is alone");
        let with_it = enter(3)();
        let left = scope.spawn(|| done(with_it.leave()));
        done(late.join().expect("two have come").leave());
        left.join().expect("both have ended");
    });
}

#[test]
fn however_many_come_nobody_begins_alone_and_nobody_is_left_inside() {
    const COUNT: usize = 3;
    let trial = Trial::new();
    let clients: Vec<_> = (0..COUNT + 2).map(|_| trial.client()).collect();
    // How many began each round, and whether it goes to its end.
    let (began, over) = (Mutex::new(BTreeMap::<u64, usize>::new()), AtomicBool::new(false));
    scope(|scope| {
        for client in &clients {
            let (clients, began, over) = (&clients, &began, &over);
            scope.spawn(move || {
                let barrier = DoubleBarrier::new(client, "/jobs/crowd", COUNT as u32);
                // In the end the sessions of those who are left over are closed.
                while let Ok(inside) = block_on_timeout(barrier.enter(), PATIENCE).expect("enough come") {
                    let (round, mut rounds) = (inside.round(), began.lock().expect("no thread panics with it"));
                    *rounds.entry(round).or_default() += 1;
                    let are_enough = rounds.len() > 20;
                    drop(rounds);
                    let left = block_on_timeout(inside.leave(), PATIENCE).expect("nobody is left inside");
                    if left.is_err() || over.load(Ordering::SeqCst) {
                        return;
                    }
                    let together = began.lock().expect("no thread panics with it")[&round];
                    assert!(together >= COUNT, "{together} began round {round}, and all have ended");
                    if are_enough {
                        over.store(true, Ordering::SeqCst);
                        clients.iter().for_each(|client| client.clone().close().detach());
                    }
                }
            });
        }
        trial.strike();
    });
    let rounds = began.into_inner().expect("no thread panics with it").len();
    assert!(rounds > 20, "{rounds} rounds");
}

#[test]
fn members_are_those_whose_sessions_live() {
    let trial = Trial::new();
    let watching = trial.client();
    let group = Group::new(&watching, "/services/web");
    let mut members = group.watch();
    assert!(done(members.next()).is_empty());
    let joined: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .map(|name| {
            let client = trial.client();
            let membership = done(Group::new(&client, "/services/web").join(name, name.to_uppercase()));
            (client, membership)
        })
        .collect();
    while done(members.next()).len() < 3 {}
    trial.strike();
    assert!(joined.iter().all(|(_, membership)| membership.is_held()), "they outlive the leader");
    let twice = block_on(Group::new(&watching, "/services/web").join("a", ""));
    assert!(matches!(twice, Err(Error::NodeExists { .. })), "{twice:?}");
    let mut joined = joined.into_iter();
    let (first, second, third) = (joined.next(), joined.next(), joined.next());
    first.expect("three").0.close().wait_timeout(PATIENCE).expect("closed");
    while done(members.next()).contains_key("a") {}
    drop(second);
    while done(members.next()).len() > 1 {}
    let (_client, third) = third.expect("three");
    third.update("new").wait_timeout(PATIENCE).expect("updated");
    assert_eq!(&done(members.next())["c"][..], b"new");
    third.leave().wait_timeout(PATIENCE).expect("left");
    assert!(done(members.next()).is_empty());
}

#[test]
fn every_entry_is_taken_once() {
    let trial = Trial::new();
    let (producers, each) = (3, 12);
    let taken = Mutex::new(Vec::new());
    scope(|scope| {
        for producer in 0..producers {
            let client = trial.client();
            scope.spawn(move || {
                let queue = Queue::new(&client, "/queues/jobs");
                (0..each).for_each(|number| done(queue.put(format!("{producer}:{number}"))));
            });
        }
        for consumer in 0..3 {
            let client = trial.client();
            let taken = &taken;
            scope.spawn(move || {
                let queue = Queue::new(&client, "/queues/jobs");
                for _ in 0..producers * each / 3 {
                    let entry = done(queue.take_with(|txn, entry| {
                        txn.create("/taken-", entry.clone(), CreateOptions::permanent().sequential())
                    }));
                    taken.lock().expect("no thread panics with it").push(entry);
                }
                assert!(consumer < 3);
            });
        }
        trial.strike();
        trial.strike();
    });
    let taken = taken.into_inner().expect("no thread panics with it");
    let distinct: BTreeSet<_> = taken.iter().collect();
    assert_eq!((taken.len(), distinct.len()), (producers * each, producers * each), "once each");
    let client = trial.client();
    let (names, _) = client.list("/").wait().expect("listed");
    let recorded = names.iter().filter(|name| name.starts_with("taken-")).count();
    assert_eq!(recorded, producers * each, "and recorded in the same step");

    let queue = Queue::new(&client, "/queues/jobs");
    assert!(done(queue.is_empty()));
    done(queue.put_at(7, "late"));
    done(queue.put_at(2, "early"));
    done(queue.put_at(2, "early too"));
    assert_eq!(done(queue.len()), 3);
    let refused = block_on(queue.take_with(|txn, _| txn.check("/none", Expect::Any)));
    assert!(matches!(refused, Err(Error::Aborted { index: 0, .. })), "{refused:?}");
    let order: Vec<_> = (0..3).map(|_| done(queue.take())).collect();
    assert_eq!(order, ["early", "early too", "late"]);
}

#[test]
fn every_addition_counts_once() {
    let trial = Trial::new();
    let (threads, each) = (4, 25);
    let numbers = Mutex::new(BTreeSet::new());
    scope(|scope| {
        for _ in 0..threads {
            let client = trial.client();
            let numbers = &numbers;
            scope.spawn(move || {
                let counter = Counter::new(&client, "/counters/orders");
                for _ in 0..each {
                    let number = done(counter.add(1));
                    assert!(numbers.lock().expect("no thread panics with it").insert(number), "{number} came twice");
                }
            });
        }
        trial.strike();
        trial.strike();
    });
    let client = trial.client();
    let counter = Counter::new(&client, "/counters/orders");
    assert_eq!(done(counter.get()), threads * each);
    assert_eq!(done(counter.add(-100)), 0);
    let past = block_on(Counter::new(&client, "/counters/far").add(i64::MAX))
        .and_then(|_| block_on(Counter::new(&client, "/counters/far").add(1)));
    assert!(matches!(past, Err(Error::BadArgument { .. })), "{past:?}");
}

/// Of a counter that was deleted, and begun anew with as many changes as the old one had, nothing of the old comes back.
#[test]
fn an_addition_to_a_deleted_counter_does_not_reach_the_next_one() {
    const EACH: i64 = 1 << 32;
    let trial = Trial::new();
    let (client, over) = (trial.client(), AtomicBool::new(false));
    let counter = Counter::new(&client, "/counters/again");
    done(counter.add(1));
    scope(|scope| {
        for _ in 0..3 {
            let client = trial.client();
            let over = &over;
            scope.spawn(move || {
                let counter = Counter::new(&client, "/counters/again");
                while !over.load(Ordering::Relaxed) {
                    done(counter.add(1));
                }
            });
        }
        let _ends = Ends(&over);
        for round in 1..300 {
            let begin = (round * EACH).to_string();
            let anew = client.txn().delete("/counters/again", Expect::Any);
            let anew = anew.create("/counters/again", begin, CreateOptions::permanent());
            anew.commit().wait_timeout(PATIENCE).and_then(TxnOutcome::applied).expect("it is there");
            assert_eq!(done(counter.get()) / EACH, round, "what was counted before came back");
        }
    });
}

/// Tells others to end, however this thread does.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn who_waits_for_word_gets_it_and_never_that_of_one_who_is_gone() {
    let trial = Trial::new();
    let place = "/jobs/sort/coordinator";
    scope(|scope| {
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let client = trial.client();
                scope.spawn(move || done(Rendezvous::new(&client, place).meet()))
            })
            .collect();
        trial.strike();
        let gone = trial.client();
        done(Rendezvous::new(&gone, place).announce("one"));
        for waiting in waiting {
            assert_eq!(waiting.join().expect("it only waits"), "one");
        }
        let client = trial.client();
        let twice = block_on(Rendezvous::new(&client, place).announce("two"));
        assert!(matches!(twice, Err(Error::NodeExists { .. })), "{twice:?}");
        gone.close().wait_timeout(PATIENCE).expect("closed");
        assert!(block_on_timeout(Rendezvous::new(&client, place).meet(), Duration::from_millis(50)).is_none());
        done(Rendezvous::new(&client, place).announce("two"));
        done(Rendezvous::new(&client, place).announce("three"));
        assert_eq!(done(Rendezvous::new(&trial.client(), place).meet()), "three", "its own word can be changed");
    });
}

#[test]
fn a_setting_is_followed_across_leaders() {
    let trial = Trial::new();
    let client = trial.client();
    let mut followed = Setting::new(&client, "/settings/limit");
    assert_eq!(done(followed.next()), None);
    let follower = std::thread::spawn(move || {
        let mut revisions = Vec::new();
        loop {
            let (value, revision) = done(followed.next()).expect("it is never taken back");
            revisions.push(revision);
            if value == "20" {
                return revisions;
            }
        }
    });
    let setting = Setting::new(&trial.client(), "/settings/limit");
    for value in 1..=20 {
        done(setting.set(value.to_string()));
        if value % 10 == 5 {
            trial.strike();
        }
    }
    let revisions = follower.join().expect("it only follows");
    assert!(revisions.is_sorted_by(|a, b| a < b), "forward, each once, and the last in the end: {revisions:?}");
}

#[test]
fn what_a_killed_process_had_goes_to_the_others_with_its_session() {
    let trial = Trial::new();
    let client = trial.client();
    let queue = Queue::new(&client, "/queue");
    done(queue.put("entry"));
    let mut members = Group::new(&client, "/group").watch();
    assert!(done(members.next()).is_empty());
    let actor = Actor::start("recipes", &trial.0.lock().expect("no thread panics with it"));
    assert_eq!(actor.hear(), "has them all");
    assert!(done(members.next()).contains_key("one"));
    assert_eq!(done(Rendezvous::new(&client, "/place").meet()), "here");
    // Those who come after it wait; it is killed under their eyes, and so is the leader.
    let (mut leaders, others) = (Election::new(&client, "/election").observe(), [trial.client(), trial.client()]);
    assert_eq!(done(leaders.next()).expect("it leads").value, "here");
    scope(|scope| {
        let [one, other] = &others;
        scope.spawn(|| done(Election::new(one, "/election").campaign("there")));
        scope.spawn(|| done(ReadWriteLock::new(one, "/lock").read()).release().wait().expect("it was held"));
        scope.spawn(|| done(Semaphore::new(one, "/semaphore", 1).acquire("")).release().wait().expect("it was held"));
        scope.spawn(|| assert_eq!(done(Queue::new(one, "/queue").take()), "entry"));
        scope.spawn(|| done(done(DoubleBarrier::new(other, "/step", 1).enter()).leave()));
        actor.kill();
        trial.strike();
    });
    assert!(block_on_timeout(Rendezvous::new(&client, "/place").meet(), Duration::from_millis(50)).is_none());
    let last = std::iter::repeat_with(|| done(members.next())).find(std::collections::BTreeMap::is_empty);
    assert_eq!(last.map(|members| members.len()), Some(0));
    assert!(done(queue.is_empty()), "taken once");
}

/// Asks for something, and gives it up while the cell is being asked.
fn give_up<T>(recipe: impl Future<Output = T>) {
    let polled = pin!(recipe).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "the cell has to be asked");
}

#[test]
fn what_was_given_up_while_it_was_read_is_told_when_it_is_asked_for_again() {
    let trial = Trial::new();
    let (client, other) = (trial.client(), trial.client());
    let mut setting = Setting::new(&client, "/followed/setting");
    let mut members = Group::new(&client, "/followed/group").watch();
    let mut leaders = Election::new(&client, "/followed/election").observe();
    assert_eq!(done(setting.next()), None);
    assert!(done(members.next()).is_empty());
    assert_eq!(done(leaders.next()), None);
    // Opened last, so told last.
    let mut last = client.watch("/followed/last", WatchOptions::node()).wait_timeout(PATIENCE).expect("opened");
    done(Setting::new(&other, "/followed/setting").set("new"));
    let _membership = done(Group::new(&other, "/followed/group").join("one", ""));
    let _leadership = done(Election::new(&other, "/followed/election").campaign("one"));
    other.create("/followed/last", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    assert!(last.next_timeout(PATIENCE).is_some(), "all before it was told");
    give_up(setting.next());
    give_up(members.next());
    give_up(leaders.next());
    assert_eq!(done(setting.next()).expect("it was set").0, "new");
    assert!(done(members.next()).contains_key("one"));
    assert_eq!(done(leaders.next()).expect("one leads").value, "one");
}
