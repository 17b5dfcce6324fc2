//! The loop: one ring, one thread, one system call a turn.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use thiserror::Error;

use super::clock;
use super::listener::{self, ListenerId, Listeners};
use super::receive::ReceiveBuffers;
use super::socket::{CloseReason, ConnectionId, Sockets};
use super::tag::{Kind, Tag};
use super::wake::Waker;
use super::write::Writes;
use crate::limits::{CLIENT_CLOGGED_BYTES, LINK_PLACES};
use crate::time::{Duration, Instant};

/// How a ring is laid out. What it costs: `receive_buffers * receive_buffer_bytes` of memory once all were used, about
/// 150 bytes for each connection there ever was at once, and some 200 KiB for the queues.
#[derive(Clone, Debug)]
pub struct Options {
    /// Entries of the submission queue; the completion queue has four times as many.
    pub entries: u32,
    /// Receive buffers shared by all connections; a power of two.
    pub receive_buffers: u16,
    /// Size of each, in bytes: the longest run one `Received` event carries.
    pub receive_buffer_bytes: u32,
    /// Connections at once; further ones are closed as they arrive.
    pub connections: u32,
    /// Registered files at once.
    pub files: u32,
    /// A connection whose queued output has passed this many bytes reports `Drained` ...
    pub queue_high_bytes: usize,
    /// ... once it has fallen to this many.
    pub queue_low_bytes: usize,
    /// A connection whose peer acknowledges nothing for this long is closed.
    pub user_timeout: Duration,
    /// Look for completions this long before going to sleep. Zero on hosts that are not ours alone.
    pub spin: Duration,
    /// How a write is made durable.
    pub durability: Durability,
}

/// How a write is made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The write, and linked to it in the same submission a data flush of the file.
    LinkedFlush,
    /// One write that the kernel completes when it is durable.
    SynchronousWrite,
}

/// What a turn reports.
#[derive(Debug)]
pub enum Event<'a> {
    /// A peer connected to a listener of ours.
    Accepted { listener: ListenerId, connection: ConnectionId, peer: SocketAddr },
    /// A connection asked for by [`Ring::connect`] stands.
    Connected { connection: ConnectionId },
    /// It does not, and will not.
    ConnectFailed { connection: ConnectionId, error: io::Error },
    /// Bytes arrived, in order; they are gone when the handler returns.
    Received { connection: ConnectionId, bytes: &'a [u8] },
    /// The queued output was above the high mark and has fallen to the low mark.
    Drained { connection: ConnectionId },
    /// The connection is over; its output that was not sent is dropped.
    Closed { connection: ConnectionId, reason: CloseReason },
    /// A durable write ended. `Ok`: all of it is durable. `Err`: nothing is known of what the disk holds there.
    Written { token: u64, result: io::Result<()> },
    /// A [`Waker`] of this ring was used since the last one of these.
    Woken,
}

/// Takes events; it may use the ring, but not turn it.
pub type Handler<'h> = dyn FnMut(&mut Ring, Event<'_>) + 'h;

/// What a ring has done since it was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    pub turns: u64,
    /// Turns that watched for work before they would sleep ...
    pub watches: u64,
    /// ... and those that did sleep, in the kernel.
    pub sleeps: u64,
    /// Requests handed to the kernel.
    pub submissions: u64,
    pub completions: u64,
    pub accepts: u64,
    /// Arriving connections closed at once, for want of a slot.
    pub refusals: u64,
    pub receives: u64,
    pub received_bytes: u64,
    /// Receives that found no free buffer; more buffers would help.
    pub starved_receives: u64,
    pub sends: u64,
    pub sent_bytes: u64,
    pub writes: u64,
    pub written_bytes: u64,
    /// Sleeping rings woken, by this ring.
    pub wakes: u64,
    /// Turns that found the completion queue overflowing into the kernel's memory; nothing is lost, time is.
    pub overflows: u64,
}

/// Why there is no ring.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The system calls are refused.
    #[error(
        "io_uring is not allowed here\n  found: {found}    needed: io_uring_setup allowed\n  why:   sockets and journal share \
         one ring per core; there is no other back-end\n  fix:   sysctl kernel.io_uring_disabled=0, and allow the io_uring \
         system calls in the container's seccomp profile"
    )]
    Refused { found: io::Error },
    /// The kernel does not have them.
    #[error(
        "this kernel has no usable io_uring\n  found: {found}    needed: Linux 6.1 or newer\n  why:   multishot receive into \
         provided buffers, linked flushes and waits with a time-out are needed\n  fix:   boot a newer kernel"
    )]
    TooOld { found: String },
    /// A limit of the process is too low.
    #[error(
        "too few open files allowed for a ring\n  found: RLIMIT_NOFILE {found}    needed: at least {needed}\n  why:   each \
         connection and journal file has a place in the ring's table\n  fix:   LimitNOFILE=1048576 in the unit, or: ulimit \
         -n 65536"
    )]
    OpenFiles { found: u64, needed: u64 },
    /// Something else.
    #[error(
        "cannot set up a ring: {doing}\n  found: {found}\n  why:   where memory is refused, either all that this user's \
         processes lock has reached RLIMIT_MEMLOCK (some kernels count a ring as locked; CAP_IPC_LOCK lifts it), or the host \
         or its memory cgroup has none left\n  fix:   if so, LimitMEMLOCK=infinity in the unit, or: ulimit -l unlimited; and \
         otherwise free memory, or raise MemoryMax"
    )]
    Io { doing: &'static str, found: io::Error },
}

/// One thread's way to the kernel.
pub struct Ring {
    // Dropped by hand: before the memory below, which the kernel may use until then.
    uring: ManuallyDrop<IoUring>,
    pub(super) receive: ManuallyDrop<Rc<ReceiveBuffers>>,
    pub(super) sockets: ManuallyDrop<Sockets>,
    pub(super) listeners: ManuallyDrop<Listeners>,
    pub(super) writes: ManuallyDrop<Writes>,
    bell_word: ManuallyDrop<Box<u64>>,
    waker: Waker,
    bell_armed: bool,
    /// Wakes on their way to other rings, kept to ring the bell if the message does not arrive.
    wakes: Vec<Option<Waker>>,
    /// Requests the submission queue had no room for, each with the one linked to it.
    backlog: VecDeque<(squeue::Entry, Option<squeue::Entry>)>,
    /// Events found without a completion.
    pub(super) found: Vec<Found>,
    reaped: Vec<cqueue::Entry>,
    pub(super) in_flight: usize,
    linked_queued: bool,
    turning: bool,
    pub(super) options: Options,
    pub(super) counters: Counters,
}

/// The end of a write that never reached the kernel.
pub(super) struct Found {
    pub token: u64,
    pub error: io::Error,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            entries: 1024,
            receive_buffers: 256,
            receive_buffer_bytes: 16 << 10,
            connections: 64 << 10,
            files: 64,
            queue_high_bytes: CLIENT_CLOGGED_BYTES,
            queue_low_bytes: 256 << 10,
            user_timeout: Duration::from_secs(10),
            spin: Duration::ZERO,
            durability: Durability::SynchronousWrite,
        }
    }
}

impl Ring {
    /// A ring for the calling thread, which alone may use it.
    pub fn new(mut options: Options) -> Result<Self, SetupError> {
        assert!(options.queue_low_bytes <= options.queue_high_bytes, "the low mark is not above the high mark");
        let memory = usize::from(options.receive_buffers) * options.receive_buffer_bytes as usize;
        assert!(memory <= RECEIVE_BYTES_MAX, "a core's receive buffers stay within their bound");
        let uring = build(options.entries)?;
        let table = file_table(&mut options)?;
        let io_error = |doing| move |found| SetupError::Io { doing, found };
        uring.submitter().register_files_sparse(table).map_err(io_error("the table of files was refused"))?;
        // A flush runs on a worker thread of the kernel's; one for each write in flight is plenty.
        uring
            .submitter()
            .register_iowq_max_workers(&mut [8, 2])
            .map_err(io_error("the bound on workers was refused"))?;
        let receive = ReceiveBuffers::new(options.receive_buffers, options.receive_buffer_bytes)
            .map_err(io_error("no memory for receive buffers"))?;
        // SAFETY: the address is that of `count` entries inside pages that the ring unregisters before it drops them.
        unsafe {
            let submitter = uring.submitter();
            submitter.register_buf_ring_with_flags(receive.ring_address(), receive.count(), BUFFER_GROUP, 0)
        }
        .map_err(io_error("the receive buffers were refused"))?;
        // SAFETY: the descriptor is the ring's own and stays open for the length of this borrow.
        let descriptor = unsafe { BorrowedFd::borrow_raw(uring.as_raw_fd()) };
        let descriptor = descriptor.try_clone_to_owned().map_err(io_error("no descriptor for its waker"))?;
        let waker = Waker::new(descriptor).map_err(io_error("no eventfd for its waker"))?;
        let sockets = Sockets::new(options.files, options.connections);
        let writes = Writes::new(options.files);
        Ok(Self {
            uring: ManuallyDrop::new(uring),
            receive: ManuallyDrop::new(Rc::new(receive)),
            sockets: ManuallyDrop::new(sockets),
            listeners: ManuallyDrop::new(Listeners::default()),
            writes: ManuallyDrop::new(writes),
            bell_word: ManuallyDrop::new(Box::new(0)),
            waker,
            bell_armed: false,
            wakes: Vec::new(),
            backlog: VecDeque::new(),
            found: Vec::new(),
            reaped: Vec::new(),
            in_flight: 0,
            linked_queued: false,
            turning: false,
            options,
            counters: Counters::default(),
        })
    }

    /// Hands everything queued to the kernel, sleeps until a completion, a wake or `deadline` (none: for ever; past: not
    /// at all), and hands what happened to `handler`. An error is fatal to the ring: what was queued may be half done.
    pub fn turn(&mut self, deadline: Option<Instant>, handler: &mut Handler<'_>) -> io::Result<()> {
        assert!(!self.turning, "a handler does not turn the ring it is called from");
        self.turning = true;
        self.counters.turns += 1;
        let outcome = self.turn_once(deadline, handler);
        self.turning = false;
        outcome
    }

    /// Wakes the ring of `waker`, with the next turn's submission if it sleeps: cheaper than [`Waker::wake`] for a
    /// thread that has a ring of its own and is about to turn it.
    pub fn wake(&mut self, waker: &Waker) {
        if !waker.tell() {
            return;
        }
        self.counters.wakes += 1;
        let free = self.wakes.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.wakes.push(None);
            self.wakes.len() - 1
        });
        let there = Tag::new(Kind::Woken, 0, 0).pack();
        let message = opcode::MsgRingData::new(Fd(waker.ring()), 0, there, None).build();
        self.wakes[slot] = Some(waker.clone());
        self.push(message.user_data(Tag::new(Kind::Wake, 0, slot as u32).pack()));
    }

    /// Wakes this ring from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn turn_once(&mut self, deadline: Option<Instant>, handler: &mut Handler<'_>) -> io::Result<()> {
        let mut must_look = !self.found.is_empty();
        self.arm_bell();
        let retry_at = self.prepare_listeners();
        self.prepare_connections();
        must_look |= !self.drain_backlog()?;
        let deadline = match (deadline, retry_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let wait = match deadline {
            _ if must_look => Duration::ZERO,
            None => Duration::from_nanos(u64::MAX),
            Some(deadline) => deadline.since(clock::now()),
        };
        let told = self.enter(wait)?;
        self.reap();
        // Nothing is reported before all that this turn reports is here: a clock that the first report has read shows a
        // later time than any of it.
        self.report_found(handler);
        let mut reaped = std::mem::take(&mut self.reaped);
        let identity = self.uring.as_raw_fd();
        for completion in reaped.drain(..) {
            self.complete(&completion, handler);
            assert_eq!(self.uring.as_raw_fd(), identity, "a handler leaves the ring where it is");
        }
        self.reaped = reaped;
        if told {
            handler(self, Event::Woken);
        }
        Ok(())
    }

    /// Submits, and sleeps for at most `wait`; true if somebody told this ring to look.
    fn enter(&mut self, wait: Duration) -> io::Result<bool> {
        let wait = if wait == Duration::ZERO { wait } else { self.spin(wait)? };
        let sleep = wait != Duration::ZERO && self.waker.fall_asleep();
        self.counters.submissions += self.uring.submission().len() as u64;
        let entered = if !sleep {
            let queued = self.uring.submission().len() as u32;
            // SAFETY: submits what is queued and runs the kernel's deferred work without waiting; no argument is passed.
            unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None) }
        } else if wait.as_nanos() == u64::MAX {
            self.counters.sleeps += 1;
            self.uring.submitter().submit_and_wait(1)
        } else {
            self.counters.sleeps += 1;
            let (secs, nanos) = (wait.as_nanos() / 1_000_000_000, wait.as_nanos() % 1_000_000_000);
            let time = Timespec::new().sec(secs).nsec(nanos as u32);
            self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
        };
        let told = self.waker.awake();
        match entered {
            Ok(_) => {}
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        self.check_submitted()?;
        Ok(told)
    }

    /// A write and its flush must reach the kernel together: if it stopped in between, the flush would run by itself.
    fn check_submitted(&mut self) -> io::Result<()> {
        if self.linked_queued && !self.uring.submission().is_empty() {
            return Err(io::Error::other("the kernel took only part of a submission that holds a write and its flush"));
        }
        self.linked_queued = false;
        Ok(())
    }

    /// Watches for work without sleeping, no longer than it would sleep; what is left of `wait`: nothing, if there is some.
    /// Submits first, or nothing could come.
    fn spin(&mut self, wait: Duration) -> io::Result<Duration> {
        if self.options.spin == Duration::ZERO {
            return Ok(wait);
        }
        self.submit()?;
        self.counters.watches += 1;
        let begun = clock::now();
        let until = begun + self.options.spin.min(wait);
        loop {
            for _ in 0..SPINS_PER_CLOCK_READING {
                let arrived = !self.uring.completion().is_empty() || self.uring.submission().taskrun();
                if arrived || self.waker.is_told() {
                    return Ok(Duration::ZERO);
                }
                std::hint::spin_loop();
            }
            let now = clock::now();
            if now >= until {
                let forever = wait.as_nanos() == u64::MAX;
                return Ok(if forever { wait } else { (begun + wait).since(now) });
            }
        }
    }

    fn submit(&mut self) -> io::Result<()> {
        self.counters.submissions += self.uring.submission().len() as u64;
        match self.uring.submit() {
            Ok(_) => self.check_submitted(),
            Err(error) if is_passing(&error) => self.check_submitted(),
            Err(error) => Err(error),
        }
    }

    fn reap(&mut self) {
        if self.uring.submission().cq_overflow() {
            self.counters.overflows += 1;
        }
        let queue = self.uring.completion();
        assert_eq!(queue.overflow(), 0, "the kernel keeps completions it has no room for");
        self.reaped.extend(queue);
        self.counters.completions += self.reaped.len() as u64;
    }

    fn complete(&mut self, completion: &cqueue::Entry, handler: &mut Handler<'_>) {
        let tag = Tag::unpack(completion.user_data());
        let result = match completion.result() {
            error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
            result => Ok(result as u32),
        };
        let more = cqueue::more(completion.flags());
        if !more && tag.kind != Kind::Woken {
            self.in_flight -= 1;
        }
        match tag.kind {
            Kind::Accept => self.accepted(tag, result, more, handler),
            Kind::Receive => self.received(tag, result, completion.flags(), handler),
            Kind::Send => self.sent(tag, result, handler),
            Kind::Connect => self.connected(tag, result, handler),
            Kind::Cancel | Kind::Shutdown | Kind::Close => self.ended(tag, &result),
            Kind::Write | Kind::Flush => self.written(tag, result, handler),
            Kind::Bell => self.bell_armed = false,
            Kind::Wake => {
                let waker = self.wakes[tag.slot as usize].take().expect("a wake in flight is in the table");
                if result.is_err() {
                    waker.ring_bell();
                }
            }
            Kind::Woken | Kind::Ignored => {}
        }
    }

    fn report_found(&mut self, handler: &mut Handler<'_>) {
        for Found { token, error } in std::mem::take(&mut self.found) {
            handler(self, Event::Written { token, result: Err(error) });
        }
    }

    fn arm_bell(&mut self) {
        if !self.bell_armed {
            self.bell_armed = true;
            let word: *mut u64 = &raw mut **self.bell_word;
            let read = opcode::Read::new(Fd(self.waker.eventfd()), word.cast(), size_of::<u64>() as u32).build();
            self.push(read.user_data(Tag::new(Kind::Bell, 0, 0).pack()));
        }
    }

    /// Queues one request. What it points to must stay until its completion: see invariant 1.
    pub(super) fn push(&mut self, entry: squeue::Entry) {
        self.in_flight += 1;
        if !self.backlog.is_empty() || !self.try_push(&entry, None) {
            self.backlog.push_back((entry, None));
        }
    }

    /// Queues two requests of which the first names the second its successor; they are submitted together.
    pub(super) fn push_linked(&mut self, first: squeue::Entry, second: squeue::Entry) {
        self.in_flight += 2;
        if !self.backlog.is_empty() || !self.try_push(&first, Some(&second)) {
            self.backlog.push_back((first, Some(second)));
        }
    }

    fn try_push(&mut self, first: &squeue::Entry, second: Option<&squeue::Entry>) -> bool {
        let room = |ring: &mut Self| {
            let queue = ring.uring.submission();
            queue.capacity() - queue.len() > usize::from(second.is_some())
        };
        // A failed submission shows again at the end of the turn; the request waits in the backlog until then.
        if !room(self) && (self.submit().is_err() || !room(self)) {
            return false;
        }
        self.linked_queued |= second.is_some();
        let mut queue = self.uring.submission();
        // SAFETY: whoever built the entries keeps what they point to in the ring's tables until they have completed.
        let pushed = unsafe { queue.push(first).and_then(|()| second.map_or(Ok(()), |second| queue.push(second))) };
        assert!(pushed.is_ok(), "there was room for the request");
        true
    }

    /// Moves the backlog into the queue; false if some of it is left.
    fn drain_backlog(&mut self) -> io::Result<bool> {
        while let Some((first, second)) = self.backlog.pop_front() {
            if !self.try_push(&first, second.as_ref()) {
                self.backlog.push_front((first, second));
                self.check_submitted()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts `file` into the ring's table at `index`.
    pub(super) fn install(&mut self, index: u32, file: &impl AsFd) -> io::Result<()> {
        let raw = file.as_fd().as_raw_fd();
        self.uring.submitter().register_files_update(index, &[raw]).map(drop)
    }

    /// Empties the place `index` of the ring's table; requests in flight keep the file open.
    pub(super) fn uninstall(&mut self, index: u32) {
        let emptied = self.uring.submitter().register_files_update(index, &[-1]);
        debug_assert!(emptied.is_ok(), "a place in the table can be emptied");
    }

    /// Ends every request in flight; false if some would not end.
    fn quiesce(&mut self) -> bool {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        let until = clock::now() + QUIESCE_TIME_MAX;
        let mut asked_at = Instant::ZERO;
        while self.in_flight > 0 && clock::now() < until {
            // Asked again now and then: a write that ends lets its flush begin.
            if clock::now().since(asked_at) > QUIESCE_ASK_EVERY && self.backlog.is_empty() {
                asked_at = clock::now();
                self.push(cancel.clone().user_data(Tag::new(Kind::Ignored, 0, 0).pack()));
            }
            let drained = self.drain_backlog();
            if drained.is_err() || self.enter(QUIESCE_ASK_EVERY).is_err() {
                return false;
            }
            self.reap();
            for completion in std::mem::take(&mut self.reaped) {
                let tag = Tag::unpack(completion.user_data());
                if !cqueue::more(completion.flags()) && tag.kind != Kind::Woken {
                    self.in_flight -= 1;
                }
                if tag.kind == Kind::Accept && completion.result() >= 0 {
                    drop(listener::own(completion.result()));
                }
            }
        }
        self.in_flight == 0
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let quiet = self.quiesce();
        // A waker elsewhere may keep the kernel's ring alive; it must not keep our sockets and memory with it.
        let forgotten = self.uring.submitter().unregister_buf_ring(BUFFER_GROUP);
        let quiet = quiet && forgotten.is_ok();
        let _ = self.uring.submitter().unregister_files();
        // SAFETY: each field is dropped at most once, here, and not touched again. The memory the kernel may still use is
        // dropped only if no request is in flight; otherwise it is leaked.
        unsafe {
            ManuallyDrop::drop(&mut self.uring);
            if quiet {
                ManuallyDrop::drop(&mut self.receive);
                ManuallyDrop::drop(&mut self.sockets);
                ManuallyDrop::drop(&mut self.listeners);
                ManuallyDrop::drop(&mut self.writes);
                ManuallyDrop::drop(&mut self.bell_word);
            }
        }
    }
}

pub(super) fn build(entries: u32) -> Result<IoUring, SetupError> {
    let queue = |single_issuer: bool| {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(entries * 4).setup_clamp().setup_submit_all().setup_taskrun_flag().dontfork();
        match single_issuer {
            // Completions are worked off only when this thread asks for them: in one go, at the end of its turn.
            true => builder.setup_single_issuer().setup_defer_taskrun(),
            false => builder.setup_coop_taskrun(),
        };
        builder.build(entries)
    };
    let built = match queue(true) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => queue(false),
        built => built,
    };
    let uring = built.map_err(|found| match found.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => SetupError::Refused { found },
        Some(libc::ENOSYS | libc::EINVAL) => SetupError::TooOld { found: found.to_string() },
        _ => SetupError::Io { doing: "the kernel refused its queues", found },
    })?;
    let params = uring.params();
    if !(params.is_feature_ext_arg() && params.is_feature_nodrop() && params.is_feature_submit_stable()) {
        return Err(SetupError::TooOld { found: "an io_uring without timed waits or kept completions".into() });
    }
    let mut probe = io_uring::Probe::new();
    let probed = uring.submitter().register_probe(&mut probe);
    // Zero-copy send came with the same release as multishot receive, which no probe shows.
    if probed.is_err() || !probe.is_supported(opcode::SendZc::CODE) {
        return Err(SetupError::TooOld { found: "an io_uring without multishot receive".into() });
    }
    // Saves a look-up of the descriptor in each system call; a kernel without it only pays that look-up.
    let _ = uring.submitter().register_ring_fd();
    Ok(uring)
}

/// Fits the table of files into the process's limit; returns its length.
fn file_table(options: &mut Options) -> Result<u32, SetupError> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = u64::from(options.files) + CONNECTIONS_MIN;
    if limit < needed {
        return Err(SetupError::OpenFiles { found: limit, needed });
    }
    let room = u32::try_from(limit - u64::from(options.files)).unwrap_or(u32::MAX);
    options.connections = options.connections.min(room);
    Ok(options.files + options.connections)
}

/// Errors of the wait that only say: look at what there is, then come again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN))
}

/// The one group of provided buffers.
pub(super) const BUFFER_GROUP: u16 = 0;

/// Receive buffers of one core, in bytes: idle memory stays small, and a hundred peers' bursts still fit.
const RECEIVE_BYTES_MAX: usize = 32 << 20;

/// Fewer places for connections than this serve no cell: some are left for its links.
const CONNECTIONS_MIN: u64 = LINK_PLACES as u64 + 32;

const SPINS_PER_CLOCK_READING: u32 = 64;
const QUIESCE_TIME_MAX: Duration = Duration::from_secs(5);
const QUIESCE_ASK_EVERY: Duration = Duration::from_millis(20);

/// `IORING_ENTER_GETEVENTS`: run the deferred work of the ring.
const ENTER_GETEVENTS: u32 = 1;
