//! ZooKeeper's client protocol, as much of it as the load needs: frames of a big-endian length and a body, requests
//! pipelined on one session, replies in their order.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate::bench::{Workload, now};
use quorate::time::Instant;
use rustix::event::epoll::{self, EventData, EventFlags};

/// The error of making a node that is there.
pub const NODE_EXISTS: i32 = -110;

const CREATE: i32 = 1;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const SYNC: i32 = 9;

const SESSION_MS: i32 = 30_000;

/// Where a stat has its data version.
const VERSION_IN_STAT: usize = 32;

/// One thing asked for.
pub enum Ask {
    Create { path: String, data: Bytes },
    Read(quorate::bench::Operation),
    Write(quorate::bench::Operation),
}

/// What came back.
pub struct Reply<'a> {
    pub error: i32,
    /// A read's data; else empty.
    pub data: &'a [u8],
    /// The data version, where the reply has one.
    pub version: Option<u64>,
}

/// The connections of a run.
pub struct Fleet {
    epoll: OwnedFd,
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    incoming: BytesMut,
    outgoing: BytesMut,
    wants_room: bool,
    /// In the order of the replies to come; `None` is a sync's.
    waiting: VecDeque<Option<Ask>>,
    under_way: usize,
    xid: i32,
}

type Next<'a> = &'a mut dyn FnMut(&mut Workload, Instant) -> Option<Ask>;
type Done<'a> = &'a mut dyn FnMut(&mut Workload, &Ask, &Reply<'_>, Instant) -> Result<()>;

impl Fleet {
    /// Opens `count` sessions, going round the endpoints.
    pub fn connect(endpoints: &[SocketAddr], count: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(count);
        for index in 0..count {
            let endpoint = endpoints[index % endpoints.len()];
            let connection = Connection::open(endpoint).with_context(|| format!("cannot use {endpoint}"))?;
            epoll::add(&epoll, &connection.stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            connections.push(connection);
        }
        Ok(Self { epoll, connections })
    }

    /// Keeps `depth` asks under way on each connection until there are no more, or until that time; then waits for what
    /// is under way.
    pub fn exchange(
        &mut self,
        depth: usize,
        until: Option<Instant>,
        sync_reads: bool,
        workload: &mut Workload,
        next: Next<'_>,
        done: Done<'_>,
    ) -> Result<()> {
        let mut ready = Vec::with_capacity(256);
        let mut now_ = now();
        for connection in &mut self.connections {
            connection.fill(depth, sync_reads, workload, now_, next);
        }
        loop {
            for (index, connection) in self.connections.iter_mut().enumerate() {
                connection.send(&self.epoll, index)?;
            }
            if self.connections.iter().all(|connection| connection.under_way == 0) {
                return Ok(());
            }
            ready.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), None)?;
            now_ = now();
            for event in &ready {
                let event: &epoll::Event = event;
                let connection = &mut self.connections[event.data.u64() as usize];
                connection.receive(workload, now_, done)?;
                if until.is_none_or(|until| now_ < until) {
                    connection.fill(depth, sync_reads, workload, now_, next);
                }
            }
        }
    }
}

impl Connection {
    fn open(endpoint: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(endpoint)?;
        stream.set_nodelay(true)?;
        let mut hello = BytesMut::new();
        framed(&mut hello, |out| {
            out.put_i32(0); // protocol version
            out.put_i64(0); // last zxid seen
            out.put_i32(SESSION_MS);
            out.put_i64(0); // session id
            text(out, &[0; 16]); // its password
            out.put_u8(0); // not read-only
        });
        stream.write_all(&hello)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut welcome = vec![0; u32::from_be_bytes(length).min(1024) as usize];
        stream.read_exact(&mut welcome)?;
        ensure!(number(&welcome, 4) > 0, "the session was refused");
        stream.set_nonblocking(true)?;
        let (incoming, outgoing) = (BytesMut::with_capacity(256 << 10), BytesMut::with_capacity(64 << 10));
        Ok(Self { stream, incoming, outgoing, wants_room: false, waiting: VecDeque::new(), under_way: 0, xid: 0 })
    }

    fn fill(&mut self, depth: usize, sync_reads: bool, workload: &mut Workload, now: Instant, next: Next<'_>) {
        while self.under_way < depth {
            let Some(ask) = next(workload, now) else { return };
            self.under_way += 1;
            match &ask {
                Ask::Create { path, data } => self.request(CREATE, |out| {
                    text(out, path.as_bytes());
                    text(out, data);
                    out.put_i32(1); // one rule of access: anyone may do anything
                    out.put_i32(31);
                    text(out, b"world");
                    text(out, b"anyone");
                    out.put_i32(0); // permanent
                }),
                Ask::Read(operation) => {
                    let path = workload.path(operation.key).as_bytes();
                    if sync_reads {
                        self.request(SYNC, |out| text(out, path));
                        self.waiting.push_back(None);
                    }
                    self.request(GET_DATA, |out| {
                        text(out, path);
                        out.put_u8(0); // no watch
                    });
                }
                Ask::Write(operation) => {
                    let data = workload.value(operation.key);
                    let path = workload.path(operation.key).as_bytes();
                    self.request(SET_DATA, |out| {
                        text(out, path);
                        text(out, &data);
                        out.put_i32(-1); // whatever its version
                    });
                }
            }
            self.waiting.push_back(Some(ask));
        }
    }

    fn request(&mut self, kind: i32, body: impl FnOnce(&mut BytesMut)) {
        self.xid = (self.xid + 1) & i32::MAX;
        let xid = self.xid;
        framed(&mut self.outgoing, |out| {
            out.put_i32(xid);
            out.put_i32(kind);
            body(out);
        });
    }

    fn send(&mut self, epoll: &OwnedFd, index: usize) -> Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(sent) => self.outgoing.advance(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let wants = !self.outgoing.is_empty();
        if wants != self.wants_room {
            self.wants_room = wants;
            let flags = if wants { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(epoll, &self.stream, EventData::new_u64(index as u64), flags)?;
        }
        Ok(())
    }

    fn receive(&mut self, workload: &mut Workload, now: Instant, done: Done<'_>) -> Result<()> {
        self.incoming.reserve(64 << 10);
        let start = self.incoming.len();
        let room = self.incoming.capacity();
        self.incoming.resize(room, 0);
        let read = self.stream.read(&mut self.incoming[start..]);
        self.incoming.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(length) => ensure!(length > 0, "a server closed a connection"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        while self.incoming.len() >= 4 {
            let length = number(&self.incoming, 0) as usize;
            if self.incoming.len() < 4 + length {
                break;
            }
            self.incoming.advance(4);
            let body = self.incoming.split_to(length);
            if number(&body, 0) < 0 {
                continue; // a notice, not a reply
            }
            let Some(ask) = self.waiting.pop_front().context("a reply to nothing")? else { continue };
            self.under_way -= 1;
            done(workload, &ask, &reply(&ask, &body), now)?;
        }
        Ok(())
    }
}

/// Header: xid, zxid, error. Then, if there was none, what was asked for.
fn reply<'a>(ask: &Ask, body: &'a [u8]) -> Reply<'a> {
    let error = number(body, 12);
    let version_at = |stat: usize| (error == 0).then(|| number(body, stat + VERSION_IN_STAT) as u64);
    match ask {
        Ask::Read(_) if error == 0 => {
            let data = body.get(20..20 + number(body, 16).max(0) as usize).unwrap_or_default();
            Reply { error, data, version: version_at(20 + data.len()) }
        }
        Ask::Write(_) => Reply { error, data: &[], version: version_at(16) },
        Ask::Read(_) | Ask::Create { .. } => Reply { error, data: &[], version: None },
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
