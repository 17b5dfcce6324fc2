//! The prompt of `quorate dev`: the plain commands on the cell at hand, and a few on its processes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use quorate::paxos::ReplicaId;
use quorate::server::{Code, Failure};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGCHLD, SIGINT};

use super::super::connect::Target;
use super::line::Line;
use super::prompt::Prompt;
use super::{cannot_run, program, unfinished};
use crate::cell::Cell;
use crate::dev::{Event, receive, tell_ended};

const OWN_COMMANDS: &str =
    "`help` lists the commands, `kill N` and `start N` end and start a replica, `exit` stops the cell.";

/// Reads and does lines until `exit`, the end of the input, or a signal. Gives the exit status.
pub fn run(cell: &mut Cell, restart: bool, happened: &Receiver<Event>, events: Sender<Event>) -> Result<u8, Failure> {
    crate::print_line(OWN_COMMANDS)?;
    let _as_it_was = Terminal::kept();
    let next = forward_lines(cell.endpoints(), events);
    loop {
        match receive(happened) {
            Event::Line(text) => {
                match Line::of(&text) {
                    Line::Nothing => {}
                    Line::Exit => return Ok(0),
                    Line::Unfinished => {
                        unfinished();
                    }
                    Line::Words(words) => {
                        if let Some(signal) = perform(cell, &words, restart, happened)? {
                            return Ok(128 + signal as u8);
                        }
                    }
                }
                // Gone if standard input is at its end, which comes as an event of its own.
                let _ = next.send(());
            }
            Event::NoMoreLines | Event::Signal(SIGINT) => return Ok(0),
            Event::Signal(SIGCHLD) => tell_ended(cell, restart)?,
            Event::Signal(signal) => return Ok(128 + signal as u8),
            Event::Serving(_) => {}
        }
    }
}

/// Does one line. Gives the signal that is to end it all, if one came.
fn perform(
    cell: &mut Cell,
    words: &[String],
    restart: bool,
    happened: &Receiver<Event>,
) -> Result<Option<i32>, Failure> {
    let Some((verb, rest)) = words.split_first() else { return Ok(None) };
    let id = rest.first().and_then(|text| text.parse().ok()).map(ReplicaId);
    let done = match (verb.as_str(), id, rest.len()) {
        ("kill", Some(id), 1) => kill(cell, id, restart),
        ("start", Some(id), 1) => start(cell, id),
        ("kill", ..) | ("start", None, 0) => Err(which(verb)),
        _ => {
            if words == ["help"] {
                println!("{OWN_COMMANDS}\n");
            }
            return execute(cell, words, restart, happened);
        }
    };
    if let Err(failure) = done {
        crate::tell(format_args!("{}", failure.report()));
    }
    Ok(None)
}

fn which(verb: &str) -> Failure {
    Failure::new(Code::Usage, format!("which replica is it to {verb}?")).fix(format!("its number, like `{verb} 1`"))
}

/// The next line finds it ended, and may start it again.
fn kill(cell: &mut Cell, id: ReplicaId, restart: bool) -> Result<(), Failure> {
    if !cell.kill(id)? {
        return Err(Failure::new(Code::Usage, format!("replica {id} does not run")));
    }
    tell_ended(cell, restart)
}

fn start(cell: &mut Cell, id: ReplicaId) -> Result<(), Failure> {
    match cell.config().replica(id) {
        Some(_) => cell.start(id),
        None => Err(Failure::new(Code::Usage, format!("there is no replica {id}"))),
    }
}

/// Runs a plain command while replicas may come and go. Ctrl-C reaches it by itself.
fn execute(
    cell: &mut Cell,
    words: &[String],
    restart: bool,
    happened: &Receiver<Event>,
) -> Result<Option<i32>, Failure> {
    let mut command = program(words)?;
    command.env("QUORATE_ENDPOINTS", cell.endpoints());
    command.env("QUORATE_CONFIG", cell.config_path()).env("QUORATE_DEV_DIR", cell.dir());
    let mut child = command.spawn().map_err(cannot_run)?;
    loop {
        if child.try_wait().map_err(cannot_run)?.is_some() {
            return Ok(None);
        }
        match receive(happened) {
            Event::Signal(SIGCHLD) => tell_ended(cell, restart)?,
            Event::Signal(SIGINT) | Event::Line(_) | Event::NoMoreLines | Event::Serving(_) => {}
            Event::Signal(signal) => {
                // It may have ended this very moment.
                let _ = child.kill();
                child.wait().map_err(cannot_run)?;
                return Ok(Some(signal));
            }
        }
    }
}

/// Reads lines on a thread of its own: the first at once, each other one when it is told that the last is done.
fn forward_lines(endpoints: String, events: Sender<Event>) -> Sender<()> {
    let (next, told) = channel();
    std::thread::spawn(move || {
        if let Err(failure) = read_lines(endpoints, &events, &told) {
            crate::tell(format_args!("{}", failure.report()));
        }
        // If nobody listens any more, the cell is being stopped.
        let _ = events.send(Event::NoMoreLines);
    });
    next
}

fn read_lines(endpoints: String, events: &Sender<Event>, next: &Receiver<()>) -> Result<(), Failure> {
    let mut prompt = Prompt::open(Target::at(&endpoints, Duration::ZERO), &["exit", "kill", "start"])?;
    while let Some(line) = prompt.read()? {
        if events.send(Event::Line(line)).is_err() || next.recv().is_err() {
            break;
        }
    }
    Ok(())
}

/// The terminal's settings, which the editor changes while it reads; a signal can end that at any moment.
struct Terminal(Option<Termios>);

impl Terminal {
    fn kept() -> Self {
        Self(tcgetattr(std::io::stdin()).ok())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            // A terminal that is gone has no settings.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, settings);
        }
    }
}
