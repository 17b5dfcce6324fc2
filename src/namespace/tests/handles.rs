//! Handles, and the nodes that live while they are open.

use super::super::answer;
use super::super::codec::ReadRef;
use super::super::command::{Answer, Birth, Done, Expiry, Handle, HandleMode, LockMode, Refusal};
use super::*;
use crate::limits::{NODE_HANDLES_MAX, SESSION_HANDLES_MAX};

/// A namespace whose first reign has begun, with one client.
fn bench() -> Bench {
    let mut bench = Bench::new();
    assert_eq!(bench.command(Command::BeginReign { reign: 9, key: 77 }), CommandOutcome::ReignBegun);
    bench
}

fn opening(path: &str, mode: HandleMode, lifetime: Option<Lifetime>) -> Operation {
    let birth = lifetime.map(|lifetime| Birth {
        data: Bytes::from("born"),
        lifetime,
        sequential: false,
        must: false,
        acl: None,
    });
    Operation::Open { path: path.into(), mode, birth }
}

fn open(bench: &mut Bench, path: &str, mode: HandleMode, lifetime: Option<Lifetime>) -> Handle {
    let done = bench.ask(opening(path, mode, lifetime)).expect("it may be opened");
    let Done::Opened { handle, .. } = done else { panic!("{done:?}") };
    handle
}

fn close(handle: &Handle) -> Operation {
    Operation::Close { handle: handle.clone() }
}

fn through(handle: &Handle, operation: Operation) -> Operation {
    Operation::Through { handle: handle.clone(), operation: Box::new(operation) }
}

fn lives(bench: &Bench, path: &str) -> bool {
    bench.namespace.tree().get(path).is_some()
}

fn get(bench: &Bench, handle: &Handle) -> Result<Answer, Refusal> {
    answer(&Gate::new(bench.namespace.tree(), &Principals::at(None)), ReadRef::HandleGet { handle: handle.as_ref() })
}

const TRANSIENT: Option<Lifetime> = Some(Lifetime::Transient);

#[test]
fn a_transient_node_goes_with_its_last_handle() {
    let mut bench = bench();
    let first = open(&mut bench, "/t", HandleMode::ALL, TRANSIENT);
    let stat = bench.namespace.tree().get("/t").expect("it was made").stat();
    assert_eq!((stat.expiry, stat.owner, stat.data_bytes), (Some(Expiry::Closed), None, 4));
    let other = open(&mut bench, "/t", HandleMode::NONE, TRANSIENT);
    assert_eq!(bench.ask(close(&first)), Ok(Done::Closed));
    assert!(lives(&bench, "/t"), "it is open still");
    assert_eq!(bench.ask(close(&first)), Ok(Done::Closed), "closing is done once, and never fails");
    assert!(lives(&bench, "/t"));
    assert_eq!(get(&bench, &first), Err(Refusal::HandleClosed { path: "/t".into() }));
    assert_eq!(bench.ask(close(&other)), Ok(Done::Closed));
    assert!(!lives(&bench, "/t"));
    let revision = bench.namespace.revision();
    assert_eq!(bench.ask(close(&other)), Ok(Done::Closed));
    assert_eq!(bench.namespace.revision(), revision, "what does nothing is no revision");
}

#[test]
fn a_session_that_ends_closes_all_it_has_open_in_one_command() {
    for expires in [false, true] {
        let mut bench = bench();
        let kept = bench.open(2);
        open(&mut bench, "/t", HandleMode::NONE, TRANSIENT);
        open(&mut bench, "/t/below", HandleMode::NONE, TRANSIENT);
        open(&mut bench, "/shared", HandleMode::NONE, TRANSIENT);
        open(&mut bench, "/plain", HandleMode::NONE, Some(Lifetime::Permanent));
        let mine = (bench.session, bench.number);
        (bench.session, bench.number) = (kept, 0);
        let other = open(&mut bench, "/shared", HandleMode::READ, None);
        (bench.session, bench.number) = mine;
        assert_eq!(bench.namespace.handles(bench.session), 4);
        if expires {
            let (session, counter) = (bench.session, bench.namespace.session(bench.session).expect("it lives").counter);
            let outcome = bench.command(Command::ExpireSession { session, counter });
            assert_eq!(outcome, CommandOutcome::SessionExpired { session });
        } else {
            assert_eq!(bench.ask(Operation::CloseSession), Ok(Done::SessionClosed));
        }
        let found = ["/t", "/t/below", "/shared", "/plain"].map(|path| lives(&bench, path));
        assert_eq!(found, [false, false, true, true]);
        assert_eq!(bench.namespace.handles(bench.session), 0);
        assert!(matches!(get(&bench, &other), Ok(Answer::Node { .. })));
    }
}

#[test]
fn children_keep_a_transient_node_that_nobody_has_open() {
    let mut bench = bench();
    let handle = open(&mut bench, "/t", HandleMode::NONE, TRANSIENT);
    bench.ask(create("/t/c")).expect("it may have children");
    bench.ask(close(&handle)).expect("closing never fails");
    assert!(lives(&bench, "/t"), "it has a child");
    assert_eq!(bench.namespace.timers().count(), 0, "nothing is due before the child is gone");
    bench.ask(delete("/t/c", Expect::Any)).expect("it is there");
    let instance = bench.namespace.tree().get("/t").expect("it is there").stat().instance;
    assert_eq!(bench.namespace.timers().map(|(_, path)| &**path).collect::<Vec<_>>(), ["/t"]);
    let again = open(&mut bench, "/t", HandleMode::NONE, None);
    bench.command(Command::Settle { path: "/t".into(), instance });
    assert!(lives(&bench, "/t"), "it was opened in time");
    bench.ask(create("/t/c")).expect("it may have children");
    bench.ask(close(&again)).expect("closing never fails");
    bench.ask(delete("/t/c", Expect::Any)).expect("it is there");
    bench.command(Command::Settle { path: "/t".into(), instance });
    assert!(!lives(&bench, "/t"));
}

#[test]
fn a_handle_names_an_instance_and_not_a_name() {
    let mut bench = bench();
    let handle = open(&mut bench, "/a", HandleMode::ALL, Some(Lifetime::Permanent));
    assert!(matches!(get(&bench, &handle), Ok(Answer::Node { data, .. }) if data == "born"));
    bench.ask(through(&handle, set("/a", b"new", Expect::Any))).expect("it has it open");
    bench.ask(delete("/a", Expect::Any)).expect("it is there");
    bench.ask(create("/a")).expect("it is gone");
    let gone = Refusal::HandleGone { path: "/a".into() };
    assert_eq!(get(&bench, &handle), Err(gone.clone()));
    assert_eq!(bench.ask(through(&handle, set("/a", b"newer", Expect::Any))), Err(gone.clone()));
    assert_eq!(bench.ask(through(&handle, create("/a/b"))), Err(gone.clone()));
    let check = Step::CheckHandle { handle: handle.clone() };
    assert_eq!(bench.ask(multi(vec![check])), Err(Refusal::Aborted { index: 0, cause: Box::new(gone) }));
    assert_eq!(bench.namespace.tree().get("/a").expect("it was made anew").stat().version, 0);
    assert_eq!(bench.ask(close(&handle)), Ok(Done::Closed), "closing never fails");
}

#[test]
fn what_is_on_a_handle_is_covered_by_its_digits() {
    let mut bench = bench();
    let handle = open(&mut bench, "/a", HandleMode::READ, Some(Lifetime::Permanent));
    open(&mut bench, "/b", HandleMode::READ, Some(Lifetime::Permanent));
    let forged = [
        Handle { path: "/b".into(), ..handle.clone() },
        Handle { instance: handle.instance + 1, ..handle.clone() },
        Handle { session: SessionId(handle.session.0 + 1), ..handle.clone() },
        Handle { opened: handle.opened + 1, ..handle.clone() },
        Handle { reign: handle.reign + 1, ..handle.clone() },
        Handle { mode: HandleMode::ALL, ..handle.clone() },
        Handle { digits: handle.digits ^ 1, ..handle.clone() },
        Handle { path: "/nothing".into(), ..handle.clone() },
    ];
    for handle in forged {
        let refusal = Refusal::HandleForged { path: handle.path.clone() };
        assert_eq!(get(&bench, &handle), Err(refusal.clone()), "{handle}");
        assert_eq!(bench.ask(through(&handle, set(&handle.path, b"", Expect::Any))), Err(refusal.clone()), "{handle}");
        assert_eq!(bench.ask(close(&handle)), Err(refusal), "{handle}");
    }
    assert!(get(&bench, &handle).is_ok());
    let text = handle.to_string();
    assert_eq!(text.parse(), Ok(handle.clone()));
    for text in ["", ":", &text[1..], &format!("0{text}"), &text.to_uppercase(), &text.replace('.', ":")] {
        assert!(text.parse::<Handle>().is_err(), "{text}");
    }
}

#[test]
fn a_handle_is_good_for_what_it_was_opened_for_and_for_its_node() {
    let mut bench = bench();
    let path = "/a".to_owned();
    let reader = open(&mut bench, "/a", HandleMode::READ, Some(Lifetime::Permanent));
    let writer = open(&mut bench, "/a", HandleMode::WRITE | HandleMode::LOCK, None);
    let lacks = |lacks| Refusal::HandleLacks { path: "/a".into(), lacks };
    assert_eq!(get(&bench, &writer), Err(lacks(HandleMode::READ)));
    assert_eq!(bench.ask(through(&reader, set("/a", b"", Expect::Any))), Err(lacks(HandleMode::WRITE)));
    assert_eq!(bench.ask(through(&reader, create("/a/b"))), Err(lacks(HandleMode::WRITE)));
    let (mode, wait, create_it, lock_delay_ms) = (LockMode::Exclusive, true, false, 0);
    let acquire = Operation::Acquire { path: path.clone(), mode, wait, create: create_it, lock_delay_ms };
    assert_eq!(bench.ask(through(&reader, acquire.clone())), Err(lacks(HandleMode::LOCK)));
    let quota = Operation::SetQuota { path: path.clone(), quota: None };
    assert_eq!(bench.ask(through(&writer, quota)), Err(lacks(HandleMode::ADMIN)));
    assert!(matches!(bench.ask(through(&writer, acquire)), Ok(Done::Granted { .. })));
    assert_eq!(bench.ask(through(&reader, Operation::Release { path })), Ok(Done::Released));
    bench.ask(through(&writer, create("/a/b"))).expect("it is below");
    let below = bench.ask(through(&writer, opening("/a/b/c", HandleMode::READ, TRANSIENT)));
    assert!(matches!(below, Ok(Done::Opened { created: true, .. })), "{below:?}");
    for elsewhere in [set("/a/b", b"", Expect::Any), create("/ab"), create("/a"), delete("/", Expect::Any)] {
        let refusal = bench.ask(through(&writer, elsewhere.clone())).expect_err("it is not its node");
        assert!(matches!(refusal, Refusal::BadArgument { .. }), "{elsewhere:?}: {refusal:?}");
    }
    bench.ask(delete_tree("/a", Expect::Any)).expect("it is there");
    assert_eq!(bench.namespace.handles(bench.session), 0, "handles go with their nodes");
}

#[test]
fn a_handle_shown_to_another_session_serves_it_until_it_is_closed() {
    let mut bench = bench();
    let handle = open(&mut bench, "/a", HandleMode::ALL, Some(Lifetime::Permanent));
    let mine = (bench.session, bench.number);
    let other = bench.open(2);
    (bench.session, bench.number) = (other, 0);
    bench.ask(through(&handle, set("/a", b"by another", Expect::Any))).expect("it has it open");
    let foreign = Refusal::HandleForeign { path: "/a".into(), session: mine.0 };
    assert_eq!(bench.ask(close(&handle)), Err(foreign));
    (bench.session, bench.number) = mine;
    bench.ask(close(&handle)).expect("closing never fails");
    (bench.session, bench.number) = (other, 1 + 1);
    let closed = Refusal::HandleClosed { path: "/a".into() };
    assert_eq!(bench.ask(through(&handle, set("/a", b"again", Expect::Any))), Err(closed));
}

#[test]
fn a_handle_names_the_reign_it_was_made_in_and_outlives_it() {
    let mut bench = bench();
    let before = open(&mut bench, "/a", HandleMode::READ, Some(Lifetime::Permanent));
    let revision = bench.namespace.revision();
    bench.command(Command::BeginReign { reign: 12, key: 78 });
    assert_eq!((bench.namespace.reign(), bench.namespace.revision()), (12, revision + 1));
    for late in [9, 12] {
        bench.command(Command::BeginReign { reign: late, key: 79 });
        assert_eq!((bench.namespace.reign(), bench.namespace.revision()), (12, revision + 1), "reigns rise");
    }
    let after = open(&mut bench, "/a", HandleMode::READ, None);
    assert_eq!((before.reign, after.reign), (9, 12));
    assert!(get(&bench, &before).is_ok() && get(&bench, &after).is_ok(), "the key is that of the first");
}

#[test]
fn opening_makes_what_is_missing_if_it_may_and_nothing_else() {
    let mut bench = bench();
    assert_eq!(
        bench.ask(opening("/a", HandleMode::READ, None)),
        Err(Refusal::NoNode { path: "/a".into() }),
        "it makes nothing of its own"
    );
    let birth = |sequential, must| {
        Some(Birth { data: Bytes::from("1"), lifetime: Lifetime::Transient, sequential, must, acl: None })
    };
    let asked = |path: &str, birth| Operation::Open { path: path.into(), mode: HandleMode::READ, birth };
    let created = bench.ask(asked("/a", birth(false, true))).expect("it is new");
    assert!(matches!(created, Done::Opened { created: true, .. }), "{created:?}");
    assert_eq!(bench.ask(asked("/a", birth(false, true))), Err(Refusal::NodeExists { path: "/a".into() }));
    let found = bench.ask(asked("/a", birth(false, false))).expect("it is there");
    assert!(matches!(found, Done::Opened { created: false, .. }), "{found:?}");
    let numbered = bench.ask(asked("/a/s-", birth(true, true))).expect("it is new");
    assert!(matches!(numbered, Done::Opened { handle, .. } if handle.path == "/a/s-0000000000"));
    let plain =
        Operation::Create { path: "/b".into(), data: Bytes::new(), lifetime: Lifetime::Transient, sequential: false };
    assert!(matches!(bench.ask(plain), Err(Refusal::BadArgument { why }) if why.contains("by opening it")));
}

#[test]
fn a_multi_that_fails_leaves_handles_as_they_were() {
    let mut bench = bench();
    let handle = open(&mut bench, "/t", HandleMode::READ, TRANSIENT);
    let steps = vec![
        Step::CheckHandle { handle: handle.clone() },
        Step::Delete { path: "/t".into(), expect: Expect::Any },
        step_create("/t"),
        Step::CheckHandle { handle: handle.clone() },
    ];
    let cause = Box::new(Refusal::HandleGone { path: "/t".into() });
    assert_eq!(bench.ask(multi(steps)), Err(Refusal::Aborted { index: 3, cause }));
    assert!(get(&bench, &handle).is_ok());
    bench.ask(close(&handle)).expect("closing never fails");
    assert!(!lives(&bench, "/t"));
}

#[test]
fn handles_have_bounds() {
    let mut bench = bench();
    for _ in 0..NODE_HANDLES_MAX.min(SESSION_HANDLES_MAX) {
        let number = bench.number + 1;
        bench.number = number;
        let (session, operation) = (bench.session, opening("/a", HandleMode::NONE, Some(Lifetime::Permanent)));
        let request = Command::Request { session, number, acked_upto: number - 1, operation };
        bench.namespace.apply(&batch(1, 1000, &[request]), &mut Applied::default());
    }
    let limit = SESSION_HANDLES_MAX as u64;
    let too_many = Refusal::TooLarge { what: "handles of the session".into(), size: limit + 1, limit };
    assert_eq!(bench.ask(opening("/b", HandleMode::NONE, TRANSIENT)), Err(too_many));
    let other = bench.open(2);
    (bench.session, bench.number) = (other, 0);
    let limit = NODE_HANDLES_MAX as u64;
    let too_many = Refusal::TooLarge { what: "handles of the node".into(), size: limit + 1, limit };
    assert_eq!(bench.ask(opening("/a", HandleMode::NONE, None)), Err(too_many));
    open(&mut bench, "/b", HandleMode::NONE, TRANSIENT);
}
