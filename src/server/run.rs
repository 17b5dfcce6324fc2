//! Running a replica: listeners, loops, threads.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::clients::Clients;
use super::config::Config;
use super::core::Core;
use super::failure::{Code, Failure};
use super::folder::random_u128;
use super::many::{FrontCore, FrontEnd, ReplicaCore};
use super::published::Published;
use super::solo::Solo;
use super::start::{Started, start};
use super::stop::Stop;
use crate::front::Facts;
use crate::limits::MESH_CAPACITY;
use crate::paxos::ReplicaId;
use crate::runtime::background::Background;
use crate::runtime::mesh::{self, Receiver, Sender};
use crate::runtime::{self, Ring};
use crate::replica::exchange::{FrontNotice, FrontRequest};
use crate::wire::client::MemberAddress;

/// Runs the replica in `folder` until SIGTERM or SIGINT, or until it fails. What it is and where it listens is said at the
/// start, as diagnostics.
///
/// # Errors
///
/// A [`Failure`] that says what is wrong and how it is mended. A failing disk is one: it is never retried.
pub fn run(config: &Config, folder: &Path) -> Result<(), Failure> {
    let cores = &config.server.cores;
    if let Some(core) = cores.first() {
        pin(*core)?;
    }
    let mut ring = new_ring()?;
    let background = Background::start(ring.waker())
        .map_err(|error| Failure::new(Code::LoopFailed, "cannot start a thread").found(error.to_string()))?;
    let fronts = cores.len().saturating_sub(1).max(1);
    let started = start(config, folder, background, fronts as u8)?;
    let me = started.identity.replica;
    let section = *config.replica(me).expect("the start has checked that the configuration has it");
    let waker = ring.waker();
    let stop = Stop::on_signals(move || waker.wake())?;
    introduce(config, folder, &started);
    let (peer_listener, peer_address) = listen(&mut ring, section.peer, false)?;
    tracing::info!("listening on {peer_address} for peers");
    if cores.len() < 2 {
        let (client_listener, client_address) = listen(&mut ring, section.client, false)?;
        tracing::info!("listening on {client_address} for clients");
        let core = Core::new(config, started, &mut ring)?;
        let clients = Clients::new(facts(config, me));
        return Solo { core, clients, peer_listener, client_listener, stop }.run(&mut ring);
    }
    let published = Arc::new(Published::default());
    let mut ends = Vec::new();
    for core in &cores[1..] {
        let tree = started.replica.tree().twin(random_u128() as u64);
        ends.push(start_front(config, me, *core, section.client, tree, &ring, &published)?);
    }
    tracing::info!("listening on {} for clients, on {} cores", section.client, ends.len());
    let core = Core::new(config, started, &mut ring)?;
    ReplicaCore { core, fronts: ends, published, stop }.run(&mut ring)
}

/// What a front's thread is given, and gives back once it listens.
struct FrontStart {
    clients: Clients,
    tree: crate::namespace::Tree,
    core: usize,
    address: SocketAddr,
    published: Arc<Published>,
    requests: Sender<FrontRequest>,
}

fn start_front(
    config: &Config,
    me: ReplicaId,
    core: usize,
    address: SocketAddr,
    tree: crate::namespace::Tree,
    replica_ring: &Ring,
    published: &Arc<Published>,
) -> Result<FrontEnd, Failure> {
    let (requests, requested) = mesh::ring(MESH_CAPACITY, replica_ring.waker());
    let clients = Clients::new(facts(config, me));
    let given = FrontStart { clients, tree, core, address, published: Arc::clone(published), requests };
    let (listening, when_listening) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("front-{core}"))
        .spawn(move || run_front(given, &listening))
        .map_err(|error| Failure::new(Code::LoopFailed, "cannot start a thread").found(error.to_string()))?;
    match when_listening.recv() {
        Ok(notices) => Ok(FrontEnd { requests: requested, notices, waiting: VecDeque::new(), thread }),
        Err(_) => Err(thread.join().expect("a front's thread does not panic").expect_err("a front that serves says so")),
    }
}

/// A front's thread. Its ring is made here, because only the thread that made it may use it.
fn run_front(given: FrontStart, listening: &std::sync::mpsc::Sender<Sender<FrontNotice>>) -> Result<(), Failure> {
    let FrontStart { clients, tree, core, address, published, requests } = given;
    pin(core)?;
    let mut ring = new_ring()?;
    listen(&mut ring, address, true)?;
    let (notices, noticed): (_, Receiver<FrontNotice>) = mesh::ring(MESH_CAPACITY, ring.waker());
    if listening.send(notices).is_err() {
        return Ok(());
    }
    FrontCore::new(clients, tree, requests, noticed, published).run(&mut ring)
}

fn facts(config: &Config, me: ReplicaId) -> Facts {
    let members = config.replicas.iter().map(|r| MemberAddress { replica: r.id, address: r.client.to_string() }).collect();
    Facts {
        cell: config.cell.id,
        replica: me,
        members,
        timeout_min: config.session.timeout_min.0,
        timeout_max: config.session.timeout_max.0,
        seed: random_u128() as u64,
    }
}

fn introduce(config: &Config, folder: &Path, started: &Started) {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let identity = started.identity;
    tracing::info!(
        "quorate {}, replica {} of {}, cell {}, incarnation {}, folder {}, Linux {}, cores {:?}",
        env!("CARGO_PKG_VERSION"),
        identity.replica,
        config.replicas.len(),
        identity.cell,
        identity.incarnation,
        folder.display(),
        kernel.trim(),
        config.server.cores,
    );
}

fn new_ring() -> Result<Ring, Failure> {
    Ring::new(runtime::Options::default()).map_err(|error| {
        Failure::new(Code::RingUnavailable, "no io_uring for this thread")
            .found(error.to_string())
            .needed("Linux 6.1 or newer, kernel.io_uring_disabled = 0, and a system call filter that lets it through")
            .why("sockets and the journal are driven by it, and by nothing else")
            .fix("sysctl kernel.io_uring_disabled=0; in a container, allow io_uring_setup, _enter and _register")
    })
}

fn pin(core: usize) -> Result<(), Failure> {
    runtime::core::pin(core).map_err(|there| {
        Failure::new(Code::CoreUnavailable, format!("cannot run on core {core}"))
            .found(format!("cores {there:?}"))
            .fix("name some of these in server.cores, or none to run unpinned")
    })
}

fn listen(ring: &mut Ring, address: SocketAddr, shared: bool) -> Result<(runtime::ListenerId, SocketAddr), Failure> {
    ring.listen(address, shared).map_err(|error| {
        Failure::new(Code::ListenFailed, format!("cannot listen on {address}"))
            .found(error.to_string())
            .fix("end what listens there, or change the address in the configuration of every replica")
    })
}
