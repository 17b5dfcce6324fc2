//! Commands on their way to the log.

use bytes::{BufMut, Bytes, BytesMut};

use crate::namespace::codec::{CommandRef, REQUEST_PREFIX_BYTES, command_prefix, request_prefix};
use crate::namespace::command::{Command, SessionId};

/// A run of commands as they stand in a batch, `u32 length | command` each.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Submission {
    /// The run.
    pub run: Bytes,
    /// How many commands it holds.
    pub count: u32,
}

/// A submission being gathered.
#[derive(Debug, Default)]
pub struct Gathering {
    run: BytesMut,
    count: u32,
}

impl Submission {
    /// One command.
    #[must_use]
    pub fn of(command: &Command) -> Self {
        let mut gathering = Gathering::default();
        gathering.put(command);
        gathering.take()
    }

    /// The sessions' requests it holds: (session, number) each. Whoever opens or resumes a session has no number yet, and
    /// stands as (his token, 0). Commands that cannot be read, and what follows them, are left out.
    #[must_use]
    pub fn requests(&self) -> Vec<(SessionId, u64)> {
        let mut requests = Vec::new();
        let mut rest = &self.run[..];
        while let Some((length, after)) = rest.split_first_chunk() {
            let Some((command, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
            match CommandRef::decode(command) {
                Ok(CommandRef::Request { session, number, .. }) => requests.push((session, number)),
                Ok(CommandRef::OpenSession { token, .. } | CommandRef::ResumeSession { token, .. }) => {
                    requests.push((SessionId(token), 0));
                }
                _ => {}
            }
            rest = after;
        }
        requests
    }
}

impl Gathering {
    /// Adds a command.
    pub fn put(&mut self, command: &Command) {
        let start = self.run.len();
        self.run.put_bytes(0, 4);
        command.encode(&mut self.run);
        let length = self.run.len() - start - 4;
        self.run[start..start + 4].copy_from_slice(&command_prefix(length));
        self.count += 1;
    }

    /// Adds request `number` of a session, with the operation as its client encoded it.
    pub fn put_request(&mut self, session: SessionId, number: u64, acked_upto: u64, operation: &[u8]) {
        self.run.reserve(4 + REQUEST_PREFIX_BYTES + operation.len());
        self.run.put_slice(&command_prefix(REQUEST_PREFIX_BYTES + operation.len()));
        self.run.put_slice(&request_prefix(session, number, acked_upto));
        self.run.put_slice(operation);
        self.count += 1;
    }

    /// Bytes gathered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.run.len()
    }

    /// Whether nothing was gathered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets what was gathered.
    pub fn clear(&mut self) {
        self.run.clear();
        self.count = 0;
    }

    /// What was gathered.
    #[must_use]
    pub fn take(&mut self) -> Submission {
        Submission { run: self.run.split().freeze(), count: std::mem::take(&mut self.count) }
    }
}
