//! `quorate lock`: runs a program while it holds a lock.
//!
//! The program ends before the lock can be anybody else's, as far as this host is asked in time: it is told to when the
//! session's lease is about to run out here, and killed before it has. Of a loss that comes at once, as when this host was
//! stopped for a while, the lock delay keeps others out for longer than that takes. When its node is deleted the lock is gone at
//! once, and the program is ended as soon as that is told. What it started in groups of its own is its own affair, and what it has sent is on its way: for those there is a longer delay,
//! and the token.

use std::ffi::OsString;
use std::time::Duration;

use quorate::client::{Client, Error, LockGuard, LockLost, LockOptions, Op, Watch, WatchEvent};
use quorate::server::{Code, Failure};

use super::connect::{Target, change_failed, failed, late, silent, span};
use super::program::{self, Held};

#[derive(clap::Args)]
#[command(
    after_help = format!("Examples:\n  quorate lock /app/backup -- rsync -a /data /backup\n  quorate lock --wait 0s /app/cron -- ./nightly.sh\n  \
                  quorate lock --shared --lock-delay 10s /app/schema -- ./serve.sh\n\n{PROMISE} Nobody else gets \
                  the lock before --lock-delay is over: by default the program is gone by then. Ask for more if its \
                  requests stay on their way for longer.\n\nThe exit status is the program's own, or 7 if that is 0 and what it ran for was lost meanwhile.")
)]
pub struct Args {
    /// The path of the node whose lock it is; made if there is none
    path: String,
    /// Share the lock with others who share it
    #[arg(long)]
    shared: bool,
    /// How long to wait for the lock; without this, as long as it takes. With 0s, not at all. Status 1 if others have it till
    /// then, and 3 if the cell does not answer
    #[arg(long, value_parser = span)]
    wait: Option<Duration>,
    /// The node must be there
    #[arg(long)]
    existing: bool,
    /// How long nobody else gets the lock if this session is lost, a minute at most [default: 2s]
    #[arg(long, value_parser = span)]
    lock_delay: Option<Duration>,
    /// The program and its arguments. It finds QUORATE_LOCK_PATH, QUORATE_LOCK_TOKEN and QUORATE_LOCK_SEQUENCER
    /// in its environment
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
    #[command(flatten)]
    target: Target,
}

/// What is done to the program of `lock` and of `elect` when its time is over before it is.
pub const PROMISE: &str = "If the session is lost, or its lease runs out as the cell does not answer, or the node is deleted, the program and all in \
                           its process group are sent SIGTERM, and SIGKILL half a second later: of a lease that runs \
                           out, both before it has. (In the foreground of a \
                           terminal, which the program shares with this command, it alone is.) What must never be \
                           touched by two has to compare QUORATE_LOCK_TOKEN, which rises with each holder; what is \
                           written here is refused to who lost the lock if it is given with \
                           --under \"$QUORATE_LOCK_SEQUENCER\".";

/// Keeps others out until the program is gone.
const LOCK_DELAY: Duration = Duration::from_secs(2);

/// It is asked once a second whether a lock is held still.
const LOOKS_BETWEEN_QUESTIONS: u32 = (1_000 / program::LOOK_EVERY.as_millis()) as u32;

const _: () = assert!(LOCK_DELAY.as_millis() > program::GRACE.as_millis());

/// Answers with the program's own exit status.
pub fn run(args: &Args) -> Result<u8, Failure> {
    args.target.with_client(|client, timeout| {
        let guard = take(client, args, timeout)?;
        let status = hold(&args.program, &args.path, (client, &guard), timeout)?;
        if guard.is_held() {
            // If it was lost, there is nothing to be released, and no answer in time.
            let _ = guard.release().wait_timeout(timeout);
        }
        Ok(status)
    })
}

fn take(client: &Client, args: &Args, timeout: Duration) -> Result<LockGuard, Failure> {
    let options = if args.shared { LockOptions::shared() } else { LockOptions::exclusive() };
    let mut options = options.lock_delay(args.lock_delay.unwrap_or(LOCK_DELAY));
    if args.existing {
        options = options.existing();
    }
    let busy = || Failure::new(Code::Refused, format!("{} is locked by others", args.path));
    match args.wait {
        None => client.lock(&args.path, options).wait().map_err(|error| change_failed(&error)),
        Some(Duration::ZERO) => match client.try_lock(&args.path, options).wait_timeout(timeout) {
            Err(Error::Deadline { after }) => Err(silent(after)),
            taken => taken.map_err(|error| change_failed(&error))?.ok_or_else(busy),
        },
        Some(patience) => client.lock(&args.path, options).wait_timeout(patience).map_err(|error| match error {
            Error::Deadline { .. } => late(client, timeout, busy().fix("wait longer, with --wait")),
            error => change_failed(&error),
        }),
    }
}

/// Runs the program while the lock of the node at `path` is held; the program's exit status.
pub fn hold(
    program: &[OsString],
    path: &str,
    (client, guard): (&Client, &LockGuard),
    timeout: Duration,
) -> Result<u8, Failure> {
    let environment = [
        ("QUORATE_LOCK_PATH", path.to_owned()),
        ("QUORATE_LOCK_TOKEN", guard.token().to_string()),
        ("QUORATE_LOCK_SEQUENCER", guard.sequencer().to_string()),
    ];
    let watch = guard.wanted().wait_timeout(timeout).map_err(|error| failed(&error))?;
    let (mut lost, mut node) = (guard.lost(), Node { client, guard, watch, asked: None, looks: 0 });
    program::run(program, &environment, || {
        // Whoever was stopped for a while finds the clock past the lease before anybody tells of it.
        let loss = lost.wait_timeout(Duration::ZERO).or_else(|| (!guard.is_held()).then_some(LockLost::Jeopardy));
        match loss {
            Some(loss) => Held::Lost(format!("the lock is lost: {loss}")),
            None if node.is_gone() => Held::Lost(format!("the lock is lost with its node: {path} was deleted")),
            None => Held::For(guard.held_for()),
        }
    })
}

/// The node whose lock is held, and what is told of it.
struct Node<'a> {
    client: &'a Client,
    guard: &'a LockGuard,
    watch: Watch,
    /// Whether the lock is held still, for what the watch was not told: asked now and then.
    asked: Option<Op<bool>>,
    /// So many looks until it is asked again.
    looks: u32,
}

impl Node<'_> {
    /// Whether it was deleted, its lock with it, as far as that is known here.
    fn is_gone(&mut self) -> bool {
        while let Some(Ok(event)) = self.watch.next_timeout(Duration::ZERO) {
            match event {
                WatchEvent::Deleted { .. } => return true,
                WatchEvent::Gap { .. } => self.looks = 0,
                _ => {}
            }
        }
        if self.asked.is_none() && self.looks == 0 {
            self.asked = Some(self.client.check_sequencer(&self.guard.sequencer()));
            self.looks = LOOKS_BETWEEN_QUESTIONS;
        }
        self.looks = self.looks.saturating_sub(1);
        let answered = self.asked.take_if(|asked| asked.is_answered());
        answered.is_some_and(|answered| matches!(answered.wait(), Ok(false)))
    }
}
