//! Transactions: all or nothing, once, whoever leads; and `quorate txn`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use quorate::client::{Client, CreateOptions, Expect, OpenOptions, TxnOutcome, TxnReply};

use super::cell::{Cell, PATIENCE, run};
use super::crashes::CORES;
use super::recipes::Ends;

#[test]
fn a_transaction_takes_one_branch_whole() {
    let cell = Cell::start(3, "");
    let txn = |lines: &[&str], more: &[&str]| {
        let done = run(&[&["txn", "--endpoints", &cell.endpoints()][..], more, lines].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let lines = ["if absent /app", "then create /app blue", "create /app/log- x --sequential", "else get /app"];
    let (code, said, words) = txn(&lines, &[]);
    assert_eq!(code, Some(0), "{words}");
    let (branch, results) = said.split_once('\n').expect("lines");
    assert!(branch.starts_with("then "), "{said}");
    assert_eq!(results, "created /app\ncreated /app/log-0000000000\n");

    let (code, said, words) = txn(&lines, &["--json"]);
    assert_eq!(code, Some(0), "{words}");
    let said: serde_json::Value = serde_json::from_str(&said).expect("one object");
    assert_eq!((&said["branch"], &said["results"][0]["data"]), (&"else".into(), &"blue".into()), "{said}");

    let (code, _, words) = txn(&["if version /app 3", "then delete /app"], &[]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("step 1 of `if` failed, so nothing was done"), "{words}");
    let (_, _, words) = txn(&["if version /app 3", "then delete /app"], &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&words).expect("one object");
    assert_eq!((&told["error"]["kind"], &told["error"]["outcome"]), (&"BadVersion".into(), &"not_applied".into()));
    let (code, _, words) = txn(&["set /app green", "delete /none"], &[]);
    assert!(code == Some(1) && words.contains("step 2 of `then`"), "{words}");
    let (_, said, _) = txn(&["get /app", "get /none"], &[]);
    assert!(said.ends_with("got /app version 0 blue\nnone /none\n"), "nothing was done: {said}");
}

#[test]
fn a_step_makes_whatever_a_command_makes_and_asks_for_a_handle() {
    let cell = Cell::start(1, "");
    let client = cell.connect();
    let quorate = |args: &[&str]| {
        let done = run(&[args, &["--endpoints", &cell.endpoints()]].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let made = ["create /box --container", "create /seen --ttl 1h", "create /mine x --acl world:anyone:ra"];
    let (code, said, words) = quorate(&[&["txn"], &made[..], &["acl /box world:anyone:rwcdal --inherit"]].concat());
    assert_eq!(code, Some(0), "{words}");
    assert!(said.ends_with("created /box\ncreated /seen\ncreated /mine\nacl /box version 1\n"), "{said}");
    assert!(quorate(&["stat", "--json", "/box"]).1.contains("\"container\":true"));
    assert!(quorate(&["stat", "--json", "/seen"]).1.contains("\"ttl_ms\":3600000"));
    assert_eq!(quorate(&["acl", "get", "/mine"]).1, "world:anyone:ra\n");
    assert!(quorate(&["acl", "get", "--json", "/box"]).1.contains("\"inherit\":true"));
    let (code, said, words) = quorate(&["txn", "acl /box --open --version 1"]);
    assert!(code == Some(0) && said.ends_with("acl /box version 2\n"), "{said} {words}");
    assert!(quorate(&["acl", "get", "--json", "/box"]).1.contains("\"open\":true"));
    let (code, _, words) = quorate(&["txn", "create /late", "create /e --ephemeral"]);
    assert!(code == Some(2) && words.contains("session open"), "it would end with the command: {words}");
    assert_eq!(quorate(&["stat", "/late"]).0, Some(1), "nothing was done");

    let handle = client.open("/box", OpenOptions::read()).wait_timeout(PATIENCE).expect("it is there");
    let lines = [format!("if handle {}", handle.token()), "then create /box/x".to_owned()];
    let open = |lines: &[String; 2]| quorate(&["txn", &lines[0], &lines[1]]).0;
    assert_eq!(open(&lines), Some(0));
    handle.close().wait_timeout(PATIENCE).expect("closed");
    assert_eq!(open(&[lines[0].clone(), "then create /box/y".to_owned()]), Some(1), "nobody has it open");
    assert_eq!(quorate(&["ls", "/box"]).1, "x\n");
}

/// Each result is in bounds, and so are those of a session together: it is told all of them, though they come at once and are
/// more than may wait for a client that does not read.
#[test]
fn whoever_asks_for_much_at_once_is_told_all_of_it() {
    let cell = Cell::start(3, "");
    let client = cell.connect();
    let made = client.create("/large", vec![7; 999_000], CreateOptions::permanent());
    made.wait_timeout(PATIENCE).expect("a large node");
    let asked: Vec<_> = (0..12).map(|_| client.txn().get("/large").get("/large").commit()).collect();
    for done in asked {
        let (_, told) = done.wait_timeout(PATIENCE).and_then(TxnOutcome::applied).expect("it is answered");
        assert_eq!(told.len(), 2);
    }
}

/// Pairs of transactions that a client has under way.
const PAIRS_IN_FLIGHT: usize = 4;

/// Adds to a counter of its own, by transactions that each expect what the one before leaves and make a record; between them
/// are others, of which all but the last step could be done. The records' paths, as they were acknowledged.
fn add(client: &Client, own: &str, applied: &AtomicU64, over: &AtomicBool) -> BTreeSet<String> {
    client.create(own, "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let (mut next, mut under_way, mut made) = (0_u64, VecDeque::new(), BTreeSet::new());
    loop {
        while under_way.len() < PAIRS_IN_FLIGHT && !over.load(Ordering::Acquire) {
            let (expect, record) = (Expect::Version(next), format!("/done{own}-{next}-"));
            let adds = client.txn().check(own, expect).set(own, (next + 1).to_string(), expect);
            let adds = adds.create(&record, "", CreateOptions::permanent().sequential()).commit();
            let fails = client.txn().set(own, "never", Expect::Any).create("/half/x", "", CreateOptions::permanent());
            under_way.push_back((adds, fails.check("/none", Expect::Any).commit()));
            next += 1;
        }
        let Some((adds, fails)) = under_way.pop_front() else { return made };
        let replies = adds.wait_timeout(PATIENCE).and_then(TxnOutcome::applied).expect("in its turn, and once").1;
        let [TxnReply::Checked, TxnReply::Set(_), TxnReply::Created(created)] = &replies[..] else {
            panic!("{replies:?}");
        };
        assert!(made.insert(created.path.clone()), "{} was made for two", created.path);
        let failed = fails.wait_timeout(PATIENCE).expect("an answer");
        assert!(matches!(failed, TxnOutcome::Aborted { index: 2, .. }), "{failed:?}");
        applied.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn each_transaction_is_there_once_and_whole_though_leaders_die() {
    for settings in CORES {
        let mut cell = Cell::start(3, settings);
        let clients: Vec<_> = (0..4).map(|_| cell.connect()).collect();
        for path in ["/done", "/half"] {
            clients[0].create(path, "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
        }
        let own = |worker: usize| format!("/worker-{worker}");
        let (applied, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let made: Vec<BTreeSet<String>> = thread::scope(|scope| {
            let ends = Ends(&over);
            let (applied, over) = (&applied, &over);
            let workers = clients.iter().enumerate();
            let workers: Vec<_> =
                workers.map(|(at, client)| scope.spawn(move || add(client, &own(at), applied, over))).collect();
            let progress = |cell: &Cell| {
                let wanted = applied.load(Ordering::Acquire) + 80;
                cell.wait("transactions", |_| (applied.load(Ordering::Acquire) >= wanted).then_some(()));
            };
            progress(&cell);
            for _ in 0..2 {
                cell.outlive_leader(progress);
            }
            drop(ends);
            workers.into_iter().map(|worker| worker.join().expect("nothing wrong was seen")).collect()
        });
        let client = &clients[0];
        for (at, made) in made.iter().enumerate() {
            let (count, stat) = client.get(&own(at)).wait_timeout(PATIENCE).expect("it is there");
            assert_eq!((count, stat.version), (made.len().to_string().into(), made.len() as u64), "{}", own(at));
        }
        let (names, _) = client.list("/done").wait_timeout(PATIENCE).expect("it is there");
        let found: BTreeSet<_> = names.iter().map(|name| format!("/done/{name}")).collect();
        assert_eq!(found, made.into_iter().flatten().collect(), "what was acknowledged, and nothing else");
        let half = client.exists("/half").wait_timeout(PATIENCE).expect("an answer").expect("it is there");
        assert_eq!(
            (half.children, half.children_version),
            (0, 0),
            "nothing was done by halves, and nothing taken back"
        );
        cell.wait_until_equal();
    }
}
