//! `quorate explain`: what is behind an error's code.

use quorate::server::{Code, Failure};
use serde_json::{Value, json};

use super::output::{self, Rows};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate explain E012\n  quorate explain 31\n  quorate explain")]
pub struct Args {
    /// The code, like E031, or the exit status [default: lists them all]
    #[arg(value_parser = |text: &str| text.parse::<Code>())]
    code: Option<Code>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let Some(code) = args.code else {
        let rows = Rows::default();
        for code in Code::ALL {
            rows.add(|| format!("{code}  {}", code.meaning()).into_bytes(), || value(code))?;
        }
        return Ok(());
    };
    let page = || format!("{code}: {}\n{}\nexit status: {}", code.meaning(), code.explanation(), code.number());
    output::show(page, || {
        let mut value = value(code);
        value["explanation"] = code.explanation().into();
        value
    })
}

fn value(code: Code) -> Value {
    json!({ "code": code.to_string(), "meaning": code.meaning(), "exit_status": code.number() })
}
