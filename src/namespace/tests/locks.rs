//! Locks: who gets them when, what a loss keeps shut, and which sequencers are believed.

use super::super::command::{
    Answer, Command, Done, LockMode, LockPlace, Operation, Refusal, Sequencer, SessionId, Step,
};
use super::*;
use crate::limits::{LOCK_DELAY_MS_MAX, LOCK_SESSIONS_MAX};
use crate::namespace::Aspect;
use crate::namespace::codec::ReadRef;

const MS: u64 = 1_000_000;

fn acquire(path: &str, mode: LockMode, lock_delay_ms: u32) -> Operation {
    Operation::Acquire { path: path.into(), mode, wait: true, create: true, lock_delay_ms }
}

fn release(path: &str) -> Operation {
    Operation::Release { path: path.into() }
}

/// Several clients of one namespace, and its log's time.
struct Crowd {
    bench: Bench,
    numbers: std::collections::BTreeMap<SessionId, u64>,
    now_ns: u64,
    /// What the last command told: of locks that are wanted, and in all.
    told: (usize, usize),
}

impl Crowd {
    fn new(count: u64) -> (Self, Vec<SessionId>) {
        let mut bench = Bench::new();
        let sessions: Vec<_> = (0..count).map(|n| bench.open(100 + n)).collect();
        (
            Self { bench, numbers: sessions.iter().map(|session| (*session, 0)).collect(), now_ns: 1, told: (0, 0) },
            sessions,
        )
    }

    fn command(&mut self, command: Command) -> CommandOutcome {
        let mut applied = Applied::default();
        self.bench.namespace.apply(&batch(self.now_ns, 1000, &[command]), &mut applied);
        self.bench.namespace.invariants();
        let wanted = applied.changes.iter().filter(|change| change.aspect == Aspect::Wanted);
        self.told = (wanted.count(), applied.changes.len());
        applied.outcomes.pop().expect("one command, one outcome")
    }

    fn ask(&mut self, session: SessionId, operation: Operation) -> Outcome {
        let number = self.numbers.get_mut(&session).expect("it is of the crowd");
        *number += 1;
        let number = *number;
        match self.command(Command::Request { session, number, acked_upto: number - 1, operation }) {
            CommandOutcome::Replied { outcome, .. } | CommandOutcome::SessionClosed { outcome, .. } => {
                decode_outcome(&outcome).expect("it was just encoded")
            }
            other => panic!("{other:?}"),
        }
    }

    fn expire(&mut self, session: SessionId) {
        let counter = self.bench.namespace.session(session).expect("it lives").counter;
        let outcome = self.command(Command::ExpireSession { session, counter });
        assert_eq!(outcome, CommandOutcome::SessionExpired { session });
    }

    fn free(&mut self, path: &str) {
        let instance = self.bench.namespace.tree().get(path).expect("it is there").stat().instance;
        self.command(Command::Settle { path: path.into(), instance });
    }

    fn place(&self, path: &str, session: SessionId) -> LockPlace {
        let found = answer(self.bench.namespace.tree(), ReadRef::AwaitLock { path, session });
        let Ok(Answer::LockPlace { place }) = found else { panic!("{found:?}") };
        place
    }

    /// What the session shows, which holds the lock.
    fn held(&self, path: &str, session: SessionId) -> Sequencer {
        match self.place(path, session) {
            LockPlace::Held { sequencer } => sequencer,
            other => panic!("{session} is {other:?}"),
        }
    }

    fn is_valid(&self, sequencer: &Sequencer) -> bool {
        let read = ReadRef::CheckSequencer { sequencer: sequencer.as_ref() };
        answer(self.bench.namespace.tree(), read) == Ok(Answer::Sequencer { valid: true })
    }
}

#[test]
fn a_lock_goes_from_one_to_the_next_in_the_order_they_came() {
    let (mut crowd, sessions) = Crowd::new(20);
    let mut last = 0;
    for session in &sessions {
        crowd.ask(*session, acquire("/l", LockMode::Exclusive, 0)).expect("it waits if need be");
    }
    for (at, session) in sessions.iter().enumerate() {
        let sequencer = crowd.held("/l", *session);
        assert!(sequencer.generation > last, "each holder has a later token");
        last = sequencer.generation;
        for waiting in &sessions[at + 1..] {
            assert_eq!(crowd.place("/l", *waiting), LockPlace::Waiting);
        }
        assert_eq!(crowd.ask(*session, release("/l")), Ok(Done::Released));
        assert!(!crowd.is_valid(&sequencer), "who let go is not believed");
    }
    let node = crowd.bench.namespace.tree().get("/l").expect("it stays");
    assert_eq!((&node.lock, node.stat().lock_generation), (&None, last), "nothing is left but the generation");
}

#[test]
fn readers_share_and_starve_no_writer() {
    let (mut crowd, s) = Crowd::new(5);
    for reader in &s[..2] {
        assert!(matches!(crowd.ask(*reader, acquire("/l", LockMode::Shared, 0)), Ok(Done::Granted { .. })));
    }
    assert_eq!(crowd.held("/l", s[0]), crowd.held("/l", s[1]), "readers who share show the same");
    assert_eq!(crowd.ask(s[2], acquire("/l", LockMode::Exclusive, 0)), Ok(Done::Queued));
    for reader in &s[3..] {
        assert_eq!(crowd.ask(*reader, acquire("/l", LockMode::Shared, 0)), Ok(Done::Queued), "behind the writer");
    }
    let readers = crowd.held("/l", s[0]);
    crowd.ask(s[0], release("/l")).expect("it holds");
    assert!(crowd.is_valid(&readers), "another reader still holds");
    crowd.ask(s[1], Operation::CloseSession).expect("it lives");
    assert!(!crowd.is_valid(&readers));
    let writer = crowd.held("/l", s[2]);
    crowd.ask(s[2], release("/l")).expect("it holds");
    let later = crowd.held("/l", s[3]);
    assert_eq!(crowd.held("/l", s[4]), later, "all readers at the head come in together");
    assert!(readers.generation < writer.generation && writer.generation < later.generation);
}

#[test]
fn a_writer_who_gives_up_its_place_lets_the_readers_behind_it_in() {
    let (mut crowd, s) = Crowd::new(3);
    crowd.ask(s[0], acquire("/l", LockMode::Shared, 0)).expect("it is free");
    crowd.ask(s[1], acquire("/l", LockMode::Exclusive, 0)).expect("it waits");
    crowd.ask(s[2], acquire("/l", LockMode::Shared, 0)).expect("it waits");
    assert_eq!(crowd.ask(s[1], release("/l")), Ok(Done::Released));
    assert_eq!(crowd.held("/l", s[2]), crowd.held("/l", s[0]));
}

#[test]
fn a_loss_keeps_the_lock_shut_for_the_delay_by_the_logs_time() {
    let (mut crowd, s) = Crowd::new(3);
    crowd.now_ns = 100 * MS;
    crowd.ask(s[0], acquire("/l", LockMode::Exclusive, 50)).expect("it is free");
    let lost = crowd.held("/l", s[0]);
    crowd.ask(s[1], acquire("/l", LockMode::Exclusive, 0)).expect("it waits");
    crowd.expire(s[0]);
    assert!(!crowd.is_valid(&lost), "a lost holder's sequencer is stale at once");
    assert_eq!(crowd.bench.namespace.timers().collect::<Vec<_>>(), [(150 * MS, &"/l".into())]);
    for now_ms in [100, 149] {
        crowd.now_ns = now_ms * MS;
        crowd.free("/l");
        assert_eq!(crowd.place("/l", s[1]), LockPlace::Waiting, "not before its time, whoever says so");
    }
    let busy =
        Operation::Acquire { path: "/l".into(), mode: LockMode::Shared, wait: false, create: false, lock_delay_ms: 0 };
    assert_eq!(crowd.ask(s[2], busy), Err(Refusal::LockBusy { path: "/l".into() }));
    crowd.now_ns = 150 * MS;
    crowd.command(Command::Settle { path: "/l".into(), instance: 77 });
    assert_eq!(crowd.place("/l", s[1]), LockPlace::Waiting, "another instance's delay is not this one's");
    crowd.free("/l");
    assert!(crowd.held("/l", s[1]).generation > lost.generation);
    assert_eq!(crowd.bench.namespace.timers().count(), 0);
}

#[test]
fn a_lost_reader_keeps_writers_out_and_no_reader() {
    let (mut crowd, s) = Crowd::new(3);
    crowd.ask(s[0], acquire("/l", LockMode::Shared, 10)).expect("it is free");
    let lost = crowd.held("/l", s[0]);
    crowd.expire(s[0]);
    assert!(matches!(crowd.ask(s[1], acquire("/l", LockMode::Shared, 0)), Ok(Done::Granted { .. })));
    assert!(!crowd.is_valid(&lost), "the next reader does not revive the lost one's sequencer");
    crowd.ask(s[2], acquire("/l", LockMode::Exclusive, 0)).expect("it waits");
    crowd.ask(s[1], release("/l")).expect("it holds");
    assert_eq!(crowd.place("/l", s[2]), LockPlace::Waiting, "the lost reader may still be reading");
    crowd.now_ns = 20 * MS;
    crowd.free("/l");
    crowd.held("/l", s[2]);
}

#[test]
fn a_clean_end_or_a_wait_leaves_no_delay() {
    let (mut crowd, s) = Crowd::new(3);
    crowd.ask(s[0], acquire("/l", LockMode::Exclusive, 1000)).expect("it is free");
    crowd.ask(s[1], acquire("/l", LockMode::Exclusive, 1000)).expect("it waits");
    crowd.ask(s[2], acquire("/l", LockMode::Exclusive, 0)).expect("it waits");
    crowd.expire(s[1]);
    crowd.ask(s[0], Operation::CloseSession).expect("it lives");
    crowd.held("/l", s[2]);
}

#[test]
fn a_deleted_node_takes_its_lock_along() {
    let (mut crowd, s) = Crowd::new(3);
    crowd.ask(s[0], acquire("/l", LockMode::Exclusive, 1000)).expect("it is free");
    let before = crowd.held("/l", s[0]);
    crowd.ask(s[1], acquire("/l", LockMode::Exclusive, 0)).expect("it waits");
    crowd.ask(s[2], delete("/l", Expect::Any)).expect("a lock is advice");
    let no_node = Err(Refusal::NoNode { path: "/l".into() });
    assert_eq!(crowd.ask(s[0], release("/l")), no_node);
    crowd.ask(s[2], create("/l")).expect("it is gone");
    assert_eq!(crowd.place("/l", s[1]), LockPlace::Nowhere, "the queue was the old node's");
    let fenced = Refusal::Fenced { path: "/l".into(), presented: before.generation, current: 0 };
    let guarded = Operation::Guarded { sequencer: before.clone(), operation: Box::new(set("/l", b"x", Expect::Any)) };
    assert_eq!(crowd.ask(s[0], guarded), Err(fenced));
    crowd.ask(s[1], acquire("/l", LockMode::Exclusive, 0)).expect("it is free");
    assert!(crowd.held("/l", s[1]).generation > before.generation, "tokens rise across instances");
}

#[test]
fn a_deletion_taken_back_gives_the_lock_back() {
    let (mut crowd, s) = Crowd::new(2);
    crowd.ask(s[0], acquire("/l", LockMode::Exclusive, 0)).expect("it is free");
    crowd.ask(s[1], acquire("/l", LockMode::Exclusive, 0)).expect("it waits");
    let digest = crowd.bench.namespace.tree().digest();
    let steps = vec![
        Step::Delete { path: "/l".into(), expect: Expect::Any },
        step_create("/l"),
        Step::Check { path: "/l".into(), expect: Expect::Absent },
    ];
    assert!(crowd.ask(s[1], multi(steps)).is_err());
    assert_eq!(crowd.bench.namespace.tree().digest(), digest);
    crowd.ask(s[0], release("/l")).expect("it holds as before");
    crowd.held("/l", s[1]);
}

#[test]
fn a_stale_sequencer_is_refused_in_every_kind_of_request() {
    let (mut crowd, s) = Crowd::new(2);
    crowd.ask(s[1], create("/d")).expect("it is new");
    crowd.ask(s[0], acquire("/l", LockMode::Exclusive, 0)).expect("it is free");
    let sequencer = crowd.held("/l", s[0]);
    let guarded =
        |operation: Operation| Operation::Guarded { sequencer: sequencer.clone(), operation: Box::new(operation) };
    let check = |sequencer: &Sequencer| Step::CheckLock { sequencer: sequencer.clone() };
    assert!(crowd.ask(s[1], guarded(set("/d", b"by another", Expect::Any))).is_ok(), "a sequencer may be handed on");
    assert!(crowd.ask(s[1], multi(vec![check(&sequencer), step_create("/m")])).is_ok());
    let mut forged = sequencer.clone();
    forged.mode = LockMode::Shared;
    assert!(crowd.ask(s[1], multi(vec![check(&forged)])).is_err(), "the mode counts");
    crowd.ask(s[0], release("/l")).expect("it holds");
    let (digest, fenced) = (
        crowd.bench.namespace.tree().digest(),
        Refusal::Fenced { path: "/l".into(), presented: sequencer.generation, current: sequencer.generation },
    );
    for operation in
        [create("/x"), set("/d", b"", Expect::Any), delete("/d", Expect::Any), release("/l"), Operation::Sync]
            .into_iter()
            .chain([acquire("/l", LockMode::Shared, 0), multi(vec![step_create("/y")])])
    {
        assert_eq!(crowd.ask(s[0], guarded(operation)), Err(fenced.clone()));
    }
    let aborted = Refusal::Aborted { index: 1, cause: Box::new(fenced) };
    assert_eq!(crowd.ask(s[0], multi(vec![step_create("/y"), check(&sequencer)])), Err(aborted));
    assert_eq!(crowd.bench.namespace.tree().digest(), digest, "none of it left a trace");
}

#[test]
fn a_session_claims_a_lock_once_and_gives_up_what_it_has() {
    let (mut crowd, s) = Crowd::new(2);
    let twice = Err(Refusal::LockTwice { path: "/l".into() });
    crowd.ask(s[0], acquire("/l", LockMode::Exclusive, 0)).expect("it is free");
    crowd.ask(s[1], acquire("/l", LockMode::Shared, 0)).expect("it waits");
    assert_eq!(crowd.ask(s[0], acquire("/l", LockMode::Exclusive, 0)), twice);
    assert_eq!(crowd.ask(s[1], acquire("/l", LockMode::Exclusive, 0)), twice);
    crowd.ask(s[1], release("/l")).expect("it waits");
    assert_eq!(crowd.ask(s[1], release("/l")), Err(Refusal::LockNotHeld { path: "/l".into() }));
    let long = acquire("/m", LockMode::Shared, LOCK_DELAY_MS_MAX + 1);
    assert!(matches!(crowd.ask(s[1], long), Err(Refusal::TooLarge { limit: 60_000, .. })));
    assert!(crowd.bench.namespace.tree().get("/m").is_none(), "a refusal makes no node");
    let absent =
        Operation::Acquire { path: "/m".into(), mode: LockMode::Shared, wait: true, create: false, lock_delay_ms: 0 };
    assert_eq!(crowd.ask(s[1], absent), Err(Refusal::NoNode { path: "/m".into() }));
}

#[test]
fn a_lock_has_room_for_so_many_sessions_and_no_more() {
    let mut lock = super::super::Lock::default();
    let claim = |n: usize| super::super::lock::Claim {
        session: SessionId(n as u64 + 1),
        mode: LockMode::Exclusive,
        lock_delay_ms: 0,
    };
    (0..LOCK_SESSIONS_MAX).for_each(|n| assert_eq!(lock.admit(claim(n)), n == 0));
    assert!(lock.is_full());
    lock.withdraw(SessionId(9)).expect("it waits");
    assert!(!lock.is_full());
}

#[test]
fn whoever_comes_to_wait_is_told_of_once() {
    use LockMode::{Exclusive, Shared};
    let (mut crowd, s) = Crowd::new(6);
    let wanted = |crowd: &mut Crowd, session: SessionId, operation: Operation| {
        let _ = crowd.ask(session, operation);
        crowd.told.0
    };
    assert_eq!(wanted(&mut crowd, s[0], acquire("/l", Shared, 7)), 0, "nobody else is there");
    assert_eq!(wanted(&mut crowd, s[1], acquire("/l", Shared, 0)), 0, "they share it");
    let try_it =
        Operation::Acquire { path: "/l".into(), mode: Exclusive, wait: false, create: false, lock_delay_ms: 0 };
    assert_eq!(wanted(&mut crowd, s[2], try_it), 0, "a refusal is nothing that happened");
    assert_eq!(wanted(&mut crowd, s[2], acquire("/l", Exclusive, 0)), 1, "a writer waits for readers");
    assert_eq!(wanted(&mut crowd, s[3], acquire("/l", Shared, 0)), 1, "a reader waits behind a writer");
    assert_eq!(wanted(&mut crowd, s[4], acquire("/l", Exclusive, 0)), 1);
    assert_eq!(wanted(&mut crowd, s[1], release("/l")), 0, "nobody came");
    assert_eq!(wanted(&mut crowd, s[2], release("/l")), 1, "a reader came to hold what a writer waits for");
    crowd.expire(s[0]);
    assert_eq!(crowd.told.0, 0, "nobody came");
    assert_eq!(wanted(&mut crowd, s[3], release("/l")), 0, "a lost reader's mark: nobody holds what is waited for");
    crowd.now_ns += 7 * MS;
    assert_eq!(wanted(&mut crowd, s[5], acquire("/l", Exclusive, 0)), 0, "nobody holds it still");
    crowd.free("/l");
    assert_eq!(crowd.told.0, 1, "one came to hold what the other waits for");
    assert_eq!(wanted(&mut crowd, s[4], release("/l")), 0, "nobody waits behind the last");
}

#[test]
fn a_hand_over_tells_as_much_however_many_wait() {
    let (mut crowd, sessions) = Crowd::new(1000);
    for session in &sessions {
        crowd.ask(*session, acquire("/l", LockMode::Exclusive, 0)).expect("it waits if need be");
    }
    for (session, waiting) in sessions.iter().zip((0..sessions.len()).rev()) {
        crowd.ask(*session, release("/l")).expect("it holds it");
        let wanted = usize::from(waiting > 1);
        assert_eq!(crowd.told, (wanted, 1 + wanted), "{waiting} waited");
    }
}
