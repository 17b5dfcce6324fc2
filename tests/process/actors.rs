//! Client processes: this test program run once more, in a part that a test gives it, so that a client can be killed, stopped
//! and woken like a server. Only those started here are ever ended, by their handles.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use quorate::client::recipes::{DoubleBarrier, Election, Group, ReadWriteLock, Rendezvous, Semaphore};
use quorate::client::{
    CacheSettings, Client, CreateOptions, Error, Expect, LockGuard, LockOptions, Outcome, WatchOptions, block_on,
};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity};

use super::cell::{Cell, PATIENCE};
use super::crowds;

/// A client process.
pub struct Actor {
    child: Child,
    lines: Receiver<String>,
}

impl Actor {
    /// A process that plays `part` with the cell.
    pub fn start(part: &str, cell: &Cell) -> Self {
        Self::start_with(part, cell, &[])
    }

    /// As [`Actor::start`], with these variables in its environment besides.
    pub fn start_with(part: &str, cell: &Cell, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "actors::act", "--nocapture"])
            .env(PART, part)
            .env(ENDPOINTS, cell.endpoints())
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Some(word) = line.split_once(SAYS).map(|(_, word)| word.to_owned()) else { continue };
                if sender.send(word).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// What it says next.
    pub fn hear(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it says something")
    }

    /// Tells it to go on: it waits for that with [`go_ahead`].
    pub fn go_ahead(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"\n").and_then(|()| stdin.flush()).expect("it listens");
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a child has a number");
        kill_process(pid, signal).expect("it can be signalled");
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nanoseconds on the clock that all processes of a host share and nobody sets.
pub fn boot_time() -> u64 {
    let reading = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    reading.tv_sec.unsigned_abs() * 1_000_000_000 + reading.tv_nsec.unsigned_abs()
}

#[test]
#[ignore = "the other side of tests that need a client in a process of its own"]
fn act() {
    let part = std::env::var(PART).expect("a part");
    let target = format!("quorate://{}?session=10s", std::env::var(ENDPOINTS).expect("a cell"));
    let connect = |target: &str| Client::connect(target).wait_timeout(PATIENCE).expect("a session");
    match part.as_str() {
        "write" => write(&connect(&target)),
        "hold" => hold(&connect(&target.replace("10s", "2s"))),
        "hold while clocks jump" => hold_while_clocks_jump(&connect(&target.replace("10s", "6s")), 2 * 6),
        "close" => close(connect(&target.replace("10s", "60s"))),
        "serve" => serve(&connect(&target)),
        "crowd" => crowds::hold_many(&target.replace("10s", "60s")),
        "recipes" => recipes(&connect(&target.replace("10s", "2s"))),
        "fork" => fork(&connect(&target)),
        "pinned" => pinned(&target),
        other => panic!("there is no part {other}"),
    }
}

/// Saves its session, and from then on writes 1, 2, 3, ... to one node, many at once, until it is killed or may not go on.
fn write(client: &Client) {
    client.create("/written", "0", CreateOptions::permanent()).wait().expect("made");
    client.create("/alive", "", CreateOptions::ephemeral()).wait().expect("made");
    let guard = client.lock("/lock", LockOptions::exclusive()).wait().expect("the lock");
    say(&format!("saved {} {}", guard.token(), client.save().wait().expect("a session").to_text()));
    let mut under_way = std::collections::VecDeque::new();
    for value in 1_u64.. {
        under_way.push_back(client.set("/written", value.to_string(), Expect::Any));
        if under_way.len() < 64 {
            continue;
        }
        match under_way.pop_front().expect("there are many").wait() {
            Ok(_) if value % 512 == 0 => say(&format!("wrote {value}")),
            Ok(_) => {}
            Err(error) => {
                say(&format!("ended {}", matches!(error, Error::SessionTaken { .. })));
                // The guard's release must not wait for a session that is another's.
                assert!(!guard.is_held(), "what was taken over is not held");
                return;
            }
        }
    }
}

/// Holds a lock until it is lost.
fn hold(client: &Client) {
    let guard = client.lock("/lock", LockOptions::exclusive()).wait().expect("the lock");
    say("held");
    believe(&guard);
}

/// As long as it is told that it holds the lock it remembers when it last asked.
fn believe(guard: &LockGuard) {
    // It may be stopped before it ever asks.
    let mut believed_at = 0;
    loop {
        let asked_at = boot_time();
        if !guard.is_held() {
            break;
        }
        believed_at = asked_at;
    }
    let refused = guard.guarded().set("/lock", "mine", Expect::Any).wait();
    say(&format!("lost {believed_at} {}", refused.is_err()));
}

/// Holds a lock for so many seconds, with an eye on the wall clock, as libc tells it and as the library would ask for it; and then
/// until it is lost.
fn hold_while_clocks_jump(client: &Client, seconds: u64) {
    let guard = client.lock("/lock", LockOptions::exclusive()).wait().expect("the lock");
    say("held");
    let (until, mut held) = (boot_time() + seconds * 1_000_000_000, true);
    let mut readings = [Vec::new(), Vec::new()];
    while held && boot_time() < until {
        held = guard.is_held();
        let told = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is not that early").as_secs();
        let asked = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec.unsigned_abs();
        readings[0].push(told);
        readings[1].push(asked);
        std::thread::sleep(Duration::from_millis(5));
    }
    let [told, asked] = readings.map(|all| {
        let jumps = |pair: &[u64]| pair[0].abs_diff(pair[1]) > 3600;
        all.windows(2).any(jumps)
    });
    say(&format!("held {held} jumped {told} {asked}"));
    believe(&guard);
}

/// Ends as a program does whose `main` closes its client and returns: what it has is not even dropped.
fn close(client: Client) {
    let guard = client.lock("/lock", LockOptions::exclusive()).wait().expect("the lock");
    say("held");
    client.close().wait().expect("closed");
    assert!(!guard.is_held(), "it was given up");
    std::process::exit(0);
}

/// Is an instance of a service until it is killed.
fn serve(client: &Client) -> ! {
    let _membership = block_on(Group::new(client, "/services/web").join("c", "10.0.0.3:80")).expect("it is a member");
    say("serves");
    loop {
        std::thread::park();
    }
}

/// Has something of each recipe that a session can have, until it is killed.
fn recipes(client: &Client) {
    let leadership = block_on(Election::new(client, "/election").campaign("here")).expect("it leads");
    let writing = block_on(ReadWriteLock::new(client, "/lock").write()).expect("it writes");
    let permit = block_on(Semaphore::new(client, "/semaphore", 1).acquire("")).expect("it has the permit");
    let membership = block_on(Group::new(client, "/group").join("one", "")).expect("it is a member");
    block_on(Rendezvous::new(client, "/place").announce("here")).expect("it left word");
    let inside = block_on(DoubleBarrier::new(client, "/step", 1).enter()).expect("it is inside");
    let turn = client.lock("/queue", LockOptions::exclusive()).wait().expect("it is its turn to take");
    say("has them all");
    std::thread::park();
    drop((leadership, writing, permit, membership, inside, turn));
}

/// Forks. The child may not use what is its parent's, and can have its own; the parent goes on.
fn fork(client: &Client) {
    let guard = client.lock("/lock", LockOptions::exclusive()).wait().expect("the lock");
    let other = Client::connect(&std::env::var(ENDPOINTS).expect("a cell")).wait().expect("a session");
    // It was answered once, so the answer is kept.
    let caching = Client::builder(&std::env::var(ENDPOINTS).expect("a cell")).expect("an address");
    let caching = caching.cache(CacheSettings::default()).connect().wait().expect("a session");
    while caching.cache_stats().hits == 0 {
        caching.get("/").wait().expect("it is there");
    }
    let (waiting, awaited) =
        (other.lock("/lock", LockOptions::exclusive()), other.watch("/none", WatchOptions::node()));
    let (mut watch, mut events) = (awaited.wait().expect("it stands"), other.session_events());
    match fork::fork().expect("it forks") {
        fork::Fork::Child => {
            let forked = |error: Option<Error>| matches!(error, Some(Error::Forked { .. }));
            let refused = forked(client.get("/").wait_timeout(PATIENCE).err())
                && forked(client.watch("/", WatchOptions::node()).wait_timeout(PATIENCE).err())
                && forked(client.save().wait_timeout(PATIENCE).err());
            // These were under way before: their answers are the parent's.
            let lost = matches!(waiting.wait(), Err(Error::Forked { outcome: Outcome::Unknown }))
                && !watch.is_over()
                && forked(watch.next().wait().and_then(Result::err))
                && watch.is_over()
                && watch.revision() == 0
                && watch.next().wait().is_none()
                && events.next().wait().is_none();
            // Nobody would tell it that what is kept has changed.
            let refused = refused && forked(caching.get("/").wait_timeout(PATIENCE).err());
            let unsafe_here = !guard.is_held() && !client.is_safe();
            drop(guard);
            let own = Client::connect(&format!("quorate://{}", std::env::var(ENDPOINTS).expect("a cell")));
            let works = own.wait_timeout(PATIENCE).and_then(|own| own.get("/").wait_timeout(PATIENCE)).is_ok();
            say(&format!("child {refused} {lost} {unsafe_here} {works}"));
            std::process::exit(0);
        }
        fork::Fork::Parent(child) => {
            fork::waitpid(child).expect("it ends");
            let works = guard.guarded().set("/lock", "mine", Expect::Any).wait().is_ok();
            say(&format!("parent {} {works}", guard.is_held()));
            drop(guard);
            say(&format!("next {}", waiting.wait().is_ok()));
        }
    }
}

/// Has the library's thread on one CPU.
fn pinned(target: &str) {
    let builder = || Client::builder(target).expect("an address");
    let nowhere = builder().io_cpu(100_000).connect().wait_timeout(PATIENCE).err();
    let mine = sched_getaffinity(None).expect("this thread runs somewhere");
    let last = (0..CpuSet::MAX_CPU).rfind(|cpu| mine.is_set(*cpu)).expect("somewhere");
    let client = builder().io_cpu(last).connect().wait_timeout(PATIENCE).expect("a session");
    let tasks = std::fs::read_dir("/proc/self/task").expect("listed").flatten().map(|task| task.path());
    let mut threads = tasks.filter(|task| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == "quorate-client")
    });
    let status = std::fs::read_to_string(threads.next().expect("there is one").join("status")).expect("it runs");
    let alone = status.lines().any(|line| line.split_whitespace().eq(["Cpus_allowed_list:", &last.to_string()]));
    let others = sched_getaffinity(None).is_ok_and(|now| now == mine);
    let works = client.get("/").wait_timeout(PATIENCE).is_ok();
    say(&format!("{} {alone} {others} {works}", matches!(nowhere, Some(Error::BadArgument { .. }))));
}

/// Says something to the test.
pub fn say(words: &str) {
    println!("\n{SAYS}{words}");
}

/// Waits until the test tells it to go on.
pub fn go_ahead() {
    let read = std::io::stdin().read_line(&mut String::new()).expect("the test's end of it");
    assert!(read > 0, "the test is over");
}

const PART: &str = "ACTOR_PART";
const ENDPOINTS: &str = "ACTOR_ENDPOINTS";
const SAYS: &str = "actor: ";
