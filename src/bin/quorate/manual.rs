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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::shell::line::words;
    use super::*;

    /// The lines of a command's examples, and of all below it, that run this program.
    fn examples(command: &clap::Command, found: &mut Vec<String>) {
        let help = [command.get_after_help(), command.get_after_long_help()];
        let text: String = help.into_iter().flatten().map(|part| format!("{part}\n")).collect();
        // A line that goes on in the next.
        let text = text.replace("\\\n", " ");
        let lines = text.lines().map(str::trim).skip_while(|line| !line.starts_with("Example"));
        found.extend(lines.filter(|line| line.contains("quorate ")).map(str::to_owned));
        command.get_subcommands().for_each(|below| examples(below, found));
    }

    /// What of an example's line is for this program: what a shell would give it.
    fn arguments(line: &str) -> Option<Vec<String>> {
        let line = line.split_once("$(").map_or(line, |(_, inner)| inner.trim_end_matches(')'));
        let from = line.find("quorate ")?;
        // Only variables, and other programs before a pipe, may come first.
        let before = line[..from].trim();
        if !before.is_empty() && !before.ends_with('|') && !before.split(' ').all(|word| word.contains('=')) {
            return None;
        }
        let words = words(&line[from..])?;
        let ends =
            |word: &String| matches!(word.as_str(), "|" | ">" | "<" | "<<" | "&&" | "#") || word.starts_with("<<");
        Some(words.into_iter().take_while(|word| !ends(word)).collect())
    }

    #[test]
    fn every_example_is_a_line_that_the_program_takes() {
        let (mut lines, mut taken) = (Vec::new(), 0);
        examples(&Cli::command(), &mut lines);
        for line in &lines {
            let Some(words) = arguments(line) else { continue };
            // A shell puts a handle there.
            if words.iter().any(|word| word.contains('$')) {
                continue;
            }
            Cli::try_parse_from(&words).map(drop).unwrap_or_else(|error| panic!("{line}: {words:?}: {error}"));
            taken += 1;
        }
        assert!(taken > 80, "{taken} of {} lines", lines.len());
    }
}
