//! Nodes that end by themselves: when, and what keeps them.

use super::super::command::{Expect, Expiry, LockMode, Refusal, Step};
use super::*;
use crate::limits::{CONTAINER_LINGER_MS, NODE_TTL_MS_MAX};

const MS: u64 = 1_000_000;

/// A namespace whose log has a time.
struct Clocked {
    bench: Bench,
    now_ns: u64,
}

impl Clocked {
    fn new() -> Self {
        Self { bench: Bench::new(), now_ns: 100 * MS }
    }

    fn command(&mut self, command: Command) -> CommandOutcome {
        let mut applied = Applied::default();
        self.bench.namespace.apply(&batch(self.now_ns, 1000, &[command]), &mut applied);
        self.bench.namespace.invariants();
        applied.outcomes.pop().expect("one command, one outcome")
    }

    fn ask(&mut self, operation: Operation) -> Outcome {
        self.bench.number += 1;
        let (session, number) = (self.bench.session, self.bench.number);
        let outcome = self.command(Command::Request { session, number, acked_upto: number - 1, operation });
        let CommandOutcome::Replied { outcome, .. } = outcome else { panic!("{outcome:?}") };
        decode_outcome(&outcome).expect("it was just encoded")
    }

    /// The log is asked at that time to settle the node; whether it is there still.
    fn outlives(&mut self, path: &str, at_ms: u64) -> bool {
        self.now_ns = at_ms * MS;
        let instance = self.bench.namespace.tree().get(path).expect("it is there").stat().instance;
        let revision = self.bench.namespace.revision();
        self.command(Command::Settle { path: path.into(), instance: instance + 1 });
        self.command(Command::Settle { path: path.into(), instance });
        let lives = self.bench.namespace.tree().get(path).is_some();
        assert_eq!(self.bench.namespace.revision(), revision + u64::from(!lives), "what does nothing is no revision");
        lives
    }

    fn timers(&self) -> Vec<(u64, &str)> {
        self.bench.namespace.timers().map(|(at_ns, path)| (at_ns / MS, &**path)).collect()
    }
}

fn create_with(path: &str, lifetime: Lifetime) -> Operation {
    Operation::Create { path: path.into(), data: Bytes::new(), lifetime, sequential: false }
}

#[test]
fn a_node_with_a_time_to_live_ends_when_it_was_left_alone_for_so_long() {
    let mut log = Clocked::new();
    log.ask(create_with("/t", Lifetime::Ttl { ms: 50 })).expect("it is new");
    let stat = log.bench.namespace.tree().get("/t").expect("it is there").stat();
    assert_eq!((stat.expiry, stat.owner), (Some(Expiry::Idle { ttl_ms: 50 }), None));
    assert_eq!(log.timers(), [(150, "/t")]);
    assert!(log.outlives("/t", 149), "not before its time, whoever says so");
    log.ask(set("/t", b"new", Expect::Any)).expect("it is there");
    assert_eq!(log.timers(), [(199, "/t")], "new data are new life");
    assert!(log.outlives("/t", 198));
    assert!(!log.outlives("/t", 199));
    assert_eq!(log.timers(), []);
}

#[test]
fn children_keep_a_node_beyond_its_time_and_no_longer() {
    let mut log = Clocked::new();
    log.ask(create_with("/t", Lifetime::Ttl { ms: 50 })).expect("it is new");
    log.ask(create("/t/c")).expect("it is new");
    assert_eq!(log.timers(), [], "nothing is due while it has a child");
    assert!(log.outlives("/t", 1000));
    log.ask(delete("/t/c", Expect::Any)).expect("it is there");
    assert_eq!(log.timers(), [(150, "/t")], "its time was over before");
    assert!(!log.outlives("/t", 1000));
}

#[test]
fn a_container_ends_some_time_after_its_last_child_went() {
    let mut log = Clocked::new();
    log.ask(create_with("/c", Lifetime::Container)).expect("it is new");
    assert!(log.outlives("/c", 1_000_000), "it never had a child");
    for path in ["/c/a", "/c/b"] {
        log.ask(create(path)).expect("it is new");
    }
    log.ask(delete("/c/a", Expect::Any)).expect("it is there");
    assert_eq!(log.timers(), []);
    log.ask(delete("/c/b", Expect::Any)).expect("it is there");
    let ends = 1_000_000 + CONTAINER_LINGER_MS;
    assert_eq!(log.timers(), [(ends, "/c")]);
    assert!(log.outlives("/c", ends - 1));
    log.ask(create("/c/again")).expect("its parent lingers");
    assert!(log.outlives("/c", ends));
    log.ask(delete("/c/again", Expect::Any)).expect("it is there");
    assert!(log.outlives("/c", ends + CONTAINER_LINGER_MS - 1));
    assert!(!log.outlives("/c", ends + CONTAINER_LINGER_MS));
}

#[test]
fn a_node_that_ends_takes_its_lock_along_and_empties_the_container_above() {
    let mut log = Clocked::new();
    log.ask(create_with("/c", Lifetime::Container)).expect("it is new");
    log.ask(create_with("/c/t", Lifetime::Ttl { ms: 10 })).expect("it is new");
    let (mode, wait, create, lock_delay_ms) = (LockMode::Exclusive, true, false, 0);
    log.ask(Operation::Acquire { path: "/c/t".into(), mode, wait, create, lock_delay_ms }).expect("it is free");
    assert_eq!(log.timers(), [(110, "/c/t")]);
    assert!(!log.outlives("/c/t", 110));
    assert_eq!(log.timers(), [(110 + CONTAINER_LINGER_MS, "/c")]);
}

#[test]
fn a_multi_that_fails_leaves_every_time_as_it_was() {
    let mut log = Clocked::new();
    log.ask(create_with("/t", Lifetime::Ttl { ms: 50 })).expect("it is new");
    log.ask(create_with("/c", Lifetime::Container)).expect("it is new");
    log.ask(create("/c/x")).expect("it is new");
    log.now_ns = 120 * MS;
    let set = Step::Set { path: "/t".into(), data: Bytes::new(), expect: Expect::Any };
    let delete = |path: &str| Step::Delete { path: path.into(), expect: Expect::Any };
    let steps = vec![set, delete("/t"), delete("/c/x"), step_create("/t"), delete("/none")];
    assert!(matches!(log.ask(multi(steps)), Err(Refusal::Aborted { index: 4, .. })));
    assert_eq!(log.timers(), [(150, "/t")]);
}

#[test]
fn a_time_to_live_has_bounds() {
    let mut log = Clocked::new();
    let none = log.ask(create_with("/t", Lifetime::Ttl { ms: 0 }));
    assert!(matches!(none, Err(Refusal::BadArgument { why }) if why.contains("give it one at least")));
    let endless = log.ask(create_with("/t", Lifetime::Ttl { ms: NODE_TTL_MS_MAX + 1 }));
    assert!(matches!(endless, Err(Refusal::TooLarge { limit: NODE_TTL_MS_MAX, .. })), "{endless:?}");
    log.ask(create_with("/t", Lifetime::Ttl { ms: NODE_TTL_MS_MAX })).expect("it just fits");
}
