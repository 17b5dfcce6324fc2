//! The runtime on the real kernel: loopback sockets, files in a temporary folder, threads.
#![cfg(feature = "server")]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use quorate::limits::BLOCK_BYTES;
use quorate::paxos::value::Value;
use quorate::runtime::background::{Background, Job, Outcome};
use quorate::runtime::disk::{self, Access, AlignedBuffer};
use quorate::runtime::{CloseReason, ConnectionId, Durability, Event, Options, Ring, clock, mesh};
use quorate::time::{Duration, Instant};

/// Every wait of a test ends here at the latest.
fn give_up_at() -> Instant {
    clock::now() + Duration::from_secs(60)
}

fn ring(options: Options) -> Ring {
    Ring::new(options).unwrap_or_else(|error| panic!("{error}"))
}

fn small() -> Options {
    Options { connections: 64, files: 8, ..Options::default() }
}

/// Turns until `done`, handing every event to `handler`.
fn turn_until<S>(
    ring: &mut Ring,
    state: &mut S,
    mut handler: impl FnMut(&mut S, &mut Ring, Event<'_>),
    done: impl Fn(&S, &Ring) -> bool,
) {
    let until = give_up_at();
    while !done(state, ring) {
        assert!(clock::now() < until, "the test waited too long; counters: {:?}", ring.counters());
        ring.turn(Some(until), &mut |ring, event| handler(state, ring, event)).expect("the ring turns");
    }
}

fn listen(ring: &mut Ring) -> SocketAddr {
    ring.listen("127.0.0.1:0".parse().expect("an address"), false).expect("listening").1
}

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ seed.wrapping_mul(17) ^ (at >> 8)) as u8).collect()
}

#[derive(Default)]
struct Echo {
    clients: BTreeMap<ConnectionId, (usize, Vec<u8>)>,
    connected: usize,
    finished: usize,
    closed: usize,
}

/// Accepted connections echo; connections of ours send a message in three parts and wait for all of it.
fn echo(state: &mut Echo, ring: &mut Ring, event: Event<'_>) {
    match event {
        Event::Connected { connection } => {
            state.connected += 1;
            let message = Bytes::from(pattern(state.clients[&connection].0, MESSAGE_BYTES));
            ring.send(connection, message.slice(..1));
            ring.send(connection, message.slice(1..MESSAGE_BYTES / 2));
            ring.send(connection, message.slice(MESSAGE_BYTES / 2..));
        }
        Event::Received { connection, bytes } => match state.clients.get_mut(&connection) {
            None => ring.send(connection, Bytes::copy_from_slice(bytes)),
            Some((seed, answer)) => {
                answer.extend_from_slice(bytes);
                if answer.len() >= MESSAGE_BYTES {
                    assert_eq!(*answer, pattern(*seed, MESSAGE_BYTES), "the echo is what was sent");
                    state.finished += 1;
                    ring.close(connection);
                }
            }
        },
        Event::Closed { connection, reason } => {
            assert!(!state.clients.contains_key(&connection), "a connection closed by us is not reported: {reason:?}");
            state.closed += 1;
        }
        Event::Accepted { .. } => {}
        other => panic!("unexpected {other:?}"),
    }
}

const MESSAGE_BYTES: usize = 3_000;

fn run_echo(options: Options, connections: usize) -> quorate::runtime::Counters {
    let mut ring = ring(options);
    let address = listen(&mut ring);
    let mut state = Echo::default();
    for seed in 0..connections {
        let connection = ring.connect(address).expect("a socket");
        state.clients.insert(connection, (seed, Vec::new()));
    }
    turn_until(&mut ring, &mut state, echo, |state, ring| state.closed == connections && ring.connections() == 0);
    assert_eq!((state.connected, state.finished), (connections, connections));
    ring.counters()
}

#[test]
fn a_thousand_connections_echo_partial_frames() {
    let counters = run_echo(Options { connections: 2_000, ..Options::default() }, 1_000);
    assert_eq!(counters.accepts, 1_000);
    assert_eq!(counters.sent_bytes, 2_000 * MESSAGE_BYTES as u64);
    assert_eq!(counters.received_bytes, counters.sent_bytes);
}

#[test]
fn two_small_receive_buffers_starve_nobody() {
    let options = Options { receive_buffers: 2, receive_buffer_bytes: 256, connections: 128, ..Options::default() };
    run_echo(options, 64);
}

#[test]
fn a_submission_queue_of_four_entries_loses_nothing() {
    run_echo(Options { entries: 4, connections: 128, ..Options::default() }, 64);
}

#[test]
fn a_spinning_ring_does_the_same() {
    let counters = run_echo(Options { spin: Duration::from_micros(50), connections: 128, ..Options::default() }, 64);
    assert!(counters.watches > 0, "it watched for work before it slept");
}

#[test]
fn arrivals_at_one_listener_leave_places_for_those_at_another() {
    let mut ring = ring(Options { connections: 6, ..small() });
    let local = "127.0.0.1:0".parse().expect("an address");
    let ((many, for_many), few) = (ring.listen(local, false).expect("listening"), listen(&mut ring));
    ring.leave_places(many, 2);
    let connect = |address, count| -> Vec<TcpStream> {
        (0..count).map(|_| TcpStream::connect(address).expect("queued by the kernel")).collect()
    };
    let ignore = |(): &mut (), _: &mut Ring, _: Event<'_>| {};
    let _crowd = connect(for_many, 8);
    turn_until(&mut ring, &mut (), ignore, |(), ring| ring.counters().refusals == 4);
    let _link = connect(few, 2);
    turn_until(&mut ring, &mut (), ignore, |(), ring| ring.counters().accepts == 6);
}

#[test]
fn more_arrivals_than_places_are_closed_and_the_rest_is_served() {
    let mut ring = ring(Options { connections: 4, ..small() });
    let address = listen(&mut ring);
    let clients: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(address).expect("queued by the kernel")).collect();
    let mut accepted = 0;
    let count = |accepted: &mut i32, _: &mut Ring, event: Event<'_>| {
        *accepted += i32::from(matches!(event, Event::Accepted { .. }));
    };
    turn_until(&mut ring, &mut accepted, count, |_, ring| ring.counters().refusals == 4);
    assert_eq!(accepted, 4);
    drop(clients);
    turn_until(&mut ring, &mut accepted, count, |_, ring| ring.connections() == 0);
    let _late = TcpStream::connect(address).expect("a place is free again");
    turn_until(&mut ring, &mut accepted, count, |accepted, _| *accepted == 5);
}

#[test]
fn a_reset_and_an_end_are_told_apart() {
    let mut ring = ring(small());
    let address = listen(&mut ring);
    let reset = TcpStream::connect(address).expect("connected");
    let ended = TcpStream::connect(address).expect("connected");
    let mut state: (BTreeMap<ConnectionId, u16>, BTreeMap<u16, CloseReason>) = Default::default();
    let handler = |state: &mut (BTreeMap<_, _>, BTreeMap<_, _>), _: &mut Ring, event: Event<'_>| match event {
        Event::Accepted { connection, peer, .. } => drop(state.0.insert(connection, peer.port())),
        Event::Closed { connection, reason } => {
            let port = state.0[&connection];
            assert!(state.1.insert(port, reason).is_none(), "a connection closes once");
        }
        other => panic!("unexpected {other:?}"),
    };
    turn_until(&mut ring, &mut state, handler, |state, _| state.0.len() == 2);
    let port_of = |socket: &TcpStream| socket.local_addr().expect("an address").port();
    let (reset_port, ended_port) = (port_of(&reset), port_of(&ended));
    rustix::net::sockopt::set_socket_linger(&reset, Some(std::time::Duration::ZERO)).expect("an option");
    drop((reset, ended));
    turn_until(&mut ring, &mut state, handler, |state, ring| state.1.len() == 2 && ring.connections() == 0);
    assert!(matches!(state.1[&ended_port], CloseReason::EndOfStream));
    let CloseReason::Failed(error) = &state.1[&reset_port] else { panic!("a reset is a failure") };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_refused_connect_fails_once() {
    let mut ring = ring(small());
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let connection = ring.connect(address).expect("a socket");
    ring.send(connection, Bytes::from_static(b"never sent"));
    let mut failed = 0;
    let handler = |failed: &mut i32, _: &mut Ring, event: Event<'_>| {
        let Event::ConnectFailed { connection: which, error } = event else { panic!("unexpected {event:?}") };
        assert_eq!((which, error.kind()), (connection, std::io::ErrorKind::ConnectionRefused));
        *failed += 1;
    };
    turn_until(&mut ring, &mut failed, handler, |failed, ring| *failed == 1 && ring.connections() == 0);
}

#[test]
fn a_connection_in_a_reused_slot_is_not_the_old_one() {
    let mut ring = ring(Options { connections: 1, ..small() });
    let address = listen(&mut ring);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..50u8 {
        let mut client = TcpStream::connect(address).expect("connected");
        let mut current = None;
        let accept = |current: &mut Option<ConnectionId>, _: &mut Ring, event: Event<'_>| {
            if let Event::Accepted { connection, .. } = event {
                *current = Some(connection);
            }
        };
        turn_until(&mut ring, &mut current, accept, |current, _| current.is_some());
        let current = current.expect("accepted");
        for old in &seen {
            ring.send(*old, Bytes::from_static(b"for the dead"));
            ring.close(*old);
            ring.abort(*old);
            assert_eq!(ring.queued_bytes(*old), 0);
        }
        assert!(seen.insert(current), "an id is never given twice");
        ring.send(current, Bytes::copy_from_slice(&[round]));
        // Half the rounds end with a receive and a send in flight, half in order.
        if round % 2 == 0 {
            ring.close(current);
            turn_until(&mut ring, &mut (), |_, _, _| {}, |_, ring| ring.connections() == 0);
            let mut got = Vec::new();
            client.read_to_end(&mut got).expect("the end");
            assert_eq!(got, [round], "what was queued before the close arrives");
        } else {
            client.write_all(&[7; 1000]).expect("sent");
            ring.abort(current);
            let silent = |_: &mut (), _: &mut Ring, event: Event<'_>| panic!("nothing is reported any more: {event:?}");
            turn_until(&mut ring, &mut (), silent, |_, ring| ring.connections() == 0);
        }
    }
}

#[test]
fn a_slow_reader_holds_the_queue_and_draining_is_reported() {
    let mut ring = ring(Options { queue_high_bytes: 1 << 20, queue_low_bytes: 64 << 10, ..small() });
    let address = listen(&mut ring);
    let reader = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).expect("connected");
        let mut got = Vec::new();
        client.read_to_end(&mut got).expect("the end");
        got
    });
    let whole = Bytes::from(pattern(3, 24 << 20));
    let mut state = (None, 0);
    let handler = |state: &mut (Option<ConnectionId>, i32), ring: &mut Ring, event: Event<'_>| match event {
        Event::Accepted { connection, .. } => {
            state.0 = Some(connection);
            for at in (0..whole.len()).step_by(10_000) {
                ring.send(connection, whole.slice(at..(at + 10_000).min(whole.len())));
            }
            assert_eq!(ring.queued_bytes(connection), whole.len());
        }
        Event::Drained { connection } => {
            assert!(ring.queued_bytes(connection) <= 64 << 10, "drained means below the low mark");
            state.1 += 1;
        }
        other => panic!("unexpected {other:?}"),
    };
    turn_until(&mut ring, &mut state, handler, |state, _| state.1 == 1);
    ring.close(state.0.expect("accepted"));
    turn_until(&mut ring, &mut state, handler, |_, ring| ring.connections() == 0);
    assert!(reader.join().expect("the reader ends") == whole, "every byte in order");
    assert_eq!(state.1, 1, "draining is reported once");
}

#[test]
fn a_paused_connection_goes_on_where_it_stopped() {
    let mut ring = ring(Options { receive_buffer_bytes: 4096, ..small() });
    let address = listen(&mut ring);
    let sent = pattern(9, 8 << 20);
    let to_send = sent.clone();
    let writer = std::thread::spawn(move || {
        TcpStream::connect(address).expect("connected").write_all(&to_send).expect("all is taken in the end");
    });
    let mut state = (Vec::new(), false);
    let handler = |state: &mut (Vec<u8>, bool), ring: &mut Ring, event: Event<'_>| match event {
        Event::Received { connection, bytes } => {
            state.0.extend_from_slice(bytes);
            ring.pause_receiving(connection);
            // Resumed at once now and then: the pause is then still on its way.
            if state.0.len().is_multiple_of(3) {
                ring.resume_receiving(connection);
            }
        }
        Event::Closed { .. } => state.1 = true,
        Event::Accepted { .. } | Event::Woken => {}
        other => panic!("unexpected {other:?}"),
    };
    let mut connection = None;
    let until = give_up_at();
    while !state.1 {
        assert!(clock::now() < until, "the test waited too long");
        let soon = clock::now() + Duration::from_millis(1);
        let turned = ring.turn(Some(soon), &mut |ring, event| {
            if let Event::Accepted { connection: accepted, .. } = event {
                connection = Some(accepted);
            }
            handler(&mut state, ring, event);
        });
        turned.expect("the ring turns");
        if let Some(connection) = connection {
            ring.resume_receiving(connection);
        }
    }
    writer.join().expect("the writer ends");
    assert!(state.0 == sent, "every byte in order");
}

fn direct_file(path: &Path, blocks: usize) -> File {
    std::fs::write(path, vec![0; blocks * BLOCK_BYTES]).expect("written");
    disk::open_direct(path, Access::ReadWrite).expect("direct writes").0
}

type Results = BTreeMap<u64, std::io::Result<()>>;

fn collect(results: &mut Results, _: &mut Ring, event: Event<'_>) {
    let Event::Written { token, result } = event else { panic!("unexpected {event:?}") };
    assert!(results.insert(token, result).is_none(), "a write ends once");
}

/// A value of `len` bytes with its rooms: three pieces that are one aligned run.
fn value_pieces(seed: usize, len: usize) -> Vec<Bytes> {
    let mut value = Value::copy_of(&pattern(seed, len));
    let room = value.take_room().expect("the first owner has the rooms");
    vec![room.before.freeze(), value.bytes().clone(), room.after.freeze()]
}

fn durable_round_trip(durability: Durability) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("segment");
    let mut ring = ring(Options { durability, ..small() });
    let file = ring.register_file(direct_file(&path, 256)).expect("registered");
    let mut expected = Vec::new();
    for token in 0..20u64 {
        let mut pieces = value_pieces(token as usize, 1 + 700 * token as usize);
        pieces.extend(value_pieces(99, 10));
        let offset = expected.len() as u64;
        for piece in &pieces {
            expected.extend_from_slice(piece);
        }
        ring.write_durable(file, offset, pieces, token);
    }
    assert_eq!(ring.writes_in_flight(), 20);
    let mut results = Results::new();
    turn_until(&mut ring, &mut results, collect, |results, _| results.len() == 20);
    assert!(results.values().all(Result::is_ok), "{results:?}");
    assert_eq!(ring.writes_in_flight(), 0);
    let mut read = AlignedBuffer::zeroed(expected.len());
    let (file, _) = disk::open_direct(&path, Access::Read).expect("direct reads");
    disk::read_exact_at(&file, &mut read, 0).expect("read");
    assert!(read[..] == expected[..], "the disk holds the pieces in order");
}

#[test]
fn a_durable_write_of_many_pieces_is_read_back() {
    durable_round_trip(Durability::LinkedFlush);
}

#[test]
fn a_synchronous_write_of_many_pieces_is_read_back() {
    durable_round_trip(Durability::SynchronousWrite);
}

#[test]
fn a_write_that_cannot_be_is_an_error_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("segment");
    let mut ring = ring(small());
    let file = ring.register_file(direct_file(&path, 4)).expect("registered");
    let read_only = ring.register_file(File::open(&path).expect("opened")).expect("registered");
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let full = ring.register_file(full).expect("registered");
    let forgotten = ring.register_file(File::open(&path).expect("opened")).expect("registered");
    ring.forget_file(forgotten);
    let block = || vec![AlignedBlock::bytes()];
    ring.write_durable(forgotten, 0, block(), 1);
    ring.write_durable(read_only, 0, block(), 2);
    ring.write_durable(full, 0, block(), 3);
    ring.write_durable(file, 17, block(), 4);
    ring.write_durable(file, 0, block(), 5);
    let mut results = Results::new();
    turn_until(&mut ring, &mut results, collect, |results, _| results.len() == 5);
    let code = |token: u64| results[&token].as_ref().err().and_then(std::io::Error::raw_os_error);
    assert_eq!(code(1), Some(libc::EBADF), "a forgotten file");
    assert_eq!(code(2), Some(libc::EBADF), "a file opened for reading");
    assert_eq!(code(3), Some(libc::ENOSPC), "a full device");
    assert_eq!(code(4), Some(libc::EINVAL), "a position off the block");
    assert!(results[&5].is_ok(), "its neighbours do not suffer");
}

/// Whoever reads the clock when the first of a turn's events is reported has a time that none of them is younger than.
#[test]
fn nothing_is_reported_before_the_kernel_was_asked_for_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("segment");
    let mut ring = ring(small());
    let file = ring.register_file(direct_file(&path, 4)).expect("registered");
    let forgotten = ring.register_file(File::open(&path).expect("opened")).expect("registered");
    ring.forget_file(forgotten);
    ring.write_durable(forgotten, 0, vec![AlignedBlock::bytes()], 1);
    ring.write_durable(file, 0, vec![AlignedBlock::bytes()], 2);
    let before = ring.counters().submissions;
    let mut at_first = None;
    while at_first.is_none() {
        ring.turn(None, &mut |ring, _| {
            _ = at_first.get_or_insert(ring.counters().submissions);
        })
        .expect("a turn");
    }
    assert!(at_first > Some(before), "the write that can be was handed over first");
}

#[test]
fn a_short_write_is_an_error_and_not_flushed() {
    // A file of one page that may not grow takes the first page of two.
    let name = "short";
    let file = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::ALLOW_SEALING).expect("a file in memory");
    let file = File::from(file);
    file.set_len(BLOCK_BYTES as u64).expect("sized");
    rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::GROW).expect("sealed");
    let mut ring = ring(small());
    let file = ring.register_file(file).expect("registered");
    ring.write_durable(file, 0, vec![AlignedBlock::bytes(), AlignedBlock::bytes()], 1);
    let mut results = Results::new();
    turn_until(&mut ring, &mut results, collect, |results, _| results.len() == 1);
    let error = results[&1].as_ref().expect_err("not all was written");
    // Some kernels refuse the write as a whole.
    let (short, refused) = (std::io::ErrorKind::WriteZero, std::io::ErrorKind::PermissionDenied);
    assert!(error.kind() == short || error.kind() == refused, "{error}");
}

struct AlignedBlock;

impl AlignedBlock {
    fn bytes() -> Bytes {
        let mut memory = BytesMut::zeroed(2 * BLOCK_BYTES);
        let slack = memory.as_ptr().align_offset(BLOCK_BYTES);
        let _ = memory.split_to(slack);
        memory.truncate(BLOCK_BYTES);
        memory.freeze()
    }
}

#[test]
fn a_ring_dropped_in_mid_work_leaves_the_kernel_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..20 {
        let mut ring = ring(small());
        let address = listen(&mut ring);
        let waker = ring.waker();
        let file = ring.register_file(direct_file(&folder.path().join("segment"), 300)).expect("registered");
        let mut client = TcpStream::connect(address).expect("connected");
        let unread = ring.connect(address).expect("a socket");
        ring.send(unread, Bytes::from(vec![1; 1 << 20]));
        for at in 0..4u64 {
            ring.write_durable(file, at << 18, value_pieces(at as usize, 200_000), at);
        }
        ring.turn(Some(Instant::ZERO), &mut |_, _| {}).expect("the ring turns");
        drop(ring);
        let mut got = Vec::new();
        let ended = client.read_to_end(&mut got);
        assert!(ended.is_ok() || got.is_empty(), "the socket is closed although a waker lives: {ended:?}");
        waker.wake();
    }
}

#[test]
fn a_hundred_thousand_wakes_from_a_thread_lose_no_message() {
    let mut ring = ring(small());
    let waker = ring.waker();
    let (mut sender, mut receiver) = mesh::channel::<u64>(128, waker.clone(), waker.clone());
    let thread = std::thread::spawn(move || {
        for number in 0..100_000 {
            let mut message = number;
            while let Err(back) = sender.push(message) {
                message = back;
                std::thread::yield_now();
            }
            sender.flush();
        }
    });
    let mut next = 0;
    let handler = |next: &mut u64, _: &mut Ring, event: Event<'_>| {
        assert!(matches!(event, Event::Woken));
        while let Some(number) = receiver.pop() {
            assert_eq!(number, *next, "messages arrive in order");
            *next += 1;
        }
    };
    turn_until(&mut ring, &mut next, handler, |next, _| *next == 100_000);
    thread.join().expect("the thread ends");
}

#[test]
fn two_rings_wake_each_other() {
    let mut here = ring(small());
    let here_waker = here.waker();
    let (give, take) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut there = ring(small());
        let (to_there, from_here) = mesh::channel::<u64>(4, there.waker(), here_waker.clone());
        let (mut to_here, from_there) = mesh::channel::<u64>(4, here_waker, there.waker());
        give.send((to_there, from_there)).expect("the test listens");
        let mut from_here = from_here;
        let mut unsent: std::collections::VecDeque<u64> = Default::default();
        let mut answered = 0;
        let until = give_up_at();
        while answered < ROUNDS {
            assert!(clock::now() < until, "the answering side waited too long");
            while let Some(number) = from_here.pop() {
                unsent.push_back(number + 1);
            }
            while let Some(number) = unsent.pop_front() {
                if let Err(number) = to_here.push(number) {
                    unsent.push_front(number);
                    break;
                }
                answered += 1;
            }
            to_here.flush_with(&mut there);
            there.turn(Some(if answered < ROUNDS { until } else { Instant::ZERO }), &mut |_, _| {}).expect("it turns");
        }
        // The last wake left with the turn above; its answer is not ours to wait for.
        there.counters().wakes
    });
    let (mut to_there, mut from_there) = take.recv().expect("the other side is up");
    let (mut sent, mut received) = (0, 0);
    let until = give_up_at();
    while received < ROUNDS {
        assert!(clock::now() < until, "the asking side waited too long");
        while sent < ROUNDS && to_there.push(sent).is_ok() {
            sent += 1;
        }
        to_there.flush_with(&mut here);
        here.turn(Some(until), &mut |_, _| {}).expect("it turns");
        while let Some(number) = from_there.pop() {
            assert_eq!(number, received + 1);
            received += 1;
        }
    }
    assert!(thread.join().expect("the other side ends") > 0, "sleeping rings were woken by message");
}

const ROUNDS: u64 = 20_000;

#[test]
fn a_full_channel_gives_the_message_back() {
    let ring = ring(small());
    let (mut sender, mut receiver) = mesh::channel::<u8>(2, ring.waker(), ring.waker());
    assert!(receiver.is_empty() && receiver.pop().is_none());
    assert_eq!((sender.push(1), sender.push(2), sender.push(3)), (Ok(()), Ok(()), Err(3)));
    assert_eq!((sender.room(), receiver.pop(), sender.room()), (0, Some(1), 1));
    assert_eq!(sender.push(3), Ok(()));
    drop(sender);
    assert!(receiver.is_abandoned());
    assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(2), Some(3), None));
}

#[test]
fn a_sender_that_found_its_channel_full_is_woken_once_there_is_room() {
    let mut sending = ring(small());
    let receiving = ring(small());
    let (mut sender, mut receiver) = mesh::channel::<u8>(2, receiving.waker(), sending.waker());
    let woken = |ring: &mut Ring, deadline: Instant| {
        let mut woken = 0;
        ring.turn(Some(deadline), &mut |_, event| woken += i32::from(matches!(event, Event::Woken))).expect("it turns");
        woken
    };
    assert_eq!((sender.push(1), sender.push(2)), (Ok(()), Ok(())));
    assert_eq!(receiver.pop(), Some(1));
    assert_eq!(woken(&mut sending, Instant::ZERO), 0, "nobody waited for room");
    assert_eq!((sender.push(3), sender.push(4)), (Ok(()), Err(4)));
    assert_eq!((receiver.pop(), receiver.pop()), (Some(2), Some(3)));
    assert_eq!(woken(&mut sending, give_up_at()), 1, "room was made for a sender that waits");
    assert_eq!(woken(&mut sending, Instant::ZERO), 0, "it is told once");
}

#[test]
fn a_turn_ends_at_its_deadline_and_not_before() {
    let mut ring = ring(small());
    let mut nothing = |_: &mut Ring, event: Event<'_>| panic!("unexpected {event:?}");
    ring.turn(Some(Instant::ZERO), &mut nothing).expect("a past deadline only looks");
    assert_eq!(ring.counters().sleeps, 0);
    for ms in [1, 5, 20] {
        let deadline = clock::now() + Duration::from_millis(ms);
        ring.turn(Some(deadline), &mut nothing).expect("it turns");
        assert!(clock::now() >= deadline, "nothing else could end this turn");
    }
    ring.waker().wake();
    let mut woken = 0;
    ring.turn(None, &mut |_, event| woken += i32::from(matches!(event, Event::Woken))).expect("it turns");
    assert_eq!(woken, 1, "a wake before the turn is not lost");
}

fn finish(background: &Background, ring: &mut Ring, ticket: u64, job: Job) -> std::io::Result<Outcome> {
    background.submit(ticket, job);
    let until = give_up_at();
    loop {
        assert!(clock::now() < until, "the job took too long");
        ring.turn(Some(until), &mut |_, _| {}).expect("it turns");
        if let Some(completion) = background.completions().next() {
            assert_eq!(completion.ticket, ticket);
            return completion.outcome;
        }
    }
}

#[test]
fn background_jobs_zero_write_and_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ring = ring(small());
    let background = Background::start(None, ring.waker()).expect("a thread");
    let zeros = folder.path().join("zeros");
    let bytes = (3 << 20) + BLOCK_BYTES as u64;
    let made = finish(&background, &mut ring, 1, Job::ZeroFile { path: zeros.clone(), bytes }).expect("zeroed");
    assert!(matches!(made, Outcome::Done));
    assert!(std::fs::read(&zeros).expect("read") == vec![0; bytes as usize]);

    let image = folder.path().join("image");
    let content = pattern(5, (1 << 20) + 12_345);
    finish(&background, &mut ring, 2, Job::Begin { stream: 7, path: image.clone() }).expect("begun");
    for (ticket, part) in content.chunks(300_000).enumerate() {
        assert!(!image.exists(), "a file has its name only once it is whole");
        let chunk = Job::Chunk { stream: 7, bytes: Bytes::copy_from_slice(part) };
        finish(&background, &mut ring, 10 + ticket as u64, chunk).expect("taken");
    }
    finish(&background, &mut ring, 3, Job::Finish { stream: 7 }).expect("durable");
    assert!(std::fs::read(&image).expect("read") == content);

    let read = Job::ReadFile { path: image.clone(), offset: 777, bytes: 2 << 20 };
    let Outcome::Read(read) = finish(&background, &mut ring, 4, read).expect("read") else { panic!("a read reads") };
    assert_eq!(read.len(), content.len() - 777, "a read ends at the file's end");
    assert!(read == content[777..]);
    for past in [content.len() as u64, 1 << 40, 1 << 63, u64::MAX] {
        let past = Job::ReadFile { path: image.clone(), offset: past, bytes: 100 };
        let Outcome::Read(read) = finish(&background, &mut ring, 4, past).expect("read") else {
            panic!("a read reads")
        };
        assert!(read.is_empty());
    }
    let missing = Job::ReadFile { path: folder.path().join("missing"), offset: 0, bytes: 1 };
    let error = finish(&background, &mut ring, 5, missing).expect_err("there is no such file");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    let error = finish(&background, &mut ring, 6, Job::Finish { stream: 7 }).expect_err("it is finished");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);

    finish(&background, &mut ring, 8, Job::Begin { stream: 8, path: folder.path().join("gone") }).expect("begun");
    finish(&background, &mut ring, 9, Job::Discard { stream: 8 }).expect("discarded");
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("listed").map(|entry| entry.expect("one").file_name()).collect();
    left.sort();
    assert_eq!(left, ["image", "zeros"]);
}

#[test]
fn an_accepted_socket_outlives_its_listener() {
    let mut ring = ring(small());
    let (listener, address) = ring.listen("[::1]:0".parse().expect("an address"), true).expect("listening");
    let mut client = TcpStream::connect(address).expect("connected");
    let mut accepted = None;
    let handler = |accepted: &mut Option<ConnectionId>, ring: &mut Ring, event: Event<'_>| match event {
        Event::Accepted { connection, peer, .. } => {
            assert!(peer.is_ipv6());
            *accepted = Some(connection);
        }
        Event::Received { connection, bytes } => ring.send(connection, Bytes::copy_from_slice(bytes)),
        other => panic!("unexpected {other:?}"),
    };
    turn_until(&mut ring, &mut accepted, handler, |accepted, _| accepted.is_some());
    ring.stop_listening(listener);
    client.write_all(b"still here").expect("sent");
    turn_until(&mut ring, &mut accepted, handler, |_, ring| ring.counters().sent_bytes == 10);
    let mut got = [0; 10];
    client.read_exact(&mut got).expect("echoed");
    assert_eq!(&got, b"still here");
    ring.turn(Some(Instant::ZERO), &mut |_, _| {}).expect("it turns");
    TcpStream::connect(address).expect_err("nobody listens any more");
    let _: OwnedFd = client.into();
}
