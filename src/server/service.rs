//! What the service manager is told, where one asked to be: `Type=notify` and its watchdog.
//!
//! The manager names a datagram socket in `NOTIFY_SOCKET`; a datagram is lines of `KEY=VALUE`. Without the variable nothing
//! is said. A datagram that cannot be sent is dropped: a replica does not wait for its supervisor.
//!
//! - `READY=1` once the replica knows a leader: it serves, or has joined those that do.
//! - `STATUS=` what it is doing, whenever that changes.
//! - `EXTEND_TIMEOUT_USEC=` while the journal is replayed, as long as it gets on.
//! - `WATCHDOG=1` only while the replica is alive in the sense that counts: the loop of every core has turned since the
//!   last time, no disk write is overdue, and what is chosen is being applied. A cell without a majority is no reason to be
//!   killed: the process that would be started instead could do no better.
//! - `STOPPING=1` when it was asked to end.

use std::cell::Cell;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::paxos::{ReplicaId, Slot};
use crate::time::{Duration, Instant};

/// The service manager's end, if there is one, and what it was told.
#[derive(Debug)]
pub(super) struct Service {
    channel: Option<Channel>,
    /// How long the manager waits for a sign of life.
    patience: Option<Duration>,
    fronts: Vec<Arc<Pulse>>,
    ready: bool,
    /// The leader that was last spoken of, and before which slot it stands; none before anything was said.
    told: Option<(Option<ReplicaId>, Option<Slot>)>,
    next_look: Instant,
    applied_at_last_sign: Slot,
    extended_at: Cell<Option<Instant>>,
}

/// When the loop of a front's core turned last. Its core alone writes it, in a cache line of its own.
#[derive(Debug, Default)]
pub(super) struct Pulse(CachePadded<AtomicU64>);

/// What a sign of life is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    pub(super) me: ReplicaId,
    pub(super) leader: Option<ReplicaId>,
    /// The slot that this replica, leading, cannot decide.
    pub(super) undecided: Option<Slot>,
    pub(super) chosen_upto: Slot,
    pub(super) applied_upto: Slot,
    /// Since when the oldest disk write is on its way.
    pub(super) writing_since: Option<Instant>,
}

#[derive(Debug)]
struct Channel {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Pulse {
    pub(super) fn beat(&self, now: Instant) {
        self.0.store(now.as_nanos(), Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Service {
    /// The manager that this process's environment names.
    pub(super) fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let for_us = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let patience = variable("WATCHDOG_USEC").filter(|_| for_us).and_then(|text| text.parse().ok());
        Self::new(variable("NOTIFY_SOCKET").and_then(|name| Channel::open(&name)), patience)
    }

    fn new(channel: Option<Channel>, patience_us: Option<u64>) -> Self {
        let patience = patience_us.filter(|micros| *micros > 0 && channel.is_some()).map(Duration::from_micros);
        Self {
            channel,
            patience,
            fronts: Vec::new(),
            ready: false,
            told: None,
            next_look: Instant::ZERO,
            applied_at_last_sign: Slot(0),
            extended_at: Cell::new(None),
        }
    }

    /// How often the loop of each core has to turn, whether or not there is something to do.
    pub(super) fn pulse_every(&self) -> Option<Duration> {
        self.patience.map(|patience| patience.scaled(1, SIGNS_PER_PATIENCE))
    }

    /// From now on a sign of life needs this front's loop to turn.
    pub(super) fn watch(&mut self, front: Arc<Pulse>) {
        self.fronts.push(front);
    }

    /// The start gets on: `what` was done until now.
    pub(super) fn starting(&self, now: Instant, what: impl FnOnce() -> String) {
        let due = self.extended_at.get().is_none_or(|at| now.since(at) >= EXTEND_EVERY);
        if let Some(channel) = self.channel.as_ref().filter(|_| due) {
            self.extended_at.set(Some(now));
            let micros = EXTENSION.as_nanos() / 1_000;
            let mut text = format!("EXTEND_TIMEOUT_USEC={micros}\nSTATUS={}", what());
            if self.patience.is_some() {
                // Before READY the manager does not watch; it may have been told to all the same.
                text += "\nWATCHDOG=1";
            }
            channel.send(&text);
        }
    }

    /// The replica's loop has turned.
    pub(super) fn turned(&mut self, now: Instant, health: impl FnOnce() -> Health) {
        let Some(channel) = &self.channel else { return };
        let health = health();
        if let Some(leader) = health.leader.filter(|_| !self.ready) {
            self.ready = true;
            tracing::debug!("told the service manager that this replica is ready: replica {leader} leads");
            channel.send("READY=1");
        }
        let state = (health.leader, health.undecided);
        if self.told != Some(state) {
            self.told = Some(state);
            channel.send(&match state {
                (Some(leader), Some(slot)) if leader == health.me => {
                    format!(
                        "STATUS=cannot decide slot {slot}, and nothing new is chosen: see its log for what is missing"
                    )
                }
                (Some(leader), _) if leader == health.me => "STATUS=leads".to_owned(),
                (Some(leader), _) => format!("STATUS=follows replica {leader}"),
                (None, _) => "STATUS=knows no leader: no majority of the cell is heard".to_owned(),
            });
        }
        let Some(every) = self.pulse_every().filter(|_| now >= self.next_look) else { return };
        self.next_look = now + every;
        match self.what_stands_still(now, health) {
            None => {
                channel.send("WATCHDOG=1");
                self.applied_at_last_sign = health.applied_upto;
            }
            Some(what) => tracing::warn!("no sign of life for the service manager: {what}"),
        }
    }

    /// The replica was asked to end.
    pub(super) fn stopping(&self) {
        if let Some(channel) = &self.channel {
            channel.send("STOPPING=1\nSTATUS=hands the leadership over, if it is here");
        }
    }

    /// When [`Service::turned`] is due.
    pub(super) fn next_deadline(&self) -> Instant {
        if self.patience.is_some() { self.next_look } else { Instant::FOREVER }
    }

    fn what_stands_still(&self, now: Instant, health: Health) -> Option<String> {
        let overdue = self.patience.unwrap_or(Duration::ZERO).scaled(1, 2);
        if let Some(front) = self.fronts.iter().position(|front| now.since(front.last()) > overdue) {
            return Some(format!("the loop of front {front} does not turn"));
        }
        if health.writing_since.is_some_and(|since| now.since(since) > overdue) {
            return Some("a disk write does not come back".into());
        }
        let idle = health.applied_upto >= health.chosen_upto;
        let stuck = !idle && health.applied_upto <= self.applied_at_last_sign;
        stuck.then(|| format!("nothing was applied since {}", health.applied_upto.0))
    }
}

impl Channel {
    fn open(name: &str) -> Option<Self> {
        let manager = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        let opened = manager.and_then(|manager| Ok((UnixDatagram::unbound()?, manager)));
        match opened.and_then(|(socket, manager)| socket.set_nonblocking(true).map(|()| (socket, manager))) {
            Ok((socket, manager)) => Some(Self { socket, manager }),
            Err(error) => {
                tracing::warn!("the service manager at {name} cannot be told anything: {error}");
                None
            }
        }
    }

    fn send(&self, text: &str) {
        if let Err(error) = self.socket.send_to_addr(text.as_bytes(), &self.manager) {
            tracing::debug!("the service manager was not told {text:?}: {error}");
        }
    }
}

/// Signs of life in the time the manager waits for one: two may be lost or late.
const SIGNS_PER_PATIENCE: u64 = 4;

/// A start that gets on asks for this much more time ...
const EXTENSION: Duration = Duration::from_secs(30);

/// ... this often.
const EXTEND_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn service(patience_us: Option<u64>) -> (Service, UnixDatagram) {
        use std::sync::atomic::AtomicU32;
        static LAST: AtomicU32 = AtomicU32::new(0);
        let name = format!("quorate-test-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("a socket");
        manager.set_nonblocking(true).expect("it need not wait");
        (Service::new(Channel::open(&format!("@{name}")), patience_us), manager)
    }

    fn told(manager: &UnixDatagram) -> Vec<String> {
        let mut room = [0; 512];
        std::iter::from_fn(|| manager.recv(&mut room).ok().map(|n| String::from_utf8_lossy(&room[..n]).into_owned()))
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn following(chosen: u64, applied: u64) -> Health {
        Health {
            me: ReplicaId(1),
            leader: Some(ReplicaId(2)),
            undecided: None,
            chosen_upto: Slot(chosen),
            applied_upto: Slot(applied),
            writing_since: None,
        }
    }

    #[test]
    fn it_is_ready_once_it_knows_a_leader_and_says_so_once() {
        let (mut service, manager) = service(None);
        service.turned(at(1), || Health { leader: None, ..following(0, 0) });
        assert_eq!(told(&manager), ["STATUS=knows no leader: no majority of the cell is heard"]);
        service.turned(at(2), || following(0, 0));
        assert_eq!(told(&manager), ["READY=1", "STATUS=follows replica 2"]);
        service.turned(at(3), || following(0, 0));
        assert!(told(&manager).is_empty());
        service.turned(at(4), || Health { leader: Some(ReplicaId(1)), ..following(0, 0) });
        assert_eq!(told(&manager), ["STATUS=leads"]);
        service.turned(at(5), || Health { leader: Some(ReplicaId(1)), undecided: Some(Slot(9)), ..following(0, 0) });
        let waits = told(&manager);
        assert!(waits.len() == 1 && waits[0].contains("cannot decide slot 9"), "{waits:?}");
        service.turned(at(6), || Health { leader: Some(ReplicaId(1)), ..following(0, 0) });
        assert_eq!(told(&manager), ["STATUS=leads"], "it goes on");
        service.stopping();
        assert_eq!(told(&manager)[0], "STOPPING=1");
        assert_eq!(service.next_deadline(), Instant::FOREVER, "nobody watches");
    }

    #[test]
    fn signs_of_life_end_with_what_they_stand_for() {
        let signs = |health: Health, front_turned: u64| {
            let (mut service, manager) = service(Some(1_000_000));
            let front = Arc::new(Pulse::default());
            front.beat(at(10_000));
            service.watch(Arc::clone(&front));
            service.turned(at(10_000), || following(5, 5));
            assert!(told(&manager).contains(&"WATCHDOG=1".to_owned()), "all is well");
            assert_eq!(service.next_deadline(), at(10_250));
            front.beat(at(front_turned));
            service.turned(at(10_249), || health);
            assert!(!told(&manager).contains(&"WATCHDOG=1".to_owned()), "not before its time");
            service.turned(at(10_750), || health);
            told(&manager).contains(&"WATCHDOG=1".to_owned())
        };
        assert!(signs(following(5, 5), 10_700), "nothing to do");
        assert!(signs(following(9, 6), 10_700), "behind, and getting on");
        assert!(!signs(following(9, 5), 10_700), "behind, and standing still");
        assert!(!signs(following(5, 5), 10_000), "a front does not turn");
        assert!(signs(Health { writing_since: Some(at(10_700)), ..following(5, 5) }, 10_700));
        assert!(!signs(Health { writing_since: Some(at(10_000)), ..following(5, 5) }, 10_700), "the disk hangs");
        assert!(signs(Health { leader: None, ..following(5, 5) }, 10_700), "a lost majority is not its fault");
    }

    #[test]
    fn a_start_that_gets_on_asks_for_more_time() {
        let (service, manager) = service(None);
        service.starting(at(100), || "replaying: slot 1".into());
        service.starting(at(200), || "replaying: slot 2".into());
        service.starting(at(1_200), || "replaying: slot 3".into());
        let extended = "EXTEND_TIMEOUT_USEC=30000000";
        assert_eq!(told(&manager), [extended, "STATUS=replaying: slot 1", extended, "STATUS=replaying: slot 3"]);
    }

    #[test]
    fn without_a_manager_nothing_is_said_or_watched() {
        let service = Service::new(None, Some(1_000_000));
        assert_eq!((service.pulse_every(), service.next_deadline()), (None, Instant::FOREVER));
    }
}
