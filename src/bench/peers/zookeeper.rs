//! ZooKeeper's client protocol, as much of it as the load needs: frames of a big-endian length and a body, requests
//! pipelined on one session, replies in their order.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::Timespec;

use super::{PATIENCE, PAUSE};
use crate::bench::fleet::{connect, now};
use crate::bench::system::{Ask, Finished, Lost, Numbers, System, Told, Troubles};
use crate::time::{Duration, Instant};

/// Clients of ZooKeeper, each with a connection and a session, that share a thread.
pub struct ZooKeeper {
    epoll: OwnedFd,
    endpoints: Vec<String>,
    connections: Vec<Connection>,
    /// A `sync` goes before each read: as fresh as ZooKeeper can promise.
    sync_reads: bool,
    received: Box<[u8]>,
    tick_at: Instant,
    now: Instant,
    closed: bool,
    troubles: Troubles,
}

struct Connection {
    state: State,
    endpoint: usize,
    connected_before: bool,
    wants_room: bool,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// In the order of the replies to come.
    waiting: VecDeque<Waiting>,
    /// Asked while there was no session.
    held: VecDeque<(u64, Ask)>,
    heard_at: Instant,
    xid: i32,
}

enum State {
    /// Until then.
    Pausing(Instant),
    Connecting(TcpStream),
    /// The session was asked for.
    Greeting(TcpStream),
    Open(TcpStream),
}

#[derive(Clone, Copy)]
struct Waiting {
    tag: u64,
    kind: i32,
}

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const EXISTS: i32 = 3;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const SYNC: i32 = 9;
const PING: i32 = 11;
const PING_XID: i32 = -2;

const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;

const SESSION_MS: i32 = 30_000;

/// How often deadlines are looked at, and how long a session may be silent before it says something.
const TICK: Duration = Duration::from_millis(5);
const QUIET: Duration = Duration::from_secs(8);

/// Where a reply's result begins: after xid, zxid and error.
const RESULT: usize = 16;

/// Where a stat has its data version.
const VERSION_IN_STAT: usize = 32;

impl ZooKeeper {
    /// `count` clients, which go round the endpoints.
    pub fn new(endpoints: &[String], count: usize, sync_reads: bool) -> io::Result<Self> {
        let now = now();
        let connections = (0..count).map(|index| Connection {
            state: State::Pausing(now),
            endpoint: index,
            connected_before: false,
            wants_room: false,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            heard_at: now,
            xid: 0,
        });
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            endpoints: endpoints.to_vec(),
            connections: connections.collect(),
            sync_reads,
            received: vec![0; 256 << 10].into_boxed_slice(),
            tick_at: now,
            now,
            closed: false,
            troubles: Troubles::default(),
        })
    }

    fn serve(&mut self, client: usize, flags: EventFlags, finished: &mut Vec<Finished>) -> io::Result<()> {
        let connection = &mut self.connections[client];
        if let State::Connecting(stream) = &connection.state {
            if let Some(error) = stream.take_error()? {
                self.lose(client, &error.to_string(), finished);
                return Ok(());
            }
            stream.set_nodelay(true)?;
            greeting(&mut connection.outgoing);
            connection.wants_room = true;
        }
        match std::mem::replace(&mut connection.state, State::Pausing(self.now)) {
            State::Connecting(stream) => connection.state = State::Greeting(stream),
            other => connection.state = other,
        }
        match &mut connection.state {
            State::Pausing(_) | State::Connecting(_) => {}
            State::Greeting(stream) | State::Open(stream) => {
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    let read = stream.read(&mut self.received);
                    self.receive(client, read, finished);
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, client: usize, read: io::Result<usize>, finished: &mut Vec<Finished>) {
        match read {
            Ok(0) => self.lose(client, "the server closed the connection", finished),
            Ok(length) => {
                let connection = &mut self.connections[client];
                connection.heard_at = self.now;
                connection.incoming.extend_from_slice(&self.received[..length]);
                if let Err(why) = connection.take_frames(client, self.sync_reads, finished) {
                    self.lose(client, why, finished);
                }
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => self.lose(client, &error.to_string(), finished),
        }
    }

    fn lose(&mut self, client: usize, why: &str, finished: &mut Vec<Finished>) {
        let connection = &mut self.connections[client];
        // Dropping the socket takes it out of the epoll.
        connection.state = State::Pausing(self.now + PAUSE);
        connection.endpoint += 1;
        connection.incoming.clear();
        connection.outgoing.clear();
        for Waiting { tag, kind } in connection.waiting.drain(..).filter(|waiting| waiting.kind != SYNC) {
            let maybe_done = !matches!(kind, GET_DATA | EXISTS);
            finished.push(Finished { client, tag, result: Err(Lost { why: why.to_owned(), maybe_done }) });
        }
        self.troubles.last = Some(why.to_owned());
    }

    fn tick(&mut self, finished: &mut Vec<Finished>) -> io::Result<()> {
        for client in 0..self.connections.len() {
            let connection = &mut self.connections[client];
            let silent = self.now.since(connection.heard_at);
            match &connection.state {
                State::Pausing(until) if *until <= self.now => self.connect(client, finished)?,
                State::Pausing(_) => {}
                State::Open(_) if connection.waiting.is_empty() => {
                    if silent > QUIET {
                        connection.heard_at = self.now;
                        framed(&mut connection.outgoing, |out| {
                            out.put_i32(PING_XID);
                            out.put_i32(PING);
                        });
                    }
                }
                State::Connecting(_) | State::Greeting(_) | State::Open(_) => {
                    if silent > PATIENCE {
                        self.lose(client, "no answer for two seconds", finished);
                    }
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self, client: usize, finished: &mut Vec<Finished>) -> io::Result<()> {
        let connection = &mut self.connections[client];
        let address = &self.endpoints[connection.endpoint % self.endpoints.len()];
        if std::mem::replace(&mut connection.connected_before, true) {
            self.troubles.reconnects += 1;
        }
        match connect(address) {
            Ok(stream) => {
                epoll::add(&self.epoll, &stream, EventData::new_u64(client as u64), EventFlags::OUT)?;
                connection.heard_at = self.now;
                connection.state = State::Connecting(stream);
            }
            Err(error) => {
                let why = format!("{address}: {error}");
                self.lose(client, &why, finished);
            }
        }
        Ok(())
    }
}

impl System for ZooKeeper {
    fn ask(&mut self, client: usize, tag: u64, ask: Ask) -> Result<(), Lost> {
        let connection = &mut self.connections[client];
        if matches!(connection.state, State::Open(_)) {
            if connection.waiting.is_empty() {
                connection.heard_at = self.now;
            }
            connection.request(tag, &ask, self.sync_reads);
        } else {
            connection.held.push_back((tag, ask));
        }
        Ok(())
    }

    fn turn(&mut self, patience: Duration, finished: &mut Vec<Finished>) -> io::Result<()> {
        if self.now >= self.tick_at {
            self.tick_at = self.now + TICK;
            self.tick(finished)?;
        }
        for client in 0..self.connections.len() {
            if let Err(error) = self.connections[client].send(&self.epoll, client) {
                self.lose(client, &error.to_string(), finished);
            }
        }
        let wait = if finished.is_empty() { patience.min(TICK) } else { Duration::ZERO };
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as i64 };
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(256);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.now = now();
        for event in &ready {
            self.serve(event.data.u64() as usize, event.flags, finished)?;
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn clients(&self) -> usize {
        self.connections.len()
    }

    fn is_over(&self, _: usize) -> bool {
        self.closed
    }

    /// Sessions of which nothing is heard any more end by themselves.
    fn close(&mut self) {
        self.closed = true;
    }

    fn troubles(&mut self) -> &mut Troubles {
        &mut self.troubles
    }
}

impl Connection {
    fn request(&mut self, tag: u64, ask: &Ask, sync_reads: bool) {
        let (kind, path) = match ask {
            Ask::Folder { path } | Ask::Make { path, .. } => (CREATE, path),
            Ask::Write { path, .. } => (SET_DATA, path),
            Ask::Read { path } => (GET_DATA, path),
            Ask::Look { path } => (EXISTS, path),
            Ask::Delete { path } => (DELETE, path),
        };
        if kind == EXISTS || kind == GET_DATA && sync_reads {
            self.begin(tag, SYNC, |out| text(out, path.as_bytes()));
        }
        self.begin(tag, kind, |out| {
            text(out, path.as_bytes());
            match ask {
                Ask::Folder { .. } => put_new_node(out, &[]),
                Ask::Make { data, .. } => put_new_node(out, data),
                Ask::Write { data, .. } => {
                    text(out, data);
                    out.put_i32(-1); // whatever its version
                }
                Ask::Read { .. } | Ask::Look { .. } => out.put_u8(0), // no watch
                Ask::Delete { .. } => out.put_i32(-1),
            }
        });
    }

    fn begin(&mut self, tag: u64, kind: i32, body: impl FnOnce(&mut BytesMut)) {
        self.xid = (self.xid % i32::MAX) + 1;
        let xid = self.xid;
        framed(&mut self.outgoing, |out| {
            out.put_i32(xid);
            out.put_i32(kind);
            body(out);
        });
        self.waiting.push_back(Waiting { tag, kind });
    }

    fn send(&mut self, epoll: &OwnedFd, client: usize) -> io::Result<()> {
        let (State::Greeting(stream) | State::Open(stream)) = &mut self.state else { return Ok(()) };
        while !self.outgoing.is_empty() {
            match stream.write(&self.outgoing) {
                Ok(sent) => self.outgoing.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let wants = !self.outgoing.is_empty();
        if wants != self.wants_room {
            self.wants_room = wants;
            let flags = if wants { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(epoll, &*stream, EventData::new_u64(client as u64), flags)?;
        }
        Ok(())
    }

    fn take_frames(
        &mut self,
        client: usize,
        sync_reads: bool,
        finished: &mut Vec<Finished>,
    ) -> Result<(), &'static str> {
        while self.incoming.len() >= 4 {
            let length = number(&self.incoming, 0) as usize;
            if self.incoming.len() < 4 + length {
                break;
            }
            self.incoming.advance(4);
            let body = self.incoming.split_to(length).freeze();
            match std::mem::replace(&mut self.state, State::Pausing(Instant::ZERO)) {
                State::Greeting(stream) => {
                    if number(&body, 4) <= 0 {
                        return Err("the session was refused");
                    }
                    self.state = State::Open(stream);
                    for (tag, ask) in std::mem::take(&mut self.held) {
                        self.request(tag, &ask, sync_reads);
                    }
                }
                open => {
                    self.state = open;
                    if number(&body, 0) < 0 {
                        continue; // a notice, not a reply
                    }
                    let waiting = self.waiting.pop_front().ok_or("a reply to nothing")?;
                    if waiting.kind != SYNC {
                        finished.push(Finished { client, tag: waiting.tag, result: Ok(told(waiting.kind, &body)) });
                    }
                }
            }
        }
        Ok(())
    }
}

fn greeting(out: &mut BytesMut) {
    framed(out, |out| {
        out.put_i32(0); // protocol version
        out.put_i64(0); // last zxid seen
        out.put_i32(SESSION_MS);
        out.put_i64(0); // session id
        text(out, &[0; 16]); // its password
        out.put_u8(0); // not read-only
    });
}

fn put_new_node(out: &mut BytesMut, data: &[u8]) {
    text(out, data);
    out.put_i32(1); // one rule of access: anyone may do anything
    out.put_i32(31);
    text(out, b"world");
    text(out, b"anyone");
    out.put_i32(0); // permanent
}

/// What a reply says: xid, zxid, error; then, if there was none, what was asked for.
fn told(kind: i32, body: &Bytes) -> Told {
    let version = |stat: usize| number(body, stat + VERSION_IN_STAT) as u64;
    match (kind, number(body, 12)) {
        (CREATE, 0) => Told::Made,
        (CREATE, NODE_EXISTS) => Told::There,
        (DELETE, 0 | NO_NODE) => Told::Deleted,
        (SET_DATA, 0) => Told::Written { order: version(RESULT) },
        (EXISTS, 0) => {
            let version = version(RESULT);
            Told::Seen(Some(Numbers { order: version, writes: version }))
        }
        (EXISTS, NO_NODE) => Told::Seen(None),
        (GET_DATA, 0) => {
            let end = (RESULT + 4).saturating_add(number(body, RESULT).max(0) as usize).min(body.len());
            Told::Value { data: body.slice(RESULT + 4..end), order: version(end) }
        }
        (GET_DATA | SET_DATA, NO_NODE) => Told::Missing,
        (_, error) => Told::Refused(format!("ZooKeeper error {error}")),
    }
}

fn framed(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    body(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn text(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

fn number(bytes: &[u8], at: usize) -> i32 {
    bytes.get(at..at + 4).map_or(0, |four| i32::from_be_bytes(four.try_into().expect("four bytes")))
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply to the first request: xid, zxid, error, and what follows.
    fn reply(error: i32, result: &[u8]) -> Bytes {
        let mut body = BytesMut::new();
        body.put_i32(1);
        body.put_i64(77);
        body.put_i32(error);
        body.put_slice(result);
        body.freeze()
    }

    /// A stat: two transactions, two times, the version, and what nobody asks for.
    fn stat(version: i32) -> Vec<u8> {
        [&[9; 32][..], &version.to_be_bytes(), &[9; 32]].concat()
    }

    #[test]
    fn requests_are_as_their_definition_says() {
        let mut out = BytesMut::new();
        greeting(&mut out);
        assert_eq!((out.len(), &out[..4]), (49, &[0, 0, 0, 45][..]), "a session is asked for");
        let mut clients = ZooKeeper::new(&["127.0.0.1:1".to_owned()], 1, true).expect("an epoll");
        let client = &mut clients.connections[0];
        client.request(5, &Ask::Read { path: "/k".into() }, true);
        client.request(6, &Ask::Write { path: "/k".into(), data: Bytes::from_static(b"v") }, true);
        let sync = [0, 0, 0, 14, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 2, b'/', b'k'];
        let read = [0, 0, 0, 15, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 2, b'/', b'k', 0];
        let write = [0, 0, 0, 23, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 2, b'/', b'k', 0, 0, 0, 1, b'v', 255, 255, 255, 255];
        assert_eq!(client.outgoing[..], [&sync[..], &read, &write].concat(), "a sync goes before the read alone");
    }

    #[test]
    fn replies_in_pieces_are_told_in_their_order() {
        let mut clients = ZooKeeper::new(&["127.0.0.1:1".to_owned()], 1, true).expect("an epoll");
        let (client, mut finished) = (&mut clients.connections[0], Vec::new());
        client.request(5, &Ask::Read { path: "/k".into() }, true);
        let mut bytes = BytesMut::new();
        framed(&mut bytes, |out| out.put_slice(&reply(0, b"\0\0\0\x02/k")));
        framed(&mut bytes, |out| out.put_slice(&reply(0, &[&[0, 0, 0, 1, b'v'][..], &stat(7)].concat())));
        client.state = State::Pausing(Instant::ZERO);
        for byte in bytes {
            assert!(finished.is_empty(), "nothing is told before it is whole");
            client.incoming.put_u8(byte);
            client.take_frames(0, true, &mut finished).expect("it is what was asked for");
        }
        let [Finished { client: 0, tag: 5, result: Ok(Told::Value { data, order: 7 }) }] = &finished[..] else {
            panic!("{finished:?}")
        };
        assert_eq!(&data[..], b"v");
    }

    #[test]
    fn replies_say_what_was_asked_for() {
        assert!(matches!(told(SET_DATA, &reply(0, &stat(300))), Told::Written { order: 300 }));
        let seen = told(EXISTS, &reply(0, &stat(4)));
        assert!(matches!(seen, Told::Seen(Some(Numbers { order: 4, writes: 4 }))), "{seen:?}");
        assert!(matches!(told(EXISTS, &reply(NO_NODE, &[])), Told::Seen(None)));
        assert!(matches!(told(GET_DATA, &reply(NO_NODE, &[])), Told::Missing));
        assert!(matches!(told(CREATE, &reply(NODE_EXISTS, &[])), Told::There));
        assert!(matches!(told(DELETE, &reply(NO_NODE, &[])), Told::Deleted));
        assert!(matches!(told(SET_DATA, &reply(-4, &[])), Told::Refused(_)), "no other error is an answer");
    }
}
