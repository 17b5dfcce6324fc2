//! The steps that every write and every read takes, one by one. Each checks what it measures.

use std::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use quorate::limits::{CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX};
use quorate::namespace::acl::Principals;
use quorate::namespace::codec::{OperationRef, batch_header};
use quorate::namespace::command::{Command, Expect, Lifetime, Operation, Read, SessionId};
use quorate::namespace::{Applied, CommandOutcome, Gate, Namespace, answer_from};
use quorate::paxos::{Ballot, Draft, Message, ReplicaId, Slot, Value};
use quorate::replica::exchange::Gathering;
use quorate::time::Duration;
use quorate::wire::client::{ClientMessage, encode_request};
use quorate::wire::frame::{CLIENT_MAGIC, Frame, FrameError, FrameReader, PEER_MAGIC};
use quorate::wire::peer::{self, PeerMessage};

const VALUE_BYTES: usize = 1024;
const NODES: u64 = 1000;
const BATCH: u64 = 100;

fn set(node: u64) -> Operation {
    Operation::Set { path: format!("/node-{node}"), data: vec![7; VALUE_BYTES].into(), expect: Expect::Any }
}

fn batch(gathering: &mut Gathering) -> Vec<u8> {
    let submission = gathering.take();
    let mut batch = batch_header(1, 1, submission.count).to_vec();
    batch.extend_from_slice(&submission.run);
    batch
}

/// A namespace with some nodes and one session, and the session.
fn namespace() -> (Namespace, SessionId) {
    let mut namespace = Namespace::new(1);
    let mut applied = Applied::default();
    let mut gathering = Gathering::default();
    gathering.put(&Command::OpenSession { token: 1, secret: 2, timeout_ms: 10_000, address: None });
    namespace.apply(&batch(&mut gathering), &mut applied);
    let Some(CommandOutcome::SessionOpened { session, .. }) = applied.outcomes.pop() else { panic!("a session opens") };
    for node in 0..NODES {
        let (path, data) = (format!("/node-{node}"), vec![0; VALUE_BYTES].into());
        let operation = Operation::Create { path, data, lifetime: Lifetime::Permanent, sequential: false };
        gathering.put(&Command::Request { session, number: node + 1, acked_upto: node, operation });
    }
    namespace.apply(&batch(&mut gathering), &mut applied);
    assert_eq!(namespace.tree().len() as u64, NODES + 1, "the nodes are there");
    (namespace, session)
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    let mut operation = BytesMut::new();
    set(1).encode(&mut operation);
    group.throughput(Throughput::Elements(1));
    let mut out = BytesMut::new();
    group.bench_function("encode a request of 1 KiB", |b| {
        b.iter(|| {
            out.clear();
            encode_request(&mut out, 7, 6, |out| out.put_slice(&operation));
            assert!(out.len() > VALUE_BYTES, "the value is in it");
        });
    });
    let mut reader = FrameReader::new(CLIENT_MAGIC);
    group.bench_function("check and decode it", |b| {
        b.iter(|| {
            let mut seen = 0;
            reader
                .feed(&out, CLIENT_FRAME_BYTES_MAX, |frame| {
                    let Ok(ClientMessage::Request { number, operation, .. }) = ClientMessage::decode(frame) else {
                        panic!("it is a request");
                    };
                    assert!(matches!(OperationRef::decode(operation), Ok(OperationRef::Set { .. })), "as it went in");
                    seen = number;
                    Ok::<(), FrameError>(())
                })
                .expect("a sound frame");
            assert_eq!(seen, 7, "one whole frame");
        });
    });
}

/// What goes between replicas for each entry: the leader's Accept, with the value, and a follower's word that it has it.
fn peers(c: &mut Criterion) {
    let mut group = c.benchmark_group("peer");
    let (ballot, slot, chosen_upto) = (Ballot { round: 12, replica: ReplicaId(2) }, Slot(4711), Slot(4710));
    for bytes in [VALUE_BYTES, 64 << 10] {
        let value = Value::copy_of(&vec![7; bytes]);
        let accept = Message::Accept { ballot, slot, value, chosen_upto, lease: Duration::from_millis(250) };
        travel(&mut group, &format!("an Accept of {} KiB", bytes >> 10), &PeerMessage::Paxos(accept));
    }
    let accepted = Message::Accepted { ballot, from: slot, upto: slot, recorded: true };
    travel(&mut group, "an Accepted", &PeerMessage::Paxos(accepted));
    group.finish();
}

fn travel(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, message: &PeerMessage) {
    let mut scratch = BytesMut::new();
    let first = peer::encode(message, &mut scratch);
    let frame = [&first.head[..], first.tail.as_deref().unwrap_or_default()].concat();
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function(format!("encode {name}"), |b| {
        b.iter(|| {
            let encoded = peer::encode(black_box(message), &mut scratch);
            assert_eq!(encoded.head.len() + encoded.tail.as_ref().map_or(0, Bytes::len), frame.len(), "as before");
        });
    });
    let mut reader = FrameReader::new(PEER_MAGIC);
    let mut decoded = None;
    let mut receive = || {
        decoded = None;
        let took = |frame: Frame<'_>| {
            decoded = Some(peer::decode(&frame));
            Ok::<(), FrameError>(())
        };
        reader.feed(black_box(&frame), PEER_FRAME_BYTES_MAX, took).expect("a sound frame");
        assert!(matches!(decoded, Some(Ok(PeerMessage::Paxos(_)))), "one whole message");
    };
    group.bench_function(format!("check and decode {name}"), |b| b.iter(&mut receive));
    receive();
    assert_eq!(decoded, Some(Ok(message.clone())), "as it went in");
}

fn values(c: &mut Criterion) {
    let mut group = c.benchmark_group("value");
    for bytes in [128, 256 << 10] {
        let content = vec![1; bytes];
        let hash = Value::copy_of(&content).hash();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("copy and hash {bytes} bytes"), |b| {
            b.iter(|| {
                let mut draft = Draft::with_capacity(bytes);
                draft.extend(&content);
                assert_eq!(draft.finish().hash(), hash, "the same value");
            });
        });
    }
}

fn applying(c: &mut Criterion) {
    let mut group = c.benchmark_group("namespace");
    let (mut namespace, session) = namespace();
    let mut number = NODES;
    let mut applied = Applied::default();
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("apply a batch of 100 sets of 1 KiB", |b| {
        b.iter_batched(
            || {
                let mut gathering = Gathering::default();
                for _ in 0..BATCH {
                    number += 1;
                    let operation = set(number % NODES);
                    gathering.put(&Command::Request { session, number, acked_upto: number - 1, operation });
                }
                batch(&mut gathering)
            },
            |batch| {
                applied.clear();
                namespace.apply(&batch, &mut applied);
                assert_eq!(applied.outcomes.len() as u64, BATCH, "every command has its outcome");
            },
            BatchSize::PerIteration,
        );
    });
    let read = Read::Get { path: "/node-500".to_owned() };
    let who = Principals::default();
    group.throughput(Throughput::Elements(1));
    group.bench_function("get", |b| {
        b.iter(|| {
            let found = answer_from(&Gate::new(namespace.tree(), &who), read.as_ref(), None);
            assert!(matches!(found, Ok(Ok(_))), "the node is there");
        });
    });
}

criterion_group!(benches, frames, peers, values, applying);
criterion_main!(benches);
