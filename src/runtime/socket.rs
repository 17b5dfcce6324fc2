//! Connections.
//!
//! ```text
//!  connect --> Connecting --> Open --> Flushing --> Ending --> (slot free)
//!  accept ----------------------^        |             ^
//!                               +--------+-------------+  an error, the peer's end, `abort`
//! ```
//!
//! A connection in `Flushing` or `Ending` is over for the caller. Its slot is free once no request of it is in flight and
//! its descriptor has been given back.
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use bytes::Bytes;
use io_uring::types::{CancelBuilder, Fixed};
use io_uring::{cqueue, opcode};
use rustix::net::SocketAddrAny;

use super::outgoing::Outgoing;
use super::ring::{BUFFER_GROUP, Event, Handler, Ring};
use super::tag::{GENERATION_MASK, Kind, Tag};

/// A connection of a ring; never used again for another one while anybody could still mean this one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId {
    slot: u32,
    generation: u32,
}

/// Why a connection is over.
#[derive(Debug)]
pub enum CloseReason {
    /// The peer sends no more; what it had sent has been reported.
    EndOfStream,
    /// A send or a receive failed; what was in flight in either direction may be lost.
    Failed(io::Error),
}

/// The sockets of one ring.
pub(super) struct Sockets {
    connections: Vec<Connection>,
    free: Vec<u32>,
    connections_max: u32,
    /// Where connections start in the ring's table of files.
    table_offset: u32,
    /// Connections with something queued and no send in flight.
    to_send: Vec<u32>,
    /// Connections whose receive ended and is to go on.
    to_receive: Vec<u32>,
    /// Sends at rest: one is needed for each connection that is sending right now.
    #[allow(clippy::vec_box, reason = "the kernel is given their addresses: they must not move with the vector")]
    spare: Vec<Box<Outgoing>>,
}

struct Connection {
    generation: u32,
    state: State,
    /// Requests whose completion is still to come.
    in_flight: u8,
    receiving: bool,
    paused: bool,
    above_high_mark: bool,
    in_to_send: bool,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    sending: Option<Box<Outgoing>>,
    /// Boxed: the kernel reads it where it stands.
    address: Option<Box<SocketAddrAny>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    Connecting,
    Open,
    Flushing,
    Ending,
    /// The descriptor is being given back.
    Closing,
}

impl Ring {
    /// Starts to connect to `address`: `Connected` or `ConnectFailed` follows. What is sent before leaves once connected.
    pub fn connect(&mut self, address: SocketAddr) -> io::Result<ConnectionId> {
        let socket = self.socket_for(address)?;
        let connection = self.sockets.take_slot(State::Connecting).ok_or_else(no_slot)?;
        let index = self.sockets.index(connection.slot);
        if let Err(error) = self.install(index, &socket) {
            self.sockets.release_slot(connection.slot);
            return Err(error);
        }
        let entry = self.sockets.at(connection.slot);
        entry.in_flight += 1;
        let address = entry.address.insert(Box::new(SocketAddrAny::from(address)));
        let request = opcode::Connect::new(Fixed(index), address.as_ptr().cast(), address.addr_len()).build();
        self.push(request.user_data(connection.tag(Kind::Connect)));
        Ok(connection)
    }

    /// Queues `bytes`; they leave with the next turn, in one send with all that was queued for this connection. On a
    /// connection that is over they are dropped.
    pub fn send(&mut self, connection: ConnectionId, bytes: Bytes) {
        let high = self.options.queue_high_bytes;
        let Some(entry) = self.sockets.live(connection) else { return };
        if bytes.is_empty() {
            return;
        }
        entry.queued_bytes += bytes.len();
        entry.above_high_mark |= entry.queued_bytes > high;
        entry.queue.push_back(bytes);
        self.sockets.wants_to_send(connection.slot);
    }

    /// Bytes that were queued and not yet taken by the kernel; zero on a connection that is over.
    #[must_use]
    pub fn queued_bytes(&self, connection: ConnectionId) -> usize {
        self.sockets.peek(connection).map_or(0, |entry| entry.queued_bytes)
    }

    /// Stops taking bytes from the peer, whose window then closes; what has already arrived may still be reported.
    pub fn pause_receiving(&mut self, connection: ConnectionId) {
        let Some(entry) = self.sockets.live(connection) else { return };
        if !std::mem::replace(&mut entry.paused, true) && entry.receiving {
            let cancel = opcode::AsyncCancel::new(connection.tag(Kind::Receive)).build();
            self.push(cancel.user_data(Tag::new(Kind::Ignored, 0, 0).pack()));
        }
    }

    /// Takes bytes again.
    pub fn resume_receiving(&mut self, connection: ConnectionId) {
        let Some(entry) = self.sockets.live(connection) else { return };
        if std::mem::replace(&mut entry.paused, false) && !entry.receiving && entry.state == State::Open {
            self.sockets.to_receive.push(connection.slot);
        }
    }

    /// Ends a connection once what is queued has been sent. Nothing more is reported of it.
    pub fn close(&mut self, connection: ConnectionId) {
        let Some(entry) = self.sockets.live(connection) else { return };
        if entry.state == State::Open && entry.queued_bytes > 0 {
            entry.state = State::Flushing;
        } else {
            self.end(connection.slot);
        }
    }

    /// Ends a connection now; what is queued is dropped. Nothing more is reported of it.
    pub fn abort(&mut self, connection: ConnectionId) {
        let entry = self.sockets.connections.get(connection.slot as usize);
        let meant = entry.is_some_and(|entry| entry.generation == connection.generation && entry.state.can_end());
        if meant {
            self.end(connection.slot);
        }
    }

    /// Connections there are, those being closed included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.sockets.connections.len() - self.sockets.free.len()
    }

    /// Queues the receives and sends that are due.
    pub(super) fn prepare_connections(&mut self) {
        let mut slots = std::mem::take(&mut self.sockets.to_receive);
        for slot in slots.drain(..) {
            self.arm_receive(slot);
        }
        self.sockets.to_receive = slots;
        let mut slots = std::mem::take(&mut self.sockets.to_send);
        for slot in slots.drain(..) {
            self.start_send(slot);
        }
        self.sockets.to_send = slots;
    }

    pub(super) fn received(&mut self, tag: Tag, result: io::Result<u32>, flags: u32, handler: &mut Handler<'_>) {
        let more = cqueue::more(flags);
        let entry = self.sockets.owner(tag);
        if !more {
            entry.receiving = false;
            entry.in_flight -= 1;
        }
        let connection = ConnectionId { slot: tag.slot, generation: entry.generation };
        let open = entry.state == State::Open;
        let buffer = cqueue::buffer_select(flags);
        let buffers = Rc::clone(&self.receive);
        match result {
            Ok(0) => self.fail(connection, CloseReason::EndOfStream, handler),
            Ok(len) if open => {
                self.counters.receives += 1;
                self.counters.received_bytes += u64::from(len);
                let id = buffer.expect("received bytes lie in a buffer of ours");
                handler(self, Event::Received { connection, bytes: buffers.bytes(id, len as usize) });
            }
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => self.counters.starved_receives += 1,
                // Ours: receiving was paused, or is to go on.
                Some(libc::ECANCELED) => {}
                _ => self.fail(connection, CloseReason::Failed(error), handler),
            },
        }
        if let Some(id) = buffer {
            buffers.give_back(id);
        }
        if !more {
            let entry = self.sockets.at(tag.slot);
            if entry.state == State::Open && !entry.paused {
                self.sockets.to_receive.push(tag.slot);
            }
            self.settle(tag.slot);
        }
    }

    pub(super) fn sent(&mut self, tag: Tag, result: io::Result<u32>, handler: &mut Handler<'_>) {
        let low = self.options.queue_low_bytes;
        let index = self.sockets.index(tag.slot);
        let entry = self.sockets.owner(tag);
        entry.in_flight -= 1;
        let connection = ConnectionId { slot: tag.slot, generation: entry.generation };
        let outgoing = entry.sending.as_mut().expect("what is being sent is kept until it is sent");
        let sent = match result {
            Ok(sent) if sent > 0 && entry.state.sends() => sent as usize,
            other => {
                let error = other.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                let outgoing = entry.sending.take().expect("it was just looked at");
                self.sockets.rest(outgoing);
                self.fail(connection, CloseReason::Failed(error), handler);
                self.settle(tag.slot);
                return;
            }
        };
        entry.queued_bytes -= sent;
        let done = outgoing.advance(sent);
        if !done {
            entry.in_flight += 1;
            let request = outgoing.entry(index);
            self.push(request.user_data(connection.tag(Kind::Send)));
        }
        let drained = entry_drained(self.sockets.at(tag.slot), low);
        self.counters.sent_bytes += sent as u64;
        if done {
            let outgoing = self.sockets.at(tag.slot).sending.take().expect("it was just looked at");
            self.sockets.rest(outgoing);
            self.sockets.wants_to_send(tag.slot);
        }
        let entry = self.sockets.at(tag.slot);
        if entry.state == State::Flushing && entry.queued_bytes == 0 {
            self.end(tag.slot);
        } else if drained {
            handler(self, Event::Drained { connection });
        }
    }

    pub(super) fn connected(&mut self, tag: Tag, result: io::Result<u32>, handler: &mut Handler<'_>) {
        let entry = self.sockets.owner(tag);
        entry.in_flight -= 1;
        entry.address = None;
        let connection = ConnectionId { slot: tag.slot, generation: entry.generation };
        match result {
            _ if entry.state != State::Connecting => self.settle(tag.slot),
            Ok(_) => {
                entry.state = State::Open;
                if !entry.paused {
                    self.sockets.to_receive.push(tag.slot);
                }
                self.sockets.wants_to_send(tag.slot);
                handler(self, Event::Connected { connection });
            }
            Err(error) => {
                self.end(tag.slot);
                handler(self, Event::ConnectFailed { connection, error });
            }
        }
    }

    /// A step of a connection's end has been made.
    pub(super) fn ended(&mut self, tag: Tag, result: &io::Result<u32>) {
        let entry = self.sockets.owner(tag);
        entry.in_flight -= 1;
        if tag.kind == Kind::Close {
            self.sockets.release_slot(tag.slot);
            // A place and a descriptor are free again.
            self.listeners.try_again();
            return;
        }
        let missed = matches!(result, Ok(cancelled) if *cancelled < u32::from(entry.in_flight)) || result.is_err();
        if missed && entry.in_flight > 0 && tag.kind == Kind::Cancel {
            // A request escaped the cancellation.
            self.shut_down(tag.slot);
            return;
        }
        self.settle(tag.slot);
    }

    /// Ends a connection that is not the caller's doing, and says so unless the caller has ended it before.
    fn fail(&mut self, connection: ConnectionId, reason: CloseReason, handler: &mut Handler<'_>) {
        let state = self.sockets.at(connection.slot).state;
        if state.can_end() {
            self.end(connection.slot);
        }
        if state == State::Open {
            handler(self, Event::Closed { connection, reason });
        }
    }

    fn end(&mut self, slot: u32) {
        let index = self.sockets.index(slot);
        let entry = self.sockets.at(slot);
        assert!(entry.state.can_end(), "a connection ends once");
        let was_connecting = entry.state == State::Connecting;
        entry.state = State::Ending;
        entry.queue = VecDeque::new();
        entry.queued_bytes = 0;
        if entry.in_flight == 0 {
            self.settle(slot);
            return;
        }
        if !was_connecting {
            self.shut_down(slot);
            return;
        }
        // The kernel looks through all requests of the ring for those of this socket: done for thousands of connections that
        // end together it would take all the time there is. Those that are being made are few.
        entry.in_flight += 1;
        let tag = Tag::new(Kind::Cancel, entry.generation, slot).pack();
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::fd(Fixed(index)).all()).build();
        self.push(cancel.user_data(tag));
    }

    /// Shuts the socket down: whatever is in flight on it then ends by itself.
    fn shut_down(&mut self, slot: u32) {
        let index = self.sockets.index(slot);
        let entry = self.sockets.at(slot);
        entry.in_flight += 1;
        let tag = Tag::new(Kind::Shutdown, entry.generation, slot).pack();
        self.push(opcode::Shutdown::new(Fixed(index), libc::SHUT_RDWR).build().user_data(tag));
    }

    /// Gives the descriptor back once nothing is in flight on a connection that is ending.
    fn settle(&mut self, slot: u32) {
        let index = self.sockets.index(slot);
        let entry = self.sockets.at(slot);
        if entry.state == State::Ending && entry.in_flight == 0 {
            entry.state = State::Closing;
            entry.in_flight += 1;
            let tag = Tag::new(Kind::Close, entry.generation, slot).pack();
            self.push(opcode::Close::new(Fixed(index)).build().user_data(tag));
        }
    }

    /// Takes in a connected socket.
    pub(super) fn adopt(&mut self, socket: &OwnedFd) -> io::Result<ConnectionId> {
        let connection = self.sockets.take_slot(State::Open).ok_or_else(no_slot)?;
        if let Err(error) = self.install(self.sockets.index(connection.slot), socket) {
            self.sockets.release_slot(connection.slot);
            return Err(error);
        }
        self.sockets.to_receive.push(connection.slot);
        Ok(connection)
    }

    fn arm_receive(&mut self, slot: u32) {
        let index = self.sockets.index(slot);
        let entry = self.sockets.at(slot);
        if entry.state != State::Open || entry.receiving || entry.paused {
            return;
        }
        entry.receiving = true;
        entry.in_flight += 1;
        let tag = Tag::new(Kind::Receive, entry.generation, slot).pack();
        self.push(opcode::RecvMulti::new(Fixed(index), BUFFER_GROUP).build().user_data(tag));
    }

    fn start_send(&mut self, slot: u32) {
        let index = self.sockets.index(slot);
        let mut outgoing = self.sockets.spare.pop().unwrap_or_else(Outgoing::new);
        let entry = self.sockets.at(slot);
        entry.in_to_send = false;
        if !entry.state.sends() || entry.sending.is_some() || entry.queue.is_empty() {
            self.sockets.rest(outgoing);
            return;
        }
        outgoing.fill(&mut entry.queue);
        if entry.queue.is_empty() && entry.queue.capacity() > QUEUE_KEPT {
            entry.queue = VecDeque::new();
        }
        let request = entry.sending.insert(outgoing).entry(index);
        entry.in_flight += 1;
        let tag = Tag::new(Kind::Send, entry.generation, slot).pack();
        self.counters.sends += 1;
        self.push(request.user_data(tag));
    }
}

impl Sockets {
    pub(super) fn new(table_offset: u32, connections_max: u32) -> Self {
        Self {
            connections: Vec::new(),
            free: Vec::new(),
            connections_max,
            table_offset,
            to_send: Vec::new(),
            to_receive: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Connections that there is a place for.
    pub(super) fn free_places(&self) -> u32 {
        self.connections_max - (self.connections.len() - self.free.len()) as u32
    }

    fn index(&self, slot: u32) -> u32 {
        self.table_offset + slot
    }

    fn at(&mut self, slot: u32) -> &mut Connection {
        &mut self.connections[slot as usize]
    }

    /// The connection a completion belongs to.
    fn owner(&mut self, tag: Tag) -> &mut Connection {
        let entry = &mut self.connections[tag.slot as usize];
        assert_eq!(
            entry.generation & GENERATION_MASK,
            tag.generation,
            "a slot is not reused while a request is in flight"
        );
        entry
    }

    /// The connection `id` names, unless it is over for the caller.
    fn live(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(id.slot as usize).filter(|entry| entry.is_live(id))
    }

    fn peek(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id.slot as usize).filter(|entry| entry.is_live(id))
    }

    fn take_slot(&mut self, state: State) -> Option<ConnectionId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.connections.len() as u32 == self.connections_max => return None,
            None => {
                self.connections.push(Connection::free());
                self.connections.len() as u32 - 1
            }
        };
        let entry = self.at(slot);
        entry.state = state;
        Some(ConnectionId { slot, generation: entry.generation })
    }

    fn release_slot(&mut self, slot: u32) {
        let entry = self.at(slot);
        assert_eq!(entry.in_flight, 0, "a free slot has nothing in flight");
        let generation = entry.generation.wrapping_add(1);
        let in_to_send = entry.in_to_send;
        *entry = Connection { generation, in_to_send, ..Connection::free() };
        self.free.push(slot);
    }

    fn wants_to_send(&mut self, slot: u32) {
        let entry = self.at(slot);
        let ready = entry.state.sends() && entry.sending.is_none() && !entry.queue.is_empty();
        if ready && !std::mem::replace(&mut entry.in_to_send, true) {
            self.to_send.push(slot);
        }
    }

    fn rest(&mut self, mut outgoing: Box<Outgoing>) {
        outgoing.clear();
        if self.spare.len() < SPARE_SENDS {
            self.spare.push(outgoing);
        }
    }
}

impl Connection {
    fn free() -> Self {
        Self {
            generation: 0,
            state: State::Free,
            in_flight: 0,
            receiving: false,
            paused: false,
            above_high_mark: false,
            in_to_send: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            sending: None,
            address: None,
        }
    }
}

impl Connection {
    fn is_live(&self, id: ConnectionId) -> bool {
        self.generation == id.generation && matches!(self.state, State::Connecting | State::Open)
    }
}

impl State {
    fn sends(self) -> bool {
        matches!(self, Self::Open | Self::Flushing)
    }

    fn can_end(self) -> bool {
        matches!(self, Self::Connecting | Self::Open | Self::Flushing)
    }
}

impl ConnectionId {
    fn tag(self, kind: Kind) -> u64 {
        Tag::new(kind, self.generation, self.slot).pack()
    }
}

fn entry_drained(entry: &mut Connection, low: usize) -> bool {
    let drained = entry.above_high_mark && entry.queued_bytes <= low && entry.state == State::Open;
    entry.above_high_mark &= !drained;
    drained
}

pub(super) fn no_slot() -> io::Error {
    io::Error::other("every place for a connection in this ring is taken")
}

/// A connection's output queue keeps no more room than this once it is empty.
const QUEUE_KEPT: usize = 32;

const SPARE_SENDS: usize = 64;
