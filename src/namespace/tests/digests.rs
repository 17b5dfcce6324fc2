//! The digest: whatever two states differ in shows in it, though they went equally far.

use super::super::acl::{Acl, AclEntry, Rights, Who};
use super::super::command::{LockMode, Quota, QuotaBounds};
use super::*;

fn set_acl(rights: Rights) -> Operation {
    let acl = Some(Acl::new([AclEntry { who: Who::World, rights }]));
    Operation::SetAcl { path: "/a".into(), acl, expect: Expect::Any }
}

fn set_quota(nodes: u64) -> Operation {
    let hard = QuotaBounds { nodes: Some(nodes), bytes: None };
    Operation::SetQuota { path: "/a".into(), quota: Some(Quota { hard, soft: QuotaBounds::default() }) }
}

fn acquire(mode: LockMode, lock_delay_ms: u32) -> Operation {
    Operation::Acquire { path: "/a".into(), mode, wait: true, create: false, lock_delay_ms }
}

fn append(record: &str) -> Operation {
    Operation::Append { path: "/log".into(), records: [record].iter().collect(), end: None }
}

#[test]
fn whatever_differs_shows_in_the_digest() {
    let (ours, others) = (LockMode::Exclusive, LockMode::Shared);
    let requests = [
        set("/a", b"x", Expect::Any),
        set("/a", b"y", Expect::Any),
        create("/b"),
        create("/c"),
        create_ephemeral("/b"),
        acquire(ours, 0),
        acquire(ours, 1),
        acquire(others, 0),
        set_quota(5),
        set_quota(6),
        set_acl(Rights::ALL),
        set_acl(Rights::ADMIN),
        append("x"),
        append("y"),
    ];
    let session = |token, secret, timeout_ms| Command::OpenSession { token, secret, timeout_ms, address: None };
    let sessions = [session(2, 1, 5000), session(2, 2, 5000), session(3, 1, 5000), session(2, 1, 6000)];
    let digest = |last: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::new();
        bench.ask(create("/a")).expect("it is new");
        let log = Operation::CreateLog { path: "/log".into(), lifetime: Lifetime::Permanent, sequential: false };
        bench.ask(log).expect("it is new");
        last(&mut bench);
        bench.namespace.digest()
    };
    let after_requests = requests.iter().map(|operation| {
        digest(&|bench| _ = bench.ask(operation.clone()).unwrap_or_else(|why| panic!("{operation:?}: {why:?}")))
    });
    let after_sessions = sessions.iter().map(|command| digest(&|bench| _ = bench.command(command.clone())));
    let mut digests: Vec<u128> = after_requests.chain(after_sessions).collect();
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count, "no two of them are alike");
}

#[test]
fn who_had_a_session_and_who_may_keep_answers_shows_in_the_digest() {
    let digest = |commands: &[Command]| {
        let mut bench = Bench::new();
        commands.iter().for_each(|command| _ = bench.command(command.clone()));
        bench.namespace.digest()
    };
    let session = Bench::new().session;
    let mark = || Command::MarkCaching { session };
    let take_over = |holder| take_over(session, holder);
    let never = [take_over(7), take_over(8), take_over(9)];
    let of_others = [take_over(6), take_over(8), take_over(9)];
    let in_another_order = [take_over(7), take_over(6), take_over(8), take_over(9)];
    let in_order = [take_over(6), take_over(7), take_over(8), take_over(9)];
    let marked_before = [take_over(7), take_over(8), mark(), take_over(9)];
    let marked_since = [take_over(7), take_over(8), take_over(9), mark()];
    let histories = [&never[..], &of_others, &in_another_order, &in_order, &marked_before, &marked_since];
    let mut digests: Vec<u128> = histories.into_iter().map(digest).collect();
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count, "no two of them are alike");
}
