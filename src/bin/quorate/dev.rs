//! `quorate dev`: a cell of real processes with real journals on this host.
//!
//! One thread waits for whatever happens next: a signal, the end of a process, a line that was typed, the first answer of
//! the cell. The threads beside it only wait for one of these and pass it on.
#![allow(
    clippy::disallowed_methods,
    reason = "it measures how long a cell takes to serve; no replica's time is read here"
)]

use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use quorate::paxos::ReplicaId;
use quorate::server::config::Override;
use quorate::server::{Code, Failure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::cell::{Cell, Plan, describe, shell_command};
use super::tune::script::quoted;
use super::{connect, shell, start};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate dev\n  quorate dev --dir ~/cell --replicas 5\n  quorate dev --exec 'quorate create /a b && quorate get /a'"
)]
pub struct Args {
    /// How many replicas [default: 3, or as many as --dir has]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=13))]
    replicas: Option<u8>,
    /// Where the cell lives; one that is there is started again [default: a fresh folder, removed at the end]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Run this command with QUORATE_ENDPOINTS set, then stop the cell; its exit status becomes ours
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Pin each replica to one core, going round; done anyway where there are cores enough
    #[arg(long)]
    pin: bool,
    /// Run every replica on these cores, like 0 or 0,1
    #[arg(long, value_delimiter = ',', conflicts_with = "pin")]
    cores: Option<Vec<usize>>,
    /// Start a replica again when its process ended
    #[arg(long)]
    restart: bool,
    /// Listen from this port on, ten apart [default: any free ports]
    #[arg(long)]
    port_base: Option<u16>,
    /// A setting like paxos.lease=300ms: of a cell that is made now, for good; of one that is there, for this run
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = start::setting)]
    settings: Vec<Override>,
    /// How long the cell may take to serve
    #[arg(long, default_value = "60s", value_parser = connect::span)]
    patience: Duration,
}

/// What the main thread waits for.
pub enum Event {
    Signal(i32),
    Line(String),
    /// Standard input is at its end.
    NoMoreLines,
    Serving(Result<(), Failure>),
}

/// How long processes that were asked to end may take before they are killed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Runs a cell until it is told to stop. Gives the exit status.
pub fn run(args: Args) -> Result<u8, Failure> {
    let started = Instant::now();
    let (events, happened) = channel();
    forward_signals(events.clone())?;
    let plan = Plan { replicas: args.replicas, port_base: args.port_base, settings: args.settings.clone() };
    let mut cell = Cell::open(args.dir.as_deref(), &plan)?;
    cell.place(placement(&args, cell.config().replicas.len()));
    for id in ids(&cell) {
        cell.start(id)?;
    }
    let quiet = args.exec.is_some();
    if let Some(note) = cell.note() {
        crate::tell(format_args!("note: {note}"));
    }
    say(quiet, &headline(&cell))?;
    let ended = serve(&args, &mut cell, &happened, events, started);
    let stopped = stop(&mut cell, &happened);
    let status = ended?;
    stopped?;
    Ok(status)
}

fn serve(
    args: &Args,
    cell: &mut Cell,
    happened: &Receiver<Event>,
    events: Sender<Event>,
    started: Instant,
) -> Result<u8, Failure> {
    if let Some(signal) = wait_until_serving(args, cell, happened, events.clone())? {
        return Ok(128 + signal as u8);
    }
    let quiet = args.exec.is_some();
    say(quiet, &format!("serving after {:.1} s; in another terminal:", started.elapsed().as_secs_f64()))?;
    let dir = quoted(&cell.dir().display().to_string());
    say(quiet, &format!("  export QUORATE_ENDPOINTS={} QUORATE_DEV_DIR={dir}", cell.endpoints()))?;
    if let Some(command) = &args.exec {
        return execute(command, args.restart, cell, happened);
    }
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return shell::cell::run(cell, args.restart, happened, events);
    }
    loop {
        match receive(happened) {
            Event::Signal(SIGCHLD) => tell_ended(cell, args.restart)?,
            Event::Signal(signal) => return Ok(if signal == SIGTERM { 0 } else { 128 + signal as u8 }),
            Event::Line(_) | Event::NoMoreLines | Event::Serving(_) => {}
        }
    }
}

/// Waits for the first linearizable read. Gives the signal that ended the wait, if one did.
fn wait_until_serving(
    args: &Args,
    cell: &mut Cell,
    happened: &Receiver<Event>,
    events: Sender<Event>,
) -> Result<Option<i32>, Failure> {
    let (endpoints, patience) = (cell.endpoints(), args.patience);
    std::thread::spawn(move || {
        let served = connect::first_read(&endpoints, patience);
        // If nobody waits for it any more, the cell is being stopped.
        let _ = events.send(Event::Serving(served));
    });
    loop {
        match receive(happened) {
            Event::Serving(Ok(())) => return Ok(None),
            Event::Serving(Err(failure)) => {
                let words: Vec<String> = ids(cell).into_iter().map(|id| cell.last_words(id)).collect();
                return Err(Failure::new(Code::NotServing, format!("no answer within {} s", patience.as_secs_f32()))
                    .found(format!("{failure}\n{}", words.join("\n")))
                    .needed("one linearizable read"));
            }
            Event::Signal(SIGCHLD) => {
                if let Some((id, status)) = cell.reap().into_iter().next() {
                    return Err(Failure::new(Code::ReplicaEnded, format!("replica {} did not come up", id.0))
                        .found(format!("{}\n{}", describe(status), cell.last_words(id))));
                }
            }
            Event::Signal(signal) => return Ok(Some(signal)),
            Event::Line(_) | Event::NoMoreLines => {}
        }
    }
}

/// Runs the command while replicas may come and go.
fn execute(command: &str, restart: bool, cell: &mut Cell, happened: &Receiver<Event>) -> Result<u8, Failure> {
    let mut command = shell_command(command)?;
    command.env("QUORATE_ENDPOINTS", cell.endpoints());
    command.env("QUORATE_CONFIG", cell.config_path()).env("QUORATE_DEV_DIR", cell.dir());
    let cannot = |error: io::Error| Failure::new(Code::RunFailed, "cannot run the command").found(error.to_string());
    // Away from a terminal the command gets a process group, so that what it started can be ended with it. On one it
    // stays in ours, which is the one that may read the terminal and that Ctrl-C reaches.
    let own_group = !io::stdin().is_terminal();
    if own_group {
        command.process_group(0);
    }
    let mut child = command.spawn().map_err(cannot)?;
    loop {
        if let Some(status) = child.try_wait().map_err(cannot)? {
            return Ok(shell::status_of(status));
        }
        match receive(happened) {
            Event::Signal(SIGCHLD) => tell_ended(cell, restart)?,
            Event::Signal(signal) => {
                end_command(&mut child, own_group, happened).map_err(cannot)?;
                return Ok(128 + signal as u8);
            }
            Event::Line(_) | Event::NoMoreLines | Event::Serving(_) => {}
        }
    }
}

fn end_command(child: &mut Child, own_group: bool, happened: &Receiver<Event>) -> io::Result<()> {
    let deadline = Instant::now() + STOP_PATIENCE;
    let pid = Pid::from_raw(child.id() as i32).expect("a child has a process id");
    let signal = |signal| if own_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    // It may have ended this very moment; the wait below finds out.
    let _ = signal(Signal::TERM);
    while child.try_wait()?.is_none() {
        if receive_until(happened, deadline).is_none() {
            let _ = signal(Signal::KILL);
            child.wait()?;
        }
    }
    Ok(())
}

/// Asks every replica to end, and kills those that do not in time.
fn stop(cell: &mut Cell, happened: &Receiver<Event>) -> Result<(), Failure> {
    let deadline = Instant::now() + STOP_PATIENCE;
    cell.signal_all(Signal::TERM);
    cell.reap();
    while cell.is_running() {
        if receive_until(happened, deadline).is_none() {
            let late: Vec<String> = ids(cell).iter().filter_map(|id| Some(cell.pid(*id)?.to_string())).collect();
            crate::tell(format_args!(
                "killing {}: not ended {} s after SIGTERM",
                late.join(" "),
                STOP_PATIENCE.as_secs()
            ));
            cell.signal_all(Signal::KILL);
            // What is killed is waited for when the cell is dropped.
            return Ok(());
        }
        cell.reap();
    }
    Ok(())
}

/// Says which replicas ended by themselves, and starts them again if that is wanted.
pub fn tell_ended(cell: &mut Cell, restart: bool) -> Result<(), Failure> {
    for (id, status) in cell.reap() {
        crate::tell(format_args!("replica {} ended: {}", id.0, describe(status)));
        if restart {
            cell.start(id)?;
        } else {
            crate::tell(format_args!("{}", cell.way_back(id)));
        }
    }
    Ok(())
}

pub fn ids(cell: &Cell) -> Vec<ReplicaId> {
    cell.config().replicas.iter().map(|replica| replica.id).collect()
}

/// The next event. The sender for signals lives as long as the process.
pub fn receive(happened: &Receiver<Event>) -> Event {
    happened.recv().expect("the thread that waits for signals holds a sender and never ends")
}

fn receive_until(happened: &Receiver<Event>, deadline: Instant) -> Option<Event> {
    match happened.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => unreachable!("the thread that waits for signals never ends"),
    }
}

fn forward_signals(events: Sender<Event>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCHLD])
        .map_err(|error| Failure::new(Code::RunFailed, "cannot wait for signals").found(error.to_string()))?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The cores of each of `replicas` replicas. Where there are fewer cores than replicas, pinning makes the replicas of one
/// core wait for each other while another core idles, so that it is only done when asked for.
fn placement(args: &Args, replicas: usize) -> Vec<Vec<usize>> {
    let host = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    match &args.cores {
        Some(cores) => vec![cores.clone(); replicas],
        None if args.pin || host >= replicas => (0..replicas).map(|index| vec![index % host]).collect(),
        None => Vec::new(),
    }
}

fn headline(cell: &Cell) -> String {
    let config = cell.config();
    let mut text = format!("cell {} in {}", config.cell.id, cell.dir().display());
    for replica in &config.replicas {
        let pid = cell.pid(replica.id).map_or_else(|| "none".into(), |pid| pid.to_string());
        let place = match cell.cores_of(replica.id) {
            Some(cores) => format!("on core {}", cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
            None => String::from("not pinned"),
        };
        text += &format!(
            "\n  replica {:<2} clients {}  peers {}  pid {pid}  {place}",
            replica.id.0, replica.client, replica.peer
        );
    }
    text
}

/// The cell's story is the result, unless a command's output is. Whoever has read enough of it leaves the cell running.
fn say(quiet: bool, text: &str) -> Result<(), Failure> {
    if quiet {
        crate::tell(format_args!("{text}"));
        Ok(())
    } else {
        crate::print_line(text)
    }
}
