//! Runs a program for as long as something is held, and ends it before that is lost.
//!
//! When no more than [`GRACE`] is left of what is surely held the program is told to end, and killed before that is over; of a
//! sudden loss it is told as soon as it is seen here, and killed within the same time. It dies with this process. It gets a process group of its own, and all in it is told and killed with it, what it started and left behind too. Only in
//! the foreground of a terminal it stays in this process's group, as the terminal's keys are for that one: there it is
//! told alone.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use quorate::server::{Code, Failure};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process, kill_process_group, waitid};
use rustix::termios::tcgetpgrp;
use signal_hook::consts::SIGINT;

use super::interrupt::Concerned;

/// Something happened while the program ran.
enum Event {
    Ended,
    Told(i32),
}

/// What becomes of that for which the program runs.
pub enum Held {
    /// It is held for so long at least.
    For(Duration),
    /// It is held no more, or perhaps not; why.
    Lost(String),
}

/// The program at work. Until it is waited for, which is last, its number is nobody else's.
struct Running {
    child: Child,
    pid: Pid,
    has_group: bool,
}

/// Runs the program until it ends, or `held_for` says that its time is over; the program's exit status, but never 0 after a loss.
/// It finds `environment` in its own. Signals are the program's until it has ended.
pub fn run(
    program: &[OsString],
    environment: &[(&str, String)],
    mut held_for: impl FnMut() -> Held,
) -> Result<u8, Failure> {
    let cannot = |why: std::io::Error| {
        Failure::new(Code::RunFailed, format!("cannot run {:?}", program[0])).found(why.to_string())
    };
    let (sender, events) = mpsc::channel();
    let ended = sender.clone();
    let tell = move |signal| sender.send(Event::Told(signal)).is_ok();
    // A signal that comes from here on is the program's, and it is told when it has begun.
    let _concerned = Concerned::program(tell).map_err(cannot)?;
    let mut running = Running::start(program, environment).map_err(cannot)?;
    let pid = running.pid;
    std::thread::spawn(move || {
        // It is only looked at: its group is to be killed, perhaps, while its number still says which that is.
        let look = || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        retry_on_intr(look).expect("a child can be waited for");
        // Whoever does not listen has failed before.
        let _ = ended.send(Event::Ended);
    });
    let (mut patience, mut longest) = (None, Duration::ZERO);
    loop {
        match events.recv_timeout(LOOK_EVERY) {
            Ok(Event::Ended) => return running.finish(patience.is_some()).map_err(cannot),
            // A terminal's interrupt reaches whoever is in its foreground by itself.
            Ok(Event::Told(SIGINT)) if !running.has_group => {}
            Ok(Event::Told(SIGINT)) => running.tell(Signal::INT),
            Ok(Event::Told(_)) => running.tell(Signal::TERM),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("whoever hears signals never ends"),
        }
        look(held_for().over(&mut longest), &mut patience, &running);
    }
}

impl Running {
    fn start(program: &[OsString], environment: &[(&str, String)]) -> std::io::Result<Self> {
        let has_group = !is_in_foreground();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["supervised", "--parent", &std::process::id().to_string(), "--"]).args(program);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        if has_group {
            command.process_group(0);
        }
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Self { child, pid, has_group })
    }

    fn tell(&self, signal: Signal) {
        // It may just have ended.
        let _ = if self.has_group { kill_process_group(self.pid, signal) } else { kill_process(self.pid, signal) };
    }

    /// Its exit status, once it has ended. After a loss nothing is left of its group either, and that it ended well when it was
    /// told to does not pass for success.
    fn finish(&mut self, lost: bool) -> std::io::Result<u8> {
        if lost {
            self.tell(Signal::KILL);
        }
        let status = self.child.wait()?;
        match status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()) as u8 {
            0 if lost => Ok(Code::HeldLost.number()),
            status => Ok(status),
        }
    }
}

/// Whether a terminal's keys are for this process.
fn is_in_foreground() -> bool {
    File::open("/dev/tty").is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}

/// Ends the program if its time is over: first politely, and after a number of looks for good.
fn look(over: Option<String>, patience: &mut Option<u32>, running: &Running) {
    match (patience.as_mut(), over) {
        (None, None) => {}
        (None, Some(why)) => {
            // The deed before the word, which may take its time.
            running.tell(Signal::TERM);
            *patience = Some(LOOKS_BEFORE_KILL);
            crate::tell(format_args!("quorate: {why}: ending the program"));
        }
        (Some(0), _) => running.tell(Signal::KILL),
        (Some(looks), _) => *looks -= 1,
    }
}

impl Held {
    /// Why the program's time is over, if it is. `longest` is what was left at best so far.
    fn over(self, longest: &mut Duration) -> Option<String> {
        match self {
            Self::For(left) => {
                *longest = left.max(*longest);
                // Of a lease that is short altogether some has to be left to work in.
                (left <= GRACE.min(*longest / 4))
                    .then(|| format!("the cell does not answer: it may be lost in {left:.1?}"))
            }
            Self::Lost(why) => Some(why),
        }
    }
}

/// Between two looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

/// From the polite end to the other: short, as others may have soon what was lost.
const LOOKS_BEFORE_KILL: u32 = 10;

/// From the polite end to that of all there is of the program, on a host that is not overloaded. Whoever can keep others out
/// for so long after a sudden loss should.
pub const GRACE: Duration = LOOK_EVERY.saturating_mul(LOOKS_BEFORE_KILL + 2);

#[cfg(test)]
mod tests {
    use super::*;

    /// The looks at a lease that is renewed once and then runs out: what was left when the program's time was over.
    fn left_at_the_end(lease: Duration) -> Duration {
        let renewed = (0..=lease.as_millis() as u64 / 3).rev().map(|gone| lease - Duration::from_millis(gone));
        let runs_out = (0..=lease.as_millis() as u64).map(|gone| lease - Duration::from_millis(gone));
        let mut longest = Duration::ZERO;
        let over = renewed.chain(runs_out).find(|left| Held::For(*left).over(&mut longest).is_some());
        over.expect("nothing is left at last")
    }

    #[test]
    fn a_program_ends_while_what_it_runs_for_is_still_held() {
        assert_eq!(left_at_the_end(Duration::from_secs(9)), GRACE);
        assert_eq!(left_at_the_end(Duration::from_secs(2)), Duration::from_millis(500));
        let lost = Held::Lost("the session has expired".to_owned()).over(&mut Duration::from_secs(9));
        assert_eq!(lost.as_deref(), Some("the session has expired"));
    }
}
