//! Logs: nodes that hold records, to be appended to, read from any position, and followed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::api::{Client, CreateOptions, Created, unfit};
use super::error::{Error, Result};
use super::op::Op;
use super::watch::{Watch, WatchOptions};
use crate::namespace::command::{Answer, Done, Operation, Read, Stat};
use crate::wire::client::Consistency;

/// A log of the cell, by its path. Made by [`Client::log`], which asks nothing: whether there is such a log, each call
/// finds out.
///
/// A record is some bytes, a megabyte at most, and has a position: the first record ever appended has 0, each further one
/// the next. A position is never used again, trimmed or not.
///
/// # Errors
///
/// Whatever is asked of it, but for its [`stat`](Log::stat), is [`Error::NoNode`] if there is no such node, [`Error::NotLog`] if
/// that is another sort of node, and [`Error::NotAuthorized`] if its access list does not let the session read it, or write to
/// it where it is changed. [`seal`](Log::seal) has no others; those of the others are told where they are.
#[derive(Clone, Debug)]
pub struct Log {
    client: Client,
    path: String,
}

/// Where records were appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Position of the first of them.
    pub first: u64,
    /// Position behind the last of them: that of the next record.
    pub end: u64,
}

/// Some records of a log, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogPage {
    /// Position of the first.
    pub from: u64,
    /// The records.
    pub records: Vec<Bytes>,
    /// Position behind the last: where the next page goes on.
    pub next: u64,
    /// The log's stat: it ends at [`Stat::version`], holds [`Stat::data_bytes`], and [`Stat::log`] tells the rest.
    pub stat: Stat,
}

/// What whoever follows a log comes upon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tailed {
    /// The next record.
    Record {
        /// Its position.
        position: u64,
        /// Itself.
        data: Bytes,
    },
    /// The records from `from` on, before `first`, were trimmed before they were read.
    Trimmed {
        /// Position of the first that is missing.
        from: u64,
        /// Position of the record that comes next.
        first: u64,
    },
}

/// A log being followed: a stream of its records as they come. Every record comes once, in order, across reconnections and
/// changes of leader; what was trimmed before it was read is told as [`Tailed::Trimmed`].
///
/// It waits without asking: a watch says when there is more to read. It ends when a sealed log was read to its end, and
/// with an error when the log is deleted or the session ends.
#[derive(Debug)]
pub struct LogTail {
    log: Log,
    watch: Watching,
    /// The read under way.
    reading: Option<Op<LogPage>>,
    /// What was read and nobody took yet.
    ready: VecDeque<Tailed>,
    /// Position of the next record to be read.
    from: u64,
    /// Which node of that name is followed.
    instance: Option<u64>,
    over: bool,
}

#[derive(Debug)]
enum Watching {
    Opening(Op<Watch>),
    Open(Watch),
}

impl Client {
    /// Makes a log, with no records yet. It may be refused as [`create`](Client::create) may, and is [`Error::BadArgument`] with
    /// an access list, which is set once the log is there.
    pub fn create_log(&self, path: &str, options: CreateOptions) -> Op<Created> {
        match as_log(options) {
            Ok(options) => self.create(path, Bytes::new(), options),
            Err(error) => Op::ready(Err(error)),
        }
    }

    /// The log of that path.
    #[must_use]
    pub fn log(&self, path: &str) -> Log {
        Log { client: self.clone(), path: path.to_owned() }
    }
}

impl Log {
    /// Adds records at the log's end: all of them, one behind the other, or none. They are there once, however often the
    /// request had to be sent. [`Error::LogSealed`] once it takes no more; [`Error::TooLarge`] if a record, all of them together
    /// or the log would become so, the log until it is [trimmed](Self::trim); [`Error::BytesOverQuota`] if a quota leaves no room;
    /// [`Error::BadArgument`] without any record.
    pub fn append<R: AsRef<[u8]>>(&self, records: impl IntoIterator<Item = R>) -> Op<Appended> {
        self.append_if(records, None)
    }

    /// As [`append`](Self::append), if the log ends at `end`; [`Error::LogEnd`] otherwise. Who appends where it last saw the
    /// end knows that nobody came in between. A log that is sealed says so first.
    pub fn append_at<R: AsRef<[u8]>>(&self, end: u64, records: impl IntoIterator<Item = R>) -> Op<Appended> {
        self.append_if(records, Some(end))
    }

    /// The records from position `from` on: as many as `bytes_max` hold, one at least if there is one, and never more than
    /// fits an answer. At the log's end there are none; before its first it is [`Error::LogTrimmed`], past its end
    /// [`Error::LogEnd`].
    pub fn read(&self, from: u64, bytes_max: u32) -> Op<LogPage> {
        self.read_as(from, bytes_max, Consistency::Linearizable)
    }

    /// As [`read`](Self::read), as fresh as asked for. A replica that lags speaks of the log as it knows it: what was appended
    /// since may be past its end, and a new log may be no node yet.
    pub fn read_as(&self, from: u64, bytes_max: u32, consistency: Consistency) -> Op<LogPage> {
        // In a request 0 asks for as many as fit.
        let bytes = bytes_max.max(1);
        let pick = |answer, _: &_| match answer {
            Answer::Records { from, records, stat } => {
                let next = from + records.len() as u64;
                Some(LogPage { from, records: records.iter().collect(), next, stat })
            }
            _ => None,
        };
        self.client.ask(&self.path, consistency, |path| Read::Records { path, from, bytes }, pick)
    }

    /// Follows the log from position `from` on. What a [`read`](Self::read) there is refused for, except for what was trimmed, is
    /// told by the stream, and ends it.
    #[must_use]
    pub fn tail(&self, from: u64) -> LogTail {
        // What the watch may miss before it stands, the read that follows it will find.
        let watch = Watching::Opening(self.client.watch(&self.path, WatchOptions::node()));
        let reading = Some(self.read(from, u32::MAX));
        LogTail { log: self.clone(), watch, reading, ready: VecDeque::new(), from, instance: None, over: false }
    }

    /// Drops the records before position `upto`, and says where the log begins now: there, or further on if more was dropped
    /// before. [`Error::LogEnd`] if `upto` is past its end.
    pub fn trim(&self, upto: u64) -> Op<u64> {
        let trim = |path| Operation::Trim { path, upto };
        self.client.mutate(&self.path, trim, |done, _| match done {
            Done::Trimmed { first } => Some(first),
            _ => None,
        })
    }

    /// Closes the log to further records, for good, and says where it ends. Who takes a log over from a writer that may
    /// still be about seals it first, reads it to its end, and goes on in another. One that is sealed is so once more.
    pub fn seal(&self) -> Op<u64> {
        let seal = |path| Operation::Seal { path };
        self.client.mutate(&self.path, seal, |done, _| match done {
            Done::Sealed { end } => Some(end),
            _ => None,
        })
    }

    /// The node's numbers, of which [`Stat::log`] tells what only a log has; `None` if there is no such node.
    /// [`Error::NotAuthorized`] if the session knows of the node and may not read it.
    pub fn stat(&self) -> Op<Option<Stat>> {
        let pick = |answer, _: &_| match answer {
            Answer::Exists { stat } => Some(stat),
            _ => None,
        };
        self.client.ask(&self.path, Consistency::Linearizable, |path| Read::Exists { path }, pick)
    }

    fn append_if<R: AsRef<[u8]>>(&self, records: impl IntoIterator<Item = R>, end: Option<u64>) -> Op<Appended> {
        let records = records.into_iter().collect();
        self.client.mutate(&self.path, |path| Operation::Append { path, records, end }, |done, _| Appended::of(done))
    }
}

impl Appended {
    pub(super) fn of(done: Done) -> Option<Self> {
        match done {
            Done::Appended { first, end } => Some(Self { first, end }),
            _ => None,
        }
    }
}

impl LogTail {
    /// Position of the next record it will bring: where to go on, in another session too.
    #[must_use]
    pub fn position(&self) -> u64 {
        match self.ready.front() {
            Some(Tailed::Record { position, .. } | Tailed::Trimmed { from: position, .. }) => *position,
            None => self.from,
        }
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over && self.ready.is_empty()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Tailed>>> {
        loop {
            if let Some(tailed) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(tailed)));
            }
            if self.over {
                return Poll::Ready(None);
            }
            let gone_on = match &mut self.reading {
                Some(reading) => {
                    let page = ready!(Pin::new(reading).poll(context));
                    self.reading = None;
                    self.take(page)
                }
                None => ready!(self.poll_watch(context)).map(|consistency| self.read_on(consistency)),
            };
            if let Err(error) = gone_on {
                self.over = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    /// Takes in what was read, and goes on if there is more already.
    fn take(&mut self, page: Result<LogPage>) -> Result<()> {
        match page {
            Ok(page) => {
                let LogPage { from, records, next, stat } = page;
                if *self.instance.get_or_insert(stat.instance) != stat.instance {
                    return Err(Error::NoNode { path: self.log.path.clone() });
                }
                let records = (from..).zip(records).map(|(position, data)| Tailed::Record { position, data });
                self.ready.extend(records);
                self.from = next;
                if next < stat.version {
                    self.read_on(Consistency::Stale);
                } else {
                    self.over = stat.log.is_some_and(|log| log.sealed);
                }
                Ok(())
            }
            Err(Error::LogTrimmed { first, .. }) => {
                self.ready.push_back(Tailed::Trimmed { from: self.from, first });
                self.from = first;
                self.read_on(Consistency::Stale);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until something happened to the log, and says how fresh an answer must be to show it.
    fn poll_watch(&mut self, context: &mut Context<'_>) -> Poll<Result<Consistency>> {
        let watch = match &mut self.watch {
            Watching::Open(watch) => watch,
            Watching::Opening(op) => {
                self.watch = Watching::Open(ready!(Pin::new(op).poll(context))?);
                return self.poll_watch(context);
            }
        };
        let mut revision = None;
        // One read shows whatever several events told of.
        while let Poll::Ready(event) = Pin::new(&mut *watch).poll_next(context) {
            match event {
                Some(Ok(event)) => revision = Some(event.revision()),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Err(unfit("a watch"))),
            }
        }
        match revision {
            Some(revision) => Poll::Ready(Ok(Consistency::AtLeast(revision))),
            None => Poll::Pending,
        }
    }

    fn read_on(&mut self, consistency: Consistency) {
        self.reading = Some(self.log.read_as(self.from, u32::MAX, consistency));
    }
}

impl Stream for LogTail {
    type Item = Result<Tailed>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Tailed>>> {
        self.get_mut().poll(context)
    }
}

/// The options, for a log.
pub(super) fn as_log(options: CreateOptions) -> Result<CreateOptions> {
    if options.acl.is_some() {
        let why = "a log is made without an access list of its own: set it once the log is there".to_owned();
        return Err(Error::BadArgument { why });
    }
    Ok(CreateOptions { is_log: true, ..options })
}
