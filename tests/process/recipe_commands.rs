//! Recipes, locks and revisions as a shell script meets them.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use quorate::client::recipes::Group;
use quorate::client::{CreateOptions, Expect, LockOptions, OpenOptions, block_on};
use rustix::process::{Pid, Signal, kill_process};

use super::cell::{Cell, PATIENCE, QUORATE};

/// A command's exit status, and what it printed.
fn said(cell: &Cell, args: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(QUORATE).args(args).env("QUORATE_ENDPOINTS", cell.endpoints()).output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

fn printed(cell: &Cell, args: &[&str]) -> String {
    let (status, out, words) = said(cell, args);
    assert_eq!(status, Some(0), "{args:?}: {words}");
    out
}

#[test]
fn scripts_have_the_recipes_and_the_leader_may_die() {
    let mut cell = Cell::start(3, "");
    let leader = cell.leader();
    assert_eq!(printed(&cell, &["recipe", "add", "/visits"]), "1\n");
    printed(&cell, &["recipe", "put", "--priority", "7", "/jobs", "late"]);
    printed(&cell, &["recipe", "put", "/jobs", "soon"]);
    printed(&cell, &["recipe", "raise", "/shut"]);
    let (status, out, words) = said(&cell, &["recipe", "pass", "--wait", "300ms", "/shut"]);
    assert_eq!((status, out.as_str()), (Some(1), ""), "{words}");
    assert_eq!(printed(&cell, &["recipe", "length", "/jobs"]), "2\n");
    cell.kill(leader);
    assert_eq!(printed(&cell, &["recipe", "add", "/visits", "-3"]), "-2\n");
    assert_eq!(printed(&cell, &["recipe", "number", "/visits"]), "-2\n");
    assert_eq!(printed(&cell, &["recipe", "number", "--json", "/none"]), "{\"number\":0,\"path\":\"/none\"}\n");
    assert_eq!(printed(&cell, &["recipe", "take", "/jobs"]), "soon\n");
    assert_eq!(printed(&cell, &["recipe", "take", "--json", "/jobs"]), "{\"data\":\"late\"}\n");
    let (status, _, words) = said(&cell, &["recipe", "take", "--wait", "200ms", "/jobs"]);
    assert!(status == Some(1) && words.contains("no entry of /jobs"), "it is empty: {words}");
    printed(&cell, &["recipe", "lower", "/shut"]);
    printed(&cell, &["recipe", "pass", "/shut"]);
}

#[test]
fn what_is_had_while_a_program_runs_is_gone_after_it() {
    let cell = Cell::start(1, "");
    cell.leader();
    let inner = format!("{QUORATE} recipe members /web && exit 7");
    let join = ["recipe", "join", "--name", "seven", "--value", "here", "/web", "--", "sh", "-c", &inner];
    let (status, out, words) = said(&cell, &join);
    assert_eq!((status, out.as_str()), (Some(7), "seven here\n"), "{words}");
    assert_eq!(printed(&cell, &["recipe", "members", "/web"]), "");
    // The second permit is not to be had while the first is out, and is after it.
    let other = format!("{QUORATE} recipe semaphore --permits 1 --wait 300ms /permits -- true");
    let semaphore = |program: &str| {
        said(&cell, &["recipe", "semaphore", "--permits", "1", "/permits", "--", "sh", "-c", program]).0
    };
    assert_eq!(semaphore(&other), Some(1));
    assert_eq!(semaphore("exit 0"), Some(0));
    let met = format!("{QUORATE} recipe meet /place");
    let announce = ["recipe", "announce", "--word", "over here", "/place", "--", "sh", "-c", &met];
    assert_eq!(printed(&cell, &announce), "over here\n");
    let begin = |name: &str| {
        let args = ["recipe", "together", "--count", "2", "/step", "--", "echo", name];
        let command =
            Command::new(QUORATE).args(args).env("QUORATE_ENDPOINTS", cell.endpoints()).stdout(Stdio::piped()).spawn();
        command.expect("it starts")
    };
    let both = [begin("one"), begin("two")].map(|child| child.wait_with_output().expect("it ends"));
    assert!(both.iter().all(|done| done.status.success()), "{both:?}");
}

#[test]
fn whoever_waits_for_the_others_to_leave_can_be_ended() {
    let cell = Cell::start(1, "");
    cell.leader();
    let begin = |program: &[&str]| {
        let args = [&["recipe", "together", "--count", "2", "/step", "--"], program].concat();
        let mut command = Command::new(QUORATE);
        command.args(args).env("QUORATE_ENDPOINTS", cell.endpoints()).spawn().expect("it starts")
    };
    let mut long = begin(&["sleep", "1000"]);
    // Its program ends by itself with 0; if it is told to before that, the signal is the program's, and the next is not.
    let mut short = begin(&["sh", "-c", "trap '' TERM"]);
    let ended = cell.wait("the end", |_| {
        kill_process(Pid::from_child(&short), Signal::TERM).expect("it can be signalled");
        short.try_wait().expect("a child")
    });
    assert_eq!(ended.signal(), Some(Signal::TERM.as_raw()), "{ended:?}");
    long.kill().expect("it runs");
    long.wait().expect("it was killed");
}

#[test]
fn a_name_is_waited_for_until_its_former_member_is_gone() {
    let cell = Cell::start(1, "");
    cell.leader();
    let endpoints = format!("quorate://{}?session=2s", cell.endpoints());
    let join = |options: &[&str], program: &[&str]| {
        let args = ["recipe", "join", "--name", "seven", "/web", "--endpoints", &endpoints];
        let mut command = Command::new(QUORATE);
        command.args(args).args(options).arg("--").args(program).stderr(Stdio::piped());
        command.stdout(Stdio::piped()).spawn().expect("it starts")
    };
    let mut former = join(&[], &["sleep", "1000"]);
    cell.wait("a member", |cell| (!printed(cell, &["recipe", "members", "/web"]).is_empty()).then_some(()));
    let refused = join(&["--wait", "200ms"], &["true"]).wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{words}");
    assert!(words.contains("/web/seven is there already"), "{words}");
    former.kill().expect("it runs");
    former.wait().expect("it was killed");
    let next = join(&["--wait", "30s"], &["echo", "joined"]).wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&next.stdout), "joined\n", "{}", String::from_utf8_lossy(&next.stderr));
}

/// The program with these arguments, which is ended if it does not end in time; what it prints is to be read.
fn begun(args: &[&str]) -> Child {
    let mut command = Command::new("timeout");
    command.env("QUORATE_TIMEOUT", "30s").args(["-k", "5", "60", QUORATE]).args(args);
    command.stdout(Stdio::piped()).spawn().expect("it starts")
}

#[test]
fn who_comes_and_goes_is_told_for_as_long_as_anybody_reads() {
    let cell = Cell::start(1, "");
    cell.leader();
    let client = cell.connect();
    let web = Group::new(&client, "/web");
    let one = block_on(web.join("one", "10.0.0.1")).expect("it is nobody's name");
    let endpoints = cell.endpoints();
    let mut following = begun(&["recipe", "members", "--follow", "-n", "4", "/web", "--endpoints", &endpoints]);
    let mut lines = BufReader::new(following.stdout.take().expect("piped")).lines().map_while(Result::ok);
    // Each is waited for before the next is done: what happens between two looks comes as one.
    assert_eq!(lines.next().as_deref(), Some("joined one 10.0.0.1"));
    one.update("10.0.0.9").wait_timeout(PATIENCE).expect("it is a member");
    assert_eq!(lines.next().as_deref(), Some("changed one 10.0.0.9"));
    let _two = block_on(web.join("two", "10.0.0.2")).expect("it is nobody's name");
    assert_eq!(lines.next().as_deref(), Some("joined two 10.0.0.2"));
    one.leave().wait_timeout(PATIENCE).expect("it was a member");
    assert_eq!(lines.next().as_deref(), Some("left one"));
    assert!(following.wait().expect("it ends").success() && lines.next().is_none(), "so many and no more");
    let json = printed(&cell, &["recipe", "members", "--follow", "--count", "1", "--json", "/web"]);
    assert_eq!(json, "{\"data\":\"10.0.0.2\",\"event\":\"joined\",\"name\":\"two\"}\n");
}

#[test]
fn whoever_is_shown_a_lock_can_ask_whether_it_is_held_still() {
    let cell = Cell::start(1, "");
    cell.leader();
    let script = format!("echo \"$QUORATE_LOCK_SEQUENCER\"; {QUORATE} holders --check \"$QUORATE_LOCK_SEQUENCER\"");
    let told = printed(&cell, &["lock", "/l", "--", "sh", "-c", &script]);
    let (sequencer, held) = told.split_once('\n').expect("two lines");
    assert_eq!(held, "held\n");
    let (status, out, words) = said(&cell, &["holders", "--check", sequencer]);
    assert_eq!((status, out.as_str(), words.as_str()), (Some(1), "lost\n", ""));
    assert_eq!(said(&cell, &["holders"]).0, Some(2), "a path or a sequencer");
}

#[test]
fn a_handle_tells_whoever_it_is_shown_to_until_it_is_good_for_nothing_more() {
    let cell = Cell::start(1, "");
    cell.leader();
    let (client, endpoints) = (cell.connect(), cell.endpoints());
    client.create("/a", "one", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    let handle = client.open("/a", OpenOptions::all()).wait_timeout(PATIENCE).expect("it is there");
    let token = handle.token().to_string();
    let watching = begun(&["handle", "watch", &token, "--endpoints", &endpoints]);
    // It is told from the opening on, whenever it begins to listen.
    let changed = client.set("/a", "two", Expect::Any).wait_timeout(PATIENCE).expect("it is there").modified;
    client.delete("/a", Expect::Any).wait_timeout(PATIENCE).expect("it is there");
    let done = watching.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&done.stdout), format!("changed {changed} /a\ninvalid gone\n"));
    assert!(done.status.success(), "{}", done.status);
}

#[test]
fn what_was_lost_with_its_lock_changes_no_list_no_bounds_and_no_log() {
    let cell = Cell::start(1, "");
    cell.leader();
    for args in [&["create", "/a", ""][..], &["create", "/tree", ""], &["log", "create", "/log"]] {
        printed(&cell, args);
    }
    printed(&cell, &["log", "append", "/log", "one", "two"]);
    let sequencer = printed(&cell, &["lock", "/l", "--", "sh", "-c", "echo \"$QUORATE_LOCK_SEQUENCER\""]);
    let changes: [&[&str]; 7] = [
        &["quota", "set", "--nodes", "5", "/a"],
        &["quota", "rm", "/a"],
        &["acl", "set", "/a", "world:anyone:ra"],
        &["acl", "rm", "/a"],
        &["log", "trim", "/log", "1"],
        &["log", "seal", "/log"],
        &["delete-tree", "/tree"],
    ];
    let under = |sequencer: &str| -> Vec<(Option<i32>, String)> {
        let each = |args: &&[&str]| {
            let (status, _, words) = said(&cell, &[*args, &["--under", sequencer]].concat());
            (status, words)
        };
        changes.iter().map(each).collect()
    };
    // That there are bounds to be taken away.
    printed(&cell, &["quota", "set", "--nodes", "9", "/a"]);
    for ((status, words), args) in under(sequencer.trim()).iter().zip(changes) {
        assert!(*status == Some(1) && words.contains("lock"), "{args:?}: {status:?} {words}");
    }
    let client = cell.connect();
    let guard = client.lock("/l", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("it is free");
    for ((status, words), args) in under(&guard.sequencer().to_string()).iter().zip(changes) {
        assert_eq!(*status, Some(0), "{args:?}: {words}");
    }
}

#[test]
fn a_lock_and_the_revision_can_be_asked_for() {
    let cell = Cell::start(1, "");
    cell.leader();
    let holders = format!("{QUORATE} holders /l");
    let held = printed(&cell, &["lock", "/l", "--", "sh", "-c", &format!("echo $QUORATE_LOCK_TOKEN; {holders}")]);
    let (token, line) = held.split_once('\n').expect("two lines");
    assert_eq!(line, format!("exclusive {token} 1 0\n"));
    assert_eq!(printed(&cell, &["holders", "/l"]), "free 0 0 0\n");
    let revision: u64 = printed(&cell, &["sync"]).trim().parse().expect("a number");
    assert!(revision >= token.parse().expect("a number"), "{revision} is after {token}");
}

#[test]
fn who_waits_while_the_cell_falls_silent_is_not_told_that_others_are_in_the_way() {
    let cell = Cell::start(1, "");
    cell.leader();
    let (client, paths) = (cell.connect(), ["/l", "/e", "/q"]);
    let take = |path| client.lock(path, LockOptions::exclusive()).wait_timeout(PATIENCE).expect("it is free");
    let _held = paths.map(take);
    let (status, _, words) = said(&cell, &["lock", "--wait", "200ms", "/l", "--", "true"]);
    assert!(status == Some(1) && words.contains("/l is locked by others"), "the cell answers: {words}");
    let (status, _, words) = said(&cell, &["elect", "--wait", "200ms", "/e", "--", "true"]);
    assert!(status == Some(1) && words.contains("did not come to lead /e"), "the cell answers: {words}");
    let begin = |args: &[&str]| {
        let mut command = Command::new(QUORATE);
        command.args(args).env("QUORATE_ENDPOINTS", cell.endpoints()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let waiting = [
        begin(&["lock", "--wait", "15s", "/l", "--", "true"]),
        begin(&["elect", "--wait", "15s", "/e", "--", "true"]),
        begin(&["recipe", "take", "--wait", "15s", "/q"]),
    ];
    for path in paths {
        cell.wait("one who waits", |_| {
            let holders = client.lock_holders(path).wait_timeout(PATIENCE).ok()?;
            (holders.waiting == 1).then_some(())
        });
    }
    cell.signal(0, Signal::STOP);
    for child in waiting {
        let done = child.wait_with_output().expect("it ends");
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(3), "{words}");
        assert!(words.contains("the cell gave no answer"), "{words}");
    }
}

#[test]
fn a_lock_guards_a_log_and_makes_no_node_unless_it_may() {
    let cell = Cell::start(1, "");
    cell.leader();
    printed(&cell, &["log", "create", "/log"]);
    let append = format!("{QUORATE} log append --under \"$QUORATE_LOCK_SEQUENCER\" /log one");
    let script = format!("{append} && echo \"$QUORATE_LOCK_SEQUENCER\"");
    let told = printed(&cell, &["lock", "/l", "--", "sh", "-c", &script]);
    let (appended, sequencer) = told.split_once('\n').expect("two lines");
    assert_eq!(appended, "0 1");
    printed(&cell, &["lock", "--existing", "/l", "--", "true"]);
    let (status, _, words) = said(&cell, &["log", "append", "--under", sequencer.trim(), "/log", "two"]);
    assert_eq!(status, Some(1), "another has had the lock since: {words}");
    assert_eq!(printed(&cell, &["log", "read", "/log"]), "one\n");
    let (status, _, words) = said(&cell, &["lock", "--existing", "/none", "--", "true"]);
    assert!(status == Some(1) && words.contains("there is no node /none"), "{words}");
    assert_eq!(said(&cell, &["stat", "/none"]).0, Some(1), "it was not made");
}
