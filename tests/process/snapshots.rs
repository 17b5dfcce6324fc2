//! Copies of a cell's state, and new cells made from them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quorate::client::{
    Client, CreateOptions, Error, Expect, LockOptions, Revision, SessionId, Slot, SnapshotPiece, SnapshotSource,
};
use quorate::namespace::command::Resume;
use quorate::server::snapshot;
use quorate::wire::client::{ClientMessage, Hello, ServerMessage};
use quorate::wire::frame::{CLIENT_MAGIC, FrameReader};

use super::cell::{Cell, PATIENCE, QUORATE, folder, path, run};
use super::load::Load;

const SECRET: u128 = 77;

/// Says these on a new connection, until `pick` finds what it looks for in the answers.
fn talk<T>(cell: &Cell, index: usize, say: &[ClientMessage<'_>], pick: impl Fn(ServerMessage<'_>) -> Option<T>) -> T {
    let mut stream = TcpStream::connect(cell.address(index)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut bytes = BytesMut::new();
    say.iter().for_each(|message| message.encode(&mut bytes));
    stream.write_all(&bytes).expect("it takes bytes");
    let mut reader = FrameReader::new(CLIENT_MAGIC);
    let (mut room, mut found) = ([0; 4096], None);
    while found.is_none() {
        let count = stream.read(&mut room).expect("it answers");
        assert!(count > 0, "it says why before it closes");
        let fed = reader.feed(&room[..count], 1 << 20, |frame| {
            found = found.take().or(pick(ServerMessage::decode(frame).expect("it speaks the protocol")));
            Ok::<(), quorate::wire::frame::FrameError>(())
        });
        fed.expect("whole frames");
    }
    found.expect("the loop ended")
}

fn hello(resume: Option<SessionId>) -> ClientMessage<'static> {
    let resume = resume.map(|session| Resume { session, secret: SECRET, holder: 1, takes_over: false });
    ClientMessage::Hello(Hello { protocol_min: 1, protocol_max: 1, cell: None, name: "test", seen: 0, resume })
}

fn fill(client: &Client) {
    let ops: Vec<_> = (0..300)
        .map(|number| client.create(&format!("/n{number:03}"), vec![number as u8; 100], CreateOptions::permanent()))
        .collect();
    ops.into_iter().for_each(|op| _ = op.wait_timeout(PATIENCE).expect("made"));
    for number in (0..300).step_by(7) {
        client.set(&format!("/n{number:03}"), "again", Expect::Any).wait_timeout(PATIENCE).expect("written");
    }
}

/// Every node of the old cell, and nothing else, but for what belonged to sessions.
fn compare(file: &Path, restored: &Client) -> usize {
    let old = snapshot::verify(file).expect("a snapshot").namespace;
    let (mut compared, mut gone) = (0, 0);
    for (at, node) in old.tree().iter() {
        let found = restored.get(at).wait_timeout(PATIENCE);
        if node.stat().owner.is_some() {
            assert!(matches!(found, Err(Error::NoNode { .. })), "{at} went with its session");
            gone += 1;
            continue;
        }
        let (data, stat) = found.unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(data, node.data(), "{at}");
        assert_eq!(
            (stat.created, stat.modified, stat.version),
            (node.stat().created, node.stat().modified, node.stat().version)
        );
        compared += 1;
    }
    assert!(gone > 0, "there were ephemeral nodes");
    let names = restored.list("/").wait_timeout(PATIENCE).expect("listed").0;
    assert_eq!(names.len() + 1, compared, "nothing came in beside: {names:?}");
    compared
}

#[test]
fn a_cell_is_saved_under_load_and_restored_as_another() {
    let cell = Cell::start(3, "");
    let client = cell.connect();
    fill(&client);
    client.create("/mine", "", CreateOptions::ephemeral()).wait_timeout(PATIENCE).expect("made");
    let lock = client.lock("/n000", LockOptions::exclusive());
    let guard = lock.wait_timeout(PATIENCE).expect("nobody holds it");
    let open = ClientMessage::OpenSession { token: 5, secret: SECRET, timeout_ms: 60_000 };
    let session = talk(&cell, 0, &[hello(None), open], |answer| match answer {
        ServerMessage::SessionOpened { session, .. } => Some(session),
        _ => None,
    });
    let load = Load::start(2, &cell.endpoints(), &[cell.endpoints()]);
    load.progress(50);
    let written = client.set("/n001", "the last word", Expect::Any).wait_timeout(PATIENCE).expect("written");
    let home = folder();
    let file = home.path().join("one.snapshot");
    let saved = run(&["snapshot", "save", "--endpoints", &cell.endpoints(), path(&file)]);
    assert!(saved.status.success(), "{}{}", String::from_utf8_lossy(&saved.stderr), cell.logs());
    load.progress(50);
    load.finish(&cell.endpoints());
    let status = run(&["snapshot", "status", "--json", path(&file)]);
    let said: serde_json::Value = serde_json::from_slice(&status.stdout).expect("one object");
    assert_eq!(said["cell"], cell.id());
    assert!(said["revision"].as_u64() >= Some(written.modified), "all that was acknowledged is in it: {said}");

    let mut new = Cell::restored(3, &file);
    assert_ne!(new.id(), cell.id());
    let restored = new.connect();
    assert!(compare(&file, &restored) > 300);
    assert_eq!(&restored.get("/n001").wait_timeout(PATIENCE).expect("there").0[..], b"the last word");
    let refused = Client::connect(&format!("{}?cell={}", new.endpoints(), cell.id())).wait_timeout(PATIENCE);
    assert!(matches!(refused, Err(Error::WrongCell { .. })), "a client of the old cell knows it for another");
    let over = talk(&new, 0, &[hello(Some(session))], |answer| match answer {
        ServerMessage::SessionOver { session } => Some(session),
        ServerMessage::SessionResumed { .. } => panic!("the old cell's sessions have ended"),
        _ => None,
    });
    assert_eq!(over, session);
    let lock = restored.lock("/n000", LockOptions::exclusive());
    drop(lock.wait_timeout(PATIENCE).expect("the old cell's lock is free"));
    drop(guard);

    // It is a cell like any other: all are killed, one disk is lost, and a new one starts from an image.
    new.kill_all();
    (0..3).for_each(|index| new.restart(index));
    let lost = (new.leader() + 1) % 3;
    new.kill(lost);
    new.remove_folder(lost);
    let recovering = new.recover(lost);
    new.wait("a new folder", |new| new.folder(lost).join("hard-state").exists().then_some(()));
    new.restart(lost);
    assert!(recovering.wait_with_output().expect("it ends").status.success(), "{}", new.logs());
    new.wait_until_equal();
    assert!(compare(&file, &new.connect()) > 300);
}

#[test]
fn what_is_no_whole_snapshot_is_refused() {
    let cell = Cell::start(1, "");
    fill(&cell.connect());
    let home = folder();
    let file = home.path().join("one.snapshot");
    let save = ["snapshot", "save", "--endpoints", &cell.endpoints(), path(&file)];
    assert!(run(&save).status.success(), "{}", cell.logs());
    assert_eq!(run(&save).status.code(), Some(30), "a snapshot is not written over");
    let bytes = std::fs::read(&file).expect("there");
    let status = run(&["snapshot", "status", "--json", path(&file)]);
    let said: serde_json::Value = serde_json::from_slice(&status.stdout).expect("one object");
    let image_bytes = said["image_bytes"].as_u64().expect("a number") as usize;
    let hash = blake3::hash(&bytes[..image_bytes]).to_hex().to_string();
    assert_eq!(said["blake3"], hash, "it is that of the image, as b3sum prints it");
    let damaged = home.path().join("damaged");
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut other = bytes.clone();
        other[at] ^= 1;
        std::fs::write(&damaged, other).expect("written");
        let said = run(&["snapshot", "status", path(&damaged)]);
        assert_eq!(said.status.code(), Some(37), "byte {at}: {}", String::from_utf8_lossy(&said.stderr));
        std::fs::write(&damaged, &bytes[..at]).expect("written");
        assert_eq!(run(&["snapshot", "status", path(&damaged)]).status.code(), Some(37), "cut at {at}");
    }
    let into = home.path().join("restored");
    let own = run(&["snapshot", "restore", "--config", path(cell.config()), path(&file), path(&into)]);
    assert_eq!(own.status.code(), Some(32), "a snapshot makes a new cell: {}", String::from_utf8_lossy(&own.stderr));
    let made = run(&["snapshot", "restore", "--replicas", "1", path(&file), path(&into)]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let served = run(&["dev", "--dir", path(&into), "--exec", &format!("{QUORATE} get /n007")]);
    assert_eq!(String::from_utf8_lossy(&served.stdout).trim(), "again", "{}", String::from_utf8_lossy(&served.stderr));
}

/// An image that holds the revision, once the replica has taken it.
fn image(source: &mut SnapshotSource, at_least: Revision) -> Slot {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(image) = source.image(at_least).expect("it answers") {
            return image;
        }
        assert!(Instant::now() < until, "an image that holds revision {at_least} is taken");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn whoever_asks_for_what_cannot_be_costs_the_replica_nothing() {
    let cell = Cell::start(1, "");
    let client = cell.connect();
    fill(&client);
    let open = || SnapshotSource::open(&cell.endpoints(), PATIENCE).expect("it lends");
    let mut source = open();
    assert_eq!(source.image(Revision::MAX).expect("it answers"), None, "nobody has that");
    let slot = image(&mut source, 1);
    for offset in [1 << 40, 1 << 63, u64::MAX] {
        let piece = source.piece(slot, offset).expect("it answers");
        assert_eq!(piece, SnapshotPiece::Bytes(Bytes::new()), "a file ends before {offset}");
    }
    let written = client.set("/n001", "again", Expect::Any).wait_timeout(PATIENCE).expect("it goes on");
    assert!(image(&mut open(), written.modified) > slot, "others still get what they ask for");
}

#[test]
fn an_image_that_is_being_fetched_stays_however_many_ask_for_newer_ones() {
    let cell = Cell::start(1, "");
    let client = cell.connect();
    fill(&client);
    let open = || SnapshotSource::open(&cell.endpoints(), PATIENCE).expect("it lends");
    let (mut first, mut other) = (open(), open());
    let slot = image(&mut first, 1);
    for number in 0..100 {
        let stat = client.set("/n001", format!("{number}"), Expect::Any).wait_timeout(PATIENCE).expect("written");
        _ = other.image(stat.modified).expect("it answers");
        let piece = first.piece(slot, 0).expect("it answers");
        assert!(!matches!(piece, SnapshotPiece::Gone), "it is fetched: {number}");
    }
    let stat = client.set("/n001", "the last", Expect::Any).wait_timeout(PATIENCE).expect("written");
    assert!(image(&mut other, stat.modified) > slot, "whoever waits has a turn");
}
