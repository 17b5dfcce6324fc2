//! Every write there is under a lock: done while it is held, and refused, without a trace, once it is another's.

use quorate::client::{
    Acl, AclEntry, Client, CreateOptions, Error, Expect, Guarded, LockOptions, Quota, QuotaBounds, Result, Rights,
    ScanOptions, Scanned, TxnOutcome, Who,
};

use super::cell::{Cell, PATIENCE};

/// Each kind of write below `/app`, in an order in which each can be done and the next finds what it needs; what came of each.
fn all_writes(guarded: &Guarded<'_>) -> Vec<(&'static str, Result<()>)> {
    let permanent = CreateOptions::permanent;
    let acl = || Acl::new([AclEntry { who: Who::World, rights: Rights::ALL }]);
    let quota = Quota { hard: QuotaBounds { nodes: Some(10), bytes: None }, soft: QuotaBounds::default() };
    let txn = |path: &str| {
        let txn = guarded.txn().create(path, "", permanent()).create(&format!("{path}/x"), "", permanent());
        txn.commit().wait_timeout(PATIENCE).and_then(TxnOutcome::applied).map(drop)
    };
    vec![
        ("create", guarded.create("/app/n", "1", permanent()).wait_timeout(PATIENCE).map(drop)),
        ("set", guarded.set("/app/n", "2", Expect::Version(0)).wait_timeout(PATIENCE).map(drop)),
        ("set_acl", guarded.set_acl("/app/n", acl(), Expect::Version(0)).wait_timeout(PATIENCE).map(drop)),
        ("remove_acl", guarded.remove_acl("/app/n", Expect::Version(1)).wait_timeout(PATIENCE).map(drop)),
        ("set_quota", guarded.set_quota("/app/n", quota).wait_timeout(PATIENCE)),
        ("remove_quota", guarded.remove_quota("/app/n").wait_timeout(PATIENCE)),
        ("delete", guarded.delete("/app/n", Expect::Version(1)).wait_timeout(PATIENCE)),
        ("create_log", guarded.create_log("/app/log", permanent()).wait_timeout(PATIENCE).map(drop)),
        ("append", guarded.append("/app/log", ["a", "b"], None).wait_timeout(PATIENCE).map(drop)),
        ("append at", guarded.append("/app/log", ["c"], Some(2)).wait_timeout(PATIENCE).map(drop)),
        ("trim", guarded.trim("/app/log", 1).wait_timeout(PATIENCE).map(drop)),
        ("seal", guarded.seal("/app/log").wait_timeout(PATIENCE).map(drop)),
        ("delete of a log", guarded.delete("/app/log", Expect::Version(3)).wait_timeout(PATIENCE)),
        ("txn", txn("/app/t")),
        ("delete_tree", guarded.delete_tree("/app/t", Expect::Any).wait_timeout(PATIENCE).map(drop)),
        ("another txn", txn("/app/p")),
        ("delete_tree_in_parts", guarded.delete_tree_in_parts("/app/p").wait_timeout(PATIENCE).map(drop)),
    ]
}

/// All that is below `/app`, with its numbers.
fn tree(client: &Client) -> Vec<Scanned> {
    let mut scan = client.with_deadline(PATIENCE).scan("/app", ScanOptions::new().with_data());
    std::iter::from_fn(|| scan.next().wait()).collect::<Result<_>>().expect("a healthy cell")
}

#[test]
fn each_write_under_a_lock_is_done_while_it_is_held_and_by_no_stale_sequencer() {
    let mut cell = Cell::start(3, "");
    let (holder, next) = (cell.connect(), cell.connect());
    holder.create("/app", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let guard = holder.lock("/l", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("it is free");
    let sequencer = guard.sequencer();
    for (write, done) in all_writes(&guard.guarded()) {
        done.unwrap_or_else(|error| panic!("{write} under the lock: {error}"));
    }
    // Whoever was handed the sequencer writes with it too.
    for (write, done) in all_writes(&next.guarded_by(&sequencer).expect("a path")) {
        done.unwrap_or_else(|error| panic!("{write} under another's lock: {error}"));
    }
    // It is somebody else's, and another leader knows that as well.
    guard.release().wait_timeout(PATIENCE).expect("it is held");
    let now = next.lock("/l", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("its turn");
    cell.kill(cell.leader());
    let before = tree(&next);
    for (write, late) in all_writes(&holder.guarded_by(&sequencer).expect("a path")) {
        assert!(matches!(&late, Err(Error::Fenced { path, .. }) if path == "/l"), "late {write}: {late:?}");
    }
    assert_eq!(tree(&next), before, "none of it left a trace");
    for (write, done) in all_writes(&now.guarded()) {
        done.unwrap_or_else(|error| panic!("{write} under the lock that is held: {error}"));
    }
}
