//! What SIGINT, SIGTERM and SIGHUP do: the session is closed before the process ends, so that nobody waits until the cell
//! has given it up; and while a program runs they are the program's.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use quorate::client::Client;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Whose business a signal is.
#[derive(Clone)]
enum Concern {
    /// Nobody's: the process ends.
    Nobody,
    /// The session's, which is closed before.
    Session(Client),
    /// The program's that runs; false once it has ended.
    Program(Arc<dyn Fn(i32) -> bool + Send + Sync>),
}

/// Signals concern what is given here until this is dropped, and then what they did before.
#[must_use]
pub struct Concerned {
    before: Concern,
}

impl Concerned {
    /// From now on a signal closes this client's session, and then ends the process.
    pub fn session(client: &Client) -> io::Result<Self> {
        Self::of(Concern::Session(client.clone()))
    }

    /// From now on signals are told there, and end nothing as long as that says true.
    pub fn program(tell: impl Fn(i32) -> bool + Send + Sync + 'static) -> io::Result<Self> {
        Self::of(Concern::Program(Arc::new(tell)))
    }

    fn of(concern: Concern) -> io::Result<Self> {
        listen()?;
        let mut concerned = concerned();
        if IS_ENDING.load(Ordering::Acquire) {
            drop(concerned);
            wait_for_the_end();
        }
        Ok(Self { before: std::mem::replace(&mut *concerned, concern) })
    }
}

impl Drop for Concerned {
    fn drop(&mut self) {
        *concerned() = self.before.clone();
        // Whatever the session's end made of the work, the signal is what ends the process.
        if IS_ENDING.load(Ordering::Acquire) {
            wait_for_the_end();
        }
    }
}

fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}

/// Begins to catch the signals, once for the process.
fn listen() -> io::Result<()> {
    static LISTENS: OnceLock<()> = OnceLock::new();
    if LISTENS.get().is_none() {
        let ignored = ignored();
        let heard = [SIGTERM, SIGINT, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let mut signals = Signals::new(heard)?;
        let _ = LISTENS.set(());
        std::thread::spawn(move || signals.forever().for_each(meet));
    }
    Ok(())
}

/// The signals that whoever started this process had it ignore, as `nohup` does: one bit each.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn meet(signal: i32) {
    let concern = {
        let concerned = concerned();
        // From here on nothing is begun that the session's end would take by surprise.
        IS_ENDING.fetch_or(matches!(*concerned, Concern::Session(_)), Ordering::AcqRel);
        concerned.clone()
    };
    match concern {
        Concern::Program(tell) if tell(signal) => return,
        Concern::Session(client) => {
            if client.is_safe() {
                // One that cannot be closed now ends by itself when its time is over.
                let _ = client.close().wait_timeout(CLOSE_PATIENCE);
            }
        }
        Concern::Program(_) | Concern::Nobody => {}
    }
    emulate_default_handler(signal).expect("a signal that was caught has a default");
}

fn concerned() -> MutexGuard<'static, Concern> {
    static CONCERNED: Mutex<Concern> = Mutex::new(Concern::Nobody);
    CONCERNED.lock().unwrap_or_else(PoisonError::into_inner)
}

static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Whoever ends a process does not want to wait for a cell that does not answer.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
