//! The thread behind all clients of a process: it owns their machines, their sockets and the clock.
//!
//! Callers put commands into its inbox and wake it; it answers through the promises that came with them. A second thread
//! looks up host names, which may take long, and exists only once a name has to be looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::task::Waker;

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::alarms::{Alarm, Alarms};
use super::call::{Call, Opened, Then};
use super::clock;
use super::error::{Error, Outcome, Result};
use super::machine::{Effect, Machine, Settings, WatchTold, WatchWish};
use super::member::Member;
use super::names::{Addresses, Asked, Names};
use super::observe::Observed;
use super::op::Places;
use super::socket::{Socket, unreached};
use super::telling;
use super::watch::Listener;
use crate::process;
use crate::time::Instant;

/// What callers hold of the driver.
#[derive(Debug)]
pub(super) struct Driver {
    /// The process whose thread it is: in one forked from it there is no such thread.
    process: Pid,
    inbox: Mutex<Inbox>,
    alarms: Alarms,
    bell: OwnedFd,
    places: Arc<Places>,
}

/// Names one client inside the driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ClientId(u64);

#[derive(Debug, Default)]
struct Inbox {
    commands: Vec<Command>,
    clients: u64,
    watches: u64,
    asleep: bool,
    gone: bool,
}

enum Command {
    Open {
        client: ClientId,
        settings: Box<Settings>,
        io_cpu: Option<usize>,
        observed: Arc<Observed>,
        opened: Opened,
    },
    Call {
        client: ClientId,
        call: Call,
        then: Then,
    },
    Watch {
        client: ClientId,
        name: u64,
        wish: WatchWish,
        listener: Listener,
    },
    Unwatch {
        client: ClientId,
        name: u64,
    },
    /// The last handle of the client is gone.
    Leave {
        client: ClientId,
    },
    Resolved {
        name: String,
        addresses: Addresses,
    },
}

/// Has the driver of this process wake somebody then.
pub(super) fn wake_at(at: Instant, waker: Waker) -> Result<Alarm> {
    let driver = Driver::shared()?;
    let (key, is_next) = driver.alarms.set(at, waker.clone());
    if is_next {
        // It may be about to sleep for longer.
        let inbox = driver.lock();
        driver.ring(inbox);
    }
    Ok(Alarm::new(driver, key, waker))
}

impl Driver {
    /// The driver of this process; started if need be.
    pub(super) fn shared() -> Result<Arc<Self>> {
        static SHARED: OnceLock<Mutex<Option<Arc<Driver>>>> = OnceLock::new();
        let mut shared = SHARED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        match &*shared {
            Some(driver) if driver.is_here() && !driver.lock().gone => Ok(Arc::clone(driver)),
            Some(_) | None => {
                let driver = Self::start()?;
                *shared = Some(Arc::clone(&driver));
                Ok(driver)
            }
        }
    }

    /// Whether this is the process whose thread it is. In a child forked from that one nothing else may be asked of it, as
    /// another thread may have held its lock at that moment.
    pub(super) fn is_here(&self) -> bool {
        process::current() == self.process
    }

    /// The process whose thread it is.
    pub(super) fn process(&self) -> Pid {
        self.process
    }

    /// Who is to be woken, and when.
    pub(super) fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Where answers are laid.
    pub(super) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// A name for a client to be.
    pub(super) fn reserve(&self) -> ClientId {
        let mut inbox = self.lock();
        inbox.clients += 1;
        ClientId(inbox.clients)
    }

    /// Brings a client to life, and has the thread stay on that CPU from then on.
    pub(super) fn open(
        &self,
        client: ClientId,
        (settings, io_cpu): (Settings, Option<usize>),
        observed: Arc<Observed>,
        opened: Opened,
    ) {
        self.post(Command::Open { client, settings: Box::new(settings), io_cpu, observed, opened });
    }

    /// Makes a call on behalf of a client.
    pub(super) fn call(&self, client: ClientId, call: Call, then: Then) {
        if self.is_here() {
            self.post_here(Command::Call { client, call, then });
        } else {
            // Whatever is to follow would come here again.
            let _ = then.take(Err(Error::Forked { outcome: Outcome::NotApplied }));
        }
    }

    /// A name for a watch to be.
    pub(super) fn name_watch(&self) -> u64 {
        let mut inbox = self.lock();
        inbox.watches += 1;
        inbox.watches
    }

    /// Opens a watch on behalf of a client.
    pub(super) fn watch(&self, client: ClientId, name: u64, wish: WatchWish, listener: Listener) {
        self.post(Command::Watch { client, name, wish, listener });
    }

    /// Ends a watch.
    pub(super) fn unwatch(&self, client: ClientId, name: u64) {
        self.post(Command::Unwatch { client, name });
    }

    /// Ends a client's session and forgets the client.
    pub(super) fn leave(&self, client: ClientId) {
        self.post(Command::Leave { client });
    }

    fn start() -> Result<Arc<Self>> {
        let mut thread = Thread::new()?;
        let driver = Arc::clone(&thread.driver);
        std::thread::Builder::new().name("quorate-client".to_owned()).spawn(move || thread.run())?;
        Ok(driver)
    }

    fn post(&self, command: Command) {
        if self.is_here() {
            self.post_here(command);
        }
    }

    fn post_here(&self, command: Command) {
        let mut inbox = self.lock();
        if inbox.gone {
            // Dropped outside the lock: the promises in it wake their callers.
            drop(inbox);
            drop(command);
            return;
        }
        inbox.commands.push(command);
        self.ring(inbox);
    }

    /// Wakes the thread if it sleeps.
    fn ring(&self, mut inbox: MutexGuard<'_, Inbox>) {
        if std::mem::take(&mut inbox.asleep) {
            drop(inbox);
            rustix::io::write(&self.bell, &1u64.to_ne_bytes()).expect("an eventfd that is read has room for one");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver's own side.
struct Thread {
    driver: Arc<Driver>,
    epoll: OwnedFd,
    members: BTreeMap<ClientId, Member>,
    /// Whose attempt or connection has this token.
    tokens: BTreeMap<u64, ClientId>,
    last_token: u64,
    deadlines: BTreeSet<(Instant, ClientId)>,
    names: Names,
    resolver: Option<mpsc::Sender<String>>,
    /// Where received bytes are put before a machine takes them in.
    scratch: Vec<u8>,
}

impl Thread {
    fn new() -> Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN).map_err(io::Error::from)?;
        let (process, alarms) = (process::current(), Alarms::default());
        let driver = Driver { process, inbox: Mutex::default(), alarms, bell, places: Arc::default() };
        Ok(Self {
            driver: Arc::new(driver),
            epoll,
            members: BTreeMap::new(),
            tokens: BTreeMap::new(),
            last_token: BELL,
            deadlines: BTreeSet::new(),
            names: Names::default(),
            resolver: None,
            scratch: vec![0; RECEIVE_BYTES],
        })
    }

    fn run(&mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        // Both keep their room from turn to turn.
        let (mut commands, mut touched) = (Vec::new(), Vec::new());
        loop {
            std::mem::swap(&mut commands, &mut self.driver.lock().commands);
            for command in commands.drain(..) {
                touched.extend(self.command(command));
            }
            let now = clock::now();
            while let Some((_, client)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
                // Nobody is called silent whose answer lies unread here: this process may have had no core for a while.
                if self.members.get(&client).is_some_and(|member| member.machine.is_connected()) {
                    self.ready(client);
                }
                self.member(client, |member| {
                    member.machine.tick(now);
                    // It may have had nothing to do yet; the deadline is set anew below.
                    member.deadline = Instant::FOREVER;
                });
                self.deadlines.pop_first();
                touched.push(client);
            }
            self.driver.alarms.due(now).into_iter().for_each(Waker::wake);
            touched.sort_unstable();
            touched.dedup();
            for client in touched.drain(..) {
                self.settle(client);
            }
            let Some(wait) = self.sleep_for() else { continue };
            let wait = Timespec { tv_sec: (wait / 1_000_000_000) as i64, tv_nsec: (wait % 1_000_000_000) as i64 };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("waiting on epoll does not fail: {error}"),
            }
            self.driver.lock().asleep = false;
            for event in events.drain(..) {
                let token = event.data.u64();
                if token == BELL {
                    // Only the ring itself matters, not how often it rang.
                    let _ = rustix::io::read(&self.driver.bell, &mut [0; 8]);
                } else if let Some(client) = self.tokens.get(&token).copied() {
                    self.ready(client);
                    touched.push(client);
                }
            }
        }
    }

    /// Nanoseconds to sleep; `None` if there is work. From then on a command rings the bell.
    fn sleep_for(&self) -> Option<u64> {
        let mut inbox = self.driver.lock();
        if !inbox.commands.is_empty() {
            return None;
        }
        inbox.asleep = true;
        drop(inbox);
        // Looked at last: one that is set later finds the thread asleep, and rings.
        let due = self.deadlines.first().map(|(at, _)| *at).into_iter().chain(self.driver.alarms.next()).min();
        let next = due.map_or(SLEEP_MAX, |at| at - clock::now());
        Some(next.min(SLEEP_MAX).as_nanos())
    }

    /// Does what a caller asked for, and tells whom it concerned.
    fn command(&mut self, command: Command) -> Option<ClientId> {
        let now = clock::now();
        match command {
            Command::Open { client, settings, io_cpu, observed, opened } => {
                if let Err(error) = io_cpu.map_or(Ok(()), stay_on) {
                    opened(Err(error));
                    return None;
                }
                let member = Member::new(Machine::new(now, *settings), observed, opened);
                self.members.insert(client, member);
                Some(client)
            }
            Command::Call { client, call, then } => {
                let member = self.members.get_mut(&client).expect("a client outlives its calls");
                member.call(now, call, then);
                Some(client)
            }
            Command::Watch { client, name, wish, listener } => {
                let member = self.members.get_mut(&client).expect("a client outlives its watches");
                member.watches.insert(name, listener);
                if let Err(error) = member.machine.watch(now, name, wish) {
                    member.told(name, WatchTold::Over(error));
                }
                Some(client)
            }
            Command::Unwatch { client, name } => {
                let member = self.members.get_mut(&client).expect("a client outlives its watches");
                member.machine.unwatch(name);
                member.watches.remove(&name);
                Some(client)
            }
            Command::Leave { client } => {
                // One whose opening failed at once was never here.
                let member = self.members.get_mut(&client)?;
                member.left = true;
                member.call(now, Call::Close, Then::nothing());
                Some(client)
            }
            Command::Resolved { name, addresses } => {
                let tokens = &self.tokens;
                let told = self.names.answered(now, name, addresses, |token| tokens.contains_key(&token));
                for (token, addresses) in told {
                    let client = self.tokens[&token];
                    self.begin(client, addresses);
                    self.settle(client);
                }
                None
            }
        }
    }

    /// Takes in what a socket has to say.
    fn ready(&mut self, client: ClientId) {
        let Self { members, epoll, scratch, .. } = self;
        let member = members.get_mut(&client).expect("a token's client is there");
        let Some(socket) = &mut member.socket else { return };
        if !socket.is_connected() {
            match socket.attempted(epoll) {
                Ok(true) => {
                    telling::connected(client.0);
                    member.machine.connected(clock::now());
                }
                Ok(false) => {}
                Err(error) => self.lost(client, &error),
            }
            return;
        }
        for _ in 0..RECEIVES_PER_TURN {
            let Some(socket) = &mut member.socket else { return };
            match socket.receive(scratch) {
                Ok(None) => return,
                Ok(Some(count)) => {
                    // Read after the bytes are here: whatever they answer is not younger than this.
                    member.machine.received(clock::now(), &scratch[..count]);
                    if !member.machine.is_connected() || count < scratch.len() {
                        return;
                    }
                }
                Err(error) => {
                    self.lost(client, &error);
                    return;
                }
            }
        }
    }

    /// Does what a machine asks for until it asks for nothing more.
    fn settle(&mut self, client: ClientId) {
        // Who finds his answer there finds its revision as well.
        self.member(client, |member| member.observe());
        while let Some(member) = self.members.get_mut(&client) {
            match member.machine.poll_effect() {
                Some(Effect::Connect { endpoint }) => self.connect(client, endpoint),
                Some(Effect::Disconnect) => self.drop_socket(client),
                Some(Effect::Done { tag, result }) => member.done(tag, result),
                Some(Effect::Watch { watch, told }) => member.told(watch, told),
                Some(Effect::Shelve(shelve)) => member.observed.shelve(shelve),
                Some(Effect::Session(event)) => {
                    member.observe();
                    telling::session(client.0, &event);
                    member.observed.tell(event);
                }
                None => {
                    if !self.flush(client) {
                        break;
                    }
                }
            }
        }
        let Some(member) = self.members.get_mut(&client) else { return };
        member.observe();
        member.wake();
        let deadline = member.machine.next_deadline();
        if deadline != member.deadline {
            // In this order, so that a set of one keeps its room.
            self.deadlines.insert((deadline, client));
            self.deadlines.remove(&(member.deadline, client));
            member.deadline = deadline;
        }
        if member.left && member.machine.is_over() {
            self.deadlines.remove(&(deadline, client));
            self.members.remove(&client);
        }
    }

    /// Sends what is to be sent. True if that brought something new to do.
    fn flush(&mut self, client: ClientId) -> bool {
        let Self { members, epoll, .. } = self;
        let Some(member) = members.get_mut(&client) else { return false };
        let Some(socket) = member.socket.as_mut().filter(|socket| socket.is_connected()) else { return false };
        if let Err(error) = socket.send(epoll, member.machine.outgoing()) {
            self.lost(client, &error);
            return true;
        }
        false
    }

    fn connect(&mut self, client: ClientId, endpoint: usize) {
        self.last_token += 1;
        let token = self.last_token;
        self.tokens.insert(token, client);
        let member = self.members.get_mut(&client).expect("a client that connects is there");
        assert!(member.socket.is_none(), "a client has one connection");
        member.dials(endpoint, token);
        let address = member.machine.address(endpoint);
        telling::dials(client.0, address);
        match address.parse::<SocketAddr>() {
            Ok(address) => self.begin(client, Ok(vec![address])),
            Err(_) => {
                let name = address.to_owned();
                match self.names.ask(clock::now(), token, &name) {
                    Asked::Known(addresses) => self.begin(client, addresses),
                    Asked::Coming => {}
                    Asked::LookUp => self.look_up(name),
                }
            }
        }
    }

    fn begin(&mut self, client: ClientId, addresses: Addresses) {
        let Self { members, epoll, .. } = self;
        let member = members.get_mut(&client).expect("a client that connects is there");
        match addresses.and_then(|addresses| Socket::begin(epoll, member.token, member.in_turn(addresses))) {
            Ok(socket) => member.socket = Some(socket),
            Err(error) => self.lost(client, &error),
        }
    }

    fn look_up(&mut self, name: String) {
        let resolver = self.resolver.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel::<String>();
            let driver = Arc::clone(&self.driver);
            let lookups = move || {
                for name in receiver {
                    let addresses = name.to_socket_addrs().map(Iterator::collect);
                    driver.post(Command::Resolved { name, addresses });
                }
            };
            let started = std::thread::Builder::new().name("quorate-names".to_owned()).spawn(lookups);
            started.expect("a process that runs one thread of the client can run two");
            sender
        });
        resolver.send(name).expect("the look-up thread outlives its channel");
    }

    /// The connection or the attempt failed.
    fn lost(&mut self, client: ClientId, error: &io::Error) {
        telling::lost(client.0, error);
        self.drop_socket(client);
        self.member(client, |member| member.machine.disconnected(clock::now(), &unreached(error)));
    }

    fn drop_socket(&mut self, client: ClientId) {
        let Some(member) = self.members.get_mut(&client) else { return };
        self.tokens.remove(&member.token);
        member.socket = None;
    }

    fn member(&mut self, client: ClientId, act: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(&client) {
            act(member);
        }
    }
}

impl Drop for Thread {
    /// Reached only when the thread panicked: callers are told, not left waiting.
    fn drop(&mut self) {
        let commands = {
            let mut inbox = self.driver.lock();
            inbox.gone = true;
            std::mem::take(&mut inbox.commands)
        };
        drop(commands);
    }
}

/// Has this thread run on that CPU only.
fn stay_on(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    if cpu < CpuSet::MAX_CPU {
        cpus.set(cpu);
    }
    sched_setaffinity(None, &cpus).map_err(|error| {
        let why = format!("the client's thread cannot run on CPU {cpu} ({error}); name one that this process may use");
        Error::BadArgument { why }
    })
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open { .. } => "Open",
            Self::Call { .. } => "Call",
            Self::Watch { .. } => "Watch",
            Self::Unwatch { .. } => "Unwatch",
            Self::Leave { .. } => "Leave",
            Self::Resolved { .. } => "Resolved",
        })
    }
}

#[cfg(test)]
mod tests;

/// The token of the bell; sockets have higher ones.
pub(super) const BELL: u64 = 0;

/// Bytes read from a socket at once.
const RECEIVE_BYTES: usize = 256 << 10;

/// Reads from one socket before the others have their turn.
const RECEIVES_PER_TURN: usize = 4;

/// Events taken at once.
const EVENTS_MAX: usize = 256;

/// The longest sleep: the boot clock may have jumped over a deadline while the host slept.
const SLEEP_MAX: crate::time::Duration = crate::time::Duration::from_secs(1);
