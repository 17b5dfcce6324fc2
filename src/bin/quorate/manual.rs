//! `quorate completion` and `quorate man`: what a shell and `man` know of the command line, made from the command line.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use quorate::server::{Code, Failure};

use super::Cli;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate completion bash > /etc/bash_completion.d/quorate\n  \
                        source <(quorate completion bash)\n  \
                        quorate completion fish > ~/.config/fish/completions/quorate.fish")]
pub struct Completion {
    /// The shell
    shell: Shell,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate man --dir /usr/local/share/man/man1\n  man quorate-status")]
pub struct Man {
    /// The folder they are written to; made if it is not there
    #[arg(long)]
    dir: PathBuf,
}

pub fn completion(args: &Completion) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quorate", &mut script);
    crate::print(&script)
}

/// Writes one page a command, and tells their names.
pub fn man(args: &Man) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io(Code::DiskFailed, "write the pages to", &args.dir, &error);
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.dir).map_err(failed)?;
    crate::print_line(&format!("man pages of quorate are in {}", args.dir.display()))
}
