//! Sessions: each request once, in order, told the same however often it is sent; and what an end takes along.

use std::sync::Arc;

use super::super::codec::decode_outcome;
use super::super::command::{Command, Done, Expect, Operation, Refusal, Resume, SessionId, Step, StepDone};
use super::super::{Marked, NotResumed};
use super::*;
use crate::limits::{
    SESSION_PROCESSES_REMEMBERED, SESSION_REQUESTS_IN_FLIGHT, SESSION_RESULTS_MAX, SESSION_TIMEOUT_MS_MAX,
    SESSION_TIMEOUT_MS_MIN, SESSIONS_MAX,
};

fn request(session: SessionId, number: u64, acked_upto: u64, operation: Operation) -> Command {
    Command::Request { session, number, acked_upto, operation }
}

fn resume(session: SessionId, secret: u128) -> Command {
    let resume = Resume { session, secret, holder: 1, takes_over: false };
    Command::ResumeSession { token: 4, resume, address: None }
}

#[test]
fn who_takes_a_session_over_is_told_what_was_done_and_nothing_more_of_it_is() {
    let mut bench = Bench::new();
    let session = bench.session;
    for (number, path) in [(1, "/a"), (2, "/b")] {
        bench.command(request(session, number, 0, create(path)));
    }
    let window = SESSION_REQUESTS_IN_FLIGHT as u64;
    let resumed = |before| CommandOutcome::SessionResumed {
        token: 4,
        session,
        timeout_ms: 12_000,
        last_number: before + window,
        before,
        who: Arc::default(),
    };
    assert_eq!(bench.command(take_over(session, 7)), resumed(2));
    assert_eq!(bench.command(take_over(session, 7)), resumed(2), "a second copy of the command changes nothing");
    for number in [3, 4, 2 + window] {
        let late = bench.command(request(session, number, 2, create("/late")));
        assert!(matches!(late, CommandOutcome::Replied { .. }), "{late:?}");
    }
    assert!(bench.namespace.tree().get("/late").is_none(), "what the process before had under way has no effect");
    let taken = CommandOutcome::SessionRefused { token: 4, session, why: NotResumed::Taken };
    assert_eq!(bench.command(resume(session, 99)), taken, "the process before may not go on");
    bench.command(request(session, 3 + window, 2 + window, create("/c")));
    assert!(bench.namespace.tree().get("/c").is_some());
    assert_eq!(bench.command(take_over(session, 8)), resumed(3 + window));
}

#[test]
fn who_took_a_session_over_and_did_nothing_leaves_it_as_it_was() {
    let mut bench = Bench::new();
    let session = bench.session;
    let before = |told: CommandOutcome| {
        let CommandOutcome::SessionResumed { last_number, before, .. } = told else { panic!("{told:?}") };
        (last_number, before)
    };
    let window = SESSION_REQUESTS_IN_FLIGHT as u64;
    assert_eq!(before(bench.command(take_over(session, 7))), (window, 0));
    assert_eq!(before(bench.command(take_over(session, 8))), (2 * window, 0), "nobody asked for anything yet");
    bench.command(request(session, 2 * window + 1, 2 * window, create("/a")));
    let (last, applied) = (2 * window + 1, 2 * window + 1);
    assert_eq!(before(bench.command(take_over(session, 9))), (last + window, applied));
    // A process that died before its first request: what the one before it did is still what was done last.
    assert_eq!(before(bench.command(take_over(session, 10))), (last + 2 * window, applied));
    let late = bench.command(request(session, last + window + 1, last + window, create("/late")));
    assert!(matches!(late, CommandOutcome::Replied { .. }) && bench.namespace.tree().get("/late").is_none());
}

#[test]
fn a_process_that_lost_a_session_does_not_get_it_back_by_a_late_copy_of_its_wish() {
    let mut bench = Bench::new();
    let session = bench.session;
    bench.command(take_over(session, 7));
    bench.command(take_over(session, 8));
    let taken = CommandOutcome::SessionRefused { token: 4, session, why: NotResumed::Taken };
    assert_eq!(bench.command(take_over(session, 7)), taken, "another leader proposed it again");
    let resumed = bench.command(take_over(session, 9));
    assert!(matches!(resumed, CommandOutcome::SessionResumed { .. }), "a new process may: {resumed:?}");
    assert_eq!(bench.command(take_over(session, 8)), taken);
}

#[test]
fn none_of_the_processes_that_lost_a_session_gets_it_back_by_a_late_copy() {
    let mut bench = Bench::new();
    let session = bench.session;
    let resumed = |told: CommandOutcome| matches!(told, CommandOutcome::SessionResumed { .. });
    for process in [7, 8, 9] {
        assert!(resumed(bench.command(take_over(session, process))));
    }
    let before = bench.namespace.session(session).expect("it lives");
    let digest = bench.namespace.digest();
    // The first has had it under the number of its opening.
    for process in [7, 8, 1] {
        let taken = CommandOutcome::SessionRefused { token: 4, session, why: NotResumed::Taken };
        assert_eq!(bench.command(take_over(session, process)), taken, "{process}");
    }
    assert_eq!(
        (bench.namespace.session(session), bench.namespace.digest()),
        (Some(before), digest),
        "nothing came of it"
    );
    let number = before.last_number + 1;
    let told = bench.command(request(session, number, number - 1, create("/mine")));
    assert_eq!(outcome_of(&told).map(|_| ()), Ok(()), "the one that has it goes on");
    assert!(resumed(bench.command(take_over(session, 9))), "its own late copy changes nobody's mind");
    assert!(resumed(bench.command(take_over(session, 10))), "a new process may have it");
}

#[test]
fn a_session_remembers_so_many_of_the_processes_that_lost_it() {
    let mut bench = Bench::new();
    let session = bench.session;
    let last = 100 + SESSION_PROCESSES_REMEMBERED as u64 + 2;
    for process in 100..=last {
        bench.command(take_over(session, process));
    }
    // The last has it, the one before is kept apart.
    for process in last - 1 - SESSION_PROCESSES_REMEMBERED as u64..last {
        let told = bench.command(take_over(session, process));
        assert!(matches!(told, CommandOutcome::SessionRefused { why: NotResumed::Taken, .. }), "{process}: {told:?}");
    }
    let place = bench.namespace.sessions.find(session).expect("it lives");
    assert_eq!(bench.namespace.sessions.get(place).earlier().len(), SESSION_PROCESSES_REMEMBERED, "and no more");
}

#[test]
fn a_mark_is_for_those_who_may_have_kept_something() {
    let marked = |deeds: &str| {
        let mut bench = Bench::new();
        let session = bench.session;
        for (process, deed) in (7..).zip(deeds.chars()) {
            bench.command(if deed == 'm' { Command::MarkCaching { session } } else { take_over(session, process) });
        }
        let view = bench.namespace.session(session).expect("it lives");
        (view.marked, view.is_marked_for_former())
    };
    for deeds in ["", "t", "tt"] {
        assert_eq!(marked(deeds), (Marked::Never, false), "{deeds}");
    }
    for deeds in ["m", "mm"] {
        assert_eq!(marked(deeds), (Marked::ForAny, false), "{deeds}: there is but one");
    }
    for deeds in ["tm", "ttm", "tmm"] {
        assert_eq!(marked(deeds), (Marked::ForHolder, false), "{deeds}: those before had nothing");
    }
    for deeds in ["mt", "mtt", "mtm", "tmt", "tmtm", "tmtt"] {
        assert_eq!(marked(deeds), (Marked::ForAny, true), "{deeds}");
    }
}

#[test]
fn a_wrong_secret_takes_up_nothing() {
    let mut bench = Bench::new();
    let session = bench.session;
    let digest = bench.namespace.digest();
    let refused = CommandOutcome::SessionRefused { token: 4, session, why: NotResumed::WrongSecret };
    assert_eq!(bench.command(resume(session, 98)), refused);
    assert_eq!(bench.namespace.digest(), digest, "a stranger does not keep a session alive");
    let resumed = CommandOutcome::SessionResumed {
        token: 4,
        session,
        timeout_ms: 12_000,
        last_number: 0,
        before: 0,
        who: Arc::default(),
    };
    assert_eq!(bench.command(resume(session, 99)), resumed);
}

#[test]
fn what_the_log_would_always_refuse_is_known_without_it_and_nothing_else_is() {
    let mut bench = Bench::new();
    let session = bench.session;
    let known = |bench: &Bench, session, secret| {
        let Command::ResumeSession { resume, .. } = resume(session, secret) else { panic!("it resumes") };
        bench.namespace.never_resumes(&resume)
    };
    let log = |bench: &mut Bench, session, secret| match bench.command(resume(session, secret)) {
        CommandOutcome::SessionRefused { why, .. } => Some(why),
        _ => None,
    };
    let next = SessionId(bench.namespace.revision() + 1);
    assert_eq!(known(&bench, next, 99), None, "it may be there already, for all that is applied here");
    assert_eq!(bench.open(2), next);
    assert_eq!(known(&bench, next, 99), None);
    for (session, secret, expected) in
        [(session, 99, None), (next, 98, Some(NotResumed::WrongSecret)), (SessionId(0), 99, Some(NotResumed::Over))]
    {
        assert_eq!(known(&bench, session, secret), expected, "{session}");
        assert_eq!(log(&mut bench, session, secret), expected, "{session}");
    }
    bench.command(take_over(session, 7));
    assert_eq!(known(&bench, session, 99), None, "whose it is may change again");
    assert_eq!(known(&bench, session, 98), Some(NotResumed::WrongSecret), "its secret does not");
    let counter = bench.namespace.session(session).expect("it lives").counter;
    bench.command(Command::ExpireSession { session, counter });
    assert_eq!(known(&bench, session, 99), Some(NotResumed::Over));
    assert_eq!(log(&mut bench, session, 99), Some(NotResumed::Over));
}

#[test]
fn a_full_cell_opens_no_further_session_until_one_ends() {
    let mut bench = Bench::new();
    let open = |token| Command::OpenSession { token, secret: 99, timeout_ms: 12_000, address: None };
    let more: Vec<Command> = (2..=SESSIONS_MAX as u64).map(open).collect();
    for commands in more.chunks(4096) {
        bench.namespace.apply(&batch(1, 1000, commands), &mut Applied::default());
    }
    assert_eq!(bench.namespace.session_count(), SESSIONS_MAX);
    let digest = bench.namespace.digest();
    let mut told = |command| {
        let mut applied = Applied::default();
        bench.namespace.apply(&batch(1, 1000, &[command]), &mut applied);
        (applied.outcomes.pop().expect("one command, one outcome"), bench.namespace.digest())
    };
    assert_eq!(told(open(0)), (CommandOutcome::SessionsFull { token: 0, secret: 99 }, digest), "it leaves no trace");
    let (again, _) = told(open(1));
    assert!(matches!(again, CommandOutcome::SessionOpened { .. }), "who is in is found again: {again:?}");
    told(Command::ExpireSession { session: bench.session, counter: 2 });
    assert!(matches!(told(open(0)).0, CommandOutcome::SessionOpened { .. }), "there is room again");
}

#[test]
fn a_window_sent_again_is_told_what_it_was_told() {
    let mut bench = Bench::new();
    let session = bench.session;
    let window: Vec<_> = (1..=64)
        .map(|number| {
            let operation = match number % 3 {
                0 => create("/a"),
                1 => set("/a", &[u8::try_from(number).expect("small")], Expect::Any),
                _ => create_sequential("/s-"),
            };
            request(session, number, 0, operation)
        })
        .collect();
    let first: Vec<_> = window.iter().map(|command| bench.command(command.clone())).collect();
    let digest = bench.namespace.digest();
    for (command, told) in window.iter().zip(&first).rev() {
        assert_eq!(&bench.command(command.clone()), told);
    }
    assert_eq!(bench.namespace.digest(), digest, "a resend leaves no trace");
}

#[test]
fn a_request_ahead_of_its_turn_has_no_effect() {
    let mut bench = Bench::new();
    let session = bench.session;
    let digest = bench.namespace.digest();
    let outcome = bench.command(request(session, 2, 0, create("/a")));
    assert_eq!(outcome, CommandOutcome::Gap { session, number: 2, expected: 1 });
    assert_eq!(bench.namespace.digest(), digest);
}

#[test]
fn only_an_acknowledgement_drops_a_result() {
    let mut bench = Bench::new();
    let session = bench.session;
    for number in 1..=3 {
        bench.command(request(session, number, 0, create_sequential("/s-")));
    }
    bench.command(request(session, 4, 2, Operation::Sync));
    let told = |bench: &mut Bench, number| {
        let CommandOutcome::Replied { outcome, .. } = bench.command(request(session, number, 0, create("/x"))) else {
            panic!("it was applied before")
        };
        decode_outcome(&outcome).expect("it was just encoded")
    };
    for number in 0..=2 {
        assert_eq!(told(&mut bench, number), Err(Refusal::ResultDropped));
    }
    assert!(matches!(told(&mut bench, 3), Ok(Done::Created { path, .. }) if path == "/s-0000000002"));
    assert_eq!(told(&mut bench, 4), Ok(Done::Synced));
}

#[test]
fn an_acknowledgement_of_the_future_drops_no_more_than_the_past() {
    let mut bench = Bench::new();
    let session = bench.session;
    bench.command(request(session, 1, u64::MAX, create("/a")));
    let outcome = bench.command(request(session, 1, 0, create("/a")));
    let CommandOutcome::Replied { outcome, .. } = outcome else { panic!("{outcome:?}") };
    assert!(matches!(decode_outcome(&outcome), Ok(Ok(Done::Created { .. }))), "its own result is kept");
}

#[test]
fn a_client_that_acknowledges_nothing_is_held_up() {
    let mut bench = Bench::new();
    let session = bench.session;
    let last = SESSION_RESULTS_MAX as u64;
    let commands: Vec<_> = (1..=last).map(|number| request(session, number, 0, Operation::Sync)).collect();
    bench.namespace.apply(&batch(1, 1, &commands), &mut Applied::default());
    let number = last + 1;
    let held_up = CommandOutcome::Unacknowledged { session, number };
    assert_eq!(bench.command(request(session, number, 0, Operation::Sync)), held_up);
    let outcome = bench.command(request(session, number, 1, Operation::Sync));
    assert!(matches!(outcome, CommandOutcome::Replied { number: found, .. } if found == number));
}

#[test]
fn opening_again_finds_the_session_that_lives() {
    let mut bench = Bench::new();
    let first = bench.session;
    assert_eq!(bench.open(1), first);
    let other_secret = bench.command(Command::OpenSession { token: 1, secret: 98, timeout_ms: 1, address: None });
    let CommandOutcome::SessionOpened { session, timeout_ms, .. } = other_secret else { panic!("{other_secret:?}") };
    assert_ne!(session, first, "a token alone opens nothing");
    assert_eq!(timeout_ms, SESSION_TIMEOUT_MS_MIN);
    let long = bench.command(Command::OpenSession { token: 2, secret: 1, timeout_ms: u32::MAX, address: None });
    assert!(matches!(long, CommandOutcome::SessionOpened { timeout_ms: SESSION_TIMEOUT_MS_MAX, .. }));
    assert_eq!(bench.ask(Operation::CloseSession), Ok(Done::SessionClosed));
    assert!(bench.open(1) > session, "an id is never given twice");
}

#[test]
fn an_expiry_misses_a_session_that_stirred() {
    let mut bench = Bench::new();
    let session = bench.session;
    let counter = |bench: &Bench| bench.namespace.session(session).expect("it lives").counter;
    for stir in [
        resume(session, 99),
        Command::OpenSession { token: 1, secret: 99, timeout_ms: 12_000, address: None },
        request(session, 1, 0, create_ephemeral("/e")),
    ] {
        let seen = counter(&bench);
        bench.command(stir);
        let now = counter(&bench);
        let missed = CommandOutcome::ExpiryMissed { session, counter: Some(now) };
        assert_eq!(bench.command(Command::ExpireSession { session, counter: seen }), missed);
    }
    let counter = counter(&bench);
    let expire = Command::ExpireSession { session, counter };
    assert_eq!(bench.command(expire.clone()), CommandOutcome::SessionExpired { session });
    assert_eq!(bench.command(expire), CommandOutcome::ExpiryMissed { session, counter: None });
    let refused = CommandOutcome::SessionRefused { token: 4, session, why: NotResumed::Over };
    assert_eq!(bench.command(resume(session, 99)), refused);
    let ghost = bench.command(request(session, 2, 0, create("/ghost")));
    assert_eq!(ghost, CommandOutcome::RequestMissed { session, number: 2 });
    assert!(bench.namespace.tree().get("/ghost").is_none(), "a request of a session that is over has no effect");
}

#[test]
fn a_session_takes_its_ephemeral_nodes_along_in_one_revision() {
    let mut bench = Bench::new();
    bench.ask(create("/a")).expect("it is new");
    for path in ["/e", "/a/e", "/a/f"] {
        bench.ask(create_ephemeral(path)).expect("it is new");
    }
    let revision = bench.namespace.revision() + 1;
    let close = request(bench.session, bench.number + 1, 0, Operation::CloseSession);
    let mut applied = Applied::default();
    bench.namespace.apply(&batch(1, 1, &[close]), &mut applied);
    bench.namespace.invariants();
    assert!(applied.changes.iter().all(|change| change.revision == revision));
    let gone: Vec<_> =
        applied.changes.iter().filter(|change| change.node.is_none()).map(|change| &*change.path).collect();
    assert_eq!(gone, ["/a/e", "/a/f", "/e"]);
    assert_eq!(bench.namespace.tree().len(), 2);
    assert!(matches!(applied.outcomes[..], [CommandOutcome::SessionClosed { .. }]));
}

#[test]
fn sequential_names_never_fall_back() {
    let mut bench = Bench::new();
    bench.ask(create("/q")).expect("it is new");
    let made = |bench: &mut Bench| {
        let Ok(Done::Created { path, .. }) = bench.ask(create_sequential("/q/n-")) else {
            panic!("the parent is there")
        };
        path
    };
    assert_eq!(made(&mut bench), "/q/n-0000000000");
    assert_eq!(made(&mut bench), "/q/n-0000000001");
    bench.ask(delete("/q/n-0000000001", Expect::Any)).expect("it is there");
    assert_eq!(made(&mut bench), "/q/n-0000000002");
    bench.ask(create("/q/other")).expect("it is new");
    assert_eq!(made(&mut bench), "/q/n-0000000004");
}

#[test]
fn a_multi_sees_its_own_work_under_one_revision() {
    let mut bench = Bench::new();
    let path = || "/m".to_owned();
    let revision = bench.namespace.revision() + 1;
    let steps = vec![
        Step::Check { path: path(), expect: Expect::Absent },
        step_create("/m"),
        Step::Set { path: path(), data: "x".into(), expect: Expect::Version(0) },
        Step::Get { path: path() },
        Step::Delete { path: path(), expect: Expect::Version(1) },
        step_create("/m"),
    ];
    let Ok(Done::Multi { results }) = bench.ask(multi(steps)) else { panic!("all hold") };
    assert_eq!(bench.namespace.revision(), revision);
    assert!(matches!(&results[3], StepDone::Got { node: Some((data, stat)) } if data == "x" && stat.version == 1));
    let instance = |result: &StepDone| match result {
        StepDone::Created { stat, .. } => (stat.created, stat.instance),
        other => panic!("{other:?}"),
    };
    assert_eq!(instance(&results[1]).0, revision);
    assert!(instance(&results[5]).1 > instance(&results[1]).1, "a name made anew is another instance");
}

#[test]
fn log_time_never_goes_back() {
    let mut namespace = Namespace::new(0);
    for (given, kept) in [(5, 5), (3, 5), (9, 9)] {
        namespace.apply(&batch(given, 1, &[]), &mut Applied::default());
        assert_eq!(namespace.log_time_ns(), kept);
    }
}

#[test]
#[should_panic(expected = "a chosen command does not decode")]
fn a_chosen_command_of_an_unknown_kind_stops_the_process() {
    let bytes = [&batch_header(1, 1, 1)[..], &command_prefix(1), &[200]].concat();
    Namespace::new(0).apply(&bytes, &mut Applied::default());
}
