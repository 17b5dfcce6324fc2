//! What the generator asks of a system under load, in words that every one of them can answer.

use std::io;

use bytes::Bytes;

use crate::time::{Duration, Instant};

/// Many clients of one system, driven by one thread.
pub trait System {
    /// Asks something in the name of one client. If its connection is not there, the question waits for it.
    fn ask(&mut self, client: usize, tag: u64, ask: Ask) -> Result<(), Lost>;

    /// Sends what was asked, waits until something happens or `patience` is over, and appends what came to its end.
    fn turn(&mut self, patience: Duration, finished: &mut Vec<Finished>) -> io::Result<()>;

    /// The time of this turn.
    fn now(&self) -> Instant;

    /// How many clients there are, those included that are over.
    fn clients(&self) -> usize;

    /// Whether this client will never be answered again.
    fn is_over(&self, client: usize) -> bool;

    /// Ends every client; [`Self::is_over`] tells when it is done.
    fn close(&mut self);

    /// What connections went through.
    fn troubles(&mut self) -> &mut Troubles;
}

/// A question.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Make a folder for keys; one that is there is as good.
    Folder { path: String },
    /// Make a key.
    Make { path: String, data: Bytes },
    /// Overwrite a key.
    Write { path: String, data: Bytes },
    /// Read a key, as fresh as the system was told to be.
    Read { path: String },
    /// Tell a key's numbers, as fresh as can be.
    Look { path: String },
    /// Take a key or an empty folder away.
    Delete { path: String },
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Told {
    /// The folder or key was made.
    Made,
    /// It had been there.
    There,
    /// The key was overwritten.
    Written { order: u64 },
    /// The key's value.
    Value { data: Bytes, order: u64 },
    /// The key's numbers; `None`: there is no such key.
    Seen(Option<Numbers>),
    /// The key or folder is gone.
    Deleted,
    /// There is no such key to be read or overwritten.
    Missing,
    /// No, and why.
    Refused(String),
}

/// What a system says of a key beside its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    /// Grows with every write to the key.
    pub order: u64,
    /// How many writes there were, counted from any fixed point.
    pub writes: u64,
}

/// A question without an answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Lost {
    /// What happened.
    pub why: String,
    /// Whether it may have been done all the same.
    pub maybe_done: bool,
}

/// A question that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// Who had asked.
    pub client: usize,
    /// What the asker called it.
    pub tag: u64,
    /// What it came to.
    pub result: Result<Told, Lost>,
}

/// What connections went through.
#[derive(Clone, Default, Debug)]
pub struct Troubles {
    /// Connections made after a client's first.
    pub reconnects: u64,
    /// Why the last connection came to its end.
    pub last: Option<String>,
}
