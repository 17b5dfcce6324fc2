//! The loop.
#![allow(unsafe_code, reason = "submissions hand memory to the kernel; this folder's invariants 1 and 2 say why it stays valid")]

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use bytes::Bytes;
use io_uring::types::{Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::buffers::{self, Buffers};
use super::clock;
use super::connection::{Address, Connection, ConnectionId, Stage};
use super::socket;
use super::table::Table;
use super::wake::Waker;
use super::writes::DurableWrite;
use crate::time::Instant;

/// How large a ring is. The defaults take about 9 MiB of address space, and of memory what is used.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Submissions between two system calls.
    pub entries: u32,
    /// Files and sockets at once.
    pub files: u32,
    /// Buffers for receives, a power of two.
    pub receive_buffers: u16,
    /// The size of each.
    pub receive_buffer_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { entries: 1024, files: 65_536, receive_buffers: 128, receive_buffer_bytes: 64 << 10 }
    }
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Somebody connected.
    Accepted { listener: ListenerId, connection: ConnectionId },
    /// A connection asked for with [`Ring::connect`] stands.
    Connected { connection: ConnectionId },
    /// Bytes arrived; they are there until the handler returns.
    Received { connection: ConnectionId, bytes: &'a [u8] },
    /// The connection is no more (or never came to be): nothing follows.
    Closed { connection: ConnectionId, error: Option<io::Error> },
    /// The write with that token is durable, whole; or not.
    Written { token: u64, result: io::Result<()> },
    /// Another thread woke the loop.
    Woken,
}

/// Names one listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerId(u32);

/// Names one registered file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileId(u32);

/// What a ring has done.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    pub turns: u64,
    pub submissions: u64,
    pub completions: u64,
    pub sends: u64,
    pub writes: u64,
}

/// One core's ring.
pub struct Ring {
    // Dropped first: with it every operation ends.
    ring: IoUring,
    buffers: Buffers,
    waker: Waker,
    woken: Box<[u8; 8]>,
    /// What each registered slot holds.
    slots: Table<Slot>,
    writes: Table<Box<DurableWrite>>,
    dirty: Vec<ConnectionId>,
    /// Submissions that found no room.
    backlog: std::collections::VecDeque<squeue::Entry>,
    completions: Vec<(u64, i32, u32)>,
    counters: Counters,
}

enum Slot {
    Listener,
    File,
    Connection(Connection),
}

impl Ring {
    /// A ring of its own for the calling thread, which must be the one that uses it.
    ///
    /// # Errors
    ///
    /// What the kernel refuses: io_uring is disabled, forbidden, or too old.
    pub fn new(options: Options) -> io::Result<Self> {
        let modern = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(options.entries * 8)
            .build(options.entries);
        // Before Linux 6.1 there is no deferred task work; the rest is the same.
        let ring = match modern {
            Ok(ring) => ring,
            Err(_) => IoUring::builder().setup_cqsize(options.entries * 8).build(options.entries)?,
        };
        ring.submitter().register_files_sparse(options.files)?;
        let buffers = Buffers::new(options.receive_buffers, options.receive_buffer_bytes)?;
        buffers.register(&ring)?;
        let mut this = Self {
            ring,
            buffers,
            waker: Waker::new()?,
            woken: Box::default(),
            slots: Table::new(options.files),
            writes: Table::new(u32::MAX),
            dirty: Vec::new(),
            backlog: std::collections::VecDeque::new(),
            completions: Vec::new(),
            counters: Counters::default(),
        };
        this.arm_waker();
        Ok(this)
    }

    /// Listens; `shared`: other rings of this process listen on the same address. The address tells the port if any was
    /// asked for.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn listen(&mut self, address: SocketAddr, shared: bool) -> io::Result<(ListenerId, SocketAddr)> {
        let listener = socket::listen(address, shared)?;
        let address = socket::local_address(&listener)?;
        let raw = listener.as_raw_fd();
        let slot = self.take_slot(raw, Slot::Listener)?;
        self.arm_accept(slot);
        Ok((ListenerId(slot), address))
    }

    /// Begins to connect; answered by [`Event::Connected`] or [`Event::Closed`].
    pub fn connect(&mut self, address: SocketAddr) -> io::Result<ConnectionId> {
        let socket = socket::unconnected(address)?;
        let slot = self.take_slot(socket.as_raw_fd(), Slot::Connection(Connection::new(Stage::Connecting)))?;
        let address = Address::new(address);
        let entry = opcode::Connect::new(Fixed(slot), (&raw const address.storage).cast(), address.len).build();
        let connection = self.connection_at(slot).expect("it was just made");
        connection.address = Some(address);
        connection.operations += 1;
        let tag = self.tag(Kind::Connect, slot);
        self.push(entry.user_data(tag));
        Ok(ConnectionId { slot, generation: self.slots.generation(slot) })
    }

    /// Queues bytes; they leave with the next turn, in order. Nothing happens if the connection is gone.
    pub fn send(&mut self, id: ConnectionId, bytes: Bytes) {
        let Some(connection) = self.connection(id).filter(|c| matches!(c.stage, Stage::Open | Stage::Connecting)) else {
            return;
        };
        connection.queue(bytes);
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(id);
        }
    }

    /// Bytes queued and not yet taken by the kernel.
    #[must_use]
    pub fn queued_bytes(&mut self, id: ConnectionId) -> usize {
        self.connection(id).map_or(0, |connection| connection.queued_bytes())
    }

    /// Closes at once. [`Event::Closed`] follows.
    pub fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id).filter(|c| c.stage != Stage::Closing) else { return };
        connection.stage = Stage::Closing;
        connection.drop_output();
        connection.operations += 1;
        let tag = self.tag(Kind::Shutdown, id.slot);
        self.push(opcode::Shutdown::new(Fixed(id.slot), libc::SHUT_RDWR).build().user_data(tag));
    }

    /// Closes once everything queued has left. [`Event::Closed`] follows.
    pub fn close_when_sent(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id).filter(|c| c.stage != Stage::Closing) else { return };
        if connection.has_output() || connection.is_sending() {
            connection.stage = Stage::Draining;
        } else {
            self.close(id);
        }
    }

    /// Registers an open file, for durable writes.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub fn register_file(&mut self, file: File) -> io::Result<FileId> {
        // The registration keeps the file open.
        self.take_slot(file.as_raw_fd(), Slot::File).map(FileId)
    }

    /// Begins a durable write: the pieces, one after the other, at `offset`, then a flush of the data. Answered by
    /// [`Event::Written`]. Several may be under way; they may end in any order.
    pub fn write_durable(&mut self, file: FileId, offset: u64, pieces: Vec<Bytes>, token: u64) {
        let write = self.writes.insert(Box::new(DurableWrite::new(token, pieces))).expect("writes are few");
        let generation = self.writes.generation(write);
        let (first, second) = self.writes.get(write, generation).expect("it was just made").entries(file.0, offset);
        let first = first.user_data(pack(Kind::Write, write, generation));
        let second = second.user_data(pack(Kind::Flush, write, generation));
        self.counters.writes += 1;
        // A link must not be torn between two submissions.
        if self.room() < 2 || !self.backlog.is_empty() {
            self.backlog.push_back(first);
            self.backlog.push_back(second);
        } else {
            self.push(first);
            self.push(second);
        }
    }

    /// Wakes this ring from other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Submits what was asked, waits until something happens or `deadline` has come (it may be past), and hands out all
    /// that happened.
    ///
    /// # Errors
    ///
    /// When the ring itself fails.
    pub fn turn(&mut self, deadline: Instant, handler: &mut dyn FnMut(Event<'_>)) -> io::Result<()> {
        self.counters.turns += 1;
        self.push_sends();
        loop {
            self.push_backlog();
            let rest = !self.backlog.is_empty();
            self.enter(if rest { Instant::ZERO } else { deadline })?;
            if !rest {
                break;
            }
        }
        let mut completions = std::mem::take(&mut self.completions);
        completions.extend(self.ring.completion().map(|cqe| (cqe.user_data(), cqe.result(), cqe.flags())));
        self.counters.completions += completions.len() as u64;
        for (tag, result, flags) in completions.drain(..) {
            self.complete(tag, result, flags, handler);
        }
        self.completions = completions;
        Ok(())
    }

    fn enter(&mut self, deadline: Instant) -> io::Result<()> {
        let wait = if deadline == Instant::FOREVER { None } else { Some(deadline.since(clock::now()).as_nanos()) };
        let ready = !self.ring.completion().is_empty();
        let span = wait.map(|nanos| if ready { 0 } else { nanos });
        let nanos = span.unwrap_or_default();
        let timespec = Timespec::new().sec(nanos / 1_000_000_000).nsec((nanos % 1_000_000_000) as u32);
        let args = if span.is_some() { SubmitArgs::new().timespec(&timespec) } else { SubmitArgs::new() };
        match self.ring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // Time is up; interrupted; or completions must be taken before more can be submitted.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn push_sends(&mut self) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(connection) = self.connection(id) else { continue };
            connection.dirty = false;
            self.push_send(id.slot);
        }
    }

    fn push_send(&mut self, slot: u32) {
        let Some(connection) = self.connection_at(slot).filter(|c| matches!(c.stage, Stage::Open | Stage::Draining)) else {
            return;
        };
        if let Some(entry) = connection.next_send(slot) {
            self.counters.sends += 1;
            let tag = self.tag(Kind::Send, slot);
            self.push(entry.user_data(tag));
        }
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.counters.submissions += 1;
        if !self.backlog.is_empty() {
            self.backlog.push_back(entry);
            return;
        }
        // SAFETY: what the entry points to is owned by `self.slots`, `self.writes`, `self.buffers` or `self.woken`, at an
        // address that does not change, until the operation's completion was taken.
        if unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    fn room(&mut self) -> usize {
        let queue = self.ring.submission();
        queue.capacity() - queue.len()
    }

    /// Submissions that found no room, as far as there is room now. A write and its flush go together.
    fn push_backlog(&mut self) {
        while let Some(entry) = self.backlog.front() {
            let linked = kind_of(entry.get_user_data()) == Kind::Write;
            if self.room() < 1 + usize::from(linked) {
                return;
            }
            for _ in 0..1 + usize::from(linked) {
                let entry = self.backlog.pop_front().expect("a write is followed by its flush");
                // SAFETY: as in `push`.
                unsafe { self.ring.submission().push(&entry) }.expect("there is room");
            }
        }
    }

    fn complete(&mut self, tag: u64, result: i32, flags: u32, handler: &mut dyn FnMut(Event<'_>)) {
        let (kind, index, generation) = unpack(tag);
        match kind {
            Kind::Write | Kind::Flush => self.complete_write(kind, index, generation, result, handler),
            Kind::Wake => {
                self.waker.seen();
                self.arm_waker();
                handler(Event::Woken);
            }
            Kind::Accept => self.complete_accept(index, result, flags, handler),
            Kind::Receive => self.complete_receive(index, generation, result, flags, handler),
            Kind::Connect | Kind::Send | Kind::Shutdown => self.complete_other(kind, index, result, handler),
        }
    }

    fn complete_write(
        &mut self,
        kind: Kind,
        index: u32,
        generation: u32,
        result: i32,
        handler: &mut dyn FnMut(Event<'_>),
    ) {
        let write = self.writes.get_mut(index, generation).expect("a write ends with its second completion");
        if kind == Kind::Write { write.set_written(result) } else { write.set_flushed(result) }
        if let Some((token, result)) = write.outcome() {
            self.writes.remove(index);
            handler(Event::Written { token, result });
        }
    }

    fn complete_accept(&mut self, listener: u32, result: i32, flags: u32, handler: &mut dyn FnMut(Event<'_>)) {
        if !cqueue::more(flags) {
            self.arm_accept(listener);
        }
        if result < 0 {
            // Out of descriptors, or the client is gone already: the next one may fare better.
            return;
        }
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(result) };
        socket::prepare(&socket);
        let raw = socket.as_raw_fd();
        if let Ok(slot) = self.take_slot(raw, Slot::Connection(Connection::new(Stage::Open))) {
            let connection = ConnectionId { slot, generation: self.slots.generation(slot) };
            self.arm_receive(slot);
            handler(Event::Accepted { listener: ListenerId(listener), connection });
        }
    }

    fn complete_receive(
        &mut self,
        slot: u32,
        generation: u32,
        result: i32,
        flags: u32,
        handler: &mut dyn FnMut(Event<'_>),
    ) {
        let id = ConnectionId { slot, generation };
        let connection = self.connection(id).expect("a slot is kept until its operations are over");
        let open = matches!(connection.stage, Stage::Open);
        let more = cqueue::more(flags);
        if !more {
            connection.operations -= 1;
            connection.receiving = false;
        }
        if let Some(buffer) = cqueue::buffer_select(flags) {
            if result > 0 && open {
                handler(Event::Received { connection: id, bytes: self.buffers.bytes(buffer, result as usize) });
            }
            self.buffers.give_back(buffer);
        }
        match -result {
            // Every buffer was in use, and they are back by now.
            libc::ENOBUFS if open => self.arm_receive(slot),
            _ if result > 0 && more => {}
            _ if result > 0 && open => self.arm_receive(slot),
            0 => self.end(id, None),
            code if code > 0 => self.end(id, Some(io::Error::from_raw_os_error(code))),
            _ => {}
        }
        self.release(id, handler);
    }

    fn complete_other(&mut self, kind: Kind, slot: u32, result: i32, handler: &mut dyn FnMut(Event<'_>)) {
        let id = ConnectionId { slot, generation: self.slots.generation(slot) };
        let connection = self.connection(id).expect("a slot is kept until its operations are over");
        connection.operations -= 1;
        match kind {
            Kind::Connect if result == 0 => {
                connection.address = None;
                if connection.stage == Stage::Connecting {
                    connection.stage = Stage::Open;
                    self.arm_receive(slot);
                    self.push_send(slot);
                    handler(Event::Connected { connection: id });
                }
            }
            Kind::Send if result >= 0 => {
                connection.sent(result as usize);
                let done = !connection.has_output();
                match connection.stage {
                    Stage::Draining if done => self.close(id),
                    Stage::Open | Stage::Draining => self.push_send(slot),
                    Stage::Closing | Stage::Connecting => {}
                }
            }
            Kind::Send => {
                connection.sent(0);
                self.end(id, Some(io::Error::from_raw_os_error(-result)));
            }
            Kind::Connect => self.end(id, Some(io::Error::from_raw_os_error(-result))),
            // The other end may have closed before: then there is nothing to shut down.
            _ => {}
        }
        self.release(id, handler);
    }

    /// The connection is broken: whatever is under way is ended.
    fn end(&mut self, id: ConnectionId, error: Option<io::Error>) {
        if let Some(connection) = self.connection(id).filter(|c| c.stage != Stage::Closing) {
            connection.reason = error;
            self.close(id);
        }
    }

    /// Gives the slot away if the connection is closing and nothing is under way any more.
    fn release(&mut self, id: ConnectionId, handler: &mut dyn FnMut(Event<'_>)) {
        let Some(connection) = self.connection(id) else { return };
        if connection.stage != Stage::Closing || connection.operations > 0 {
            return;
        }
        let error = connection.reason.take();
        self.free_slot(id.slot);
        handler(Event::Closed { connection: id, error });
    }

    fn arm_accept(&mut self, slot: u32) {
        let tag = self.tag(Kind::Accept, slot);
        self.push(opcode::AcceptMulti::new(Fixed(slot)).flags(libc::SOCK_CLOEXEC).build().user_data(tag));
    }

    fn arm_receive(&mut self, slot: u32) {
        let connection = self.connection_at(slot).expect("the caller has it");
        assert!(!std::mem::replace(&mut connection.receiving, true), "one receive a connection");
        connection.operations += 1;
        let tag = self.tag(Kind::Receive, slot);
        self.push(opcode::RecvMulti::new(Fixed(slot), buffers::GROUP).build().user_data(tag));
    }

    fn arm_waker(&mut self) {
        let (fd, at) = (Fd(self.waker.raw()), self.woken.as_mut_ptr());
        self.push(opcode::Read::new(fd, at, 8).build().user_data(pack(Kind::Wake, 0, 0)));
    }

    fn take_slot(&mut self, fd: RawFd, what: Slot) -> io::Result<u32> {
        let full = || io::Error::other("every slot for files and sockets is taken");
        let slot = self.slots.insert(what).ok_or_else(full)?;
        match self.ring.submitter().register_files_update(slot, &[fd]) {
            Ok(_) => Ok(slot),
            Err(error) => {
                self.slots.remove(slot);
                Err(error)
            }
        }
    }

    fn free_slot(&mut self, slot: u32) {
        self.ring.submitter().register_files_update(slot, &[-1]).expect("a slot in use can be emptied");
        self.slots.remove(slot);
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        match self.slots.get_mut(id.slot, id.generation) {
            Some(Slot::Connection(connection)) => Some(connection),
            _ => None,
        }
    }

    fn connection_at(&mut self, slot: u32) -> Option<&mut Connection> {
        let generation = self.slots.generation(slot);
        self.connection(ConnectionId { slot, generation })
    }

    fn tag(&self, kind: Kind, slot: u32) -> u64 {
        pack(kind, slot, self.slots.generation(slot))
    }
}

/// What a completion belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Wake,
    Accept,
    Connect,
    Receive,
    Send,
    Shutdown,
    Write,
    Flush,
}

const KINDS: [Kind; 8] = [
    Kind::Wake,
    Kind::Accept,
    Kind::Connect,
    Kind::Receive,
    Kind::Send,
    Kind::Shutdown,
    Kind::Write,
    Kind::Flush,
];

/// Kind in the upper 4 bits, generation in the next 28, index in the lower 32.
fn pack(kind: Kind, index: u32, generation: u32) -> u64 {
    (kind as u64) << 60 | u64::from(generation & GENERATION_MASK) << 32 | u64::from(index)
}

fn unpack(tag: u64) -> (Kind, u32, u32) {
    (kind_of(tag), tag as u32, (tag >> 32) as u32 & GENERATION_MASK)
}

fn kind_of(tag: u64) -> Kind {
    KINDS[(tag >> 60) as usize]
}

pub(super) const GENERATION_MASK: u32 = (1 << 28) - 1;
