//! The library against a server on loopback that knows the protocol and little else: what is tested here is the thread,
//! the sockets and the calls; the real cell is met in the repository's process tests.

mod acl;
mod errors;
mod kept;
mod locks;
mod markers;
mod observed;
mod recipes;
mod snapshot;
mod texts;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::namespace::codec::{encode_outcome, encode_read_outcome};
use crate::namespace::command::{
    Answer, Done, LockPlace, Operation, Outcome as Came, Read, Refusal, Scanned, StepDone,
};
use crate::wire::cache::{CacheAsk, CacheTold};
use crate::wire::client::{ClientMessage, ServerMessage, Welcome};
use crate::wire::frame::{CLIENT_MAGIC, FrameReader};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the server holds: nodes by path, and every request's result by its number.
#[derive(Default)]
struct Held {
    nodes: BTreeMap<String, Bytes>,
    results: BTreeMap<u64, (u64, Came)>,
    revision: u64,
    /// Connections to break after this many more requests each, the request unanswered.
    breaks: Vec<usize>,
    connections: usize,
    /// Every release, in order.
    releases: Vec<Operation>,
    /// All else that was done under a lock, in order.
    guarded: Vec<Operation>,
    /// Every user that was proved, in order.
    users: Vec<User>,
}

struct Server {
    address: SocketAddr,
    held: Arc<Mutex<Held>>,
}

impl Server {
    fn start(breaks: &[usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let held = Arc::new(Mutex::new(Held { breaks: breaks.to_vec(), ..Held::default() }));
        let shared = Arc::clone(&held);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let held = Arc::clone(&shared);
                held.lock().expect("no test thread panics with it").connections += 1;
                std::thread::spawn(move || serve(stream.expect("an accepted connection"), &held));
            }
        });
        Self { address, held }
    }

    fn connect(&self, root: &str) -> Client {
        Client::connect(&format!("quorate://{}{root}", self.address)).wait_timeout(PATIENCE).expect("a session")
    }

    fn connections(&self) -> usize {
        self.held.lock().expect("no test thread panics with it").connections
    }
}

fn serve(mut stream: TcpStream, held: &Mutex<Held>) {
    let mut reader = FrameReader::new(CLIENT_MAGIC);
    let mut room = [0; 65_536];
    let mut left = held.lock().expect("no test thread panics with it").breaks.pop();
    loop {
        let Ok(count @ 1..) = stream.read(&mut room) else { return };
        let mut out = BytesMut::new();
        let fed = reader.feed(&room[..count], 4 << 20, |frame| {
            let message = ClientMessage::decode(frame).expect("the client speaks the protocol");
            let held = &mut *held.lock().expect("no test thread panics with it");
            if matches!(message, ClientMessage::Request { .. } | ClientMessage::Authenticate { .. }) {
                left = left.map(|left: usize| left.saturating_sub(1));
            }
            answer(held, message, &mut out);
            if left == Some(0) {
                // Applied, but nobody hears of it.
                return Err(crate::wire::frame::FrameError::Version { found: 0 });
            }
            Ok(())
        });
        if fed.is_err() || stream.write_all(&out).is_err() {
            return;
        }
    }
}

fn answer(held: &mut Held, message: ClientMessage<'_>, out: &mut BytesMut) {
    let session = SessionId(1);
    match message {
        ClientMessage::Hello(hello) => {
            ServerMessage::Welcome(Welcome {
                protocol: 1,
                cell: CellId(9),
                replica: ReplicaId(1),
                leader: Some(ReplicaId(1)),
                members: Vec::new(),
                request_bytes_max: 2 << 20,
                data_bytes_max: 1 << 20,
                requests_in_flight_max: 64,
                revision: held.revision,
            })
            .encode(out);
            if hello.resume.is_some() {
                let applied_upto = held.results.len() as u64;
                let applied_before = 0;
                ServerMessage::SessionResumed { session, timeout_ms: 12_000, applied_upto, applied_before }.encode(out);
            }
        }
        ClientMessage::OpenSession { timeout_ms, .. } => {
            ServerMessage::SessionOpened { session, timeout_ms }.encode(out)
        }
        ClientMessage::Request { number, operation, .. } => {
            request(held, number, Operation::decode(operation).expect("an operation"), out);
        }
        ClientMessage::Authenticate { number, name, password, .. } => {
            request(held, number, Operation::Authenticate { user: User::new(name, password), is_super: false }, out);
        }
        ClientMessage::Read { number, read, .. } => {
            let mut answer = BytesMut::new();
            encode_read_outcome(&look(held, Read::decode(read).expect("a read")), &mut answer);
            ServerMessage::ReadReply { number, revision: held.revision, answer: &answer }.encode(out);
        }
        ClientMessage::Ping { number } => ServerMessage::Pong { number }.encode(out),
        ClientMessage::Cache(CacheAsk::Renew { number }) => {
            ServerMessage::Cache(CacheTold::Renewed { number, lease_ms: 60_000 }).encode(out);
        }
        ClientMessage::Cache(CacheAsk::Read { number, read }) => {
            let mut answer = BytesMut::new();
            encode_read_outcome(&look(held, Read::decode(read).expect("a read")), &mut answer);
            let told = CacheTold::Reply { number, revision: held.revision, keep: true, answer: &answer };
            ServerMessage::Cache(told).encode(out);
        }
        ClientMessage::Cache(ask) => panic!("{ask:?}, though nothing is recalled here"),
        ClientMessage::Watch { .. } | ClientMessage::Unwatch { .. } => panic!("no test watches"),
        ClientMessage::Status { .. }
        | ClientMessage::Members { .. }
        | ClientMessage::Sessions { .. }
        | ClientMessage::Snapshot { .. } => {
            panic!("no test asks for a status")
        }
    }
}

fn request(held: &mut Held, number: u64, operation: Operation, out: &mut BytesMut) {
    if !held.results.contains_key(&number) {
        assert_eq!(number, held.results.len() as u64 + 1, "requests come in order");
        held.revision += 1;
        let came = apply(held, operation);
        held.results.insert(number, (held.revision, came));
    }
    let (revision, came) = &held.results[&number];
    let mut outcome = BytesMut::new();
    encode_outcome(came, &mut outcome);
    ServerMessage::Reply { number, revision: *revision, outcome: &outcome }.encode(out);
}

fn apply(held: &mut Held, operation: Operation) -> Came {
    match operation {
        Operation::Create { path, data, .. } => {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if !parent.is_empty() && !held.nodes.contains_key(parent) {
                return Err(Refusal::NoParent { path });
            }
            if held.nodes.contains_key(&path) {
                return Err(Refusal::NodeExists { path });
            }
            held.nodes.insert(path.clone(), data);
            Ok(Done::Created { path, stat: Stat::default() })
        }
        Operation::Set { path, data, .. } if held.nodes.contains_key(&path) => {
            held.nodes.insert(path, data);
            Ok(Done::Set { stat: Stat::default() })
        }
        Operation::Set { path, .. } => Err(Refusal::NoNode { path }),
        Operation::Delete { path, .. } => {
            held.nodes.remove(&path).map(|_| Done::Deleted).ok_or(Refusal::NoNode { path })
        }
        Operation::DeleteTree { path, part, .. } => {
            let below: Vec<_> = held.nodes.keys().filter(|node| node.starts_with(&path)).rev().cloned().collect();
            let (most, all) = (if part == 0 { usize::MAX } else { 2 }, below.len());
            below.iter().take(most).for_each(|node| _ = held.nodes.remove(node));
            Ok(Done::TreeDeleted { nodes: all.min(most) as u32, more: all > most })
        }
        Operation::Multi { steps } if steps.len() == 1 => Ok(Done::Multi { results: vec![StepDone::Checked] }),
        Operation::Multi { .. } => {
            let cause = Box::new(Refusal::NoNode { path: "/app/x".to_owned() });
            Err(Refusal::Aborted { index: 1, cause })
        }
        Operation::Acquire { path, mode, .. } => locks::acquire(path, mode),
        Operation::Guarded { operation, .. } if !matches!(*operation, Operation::Release { .. }) => {
            held.guarded.push((*operation).clone());
            apply(held, *operation)
        }
        release @ (Operation::Release { .. } | Operation::Guarded { .. }) => {
            held.releases.push(release);
            Ok(Done::Released)
        }
        Operation::Open { .. } | Operation::Close { .. } | Operation::Through { .. } => {
            panic!("handles are looked at in a real cell")
        }
        Operation::SetQuota { .. } => Ok(Done::QuotaSet),
        Operation::CreateWithAcl { path, .. } => Ok(Done::Created { path, stat: Stat::default() }),
        Operation::SetAcl { path, .. } => Err(Refusal::NotAuthorized { path, needed: Rights::ADMIN }),
        Operation::Authenticate { user, .. } => {
            held.users.push(user);
            Ok(Done::Authenticated)
        }
        Operation::CreateLog { .. } | Operation::Append { .. } | Operation::Trim { .. } | Operation::Seal { .. } => {
            panic!("logs are tried in a real cell")
        }
        Operation::Sync => Ok(Done::Synced),
        Operation::CloseSession => Ok(Done::SessionClosed),
    }
}

fn look(held: &Held, read: Read) -> Result<Answer, Refusal> {
    match read {
        Read::Get { path } => match held.nodes.get(&path) {
            Some(data) => Ok(Answer::Node { data: data.clone(), stat: Stat::default() }),
            None => Err(Refusal::NoNode { path }),
        },
        Read::Exists { path } => Ok(Answer::Exists { stat: held.nodes.get(&path).map(|_| Stat::default()) }),
        Read::List { path, after, .. } => {
            let prefix = format!("{}/", path.trim_end_matches('/'));
            let below = held.nodes.keys().filter_map(|node| node.strip_prefix(&prefix)).filter(|n| !n.contains('/'));
            let mut names: Vec<_> = below.filter(|name| *name > after.as_str()).map(str::to_owned).collect();
            let more = names.len() > 2;
            names.truncate(2);
            Ok(Answer::Children { names, stat: Stat::default(), more })
        }
        Read::AwaitLock { path, .. } if path == "/hidden" => {
            Err(Refusal::NotAuthorized { path, needed: Rights::WRITE })
        }
        Read::AwaitLock { .. } => Ok(Answer::LockPlace { place: LockPlace::Waiting }),
        Read::Scan { path, after, limit, .. } => {
            let below = held.nodes.keys().filter(|node| node.starts_with(&path) && **node > after);
            let mut nodes: Vec<_> = below.map(|path| scanned(path)).collect();
            let more = nodes.len() > limit as usize;
            nodes.truncate(limit as usize);
            Ok(Answer::Scanned { nodes, more })
        }
        Read::WhoAmI => {
            let principals = Principals { users: held.users.clone(), ..Principals::default() };
            Ok(Answer::Principals { principals })
        }
        Read::Entries { .. }
        | Read::Acl { .. }
        | Read::Quota { .. }
        | Read::LockHolders { .. }
        | Read::CheckSequencer { .. }
        | Read::Records { .. }
        | Read::HandleGet { .. }
        | Read::HandleEntries { .. }
        | Read::HandleStat { .. } => {
            panic!("they are looked at in a real cell")
        }
    }
}

fn scanned(path: &str) -> Scanned {
    Scanned { path: path.to_owned(), stat: Stat::default(), data: None }
}

fn wait<T>(op: Op<T>) -> super::Result<T> {
    op.wait_timeout(PATIENCE)
}

#[test]
fn calls_go_out_in_order_and_come_back() {
    let server = Server::start(&[]);
    let client = server.connect("");
    let create = client.create("/a", "1", CreateOptions::permanent());
    let set = client.set("/a", "2", Expect::Any);
    let get = client.get("/a");
    assert_eq!(wait(create).expect("created").path, "/a");
    wait(set).expect("set");
    assert_eq!(&wait(get).expect("read").0[..], b"2");
    assert_eq!(wait(client.exists("/b")).expect("read"), None);
    assert_eq!(wait(client.sync()).expect("synced"), 3);
    assert!(matches!(wait(client.get("/b")), Err(Error::NoNode { path }) if path == "/b"));
    assert_eq!(client.state(), SessionState::Safe);
    let again = client.clone();
    wait(client.close()).expect("closed");
    assert!(matches!(wait(again.sync()), Err(Error::Closed { outcome: Outcome::NotApplied })));
    assert_eq!(again.state(), SessionState::Closed);
}

#[test]
fn a_root_is_put_in_front_of_paths_and_taken_off_again() {
    let server = Server::start(&[]);
    let client = server.connect("/app");
    assert!(
        matches!(wait(client.create("/a", "", CreateOptions::permanent())), Err(Error::NoParent { path }) if path == "/a")
    );
    let created = wait(client.create("/a/b/c", "x", CreateOptions::permanent().parents())).expect("parents are made");
    assert_eq!(created.path, "/a/b/c");
    for name in ["/a/1", "/a/2", "/a/3", "/a/4"] {
        client.create(name, "", CreateOptions::permanent()).detach();
    }
    assert_eq!(wait(client.list("/a")).expect("in three pages").0, ["1", "2", "3", "4", "b"]);
    let scan: Result<Vec<_>, _> = client.scan("/a", ScanOptions::new().page(4)).into_iter().collect();
    let paths = ["/a", "/a/1", "/a/2", "/a/3", "/a/4", "/a/b", "/a/b/c"];
    assert_eq!(scan.expect("in two pages"), paths.map(scanned));
    let below = client.chroot("/a").expect("a sound path");
    assert_eq!(&wait(below.get("/b/c")).expect("the same node").0[..], b"x");
    assert!(matches!(wait(below.get("b/c")), Err(Error::BadArgument { .. })));
    assert_eq!(wait(client.delete_tree("/a/b", Expect::Any)).expect("a small tree"), 2);
    let aborted = wait(client.txn().check("/a", Expect::Any).delete("/x", Expect::Any).commit()).expect("an outcome");
    assert!(matches!(&aborted, TxnOutcome::Aborted { index: 1, error: Error::NoNode { path } } if path == "/x"));
    assert!(
        matches!(aborted.applied(), Err(Error::Aborted { index: 1, cause }) if matches!(*cause, Error::NoNode { .. }))
    );
    let applied = wait(client.txn().check("/a", Expect::Any).commit()).expect("an outcome");
    assert!(matches!(applied.applied(), Ok((_, replies)) if replies == [TxnReply::Checked]));
    assert_eq!(wait(client.delete_tree_in_parts("/a")).expect("in three parts"), 5);
}

#[test]
fn a_transaction_of_too_many_steps_is_refused_before_it_is_sent() {
    let server = Server::start(&[]);
    let client = server.connect("");
    let txn = (0..4097).fold(client.txn(), |txn, _| txn.check("/a", Expect::Any));
    let refused = wait(txn.commit());
    assert!(matches!(refused, Err(Error::TooLarge { size: 4097, limit: 4096, .. })), "{refused:?}");
    wait(client.sync()).expect("the connection goes on");
    assert_eq!(server.connections(), 1);
}

#[test]
fn broken_connections_go_unnoticed_and_nothing_is_done_twice() {
    let server = Server::start(&[7, 30, 1, 12]);
    let client = server.connect("");
    let ops: Vec<_> = (0..100).map(|n| client.create(&format!("/n{n}"), "x", CreateOptions::permanent())).collect();
    for op in ops {
        wait(op).expect("each node is made once, or it would exist already");
    }
    assert_eq!(server.connections(), 5);
    assert_eq!(server.held.lock().expect("no test thread panics with it").nodes.len(), 100);
}

#[test]
fn one_thread_serves_all_clients() {
    let server = Server::start(&[]);
    // The little server keeps one session's results; each client here only reads.
    let clients: Vec<_> = (0..20).map(|_| server.connect("")).collect();
    let ops: Vec<_> = clients.iter().map(|client| client.exists("/a")).collect();
    for op in ops {
        assert_eq!(wait(op).expect("read"), None);
    }
    let named = |name: &str| {
        let tasks = std::fs::read_dir("/proc/self/task").expect("a process has threads").flatten();
        tasks.filter(|t| std::fs::read_to_string(t.path().join("comm")).is_ok_and(|comm| comm.trim() == name)).count()
    };
    assert_eq!(named("quorate-client"), 1);
}

#[test]
fn where_nobody_listens_the_opening_fails_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let builder = Client::builder(&format!("localhost:{}", address.port())).expect("a sound target");
    let error = wait(builder.open_timeout(Duration::from_millis(300)).connect()).expect_err("nobody listens");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}
