//! `quorate lock`: runs a program while it holds a lock.
//!
//! The program ends before the lock can be anybody else's, as far as this host is asked in time: it is told to when the
//! session's lease runs out here, and killed a little later; it dies with this process. What it started itself is its own
//! affair, and what it has sent is on its way: for those there is `--lock-delay`, and the token.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use quorate::client::{Client, LockGuard, LockOptions, Lost};
use quorate::server::{Code, Failure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::connect::{Target, change_failed, span};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate lock /app/backup -- rsync -a /data /backup\n  quorate lock --wait 0s /app/cron -- ./nightly.sh\n  \
                  quorate lock --shared --lock-delay 10s /app/schema -- ./serve.sh\n\nThe exit status is the program's own."
)]
pub struct Args {
    /// The path of the node whose lock it is; made if there is none
    path: String,
    /// Share the lock with others who share it
    #[arg(long)]
    shared: bool,
    /// How long to wait for the lock; without this, as long as it takes. With 0s, not at all
    #[arg(long, value_parser = span)]
    wait: Option<Duration>,
    /// How long nobody else gets the lock if this session is lost, a minute at most
    #[arg(long, value_parser = span, default_value = "0s")]
    lock_delay: Duration,
    /// The program and its arguments. It finds QUORATE_LOCK_PATH and QUORATE_LOCK_TOKEN in its environment
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
    #[command(flatten)]
    target: Target,
}

/// Answers with the program's own exit status.
pub fn run(args: &Args) -> Result<u8, Failure> {
    args.target.with_client(|client, timeout| {
        let guard = take(client, args)?;
        let status = hold(&args.program, &args.path, &guard)?;
        // If it was lost, there is nothing to be released, and no answer in time.
        let _ = guard.release().wait_timeout(timeout);
        Ok(status)
    })
}

fn take(client: &Client, args: &Args) -> Result<LockGuard, Failure> {
    let options = if args.shared { LockOptions::shared() } else { LockOptions::exclusive() };
    let options = options.lock_delay(args.lock_delay);
    let busy = || Failure::new(Code::Refused, format!("{} is locked by others", args.path));
    match args.wait {
        None => client.lock(&args.path, options).wait().map_err(|error| change_failed(&error)),
        Some(Duration::ZERO) => {
            let taken = client.try_lock(&args.path, options).wait_timeout(args.target.timeout);
            taken.map_err(|error| change_failed(&error))?.ok_or_else(busy)
        }
        Some(patience) => client.lock(&args.path, options).wait_timeout(patience).map_err(|error| match error {
            quorate::client::Error::Deadline { .. } => busy().fix("wait longer, with --wait"),
            error => change_failed(&error),
        }),
    }
}

/// Something happened while the program ran.
enum Event {
    Ended(std::io::Result<ExitStatus>),
    Told(i32),
}

/// Runs the program while the lock of the node at `path` is held; the program's exit status.
pub fn hold(program: &[OsString], path: &str, guard: &LockGuard) -> Result<u8, Failure> {
    let cannot = |why: String| Failure::new(Code::RunFailed, format!("cannot run {:?}", program[0])).found(why);
    let mut lost = guard.lost();
    let this = std::env::current_exe().map_err(|error| cannot(error.to_string()))?;
    let mut child = Command::new(this)
        .args(["supervised", "--parent", &std::process::id().to_string(), "--"])
        .args(program)
        .env("QUORATE_LOCK_PATH", path)
        .env("QUORATE_LOCK_TOKEN", guard.token().to_string())
        .spawn()
        .map_err(|error| cannot(error.to_string()))?;
    let pid = Pid::from_child(&child);
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| cannot(error.to_string()))?;
    let tell = |signal: Signal| {
        // It may just have ended.
        let _ = pidfd_send_signal(&process, signal);
    };
    let (sender, events) = mpsc::channel();
    let ended = sender.clone();
    std::thread::spawn(move || ended.send(Event::Ended(child.wait())));
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| cannot(error.to_string()))?;
    std::thread::spawn(move || signals.forever().try_for_each(|signal| sender.send(Event::Told(signal))));
    let mut patience = None;
    loop {
        match events.recv_timeout(LOOK_EVERY) {
            Ok(Event::Ended(status)) => {
                let status = status.map_err(|error| cannot(error.to_string()))?;
                return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()) as u8);
            }
            // A terminal's interrupt reaches the program by itself.
            Ok(Event::Told(SIGINT)) => {}
            Ok(Event::Told(_)) => tell(Signal::TERM),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("whoever waits for the program tells of its end"),
        }
        look(&mut lost, guard, &mut patience, tell);
    }
}

/// Ends the program if the lock is lost: first politely, and after a number of looks for good.
fn look(lost: &mut Lost, guard: &LockGuard, patience: &mut Option<u32>, tell: impl Fn(Signal)) {
    match patience {
        None => {
            let loss = lost.wait_timeout(Duration::ZERO);
            if loss.is_some() || !guard.is_held() {
                eprintln!("quorate: the lock is lost ({loss:?}): ending the program");
                tell(Signal::TERM);
                *patience = Some(LOOKS_BEFORE_KILL);
            }
        }
        Some(0) => tell(Signal::KILL),
        Some(looks) => *looks -= 1,
    }
}

/// Between two looks at the lock.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// From the polite end to the other: short, as others may have the lock soon.
const LOOKS_BEFORE_KILL: u32 = 20;
