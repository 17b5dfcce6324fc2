//! `quorate explain`: what is behind an error's code.

use quorate::server::{Code, Failure};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate explain E031\n  quorate explain 31\n  quorate explain")]
pub struct Args {
    /// The code, like E031, or the exit status [default: lists them all]
    #[arg(value_parser = |text: &str| text.parse::<Code>())]
    code: Option<Code>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let Some(code) = args.code else {
        let lines: Vec<String> = Code::ALL.iter().map(|code| format!("{code}  {}", code.meaning())).collect();
        return crate::print_line(&lines.join("\n"));
    };
    crate::print_line(&format!("{code}: {}\n{}\nexit status: {}", code.meaning(), code.explanation(), code.number()))
}
