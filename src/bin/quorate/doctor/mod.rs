//! `quorate doctor`: whether this host can run a replica, and how well.
//!
//! Each condition is one row: what is required, what was found, how bad that is, and what mends it. What can be tried is
//! tried: a ring is set up, the executor started, a file written directly and durably, the ports bound. Nothing of the host
//! is changed, and a replica that runs is not disturbed, except by some hundred small writes to the same disk.
//!
//! | file | |
//! |---|---|
//! | `finding` | one condition |
//! | `kernel` | its age, what it gives a ring, the executor |
//! | `process` | locked memory, open files, cores |
//! | `memory` | swap, the bound of the control group |
//! | `clocks` | rate, source and cost of the clocks |
//! | `mount`, `disk` | what a folder lies on; direct and durable writes, the device's cache, room |
//! | `folder` | formatted, of this cell, whose |
//! | `ports` | free or ours |
//! | `settings` | what `quorate tune` would change; who moves interrupts |
//!
//! The exit status is 0 if all is well, 1 for warnings, 2 if something stops a start. With `--quiet`, for units, only what
//! stops a start is said, and warnings do not count.
//!
//! Deliberately not here: the other replicas. Whether the cell is well, `quorate status` says.

mod clocks;
mod disk;
mod finding;
mod folder;
mod kernel;
mod memory;
pub mod mount;
mod ports;
mod process;
mod settings;

use std::path::PathBuf;

use comfy_table::{Table, presets};
use quorate::runtime::clock::Comparison;
use quorate::server::config::Override;
use quorate::server::{Config, Failure};
use serde_json::json;

use finding::{Finding, Severity};
use folder::Resident;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate doctor --config /etc/quorate/cell.toml /var/lib/quorate/replica\n  \
                        quorate doctor --json --quiet /var/lib/quorate/replica")]
pub struct Args {
    /// The cell's configuration
    #[arg(long, env = "QUORATE_CONFIG")]
    config: Option<PathBuf>,
    /// Say only what stops a start; warnings do not count in the exit status
    #[arg(long)]
    quiet: bool,
    /// The replica's folder, or the one it will be made in
    dir: Option<PathBuf>,
}

/// Gives the exit status.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let mut findings = examine(args);
    if args.quiet {
        findings.retain(|finding| finding.severity == Severity::Fatal);
    }
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
    if crate::output::is_json() {
        crate::print_line(&object(&findings, worst))?;
    } else if !findings.is_empty() {
        crate::print_line(&table(&findings))?;
    }
    Ok(worst.exit_status())
}

fn examine(args: &Args) -> Vec<Finding> {
    let mut findings = Vec::new();
    let clocks = Comparison::begin();
    let config = args.config.as_ref().and_then(|path| configuration(path, &mut findings));
    let config = config.as_ref();
    // Beside the findings: it is of the cell, and no host's to mend.
    if let Some(warning) = config.filter(|_| !args.quiet).and_then(Config::warning) {
        crate::tell(format_args!("warning: {warning}"));
    }
    kernel::examine(&mut findings);
    process::examine(config, &mut findings);
    memory::examine(&mut findings);
    let dir = args.dir.as_deref();
    let mount = dir.and_then(|dir| disk::examine(mount::existing(dir), config, &mut findings));
    if let Some(config) = config {
        let resident = dir.map_or(Resident::default(), |dir| folder::examine(dir, config, &mut findings));
        ports::examine(config, resident, &mut findings);
    }
    clocks::examine(clocks, &mut findings);
    settings::examine(dir, mount.as_ref(), config, &mut findings);
    findings
}

fn configuration(path: &std::path::Path, findings: &mut Vec<Finding>) -> Option<Config> {
    let read = Override::from_variables(std::env::vars_os()).and_then(|laid| Config::read(path, &laid));
    let (found, severity) = match &read {
        Ok(config) => (format!("a cell of {}", config.replicas.len()), Severity::Ok),
        Err(failure) => (failure.report(), Severity::Fatal),
    };
    findings.push(Finding::new("configuration", "valid", found, severity).fix(format!("edit {}", path.display())));
    read.ok()
}

fn table(findings: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["condition", "required", "found", "severity", "fix"]);
    for finding in findings {
        let Finding { condition, required, found, severity, fix, .. } = finding;
        table.add_row([condition, required, found, severity.name(), fix]);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn object(findings: &[Finding], worst: Severity) -> String {
    let object = |finding: &Finding| {
        json!({
            "condition": finding.condition,
            "required": finding.required,
            "found": finding.found,
            "severity": finding.severity.name(),
            "why": finding.why,
            "fix": finding.fix,
        })
    };
    json!({ "severity": worst.name(), "findings": findings.iter().map(object).collect::<Vec<_>>() }).to_string()
}
