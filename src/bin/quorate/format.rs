//! `quorate format`: makes the folder of a replica that founds a cell. One that joins a cell is made by `quorate recover`.

use std::path::PathBuf;

use quorate::paxos::{CellId, ReplicaId};
use quorate::server::config::{Override, Size, parse_cell_id};
use quorate::server::{self, Code, Config, Failure, Purpose};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate format --cell 5d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11 --replica 1 \\\n      --config /etc/quorate/cell.toml /var/lib/quorate/replica"
)]
pub struct Args {
    /// The cell's id, 32 hexadecimal digits; must be the one in the configuration
    #[arg(long, value_parser = parse_cell_id)]
    cell: CellId,
    /// Which replica of the configuration this will be
    #[arg(long)]
    replica: u8,
    /// The cell's configuration
    #[arg(long, env = "QUORATE_CONFIG")]
    config: PathBuf,
    /// The folder to be made; may exist if it is empty
    dir: PathBuf,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::read(&args.config, &Override::from_variables(std::env::vars_os())?)?;
    if config.cell.id != args.cell {
        return Err(Failure::new(Code::OtherCell, format!("{} is of another cell", args.config.display()))
            .found(config.cell.id.to_string())
            .needed(args.cell.to_string())
            .why("naming the cell twice keeps a replica from being formatted into the wrong one")
            .fix("name the right --config, or the right --cell"));
    }
    let formatted = server::format(&config, ReplicaId(args.replica), Purpose::Found, &args.dir)?;
    crate::print_line(&format!(
        "replica {} of cell {} in {}: incarnation {}, journal {}, writes aligned to {}",
        formatted.replica.0,
        config.cell.id,
        formatted.folder.display(),
        formatted.incarnation,
        Size(formatted.journal_bytes),
        Size(formatted.alignment),
    ))
}
