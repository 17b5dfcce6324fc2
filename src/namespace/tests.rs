//! The namespace against a small model of it, its images against replay, and every refusal in a table.

mod acls;
mod determinism;
mod digests;
pub(crate) mod generated;
mod handles;
mod images;
mod lifetimes;
mod listings;
mod locks;
mod log_model;
mod logs;
pub(crate) mod model;
mod quotas;
mod refusals;
mod requests;
mod trees;

use bytes::{Bytes, BytesMut};

use super::acl::Principals;
use super::codec::ReadRef;
use super::codec::{batch_header, command_prefix, decode_outcome};
use super::command::{Answer, Refusal};
use super::command::{Command, Expect, Lifetime, Operation, Outcome, Resume, SessionId, Step};
use super::{Applied, CommandOutcome, Gate, Namespace, Tree};

/// What the tree says to somebody who has proved nothing.
fn answer(tree: &Tree, read: ReadRef<'_>) -> Result<Answer, Refusal> {
    super::answer(&Gate::new(tree, &Principals::default()), read)
}

/// A batch's body.
pub(crate) fn batch(log_time_ns: u64, wall_ms: u64, commands: &[Command]) -> Bytes {
    let mut out = BytesMut::new();
    out.extend_from_slice(&batch_header(log_time_ns, wall_ms, u32::try_from(commands.len()).expect("few")));
    for command in commands {
        let mut encoded = BytesMut::new();
        command.encode(&mut encoded);
        out.extend_from_slice(&command_prefix(encoded.len()));
        out.extend_from_slice(&encoded);
    }
    out.freeze()
}

/// A namespace with one client, whose requests number themselves.
struct Bench {
    namespace: Namespace,
    session: SessionId,
    number: u64,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { namespace: Namespace::new(7), session: SessionId(0), number: 0 };
        bench.session = bench.open(1);
        bench
    }

    fn open(&mut self, token: u64) -> SessionId {
        let outcome = self.command(Command::OpenSession { token, secret: 99, timeout_ms: 12_000, address: None });
        let CommandOutcome::SessionOpened { session, .. } = outcome else { panic!("{outcome:?}") };
        session
    }

    fn command(&mut self, command: Command) -> CommandOutcome {
        let mut applied = Applied::default();
        self.namespace.apply(&batch(1, 1000, &[command]), &mut applied);
        self.namespace.invariants();
        applied.outcomes.pop().expect("one command, one outcome")
    }

    /// The session's next request.
    fn request(&mut self, operation: Operation) -> Command {
        self.number += 1;
        Command::Request { session: self.session, number: self.number, acked_upto: self.number - 1, operation }
    }

    /// What the session's next request comes to.
    fn ask(&mut self, operation: Operation) -> Outcome {
        let command = self.request(operation);
        outcome_of(&self.command(command))
    }
}

/// What a request that was applied came to.
fn outcome_of(outcome: &CommandOutcome) -> Outcome {
    let (CommandOutcome::Replied { outcome, .. } | CommandOutcome::SessionClosed { outcome, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    decode_outcome(outcome).expect("it was just encoded")
}

/// A process takes over the session of a [`Bench`].
fn take_over(session: SessionId, holder: u64) -> Command {
    let resume = Resume { session, secret: 99, holder, takes_over: true };
    Command::ResumeSession { token: 4, resume, address: None }
}

fn create(path: &str) -> Operation {
    Operation::Create { path: path.into(), data: Bytes::new(), lifetime: Lifetime::Permanent, sequential: false }
}

fn create_ephemeral(path: &str) -> Operation {
    Operation::Create { path: path.into(), data: Bytes::new(), lifetime: Lifetime::Ephemeral, sequential: false }
}

fn create_sequential(path: &str) -> Operation {
    Operation::Create { path: path.into(), data: Bytes::new(), lifetime: Lifetime::Permanent, sequential: true }
}

fn set(path: &str, data: &[u8], expect: Expect) -> Operation {
    Operation::Set { path: path.into(), data: Bytes::copy_from_slice(data), expect }
}

fn delete(path: &str, expect: Expect) -> Operation {
    Operation::Delete { path: path.into(), expect }
}

fn delete_tree(path: &str, expect: Expect) -> Operation {
    Operation::DeleteTree { path: path.into(), expect, part: 0 }
}

fn multi(steps: Vec<Step>) -> Operation {
    Operation::Multi { steps }
}

fn step_create(path: &str) -> Step {
    Step::Create { path: path.into(), data: Bytes::new(), lifetime: Lifetime::Permanent, sequential: false }
}
