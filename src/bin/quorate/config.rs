//! `quorate check-config` and `quorate config show`: what a configuration comes to, before anything runs on it.

use std::path::PathBuf;

use quorate::server::config::Override;
use quorate::server::{Config, Failure};
use serde_json::json;

use super::output::{self, Rows};
use super::start;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate check-config /etc/quorate/cell.toml\n  \
                        quorate check-config cell.toml --set paxos.lease=300ms")]
pub struct Check {
    /// The cell's configuration
    #[arg(env = "QUORATE_CONFIG")]
    file: PathBuf,
    /// A setting laid over it, like paxos.lease=300ms
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = start::setting)]
    settings: Vec<Override>,
}

#[derive(clap::Subcommand)]
#[command(after_help = "Examples:\n  quorate config show --config /etc/quorate/cell.toml\n  \
                        quorate config show --config /etc/quorate/cell.toml --origins")]
pub enum Args {
    /// Prints every setting as a server would use it
    Show(Show),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate config show --config /etc/quorate/cell.toml --origins\n  \
                        QUORATE_PAXOS_LEASE=300ms quorate config show --config cell.toml --origins")]
pub struct Show {
    /// The cell's configuration
    #[arg(long, env = "QUORATE_CONFIG")]
    config: PathBuf,
    /// A setting laid over it, like paxos.lease=300ms
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = start::setting)]
    settings: Vec<Override>,
    /// One setting a line, and where its value comes from: default, file, a variable or a flag
    #[arg(long)]
    origins: bool,
}

/// What is laid over the file, in order: the environment, then flags.
pub fn overrides(flags: &[Override]) -> Result<Vec<Override>, Failure> {
    let mut overrides = Override::from_variables(std::env::vars_os())?;
    for name in Override::strangers(std::env::vars_os()) {
        crate::tell(format_args!("warning: the variable {name} means nothing here, and is ignored"));
    }
    overrides.extend(flags.iter().cloned());
    Ok(overrides)
}

/// Says what cell the file describes, if it describes one.
pub fn check(args: &Check) -> Result<(), Failure> {
    let config = Config::read(&args.file, &overrides(&args.settings)?)?;
    if let Some(warning) = config.warning() {
        crate::tell(format_args!("warning: {warning}"));
    }
    for replica in &config.replicas {
        for address in [&replica.client, &replica.peer] {
            if let Err(error) = address.resolve() {
                crate::tell(format_args!(
                    "note: {address} of replica {} cannot be looked up on this host: {error}",
                    replica.id
                ));
            }
        }
    }
    let (file, cell, replicas) = (args.file.display(), config.cell.id, config.replicas.len());
    let (lease, max) = (config.paxos.lease, config.journal.max);
    output::show(
        || format!("{file} is sound: cell {cell}, {replicas} replicas, lease {lease}, journal up to {max}"),
        || {
            let (file, lease, max) = (file.to_string(), lease.to_string(), max.to_string());
            json!({ "file": file, "cell": cell.to_string(), "replicas": replicas, "lease": lease, "journal_max": max })
        },
    )
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let Args::Show(show) = args;
    let overrides = overrides(&show.settings)?;
    let config = Config::read(&show.config, &overrides)?;
    if !show.origins && !output::is_json() {
        return crate::print(config.in_full().to_toml().as_bytes());
    }
    let rows = Rows::default();
    for setting in config.settings(&show.config, &overrides)? {
        let (name, value, origin) = (setting.name, setting.value, setting.origin);
        let line = || format!("{name:<26} {value:<36} {origin}").into_bytes();
        if !rows.add(line, || json!({ "name": name, "value": value, "origin": origin }))? {
            break;
        }
    }
    Ok(())
}
