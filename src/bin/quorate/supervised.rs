//! `quorate supervised`: becomes another program that does not outlive its parent.
//!
//! `dev` starts its replicas through this, so that not even a kill -9 of `dev` leaves one behind. The kernel's order is
//! given in the child itself, since only there it can be, and survives the change of program.

use std::os::unix::process::CommandExt;
use std::process::Command;

use quorate::server::{Code, Failure};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

#[derive(clap::Args)]
pub struct Args {
    /// The process that must not be outlived
    #[arg(long)]
    parent: i32,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    program: Vec<std::ffi::OsString>,
}

/// Only returns if the program could not be started.
pub fn run(args: &Args) -> Result<(), Failure> {
    let cannot = |why: String| Failure::new(Code::RunFailed, format!("cannot start {:?}", args.program[0])).found(why);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| cannot(error.to_string()))?;
    // The parent may have died before the order was given.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent != Some(args.parent) {
        return Err(cannot(format!("process {} is gone", args.parent)));
    }
    let error = Command::new(&args.program[0]).args(&args.program[1..]).exec();
    Err(cannot(error.to_string()).fix("check its name, and that it is on the PATH and may be executed"))
}
