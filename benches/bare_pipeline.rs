//! The bare replicated pipeline: what this host allows, with nothing of Quorate but its runtime and its frames.
//!
//! A leader and two followers, processes of their own, as the cell's replicas are. Commands come over so many
//! connections; what has gathered is one batch, written around the page cache and made durable while both followers do
//! the same; it is answered once two of the three have it. No state machine, no sessions, no journal format, no election:
//! whatever the whole system costs beyond this is ours to explain.
//!
//! ```text
//! cargo bench --bench bare_pipeline -- [--seconds 10] [--warmup 3] [--shapes 1x1,16x4] [--sizes 128,1024]
//!                                      [--repeat 3] [--dir FOLDER] [--no-pin] [--json]
//! ```
//!
//! Without `--bench`, as `cargo test` runs it, it shows in a moment that it works.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hdrhistogram::Histogram;
use quorate::bench::Meter;
use quorate::runtime::clock::now;
use quorate::runtime::disk::{Access, AlignedBuffer, open_direct};
use quorate::runtime::{ConnectionId, Event, FileId, Options, Ring, cores};
use quorate::time::Instant;
use quorate::wire::frame::{self, CLIENT_MAGIC, FrameError, FrameReader, PEER_MAGIC};

/// The allocator of the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BLOCK: usize = 4096;

/// The file each replica writes round and round: every block was written before, as a journal's is.
const FILE_BYTES: u64 = 64 << 20;

/// The largest batch, and the largest frame.
const BATCH_BYTES_MAX: usize = 4 << 20;
const FRAME_BYTES_MAX: usize = BATCH_BYTES_MAX + BLOCK;

/// Batches that may be under way at once.
const UNDER_WAY_MAX: usize = 2;

const COMMAND: u8 = 1;
const ANSWER: u8 = 2;
const BATCH: u8 = 3;
const DURABLE: u8 = 4;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let of = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    if let Some(role) = of("--role") {
        // Whoever started this process is gone as soon as it is.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).expect("it can be asked");
        let folder = PathBuf::from(of("--folder").expect("a replica has a folder"));
        let followers: Vec<SocketAddr> = of("--followers")
            .map(|list| list.split(',').map(|address| address.parse().expect("an address")).collect())
            .unwrap_or_default();
        if let Some(core) = of("--core") {
            cores::pin(core.parse().expect("a core")).expect("the core exists");
        }
        return if role == "leader" { Leader::run(&folder, &followers) } else { Follower::run(&folder) };
    }
    let measured = args.iter().any(|arg| arg == "--bench");
    let number = |name: &str, full: f64, moment: f64| {
        of(name).map_or(if measured { full } else { moment }, |text| text.parse().expect("a number"))
    };
    let list = |name: &str, full: &str, moment: &str| {
        let text = of(name).unwrap_or_else(|| if measured { full.into() } else { moment.into() });
        text.split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    let settings = Settings {
        seconds: number("--seconds", 10.0, 0.2),
        warmup: number("--warmup", 3.0, 0.05),
        repeat: number("--repeat", 3.0, 1.0) as usize,
        pin: measured && cores::allowed().len() > 1 && !args.iter().any(|arg| arg == "--no-pin"),
        json: args.iter().any(|arg| arg == "--json"),
        folder: of("--dir").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from),
    };
    let shapes = list("--shapes", "1x1,16x1,16x4,32x8,64x16", "4x4");
    let sizes = list("--sizes", "128,1024", "128,1024");
    settings.headline();
    for size in sizes.iter().map(|size| size.parse().expect("a size in bytes")) {
        for shape in &shapes {
            let (connections, depth) = shape.split_once('x').expect("connections x depth");
            settings.measure(connections.parse().expect("a number"), depth.parse().expect("a number"), size);
        }
    }
}

struct Settings {
    seconds: f64,
    warmup: f64,
    repeat: usize,
    pin: bool,
    json: bool,
    folder: PathBuf,
}

/// What one run came to.
struct Figures {
    per_s: f64,
    latencies: Histogram<u64>,
    leader_cpu_s_per_million: f64,
    followers_cpu_s_per_million: f64,
}

impl Settings {
    fn headline(&self) {
        if !self.json {
            let place = if self.pin { "leader on core 0, the rest on core 1" } else { "not pinned" };
            println!("bare pipeline, {} s after {} s, median of {}, {place}", self.seconds, self.warmup, self.repeat);
            println!(
                "{:>6} {:>8} {:>11} {:>11} {:>9} {:>9} {:>22} {:>10}",
                "bytes", "shape", "outstanding", "ops/s", "p50 us", "p99 us", "leader CPU-s / million", "followers"
            );
        }
    }

    /// Measures one shape `repeat` times, each with fresh processes, and prints the median.
    fn measure(&self, connections: usize, depth: usize, bytes: usize) {
        let mut runs: Vec<Figures> = (0..self.repeat).map(|_| self.run(connections, depth, bytes)).collect();
        runs.sort_by(|a, b| a.per_s.total_cmp(&b.per_s));
        let Figures { per_s, leader_cpu_s_per_million, followers_cpu_s_per_million, .. } = runs[runs.len() / 2];
        let mut all = runs[0].latencies.clone();
        runs[1..].iter().for_each(|run| all.add(&run.latencies).expect("the bounds are the same"));
        let (p50, p99) = (all.value_at_quantile(0.5) as f64 / 1e3, all.value_at_quantile(0.99) as f64 / 1e3);
        let outstanding = connections * depth;
        if self.json {
            println!(
                "{{\"bytes\":{bytes},\"connections\":{connections},\"depth\":{depth},\"ops_per_s\":{per_s:.0},\"p50_us\":{p50:.1},\
                 \"p99_us\":{p99:.1},\"leader_cpu_s_per_million\":{leader_cpu_s_per_million:.3},\
                 \"followers_cpu_s_per_million\":{followers_cpu_s_per_million:.3},\"pinned\":{}}}",
                self.pin
            );
        } else {
            println!(
                "{bytes:>6} {:>8} {outstanding:>11} {per_s:>11.0} {p50:>9.0} {p99:>9.0} {leader_cpu_s_per_million:>22.2} \
                 {followers_cpu_s_per_million:>10.2}",
                format!("{connections}x{depth}")
            );
        }
    }

    fn run(&self, connections: usize, depth: usize, bytes: usize) -> Figures {
        let folder = tempfile::tempdir_in(&self.folder).expect("a folder on a real disk");
        let followers: Vec<Replica> =
            ["follower-1", "follower-2"].iter().map(|name| self.start(folder.path(), name, 1, &[])).collect();
        let addresses: Vec<String> = followers.iter().map(|follower| follower.address.to_string()).collect();
        let leader = self.start(folder.path(), "leader", 0, &["--followers", &addresses.join(",")]);
        if self.pin {
            cores::pin(1).expect("the core exists");
        }
        let pids: Vec<u32> = std::iter::once(&leader).chain(&followers).map(|replica| replica.process.id()).collect();
        let mut load = Load::connect(leader.address, connections, depth, bytes);
        load.run(self.warmup);
        load.latencies.reset();
        let meter = Meter::start(&pids);
        let began = now();
        load.run(self.seconds);
        let seconds = now().since(began).as_nanos() as f64 / 1e9;
        let cost = meter.read();
        let count = load.latencies.len();
        assert!(count > 0, "commands were answered");
        let million = count as f64 / 1e6;
        Figures {
            per_s: count as f64 / seconds,
            latencies: load.latencies.clone(),
            leader_cpu_s_per_million: cost.servers_cpu_s[0] / million,
            followers_cpu_s_per_million: cost.servers_cpu_s[1..].iter().sum::<f64>() / million,
        }
    }

    fn start(&self, folder: &Path, name: &str, core: usize, more: &[&str]) -> Replica {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).expect("a folder of its own");
        let mut command = Command::new(std::env::current_exe().expect("this program is a file"));
        command.args(["--role", name, "--folder"]).arg(&folder).args(more).stdout(Stdio::piped());
        if self.pin {
            command.args(["--core", &core.to_string()]);
        }
        let mut process = command.spawn().expect("this program can be started");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it was piped")).read_line(&mut line).expect("it says where it is");
        Replica { process, address: line.trim().parse().expect("an address") }
    }
}

/// A process that ends with its handle.
struct Replica {
    process: Child,
    address: SocketAddr,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

/// Keeps `depth` commands under way on each connection.
struct Load {
    ring: Ring,
    connections: BTreeMap<ConnectionId, (usize, FrameReader)>,
    ids: Vec<ConnectionId>,
    depth: usize,
    command: Vec<u8>,
    begun: Vec<Instant>,
    latencies: Histogram<u64>,
    started: bool,
}

impl Load {
    fn connect(leader: SocketAddr, connections: usize, depth: usize, bytes: usize) -> Self {
        let mut ring = Ring::new(Options::default()).expect("a ring");
        let ids: Vec<_> = (0..connections).map(|_| ring.connect(leader).expect("a socket")).collect();
        let of = |(index, id): (usize, &ConnectionId)| (*id, (index, FrameReader::new(CLIENT_MAGIC)));
        Self {
            connections: ids.iter().enumerate().map(of).collect(),
            ring,
            ids,
            depth,
            command: (0..bytes).map(|at| at as u8).collect(),
            begun: vec![Instant::ZERO; connections * depth],
            latencies: Histogram::new_with_bounds(1_000, 120_000_000_000, 3).expect("the bounds are in order"),
            started: false,
        }
    }

    fn run(&mut self, seconds: f64) {
        let until = now() + std::time::Duration::from_secs_f64(seconds).into();
        if !std::mem::replace(&mut self.started, true) {
            for index in 0..self.ids.len() {
                let mut out = BytesMut::new();
                for slot in index * self.depth..(index + 1) * self.depth {
                    self.begun[slot] = now();
                    frame::append(&mut out, CLIENT_MAGIC, COMMAND, slot as u64, |out| out.put_slice(&self.command));
                }
                self.ring.send(self.ids[index], out.freeze());
            }
        }
        let Self { ring, connections, command, begun, latencies, .. } = self;
        while now() < until {
            let handler = &mut |ring: &mut Ring, event: Event<'_>| match event {
                Event::Received { connection, bytes } => {
                    let (_, reader) = connections.get_mut(&connection).expect("one of ours");
                    let (now, mut out) = (now(), BytesMut::new());
                    let answered = |frame: frame::Frame<'_>| {
                        assert_eq!(frame.kind, ANSWER, "commands are answered");
                        latencies.saturating_record(now.since(begun[frame.number as usize]).as_nanos());
                        begun[frame.number as usize] = now;
                        frame::append(&mut out, CLIENT_MAGIC, COMMAND, frame.number, |out| out.put_slice(command));
                        Ok::<(), FrameError>(())
                    };
                    reader.feed(bytes, FRAME_BYTES_MAX, answered).expect("frames");
                    ring.send(connection, out.freeze());
                }
                Event::Connected { .. } | Event::Drained { .. } | Event::Woken => {}
                other => panic!("the leader serves: {other:?}"),
            };
            ring.turn(Some(until), handler).expect("the ring turns");
        }
    }
}

/// The file batches are made durable in.
struct Log {
    file: FileId,
    at: u64,
}

impl Log {
    fn open(ring: &mut Ring, folder: &Path) -> Self {
        let path = folder.join("log");
        let file = File::create(&path).expect("a file");
        let zeros = AlignedBuffer::zeroed(1 << 20);
        (0..FILE_BYTES >> 20).for_each(|mib| file.write_all_at(&zeros, mib << 20).expect("room on the disk"));
        file.sync_all().expect("a flush");
        let (file, _) = open_direct(&path, Access::ReadWrite).expect("direct writes");
        Self { file: ring.register_file(file).expect("a place for it"), at: 0 }
    }

    /// Makes a batch, which is whole blocks, durable.
    fn write(&mut self, ring: &mut Ring, number: u64, batch: Bytes) {
        if self.at + batch.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        let offset = self.at;
        self.at += batch.len() as u64;
        ring.write_durable(self.file, offset, vec![batch], number);
    }
}

/// Memory that starts on a block, with room for a batch.
fn aligned(capacity: usize) -> BytesMut {
    let mut memory = BytesMut::with_capacity(capacity + 2 * BLOCK);
    let gap = memory.spare_capacity_mut().as_ptr().cast::<u8>().align_offset(BLOCK);
    memory.put_bytes(0, gap);
    memory.advance(gap);
    memory
}

fn padded(mut batch: BytesMut) -> Bytes {
    batch.put_bytes(0, batch.len().next_multiple_of(BLOCK) - batch.len());
    batch.freeze()
}

fn say_where(address: SocketAddr) {
    println!("{address}");
    std::io::stdout().flush().expect("whoever started this process listens");
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

struct Follower {
    log: Log,
    reader: FrameReader,
    leader: Option<ConnectionId>,
    /// Batches being made durable, oldest first, and whether each is.
    writing: VecDeque<(u64, bool)>,
}

impl Follower {
    fn run(folder: &Path) {
        let mut ring = Ring::new(Options::default()).expect("a ring");
        let log = Log::open(&mut ring, folder);
        let (_, address) = ring.listen(LOOPBACK, false).expect("a port");
        say_where(address);
        let mut this = Self { log, reader: FrameReader::new(PEER_MAGIC), leader: None, writing: VecDeque::new() };
        loop {
            ring.turn(None, &mut |ring, event| this.handle(ring, event)).expect("the ring turns");
        }
    }

    fn handle(&mut self, ring: &mut Ring, event: Event<'_>) {
        match event {
            Event::Accepted { connection, .. } => self.leader = Some(connection),
            Event::Received { bytes, .. } => {
                let Self { log, reader, writing, .. } = self;
                let batch = |frame: frame::Frame<'_>| {
                    assert_eq!(frame.kind, BATCH, "the leader sends batches");
                    let mut memory = aligned(frame.body.len());
                    memory.put_slice(frame.body);
                    writing.push_back((frame.number, false));
                    log.write(ring, frame.number, padded(memory));
                    Ok::<(), FrameError>(())
                };
                reader.feed(bytes, FRAME_BYTES_MAX, batch).expect("frames");
            }
            Event::Written { token, result } => {
                result.expect("the disk writes");
                let entry = self.writing.iter_mut().find(|(number, _)| *number == token).expect("it was under way");
                entry.1 = true;
                // Only the whole prefix is told: what is durable behind a hole is not.
                let mut upto = None;
                while let Some((number, true)) = self.writing.front() {
                    upto = Some(*number);
                    self.writing.pop_front();
                }
                if let (Some(upto), Some(leader)) = (upto, self.leader) {
                    let mut out = BytesMut::new();
                    frame::append(&mut out, PEER_MAGIC, DURABLE, upto, |_| ());
                    ring.send(leader, out.freeze());
                }
            }
            _ => {}
        }
    }
}

struct Leader {
    log: Log,
    clients: BTreeMap<ConnectionId, FrameReader>,
    followers: Vec<(ConnectionId, FrameReader)>,
    /// Up to where each has everything durably: this one, then the followers.
    durable: [u64; 3],
    own_done: Vec<u64>,
    /// Commands that gather for the next batch, and who is to be answered.
    gathering: BytesMut,
    waiting: Vec<(ConnectionId, u64)>,
    /// Batches not yet answered, oldest first.
    under_way: VecDeque<Vec<(ConnectionId, u64)>>,
    /// The number of the oldest of them.
    oldest: u64,
    own_writes: usize,
}

impl Leader {
    fn run(folder: &Path, followers: &[SocketAddr]) {
        let mut ring = Ring::new(Options::default()).expect("a ring");
        let log = Log::open(&mut ring, folder);
        let connect = |address: &SocketAddr| (ring.connect(*address).expect("a socket"), FrameReader::new(PEER_MAGIC));
        let followers = followers.iter().map(connect).collect();
        let (_, address) = ring.listen(LOOPBACK, false).expect("a port");
        say_where(address);
        let mut this = Self {
            log,
            clients: BTreeMap::new(),
            followers,
            durable: [0; 3],
            own_done: Vec::new(),
            gathering: aligned(BATCH_BYTES_MAX),
            waiting: Vec::new(),
            under_way: VecDeque::new(),
            oldest: 1,
            own_writes: 0,
        };
        loop {
            ring.turn(None, &mut |ring, event| this.handle(ring, event)).expect("the ring turns");
            this.answer(&mut ring);
            this.begin_batch(&mut ring);
        }
    }

    fn handle(&mut self, _: &mut Ring, event: Event<'_>) {
        match event {
            Event::Accepted { connection, .. } => {
                self.clients.insert(connection, FrameReader::new(CLIENT_MAGIC));
            }
            Event::Received { connection, bytes } => {
                if let Some(at) = self.followers.iter().position(|(follower, _)| *follower == connection) {
                    let durable = &mut self.durable[at + 1];
                    let told = |frame: frame::Frame<'_>| {
                        *durable = frame.number;
                        Ok::<(), FrameError>(())
                    };
                    self.followers[at].1.feed(bytes, FRAME_BYTES_MAX, told).expect("frames");
                    return;
                }
                let Self { clients, gathering, waiting, .. } = self;
                let command = |frame: frame::Frame<'_>| {
                    assert!(
                        gathering.len() + frame.body.len() + 8 <= BATCH_BYTES_MAX,
                        "a batch holds what is outstanding"
                    );
                    gathering.put_u64_le(frame.body.len() as u64);
                    gathering.put_slice(frame.body);
                    waiting.push((connection, frame.number));
                    Ok::<(), FrameError>(())
                };
                clients.get_mut(&connection).expect("a client").feed(bytes, FRAME_BYTES_MAX, command).expect("frames");
            }
            Event::Written { token, result } => {
                result.expect("the disk writes");
                self.own_writes -= 1;
                self.own_done.push(token);
                while let Some(at) = self.own_done.iter().position(|done| *done == self.durable[0] + 1) {
                    self.own_done.swap_remove(at);
                    self.durable[0] += 1;
                }
            }
            Event::ConnectFailed { error, .. } => panic!("the followers serve: {error}"),
            _ => {}
        }
    }

    /// Answers every batch that two of the three have.
    fn answer(&mut self, ring: &mut Ring) {
        let mut sorted = self.durable;
        sorted.sort_unstable();
        let chosen = sorted[1];
        while self.oldest <= chosen {
            self.oldest += 1;
            let batch = self.under_way.pop_front().expect("what is chosen was under way");
            for run in batch.chunk_by(|a, b| a.0 == b.0) {
                let mut out = BytesMut::with_capacity(run.len() * frame::HEADER_BYTES);
                run.iter().for_each(|(_, number)| frame::append(&mut out, CLIENT_MAGIC, ANSWER, *number, |_| ()));
                ring.send(run[0].0, out.freeze());
            }
        }
    }

    fn begin_batch(&mut self, ring: &mut Ring) {
        if self.waiting.is_empty() || self.under_way.len() >= UNDER_WAY_MAX || self.own_writes >= UNDER_WAY_MAX {
            return;
        }
        let number = self.oldest + self.under_way.len() as u64;
        let batch = padded(std::mem::replace(&mut self.gathering, aligned(BATCH_BYTES_MAX)));
        let header = Bytes::copy_from_slice(&frame::header(PEER_MAGIC, BATCH, number, &[], (&batch, None)));
        for (follower, _) in &self.followers {
            ring.send(*follower, header.clone());
            ring.send(*follower, batch.clone());
        }
        self.log.write(ring, number, batch);
        self.own_writes += 1;
        self.under_way.push_back(std::mem::take(&mut self.waiting));
    }
}
