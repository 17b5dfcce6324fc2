//! `quorate start`: runs one replica.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;

use quorate::server::config::Override;
use quorate::server::{self, Code, Config, Ended, Failure};

use super::config;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate start --config /etc/quorate/cell.toml /var/lib/quorate/replica\n  QUORATE_PAXOS_LEASE=300ms quorate start --config cell.toml replica-1\n  quorate start --config cell.toml --set paxos.lease=300ms --cores 0,1 replica-1"
)]
pub struct Args {
    /// The cell's configuration, the same on every replica
    #[arg(long, env = "QUORATE_CONFIG")]
    config: PathBuf,
    /// Cores to run on, like 0 or 0,1: the first for the replica, the others for its clients
    #[arg(long, value_delimiter = ',')]
    cores: Option<Vec<usize>>,
    /// Confirm every read with a majority instead of trusting the leader's lease
    #[arg(long)]
    no_lease_reads: bool,
    /// A setting laid over the configuration, like paxos.lease=300ms
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = setting)]
    settings: Vec<Override>,
    /// The replica's folder, made by `quorate format`
    dir: PathBuf,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::read(&args.config, &args.overrides()?)?;
    crate::log_to_stderr("info");
    let (tells, told) = mpsc::channel();
    let folder = args.dir.clone();
    // A loop pins its thread to a core, and a process in this one's place would inherit that: this thread stays free. The
    // other is not joined: with a write that does not come back the kernel lets no thread end, and nobody would hear why.
    std::thread::spawn(move || tells.send(server::run(&config, &folder)));
    match told.recv().expect("a panic ends the process")? {
        Ended::Stopped => Ok(()),
        Ended::ToStartAgain => Err(start_again()),
    }
}

/// Puts a new process of the same program, with the same arguments, in the place of this one: whoever watches over it sees
/// no end. Returns only if that fails.
fn start_again() -> Failure {
    // The program that runs, even if its file has another name by now, or none.
    let program = PathBuf::from("/proc/self/exe");
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = Command::new(&program).arg0(name).args(arguments).exec();
    Failure::io(Code::LoopFailed, "start again", &program, &error)
}

impl Args {
    fn overrides(&self) -> Result<Vec<Override>, Failure> {
        let mut overrides = config::overrides(&self.settings)?;
        if let Some(cores) = &self.cores {
            overrides.push(Override::flag("--cores", "server", "cores", format!("{cores:?}")));
        }
        if self.no_lease_reads {
            overrides.push(Override::flag("--no-lease-reads", "paxos", "lease_reads", "false"));
        }
        Ok(overrides)
    }
}

pub fn setting(text: &str) -> Result<Override, String> {
    let parts = text.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)));
    let ((section, key), value) = parts.ok_or("write it like paxos.lease=300ms")?;
    Ok(Override::flag(&format!("--set {text}"), section, key, value))
}
