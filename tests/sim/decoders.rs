//! Decoders under bytes that nobody wrote: whatever comes, they answer, and take no more than they were given.
//!
//! The samples are what a run left: frames as they crossed the network, disks as they were at its end. Each is changed in
//! a few places and decoded again, half the time with its checksums made right: they would keep most changes from what lies
//! deeper. (What lies behind those of streams, frames and batches, is decoded by itself.) Who believes a length and makes room
//! for what did not come gets none and ends: all this happens in a process of its own, which is bound to little more than it
//! has. Now and then it says where it is ([`BATCH`]). A decoder that goes on for ever keeps it from that; then it is ended,
//! and what it said last tells which decoder it was, and the first input that it may have been.
//!
//! ```text
//! QUORATE_FUZZ_INPUTS=1000000 cargo test --test sim decoders     so many inputs to each decoder, 5,000 unless told
//! QUORATE_FUZZ_BASE=7 QUORATE_FUZZ_FIRST=3000 QUORATE_FUZZ_INPUTS=1000 ...    those from that number on, of that base
//! ```

use std::env::current_exe;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use quorate::journal::hard_state::{HardStateFile, STRIDE_BYTES};
use quorate::journal::record::Block;
use quorate::journal::segment::SegmentHead;
use quorate::limits::{BLOCK_BYTES, CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX, RECORD_HEADER_BYTES};
use quorate::namespace::codec::{Batch, OperationRef, ReadRef, decode_outcome, decode_read_outcome};
use quorate::paxos::{Config as Members, Value};
use quorate::replica::ImageReader;
use quorate::server::config::Config;
use quorate::wire::client::{ClientMessage, ServerMessage};
use quorate::wire::frame::{CLIENT_MAGIC, Frame, FrameError, FrameReader, PEER_MAGIC};
use quorate::wire::peer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::cuts::Cuts;
use super::node::CELL;
use super::number_of;
use super::run::{Samples, samples};
use super::world::Random;

/// Takes any bytes; true if they meant something.
type Decoder = fn(&[u8]) -> bool;

/// Makes the checksums right again, wherever they are in what was changed.
type Seal = fn(&mut [u8]);

#[test]
fn no_decoder_gives_way() {
    let said = alone("every_input_is_answered", SILENCE_MAX).unwrap_or_else(|why| panic!("{why}"));
    println!("{said}");
}

#[test]
fn whoever_goes_on_for_ever_is_ended_and_named() {
    let why = alone("an_input_is_never_answered", Duration::from_secs(1)).expect_err("it does not end by itself");
    assert!(why.contains("it was at: a decoder, from input 7 of base 3 on"), "{why}");
}

/// Has a test of this file run in a process of its own. Returns what that said; an error if it failed, or said nothing for
/// `patience` after it had said where it was: then it was ended.
fn alone(test: &str, patience: Duration) -> Result<String, String> {
    let mut alone = Command::new(current_exe().expect("it runs"));
    alone.arg(format!("decoders::{test}")).args(["--exact", "--ignored", "--nocapture"]).env(IS_ALONE, "1");
    // The allocator would take a gigabyte of addresses at first, in which any room could be made.
    alone.env("MIMALLOC_ARENA_RESERVE", "0");
    let mut child = alone.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let (out, mut err) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
    let (tell, lines) = mpsc::channel();
    let listener = std::thread::spawn(move || {
        // Whoever listened may have gone: then nobody wants the rest.
        BufReader::new(out).lines().map_while(Result::ok).take_while(|line| tell.send(line.clone()).is_ok()).count()
    });
    let complaints = std::thread::spawn(move || {
        let mut said = Vec::new();
        _ = err.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let (mut said, mut at, mut wait) = (String::new(), None, SILENCE_MAX);
    let is_silent = loop {
        match lines.recv_timeout(wait) {
            Ok(line) => match line.strip_prefix(AT) {
                Some(place) => (at, wait) = (Some(place.to_owned()), patience),
                None if line.is_empty() => {}
                None => said = said + &line + "\n",
            },
            Err(end) => break end == RecvTimeoutError::Timeout,
        }
    };
    if is_silent {
        child.kill().expect("a child may be ended");
    }
    let status = child.wait().expect("a child ends");
    listener.join().expect("it only listens");
    let complaints = complaints.join().expect("it only listens");
    let place = at.as_deref().unwrap_or("its samples");
    let ended = if is_silent { format!("it said nothing for {wait:?}, and was ended") } else { status.to_string() };
    if status.success() { Ok(said) } else { Err(format!("{ended}; it was at: {place}\n{said}{complaints}")) }
}

#[test]
#[ignore = "a test above has it run in a process of its own, and ends that"]
fn an_input_is_never_answered() {
    if std::env::var_os(IS_ALONE).is_none() {
        return;
    }
    is_at("decoder", 7, 3);
    loop {
        std::thread::park();
    }
}

/// Says, on a line of its own, where this process is.
fn is_at(decoder: &str, input: u64, base: u64) {
    // The harness may have begun a line.
    println!("\n{AT}a {decoder}, from input {input} of base {base} on");
}

#[test]
#[ignore = "a test above has it run in a process of its own"]
fn every_input_is_answered() {
    let Samples { client_bytes, peer_bytes, hard_states, segments, images, values } = samples(7..12, &Cuts::default());
    let client_bodies = bodies(CLIENT_MAGIC, &client_bytes);
    let peer_bodies = bodies(PEER_MAGIC, &peer_bytes);
    let blocks: Vec<Vec<u8>> = segments.iter().flat_map(|s| s.chunks(BLOCK_BYTES).map(<[u8]>::to_vec)).collect();
    let used: Vec<Vec<u8>> = blocks.into_iter().filter(|block| block.iter().any(|byte| *byte != 0)).collect();
    let outcomes = client_bodies.iter().filter_map(|body| outcome_in(body)).collect();
    let questions = client_bodies.iter().filter_map(|body| question_in(body)).collect();
    let answers = client_bodies.iter().filter_map(|body| answer_in(body)).collect();
    let short = images.iter().filter(|image| image.len() <= IMAGE_BYTES).cloned().collect();
    let decoders: [(&str, Decoder, Seal, Vec<Vec<u8>>); 14] = [
        ("client stream", |bytes| stream(CLIENT_MAGIC, CLIENT_FRAME_BYTES_MAX, bytes), |_| (), client_bytes),
        ("peer stream", |bytes| stream(PEER_MAGIC, PEER_FRAME_BYTES_MAX, bytes), |_| (), peer_bytes),
        ("client frame", client_frame, |_| (), client_bodies),
        ("peer frame", peer_frame, |_| (), peer_bodies),
        ("batch", batch, |_| (), values.clone()),
        ("member list", |bytes| Members::from_value(&Value::copy_of(bytes)).is_some(), |_| (), values),
        ("outcome", |bytes| decode_outcome(bytes).is_ok(), |_| (), outcomes),
        ("question", |bytes| ReadRef::decode(bytes).is_ok(), |_| (), questions),
        ("answer", |bytes| decode_read_outcome(bytes).is_ok(), |_| (), answers),
        ("journal block", block, |bytes| seal_at(bytes, RECORD_HEADER_BYTES - 4), used.clone()),
        ("segment head", segment_head, |bytes| seal_at(bytes, SEGMENT_SUM_AT), used),
        ("hard state", |bytes| HardStateFile::open(CELL, bytes).is_ok(), seal_copies, hard_states),
        ("image", image, seal_pieces, short),
        ("configuration", configuration, |_| (), vec![CONFIGURATION.as_bytes().to_vec()]),
    ];
    let inputs = number_of("QUORATE_FUZZ_INPUTS").unwrap_or(5_000);
    let base = number_of("QUORATE_FUZZ_BASE").unwrap_or(1);
    let first = number_of("QUORATE_FUZZ_FIRST").unwrap_or(0);
    let most = size_of_process() + ROOM_BYTES;
    setrlimit(Resource::As, Rlimit { current: Some(most), ..getrlimit(Resource::As) }).expect("it takes less");
    let too_much = Vec::<u8>::new().try_reserve_exact(2 * ROOM_BYTES as usize);
    assert!(too_much.is_err(), "who makes room for what did not come is to get none");
    println!("{inputs} inputs to each of {} decoders", decoders.len());
    for (name, decoder, seal, samples) in decoders {
        assert!(!samples.is_empty(), "there are samples of a {name}");
        let sound = samples.iter().filter(|sample| decoder(sample)).count();
        let mut meant = 0;
        for input in first..first + inputs {
            if (input - first).is_multiple_of(BATCH) {
                is_at(name, input, base);
            }
            // Each by itself: one is made again without those before it.
            let mut random = Random::new(base << 32 | input);
            let mut bytes = changed(&mut random, &samples);
            if random.below(2) == 0 {
                seal(&mut bytes);
            }
            meant += u64::from(decoder(&bytes));
        }
        println!("{name}: {} samples, {sound} sound; {inputs} inputs, {meant} meant something", samples.len());
        assert!(sound > 0, "the samples of a {name} are decoded as they are");
    }
}

/// The addresses that this process takes, in bytes.
fn size_of_process() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process may look at itself");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB"));
    size.and_then(|size| size.parse::<u64>().ok()).expect("its size is told") << 10
}

/// The CRC-32 of all before it.
fn seal_at(bytes: &mut [u8], at: usize) {
    if let Some((before, sum)) = bytes.split_at_mut_checked(at)
        && let Some(sum) = sum.first_chunk_mut()
    {
        *sum = crc32fast::hash(before).to_le_bytes();
    }
}

fn seal_copies(bytes: &mut [u8]) {
    for copy in bytes.chunks_mut(STRIDE_BYTES) {
        let block = copy.len().min(BLOCK_BYTES);
        seal_at(&mut copy[..block], BLOCK_BYTES - 4);
    }
}

/// Each piece's sum is of what stands before it in the piece, and of what it says to come after; the end has the hash of
/// the pieces before it as well.
fn seal_pieces(mut bytes: &mut [u8]) {
    let mut before = blake3::Hasher::new();
    while let Some((head, rest)) = bytes.split_first_chunk_mut::<12>() {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some((body, after)) = rest.split_at_mut_checked(length) else { return };
        if head[0] == IMAGE_END
            && let Some(hash) = body.last_chunk_mut()
        {
            *hash = *before.finalize().as_bytes();
        }
        let sum = crc32fast::hash(&[&head[..8], body].concat());
        head[8..].copy_from_slice(&sum.to_le_bytes());
        before.update(&head[..]).update(body);
        bytes = after;
    }
}

/// A sample with a few changes: bytes flipped, set, taken out, doubled, or the end of another sample.
fn changed(random: &mut Random, samples: &[Vec<u8>]) -> Vec<u8> {
    let pick = |random: &mut Random| &samples[random.below(samples.len() as u64) as usize];
    let mut bytes = pick(random).clone();
    for _ in 0..random.within(1, 4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            2 => bytes.truncate(at),
            3 => {
                let upto = (at + random.below(16) as usize).min(bytes.len());
                bytes.drain(at..upto);
            }
            4 => {
                let doubled: Vec<u8> = bytes[at..].iter().take(random.below(32) as usize).copied().collect();
                bytes.splice(at..at, doubled);
            }
            5 => {
                let other = pick(random);
                let from = random.below(other.len() as u64 + 1) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            // A length, as a decoder may believe it.
            _ => {
                let length = random.pick(&[u32::MAX, 1 << 31, 1 << 20, bytes.len() as u32, 0]).to_le_bytes();
                bytes.iter_mut().skip(at).zip(length).for_each(|(byte, new)| *byte = new);
            }
        }
    }
    bytes
}

/// Whole frames of a stream, without their headers: kind, number, body.
fn bodies(magic: u16, streams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for bytes in streams {
        let mut take = |frame: Frame<'_>| {
            bodies.push([&[frame.kind], frame.body].concat());
            Ok::<(), FrameError>(())
        };
        _ = FrameReader::new(magic).feed(bytes, PEER_FRAME_BYTES_MAX, &mut take);
    }
    bodies
}

fn stream(magic: u16, max: usize, bytes: &[u8]) -> bool {
    let mut frames = 0;
    let mut reader = FrameReader::new(magic);
    let fed = reader.feed(bytes, max, |frame| {
        frames += 1;
        assert!(frame.body.len() <= bytes.len(), "a frame is no longer than what came");
        Ok::<(), FrameError>(())
    });
    assert!(reader.buffered() <= bytes.len(), "no more is kept than came");
    fed.is_ok() && frames > 0
}

fn framed(bytes: &[u8]) -> Option<Frame<'_>> {
    let (kind, body) = bytes.split_first()?;
    Some(Frame::of(*kind, 1, body))
}

fn client_frame(bytes: &[u8]) -> bool {
    let Some(frame) = framed(bytes) else { return false };
    let asked = ClientMessage::decode(frame);
    if let Ok(ClientMessage::Request { operation, .. }) = &asked {
        return OperationRef::decode(operation).is_ok();
    }
    asked.is_ok() || framed(bytes).is_some_and(|frame| ServerMessage::decode(frame).is_ok())
}

fn outcome_in(body: &[u8]) -> Option<Vec<u8>> {
    match ServerMessage::decode(framed(body)?) {
        Ok(ServerMessage::Reply { outcome, .. }) => Some(outcome.to_vec()),
        _ => None,
    }
}

fn question_in(body: &[u8]) -> Option<Vec<u8>> {
    match ClientMessage::decode(framed(body)?) {
        Ok(ClientMessage::Read { read, .. }) => Some(read.to_vec()),
        _ => None,
    }
}

fn answer_in(body: &[u8]) -> Option<Vec<u8>> {
    match ServerMessage::decode(framed(body)?) {
        Ok(ServerMessage::ReadReply { answer, .. }) => Some(answer.to_vec()),
        _ => None,
    }
}

fn peer_frame(bytes: &[u8]) -> bool {
    let Some(frame) = framed(bytes) else { return false };
    peer::decode_hello(&frame).is_ok_and(|hello| hello.is_some()) || peer::decode(&frame).is_ok()
}

fn batch(bytes: &[u8]) -> bool {
    let body = bytes.get(1..).unwrap_or_default();
    Batch::decode(body).is_ok_and(|batch| batch.into_iter().all(|command| command.is_ok()))
}

fn block(bytes: &[u8]) -> bool {
    matches!(Block::decode(bytes), Block::Head(..))
}

fn segment_head(bytes: &[u8]) -> bool {
    matches!(SegmentHead::decode(bytes), SegmentHead::Known { .. })
}

fn image(bytes: &[u8]) -> bool {
    let mut reader = ImageReader::new(1);
    reader.add(bytes).is_ok_and(|()| reader.finish(CELL).is_ok())
}

fn configuration(bytes: &[u8]) -> bool {
    Config::parse(&String::from_utf8_lossy(bytes), "the test", &[]).is_ok()
}

/// What decoders may take beside what the process has: many times the longest input, and less than the lengths that are tried.
const ROOM_BYTES: u64 = 64 << 20;

/// Set in the environment of a process that was started for one test.
const IS_ALONE: &str = "QUORATE_FUZZ_ALONE";

/// What a line begins with that says where the process is.
const AT: &str = "at: ";

/// Inputs after which it says so.
const BATCH: u64 = 1000;

/// No batch takes so long, nor do the samples, by far: a slow build on a busy machine needs seconds.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// Where a segment's head has its sum.
const SEGMENT_SUM_AT: usize = 60;

/// The kind of an image's last piece.
const IMAGE_END: u8 = 3;

/// Longer images are left out: nearly all of their rows would stay as they are.
const IMAGE_BYTES: usize = 64 << 10;

const CONFIGURATION: &str = r#"
[cell]
id = "5d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11"

[[replica]]
id = 1
client = "10.0.0.1:7400"
peer = "10.0.0.1:7401"

[[replica]]
id = 2
client = "10.0.0.2:7400"
peer = "10.0.0.2:7401"

[paxos]
lease = "250ms"
heartbeat = "25ms"
"#;
