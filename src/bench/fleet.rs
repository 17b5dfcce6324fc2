//! Many clients on one thread: their session machines, their sockets, one epoll.
//!
//! Built to cost little beside the servers it loads: all that one reading of a socket brings is answered before the next
//! system call, each connection sends once a turn, and one reading of the clock serves a turn.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;

use bytes::{Buf, Bytes};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::system::{Ask, Finished, Lost, Numbers, System, Told, Troubles};
use crate::client::machine::{Answered, Effect, Machine, Settings, WatchTold, WatchWish};
use crate::client::{Error, Outcome, SessionEvent, SessionState};
use crate::namespace::command::{Answer, Done, Expect, Lifetime, Operation, Read, Refusal};
use crate::time::{Duration, Instant};
use crate::wire::client::Consistency;

/// How often machines are asked whether something is due, at most.
const TICK: Duration = Duration::from_millis(5);

/// The largest single reading of a socket.
const READ_BYTES: usize = 256 << 10;

/// How many sockets are looked at in one turn at least, if that many clients are ready; and in a short one, at most.
const READY: usize = 16;

/// So many clients are on the way to their sessions at one time: a server waits for a hello no longer than it must, and
/// all the sockets of a large fleet take longer to connect.
pub(super) const WAVE: usize = 1024;

/// Something a client of Quorate was told.
#[derive(Debug)]
pub enum Word {
    /// The answer to what it had asked under this tag.
    Answer { client: usize, tag: u64, result: Result<Answered, Error> },
    /// Something of a watch.
    Watch { client: usize, watch: u64, told: WatchTold },
}

/// Clients that share a thread.
pub struct Fleet {
    epoll: OwnedFd,
    /// Those that have begun; the others do so in waves.
    clients: Vec<Client>,
    /// How many there are to be.
    count: usize,
    /// What they are told of the cell.
    settings: Settings,
    /// So many have begun and have no session yet.
    under_way: usize,
    /// Nobody begins any more.
    closes: bool,
    ready: Vec<epoll::Event>,
    received: Box<[u8]>,
    /// Clients that have something to send, or effects to be looked at.
    touched: Vec<usize>,
    tick_at: Instant,
    now: Instant,
    /// How fresh reads must be.
    consistency: Consistency,
    troubles: Troubles,
}

struct Client {
    machine: Machine,
    socket: Socket,
    touched: bool,
    connected_before: bool,
    opened: Option<Instant>,
    over: bool,
}

enum Socket {
    None,
    Connecting(TcpStream),
    Open { stream: TcpStream, wants_room: bool },
}

/// The host's clock that does not stop.
#[must_use]
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    Instant::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

impl Fleet {
    /// `count` clients, which go round the endpoints of `settings` in the order given.
    pub fn new(count: usize, settings: &Settings, consistency: Consistency) -> io::Result<Self> {
        let now = now();
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: Vec::with_capacity(count),
            count,
            settings: settings.clone(),
            under_way: 0,
            closes: false,
            ready: Vec::with_capacity(count.clamp(READY, 1024)),
            received: vec![0; READ_BYTES].into_boxed_slice(),
            touched: Vec::with_capacity(count.min(WAVE)),
            tick_at: now,
            now,
            consistency,
            troubles: Troubles::default(),
        })
    }

    /// When this client's session was first there.
    #[must_use]
    pub fn opened(&self, client: usize) -> Option<Instant> {
        self.clients.get(client)?.opened
    }

    /// Looks at few sockets a turn from now on: what clients are told of at once is then heard one after the other, as it
    /// is read, and not when all of it was.
    pub fn take_short_turns(&mut self) {
        self.ready = Vec::with_capacity(READY);
    }

    /// Why this client's session is over, or never came about.
    #[must_use]
    pub fn ending(&self, client: usize) -> Option<Error> {
        self.clients.get(client)?.machine.ending()
    }

    /// Whether this client's session lives for certain, by its own careful clock.
    #[must_use]
    pub fn is_safe(&self, client: usize) -> bool {
        let is_safe =
            |Client { machine, .. }: &Client| machine.state() == SessionState::Safe && now() < machine.lease_until();
        self.clients.get(client).is_some_and(is_safe)
    }

    /// Messages that have reached the clients.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.clients.iter().map(|client| client.machine.heard()).sum()
    }

    /// Asks for a mutation.
    pub fn request(&mut self, client: usize, tag: u64, operation: Operation) -> Result<(), Error> {
        self.touch(client);
        self.clients[client].machine.request(self.now, tag, operation)
    }

    /// Asks a question, as fresh as can be.
    pub fn read(&mut self, client: usize, tag: u64, read: Read) -> Result<(), Error> {
        self.touch(client);
        self.clients[client].machine.read(self.now, tag, read, Consistency::Linearizable)
    }

    /// Waits for a lock in whose queue the client has its place.
    pub fn await_lock(&mut self, client: usize, tag: u64, path: String) -> Result<(), Error> {
        self.touch(client);
        self.clients[client].machine.await_lock(self.now, tag, path)
    }

    /// Opens a watch.
    pub fn watch(&mut self, client: usize, watch: u64, wish: WatchWish) -> Result<(), Error> {
        self.touch(client);
        self.clients[client].machine.watch(self.now, watch, wish)
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, client: usize, watch: u64) {
        self.touch(client);
        self.clients[client].machine.unwatch(watch);
    }

    /// Sends what was asked, waits until something happens or `patience` is over, and passes on what clients are told.
    pub fn listen(&mut self, patience: Duration, hear: &mut impl FnMut(Word)) -> io::Result<()> {
        let heard = self.settle(hear)?;
        let wait = if heard { Duration::ZERO } else { patience.min(TICK) };
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as i64 };
        self.ready.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.ready), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.now = now();
        let ready = std::mem::take(&mut self.ready);
        for event in &ready {
            self.serve(event.data.u64() as usize, event.flags)?;
        }
        self.ready = ready;
        if self.now >= self.tick_at {
            self.tick_at = self.now + TICK;
            for client in 0..self.clients.len() {
                self.tick(client)?;
            }
        }
        self.settle(hear)?;
        Ok(())
    }

    /// Tells a client what time it is, if that matters to it.
    fn tick(&mut self, client: usize) -> io::Result<()> {
        let is_due = |fleet: &Self| fleet.clients[client].machine.next_deadline() <= fleet.now;
        if is_due(self) {
            // Nobody is called silent whose answer lies unread here, nor absent who is just not looked at yet: to connect
            // many clients takes longer than any of them waits.
            self.receive(client);
            if matches!(&self.clients[client].socket, Socket::Connecting(stream) if stream.peer_addr().is_ok()) {
                self.serve(client, EventFlags::OUT)?;
            }
        }
        if is_due(self) {
            self.clients[client].machine.tick(self.now);
            self.touch(client);
        }
        Ok(())
    }

    /// Does what the machines ask for, and sends what they have to send. True if a client was told something.
    fn settle(&mut self, hear: &mut impl FnMut(Word)) -> io::Result<bool> {
        let mut heard = false;
        self.begin_more();
        while let Some(client) = self.touched.pop() {
            self.clients[client].touched = false;
            while let Some(effect) = self.clients[client].machine.poll_effect() {
                heard |= matches!(effect, Effect::Done { .. } | Effect::Watch { .. });
                self.perform(client, effect, hear)?;
            }
            self.send(client)?;
        }
        Ok(heard)
    }

    /// Has further clients begin, while few are under way.
    fn begin_more(&mut self) {
        while self.clients.len() < self.count && self.under_way < WAVE && !self.closes {
            self.touch(self.clients.len());
        }
    }

    fn has_arrived(&mut self, client: usize) {
        let Client { opened, over, .. } = &self.clients[client];
        self.under_way -= usize::from(opened.is_none() && !over);
    }

    fn perform(&mut self, client: usize, effect: Effect, hear: &mut impl FnMut(Word)) -> io::Result<()> {
        match effect {
            Effect::Done { tag, result } => hear(Word::Answer { client, tag, result }),
            Effect::Watch { watch, told } => hear(Word::Watch { client, watch, told }),
            // Dropping the socket takes it out of the epoll.
            Effect::Disconnect => self.clients[client].socket = Socket::None,
            Effect::Connect { endpoint } => {
                if self.clients[client].connected_before {
                    self.troubles.reconnects += 1;
                }
                let address = self.clients[client].machine.address(endpoint).to_owned();
                match connect(&address) {
                    Ok(stream) => {
                        epoll::add(&self.epoll, &stream, EventData::new_u64(client as u64), EventFlags::OUT)?;
                        self.clients[client].socket = Socket::Connecting(stream);
                    }
                    Err(error) => self.lost(client, &format!("{address}: {error}")),
                }
            }
            Effect::Session(SessionEvent::Expired | SessionEvent::Closed) => {
                self.has_arrived(client);
                self.clients[client].over = true;
            }
            Effect::Shelve(_) => {}
            Effect::Session(SessionEvent::Safe) => {
                self.has_arrived(client);
                self.clients[client].opened.get_or_insert(self.now);
            }
            Effect::Session(_) => {}
        }
        Ok(())
    }

    fn serve(&mut self, client: usize, flags: EventFlags) -> io::Result<()> {
        match std::mem::replace(&mut self.clients[client].socket, Socket::None) {
            Socket::None => {}
            Socket::Connecting(stream) => match sockopt::socket_error(&stream)? {
                Ok(()) => {
                    stream.set_nodelay(true)?;
                    epoll::modify(
                        &self.epoll,
                        &stream,
                        EventData::new_u64(client as u64),
                        EventFlags::IN | EventFlags::ET,
                    )?;
                    self.clients[client].socket = Socket::Open { stream, wants_room: false };
                    self.clients[client].connected_before = true;
                    self.clients[client].machine.connected(self.now);
                    self.touch(client);
                }
                Err(error) => self.lost(client, &error.to_string()),
            },
            Socket::Open { stream, wants_room } => {
                self.touch(client);
                if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    self.clients[client].socket = Socket::Open { stream, wants_room };
                    return Ok(());
                }
                self.clients[client].socket = Socket::Open { stream, wants_room };
                self.receive(client);
            }
        }
        Ok(())
    }

    /// Takes in all that has come: the kernel tells of it once.
    fn receive(&mut self, client: usize) {
        loop {
            let Client { machine, socket, .. } = &mut self.clients[client];
            let Socket::Open { stream, .. } = socket else { return };
            if !machine.is_connected() {
                return;
            }
            match stream.read(&mut self.received) {
                Ok(0) => return self.lost(client, "the server closed the connection"),
                Ok(length) => {
                    machine.received(self.now, &self.received[..length]);
                    // What comes from now on is told of anew.
                    if length < self.received.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.lost(client, &error.to_string()),
            }
        }
    }

    fn send(&mut self, client: usize) -> io::Result<()> {
        let Client { machine, socket, .. } = &mut self.clients[client];
        let Socket::Open { stream, wants_room } = socket else { return Ok(()) };
        let outgoing = machine.outgoing();
        while !outgoing.is_empty() {
            match stream.write(outgoing) {
                Ok(sent) => outgoing.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    let why = error.to_string();
                    self.lost(client, &why);
                    return Ok(());
                }
            }
        }
        let wants = !outgoing.is_empty();
        if wants != *wants_room {
            *wants_room = wants;
            let flags = if wants { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN } | EventFlags::ET;
            epoll::modify(&self.epoll, &*stream, EventData::new_u64(client as u64), flags)?;
        }
        Ok(())
    }

    fn lost(&mut self, client: usize, why: &str) {
        self.clients[client].socket = Socket::None;
        self.troubles.last = Some(why.to_owned());
        self.clients[client].machine.disconnected(self.now, why);
        self.touch(client);
    }

    /// There is something to do for a client: it begins, if it has not yet, and all before it; and it is looked at before the
    /// next wait.
    fn touch(&mut self, client: usize) {
        while self.clients.len() <= client {
            let index = self.clients.len();
            // Its patience begins now.
            self.clients.push(Client {
                machine: starting_at(self.now, &self.settings, index),
                socket: Socket::None,
                touched: true,
                connected_before: false,
                opened: None,
                over: false,
            });
            self.touched.push(index);
            self.under_way += 1;
        }
        if !std::mem::replace(&mut self.clients[client].touched, true) {
            self.touched.push(client);
        }
    }
}

impl System for Fleet {
    fn ask(&mut self, client: usize, tag: u64, ask: Ask) -> Result<(), Lost> {
        self.touch(client);
        let (now, machine) = (self.now, &mut self.clients[client].machine);
        let asked = match ask {
            Ask::Read { path } => machine.read(now, tag, Read::Get { path }, self.consistency),
            Ask::Look { path } => machine.read(now, tag, Read::Exists { path }, Consistency::Linearizable),
            Ask::Write { path, data } => machine.request(now, tag, Operation::Set { path, data, expect: Expect::Any }),
            Ask::Folder { path } => machine.request(now, tag, create(path, Bytes::new())),
            Ask::Make { path, data } => machine.request(now, tag, create(path, data)),
            Ask::Delete { path } => machine.request(now, tag, Operation::Delete { path, expect: Expect::Any }),
        };
        asked.map_err(|error| lost(&error))
    }

    fn turn(&mut self, patience: Duration, finished: &mut Vec<Finished>) -> io::Result<()> {
        self.listen(patience, &mut |word| match word {
            Word::Answer { client, tag, result } => {
                let result = result.map(told).map_err(|error| lost(&error));
                finished.push(Finished { client, tag, result });
            }
            Word::Watch { .. } => unreachable!("a load of reads and writes watches nothing"),
        })
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn clients(&self) -> usize {
        self.count
    }

    fn is_over(&self, client: usize) -> bool {
        self.clients.get(client).map_or(self.closes, |client| client.over)
    }

    fn close(&mut self) {
        self.closes = true;
        for client in 0..self.clients.len() {
            if !self.clients[client].over {
                self.touch(client);
                self.clients[client].machine.close(self.now, 0);
            }
        }
    }

    fn troubles(&mut self) -> &mut Troubles {
        &mut self.troubles
    }
}

fn create(path: String, data: Bytes) -> Operation {
    Operation::Create { path, data, lifetime: Lifetime::Permanent, sequential: false }
}

fn told(answered: Answered) -> Told {
    let refused = |refusal: Refusal| Told::Refused(format!("{refusal:?}"));
    match answered {
        Answered::Request { outcome: Ok(Done::Set { stat }), .. } => Told::Written { order: stat.version },
        Answered::Request { outcome: Ok(Done::Created { .. }), .. } => Told::Made,
        Answered::Request { outcome: Ok(Done::Deleted), .. } => Told::Deleted,
        Answered::Request { outcome: Err(Refusal::NodeExists { .. }), .. } => Told::There,
        Answered::Request { outcome: Err(Refusal::NoNode { .. }), .. }
        | Answered::Read { answer: Err(Refusal::NoNode { .. }), .. } => Told::Missing,
        Answered::Request { outcome: Err(refusal), .. } => refused(refusal),
        Answered::Read { answer: Ok(Answer::Node { data, stat }), .. } => Told::Value { data, order: stat.version },
        Answered::Read { answer: Ok(Answer::Exists { stat }), .. } => {
            Told::Seen(stat.map(|stat| Numbers { order: stat.version, writes: stat.version }))
        }
        Answered::Read { answer: Err(refusal), .. } => refused(refusal),
        other => Told::Refused(format!("an answer to something else: {other:?}")),
    }
}

fn lost(error: &Error) -> Lost {
    Lost { why: error.to_string(), maybe_done: error.outcome() == Outcome::Unknown }
}

/// A machine whose first attempt goes to the `index`th endpoint, going round: a machine draws its first endpoint from its
/// seed, so that a fitting seed is looked for.
fn starting_at(now: Instant, settings: &Settings, index: usize) -> Machine {
    let wanted = index % settings.endpoints.len();
    let seeds = (0..).map(|step: u64| settings.seed ^ (index as u64) << 32 ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for seed in seeds {
        let mut own = settings.clone();
        own.seed = seed;
        own.token = settings.token.wrapping_add(index as u64);
        let mut machine = Machine::new(now, own.clone());
        if matches!(machine.poll_effect(), Some(Effect::Connect { endpoint }) if endpoint == wanted) {
            return Machine::new(now, own);
        }
    }
    unreachable!("every endpoint is some seed's first")
}

/// Begins to connect, without waiting for it.
pub(in crate::bench) fn connect(address: &str) -> io::Result<TcpStream> {
    let resolved = match address.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?,
    };
    let family = if resolved.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &resolved) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}
