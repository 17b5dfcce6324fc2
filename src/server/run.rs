//! Running a replica: listeners, loops, threads.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};

use super::clients::Clients;
use super::config::{Address, Config, Durability, ServerSection, Size};
use super::core::{Core, Ended};
use super::failure::{Code, Failure};
use super::folder::random_u128;
use super::many::{FrontCore, FrontEnd, Heart, ReplicaCore};
use super::measured::{Measured, Method};
use super::published::Published;
use super::service::{Pulse, Service};
use super::solo::Solo;
use super::start::{Started, start};
use super::stop::Stop;
use crate::front::Facts;
use crate::limits::{LINK_PLACES, MESH_CAPACITY, WATCH_PAST_BYTES_MAX};
use crate::paxos::ReplicaId;
use crate::replica::exchange::{FrontNotice, FrontRequest};
use crate::runtime::background::{Background, LOCKED_BYTES};
use crate::runtime::mesh::{self, Receiver, Sender};
use crate::runtime::{self, Ring, SetupError, Waker, clock, cores};
use crate::time::Duration;
use crate::wire::client::MemberAddress;

/// Runs the replica in `folder` until SIGTERM or SIGINT, or until it fails. What it is and where it listens is said at the
/// start, as diagnostics.
///
/// # Errors
///
/// A [`Failure`] that says what is wrong and how it is mended. A failing disk is one: it is never retried.
pub fn run(config: &Config, folder: &Path) -> Result<Ended, Failure> {
    let cores = &config.server.cores;
    let mut service = Service::from_environment();
    // Every segment is registered as long as it is there, and the hard state beside them. Those that are there may be of
    // another size than those to come: they take places, and hardly any of the room that `journal.max` allows.
    let there = std::fs::read_dir(folder).map_or(0, |entries| entries.count() as u64);
    let files = config.journal.max.0 / config.journal.segment.0 + there + 8;
    let durability = durability(config, folder)?;
    let spin = spin(config)?;
    let mut ring = new_ring(u32::try_from(files).unwrap_or(u32::MAX), durability, spin)?;
    let background = Background::start(None, ring.waker()).map_err(|error| no_background(&error))?;
    let fronts = cores.len().saturating_sub(1).max(1);
    let started = start(config, folder, background, &service, fronts as u8)?;
    let me = started.identity.replica;
    let section = config.replica(me).expect("the start has checked that the configuration has it");
    let waker = ring.waker();
    let stop = Stop::on_signals(move || waker.wake())?;
    introduce(config, folder, &started);
    let (peer_listener, peer_address) = listen(&mut ring, own(&section.peer)?, false)?;
    tracing::info!("listening on {peer_address} for peers");
    let client = own(&section.client)?;
    if cores.len() < 2 {
        pin_first(cores)?;
        let (client_listener, client_address) = listen(&mut ring, client, false)?;
        ring.leave_places(client_listener, LINK_PLACES);
        tracing::info!("listening on {client_address} for clients");
        let core = Core::new(config, started, service, &mut ring)?;
        let clients = Clients::new(facts(config, me));
        return Solo { core, clients, peer_listener, client_listener, stop }.run(&mut ring);
    }
    // The fronts share the address, and would share it with any other process of this user: nobody else may have it.
    let (alone, _) = listen(&mut ring, client, false)?;
    ring.stop_listening(alone);
    let published = Arc::new(Published::default());
    let mut ends = Vec::new();
    for core in &cores[1..] {
        let tree = started.replica.tree().twin(random_u128() as u64);
        let heart = Heart { pulse: Arc::new(Pulse::default()), every: service.pulse_every() };
        service.watch(Arc::clone(&heart.pulse));
        let given = FrontStart {
            spin,
            clients: Clients::new(facts(config, me)),
            tree,
            core: *core,
            address: client,
            published: Arc::clone(&published),
            replica: ring.waker(),
            heart,
        };
        ends.push(start_front(given)?);
    }
    tracing::info!("listening on {} for clients, on {} cores", section.client, ends.len());
    // Last, since threads inherit where their maker may run.
    pin_first(cores)?;
    let core = Core::new(config, started, service, &mut ring)?;
    ReplicaCore { core, fronts: ends, requests: Vec::new(), published, stop }.run(&mut ring)
}

/// What a front's thread is given, and gives back once it listens.
struct FrontStart {
    spin: Duration,
    clients: Clients,
    tree: crate::namespace::Tree,
    core: usize,
    address: SocketAddr,
    published: Arc<Published>,
    replica: Waker,
    heart: Heart,
}

fn start_front(given: FrontStart) -> Result<FrontEnd, Failure> {
    let (listening, when_listening) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("front-{}", given.core))
        .spawn(move || run_front(given, &listening))
        .map_err(|error| Failure::new(Code::LoopFailed, "cannot start a thread").found(error.to_string()))?;
    match when_listening.recv() {
        Ok((requests, notices)) => Ok(FrontEnd { requests, notices, waiting: VecDeque::new(), thread }),
        Err(_) => {
            Err(thread.join().expect("a front's thread does not panic").expect_err("a front that serves says so"))
        }
    }
}

/// The replica's ends of the rings to a front.
type Ends = (Receiver<FrontRequest>, Sender<FrontNotice>);

/// A front's thread. Its ring is made here, because only the thread that made it may use it.
fn run_front(given: FrontStart, listening: &mpsc::Sender<Ends>) -> Result<(), Failure> {
    let FrontStart { spin, clients, tree, core, address, published, replica, heart } = given;
    pin(core)?;
    let mut ring = new_ring(0, Method::Flush, spin)?;
    listen(&mut ring, address, true)?;
    heart.pulse.beat(clock::now());
    let (requests, requested) = mesh::channel(MESH_CAPACITY, replica.clone(), ring.waker());
    let (notices, noticed) = mesh::channel(MESH_CAPACITY, ring.waker(), replica);
    if listening.send((requested, notices)).is_err() {
        // Whoever started this thread is gone, and with it the replica.
        return Ok(());
    }
    FrontCore::new(clients, tree, requests, noticed, published, heart).run(&mut ring)
}

fn facts(config: &Config, me: ReplicaId) -> Facts {
    let members =
        config.replicas.iter().map(|r| MemberAddress { replica: r.id, address: r.advertised().to_string() }).collect();
    Facts {
        cell: config.cell.id,
        replica: me,
        members,
        timeout_min: config.session.timeout_min.0,
        timeout_max: config.session.timeout_max.0,
        seed: random_u128() as u64,
        past_bytes_max: WATCH_PAST_BYTES_MAX,
        super_user: config.acl.super_user.0.clone(),
        rate: config.throttle.rate(),
    }
}

fn no_background(error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::OutOfMemory {
        return Failure::new(
            Code::LockedMemory,
            "too little memory may be locked for the buffers of bulk reads and writes",
        )
        .found(error.to_string())
        .needed(format!("at least {}", Size(LOCKED_BYTES)))
        .why("registered buffers are pinned")
        .fix("LimitMEMLOCK=infinity in the unit, or: ulimit -l 8192");
    }
    Failure::new(Code::LoopFailed, "cannot start a thread").found(error.to_string())
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

fn new_ring(files: u32, durability: Method, spin: Duration) -> Result<Ring, Failure> {
    Ring::new(runtime::Options { files, durability: durability.into(), spin, ..runtime::Options::default() }).map_err(
        |error| {
            let code =
                if matches!(error, SetupError::OpenFiles { .. }) { Code::HostLimit } else { Code::RingUnavailable };
            Failure::new(code, error.to_string())
        },
    )
}

/// How long a loop watches for work before it sleeps. Whether that makes sense is seen here and not in the configuration:
/// the cores may be named by a flag, as hosts differ.
fn spin(config: &Config) -> Result<Duration, Failure> {
    let ServerSection { cores, spin } = &config.server;
    if spin.0 > Duration::ZERO && cores.is_empty() {
        return Err(Failure::new(
            Code::ConfigInvalid,
            "the loops are to watch for work on cores that are not their own",
        )
        .found(format!("server.spin = {spin}, server.cores = []"))
        .needed("cores for this replica alone")
        .why("a loop that watches takes its core from whatever else is to run there, the other loops included")
        .fix("name cores in [server] cores, or with --cores; or leave `spin` out"));
    }
    Ok(spin.0)
}

/// How the journal's writes become durable.
fn durability(config: &Config, folder: &Path) -> Result<Method, Failure> {
    let method = match config.journal.durability {
        Durability::Flush => Method::Flush,
        Durability::Synchronous => Method::Synchronous,
        Durability::Measured => Measured::read(folder)?.durability,
    };
    tracing::info!("writes are made durable by: {}", method.name());
    Ok(method)
}

fn pin_first(cores: &[usize]) -> Result<(), Failure> {
    cores.first().map_or(Ok(()), |core| pin(*core))
}

fn pin(core: usize) -> Result<(), Failure> {
    cores::pin(core).map_err(|error| Failure::new(Code::CoreUnavailable, error.to_string()))
}

/// What the name of an address to listen on stands for.
fn own(address: &Address) -> Result<SocketAddr, Failure> {
    let found = address.resolve().map_err(|error| {
        Failure::new(Code::ListenFailed, format!("cannot listen on {address}"))
            .found(error.to_string())
            .needed("a name that this host can look up, or an address in numbers")
            .why("the replica listens on the address its name stands for when it starts")
            .fix("write the address in numbers, or add the name to the DNS or to /etc/hosts of every replica")
    })?;
    if address.literal().is_none() && found[0].ip().is_loopback() {
        tracing::warn!("{address} leads to this host alone ({}): others cannot reach it there", found[0].ip());
    }
    Ok(found[0])
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when an address is free again")]
fn listen(ring: &mut Ring, address: SocketAddr, shared: bool) -> Result<(runtime::ListenerId, SocketAddr), Failure> {
    let until = clock::now() + LINGER_MAX;
    let listened = loop {
        match ring.listen(address, shared) {
            // The kernel takes a ring apart some time after its process was killed, and its sockets with it.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && clock::now() < until => {
                std::thread::sleep(LINGER_LOOK);
            }
            listened => break listened,
        }
    };
    listened.map_err(|error| {
        let failure = Failure::new(Code::ListenFailed, format!("cannot listen on {address}")).found(error.to_string());
        if error.kind() == std::io::ErrorKind::AddrNotAvailable {
            return failure
                .needed("an address of this host")
                .why("a replica listens where the configuration says that others find it")
                .fix("start it on the host that has the address, or correct the configuration of every replica");
        }
        failure.fix("end what listens there, or change the address in the configuration of every replica")
    })
}

/// For so long the sockets of a replica that was just killed may still be there.
const LINGER_MAX: Duration = Duration::from_secs(1);

const LINGER_LOOK: std::time::Duration = std::time::Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::Override;

    #[test]
    fn a_loop_watches_before_it_sleeps_where_the_configuration_says_so() {
        let text = "[cell]\nid = \"5d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11\"\n\
                    [[replica]]\nid = 1\nclient = \"127.0.0.1:0\"\npeer = \"127.0.0.1:0\"\n[server]\ncores = [0]\n";
        let watches = |overrides: &[Override]| {
            let config = Config::parse(text, "cell.toml", overrides).expect("it is sound");
            let mut ring = new_ring(0, Method::Flush, spin(&config).expect("its core is named")).expect("a ring");
            ring.turn(Some(clock::now() + Duration::from_millis(50)), &mut |_, _| {}).expect("a turn");
            ring.counters().watches
        };
        assert_eq!(watches(&[]), 0);
        assert_eq!(watches(&[Override::flag("QUORATE_SERVER_SPIN", "server", "spin", "50us")]), 1);
        let shared = ["cores = []", "spin = \"50us\""].map(|line| format!("{line}\n")).concat();
        let config =
            Config::parse(&text.replace("cores = [0]\n", &shared), "cell.toml", &[]).expect("flags may follow");
        let refused = spin(&config).expect_err("it would starve others").report();
        assert!(refused.starts_with("error[E011]") && refused.contains("--cores"), "{refused}");
    }
}
