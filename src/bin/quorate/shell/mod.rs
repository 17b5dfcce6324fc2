//! `quorate shell`, and the prompt of `quorate dev`: the plain commands, typed without the word `quorate`.
//!
//! Every line is run as a process of this program. So it is the plain command in everything: what it takes and prints, how
//! Ctrl-C ends it and nothing else, what becomes of its session.
//!
//! | file | |
//! |---|---|
//! | `line` | what a line means |
//! | `prompt` | the line editor: its history, and what it completes |
//! | `complete` | commands, flags and paths of the cell |
//! | `cell` | the prompt of `quorate dev`, which also ends and starts the cell's processes |

pub mod cell;
mod complete;
pub mod line;
mod prompt;

use std::io::{self, IsTerminal};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use quorate::server::{Code, Failure};
use signal_hook::consts::SIGINT;

use self::line::Line;
use self::prompt::Prompt;
use super::connect::Target;
use super::output;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate shell --endpoints 10.0.0.1:7400\n  echo 'get /app/config' | quorate shell\n\nA line \
                  is what would follow `quorate` on a command line. A line that begins with a space is not kept in the \
                  history (~/.local/state/quorate/history). The exit status is that of the last line."
)]
pub struct Args {
    #[command(flatten)]
    target: Target,
}

/// Does line after line until `exit` or the end of the input.
pub fn run(args: &Args) -> Result<u8, Failure> {
    // Ctrl-C ends what a line runs, not the prompt; a program that is run takes signals as if it had been started alone.
    signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false)))
        .map_err(|error| Failure::new(Code::RunFailed, "cannot catch Ctrl-C").found(error.to_string()))?;
    let target = &args.target;
    let mut prompt = Prompt::open(target.clone(), &[])?;
    let mut status = 0;
    while let Some(text) = prompt.read()? {
        match Line::of(&text) {
            Line::Nothing => {}
            Line::Exit => break,
            Line::Unfinished => status = unfinished(),
            Line::Words(words) => {
                let mut program = program(&words)?;
                program.env("QUORATE_OUTPUT", output::asked());
                program.env("QUORATE_ENDPOINTS", &target.endpoints);
                program.env("QUORATE_TIMEOUT", format!("{}ms", target.timeout.as_millis()));
                match target.auth.text() {
                    nobody if nobody.is_empty() => program.env_remove("QUORATE_AUTH"),
                    users => program.env("QUORATE_AUTH", users),
                };
                program.envs(target.resume.as_ref().map(|file| ("QUORATE_RESUME", file)));
                program.envs(target.cell.map(|cell| ("QUORATE_CELL", cell.to_string())));
                status = status_of(program.status().map_err(cannot_run)?);
            }
        }
    }
    Ok(status)
}

/// This program, to be run with the words of a line.
fn program(words: &[String]) -> Result<Command, Failure> {
    let mut command = Command::new(super::cell::own_program()?);
    // At a prompt the list of commands is wanted, not the manual around it.
    if words == ["help"] {
        command.arg("-h");
    } else {
        command.args(words);
    }
    if !io::stdin().is_terminal() {
        // What is there to be read are the next lines.
        command.stdin(Stdio::null());
    }
    Ok(command)
}

fn cannot_run(error: io::Error) -> Failure {
    Failure::new(Code::RunFailed, "cannot run the line").found(error.to_string())
}

fn unfinished() -> u8 {
    let failure = Failure::new(Code::Usage, "a quotation mark is missing").fix("end what '...' or \"...\" holds");
    crate::tell(format_args!("{}", failure.report()));
    failure.exit_status()
}

/// The exit status of a process as a shell tells it.
pub fn status_of(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}
